//! The engine's handle to a server, its readiness, and the commands to its supervisor.

use std::{ops::Deref, sync::Arc};

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    domain::server::{ConnectFailure, ServerSpec},
    engine::{
        dispatch::scope_of,
        guard::TargetGuard,
        ports::{CatalogStore, Session},
        session_pool::SessionPool,
    },
};

/// A command to a supervisor.
pub enum SupervisorCommand {
    /// Connect a server that waits for its first call. Has no effect on others.
    Start,
    /// Reconnect and forget earlier failures.
    Restart,
    /// Disconnect and stay disconnected until [`SupervisorCommand::Restart`].
    Disable,
    /// Read the lists again.
    Refresh,
    /// Close the connection and end the task.
    Stop(oneshot::Sender<()>),
}

/// Whether calls can be sent.
#[derive(Clone)]
pub enum Readiness {
    /// Not started: the first call starts the server and waits.
    Idle,
    /// Connecting: calls wait. With the failure of the last attempt, if it failed to connect.
    Pending(Option<Arc<ConnectFailure>>),
    /// Connected over this session.
    Ready(Arc<dyn Session>),
    /// Not connected, and waiting does not help.
    Down(Option<Arc<ConnectFailure>>),
}

/// The engine's handle to a server and its supervisor. Cheap to clone: each call clones some.
#[derive(Clone)]
pub struct ServerHandle(Arc<ServerParts>);

/// The parts of a [`ServerHandle`].
#[derive(Clone)]
pub struct ServerParts {
    /// Its configuration.
    pub spec: Arc<ServerSpec>,
    /// Whether calls can be sent.
    pub readiness: watch::Receiver<Readiness>,
    /// The queue of commands to the supervisor.
    pub commands: mpsc::Sender<SupervisorCommand>,
    /// The state that its calls share.
    pub guard: Arc<TargetGuard>,
    /// The own sessions of clients.
    pub pool: Arc<SessionPool>,
    /// The store with the pins of its tools.
    pub catalogs: Arc<dyn CatalogStore>,
    /// What tells its cached responses apart from those of servers with the same name.
    pub cache_scope: Arc<str>,
}

impl Deref for ServerHandle {
    type Target = ServerParts;

    fn deref(&self) -> &ServerParts {
        &self.0
    }
}

impl ServerHandle {
    /// Creates a handle.
    pub fn new(parts: ServerParts) -> ServerHandle {
        ServerHandle(Arc::new(parts))
    }

    /// Returns the handle with another configuration of the same server.
    pub fn with_spec(&self, spec: Arc<ServerSpec>) -> ServerHandle {
        let cache_scope = scope_of(&spec).into();
        ServerHandle::new(ServerParts { spec, cache_scope, ..ServerParts::clone(self) })
    }

    /// Starts the server if it waits for its first call.
    pub fn start(&self) {
        if matches!(&*self.readiness.borrow(), Readiness::Idle) {
            // A full queue has this command already, or one that reconnects.
            let _ = self.commands.try_send(SupervisorCommand::Start);
        }
    }
}

/// When a server is connected first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Startup {
    /// When it is configured.
    Immediate,
    /// When it is needed first.
    OnDemand,
}
