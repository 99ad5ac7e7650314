//! How long people have thought: while a question that came in the course of a call is open, the call's time stands still.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use crate::domain::id::CallId;

/// How long the time of one call stands still in all, so that a question that nobody sees does not hold it for ever.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// The questions of calls that wait, or waited, for a person.
#[derive(Default)]
pub struct Thinking {
    calls: Mutex<HashMap<CallId, Thought>>,
    /// How many calls there are in `calls`: almost always none, and then nobody takes the lock.
    known: AtomicUsize,
    closed: Notify,
}

struct Thought {
    /// Questions open now.
    open: u32,
    /// Since when there are any.
    since: Instant,
    /// How long there were any before.
    spent: Duration,
}

impl Thought {
    /// How long there were open questions until `now`.
    fn total(&self, now: Instant) -> Duration {
        let open = if self.open > 0 { now.saturating_duration_since(self.since) } else { Duration::ZERO };
        (self.spent + open).min(PATIENCE)
    }
}

impl Thinking {
    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, Thought>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question of the call was put to a person.
    pub fn begin(&self, call: CallId) {
        let now = Instant::now();
        let mut calls = self.lock();
        let thought = calls.entry(call).or_insert(Thought { open: 0, since: now, spent: Duration::ZERO });
        if thought.open == 0 {
            thought.since = now;
        }
        thought.open += 1;
        self.known.store(calls.len(), Ordering::Release);
    }

    /// A question of the call was answered or withdrawn.
    pub fn end(&self, call: CallId) {
        let now = Instant::now();
        if let Some(thought) = self.lock().get_mut(&call)
            && thought.open > 0
        {
            thought.spent = thought.total(now);
            thought.since = now;
            thought.open -= 1;
        }
        self.closed.notify_waiters();
    }

    /// The call is over.
    pub fn forget(&self, call: CallId) {
        if self.known.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut calls = self.lock();
        calls.remove(&call);
        self.known.store(calls.len(), Ordering::Release);
    }

    /// For how long the call's time stood still until now.
    pub fn total(&self, call: CallId) -> Duration {
        if self.known.load(Ordering::Acquire) == 0 {
            return Duration::ZERO;
        }
        self.lock().get(&call).map_or(Duration::ZERO, |thought| thought.total(Instant::now()))
    }

    /// Until when the call's time stands still at most, if it does.
    pub fn stands_until(&self, call: CallId) -> Option<Instant> {
        if self.known.load(Ordering::Acquire) == 0 {
            return None;
        }
        let now = Instant::now();
        let calls = self.lock();
        let thought = calls.get(&call).filter(|thought| thought.open > 0)?;
        let left = PATIENCE.saturating_sub(thought.total(now));
        (!left.is_zero()).then(|| now + left)
    }

    /// Resolves when a question was answered or withdrawn after this was called.
    pub fn closed(&self) -> Notified<'_> {
        self.closed.notified()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn questions_that_overlap_count_once_and_no_call_counts_for_ever() {
        let (thinking, call) = (Thinking::default(), CallId::from_parts(1, 1));
        let second = Duration::from_secs(1);
        assert_eq!((thinking.total(call), thinking.stands_until(call)), (Duration::ZERO, None));
        thinking.begin(call);
        advance(second * 10).await;
        thinking.begin(call);
        advance(second * 10).await;
        thinking.end(call);
        assert!(thinking.stands_until(call).is_some(), "one is still open");
        advance(second * 10).await;
        thinking.end(call);
        advance(second * 10).await;
        assert_eq!((thinking.total(call), thinking.stands_until(call)), (second * 30, None));
        thinking.begin(call);
        assert_eq!(thinking.stands_until(call), Some(Instant::now() + PATIENCE - second * 30));
        advance(PATIENCE).await;
        assert_eq!((thinking.total(call), thinking.stands_until(call)), (PATIENCE, None));
        thinking.forget(call);
        thinking.end(call);
        assert_eq!((thinking.total(call), thinking.known.load(Ordering::Acquire)), (Duration::ZERO, 0));
    }
}
