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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A person at a console: every command, every call, every question.
    Operator,
    /// A person who watches: everything is seen, and nothing can be changed.
    #[default]
    Observer,
    /// A command of a person or script: like an operator, but its calls are cancelled when it disconnects.
    Headless,
    /// A program: its own calls and the questions of servers about them.
    Client,
}

impl Role {
    /// Returns whether a client of this role sees what other clients do.
    pub fn sees_all(self) -> bool {
        self != Role::Client
    }

    /// Returns whether a client of this role may give every command.
    pub fn operates(self) -> bool {
        matches!(self, Role::Operator | Role::Headless)
    }

    /// Returns whether the calls of a client of this role end with its connection.
    fn calls_end_with_connection(self) -> bool {
        matches!(self, Role::Headless | Role::Client)
    }
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
        Filter { interest, client: (!self.role.sees_all()).then_some(self.id), ..Filter::default() }
    }

    /// Returns whether the caller may give a command.
    pub fn check(self, engine: &Engine, command: &Command) -> Result<(), CommandError> {
        match self.role {
            Role::Operator | Role::Headless => return Ok(()),
            Role::Observer => return Err(CommandError::ReadOnly),
            Role::Client => {}
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
/// When it is dropped, the calls of a program or a headless command are cancelled: nothing can receive their results.
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
        if self.caller.role.calls_end_with_connection() {
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
        match self.caller.role.operates() {
            true => workspace,
            false => Arc::new(OperatorsOnly(workspace)),
        }
    }
}

/// The workspace as a client sees it that operates nothing: its state, without requests.
struct OperatorsOnly(Arc<dyn Workspace>);

impl Workspace for OperatorsOnly {
    fn state(&self) -> tokio::sync::watch::Receiver<WorkspaceState> {
        self.0.state()
    }

    fn request(&self, _: WorkspaceRequest) -> PendingWorkspaceReply {
        std::future::ready(Err(WorkspaceError::NotPermitted)).boxed()
    }
}
