//! Restores a flow from the journal of an interrupted run.

use std::{collections::HashSet, sync::atomic::Ordering};

use super::{CompensationLog, Flow, end_of, nested_prefix};
use crate::{
    domain::{
        journal::StepOutcome,
        masked,
        workflow::{
            plan::{Action, Phase},
            schedule::{At, Schedule},
        },
    },
    engine::runner::{replay::ReplayEntry, step_state::label},
};

impl Flow<'_> {
    /// Restores which steps of a later phase ended. Their results were restored with those of the main steps.
    pub(super) fn restore_phase(&self, phase: Phase, schedule: &mut Schedule) {
        let recomputed = self.recomputed();
        for entry in self.run.replay.entries(&self.prefix) {
            let (id, item, end) = match entry {
                ReplayEntry::Item { id, .. } | ReplayEntry::Step { id, .. } if recomputed.contains(id.as_str()) => continue,
                ReplayEntry::Item { id, item, end } => (id, Some(*item), end),
                ReplayEntry::Step { id, end } => (id, None, end),
                ReplayEntry::GivenUp { .. } | ReplayEntry::Undone { .. } => continue,
            };
            let Some(step) = self.plan.index(id).filter(|step| self.plan.steps[*step].phase == phase) else { continue };
            match item {
                Some(item) => schedule.restore_item(step, item, end_of(end.outcome)),
                None => schedule.restore(step, at_of(end.outcome)),
            }
        }
    }

    /// Returns the steps with computed values that the journal masks. They are computed again.
    fn recomputed(&self) -> HashSet<&str> {
        let masked = self.run.replay.entries(&self.prefix).iter().filter_map(|entry| match entry {
            ReplayEntry::Item { id, end, .. } | ReplayEntry::Step { id, end } if masked::in_record(end) => Some(id.as_str()),
            _ => None,
        });
        masked.filter(|id| self.plan.step(id).is_some_and(|step| matches!(step.action, Action::Let { .. }))).collect()
    }

    /// Restores the state of an interrupted run.
    pub(super) fn restore(&self, schedule: &mut Schedule, log: &mut CompensationLog) {
        let recorded = self.run.nested.entries(&self.prefix);
        let recomputed = self.recomputed();
        for entry in self.run.replay.entries(&self.prefix).iter().chain(&recorded) {
            match entry {
                ReplayEntry::Item { id, .. } | ReplayEntry::Step { id, .. } if recomputed.contains(id.as_str()) => {}
                ReplayEntry::GivenUp { time_up, undo, why } => {
                    self.timed_out.store(*time_up, Ordering::Relaxed);
                    if *time_up {
                        schedule.fail(*undo)
                    } else {
                        schedule.cancel()
                    }
                    self.forward.raise(why);
                }
                ReplayEntry::Item { id, item, end } => {
                    let Some(step) = self.plan.index(id) else { continue };
                    self.entries.lock()[step].restore_item(*item, end);
                    if self.compensates_in_doubt(step, end.error.as_ref()) {
                        schedule.compensate_in_doubt(step, Some(*item));
                    }
                    schedule.restore_item(step, *item, end_of(end.outcome));
                }
                ReplayEntry::Step { id, end } => {
                    let Some(step) = self.plan.index(id) else { continue };
                    if !self.plan.steps[step].has_items() && self.compensates_in_doubt(step, end.error.as_ref()) {
                        schedule.compensate_in_doubt(step, None);
                    }
                    schedule.restore(step, at_of(end.outcome));
                    let each = self.plan.steps[step].has_items();
                    let (step_end, view) = self.entries.lock()[step].restore(end, each);
                    self.scope.settle(step, step_end);
                    if let Some(shown) = self.run.nested.view(&self.paths[step]) {
                        // The view of this process says more than the record.
                        self.entries.lock()[step].view = shown;
                    } else {
                        self.run.publish_step(&self.paths[step], view);
                    }
                }
                ReplayEntry::Undone { id, item, error } => {
                    let Some(step) = self.plan.index(id) else { continue };
                    schedule.restore_compensated(step, *item);
                    let result = error.clone().map_or(Ok(()), Err);
                    log.record(label(id, *item), &result);
                    self.entries.lock()[step].settle_doubt(*item);
                    match self.plan.steps[step].action {
                        Action::Workflow { .. } => self.record_nested_compensations(&nested_prefix(&self.paths[step], *item)),
                        _ => self.run.record_compensated(&self.paths[step], *item, &result),
                    }
                    self.show_compensation(step, &result, schedule);
                }
            }
        }
    }
}

fn at_of(outcome: StepOutcome) -> At {
    match outcome {
        StepOutcome::Skipped => At::Skipped,
        other => At::Ended(end_of(other)),
    }
}
