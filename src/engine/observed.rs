//! Calls that another program makes over a connection which this process only observes: they are published as those of the engine
//! are, so that faces show them alike.

use std::sync::{Arc, atomic::Ordering};

use parking_lot::Mutex;

use super::{Engine, ports::ObservedCalls};
use crate::domain::{
    call::{CallSpec, Operation, Origin, Outcome, Timings},
    client::ClientInfo,
    event::{EventKind, Settled},
    id::{CallId, ClientId},
    time::Stamp,
};

/// The client of an observed connection.
pub struct ObservedClient {
    engine: Arc<Engine>,
    id: ClientId,
    name: Mutex<Option<Arc<str>>>,
}

impl ObservedClient {
    /// Creates a client of this engine.
    pub fn new(engine: Arc<Engine>) -> ObservedClient {
        ObservedClient { id: engine.next_client(), engine, name: Mutex::default() }
    }
}

impl ObservedCalls for ObservedClient {
    fn described(&self, info: ClientInfo) {
        self.name.lock().clone_from(&info.name);
        self.engine.client_connected(self.id, Arc::new(info));
    }

    fn began(&self, operation: Operation, at: Stamp) -> (CallId, Stamp) {
        let Engine { bus, running, calls, .. } = &*self.engine;
        let client_name = self.name.lock().clone();
        let spec = CallSpec { client: self.id, client_name, ..CallSpec::new(operation, Origin::Client(self.id)) };
        // Under the lock, so that ids are created and published in the same order.
        let _in_order = running.lock();
        let call = CallId::from_parts(bus.epoch().unix_ms(at), calls.fetch_add(1, Ordering::Relaxed));
        bus.publish_at(at, EventKind::CallQueued { call, spec: Arc::new(spec) });
        bus.publish_at(at, EventKind::CallSent { call, round: 1 });
        (call, at)
    }

    fn ended(&self, (call, began): (CallId, Stamp), outcome: Outcome, (sent_bytes, received_bytes): (u64, u64), settled: Stamp) {
        let bus = &self.engine.bus;
        let responded = (received_bytes > 0).then_some(settled);
        let timings = Timings { queued: began, sent: Some(began), first_byte: responded, last_byte: responded, settled };
        let at = settled;
        let settled = Settled { outcome, timings, rounds: 1, sent_bytes, received_bytes, attempts: 1, by: None, cached: None };
        bus.publish_at(at, EventKind::CallSettled { call, settled: Arc::new(settled) });
    }
}
