//! The clients of the gateway: which are connected, which were last, and how their calls ended.

use std::sync::Arc;

use imbl::Vector;
use serde::{Deserialize, Serialize};

use crate::domain::{call::Outcome, client::ClientInfo, event::Settled, id::ClientId, time::Stamp};

/// Maximum number of disconnected clients that are retained.
const GONE: usize = 100;

/// A client of the gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientView {
    /// Its id.
    pub id: ClientId,
    /// What it said about itself.
    pub info: Arc<ClientInfo>,
    /// When it connected.
    pub since: Stamp,
    /// When it disconnected; `None` while it is connected.
    pub until: Option<Stamp>,
    /// Number of its calls.
    pub calls: u64,
    /// Number of its calls in flight.
    pub in_flight: usize,
    /// Number of its calls that failed.
    pub failed: u64,
    /// Number of its calls that ended with a tool error.
    pub tool_errors: u64,
    /// Time of its last call.
    pub last_call: Option<Stamp>,
}

impl ClientView {
    /// Returns its display name: that by which it described itself, else its number.
    pub fn label(&self) -> Arc<str> {
        self.info.name.clone().unwrap_or_else(|| format!("client {}", self.id).into())
    }

    /// Returns a filter of its calls: its name if no other retained client has it and it is a word of the filter language, else its
    /// number.
    pub fn filter(&self, all: &Clients) -> String {
        let is_word = |name: &&Arc<str>| name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
        let is_unique = |name: &&Arc<str>| all.iter().all(|other| other.id == self.id || !other.label().contains(&***name));
        match self.info.name.as_ref().filter(is_word).filter(is_unique) {
            Some(name) => format!("client:{}", name.to_lowercase()),
            None => format!("client:{}", self.id),
        }
    }
}

/// The clients, by ascending ids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clients(Vector<ClientView>);

impl Clients {
    /// Returns the clients, by ascending ids.
    pub fn iter(&self) -> impl Iterator<Item = &ClientView> {
        self.0.iter()
    }

    /// Returns the clients to change them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut ClientView> {
        self.0.iter_mut()
    }

    /// Returns the client with this id, if it is retained.
    pub fn get(&self, id: ClientId) -> Option<&ClientView> {
        self.place(id).ok().and_then(|at| self.0.get(at))
    }

    /// Returns the number of connected clients.
    pub fn connected(&self) -> usize {
        self.0.iter().filter(|client| client.until.is_none()).count()
    }

    fn place(&self, id: ClientId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |client| client.id)
    }

    fn get_mut(&mut self, id: ClientId) -> Option<&mut ClientView> {
        let at = self.place(id).ok()?;
        self.0.get_mut(at)
    }

    pub(super) fn connect(&mut self, id: ClientId, info: &Arc<ClientInfo>, at: Stamp) {
        match self.place(id) {
            Ok(known) => self.0[known].info = info.clone(),
            Err(place) => self.0.insert(
                place,
                ClientView {
                    id,
                    info: info.clone(),
                    since: at,
                    until: None,
                    calls: 0,
                    in_flight: 0,
                    failed: 0,
                    tool_errors: 0,
                    last_call: None,
                },
            ),
        }
    }

    pub(super) fn disconnect(&mut self, id: ClientId, at: Stamp) {
        if let Some(client) = self.get_mut(id) {
            client.until = Some(at);
        }
        let gone = |client: &ClientView| client.until.is_some();
        if self.0.iter().filter(|client| gone(client)).count() > GONE
            && let Some(first) = self.0.iter().position(gone)
        {
            self.0.remove(first);
        }
    }

    /// Counts a call that was requested.
    pub(super) fn queued(&mut self, id: ClientId, at: Stamp) {
        if let Some(client) = self.get_mut(id) {
            client.calls += 1;
            client.in_flight += 1;
            client.last_call = Some(at);
        }
    }

    /// Counts the end of a call.
    pub(super) fn settled(&mut self, id: ClientId, settled: &Settled) {
        if let Some(client) = self.get_mut(id) {
            client.in_flight = client.in_flight.saturating_sub(1);
            client.failed += u64::from(matches!(settled.outcome, Outcome::Failed { .. }));
            client.tool_errors += u64::from(matches!(settled.outcome, Outcome::ToolError { .. }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        call::{Failure, FailureKind, Timings},
        client::{ClientTransport, Principal},
        server::Era,
    };

    fn info(name: &str) -> Arc<ClientInfo> {
        Arc::new(ClientInfo {
            name: Some(name.into()),
            version: None,
            era: Era::Legacy,
            protocol: "2025-11-25".into(),
            transport: ClientTransport::Http,
            principal: Principal::local(),
            profile: "default".into(),
        })
    }

    #[test]
    fn calls_are_counted_for_their_client_and_disconnected_clients_are_bounded() {
        let mut clients = Clients::default();
        // Ids are given at the connection, and clients describe themselves later.
        clients.connect(ClientId(2), &info("b"), Stamp(1));
        clients.connect(ClientId(1), &info("a"), Stamp(2));
        clients.connect(ClientId(2), &info("c"), Stamp(3));
        assert_eq!(clients.iter().map(|client| (client.id.0, client.since.0)).collect::<Vec<_>>(), [(1, 2), (2, 1)]);
        assert_eq!(clients.get(ClientId(2)).and_then(|client| client.info.name.as_deref()), Some("c"));
        clients.queued(ClientId(2), Stamp(5));
        clients.queued(ClientId(9), Stamp(5));
        let settled = Settled {
            outcome: Outcome::Failed { failure: Arc::new(Failure::new(FailureKind::Timeout, "late")) },
            timings: Timings::default(),
            rounds: 1,
            sent_bytes: 0,
            received_bytes: 0,
            attempts: 1,
            by: None,
            cached: None,
        };
        clients.settled(ClientId(2), &settled);
        let view = clients.get(ClientId(2)).expect("known");
        assert_eq!((view.calls, view.in_flight, view.failed, view.tool_errors, view.last_call), (1, 0, 1, 0, Some(Stamp(5))));
        assert_eq!(view.filter(&clients), "client:c");
        clients.connect(ClientId(3), &info("c-2"), Stamp(6));
        assert_eq!(clients.get(ClientId(2)).map(|view| view.filter(&clients)).as_deref(), Some("client:2"));
        for id in 4..204 {
            clients.connect(ClientId(id), &info("x"), Stamp(9));
            clients.disconnect(ClientId(id), Stamp(10));
        }
        assert_eq!((clients.connected(), clients.iter().count()), (3, 3 + GONE));
        assert!(clients.get(ClientId(4)).is_none() && clients.get(ClientId(203)).is_some());
    }
}
