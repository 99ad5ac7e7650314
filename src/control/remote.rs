//! The control of an engine in another process, over a stream of bytes.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf},
    sync::{mpsc, oneshot, watch},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Command, CommandError, Control, Filter, Interest, PendingCall, PendingReply, PendingWorkspaceReply, Reply, Role, SubmitError, Tail,
    TailSender, Workspace, WorkspaceError, WorkspaceReply, WorkspaceRequest, WorkspaceState,
    wire::{
        ClientMessage, EngineMessage, Hello, PROTOCOL,
        packet::{self, PacketError},
    },
};
use crate::{
    domain::{
        call::CallSpec,
        event::{Event, EventKind, Notice, NoticeLevel},
        id::{CallId, ClientId, InstanceId, ServerId},
        server::{ConnectFailure, Phase, ServerSpec, Step},
        spec_hash::spec_hash,
        time::Stamp,
    },
    state::ConsoleState,
};

/// How long an engine may take to introduce itself and to send its first snapshot.
const CONNECT: Duration = Duration::from_secs(30);
/// The pauses before a lost connection is opened again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Maximum number of requests that wait for their replies.
const MAX_WAITING: usize = 16_384;

/// Why an engine cannot be used.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The engine has another version of the messages.
    #[error(
        "the engine (version {version}) speaks version {theirs} of the control protocol, this program version {PROTOCOL}; \
         use the same version of switchboard for both"
    )]
    Version {
        /// The version of the engine.
        version: String,
        /// The version of the engine's messages.
        theirs: u32,
    },
    /// The engine did not send its state in time.
    #[error("the engine did not send its state within {} s", CONNECT.as_secs())]
    Silent,
    /// The engine closed the connection before it sent its state.
    #[error("the engine closed the connection before it sent its state")]
    Closed,
    /// A message is malformed, or the connection failed.
    #[error(transparent)]
    Packet(#[from] PacketError),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> ConnectError {
        ConnectError::Packet(error.into())
    }
}

/// What a client asks for when it connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whether the engine sends frames. Without them [`Control::observe`] returns none.
    pub frames: bool,
    /// The role. The engine may grant a lesser one.
    pub role: Role,
}

/// A stream of bytes to an engine.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Opens streams to an engine.
#[async_trait]
pub trait Dial: Send + Sync {
    /// Opens a stream to the engine that runs now.
    async fn dial(&self) -> io::Result<Box<dyn Stream>>;
}

/// A connection to an engine in another process, with a mirror of its read model.
pub struct RemoteControl {
    hello: Arc<Mutex<Hello>>,
    link: Arc<Link>,
    mirror: Arc<Mirror>,
    _connection: AbortOnDropHandle<()>,
}

impl RemoteControl {
    /// Connects to the engine that [`super::serve()`] connects to the other end of the stream, and waits for its state.
    pub async fn connect(stream: impl Stream + 'static, wanted: Wanted) -> Result<Arc<RemoteControl>, ConnectError> {
        Ok(RemoteControl::start(Opened::new(Box::new(stream), wanted).await?, wanted, None))
    }

    /// Connects to an engine, waits for its state, and connects again whenever the connection is lost.
    ///
    /// Errors: the first connection failed.
    pub async fn attach(dial: Arc<dyn Dial>, wanted: Wanted) -> Result<Arc<RemoteControl>, ConnectError> {
        let stream = dial.dial().await?;
        Ok(RemoteControl::start(Opened::new(stream, wanted).await?, wanted, Some(dial)))
    }

    fn start(opened: Opened, wanted: Wanted, dial: Option<Arc<dyn Dial>>) -> Arc<RemoteControl> {
        let Opened { hello, state, workspace, reader, writer } = opened;
        let hello = Arc::new(Mutex::new(hello));
        let mirror = Arc::new(Mirror::new(state, workspace));
        let link = Arc::new(Link(Mutex::new(LinkState::Lost)));
        let connection = Connection { hello: hello.clone(), link: link.clone(), mirror: mirror.clone() };
        let queued = link.open();
        let connection = tokio::spawn(connection.run(reader, writer, queued, wanted, dial));
        Arc::new(RemoteControl { hello, link, mirror, _connection: AbortOnDropHandle::new(connection) })
    }

    /// Returns the run of the engine.
    pub fn instance(&self) -> InstanceId {
        self.hello.lock().instance
    }

    /// Returns the version of the engine.
    pub fn version(&self) -> String {
        self.hello.lock().version.clone()
    }

    /// Returns the role that the engine gave to this client.
    pub fn role(&self) -> Role {
        self.hello.lock().role
    }

    /// Returns those of the servers that the engine does not have, or has with another specification.
    pub async fn different(&self, servers: &[ServerSpec]) -> Result<Vec<ServerId>, ConnectError> {
        let servers = servers.iter().map(|spec| (spec.id.clone(), spec_hash(spec))).collect();
        let (sender, reply) = oneshot::channel();
        let message = |request| ClientMessage::Compare { request, servers };
        self.link.send(message, Waiting::Comparison(sender)).map_err(|_| ConnectError::Closed)?;
        reply.await.map_err(|_| ConnectError::Closed)
    }
}

/// A connection on which the engine has sent its state.
struct Opened {
    hello: Hello,
    state: ConsoleState,
    workspace: WorkspaceState,
    reader: Updates<ReadHalf<Box<dyn Stream>>>,
    writer: WriteHalf<Box<dyn Stream>>,
}

impl Opened {
    async fn new(stream: Box<dyn Stream>, Wanted { frames, role }: Wanted) -> Result<Opened, ConnectError> {
        let (read, mut writer) = tokio::io::split(stream);
        let mut reader = Updates { stream: BufReader::new(read), snapshot: None };
        let introduction = ClientMessage::Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").to_owned(), frames, role };
        writer.write_all(introduction.encode()?.bytes()).await?;
        writer.flush().await?;
        let (hello, state, workspace) = tokio::time::timeout(CONNECT, reader.start()).await.map_err(|_| ConnectError::Silent)??;
        Ok(Opened { hello, state, workspace, reader, writer })
    }
}

impl Control for RemoteControl {
    fn client(&self) -> ClientId {
        self.hello.lock().client
    }

    fn observe(&self, interest: Interest) -> (Arc<ConsoleState>, Tail) {
        self.mirror.observe(interest)
    }

    fn submit(&self, spec: CallSpec) -> PendingCall {
        let (sender, reply) = oneshot::channel();
        let message = |request| ClientMessage::Submit { request, spec: Box::new(spec) };
        if let Err(refusal) = self.link.send(message, Waiting::Call(sender)) {
            return std::future::ready(Err(match refusal {
                NotSent::Ended => SubmitError::Ended,
                NotSent::Lost => SubmitError::NotConnected,
                NotSent::TooMany => SubmitError::TooMany { limit: MAX_WAITING },
                NotSent::TooLarge { size, limit } => SubmitError::TooLarge { size, limit },
                NotSent::Unencodable(_) => SubmitError::Ended,
            }))
            .boxed();
        }
        async move { reply.await.unwrap_or(Err(SubmitError::Disconnected)) }.boxed()
    }

    fn command(&self, command: Command) -> PendingReply {
        let (sender, reply) = oneshot::channel();
        let message = |request| ClientMessage::Command { request, command: Box::new(command) };
        if let Err(refusal) = self.link.send(message, Waiting::Command(sender)) {
            return std::future::ready(Err(match refusal {
                NotSent::Ended => CommandError::Ended,
                NotSent::Lost => CommandError::EngineLost,
                NotSent::TooMany => CommandError::TooMany { limit: MAX_WAITING },
                NotSent::TooLarge { size, limit } => CommandError::TooLarge { size, limit },
                NotSent::Unencodable(why) => CommandError::Refused { why: why.to_string() },
            }))
            .boxed();
        }
        async move { reply.await.unwrap_or(Err(CommandError::Disconnected)) }.boxed()
    }

    fn workspace(&self) -> Arc<dyn Workspace> {
        Arc::new(RemoteWorkspace { link: self.link.clone(), mirror: Arc::downgrade(&self.mirror) })
    }
}

/// The workspace of an engine in another process.
struct RemoteWorkspace {
    link: Arc<Link>,
    mirror: Weak<Mirror>,
}

impl Workspace for RemoteWorkspace {
    fn state(&self) -> watch::Receiver<WorkspaceState> {
        self.mirror.upgrade().map_or_else(|| watch::channel(WorkspaceState::default()).1, |mirror| mirror.workspace())
    }

    fn request(&self, request: WorkspaceRequest) -> PendingWorkspaceReply {
        let (sender, reply) = oneshot::channel();
        let message = |number| ClientMessage::Workspace { request: number, content: Box::new(request) };
        if let Err(refusal) = self.link.send(message, Waiting::Workspace(sender)) {
            return std::future::ready(Err(match refusal {
                NotSent::Ended | NotSent::Lost => WorkspaceError::Ended,
                NotSent::TooMany => WorkspaceError::Busy,
                NotSent::Unencodable(why) => WorkspaceError::invalid(why.to_string()),
                NotSent::TooLarge { size, limit } => {
                    WorkspaceError::invalid(format!("the request has {size} bytes; at most {limit} can be sent"))
                }
            }))
            .boxed();
        }
        async move { reply.await.unwrap_or(Err(WorkspaceError::Disconnected)) }.boxed()
    }
}

/// The requests of the connection.
struct Link(Mutex<LinkState>);

enum LinkState {
    Open(Requests),
    /// The connection was lost and is opened again.
    Lost,
    /// The connection has ended.
    Ended,
}

struct Requests {
    outgoing: mpsc::Sender<Bytes>,
    next: u64,
    waiting: HashMap<u64, Waiting>,
}

/// A request that waits for its reply.
enum Waiting {
    Comparison(oneshot::Sender<Vec<ServerId>>),
    Call(oneshot::Sender<Result<CallId, SubmitError>>),
    Command(oneshot::Sender<Result<Reply, CommandError>>),
    Workspace(oneshot::Sender<Result<WorkspaceReply, WorkspaceError>>),
}

/// Why a request was not sent.
enum NotSent {
    Ended,
    Lost,
    TooMany,
    TooLarge {
        size: usize,
        limit: usize,
    },
    /// It holds a path that is not UTF-8.
    Unencodable(PacketError),
}

impl Link {
    /// Opens the queue of a new connection. Requests of the previous one end without a reply.
    fn open(&self) -> mpsc::Receiver<Bytes> {
        let (outgoing, queued) = mpsc::channel(MAX_WAITING);
        *self.0.lock() = LinkState::Open(Requests { outgoing, next: 0, waiting: HashMap::new() });
        queued
    }

    /// Closes the queue: requests end without a reply.
    fn close(&self, state: LinkState) {
        *self.0.lock() = state;
    }

    /// Queues a request. The lock keeps the order of the requests.
    fn send(&self, message: impl FnOnce(u64) -> ClientMessage, waiting: Waiting) -> Result<(), NotSent> {
        let mut state = self.0.lock();
        let requests = match &mut *state {
            LinkState::Open(requests) => requests,
            LinkState::Lost => return Err(NotSent::Lost),
            LinkState::Ended => return Err(NotSent::Ended),
        };
        if requests.waiting.len() >= MAX_WAITING {
            return Err(NotSent::TooMany);
        }
        let number = requests.next;
        let packet = message(number).encode().map_err(|error| match error {
            PacketError::TooLarge { size, limit } => NotSent::TooLarge { size, limit },
            error => NotSent::Unencodable(error),
        })?;
        requests.next += 1;
        // Every queued request waits for a reply, so the queue has room.
        requests.outgoing.try_send(packet.bytes().clone()).map_err(|_| NotSent::Ended)?;
        requests.waiting.insert(number, waiting);
        Ok(())
    }

    fn take(&self, request: u64) -> Option<Waiting> {
        match &mut *self.0.lock() {
            LinkState::Open(requests) => requests.waiting.remove(&request),
            LinkState::Lost | LinkState::Ended => None,
        }
    }
}

/// Writes queued requests, several at a time.
async fn send(mut stream: impl AsyncWrite + Unpin, mut queued: mpsc::Receiver<Bytes>) -> io::Result<()> {
    while let Some(packet) = queued.recv().await {
        stream.write_all(&packet).await?;
        while let Ok(packet) = queued.try_recv() {
            stream.write_all(&packet).await?;
        }
        stream.flush().await?;
    }
    Ok(())
}

/// The copy of the engine's read model and of the state of its workspace.
struct Mirror(Mutex<Copies>);

struct Copies {
    state: Arc<ConsoleState>,
    /// `None` when the connection has ended.
    live: Option<Live>,
    last_workspace: WorkspaceState,
}

struct Live {
    events: TailSender,
    workspace: watch::Sender<WorkspaceState>,
}

impl Mirror {
    fn new(state: ConsoleState, workspace: WorkspaceState) -> Mirror {
        let live = Live { events: TailSender::default(), workspace: watch::Sender::new(workspace.clone()) };
        Mirror(Mutex::new(Copies { state: Arc::new(state), live: Some(live), last_workspace: workspace }))
    }

    fn observe(&self, interest: Interest) -> (Arc<ConsoleState>, Tail) {
        let copies = self.0.lock();
        let filter = Filter { interest, ..Filter::default() };
        let subscribe = |events: &TailSender| events.subscribe_to(copies.state.seq, filter);
        // The tail of a dropped sender ends immediately.
        let tail = copies.live.as_ref().map_or_else(|| subscribe(&TailSender::default()), |live| subscribe(&live.events));
        (copies.state.clone(), tail)
    }

    fn workspace(&self) -> watch::Receiver<WorkspaceState> {
        let copies = self.0.lock();
        match &copies.live {
            Some(live) => live.workspace.subscribe(),
            None => watch::channel(copies.last_workspace.clone()).1,
        }
    }

    fn apply(&self, event: Arc<Event>) {
        let mut copies = self.0.lock();
        Arc::make_mut(&mut copies.state).apply(&event);
        if let Some(live) = &copies.live {
            live.events.send(&event);
        }
    }

    fn frames_dropped(&self, count: u64) {
        if let Some(live) = &self.0.lock().live {
            live.events.frames_dropped(count);
        }
    }

    /// Replaces the state after events were lost. Readers take a new snapshot.
    fn replace(&self, state: ConsoleState, missed: u64) {
        let mut copies = self.0.lock();
        copies.state = Arc::new(state);
        if let Some(live) = &copies.live {
            live.events.lag(missed);
        }
    }

    /// Replaces the state with that of a new connection. Readers take a new snapshot.
    fn reconnected(&self, state: ConsoleState) {
        let mut copies = self.0.lock();
        copies.state = Arc::new(state);
        if let Some(live) = &copies.live {
            live.events.replace();
        }
    }

    fn set_workspace(&self, state: WorkspaceState) {
        let mut copies = self.0.lock();
        copies.last_workspace = state.clone();
        if let Some(live) = &copies.live {
            live.workspace.send_replace(state);
        }
    }

    /// Tells the readers that the connection was lost. Later events are those of another connection, with their own numbers.
    fn lost(&self, text: &str) {
        let notice = Arc::new(Notice::new(NoticeLevel::Error, text));
        let (seq, at) = {
            let copies = self.0.lock();
            (copies.state.seq + 1, now(&copies.state))
        };
        self.apply(Arc::new(Event { seq, at, kind: EventKind::Notice { notice } }));
        self.forget_servers();
    }

    /// Shows that the state of servers is unknown: they may have ended with their engine.
    fn forget_servers(&self) {
        let (mut seq, at, servers) = {
            let copies = self.0.lock();
            let known = copies.state.servers.iter().filter(|server| !matches!(*server.phase, Phase::Disabled | Phase::Idle));
            (copies.state.seq, now(&copies.state), known.map(|server| server.id().clone()).collect::<Vec<_>>())
        };
        let why = Arc::new(ConnectFailure::new(Step::Run, "the engine is not connected, so that the state of its server is unknown"));
        for server in servers {
            seq += 1;
            let phase = Arc::new(Phase::Failed { why: why.clone() });
            self.apply(Arc::new(Event { seq, at, kind: EventKind::ServerPhase { server, phase } }));
        }
    }

    fn end(&self) {
        self.0.lock().live = None;
    }
}

/// The receiving half of the stream.
struct Updates<R> {
    stream: BufReader<R>,
    /// The snapshot that is being received.
    snapshot: Option<ConsoleState>,
}

impl<R: AsyncRead + Unpin> Updates<R> {
    async fn next(&mut self) -> Result<Option<EngineMessage>, PacketError> {
        packet::read(&mut self.stream, packet::MAX).await?.map(|packet| packet::decode(&packet)).transpose()
    }

    /// Waits until the engine has introduced itself and sent its state.
    async fn start(&mut self) -> Result<(Hello, ConsoleState, WorkspaceState), ConnectError> {
        let mut hello = None;
        let mut workspace = WorkspaceState::default();
        while let Some(message) = self.next().await? {
            match message {
                EngineMessage::Hello(introduction) => hello = Some(introduction),
                EngineMessage::Refused { protocol, version } => return Err(ConnectError::Version { version, theirs: protocol }),
                EngineMessage::WorkspaceState(state) => workspace = *state,
                EngineMessage::Snapshot(part) => {
                    if ConsoleState::add(&mut self.snapshot, part)
                        && let (Some(state), Some(hello)) = (self.snapshot.take(), hello.take())
                    {
                        return Ok((hello, state, workspace));
                    }
                }
                _ => return Err(PacketError::Malformed.into()),
            }
        }
        Err(ConnectError::Closed)
    }
}

/// Returns the time on the clock of an engine that does not run.
#[expect(clippy::disallowed_methods, reason = "converts the epoch of an engine in another process")]
fn now(state: &ConsoleState) -> Stamp {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let since = unix.saturating_sub(Duration::from_millis(state.epoch.unix_ms));
    Stamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// What a connection brings up to date.
struct Connection {
    hello: Arc<Mutex<Hello>>,
    link: Arc<Link>,
    mirror: Arc<Mirror>,
}

impl Connection {
    /// Exchanges messages with the engine, and connects again when the connection is lost, if `dial` can.
    async fn run(
        self,
        mut reader: Updates<ReadHalf<Box<dyn Stream>>>,
        mut writer: WriteHalf<Box<dyn Stream>>,
        mut queued: mpsc::Receiver<Bytes>,
        wanted: Wanted,
        dial: Option<Arc<dyn Dial>>,
    ) {
        loop {
            // Both directions are polled together: neither waits for the other.
            tokio::select! {
                _ = self.receive(reader) => {}
                _ = send(writer, queued) => {}
            }
            let Some(dial) = &dial else { return };
            self.link.close(LinkState::Lost);
            self.mirror.lost("the connection to the engine was lost; what is shown is its last state. Connecting again");
            let opened = self.reconnect(&**dial, wanted).await;
            *self.hello.lock() = opened.hello;
            queued = self.link.open();
            // Readers take the new state, whatever they have read of the old one.
            self.mirror.reconnected(opened.state);
            self.mirror.set_workspace(opened.workspace);
            (reader, writer) = (opened.reader, opened.writer);
        }
    }

    async fn reconnect(&self, dial: &dyn Dial, wanted: Wanted) -> Opened {
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            let Ok(stream) = dial.dial().await else { continue };
            match Opened::new(stream, wanted).await {
                Ok(opened) => return opened,
                Err(why @ ConnectError::Version { .. }) => self.mirror.lost(&why.to_string()),
                Err(_) => {}
            }
        }
    }

    /// Applies the messages of the engine until the connection ends.
    async fn receive(&self, mut updates: Updates<impl AsyncRead + Unpin>) -> Result<(), PacketError> {
        let mut lost = 0;
        while let Some(message) = updates.next().await? {
            match message {
                EngineMessage::Events(events) => events.into_iter().for_each(|event| self.mirror.apply(event)),
                EngineMessage::Frames { frames, dropped } => {
                    self.mirror.frames_dropped(dropped);
                    frames.into_iter().for_each(|frame| self.mirror.apply(Arc::new(frame.into())));
                }
                EngineMessage::Lagged { missed } => lost += missed,
                EngineMessage::Snapshot(part) => {
                    if ConsoleState::add(&mut updates.snapshot, part)
                        && let Some(state) = updates.snapshot.take()
                    {
                        self.mirror.replace(state, std::mem::take(&mut lost));
                    }
                }
                EngineMessage::WorkspaceState(state) => self.mirror.set_workspace(*state),
                // The caller may not wait for the reply.
                EngineMessage::Submitted { request, result } => {
                    if let Some(Waiting::Call(reply)) = self.link.take(request) {
                        let _ = reply.send(result);
                    }
                }
                EngineMessage::Compared { request, different } => {
                    if let Some(Waiting::Comparison(reply)) = self.link.take(request) {
                        let _ = reply.send(different);
                    }
                }
                EngineMessage::CommandReply { request, result } => {
                    if let Some(Waiting::Command(reply)) = self.link.take(request) {
                        let _ = reply.send(result);
                    }
                }
                EngineMessage::WorkspaceReply { request, result } => {
                    if let Some(Waiting::Workspace(reply)) = self.link.take(request) {
                        let _ = reply.send(*result);
                    }
                }
                EngineMessage::Hello(_) | EngineMessage::Refused { .. } => return Err(PacketError::Malformed),
            }
        }
        Ok(())
    }
}

/// Ends everything that waits for the engine.
impl Drop for Connection {
    fn drop(&mut self) {
        self.link.close(LinkState::Ended);
        self.mirror.end();
    }
}
