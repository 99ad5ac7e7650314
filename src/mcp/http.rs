//! The Streamable HTTP link: POST for every message, JSON or an event stream for the answer.
//!
//! Own client rather than an SDK's, because everything has to be seen (status, headers, event ids),
//! every wait has to be ours to bound, and a lost session has to be told from a dead server.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Client, Response, StatusCode, Url, header};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    headers::{self, ParamHeaders},
    peer::{Arrival, Outbox, Peer, Ticket},
    session::{Ending, Link, meta_with_token},
    sse, wire,
};
use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind, RpcError},
        frame::{AnomalyKind, Direction, FrameKind, HttpNote},
        id::CallId,
        policy::budget,
        server::{ConnectFailure, Era, Exit, Launch, ServerSpec, Step},
        time::{Stamp, size},
    },
    engine::ports::{Flow, FrameDraft, Host, Reply, Request},
};

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";
const EVENT_STREAM: &str = "text/event-stream";
/// How much of an error page is kept.
const ERROR_PAGE: usize = 64 << 10;
/// How often a cut answer stream is resumed without anything new in between (MCP 2025-11-25, transports,
/// "Resumability"). Servers may end a stream whenever they like and be polled instead, so a stream that
/// brings something, if only an event id, is bounded by the deadline of the call alone.
const RESUMES: u32 = 5;
/// The least pause before resuming a stream that was resumed that often, whatever the server asks for.
const POLL_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before a stream is asked for again that a server can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How many redirects are followed.
const REDIRECTS: usize = 5;
/// How long closing may take: the server is asked to forget the session, no more.
const GOODBYE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Agreed {
    era: Option<Era>,
    version: Option<String>,
    session: Option<String>,
    /// A session that is being opened in place of a lost one: nobody uses it before the server was told
    /// `notifications/initialized` (MCP 2025-11-25, lifecycle, "Initialization").
    next: Option<Option<String>>,
    /// Counts sessions, so that only one of several losers opens a new one.
    generation: u64,
    /// `params` of our `initialize`, to open the next session the same way.
    opening: Option<Body>,
}

/// A connection to an HTTP server, if one can call it that: most of it is memory.
pub struct HttpLink {
    peer: Arc<Peer>,
    client: Client,
    url: Url,
    agreed: Mutex<Agreed>,
    reopening: tokio::sync::Mutex<()>,
    params: Mutex<ParamHeaders>,
    listener: Mutex<Option<AbortOnDropHandle<()>>>,
    ending: Ending,
    own: Weak<HttpLink>,
    outbox: Arc<dyn Outbox>,
    serial: AtomicU64,
}

struct Answers(Weak<HttpLink>);

#[async_trait]
impl Outbox for Answers {
    async fn reply(&self, body: Body) {
        if let Some(link) = self.0.upgrade() {
            let _ = link.tell(body, FrameKind::Response, None, Under::Agreed).await;
        }
    }
}

/// A request body that notes when the connection has taken its last byte.
struct Stamped {
    data: Option<Bytes>,
    taken: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl http_body::Body for Stamped {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        let data = self.data.take();
        if data.is_some()
            && let Some(taken) = self.taken.take()
        {
            taken();
        }
        Poll::Ready(data.map(|data| Ok(http_body::Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.data.as_ref().map_or(0, |d| d.len() as u64))
    }
}

/// The session that a message belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Under {
    /// None, not even a lost one: it opens one.
    None,
    /// The one that was agreed on.
    Agreed,
    /// The one that is being opened.
    Next,
}

/// One message on its way out.
struct Post {
    body: Body,
    kind: FrameKind,
    method: Option<Arc<str>>,
    rpc_id: Option<Arc<str>>,
    call: Option<CallId>,
    routing: Vec<(String, String)>,
    flow: Option<Arc<dyn Flow>>,
    under: Under,
}

impl Post {
    /// Whether this opens a session.
    fn opens(&self) -> bool {
        self.method.as_deref() == Some("initialize")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpLink {
    /// Prepares the connection; nothing is sent yet.
    pub fn new(spec: Arc<ServerSpec>, host: Arc<dyn Host>) -> Result<Arc<HttpLink>, ConnectFailure> {
        let (url, client) = client(&spec)?;
        let peer = Peer::new(spec, host);
        Ok(Arc::new_cyclic(|own| HttpLink {
            peer,
            client,
            url,
            agreed: Mutex::default(),
            reopening: tokio::sync::Mutex::new(()),
            params: Mutex::default(),
            listener: Mutex::default(),
            ending: Ending::new(),
            outbox: Arc::new(Answers(own.clone())),
            own: own.clone(),
            serial: AtomicU64::new(0),
        }))
    }

    fn host(&self) -> &Arc<dyn Host> {
        self.peer.host()
    }

    fn configured_headers(&self) -> &[(String, crate::domain::secret::Secret)] {
        match &self.peer.spec().launch {
            Launch::Http { headers, .. } => headers,
            Launch::Stdio { .. } => &[],
        }
    }

    /// Every header of a request beyond what the HTTP client adds, with the form to show.
    fn request_headers(&self, routing: &[(String, String)], accept: &str, under: Under) -> Vec<(String, String, String)> {
        let plain = |name: &str, value: &str| (name.to_owned(), value.to_owned(), value.to_owned());
        let mut all = vec![plain("accept", accept)];
        let agreed = lock(&self.agreed);
        if agreed.era == Some(Era::Legacy) && under != Under::None {
            all.extend(agreed.version.iter().map(|v| plain(VERSION, v)));
            let session = match (under, &agreed.next) {
                (Under::Next, Some(next)) => next,
                _ => &agreed.session,
            };
            all.extend(session.iter().map(|s| plain(SESSION, s)));
        }
        all.extend(routing.iter().map(|(name, value)| plain(name, value)));
        all.extend(
            self.configured_headers().iter().map(|(name, value)| (name.clone(), value.expose().to_owned(), value.shown().to_owned())),
        );
        all
    }

    fn note(&self, line: String, headers: &[(String, String, String)]) -> Arc<HttpNote> {
        let headers = headers.iter().map(|(name, _, shown)| (name.clone(), shown.clone())).collect();
        Arc::new(HttpNote { line, headers, event_id: None })
    }

    /// Sends one message and gives the answer's head. Follows redirects of the same origin that keep
    /// the method (307, 308).
    async fn post(&self, post: &Post) -> Result<Response, Failure> {
        let mut url = self.url.clone();
        for _ in 0..REDIRECTS {
            let response = self.post_to(url.clone(), post).await?;
            match self.moved(&url, &response) {
                Some(target) => url = target,
                None => return Ok(response),
            }
        }
        let status = Some(StatusCode::TEMPORARY_REDIRECT.as_u16());
        Err(Failure { status, ..Failure::new(FailureKind::Transport, format!("redirected more than {REDIRECTS} times")) })
    }

    /// Where an answer to a request to `url` redirects, if that is to be followed.
    fn moved(&self, url: &Url, response: &Response) -> Option<Url> {
        if !matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
            return None;
        }
        let target = url.join(response.headers().get(header::LOCATION)?.to_str().ok()?).ok()?;
        (target.origin() == self.url.origin()).then_some(target)
    }

    async fn post_to(&self, url: Url, post: &Post) -> Result<Response, Failure> {
        let fields = self.request_headers(&post.routing, "application/json, text/event-stream", post.under);
        let mut request = self.client.post(url.clone()).header(header::CONTENT_TYPE, "application/json");
        for (name, value, _) in &fields {
            request = request.header(name, value);
        }
        let (host, bytes) = (self.host().clone(), post.body.bytes().clone());
        let note = self.note(format!("POST {}", url.path()), &fields);
        let taken = {
            let flow = post.flow.clone();
            let draft = FrameDraft {
                at: Stamp::default(),
                direction: Direction::Out,
                kind: post.kind,
                size: bytes.len() as u64,
                body: post.body.clone(),
                call: post.call,
                method: post.method.clone(),
                rpc_id: post.rpc_id.clone(),
                http: Some(note),
            };
            move || {
                let at = host.now();
                if let Some(flow) = &flow {
                    flow.sent(at, draft.size);
                }
                host.frame(FrameDraft { at, ..draft });
            }
        };
        let body = Stamped { data: Some(bytes), taken: Some(Box::new(taken)) };
        request.body(reqwest::Body::wrap(body)).send().await.map_err(|error| transport(&error))
    }

    /// Sends a message that expects no answer but an acknowledgement.
    async fn tell(&self, body: Body, kind: FrameKind, method: Option<Arc<str>>, under: Under) -> Result<(), Failure> {
        let routing = match (&method, lock(&self.agreed).era) {
            (Some(method), Some(Era::Modern)) => {
                vec![("Mcp-Method".to_owned(), method.to_string()), (VERSION.to_owned(), super::session::MODERN.to_owned())]
            }
            _ => vec![],
        };
        let post = Post { body, kind, method, rpc_id: None, call: None, routing, flow: None, under };
        let response = self.post(&post).await?;
        let status = response.status();
        self.record_head(&response, None, None);
        if status.is_success() { Ok(()) } else { Err(self.refusal(response, None).await) }
    }

    /// Records an answer without a message.
    fn record_head(&self, response: &Response, body: Option<&Body>, call: Option<CallId>) {
        let body = body.cloned().unwrap_or_default();
        self.host().frame(FrameDraft {
            at: self.host().now(),
            direction: Direction::In,
            kind: FrameKind::Http,
            size: body.len() as u64,
            body,
            call,
            method: None,
            rpc_id: None,
            http: Some(note_of(response)),
        });
    }

    /// Reads an error answer to the end (within reason) and makes a failure of it.
    async fn refusal(&self, mut response: Response, call: Option<(CallId, u64)>) -> Failure {
        let status = response.status();
        let mut page = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            page.extend_from_slice(&chunk[..chunk.len().min(ERROR_PAGE - page.len())]);
            if page.len() >= ERROR_PAGE {
                break;
            }
        }
        let body = Body::new(page);
        self.record_head(&response, Some(&body), call.map(|(call, _)| call));
        refused(status, &response, &body)
    }

    /// Sends a request and drives its answer until it came or cannot come any more.
    async fn drive(self: &Arc<Self>, post: &Post, id: u64) -> Failure {
        let mut lost_once = false;
        loop {
            let generation = lock(&self.agreed).generation;
            let response = match self.post(post).await {
                Ok(response) => response,
                Err(failure) => {
                    // One connection that is refused says nothing of those over which others wait for their answers.
                    if !failure.may_have_run && failure.status.is_none() && self.peer.alone() {
                        self.ending.end(unreachable(&failure));
                    }
                    return failure;
                }
            };
            let had_session = lock(&self.agreed).session.is_some();
            if response.status().is_success() {
                self.note_session(&response, post);
                return self.answer(response, post, id).await;
            }
            let failure = self.refusal(response, post.call.map(|call| (call, id))).await;
            // The session is gone, so the request was refused before it ran: any call may be sent again.
            if had_session && !lost_once && !post.opens() && session_lost(&failure) {
                lost_once = true;
                match self.reopen(generation).await {
                    Ok(()) => continue,
                    Err(failure) => return failure,
                }
            }
            return failure;
        }
    }

    fn note_session(&self, response: &Response, post: &Post) {
        if post.opens() {
            let mut agreed = lock(&self.agreed);
            let session = response.headers().get(SESSION).and_then(|s| s.to_str().ok()).map(str::to_owned);
            match agreed.era {
                // One in place of another.
                Some(_) => agreed.next = Some(session),
                None => (agreed.session, agreed.generation) = (session, agreed.generation + 1),
            }
        }
    }

    /// Opens a new session in place of a lost one; of several callers one does it, the others wait.
    ///
    /// A task of its own: whoever began it may give its call up, and the others still want the session.
    fn reopen(self: &Arc<Self>, lost: u64) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        let link = self.clone();
        let opening: JoinHandle<Result<(), Failure>> = tokio::spawn(async move { link.open_again(lost).await });
        async {
            let broken = |_| Err(Failure::new(FailureKind::Transport, "the session was lost and opening a new one broke down"));
            opening.await.unwrap_or_else(broken)
        }
    }

    /// The lost session stays in use until the new one is there: the server refuses what comes with it,
    /// and so those calls come here and wait too.
    async fn open_again(self: &Arc<Self>, lost: u64) -> Result<(), Failure> {
        let _one = self.reopening.lock().await;
        let opening = {
            let agreed = lock(&self.agreed);
            if agreed.generation != lost {
                return Ok(());
            }
            agreed.opening.clone()
        };
        let Some(params) = opening else { return Err(Failure::new(FailureKind::Transport, "the session was lost")) };
        let request = Request { method: "initialize".into(), params, call: None };
        let opened = timeout(
            self.peer.spec().timeouts.connect,
            Box::pin(self.send(request, "", Arc::new(super::session::Quiet("no answer to initialize")))),
        )
        .await;
        match opened {
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => {
                return Err(Failure {
                    message: format!("the session was lost and no new one could be opened: {}", failure.message),
                    ..failure
                });
            }
            Err(_) => return Err(Failure::new(FailureKind::Timeout, "the session was lost and initialize was not answered")),
        }
        let method = "notifications/initialized";
        let told = wire::notification(method, &Body::default(), "");
        self.tell(told, FrameKind::Notification, Some(method.into()), Under::Next).await?;
        {
            let mut agreed = lock(&self.agreed);
            (agreed.session, agreed.generation) = (agreed.next.take().flatten(), agreed.generation + 1);
        }
        self.listen();
        // The new session knows nothing of what the old one was asked to tell.
        self.host().renewed();
        Ok(())
    }

    /// Reads the answer to a request, whichever form it has.
    async fn answer(self: &Arc<Self>, response: Response, post: &Post, id: u64) -> Failure {
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|c| c.to_str().ok()).unwrap_or_default().to_ascii_lowercase();
        if kind.starts_with(EVENT_STREAM) {
            return self.answer_stream(response, post, id).await;
        }
        let (first, note, limit) = (self.host().now(), note_of(&response), self.peer.spec().limits.message_bytes);
        let (body, cut) = match read_body(response, limit).await {
            Ok(read) => read,
            Err(failure) => return failure,
        };
        let arrival = Arrival { first, last: self.host().now(), size: body.len() as u64, http: Some(note), call: post.call };
        if cut {
            self.peer.too_large(&Body::from(format!("{{\"id\":{id},")), None, body.len() as u64, &arrival);
            return Failure::after_send(FailureKind::TooLarge, "the answer is over the limit");
        }
        if !kind.starts_with("application/json") && !body.bytes().trim_ascii_start().starts_with(b"{") {
            let detail =
                format!("the answer is {} instead of JSON: {}", if kind.is_empty() { "of no type" } else { &kind }, excerpt(&body));
            self.peer.bad(
                wire::Bad { kind: AnomalyKind::BadHttp, detail: detail.clone(), id: None, seems: wire::Seems::Nothing },
                &arrival,
                None,
            );
            return Failure::after_send(FailureKind::Protocol, detail).hint("check that url is the MCP endpoint (it often ends in /mcp)");
        }
        self.peer.incoming(body, &arrival, &self.outbox);
        Failure::after_send(FailureKind::Protocol, "the HTTP answer holds no answer to this request").hint("see the frames of this call")
    }

    /// Reads an event stream until the answer came; resumes it when it is cut and can be resumed.
    async fn answer_stream(self: &Arc<Self>, response: Response, post: &Post, id: u64) -> Failure {
        let mut parser = sse::Parser::new(self.peer.spec().limits.message_bytes);
        let mut response = response;
        let (mut last, mut resumes, mut in_vain) = (None::<String>, 0, 0);
        loop {
            let mut heard = false;
            let end = self.read_stream(response, &mut parser, post.call, &mut heard).await;
            let interrupted = |why: String| Failure::after_send(FailureKind::Transport, why);
            let why = match end {
                StreamEnd::TooLong => {
                    let (now, limit) = (self.host().now(), self.peer.spec().limits.message_bytes as u64);
                    let arrival = Arrival { first: now, last: now, size: limit, http: None, call: post.call };
                    self.peer.too_large(&Body::from(format!("{{\"id\":{id},")), None, limit, &arrival);
                    return Failure::after_send(FailureKind::TooLarge, "the answer is over the limit");
                }
                StreamEnd::Ended if parser.within_event() => "the event stream was cut within an event".to_owned(),
                StreamEnd::Ended => "the event stream ended before the answer".to_owned(),
                StreamEnd::Broken(why) => format!("the event stream broke: {why}"),
            };
            let reached = parser.last_id().map(str::to_owned).or_else(|| last.clone());
            in_vain = if heard || reached != last { 0 } else { in_vain + 1 };
            last = reached;
            let (Some(from), true) = (&last, in_vain < RESUMES) else { return interrupted(why) };
            // 2026-07-28 has no resumability.
            if lock(&self.agreed).era == Some(Era::Modern) {
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
            parser = sse::Parser::new(self.peer.spec().limits.message_bytes);
            parser.retry_ms = retry;
        }
    }

    /// Asks for an event stream, following redirects like [`HttpLink::post`].
    async fn get_stream(&self, last_event: Option<&str>) -> Result<Response, Failure> {
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

    async fn get_from(&self, url: &Url, last_event: Option<&str>) -> Result<Response, Failure> {
        let mut fields = self.request_headers(&[], EVENT_STREAM, Under::Agreed);
        fields.extend(last_event.map(|id| ("last-event-id".to_owned(), id.to_owned(), id.to_owned())));
        let mut request = self.client.get(url.clone());
        for (name, value, _) in &fields {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| transport(&error))?;
        self.host().frame(FrameDraft {
            at: self.host().now(),
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

    /// Asks the server to forget the session, following redirects like [`HttpLink::post`].
    async fn forget_session(&self) {
        let mut url = self.url.clone();
        for _ in 0..REDIRECTS {
            let mut request = self.client.delete(url.clone());
            for (name, value, _) in self.request_headers(&[], "application/json", Under::Agreed) {
                request = request.header(name, value);
            }
            let Ok(response) = request.send().await else { return };
            match self.moved(&url, &response) {
                Some(target) => url = target,
                None => return,
            }
        }
    }

    /// Reads an event stream to its end; `heard` is set when a message came.
    async fn read_stream(&self, mut response: Response, parser: &mut sse::Parser, call: Option<CallId>, heard: &mut bool) -> StreamEnd {
        let head = note_of(&response);
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return StreamEnd::Ended,
                Err(error) => return StreamEnd::Broken(causes(&error).join(": ")),
            };
            let now = self.host().now();
            let fed = parser.feed(&chunk, now, |event| {
                if event.data.is_empty() {
                    return;
                }
                *heard = true;
                let note = Arc::new(HttpNote { event_id: event.id.clone(), ..HttpNote::clone(&head) });
                let arrival = Arrival { first: event.first, last: now, size: event.size, http: Some(note), call };
                self.peer.incoming(Body::new(event.data), &arrival, &self.outbox);
            });
            if fed.is_err() {
                return StreamEnd::TooLong;
            }
        }
    }

    /// Keeps the server's own stream open (legacy era, GET), for as long as the session lasts.
    fn listen(self: &Arc<Self>) {
        if lock(&self.agreed).era != Some(Era::Legacy) {
            return;
        }
        let own = self.own.clone();
        let generation = lock(&self.agreed).generation;
        let task = tokio::spawn(async move {
            let (mut pause, mut last) = (Duration::from_millis(500), None::<String>);
            loop {
                let Some(link) = own.upgrade() else { return };
                match link.get_stream(last.as_deref()).await {
                    Ok(response) if is_stream(&response) => {
                        pause = Duration::from_millis(500);
                        let mut parser = sse::Parser::new(link.peer.spec().limits.message_bytes);
                        link.read_stream(response, &mut parser, None, &mut false).await;
                        last = parser.last_id().map(str::to_owned).or(last);
                        pause = parser.retry_ms.map_or(pause, |ms| Duration::from_millis(ms.min(30_000)).max(POLL_PAUSE));
                    }
                    Ok(response) if response.status() == StatusCode::NOT_FOUND && lock(&link.agreed).session.is_some() => {
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
                    Err(failure) if !failure.may_have_run && link.peer.idle() => {
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
        *lock(&self.listener) = Some(AbortOnDropHandle::new(task));
    }

    /// How a request that was given up is cancelled: by notification in the legacy era; in the modern
    /// one, closing the stream says it (MCP 2026-07-28, basic, "Cancellation").
    fn cancel_on_drop(self: &Arc<Self>, ticket: &mut Ticket, method: &str) {
        if method == "initialize" || method == "server/discover" || lock(&self.agreed).era != Some(Era::Legacy) {
            return;
        }
        let (link, runtime) = (self.own.clone(), tokio::runtime::Handle::current());
        ticket.on_drop(move |id, reason| {
            runtime.spawn(async move {
                let Some(link) = link.upgrade() else { return };
                let params = Body::json(&serde_json::json!({"requestId": id, "reason": reason}));
                let method = "notifications/cancelled";
                let _ = timeout(
                    Duration::from_secs(5),
                    link.tell(wire::notification(method, &params, ""), FrameKind::Notification, Some(method.into()), Under::Agreed),
                )
                .await;
            });
        });
    }

    async fn send(self: &Arc<Self>, request: Request, meta: &str, flow: Arc<dyn Flow>) -> Result<Reply, Failure> {
        if self.ending.over() {
            return Err(Failure::new(FailureKind::Transport, "the server is no longer connected"));
        }
        let id = self.peer.fresh_id();
        let method: Arc<str> = request.method.as_str().into();
        let body = wire::request(id, &method, &request.params, &meta_with_token(meta, request.call, id));
        let mut routing = vec![];
        if !meta.is_empty() {
            routing = lock(&self.params).of(&method, &request.params);
            routing.push((VERSION.to_owned(), super::session::MODERN.to_owned()));
        }
        let mut ticket = self.peer.register(id, &method, request.call, body.len() as u64, flow.clone())?;
        self.cancel_on_drop(&mut ticket, &method);
        if &*method == "initialize" {
            lock(&self.agreed).opening = Some(request.params.clone());
        }
        let rpc_id = Some(id.to_string().into());
        let under = if &*method == "initialize" { Under::None } else { Under::Agreed };
        let (kind, call) = (FrameKind::Request, request.call);
        let post = Post { body, kind, method: Some(method.clone()), rpc_id, call, routing, flow: Some(flow), under };
        self.serial.fetch_add(1, Ordering::Relaxed);
        let waiting = ticket.wait();
        tokio::pin!(waiting);
        let failure = tokio::select! {
            biased;
            answer = &mut waiting => return self.learned(&method, answer),
            failure = self.drive(&post, id) => failure,
        };
        // The last message of the stream may have been the answer.
        self.peer.fail(id, failure);
        self.learned(&method, waiting.await)
    }

    fn learned(&self, method: &str, answer: Result<Reply, Failure>) -> Result<Reply, Failure> {
        if method == "tools/list"
            && let Ok(reply) = &answer
            && let Some(tools) = wire::value(&reply.result).and_then(|v| v.get("tools").and_then(|t| t.as_array().cloned()))
        {
            lock(&self.params).learn(&tools.iter().map(Body::json).collect::<Vec<_>>());
        }
        answer
    }
}

enum StreamEnd {
    Ended,
    TooLong,
    Broken(String),
}

#[async_trait]
impl Link for HttpLink {
    async fn request(&self, request: Request, meta: &str, flow: Arc<dyn Flow>) -> Result<Reply, Failure> {
        let Some(own) = self.own.upgrade() else { return Err(Failure::new(FailureKind::Transport, "the connection was closed")) };
        own.send(request, meta, flow).await
    }

    async fn notify(&self, method: &str, params: Body) -> Result<(), Failure> {
        self.tell(wire::notification(method, &params, ""), FrameKind::Notification, Some(method.into()), Under::Agreed).await
    }

    fn agreed(self: Arc<Self>, era: Era, version: &str) {
        {
            let mut agreed = lock(&self.agreed);
            agreed.era = Some(era);
            agreed.version = Some(version.to_owned());
        }
        if version == "2025-03-26" {
            self.peer.accept_batches();
        }
        self.listen();
    }

    fn pid(&self) -> Option<u32> {
        None
    }

    async fn closed(&self) -> Arc<ConnectFailure> {
        let reason = self.ending.wait().await;
        self.peer.close(&Failure::after_send(FailureKind::Transport, reason.summary.clone()));
        reason
    }

    async fn close(&self) -> Exit {
        lock(&self.listener).take();
        let had_session = lock(&self.agreed).session.is_some();
        if had_session && !self.ending.over() {
            let _ = timeout(GOODBYE, self.forget_session()).await;
        }
        self.ending.end(ConnectFailure::new(Step::Run, "the connection was closed"));
        self.peer.close(&Failure::after_send(FailureKind::Transport, "the connection was closed"));
        Exit::Unknown
    }
}

fn client(spec: &ServerSpec) -> Result<(Url, Client), ConnectFailure> {
    let refuse = |why: String, hint: &str| {
        let mut failure = ConnectFailure::new(Step::Dial, why);
        failure.hints.push(hint.to_owned());
        failure.retryable = false;
        failure
    };
    let Launch::Http { url, headers, socket } = &spec.launch else { return Err(refuse("not an HTTP server".into(), "give a url")) };
    let parsed =
        Url::parse(url).map_err(|e| refuse(format!("the url cannot be read: {e}"), "give it as http://host:port/mcp or https://…"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(refuse(format!("{}: is no scheme for Streamable HTTP", parsed.scheme()), "give an http or https url"));
    }
    for (name, value) in headers {
        if header::HeaderName::from_bytes(name.as_bytes()).is_err() || header::HeaderValue::from_str(value.expose()).is_err() {
            return Err(refuse(format!("the header {name:?} cannot be sent"), "header names are tokens, values are one line of text"));
        }
    }
    let mut builder = Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(spec.timeouts.connect.min(Duration::from_secs(10)))
        .user_agent(concat!("switchboard/", env!("CARGO_PKG_VERSION")));
    let local = matches!(parsed.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    if local || socket.is_some() {
        builder = builder.no_proxy();
    }
    if let Some(path) = socket {
        builder = builder.unix_socket(path.clone());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    if parsed.scheme() == "http" {
        // Loading the system's certificates takes time and memory that plain HTTP has no use for.
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| refuse(format!("TLS cannot be set up: {e}"), "this is a fault of the program; please report it"))?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        builder = builder.tls_backend_preconfigured(tls);
    } else {
        let _ = rustls::crypto::CryptoProvider::install_default(rustls::crypto::ring::default_provider());
    }
    let client = builder
        .build()
        .map_err(|e| refuse(format!("the HTTP client cannot be set up: {}", causes(&e).join(": ")), "check the system's certificates"))?;
    Ok((parsed, client))
}

fn note_of(response: &Response) -> Arc<HttpNote> {
    let status = response.status();
    let line = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    Arc::new(HttpNote { line: line.trim_end().to_owned(), headers: headers::shown(response.headers()), event_id: None })
}

fn is_stream(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|c| c.to_str().ok()).unwrap_or_default();
    response.status().is_success() && kind.to_ascii_lowercase().starts_with(EVENT_STREAM)
}

/// Reads a body of at most `limit` bytes; says whether it was cut there.
async fn read_body(mut response: Response, limit: usize) -> Result<(Body, bool), Failure> {
    let expected = response.content_length().and_then(|l| usize::try_from(l).ok()).unwrap_or(0);
    let mut buffer = Vec::with_capacity(expected.min(limit));
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if buffer.len() + chunk.len() > limit => return Ok((Body::new(buffer), true)),
            Ok(Some(chunk)) => buffer.extend_from_slice(&chunk),
            Ok(None) => return Ok((Body::new(buffer), false)),
            Err(error) => {
                let mut failure =
                    Failure::after_send(FailureKind::Transport, format!("the answer was cut off after {}", size(buffer.len() as u64)));
                failure.causes = causes(&error);
                return Err(failure);
            }
        }
    }
}

/// A failure of the HTTP client, with its whole chain of causes.
fn transport(error: &reqwest::Error) -> Failure {
    let chain = causes(error);
    let unsent = error.is_connect() || error.is_builder();
    let deepest = chain.last().cloned().unwrap_or_default();
    let message = match (error.is_connect(), error.is_timeout()) {
        (true, true) => "no connection in time".to_owned(),
        (true, false) => format!("no connection: {deepest}"),
        _ => format!("the connection broke: {deepest}"),
    };
    let mut failure =
        if unsent { Failure::new(FailureKind::Transport, message) } else { Failure::after_send(FailureKind::Transport, message) };
    let all = chain.join(" ").to_ascii_lowercase();
    failure.hint = match () {
        () if all.contains("refused") => Some("nothing listens there; start the server, or check host and port of url".into()),
        () if all.contains("dns") || all.contains("lookup") => Some("the host name cannot be resolved; check url and network".into()),
        () if all.contains("certificate") || all.contains("tls") || all.contains("corrupt message") => {
            Some("the certificate was not accepted; check the host name, and that http and https are not mixed up".into())
        }
        () if error.is_timeout() => Some("nothing answers there; check host and port of url, and whether it is http or https".into()),
        () => None,
    };
    failure.causes = chain;
    failure
}

fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut chain = vec![];
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if chain.last() != Some(&text) {
            chain.push(text);
        }
        cause = error.source();
    }
    if chain.is_empty() {
        chain.push(error.to_string());
    }
    chain
}

fn unreachable(failure: &Failure) -> ConnectFailure {
    super::session::failed(Step::Dial, failure)
}

fn excerpt(body: &Body) -> String {
    let text = body.text();
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(160) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Whether an answer says that the session is no longer known: 404 by the specification, 400 with a
/// word about the session by the TypeScript SDK.
fn session_lost(failure: &Failure) -> bool {
    let named = failure.message.to_ascii_lowercase().contains("session")
        || failure.rpc.as_ref().is_some_and(|rpc| rpc.message.to_ascii_lowercase().contains("session"));
    failure.status == Some(404) || (failure.status == Some(400) && named)
}

fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// How long an answer asks to wait.
fn retry_after(response: &Response) -> Option<Duration> {
    budget::retry_after(response.headers().get(header::RETRY_AFTER)?.to_str().ok()?, unix_ms())
}

/// Whether a refusal may be another one later (RFC 9110, RFC 6585, RFC 8470).
fn transient(status: StatusCode) -> bool {
    matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS)
}

/// A failure made of an error answer: the JSON-RPC error within where there is one.
fn refused(status: StatusCode, response: &Response, body: &Body) -> Failure {
    let rpc = wire::value(body).and_then(|v| {
        let error = v.get("error")?;
        Some(RpcError {
            code: error.get("code")?.as_i64()?,
            message: error.get("message")?.as_str()?.to_owned(),
            data: error.get("data").map(Body::json),
        })
    });
    let words = format!("HTTP {} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let message = match &rpc {
        Some(rpc) => rpc.message.clone(),
        None if body.is_empty() => words.trim_end().to_owned(),
        None => format!("{}: {}", words.trim_end(), excerpt(body)),
    };
    let kind = match status.as_u16() {
        401 | 403 => FailureKind::Unauthorized,
        _ if rpc.is_some() => FailureKind::Protocol,
        _ => FailureKind::Transport,
    };
    // Refusals of this class come before anything ran.
    let mut failure = if status.is_client_error() { Failure::new(kind, message) } else { Failure::after_send(kind, message) };
    failure.status = Some(status.as_u16());
    failure.rpc = rpc;
    failure.retry_after = retry_after(response);
    let telling = ["www-authenticate", "retry-after", "content-type", "location", "server"];
    failure.headers = headers::shown(response.headers()).into_iter().filter(|(name, _)| telling.contains(&name.as_str())).collect();
    failure.hint = match status.as_u16() {
        401 => Some("the server wants credentials; set headers = { Authorization = \"Bearer ${TOKEN}\" } for it".into()),
        403 => Some("the server refuses these credentials or this origin".into()),
        404 | 405 => Some("check the path of url; a server that speaks only the old HTTP+SSE transport is not supported".into()),
        429 => Some("the server asks for fewer requests; see retry-after".into()),
        300..=399 => Some("the server redirects elsewhere; give the final address as url".into()),
        _ => None,
    };
    failure
}
