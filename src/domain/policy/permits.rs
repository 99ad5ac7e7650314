//! Who is in and who waits, where only so many may be in at once ("bulkhead").
//!
//! The engine's gate holds this behind a lock; waiting itself, and waking who waited, are its own.

use std::collections::VecDeque;

/// Places taken, and who waits for one, in order.
#[derive(Debug)]
pub struct PermitQueue<W> {
    /// Most at once; zero is no limit.
    limit: u32,
    taken: u32,
    queue: VecDeque<W>,
}

impl<W> PermitQueue<W> {
    /// All free.
    pub fn new(limit: u32) -> PermitQueue<W> {
        PermitQueue { limit, taken: 0, queue: VecDeque::new() }
    }

    /// Takes a place, if there is one that nobody waits for.
    pub fn take(&mut self) -> bool {
        let free = self.limit == 0 || (self.taken < self.limit && self.queue.is_empty());
        self.taken += u32::from(free);
        free
    }

    /// Waits for a place, behind those who wait already.
    pub fn wait(&mut self, waiter: W) {
        self.queue.push_back(waiter);
    }

    /// Lets go of those who no longer wait.
    pub fn forget(&mut self, gone: impl Fn(&W) -> bool) {
        self.queue.retain(|waiter| !gone(waiter));
    }

    /// Changes the limit. Then [`PermitQueue::admit`] is to be asked until there is nobody.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = limit;
    }

    /// Who gets a place that is free now. It counts as taken; if that one is gone, it is to be told by [`PermitQueue::was_gone`].
    pub fn admit(&mut self) -> Option<W> {
        if self.limit != 0 && self.taken >= self.limit {
            return None;
        }
        let next = self.queue.pop_front()?;
        self.taken += 1;
        Some(next)
    }

    /// Whom [`PermitQueue::admit`] gave is gone: the place is free again.
    pub fn was_gone(&mut self) {
        self.taken = self.taken.saturating_sub(1);
    }

    /// Gives a place back; gives who gets it. If that one is gone, it is to be given back again. See [`pass_on`].
    pub fn leave(&mut self) -> Option<W> {
        // A lowered limit takes effect as places come back.
        let over = self.limit != 0 && self.taken > self.limit;
        let next = if over { None } else { self.queue.pop_front() };
        if next.is_none() {
            self.taken = self.taken.saturating_sub(1);
        }
        next
    }

    /// Places taken.
    pub fn taken(&self) -> u32 {
        self.taken
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }
}

/// Gives a place back, to the first who is still there to `take` it. `leave` is [`PermitQueue::leave`], with the lock held for
/// no longer than that.
pub fn pass_on<W>(mut leave: impl FnMut() -> Option<W>, mut take: impl FnMut(W) -> bool) {
    while let Some(next) = leave() {
        if take(next) {
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

    /// Where somebody waits, as the engine's channel does it.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Slot {
        Waiting,
        Given,
        Gone,
    }

    type Waiter = Arc<Mutex<Slot>>;
    type Shared = Arc<(Mutex<PermitQueue<Waiter>>, AtomicU32)>;

    fn leave(shared: &Shared) {
        let give = |waiter: Waiter| {
            let mut slot = waiter.lock().expect("no panic");
            let there = *slot == Slot::Waiting;
            if there {
                *slot = Slot::Given;
            }
            there
        };
        pass_on(|| shared.0.lock().expect("no panic").leave(), give);
    }

    fn inside(shared: &Shared, limit: u32) {
        assert!(shared.1.fetch_add(1, Ordering::SeqCst) < limit, "more than {limit} at once");
        shared.1.fetch_sub(1, Ordering::SeqCst);
        leave(shared);
    }

    /// Comes, and goes in or gives up: whatever is there when it looks.
    fn come(shared: &Shared, limit: u32) {
        let slot = Arc::new(Mutex::new(Slot::Waiting));
        let now = {
            let mut places = shared.0.lock().expect("no panic");
            let now = places.take();
            if !now {
                places.wait(slot.clone());
            }
            now
        };
        let given = now || {
            let mut slot = slot.lock().expect("no panic");
            let given = *slot == Slot::Given;
            if !given {
                *slot = Slot::Gone;
            }
            given
        };
        if given {
            inside(shared, limit);
        }
    }

    #[test]
    fn no_place_is_lost_and_none_given_twice_in_any_order() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared: Shared = Arc::new((Mutex::new(PermitQueue::new(1)), AtomicU32::new(0)));
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let shared = shared.clone();
                    thread::spawn(move || come(&shared, 1))
                })
                .collect();
            for caller in callers {
                caller.join().expect("no panic");
            }
            let mut places = shared.0.lock().expect("no panic");
            // Whoever gave up may still be in the queue, but takes no place.
            assert_eq!(places.taken(), 0);
            places.forget(|waiter| *waiter.lock().expect("no panic") == Slot::Gone);
            assert_eq!(places.waiting(), 0, "nobody is forgotten");
            assert!(places.take(), "the place is free");
        });
    }

    #[test]
    fn a_limit_that_changes_meanwhile_leaks_nothing_in_any_order() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let shared: Shared = Arc::new((Mutex::new(PermitQueue::new(1)), AtomicU32::new(0)));
            let callers: Vec<_> = (0..2)
                .map(|_| {
                    let shared = shared.clone();
                    thread::spawn(move || come(&shared, 2))
                })
                .collect();
            {
                let mut places = shared.0.lock().expect("no panic");
                places.set_limit(2);
                while let Some(waiter) = places.admit() {
                    let mut slot = waiter.lock().expect("no panic");
                    if *slot == Slot::Waiting {
                        *slot = Slot::Given;
                    } else {
                        places.was_gone();
                    }
                }
                places.set_limit(1);
            }
            for caller in callers {
                caller.join().expect("no panic");
            }
            assert_eq!(shared.0.lock().expect("no panic").taken(), 0);
        });
    }
}
