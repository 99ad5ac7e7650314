//! Compensation: undoes a step or an item of it, with retries, after a run failed or was cancelled.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    cancellation::Signal,
    flow::Flow,
    replay::InDoubtResolution,
    step::{Limits, StepCall, Try, cancelled, is_retried, step_fault},
    target,
};
use crate::domain::{
    call::Operation,
    journal::{Place, RunEntry},
    run::{Purpose, RunStep, StepError, StepErrorKind},
    workflow::{
        expression::{Expr, Scope},
        plan::Compensate,
    },
};

/// Maximum attempts per compensation.
const MAX_ATTEMPTS: u32 = 3;

/// Base pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// The compensation of one step or item.
pub struct Compensation<'a> {
    /// The flow of the step.
    pub flow: &'a Flow<'a>,
    /// The step's position in the plan.
    pub step: usize,
    /// The item, if the step has items.
    pub item: Option<u32>,
    /// The call that undoes it.
    pub call: &'a Compensate,
    /// The scope of the compensation's expressions.
    pub scope: Scope,
    /// Cancels the compensation.
    pub signal: Signal,
}

impl Compensation<'_> {
    /// Runs the compensation and records its result.
    pub async fn run(&self) -> Result<(), StepError> {
        let step = self.flow.paths[self.step].clone();
        let done = self.attempts(&Place { step: step.clone(), item: self.item, purpose: Purpose::Compensation }).await;
        let entry = RunEntry::Undone { step, item: self.item, error: done.as_ref().err().cloned() };
        self.flow.run.queue(entry);
        done
    }

    async fn attempts(&self, place: &Place) -> Result<(), StepError> {
        if let Some(InDoubtResolution::Done(_)) = self.flow.run.replay.resolutions.get(place) {
            return Ok(());
        }
        let mut attempt = 1;
        loop {
            match self.attempt(place, attempt).await {
                Ok(()) => return Ok(()),
                Err(Try::Failed(error, repeatable)) if (repeatable || !error.may_have_run) && self.is_retried(&error, attempt) => {
                    let masked = Some(self.flow.masked(&error));
                    let entry = RunEntry::Attempted { place: place.clone(), attempt, exhausted: None, error: masked };
                    // A broken journal must not prevent compensation.
                    let _ = self.flow.run.write(entry).await;
                    tokio::select! {
                        biased;
                        () = self.signal.raised() => return Err(error),
                        () = sleep(self.pause(attempt)) => {}
                    }
                    attempt += 1;
                }
                Err(Try::Failed(error, _)) => return Err(error),
                Err(Try::Cancelled(error)) => return Err(StepError { message: format!("cancelled: {}", error.message), ..error }),
                Err(Try::Done(_)) => return Ok(()),
            }
        }
    }

    /// Returns whether another attempt follows.
    fn is_retried(&self, error: &StepError, attempt: u32) -> bool {
        let Some(retry) = &self.call.retry else { return attempt < MAX_ATTEMPTS && is_transient(error) };
        let condition = |when: &Expr| when.test(&self.scope.with_error(step_fault(error), attempt)).unwrap_or(false);
        attempt < retry.attempts && is_retried(retry, error) && retry.when.as_ref().is_none_or(condition)
    }

    fn pause(&self, attempt: u32) -> Duration {
        self.call.retry.as_ref().map_or(PAUSE * attempt, |retry| retry.delay(attempt, fastrand::f64()))
    }

    fn limits(&self) -> Result<Limits, StepError> {
        let limit = match &self.call.timeout {
            Some(limit) => Some(limit.eval(&self.scope).map_err(|why| StepError::new(StepErrorKind::Expression, why))?),
            None => self.flow.timeout(self.step, &self.scope)?,
        };
        Ok(Limits::new(self.signal.clone(), limit))
    }

    async fn attempt(&self, place: &Place, attempt: u32) -> Result<(), Try> {
        let flow = self.flow;
        let call = self.call;
        let arguments = call.arguments.eval(&self.scope).map_err(|error| Try::Failed(flow.unevaluated(&error), false))?.body();
        let limits = self.limits().map_err(|error| Try::Failed(error, false))?;
        let target = tokio::select! {
            biased;
            () = self.signal.raised() => return Err(Try::Cancelled(cancelled(self.signal.why(), false))),
            target = target::tool(flow.run, &call.tool) => target.map_err(|error| Try::Failed(error, true))?,
        };
        let entry = RunEntry::Sending { place: place.clone(), attempt, what: call.tool.to_string(), arguments: flow.shown(&arguments).0 };
        // A broken journal must not prevent compensation.
        let _ = flow.run.write(entry).await;
        let run_step =
            RunStep { run: flow.run.id, step: place.step.clone(), item: self.item, purpose: Purpose::Compensation, retries: true };
        let step_call = StepCall { run: flow.run, flow, step: self.step, place: run_step, item: self.item };
        let outcome = step_call.send(Operation::Tool { tool: target.tool, arguments }, &limits).await;
        outcome.map(|_| ()).map_err(|failure| match failure {
            Try::Failed(error, _) => Try::Failed(error, target.repeatable || call.idempotent),
            other => other,
        })
    }
}

/// Returns whether another attempt may succeed.
fn is_transient(error: &StepError) -> bool {
    !matches!(error.kind, StepErrorKind::ToolError | StepErrorKind::Expression)
}
