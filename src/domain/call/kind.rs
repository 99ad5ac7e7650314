//! Kinds of failures, and the labels of the lines in a failure report.

use serde::{Deserialize, Serialize};

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The server is not connected and will not be in time.
    NotReady,
    /// The server does not exist.
    UnknownServer,
    /// The server does not list the tool.
    UnknownTool,
    /// The arguments do not match the tool's schema; nothing was sent.
    InvalidArguments,
    /// The connection failed or broke.
    Transport,
    /// The deadline was exceeded.
    Timeout,
    /// The server responded with an error or a malformed response.
    Protocol,
    /// The server's process exited during the call.
    Exited,
    /// The response exceeds the size limit.
    TooLarge,
    /// The server requires credentials (401) or rejects them (403).
    Unauthorized,
    /// Refused locally.
    Refused,
    /// The circuit breaker of the server or tool is open.
    BreakerOpen,
    /// The concurrency or rate limit of the server is exhausted.
    Overloaded,
}

impl FailureKind {
    /// All kinds.
    pub const ALL: [FailureKind; 13] = [
        FailureKind::NotReady,
        FailureKind::UnknownServer,
        FailureKind::UnknownTool,
        FailureKind::InvalidArguments,
        FailureKind::Transport,
        FailureKind::Timeout,
        FailureKind::Protocol,
        FailureKind::Exited,
        FailureKind::TooLarge,
        FailureKind::Unauthorized,
        FailureKind::Refused,
        FailureKind::BreakerOpen,
        FailureKind::Overloaded,
    ];

    /// Returns the name for users.
    pub fn words(self) -> &'static str {
        match self {
            FailureKind::NotReady => "not ready",
            FailureKind::UnknownServer => "unknown server",
            FailureKind::UnknownTool => "unknown tool",
            FailureKind::InvalidArguments => "invalid arguments",
            FailureKind::Transport => "transport",
            FailureKind::Timeout => "timeout",
            FailureKind::Protocol => "protocol",
            FailureKind::Exited => "server exited",
            FailureKind::TooLarge => "too large",
            FailureKind::Unauthorized => "unauthorized",
            FailureKind::Refused => "refused",
            FailureKind::BreakerOpen => "breaker open",
            FailureKind::Overloaded => "overloaded",
        }
    }

    /// The word for programs, as in JSON.
    pub fn key(self) -> &'static str {
        match self {
            FailureKind::NotReady => "not_ready",
            FailureKind::UnknownServer => "unknown_server",
            FailureKind::UnknownTool => "unknown_tool",
            FailureKind::InvalidArguments => "invalid_arguments",
            FailureKind::Transport => "transport",
            FailureKind::Timeout => "timeout",
            FailureKind::Protocol => "protocol",
            FailureKind::Exited => "exited",
            FailureKind::TooLarge => "too_large",
            FailureKind::Unauthorized => "unauthorized",
            FailureKind::Refused => "refused",
            FailureKind::BreakerOpen => "breaker_open",
            FailureKind::Overloaded => "overloaded",
        }
    }
}

/// The label of a line in a failure report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// Kind and message of the failure of a call.
    Failed,
    /// The error of a connection.
    Error,
    /// The step of connecting that failed.
    Step,
    /// The place in a configuration file.
    Place,
    /// The code of the JSON-RPC error.
    Code,
    /// The data of the JSON-RPC error.
    Data,
    /// A cause.
    Cause,
    /// The command of a server.
    Command,
    /// The endpoint of a server.
    Target,
    /// The working directory of a program.
    Cwd,
    /// The result of the `PATH` lookup of a command.
    Path,
    /// An HTTP status.
    Status,
    /// An HTTP header.
    Header,
    /// How a process ended.
    Exit,
    /// A line of stderr.
    Stderr,
    /// A note.
    Note,
    /// What the user can try.
    Try,
}

impl Label {
    /// Returns the label for users.
    pub fn word(self) -> &'static str {
        match self {
            Label::Failed => "failed",
            Label::Error => "error",
            Label::Step => "step",
            Label::Place => "place",
            Label::Code => "code",
            Label::Data => "data",
            Label::Cause => "cause",
            Label::Command => "command",
            Label::Target => "target",
            Label::Cwd => "cwd",
            Label::Path => "PATH",
            Label::Status => "status",
            Label::Header => "header",
            Label::Exit => "exit",
            Label::Stderr => "stderr",
            Label::Note => "note",
            Label::Try => "try",
        }
    }
}
