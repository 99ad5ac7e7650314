//! The commands that faces give to the engine, and its replies. Plain data: they can cross a process boundary.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    ask::Answer,
    call::{Failure, FailureKind},
    event::{LogLevel, Notice, NoticeLevel},
    id::{AskId, CallId, ServerId},
    policy::{breaker::BreakerOverride, fault::Fault},
    run::{RunId, RunSpec, StepAnswer},
};

/// A command of a face to the engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Cancels a call.
    Cancel {
        /// The call.
        call: CallId,
        /// The reason, which is sent to the server.
        reason: String,
    },
    /// Starts a server that waits for its first call. Has no effect on others.
    Start {
        /// The server.
        server: ServerId,
    },
    /// Restarts a server in any state and forgets earlier failures.
    Restart {
        /// The server.
        server: ServerId,
    },
    /// Disconnects a server and does not reconnect it.
    Disable {
        /// The server.
        server: ServerId,
    },
    /// Reads a server's lists again.
    Refresh {
        /// The server.
        server: ServerId,
    },
    /// Answers a question in the inbox.
    Answer {
        /// The question.
        ask: AskId,
        /// The answer.
        answer: Answer,
    },
    /// Subscribes to updates of a resource, or unsubscribes.
    Subscribe {
        /// The server.
        server: ServerId,
        /// The resource.
        uri: String,
        /// Whether to subscribe.
        on: bool,
    },
    /// Overrides a circuit breaker.
    Breaker {
        /// The server.
        server: ServerId,
        /// The tool whose breaker it is; `None` for the server's.
        tool: Option<String>,
        /// The override.
        order: BreakerOverride,
    },
    /// Starts or stops fault injection.
    Inject {
        /// The server.
        server: ServerId,
        /// The tool, if only its calls are affected.
        tool: Option<String>,
        /// The fault; `None` stops the injection.
        fault: Option<Fault>,
    },
    /// Purges cached responses.
    Purge {
        /// Pattern of the exposed names of the tools whose responses are purged.
        pattern: String,
    },
    /// Sets the minimum level of log messages that a server sends (`logging/setLevel`).
    LogLevel {
        /// The server.
        server: ServerId,
        /// The level.
        level: LogLevel,
    },
    /// Starts a workflow run.
    StartRun {
        /// The id of the run, chosen by the face.
        run: RunId,
        /// The workflow and its input.
        spec: Arc<RunSpec>,
    },
    /// Resumes an interrupted run.
    ResumeRun {
        /// The run.
        run: RunId,
        /// Resolutions of in-doubt steps and answers to questions, in addition to those given at the start.
        answers: Vec<(String, StepAnswer)>,
        /// Whether to ask the user about everything that is not answered here.
        ask: bool,
        /// Whether a question that is neither answered nor put to the user suspends the run; otherwise it is refused.
        #[serde(default)]
        wait: bool,
        /// Deadline of the rest of the run; replaces the original one.
        timeout: Option<Duration>,
    },
    /// Undoes what a run did and has not undone yet. Compensations that failed are tried again.
    UndoRun {
        /// The run, which is not active.
        run: RunId,
        /// Resolutions of compensations that are in doubt.
        answers: Vec<(String, StepAnswer)>,
        /// Whether to ask the user about those without a resolution.
        ask: bool,
    },
    /// Cancels a run and its calls. During compensation, cancels the compensation.
    CancelRun {
        /// The run.
        run: RunId,
        /// The reason.
        reason: String,
    },
    /// Cancels one step of a run. The run continues as the step's `on_error` says.
    CancelStep {
        /// The run.
        run: RunId,
        /// The path of the step.
        step: String,
        /// The reason.
        reason: String,
    },
}

/// The reply to a command that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// Accepted; its effects are events.
    Done,
    /// Responses were purged from the cache.
    Purged {
        /// How many.
        responses: u64,
    },
}

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum CommandError {
    /// The server is not configured.
    #[error("no server is named {server}")]
    UnknownServer {
        /// The server.
        server: ServerId,
    },
    /// The server's supervisor has too many commands to carry out.
    #[error("{server} is busy and did not accept the command")]
    Busy {
        /// The server.
        server: ServerId,
    },
    /// The server is not connected.
    #[error("{server} is not connected")]
    NotConnected {
        /// The server.
        server: ServerId,
    },
    /// The server refused the request, or did not answer it.
    #[error("{why}")]
    Refused {
        /// The server's reason, or what happened to the request.
        why: String,
    },
    /// The question was answered or withdrawn before.
    #[error("the question is closed: the answer was not sent")]
    QuestionClosed,
    /// The run is active in this engine.
    #[error("run {} is already active", run.short())]
    RunActive {
        /// The run.
        run: RunId,
    },
    /// No active run has this id.
    #[error("run {} is not active", run.short())]
    RunNotActive {
        /// The run.
        run: RunId,
    },
    /// The pattern is invalid, or the cache's store failed.
    #[error("{why}")]
    Cache {
        /// Why.
        why: String,
    },
    /// The call has settled, or the engine never had it.
    #[error("call {call} is not in flight")]
    CallNotInFlight {
        /// The call.
        call: CallId,
    },
    /// The client may not give the command, or the call or question is another client's.
    #[error("this client may not give the command: only an operator may, or the client whose call it is")]
    NotPermitted,
    /// The connection to the engine was lost and is opened again.
    #[error("the engine is not connected; the command was not sent")]
    EngineLost,
    /// The client may only observe.
    #[error("this connection is read-only: the command was not carried out")]
    ReadOnly,
    /// Too many commands of the client wait for their replies.
    #[error("{limit} commands wait for their replies; try again later")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The command is larger than a message to the engine can be.
    #[error("the command has {size} bytes; at most {limit} can be sent")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The connection to the engine was lost before the reply. The command may have been carried out.
    #[error("the connection to the engine was lost before it replied; the command may have been carried out")]
    Disconnected,
    /// The engine has ended.
    #[error("the engine has ended")]
    Ended,
}

/// Why a call was not started.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum SubmitError {
    /// The engine is ending.
    #[error("the engine has ended and takes no calls")]
    Ended,
    /// The connection to the engine was lost and is opened again.
    #[error("the engine is not connected; the call was not sent")]
    NotConnected,
    /// The client may only observe.
    #[error("this connection is read-only: the call was not started")]
    ReadOnly,
    /// Too many calls are in flight.
    #[error("{limit} calls are in flight; try again when some have ended")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The call is larger than a message to the engine can be.
    #[error("the call has {size} bytes; at most {limit} can be sent")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The connection to the engine was lost before the reply. The call may have been started.
    #[error("the connection to the engine was lost before it replied; the call may have been started")]
    Disconnected,
}

impl SubmitError {
    /// Returns the failure of the call, for output that reports failures.
    pub fn failure(&self) -> Failure {
        let failure = Failure::new(
            match self {
                SubmitError::Ended | SubmitError::NotConnected | SubmitError::Disconnected => FailureKind::Transport,
                SubmitError::ReadOnly => FailureKind::Refused,
                SubmitError::TooMany { .. } => FailureKind::Overloaded,
                SubmitError::TooLarge { .. } => FailureKind::TooLarge,
            },
            self.to_string(),
        );
        Failure { may_have_run: *self == SubmitError::Disconnected, ..failure }
    }
}

impl Command {
    /// Returns what to tell the user who gave the command; `None` if the effects tell enough.
    pub fn notice(&self, result: &Result<Reply, CommandError>) -> Option<Notice> {
        let (level, text) = match (self, result) {
            (Command::Purge { pattern }, Ok(Reply::Purged { responses })) => {
                (NoticeLevel::Info, format!("{responses} cached responses of {pattern} purged"))
            }
            (Command::LogLevel { server, level }, Ok(_)) => (NoticeLevel::Info, format!("log level of {server} set to {level}")),
            // The call settled while the command was on its way.
            (_, Ok(_)) | (Command::Cancel { .. }, Err(CommandError::CallNotInFlight { .. })) => return None,
            (Command::Purge { pattern }, Err(why)) => {
                (NoticeLevel::Warn, format!("purging the cached responses of {pattern} failed: {why}"))
            }
            (Command::LogLevel { server, .. }, Err(why)) => (NoticeLevel::Warn, format!("setting the log level of {server} failed: {why}")),
            (Command::Subscribe { server, uri, on }, Err(why)) => {
                let action = if *on { "subscribing to" } else { "unsubscribing from" };
                (NoticeLevel::Warn, format!("{action} {uri} of {server} failed: {why}"))
            }
            (_, Err(why)) => (NoticeLevel::Warn, why.to_string()),
        };
        Some(Notice::new(level, text))
    }
}
