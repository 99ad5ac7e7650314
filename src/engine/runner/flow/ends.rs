//! Executes a step or item, and records its end: in its entry, the journal, the schedule and the events.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use super::{CompensationLog, Ended, Flow};
use crate::{
    domain::{
        journal::{RunEntry, StepOutcome, StepRecord},
        run::{StepError, StepErrorKind},
        time::size,
        workflow::{
            expression::Scope,
            schedule::{At, End, Schedule},
        },
    },
    engine::runner::{
        step::{MAX_RESULT, StepExecution, StepResult},
        step_state::label,
    },
};

impl Flow<'_> {
    pub(super) async fn execute_step(&self, step: usize, item: Option<u32>, scope: Scope) -> Ended {
        let began = Instant::now();
        let execution = StepExecution { flow: self, step, item, scope, signal: self.signals[step].clone() };
        let mut result = match execution.pause(item).await {
            Ok(()) => execution.execute().await,
            Err(cancelled) => StepResult::Cancelled(cancelled),
        };
        if self.timed_out.load(Ordering::Relaxed)
            && let StepResult::Cancelled(error) = result
        {
            result = StepResult::Failed(StepError { kind: StepErrorKind::Timeout, ..error });
        }
        if let StepResult::Done(answered) = &result
            && self.entries.lock()[step].bytes + answered.json.len() > MAX_RESULT
        {
            let most = size(MAX_RESULT as u64);
            let error = StepError::new(StepErrorKind::Limit, format!("the results of the items exceed {most} in total"));
            result = StepResult::Failed(StepError { may_have_run: true, ..error });
        }
        let end = record(&result, began.elapsed());
        let path = self.paths[step].clone();
        let entry = match item {
            Some(item) => RunEntry::ItemEnded { step: path, item, end },
            None => RunEntry::StepEnded { step: path, end },
        };
        self.run.queue(entry);
        Ended::Step(step, item, result)
    }

    pub(super) fn ended(&self, ended: Ended, schedule: &mut Schedule, log: &mut CompensationLog) {
        match ended {
            Ended::Step(step, item, result) => {
                let end = match &result {
                    StepResult::Done(_) => End::Ok,
                    StepResult::Failed(_) => End::Failed,
                    StepResult::Cancelled(_) => End::Cancelled,
                };
                let doubtful = match &result {
                    StepResult::Failed(error) | StepResult::Cancelled(error) => self.compensates_in_doubt(step, Some(error)),
                    StepResult::Done(_) => false,
                };
                if doubtful {
                    schedule.compensate_in_doubt(step, item);
                }
                let keeps_text = self.plan.steps[step].is_undoable() || self.plan.steps[step].repeat.is_some();
                let changed = self.entries.lock()[step].record(item, result, keeps_text);
                if end == End::Ok {
                    self.continue_rounds(step, item, schedule);
                }
                schedule.settle(step, item, end);
                if changed {
                    self.update_view(step, None, |_| {});
                }
                self.finish(step, schedule);
            }
            Ended::Undone(step, item, result) => {
                log.record(label(&self.plan.steps[step].id, item), &result);
                self.entries.lock()[step].settle_doubt(item);
                self.run.record_compensated(&self.paths[step], item, &result);
                schedule.compensation_ended(step, item);
                self.show_compensation(step, &result, schedule);
            }
            Ended::UndoneWorkflow(step, item, result, not_undone) => {
                let label = label(&self.plan.steps[step].id, item);
                match not_undone.is_empty() {
                    true => log.record(label, &result),
                    false => {
                        log.failed = true;
                        log.effects_remain = true;
                        log.not_done.extend(not_undone.into_iter().map(|(inner, why)| (format!("{label}/{inner}"), why)));
                    }
                }
                schedule.compensation_ended(step, item);
                self.show_compensation(step, &result, schedule);
            }
        }
    }

    /// Publishes and journals the end of a step that the schedule reports, once.
    pub(super) fn finish(&self, step: usize, schedule: &Schedule) {
        let outcome = match schedule.at(step) {
            At::Ended(End::Ok) => StepOutcome::Ok,
            At::Ended(End::Failed) => StepOutcome::Failed,
            At::Ended(End::Cancelled) => StepOutcome::Cancelled,
            At::Skipped => StepOutcome::Skipped,
            At::Pending | At::Deciding | At::Begun => return,
        };
        let now = self.run.bus().now();
        let Some(finished) = self.entries.lock()[step].finish(outcome, now, self.signals[step].why()) else { return };
        self.scope.settle(step, finished.step_end);
        self.run.publish_step(&self.paths[step], finished.view);
        // A resumed run decides on a skipped step again; all others must be in the journal.
        if let Some(end) = finished.unwritten.filter(|_| outcome != StepOutcome::Skipped) {
            self.run.queue(RunEntry::StepEnded { step: self.paths[step].clone(), end });
        }
    }

    /// Finishes every step that ended with the schedule as a whole.
    pub(super) fn finish_ended(&self, schedule: &Schedule) {
        for step in 0..self.plan.steps.len() {
            self.finish(step, schedule);
        }
    }
}

fn record(result: &StepResult, took: Duration) -> StepRecord {
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let mut record = StepRecord { duration_ms, ..StepRecord::new(StepOutcome::Ok) };
    match result {
        StepResult::Done(answered) => {
            record.result = Some(answered.json.clone());
            record.text = Some(answered.text.clone());
            record.fallback = answered.fallback.clone();
            record.nothing_done = answered.nothing_done;
            record.in_doubt = answered.in_doubt;
            record.answered_by = answered.answered_by;
        }
        StepResult::Failed(error) => {
            record.outcome = StepOutcome::Failed;
            record.error = Some(error.clone());
        }
        StepResult::Cancelled(error) => {
            record.outcome = StepOutcome::Cancelled;
            record.error = Some(error.clone());
        }
    }
    record
}
