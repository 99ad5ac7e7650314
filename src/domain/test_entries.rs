//! Builders of journal entries for tests. A test names only the fields that it is about.

use std::sync::Arc;

use super::{
    body::Body,
    call::{CallSpec, Origin, Outcome, Timings},
    call_summary::CallSummary,
    event::Settled,
    id::{CallId, InstanceId},
    journal::{CallRecord, Place, RunEntry, RunRecord, StepOutcome, StepRecord},
    run::{Purpose, RunId, RunOutcome, RunReport, RunSpec, WorkflowText},
    time::Stamp,
};

/// Returns the request for a run of the workflow `name` with this text.
pub fn spec(name: &str, text: &str, input: &str) -> RunSpec {
    let source = WorkflowText { name: name.into(), file: "w.toml".into(), text: text.into() };
    RunSpec::new(name, [source], Body::from(input), Origin::Cli)
}

/// Returns the record of a successful call that took 7 µs.
pub fn call_record(call: CallId, unix_ms: u64, spec: CallSpec, name: &str) -> CallRecord {
    let result = Body::from(r#"{"content":[]}"#);
    let settled = Settled {
        outcome: Outcome::Ok { result: result.clone() },
        timings: Timings { settled: Stamp(7_000), ..Timings::default() },
        rounds: 1,
        sent_bytes: 10,
        received_bytes: 20,
        attempts: 1,
        by: None,
        cached: None,
    };
    CallRecord {
        summary: CallSummary::new((InstanceId(3), call), (unix_ms, name), &spec, &settled),
        spec: spec.into(),
        result: Some(result),
    }
}

/// Returns the first entry of a run.
pub fn began(spec: RunSpec) -> RunEntry {
    RunEntry::Began { spec: Arc::new(spec), unix_ms: 1, deadline_ms: None }
}

/// Returns the entry of a first attempt to call `what` with the arguments `{"a":1}`.
pub fn sending(step: &str, item: Option<u32>, purpose: Purpose, what: &str) -> RunEntry {
    RunEntry::Sending { place: Place::new(step, item, purpose), attempt: 1, what: what.into(), arguments: Body::from(r#"{"a":1}"#) }
}

/// Returns an end without a result, after one millisecond.
pub fn end(outcome: StepOutcome) -> StepRecord {
    StepRecord { duration_ms: 1, ..StepRecord::new(outcome) }
}

/// Returns an end with a result, unless `result` is empty, and the text of the response.
pub fn end_with(outcome: StepOutcome, result: &str, text: &str) -> StepRecord {
    StepRecord { result: (!result.is_empty()).then(|| Body::from(result)), text: Some(text.into()), ..end(outcome) }
}

/// Returns the end of a step.
pub fn step_ended(step: &str, end: StepRecord) -> RunEntry {
    RunEntry::StepEnded { step: step.into(), end }
}

/// Returns the end of an item.
pub fn item_ended(step: &str, item: u32, end: StepRecord) -> RunEntry {
    RunEntry::ItemEnded { step: step.into(), item, end }
}

/// Returns the end of a successful compensation.
pub fn undone(step: &str) -> RunEntry {
    RunEntry::Undone { step: step.into(), item: None, error: None }
}

/// Returns the report of a run without steps and output.
pub fn report(outcome: RunOutcome) -> RunReport {
    RunReport {
        outcome,
        why: None,
        detail: vec![],
        steps: vec![],
        output: None,
        compensated: vec![],
        not_compensated: vec![],
        questions: vec![],
        started: Stamp::default(),
        ended: Stamp::default(),
    }
}

/// Returns the journal of a run.
pub fn run_record(entries: Vec<RunEntry>) -> RunRecord {
    RunRecord { run: RunId::new(1, 1), entries }
}
