//! The last known catalogs: shown until a server answers, and replaced then.

use std::{sync::Arc, time::Duration};

use switchboard::{
    control::LocalControl,
    domain::{
        call::{FailureKind, Outcome},
        directory::Directory,
        id::ServerId,
        retention::Retention,
        server::Phase,
        time::Epoch,
    },
    engine::{
        Adapters, EngineOptions,
        ports::{CatalogStore, Connector, MemoryCatalogs},
    },
    state::ServerView,
};

use crate::{
    fake::{Behaviour, Fake, Plan, spec},
    support::{Rig, failure_of},
};

/// Starts an engine with the server `s` over these connections and catalogs.
fn start(connector: Arc<dyn Connector>, catalogs: &Arc<MemoryCatalogs>) -> Rig {
    let options = EngineOptions { epoch: Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 }, separator: "_".into(), seed: Some(1) };
    let adapters = Adapters { catalogs: catalogs.clone() as Arc<dyn CatalogStore>, ..Adapters::new(connector) };
    let engine = LocalControl::with(options, Retention::default(), adapters);
    engine.apply(vec![spec("s")]);
    Rig { engine }
}

fn tools(server: &ServerView) -> Vec<&str> {
    server.catalog.tools.iter().map(|tool| &*tool.name).collect()
}

#[tokio::test(start_paused = true)]
async fn the_last_known_tools_are_shown_until_the_server_answers() {
    let catalogs = Arc::new(MemoryCatalogs::default());
    let first = start(Fake::new(|_| Behaviour::prompt().plan()), &catalogs);
    first.ready("s").await;
    first.engine.shutdown().await;

    // The server is slow to connect, and offers another tool then.
    let renamed = || {
        let tools = vec![r#"{"name":"other","inputSchema":{"type":"object"}}"#.into()];
        Plan::Serve(Duration::from_secs(5), Arc::new(Behaviour { tools, ..Behaviour::prompt() }))
    };
    let second = start(Fake::new(move |_| renamed()), &catalogs);
    let known = second.until("the last known tools", |w| w.server(&ServerId::from("s")).is_some_and(|s| !s.catalog.tools.is_empty())).await;
    let server = known.server(&"s".into()).unwrap();
    assert!(matches!(*server.phase, Phase::Starting { .. }), "{:?}", server.phase);
    assert_eq!(tools(server), ["echo"]);
    assert_eq!((server.catalog.revision, server.catalog.stored_ms.is_some()), (0, true), "marked as stored");
    assert!(known.find_tool("s_echo").is_some(), "its exposed name is known");

    let ready = second.ready("s").await;
    let server = ready.server(&"s".into()).unwrap();
    assert_eq!(tools(server), ["other"]);
    assert_eq!((server.catalog.revision, server.catalog.stored_ms), (1, None));
    assert!(ready.find_tool("s_echo").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_connect_keeps_its_last_known_tools() {
    let catalogs = Arc::new(MemoryCatalogs::default());
    let first = start(Fake::new(|_| Behaviour::prompt().plan()), &catalogs);
    first.ready("s").await;
    first.engine.shutdown().await;

    let second = start(Fake::new(|_| Plan::Refuse), &catalogs);
    let failure = failure_of(&second.call("s", "echo", "{}").await.1).clone();
    assert_ne!(failure.kind, FailureKind::UnknownTool, "{failure:?}");
    assert!(!failure.may_have_run);
    assert_eq!(tools(&second.server("s")), ["echo"]);
}

#[tokio::test(start_paused = true)]
async fn a_last_known_schema_refuses_no_call() {
    let catalogs = Arc::new(MemoryCatalogs::default());
    let strict = r#"{"name":"echo","inputSchema":{"type":"object","required":["a"]}}"#;
    let first = start(
        Fake::new(move |_| Plan::Serve(Duration::ZERO, Arc::new(Behaviour { tools: vec![strict.into()], ..Behaviour::prompt() }))),
        &catalogs,
    );
    first.ready("s").await;
    first.engine.shutdown().await;

    // The server's lists cannot be read now, so that only the stored definition is known.
    let second = start(Fake::new(|_| Behaviour::prompt().listed(|_| crate::fake::Sign::Status(500)).plan()), &catalogs);
    second.ready("s").await;
    let settled = second.call("s", "echo", "{}").await.1;
    assert!(matches!(settled.outcome, Outcome::Ok { .. }), "{:?}", settled.outcome);
}
