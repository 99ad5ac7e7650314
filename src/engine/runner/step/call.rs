//! A call of a step: sent through the executor, cancelled when a limit is reached.

use std::time::Duration;

use super::{Expiry, Flow, Limits, Run, Try, cancelled};
use crate::domain::{
    body::Body,
    call::{CallSpec, FailureKind, Operation, Origin, Outcome},
    event::Settled,
    masked,
    run::{Purpose, RunStep, SHOWN_CALLS, StepError, StepErrorKind},
    workflow::{answer, plan::ReadAs},
};

/// Extra time to wait for a call past its limit, so that the engine reports first why it took so long.
const GRACE: Duration = Duration::from_millis(250);

/// Maximum length of a tool's error text, in characters.
const MAX_ERROR_TEXT: usize = 2_000;

/// The error of a resumed run's step, which must not send a mask to a server.
const MASKED_ARGUMENT: &str = "an argument holds a secret value that the journal does not record; start the run again";

/// A call of a step.
pub struct StepCall<'a> {
    /// The run.
    pub run: &'a Run,
    /// The flow.
    pub flow: &'a Flow<'a>,
    /// The step's position in the plan.
    pub step: usize,
    /// The step's place in the run.
    pub place: RunStep,
    /// The item, if the step has items.
    pub item: Option<u32>,
}

impl StepCall<'_> {
    /// Makes the call and returns its response.
    pub async fn send(&self, operation: Operation, limits: &Limits) -> Result<Body, Try> {
        if limits.signal.is_raised() {
            return Err(Try::Cancelled(cancelled(limits.signal.why(), false)));
        }
        if self.run.replay.masked && masked::in_operation(&operation) {
            return Err(Try::Failed(StepError::new(StepErrorKind::Journal, MASKED_ARGUMENT), false));
        }
        let spec = CallSpec { timeout: limits.left(), run: Some(self.place.clone()), ..CallSpec::new(operation, Origin::Workflow) };
        let (id, end) = self.run.executor.call(spec);
        self.flow.update_view(self.step, self.item, |view| {
            if view.calls.len() >= SHOWN_CALLS {
                view.calls.remove(0);
            }
            view.calls.push(id);
        });
        tokio::pin!(end);
        let (settled, expired) = tokio::select! {
            biased;
            settled = &mut end => (settled, None),
            expired = limits.expired(GRACE) => {
                let reason = match expired {
                    Expiry::Signal => limits.signal.why(),
                    Expiry::Late => "the step's time was up".to_owned(),
                };
                self.run.executor.cancel(id, &reason);
                (end.await, Some(expired))
            }
        };
        if let Some(settled) = &settled
            && self.place.purpose == Purpose::Step
        {
            // The first attempt was counted when the arguments were shown.
            let more = settled.attempts.saturating_sub(1);
            self.flow.update_view(self.step, self.item, |view| view.attempts += more);
        }
        let Some(settled) = settled else {
            let error = StepError::new(StepErrorKind::Call { failure: FailureKind::Transport }, "the engine ended");
            return Err(Try::Failed(StepError { may_have_run: true, ..error }, false));
        };
        of_outcome(&settled, expired, limits)
    }
}

fn of_outcome(settled: &Settled, expired: Option<Expiry>, limits: &Limits) -> Result<Body, Try> {
    match &settled.outcome {
        Outcome::Ok { result } => Ok(result.clone()),
        Outcome::ToolError { result } => {
            let text = answer::read(ReadAs::Text, result).map(|reading| reading.text).unwrap_or_default();
            let words: String = text.chars().take(MAX_ERROR_TEXT).collect();
            let words = if words.is_empty() { "the tool reported an error without text".to_owned() } else { words };
            Err(Try::Failed(StepError { may_have_run: true, ..StepError::new(StepErrorKind::ToolError, words) }, false))
        }
        Outcome::Failed { failure } => Err(Try::Failed(StepError::of_failure(failure), false)),
        // Only calls of clients end so.
        Outcome::Interim { kind, .. } => {
            let error = StepError::new(StepErrorKind::Call { failure: FailureKind::Protocol }, format!("interim result: {}", kind.words()));
            Err(Try::Failed(StepError { may_have_run: true, ..error }, false))
        }
        Outcome::Cancelled { reason } => match expired {
            Some(Expiry::Late) => {
                let error = StepError::new(StepErrorKind::Timeout, "not answered within the step's time");
                Err(Try::Failed(StepError { may_have_run: settled.timings.sent.is_some(), ..error }, false))
            }
            Some(Expiry::Signal) => Err(Try::Cancelled(cancelled(limits.signal.why(), settled.timings.sent.is_some()))),
            None => Err(Try::Cancelled(cancelled(reason.clone(), settled.timings.sent.is_some()))),
        },
    }
}
