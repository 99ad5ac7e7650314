//! The queue of copied bytes between the pumps and the observer: bounded, and never waited for by a pump.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};

/// Maximum number of queued bytes.
const BYTES: usize = 4 << 20;
/// Maximum number of queued runs: each has an overhead.
const RUNS: usize = 64 << 10;
/// How long runs gather before the observer is woken.
const GATHER: Duration = Duration::from_millis(5);

/// One direction of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lane {
    /// The connection, from 0.
    pub connection: u64,
    /// The stream of the connection.
    pub stream: Stream,
}

/// A stream of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
    /// The stderr of the server.
    Stderr,
}

/// What the observer gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// A run of bytes.
    Run(Bytes),
    /// Bytes were not copied here, because the queue was full.
    Lost(u64),
    /// The stream has ended.
    End,
}

/// The queue. Cheap to clone.
#[derive(Clone, Default)]
pub struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    ready: Notify,
    /// Notified when the queue is half full, and when it is closed.
    pressed: Notify,
}

#[derive(Default)]
struct State {
    /// Each with the time at which it passed.
    queued: VecDeque<(Lane, Observed, Instant)>,
    bytes: usize,
    /// The bytes that were lost since the last run of their lane.
    lost: Vec<(Lane, u64)>,
    all_lost: u64,
    closed: bool,
}

impl Queue {
    /// Copies a run of bytes, or counts it as lost if the queue is full.
    pub fn offer(&self, lane: Lane, run: &[u8]) {
        let mut state = self.0.state.lock();
        if state.bytes + run.len() > BYTES || state.queued.len() >= RUNS {
            state.lose(lane, run.len() as u64);
            return;
        }
        state.report_lost(lane);
        state.bytes += run.len();
        state.push(lane, Observed::Run(Bytes::copy_from_slice(run)));
        let pressed = state.bytes > BYTES / 2 || state.queued.len() > RUNS / 2;
        drop(state);
        self.0.ready.notify_one();
        if pressed {
            self.0.pressed.notify_one();
        }
    }

    /// Marks the end of a stream.
    pub fn end(&self, lane: Lane) {
        let mut state = self.0.state.lock();
        state.report_lost(lane);
        state.push(lane, Observed::End);
        drop(state);
        self.0.ready.notify_one();
    }

    /// Ends the queue after what it holds.
    pub fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.ready.notify_one();
        self.0.pressed.notify_one();
    }

    /// Returns the next run, and when it passed; `None` when the queue was closed and is empty. There is one reader.
    ///
    /// The reader is woken for the runs of 5 ms together: one that is woken for each takes the processor from the two programs that
    /// talk.
    pub async fn next(&self) -> Option<(Lane, Observed, Instant)> {
        loop {
            {
                let mut state = self.0.state.lock();
                if let Some(next) = state.queued.pop_front() {
                    if let Observed::Run(run) = &next.1 {
                        state.bytes -= run.len();
                    }
                    return Some(next);
                }
                if state.closed {
                    return None;
                }
            }
            self.0.ready.notified().await;
            tokio::select! {
                biased;
                () = self.0.pressed.notified() => {}
                () = sleep(GATHER) => {}
            }
        }
    }

    /// Returns the number of bytes that were lost so far.
    pub fn lost(&self) -> u64 {
        self.0.state.lock().all_lost
    }

    /// Returns the number of queued bytes.
    pub fn len(&self) -> usize {
        self.0.state.lock().bytes
    }

    /// Returns whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.0.state.lock().queued.is_empty()
    }
}

impl State {
    fn lose(&mut self, lane: Lane, bytes: u64) {
        self.all_lost += bytes;
        match self.lost.iter_mut().find(|(known, _)| *known == lane) {
            Some((_, lost)) => *lost += bytes,
            None => self.lost.push((lane, bytes)),
        }
    }

    fn report_lost(&mut self, lane: Lane) {
        if let Some(at) = self.lost.iter().position(|(known, _)| *known == lane) {
            let (_, lost) = self.lost.swap_remove(at);
            self.push(lane, Observed::Lost(lost));
        }
    }

    fn push(&mut self, lane: Lane, observed: Observed) {
        self.queued.push_back((lane, observed, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_has_no_room_is_lost_counted_and_reported_in_its_place() {
        let (queue, lane) = (Queue::default(), Lane { connection: 0, stream: Stream::ToClient });
        queue.offer(lane, &vec![1; BYTES - 1]);
        queue.offer(lane, b"ab");
        queue.offer(lane, b"cde");
        assert_eq!((queue.lost(), queue.len()), (5, BYTES - 1));
        let next = async || queue.next().await.map(|(lane, observed, _)| (lane, observed));
        assert!(matches!(next().await, Some((_, Observed::Run(run))) if run.len() == BYTES - 1));
        queue.offer(lane, b"f");
        queue.end(lane);
        queue.close();
        assert_eq!(next().await, Some((lane, Observed::Lost(5))));
        assert_eq!(next().await, Some((lane, Observed::Run(Bytes::from_static(b"f")))));
        assert_eq!(next().await, Some((lane, Observed::End)));
        assert_eq!(next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_reader_is_woken_for_what_gathered_and_for_a_queue_that_fills() {
        use futures_util::FutureExt;
        let (queue, lane) = (Queue::default(), Lane { connection: 0, stream: Stream::ToClient });
        let began = tokio::time::Instant::now();
        let mut first = Box::pin(queue.next());
        assert!(first.as_mut().now_or_never().is_none());
        queue.offer(lane, b"a");
        let passed = Instant::now();
        queue.offer(lane, b"b");
        let (_, observed, at) = first.await.unwrap();
        assert_eq!(observed, Observed::Run(Bytes::from_static(b"a")));
        assert!(at <= passed, "the time at which it passed, not that of the reading");
        let gathered = began.elapsed();
        assert!(gathered >= GATHER, "{gathered:?}");
        assert!(matches!(queue.next().now_or_never(), Some(Some((_, Observed::Run(run), _))) if *run == *b"b"));
        // More than half of the room is read without a wait.
        let mut next = Box::pin(queue.next());
        assert!(next.as_mut().now_or_never().is_none());
        queue.offer(lane, &vec![1; BYTES / 2 + 1]);
        assert!(next.await.is_some());
        let mut last = Box::pin(queue.next());
        assert!(last.as_mut().now_or_never().is_none());
        queue.close();
        assert!(last.await.is_none());
        assert_eq!(began.elapsed(), gathered);
    }
}
