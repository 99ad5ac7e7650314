//! An MCP session over a link: requests, health checks and subscriptions, in both eras.
//!
//! A [`Link`] carries JSON-RPC (stdio or HTTP); everything that both share is here, except the handshake
//! ([`super::handshake`]). `listing` reads the lists, `subscription` asks for their changes.

mod listing;
mod subscription;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::{
    handshake::{self, Declared, Handshake, Known, MODERN, modern_meta},
    link::{Link, Quiet},
};
use crate::{
    domain::{
        body::Body,
        call::Failure,
        capabilities::ClientCapabilities,
        catalog::RawLists,
        event::LogLevel,
        id::Attribution,
        policy::call_event::Resend,
        server::{ConnectFailure, Era, Exit, ServerSpec, SessionInfo, Step, Transport},
        time::Stamp,
    },
    engine::ports::{ClientHandler, Reply, Request, RequestObserver, Session, SubscriptionChange},
    protocol::meta::{self, Meta},
};

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
            self.link.ready_for_calls().await;
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
