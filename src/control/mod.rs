//! Control: the only interface between faces and the engine.

mod local;
mod workspace;

use std::sync::Arc;

pub use self::{
    local::LocalControl,
    workspace::{NoWorkspace, PendingWorkspaceReply, Workspace, WorkspaceError, WorkspaceReply, WorkspaceRequest, WorkspaceState},
};
pub use crate::{
    domain::command::{Command, CommandError, Reply},
    engine::PendingReply,
    engine::tail::{Lagged, Tail, TailSender},
};
use crate::{
    domain::{
        call::CallSpec,
        event::{Event, EventKind, Settled},
        id::CallId,
    },
    state::ConsoleState,
};

/// The interface of a face to an engine, in this process or in another.
///
/// No method waits. The effects of a command are events; its reply goes to the face that gave it.
pub trait Control: Send + Sync {
    /// Returns the full state and a tail of all later events, without gap or duplicate.
    fn watch(&self) -> (Arc<ConsoleState>, Tail);
    /// Starts a call and returns its id.
    fn submit(&self, spec: CallSpec) -> CallId;
    /// Gives a command. Commands take effect in the order of the calls, whether or not the reply is awaited.
    fn command(&self, command: Command) -> PendingReply;
    /// Returns the workspace of the engine.
    fn workspace(&self) -> Arc<dyn Workspace>;
}

/// Starts a call and waits until it settles. Calls `on_event` with every event meanwhile. Returns `None` if the engine was
/// dropped.
pub async fn run(control: &dyn Control, spec: CallSpec, mut on_event: impl FnMut(&Event)) -> Option<(CallId, Arc<Settled>)> {
    let (_, mut tail) = control.watch();
    let id = control.submit(spec);
    loop {
        match tail.next().await {
            Ok(Some(event)) => {
                on_event(&event);
                match &event.kind {
                    EventKind::CallSettled { call, settled } if *call == id => return Some((id, settled.clone())),
                    _ => {}
                }
            }
            Ok(None) => return None,
            Err(Lagged { .. }) => {
                let (read_model, new_tail) = control.watch();
                tail = new_tail;
                match read_model.call(id) {
                    Some(call) => {
                        if let Some(settled) = &call.settled {
                            return Some((id, settled.clone()));
                        }
                    }
                    None => return None,
                }
            }
        }
    }
}
