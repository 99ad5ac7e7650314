//! JUnit XML reports for CI servers.

use std::fmt::Write;

use crate::domain::{
    plural::counted,
    run::{FailedItem, RunReport, StepState, StepView},
    time::Stamp,
    workspace::CaseEnd,
};

/// Returns the report of a run, with a test case for each step.
pub fn of_run(workflow: &str, report: &RunReport) -> String {
    let cases = report.steps.iter().map(|(step, view)| {
        let took = view.took(view.ended.unwrap_or(Stamp(0))).unwrap_or_default().as_secs_f64();
        let end = match &view.state {
            StepState::Ok if view.items.is_some_and(|items| items.failed > 0) => {
                let items = view.items.unwrap_or_default();
                End::Failed(format!("{} of {} failed", items.failed, counted(items.total, "item")), lines_of(view))
            }
            StepState::Ok | StepState::Compensated => End::Ok,
            StepState::Failed { error } | StepState::CompensationFailed { error } => {
                let mut detail = error.detail.iter().map(ToString::to_string).collect::<Vec<_>>();
                detail.extend(view.failed_items.iter().map(item_line));
                let detail = detail.join("\n");
                End::Failed(format!("{}: {}", view.state.word(), error.message), detail)
            }
            StepState::Skipped { why } => End::Skipped(why.clone()),
            other => End::Failed(other.word().to_owned(), other.why().unwrap_or_default().to_owned()),
        };
        (workflow.to_owned(), step.to_string(), took, end)
    });
    let mut cases: Vec<_> = cases.collect();
    // A failure outside of the steps (invalid input or outputs) must not look like a success.
    let all_passed = cases.iter().all(|(.., end)| !matches!(end, End::Failed(..)));
    if let (Some(why), true) = (&report.why, all_passed) {
        cases.push((
            workflow.to_owned(),
            "(run)".into(),
            0.0,
            End::Failed(format!("{}: {why}", report.outcome.words()), report.detail.join("\n")),
        ));
    }
    suite(workflow, report.took().as_secs_f64(), cases)
}

/// Returns the report of test files.
pub fn of_cases(cases: &[CaseEnd]) -> String {
    let took = cases.iter().map(|case| case.duration_ms).sum::<f64>() / 1000.0;
    let cases = cases.iter().map(|case| {
        let end = match case.failures.split_first() {
            None => End::Ok,
            Some((first, rest)) => End::Failed(first.clone(), rest.join("\n")),
        };
        (case.workflow.clone(), case.name.clone(), case.duration_ms / 1000.0, end)
    });
    suite("workflow tests", took, cases.collect())
}

/// Returns the failed items of a step, one on each line.
fn lines_of(view: &StepView) -> String {
    view.failed_items.iter().map(item_line).collect::<Vec<_>>().join("\n")
}

fn item_line(failed: &FailedItem) -> String {
    format!("[{}] {}", failed.item, failed.error.message)
}

enum End {
    Ok,
    Failed(String, String),
    Skipped(String),
}

fn suite(name: &str, took: f64, cases: Vec<(String, String, f64, End)>) -> String {
    let failed = cases.iter().filter(|(.., end)| matches!(end, End::Failed(..))).count();
    let skipped = cases.iter().filter(|(.., end)| matches!(end, End::Skipped(_))).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        out,
        "<testsuites>\n  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\" time=\"{took:.3}\">",
        xml(name),
        cases.len()
    );
    for (class, case, took, end) in &cases {
        let _ = write!(out, "    <testcase classname=\"{}\" name=\"{}\" time=\"{took:.3}\"", xml(class), xml(case));
        let _ = match end {
            End::Ok => writeln!(out, "/>"),
            End::Skipped(why) => writeln!(out, "><skipped message=\"{}\"/></testcase>", xml(why)),
            End::Failed(message, detail) => {
                writeln!(out, "><failure message=\"{}\">{}</failure></testcase>", xml(message), xml(detail))
            }
        };
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// Escapes text for XML 1.0, which excludes most control characters.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            c if c < ' ' || ('\u{7f}'..='\u{9f}').contains(&c) || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_xml_and_control_characters() {
        let case = CaseEnd {
            file: "f".into(),
            workflow: "a<b".into(),
            name: "\"x\" & \u{1b}[2J".into(),
            failures: vec!["]]>\n".into()],
            duration_ms: 1.5,
        };
        let text = of_cases(&[case]);
        assert!(text.contains("classname=\"a&lt;b\" name=\"&quot;x&quot; &amp; \u{fffd}[2J\" time=\"0.002\""), "{text}");
        assert!(text.contains("message=\"]]&gt;&#10;\"") && text.contains("failures=\"1\""), "{text}");
    }
}
