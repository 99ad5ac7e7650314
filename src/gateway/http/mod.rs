//! The HTTP face: Streamable HTTP of both eras on one endpoint, over TCP or a Unix socket. It owns the sessions of legacy clients.
//!
//! Nothing of a request is used before `access` has checked its head. Headers, bodies, connections, sessions and waits are
//! bounded.

mod access;
mod grants;
mod post;
mod sessions;
mod stream;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trap_tests;

use std::{
    collections::HashMap,
    convert::Infallible,
    future::poll_fn,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
    time::{Instant, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    access::Identity,
    grants::Grants,
    post::{empty, events, is_resumable, rpc_error},
    sessions::Sessions,
    stream::{Answer, Events, event_id},
};
pub use self::{
    access::{Access, Exposed, Refusal, Target, TokenLookup},
    sessions::SessionLimits,
};
use super::{
    Client, Gateway,
    failure::{self, INVALID_REQUEST},
    front::MESSAGE_BYTES,
};
use crate::{
    domain::{
        body::{self, Body},
        client::{ClientTransport, Principal},
        id::ClientId,
        profile::Profile,
    },
    protocol::meta::{CLIENT_CAPABILITIES, CLIENT_INFO},
};

/// Maximum size of the head of a request, in bytes.
const HEAD: usize = 64 << 10;
/// How long the head of a request may take.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long the body of a request may take.
const BODY_TIME: Duration = Duration::from_secs(60);
/// Maximum number of connections; further ones wait.
const CONNECTIONS: usize = 512;
/// How long requests in progress may take when the listener ends.
pub const GRACE: Duration = Duration::from_secs(10);
/// When a client that is refused because of the end may try again, in seconds.
const RETRY: HeaderValue = HeaderValue::from_static("5");
/// How often idle sessions are looked for.
const EXPIRY: Duration = Duration::from_secs(60);
/// How often issued tokens are checked whose streams are open.
const REVOCATION: Duration = Duration::from_secs(1);
/// Maximum number of modern clients that are remembered.
const VIRTUAL: usize = 1000;

/// Where a listener is.
pub enum Listener {
    /// A TCP address.
    Tcp(TcpListener),
    /// A Unix socket, which is removed at the end.
    Unix(UnixListener, SocketFile),
}

/// The file of a Unix socket; removed on drop.
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may have been removed already.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens on a Unix socket that only this user can open. Replaces a socket that no process listens on any more.
    pub fn unix(path: &Path) -> io::Result<Listener> {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt};
        if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on the socket"));
            }
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        let file = SocketFile(path.to_owned());
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Listener::Unix(listener, file))
    }
}

/// Who sends a request, and what they see.
pub struct Caller {
    /// On whose behalf.
    pub principal: Principal,
    /// The profile of the path.
    pub profile: Arc<Profile>,
    /// How the sender is connected.
    pub transport: ClientTransport,
    /// Cancelled when the token of the sender is revoked.
    pub grant: Option<CancellationToken>,
}

/// Principal, profile and digest of capabilities and description of a modern client.
type VirtualKey = (Principal, Arc<str>, u64);

/// Returns the metrics in the Prometheus text format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// The HTTP face.
pub struct Service {
    gateway: Arc<Gateway>,
    access: Access,
    sessions: Sessions,
    grants: Grants,
    /// Returns the metrics in the Prometheus text format.
    metrics: Option<MetricsText>,
    /// Modern clients by principal, profile, capabilities and description, with their last use.
    virtual_clients: Mutex<HashMap<VirtualKey, (Arc<Client>, Instant)>>,
    /// Cancelled when the listener ends.
    stopping: CancellationToken,
}

impl Service {
    /// Creates the face of a gateway. Fails if everybody on the network could use it.
    pub fn new(gateway: Arc<Gateway>, access: Access, limits: SessionLimits) -> Result<Arc<Service>, Exposed> {
        Service::with_metrics(gateway, access, limits, None)
    }

    /// The same, which also serves these metrics at `/metrics`.
    pub fn with_metrics(
        gateway: Arc<Gateway>,
        access: Access,
        limits: SessionLimits,
        metrics: Option<MetricsText>,
    ) -> Result<Arc<Service>, Exposed> {
        access.check_exposure()?;
        let sessions = Sessions::new(gateway.clone(), limits);
        let (grants, virtual_clients, stopping) = (Grants::default(), Mutex::default(), CancellationToken::new());
        Ok(Arc::new(Service { gateway, access, sessions, grants, metrics, virtual_clients, stopping }))
    }

    /// Accepts connections until `stop` resolves, then lets requests in progress finish within [`GRACE`].
    pub async fn serve(self: Arc<Self>, listener: Listener, stop: impl Future<Output = ()>) {
        let (permits, tasks) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
        let expiry = tokio::spawn(self.stopping.clone().run_until_cancelled_owned(expire(self.clone())));
        let revocation = tokio::spawn(self.stopping.clone().run_until_cancelled_owned(follow_tokens(self.clone())));
        let mut stop = pin!(stop);
        loop {
            let accepted = async {
                // Fails only if the semaphore is closed, which it never is.
                let permit = permits.clone().acquire_owned().await;
                let connection = match &listener {
                    Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                        // Responses are written whole, so that waiting for more delays them only.
                        let _ = stream.set_nodelay(true);
                        Stream::Tcp(stream)
                    }),
                    Listener::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Stream::Unix(stream)),
                };
                (permit, connection)
            };
            let (permit, connection) = tokio::select! {
                accepted = accepted => accepted,
                () = &mut stop => break,
            };
            let service = self.clone();
            match connection {
                Ok(stream) => drop(tasks.spawn(async move {
                    let _permit = permit;
                    match stream {
                        Stream::Tcp(stream) => service.connection(stream).await,
                        Stream::Unix(stream) => service.connection(stream).await,
                    }
                })),
                // No file descriptors: wait until connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        drop(listener);
        self.stopping.cancel();
        self.gateway.stop();
        tasks.close();
        // Connections beyond that end with the program.
        let _ = timeout(GRACE, tasks.wait()).await;
        // Ended with the token.
        let _ = (expiry.await, revocation.await);
    }

    async fn connection(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request| {
            let service = self.clone();
            async move { Ok::<_, Infallible>(service.answer(request).await) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD).keep_alive(true);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        // An error is one of the client: it disconnected, or sent something else than HTTP.
        tokio::select! {
            _ = &mut connection => {}
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }

    /// Answers one HTTP request.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Answer> {
        let (head, body) = request.into_parts();
        let target = match self.access.check(&head.method, head.uri.path(), &head.headers) {
            Ok(target) => target,
            Err(refusal) => return refuse(refusal),
        };
        if self.stopping.is_cancelled() {
            let mut response =
                rpc_error(StatusCode::SERVICE_UNAVAILABLE, None, failure::error(failure::INTERNAL, "the server is stopping"));
            response.headers_mut().insert(RETRY_AFTER, RETRY);
            return response;
        }
        let profile = match (target, access::profile(head.uri.path()).and_then(|name| self.gateway.profile(name))) {
            (Target::Health, _) => return empty(StatusCode::OK),
            (Target::Metrics, _) => return self.metrics.as_ref().map_or_else(|| refuse(Refusal::Path), |metrics| text(metrics())),
            (_, Some(profile)) => profile,
            (_, None) => return refuse(Refusal::Path),
        };
        // The token may have been revoked since the check.
        let Some(identity) = self.access.identify(head.uri.path(), &head.headers) else { return refuse(Refusal::Token) };
        let Identity { principal, issued } = identity;
        let transport = if self.access.address.is_some() { ClientTransport::Http } else { ClientTransport::Unix };
        let grant = issued.map(|token| self.grants.of(&token));
        let caller = Caller { principal, profile, transport, grant: grant.clone() };
        let Some(grant) = grant else { return self.respond(target, &head.headers, body, &caller).await };
        let mut response = tokio::select! {
            response = self.respond(target, &head.headers, body, &caller) => response,
            () = grant.cancelled() => return refuse(Refusal::Token),
        };
        if let Answer::Events(events) = response.body_mut() {
            events.revoke_with(grant.cancelled_owned());
        }
        response
    }

    /// Answers a request that passed the checks.
    async fn respond(self: &Arc<Self>, target: Target, headers: &HeaderMap, body: Incoming, caller: &Caller) -> Response<Answer> {
        match target {
            // Answered above.
            Target::Health | Target::Metrics => empty(StatusCode::OK),
            Target::End => match self.session(headers, caller) {
                Ok(_) => {
                    let id = headers.get(post::SESSION).and_then(|id| id.to_str().ok()).unwrap_or_default();
                    self.sessions.close(id, caller);
                    empty(StatusCode::NO_CONTENT)
                }
                Err((status, error)) => rpc_error(status, None, error),
            },
            Target::Stream => self.stream(headers, caller),
            Target::Message => match timeout(BODY_TIME, read(body)).await {
                Ok(Ok(bytes)) => self.post(headers, caller, bytes).await,
                Ok(Err(Unread::TooLarge)) => rpc_error(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    None,
                    failure::error(INVALID_REQUEST, "the message is over the limit of 16 MiB"),
                ),
                Ok(Err(Unread::Broken)) => empty(StatusCode::BAD_REQUEST),
                Err(_) => empty(StatusCode::REQUEST_TIMEOUT),
            },
        }
    }

    /// Opens the event stream of a session, or resumes a stream after an event.
    fn stream(self: &Arc<Self>, headers: &HeaderMap, caller: &Caller) -> Response<Answer> {
        if headers.get(post::PROTOCOL).and_then(|version| version.to_str().ok()).is_some_and(super::era::is_modern) {
            return refuse(Refusal::Method);
        }
        let session = match self.session(headers, caller) {
            Ok(session) => session,
            Err((status, error)) => return rpc_error(status, None, error),
        };
        let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(event_id);
        let number = last.map_or(sessions::GENERAL, |(stream, _)| stream);
        let Some(stream) = session.find(number) else {
            let error = failure::error(INVALID_REQUEST, "the stream cannot be resumed any more");
            return rpc_error(StatusCode::NOT_FOUND, None, error);
        };
        let (missed, received) = stream.resume(last.map(|(_, event)| event));
        let resumable = is_resumable(session.client.version());
        let stream = Events::new(number, missed, received, resumable);
        events(stream.until(self.stopping.clone().cancelled_owned()))
    }

    /// Returns the client that represents all modern requests of a principal with the same capabilities and the same description:
    /// they have no session, and servers list the same for them.
    fn virtual_client(&self, caller: &Caller, params: &Body) -> Arc<Client> {
        let [meta] = params.fields(["_meta"]).unwrap_or_default();
        let described = meta.and_then(|meta| body::fields(meta.get().as_bytes(), [CLIENT_CAPABILITIES, CLIENT_INFO])).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        described.map(|member| member.map(|member| member.get())).hash(&mut hasher);
        let key = (caller.principal.clone(), caller.profile.name.clone(), hasher.finish());
        let mut clients = self.virtual_clients.lock();
        if let Some((client, used)) = clients.get_mut(&key) {
            *used = Instant::now();
            return client.clone();
        }
        if clients.len() >= VIRTUAL
            && let Some(oldest) = clients.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| key.clone())
            && let Some((client, _)) = clients.remove(&oldest)
        {
            self.gateway.remove_client(client.id);
        }
        let client = self.gateway.add_client(caller.principal.clone(), caller.profile.clone(), Some(caller.transport));
        clients.insert(key, (client.clone(), Instant::now()));
        client
    }

    /// Ends the requests, streams and sessions of tokens that were revoked.
    pub fn end_revoked(&self) {
        if self.grants.revoke(|token| self.access.is_issued(token)) {
            self.sessions.end_revoked();
        }
    }

    /// Removes the modern clients without a request for this time.
    fn expire_virtual_clients(&self, limit: Duration) {
        // A request in progress holds its client, in addition to this set and the gateway.
        let idle = |client: &Arc<Client>, used: &Instant| used.elapsed() >= limit && Arc::strong_count(client) <= 2;
        let mut clients = self.virtual_clients.lock();
        let expired: Vec<ClientId> = clients.extract_if(|_, (client, used)| idle(client, used)).map(|(_, (client, _))| client.id).collect();
        drop(clients);
        expired.into_iter().for_each(|client| self.gateway.remove_client(client));
    }
}

/// A connection of either kind.
enum Stream {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

/// Why a body was not read.
enum Unread {
    TooLarge,
    Broken,
}

/// Reads a body of at most [`MESSAGE_BYTES`].
async fn read(mut body: Incoming) -> Result<Bytes, Unread> {
    let limit = MESSAGE_BYTES as u64;
    if body.size_hint().lower() > limit {
        return Err(Unread::TooLarge);
    }
    let mut whole = BytesMut::new();
    let mut first: Option<Bytes> = None;
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if whole.len() + first.as_ref().map_or(0, Bytes::len) + data.len() > MESSAGE_BYTES {
            return Err(Unread::TooLarge);
        }
        match first.take() {
            None if whole.is_empty() => first = Some(data),
            begun => {
                whole.extend_from_slice(&begun.unwrap_or_default());
                whole.extend_from_slice(&data);
            }
        }
    }
    // Most bodies come in one piece.
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

/// Returns metrics (Prometheus text format, version 0.0.4).
fn text(metrics: String) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Some(metrics.into())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}

fn refuse(refusal: Refusal) -> Response<Answer> {
    let mut response = rpc_error(refusal.status(), None, failure::error(INVALID_REQUEST, refusal.message()));
    match refusal {
        Refusal::Token => drop(response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        Refusal::Method => drop(response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"))),
        _ => {}
    }
    response
}

/// Ends what was admitted with a token soon after its revocation.
async fn follow_tokens(service: Arc<Service>) {
    let mut ticks = interval(REVOCATION);
    loop {
        ticks.tick().await;
        service.end_revoked();
    }
}

/// Ends idle sessions from time to time.
async fn expire(service: Arc<Service>) {
    let mut ticks = interval(EXPIRY);
    loop {
        ticks.tick().await;
        service.sessions.expire();
        service.expire_virtual_clients(service.sessions.idle());
    }
}
