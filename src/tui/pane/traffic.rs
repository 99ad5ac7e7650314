//! The traffic pane of the console: the latest calls, newest last. The cursor stays on a call, not on a row.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        directory::Directory,
        id::CallId,
        policy::call_event::{CallEvent, Wait},
        time::{short, size},
    },
    state::{CallView, ConsoleState},
    tui::{
        action::Action,
        hits::Hit,
        keymap::Context,
        widget::{
            paint::{self, Pen, pane, scroll_bar},
            window::{Move, Window},
        },
    },
};

use super::{DrawContext, outcome_glyph};

/// The cursor and scroll of the list.
#[derive(Default)]
pub struct TrafficPane {
    /// The call under the cursor; `None` follows the newest.
    cursor: Option<CallId>,
    /// The first visible call. Keeps the list in place while older calls are dropped.
    top: Option<CallId>,
}

impl TrafficPane {
    /// Returns whether the pane follows the newest call.
    pub fn following(&self) -> bool {
        self.cursor.is_none()
    }

    /// Keeps the newest call in view.
    pub fn follow(&mut self) {
        *self = Self::default();
    }

    /// Returns the call under the cursor.
    pub fn selected<'w>(&self, read_model: &'w ConsoleState) -> Option<&'w CallView> {
        match self.cursor {
            Some(id) => read_model.calls.get(place(read_model, id)),
            None => read_model.calls.back(),
        }
    }

    /// Moves the cursor. [`Move::Last`] follows again.
    pub fn go(&mut self, to: Move, read_model: &ConsoleState) {
        let len = read_model.calls.len();
        if len == 0 || to == Move::Last {
            return self.follow();
        }
        let mut window = Window { cursor: self.cursor.map_or(len - 1, |id| place(read_model, id)), top: 0 };
        window.go(to, len);
        self.cursor = read_model.calls.get(window.cursor).map(|c| c.id);
    }

    /// Puts the cursor on a visible call of a pane of this size, which does not scroll.
    pub fn select(&mut self, call: CallId, read_model: &ConsoleState, area: Rect) {
        let first = self.rows(read_model, rows_height(area)).start;
        self.top = read_model.calls.get(first).map(|c| c.id);
        self.cursor = Some(call);
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
    pub fn draw(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let (theme, read_model) = (ctx.theme, ctx.read_model);
        let title = if ctx.focused { theme.focus } else { theme.text };
        let key = ctx.keys.key(&[Context::Traffic], Action::Follow).unwrap_or_default();
        let follow = if self.following() { "following".to_owned() } else { format!("paused · {key} to follow") };
        let calls = read_model.settled_total + read_model.running as u64;
        let count = format!("{calls} {} · {follow}", if calls == 1 { "call" } else { "calls" });
        let inner = pane(buf, area, &[("Traffic", title)], &[(&count, theme.muted)], ctx.focused, theme);
        let columns = Columns::for_width(inner.width);
        columns.head(ctx, inner, buf);
        if read_model.calls.is_empty() {
            let room = Rect { y: inner.y.saturating_add(1), height: inner.height.saturating_sub(1), ..inner };
            Pen::new(buf, room, 0).skip(1).put("Calls will appear here", theme.muted);
            return;
        }
        let rows = self.rows(read_model, rows_height(area));
        let list = Rect { y: inner.y.saturating_add(1), height: inner.height.saturating_sub(1), ..inner };
        scroll_bar(buf, list, (rows.start, rows.len(), read_model.calls.len()), theme.muted);
        let selected = self.selected(read_model).map(|c| c.id);
        for (y, call) in rows.filter_map(|i| read_model.calls.get(i)).enumerate() {
            let row = Rect { y: inner.y + 1 + y as u16, height: 1, ..inner };
            ctx.hits.add(row, Hit::Call(call.id));
            columns.row(call, ctx, row, buf);
            if selected == Some(call.id) && (ctx.focused || !self.following()) {
                buf.set_style(row.intersection(buf.area), ctx.selection());
            }
        }
    }
}

/// Returns how many rows fit, without the borders and the header.
fn rows_height(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(3))
}

/// Returns the index of a call, or of the next newer one if the call was dropped.
fn place(read_model: &ConsoleState, id: CallId) -> usize {
    read_model.calls.binary_search_by_key(&id, |c| c.id).unwrap_or_else(|place| place).min(read_model.calls.len().saturating_sub(1))
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
            120..=139 => (13, 16, 9, true),
            _ => (13, 16, 14, true),
        };
        let outcome = if width < 40 { 4 } else { 22 };
        let fixed = time + server + origin + outcome + 10 + if bytes { 20 } else { 0 } + 1;
        Columns { time, server, name: width.saturating_sub(fixed), origin, outcome, bytes }
    }

    fn head(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let style = ctx.theme.muted;
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(1);
        for (text, width) in
            [("time", self.time), ("server", self.server), ("call", self.name), ("by", self.origin), ("outcome", self.outcome)]
        {
            cell(&mut pen, text, width, style);
        }
        let bytes = if self.bytes { "     sent      recv" } else { "" };
        pen.put(&format!("{:>9} {bytes}", "took"), style);
    }

    fn row(&self, call: &CallView, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let (theme, operation) = (ctx.theme, &call.spec.operation);
        let mut pen = Pen::new(buf, area, 0);
        let time = ctx.read_model.epoch.time_of_day(call.queued);
        pen.skip(1);
        cell(&mut pen, &time[..usize::from(self.time.saturating_sub(1)).min(time.len())], self.time, theme.muted);
        cell(&mut pen, operation.server().as_str(), self.server, theme.accent);
        let subject = if self.server == 0 { ctx.read_model.call_name(operation) } else { operation.subject().to_owned() };
        cell(&mut pen, &subject, self.name, theme.text);
        cell(&mut pen, &call.spec.requester(), self.origin, theme.muted);
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
                cell(&mut pen, &format!("{} {}", ctx.spinner(), pending_words(call)), self.outcome, theme.running);
                pen.put(&format!("{:>9} ", short(ctx.now.since(call.queued))), theme.running.add_modifier(Modifier::BOLD));
            }
        }
    }
}

/// Describes what a pending call is doing.
pub fn pending_words(call: &CallView) -> String {
    if let Some(words) = event_words(call) {
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

/// Returns the marks of an unusual response: `◆12 s` from the cache, `↻3` attempts, `→mirror` answered.
fn marks(call: &CallView) -> String {
    let Some(settled) = &call.settled else { return String::new() };
    let mut marks = vec![];
    marks.extend(settled.cached.map(|age| if age.is_zero() { "◆shared".to_owned() } else { format!("◆{}", short(age)) }));
    marks.extend((settled.attempts > 1).then(|| format!("↻{}", settled.attempts)));
    marks.extend(settled.by.as_ref().filter(|by| *by != call.spec.operation.server()).map(|by| format!("→{by}")));
    marks.join(" ")
}

/// Describes a pending call by its last trace event, where that says more than *running*.
fn event_words(call: &CallView) -> Option<String> {
    let (_, last) = call.stages().last()?;
    Some(match &**last {
        CallEvent::Waiting { on: Wait::Ready, .. } => "awaits server".into(),
        CallEvent::Waiting { on: Wait::Permit, .. } => "awaits permit".into(),
        CallEvent::Waiting { on: Wait::Rate, .. } => "rate limited".into(),
        CallEvent::Probing { .. } => "probing".into(),
        CallEvent::BackOff { .. } => "backoff".into(),
        CallEvent::Shared { .. } => "shared".into(),
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
