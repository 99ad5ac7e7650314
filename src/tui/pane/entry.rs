//! One row of the traffic in full: a call with its times, or the message that a notification, log or fault is.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    domain::{
        body::Body,
        id::CallId,
        read_model::{CallView, ConsoleState},
        time::{Stamp, short, size},
    },
    tui::{
        action::Action,
        background::{Done, Job, JobHandle, JobKind, Material, Worked, discard},
        call_segments::segments,
        rows::{Row, RowId, RowKind, Rows},
        widget::{
            json::JsonView,
            paint::{Pen, pane},
            window::Window,
        },
    },
};

use super::{DrawContext, attempts::segment_style, detail::Detail, table::outcome, text_view::Sheet};

/// Which row is shown, and how.
#[derive(Default)]
pub struct Entry {
    row: Option<RowId>,
    /// The pane of a call.
    pub detail: Detail,
    /// The message of a row that is no call, with the frame's number if it has one.
    view: Option<JsonView>,
    /// Work to be done elsewhere, and that which is waited for.
    tasks: Vec<Job>,
    waits: Option<JobHandle>,
}

impl Entry {
    /// Shows a row.
    pub fn show(&mut self, id: RowId, rows: &Rows, read_model: &ConsoleState) {
        if self.row == Some(id) {
            return;
        }
        self.row = Some(id);
        self.waits = None;
        discard(self.view.take(), &mut self.tasks);
        let Some(row) = rows.get(id) else { return };
        match row.call() {
            Some(call) => self.detail.show(read_model.call(call).map(|c| c.id), read_model),
            None => {
                self.detail.show(None, read_model);
                let note = rows.note_of(row);
                let frame = note.and_then(|n| n.frame).and_then(|seq| read_model.frames.iter().rev().find(|f| f.seq == seq));
                let job = match (frame, note) {
                    (Some(frame), _) => JobKind::Frame(frame.body.clone()),
                    (None, Some(note)) => JobKind::Raw(Body::from(&*note.text)),
                    (None, None) => return,
                };
                match job.ask(&mut self.tasks) {
                    Ok(Done::View(view)) => self.view = Some(*view),
                    Ok(_) => {}
                    Err(ticket) => self.waits = Some(ticket),
                }
            }
        }
    }

    /// The work that has come up since the last time.
    pub fn take_tasks(&mut self) -> Vec<Job> {
        let mut tasks = std::mem::take(&mut self.tasks);
        tasks.append(&mut self.detail.take_tasks());
        tasks
    }

    /// Whether it waits for work to be done.
    pub fn waits(&self) -> bool {
        self.waits.is_some() || self.detail.waits()
    }

    /// Whether it waits for this work.
    pub fn wants(&self, ticket: &JobHandle) -> bool {
        self.waits.as_ref() == Some(ticket) || self.detail.wants(ticket)
    }

    /// Takes in work that it [waits for](Entry::wants).
    pub fn worked(&mut self, Worked { ticket, done }: Worked, read_model: &ConsoleState) {
        match done {
            Done::View(view) if self.waits.as_ref() == Some(&ticket) => (self.waits, self.view) = (None, Some(*view)),
            done => self.detail.worked(done, read_model),
        }
    }

    /// The row that is shown.
    pub fn row(&self) -> Option<RowId> {
        self.row
    }

    /// The call that is shown.
    pub fn call(&self) -> Option<CallId> {
        self.detail.call()
    }

    /// Moves in what is shown.
    pub fn act(&mut self, action: Action, read_model: &ConsoleState, page: usize) {
        match &mut self.view {
            Some(view) => {
                view.act(if action == Action::Open { Action::Right } else { action });
            }
            None if action == Action::Open => self.detail.open(),
            None => self.detail.act(action, read_model, page),
        }
    }

    /// Whether a tree is shown, which can be folded.
    pub fn can_fold(&self) -> bool {
        self.view.as_ref().map_or_else(|| self.detail.can_fold(), JsonView::is_tree)
    }

    /// What copying takes of a row that is no call.
    pub fn copy(&self) -> Option<Material> {
        self.view.as_ref().map(|view| Material { pieces: vec![view.copy_value()], decode: view.is_tree() })
    }

    /// Draws the row.
    pub fn draw(&mut self, rows: &Rows, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let Some(row) = self.row.and_then(|id| rows.get(id)).copied() else {
            return closed_book(look, area, buf, "This row is no longer kept.");
        };
        let Some(id) = row.call() else { return self.draw_message(&row, rows, look, area, buf) };
        match look.read_model.call(id) {
            Some(call) if area.height >= 8 => {
                let name = look.read_model.call_name(&call.spec.operation);
                let [above, below] = [Rect { height: 2, ..area }, Rect { y: area.y + 2, height: area.height - 2, ..area }];
                draw_facts(call, &row, look, above, buf);
                self.detail.draw(&name, look, below, buf);
            }
            Some(call) => self.detail.draw(&look.read_model.call_name(&call.spec.operation), look, area, buf),
            None => draw_forgotten(&row, rows, look, area, buf),
        }
    }

    fn draw_message(&mut self, row: &Row, rows: &Rows, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let title = if look.focused { theme.focus } else { theme.text };
        let name = rows.name(row.key);
        let word = match row.kind() {
            RowKind::Notification => "Notification",
            RowKind::Request => "Request of the server",
            RowKind::Log => "Log message",
            RowKind::Anomaly => "Against the protocol",
            RowKind::Call => "Call",
        };
        let about = name.map_or_else(String::new, |n| format!(" ── {} · {}", n.server, n.tool));
        let time = look.read_model.epoch.time_of_day(row.at);
        let inner = pane(buf, area, &[(word, title), (&about, theme.accent)], &[(&time, theme.muted)], look.focused, theme);
        let inner = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        // The text is the point; the frame below it is the proof.
        let mut top = 0;
        if let Some(note) = rows.note_of(row).filter(|_| matches!(row.kind(), RowKind::Anomaly | RowKind::Log)) {
            let mut sheet = Sheet::new(theme, inner.width);
            sheet.text(&note.text, if row.kind() == RowKind::Anomaly { theme.warn } else { theme.text });
            top = (sheet.len() as u16).min(inner.height / 2) + 1;
            sheet.draw(buf, Rect { height: inner.height.min(top), ..inner }, Window::default());
            if note.frame.is_none() {
                return;
            }
        }
        let rest = Rect { y: inner.y.saturating_add(top), height: inner.height.saturating_sub(top), ..inner };
        match &mut self.view {
            Some(view) => view.draw(rest, buf, theme, look.focused),
            None => {
                let text = if self.waits.is_some() { "Taking it apart …" } else { "The text is no longer kept." };
                Pen::new(buf, rest, 0).put(text, theme.muted);
            }
        }
    }
}

fn closed_book(look: DrawContext, area: Rect, buf: &mut Buffer, text: &str) {
    let style = if look.focused { look.theme.focus } else { look.theme.text };
    let inner = pane(buf, area, &[("Row", style)], &[], look.focused, look.theme);
    let mut sheet = Sheet::new(look.theme, inner.width.saturating_sub(2));
    sheet.text(text, look.theme.muted);
    sheet.draw(buf, Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner }, Window::default());
}

/// A call of which only its row is left.
fn draw_forgotten(row: &Row, rows: &Rows, look: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    let style = if look.focused { theme.focus } else { theme.text };
    let name = rows.name(row.key).map_or_else(|| "Call".to_owned(), |n| format!("{} · {}", n.server, n.tool));
    let inner = pane(buf, area, &[(&name, style)], &[], look.focused, theme);
    let inner = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
    let (glyph, words, state) = outcome(row, None, look);
    let mut sheet = Sheet::new(theme, inner.width);
    sheet.field("asked", &look.read_model.epoch.time_of_day(row.at), theme.text);
    sheet.field("by", row.origin().map_or("", |o| o.word()), theme.text);
    sheet.field("outcome", &format!("{glyph} {words}"), state);
    sheet.field("took", &short(row.end(look.now).since(row.at)), theme.text);
    sheet.field("bytes", &format!("{} sent · {} received", size(u64::from(row.sent)), size(u64::from(row.got))), theme.text);
    sheet.gap().text("Arguments, result and frames of this call are no longer kept: newer calls took their room.", theme.muted);
    sheet.draw(buf, inner, Window::default());
}

/// When, by whom, and where the time went: `░` waiting here, `▓` on the wire, `·` settling.
fn draw_facts(call: &CallView, row: &Row, look: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    let mut pen = Pen::new(buf, area, 0);
    let right = format!("sent {} · got {} ", size(u64::from(row.sent)), size(u64::from(row.got)));
    pen.skip(1);
    if area.width >= 60 && call.settled.is_some() {
        pen.right(&[(&right, theme.muted)]);
    }
    let time = look.read_model.epoch.time_of_day(call.queued);
    pen.put(&time, theme.text).put(" by ", theme.muted).put(call.spec.origin.word(), theme.accent);
    let rounds = call.settled.as_ref().map_or(call.round, |s| s.rounds);
    let rounds = if rounds > 1 { format!(" · {rounds} rounds") } else { String::new() };
    pen.put(&format!(" · {}{rounds}", call.spec.operation.method()), theme.muted);
    if call.has_trace() {
        return draw_stages(call, look, Rect { y: area.y + 1, height: area.height.min(2) - 1, ..area }, buf);
    }
    let parts = stretches(call, look.now);
    let total: u128 = parts.iter().map(|(_, _, from, to)| to.since(*from).as_nanos()).sum();
    let mut pen = Pen::new(buf, area, 1);
    pen.skip(1);
    let labels: String = parts.iter().map(|(glyph, word, from, to)| format!("  {glyph} {word} {}", short(to.since(*from)))).collect();
    pen.right(&[(&labels, theme.muted), (" ", theme.muted)]);
    let cells = u128::from(pen.left().min(80));
    if total > 0 && cells >= 8 {
        for (glyph, _, from, to) in &parts {
            let share = (to.since(*from).as_nanos() * cells).div_ceil(total);
            pen.put(&glyph.to_string().repeat(share.min(cells) as usize), stretch_style(*glyph, call, look));
        }
    }
}

/// The same of a call of several stages: a bar of its stretches, and how long each kind took in all.
fn draw_stages(call: &CallView, look: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = look.theme;
    let cut = segments(call, look.now);
    let mut kinds: Vec<(char, Duration)> = vec![];
    for segment in &cut {
        let (glyph, took) = (segment.kind.glyph(), segment.to.since(segment.from));
        match kinds.iter_mut().find(|(known, _)| *known == glyph) {
            Some((_, sum)) => *sum += took,
            None => kinds.push((glyph, took)),
        }
    }
    let word = |glyph: char| match glyph {
        '░' => "waits",
        '◇' => "probe",
        '▒' => "hedge",
        '▞' => "fallback",
        '▓' => "wire",
        '·' => "pauses",
        _ => "cached",
    };
    let labels: String = kinds.iter().map(|(glyph, took)| format!("  {glyph} {} {}", word(*glyph), short(*took))).collect();
    let mut pen = Pen::new(buf, area, 0);
    pen.skip(1).right(&[(&labels, theme.muted), (" ", theme.muted)]);
    let end = call.settled.as_ref().map_or(look.now.max(call.queued), |s| s.timings.settled);
    let (cells, whole) = (u128::from(pen.left().min(80)), end.since(call.queued).as_nanos());
    if cells < 8 || whole == 0 {
        return;
    }
    let start = pen.x();
    let place = |at: Stamp| (at.since(call.queued).as_nanos() * cells / whole).min(cells - 1) as u16;
    for segment in &cut {
        let (from, to) = (place(segment.from), place(segment.to));
        let glyphs = segment.kind.glyph().to_string().repeat(usize::from(to.saturating_sub(from)) + 1);
        let room = Rect { x: start + from, width: area.right().saturating_sub(start + from), ..area };
        Pen::new(buf, room, 0).put(&glyphs, segment_style(segment, call, theme));
    }
    // After all, so that what follows does not hide them.
    for segment in cut.iter().filter(|segment| segment.kind.failed()) {
        let x = start + place(segment.to);
        Pen::new(buf, Rect { x, width: area.right().saturating_sub(x), ..area }, 0).put("✕", theme.fail);
    }
}

fn stretch_style(glyph: char, call: &CallView, look: DrawContext) -> Style {
    let theme = look.theme;
    match (glyph, &call.settled) {
        ('░', _) => theme.muted,
        ('▓', None) => theme.running,
        ('▓', Some(settled)) => super::outcome_glyph(&settled.outcome, theme).1,
        _ => theme.muted,
    }
}

/// The stretches of a call: waiting to be sent, on the wire, after the answer's last byte.
fn stretches(call: &CallView, now: Stamp) -> Vec<(char, &'static str, Stamp, Stamp)> {
    let end = call.settled.as_ref().map_or(now, |s| s.timings.settled);
    let Some(sent) = call.settled.as_ref().map_or(call.sent, |s| s.timings.sent) else { return vec![('░', "queued", call.queued, end)] };
    let last = call.settled.as_ref().and_then(|s| s.timings.last_byte).unwrap_or(end);
    let mut parts = vec![('░', "queued", call.queued, sent), ('▓', "wire", sent, last)];
    if end > last {
        parts.push(('·', "after", last, end));
    }
    parts
}
