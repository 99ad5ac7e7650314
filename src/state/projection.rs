//! The projection: keeps a read model up to date with an engine's events, for snapshots.
//!
//! The engine only queues an event while it holds its sequencing lock. Events are applied in batches after that, by the thread
//! that publishes them, and before a snapshot is taken. Without events nothing runs.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::{Mutex, MutexGuard};

use super::ConsoleState;
use crate::domain::event::{Event, EventSink};

/// Queued events that are applied by the thread that publishes the last of them, unless another thread is applying.
const BATCH: usize = 32;
/// Queued events at which a publishing thread waits until it can apply them.
const MAX_QUEUED: usize = 8192;

/// A read model that follows the events of an engine.
pub struct Projection {
    queue: Mutex<VecDeque<Arc<Event>>>,
    state: Mutex<Arc<ConsoleState>>,
}

impl Projection {
    /// Creates a projection that starts with this state.
    pub fn new(state: ConsoleState) -> Projection {
        Projection { queue: Mutex::default(), state: Mutex::new(Arc::new(state)) }
    }

    /// Returns the state after all events so far.
    pub fn snapshot(&self) -> Arc<ConsoleState> {
        let mut state = self.state.lock();
        self.apply(&mut state);
        state.clone()
    }

    /// Applies the queued events. The lock of the state keeps their order.
    fn apply(&self, state: &mut MutexGuard<'_, Arc<ConsoleState>>) {
        let events = std::mem::take(&mut *self.queue.lock());
        if events.is_empty() {
            return;
        }
        let state = Arc::make_mut(state);
        events.iter().for_each(|event| state.apply(event));
    }
}

impl EventSink for Projection {
    fn queue(&self, event: &Arc<Event>) {
        self.queue.lock().push_back(event.clone());
    }

    fn work(&self) {
        let queued = self.queue.lock().len();
        if queued >= MAX_QUEUED {
            self.apply(&mut self.state.lock());
        } else if queued >= BATCH
            && let Some(mut state) = self.state.try_lock()
        {
            self.apply(&mut state);
        }
    }
}
