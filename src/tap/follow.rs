//! The observer of a tapped connection: cuts the copied bytes into messages, and reports them as frames.
//!
//! It works on its own task. What it cannot read is reported as it is; the connection does not depend on it.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    calls::{Calls, Sent},
    connector::Handlers,
    message::{Messages, Part, Sender},
    queue::{Lane, Observed, Queue, Stream},
};
use crate::{
    domain::{
        body::Body,
        bounds,
        frame::{Anomaly, AnomalyKind, Direction, FrameDraft, FrameKind, HttpNote},
        secret::MASK,
        time::Stamp,
    },
    engine::ports::ClientHandler,
    protocol::{
        lines::{Lines, Piece},
        sse,
        wire::{self, Message, Parsed},
    },
};

/// Longest line and largest body that is read as a message, in bytes.
const MESSAGE: usize = 16 << 20;
/// Requests whose methods are remembered for their responses.
const METHODS: usize = 1024;
/// Streams that are followed simultaneously; the oldest is forgotten first.
const LANES: usize = 1024;

/// Headers of a message that are shown.
const HEADERS: usize = 256;
/// Headers whose values are never shown.
const SECRET_HEADERS: [&str; 6] = ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "mcp-session-id"];

/// What is tapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Lines on standard streams.
    Stdio,
    /// HTTP/1.1.
    Http,
}

/// Reports what is queued until the queue ends.
pub async fn follow(queue: Queue, mut handlers: Handlers, protocol: Protocol, calls: Calls) {
    let mut observer = Observer { protocol, calls, lanes: HashMap::new(), order: VecDeque::new(), methods: VecDeque::new(), at: Stamp(0) };
    // Without an engine nobody is shown anything; the queue is bounded until then.
    let Ok(first) = handlers.wait_for(Option::is_some).await else { return };
    drop(first);
    while let Some((lane, observed, passed)) = queue.next().await {
        let handler = handlers.borrow().clone();
        if let Some(handler) = handler {
            let ago = u64::try_from(passed.elapsed().as_nanos()).unwrap_or(u64::MAX);
            // Never earlier than what passed before it.
            observer.at = Stamp(handler.now().0.saturating_sub(ago)).max(observer.at);
            observer.take(lane, observed, &*handler);
        }
    }
}

struct Observer {
    protocol: Protocol,
    calls: Calls,
    lanes: HashMap<Lane, Reader>,
    order: VecDeque<Lane>,
    /// The methods of the last requests: connection, sender, id.
    methods: VecDeque<(u64, Direction, Arc<str>, Arc<str>)>,
    /// When passed what is observed.
    at: Stamp,
}

/// The reader of one stream.
enum Reader {
    Lines(Lines),
    Http(Box<HttpReader>),
}

struct HttpReader {
    messages: Messages,
    note: Option<Arc<HttpNote>>,
    /// The body so far, at most [`MESSAGE`].
    body: Vec<u8>,
    size: u64,
    events: Option<sse::Parser>,
}

/// Something to report.
struct Found {
    body: Body,
    size: u64,
    http: Option<Arc<HttpNote>>,
}

impl Observer {
    fn take(&mut self, lane: Lane, observed: Observed, handler: &dyn ClientHandler) {
        match observed {
            Observed::Run(run) => {
                let at = self.at;
                let found = self.reader(lane).read(&run, at);
                found.into_iter().for_each(|found| self.report(lane, found, handler));
            }
            Observed::Lost(bytes) => {
                // What follows is in the middle of a message.
                self.lanes.remove(&lane);
                let detail = format!("{bytes} bytes were passed on, but not observed: the observer was too slow");
                handler.anomaly(Anomaly { kind: AnomalyKind::Noise, detail, call: None, frame: None });
            }
            Observed::End => {
                if let Some(mut reader) = self.lanes.remove(&lane) {
                    reader.finish().into_iter().for_each(|found| self.report(lane, found, handler));
                }
                if lane.stream == Stream::ToClient {
                    self.calls.lost(lane.connection, self.at);
                }
            }
        }
    }

    fn reader(&mut self, lane: Lane) -> &mut Reader {
        if !self.lanes.contains_key(&lane) {
            if self.order.len() >= LANES
                && let Some(oldest) = self.order.pop_front()
            {
                self.lanes.remove(&oldest);
            }
            self.order.push_back(lane);
        }
        let protocol = self.protocol;
        self.lanes.entry(lane).or_insert_with(|| match (protocol, lane.stream) {
            (Protocol::Stdio, _) | (_, Stream::Stderr) => Reader::Lines(Lines::new(MESSAGE)),
            (Protocol::Http, stream) => {
                let sender = if stream == Stream::ToServer { Sender::Client } else { Sender::Server };
                let messages = Messages::new(sender);
                Reader::Http(Box::new(HttpReader { messages, note: None, body: vec![], size: 0, events: None }))
            }
        })
    }

    fn report(&mut self, lane: Lane, found: Found, handler: &dyn ClientHandler) {
        let Found { body, size, http } = found;
        let direction = match lane.stream {
            Stream::ToServer => Direction::Out,
            Stream::ToClient => Direction::In,
            Stream::Stderr => {
                handler.stderr(&body.text());
                return;
            }
        };
        let parsed = std::str::from_utf8(body.bytes()).is_ok().then(|| wire::parse(&body));
        let mut call = None;
        let (kind, method, rpc_id) = match parsed {
            Some(Parsed::Message(Message::Request { id, method, params })) => {
                if direction == Direction::Out {
                    let sent = Sent { connection: lane.connection, id: &id, method: &method, params: &params, size, at: self.at };
                    call = self.calls.request(&sent);
                }
                if self.methods.len() >= METHODS {
                    self.methods.pop_front();
                }
                self.methods.push_back((lane.connection, direction, id.clone(), method.clone()));
                (FrameKind::Request, Some(method), Some(id))
            }
            Some(Parsed::Message(Message::Notification { method, .. })) => (FrameKind::Notification, Some(method), None),
            Some(Parsed::Message(Message::Response { id, answer })) => {
                if direction == Direction::In {
                    call = self.calls.response((lane.connection, self.protocol == Protocol::Http), &id, &answer, (size, self.at));
                }
                // The newest request with the id: connections use ids again. Over HTTP the response may come on another one.
                let is_its = |(connection, sent, known, _): &(u64, Direction, Arc<str>, Arc<str>)| {
                    *sent != direction && *known == id && (self.protocol == Protocol::Http || *connection == lane.connection)
                };
                let method = self.methods.iter().rev().find(|request| is_its(request)).map(|(.., method)| method.clone());
                (FrameKind::Response, method, Some(id))
            }
            _ if http.is_some() => (FrameKind::Http, None, None),
            _ => (FrameKind::Noise, None, None),
        };
        handler.frame(FrameDraft { at: self.at, direction, kind, body, size, call, method, rpc_id, http });
    }
}

impl Reader {
    fn read(&mut self, run: &[u8], at: Stamp) -> Vec<Found> {
        let mut found = vec![];
        match self {
            Reader::Lines(lines) => {
                lines.buffer().extend_from_slice(run);
                lines.read(at, |piece| match piece {
                    Piece::Line { body, size, .. } => found.push(Found { body, size, http: None }),
                    Piece::TooLong { head } => found.push(Found { size: head.len() as u64, body: head, http: None }),
                    Piece::TooLongEnd { .. } => {}
                });
            }
            Reader::Http(reader) => {
                let reader = &mut **reader;
                let mut messages = std::mem::replace(&mut reader.messages, Messages::new(Sender::Client));
                messages.feed(run, &mut |part| reader.part(part, at, &mut found));
                reader.messages = messages;
            }
        }
        found
    }

    /// Returns the beginning of a message that did not end.
    fn finish(&mut self) -> Vec<Found> {
        match self {
            Reader::Lines(lines) => {
                let rest = Body::new(lines.buffer().split().freeze());
                if rest.is_empty() { vec![] } else { vec![Found { size: rest.len() as u64, body: rest, http: None }] }
            }
            Reader::Http(reader) => reader.end().into_iter().collect(),
        }
    }
}

impl HttpReader {
    fn part(&mut self, part: Part<'_>, at: Stamp, found: &mut Vec<Found>) {
        match part {
            Part::Head(head) => {
                let note = note(head);
                let is = |name: &str, value: &str| {
                    note.headers
                        .iter()
                        .any(|(known, text)| known.eq_ignore_ascii_case(name) && text.to_ascii_lowercase().starts_with(value))
                };
                self.events = is("content-type", "text/event-stream").then(|| sse::Parser::new(MESSAGE));
                self.note = Some(Arc::new(note));
            }
            Part::Data(bytes) => {
                self.size += bytes.len() as u64;
                let note = self.note.clone();
                match &mut self.events {
                    Some(events) => {
                        let read = events.feed(bytes, at, |event| {
                            let http = note.as_ref().map(|note| Arc::new(HttpNote { event_id: event.id.clone(), ..HttpNote::clone(note) }));
                            if !event.data.is_empty() {
                                found.push(Found { size: event.size, body: Body::new(event.data), http });
                            }
                        });
                        if read.is_err() {
                            self.events = None;
                        }
                    }
                    None => {
                        let room = MESSAGE.saturating_sub(self.body.len()).min(bytes.len());
                        self.body.extend_from_slice(bytes.get(..room).unwrap_or_default());
                    }
                }
            }
            Part::Framing(_) => {}
            Part::End => found.extend(self.end()),
            Part::Raw(bytes) => found.push(Found { body: Body::new(bytes.to_vec()), size: bytes.len() as u64, http: None }),
        }
    }

    /// Ends a message. The end of an event stream has nothing to report.
    fn end(&mut self) -> Option<Found> {
        let (body, size, streamed) = (std::mem::take(&mut self.body), std::mem::take(&mut self.size), self.events.take().is_some());
        let http = self.note.take();
        (http.is_some() && !streamed).then(|| Found { body: Body::new(body), size, http })
    }
}

/// Returns the first line and the headers of a head.
fn note(head: &[u8]) -> HttpNote {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let line = bounds::cut(lines.next().unwrap_or_default(), bounds::LINE).into_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.take(HEADERS).map(|(name, value)| {
        let secret = SECRET_HEADERS.iter().any(|secret| name.trim().eq_ignore_ascii_case(secret));
        let value = if secret { Cow::Borrowed(MASK) } else { bounds::cut(value.trim(), bounds::LINE) };
        (name.trim().to_owned(), value.into_owned())
    });
    HttpNote { line, headers: Arc::new(headers.collect()), event_id: None }
}
