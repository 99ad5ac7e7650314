//! Servers: their configuration; `transport`, `limits`, `phase`, `failure` and `session_info` have its parts and the state of
//! the connection.

mod failure;
mod limits;
mod phase;
mod session_info;
mod transport;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::{
    failure::{ConnectFailure, Exit, Step},
    limits::{Limits, SessionLimits, Timeouts},
    phase::{DegradedReason, ListingError, Phase},
    session_info::{Era, SessionInfo},
    transport::{Transport, quote},
};
use super::{
    ask::{AskPolicy, Question},
    body::Body,
    config_fault::ConfigFault,
    id::ServerId,
    login::AuthSettings,
    lossy_path,
    pins::PinMode,
    policy::{Policy, tool_filter::ToolFilter},
    secret::{MASK, Redactor, Secret, rule},
    tls::TlsSettings,
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
    /// What applies to tools whose definitions changed.
    #[serde(default)]
    pub pins: PinMode,
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
    /// How it is logged in to.
    #[serde(default)]
    pub auth: AuthSettings,
    /// The origin of the configuration.
    pub origin: SpecOrigin,
    /// The errors in its configuration. A server with any is listed and never started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_faults: Vec<ConfigFault>,
}

/// The load of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLoad {
    /// The server.
    pub server: ServerId,
    /// Calls that wait for the limits of concurrency of the server and of its tools.
    pub queued: usize,
    /// Open sessions: the shared one, and those of clients.
    pub sessions: usize,
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
            pins: PinMode::default(),
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
            auth: AuthSettings::default(),
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

    /// Returns the command that logs in to this server; `scopes` are those that a login without them does not ask for.
    pub fn login_command(&self, scopes: &[String]) -> String {
        let scopes: String = scopes.iter().map(|scope| format!(" --scope {}", quote(scope))).collect();
        match (&self.origin.file, &self.launch) {
            (None, Transport::Http { url, .. }) => format!("switchboard login{scopes} -- {}", quote(url)),
            _ => format!("switchboard login {}{scopes}", quote(self.id.as_str())),
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
        secrets.extend(self.auth.client_secret.clone());
        secrets.extend(self.origin.variables.iter().map(|variable| Secret::literal(variable.expose())));
        secrets
    }

    /// Returns the specification as another process may see it: the texts as written, with the values in
    /// [`ServerSpec::secrets`] masked. Environment variables and headers are masked when serialised.
    pub fn displayed(&self) -> ServerSpec {
        let secrets = self.secrets();
        let redactor = Redactor::brief(&secrets);
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

/// A root reported to servers (`roots/list`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// A `file://` URI.
    pub uri: String,
    /// Its name, if any. Omitted rather than `null`, which servers reject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
