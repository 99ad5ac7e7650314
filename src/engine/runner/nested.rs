//! What nested workflows did, in memory until the run ends, so that a later failure of the run can undo it.
//!
//! The journal has the same entries, but with secrets masked, and a run may have no journal.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::{replay::ReplayEntry, step::MAX_RESULT};
use crate::domain::{
    journal::RunEntry,
    run::StepView,
    workflow::plan::{Action, Plan, PlanStep},
};

/// The settled steps of nested workflows. Empty in runs whose nested workflows have nothing to undo.
pub struct Nested(Option<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    /// By path prefix, in order.
    entries: HashMap<String, Vec<ReplayEntry>>,
    /// By path.
    views: HashMap<Arc<str>, StepView>,
    /// Size of the results, in bytes.
    size: usize,
}

impl Nested {
    /// Creates the record for runs of a plan.
    pub fn of(plan: &Plan) -> Nested {
        let nested = |step: &PlanStep| matches!(step.action, Action::Workflow { .. }) && step.is_undoable();
        Nested(plan.steps.iter().any(nested).then(Mutex::default))
    }

    /// Records an entry if it belongs to a nested workflow.
    pub fn record(&self, entry: &RunEntry) {
        let Some(recorded) = &self.0 else { return };
        let Some((prefix, settled)) = ReplayEntry::of(entry).filter(|(prefix, _)| !prefix.is_empty()) else { return };
        let mut recorded = recorded.lock();
        recorded.size += settled.size();
        if recorded.size <= MAX_RESULT {
            recorded.entries.entry(prefix.to_owned()).or_default().push(settled);
        } else {
            *recorded = Recorded { size: recorded.size, ..Recorded::default() };
        }
    }

    /// Records the view of a step if it belongs to a nested workflow.
    pub fn show(&self, path: &Arc<str>, view: &StepView) {
        if let Some(recorded) = &self.0
            && path.contains('/')
            && !self.is_full()
        {
            recorded.lock().views.insert(path.clone(), view.clone());
        }
    }

    /// Returns the recorded parts of the flow with this path prefix, in order.
    pub fn entries(&self, prefix: &str) -> Vec<ReplayEntry> {
        self.0.as_ref().and_then(|recorded| recorded.lock().entries.get(prefix).cloned()).unwrap_or_default()
    }

    /// Returns the last view of a step.
    pub fn view(&self, path: &Arc<str>) -> Option<StepView> {
        self.0.as_ref()?.lock().views.get(path).cloned()
    }

    /// Returns whether the results were too large to be stored.
    pub fn is_full(&self) -> bool {
        self.0.as_ref().is_some_and(|recorded| recorded.lock().size > MAX_RESULT)
    }
}
