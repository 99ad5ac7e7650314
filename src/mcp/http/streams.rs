//! Responses and event streams: reads them, resumes interrupted ones, and keeps one open for server messages outside of
//! requests.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use reqwest::{Response, StatusCode, Url, header};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{
    EVENT_STREAM, HttpLink,
    answer::{causes, excerpt, is_stream, note_of, read_body, retry_after, transient, unreachable},
    post::{Post, REDIRECTS, Under},
};
use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind},
        frame::{Anomaly, AnomalyKind, Direction, FrameKind, HttpNote},
        id::CallId,
        server::Era,
        time::size,
    },
    engine::ports::{Bearer, FrameDraft},
    protocol::{
        connection::{Arrival, RESPONSE_HINT},
        pace::Pace,
        sse, wire,
    },
};

/// How often a cut answer stream is resumed without anything new in between (MCP 2025-11-25, transports,
/// "Resumability"). Servers may end a stream whenever they like and be polled instead, so a stream that
/// brings something, if only an event id, is bounded by the deadline of the call alone.
const RESUMES: u32 = 5;
/// The least pause before resuming a stream that was resumed that often, whatever the server asks for.
const POLL_PAUSE: Duration = Duration::from_millis(100);
/// How long calls wait for the server's own stream, at most, from the opening of the session.
const CALLS_WAIT: Duration = Duration::from_millis(500);
/// The longest pause before a stream is asked for again that a server can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// What to do about a response that is not JSON.
const ENDPOINT_HINT: &str = "check that url is the MCP endpoint (it often ends in /mcp)";

pub(super) enum StreamEnd {
    Ended,
    TooLong,
    Broken(String),
}

/// Returns whether an event carries a message: its type is the default or `message`, or its data is one nevertheless.
fn is_message(event: &sse::Event) -> bool {
    let named = event.kind.as_deref().is_none_or(|kind| kind == "message");
    named || (wire::begins_like_message(&event.data) && memchr::memmem::find(&event.data, b"\"jsonrpc\"").is_some())
}

impl HttpLink {
    /// Reads the answer to a request, whichever form it has.
    pub(super) async fn answer(self: &Arc<Self>, response: Response, post: &Post, id: u64) -> Failure {
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|c| c.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
        if kind.starts_with(EVENT_STREAM) {
            return self.answer_stream(response, post, id).await;
        }
        let (first, note, limit) = (self.handler.now(), note_of(&response), self.spec.limits.message_bytes);
        let (status, packed) = (response.status(), response.headers().contains_key(header::CONTENT_ENCODING));
        let (body, cut) = match read_body(response, limit).await {
            Ok(read) => read,
            Err(failure) => return failure,
        };
        let arrival = Arrival { first, last: self.handler.now(), size: body.len() as u64, http: Some(note), call: post.call };
        if cut {
            self.connection.too_large(&Body::from(format!("{{\"id\":{id},")), None, body.len() as u64, &arrival);
            return Failure::after_send(FailureKind::TooLarge, "the answer is over the limit");
        }
        // JSON in UTF-8 has no byte order mark, but some servers send one (RFC 8259, section 8.1).
        let body = match body.bytes().strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) => body.slice_of(rest),
            None => body,
        };
        let begins = body.bytes().trim_ascii_start().first().copied();
        let as_json = kind.starts_with("application/json");
        let message_like = begins == Some(b'{') || (as_json && begins.is_some() && !packed);
        if !message_like {
            let typed = if kind.is_empty() { "of no type" } else { &kind };
            let (detail, hint) = match begins {
                None => (format!("the answer is empty (HTTP {status}) instead of JSON"), ENDPOINT_HINT),
                Some(_) if packed => (
                    "the answer is encoded, which was not requested".to_owned(),
                    "let the server, or the proxy in front of it, encode a response only if the request accepts it",
                ),
                Some(_) => (format!("the answer is {typed} instead of JSON: {}", excerpt(&body)), ENDPOINT_HINT),
            };
            self.reject(body, detail.clone(), arrival, post);
            return Failure::after_send(FailureKind::Protocol, detail).hint(hint);
        }
        let other = (!matches!(begins, Some(b'{' | b'['))).then(|| format!("the answer is not a JSON object: {}", excerpt(&body)));
        self.connection.take_in(body, arrival, &self.outbox).await;
        match other {
            Some(detail) => Failure::after_send(FailureKind::Protocol, detail).hint(ENDPOINT_HINT),
            None => Failure::after_send(FailureKind::Protocol, "the HTTP answer holds no answer to this request").hint(RESPONSE_HINT),
        }
    }

    /// Records a response body that is not a message.
    fn reject(&self, body: Body, detail: String, arrival: Arrival, post: &Post) {
        let frame = self.handler.frame(FrameDraft {
            at: arrival.last,
            direction: Direction::In,
            kind: FrameKind::Http,
            size: arrival.size,
            body,
            call: post.call,
            method: None,
            rpc_id: None,
            http: arrival.http.clone(),
        });
        let bad = wire::Bad { kind: AnomalyKind::BadHttp, detail, id: None, seems: wire::Seems::Nothing };
        self.connection.bad(bad, &arrival, Some(frame));
    }

    /// Reads an event stream until the answer came; resumes it when it is cut and can be resumed.
    pub(super) async fn answer_stream(self: &Arc<Self>, response: Response, post: &Post, id: u64) -> Failure {
        let mut parser = sse::Parser::new(self.spec.limits.message_bytes);
        let mut response = response;
        let (mut last, mut resumes, mut in_vain) = (None::<Arc<str>>, 0, 0);
        loop {
            let mut heard = false;
            let end = self.read_stream(response, &mut parser, post.call, &mut heard).await;
            let interrupted = |why: String| Failure::after_send(FailureKind::Transport, why);
            let why = match end {
                StreamEnd::TooLong => {
                    let (now, limit) = (self.handler.now(), self.spec.limits.message_bytes as u64);
                    let arrival = Arrival { first: now, last: now, size: limit, http: None, call: post.call };
                    self.connection.too_large(&Body::from(format!("{{\"id\":{id},")), None, limit, &arrival);
                    return Failure::after_send(FailureKind::TooLarge, "the answer is over the limit");
                }
                StreamEnd::Ended if parser.within_event() => "the event stream was cut within an event".to_owned(),
                StreamEnd::Ended => "the event stream ended before the answer".to_owned(),
                StreamEnd::Broken(why) => format!("the event stream broke: {why}"),
            };
            let reached = self.resumable(&parser, last.clone(), post.call);
            in_vain = if heard || reached != last { 0 } else { in_vain + 1 };
            last = reached;
            let (Some(from), true) = (&last, in_vain < RESUMES) else { return interrupted(why) };
            // 2026-07-28 has no resumability.
            if self.agreed.lock().era == Some(Era::Modern) {
                return interrupted(why);
            }
            let asked = Duration::from_millis(parser.retry_ms.unwrap_or(500).min(30_000));
            tokio::time::sleep(if resumes < RESUMES { asked } else { asked.max(POLL_PAUSE) }).await;
            resumes += 1;
            response = loop {
                match self.get_stream(Some(from)).await {
                    Ok(response) if is_stream(&response) => break response,
                    // It has no time just now; the answer is still there to be fetched.
                    Ok(response) if transient(response.status()) && in_vain + 1 < RESUMES => {
                        in_vain += 1;
                        tokio::time::sleep(retry_after(&response).unwrap_or_default().clamp(asked.max(POLL_PAUSE), LONGEST_PAUSE)).await;
                    }
                    Ok(response) => return interrupted(format!("{why}; resuming it was answered {}", response.status())),
                    Err(failure) => return interrupted(format!("{why}; resuming it failed: {}", failure.message)),
                }
            };
            let retry = parser.retry_ms;
            parser = sse::Parser::new(self.spec.limits.message_bytes);
            parser.retry_ms = retry;
        }
    }

    /// The id from which a stream can be resumed: the last one, or the one `before` the stream. An id that is too long, or that
    /// a header cannot hold, is reported once and not sent back: a stream that cannot be resumed is only interrupted.
    fn resumable(&self, parser: &sse::Parser, before: Option<Arc<str>>, call: Option<CallId>) -> Option<Arc<str>> {
        let why = match (parser.last_id(), parser.long_id) {
            (Some(id), None) if header::HeaderValue::from_str(id).is_ok() => return Some(id.clone()),
            (None, None) => return before,
            (_, Some(length)) => format!("an id of {}", size(length as u64)),
            (Some(_), None) => "an id with control characters".to_owned(),
        };
        if !self.bad_ids.swap(true, Ordering::Relaxed) {
            let detail = format!("{why} in an event stream: the stream cannot be resumed");
            self.handler.anomaly(Anomaly { kind: AnomalyKind::Oversize, detail, call, frame: None });
        }
        None
    }

    /// Asks for an event stream, following redirects like [`HttpLink::post`].
    pub(super) async fn get_stream(&self, last_event: Option<&str>) -> Result<Response, Failure> {
        let mut url = self.url.clone();
        for _ in 0..REDIRECTS {
            let response = self.get_from(&url, last_event).await?;
            match self.moved(&url, &response) {
                Some(target) => url = target,
                None => return Ok(response),
            }
        }
        self.get_from(&url, last_event).await
    }

    /// Asks `url` for an event stream, once more with another token if the server refuses the first one.
    pub(super) async fn get_from(&self, url: &Url, last_event: Option<&str>) -> Result<Response, Failure> {
        let bearer = self.bearer(None).await;
        let mut response = self.get_with(url, last_event, bearer.as_ref()).await?;
        if !self.refused_token(&mut response, url, None, bearer.as_ref()).await {
            return Ok(response);
        }
        let bearer = self.bearer(None).await;
        self.get_with(url, last_event, bearer.as_ref()).await
    }

    async fn get_with(&self, url: &Url, last_event: Option<&str>, bearer: Option<&Bearer>) -> Result<Response, Failure> {
        let mut fields = self.request_headers(&[], EVENT_STREAM, &Under::Agreed, bearer);
        fields.extend(last_event.map(|id| ("last-event-id".to_owned(), id.to_owned(), id.to_owned())));
        let mut request = self.client.get(url.clone());
        for (name, value, _) in &fields {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| self.transport(&error))?;
        self.handler.frame(FrameDraft {
            at: self.handler.now(),
            direction: Direction::Out,
            kind: FrameKind::Http,
            body: Body::default(),
            size: 0,
            call: None,
            method: None,
            rpc_id: None,
            http: Some(self.note(format!("GET {}", url.path()), &fields)),
        });
        self.record_head(&response, None, None);
        Ok(response)
    }

    /// Reads an event stream to its end; `heard` is set when a message came.
    pub(super) async fn read_stream(
        &self,
        mut response: Response,
        parser: &mut sse::Parser,
        call: Option<CallId>,
        heard: &mut bool,
    ) -> StreamEnd {
        let head = note_of(&response);
        let mut pace = Pace::default();
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return StreamEnd::Ended,
                Err(error) => return StreamEnd::Broken(causes(&error).join(": ")),
            };
            let now = self.handler.now();
            let mut events = vec![];
            let fed = parser.feed(&chunk, now, |event| events.push(event));
            for event in events.into_iter().filter(|event| !event.data.is_empty()) {
                *heard = true;
                let note = Arc::new(HttpNote { event_id: event.id.clone(), ..HttpNote::clone(&head) });
                if !is_message(&event) {
                    // Such as the keep-alive of a server. It is shown among the frames.
                    self.record_event(event, note, call);
                    continue;
                }
                let arrival = Arrival { first: event.first, last: now, size: event.size, http: Some(note), call };
                let size = event.data.len();
                self.connection.take_in(Body::new(event.data), arrival, &self.outbox).await;
                pace.spend(size).await;
            }
            if fed.is_err() {
                return StreamEnd::TooLong;
            }
        }
    }

    /// Records an event that carries no message.
    fn record_event(&self, event: sse::Event, note: Arc<HttpNote>, call: Option<CallId>) {
        self.handler.frame(FrameDraft {
            at: self.handler.now(),
            direction: Direction::In,
            kind: FrameKind::Http,
            size: event.size,
            body: Body::new(event.data),
            call,
            method: None,
            rpc_id: None,
            http: Some(note),
        });
    }

    /// Keeps the server's own stream open (legacy era, GET), for as long as the session lasts.
    pub(super) fn listen(self: &Arc<Self>) {
        // The HTTP+SSE transport has its one stream already.
        if self.agreed.lock().era != Some(Era::Legacy) || self.sse_endpoint.get().is_some() {
            return;
        }
        let own = self.own.clone();
        let generation = self.agreed.lock().generation;
        self.own_stream.send_replace(Some(Instant::now() + CALLS_WAIT));
        let task = tokio::spawn(async move {
            let (mut pause, mut last) = (Duration::from_millis(500), None::<Arc<str>>);
            let mut offered = false;
            loop {
                let Some(link) = own.upgrade() else { return };
                let answer = link.get_stream(last.as_deref()).await;
                link.own_stream.send_replace(None);
                match answer {
                    Ok(response) if is_stream(&response) => {
                        pause = Duration::from_millis(500);
                        offered = true;
                        let mut parser = sse::Parser::new(link.spec.limits.message_bytes);
                        link.read_stream(response, &mut parser, None, &mut false).await;
                        last = link.resumable(&parser, last, None);
                        pause = parser.retry_ms.map_or(pause, |ms| Duration::from_millis(ms.min(30_000)).max(POLL_PAUSE));
                    }
                    // The session was there when the stream was offered in it. Without that, the server has no such stream,
                    // and another session would be refused one as well.
                    Ok(response) if offered && response.status() == StatusCode::NOT_FOUND && link.agreed.lock().session.is_some() => {
                        let _ = link.reopen(generation).await;
                        return;
                    }
                    // It wants less of us, or had no time just now.
                    Ok(response) if transient(response.status()) => {
                        let asked = retry_after(&response).unwrap_or_default();
                        pause = pause.max(asked.min(LONGEST_PAUSE));
                    }
                    // 405: the server offers no such stream. Anything else will not change by asking again.
                    Ok(response) if response.status().is_client_error() || response.status().is_redirection() => return,
                    Ok(_) => {}
                    // While calls wait over other connections, they tell whether the host is gone.
                    Err(failure) if !failure.may_have_run && link.connection.idle() => {
                        link.ending.end(unreachable(&failure));
                        return;
                    }
                    Err(_) => {}
                }
                drop(link);
                tokio::time::sleep(pause).await;
                pause = (pause.min(Duration::from_secs(15)) * 2).max(Duration::from_millis(500));
            }
        });
        *self.listener.lock() = Some(AbortOnDropHandle::new(task));
    }
}
