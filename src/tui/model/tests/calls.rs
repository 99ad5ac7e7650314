//! Tests of calls: sent, rejected, confirmed, cancelled, sent again.

use super::*;

#[test]
fn a_safe_tool_fires_with_two_keys_and_remembers_its_arguments() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").text("ann").keys("enter");
    let spec = harness.submitted_spec();
    assert_eq!(spec.operation, test_support::tool_call("database", "query_users", r#"{"filter":"ann"}"#));
    harness.keys("esc down").tool("queryu").keys("ctrl-s");
    assert_eq!(harness.submitted_spec().operation, spec.operation, "the arguments are still there");
}

#[test]
fn invalid_arguments_are_rejected_with_the_reason_and_nothing_is_sent() {
    let mut harness = Harness::new(120, 40);
    harness.tool("createuser").keys("ctrl-s");
    assert_eq!(harness.take(), []);
    assert!(harness.frame().contains("required"), "{}", harness.frame());
}

#[test]
fn a_tool_that_may_modify_data_is_confirmed_once() {
    let mut harness = Harness::new(120, 40);
    harness.tool("emailping").keys("enter");
    assert_eq!(harness.take(), []);
    assert!(harness.frame().contains("Call email_ping?"), "{}", harness.frame());
    harness.keys("n");
    assert_eq!(harness.take(), [], "no means no");
    harness.keys("enter a");
    harness.submitted_spec();
    harness.keys("enter");
    harness.submitted_spec();
    harness.keys("esc").tool("sendemail").text("ann").keys("enter y");
    harness.submitted_spec();
    harness.keys("enter");
    assert_eq!(harness.take(), [], "\"once\" applies to one call");
}

#[test]
fn a_server_can_be_trusted_for_a_session_and_destructive_tools_are_still_confirmed() {
    let mut harness = Harness::new(120, 40);
    harness.tool("emailping").keys("enter");
    assert!(harness.frame().contains("t  call, and trust email for this session"), "{}", harness.frame());
    harness.keys("t");
    harness.submitted_spec();
    harness.keys("enter");
    harness.submitted_spec();
    harness.keys("esc").tool("sendemail").text("ann").keys("enter");
    assert_eq!(harness.take(), [], "a destructive tool is confirmed");
    let frame = harness.frame();
    assert!(frame.contains("The server calls it") && !frame.contains("trust email"), "{frame}");
    harness.keys("t");
    assert_eq!(harness.take(), [], "this answer is not offered");
    assert!(harness.frame().contains("Call email_send_email?"), "still asked: {}", harness.frame());
}

/// Publishes the tools of `email` again, with `ping` changed by `change`.
fn relist(harness: &mut Harness, change: impl Fn(&mut serde_json::Value)) {
    use crate::domain::catalog::{RawLists, ServerCatalog};
    let read_model = harness.model.read_model();
    let tools = &read_model.server(&"email".into()).unwrap().catalog.tools;
    let raw = tools.iter().map(|tool| {
        let mut raw = tool.raw.value().unwrap();
        if &*tool.name == "ping" {
            change(&mut raw);
        }
        Body::json(&raw)
    });
    let catalog = Arc::new(ServerCatalog::read(RawLists { tools: raw.collect(), ..RawLists::default() }, None));
    let mut script = test_support::Script::after(read_model.seq);
    script.push(7000, EventKind::ServerListed { server: "email".into(), catalog });
    harness.send(Msg::Events(script.events));
}

#[test]
fn an_answer_for_a_tool_applies_until_its_server_changes_the_tool() {
    type Change = fn(&mut serde_json::Value);
    let changes: [Change; 4] = [
        |tool| tool["description"] = "Send the address book away.".into(),
        |tool| tool["inputSchema"]["properties"]["to"] = serde_json::json!({"type": "string"}),
        |tool| tool["annotations"]["destructiveHint"] = true.into(),
        |tool| tool["annotations"]["readOnlyHint"] = false.into(),
    ];
    for answer in ["a", "t"] {
        for change in changes {
            let mut harness = Harness::new(120, 40);
            harness.tool("emailping").keys("enter").keys(answer);
            harness.submitted_spec();
            relist(&mut harness, |_| ());
            harness.keys("enter");
            harness.submitted_spec();
            relist(&mut harness, change);
            harness.keys("enter");
            assert_eq!(harness.take(), [], "another tool of the same name: {answer}");
            assert!(harness.frame().contains("changed it since you answered"), "{}", harness.frame());
            harness.keys("y");
            harness.submitted_spec();
        }
    }
}

#[test]
fn a_tool_that_changes_during_its_confirmation_is_not_called() {
    let mut harness = Harness::new(120, 40);
    harness.tool("emailping").keys("enter");
    relist(&mut harness, |tool| tool["description"] = "Send the address book away.".into());
    harness.keys("a");
    assert_eq!(harness.take(), []);
    assert!(harness.frame().contains("changed the tool while the question was open"), "{}", harness.frame());
    harness.keys("enter");
    assert_eq!(harness.take(), [], "that answer is void");
}

#[test]
fn the_result_of_the_sent_call_is_shown_and_others_continue() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").keys("enter");
    let Some(Cmd::Submit { token, spec }) = harness.take().pop() else { panic!("not fired") };
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    script.queued(8000, 500, spec.operation.clone()).queued(8001, 501, test_support::tool_call("email", "ping", "{}"));
    harness.send(Msg::Events(script.events)).send(Msg::Submitted { token, call: CallId(500) });
    assert!(harness.frame().contains("cancel · runs in the background"), "{}", harness.frame());
    let mut script = test_support::Script::after(harness.model.read_model().seq);
    script.settled(8000, 3, 500, test_support::text_result("one\n\"two\" \u{1b}[2J\u{202e}"));
    harness.send(Msg::Events(script.events));
    let frame = harness.frame();
    assert!(frame.contains("✓ ok · 3.0 ms") && frame.contains(r#""two" \x1b[2J\u{202e}"#), "text unescaped, control visible: {frame}");
    assert_eq!(harness.model.read_model().running, 1);
}

#[test]
fn a_running_call_is_cancelled_and_only_that_call() {
    let mut harness = Harness::busy(120, 40);
    harness.traffic().keys("ctrl-c");
    let [Cmd::Command(Command::Cancel { call, .. })] = harness.take()[..] else { panic!("not cancelled") };
    assert_eq!(call, CallId(104));
    harness.keys("up x");
    assert_eq!(harness.take(), [], "a call that has ended cannot be cancelled");
}

#[test]
fn sending_again_repeats_the_call_under_the_cursor() {
    let mut harness = Harness::busy(120, 40);
    harness.traffic().keys("up up up up .");
    assert_eq!(harness.submitted_spec().operation, test_support::tool_call("database", "query_users", r#"{"filter":"ann"}"#));
    harness.keys("up up up up e");
    assert!(harness.frame().contains("ann"), "{}", harness.frame());
    assert_eq!(harness.model.console.focus, Focus::Call);
}

#[test]
fn the_keys_of_a_form_are_in_the_keymap_and_members_are_added_where_an_object_is_open() {
    let mut harness = Harness::new(120, 40);
    let schema = r#"{"name":"fill","inputSchema":{"type":"object","required":["rows"],"properties":{"rows":{"type":"array","items":{"type":"object","additionalProperties":{"type":"string"}}}}},"annotations":{"readOnlyHint":true}}"#;
    let free = r#"{"name":"anything","inputSchema":{"type":"object","additionalProperties":{"type":"string"}},"annotations":{"readOnlyHint":true}}"#;
    let lists = crate::domain::catalog::RawLists { tools: vec![Body::from(schema), Body::from(free)], ..Default::default() };
    let catalog = Arc::new(crate::domain::catalog::ServerCatalog::read(lists, None));
    harness.event(EventKind::ServerListed { server: "database".into(), catalog });
    harness.tool("databasefill");
    harness.keys("a a").text("colour").keys("enter").text("red").keys("enter");
    let Some(Cmd::Submit { spec, .. }) = harness.take().pop() else { panic!("not fired: {}", harness.frame()) };
    let Operation::Tool { arguments, .. } = &spec.operation else { panic!() };
    assert_eq!(arguments, &Body::from(r#"{"rows":[{"colour":"red"}]}"#));
    harness.keys("esc").tool("anything");
    harness.keys("a").text("shape").keys("enter").text("round").keys("enter");
    let Some(Cmd::Submit { spec, .. }) = harness.take().pop() else { panic!("not fired: {}", harness.frame()) };
    let Operation::Tool { arguments, .. } = &spec.operation else { panic!() };
    assert_eq!(arguments, &Body::from(r#"{"shape":"round"}"#));
}

#[test]
fn templates_and_prompts_have_forms() {
    let mut harness = Harness::new(120, 40);
    let template = Node::Template(test_support::server("database"), "db://users/{id}".into());
    harness.model.go_to(&template);
    harness.model.reconcile();
    harness.text("a b").keys("enter");
    let wanted = Operation::Resource { server: test_support::server("database"), uri: "db://users/a%20b".into() };
    assert_eq!(harness.submitted_spec().operation, wanted);
    harness.model.go_to(&Node::Prompt(test_support::server("database"), "summarise".into()));
    harness.model.reconcile();
    harness.keys("ctrl-s");
    assert_eq!(harness.take(), [], "a required argument is missing");
    harness.text("users").keys("enter");
    let Operation::Prompt { arguments, .. } = harness.submitted_spec().operation else { panic!("no prompt") };
    assert_eq!(arguments, Body::from(r#"{"table":"users"}"#));
}

#[test]
fn json_and_form_hold_the_same_arguments() {
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").text("ann").keys("ctrl-e ctrl-s");
    let Operation::Tool { arguments, .. } = harness.submitted_spec().operation else { panic!("no tool") };
    assert_eq!(arguments.value(), Some(serde_json::json!({"filter": "ann"})));
    harness.send(Msg::Edited(Ok("{ \"filter\": ".into())));
    assert!(harness.frame().contains("not valid JSON"), "{}", harness.frame());
    harness.keys("ctrl-s");
    assert_eq!(harness.take(), []);
    harness.send(Msg::Edited(Ok("{\"filter\": \"bob\"}".into()))).keys("ctrl-e ctrl-s");
    let Operation::Tool { arguments, .. } = harness.submitted_spec().operation else { panic!("no tool") };
    assert_eq!(arguments.value(), Some(serde_json::json!({"filter": "bob"})));
}

#[test]
fn arguments_that_violate_the_schema_are_sent_with_a_key_of_their_own() {
    use crate::domain::call::ArgumentCheck;
    let mut harness = Harness::new(120, 40);
    harness.tool("queryu").keys("ctrl-e ctrl-u");
    let text = r#"{"filter":null,"limit":"many"}"#;
    harness.model.console.call.arguments_mut().set_text(text);
    harness.keys("ctrl-s");
    assert_eq!(harness.take(), [], "refused by default");
    harness.keys("alt-s");
    let spec = harness.submitted_spec();
    assert_eq!((spec.operation, spec.check), (test_support::tool_call("database", "query_users", text), ArgumentCheck::Skipped));
    assert!(harness.frame().contains("Arguments sent unchecked: /"), "{}", harness.frame());
    harness.model.console.call.arguments_mut().set_text("[1]");
    harness.keys("alt-s");
    assert_eq!(harness.take(), []);
    assert!(harness.frame().contains("must be a JSON object"), "{}", harness.frame());
    harness.model.console.call.arguments_mut().set_text("{\"filter\": ");
    harness.keys("alt-s");
    assert_eq!(harness.take(), [], "the message of stdio would not be JSON");
}

#[test]
fn a_form_with_errors_is_sent_with_a_key_of_its_own() {
    let mut harness = Harness::new(120, 40);
    harness.tool("createuser").keys("alt-s");
    let shown = harness.frame();
    assert!(shown.contains("Call database_create_user?"), "confirmed as any call: {shown}");
    harness.keys("y");
    let spec = harness.submitted_spec();
    assert_eq!(spec.operation, test_support::tool_call("database", "create_user", r#"{"role":"developer"}"#));
    assert!(!spec.check.is_enforced());
}
