//! The steps of a run as faces show them: the structure of the plan, and the current state of each step.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::StepError;
use crate::domain::{body::Body, id::CallId, time::Stamp};

/// Bytes of arguments and of the result per step in an event or report.
pub const SHOWN_BYTES: usize = 64 << 10;

/// Number of recorded calls per step.
pub const SHOWN_CALLS: usize = 16;

/// Number of failed items per step in an event or report.
pub const SHOWN_ITEMS: usize = 100;

/// The structure of a plan, for views.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSummary {
    /// The workflow's name.
    pub name: Arc<str>,
    /// Its steps, in file order.
    pub steps: Vec<StepSummary>,
    /// Edges (needed, needing), as indices into `steps`.
    pub edges: Vec<(u32, u32)>,
}

/// A step of a plan, for views.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSummary {
    /// Its id.
    pub id: Arc<str>,
    /// The action: the tool's exposed name, `workflow NAME`, `prompt NAME`, `read URI`, `approve`, `elicit`.
    pub what: String,
    /// Whether it runs once per item.
    pub for_each: bool,
    /// Whether it has a compensating call.
    pub compensates: bool,
}

/// The state of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum StepState {
    /// A step that it needs has not ended.
    #[default]
    Pending,
    /// Started, and waiting for a user's answer or its next attempt.
    Waiting {
        /// What it waits for.
        what: String,
    },
    /// Running.
    Running,
    /// Succeeded.
    Ok,
    /// Skipped.
    Skipped {
        /// The reason.
        why: String,
    },
    /// Failed, after all attempts.
    Failed {
        /// The reason.
        error: Arc<StepError>,
    },
    /// Cancelled on request.
    Cancelled {
        /// By whom and why.
        why: String,
    },
    /// Succeeded and is being compensated.
    Compensating,
    /// Succeeded and was compensated.
    Compensated,
    /// Succeeded, but its compensation failed.
    CompensationFailed {
        /// The reason.
        error: Arc<StepError>,
    },
}

impl StepState {
    /// Returns the name for users and programs.
    pub fn word(&self) -> &'static str {
        match self {
            StepState::Pending => "pending",
            StepState::Waiting { .. } => "waiting",
            StepState::Running => "running",
            StepState::Ok => "ok",
            StepState::Skipped { .. } => "skipped",
            StepState::Failed { .. } => "failed",
            StepState::Cancelled { .. } => "cancelled",
            StepState::Compensating => "compensating",
            StepState::Compensated => "compensated",
            StepState::CompensationFailed { .. } => "compensation failed",
        }
    }

    /// Returns whether any part of the step is active.
    pub fn active(&self) -> bool {
        matches!(self, StepState::Waiting { .. } | StepState::Running | StepState::Compensating)
    }

    /// Returns the reason for the state, if there is one.
    pub fn why(&self) -> Option<&str> {
        match self {
            StepState::Waiting { what } => Some(what),
            StepState::Skipped { why } | StepState::Cancelled { why } => Some(why),
            StepState::Failed { error } | StepState::CompensationFailed { error } => Some(&error.message),
            _ => None,
        }
    }
}

/// Progress of the items of a `for_each` step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Items {
    /// Total number.
    pub total: u32,
    /// Ended items, successful or not.
    pub done: u32,
    /// Failed items among them.
    pub failed: u32,
}

/// The current state of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepView {
    /// Its state.
    #[serde(flatten)]
    pub state: StepState,
    /// Start time.
    pub started: Option<Stamp>,
    /// End time.
    pub ended: Option<Stamp>,
    /// Number of attempts so far, over all items.
    pub attempts: u32,
    /// Progress of its items, for `for_each`.
    pub items: Option<Items>,
    /// The evaluated arguments (of the last item), at most [`SHOWN_BYTES`]; JSON unless cut.
    pub arguments: Option<Body>,
    /// The result, at most [`SHOWN_BYTES`]; JSON unless cut.
    pub result: Option<Body>,
    /// Whether arguments or result were cut.
    pub cut: bool,
    /// The fallback that provided the result after the step failed.
    pub fallback: Option<String>,
    /// Its last calls, at most [`SHOWN_CALLS`].
    pub calls: Vec<CallId>,
    /// The first items that failed, at most [`SHOWN_ITEMS`]. Set when the step has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_items: Vec<FailedItem>,
}

/// An item of a `for_each` step that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedItem {
    /// Its index, from 0.
    pub item: u32,
    /// Why it failed.
    pub error: Arc<StepError>,
}

impl StepView {
    /// Returns the duration, up to `now` if the step has not ended.
    pub fn took(&self, now: Stamp) -> Option<Duration> {
        Some(self.ended.unwrap_or(now).since(self.started?))
    }

    /// Returns the approximate size of its texts, in bytes.
    pub fn weight(&self) -> usize {
        size_of::<StepView>() + [&self.arguments, &self.result].into_iter().flatten().map(Body::len).sum::<usize>()
    }

    /// Returns whether the result was restored from the journal instead of running the step.
    pub fn from_before(&self) -> bool {
        matches!(self.state, StepState::Ok) && self.started.is_none()
    }
}

/// Returns the first bytes of `body`, and whether there are more.
pub fn shown(body: &Body) -> (Body, bool) {
    if body.len() <= SHOWN_BYTES {
        return (body.clone(), false);
    }
    let text = body.text();
    let mut end = SHOWN_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (Body::from(&text[..end]), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_bodies_are_cut_between_characters() {
        let long = Body::from("é".repeat(SHOWN_BYTES));
        let (cut, more) = shown(&long);
        assert!(more && cut.len() <= SHOWN_BYTES && cut.text().chars().all(|c| c == 'é'));
        assert!(!shown(&Body::from("{}")).1);
    }
}
