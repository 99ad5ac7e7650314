//! A recorded session as an engine that observers see: its state never changes, and nothing can be called.

use std::sync::Arc;

use futures_util::FutureExt;

use super::{
    Command, CommandError, Control, Filter, Interest, NoWorkspace, PendingCall, PendingReply, SubmitError, Tail, TailSender, Workspace,
};
use crate::{
    domain::{call::CallSpec, id::ClientId},
    engine::tail::MAX_EVENTS,
    state::ConsoleState,
};

/// A recorded session.
pub struct RecordedSession {
    state: Arc<ConsoleState>,
    /// Open as long as the session, so that observers wait instead of ending.
    tails: TailSender,
    workspace: Arc<dyn Workspace>,
}

impl RecordedSession {
    /// Creates a session with this state.
    pub fn new(state: ConsoleState) -> Arc<RecordedSession> {
        let workspace = Arc::<NoWorkspace>::default();
        Arc::new(RecordedSession { state: Arc::new(state), tails: TailSender::new(MAX_EVENTS), workspace })
    }
}

impl Control for RecordedSession {
    fn client(&self) -> ClientId {
        ClientId::LOCAL
    }

    fn observe(&self, interest: Interest) -> (Arc<ConsoleState>, Tail) {
        let tail = self.tails.subscribe_to(self.state.seq, Filter { interest, ..Filter::default() });
        (self.state.clone(), tail)
    }

    fn submit(&self, _: CallSpec) -> PendingCall {
        std::future::ready(Err(SubmitError::ReadOnly)).boxed()
    }

    fn command(&self, _: Command) -> PendingReply {
        std::future::ready(Err(CommandError::ReadOnly)).boxed()
    }

    fn workspace(&self) -> Arc<dyn Workspace> {
        self.workspace.clone()
    }
}
