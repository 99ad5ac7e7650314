//! The history of calls, statistics and drift in the console: requests to the workspace, and dialogs with the replies.

use std::time::Duration;

use super::{Cmd, Model};
use crate::{
    control::WorkspaceRequest,
    domain::{
        call::Operation,
        call_summary::CallSummary,
        drift::{Baseline, Change, Impact},
        event::NoticeLevel,
        filter::Filter,
        history::{HistoryPage, HistoryStats, StatsBy},
        id::{CallId, InstanceId},
        journal::{CallOutcome, CallRecord},
        plural::counted,
        program_session::SessionSummary,
        text::visible,
        time::{date, short},
    },
    tui::{
        overlay::{
            menu::{Menu, MenuRow},
            report::{Line, Report, Tone},
            sessions::Sessions,
            text_dialog::TextDialog,
            text_prompt::TextPrompt,
        },
        pane::row_detail::RowDetail,
        view::ViewId,
    },
};

/// Calls of a page.
const PAGE: usize = 100;
/// Sessions of the list.
const MOST_SESSIONS: usize = 500;
/// The period of the statistics.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Cells of the longest bar.
const BAR: u64 = 40;

impl Model {
    /// Asks for a filter, and requests the calls of the history that pass it.
    pub(super) fn ask_history(&mut self) {
        let note = "A filter, such as server:db outcome:failed, or a text to search for; empty for the last calls.";
        let prompt = TextPrompt::new("Search the history", note, &[("filter", "")]);
        self.dialogs.push(prompt.on_submit(|_, prompt| {
            let filter = prompt.text(0).trim().to_owned();
            match Filter::parse(&filter).1.first() {
                Some(mistake) => Err(mistake.to_string()),
                None => Ok(page_of(filter, None)),
            }
        }));
    }

    /// Requests the sessions of the history.
    pub(super) fn ask_sessions() -> Vec<Cmd> {
        Self::request(WorkspaceRequest::Sessions { last: MOST_SESSIONS })
    }

    /// Lists the sessions of the history.
    pub(super) fn show_sessions(&mut self, sessions: Vec<SessionSummary>) {
        let current = self.views.state.rows.session().map(|start| start.session);
        self.dialogs.push(Sessions::new(sessions, current));
    }

    /// Shows the calls of a session: in the traffic view if that continues into the history, otherwise as a list.
    pub(in crate::tui) fn show_session(&mut self, session: InstanceId) -> Vec<Cmd> {
        let filter = format!("session:{session}");
        let Some(current) = self.views.state.rows.session().map(|start| start.session) else { return page_of(filter, None) };
        self.show_traffic(&filter);
        if current != session {
            self.views.traffic.read_back();
        }
        vec![]
    }

    /// Requests the statistics of the last day.
    pub(super) fn ask_statistics() -> Vec<Cmd> {
        Self::request(WorkspaceRequest::HistoryStats { last: DAY, by: StatsBy::Hour, compare: false })
    }

    /// Requests what servers changed since the user accepted their definitions.
    pub(super) fn ask_drift() -> Vec<Cmd> {
        Self::request(WorkspaceRequest::Drift { server: None, baseline: Baseline::Accepted })
    }

    /// Lists a page of the history. The last row continues with older calls.
    pub(super) fn show_history(&mut self, filter: &str, page: &HistoryPage) {
        if page.calls.is_empty() {
            return self.show_report(Report::new("History", vec![(String::new(), "No calls of the history match".into(), Tone::Muted)]));
        }
        let mut keys = ('a'..='z').chain(std::iter::repeat(' '));
        let mut key = || keys.next().unwrap_or(' ');
        let row = |call: &CallSummary, key| {
            let id = call.call.0;
            let detail = format!("{}  {}  {}", call.outcome.words(), short(call.took()), moment(call.unix_ms));
            MenuRow::new(key, &visible(&call.name), detail, move |_| Model::request(WorkspaceRequest::Calls { last: 0, ids: vec![id] }))
        };
        let mut rows: Vec<MenuRow> = page.calls.iter().map(|call| row(call, key())).collect();
        if page.next.is_some() {
            let (filter, before) = (filter.to_owned(), page.next);
            rows.push(MenuRow::new('+', "Older calls", String::new(), move |_| page_of(filter, before)));
        }
        self.dialogs.push(Menu::new("History", rows));
    }

    /// Requests the next page of the history for the traffic view, and the open row, if they are needed.
    pub(super) fn read_past(&mut self) -> Vec<Cmd> {
        let mut commands = vec![];
        let views = &mut self.views;
        if views.current == ViewId::Traffic && views.traffic.needs_page(&views.state.rows) {
            let newest = views.state.rows.oldest_call(&self.session.mirror.read_model.epoch);
            let page = views.state.rows.past_mut().begin_page(newest);
            views.traffic.page_begun();
            commands.extend(page.map(|(filter, before)| Cmd::ReadPast(filter, before)));
        }
        let wanted = views.state.entry.as_mut().and_then(RowDetail::wanted_record);
        commands.extend(wanted.map(Cmd::ReadPastCall));
        commands
    }

    /// Adds a page of the history to the traffic view, unless the filter has changed.
    pub(super) fn add_past(&mut self, filter: &str, before: CallId, page: Result<HistoryPage, String>) {
        let rows = &mut self.views.state.rows;
        if !rows.past().reads(filter, before) {
            return;
        }
        match page {
            Ok(page) => rows.add_page(page),
            Err(why) => {
                rows.past_mut().fail();
                self.toast(NoticeLevel::Warn, why);
            }
        }
    }

    /// Shows a call of the history in the open row.
    pub(super) fn show_past_row(&mut self, call: CallId, record: Option<&CallRecord>) {
        if let Some(entry) = &mut self.views.state.entry {
            entry.set_record(call, record);
        }
    }

    /// Shows a call of the history.
    pub(super) fn show_past_call(&mut self, record: &CallRecord) {
        self.show_report(Report::new(record.summary.name.clone(), call_lines(record)));
    }

    /// Shows statistics as bars.
    pub(super) fn show_statistics(&mut self, stats: &HistoryStats) {
        self.show_report(Report::new("Calls of the last day, by hour (UTC)", statistics_lines(stats)));
    }

    /// Shows what servers changed.
    pub(super) fn show_drift(&mut self, changes: &[Change]) {
        self.show_report(Report::new("Changes of servers since they were accepted", drift_lines(changes)));
    }

    fn show_report(&mut self, report: Report) {
        self.dialogs.push(TextDialog::new(report));
    }
}

fn page_of(filter: String, before: Option<CallId>) -> Vec<Cmd> {
    vec![Cmd::Request(WorkspaceRequest::History { filter: Filter::of_calls(&filter), within: None, before, limit: PAGE })]
}

/// Formats a time in UTC.
fn moment(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    format!("{} {:02}:{:02}:{:02}", date(seconds), seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
}

fn line(label: &str, text: impl Into<String>) -> Line {
    (label.to_owned(), text.into(), Tone::Plain)
}

fn call_lines(record: &CallRecord) -> Vec<Line> {
    let summary = &record.summary;
    let bad = matches!(summary.outcome, CallOutcome::Failed(_) | CallOutcome::ToolError);
    let mut lines = vec![
        line("call", summary.call.to_string()),
        line("server", summary.server.as_str()),
        ("outcome".into(), summary.outcome.words().into(), if bad { Tone::Bad } else { Tone::Plain }),
        line("started", format!("{} UTC", moment(summary.unix_ms))),
        line("took", short(summary.took())),
        line("by", if summary.lifecycle { "engine".into() } else { record.spec.requester() }),
        line("attempts", summary.attempts.to_string()),
    ];
    lines.extend(summary.error.iter().map(|error| ("error".to_owned(), error.clone(), Tone::Bad)));
    lines.extend(summary.trace.map(|trace| line("trace", trace.to_string())));
    lines.extend(summary.run.as_ref().map(|step| line("run", format!("{} {}", step.run, step.step))));
    let arguments = match &record.spec.operation {
        Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => Some(arguments),
        Operation::Complete { params, .. } | Operation::Raw { params, .. } => Some(params),
        Operation::Resource { .. } => None,
    };
    for (label, body) in [("arguments", arguments), ("result", record.result.as_ref())] {
        if let Some(body) = body {
            lines.push(line(label, crate::domain::json::indent(&body.text())));
        }
    }
    lines
}

fn statistics_lines(stats: &HistoryStats) -> Vec<Line> {
    let most = stats.rows.iter().map(|row| row.calls).max().unwrap_or(1).max(1);
    let us = |us| short(Duration::from_micros(us));
    let total = &stats.total;
    let counted = counted(u32::try_from(total.calls).unwrap_or(u32::MAX), "call");
    let mut lines = vec![line("", format!("{counted}, {} failed, p50 {}, p95 {}", total.errors, us(total.p50_us), us(total.p95_us)))];
    for row in &stats.rows {
        let hour = row.hour_ms.map(|ms| moment(ms)[..13].to_owned()).unwrap_or_default();
        let cells = (row.calls * BAR).div_ceil(most);
        let failed = if row.errors > 0 { format!("{} failed", row.errors) } else { String::new() };
        let bar = "█".repeat(usize::try_from(cells).unwrap_or_default());
        let tone = if row.errors > 0 { Tone::Bad } else { Tone::Plain };
        // The bar comes last: in a narrow dialog it is cut, and the figures are not.
        lines.push((hour, format!("{:>7}  p95 {:>8}  {failed:<11} {bar}", row.calls, us(row.p95_us)), tone));
    }
    lines
}

fn drift_lines(changes: &[Change]) -> Vec<Line> {
    if changes.is_empty() {
        return vec![(String::new(), "Nothing changed".into(), Tone::Muted)];
    }
    let mut lines = vec![];
    for change in changes {
        let tone = if change.impact() == Impact::Breaking { Tone::Bad } else { Tone::Plain };
        let what = format!("{} {}: {}, {}", change.kind.word(), change.name, change.impact().word(), date(change.at_ms / 1000));
        lines.push((change.server.to_string(), what, tone));
        for difference in &change.differences {
            let tone = if difference.kind.impact() == Impact::Breaking { Tone::Bad } else { Tone::Muted };
            lines.push((String::new(), format!("  {} {}", difference.path, difference.kind.words()), tone));
            for (sign, value) in [("-", &difference.before), ("+", &difference.after)] {
                lines.extend(value.iter().map(|value| (String::new(), format!("    {sign} {value}"), Tone::Muted)));
            }
        }
    }
    lines
}
