//! The engine's side of a connection: what a session reports becomes events here.

use std::{
    borrow::Cow,
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::{
    bus::Bus,
    dispatch::CacheFront,
    inbox::Inbox,
    ports::{ClientHandler, ConnectionObserver, FrameDraft},
};
use crate::domain::{
    ask::{Answer, Question},
    body::Body,
    bounds,
    event::{EventKind, LogLevel, LogMessage, LogSource, NoticeLevel},
    frame::{Anomaly, AnomalyKind, Frame, HttpNote},
    id::CallId,
    secret::Redactor,
    server::{Phase, ServerSpec, Step},
    time::Stamp,
};

/// Lines of stderr kept for failure reports.
const LAST_LINES: usize = 50;
/// Longest line of stderr.
const STDERR_LINE: usize = 8 << 10;

/// Headers of one HTTP message.
type Headers = Arc<Vec<(String, String)>>;

/// One server's host. Lives as long as its specification.
pub struct ConnectionHandler {
    spec: Arc<ServerSpec>,
    bus: Arc<Bus>,
    inbox: Arc<Inbox>,
    answers: Arc<CacheFront>,
    stderr: Mutex<VecDeque<String>>,
    /// The headers of the last message, and what is shown of them.
    headers: Mutex<Option<(Headers, Headers)>>,
    step: Mutex<Step>,
    /// Woken when the server says that a list changed; however often, once.
    pub changed: Notify,
    /// Woken when the session was opened anew within the connection.
    pub renewed: Notify,
}

impl ConnectionHandler {
    /// The host for `spec`.
    pub fn new(spec: Arc<ServerSpec>, bus: Arc<Bus>, inbox: Arc<Inbox>, answers: Arc<CacheFront>) -> ConnectionHandler {
        bus.secrets().learn(spec.secrets());
        ConnectionHandler {
            spec,
            bus,
            inbox,
            answers,
            stderr: Mutex::default(),
            headers: Mutex::default(),
            step: Mutex::new(Step::Spawn),
            changed: Notify::new(),
            renewed: Notify::new(),
        }
    }

    fn redactor(&self) -> Redactor {
        self.bus.secrets().redactor()
    }

    /// Publishes a log message of which `text` is the front and `whole` the length.
    fn log(&self, source: LogSource, level: LogLevel, logger: Option<String>, text: &str, whole: usize, call: Option<CallId>) {
        let text = self.redactor().redact_front_of(text, bounds::LOG_TEXT, whole);
        let log = Arc::new(LogMessage { level, source, logger, text, call });
        self.bus.publish(EventKind::ServerLog { server: self.spec.id.clone(), log });
    }
}

/// The text of a log message's data, at least as much of it as is stored, and the length of the whole.
fn log_text(data: &RawValue) -> (Cow<'_, str>, usize) {
    // More than is stored, so that the redactor sees secrets that reach over the cut.
    let (raw, limit) = (data.get(), 2 * bounds::LOG_TEXT);
    match bounds::json_text(raw, limit) {
        Some(text) if raw.len() - 2 > limit => (Cow::Owned(text), raw.len() - 2),
        Some(text) => {
            let whole = text.len();
            (Cow::Owned(text), whole)
        }
        None => (Cow::Borrowed(raw), raw.len()),
    }
}

/// An id or a method within its bound.
fn bounded(text: Arc<str>, limit: usize) -> Arc<str> {
    if text.len() <= limit { text } else { bounds::cut(&text, limit).into() }
}

impl ConnectionHandler {
    /// The headers with known secrets masked. Those of the last message are remembered, since all events of a stream share them.
    fn shown_headers(&self, headers: &Headers) -> Headers {
        let mut last = self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((given, shown)) = &*last
            && Arc::ptr_eq(given, headers)
        {
            return shown.clone();
        }
        let shown = match headers.iter().any(|(_, value)| self.redactor().finds(value.as_bytes())) {
            true => Arc::new(headers.iter().map(|(name, value)| (name.clone(), self.redactor().redact(value))).collect()),
            false => headers.clone(),
        };
        *last = Some((headers.clone(), shown.clone()));
        shown
    }

    /// A resource changed. A URI over the limit names nothing that can be read, so it is only counted.
    fn updated(&self, params: &Body, call: Option<CallId>) {
        let [uri] = params.fields(["uri"]).unwrap_or_default();
        let length = uri.map_or(0, |raw| raw.get().len());
        let uri = uri.and_then(|raw| bounds::json_text(raw.get(), bounds::NAME)).unwrap_or_default();
        if length > bounds::NAME + 2 {
            let detail = format!("a resource whose URI is too long to be read changed: {}", bounds::cut(&uri, 200));
            return self.anomaly(Anomaly { kind: AnomalyKind::Oversize, detail, call, frame: None });
        }
        self.answers.changed(&self.spec, Some(&uri), self.bus.unix_ms());
        let text = format!("resource updated: {uri}");
        self.log(LogSource::ResourceUpdated, LogLevel::Notice, None, &text, text.len(), call);
        self.bus.publish(EventKind::ResourceUpdated { server: self.spec.id.clone(), uri });
    }

    /// A server of the modern era says what of a subscription it keeps to (MCP 2026-07-28, `subscriptions/listen`);
    /// what it leaves out, it refuses.
    fn acknowledged(&self, params: &Body) {
        if params.len() > bounds::CALL_FRAME {
            let detail = "the acknowledgement of the subscriptions is too long to be read".to_owned();
            return self.anomaly(Anomaly { kind: AnomalyKind::Oversize, detail, call: None, frame: None });
        }
        let value = params.value().unwrap_or_default();
        let kept: Vec<&str> =
            value["notifications"]["resourceSubscriptions"].as_array().into_iter().flatten().filter_map(|uri| uri.as_str()).collect();
        let wanted: Vec<String> = self
            .bus
            .look(|read_model| read_model.server(&self.spec.id).map(|s| s.subscriptions.keys().cloned().collect()).unwrap_or_default());
        let refused: Vec<String> = wanted.into_iter().filter(|uri| !kept.contains(&uri.as_str())).collect();
        if !refused.is_empty() {
            self.unsubscribed(&refused, "the server left it out of what it agreed to");
        }
    }
}

impl ConnectionObserver for ConnectionHandler {
    fn now(&self) -> Stamp {
        self.bus.now()
    }

    fn fresh_start(&self) {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn step(&self, step: Step) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
        if step != Step::Run {
            self.bus.publish(EventKind::ServerPhase { server: self.spec.id.clone(), phase: Arc::new(Phase::Starting { step }) });
        }
    }

    fn at_step(&self) -> Step {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn frame(&self, mut frame: FrameDraft) -> u64 {
        let redactor = self.redactor();
        let limit = Frame::limit(frame.direction, frame.kind, frame.call, frame.rpc_id.as_deref());
        let cut = (frame.body.len() > limit).then_some(frame.body.len() as u64);
        frame.body = redactor.redact_front(&frame.body, limit);
        frame.method = frame.method.map(|method| bounded(method, bounds::METHOD));
        frame.rpc_id = frame.rpc_id.map(|id| bounded(id, bounds::ID));
        if let Some(note) = &mut frame.http {
            let headers = self.shown_headers(&note.headers);
            if !Arc::ptr_eq(&headers, &note.headers) {
                Arc::make_mut(note).headers = headers;
            }
            let found = |text: &str| redactor.finds(text.as_bytes());
            if found(&note.line) || note.event_id.as_deref().is_some_and(found) {
                let HttpNote { line, event_id, .. } = Arc::make_mut(note);
                redactor.redact_in(line);
                *event_id = event_id.take().map(|id| Arc::from(redactor.redact(&id)));
            }
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
            let mut last = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(line.clone());
        }
        self.bus.publish(EventKind::ServerStderr { server: self.spec.id.clone(), line: line.into() });
    }

    fn last_stderr(&self, count: usize) -> Vec<String> {
        let last = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().skip(last.len().saturating_sub(count)).cloned().collect()
    }

    fn notification(&self, method: &str, params: &Body, call: Option<CallId>) {
        match method {
            "notifications/tools/list_changed" | "notifications/prompts/list_changed" => self.changed.notify_one(),
            "notifications/resources/list_changed" => {
                self.answers.changed(&self.spec, None, self.bus.unix_ms());
                self.changed.notify_one();
            }
            "notifications/message" => {
                let [level, logger, data] = params.fields(["level", "logger", "data"]).unwrap_or_default();
                let text = |field: Option<&RawValue>, limit| field.and_then(|raw| bounds::json_text(raw.get(), limit));
                let (data, whole) = data.map_or((Cow::Borrowed(""), 0), log_text);
                let level = text(level, 32).map_or(LogLevel::Info, LogLevel::from);
                let logger = text(logger, bounds::LINE).map(|logger| self.redactor().redact_cut(&logger, bounds::LINE));
                self.log(LogSource::Message, level, logger, &data, whole, call);
            }
            "notifications/resources/updated" => self.updated(params, call),
            "notifications/subscriptions/acknowledged" => self.acknowledged(params),
            other => {
                let method = bounds::cut(other, bounds::METHOD);
                // More than is stored, so that the redactor sees secrets that reach over the cut.
                let text = format!("{method} {}", params.front(2 * bounds::LOG_TEXT).text());
                let whole = if params.len() > 2 * bounds::LOG_TEXT { method.len() + 1 + params.len() } else { text.len() };
                self.log(LogSource::Notification, LogLevel::Notice, None, &text, whole, call);
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
            self.bus.publish(EventKind::ResourceSubscribed { server: server.clone(), uri: uri.clone(), on: false });
            self.bus.notice(NoticeLevel::Warn, format!("{server} will not tell of changes of {uri}: {why}"));
        }
    }
}

#[async_trait]
impl ClientHandler for ConnectionHandler {
    async fn ask(&self, question: Question, call: Option<CallId>) -> Answer {
        self.inbox.ask(&self.spec, question, call).await
    }
}
