//! The comparison of two servers: tools, prompts and templates that one of them lacks or that differ, their instructions and their
//! capabilities.

use crate::{
    domain::{
        body::Body,
        bounds,
        drift::{self, Change, DefinitionKind, DifferenceKind, Impact},
        json::pretty,
        plural::counted,
        text::visible,
    },
    state::ServerView,
    tui::{
        overlay::describe::{Describe, Page},
        widget::{
            content::Content,
            rich_text::{Line, RichText, Role},
        },
    },
};

use super::differences;

/// Longest part of a value on the screen, in bytes.
const VALUE: usize = 400;

/// Returns the comparison of two servers: what changes for callers of the first one if the other takes its place.
pub fn servers(one: &ServerView, other: &ServerView) -> Describe {
    let head = |sign: &str, server: &ServerView, role: Role| {
        let info = server.info.as_deref();
        let name = info.and_then(|info| info.name.as_deref()).unwrap_or("not connected");
        let version = info.and_then(|info| info.version.as_deref()).unwrap_or_default();
        let protocol = info.map_or_else(String::new, |info| format!(" · {}", info.protocol));
        Line::new(format!("{sign} "), role)
            .with(server.id().as_str(), role)
            .with(format!("  {} {}{protocol}", visible(name), visible(version)), Role::Muted)
    };
    let heads = [head("-", one, Role::Fail), head("+", other, Role::Ok), Line::default()];
    let page = |lines: Vec<Line>| -> Content {
        let text = RichText::new(heads.iter().cloned().chain(lines).collect());
        Content::Rich { source: Body::from(text.text()), text }
    };
    let of = |server: &ServerView| drift::listed(&server.catalog, server.info.as_deref());
    let changes = drift::between(one.id(), &of(one), &of(other));
    let instructions = |server: &ServerView| server.info.as_ref().and_then(|info| info.instructions.clone()).unwrap_or_default();
    let capabilities = |server: &ServerView| {
        let text = server.info.as_ref().map(|info| info.capabilities.text().into_owned()).unwrap_or_default();
        pretty(&text).unwrap_or(text)
    };
    let pages: Vec<Page> = vec![
        ("definitions", page(change_lines(&changes))),
        ("instructions", page(differences(&instructions(one), &instructions(other)))),
        ("capabilities", page(differences(&capabilities(one), &capabilities(other)))),
    ];
    Describe::new("Compare two servers", "comparison", pages)
}

/// Returns a summary, and what differs of each definition.
fn change_lines(changes: &[Change]) -> Vec<Line> {
    let listed: Vec<&Change> =
        changes.iter().filter(|change| !matches!(change.kind, DefinitionKind::Server | DefinitionKind::Instructions)).collect();
    if listed.is_empty() {
        return vec![Line::new("No difference.", Role::Muted)];
    }
    let is = |change: &&&Change, kind: DifferenceKind| {
        change.differences.iter().any(|difference| difference.path.is_empty() && difference.kind == kind)
    };
    let removed = listed.iter().filter(|change| is(change, DifferenceKind::Removed)).count();
    let added = listed.iter().filter(|change| is(change, DifferenceKind::Added)).count();
    let breaking = listed.iter().filter(|change| change.impact() == Impact::Breaking).count();
    let summary = format!("{removed} removed · {added} added · {} changed", listed.len() - removed - added);
    let mut lines = vec![
        Line::new(summary, Role::Muted).with(format!(" · {} for callers of the first", counted(breaking, "breaking change")), Role::Muted),
    ];
    for change in listed {
        let role = if change.impact() == Impact::Breaking { Role::Warn } else { Role::Muted };
        let (sign, name_role) = match change.differences.first().filter(|difference| difference.path.is_empty()).map(|first| first.kind) {
            Some(DifferenceKind::Removed) => ("- ", Role::Fail),
            Some(DifferenceKind::Added) => ("+ ", Role::Ok),
            _ => ("~ ", Role::Accent),
        };
        lines.push(
            Line::new(sign, name_role)
                .with(format!("{} {}", change.kind.word(), visible(&change.name)), name_role)
                .with(format!("  {}", change.impact().word()), role),
        );
        for difference in change.differences.iter().filter(|difference| !difference.path.is_empty()) {
            let role = if difference.kind.impact() == Impact::Breaking { Role::Warn } else { Role::Muted };
            let text = format!("    {} {}", visible(&difference.path), difference.kind.words());
            lines.push(Line::new(text, role).hanging(6));
            for (sign, value, role) in [("-", &difference.before, Role::Fail), ("+", &difference.after, Role::Ok)] {
                lines.extend(value.iter().map(|value| {
                    // Invisible characters become visible: a description may hide instructions in them.
                    Line::new(format!("      {sign} {}", bounds::cut(&visible(value), VALUE)), role).hanging(8)
                }));
            }
        }
    }
    lines
}
