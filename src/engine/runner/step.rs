//! One step, or one item of it, from its arguments to its end: attempts, fallbacks, expectations.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Run,
    cancellation::Signal,
    flow::{self, Flow, Frame},
    human_input::Asker,
    replay::Decision,
    target,
};
use crate::{
    domain::{
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
            expression::{Data, Scope, Template, Unevaluated},
            input_values,
            plan::{Action, Fallback, MAX_DEPTH, Plan, PlanStep, ReadAs, Retry, RetryOn, ToolCall},
        },
    },
    engine::control::{Command, Control},
};

/// Largest result of a step, in bytes of JSON.
pub const LARGEST_RESULT: usize = 16 << 20;

/// How much longer than its time a call is waited for, so that the engine says first why it took so long.
const GRACE: Duration = Duration::from_millis(250);

/// Longest text of a tool's own error that is told.
const LONGEST_WORDS: usize = 2_000;

/// How a leaf ended.
#[derive(Debug)]
pub enum Leaf {
    /// Well.
    Done(Answered),
    /// For good.
    Failed(StepError),
    /// Given up, with the reason and whether it may have been done all the same.
    Cancelled(StepError),
}

/// Something was given up because of `why`; `ran` says whether it may have been done all the same.
pub fn given_up(why: impl Into<String>, ran: bool) -> StepError {
    StepError { may_have_run: ran, ..StepError::new(StepErrorKind::Refused, why) }
}

/// The answer to a step.
#[derive(Clone, Debug)]
pub struct Answered {
    /// `result`.
    pub result: Data,
    /// The same as JSON text.
    pub json: Body,
    /// `text`.
    pub text: String,
    /// What answered in its place.
    pub fallback: Option<Substitute>,
    /// Whether a value of the file answered, so that nothing was done.
    pub nothing_done: bool,
    /// Whether what failed before something else answered may have been done all the same.
    pub in_doubt: bool,
    /// Whether what was called may be called again.
    pub repeatable: bool,
}

impl Answered {
    /// The answer of the step itself.
    pub fn new(result: Data, text: String) -> Answered {
        Answered { json: result.body(), result, text, fallback: None, nothing_done: false, in_doubt: false, repeatable: false }
    }
}

/// Until when something may take.
pub struct Limits {
    /// Raised to give it up.
    pub signal: Signal,
    /// When its time is up.
    pub deadline: Option<Instant>,
}

/// Why something was given up.
pub enum Over {
    /// Somebody wanted it.
    Signal,
    /// Its time was up.
    Late,
}

impl Limits {
    /// Resolves when it is to be given up. `grace` later when time is the reason.
    pub async fn over(&self, grace: Duration) -> Over {
        let late = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline + grace).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.signal.raised() => Over::Signal,
            () = late => Over::Late,
        }
    }

    /// What is left of its time.
    fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
    }
}

/// One step or item at work.
pub struct Worker<'a> {
    /// The flow that it is of.
    pub flow: &'a Flow<'a>,
    /// Its position in the plan.
    pub step: usize,
    /// Which item.
    pub item: Option<u32>,
    /// What its expressions see.
    pub scope: Scope,
    /// Given up by this.
    pub signal: Signal,
}

impl Worker<'_> {
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

    /// Its place in the run, for calls and questions.
    fn run_step(&self, purpose: Purpose) -> RunStep {
        RunStep { run: self.run().id, step: self.path().clone(), item: self.item, purpose }
    }

    /// Limits for something that begins now.
    fn limits(&self) -> Limits {
        let limit = self.flow.timeout(self.step);
        Limits { signal: self.signal.clone(), deadline: limit.map(|limit| Instant::now() + limit) }
    }

    /// Does it.
    pub async fn work(&self) -> Leaf {
        let decided = [Purpose::Step, Purpose::Fallback].into_iter().find_map(|purpose| {
            let decision = self.run().memory.decisions.get(&self.place(purpose))?;
            Some((purpose, decision.clone()))
        });
        let progress = self.run().memory.progress(self.path(), self.item);
        let failed = match decided {
            Some((_, Decision::Done(result))) => return self.taken(result),
            // The step itself had failed before; its fallback is what was in doubt.
            Some((Purpose::Fallback, Decision::Repeat)) if progress.exhausted.is_none() => {
                StepError::new(StepErrorKind::ToolError, "failed before the run was interrupted")
            }
            _ => match progress.exhausted {
                Some(error) => error,
                None => match self.attempts(progress.attempts).await {
                    Leaf::Failed(error) => error,
                    end => return end,
                },
            },
        };
        self.fallbacks(failed, progress.fallbacks).await
    }

    /// The answer that somebody said it had.
    fn taken(&self, result: Body) -> Leaf {
        let text = result.text().into_owned();
        let data = Data::parse(&text).unwrap_or_else(|_| Data::from(text.as_str()));
        Leaf::Done(Answered { fallback: Some(Substitute::CountedAsDone), ..Answered::new(data, text) })
    }

    /// Attempts, `used` of which were made before.
    async fn attempts(&self, used: u32) -> Leaf {
        let limits = self.limits();
        let retry = self.retry().filter(|_| self.calls());
        let most = retry.as_ref().map_or(1, |retry| retry.attempts);
        let mut attempt = used + 1;
        // An attempt that may have been done is not undone by a later one that was not.
        let mut ran = false;
        loop {
            let (mut error, repeatable) = match self.attempt(attempt, &limits).await {
                Try::Done(answered) => return Leaf::Done(answered),
                Try::Cancelled(error) => return Leaf::Cancelled(StepError { may_have_run: error.may_have_run || ran, ..error }),
                Try::Failed(error, repeatable) => (error, repeatable),
            };
            let may_repeat = may_repeat(&error, repeatable);
            let own = error.clone();
            ran |= error.may_have_run && error.kind != StepErrorKind::ToolError;
            error.may_have_run |= ran;
            let again = retry.as_ref().filter(|retry| attempt < most && worth(retry, &error) && may_repeat);
            if again.is_some() || !self.plan_step().fallback.is_empty() {
                let exhausted = again.is_none().then(|| error.clone());
                let own = again.is_some().then(|| self.flow.masked(&own));
                let entry = RunEntry::Attempted { place: self.place(Purpose::Step), attempt, exhausted, error: own };
                if let Err(error) = self.run().write(entry).await {
                    return Leaf::Failed(error);
                }
            }
            let Some(again) = again else { return Leaf::Failed(error) };
            self.flow.note(self.step, self.item, |view| {
                view.state = StepState::Waiting { what: format!("attempt {} of {most} after: {}", attempt + 1, error.message) };
            });
            match self.within(&limits, sleep(again.delay(attempt, fastrand::f64()))).await {
                Ok(()) => {}
                Err(Try::Cancelled(given_up)) => return Leaf::Cancelled(StepError { may_have_run: ran, ..given_up }),
                // What went wrong says more than that there was no time to try again.
                Err(_) => return Leaf::Failed(error),
            }
            attempt += 1;
        }
    }

    /// Whether the step sends requests of its own, so that another attempt can be different.
    fn calls(&self) -> bool {
        matches!(self.plan_step().action, Action::Tool(_) | Action::Prompt { .. } | Action::Resource { .. })
    }

    /// The step's retry with what was changed for this run.
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
        };
        Some(Retry { attempts: attempts.max(1), ..own.unwrap_or(usual) })
    }

    /// Waits for something that can be dropped at any time.
    async fn within<T>(&self, limits: &Limits, work: impl Future<Output = T>) -> Result<T, Try> {
        tokio::select! {
            biased;
            over = limits.over(Duration::ZERO) => Err(match over {
                Over::Signal => Try::Cancelled(given_up(self.signal.why(), false)),
                Over::Late => Try::Failed(self.late(), false),
            }),
            done = work => Ok(done),
        }
    }

    fn late(&self) -> StepError {
        let limit = self.flow.timeout(self.step).map(short).unwrap_or_default();
        StepError::new(StepErrorKind::Timeout, format!("not done within {limit}"))
    }

    /// One attempt at what the step does.
    async fn attempt(&self, attempt: u32, limits: &Limits) -> Try {
        let step = self.plan_step();
        let tried = match &step.action {
            Action::Tool(call) => self.tool(call, Purpose::Step, attempt, limits, step.cache).await,
            Action::Prompt { server, name, arguments } => self.prompt(server, name, arguments, limits).await,
            Action::Resource { server, uri } => self.resource(server, uri, limits).await,
            Action::Workflow { plan, input } => self.workflow(plan, input, limits).await,
            Action::Approve { message } => self.approve(message, limits).await,
            Action::Elicit { message, schema } => self.elicit(message, schema, limits).await,
        };
        match tried {
            Ok(answered) => match self.expected(&answered) {
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
        if let Some(answer) = cache.and_then(|fresh| self.run().cache().get(&target.tool, &arguments, fresh)) {
            return self.read(&answer, read_as, repeatable);
        }
        let place = self.place(purpose);
        let entry = RunEntry::Sending { place, attempt, what: call.tool.to_string(), arguments: self.flow.shown(&arguments).0 };
        self.run().write(entry).await.map_err(|error| Try::Failed(error, false))?;
        let operation = Operation::Tool { tool: target.tool.clone(), arguments: arguments.clone() };
        let answer = self.call(operation, purpose, limits).await.map_err(|tried| tried.repeatable(repeatable))?;
        let answered = self.read(&answer, read_as, repeatable)?;
        // What is not as expected must be asked for again, by the next attempt and by the next run.
        if cache.is_some() && self.expected(&answered).is_ok() {
            self.run().cache().put(&target.tool, &arguments, &answer);
        }
        Ok(answered)
    }

    async fn prompt(&self, server: &str, name: &str, arguments: &Template, limits: &Limits) -> Result<Answered, Try> {
        let arguments = self.evaluate(arguments)?.body();
        self.show_arguments(&arguments, Purpose::Step);
        self.run().flush().await.map_err(|error| Try::Failed(error, false))?;
        let operation = Operation::Prompt { server: ServerId::from(server), name: name.to_owned(), arguments };
        let answer = self.call(operation, Purpose::Step, limits).await.map_err(|tried| tried.repeatable(true))?;
        self.read(&answer, self.plan_step().read_as, true)
    }

    async fn resource(&self, server: &str, uri: &Template, limits: &Limits) -> Result<Answered, Try> {
        let uri = self.evaluate(uri)?.display();
        self.show_arguments(&Body::json(&serde_json::json!({ "uri": uri })), Purpose::Step);
        self.run().flush().await.map_err(|error| Try::Failed(error, false))?;
        let operation = Operation::Resource { server: ServerId::from(server), uri };
        let answer = self.call(operation, Purpose::Step, limits).await.map_err(|tried| tried.repeatable(true))?;
        self.read(&answer, self.plan_step().read_as, true)
    }

    async fn workflow(&self, plan: &Arc<Plan>, input: &Template, limits: &Limits) -> Result<Answered, Try> {
        let limit = |message: String| Try::Failed(StepError::new(StepErrorKind::Limit, message), false);
        if self.flow.depth >= MAX_DEPTH {
            return Err(limit(format!("workflows within workflows go at most {MAX_DEPTH} deep")));
        }
        let given = self.evaluate(input)?;
        self.show_arguments(&given.body(), Purpose::Step);
        let input = input_values::prepare(&plan.input, &given).map_err(|wrong| {
            let mut error = StepError::new(StepErrorKind::Expectation, format!("the input does not fit {}: {}", plan.name, wrong[0]));
            error.detail = wrong[1..].iter().cloned().map(StepDetail::Text).collect();
            Try::Failed(error, false)
        })?;
        let inner = match self.item {
            Some(item) => format!("{}[{item}]/", self.path()),
            None => format!("{}/", self.path()),
        };
        let deadline = match (limits.deadline, plan.timeout) {
            (Some(step), Some(own)) => Some(step.min(Instant::now() + own)),
            (step, own) => step.or(own.map(|own| Instant::now() + own)),
        };
        let frame = Frame { prefix: inner, depth: self.flow.depth + 1, input, signal: self.signal.clone(), deadline };
        let end = flow::run(self.run(), plan, frame).await;
        match (end.outcome, end.output) {
            (RunOutcome::Ok | RunOutcome::Partial, output) => Ok(Answered::new(output.unwrap_or_default(), String::new())),
            (RunOutcome::Cancelled, _) => {
                let mut error = given_up(end.why.unwrap_or_default(), !end.not_compensated.is_empty());
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
        let asker = self.asker();
        self.within(limits, asker.approve(message)).await?.map_err(|error| Try::Failed(error, false))
    }

    async fn elicit(&self, message: &Template, schema: &Body, limits: &Limits) -> Result<Answered, Try> {
        let message = self.evaluate(message)?.display();
        self.show_waiting(&message);
        let asker = self.asker();
        self.within(limits, asker.elicit(message, schema)).await?.map_err(|error| Try::Failed(error, false))
    }

    fn asker(&self) -> Asker<'_> {
        Asker { run: self.run(), step: self.run_step(Purpose::Step) }
    }

    fn show_waiting(&self, message: &str) {
        if self.run().ask {
            self.flow.note(self.step, self.item, |view| view.state = StepState::Waiting { what: message.to_owned() });
        }
    }

    fn show_arguments(&self, arguments: &Body, purpose: Purpose) {
        self.flow.note(self.step, self.item, |view| {
            let (arguments, cut) = self.flow.shown(arguments);
            view.state = StepState::Running;
            view.arguments = Some(arguments);
            view.cut |= cut;
            view.attempts += u32::from(purpose == Purpose::Step);
        });
    }

    /// What was tried instead, from the `tried`th on.
    async fn fallbacks(&self, failed: StepError, tried: usize) -> Leaf {
        let fallbacks = &self.plan_step().fallback;
        // Neither the end of the run nor a broken journal is answered by a fallback.
        if failed.kind == StepErrorKind::Journal || self.signal.is_raised() {
            return Leaf::Failed(failed);
        }
        let mut failed = failed;
        for (index, fallback) in fallbacks.iter().enumerate().skip(tried) {
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            let limits = self.limits();
            let (tried, what) = match fallback {
                Fallback::Tool(call) => (self.tool(call, Purpose::Fallback, number, &limits, None).await, call.tool.to_string()),
                Fallback::Value(value) => (
                    self.evaluate(value).map(|data| Answered { nothing_done: true, ..Answered::new(data, String::new()) }),
                    "a value".to_owned(),
                ),
            };
            let tried = tried.and_then(|answered| match self.expected(&answered) {
                Ok(()) => Ok(answered),
                Err(error) => Err(Try::Failed(error, false)),
            });
            match tried {
                Ok(answered) => {
                    let in_doubt = failed.may_have_run && failed.kind != StepErrorKind::ToolError;
                    return Leaf::Done(Answered {
                        fallback: Some(Substitute::Fallback(format!("{what}, after: {}", failed.message))),
                        in_doubt,
                        ..answered
                    });
                }
                Err(Try::Cancelled(error)) => {
                    return Leaf::Cancelled(StepError { may_have_run: error.may_have_run || failed.may_have_run, ..error });
                }
                Err(Try::Failed(error, _)) => {
                    failed.detail.push(StepDetail::Text(format!("the fallback {what} failed too: {}", error.message)));
                    failed.may_have_run |= error.may_have_run;
                    let (place, error) = (self.place(Purpose::Fallback), Some(self.flow.masked(&error)));
                    let entry = RunEntry::Attempted { place, attempt: number, exhausted: None, error };
                    if let Err(error) = self.run().write(entry).await {
                        return Leaf::Failed(error);
                    }
                }
                Err(Try::Done(_)) => {}
            }
        }
        Leaf::Failed(failed)
    }

    fn evaluate(&self, template: &Template) -> Result<Data, Try> {
        template.eval(&self.scope).map_err(|error| Try::Failed(self.flow.unevaluated(&error), false))
    }

    /// Whether what the step expects holds.
    fn expected(&self, answered: &Answered) -> Result<(), StepError> {
        if answered.json.len() > LARGEST_RESULT {
            let (size, most) = (size(answered.json.len() as u64), size(LARGEST_RESULT as u64));
            return Err(StepError::new(StepErrorKind::Limit, format!("the result is {size} long; at most {most} can be kept")));
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

    /// Makes a call and waits for its end; cancels it when it is to be given up.
    async fn call(&self, operation: Operation, purpose: Purpose, limits: &Limits) -> Result<Body, Try> {
        let call = Calling { run: self.run(), flow: self.flow, step: self.step, place: self.run_step(purpose), item: self.item };
        call.make(operation, limits).await
    }
}

/// What a workflow within left as it was, for the report of the one around it.
fn not_undone(what: &[(String, String)]) -> Vec<StepDetail> {
    what.iter().map(|(step, why)| StepDetail::NotUndone { step_and_why: format!("{step}: {why}") }).collect()
}

/// What a step of a resumed run fails with instead of sending a mask to a server.
const LOST: &str = "an argument holds a secret value that the journal does not record; start the run again";

/// A call of a step.
pub struct Calling<'a> {
    /// The run.
    pub run: &'a Run,
    /// The flow.
    pub flow: &'a Flow<'a>,
    /// The step's position in the plan.
    pub step: usize,
    /// Its place in the run.
    pub place: RunStep,
    /// Which item.
    pub item: Option<u32>,
}

impl Calling<'_> {
    /// Makes it. Gives the answer of a call that went well.
    pub async fn make(&self, operation: Operation, limits: &Limits) -> Result<Body, Try> {
        if limits.signal.is_raised() {
            return Err(Try::Cancelled(given_up(limits.signal.why(), false)));
        }
        if self.run.memory.masked && masked::in_operation(&operation) {
            return Err(Try::Failed(StepError::new(StepErrorKind::Journal, LOST), false));
        }
        let spec = CallSpec { operation, origin: Origin::Workflow, timeout: limits.left(), run: Some(self.place.clone()) };
        let (id, end) = self.run.engine.call(spec);
        self.flow.note(self.step, self.item, |view| {
            if view.calls.len() >= SHOWN_CALLS {
                view.calls.remove(0);
            }
            view.calls.push(id);
        });
        tokio::pin!(end);
        let (settled, over) = tokio::select! {
            biased;
            settled = &mut end => (settled, None),
            over = limits.over(GRACE) => {
                let reason = match over {
                    Over::Signal => limits.signal.why(),
                    Over::Late => "the step's time was up".to_owned(),
                };
                self.run.engine.command(Command::Cancel { call: id, reason });
                (end.await, Some(over))
            }
        };
        let Some(settled) = settled else {
            let error = StepError::new(StepErrorKind::Call { failure: FailureKind::Transport }, "the engine ended");
            return Err(Try::Failed(StepError { may_have_run: true, ..error }, false));
        };
        of_outcome(&settled, over, limits)
    }
}

fn of_outcome(settled: &Settled, over: Option<Over>, limits: &Limits) -> Result<Body, Try> {
    match &settled.outcome {
        Outcome::Ok { result } => Ok(result.clone()),
        Outcome::ToolError { result } => {
            let text = answer::read(ReadAs::Text, result).map(|reading| reading.text).unwrap_or_default();
            let words: String = text.chars().take(LONGEST_WORDS).collect();
            let words = if words.is_empty() { "the tool answered an error without words".to_owned() } else { words };
            Err(Try::Failed(StepError { may_have_run: true, ..StepError::new(StepErrorKind::ToolError, words) }, false))
        }
        Outcome::Failed { failure } => Err(Try::Failed(StepError::of_failure(failure), false)),
        Outcome::Cancelled { reason } => match over {
            Some(Over::Late) => {
                let error = StepError::new(StepErrorKind::Timeout, "not answered within the step's time");
                Err(Try::Failed(StepError { may_have_run: settled.timings.sent.is_some(), ..error }, false))
            }
            Some(Over::Signal) => Err(Try::Cancelled(given_up(limits.signal.why(), settled.timings.sent.is_some()))),
            None => Err(Try::Cancelled(given_up(reason.clone(), settled.timings.sent.is_some()))),
        },
    }
}

/// What one attempt came to.
#[derive(Debug)]
pub enum Try {
    /// It went well.
    Done(Answered),
    /// It failed; the second says whether what was called may be called again.
    Failed(StepError, bool),
    /// It was given up.
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

/// Whether the failure is one that the author wants tried again.
fn worth(retry: &Retry, error: &StepError) -> bool {
    error.kind.class().is_some_and(|class| retry.causes().contains(&class))
}

/// Whether another attempt does no harm: nothing ran, or it may run again.
fn may_repeat(error: &StepError, repeatable: bool) -> bool {
    repeatable || !error.may_have_run
}

/// The word for a failure, as expressions see it.
pub fn kind_word(kind: StepErrorKind) -> String {
    match (kind.class(), kind) {
        (Some(class), _) => RetryOn::ALL.iter().find(|(known, _)| *known == class).map_or("", |(_, word)| word).to_owned(),
        (None, StepErrorKind::Call { failure }) => failure.key().into(),
        (None, StepErrorKind::Expression) => "expression".into(),
        (None, StepErrorKind::Refused) => "refused".into(),
        (None, StepErrorKind::Workflow) => "workflow".into(),
        (None, StepErrorKind::Limit) => "limit".into(),
        (None, StepErrorKind::InDoubt) => "in_doubt".into(),
        (None, _) => "journal".into(),
    }
}
