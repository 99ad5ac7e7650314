//! The last known catalogs: shown until a server answers, and replaced then.

use std::{sync::Arc, time::Duration};

use switchboard::{
    control::{Command, LocalControl},
    domain::{
        call::{Failure, FailureKind, Outcome},
        directory::Directory,
        id::ServerId,
        policy::{Fallback, Rules, ToolRule, breaker::State, pattern::Pattern},
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
    support::{Rig, failure_of, text_of},
};

/// Starts an engine with the server `s` over these connections and catalogs.
fn start(connector: Arc<dyn Connector>, catalogs: &Arc<MemoryCatalogs>) -> Rig {
    let rig = without_servers(connector, catalogs);
    rig.engine.apply(vec![spec("s")]);
    rig
}

fn without_servers(connector: Arc<dyn Connector>, catalogs: &Arc<MemoryCatalogs>) -> Rig {
    let options = EngineOptions { epoch: Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 }, separator: "_".into(), seed: Some(1) };
    let adapters = Adapters { catalogs: catalogs.clone() as Arc<dyn CatalogStore>, ..Adapters::new(connector) };
    Rig { engine: LocalControl::with(options, Retention::default(), adapters) }
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

#[tokio::test(start_paused = true)]
async fn only_the_servers_that_are_needed_are_started() {
    let connector = Fake::new(|_| Behaviour::prompt().plan());
    let rig = without_servers(connector.clone(), &Arc::default());
    rig.engine.start_on_demand();
    rig.engine.apply(["a", "b", "c"].map(spec).to_vec());
    rig.engine.catalogs_loaded().await;
    rig.until("all are idle", |w| w.servers.iter().all(|server| *server.phase == Phase::Idle)).await;
    assert_eq!(connector.attempts(), 0);
    assert_eq!(text_of(&rig.call("b", "echo", "{}").await.1), "hello");
    assert_eq!(connector.attempts(), 1, "a call starts its server");
    rig.command(Command::Start { server: "c".into() });
    rig.ready("c").await;
    rig.command(Command::Start { server: "c".into() });
    assert_eq!((connector.attempts(), &*rig.server("a").phase), (2, &Phase::Idle));
}

/// Serves `back` and refuses every other server.
struct OnlyBack(Arc<Fake>);

#[async_trait::async_trait]
impl Connector for OnlyBack {
    async fn connect(
        &self,
        spec: Arc<switchboard::domain::server::ServerSpec>,
        known: Option<switchboard::domain::server::Era>,
        behalf: Option<switchboard::domain::client::Behalf>,
        handler: Arc<dyn switchboard::engine::ports::ClientHandler>,
    ) -> Result<Arc<dyn switchboard::engine::ports::Session>, switchboard::domain::server::ConnectFailure> {
        match spec.id.as_str() {
            "back" => self.0.connect(spec, known, behalf, handler).await,
            _ => Err(switchboard::domain::server::ConnectFailure::new(switchboard::domain::server::Step::Dial, "not today")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_answers_although_the_primary_never_did() {
    let rig = without_servers(Arc::new(OnlyBack(Fake::new(|_| Behaviour::prompt().plan()))), &Arc::default());
    let rule = ToolRule {
        matches: Pattern::parse("main_echo").unwrap(),
        fallback: vec![Fallback::Server { server: "back".into() }],
        ..ToolRule::default()
    };
    rig.engine.set_rules(Rules { tools: vec![rule], ..Rules::default() });
    rig.engine.start_on_demand();
    rig.engine.apply(["main", "back"].map(spec).to_vec());
    let read_model = rig.read_model();
    let tool = read_model.assumed_tool("main_echo").expect("the rule names it");
    assert_eq!((tool.server.as_str(), &*tool.name), ("main", "echo"));
    assert_eq!(read_model.assumed_tool("main/echo"), Some(tool));
    assert_eq!(read_model.assumed_tool("main_other"), None);
    let began = tokio::time::Instant::now();
    let settled = rig.call("main", "echo", "{}").await.1;
    assert_eq!((text_of(&settled).as_str(), settled.by.as_ref().map(ServerId::as_str)), ("hello", Some("back")), "{settled:?}");
    assert!(began.elapsed() < Duration::from_secs(1), "the first failed attempt is enough: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn breakers_and_rates_outlive_the_process() {
    let catalogs = Arc::new(MemoryCatalogs::default());
    let failing = || {
        Fake::new(|_| {
            let answer = |_,
                          observer: Arc<dyn switchboard::engine::ports::RequestObserver>,
                          handler: Arc<dyn switchboard::engine::ports::ClientHandler>| async move {
                observer.sent(handler.now(), 1);
                Err(Failure { status: Some(500), ..Failure::after_send(FailureKind::Transport, "HTTP 500") })
            };
            Behaviour::new(answer).plan()
        })
    };
    let clock = Arc::new(std::sync::atomic::AtomicU64::new(1_700_000_000_000));
    let rig = |connector: Arc<Fake>| {
        let rig = without_servers(connector, &catalogs);
        let clock = clock.clone();
        rig.engine.set_wall_clock(Arc::new(move || clock.load(std::sync::atomic::Ordering::Relaxed)));
        rig.engine.apply(vec![spec("s")]);
        rig
    };
    let mut sent = 0;
    for _ in 0..6 {
        let one = rig(failing());
        one.engine.catalogs_loaded().await;
        one.ready("s").await;
        let settled = one.call("s", "echo", "{}").await.1;
        sent += usize::from(failure_of(&settled).kind != FailureKind::BreakerOpen);
        one.stop().await;
    }
    assert_eq!(sent, 5, "five consecutive failures open the breaker");
    let later = rig(failing());
    later.engine.catalogs_loaded().await;
    assert_eq!(later.server("s").breaker.state, State::Open);
    later.stop().await;
    clock.fetch_add(31_000, std::sync::atomic::Ordering::Relaxed);
    let recovered = rig(Fake::new(|_| Behaviour::prompt().plan()));
    recovered.engine.catalogs_loaded().await;
    assert_eq!(text_of(&recovered.call("s", "echo", "{}").await.1), "hello", "the open period is over");
    assert_eq!(recovered.server("s").breaker.state, State::Closed);
}
