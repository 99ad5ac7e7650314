//! An MCP session over a link: handshake of both eras, lists within their limits, health checks and subscriptions.
//!
//! A [`Link`] carries JSON-RPC (stdio or HTTP); everything that both share is here.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json, value::RawValue};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::pages::{self, Cut, Next};
use crate::{
    domain::{
        body::{self, Body},
        bounds,
        call::{Failure, FailureKind, Progress},
        capabilities::ClientCapabilities,
        catalog::{BrokenList, RawLists},
        frame::{Anomaly, AnomalyKind},
        raw_object::RawObject,
        server::{ConnectFailure, Era, EraChoice, Exit, ServerSpec, SessionInfo, Step},
        time::{Stamp, short, size},
    },
    engine::ports::{ClientHandler, Reply, Request, RequestObserver, Session, SubscriptionChange},
    protocol::meta::{self, Meta},
};

/// The newest supported version of the modern era.
pub const MODERN: &str = "2026-07-28";
/// The newest version of the legacy era, offered in `initialize`.
pub const LEGACY: &str = "2025-11-25";
/// Every supported version of the legacy era.
pub const LEGACY_VERSIONS: [&str; 4] = [LEGACY, "2025-06-18", "2025-03-26", "2024-11-05"];

/// Number of supported versions that are read from a server.
const VERSIONS: usize = 64;

/// How long a subscription must last to count as working.
const MIN_SUBSCRIPTION: Duration = Duration::from_secs(1);
/// The pause before a subscription is renewed: first and maximum.
const LISTEN_PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Carries JSON-RPC to one server and back.
#[async_trait]
pub trait Link: Send + Sync {
    /// Sends a request whose `params._meta` gets the members of `meta` (see [`request_meta`]), and waits for the response.
    /// Dropping the future cancels the request.
    async fn request(&self, request: Request, meta: &Meta, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure>;
    /// Sends a notification.
    async fn notify(&self, method: &str, params: Body) -> Result<(), Failure>;
    /// Called when the handshake is done, with the agreed era and version.
    fn agreed(self: Arc<Self>, era: Era, version: &str);
    /// The process id, if it has one.
    fn pid(&self) -> Option<u32>;
    /// Resolves when the connection is lost.
    async fn closed(&self) -> Arc<ConnectFailure>;
    /// Shuts the connection down.
    async fn close(&self) -> Exit;
}

/// Our `clientInfo`.
fn client_info() -> Value {
    json!({"name": "switchboard", "title": "Switchboard", "version": env!("CARGO_PKG_VERSION")})
}

/// Returns `_meta` of every request of the modern era.
fn modern_meta(version: &str, capabilities: &ClientCapabilities, log_level: Option<&str>) -> Meta {
    let meta = Meta::default()
        .with(meta::VERSION, Body::json(version))
        .with(meta::CLIENT_INFO, Body::json(&client_info()))
        .with(meta::CLIENT_CAPABILITIES, capabilities.declared(Era::Modern));
    match log_level {
        Some(level) => meta.with(meta::LOG_LEVEL, Body::json(level)),
        None => meta,
    }
}

/// The observer of the engine's own requests; holds the reason of a cancellation.
pub struct Quiet(pub &'static str);

impl RequestObserver for Quiet {
    fn sent(&self, _: Stamp, _: u64) {}
    fn progress(&self, _: Progress) {}
    fn reason(&self) -> String {
        self.0.to_owned()
    }
}

/// A connected server.
pub struct McpSession {
    link: Arc<dyn Link>,
    spec: Arc<ServerSpec>,
    handler: Arc<dyn ClientHandler>,
    info: Arc<SessionInfo>,
    meta: Meta,
    listener: Mutex<Option<AbortOnDropHandle<()>>>,
    /// Resources that the modern era's listener asks about.
    watched: Arc<Mutex<BTreeSet<String>>>,
}

/// The result of a handshake.
struct Agreement {
    era: Era,
    version: String,
    name: Option<String>,
    title: Option<String>,
    server_version: Option<String>,
    instructions: Option<String>,
    capabilities: Body,
}

impl Agreement {
    /// Reads the members of a result, each within its limit.
    fn read(
        era: Era,
        version: String,
        server: Option<&RawValue>,
        instructions: Option<&RawValue>,
        capabilities: Option<&RawValue>,
    ) -> Agreement {
        let text = |field: Option<&RawValue>, limit| field.and_then(|raw| bounds::json_text(raw.get(), limit));
        let [name, title, own] =
            server.and_then(|server| body::fields(server.get().as_bytes(), ["name", "title", "version"])).unwrap_or_default();
        Agreement {
            era,
            version,
            name: text(name, bounds::LINE),
            title: text(title, bounds::LINE),
            server_version: text(own, bounds::LINE),
            instructions: text(instructions, bounds::DESCRIPTION),
            capabilities: capabilities.map_or_else(|| Body::from("null"), bounded_capabilities),
        }
    }
}

/// Returns the capabilities as received. If the object is over the limit, returns only those that this client uses.
fn bounded_capabilities(raw: &RawValue) -> Body {
    if raw.get().len() <= bounds::DESCRIPTION {
        return Body::from(raw.get());
    }
    const USED: [&str; 6] = ["tools", "resources", "prompts", "logging", "completions", "tasks"];
    let used = body::fields(raw.get().as_bytes(), USED).unwrap_or_default();
    let fits = |raw: &&RawValue| raw.get().len() <= bounds::LINE;
    let used = USED.iter().zip(used).filter_map(|(name, raw)| raw.filter(fits).map(|raw| format!("{name:?}:{}", raw.get())));
    Body::from(format!("{{{}}}", used.collect::<Vec<_>>().join(",")))
}

impl McpSession {
    /// Performs the handshake over a new link and declares `capabilities`. The caller limits the time.
    pub async fn open(
        link: Arc<dyn Link>,
        spec: Arc<ServerSpec>,
        handler: Arc<dyn ClientHandler>,
        capabilities: &ClientCapabilities,
        known: Option<Era>,
        began: Stamp,
    ) -> Result<Arc<McpSession>, ConnectFailure> {
        let agreement = match (spec.era, known) {
            (EraChoice::Legacy, _) | (EraChoice::Auto, Some(Era::Legacy)) => initialize(&*link, &*handler, capabilities).await?,
            (EraChoice::Modern, _) => discover(&*link, &*handler, capabilities).await.map_err(Refusal::into_failure)?,
            (EraChoice::Auto, _) => match tokio::time::timeout(spec.timeouts.probe, discover(&*link, &*handler, capabilities)).await {
                Ok(Ok(agreement)) => agreement,
                Ok(Err(Refusal::Fatal(failure))) => return Err(*failure),
                Ok(Err(Refusal::NotModern(_))) | Err(_) => initialize(&*link, &*handler, capabilities).await?,
            },
        };
        link.clone().agreed(agreement.era, &agreement.version);
        if agreement.era == Era::Legacy {
            link.notify("notifications/initialized", Body::default()).await.map_err(|f| failed(Step::Initialize, &f))?;
        }
        let now = handler.now();
        let info = SessionInfo {
            era: agreement.era,
            name: agreement.name,
            title: agreement.title,
            version: agreement.server_version,
            protocol: agreement.version.clone(),
            instructions: agreement.instructions,
            capabilities: agreement.capabilities,
            pid: link.pid(),
            since: now,
            took: now.since(began),
        };
        let meta = match agreement.era {
            Era::Legacy => Meta::default(),
            Era::Modern => modern_meta(&agreement.version, capabilities, Some("info")),
        };
        let session =
            Arc::new(McpSession { link, spec, handler, info: Arc::new(info), meta, listener: Mutex::new(None), watched: Arc::default() });
        if session.info.era == Era::Modern {
            session.listen();
        }
        Ok(session)
    }

    /// Subscribes to changes of the lists (MCP 2026-07-28, `subscriptions/listen`); the notifications arrive like any other.
    /// Renews the subscription when the stream ends, after a pause that grows while subscriptions fail. Each renewal also reads
    /// the lists again, since changes in between were not reported.
    ///
    /// Called again with other resources to watch (`resourceSubscriptions`), it replaces the stream by another: the
    /// specification has no way to change one.
    fn listen(&self) {
        let declares = |key: &str| self.info.declares(&[key, "listChanged"]);
        let watched: Vec<String> = self.watched.lock().iter().cloned().collect();
        let mut wanted = json!({"toolsListChanged": declares("tools"), "promptsListChanged": declares("prompts"), "resourcesListChanged": declares("resources")});
        if !watched.is_empty() {
            wanted["resourceSubscriptions"] = json!(watched);
        }
        let filter = json!({"notifications": wanted});
        if watched.is_empty() && !["tools", "prompts", "resources"].iter().any(|key| declares(key)) {
            self.listener.lock().take();
            return;
        }
        let (link, meta, handler, all) = (self.link.clone(), self.meta.clone(), self.handler.clone(), self.watched.clone());
        let task = tokio::spawn(async move {
            let (mut filter, mut watched) = (filter, watched);
            let (mut pause, mut gap) = (LISTEN_PAUSE.0, false);
            loop {
                let request =
                    Request { method: "subscriptions/listen".into(), params: Body::json(&filter), repeatable: true, ..Request::default() };
                let ended = link.request(request, &meta, Arc::new(Quiet("the console ended the subscription")));
                tokio::pin!(ended);
                let at_once = timeout(MIN_SUBSCRIPTION, &mut ended).await.ok();
                let stood = at_once.is_none();
                if stood && std::mem::take(&mut gap) {
                    handler.notification("notifications/tools/list_changed", &Body::default(), None);
                }
                let ended = match at_once {
                    Some(ended) => ended,
                    None => ended.await,
                };
                match ended {
                    Err(failure) if refused(&failure) => {
                        if watched.is_empty() {
                            return;
                        }
                        // The server may still report changes of lists when it refuses those of resources.
                        let why = failure.rpc.as_ref().map_or(&failure.message, |rpc| &rpc.message);
                        all.lock().retain(|uri| !watched.contains(uri));
                        handler.unsubscribed(&watched, why);
                        watched.clear();
                        if let Some(notifications) = filter["notifications"].as_object_mut() {
                            notifications.remove("resourceSubscriptions");
                        }
                        continue;
                    }
                    // A server whose subscriptions all fail reports no changes: read its lists at each attempt.
                    Err(failure) if gap && !stood && failure.may_have_run && failure.status.is_none_or(|status| status >= 500) => {
                        handler.notification("notifications/tools/list_changed", &Body::default(), None);
                    }
                    _ => {}
                }
                if stood {
                    pause = LISTEN_PAUSE.0;
                }
                gap = true;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LISTEN_PAUSE.1);
            }
        });
        *self.listener.lock() = Some(AbortOnDropHandle::new(task));
    }

    /// Reads all pages of one list within the limits; warnings and the TTL of the list go to `raw`.
    ///
    /// The lists of one server take at most [`Limits::message_bytes`](crate::domain::server::Limits) in total.
    async fn list(&self, method: &str, key: &'static str, raw: &mut RawLists, until: Instant) -> Result<Vec<Body>, Failure> {
        let (limits, mut items, mut cursors) = (self.spec.limits, Vec::new(), HashSet::new());
        // A list whose changes are reported does not need its TTL.
        let reports_changes = self.info.declares(&[method.split('/').next().unwrap_or_default(), "listChanged"]);
        let ages = self.info.era == Era::Modern && !reports_changes;
        let mut cursor: Option<String> = None;
        for page in 1.. {
            let params = cursor.as_ref().map(|c| Body::json(&json!({"cursor": c}))).unwrap_or_default();
            let request = Request { method: method.into(), params, repeatable: true, ..Request::default() };
            let asking = self.link.request(request, &self.meta, Arc::new(Quiet("listing took too long")));
            let late =
                |_| Err(Failure::after_send(FailureKind::Timeout, format!("listing took longer than {}", short(self.spec.timeouts.list))));
            let reply = match timeout_at(until, asking).await.unwrap_or_else(late) {
                Ok(reply) => reply,
                Err(failure) if page == 1 => return Err(failure),
                Err(failure) => {
                    raw.timed_out |= failure.kind == FailureKind::Timeout;
                    self.cut_list(raw, format!("{method}: page {page} failed ({}); the list is cut there", failure.message));
                    raw.broken.push(BrokenList::new(key, format!("page {page} failed: {}", failure.message)));
                    break;
                }
            };
            let read = pages::read(&reply.result, key, limits.items - items.len(), limits.message_bytes.saturating_sub(raw.bytes));
            let found = match read {
                Ok(page) => page,
                Err(why) => return Err(Failure::after_send(FailureKind::Protocol, format!("{method}: {why}"))),
            };
            raw.bytes += found.bytes;
            items.extend(found.items);
            if ages {
                raw.ttl = [raw.ttl, found.ttl].into_iter().flatten().min();
            }
            let why = match (found.cut, found.next) {
                (Some(Cut::Items), _) | (None, Next::At(_)) if items.len() >= limits.items => format!("more than {} entries", limits.items),
                (Some(_), _) => format!("the lists of this server are over {}", size(limits.message_bytes as u64)),
                (None, Next::End) => break,
                (None, Next::TooLong(length)) => format!("the cursor after page {page} is {} long", size(length as u64)),
                (None, Next::At(_)) if page >= limits.pages => format!("more than {} pages", limits.pages),
                (None, Next::At(next)) if cursors.insert(next.clone()) => {
                    cursor = Some(next);
                    continue;
                }
                (None, Next::At(next)) => format!("the cursor {:?} came twice", bounds::cut(&next, 100)),
            };
            self.cut_list(raw, format!("{method}: {why}; the list is cut there"));
            raw.cut.push(key);
            break;
        }
        Ok(items)
    }

    /// Reports that a list is incomplete.
    fn cut_list(&self, raw: &mut RawLists, detail: String) {
        self.handler.anomaly(Anomaly { kind: AnomalyKind::Pagination, detail: detail.clone(), call: None, frame: None });
        raw.warnings.push(detail);
    }

    /// Reads one of the optional lists: a failure is a warning.
    async fn optional_list(&self, capability: &str, method: &str, key: &'static str, raw: &mut RawLists, until: Instant) -> Vec<Body> {
        if !self.info.declares(&[capability]) {
            return vec![];
        }
        if Instant::now() >= until {
            raw.warnings.push(format!("{method}: not asked, the lists before took all the time"));
            raw.broken.push(BrokenList::new(key, "not asked, the lists before took all the time"));
            return vec![];
        }
        match self.list(method, key, raw, until).await {
            Ok(items) => items,
            // Servers that declare resources often do not support templates.
            Err(failure) if failure.rpc.as_ref().is_some_and(|rpc| rpc.code == -32601) => vec![],
            Err(failure) => {
                raw.timed_out |= failure.kind == FailureKind::Timeout;
                raw.warnings.push(format!("{method} failed: {}", failure.message));
                raw.broken.push(BrokenList::new(key, failure.message));
                vec![]
            }
        }
    }
}

/// Returns whether the same request would fail the same way again.
fn refused(failure: &Failure) -> bool {
    failure.rpc.is_some() || failure.status.is_some_and(|status| (400..500).contains(&status) && !matches!(status, 408 | 425 | 429))
}

#[async_trait]
impl Session for McpSession {
    fn info(&self) -> Arc<SessionInfo> {
        self.info.clone()
    }

    async fn request(&self, request: Request, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
        self.link.request(request, &self.meta, observer).await
    }

    async fn notify(&self, method: &str, params: Body) -> Result<(), Failure> {
        self.link.notify(method, params).await
    }

    async fn lists(&self) -> Result<RawLists, Failure> {
        let mut raw = RawLists::default();
        // The caller drops this future at the limit and then has nothing. Ending a little earlier returns what was read by
        // then.
        let limit = self.spec.timeouts.list;
        let until = Instant::now() + limit.saturating_sub((limit / 10).min(Duration::from_millis(250)));
        if self.info.declares(&["tools"]) {
            raw.tools = self.list("tools/list", "tools", &mut raw, until).await?;
        }
        raw.resources = self.optional_list("resources", "resources/list", "resources", &mut raw, until).await;
        raw.templates = self.optional_list("resources", "resources/templates/list", "resourceTemplates", &mut raw, until).await;
        raw.prompts = self.optional_list("prompts", "prompts/list", "prompts", &mut raw, until).await;
        Ok(raw)
    }

    async fn subscribe(&self, uri: &str, change: SubscriptionChange) -> Result<(), Failure> {
        if self.info.era == Era::Modern {
            {
                let mut watched = self.watched.lock();
                match change {
                    SubscriptionChange::Subscribe => watched.insert(uri.to_owned()),
                    SubscriptionChange::Unsubscribe => watched.remove(uri),
                };
            }
            self.listen();
            return Ok(());
        }
        let method = match change {
            SubscriptionChange::Subscribe => "resources/subscribe",
            SubscriptionChange::Unsubscribe => "resources/unsubscribe",
        };
        let request = Request { method: method.into(), params: Body::json(&json!({"uri": uri})), repeatable: true, ..Request::default() };
        self.link.request(request, &self.meta, Arc::new(Quiet("no answer to the subscription"))).await.map(drop)
    }

    async fn check(&self) -> Result<(), Failure> {
        // 2026-07-28 has no ping.
        let method = if self.info.era == Era::Legacy { "ping" } else { "server/discover" };
        let request = Request { method: method.into(), repeatable: true, ..Request::default() };
        match self.link.request(request, &self.meta, Arc::new(Quiet("no response in time"))).await {
            Err(failure) if failure.rpc.is_none() => Err(failure),
            _ => Ok(()),
        }
    }

    async fn closed(&self) -> Arc<ConnectFailure> {
        self.link.closed().await
    }

    async fn close(&self) -> Exit {
        self.listener.lock().take();
        self.link.close().await
    }
}

/// Why `server/discover` did not lead to a session.
enum Refusal {
    /// The server does not know the modern era; `initialize` may be tried.
    NotModern(Box<ConnectFailure>),
    /// Another attempt is useless.
    Fatal(Box<ConnectFailure>),
}

impl Refusal {
    fn into_failure(self) -> ConnectFailure {
        match self {
            Refusal::NotModern(failure) | Refusal::Fatal(failure) => *failure,
        }
    }
}

async fn discover(link: &dyn Link, handler: &dyn ClientHandler, offered: &ClientCapabilities) -> Result<Agreement, Refusal> {
    handler.step(Step::Discover);
    let request = Request { method: "server/discover".into(), repeatable: true, ..Request::default() };
    let reply = link.request(request, &modern_meta(MODERN, offered, None), Arc::new(Quiet("no answer to server/discover"))).await;
    let result = match reply {
        Ok(reply) => reply.result,
        Err(failure) => {
            let mut report = failed(Step::Discover, &failure);
            if failure.rpc.as_ref().is_some_and(|rpc| rpc.code == -32022) {
                let supported = failure.rpc.as_ref().and_then(|rpc| rpc.data.as_ref()).and_then(Body::value).unwrap_or_default();
                report.summary = format!(
                    "no protocol version in common: we speak {MODERN} and {}, the server {}",
                    LEGACY_VERSIONS.join(", "),
                    supported["supported"]
                );
            }
            let answered = failure.rpc.is_some()
                || failure.status.is_some_and(|s| (400..500).contains(&s) && s != 401 && s != 403)
                || failure.kind == FailureKind::Protocol;
            return Err(if answered { Refusal::NotModern(Box::new(report)) } else { Refusal::Fatal(Box::new(report)) });
        }
    };
    let [versions, meta, instructions, capabilities] =
        result.fields(["supportedVersions", "_meta", "instructions", "capabilities"]).unwrap_or_default();
    let versions = versions.and_then(|list| body::members(list.get().as_bytes(), VERSIONS).ok()).unwrap_or_default().0;
    let versions: Vec<String> = versions.into_iter().filter_map(|version| bounds::json_text(version.get(), 64)).collect();
    if !versions.iter().any(|version| version == MODERN) {
        let mut report =
            ConnectFailure::new(Step::Discover, format!("the server supports {versions:?}, of the modern era we speak {MODERN}"));
        report.retryable = false;
        return Err(Refusal::NotModern(Box::new(report)));
    }
    let [server] = meta.and_then(|meta| body::fields(meta.get().as_bytes(), [meta::SERVER_INFO])).unwrap_or_default();
    Ok(Agreement::read(Era::Modern, MODERN.into(), server, instructions, capabilities))
}

async fn initialize(link: &dyn Link, handler: &dyn ClientHandler, offered: &ClientCapabilities) -> Result<Agreement, ConnectFailure> {
    handler.step(Step::Initialize);
    let params = RawObject::default()
        .with("protocolVersion", Body::json(LEGACY))
        .with("capabilities", offered.declared(Era::Legacy))
        .with("clientInfo", Body::json(&client_info()))
        .to_body();
    let request = Request { method: "initialize".into(), params, repeatable: true, ..Request::default() };
    let reply = link
        .request(request, &Meta::default(), Arc::new(Quiet("no answer to initialize")))
        .await
        .map_err(|f| failed(Step::Initialize, &f))?;
    let [version, server, instructions, capabilities] =
        reply.result.fields(["protocolVersion", "serverInfo", "instructions", "capabilities"]).unwrap_or_default();
    let version = version.and_then(|version| bounds::json_text(version.get(), 64)).unwrap_or_default();
    if !LEGACY_VERSIONS.contains(&version.as_str()) {
        let mut report = ConnectFailure::new(
            Step::Initialize,
            format!("no protocol version in common: the server answered {version:?}, we speak {}", LEGACY_VERSIONS.join(", ")),
        );
        report.retryable = false;
        return Err(report);
    }
    Ok(Agreement::read(Era::Legacy, version, server, instructions, capabilities))
}

/// Returns a failed request as a failed step of connecting.
pub fn failed(step: Step, failure: &Failure) -> ConnectFailure {
    let unsent = failure.kind == FailureKind::Transport && !failure.may_have_run && failure.status.is_none();
    let step = if unsent { Step::Dial } else { step };
    let mut report = ConnectFailure::new(step, failure.message.clone());
    report.causes = failure.causes.clone();
    report.status = failure.status;
    report.exit = failure.exit;
    report.stderr = failure.stderr.clone();
    report.hints.extend(failure.hint.clone());
    if let Some(rpc) = &failure.rpc {
        report.summary = format!("the server answered error {}: {}", rpc.code, rpc.message);
        report.rpc_code = Some(rpc.code);
        report.causes.extend(rpc.data.as_ref().map(|d| format!("data: {}", d.text())));
        report.retryable = false;
    }
    if failure.kind == FailureKind::Unauthorized {
        report.retryable = false;
    }
    report.bounded()
}

/// The end of a connection: who waits for it, and the reason once known.
pub struct Ending {
    reason: Mutex<Option<Arc<ConnectFailure>>>,
    over: CancellationToken,
}

impl Ending {
    /// Creates the state of an open connection.
    pub fn new() -> Ending {
        Ending { reason: Mutex::new(None), over: CancellationToken::new() }
    }

    /// Records that the connection is lost. The first reason counts.
    pub fn end(&self, reason: ConnectFailure) {
        self.reason.lock().get_or_insert_with(|| Arc::new(reason));
        self.over.cancel();
    }

    /// Resolves when the connection is lost.
    pub async fn wait(&self) -> Arc<ConnectFailure> {
        self.over.cancelled().await;
        let reason = self.reason.lock().clone();
        reason.unwrap_or_else(|| Arc::new(ConnectFailure::new(Step::Run, "the connection ended")))
    }

    /// Returns whether the connection is lost.
    pub fn over(&self) -> bool {
        self.over.is_cancelled()
    }
}

/// Returns the `_meta` of one request: a progress token if it belongs to a call, the members of the session, and those of the
/// request that neither has.
pub fn request_meta(request: &Request, session: &Meta, id: u64) -> Meta {
    let mut all = Meta::default();
    if request.call.is_some() {
        all.set(meta::PROGRESS_TOKEN, Body::json(&id));
    }
    let all = all.or(session.clone());
    match request.meta.is_empty() {
        true => all,
        false => all.or(Meta::parse(&request.meta).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{
            ask::{Answer, Question},
            id::CallId,
            server::Transport,
        },
        engine::ports::{ConnectionObserver, FrameDraft},
    };

    /// A modern server whose subscriptions last for the given times, one after the other.
    struct Streams {
        lives: Mutex<Vec<Duration>>,
        asked: Mutex<Vec<Duration>>,
        began: Instant,
    }

    #[async_trait]
    impl Link for Streams {
        async fn request(&self, request: Request, _: &Meta, _: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
            if request.method == "server/discover" {
                let result = Body::from(r#"{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}}}"#);
                return Ok(Reply { result, first_byte: Stamp(0), last_byte: Stamp(0), sent_bytes: 0, received_bytes: 0 });
            }
            self.asked.lock().push(self.began.elapsed());
            let life = self.lives.lock().pop();
            match life {
                Some(life) => tokio::time::sleep(life).await,
                None => std::future::pending().await,
            }
            Err(Failure::after_send(FailureKind::Transport, "the event stream ended"))
        }
        async fn notify(&self, _: &str, _: Body) -> Result<(), Failure> {
            Ok(())
        }
        fn agreed(self: Arc<Self>, _: Era, _: &str) {}
        fn pid(&self) -> Option<u32> {
            None
        }
        async fn closed(&self) -> Arc<ConnectFailure> {
            std::future::pending().await
        }
        async fn close(&self) -> Exit {
            Exit::Unknown
        }
    }

    /// Records when the lists must be read again.
    struct Listener {
        began: Instant,
        changed: Mutex<Vec<Duration>>,
    }

    impl ConnectionObserver for Listener {
        fn now(&self) -> Stamp {
            Stamp(0)
        }
        fn fresh_start(&self) {}
        fn step(&self, _: Step) {}
        fn at_step(&self) -> Step {
            Step::Run
        }
        fn frame(&self, _: FrameDraft) -> u64 {
            0
        }
        fn anomaly(&self, _: Anomaly) {}
        fn stderr(&self, _: &str) {}
        fn last_stderr(&self, _: usize) -> Vec<String> {
            vec![]
        }
        fn notification(&self, method: &str, _: &Body, _: Option<CallId>) {
            assert_eq!(method, "notifications/tools/list_changed");
            self.changed.lock().push(self.began.elapsed());
        }
    }

    #[async_trait]
    impl ClientHandler for Listener {
        async fn ask(&self, _: Question, _: Option<CallId>) -> Answer {
            Answer::Cancel
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_subscription_that_stood_is_asked_for_again_soon_and_the_lists_after_it() {
        let began = Instant::now();
        let (short, long) = (Duration::ZERO, Duration::from_secs(60));
        let link = Arc::new(Streams { lives: Mutex::new(vec![long, long, short, short, short, long]), asked: Mutex::default(), began });
        let handler = Arc::new(Listener { began, changed: Mutex::default() });
        let launch = Transport::Http { url: "http://x/mcp".into(), headers: vec![], socket: None };
        let spec = Arc::new(ServerSpec { era: EraChoice::Modern, ..ServerSpec::new("x", launch) });
        let _session = McpSession::open(link.clone(), spec, handler.clone(), &ClientCapabilities::default(), None, Stamp(0)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let halves = |times: &Mutex<Vec<Duration>>| times.lock().iter().map(|at| at.as_millis() / 500).collect::<Vec<_>>();
        // Half a second after a subscription that worked; then twice as long each time while none does.
        assert_eq!(halves(&link.asked), [0, 121, 123, 127, 135, 256, 377]);
        // At each failed subscription, and a second into each working one except the first: before it no change was missed.
        assert_eq!(halves(&handler.changed), [121, 123, 127, 137, 258, 379]);
    }
}
