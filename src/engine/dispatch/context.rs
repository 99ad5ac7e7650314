//! What sessions tell of a call, made into events, stations and moved deadlines.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{
    domain::{
        call::Progress,
        event::EventKind,
        id::{CallId, ServerId},
        policy::call_event::{CallEvent, Resend},
        time::Stamp,
    },
    engine::{
        bus::Bus,
        inbox::Inbox,
        lock,
        ports::{Reply, RequestObserver},
    },
};

/// Where a call has been.
#[derive(Clone, Debug, Default)]
pub struct CallTimestamps {
    pub sent: Option<Stamp>,
    pub first_byte: Option<Stamp>,
    pub last_byte: Option<Stamp>,
    pub rounds: u32,
    pub sent_bytes: u64,
    pub received_bytes: u64,
    /// Attempts begun.
    pub attempts: u32,
    /// Whose answer it is, when that is another server than the one asked.
    pub by: Option<ServerId>,
    /// How old the answer is, when it was kept.
    pub cached: Option<Duration>,
    /// The servers that failed it and may have had work with that.
    pub worked: Vec<ServerId>,
    /// The call is settled; what still comes of it is not told any more.
    pub over: bool,
}

/// The last sign of life, or the beginning: from there a limit runs.
#[derive(Clone, Copy, Debug)]
pub struct Alive {
    at: Instant,
    /// For how long the call's time had stood still by then.
    thought: Duration,
}

/// The beginning of a call.
pub fn alive_since(at: Instant) -> Mutex<Alive> {
    Mutex::new(Alive { at, thought: Duration::ZERO })
}

/// What all attempts of a call share.
pub struct CallContext {
    pub id: CallId,
    pub bus: Arc<Bus>,
    pub timestamps: Arc<Mutex<CallTimestamps>>,
    /// How long the call may take without progress.
    pub limit: Duration,
    /// When it ends, whatever progress is reported. The time that people think comes on top of it, as of every limit.
    pub last: Instant,
    pub alive: Mutex<Alive>,
    /// Where it is seen how long people think.
    pub inbox: Arc<Inbox>,
    pub reason: Mutex<String>,
}

impl CallContext {
    pub fn with<T>(&self, change: impl FnOnce(&mut CallTimestamps) -> T) -> T {
        change(&mut self.timestamps.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells what happened to the call, unless it is over.
    pub fn stage(&self, stage: CallEvent) {
        self.with(|s| {
            if !s.over {
                self.bus.publish(EventKind::CallStage { call: self.id, stage: Arc::new(stage) });
            }
        });
    }

    /// Why the call is given up, as told to the server.
    pub fn give_up(&self, reason: &str) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason.to_owned();
    }

    /// When the call ends as things stand.
    pub fn until(&self) -> Instant {
        self.ends(*lock(&self.alive), self.limit)
    }

    /// Resolves when the call's deadline has passed, wherever it was moved meanwhile.
    pub async fn expired(&self) {
        self.passed(&self.alive, self.limit).await;
    }

    fn alive_now(&self) -> Alive {
        Alive { at: Instant::now(), thought: self.inbox.deadline_pauses.total(self.id) }
    }

    /// When `limit` after that sign of life has passed, without the time that people thought.
    fn ends(&self, alive: Alive, limit: Duration) -> Instant {
        let thought = self.inbox.deadline_pauses.total(self.id);
        (alive.at + limit + thought.saturating_sub(alive.thought)).min(self.last + thought)
    }

    /// Resolves when `limit` after the last sign of life has passed, without the time that people think.
    ///
    /// Whatever moves it, moves it to later: it is enough to look again when it seems to be there.
    async fn passed(&self, alive: &Mutex<Alive>, limit: Duration) {
        let deadline_pauses = &self.inbox.deadline_pauses;
        loop {
            let seen = *lock(alive);
            let ends = self.ends(seen, limit);
            if ends <= Instant::now() {
                return;
            }
            // Before it is asked whether one is open, so that none is missed that is closed meanwhile.
            let closed = deadline_pauses.closed();
            match deadline_pauses.stands_until(self.id) {
                None => sleep_until(ends).await,
                Some(at_most) => tokio::select! {
                    () = closed => {}
                    () = sleep_until(at_most) => {}
                },
            }
        }
    }

    pub fn answered(&self, reply: &Reply) {
        self.with(|s| {
            s.first_byte = Some(reply.first_byte);
            s.last_byte = Some(reply.last_byte);
            s.received_bytes = reply.received_bytes;
        });
    }
}

/// One attempt's view of its call.
pub struct AttemptContext {
    pub call: Arc<CallContext>,
    /// Which attempt of the call, from 1.
    pub number: u32,
    /// From when its own limit runs.
    pub alive: Mutex<Alive>,
    pub limit: Duration,
    /// When the request was sent.
    pub sent: OnceLock<Stamp>,
    /// Told when it was.
    on_sent: Notify,
    /// Told as well: whoever sends a second one beside it.
    beside: Option<Arc<Notify>>,
    pub round: std::sync::atomic::AtomicU32,
    pub reason: Mutex<String>,
}

impl AttemptContext {
    pub fn new(call: Arc<CallContext>, number: u32, limit: Option<Duration>, beside: Option<Arc<Notify>>) -> Arc<AttemptContext> {
        // Without a limit of its own an attempt ends with its call.
        let limit = limit.unwrap_or(call.limit).min(call.limit);
        let alive = Mutex::new(call.alive_now());
        Arc::new(AttemptContext {
            call,
            number,
            alive,
            limit,
            sent: OnceLock::new(),
            on_sent: Notify::new(),
            beside,
            round: std::sync::atomic::AtomicU32::new(1),
            reason: Mutex::default(),
        })
    }

    pub fn begin_round(&self, round: u32) {
        self.round.store(round, std::sync::atomic::Ordering::Relaxed);
        self.call.with(|s| s.rounds = s.rounds.max(round));
    }

    /// Why this attempt is given up, while the call goes on.
    pub fn give_up(&self, reason: &str) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason.to_owned();
    }

    /// When the request of this attempt was sent.
    pub fn sent_at(&self) -> Option<Stamp> {
        self.sent.get().copied()
    }

    /// Resolves when the request was sent.
    pub async fn until_sent(&self) {
        let told = self.on_sent.notified();
        if self.sent.get().is_none() {
            told.await;
        }
    }

    /// Resolves when this attempt's own limit has passed, wherever progress moved it.
    pub async fn expired(&self) {
        self.call.passed(&self.alive, self.limit).await;
    }
}

impl RequestObserver for AttemptContext {
    fn sent(&self, at: Stamp, bytes: u64) {
        if self.sent.set(at).is_ok() {
            // One waits at most, and not for long: this is kept for who comes too late.
            self.on_sent.notify_one();
            self.beside.iter().for_each(|beside| beside.notify_one());
        }
        let round = self.round.load(std::sync::atomic::Ordering::Relaxed);
        self.call.with(|s| {
            if !s.over {
                s.sent.get_or_insert(at);
                s.sent_bytes = bytes;
                self.call.bus.publish_at(at, EventKind::CallSent { call: self.call.id, round });
            }
        });
    }

    fn progress(&self, progress: Progress) {
        let now = self.call.alive_now();
        *lock(&self.call.alive) = now;
        *lock(&self.alive) = now;
        self.call.with(|s| {
            if !s.over {
                self.call.bus.publish(EventKind::CallProgress { call: self.call.id, progress });
            }
        });
    }

    fn reason(&self) -> String {
        let own = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if own.is_empty() { self.call.reason.lock().unwrap_or_else(PoisonError::into_inner).clone() } else { own }
    }

    fn resent(&self, cause: Resend) {
        self.call.stage(CallEvent::Resent { attempt: self.number, cause });
    }

    /// Told whether or not the call is over: it is what came of the call, but it moves nothing.
    fn late(&self, at: Stamp) {
        let Some(sent) = self.sent_at() else { return };
        let stage = CallEvent::Late { attempt: self.number, after: at.since(sent) };
        self.call.with(|_| self.call.bus.publish(EventKind::CallStage { call: self.call.id, stage: Arc::new(stage) }));
    }
}

/// The flow of a request that nobody watches.
pub struct NoopObserver;

impl RequestObserver for NoopObserver {
    fn sent(&self, _: Stamp, _: u64) {}
    fn progress(&self, _: Progress) {}
    fn reason(&self) -> String {
        "no longer needed".into()
    }
}
