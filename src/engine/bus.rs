//! The event bus: numbers events and delivers them to readers.

use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::{
    ports::FrameDraft,
    tail::{Filter, Tail, TailSender},
};
use crate::domain::{
    bounds,
    event::{Event, EventKind, EventSink, Notice, NoticeLevel},
    frame::Frame,
    id::ServerId,
    masked,
    secret::SecretRegistry,
    time::{Epoch, Stamp},
};

/// The engine's monotonic clock; the only code in the engine that reads the time.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start: Instant,
}

impl Clock {
    fn new() -> Clock {
        Clock { start: Instant::now() }
    }

    /// Returns the time on this clock.
    pub fn now(&self) -> Stamp {
        Stamp(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// Reads the wall clock: milliseconds since the Unix epoch.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The sequencer of events.
pub struct Bus {
    clock: Clock,
    epoch: Epoch,
    wall: OnceLock<WallClock>,
    numbers: Mutex<Numbers>,
    tail: TailSender,
    sink: Arc<dyn EventSink>,
    /// The secrets that are masked in events.
    secrets: SecretRegistry,
}

/// The numbers of the last event and the last frame.
#[derive(Default)]
struct Numbers {
    events: u64,
    frames: u64,
}

impl Bus {
    /// Masks these secrets in events, and those that are added to them.
    #[must_use]
    pub fn masking(self, secrets: SecretRegistry) -> Bus {
        Bus { secrets, ..self }
    }

    /// Creates an empty bus. `epoch` is the wall-clock time at its start.
    pub fn new(epoch: Epoch, sink: Arc<dyn EventSink>) -> Bus {
        Bus {
            clock: Clock::new(),
            epoch,
            wall: OnceLock::new(),
            numbers: Mutex::default(),
            tail: TailSender::default(),
            sink,
            secrets: SecretRegistry::default(),
        }
    }

    /// Returns the secrets that are masked in events, and wherever else the engine stores or shows text.
    pub fn secrets(&self) -> &SecretRegistry {
        &self.secrets
    }

    /// Returns the time on the engine's clock.
    pub fn now(&self) -> Stamp {
        self.clock.now()
    }

    /// Returns what converts stamps to wall-clock time.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Sets the wall clock. Only the first call has an effect.
    pub fn set_wall_clock(&self, clock: WallClock) {
        let _ = self.wall.set(clock);
    }

    /// Returns the wall-clock time in milliseconds since the Unix epoch.
    ///
    /// Never earlier than start + monotonic elapsed time, so it survives clock set-backs. Jumps ahead after a suspend, during
    /// which the monotonic clock may stop.
    pub fn unix_ms(&self) -> u64 {
        let now = self.now();
        let elapsed = self.epoch.unix_ms(now);
        self.wall.get().map_or(elapsed, |wall| wall().max(elapsed))
    }

    fn push(&self, mut numbers: MutexGuard<'_, Numbers>, at: Stamp, kind: EventKind) {
        numbers.events += 1;
        let event = Arc::new(Event { seq: numbers.events, at, kind });
        self.sink.queue(&event);
        self.tail.send(&event);
        drop(numbers);
        self.sink.work();
    }

    /// Publishes an event that happens now.
    pub fn publish(&self, kind: EventKind) {
        self.publish_at(self.now(), kind);
    }

    /// Publishes an event that happened at `at`.
    pub fn publish_at(&self, at: Stamp, mut kind: EventKind) {
        masked::event(&self.secrets.redactor(), &mut kind);
        self.push(self.numbers.lock(), at, kind);
    }

    /// Publishes a frame and returns its number. `cut` is the length of the full body if the draft holds only its beginning.
    pub fn frame(&self, server: &ServerId, draft: FrameDraft, cut: Option<u64>) -> u64 {
        let mut numbers = self.numbers.lock();
        numbers.frames += 1;
        let seq = numbers.frames;
        let FrameDraft { at, direction, kind, body, size, call, method, rpc_id, http } = draft;
        let frame = Frame { seq, at, server: server.clone(), direction, kind, body, cut, size, call, method, rpc_id, http };
        self.push(numbers, at, EventKind::Frame { frame: Arc::new(frame) });
        seq
    }

    /// Publishes a notice to the user.
    pub fn notice(&self, level: NoticeLevel, text: impl Into<String>) {
        let mut text = text.into();
        bounds::shorten(&mut text, bounds::ERROR_TEXT);
        self.publish(EventKind::Notice { notice: Arc::new(Notice::new(level, text)) });
    }

    /// Returns a tail of all later events that the filter admits.
    pub fn tail(&self, filter: Filter) -> Tail {
        let numbers = self.numbers.lock();
        self.tail.subscribe_to(numbers.events, filter)
    }
}

/// Discards the events.
#[cfg(test)]
pub struct Discard;

#[cfg(test)]
impl EventSink for Discard {
    fn queue(&self, _: &Arc<Event>) {}
    fn work(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wall_clock_counts_a_suspend_and_ignores_set_backs() {
        let bus = Bus::new(Epoch { unix_ms: 1_000, utc_offset_s: 0 }, Arc::new(Discard));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(bus.unix_ms(), 2_000);
        let wall = Arc::new(std::sync::atomic::AtomicU64::new(60_000));
        let read = wall.clone();
        bus.set_wall_clock(Arc::new(move || read.load(std::sync::atomic::Ordering::SeqCst)));
        assert_eq!(bus.unix_ms(), 60_000, "a suspend of almost a minute");
        wall.store(5, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(bus.unix_ms(), 2_000, "a set-back is ignored");
    }
}
