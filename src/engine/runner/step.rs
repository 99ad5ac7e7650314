//! Executes one step, or one item of it: evaluates its arguments, makes attempts with retries, tries fallbacks and checks
//! expectations.
//!
//! `action` has the actions of a step, `call` sends a call, `limits` are its cancellation and deadline, and `result` its results.

mod action;
mod call;
mod limits;
mod result;

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use self::limits::{Expiry, late};
pub use self::{
    call::StepCall,
    limits::Limits,
    result::{Answered, StepResult, Try, cancelled},
};
use super::{Run, cancellation::Signal, flow::Flow, replay::InDoubtResolution};
use crate::domain::{
    body::Body,
    call::Operation,
    journal::{Place, RunEntry, Substitute},
    run::{Change, Purpose, RunStep, StepDetail, StepError, StepErrorKind, StepState},
    time::{short, size},
    workflow::{
        answer,
        expression::{Data, Scope, StepFault, Template, Unevaluated},
        plan::{Action, Fallback, PlanStep, ReadAs, Retry},
    },
};

/// Maximum size of a step's result, in bytes of JSON.
pub const MAX_RESULT: usize = 16 << 20;

/// The execution of one step or item.
pub struct StepExecution<'a> {
    /// The flow of the step.
    pub flow: &'a Flow<'a>,
    /// The step's position in the plan.
    pub step: usize,
    /// The item, if the step has items.
    pub item: Option<u32>,
    /// The scope of its expressions.
    pub scope: Scope,
    /// Cancels the step.
    pub signal: Signal,
}

impl StepExecution<'_> {
    fn run(&self) -> &Run {
        self.flow.run
    }

    fn plan_step(&self) -> &PlanStep {
        &self.flow.plan.steps[self.step]
    }

    fn path(&self) -> &Arc<str> {
        &self.flow.paths[self.step]
    }

    fn place(&self, purpose: Purpose) -> Place {
        Place { step: self.path().clone(), item: self.item, purpose }
    }

    /// Returns the step's place in the run, for calls and questions.
    fn run_step(&self, purpose: Purpose) -> RunStep {
        let retries = purpose == Purpose::Step && self.retry().is_some();
        RunStep { run: self.run().id, step: self.path().clone(), item: self.item, purpose, retries }
    }

    /// Returns the limits of work that starts now.
    fn limits(&self) -> Result<Limits, StepError> {
        let limit = self.flow.timeout(self.step, &self.scope)?;
        Ok(Limits::new(self.signal.clone(), limit))
    }

    /// Waits before a round of a `repeat`. Fails with the cancellation.
    pub async fn pause(&self, round: Option<u32>) -> Result<(), StepError> {
        let delay = self.plan_step().repeat.as_ref().map(|repeat| repeat.delay).filter(|delay| !delay.is_zero());
        let (Some(delay), Some(round @ 1..)) = (delay, round) else { return Ok(()) };
        self.flow.update_view(self.step, None, |view| {
            view.state = StepState::Waiting { what: format!("round {} in {}", round + 1, short(delay)) };
        });
        tokio::select! {
            biased;
            () = self.signal.raised() => Err(cancelled(self.signal.why(), false)),
            () = sleep(delay) => {
                self.flow.update_view(self.step, None, |view| view.state = StepState::Running);
                Ok(())
            }
        }
    }

    /// Executes the step.
    pub async fn execute(&self) -> StepResult {
        let resolved = [Purpose::Step, Purpose::Fallback].into_iter().find_map(|purpose| {
            let resolution = self.run().replay.resolutions.get(&self.place(purpose))?;
            Some((purpose, resolution.clone()))
        });
        let progress = self.run().replay.progress(self.path(), self.item);
        let failed = match resolved {
            Some((_, InDoubtResolution::Done(result))) => return self.skipped(result),
            // The step itself had failed before; its fallback was in doubt.
            Some((Purpose::Fallback, InDoubtResolution::Repeat)) if progress.exhausted.is_none() => {
                StepError::new(StepErrorKind::ToolError, "failed before the run was interrupted")
            }
            _ => match progress.exhausted {
                Some(error) => error,
                None => match self.attempts(progress.attempts).await {
                    StepResult::Failed(error) => error,
                    end => return end,
                },
            },
        };
        self.fallbacks(failed, progress.fallbacks).await
    }

    /// Returns the result given with `--skip` as the response.
    fn skipped(&self, result: Body) -> StepResult {
        let text = result.text().into_owned();
        let data = Data::parse(&text).unwrap_or_else(|_| Data::from(text.as_str()));
        StepResult::Done(Answered { fallback: Some(Substitute::CountedAsDone), ..Answered::new(data, text) })
    }

    /// Makes attempts; `used` were made before the run was interrupted.
    async fn attempts(&self, used: u32) -> StepResult {
        let limits = match self.limits() {
            Ok(limits) => limits,
            Err(error) => return StepResult::Failed(error),
        };
        let retry = self.retry().filter(|_| self.calls());
        let most = retry.as_ref().map_or(1, |retry| retry.attempts);
        let mut attempt = used + 1;
        // A later attempt that did not run does not change that an earlier one may have.
        let mut ran = false;
        loop {
            let (mut error, repeatable) = match self.attempt(attempt, &limits).await {
                Try::Done(answered) => return StepResult::Done(answered),
                Try::Cancelled(error) => return StepResult::Cancelled(StepError { may_have_run: error.may_have_run || ran, ..error }),
                Try::Failed(error, repeatable) => (error, repeatable),
            };
            let may_repeat = may_repeat(&error, repeatable);
            let own = error.clone();
            ran |= error.may_have_run && error.kind != StepErrorKind::ToolError;
            error.may_have_run |= ran;
            let retried = attempt < most && may_repeat && retry.as_ref().is_some_and(|retry| is_retried(retry, &error));
            let retried = match retry.as_ref().and_then(|retry| retry.when.as_ref()).filter(|_| retried) {
                Some(when) => match when.test(&self.scope.with_error(step_fault(&error), attempt)) {
                    Ok(retried) => retried,
                    Err(unevaluated) => {
                        error.detail.push(StepDetail::Text(unevaluated.to_string()));
                        false
                    }
                },
                None => retried,
            };
            let next = retry.as_ref().filter(|_| retried);
            if next.is_some() || !self.plan_step().fallback.is_empty() {
                let exhausted = next.is_none().then(|| error.clone());
                let own = next.is_some().then(|| self.flow.masked(&own));
                let entry = RunEntry::Attempted { place: self.place(Purpose::Step), attempt, exhausted, error: own };
                if let Err(error) = self.run().write(entry).await {
                    return StepResult::Failed(error);
                }
            }
            let Some(retry) = next else { return StepResult::Failed(error) };
            self.flow.update_view(self.step, self.item, |view| {
                view.state = StepState::Waiting { what: format!("attempt {} of {most} after: {}", attempt + 1, error.message) };
            });
            match self.within(&limits, sleep(retry.delay(attempt, fastrand::f64()))).await {
                Ok(()) => {}
                Err(Try::Cancelled(cancelled)) => return StepResult::Cancelled(StepError { may_have_run: ran, ..cancelled }),
                // The failure says more than that no time is left.
                Err(_) => return StepResult::Failed(error),
            }
            attempt += 1;
        }
    }

    /// Returns whether the step sends requests, so that another attempt can have a different result.
    fn calls(&self) -> bool {
        matches!(self.plan_step().action, Action::Tool(_) | Action::Prompt { .. } | Action::Resource { .. })
    }

    /// Returns the step's retry settings with the changes for this run.
    fn retry(&self) -> Option<Retry> {
        let own = self.plan_step().retry.clone();
        let changed = self.run().changes(self.path()).find_map(|change| match change {
            Change::Attempts { attempts } => Some(attempts),
            Change::Timeout { .. } => None,
        });
        let Some(attempts) = changed else { return own };
        Some(Retry { attempts: attempts.max(1), ..own.unwrap_or_else(|| Retry::new(attempts)) })
    }

    /// Waits for work that can be dropped at any time.
    async fn within<T>(&self, limits: &Limits, work: impl Future<Output = T>) -> Result<T, Try> {
        tokio::select! {
            biased;
            expired = limits.expired(Duration::ZERO) => Err(match expired {
                Expiry::Signal => Try::Cancelled(cancelled(self.signal.why(), false)),
                Expiry::Late => Try::Failed(late(limits), false),
            }),
            done = work => Ok(done),
        }
    }

    /// Makes one attempt.
    async fn attempt(&self, attempt: u32, limits: &Limits) -> Try {
        let step = self.plan_step();
        let tried = match &step.action {
            Action::Tool(call) => self.tool(call, Purpose::Step, attempt, limits, step.cache).await,
            Action::Let { value } => self.evaluate(value).map(|data| Answered::new(data, String::new())),
            Action::Prompt { server, name, arguments } => self.prompt(server, name, arguments, limits).await,
            Action::Resource { server, uri } => self.resource(server, uri, limits).await,
            Action::Workflow { plan, input } => self.workflow(plan, input, limits).await,
            Action::Approve { message } => self.approve(message, limits).await,
            Action::Elicit { message, schema } => self.elicit(message, schema, limits).await,
        };
        match tried {
            Ok(answered) => match self.check_expectations(&answered) {
                Ok(()) => Try::Done(answered),
                Err(error) => Try::Failed(error, answered.repeatable),
            },
            Err(other) => other,
        }
    }

    /// Tries the fallbacks from index `tried` on.
    async fn fallbacks(&self, failed: StepError, tried: usize) -> StepResult {
        let fallbacks = &self.plan_step().fallback;
        // A cancelled run and a broken journal have no fallback.
        if failed.kind == StepErrorKind::Journal || self.signal.is_raised() {
            return StepResult::Failed(failed);
        }
        let mut failed = failed;
        for (index, fallback) in fallbacks.iter().enumerate().skip(tried) {
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let limits = match self.limits() {
                Ok(limits) => limits,
                Err(error) => return StepResult::Failed(error),
            };
            let (tried, what) = match fallback {
                Fallback::Tool { call, .. } => {
                    let answered = self.tool(call, Purpose::Fallback, number, &limits, None).await;
                    let answered_by = u32::try_from(index).ok();
                    (answered.map(|answered| Answered { answered_by, ..answered }), call.tool.to_string())
                }
                Fallback::Value(value) => (
                    self.evaluate(value).map(|data| Answered { nothing_done: true, ..Answered::new(data, String::new()) }),
                    "a value".to_owned(),
                ),
            };
            let tried = tried.and_then(|answered| match self.check_expectations(&answered) {
                Ok(()) => Ok(answered),
                Err(error) => Err(Try::Failed(error, false)),
            });
            match tried {
                Ok(answered) => {
                    let in_doubt = failed.may_have_run && failed.kind != StepErrorKind::ToolError;
                    return StepResult::Done(Answered {
                        fallback: Some(Substitute::Fallback(format!("{what}, after: {}", failed.message))),
                        in_doubt,
                        ..answered
                    });
                }
                Err(Try::Cancelled(error)) => {
                    return StepResult::Cancelled(StepError { may_have_run: error.may_have_run || failed.may_have_run, ..error });
                }
                Err(Try::Failed(error, _)) => {
                    failed.message = format!("{}; the fallback {what} failed too: {}", failed.message, error.message);
                    failed.detail.extend(error.detail.iter().cloned());
                    failed.may_have_run |= error.may_have_run;
                    let (place, error) = (self.place(Purpose::Fallback), Some(self.flow.masked(&error)));
                    let entry = RunEntry::Attempted { place, attempt: number, exhausted: None, error };
                    if let Err(error) = self.run().write(entry).await {
                        return StepResult::Failed(error);
                    }
                }
                Err(Try::Done(_)) => {}
            }
        }
        StepResult::Failed(failed)
    }

    fn evaluate(&self, template: &Template) -> Result<Data, Try> {
        template.eval(&self.scope).map_err(|error| Try::Failed(self.flow.unevaluated(&error), false))
    }

    /// Checks the step's expectations.
    fn check_expectations(&self, answered: &Answered) -> Result<(), StepError> {
        if answered.json.len() > MAX_RESULT {
            let (size, most) = (size(answered.json.len() as u64), size(MAX_RESULT as u64));
            return Err(StepError::new(StepErrorKind::Limit, format!("the result has {size}; the maximum is {most}")));
        }
        let expectations = &self.plan_step().expect;
        if expectations.is_empty() {
            return Ok(());
        }
        let scope = self.scope.with_result(answered.result.clone(), &answered.text);
        for expectation in expectations {
            let unevaluated = |error: Unevaluated| self.flow.unevaluated(&error);
            if expectation.that.test(&scope).map_err(unevaluated)? {
                continue;
            }
            let message = match &expectation.message {
                Some(message) => message.eval_text(&scope).map_err(unevaluated)?,
                None => format!("expected {}", expectation.that.source()),
            };
            let mut error = StepError::new(StepErrorKind::Expectation, message);
            error.may_have_run = true;
            return Err(error);
        }
        Ok(())
    }

    fn read(&self, answer: &Body, read_as: ReadAs, repeatable: bool) -> Result<Answered, Try> {
        match answer::read(read_as, answer) {
            Ok(reading) => Ok(Answered { repeatable, ..Answered::new(reading.result, reading.text) }),
            Err(why) => {
                let error = StepError { may_have_run: true, ..StepError::new(StepErrorKind::Expectation, why) };
                Err(Try::Failed(error, repeatable))
            }
        }
    }

    /// Makes a call and waits for its result. Cancels the call when a limit is reached.
    async fn call(&self, operation: Operation, purpose: Purpose, limits: &Limits) -> Result<Body, Try> {
        let call = StepCall { run: self.run(), flow: self.flow, step: self.step, place: self.run_step(purpose), item: self.item };
        call.send(operation, limits).await
    }
}

/// Returns whether the retry settings cover the failure.
pub fn is_retried(retry: &Retry, error: &StepError) -> bool {
    error.kind.class().is_some_and(|class| retry.causes().contains(&class))
}

/// Returns whether another attempt is safe: nothing ran, or the request is repeatable.
fn may_repeat(error: &StepError, repeatable: bool) -> bool {
    repeatable || !error.may_have_run
}

/// Returns an error as expressions see it.
pub fn step_fault(error: &StepError) -> StepFault {
    StepFault { kind: error.kind.key().to_owned(), message: error.message.clone() }
}
