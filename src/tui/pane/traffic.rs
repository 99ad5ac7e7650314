//! Calls as they come and go, newest last. The cursor holds on to a call, not to a row.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        id::CallId,
        policy::call_event::{CallEvent, Wait},
        read_model::{CallView, ConsoleState},
        time::{short, size},
    },
    tui::{
        action::Action,
        keymap::Context,
        widget::{
            paint::{self, Pen, pane},
            window::{Move, Window},
        },
    },
};

use super::{DrawContext, outcome_glyph};

/// Cursor and scroll of the list.
#[derive(Default)]
pub struct TrafficPane {
    /// The call under the cursor; `None` follows the newest.
    cursor: Option<CallId>,
    /// The first visible call, so that the list stands still while older calls are dropped.
    top: Option<CallId>,
}

impl TrafficPane {
    /// Whether the newest call is kept in view.
    pub fn following(&self) -> bool {
        self.cursor.is_none()
    }

    /// Keeps the newest call in view again.
    pub fn follow(&mut self) {
        *self = Self::default();
    }

    /// The call under the cursor.
    pub fn selected<'w>(&self, read_model: &'w ConsoleState) -> Option<&'w CallView> {
        match self.cursor {
            Some(id) => read_model.calls.get(place(read_model, id)),
            None => read_model.calls.back(),
        }
    }

    /// Moves the cursor; reaching the last call by going to the end follows again.
    pub fn go(&mut self, to: Move, read_model: &ConsoleState) {
        let len = read_model.calls.len();
        if len == 0 || to == Move::Last {
            return self.follow();
        }
        let mut window = Window { cursor: self.cursor.map_or(len - 1, |id| place(read_model, id)), top: 0 };
        window.go(to, len);
        self.cursor = read_model.calls.get(window.cursor).map(|c| c.id);
    }

    /// Puts the cursor on the call at a cell of the pane; whether there is one.
    pub fn click(&mut self, read_model: &ConsoleState, area: Rect, y: u16) -> bool {
        let height = rows_height(area);
        let Some(inside) = y.checked_sub(area.y + 2) else { return false };
        let rows = self.rows(read_model, height);
        let Some(call) = read_model.calls.get(rows.start + usize::from(inside)).filter(|_| usize::from(inside) < rows.len()) else {
            return false;
        };
        self.top = read_model.calls.get(rows.start).map(|c| c.id);
        self.cursor = Some(call.id);
        true
    }

    /// Scrolls so that the cursor is visible in a pane of this size.
    pub fn fit(&mut self, read_model: &ConsoleState, area: Rect) {
        let height = rows_height(area);
        self.top = self.cursor.and_then(|_| read_model.calls.get(self.rows(read_model, height).start)).map(|c| c.id);
    }

    fn rows(&self, read_model: &ConsoleState, height: usize) -> std::ops::Range<usize> {
        let len = read_model.calls.len();
        let Some(cursor) = self.cursor.map(|id| place(read_model, id)) else { return len.saturating_sub(height)..len };
        let mut window = Window { cursor, top: self.top.map_or(len.saturating_sub(height), |id| place(read_model, id)) };
        window.fit(len, height);
        window.rows(len, height)
    }

    /// Draws the pane.
    pub fn draw(&self, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let (theme, read_model) = (look.theme, look.read_model);
        let title = if look.focused { theme.focus } else { theme.text };
        let key = look.keys.key(&[Context::Traffic], Action::Follow).unwrap_or_default();
        let follow = if self.following() { "following".to_owned() } else { format!("stopped · {key} follows") };
        let calls = read_model.settled_total + read_model.running as u64;
        let count = format!("{calls} {} · {follow}", if calls == 1 { "call" } else { "calls" });
        let inner = pane(buf, area, &[("Traffic", title)], &[(&count, theme.muted)], look.focused, theme);
        let columns = Columns::for_width(inner.width);
        columns.head(look, inner, buf);
        if read_model.calls.is_empty() {
            let room = Rect { y: inner.y.saturating_add(1), height: inner.height.saturating_sub(1), ..inner };
            Pen::new(buf, room, 0).skip(1).put("Calls of everybody show up here: pick a tool at the left and fire it.", theme.muted);
            return;
        }
        let rows = self.rows(read_model, rows_height(area));
        let selected = self.selected(read_model).map(|c| c.id);
        for (y, call) in rows.filter_map(|i| read_model.calls.get(i)).enumerate() {
            let row = Rect { y: inner.y + 1 + y as u16, height: 1, ..inner };
            columns.row(call, look, row, buf);
            if selected == Some(call.id) && (look.focused || !self.following()) {
                buf.set_style(row.intersection(buf.area), look.selection());
            }
        }
    }
}

/// The room for rows in a pane of this height: borders and the head.
fn rows_height(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(3))
}

/// The place of a call, or of the next younger one that is still kept.
fn place(read_model: &ConsoleState, id: CallId) -> usize {
    read_model.calls.partition_point(|c| c.id < id).min(read_model.calls.len().saturating_sub(1))
}

struct Columns {
    time: u16,
    server: u16,
    name: u16,
    origin: u16,
    outcome: u16,
    bytes: bool,
}

impl Columns {
    fn for_width(width: u16) -> Columns {
        let (time, server, origin, bytes) = match width {
            0..=39 => (0, 0, 0, false),
            40..=69 => (9, 0, 0, false),
            70..=99 => (9, 13, 0, false),
            100..=119 => (13, 13, 9, true),
            _ => (13, 16, 9, true),
        };
        let outcome = if width < 40 { 4 } else { 22 };
        let fixed = time + server + origin + outcome + 10 + if bytes { 20 } else { 0 } + 1;
        Columns { time, server, name: width.saturating_sub(fixed), origin, outcome, bytes }
    }

    fn head(&self, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let style = look.theme.muted;
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(1);
        for (text, width) in
            [("time", self.time), ("server", self.server), ("call", self.name), ("by", self.origin), ("outcome", self.outcome)]
        {
            cell(&mut pen, text, width, style);
        }
        let bytes = if self.bytes { "     sent       got" } else { "" };
        pen.put(&format!("{:>9} {bytes}", "took"), style);
    }

    fn row(&self, call: &CallView, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let (theme, operation) = (look.theme, &call.spec.operation);
        let mut pen = Pen::new(buf, area, 0);
        let time = look.read_model.epoch.time_of_day(call.queued);
        pen.skip(1);
        cell(&mut pen, &time[..usize::from(self.time.saturating_sub(1)).min(time.len())], self.time, theme.muted);
        cell(&mut pen, operation.server().as_str(), self.server, theme.accent);
        let subject = if self.server == 0 { look.read_model.call_name(operation) } else { operation.subject().to_owned() };
        cell(&mut pen, &subject, self.name, theme.text);
        cell(&mut pen, call.spec.origin.word(), self.origin, theme.muted);
        match &call.settled {
            Some(settled) => {
                let (glyph, style) = outcome_glyph(&settled.outcome, theme);
                let words = settled.outcome.words();
                let marks = marks(call);
                let own = self.outcome.min(paint::width(words) + 3);
                cell(&mut pen, &format!("{glyph} {words}"), if marks.is_empty() { self.outcome } else { own }, style);
                if !marks.is_empty() {
                    cell(&mut pen, &marks, self.outcome.saturating_sub(own), theme.warn);
                }
                pen.put(&format!("{:>9} ", short(settled.timings.total())), theme.text);
                if self.bytes {
                    pen.put(&format!("{:>9} {:>9}", size(settled.sent_bytes), size(settled.received_bytes)), theme.muted);
                }
            }
            None => {
                cell(&mut pen, &format!("{} {}", look.spinner(), pending_words(call)), self.outcome, theme.running);
                pen.put(&format!("{:>9} ", short(look.now.since(call.queued))), theme.running.add_modifier(Modifier::BOLD));
            }
        }
    }
}

/// What a call that has not ended is doing.
pub fn pending_words(call: &CallView) -> String {
    if let Some(words) = stage_words(call) {
        return words;
    }
    match (&call.progress, call.sent) {
        (Some(progress), _) => match progress.total.filter(|t| *t > 0.0) {
            Some(total) => format!("{:.0} %", (progress.progress / total * 100.0).clamp(0.0, 100.0)),
            None => "running".to_owned(),
        },
        (None, Some(_)) if call.round > 1 => format!("round {}", call.round),
        (None, Some(_)) => "running".to_owned(),
        (None, None) => "queued".to_owned(),
    }
}

/// What is out of the ordinary about an answer: `◆12 s` from the cache, `↻3` attempts, `→mirror` answered.
fn marks(call: &CallView) -> String {
    let Some(settled) = &call.settled else { return String::new() };
    let mut marks = vec![];
    marks.extend(settled.cached.map(|age| if age.is_zero() { "◆shared".to_owned() } else { format!("◆{}", short(age)) }));
    marks.extend((settled.attempts > 1).then(|| format!("↻{}", settled.attempts)));
    marks.extend(settled.by.as_ref().filter(|by| *by != call.spec.operation.server()).map(|by| format!("→{by}")));
    marks.join(" ")
}

/// What it is doing by its last stage, where that says more than that it runs.
fn stage_words(call: &CallView) -> Option<String> {
    let (_, last) = call.stages().last()?;
    Some(match &**last {
        CallEvent::Waiting { on: Wait::Ready, .. } => "waits: server".into(),
        CallEvent::Waiting { on: Wait::Permit, .. } => "waits: place".into(),
        CallEvent::Waiting { on: Wait::Rate, .. } => "waits: rate".into(),
        CallEvent::Probing { .. } => "probing".into(),
        CallEvent::BackOff { .. } => "pausing".into(),
        CallEvent::Shared { .. } => "shares".into(),
        CallEvent::Attempt { attempt, .. } if *attempt > 1 => format!("attempt {attempt}"),
        _ => return None,
    })
}

fn cell(pen: &mut Pen, text: &str, width: u16, style: Style) {
    if width == 0 {
        return;
    }
    let start = pen.x();
    pen.put_middle(text, width.saturating_sub(1), style);
    pen.to(start + width);
}
