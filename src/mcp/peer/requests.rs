//! The server's own requests: questions, pings and what is refused. Bounded in number, bytes and time.
//!
//! At most [`OPEN`] requests of a server are under way and [`REFUSALS`] refusals wait to be sent; what comes beyond that is dropped
//! and counted as [`AnomalyKind::Flood`]. At most [`AT_ONCE`] answers are sent simultaneously, each within [`PATIENCE`], so that a
//! server that takes no answers holds that many connections and no more.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

use super::{Arrival, Outbox, Peer, lock};
use crate::{
    domain::{
        ask::{Answer, Question},
        body::Body,
        bounds,
        frame::AnomalyKind,
        id::CallId,
        time::{short, size},
    },
    mcp::wire,
};

/// Requests of the server that may be open; more are refused.
const OPEN: usize = 64;
/// Refusals that may wait to be sent; more requests are not answered.
const REFUSALS: usize = 16;
/// Answers that are sent simultaneously.
const AT_ONCE: usize = 4;
/// How long the server may take to accept one answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The requests of one server that are under way.
pub(super) struct Requests {
    open: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    sending: Arc<Semaphore>,
    /// KiB of questions that may be open.
    kib: Arc<Semaphore>,
    questions: Mutex<HashMap<Arc<str>, OpenQuestion>>,
}

/// A request of the server that is not answered yet.
struct OpenQuestion {
    /// The call in whose course it came.
    call: Option<CallId>,
    over: oneshot::Sender<Withdrawn>,
}

/// Why a request of the server needs no answer of ours any more.
enum Withdrawn {
    /// The server took it back, and wants none.
    ByServer,
    /// Its call was given up; it is told so.
    WithCall,
}

/// What is done about a request.
enum Plan {
    /// It is put to the host.
    Ask(Question, OwnedSemaphorePermit),
    Answer(Result<serde_json::Value, (i64, String)>),
}

impl Default for Requests {
    fn default() -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        Requests {
            open: permits(OPEN),
            refusals: permits(REFUSALS),
            sending: permits(AT_ONCE),
            kib: permits(bounds::QUESTIONS >> 10),
            questions: Mutex::default(),
        }
    }
}

impl Requests {
    /// Forgets all: the connection is gone. Whoever answers them sees that nobody listens.
    pub(super) fn clear(&self) {
        lock(&self.questions).clear();
    }

    /// The server took a request back; `id` is JSON text.
    pub(super) fn cancelled(&self, id: &str) {
        if let Some(question) = lock(&self.questions).remove(id) {
            let _ = question.over.send(Withdrawn::ByServer);
        }
    }

    /// Takes back the questions that came in the course of a call that was given up: not every server
    /// does so itself, and they would stay in the inbox for ever.
    pub(super) fn withdraw(&self, call: CallId) {
        for (_, question) in lock(&self.questions).extract_if(|_, question| question.call == Some(call)) {
            let _ = question.over.send(Withdrawn::WithCall);
        }
    }

    /// Decides about a request; `Err` is why it is refused as one of too many.
    fn plan(&self, method: &str, params: &Body) -> Result<Plan, String> {
        if method == "ping" {
            return Ok(Plan::Answer(Ok(serde_json::json!({}))));
        }
        let Some(question) = Question::from_request(method, params) else {
            return Ok(Plan::Answer(Err((-32601, format!("{} is not supported", bounds::cut(method, 100))))));
        };
        if question.oversize() {
            let limit = size(bounds::QUESTION as u64);
            return Ok(Plan::Answer(Err((-32602, format!("the question is longer than {limit}")))));
        }
        let kib = u32::try_from(question.weight().div_ceil(1024)).unwrap_or(u32::MAX);
        match self.kib.clone().try_acquire_many_owned(kib) {
            Ok(held) => Ok(Plan::Ask(question, held)),
            Err(_) => Err(format!("more than {} of open questions", size(bounds::QUESTIONS as u64))),
        }
    }
}

impl Peer {
    /// Answers a request of the server, or refuses it.
    pub(super) fn request(
        self: &Arc<Self>,
        id: Arc<str>,
        method: &str,
        params: &Body,
        arrival: &Arrival,
        frame: u64,
        outbox: &Arc<dyn Outbox>,
    ) {
        let note = |kind, detail: String| self.anomaly(kind, detail, arrival.call, Some(frame));
        if id.len() > bounds::ID {
            return note(AnomalyKind::Oversize, format!("a request with an id of {}: not answered", size(id.len() as u64)));
        }
        let Ok(permit) = self.requests.open.clone().try_acquire_owned() else {
            return self.refuse(id, format!("more than {OPEN} requests under way"), arrival, frame, outbox);
        };
        let plan = match self.requests.plan(method, params) {
            Ok(plan) => plan,
            Err(why) => return self.refuse(id, why, arrival, frame, outbox),
        };
        if let Plan::Answer(Err((code, message))) = &plan
            && (*code == -32602 || method.len() > bounds::METHOD)
        {
            note(AnomalyKind::Oversize, format!("a request that was refused: {message}"));
        }
        let (over, withdrawn) = oneshot::channel();
        let call = self.likely_call(arrival);
        lock(&self.requests.questions).insert(id.clone(), OpenQuestion { call, over });
        let (peer, outbox) = (self.clone(), outbox.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let answer = match plan {
                Plan::Answer(answer) => answer,
                Plan::Ask(question, _held) => tokio::select! {
                    // What the server took back first is not answered, even if its call ended meanwhile.
                    biased;
                    why = withdrawn => match why {
                        Ok(Withdrawn::WithCall) => Answer::Cancel.to_result(&question),
                        Ok(Withdrawn::ByServer) | Err(_) => return,
                    },
                    answer = peer.host.ask(question.clone(), call) => answer.to_result(&question),
                },
            };
            lock(&peer.requests.questions).remove(&*id);
            peer.send_answer(&outbox, wire::response(&id, &answer)).await;
        });
    }

    /// Refuses one request of too many, or drops it where the refusals are too many as well.
    fn refuse(self: &Arc<Self>, id: Arc<str>, why: String, arrival: &Arrival, frame: u64, outbox: &Arc<dyn Outbox>) {
        let permit = self.requests.refusals.clone().try_acquire_owned();
        let done = if permit.is_ok() { "refused" } else { "dropped without an answer" };
        self.anomaly(AnomalyKind::Flood, format!("{why}; this one was {done}"), arrival.call, Some(frame));
        let Ok(permit) = permit else { return };
        let (peer, outbox) = (self.clone(), outbox.clone());
        let body = wire::response(&id, &Err((-32603, "too many requests at once".into())));
        tokio::spawn(async move {
            let _permit = permit;
            peer.send_answer(&outbox, body).await;
        });
    }

    /// Sends an answer when it is its turn. An answer that the server does not take in time is dropped and counted.
    async fn send_answer(&self, outbox: &Arc<dyn Outbox>, body: Body) {
        let Ok(_turn) = self.requests.sending.acquire().await else { return };
        if timeout(PATIENCE, outbox.reply(body)).await.is_err() {
            let detail = format!("an answer to a request of the server was not taken within {}", short(PATIENCE));
            self.anomaly(AnomalyKind::Unread, detail, None, None);
        }
    }
}
