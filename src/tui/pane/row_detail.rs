//! The detail of a traffic row: a call with its timings, the message of a notification, server request, log or anomaly, or a call of
//! the history.

mod past;

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    domain::{
        body::Body,
        directory::Directory,
        id::CallId,
        time::{Stamp, short, size},
    },
    state::{CallView, ConsoleState},
    tui::{
        action::Action,
        background::{Done, Job, JobHandle, JobKind, Material, Worked, discard},
        call_segments::segments,
        hits::Hit,
        rows::{CallState, Row, RowId, RowKind, Rows},
        widget::{
            json::JsonView,
            paint::{Pen, padded, pane},
            window::Window,
        },
    },
};

use self::past::PastCall;
use super::{DrawContext, attempts::segment_style, detail::Detail, table::outcome, text_view::TextView};

/// The row that is shown, with its views.
#[derive(Default)]
pub struct RowDetail {
    row: Option<RowId>,
    /// The detail of a call.
    pub detail: Detail,
    /// The message of a row that is not a call.
    view: Option<JsonView>,
    /// The call of the history that is shown.
    past: Option<PastCall>,
    /// New background jobs, and the pending one.
    tasks: Vec<Job>,
    pending: Option<JobHandle>,
}

impl RowDetail {
    /// Shows a row.
    pub fn show(&mut self, id: RowId, rows: &Rows, read_model: &ConsoleState) {
        if self.row == Some(id) {
            return;
        }
        self.row = Some(id);
        self.pending = None;
        self.past = None;
        discard(self.view.take(), &mut self.tasks);
        let Some(row) = rows.get(id) else { return };
        if row.past() {
            self.detail.show(None, read_model);
            self.past = Some(PastCall::new(CallId(row.link)));
            return;
        }
        match row.call() {
            Some(call) => self.detail.show(read_model.call(call).map(|c| c.id), read_model),
            None => {
                self.detail.show(None, read_model);
                let note = rows.note_of(row);
                let frame = |seq: Option<u64>| seq.and_then(|seq| read_model.frames.iter().rev().find(|f| f.seq == seq));
                let frames = (note.and_then(|n| frame(n.request)), note.and_then(|n| frame(n.frame)));
                let job = match (frames, note) {
                    ((Some(request), Some(response)), _) if request.cut.is_none() && response.cut.is_none() => {
                        JobKind::Frame(exchange(&request.body, &response.body))
                    }
                    ((_, Some(frame)), _) => JobKind::Frame(frame.body.clone()),
                    ((_, None), Some(note)) => JobKind::Raw(Body::from(&*note.text)),
                    ((_, None), None) => return,
                };
                self.parse(job);
            }
        }
    }

    /// Parses a message, in the background if it is large.
    fn parse(&mut self, job: JobKind) {
        match job.ask(&mut self.tasks) {
            Ok(Done::View(view)) => self.view = Some(*view),
            Ok(_) => {}
            Err(ticket) => self.pending = Some(ticket),
        }
    }

    /// Returns the background jobs that were added since the last call.
    pub fn take_tasks(&mut self) -> Vec<Job> {
        let mut tasks = std::mem::take(&mut self.tasks);
        tasks.append(&mut self.detail.take_tasks());
        tasks
    }

    /// Returns whether a background job is pending.
    pub fn waits(&self) -> bool {
        self.pending.is_some() || self.past.as_ref().is_some_and(PastCall::waits) || self.detail.waits()
    }

    /// Returns whether this job is pending.
    pub fn waits_for(&self, ticket: &JobHandle) -> bool {
        self.pending.as_ref() == Some(ticket) || self.detail.waits_for(ticket)
    }

    /// Applies the result of a background job that it [waits for](RowDetail::waits_for).
    pub fn job_done(&mut self, Worked { ticket, done }: Worked, read_model: &ConsoleState) {
        match done {
            Done::View(view) if self.pending.as_ref() == Some(&ticket) => (self.pending, self.view) = (None, Some(*view)),
            done => self.detail.job_done(done, read_model),
        }
    }

    /// Returns the row that is shown.
    pub fn row(&self) -> Option<RowId> {
        self.row
    }

    /// Returns the call that is shown.
    pub fn call(&self) -> Option<CallId> {
        self.detail.call()
    }

    /// Moves the cursor or scrolls.
    pub fn act(&mut self, action: Action, read_model: &ConsoleState, page: usize) {
        match &mut self.view {
            Some(view) => {
                view.act(if action == Action::Open { Action::Right } else { action });
            }
            None if action == Action::Open => self.detail.open(),
            None => self.detail.act(action, read_model, page),
        }
    }

    /// Handles a click. Returns whether the clicked row opens.
    pub fn click(&mut self, hit: &Hit, read_model: &ConsoleState) -> bool {
        match (&mut self.view, hit) {
            (None, _) => self.detail.click(hit, read_model),
            (Some(view), Hit::Row(row)) => view.click(*row),
            (Some(view), Hit::FoldSign(row)) => {
                view.click(*row);
                true
            }
            _ => false,
        }
    }

    /// Returns whether a foldable tree is shown.
    pub fn can_fold(&self) -> bool {
        self.view.as_ref().map_or_else(|| self.detail.can_fold(), JsonView::is_tree)
    }

    /// Returns what is copied from a row that is not a call.
    pub fn copy(&self) -> Option<Material> {
        self.view.as_ref().map(|view| Material { pieces: vec![view.copy_value()], decode: view.is_tree() })
    }

    /// Draws the row.
    pub fn draw(&mut self, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let Some(row) = self.row.and_then(|id| rows.get(id)).copied() else {
            return draw_dropped(ctx, area, buf, "This row was dropped to save memory.");
        };
        if row.past() {
            return self.draw_past(&row, rows, ctx, area, buf);
        }
        let Some(id) = row.call() else { return self.draw_message(&row, rows, ctx, area, buf) };
        match ctx.read_model.call(id) {
            Some(call) if area.height >= 8 => {
                let name = ctx.read_model.call_name(&call.spec.operation);
                let [above, below] = [Rect { height: 2, ..area }, Rect { y: area.y + 2, height: area.height - 2, ..area }];
                draw_facts(call, &row, ctx, above, buf);
                self.detail.draw(&name, ctx, below, buf);
            }
            Some(call) => self.detail.draw(&ctx.read_model.call_name(&call.spec.operation), ctx, area, buf),
            None => draw_row_only(&row, rows, ctx, area, buf),
        }
    }

    fn draw_message(&mut self, row: &Row, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title = if ctx.focused { theme.focus } else { theme.text };
        let name = rows.name(row.key);
        let word = match row.kind() {
            RowKind::Notification => "Notification",
            RowKind::Request => "Server request",
            RowKind::Log => "Log message",
            RowKind::Anomaly => "Protocol violation",
            RowKind::Lifecycle => "Session",
            RowKind::Call => "Call",
        };
        let about = name.map_or_else(String::new, |n| format!(" ── {} · {}", n.server, n.tool));
        let mut time = ctx.read_model.epoch.time_of_day(row.at);
        if row.state != CallState::None {
            time = format!("{time} · {}", short(row.end(ctx.now).since(row.at)));
        }
        let inner = pane(buf, area, &[(word, title), (&about, theme.accent)], &[(&time, theme.muted)], ctx.focused, theme);
        let inner = padded(inner);
        // The text comes first, the frame that it refers to below.
        let mut top = 0;
        if let Some(note) = rows.note_of(row).filter(|_| matches!(row.kind(), RowKind::Anomaly | RowKind::Log)) {
            let mut out = TextView::new(theme, inner.width);
            out.text(&note.text, if row.kind() == RowKind::Anomaly { theme.warn } else { theme.text });
            top = (out.len() as u16).min(inner.height / 2) + 1;
            out.draw(buf, Rect { height: inner.height.min(top), ..inner }, Window::default());
            if note.frame.is_none() {
                return;
            }
        }
        let rest = Rect { y: inner.y.saturating_add(top), height: inner.height.saturating_sub(top), ..inner };
        match &mut self.view {
            Some(view) => view.draw(rest, buf, theme, ctx.focused, ctx.hits),
            None => {
                let text = if self.pending.is_some() { "Parsing …" } else { "The text was dropped to save memory." };
                Pen::new(buf, rest, 0).put(text, theme.muted);
            }
        }
    }
}

/// Returns a request and its response as one document, with their bytes unchanged.
fn exchange(request: &Body, response: &Body) -> Body {
    let mut document = Vec::with_capacity(request.len() + response.len() + 32);
    for part in [&br#"{"request":"#[..], request.bytes(), br#","response":"#, response.bytes(), b"}"] {
        document.extend_from_slice(part);
    }
    Body::new(document)
}

fn draw_dropped(ctx: DrawContext, area: Rect, buf: &mut Buffer, text: &str) {
    let style = if ctx.focused { ctx.theme.focus } else { ctx.theme.text };
    let inner = pane(buf, area, &[("Row", style)], &[], ctx.focused, ctx.theme);
    let mut out = TextView::new(ctx.theme, inner.width.saturating_sub(2));
    out.text(text, ctx.theme.muted);
    out.draw(buf, padded(inner), Window::default());
}

/// Draws a call of which only the row is left.
fn draw_row_only(row: &Row, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let style = if ctx.focused { theme.focus } else { theme.text };
    let name = rows.name(row.key).map_or_else(|| "Call".to_owned(), |n| format!("{} · {}", n.server, n.tool));
    let inner = pane(buf, area, &[(&name, style)], &[], ctx.focused, theme);
    let inner = padded(inner);
    let (glyph, words, state) = outcome(row, None, ctx);
    let mut out = TextView::new(theme, inner.width);
    out.field("started", &ctx.read_model.epoch.time_of_day(row.at), theme.text);
    out.field("by", row.origin().map_or("", |o| o.word()), theme.text);
    out.field("outcome", &format!("{glyph} {words}"), state);
    out.field("took", &short(row.end(ctx.now).since(row.at)), theme.text);
    out.field("bytes", &format!("{} sent · {} received", size(u64::from(row.sent)), size(u64::from(row.got))), theme.text);
    out.gap().text("Arguments, result and frames were dropped to make room for newer calls.", theme.muted);
    out.draw(buf, inner, Window::default());
}

/// Draws time, origin and where the time went: `░` queued, `▓` on the wire, `·` settling.
fn draw_facts(call: &CallView, row: &Row, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let mut pen = Pen::new(buf, area, 0);
    let right = format!("sent {} · received {} ", size(u64::from(row.sent)), size(u64::from(row.got)));
    pen.skip(1);
    if area.width >= 60 && call.settled.is_some() {
        pen.right(&[(&right, theme.muted)]);
    }
    let time = ctx.read_model.epoch.time_of_day(call.queued);
    pen.put(&time, theme.text).put(" by ", theme.muted).put(&call.spec.requester(), theme.accent);
    let rounds = call.settled.as_ref().map_or(call.round, |s| s.rounds);
    let rounds = if rounds > 1 { format!(" · {rounds} rounds") } else { String::new() };
    pen.put(&format!(" · {}{rounds}", call.spec.operation.method()), theme.muted);
    if call.has_trace() {
        return draw_segments(call, ctx, Rect { y: area.y + 1, height: area.height.min(2) - 1, ..area }, buf);
    }
    let parts = phases(call, ctx.now);
    let total: u128 = parts.iter().map(|(_, _, from, to)| to.since(*from).as_nanos()).sum();
    let mut pen = Pen::new(buf, area, 1);
    pen.skip(1);
    let labels: String = parts.iter().map(|(glyph, word, from, to)| format!("  {glyph} {word} {}", short(to.since(*from)))).collect();
    pen.right(&[(&labels, theme.muted), (" ", theme.muted)]);
    let cells = u128::from(pen.left().min(80));
    if total > 0 && cells >= 8 {
        for (glyph, _, from, to) in &parts {
            let share = (to.since(*from).as_nanos() * cells).div_ceil(total);
            pen.put(&glyph.to_string().repeat(share.min(cells) as usize), phase_style(*glyph, call, ctx));
        }
    }
}

/// Draws the bar of a call with several segments, and the total time of each kind.
fn draw_segments(call: &CallView, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let cut = segments(call, ctx.now);
    let mut kinds: Vec<(char, Duration)> = vec![];
    for segment in &cut {
        let (glyph, took) = (segment.kind.glyph(), segment.to.since(segment.from));
        match kinds.iter_mut().find(|(known, _)| *known == glyph) {
            Some((_, sum)) => *sum += took,
            None => kinds.push((glyph, took)),
        }
    }
    let word = |glyph: char| match glyph {
        '░' => "waiting",
        '◇' => "probe",
        '▒' => "hedge",
        '▞' => "fallback",
        '▓' => "wire",
        '·' => "backoff",
        _ => "cached",
    };
    let labels: String = kinds.iter().map(|(glyph, took)| format!("  {glyph} {} {}", word(*glyph), short(*took))).collect();
    let mut pen = Pen::new(buf, area, 0);
    pen.skip(1).right(&[(&labels, theme.muted), (" ", theme.muted)]);
    let end = call.settled.as_ref().map_or(ctx.now.max(call.queued), |s| s.timings.settled);
    let (cells, total) = (u128::from(pen.left().min(80)), end.since(call.queued).as_nanos());
    if cells < 8 || total == 0 {
        return;
    }
    let start = pen.x();
    let place = |at: Stamp| (at.since(call.queued).as_nanos() * cells / total).min(cells - 1) as u16;
    for segment in &cut {
        let (from, to) = (place(segment.from), place(segment.to));
        let glyphs = segment.kind.glyph().to_string().repeat(usize::from(to.saturating_sub(from)) + 1);
        let room = Rect { x: start + from, width: area.right().saturating_sub(start + from), ..area };
        Pen::new(buf, room, 0).put(&glyphs, segment_style(segment, call, theme));
    }
    // Drawn last, so that later segments do not hide them.
    for segment in cut.iter().filter(|segment| segment.kind.failed()) {
        let x = start + place(segment.to);
        Pen::new(buf, Rect { x, width: area.right().saturating_sub(x), ..area }, 0).put("✕", theme.fail);
    }
}

fn phase_style(glyph: char, call: &CallView, ctx: DrawContext) -> Style {
    let theme = ctx.theme;
    match (glyph, &call.settled) {
        ('░', _) => theme.muted,
        ('▓', None) => theme.running,
        ('▓', Some(settled)) => super::outcome_glyph(&settled.outcome, theme).1,
        _ => theme.muted,
    }
}

/// Returns the phases of a call: queued, on the wire, after the last byte of the response.
fn phases(call: &CallView, now: Stamp) -> Vec<(char, &'static str, Stamp, Stamp)> {
    let end = call.settled.as_ref().map_or(now, |s| s.timings.settled);
    let Some(sent) = call.settled.as_ref().map_or(call.sent, |s| s.timings.sent) else { return vec![('░', "queued", call.queued, end)] };
    let last = call.settled.as_ref().and_then(|s| s.timings.last_byte).unwrap_or(end);
    let mut parts = vec![('░', "queued", call.queued, sent), ('▓', "wire", sent, last)];
    if end > last {
        parts.push(('·', "after", last, end));
    }
    parts
}
