//! The columns of the traffic view: their widths, headers and cells.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        call::Operation,
        run::{Purpose, RunStep},
        secret::Redactor,
        text::visible,
        time::{short, size},
    },
    state::CallView,
    tui::{
        filter_index::By,
        hits::Hit,
        pane::{DrawContext, traffic::pending_words},
        rows::{CallState, Row, RowKind, Rows},
        theme::Theme,
        widget::paint::{self, Pen, width},
    },
};

/// The least cells for the arguments of a call, right of its name.
const ARGUMENTS_FROM: u16 = 16;
/// The bytes of the arguments that are read for a row.
const ARGUMENTS_READ: usize = 400;

/// Returns the header of a column.
pub(super) fn head_word(by: By) -> &'static str {
    match by {
        By::Time => "time",
        By::Server => "server",
        By::Tool => "tool",
        By::Origin => "by",
        By::Outcome => "outcome",
        By::Took => "took",
        By::Sent => "sent",
        By::Got => "recv",
    }
}

/// The columns that fit, with their widths. Each ends with a blank cell.
pub(super) struct Columns {
    list: Vec<(By, u16)>,
    /// Cells of the duration's bar.
    bar: u16,
}

impl Columns {
    /// Returns the columns for a width.
    pub(super) fn for_width(width: u16) -> Columns {
        let (time, server, origin, outcome, bytes, bar) = match width {
            0..=39 => (0, 0, 0, 4, false, 0),
            40..=59 => (9, 0, 0, 12, false, 0),
            60..=89 => (9, 12, 0, 14, false, 0),
            90..=109 => (13, 13, 12, 18, false, 0),
            110..=149 => (13, 14, 12, 18, true, 0),
            150..=179 => (13, 16, 14, 18, true, 16),
            _ => (13, 18, 18, 20, true, 24),
        };
        let mut list =
            vec![(By::Time, time), (By::Server, server), (By::Tool, 0), (By::Origin, origin), (By::Outcome, outcome), (By::Took, 10)];
        if bytes {
            list.extend([(By::Sent, 9), (By::Got, 9)]);
        }
        let fixed: u16 = list.iter().map(|(_, w)| w).sum::<u16>() + bar + 1;
        list[2].1 = width.saturating_sub(fixed);
        list.retain(|(_, width)| *width > 0);
        Columns { list, bar }
    }

    /// Writes the headers. The sort column is marked with its direction.
    pub(super) fn head(&self, (sorted, down): (By, bool), ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(1);
        for (by, width) in &self.list {
            let start = pen.x();
            let mark = if *by != sorted {
                ""
            } else if down {
                " ▼"
            } else {
                " ▲"
            };
            let text = format!("{}{mark}", head_word(*by));
            let style = if *by == sorted { theme.accent.add_modifier(Modifier::BOLD) } else { theme.muted };
            let cells = usize::from(width.saturating_sub(1));
            if matches!(by, By::Took | By::Sent | By::Got) {
                pen.put(&format!("{text:>cells$}"), style)
            } else {
                pen.put_middle(&text, width.saturating_sub(1), style)
            };
            pen.to(start + width + if *by == By::Took { self.bar } else { 0 });
            ctx.hits.add(pen.since(start), Hit::Column(*by));
        }
    }

    /// Writes a row.
    /// `secrets` are masked in arguments.
    pub(super) fn row(&self, row: &Row, (rows, secrets): (&Rows, &Redactor), ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let call = row.call().and_then(|id| ctx.read_model.call(id));
        let name = rows.name(row.key);
        let step = rows.step_of(row);
        let mut pen = Pen::new(buf, area, 0);
        // Calls of a run have a line at their left, marked calls a mark.
        match row.call().filter(|id| rows.marked.binary_search(id).is_ok()) {
            Some(_) => drop(pen.put("◆", theme.key)),
            None if step.is_some() => drop(pen.put("│", theme.running)),
            None => drop(pen.skip(1)),
        }
        for (by, width) in &self.list {
            let start = pen.x();
            let room = width.saturating_sub(1);
            let cells = usize::from(room);
            match by {
                By::Time => {
                    let time = row.time_of_day(&ctx.read_model.epoch);
                    pen.put(&time[..cells.min(time.len())], theme.muted);
                }
                By::Server => match answered_by(row, call) {
                    Some(by) => put_servers(name.map_or("…", |n| &n.server), by, room, ctx, &mut pen),
                    None => drop(pen.put_middle(name.map_or("…", |n| &n.server), room, theme.accent)),
                },
                By::Tool => {
                    let style = if row.kind() == RowKind::Call { theme.text } else { theme.muted };
                    let tool = name.map_or("…", |n| &n.tool);
                    match name.filter(|_| self.list.iter().all(|(by, _)| *by != By::Server)) {
                        Some(name) => pen.put_middle(&format!("{} {tool}", name.server), room, style),
                        None => pen.put_middle(tool, room, style),
                    };
                    if let (None, Some(arguments)) = (step, call.and_then(|call| arguments_text(call, secrets))) {
                        let left = (start + room).saturating_sub(pen.x() + 2);
                        if left >= ARGUMENTS_FROM {
                            let shown = paint::head(&arguments, usize::from(left - 1));
                            let more = if shown.len() < arguments.len() { "…" } else { "" };
                            pen.skip(2).put(shown, theme.muted).put(more, theme.muted);
                        }
                    }
                    // The response of the session; an error is more than its state says.
                    if row.state != CallState::None
                        && let Some(note) = rows.note_of(row)
                    {
                        let style = if row.state == CallState::Ok { theme.muted } else { theme.fail };
                        let left = (start + room).saturating_sub(pen.x() + 2);
                        let text = visible(&note.text);
                        let shown = paint::head(&text, usize::from(left.saturating_sub(1)));
                        let more = if shown.len() < text.len() && left > 0 { "…" } else { "" };
                        pen.skip(2).put(shown, style).put(more, style);
                    }
                    if let Some(step) = step {
                        let left = (start + room).saturating_sub(pen.x() + 2);
                        let place = Some(place_words(step, rows)).filter(|words| crate::tui::widget::paint::width(words) <= left);
                        let place = place.unwrap_or_else(|| step_words(step));
                        pen.skip(2).put_middle(&place, if left < 8 { 0 } else { left }, theme.muted);
                    }
                }
                By::Origin => {
                    let (word, style) = origin_word(row, theme);
                    match (step, call) {
                        (Some(step), _) => pen.put(&format!("run {}", &step.run.short()[..4]), theme.running),
                        // Names the client of the gateway.
                        (None, Some(call)) => pen.put_middle(&call.spec.requester(), room, style),
                        (None, None) => pen.put(word, style),
                    };
                }
                By::Outcome if row.kind() != RowKind::Call && row.state == CallState::None && !row.past() => {
                    return self.note(row, rows, ctx, &mut pen);
                }
                By::Outcome => {
                    let (glyph, words, style) = outcome(row, call, ctx);
                    let tries = tries(row, call);
                    let left = room.saturating_sub(tries.chars().count() as u16);
                    pen.put_middle(&format!("{glyph} {words}"), left, style).put(&tries, theme.warn);
                }
                By::Took => {
                    let (time, style) = took(row, ctx);
                    pen.put(&format!("{time:>cells$}"), style);
                    if self.bar > 0 {
                        pen.to(start + width);
                        bar(row.end(ctx.now).since(row.at).as_micros() as u64, self.bar - 1, row, ctx, &mut pen);
                    }
                }
                By::Sent | By::Got => {
                    let bytes = if *by == By::Sent { row.sent } else { row.got };
                    let text = if bytes == 0 { "·".to_owned() } else { size(u64::from(bytes)) };
                    pen.put(&format!("{text:>cells$}"), theme.muted);
                }
            }
            pen.to(start + width + if *by == By::Took { self.bar } else { 0 });
        }
    }

    /// Writes the text of a log message, notification or anomaly into the columns of a call's outcome and statistics.
    fn note(&self, row: &Row, rows: &Rows, ctx: DrawContext, pen: &mut Pen) {
        let (text, style) = match rows.note_of(row) {
            Some(note) => (&*note.text, if row.kind() == RowKind::Anomaly { ctx.theme.warn } else { ctx.theme.muted }),
            None => ("text dropped", ctx.theme.muted),
        };
        pen.cut(text, style);
    }
}

/// Returns the first bytes of a call's arguments without secrets; `None` if it has none.
fn arguments_text(call: &CallView, secrets: &Redactor) -> Option<String> {
    let (Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. }) = &call.spec.operation else { return None };
    let bytes = arguments.bytes();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(ARGUMENTS_READ)]);
    (text != "{}" && !text.is_empty()).then(|| visible(&secrets.redact(&text)).into_owned())
}

/// Formats a workflow step: `onboard_new_user · welcome`, `notify_all · send #3`, `onboard_new_user · create_user, compensation`.
pub fn place_words(step: &RunStep, rows: &Rows) -> String {
    let workflow = rows.workflow(step.run).map_or("…", |name| name);
    format!("{workflow} · {}", step_words(step))
}

/// Formats a step without its workflow: `welcome`, `send #3`, `create_user, compensation`.
pub fn step_words(step: &RunStep) -> String {
    let item = step.item.map(|item| format!(" #{}", item + 1)).unwrap_or_default();
    let purpose = match step.purpose {
        Purpose::Step => "",
        Purpose::Fallback => ", fallback",
        Purpose::Compensation => ", compensation",
    };
    format!("{}{item}{purpose}", step.step)
}

fn origin_word(row: &Row, theme: &Theme) -> (&'static str, Style) {
    match (row.origin(), row.kind()) {
        (Some(origin), _) => (origin.word(), theme.muted),
        (None, RowKind::Notification) => ("≈ notif", theme.running),
        (None, RowKind::Request) => ("? request", theme.accent),
        (None, RowKind::Log) => ("≡ log", theme.text),
        (None, RowKind::Lifecycle) => ("⇄ session", theme.muted),
        (None, _) => ("! anomaly", theme.warn),
    }
}

/// Returns the glyph, the text and the style of a call's state.
pub fn outcome(row: &Row, call: Option<&CallView>, ctx: DrawContext) -> (&'static str, String, Style) {
    let theme = ctx.theme;
    match row.state {
        CallState::Queued | CallState::Running => {
            (ctx.spinner(), call.map_or_else(|| row.state.words().to_owned(), pending_words), theme.running)
        }
        CallState::Ok | CallState::ToolError if row.marks().cached => {
            let age = call.and_then(|c| c.settled.as_ref()?.cached);
            let words = match age {
                Some(age) if age.is_zero() => "shared".to_owned(),
                Some(age) => format!("cached {}", short(age)),
                None => "cached".to_owned(),
            };
            ("◆", words, if row.state == CallState::Ok { theme.ok } else { theme.warn })
        }
        CallState::Ok => ("✓", "ok".into(), theme.ok),
        CallState::ToolError => ("!", "tool error".into(), theme.warn),
        CallState::Cancelled => ("–", "cancelled".into(), theme.muted),
        CallState::Interim => ("…", "interim".into(), theme.accent),
        CallState::Failed(kind) => ("✕", kind.words().into(), theme.fail),
        CallState::None => ("?", "unknown".into(), theme.muted),
    }
}

/// Returns ` ↻3` for a call that took three attempts, and nothing for one.
fn tries(row: &Row, call: Option<&CallView>) -> String {
    match call.and_then(|call| call.settled.as_ref()).map(|settled| settled.attempts) {
        _ if !row.marks().attempts => String::new(),
        Some(attempts) => format!(" ↻{attempts}"),
        None => " ↻".into(),
    }
}

/// Returns the server that answered, or the current one of a pending call, if it differs from the one that was called.
fn answered_by<'w>(row: &Row, call: Option<&'w CallView>) -> Option<&'w str> {
    let call = call.filter(|call| row.marks().elsewhere || call.settled.is_none())?;
    Some(call.server().as_str()).filter(|by| *by != call.spec.operation.server().as_str())
}

/// Writes `flaky→mirror`: the server that was called and the one that answered. Cuts the former first.
fn put_servers(called: &str, by: &str, room: u16, ctx: DrawContext, pen: &mut Pen) {
    let theme = ctx.theme;
    let own = width(by).min(room.saturating_sub(4));
    pen.put_middle(called, room.saturating_sub(own + 1), theme.muted).put("→", theme.warn).put_middle(by, own, theme.accent);
}

fn took(row: &Row, ctx: DrawContext) -> (String, Style) {
    let theme = ctx.theme;
    let time = row.end(ctx.now).since(row.at);
    match row.state {
        CallState::None => ("·".into(), theme.muted),
        state if state.pending() => (short(time), theme.running.add_modifier(Modifier::BOLD)),
        _ if time.as_secs() >= 1 => (short(time), theme.warn),
        _ => (short(time), theme.text),
    }
}

/// Draws a duration as a logarithmic bar from 0.1 ms to 100 s.
fn bar(us: u64, cells: u16, row: &Row, ctx: DrawContext, pen: &mut Pen) {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if row.state == CallState::None {
        return;
    }
    let share = ((us.max(1) as f64 / 100.0).log10() / 6.0).clamp(0.0, 1.0);
    let eighths = ((share * f64::from(cells) * 8.0) as usize).max(1);
    let style = match row.state {
        CallState::Failed(_) => ctx.theme.fail,
        CallState::Cancelled => ctx.theme.muted,
        state if state.pending() => ctx.theme.running,
        _ if us >= 1_000_000 => ctx.theme.warn,
        _ => ctx.theme.ok,
    };
    pen.put(&"█".repeat(eighths / 8), style).put(EIGHTHS[eighths % 8], style);
}
