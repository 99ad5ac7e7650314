//! `history`: pages, statistics and exports of the calls of earlier sessions.

use serde::Serialize;
use serde_json::json;

use super::{CALL_HEAD, CallDocument, call_row, moment};
use crate::{
    cli::{
        args::{ExportFormat, HistoryCmd, RowsBy, Selection},
        exit, export,
        print::{Format, Printer},
        replies_of_workspace::{failed, unexpected},
        run_files,
        session::Stop,
    },
    control::{Workspace, WorkspaceReply, WorkspaceRequest},
    domain::{
        call::{Failure, FailureKind},
        filter::{Filter, Term, Test},
        history::{HistoryPage, HistoryStats, PAGE, StatsBy, StatsRow},
        id::CallId,
        journal::CallRecord,
        plural::counted,
        program_session::SessionSummary,
        time,
    },
};

/// The period of `history stats` by default: a day, in seconds.
const DAY: u64 = 24 * 3600;

/// Runs a command of `history`.
pub async fn run(printer: &mut Printer, workspace: &dyn Workspace, command: &HistoryCmd) -> Result<u8, Stop> {
    match command {
        HistoryCmd::List { selection, last } => list(printer, workspace, selection, None, *last).await,
        HistoryCmd::Search { text, selection, last } => list(printer, workspace, selection, Some(text), *last).await,
        HistoryCmd::Sessions { last } => sessions(printer, workspace, *last).await,
        HistoryCmd::Stats { since, by, compare } => {
            let by = match by {
                RowsBy::Tool => StatsBy::Tool,
                RowsBy::Server => StatsBy::Server,
                RowsBy::Hour => StatsBy::Hour,
            };
            let last = since.unwrap_or(std::time::Duration::from_secs(DAY));
            let request = WorkspaceRequest::HistoryStats { last, by, compare: *compare };
            match workspace.request(request).await.map_err(failed)? {
                WorkspaceReply::HistoryStats(stats) => show_stats(printer, &stats, *compare),
                _ => Err(unexpected().into()),
            }
        }
        HistoryCmd::Export { selection, last, format, output } => {
            let records = records(workspace, selection, *last).await?;
            let definitions = match workspace.request(WorkspaceRequest::Definitions { server: None }).await.map_err(failed)? {
                WorkspaceReply::Definitions(definitions) => definitions,
                _ => return Err(unexpected().into()),
            };
            let text = match format {
                ExportFormat::Jsonl => export::jsonl::render(&records, &definitions),
                ExportFormat::Har => export::har::render(&records),
                ExportFormat::Markdown => export::markdown::render(&records),
                ExportFormat::Html => export::html::render(&records),
            };
            match output {
                Some(path) => {
                    run_files::check_target(path)?;
                    run_files::write(path, &printer.masked_json(&text))?;
                    printer.note(&format!(
                        "{} written to {}",
                        counted(u32::try_from(records.len()).unwrap_or(u32::MAX), "call"),
                        path.display()
                    ));
                }
                None => printer.file(&text)?,
            }
            Ok(exit::OK)
        }
        HistoryCmd::Prune { older_than } => {
            let request = WorkspaceRequest::PruneHistory { older_than: *older_than };
            let WorkspaceReply::Deleted(calls) = workspace.request(request).await.map_err(failed)? else { return Err(unexpected().into()) };
            match printer.format() {
                Format::Human => printer.line(&format!("{} deleted", counted(u32::try_from(calls).unwrap_or(u32::MAX), "call")))?,
                _ => printer.document(&json!({"type": "history_pruned", "deleted": calls}))?,
            }
            Ok(exit::OK)
        }
        // The module above shows a call.
        HistoryCmd::Show { .. } => Ok(exit::USAGE),
    }
}

/// Returns the text of a selection's filter, with its session and a text to search for.
fn filter_text(selection: &Selection, text: Option<&str>) -> String {
    let words = text.map(|text| Term { not: false, test: Test::Text(text.to_lowercase()) }.to_string());
    let session = selection.session.clone().map(|session| Term { not: false, test: Test::Session(vec![session]) }.to_string());
    Filter::of_calls(&words.into_iter().chain(selection.filter.iter().cloned()).chain(session).collect::<Vec<_>>().join(" "))
}

/// Requests a page.
async fn page(
    workspace: &dyn Workspace,
    selection: &Selection,
    text: Option<&str>,
    before: Option<CallId>,
    limit: usize,
) -> Result<HistoryPage, Stop> {
    let filter = filter_text(selection, text);
    let invalid = |message: String| Stop::from(Failure::new(FailureKind::InvalidArguments, message));
    if let Some(mistake) = Filter::parse(&filter).1.first() {
        return Err(invalid(format!("the filter has an error: {mistake}")));
    }
    let request = WorkspaceRequest::History { filter, within: selection.since, before, limit };
    match workspace.request(request).await.map_err(failed)? {
        WorkspaceReply::History(page) => Ok(page),
        _ => Err(unexpected().into()),
    }
}

fn before(selection: &Selection) -> Result<Option<CallId>, Stop> {
    let Some(id) = &selection.before else { return Ok(None) };
    let number = u64::from_str_radix(id, 16);
    let invalid = |_| Stop::from(Failure::new(FailureKind::InvalidArguments, format!("{id:?} is not the id of a call")));
    number.map(|number| Some(CallId(number))).map_err(invalid)
}

async fn list(
    printer: &mut Printer,
    workspace: &dyn Workspace,
    selection: &Selection,
    text: Option<&str>,
    last: usize,
) -> Result<u8, Stop> {
    let page = page(workspace, selection, text, before(selection)?, last).await?;
    let documents: Vec<CallDocument<'_>> = page.calls.iter().map(CallDocument::summary).collect();
    match printer.format() {
        Format::Human if page.calls.is_empty() => printer.note("no calls of the history pass"),
        Format::Human => {
            let head = CALL_HEAD.map(String::from).to_vec();
            printer.table("", &std::iter::once(head).chain(page.calls.iter().map(call_row)).collect::<Vec<_>>())?;
            if let Some(next) = page.next {
                printer.note(&format!("older calls: --before {next}"));
            }
        }
        Format::Json => {
            let next = page.next.map(|next| next.to_string());
            printer.document(&json!({"type": "history", "calls": documents, "next": next}))?;
        }
        Format::Jsonl => {
            for document in &documents {
                printer.document(document)?;
            }
        }
    }
    Ok(exit::OK)
}

/// JSON document of a session.
#[derive(Serialize)]
struct SessionDocument {
    #[serde(rename = "type")]
    kind: &'static str,
    session: String,
    program: &'static str,
    started_unix_ms: u64,
    last_unix_ms: u64,
    ended_unix_ms: Option<u64>,
    calls: u64,
    failures: u64,
}

impl SessionDocument {
    fn new(session: &SessionSummary) -> SessionDocument {
        let SessionSummary { start, last_ms, ended_ms, calls, failures } = *session;
        SessionDocument {
            kind: "session",
            session: start.session.to_string(),
            program: start.kind.word(),
            started_unix_ms: start.started_ms,
            last_unix_ms: last_ms,
            ended_unix_ms: ended_ms,
            calls,
            failures,
        }
    }
}

async fn sessions(printer: &mut Printer, workspace: &dyn Workspace, last: usize) -> Result<u8, Stop> {
    let reply = workspace.request(WorkspaceRequest::Sessions { last }).await.map_err(failed)?;
    let WorkspaceReply::Sessions(sessions) = reply else { return Err(unexpected().into()) };
    let documents: Vec<SessionDocument> = sessions.iter().map(SessionDocument::new).collect();
    match printer.format() {
        Format::Human if sessions.is_empty() => printer.note("the history has no sessions"),
        Format::Human => {
            let head = ["SESSION", "PROGRAM", "STARTED (UTC)", "ENDED (UTC)", "CALLS", "FAILURES"].map(String::from).to_vec();
            let row = |session: &SessionSummary| {
                let SessionSummary { start, ended_ms, calls, failures, .. } = session;
                let ended = ended_ms.map_or_else(|| "-".to_owned(), moment);
                let (session, program) = (start.session.to_string(), start.kind.word().to_owned());
                vec![session, program, moment(start.started_ms), ended, calls.to_string(), failures.to_string()]
            };
            printer.table("", &std::iter::once(head).chain(sessions.iter().map(row)).collect::<Vec<_>>())?;
        }
        Format::Json => printer.document(&json!({"type": "history_sessions", "sessions": documents}))?,
        Format::Jsonl => {
            for document in &documents {
                printer.document(document)?;
            }
        }
    }
    Ok(exit::OK)
}

/// Returns the calls of a selection with their bodies, oldest first.
async fn records(workspace: &dyn Workspace, selection: &Selection, last: usize) -> Result<Vec<CallRecord>, Stop> {
    let mut found: Vec<CallRecord> = vec![];
    let mut at = before(selection)?;
    while found.len() < last {
        let page = page(workspace, selection, None, at, (last - found.len()).min(PAGE)).await?;
        let ids: Vec<u64> = page.calls.iter().map(|call| call.call.0).collect();
        if !ids.is_empty() {
            let request = WorkspaceRequest::Calls { last: 0, ids };
            let WorkspaceReply::Calls(calls) = workspace.request(request).await.map_err(failed)? else { return Err(unexpected().into()) };
            found.extend(calls);
        }
        at = page.next;
        if at.is_none() {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// JSON document of a row of statistics.
#[derive(Serialize)]
struct StatsDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hour_unix_ms: Option<u64>,
    calls: u64,
    errors: u64,
    by_error: &'a std::collections::BTreeMap<String, u64>,
    mean_ms: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    received_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Box<StatsDocument<'a>>>,
}

impl<'a> StatsDocument<'a> {
    fn new(row: &'a StatsRow, before: Option<&'a StatsRow>) -> StatsDocument<'a> {
        let ms = |us: u64| us as f64 / 1e3;
        StatsDocument {
            kind: "history_row",
            server: row.server.as_ref().map(|server| server.as_str()),
            tool: row.tool.as_deref(),
            hour_unix_ms: row.hour_ms,
            calls: row.calls,
            errors: row.errors,
            by_error: &row.by_error,
            mean_ms: ms(row.mean_us),
            p50_ms: ms(row.p50_us),
            p95_ms: ms(row.p95_us),
            p99_ms: ms(row.p99_us),
            received_bytes: row.bytes,
            before: before.map(|before| Box::new(StatsDocument::new(before, None))),
        }
    }
}

fn show_stats(printer: &mut Printer, stats: &HistoryStats, compare: bool) -> Result<u8, Stop> {
    let same = |row: &StatsRow, other: &StatsRow| row.server == other.server && row.tool == other.tool && row.hour_ms.is_none();
    let before = |row: &StatsRow| stats.before.iter().find(|other| same(row, other));
    let documents: Vec<StatsDocument<'_>> = stats.rows.iter().map(|row| StatsDocument::new(row, before(row))).collect();
    match printer.format() {
        Format::Human if stats.rows.is_empty() => printer.note("the history has no calls of this period"),
        Format::Human => {
            let mut head = vec!["TARGET", "CALLS", "ERRORS", "P50", "P95", "P99"];
            if compare {
                head.extend(["CALLS BEFORE", "ERRORS BEFORE", "P95 BEFORE"]);
            }
            let short = |us: u64| time::short(std::time::Duration::from_micros(us));
            let row = |row: &StatsRow, name: String| {
                let mut cells =
                    vec![name, row.calls.to_string(), row.errors.to_string(), short(row.p50_us), short(row.p95_us), short(row.p99_us)];
                if compare {
                    let before = before(row);
                    let cell = |text: fn(&StatsRow) -> String| before.map_or_else(|| "-".to_owned(), text);
                    cells.extend([
                        cell(|row| row.calls.to_string()),
                        cell(|row| row.errors.to_string()),
                        cell(|row| time::short(std::time::Duration::from_micros(row.p95_us))),
                    ]);
                }
                cells
            };
            let name = |row: &StatsRow| match (&row.server, &row.tool, row.hour_ms) {
                (_, _, Some(hour)) => moment(hour),
                (Some(server), Some(tool), None) => format!("{server}/{tool}"),
                (Some(server), None, None) => server.to_string(),
                _ => String::new(),
            };
            let head = head.into_iter().map(String::from).collect();
            let total = row(&stats.total, "all".to_owned());
            let rows = std::iter::once(head).chain(stats.rows.iter().map(|one| row(one, name(one)))).chain([total]);
            printer.table("", &rows.collect::<Vec<_>>())?;
        }
        Format::Json => printer.document(&json!({
            "type": "history_stats",
            "since_unix_ms": stats.period.since_ms,
            "until_unix_ms": stats.period.until_ms,
            "total": StatsDocument::new(&stats.total, None),
            "rows": documents,
        }))?,
        Format::Jsonl => {
            for document in &documents {
                printer.document(document)?;
            }
        }
    }
    Ok(exit::OK)
}
