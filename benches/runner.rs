//! What the runner adds to each step of a workflow, on top of the calls that the steps make: without a journal, and with
//! one on the disk, which is written to before each send. And the memory of a loop over many items.
//!
//! The connection is in memory and answers immediately; the same calls are made directly, one after another, as
//! the bare minimum of the same run. Each loop runs in a process of its own, whose peak the kernel tells.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and panics on errors"
)]

mod support;

use std::{
    fmt::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use support::report::{self, Of, Series};
use switchboard::{
    control::{Command, Control, LocalControl},
    domain::{
        body::Body,
        call::{CallSpec, Failure, Origin},
        catalog::RawLists,
        client::Behalf,
        id::{ServerId, ToolId},
        retention::Retention,
        run::{RunId, RunOutcome, RunSpec, WorkflowText},
        server::{ConnectFailure, Era, Exit, ServerSpec, SessionInfo, Step, Transport},
        time::Epoch,
    },
    engine::{
        Adapters, EngineOptions,
        ports::{CallExecutor, ClientHandler, Connector, Reply, Request, RequestObserver, Session, SubscriptionChange},
    },
    state::ConsoleState,
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
    // On a worker, as every run is: the thread that waits for the whole has to be woken from outside.
    runtime().block_on(async { tokio::spawn(measure()).await.expect("no panic") });
    std::process::ExitCode::SUCCESS
}

fn options() -> EngineOptions {
    EngineOptions { epoch: Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 }, separator: "_".into(), seed: Some(1) }
}

async fn connected(engine: &LocalControl) {
    engine.apply(vec![ServerSpec::new("s", Transport::Http { url: "http://bench.invalid".into(), headers: vec![], socket: None })]);
    let (mut read_model, mut tail) = engine.watch();
    while !read_model.servers.iter().all(|server| server.phase.usable()) {
        let event = tail.next().await.expect("no flood").expect("the engine lives");
        Arc::make_mut(&mut read_model).apply(&event);
    }
}

/// Returns an engine with a journal, and the folder of the journal.
fn journaled(retention: Retention) -> (Arc<LocalControl>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(&folder.path().join("runs.sqlite"), 0).expect("a store");
    (LocalControl::with(options(), retention, Adapters { journal: Arc::new(store), ..Adapters::new(Arc::new(Prompt)) }), folder)
}

/// Runs one loop, journal and all, and tells the kernel's count of what it took.
async fn one_loop(items: usize) {
    // The retention of headless commands.
    let (engine, _folder) = journaled(Retention { calls: 500, frames: 500, ..Retention::default() });
    connected(&engine).await;
    let before = peak();
    let (_, seen) = watched(&engine);
    observer(&engine, &seen, RunId::new(1, 1), &each(items, 10)).await;
    println!("{before} {}", peak());
}

/// The most that was resident so far, in megabytes.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is reported");
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
    let (kept, _folder) = journaled(Retention::default());
    connected(&kept).await;
    let flows = [("one after another", chain()), ("side by side", beside()), ("over items of one step", each(STEPS, 1))];
    for (name, text) in &flows {
        added(&kept, &format!("{name}, with a journal"), text).await;
    }
    kept.shutdown().await;
    let engine = LocalControl::new(options(), Retention::default(), Arc::new(Prompt));
    connected(&engine).await;
    for (name, text) in &flows {
        added(&engine, &format!("{name}, without a journal"), text).await;
    }
    engine.shutdown().await;
}

/// What a run takes longer than the calls that it makes, for each of them. By turns, so that the machine's moods hit both.
async fn added(engine: &Arc<LocalControl>, name: &str, text: &str) {
    let (watcher, seen) = watched(engine);
    let (mut bare, mut run, mut more) = (vec![], vec![], vec![]);
    for round in 0..ROUNDS + 5 {
        let direct = a_step(calls(engine).await);
        let whole = a_step(observer(engine, &seen, next_run(), text).await);
        if round >= 5 {
            bare.push(direct);
            run.push(whole);
            more.push(whole - direct);
        }
    }
    watcher.abort();
    let (bare, run, more) = (Series::new(bare), Series::new(run), Series::new(more));
    report::heading(&format!("runner: {STEPS} steps {name}, {ROUNDS} times"));
    report::line("a call alone", "µs", &bare).print();
    report::line("a step of a run, its call included", "µs", &run).against("the call", bare.median()).print();
    report::line("what the runner adds to a step", "µs", &more).promise(Of::Median, 50.0).print();
}

/// Runs are numbered by their time.
fn next_run() -> RunId {
    static LAST: AtomicU64 = AtomicU64::new(1);
    RunId::new(LAST.fetch_add(1, Ordering::Relaxed), fastrand::u128(..))
}

fn a_step(took: Duration) -> f64 {
    took.as_secs_f64() * 1e6 / STEPS as f64
}

/// Somebody who watches every event, and looks as often as the console does: neither the calls nor the runs wake him.
fn watched(engine: &Arc<LocalControl>) -> (tokio::task::JoinHandle<()>, Arc<Mutex<Arc<ConsoleState>>>) {
    let (read_model, mut tail) = engine.watch();
    let read_model = Arc::new(Mutex::new(read_model));
    let (seen, engine) = (read_model.clone(), engine.clone());
    let watching = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(33)).await;
            let mut read_model = read_model.lock().expect("no panic");
            loop {
                match tail.try_next() {
                    Ok(Some(event)) => Arc::make_mut(&mut read_model).apply(&event),
                    Ok(None) => break,
                    Err(_) => (*read_model, tail) = engine.watch(),
                }
            }
        }
    });
    (watching, seen)
}

/// The calls alone, one after another, made and awaited like the runner does.
async fn calls(engine: &Arc<LocalControl>) -> Duration {
    let began = Instant::now();
    for n in 0..STEPS {
        let arguments = Body::from(format!("{{\"n\":{n},\"of\":\"x\"}}"));
        let (_, end) = engine.call(CallSpec::tool(ToolId::new(ServerId::from("s"), "echo"), arguments, Origin::Cli));
        end.await.expect("the engine lives");
    }
    began.elapsed()
}

/// A run from its first step to its end, by its own report: reading the file and checking it is measured elsewhere.
async fn observer(engine: &LocalControl, seen: &Mutex<Arc<ConsoleState>>, run: RunId, text: &str) -> Duration {
    let spec = RunSpec::new(
        "bench",
        [WorkflowText { name: "bench".into(), file: "bench.toml".into(), text: text.into() }],
        Body::from("{}"),
        Origin::Cli,
    );
    drop(engine.command(Command::StartRun { run, spec: Arc::new(spec) }));
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let ended = seen.lock().expect("no panic").runs.get(run).and_then(|view| view.report.clone());
        if let Some(report) = ended {
            assert_eq!(report.outcome, RunOutcome::Ok, "{:?}", report.why);
            return report.took();
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

/// Connections that answer immediately with their fixed response.
struct Prompt;

struct Answering(Arc<dyn ClientHandler>);

#[async_trait]
impl Connector for Prompt {
    async fn connect(
        &self,
        _: Arc<ServerSpec>,
        _: Option<Era>,
        _: Option<Behalf>,
        handler: Arc<dyn ClientHandler>,
    ) -> Result<Arc<dyn Session>, ConnectFailure> {
        handler.step(Step::Initialize);
        Ok(Arc::new(Answering(handler)))
    }
}

#[async_trait]
impl Session for Answering {
    fn info(&self) -> Arc<SessionInfo> {
        Arc::new(SessionInfo::bare(self.0.now()))
    }

    async fn request(&self, _: Request, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
        let now = self.0.now();
        observer.sent(now, 1);
        let result = Body::from(r#"{"content":[{"type":"text","text":"{\"n\":1}"}],"structuredContent":{"n":1}}"#);
        Ok(Reply { result, first_byte: now, last_byte: now, sent_bytes: 1, received_bytes: 1 })
    }

    async fn notify(&self, _: &str, _: Body) -> Result<(), Failure> {
        Ok(())
    }

    async fn lists(&self) -> Result<RawLists, Failure> {
        Ok(RawLists { tools: vec![Body::from(r#"{"name":"echo","inputSchema":{"type":"object"}}"#)], ..RawLists::default() })
    }

    async fn subscribe(&self, _: &str, _: SubscriptionChange) -> Result<(), Failure> {
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
