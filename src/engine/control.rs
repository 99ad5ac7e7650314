//! The control API: the only interface between faces and the engine.

use std::{sync::Arc, time::Duration};

pub use super::tail::{Lagged, Tail, TailSender};
use crate::{
    domain::{
        ask::Answer,
        call::CallSpec,
        event::{Event, EventKind, LogLevel, Settled},
        id::{AskId, CallId, ServerId},
        policy::{breaker::BreakerOverride, fault::Fault},
        run::{RunId, RunSpec, StepAnswer},
    },
    state::ConsoleState,
};
use serde::{Deserialize, Serialize};

/// The interface of a face to an engine, in this process or in another.
///
/// No method waits: the effects of a command appear in the events.
pub trait Control: Send + Sync {
    /// Returns the full state and a tail of all later events, without gap or duplicate.
    fn watch(&self) -> (ConsoleState, Tail);
    /// Starts a call and returns its id.
    fn submit(&self, spec: CallSpec) -> CallId;
    /// Sends a command.
    fn command(&self, command: Command);
}

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

/// Starts a call and waits until it settles. Calls `on_event` with every event meanwhile. Returns `None` if the engine was
/// dropped.
pub async fn run(control: &dyn Control, spec: CallSpec, mut on_event: impl FnMut(&Event)) -> Option<(CallId, Arc<Settled>)> {
    let (_, mut tail) = control.watch();
    let id = control.submit(spec);
    loop {
        match tail.next().await {
            Ok(Some(event)) => {
                on_event(&event);
                match &event.kind {
                    EventKind::CallSettled { call, settled } if *call == id => return Some((id, settled.clone())),
                    _ => {}
                }
            }
            Ok(None) => return None,
            Err(Lagged { .. }) => {
                let (read_model, new_tail) = control.watch();
                tail = new_tail;
                match read_model.call(id) {
                    Some(call) => {
                        if let Some(settled) = &call.settled {
                            return Some((id, settled.clone()));
                        }
                    }
                    None => return None,
                }
            }
        }
    }
}
