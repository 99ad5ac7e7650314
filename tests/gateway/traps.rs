//! Traps in which other gateways were caught, over an engine with servers. Those that need no server are in `src/gateway/tests` and
//! `src/gateway/http`.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use switchboard::{
    domain::{body::Body, id::Attribution},
    engine::ports::{ClientHandler, Request, RequestObserver},
};
use tokio::sync::Notify;

use crate::{
    client::{Part, Pipe, gateway},
    fake::{Behaviour, Fake, reply, spec},
    scripted::{Server, json_page, modern},
    support::{PATIENCE, Rig, bad, http},
};

fn names(part: &Part) -> Vec<String> {
    let listed = part.value();
    listed["tools"].as_array().into_iter().flatten().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_2_a_cursor_that_repeats_ends_the_list_and_an_empty_one_does_not() {
    let rig = Rig::start(vec![bad("endless_list")]);
    rig.ready("bad").await;
    let mut pipe = Pipe::initialized(&gateway(&rig), json!({})).await;
    let listed = pipe.ask("tools/list", "{}").await;
    assert_eq!(names(&listed), ["echo"]);
    assert!(listed.value().get("nextCursor").is_none(), "{listed:?}");
    assert!(!rig.server("bad").anomaly_counts.is_empty(), "the server's list is reported");
    rig.stop().await;

    let server = Server::start(|asked| {
        let page = match (asked.method(), asked.rpc["params"]["cursor"].as_str()) {
            ("tools/list", None) => json!({"tools": [{"name": "first", "inputSchema": {"type": "object"}}], "nextCursor": ""}),
            ("tools/list", Some("")) => json!({"tools": [{"name": "second", "inputSchema": {"type": "object"}}]}),
            _ => return None,
        };
        Some(json_page(asked.result(page)))
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.ready("web").await;
    let mut pipe = Pipe::initialized(&gateway(&rig), json!({})).await;
    assert_eq!(names(&pipe.ask("tools/list", "{}").await), ["first", "second"]);
    rig.stop().await;
}

/// A server that asks after its answer, outside of any call.
fn asks_later(answers: Arc<Mutex<Vec<Result<Value, i64>>>>, asked: Arc<Notify>) -> Behaviour {
    Behaviour::new(move |_: Request, observer: Arc<dyn RequestObserver>, handler: Arc<dyn ClientHandler>| {
        let (answers, asked) = (answers.clone(), asked.clone());
        async move {
            observer.sent(handler.now(), 1);
            let response = reply(&handler);
            tokio::spawn(async move {
                let answer = handler.ask("elicitation/create", Body::from(r#"{"message":"later"}"#), Attribution::None).await;
                let answer = answer.map(|body| serde_json::from_slice(body.bytes()).unwrap()).map_err(|error| error.code);
                answers.lock().unwrap().push(answer);
                asked.notify_one();
            });
            Ok(response)
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_10_a_question_outside_of_a_call_reaches_the_client_of_the_session_or_nobody() {
    let (answers, asked) = (Arc::new(Mutex::new(vec![])), Arc::new(Notify::new()));
    let (given, told) = (answers.clone(), asked.clone());
    let rig = Rig::over(Fake::new(move |_| asks_later(given.clone(), told.clone()).plan()), vec![spec("web")]);
    rig.ready("web").await;
    let gateway = gateway(&rig);
    let (mut one, mut two) =
        (Pipe::initialized(&gateway, json!({"elicitation": {}})).await, Pipe::initialized(&gateway, json!({"elicitation": {}})).await);
    one.call("echo", "{}").await;
    // The question may come before the response.
    let question = match one.passed.pop_front() {
        Some(question) => question,
        None => serde_json::from_str(&one.line().await).unwrap(),
    };
    assert_eq!((&question["method"], &question["params"]["message"]), (&json!("elicitation/create"), &json!("later")));
    one.send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}}).to_string()).await;
    tokio::time::timeout(PATIENCE, asked.notified()).await.unwrap();
    assert_eq!(*answers.lock().unwrap(), [Ok(json!({"action": "accept"}))]);
    two.ask("ping", "{}").await;
    assert!(two.passed.is_empty(), "the other client was asked: {:?}", two.passed);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_19_a_modern_server_is_checked_with_discover_and_never_gets_a_ping() {
    let server = Server::start(modern).await;
    let mut spec = http("web", &server.url());
    spec.timeouts.health = Duration::from_millis(20);
    let rig = Rig::start(vec![spec]);
    rig.ready("web").await;
    let mut pipe = Pipe::initialized(&gateway(&rig), json!({})).await;
    assert_eq!(pipe.ask("ping", "{}").await, Part::Result("{}".into()), "the gateway answers a legacy client itself");
    server.saw("three checks", |log| log.requests.iter().filter(|request| request.method() == "server/discover").count() > 3).await;
    assert_eq!(server.count("ping"), 0);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_21_headers_of_a_renamed_tool_are_those_that_its_server_expects() {
    let seen = Arc::new(Mutex::new(vec![]));
    let heard = seen.clone();
    let schema = json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}});
    let server = Server::start(move |asked| match asked.method() {
        "tools/list" => {
            let tools = json!([{"name": "query it", "inputSchema": schema}]);
            Some(json_page(asked.result(json!({"resultType": "complete", "tools": tools, "ttlMs": 0, "cacheScope": "public"}))))
        }
        "tools/call" => {
            let header = |name| asked.header(name).map(str::to_owned);
            heard.lock().unwrap().push((header("mcp-method"), header("mcp-name"), header("mcp-param-region")));
            Some(json_page(asked.result(json!({"resultType": "complete", "content": []}))))
        }
        _ => modern(asked),
    })
    .await;
    let steady = Server::start(|_| None).await;
    let rig = Rig::start(vec![http("web", &server.url()), http("steady", &steady.url())]);
    rig.ready("web").await;
    rig.ready("steady").await;
    let mut pipe = Pipe::initialized(&gateway(&rig), json!({})).await;
    let listed = names(&pipe.ask("tools/list", "{}").await);
    assert!(listed[0].starts_with("web_") && !listed[0].contains(' '), "{listed:?}");
    pipe.call(&listed[0], r#"{"region":"eu-1"}"#).await;
    let expected = (Some("tools/call".to_owned()), Some("query it".to_owned()), Some("eu-1".to_owned()));
    assert_eq!(*seen.lock().unwrap(), [expected]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_16_an_uncertain_probe_leads_to_the_right_era_or_to_a_failure_that_is_tried_again() {
    use crate::scripted::{Step, page, stream};
    type Probe = fn() -> Vec<Step>;
    let probes: [(&str, Probe, bool); 5] = [
        ("500", || page("500 Internal Server Error", &[], ""), false),
        ("404 with a page", || page("404 Not Found", &[("Content-Type", "text/html")], "<html></html>"), true),
        ("a reset", || vec![Step::Reset], false),
        ("an empty stream", || vec![stream(""), Step::Close], false),
        ("invalid params", || json_page(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"no"}}"#), true),
    ];
    for (what, probe, legacy) in probes {
        let probed = Arc::new(AtomicUsize::new(0));
        let count = probed.clone();
        // The first probe is answered oddly; the server is modern unless that shows that it is not.
        let server = Server::start(move |asked| match asked.method() {
            "server/discover" if count.fetch_add(1, Ordering::SeqCst) == 0 => Some(probe()),
            _ if legacy => None,
            "initialize" => Some(json_page(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"no"}}"#)),
            _ => modern(asked),
        })
        .await;
        let mut spec = http("web", &server.url());
        (spec.timeouts.connect, spec.timeouts.probe) = (Duration::from_secs(20), Duration::from_secs(5));
        let rig = Rig::start(vec![spec]);
        let state = rig.ready("web").await;
        let protocol = state.servers[0].info.as_ref().map(|info| info.protocol.clone());
        assert_eq!(protocol.as_deref(), Some(if legacy { "2025-11-25" } else { "2026-07-28" }), "{what}");
        let mut pipe = Pipe::initialized(&gateway(&rig), json!({})).await;
        assert_eq!(pipe.call("echo", "{}").await.value()["content"][0]["text"], "hello", "{what}");
        rig.stop().await;
    }
}
