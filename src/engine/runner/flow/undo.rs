//! Undoing: the compensation of a flow, also of what the workflows of its steps did.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{Ended, Flow, FlowEnd, Frame, nested_prefix};
use crate::{
    domain::{
        journal::RunEntry,
        run::{StepError, StepErrorKind, StepState},
        workflow::{
            expression::Scope,
            input_values,
            plan::{Action, Compensate, Fallback, Phase, Plan, WhenInDoubt},
            schedule::Schedule,
        },
    },
    engine::runner::{
        Run, cancellation::Signal, compensation::Compensation, replay::ReplayEntry, step::MAX_RESULT, step_state::is_in_doubt,
    },
};

/// Why a step or item is not undone.
pub(super) enum NotUndone {
    /// What answered has nothing to undo.
    Nothing,
    /// For this reason; whether effects may remain.
    Because { why: String, effects_remain: bool },
}

/// Undoes what a flow did that has succeeded. Boxed as `run`.
pub fn undo<'a>(run: &'a Run, plan: &'a Plan, frame: Frame) -> BoxFuture<'a, FlowEnd> {
    Box::pin(async move {
        let flow = Flow { undoing: true, ..Flow::new(run, plan, frame) };
        let mut schedule = Schedule::of(plan, Phase::Main, true, 1);
        let mut log = CompensationLog::default();
        flow.restore(&mut schedule, &mut log);
        schedule.fail(true);
        flow.drive(&mut schedule, &mut log, Phase::Main).await;
        let verdict = flow.conclude(&schedule, &mut log, None);
        flow.end(verdict, log)
    })
}

/// The progress of compensation.
#[derive(Default)]
pub(super) struct CompensationLog {
    pub done: Vec<String>,
    pub not_done: Vec<(String, String)>,
    /// Whether a compensation failed.
    pub failed: bool,
    /// Whether effects remain, or may remain.
    pub effects_remain: bool,
}

impl CompensationLog {
    pub fn record(&mut self, label: String, result: &Result<(), StepError>) {
        match result {
            Ok(()) => self.done.push(label),
            Err(error) => {
                self.failed = true;
                self.effects_remain = true;
                self.not_done.push((label, error.message.clone()));
            }
        }
    }
}

impl<'a> Flow<'a> {
    /// Records what an earlier process compensated in the workflow with this path prefix.
    pub(super) fn record_nested_compensations(&self, prefix: &str) {
        for entry in self.run.replay.entries(prefix) {
            let ReplayEntry::Undone { id, item, error: None } = entry else { continue };
            let path = format!("{prefix}{id}");
            let within = nested_prefix(&path, *item);
            match self.run.replay.entries(&within).is_empty() {
                true => self.run.record_compensated(&path, *item, &Ok(())),
                false => self.record_nested_compensations(&within),
            }
        }
    }

    /// Returns whether a step that ended with this error is compensated because it may have taken effect.
    pub(super) fn compensates_in_doubt(&self, step: usize, error: Option<&StepError>) -> bool {
        let call = self.plan.steps[step].compensate.as_ref();
        call.is_some_and(|call| call.when_in_doubt == WhenInDoubt::Compensate) && error.is_some_and(is_in_doubt)
    }

    /// Returns the call that undoes a step or item: that of the fallback that answered, else the step's own.
    pub(super) fn compensation(&self, step: usize, item: Option<u32>) -> Option<&Compensate> {
        let planned = &self.plan.steps[step];
        let answered_by = self.entries.lock()[step].response(item).and_then(|response| response.answered_by());
        match answered_by.and_then(|index| planned.fallback.get(usize::try_from(index).ok()?)) {
            Some(Fallback::Tool { compensate, .. }) => compensate.as_ref(),
            _ => planned.compensate.as_ref(),
        }
    }

    /// Returns the call that undoes a step or item, with its scope, and whether an attempt before the fallback that answered may
    /// have taken effect.
    pub(super) fn compensation_scope(&self, step: usize, item: Option<u32>) -> Result<(&Compensate, Scope, bool), NotUndone> {
        let because = |why: &str, effects_remain| NotUndone::Because { why: why.to_owned(), effects_remain };
        let planned = &self.plan.steps[step];
        let response = self.entries.lock()[step].response(item);
        let scope = || item.map_or_else(|| self.scope.clone(), |item| self.with_item(step, item));
        let Some(response) = response else {
            return match &planned.compensate {
                Some(call) if call.when_in_doubt == WhenInDoubt::Compensate => Ok((call, scope(), false)),
                _ => Err(because("its result is unknown", true)),
            };
        };
        if response.nothing_done() && response.in_doubt() {
            return Err(because("a fallback value replaced its result after the call failed and may have taken effect", true));
        }
        if response.nothing_done() {
            return Err(because("a fallback value replaced its result, so there is nothing to undo", false));
        }
        let by_fallback = response.answered_by().is_some();
        let Some(call) = self.compensation(step, item) else {
            return Err(match by_fallback && planned.compensate.is_some() {
                true => because("a fallback answered that has no `compensate`", true),
                false => NotUndone::Nothing,
            });
        };
        Ok((call, scope().with_result(response.result.clone(), response.text()), by_fallback && response.in_doubt()))
    }

    pub(super) async fn compensate(&self, step: usize, item: Option<u32>, call: &Compensate, scope: Scope) -> Ended {
        let compensation = Compensation { flow: self, step, item, call, scope, signal: self.run.signals.compensation.clone() };
        Ended::Undone(step, item, compensation.run().await)
    }

    /// Undoes the steps of a step's workflow, which ran in this process or in one before.
    pub(super) async fn undo_workflow(&self, step: usize, item: Option<u32>) -> Ended {
        let (end, not_undone) = match self.nested_frame(step, item) {
            Ok((plan, frame)) => {
                let end = undo(self.run, plan, frame).await;
                let left = end.not_compensated;
                let error = left.first().map(|(inner, why)| StepError::new(StepErrorKind::Workflow, format!("{inner}: {why}")));
                (error.map_or(Ok(()), Err), left)
            }
            Err(error) => (Err(error), vec![]),
        };
        let error = end.as_ref().err().cloned();
        self.run.queue(RunEntry::Undone { step: self.paths[step].clone(), item, error });
        Ended::UndoneWorkflow(step, item, end, not_undone)
    }

    /// Returns the workflow of a step and the frame in which it is undone.
    fn nested_frame(&self, step: usize, item: Option<u32>) -> Result<(&'a Plan, Frame), StepError> {
        let Action::Workflow { plan, input } = &self.plan.steps[step].action else {
            return Err(StepError::new(StepErrorKind::Workflow, "the step has no compensating call"));
        };
        if self.run.nested.is_full() {
            let most = crate::domain::time::size(MAX_RESULT as u64);
            let why = format!("the results of the nested workflows exceed {most}, so what they did is not undone");
            return Err(StepError::new(StepErrorKind::Limit, why));
        }
        let scope = item.map_or_else(|| self.scope.clone(), |item| self.with_item(step, item));
        let given = input.eval(&scope).map_err(|error| self.unevaluated(&error))?;
        let input = input_values::prepare(&plan.input, &given)
            .map_err(|wrong| StepError::new(StepErrorKind::Expectation, format!("the input does not fit {}: {}", plan.name, wrong[0])))?;
        let prefix = nested_prefix(&self.paths[step], item);
        Ok((
            plan,
            Frame { prefix, depth: self.depth + 1, input, signal: Signal::default(), deadline: None, compensates: true, parent: None },
        ))
    }

    /// Updates the view of a step after a compensation; a step with items is compensated with its last item.
    pub(super) fn show_compensation(&self, step: usize, result: &Result<(), StepError>, schedule: &Schedule) {
        let more = schedule.pending_compensations().iter().any(|(other, _)| *other == step);
        self.update_view(step, None, |view| match (result, &view.state) {
            (Err(error), _) => view.state = StepState::CompensationFailed { error: Arc::new(error.clone()) },
            (Ok(()), StepState::CompensationFailed { .. }) => {}
            (Ok(()), _) => view.state = if more { StepState::Compensating } else { StepState::Compensated },
        });
    }
}
