//! Control: the only interface between faces and the engine.
//!
//! [`LocalControl`] is the engine of this process. [`ClientControl`] is a connection of one client to it. [`serve()`] serves such a
//! connection over a stream of bytes, and [`RemoteControl`] is the other end.

mod client;
pub mod instances;
mod local;
mod recorded;
mod remote;
mod serve;
pub mod socket;
#[cfg(test)]
pub mod test_support;
#[cfg(test)]
mod tests;
pub mod wire;
mod workspace;

use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use self::{
    client::{ClientControl, Role},
    local::LocalControl,
    recorded::RecordedSession,
    remote::{ConnectError, Dial, RemoteControl, Stream, Wanted},
    serve::{ServeError, Served, serve},
    wire::PROTOCOL,
    workspace::{Logins, NoWorkspace, PendingWorkspaceReply, Workspace, WorkspaceError, WorkspaceReply, WorkspaceRequest, WorkspaceState},
};
pub use crate::{
    domain::command::{Command, CommandError, Reply, SubmitError},
    engine::PendingReply,
    engine::tail::{Filter, Interest, Lagged, Tail, TailSender},
};
use crate::{
    domain::{
        call::CallSpec,
        event::{Event, EventKind, Settled},
        id::{CallId, ClientId},
    },
    state::ConsoleState,
};

/// The id of a submitted call, when it is known, or why the call was not started.
pub type PendingCall = BoxFuture<'static, Result<CallId, SubmitError>>;

/// The interface of a face to an engine, in this process or in another.
///
/// No method waits. Calls and commands take effect in the order of the method calls, whether or not their replies are awaited.
/// The effects are events; the reply goes to the caller only.
pub trait Control: Send + Sync {
    /// Returns the client that this control acts for.
    fn client(&self) -> ClientId;
    /// Returns the full state and a tail of the later events of a kind, without gap or duplicate.
    fn observe(&self, interest: Interest) -> (Arc<ConsoleState>, Tail);
    /// Returns the full state and a tail of all later events, without gap or duplicate.
    fn watch(&self) -> (Arc<ConsoleState>, Tail) {
        self.observe(Interest::All)
    }
    /// Starts a call. The reply is its id.
    fn submit(&self, spec: CallSpec) -> PendingCall;
    /// Gives a command.
    fn command(&self, command: Command) -> PendingReply;
    /// Returns the workspace of the engine.
    fn workspace(&self) -> Arc<dyn Workspace>;
}

/// Starts a call and waits until it settles. Calls `on_event` with every event meanwhile.
///
/// Errors: the call was not started, or the engine ended or dropped the call before it settled.
pub async fn run(control: &dyn Control, spec: CallSpec, mut on_event: impl FnMut(&Event)) -> Result<(CallId, Arc<Settled>), SubmitError> {
    let (_, mut tail) = control.watch();
    let id = control.submit(spec).await?;
    loop {
        match tail.next().await {
            Ok(Some(event)) => {
                on_event(&event);
                match &event.kind {
                    EventKind::CallSettled { call, settled } if *call == id => return Ok((id, settled.clone())),
                    _ => {}
                }
            }
            Ok(None) => return Err(SubmitError::Disconnected),
            Err(Lagged { .. }) => {
                let (read_model, new_tail) = control.watch();
                tail = new_tail;
                match read_model.call(id) {
                    Some(call) => {
                        if let Some(settled) = &call.settled {
                            return Ok((id, settled.clone()));
                        }
                    }
                    None => return Err(SubmitError::Disconnected),
                }
            }
        }
    }
}
