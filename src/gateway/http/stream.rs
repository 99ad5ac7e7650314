//! Event streams to a client: the outbox of a request, and of a session outside of requests. The events of a session are stored for
//! replay after a lost connection (MCP 2025-11-25, transports, "Resumability and Redelivery").

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, ready},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http_body::Frame;
use parking_lot::Mutex;
use tokio::{
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::{
    domain::{body::Body, call::Failure, frame::FrameKind},
    protocol::connection::{Connection, Outbox, Outgoing},
};

/// Maximum number and size of the events that a session stores for replay.
const STORED: usize = 512;
const STORED_BYTES: usize = 4 << 20;
/// Events that wait for a slow client.
const WAITING: usize = 64;
/// How often a comment is sent on a silent stream, so that no proxy closes it.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The comment.
const COMMENT: &[u8] = b": keep-alive\n\n";

/// A message on a stream.
#[derive(Clone, Debug)]
pub struct Event {
    /// The stream and the number of the event within it.
    pub id: (u64, u64),
    /// The message.
    pub body: Body,
    /// Whether it is a response.
    pub response: bool,
}

impl Event {
    /// Returns the event in the format of server-sent events; with its id if the client may resume the stream.
    fn text(&self, resumable: bool) -> Bytes {
        let mut text = Vec::with_capacity(self.body.len() + 48);
        if resumable {
            text.extend_from_slice(format!("id: {}-{}\n", self.id.0, self.id.1).as_bytes());
        }
        text.extend_from_slice(b"data: ");
        text.extend_from_slice(self.body.bytes());
        text.extend_from_slice(b"\n\n");
        text.into()
    }
}

/// Reads the id of an event.
pub fn event_id(text: &str) -> Option<(u64, u64)> {
    let (stream, event) = text.split_once('-')?;
    Some((stream.parse().ok()?, event.parse().ok()?))
}

/// The last events of all streams of a session.
#[derive(Debug, Default)]
pub struct Ring(Mutex<Stored>);

#[derive(Debug, Default)]
struct Stored {
    events: VecDeque<Event>,
    bytes: usize,
}

impl Ring {
    fn push(&self, event: Event) {
        let mut stored = self.0.lock();
        stored.bytes += event.body.len();
        stored.events.push_back(event);
        while stored.events.len() > STORED || (stored.bytes > STORED_BYTES && stored.events.len() > 1) {
            let Some(oldest) = stored.events.pop_front() else { return };
            stored.bytes -= oldest.body.len();
        }
    }

    /// Returns the stored events of a stream after the one with this number.
    fn after(&self, stream: u64, event: u64) -> Vec<Event> {
        self.0.lock().events.iter().filter(|stored| stored.id.0 == stream && stored.id.1 > event).cloned().collect()
    }
}

/// A stream of messages to a client. Messages that no connection takes are stored for replay, if the stream belongs to a session.
pub struct Stream {
    number: u64,
    ring: Option<Arc<Ring>>,
    connection: Weak<Connection>,
    state: Mutex<State>,
}

struct State {
    /// Number of the last event.
    last: u64,
    /// Number of the last event that a connection took.
    taken: u64,
    /// Responses that follow before the stream ends; `None` for a stream without an end.
    responses: Option<usize>,
    taker: Option<mpsc::Sender<Event>>,
}

impl Stream {
    /// Creates a stream that ends after a number of responses; without an end for `None`.
    pub fn new(number: u64, ring: Option<Arc<Ring>>, connection: &Arc<Connection>, responses: Option<usize>) -> Stream {
        let state = State { last: 0, taken: 0, responses, taker: None };
        Stream { number, ring, connection: Arc::downgrade(connection), state: Mutex::new(state) }
    }

    /// Connects a reader in place of the previous one.
    pub fn attach(&self) -> mpsc::Receiver<Event> {
        let (taker, events) = mpsc::channel(WAITING);
        self.state.lock().taker = Some(taker);
        events
    }

    /// Connects a reader that has the events up to `after`, or all that were taken. Returns the events that it lacks; no receiver
    /// if the stream has ended.
    pub fn resume(&self, after: Option<u64>) -> (Vec<Event>, Option<mpsc::Receiver<Event>>) {
        let mut state = self.state.lock();
        let after = after.unwrap_or(state.taken);
        let missed = self.ring.as_ref().map(|ring| ring.after(self.number, after)).unwrap_or_default();
        state.taken = state.last;
        if state.responses == Some(0) {
            return (missed, None);
        }
        let (taker, events) = mpsc::channel(WAITING);
        state.taker = Some(taker);
        (missed, Some(events))
    }

    /// Returns whether a connection takes the messages.
    pub fn is_read(&self) -> bool {
        self.state.lock().taker.as_ref().is_some_and(|taker| !taker.is_closed())
    }

    /// Returns whether responses are still to come.
    pub fn is_open(&self) -> bool {
        self.state.lock().responses != Some(0)
    }

    /// Ends the stream.
    fn end(&self) {
        let mut state = self.state.lock();
        state.responses = Some(0);
        state.taker = None;
    }

    /// Turns a message into the next event, and returns the reader that takes it.
    fn event(&self, state: &mut State, message: Outgoing) -> (Event, Option<mpsc::Sender<Event>>) {
        state.last += 1;
        let response = message.kind == FrameKind::Response;
        let event = Event { id: (self.number, state.last), body: message.body, response };
        let taker = state.taker.clone().filter(|taker| !taker.is_closed());
        if let Some(responses) = &mut state.responses
            && response
        {
            *responses = responses.saturating_sub(1);
            if *responses == 0 {
                // Its receiver ends after this event.
                state.taker = None;
            }
        }
        if taker.is_some() {
            state.taken = state.last;
        }
        // The only message of a stream is sent as JSON, which cannot be resumed.
        let whole = response && state.last == 1 && taker.is_some() && state.responses == Some(0);
        if let Some(ring) = self.ring.as_ref().filter(|_| !whole) {
            ring.push(event.clone());
        }
        (event, taker)
    }

    /// Returns whether a message that waited may still be sent: requests may have been withdrawn.
    fn begin(&self, message: &Outgoing) -> bool {
        match (message.id, self.connection.upgrade()) {
            (Some(id), Some(connection)) => connection.begin(id, || {}),
            (Some(_), None) => false,
            (None, _) => true,
        }
    }
}

#[async_trait]
impl Outbox for Stream {
    async fn send(&self, message: Outgoing) -> Result<(), Failure> {
        if !self.begin(&message) {
            return Ok(());
        }
        let (event, taker) = {
            let mut state = self.state.lock();
            self.event(&mut state, message)
        };
        if let Some(taker) = taker {
            // A reader that has gone reads the event again.
            let _ = taker.send(event).await;
        }
        Ok(())
    }

    fn cancel(&self, notification: Outgoing) {
        self.offer(notification);
    }

    fn offer(&self, notification: Outgoing) -> bool {
        // Under the lock, so that the order of numbers is that of the channel.
        let mut state = self.state.lock();
        if state.taker.as_ref().is_some_and(|taker| !taker.is_closed() && taker.capacity() == 0) {
            return false;
        }
        let (event, taker) = self.event(&mut state, notification);
        taker.is_none_or(|taker| taker.try_send(event).is_ok())
    }
}

/// The outbox of the requests of one POST. Its stream ends with it: a cancelled request has no response.
pub struct RequestOutbox(pub Arc<Stream>);

impl Drop for RequestOutbox {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[async_trait]
impl Outbox for RequestOutbox {
    async fn send(&self, message: Outgoing) -> Result<(), Failure> {
        self.0.send(message).await
    }

    fn cancel(&self, notification: Outgoing) {
        self.0.cancel(notification);
    }

    fn offer(&self, notification: Outgoing) -> bool {
        self.0.offer(notification)
    }
}

/// The body of a response.
pub enum Answer {
    /// A complete body.
    Whole(Option<Bytes>),
    /// Server-sent events.
    Events(Box<Events>),
}

impl Answer {
    /// Returns an empty body.
    pub fn empty() -> Answer {
        Answer::Whole(None)
    }
}

/// Server-sent events as they come, with comments while there are none.
pub struct Events {
    first: VecDeque<Bytes>,
    events: Option<mpsc::Receiver<Event>>,
    resumable: bool,
    keep_alive: Interval,
    /// Ends the stream.
    stopped: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Ends the stream before events that wait.
    revoked: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Dropped with the body: at its end, and when the client disconnects.
    _open: Option<Box<dyn Send + Sync>>,
}

impl Events {
    /// Sends `missed`, then what `events` receives. A resumable stream names its events; it begins with an empty one, from which the
    /// client can resume before it got any (MCP 2025-11-25, transports, "Sending Messages to the Server").
    pub fn new(number: u64, missed: Vec<Event>, events: Option<mpsc::Receiver<Event>>, resumable: bool) -> Events {
        let mut first: VecDeque<Bytes> = missed.iter().map(|event| event.text(resumable)).collect();
        let before = missed.first().map_or(0, |event| event.id.1.saturating_sub(1));
        if resumable {
            first.push_front(format!("id: {number}-{before}\ndata: \n\n").into());
        }
        if first.is_empty() {
            // The head is sent with the first bytes of the body.
            first.push_back(Bytes::from_static(COMMENT));
        }
        let mut keep_alive = interval(KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        keep_alive.reset();
        Events { first, events, resumable, keep_alive, stopped: None, revoked: None, _open: None }
    }

    /// Ends the stream when the future resolves.
    pub fn until(self, stopped: WaitForCancellationFutureOwned) -> Events {
        Events { stopped: Some(Box::pin(stopped)), ..self }
    }

    /// Ends the stream when the future resolves, without the events that wait.
    pub fn revoke_with(&mut self, revoked: WaitForCancellationFutureOwned) {
        self.revoked = Some(Box::pin(revoked));
    }

    /// Drops `open` with the body.
    pub fn holding(self, open: impl Send + Sync + 'static) -> Events {
        Events { _open: Some(Box::new(open)), ..self }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(revoked) = &mut self.revoked
            && revoked.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(None);
        }
        if let Some(text) = self.first.pop_front() {
            return Poll::Ready(Some(text));
        }
        let Some(events) = &mut self.events else { return Poll::Ready(None) };
        if let Poll::Ready(event) = events.poll_recv(context) {
            self.keep_alive.reset();
            return Poll::Ready(event.map(|event| event.text(self.resumable)));
        }
        if let Some(stopped) = &mut self.stopped
            && stopped.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(None);
        }
        ready!(self.keep_alive.poll_tick(context));
        Poll::Ready(Some(Bytes::from_static(COMMENT)))
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match self.get_mut() {
            Answer::Whole(body) => body.take(),
            Answer::Events(events) => ready!(events.poll(context)),
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Answer::Whole(None))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Answer::Whole(body) => http_body::SizeHint::with_exact(body.as_ref().map_or(0, Bytes::len) as u64),
            Answer::Events(_) => http_body::SizeHint::default(),
        }
    }
}
