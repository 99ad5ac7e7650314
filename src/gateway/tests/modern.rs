//! The modern era over the same router: discovery, metadata of requests, subscriptions.

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::super::test_support::{FakeUpstream, PipeClient, ok, ready, with_tools};
use crate::{
    domain::body::Body,
    domain::call::{InterimKind, Outcome},
    domain::client::ClientTransport,
    engine::passage::Rounds,
    gateway::upstream::ServerNotice,
};

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

fn meta(capabilities: Value) -> Value {
    json!({VERSION: "2026-07-28", "io.modelcontextprotocol/clientInfo": {"name": "m", "version": "1"}, CAPABILITIES: capabilities})
}

#[tokio::test]
async fn clients_are_reported_when_they_describe_themselves() {
    let upstream = FakeUpstream::echoing(vec![with_tools("a", &["t"])]);
    let mut client = PipeClient::of(&upstream);
    let reported = || upstream.connections.borrow().clone();
    client.ask("server/discover", json!({"_meta": meta(json!({}))})).await;
    client.ask("tools/list", json!({"_meta": meta(json!({"elicitation": {}}))})).await;
    let connections = reported();
    let [(id, Some(info))] = &connections[..] else { panic!("{connections:?}") };
    let modern = (info.name.as_deref(), info.version.as_deref(), &*info.protocol, info.transport, &*info.profile);
    assert_eq!(modern, (Some("m"), Some("1"), "2026-07-28", ClientTransport::Stdio, "default"));
    // The same program in the other era describes itself in another way.
    client.initialize(json!({})).await;
    let again = reported().pop().and_then(|(again, info)| Some((again, info?.name.clone()?)));
    assert_eq!(again, Some((*id, "c".into())));
    client.end().await;
    assert!(upstream.connections.subscribe().wait_for(|all| all.last() == Some(&(*id, None))).await.is_ok());
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
    assert_eq!(
        (&error["code"], &error["data"]["requested"], &error["data"]["supported"][0]),
        (&json!(-32022), &json!("2027-01-01"), &json!("2026-07-28"))
    );
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
    let state = first["requestState"].clone();
    assert_eq!(first["resultType"], "input_required");
    assert_ne!(state, "s", "only the gateway can read it");
    let answers = json!({"k": {"action": "accept"}});
    let params = json!({"name": "a_t", "inputResponses": answers, "requestState": state, "_meta": face});
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
    let mut ended = upstream.logged(4).await[2..].to_vec();
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

#[tokio::test(start_paused = true)]
async fn a_call_whose_legacy_server_asks_is_parked_and_continues_once_with_the_answer() {
    let upstream = FakeUpstream::new(vec![with_tools("a", &["t"]), with_tools("b", &[])], |_, passage| {
        async move {
            passage.desk.progress(&Body::from(r#"{"progress":1}"#));
            let (one, two) = futures_util::join!(
                passage.desk.ask("elicitation/create", Body::from(r#"{"message":"m","n":1.0}"#)),
                passage.desk.ask("roots/list", Body::default()),
            );
            passage.desk.progress(&Body::from(r#"{"progress":2}"#));
            let text = |answer: Result<Body, crate::domain::call::RpcError>| {
                answer.map_or_else(|error| error.code.to_string(), |body| body.text().into_owned())
            };
            ok(format!(r#"{{"content":[],"one":{},"two":{}}}"#, text(one), text(two)))
        }
        .boxed()
    });
    let mut client = PipeClient::of(&upstream);
    let call = |token: u64, more: Value| {
        let mut params = json!({"name": "a_t", "arguments": {"x": 1, "y": 2}, "_meta": meta(json!({"elicitation": {}, "roots": {}}))});
        params["_meta"]["progressToken"] = json!(token);
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let first = client.ask("tools/call", call(5, json!({}))).await["result"].clone();
    assert_eq!(first["resultType"], "input_required", "{first}");
    let asked = json!({"q1": {"method": "elicitation/create", "params": {"message": "m", "n": 1.0}}, "q2": {"method": "roots/list"}});
    assert_eq!(first["inputRequests"], asked);
    assert_eq!(client.message("method").await["params"]["progressToken"], 5);
    let state = first["requestState"].clone();
    let answers = json!({"requestState": state, "inputResponses": {"q1": {"action": "accept"}}});
    // Another call, or another state, continues nothing.
    for wrong in [json!({"requestState": state, "arguments": {"x": 2}}), json!({"requestState": "switchboard:parked:0"})] {
        assert_eq!(client.ask("tools/call", call(6, wrong)).await["error"]["code"], -32602);
    }
    let last = client.ask("tools/call", call(7, answers.clone())).await["result"].clone();
    assert_eq!((&last["one"], &last["two"], &last["resultType"]), (&json!({"action": "accept"}), &json!(-32602), &json!("complete")));
    let progress = client.message("method").await["params"].clone();
    assert_eq!(progress, json!({"progress": 2, "progressToken": 7}));
    let error = client.ask("tools/call", call(8, answers)).await["error"].clone();
    assert_eq!(error["code"], -32602, "a call continues once: {error}");
    assert!(upstream.log().is_empty(), "no second call: {:?}", upstream.log());
}

#[tokio::test(start_paused = true)]
async fn trap_12_a_parked_call_ends_when_its_client_does_not_come_back() {
    let upstream = FakeUpstream::new(vec![with_tools("a", &["t"]), with_tools("b", &[])], |_, passage| {
        async move {
            let _ = passage.desk.ask("elicitation/create", Body::default()).await;
            std::future::pending().await
        }
        .boxed()
    });
    let mut client = PipeClient::of(&upstream);
    let params = json!({"name": "a_t", "_meta": meta(json!({"elicitation": {}}))});
    assert_eq!(client.ask("tools/call", params).await["result"]["resultType"], "input_required");
    tokio::time::sleep(std::time::Duration::from_secs(599)).await;
    assert!(upstream.log().is_empty());
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert_eq!(upstream.log(), ["cancel 1"]);
}
