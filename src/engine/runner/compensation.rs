//! Undoing a step, or an item of it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{
    cancellation::Signal,
    flow::Flow,
    replay::Decision,
    step::{Calling, Limits, Try, given_up},
    target,
};
use crate::domain::{
    call::Operation,
    journal::{Place, RunEntry},
    run::{Purpose, RunStep, StepError, StepErrorKind},
    workflow::expression::Scope,
};

/// How often undoing is tried.
const ATTEMPTS: u32 = 3;

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Undoes one step or item.
pub struct Undoer<'a> {
    /// The flow that it is of.
    pub flow: &'a Flow<'a>,
    /// Its position in the plan.
    pub step: usize,
    /// Which item.
    pub item: Option<u32>,
    /// What the compensation's expressions see.
    pub scope: Scope,
    /// Given up by this.
    pub signal: Signal,
}

impl Undoer<'_> {
    /// Does it, and writes down how it went.
    pub async fn work(&self) -> Result<(), StepError> {
        let step = self.flow.paths[self.step].clone();
        let done = self.attempts(&Place { step: step.clone(), item: self.item, purpose: Purpose::Compensation }).await;
        let entry = RunEntry::Undone { step, item: self.item, error: done.as_ref().err().cloned() };
        self.flow.run.note(entry);
        done
    }

    async fn attempts(&self, place: &Place) -> Result<(), StepError> {
        if let Some(Decision::Done(_)) = self.flow.run.memory.decisions.get(place) {
            return Ok(());
        }
        let mut attempt = 1;
        loop {
            match self.attempt(place, attempt).await {
                Ok(()) => return Ok(()),
                Err(Try::Failed(error, repeatable)) if attempt < ATTEMPTS && (repeatable || !error.may_have_run) && passing(&error) => {
                    let told = Some(self.flow.masked(&error));
                    let entry = RunEntry::Attempted { place: place.clone(), attempt, exhausted: None, error: told };
                    // A journal that fails must not keep things from being undone.
                    let _ = self.flow.run.write(entry).await;
                    tokio::select! {
                        biased;
                        () = self.signal.raised() => return Err(error),
                        () = sleep(PAUSE * attempt) => {}
                    }
                    attempt += 1;
                }
                Err(Try::Failed(error, _)) => return Err(error),
                Err(Try::Cancelled(error)) => return Err(StepError { message: format!("given up: {}", error.message), ..error }),
                Err(Try::Done(_)) => return Ok(()),
            }
        }
    }

    async fn attempt(&self, place: &Place, attempt: u32) -> Result<(), Try> {
        let flow = self.flow;
        let Some(call) = &flow.plan.steps[self.step].compensate else { return Ok(()) };
        let arguments = call.arguments.eval(&self.scope).map_err(|error| Try::Failed(flow.unevaluated(&error), false))?.body();
        let limits = Limits { signal: self.signal.clone(), deadline: flow.timeout(self.step).map(|limit| Instant::now() + limit) };
        let target = tokio::select! {
            biased;
            () = self.signal.raised() => return Err(Try::Cancelled(given_up(self.signal.why(), false))),
            target = target::tool(flow.run, &call.tool) => target.map_err(|error| Try::Failed(error, true))?,
        };
        let entry = RunEntry::Sending { place: place.clone(), attempt, what: call.tool.to_string(), arguments: flow.shown(&arguments).0 };
        // A journal that fails must not keep things from being undone.
        let _ = flow.run.write(entry).await;
        let run_step = RunStep { run: flow.run.id, step: place.step.clone(), item: self.item, purpose: Purpose::Compensation };
        let calling = Calling { run: flow.run, flow, step: self.step, place: run_step, item: self.item };
        let made = calling.make(Operation::Tool { tool: target.tool, arguments }, &limits).await;
        made.map(|_| ()).map_err(|tried| match tried {
            Try::Failed(error, _) => Try::Failed(error, target.repeatable),
            other => other,
        })
    }
}

/// Whether another try may well go better.
fn passing(error: &StepError) -> bool {
    !matches!(error.kind, StepErrorKind::ToolError | StepErrorKind::Expression)
}
