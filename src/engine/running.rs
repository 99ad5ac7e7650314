//! The calls in flight.

use std::{collections::HashMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard};

use super::dispatch::Cancel;
use crate::domain::id::CallId;

/// The calls that have not settled, with their cancellation.
#[derive(Default)]
pub struct RunningCalls(Mutex<HashMap<CallId, Arc<Cancel>>>);

impl RunningCalls {
    /// Locks the calls, so that ids are created and published in the same order.
    pub fn lock(&self) -> MutexGuard<'_, HashMap<CallId, Arc<Cancel>>> {
        self.0.lock()
    }

    /// Returns whether the call has not settled.
    pub fn contains(&self, call: CallId) -> bool {
        self.lock().contains_key(&call)
    }

    /// Cancels a call, if it is in flight.
    pub fn cancel(&self, call: CallId, reason: &str) {
        if let Some(cancel) = self.lock().get(&call) {
            cancel.cancel(reason);
        }
    }

    /// Cancels all calls.
    pub fn cancel_all(&self, reason: &str) {
        for cancel in self.lock().values() {
            cancel.cancel(reason);
        }
    }
}
