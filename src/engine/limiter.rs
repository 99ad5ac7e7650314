//! The limiter of a server or tool: a bulkhead (permits for calls in flight, with a bounded queue) and a rate limit.
//! [`TargetGuard`](super::guard::TargetGuard) owns one per server and per tool; calls take a [`Permit`] from it.

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout_at},
};

use super::permit_source::{LocalSource, PermitSource};
use crate::domain::policy::{
    Concurrency, RateLimit,
    call_event::Wait,
    permits::{PermitQueue, release_to_next},
};

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
    /// Where the start times of the rate limit come from.
    source: Box<dyn PermitSource>,
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
            self.limiter.lock().source.cancel(self.at);
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
    /// Creates a limiter with these limits, whose rate is that of this process alone.
    pub fn new(concurrency: Concurrency, rate: RateLimit) -> Arc<Limiter> {
        Limiter::with_source(concurrency, rate, Box::<LocalSource>::default())
    }

    /// Creates a limiter whose start times come from `source`.
    pub fn with_source(concurrency: Concurrency, rate: RateLimit, source: Box<dyn PermitSource>) -> Arc<Limiter> {
        let permits = PermitQueue::new(concurrency.in_flight);
        Arc::new(Limiter { state: Mutex::new(State { concurrency, rate, permits, permit_changes: 0, source }) })
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
            state.source.rate_changed();
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
        if state.rate.per_second > 0.0 { state.source.ahead() } else { Duration::ZERO }
    }

    /// Restores how far the calls are ahead of the rate limit, unless a call started already.
    pub fn set_rate_ahead(&self, ahead: Duration) {
        self.lock().source.set_ahead(ahead);
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
        let State { source, rate, .. } = &mut *state;
        let at = source.reserve(rate, latest).ok_or(Rejected::Wait { on: Wait::Rate })?;
        Ok((at > Instant::now()).then(|| Reservation { limiter: self, at, used: false }))
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

    /// A source that has leased some start times, one second apart.
    struct Leased {
        times: Vec<Instant>,
        returned: Arc<Mutex<Vec<Instant>>>,
    }

    impl PermitSource for Leased {
        fn reserve(&mut self, _: &RateLimit, latest: Instant) -> Option<Instant> {
            self.times.first().is_some_and(|at| *at <= latest).then(|| self.times.remove(0))
        }

        fn cancel(&mut self, at: Instant) {
            self.returned.lock().push(at);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_start_times_of_another_source_are_waited_for_and_returned() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let returned: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let source = Leased { times: vec![at(0), at(1), at(2)], returned: returned.clone() };
        let limiter = Limiter::with_source(concurrency(0, 0), RateLimit { per_second: 1.0, burst: 1 }, Box::new(source));
        for second in 0..2 {
            drop(limiter.acquire(|_| {}).await.unwrap());
            assert_eq!(begun.elapsed().as_secs(), second);
        }
        let dropped = tokio::time::timeout(Duration::from_millis(10), limiter.acquire(|_| {})).await;
        assert!(dropped.is_err() && *returned.lock() == [at(2)]);
        assert_eq!(limiter.acquire(|_| {}).await.err(), Some(Rejected::Wait { on: Wait::Rate }), "nothing is leased");
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
