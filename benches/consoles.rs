//! 100,000 events a second with three consoles attached, one of which has stopped reading: what they add to an event for the engine, and
//! what the engine holds for them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    reason = "a benchmark prints, panics on errors, and uses a part of what benchmarks share"
)]

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use switchboard::{
    control::{Control, Interest, LocalControl, RemoteControl, Role, Wanted, serve},
    domain::{
        event::{Notice, NoticeLevel},
        retention::Retention,
        time::Epoch,
    },
    engine::EngineOptions,
    mcp::Connections,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

/// Events of a measurement: ten seconds of them.
const EVENTS: usize = 1_000_000;
/// Events that are published together, and the time for them.
const BURST: usize = 100;
const PAUSE: Duration = Duration::from_millis(1);

/// A stream whose reader can stop.
struct Stopping {
    inner: DuplexStream,
    stopped: Arc<AtomicBool>,
}

impl AsyncRead for Stopping {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Never woken again, like a process that was stopped.
        if self.stopped.load(Ordering::Relaxed) { Poll::Pending } else { Pin::new(&mut self.inner).poll_read(context, buffer) }
    }
}

impl AsyncWrite for Stopping {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// Attaches a console. `stopped` stops it.
async fn attach(engine: &Arc<LocalControl>, stopped: &Arc<AtomicBool>) -> Arc<RemoteControl> {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    let engine = engine.clone();
    tokio::spawn(async move { serve(|_| engine.open(Role::Operator).served(), theirs).await });
    let stream = Stopping { inner: ours, stopped: stopped.clone() };
    RemoteControl::connect(stream, Wanted { frames: true, role: Role::Operator }).await.unwrap()
}

/// Publishes events at the rate. Returns the median and the 99th percentile of the time for one.
async fn publish(engine: &LocalControl) -> (Duration, Duration) {
    let mut times = Vec::with_capacity(EVENTS);
    let mut ticks = tokio::time::interval(PAUSE);
    for _ in 0..EVENTS / BURST {
        ticks.tick().await;
        for _ in 0..BURST {
            let started = Instant::now();
            engine.notice(Notice::new(NoticeLevel::Info, "an event of the length that a stage of a call has"));
            times.push(started.elapsed());
        }
    }
    times.sort();
    (times[EVENTS / 2], times[EVENTS / 100 * 99])
}

/// Returns the resident memory of this process in bytes, as Linux reports it.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) << 10
}

#[tokio::main]
async fn main() {
    let options = EngineOptions { epoch: Epoch::default(), separator: "_".into(), seed: None };
    let engine = LocalControl::new(options, Retention::default(), Arc::new(Connections::new(None)));
    publish(&engine).await;
    let (alone, alone_99) = publish(&engine).await;
    let (runs, stops) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let consoles = [attach(&engine, &runs).await, attach(&engine, &runs).await, attach(&engine, &stops).await];
    stops.store(true, Ordering::Relaxed);
    let before = resident();
    let (attached, attached_99) = publish(&engine).await;
    let grown = resident().saturating_sub(before);
    println!("alone {alone:?} (p99 {alone_99:?}), with three consoles {attached:?} (p99 {attached_99:?}), {} MB more", grown >> 20);
    let seen = consoles[0].observe(Interest::Events).0.seq;
    println!("a running console has seen {seen} events");
    assert!(grown < 256 << 20, "{grown} bytes");
}
