//! Workflow runs: the place of a call within a run, and its idempotency key.
//!
//! `id` has the id of a run, `spec` the request for one, `view` the state of its steps, `error` their errors, and `report` the
//! report. Plain data created by the runner and shared by events, journal, console and CLI.

mod error;
mod id;
mod report;
mod spec;
mod view;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::{
    error::{StepDetail, StepError, StepErrorKind},
    id::RunId,
    report::{RunOutcome, RunQuestion, RunReport},
    spec::{Change, RunFrom, RunSpec, Setting, StepAnswer, WorkflowText},
    view::{FailedItem, Items, PlanSummary, SHOWN_BYTES, SHOWN_CALLS, SHOWN_ITEMS, StepState, StepSummary, StepView, shown},
};

/// The position of a call within a run, so that views can group calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStep {
    /// The run.
    pub run: RunId,
    /// The step's path: its id after those of the enclosing steps (`outer/inner`, `each[3]/inner`).
    pub step: Arc<str>,
    /// Index of the `for_each` item, from 0.
    pub item: Option<u32>,
    /// The purpose of the call.
    pub purpose: Purpose,
    /// Whether the step repeats a failed call by its own `retry`. The engine then makes one attempt, so that `retry = 3` means
    /// three attempts in all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retries: bool,
}

impl RunStep {
    /// Returns the idempotency key of the step's calls, 32 hexadecimal digits: the first half of a SHA-256 hash over run, step,
    /// item and purpose. It is the same for every attempt, also after the process was killed and the run resumed, so that a
    /// server that knows the key does the work once.
    pub fn idempotency_key(&self) -> String {
        let mut hash = Sha256::new();
        let item = self.item.map(|item| item.to_string()).unwrap_or_default();
        // No part contains a line feed, so different parts are different texts.
        hash.update(format!("{}\n{}\n{item}\n{}", self.run, self.step, self.purpose.word()));
        hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The purpose of a step's call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The step itself.
    Step,
    /// A fallback after the step failed.
    Fallback,
    /// Compensation of the step.
    Compensation,
}

impl Purpose {
    /// Returns the name for users.
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Step => "step",
            Purpose::Fallback => "fallback",
            Purpose::Compensation => "compensation",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idempotency_keys_differ_by_run_step_item_and_purpose() {
        let step = |run: u128, step: &str, item, purpose| RunStep {
            run: RunId::new(1_700_000_000_000, run),
            step: step.into(),
            item,
            purpose,
            retries: false,
        };
        let first = step(1, "a/b", Some(1), Purpose::Step);
        let others = [
            step(2, "a/b", Some(1), Purpose::Step),
            step(1, "a/c", Some(1), Purpose::Step),
            step(1, "a/b", Some(11), Purpose::Step),
            step(1, "a/b", None, Purpose::Step),
            step(1, "a/b", Some(1), Purpose::Compensation),
        ];
        assert_eq!(first.idempotency_key(), first.clone().idempotency_key());
        assert_eq!(first.idempotency_key().len(), 32);
        assert!(others.iter().all(|other| other.idempotency_key() != first.idempotency_key()));
    }
}
