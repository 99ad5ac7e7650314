//! Tests of everyday handling: comparing and watching calls, values of earlier results, servers in their files, the layout of
//! the next start, the messages of a session.

use serde_json::json;

use super::*;
use crate::{
    domain::{console_layout::ConsoleLayout, workspace::ServerEdit},
    tui::{
        overlay::{describe::Describe, menu::Menu, value_picker::ValuePicker, watch::Watch},
        view::ViewId,
    },
};

/// Adds a call of `database_query_users` with its result.
fn queried(harness: &mut Harness, call: u64, result: serde_json::Value) {
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    script.queued(8000 + call, call, test_support::tool_call("database", "query_users", r#"{"filter":"ann"}"#));
    let result = json!({"content": [], "structuredContent": result});
    script.settled(8000 + call, 5, call, Outcome::Ok { result: Body::json(&result) });
    harness.send(Msg::Events(script.events));
}

#[test]
fn a_call_is_compared_with_the_one_before_it_or_with_a_marked_one() {
    let mut harness = Harness::busy(120, 40);
    queried(&mut harness, 900, json!({"total": 1, "page": 1}));
    queried(&mut harness, 901, json!({"total": 2, "page": 1}));
    harness.traffic().keys("end =");
    let frame = harness.frame();
    assert!(frame.contains("Compare two calls") && frame.contains("-   \"total\": 1") && frame.contains("+   \"total\": 2"), "{frame}");
    assert!(frame.contains("1 line removed · 1 line added"), "{frame}");
    harness.keys("]");
    assert!(harness.frame().contains("No difference."), "the arguments are equal: {}", harness.frame());
    harness.keys("esc");
    queried(&mut harness, 902, json!({"total": 3, "page": 1}));
    harness.keys("end up up m end m =");
    let frame = harness.frame();
    assert!(frame.contains("\"total\": 1") && frame.contains("\"total\": 3") && !frame.contains("\"total\": 2"), "{frame}");
}

#[test]
fn a_watch_sends_the_call_again_and_marks_the_lines_that_changed() {
    let mut harness = Harness::busy(120, 40);
    harness.tool("queryu").text("ann").keys("alt-w").text("2").keys("enter");
    let token = |harness: &mut Harness| match harness.take().pop() {
        Some(Cmd::Submit { token, .. }) => token,
        other => panic!("nothing was submitted: {other:?}"),
    };
    let first = token(&mut harness);
    harness.send(Msg::Submitted { token: first, call: CallId(900) });
    queried(&mut harness, 900, json!({"total": 1}));
    assert!(harness.frame().contains("1 call · ok"), "{}", harness.frame());
    harness.send(Msg::Tick(test_support::at(9_000)));
    assert_eq!(harness.take(), [], "not before the interval");
    harness.send(Msg::Tick(test_support::at(11_000)));
    let second = token(&mut harness);
    harness.send(Msg::Submitted { token: second, call: CallId(901) });
    queried(&mut harness, 901, json!({"total": 2}));
    let frame = harness.frame();
    assert!(frame.contains("-   \"total\": 1") && frame.contains("+   \"total\": 2"), "{frame}");
    harness.keys("esc");
    assert!(harness.model.dialogs.top_as::<Watch>().is_none());
    harness.send(Msg::Tick(test_support::at(60_000)));
    assert_eq!(harness.take(), [], "a closed watch sends nothing");
}

#[test]
fn a_value_of_an_earlier_result_goes_into_the_field() {
    let mut harness = Harness::busy(120, 40);
    queried(&mut harness, 900, json!({"users": [{"id": "u_7", "email": "ann@example.org"}]}));
    harness.tool("queryu").keys("alt-v");
    assert!(harness.model.dialogs.top_as::<ValuePicker>().is_some(), "{}", harness.frame());
    assert!(harness.frame().contains("users[0].email"), "{}", harness.frame());
    harness.text("ann@").keys("enter enter");
    assert_eq!(harness.submitted_spec().operation, test_support::tool_call("database", "query_users", r#"{"filter":"ann@example.org"}"#));
}

#[test]
fn a_server_is_opened_at_its_line_and_changed_in_its_file() {
    let mut state = test_support::shop_state();
    let server = state.servers.get_mut(0).unwrap();
    let mut spec = crate::domain::server::ServerSpec::clone(&server.spec);
    (spec.origin.file, spec.origin.line) = (Some("/home/me/switchboard.toml".into()), Some(12));
    let id = spec.id.clone();
    server.spec = spec.into();
    let mut harness = Harness::with(120, 40, state, Startup::Normal);
    harness.keys(":").text(&format!("go {id}")).keys("enter esc e");
    assert_eq!(harness.take(), [Cmd::EditFile { path: "/home/me/switchboard.toml".into(), line: Some(12) }]);
    harness.keys("E");
    assert!(
        harness.model.dialogs.top_as::<Menu>().is_some() && harness.frame().contains("/home/me/switchboard.toml:12"),
        "{}",
        harness.frame()
    );
    harness.keys("d");
    let edit = |edit| [Cmd::Request(WorkspaceRequest::EditServer { server: id.clone(), edit })];
    assert_eq!(harness.take(), edit(ServerEdit::Disable));
    harness.keys("E x");
    assert!(harness.frame().contains("Remove"), "{}", harness.frame());
    assert_eq!(harness.take(), [], "it asks first");
    harness.keys("y");
    assert_eq!(harness.take(), edit(ServerEdit::Remove));
    harness.keys("E c").text("copy").keys("enter");
    assert_eq!(harness.take(), edit(ServerEdit::Duplicate("copy".into())));
}

#[test]
fn the_layout_is_restored_at_the_next_start() {
    let mut harness = Harness::busy(120, 40);
    harness.keys("2 /").text("server:database").keys("enter L");
    let kept = harness.model.current_layout();
    assert_eq!((kept.view, kept.activity_hidden, kept.traffic_filter.as_str()), (1, true, "server:database"));
    let setup = Setup { layout: ConsoleLayout::from_json(&kept.to_json()), ..Harness::setup(Startup::Normal) };
    let mut next = Harness::set_up(120, 40, test_support::shop_state(), setup);
    assert_eq!(next.model.views.current, ViewId::Traffic);
    assert!(next.frame().contains("server:database") && !next.frame().contains("Last 60 s"), "{}", next.frame());
    assert_eq!(next.model.current_layout(), kept);
}

#[test]
fn the_demo_opens_with_a_call_unless_the_user_is_faster() {
    let opening = || Some(test_support::tool_call("database", "query_users", r#"{"role":"admin"}"#));
    let shop = test_support::shop_state;
    let start = || Harness::set_up(120, 40, shop(), Setup { opening: opening(), ..Harness::setup(Startup::Normal) });
    let event = |harness: &Harness| {
        let mut script = test_support::Script::after(harness.model.read_model().seq);
        script.frame(9000, "email", 0, crate::domain::frame::Direction::In, "{}");
        Msg::Events(script.events)
    };
    let mut harness = start();
    let news = event(&harness);
    harness.send(news);
    let spec = harness.submitted_spec();
    assert_eq!((Some(spec.operation), spec.origin), (opening(), crate::domain::call::Origin::Demo));
    assert!(harness.frame().contains("─ database_query_users ─"), "{}", harness.frame());
    let news = event(&harness);
    harness.send(news);
    assert!(harness.take().is_empty(), "only once");

    let mut harness = start();
    harness.keys("down");
    let news = event(&harness);
    harness.send(news);
    assert!(harness.take().is_empty());
}

/// Adds a frame of a session to a script; its id is the one in the body.
fn session(script: &mut test_support::Script, ms: u64, direction: crate::domain::frame::Direction, method: &str, body: &str) {
    script.frame(ms, "database", 0, direction, body);
    let last = script.events.pop().unwrap();
    let EventKind::Frame { frame } = &last.kind else { panic!("not a frame") };
    let id = frame.body.value().map(|message| message["id"].to_string());
    let frame =
        crate::domain::frame::Frame { call: None, method: Some(method.into()), rpc_id: id.map(Into::into), seq: ms, ..(**frame).clone() };
    script.push(ms, EventKind::Frame { frame: Arc::new(frame) });
}

/// Shows the rows of sessions in the traffic view.
fn lifecycle_rows(harness: &mut Harness) -> String {
    harness.keys("2 /").text("kind:lifecycle").keys("enter");
    while harness.model.working() {
        harness.model.work();
    }
    harness.frame()
}

#[test]
fn a_request_of_the_session_and_its_response_are_one_row_with_a_duration() {
    use crate::domain::frame::Direction;
    let mut harness = Harness::busy(160, 40);
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    let list = |id: u32| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{{}}}}"#);
    session(&mut script, 8000, Direction::Out, "tools/list", &list(1));
    session(&mut script, 8001, Direction::Out, "prompts/list", &list(2));
    let error = r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"no prompts here"}}"#;
    session(&mut script, 8013, Direction::In, "prompts/list", error);
    session(&mut script, 8040, Direction::In, "tools/list", r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{}]}}"#);
    // After a restart the ids repeat; the request without a response stays as it is.
    session(&mut script, 8050, Direction::Out, "tools/list", &list(1));
    harness.send(Msg::Events(script.events));
    let frame = lifecycle_rows(&mut harness);
    let rows: Vec<&str> = frame.lines().filter(|line| line.contains("/list")).collect();
    assert_eq!(rows.len(), 3, "{frame}");
    for (row, words) in
        rows.iter().zip([&["tools/list", "1 tool", "✓ ok", "40 ms"][..], &["no prompts here", "✕", "12 ms"][..], &["→"][..]])
    {
        words.iter().for_each(|word| assert!(row.contains(word), "{word}: {frame}"));
    }
    // The newest row first: the list of tools is two rows up.
    harness.keys("up up enter");
    let frame = harness.frame();
    assert!(frame.contains("request") && frame.contains("response") && frame.contains("· 40 ms"), "{frame}");
}

#[test]
fn the_handshake_and_the_lists_are_rows_of_the_traffic() {
    use crate::domain::frame::Direction;
    let mut harness = Harness::busy(160, 40);
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"progressToken":7},"cursor":"c1"}}"#;
    session(&mut script, 8000, Direction::Out, "tools/list", list);
    let again = r#"{"jsonrpc":"2.0","id":9,"method":"tools/list","params":{}}"#;
    session(&mut script, 8000, Direction::Out, "tools/list", again);
    session(&mut script, 8001, Direction::In, "tools/list", r#"{"jsonrpc":"2.0","id":9,"result":{"tools":[]}}"#);
    let legacy = r#"{"jsonrpc":"2.0","id":2,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"shop","version":"2.1"}}}"#;
    session(&mut script, 8002, Direction::In, "initialize", legacy);
    let modern = r#"{"jsonrpc":"2.0","id":3,"result":{"supportedVersions":["2026-07-28"],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"desk"}}}}"#;
    session(&mut script, 8003, Direction::In, "server/discover", modern);
    harness.send(Msg::Events(script.events));
    let frame = lifecycle_rows(&mut harness);
    for words in ["tools/list", "→ {\"cursor\":\"c1\"}", "  0 tools", "← shop 2.1 · 2025-11-25", "← desk · 2026-07-28"] {
        assert!(frame.contains(words), "{words}\n{frame}");
    }
    harness.keys("enter");
    assert!(harness.frame().contains("Session"), "{}", harness.frame());
    assert!(harness.model.dialogs.top_as::<Describe>().is_none());
}

#[test]
fn a_result_is_saved_and_its_messages_are_shown_with_one_key() {
    let mut harness = Harness::busy(120, 40);
    harness.tool("queryu").keys("enter");
    let Some(Cmd::Submit { token, .. }) = harness.take().pop() else { panic!("not sent") };
    queried(&mut harness, 900, json!({"total": 1}));
    harness.send(Msg::Submitted { token, call: CallId(900) });
    assert_eq!(harness.model.console.focus, Focus::Call);
    harness.keys("alt-r");
    let saved = harness.take();
    assert!(
        matches!(&saved[..], [Cmd::Save { path, overwrite: false, content }] if path == "result-384.json" && content.len() > 10),
        "{saved:?}"
    );
    harness.keys("alt-down f");
    assert_eq!(harness.model.console.result.tab(), crate::tui::pane::detail::Tab::Frames);
    assert!(harness.frame().contains("No frames:"), "{}", harness.frame());
    let mut empty = Harness::new(120, 40);
    assert_eq!(empty.tool("createu").keys("alt-r").take(), []);
    assert!(empty.frame().contains("Nothing to save here."), "{}", empty.frame());
}

#[test]
fn enter_reads_a_resource_that_the_filter_found() {
    for size in [(120, 40), (80, 24)] {
        let mut harness = Harness::new(size.0, size.1);
        harness.keys("/").text("sche").keys("enter");
        let operation = harness.submitted_spec().operation;
        assert!(matches!(&operation, Operation::Resource { uri, .. } if uri == "db://schema"), "{operation:?}");
        // A template has arguments: it is only opened.
        harness.keys("esc /").text("user").keys("down enter");
        assert!(!harness.take().iter().any(|command| matches!(command, Cmd::Submit { .. })), "{}", harness.frame());
    }
}
