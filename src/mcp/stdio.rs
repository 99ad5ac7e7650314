//! The stdio transport: a child process, its three pipes and its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::unix::pipe,
    sync::{Notify, mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    client_handler::{connection_to, observed},
    link::{Ending, Link, request_meta},
    reaper::Reaper,
    spawn::{self, End, Process},
    stderr,
};
use crate::{
    domain::{
        advice::Advice,
        body::Body,
        call::{Failure, FailureKind},
        capabilities::ClientCapabilities,
        frame::{Anomaly, AnomalyKind, Direction, FrameKind},
        server::{ConnectFailure, Era, Exit, ServerSpec, Step, Timeouts},
        time::{Stamp, size},
    },
    engine::ports::{ClientHandler, FrameDraft, Reply, Request, RequestObserver},
    protocol::{
        connection::{Arrival, Connection, Outbox, Outgoing},
        lines::{Lines, Piece},
        meta::Meta,
        pace::Pace,
        wire,
    },
};

/// Messages that may wait to be written.
const QUEUE: usize = 64;
/// How long after the process's end its last output is waited for.
const DRAIN: Duration = Duration::from_millis(150);
/// The longest wait for the end of a process at each stage of a close while the program is ending.
const QUIT: Duration = Duration::from_millis(300);
/// How long the reading of that output may take at most.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// Maximum pause within a line after a request was cancelled. A longer pause means an unfinished line, to which the next
/// message would be appended.
const STALL: Duration = Duration::from_secs(1);
/// Maximum time for such a line while bytes still arrive.
const SLOW_LINE: Duration = Duration::from_secs(30);
/// Maximum time for a line over the limit: no other message can arrive meanwhile.
const LONG_LINE: Duration = Duration::from_secs(10);
/// How long is waited for the reason of an end that was noticed because nothing can be written any more.
const KNOWN: Duration = Duration::from_secs(1);

static SERIAL: AtomicU64 = AtomicU64::new(1);

/// A running stdio server.
pub struct StdioLink {
    spec: Arc<ServerSpec>,
    handler: Arc<dyn ClientHandler>,
    connection: Arc<Connection>,
    outbox: Arc<dyn Outbox>,
    pid: u32,
    mark: String,
    reaper: Arc<Reaper>,
    /// Set when the program is ending.
    quitting: CancellationToken,
    ending: Arc<Ending>,
    /// Whether the program has written anything to stdout.
    heard: AtomicBool,
    /// Notified when a request that was written is cancelled.
    cancelled: Arc<Notify>,
    exit: watch::Receiver<Option<Exit>>,
    /// Cancelled to close the server's stdin.
    end_input: CancellationToken,
    /// Cancelled when this side ends the process, so that its end does not count as a failure.
    closing: CancellationToken,
}

/// The queue of the writer.
struct WriteQueue {
    queue: mpsc::Sender<Outgoing>,
    ending: Arc<Ending>,
    cancelled: Arc<Notify>,
}

#[async_trait]
impl Outbox for WriteQueue {
    async fn send(&self, message: Outgoing) -> Result<(), Failure> {
        match self.queue.send(message).await {
            Ok(()) => Ok(()),
            Err(_) => Err(gone(&self.ending).await),
        }
    }

    fn cancel(&self, notification: Outgoing) {
        self.cancelled.notify_one();
        let _ = self.queue.try_send(notification);
    }
}

impl StdioLink {
    /// Starts the server's process and the tasks around it.
    pub async fn start(
        spec: Arc<ServerSpec>,
        handler: Arc<dyn ClientHandler>,
        capabilities: Arc<ClientCapabilities>,
        reaper: Arc<Reaper>,
        quitting: CancellationToken,
    ) -> Result<Arc<StdioLink>, ConnectFailure> {
        handler.step(Step::Spawn);
        let mark = format!("{}:{}", reaper.mark(), SERIAL.fetch_add(1, Ordering::Relaxed));
        let started = timeout(spec.timeouts.connect, spawn::spawn(&spec.launch, &mark, &reaper)).await;
        let started = started.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let Process { pid, stdin, stdout, stderr, end } = started.map_err(|error| spawn_failure(&spec, &error))?;
        let connection = connection_to(&spec, handler.clone(), capabilities);
        let (out, queue) = mpsc::channel(QUEUE);
        let (exit_to, exit) = watch::channel(None);
        let (ending, cancelled) = (Arc::new(Ending::new()), Arc::<Notify>::default());
        let link = Arc::new(StdioLink {
            outbox: Arc::new(WriteQueue { queue: out, ending: ending.clone(), cancelled: cancelled.clone() }),
            spec,
            handler,
            connection,
            pid,
            mark,
            reaper,
            quitting,
            ending,
            heard: AtomicBool::new(false),
            cancelled,
            exit,
            end_input: CancellationToken::new(),
            closing: CancellationToken::new(),
        });
        let writer = tokio::spawn(write(link.clone(), stdin, queue));
        let stderr = tokio::spawn(stderr::read(link.handler.clone(), stderr));
        tokio::spawn(link.clone().live(end, writer, stdout, stderr, exit_to));
        Ok(link)
    }

    /// Reads the output of the process until it ends or cannot be reached, then reports the end.
    async fn live(
        self: Arc<Self>,
        mut child: End,
        writer: JoinHandle<Input>,
        stdout: pipe::Receiver,
        mut stderr: JoinHandle<()>,
        exit_to: watch::Sender<Option<Exit>>,
    ) {
        let busy = Arc::new(AtomicBool::new(false));
        let mut reader = tokio::spawn(read(self.clone(), stdout, busy.clone()));
        let closed_input = async {
            if !matches!(writer.await, Ok(Input::ClosedByServer)) {
                std::future::pending::<()>().await;
            }
        };
        let mut why = "the server closed its stdout";
        let exited = tokio::select! {
            status = child.wait() => {
                // A grandchild may hold the pipes open for ever.
                drain(&mut reader, &busy).await;
                Some(status)
            }
            end = &mut reader => {
                if let Ok(Output::Stuck) = end {
                    why = "the server left a line of its output unfinished";
                }
                timeout(DRAIN, child.wait()).await.ok()
            }
            () = closed_input => {
                why = "the server closed its stdin";
                // At the end of a process this is seen first, and its last words are still to be read.
                let exited = timeout(DRAIN, child.wait()).await.ok();
                if exited.is_some() {
                    drain(&mut reader, &busy).await;
                }
                exited
            }
        };
        reader.abort();
        let _ = timeout(DRAIN / 3, &mut stderr).await;
        let exit = exited.as_ref().map(|status| status.as_ref().map_or(Exit::Unknown, |s| as_exit(*s)));
        self.report_end(exit, why);
        let exit = match exit {
            Some(exit) => exit,
            None => {
                // Nothing can come of it any more.
                self.end_group(&mut child).await
            }
        };
        self.sweep().await;
        stderr.abort();
        self.reaper.forget(self.pid);
        let _ = exit_to.send(Some(exit));
    }

    /// Tells everybody that the connection is gone, with all that is known of the reason; `why` is it
    /// where the process lives on.
    fn report_end(&self, exit: Option<Exit>, why: &str) {
        let handler = &self.handler;
        let closing = self.closing.is_cancelled();
        let summary = match (closing, exit) {
            (true, _) => "the server was stopped".to_owned(),
            (false, Some(exit)) => format!("the server {exit}"),
            (false, None) => why.to_owned(),
        };
        let mut failure =
            Failure::after_send(if exit.is_some() && !closing { FailureKind::Exited } else { FailureKind::Transport }, summary.clone());
        failure.exit = exit;
        failure.stderr = handler.last_stderr(20);
        let mut reason = ConnectFailure::new(Step::Run, summary);
        reason.exit = exit;
        reason.stderr = handler.last_stderr(20);
        // Set before requests fail, so that their callers can recognise the end.
        self.ending.end(reason);
        self.connection.close(&failure);
        self.end_input.cancel();
    }

    /// End of input, SIGTERM, SIGKILL: each with its patience, to the whole group.
    async fn end_group(&self, child: &mut End) -> Exit {
        let patience = self.spec.timeouts.stop;
        self.end_input.cancel();
        for signal in [None, Some(Signal::TERM), Some(Signal::KILL)] {
            if let Some(signal) = signal {
                spawn::signal_group(self.pid, signal);
            }
            if let Ok(status) = self.within(patience, child.wait()).await {
                return status.map_or(Exit::Unknown, as_exit);
            }
        }
        Exit::Unknown
    }

    /// Waits for the end of a process as long as `timeouts.stop` says, or [`QUIT`] once the program is ending. A value above the
    /// default counts then too: the server needs the time.
    async fn within<T>(&self, patience: Duration, end: impl Future<Output = T>) -> Result<T, ()> {
        let over = async {
            if patience > Timeouts::default().stop {
                return tokio::time::sleep(patience).await;
            }
            tokio::select! {
                () = tokio::time::sleep(patience) => {}
                () = async { self.quitting.cancelled().await; tokio::time::sleep(QUIT).await } => {}
            }
        };
        tokio::select! {
            biased;
            value = end => Ok(value),
            () = over => Err(()),
        }
    }

    /// Ends what the leader left behind: its group, and what left the group but carries our mark.
    async fn sweep(&self) {
        let left = || spawn::group_alive(self.pid) || !spawn::marked(&self.mark).is_empty();
        for (signal, patience) in [(Signal::TERM, Duration::from_millis(250)), (Signal::KILL, Duration::from_millis(500))] {
            if !left() {
                return;
            }
            spawn::signal_group(self.pid, signal);
            spawn::kill_marked(&self.mark, signal);
            let _ = timeout(patience, async {
                while left() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            })
            .await;
        }
    }
}

/// Nothing can be written any more. Why is known in a moment: first the pipe ends, then the process is seen to have.
async fn gone(ending: &Ending) -> Failure {
    let Ok(why) = timeout(KNOWN, ending.wait()).await else {
        return Failure::new(FailureKind::Transport, "the server is not connected any more");
    };
    let kind = if why.exit.is_some() { FailureKind::Exited } else { FailureKind::Transport };
    let mut failure = Failure::new(kind, why.summary.clone());
    (failure.exit, failure.causes, failure.stderr) = (why.exit, why.causes.clone(), why.stderr.clone());
    failure
}

#[async_trait]
impl Link for StdioLink {
    async fn request(&self, request: Request, meta: &Meta, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
        let message = |id| wire::request(id, &request.method, &request.params, &request_meta(&request, meta, id));
        self.connection.request(&request.method, request.call, observed(observer), &self.outbox, message).await
    }

    async fn notify(&self, method: &str, params: Body) -> Result<(), Failure> {
        self.outbox.send(Outgoing::notification(method, &params, None)).await
    }

    fn agreed(self: Arc<Self>, era: Era, version: &str) {
        if era == Era::Modern {
            self.connection.forbid_requests();
        }
        if version == "2025-03-26" {
            self.connection.accept_batches();
        }
    }

    fn heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    fn abandon(&self, reason: ConnectFailure) {
        let failure = Failure::after_send(FailureKind::Transport, reason.summary.clone());
        self.ending.end(reason);
        self.connection.close(&failure);
    }

    fn pid(&self) -> Option<u32> {
        Some(self.pid)
    }

    async fn closed(&self) -> Arc<ConnectFailure> {
        self.ending.wait().await
    }

    async fn close(&self) -> Exit {
        self.closing.cancel();
        self.end_input.cancel();
        let patience = self.spec.timeouts.stop;
        let mut exit = self.exit.clone();
        for signal in [None, Some(Signal::TERM), Some(Signal::KILL)] {
            if let Some(signal) = signal {
                spawn::signal_group(self.pid, signal);
            }
            if let Ok(Ok(found)) = self.within(patience, exit.wait_for(Option::is_some)).await {
                return found.unwrap_or(Exit::Unknown);
            }
        }
        let _ = timeout(Duration::from_secs(2), exit.wait_for(Option::is_some)).await;
        let found = *exit.borrow();
        found.unwrap_or(Exit::Unknown)
    }
}

/// Why nothing more is written.
enum Input {
    /// We want to write no more.
    Closed,
    /// The process has closed its input.
    ClosedByServer,
}

/// Writes queued messages, one per line. Frames are reported before they are written, so that no response is seen before its
/// request.
async fn write(link: Arc<StdioLink>, mut stdin: pipe::Sender, mut queue: mpsc::Receiver<Outgoing>) -> Input {
    let (connection, handler, end) = (&link.connection, &link.handler, &link.end_input);
    loop {
        let next = tokio::select! {
            biased;
            // What is queued is still written before the input is closed.
            next = queue.recv() => next,
            () = end.cancelled() => return Input::Closed,
            // Detected immediately, not only when the next write fails.
            _ = stdin.ready(Interest::ERROR) => return Input::ClosedByServer,
        };
        let Some(message) = next else { return Input::Closed };
        let mut line = Vec::with_capacity(message.body.len() + 1);
        line.extend_from_slice(message.body.bytes());
        line.push(b'\n');
        let size = line.len() as u64;
        let at = handler.now();
        let sent = |at: Stamp| message.observer.as_ref().inspect(|observer| observer.sent(at, size)).is_some();
        if let Some(id) = message.id {
            // Recorded before the first byte of the line: a request cancelled after this may have arrived.
            let begun = connection.begin(id, || {
                sent(at);
            });
            if !begun {
                continue;
            }
        }
        if message.kind == FrameKind::Notification {
            connection.begin_notification();
        }
        let rpc_id = message.rpc_id();
        let Outgoing { body, kind, method, call, .. } = message.clone();
        handler.frame(FrameDraft { at, direction: Direction::Out, kind, size, body, call, method, rpc_id, http: None });
        let mut taken = 0;
        let written = tokio::select! {
            written = write_all(&mut stdin, &line, &mut taken) => written,
            () = async { end.cancelled().await; tokio::time::sleep(DRAIN).await } => return Input::Closed,
        };
        if written.is_err() {
            // A request that is whole but for the end of its line may be read as one.
            if let Some(id) = message.id.filter(|_| taken < message.body.len()) {
                connection.cut(id);
            }
            return Input::ClosedByServer;
        }
    }
}

/// Writes a line; `taken` counts the bytes that the pipe took.
async fn write_all(stdin: &mut pipe::Sender, line: &[u8], taken: &mut usize) -> std::io::Result<()> {
    while *taken < line.len() {
        match stdin.write(&line[*taken..]).await? {
            0 => return Err(std::io::ErrorKind::WriteZero.into()),
            more => *taken += more,
        }
    }
    Ok(())
}

/// Waits for the last output of a process that has ended, and until that output is read.
async fn drain(reader: &mut JoinHandle<Output>, busy: &AtomicBool) {
    // Another process may hold the pipe and write without end.
    let last = Instant::now() + LAST_WORDS;
    while timeout(DRAIN, &mut *reader).await.is_err() && busy.load(Ordering::Relaxed) && Instant::now() < last {}
}

/// Why nothing more is read.
enum Output {
    /// It ended.
    Ended,
    /// The stream stopped within a line that will never be finished.
    Stuck,
}

/// The time limit for an unfinished line.
#[derive(Clone, Copy)]
struct Patience {
    /// When it is over, unless the line ends.
    until: Instant,
    /// How far more bytes can put that off.
    at_most: Instant,
}

/// Reads lines until the stream ends or stops within a line for too long.
///
/// `busy` is set while messages that came are being read: the end of the process does not cut that short.
async fn read(link: Arc<StdioLink>, mut stdout: pipe::Receiver, busy: Arc<AtomicBool>) -> Output {
    let (connection, handler, limit) = (&link.connection, &link.handler, link.spec.limits.message_bytes);
    let mut pace = Pace::default();
    let mut lines = Lines::new(limit);
    let mut oversized: Option<(Body, bool)> = None;
    let mut patience: Option<Patience> = None;
    let end = loop {
        let over = patience.map_or_else(Instant::now, |patience| patience.until);
        tokio::select! {
            more = stdout.read_buf(lines.buffer()) => match more {
                Ok(0) | Err(_) => break Output::Ended,
                Ok(_) => {}
            },
            () = link.cancelled.notified() => {
                let now = Instant::now();
                match &mut patience {
                    // Over the limit already, so it is not waited for.
                    Some(long) if oversized.is_some() => long.until = long.until.min(now + STALL),
                    None if lines.within_line() => patience = Some(Patience { until: now + STALL, at_most: now + SLOW_LINE }),
                    _ => {}
                }
                continue;
            }
            () = sleep_until(over), if patience.is_some() => break Output::Stuck,
        }
        if let Some(patience) = &mut patience
            && oversized.is_none()
        {
            patience.until = patience.until.max(Instant::now() + STALL).min(patience.at_most);
        }
        let now = handler.now();
        link.heard.store(true, Ordering::Relaxed);
        let arrival = |first: Stamp, size: u64| Arrival { first, last: now, size, ..Default::default() };
        let mut pieces = vec![];
        lines.read(now, |piece| pieces.push(piece));
        busy.store(true, Ordering::Relaxed);
        for piece in pieces {
            match piece {
                Piece::Line { body, first, size } => {
                    patience = None;
                    let length = body.len();
                    connection.take_in(body, arrival(first, size), &link.outbox).await;
                    pace.spend(length).await;
                }
                Piece::TooLong { head } => {
                    let until = Instant::now() + LONG_LINE;
                    patience = Some(Patience { until, at_most: until });
                    let pinned = connection.too_large(&head, None, limit as u64, &arrival(now, limit as u64));
                    oversized = Some((head, pinned));
                }
                Piece::TooLongEnd { tail, size } => {
                    patience = None;
                    if let Some((head, false)) = oversized.take()
                        && !connection.too_large(&head, Some(&tail), size, &arrival(now, size))
                    {
                        let detail = format!("a line of {} that is not a response", crate::domain::time::size(size));
                        handler.anomaly(Anomaly { kind: AnomalyKind::TooLarge, detail, call: None, frame: None });
                    }
                }
            }
        }
        busy.store(false, Ordering::Relaxed);
    };
    if let Some((rest, seen)) = lines.unfinished() {
        let now = handler.now();
        let detail = match end {
            Output::Ended => format!("the output ended within a line, after {}", size(seen)),
            Output::Stuck => format!("a line was left unfinished after {}", size(seen)),
        };
        let rpc_id = wire::salvage_id(rest.bytes());
        let frame = handler.frame(FrameDraft {
            at: now,
            direction: Direction::In,
            kind: FrameKind::Noise,
            body: rest,
            size: seen,
            call: None,
            method: None,
            rpc_id,
            http: None,
        });
        // The call itself fails with the reason of the end, which says more.
        handler.anomaly(Anomaly { kind: AnomalyKind::Partial, detail, call: None, frame: Some(frame) });
    }
    end
}

fn as_exit(status: std::process::ExitStatus) -> Exit {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}

fn spawn_failure(spec: &ServerSpec, error: &std::io::Error) -> ConnectFailure {
    let mut failure = ConnectFailure::new(Step::Spawn, format!("the program could not be started: {error}"));
    failure.hints.extend(super::advice::of_spawn(spec, error).iter().flat_map(Advice::lines));
    failure.retryable = false;
    failure
}
