//! The Streamable HTTP transport: a POST for every message, with JSON or an event stream as the response.
//!
//! A client of our own, because status, headers and event ids must be observed, every wait must be bounded, and a lost session
//! must be distinguished from a dead server.
//!
//! A message is sent more than once in two cases only: over redirects ([`HttpLink::post`]) and after a lost session
//! ([`HttpLink::drive`]). Both check [`Request::repeatable`], and send a ping first where that is false.

mod answer;
mod client;
mod credentials;
mod loss;
mod older;
mod proxy;
mod sessions;
mod streams;
mod tls;

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::{Client, Response, StatusCode, Url, header};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use self::{
    answer::{note_of, refused, shown_url, transport, unreachable},
    client::client_of,
    credentials::{Access, Rejection, authorization},
    loss::session_loss,
    proxy::Proxy,
    sessions::unproven,
};
use super::{
    client_handler::{connection_to, observed},
    handshake::MODERN,
    session::{Ending, Link, request_meta},
};
use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind},
        capabilities::ClientCapabilities,
        client::Principal,
        frame::{Anomaly, AnomalyKind, Direction, FrameKind, HttpNote},
        id::CallId,
        policy::call_event::Resend,
        server::{ConnectFailure, Era, Exit, ServerSpec, Step, Transport, looks_secret},
        time::Stamp,
    },
    engine::ports::{Bearer, ClientHandler, Credentials, FrameDraft, Reply, Request, RequestObserver},
    protocol::{
        connection::{CancelRule, Connection, Outbox, Outgoing, Ticket},
        headers::ParamHeaders,
        meta::Meta,
        wire,
    },
};

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";
const EVENT_STREAM: &str = "text/event-stream";
/// Maximum size of a stored error page.
const ERROR_PAGE: usize = 64 << 10;
/// Most requests that one message may take over redirects, the first included.
const REDIRECTS: usize = 5;
/// The same for a message that must not be repeated: a server may run a call and then redirect it.
const REDIRECTS_UNREPEATABLE: usize = 2;
/// Cancellations that may wait to be sent, and how many of them are sent simultaneously: each takes a connection.
const CANCELS: usize = 64;
const CANCELS_AT_ONCE: usize = 4;
/// How long closing may take: the server is asked to forget the session, no more.
const GOODBYE: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Agreed {
    era: Option<Era>,
    version: Option<String>,
    session: Option<Arc<str>>,
    /// A session being opened in place of a lost one. It is not used before the server received `notifications/initialized`
    /// (MCP 2025-11-25, lifecycle, "Initialization").
    next: Option<Option<Arc<str>>>,
    /// Counts sessions, so that only one of several losers opens a new one.
    generation: u64,
    /// `params` of our `initialize`, to open the next session the same way.
    opening: Option<Body>,
}

/// A connection to an HTTP server, if one can call it that: most of it is memory.
pub struct HttpLink {
    spec: Arc<ServerSpec>,
    handler: Arc<dyn ClientHandler>,
    connection: Arc<Connection>,
    client: Client,
    url: Url,
    proxy: Option<Proxy>,
    /// The source of its credentials; `None` if they are configured.
    access: Option<Access>,
    agreed: Mutex<Agreed>,
    reopening: tokio::sync::Mutex<()>,
    /// Whether the session of the generation that was lost last is proven gone.
    proof: tokio::sync::Mutex<Option<(u64, bool)>>,
    params: Mutex<ParamHeaders>,
    listener: Mutex<Option<AbortOnDropHandle<()>>>,
    /// Where messages are posted to over the HTTP+SSE transport, if that is used.
    sse_endpoint: OnceLock<Url>,
    ending: Ending,
    own: Weak<HttpLink>,
    outbox: Arc<dyn Outbox>,
    serial: AtomicU64,
    /// Set once an event id that cannot be sent back was reported.
    bad_ids: AtomicBool,
    /// Cancellations under way, and those of them that are sent now.
    cancels: Arc<Semaphore>,
    cancelling: Semaphore,
}

/// Sends each message as a POST of its own.
struct Poster {
    link: Weak<HttpLink>,
    runtime: tokio::runtime::Handle,
}

#[async_trait]
impl Outbox for Poster {
    async fn send(&self, message: Outgoing) -> Result<(), Failure> {
        match self.link.upgrade() {
            Some(link) => link.tell(message.body, message.kind, message.method, Under::Agreed).await,
            None => Err(Failure::new(FailureKind::Transport, "the connection was closed")),
        }
    }

    fn cancel(&self, notification: Outgoing) {
        let Some(link) = self.link.upgrade() else { return };
        let Ok(place) = link.cancels.clone().try_acquire_owned() else {
            let detail = format!("{CANCELS} cancellations wait for the server to take them; one more was not sent");
            return link.handler.anomaly(Anomaly { kind: AnomalyKind::Unread, detail, call: None, frame: None });
        };
        self.runtime.spawn(async move {
            let _place = place;
            let _ = timeout(Duration::from_secs(5), async {
                let _turn = link.cancelling.acquire().await;
                link.tell(notification.body, notification.kind, notification.method, Under::Agreed).await
            })
            .await;
        });
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
#[derive(Clone, PartialEq, Eq)]
enum Under {
    /// None, not even a lost one: it opens one.
    None,
    /// The one that was agreed on.
    Agreed,
    /// The one that is being opened.
    Next,
    /// This one, or none where the server gave no id: it stays the same if another is opened meanwhile.
    This(Option<Arc<str>>),
}

/// One message on its way out.
struct Post {
    body: Body,
    kind: FrameKind,
    method: Option<Arc<str>>,
    rpc_id: Option<Arc<str>>,
    call: Option<CallId>,
    routing: Vec<(String, String)>,
    observer: Option<Arc<dyn RequestObserver>>,
    under: Under,
    /// Whether it may be sent again although it may have run.
    repeatable: bool,
    /// On whose behalf it is sent; `None` for the connection itself.
    principal: Option<Principal>,
}

impl Post {
    /// Whether this opens a session.
    fn opens(&self) -> bool {
        self.method.as_deref() == Some("initialize")
    }

    /// Whether it carries a session id.
    fn in_session(&self) -> bool {
        matches!(&self.under, Under::This(Some(_)))
    }
}

impl HttpLink {
    /// Prepares the connection; nothing is sent yet.
    pub fn new(
        spec: Arc<ServerSpec>,
        handler: Arc<dyn ClientHandler>,
        capabilities: Arc<ClientCapabilities>,
        credentials: Option<(Arc<dyn Credentials>, Principal)>,
    ) -> Result<Arc<HttpLink>, ConnectFailure> {
        let (url, client, proxy) = client_of(&spec)?;
        let connection = connection_to(&spec, handler.clone(), capabilities);
        let runtime = tokio::runtime::Handle::current();
        let access = Access::of(&spec.launch, credentials);
        Ok(Arc::new_cyclic(|own| HttpLink {
            spec,
            handler,
            connection,
            client,
            url,
            proxy,
            access,
            agreed: Mutex::default(),
            reopening: tokio::sync::Mutex::new(()),
            proof: tokio::sync::Mutex::new(None),
            params: Mutex::default(),
            listener: Mutex::default(),
            sse_endpoint: OnceLock::new(),
            ending: Ending::new(),
            outbox: Arc::new(Poster { link: own.clone(), runtime }),
            own: own.clone(),
            serial: AtomicU64::new(0),
            bad_ids: AtomicBool::new(false),
            cancels: Arc::new(Semaphore::new(CANCELS)),
            cancelling: Semaphore::new(CANCELS_AT_ONCE),
        }))
    }

    fn configured_headers(&self) -> &[(String, crate::domain::secret::Secret)] {
        match &self.spec.launch {
            Transport::Http { headers, .. } => headers,
            Transport::Stdio { .. } => &[],
        }
    }

    /// Every header of a request beyond what the HTTP client adds, with the form to show.
    fn request_headers(
        &self,
        routing: &[(String, String)],
        accept: &str,
        under: &Under,
        bearer: Option<&Bearer>,
    ) -> Vec<(String, String, String)> {
        let plain = |name: &str, value: &str| (name.to_owned(), value.to_owned(), value.to_owned());
        let mut all = vec![plain("accept", accept)];
        let agreed = self.agreed.lock();
        if agreed.era == Some(Era::Legacy) && *under != Under::None {
            all.extend(agreed.version.iter().map(|v| plain(VERSION, v)));
            let session = match (under, &agreed.next) {
                (Under::Next, Some(next)) => next,
                (Under::This(session), _) => session,
                _ => &agreed.session,
            };
            all.extend(session.iter().map(|s| plain(SESSION, s)));
        }
        all.extend(routing.iter().map(|(name, value)| plain(name, value)));
        all.extend(authorization(bearer));
        all.extend(
            self.configured_headers().iter().map(|(name, value)| (name.clone(), value.expose().to_owned(), value.shown().to_owned())),
        );
        all
    }

    fn note(&self, line: String, headers: &[(String, String, String)]) -> Arc<HttpNote> {
        let headers = Arc::new(headers.iter().map(|(name, _, shown)| (name.clone(), shown.clone())).collect());
        Arc::new(HttpNote { line, headers, event_id: None })
    }

    /// Sends one message and returns the head of the answer. Follows redirects of the same origin that keep the method
    /// (307, 308). A message that must not be repeated follows one redirect, and only if a ping is redirected to the same
    /// place: a server may run a call and then redirect it. Returns the redirect that is not followed.
    async fn post(&self, post: &Post) -> Result<Response, Failure> {
        let mut url = self.sse_endpoint.get().unwrap_or(&self.url).clone();
        let most = if post.repeatable { REDIRECTS } else { REDIRECTS_UNREPEATABLE };
        for sent in 1..=most {
            // A server may have run what it redirected.
            let redirected = |failure: Failure| Failure { may_have_run: failure.may_have_run || sent > 1, ..failure };
            let response = self.post_to(url.clone(), post).await.map_err(redirected)?;
            match self.moved(&url, &response) {
                Some(target) if post.repeatable || (sent < most && self.redirects_ping(&url, &target, post.call).await) => url = target,
                _ => return Ok(response),
            }
        }
        let status = Some(StatusCode::TEMPORARY_REDIRECT.as_u16());
        let message = format!("redirected more than {REDIRECTS} times, at last to {}", shown_url(url));
        Err(Failure { status, ..Failure::after_send(FailureKind::Transport, message) })
    }

    /// Makes a failure of an error of the HTTP client.
    fn transport(&self, error: &reqwest::Error) -> Failure {
        transport(error, &self.url, self.proxy.as_ref())
    }

    /// Returns the target of a redirect of `url` that may be followed.
    fn moved(&self, url: &Url, response: &Response) -> Option<Url> {
        if !matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
            return None;
        }
        let target = url.join(response.headers().get(header::LOCATION)?.to_str().ok()?).ok()?;
        (target.origin() == self.url.origin()).then_some(target)
    }

    /// Sends one message to `url`, and once more with another token if the server refuses the first one unread.
    async fn post_to(&self, url: Url, post: &Post) -> Result<Response, Failure> {
        let who = post.principal.as_ref();
        let bearer = self.bearer(who).await;
        let mut response = self.post_with(&url, post, bearer.as_ref()).await?;
        if !self.refused_token(&mut response, &url, who, bearer.as_ref()).await {
            return Ok(response);
        }
        self.record_head(&response, None, post.call);
        if let Some(observer) = &post.observer {
            observer.resent(Resend::NewCredentials);
        }
        let bearer = self.bearer(who).await;
        let mut response = self.post_with(&url, post, bearer.as_ref()).await?;
        // Not again: the answer to a second refusal is that the server refuses it.
        self.refused_token(&mut response, &url, who, bearer.as_ref()).await;
        Ok(response)
    }

    async fn post_with(&self, url: &Url, post: &Post, bearer: Option<&Bearer>) -> Result<Response, Failure> {
        let fields = self.request_headers(&post.routing, "application/json, text/event-stream", &post.under, bearer);
        let mut request = self.client.post(url.clone()).header(header::CONTENT_TYPE, "application/json");
        for (name, value, _) in &fields {
            request = request.header(name, value);
        }
        let (handler, bytes) = (self.handler.clone(), post.body.bytes().clone());
        let note = self.note(format!("POST {}", url.path()), &fields);
        let taken = {
            let observer = post.observer.clone();
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
                let at = handler.now();
                if let Some(observer) = &observer {
                    observer.sent(at, draft.size);
                }
                handler.frame(FrameDraft { at, ..draft });
            }
        };
        let body = Stamped { data: Some(bytes), taken: Some(Box::new(taken)) };
        request.body(reqwest::Body::wrap(body)).send().await.map_err(|error| self.transport(&error))
    }

    /// Sends a message that expects no answer but an acknowledgement.
    async fn tell(&self, body: Body, kind: FrameKind, method: Option<Arc<str>>, under: Under) -> Result<(), Failure> {
        let routing = match (&method, self.agreed.lock().era) {
            (Some(method), Some(Era::Modern)) => {
                vec![("Mcp-Method".to_owned(), method.to_string()), (VERSION.to_owned(), MODERN.to_owned())]
            }
            _ => vec![],
        };
        let post = Post { body, kind, method, rpc_id: None, call: None, routing, observer: None, under, repeatable: true, principal: None };
        let response = self.post(&post).await?;
        let status = response.status();
        self.record_head(&response, None, None);
        if status.is_success() { Ok(()) } else { Err(self.refusal(response, None, &post).await) }
    }

    /// Records an answer without a message.
    fn record_head(&self, response: &Response, body: Option<&Body>, call: Option<CallId>) {
        let body = body.cloned().unwrap_or_default();
        self.handler.frame(FrameDraft {
            at: self.handler.now(),
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

    /// Reads an error answer to `post` to the end (within reason), makes a failure of it and classifies it.
    async fn refusal(&self, mut response: Response, call: Option<CallId>, post: &Post) -> Failure {
        let status = response.status();
        let mut page = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            page.extend_from_slice(&chunk[..chunk.len().min(ERROR_PAGE - page.len())]);
            if page.len() >= ERROR_PAGE {
                break;
            }
        }
        let body = Body::new(page);
        self.record_head(&response, Some(&body), call);
        let credentials = self.configured_headers().iter().any(|(name, _)| looks_secret(name));
        let mut failure = refused(status, &response, &body, credentials);
        self.explain_refusal(&mut failure, Rejection::of(&response), post.principal.as_ref());
        if status.is_redirection() && !post.repeatable && self.moved(&self.url, &response).is_some() {
            failure.hint = Some("a call that must not be repeated follows one redirect; give the final address as url".into());
        }
        if let Some(proxy) = &self.proxy
            && (status == StatusCode::PROXY_AUTHENTICATION_REQUIRED || (status.is_server_error() && self.url.scheme() == "http"))
        {
            failure.causes.push(format!("the connection goes through {proxy}"));
            failure.hint = Some(match status {
                StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                    "give the proxy's credentials in its address: http://user:password@host:port".into()
                }
                _ => proxy.hint(),
            });
        }
        failure.session_lost = if post.in_session() { session_loss(status, failure.rpc.as_ref()) } else { None };
        failure
    }

    /// Sends a request and drives its answer until it came or cannot come any more.
    ///
    /// A request whose session is lost is sent once more in a new session, if the policy lets it be repeated or the old
    /// session is proven gone.
    async fn drive(self: &Arc<Self>, mut post: Post, id: u64) -> Failure {
        // Set while a request that was sent before may have run.
        let (mut resent, mut ran) = (false, false);
        loop {
            let (generation, session) = {
                let agreed = self.agreed.lock();
                (agreed.generation, agreed.session.clone())
            };
            if post.under != Under::None {
                post.under = Under::This(session.clone());
            }
            let response = match self.post(&post).await {
                Ok(response) => response,
                Err(failure) => {
                    let failure = Failure { may_have_run: failure.may_have_run || ran, ..failure };
                    // One connection that is refused says nothing of those over which others wait for their answers.
                    if !failure.may_have_run && failure.status.is_none() && self.connection.alone() {
                        self.ending.end(unreachable(&failure));
                    }
                    return failure;
                }
            };
            if response.status().is_success() && self.is_older_transport() {
                self.acknowledged(response, post.call).await;
                // The answer comes on the event stream, whose end fails the request.
                return std::future::pending().await;
            }
            if response.status().is_success() {
                self.note_session(&response, &post);
                return self.answer(response, &post, id).await;
            }
            let refusal = self.refusal(response, post.call, &post).await;
            let (Some(_), Some(old), false) = (refusal.session_lost, session, resent) else { return refusal };
            let cause = match self.replace_lost(generation, old, &post).await {
                Ok(Some(cause)) => cause,
                Ok(None) => return unproven(refusal),
                Err(failure) => return failure,
            };
            (resent, ran) = (true, cause == Resend::Repeatable);
            if let Some(observer) = &post.observer {
                observer.resent(cause);
            }
        }
    }

    /// Cancels a dropped request: by notification in the legacy era; in the modern era closing the stream cancels (MCP
    /// 2026-07-28, basic, "Cancellation").
    fn cancel_on_drop(self: &Arc<Self>, ticket: &mut Ticket, method: &str) {
        if method == "initialize" || method == "server/discover" || self.agreed.lock().era != Some(Era::Legacy) {
            return;
        }
        ticket.cancel_through(self.outbox.clone(), CancelRule::Always);
    }

    async fn send(self: &Arc<Self>, request: Request, meta: &Meta, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
        if self.ending.over() {
            return Err(Failure::new(FailureKind::Transport, "the server is not connected any more"));
        }
        let id = self.connection.fresh_id();
        let method: Arc<str> = request.method.as_str().into();
        let body = wire::request(id, &method, &request.params, &request_meta(&request, meta, id));
        let mut routing = vec![];
        if !meta.is_empty() {
            routing = self.params.lock().of(&method, &request.params);
            routing.push((VERSION.to_owned(), MODERN.to_owned()));
        }
        let mut ticket = self.connection.register(id, &method, request.call, body.len() as u64, observed(observer.clone()))?;
        self.cancel_on_drop(&mut ticket, &method);
        if &*method == "initialize" {
            self.agreed.lock().opening = Some(request.params.clone());
        }
        let rpc_id = Some(id.to_string().into());
        let under = if &*method == "initialize" { Under::None } else { Under::Agreed };
        let (kind, call) = (FrameKind::Request, request.call);
        let repeatable = request.repeatable;
        let principal = call.map(|_| request.principal.clone());
        let (method_name, observer) = (Some(method.clone()), Some(observer));
        let post = Post { body, kind, method: method_name, rpc_id, call, routing, observer, under, repeatable, principal };
        self.serial.fetch_add(1, Ordering::Relaxed);
        let waiting = ticket.wait();
        tokio::pin!(waiting);
        let failure = tokio::select! {
            biased;
            answer = &mut waiting => return self.learned(&method, answer),
            failure = self.drive(post, id) => failure,
        };
        // The last message of the stream may have been the answer.
        self.connection.fail(id, failure);
        self.learned(&method, waiting.await)
    }

    fn learned(&self, method: &str, answer: Result<Reply, Failure>) -> Result<Reply, Failure> {
        if method == "tools/list"
            && let Ok(reply) = &answer
        {
            self.params.lock().learn(&reply.result, self.spec.limits.items);
        }
        answer
    }
}

/// Returns whether the handshake of a connection is over, so that its end is noticed.
fn handshake_over(link: &HttpLink) -> bool {
    link.agreed.lock().era.is_some()
}

#[async_trait]
impl Link for HttpLink {
    async fn request(&self, request: Request, meta: &Meta, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
        let Some(own) = self.own.upgrade() else { return Err(Failure::new(FailureKind::Transport, "the connection was closed")) };
        own.send(request, meta, observer).await
    }

    async fn notify(&self, method: &str, params: Body) -> Result<(), Failure> {
        self.tell(wire::notification(method, &params, &Meta::default()), FrameKind::Notification, Some(method.into()), Under::Agreed).await
    }

    fn agreed(self: Arc<Self>, era: Era, version: &str) {
        if era == Era::Modern {
            self.connection.forbid_requests();
        }
        {
            let mut agreed = self.agreed.lock();
            agreed.era = Some(era);
            agreed.version = Some(version.to_owned());
        }
        if version == "2025-03-26" {
            self.connection.accept_batches();
        }
    }

    fn opened(self: Arc<Self>) {
        // Not before: the server may refuse the stream until the session is initialized (MCP 2025-11-25, lifecycle).
        self.listen();
    }

    async fn older_transport(&self) -> bool {
        match self.own.upgrade() {
            Some(link) => link.switch_to_sse().await,
            None => false,
        }
    }

    fn is_older_transport(&self) -> bool {
        self.sse_endpoint.get().is_some()
    }

    fn abandon(&self, reason: ConnectFailure) {
        self.ending.end(reason);
    }

    fn pid(&self) -> Option<u32> {
        None
    }

    async fn closed(&self) -> Arc<ConnectFailure> {
        let reason = self.ending.wait().await;
        self.connection.close(&Failure::after_send(FailureKind::Transport, reason.summary.clone()));
        reason
    }

    async fn close(&self) -> Exit {
        self.listener.lock().take();
        let had_session = self.agreed.lock().session.is_some();
        if had_session && !self.ending.over() {
            let _ = timeout(GOODBYE, self.forget_session()).await;
        }
        self.ending.end(ConnectFailure::new(Step::Run, "the connection was closed"));
        self.connection.close(&Failure::after_send(FailureKind::Transport, "the connection was closed"));
        Exit::Unknown
    }
}
