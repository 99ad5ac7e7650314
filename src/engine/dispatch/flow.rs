//! What sessions tell of a call, made into events, stations and moved deadlines.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    domain::{
        call::Progress,
        event::EventKind,
        id::{CallId, ServerId},
        policy::stage::Stage,
        time::Stamp,
    },
    engine::{
        bus::Bus,
        ports::{Flow, Reply},
    },
};

/// Where a call has been.
#[derive(Clone, Debug, Default)]
pub struct Stations {
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
    /// The call is settled; what still comes of it is not told any more.
    pub over: bool,
}

/// What all attempts of a call share.
pub struct CallFlow {
    pub id: CallId,
    pub bus: Arc<Bus>,
    pub stations: Arc<Mutex<Stations>>,
    /// How long the call may take without progress.
    pub limit: Duration,
    /// When it ends, whatever progress is reported.
    pub last: Instant,
    pub deadline: watch::Sender<Instant>,
    pub reason: Mutex<String>,
}

impl CallFlow {
    pub fn with<T>(&self, change: impl FnOnce(&mut Stations) -> T) -> T {
        change(&mut self.stations.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells what happened to the call, unless it is over.
    pub fn stage(&self, stage: Stage) {
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
        *self.deadline.borrow()
    }

    /// Resolves when the call's deadline has passed, wherever it was moved meanwhile.
    pub async fn expired(&self) {
        passed(self.deadline.subscribe()).await;
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
pub struct AttemptFlow {
    pub call: Arc<CallFlow>,
    /// When this attempt ends by its own limit.
    pub deadline: watch::Sender<Instant>,
    pub limit: Duration,
    /// When the request was sent.
    pub sent: watch::Sender<Option<Stamp>>,
    pub round: std::sync::atomic::AtomicU32,
    pub reason: Mutex<String>,
}

impl AttemptFlow {
    pub fn new(call: Arc<CallFlow>, limit: Option<Duration>) -> Arc<AttemptFlow> {
        // Without a limit of its own an attempt ends with its call.
        let limit = limit.unwrap_or(call.limit).min(call.limit);
        let (deadline, _) = watch::channel((Instant::now() + limit).min(call.last));
        Arc::new(AttemptFlow {
            call,
            deadline,
            limit,
            sent: watch::channel(None).0,
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
        *self.sent.borrow()
    }

    /// Resolves when the request was sent.
    pub async fn until_sent(&self) {
        let _ = self.sent.subscribe().wait_for(Option::is_some).await;
    }

    /// Resolves when this attempt's own limit has passed, wherever progress moved it.
    pub async fn expired(&self) {
        passed(self.deadline.subscribe()).await;
    }
}

impl Flow for AttemptFlow {
    fn sent(&self, at: Stamp, bytes: u64) {
        self.sent.send_if_modified(|sent| {
            sent.get_or_insert(at);
            true
        });
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
        let now = Instant::now();
        self.call.deadline.send_replace((now + self.call.limit).min(self.call.last));
        self.deadline.send_replace((now + self.limit).min(self.call.last));
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
}

/// Resolves when the deadline has passed, wherever it was moved meanwhile.
async fn passed(mut deadline: watch::Receiver<Instant>) {
    loop {
        let until = *deadline.borrow_and_update();
        match timeout_at(until, deadline.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                sleep_until(until).await;
                return;
            }
            Err(_) => return,
        }
    }
}

/// The flow of a request that nobody watches.
pub struct Unwatched;

impl Flow for Unwatched {
    fn sent(&self, _: Stamp, _: u64) {}
    fn progress(&self, _: Progress) {}
    fn reason(&self) -> String {
        "no longer needed".into()
    }
}
