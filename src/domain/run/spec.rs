//! The request for a run: the workflow, its input, and what is different for this run.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::RunId;
use crate::domain::{body::Body, call::Origin, workflow::plan::Plan};

/// The request for a run. Self-contained, so that it can be journaled and sent over a wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// The workflow's name.
    pub workflow: Arc<str>,
    /// The texts of the workflow and its nested workflows; the workflow's own is the first.
    pub sources: Arc<[WorkflowText]>,
    /// The input: a JSON object.
    pub input: Body,
    /// The origin of the request.
    pub origin: Origin,
    /// Deadline of the whole run, overriding the workflow's.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// Step settings changed for this run (`--set`).
    #[serde(default)]
    pub set: Vec<Setting>,
    /// Predefined answers to `approve` and `elicit` steps, and resolutions of in-doubt steps.
    #[serde(default)]
    pub answers: Vec<(String, StepAnswer)>,
    /// Whether questions without a predefined answer are put to the user; otherwise they are refused.
    #[serde(default)]
    pub ask: bool,
    /// Whether a question that is neither answered nor put to the user suspends the run; otherwise it is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
    /// Results of an earlier run to reuse, up to a step.
    #[serde(default)]
    pub from: Option<RunFrom>,
    /// Environment variables that override those of the process. For workflow tests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

impl RunSpec {
    /// Creates the request for a run without overrides: no deadline, settings or answers of its own, nothing asked and
    /// nothing reused. Callers change single fields with the struct update syntax.
    pub fn new(workflow: &str, sources: impl Into<Arc<[WorkflowText]>>, input: Body, origin: Origin) -> RunSpec {
        RunSpec {
            workflow: workflow.into(),
            sources: sources.into(),
            input,
            origin,
            timeout: None,
            set: vec![],
            answers: vec![],
            ask: false,
            wait: false,
            from: None,
            env: BTreeMap::new(),
        }
    }

    /// Creates the request for a run of a plan, with all its sources, so that a journal can store it. `name` is the
    /// workflow name of the run.
    pub fn of_plan(name: &str, plan: &Plan, input: Body, origin: Origin) -> RunSpec {
        RunSpec::new(name, plan.texts(), input, origin)
    }
}

/// The text of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowText {
    /// Its name.
    pub name: String,
    /// File name, for errors.
    pub file: String,
    /// The text.
    pub text: String,
}

/// A step setting changed for one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The step's path.
    pub step: String,
    /// The change.
    #[serde(flatten)]
    pub change: Change,
}

/// A change of a step setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// Its `timeout`.
    Timeout {
        /// The new timeout.
        limit: Duration,
    },
    /// Its `retry.attempts`.
    Attempts {
        /// Maximum number of attempts, from 1.
        attempts: u32,
    },
}

/// A predefined answer or resolution for a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum StepAnswer {
    /// An `approve` step is approved.
    Approve,
    /// An `approve` or `elicit` step is declined.
    Decline,
    /// The content for an `elicit` step.
    Content {
        /// A JSON object.
        content: Body,
    },
    /// Repeats an in-doubt step.
    Repeat,
    /// Counts an in-doubt step as done.
    Skip {
        /// The result of the step, JSON.
        result: Body,
    },
}

/// A run that reuses results of an earlier run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFrom {
    /// The earlier run.
    pub run: RunId,
    /// The first step that runs again; the steps that need it run again too.
    pub step: String,
}
