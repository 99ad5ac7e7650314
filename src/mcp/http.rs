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
mod outbox;
mod post;
mod proxy;
pub mod registry;
mod sessions;
mod streams;
mod tls;

pub(super) use self::tls::TrustSources;

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::{Client, Url};
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use self::{
    answer::unreachable,
    client::client_of,
    credentials::{Access, authorization},
    outbox::{CANCELS, CANCELS_AT_ONCE, Poster},
    post::{Post, Under},
    proxy::Proxy,
    sessions::unproven,
};
use super::{
    client_handler::{connection_to, observed},
    handshake::MODERN,
    link::{Ending, Link, request_meta},
};
use crate::{
    domain::{
        body::Body,
        call::{Failure, FailureKind},
        capabilities::ClientCapabilities,
        client::Principal,
        frame::{FrameKind, HttpNote},
        policy::call_event::Resend,
        server::{ConnectFailure, Era, Exit, ServerSpec, Step, Transport},
        trace,
    },
    engine::ports::{Bearer, ClientHandler, Credentials, Reply, Request, RequestObserver},
    protocol::{
        connection::{CancelRule, Connection, Outbox, Ticket},
        headers::ParamHeaders,
        meta::Meta,
        wire,
    },
};

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";
const EVENT_STREAM: &str = "text/event-stream";
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
    /// Until when calls wait for the server's own stream; `None` once the server has answered the request for it.
    own_stream: watch::Sender<Option<Instant>>,
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
            own_stream: watch::Sender::default(),
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
        // Proxies and gateways on the way see headers only.
        routing.extend(trace::headers(&request.meta).into_iter().map(|(name, value)| (name.to_owned(), value)));
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

    async fn ready_for_calls(&self) {
        let waiting = *self.own_stream.borrow();
        if let Some(until) = waiting {
            let mut stream = self.own_stream.subscribe();
            // The call is sent in any case.
            let _ = tokio::time::timeout_at(until, stream.wait_for(Option::is_none)).await;
        }
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
