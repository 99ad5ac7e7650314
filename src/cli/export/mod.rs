//! Renderers of exports: calls of the history as a session file, a HTTP archive, Markdown or HTML. Pure.

pub mod har;
pub mod html;
pub mod jsonl;
pub mod markdown;

use crate::domain::{
    body::Body,
    call::Operation,
    journal::{CallOutcome, CallRecord},
    time::date,
};

/// Returns the arguments of a call as text.
fn arguments(call: &CallRecord) -> String {
    match &call.spec.operation {
        Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => arguments.text().into_owned(),
        Operation::Complete { params, .. } | Operation::Raw { params, .. } => params.text().into_owned(),
        Operation::Resource { .. } => String::new(),
    }
}

/// Returns the result of a call as text; empty without one.
fn result(call: &CallRecord) -> String {
    call.result.as_ref().map(Body::text).unwrap_or_default().into_owned()
}

/// Returns JSON text with line breaks, or the text if it is not JSON.
fn indented(text: &str) -> String {
    let json = serde_json::from_str::<serde_json::Value>(text).ok();
    json.and_then(|json| serde_json::to_string_pretty(&json).ok()).unwrap_or_else(|| text.to_owned())
}

/// Returns whether a call failed.
fn failed(call: &CallRecord) -> bool {
    matches!(call.summary.outcome, CallOutcome::Failed(_) | CallOutcome::ToolError)
}

/// Returns a time in UTC (RFC 3339, section 5.6).
fn timestamp(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (day, time) = (date(seconds), seconds % 86_400);
    format!("{day}T{:02}:{:02}:{:02}.{:03}Z", time / 3600, time / 60 % 60, time % 60, unix_ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        call::{CallSpec, Failure, FailureKind, Origin, Outcome},
        call_summary::CallSummary,
        id::{CallId, InstanceId, ToolId},
        test_entries,
    };

    fn calls() -> Vec<CallRecord> {
        let spec = |arguments: &str| CallSpec::tool(ToolId::new("db".into(), "query"), arguments, Origin::Console);
        let hostile = r#"{"a":"</script><img src=x onerror=alert(1)>`|"}"#;
        let mut failed = test_entries::call_record(CallId(2 << 22), 1_500, spec("{}"), "db_query");
        failed.summary.outcome = CallOutcome::Failed(FailureKind::Timeout);
        failed.summary.error = Some("no answer | within 5 s".into());
        failed.result = None;
        vec![test_entries::call_record(CallId(1 << 22), 1_000, spec(hostile), "db_query"), failed]
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(timestamp(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn html_is_self_contained_and_escapes_what_servers_say() {
        let page = html::render(&calls());
        assert!(page.starts_with("<!doctype html>") && page.contains("db_query") && page.contains("timeout"), "{page}");
        assert!(!page.contains("<img") && !page.contains("http://") && !page.contains("https://"), "{page}");
        assert_eq!(page.matches("<script").count(), 0);
        assert_eq!(page.matches("class=\"call").count(), 2);
    }

    #[test]
    fn markdown_has_a_row_and_a_section_for_each_call() {
        let text = markdown::render(&calls());
        assert!(text.contains("| db_query |") && text.contains("no answer \\| within 5 s"), "{text}");
        assert_eq!(text.matches("\n## ").count(), 2);
        assert!(text.contains("```json\n{\n"), "{text}");
    }

    #[test]
    fn har_has_an_entry_for_each_call() {
        let har: serde_json::Value = serde_json::from_str(&har::render(&calls())).unwrap();
        let entries = har["log"]["entries"].as_array().unwrap();
        assert_eq!((har["log"]["version"].as_str(), entries.len()), (Some("1.2"), 2));
        assert_eq!(entries[0]["request"]["method"], "POST");
        let sent: serde_json::Value = serde_json::from_str(entries[0]["request"]["postData"]["text"].as_str().unwrap()).unwrap();
        assert_eq!((sent["method"].as_str(), sent["params"]["name"].as_str()), (Some("tools/call"), Some("query")));
        assert_eq!(entries[0]["startedDateTime"], "1970-01-01T00:00:01.000Z");
        assert_eq!(entries[1]["_outcome"], "timeout");
    }

    #[test]
    fn a_failure_is_not_lost_in_a_summary() {
        let spec = CallSpec::tool(ToolId::new("db".into(), "query"), "{}", Origin::Console);
        let settled = crate::domain::event::Settled {
            outcome: Outcome::Failed { failure: Failure::new(FailureKind::Timeout, "m").into() },
            timings: Default::default(),
            rounds: 1,
            sent_bytes: 0,
            received_bytes: 0,
            attempts: 1,
            by: None,
            cached: None,
        };
        let summary = CallSummary::new((InstanceId(1), CallId(1)), (0, "n"), &spec, &settled);
        assert!(failed(&CallRecord { summary, spec: spec.into(), result: None }));
    }
}
