//! The phases after the steps and their compensation: `on_failure`, then `finally`.
//!
//! Both run with the signal of the compensation, so that the first cancellation of a run does not end them and the second
//! does. The deadline of the run does not apply to them.

use super::{CompensationLog, Flow, conclusion::Verdict};
use crate::domain::{
    run::{RunOutcome, StepState},
    workflow::{
        expression::StepEnd,
        plan::{OnError, Phase},
        schedule::Schedule,
    },
};

impl Flow<'_> {
    /// Runs the steps of the later phases, and adds their failures to the outcome.
    pub(super) async fn later_phases(&self, verdict: &mut Verdict, log: &mut CompensationLog) {
        if self.plan.steps.iter().all(|step| step.phase == Phase::Main) || self.run.signals.is_interrupted() {
            return;
        }
        self.settle_unfinished();
        self.scope.end(verdict.outcome.key(), verdict.failure.clone());
        for phase in [Phase::OnFailure, Phase::Finally] {
            if phase == Phase::OnFailure && !is_failure(verdict.outcome) {
                self.skip_phase(phase);
                continue;
            }
            if self.run.signals.is_interrupted() {
                return;
            }
            let mut schedule = Schedule::of(self.plan, phase, false, self.max_parallel);
            self.restore_phase(phase, &mut schedule);
            self.drive(&mut schedule, log, phase).await;
            self.end_phase(phase);
            self.add_failures(phase, verdict);
        }
    }

    /// Gives the main steps that never ended an outcome for expressions.
    fn settle_unfinished(&self) {
        let entries = self.entries.lock();
        let unfinished = (0..self.plan.steps.len()).filter(|step| self.plan.steps[*step].phase == Phase::Main);
        for step in unfinished.filter(|step| !self.scope.settled(*step)) {
            let cancelled = matches!(entries[step].view.state, StepState::Cancelled { .. });
            let outcome = if cancelled { "cancelled" } else { "skipped" };
            self.scope.settle(step, StepEnd { outcome, ..StepEnd::default() });
        }
    }

    /// Skips the steps of a phase.
    fn skip_phase(&self, phase: Phase) {
        for (step, _) in self.plan.steps.iter().enumerate().filter(|(_, planned)| planned.phase == phase) {
            self.update_view(step, None, |view| view.state = StepState::Skipped { why: "the run did not fail".to_owned() });
            self.scope.settle(step, StepEnd { outcome: "skipped", ..StepEnd::default() });
        }
    }

    /// Ends the steps of a phase that never ended because it was cancelled.
    fn end_phase(&self, phase: Phase) {
        let why = self.run.signals.compensation.why();
        let now = self.run.bus().now();
        let mut entries = self.entries.lock();
        for (step, _) in self.plan.steps.iter().enumerate().filter(|(_, planned)| planned.phase == phase) {
            if entries[step].never_ended(self.run.signals.compensation.is_raised(), now, &why) {
                self.run.publish_step(&self.paths[step], entries[step].view.clone());
                self.scope.settle(step, StepEnd { outcome: "cancelled", ..StepEnd::default() });
            }
        }
    }

    /// A failed step of a later phase fails a run that succeeded; with `continue` the run is partial.
    fn add_failures(&self, phase: Phase, verdict: &mut Verdict) {
        let entries = self.entries.lock();
        for (planned, entry) in self.plan.steps.iter().zip(entries.iter()).filter(|(planned, _)| planned.phase == phase) {
            let Some(error) = &entry.error else { continue };
            match (verdict.outcome, planned.on_error) {
                (RunOutcome::Ok | RunOutcome::Partial, OnError::Continue) => verdict.outcome = RunOutcome::Partial,
                (RunOutcome::Ok | RunOutcome::Partial, _) => {
                    verdict.outcome = RunOutcome::Failed;
                    verdict.why = Some(format!("step `{}` of `{}`: {}", planned.id, phase.key(), error.message));
                }
                _ => {}
            }
        }
    }
}

/// Returns whether `on_failure` applies to an outcome. A cancelled run has not failed.
fn is_failure(outcome: RunOutcome) -> bool {
    !matches!(outcome, RunOutcome::Ok | RunOutcome::Partial | RunOutcome::Cancelled)
}
