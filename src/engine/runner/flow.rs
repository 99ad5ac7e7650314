//! A flow: drives one plan from its first step to its last. Asks the schedule for the next task, executes it and records its
//! result. A workflow within a step is a flow of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::{
    Run,
    cancellation::Signal,
    compensation::Compensation,
    replay::ReplayEntry,
    step::{MAX_RESULT, StepExecution, StepResult},
    step_state::{StepEntry, label},
};
use crate::domain::{
    body::Body,
    journal::{RunEntry, StepOutcome, StepRecord},
    run::{Change, RunOutcome, StepError, StepErrorKind, StepState, StepView, shown},
    secret::{Redactor, Secret, rule},
    server::looks_secret,
    time::short,
    workflow::{
        expression::{Data, Scope, Unevaluated},
        input_values,
        plan::{Action, Fallback, OnError, Plan, ToolCall},
        schedule::{At, End, Halt, Schedule, Task},
    },
};

/// The cancellation reason when the deadline passes.
const TIME_UP: &str = "the run's time was up";

/// Maximum number of items of one step.
const MAX_ITEMS: usize = 100_000;

/// Maximum number of pending journal entries before they are written.
const MAX_PENDING: usize = 64;

/// The context in which a flow starts.
pub struct Frame {
    /// The path prefix of its steps: empty, or a path with a trailing slash.
    pub prefix: String,
    /// The number of enclosing flows.
    pub depth: usize,
    /// The checked input.
    pub input: Data,
    /// Cancels the flow.
    pub signal: Signal,
    /// The flow's deadline.
    pub deadline: Option<Instant>,
    /// Whether its failure makes the enclosing flow compensate.
    pub compensates: bool,
    /// The parked steps of the enclosing flow.
    pub parent: Option<Arc<Parked>>,
}

/// Steps of a flow that wait for an answer in a later process.
#[derive(Default)]
pub struct Parked {
    count: AtomicUsize,
    changed: Notify,
}

impl Parked {
    /// Counts a step.
    pub fn park(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
    }
}

/// The result of a flow.
pub struct FlowEnd {
    /// The outcome.
    pub outcome: RunOutcome,
    /// The reason, unless the outcome is ok.
    pub why: Option<String>,
    /// Its steps, in the order of the file.
    pub steps: Vec<(Arc<str>, Arc<StepView>)>,
    /// The outputs, if the flow reached its end.
    pub output: Option<Data>,
    /// The steps that were not compensated, with the reason.
    pub not_compensated: Vec<(String, String)>,
}

/// A plan in execution.
pub struct Flow<'a> {
    /// The run of the flow.
    pub run: &'a Run,
    prefix: String,
    /// The plan.
    pub plan: &'a Plan,
    /// The paths of its steps.
    pub paths: Vec<Arc<str>>,
    /// The number of enclosing flows.
    pub depth: usize,
    scope: Scope,
    /// Cancels all steps, but not the compensation.
    forward: Signal,
    /// Cancel single steps.
    signals: Vec<Signal>,
    deadline: Option<Instant>,
    /// Whether its failure makes the enclosing flow compensate.
    within_compensation: bool,
    /// Its steps that wait for an answer, and those of the enclosing flow.
    pub parked: Arc<Parked>,
    parent: Option<Arc<Parked>>,
    /// Whether it only undoes what it did before.
    undoing: bool,
    timed_out: AtomicBool,
    /// The journal error that stopped the run.
    unwritable: Mutex<Option<StepError>>,
    entries: Mutex<Vec<StepEntry>>,
    /// Mask secrets in displayed and journaled values before these are cut.
    redactors: [Redactor; 2],
}

/// Why a step or item is not undone.
enum NotUndone {
    /// What answered has nothing to undo.
    Nothing,
    /// For this reason; whether effects may remain.
    Because { why: String, effects_remain: bool },
}

/// A task that ended.
enum Ended {
    Step(usize, Option<u32>, StepResult),
    Undone(usize, Option<u32>, Result<(), StepError>),
    /// The workflow of a step was undone.
    UndoneWorkflow(usize, Option<u32>, Result<(), StepError>, Vec<(String, String)>),
}

type Work<'f> = FuturesUnordered<BoxFuture<'f, Ended>>;

/// Runs a plan to its end. Boxed, because a flow may run flows.
pub fn run<'a>(run: &'a Run, plan: &'a Plan, frame: Frame) -> BoxFuture<'a, FlowEnd> {
    Box::pin(run_unboxed(run, plan, frame))
}

/// Undoes what a flow did that has succeeded. Boxed as [`run`].
pub fn undo<'a>(run: &'a Run, plan: &'a Plan, frame: Frame) -> BoxFuture<'a, FlowEnd> {
    Box::pin(async move {
        let flow = Flow { undoing: true, ..Flow::new(run, plan, frame) };
        let mut schedule = Schedule::of(plan, true);
        let mut log = CompensationLog::default();
        flow.restore(&mut schedule, &mut log);
        schedule.fail(true);
        flow.drive(&mut schedule, &mut log).await;
        flow.conclude(&schedule, log, None)
    })
}

async fn run_unboxed(run: &Run, plan: &Plan, frame: Frame) -> FlowEnd {
    let flow = Flow::new(run, plan, frame);
    let mut schedule = Schedule::of(plan, flow.within_compensation);
    let mut log = CompensationLog::default();
    flow.restore(&mut schedule, &mut log);
    flow.drive(&mut schedule, &mut log).await;
    let output = (schedule.halted().is_none() && !run.signals.is_interrupted()).then(|| flow.output());
    if let Some(Err(_)) = &output {
        // All steps succeeded but the outputs failed: compensate as after any failure.
        schedule.fail(flow.compensates());
        flow.drive(&mut schedule, &mut log).await;
    }
    flow.conclude(&schedule, log, output)
}

/// The progress of compensation.
#[derive(Default)]
struct CompensationLog {
    done: Vec<String>,
    not_done: Vec<(String, String)>,
    /// Whether a compensation failed.
    failed: bool,
    /// Whether effects remain, or may remain.
    effects_remain: bool,
}

impl CompensationLog {
    fn record(&mut self, label: String, result: &Result<(), StepError>) {
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
    /// Prepares the execution of a plan.
    fn new(run: &'a Run, plan: &'a Plan, frame: Frame) -> Flow<'a> {
        let value = |name: &String| run.spec.env.get(name).cloned().or_else(|| std::env::var(name).ok());
        let env: Vec<(String, String)> = plan.env.iter().filter_map(|name| value(name).map(|value| (name.clone(), value))).collect();
        // Values given by a test are written in its file, and its expectations are compared with results. They are masked only in
        // arguments and errors, and only if their names look secret.
        let (test_values, environment): (Vec<_>, Vec<_>) = env.iter().partition(|(name, _)| run.spec.env.contains_key(name));
        run.bus().secrets().learn(environment.into_iter().flat_map(|(name, value)| rule::of_value(name, value)));
        let test_values: Vec<Secret> =
            test_values.into_iter().filter(|(name, _)| looks_secret(name)).map(|(_, value)| Secret::literal(value)).collect();
        let forward = frame.signal.child();
        Flow {
            run,
            plan,
            paths: plan.steps.iter().map(|step| Arc::from(format!("{}{}", frame.prefix, step.id))).collect(),
            depth: frame.depth,
            scope: Scope::new(&plan.names, frame.input, &run.facts, env),
            signals: plan.steps.iter().map(|_| forward.child()).collect(),
            forward,
            prefix: frame.prefix,
            deadline: frame.deadline,
            within_compensation: frame.compensates,
            parked: Arc::default(),
            parent: frame.parent,
            undoing: false,
            timed_out: AtomicBool::new(false),
            unwritable: Mutex::default(),
            entries: Mutex::new(plan.steps.iter().map(|_| StepEntry::default()).collect()),
            redactors: [run.bus().secrets().redactor(), Redactor::new(&test_values)],
        }
    }

    /// Returns whether a failure of the flow as a whole leads to compensation.
    fn compensates(&self) -> bool {
        self.plan.on_error.inherited(self.within_compensation) == OnError::Compensate
    }

    /// Returns the effect of a step's failure.
    pub fn on_error(&self, step: usize) -> OnError {
        self.plan.steps[step].on_error.inherited(self.within_compensation)
    }

    /// Returns the time limit of a step, as changed for this run.
    pub fn timeout(&self, step: usize) -> Option<Duration> {
        let changed = self.run.changes(&self.paths[step]).find_map(|change| match change {
            Change::Timeout { limit } => Some(limit),
            Change::Attempts { .. } => None,
        });
        changed.or(self.plan.steps[step].timeout)
    }

    /// Returns the error of an expression with its location.
    pub fn unevaluated(&self, error: &Unevaluated) -> StepError {
        let before = self.plan.text.get(..error.at).unwrap_or_default();
        let entry = before.matches('\n').count() + 1;
        let mut step = StepError::new(StepErrorKind::Expression, error.to_string());
        step.detail.push(format!("{}:{entry}", self.plan.file).into());
        step
    }

    /// Returns arguments as displayed and journaled, and whether they were cut. A resumed run reads secrets from the
    /// environment again, so the journal need not hold them.
    pub fn shown(&self, arguments: &Body) -> (Body, bool) {
        shown(&self.redactors.iter().fold(arguments.clone(), |body, redactor| body.redacted(redactor)))
    }

    /// Returns an attempt's error as journaled when another attempt follows: kind and message, with secrets masked.
    pub fn masked(&self, error: &StepError) -> StepError {
        let mut message = error.message.clone();
        self.redactors.iter().for_each(|redactor| redactor.redact_in(&mut message));
        StepError { message, detail: vec![], ..*error }
    }

    /// Changes a step's view and publishes it, unless the change concerns one of many items.
    pub fn update_view(&self, step: usize, item: Option<u32>, change: impl FnOnce(&mut StepView)) {
        let view = {
            let mut entries = self.entries.lock();
            let view = &mut entries[step].view;
            let state = item.is_some().then(|| view.state.clone());
            change(view);
            if let Some(state) = state {
                view.state = state;
                return;
            }
            view.clone()
        };
        self.run.publish_step(&self.paths[step], view);
    }

    /// Restores the state of an interrupted run.
    fn restore(&self, schedule: &mut Schedule, log: &mut CompensationLog) {
        let recorded = self.run.nested.entries(&self.prefix);
        for entry in self.run.replay.entries(&self.prefix).iter().chain(&recorded) {
            match entry {
                ReplayEntry::GivenUp { time_up, undo, why } => {
                    self.timed_out.store(*time_up, Ordering::Relaxed);
                    if *time_up {
                        schedule.fail(*undo)
                    } else {
                        schedule.cancel()
                    }
                    self.forward.raise(why);
                }
                ReplayEntry::Item { id, item, end } => {
                    let Some(step) = self.plan.index(id) else { continue };
                    self.entries.lock()[step].restore_item(*item, end);
                    schedule.restore_item(step, *item, end_of(end.outcome));
                }
                ReplayEntry::Step { id, end } => {
                    let Some(step) = self.plan.index(id) else { continue };
                    let at = match end.outcome {
                        StepOutcome::Skipped => At::Skipped,
                        other => At::Ended(end_of(other)),
                    };
                    schedule.restore(step, at);
                    let each = self.plan.steps[step].for_each.is_some();
                    let (step_end, view) = self.entries.lock()[step].restore(end, each);
                    self.scope.settle(step, step_end);
                    if let Some(shown) = self.run.nested.view(&self.paths[step]) {
                        // The view of this process says more than the record.
                        self.entries.lock()[step].view = shown;
                    } else {
                        self.run.publish_step(&self.paths[step], view);
                    }
                }
                ReplayEntry::Undone { id, item, error } => {
                    let Some(step) = self.plan.index(id) else { continue };
                    schedule.restore_compensated(step, *item);
                    let result = error.clone().map_or(Ok(()), Err);
                    log.record(label(id, *item), &result);
                    match self.plan.steps[step].action {
                        Action::Workflow { .. } => self.record_nested_compensations(&nested_prefix(&self.paths[step], *item)),
                        _ => self.run.record_compensated(&self.paths[step], *item, &result),
                    }
                    self.show_compensation(step, &result, schedule);
                }
            }
        }
    }

    /// Records what an earlier process compensated in the workflow with this path prefix.
    fn record_nested_compensations(&self, prefix: &str) {
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

    async fn drive(&self, schedule: &mut Schedule, log: &mut CompensationLog) {
        let mut tasks: Work<'_> = FuturesUnordered::new();
        let mut changes = self.run.signals.changed.subscribe();
        let (mut cancelled, mut journal_broken, mut suspended) = (false, false, false);
        // Steps may have been cancelled before this flow started.
        self.cancel_steps(schedule);
        loop {
            let interrupted = self.run.signals.is_interrupted();
            while let Some(task) = if interrupted { None } else { schedule.next_task() } {
                self.start_task(task, schedule, &mut tasks, log);
            }
            if schedule.is_finished() || tasks.is_empty() {
                return;
            }
            if !suspended && self.parked.count.load(Ordering::Relaxed) >= tasks.len() {
                suspended = true;
                // All active steps wait for an answer, and no other can start.
                match &self.parent {
                    Some(parent) => parent.park(),
                    None => self.run.signals.suspend(),
                }
            }
            let timed_out = self.timed_out.load(Ordering::Relaxed);
            let late = async {
                match self.deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.forward.raised(), if !cancelled && !timed_out => {
                    cancelled = true;
                    // A failed run continues with its compensation, which has its own cancellation.
                    if schedule.halted().is_none() {
                        schedule.cancel();
                        self.write_cancelled(schedule).await;
                    }
                    self.finish_ended(schedule);
                }
                () = self.run.signals.compensation.raised(), if schedule.is_compensating() && schedule.running() == 0 => schedule.cancel(),
                () = late, if !cancelled && !timed_out => {
                    cancelled = true;
                    self.forward.raise(TIME_UP);
                    // Steps that failed before the deadline keep their own failure.
                    if schedule.halted().is_none() {
                        self.timed_out.store(true, Ordering::Relaxed);
                        let undoes = |step: usize| schedule.at(step) == At::Begun && self.on_error(step) == OnError::Compensate;
                        let undo = self.compensates() || (0..self.plan.steps.len()).any(undoes);
                        schedule.fail(undo);
                        self.write_cancelled(schedule).await;
                    }
                    self.finish_ended(schedule);
                }
                _ = changes.changed() => self.cancel_steps(schedule),
                () = self.parked.changed.notified() => {}
                Some(ended) = tasks.next() => {
                    self.ended(ended, schedule, log);
                    if self.run.pending_count() >= MAX_PENDING {
                        self.flush(schedule).await;
                    }
                }
                // No task starts now whose entry would include the pending ones.
                () = std::future::ready(()), if self.run.pending_count() > 0 && !journal_broken => journal_broken = !self.flush(schedule).await,
            }
        }
    }

    /// Journals that no further step starts, before any compensation that follows from it.
    async fn write_cancelled(&self, schedule: &Schedule) {
        let time_up = self.timed_out.load(Ordering::Relaxed);
        let entry = RunEntry::GivenUp { prefix: self.prefix.clone(), time_up, undo: schedule.is_compensating(), why: self.forward.why() };
        // If this fails, the next write fails too and reports the error.
        let _ = self.run.write(entry).await;
    }

    /// Writes the pending entries. A broken journal ends the run. Returns whether it succeeded.
    async fn flush(&self, schedule: &mut Schedule) -> bool {
        let Err(error) = self.run.write_pending().await else { return true };
        self.forward.raise(&error.message);
        if schedule.halted().is_none() {
            schedule.fail(self.compensates());
            *self.unwritable.lock() = Some(error);
        }
        false
    }

    /// Cancels the steps that the user cancelled.
    fn cancel_steps(&self, schedule: &mut Schedule) {
        let requested: Vec<(usize, String)> = {
            let steps = self.run.signals.steps.lock();
            let environment = self.paths.iter().enumerate().filter_map(|(step, path)| Some((step, steps.get(&**path)?.clone())));
            environment.filter(|(step, _)| !self.signals[*step].is_raised()).collect()
        };
        for (step, reason) in requested {
            self.signals[step].raise(&reason);
            self.entries.lock()[step].cancelled = Some(reason);
            schedule.cancel_step(step);
        }
        self.finish_ended(schedule);
    }

    fn start_task<'f>(&'f self, task: Task, schedule: &mut Schedule, tasks: &mut Work<'f>, log: &mut CompensationLog) {
        match task {
            Task::Decide(step) => self.decide(step, schedule),
            Task::Skipped { step, because } => {
                let why = format!("`{}` was skipped", self.plan.steps[because].id);
                self.entries.lock()[step].skipped = Some(why);
                self.finish(step, schedule);
            }
            Task::Start(step, item) => {
                let scope = match item {
                    Some(item) => self.with_item(step, item),
                    None => self.scope.clone(),
                };
                tasks.push(Box::pin(self.execute_step(step, item, scope)));
            }
            Task::Undo(step, item)
                if matches!(self.plan.steps[step].action, Action::Workflow { .. }) && self.compensation(step, item).is_none() =>
            {
                self.update_view(step, None, |view| view.state = StepState::Compensating);
                tasks.push(Box::pin(self.undo_workflow(step, item)));
            }
            Task::Undo(step, item) => match self.compensation_scope(step, item) {
                Ok((call, scope, in_doubt)) => {
                    if in_doubt {
                        log.effects_remain = true;
                        let why = "a fallback answered after the call failed; that call may have taken effect";
                        log.not_done.push((label(&self.plan.steps[step].id, item), why.to_owned()));
                    }
                    self.update_view(step, None, |view| view.state = StepState::Compensating);
                    tasks.push(Box::pin(self.compensate(step, item, call, scope)));
                }
                Err(NotUndone::Nothing) => schedule.compensation_ended(step, item),
                Err(NotUndone::Because { why, effects_remain }) => {
                    log.effects_remain |= effects_remain;
                    log.not_done.push((label(&self.plan.steps[step].id, item), why));
                    schedule.compensation_ended(step, item);
                }
            },
        }
    }

    /// Decides whether a step runs, and for how many items.
    fn decide(&self, step: usize, schedule: &mut Schedule) {
        let planned = &self.plan.steps[step];
        self.entries.lock()[step].begin(self.run.bus().now());
        let requested = planned.when.as_ref().map_or(Ok(true), |when| when.test(&self.scope));
        let items = match requested {
            Ok(true) => planned.for_each.as_ref().map(|each| each.items.eval(&self.scope)).transpose(),
            Ok(false) => {
                let when = planned.when.as_ref().map(|when| when.source()).unwrap_or_default();
                self.entries.lock()[step].skipped = Some(format!("when: {when}"));
                schedule.skip(step);
                return self.finish(step, schedule);
            }
            Err(error) => Err(error),
        };
        let items = items.map_err(|error| self.unevaluated(&error)).and_then(|items| match items {
            None => Ok(None),
            Some(items) => match items.len() {
                None => Err(StepError::new(StepErrorKind::Expression, format!("for_each is {}, not a list", items.kind()))),
                Some(count) if count > MAX_ITEMS => {
                    Err(StepError::new(StepErrorKind::Limit, format!("for_each has {count} items; at most {MAX_ITEMS} are possible")))
                }
                Some(count) => Ok(Some((items, u32::try_from(count).unwrap_or(u32::MAX)))),
            },
        });
        match items {
            Err(error) => {
                self.entries.lock()[step].error = Some(error);
                schedule.refuse(step);
            }
            Ok(items) => {
                let count = items.as_ref().map(|(_, count)| *count);
                self.entries.lock()[step].fan_out(items);
                schedule.begin(step, count);
                self.update_view(step, None, |view| view.state = StepState::Running);
            }
        }
        self.finish(step, schedule);
    }

    /// Returns the scope of an item.
    fn with_item(&self, step: usize, item: u32) -> Scope {
        let place = usize::try_from(item).unwrap_or(usize::MAX);
        let known = self.entries.lock()[step].items.clone();
        // The items of a step that ended before the interruption are not restored.
        let items = known.or_else(|| self.plan.steps[step].for_each.as_ref()?.items.eval(&self.scope).ok());
        let value = items.and_then(|items| items.item(place)).unwrap_or_default();
        self.scope.with_item(value, place)
    }

    async fn execute_step(&self, step: usize, item: Option<u32>, scope: Scope) -> Ended {
        let began = Instant::now();
        let execution = StepExecution { flow: self, step, item, scope, signal: self.signals[step].clone() };
        let mut result = execution.execute().await;
        if self.timed_out.load(Ordering::Relaxed)
            && let StepResult::Cancelled(error) = result
        {
            result = StepResult::Failed(StepError { kind: StepErrorKind::Timeout, ..error });
        }
        if let StepResult::Done(answered) = &result
            && self.entries.lock()[step].bytes + answered.json.len() > MAX_RESULT
        {
            let most = crate::domain::time::size(MAX_RESULT as u64);
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

    /// Returns the call that undoes a step or item: that of the fallback that answered, else the step's own.
    fn compensation(&self, step: usize, item: Option<u32>) -> Option<&ToolCall> {
        let planned = &self.plan.steps[step];
        let answered_by = self.entries.lock()[step].response(item).and_then(|response| response.answered_by());
        match answered_by.and_then(|index| planned.fallback.get(usize::try_from(index).ok()?)) {
            Some(Fallback::Tool { compensate, .. }) => compensate.as_ref(),
            _ => planned.compensate.as_ref(),
        }
    }

    /// Returns the call that undoes a step or item, with its scope, and whether an attempt before the fallback that answered may
    /// have taken effect.
    fn compensation_scope(&self, step: usize, item: Option<u32>) -> Result<(&ToolCall, Scope, bool), NotUndone> {
        let because = |why: &str, effects_remain| NotUndone::Because { why: why.to_owned(), effects_remain };
        let planned = &self.plan.steps[step];
        let response = self.entries.lock()[step].response(item);
        let Some(response) = response else { return Err(because("its result is unknown", true)) };
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
        let scope = item.map_or_else(|| self.scope.clone(), |item| self.with_item(step, item));
        Ok((call, scope.with_result(response.result.clone(), response.text()), by_fallback && response.in_doubt()))
    }

    async fn compensate(&self, step: usize, item: Option<u32>, call: &ToolCall, scope: Scope) -> Ended {
        let compensation = Compensation { flow: self, step, item, call, scope, signal: self.run.signals.compensation.clone() };
        Ended::Undone(step, item, compensation.run().await)
    }

    /// Undoes the steps of a step's workflow, which ran in this process or in one before.
    async fn undo_workflow(&self, step: usize, item: Option<u32>) -> Ended {
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

    fn ended(&self, ended: Ended, schedule: &mut Schedule, log: &mut CompensationLog) {
        match ended {
            Ended::Step(step, item, result) => {
                let end = match &result {
                    StepResult::Done(_) => End::Ok,
                    StepResult::Failed(_) => End::Failed,
                    StepResult::Cancelled(_) => End::Cancelled,
                };
                let undoable = self.plan.steps[step].is_undoable();
                let changed = self.entries.lock()[step].record(item, result, undoable);
                schedule.settle(step, item, end);
                if changed {
                    self.update_view(step, None, |_| {});
                }
                self.finish(step, schedule);
            }
            Ended::Undone(step, item, result) => {
                log.record(label(&self.plan.steps[step].id, item), &result);
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

    /// Updates the view of a step after a compensation; a step with items is compensated with its last item.
    fn show_compensation(&self, step: usize, result: &Result<(), StepError>, schedule: &Schedule) {
        let more = schedule.pending_compensations().iter().any(|(other, _)| *other == step);
        self.update_view(step, None, |view| match (result, &view.state) {
            (Err(error), _) => view.state = StepState::CompensationFailed { error: Arc::new(error.clone()) },
            (Ok(()), StepState::CompensationFailed { .. }) => {}
            (Ok(()), _) => view.state = if more { StepState::Compensating } else { StepState::Compensated },
        });
    }

    /// Publishes and journals the end of a step that the schedule reports, once.
    fn finish(&self, step: usize, schedule: &Schedule) {
        let outcome = match schedule.at(step) {
            At::Ended(End::Ok) => StepOutcome::Ok,
            At::Ended(End::Failed) => StepOutcome::Failed,
            At::Ended(End::Cancelled) => StepOutcome::Cancelled,
            At::Skipped => StepOutcome::Skipped,
            At::Pending | At::Deciding | At::Begun => return,
        };
        let now = self.run.bus().now();
        let Some(finished) = self.entries.lock()[step].finish(outcome, now, self.forward.why()) else { return };
        self.scope.settle(step, finished.step_end);
        self.run.publish_step(&self.paths[step], finished.view);
        // A resumed run decides on a skipped step again; all others must be in the journal.
        if let Some(end) = finished.unwritten.filter(|_| outcome != StepOutcome::Skipped) {
            self.run.queue(RunEntry::StepEnded { step: self.paths[step].clone(), end });
        }
    }

    /// Finishes every step that ended with the schedule as a whole.
    fn finish_ended(&self, schedule: &Schedule) {
        for step in 0..self.plan.steps.len() {
            self.finish(step, schedule);
        }
    }

    fn conclude(&self, schedule: &Schedule, mut log: CompensationLog, output: Option<Result<Data, StepError>>) -> FlowEnd {
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
            if !self.undoing && entry.never_ended(halted.is_some(), self.run.bus().now(), &self.forward.why()) {
                self.run.publish_step(&self.paths[step], entry.view.clone());
            }
        }
        let refused = first.as_ref().is_some_and(|(_, error)| error.kind == StepErrorKind::Refused);
        // The run as a whole also compensated what its nested workflows undid when they failed.
        let compensated = !log.done.is_empty() || (self.depth == 0 && self.run.has_compensated());
        let has_failure = |entry: &StepEntry| entry.error.is_some() || entry.failed_items > 0;
        let outcome = match halted {
            _ if log.failed => RunOutcome::CompensationFailed,
            Some(Halt::Cancelled) => RunOutcome::Cancelled,
            _ if timed_out => RunOutcome::TimedOut,
            // `Compensated` only if no effects remain.
            Some(Halt::Failed) if log.effects_remain && (schedule.is_compensating() || compensated) => RunOutcome::CompensationFailed,
            Some(Halt::Failed) if refused => RunOutcome::Refused,
            Some(Halt::Failed) if compensated => RunOutcome::Compensated,
            Some(Halt::Failed) => RunOutcome::Failed,
            None if entries.iter().any(has_failure) => RunOutcome::Partial,
            None => RunOutcome::Ok,
        };
        let steps = self.plan.steps.iter().zip(entries.iter()).map(|(step, entry)| (step.id.clone(), Arc::new(entry.view.clone())));
        let steps: Vec<_> = steps.collect();
        drop(entries);
        let output = match output {
            Some(Ok(data)) => Some(data),
            Some(Err(error)) => {
                why = Some(format!("output: {}", error.message));
                None
            }
            None => None,
        };
        FlowEnd { outcome, why, steps, output, not_compensated: log.not_done }
    }

    fn limit_words(&self) -> String {
        let environment = if self.depth == 0 { self.run.spec.timeout.or(self.plan.timeout) } else { self.plan.timeout };
        environment.map(|limit| format!(" ({})", short(limit))).unwrap_or_default()
    }

    /// Returns the failure that ended the run: the first one of a step whose failure counts.
    fn first_failure(&self, entries: &[StepEntry]) -> Option<(usize, StepError)> {
        let counts = |(step, _): &(usize, &StepEntry)| self.plan.steps[*step].on_error != OnError::Continue;
        let failed = entries.iter().enumerate().filter(counts).filter(|(_, entry)| entry.error.is_some());
        failed.min_by_key(|(_, entry)| entry.view.ended).and_then(|(step, entry)| Some((step, entry.error.clone()?)))
    }

    fn first_cancelled(&self, entries: &[StepEntry]) -> Option<String> {
        let cancelled = entries.iter().enumerate().find_map(|(step, entry)| Some((step, entry.cancelled.as_ref()?)))?;
        Some(format!("step `{}` was cancelled: {}", self.plan.steps[cancelled.0].id, cancelled.1))
    }

    /// Returns the run's output: its outputs, or the result of its last step.
    fn output(&self) -> Result<Data, StepError> {
        if self.plan.output.is_empty() {
            let last = self.plan.steps.len().saturating_sub(1);
            return Ok(self.entries.lock().get(last).map(StepEntry::result).unwrap_or_default());
        }
        let members =
            self.plan.output.iter().map(|(name, template)| {
                template.eval(&self.scope).map(|data| (name.as_str(), data)).map_err(|error| self.unevaluated(&error))
            });
        Ok(Data::object(members.collect::<Result<Vec<_>, _>>()?))
    }
}

/// Returns the path prefix of the steps of a step's workflow.
pub fn nested_prefix(path: &str, item: Option<u32>) -> String {
    format!("{}/", label(path, item))
}

fn end_of(outcome: StepOutcome) -> End {
    match outcome {
        StepOutcome::Ok | StepOutcome::Skipped => End::Ok,
        StepOutcome::Failed => End::Failed,
        StepOutcome::Cancelled => End::Cancelled,
    }
}

fn record(result: &StepResult, took: Duration) -> StepRecord {
    let mut record = StepRecord {
        outcome: StepOutcome::Ok,
        result: None,
        text: None,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        error: None,
        fallback: None,
        nothing_done: false,
        in_doubt: false,
        answered_by: None,
        items: None,
    };
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
