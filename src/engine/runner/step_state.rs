//! What is known of each step of a flow while it runs: its view for people, its results for expressions.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use super::step::{Leaf, kind_word};
use crate::domain::{
    body::Body,
    journal::{StepOutcome, StepRecord},
    run::{Items, StepDetail, StepError, StepErrorKind, StepState, StepView, shown},
    time::Stamp,
    workflow::expression::{Data, Ends, Results, StepEnd, StepFault},
};

/// One step.
#[derive(Default)]
pub struct StepEntry {
    /// As it is shown.
    pub view: StepView,
    /// The items of `for_each`.
    pub items: Option<Data>,
    /// Why it failed; of several items the first.
    pub error: Option<StepError>,
    /// Why it was given up.
    pub cancelled: Option<String>,
    /// What of it ended badly and may have been done all the same: which item, and what is to be said of it.
    pub doubts: Vec<(Option<u32>, String)>,
    /// Why it is not done.
    pub skipped: Option<String>,
    /// Items that failed.
    pub failed_items: u32,
    /// Bytes of the results so far.
    pub bytes: usize,
    began: Option<Instant>,
    /// Of a step without items.
    kept: Option<Kept>,
    /// Of items, their results and what else is to be known of some.
    results: Arc<Results>,
    beside: BTreeMap<u32, Beside>,
    ends: Arc<Ends>,
    finished: bool,
    written: bool,
}

/// What is kept of an answer.
#[derive(Clone)]
pub struct Kept {
    /// `result`.
    pub result: Data,
    beside: Beside,
}

impl Kept {
    /// `text`; of items only when it may be asked for.
    pub fn text(&self) -> &str {
        &self.beside.text
    }

    /// Whether nothing was done to get it.
    pub fn nothing_done(&self) -> bool {
        self.beside.nothing_done
    }

    /// Whether what failed before that may have been done all the same.
    pub fn in_doubt(&self) -> bool {
        self.beside.in_doubt
    }
}

/// What is kept of an answer beside its result.
#[derive(Clone, Default, PartialEq)]
struct Beside {
    text: Box<str>,
    nothing_done: bool,
    in_doubt: bool,
}

/// What there is to tell when a step has ended.
pub struct Finished {
    /// To expressions.
    pub told: StepEnd,
    /// To people.
    pub view: StepView,
    /// To the journal, unless it stands there already.
    pub unwritten: Option<StepRecord>,
}

/// A step or an item of it, for people.
pub fn label(id: &str, item: Option<u32>) -> String {
    item.map_or_else(|| id.to_owned(), |item| format!("{id}[{item}]"))
}

fn place(item: Option<u32>) -> usize {
    item.and_then(|item| usize::try_from(item).ok()).unwrap_or(0)
}

fn fault(error: &StepError) -> StepFault {
    StepFault { kind: kind_word(error.kind), message: error.message.clone() }
}

impl StepEntry {
    /// It is decided on.
    pub fn begin(&mut self, now: Stamp) {
        self.began = Some(Instant::now());
        self.view.started = Some(now);
    }

    /// It is done for each of these items, or once.
    pub fn fan_out(&mut self, items: Option<(Data, u32)>) {
        let Some((items, total)) = items else { return };
        self.items = Some(items);
        let before = self.view.items.unwrap_or_default();
        self.view.items = Some(Items { total, ..before });
        self.grow(total);
    }

    /// Takes in how it, or an item of it, ended. Says whether that is worth an event.
    pub fn take(&mut self, item: Option<u32>, leaf: Leaf, undoable: bool) -> bool {
        let (mut outcome, mut failed) = (StepOutcome::Ok, None);
        match leaf {
            Leaf::Done(answered) => {
                self.bytes += answered.json.len();
                self.view.fallback = answered.fallback.map(|fallback| fallback.to_string()).or(self.view.fallback.take());
                self.show_result(&answered.json);
                let text = if item.is_none() || undoable { answered.text.into() } else { Box::default() };
                let beside = Beside { text, nothing_done: answered.nothing_done, in_doubt: answered.in_doubt };
                match item {
                    Some(item) => self.keep(item, &answered.json, beside),
                    None => self.kept = Some(Kept { result: answered.result, beside }),
                }
            }
            Leaf::Failed(error) => {
                (outcome, failed) = (StepOutcome::Failed, Some(fault(&error)));
                self.doubt(item, StepOutcome::Failed, &error);
                self.fail(error, item);
            }
            Leaf::Cancelled(error) => {
                outcome = StepOutcome::Cancelled;
                self.doubt(item, StepOutcome::Cancelled, &error);
                let also = if error.may_have_run { "; it was under way and may have been done" } else { "" };
                self.cancelled.get_or_insert(format!("{}{also}", error.message));
            }
        }
        self.written = item.is_none();
        item.is_some_and(|item| self.count(item, outcome, failed))
    }

    /// Keeps the result of an item.
    fn keep(&mut self, item: u32, json: &Body, beside: Beside) {
        // Shared with nobody until the step has ended.
        Arc::make_mut(&mut self.results).record(place(Some(item)), &json.text());
        if beside != Beside::default() {
            self.beside.insert(item, beside);
        }
    }

    fn fail(&mut self, error: StepError, item: Option<u32>) {
        self.failed_items += u32::from(item.is_some());
        match &mut self.error {
            None => self.error = Some(error),
            Some(first) => first.may_have_run |= error.may_have_run,
        }
    }

    /// Keeps in mind what may have been done although it ended badly. A tool's own error is its word that it was not.
    fn doubt(&mut self, item: Option<u32>, outcome: StepOutcome, error: &StepError) {
        if !error.may_have_run || error.kind == StepErrorKind::ToolError {
            return;
        }
        let how = if outcome == StepOutcome::Cancelled { "it was given up while it was under way" } else { "it failed" };
        let within = error.detail.iter().filter(|line| matches!(line, StepDetail::NotUndone { .. }));
        let within: String = within.map(|line| format!("; {line}")).collect();
        self.doubts.push((item, format!("{how} and may have been done all the same: {}{within}", error.message)));
    }

    /// Counts an item; says whether one more in a hundred is done.
    fn count(&mut self, item: u32, outcome: StepOutcome, fault: Option<StepFault>) -> bool {
        let failed = outcome != StepOutcome::Ok;
        Arc::make_mut(&mut self.ends).record(place(Some(item)), outcome.word(), fault);
        let items = self.view.items.get_or_insert_default();
        let share = |done: u32, total: u32| u64::from(done) * 100 / u64::from(total.max(1));
        let before = share(items.done, items.total);
        items.done += 1;
        items.failed += u32::from(failed);
        items.total <= 100 || share(items.done, items.total) != before
    }

    fn show_result(&mut self, json: &Body) {
        let (result, cut) = shown(json);
        self.view.result = Some(result);
        self.view.cut |= cut;
    }

    /// What is kept of the answer of it, or of an item of it.
    pub fn kept(&self, item: Option<u32>) -> Option<Kept> {
        let Some(item) = item else { return self.kept.clone() };
        let result = Data::parse(self.results.get(place(Some(item)))?).unwrap_or_default();
        Some(Kept { result, beside: self.beside.get(&item).cloned().unwrap_or_default() })
    }

    /// Its result: of a step with items the list of theirs.
    pub fn result(&self) -> Data {
        if self.view.items.is_some() {
            return Data::results(self.results.clone());
        }
        self.kept.as_ref().map(|kept| kept.result.clone()).unwrap_or_default()
    }

    /// It ended: what there is to tell, the first time.
    pub fn finish(&mut self, outcome: StepOutcome, now: Stamp, given_up: String) -> Option<Finished> {
        if std::mem::replace(&mut self.finished, true) {
            return None;
        }
        let took = self.began.map(|began| began.elapsed()).unwrap_or_default();
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.view.ended = Some(now);
        self.view.state = self.state(outcome, given_up);
        let each = self.view.items.is_some();
        if each {
            self.show_result(&Body::from(self.results.json()));
        }
        let written = self.written && !each;
        let unwritten = (!written).then(|| StepRecord {
            outcome,
            result: None,
            text: None,
            duration_ms,
            error: self.error.clone(),
            fallback: None,
            nothing_done: false,
            in_doubt: false,
            items: self.view.items.map(|items| items.total),
        });
        Some(Finished { told: self.told(outcome, duration_ms), view: self.view.clone(), unwritten })
    }

    fn state(&self, outcome: StepOutcome, given_up: String) -> StepState {
        match outcome {
            StepOutcome::Ok => StepState::Ok,
            StepOutcome::Skipped => StepState::Skipped { why: self.skipped.clone().unwrap_or_default() },
            StepOutcome::Cancelled => {
                let why = self.cancelled.clone().or_else(|| (!given_up.is_empty()).then_some(given_up));
                StepState::Cancelled { why: why.unwrap_or_else(|| "the run had failed".into()) }
            }
            StepOutcome::Failed => StepState::Failed { error: Arc::new(self.error.clone().unwrap_or_else(unknown)) },
        }
    }

    /// How it ended, for expressions.
    fn told(&self, outcome: StepOutcome, duration_ms: u64) -> StepEnd {
        let each = self.view.items.is_some();
        let single = self.kept.clone().filter(|_| !each);
        let done = outcome == StepOutcome::Ok;
        StepEnd {
            outcome: outcome.word(),
            result: if each && (done || self.began.is_some()) {
                Some(self.result())
            } else {
                single.as_ref().map(|kept| kept.result.clone())
            },
            text: single.map(|kept| kept.beside.text.into()),
            duration_ms,
            error: if done { None } else { self.error.as_ref().map(fault) },
            items: each.then(|| self.ends.clone()),
        }
    }

    /// Takes over an item of an earlier life of the run.
    pub fn restore_item(&mut self, item: u32, end: &StepRecord) {
        let mut failed = end.error.as_ref().map(fault);
        if let Some(error) = &end.error {
            self.doubt(Some(item), end.outcome, error);
        }
        match end.outcome {
            StepOutcome::Ok => {
                self.keep(item, &result_of(end), beside(end));
                self.bytes += end.result.as_ref().map_or(0, Body::len);
                failed = None;
            }
            StepOutcome::Failed => self.fail(end.error.clone().unwrap_or_else(unknown), Some(item)),
            StepOutcome::Cancelled | StepOutcome::Skipped => {}
        }
        self.count(item, end.outcome, failed);
    }

    /// Takes over how it ended in an earlier life of the run: what there is to tell.
    pub fn restore(&mut self, end: &StepRecord, each: bool) -> (StepEnd, StepView) {
        self.finished = true;
        self.error = end.error.clone().filter(|_| end.outcome == StepOutcome::Failed);
        if let Some(error) = end.error.as_ref().filter(|_| !each) {
            self.doubt(None, end.outcome, error);
        }
        if let (true, Some(total)) = (each, end.items) {
            self.fan_out_restored(total);
        } else if end.outcome == StepOutcome::Ok {
            let result = Data::parse(&result_of(end).text()).unwrap_or_default();
            self.kept = Some(Kept { result, beside: beside(end) });
        }
        self.view.fallback = end.fallback.as_ref().map(ToString::to_string);
        let why = end.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
        self.view.state = self.state(end.outcome, why);
        if end.outcome == StepOutcome::Ok {
            let json = self.result().body();
            self.show_result(&json);
        }
        (self.told(end.outcome, end.duration_ms), self.view.clone())
    }

    fn fan_out_restored(&mut self, total: u32) {
        let before = self.view.items.unwrap_or_default();
        self.view.items = Some(Items { total, ..before });
        self.grow(total);
    }

    /// Makes room for so many items; those that an earlier life of the run settled are there already.
    fn grow(&mut self, items: u32) {
        Arc::make_mut(&mut self.results).grow_to(place(Some(items)));
        Arc::make_mut(&mut self.ends).grow_to(place(Some(items)));
    }

    /// The run is over and it never ended. Says whether that changes what is shown.
    pub fn never_ended(&mut self, halted: bool, now: Stamp, given_up: &str) -> bool {
        if self.finished || !halted {
            return false;
        }
        self.finished = true;
        let why = if given_up.is_empty() { "the run had failed".to_owned() } else { given_up.to_owned() };
        self.view.state = if self.view.started.is_some() {
            self.view.ended = Some(now);
            StepState::Cancelled { why }
        } else {
            StepState::Skipped { why }
        };
        true
    }
}

fn result_of(end: &StepRecord) -> Body {
    end.result.clone().unwrap_or_else(|| Body::from("null"))
}

fn beside(end: &StepRecord) -> Beside {
    Beside { text: end.text.clone().unwrap_or_default().into(), nothing_done: end.nothing_done, in_doubt: end.in_doubt }
}

fn unknown() -> StepError {
    StepError::new(StepErrorKind::ToolError, "failed")
}
