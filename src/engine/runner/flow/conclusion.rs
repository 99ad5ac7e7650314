//! The end of a flow: its outcome, the reason and what was not undone.

use std::sync::{Arc, atomic::Ordering};

use super::{CompensationLog, Flow, FlowEnd};
use crate::{
    domain::{
        run::{RunOutcome, StepError, StepErrorKind},
        time::short,
        workflow::{
            expression::{Data, RunFailure},
            plan::{Action, OnError, Phase},
            schedule::{Halt, Schedule},
        },
    },
    engine::runner::step_state::{StepEntry, label},
};

/// The outcome of a flow, before and after its later phases.
pub(super) struct Verdict {
    pub outcome: RunOutcome,
    /// The reason, unless the outcome is ok.
    pub why: Option<String>,
    /// The failure, for the expressions of later phases.
    pub failure: Option<RunFailure>,
    output: Option<Data>,
}

impl Flow<'_> {
    /// Returns the result of the flow.
    pub(super) fn end(&self, verdict: Verdict, log: CompensationLog) -> FlowEnd {
        let entries = self.entries.lock();
        let steps = self.plan.steps.iter().zip(entries.iter()).map(|(step, entry)| (step.id.clone(), Arc::new(entry.view.clone())));
        let Verdict { outcome, why, output, .. } = verdict;
        FlowEnd { outcome, why, steps: steps.collect(), output, not_compensated: log.not_done }
    }

    /// Returns the result of a flow that cannot start.
    pub(super) fn not_started(&self, error: StepError) -> FlowEnd {
        let outcome = match error.kind {
            StepErrorKind::Timeout => RunOutcome::TimedOut,
            StepErrorKind::Refused => RunOutcome::Cancelled,
            _ => RunOutcome::Failed,
        };
        let verdict = Verdict { outcome, why: Some(error.message), failure: None, output: None };
        self.end(verdict, CompensationLog::default())
    }

    /// Returns the outcome of the steps and their compensation, and completes the log with what was not compensated.
    pub(super) fn conclude(&self, schedule: &Schedule, log: &mut CompensationLog, output: Option<Result<Data, StepError>>) -> Verdict {
        let timed_out = self.timed_out.load(Ordering::Relaxed);
        let halted = schedule.halted();
        let mut entries = self.entries.lock();
        // A step whose fallback could be undone, but which answered itself.
        let has_nothing_to_undo = |step: usize, item: Option<u32>, entries: &[StepEntry]| {
            let planned = &self.plan.steps[step];
            let own = planned.compensate.is_some() || matches!(planned.action, Action::Workflow { .. });
            !own && entries[step].response(item).is_some_and(|response| response.answered_by().is_none())
        };
        let first = self.first_failure(&entries);
        let unwritable = self.unwritable.lock().take();
        let mut why = match (halted, &first) {
            (Some(Halt::Cancelled), _) => Some(self.forward.why()),
            _ if unwritable.is_some() => unwritable.map(|error| error.message),
            _ if matches!(output, Some(Err(_))) => None,
            _ if timed_out => Some(format!("its time was up{}", self.limit_words())),
            (Some(Halt::Failed), Some((step, error))) => Some(format!("step `{}`: {}", self.plan.steps[*step].id, error.message)),
            (Some(Halt::Failed), None) => self.first_cancelled(&entries),
            (None, _) => None,
        };
        for (step, item) in schedule.pending_compensations() {
            let why = match halted {
                None => continue,
                _ if has_nothing_to_undo(*step, *item, &entries) => continue,
                Some(Halt::Cancelled) if !schedule.is_compensating() => "the run was cancelled",
                Some(_) if self.run.signals.compensation.is_raised() => "the compensation was cancelled",
                Some(_) => "the run failed where on_error = \"fail\"",
            };
            log.effects_remain = true;
            log.not_done.push((label(&self.plan.steps[*step].id, *item), why.to_owned()));
        }
        for (step, entry) in entries.iter_mut().enumerate() {
            let planned = &self.plan.steps[step];
            let undoable = planned.is_undoable() || matches!(planned.action, Action::Workflow { .. });
            if undoable && halted.is_some() {
                log.effects_remain |= !entry.doubts.is_empty();
                log.not_done.extend(entry.doubts.iter().map(|(item, why)| (label(&planned.id, *item), why.clone())));
            }
            if !self.undoing
                && planned.phase == Phase::Main
                && entry.never_ended(halted.is_some(), self.run.bus().now(), &self.forward.why())
            {
                self.run.publish_step(&self.paths[step], entry.view.clone());
            }
        }
        let refused = first.as_ref().is_some_and(|(_, error)| error.kind == StepErrorKind::Refused);
        // The run as a whole also compensated what its nested workflows undid when they failed.
        let compensated = !log.done.is_empty() || (self.depth == 0 && self.run.has_compensated());
        let main = entries.iter().zip(&self.plan.steps).filter(|(_, planned)| planned.phase == Phase::Main);
        let has_failure = main.into_iter().any(|(entry, _)| entry.error.is_some() || entry.failed_items > 0);
        let outcome = match halted {
            _ if log.failed => RunOutcome::CompensationFailed,
            Some(Halt::Cancelled) => RunOutcome::Cancelled,
            _ if timed_out => RunOutcome::TimedOut,
            // `Compensated` only if no effects remain.
            Some(Halt::Failed) if log.effects_remain && (schedule.is_compensating() || compensated) => RunOutcome::CompensationFailed,
            Some(Halt::Failed) if refused => RunOutcome::Refused,
            Some(Halt::Failed) if compensated => RunOutcome::Compensated,
            Some(Halt::Failed) => RunOutcome::Failed,
            None if has_failure => RunOutcome::Partial,
            None => RunOutcome::Ok,
        };
        drop(entries);
        let output = match output {
            Some(Ok(data)) => Some(data),
            Some(Err(error)) => {
                why = Some(format!("output: {}", error.message));
                None
            }
            None => None,
        };
        let failure = why.clone().map(|message| match first {
            Some((step, error)) if !timed_out => {
                RunFailure { step: self.plan.steps[step].id.to_string(), kind: error.kind.key().to_owned(), message: error.message }
            }
            _ => RunFailure { step: String::new(), kind: outcome.key().to_owned(), message },
        });
        Verdict { outcome, why, failure, output }
    }

    fn limit_words(&self) -> String {
        self.limit.map(|limit| format!(" ({})", short(limit))).unwrap_or_default()
    }

    /// Returns the failure that ended the run: the first one of a step whose failure counts.
    fn first_failure(&self, entries: &[StepEntry]) -> Option<(usize, StepError)> {
        let counts = |(step, _): &(usize, &StepEntry)| {
            let planned = &self.plan.steps[*step];
            planned.phase == Phase::Main && planned.on_error != OnError::Continue
        };
        let failed = entries.iter().enumerate().filter(counts).filter(|(_, entry)| entry.error.is_some());
        failed.min_by_key(|(_, entry)| entry.view.ended).and_then(|(step, entry)| Some((step, entry.error.clone()?)))
    }

    fn first_cancelled(&self, entries: &[StepEntry]) -> Option<String> {
        let cancelled = entries.iter().enumerate().find_map(|(step, entry)| Some((step, entry.cancelled.as_ref()?)))?;
        Some(format!("step `{}` was cancelled: {}", self.plan.steps[cancelled.0].id, cancelled.1))
    }
}
