//! The history in the traffic view: one list with the rows of the console.

use super::*;
use crate::{
    domain::{
        call::{FailureKind, Origin},
        call_summary::CallSummary,
        history::HistoryPage,
        id::{InstanceId, ToolId},
        journal::{CallOutcome, CallRecord},
        program_session::{SessionKind, SessionStart},
        test_entries,
    },
    tui::{ConsoleUpdate, rows::past::MOST, view::ViewId},
};

const YESTERDAY: u64 = 1_700_000_000_000;

fn start(session: u32, kind: SessionKind, started_ms: u64) -> SessionStart {
    SessionStart { session: InstanceId(session), kind, started_ms }
}

fn record(session: u32, number: u64, tool: &str) -> CallRecord {
    let spec = CallSpec::tool(ToolId::new("db".into(), tool), r#"{"limit":1.50}"#, Origin::Cli);
    let unix_ms = YESTERDAY + number * 1_000;
    let mut record = test_entries::call_record(CallId::from_parts(unix_ms, 0), unix_ms, spec, &format!("db_{tool}"));
    record.summary.instance = InstanceId(session);
    record
}

fn call(session: u32, number: u64, tool: &str) -> CallSummary {
    record(session, number, tool).summary
}

/// A console of a recorded session in the traffic view.
fn traffic(width: u16, height: u16) -> Harness {
    let mut harness = Harness::busy(width, height);
    harness.send(Msg::Update(ConsoleUpdate::Session(start(0xc0, SessionKind::Console, YESTERDAY + 90_000_000))));
    harness.keys("2");
    assert_eq!(harness.model.views.current, ViewId::Traffic);
    harness
}

/// Answers the page that the console reads now; returns what it asked for.
fn answer(harness: &mut Harness, page: Result<HistoryPage, String>) -> (String, CallId) {
    let asked = harness.take();
    let [Cmd::ReadPast(filter, before)] = &asked[..] else { panic!("{asked:?}") };
    harness.send(Msg::Update(ConsoleUpdate::PastPage(filter.clone(), *before, page)));
    (filter.clone(), *before)
}

fn page(calls: Vec<CallSummary>, next: Option<CallId>) -> HistoryPage {
    let sessions = vec![start(0xaa, SessionKind::Gateway, YESTERDAY), start(0xbb, SessionKind::Headless, YESTERDAY + 3_000)];
    HistoryPage { calls, next, sessions }
}

/// The text of the line under the cursor: what is open when it is opened.
fn cursor(harness: &Harness) -> String {
    let views = &harness.model.views;
    let row = views.traffic.selected(&views.state.rows).and_then(|id| views.state.rows.get(id)).expect("a row");
    views.state.rows.name(row.key).unwrap().tool.to_string()
}

#[test]
fn scrolling_past_the_oldest_row_continues_in_the_history() {
    let mut harness = traffic(120, 24);
    assert_eq!(harness.take(), [], "the history is not read while the view follows");
    harness.keys("up");
    // Newest first, of two sessions.
    let calls = vec![call(0xbb, 5, "fifth"), call(0xbb, 4, "fourth"), call(0xaa, 2, "third"), call(0xaa, 1, "second")];
    let oldest = calls.last().unwrap().call;
    let (filter, _) = answer(&mut harness, Ok(page(calls, Some(oldest))));
    assert_eq!(filter, "");
    let (_, before) = answer(&mut harness, Ok(page(vec![call(0xaa, 0, "first")], None)));
    assert_eq!(before, oldest);
    assert_eq!(harness.keys("up up").take(), [], "all of the history was read");
    let frame = harness.frame();
    let lines = [
        "· gateway · 000000aa",
        "first",
        "second",
        "third",
        "· headless · 000000bb",
        "fourth",
        "fifth",
        "console · this session",
        "query_users",
    ];
    let places: Vec<usize> = lines.iter().map(|text| frame.find(text).unwrap_or_else(|| panic!("{text}: {frame}"))).collect();
    assert!(places.is_sorted(), "{frame}");
    assert!(frame.contains("5 of the history"), "{frame}");
    // The cursor passes over the lines of sessions, in both directions.
    harness.keys("home");
    assert_eq!(cursor(&harness), "first");
    assert!(harness.frame().contains("· gateway · 000000aa"), "the line above the first row is visible");
    let mut seen = vec![cursor(&harness)];
    for _ in 0..5 {
        harness.keys("down");
        seen.push(cursor(&harness));
    }
    assert_eq!(seen, ["first", "second", "third", "fourth", "fifth", "query_users"]);
    harness.keys("up");
    assert_eq!(cursor(&harness), "fifth");
    harness.keys("end");
    assert!(harness.model.views.traffic.following());
    // New rows of the console come below.
    harness.event(EventKind::CallQueued {
        call: CallId(900),
        spec: Arc::new(CallSpec::new(test_support::tool_call("database", "latest_of_all", "{}"), Origin::Console)),
    });
    assert_eq!(cursor(&harness), "latest_of_all");
}

#[test]
fn the_history_has_the_filter_of_the_view_and_is_read_again_with_another_one() {
    let mut harness = traffic(120, 24);
    harness.keys("up");
    let stale = harness.take();
    let [Cmd::ReadPast(_, stale)] = stale[..] else { panic!("{stale:?}") };
    harness.keys("/").text("outcome:FAILED server:db");
    assert_eq!(harness.take(), [], "the history is not read while the filter is typed");
    harness.keys("enter up");
    harness.send(Msg::Update(ConsoleUpdate::PastPage(String::new(), stale, Ok(page(vec![call(0xaa, 9, "stale")], None)))));
    let failed = CallSummary { outcome: CallOutcome::Failed(FailureKind::Timeout), ..call(0xaa, 1, "lookup") };
    let (filter, _) = answer(&mut harness, Ok(page(vec![failed], None)));
    assert_eq!(filter, "outcome:failed server:db");
    let frame = harness.frame();
    assert!(frame.contains("lookup") && frame.contains("timeout") && !frame.contains("stale"), "{frame}");
    // Without the filter the rows are read again.
    harness.keys("esc up");
    let (filter, _) = answer(&mut harness, Ok(page(vec![call(0xaa, 1, "elsewhere")], None)));
    assert_eq!(filter, "");
    let frame = harness.frame();
    assert!(frame.contains("elsewhere") && !frame.contains("lookup"), "{frame}");
    assert!(!harness.keys("3").frame().contains("elsewhere"), "the timeline has the rows of this console");
}

#[test]
fn a_row_of_the_history_opens_with_its_arguments_and_result() {
    let mut harness = traffic(120, 40);
    harness.keys("up");
    let known = record(0xaa, 1, "lookup");
    answer(&mut harness, Ok(page(vec![known.summary.clone()], None)));
    harness.keys("home enter");
    assert_eq!(harness.take(), [Cmd::ReadPastCall(known.summary.call)]);
    assert!(harness.frame().contains("Reading …"));
    harness.send(Msg::Update(ConsoleUpdate::PastRow(CallId(1), Some(Box::new(record(0xaa, 1, "another"))))));
    assert!(harness.frame().contains("Reading …"), "another call");
    harness.send(Msg::Update(ConsoleUpdate::PastRow(known.summary.call, Some(Box::new(known)))));
    let frame = harness.frame();
    for text in ["db · lookup", "2023-11-14", "1.50", "content", "gateway session 000000aa", "✓ ok"] {
        assert!(frame.contains(text), "{text}: {frame}");
    }
    assert_eq!(harness.take(), [], "it is read once");
    // What needs the call in memory says so.
    assert!(harness.keys(".").take().iter().all(|command| !matches!(command, Cmd::Submit { .. })));
}

#[test]
fn a_history_that_cannot_be_read_is_reported_once() {
    let mut harness = traffic(120, 24);
    harness.keys("up");
    answer(&mut harness, Err("the history cannot be read: the disk is gone".into()));
    assert!(harness.frame().contains("the disk is gone"));
    assert_eq!(harness.keys("up up home").take(), []);
}

#[test]
fn a_console_whose_calls_are_not_recorded_reads_no_history() {
    let mut harness = Harness::busy(120, 24);
    assert_eq!(harness.keys("2 up home").take(), []);
}

#[test]
fn an_empty_list_reads_the_history_on_request() {
    let mut harness = traffic(120, 24);
    harness.keys("/").text("tool:nowhere").keys("enter");
    assert_eq!(harness.take(), []);
    assert!(harness.frame().contains("shows earlier rows from the history"), "{}", harness.frame());
    harness.keys("up");
    answer(&mut harness, Ok(page(vec![], None)));
    assert!(harness.frame().contains("The history has none either."), "{}", harness.frame());
    assert_eq!(harness.keys("up up").take(), []);
}

#[test]
fn the_history_in_memory_is_bounded() {
    let mut harness = traffic(120, 24);
    harness.keys("up");
    let mut read = 0;
    for n in 0..=(MOST as u64 / 1_000) {
        let calls: Vec<CallSummary> = (0..1_000).map(|i| call(0xaa, 200_000 - n * 1_000 - i, "query")).collect();
        let next = calls.last().map(|call| call.call);
        harness.keys("home");
        let asked = harness.take();
        let Some(Cmd::ReadPast(filter, before)) = asked.first().cloned() else { break };
        read += calls.len();
        harness.send(Msg::Update(ConsoleUpdate::PastPage(filter, before, Ok(page(calls, next)))));
    }
    assert_eq!(read, MOST);
    assert_eq!(harness.keys("home up").take(), []);
    assert!(harness.frame().contains("filter to see older"), "{}", harness.frame());
}

proptest! {
    #[test]
    fn the_cursor_is_on_a_row_whatever_is_pressed(
        keys in proptest::collection::vec(prop::sample::select(vec!["up", "down", "pageup", "pagedown", "home", "end", "s", "S", "f", "enter", "esc"]), 1..40),
        sessions in proptest::collection::vec(0u32..3, 0..30),
        height in 8u16..40,
    ) {
        let mut harness = traffic(100, height);
        let mut left: Vec<CallSummary> =
            sessions.iter().enumerate().map(|(n, session)| call(0xaa + session, 1_000 - n as u64, "query")).collect();
        for key in keys {
            harness.keys(key);
            for command in harness.take() {
                if let Cmd::ReadPast(filter, before) = command {
                    let calls: Vec<CallSummary> = left.drain(..left.len().min(7)).collect();
                    let next = calls.last().map(|call| call.call).filter(|_| !left.is_empty());
                    harness.send(Msg::Update(ConsoleUpdate::PastPage(filter, before, Ok(page(calls, next)))));
                }
            }
            let views = &harness.model.views;
            if let Some(id) = views.traffic.selected(&views.state.rows) {
                prop_assert!(views.state.rows.get(id).is_some(), "{key}");
            }
            prop_assert!(!harness.frame().trim().is_empty());
        }
    }
}

#[test]
fn the_sessions_of_the_history_are_listed_and_one_shows_its_traffic() {
    use crate::{
        domain::program_session::SessionSummary,
        tui::{WorkspaceRequest, action::Action, overlay::sessions::Sessions},
    };
    let session = |id, kind, day: u64, calls, failures| SessionSummary {
        start: start(id, kind, YESTERDAY + day * 86_400_000),
        last_ms: YESTERDAY + day * 86_400_000 + 61_000,
        ended_ms: None,
        calls,
        failures,
    };
    let all = || vec![session(0xc0, SessionKind::Console, 1, 4, 0), session(0xaa, SessionKind::Gateway, 0, 1_234, 5)];
    for (width, height) in [(120, 40), (80, 24), (40, 12)] {
        let mut harness = traffic(width, height);
        assert_eq!(harness.model.act(Action::Sessions), [Cmd::Request(WorkspaceRequest::Sessions { last: 500 })]);
        harness.send(Msg::Update(ConsoleUpdate::Sessions(all())));
        let frame = harness.frame();
        let row = frame.lines().find(|line| line.contains("gateway")).unwrap_or_else(|| panic!("{frame}"));
        assert!(row.contains("2023-11-14 22:13:20") && frame.contains("this session") && frame.contains("2 sessions"), "{frame}");
        if width >= 80 {
            assert!(row.contains("1 m 01 s") && row.contains("1 234"), "{row}");
            assert!(row.contains("✕ 5") && row.contains("000000aa"), "{row}");
        }
    }
    let mut harness = traffic(120, 24);
    // Sorted by another column, the list has no history.
    harness.keys("s").take();
    harness.send(Msg::Update(ConsoleUpdate::Sessions(all())));
    harness.keys("down enter");
    assert!(harness.model.dialogs.top_as::<Sessions>().is_none());
    let (filter, _) = answer(&mut harness, Ok(page(vec![call(0xaa, 2, "third")], None)));
    assert_eq!(filter, "session:000000aa", "read without another key");
    let frame = harness.frame();
    assert!(frame.contains("third") && !frame.contains("query_users"), "{frame}");

    // A console whose calls are not recorded has no history in its traffic.
    let mut harness = Harness::busy(120, 24);
    harness.send(Msg::Update(ConsoleUpdate::Sessions(all())));
    harness.keys("enter");
    assert!(
        matches!(&harness.take()[..], [Cmd::Request(WorkspaceRequest::History { filter, .. })] if filter.starts_with("session:000000c0"))
    );
    let mut harness = Harness::busy(80, 24);
    harness.send(Msg::Update(ConsoleUpdate::Sessions(vec![])));
    assert!(harness.frame().contains("The history has no sessions"), "{}", harness.frame());
}

#[test]
fn a_filter_that_no_row_passes_says_so_in_any_order() {
    let mut harness = Harness::busy(120, 24);
    harness.keys("2 s /").text("nothinglikethis").keys("enter");
    while harness.model.working() {
        harness.model.work();
    }
    let frame = harness.frame();
    assert!(frame.contains("No rows match") && !frame.contains("filtering"), "{frame}");
}
