//! Traps in which other gateways were caught and that have no better place.

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::super::test_support::{FakeUpstream, PipeClient, ok, ready, with_tools};
use crate::{
    domain::{
        body::Body,
        call::{InterimKind, Outcome},
    },
    engine::passage::Passage,
    gateway::upstream::Upstream,
};

fn meta(capabilities: Value) -> Value {
    json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": capabilities})
}

#[tokio::test]
async fn trap_7_what_a_profile_may_hide_is_private_whatever_the_servers_say() {
    let lists = json!({"resources": [{"uri": "x://1", "name": "1"}]});
    let servers = vec![ready("a", r#"{"resources":{}}"#, lists), with_tools("b", &["t"])];
    let upstream = FakeUpstream::new(servers, |_, _| {
        async { ok(r#"{"contents":[],"resultType":"complete","ttlMs":60000,"cacheScope":"public"}"#) }.boxed()
    });
    let mut client = PipeClient::of(&upstream);
    for (method, ttl) in [("tools/list", 0), ("resources/list", 0), ("server/discover", 0), ("resources/read", 60_000)] {
        let result = client.ask(method, json!({"uri": "x://1", "_meta": meta(json!({}))})).await["result"].clone();
        assert_eq!((&result["cacheScope"], &result["ttlMs"]), (&json!("private"), &json!(ttl)), "{method}: {result}");
    }
}

#[tokio::test]
async fn trap_11_a_state_returns_to_its_server_as_it_was_and_any_other_starts_nothing() {
    const ASKS: &str = r#"{"resultType":"input_required","vendor/n":1.00,"inputRequests":{"k":{"method":"elicitation/create","params":{"n":1.50}}},"requestState":"a\u2028b\u0000"}"#;
    let upstream = FakeUpstream::new(vec![with_tools("a", &["t", "u"]), with_tools("b", &["t"])], |_, passage| {
        let outcome = match passage.extra.is_empty() {
            true => Outcome::Interim { result: Body::from(ASKS), kind: InterimKind::InputRequired },
            false => ok(format!(r#"{{"got":{}}}"#, passage.extra.text())),
        };
        async move { outcome }.boxed()
    });
    let mut client = PipeClient::of(&upstream);
    let call = |name: &str, arguments: &str, more: &str| {
        let meta = meta(json!({"elicitation": {}}));
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{arguments},"_meta":{meta}{more}}}}}"#
        )
    };
    client.send(&call("a_t", r#"{"x":1,"y":2}"#, "")).await;
    let line = client.line().await;
    let state = serde_json::from_str::<Value>(&line).unwrap()["result"]["requestState"].clone();
    let (before, after) = ASKS.split_once(r#""a\u2028b\u0000""#).unwrap();
    assert_eq!(line, format!(r#"{{"jsonrpc":"2.0","id":1,"result":{before}{state}{after}}}"#), "the rest is as the server sent it");
    let answers = |state: &Value| format!(r#","inputResponses":{{"k":{{"action":"accept"}}}},"requestState":{state}"#);
    let text = state.as_str().unwrap();
    let tampered = json!(format!("{}{}", &text[..text.len() - 1], if text.ends_with('A') { 'B' } else { 'A' }));
    for (name, arguments, state) in [
        ("a_t", r#"{"x":1,"y":3}"#, &state),
        ("a_u", r#"{"x":1,"y":2}"#, &state),
        ("b_t", r#"{"x":1,"y":2}"#, &state),
        ("a_t", r#"{"x":1,"y":2}"#, &tampered),
        ("a_t", r#"{"x":1,"y":2}"#, &json!("a\u{2028}b")),
        ("a_t", r#"{"x":1,"y":2}"#, &json!(7)),
    ] {
        client.send(&call(name, arguments, &answers(state))).await;
        let error = client.message("error").await["error"].clone();
        assert_eq!(error["code"], -32602, "{name} {arguments} {state}");
    }
    client.send(&call("a_t", r#"{ "y":2, "x":1}"#, &answers(&state))).await;
    let got = r#"{"got":{"inputResponses":{"k":{"action":"accept"}},"requestState":"a\u2028b\u0000"},"resultType":"complete"}"#;
    assert_eq!(client.line().await, format!(r#"{{"jsonrpc":"2.0","id":1,"result":{got}}}"#));
}

#[tokio::test]
async fn trap_20_task_ids_of_several_servers_never_meet() {
    let tasks = r#"{"tools":{},"tasks":{"list":{}},"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
    let lists = json!({"tools": [{"name": "t", "inputSchema": {"type": "object"}}]});
    let relays = |passage: &Passage| ok(json!({"content": [], "relays": passage.relays_tasks}).to_string());
    let servers = vec![ready("a", tasks, lists.clone()), ready("b", tasks, lists.clone())];
    let upstream = FakeUpstream::new(servers, move |_, passage| {
        let outcome = relays(&passage);
        async move { outcome }.boxed()
    });
    let mut client = PipeClient::of(&upstream);
    // The engine follows tasks of servers itself: a client gets their results and no ids.
    let capabilities = client.initialize(json!({})).await["capabilities"].clone();
    assert_eq!(capabilities, json!({"tools": {"listChanged": true}}));
    for method in ["tasks/get", "tasks/cancel", "tasks/list", "tasks/result", "tasks/update"] {
        assert_eq!(client.ask(method, json!({"taskId": "1"})).await["error"]["code"], -32601, "{method}");
        assert_eq!(client.ask(method, json!({"taskId": "1", "_meta": meta(json!({}))})).await["error"]["code"], -32601, "{method}");
    }
    // Nor do ids get to a client that would take them, in either era.
    let takes = meta(json!({"extensions": {"io.modelcontextprotocol/tasks": {}}}));
    for params in [json!({"name": "a_t", "task": {"ttl": 1}}), json!({"name": "a_t", "_meta": takes})] {
        assert_eq!(client.ask("tools/call", params.clone()).await["result"]["relays"], false, "{params}");
    }
    // A single server keeps its own tasks.
    upstream.set(vec![ready("a", tasks, lists)]);
    let mut alone = PipeClient::of(&FakeUpstream::new(upstream.directory().servers.iter().cloned().collect(), move |_, passage| {
        let outcome = relays(&passage);
        async move { outcome }.boxed()
    }));
    alone.initialize(json!({})).await;
    assert_eq!(alone.ask("tools/call", json!({"name": "t", "task": {"ttl": 1}})).await["result"]["relays"], true);
}
