//! Lists that hold for a time (`ttlMs`, MCP 2026-07-28) are read again after it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde_json::json;
use tokio::time::sleep;

use crate::{
    fake::{Behaviour, Fake, Plan, spec},
    scripted::{Server, json_page, modern},
    support::{Rig, http},
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
