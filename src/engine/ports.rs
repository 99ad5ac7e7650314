//! What the engine asks of its adapters, and what it gives them.
//!
//! `mcp` implements [`Connector`] and [`Session`], `store` implements [`Journal`]; the engine implements
//! [`ClientHandler`] and [`RequestObserver`].

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::domain::{
    ask::{Answer, Question},
    body::Body,
    call::{Failure, Progress},
    catalog::RawLists,
    frame::{Anomaly, Direction, FrameKind, HttpNote},
    id::CallId,
    journal::{RunEntry, RunRecord},
    policy::{cache::CachedResponse, call_event::Resend, pattern::Pattern},
    run::RunId,
    server::{ConnectFailure, Era, Exit, ServerSpec, SessionInfo, Step},
    time::Stamp,
};

/// Makes connections to servers.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Connects and does the handshake, within `spec.timeouts.connect`.
    ///
    /// `known` is the era that the server spoke before, to save the probe. The session reports
    /// everything that it sees to `handler`. Dropping the future gives the attempt up and ends what was
    /// started for it, in the background.
    async fn connect(
        &self,
        spec: Arc<ServerSpec>,
        known: Option<Era>,
        handler: Arc<dyn ClientHandler>,
    ) -> Result<Arc<dyn Session>, ConnectFailure>;

    /// Resolves when nothing is left of attempts that were given up. For the end of the program.
    async fn settled(&self) {}
}

/// A connection to a server.
#[async_trait]
pub trait Session: Send + Sync {
    /// What the server said of itself.
    fn info(&self) -> Arc<SessionInfo>;

    /// Sends one request and waits for its answer, however long that takes: the deadline is the
    /// caller's. Dropping the future cancels the request by the rule of the transport and the era
    /// (`notifications/cancelled`, or closing the stream).
    async fn request(&self, request: Request, flow: Arc<dyn RequestObserver>) -> Result<Reply, Failure>;

    /// Sends a notification.
    async fn notify(&self, method: &str, params: Body) -> Result<(), Failure>;

    /// Reads all lists that the server declared, with the guards of `spec.limits`.
    async fn lists(&self) -> Result<RawLists, Failure>;

    /// Asks to be told when a resource changes, or no longer; the server's word comes as
    /// `notifications/resources/updated`.
    async fn subscribe(&self, uri: &str, on: bool) -> Result<(), Failure>;

    /// Asks for a sign of life: `ping`, or `server/discover` where there is no ping.
    async fn check(&self) -> Result<(), Failure>;

    /// Resolves when the connection is gone, with the reason.
    async fn closed(&self) -> Arc<ConnectFailure>;

    /// Ends the connection in order: end of input, then SIGTERM, then SIGKILL to the whole process
    /// group, or DELETE of an HTTP session. Returns when nothing of it is left.
    async fn close(&self) -> Exit;
}

/// Keeps answers, in this process or shared with others. Never fails a call: what goes wrong is a miss.
#[async_trait]
pub trait ResponseCache: Send + Sync {
    /// `memory` or `redis`.
    fn name(&self) -> &'static str;
    /// Whether others read it too, so that private answers have no place in it.
    fn shared(&self) -> bool;
    /// The answer of this key, if it is there; fresh or not.
    async fn get(&self, key: &str) -> Option<CachedResponse>;
    /// Keeps an answer for as long as it is of any use.
    async fn put(&self, key: &str, kept: CachedResponse);
    /// Forgets the answer of this key, if it is there.
    async fn forget(&self, key: &str);
    /// Forgets the answers of the tools whose exposed names match. Says how many.
    async fn purge(&self, pattern: &Pattern) -> Result<u64, String>;
    /// What is wrong with it now, for people.
    fn trouble(&self) -> Option<String>;
    /// Changes when `trouble` does.
    fn changed(&self) -> watch::Receiver<()>;
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// `params` as a JSON object; absent when empty. `_meta` is added by the session.
    pub params: Body,
    /// The call that it belongs to, `None` for the engine's own requests.
    pub call: Option<CallId>,
    /// Whether the policy lets it be sent again although it may have run ([`verdict::may_resend`]). Requests of the engine
    /// change nothing at the server, so they are repeatable.
    ///
    /// [`verdict::may_resend`]: crate::domain::policy::verdict::may_resend
    pub repeatable: bool,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The `result`, as it came.
    pub result: Body,
    /// When its first byte was read.
    pub first_byte: Stamp,
    /// When its last byte was read.
    pub last_byte: Stamp,
    /// Bytes of the request.
    pub sent_bytes: u64,
    /// Bytes of the answer.
    pub received_bytes: u64,
}

/// What a session tells about a request under way.
pub trait RequestObserver: Send + Sync {
    /// The request's last byte was handed to the system.
    fn sent(&self, at: Stamp, bytes: u64);
    /// The server reported progress.
    fn progress(&self, progress: Progress);
    /// Why the caller gave the request up, for `notifications/cancelled`.
    fn reason(&self) -> String;
    /// An answer came after the request was given up.
    fn late(&self, _at: Stamp) {}
    /// The session was lost; the request is sent again in a new one.
    fn resent(&self, _cause: Resend) {}
}

/// Observes one connection: handshake steps, frames, notifications, anomalies and stderr of a server.
pub trait ConnectionObserver: Send + Sync {
    /// The engine's clock.
    fn now(&self) -> Stamp;
    /// A connection attempt begins: what the process before wrote to stderr explains nothing now.
    fn fresh_start(&self);
    /// The step of the handshake now begun.
    fn step(&self, step: Step);
    /// The step that was begun last.
    fn at_step(&self) -> Step;
    /// A frame crossed the wire. Returns its number.
    fn frame(&self, frame: FrameDraft) -> u64;
    /// The server did something against the protocol.
    fn anomaly(&self, anomaly: Anomaly);
    /// The server wrote a line to stderr.
    fn stderr(&self, line: &str);
    /// The last lines of stderr, oldest first, at most `count`.
    fn last_stderr(&self, count: usize) -> Vec<String>;
    /// The server sent a notification that the session does not handle itself.
    fn notification(&self, method: &str, params: &Body, call: Option<CallId>);
    /// The session was lost and opened anew within the connection: lists and subscriptions are of the old one.
    fn renewed(&self) {}
    /// The server will not tell of these resources after all, and why.
    fn unsubscribed(&self, _uris: &[String], _why: &str) {}
}

/// Answers the requests that a server sends to its client: elicitation, sampling and roots.
#[async_trait]
pub trait ClientHandler: ConnectionObserver {
    /// Resolves with the answer to a server's question. Dropping the future withdraws the question.
    async fn ask(&self, question: Question, call: Option<CallId>) -> Answer;
}

/// Where runs of workflows are written down, so that they can go on after the program was killed.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Writes entries behind those of the same run, in their order, all or none. When this returns, no death of the
    /// process loses them.
    async fn write(&self, run: RunId, entries: Arc<[RunEntry]>) -> Result<(), JournalError>;

    /// Everything written of a run; `None` when there is nothing.
    async fn load(&self, run: RunId) -> Result<Option<RunRecord>, JournalError>;

    /// Takes a run for this process alone until what is given is dropped; `None` while another process has it.
    /// A journal that no other process can read has nothing to take.
    async fn hold(&self, _: RunId) -> Result<Option<Held>, JournalError> {
        Ok(Some(Box::new(())))
    }
}

/// What is held until it is dropped.
pub type Held = Box<dyn std::any::Any + Send + Sync>;

/// The journal could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JournalError(
    /// Why, for people.
    pub String,
);

/// Writes nothing down: runs cannot be resumed.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

#[async_trait]
impl Journal for NoJournal {
    async fn write(&self, _: RunId, _: Arc<[RunEntry]>) -> Result<(), JournalError> {
        Ok(())
    }

    async fn load(&self, _: RunId) -> Result<Option<RunRecord>, JournalError> {
        Ok(None)
    }
}

/// A frame as a session hands it in.
#[derive(Clone, Debug)]
pub struct FrameDraft {
    /// When its last byte crossed.
    pub at: Stamp,
    /// Which way.
    pub direction: Direction,
    /// What it is.
    pub kind: FrameKind,
    /// Its bytes.
    pub body: Body,
    /// How many crossed the wire.
    pub size: u64,
    /// The call that it belongs to.
    pub call: Option<CallId>,
    /// Its method, or that of the request it answers.
    pub method: Option<Arc<str>>,
    /// Its JSON-RPC id.
    pub rpc_id: Option<Arc<str>>,
    /// Its HTTP side.
    pub http: Option<Arc<HttpNote>>,
}
