//! The connection handler: observes one server's connection and publishes what it reports as events. Answers the server's
//! requests through the inbox.

use std::{borrow::Cow, collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::{
    bus::Bus,
    dispatch::CacheFront,
    inbox::Inbox,
    lifecycle::{Lifecycle, LifecycleRecorder},
    ports::{ClientHandler, ConnectionObserver, FrameDraft},
    question_routing::{Routed, not_found},
    registry::Registry,
    session_pool::SessionOwner,
};
use crate::domain::{
    body::Body,
    bounds,
    call::RpcError,
    event::{EventKind, LogLevel, LogMessage, LogSource, NoticeLevel},
    frame::{Anomaly, AnomalyKind, Frame, HttpNote},
    id::{Attribution, CallId},
    secret::{Redactor, Secret},
    server::{Phase, ServerSpec, Step},
    time::Stamp,
};

/// Lines of stderr retained for failure reports.
const LAST_LINES: usize = 50;
/// Maximum length of a stderr line, in bytes.
const STDERR_LINE: usize = 8 << 10;

/// Headers of one HTTP message.
type Headers = Arc<Vec<(String, String)>>;

/// What the handlers of all connections work with.
#[derive(Clone)]
pub struct HandlerParts {
    pub bus: Arc<Bus>,
    pub registry: Arc<Registry>,
    pub inbox: Arc<Inbox>,
    pub cache: Arc<CacheFront>,
    pub lifecycle: LifecycleRecorder,
}

/// The client handler of one server, or of the own session of a client at it.
pub struct ConnectionHandler {
    spec: Arc<ServerSpec>,
    bus: Arc<Bus>,
    registry: Arc<Registry>,
    inbox: Arc<Inbox>,
    cache: Arc<CacheFront>,
    lifecycle: Lifecycle,
    stderr: Mutex<VecDeque<String>>,
    /// The headers of the last message, and the same headers masked.
    headers: Mutex<Option<(Headers, Headers)>>,
    /// The client that the session belongs to; `None` for the session that all share.
    owner: Option<Arc<SessionOwner>>,
    step: Mutex<Step>,
    /// Woken when the server reports a changed list. Several reports before the next wait wake once.
    pub changed: Notify,
    /// Woken when the session was reopened within the connection.
    pub renewed: Notify,
}

impl ConnectionHandler {
    /// Creates the handler for the session that all share.
    pub fn new(parts: HandlerParts, spec: Arc<ServerSpec>) -> ConnectionHandler {
        ConnectionHandler::with_owner(parts, spec, None)
    }

    /// Creates the handler for the own session of a client.
    pub fn of_client(parts: HandlerParts, spec: Arc<ServerSpec>, owner: Arc<SessionOwner>) -> ConnectionHandler {
        ConnectionHandler::with_owner(parts, spec, Some(owner))
    }

    fn with_owner(parts: HandlerParts, spec: Arc<ServerSpec>, owner: Option<Arc<SessionOwner>>) -> ConnectionHandler {
        let HandlerParts { bus, registry, inbox, cache, lifecycle } = parts;
        bus.secrets().learn(spec.secrets());
        ConnectionHandler {
            lifecycle: Lifecycle::new(lifecycle, spec.id.clone()),
            spec,
            bus,
            registry,
            inbox,
            cache,
            stderr: Mutex::default(),
            headers: Mutex::default(),
            owner,
            step: Mutex::new(Step::Spawn),
            changed: Notify::new(),
            renewed: Notify::new(),
        }
    }

    /// Returns the redactor for all secrets that are known now.
    pub fn redactor(&self) -> Redactor {
        self.bus.secrets().redactor()
    }

    /// Publishes a log message. `text` is its beginning and `length` its full length.
    fn log(&self, source: LogSource, level: LogLevel, logger: Option<String>, text: &str, length: usize, call: Option<CallId>) {
        let text = self.redactor().redact_front_of(text, bounds::LOG_TEXT, length);
        let log = Arc::new(LogMessage { level, source, logger, text, call });
        self.bus.publish(EventKind::ServerLog { server: self.spec.id.clone(), log });
    }
}

/// Returns the text of a log message's data, at least as much as is stored, and its full length.
fn log_text(data: &RawValue) -> (Cow<'_, str>, usize) {
    // More than is stored, so that the redactor sees secrets across the cut.
    let (raw, limit) = (data.get(), 2 * bounds::LOG_TEXT);
    match bounds::json_text(raw, limit) {
        Some(text) if raw.len() - 2 > limit => (Cow::Owned(text), raw.len() - 2),
        Some(text) => {
            let length = text.len();
            (Cow::Owned(text), length)
        }
        None => (Cow::Borrowed(raw), raw.len()),
    }
}

/// Returns an id or a method, cut to its limit.
fn bounded(text: Arc<str>, limit: usize) -> Arc<str> {
    if text.len() <= limit { text } else { bounds::cut(&text, limit).into() }
}

impl ConnectionHandler {
    /// Returns the headers with known secrets masked. Caches those of the last message, since all events of a stream share
    /// them.
    fn masked_headers(&self, headers: &Headers) -> Headers {
        let mut last = self.headers.lock();
        if let Some((original, masked)) = &*last
            && Arc::ptr_eq(original, headers)
        {
            return masked.clone();
        }
        let masked = match headers.iter().any(|(_, value)| self.redactor().finds(value.as_bytes())) {
            true => Arc::new(headers.iter().map(|(name, value)| (name.clone(), self.redactor().redact(value))).collect()),
            false => headers.clone(),
        };
        *last = Some((headers.clone(), masked.clone()));
        masked
    }

    /// Handles `notifications/resources/updated`. A URI over the limit names no readable resource, so it is only counted.
    fn updated(&self, params: &Body, call: Option<CallId>) {
        let [uri] = params.fields(["uri"]).unwrap_or_default();
        let length = uri.map_or(0, |raw| raw.get().len());
        let uri = uri.and_then(|raw| bounds::json_text(raw.get(), bounds::NAME)).unwrap_or_default();
        if length > bounds::NAME + 2 {
            let detail = format!("resource updated, but its URI exceeds the limit: {}", bounds::cut(&uri, 200));
            return self.anomaly(Anomaly { kind: AnomalyKind::Oversize, detail, call, frame: None });
        }
        self.cache.changed(&self.spec, Some(&uri), self.bus.unix_ms());
        let text = format!("resource updated: {uri}");
        self.log(LogSource::ResourceUpdated, LogLevel::Notice, None, &text, text.len(), call);
        self.bus.publish(EventKind::ResourceUpdated { server: self.spec.id.clone(), uri });
    }

    /// Handles the acknowledgement of a modern server (MCP 2026-07-28, `subscriptions/listen`): subscriptions that it omits are
    /// refused.
    fn acknowledged(&self, params: &Body) {
        if params.len() > bounds::CALL_FRAME {
            let detail = "the acknowledgement of the subscriptions exceeds the size limit".to_owned();
            return self.anomaly(Anomaly { kind: AnomalyKind::Oversize, detail, call: None, frame: None });
        }
        let value = params.value().unwrap_or_default();
        let acknowledged: Vec<&str> =
            value["notifications"]["resourceSubscriptions"].as_array().into_iter().flatten().filter_map(|uri| uri.as_str()).collect();
        let wanted = self.registry.subscriptions(&self.spec.id);
        let refused: Vec<String> = wanted.into_iter().filter(|uri| !acknowledged.contains(&uri.as_str())).collect();
        if !refused.is_empty() {
            self.unsubscribed(&refused, "the server did not acknowledge it");
        }
    }
}

impl ConnectionObserver for ConnectionHandler {
    fn now(&self) -> Stamp {
        self.bus.now()
    }

    fn fresh_start(&self) {
        self.stderr.lock().clear();
        self.lifecycle.abandon(&self.bus);
    }

    fn step(&self, step: Step) {
        *self.step.lock() = step;
        // The phase of a server is that of the session that all share.
        if step != Step::Run && self.owner.is_none() {
            self.registry.set_phase(&self.spec.id, Arc::new(Phase::Starting { step }));
        }
    }

    fn at_step(&self) -> Step {
        *self.step.lock()
    }

    fn secret(&self, secret: &Secret) {
        self.bus.secrets().learn([secret.clone()]);
    }

    fn frame(&self, mut frame: FrameDraft) -> u64 {
        let redactor = self.redactor();
        let limit = Frame::limit(frame.direction, frame.kind, frame.call, frame.rpc_id.as_deref());
        let cut = (frame.body.len() > limit).then_some(frame.body.len() as u64);
        frame.body = redactor.redact_front(&frame.body, limit);
        frame.method = frame.method.map(|method| bounded(method, bounds::METHOD));
        frame.rpc_id = frame.rpc_id.map(|id| bounded(id, bounds::ID));
        if let Some(note) = &mut frame.http {
            let headers = self.masked_headers(&note.headers);
            if !Arc::ptr_eq(&headers, &note.headers) {
                Arc::make_mut(note).headers = headers;
            }
            let contains_secret = |text: &str| redactor.finds(text.as_bytes());
            if contains_secret(&note.line) || note.event_id.as_deref().is_some_and(contains_secret) {
                let HttpNote { line, event_id, .. } = Arc::make_mut(note);
                redactor.redact_in(line);
                *event_id = event_id.take().map(|id| Arc::from(redactor.redact(&id)));
            }
        }
        if frame.call.is_none() {
            self.lifecycle.observe(&frame, self.at_step(), &self.bus);
        }
        self.bus.frame(&self.spec.id, frame, cut)
    }

    fn anomaly(&self, mut anomaly: Anomaly) {
        anomaly.detail = self.redactor().redact_cut(&anomaly.detail, bounds::LINE);
        self.bus.publish(EventKind::ServerAnomaly { server: self.spec.id.clone(), anomaly: Arc::new(anomaly) });
    }

    fn stderr(&self, line: &str) {
        let line = self.redactor().redact_cut(line, STDERR_LINE);
        {
            let mut last = self.stderr.lock();
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(line.clone());
        }
        self.bus.publish(EventKind::ServerStderr { server: self.spec.id.clone(), line: line.into() });
    }

    fn last_stderr(&self, count: usize) -> Vec<String> {
        let last = self.stderr.lock();
        last.iter().skip(last.len().saturating_sub(count)).cloned().collect()
    }

    fn notification(&self, method: &str, params: &Body, call: Attribution) {
        let (certain, call) = (call.certain(), call.likely());
        match method {
            "notifications/tools/list_changed" | "notifications/prompts/list_changed" => self.changed.notify_one(),
            "notifications/resources/list_changed" => {
                self.cache.changed(&self.spec, None, self.bus.unix_ms());
                self.changed.notify_one();
            }
            "notifications/message" => {
                if let Some(passage) = certain.and_then(|call| self.inbox.passage(call)) {
                    passage.desk().message(params);
                }
                let [level, logger, data] = params.fields(["level", "logger", "data"]).unwrap_or_default();
                let text = |field: Option<&RawValue>, limit| field.and_then(|raw| bounds::json_text(raw.get(), limit));
                let (data, length) = data.map_or((Cow::Borrowed(""), 0), log_text);
                let level = text(level, 32).map_or(LogLevel::Info, LogLevel::from);
                let logger = text(logger, bounds::LINE).map(|logger| self.redactor().redact_cut(&logger, bounds::LINE));
                self.log(LogSource::Message, level, logger, &data, length, call);
            }
            "notifications/resources/updated" => self.updated(params, call),
            "notifications/subscriptions/acknowledged" => self.acknowledged(params),
            other => {
                let method = bounds::cut(other, bounds::METHOD);
                // More than is stored, so that the redactor sees secrets across the cut.
                let text = format!("{method} {}", params.front(2 * bounds::LOG_TEXT).text());
                let length = if params.len() > 2 * bounds::LOG_TEXT { method.len() + 1 + params.len() } else { text.len() };
                self.log(LogSource::Notification, LogLevel::Notice, None, &text, length, call);
            }
        }
    }

    fn renewed(&self) {
        self.changed.notify_one();
        self.renewed.notify_one();
    }

    fn unsubscribed(&self, uris: &[String], why: &str) {
        let server = &self.spec.id;
        for uri in uris {
            let why = self.redactor().redact_cut(why, bounds::LINE);
            self.registry.set_subscribed(server, uri, false);
            self.bus.notice(NoticeLevel::Warn, format!("not subscribed to {uri} of {server}: {why}"));
        }
    }
}

#[async_trait]
impl ClientHandler for ConnectionHandler {
    async fn ask(&self, method: &str, params: Body, call: Attribution) -> Result<Body, RpcError> {
        match &self.owner {
            None => self.inbox.route(&self.spec, method, params, call).await,
            Some(owner) => match self.inbox.route_to_owner(&self.spec, owner, method, params, call).await {
                Routed::Answered(answer) => answer,
                Routed::Unattributed => {
                    let detail = format!("{method}: not answered, since no call in progress can carry it to the client");
                    self.anomaly(Anomaly { kind: AnomalyKind::Unattributed, detail, call: None, frame: None });
                    Err(not_found(method))
                }
            },
        }
    }
}
