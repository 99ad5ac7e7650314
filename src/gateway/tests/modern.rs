//! The modern era over the same router: discovery, metadata of requests, subscriptions.

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::super::test_support::{FakeUpstream, PipeClient, ok, ready, with_tools};
use crate::{
    domain::call::{InterimKind, Outcome},
    domain::body::Body,
    engine::passage::Rounds,
    gateway::upstream::ServerNotice,
};

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

fn meta(capabilities: Value) -> Value {
    json!({VERSION: "2026-07-28", "io.modelcontextprotocol/clientInfo": {"name": "m", "version": "1"}, CAPABILITIES: capabilities})
}

#[tokio::test]
async fn discovery_and_lists_say_that_they_are_private_and_may_change() {
    let upstream = FakeUpstream::echoing(vec![with_tools("a", &["t"]), with_tools("b", &[])]);
    let mut client = PipeClient::of(&upstream);
    let found = client.ask("server/discover", json!({"_meta": meta(json!({}))})).await["result"].clone();
    assert_eq!(found["supportedVersions"][0], "2026-07-28");
    assert_eq!(found["capabilities"], json!({"tools": {"listChanged": true}}));
    assert_eq!(found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "switchboard");
    let list = client.ask("tools/list", json!({"_meta": meta(json!({}))})).await["result"].clone();
    for result in [found, list] {
        assert_eq!((&result["resultType"], &result["ttlMs"], &result["cacheScope"]), (&json!("complete"), &json!(0), &json!("private")));
    }
    // Legacy methods are unknown in the modern era, and the reverse.
    assert_eq!(client.ask("ping", json!({"_meta": meta(json!({}))})).await["error"]["code"], -32601);
    let wrong = json!({"_meta": {VERSION: "2027-01-01", CAPABILITIES: {}}});
    let error = client.ask("tools/list", wrong).await["error"].clone();
    assert_eq!((&error["code"], &error["data"]["requested"], &error["data"]["supported"][0]), (&json!(-32022), &json!("2027-01-01"), &json!("2026-07-28")));
    assert_eq!(client.ask("tools/list", json!({"_meta": {VERSION: "2026-07-28"}})).await["error"]["code"], -32602);
}

#[tokio::test]
async fn each_request_brings_the_face_of_its_client_and_rounds_go_to_it() {
    let upstream = FakeUpstream::new(vec![with_tools("a", &["t"]), with_tools("b", &[])], |_, passage| {
        assert_eq!(passage.face.capabilities.text(), r#"{"elicitation":{"form":{}}}"#);
        assert_eq!(passage.rounds, Rounds::Relay);
        assert!(passage.connection_desk.is_none());
        let outcome = match passage.extra.is_empty() {
            true => {
                let result = r#"{"resultType":"input_required","inputRequests":{"k":{"method":"elicitation/create","params":{"n":1.0}}},"requestState":"s"}"#;
                Outcome::Interim { result: Body::from(result), kind: InterimKind::InputRequired }
            }
            false => ok(format!(r#"{{"content":[],"got":{}}}"#, passage.extra.text())),
        };
        async move { outcome }.boxed()
    });
    let mut client = PipeClient::of(&upstream);
    let face = meta(json!({"elicitation": {"form": {}}}));
    let first = client.ask("tools/call", json!({"name": "a_t", "_meta": face.clone()})).await["result"].clone();
    assert_eq!((&first["resultType"], &first["requestState"]), (&json!("input_required"), &json!("s")));
    let answers = json!({"k": {"action": "accept"}});
    let params = json!({"name": "a_t", "inputResponses": answers, "requestState": "s", "_meta": face});
    let last = client.ask("tools/call", params).await["result"].clone();
    assert_eq!((&last["resultType"], &last["got"]), (&json!("complete"), &json!({"inputResponses": answers, "requestState": "s"})));
}

#[tokio::test]
async fn a_modern_result_loses_for_a_legacy_client_only_what_its_era_has_not() {
    let upstream = FakeUpstream::new(vec![with_tools("a", &["t"]), with_tools("b", &[])], |_, _| {
        async move { ok(r#"{"content":[],"resultType":"complete", "x":1.0,"ttlMs":5,"cacheScope":"public"}"#) }.boxed()
    });
    let mut client = PipeClient::of(&upstream);
    client.initialize(json!({})).await;
    client.send(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a_t"}}"#).await;
    assert_eq!(client.line().await, r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"x":1.0}}"#);
}

#[tokio::test]
async fn trap_17_a_subscription_is_acknowledged_reports_what_it_named_and_stays_open() {
    let lists = json!({"resources": [{"uri": "x://1", "name": "1"}, {"uri": "x://2", "name": "2"}]});
    let server = |tools: &[&str]| {
        let mut server = ready("a", r#"{"tools":{},"resources":{"subscribe":true}}"#, lists.clone());
        std::sync::Arc::make_mut(&mut server.catalog).tools = with_tools("a", tools).catalog.tools.clone();
        vec![server, with_tools("b", &[])]
    };
    let upstream = FakeUpstream::echoing(server(&["t"]));
    let mut client = PipeClient::of(&upstream);
    let filter = json!({"toolsListChanged": true, "promptsListChanged": true, "resourceSubscriptions": ["x://1", "y:unknown"]});
    let params = json!({"notifications": filter, "_meta": meta(json!({}))});
    client.send(&json!({"jsonrpc": "2.0", "id": "L", "method": "subscriptions/listen", "params": params}).to_string()).await;
    let acknowledged = client.message("method").await;
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    // The only server with resources owns unknown ones; no server has prompts.
    assert_eq!(acknowledged["params"]["notifications"], json!({"toolsListChanged": true, "resourceSubscriptions": ["x://1", "y:unknown"]}));
    let of = json!({"io.modelcontextprotocol/subscriptionId": "L"});
    assert_eq!(acknowledged["params"]["_meta"], of);
    upstream.set(server(&["t", "u"]));
    let changed = client.message("method").await;
    assert_eq!((&changed["method"], &changed["params"]["_meta"]), (&json!("notifications/tools/list_changed"), &of));
    for uri in ["x://2", "x://1"] {
        upstream.report(ServerNotice::Updated { server: "a".into(), uri: uri.into() }).await;
    }
    let updated = client.message("method").await;
    assert_eq!(updated["params"], json!({"uri": "x://1", "_meta": of}));
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"L"}}"#).await;
    while upstream.log.lock().len() < 4 {
        tokio::task::yield_now().await;
    }
    let mut ended = upstream.log.lock()[2..].to_vec();
    ended.sort();
    assert_eq!(ended, ["unsubscribe a x://1", "unsubscribe a y:unknown"]);
    // Nothing to report is not an error.
    let params = json!({"notifications": {}, "_meta": meta(json!({}))});
    client.send(&json!({"jsonrpc": "2.0", "id": "M", "method": "subscriptions/listen", "params": params}).to_string()).await;
    assert_eq!(client.message("method").await["params"]["notifications"], json!({}));
    // The end of the gateway is the result.
    client.end().await;
    assert_eq!(client.message("id").await["id"], "M");
}
