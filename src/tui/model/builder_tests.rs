//! Tests of the call form and its result, by keys.

use std::{sync::Arc, time::Duration};

use base64::Engine as _;

use crate::{
    control::Command,
    domain::{
        argument_history::{Recall, RecallKind, Recalled},
        ask::Question,
        body::Body,
        call::{CallSpec, Operation, Origin, Outcome},
        catalog::{RawLists, ServerCatalog},
        event::EventKind,
        id::CallId,
        server::{Era, SessionInfo},
    },
    tui::{Startup, WorkspaceRequest, action::Action, test_support},
};

use super::{tests::Harness, *};
use crate::tui::{layout::Focus, overlay::palette::Palette};

fn resource(uri: &str) -> Operation {
    Operation::Resource { server: "database".into(), uri: uri.into() }
}

/// Returns a console with the response to one call, the cursor in the result.
fn answered(width: u16, height: u16, result: &str) -> Harness {
    let mut harness = Harness::new(width, height);
    harness.tool("queryu").keys("enter");
    let Some(Cmd::Submit { token, spec }) = harness.take().pop() else { panic!("not fired") };
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    script.queued(8000, 500, spec.operation.clone());
    script.frame(8000, "database", 500, crate::domain::frame::Direction::Out, r#"{"id":7,"x":"\u001b"}"#);
    script.settled(8000, 3, 500, Outcome::Ok { result: Body::from(result) });
    harness.send(Msg::Submitted { token, call: CallId(500) }).send(Msg::Events(script.events));
    if harness.model.console.focus != Focus::Result {
        harness.keys("tab");
    }
    assert_eq!(harness.model.console.focus, Focus::Result);
    harness
}

const USERS: &str =
    r#"{"content":[],"structuredContent":{"users":[{"name":"Ann","age":31},{"name":"Bob","age":25},{"name":"annabel","age":40}]}}"#;

#[test]
fn a_cleared_form_can_be_restored() {
    let mut harness = Harness::new(120, 40);
    harness.tool("createuser").text("ann@example.org").keys("ctrl-r");
    assert!(!harness.frame().contains("ann@example.org") && harness.frame().contains("undoes this"), "{}", harness.frame());
    harness.keys("alt-u");
    assert!(harness.frame().contains("ann@example.org"), "{}", harness.frame());
    // In JSON too: the text comes back, though it is not valid yet.
    harness.keys("ctrl-e").text("zz");
    let written = harness.model.console.call.arguments().text();
    harness.keys("ctrl-r");
    assert!(!harness.model.console.call.arguments().editing_json());
    harness.keys("esc u");
    assert_eq!(harness.model.console.call.arguments().text(), written);
    harness.text("q").keys("ctrl-u");
    assert_eq!(harness.model.console.call.arguments().text(), written, "the editor's own undo is a named action");
    // Other panes have nothing to undo.
    let mut harness = Harness::new(120, 40);
    harness.keys("ctrl-p").text("undo");
    let Some(palette) = harness.model.dialogs.top_as::<Palette>() else { panic!() };
    assert_ne!(palette.chosen(), Some(crate::tui::overlay::palette::Choice::Action(Action::Undo)));
}

#[test]
fn two_keys_and_text_lead_from_a_tool_to_its_result() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").keys("esc esc");
    assert_eq!(harness.model.console.focus, Focus::Servers);
    harness.take();
    // The tool is selected: Enter, text, Enter.
    harness.keys("enter").text("ann").keys("enter");
    let spec = harness.submitted_spec();
    assert_eq!(spec.operation, test_support::tool_call("database", "query_users", r#"{"filter":"ann"}"#));
}

#[test]
fn a_result_is_searched_while_typing() {
    let mut harness = answered(120, 40, USERS);
    harness.keys("/").text("ann").keys("enter");
    assert!(harness.frame().contains("/ann 1 of 2"), "{}", harness.frame());
    harness.keys("n");
    assert!(harness.frame().contains("/ann 2 of 2"), "{}", harness.frame());
    harness.keys("N");
    assert!(harness.frame().contains("/ann 1 of 2"));
    insta::assert_snapshot!("search_120x40", harness.frame());
    harness.keys("esc");
    assert!(!harness.frame().contains("/ann") && harness.model.console.focus == Focus::Result, "Esc ends the search first");
}

/// Clicks on a cell of these words.
fn click(harness: &mut Harness, words: &str, cell: u16) {
    let frame = harness.frame();
    let (y, row) = frame.lines().enumerate().find(|(_, row)| row.contains(words)).unwrap_or_else(|| panic!("{words}: {frame}"));
    let x = row[..row.find(words).unwrap()].chars().count();
    let kind = crossterm::event::MouseEventKind::Down(crossterm::event::MouseButton::Left);
    let modifiers = crossterm::event::KeyModifiers::NONE;
    harness.send(Msg::Input(crate::tui::input::Input::Mouse(crossterm::event::MouseEvent {
        kind,
        column: x as u16 + cell,
        row: y as u16,
        modifiers,
    })));
}

#[test]
fn a_click_on_its_sign_folds_a_value_and_a_second_one_on_its_row_too() {
    let mut harness = answered(120, 40, USERS);
    click(&mut harness, "▾ users", 0);
    assert!(harness.frame().contains("▸ users"), "{}", harness.frame());
    click(&mut harness, "▸ users", 0);
    assert!(harness.frame().contains("▾ users"));
    click(&mut harness, "▾ users", 2);
    assert!(harness.frame().contains("▸ users"), "the cursor is on it");
    // The same in the detail of a row of the traffic.
    harness.keys("2 G enter");
    click(&mut harness, "▾ users", 0);
    assert!(harness.frame().contains("▸ users"), "{}", harness.frame());
    click(&mut harness, "│ frames │", 2);
    assert!(harness.frame().contains("u{1b}") || harness.frame().contains("\\u001b"), "{}", harness.frame());
}

#[test]
fn a_json_path_filters_and_an_invalid_one_shows_the_error() {
    let mut harness = answered(120, 40, USERS);
    harness.keys("|");
    insta::assert_snapshot!("json_path_80x24", {
        harness.send(Msg::Resize(80, 24));
        harness.frame()
    });
    harness.send(Msg::Resize(120, 40)).keys("ctrl-u").text("$.users[?@.age > 30").keys("enter");
    assert!(harness.frame().contains("✕"), "the bracket is missing: {}", harness.frame());
    harness.text("].name").keys("enter");
    let frame = harness.frame();
    assert!(frame.contains("2 matches (reformatted)") && frame.contains("annabel") && !frame.contains("Bob"), "{frame}");
    harness.keys("esc");
    assert!(harness.frame().contains("Bob"), "Esc shows everything again");
}

/// Runs the background jobs, as the loop would.
fn work(harness: &mut Harness) {
    for command in harness.take() {
        if let Cmd::Work(task) = command
            && let Some(worked) = task.run()
        {
            harness.send(Msg::Worked(Box::new(worked)));
        }
    }
}

#[test]
fn a_large_result_is_parsed_in_the_background_while_the_console_responds() {
    let users: Vec<String> = (0..20_000).map(|n| format!(r#"{{"name":"user {n}","age":{}}}"#, n % 90)).collect();
    let mut harness = answered(120, 40, &format!(r#"{{"content":[],"structuredContent":{{"users":[{}]}}}}"#, users.join(",")));
    assert!(harness.frame().contains("parsing") && harness.model.moving(), "{}", harness.frame());
    // Its parts first, then the tree; keys work meanwhile.
    harness.keys("t").keys("[");
    work(&mut harness);
    work(&mut harness);
    assert!(harness.frame().contains("users"), "{}", harness.frame());
    harness.keys("|").keys("ctrl-u").text("$..name").keys("enter");
    assert!(harness.frame().contains("$..name …"), "{}", harness.frame());
    work(&mut harness);
    assert!(harness.frame().contains("20000 matches"), "{}", harness.frame());
    // A cancelled job is not waited for, and its result is dropped.
    harness.keys("esc");
    work(&mut harness);
    harness.keys("|").keys("ctrl-u").text("$.users[0]").keys("enter esc");
    work(&mut harness);
    assert!(!harness.frame().contains("$.users[0]") && harness.frame().contains("users"), "{}", harness.frame());
    // Copying runs in the background as well.
    harness.keys("y j");
    let tasks = harness.take();
    assert!(matches!(tasks[..], [Cmd::Work(_)]), "{tasks:?}");
    let Some(Cmd::Work(task)) = tasks.into_iter().next() else { panic!() };
    harness.send(Msg::Worked(Box::new(task.run().unwrap())));
    assert!(matches!(&harness.take()[..], [Cmd::Copy(text)] if text.len() > 500_000));
}

#[test]
fn the_visible_result_is_saved_to_the_path_of_the_user() {
    let mut harness = answered(120, 40, USERS);
    harness.keys("s");
    assert!(harness.frame().contains("result-1f4.json"), "{}", harness.frame());
    harness.take();
    harness.keys("ctrl-u").text("out.json").keys("enter");
    let Some(Cmd::Save { path, content, overwrite: false }) = harness.take().pop() else { panic!("not saved") };
    assert!(path == "out.json" && content.bytes().unwrap().text().starts_with(r#"{"users""#));
    harness.send(Msg::Exists { path: path.clone(), content: content.clone() });
    assert!(harness.frame().contains("Replace the file?"));
    harness.keys("y enter n");
    assert_eq!(harness.take(), [], "keys typed ahead answer nothing");
    assert!(harness.frame().contains("Replace the file?"));
    harness.model.at(crate::tui::test_support::at(9000));
    harness.keys("enter");
    assert_eq!(harness.take(), [], "the default answer keeps the file");
    harness.send(Msg::Exists { path: path.clone(), content: content.clone() });
    harness.model.at(crate::tui::test_support::at(10_000));
    harness.keys("y");
    assert_eq!(harness.take(), [Cmd::Save { path, content, overwrite: true }]);
}

#[test]
fn images_are_decoded_and_get_names_of_our_own() {
    let data = base64::engine::general_purpose::STANDARD.encode(b"\x89PNG");
    let result = format!(
        r#"{{"content":[{{"type":"text","text":"look"}},{{"type":"image","mimeType":"image/png","name":"../../evil","data":"{data}"}},{{"type":"audio","mimeType":"text/html","data":"{data}"}}]}}"#
    );
    let mut harness = answered(120, 40, &result);
    harness.take();
    let frame = harness.frame();
    assert!(frame.contains("━ o open ━"), "{frame}");
    harness.keys("o");
    assert!(harness.frame().contains("image 1") && harness.frame().contains("4 B"), "{}", harness.frame());
    harness.keys("1");
    let Some(Cmd::OpenFile { name, content }) = harness.take().pop() else { panic!("not opened") };
    assert!(name == "image-1f4-1.png" && content.bytes() == Some(Body::new(&b"\x89PNG"[..])));
    harness.keys("o 2");
    assert_eq!(harness.take(), [], "a page is not opened in another program");
    harness.keys("s 2 enter");
    assert!(matches!(&harness.take()[..], [Cmd::Save { path, .. }] if path == "image-1f4-1.png"));
}

#[test]
fn a_link_is_followed_with_enter_and_esc_comes_back() {
    let result = r#"{"content":[{"type":"text","text":"see"},{"type":"resource_link","uri":"db://schema","name":"schema"}]}"#;
    let mut harness = answered(120, 40, result);
    harness.take();
    let on_text = harness.frame().contains("[link · schema · db://schema]");
    assert!(on_text || harness.frame().contains("resource_link"), "{}", harness.frame());
    harness.keys("end enter");
    let Some(Cmd::Submit { token, spec }) = harness.take().pop() else { panic!("not followed: {}", harness.frame()) };
    assert_eq!(spec.operation, resource("db://schema"));
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    script.queued(8100, 501, spec.operation.clone());
    script.settled(8100, 2, 501, Outcome::Ok { result: Body::from(r#"{"contents":[{"uri":"db://schema","text":"tables"}]}"#) });
    harness.send(Msg::Submitted { token, call: CallId(501) }).send(Msg::Events(script.events));
    assert!(harness.model.console.focus == Focus::Detail && harness.frame().contains("tables"), "{}", harness.frame());
    harness.keys("esc");
    assert_eq!(harness.model.console.focus, Focus::Result);
}

#[test]
fn content_that_violates_its_schema_is_shown_with_the_violations() {
    let mut harness = Harness::new(120, 40);
    let tool = r#"{"name":"query_users","annotations":{"readOnlyHint":true},"outputSchema":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}}"#;
    let raw = RawLists { tools: vec![Body::from(tool)], ..Default::default() };
    harness.event(EventKind::ServerListed { server: "database".into(), catalog: ServerCatalog::read(raw, None).into() });
    harness.tool("queryu").keys("enter");
    let Some(Cmd::Submit { token, spec }) = harness.take().pop() else { panic!("not fired") };
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    script.queued(8000, 500, spec.operation.clone());
    script.settled(8000, 3, 500, Outcome::Ok { result: Body::from(r#"{"content":[],"structuredContent":{"n":"seven"}}"#) });
    harness.send(Msg::Submitted { token, call: CallId(500) }).send(Msg::Events(script.events));
    let frame = harness.frame();
    assert!(frame.contains("output schema") && frame.contains("/n:") && frame.contains("seven"), "{frame}");
    insta::assert_snapshot!("output_schema_120x40", frame);
}

#[test]
fn the_copy_menu_reports_what_was_copied() {
    let mut harness = answered(120, 40, USERS);
    harness.take();
    harness.keys("y");
    insta::assert_snapshot!("copy_120x40", harness.frame());
    harness.keys("c");
    assert_eq!(harness.take(), [Cmd::Copy("switchboard call database_query_users".into())]);
    assert!(harness.frame().contains("Copied: command line"), "{}", harness.frame());
    harness.keys("y j");
    assert_eq!(harness.take(), [Cmd::Copy(USERS.into())]);
    harness.keys("y f");
    assert_eq!(harness.take(), [Cmd::Copy("{\"id\":7,\"x\":\"\\u001b\"}\n".into())]);
    harness.keys("y m");
    let Some(Cmd::Copy(text)) = harness.take().pop() else { panic!("not copied") };
    assert!(text.contains("mcpServers") && text.contains("database-server"));
    let mut harness = answered(120, 40, r#"{"content":[{"type":"text","text":"a\u001b[2J\u202eb"}]}"#);
    harness.take();
    harness.keys("y y");
    assert_eq!(harness.take(), [Cmd::Copy(r"a\x1b[2J\u{202e}b".into())], "only raw frames are copied unchanged");
    assert!(harness.frame().contains("written as escapes"), "{}", harness.frame());
}

#[test]
fn a_burst_limits_parallel_calls_and_shows_a_summary() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").keys("esc F");
    harness.keys("ctrl-u").text("10").keys("tab ctrl-u").text("999").keys("enter");
    assert!(harness.frame().contains("in parallel must be a number from 1 to 256"), "{}", harness.frame());
    harness.keys("ctrl-u").text("4").keys("enter");
    let mut id = 900;
    let mut ended = 0;
    let mut most = 0;
    while ended < 10 {
        let tokens: Vec<u64> =
            harness.take().iter().filter_map(|c| if let Cmd::Submit { token, .. } = c { Some(*token) } else { None }).collect();
        most = most.max(tokens.len());
        assert!(!tokens.is_empty(), "after {ended}: {}", harness.frame());
        for token in tokens {
            id += 1;
            let mut script = test_support::Script::after(harness.model.read_model().seq);
            script.queued(8000 + id, id, test_support::tool_call("database", "query_users", "{}"));
            harness.send(Msg::Submitted { token, call: CallId(id) }).send(Msg::Events(script.events));
            let mut script = test_support::Script::after(harness.model.read_model().seq);
            let outcome = if id % 5 == 0 { Outcome::Cancelled { reason: "x".into() } } else { test_support::text_result("ok") };
            script.settled(8000 + id, id % 7 * 40 + 1, id, outcome);
            harness.send(Msg::Events(script.events));
            ended += 1;
            if ended == 5 {
                insta::assert_snapshot!("burst_running_80x24", {
                    harness.send(Msg::Resize(80, 24));
                    let frame = harness.frame();
                    harness.send(Msg::Resize(120, 40));
                    frame
                });
            }
        }
    }
    let frame = harness.frame();
    assert!(frame.contains("✓ done") && frame.contains("10 of 10") && frame.contains("p95"), "{frame}");
    assert!(most <= 4);
    insta::assert_snapshot!("burst_done_120x40", frame);
    harness.keys("esc");
    assert!(harness.model.dialogs.is_empty() && harness.take().is_empty());
}

#[test]
fn esc_stops_a_burst_and_cancels_its_calls() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").keys("esc F enter");
    let Some(Cmd::Submit { token, .. }) = harness.take().first().cloned() else { panic!("nothing fired") };
    harness.send(Msg::Submitted { token, call: CallId(900) });
    harness.keys("esc");
    assert!(matches!(&harness.take()[..], [Cmd::Command(Command::Cancel { call: CallId(900), .. })]));
    assert!(harness.frame().contains("stopping"));
}

#[test]
fn a_burst_of_a_tool_that_may_modify_data_is_confirmed() {
    let mut harness = Harness::new(120, 40);
    harness.tool("emailping").keys("F enter");
    assert_eq!(harness.take(), []);
    assert!(harness.frame().contains("Call email_ping 100 times?"), "{}", harness.frame());
    harness.keys("y");
    assert_eq!(harness.take().len(), 8);
}

#[test]
fn the_configuration_decides_what_is_confirmed() {
    let fired = |confirm: ConfirmPolicy, tool: &str| {
        let setup = Setup { confirm, ..Harness::setup(Startup::Normal) };
        let mut harness = Harness::set_up(120, 40, test_support::shop_state(), setup);
        harness.tool(tool).keys("enter");
        harness.model.dialogs.is_empty()
    };
    assert!(!fired(ConfirmPolicy::Untrusted, "emailping"), "read-only, says an untrusted server");
    assert!(fired(ConfirmPolicy::Destructive, "emailping"));
    assert!(!fired(ConfirmPolicy::Destructive, "trackevent"), "no annotation counts as destructive");
    assert!(fired(ConfirmPolicy::Never, "trackevent"));
}

#[test]
fn arguments_of_an_earlier_session_are_restored_without_secrets() {
    let entry = Recalled {
        server: "database".into(),
        kind: RecallKind::Tool,
        name: "query_users".into(),
        arguments: Body::from(r#"{"filter":"ann","password":"p"}"#),
        favourite: None,
    };
    let mut recall = Recall::default();
    recall.note(entry);
    let mut harness = Harness::set_up(120, 40, test_support::shop_state(), Setup { recall, ..Harness::setup(Startup::Normal) });
    harness.tool("queryu").keys("ctrl-s");
    let commands = harness.take();
    let [Cmd::Request(WorkspaceRequest::Remember(kept)), Cmd::Submit { spec, .. }] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!(spec.operation, test_support::tool_call("database", "query_users", r#"{"filter":"ann","password":"p"}"#));
    assert_eq!(kept.arguments.text(), r#"{"filter":"ann"}"#);
}

#[test]
fn a_field_is_edited_in_many_lines_and_in_the_editor() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").text("one").keys("ctrl-t enter").text("two");
    insta::assert_snapshot!("long_text_120x40", harness.frame());
    harness.keys("ctrl-s");
    assert!(harness.model.dialogs.is_empty());
    harness.keys("ctrl-g");
    assert_eq!(harness.take(), [Cmd::Edit("one\ntwo".into())]);
    harness.send(Msg::Edited(Ok("three\n".into()))).keys("ctrl-s");
    assert_eq!(harness.submitted_spec().operation, test_support::tool_call("database", "query_users", r#"{"filter":"three"}"#));
    harness.keys("ctrl-t").text("lost").keys("ctrl-c y ctrl-s");
    assert_eq!(harness.submitted_spec().operation, test_support::tool_call("database", "query_users", r#"{"filter":"three"}"#), "dropped");
}

fn info(capabilities: &str) -> EventKind {
    EventKind::ServerInfo {
        server: "database".into(),
        info: Arc::new(SessionInfo {
            era: Era::Legacy,
            protocol: "2025-11-25".into(),
            name: None,
            title: None,
            version: None,
            instructions: None,
            capabilities: Body::from(capabilities),
            pid: None,
            since: Stamp::default(),
            took: Duration::ZERO,
            probe_unanswered: None,
            http_sse: false,
        }),
    }
}

#[test]
fn completions_come_after_a_pause_and_stale_ones_are_dropped() {
    let mut harness = Harness::new(120, 40);
    harness.event(info(r#"{"completions":{},"prompts":{}}"#));
    let node = Node::Prompt("database".into(), "summarise".into());
    harness.model.go_to(&node);
    harness.send(Msg::Resize(120, 40)).text("u");
    assert_eq!(harness.take(), [], "not while typing");
    harness.model.at(test_support::at(8200));
    harness.send(Msg::Tick(test_support::at(8200)));
    let Some(Cmd::Submit { token, spec }) = harness.take().pop() else { panic!("not asked") };
    let Operation::Complete { params, .. } = &spec.operation else { panic!("{spec:?}") };
    assert_eq!(params.text(), r#"{"ref":{"type":"ref/prompt","name":"summarise"},"argument":{"name":"table","value":"u"}}"#);
    assert_eq!(spec.origin, Origin::Console);
    let answer = |harness: &mut Harness, id: u64, token: u64, spec: &CallSpec| {
        let result = r#"{"completion":{"values":["users","uploads"],"total":2}}"#;
        let mut script = test_support::Script::after(harness.model.read_model().seq);
        script.queued(8200 + id, id, spec.operation.clone());
        script.settled(8200 + id, 2, id, Outcome::Ok { result: Body::from(result) });
        harness.send(Msg::Submitted { token, call: CallId(id) }).send(Msg::Events(script.events));
    };
    harness.text("p");
    answer(&mut harness, 700, token, &spec);
    assert!(!harness.frame().contains("uploads"), "the user typed on");
    harness.model.at(test_support::at(9500));
    harness.send(Msg::Tick(test_support::at(9500)));
    let Some(Cmd::Submit { token, spec }) = harness.take().pop() else { panic!("not asked again") };
    answer(&mut harness, 1400, token, &spec);
    assert!(harness.frame().contains("uploads"), "{}", harness.frame());
    insta::assert_snapshot!("suggestions_120x40", harness.frame());
    harness.keys("ctrl-n ctrl-n");
    harness.send(Msg::Tick(test_support::at(12_000)));
    assert_eq!(harness.take(), [], "an accepted completion is not requested again");
    harness.keys("ctrl-s");
    let Operation::Prompt { arguments, .. } = harness.submitted_spec().operation else { panic!("no prompt") };
    assert_eq!(arguments.text(), r#"{"table":"uploads"}"#);
}

#[test]
fn a_resource_is_subscribed_to_and_its_changes_are_seen() {
    let mut harness = Harness::new(120, 40);
    harness.event(info(r#"{"resources":{"subscribe":true}}"#));
    let node = Node::Resource("database".into(), "db://schema".into());
    harness.model.go_to(&node);
    harness.send(Msg::Resize(120, 40)).keys("S");
    let (server, uri) = (crate::tui::test_support::server("database"), "db://schema".to_owned());
    assert_eq!(harness.take(), [Cmd::Command(Command::Subscribe { server: server.clone(), uri: uri.clone(), on: true })]);
    harness.event(EventKind::ResourceSubscribed { server: server.clone(), uri: uri.clone(), on: true });
    assert!(harness.frame().contains("subscribed, no changes yet"), "{}", harness.frame());
    harness.event(EventKind::ResourceUpdated { server: server.clone(), uri: uri.clone() });
    assert!(harness.frame().contains("changed once"), "{}", harness.frame());
    harness.keys("S");
    assert_eq!(harness.take(), [Cmd::Command(Command::Subscribe { server, uri, on: false })]);
}

#[test]
fn a_sampling_question_is_answered_from_a_file() {
    let mut harness = Harness::new(120, 40);
    let question = Question::Sampling { params: Body::from(r#"{"messages":[],"maxTokens":10}"#) };
    harness.event(test_support::asked(3, Some(CallId(101)), question));
    harness.take();
    harness.model.at(test_support::at(9000));
    harness.keys("ctrl-f").text("answer.txt").keys("enter");
    assert_eq!(harness.take(), [Cmd::ReadFile("answer.txt".into())]);
    harness.send(Msg::FileRead(Ok("forty-two".into()))).keys("ctrl-s");
    let commands = harness.take();
    assert!(
        matches!(&commands[..], [Cmd::Command(Command::Answer { answer: crate::domain::ask::Answer::Accept { content }, .. })]
        if content.text().contains("forty-two")),
        "{commands:?}"
    );
}

#[test]
fn dialogs_of_the_builder_fit_every_size() {
    for (width, height) in [(1, 1), (3, 2), (10, 3), (20, 6), (40, 10), (80, 24), (300, 100)] {
        let mut harness = answered(120, 40, USERS);
        harness.send(Msg::Resize(width, height));
        for keys in ["/", "esc |", "esc s", "esc y", "esc F", "enter", "esc esc"] {
            harness.keys(keys);
            harness.frame();
        }
        harness.send(Msg::Resize(120, 40)).keys("esc esc");
        harness.tool("queryu").keys("ctrl-t").send(Msg::Resize(width, height));
        harness.frame();
    }
}
