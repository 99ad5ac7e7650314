//! The workspace as faces see it.

use async_trait::async_trait;
use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::watch;

pub use crate::domain::workspace::{WorkspaceError, WorkspaceReply, WorkspaceRequest, WorkspaceState};
use crate::domain::{
    id::ServerId,
    server::ServerSpec,
    workspace::{LoginEnd, LoginStarted},
};

/// The reply to a request, when it is known.
pub type PendingWorkspaceReply = BoxFuture<'static, Result<WorkspaceReply, WorkspaceError>>;

/// The interface of a face to the workspace: configuration, approvals, imports, workflow library, and what earlier sessions
/// left.
pub trait Workspace: Send + Sync {
    /// Returns the current state, which is replaced when it changes. A slow reader misses states, never the last one.
    fn state(&self) -> watch::Receiver<WorkspaceState>;
    /// Makes a request. Requests that change the session take effect in the order of the calls, whether or not the reply is
    /// awaited.
    fn request(&self, request: WorkspaceRequest) -> PendingWorkspaceReply;
}

/// The logins of servers, for a workspace.
#[async_trait]
pub trait Logins: Send + Sync {
    /// Starts a login at a server, which asks for these scopes; its end is awaited in the background. Fails with the reason.
    async fn start(&self, spec: &ServerSpec, scopes: &[String]) -> Result<LoginStarted, String>;

    /// Waits for the end of the login at a server that began last.
    async fn ended(&self, server: &ServerId) -> LoginEnd;

    /// Passes on the address to which the browser was sent at the end of a login. Fails with the reason.
    async fn finish(&self, server: &ServerId, address: &str) -> Result<(), String>;
}

/// The workspace of an engine that has none, as in tests. It refuses all requests.
pub struct NoWorkspace(watch::Sender<WorkspaceState>);

impl Default for NoWorkspace {
    fn default() -> NoWorkspace {
        NoWorkspace(watch::Sender::new(WorkspaceState::default()))
    }
}

impl Workspace for NoWorkspace {
    fn state(&self) -> watch::Receiver<WorkspaceState> {
        self.0.subscribe()
    }

    fn request(&self, _: WorkspaceRequest) -> PendingWorkspaceReply {
        std::future::ready(Err(WorkspaceError::Unavailable)).boxed()
    }
}
