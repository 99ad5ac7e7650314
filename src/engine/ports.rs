//! The engine's ports: traits that its adapters implement, and traits that it implements for them.
//!
//! `mcp` implements [`Connector`] and [`Session`], `store` implements [`Journal`] and
//! [`CatalogStore`]; the engine implements
//! [`ClientHandler`] and [`RequestObserver`].

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::domain::{
    body::Body,
    call::{CallSpec, Failure, Operation, Outcome, RpcError},
    capabilities::ClientCapabilities,
    catalog::RawLists,
    client::{Behalf, ClientInfo, Face, Principal},
    event::{LogLevel, Settled},
    frame::Anomaly,
    id::{Attribution, CallId, InstanceId, ServerId},
    journal::{RunEntry, RunRecord, Seq},
    login::LoginWanted,
    pins::Pins,
    policy::{
        cache::CachedResponse,
        call_event::Resend,
        pattern::Pattern,
        target_state::{self, TargetState},
    },
    run::RunId,
    secret::{Secret, SecretRegistry},
    server::{ConnectFailure, Era, Exit, ServerSpec, SessionInfo, Step},
    stored_catalog::{CatalogKey, Hash, StoredCatalog},
    time::Stamp,
};
pub use crate::domain::{call::Reply, frame::FrameDraft};

/// Connects to servers.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Connects and performs the handshake, within `spec.timeouts.connect`.
    ///
    /// `known` is the era that the server spoke in the last connection and saves the probe. `behalf` is the client that the
    /// session belongs to; without one the session is that of the engine, which all share. The session reports everything that it
    /// observes to `handler`. Dropping the future cancels the attempt; processes and connections that it started end in the
    /// background.
    async fn connect(
        &self,
        spec: Arc<ServerSpec>,
        known: Option<Era>,
        behalf: Option<Behalf>,
        handler: Arc<dyn ClientHandler>,
    ) -> Result<Arc<dyn Session>, ConnectFailure>;

    /// Returns the capabilities that connections to this server declare.
    fn capabilities(&self, _spec: &ServerSpec) -> ClientCapabilities {
        ClientCapabilities::default()
    }

    /// Returns a receiver that is notified whenever other credentials for servers may be available.
    fn credential_changes(&self) -> Option<watch::Receiver<()>> {
        None
    }

    /// The program is ending: from now on connections close within a second, unless a server's `timeouts.stop` says more.
    fn quit(&self) {}

    /// Resolves when all cancelled attempts have ended. Called at the end of the program.
    async fn settled(&self) {}
}

/// The credentials of servers that are reached over HTTP, such as the tokens of a login.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// Returns the token for a request, refreshed if it is about to expire; `None` to send the request without one.
    async fn bearer(&self, spec: &ServerSpec, who: &Principal) -> Option<Bearer>;

    /// Decides what follows when the server refused a request; `sent` is the generation of the token that it carried.
    async fn refused(&self, spec: &ServerSpec, who: &Principal, refusal: Refusal, sent: Option<u64>) -> CredentialVerdict;

    /// Returns a receiver that is notified whenever other credentials may be available, also those of another process.
    fn changes(&self) -> watch::Receiver<()>;
}

/// A token for one request.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The token.
    pub value: Secret,
    /// Counts the tokens of a server and a principal.
    pub generation: u64,
}

/// The refusal of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status: 401, or 403.
    pub status: u16,
    /// The values of `WWW-Authenticate` (RFC 9110, section 11.6.1).
    pub challenges: Vec<String>,
    /// The URL of the request.
    pub url: String,
    /// The address that refused it, if the connection was direct.
    pub peer: Option<IpAddr>,
}

/// What follows the refusal of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialVerdict {
    /// There is another token: send the same request once more. It was refused before it ran.
    Again,
    /// A user must log in.
    NeedsLogin(LoginWanted),
    /// No login helps, for this reason.
    Denied(String),
}

/// A connection to a server.
#[async_trait]
pub trait Session: Send + Sync {
    /// Returns what the server declared about itself.
    fn info(&self) -> Arc<SessionInfo>;

    /// Returns whether the era is a property of the server, so that it may be remembered. An era that was used because the probe
    /// decided nothing is not.
    fn era_certain(&self) -> bool {
        true
    }

    /// Returns the capabilities that were declared to the server.
    fn capabilities(&self) -> Arc<ClientCapabilities> {
        Arc::default()
    }

    /// Sends one request and waits for its response without a time limit: the caller owns the deadline. Dropping the future
    /// cancels the request by the rule of the transport and the era (`notifications/cancelled`, or closing the stream).
    async fn request(&self, request: Request, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure>;

    /// Sends a notification.
    async fn notify(&self, method: &str, params: Body) -> Result<(), Failure>;

    /// Reads all lists that the server declares, within `spec.limits`.
    async fn lists(&self) -> Result<RawLists, Failure>;

    /// Subscribes to updates of a resource, or unsubscribes. The updates arrive as `notifications/resources/updated`.
    async fn subscribe(&self, uri: &str, change: SubscriptionChange) -> Result<(), Failure>;

    /// Requests log messages of this level and above.
    async fn set_log_level(&self, _level: &LogLevel) -> Result<(), Failure> {
        Ok(())
    }

    /// Runs a health check: `ping`, or `server/discover` in eras without ping.
    async fn check(&self) -> Result<(), Failure>;

    /// Resolves when the connection is lost, with the reason.
    async fn closed(&self) -> Arc<ConnectFailure>;

    /// Shuts the connection down: end of input, then SIGTERM, then SIGKILL to the whole process group, or DELETE of an HTTP
    /// session. Returns when all its processes and connections have ended.
    async fn close(&self) -> Exit;
}

/// The store of the response cache, in this process or shared with others. Never fails a call: an error is a miss.
#[async_trait]
pub trait ResponseCache: Send + Sync {
    /// `memory` or `redis`.
    fn name(&self) -> &'static str;
    /// Whether other processes read the store, so that private responses must not be stored.
    fn shared(&self) -> bool;
    /// Returns the response cached under this key, fresh or stale.
    async fn get(&self, key: &str) -> Option<CachedResponse>;
    /// Caches a response until it expires.
    async fn put(&self, key: &str, response: CachedResponse);
    /// Removes the response cached under this key, if there is one.
    async fn forget(&self, key: &str);
    /// Returns the value that a process shares under this key. `None` also for a store that no other process reads.
    async fn shared_value(&self, _key: &str) -> Option<Vec<u8>> {
        None
    }
    /// Shares a value with the other processes that read the store. A purge does not remove it.
    async fn share_value(&self, _key: &str, _value: &[u8], _lasts: Duration) {}
    /// Removes the responses of the tools whose exposed names match. Returns how many.
    async fn purge(&self, pattern: &Pattern) -> Result<u64, String>;
    /// Returns the current problem of the store, for the user.
    fn trouble(&self) -> Option<String>;
    /// Changes whenever `trouble` changes.
    fn changed(&self) -> watch::Receiver<()>;
}

/// Executes the calls of runs: the engine's dispatch.
pub trait CallExecutor: Send + Sync {
    /// Queues a call. The future runs it while it is polled, and resolves when the call has settled, with `None` if the executor
    /// has ended. Dropped before that, it continues the call as a task.
    fn call(&self, spec: CallSpec) -> (CallId, BoxFuture<'static, Option<Arc<Settled>>>);

    /// Cancels a call, if it is in flight.
    fn cancel(&self, call: CallId, reason: &str);

    /// Returns on whose behalf the calls are made.
    fn principal(&self) -> Principal {
        Principal::local()
    }
}

/// Whether to start or to end a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// Start it (`resources/subscribe`).
    Subscribe,
    /// End it (`resources/unsubscribe`).
    Unsubscribe,
}

/// A request to send.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The method.
    pub method: String,
    /// `params` as a JSON object; omitted from the message when empty. The session adds `_meta`.
    pub params: Body,
    /// Members to pass on in `_meta`, a JSON object or empty. Members that the session sets itself have priority.
    pub meta: Body,
    /// What a modern server is to see of the client that the request is made for; `None` for the face of the session. A legacy
    /// server has seen the client at the start of the session.
    pub face: Option<Arc<Face>>,
    /// On whose behalf the request is made: the credentials are theirs.
    pub principal: Principal,
    /// The call that the request belongs to; `None` for the engine's own requests.
    pub call: Option<CallId>,
    /// Whether a request of a call asks for progress.
    pub progress: ProgressRequest,
    /// Whether the policy allows the request to be sent again after it may have run ([`verdict::may_resend`]). Requests of the
    /// engine change nothing on the server, so they are repeatable.
    ///
    /// [`verdict::may_resend`]: crate::domain::policy::verdict::may_resend
    pub repeatable: bool,
}

/// Whether a request of a call asks the server for progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressRequest {
    /// With a token.
    #[default]
    Asked,
    /// Nobody waits for it.
    Omitted,
}

/// Observes a request in flight.
pub trait RequestObserver: Send + Sync {
    /// The last byte of the request was handed to the operating system.
    fn sent(&self, at: Stamp, bytes: u64);
    /// The server reported progress: the raw `params` of the notification ([`Progress::read`]).
    ///
    /// [`Progress::read`]: crate::domain::call::Progress::read
    fn progress(&self, params: &Body);
    /// Returns why the caller cancelled the request, for `notifications/cancelled`.
    fn reason(&self) -> String;
    /// A response arrived after the request was cancelled.
    fn late(&self, _at: Stamp) {}
    /// The session was lost; the request is sent again in a new session.
    fn resent(&self, _cause: Resend) {}
}

/// Observes one connection: handshake steps, frames, notifications, anomalies and stderr of a server.
pub trait ConnectionObserver: Send + Sync {
    /// Returns the time on the engine's clock.
    fn now(&self) -> Stamp;
    /// A connection attempt begins. Discards the stderr lines of the previous process, which do not explain later failures.
    fn fresh_start(&self);
    /// A step of the handshake begins.
    fn step(&self, step: Step);
    /// Returns the step that began last.
    fn at_step(&self) -> Step;
    /// A secret was received or is about to be sent. From now on it is masked wherever it appears.
    fn secret(&self, _secret: &Secret) {}
    /// A frame crossed the wire. Returns its number.
    fn frame(&self, frame: FrameDraft) -> u64;
    /// The server violated the protocol.
    fn anomaly(&self, anomaly: Anomaly);
    /// The server wrote a line to stderr.
    fn stderr(&self, line: &str);
    /// Returns the last lines of stderr, oldest first, at most `count`.
    fn last_stderr(&self, count: usize) -> Vec<String>;
    /// The server sent a notification that the session does not handle itself.
    fn notification(&self, method: &str, params: &Body, call: Attribution);
    /// The session was lost and reopened within the connection. Lists and subscriptions belong to the old session.
    fn renewed(&self) {}
    /// The server does not provide updates of these resources, for the reason `why`.
    fn unsubscribed(&self, _uris: &[String], _why: &str) {}
}

/// Answers the requests that a server sends to its client: elicitation, sampling and roots.
#[async_trait]
pub trait ClientHandler: ConnectionObserver {
    /// Resolves with the answer to a request of the server that the declared capabilities allow: its `result`, or an error.
    /// Method and `params` are those of the message. Dropping the future withdraws the request.
    async fn ask(&self, method: &str, params: Body, call: Attribution) -> Result<Body, RpcError>;
}

/// Publishes the calls of a client over a connection that this process only observes.
pub trait ObservedCalls: Send + Sync {
    /// The client described itself.
    fn described(&self, info: ClientInfo);
    /// The client sent a request at this time. Returns its call, and when it began.
    fn began(&self, operation: Operation, at: Stamp) -> (CallId, Stamp);
    /// The call ended at this time, with the sizes of request and response in bytes.
    fn ended(&self, call: (CallId, Stamp), outcome: Outcome, bytes: (u64, u64), at: Stamp);
}

/// The journal of workflow runs, from which an interrupted run is resumed.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends entries to a run, in order, all or none, and returns the number of the last one. `after` is the number of the
    /// run's last entry; if the journal has another one, nothing is written and the error is [`JournalError::Fenced`]. After the
    /// return, the entries survive the death of the process.
    async fn append(&self, run: RunId, after: Seq, entries: Arc<[RunEntry]>) -> Result<Seq, JournalError>;

    /// Returns all entries of a run; `None` if there are none.
    async fn load(&self, run: RunId) -> Result<Option<RunRecord>, JournalError>;

    /// Takes the lease of a run for this process until the returned lease is dropped; `None` if another process has it. The lease
    /// of a journal that no other process can read is [`Unshared`].
    async fn lease(&self, _: RunId) -> Result<Option<Box<dyn RunLease>>, JournalError> {
        Ok(Some(Box::new(Unshared)))
    }

    /// Takes the lease of a concurrency group, as [`Journal::lease`] does for a run.
    async fn lease_group(&self, _: &str) -> Result<Option<Box<dyn RunLease>>, JournalError> {
        Ok(Some(Box::new(Unshared)))
    }
}

/// The exclusive right of a process to execute a run, or a run of a group; released on drop.
pub trait RunLease: Send + Sync {
    /// Returns whether this process still has the lease. Asked right before a request of the run is sent, so it must not block
    /// for long and decides by no wall clock.
    fn may_send(&self) -> bool;
}

/// The lease of what no other process can take.
#[derive(Clone, Copy, Debug)]
pub struct Unshared;

impl RunLease for Unshared {
    fn may_send(&self) -> bool {
        true
    }
}

/// The journal could not be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Another process has written entries of the run: it executes the run now.
    #[error("another process has taken over the run")]
    Fenced,
    /// The journal is not available or damaged; the reason is for the user.
    #[error("{0}")]
    Failed(String),
}

/// A journal that stores nothing: runs cannot be resumed.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

#[async_trait]
impl Journal for NoJournal {
    async fn append(&self, _: RunId, after: Seq, entries: Arc<[RunEntry]>) -> Result<Seq, JournalError> {
        Ok(after.plus(entries.len()))
    }

    async fn load(&self, _: RunId) -> Result<Option<RunRecord>, JournalError> {
        Ok(None)
    }
}

/// The history of calls.
pub trait History: Send + Sync {
    /// Takes a settled call. Called where the call settles, so it neither blocks nor waits: a call that cannot be taken is
    /// counted and lost.
    fn record(&self, call: SettledCall);

    /// Takes a request of a connection itself that has its response: the handshake, or a list. The origin of its specification has no
    /// meaning.
    fn record_lifecycle(&self, _request: SettledCall) {}
}

/// A call that has settled.
#[derive(Clone, Debug)]
pub struct SettledCall {
    /// The run of the engine.
    pub instance: InstanceId,
    /// The call.
    pub call: CallId,
    /// When it was requested, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The exposed name of the tool, or what was read or requested.
    pub name: String,
    /// The request.
    pub spec: Arc<CallSpec>,
    /// The end.
    pub settled: Arc<Settled>,
    /// The secrets to mask in whatever is stored.
    pub secrets: SecretRegistry,
}

/// A history that stores nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHistory;

impl History for NoHistory {
    fn record(&self, _: SettledCall) {}
}

/// The store of what outlives the process about servers: their last known catalogs, eras and the state of breakers. Never fails its caller: an error is a missing catalog, and is logged.
#[async_trait]
pub trait CatalogStore: Send + Sync {
    /// Returns the catalog stored under this key.
    async fn load(&self, key: &CatalogKey) -> Option<StoredCatalog>;

    /// Replaces the catalog stored under this key. If the new one cannot be stored, the key has none afterwards.
    async fn save(&self, key: &CatalogKey, catalog: StoredCatalog);

    /// Stores what a server defines, as one more version of each definition that changed ([`crate::domain::drift`]).
    async fn save_definitions(&self, _server: &ServerId, _key: &CatalogKey, _catalog: &StoredCatalog) {}

    /// Returns which definitions of tools the user accepted.
    async fn pins(&self, _server: &ServerId, _launch: &Hash) -> Pins {
        Pins::FirstContact
    }

    /// Returns the era that a server with this launch fingerprint spoke, if that was stored recently enough at `now_ms`
    /// (milliseconds since the Unix epoch).
    async fn era(&self, _launch: &Hash, _now_ms: u64) -> Option<Era> {
        None
    }

    /// Stores the era of a server at `now_ms`, or deletes it.
    async fn save_era(&self, _launch: &Hash, _era: Option<Era>, _now_ms: u64) {}

    /// Returns the state stored under this key ([`target_state::key`]) and its age at `now_ms`, unless it is older than
    /// [`target_state::MAX_AGE`].
    async fn target_state(&self, _key: &Hash, _now_ms: u64) -> Option<(TargetState, Duration)> {
        None
    }

    /// Stores a state at `now_ms`. One that is empty deletes the stored one.
    async fn save_target_state(&self, _key: &Hash, _state: TargetState, _now_ms: u64) {}
}

/// A store that stores no catalogs.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoCatalogs;

#[async_trait]
impl CatalogStore for NoCatalogs {
    async fn load(&self, _: &CatalogKey) -> Option<StoredCatalog> {
        None
    }

    async fn save(&self, _: &CatalogKey, _: StoredCatalog) {}
}

/// A store of catalogs in memory, without limits, for tests.
#[derive(Debug, Default)]
pub struct MemoryCatalogs {
    catalogs: Mutex<HashMap<CatalogKey, StoredCatalog>>,
    eras: Mutex<HashMap<Hash, Era>>,
    states: Mutex<HashMap<Hash, (TargetState, u64)>>,
}

#[async_trait]
impl CatalogStore for MemoryCatalogs {
    async fn load(&self, key: &CatalogKey) -> Option<StoredCatalog> {
        self.catalogs.lock().get(key).cloned()
    }

    async fn save(&self, key: &CatalogKey, catalog: StoredCatalog) {
        self.catalogs.lock().insert(*key, catalog);
    }

    async fn era(&self, launch: &Hash, _: u64) -> Option<Era> {
        self.eras.lock().get(launch).copied()
    }

    async fn save_era(&self, launch: &Hash, era: Option<Era>, _: u64) {
        match era {
            Some(era) => self.eras.lock().insert(*launch, era),
            None => self.eras.lock().remove(launch),
        };
    }

    async fn target_state(&self, key: &Hash, now_ms: u64) -> Option<(TargetState, Duration)> {
        let (state, stored_ms) = self.states.lock().get(key).cloned()?;
        let age = Duration::from_millis(now_ms.checked_sub(stored_ms)?);
        (age <= target_state::MAX_AGE).then_some((state, age))
    }

    async fn save_target_state(&self, key: &Hash, state: TargetState, now_ms: u64) {
        self.states.lock().insert(*key, (state, now_ms));
    }
}
