//! What the engine adds to a call with all policies on, and what one bad server of twenty costs the others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and panics on errors"
)]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use rmcp::{
    model::{CallToolRequestParams, InitializeResult},
    service::{Peer, RoleClient, serve_directly},
};
use serde_json::json;
use support::report::{self, Of, Series};
use switchboard::{
    cache::Memory,
    control::{Control, LocalControl},
    domain::{
        body::Body,
        call::{CallSpec, Failure, FailureKind, Origin},
        capabilities::ClientCapabilities,
        catalog::RawLists,
        client::Behalf,
        event::Settled,
        id::{ServerId, ToolId},
        policy::{CacheMode, Rules, ToolRule, pattern::Pattern},
        retention::Retention,
        server::{ConnectFailure, Era, Exit, ServerSpec, SessionInfo, Step, Transport},
        time::Epoch,
        trace::Propagation,
    },
    engine::{
        Adapters, EngineOptions,
        ports::{CallExecutor, ClientHandler, Connector, Reply, Request, RequestObserver, Session, SubscriptionChange},
    },
    store::{HistoryLimits, Store, StoreOptions},
    telemetry::otlp,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};

const CALLS: usize = 5_000;
const WARM: usize = 500;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // On a worker, as every caller is: the thread that waits for the whole has to be woken from outside.
        tokio::spawn(overhead()).await.expect("no panic");
        tokio::spawn(isolation()).await.expect("no panic");
    });
}

/// A server at the end of a pipe in memory that answers every request immediately.
async fn parrot(stream: DuplexStream) {
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let request: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        if request.get("id").is_none() {
            continue;
        }
        let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": {"content": [{"type": "text", "text": "hello"}]}});
        if write.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The official client over that pipe.
fn client() -> (rmcp::service::RunningService<RoleClient, ()>, Peer<RoleClient>) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(parrot(theirs));
    let running = serve_directly::<RoleClient, _, _, _, _>((), ours, Some(InitializeResult::default().into()));
    let peer = running.peer().clone();
    (running, peer)
}

async fn bare(peer: &Peer<RoleClient>, n: usize) {
    let arguments = json!({"n": n}).as_object().cloned().expect("an object");
    peer.call_tool(CallToolRequestParams::new("echo").with_arguments(arguments)).await.expect("answered");
}

/// The same client below the engine: what is left is what the engine does.
struct Under {
    peer: Option<Peer<RoleClient>>,
    handler: Arc<dyn ClientHandler>,
    way: Way,
    info: Arc<SessionInfo>,
    capabilities: Arc<ClientCapabilities>,
}

/// The part of `params` that the client wants.
#[derive(serde::Deserialize)]
struct Params {
    arguments: serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Client,
    Quick,
    Hangs,
    Fails,
    Slow,
}

#[async_trait]
impl Session for Under {
    fn info(&self) -> Arc<SessionInfo> {
        self.info.clone()
    }

    fn capabilities(&self) -> Arc<ClientCapabilities> {
        self.capabilities.clone()
    }

    async fn request(&self, request: Request, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
        observer.sent(self.handler.now(), 1);
        match (&self.peer, self.way) {
            (Some(peer), _) => {
                let Params { arguments } = serde_json::from_slice(request.params.bytes()).expect("JSON");
                peer.call_tool(CallToolRequestParams::new("echo").with_arguments(arguments)).await.expect("answered");
            }
            (None, Way::Hangs) => std::future::pending().await,
            (None, Way::Fails) => return Err(Failure::after_send(FailureKind::Transport, "it always fails")),
            (None, Way::Slow) => tokio::time::sleep(Duration::from_millis(400)).await,
            (None, _) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
        let now = self.handler.now();
        let result = Body::from(r#"{"content":[{"type":"text","text":"hello"}]}"#);
        Ok(Reply { result, first_byte: now, last_byte: now, sent_bytes: 1, received_bytes: 1 })
    }

    async fn notify(&self, _: &str, _: Body) -> Result<(), Failure> {
        Ok(())
    }

    async fn lists(&self) -> Result<RawLists, Failure> {
        let tool =
            r#"{"name":"echo","inputSchema":{"type":"object","properties":{"n":{"type":"integer"}}},"annotations":{"readOnlyHint":true}}"#;
        Ok(RawLists { tools: vec![Body::from(tool)], ..RawLists::default() })
    }

    async fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn closed(&self) -> Arc<ConnectFailure> {
        std::future::pending().await
    }

    async fn subscribe(&self, _: &str, _: SubscriptionChange) -> Result<(), Failure> {
        Ok(())
    }

    async fn close(&self) -> Exit {
        Exit::Code(0)
    }
}

/// Gives each server a session that behaves in its way.
struct Connect {
    peer: Option<Peer<RoleClient>>,
    bad: Way,
}

#[async_trait]
impl Connector for Connect {
    async fn connect(
        &self,
        spec: Arc<ServerSpec>,
        _: Option<Era>,
        _: Option<Behalf>,
        handler: Arc<dyn ClientHandler>,
    ) -> Result<Arc<dyn Session>, ConnectFailure> {
        handler.step(Step::Initialize);
        let way = match spec.id.as_str() {
            _ if self.peer.is_some() => Way::Client,
            "s0" => self.bad,
            _ => Way::Quick,
        };
        let info = Arc::new(SessionInfo::bare(handler.now()));
        Ok(Arc::new(Under { peer: self.peer.clone(), handler, way, info, capabilities: Arc::default() }))
    }
}

fn engine(connect: Connect, servers: usize, change: impl Fn(&mut ServerSpec)) -> Arc<LocalControl> {
    engine_with(Adapters::new(Arc::new(connect)), servers, change)
}

fn engine_with(adapters: Adapters, servers: usize, change: impl Fn(&mut ServerSpec)) -> Arc<LocalControl> {
    let epoch = Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 };
    let options = EngineOptions { epoch, separator: "_".into(), seed: Some(1) };
    let engine = LocalControl::with(options, Retention::default(), adapters);
    let specs = (0..servers).map(|n| {
        let launch = Transport::Http { url: "http://in.memory".into(), headers: vec![], socket: None };
        let mut spec = ServerSpec::new(format!("s{n}").as_str(), launch);
        change(&mut spec);
        spec
    });
    engine.apply(specs.collect());
    engine
}

async fn overhead() {
    let (_keep, peer) = client();
    let (_keep_too, under) = client();
    let off = |spec: &mut ServerSpec| {
        spec.policy.breaker.enabled = false;
        spec.policy.retry.attempts = 1;
        spec.policy.concurrency.in_flight = 0;
    };
    let plain = engine(Connect { peer: Some(under.clone()), bad: Way::Quick }, 1, off);
    let dir = tempfile::tempdir().expect("a folder");
    let limits = HistoryLimits { calls: 10_000_000, age_ms: 0, bytes: 0 };
    let store = Store::open_with(&dir.path().join("store.db"), StoreOptions { history: Some(limits), flush: false }).expect("a store");
    // Every trace is sampled, and the collector is down.
    let settings = otlp::read_traces(|name| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://127.0.0.1:9".to_owned()));
    let settings = settings.expect("settings").expect("an export");
    let mut adapters = Adapters::new(Arc::new(Connect { peer: Some(under.clone()), bad: Way::Quick }));
    adapters.history = Arc::new(store);
    adapters.propagation = Propagation { sampler: Some(settings.sampler), ..Propagation::default() };
    let recorded = engine_with(adapters, 1, off);
    let traces = otlp::start(&recorded, settings, (None, None)).expect("an export");
    let full = engine(Connect { peer: Some(under), bad: Way::Quick }, 1, |spec| {
        spec.trusted = true;
        spec.policy.hedge.enabled = true;
        spec.policy.hedge.after = Some(Duration::from_secs(10));
        spec.policy.attempt = Some(Duration::from_secs(20));
        spec.policy.rate_limit.per_second = 1e6;
        spec.policy.rate_limit.burst = 1000;
        spec.policy.cache.mode = CacheMode::ReadOnly;
        spec.policy.breaker.slow_rate = 0.5;
    });
    full.set_store(Some(Arc::new(Memory::new(64 << 20))));
    let own = ToolRule { matches: Pattern::parse("s0_*").expect("a pattern"), own_breaker: Some(true), ..ToolRule::default() };
    full.set_rules(Rules { tools: vec![own], ..Rules::default() });
    ready(&plain).await;
    ready(&full).await;
    ready(&recorded).await;
    let watchers = [watched(&plain), watched(&full), watched(&recorded)];
    let (mut bare_took, mut plain_took, mut full_took, mut recorded_took) = (vec![], vec![], vec![], vec![]);
    // By turns, so that the machine's moods hit all alike.
    for n in 0..CALLS + WARM {
        let begun = Instant::now();
        bare(&peer, n).await;
        let one = begun.elapsed();
        let begun = Instant::now();
        call(&plain, "s0", n).await;
        let two = begun.elapsed();
        let begun = Instant::now();
        call(&full, "s0", n).await;
        let three = begun.elapsed();
        let begun = Instant::now();
        call(&recorded, "s0", n).await;
        let four = begun.elapsed();
        if n >= WARM {
            bare_took.push(one);
            plain_took.push(two);
            full_took.push(three);
            recorded_took.push(four);
        }
    }
    report::heading(&format!("dispatch: a call over a pipe in memory, {CALLS} times"));
    let us = |took: &[Duration]| Series::new(took.iter().map(|d| d.as_secs_f64() * 1e6));
    let (bare, plain_took, full_took) = (us(&bare_took), us(&plain_took), us(&full_took));
    report::line("by the official client alone", "us", &bare).print();
    report::line("by the engine over it, policies off", "us", &plain_took).against("the client", bare.median()).print();
    report::line("by the engine over it, all policies on", "us", &full_took).against("the client", bare.median()).print();
    let recorded_took = us(&recorded_took);
    let (what, most) = ("by the engine over it, with history and tracing on", plain_took.median() * 1.1);
    report::line(what, "us", &recorded_took).against("policies off", plain_took.median()).promise(Of::Median, most).print();
    let added = Series::new([full_took.median() - bare.median()]);
    report::line("added by the engine with all policies on (medians)", "us", &added).promise(Of::Median, 20.0).print();
    for watcher in watchers {
        watcher.abort();
    }
    plain.shutdown().await;
    full.shutdown().await;
    recorded.shutdown().await;
    traces.finish().await;
}

/// Somebody who watches every event, and looks as often as the console does.
fn watched(engine: &LocalControl) -> tokio::task::JoinHandle<()> {
    let (mut read_model, mut tail) = engine.watch();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(33)).await;
            while let Some(event) = tail.try_next().expect("one call at a time is not a flood") {
                Arc::make_mut(&mut read_model).apply(&event);
            }
        }
    })
}

/// Each of twenty servers is called without a pause by four callers; one of them is bad.
async fn isolation() {
    report::heading("isolation: the 99th percentile of 19 servers while the 20th is bad");
    let well = others(Way::Quick).await;
    report::line("all well", "ms", &well).print();
    for (way, what) in [(Way::Hangs, "one hangs"), (Way::Fails, "one fails immediately"), (Way::Slow, "one is slow")] {
        let with = others(way).await;
        report::line(what, "ms", &with).against("all well", well.median()).print();
        // Ten per cent or five milliseconds, whichever is more.
        let allowed = (well.p99() * 1.1).max(well.p99() + 5.0);
        report::line(&format!("{what}: 99th percentile"), "ms", &Series::new([with.p99()])).promise(Of::Median, allowed).print();
    }
}

async fn others(bad: Way) -> Series {
    let engine = engine(Connect { peer: None, bad }, 20, |spec| spec.timeouts.call = Duration::from_millis(500));
    ready(&engine).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = vec![];
    for server in 0..20 {
        for _ in 0..4 {
            let (engine, over) = (engine.clone(), over.clone());
            callers.push(tokio::spawn(async move {
                let mut took = vec![];
                let id = format!("s{server}");
                while !over.load(Ordering::Relaxed) {
                    let Some(settled) =
                        engine.call(CallSpec::tool(ToolId::new(ServerId::from(id.as_str()), "echo"), r#"{"n":1}"#, Origin::Cli)).1.await
                    else {
                        return took;
                    };
                    if server == 0 {
                        // A breaker that refuses immediately would reduce this to a loop of refusals.
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    } else {
                        took.push(settled.timings.total());
                    }
                }
                took
            }));
        }
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    over.store(true, Ordering::Relaxed);
    let mut all = vec![];
    for caller in callers {
        all.extend(caller.await.expect("a caller"));
    }
    engine.shutdown().await;
    Series::of(&all)
}

async fn ready(engine: &LocalControl) {
    let (mut read_model, mut tail) = engine.watch();
    while !read_model.servers.iter().all(|server| server.phase.usable()) {
        match tail.next().await {
            Ok(Some(event)) => Arc::make_mut(&mut read_model).apply(&event),
            _ => (read_model, tail) = engine.watch(),
        }
    }
}

async fn call(engine: &LocalControl, server: &str, n: usize) -> Arc<Settled> {
    let arguments = format!("{{\"n\":{n}}}");
    let (_, end) = engine.call(CallSpec::tool(ToolId::new(ServerId::from(server), "echo"), arguments, Origin::Cli));
    end.await.expect("the engine lives")
}
