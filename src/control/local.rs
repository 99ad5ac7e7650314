//! The control of an engine in this process: the engine, and the read model that its events are projected into.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use futures_util::FutureExt;

use super::{
    ClientControl, Command, Control, Interest, NoWorkspace, PendingCall, PendingReply, Role, SubmitError, Tail, Workspace, client::Caller,
};
use crate::{
    domain::{call::CallSpec, id::ClientId, retention::Retention},
    engine::{Adapters, Engine, EngineOptions, ports::Connector},
    state::{ConsoleState, projection::Projection},
};

/// An engine with its read model.
pub struct LocalControl {
    engine: Arc<Engine>,
    projection: Arc<Projection>,
    workspace: OnceLock<Arc<dyn Workspace>>,
}

impl LocalControl {
    /// Creates an engine without servers. Must be called within a tokio runtime.
    pub fn new(options: EngineOptions, retention: Retention, connector: Arc<dyn Connector>) -> Arc<LocalControl> {
        LocalControl::with(options, retention, Adapters::new(connector))
    }

    /// Creates an engine that works with these adapters.
    pub fn with(options: EngineOptions, retention: Retention, adapters: Adapters) -> Arc<LocalControl> {
        let projection = Arc::new(Projection::new(ConsoleState::new(options.epoch, &options.separator, retention)));
        let engine = Engine::new(options, adapters, projection.clone());
        Arc::new(LocalControl { engine, projection, workspace: OnceLock::new() })
    }
}

impl LocalControl {
    /// Sets the workspace that faces reach through this control. Has an effect once.
    pub fn attach(&self, workspace: Arc<dyn Workspace>) {
        let _ = self.workspace.set(workspace);
    }
}

impl LocalControl {
    /// Returns the engine, for parts of the program that use more than [`Control`].
    pub fn engine(&self) -> Arc<Engine> {
        self.engine.clone()
    }
}

impl Deref for LocalControl {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl LocalControl {
    /// Opens a connection of a new client.
    pub fn open(self: &Arc<Self>, role: Role) -> Arc<ClientControl> {
        let id = self.engine.next_client();
        Arc::new(ClientControl::new(self.clone(), Caller { id, role }))
    }

    pub(super) fn observe_as(&self, caller: Caller, interest: Interest) -> (Arc<ConsoleState>, Tail) {
        // Subscribed before the snapshot is taken: no event is missing between them, and the tail skips those that the snapshot
        // includes.
        let mut tail = self.engine.tail(caller.filter(interest));
        let state = self.projection.snapshot();
        tail.skip_to(state.seq);
        match caller.role.sees_all() {
            true => (state, tail),
            false => (Arc::new(state.of_client(caller.id)), tail),
        }
    }

    pub(super) fn submit_as(&self, caller: Caller, spec: CallSpec) -> PendingCall {
        let result = match caller.role {
            Role::Observer => Err(SubmitError::ReadOnly),
            _ => self.engine.submit(CallSpec { client: caller.id, ..spec }),
        };
        std::future::ready(result).boxed()
    }

    pub(super) fn command_as(&self, caller: Caller, command: Command) -> PendingReply {
        match caller.check(&self.engine, &command) {
            Ok(()) => self.engine.command(command),
            Err(refusal) => std::future::ready(Err(refusal)).boxed(),
        }
    }
}

impl Control for LocalControl {
    fn client(&self) -> ClientId {
        ClientId::LOCAL
    }

    fn observe(&self, interest: Interest) -> (Arc<ConsoleState>, Tail) {
        self.observe_as(Caller::LOCAL, interest)
    }

    fn submit(&self, spec: CallSpec) -> PendingCall {
        self.submit_as(Caller::LOCAL, spec)
    }

    fn command(&self, command: Command) -> PendingReply {
        self.command_as(Caller::LOCAL, command)
    }

    fn workspace(&self) -> Arc<dyn Workspace> {
        self.workspace.get().cloned().unwrap_or_else(|| Arc::new(NoWorkspace::default()))
    }
}
