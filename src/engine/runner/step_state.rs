//! Step state: the state of each step of a running flow, with its view for the user and its results for expressions.

use std::{collections::BTreeMap, sync::Arc};

use tokio::time::Instant;

use super::step::{Answered, StepResult, step_fault as fault};
use crate::domain::{
    body::Body,
    journal::{StepOutcome, StepRecord},
    run::{FailedItem, Items, SHOWN_ITEMS, StepDetail, StepError, StepErrorKind, StepState, StepView, shown},
    time::Stamp,
    workflow::expression::{Data, Ends, Results, StepEnd, StepFault},
};

/// The state of one step.
#[derive(Default)]
pub struct StepEntry {
    /// The displayed view.
    pub view: StepView,
    /// The items of `for_each`.
    pub items: Option<Data>,
    /// Why it failed; for several items, why the first one failed.
    pub error: Option<StepError>,
    /// Why it was cancelled.
    pub cancelled: Option<String>,
    /// Items that ended badly but may have taken effect: item index and message for the user.
    pub doubts: Vec<(Option<u32>, String)>,
    /// Why it was skipped.
    pub skipped: Option<String>,
    /// Whether it was skipped because its `when` is false.
    pub condition_false: bool,
    /// Number of failed items.
    pub failed_items: u32,
    /// The first of them, until the step has ended.
    first_failed: Vec<FailedItem>,
    /// Total size of the results so far, in bytes.
    pub bytes: usize,
    began: Option<Instant>,
    /// The response of a step without items.
    response: Option<StepResponse>,
    /// The results of items, and notes on some of them.
    results: Arc<Results>,
    notes: BTreeMap<u32, ResponseNotes>,
    ends: Arc<Ends>,
    finished: bool,
    written: bool,
}

/// The stored part of a response.
#[derive(Clone)]
pub struct StepResponse {
    /// `result`.
    pub result: Data,
    notes: ResponseNotes,
}

impl StepResponse {
    /// Returns `text`; stored for items only if a compensation or `repeat.until` may read it.
    pub fn text(&self) -> &str {
        &self.notes.text
    }

    /// Returns whether nothing ran to get the response.
    pub fn nothing_done(&self) -> bool {
        self.notes.nothing_done
    }

    /// Returns the index of the fallback whose call answered.
    pub fn answered_by(&self) -> Option<u32> {
        self.notes.answered_by
    }

    /// Returns whether a failed attempt before the response may have run.
    pub fn in_doubt(&self) -> bool {
        self.notes.in_doubt
    }
}

/// The stored part of a response without its result.
#[derive(Clone, Default, PartialEq)]
struct ResponseNotes {
    text: Box<str>,
    nothing_done: bool,
    in_doubt: bool,
    answered_by: Option<u32>,
}

/// What to publish when a step has ended.
pub struct Finished {
    /// For expressions.
    pub step_end: StepEnd,
    /// For the user.
    pub view: StepView,
    /// For the journal, unless it is journaled already.
    pub unwritten: Option<StepRecord>,
}

/// Returns whether a failed or cancelled step may have taken effect. A tool error is the tool's statement that it did not.
pub fn is_in_doubt(error: &StepError) -> bool {
    error.may_have_run && error.kind != StepErrorKind::ToolError
}

/// Returns the label of a step or item for the user.
pub fn label(id: &str, item: Option<u32>) -> String {
    item.map_or_else(|| id.to_owned(), |item| format!("{id}[{item}]"))
}

fn index(item: Option<u32>) -> usize {
    item.and_then(|item| usize::try_from(item).ok()).unwrap_or(0)
}

impl StepEntry {
    /// Starts the step.
    pub fn begin(&mut self, now: Stamp) {
        self.began = Some(Instant::now());
        self.view.started = Some(now);
    }

    /// Sets the items of the step; `None` for a step without items.
    pub fn fan_out(&mut self, items: Option<(Data, u32)>) {
        let Some((items, total)) = items else { return };
        self.items = Some(items);
        self.set_total(total);
    }

    /// Sets the number of items or rounds.
    pub fn set_total(&mut self, total: u32) {
        let before = self.view.items.unwrap_or_default();
        self.view.items = Some(Items { total, ..before });
        self.grow(total);
    }

    /// Records the result of the step or an item. Returns whether that is worth an event.
    pub fn record(&mut self, item: Option<u32>, result: StepResult, keeps_text: bool) -> bool {
        let (mut outcome, mut failed) = (StepOutcome::Ok, None);
        match result {
            StepResult::Done(answered) => {
                self.bytes += answered.json.len();
                self.view.fallback = answered.fallback.map(|fallback| fallback.to_string()).or(self.view.fallback.take());
                self.show_result(&answered.json);
                let text = if item.is_none() || keeps_text { answered.text.into() } else { Box::default() };
                let Answered { nothing_done, in_doubt, answered_by, .. } = answered;
                let notes = ResponseNotes { text, nothing_done, in_doubt, answered_by };
                match item {
                    Some(item) => self.store(item, &answered.json, notes),
                    None => self.response = Some(StepResponse { result: answered.result, notes }),
                }
            }
            StepResult::Failed(error) => {
                (outcome, failed) = (StepOutcome::Failed, Some(fault(&error)));
                self.show_failed_item(item, &error);
                self.record_doubt(item, StepOutcome::Failed, &error);
                self.fail(error, item);
            }
            StepResult::Cancelled(error) => {
                outcome = StepOutcome::Cancelled;
                self.record_doubt(item, StepOutcome::Cancelled, &error);
                let also = if error.may_have_run { "; it was in flight and may have taken effect" } else { "" };
                self.cancelled.get_or_insert(format!("{}{also}", error.message));
            }
        }
        self.written = item.is_none();
        item.is_some_and(|item| self.count(item, outcome, failed))
    }

    /// Stores the result of an item.
    fn store(&mut self, item: u32, json: &Body, notes: ResponseNotes) {
        // Not shared until the step has ended.
        Arc::make_mut(&mut self.results).record(index(Some(item)), &json.text());
        if notes != ResponseNotes::default() {
            self.notes.insert(item, notes);
        }
    }

    /// Notes a failed item for the view of the ended step.
    fn show_failed_item(&mut self, item: Option<u32>, error: &StepError) {
        if let Some(item) = item.filter(|_| self.first_failed.len() < SHOWN_ITEMS) {
            self.first_failed.push(FailedItem { item, error: Arc::new(error.clone()) });
        }
    }

    fn fail(&mut self, error: StepError, item: Option<u32>) {
        self.failed_items += u32::from(item.is_some());
        match &mut self.error {
            None => self.error = Some(error),
            Some(first) => first.may_have_run |= error.may_have_run,
        }
    }

    /// Records that a failed step or item may have taken effect.
    fn record_doubt(&mut self, item: Option<u32>, outcome: StepOutcome, error: &StepError) {
        if !is_in_doubt(error) {
            return;
        }
        let how = if outcome == StepOutcome::Cancelled { "it was cancelled in flight" } else { "it failed" };
        let nested = error.detail.iter().filter(|line| matches!(line, StepDetail::NotUndone { .. }));
        let nested: String = nested.map(|line| format!("; {line}")).collect();
        self.doubts.push((item, format!("{how} and may have taken effect: {}{nested}", error.message)));
    }

    /// Removes the doubt about a step or item that was compensated, or reported as not compensated.
    pub fn settle_doubt(&mut self, item: Option<u32>) {
        self.doubts.retain(|(other, _)| *other != item);
    }

    /// Counts an ended item. Returns whether another percent of the items is done.
    fn count(&mut self, item: u32, outcome: StepOutcome, fault: Option<StepFault>) -> bool {
        let failed = outcome != StepOutcome::Ok;
        Arc::make_mut(&mut self.ends).record(index(Some(item)), outcome.word(), fault);
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

    /// Returns the response of the step or an item.
    pub fn response(&self, item: Option<u32>) -> Option<StepResponse> {
        let Some(item) = item else { return self.response.clone() };
        let result = Data::parse(self.results.get(index(Some(item)))?).unwrap_or_default();
        Some(StepResponse { result, notes: self.notes.get(&item).cloned().unwrap_or_default() })
    }

    /// Returns the result: for a step with items, the list of their results.
    pub fn result(&self) -> Data {
        if self.view.items.is_some() {
            return Data::results(self.results.clone());
        }
        self.response.as_ref().map(|response| response.result.clone()).unwrap_or_default()
    }

    /// Ends the step. Returns what to publish, the first time.
    pub fn finish(&mut self, outcome: StepOutcome, now: Stamp, reason: String) -> Option<Finished> {
        if std::mem::replace(&mut self.finished, true) {
            return None;
        }
        let took = self.began.map(|began| began.elapsed()).unwrap_or_default();
        let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.view.ended = Some(now);
        self.view.state = self.state(outcome, reason);
        self.view.failed_items = std::mem::take(&mut self.first_failed);
        self.view.failed_items.sort_by_key(|failed| failed.item);
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
            answered_by: None,
            items: self.view.items.map(|items| items.total),
        });
        Some(Finished { step_end: self.step_end(outcome, duration_ms), view: self.view.clone(), unwritten })
    }

    fn state(&self, outcome: StepOutcome, reason: String) -> StepState {
        match outcome {
            StepOutcome::Ok => StepState::Ok,
            StepOutcome::Skipped => StepState::Skipped { why: self.skipped.clone().unwrap_or_default() },
            StepOutcome::Cancelled => {
                let why = self.cancelled.clone().or_else(|| (!reason.is_empty()).then_some(reason));
                StepState::Cancelled { why: why.unwrap_or_else(|| "the run had failed".into()) }
            }
            StepOutcome::Failed => StepState::Failed { error: Arc::new(self.error.clone().unwrap_or_else(unknown_error)) },
        }
    }

    /// Returns the end of the step for expressions.
    fn step_end(&self, outcome: StepOutcome, duration_ms: u64) -> StepEnd {
        let each = self.view.items.is_some();
        let single = self.response.clone().filter(|_| !each);
        let done = outcome == StepOutcome::Ok;
        StepEnd {
            outcome: outcome.word(),
            result: if each { Some(self.result()) } else { single.as_ref().map(|response| response.result.clone()) },
            text: single.map(|response| response.notes.text.into()),
            duration_ms,
            error: if done { None } else { self.error.as_ref().map(fault) },
            items: each.then(|| self.ends.clone()),
        }
    }

    /// Restores an item that ended before the run was interrupted.
    pub fn restore_item(&mut self, item: u32, end: &StepRecord) {
        let mut failed = end.error.as_ref().map(fault);
        if let Some(error) = &end.error {
            self.record_doubt(Some(item), end.outcome, error);
        }
        match end.outcome {
            StepOutcome::Ok => {
                self.store(item, &result_of(end), notes_of(end));
                self.bytes += end.result.as_ref().map_or(0, Body::len);
                failed = None;
            }
            StepOutcome::Failed => {
                let error = end.error.clone().unwrap_or_else(unknown_error);
                self.show_failed_item(Some(item), &error);
                self.fail(error, Some(item));
            }
            StepOutcome::Cancelled | StepOutcome::Skipped => {}
        }
        self.count(item, end.outcome, failed);
    }

    /// Restores the end of the step from before the run was interrupted. Returns what to publish.
    pub fn restore(&mut self, end: &StepRecord, each: bool) -> (StepEnd, StepView) {
        self.finished = true;
        self.error = end.error.clone().filter(|_| end.outcome == StepOutcome::Failed);
        if let Some(error) = end.error.as_ref().filter(|_| !each) {
            self.record_doubt(None, end.outcome, error);
        }
        if let (true, Some(total)) = (each, end.items) {
            self.set_total(total);
        } else if end.outcome == StepOutcome::Ok {
            let result = Data::parse(&result_of(end).text()).unwrap_or_default();
            self.response = Some(StepResponse { result, notes: notes_of(end) });
        }
        self.view.failed_items = std::mem::take(&mut self.first_failed);
        self.view.fallback = end.fallback.as_ref().map(ToString::to_string);
        let why = end.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
        self.view.state = self.state(end.outcome, why);
        if end.outcome == StepOutcome::Ok {
            let json = self.result().body();
            self.show_result(&json);
        }
        (self.step_end(end.outcome, end.duration_ms), self.view.clone())
    }

    /// Makes room for this number of items; restored items keep their results.
    fn grow(&mut self, items: u32) {
        Arc::make_mut(&mut self.results).grow_to(index(Some(items)));
        Arc::make_mut(&mut self.ends).grow_to(index(Some(items)));
    }

    /// Ends a step that had not ended when the run did. Returns whether its view changed.
    pub fn never_ended(&mut self, halted: bool, now: Stamp, reason: &str) -> bool {
        if self.finished || !halted {
            return false;
        }
        self.finished = true;
        let why = if reason.is_empty() { "the run had failed".to_owned() } else { reason.to_owned() };
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

fn notes_of(end: &StepRecord) -> ResponseNotes {
    ResponseNotes {
        text: end.text.clone().unwrap_or_default().into(),
        nothing_done: end.nothing_done,
        in_doubt: end.in_doubt,
        answered_by: end.answered_by,
    }
}

fn unknown_error() -> StepError {
    StepError::new(StepErrorKind::ToolError, "failed")
}
