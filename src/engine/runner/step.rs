//! Executes one step, or one item of it: evaluates its arguments, makes attempts with retries, tries fallbacks and checks
//! expectations.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Run,
    cancellation::Signal,
    flow::{self, Flow, Frame},
    human_input::{Asker, Unanswered},
    replay::InDoubtResolution,
    target,
};
use crate::domain::{
    body::Body,
    call::{CallSpec, FailureKind, Operation, Origin, Outcome},
    event::Settled,
    id::ServerId,
    journal::{Place, RunEntry, Substitute},
    masked,
    run::{Change, Purpose, RunOutcome, RunStep, SHOWN_CALLS, StepDetail, StepError, StepErrorKind, StepState},
    time::{short, size},
    workflow::{
        answer,
        expression::{Data, Scope, StepFault, Template, Unevaluated},
        input_values,
        plan::{Action, Fallback, MAX_DEPTH, OnError, Plan, PlanStep, ReadAs, Retry, ToolCall},
    },
};

/// Maximum size of a step's result, in bytes of JSON.
pub const MAX_RESULT: usize = 16 << 20;

/// Extra time to wait for a call past its limit, so that the engine reports first why it took so long.
const GRACE: Duration = Duration::from_millis(250);

/// Maximum length of a tool's error text, in characters.
const MAX_ERROR_TEXT: usize = 2_000;

/// The result of a step or item.
#[derive(Debug)]
pub enum StepResult {
    /// It succeeded.
    Done(Answered),
    /// It failed finally.
    Failed(StepError),
    /// It was cancelled, with the reason and whether it may have run.
    Cancelled(StepError),
}

/// Returns the error of a cancellation for the reason `why`; `ran` says whether the request may have run.
pub fn cancelled(why: impl Into<String>, ran: bool) -> StepError {
    StepError { may_have_run: ran, ..StepError::new(StepErrorKind::Refused, why) }
}

/// The response of a step.
#[derive(Clone, Debug)]
pub struct Answered {
    /// `result`.
    pub result: Data,
    /// `result` as JSON text.
    pub json: Body,
    /// `text`.
    pub text: String,
    /// The fallback that answered, if one did.
    pub fallback: Option<Substitute>,
    /// Whether a fallback value answered, so that nothing ran.
    pub nothing_done: bool,
    /// Whether a failed attempt before the fallback may have run.
    pub in_doubt: bool,
    /// Index of the fallback whose call answered.
    pub answered_by: Option<u32>,
    /// Whether the request may be sent again.
    pub repeatable: bool,
}

impl Answered {
    /// Creates the response of the step itself.
    pub fn new(result: Data, text: String) -> Answered {
        Answered {
            json: result.body(),
            result,
            text,
            fallback: None,
            nothing_done: false,
            in_doubt: false,
            answered_by: None,
            repeatable: false,
        }
    }
}

/// The limits of some work.
pub struct Limits {
    /// Cancels the work.
    pub signal: Signal,
    /// The deadline of the work.
    pub deadline: Option<Instant>,
    /// The limit that led to the deadline, for messages.
    pub limit: Option<Duration>,
}

/// Why work ended early.
pub enum Expiry {
    /// It was cancelled.
    Signal,
    /// Its deadline passed.
    Late,
}

impl Limits {
    /// Creates the limits of work that starts now.
    pub fn new(signal: Signal, limit: Option<Duration>) -> Limits {
        Limits { signal, deadline: limit.map(|limit| Instant::now() + limit), limit }
    }

    /// Resolves when the work is cancelled, or `grace` after its deadline.
    pub async fn expired(&self, grace: Duration) -> Expiry {
        let late = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline + grace).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.signal.raised() => Expiry::Signal,
            () = late => Expiry::Late,
        }
    }

    /// Returns the time left.
    fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
    }
}

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
        let usual = Retry {
            attempts,
            backoff: Duration::from_millis(500),
            factor: 2.0,
            max_backoff: Duration::from_secs(30),
            jitter: true,
            on: vec![],
            when: None,
        };
        Some(Retry { attempts: attempts.max(1), ..own.unwrap_or(usual) })
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

    async fn tool(
        &self,
        call: &ToolCall,
        purpose: Purpose,
        attempt: u32,
        limits: &Limits,
        cache: Option<Duration>,
    ) -> Result<Answered, Try> {
        let arguments = self.evaluate(&call.arguments)?.body();
        self.show_arguments(&arguments, purpose);
        let target = self.within(limits, target::tool(self.run(), &call.tool)).await?.map_err(|error| Try::Failed(error, true))?;
        let repeatable = target.repeatable || (self.plan_step().idempotent && purpose == Purpose::Step);
        let read_as = if purpose == Purpose::Step { self.plan_step().read_as } else { ReadAs::Auto };
        let operation = Operation::Tool { tool: target.tool.clone(), arguments: arguments.clone() };
        let (registry, now_ms) = (self.run().runs.registry.read(), self.run().bus().unix_ms());
        if let Some(fresh) = cache
            && let Some(answer) = self.run().cache().get(&registry, &operation, fresh, now_ms).await
        {
            return self.read(&answer, read_as, repeatable);
        }
        let place = self.place(purpose);
        let entry = RunEntry::Sending { place, attempt, what: call.tool.to_string(), arguments: self.flow.shown(&arguments).0 };
        self.run().write(entry).await.map_err(|error| Try::Failed(error, false))?;
        let answer = self.call(operation.clone(), purpose, limits).await.map_err(|tried| tried.repeatable(repeatable))?;
        let answered = self.read(&answer, read_as, repeatable)?;
        // A response that fails the expectations must be requested again, by the next attempt and the next run.
        if let Some(fresh) = cache.filter(|_| self.check_expectations(&answered).is_ok()) {
            self.run().cache().put(&registry, &operation, &answer, fresh, self.run().bus().unix_ms()).await;
        }
        Ok(answered)
    }

    async fn prompt(&self, server: &str, name: &str, arguments: &Template, limits: &Limits) -> Result<Answered, Try> {
        let arguments = self.evaluate(arguments)?.body();
        self.show_arguments(&arguments, Purpose::Step);
        self.run().write_pending().await.map_err(|error| Try::Failed(error, false))?;
        let operation = Operation::Prompt { server: ServerId::from(server), name: name.to_owned(), arguments };
        let answer = self.call(operation, Purpose::Step, limits).await.map_err(|tried| tried.repeatable(true))?;
        self.read(&answer, self.plan_step().read_as, true)
    }

    async fn resource(&self, server: &str, uri: &Template, limits: &Limits) -> Result<Answered, Try> {
        let uri = self.evaluate(uri)?.display();
        self.show_arguments(&Body::json(&serde_json::json!({ "uri": uri })), Purpose::Step);
        self.run().write_pending().await.map_err(|error| Try::Failed(error, false))?;
        let operation = Operation::Resource { server: ServerId::from(server), uri };
        let answer = self.call(operation, Purpose::Step, limits).await.map_err(|tried| tried.repeatable(true))?;
        self.read(&answer, self.plan_step().read_as, true)
    }

    async fn workflow(&self, plan: &Arc<Plan>, input: &Template, limits: &Limits) -> Result<Answered, Try> {
        let limit = |message: String| Try::Failed(StepError::new(StepErrorKind::Limit, message), false);
        if self.flow.depth >= MAX_DEPTH {
            return Err(limit(format!("nested workflows exceed the maximum depth of {MAX_DEPTH}")));
        }
        let given = self.evaluate(input)?;
        self.show_arguments(&given.body(), Purpose::Step);
        let input = input_values::prepare(&plan.input, &given).map_err(|wrong| {
            let mut error = StepError::new(StepErrorKind::Expectation, format!("the input does not fit {}: {}", plan.name, wrong[0]));
            error.detail = wrong[1..].iter().cloned().map(StepDetail::Text).collect();
            Try::Failed(error, false)
        })?;
        let prefix = flow::nested_prefix(self.path(), self.item);
        let compensates = self.flow.on_error(self.step) == OnError::Compensate;
        let (depth, deadline) = (self.flow.depth + 1, limits.deadline);
        let parent = Some(self.flow.parked.clone());
        let frame = Frame { prefix, depth, input, signal: self.signal.clone(), deadline, compensates, parent };
        let end = flow::run(self.run(), plan, frame).await;
        match (end.outcome, end.output) {
            (RunOutcome::Ok | RunOutcome::Partial, output) => Ok(Answered::new(output.unwrap_or_default(), String::new())),
            (RunOutcome::Cancelled, _) => {
                let mut error = cancelled(end.why.unwrap_or_default(), !end.not_compensated.is_empty());
                error.detail = not_undone(&end.not_compensated);
                Err(Try::Cancelled(error))
            }
            (outcome, _) => {
                let kind = match outcome {
                    RunOutcome::Refused => StepErrorKind::Refused,
                    RunOutcome::TimedOut => StepErrorKind::Timeout,
                    _ => StepErrorKind::Workflow,
                };
                let why = end.why.unwrap_or_else(|| outcome.words().to_owned());
                let mut error = StepError::new(kind, format!("{}: {why}", plan.name));
                error.detail = not_undone(&end.not_compensated);
                error.may_have_run = !end.not_compensated.is_empty();
                Err(Try::Failed(error, false))
            }
        }
    }

    async fn approve(&self, message: &Template, limits: &Limits) -> Result<Answered, Try> {
        let message = self.evaluate(message)?.display();
        self.show_waiting(&message);
        let limits = self.question_limits(limits);
        let asker = self.asker();
        let answer = self.within(&limits, asker.approve(message)).await?;
        self.answered(&limits, answer).await
    }

    async fn elicit(&self, message: &Template, schema: &Body, limits: &Limits) -> Result<Answered, Try> {
        let message = self.evaluate(message)?.display();
        self.show_waiting(&message);
        let limits = self.question_limits(limits);
        let asker = self.asker();
        let answer = self.within(&limits, asker.elicit(message, schema)).await?;
        self.answered(&limits, answer).await
    }

    /// Returns the limits of a question, whose time runs from when it was asked first, even by an earlier process.
    fn question_limits(&self, limits: &Limits) -> Limits {
        let asked_ms = self.run().replay.asked_ms(&self.place(Purpose::Step));
        let since = asked_ms.map(|asked_ms| Duration::from_millis(self.run().bus().unix_ms().saturating_sub(asked_ms)));
        let earlier = |deadline: Instant| deadline.checked_sub(since.unwrap_or_default()).unwrap_or_else(Instant::now);
        Limits { signal: limits.signal.clone(), deadline: limits.deadline.map(earlier), limit: limits.limit }
    }

    /// Returns the answer of a person. A question that waits keeps the step until the run is suspended.
    async fn answered(&self, limits: &Limits, answer: Result<Answered, Unanswered>) -> Result<Answered, Try> {
        match answer {
            Ok(answered) => Ok(answered),
            Err(Unanswered::Refused(error)) => Err(Try::Failed(error, false)),
            Err(Unanswered::Waits) => {
                self.flow.parked.park();
                self.within(limits, std::future::pending()).await?
            }
        }
    }

    fn asker(&self) -> Asker<'_> {
        Asker { run: self.run(), step: self.run_step(Purpose::Step) }
    }

    fn show_waiting(&self, message: &str) {
        if self.run().ask || self.run().wait {
            self.flow.update_view(self.step, self.item, |view| view.state = StepState::Waiting { what: message.to_owned() });
        }
    }

    fn show_arguments(&self, arguments: &Body, purpose: Purpose) {
        self.flow.update_view(self.step, self.item, |view| {
            let (arguments, cut) = self.flow.shown(arguments);
            view.state = StepState::Running;
            view.arguments = Some(arguments);
            view.cut |= cut;
            view.attempts += u32::from(purpose == Purpose::Step);
        });
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

fn late(limits: &Limits) -> StepError {
    let limit = limits.limit.map(short).unwrap_or_default();
    StepError::new(StepErrorKind::Timeout, format!("not done within {limit}"))
}

/// Returns the lines that report what an inner workflow did not compensate.
fn not_undone(what: &[(String, String)]) -> Vec<StepDetail> {
    what.iter().map(|(step, why)| StepDetail::NotUndone { step_and_why: format!("{step}: {why}") }).collect()
}

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
        // Directly before the request: whatever took time before it may have cost the lease.
        self.run.check_lease().map_err(|error| Try::Failed(error, false))?;
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

/// The result of one attempt.
#[derive(Debug)]
pub enum Try {
    /// It succeeded.
    Done(Answered),
    /// It failed; the flag says whether the request may be sent again.
    Failed(StepError, bool),
    /// It was cancelled.
    Cancelled(StepError),
}

impl Try {
    fn repeatable(self, repeatable: bool) -> Try {
        match self {
            Try::Failed(error, _) => Try::Failed(error, repeatable),
            other => other,
        }
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
