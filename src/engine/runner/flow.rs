//! A flow: drives one plan from its first step to its last. Asks the schedule for the next task, executes it and records its
//! result. A workflow within a step is a flow of its own.
//!
//! `decide` decides whether a step runs, `ends` executes it and records its end, `restore` restores a flow from the journal, `rounds`
//! repeats steps, `undo` compensates them, `conclusion` determines the outcome, `group` lets one run of a `concurrency` group in, and
//! `phases` runs the steps of `on_failure` and `finally` after it.

mod conclusion;
mod decide;
mod ends;
mod group;
mod phases;
mod restore;
mod rounds;
mod undo;

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
    step::StepResult,
    step_state::{StepEntry, label},
};
use crate::domain::{
    body::Body,
    journal::{RunEntry, StepOutcome},
    run::{Change, RunOutcome, StepError, StepErrorKind, StepState, StepView, shown},
    secret::{Redactor, Secret, rule},
    server::looks_secret,
    workflow::{
        expression::{Data, Scope, Unevaluated},
        plan::{Action, OnError, Phase, Plan},
        schedule::{At, End, Schedule, Task},
    },
};

pub use self::undo::undo;
use self::undo::{CompensationLog, NotUndone};

/// The cancellation reason when the deadline passes.
const TIME_UP: &str = "the run's time was up";

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
    began: Instant,
    deadline: Option<Instant>,
    /// The `timeout` of the plan or the run, for messages.
    limit: Option<Duration>,
    /// Maximum number of concurrent steps.
    max_parallel: usize,
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

/// Returns the time limit of a run as a whole: that of the request for it, else that of the plan.
pub fn time_limit(run: &Run, plan: &Plan, input: &Data) -> Option<Duration> {
    let Some(limit) = plan.timeout.as_ref().filter(|_| run.spec.timeout.is_none()) else { return run.spec.timeout };
    let signal = Signal::default();
    let frame = Frame { prefix: String::new(), depth: 0, input: input.clone(), signal, deadline: None, compensates: false, parent: None };
    // An error is reported when the flow starts.
    limit.eval(&Flow::new(run, plan, frame).scope).ok()
}

async fn run_unboxed(run: &Run, plan: &Plan, frame: Frame) -> FlowEnd {
    let overridden = frame.depth == 0 && (run.spec.timeout.is_some() || run.deadline_ms.is_some());
    let mut flow = Flow::new(run, plan, frame);
    let _group = match flow.evaluate_settings(overridden) {
        Ok(()) => match flow.enter_group().await {
            Ok(group) => group,
            Err(error) => return flow.not_started(error),
        },
        Err(why) => return flow.not_started(StepError::new(StepErrorKind::Expression, why)),
    };
    let mut schedule = Schedule::of(plan, Phase::Main, flow.within_compensation, flow.max_parallel);
    let mut log = CompensationLog::default();
    flow.restore(&mut schedule, &mut log);
    flow.drive(&mut schedule, &mut log, Phase::Main).await;
    let output = (schedule.halted().is_none() && !run.signals.is_interrupted()).then(|| flow.output());
    if let Some(Err(_)) = &output {
        // All steps succeeded but the outputs failed: compensate as after any failure.
        schedule.fail(flow.compensates());
        flow.drive(&mut schedule, &mut log, Phase::Main).await;
    }
    let mut verdict = flow.conclude(&schedule, &mut log, output);
    flow.later_phases(&mut verdict, &mut log).await;
    flow.end(verdict, log)
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
        let signal_of = |phase: Phase| match phase {
            Phase::Main => forward.child(),
            Phase::OnFailure | Phase::Finally => run.signals.compensation.child(),
        };
        Flow {
            run,
            plan,
            paths: plan.steps.iter().map(|step| Arc::from(format!("{}{}", frame.prefix, step.id))).collect(),
            depth: frame.depth,
            scope: Scope::new(&plan.names, frame.input, &run.facts, env),
            signals: plan.steps.iter().map(|step| signal_of(step.phase)).collect(),
            forward,
            prefix: frame.prefix,
            began: Instant::now(),
            deadline: frame.deadline,
            limit: run.spec.timeout.filter(|_| frame.depth == 0),
            max_parallel: 1,
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

    /// Returns the time limit of a step or of one of its items, as changed for this run.
    pub fn timeout(&self, step: usize, scope: &Scope) -> Result<Option<Duration>, StepError> {
        let changed = self.run.changes(&self.paths[step]).find_map(|change| match change {
            Change::Timeout { limit } => Some(limit),
            Change::Attempts { .. } => None,
        });
        match (changed, &self.plan.steps[step].timeout) {
            (None, Some(limit)) => limit.eval(scope).map(Some).map_err(|why| StepError::new(StepErrorKind::Expression, why)),
            (changed, _) => Ok(changed),
        }
    }

    /// Waits until the deadline passes; forever without one.
    async fn deadline_passed(&self) {
        match self.deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }

    /// Evaluates the settings of the flow as a whole: its deadline and how many steps run concurrently.
    fn evaluate_settings(&mut self, overridden: bool) -> Result<(), String> {
        self.max_parallel = self.plan.max_parallel.eval(&self.scope)?;
        if let Some(limit) = self.plan.timeout.as_ref().filter(|_| !overridden) {
            let limit = limit.eval(&self.scope)?;
            let deadline = self.began + limit;
            self.limit = Some(limit);
            self.deadline = Some(self.deadline.map_or(deadline, |outer| outer.min(deadline)));
        }
        Ok(())
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

    /// Runs the steps of a phase, and compensates those of the main phase.
    async fn drive(&self, schedule: &mut Schedule, log: &mut CompensationLog, phase: Phase) {
        let mut tasks: Work<'_> = FuturesUnordered::new();
        let mut changes = self.run.signals.changed.subscribe();
        // Neither the cancellation nor the deadline of the run ends the later phases.
        let (mut cancelled, mut journal_broken) = (phase != Phase::Main, false);
        let (mut phase_cancelled, mut suspended) = (phase == Phase::Main, false);
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
            tokio::select! {
                biased;
                () = self.forward.raised(), if !cancelled && !timed_out => {
                    cancelled = true;
                    self.cancel_forward(schedule).await;
                }
                () = self.run.signals.compensation.raised(), if schedule.is_compensating() && schedule.running() == 0 => schedule.cancel(),
                () = self.run.signals.compensation.raised(), if !phase_cancelled => {
                    phase_cancelled = true;
                    schedule.cancel();
                    self.finish_ended(schedule);
                }
                () = self.deadline_passed(), if !cancelled && !timed_out => {
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
                    // A step that ends because the run was cancelled must not count as failed.
                    if !cancelled && !timed_out && self.forward.is_raised() {
                        cancelled = true;
                        self.cancel_forward(schedule).await;
                    }
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

    /// Starts no further step. A failed run continues with its compensation, which has its own cancellation.
    async fn cancel_forward(&self, schedule: &mut Schedule) {
        if schedule.halted().is_none() {
            schedule.cancel();
            self.write_cancelled(schedule).await;
        }
        self.finish_ended(schedule);
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
