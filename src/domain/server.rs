//! Servers: how they are configured, what state they are in, what they said of themselves.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    ask::{AskPolicy, Question},
    body::Body,
    bounds,
    call::{FailureKind, Label, bound_lines},
    id::ServerId,
    policy::Policy,
    secret::{MASK, Secret, rule},
    time::{Stamp, short},
};

/// Everything the engine needs to know to run one server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerSpec {
    /// The key in the configuration.
    pub id: ServerId,
    /// How to reach it.
    pub launch: Transport,
    /// Prefix of its tools' exposed names; the key when absent, none when empty.
    pub namespace: Option<String>,
    /// Who looks after it. Shown only.
    pub owner: Option<String>,
    /// What it is for. Shown only.
    pub description: Option<String>,
    /// Folder of the tree that it stands in.
    pub group: Option<String>,
    /// Which protocol era to speak.
    pub era: EraChoice,
    /// Whether it is left alone until enabled by hand.
    pub disabled: bool,
    /// Whether its annotations (`readOnlyHint` …) are believed.
    pub trusted: bool,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Size limits.
    pub limits: Limits,
    /// How its calls are treated: retry, breaker, load, cache.
    #[serde(default)]
    pub policy: Policy,
    /// What answers its elicitation requests.
    pub elicitation: AskPolicy,
    /// What answers its sampling requests.
    pub sampling: AskPolicy,
    /// What answers its `roots/list` requests; `Fixed` gives `roots`.
    pub roots_policy: AskPolicy,
    /// The roots that it is told of.
    pub roots: Vec<Root>,
    /// Where it was configured.
    pub origin: SpecOrigin,
}

impl ServerSpec {
    /// A specification with every default, for `id` reached by `launch`.
    pub fn new(id: impl Into<ServerId>, launch: Transport) -> Self {
        Self {
            id: id.into(),
            launch,
            namespace: None,
            owner: None,
            description: None,
            group: None,
            era: EraChoice::Auto,
            disabled: false,
            trusted: false,
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            policy: Policy::default(),
            elicitation: AskPolicy::Ask,
            sampling: AskPolicy::Ask,
            roots_policy: AskPolicy::Fixed(Body::default()),
            roots: Vec::new(),
            origin: SpecOrigin::default(),
        }
    }

    /// The prefix of exposed names.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(self.id.as_str())
    }

    /// What answers a question of this server. A fixed answer fills in forms; that a page may be opened is for a person to say.
    pub fn policy(&self, question: &Question) -> &AskPolicy {
        match (question, &self.elicitation) {
            (Question::Url { .. }, AskPolicy::Fixed(_)) => &AskPolicy::Ask,
            (Question::Form { .. } | Question::Url { .. }, policy) => policy,
            (Question::Sampling { .. }, _) => &self.sampling,
            (Question::Roots, _) => &self.roots_policy,
        }
    }

    /// Every configured value that must not be shown or stored, by the rule of [`super::secret::rule`].
    pub fn secrets(&self) -> Vec<Secret> {
        let of_pairs = |pairs: &[(String, Secret)]| pairs.iter().flat_map(|(name, value)| rule::of_value(name, value.expose())).collect();
        let mut secrets: Vec<Secret> = match &self.launch {
            Transport::Stdio { args, env, .. } => {
                let mut found: Vec<Secret> = of_pairs(env);
                found.extend(rule::of_arguments(args));
                found
            }
            Transport::Http { url, headers, .. } => {
                let variable = self.origin.written.iter().any(|(field, text)| field == "url" && text.contains("${"));
                let mut found: Vec<Secret> = of_pairs(headers);
                found.extend(rule::of_url(url, variable));
                found
            }
        };
        secrets.extend(self.origin.variables.iter().map(|variable| Secret::literal(variable.expose())));
        secrets
    }

    /// One line for people, as [`Transport::summary`], without any value that [`ServerSpec::secrets`] gives.
    pub fn summary(&self) -> String {
        // Drawn often: the text has the values as they are, for which no automaton is needed.
        let mut secrets = self.secrets();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        secrets.iter().fold(self.launch.summary(), |text, secret| text.replace(secret.expose(), MASK))
    }
}

/// Whether a variable or header of this name is likely to carry a secret.
pub fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "secret", "password", "passwd", "api_key", "apikey", "api-key", "auth", "credential", "private", "cookie", "session"]
        .iter()
        .any(|word| name.contains(word))
        || name.ends_with("_key")
        || name.ends_with("-key")
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "transport", rename_all = "lowercase")]
pub enum Transport {
    /// A child process that speaks over stdin and stdout (MCP "stdio" transport).
    Stdio {
        /// Program, looked up in `PATH` when it holds no slash.
        command: String,
        /// Its arguments.
        args: Vec<Secret>,
        /// Variables added to its environment, in order.
        env: Vec<(String, Secret)>,
        /// Whether it gets our whole environment instead of the short allow-list.
        inherit_env: bool,
        /// Its working directory; ours when absent.
        cwd: Option<PathBuf>,
    },
    /// MCP "Streamable HTTP" transport.
    Http {
        /// The endpoint, `http` or `https`.
        url: String,
        /// Headers sent with every request, in order.
        headers: Vec<(String, Secret)>,
        /// Path of the Unix socket that carries the connection, if not TCP.
        socket: Option<PathBuf>,
    },
}

impl Transport {
    /// `stdio` or `http`.
    pub fn transport(&self) -> &'static str {
        match self {
            Transport::Stdio { .. } => "stdio",
            Transport::Http { .. } => "http",
        }
    }

    /// One line for people: the command line with variables unreplaced, or the endpoint without its query.
    pub fn summary(&self) -> String {
        match self {
            Transport::Stdio { command, args, .. } => {
                let mut line = quote(command);
                for arg in args {
                    line.push(' ');
                    line.push_str(&quote(arg.written()));
                }
                line
            }
            Transport::Http { url, socket, .. } => {
                let shown = url.split(['?', '#']).next().unwrap_or(url);
                let (scheme, rest) = shown.split_once("://").unwrap_or(("", shown));
                let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
                let host = authority.rsplit('@').next().unwrap_or_default();
                let shown = if scheme.is_empty() { shown.to_owned() } else { format!("{scheme}://{host}{path}") };
                match socket {
                    Some(path) => format!("{shown} over {}", path.display()),
                    None => shown,
                }
            }
        }
    }
}

/// Quotes a word for a POSIX shell when it needs that.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Where a specification came from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpecOrigin {
    /// The file; absent for servers given on the command line.
    pub file: Option<PathBuf>,
    /// Line of the server's table, counted from 1.
    pub line: Option<u32>,
    /// `command`, `cwd`, `url`, `socket` and roots as they stand in the file, where that differs from the
    /// value in use, and the file with its variables: field and text. Approval of project files goes by this text.
    #[serde(default)]
    pub written: Vec<(String, String)>,
    /// Values of the variables used anywhere in the table that count as secret. With `inherit_env` also those of the
    /// environment whose names sound secret.
    #[serde(default)]
    pub variables: Vec<Secret>,
}

/// Which protocol era to speak with a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EraChoice {
    /// Ask by `server/discover`, fall back to `initialize`.
    #[default]
    Auto,
    /// `initialize` only (2025-11-25 and older).
    Legacy,
    /// `server/discover` only (2026-07-28 and newer).
    Modern,
}

/// The protocol era that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// Sessions opened by `initialize`, 2025-11-25 and older.
    Legacy,
    /// Stateless requests, 2026-07-28 and newer.
    Modern,
}

/// Time limits of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// From start to the end of the handshake.
    pub connect: Duration,
    /// How long `server/discover` may stay unanswered before `initialize` is tried (era `auto`).
    pub probe: Duration,
    /// Overall deadline of a call; progress starts it anew.
    pub call: Duration,
    /// Hard maximum of a call, whatever progress it reports.
    pub call_max: Duration,
    /// For one list (all pages).
    pub list: Duration,
    /// Pause between health checks of an idle HTTP server; zero turns them off.
    pub health: Duration,
    /// From the end of input to SIGTERM, and from there to SIGKILL.
    pub stop: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            probe: Duration::from_secs(5),
            call: Duration::from_secs(60),
            call_max: Duration::from_secs(600),
            list: Duration::from_secs(15),
            health: Duration::from_secs(15),
            stop: Duration::from_secs(2),
        }
    }
}

/// Size limits of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest message taken in, in bytes.
    pub message_bytes: usize,
    /// Most pages followed in one list.
    pub pages: usize,
    /// Most items kept of one list.
    pub items: usize,
    /// Bytes of stderr kept.
    pub stderr_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes: 16 << 20, pages: 1000, items: 10_000, stderr_bytes: 256 << 10 }
    }
}

/// A root told to servers (`roots/list`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// A `file://` URI.
    pub uri: String,
    /// Its name, if any. Left out rather than `null`, which servers refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The state of a server's connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Phase {
    /// Being started; says which step of the handshake it is at.
    Starting {
        /// The step under way.
        step: Step,
    },
    /// Connected and listed.
    Ready,
    /// Connected, but something is wrong.
    Degraded {
        /// What is wrong.
        reason: DegradedReason,
    },
    /// Lost; the next attempt comes by itself.
    Reconnecting {
        /// Attempts since it was last ready, this one included.
        attempt: u32,
        /// When the next attempt starts.
        until: Stamp,
        /// Why the connection ended.
        why: Arc<ConnectFailure>,
    },
    /// Given up; can be restarted by hand.
    Failed {
        /// Why.
        why: Arc<ConnectFailure>,
    },
    /// Left alone, by configuration or by hand.
    Disabled,
}

impl Phase {
    /// The word for people: `ready`, `degraded`, `starting`, `reconnecting`, `failed`, `disabled`.
    pub fn word(&self) -> &'static str {
        match self {
            Phase::Starting { .. } => "starting",
            Phase::Ready => "ready",
            Phase::Degraded { .. } => "degraded",
            Phase::Reconnecting { .. } => "reconnecting",
            Phase::Failed { .. } => "failed",
            Phase::Disabled => "disabled",
        }
    }

    /// Whether calls can be sent.
    pub fn usable(&self) -> bool {
        matches!(self, Phase::Ready | Phase::Degraded { .. })
    }

    /// Whether waiting may help: the server is starting or about to be.
    pub fn pending(&self) -> bool {
        matches!(self, Phase::Starting { .. } | Phase::Reconnecting { .. })
    }

    /// The failure behind the state, if there is one.
    pub fn failure(&self) -> Option<&Arc<ConnectFailure>> {
        match self {
            Phase::Reconnecting { why, .. } | Phase::Failed { why } => Some(why),
            _ => None,
        }
    }
}

/// What is wrong with a connected server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum DegradedReason {
    /// Its lists could not be read.
    Unlisted {
        /// Why.
        error: ListingError,
        /// Whether the lists read before are kept.
        kept: bool,
    },
    /// Its lists were read with warnings.
    Lists {
        /// The first warning.
        first: String,
        /// How many more there are.
        more: usize,
        /// Whether a list was not read to its end within `timeouts.list`.
        timed_out: bool,
    },
    /// It refuses the health check.
    HealthCheck {
        /// How.
        message: String,
    },
}

impl DegradedReason {
    /// Whether `timeouts.list` was too short.
    pub fn listing_timed_out(&self) -> bool {
        match self {
            DegradedReason::Unlisted { error, .. } => error.timed_out(),
            DegradedReason::Lists { timed_out, .. } => *timed_out,
            DegradedReason::HealthCheck { .. } => false,
        }
    }

    /// The text in it that came from the server, to be changed.
    pub fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            DegradedReason::Unlisted { error: ListingError::Failed { message, .. }, .. } => Some(message),
            DegradedReason::Unlisted { error: ListingError::Timeout { .. }, .. } => None,
            DegradedReason::Lists { first, .. } => Some(first),
            DegradedReason::HealthCheck { message } => Some(message),
        }
    }
}

impl std::fmt::Display for DegradedReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DegradedReason::Unlisted { error, kept: true } => write!(f, "{error}; the lists read before are kept"),
            DegradedReason::Unlisted { error, kept: false } => error.fmt(f),
            DegradedReason::Lists { first, more: 0, .. } => f.write_str(first),
            DegradedReason::Lists { first, more, .. } => write!(f, "{first} (and {more} more)"),
            DegradedReason::HealthCheck { message } => write!(f, "the health check was refused: {message}"),
        }
    }
}

/// Why the lists of a server could not be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum ListingError {
    /// `timeouts.list` passed.
    Timeout {
        /// That limit.
        limit: Duration,
    },
    /// A request failed.
    Failed {
        /// The class of its failure.
        kind: FailureKind,
        /// What happened.
        message: String,
    },
}

impl ListingError {
    fn timed_out(&self) -> bool {
        matches!(self, ListingError::Timeout { .. } | ListingError::Failed { kind: FailureKind::Timeout, .. })
    }
}

impl std::fmt::Display for ListingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListingError::Timeout { limit } => write!(f, "listing took longer than {}", short(*limit)),
            ListingError::Failed { message, .. } => write!(f, "listing failed: {message}"),
        }
    }
}

/// A step of connecting, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Finding and starting the program.
    Spawn,
    /// Opening the HTTP connection.
    Dial,
    /// `server/discover`.
    Discover,
    /// `initialize`.
    Initialize,
    /// `tools/list` and the other lists.
    List,
    /// In use.
    Run,
}

impl Step {
    /// The step for people, as in "failed while …".
    pub fn doing(self) -> &'static str {
        match self {
            Step::Spawn => "starting the program",
            Step::Dial => "connecting",
            Step::Discover => "waiting for the answer to server/discover",
            Step::Initialize => "waiting for the answer to initialize",
            Step::List => "listing tools",
            Step::Run => "in use",
        }
    }
}

/// Why a connection could not be made, or ended: enough to know what to do next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectFailure {
    /// The step that failed.
    pub step: Step,
    /// What happened, in one line.
    pub summary: String,
    /// Causes, outermost first.
    pub causes: Vec<String>,
    /// Command line (variables unreplaced) or endpoint.
    pub target: String,
    /// Working directory of the program.
    pub cwd: Option<String>,
    /// What `PATH` gave for the command, or why it gave nothing.
    pub found: Option<String>,
    /// How the process ended.
    pub exit: Option<Exit>,
    /// HTTP status, if one was answered.
    pub status: Option<u16>,
    /// The code of the JSON-RPC error, if one was answered. The summary quotes it, so it is not serialised.
    #[serde(skip)]
    pub rpc_code: Option<i64>,
    /// The last lines of stderr.
    pub stderr: Vec<String>,
    /// What to try next.
    pub hints: Vec<String>,
    /// Whether trying again by itself may help.
    pub retryable: bool,
}

impl ConnectFailure {
    /// A failure at `step` of which only the summary is known.
    pub fn new(step: Step, summary: impl Into<String>) -> Self {
        Self {
            step,
            summary: summary.into(),
            causes: vec![],
            target: String::new(),
            cwd: None,
            found: None,
            exit: None,
            status: None,
            rpc_code: None,
            stderr: vec![],
            hints: vec![],
            retryable: true,
        }
    }

    /// The same with every text cut to its bound ([`bounds`]).
    pub fn bounded(mut self) -> Self {
        bounds::shorten(&mut self.summary, bounds::ERROR_TEXT);
        for lines in [&mut self.causes, &mut self.stderr, &mut self.hints] {
            bound_lines(lines);
        }
        self
    }

    /// About how many bytes its texts take.
    pub fn weight(&self) -> usize {
        let lines = [&self.causes, &self.stderr, &self.hints].into_iter().flatten();
        size_of::<ConnectFailure>() + self.summary.len() + lines.map(|line| line.len() + size_of::<String>()).sum::<usize>()
    }

    /// The whole report, a line each, for panes and for headless output.
    pub fn report(&self) -> Vec<(Label, String)> {
        let mut lines = vec![(Label::Error, self.summary.clone()), (Label::Step, format!("failed while {}", self.step.doing()))];
        lines.extend(self.causes.iter().map(|cause| (Label::Cause, cause.clone())));
        if !self.target.is_empty() {
            lines.push((if self.cwd.is_some() || self.found.is_some() { Label::Command } else { Label::Target }, self.target.clone()));
        }
        lines.extend(self.cwd.iter().map(|cwd| (Label::Cwd, cwd.clone())));
        lines.extend(self.found.iter().map(|found| (Label::Path, found.clone())));
        lines.extend(self.status.iter().map(|status| (Label::Status, status.to_string())));
        lines.extend(self.exit.iter().map(|exit| (Label::Exit, exit.to_string())));
        lines.extend(self.stderr.iter().map(|line| (Label::Stderr, line.clone())));
        lines.extend(self.hints.iter().map(|hint| (Label::Try, hint.clone())));
        lines
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It has no process, or its end was not seen.
    Unknown,
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exited with code {code}"),
            Exit::Signal(signal) => {
                write!(f, "ended by signal {signal}{}", signal_name(*signal).map(|n| format!(" ({n})")).unwrap_or_default())
            }
            Exit::Unknown => f.write_str("ended"),
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return None,
    })
}

/// What a connected server said of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The era spoken.
    pub era: Era,
    /// The negotiated protocol version, such as `2025-11-25`.
    pub protocol: String,
    /// `serverInfo.name`.
    pub name: Option<String>,
    /// `serverInfo.title`.
    pub title: Option<String>,
    /// `serverInfo.version`.
    pub version: Option<String>,
    /// `instructions`.
    pub instructions: Option<String>,
    /// The capabilities object as it came.
    pub capabilities: Body,
    /// Process id, of a stdio server.
    pub pid: Option<u32>,
    /// When the handshake was done.
    pub since: Stamp,
    /// How long start and handshake took.
    pub took: Duration,
}

impl SessionInfo {
    /// What a server said that offers tools and told nothing else of itself, over a connection made in no time.
    pub fn bare(since: Stamp) -> Self {
        Self {
            era: Era::Legacy,
            protocol: "2025-11-25".into(),
            name: None,
            title: None,
            version: None,
            instructions: None,
            capabilities: Body::from(r#"{"tools":{}}"#),
            pid: None,
            since,
            took: Duration::ZERO,
        }
    }

    /// Whether the negotiated version has results that ask for input (`input_required`, MCP 2026-07-28).
    pub fn has_input_rounds(&self) -> bool {
        self.era == Era::Modern
    }

    /// Whether the negotiated version has tasks, and the error -32042 that wants pages opened first: only 2025-11-25 does.
    pub fn has_tasks(&self) -> bool {
        self.era == Era::Legacy && self.protocol == "2025-11-25"
    }

    /// About how many bytes its texts take.
    pub fn weight(&self) -> usize {
        let texts = [&self.name, &self.title, &self.version, &self.instructions];
        size_of::<SessionInfo>() + self.capabilities.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }

    /// Whether the server declared the capability at `path` (`["resources", "subscribe"]`).
    pub fn declares(&self, path: &[&str]) -> bool {
        let Some(mut value) = self.capabilities.value() else { return false };
        for key in path {
            match value.get_mut(*key) {
                Some(inner) => value = inner.take(),
                None => return false,
            }
        }
        !matches!(value, serde_json::Value::Null | serde_json::Value::Bool(false))
    }
}
