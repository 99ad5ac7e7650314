//! The event tail: a queue of events for each reader, bounded in number and in bytes. Only the bus sends.
//!
//! A reader that falls behind loses the oldest events and gets [`Lagged`]; it then takes a new snapshot. Slow readers do not
//! affect the others. An event is freed when every reader has taken it.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::domain::{bounds, event::Event};

/// Maximum number of queued events per reader.
pub const MAX_EVENTS: usize = 8192;

/// The sender of all tails.
pub struct TailSender {
    max_events: usize,
    readers: Mutex<Vec<Weak<Reader>>>,
    /// Closes the tails when the sender is dropped.
    alive: Arc<()>,
}

/// The events after a snapshot, for one reader.
pub struct Tail {
    reader: Arc<Reader>,
    after: u64,
}

/// The tail lost its oldest events because its reader was too slow. The reader must watch again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged {
    /// How many events were lost.
    pub missed: u64,
}

struct Reader {
    queue: Mutex<Queue>,
    woken: Notify,
    sender: Weak<()>,
}

#[derive(Default)]
struct Queue {
    /// Each event with its weight in bytes.
    events: VecDeque<(Arc<Event>, usize)>,
    bytes: usize,
    missed: u64,
}

impl Queue {
    fn push(&mut self, event: &Arc<Event>, weight: usize, max_events: usize) {
        self.events.push_back((event.clone(), weight));
        self.bytes += weight;
        // The newest event is always retained, however large it is.
        while self.events.len() > max_events || (self.bytes > bounds::TAIL && self.events.len() > 1) {
            self.pop();
            self.missed += 1;
        }
    }

    fn pop(&mut self) -> Option<Arc<Event>> {
        let (event, weight) = self.events.pop_front()?;
        self.bytes -= weight;
        if self.events.is_empty() && self.events.capacity() > 1024 {
            self.events = VecDeque::new();
        }
        Some(event)
    }
}

impl Reader {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    fn pop(&self) -> Result<Option<Arc<Event>>, Lagged> {
        let mut queue = self.queue();
        match std::mem::take(&mut queue.missed) {
            0 => Ok(queue.pop()),
            missed => Err(Lagged { missed }),
        }
    }
}

impl Default for TailSender {
    fn default() -> Self {
        Self::new(MAX_EVENTS)
    }
}

impl TailSender {
    /// Creates a sender whose readers queue at most `max_events` events each.
    pub fn new(max_events: usize) -> TailSender {
        TailSender { max_events, readers: Mutex::default(), alive: Arc::default() }
    }

    /// Queues an event for every reader.
    pub fn send(&self, event: &Arc<Event>) {
        let mut readers = self.readers.lock();
        if readers.is_empty() {
            return;
        }
        let weight = event.kind.weight();
        readers.retain(|reader| {
            let Some(reader) = reader.upgrade() else { return false };
            reader.queue().push(event, weight, self.max_events);
            reader.woken.notify_one();
            true
        });
    }

    /// Returns a tail of the events with numbers above `after` that are sent from now on.
    pub fn subscribe(&self, after: u64) -> Tail {
        let reader = Arc::new(Reader { queue: Mutex::default(), woken: Notify::new(), sender: Arc::downgrade(&self.alive) });
        self.readers.lock().push(Arc::downgrade(&reader));
        Tail { reader, after }
    }
}

impl Drop for TailSender {
    fn drop(&mut self) {
        self.alive = Arc::default();
        for reader in self.readers.lock().iter().filter_map(Weak::upgrade) {
            reader.woken.notify_one();
        }
    }
}

impl Tail {
    /// Skips the events up to this number.
    pub fn skip_to(&mut self, seq: u64) {
        self.after = self.after.max(seq);
    }

    /// Returns the next event until `end` is cancelled, then the rest of the queue and `None`: what was published before the end is
    /// read.
    pub async fn next_until(&mut self, end: &CancellationToken) -> Result<Option<Arc<Event>>, Lagged> {
        tokio::select! {
            biased;
            next = self.next() => next,
            () = end.cancelled() => self.try_next(),
        }
    }

    /// Returns the next event; `None` when the engine was dropped. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Arc<Event>>, Lagged> {
        loop {
            // Read before the queue, so that the last events of a dropped sender are seen.
            let open = self.reader.sender.strong_count() > 0;
            if let Some(event) = self.try_next()? {
                return Ok(Some(event));
            }
            if !open {
                return Ok(None);
            }
            self.reader.woken.notified().await;
        }
    }

    /// Returns the next event if one is queued.
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, Lagged> {
        loop {
            match self.reader.pop()? {
                Some(event) if event.seq <= self.after => {}
                next => return Ok(next),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        event::{EventKind, Notice, NoticeLevel},
        time::Stamp,
    };

    fn event(seq: u64, text: usize) -> Arc<Event> {
        let notice = Arc::new(Notice::new(NoticeLevel::Info, "x".repeat(text)));
        Arc::new(Event { seq, at: Stamp(0), kind: EventKind::Notice { notice } })
    }

    #[tokio::test]
    async fn a_slow_reader_queues_a_bounded_number_of_bytes_and_gets_lagged() {
        let sender = TailSender::default();
        let (mut slow, mut fast) = (sender.subscribe(0), sender.subscribe(0));
        for seq in 1..=20 {
            sender.send(&event(seq, 1 << 20));
            assert_eq!(fast.next().await.unwrap().unwrap().seq, seq);
            assert!(slow.reader.queue().bytes <= bounds::TAIL);
        }
        let queued = slow.reader.queue().events.len() as u64;
        assert!((6..=8).contains(&queued), "{queued}");
        assert_eq!(slow.next().await, Err(Lagged { missed: 20 - queued }));
        assert_eq!(slow.next().await.unwrap().unwrap().seq, 21 - queued);
        assert_eq!(fast.reader.queue().bytes, 0);
    }

    #[tokio::test]
    async fn one_event_over_the_limit_is_delivered_and_freed_after_reading() {
        let sender = TailSender::default();
        let mut tail = sender.subscribe(1);
        let (old, big) = (event(1, 10), event(2, 2 * bounds::TAIL));
        sender.send(&old);
        sender.send(&big);
        assert_eq!(tail.next().await, Err(Lagged { missed: 1 }));
        assert_eq!(tail.next().await.unwrap().unwrap().seq, 2);
        assert_eq!(Arc::strong_count(&big), 1);
        drop(sender);
        assert_eq!(tail.next().await, Ok(None));
    }
}
