//! What the runner adds to each step of a workflow, on top of the calls that the steps make: without a journal, and with
//! one on the disk, which is written to before each send. And the memory of a loop over many items.
//!
//! The connection lives in memory and answers at once; the same calls are made directly, one after another, as
//! the bare minimum of the same run. Each loop runs in a process of its own, whose peak the kernel tells.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and ends where it cannot go on"
)]

mod support;

use std::{
    fmt::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use support::report::{self, Of, Series};
use switchboard::{
    domain::{
        body::Body,
        call::{CallSpec, Failure, Origin},
        catalog::RawLists,
        event::EventKind,
        id::{ServerId, ToolId},
        run::{RunId, RunOutcome, RunSpec, WorkflowText},
        server::{ConnectFailure, Era, Exit, Launch, ServerSpec, SessionInfo, Step},
        time::Epoch,
        world::Keep,
    },
    engine::{
        Engine, EngineOptions,
        control::{Command, Control, Tail},
        ports::{Connector, Flow, Host, Reply, Request, Session},
    },
    store::Store,
};

const STEPS: usize = 200;
const ROUNDS: usize = 50;

/// Items of the loops that are compared. What grows with them is the results, which are what a loop gives back.
const ITEMS: [usize; 3] = [1_000, 10_000, 30_000];

fn main() -> std::process::ExitCode {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let ["loop", items] = words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        runtime().block_on(one_loop(items.parse().expect("a number")));
        return std::process::ExitCode::SUCCESS;
    }
    memory();
    runtime().block_on(measure());
    std::process::ExitCode::SUCCESS
}

fn options() -> EngineOptions {
    EngineOptions {
        epoch: Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 },
        separator: "_".into(),
        keep: Keep::default(),
        seed: Some(1),
    }
}

async fn connected(engine: &Engine) {
    engine.apply(vec![ServerSpec::new("s", Launch::Http { url: "http://bench.invalid".into(), headers: vec![], socket: None })]);
    let (mut world, mut tail) = engine.watch();
    while !world.servers.iter().all(|server| server.phase.usable()) {
        let event = tail.next().await.expect("no flood").expect("the engine lives");
        world.apply(&event);
    }
}

/// An engine that writes its runs down, and the folder where.
fn journaled(keep: Keep) -> (Arc<Engine>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(&folder.path().join("runs.sqlite"), 0).expect("a store");
    (Engine::journaled(EngineOptions { keep, ..options() }, Arc::new(Prompt), Arc::new(store)), folder)
}

/// Runs one loop, journal and all, and tells the kernel's count of what it took.
async fn one_loop(items: usize) {
    // As the command line keeps for a run, of which nobody looks at the calls.
    let (engine, _folder) = journaled(Keep { calls: 500, frames: 500, ..Keep::default() });
    connected(&engine).await;
    let before = peak();
    flow(&engine, RunId::new(1, 1), &each(items, 10)).await;
    println!("{before} {}", peak());
}

/// The most that was resident so far, in megabytes.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is told");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") * 1024.0 / 1e6
}

/// The peaks of loops of several lengths.
fn memory() {
    report::heading("runner: a loop over many items, its peak");
    let mut first = None;
    for items in ITEMS {
        let peaks = (0..3).map(|_| {
            let own = std::env::current_exe().expect("a benchmark knows its own file");
            let output = std::process::Command::new(own).args(["loop", &items.to_string()]).output().expect("it runs");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.split_whitespace().nth(1).and_then(|peak| peak.parse::<f64>().ok()).expect("it tells its peak")
        });
        let peaks = Series::new(peaks);
        let name = format!("{items} items");
        let line = report::line(&name, "MB", &peaks);
        match first {
            None => line.print(),
            Some(first) => {
                line.against("the first", first).print();
                let each = (peaks.median() - first) * 1e3 / (items - ITEMS[0]) as f64;
                report::line("each item more, its result included", "kB", &Series::new([each])).promise(Of::Median, 1.0).print();
            }
        }
        first = first.or(Some(peaks.median()));
    }
}

async fn measure() {
    let (engine, _folder) = journaled(Keep::default());
    connected(&engine).await;
    let (mut bare, mut run) = (vec![], vec![]);
    for round in 0..ROUNDS + 5 {
        let direct = calls(&engine).await;
        let whole = flow(&engine, RunId::new(round as u64, fastrand::u128(..)), &chain()).await;
        if round >= 5 {
            bare.push(direct);
            run.push(whole);
        }
    }
    let a_step = |all: &[Duration]| Series::new(all.iter().map(|d| d.as_secs_f64() * 1e6 / STEPS as f64));
    let (bare, run) = (a_step(&bare), a_step(&run));
    report::heading(&format!("runner: {STEPS} steps one after another with a journal on the disk, {ROUNDS} times"));
    report::line("a call by itself", "µs", &bare).print();
    report::line("a step of a run, its call and its entries included", "µs", &run).against("the call", bare.median()).print();
    engine.shutdown().await;

    let engine = Engine::new(options(), Arc::new(Prompt));
    connected(&engine).await;
    for (name, text) in [("one after another", chain()), ("side by side", beside()), ("over items of one step", each(STEPS, 1))] {
        let (mut bare, mut run) = (vec![], vec![]);
        for round in 0..ROUNDS + 5 {
            let direct = calls(&engine).await;
            let whole = flow(&engine, RunId::new(round as u64, fastrand::u128(..)), &text).await;
            if round >= 5 {
                bare.push(direct);
                run.push(whole);
            }
        }
        let a_step = |all: &[Duration]| Series::new(all.iter().map(|d| d.as_secs_f64() * 1e6 / STEPS as f64));
        let (bare, run) = (a_step(&bare), a_step(&run));
        report::heading(&format!("runner: {STEPS} steps {name}, {ROUNDS} times"));
        report::line("a call by itself", "µs", &bare).print();
        report::line("a step of a run, its call included", "µs", &run).against("the call", bare.median()).print();
        report::line("what the runner adds to a step", "µs", &Series::new([(run.median() - bare.median()).max(0.0)]))
            .promise(Of::Median, 50.0)
            .print();
    }
    engine.shutdown().await;
}

/// The calls by themselves, one after another.
async fn calls(engine: &Engine) -> Duration {
    let (_, mut tail) = engine.watch();
    let began = Instant::now();
    for n in 0..STEPS {
        let arguments = Body::from(format!("{{\"n\":{n},\"of\":\"x\"}}"));
        let id = engine.submit(CallSpec::tool(ToolId::new(ServerId::from("s"), "echo"), arguments, Origin::Cli));
        until(&mut tail, |kind| matches!(kind, EventKind::CallSettled { call, .. } if *call == id)).await;
    }
    began.elapsed()
}

async fn flow(engine: &Engine, run: RunId, text: &str) -> Duration {
    let spec = RunSpec {
        workflow: "bench".into(),
        sources: Arc::new([WorkflowText { name: "bench".into(), file: "bench.toml".into(), text: text.into() }]),
        input: Body::from("{}"),
        origin: Origin::Cli,
        timeout: None,
        set: vec![],
        answers: vec![],
        ask: false,
        from: None,
        env: Default::default(),
    };
    let (_, mut tail) = engine.watch();
    engine.command(Command::StartRun { run, spec: Arc::new(spec) });
    // Reading the file and checking it against the tools is measured elsewhere.
    until(&mut tail, |kind| matches!(kind, EventKind::RunStarted { .. })).await;
    let began = Instant::now();
    let mut outcome = None;
    until(&mut tail, |kind| {
        if let EventKind::RunSettled { report, .. } = kind {
            outcome = Some(report.outcome);
        }
        outcome.is_some()
    })
    .await;
    assert_eq!(outcome, Some(RunOutcome::Ok));
    began.elapsed()
}

async fn until(tail: &mut Tail, mut wanted: impl FnMut(&EventKind) -> bool) {
    loop {
        let event = tail.next().await.expect("the watcher keeps up").expect("the engine lives");
        if wanted(&event.kind) {
            return;
        }
    }
}

fn chain() -> String {
    let mut text = String::from("name = \"bench\"\n");
    for n in 0..STEPS {
        let of = n.checked_sub(1).map_or("x".to_owned(), |before| format!("{{{{ steps.s{before}.result.n }}}}"));
        let _ = write!(text, "[[step]]\nid = \"s{n}\"\ntool = \"s_echo\"\narguments = {{ n = {n}, of = \"{of}\" }}\n");
    }
    text
}

fn beside() -> String {
    let mut text = String::from("name = \"bench\"\nmax_parallel = 1\n");
    for n in 0..STEPS {
        let _ = write!(text, "[[step]]\nid = \"s{n}\"\ntool = \"s_echo\"\narguments = {{ n = {n}, of = \"x\" }}\n");
    }
    text
}

fn each(items: usize, parallel: usize) -> String {
    format!(
        "name = \"bench\"\nmax_parallel = 10\n[[step]]\nid = \"s\"\ntool = \"s_echo\"\nfor_each = \"{{{{ range({items}) | list }}}}\"\nmax_parallel = {parallel}\narguments = {{ n = \"{{{{ item }}}}\", of = \"x\" }}\n"
    )
}

/// Connections that answer at once with what they were given.
struct Prompt;

struct Answering(Arc<dyn Host>);

#[async_trait]
impl Connector for Prompt {
    async fn connect(&self, _: Arc<ServerSpec>, _: Option<Era>, host: Arc<dyn Host>) -> Result<Arc<dyn Session>, ConnectFailure> {
        host.step(Step::Initialize);
        Ok(Arc::new(Answering(host)))
    }
}

#[async_trait]
impl Session for Answering {
    fn info(&self) -> Arc<SessionInfo> {
        Arc::new(SessionInfo {
            era: Era::Legacy,
            protocol: "2025-11-25".into(),
            name: None,
            title: None,
            version: None,
            instructions: None,
            capabilities: Body::from(r#"{"tools":{}}"#),
            pid: None,
            since: self.0.now(),
            took: Duration::ZERO,
        })
    }

    async fn request(&self, _: Request, flow: Arc<dyn Flow>) -> Result<Reply, Failure> {
        let now = self.0.now();
        flow.sent(now, 1);
        let result = Body::from(r#"{"content":[{"type":"text","text":"{\"n\":1}"}],"structuredContent":{"n":1}}"#);
        Ok(Reply { result, first_byte: now, last_byte: now, sent_bytes: 1, received_bytes: 1 })
    }

    async fn notify(&self, _: &str, _: Body) -> Result<(), Failure> {
        Ok(())
    }

    async fn lists(&self) -> Result<RawLists, Failure> {
        Ok(RawLists { tools: vec![Body::from(r#"{"name":"echo","inputSchema":{"type":"object"}}"#)], ..RawLists::default() })
    }

    async fn subscribe(&self, _: &str, _: bool) -> Result<(), Failure> {
        Ok(())
    }

    async fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn closed(&self) -> Arc<ConnectFailure> {
        std::future::pending().await
    }

    async fn close(&self) -> Exit {
        Exit::Code(0)
    }
}
