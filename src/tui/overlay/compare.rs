//! The comparison of two calls: what differs in their results and arguments, as pages that can be searched and copied. `servers`
//! compares two servers.

mod servers;

use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use crate::{
    domain::{
        body::Body,
        call::{Operation, Outcome},
        directory::Directory,
        json::pretty,
        plural::counted,
        time::{short, size},
    },
    state::{CallView, ConsoleState},
    tui::{
        result_view::{self, present},
        widget::{
            content::Content,
            rich_text::{Line, RichText, Role},
        },
    },
};

pub use self::servers::servers;
use super::describe::{Describe, Page};

/// The most bytes of both texts together that are compared: more would delay a frame.
const COMPARED: usize = 2 << 20;
/// The longest time for the shortest difference; after it a longer one is shown.
const PATIENCE: Duration = Duration::from_millis(8);
/// Equal lines before and after a difference.
const AROUND: usize = 3;

/// How a line of the later text differs from the earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// In both.
    Equal,
    /// Only in the later one.
    Added,
    /// Only in the earlier one.
    Removed,
}

impl Change {
    fn of(tag: ChangeTag) -> Change {
        match tag {
            ChangeTag::Equal => Change::Equal,
            ChangeTag::Insert => Change::Added,
            ChangeTag::Delete => Change::Removed,
        }
    }

    /// Returns the line with its sign.
    pub fn line(self, text: &str) -> Line {
        let (sign, role) = match self {
            Change::Equal => ("  ", Role::Text),
            Change::Added => ("+ ", Role::Ok),
            Change::Removed => ("- ", Role::Fail),
        };
        Line::new(sign, role).with(text.trim_end_matches(['\n', '\r']), role).hanging(2)
    }
}

/// Returns every line of two texts with its change, or `None` if they are too large.
pub fn lines(earlier: &str, later: &str) -> Option<Vec<(Change, String)>> {
    let diff = diff(earlier, later)?;
    Some(diff.iter_all_changes().map(|change| (Change::of(change.tag()), change.value().to_owned())).collect())
}

fn diff<'t>(earlier: &'t str, later: &'t str) -> Option<TextDiff<'t, 't, 't, str>> {
    (earlier.len() + later.len() <= COMPARED).then(|| TextDiff::configure().timeout(PATIENCE).diff_lines(earlier, later))
}

/// Returns the text of a call's result: its JSON over several lines, its text, or its failure.
pub fn outcome_text(call: &CallView) -> String {
    match call.settled.as_ref().map(|settled| &settled.outcome) {
        Some(Outcome::Ok { result } | Outcome::ToolError { result } | Outcome::Interim { result, .. }) => {
            let shown = present(result);
            if shown.text_first { result_view::text(result).text().into_owned() } else { json_text(&shown.tree) }
        }
        Some(Outcome::Failed { failure }) => {
            failure.report().iter().map(|(label, line)| format!("{}: {line}\n", label.word())).collect::<String>()
        }
        Some(Outcome::Cancelled { reason }) => format!("cancelled: {reason}"),
        None => "no response yet".to_owned(),
    }
}

fn json_text(body: &Body) -> String {
    let text = body.text();
    pretty(&text).unwrap_or_else(|_| text.into_owned())
}

fn arguments_text(call: &CallView) -> String {
    match &call.spec.operation {
        Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => json_text(arguments),
        other => other.subject().to_owned(),
    }
}

/// Returns the comparison of two calls, the earlier one first.
pub fn calls(earlier: &CallView, later: &CallView, read_model: &ConsoleState) -> Describe {
    let head = |sign: &str, call: &CallView, role: Role| {
        let state = match &call.settled {
            Some(settled) => format!("{} · {}", settled.outcome.words(), short(settled.timings.total())),
            None => "running".to_owned(),
        };
        let time = &read_model.epoch.time_of_day(call.queued)[..12];
        Line::new(format!("{sign} "), role)
            .with(time, role)
            .with(format!("  {}  ", read_model.call_name(&call.spec.operation)), Role::Text)
            .with(state, Role::Muted)
    };
    let heads = [head("-", earlier, Role::Fail), head("+", later, Role::Ok), Line::default()];
    let page = |earlier: String, later: String| -> Content {
        let mut all = heads.to_vec();
        all.extend(differences(&earlier, &later));
        let text = RichText::new(all);
        Content::Rich { source: Body::from(text.text()), text }
    };
    let pages: Vec<Page> = vec![
        ("result", page(outcome_text(earlier), outcome_text(later))),
        ("arguments", page(arguments_text(earlier), arguments_text(later))),
    ];
    Describe::new("Compare two calls", "comparison", pages)
}

/// Returns the lines that differ, with a few equal lines around them.
fn differences(earlier: &str, later: &str) -> Vec<Line> {
    if earlier == later {
        return vec![Line::new("No difference.", Role::Muted)];
    }
    let Some(diff) = diff(earlier, later) else {
        let text = format!("Too large to compare: {} and {}.", size(earlier.len() as u64), size(later.len() as u64));
        return vec![Line::new(text, Role::Warn)];
    };
    let changed = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
    let summary =
        format!("{} removed · {} added", counted(changed(ChangeTag::Delete), "line"), counted(changed(ChangeTag::Insert), "line"));
    let mut all = vec![Line::new(summary, Role::Muted)];
    for group in diff.grouped_ops(AROUND) {
        let start = group.first().map_or(0, |op| op.new_range().start + 1);
        all.push(Line::new(format!("line {start}"), Role::Accent));
        for op in &group {
            all.extend(diff.iter_changes(op).map(|change| Change::of(change.tag()).line(change.value())));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: Vec<Line>) -> String {
        lines.iter().map(|line| line.text() + "\n").collect()
    }

    #[test]
    fn differences_have_signs_and_a_few_equal_lines_around_them() {
        let earlier: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let later = earlier.replace("line 10\n", "line ten\n");
        let shown = text(differences(&earlier, &later));
        assert!(shown.starts_with("1 line removed · 1 line added\nline 7\n"), "{shown}");
        assert!(shown.contains("- line 10\n+ line ten\n"), "{shown}");
        assert!(!shown.contains("  line 6\n") && !shown.contains("  line 14\n"), "{shown}");
        assert_eq!(text(differences("same", "same")), "No difference.\n");
    }

    #[test]
    fn texts_that_are_too_large_are_not_compared() {
        let large = "x\n".repeat(COMPARED);
        assert!(text(differences(&large, "y")).starts_with("Too large to compare"));
        assert_eq!(lines(&large, ""), None);
    }
}
