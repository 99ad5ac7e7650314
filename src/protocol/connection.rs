//! A JSON-RPC connection, the same for both ends: ids, pending requests, responses, progress, cancellation in both directions, and
//! the attribution of faults to the call that they affect.
//!
//! A transport creates a [`Connection`], passes what it reads to [`Connection::incoming`] and sends what the [`Outbox`] gets. What
//! one end does with the requests and notifications of the other is in its [`Handler`]: the client's in `mcp`, the server's later
//! in `gateway`.

mod faults;
mod incoming;
mod notifications;
mod outgoing;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::{faults::NOISE, incoming::IncomingRequests, notifications::progress_token};
pub use self::{
    incoming::{Answering, Decision, Incoming, OPEN, PATIENCE, REFUSALS, SENDING},
    outgoing::{CANCELLED, CancelRule, Observer, Outbox, Outgoing, Ticket},
};
use super::{
    salvage,
    wire::{self, Bad, Message, Parsed, Seems},
};
use crate::domain::{
    body::Body,
    bounds,
    call::{Failure, FailureKind, Reply, RpcError},
    frame::{Anomaly, AnomalyKind, Direction, FrameDraft, FrameKind, HttpNote},
    id::{Attribution, CallId},
    plural::counted,
    time::Stamp,
};

/// Number of ended requests remembered, to distinguish late responses from wrong ones.
const REMEMBERED: usize = 1024;
/// What to do about a response that breaks the protocol.
pub const RESPONSE_HINT: &str = "report it to the maintainer of the server; the console, and --verbose --jsonl, show its bytes";
/// The notification of progress.
pub const PROGRESS: &str = "notifications/progress";
/// The request that opens a subscription (MCP 2026-07-28, basic/patterns/subscriptions).
pub const LISTEN: &str = "subscriptions/listen";

/// What one end of a connection does with the messages of the other end, and who observes them.
pub trait Handler: Send + Sync {
    /// A message, or noise, was received. Returns the number of the frame.
    fn frame(&self, frame: FrameDraft) -> u64;
    /// The other end violated the protocol.
    fn anomaly(&self, anomaly: Anomaly);
    /// The other end sent a notification, except progress and cancellation, which the connection handles.
    fn notification(&self, method: &str, params: &Body, call: Attribution);
    /// Decides how to handle a request. Must not block: the connection reads no further message meanwhile.
    fn request(&self, request: &Incoming<'_>) -> Decision;
    /// Returns the error response to input that is not a message, if it gets one. A client sends none: its peer reads only
    /// responses.
    fn malformed(&self, _bad: &Bad) -> Option<RpcError> {
        None
    }
}

/// Which end of a connection is remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A server.
    Server,
    /// A client.
    Client,
}

impl Remote {
    /// Returns what the open requests of this end are, in messages.
    fn requests(self) -> &'static str {
        match self {
            Remote::Server => "questions",
            Remote::Client => "requests",
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Remote::Server => "server",
            Remote::Client => "client",
        })
    }
}

/// The limits of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Size of the largest message, in bytes.
    pub message_bytes: usize,
    /// Maximum pending requests of this end.
    pub requests: usize,
    /// Maximum open requests of the other end; further ones are refused.
    pub incoming: usize,
    /// Bytes that the open requests of the other end may hold together; further ones are refused.
    pub incoming_bytes: usize,
    /// How long the other end may take to accept a response, which is dropped otherwise.
    pub patience: Duration,
}

impl Default for Limits {
    /// 16 MiB, 65,536 requests (more than the limiters of the engine let through), and 64 requests of the other end with 2 MiB, each
    /// response accepted within 10 s.
    fn default() -> Limits {
        Limits { message_bytes: 16 << 20, requests: 1 << 16, incoming: OPEN, incoming_bytes: bounds::QUESTIONS, patience: PATIENCE }
    }
}

/// How input arrived.
#[derive(Clone, Debug, Default)]
pub struct Arrival {
    /// When its first byte was read.
    pub first: Stamp,
    /// When its last byte was read.
    pub last: Stamp,
    /// Bytes on the wire.
    pub size: u64,
    /// The HTTP metadata.
    pub http: Option<Arc<HttpNote>>,
    /// The call whose response stream it arrived in, if the transport knows.
    pub call: Option<CallId>,
}

/// A pending request.
struct Slot {
    call: Option<CallId>,
    method: Arc<str>,
    observer: Arc<dyn Observer>,
    sent_bytes: u64,
    /// Its position among all written messages, once it is written.
    written: u64,
    /// Whether it was written incompletely, so that it cannot be answered.
    cut: bool,
    answer: oneshot::Sender<Result<Reply, Failure>>,
}

#[derive(Default)]
struct Pending {
    slots: HashMap<u64, Slot>,
    ended: VecDeque<(u64, Ended)>,
    /// Number of messages written so far.
    written: u64,
    /// The positions of notifications after which no request has been answered yet.
    notifications: VecDeque<u64>,
    /// Requests that were answered with a task.
    tasks: Vec<TaskRequest>,
    closed: Option<Failure>,
}

/// A request that was answered with a task.
struct TaskRequest {
    request: u64,
    call: CallId,
    observer: Arc<dyn Observer>,
}

#[derive(Clone)]
struct Ended {
    call: Option<CallId>,
    method: Arc<str>,
    /// The observer of a late response; `None` if the request was answered.
    cancelled: Option<Arc<dyn Observer>>,
}

/// One end of a connection.
pub struct Connection {
    handler: Arc<dyn Handler>,
    remote: Remote,
    limits: Limits,
    next_id: AtomicU64,
    pending: Mutex<Pending>,
    incoming: IncomingRequests,
    batches: AtomicBool,
    /// Whether the other end must not send requests, and names subscriptions in notifications.
    modern: AtomicBool,
}

impl Connection {
    /// Creates this end of a connection to `remote`.
    pub fn new(remote: Remote, limits: Limits, handler: Arc<dyn Handler>) -> Arc<Connection> {
        Arc::new(Connection {
            handler,
            remote,
            limits,
            next_id: AtomicU64::new(1),
            pending: Mutex::default(),
            incoming: IncomingRequests::new(limits),
            batches: false.into(),
            modern: false.into(),
        })
    }

    /// Accepts batch arrays: the negotiated version is 2025-03-26, the only one that has them.
    pub fn accept_batches(&self) {
        self.batches.store(true, Ordering::Relaxed);
    }

    /// Answers no requests of the other end from now on, and expects its notifications to name their subscription: servers of
    /// 2026-07-28 send no requests (MCP 2026-07-28, basic/patterns).
    pub fn forbid_requests(&self) {
        self.modern.store(true, Ordering::Relaxed);
    }

    /// Registers a request before it is sent, so that its response cannot arrive first.
    pub fn register(
        self: &Arc<Self>,
        id: u64,
        method: &str,
        call: Option<CallId>,
        sent_bytes: u64,
        observer: Arc<dyn Observer>,
    ) -> Result<Ticket, Failure> {
        let (answer, wait) = oneshot::channel();
        let mut pending = self.pending.lock();
        if let Some(failure) = &pending.closed {
            return Err(Failure { may_have_run: false, ..failure.clone() });
        }
        if pending.slots.len() >= self.limits.requests {
            let message = format!("more than {} requests under way", self.limits.requests);
            return Err(Failure::new(FailureKind::Overloaded, message));
        }
        pending
            .slots
            .insert(id, Slot { call, method: method.into(), observer: observer.clone(), sent_bytes, written: 0, cut: false, answer });
        Ok(Ticket::new(self.clone(), id, wait, observer))
    }

    /// Records that a request is about to be written. Returns false if it was cancelled meanwhile; it is then never written.
    pub fn begin(&self, id: u64, notifications: impl FnOnce()) -> bool {
        let mut pending = self.pending.lock();
        let place = pending.written + 1;
        let Some(slot) = pending.slots.get_mut(&id) else { return false };
        slot.written = place;
        pending.written = place;
        notifications();
        true
    }

    /// Records that the request was written incompletely.
    pub fn cut(&self, id: u64) {
        if let Some(slot) = self.pending.lock().slots.get_mut(&id) {
            slot.cut = slot.call.is_some();
        }
    }

    /// Records that a notification is about to be written on the connection that carries responses.
    pub fn begin_notification(&self) {
        let mut pending = self.pending.lock();
        pending.written += 1;
        if pending.notifications.len() == REMEMBERED {
            pending.notifications.pop_front();
        }
        let place = pending.written;
        pending.notifications.push_back(place);
    }

    /// Takes the oldest notification that an error without an id may be about, if there is one.
    ///
    /// An error has no id if the server could not read that of the request (JSON-RPC 2.0, section 5), or if there was none:
    /// notifications are not answered (section 4.1), but some servers refuse unknown ones or treat them as requests without an
    /// id. Servers read in order, so the notification is older than any request that was answered since.
    fn take_notification(&self) -> bool {
        self.pending.lock().notifications.pop_front().is_some()
    }

    fn end(&self, id: u64, answered: bool) -> Option<Slot> {
        let mut pending = self.pending.lock();
        let slot = pending.slots.remove(&id)?;
        if pending.ended.len() == REMEMBERED {
            pending.ended.pop_front();
        }
        let cancelled = (!answered).then(|| slot.observer.clone());
        pending.ended.push_back((id, Ended { call: slot.call, method: slot.method.clone(), cancelled }));
        Some(slot)
    }

    /// Resolves when every request of the other end is answered and the responses are accepted.
    pub async fn answered(&self) {
        self.incoming.answered(self.limits.incoming).await;
    }

    /// Cancels the requests of the other end: it is gone.
    pub fn abandon_requests(&self) {
        self.incoming.clear();
    }

    /// Returns whether no request is pending.
    pub fn idle(&self) -> bool {
        self.pending.lock().slots.is_empty()
    }

    /// Returns whether at most one request is pending.
    pub fn alone(&self) -> bool {
        self.pending.lock().slots.len() <= 1
    }

    /// Fails a request because of the transport.
    pub fn fail(&self, id: u64, failure: Failure) {
        if let Some(slot) = self.end(id, true) {
            let _ = slot.answer.send(Err(failure));
        }
    }

    /// Fails every request: the connection is lost. Later requests fail the same way.
    pub fn close(&self, failure: &Failure) {
        let slots: Vec<(u64, bool)> = {
            let mut pending = self.pending.lock();
            pending.closed.get_or_insert_with(|| failure.clone());
            pending.slots.iter().map(|(id, slot)| (*id, slot.cut)).collect()
        };
        for (id, cut) in slots {
            self.fail(id, Failure { may_have_run: failure.may_have_run && !cut, ..failure.clone() });
        }
        // Their handlers are cancelled: the other end cannot receive the responses.
        self.incoming.clear();
    }

    /// Returns the only pending request, if there is exactly one. A subscription does not count: it stays open as long as the
    /// connection.
    fn only_pending(&self) -> Option<u64> {
        let pending = self.pending.lock();
        let mut ids = pending.slots.iter().filter(|(_, slot)| &*slot.method != LISTEN).map(|(id, _)| *id);
        let first = ids.next()?;
        ids.next().is_none().then_some(first)
    }

    fn call_of(&self, id: u64) -> Option<CallId> {
        self.pending.lock().slots.get(&id).and_then(|s| s.call)
    }

    /// Returns the call that a message without an id most likely belongs to: the only one in progress, however many requests it
    /// has (a task has two).
    fn likely_call(&self, arrival: &Arrival) -> Option<CallId> {
        self.attribution(arrival).likely()
    }

    /// Returns the call that a message without an id belongs to, and whether the transport says so.
    fn attribution(&self, arrival: &Arrival) -> Attribution {
        if let Some(call) = arrival.call {
            return Attribution::Stream(call);
        }
        let pending = self.pending.lock();
        let mut calls = pending.slots.values().filter_map(|slot| slot.call);
        match calls.next() {
            Some(first) if calls.all(|call| call == first) => Attribution::Likely(first),
            _ => Attribution::None,
        }
    }

    /// Handles one message of the other end.
    pub fn incoming(self: &Arc<Self>, body: Body, arrival: &Arrival, outbox: &Arc<dyn Outbox>) {
        let (body, bad_at) = wire::repair_utf8(body);
        let (mut parsed, mut lone_at) = wire::parse_mended(&body);
        let (mut body, mut behind) = (body, vec![]);
        if let Parsed::Bad(bad) = &parsed
            && matches!(bad.kind, AnomalyKind::BadJson | AnomalyKind::Noise)
            && let Some((front, messages)) = salvage::split_glued(&body)
        {
            (parsed, lone_at) = wire::parse_mended(&front);
            if let Parsed::Bad(bad) = &mut parsed {
                bad.detail.push_str("; a message followed on the same line");
                // Its request is unknown; the pending one may find its response in the following message.
                bad.seems = Seems::Nothing;
            }
            (body, behind) = (front, messages);
        }
        // What a server sends over HTTP is never the log of a program.
        if arrival.http.is_some()
            && self.remote == Remote::Server
            && let Parsed::Bad(bad) = &mut parsed
            && bad.kind == AnomalyKind::Noise
        {
            bad.kind = AnomalyKind::BadHttp;
            bad.detail = format!("not a JSON object: {}", wire::shorten(&body.front(NOISE).text()));
        }
        // A program writes more than messages to stdout; a client writes only messages to stdin.
        if arrival.http.is_none() && self.remote == Remote::Server {
            self.recognise_noise(&body, &mut parsed);
        }
        let behind_size = behind.iter().map(|message| message.len() as u64).sum();
        let own = Arrival { size: arrival.size.saturating_sub(behind_size), ..arrival.clone() };
        let frame = self.record(&body, &parsed, &own);
        if let Some(at) = bad_at {
            self.anomaly(AnomalyKind::BadUtf8, format!("byte {at} is not valid UTF-8; shown as U+FFFD"), arrival.call, Some(frame));
        }
        if let Some(at) = lone_at {
            let call = match &parsed {
                Parsed::Message(Message::Response { id, .. }) => {
                    wire::our_id(id).and_then(|id| self.known(id)).and_then(|known| known.call)
                }
                _ => None,
            };
            let detail = format!("the escape at byte {at} is half a surrogate pair, which no text can hold; read as U+FFFD");
            self.anomaly(AnomalyKind::BadUtf8, detail, call.or(arrival.call), Some(frame));
        }
        match parsed {
            Parsed::Message(message) => self.message(message, &own, frame, outbox),
            Parsed::Batch(members, rest) => self.batch(members, rest, &own, frame, outbox),
            Parsed::Bad(bad) => {
                self.answer_malformed(&bad, outbox);
                self.bad(bad, &own, Some(frame));
            }
        }
        for message in behind {
            let own = Arrival { size: message.len() as u64, ..arrival.clone() };
            self.incoming(message, &own, outbox);
        }
    }

    /// Handles a message that the transport has parsed already.
    pub fn accept(self: &Arc<Self>, body: &Body, message: Message, arrival: &Arrival, outbox: &Arc<dyn Outbox>) {
        let parsed = Parsed::Message(message);
        let frame = self.record(body, &parsed, arrival);
        if let Parsed::Message(message) = parsed {
            self.message(message, arrival, frame, outbox);
        }
    }

    fn batch(self: &Arc<Self>, members: Vec<Body>, rest: usize, arrival: &Arrival, frame: u64, outbox: &Arc<dyn Outbox>) {
        let accepted = self.batches.load(Ordering::Relaxed);
        if members.is_empty() {
            // JSON-RPC 2.0, section 6: a batch has at least one member.
            self.anomaly(AnomalyKind::Batch, "an empty batch array".into(), arrival.call, Some(frame));
        }
        if rest > 0 {
            let detail = format!("a batch array of {}; {rest} not read", counted(members.len() + rest, "member"));
            self.anomaly(AnomalyKind::Batch, detail, arrival.call, Some(frame));
        }
        // Members that name no request are reported once in total: many of them are one fault.
        let (alone, mut unnamed) = (members.len() == 1, 0usize);
        for member in members {
            let (parsed, _) = wire::parse_mended(&member);
            let (id, seems) = match parsed {
                Parsed::Message(message) if accepted => {
                    self.message(message, arrival, frame, outbox);
                    continue;
                }
                Parsed::Bad(bad) if accepted => {
                    // A member of a batch was meant as a message, so it is not noise.
                    let kind = if bad.kind == AnomalyKind::Noise { AnomalyKind::NotRpc } else { bad.kind };
                    self.bad(Bad { kind, detail: format!("a member of a batch: {}", bad.detail), ..bad }, arrival, Some(frame));
                    continue;
                }
                Parsed::Batch(..) if accepted => {
                    self.anomaly(AnomalyKind::Batch, "a batch array within a batch array".into(), arrival.call, Some(frame));
                    continue;
                }
                Parsed::Message(Message::Response { id, .. }) => (Some(id), Seems::Answer),
                Parsed::Bad(bad) if alone || bad.id.is_some() => (bad.id, Seems::Answer),
                _ if alone => (None, Seems::Nothing),
                _ => {
                    unnamed += 1;
                    continue;
                }
            };
            let detail = "the answer came in a batch array, which the negotiated protocol version does not have".to_owned();
            self.bad(Bad { kind: AnomalyKind::Batch, detail, id, seems }, arrival, Some(frame));
        }
        if unnamed > 0 && rest == 0 {
            let detail = format!("{} in a batch array, which the negotiated protocol version does not have", counted(unnamed, "message"));
            self.anomaly(AnomalyKind::Batch, detail, arrival.call, Some(frame));
        }
    }

    /// Records the frame with the known metadata.
    fn record(&self, body: &Body, parsed: &Parsed, arrival: &Arrival) -> u64 {
        let (kind, method, rpc_id) = match parsed {
            Parsed::Message(Message::Request { id, method, .. }) => (FrameKind::Request, Some(method.clone()), Some(id.clone())),
            Parsed::Message(Message::Notification { method, .. }) => (FrameKind::Notification, Some(method.clone()), None),
            Parsed::Message(Message::Response { id, .. }) => (FrameKind::Response, None, Some(id.clone())),
            Parsed::Batch(..) => (FrameKind::Noise, None, None),
            Parsed::Bad(bad) => (FrameKind::Noise, None, bad.id.clone()),
        };
        let known = rpc_id.as_deref().filter(|_| kind != FrameKind::Request).and_then(wire::our_id).and_then(|id| self.known(id));
        let call = match (&known, parsed) {
            (Some(ended), _) => ended.call,
            (None, Parsed::Message(Message::Notification { method, params })) if &**method == PROGRESS => {
                progress_token(params).and_then(|id| self.known(id)).and_then(|e| e.call).or(arrival.call)
            }
            _ => self.likely_call(arrival),
        };
        self.handler.frame(FrameDraft {
            at: arrival.last,
            direction: Direction::In,
            kind,
            body: body.clone(),
            size: arrival.size,
            call,
            method: method.or(known.map(|k| k.method)),
            rpc_id,
            http: arrival.http.clone(),
        })
    }

    fn known(&self, id: u64) -> Option<Ended> {
        let pending = self.pending.lock();
        if let Some(slot) = pending.slots.get(&id) {
            return Some(Ended { call: slot.call, method: slot.method.clone(), cancelled: None });
        }
        pending.ended.iter().rev().find(|(ended, _)| *ended == id).map(|(_, e)| e.clone())
    }

    fn anomaly(&self, kind: AnomalyKind, detail: String, call: Option<CallId>, frame: Option<u64>) {
        self.handler.anomaly(Anomaly { kind, detail, call, frame });
    }

    fn message(self: &Arc<Self>, message: Message, arrival: &Arrival, frame: u64, outbox: &Arc<dyn Outbox>) {
        match message {
            Message::Response { id, answer } => self.response(&id, answer, arrival, frame),
            Message::Notification { method, params } => self.notification(&method, &params, arrival, frame),
            Message::Request { id, method, params } => self.incoming_request(id, &method, &params, arrival, frame, outbox),
        }
    }

    fn response(&self, id: &str, answer: Result<Body, RpcError>, arrival: &Arrival, frame: u64) {
        let number = wire::our_id(id);
        // For display only; our ids are short.
        let id = &*bounds::cut(id, 100);
        if let Some((number, slot)) = number.and_then(|id| Some((id, self.end(id, true)?))) {
            self.pending.lock().notifications.retain(|place| *place > slot.written);
            self.note_task(number, &slot, &answer);
            let reply = match answer {
                Ok(result) => Ok(Reply {
                    result,
                    first_byte: arrival.first,
                    last_byte: arrival.last,
                    sent_bytes: slot.sent_bytes,
                    received_bytes: arrival.size,
                }),
                Err(rpc) => Err(rpc_failure(rpc)),
            };
            let _ = slot.answer.send(reply);
            return;
        }
        match number.and_then(|id| self.known(id)) {
            Some(Ended { call, cancelled: None, .. }) => {
                self.anomaly(AnomalyKind::Duplicate, format!("a second answer to request {id}"), call, Some(frame))
            }
            Some(Ended { call, cancelled: Some(observer), .. }) => {
                observer.late(arrival.last);
                self.anomaly(AnomalyKind::Late, format!("the answer to request {id} came after the call had ended"), call, Some(frame));
            }
            None => {
                let detail = format!("an answer to request {id}, which was never sent");
                self.bad(Bad { kind: AnomalyKind::UnknownId, detail, id: None, seems: Seems::Answer }, arrival, Some(frame));
            }
        }
    }
}

fn rpc_failure(rpc: RpcError) -> Failure {
    let kind = FailureKind::Protocol;
    let message = match rpc.message.as_str() {
        "" => format!("error {}", rpc.code),
        message => bounds::cut(message, bounds::ERROR_TEXT).into_owned(),
    };
    Failure { rpc: Some(rpc), ..Failure::after_send(kind, message) }.bounded()
}
