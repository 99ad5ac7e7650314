//! The calls in flight.

use std::{collections::HashMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard};

use super::{dispatch::Cancel, passage::PreparedPassage};
use crate::domain::{
    command::SubmitError,
    id::{CallId, ClientId},
};

/// Maximum number of calls in flight.
const MAX_CALLS: usize = 65_536;
/// Maximum number of calls in flight per client outside of this process.
const MAX_CALLS_PER_CLIENT: usize = 4_096;

/// A call that has not settled.
pub struct RunningCall {
    /// The client that requested it.
    pub client: ClientId,
    /// Cancels it.
    pub cancel: Arc<Cancel>,
    /// What it brings, if a client made it.
    pub passage: Option<Arc<PreparedPassage>>,
    /// Whether a user or a client was asked in the course of it.
    pub asked: bool,
}

/// The calls that have not settled.
#[derive(Default)]
pub struct RunningCalls(Mutex<InFlight>);

/// What [`RunningCalls::lock`] gives access to.
#[derive(Default)]
pub struct InFlight {
    calls: HashMap<CallId, RunningCall>,
    /// Numbers of calls by client.
    clients: HashMap<ClientId, usize>,
}

impl InFlight {
    /// Returns whether the client may start another call, or why not.
    pub fn check(&self, client: ClientId) -> Result<(), SubmitError> {
        let of_client = self.clients.get(&client).copied().unwrap_or_default();
        if !client.is_local() && of_client >= MAX_CALLS_PER_CLIENT {
            return Err(SubmitError::TooMany { limit: MAX_CALLS_PER_CLIENT });
        }
        if self.calls.len() >= MAX_CALLS {
            return Err(SubmitError::TooMany { limit: MAX_CALLS });
        }
        Ok(())
    }

    /// Adds a call.
    pub fn insert(&mut self, id: CallId, call: RunningCall) {
        *self.clients.entry(call.client).or_default() += 1;
        self.calls.insert(id, call);
    }

    /// Removes a call that has settled.
    pub fn remove(&mut self, id: CallId) {
        let Some(call) = self.calls.remove(&id) else { return };
        if let Some(count) = self.clients.get_mut(&call.client) {
            *count -= 1;
            if *count == 0 {
                self.clients.remove(&call.client);
            }
        }
    }
}

impl RunningCalls {
    /// Locks the calls, so that ids are created and published in the same order.
    pub fn lock(&self) -> MutexGuard<'_, InFlight> {
        self.0.lock()
    }

    /// Returns whether the call has not settled.
    pub fn contains(&self, call: CallId) -> bool {
        self.lock().calls.contains_key(&call)
    }

    /// Returns the passage of a call that has not settled, if a client made it.
    pub fn passage(&self, call: CallId) -> Option<Arc<PreparedPassage>> {
        self.lock().calls.get(&call)?.passage.clone()
    }

    /// Records that a user or a client is asked in the course of a call.
    pub fn note_question(&self, call: CallId) {
        if let Some(running) = self.lock().calls.get_mut(&call) {
            running.asked = true;
        }
    }

    /// Returns whether a user or a client was asked in the course of a call.
    pub fn asked(&self, call: CallId) -> bool {
        self.lock().calls.get(&call).is_some_and(|running| running.asked)
    }

    /// Returns the client of a call in flight.
    pub fn client(&self, call: CallId) -> Option<ClientId> {
        self.lock().calls.get(&call).map(|call| call.client)
    }

    /// Cancels a call. Returns whether it is in flight.
    pub fn cancel(&self, call: CallId, reason: &str) -> bool {
        let in_flight = self.lock();
        let found = in_flight.calls.get(&call);
        found.inspect(|call| call.cancel.cancel(reason)).is_some()
    }

    /// Cancels the calls of a client.
    pub fn cancel_client(&self, client: ClientId, reason: &str) {
        for call in self.lock().calls.values().filter(|call| call.client == client) {
            call.cancel.cancel(reason);
        }
    }

    /// Cancels all calls.
    pub fn cancel_all(&self, reason: &str) {
        for call in self.lock().calls.values() {
            call.cancel.cancel(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_a_bounded_number_of_calls_in_flight() {
        let call = || RunningCall { client: ClientId(1), cancel: Arc::default(), passage: None, asked: false };
        let mut in_flight = InFlight::default();
        for n in 0..MAX_CALLS_PER_CLIENT as u64 {
            in_flight.insert(CallId(n), call());
        }
        assert_eq!(in_flight.check(ClientId(1)), Err(SubmitError::TooMany { limit: MAX_CALLS_PER_CLIENT }));
        assert_eq!((in_flight.check(ClientId(2)), in_flight.check(ClientId::LOCAL)), (Ok(()), Ok(())));
        in_flight.remove(CallId(7));
        in_flight.remove(CallId(7));
        assert_eq!(in_flight.check(ClientId(1)), Ok(()));
        for n in 0..MAX_CALLS_PER_CLIENT as u64 {
            in_flight.remove(CallId(n));
        }
        assert!(in_flight.clients.is_empty());
    }
}
