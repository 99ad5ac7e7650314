//! Servers: configuration, connection state, and self-description.

use std::{path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    ask::{AskPolicy, Question},
    body::Body,
    bounds,
    call::{FailureKind, Label, bound_lines},
    config_fault::ConfigFault,
    id::ServerId,
    login::LoginWanted,
    lossy_path,
    policy::{Policy, tool_filter::ToolFilter},
    secret::{MASK, Redactor, Secret, rule},
    time::{Stamp, short},
    tls::{TlsProblem, TlsSettings},
};

/// The configuration of one server, as the engine needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerSpec {
    /// The key in the configuration.
    pub id: ServerId,
    /// The transport.
    pub launch: Transport,
    /// Prefix of its tools' exposed names; the key if absent, no prefix if empty.
    pub namespace: Option<String>,
    /// The owner. Display only.
    pub owner: Option<String>,
    /// The purpose. Display only.
    pub description: Option<String>,
    /// The folder in the tree that the server belongs to.
    pub group: Option<String>,
    /// The protocol era to use.
    pub era: EraChoice,
    /// Whether the server stays disconnected until enabled manually.
    pub disabled: bool,
    /// Whether its annotations (`readOnlyHint` …) are trusted.
    pub trusted: bool,
    /// The tools that may be called.
    #[serde(default)]
    pub tools: ToolFilter,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Size limits.
    pub limits: Limits,
    /// Limits of the own sessions of clients.
    #[serde(default)]
    pub sessions: SessionLimits,
    /// The resilience policy of its calls: retry, breaker, limits, cache.
    #[serde(default)]
    pub policy: Policy,
    /// How its elicitation requests are answered.
    pub elicitation: AskPolicy,
    /// How its sampling requests are answered.
    pub sampling: AskPolicy,
    /// How its `roots/list` requests are answered; `Fixed` returns `roots`.
    pub roots_policy: AskPolicy,
    /// The roots reported to the server.
    pub roots: Vec<Root>,
    /// How its certificate is checked.
    #[serde(default)]
    pub tls: TlsSettings,
    /// The origin of the configuration.
    pub origin: SpecOrigin,
    /// The errors in its configuration. A server with any is listed and never started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_faults: Vec<ConfigFault>,
}

impl ServerSpec {
    /// Creates a specification with all defaults for `id`, reached by `launch`.
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
            tools: ToolFilter::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            sessions: SessionLimits::default(),
            policy: Policy::default(),
            elicitation: AskPolicy::Ask,
            sampling: AskPolicy::Ask,
            roots_policy: AskPolicy::Fixed(Body::default()),
            roots: Vec::new(),
            tls: TlsSettings::default(),
            origin: SpecOrigin::default(),
            config_faults: Vec::new(),
        }
    }

    /// Returns the prefix of exposed names.
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or(self.id.as_str())
    }

    /// Returns whether this is a program whose era is probed for: if it does not answer, its era is stored for later runs.
    pub fn probed_over_stdio(&self) -> bool {
        self.era == EraChoice::Auto && matches!(self.launch, Transport::Stdio { .. })
    }

    /// Returns how a question of this server is answered. A fixed answer fills in forms; whether a page may be
    /// opened, only a user can decide.
    pub fn policy(&self, question: &Question) -> &AskPolicy {
        match (question, &self.elicitation) {
            (Question::Url { .. }, AskPolicy::Fixed(_)) => &AskPolicy::Ask,
            (Question::Form { .. } | Question::Url { .. }, policy) => policy,
            (Question::Sampling { .. }, _) => &self.sampling,
            (Question::Roots, _) => &self.roots_policy,
        }
    }

    /// Returns every configured value that must not be displayed or stored, by the rule of [`super::secret::rule`].
    pub fn secrets(&self) -> Vec<Secret> {
        let of_pairs = |pairs: &[(String, Secret)]| pairs.iter().flat_map(|(name, value)| rule::of_value(name, value.expose())).collect();
        let mut secrets: Vec<Secret> = match &self.launch {
            Transport::Stdio { command, args, env, .. } => {
                let mut found: Vec<Secret> = of_pairs(env);
                found.extend(rule::of_arguments(args));
                if command.contains(char::is_whitespace) {
                    // A whole command line in place of the program.
                    let words: Vec<Secret> = command.split_whitespace().map(Secret::literal).collect();
                    found.extend(rule::of_arguments(&words));
                }
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

    /// Returns the specification as another process may see it: the texts as written, with the values in
    /// [`ServerSpec::secrets`] masked. Environment variables and headers are masked when serialised.
    pub fn displayed(&self) -> ServerSpec {
        let secrets = self.secrets();
        let redactor = Redactor::new(&secrets);
        let mut spec = self.clone();
        match &mut spec.launch {
            Transport::Stdio { command, args, .. } => {
                redactor.redact_in(command);
                for arg in args {
                    *arg = Secret::new(MASK, redactor.redact(arg.written()));
                }
            }
            Transport::Http { url, .. } => redactor.redact_in(url),
        }
        spec.origin.written.iter_mut().for_each(|(_, text)| redactor.redact_in(text));
        spec.origin.variables.clear();
        spec
    }

    /// Returns a one-line summary as [`Transport::summary`], without any value in [`ServerSpec::secrets`]. It says if the
    /// certificate of the server is not checked.
    pub fn summary(&self) -> String {
        // Drawn often: the text contains the values unencoded, so plain replacement suffices.
        let mut secrets = self.secrets();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        let summary = secrets.iter().fold(self.launch.summary(), |text, secret| text.replace(secret.expose(), MASK));
        if self.tls.insecure { format!("{summary} ({INSECURE})") } else { summary }
    }
}

/// The warning about a server with `insecure = true`.
pub const INSECURE: &str = "insecure: certificate not checked";

/// Returns whether a variable or header of this name is likely to hold a secret.
pub fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["token", "secret", "password", "passwd", "api_key", "apikey", "api-key", "auth", "credential", "private", "cookie", "session"]
        .iter()
        .any(|word| name.contains(word))
        || name.ends_with("_key")
        || name.ends_with("-key")
}

/// The transport of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "transport", rename_all = "lowercase")]
pub enum Transport {
    /// A child process that communicates over stdin and stdout (MCP "stdio" transport).
    Stdio {
        /// The program, looked up in `PATH` if it contains no slash.
        command: String,
        /// Its arguments.
        args: Vec<Secret>,
        /// Variables added to its environment, in order.
        env: Vec<(String, Secret)>,
        /// Whether it inherits the whole environment instead of a short allow-list.
        inherit_env: bool,
        /// Its working directory; ours if absent.
        #[serde(default, with = "lossy_path::optional")]
        cwd: Option<PathBuf>,
    },
    /// MCP "Streamable HTTP" transport.
    Http {
        /// The endpoint, `http` or `https`.
        url: String,
        /// Headers sent with every request, in order.
        headers: Vec<(String, Secret)>,
        /// Path of the Unix socket for the connection, if not TCP.
        #[serde(default, with = "lossy_path::optional")]
        socket: Option<PathBuf>,
    },
}

impl Transport {
    /// Returns the transport of an entry that names neither a program nor an address.
    pub fn unknown() -> Transport {
        Transport::Stdio { command: String::new(), args: vec![], env: vec![], inherit_env: false, cwd: None }
    }

    /// Returns whether a program or an address is named.
    pub fn is_known(&self) -> bool {
        !matches!(self, Transport::Stdio { command, .. } if command.is_empty())
    }

    /// Returns `stdio` or `http`, or `-` if it is unknown.
    pub fn transport(&self) -> &'static str {
        match self {
            unknown if !unknown.is_known() => "-",
            Transport::Stdio { .. } => "stdio",
            Transport::Http { .. } => "http",
        }
    }

    /// Returns a one-line summary: the command line with unexpanded variables, or the endpoint without its query.
    pub fn summary(&self) -> String {
        match self {
            unknown if !unknown.is_known() => "-".to_owned(),
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

/// Quotes a word for a POSIX shell if necessary.
pub fn quote(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(safe) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The origin of a specification.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpecOrigin {
    /// The file; absent for servers given on the command line.
    #[serde(default, with = "lossy_path::optional")]
    pub file: Option<PathBuf>,
    /// Line of the server's table, from 1.
    pub line: Option<u32>,
    /// `command`, `cwd`, `url`, `socket` and roots as written in the file, where they differ from the value in use,
    /// and the file with its variables: field and text. Approval of project files is bound to this text.
    #[serde(default)]
    pub written: Vec<(String, String)>,
    /// Values of all variables used in the table that count as secret. With `inherit_env`, also those of the
    /// environment whose names suggest a secret.
    #[serde(default)]
    pub variables: Vec<Secret>,
}

/// The protocol era to use with a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EraChoice {
    /// Try `server/discover`, fall back to `initialize`.
    #[default]
    Auto,
    /// `initialize` only (2025-11-25 and older).
    Legacy,
    /// `server/discover` only (2026-07-28 and newer).
    Modern,
}

/// The protocol era of a connection.
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
    /// From the start to the end of the handshake.
    pub connect: Duration,
    /// How long to wait for `server/discover` before trying `initialize` (era `auto`); at most 2 s for a program that has
    /// written nothing to stdout, unless this is more than the default.
    pub probe: Duration,
    /// Overall deadline of a call; progress restarts it.
    pub call: Duration,
    /// Hard limit of a call, regardless of progress.
    pub call_max: Duration,
    /// For one list, including all pages.
    pub list: Duration,
    /// Interval between health checks of an idle HTTP server; zero disables them.
    pub health: Duration,
    /// From closing stdin to SIGTERM, and from there to SIGKILL. When the program itself ends it is at most 300 ms, unless it
    /// is set to more than the default.
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
    /// Maximum size of a received message, in bytes.
    pub message_bytes: usize,
    /// Maximum number of pages read per list.
    pub pages: usize,
    /// Maximum number of items stored per list.
    pub items: usize,
    /// Bytes of stderr stored.
    pub stderr_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes: 16 << 20, pages: 1000, items: 10_000, stderr_bytes: 256 << 10 }
    }
}

/// Limits of the own sessions of clients at one server. A client that declares capabilities gets its own session at a legacy
/// server, in addition to the one that all others share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLimits {
    /// Most own sessions; zero lets all clients share one, in which the server can ask them nothing.
    pub max: usize,
    /// How long one is open without calls; [`SessionLimits::idle_time`] has the default.
    pub idle: Option<Duration>,
}

impl SessionLimits {
    /// Returns how long a session is open without calls: by default 5 minutes for a program, 10 for an address.
    pub fn idle_time(&self, launch: &Transport) -> Duration {
        let minutes = if matches!(launch, Transport::Stdio { .. }) { 5 } else { 10 };
        self.idle.unwrap_or(Duration::from_secs(60 * minutes))
    }
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { max: 8, idle: None }
    }
}

/// A root reported to servers (`roots/list`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// A `file://` URI.
    pub uri: String,
    /// Its name, if any. Omitted rather than `null`, which servers reject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The connection state of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Phase {
    /// Not started: the first call that needs it starts it.
    Idle,
    /// Starting; names the current step of the handshake.
    Starting {
        /// The current step.
        step: Step,
    },
    /// Connected, lists read.
    Ready,
    /// Connected, but with a problem.
    Degraded {
        /// The problem.
        reason: DegradedReason,
    },
    /// Disconnected; the next attempt starts automatically.
    Reconnecting {
        /// Attempts since it was last ready, including this one.
        attempt: u32,
        /// When the next attempt starts.
        until: Stamp,
        /// Why the connection ended.
        why: Arc<ConnectFailure>,
    },
    /// Failed without further attempts; can be restarted manually.
    Failed {
        /// The failure.
        why: Arc<ConnectFailure>,
    },
    /// The server wants a login. Not a failure: nothing is tried again before there are other credentials or a restart.
    #[serde(rename = "needs_login")]
    NeedsLogin {
        /// What the server refused, with the login that it wants.
        why: Arc<ConnectFailure>,
    },
    /// Disabled, by configuration or manually.
    Disabled,
}

impl Phase {
    /// Returns the state of a server that was just configured.
    pub fn initial(spec: &ServerSpec) -> Phase {
        match spec.config_failure() {
            _ if spec.disabled => Phase::Disabled,
            Some(why) => Phase::Failed { why: Arc::new(why) },
            None => Phase::Starting { step: Step::Spawn },
        }
    }

    /// Returns the name for users: `idle`, `starting`, `ready`, `degraded`, `reconnecting`, `failed`, `needs login`,
    /// `disabled`.
    pub fn word(&self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Starting { .. } => "starting",
            Phase::Ready => "ready",
            Phase::Degraded { .. } => "degraded",
            Phase::Reconnecting { .. } => "reconnecting",
            Phase::Failed { .. } => "failed",
            Phase::NeedsLogin { .. } => "needs login",
            Phase::Disabled => "disabled",
        }
    }

    /// Returns whether calls can be sent.
    pub fn usable(&self) -> bool {
        matches!(self, Phase::Ready | Phase::Degraded { .. })
    }

    /// Returns whether waiting may help: the server is starting or about to start.
    pub fn pending(&self) -> bool {
        matches!(self, Phase::Starting { .. } | Phase::Reconnecting { .. })
    }

    /// Returns what the server or the system refused, if that is behind the state.
    pub fn failure(&self) -> Option<&Arc<ConnectFailure>> {
        match self {
            Phase::Reconnecting { why, .. } | Phase::Failed { why } | Phase::NeedsLogin { why } => Some(why),
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
        /// Whether the previous lists stay in use.
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
            DegradedReason::Unlisted { error, kept: true } => write!(f, "{error}; the previous lists stay in use"),
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
    /// Reading its configuration.
    Configure,
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
    /// Returns the description for users, as in "failed while …".
    pub fn doing(self) -> &'static str {
        match self {
            Step::Configure => "reading its configuration",
            Step::Spawn => "starting the program",
            Step::Dial => "connecting",
            Step::Discover => "waiting for the answer to server/discover",
            Step::Initialize => "waiting for the answer to initialize",
            Step::List => "listing tools",
            Step::Run => "in use",
        }
    }
}

/// Why a connection failed or ended, with what is needed to fix it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectFailure {
    /// The failed step.
    pub step: Step,
    /// The message, one line.
    pub summary: String,
    /// Causes, outermost first.
    pub causes: Vec<String>,
    /// The place in the configuration, `file:line:column`, if that has an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Command line (variables unexpanded) or endpoint.
    pub target: String,
    /// Working directory of the program.
    pub cwd: Option<String>,
    /// The result of the `PATH` lookup of the command.
    pub found: Option<String>,
    /// The exit of the process.
    pub exit: Option<Exit>,
    /// The HTTP status, if there was one.
    pub status: Option<u16>,
    /// HTTP headers of the response that refused the connection, such as `WWW-Authenticate`; secrets masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// What is wrong with the TLS of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsProblem>,
    /// The code of the JSON-RPC error response, if there was one. Not serialised, since the summary quotes it.
    #[serde(skip)]
    pub rpc_code: Option<i64>,
    /// Last lines of stderr.
    pub stderr: Vec<String>,
    /// What the user can try.
    pub hints: Vec<String>,
    /// Whether an automatic retry may help.
    pub retryable: bool,
    /// The login that the server wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<LoginWanted>,
}

impl ConnectFailure {
    /// Creates a failure at `step` with a summary only.
    pub fn new(step: Step, summary: impl Into<String>) -> Self {
        Self {
            step,
            summary: summary.into(),
            causes: vec![],
            place: None,
            target: String::new(),
            cwd: None,
            found: None,
            exit: None,
            status: None,
            headers: vec![],
            tls: None,
            rpc_code: None,
            stderr: vec![],
            hints: vec![],
            retryable: true,
            login: None,
        }
    }

    /// Cuts every text to its limit ([`bounds`]).
    pub fn bounded(mut self) -> Self {
        bounds::shorten(&mut self.summary, bounds::ERROR_TEXT);
        for lines in [&mut self.causes, &mut self.stderr, &mut self.hints] {
            bound_lines(lines);
        }
        for (_, value) in &mut self.headers {
            bounds::shorten(value, bounds::LINE);
        }
        self
    }

    /// Returns the approximate size of its texts, in bytes.
    pub fn weight(&self) -> usize {
        let lines = [&self.causes, &self.stderr, &self.hints].into_iter().flatten();
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 2 * size_of::<String>()).sum();
        size_of::<ConnectFailure>() + self.summary.len() + headers + lines.map(|line| line.len() + size_of::<String>()).sum::<usize>()
    }

    /// Returns the complete report as labelled lines, for console and CLI.
    pub fn report(&self) -> Vec<(Label, String)> {
        let mut lines = vec![(Label::Error, self.summary.clone()), (Label::Step, format!("failed while {}", self.step.doing()))];
        lines.extend(self.place.iter().map(|place| (Label::Place, place.clone())));
        lines.extend(self.causes.iter().map(|cause| (Label::Cause, cause.clone())));
        if !self.target.is_empty() {
            lines.push((if self.cwd.is_some() || self.found.is_some() { Label::Command } else { Label::Target }, self.target.clone()));
        }
        lines.extend(self.cwd.iter().map(|cwd| (Label::Cwd, cwd.clone())));
        lines.extend(self.found.iter().map(|found| (Label::Path, found.clone())));
        lines.extend(self.status.iter().map(|status| (Label::Status, status.to_string())));
        lines.extend(self.headers.iter().map(|(name, value)| (Label::Header, format!("{name}: {value}"))));
        lines.extend(self.exit.iter().map(|exit| (Label::Exit, exit.to_string())));
        lines.extend(self.stderr.iter().map(|line| (Label::Stderr, line.clone())));
        lines.extend(self.hints.iter().map(|hint| (Label::Try, hint.clone())));
        lines
    }
}

/// The exit of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// It was terminated by this signal.
    Signal(i32),
    /// There is no process, or its exit was not observed.
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

/// The self-description of a connected server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The era in use.
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
    /// The capabilities object as received.
    pub capabilities: Body,
    /// Process id of a stdio server.
    pub pid: Option<u32>,
    /// Time of the handshake.
    pub since: Stamp,
    /// Duration of start and handshake.
    pub took: Duration,
    /// How long the probe for the era was waited for without an answer, as part of `took`.
    #[serde(default)]
    pub probe_unanswered: Option<Duration>,
    /// Whether the connection uses the HTTP+SSE transport of 2024-11-05.
    #[serde(default)]
    pub http_sse: bool,
}

impl SessionInfo {
    /// Creates the description of a server that only declares tools, over an instant connection.
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
            probe_unanswered: None,
            http_sse: false,
        }
    }

    /// Returns whether the negotiated version has results that request input (`input_required`, MCP 2026-07-28).
    pub fn has_input_rounds(&self) -> bool {
        self.era == Era::Modern
    }

    /// Returns whether a call of a tool may ask to be run as a task: the negotiated version has such tasks, and the server
    /// declares them for tools (MCP 2025-11-25, basic/utilities/tasks, "Capabilities").
    pub fn takes_tasks(&self) -> bool {
        self.has_tasks() && self.declares(&["tasks", "requests", "tools", "call"])
    }

    /// Returns whether the negotiated version has tasks, and the error -32042 that asks to open pages first: only
    /// 2025-11-25 does.
    pub fn has_tasks(&self) -> bool {
        self.era == Era::Legacy && self.protocol == "2025-11-25"
    }

    /// Returns the approximate size of its texts, in bytes.
    pub fn weight(&self) -> usize {
        let texts = [&self.name, &self.title, &self.version, &self.instructions];
        size_of::<SessionInfo>() + self.capabilities.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }

    /// Returns whether the server declared the capability at `path` (`["resources", "subscribe"]`).
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
