//! The report of an ended run, and its outcome.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::StepView;
use crate::domain::{body::Body, time::Stamp};

/// The outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// Every step succeeded or was skipped by its condition.
    Ok,
    /// The run completed; steps with `on_error = "continue"` failed.
    Partial,
    /// The run failed; nothing had to be compensated.
    Failed,
    /// The run failed, and everything that had to be compensated was.
    Compensated,
    /// The run failed, and some compensation failed.
    CompensationFailed,
    /// The run exceeded its deadline.
    TimedOut,
    /// Cancelled on request.
    Cancelled,
    /// A user rejected a request, or no user could be asked.
    Refused,
    /// In-doubt steps need a resolution before the run can continue. Not final: the run can be resumed.
    InDoubt,
    /// Steps wait for an answer. Not final: the run is resumed with the answers.
    Waiting,
    /// The workflow or its input is invalid; nothing was done.
    Invalid,
}

impl RunOutcome {
    /// Returns the name for users.
    pub fn words(self) -> &'static str {
        match self {
            RunOutcome::Ok => "ok",
            RunOutcome::Partial => "ok, with failures",
            RunOutcome::Failed => "failed",
            RunOutcome::Compensated => "failed and compensated",
            RunOutcome::CompensationFailed => "failed, compensation incomplete",
            RunOutcome::TimedOut => "timed out",
            RunOutcome::Cancelled => "cancelled",
            RunOutcome::Refused => "refused",
            RunOutcome::InDoubt => "in doubt",
            RunOutcome::Waiting => "waiting for an answer",
            RunOutcome::Invalid => "invalid",
        }
    }

    /// Returns the key for programs, as in JSON.
    pub fn key(self) -> &'static str {
        match self {
            RunOutcome::Ok => "ok",
            RunOutcome::Partial => "partial",
            RunOutcome::Failed => "failed",
            RunOutcome::Compensated => "compensated",
            RunOutcome::CompensationFailed => "compensation_failed",
            RunOutcome::TimedOut => "timed_out",
            RunOutcome::Cancelled => "cancelled",
            RunOutcome::Refused => "refused",
            RunOutcome::InDoubt => "in_doubt",
            RunOutcome::Waiting => "waiting",
            RunOutcome::Invalid => "invalid",
        }
    }

    /// Returns the outcome with this [`RunOutcome::key`].
    pub fn from_key(key: &str) -> Option<RunOutcome> {
        RunOutcome::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(key)).ok()
    }
}

/// The report of an ended run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// The outcome.
    pub outcome: RunOutcome,
    /// The reason, unless the run succeeded.
    pub why: Option<String>,
    /// Further lines: problems of the workflow, in-doubt steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
    /// Every step of the workflow with its final state, in file order.
    pub steps: Vec<(Arc<str>, Arc<StepView>)>,
    /// The outputs, a JSON object, if the run completed. Limited by the runner, never cut.
    pub output: Option<Body>,
    /// Compensated steps, in order of their compensation.
    pub compensated: Vec<String>,
    /// Steps that were not compensated although they had to be or could have been, and why.
    pub not_compensated: Vec<(String, String)>,
    /// The questions that a waiting run asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<RunQuestion>,
    /// Start time.
    pub started: Stamp,
    /// End time.
    pub ended: Stamp,
}

/// A question of a step that has no answer yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunQuestion {
    /// The step's path.
    pub step: Arc<str>,
    /// Index of the item, from 0.
    pub item: Option<u32>,
    /// The text for the user.
    pub message: String,
    /// The schema of the form; `None` for an approval.
    pub schema: Option<Body>,
}

impl RunReport {
    /// Returns the duration.
    pub fn took(&self) -> Duration {
        self.ended.since(self.started)
    }

    /// Returns the step with this id.
    pub fn step(&self, id: &str) -> Option<&StepView> {
        self.steps.iter().find(|(name, _)| &**name == id).map(|(_, view)| &**view)
    }
}
