//! The event vocabulary: everything that a view can know comes as one of these.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    ask::{Ask, AskEnd},
    body::Body,
    call::{CallSpec, Origin, Outcome, Progress, Timings},
    catalog::ServerCatalog,
    frame::{Anomaly, Frame},
    id::{AskId, CallId, ServerId},
    policy::{Rules, breaker::BreakerView, cache::CacheView, call_event::CallEvent, fault::Fault},
    run::{PlanSummary, RunId, RunReport, StepView},
    server::{Phase, ServerSpec, SessionInfo},
    time::Stamp,
};

/// Something that happened, numbered without gaps in the order in which it was published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Number within the engine, from 1.
    pub seq: u64,
    /// When it happened.
    pub at: Stamp,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A server was added, or its specification changed.
    ServerAdded {
        /// The whole specification; secrets masked when serialised.
        spec: Arc<ServerSpec>,
    },
    /// A server was removed.
    ServerRemoved {
        /// Which.
        server: ServerId,
    },
    /// A server's connection changed state.
    ServerPhase {
        /// Which.
        server: ServerId,
        /// The new state.
        phase: Arc<Phase>,
    },
    /// A handshake was done.
    ServerInfo {
        /// Which.
        server: ServerId,
        /// What it said of itself.
        info: Arc<SessionInfo>,
    },
    /// A server's lists were read, for the first time or again.
    ServerListed {
        /// Which.
        server: ServerId,
        /// All of its lists.
        catalog: Arc<ServerCatalog>,
    },
    /// A server wrote a line to stderr.
    ServerStderr {
        /// Which.
        server: ServerId,
        /// The line, without its end, secrets masked.
        line: Arc<str>,
    },
    /// A server sent a log message or another notification that belongs to no call.
    ServerLog {
        /// Which.
        server: ServerId,
        /// The message.
        log: Arc<LogMessage>,
    },
    /// A server did something against the protocol.
    ServerAnomaly {
        /// Which.
        server: ServerId,
        /// What.
        anomaly: Arc<Anomaly>,
    },
    /// A call was asked for.
    CallQueued {
        /// Its id from now on.
        call: CallId,
        /// What was asked.
        spec: Arc<CallSpec>,
    },
    /// The request's last byte was handed to the system.
    CallSent {
        /// Which call.
        call: CallId,
        /// The round, from 1; later rounds answer an `input_required`.
        round: u32,
    },
    /// Something happened to a call on its way.
    CallStage {
        /// Which call.
        call: CallId,
        /// What.
        stage: Arc<CallEvent>,
    },
    /// The server reported progress.
    CallProgress {
        /// Which call.
        call: CallId,
        /// How far it is.
        progress: Progress,
    },
    /// The call ended; nothing follows.
    CallSettled {
        /// Which call.
        call: CallId,
        /// How it ended.
        settled: Arc<Settled>,
    },
    /// A message crossed the wire.
    Frame {
        /// The message.
        frame: Arc<Frame>,
    },
    /// A server tells, or no longer tells, when a resource changes.
    ResourceSubscribed {
        /// The server.
        server: ServerId,
        /// The resource.
        uri: String,
        /// Whether it tells.
        on: bool,
    },
    /// A server told that a resource changed (`notifications/resources/updated`).
    ResourceUpdated {
        /// The server.
        server: ServerId,
        /// The resource.
        uri: String,
    },
    /// A question came into the inbox.
    AskOpened {
        /// The question.
        ask: Arc<Ask>,
    },
    /// A question left the inbox.
    AskClosed {
        /// Which.
        ask: AskId,
        /// How.
        how: AskEnd,
    },
    /// A run of a workflow began.
    RunStarted {
        /// Its id from now on.
        run: RunId,
        /// The shape of its plan.
        plan: Arc<PlanSummary>,
        /// The input, a JSON object.
        input: Body,
        /// Who asked.
        origin: Origin,
    },
    /// A step of a run changed.
    RunStep {
        /// The run.
        run: RunId,
        /// The step's path: its id, behind those of the steps around it in other workflows.
        step: Arc<str>,
        /// The step as it is now.
        view: Arc<StepView>,
    },
    /// A run ended.
    RunSettled {
        /// Which.
        run: RunId,
        /// How.
        report: Arc<RunReport>,
    },
    /// A breaker counted a call or changed.
    Breaker {
        /// Whose.
        server: ServerId,
        /// The tool that it is for; `None` for that of the whole server.
        tool: Option<Arc<str>>,
        /// The breaker as it stands.
        view: Arc<BreakerView>,
    },
    /// The rules for tools, groups and routes were set.
    Rules {
        /// All of them.
        rules: Arc<Rules>,
    },
    /// The store of answers did something, or is in trouble.
    Cache {
        /// The store as it stands.
        view: Arc<CacheView>,
    },
    /// A fault is made on purpose from now on, or no longer.
    FaultSet {
        /// The server whose calls it meets.
        server: ServerId,
        /// The tool, if only one.
        tool: Option<Arc<str>>,
        /// The fault; `None` ends it.
        fault: Option<Fault>,
    },
    /// Something to tell the user that belongs to no server or call.
    Notice {
        /// The message.
        notice: Arc<Notice>,
    },
}

impl EventKind {
    /// About how many bytes of memory the event takes while it waits for a reader.
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
                _ => 256,
            }
    }
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// How it ended.
    pub outcome: Outcome,
    /// Its stations.
    pub timings: Timings,
    /// Rounds of `input_required`, 1 for an ordinary call.
    pub rounds: u32,
    /// Bytes of the last request.
    pub sent_bytes: u64,
    /// Bytes of the last answer.
    pub received_bytes: u64,
    /// Attempts that were made; 0 when it never came to one.
    #[serde(default)]
    pub attempts: u32,
    /// The server whose answer it is, when that is another than the one that was asked.
    #[serde(default)]
    pub by: Option<ServerId>,
    /// How old the answer is, when it was kept from an earlier call.
    #[serde(default)]
    pub cached: Option<Duration>,
}

impl Settled {
    /// About how many bytes its texts take.
    pub fn weight(&self) -> usize {
        size_of::<Settled>()
            + match &self.outcome {
                Outcome::Ok { result } | Outcome::ToolError { result } => result.len(),
                Outcome::Failed { failure } => failure.weight(),
                Outcome::Cancelled { reason } => reason.len(),
            }
    }
}

/// A log message of a server (`notifications/message`), or another notification shown as one.
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
    /// The call during which it came, as far as that is known.
    pub call: Option<CallId>,
}

impl LogMessage {
    /// About how many bytes it takes.
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

/// A message to the user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// How bad it is.
    pub level: NoticeLevel,
    /// What, in one line.
    pub text: String,
    /// Further lines.
    pub detail: Vec<String>,
}

impl Notice {
    /// A notice of one line.
    pub fn new(level: NoticeLevel, text: impl Into<String>) -> Self {
        Self { level, text: text.into(), detail: vec![] }
    }
}

/// How bad a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeLevel {
    /// Good to know.
    Info,
    /// Something did not work as asked.
    Warn,
    /// Something failed.
    Error,
}

/// How often each kind of anomaly happened.
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
