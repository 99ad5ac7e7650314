//! The event log: numbers events, keeps the state that they add up to, hands both out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{sync::broadcast, time::Instant};

use super::{control::Tail, ports::FrameDraft};
use crate::domain::{
    event::{Event, EventKind, Notice, NoticeLevel},
    frame::Frame,
    id::ServerId,
    time::{Epoch, Stamp},
    world::{Keep, World},
};

/// Events that a slow watcher may be behind before it has to watch again.
const TAIL: usize = 8192;

/// The engine's monotonic clock; the only place in the engine that reads the time.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start: Instant,
}

impl Clock {
    fn new() -> Clock {
        Clock { start: Instant::now() }
    }

    /// The time now.
    pub fn now(&self) -> Stamp {
        Stamp(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The sequencer of events.
pub struct Bus {
    clock: Clock,
    inner: Mutex<Inner>,
    tail: broadcast::Sender<Arc<Event>>,
}

struct Inner {
    world: World,
    frames: u64,
}

impl Bus {
    /// An empty log. `epoch` says which wall-clock time it is now.
    pub fn new(epoch: Epoch, separator: &str, keep: Keep) -> Bus {
        let (tail, _) = broadcast::channel(TAIL);
        Bus { clock: Clock::new(), inner: Mutex::new(Inner { world: World::new(epoch, separator, keep), frames: 0 }), tail }
    }

    /// The time now.
    pub fn now(&self) -> Stamp {
        self.clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, inner: &mut Inner, at: Stamp, kind: EventKind) {
        let event = Arc::new(Event { seq: inner.world.seq + 1, at, kind });
        inner.world.apply(&event);
        // Without a watcher there is nobody to tell.
        let _ = self.tail.send(event);
    }

    /// Publishes something that happens now.
    pub fn publish(&self, kind: EventKind) {
        self.publish_at(self.now(), kind);
    }

    /// Publishes something that happened at `at`.
    pub fn publish_at(&self, at: Stamp, kind: EventKind) {
        self.push(&mut self.lock(), at, kind);
    }

    /// Publishes a frame and gives its number.
    pub fn frame(&self, server: &ServerId, draft: FrameDraft) -> u64 {
        let mut inner = self.lock();
        inner.frames += 1;
        let seq = inner.frames;
        let FrameDraft { at, direction, kind, body, size, call, method, rpc_id, http } = draft;
        let frame = Frame { seq, at, server: server.clone(), direction, kind, body, size, call, method, rpc_id, http };
        self.push(&mut inner, at, EventKind::Frame { frame: Arc::new(frame) });
        seq
    }

    /// Tells the user something.
    pub fn notice(&self, level: NoticeLevel, text: impl Into<String>) {
        self.publish(EventKind::Notice { notice: Arc::new(Notice::new(level, text)) });
    }

    /// The state now, and every event after it.
    pub fn watch(&self) -> (World, Tail) {
        let inner = self.lock();
        let tail = Tail::new(self.tail.subscribe(), inner.world.seq);
        (inner.world.clone(), tail)
    }

    /// Every event after now, without the state.
    pub fn tail(&self) -> Tail {
        let inner = self.lock();
        Tail::new(self.tail.subscribe(), inner.world.seq)
    }

    /// Looks at the state without copying it.
    pub fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.lock().world)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::control::Lagged;

    #[tokio::test]
    async fn snapshot_and_tail_have_no_gap_and_no_duplicate() {
        let bus = Bus::new(Epoch::default(), "_", Keep::default());
        bus.notice(NoticeLevel::Info, "one");
        let (world, mut tail) = bus.watch();
        bus.notice(NoticeLevel::Info, "two");
        assert_eq!(world.seq, 1);
        assert_eq!(tail.next().await.unwrap().unwrap().seq, 2);
        assert_eq!(tail.try_next(), Ok(None));
    }

    #[tokio::test]
    async fn a_watcher_that_fell_behind_is_told_and_can_watch_again() {
        let bus = Bus::new(Epoch::default(), "_", Keep::default());
        let (_, mut tail) = bus.watch();
        for _ in 0..TAIL + 5 {
            bus.notice(NoticeLevel::Info, "x");
        }
        assert_eq!(tail.next().await, Err(Lagged { missed: 5 }));
        assert_eq!(bus.watch().0.seq, TAIL as u64 + 5);
    }
}
