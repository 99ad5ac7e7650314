//! One plan from its first step to its last: asks the schedule what is next, has it done, keeps what came
//! of it. Workflows within are flows of their own.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

use super::{
    Run,
    cancellation::Signal,
    compensation::Undoer,
    replay::Line,
    step::{LARGEST_RESULT, Leaf, Worker},
    step_state::{StepEntry, label},
};
use crate::{
    domain::{
        body::Body,
        journal::{RunEntry, StepOutcome, StepRecord},
        run::{Change, RunOutcome, StepError, StepErrorKind, StepState, StepView, shown},
        secret::{Redactor, Secret, rule},
        server::looks_secret,
        time::short,
        workflow::{
            expression::{Data, Scope, Unevaluated},
            plan::{Action, OnError, Plan},
            schedule::{At, End, Halt, Schedule, Task},
        },
    },
    engine::lock,
};

/// Why what goes forward is given up at the deadline.
const TIME_UP: &str = "the run's time was up";

/// Items of one step.
const MOST_ITEMS: usize = 100_000;

/// Entries that are noted at most before they are written.
const TOGETHER: usize = 64;

/// Where and with what a flow begins.
pub struct Frame {
    /// What stands before the ids in paths: empty, or a path with a slash.
    pub prefix: String,
    /// How many flows are around it.
    pub depth: usize,
    /// The checked input.
    pub input: Data,
    /// Gives it up.
    pub signal: Signal,
    /// When its time is up.
    pub deadline: Option<Instant>,
}

/// How a flow ended.
pub struct FlowEnd {
    /// How.
    pub outcome: RunOutcome,
    /// Why, unless it went well.
    pub why: Option<String>,
    /// Its steps, in the order of the file.
    pub steps: Vec<(Arc<str>, Arc<StepView>)>,
    /// The outputs, when it went to its end.
    pub output: Option<Data>,
    /// What was undone, in that order.
    pub compensated: Vec<String>,
    /// What was not, and why.
    pub not_compensated: Vec<(String, String)>,
}

/// A plan at work.
pub struct Flow<'a> {
    /// The run that it is of.
    pub run: &'a Run,
    prefix: String,
    /// The plan.
    pub plan: &'a Plan,
    /// The paths of its steps.
    pub paths: Vec<Arc<str>>,
    /// How many flows are around it.
    pub depth: usize,
    scope: Scope,
    /// Gives up all that goes forward.
    forward: Signal,
    /// Gives up single steps.
    signals: Vec<Signal>,
    deadline: Option<Instant>,
    timed_out: AtomicBool,
    /// The run was given up since its journal could not be written.
    unwritable: Mutex<Option<StepError>>,
    slots: Mutex<Vec<StepEntry>>,
    /// Masks secrets in what is shown and journaled, before it is cut.
    redactors: [Redactor; 2],
}

/// Something that ended.
enum Ended {
    Leaf(usize, Option<u32>, Leaf),
    Undone(usize, Option<u32>, Result<(), StepError>),
}

type Work<'f> = FuturesUnordered<BoxFuture<'f, Ended>>;

/// Runs a plan to its end. Boxed, since a flow may run flows.
pub fn run<'a>(run: &'a Run, plan: &'a Plan, frame: Frame) -> BoxFuture<'a, FlowEnd> {
    Box::pin(run_unboxed(run, plan, frame))
}

async fn run_unboxed(run: &Run, plan: &Plan, frame: Frame) -> FlowEnd {
    let value = |name: &String| run.spec.env.get(name).cloned().or_else(|| std::env::var(name).ok());
    let env: Vec<(String, String)> = plan.env.iter().filter_map(|name| value(name).map(|value| (name.clone(), value))).collect();
    // Values that a test gives are written in its file, and what it expects is compared with results: only where they
    // are arguments or within errors, and under secret names, they are masked.
    let (given, own): (Vec<_>, Vec<_>) = env.iter().partition(|(name, _)| run.spec.env.contains_key(name));
    run.bus().secrets().learn(own.into_iter().flat_map(|(name, value)| rule::of_value(name, value)));
    let given: Vec<Secret> = given.into_iter().filter(|(name, _)| looks_secret(name)).map(|(_, value)| Secret::literal(value)).collect();
    let forward = frame.signal.child();
    let flow = Flow {
        run,
        plan,
        paths: plan.steps.iter().map(|step| Arc::from(format!("{}{}", frame.prefix, step.id))).collect(),
        depth: frame.depth,
        scope: Scope::new(&plan.names, frame.input, &run.facts, env),
        signals: plan.steps.iter().map(|_| forward.child()).collect(),
        forward,
        prefix: frame.prefix,
        deadline: frame.deadline,
        timed_out: AtomicBool::new(false),
        unwritable: Mutex::default(),
        slots: Mutex::new(plan.steps.iter().map(|_| StepEntry::default()).collect()),
        redactors: [run.bus().secrets().redactor(), Redactor::new(&given)],
    };
    let mut schedule = Schedule::of(plan);
    let mut undoing = Undoing::default();
    flow.restore(&mut schedule, &mut undoing);
    flow.drive(&mut schedule, &mut undoing).await;
    let output = (schedule.halted().is_none() && !run.stop.is_interrupted()).then(|| flow.output());
    if let Some(Err(_)) = &output {
        // All was done, but for nothing: what the workflow undoes after failures is undone after this one too.
        schedule.fail(plan.on_error == OnError::Compensate);
        flow.drive(&mut schedule, &mut undoing).await;
    }
    flow.conclude(&schedule, undoing, output)
}

/// What became of undoing.
#[derive(Default)]
struct Undoing {
    done: Vec<String>,
    not: Vec<(String, String)>,
    /// Undoing something was tried and failed.
    failed: bool,
    /// Something was done, or may have been, and stands.
    open: bool,
}

impl Undoing {
    fn note(&mut self, label: String, result: &Result<(), StepError>) {
        match result {
            Ok(()) => self.done.push(label),
            Err(error) => {
                self.failed = true;
                self.open = true;
                self.not.push((label, error.message.clone()));
            }
        }
    }
}

impl Flow<'_> {
    /// The time limit of a step, as changed for this run.
    pub fn timeout(&self, step: usize) -> Option<Duration> {
        let changed = self.run.changes(&self.paths[step]).find_map(|change| match change {
            Change::Timeout { limit } => Some(limit),
            Change::Attempts { .. } => None,
        });
        changed.or(self.plan.steps[step].timeout)
    }

    /// The error of an expression, with where it stands.
    pub fn unevaluated(&self, error: &Unevaluated) -> StepError {
        let before = self.plan.text.get(..error.at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let mut step = StepError::new(StepErrorKind::Expression, error.to_string());
        step.detail.push(format!("{}:{line}", self.plan.file).into());
        step
    }

    /// Arguments as they are shown and written down, and whether they were cut. A secret of the environment is read anew
    /// when a run goes on, so that it need not stand in the journal.
    pub fn shown(&self, arguments: &Body) -> (Body, bool) {
        shown(&self.redactors.iter().fold(arguments.clone(), |body, redactor| body.redacted(redactor)))
    }

    /// An error as it is written down of an attempt that is followed by another: its class and words, secrets masked.
    pub fn masked(&self, error: &StepError) -> StepError {
        let mut message = error.message.clone();
        self.redactors.iter().for_each(|redactor| redactor.redact_in(&mut message));
        StepError { message, detail: vec![], ..*error }
    }

    /// Changes a step's view, and tells it unless it is one item of many that changes.
    pub fn note(&self, step: usize, item: Option<u32>, change: impl FnOnce(&mut StepView)) {
        let view = {
            let mut slots = lock(&self.slots);
            let view = &mut slots[step].view;
            let state = item.is_some().then(|| view.state.clone());
            change(view);
            if let Some(state) = state {
                view.state = state;
                return;
            }
            view.clone()
        };
        self.run.tell(&self.paths[step], view);
    }

    /// Takes over what an earlier life of the run did.
    fn restore(&self, schedule: &mut Schedule, undoing: &mut Undoing) {
        for line in self.run.memory.lines(&self.prefix) {
            match line {
                Line::GivenUp { time_up, undo, why } => {
                    self.timed_out.store(*time_up, Ordering::Relaxed);
                    if *time_up {
                        schedule.fail(*undo)
                    } else {
                        schedule.cancel()
                    }
                    self.forward.raise(why);
                }
                Line::Item { id, item, end } => {
                    let Some(step) = self.plan.index(id) else { continue };
                    lock(&self.slots)[step].restore_item(*item, end);
                    schedule.restore_item(step, *item, end_of(end.outcome));
                }
                Line::Step { id, end } => {
                    let Some(step) = self.plan.index(id) else { continue };
                    let at = match end.outcome {
                        StepOutcome::Skipped => At::Skipped,
                        other => At::Ended(end_of(other)),
                    };
                    schedule.restore(step, at);
                    let each = self.plan.steps[step].for_each.is_some();
                    let (told, view) = lock(&self.slots)[step].restore(end, each);
                    self.scope.settle(step, told);
                    self.run.tell(&self.paths[step], view);
                }
                Line::Undone { id, item, error } => {
                    let Some(step) = self.plan.index(id) else { continue };
                    schedule.restore_compensated(step, *item);
                    let result = error.clone().map_or(Ok(()), Err);
                    undoing.note(label(id, *item), &result);
                    self.show_undone(step, &result, schedule);
                }
            }
        }
    }

    async fn drive(&self, schedule: &mut Schedule, undoing: &mut Undoing) {
        let mut work: Work<'_> = FuturesUnordered::new();
        let mut changes = self.run.stop.changed.subscribe();
        let (mut given_up, mut broken) = (false, false);
        // Steps may have been given up before this flow began.
        self.cancel_steps(schedule);
        loop {
            let interrupted = self.run.stop.is_interrupted();
            while let Some(task) = if interrupted { None } else { schedule.next_task() } {
                self.take(task, schedule, &mut work, undoing);
            }
            if schedule.is_finished() || work.is_empty() {
                return;
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
                () = self.forward.raised(), if !given_up && !timed_out => {
                    given_up = true;
                    // A run that failed goes on to undo what it did; giving that up is another matter.
                    if schedule.halted().is_none() {
                        schedule.cancel();
                        self.write_given_up(schedule).await;
                    }
                    self.sweep(schedule);
                }
                () = self.run.stop.undoing.raised(), if schedule.is_compensating() && schedule.running() == 0 => schedule.cancel(),
                () = late, if !given_up && !timed_out => {
                    given_up = true;
                    self.forward.raise(TIME_UP);
                    // What failed before its time was up failed for its own reason.
                    if schedule.halted().is_none() {
                        self.timed_out.store(true, Ordering::Relaxed);
                        let undoes = |step: usize| schedule.at(step) == At::Begun && self.plan.steps[step].on_error == OnError::Compensate;
                        let undo = self.plan.on_error == OnError::Compensate || (0..self.plan.steps.len()).any(undoes);
                        schedule.fail(undo);
                        self.write_given_up(schedule).await;
                    }
                    self.sweep(schedule);
                }
                _ = changes.changed() => self.cancel_steps(schedule),
                Some(ended) = work.next() => {
                    self.ended(ended, schedule, undoing);
                    if self.run.unwritten() >= TOGETHER {
                        self.flush(schedule).await;
                    }
                }
                // Nothing goes on at once that would take along what was noted.
                () = std::future::ready(()), if self.run.unwritten() > 0 && !broken => broken = !self.flush(schedule).await,
            }
        }
    }

    /// Writes down that nothing goes forward any more, before anything is undone because of it.
    async fn write_given_up(&self, schedule: &Schedule) {
        let time_up = self.timed_out.load(Ordering::Relaxed);
        let entry = RunEntry::GivenUp { prefix: self.prefix.clone(), time_up, undo: schedule.is_compensating(), why: self.forward.why() };
        // If it cannot be written, whatever comes next cannot be either, and says so.
        let _ = self.run.write(entry).await;
    }

    /// Writes down what was noted. A journal that cannot be written ends the run; says whether it could.
    async fn flush(&self, schedule: &mut Schedule) -> bool {
        let Err(error) = self.run.flush().await else { return true };
        self.forward.raise(&error.message);
        if schedule.halted().is_none() {
            schedule.fail(self.plan.on_error == OnError::Compensate);
            *lock(&self.unwritable) = Some(error);
        }
        false
    }

    /// Gives up the steps that somebody wants given up.
    fn cancel_steps(&self, schedule: &mut Schedule) {
        let wanted: Vec<(usize, String)> = {
            let steps = lock(&self.run.stop.steps);
            let own = self.paths.iter().enumerate().filter_map(|(step, path)| Some((step, steps.get(&**path)?.clone())));
            own.filter(|(step, _)| !self.signals[*step].is_raised()).collect()
        };
        for (step, reason) in wanted {
            self.signals[step].raise(&reason);
            lock(&self.slots)[step].cancelled = Some(reason);
            schedule.cancel_step(step);
        }
        self.sweep(schedule);
    }

    fn take<'f>(&'f self, task: Task, schedule: &mut Schedule, work: &mut Work<'f>, undoing: &mut Undoing) {
        match task {
            Task::Decide(step) => self.decide(step, schedule),
            Task::Skipped { step, because } => {
                let why = format!("`{}` was skipped", self.plan.steps[because].id);
                lock(&self.slots)[step].skipped = Some(why);
                self.finish(step, schedule);
            }
            Task::Start(step, item) => {
                let scope = match item {
                    Some(item) => self.with_item(step, item),
                    None => self.scope.clone(),
                };
                work.push(Box::pin(self.leaf(step, item, scope)));
            }
            Task::Undo(step, item) => match self.undo_scope(step, item) {
                Ok(scope) => {
                    self.note(step, None, |view| view.state = StepState::Compensating);
                    work.push(Box::pin(self.undo(step, item, scope)));
                }
                Err((why, open)) => {
                    undoing.open |= open;
                    undoing.not.push((label(&self.plan.steps[step].id, item), why));
                    schedule.compensation_ended(step, item);
                }
            },
        }
    }

    /// Decides whether a step is done, and how often.
    fn decide(&self, step: usize, schedule: &mut Schedule) {
        let planned = &self.plan.steps[step];
        lock(&self.slots)[step].begin(self.run.bus().now());
        let wanted = planned.when.as_ref().map_or(Ok(true), |when| when.test(&self.scope));
        let items = match wanted {
            Ok(true) => planned.for_each.as_ref().map(|each| each.items.eval(&self.scope)).transpose(),
            Ok(false) => {
                let when = planned.when.as_ref().map(|when| when.source()).unwrap_or_default();
                lock(&self.slots)[step].skipped = Some(format!("when: {when}"));
                schedule.skip(step);
                return self.finish(step, schedule);
            }
            Err(error) => Err(error),
        };
        let items = items.map_err(|error| self.unevaluated(&error)).and_then(|items| match items {
            None => Ok(None),
            Some(items) => match items.len() {
                None => Err(StepError::new(StepErrorKind::Expression, format!("for_each is {}, not a list", items.kind()))),
                Some(count) if count > MOST_ITEMS => {
                    Err(StepError::new(StepErrorKind::Limit, format!("for_each has {count} items; at most {MOST_ITEMS} are possible")))
                }
                Some(count) => Ok(Some((items, u32::try_from(count).unwrap_or(u32::MAX)))),
            },
        });
        match items {
            Err(error) => {
                lock(&self.slots)[step].error = Some(error);
                schedule.refuse(step);
            }
            Ok(items) => {
                let count = items.as_ref().map(|(_, count)| *count);
                lock(&self.slots)[step].fan_out(items);
                schedule.begin(step, count);
                self.note(step, None, |view| view.state = StepState::Running);
            }
        }
        self.finish(step, schedule);
    }

    /// The scope of an item.
    fn with_item(&self, step: usize, item: u32) -> Scope {
        let place = usize::try_from(item).unwrap_or(usize::MAX);
        let known = lock(&self.slots)[step].items.clone();
        // Of a step that ended in an earlier life of the run the items are not there yet.
        let items = known.or_else(|| self.plan.steps[step].for_each.as_ref()?.items.eval(&self.scope).ok());
        let value = items.and_then(|items| items.item(place)).unwrap_or_default();
        self.scope.with_item(value, place)
    }

    async fn leaf(&self, step: usize, item: Option<u32>, scope: Scope) -> Ended {
        let began = Instant::now();
        let worker = Worker { flow: self, step, item, scope, signal: self.signals[step].clone() };
        let mut leaf = worker.work().await;
        if self.timed_out.load(Ordering::Relaxed)
            && let Leaf::Cancelled(error) = leaf
        {
            leaf = Leaf::Failed(StepError { kind: StepErrorKind::Timeout, ..error });
        }
        if let Leaf::Done(answered) = &leaf
            && lock(&self.slots)[step].bytes + answered.json.len() > LARGEST_RESULT
        {
            let most = crate::domain::time::size(LARGEST_RESULT as u64);
            let error = StepError::new(StepErrorKind::Limit, format!("the results of the items are longer than {most} together"));
            leaf = Leaf::Failed(StepError { may_have_run: true, ..error });
        }
        let end = record(&leaf, began.elapsed());
        let path = self.paths[step].clone();
        let entry = match item {
            Some(item) => RunEntry::ItemEnded { step: path, item, end },
            None => RunEntry::StepEnded { step: path, end },
        };
        self.run.note(entry);
        Ended::Leaf(step, item, leaf)
    }

    /// What undoing a step, or an item of it, sees; or why it is not undone, and whether something of it may stand.
    fn undo_scope(&self, step: usize, item: Option<u32>) -> Result<Scope, (String, bool)> {
        let kept = lock(&self.slots)[step].kept(item);
        let Some(kept) = kept else { return Err(("its result is not known".into(), true)) };
        if kept.nothing_done() && kept.in_doubt() {
            return Err(("a value answered in its place, after the call failed and may have been done all the same".into(), true));
        }
        if kept.nothing_done() {
            return Err(("a value answered in its place, so nothing was undone".into(), false));
        }
        let scope = item.map_or_else(|| self.scope.clone(), |item| self.with_item(step, item));
        Ok(scope.with_result(kept.result.clone(), kept.text()))
    }

    async fn undo(&self, step: usize, item: Option<u32>, scope: Scope) -> Ended {
        let undoer = Undoer { flow: self, step, item, scope, signal: self.run.stop.undoing.clone() };
        Ended::Undone(step, item, undoer.work().await)
    }

    fn ended(&self, ended: Ended, schedule: &mut Schedule, undoing: &mut Undoing) {
        match ended {
            Ended::Leaf(step, item, leaf) => {
                let end = match &leaf {
                    Leaf::Done(_) => End::Ok,
                    Leaf::Failed(_) => End::Failed,
                    Leaf::Cancelled(_) => End::Cancelled,
                };
                let undoable = self.plan.steps[step].compensate.is_some();
                let news = lock(&self.slots)[step].take(item, leaf, undoable);
                schedule.settle(step, item, end);
                if news {
                    self.note(step, None, |_| {});
                }
                self.finish(step, schedule);
            }
            Ended::Undone(step, item, result) => {
                undoing.note(label(&self.plan.steps[step].id, item), &result);
                schedule.compensation_ended(step, item);
                self.show_undone(step, &result, schedule);
            }
        }
    }

    /// Shows what became of undoing a step; of one with items, when the last one is done.
    fn show_undone(&self, step: usize, result: &Result<(), StepError>, schedule: &Schedule) {
        let more = schedule.pending_compensations().iter().any(|(other, _)| *other == step);
        self.note(step, None, |view| match (result, &view.state) {
            (Err(error), _) => view.state = StepState::CompensationFailed { error: Arc::new(error.clone()) },
            (Ok(()), StepState::CompensationFailed { .. }) => {}
            (Ok(()), _) => view.state = if more { StepState::Compensating } else { StepState::Compensated },
        });
    }

    /// Tells everybody of a step that the schedule says has ended, once.
    fn finish(&self, step: usize, schedule: &Schedule) {
        let outcome = match schedule.at(step) {
            At::Ended(End::Ok) => StepOutcome::Ok,
            At::Ended(End::Failed) => StepOutcome::Failed,
            At::Ended(End::Cancelled) => StepOutcome::Cancelled,
            At::Skipped => StepOutcome::Skipped,
            At::Pending | At::Deciding | At::Begun => return,
        };
        let now = self.run.bus().now();
        let Some(finished) = lock(&self.slots)[step].finish(outcome, now, self.forward.why()) else { return };
        self.scope.settle(step, finished.told);
        self.run.tell(&self.paths[step], finished.view);
        // A skipped step is decided on again in the same way; all others have to stand in the journal.
        if let Some(end) = finished.unwritten.filter(|_| outcome != StepOutcome::Skipped) {
            self.run.note(RunEntry::StepEnded { step: self.paths[step].clone(), end });
        }
    }

    /// Finishes every step that ended by what was done to the schedule as a whole.
    fn sweep(&self, schedule: &Schedule) {
        for step in 0..self.plan.steps.len() {
            self.finish(step, schedule);
        }
    }

    fn conclude(&self, schedule: &Schedule, mut undoing: Undoing, output: Option<Result<Data, StepError>>) -> FlowEnd {
        let timed_out = self.timed_out.load(Ordering::Relaxed);
        let halted = schedule.halted();
        let mut slots = lock(&self.slots);
        let first = self.first_failure(&slots);
        let unwritable = lock(&self.unwritable).take();
        let mut why = match (halted, &first) {
            (Some(Halt::Cancelled), _) => Some(self.forward.why()),
            _ if unwritable.is_some() => unwritable.map(|error| error.message),
            _ if matches!(output, Some(Err(_))) => None,
            _ if timed_out => Some(format!("its time was up{}", self.limit_words())),
            (Some(Halt::Failed), Some((step, error))) => Some(format!("step `{}`: {}", self.plan.steps[*step].id, error.message)),
            (Some(Halt::Failed), None) => self.first_cancelled(&slots),
            (None, _) => None,
        };
        for (step, item) in schedule.pending_compensations() {
            let why = match halted {
                None => continue,
                Some(Halt::Cancelled) if !schedule.is_compensating() => "the run was cancelled",
                Some(_) if self.run.stop.undoing.is_raised() => "undoing was given up",
                Some(_) => "the run failed where on_error = \"fail\"",
            };
            undoing.open = true;
            undoing.not.push((label(&self.plan.steps[*step].id, *item), why.to_owned()));
        }
        for (step, slot) in slots.iter_mut().enumerate() {
            let planned = &self.plan.steps[step];
            let undoable = planned.compensate.is_some() || matches!(planned.action, Action::Workflow { .. });
            if undoable && halted.is_some() {
                undoing.open |= !slot.doubts.is_empty();
                undoing.not.extend(slot.doubts.iter().map(|(item, why)| (label(&planned.id, *item), why.clone())));
            }
            if slot.never_ended(halted.is_some(), self.run.bus().now(), &self.forward.why()) {
                self.run.tell(&self.paths[step], slot.view.clone());
            }
        }
        let refused = first.as_ref().is_some_and(|(_, error)| error.kind == StepErrorKind::Refused);
        let unwell = |slot: &StepEntry| slot.error.is_some() || slot.failed_items > 0;
        let outcome = match halted {
            _ if undoing.failed => RunOutcome::CompensationFailed,
            Some(Halt::Cancelled) => RunOutcome::Cancelled,
            _ if timed_out => RunOutcome::TimedOut,
            // "Undone" is said only where nothing stands.
            Some(Halt::Failed) if undoing.open && (schedule.is_compensating() || !undoing.done.is_empty()) => {
                RunOutcome::CompensationFailed
            }
            Some(Halt::Failed) if refused => RunOutcome::Refused,
            Some(Halt::Failed) if !undoing.done.is_empty() => RunOutcome::Compensated,
            Some(Halt::Failed) => RunOutcome::Failed,
            None if slots.iter().any(unwell) => RunOutcome::Partial,
            None => RunOutcome::Ok,
        };
        let steps = self.plan.steps.iter().zip(slots.iter()).map(|(step, slot)| (step.id.clone(), Arc::new(slot.view.clone())));
        let steps: Vec<_> = steps.collect();
        drop(slots);
        let output = match output {
            Some(Ok(data)) => Some(data),
            Some(Err(error)) => {
                why = Some(format!("output: {}", error.message));
                None
            }
            None => None,
        };
        FlowEnd { outcome, why, steps, output, compensated: undoing.done, not_compensated: undoing.not }
    }

    fn limit_words(&self) -> String {
        let own = if self.depth == 0 { self.run.spec.timeout.or(self.plan.timeout) } else { self.plan.timeout };
        own.map(|limit| format!(" ({})", short(limit))).unwrap_or_default()
    }

    /// The failure that ended the run, as far as one did: that of a step whose failure counts.
    fn first_failure(&self, slots: &[StepEntry]) -> Option<(usize, StepError)> {
        let counts = |(step, _): &(usize, &StepEntry)| self.plan.steps[*step].on_error != OnError::Continue;
        let failed = slots.iter().enumerate().filter(counts).filter(|(_, slot)| slot.error.is_some());
        failed.min_by_key(|(_, slot)| slot.view.ended).and_then(|(step, slot)| Some((step, slot.error.clone()?)))
    }

    fn first_cancelled(&self, slots: &[StepEntry]) -> Option<String> {
        let cancelled = slots.iter().enumerate().find_map(|(step, slot)| Some((step, slot.cancelled.as_ref()?)))?;
        Some(format!("step `{}` was cancelled: {}", self.plan.steps[cancelled.0].id, cancelled.1))
    }

    /// What the run gives back: its outputs, or the result of its last step.
    fn output(&self) -> Result<Data, StepError> {
        if self.plan.output.is_empty() {
            let last = self.plan.steps.len().saturating_sub(1);
            return Ok(lock(&self.slots).get(last).map(StepEntry::result).unwrap_or_default());
        }
        let members =
            self.plan.output.iter().map(|(name, template)| {
                template.eval(&self.scope).map(|data| (name.as_str(), data)).map_err(|error| self.unevaluated(&error))
            });
        Ok(Data::object(members.collect::<Result<Vec<_>, _>>()?))
    }
}

fn end_of(outcome: StepOutcome) -> End {
    match outcome {
        StepOutcome::Ok | StepOutcome::Skipped => End::Ok,
        StepOutcome::Failed => End::Failed,
        StepOutcome::Cancelled => End::Cancelled,
    }
}

fn record(leaf: &Leaf, took: Duration) -> StepRecord {
    let mut record = StepRecord {
        outcome: StepOutcome::Ok,
        result: None,
        text: None,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        error: None,
        fallback: None,
        nothing_done: false,
        in_doubt: false,
        items: None,
    };
    match leaf {
        Leaf::Done(answered) => {
            record.result = Some(answered.json.clone());
            record.text = Some(answered.text.clone());
            record.fallback = answered.fallback.clone();
            record.nothing_done = answered.nothing_done;
            record.in_doubt = answered.in_doubt;
        }
        Leaf::Failed(error) => {
            record.outcome = StepOutcome::Failed;
            record.error = Some(error.clone());
        }
        Leaf::Cancelled(error) => {
            record.outcome = StepOutcome::Cancelled;
            record.error = Some(error.clone());
        }
    }
    record
}
