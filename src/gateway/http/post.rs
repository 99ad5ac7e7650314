//! One POST: a request, a notification, a response, or a batch of the version 2025-03-26.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    Caller, Service,
    sessions::Session,
    stream::{Answer, Event, Events, RequestOutbox, Stream},
};
use crate::{
    domain::{
        body::{self, Body},
        call::RpcError,
        trace,
    },
    gateway::{
        Client, Front,
        era::{self, Kind, LEGACY, MODERN},
        failure::{self, HEADER_MISMATCH, INVALID_REQUEST, METHOD_NOT_FOUND, MISSING_CAPABILITY, UNSUPPORTED_VERSION},
        request::{self, unsupported},
    },
    protocol::{
        connection::{Arrival, Connection, LISTEN, Outbox},
        headers::{self, PARAM},
        meta::{VERSION, write_params},
        wire::{self, Message, Parsed},
    },
};

/// The header with the id of a session.
pub const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The header with the version of the protocol.
pub const PROTOCOL: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Tells proxies not to collect the events of a stream.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long a request may be silent before its answer becomes a stream, on which comments show that the server is alive.
const SILENCE: Duration = Duration::from_secs(10);
/// The only version with batches.
const BATCHES: &str = "2025-03-26";

/// Returns the response with an error for a request with this id, JSON text.
pub fn rpc_error(status: StatusCode, id: Option<&str>, error: RpcError) -> Response<Answer> {
    json(status, wire::response(id.unwrap_or("null"), &Err(error)).bytes().clone())
}

fn json(status: StatusCode, body: Bytes) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Some(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Returns an empty response.
pub fn empty(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::empty());
    *response.status_mut() = status;
    response
}

/// Returns a response with a stream of events.
pub fn events(events: Events) -> Response<Answer> {
    let mut response = Response::new(Answer::Events(Box::new(events)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Returns whether streams of this version can be resumed: they begin with an empty event (MCP 2025-11-25).
pub fn is_resumable(version: Option<&str>) -> bool {
    version.is_some_and(|version| version == LEGACY[0])
}

/// Cancels what the client of a modern request asked for when it disconnects (MCP 2026-07-28, transports, "Cancellation").
struct Cancelling(Arc<Connection>);

impl Drop for Cancelling {
    fn drop(&mut self) {
        self.0.abandon_requests();
    }
}

/// Removes a client that lives as long as its request.
struct OneRequest {
    service: Arc<Service>,
    client: Arc<Client>,
}

impl Drop for OneRequest {
    fn drop(&mut self) {
        self.service.gateway.remove_client(self.client.id);
    }
}

impl Service {
    /// Handles the body of a POST.
    pub(super) async fn post(self: &Arc<Self>, headers: &HeaderMap, caller: &Caller, bytes: Bytes) -> Response<Answer> {
        let (body, _) = wire::repair_utf8(Body::new(bytes));
        match wire::parse_mended(&body).0 {
            Parsed::Bad(bad) => rpc_error(StatusCode::BAD_REQUEST, bad.id.as_deref(), Front::parse_error(&bad)),
            Parsed::Batch(members, 0) => self.batch(headers, caller, body, members),
            Parsed::Batch(..) => rpc_error(StatusCode::BAD_REQUEST, None, failure::error(INVALID_REQUEST, "the batch is too large")),
            Parsed::Message(message) => {
                let message = traced(headers, message);
                match modern_version(headers, &message) {
                    Some(version) => self.modern(headers, caller, body, message, &version).await,
                    None => self.legacy(headers, caller, body, message).await,
                }
            }
        }
    }

    /// Handles a message of a legacy client.
    async fn legacy(self: &Arc<Self>, headers: &HeaderMap, caller: &Caller, body: Body, message: Message) -> Response<Answer> {
        let id = match &message {
            Message::Request { id, .. } => Some(id.clone()),
            _ => None,
        };
        let is_initialize = matches!(&message, Message::Request { method, .. } if &**method == "initialize");
        if is_initialize {
            return match self.sessions.open(caller) {
                Ok((name, session)) => self.initialize(&name, &session, caller, &body, message).await,
                Err(_) => {
                    rpc_error(StatusCode::INTERNAL_SERVER_ERROR, id.as_deref(), failure::error(failure::INTERNAL, "no random numbers"))
                }
            };
        }
        let session = match self.session(headers, caller) {
            Ok(session) => session,
            Err((status, error)) => return rpc_error(status, id.as_deref(), error),
        };
        if id.is_none() {
            let outbox: Arc<dyn Outbox> = session.general.clone();
            session.connection.accept(&body, message, &arrival(&body), &outbox);
            return empty(StatusCode::ACCEPTED);
        }
        let (number, stream) = session.stream(1);
        let events = pass(&session.connection, stream, &body, message);
        let (response, whole) = first(number, events, is_resumable(session.client.version()), None).await;
        if whole {
            session.forget(number);
        }
        response
    }

    /// Opens the session of a client that initialises.
    async fn initialize(
        self: &Arc<Self>,
        name: &str,
        session: &Arc<Session>,
        caller: &Caller,
        body: &Body,
        message: Message,
    ) -> Response<Answer> {
        let (number, stream) = session.stream(1);
        let events = pass(&session.connection, stream, body, message);
        let (mut response, whole) = first(number, events, false, None).await;
        if whole {
            session.forget(number);
        }
        match (session.client.version(), HeaderValue::from_str(name)) {
            (Some(version), Ok(value)) => {
                if version == BATCHES {
                    session.connection.accept_batches();
                }
                response.headers_mut().insert(SESSION, value);
            }
            // The request is refused, so no session is created.
            _ => drop(self.sessions.close(name, caller)),
        }
        response
    }

    /// Returns the session that a request names.
    pub(super) fn session(&self, headers: &HeaderMap, caller: &Caller) -> Result<Arc<Session>, (StatusCode, RpcError)> {
        let invalid = |message: &str| (StatusCode::BAD_REQUEST, failure::error(INVALID_REQUEST, message));
        if let Some(version) = headers.get(PROTOCOL)
            && !version.to_str().is_ok_and(|version| LEGACY.contains(&version))
        {
            return Err((StatusCode::BAD_REQUEST, unsupported(&String::from_utf8_lossy(version.as_bytes()))));
        }
        let id = headers.get(SESSION).ok_or_else(|| invalid("a session is required: send initialize first"))?;
        let session = id.to_str().ok().and_then(|id| self.sessions.get(id, caller));
        // The client has to initialise again (MCP 2025-11-25, transports, "Session Management").
        session.ok_or_else(|| (StatusCode::NOT_FOUND, failure::error(INVALID_REQUEST, "the session is unknown or has ended")))
    }

    fn batch(self: &Arc<Self>, headers: &HeaderMap, caller: &Caller, body: Body, members: Vec<Body>) -> Response<Answer> {
        let session = match self.session(headers, caller) {
            Ok(session) if session.client.version() == Some(BATCHES) && !members.is_empty() => session,
            Ok(_) => return rpc_error(StatusCode::BAD_REQUEST, None, failure::error(INVALID_REQUEST, "batches are not supported")),
            Err((status, error)) => return rpc_error(status, None, error),
        };
        let answered = |member: &&Body| matches!(wire::parse(member), Parsed::Message(Message::Request { .. }) | Parsed::Bad(_));
        let responses = members.iter().filter(answered).count();
        let (number, stream) = session.stream(responses);
        let received = stream.attach();
        let outbox: Arc<dyn Outbox> = Arc::new(RequestOutbox(stream));
        session.connection.incoming(body.clone(), &arrival(&body), &outbox);
        if responses == 0 {
            session.forget(number);
            return empty(StatusCode::ACCEPTED);
        }
        events(Events::new(number, vec![], Some(received), false))
    }

    /// Handles a message of a modern client, which has no session.
    async fn modern(
        self: &Arc<Self>,
        headers: &HeaderMap,
        caller: &Caller,
        body: Body,
        message: Message,
        version: &str,
    ) -> Response<Answer> {
        let Message::Request { id, method, params } = &message else {
            // Clients cancel by disconnecting, and send no responses.
            return empty(StatusCode::ACCEPTED);
        };
        if let Err(error) = self.check_headers(headers, caller, (method, params), version) {
            return rpc_error(StatusCode::BAD_REQUEST, Some(id), error);
        }
        let id = id.clone();
        // Each open subscription is a client of its own.
        let (client, one_request) = match &**method == LISTEN {
            true => {
                let client = self.gateway.add_client(caller.principal.clone(), caller.profile.clone(), None);
                (client.clone(), Some(OneRequest { service: self.clone(), client }))
            }
            false => (self.virtual_client(caller, params), None),
        };
        let connection = Front::connect(&self.gateway, &client);
        let stream = Arc::new(Stream::new(1, None, &connection, Some(1)));
        let cancelling = Cancelling(connection.clone());
        let events = pass(&connection, stream, &body, message);
        first(1, events, false, Some((id, Box::new((cancelling, one_request))))).await.0
    }

    /// Checks the metadata of a modern request, and that its headers agree with its body (MCP 2026-07-28, basic/transports, "Server Validation").
    fn check_headers(&self, headers: &HeaderMap, caller: &Caller, (method, params): (&str, &Body), version: &str) -> Result<(), RpcError> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let differs = |name: &str| failure::error(HEADER_MISMATCH, format!("the header {name} does not agree with the body"));
        request::check_meta(params)?;
        let named = version_of(params);
        if header(PROTOCOL.as_str()) != named.as_deref() {
            return Err(differs("MCP-Protocol-Version"));
        }
        if version != MODERN {
            return Err(unsupported(version));
        }
        let table = self.gateway.offer.table(&caller.profile);
        let [name] = params.fields(["name"]).unwrap_or_default();
        let name = name.filter(|_| method == "tools/call").and_then(|name| serde_json::from_str::<String>(name.get()).ok());
        let tool = name.and_then(|name| table.entry(Kind::Tools, &name).map(|entry| entry.body.clone()));
        let param_headers: Vec<&str> = headers.keys().map(HeaderName::as_str).filter(|name| name.starts_with(PARAM)).collect();
        match headers::mismatch(method, params, tool.as_ref(), header, &param_headers) {
            Some(name) => Err(differs(&name)),
            None => Ok(()),
        }
    }
}

/// Returns a request with the trace context of its headers in `_meta`, unless `_meta` has one.
fn traced(headers: &HeaderMap, message: Message) -> Message {
    let Message::Request { id, method, params } = message else { return message };
    let lines = |name: &str| headers.get_all(name).iter().filter_map(|line| Some(line.to_str().ok()?.to_owned())).collect();
    let [meta] = params.fields(["_meta"]).unwrap_or_default();
    let members = trace::members_for(&meta.map(|meta| params.slice_of(meta.get().as_bytes())).unwrap_or_default(), lines);
    if members.is_empty() {
        return Message::Request { id, method, params };
    }
    let mut text = vec![];
    write_params(&params, &members, &mut text);
    Message::Request { id, method, params: Body::new(text) }
}

fn arrival(body: &Body) -> Arrival {
    Arrival { size: body.len() as u64, ..Arrival::default() }
}

/// Passes a request to a connection. Returns the receiver of everything that belongs to it.
fn pass(connection: &Arc<Connection>, stream: Arc<Stream>, body: &Body, message: Message) -> mpsc::Receiver<Event> {
    let events = stream.attach();
    let outbox: Arc<dyn Outbox> = Arc::new(RequestOutbox(stream));
    connection.accept(body, message, &arrival(body), &outbox);
    events
}

/// The id of a modern request, and what ends it when it is dropped.
type Modern = (Arc<str>, Box<dyn Send + Sync>);

/// Waits for the first message, which decides the form: a response is sent as JSON, everything else begins a stream. Returns whether
/// it was a response.
async fn first(number: u64, mut received: mpsc::Receiver<Event>, resumable: bool, modern: Option<Modern>) -> (Response<Answer>, bool) {
    let (id, open) = modern.map_or((None, None), |(id, open)| (Some(id), Some(open)));
    let first = timeout(SILENCE, received.recv()).await;
    match first {
        Ok(Some(event)) if event.response => {
            let status = id.map_or(StatusCode::OK, |id| status(&id, &event.body));
            (json(status, event.body.bytes().clone()), true)
        }
        first => {
            let begun = first.ok().flatten().into_iter().collect();
            let stream = Events::new(number, begun, Some(received), resumable);
            (
                events(match open {
                    Some(open) => stream.holding(open),
                    None => stream,
                }),
                false,
            )
        }
    }
}

/// Returns the status of a modern response: errors of the protocol have their own (MCP 2026-07-28, basic/transports).
fn status(id: &str, response: &Body) -> StatusCode {
    // The layout of our own responses: the error follows the id, and begins with its code.
    let start = br#"{"jsonrpc":"2.0","id":"#.len() + id.len();
    let rest = response.bytes().get(start..).unwrap_or_default();
    let Some(rest) = rest.strip_prefix(br#","error":{"code":"#) else { return StatusCode::OK };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'-').count();
    match std::str::from_utf8(&rest[..digits]).ok().and_then(|code| code.parse().ok()) {
        Some(METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        Some(HEADER_MISMATCH | UNSUPPORTED_VERSION | MISSING_CAPABILITY) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// Returns the version of a request of the modern era, as its body or its header says; `None` for the legacy era.
fn modern_version(headers: &HeaderMap, message: &Message) -> Option<String> {
    let named = match message {
        Message::Request { params, .. } => version_of(params),
        _ => None,
    };
    let header = || headers.get(PROTOCOL).and_then(|version| version.to_str().ok()).map(str::to_owned);
    named.or_else(header).filter(|version| era::is_modern(version))
}

fn version_of(params: &Body) -> Option<String> {
    let [meta] = params.fields(["_meta"])?;
    let [version] = body::fields(meta?.get().as_bytes(), [VERSION])?;
    serde_json::from_str(version?.get()).ok()
}
