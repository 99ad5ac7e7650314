//! The calls in flight.

use std::{collections::HashMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard};

use super::{dispatch::Cancel, passage::PreparedPassage};
use crate::domain::id::CallId;

/// A call that has not settled.
pub struct RunningCall {
    /// Cancels it.
    pub cancel: Arc<Cancel>,
    /// What it brings, if a client made it.
    pub passage: Option<Arc<PreparedPassage>>,
    /// Whether a user or a client was asked in the course of it.
    pub asked: bool,
}

/// The calls that have not settled.
#[derive(Default)]
pub struct RunningCalls(Mutex<HashMap<CallId, RunningCall>>);

impl RunningCalls {
    /// Locks the calls, so that ids are created and published in the same order.
    pub fn lock(&self) -> MutexGuard<'_, HashMap<CallId, RunningCall>> {
        self.0.lock()
    }

    /// Returns whether the call has not settled.
    pub fn contains(&self, call: CallId) -> bool {
        self.lock().contains_key(&call)
    }

    /// Returns the passage of a call that has not settled, if a client made it.
    pub fn passage(&self, call: CallId) -> Option<Arc<PreparedPassage>> {
        self.lock().get(&call)?.passage.clone()
    }

    /// Records that a user or a client is asked in the course of a call.
    pub fn note_question(&self, call: CallId) {
        if let Some(running) = self.lock().get_mut(&call) {
            running.asked = true;
        }
    }

    /// Returns whether a user or a client was asked in the course of a call.
    pub fn asked(&self, call: CallId) -> bool {
        self.lock().get(&call).is_some_and(|running| running.asked)
    }

    /// Cancels a call, if it is in flight.
    pub fn cancel(&self, call: CallId, reason: &str) {
        if let Some(running) = self.lock().get(&call) {
            running.cancel.cancel(reason);
        }
    }

    /// Cancels all calls.
    pub fn cancel_all(&self, reason: &str) {
        for running in self.lock().values() {
            running.cancel.cancel(reason);
        }
    }
}
