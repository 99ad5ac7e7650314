//! Deadline pause: pauses a call's deadline while a server question that belongs to it waits for the user. [`DeadlinePauses`]
//! owns the pauses of all calls.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

use crate::domain::id::CallId;

/// Maximum total pause of one call, so that an unanswered question does not keep it open for ever.
pub const MAX_PAUSE: Duration = Duration::from_secs(600);

/// The pauses of all calls with questions.
#[derive(Default)]
pub struct DeadlinePauses {
    calls: Mutex<HashMap<CallId, Pause>>,
    /// Number of entries in `calls`: almost always zero, and then no caller takes the lock.
    count: AtomicUsize,
    closed: Notify,
}

struct Pause {
    /// Number of open questions.
    open: u32,
    /// Start of the current pause, if there is one.
    since: Instant,
    /// Total of the earlier pauses.
    spent: Duration,
}

impl Pause {
    /// Returns the total pause until `now`.
    fn total(&self, now: Instant) -> Duration {
        let open = if self.open > 0 { now.saturating_duration_since(self.since) } else { Duration::ZERO };
        (self.spent + open).min(MAX_PAUSE)
    }
}

impl DeadlinePauses {
    fn lock(&self) -> MutexGuard<'_, HashMap<CallId, Pause>> {
        self.calls.lock()
    }

    /// Starts a pause: a question of the call was put to the user.
    pub fn begin(&self, call: CallId) {
        let now = Instant::now();
        let mut calls = self.lock();
        let pause = calls.entry(call).or_insert(Pause { open: 0, since: now, spent: Duration::ZERO });
        if pause.open == 0 {
            pause.since = now;
        }
        pause.open += 1;
        self.count.store(calls.len(), Ordering::Release);
    }

    /// Ends a pause: a question of the call was answered or withdrawn.
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

    /// Forgets a settled call.
    pub fn forget(&self, call: CallId) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut calls = self.lock();
        calls.remove(&call);
        self.count.store(calls.len(), Ordering::Release);
    }

    /// Returns the total pause of the call until now.
    pub fn total(&self, call: CallId) -> Duration {
        if self.count.load(Ordering::Acquire) == 0 {
            return Duration::ZERO;
        }
        self.lock().get(&call).map_or(Duration::ZERO, |pause| pause.total(Instant::now()))
    }

    /// Returns when the current pause ends at the latest; `None` if the deadline is not paused.
    pub fn paused_until(&self, call: CallId) -> Option<Instant> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let now = Instant::now();
        let calls = self.lock();
        let pause = calls.get(&call).filter(|pause| pause.open > 0)?;
        let left = MAX_PAUSE.saturating_sub(pause.total(now));
        (!left.is_zero()).then(|| now + left)
    }

    /// Resolves when a question is answered or withdrawn after this call.
    pub fn closed(&self) -> Notified<'_> {
        self.closed.notified()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn overlapping_questions_count_once_and_a_pause_is_bounded() {
        let (deadline_pauses, call) = (DeadlinePauses::default(), CallId::from_parts(1, 1));
        let second = Duration::from_secs(1);
        assert_eq!((deadline_pauses.total(call), deadline_pauses.paused_until(call)), (Duration::ZERO, None));
        deadline_pauses.begin(call);
        advance(second * 10).await;
        deadline_pauses.begin(call);
        advance(second * 10).await;
        deadline_pauses.end(call);
        assert!(deadline_pauses.paused_until(call).is_some(), "one is still open");
        advance(second * 10).await;
        deadline_pauses.end(call);
        advance(second * 10).await;
        assert_eq!((deadline_pauses.total(call), deadline_pauses.paused_until(call)), (second * 30, None));
        deadline_pauses.begin(call);
        assert_eq!(deadline_pauses.paused_until(call), Some(Instant::now() + MAX_PAUSE - second * 30));
        advance(MAX_PAUSE).await;
        assert_eq!((deadline_pauses.total(call), deadline_pauses.paused_until(call)), (MAX_PAUSE, None));
        deadline_pauses.forget(call);
        deadline_pauses.end(call);
        assert_eq!((deadline_pauses.total(call), deadline_pauses.count.load(Ordering::Acquire)), (Duration::ZERO, 0));
    }
}
