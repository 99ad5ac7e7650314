//! The limiter of a server or tool: a bulkhead (permits for calls in flight, with a bounded queue) and a rate limit.
//! [`TargetGuard`](super::guard::TargetGuard) owns one per server and per tool; calls take a [`Permit`] from it.

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout_at},
};

use crate::domain::policy::{
    Concurrency, RateLimit,
    call_event::Wait,
    permits::{PermitQueue, release_to_next},
};

/// How far an earlier process can be ahead of a rate limit.
const MAX_AHEAD: Duration = Duration::from_secs(86_400);

/// Limits how many calls are in flight and how many start per second.
pub struct Limiter {
    state: Mutex<State>,
}

struct State {
    concurrency: Concurrency,
    rate: RateLimit,
    permits: PermitQueue<oneshot::Sender<Permit>>,
    /// Number of permits granted and returned so far.
    permit_changes: u64,
    /// When the next call may start by the rate alone (generic cell rate algorithm, ITU-T I.371).
    due: Option<Instant>,
    /// Reserved start times that were cancelled, earliest first. A new caller reuses one, so cancellations do not lower the
    /// rate.
    cancelled: Vec<Instant>,
}

/// A start time that the rate limit allows and a call waits for. Dropping it before that time cancels it.
struct Reservation<'g> {
    limiter: &'g Limiter,
    at: Instant,
    used: bool,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.used {
            let mut state = self.limiter.lock();
            let index = state.cancelled.partition_point(|at| *at <= self.at);
            state.cancelled.insert(index, self.at);
        }
    }
}

/// Permission for one call to be in flight; returned on drop.
pub struct Permit {
    limiter: Option<Arc<Limiter>>,
}

/// A permit, or its place in the queue.
enum Grant {
    Now(Permit),
    Later(oneshot::Receiver<Permit>),
}

/// Why no permit was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// The queue is full.
    Queue {
        /// Calls in the queue.
        waiting: usize,
        /// Calls in flight.
        in_flight: u32,
    },
    /// The wait would exceed, or exceeded, the maximum wait.
    Wait {
        /// What the call waited for.
        on: Wait,
    },
}

impl Limiter {
    /// Creates a limiter with these limits.
    pub fn new(concurrency: Concurrency, rate: RateLimit) -> Arc<Limiter> {
        let permits = PermitQueue::new(concurrency.in_flight);
        Arc::new(Limiter { state: Mutex::new(State { concurrency, rate, permits, permit_changes: 0, due: None, cancelled: vec![] }) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Changes the limits and admits waiting calls that fit the new ones.
    pub fn set_limits(self: &Arc<Self>, concurrency: &Concurrency, rate: &RateLimit) {
        let mut state = self.lock();
        if (&state.concurrency, &state.rate) == (concurrency, rate) {
            return;
        }
        if state.rate.per_second != rate.per_second {
            state.cancelled.clear();
        }
        state.concurrency = concurrency.clone();
        state.rate = rate.clone();
        state.permits.set_limit(concurrency.in_flight);
        while let Some(waiter) = state.permits.grant_next() {
            if let Err(mut permit) = waiter.send(Permit { limiter: Some(self.clone()) }) {
                permit.limiter = None;
                state.permits.cancel_grant();
            }
        }
    }

    /// Returns how far the calls are ahead of the rate limit.
    pub fn rate_ahead(&self) -> Duration {
        let state = self.lock();
        let limited = state.rate.per_second > 0.0;
        state.due.filter(|_| limited).map(|due| due.saturating_duration_since(Instant::now())).unwrap_or_default()
    }

    /// Restores how far the calls are ahead of the rate limit, unless a call started already.
    pub fn set_rate_ahead(&self, ahead: Duration) {
        let mut state = self.lock();
        if state.due.is_none() && !ahead.is_zero() {
            state.due = Some(Instant::now() + ahead.min(MAX_AHEAD));
        }
    }

    /// Returns how many calls hold a permit.
    pub fn in_flight(&self) -> u32 {
        self.lock().permits.in_use()
    }

    /// Returns whether no call holds a permit, and none has held one since the last call with the same `seen`, which this
    /// updates.
    pub fn idle_since(&self, seen: &mut u64) -> bool {
        let state = self.lock();
        let idle = state.permits.in_use() == 0 && state.permit_changes == *seen;
        *seen = state.permit_changes;
        idle
    }

    /// Returns how many calls wait for a permit.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.lock().permits.waiting()
    }

    /// Takes a permit and a start time, waiting as long as the limits allow. Calls `on_wait` with the reason of each wait.
    /// Dropping the future returns both.
    pub async fn acquire(self: &Arc<Self>, on_wait: impl Fn(Wait)) -> Result<Permit, Rejected> {
        let begun = Instant::now();
        let (grant, max_wait) = self.request_permit()?;
        let permit = match grant {
            Grant::Now(permit) => permit,
            Grant::Later(grant) => {
                on_wait(Wait::Permit);
                match timeout_at(begun + max_wait, grant).await {
                    Ok(Ok(permit)) => permit,
                    _ => return Err(Rejected::Wait { on: Wait::Permit }),
                }
            }
        };
        self.wait_for_start(begun + max_wait, on_wait).await?;
        Ok(permit)
    }

    /// Waits for the rate limit again while holding a permit: the start time passed during another wait.
    pub async fn wait_for_rate(&self, on_wait: impl Fn(Wait)) -> Result<(), Rejected> {
        let max_wait = self.lock().concurrency.wait;
        self.wait_for_start(Instant::now() + max_wait, on_wait).await
    }

    /// Waits for the next start time that the rate limit allows.
    async fn wait_for_start(&self, latest: Instant, on_wait: impl Fn(Wait)) -> Result<(), Rejected> {
        if let Some(mut reservation) = self.reserve(latest)? {
            on_wait(Wait::Rate);
            sleep_until(reservation.at).await;
            reservation.used = true;
        }
        Ok(())
    }

    /// Returns a permit or a place in the queue, and how long to wait for it.
    fn request_permit(self: &Arc<Self>) -> Result<(Grant, Duration), Rejected> {
        let mut state = self.lock();
        let max_wait = state.concurrency.wait;
        if state.permits.try_acquire() {
            state.permit_changes += 1;
            return Ok((Grant::Now(Permit { limiter: Some(self.clone()) }), max_wait));
        }
        // Calls that stopped waiting leave the queue.
        state.permits.remove_where(oneshot::Sender::is_closed);
        let waiting = state.permits.waiting();
        if waiting >= state.concurrency.queue as usize {
            return Err(Rejected::Queue { waiting, in_flight: state.permits.in_use() });
        }
        let (sender, grant) = oneshot::channel();
        state.permits.enqueue(sender);
        Ok((Grant::Later(grant), max_wait))
    }

    /// Reserves the next start time that the rate limit allows; `None` is now.
    fn reserve(&self, latest: Instant) -> Result<Option<Reservation<'_>>, Rejected> {
        let mut state = self.lock();
        if state.rate.per_second <= 0.0 {
            return Ok(None);
        }
        let now = Instant::now();
        let reservation = |at| Reservation { limiter: self, at, used: false };
        // An expired start time cannot be reused: the call would come too close to the next one.
        state.cancelled.retain(|at| *at > now);
        if state.cancelled.first().is_some_and(|at| *at <= latest) {
            return Ok(Some(reservation(state.cancelled.remove(0))));
        }
        let step = Duration::from_secs_f64((1.0 / state.rate.per_second).min(86_400.0));
        let spare = step * state.rate.burst.saturating_sub(1);
        let due = state.due.unwrap_or(now).max(now);
        let at = due.checked_sub(spare).unwrap_or(now).max(now);
        if at > latest {
            return Err(Rejected::Wait { on: Wait::Rate });
        }
        state.due = Some(due + step);
        Ok((at > now).then(|| reservation(at)))
    }
}

impl Permit {
    /// Runs [`Limiter::wait_for_rate`] on the limiter of this permit.
    pub async fn wait_for_rate(&self, on_wait: impl Fn(Wait)) -> Result<(), Rejected> {
        match &self.limiter {
            Some(limiter) => limiter.wait_for_rate(on_wait).await,
            None => Ok(()),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(limiter) = self.limiter.take() else { return };
        let leave = || {
            let mut state = limiter.lock();
            state.permit_changes += 1;
            state.permits.release()
        };
        release_to_next(leave, |next: oneshot::Sender<Permit>| {
            let sent = next.send(Permit { limiter: Some(limiter.clone()) });
            // The call has stopped waiting.
            sent.map_err(|mut permit| permit.limiter = None).is_ok()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concurrency(in_flight: u32, queue: u32) -> Concurrency {
        Concurrency { in_flight, queue, wait: Duration::from_secs(10) }
    }

    #[tokio::test(start_paused = true)]
    async fn permits_are_granted_in_order_and_returned() {
        let limiter = Limiter::new(concurrency(1, 2), RateLimit::default());
        let first = limiter.acquire(|_| {}).await.unwrap();
        let (one, two) = (limiter.clone(), limiter.clone());
        let second = tokio::spawn(async move { one.acquire(|_| {}).await });
        tokio::task::yield_now().await;
        let third = tokio::spawn(async move { two.acquire(|_| {}).await });
        tokio::task::yield_now().await;
        assert_eq!(limiter.acquire(|_| {}).await.err(), Some(Rejected::Queue { waiting: 2, in_flight: 1 }));
        second.abort();
        assert!(second.await.is_err());
        drop(first);
        let third = third.await.unwrap().unwrap();
        assert_eq!((limiter.in_flight(), limiter.waiting()), (1, 0));
        drop(third);
        assert_eq!(limiter.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_times_out_and_a_higher_limit_admits() {
        let limiter = Limiter::new(concurrency(1, 2), RateLimit::default());
        let held = limiter.acquire(|_| {}).await.unwrap();
        let begun = Instant::now();
        assert_eq!(limiter.acquire(|_| {}).await.err(), Some(Rejected::Wait { on: Wait::Permit }));
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
        let other = limiter.clone();
        let waiting = tokio::spawn(async move { other.acquire(|_| {}).await });
        tokio::task::yield_now().await;
        limiter.set_limits(&concurrency(2, 2), &RateLimit::default());
        let more = waiting.await.unwrap().unwrap();
        assert_eq!(limiter.in_flight(), 2);
        drop((held, more));
        assert_eq!(limiter.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_holds_after_a_burst() {
        let limiter =
            Limiter::new(Concurrency { wait: Duration::from_millis(250), ..concurrency(0, 0) }, RateLimit { per_second: 10.0, burst: 3 });
        let begun = Instant::now();
        let mut at = vec![];
        for _ in 0..6 {
            drop(limiter.acquire(|_| {}).await);
            at.push(begun.elapsed().as_millis());
        }
        assert_eq!(at, [0, 0, 0, 100, 200, 300]);
        // Calls that would wait longer than the maximum are refused, not queued without end.
        let all = futures_util::future::join_all((0..10).map(|_| limiter.acquire(|_| {}))).await;
        assert_eq!(all.iter().filter(|r| r.is_ok()).count(), 2);
        assert!(all.iter().any(|r| matches!(r, Err(Rejected::Wait { on: Wait::Rate }))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_start_time_goes_to_the_next_call() {
        let limiter =
            Limiter::new(Concurrency { wait: Duration::from_millis(350), ..concurrency(0, 0) }, RateLimit { per_second: 10.0, burst: 1 });
        let begun = Instant::now();
        let acquire = || {
            let limiter = limiter.clone();
            tokio::spawn(async move { limiter.acquire(|_| {}).await.map(|_| begun.elapsed().as_millis()) })
        };
        let mut waiting = vec![];
        for _ in 0..4 {
            waiting.push(acquire());
            tokio::task::yield_now().await;
        }
        assert!(limiter.acquire(|_| {}).await.is_err(), "the next start time is too far off");
        waiting.remove(1).abort();
        tokio::task::yield_now().await;
        waiting.push(acquire());
        let mut at = vec![];
        for wait in waiting {
            at.push(wait.await.unwrap().unwrap());
        }
        assert_eq!(at, [0, 200, 300, 100], "the new call takes the cancelled start time, the others stay");
        // A cancelled start time that no call took in time is lost.
        waiting = vec![acquire()];
        tokio::task::yield_now().await;
        waiting[0].abort();
        tokio::time::advance(Duration::from_millis(150)).await;
        assert_eq!(acquire().await.unwrap(), Ok(500));
    }
}
