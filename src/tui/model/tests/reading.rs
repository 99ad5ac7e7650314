//! Tests of how results are read: text, Markdown, tables, JSON in strings, and where an answer came from.

use serde_json::json;

use super::*;
use crate::{
    domain::{call::Timings, event::Settled, policy::call_event::CallEvent},
    tui::overlay::describe::Describe,
};

/// Answers a call of `email_ping` with a result.
fn answered(harness: &mut Harness, call: u64, result: serde_json::Value) {
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    script.queued(8000, call, test_support::tool_call("email", "ping", "{}"));
    script.settled(8000, 5, call, Outcome::Ok { result: Body::json(&result) });
    harness.send(Msg::Events(script.events));
    harness.traffic().keys("end enter");
}

#[test]
fn markdown_is_rendered_and_the_source_is_one_key_away() {
    let mut harness = Harness::busy(120, 40);
    let text = "# Title\n\nSome **bold** text with `code`.\n\n- one\n- two";
    answered(&mut harness, 900, json!({"content": [{"type": "text", "text": text}], "structuredContent": {"content": text}}));
    let frame = harness.frame();
    assert!(frame.contains("• one") && !frame.contains("**bold**") && !frame.contains("# Title"), "{frame}");
    harness.keys("/").text("bold").keys("enter");
    assert!(harness.frame().contains("1 of 1"), "{}", harness.frame());
    harness.keys("v");
    assert!(harness.frame().contains("**bold**"), "{}", harness.frame());
}

#[test]
fn an_array_of_objects_is_a_table_and_the_tab_is_remembered() {
    let mut harness = Harness::busy(120, 40);
    let users = json!([{"name": "Zoe", "age": 7}, {"name": "Ann", "age": 31}]);
    let result = json!({"content": [{"type": "text", "text": users.to_string()}]});
    answered(&mut harness, 900, result.clone());
    harness.keys("] ]");
    assert!(harness.frame().contains("2 rows"), "{}", harness.frame());
    harness.keys("S");
    let frame = harness.frame();
    assert!(frame.find("Ann").unwrap() < frame.find("Zoe").unwrap() && frame.contains("by name ▲"), "{frame}");
    harness.take();
    harness.keys("y v");
    assert!(matches!(&harness.take()[..], [Cmd::Copy(csv)] if csv == "name,age\nAnn,31\nZoe,7\n"));
    // The footer offers the sort, and a click on a header sorts.
    harness.click("age");
    assert!(harness.frame().contains("by age ▲"), "{}", harness.frame());
    harness.keys("esc");
    answered(&mut harness, 901, result);
    assert!(harness.frame().contains("2 rows"), "the tab of this tool: {}", harness.frame());
}

#[test]
fn json_in_a_string_opens_as_a_tree() {
    let mut harness = Harness::busy(120, 40);
    let inner = r#"{"deep":{"value":42}}"#;
    answered(&mut harness, 900, json!({"content": [], "structuredContent": {"a": 1, "log": inner}}));
    harness.keys("down enter");
    assert!(harness.model.dialogs.top_as::<Describe>().is_some(), "{}", harness.frame());
    assert!(harness.frame().contains("$.log") && harness.frame().contains("deep"), "{}", harness.frame());
    harness.keys("esc |").text("$.log.deep.value").keys("enter");
    assert!(harness.frame().contains("1 match"), "{}", harness.frame());
}

#[test]
fn a_fallback_is_named_before_the_times() {
    let mut harness = Harness::busy(120, 40);
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    script.queued(8000, 900, test_support::tool_call("email", "ping", "{}"));
    let fallback = CallEvent::Fallback { to: "database insert_record".into(), after: "timeout".into() };
    script.push(8001, EventKind::CallStage { call: CallId(900), stage: Arc::new(fallback) });
    let at = test_support::at;
    let timings =
        Timings { queued: at(8000), sent: Some(at(8000)), first_byte: Some(at(8005)), last_byte: Some(at(8005)), settled: at(8005) };
    let settled = Settled {
        outcome: test_support::text_result("ok"),
        timings,
        rounds: 1,
        sent_bytes: 1,
        received_bytes: 1,
        attempts: 2,
        by: Some("database".into()),
        cached: None,
    };
    script.push(8005, EventKind::CallSettled { call: CallId(900), settled: Arc::new(settled) });
    harness.send(Msg::Events(script.events));
    harness.traffic().keys("end enter");
    let frame = harness.frame();
    let by = frame.find("ok by database (fallback)").unwrap_or_else(|| panic!("{frame}"));
    assert!(by < frame.find("queued").unwrap_or(usize::MAX), "{frame}");
}

#[test]
fn esc_drops_a_long_text_after_a_question_and_ctrl_s_takes_it() {
    let mut harness = Harness::busy(120, 40);
    harness.tool("createuser").text("ann").keys("ctrl-t").text(" lee").keys("esc");
    assert!(harness.frame().contains("Discard the changes?"), "{}", harness.frame());
    harness.keys("y");
    assert!(harness.model.dialogs.is_empty() && !harness.frame().contains("ann lee"), "{}", harness.frame());
    harness.keys("ctrl-t").text(" lee").keys("ctrl-s");
    assert!(harness.frame().contains("ann lee"), "{}", harness.frame());
    harness.keys("ctrl-t esc");
    assert!(harness.model.dialogs.is_empty(), "unchanged: {}", harness.frame());
}
