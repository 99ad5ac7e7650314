//! The runner: executes workflow runs, from the first step to the report.
//!
//! [`Runs`] owns the active runs and is the engine's interface to them. `flow` drives one plan with its
//! [`Schedule`](crate::domain::workflow::schedule::Schedule), `step` executes one step or item, `compensation` undoes one,
//! `human_input` asks the user, `target` looks up tools, and `replay` restores the state of an interrupted run. Every call goes
//! through [`CallExecutor`], the engine's own dispatch.

mod cache;
mod cancellation;
mod compensation;
mod flow;
mod human_input;
mod nested;
mod replay;
mod start;
mod step;
mod step_state;
mod target;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use self::{cache::Cache, cancellation::Signal, nested::Nested, replay::Replay, step_state::label};
use super::{
    bus::Bus,
    dispatch::CacheFront,
    inbox::Inbox,
    ports::{CallExecutor, Journal, JournalError, RunLease},
    registry::Registry,
};
use crate::domain::{
    event::EventKind,
    journal::{RunEntry, Seq},
    masked,
    run::{Change, RunId, RunQuestion, RunReport, RunSpec, StepAnswer, StepError, StepErrorKind, StepView},
    workflow::{
        expression::RunFacts,
        name::{names_step, specificity},
    },
};

/// The active runs, and what they work with.
pub struct Runs {
    journal: Arc<dyn Journal>,
    bus: Arc<Bus>,
    inbox: Arc<Inbox>,
    registry: Arc<Registry>,
    executor: Weak<dyn CallExecutor>,
    tasks: TaskTracker,
    active: Mutex<HashMap<RunId, Arc<RunSignals>>>,
    cache: Cache,
    /// The concurrency groups of active runs; each is locked by the run whose turn it is.
    groups: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// The end of a run in this process, with its report. `None` if the engine ended before.
pub type RunEnd = BoxFuture<'static, Option<Arc<RunReport>>>;

/// Why a run was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStarted {
    /// It is active already.
    Active,
    /// The executor has ended.
    Ended,
}

impl Runs {
    /// Creates an empty set of runs that records them in `journal`. The runs are tasks of `tasks`.
    pub fn new(
        journal: Arc<dyn Journal>,
        (bus, inbox, registry, responses): (Arc<Bus>, Arc<Inbox>, Arc<Registry>, Arc<CacheFront>),
        executor: Weak<dyn CallExecutor>,
        tasks: TaskTracker,
    ) -> Arc<Runs> {
        Arc::new(Runs {
            journal,
            bus,
            inbox,
            registry,
            executor,
            tasks,
            active: Mutex::default(),
            cache: Cache::new(responses),
            groups: Mutex::default(),
        })
    }

    /// Starts a run. Its progress appears in the events.
    pub fn start(self: &Arc<Self>, run: RunId, spec: Arc<RunSpec>) -> Result<(), NotStarted> {
        let (executor, signals) = self.activate(run)?;
        self.tasks.spawn(start::start(self.clone(), executor, run, spec, signals));
        Ok(())
    }

    /// Starts a run whose calls another executor makes. The returned future resolves when the run has ended.
    pub fn start_through(self: &Arc<Self>, executor: Arc<dyn CallExecutor>, run: RunId, spec: Arc<RunSpec>) -> Result<RunEnd, NotStarted> {
        let (_, signals) = self.activate(run)?;
        let end = signals.end();
        self.tasks.spawn(start::start(self.clone(), executor, run, spec, signals));
        Ok(end)
    }

    /// Resumes an interrupted run whose calls another executor makes. The returned future resolves when the run has ended.
    pub fn resume_through(self: &Arc<Self>, executor: Arc<dyn CallExecutor>, run: RunId, how: Resumption) -> Result<RunEnd, NotStarted> {
        let (_, signals) = self.activate(run)?;
        let end = signals.end();
        self.tasks.spawn(start::resume(self.clone(), executor, run, how, signals));
        Ok(end)
    }

    /// Resumes an interrupted run.
    pub fn resume(self: &Arc<Self>, run: RunId, how: Resumption) -> Result<(), NotStarted> {
        let (executor, signals) = self.activate(run)?;
        self.tasks.spawn(start::resume(self.clone(), executor, run, how, signals));
        Ok(())
    }

    /// Adds a run to the active ones.
    fn activate(&self, run: RunId) -> Result<(Arc<dyn CallExecutor>, Arc<RunSignals>), NotStarted> {
        let executor = self.executor.upgrade().ok_or(NotStarted::Ended)?;
        let mut active = self.active.lock();
        if active.contains_key(&run) {
            return Err(NotStarted::Active);
        }
        let signals = Arc::new(RunSignals::default());
        active.insert(run, signals.clone());
        Ok((executor, signals))
    }

    /// Returns whether the start of an active run was published.
    fn is_announced(&self, run: RunId) -> bool {
        self.active.lock().get(&run).is_some_and(|signals| signals.announced.load(Ordering::Relaxed))
    }

    /// Returns the lock of a concurrency group in this process.
    fn group(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut groups = self.groups.lock();
        groups.retain(|_, group| group.strong_count() > 0);
        if let Some(group) = groups.get(name).and_then(Weak::upgrade) {
            return group;
        }
        let group = Arc::new(tokio::sync::Mutex::new(()));
        groups.insert(name.to_owned(), Arc::downgrade(&group));
        group
    }

    /// Publishes the report of a run and removes the run from the active ones. After that, the run can be resumed.
    fn settle(&self, run: RunId, report: Arc<RunReport>) {
        self.bus.publish(EventKind::RunSettled { run, report: report.clone() });
        let signals = self.active.lock().remove(&run);
        if let Some(signals) = signals {
            signals.report.send_replace(Some(report));
        }
    }

    /// Cancels a run. Returns false if it is not active.
    pub fn cancel(&self, run: RunId, reason: &str) -> bool {
        self.active.lock().get(&run).map(|signals| signals.cancel(reason)).is_some()
    }

    /// Cancels a step. Returns false if the run is not active.
    pub fn cancel_step(&self, run: RunId, step: &str, reason: &str) -> bool {
        let active = self.active.lock();
        let Some(signals) = active.get(&run) else { return false };
        signals.steps.lock().insert(step.to_owned(), reason.to_owned());
        signals.changed.send_modify(|changes| *changes += 1);
        true
    }

    /// Undoes what a run did, also after compensations that failed.
    pub fn undo(self: &Arc<Self>, run: RunId, how: Resumption) -> Result<(), NotStarted> {
        let (executor, signals) = self.activate(run)?;
        self.tasks.spawn(start::undo(self.clone(), executor, run, how, signals));
        Ok(())
    }

    /// Interrupts every run as a kill of the process would: each can be resumed.
    pub fn interrupt(&self, reason: &str) {
        for signals in self.active.lock().values() {
            *signals.interrupted.lock() = true;
            signals.forward.raise(reason);
            signals.compensation.raise(reason);
        }
    }
}

fn taken_over() -> StepError {
    StepError::new(StepErrorKind::Journal, format!("{TAKEN_OVER}; this process sends nothing more"))
}

/// How to resume an interrupted run.
pub struct Resumption {
    /// Resolutions of in-doubt steps and answers to questions, in addition to those given at the start.
    pub answers: Vec<(String, StepAnswer)>,
    /// Whether to ask the user about everything that is not answered here.
    pub ask: bool,
    /// Whether a question that is neither answered nor put to the user suspends the run.
    pub wait: bool,
    /// Deadline of the rest of the run; replaces the original one.
    pub timeout: Option<Duration>,
}

/// The cancellation signals of a run and its parts.
#[derive(Default)]
struct RunSignals {
    /// Cancels the steps of the run.
    forward: Signal,
    /// Cancels its compensation.
    compensation: Signal,
    /// The cancelled steps, by path, with the reason.
    steps: Mutex<HashMap<String, String>>,
    changed: watch::Sender<u64>,
    /// Whether the start of the run was published.
    announced: AtomicBool,
    interrupted: Mutex<bool>,
    /// Whether the run was suspended because all its active steps wait for an answer.
    suspended: AtomicBool,
    /// Whether another process has taken over the run.
    lost: AtomicBool,
    /// The report, when the run has ended.
    report: watch::Sender<Option<Arc<RunReport>>>,
}

impl RunSignals {
    /// Returns the future of the report.
    fn end(&self) -> RunEnd {
        let mut report = self.report.subscribe();
        async move { report.wait_for(Option::is_some).await.ok().and_then(|report| report.clone()) }.boxed()
    }

    /// The first call cancels the run's steps, the second also its compensation.
    fn cancel(&self, reason: &str) {
        if self.forward.is_raised() {
            self.compensation.raise(reason);
        } else {
            self.forward.raise(reason);
        }
    }

    fn is_interrupted(&self) -> bool {
        *self.interrupted.lock()
    }

    /// Suspends the run: it ends here and is resumed with the answers.
    fn suspend(&self) {
        self.suspended.store(true, Ordering::Relaxed);
        *self.interrupted.lock() = true;
        self.forward.raise("the run waits for an answer");
    }

    fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }

    /// Ends the run here, because another process has taken it over: nothing more is sent or written.
    fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
        *self.interrupted.lock() = true;
        self.forward.raise(TAKEN_OVER);
        self.compensation.raise(TAKEN_OVER);
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Why a run ends in a process that does not have its lease any more.
const TAKEN_OVER: &str = "another process has taken over the run";

/// State that all parts of one run share.
struct Run {
    id: RunId,
    runs: Arc<Runs>,
    executor: Arc<dyn CallExecutor>,
    spec: Arc<RunSpec>,
    /// Answers given in advance, those of a resumption first.
    answers: Vec<(String, StepAnswer)>,
    ask: bool,
    wait: bool,
    /// The questions that suspend the run.
    questions: Mutex<Vec<RunQuestion>>,
    facts: RunFacts,
    replay: Replay,
    signals: Arc<RunSignals>,
    /// Entries to write together with the next one.
    pending: Mutex<Vec<RunEntry>>,
    /// What nested workflows did.
    nested: Nested,
    /// The concurrency groups that the run is in.
    groups: Mutex<Vec<String>>,
    /// The compensated steps and items by path, in that order.
    compensated: Mutex<Vec<String>>,
    /// Keeps other processes from taking the run.
    lease: Box<dyn RunLease>,
    /// The deadline that an earlier process or the resumption set, in milliseconds since the Unix epoch. Without one, the limit of
    /// the request or the plan counts from now.
    deadline_ms: Option<u64>,
    /// The number of the last entry in the journal. Locked during a write, so that entries are numbered in one order.
    written: tokio::sync::Mutex<Seq>,
}

impl Run {
    fn bus(&self) -> &Bus {
        &self.runs.bus
    }

    fn inbox(&self) -> &Arc<Inbox> {
        &self.runs.inbox
    }

    fn cache(&self) -> &Cache {
        &self.runs.cache
    }

    /// Writes an entry after the pending ones. After the return, they survive the death of the process. Fails if the run is
    /// being interrupted, since the work may not finish.
    async fn write(&self, entry: RunEntry) -> Result<(), StepError> {
        if self.signals.is_interrupted() {
            return Err(StepError::new(StepErrorKind::Journal, "the run was interrupted"));
        }
        self.write_entries(Some(entry)).await
    }

    /// Adds an entry to the pending ones, which the next write includes. The end of a step must be in the journal before the
    /// next request is sent, and one write of both costs as much as one of either.
    fn queue(&self, entry: RunEntry) {
        if !self.signals.is_interrupted() {
            self.nested.record(&entry);
            self.pending.lock().push(entry);
        }
    }

    /// Records the end of a compensation for the report.
    fn record_compensated(&self, path: &str, item: Option<u32>, result: &Result<(), StepError>) {
        let label = label(path, item);
        let mut compensated = self.compensated.lock();
        if result.is_ok() && !compensated.contains(&label) {
            compensated.push(label);
        }
    }

    /// Returns whether a step was compensated.
    fn has_compensated(&self) -> bool {
        !self.compensated.lock().is_empty()
    }

    /// Takes the compensated steps and items, in that order.
    fn take_compensated(&self) -> Vec<String> {
        std::mem::take(&mut *self.compensated.lock())
    }

    /// Returns the number of pending entries.
    fn pending_count(&self) -> usize {
        self.pending.lock().len()
    }

    /// Writes the pending entries.
    async fn write_pending(&self) -> Result<(), StepError> {
        if self.pending_count() == 0 { Ok(()) } else { self.write_entries(None).await }
    }

    async fn write_entries(&self, last: Option<RunEntry>) -> Result<(), StepError> {
        let mut written = self.written.lock().await;
        if self.signals.is_lost() {
            return Err(taken_over());
        }
        let pending = std::mem::take(&mut *self.pending.lock());
        let pending_entries = pending.len();
        let entries: Arc<[RunEntry]> = pending.into_iter().chain(last).collect();
        match self.runs.journal.append(self.id, *written, self.masked(&entries)).await {
            Ok(last) => {
                *written = last;
                Ok(())
            }
            Err(JournalError::Fenced) => {
                self.signals.lose();
                Err(taken_over())
            }
            Err(error) => {
                // The entries remain valid: the next successful write includes them.
                self.pending.lock().splice(0..0, entries[..pending_entries].iter().cloned());
                let why = format!("the journal cannot be written: {error}; no more requests are sent");
                Err(StepError::new(StepErrorKind::Journal, why))
            }
        }
    }

    /// Checks right before a request is sent that this process still has the run.
    fn check_lease(&self) -> Result<(), StepError> {
        if !self.lease.may_send() {
            self.signals.lose();
        }
        if self.signals.is_lost() { Err(taken_over()) } else { Ok(()) }
    }

    /// Returns the entries with all known secrets masked.
    fn masked(&self, entries: &Arc<[RunEntry]>) -> Arc<[RunEntry]> {
        let redactor = self.bus().secrets().redactor();
        if redactor.is_empty() {
            return entries.clone();
        }
        let mut masked = entries.to_vec();
        masked.iter_mut().for_each(|entry| masked::entry(&redactor, entry));
        masked.into()
    }

    /// Returns the answer given in advance for a step or item: the one that names it most exactly, then the earliest.
    fn answer(&self, path: &str, item: Option<u32>) -> Option<&StepAnswer> {
        let precision = self.answers.iter().rev().filter_map(|(step, answer)| Some((specificity(step, path, item)?, answer)));
        precision.max_by_key(|(precision, _)| *precision).map(|(_, answer)| answer)
    }

    /// Returns the changes of a step's settings for this run, the last one first.
    fn changes<'a>(&'a self, path: &'a str) -> impl Iterator<Item = Change> + 'a {
        self.spec.set.iter().rev().filter(move |setting| names_step(&setting.step, path)).map(|setting| setting.change)
    }

    /// Publishes the view of a step. A suspended run leaves its steps as they are.
    fn publish_step(&self, path: &Arc<str>, view: StepView) {
        self.nested.show(path, &view);
        if self.signals.is_suspended() {
            return;
        }
        self.bus().publish(EventKind::RunStep { run: self.id, step: path.clone(), view: Arc::new(view) });
    }
}
