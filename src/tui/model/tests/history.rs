//! The history, statistics and drift in the console.

use super::*;
use crate::{
    domain::{
        call::{CallSpec, Origin},
        drift::{Change, DefinitionKind, Difference, DifferenceKind},
        history::{HistoryPage, HistoryStats, Period, StatsRow},
        id::{CallId, ToolId},
        journal::CallRecord,
        test_entries,
    },
    tui::{ConsoleUpdate, WorkspaceRequest, action::Action},
};

fn record(number: u64) -> CallRecord {
    let spec = CallSpec::tool(ToolId::new("db".into(), "query"), r#"{"limit":1}"#, Origin::Console);
    test_entries::call_record(CallId(number), 1_700_000_000_000 + number, spec, "db_query\u{202e}")
}

#[test]
fn a_page_of_the_history_lists_calls_and_continues_with_older_ones() {
    let mut harness = Harness::new(120, 40);
    let commands = harness.model.act(Action::History);
    assert_eq!(commands, []);
    harness.text("server:db").keys("enter");
    let asked = |filter: &str, before| WorkspaceRequest::History { filter: filter.into(), within: None, before, limit: 100 };
    assert_eq!(harness.take(), [Cmd::Request(asked("server:db kind:call", None))]);
    let calls = vec![record(2).summary, record(1).summary];
    let page = HistoryPage { calls, next: Some(CallId(1)), sessions: vec![] };
    harness.send(Msg::Update(ConsoleUpdate::History("server:db".into(), page.clone())));
    // A dialog that opened without a key press locks its keys for a moment.
    harness.model.at(test_support::at(20_000));
    let frame = harness.frame();
    assert!(frame.contains("db_query\\u{202e}") && frame.contains("Older calls") && frame.contains("2023-11-14"), "{frame}");
    assert_eq!(harness.keys("b").take(), [Cmd::Request(WorkspaceRequest::Calls { last: 0, ids: vec![1] })]);
    harness.send(Msg::Update(ConsoleUpdate::History("server:db".into(), page)));
    harness.model.at(test_support::at(40_000));
    assert_eq!(harness.keys("+").take(), [Cmd::Request(asked("server:db kind:call", Some(CallId(1))))]);
    harness.send(Msg::Update(ConsoleUpdate::PastCall(Box::new(record(1)))));
    let frame = harness.frame();
    assert!(frame.contains("\"limit\": 1") && frame.contains("\"content\"") && frame.contains("trace"), "{frame}");
}

#[test]
fn statistics_and_drift_are_reports() {
    let mut harness = Harness::new(120, 40);
    let row = |hour: u64, calls, errors| StatsRow { hour_ms: Some(hour * 3_600_000), calls, errors, ..StatsRow::default() };
    let stats = HistoryStats {
        period: Period { since_ms: 0, until_ms: 1 },
        total: StatsRow { calls: 30, errors: 1, ..StatsRow::default() },
        rows: vec![row(5, 20, 0), row(6, 10, 1)],
        before: vec![],
    };
    assert!(matches!(harness.model.act(Action::Statistics)[..], [Cmd::Request(WorkspaceRequest::HistoryStats { .. })]));
    harness.send(Msg::Update(ConsoleUpdate::Statistics(Box::new(stats))));
    let frame = harness.frame();
    let failed = frame.lines().find(|line| line.contains("1 failed  ")).unwrap_or_else(|| panic!("{frame}"));
    assert!(
        frame.contains(&"█".repeat(40)) && failed.contains(" 10  p95 ") && failed.contains(&format!(" {} ", "█".repeat(20))),
        "{frame}"
    );
    harness.model.at(test_support::at(20_000));
    harness.keys("esc");
    let difference = Difference {
        kind: DifferenceKind::Narrowed,
        path: "inputSchema.n.type".into(),
        before: Some("\"integer\"".into()),
        after: Some("\"string\u{200b}\"".into()),
    };
    let change = Change {
        server: "db".into(),
        kind: DefinitionKind::Tool,
        name: "query".into(),
        at_ms: 1_700_000_000_000,
        accepted: false,
        differences: vec![difference],
    };
    assert!(matches!(harness.model.act(Action::Drift)[..], [Cmd::Request(WorkspaceRequest::Drift { .. })]));
    harness.send(Msg::Update(ConsoleUpdate::Drift(vec![change])));
    let frame = harness.frame();
    assert!(frame.contains("breaking") && frame.contains("narrowed") && frame.contains("\\u{200b}"), "{frame}");
}
