//! Snapshots of a breaker, which a later process restores.

use std::time::Duration;

use super::{Breaker, Cell, State, Window};
use crate::domain::{policy::target_state::BreakerState, time::Stamp};

/// Calls of the window that a snapshot holds at most.
const MAX_CALLS: usize = 256;

impl Breaker {
    /// Returns a snapshot; `None` if the breaker has nothing to remember. What a user set by hand is not part of it.
    pub fn snapshot(&self, now: Stamp) -> Option<BreakerState> {
        let fresh = self.state == State::Closed && self.window.is_empty();
        if fresh || !self.policy.enabled || self.held.is_some() || self.manual {
            return None;
        }
        let open_for = match self.state {
            State::Open => self.until.map(|until| until.since(now)).unwrap_or_default(),
            State::Closed | State::HalfOpen => Duration::ZERO,
        };
        let first = self.window.len().saturating_sub(MAX_CALLS);
        Some(BreakerState {
            state: if self.state == State::HalfOpen { State::Open } else { self.state },
            reason: self.reason.clone(),
            since: now.since(self.since),
            open_for,
            calls: self.window.iter().skip(first).map(|(at, cell)| (now.since(*at), *cell)).collect(),
            consecutive: self.consecutive,
            failed_connections: self.failed_connections,
            connections_only: self.connections_only,
            openings: self.openings,
        })
    }

    /// Restores a snapshot that is `age` old, unless the breaker already counted a call. `same_server`: the failures were those
    /// of the server that is used now, so that the first connection does not end an open period.
    ///
    /// Times before the start of the clock count as its start.
    pub fn restore(&mut self, stored: &BreakerState, age: Duration, same_server: bool, now: Stamp) {
        if self.generation > 0 || !self.window.is_empty() || !self.policy.enabled {
            return;
        }
        let before = |by: Duration| Stamp(now.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)));
        let expired = |of: Duration| matches!(self.policy.window, Window::Time(time) if of >= time);
        let calls: Vec<(Stamp, Cell)> = stored
            .calls
            .iter()
            .map(|(of, cell)| (of.saturating_add(age), *cell))
            .filter(|(of, _)| !expired(*of))
            .map(|(of, cell)| (before(of), cell))
            .collect();
        let count = |test: fn(Cell) -> bool| calls.iter().filter(|(_, cell)| test(*cell)).count() as u32;
        (self.failures, self.slow) = (count(Cell::failed), count(Cell::slow));
        self.window = calls.into();
        self.consecutive = stored.consecutive;
        self.failed_connections = stored.failed_connections.min(stored.consecutive);
        self.openings = stored.openings;
        if stored.state != State::Closed {
            self.generation += 1;
            (self.state, self.since, self.reason) = (State::Open, before(stored.since.saturating_add(age)), stored.reason.clone());
            self.until = Some(now.plus(stored.open_for.saturating_sub(age)));
            self.connections_only = stored.connections_only;
            self.outlived = same_server;
        }
        self.drop_expired(now);
    }
}
