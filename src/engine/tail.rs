//! The event tail: a queue of events for each reader, bounded in number and in bytes. Only the bus sends.
//!
//! A reader that falls behind loses the oldest events and gets [`Lagged`]; it then takes a new snapshot. Frames have a queue of
//! their own: a reader that falls behind loses the oldest frames, which are counted, and no event. Slow readers do not affect the
//! others. An event is freed when every reader has taken it.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::owners::Owners;
use crate::domain::{
    bounds,
    event::{Event, EventKind},
    id::ClientId,
};

/// Maximum number of queued events per reader, and of queued frames.
pub const MAX_EVENTS: usize = 8192;
/// How long [`Tail::next_gathered`] lets events gather.
const GATHER: Duration = Duration::from_millis(10);

/// The kinds of events that a reader gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interest {
    /// All events.
    #[default]
    All,
    /// All events except frames.
    Events,
    /// Frames only. Such a reader never gets [`Lagged`].
    Frames,
}

/// What the events of a reader are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topic {
    /// Anything.
    #[default]
    Any,
    /// What servers send outside of their responses: log messages and updates of resources.
    ServerMessages,
    /// The steps and the ends of runs.
    Runs,
}

impl Topic {
    fn covers(self, kind: &EventKind) -> bool {
        match self {
            Topic::Any => true,
            Topic::ServerMessages => matches!(kind, EventKind::ResourceUpdated { .. } | EventKind::ServerLog { .. }),
            Topic::Runs => matches!(kind, EventKind::RunStep { .. } | EventKind::RunSettled { .. }),
        }
    }
}

/// The events that a reader gets. An event that it does not get does not wake it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Their kinds.
    pub interest: Interest,
    /// What they are about.
    pub topic: Topic,
    /// The client whose calls and questions they may concern, in addition to events that concern no client; `None` for all
    /// clients.
    pub client: Option<ClientId>,
}

impl Filter {
    /// Returns whether the reader gets an event, which concerns this client.
    fn takes(&self, kind: &EventKind, owner: Option<ClientId>) -> bool {
        let wanted = match self.interest {
            Interest::All => true,
            Interest::Events => !is_frame(kind),
            Interest::Frames => is_frame(kind),
        };
        wanted && self.topic.covers(kind) && self.client.is_none_or(|client| owner.is_none_or(|owner| owner == client))
    }
}

fn is_frame(kind: &EventKind) -> bool {
    matches!(kind, EventKind::Frame { .. })
}

/// The sender of all tails.
pub struct TailSender {
    max_events: usize,
    readers: Mutex<Readers>,
    /// Closes the tails when the sender is dropped.
    alive: Arc<()>,
}

#[derive(Default)]
struct Readers {
    all: Vec<Weak<Reader>>,
    owners: Owners,
}

/// The events after a snapshot, for one reader.
pub struct Tail {
    reader: Arc<Reader>,
    after: u64,
}

/// The tail lost its oldest events because its reader was too slow. The reader must watch again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged {
    /// How many events were lost. 0: the events are those of another source from now on, such as a new connection.
    pub missed: u64,
}

struct Reader {
    filter: Filter,
    queue: Mutex<Queue>,
    woken: Notify,
    /// Notified when the queue is half full.
    pressed: Notify,
    sender: Weak<()>,
}

#[derive(Default)]
struct Queue {
    events: Lane,
    frames: Lane,
    missed: u64,
    /// The source of the events was replaced.
    replaced: bool,
    dropped_frames: u64,
}

/// Events in order, each with its weight in bytes.
#[derive(Default)]
struct Lane {
    events: VecDeque<(Arc<Event>, usize)>,
    bytes: usize,
}

impl Lane {
    /// Adds an event, and returns how many of the oldest were dropped for it.
    fn push(&mut self, event: &Arc<Event>, weight: usize, max_events: usize) -> u64 {
        self.events.push_back((event.clone(), weight));
        self.bytes += weight;
        let mut dropped = 0;
        // The newest event is always retained, however large it is.
        while self.events.len() > max_events || (self.bytes > bounds::TAIL && self.events.len() > 1) {
            self.pop();
            dropped += 1;
        }
        dropped
    }

    fn pop(&mut self) -> Option<Arc<Event>> {
        let (event, weight) = self.events.pop_front()?;
        self.bytes -= weight;
        if self.events.is_empty() && self.events.capacity() > 1024 {
            self.events = VecDeque::new();
        }
        Some(event)
    }

    /// Returns the number of the next event.
    fn next_seq(&self) -> Option<u64> {
        self.events.front().map(|(event, _)| event.seq)
    }
}

impl Queue {
    fn push(&mut self, event: &Arc<Event>, weight: usize, max_events: usize) {
        if is_frame(&event.kind) {
            self.dropped_frames += self.frames.push(event, weight, max_events);
        } else {
            self.missed += self.events.push(event, weight, max_events);
        }
    }

    fn half_full(&self, max_events: usize) -> bool {
        [&self.events, &self.frames].into_iter().any(|lane| lane.events.len() > max_events / 2 || lane.bytes > bounds::TAIL / 2)
    }

    /// Returns the next event of both lanes in the order of publishing.
    fn pop(&mut self) -> Option<Arc<Event>> {
        match (self.events.next_seq(), self.frames.next_seq()) {
            (Some(event), Some(frame)) if frame < event => self.frames.pop(),
            (None, Some(_)) => self.frames.pop(),
            _ => self.events.pop(),
        }
    }
}

impl Reader {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    fn pop(&self) -> Result<Option<Arc<Event>>, Lagged> {
        let mut queue = self.queue();
        if std::mem::take(&mut queue.replaced) {
            queue.missed = 0;
            return Err(Lagged { missed: 0 });
        }
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
    /// Creates a sender whose readers queue at most `max_events` events each, and as many frames.
    pub fn new(max_events: usize) -> TailSender {
        TailSender { max_events, readers: Mutex::default(), alive: Arc::default() }
    }

    /// Queues an event for every reader that its filter admits.
    pub fn send(&self, event: &Arc<Event>) {
        let mut readers = self.readers.lock();
        let owner = readers.owners.owner(&event.kind);
        if readers.all.is_empty() {
            return;
        }
        let weight = event.kind.weight();
        readers.all.retain(|reader| {
            let Some(reader) = reader.upgrade() else { return false };
            if reader.filter.takes(&event.kind, owner) {
                let mut queue = reader.queue();
                queue.push(event, weight, self.max_events);
                let pressed = queue.half_full(self.max_events);
                drop(queue);
                reader.woken.notify_one();
                if pressed {
                    reader.pressed.notify_one();
                }
            }
            true
        });
    }

    /// Returns a tail of the events with numbers above `after` that are sent from now on.
    pub fn subscribe(&self, after: u64) -> Tail {
        self.subscribe_to(after, Filter::default())
    }

    /// Returns a tail of the events with numbers above `after` that are sent from now on and that the filter admits.
    pub fn subscribe_to(&self, after: u64, filter: Filter) -> Tail {
        let reader = Arc::new(Reader {
            filter,
            queue: Mutex::default(),
            woken: Notify::new(),
            pressed: Notify::new(),
            sender: Arc::downgrade(&self.alive),
        });
        self.readers.lock().all.push(Arc::downgrade(&reader));
        Tail { reader, after }
    }

    /// Drops all queued events and makes every reader of events lag: events were lost before they reached this sender.
    pub fn lag(&self, missed: u64) {
        for reader in self.readers() {
            let mut queue = reader.queue();
            let lost = queue.events.events.len() as u64;
            queue.events = Lane::default();
            if reader.filter.interest != Interest::Frames {
                queue.missed += lost + missed;
            }
            reader.woken.notify_one();
        }
    }

    /// Drops all queued events, and makes every reader of events take a new snapshot: the source of the events was replaced.
    pub fn replace(&self) {
        for reader in self.readers() {
            let mut queue = reader.queue();
            queue.events = Lane::default();
            if reader.filter.interest != Interest::Frames {
                (queue.missed, queue.replaced) = (0, true);
            }
            reader.woken.notify_one();
        }
    }

    /// Counts frames that were dropped before they reached this sender.
    pub fn frames_dropped(&self, count: u64) {
        for reader in self.readers().into_iter().filter(|reader| reader.filter.interest != Interest::Events) {
            reader.queue().dropped_frames += count;
        }
    }

    fn readers(&self) -> Vec<Arc<Reader>> {
        self.readers.lock().all.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Drop for TailSender {
    fn drop(&mut self) {
        self.alive = Arc::default();
        for reader in self.readers() {
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
    ///
    /// For readers in the background: a new event wakes them only after 10 ms, or when the queue is half full, since each wake-up
    /// costs the call that published the event several microseconds.
    pub async fn next_gathered(&mut self, end: &CancellationToken) -> Result<Option<Arc<Event>>, Lagged> {
        // Read before the queue, so that the last events of a dropped sender are seen.
        let open = self.reader.sender.strong_count() > 0;
        if let Some(event) = self.try_next()? {
            return Ok(Some(event));
        }
        if !open {
            return Ok(None);
        }
        let woken = async {
            self.reader.woken.notified().await;
            tokio::select! {
                () = self.reader.pressed.notified() => {}
                () = sleep(GATHER) => {}
            }
        };
        tokio::select! {
            biased;
            () = end.cancelled() => return self.try_next(),
            () = woken => {}
        }
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

    /// Returns how many frames were dropped since the last call because the reader was too slow.
    pub fn take_dropped_frames(&mut self) -> u64 {
        std::mem::take(&mut self.reader.queue().dropped_frames)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::domain::{
        body::Body,
        event::{Notice, NoticeLevel},
        frame::{Direction, Frame, FrameKind},
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
            assert!(slow.reader.queue().events.bytes <= bounds::TAIL);
        }
        let queued = slow.reader.queue().events.events.len() as u64;
        assert!((6..=8).contains(&queued), "{queued}");
        assert_eq!(slow.next().await, Err(Lagged { missed: 20 - queued }));
        assert_eq!(slow.next().await.unwrap().unwrap().seq, 21 - queued);
        assert_eq!(fast.reader.queue().events.bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_in_the_background_is_woken_once_for_events_that_gather() {
        let (sender, end) = (TailSender::new(8), CancellationToken::new());
        let mut tail = sender.subscribe(0);
        let began = tokio::time::Instant::now();
        {
            let mut first = std::pin::pin!(tail.next_gathered(&end));
            assert!(first.as_mut().now_or_never().is_none());
            sender.send(&event(1, 1));
            sender.send(&event(2, 1));
            assert_eq!(first.await.unwrap().unwrap().seq, 1);
        }
        let gathered = began.elapsed();
        assert!(gathered >= GATHER, "{gathered:?}");
        assert_eq!(tail.next_gathered(&end).await.unwrap().unwrap().seq, 2, "what is queued needs no wait");
        assert_eq!(began.elapsed(), gathered);
        // A queue that is half full is read earlier, so that a flood does not make the reader lag.
        for seq in 3..=7 {
            sender.send(&event(seq, 1));
        }
        for seq in 3..=7 {
            assert_eq!(tail.next_gathered(&end).await.unwrap().unwrap().seq, seq);
        }
        let mut next = std::pin::pin!(tail.next_gathered(&end));
        assert!(next.as_mut().now_or_never().is_none());
        end.cancel();
        assert_eq!(next.await, Ok(None));
    }

    #[tokio::test]
    async fn what_was_published_before_the_end_is_read() {
        let (sender, end) = (TailSender::default(), CancellationToken::new());
        let mut tail = sender.subscribe(0);
        sender.send(&event(1, 1));
        end.cancel();
        assert_eq!(tail.next_gathered(&end).await.unwrap().unwrap().seq, 1);
        assert_eq!(tail.next_gathered(&end).await, Ok(None));
        let mut tail = sender.subscribe(0);
        sender.send(&event(2, 1));
        drop(sender);
        let open = CancellationToken::new();
        assert_eq!(tail.next_gathered(&open).await.unwrap().unwrap().seq, 2);
        assert_eq!(tail.next_gathered(&open).await, Ok(None));
    }

    #[tokio::test]
    async fn an_event_of_another_topic_does_not_wake_a_reader() {
        let sender = TailSender::default();
        let mut tail = sender.subscribe_to(0, Filter { topic: Topic::ServerMessages, ..Filter::default() });
        let mut next = std::pin::pin!(tail.next());
        sender.send(&event(1, 1));
        assert!(next.as_mut().now_or_never().is_none());
        let kind = EventKind::ResourceUpdated { server: "s".into(), uri: "file:///a".into() };
        sender.send(&Arc::new(Event { seq: 2, at: Stamp(0), kind }));
        assert_eq!(next.await.unwrap().unwrap().seq, 2);
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

    fn frame(seq: u64, bytes: usize) -> Arc<Event> {
        let frame = Frame {
            seq,
            at: Stamp(0),
            server: "s".into(),
            direction: Direction::In,
            kind: FrameKind::Noise,
            body: Body::new(vec![b'x'; bytes]),
            cut: None,
            size: bytes as u64,
            call: None,
            method: None,
            rpc_id: None,
            http: None,
        };
        Arc::new(Event { seq, at: Stamp(0), kind: EventKind::Frame { frame: Arc::new(frame) } })
    }

    #[tokio::test]
    async fn a_flood_of_frames_drops_frames_and_no_event() {
        let sender = TailSender::new(4);
        let mut all = sender.subscribe(0);
        let mut events = sender.subscribe_to(0, Filter { interest: Interest::Events, ..Filter::default() });
        let mut frames = sender.subscribe_to(0, Filter { interest: Interest::Frames, ..Filter::default() });
        sender.send(&event(1, 1));
        (2..=11).for_each(|seq| sender.send(&frame(seq, 1)));
        sender.send(&event(12, 1));
        let taken = |tail: &mut Tail| -> Vec<u64> { std::iter::from_fn(|| tail.try_next().unwrap()).map(|event| event.seq).collect() };
        assert_eq!(taken(&mut all), [1, 8, 9, 10, 11, 12]);
        assert_eq!((all.take_dropped_frames(), all.take_dropped_frames()), (6, 0));
        assert_eq!((taken(&mut events), events.take_dropped_frames()), (vec![1, 12], 0));
        assert_eq!((taken(&mut frames), frames.take_dropped_frames()), (vec![8, 9, 10, 11], 6));
    }

    #[tokio::test]
    async fn frames_are_bounded_in_bytes_too() {
        let sender = TailSender::default();
        let mut tail = sender.subscribe(0);
        (1..=20).for_each(|seq| sender.send(&frame(seq, 1 << 20)));
        assert!(tail.reader.queue().frames.bytes <= bounds::TAIL);
        let left = std::iter::from_fn(|| tail.try_next().unwrap()).count() as u64;
        assert_eq!(tail.take_dropped_frames(), 20 - left);
    }

    #[tokio::test]
    async fn readers_lag_when_events_were_lost_before_the_sender() {
        let sender = TailSender::default();
        let mut tail = sender.subscribe(0);
        let mut frames = sender.subscribe_to(0, Filter { interest: Interest::Frames, ..Filter::default() });
        sender.send(&event(1, 1));
        sender.lag(7);
        sender.frames_dropped(3);
        assert_eq!(tail.next().await, Err(Lagged { missed: 8 }));
        assert_eq!((frames.try_next(), frames.take_dropped_frames()), (Ok(None), 3));
        sender.send(&event(9, 1));
        assert_eq!(tail.next().await.unwrap().unwrap().seq, 9);
    }
}
