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
pub const MAX_PAUSE: Duration = Duration::from_secs(600);

/// The questions of calls that wait, or waited, for a person.
#[derive(Default)]
pub struct DeadlinePauses {
    calls: Mutex<HashMap<CallId, Pause>>,
    /// How many calls there are in `calls`: almost always none, and then nobody takes the lock.
    known: AtomicUsize,
    closed: Notify,
}

struct Pause {
    /// Questions open now.
    open: u32,
    /// Since when there are any.
    since: Instant,
    /// How long there were any before.
    spent: Duration,
}

impl Pause {
    /// How long there were open questions until `now`.
    fn total(&self, now: Instant) -> Duration {
        let open = if self.open > 0 { now.saturating_duration_since(self.since) } else { Duration::ZERO };
        (self.spent + open).min(MAX_PAUSE)
    }
}

impl DeadlinePauses {
    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, Pause>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question of the call was put to a person.
    pub fn begin(&self, call: CallId) {
        let now = Instant::now();
        let mut calls = self.lock();
        let pause = calls.entry(call).or_insert(Pause { open: 0, since: now, spent: Duration::ZERO });
        if pause.open == 0 {
            pause.since = now;
        }
        pause.open += 1;
        self.known.store(calls.len(), Ordering::Release);
    }

    /// A question of the call was answered or withdrawn.
    pub fn end(&self, call: CallId) {
        let now = Instant::now();
        if let Some(pause) = self.lock().get_mut(&call)
            && pause.open > 0
        {
            pause.spent = pause.total(now);
            pause.since = now;
            pause.open -= 1;
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
        self.lock().get(&call).map_or(Duration::ZERO, |pause| pause.total(Instant::now()))
    }

    /// Until when the call's time stands still at most, if it does.
    pub fn stands_until(&self, call: CallId) -> Option<Instant> {
        if self.known.load(Ordering::Acquire) == 0 {
            return None;
        }
        let now = Instant::now();
        let calls = self.lock();
        let pause = calls.get(&call).filter(|pause| pause.open > 0)?;
        let left = MAX_PAUSE.saturating_sub(pause.total(now));
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
        let (deadline_pauses, call) = (DeadlinePauses::default(), CallId::from_parts(1, 1));
        let second = Duration::from_secs(1);
        assert_eq!((deadline_pauses.total(call), deadline_pauses.stands_until(call)), (Duration::ZERO, None));
        deadline_pauses.begin(call);
        advance(second * 10).await;
        deadline_pauses.begin(call);
        advance(second * 10).await;
        deadline_pauses.end(call);
        assert!(deadline_pauses.stands_until(call).is_some(), "one is still open");
        advance(second * 10).await;
        deadline_pauses.end(call);
        advance(second * 10).await;
        assert_eq!((deadline_pauses.total(call), deadline_pauses.stands_until(call)), (second * 30, None));
        deadline_pauses.begin(call);
        assert_eq!(deadline_pauses.stands_until(call), Some(Instant::now() + MAX_PAUSE - second * 30));
        advance(MAX_PAUSE).await;
        assert_eq!((deadline_pauses.total(call), deadline_pauses.stands_until(call)), (MAX_PAUSE, None));
        deadline_pauses.forget(call);
        deadline_pauses.end(call);
        assert_eq!((deadline_pauses.total(call), deadline_pauses.known.load(Ordering::Acquire)), (Duration::ZERO, 0));
    }
}
