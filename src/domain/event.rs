//! Events: every change that a view can observe.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    ask::{Ask, AskEnd},
    body::Body,
    call::{CallSpec, Origin, Outcome, Progress, Timings},
    catalog::ServerCatalog,
    client::{ClientInfo, ClientSession},
    frame::{Anomaly, Frame},
    id::{AskId, CallId, ClientId, ServerId},
    policy::{Rules, breaker::BreakerView, cache::CacheView, call_event::CallEvent, fault::Fault},
    run::{PlanSummary, RunId, RunReport, StepView},
    server::{Phase, ServerSpec, SessionInfo},
    time::Stamp,
};

/// Receives all events of an engine in their order.
pub trait EventSink: Send + Sync {
    /// Takes an event. Called under the lock that orders events, so it only queues the event.
    fn queue(&self, event: &Arc<Event>);

    /// Works on the queued events, if there are enough. Called after the lock is released.
    fn work(&self);
}

/// An event, numbered without gaps in publishing order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Sequence number within the engine, from 1.
    pub seq: u64,
    /// Time of the event.
    pub at: Stamp,
    /// The change.
    pub kind: EventKind,
}

/// The kind of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A server was added, or its specification changed.
    ServerAdded {
        /// The complete specification; secrets masked when serialised.
        spec: Arc<ServerSpec>,
    },
    /// A server was removed.
    ServerRemoved {
        /// The server.
        server: ServerId,
    },
    /// The connection state of a server changed.
    ServerPhase {
        /// The server.
        server: ServerId,
        /// The new state.
        phase: Arc<Phase>,
    },
    /// A handshake completed.
    ServerInfo {
        /// The server.
        server: ServerId,
        /// The server's self-description.
        info: Arc<SessionInfo>,
    },
    /// The lists of a server were read.
    ServerListed {
        /// The server.
        server: ServerId,
        /// All of its lists.
        catalog: Arc<ServerCatalog>,
    },
    /// A server wrote a line to stderr.
    ServerStderr {
        /// The server.
        server: ServerId,
        /// The line without its end, secrets masked.
        line: Arc<str>,
    },
    /// A server sent a log message, or another notification that belongs to no call.
    ServerLog {
        /// The server.
        server: ServerId,
        /// The message.
        log: Arc<LogMessage>,
    },
    /// A server violated the protocol.
    ServerAnomaly {
        /// The server.
        server: ServerId,
        /// The violation.
        anomaly: Arc<Anomaly>,
    },
    /// A call was requested.
    CallQueued {
        /// The id of the call.
        call: CallId,
        /// The request.
        spec: Arc<CallSpec>,
    },
    /// The last byte of a request was handed to the system.
    CallSent {
        /// The call.
        call: CallId,
        /// The round, from 1; later rounds respond to an `input_required`.
        round: u32,
    },
    /// An event in the life of a call.
    CallStage {
        /// The call.
        call: CallId,
        /// The event.
        stage: Arc<CallEvent>,
    },
    /// A server reported progress.
    CallProgress {
        /// The call.
        call: CallId,
        /// The progress.
        progress: Progress,
    },
    /// A call settled; no other event of the call follows, except a late response.
    CallSettled {
        /// The call.
        call: CallId,
        /// The settled call.
        settled: Arc<Settled>,
    },
    /// A message crossed the wire.
    Frame {
        /// The message.
        frame: Arc<Frame>,
    },
    /// A resource was subscribed or unsubscribed.
    ResourceSubscribed {
        /// The server.
        server: ServerId,
        /// The resource.
        uri: String,
        /// Whether it is subscribed.
        on: bool,
    },
    /// A resource changed (`notifications/resources/updated`).
    ResourceUpdated {
        /// The server.
        server: ServerId,
        /// The resource.
        uri: String,
    },
    /// A question entered the inbox.
    AskOpened {
        /// The question.
        ask: Arc<Ask>,
    },
    /// A question left the inbox.
    AskClosed {
        /// The question.
        ask: AskId,
        /// How.
        how: AskEnd,
    },
    /// A workflow run started.
    RunStarted {
        /// The id of the run.
        run: RunId,
        /// The structure of its plan.
        plan: Arc<PlanSummary>,
        /// The input, a JSON object.
        input: Body,
        /// The origin of the request.
        origin: Origin,
    },
    /// The state of a step changed.
    RunStep {
        /// The run.
        run: RunId,
        /// The step's path: its id after those of the enclosing steps of other workflows.
        step: Arc<str>,
        /// The current state of the step.
        view: Arc<StepView>,
    },
    /// A run ended.
    RunSettled {
        /// The run.
        run: RunId,
        /// The report.
        report: Arc<RunReport>,
    },
    /// A breaker counted a call or changed its state.
    Breaker {
        /// The server.
        server: ServerId,
        /// The tool; `None` for the breaker of the whole server.
        tool: Option<Arc<str>>,
        /// The current state of the breaker.
        view: Arc<BreakerView>,
    },
    /// The rules for tools, groups and routes were replaced.
    Rules {
        /// All rules.
        rules: Arc<Rules>,
    },
    /// The response cache was used or changed its state.
    Cache {
        /// The current state of the cache.
        view: Arc<CacheView>,
    },
    /// Fault injection was started or stopped.
    FaultSet {
        /// The server whose calls are affected.
        server: ServerId,
        /// The tool, if only one is affected.
        tool: Option<Arc<str>>,
        /// The fault; `None` stops the injection.
        fault: Option<Fault>,
    },
    /// A client of the gateway connected, or describes itself in another way.
    ClientConnected {
        /// The client.
        client: ClientId,
        /// What it said about itself.
        info: Arc<ClientInfo>,
    },
    /// A client of the gateway disconnected.
    ClientDisconnected {
        /// The client.
        client: ClientId,
    },
    /// The own sessions of clients at a server changed.
    ClientSessions {
        /// The server.
        server: ServerId,
        /// All open sessions, in addition to the one that clients share.
        sessions: Arc<[ClientSession]>,
    },
    /// A message for the user that belongs to no server or call.
    Notice {
        /// The message.
        notice: Arc<Notice>,
    },
}

impl EventKind {
    /// Returns the approximate memory of the event while it waits for a reader, in bytes.
    pub fn weight(&self) -> usize {
        let lines = |lines: &[String]| lines.iter().map(|line| line.len() + size_of::<String>()).sum::<usize>();
        size_of::<Event>()
            + match self {
                EventKind::ServerPhase { phase, .. } => phase.failure().map_or(0, |why| why.weight()),
                EventKind::ServerInfo { info, .. } => info.weight(),
                EventKind::ServerListed { catalog, .. } => catalog.weight(),
                EventKind::ServerStderr { line, .. } => line.len(),
                EventKind::ServerLog { log, .. } => log.weight(),
                EventKind::ServerAnomaly { anomaly, .. } => anomaly.weight(),
                EventKind::CallStage { stage, .. } => 256 + stage.weight(),
                EventKind::CallProgress { progress, .. } => progress.message.as_ref().map_or(0, String::len),
                EventKind::CallSettled { settled, .. } => settled.weight(),
                EventKind::Frame { frame } => frame.weight(None),
                EventKind::ResourceSubscribed { uri, .. } | EventKind::ResourceUpdated { uri, .. } => uri.len(),
                EventKind::AskOpened { ask } => ask.question.weight(),
                EventKind::RunStarted { input, .. } => input.len(),
                EventKind::RunStep { view, .. } => view.weight(),
                EventKind::RunSettled { report, .. } => report.output.as_ref().map_or(0, Body::len),
                EventKind::Notice { notice } => notice.text.len() + lines(&notice.detail),
                EventKind::CallQueued { spec, .. } => spec.operation.weight(),
                EventKind::ClientConnected { info, .. } => info.weight(),
                EventKind::ClientSessions { sessions, .. } => size_of_val(&**sessions),
                _ => 256,
            }
    }
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// The outcome.
    pub outcome: Outcome,
    /// Its timestamps.
    pub timings: Timings,
    /// Rounds of `input_required`; 1 for an ordinary call.
    pub rounds: u32,
    /// Size of the last request, in bytes.
    pub sent_bytes: u64,
    /// Size of the last response, in bytes.
    pub received_bytes: u64,
    /// Number of attempts; 0 if none was made.
    #[serde(default)]
    pub attempts: u32,
    /// The server that provided the response, if it is not the requested one.
    #[serde(default)]
    pub by: Option<ServerId>,
    /// The age of the response, if it came from the cache.
    #[serde(default)]
    pub cached: Option<Duration>,
}

impl Settled {
    /// Returns the approximate size of its texts, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<Settled>()
            + match &self.outcome {
                Outcome::Ok { result } | Outcome::ToolError { result } | Outcome::Interim { result, .. } => result.len(),
                Outcome::Failed { failure } => failure.weight(),
                Outcome::Cancelled { reason } => reason.len(),
            }
    }
}

/// A log message of a server (`notifications/message`), or another notification displayed as one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogMessage {
    /// Its level; `notice` for other notifications.
    pub level: LogLevel,
    /// Which notification it was.
    #[serde(default)]
    pub source: LogSource,
    /// The logger, if named.
    pub logger: Option<String>,
    /// The text; JSON when the server sent an object.
    pub text: String,
    /// The call during which it was received, if known.
    pub call: Option<CallId>,
}

impl LogMessage {
    /// Returns the approximate size in bytes.
    pub fn weight(&self) -> usize {
        size_of::<LogMessage>() + self.level.word().len() + self.logger.as_ref().map_or(0, String::len) + self.text.len()
    }
}

/// Which notification of a server a [`LogMessage`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogSource {
    /// `notifications/message`.
    #[default]
    Message,
    /// `notifications/resources/updated`.
    ResourceUpdated,
    /// Any other, shown as a log message.
    Notification,
}

/// A log level of MCP (RFC 5424). Serialised as its word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum LogLevel {
    /// Detailed debugging information.
    Debug,
    /// General information.
    Info,
    /// Normal but significant events.
    Notice,
    /// Warnings.
    Warning,
    /// Errors.
    Error,
    /// Critical conditions.
    Critical,
    /// Action must be taken immediately.
    Alert,
    /// The system is unusable.
    Emergency,
    /// A word that MCP does not have, as the server sent it.
    Unknown(String),
}

impl LogLevel {
    const KNOWN: [LogLevel; 8] = [
        LogLevel::Debug,
        LogLevel::Info,
        LogLevel::Notice,
        LogLevel::Warning,
        LogLevel::Error,
        LogLevel::Critical,
        LogLevel::Alert,
        LogLevel::Emergency,
    ];

    /// Returns how severe the level is, from 0 for `debug`; `None` for an unknown one.
    pub fn severity(&self) -> Option<usize> {
        LogLevel::KNOWN.iter().position(|known| known == self)
    }

    /// The word on the wire and for people.
    pub fn word(&self) -> &str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Notice => "notice",
            LogLevel::Warning => "warning",
            LogLevel::Error => "error",
            LogLevel::Critical => "critical",
            LogLevel::Alert => "alert",
            LogLevel::Emergency => "emergency",
            LogLevel::Unknown(word) => word,
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl From<String> for LogLevel {
    fn from(word: String) -> LogLevel {
        LogLevel::KNOWN.into_iter().find(|level| level.word() == word).unwrap_or(LogLevel::Unknown(word))
    }
}

impl From<LogLevel> for String {
    fn from(level: LogLevel) -> String {
        level.word().to_owned()
    }
}

/// A message for the user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Its severity.
    pub level: NoticeLevel,
    /// The text, one line.
    pub text: String,
    /// Further lines.
    pub detail: Vec<String>,
}

impl Notice {
    /// Creates a notice of one line.
    pub fn new(level: NoticeLevel, text: impl Into<String>) -> Self {
        Self { level, text: text.into(), detail: vec![] }
    }
}

/// The severity of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeLevel {
    /// Information.
    Info,
    /// A request did not succeed as asked.
    Warn,
    /// A failure.
    Error,
}

/// The number of anomalies per kind.
pub type AnomalyCounts = BTreeMap<super::frame::AnomalyKind, u64>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_levels_are_their_words_and_unknown_ones_stay_as_sent() {
        let words = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency", "loud"];
        let levels: Vec<LogLevel> = serde_json::from_value(words.to_vec().into()).unwrap();
        assert!(levels[..8].iter().all(|level| !matches!(level, LogLevel::Unknown(_))), "{levels:?}");
        assert_eq!(levels[8], LogLevel::Unknown("loud".into()));
        assert_eq!(serde_json::to_value(&levels).unwrap(), serde_json::Value::from(words.to_vec()));
        assert_eq!(format!("{:<9}|", LogLevel::Info), "info     |");
    }
}
