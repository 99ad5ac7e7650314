//! Connections of clients to an engine in this process, and what each may do.

use std::sync::Arc;

use futures_util::FutureExt;
use serde::{Deserialize, Serialize};

use super::{
    Command, CommandError, Control, Filter, Interest, LocalControl, PendingCall, PendingReply, PendingWorkspaceReply, Served, Tail,
    Workspace, WorkspaceError, WorkspaceRequest, WorkspaceState,
};
use crate::{
    domain::{call::CallSpec, id::ClientId},
    engine::Engine,
    state::ConsoleState,
};

/// What a client may do and see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A person at a console or a command line: every command, every call, every question.
    Operator,
    /// A program: its own calls and the questions of servers about them.
    Client,
}

/// The identity of a caller of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Its id, which its calls and questions carry.
    pub id: ClientId,
    /// Its role.
    pub role: Role,
}

impl Caller {
    /// The faces of this process.
    pub const LOCAL: Caller = Caller { id: ClientId::LOCAL, role: Role::Operator };

    /// Returns the filter of the caller's events.
    pub fn filter(self, interest: Interest) -> Filter {
        Filter { interest, client: (self.role == Role::Client).then_some(self.id) }
    }

    /// Returns whether the caller may give a command.
    pub fn check(self, engine: &Engine, command: &Command) -> Result<(), CommandError> {
        if self.role == Role::Operator {
            return Ok(());
        }
        let (owner, missing) = match command {
            Command::Cancel { call, .. } => (engine.client_of_call(*call), CommandError::CallNotInFlight { call: *call }),
            Command::Answer { ask, .. } => (engine.client_of_question(*ask), CommandError::QuestionClosed),
            _ => return Err(CommandError::NotPermitted),
        };
        match owner {
            Some(owner) if owner == self.id => Ok(()),
            Some(_) => Err(CommandError::NotPermitted),
            None => Err(missing),
        }
    }
}

/// A connection of a client to an engine in this process.
///
/// When it is dropped, the calls of a client that is not an operator are cancelled: nothing can receive their results.
pub struct ClientControl {
    control: Arc<LocalControl>,
    caller: Caller,
}

impl ClientControl {
    pub(super) fn new(control: Arc<LocalControl>, caller: Caller) -> ClientControl {
        ClientControl { control, caller }
    }

    /// Returns the role of the client.
    pub fn role(&self) -> Role {
        self.caller.role
    }

    /// Returns what is served to the client over a stream of bytes.
    pub fn served(self: &Arc<Self>) -> Served {
        Served { control: self.clone(), role: self.caller.role, instance: self.control.instance(), secrets: self.control.secrets().clone() }
    }
}

impl Drop for ClientControl {
    fn drop(&mut self) {
        if self.caller.role == Role::Client {
            self.control.cancel_client(self.caller.id, "the client disconnected");
        }
    }
}

impl Control for ClientControl {
    fn client(&self) -> ClientId {
        self.caller.id
    }

    fn observe(&self, interest: Interest) -> (Arc<ConsoleState>, Tail) {
        self.control.observe_as(self.caller, interest)
    }

    fn submit(&self, spec: CallSpec) -> PendingCall {
        self.control.submit_as(self.caller, spec)
    }

    fn command(&self, command: Command) -> PendingReply {
        self.control.command_as(self.caller, command)
    }

    fn workspace(&self) -> Arc<dyn Workspace> {
        let workspace = self.control.workspace();
        match self.caller.role {
            Role::Operator => workspace,
            Role::Client => Arc::new(OperatorsOnly(workspace)),
        }
    }
}

/// The workspace as a client sees it that is not an operator: its state, without requests.
struct OperatorsOnly(Arc<dyn Workspace>);

impl Workspace for OperatorsOnly {
    fn state(&self) -> tokio::sync::watch::Receiver<WorkspaceState> {
        self.0.state()
    }

    fn request(&self, _: WorkspaceRequest) -> PendingWorkspaceReply {
        std::future::ready(Err(WorkspaceError::NotPermitted)).boxed()
    }
}
