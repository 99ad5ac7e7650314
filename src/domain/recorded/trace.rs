//! The run trace: reconstructs the calls of a run, and their ends, from its journal.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::answers::{done, failed, failure, unanswered};
use crate::domain::{
    journal::{Place, RunEntry, RunRecord, StepOutcome, StepRecord, Substitute},
    run::{Purpose, StepErrorKind},
    workflow::{
        case::Cancels,
        expression::Data,
        name,
        plan::{Action, Plan, PlanStep, ReadAs, RetryOn},
    },
};

/// A call, or another event with a response.
pub struct Made {
    /// The key of the response: the step's id, or the tool's name.
    pub key: String,
    /// The step's id.
    pub id: String,
    /// The called tool; empty if not recorded.
    what: String,
    /// The response as TOML; `None` if the call never ended.
    pub answer: Option<String>,
    /// The arguments.
    pub arguments: Option<Data>,
    /// Index of the item of its step, from 0.
    pub item: Option<u32>,
    /// The purpose of the call.
    purpose: Purpose,
    /// The number of its journal entry.
    at: usize,
    cut_off: Option<Cut>,
}

/// Why a call got no response, and the number of the entry that shows it.
#[derive(Clone, Copy)]
struct Cut {
    why: Why,
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Its step was cancelled.
    Step,
    /// The run, or its compensation, was cancelled.
    Run,
    /// The run exceeded its time limit.
    Late,
    /// The program was stopped.
    Program,
}

/// The state of reading a journal.
pub struct TraceReader<'p> {
    plan: &'p Plan,
    /// Whether the exceeded time limit is not the workflow's own, so that a test cannot have it.
    foreign_limit: bool,
    made: Vec<Made>,
    /// Calls that have not ended.
    open: HashMap<Place, usize>,
    /// Steps and items that failed and continue with a fallback.
    spent: HashSet<(Arc<str>, Option<u32>)>,
    /// Tools that were called again although the call before may have run.
    repeatable: BTreeSet<String>,
    /// Journal entry numbers and outcomes of the ended top-level steps.
    settled: Vec<(usize, Arc<str>, StepOutcome)>,
    /// The same for items and nested steps.
    inner: Vec<usize>,
    /// The entry that cancelled the run, and whether its time limit was exceeded.
    given_up: Option<(usize, bool)>,
    at: usize,
}

/// The trace of a run.
pub struct RunTrace {
    /// The calls, in order. Each has a response.
    pub made: Vec<Made>,
    /// Tools that were called again although the call before may have run.
    pub repeatable: Vec<String>,
    /// Steps at which the case cancels the run although they were not in flight then.
    pub instead: Vec<String>,
    /// Whether the run was cancelled while nothing was in flight, and no step is left to reproduce that.
    pub lost: bool,
    /// Whether a call waits until the time limit of the run.
    pub waits: bool,
}

impl TraceReader<'_> {
    /// Reads the journal of a run. `foreign_limit`: the run had a time limit that is not the workflow's own.
    pub fn read(plan: &Plan, record: &RunRecord, foreign_limit: bool) -> RunTrace {
        let mut reel = TraceReader {
            plan,
            foreign_limit,
            made: vec![],
            open: HashMap::new(),
            spent: HashSet::new(),
            repeatable: BTreeSet::new(),
            settled: vec![],
            inner: vec![],
            given_up: None,
            at: 0,
        };
        for (at, entry) in record.entries.iter().enumerate() {
            reel.at = at;
            reel.read_entry(entry);
        }
        reel.finish(record.report().is_none())
    }

    fn read_entry(&mut self, entry: &RunEntry) {
        match entry {
            RunEntry::Sending { place, what, arguments, .. } => {
                let arguments = Data::parse(&arguments.text()).ok().filter(Data::is_object);
                let id = id_of(&place.step);
                let key = if place.purpose == Purpose::Step { id.clone() } else { what.clone() };
                self.open.insert(place.clone(), self.made.len());
                self.push(key, id, place.purpose, None);
                if let Some(made) = self.made.last_mut() {
                    made.what = what.clone();
                    made.arguments = arguments;
                    made.item = place.item;
                }
            }
            RunEntry::Attempted { place, exhausted, error, .. } => {
                let failure_entry = exhausted.as_ref().or(error.as_ref());
                let answer = failure_entry.map_or_else(|| self.retried_failure(&place.step), |error| failed(error, error.may_have_run));
                if exhausted.is_some() {
                    self.spent.insert((place.step.clone(), place.item));
                } else if failure_entry.is_some_and(|error| error.may_have_run) {
                    self.called_again(place);
                }
                self.answer(place, answer, place.purpose == Purpose::Step);
            }
            RunEntry::ItemEnded { step, item, end } => {
                self.inner.push(self.at);
                self.ended(step, Some(*item), end);
            }
            RunEntry::StepEnded { step, end } => {
                if step.contains('/') {
                    self.inner.push(self.at);
                } else {
                    self.settled.push((self.at, step.clone(), end.outcome));
                }
                if end.items.is_none() {
                    self.ended(step, None, end);
                }
            }
            RunEntry::Undone { step, item, error } => {
                let place = Place { step: step.clone(), item: *item, purpose: Purpose::Compensation };
                match error {
                    // The compensation was cancelled while this was in flight.
                    Some(error) if error.kind == StepErrorKind::Refused => self.cut_off(&place, Why::Run),
                    Some(error) => self.answer(&place, failed(error, error.may_have_run), false),
                    None => self.answer(&place, "{ text = \"undone\" }".to_owned(), false),
                }
            }
            RunEntry::GivenUp { time_up, .. } => {
                self.given_up.get_or_insert((self.at, *time_up));
            }
            RunEntry::Began { .. }
            | RunEntry::Resumed { .. }
            | RunEntry::Asked { .. }
            | RunEntry::Answered { .. }
            | RunEntry::Ended { .. } => {}
        }
    }

    fn push(&mut self, key: String, id: String, purpose: Purpose, answer: Option<String>) {
        self.made.push(Made { key, id, what: String::new(), answer, arguments: None, item: None, purpose, at: self.at, cut_off: None });
    }

    /// Sets the response of the call at a place; adds the call if it was never sent and `new` is set.
    fn answer(&mut self, place: &Place, answer: String, new: bool) {
        match self.open.remove(place).and_then(|at| self.made.get_mut(at)) {
            Some(made) => made.answer = Some(answer),
            None if new => {
                let id = id_of(&place.step);
                self.push(id.clone(), id, Purpose::Step, Some(answer));
            }
            None => {}
        }
    }

    /// Records that the call at a place ended without a response.
    fn cut_off(&mut self, place: &Place, why: Why) {
        if let Some(made) = self.open.remove(place).and_then(|at| self.made.get_mut(at)) {
            made.cut_off = Some(Cut { why, at: self.at });
        }
    }

    /// Records that a call that may have run was repeated: its server declares that safe. A retried step needs no
    /// record, since it would not run otherwise.
    fn called_again(&mut self, place: &Place) {
        let clear = |step: &PlanStep| step.idempotent || step.retry.is_some();
        let vouched = place.purpose == Purpose::Step && name::find_step(self.plan, &place.step).is_some_and(clear);
        let what = self.open.get(place).and_then(|at| self.made.get(*at)).map(|made| made.what.clone());
        if place.purpose != Purpose::Fallback && !vouched {
            self.repeatable.extend(what);
        }
    }

    fn ended(&mut self, path: &Arc<str>, item: Option<u32>, end: &StepRecord) {
        let Some(step) = name::find_step(self.plan, path) else { return };
        let place = |purpose| Place { step: path.clone(), item, purpose };
        let (own, fallback) = (place(Purpose::Step), place(Purpose::Fallback));
        let late = matches!(self.given_up, Some((_, true)));
        let timed_out = late && end.error.as_ref().is_some_and(|error| error.kind == StepErrorKind::Timeout);
        if end.outcome == StepOutcome::Cancelled || timed_out {
            let why = match self.given_up {
                Some((_, true)) => Why::Late,
                Some((_, false)) => Why::Run,
                None => Why::Step,
            };
            self.cut_off(&fallback, why);
            return self.cut_off(&own, why);
        }
        if self.open.contains_key(&fallback) {
            let answer = match &end.error {
                Some(error) => failed(error, error.may_have_run),
                None => done(None, ReadAs::Auto, end),
            };
            return self.answer(&fallback, answer, false);
        }
        let spent = self.spent.contains(&(path.clone(), item));
        let leaf = !matches!(step.action, Action::Workflow { .. } | Action::Let { .. });
        let counted = end.fallback == Some(Substitute::CountedAsDone);
        match (end.outcome, &end.error) {
            (StepOutcome::Ok, _) if leaf && (end.fallback.is_none() || counted) => {
                self.answer(&own, done(Some(&step.action), step.read_as, end), true);
            }
            (StepOutcome::Failed, Some(error)) if leaf && !spent => {
                let sent = error.kind.class().is_some() || matches!(error.kind, StepErrorKind::Call { .. });
                self.answer(&own, failed(error, error.may_have_run), sent);
            }
            _ => {}
        }
    }

    /// Returns the response for a failure that was retried; older journals record nothing else about it.
    fn retried_failure(&self, path: &str) -> String {
        let causes =
            name::find_step(self.plan, path).and_then(|step| step.retry.as_ref()).map_or(RetryOn::default_set(), |retry| retry.causes());
        // This failure class always allows another attempt, because nothing ran.
        let cause = causes.iter().find(|cause| **cause == RetryOn::NotReady).or(causes.first()).copied().unwrap_or(RetryOn::NotReady);
        failure("failed and was retried", Some(cause), false)
    }

    fn finish(mut self, interrupted: bool) -> RunTrace {
        if interrupted {
            let open: Vec<Place> = self.open.keys().cloned().collect();
            self.at += 1;
            open.iter().for_each(|place| self.cut_off(place, Why::Program));
        }
        let late_as_run = self.foreign_limit;
        let why_of = |made: &Made| made.cut_off.map(|cut_off| if cut_off.why == Why::Late && late_as_run { Why::Run } else { cut_off.why });
        // Of calls cut off together, the last one sent cancels the run; the others stay unanswered.
        let last = |why: Why| self.made.iter().rposition(|made| why_of(made) == Some(why) && made.purpose != Purpose::Compensation);
        let last_of_all = |why: Why| self.made.iter().rposition(|made| why_of(made) == Some(why));
        let (run, program) = (last(Why::Run), last_of_all(Why::Program));
        let given_up = self.given_up.map(|(at, _)| at);
        let mut waits = false;
        let mut answers = vec![];
        for (at, made) in self.made.iter().enumerate() {
            let answer = why_of(made).map(|why| {
                let undoing = made.purpose == Purpose::Compensation;
                let end = made.cut_off.map_or(self.at, |cut_off| cut_off.at);
                match why {
                    Why::Step => self.cancelling_response(Cancels::Step, made, end),
                    Why::Run if undoing => self.cancelling_response(Cancels::Run, made, end),
                    Why::Run if Some(at) == run => self.cancelling_response(Cancels::Run, made, given_up.unwrap_or(end)),
                    Why::Program if Some(at) == program => self.cancelling_response(Cancels::Program, made, end),
                    Why::Late => {
                        waits = true;
                        unanswered(None, &[], false)
                    }
                    Why::Run | Why::Program => unanswered(None, &[], false),
                }
            });
            answers.push(answer);
        }
        let cancelled = matches!(self.given_up, Some((_, time_up)) if !time_up || late_as_run);
        let missing = match () {
            () if interrupted && program.is_none() => Some(Cancels::Program),
            () if cancelled && run.is_none() => Some(Cancels::Run),
            () => None,
        };
        let instead = if missing.is_some() { self.next() } else { vec![] };
        let lost = missing.is_some() && instead.is_empty();
        for (made, answer) in self.made.iter_mut().zip(answers) {
            made.answer = made.answer.take().or(answer);
        }
        // A call that was sent before the run was resumed and then repeated has one response.
        self.made.retain(|made| made.answer.is_some());
        for id in &instead {
            self.push(id.clone(), id.clone(), Purpose::Step, Some(unanswered(missing, &[], false)));
        }
        RunTrace { made: self.made, repeatable: self.repeatable.into_iter().collect(), instead, lost, waits }
    }

    /// Returns the response that cancels once the steps have ended that had ended by then.
    fn cancelling_response(&self, cancels: Cancels, made: &Made, end: usize) -> String {
        let between = |at: usize| at > made.at && at < end;
        let after = self.settled.iter().filter(|(at, step, how)| between(*at) && *how != StepOutcome::Cancelled && **step != *made.id);
        let after: Vec<String> = after.map(|(_, step, _)| step.to_string()).collect();
        unanswered(Some(cancels), &after, self.inner.iter().any(|at| between(*at)))
    }

    /// Returns the steps that would have come next: everything that they need has ended.
    fn next(&self) -> Vec<String> {
        let ended = |id: &str| self.settled.iter().any(|(_, step, how)| **step == *id && *how != StepOutcome::Cancelled);
        let next = self.plan.steps.iter().filter(|step| {
            !ended(&step.id)
                && !matches!(step.action, Action::Workflow { .. } | Action::Let { .. })
                && step.needs.iter().all(|need| self.plan.steps.get(*need).is_some_and(|need| ended(&need.id)))
        });
        next.map(|step| step.id.to_string()).collect()
    }
}

fn id_of(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}
