//! Watchdog: ends the program when it does not react to a signal or to `--timeout`, or does not finish its shutdown.
//!
//! The main thread is the watchdog. It has its own runtime, so busy workers of the engine or a busy face cannot block it.
//! The watchdog acts only after [`REACT`], because the program's own reaction ends calls and servers in order. Further signals
//! in that time change nothing: `timeout` and a closing session send two in a row. Returning from `main` ends every thread; the
//! helper process then ends the child processes (see [`crate::mcp::reaper`]).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    runtime::Handle,
    signal::unix::{Signal as Stream, SignalKind, signal},
    sync::{Notify, mpsc, oneshot},
    time::{Instant, sleep_until},
};

use crate::{
    cli::{
        exit,
        session::{Signal, Signals},
    },
    domain::time::short,
};

/// Time for the program to react to a signal.
const REACT: Duration = Duration::from_millis(900);
/// Time beyond `--timeout` for the command's own reaction, and then for an answer to the liveness probe.
const LATE: Duration = Duration::from_secs(1);
/// Time for a worker to run an empty task.
const ALIVE: Duration = Duration::from_secs(5);
/// Time for the shutdown in addition to the servers' timeouts.
const ENDING: Duration = Duration::from_secs(10);

/// Receiver of signals.
enum Listener {
    /// None: a signal ends the program.
    None,
    /// A headless command. It also receives `None` as a liveness probe.
    Command(mpsc::Sender<Option<Signal>>),
    /// The console, which has its own signal streams, and when it last handled a signal.
    Console(Option<Instant>),
}

/// State of the face that the watchdog needs.
struct FaceState {
    listener: Listener,
    deadline: Option<Instant>,
    /// Set when the face has ended: its exit code and the deadline of the shutdown.
    ending: Option<(u8, Instant)>,
}

/// The face's side of the watchdog.
pub struct Watch {
    face: Mutex<FaceState>,
    changed: Notify,
}

impl Watch {
    fn new() -> Watch {
        Watch { face: Mutex::new(FaceState { listener: Listener::None, deadline: None, ending: None }), changed: Notify::new() }
    }

    /// Returns the signals for a headless command that must end after `limit`.
    pub fn command(&self, limit: Option<Duration>) -> Signals {
        let (sender, receiver) = mpsc::channel(8);
        let mut face = self.face();
        face.listener = Listener::Command(sender);
        face.deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        drop(face);
        self.changed.notify_one();
        Signals::with_signs_of_life(receiver)
    }

    /// Registers the console as receiver of signals; it reports each with [`Watch::heard`].
    pub fn console(&self) {
        self.face().listener = Listener::Console(None);
    }

    /// Records that the console handled a signal.
    pub fn heard(&self) {
        if let Listener::Console(last) = &mut self.face().listener {
            *last = Some(Instant::now());
        }
    }

    /// Records that the face has ended with `code`; ending the servers may take `patience`.
    pub fn ending(&self, code: u8, patience: Duration) {
        self.face().ending = Some((code, Instant::now() + patience + ENDING));
        self.changed.notify_one();
    }

    /// Returns whether a face receives signals, or has ended.
    fn has_listener(&self) -> bool {
        let face = self.face();
        face.ending.is_some() || !matches!(face.listener, Listener::None)
    }

    fn face(&self) -> MutexGuard<'_, FaceState> {
        self.face.lock()
    }
}

/// Why the program was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The exit code.
    pub code: u8,
    /// Message for the user.
    pub why: String,
}

/// Runs `program` on a separate thread until it returns its exit code, or until the watchdog ends it. `None` when that
/// thread panicked.
pub fn run(program: impl FnOnce(Arc<Watch>, oneshot::Sender<Handle>) -> u8 + Send + 'static) -> Result<Option<u8>, Verdict> {
    let watch = Arc::new(Watch::new());
    let (handle, engine) = oneshot::channel();
    let (done, finished) = oneshot::channel();
    let watchdog = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let own = watch.clone();
    let work = move || {
        let _ = done.send(program(own, handle));
    };
    let thread = std::thread::Builder::new().name("switchboard-face".into()).stack_size(8 << 20).spawn(work);
    match (watchdog, thread) {
        (Ok(watchdog), Ok(_)) => watchdog.block_on(guard(&watch, engine, finished)),
        (Err(_), Ok(thread)) => {
            let _ = thread.join();
            Ok(finished.blocking_recv().ok())
        }
        (_, Err(error)) => Err(Verdict { code: exit::FAILED, why: format!("no threads could be started: {error}") }),
    }
}

/// A reaction that the program owes by a deadline.
struct Expected {
    by: Instant,
    what: What,
    verdict: Verdict,
}

enum What {
    /// The face handles the signal sent at this time.
    Taken(Instant),
    /// A worker of the engine runs a task.
    Alive(Arc<AtomicBool>),
}

async fn guard(watch: &Watch, engine: oneshot::Receiver<Handle>, finished: oneshot::Receiver<u8>) -> Result<Option<u8>, Verdict> {
    let mut kinds = [
        (SignalKind::interrupt(), Signal::Interrupt, "SIGINT", exit::INTERRUPTED),
        (SignalKind::terminate(), Signal::Terminate, "SIGTERM", exit::TERMINATED),
        (SignalKind::hangup(), Signal::Terminate, "SIGHUP", exit::HUNG_UP),
    ]
    .map(|(kind, meaning, name, code)| (signal(kind).ok(), meaning, name, code));
    let (mut expected, mut handle, mut looked): (Vec<Expected>, Option<Handle>, Option<Instant>) = (vec![], None, None);
    tokio::pin!(finished);
    tokio::pin!(engine);
    loop {
        let (deadline, ending) = {
            let face = watch.face();
            (face.deadline.filter(|_| face.ending.is_none()).map(|deadline| deadline + LATE), face.ending)
        };
        // A stuck worker would delay the shutdown by its whole timeout.
        let look = ending.map(|_| looked.unwrap_or_else(Instant::now));
        let next = [deadline, ending.map(|(_, until)| until), look].into_iter().flatten().chain(expected.iter().map(|e| e.by)).min();
        let [interrupt, terminate, hang_up] = &mut kinds;
        let came = tokio::select! {
            biased;
            code = &mut finished => return Ok(code.ok()),
            found = &mut engine, if handle.is_none() => {
                handle = found.ok().or_else(|| Handle::try_current().ok());
                continue;
            }
            () = next_of(&mut interrupt.0) => Some((interrupt.1, interrupt.2, interrupt.3)),
            () = next_of(&mut terminate.0) => Some((terminate.1, terminate.2, terminate.3)),
            () = next_of(&mut hang_up.0) => Some((hang_up.1, hang_up.2, hang_up.3)),
            () = watch.changed.notified() => continue,
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => None,
        };
        let now = Instant::now();
        if let Some((meaning, name, code)) = came {
            tracing::info!(target: "switchboard::process", signal = name, "signal received");
            take_in(watch, &mut expected, now, (meaning, name, code))?;
        }
        if deadline.is_some_and(|deadline| deadline <= now) {
            watch.face().deadline = None;
            let verdict = Verdict { code: exit::TIMEOUT, why: "--timeout expired, and Switchboard did not react".into() };
            if !send(watch, None) {
                return Err(verdict);
            }
            expected.push(Expected { by: now + LATE, what: What::Taken(now), verdict: verdict.clone() });
            expected.extend(alive(handle.as_ref(), now, LATE, verdict));
        }
        if let Some((code, until)) = ending
            && came.is_none()
        {
            let verdict = Verdict { code, why: "Switchboard did not shut down in time; its remaining servers are killed".into() };
            if until <= now {
                return Err(verdict);
            }
            if look.is_some_and(|look| look <= now) {
                looked = Some(now + ALIVE);
                expected.extend(alive(handle.as_ref(), now, ALIVE, verdict));
            }
        }
        for due in expected.extract_if(.., |e| e.by <= now) {
            let done = match &due.what {
                What::Taken(at) => handled(watch, *at),
                What::Alive(ran) => ran.load(Ordering::Relaxed),
            };
            if !done {
                return Err(due.verdict);
            }
        }
    }
}

/// Passes a signal on and expects a reaction; fails if no face can take it. A signal that arrives while an earlier one is not
/// handled yet extends no deadline.
fn take_in(watch: &Watch, expected: &mut Vec<Expected>, now: Instant, (meaning, name, code): (Signal, &str, u8)) -> Result<(), Verdict> {
    if !watch.has_listener() {
        return Err(Verdict { code, why: format!("ended by {name}") });
    }
    let outstanding = expected.iter().any(|e| matches!(e.what, What::Taken(at) if !handled(watch, at)));
    // A full queue holds signals that are not handled yet.
    send(watch, Some(meaning));
    if !outstanding {
        let why = format!("Switchboard did not react to {name} within {}", short(REACT));
        expected.push(Expected { by: now + REACT, what: What::Taken(now), verdict: Verdict { code, why } });
    }
    Ok(())
}

/// Returns the next signal; waits forever when the stream is closed.
async fn next_of(stream: &mut Option<Stream>) {
    let came = match stream {
        Some(stream) => stream.recv().await,
        None => None,
    };
    if came.is_none() {
        std::future::pending().await
    }
}

/// Passes a signal on, or probes the face. Returns whether the face can take it.
fn send(watch: &Watch, signal: Option<Signal>) -> bool {
    let face = watch.face();
    match &face.listener {
        // The face has ended; the shutdown has its own deadline.
        _ if face.ending.is_some() => true,
        Listener::None => false,
        Listener::Command(sender) => !matches!(sender.try_send(signal), Err(mpsc::error::TrySendError::Full(_))),
        Listener::Console(_) => true,
    }
}

/// Returns whether the face handled the signal sent at `at`.
fn handled(watch: &Watch, at: Instant) -> bool {
    let face = watch.face();
    match &face.listener {
        _ if face.ending.is_some() => true,
        Listener::None => false,
        Listener::Command(sender) => sender.is_closed() || sender.capacity() == sender.max_capacity(),
        // The console may have handled it shortly before the watchdog received it.
        Listener::Console(last) => last.is_some_and(|last| last + REACT / 2 >= at),
    }
}

/// Starts a task on a worker that records its execution.
fn alive(handle: Option<&Handle>, now: Instant, within: Duration, verdict: Verdict) -> Option<Expected> {
    let ran = Arc::new(AtomicBool::new(false));
    let flag = ran.clone();
    drop(handle?.spawn(async move { flag.store(true, Ordering::Relaxed) }));
    Some(Expected { by: now + within, what: What::Alive(ran), verdict })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> Duration {
        Duration::from_secs(60)
    }

    /// A program that keeps its own thread busy is ended at the deadline.
    #[test]
    fn a_program_whose_threads_are_all_busy_is_ended_at_its_deadline() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let verdict = run(move |watch, handle| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
            let _ = handle.send(runtime.handle().clone());
            let _signals = watch.command(Some(Duration::ZERO));
            let _ = held.lock().recv();
            runtime.shutdown_background();
            0
        });
        assert_eq!(verdict.unwrap_err().code, exit::TIMEOUT);
        drop(release);
    }

    /// Here the face lives, but no worker does, so that no timer would fire.
    #[test]
    fn workers_that_are_all_busy_are_noticed() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let verdict = run(move |watch, handle| {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let _ = handle.send(runtime.handle().clone());
            let mut signals = watch.command(Some(Duration::ZERO));
            let (begun, busy) = oneshot::channel();
            runtime.spawn(async move {
                let _ = begun.send(());
                let _ = held.recv();
            });
            let code = runtime.block_on(async {
                let _ = busy.await;
                signals.next().await;
                0
            });
            runtime.shutdown_background();
            code
        });
        assert_eq!(verdict.unwrap_err().code, exit::TIMEOUT);
        drop(release);
    }

    #[test]
    fn an_end_that_takes_too_long_is_cut_short_and_a_good_end_is_left_alone() {
        let (release, held) = std::sync::mpsc::channel::<()>();
        let verdict = run(move |watch, _| {
            watch.face().ending = Some((7, Instant::now()));
            watch.changed.notify_one();
            let _ = held.recv();
            0
        });
        assert_eq!(verdict.unwrap_err().code, 7);
        drop(release);
        let code = run(|watch, _| {
            let _signals = watch.command(Some(quick()));
            watch.ending(3, quick());
            3
        });
        assert_eq!(code, Ok(Some(3)));
    }

    #[tokio::test]
    async fn signs_of_life_are_no_signals() {
        let watch = Watch::new();
        assert!(!send(&watch, Some(Signal::Terminate)), "the receiver is dropped");
        let mut signals = watch.command(None);
        let sent = Instant::now();
        assert!(send(&watch, None) && send(&watch, Some(Signal::Interrupt)) && !handled(&watch, sent));
        assert_eq!(signals.next().await, Signal::Interrupt);
        assert!(handled(&watch, sent));
        for _ in 0..8 {
            assert!(send(&watch, None));
        }
        assert!(!send(&watch, None), "the receiver is dropped");
        watch.console();
        assert!(send(&watch, Some(Signal::Interrupt)) && !handled(&watch, sent));
        watch.heard();
        assert!(handled(&watch, sent));
    }

    /// `timeout` and a closing session send two signals in a row.
    #[tokio::test]
    async fn two_signals_in_a_row_do_not_shorten_the_time_to_react() {
        const TERM: (Signal, &str, u8) = (Signal::Terminate, "SIGTERM", exit::TERMINATED);
        let (watch, mut expected, now) = (Watch::new(), vec![], Instant::now());
        let refused = take_in(&watch, &mut expected, now, TERM);
        assert_eq!(refused, Err(Verdict { code: exit::TERMINATED, why: "ended by SIGTERM".into() }));
        let mut signals = watch.command(None);
        for _ in 0..20 {
            assert_eq!(take_in(&watch, &mut expected, now, TERM), Ok(()));
        }
        assert_eq!((expected.len(), expected[0].by), (1, now + REACT));
        for _ in 0..8 {
            assert_eq!(signals.next().await, Signal::Terminate);
        }
        assert!(handled(&watch, now));
        // A later signal has a deadline of its own.
        assert_eq!(take_in(&watch, &mut expected, now, TERM), Ok(()));
        assert_eq!(expected.len(), 2);
        watch.ending(0, quick());
        assert_eq!(take_in(&watch, &mut expected, now, TERM), Ok(()), "the shutdown has its own deadline");
    }
}
