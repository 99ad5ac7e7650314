//! How long frames, filters and sorts of the console take over a thousand and a million calls.
//!
//! `cargo bench --bench views` prints the median and the worst of each, next to the allowed values, and fails when one
//! is over it: the median of frames that are drawn again and again, the worst where a person waits for each single
//! one (keys, steps of work, frames of a large result). Plain measuring: what counts here are milliseconds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and panics on errors"
)]

#[path = "views/large.rs"]
mod large;

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{buffer::Buffer, layout::Rect};
use serde_json::json;
use switchboard::{
    domain::{
        body::Body,
        call::{CallSpec, Failure, FailureKind, Origin, Outcome, Timings},
        catalog::{ConfirmPolicy, RawLists, ServerCatalog},
        event::{Event, EventKind, Settled},
        id::{CallId, ServerId, ToolId},
        retention::Retention,
        server::{Phase, ServerSpec, Transport},
        time::{Epoch, Stamp},
    },
    state::ConsoleState,
    tui::{
        Startup, draw,
        input::Input,
        keymap::Keymap,
        model::{Model, Setup},
        msg::Msg,
        theme::Theme,
    },
};

const SERVERS: u64 = 20;
const SIZE: (u16, u16) = (200, 60);

fn server_events(tools: u64) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    for n in 0..SERVERS {
        let id = ServerId::from(format!("server{n}").as_str());
        let launch = Transport::Stdio { command: "x".into(), args: vec![], env: vec![], inherit_env: false, cwd: None };
        kinds.push(EventKind::ServerAdded { spec: Arc::new(ServerSpec::new(id.clone(), launch)) });
        kinds.push(EventKind::ServerPhase { server: id.clone(), phase: Arc::new(Phase::Ready) });
        let tool = |t| {
            Body::json(&json!({"name": format!("tool_{t}_of_{n}"), "description": "Does something.", "inputSchema": {"type": "object"}}))
        };
        let lists = RawLists { tools: (0..tools / SERVERS).map(tool).collect(), ..RawLists::default() };
        kinds.push(EventKind::ServerListed { server: id, catalog: Arc::new(ServerCatalog::read(lists, None)) });
    }
    kinds
}

/// Call `n`, one each `gap` milliseconds: asked for and ended.
fn call_events(n: u64, gap: u64) -> [EventKind; 2] {
    let tool = ToolId::new(ServerId::from(format!("server{}", n % SERVERS).as_str()), format!("tool_{}_of_{}", n % 7, n % SERVERS));
    let call = CallId(n + 1);
    let took = Duration::from_micros(200 + n * 7919 % 900_000);
    let queued = Stamp(n * gap * 1_000_000);
    let settled = queued.plus(took);
    let outcome = if n.is_multiple_of(50) {
        Outcome::Failed { failure: Arc::new(Failure::new(FailureKind::Timeout, "no answer")) }
    } else {
        Outcome::Ok { result: Body::from(r#"{"content":[]}"#) }
    };
    let timings = Timings { queued, sent: Some(queued), first_byte: Some(settled), last_byte: Some(settled), settled };
    let settled = Settled { outcome, timings, rounds: 1, sent_bytes: 120, received_bytes: n % 5000, attempts: 1, by: None, cached: None };
    [
        EventKind::CallQueued {
            call,
            spec: Arc::new(CallSpec::tool(tool, format!(r#"{{"filter":"user{n}@example.org","limit":20}}"#), Origin::Console)),
        },
        EventKind::CallSettled { call, settled: Arc::new(settled) },
    ]
}

fn model(calls: u64, tools: u64) -> Model {
    model_of(calls, tools, 1)
}

/// A console after `n` calls, one each `gap` milliseconds.
fn model_of(calls: u64, tools: u64, gap: u64) -> Model {
    let read_model = ConsoleState::new(Epoch::default(), "_", Retention::default());
    let setup = Setup {
        theme: Theme::ansi(),
        keymap: Keymap::built_in(),
        mouse: true,
        title: "bench".into(),
        startup: Startup::Normal,
        confirm: ConfirmPolicy::Never,
        recall: Default::default(),
        layout: Default::default(),
        tour: false,
        opening: None,
        workflows: Default::default(),
        invocation: Default::default(),
        inputs: vec![],
    };
    let mut model = Model::new(setup, read_model, SIZE);
    let mut seq = 0;
    let mut send = |model: &mut Model, ms: u64, kinds: &mut dyn Iterator<Item = EventKind>| {
        let events = kinds.map(|kind| {
            seq += 1;
            Arc::new(Event { seq, at: Stamp(ms * 1_000_000), kind })
        });
        model.update(Msg::Events(events.collect()));
    };
    send(&mut model, 0, &mut server_events(tools).into_iter());
    // One second of events at a time, sent at its end, so that the clock is in the last minute.
    let second = 1000 / gap;
    for start in (0..calls).step_by(usize::try_from(second).expect("a small number")) {
        let end = (start + second).min(calls);
        send(&mut model, end * gap, &mut (start..end).flat_map(|n| call_events(n, gap)));
    }
    model
}

fn key_of(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

fn key(model: &mut Model, code: KeyCode) {
    model.update(Msg::Input(Input::Key(key_of(code))));
}

fn typed(model: &mut Model, text: &str) {
    text.chars().for_each(|c| key(model, KeyCode::Char(c)));
}

struct Report<'o> {
    out: &'o mut dyn Write,
    good: bool,
}

impl Report<'_> {
    /// What is drawn again and again: its median is judged.
    fn line(&mut self, what: &str, times: Vec<Duration>, allowed: Duration) -> io::Result<Duration> {
        self.judged(what, times, allowed, |median, _| median)
    }

    /// What a person waits for each time: the worst is judged.
    fn each(&mut self, what: &str, times: Vec<Duration>, allowed: Duration) -> io::Result<Duration> {
        self.judged(what, times, allowed, |_, worst| worst)
    }

    fn judged(
        &mut self,
        what: &str,
        mut times: Vec<Duration>,
        allowed: Duration,
        judged: impl Fn(Duration, Duration) -> Duration,
    ) -> io::Result<Duration> {
        times.sort_unstable();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        let good = judged(median, worst) <= allowed;
        self.good &= good;
        let word = if good { "ok" } else { "OVER" };
        writeln!(self.out, "{what:<58} median {median:>10.1?}   worst {worst:>10.1?}   allowed {allowed:>6.1?}   {word}")?;
        Ok(median)
    }
}

fn times(count: usize, mut work: impl FnMut()) -> Vec<Duration> {
    let once = |()| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    std::iter::repeat_n((), count).map(once).collect()
}

fn frames(model: &mut Model) -> Vec<Duration> {
    times(200, || {
        let mut buf = Buffer::empty(Rect::new(0, 0, SIZE.0, SIZE.1));
        draw::draw(model, &mut buf);
    })
}

/// Resident memory in bytes, where the system tells it.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split_whitespace().nth(1)?.parse::<u64>().ok()? * 4096)
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn main() -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    let mut report = Report { out: &mut out, good: true };
    let (small, seq) = (model(1_000, 200), 1_000_000);
    for (what, times) in large::play(small, seq, large::result(20 << 20)) {
        report.each(&format!("20 MB of JSON {what}"), times, ms(16))?;
    }
    let mut small = model(1_000, 200);
    report.line("the console, a frame of 200x60", frames(&mut small), ms(2))?;
    key(&mut small, KeyCode::Char('4'));
    report.line("health, a frame", frames(&mut small), ms(2))?;
    key(&mut small, KeyCode::Char('2'));
    // Over the minute that the activity shows, so that there is as much to draw as over the last one of very many calls.
    let mut minute = model_of(1_000, 200, 60);
    key(&mut minute, KeyCode::Char('2'));
    let thousand = report.line("traffic over 1 000 calls, a frame", frames(&mut minute), ms(4))?;
    let before = resident();
    let mut large = model(1_000_000, 200);
    if let (Some(before), Some(after)) = (before, resident()) {
        let mb = after.saturating_sub(before) / 1_000_000;
        let good = mb < 200;
        report.good &= good;
        writeln!(report.out, "{:<58} {mb} MB   allowed 200 MB   {}", "memory of 1 000 000 calls", if good { "ok" } else { "OVER" })?;
    }
    key(&mut large, KeyCode::Char('3'));
    report.line("timeline over 1 000 000 calls, a frame", frames(&mut large), ms(4))?;
    report.each("timeline over 1 000 000 calls, a key", times(100, || key(&mut large, KeyCode::Left)), ms(16))?;
    key(&mut large, KeyCode::Char('2'));
    let million = report.line("traffic over 1 000 000 calls, a frame", frames(&mut large), ms(4))?;
    let ratio = million.as_secs_f64() / thousand.as_secs_f64().max(1e-9);
    let good = ratio < 1.1;
    report.good &= good;
    let verdict = if good { "ok" } else { "OVER" };
    writeln!(report.out, "{:<58} {ratio:.2} times as long as over 1 000   allowed 1.1, for noise   {verdict}", "")?;
    key(&mut large, KeyCode::Char('/'));
    let filter = "tool:tool_3* outcome:failed >1ms";
    let letters = filter.chars().map(|c| times(1, || key(&mut large, KeyCode::Char(c)))[0]).collect();
    report.each("a filter over 1 000 000 calls, a letter", letters, ms(16))?;
    report.each("the rest of the filter, a step", steps(&mut large), ms(16))?;
    key(&mut large, KeyCode::Esc);
    key(&mut large, KeyCode::Char('/'));
    let letters = "user1234 answer".chars().map(|c| times(1, || key(&mut large, KeyCode::Char(c)))[0]).collect();
    report.each("arguments and errors of 1 000 000 calls, a letter", letters, ms(16))?;
    report.each("the rest of them, a step", steps(&mut large), ms(16))?;
    key(&mut large, KeyCode::Esc);
    report.each("traffic sorted, the key", times(5, || key(&mut large, KeyCode::Char('s'))), ms(16))?;
    report.each("the rest of the sort, a step", steps(&mut large), ms(16))?;
    drop(large);
    let mut tools = model(0, 5_000);
    key(&mut tools, KeyCode::Char('1'));
    key(&mut tools, KeyCode::Char('/'));
    let letters = "tool42of7".chars().map(|c| times(1, || typed(&mut tools, &c.to_string()))[0]).collect();
    report.each("5 000 tools filtered, a letter", letters, ms(5))?;
    drop(tools);
    report.line("the console with a form and a result, a frame", large::small_result(model(1_000, 200), 1_000_000), ms(2))?;
    Ok(if report.good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The steps of work that are left.
fn steps(model: &mut Model) -> Vec<Duration> {
    let mut all = vec![Duration::ZERO];
    while model.working() && all.len() < 10_000 {
        all.extend(times(1, || model.work()));
    }
    all
}
