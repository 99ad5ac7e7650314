//! The permit queue of a bulkhead: counts permits in use and queues waiters in order.
//!
//! The engine's limiter holds this behind a lock; it also owns waiting and waking.

use std::collections::VecDeque;

/// Permits in use, and the queue of waiters, first in first out.
#[derive(Debug)]
pub struct PermitQueue<W> {
    /// Maximum in use; zero is unlimited.
    limit: u32,
    in_use: u32,
    queue: VecDeque<W>,
}

impl<W> PermitQueue<W> {
    /// Creates a queue with all permits free.
    pub fn new(limit: u32) -> PermitQueue<W> {
        PermitQueue { limit, in_use: 0, queue: VecDeque::new() }
    }

    /// Takes a permit if one is free and no one waits for it. Returns whether it did.
    pub fn try_acquire(&mut self) -> bool {
        let free = self.limit == 0 || (self.in_use < self.limit && self.queue.is_empty());
        self.in_use += u32::from(free);
        free
    }

    /// Appends a waiter to the queue.
    pub fn enqueue(&mut self, waiter: W) {
        self.queue.push_back(waiter);
    }

    /// Removes the waiters that have stopped waiting.
    pub fn remove_where(&mut self, has_gone: impl Fn(&W) -> bool) {
        self.queue.retain(|waiter| !has_gone(waiter));
    }

    /// Changes the limit. Afterwards call [`PermitQueue::grant_next`] until it returns `None`.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Grants a free permit to the next waiter. If that waiter has gone, call [`PermitQueue::cancel_grant`].
    pub fn grant_next(&mut self) -> Option<W> {
        if self.limit != 0 && self.in_use >= self.limit {
            return None;
        }
        let next = self.queue.pop_front()?;
        self.in_use += 1;
        Some(next)
    }

    /// Frees the permit of a waiter that [`PermitQueue::grant_next`] returned but that has gone.
    pub fn cancel_grant(&mut self) {
        self.in_use = self.in_use.saturating_sub(1);
    }

    /// Releases a permit and returns the waiter that takes it over. If that waiter has gone, release again; see
    /// [`release_to_next`].
    pub fn release(&mut self) -> Option<W> {
        // A lowered limit takes effect as permits are released.
        let above_limit = self.limit != 0 && self.in_use > self.limit;
        let next = if above_limit { None } else { self.queue.pop_front() };
        if next.is_none() {
            self.in_use = self.in_use.saturating_sub(1);
        }
        next
    }

    /// Returns the permits in use.
    pub fn in_use(&self) -> u32 {
        self.in_use
    }

    /// Returns the number of waiters.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
}

/// Releases a permit to the first waiter that can still `accept` it. `release` is [`PermitQueue::release`], with the
/// lock held only during that call.
pub fn release_to_next<W>(mut release: impl FnMut() -> Option<W>, mut accept: impl FnMut(W) -> bool) {
    while let Some(next) = release() {
        if accept(next) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use loom::{
        sync::{
            Arc, Mutex,
            atomic::{AtomicU32, Ordering},
        },
        thread,
    };

    use super::*;

    /// The state of one waiter, as in the engine's channel.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Slot {
        Waiting,
        Granted,
        Gone,
    }

    type Waiter = Arc<Mutex<Slot>>;
    type Shared = Arc<(Mutex<PermitQueue<Waiter>>, AtomicU32)>;

    fn release(shared: &Shared) {
        let accept = |waiter: Waiter| {
            let mut slot = waiter.lock().expect("no panic");
            let waiting = *slot == Slot::Waiting;
            if waiting {
                *slot = Slot::Granted;
            }
            waiting
        };
        release_to_next(|| shared.0.lock().expect("no panic").release(), accept);
    }

    fn enter(shared: &Shared, limit: u32) {
        assert!(shared.1.fetch_add(1, Ordering::SeqCst) < limit, "more than {limit} simultaneously");
        shared.1.fetch_sub(1, Ordering::SeqCst);
        release(shared);
    }

    /// Arrives, and enters or stops waiting, depending on the slot.
    fn arrive(shared: &Shared, limit: u32) {
        let slot = Arc::new(Mutex::new(Slot::Waiting));
        let acquired = {
            let mut permits = shared.0.lock().expect("no panic");
            let acquired = permits.try_acquire();
            if !acquired {
                permits.enqueue(slot.clone());
            }
            acquired
        };
        let granted = acquired || {
            let mut slot = slot.lock().expect("no panic");
            let granted = *slot == Slot::Granted;
            if !granted {
                *slot = Slot::Gone;
            }
            granted
        };
        if granted {
            enter(shared, limit);
        }
    }

    #[test]
    fn no_permit_is_lost_or_granted_twice_under_any_interleaving() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared: Shared = Arc::new((Mutex::new(PermitQueue::new(1)), AtomicU32::new(0)));
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let shared = shared.clone();
                    thread::spawn(move || arrive(&shared, 1))
                })
                .collect();
            for caller in callers {
                caller.join().expect("no panic");
            }
            let mut permits = shared.0.lock().expect("no panic");
            // A caller that stopped waiting may still be in the queue, but takes no permit.
            assert_eq!(permits.in_use(), 0);
            permits.remove_where(|waiter| *waiter.lock().expect("no panic") == Slot::Gone);
            assert_eq!(permits.waiting(), 0, "no waiter is lost");
            assert!(permits.try_acquire(), "the permit is free");
        });
    }

    #[test]
    fn a_concurrent_limit_change_leaks_no_permit_under_any_interleaving() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared: Shared = Arc::new((Mutex::new(PermitQueue::new(1)), AtomicU32::new(0)));
            let callers: Vec<_> = (0..2)
                .map(|_| {
                    let shared = shared.clone();
                    thread::spawn(move || arrive(&shared, 2))
                })
                .collect();
            {
                let mut permits = shared.0.lock().expect("no panic");
                permits.set_limit(2);
                while let Some(waiter) = permits.grant_next() {
                    let mut slot = waiter.lock().expect("no panic");
                    if *slot == Slot::Waiting {
                        *slot = Slot::Granted;
                    } else {
                        permits.cancel_grant();
                    }
                }
                permits.set_limit(1);
            }
            for caller in callers {
                caller.join().expect("no panic");
            }
            assert_eq!(shared.0.lock().expect("no panic").in_use(), 0);
        });
    }
}
