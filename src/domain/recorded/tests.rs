use std::sync::Arc;

use super::*;
use crate::domain::{
    call::FailureKind,
    journal::{Place, StepOutcome, StepRecord, Substitute},
    run::{Purpose, RunReport, StepError, StepErrorKind, StepView},
    test_entries::{began, end_with, item_ended, report, run_record, sending, spec, step_ended, undone},
    workflow::{
        case,
        parse::{Source, parse},
        problem::render_all,
    },
};

const TEXT: &str = r#"
    name = "w"
    [input]
    to = "string[]"
    [[step]]
    id = "make"
    tool = "db_make"
    compensate = { tool = "db_unmake" }
    [[step]]
    id = "send"
    tool = "mail"
    for_each = "{{ input.to }}"
    retry = { attempts = 3 }
    [[step]]
    id = "pay"
    tool = "pay"
    fallback = { tool = "note" }
    [[step]]
    id = "sure"
    approve = "?"
"#;

fn plan(text: &str) -> Plan {
    parse(&Source { file: "w.toml".into(), text: text.into() }, &|_| None).unwrap()
}

/// Creates the journal of a run of a workflow.
fn record(text: &str, input: &str, entries: Vec<RunEntry>) -> RunRecord {
    run_record(std::iter::once(began(spec("w", text, input))).chain(entries).collect())
}

/// Creates the end of a run, with its steps and the compensated ones.
fn ended(outcome: RunOutcome, steps: &[(&str, StepState)], undone: &[&str]) -> RunEntry {
    let view = |state: &StepState| Arc::new(StepView { state: state.clone(), ..StepView::default() });
    let report = RunReport {
        steps: steps.iter().map(|(step, state)| ((*step).into(), view(state))).collect(),
        compensated: undone.iter().map(|step| (*step).to_owned()).collect(),
        ..report(outcome)
    };
    RunEntry::Ended { report: Arc::new(report) }
}

fn cancelled() -> StepState {
    StepState::Cancelled { why: "by the user".into() }
}

fn given_up() -> RunEntry {
    RunEntry::GivenUp { prefix: String::new(), time_up: false, undo: true, why: "by the user".into() }
}

/// Returns the case of a run, which must contain these lines and match its workflow.
fn has(text: &str, record: &RunRecord, lines: &[&str]) -> String {
    let plan = plan(text);
    let made = recorded(&plan, record, None).unwrap();
    let file = made.head() + &made.case();
    for line in lines {
        assert!(file.contains(line), "{line:?} in\n{file}");
    }
    let source = Source { file: "w.test.toml".into(), text: file.clone() };
    let parsed = case::parse(&source).unwrap_or_else(|problems| panic!("{}\n{file}", render_all(&problems)));
    assert_eq!(case::check(&parsed, &source, &plan), []);
    file
}

#[test]
fn a_case_repeats_every_recorded_response() {
    let timeout =
        StepError { may_have_run: true, ..StepError::new(StepErrorKind::Call { failure: FailureKind::Timeout }, "timeout: late") };
    let entries = vec![
        sending("make", None, Purpose::Step, "db_make"),
        step_ended("make", end_with(StepOutcome::Ok, r#"{"id":"u_1","n":2.50}"#, "made u_1")),
        sending("send", Some(0), Purpose::Step, "mail"),
        sending("send", Some(1), Purpose::Step, "mail"),
        item_ended("send", 1, end_with(StepOutcome::Ok, r#""to b""#, "to b")),
        RunEntry::Attempted { place: Place::new("send", Some(0), Purpose::Step), attempt: 1, exhausted: None, error: None },
        sending("send", Some(0), Purpose::Step, "mail"),
        item_ended("send", 0, end_with(StepOutcome::Ok, r#"{"x":null}"#, r#"{"x":null}"#)),
        step_ended("send", StepRecord { items: Some(2), ..end_with(StepOutcome::Ok, "", "") }),
        sending("pay", None, Purpose::Step, "pay"),
        RunEntry::Attempted { place: Place::new("pay", None, Purpose::Step), attempt: 1, exhausted: Some(timeout), error: None },
        sending("pay", None, Purpose::Fallback, "note"),
        step_ended(
            "pay",
            StepRecord { fallback: Some(Substitute::Fallback("note, after: late".into())), ..end_with(StepOutcome::Ok, "7", "7") },
        ),
        sending("make", None, Purpose::Compensation, "db_unmake"),
        undone("make"),
        ended(RunOutcome::Compensated, &[("make", StepState::Compensated), ("send", StepState::Ok)], &["make"]),
    ];
    let plan = plan(TEXT);
    let record = record(TEXT, r#"{"to":["a","b"]}"#, entries);
    let mut made = recorded(&plan, &record, Some("it \"went\"")).unwrap();
    let text = made.head() + &made.case();
    for line in [
        "name = \"it \\\"went\\\"\"",
        "input = { to = [\"a\", \"b\"] }",
        "make = { answer = { content = [{ type = \"text\", text = \"made u_1\" }], structuredContent = { id = \"u_1\", n = 2.5 } } }",
        "    { error = \"failed and was retried\", kind = \"not_ready\" },\n    { result = \"to b\" },\n    { text = \"{\\\"x\\\":null}\" },",
        "pay = { error = \"late\", kind = \"timeout\" }",
        "note = { result = 7 }",
        "db_unmake = { text = \"undone\" }",
        "outcome = \"compensated\"\ncompensated = [\"make\"]",
        "[case.expect.steps]\nmake = \"compensated\"\nsend = \"ok\"",
        "[case.expect.calls]\nmake = 2\nsend = 3\npay = 2",
        "[case.expect.arguments]\nmake = { a = 1 }",
    ] {
        assert!(text.contains(line), "{line:?} in\n{text}");
    }
    let source = Source { file: "w.test.toml".into(), text };
    let parsed = case::parse(&source).unwrap();
    assert_eq!(case::check(&parsed, &source, &plan), []);
    let of = |place, words: &str| case::Mismatch { place, words: words.to_owned() };
    let wrong = vec![
        of(case::Expected::Arguments("make".into()), "arguments.make: expected 1, got 2"),
        of(case::Expected::Other, "outcome: expected ok, got failed"),
    ];
    let (varied, rest) = made.forget(wrong);
    assert_eq!((varied, rest), (vec!["arguments.make".to_owned()], vec!["outcome: expected ok, got failed".to_owned()]));
    assert!(!made.case().contains("make = { a = 1 }"));
}

/// `make` and `note` concurrently, then `send` for each of two, then a question.
const WIDE: &str = r#"
    name = "w"
    on_error = "compensate"
    [[step]]
    id = "make"
    tool = "db_make"
    compensate = { tool = "db_unmake" }
    [[step]]
    id = "note"
    tool = "db_note"
    [[step]]
    id = "send"
    tool = "mail"
    needs = ["make"]
    for_each = ["a", "b"]
    [[step]]
    id = "sure"
    needs = ["note"]
    approve = "?"
"#;

#[test]
fn a_cancelled_run_is_cancelled_again_at_the_last_call_in_flight() {
    let step = Purpose::Step;
    let entries = vec![
        sending("make", None, step, "db_make"),
        sending("note", None, step, "db_note"),
        step_ended("make", end_with(StepOutcome::Ok, "1", "1")),
        sending("send", Some(0), step, "mail"),
        sending("send", Some(1), step, "mail"),
        step_ended("note", end_with(StepOutcome::Ok, "1", "1")),
        given_up(),
        item_ended("send", 0, end_with(StepOutcome::Cancelled, "", "")),
        item_ended("send", 1, end_with(StepOutcome::Cancelled, "", "")),
        step_ended("send", StepRecord { items: Some(2), ..end_with(StepOutcome::Cancelled, "", "") }),
        sending("make", None, Purpose::Compensation, "db_unmake"),
        undone("make"),
        ended(
            RunOutcome::Cancelled,
            &[("make", StepState::Compensated), ("note", StepState::Ok), ("send", cancelled()), ("sure", cancelled())],
            &["make"],
        ),
    ];
    let file = has(
        WIDE,
        &record(WIDE, "{}", entries),
        &[
            "make = { result = 1 }\nnote = { result = 1 }",
            "send = [\n    { silent = true },\n    { cancel = \"run\", after = [\"note\"] },\n]",
            "db_unmake = { text = \"undone\" }",
            "outcome = \"cancelled\"\ncompensated = [\"make\"]",
            "make = \"compensated\"\nnote = \"ok\"\nsend = \"cancelled\"\nsure = \"cancelled\"",
            "send = 2",
        ],
    );
    assert!(!file.contains('#'), "nothing is left out: {file}");
}

#[test]
fn a_cancelled_compensation_and_a_cancelled_step_are_cancelled_again() {
    let error = StepError { may_have_run: true, ..StepError::new(StepErrorKind::Refused, "cancelled: by the user") };
    let entries = vec![
        sending("make", None, Purpose::Step, "db_make"),
        step_ended("make", end_with(StepOutcome::Ok, "1", "1")),
        sending("note", None, Purpose::Step, "db_note"),
        step_ended("note", end_with(StepOutcome::Cancelled, "1", "1")),
        sending("make", None, Purpose::Compensation, "db_unmake"),
        RunEntry::Undone { step: "make".into(), item: None, error: Some(error) },
        ended(RunOutcome::CompensationFailed, &[("note", cancelled())], &[]),
    ];
    let lines = ["note = { cancel = \"step\" }", "db_unmake = { cancel = \"run\" }", "outcome = \"compensation_failed\""];
    has(WIDE, &record(WIDE, "{}", entries), &lines);
}

#[test]
fn a_run_cancelled_during_a_question_reports_what_it_leaves_out() {
    let entries = vec![
        sending("make", None, Purpose::Step, "db_make"),
        step_ended("make", end_with(StepOutcome::Ok, "1", "1")),
        sending("note", None, Purpose::Step, "db_note"),
        step_ended("note", end_with(StepOutcome::Ok, "1", "1")),
        step_ended("send", end_with(StepOutcome::Ok, "1", "1")),
        given_up(),
        step_ended("sure", end_with(StepOutcome::Cancelled, "1", "1")),
        ended(RunOutcome::Cancelled, &[("sure", cancelled())], &[]),
    ];
    let lines =
        ["# The run was cancelled while no call was in flight. The case cancels it at the next call: sure.", "sure = { cancel = \"run\" }"];
    let file = has(WIDE, &record(WIDE, "{}", entries), &lines);
    assert!(!file.contains("sure = \"cancelled\""), "{file}");
}

#[test]
fn the_known_part_of_an_unfinished_run_is_written() {
    let entries = vec![
        sending("make", None, Purpose::Step, "db_make"),
        sending("note", None, Purpose::Step, "db_note"),
        step_ended("make", end_with(StepOutcome::Ok, "1", "1")),
        sending("send", Some(0), Purpose::Step, "mail"),
    ];
    let lines = [
        "# The run was interrupted and has not ended: its later steps are left out.",
        "send = { cancel = \"program\" }",
        "note = { silent = true }",
        "outcome = \"in_doubt\"\n\n[case.expect.steps]\nmake = \"ok\"\n\n[case.expect.calls]",
    ];
    has(WIDE, &record(WIDE, "{}", entries.clone()), &lines);
    // With nothing in flight, the next steps cancel the run.
    let ends = vec![
        step_ended("note", end_with(StepOutcome::Ok, "1", "1")),
        item_ended("send", 0, end_with(StepOutcome::Ok, "1", "1")),
        step_ended("send", StepRecord { items: Some(2), ..end_with(StepOutcome::Ok, "", "") }),
    ];
    let between = record(WIDE, "{}", [entries, ends].concat());
    has(WIDE, &between, &["at the next call: sure.", "sure = { cancel = \"program\" }"]);
}

#[test]
fn every_attempt_gets_its_own_error() {
    let text = r#"
        name = "w"
        [[step]]
        id = "pay"
        tool = "pay"
        retry = { attempts = 4 }
        compensate = { tool = "refund" }
    "#;
    let attempted = |purpose, attempt, error| RunEntry::Attempted {
        place: Place::new("pay", None, purpose),
        attempt,
        exhausted: None,
        error: Some(error),
    };
    let call = |failure: FailureKind, words: &str, ran| StepError {
        may_have_run: ran,
        ..StepError::new(StepErrorKind::Call { failure }, format!("{}: {words}", failure.words()))
    };
    let pay = || sending("pay", None, Purpose::Step, "pay_now");
    let entries = vec![
        pay(),
        attempted(Purpose::Step, 1, call(FailureKind::Transport, "refused hunter2-token", false)),
        pay(),
        attempted(Purpose::Step, 2, call(FailureKind::Timeout, "late", true)),
        pay(),
        attempted(Purpose::Step, 3, StepError { may_have_run: true, ..StepError::new(StepErrorKind::ToolError, "busy") }),
        pay(),
        step_ended("pay", end_with(StepOutcome::Ok, "1", "1")),
        sending("pay", None, Purpose::Compensation, "refund"),
        attempted(Purpose::Compensation, 1, call(FailureKind::Transport, "gone", true)),
        sending("pay", None, Purpose::Compensation, "refund"),
        undone("pay"),
        ended(RunOutcome::Compensated, &[("pay", StepState::Compensated)], &["pay"]),
    ];
    let record = record(text, "{}", entries);
    let text = text.replace("\"pay\"\n        retry", "\"pay_now\"\n        retry");
    let lines = [
        "repeatable = [\"refund\"]",
        "refund = [\n    { error = \"gone\", kind = \"transport\" },\n    { text = \"undone\" },\n]",
        "pay = [\n    { error = \"refused hunter2-token\", kind = \"transport\", sent = false },\n    \
         { error = \"late\", kind = \"timeout\" },\n    { error = \"busy\" },\n    { result = 1 },\n]",
        "pay = 6",
    ];
    has(&text, &record, &lines);
    // A secret quoted by a server is masked.
    let mut made = recorded(&plan(&text), &record, None).unwrap();
    made.mask(&Redactor::new(&[crate::domain::secret::Secret::literal("hunter2-token")]));
    assert!(made.case().contains("refused •••") && !made.case().contains("hunter2"), "{}", made.case());
}
