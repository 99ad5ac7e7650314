//! Calls as Markdown: a table, and a section for each call.

use super::{arguments, indented, result, timestamp};
use crate::domain::{journal::CallRecord, text::visible, time};

/// Returns the calls as Markdown.
pub fn render(calls: &[CallRecord]) -> String {
    let mut out = String::from("# Calls\n\n| Call | Started (UTC) | Name | Outcome | Took |\n|---|---|---|---|---|\n");
    let cell = |text: &str| visible(text).replace('|', "\\|");
    for call in calls {
        let summary = &call.summary;
        let error = summary.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            summary.call,
            timestamp(summary.unix_ms),
            cell(&summary.name),
            cell(&format!("{}{error}", summary.outcome.words())),
            time::short(summary.took())
        ));
    }
    for call in calls {
        let summary = &call.summary;
        out.push_str(&format!(
            "\n## {} {}\n\nServer {}, {}.\n",
            cell(&summary.name),
            summary.call,
            summary.server,
            summary.outcome.words()
        ));
        for (title, text) in [("Arguments", arguments(call)), ("Result", result(call))] {
            if !text.is_empty() {
                out.push_str(&format!("\n{title}:\n\n{}\n", block(&indented(&text))));
            }
        }
    }
    out
}

/// Returns a fenced block, with a fence that is longer than those in the text.
fn block(text: &str) -> String {
    let longest = text.lines().map(|line| line.chars().take_while(|c| *c == '`').count()).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}json\n{text}\n{fence}")
}
