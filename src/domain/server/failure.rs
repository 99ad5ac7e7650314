//! Why a connection failed or ended: the step, the exit of the process, and the report for users.

use serde::{Deserialize, Serialize};

use crate::domain::{
    bounds,
    call::{Label, bound_lines},
    login::LoginWanted,
    tls::TlsProblem,
};

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

    /// Returns whether the HTTP status says that the same request will be refused again (RFC 9110, section 15): any 4xx but 408,
    /// 425 and 429, and 501 and 505.
    pub fn refused_for_good(&self) -> bool {
        matches!(self.status, Some(400..=407 | 409..=424 | 426..=428 | 430..=499 | 501 | 505))
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
    /// No process was started, or its exit was not observed.
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
