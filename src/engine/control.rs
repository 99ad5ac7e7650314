//! The one door between faces and the engine.

use std::{sync::Arc, time::Duration};

pub use super::tail::{Lagged, Tail, TailSender};
use crate::domain::{
    ask::Answer,
    call::CallSpec,
    event::{Event, EventKind, LogLevel, Settled},
    id::{AskId, CallId, ServerId},
    policy::{breaker::BreakerOverride, fault::Fault},
    read_model::ConsoleState,
    run::{RunId, RunSpec, StepAnswer},
};
use serde::{Deserialize, Serialize};

/// How a face speaks to an engine, in this process or in another.
///
/// Nothing here waits: what comes of a command is seen in the events.
pub trait Control: Send + Sync {
    /// The state of everything, and every event after it: no gap, no duplicate.
    fn watch(&self) -> (ConsoleState, Tail);
    /// Starts a call.
    fn submit(&self, spec: CallSpec) -> CallId;
    /// Gives a command.
    fn command(&self, command: Command);
}

/// Something that a face wants done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Gives up a call.
    Cancel {
        /// Which.
        call: CallId,
        /// Why, as told to the server.
        reason: String,
    },
    /// Starts a server anew, whatever state it is in; failures before are forgotten.
    Restart {
        /// Which.
        server: ServerId,
    },
    /// Ends a server's connection and leaves it alone.
    Disable {
        /// Which.
        server: ServerId,
    },
    /// Reads a server's lists again.
    Refresh {
        /// Which.
        server: ServerId,
    },
    /// Answers a question in the inbox.
    Answer {
        /// Which.
        ask: AskId,
        /// The answer.
        answer: Answer,
    },
    /// Wants to be told, or no longer, when a resource changes.
    Subscribe {
        /// Which server.
        server: ServerId,
        /// Which resource.
        uri: String,
        /// Whether to be told.
        on: bool,
    },
    /// Does something to a circuit breaker by hand.
    Breaker {
        /// Whose.
        server: ServerId,
        /// The tool that it is for; `None` for that of the whole server.
        tool: Option<String>,
        /// What.
        order: BreakerOverride,
    },
    /// Makes a fault on purpose, or no longer.
    Inject {
        /// The server whose calls it meets.
        server: ServerId,
        /// The tool, if only one.
        tool: Option<String>,
        /// The fault; `None` ends it.
        fault: Option<Fault>,
    },
    /// Forgets kept answers.
    Purge {
        /// Of tools whose exposed names match this pattern.
        pattern: String,
    },
    /// Asks a server for log messages of this level and above (`logging/setLevel`).
    LogLevel {
        /// Which.
        server: ServerId,
        /// The level.
        level: LogLevel,
    },
    /// Runs a workflow.
    StartRun {
        /// The run's id from now on, chosen by the face.
        run: RunId,
        /// What to run.
        spec: Arc<RunSpec>,
    },
    /// Goes on with a run that was interrupted.
    ResumeRun {
        /// Which.
        run: RunId,
        /// What was said of steps in doubt and of questions, beside what was said at first.
        answers: Vec<(String, StepAnswer)>,
        /// Whether what is not answered beforehand is put to the user.
        ask: bool,
        /// Deadline of what is left of the run, instead of the one that it began with.
        timeout: Option<Duration>,
    },
    /// Gives up a run: its calls are cancelled. While it undoes what it did, gives that up.
    CancelRun {
        /// Which.
        run: RunId,
        /// Why.
        reason: String,
    },
    /// Gives up one step of a run, which goes on as the step's `on_error` says.
    CancelStep {
        /// The run.
        run: RunId,
        /// The step's path.
        step: String,
        /// Why.
        reason: String,
    },
}

/// Starts a call and waits for its end. `seen` gets every event meanwhile; `None` when the engine went away.
pub async fn run(control: &dyn Control, spec: CallSpec, mut seen: impl FnMut(&Event)) -> Option<(CallId, Arc<Settled>)> {
    let (_, mut tail) = control.watch();
    let id = control.submit(spec);
    loop {
        match tail.next().await {
            Ok(Some(event)) => {
                seen(&event);
                match &event.kind {
                    EventKind::CallSettled { call, settled } if *call == id => return Some((id, settled.clone())),
                    _ => {}
                }
            }
            Ok(None) => return None,
            Err(Lagged { .. }) => {
                let (read_model, again) = control.watch();
                tail = again;
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
