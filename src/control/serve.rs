//! Serves a client's connection to the engine over a stream of bytes.

use std::{io, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, BufWriter},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
};

use super::{
    Control, Interest, Lagged, Role, Tail, WorkspaceState,
    wire::{
        ClientMessage, EngineMessage, Hello, MAX_REQUEST, PROTOCOL, SequencedFrame,
        packet::{self, PacketError},
    },
};
use crate::{
    domain::{
        event::{Event, EventKind},
        id::{InstanceId, ServerId},
        secret::SecretRegistry,
        spec_hash::spec_hash,
        stored_catalog::Hash,
    },
    state::{ConsoleState, SnapshotPart},
};

/// How long a client may take to send its first message.
const HELLO: Duration = Duration::from_secs(10);
/// Maximum number of requests of a connection that wait for their replies, or whose replies wait to be written. Further ones are
/// read when a reply is written.
const MAX_OPEN: usize = 1024;
/// Maximum number of events in one message.
const BATCH: usize = 256;

/// Why a connection ended.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The client sent no message in time.
    #[error("the client sent no message within {} s", HELLO.as_secs())]
    Silent,
    /// The client has another version of the messages.
    #[error("the client speaks version {theirs} of the control protocol, this engine version {PROTOCOL}")]
    Version {
        /// The client's version.
        theirs: u32,
    },
    /// A message came out of order.
    #[error("the first message of the client is not its introduction, or a later one is")]
    OutOfOrder,
    /// A message is malformed or too large, or the connection failed.
    #[error(transparent)]
    Packet(#[from] PacketError),
}

impl From<io::Error> for ServeError {
    fn from(error: io::Error) -> ServeError {
        ServeError::Packet(error.into())
    }
}

/// What is served to a client.
#[derive(Clone)]
pub struct Served {
    /// The control that acts for the client.
    pub control: Arc<dyn Control>,
    /// The role of the client.
    pub role: Role,
    /// The run of the engine.
    pub instance: InstanceId,
    /// The secrets that are masked in messages.
    pub secrets: SecretRegistry,
}

/// Serves the connection until the client closes the stream. `grant` returns what is served to a client that wants a role.
///
/// A client that reads slowly loses frames, then events, and gets a new snapshot; the engine and other clients never wait for it.
pub async fn serve(grant: impl FnOnce(Role) -> Served, stream: impl AsyncRead + AsyncWrite) -> Result<(), ServeError> {
    let (read, write) = tokio::io::split(stream);
    let mut requests = BufReader::new(read);
    let mut output = Output { stream: BufWriter::new(write), secrets: SecretRegistry::default() };
    let hello = tokio::time::timeout(HELLO, packet::read(&mut requests, MAX_REQUEST)).await.map_err(|_| ServeError::Silent)??;
    let (frames, wanted) = match hello.as_ref().map(packet::decode).transpose()? {
        None => return Ok(()),
        Some(ClientMessage::Hello { protocol: PROTOCOL, frames, role, .. }) => (frames, role),
        Some(ClientMessage::Hello { protocol, .. }) => {
            output.write(EngineMessage::Refused { protocol: PROTOCOL, version: version() }).await?;
            output.stream.flush().await?;
            return Err(ServeError::Version { theirs: protocol });
        }
        Some(_) => return Err(ServeError::OutOfOrder),
    };
    let Served { control, role, instance, secrets } = grant(wanted);
    output.secrets = secrets;
    let hello = Hello { protocol: PROTOCOL, version: version(), instance, client: control.client(), role };
    output.write(EngineMessage::Hello(hello)).await?;
    let (replies, written) = mpsc::channel(MAX_OPEN);
    tokio::select! {
        ended = take_requests(&*control, &mut requests, replies) => ended,
        ended = send_updates(&*control, frames, written, &mut output) => ended,
    }
}

fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// A reply, and the permit that its request holds until the reply is written.
type Replied = (EngineMessage, OwnedSemaphorePermit);

/// Carries out the requests of the client in their order.
async fn take_requests(
    control: &dyn Control,
    stream: &mut (impl AsyncRead + Unpin),
    replies: mpsc::Sender<Replied>,
) -> Result<(), ServeError> {
    let permits = Arc::new(Semaphore::new(MAX_OPEN));
    let workspace = control.workspace();
    let mut waiting = JoinSet::new();
    while let Some(packet) = packet::read(stream, MAX_REQUEST).await? {
        let reply: BoxFuture<'static, EngineMessage> = match packet::decode(&packet)? {
            ClientMessage::Hello { .. } => return Err(ServeError::OutOfOrder),
            ClientMessage::Compare { request, servers } => {
                let different = different(&control.observe(Interest::Events).0, servers);
                Box::pin(std::future::ready(EngineMessage::Compared { request, different }))
            }
            ClientMessage::Submit { request, spec } => {
                let result = control.submit(*spec);
                Box::pin(async move { EngineMessage::Submitted { request, result: result.await } })
            }
            ClientMessage::Command { request, command } => {
                let result = control.command(*command);
                Box::pin(async move { EngineMessage::CommandReply { request, result: result.await } })
            }
            ClientMessage::Workspace { request, content } => {
                let result = workspace.request(*content);
                Box::pin(async move { EngineMessage::WorkspaceReply { request, result: Box::new(result.await) } })
            }
        };
        // The semaphore is never closed.
        let Ok(permit) = permits.clone().acquire_owned().await else { break };
        let replies = replies.clone();
        waiting.spawn(async move {
            // The connection may have ended.
            let _ = replies.send((reply.await, permit)).await;
        });
        while waiting.try_join_next().is_some() {}
    }
    Ok(())
}

/// Returns the servers that are not in the read model with this hash.
fn different(state: &ConsoleState, servers: Vec<(ServerId, Hash)>) -> Vec<ServerId> {
    let equal = |(id, hash): &(ServerId, Hash)| state.server(id).is_some_and(|view| spec_hash(&view.spec) == *hash);
    servers.into_iter().filter(|server| !equal(server)).map(|(id, _)| id).collect()
}

/// The writing half of the stream.
struct Output<W> {
    stream: BufWriter<W>,
    secrets: SecretRegistry,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    async fn write(&mut self, message: EngineMessage) -> Result<(), ServeError> {
        let packet = message.encode(&self.secrets.redactor())?;
        Ok(self.stream.write_all(packet.bytes()).await?)
    }
}

/// What the client gets next of the state of the engine.
struct Updates {
    interest: Interest,
    snapshot: Option<Box<dyn Iterator<Item = SnapshotPart> + Send>>,
    tail: Tail,
}

impl Updates {
    fn new(control: &dyn Control, frames: bool) -> Updates {
        let interest = if frames { Interest::All } else { Interest::Events };
        let (state, tail) = control.observe(interest);
        Updates { interest, snapshot: Some(Box::new(state.parts(frames))), tail }
    }

    /// Returns the next messages; `None` when the engine has ended. Cancel-safe.
    async fn next(&mut self, control: &dyn Control) -> Option<Vec<EngineMessage>> {
        if let Some(part) = self.snapshot.as_mut().and_then(Iterator::next) {
            return Some(vec![EngineMessage::Snapshot(part)]);
        }
        self.snapshot = None;
        let mut batch = Batch::default();
        let mut next = self.tail.next().await;
        loop {
            match next {
                Ok(Some(event)) => batch.push(event),
                Ok(None) => break,
                Err(Lagged { missed }) => {
                    *self = Updates::new(control, self.interest == Interest::All);
                    batch.messages.push(EngineMessage::Lagged { missed });
                    break;
                }
            }
            if batch.len >= BATCH {
                break;
            }
            next = self.tail.try_next();
        }
        let dropped = self.tail.take_dropped_frames();
        if dropped > 0 {
            batch.messages.push(EngineMessage::Frames { frames: vec![], dropped });
        }
        (!batch.messages.is_empty()).then_some(batch.messages)
    }
}

/// Events on their way into messages; neighbours of a kind share a message.
#[derive(Default)]
struct Batch {
    messages: Vec<EngineMessage>,
    len: usize,
}

impl Batch {
    fn push(&mut self, event: Arc<Event>) {
        self.len += 1;
        match (&event.kind, self.messages.last_mut()) {
            (EventKind::Frame { frame }, last) => {
                let frame = SequencedFrame { seq: event.seq, frame: frame.clone() };
                match last {
                    Some(EngineMessage::Frames { frames, .. }) => frames.push(frame),
                    _ => self.messages.push(EngineMessage::Frames { frames: vec![frame], dropped: 0 }),
                }
            }
            (_, Some(EngineMessage::Events(events))) => events.push(event),
            _ => self.messages.push(EngineMessage::Events(vec![event])),
        }
    }
}

/// Sends replies, the state of the workspace, and the events of the engine. Replies go first.
async fn send_updates(
    control: &dyn Control,
    frames: bool,
    mut replies: mpsc::Receiver<Replied>,
    output: &mut Output<impl AsyncWrite + Unpin>,
) -> Result<(), ServeError> {
    let mut workspace = Some(control.workspace().state());
    if let Some(state) = &mut workspace {
        let state = state.borrow_and_update().clone();
        output.write(EngineMessage::WorkspaceState(Box::new(state))).await?;
    }
    let mut updates = Updates::new(control, frames);
    loop {
        let messages = tokio::select! {
            biased;
            Some((reply, _permit)) = replies.recv() => vec![reply],
            state = next_state(&mut workspace) => vec![EngineMessage::WorkspaceState(Box::new(state))],
            messages = updates.next(control) => match messages {
                Some(messages) => messages,
                None => return Ok(()),
            },
            // Nothing is ready.
            flushed = flush(&mut output.stream) => {
                flushed?;
                vec![]
            }
        };
        for message in messages {
            output.write(message).await?;
        }
    }
}

/// Flushes written bytes; pending if there are none.
async fn flush(stream: &mut BufWriter<impl AsyncWrite + Unpin>) -> io::Result<()> {
    match stream.buffer().is_empty() {
        true => std::future::pending().await,
        false => stream.flush().await,
    }
}

/// Returns the next state of the workspace; pending for ever when the workspace has ended.
async fn next_state(states: &mut Option<watch::Receiver<WorkspaceState>>) -> WorkspaceState {
    if let Some(receiver) = states
        && receiver.changed().await.is_ok()
    {
        return receiver.borrow_and_update().clone();
    }
    *states = None;
    std::future::pending().await
}
