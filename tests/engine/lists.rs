//! Lists and reads that hold for a time (`ttlMs`, MCP 2026-07-28) are read again after it, or when they have changed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use switchboard::{
    cache::Memory,
    control::Command,
    domain::{
        body::Body,
        call::{CallSpec, Operation, Origin},
        id::{ServerId, ToolId},
    },
};
use tokio::{sync::Semaphore, time::sleep};

use crate::{
    fake::{Behaviour, Fake, Plan, spec},
    scripted::{Asked, Server, Step, event, hello, json_page, modern, page, send, stream},
    support::{Rig, failure_of, http},
};

#[tokio::test(start_paused = true)]
async fn lists_are_read_again_when_their_time_is_over_but_not_all_the_time() {
    let minutes = |n: u64| Some(Duration::from_secs(60 * n));
    for (ttl, within_an_hour) in [
        (None, 0),
        (minutes(10), 5),
        (minutes(50), 1),
        // Never closer together than 5 s.
        (Some(Duration::from_millis(1)), 719),
        (Some(Duration::MAX), 0),
    ] {
        let behaviour = Arc::new(Behaviour { ttl, ..Behaviour::prompt() });
        let plan = behaviour.clone();
        let rig = Rig::over(Fake::new(move |_| Plan::Serve(Duration::ZERO, plan.clone())), vec![spec("web")]);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(behaviour.listed.load(Ordering::SeqCst), 1);
        // A little less than an hour after the first.
        sleep(Duration::from_secs(3597)).await;
        assert_eq!(behaviour.listed.load(Ordering::SeqCst) - 1, within_an_hour, "{ttl:?}");
        rig.engine.shutdown().await;
    }
}

#[tokio::test]
async fn the_shortest_time_of_all_pages_counts_where_changes_are_not_told() {
    let server = |capabilities: serde_json::Value| {
        Server::start(move |asked| match asked.method() {
            "server/discover" => Some(json_page(asked.result(json!({
                "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": capabilities,
                "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "scripted", "version": "2"}}
            })))),
            "tools/list" if asked.rpc["params"]["cursor"].is_null() => {
                Some(json_page(asked.result(json!({"tools": [], "nextCursor": "2", "ttlMs": 3_600_000, "cacheScope": "public"}))))
            }
            "tools/list" => Some(json_page(asked.result(json!({"tools": [], "ttlMs": 1, "cacheScope": "public"})))),
            _ => modern(asked),
        })
    };
    let (silent, telling) = (server(json!({"tools": {}})).await, server(json!({"tools": {"listChanged": true}})).await);
    let rig = Rig::start(vec![http("silent", &silent.url()), http("telling", &telling.url())]);
    rig.ready("telling").await;
    // Two pages a time.
    silent.saw("the lists once more", |log| log.requests.iter().filter(|asked| asked.method() == "tools/list").count() >= 4).await;
    assert_eq!(telling.count("tools/list"), 2);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_kept_is_made_again_when_the_server_told_of_a_change() {
    const URI: &str = "demo://orders";
    let gate = Arc::new(Semaphore::new(0));
    let through = gate.clone();
    let updated = event(None, &json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": URI}}).to_string());
    let server = Server::start(move |asked| match asked.method() {
        "initialize" => {
            let mut hello = hello();
            hello["capabilities"]["resources"] = json!({"subscribe": true});
            Some(page("200 OK", &[("Content-Type", "application/json"), ("Mcp-Session-Id", "session-1")], asked.result(hello)))
        }
        "resources/subscribe" => Some(json_page(asked.result(json!({})))),
        "resources/read" => {
            let contents = json!([{"uri": URI, "text": "orders"}]);
            Some(json_page(asked.result(json!({"contents": contents, "ttlMs": 3_600_000, "cacheScope": "public"}))))
        }
        _ if asked.verb == "GET" => Some(vec![stream(""), Step::Limiter(through.clone()), send(&updated), Step::Hold]),
        _ => None,
    })
    .await;
    let rig = Rig::start(vec![http("web", &server.url())]);
    rig.engine.set_store(Some(Arc::new(Memory::new(1 << 20))));
    rig.ready("web").await;
    rig.command(Command::Subscribe { server: "web".into(), uri: URI.into(), on: true });
    rig.until("the subscription", |w| w.servers[0].subscriptions.contains_key(URI)).await;
    let read = || async {
        let operation = Operation::Resource { server: "web".into(), uri: URI.into() };
        rig.run(CallSpec::new(operation, Origin::Cli), |_| {}).await.1.cached.is_some()
    };
    assert_eq!((read().await, read().await, server.count("resources/read")), (false, true, 1));
    gate.add_permits(1);
    rig.until("the change", |w| w.servers[0].subscriptions[URI].0 == 1).await;
    assert_eq!((read().await, server.count("resources/read")), (false, 2));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_effects_cannot_have_run() {
    let refused = |asked: &Asked| {
        let error = json!({"code": -32002, "message": "Resource not found"});
        json_page(json!({"jsonrpc": "2.0", "id": asked.id(), "error": error}).to_string())
    };
    let silent = Arc::new(AtomicBool::new(false));
    let holds = silent.clone();
    let server = Server::start(move |asked| match asked.method() {
        "resources/read" | "prompts/get" | "completion/complete" | "prompts/list" | "vendor/do" | "tools/call" => {
            Some(if holds.load(Ordering::Relaxed) { vec![Step::Hold] } else { refused(asked) })
        }
        _ => None,
    })
    .await;
    let mut spec = http("web", &server.url());
    spec.policy.breaker.enabled = false;
    let rig = Rig::start(vec![spec]);
    rig.ready("web").await;
    let web = || ServerId::from("web");
    let raw = |method: &str| Operation::Raw { server: web(), method: method.into(), params: Body::from("{}") };
    for within in [None, Some(Duration::from_millis(300))] {
        silent.store(within.is_some(), Ordering::Relaxed);
        for (operation, may_have_run) in [
            (Operation::Resource { server: web(), uri: "x://1".into() }, false),
            (Operation::Prompt { server: web(), name: "p".into(), arguments: Body::from("{}") }, false),
            (Operation::Complete { server: web(), params: Body::from("{}") }, false),
            (raw("prompts/list"), false),
            (raw("vendor/do"), true),
            (Operation::Tool { tool: ToolId::new(web(), "echo"), arguments: Body::from("{}") }, true),
        ] {
            let spec = CallSpec { timeout: within, ..CallSpec::new(operation.clone(), Origin::Cli) };
            let settled = rig.run(spec, |_| {}).await.1;
            let failure = failure_of(&settled);
            assert_eq!(failure.may_have_run, may_have_run, "{operation:?}: {failure:?}");
            let noted = failure.report().iter().any(|(_, text)| text.contains("may have run"));
            assert_eq!(noted, may_have_run, "{operation:?}: {failure:?}");
        }
    }
    rig.stop().await;
}
