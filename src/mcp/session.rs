//! An MCP session over a link: lists within their limits, health checks and subscriptions, in both eras.
//!
//! A [`Link`] carries JSON-RPC (stdio or HTTP); everything that both share is here, except the handshake ([`super::handshake`]).

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    handshake::{self, Declared, Handshake, Known, MODERN, modern_meta},
    pages::{self, Cut, Next},
};
use crate::{
    domain::{
        body::Body,
        bounds,
        call::{Failure, FailureKind},
        capabilities::ClientCapabilities,
        catalog::{BrokenList, RawLists, RefusedTool},
        event::LogLevel,
        frame::{Anomaly, AnomalyKind},
        id::Attribution,
        policy::call_event::Resend,
        server::{ConnectFailure, Era, Exit, ServerSpec, SessionInfo, Step, Transport},
        time::{Stamp, short, size},
    },
    engine::ports::{ClientHandler, ProgressRequest, Reply, Request, RequestObserver, Session, SubscriptionChange},
    protocol::{
        connection::LISTEN,
        headers::mirrors,
        meta::{self, Meta},
    },
};

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
    /// Called when the era and the version are agreed on.
    fn agreed(self: Arc<Self>, era: Era, version: &str);
    /// Called when the handshake is done: the server accepted `notifications/initialized`, if the era has it.
    fn opened(self: Arc<Self>) {}
    /// Returns whether anything was received from the server.
    fn heard(&self) -> bool {
        true
    }
    /// Switches to the HTTP+SSE transport of 2024-11-05, if the server speaks it. Returns whether it does.
    async fn older_transport(&self) -> bool {
        false
    }
    /// Returns whether the HTTP+SSE transport is used.
    fn is_older_transport(&self) -> bool {
        false
    }
    /// Treats the connection as lost.
    fn abandon(&self, _reason: ConnectFailure) {}
    /// The process id, if it has one.
    fn pid(&self) -> Option<u32>;
    /// Resolves when the connection is lost.
    async fn closed(&self) -> Arc<ConnectFailure>;
    /// Shuts the connection down.
    async fn close(&self) -> Exit;
}

/// The observer of the engine's own requests; holds the reason of a cancellation.
pub struct Quiet(pub &'static str);

impl RequestObserver for Quiet {
    fn sent(&self, _: Stamp, _: u64) {}
    fn progress(&self, _: &Body) {}
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
    /// Whether the era is a property of the server.
    certain: bool,
    /// `_meta` of every request.
    meta: Mutex<Meta>,
    /// What was declared.
    declared: Declared,
    listener: Mutex<Option<AbortOnDropHandle<()>>>,
    /// Resources that the modern era's listener asks about.
    watched: Arc<Mutex<BTreeSet<String>>>,
}

impl McpSession {
    /// Performs the handshake over a new link and declares `declared`. The caller limits the time.
    pub async fn open(
        link: Arc<dyn Link>,
        spec: Arc<ServerSpec>,
        handler: Arc<dyn ClientHandler>,
        declared: Declared,
        known: Known,
        began: Stamp,
    ) -> Result<Arc<McpSession>, ConnectFailure> {
        let handshake = Handshake { link: &*link, spec: &spec, handler: &*handler, declared: &declared };
        let agreement = handshake.agree(known).await?;
        link.clone().agreed(agreement.era, &agreement.version);
        if agreement.era == Era::Legacy {
            link.notify("notifications/initialized", Body::default()).await.map_err(|failure| {
                let mut report = handshake::failed(Step::Initialize, &failure);
                report.summary = format!("the server refused notifications/initialized: {}", report.summary);
                report.hints.push("report it to the maintainer of the server: it must accept this notification with 202".into());
                report
            })?;
        }
        link.clone().opened();
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
            probe_unanswered: agreement.unanswered,
            http_sse: link.is_older_transport(),
        };
        let meta = match agreement.era {
            Era::Legacy => Meta::default(),
            Era::Modern => modern_meta(&agreement.version, &declared, Some("info")),
        };
        let session = Arc::new(McpSession {
            link,
            spec,
            handler,
            info: Arc::new(info),
            certain: agreement.certain,
            meta: Mutex::new(meta),
            declared,
            listener: Mutex::new(None),
            watched: Arc::default(),
        });
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
        let (link, meta, handler, all) = (self.link.clone(), self.meta(), self.handler.clone(), self.watched.clone());
        let task = tokio::spawn(async move {
            let (mut filter, mut watched) = (filter, watched);
            let (mut pause, mut gap) = (LISTEN_PAUSE.0, false);
            loop {
                let request = Request { method: LISTEN.into(), params: Body::json(&filter), repeatable: true, ..Request::default() };
                let ended = link.request(request, &meta, Arc::new(Quiet("the console ended the subscription")));
                tokio::pin!(ended);
                let at_once = timeout(MIN_SUBSCRIPTION, &mut ended).await.ok();
                let stood = at_once.is_none();
                if stood && std::mem::take(&mut gap) {
                    handler.notification("notifications/tools/list_changed", &Body::default(), Attribution::None);
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
                        handler.notification("notifications/tools/list_changed", &Body::default(), Attribution::None);
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
            let meta = self.meta();
            let asking = self.link.request(request, &meta, Arc::new(Quiet("listing took too long")));
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
            let read =
                pages::read(&reply.result, key, self.info.era, limits.items - items.len(), limits.message_bytes.saturating_sub(raw.bytes));
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

    /// Takes the tools with invalid header annotations out of the list: clients of the modern Streamable HTTP transport must not
    /// offer them (MCP 2026-07-28, server/tools, "x-mcp-header").
    fn refuse_tools(&self, raw: &mut RawLists) {
        if self.info.era != Era::Modern || !matches!(self.spec.launch, Transport::Http { .. }) {
            return;
        }
        let (mut valid, mut refused) = (Vec::with_capacity(raw.tools.len()), vec![]);
        for tool in raw.tools.drain(..) {
            let [name, schema] = tool.fields(["name", "inputSchema"]).unwrap_or_default();
            match schema.map(|schema| mirrors(schema.get().as_bytes())) {
                Some(Err(invalid)) => {
                    let name = name.and_then(|name| bounds::json_text(name.get(), bounds::NAME)).unwrap_or_default();
                    refused.push(RefusedTool { name, why: invalid.to_string() });
                }
                _ => valid.push(tool),
            }
        }
        for RefusedTool { name, why } in &refused {
            let detail = format!("the tool {:?} is refused: {why}", bounds::cut(name, 200));
            self.handler.anomaly(Anomaly { kind: AnomalyKind::BadListing, detail, call: None, frame: None });
        }
        (raw.tools, raw.refused) = (valid, refused);
    }

    /// Returns `_meta` of a request of the session itself.
    fn meta(&self) -> Meta {
        self.meta.lock().clone()
    }

    /// Returns `_meta` of a modern request: that of the session, with the face of the client that the request is made for.
    fn meta_of(&self, request: &Request) -> Meta {
        let meta = self.meta();
        let Some(face) = &request.face else { return meta };
        let capabilities = ClientCapabilities::parse(&face.capabilities).unwrap_or_else(ClientCapabilities::none);
        let meta = meta.without(meta::LOG_LEVEL).with(meta::CLIENT_CAPABILITIES, capabilities.declared(Era::Modern));
        let meta = match face.client_info.is_empty() {
            true => meta,
            false => meta.with(meta::CLIENT_INFO, face.client_info.clone()),
        };
        match &face.log_level {
            Some(level) => meta.with(meta::LOG_LEVEL, Body::json(level)),
            None => meta,
        }
    }

    /// Prepares the repetition of a request that a modern server refused unread, and returns whether it may be repeated: after
    /// -32020 the list of tools is read again, since it says which arguments are mirrored into headers; after -32022 the
    /// versions of the server are (MCP 2026-07-28, Streamable HTTP, "Client Behavior", and basic/versioning).
    async fn recover(&self, method: &str, failure: &Failure) -> bool {
        match handshake::code_of(failure) {
            Some(handshake::HEADER_MISMATCH) if method == "tools/call" && matches!(self.spec.launch, Transport::Http { .. }) => {
                let until = Instant::now() + self.spec.timeouts.list;
                let listed = self.list("tools/list", "tools", &mut RawLists::default(), until).await.is_ok();
                if listed {
                    // The catalog is read again as well.
                    self.handler.notification("notifications/tools/list_changed", &Body::default(), Attribution::None);
                }
                listed
            }
            Some(handshake::UNSUPPORTED_VERSION) => {
                let handshake = Handshake { link: &*self.link, spec: &self.spec, handler: &*self.handler, declared: &self.declared };
                let supported = matches!(timeout(self.spec.timeouts.probe, handshake.still_modern()).await, Ok(true));
                self.handler.step(Step::Run);
                if !supported {
                    let why = format!("the server does not support version {MODERN} any more");
                    self.link.abandon(ConnectFailure::new(Step::Run, why));
                }
                supported
            }
            _ => false,
        }
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

    fn era_certain(&self) -> bool {
        self.certain
    }

    fn capabilities(&self) -> Arc<ClientCapabilities> {
        self.declared.capabilities.clone()
    }

    async fn request(&self, request: Request, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
        if self.info.era == Era::Legacy {
            return self.link.request(request, &self.meta(), observer).await;
        }
        let meta = self.meta_of(&request);
        let failure = match self.link.request(request.clone(), &meta, observer.clone()).await {
            Ok(reply) => return Ok(reply),
            Err(failure) => failure,
        };
        match handshake::code_of(&failure) {
            Some(handshake::MISSING_CAPABILITY) => {
                let hint = handshake::missing_capability_hint(failure.rpc.as_ref()).or(failure.hint.clone());
                Err(Failure { hint, ..failure })
            }
            // Servers check headers and versions before they run anything.
            Some(handshake::HEADER_MISMATCH | handshake::UNSUPPORTED_VERSION) => {
                if !self.recover(&request.method, &failure).await {
                    return Err(Failure { may_have_run: false, ..failure });
                }
                observer.resent(Resend::RefusedUnread);
                self.link.request(request, &meta, observer).await
            }
            _ => Err(failure),
        }
    }

    async fn notify(&self, method: &str, params: Body) -> Result<(), Failure> {
        self.link.notify(method, params).await
    }

    async fn set_log_level(&self, level: &LogLevel) -> Result<(), Failure> {
        if self.info.era == Era::Modern {
            // A member of each request in place of a request (MCP 2026-07-28, changelog).
            self.meta.lock().set(meta::LOG_LEVEL, Body::json(level));
            return Ok(());
        }
        let params = Body::json(&json!({"level": level}));
        let request = Request { method: "logging/setLevel".into(), params, repeatable: true, ..Request::default() };
        self.link.request(request, &self.meta(), Arc::new(Quiet("no answer to logging/setLevel"))).await.map(drop)
    }

    async fn lists(&self) -> Result<RawLists, Failure> {
        let mut raw = RawLists::default();
        // The caller drops this future at the limit and then has nothing. Ending a little earlier returns what was read by
        // then.
        let limit = self.spec.timeouts.list;
        let until = Instant::now() + limit.saturating_sub((limit / 10).min(Duration::from_millis(250)));
        if self.info.declares(&["tools"]) {
            raw.tools = self.list("tools/list", "tools", &mut raw, until).await?;
            self.refuse_tools(&mut raw);
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
        self.link.request(request, &self.meta(), Arc::new(Quiet("no answer to the subscription"))).await.map(drop)
    }

    async fn check(&self) -> Result<(), Failure> {
        // 2026-07-28 has no ping.
        let method = if self.info.era == Era::Legacy { "ping" } else { "server/discover" };
        let request = Request { method: method.into(), repeatable: true, ..Request::default() };
        match self.link.request(request, &self.meta(), Arc::new(Quiet("no response in time"))).await {
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
    if request.call.is_some() && request.progress == ProgressRequest::Asked {
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
        domain::{call::RpcError, server::EraChoice},
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
        fn notification(&self, method: &str, _: &Body, _: Attribution) {
            assert_eq!(method, "notifications/tools/list_changed");
            self.changed.lock().push(self.began.elapsed());
        }
    }

    #[async_trait]
    impl ClientHandler for Listener {
        async fn ask(&self, _: &str, _: Body, _: Attribution) -> Result<Body, RpcError> {
            std::future::pending().await
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
        let _session =
            McpSession::open(link.clone(), spec, handler.clone(), Declared::own(ClientCapabilities::default()), Known::Nothing, Stamp(0))
                .await
                .unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let halves = |times: &Mutex<Vec<Duration>>| times.lock().iter().map(|at| at.as_millis() / 500).collect::<Vec<_>>();
        // Half a second after a subscription that worked; then twice as long each time while none does.
        assert_eq!(halves(&link.asked), [0, 121, 123, 127, 135, 256, 377]);
        // At each failed subscription, and a second into each working one except the first: before it no change was missed.
        assert_eq!(halves(&handler.changed), [121, 123, 127, 137, 258, 379]);
    }
}
