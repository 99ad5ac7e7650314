//! Keys while events pour in: from a key to its frame, as the console's loop does it, on 200 by 60 cells.

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
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Terminal, backend::TestBackend};
use serde_json::json;
use support::report::{self, Of, Series};
use switchboard::{
    control::{Lagged, Tail, TailSender},
    domain::{
        body::Body,
        call::{CallSpec, Origin, Outcome, Timings},
        catalog::{RawLists, ServerCatalog},
        event::{Event, EventKind, EventSink, Settled},
        frame::{Direction, Frame, FrameKind},
        id::{CallId, ServerId, ToolId},
        retention::Retention,
        server::{Phase, ServerSpec, Transport},
        time::{Epoch, Stamp},
    },
    state::{ConsoleState, projection::Projection},
    tui::{
        Startup, draw,
        input::Input,
        keymap::Keymap,
        model::{Model, Setup},
        msg::Msg,
        pacer::{Cause, Pacer},
        theme::Theme,
    },
};
use tokio::sync::mpsc;

const SECONDS: u64 = 10;
/// Calls of the large read model.
const CALLS: u64 = 1_000_000;
const KEY_GAP: Duration = Duration::from_millis(10);
/// As the engine and the loop have them.
const TAIL: usize = 8192;
const BATCH: usize = 1024;
const SERVERS: [&str; 4] = ["database", "email", "analytics", "flaky"];

/// The engine's event log, with a script instead of servers.
struct Log {
    last: Mutex<u64>,
    projection: Projection,
    tail: TailSender,
    start: Instant,
    published: AtomicU64,
}

impl Log {
    fn new(retention: Retention) -> Log {
        let state = ConsoleState::new(Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 }, "_", retention);
        let log = Log {
            last: Mutex::default(),
            projection: Projection::new(state),
            tail: TailSender::new(TAIL),
            start: Instant::now(),
            published: AtomicU64::new(0),
        };
        for server in SERVERS {
            let launch = Transport::Stdio { command: server.into(), args: vec![], env: vec![], inherit_env: false, cwd: None };
            log.publish(EventKind::ServerAdded { spec: Arc::new(ServerSpec::new(server, launch)) });
            log.publish(EventKind::ServerPhase { server: server.into(), phase: Arc::new(Phase::Ready) });
            let tools = (0..20).map(|n| {
                Body::json(&json!({"name": format!("tool_{n}"), "description": "for measuring", "inputSchema": {"type": "object"}}))
            });
            let catalog = ServerCatalog::read(RawLists { tools: tools.collect(), ..RawLists::default() }, None);
            log.publish(EventKind::ServerListed { server: server.into(), catalog: Arc::new(catalog) });
        }
        log
    }

    fn now(&self) -> Stamp {
        Stamp::default().plus(self.start.elapsed())
    }

    fn publish(&self, kind: EventKind) {
        let mut last = self.last.lock().expect("no thread panics");
        *last += 1;
        let event = Arc::new(Event { seq: *last, at: self.now(), kind });
        self.projection.queue(&event);
        self.tail.send(&event);
        drop(last);
        self.projection.work();
        self.published.fetch_add(1, Ordering::Relaxed);
    }

    fn watch(&self) -> (Arc<ConsoleState>, Tail) {
        let mut tail = self.tail.subscribe(0);
        let state = self.projection.snapshot();
        tail.skip_to(state.seq);
        (state, tail)
    }

    /// The five events of a call that is answered.
    fn call(&self, number: u64) {
        let server = ServerId::from(SERVERS[number as usize % SERVERS.len()]);
        let (id, queued) = (CallId(number + 1), self.now());
        let tool = ToolId::new(server.clone(), format!("tool_{}", number % 20));
        let spec = CallSpec::tool(tool, r#"{"a":1}"#, Origin::Demo);
        self.publish(EventKind::CallQueued { call: id, spec: Arc::new(spec) });
        self.publish(EventKind::CallSent { call: id, round: 1 });
        let request =
            format!(r#"{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"tool","arguments":{{"a":1}}}}}}"#);
        let result = json!({"content": [{"type": "text", "text": "the answer of a tool, of ordinary length, with a number in it"}]});
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{number},"result":{result}}}"#);
        for (direction, kind, body) in [(Direction::Out, FrameKind::Request, request), (Direction::In, FrameKind::Response, answer)] {
            let size = body.len() as u64 + 1;
            let frame = Frame {
                seq: number,
                at: self.now(),
                server: server.clone(),
                direction,
                kind,
                body: Body::from(body.as_str()),
                cut: None,
                size,
                call: Some(id),
                method: Some("tools/call".into()),
                rpc_id: Some("7".into()),
                http: None,
            };
            self.publish(EventKind::Frame { frame: Arc::new(frame) });
        }
        let end = self.now();
        let timings = Timings { queued, sent: Some(queued), first_byte: Some(end), last_byte: Some(end), settled: end };
        let outcome = Outcome::Ok { result: Body::json(&result) };
        let settled = Settled { outcome, timings, rounds: 1, sent_bytes: 100, received_bytes: 150, attempts: 1, by: None, cached: None };
        self.publish(EventKind::CallSettled { call: id, settled: Arc::new(settled) });
    }
}

/// What the loop saw.
#[derive(Default)]
struct Seen {
    keys: Vec<Duration>,
    frames: Vec<Duration>,
    batches: Vec<Duration>,
    resyncs: Vec<Duration>,
}

fn main() {
    if support::server::ran() {
        return;
    }
    let idle = scene("no events", None);
    scene("10,000 events/s", Some((10_000, idle)));
    scene("as many events as go", Some((0, idle)));
    snapshots();
}

/// Takes snapshots of a read model with a million calls.
fn snapshots() {
    let log = Log::new(Retention { calls: CALLS as usize, result_bytes: 1 << 30, ..Retention::default() });
    (0..CALLS).for_each(|number| log.call(number));
    let (mut taken, mut next) = (vec![], vec![]);
    for number in CALLS..CALLS + 1000 {
        let began = Instant::now();
        let (state, tail) = log.watch();
        taken.push(began.elapsed());
        // The next events change the read model that the snapshot shares.
        let began = Instant::now();
        log.call(number);
        drop(log.projection.snapshot());
        next.push(began.elapsed());
        drop((state, tail));
    }
    report::heading("ingest: a read model with 1,000,000 calls");
    report::line("watch()", "ms", &Series::of(&taken)).promise(Of::Max, 0.05).print();
    report::line("the next call while the snapshot is used", "ms", &Series::of(&next)).print();
}

/// Plays keys while events pour in at this rate (0: as fast as they go); the median of a frame without any.
fn scene(name: &str, rate: Option<(u64, f64)>) -> f64 {
    let log = Arc::new(Log::new(Retention::default()));
    let over = Arc::new(AtomicBool::new(false));
    let (send, keys) = mpsc::channel(256);
    let typist = thread::spawn(move || {
        let codes = [KeyCode::Down, KeyCode::Down, KeyCode::Up, KeyCode::Tab];
        for n in 0..SECONDS * 1000 / KEY_GAP.as_millis() as u64 {
            thread::sleep(KEY_GAP);
            let key = KeyEvent::new(codes[n as usize % codes.len()], KeyModifiers::NONE);
            if send.blocking_send((Instant::now(), key)).is_err() {
                return;
            }
        }
    });
    let before = log.published.load(Ordering::Relaxed);
    let flood = rate.map(|(rate, _)| {
        let (log, over) = (log.clone(), over.clone());
        thread::spawn(move || flood(&log, rate, &over))
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let began = Instant::now();
    let seen = runtime.block_on(console(&log, keys));
    let took = began.elapsed();
    over.store(true, Ordering::SeqCst);
    typist.join().expect("the typist");
    flood.into_iter().for_each(|flood| flood.join().expect("the flood"));
    let published = log.published.load(Ordering::Relaxed) - before;

    report::heading(&format!("ingest: {name}"));
    let (keys, frames) = (Series::of(&seen.keys), Series::of(&seen.frames));
    report::line("from a key to its frame drawn", "ms", &keys).promise(Of::Max, 16.0).print();
    let line = report::line("a frame of 200x60", "ms", &frames);
    match rate {
        Some((_, idle)) => line.against("without events", idle).print(),
        None => line.print(),
    }
    for (what, series) in [("taking in a batch of events", &seen.batches), ("catching up from a snapshot", &seen.resyncs)] {
        if !series.is_empty() {
            report::line(what, "ms", &Series::of(series)).print();
        }
    }
    report::note(&format!(
        "{:.0} events/s taken in, {} frames, {} times behind and caught up from a snapshot",
        published as f64 / took.as_secs_f64(),
        seen.frames.len(),
        seen.resyncs.len()
    ));
    frames.median()
}

fn flood(log: &Log, rate: u64, over: &AtomicBool) {
    let began = Instant::now();
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        log.call(number);
        if rate > 0 {
            // In small bursts, as wires have them.
            let due = Duration::from_secs_f64((number + 1) as f64 * 5.0 / rate as f64);
            if let Some(early) = due.checked_sub(began.elapsed()).filter(|early| *early > Duration::from_millis(2)) {
                thread::sleep(early);
            }
        }
    }
}

/// The console's loop (`tui::run`) on a terminal of memory.
async fn console(log: &Log, mut keys: mpsc::Receiver<(Instant, KeyEvent)>) -> Seen {
    let (read_model, mut tail) = log.watch();
    let setup = Setup {
        theme: Theme::ansi(),
        keymap: Keymap::built_in(),
        mouse: true,
        title: "bench".into(),
        startup: Startup::Normal,
        confirm: Default::default(),
        recall: Default::default(),
        layout: Default::default(),
        tour: false,
        opening: None,
        workflows: Default::default(),
        invocation: Default::default(),
        inputs: vec![],
    };
    let mut model = Model::new(setup, read_model, (200, 60));
    let mut terminal = Terminal::new(TestBackend::new(200, 60)).expect("memory");
    let (mut pacer, mut seen, mut waiting) = (Pacer::default(), Seen::default(), vec![]);
    let elapsed = || log.start.elapsed();
    pacer.mark(Cause::Input, elapsed());
    loop {
        pacer.animate(model.moving(), elapsed());
        if pacer.frame_due(elapsed()) {
            let began = Instant::now();
            terminal.draw(|frame| draw::draw(&mut model, frame.buffer_mut())).expect("memory");
            let ended = Instant::now();
            seen.frames.push(ended - began);
            seen.keys.extend(waiting.drain(..).map(|pressed| ended - pressed));
            pacer.drawn(elapsed());
        }
        let pause = pacer.wait(elapsed());
        tokio::select! {
            biased;
            key = keys.recv() => {
                let Some((pressed, key)) = key else { return seen };
                model.at(log.now());
                waiting.push(pressed);
                model.update(Msg::Input(Input::Key(key)));
                pacer.mark(Cause::Input, elapsed());
            }
            () = sleep(pause) => {}
            first = tail.next() => {
                model.at(log.now());
                let began = Instant::now();
                match batch(first, &mut tail) {
                    Ok(events) => {
                        drop(model.update(Msg::Events(events)));
                        seen.batches.push(began.elapsed());
                    }
                    Err(Lagged { missed }) => {
                        let (read_model, again) = log.watch();
                        tail = again;
                        model.resync(read_model, missed);
                        seen.resyncs.push(began.elapsed());
                    }
                }
                pacer.mark(Cause::Engine, elapsed());
            }
        }
        if pacer.take_tick(elapsed()) {
            model.update(Msg::Tick(log.now()));
            pacer.mark(Cause::Engine, elapsed());
        }
    }
}

fn batch(first: Result<Option<Arc<Event>>, Lagged>, tail: &mut Tail) -> Result<Vec<Arc<Event>>, Lagged> {
    let mut events = vec![];
    let mut next = first;
    while let Some(event) = next? {
        events.push(event);
        if events.len() == BATCH {
            break;
        }
        next = tail.try_next();
    }
    Ok(events)
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
