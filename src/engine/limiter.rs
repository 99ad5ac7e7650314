//! How much a server is given to do: places for calls in flight with a bounded queue ("bulkhead"), and a rate.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout_at},
};

use crate::domain::policy::{
    Concurrency, RateLimit,
    call_event::Wait,
    permits::{PermitQueue, pass_on},
};

/// A door that lets only so many calls through.
pub struct Limiter {
    state: Mutex<State>,
}

struct State {
    concurrency: Concurrency,
    rate: RateLimit,
    places: PermitQueue<oneshot::Sender<Permit>>,
    /// Places given and taken back so far.
    moves: u64,
    /// When the next call may pass by the rate alone (generic cell rate algorithm, ITU-T I.371).
    due: Option<Instant>,
    /// Moments that were booked and given back, earliest first. Whoever takes one passes when another would have: the rate
    /// is kept as if nobody had given up.
    free: Vec<Instant>,
}

/// A moment that the rate allows, and somebody waits for; given back on drop unless it came.
struct Reservation<'g> {
    limiter: &'g Limiter,
    at: Instant,
    came: bool,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if !self.came {
            let mut state = self.limiter.lock();
            let place = state.free.partition_point(|free| *free <= self.at);
            state.free.insert(place, self.at);
        }
    }
}

/// A call's place among those in flight; given back on drop.
pub struct Permit {
    limiter: Option<Arc<Limiter>>,
}

/// When a call gets its place.
enum Turn {
    Now(Permit),
    Later(oneshot::Receiver<Permit>),
}

/// Why there was no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// As many calls wait as may.
    Queue {
        /// How many wait.
        waiting: usize,
        /// How many are in flight.
        in_flight: u32,
    },
    /// The wait would be, or was, longer than it may be.
    Wait {
        /// What for.
        on: Wait,
    },
}

impl Limiter {
    /// A door with these limits.
    pub fn new(concurrency: Concurrency, rate: RateLimit) -> Arc<Limiter> {
        let places = PermitQueue::new(concurrency.in_flight);
        Arc::new(Limiter { state: Mutex::new(State { concurrency, rate, places, moves: 0, due: None, free: vec![] }) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the limits. Calls that wait are let in when there is room now.
    pub fn set(self: &Arc<Self>, concurrency: &Concurrency, rate: &RateLimit) {
        let mut state = self.lock();
        if (&state.concurrency, &state.rate) == (concurrency, rate) {
            return;
        }
        if state.rate.per_second != rate.per_second {
            state.free.clear();
        }
        state.concurrency = concurrency.clone();
        state.rate = rate.clone();
        state.places.set_limit(concurrency.in_flight);
        while let Some(waiter) = state.places.admit() {
            if let Err(mut place) = waiter.send(Permit { limiter: Some(self.clone()) }) {
                place.limiter = None;
                state.places.was_gone();
            }
        }
    }

    /// Calls that have a place.
    pub fn in_flight(&self) -> u32 {
        self.lock().places.taken()
    }

    /// Whether no call has a place, and none had one since `seen` was set by this.
    pub fn idle_since(&self, seen: &mut u64) -> bool {
        let state = self.lock();
        let idle = state.places.taken() == 0 && state.moves == *seen;
        *seen = state.moves;
        idle
    }

    /// Calls that wait for one.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.lock().places.waiting()
    }

    /// Takes a place, waiting for it as long as the limits allow. `waits` is told when there is a wait, and what for.
    /// Dropping the future gives everything back.
    pub async fn enter(self: &Arc<Self>, waits: impl Fn(Wait)) -> Result<Permit, Rejected> {
        let begun = Instant::now();
        let (turn, patience) = self.queue_up()?;
        let place = match turn {
            Turn::Now(place) => place,
            Turn::Later(turn) => {
                waits(Wait::Place);
                match timeout_at(begun + patience, turn).await {
                    Ok(Ok(place)) => place,
                    _ => return Err(Rejected::Wait { on: Wait::Place }),
                }
            }
        };
        self.pace(begun + patience, waits).await?;
        Ok(place)
    }

    /// Waits anew for the rate, with a place that was taken before: its moment passed while something else was waited for.
    pub async fn again(&self, waits: impl Fn(Wait)) -> Result<(), Rejected> {
        let patience = self.lock().concurrency.wait;
        self.pace(Instant::now() + patience, waits).await
    }

    /// Waits for the next moment that the rate allows.
    async fn pace(&self, latest: Instant, waits: impl Fn(Wait)) -> Result<(), Rejected> {
        if let Some(mut booked) = self.reserve(latest)? {
            waits(Wait::Rate);
            sleep_until(booked.at).await;
            booked.came = true;
        }
        Ok(())
    }

    /// A place now or a turn later, with how long to wait for it.
    fn queue_up(self: &Arc<Self>) -> Result<(Turn, Duration), Rejected> {
        let mut state = self.lock();
        let patience = state.concurrency.wait;
        if state.places.take() {
            state.moves += 1;
            return Ok((Turn::Now(Permit { limiter: Some(self.clone()) }), patience));
        }
        // Those that gave up waiting make room.
        state.places.forget(oneshot::Sender::is_closed);
        let waiting = state.places.waiting();
        if waiting >= state.concurrency.queue as usize {
            return Err(Rejected::Queue { waiting, in_flight: state.places.taken() });
        }
        let (sender, turn) = oneshot::channel();
        state.places.wait(sender);
        Ok((Turn::Later(turn), patience))
    }

    /// Books the next moment that the rate allows; `None` is now.
    fn reserve(&self, latest: Instant) -> Result<Option<Reservation<'_>>, Rejected> {
        let mut state = self.lock();
        if state.rate.per_second <= 0.0 {
            return Ok(None);
        }
        let now = Instant::now();
        let booked = |at| Reservation { limiter: self, at, came: false };
        // What nobody took in time is gone: taken later, it would come too close to the next.
        state.free.retain(|free| *free > now);
        if state.free.first().is_some_and(|free| *free <= latest) {
            return Ok(Some(booked(state.free.remove(0))));
        }
        let step = Duration::from_secs_f64((1.0 / state.rate.per_second).min(86_400.0));
        let spare = step * state.rate.burst.saturating_sub(1);
        let due = state.due.unwrap_or(now).max(now);
        let at = due.checked_sub(spare).unwrap_or(now).max(now);
        if at > latest {
            return Err(Rejected::Wait { on: Wait::Rate });
        }
        state.due = Some(due + step);
        Ok((at > now).then(|| booked(at)))
    }
}

impl Permit {
    /// [`Limiter::again`] at the gate of this place.
    pub async fn again(&self, waits: impl Fn(Wait)) -> Result<(), Rejected> {
        match &self.limiter {
            Some(limiter) => limiter.again(waits).await,
            None => Ok(()),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(limiter) = self.limiter.take() else { return };
        let leave = || {
            let mut state = limiter.lock();
            state.moves += 1;
            state.places.leave()
        };
        pass_on(leave, |next: oneshot::Sender<Permit>| {
            let sent = next.send(Permit { limiter: Some(limiter.clone()) });
            // Nobody waits there any more.
            sent.map_err(|mut place| place.limiter = None).is_ok()
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
    async fn places_are_given_in_order_and_come_back() {
        let limiter = Limiter::new(concurrency(1, 2), RateLimit::default());
        let first = limiter.enter(|_| {}).await.unwrap();
        let (one, two) = (limiter.clone(), limiter.clone());
        let second = tokio::spawn(async move { one.enter(|_| {}).await });
        tokio::task::yield_now().await;
        let third = tokio::spawn(async move { two.enter(|_| {}).await });
        tokio::task::yield_now().await;
        assert_eq!(limiter.enter(|_| {}).await.err(), Some(Rejected::Queue { waiting: 2, in_flight: 1 }));
        second.abort();
        assert!(second.await.is_err());
        drop(first);
        let third = third.await.unwrap().unwrap();
        assert_eq!((limiter.in_flight(), limiter.waiting()), (1, 0));
        drop(third);
        assert_eq!(limiter.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_and_a_higher_limit_lets_in() {
        let limiter = Limiter::new(concurrency(1, 2), RateLimit::default());
        let held = limiter.enter(|_| {}).await.unwrap();
        let begun = Instant::now();
        assert_eq!(limiter.enter(|_| {}).await.err(), Some(Rejected::Wait { on: Wait::Place }));
        assert_eq!(begun.elapsed(), Duration::from_secs(10));
        let other = limiter.clone();
        let waiting = tokio::spawn(async move { other.enter(|_| {}).await });
        tokio::task::yield_now().await;
        limiter.set(&concurrency(2, 2), &RateLimit::default());
        let more = waiting.await.unwrap().unwrap();
        assert_eq!(limiter.in_flight(), 2);
        drop((held, more));
        assert_eq!(limiter.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_after_a_burst() {
        let limiter =
            Limiter::new(Concurrency { wait: Duration::from_millis(250), ..concurrency(0, 0) }, RateLimit { per_second: 10.0, burst: 3 });
        let begun = Instant::now();
        let mut at = vec![];
        for _ in 0..6 {
            drop(limiter.enter(|_| {}).await);
            at.push(begun.elapsed().as_millis());
        }
        assert_eq!(at, [0, 0, 0, 100, 200, 300]);
        // More than the wait at once is refused, not queued without end.
        let all = futures_util::future::join_all((0..10).map(|_| limiter.enter(|_| {}))).await;
        assert_eq!(all.iter().filter(|r| r.is_ok()).count(), 2);
        assert!(all.iter().any(|r| matches!(r, Err(Rejected::Wait { on: Wait::Rate }))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_the_rate_that_is_given_up_goes_to_the_next() {
        let limiter =
            Limiter::new(Concurrency { wait: Duration::from_millis(350), ..concurrency(0, 0) }, RateLimit { per_second: 10.0, burst: 1 });
        let begun = Instant::now();
        let enter = || {
            let limiter = limiter.clone();
            tokio::spawn(async move { limiter.enter(|_| {}).await.map(|_| begun.elapsed().as_millis()) })
        };
        let mut waits = vec![];
        for _ in 0..4 {
            waits.push(enter());
            tokio::task::yield_now().await;
        }
        assert!(limiter.enter(|_| {}).await.is_err(), "the next moment is too far off");
        waits.remove(1).abort();
        tokio::task::yield_now().await;
        waits.push(enter());
        let mut at = vec![];
        for wait in waits {
            at.push(wait.await.unwrap().unwrap());
        }
        assert_eq!(at, [0, 200, 300, 100], "it takes the moment that was given back, and no other moves");
        // One that nobody took in time is gone.
        waits = vec![enter()];
        tokio::task::yield_now().await;
        waits[0].abort();
        tokio::time::advance(Duration::from_millis(150)).await;
        assert_eq!(enter().await.unwrap(), Ok(500));
    }
}
