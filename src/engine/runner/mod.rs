//! The runner: takes plans from their first step to their report.
//!
//! [`Runs`] holds the runs under way and is the engine's door to them. `flow` drives one plan by its
//! [`Schedule`](crate::domain::workflow::schedule::Schedule), `leaf` does one step or item, `undo` takes
//! one back, `person` asks people, `target` finds what is called, `memory` is what an earlier life of the
//! run left behind. Every call goes the way of all calls, through the engine's own submission.

mod cache;
mod cancellation;
mod compensation;
mod flow;
mod human_input;
mod replay;
mod start;
mod step;
mod step_state;
mod target;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::watch;

use self::{cache::Cache, cancellation::Signal, replay::Replay};
use super::{
    Engine,
    bus::Bus,
    inbox::Inbox,
    lock,
    ports::{Journal, RunLock},
};
use crate::domain::{
    event::EventKind,
    journal::RunEntry,
    masked,
    run::{Change, RunId, RunSpec, StepAnswer, StepError, StepErrorKind, StepView},
    workflow::{
        expression::RunFacts,
        name::{means, means_step},
    },
};

/// The runs under way.
pub struct Runs {
    journal: Arc<dyn Journal>,
    active: Mutex<HashMap<RunId, Arc<Stop>>>,
    cache: Cache,
}

impl Runs {
    /// None yet; what they do is written to `journal`.
    pub fn new(journal: Arc<dyn Journal>) -> Runs {
        Runs { journal, active: Mutex::default(), cache: Cache::default() }
    }

    /// Starts a run; what comes of it is seen in the events.
    pub fn start(&self, engine: &Arc<Engine>, run: RunId, spec: Arc<RunSpec>) {
        if let Some(stop) = self.enter(engine, run) {
            engine.tasks.spawn(start::fresh(engine.clone(), run, spec, stop));
        }
    }

    /// Goes on with an interrupted run.
    pub fn resume(&self, engine: &Arc<Engine>, run: RunId, how: Resumption) {
        if let Some(stop) = self.enter(engine, run) {
            engine.tasks.spawn(start::again(engine.clone(), run, how, stop));
        }
    }

    /// Takes a run into the list; not twice.
    fn enter(&self, engine: &Engine, run: RunId) -> Option<Arc<Stop>> {
        let mut active = lock(&self.active);
        if active.contains_key(&run) {
            drop(active);
            engine.bus.notice(crate::domain::event::NoticeLevel::Warn, format!("run {} is under way already", run.short()));
            return None;
        }
        let stop = Arc::new(Stop::default());
        active.insert(run, stop.clone());
        Some(stop)
    }

    fn leave(&self, run: RunId) {
        lock(&self.active).remove(&run);
    }

    /// Gives a run up.
    pub fn cancel(&self, run: RunId, reason: &str) {
        if let Some(stop) = lock(&self.active).get(&run) {
            stop.cancel(reason);
        }
    }

    /// Gives a step up.
    pub fn cancel_step(&self, run: RunId, step: &str, reason: &str) {
        if let Some(stop) = lock(&self.active).get(&run) {
            lock(&stop.steps).insert(step.to_owned(), reason.to_owned());
            stop.changed.send_modify(|changes| *changes += 1);
        }
    }

    /// Interrupts every run, as if the program had been killed: each can be resumed.
    pub fn interrupt(&self, reason: &str) {
        for stop in lock(&self.active).values() {
            *lock(&stop.interrupted) = true;
            stop.whole.raise(reason);
            stop.undoing.raise(reason);
        }
    }
}

/// How an interrupted run goes on.
pub struct Resumption {
    /// What was said of steps in doubt and of questions, beside what was said at first.
    pub answers: Vec<(String, StepAnswer)>,
    /// Whether what is not answered beforehand is put to the user.
    pub ask: bool,
    /// Deadline of what is left, instead of the one that the run began with.
    pub timeout: Option<Duration>,
}

/// The ways to give a run up, or parts of it.
#[derive(Default)]
struct Stop {
    /// The run as far as it goes forward.
    whole: Signal,
    /// Its undoing.
    undoing: Signal,
    /// Single steps, by path, with the reason.
    steps: Mutex<HashMap<String, String>>,
    changed: watch::Sender<u64>,
    interrupted: Mutex<bool>,
}

impl Stop {
    /// The first time gives up what goes forward, the second time the undoing too.
    fn cancel(&self, reason: &str) {
        if self.whole.is_raised() {
            self.undoing.raise(reason);
        } else {
            self.whole.raise(reason);
        }
    }

    fn is_interrupted(&self) -> bool {
        *lock(&self.interrupted)
    }
}

/// What all parts of one run share.
struct Run {
    id: RunId,
    engine: Arc<Engine>,
    spec: Arc<RunSpec>,
    /// Answers given beforehand, those of a resumption first.
    answers: Vec<(String, StepAnswer)>,
    ask: bool,
    facts: RunFacts,
    memory: Replay,
    stop: Arc<Stop>,
    /// Entries that the next written one takes along.
    noted: Mutex<Vec<RunEntry>>,
    /// No other process takes the run while this is held.
    _held: RunLock,
}

impl Run {
    fn bus(&self) -> &Bus {
        &self.engine.bus
    }

    fn inbox(&self) -> &Arc<Inbox> {
        &self.engine.inbox
    }

    fn cache(&self) -> &Cache {
        &self.engine.runs.cache
    }

    /// Writes an entry, behind those that were noted; when this returns, no death of the process loses it. Nothing is
    /// written of a run that is being interrupted: what is done now may not be done to its end.
    async fn write(&self, entry: RunEntry) -> Result<(), StepError> {
        if self.stop.is_interrupted() {
            return Err(StepError::new(StepErrorKind::Journal, "the run was interrupted"));
        }
        self.write_behind_noted(Some(entry)).await
    }

    /// Leaves an entry for the next that is written, which takes it along: how a step ended has to stand there before
    /// anything else is sent, and the two together cost as much as one.
    fn note(&self, entry: RunEntry) {
        if !self.stop.is_interrupted() {
            lock(&self.noted).push(entry);
        }
    }

    /// How many entries were noted and not yet written.
    fn unwritten(&self) -> usize {
        lock(&self.noted).len()
    }

    /// Writes what was noted, if anything was.
    async fn flush(&self) -> Result<(), StepError> {
        if self.unwritten() == 0 { Ok(()) } else { self.write_behind_noted(None).await }
    }

    async fn write_behind_noted(&self, last: Option<RunEntry>) -> Result<(), StepError> {
        let noted = std::mem::take(&mut *lock(&self.noted));
        let happened = noted.len();
        let entries: Arc<[RunEntry]> = noted.into_iter().chain(last).collect();
        let written = self.engine.runs.journal.write(self.id, self.masked(&entries)).await;
        written.map_err(|error| {
            // What happened stays true: the next that can be written has it.
            lock(&self.noted).splice(0..0, entries[..happened].iter().cloned());
            StepError::new(StepErrorKind::Journal, format!("the journal cannot be written, so nothing more is sent: {error}"))
        })
    }

    /// The entries as they are written: without any known secret.
    fn masked(&self, entries: &Arc<[RunEntry]>) -> Arc<[RunEntry]> {
        let redactor = self.bus().secrets().redactor();
        if redactor.is_empty() {
            return entries.clone();
        }
        let mut masked = entries.to_vec();
        masked.iter_mut().for_each(|entry| masked::entry(&redactor, entry));
        masked.into()
    }

    /// What was said beforehand of a step, or an item of it: what names it most exactly, then what was said first.
    fn answer(&self, path: &str, item: Option<u32>) -> Option<&StepAnswer> {
        let exact = self.answers.iter().rev().filter_map(|(step, answer)| Some((means(step, path, item)?, answer)));
        exact.max_by_key(|(exact, _)| *exact).map(|(_, answer)| answer)
    }

    /// What was changed of a step for this run; the last word counts.
    fn changes<'a>(&'a self, path: &'a str) -> impl Iterator<Item = Change> + 'a {
        self.spec.set.iter().rev().filter(move |setting| means_step(&setting.step, path)).map(|setting| setting.change)
    }

    /// Tells of a step.
    fn tell(&self, path: &Arc<str>, view: StepView) {
        self.bus().publish(EventKind::RunStep { run: self.id, step: path.clone(), view: Arc::new(view) });
    }
}
