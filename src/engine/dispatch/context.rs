//! The contexts of a call and its attempts: observe requests and publish call events, timestamps and deadline changes.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    domain::{
        body::Body,
        call::Progress,
        event::EventKind,
        id::{CallId, ServerId},
        policy::call_event::{CallEvent, Resend},
        time::Stamp,
    },
    engine::{
        bus::Bus,
        inbox::Inbox,
        passage::PreparedPassage,
        ports::{Reply, RequestObserver},
    },
};

/// The timestamps and counters of a call.
#[derive(Clone, Debug, Default)]
pub struct CallTimestamps {
    pub sent: Option<Stamp>,
    pub first_byte: Option<Stamp>,
    pub last_byte: Option<Stamp>,
    pub rounds: u32,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// Attempts started.
    pub attempts: u32,
    /// The server that answered, if it is not the one that was asked.
    pub by: Option<ServerId>,
    /// The age of the response, if it was cached.
    pub cached: Option<Duration>,
    /// The servers on which an attempt failed and may have caused work.
    pub failed_servers: Vec<ServerId>,
    /// Whether the call has settled. Later events are not published.
    pub settled: bool,
}

/// The last activity of a call or attempt: its start or the last progress. Time limits run from here.
#[derive(Clone, Copy, Debug)]
pub struct Activity {
    at: Instant,
    /// The call's total deadline pause at that time.
    paused: Duration,
}

/// Returns the activity at the start of a call.
pub fn activity_at(at: Instant) -> Mutex<Activity> {
    Mutex::new(Activity { at, paused: Duration::ZERO })
}

/// The context that all attempts of a call share.
pub struct CallContext {
    pub id: CallId,
    pub bus: Arc<Bus>,
    pub timestamps: Arc<Mutex<CallTimestamps>>,
    /// Maximum time without progress.
    pub limit: Duration,
    /// The latest deadline, however much progress is reported. Deadline pauses extend it, like every limit.
    pub hard_deadline: Instant,
    pub last_activity: Mutex<Activity>,
    /// Owns the deadline pauses.
    pub inbox: Arc<Inbox>,
    /// What the call brings, if a client made it.
    pub passage: Option<Arc<PreparedPassage>>,
    pub reason: Mutex<String>,
}

impl CallContext {
    pub fn with_timestamps<T>(&self, change: impl FnOnce(&mut CallTimestamps) -> T) -> T {
        change(&mut self.timestamps.lock())
    }

    /// Publishes an event of the call, unless it has settled.
    pub fn publish_event(&self, event: CallEvent) {
        self.with_timestamps(|s| {
            if !s.settled {
                self.bus.publish(EventKind::CallStage { call: self.id, stage: Arc::new(event) });
            }
        });
    }

    /// Sets the reason of a cancellation, which is sent to the server.
    pub fn set_cancel_reason(&self, reason: &str) {
        *self.reason.lock() = reason.to_owned();
    }

    /// Returns the call's current deadline.
    pub fn deadline(&self) -> Instant {
        self.deadline_after(*self.last_activity.lock(), self.limit)
    }

    /// Resolves when the call's deadline has passed, including all extensions.
    pub async fn expired(&self) {
        self.limit_passed(&self.last_activity, self.limit).await;
    }

    fn activity_now(&self) -> Activity {
        Activity { at: Instant::now(), paused: self.inbox.deadline_pauses.total(self.id) }
    }

    /// Returns the deadline `limit` after an activity, extended by later deadline pauses.
    fn deadline_after(&self, last_activity: Activity, limit: Duration) -> Instant {
        let paused = self.inbox.deadline_pauses.total(self.id);
        (last_activity.at + limit + paused.saturating_sub(last_activity.paused)).min(self.hard_deadline + paused)
    }

    /// Resolves when the deadline `limit` after the last activity has passed, including deadline pauses.
    ///
    /// Deadlines only move to later, so checking again when the known deadline passes is enough.
    async fn limit_passed(&self, last_activity: &Mutex<Activity>, limit: Duration) {
        let deadline_pauses = &self.inbox.deadline_pauses;
        loop {
            let seen = *last_activity.lock();
            let deadline = self.deadline_after(seen, limit);
            if deadline <= Instant::now() {
                return;
            }
            // Created before the check for open questions, so that no closing is missed.
            let closed = deadline_pauses.closed();
            match deadline_pauses.paused_until(self.id) {
                None => sleep_until(deadline).await,
                Some(at_most) => tokio::select! {
                    () = closed => {}
                    () = sleep_until(at_most) => {}
                },
            }
        }
    }

    pub fn record_response(&self, reply: &Reply) {
        self.with_timestamps(|s| {
            s.first_byte = Some(reply.first_byte);
            s.last_byte = Some(reply.last_byte);
            s.received_bytes = reply.received_bytes;
        });
    }
}

/// When the request of an attempt was sent.
#[derive(Default)]
pub struct SentMark {
    at: OnceLock<Instant>,
    set: Notify,
}

impl SentMark {
    /// Records that the request was sent now. The first call counts.
    pub fn set(&self) {
        if self.at.set(Instant::now()).is_ok() {
            // `notify_one` stores the notification for a later waiter.
            self.set.notify_one();
        }
    }

    /// Resolves `after` the request was sent.
    pub async fn passed(&self, after: Duration) {
        // The request is usually sent by the task that waits here. Waiting for the notification from the start would make that task
        // wake itself, which costs every call a wake-up of another thread.
        sleep(after).await;
        let sent = loop {
            match self.at.get() {
                Some(sent) => break *sent,
                None => self.set.notified().await,
            }
        };
        sleep_until(sent + after).await;
    }
}

/// The context of one attempt.
pub struct AttemptContext {
    pub call: Arc<CallContext>,
    /// The number of the attempt, from 1.
    pub number: u32,
    /// The last activity, from which the attempt's own limit runs.
    pub last_activity: Mutex<Activity>,
    pub limit: Duration,
    /// When the request was sent.
    pub sent: OnceLock<Stamp>,
    /// Notified when the request was sent.
    on_sent: Notify,
    /// From which the delay of a hedge is measured.
    hedge_mark: Option<Arc<SentMark>>,
    pub round: std::sync::atomic::AtomicU32,
    pub reason: Mutex<String>,
}

impl AttemptContext {
    pub fn new(call: Arc<CallContext>, number: u32, limit: Option<Duration>, hedge_mark: Option<Arc<SentMark>>) -> Arc<AttemptContext> {
        // Without its own limit an attempt ends with its call.
        let limit = limit.unwrap_or(call.limit).min(call.limit);
        let last_activity = Mutex::new(call.activity_now());
        Arc::new(AttemptContext {
            call,
            number,
            last_activity,
            limit,
            sent: OnceLock::new(),
            on_sent: Notify::new(),
            hedge_mark,
            round: std::sync::atomic::AtomicU32::new(1),
            reason: Mutex::default(),
        })
    }

    pub fn begin_round(&self, round: u32) {
        self.round.store(round, std::sync::atomic::Ordering::Relaxed);
        self.call.with_timestamps(|s| s.rounds = s.rounds.max(round));
    }

    /// Sets the reason why only this attempt is cancelled.
    pub fn set_cancel_reason(&self, reason: &str) {
        *self.reason.lock() = reason.to_owned();
    }

    /// Returns when the request was sent.
    pub fn sent_at(&self) -> Option<Stamp> {
        self.sent.get().copied()
    }

    /// Resolves when the request was sent.
    pub async fn until_sent(&self) {
        let notified = self.on_sent.notified();
        if self.sent.get().is_none() {
            notified.await;
        }
    }

    /// Resolves when this attempt's own limit has passed, including all extensions.
    pub async fn expired(&self) {
        self.call.limit_passed(&self.last_activity, self.limit).await;
    }
}

impl RequestObserver for AttemptContext {
    fn sent(&self, at: Stamp, bytes: u64) {
        if self.sent.set(at).is_ok() {
            // At most one task waits; `notify_one` stores the notification for a later waiter.
            self.on_sent.notify_one();
            self.hedge_mark.iter().for_each(|mark| mark.set());
        }
        let round = self.round.load(std::sync::atomic::Ordering::Relaxed);
        self.call.with_timestamps(|s| {
            if !s.settled {
                s.sent.get_or_insert(at);
                s.sent_bytes = bytes;
                self.call.bus.publish_at(at, EventKind::CallSent { call: self.call.id, round });
            }
        });
    }

    fn progress(&self, params: &Body) {
        let Some(progress) = Progress::read(params) else { return };
        let now = self.call.activity_now();
        *self.call.last_activity.lock() = now;
        *self.last_activity.lock() = now;
        self.call.with_timestamps(|s| {
            if !s.settled {
                self.call.bus.publish(EventKind::CallProgress { call: self.call.id, progress });
                // Under the lock, so that none follows the end of the call.
                if let Some(passage) = self.call.passage.as_ref().filter(|passage| passage.wants_progress()) {
                    passage.desk().progress(params);
                }
            }
        });
    }

    fn reason(&self) -> String {
        let own = self.reason.lock().clone();
        if own.is_empty() { self.call.reason.lock().clone() } else { own }
    }

    fn resent(&self, cause: Resend) {
        self.call.publish_event(CallEvent::Resent { attempt: self.number, cause });
    }

    /// Published even after the call has settled: a late response is recorded in the call's trace and otherwise ignored.
    fn late(&self, at: Stamp) {
        let Some(sent) = self.sent_at() else { return };
        let event = CallEvent::Late { attempt: self.number, after: at.since(sent) };
        self.call.with_timestamps(|_| self.call.bus.publish(EventKind::CallStage { call: self.call.id, stage: Arc::new(event) }));
    }
}

/// An observer that ignores everything.
pub struct NoopObserver;

impl RequestObserver for NoopObserver {
    fn sent(&self, _: Stamp, _: u64) {}
    fn progress(&self, _: &Body) {}
    fn reason(&self) -> String {
        "not needed any more".into()
    }
}
