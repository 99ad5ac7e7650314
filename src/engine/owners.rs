//! The owners of events: which client an event concerns.

use std::collections::HashMap;

use crate::domain::{
    event::EventKind,
    id::{AskId, CallId, ClientId},
};

/// The clients of calls in flight and of open questions. Those of [`ClientId::LOCAL`] are not stored.
#[derive(Debug, Default)]
pub struct Owners {
    calls: HashMap<CallId, ClientId>,
    questions: HashMap<AskId, ClientId>,
}

impl Owners {
    /// Returns the client that the next event concerns; `None` if it concerns no client, such as the state of a server.
    ///
    /// Runs, notices and the clients themselves concern [`ClientId::LOCAL`], and so does an event of a call that has settled.
    pub fn owner(&mut self, kind: &EventKind) -> Option<ClientId> {
        match kind {
            EventKind::CallQueued { call, spec } => {
                if !spec.client.is_local() {
                    self.calls.insert(*call, spec.client);
                }
                Some(spec.client)
            }
            EventKind::CallSent { call, .. } | EventKind::CallStage { call, .. } | EventKind::CallProgress { call, .. } => {
                Some(self.of(*call))
            }
            EventKind::CallSettled { call, .. } => Some(self.calls.remove(call).unwrap_or_default()),
            EventKind::Frame { frame } => frame.call.map(|call| self.of(call)),
            EventKind::ServerLog { log, .. } => log.call.map(|call| self.of(call)),
            EventKind::ServerAnomaly { anomaly, .. } => anomaly.call.map(|call| self.of(call)),
            EventKind::AskOpened { ask } => {
                if !ask.client.is_local() {
                    self.questions.insert(ask.id, ask.client);
                }
                Some(ask.client)
            }
            EventKind::AskClosed { ask, .. } => Some(self.questions.remove(ask).unwrap_or_default()),
            EventKind::RunStarted { .. }
            | EventKind::RunStep { .. }
            | EventKind::RunSettled { .. }
            | EventKind::ClientConnected { .. }
            | EventKind::ClientDisconnected { .. }
            | EventKind::ClientSessions { .. }
            | EventKind::Notice { .. } => Some(ClientId::LOCAL),
            EventKind::ServerAdded { .. }
            | EventKind::ServerRemoved { .. }
            | EventKind::ServerPhase { .. }
            | EventKind::ServerInfo { .. }
            | EventKind::ServerListed { .. }
            | EventKind::ServerStderr { .. }
            | EventKind::ResourceSubscribed { .. }
            | EventKind::ResourceUpdated { .. }
            | EventKind::Breaker { .. }
            | EventKind::Rules { .. }
            | EventKind::Cache { .. }
            | EventKind::FaultSet { .. } => None,
        }
    }

    fn of(&self, call: CallId) -> ClientId {
        self.calls.get(&call).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{
        ask::{Ask, AskEnd, Question},
        call::{CallSpec, Operation, Origin, Outcome, Timings},
        event::Settled,
        time::Stamp,
    };

    #[test]
    fn events_of_a_call_and_its_question_concern_its_client() {
        let mut owners = Owners::default();
        let (call, client) = (CallId(1), ClientId(7));
        let operation = Operation::Resource { server: "s".into(), uri: "u".into() };
        let spec = Arc::new(CallSpec { client, ..CallSpec::new(operation, Origin::Cli) });
        assert_eq!(owners.owner(&EventKind::CallQueued { call, spec }), Some(client));
        let ask = Ask { id: AskId(2), server: "s".into(), call: Some(call), question: Question::Roots, at: Stamp(0), run: None, client };
        assert_eq!(owners.owner(&EventKind::AskOpened { ask: Arc::new(ask) }), Some(client));
        assert_eq!(owners.owner(&EventKind::CallSent { call, round: 1 }), Some(client));
        assert_eq!(owners.owner(&EventKind::AskClosed { ask: AskId(2), how: AskEnd::Answered }), Some(client));
        let settled = Arc::new(Settled {
            outcome: Outcome::Cancelled { reason: String::new() },
            timings: Timings::default(),
            rounds: 1,
            sent_bytes: 0,
            received_bytes: 0,
            attempts: 0,
            by: None,
            cached: None,
        });
        assert_eq!(owners.owner(&EventKind::CallSettled { call, settled }), Some(client));
        assert_eq!(owners.owner(&EventKind::CallSent { call, round: 2 }), Some(ClientId::LOCAL));
        assert_eq!(owners.owner(&EventKind::ServerRemoved { server: "s".into() }), None);
        assert!(owners.calls.is_empty() && owners.questions.is_empty());
    }
}
