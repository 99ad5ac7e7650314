//! The stdio face: one client on the standard streams of this process (MCP 2025-11-25, transports, "stdio").
//!
//! The output belongs to the protocol: one task writes it, from a queue bounded in messages and bytes. When the client does not read,
//! notifications are dropped and responses wait.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{interval, timeout},
};

use super::{
    Gateway,
    failure::{self, INVALID_REQUEST},
    front::{Front, MESSAGE_BYTES},
};
use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind},
        client::{ClientTransport, Principal},
        profile::Profile,
        time::{Stamp, size},
    },
    protocol::{
        connection::{Arrival, Connection, Outbox, Outgoing},
        lines::{Lines, Piece},
        wire,
    },
};

/// Maximum number of messages that wait to be written.
const QUEUE: usize = 1024;
/// The part of the queue that notifications leave to responses.
const RESERVED: usize = QUEUE / 4;
/// KiB that waiting messages hold.
const QUEUE_KIB: u32 = 8 << 10;
/// Bytes that are written together.
const WRITE: usize = 64 << 10;
/// How long answers in progress may take after the end of the input.
pub const DRAIN: Duration = Duration::from_secs(2);
/// How often the parent process is looked for.
const PARENT: Duration = Duration::from_secs(2);

/// What the writer does next.
enum Job {
    Message(Outgoing, OwnedSemaphorePermit),
    /// Everything before it is written.
    Flushed(oneshot::Sender<()>),
}

/// The queue of messages to the client.
struct Queue {
    jobs: mpsc::Sender<Job>,
    kib: Arc<Semaphore>,
}

fn kib(message: &Outgoing) -> u32 {
    u32::try_from(message.body.len().div_ceil(1024)).unwrap_or(u32::MAX).clamp(1, QUEUE_KIB)
}

#[async_trait]
impl Outbox for Queue {
    async fn send(&self, message: Outgoing) -> Result<(), Failure> {
        let gone = || Failure::new(FailureKind::Transport, "the client is gone");
        let permit = self.kib.clone().acquire_many_owned(kib(&message)).await.map_err(|_| gone())?;
        self.jobs.send(Job::Message(message, permit)).await.map_err(|_| gone())
    }

    fn cancel(&self, notification: Outgoing) {
        self.offer(notification);
    }

    fn offer(&self, notification: Outgoing) -> bool {
        if self.jobs.capacity() <= RESERVED {
            return false;
        }
        let Ok(permit) = self.kib.clone().try_acquire_many_owned(kib(&notification)) else { return false };
        self.jobs.try_send(Job::Message(notification, permit)).is_ok()
    }
}

/// Serves one client until its input ends, the output is closed, or the parent process is gone. Requests in progress get
/// [`DRAIN`]. Dropping the future cancels them.
pub async fn serve(
    gateway: &Arc<Gateway>,
    profile: Arc<Profile>,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Send + Unpin + 'static,
) {
    let client = gateway.add_client(Principal::local(), profile, Some(ClientTransport::Stdio));
    let connection = Front::connect(gateway, &client);
    let (jobs, queue) = mpsc::channel(QUEUE);
    let outbox: Arc<dyn Outbox> = Arc::new(Queue { jobs: jobs.clone(), kib: Arc::new(Semaphore::new(QUEUE_KIB as usize)) });
    client.set_stream(Some(outbox.clone()));
    let mut writer = tokio::spawn(write(queue, output, connection.clone()));
    let written = tokio::select! {
        () = read(input, &connection, &outbox) => true,
        () = parent_gone() => true,
        // The client closed its end.
        _ = &mut writer => false,
    };
    // Subscriptions end with their results.
    gateway.stop();
    if written && timeout(DRAIN, connection.answered()).await.is_ok() {
        let (flushed, done) = oneshot::channel();
        if jobs.send(Job::Flushed(flushed)).await.is_ok() {
            // Ends without a value if the output cannot be written.
            let _ = timeout(DRAIN, done).await;
        }
    }
    connection.close(&Failure::new(FailureKind::Transport, "the client is gone"));
    gateway.remove_client(client.id);
    writer.abort();
}

/// Passes the messages of the input to the connection, until it ends.
async fn read(mut input: impl AsyncRead + Unpin, connection: &Arc<Connection>, outbox: &Arc<dyn Outbox>) {
    let mut lines = Lines::new(MESSAGE_BYTES);
    loop {
        match input.read_buf(lines.buffer()).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let mut refused = vec![];
        lines.read(Stamp::default(), |piece| match piece {
            Piece::Line { body, size, .. } => connection.incoming(body, &Arrival { size, ..Arrival::default() }, outbox),
            Piece::TooLong { .. } => {}
            Piece::TooLongEnd { tail, .. } => refused.push(wire::salvage_id(tail.bytes())),
        });
        for id in refused {
            let message = format!("the message is over the limit of {}", size(MESSAGE_BYTES as u64));
            let error = Err(failure::error(INVALID_REQUEST, message));
            let response = wire::response(id.as_deref().unwrap_or("null"), &error);
            if outbox.send(Outgoing::response(response, None)).await.is_err() {
                return;
            }
        }
    }
}

/// Writes the queue, one message a line.
async fn write(mut queue: mpsc::Receiver<Job>, mut output: impl AsyncWrite + Unpin, connection: Arc<Connection>) {
    let mut jobs = vec![];
    while queue.recv_many(&mut jobs, QUEUE).await > 0 {
        let (mut text, mut flushed) = (vec![], vec![]);
        for job in jobs.drain(..) {
            match job {
                Job::Flushed(done) => flushed.push(done),
                // Withdrawn while it waited.
                Job::Message(Outgoing { id: Some(id), .. }, _) if !connection.begin(id, || {}) => {}
                Job::Message(message, _held) => {
                    push_line(&mut text, &message.body);
                    if text.len() >= WRITE {
                        if output.write_all(&text).await.is_err() {
                            return;
                        }
                        text.clear();
                    }
                }
            }
        }
        if output.write_all(&text).await.is_err() || output.flush().await.is_err() {
            return;
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}

fn push_line(text: &mut Vec<u8>, message: &Body) {
    text.extend_from_slice(message.bytes());
    text.push(b'\n');
}

/// Resolves when the process that started this one has ended: its end of the pipe may be inherited by others, which do not close it.
async fn parent_gone() {
    let parent = rustix::process::getppid();
    let mut ticks = interval(PARENT);
    loop {
        ticks.tick().await;
        if rustix::process::getppid() != parent {
            return;
        }
    }
}
