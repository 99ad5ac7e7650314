//! The engine's side of a connection: what a session reports becomes events here.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{
    bus::Bus,
    dispatch::Answers,
    inbox::Inbox,
    ports::{FrameDraft, Host},
};
use crate::domain::{
    ask::{Answer, Question},
    body::Body,
    event::{EventKind, LogMessage, NoticeLevel},
    frame::{Anomaly, HttpNote},
    id::CallId,
    secret::Redactor,
    server::{Phase, ServerSpec, Step},
    time::Stamp,
};

/// Lines of stderr kept for failure reports.
const LAST_LINES: usize = 50;

/// One server's host. Lives as long as its specification.
pub struct ServerHost {
    spec: Arc<ServerSpec>,
    bus: Arc<Bus>,
    inbox: Arc<Inbox>,
    answers: Arc<Answers>,
    stderr: Mutex<VecDeque<String>>,
    step: Mutex<Step>,
    /// Woken when the server says that a list changed; however often, once.
    pub changed: Notify,
    /// Woken when the session was opened anew within the connection.
    pub renewed: Notify,
}

impl ServerHost {
    /// The host for `spec`.
    pub fn new(spec: Arc<ServerSpec>, bus: Arc<Bus>, inbox: Arc<Inbox>, answers: Arc<Answers>) -> ServerHost {
        bus.secrets().learn(spec.secrets());
        ServerHost {
            spec,
            bus,
            inbox,
            answers,
            stderr: Mutex::default(),
            step: Mutex::new(Step::Spawn),
            changed: Notify::new(),
            renewed: Notify::new(),
        }
    }

    fn redactor(&self) -> Redactor {
        self.bus.secrets().redactor()
    }

    fn log(&self, level: &str, logger: Option<String>, text: String, call: Option<CallId>) {
        let log = Arc::new(LogMessage { level: level.to_owned(), logger, text, call });
        self.bus.publish(EventKind::ServerLog { server: self.spec.id.clone(), log });
    }
}

impl ServerHost {
    /// A server of the modern era says what of a subscription it keeps to (MCP 2026-07-28, `subscriptions/listen`);
    /// what it leaves out, it refuses.
    fn acknowledged(&self, params: &Body) {
        let value = params.value().unwrap_or_default();
        let kept: Vec<&str> =
            value["notifications"]["resourceSubscriptions"].as_array().into_iter().flatten().filter_map(|uri| uri.as_str()).collect();
        let wanted: Vec<String> =
            self.bus.look(|world| world.server(&self.spec.id).map(|s| s.subscriptions.keys().cloned().collect()).unwrap_or_default());
        let refused: Vec<String> = wanted.into_iter().filter(|uri| !kept.contains(&uri.as_str())).collect();
        if !refused.is_empty() {
            self.unsubscribed(&refused, "the server left it out of what it agreed to");
        }
    }
}

#[async_trait]
impl Host for ServerHost {
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
        frame.body = frame.body.redacted(&redactor);
        if let Some(note) = frame.http.as_mut().filter(|_| !redactor.is_empty()) {
            let found = |text: &str| redactor.finds(text.as_bytes());
            let inside = note.headers.iter().any(|(name, value)| found(name) || found(value));
            if inside || found(&note.line) || note.event_id.as_deref().is_some_and(found) {
                let HttpNote { line, headers, event_id } = Arc::make_mut(note);
                let texts = headers.iter_mut().flat_map(|(name, value)| [name, value]).chain(event_id).chain([line]);
                texts.for_each(|text| redactor.redact_in(text));
            }
        }
        self.bus.frame(&self.spec.id, frame)
    }

    fn anomaly(&self, anomaly: Anomaly) {
        self.bus.publish(EventKind::ServerAnomaly { server: self.spec.id.clone(), anomaly: Arc::new(anomaly) });
    }

    fn stderr(&self, line: &str) {
        let line = self.redactor().redact(line);
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
                let value = params.value().unwrap_or_default();
                let text = |key: &str| value.get(key).and_then(|v| v.as_str()).map(str::to_owned);
                let data = value.get("data").map(|d| d.as_str().map_or_else(|| d.to_string(), str::to_owned)).unwrap_or_default();
                self.log(&text("level").unwrap_or_else(|| "info".into()), text("logger"), data, call);
            }
            "notifications/resources/updated" => {
                let uri = params.value().and_then(|v| v.get("uri").and_then(|u| u.as_str()).map(str::to_owned)).unwrap_or_default();
                self.answers.changed(&self.spec, Some(&uri), self.bus.unix_ms());
                self.log("notice", None, format!("resource updated: {uri}"), call);
                self.bus.publish(EventKind::ResourceUpdated { server: self.spec.id.clone(), uri });
            }
            "notifications/subscriptions/acknowledged" => self.acknowledged(params),
            other => self.log("notice", None, format!("{other} {}", params.text()), call),
        }
    }

    fn renewed(&self) {
        self.changed.notify_one();
        self.renewed.notify_one();
    }

    fn unsubscribed(&self, uris: &[String], why: &str) {
        let server = &self.spec.id;
        for uri in uris {
            self.bus.publish(EventKind::ResourceSubscribed { server: server.clone(), uri: uri.clone(), on: false });
            self.bus.notice(NoticeLevel::Warn, format!("{server} will not tell of changes of {uri}: {why}"));
        }
    }

    async fn ask(&self, question: Question, call: Option<CallId>) -> Answer {
        self.inbox.ask(&self.spec, question, call).await
    }
}
