//! Requests of the other end: decided by the [`Handler`](super::Handler), answered in their turn. Bounded in number, bytes and time.
//!
//! The other end has at most [`Limits::incoming`](super::Limits) open requests and [`REFUSALS`] refusals waiting to be sent; further requests are dropped
//! and counted as [`AnomalyKind::Flood`]. At most [`SENDING`] responses are sent concurrently, each within [`Limits::patience`], so that
//! an end that accepts no responses occupies only that many connections.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use super::{Arrival, Connection, Limits, Outbox, Outgoing};
use crate::{
    domain::{
        body::Body,
        bounds,
        call::RpcError,
        frame::AnomalyKind,
        id::{Attribution, CallId},
        time::{short, size},
    },
    protocol::wire::{self, Bad},
};

/// Maximum open requests of a server; further ones are refused.
pub const OPEN: usize = 64;
/// Maximum waiting refusals; further requests are not answered.
pub const REFUSALS: usize = 16;
/// Maximum responses sent concurrently.
pub const SENDING: usize = 4;
/// How long the other end may take to accept a response.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A request of the other end.
pub struct Incoming<'a> {
    /// The id as JSON text.
    pub id: &'a Arc<str>,
    /// The method.
    pub method: &'a str,
    /// `params` as received, empty when absent. A slice of the message: a handler that holds it longer detaches it.
    pub params: &'a Body,
    /// The call that the request belongs to.
    pub call: Attribution,
    /// Where the response is sent, for messages that belong to the request.
    pub outbox: &'a Arc<dyn Outbox>,
}

/// The future that answers a request. Dropped when the request is cancelled or the connection closes.
pub type Answering = Pin<Box<dyn Future<Output = Result<Body, RpcError>> + Send>>;

/// How a request is handled.
pub enum Decision {
    /// This end does not support the method.
    MethodNotFound,
    /// The request is larger than this end accepts, with the message for the other end.
    TooLarge(String),
    /// Answered immediately.
    Answer(Result<Body, RpcError>),
    /// Answered by a future.
    Run {
        /// The answer.
        answer: Answering,
        /// Bytes that the future holds. All open requests hold at most
        /// [`Limits::incoming_bytes`](super::Limits::incoming_bytes).
        weight: usize,
        /// The answer if the call that the request belongs to ends first.
        call_ended: Result<Body, RpcError>,
    },
}

/// The open requests of the other end.
pub(super) struct IncomingRequests {
    permits: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    sending: Arc<Semaphore>,
    /// KiB that open requests may hold.
    kib: Arc<Semaphore>,
    open: Mutex<HashMap<Arc<str>, OpenRequest>>,
}

/// An open request.
struct OpenRequest {
    /// The call that it belongs to.
    call: Option<CallId>,
    over: oneshot::Sender<Withdrawn>,
}

/// Why a request needs no response of its handler.
enum Withdrawn {
    /// The other end cancelled it and expects no response.
    ByRemote,
    /// Its call was cancelled; the response says so.
    WithCall,
}

/// How an accepted request is answered.
enum Plan {
    Answer(Result<Body, RpcError>),
    Run { answer: Answering, call_ended: Result<Body, RpcError>, _held: tokio::sync::OwnedSemaphorePermit },
}

impl IncomingRequests {
    /// Creates the state of a connection with these limits.
    pub(super) fn new(limits: Limits) -> Self {
        let permits = |count| Arc::new(Semaphore::new(count));
        IncomingRequests {
            permits: permits(limits.incoming),
            refusals: permits(REFUSALS),
            sending: permits(SENDING),
            kib: permits(limits.incoming_bytes >> 10),
            open: Mutex::default(),
        }
    }

    /// Drops all open requests: the connection is closed, and nobody can receive the responses.
    pub(super) fn clear(&self) {
        self.open.lock().clear();
    }

    /// Resolves when none of at most `limit` requests is open.
    pub(super) async fn answered(&self, limit: usize) {
        // Fails only if the semaphore is closed, which it never is.
        let _all = self.permits.acquire_many(u32::try_from(limit).unwrap_or(u32::MAX)).await;
    }

    /// Handles a cancellation by the other end; `id` is JSON text.
    pub(super) fn cancelled(&self, id: &str) {
        if let Some(request) = self.open.lock().remove(id) {
            let _ = request.over.send(Withdrawn::ByRemote);
        }
    }

    /// Cancels the requests that belong to a cancelled call. Not every server does that itself, and its questions would stay
    /// in the inbox for ever.
    pub(super) fn withdraw(&self, call: CallId) {
        for (_, request) in self.open.lock().extract_if(|_, request| request.call == Some(call)) {
            let _ = request.over.send(Withdrawn::WithCall);
        }
    }
}

/// A request that is one of too many.
struct Refused {
    id: Arc<str>,
    method: Arc<str>,
    call: Option<CallId>,
    frame: u64,
}

impl Connection {
    /// Answers a request of the other end, or refuses it.
    pub(super) fn incoming_request(
        self: &Arc<Self>,
        id: Arc<str>,
        method: &str,
        params: &Body,
        arrival: &Arrival,
        frame: u64,
        outbox: &Arc<dyn Outbox>,
    ) {
        let note = |kind, detail: String| self.anomaly(kind, detail, arrival.call, Some(frame));
        if self.modern.load(Ordering::Relaxed) {
            let detail = format!("{}: not answered, since its version has no requests of servers", bounds::cut(method, 100));
            return note(AnomalyKind::ForbiddenRequest, detail);
        }
        if id.len() > bounds::ID {
            return note(AnomalyKind::Oversize, format!("a request with an id of more than {}: not answered", size(bounds::ID as u64)));
        }
        let name: Arc<str> = bounds::cut(method, bounds::METHOD).into();
        let Ok(permit) = self.incoming.permits.clone().try_acquire_owned() else {
            let why = format!("more than {} requests under way", self.limits.incoming);
            return self.refuse(Refused { id, method: name, call: arrival.call, frame }, &why, outbox);
        };
        if self.incoming.open.lock().contains_key(&id) {
            // Answered by the first request with this id: a second response would be ambiguous.
            note(AnomalyKind::Duplicate, format!("a second request with id {}", bounds::cut(&id, 100)));
            let error = RpcError { code: -32600, message: "the id belongs to another open request".into(), data: None };
            return self.reply(wire::response(&id, &Err(error)), Some(name), outbox);
        }
        let call = self.attribution(arrival);
        let decision = match method.len() > bounds::METHOD {
            true => Decision::MethodNotFound,
            false => self.handler.request(&Incoming { id: &id, method, params, call, outbox }),
        };
        let error = |code, message| Plan::Answer(Err(RpcError { code, message, data: None }));
        let plan = match decision {
            Decision::Answer(answer) => Plan::Answer(answer),
            Decision::MethodNotFound => {
                let message = format!("{} is not supported", bounds::cut(method, 100));
                if method.len() > bounds::METHOD {
                    note(AnomalyKind::Oversize, format!("a request that was refused: {message}"));
                }
                error(-32601, message)
            }
            Decision::TooLarge(message) => {
                note(AnomalyKind::Oversize, format!("a request that was refused: {message}"));
                error(-32602, message)
            }
            Decision::Run { answer, weight, call_ended } => {
                let kib = u32::try_from(weight.div_ceil(1024)).unwrap_or(u32::MAX);
                let Ok(_held) = self.incoming.kib.clone().try_acquire_many_owned(kib) else {
                    let why = format!("more than {} of open {}", size(self.limits.incoming_bytes as u64), self.remote.requests());
                    return self.refuse(Refused { id, method: name, call: arrival.call, frame }, &why, outbox);
                };
                Plan::Run { answer, call_ended, _held }
            }
        };
        let (over, withdrawn) = oneshot::channel();
        self.incoming.open.lock().insert(id.clone(), OpenRequest { call: call.likely(), over });
        let (connection, outbox) = (self.clone(), outbox.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let Some(answer) = connection.run(&id, plan, withdrawn).await else { return };
            connection.incoming.open.lock().remove(&*id);
            connection.send_response(&outbox, wire::response(&id, &answer), Some(name)).await;
        });
    }

    /// Returns the answer to an open request, or `None` if it gets none.
    async fn run(&self, id: &str, plan: Plan, mut withdrawn: oneshot::Receiver<Withdrawn>) -> Option<Result<Body, RpcError>> {
        let (answer, call_ended, _held) = match plan {
            Plan::Answer(answer) => return Some(answer),
            Plan::Run { answer, call_ended, _held } => (answer, call_ended, _held),
        };
        let answered = tokio::select! {
            biased;
            why = &mut withdrawn => Err(why.ok()),
            answer = answer => Ok(answer),
        };
        // The other end may have cancelled the request after the channel was read: the end of its call answers it as well.
        let open = answered.is_ok() && self.incoming.open.lock().remove(id).is_some();
        match answered {
            Ok(answer) if open => Some(answer),
            answered => match answered.map_or_else(|why| why, |_| withdrawn.try_recv().ok()) {
                Some(Withdrawn::WithCall) => Some(call_ended),
                Some(Withdrawn::ByRemote) | None => None,
            },
        }
    }

    /// Returns how many further requests and refusals are accepted.
    #[cfg(test)]
    pub(crate) fn free_permits(&self) -> (usize, usize) {
        (self.incoming.permits.available_permits(), self.incoming.refusals.available_permits())
    }

    /// Refuses one request of too many, or drops it if there are too many refusals as well.
    fn refuse(self: &Arc<Self>, request: Refused, why: &str, outbox: &Arc<dyn Outbox>) {
        let permit = self.incoming.refusals.clone().try_acquire_owned();
        let done = if permit.is_ok() { "refused" } else { "dropped without an answer" };
        self.anomaly(AnomalyKind::Flood, format!("{why}; this one was {done}"), request.call, Some(request.frame));
        let Ok(permit) = permit else { return };
        let (connection, outbox) = (self.clone(), outbox.clone());
        let error = RpcError { code: -32603, message: "too many concurrent requests".into(), data: None };
        let body = wire::response(&request.id, &Err(error));
        tokio::spawn(async move {
            let _permit = permit;
            connection.send_response(&outbox, body, Some(request.method)).await;
        });
    }

    /// Sends the response to a request that is not handled, unless too many such responses wait already.
    fn reply(self: &Arc<Self>, body: Body, method: Option<Arc<str>>, outbox: &Arc<dyn Outbox>) {
        let Ok(permit) = self.incoming.refusals.clone().try_acquire_owned() else { return };
        let (connection, outbox) = (self.clone(), outbox.clone());
        tokio::spawn(async move {
            let _permit = permit;
            connection.send_response(&outbox, body, method).await;
        });
    }

    /// Answers input that is not a message, if this end does.
    pub(super) fn answer_malformed(self: &Arc<Self>, bad: &Bad, outbox: &Arc<dyn Outbox>) {
        if let Some(error) = self.handler.malformed(bad) {
            self.reply(wire::response(bad.id.as_deref().unwrap_or("null"), &Err(error)), None, outbox);
        }
    }

    /// Sends a response in its turn. A response that the other end does not accept in time is dropped and counted.
    async fn send_response(&self, outbox: &Arc<dyn Outbox>, body: Body, method: Option<Arc<str>>) {
        let Ok(_turn) = self.incoming.sending.acquire().await else { return };
        let patience = self.limits.patience;
        if timeout(patience, outbox.send(Outgoing::response(body, method))).await.is_err() {
            let detail = format!("an answer to a request of the {} was not taken within {}", self.remote, short(patience));
            self.anomaly(AnomalyKind::Unread, detail, None, None);
        }
    }
}
