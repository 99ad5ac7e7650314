//! What the gateway needs of the engine, as a trait: its border, on which it is tested without servers.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use crate::{
    domain::{
        call::CallSpec,
        client::ClientInfo,
        directory::DirectorySnapshot,
        event::{LogLevel, Settled},
        id::{CallId, ClientId, ServerId},
        run::{RunId, RunReport, RunSpec, StepAnswer, StepView},
        time::Stamp,
        workflow::library::WorkflowEntry,
    },
    engine::passage::Passage,
};

/// The servers behind the gateway.
pub trait Upstream: Send + Sync {
    /// Returns the servers with their lists, as they are now.
    fn directory(&self) -> DirectorySnapshot;

    /// Returns the time on the clock of the engine, as in [`DirectorySnapshot`].
    fn now(&self) -> Stamp;

    /// Returns a receiver that is notified after every change of [`Upstream::directory`].
    fn directory_changes(&self) -> watch::Receiver<u64>;

    /// Returns the id of a new client.
    fn next_client(&self) -> ClientId;

    /// Reports that a client connected, or describes itself in another way.
    fn client_connected(&self, client: ClientId, info: Arc<ClientInfo>);

    /// Reports that a client disconnected.
    fn client_disconnected(&self, client: ClientId);

    /// Starts a call of a client. The future resolves when the call has settled, with `None` if the engine has ended. Dropping it
    /// does not cancel the call.
    fn pass(&self, spec: CallSpec, passage: Passage) -> (CallId, BoxFuture<'static, Option<Arc<Settled>>>);

    /// Cancels a call, if it is in flight.
    fn cancel(&self, call: CallId, reason: &str);

    /// Subscribes to updates of a resource, or unsubscribes. Does not wait.
    fn subscribe(&self, server: &ServerId, uri: &str, on: bool);

    /// Sets the minimum level of the log messages that a server sends. Does not wait.
    fn set_log_level(&self, server: &ServerId, level: &LogLevel);

    /// Returns the time in milliseconds since the Unix epoch.
    fn unix_ms(&self) -> u64;

    /// Returns the workflows as they are now; the receiver is notified of changes.
    fn workflows(&self) -> watch::Receiver<Arc<[WorkflowEntry]>>;

    /// Starts a run of a client. Fails with the reason.
    fn start_run(&self, run: RunId, spec: RunSpec, passage: Passage) -> Result<RunInProgress, String>;

    /// Resumes a suspended run of a client with the answers to its questions. A run that has ended reports its end again. Fails
    /// with the reason.
    fn resume_run(&self, run: RunId, answers: Vec<(String, StepAnswer)>, passage: Passage) -> Result<RunInProgress, String>;

    /// Cancels a run, if it is active.
    fn cancel_run(&self, run: RunId, reason: &str);

    /// Returns what servers send outside of calls, from now on.
    fn notices(&self) -> mpsc::Receiver<ServerNotice>;
}

/// A run that was started or resumed.
pub struct RunInProgress {
    /// The states of its steps as they change, by their ids. Some may be missing.
    pub steps: mpsc::Receiver<(Arc<str>, Arc<StepView>)>,
    /// Its end with the report; `None` if the engine has ended.
    pub end: BoxFuture<'static, Option<Arc<RunReport>>>,
}

/// Something that a server sent outside of calls.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerNotice {
    /// A resource changed.
    Updated {
        /// The server.
        server: ServerId,
        /// The URI by which the server knows the resource.
        uri: String,
    },
    /// A log message.
    Log {
        /// The server.
        server: ServerId,
        /// `level`.
        level: LogLevel,
        /// `logger`.
        logger: Option<String>,
        /// The text of `data`.
        text: String,
    },
    /// Notices were lost, so that any resource may have changed.
    Lost,
}
