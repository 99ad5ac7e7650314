//! `runs` and `calls`: what the journal of runs and the history of calls hold.

mod search;

use serde::Serialize;
use serde_json::{json, value::RawValue};

use super::{
    Options,
    args::{CallsCmd, DriftArgs, HistoryCmd, PinsCmd, RunsCmd},
    drift, exit,
    print::{Format, Io, Printer, ms},
    replies_of_workspace::{failed, unexpected},
    run::{QuestionDocument, StepErrorDocument},
    session::{Stop, raw, raw_or_text},
    style::Tone,
};
use crate::{
    control::{Workspace, WorkspaceReply, WorkspaceRequest},
    domain::{
        call::{Failure, FailureKind, Operation},
        call_summary::CallSummary,
        journal::{CallOutcome, CallRecord, OpenQuestion, Place, RunEntry, RunRecord, StepRecord},
        plural::counted,
        run::RunOutcome,
        time::{self, date},
        workspace::{RunListed, RunState},
    },
};

/// Runs or calls that are listed by default.
pub const LAST: usize = 20;

/// A command about the journal or the history.
#[derive(Clone, Debug)]
pub enum History {
    /// `runs list` and `runs show`.
    Runs(RunsCmd),
    /// `calls`.
    Calls(CallsCmd),
    /// `history`.
    Search(HistoryCmd),
    /// `drift`.
    Drift(DriftArgs),
    /// `pins`.
    Pins(PinsCmd),
}

impl History {
    /// Returns the command of `runs`, which lists without a subcommand.
    pub fn runs(command: Option<RunsCmd>) -> History {
        History::Runs(command.unwrap_or(RunsCmd::List { workflow: None, last: LAST }))
    }
}

/// Runs a command; returns the exit code.
pub async fn run(workspace: &dyn Workspace, command: &History, options: &Options, io: Io) -> u8 {
    let mut printer = Printer::new(io, options.format, options.raw).masking(&options.secrets);
    let outcome = match command {
        History::Runs(RunsCmd::Show { run }) => show_run(&mut printer, workspace, run).await,
        History::Runs(RunsCmd::List { workflow, last }) => list_runs(&mut printer, workspace, *last, workflow.clone()).await,
        // The composition root runs the others as `run`.
        History::Runs(_) => Ok(exit::USAGE),
        History::Calls(CallsCmd::List { last }) => list_calls(&mut printer, workspace, *last).await,
        History::Calls(CallsCmd::Show { call }) | History::Search(HistoryCmd::Show { call }) => {
            show_call(&mut printer, workspace, call).await
        }
        History::Search(command) => search::run(&mut printer, workspace, command).await,
        History::Drift(args) => drift::show(&mut printer, workspace, args, &options.servers).await,
        History::Pins(command) => drift::pins(&mut printer, workspace, command).await,
    };
    super::conclude(&mut printer, outcome)
}

/// Formats a time for users, in UTC.
fn moment(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    format!("{} {:02}:{:02}:{:02}", date(seconds), seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

#[derive(Serialize)]
struct RunRow<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    run: String,
    workflow: &'a str,
    state: &'static str,
    outcome: Option<&'a str>,
    started_unix_ms: u64,
    duration_ms: Option<u64>,
}

async fn list_runs(printer: &mut Printer, workspace: &dyn Workspace, last: usize, workflow: Option<String>) -> Result<u8, Stop> {
    let request = WorkspaceRequest::Runs { last, workflow };
    let WorkspaceReply::Runs(runs) = workspace.request(request).await.map_err(failed)? else { return Err(unexpected().into()) };
    let row = |listed: &RunListed| {
        let header = &listed.header;
        let outcome = header.outcome.as_deref().and_then(RunOutcome::from_key).map(RunOutcome::words);
        let took = header.took_ms.map(|ms| time::short(std::time::Duration::from_millis(ms))).unwrap_or_default();
        vec![
            header.run.to_string(),
            header.workflow.clone(),
            outcome.unwrap_or(listed.state.word()).to_owned(),
            moment(header.started_ms),
            took,
        ]
    };
    let document = |listed: &'_ RunListed| {
        let header = listed.header.clone();
        json!(RunRow {
            kind: "run_summary",
            run: header.run.to_string(),
            workflow: &header.workflow,
            state: listed.state.word(),
            outcome: header.outcome.as_deref(),
            started_unix_ms: header.started_ms,
            duration_ms: header.took_ms,
        })
    };
    match printer.format() {
        Format::Human if runs.is_empty() => printer.note("no runs are recorded"),
        Format::Human => {
            let head = ["RUN", "WORKFLOW", "STATE", "STARTED (UTC)", "TOOK"].map(String::from).to_vec();
            let rows: Vec<Vec<String>> = std::iter::once(head).chain(runs.iter().map(row)).collect();
            let tone = |listed: &RunListed| match listed.header.outcome.as_deref().and_then(RunOutcome::from_key) {
                Some(RunOutcome::Ok) => Some(Tone::Good),
                Some(RunOutcome::Partial | RunOutcome::Compensated | RunOutcome::Cancelled | RunOutcome::Waiting) => Some(Tone::Warn),
                Some(_) => Some(Tone::Bad),
                None => None,
            };
            printer.headed_table(&rows, |row, column| runs.get(row).filter(|_| column == 2).and_then(tone))?;
        }
        Format::Json => printer.document(&json!({"type": "runs", "runs": runs.iter().map(document).collect::<Vec<_>>()}))?,
        Format::Jsonl => {
            for listed in &runs {
                printer.document(&document(listed))?;
            }
        }
    }
    Ok(exit::OK)
}

/// JSON document of a recorded run.
#[derive(Serialize)]
struct RunDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    run: String,
    workflow: &'a str,
    state: &'static str,
    outcome: Option<&'static str>,
    reason: Option<&'a str>,
    started_unix_ms: u64,
    input: Option<Box<RawValue>>,
    output: Option<Box<RawValue>>,
    steps: Vec<StepRow<'a>>,
    questions: Vec<QuestionDocument<'a>>,
    in_doubt: Vec<DoubtRow>,
    compensated: Vec<String>,
    not_compensated: Vec<NotCompensated<'a>>,
}

/// An ended step or item.
#[derive(Serialize)]
struct StepRow<'a> {
    step: String,
    outcome: &'static str,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<StepErrorDocument<'a>>,
}

/// A request that was sent and whose end is not known.
#[derive(Serialize)]
struct DoubtRow {
    step: String,
    purpose: &'static str,
    what: String,
    arguments: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct NotCompensated<'a> {
    step: &'a str,
    reason: &'a str,
}

fn label(step: &str, item: Option<u32>) -> String {
    item.map_or_else(|| step.to_owned(), |item| format!("{step}[{item}]"))
}

fn place_label(place: &Place) -> String {
    label(&place.step, place.item)
}

fn step_row<'r>(step: &str, item: Option<u32>, end: &'r StepRecord) -> StepRow<'r> {
    StepRow {
        step: label(step, item),
        outcome: end.outcome.word(),
        duration_ms: end.duration_ms,
        items: end.items,
        error: end.error.as_ref().map(|error| StepErrorDocument::new(None, error)),
    }
}

/// Returns the ended steps and failed items of a run, in the order of their ends.
fn steps(record: &RunRecord) -> Vec<StepRow<'_>> {
    record.entries.iter().filter_map(ended).collect()
}

fn ended(entry: &RunEntry) -> Option<StepRow<'_>> {
    match entry {
        RunEntry::StepEnded { step, end } => Some(step_row(step, None, end)),
        RunEntry::ItemEnded { step, item, end } if end.error.is_some() => Some(step_row(step, Some(*item), end)),
        _ => None,
    }
}

fn question<'r>(open: &OpenQuestion<'r>) -> QuestionDocument<'r> {
    QuestionDocument { step: place_label(open.place), message: open.message, schema: open.schema.and_then(raw) }
}

async fn show_run(printer: &mut Printer, workspace: &dyn Workspace, part: &str) -> Result<u8, Stop> {
    let reply = workspace.request(WorkspaceRequest::Run(part.to_owned())).await.map_err(failed)?;
    let WorkspaceReply::Run { record, state } = reply else { return Err(unexpected().into()) };
    let report = record.report().cloned();
    let questions = record.questions();
    // What a run that is executed has sent is not in doubt: its response may follow.
    let in_doubt = if state == RunState::Active { vec![] } else { record.in_doubt() };
    let undone = |entry: &RunEntry| match entry {
        RunEntry::Undone { step, item, error: None } => Some(label(step, *item)),
        _ => None,
    };
    let spec = record.spec();
    let document = RunDocument {
        kind: "run_record",
        run: record.run.to_string(),
        workflow: spec.map_or("", |spec| &spec.workflow),
        state: state.word(),
        outcome: report.as_ref().map(|report| report.outcome.key()),
        reason: report.as_ref().and_then(|report| report.why.as_deref()),
        started_unix_ms: record.started_ms(),
        input: spec.and_then(|spec| raw(&spec.input)),
        output: report.as_ref().and_then(|report| report.output.as_ref()).and_then(raw),
        steps: steps(&record),
        questions: questions.iter().map(question).collect(),
        in_doubt: in_doubt.into_iter().map(doubt).collect(),
        compensated: record.entries.iter().filter_map(undone).collect(),
        not_compensated: report
            .iter()
            .flat_map(|report| &report.not_compensated)
            .map(|(step, reason)| NotCompensated { step, reason })
            .collect(),
    };
    match printer.format() {
        Format::Human => print_run(printer, &document, state)?,
        _ => printer.document(&document)?,
    }
    Ok(exit::OK)
}

fn doubt((place, what, arguments): (Place, String, crate::domain::body::Body)) -> DoubtRow {
    DoubtRow { step: place_label(&place), purpose: place.purpose.word(), what, arguments: raw_or_text(&arguments) }
}

fn print_run(printer: &mut Printer, run: &RunDocument<'_>, state: RunState) -> Result<(), Stop> {
    printer.line(&format!("{}  {}", run.run, run.workflow))?;
    let outcome = run.outcome.and_then(RunOutcome::from_key).map(RunOutcome::words);
    let mut lines = vec![("state", outcome.unwrap_or(run.state).to_owned()), ("started", format!("{} UTC", moment(run.started_unix_ms)))];
    lines.extend(run.reason.map(|why| ("why", why.to_owned())));
    lines.extend(run.input.iter().map(|input| ("input", input.get().to_owned())));
    for step in &run.steps {
        let items = step.items.map(|items| format!(", {}", counted(items, "item"))).unwrap_or_default();
        let why = step.error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
        let took = time::short(std::time::Duration::from_millis(step.duration_ms));
        lines.push(("step", format!("{} {} in {took}{items}{why}", step.step, step.outcome)));
    }
    lines.extend(run.questions.iter().map(|question| ("asks", format!("{}: {}", question.step, question.message))));
    lines.extend(run.in_doubt.iter().map(|doubt| ("in doubt", format!("{} ({}): {} was sent", doubt.step, doubt.purpose, doubt.what))));
    if !run.compensated.is_empty() {
        lines.push(("compensated", run.compensated.join(", ")));
    }
    lines.extend(run.not_compensated.iter().map(|left| ("not compensated", format!("{}: {}", left.step, left.reason))));
    match state {
        RunState::Active => {}
        RunState::Waiting | RunState::Interrupted => lines.push(("try", format!("switchboard runs resume {}", run.run))),
        RunState::Ended if run.not_compensated.is_empty() => {}
        RunState::Ended => lines.push(("try", format!("switchboard runs undo {}", run.run))),
    }
    Ok(printer.report_out(&lines)?)
}

/// JSON document of a recorded call; in a list without arguments and result.
#[derive(Serialize)]
struct CallDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    call: String,
    session: String,
    unix_ms: u64,
    name: &'a str,
    server: &'a str,
    origin: &'static str,
    outcome: &'a str,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_age_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
}

impl<'a> CallDocument<'a> {
    fn summary(summary: &'a CallSummary) -> CallDocument<'a> {
        CallDocument {
            kind: "call_summary",
            call: summary.call.to_string(),
            session: summary.instance.to_string(),
            unix_ms: summary.unix_ms,
            name: &summary.name,
            server: summary.server.as_str(),
            origin: summary.requester(),
            outcome: summary.outcome.words(),
            duration_ms: ms(summary.took()),
            run: summary.run.as_ref().map(|step| step.run.to_string()),
            step: summary.run.as_ref().map(|step| &*step.step),
            attempts: summary.attempts,
            answered_by: summary.answered_by.as_ref().map(|server| server.as_str()),
            cache_age_ms: summary.cached.map(ms),
            error: summary.error.as_deref(),
            trace_id: summary.trace.map(|trace| trace.to_string()),
            arguments: None,
            result: None,
        }
    }

    fn record(record: &'a CallRecord) -> CallDocument<'a> {
        let arguments = match &record.spec.operation {
            Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => Some(arguments),
            Operation::Complete { params, .. } | Operation::Raw { params, .. } => Some(params),
            Operation::Resource { .. } => None,
        };
        CallDocument {
            kind: "call_record",
            arguments: arguments.and_then(raw_or_text),
            result: record.result.as_ref().and_then(raw_or_text),
            ..CallDocument::summary(&record.summary)
        }
    }
}

/// The columns of a table of calls.
fn call_row(summary: &CallSummary) -> Vec<String> {
    let CallSummary { call, name, outcome, unix_ms, .. } = summary;
    vec![call.to_string(), name.clone(), outcome.words().into(), summary.requester().into(), moment(*unix_ms), time::short(summary.took())]
}

const CALL_HEAD: [&str; 6] = ["CALL", "NAME", "OUTCOME", "BY", "STARTED (UTC)", "TOOK"];

async fn calls(workspace: &dyn Workspace, last: usize, ids: Vec<u64>) -> Result<Vec<CallRecord>, Stop> {
    match workspace.request(WorkspaceRequest::Calls { last, ids }).await.map_err(failed)? {
        WorkspaceReply::Calls(records) => Ok(records),
        _ => Err(unexpected().into()),
    }
}

async fn list_calls(printer: &mut Printer, workspace: &dyn Workspace, last: usize) -> Result<u8, Stop> {
    let mut records = calls(workspace, last, vec![]).await?;
    // Newest first, as for runs.
    records.reverse();
    let documents: Vec<CallDocument<'_>> = records.iter().map(|record| CallDocument::summary(&record.summary)).collect();
    match printer.format() {
        Format::Human if records.is_empty() => printer.note("the history has no calls"),
        Format::Human => {
            let head = CALL_HEAD.map(String::from).to_vec();
            let rows: Vec<Vec<String>> = std::iter::once(head).chain(records.iter().map(|record| call_row(&record.summary))).collect();
            let tone = |record: &CallRecord| match record.summary.outcome {
                CallOutcome::Ok | CallOutcome::Interim(_) => Tone::Good,
                CallOutcome::Cancelled => Tone::Warn,
                CallOutcome::ToolError | CallOutcome::Failed(_) => Tone::Bad,
                CallOutcome::Unknown(_) => Tone::Dim,
            };
            printer.headed_table(&rows, |row, column| records.get(row).filter(|_| column == 2).map(tone))?;
        }
        Format::Json => printer.document(&json!({"type": "calls", "calls": documents}))?,
        Format::Jsonl => {
            for document in &documents {
                printer.document(document)?;
            }
        }
    }
    Ok(exit::OK)
}

async fn show_call(printer: &mut Printer, workspace: &dyn Workspace, id: &str) -> Result<u8, Stop> {
    let invalid = |message: String| {
        Stop::from(Failure::new(FailureKind::InvalidArguments, message).hint("list them with `switchboard history list`"))
    };
    let number = u64::from_str_radix(id, 16).map_err(|_| invalid(format!("{id:?} is not the id of a call")))?;
    let records = calls(workspace, 1, vec![number]).await?;
    let Some(record) = records.first() else { return Err(invalid(format!("the history has no call {id}"))) };
    let document = CallDocument::record(record);
    if printer.format() != Format::Human {
        printer.document(&document)?;
        return Ok(exit::OK);
    }
    printer.line(&format!("{}  {} of {}", document.call, document.name, document.server))?;
    let mut lines = vec![
        ("outcome", document.outcome.to_owned()),
        ("started", format!("{} UTC", moment(document.unix_ms))),
        ("took", time::short(record.summary.took())),
        ("by", document.origin.to_owned()),
    ];
    lines.extend(document.run.iter().map(|run| ("run", format!("{run} {}", document.step.unwrap_or_default()))));
    lines.extend(document.error.map(|error| ("error", error.to_owned())));
    if document.attempts > 1 {
        lines.push(("attempts", document.attempts.to_string()));
    }
    lines.extend(document.trace_id.iter().map(|trace| ("trace", trace.clone())));
    lines.extend(document.answered_by.map(|server| ("answered by", server.to_owned())));
    lines.extend(record.summary.cached.map(|age| ("cached", format!("{} ago", time::short(age)))));
    lines.extend(document.arguments.iter().map(|arguments| ("arguments", arguments.get().to_owned())));
    lines.extend(document.result.iter().map(|result| ("result", result.get().to_owned())));
    printer.report_out(&lines)?;
    Ok(exit::OK)
}
