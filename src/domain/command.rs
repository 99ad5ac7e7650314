//! The commands that faces give to the engine. Plain data: they can cross a process boundary.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    ask::Answer,
    event::LogLevel,
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
        /// Deadline of the rest of the run; replaces the original one.
        timeout: Option<Duration>,
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
