//! The history in the traffic view: when the next page is read, places of its rows, and the lines between sessions.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{id::InstanceId, time::date},
    tui::{
        action::Action,
        filter_index::By,
        keymap::Context,
        pane::DrawContext,
        rows::{RowId, Rows, past::Progress},
        widget::{
            paint::{Pen, width},
            window::{Direction, Move},
        },
    },
};

use super::{TrafficView, grouped};

impl TrafficView {
    /// Returns the filter that rows of the history have to pass.
    pub fn past_filter(&self) -> String {
        self.query().filter().to_string()
    }

    /// Returns whether the next page of the history is needed: the cursor is near the oldest row, or was moved beyond it.
    pub fn needs_page(&self, rows: &Rows) -> bool {
        if self.by != By::Time || self.query().editing() || rows.session().is_none() || !rows.past().has_more() {
            return false;
        }
        let place = self.window.cursor;
        let from_oldest = if self.descending { self.len(rows).saturating_sub(place + 1) } else { place };
        self.beyond || !self.following() && from_oldest < self.height.max(1)
    }

    /// Reads the next page of the history without a move of the cursor, in the order of time: other orders have no history.
    pub fn read_back(&mut self) {
        if self.by != By::Time {
            self.sort(By::Time);
        }
        self.descending = false;
        self.beyond = true;
    }

    /// Forgets that the cursor was moved beyond the oldest row: the page that this asks for is being read.
    pub fn page_begun(&mut self) {
        self.beyond = false;
    }

    /// Returns whether a move goes beyond the oldest row.
    pub(super) fn goes_beyond(&self, to: Move, rows: &Rows) -> bool {
        let len = self.len(rows);
        let at = match (self.cursor, self.at_bottom()) {
            (Some(_), _) => self.window.cursor,
            (None, true) => len.saturating_sub(1),
            (None, false) => 0,
        };
        match (to, self.descending) {
            (Move::Back(by), false) => by > at || len == 0,
            (Move::First, false) | (Move::Last, true) => true,
            (Move::On(by), true) => at + by >= len,
            _ => false,
        }
    }

    /// Returns the place of a row in the order of time, oldest first.
    pub(super) fn place_in_time(&self, rows: &Rows, id: RowId) -> usize {
        let past = rows.past();
        match past.ids().contains(&id) {
            true => usize::try_from(id - past.ids().start).unwrap_or_default(),
            false => past.len() + self.filtered.index.place(rows, id),
        }
    }

    /// Returns the row at a place; for the line of a session the next row in this direction, or else in the other one.
    pub(super) fn row_near(&self, rows: &Rows, place: usize, direction: Direction) -> Option<RowId> {
        let is_row = |id: &RowId| rows.past().session_line(*id).is_none();
        let back = || (0..=place).rev().filter_map(|place| self.id_at(rows, place)).find(is_row);
        let on = || (place..self.len(rows)).filter_map(|place| self.id_at(rows, place)).find(is_row);
        match direction {
            Direction::Backward => back().or_else(on),
            Direction::Forward => on().or_else(back),
        }
    }

    /// Scrolls so that the line of a session is visible above the cursor on its first row.
    pub(super) fn show_session_line(&mut self, rows: &Rows) {
        let Some(above) = self.window.top.checked_sub(1).filter(|_| self.window.top == self.window.cursor && self.height > 1) else {
            return;
        };
        if self.id_at(rows, above).is_some_and(|id| rows.past().session_line(id).is_some()) {
            self.window.top = above;
        }
    }

    /// Returns what the title says about the history.
    pub(super) fn past_words(&self, rows: &Rows) -> String {
        let past = rows.past();
        if self.by != By::Time {
            return String::new();
        }
        let count = match past.row_count() {
            0 => String::new(),
            count => format!(" · {} of the history", grouped(count)),
        };
        let state = match past.progress() {
            Progress::Reading(_) => " · reading …",
            Progress::Full => " · filter to see older ones",
            Progress::Unread | Progress::From(_) | Progress::Complete | Progress::Failed => "",
        };
        count + state
    }

    /// Writes below the text of the empty list which key shows the history.
    pub(super) fn draw_past_hint(&self, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let up = if self.descending { Action::Down } else { Action::Up };
        let mut pen = Pen::new(buf, area, 2);
        pen.skip(1);
        match rows.past().progress() {
            _ if rows.session().is_none() || self.by != By::Time => {}
            Progress::Reading(_) => drop(pen.put(&format!("{} reading the history …", ctx.spinner()), ctx.theme.running)),
            Progress::Unread | Progress::From(_) => {
                let key = ctx.keys.key(&[Context::List], up).unwrap_or_default();
                ctx.put_key(&mut pen, up, &key, " shows earlier rows from the history.");
            }
            Progress::Complete | Progress::Full => drop(pen.put("The history has none either.", ctx.theme.muted)),
            Progress::Failed => drop(pen.put("The history cannot be read.", ctx.theme.warn)),
        }
    }
}

/// Draws the line above the rows of a session: `── 2026-11-29 14:02 · gateway · 00ab1234 ──────`.
pub(super) fn draw_session(session: InstanceId, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    let theme = ctx.theme;
    let words = match rows.past().start(session) {
        Some(start) => {
            let offset = i64::from(ctx.read_model.epoch.utc_offset_s);
            let seconds = u64::try_from((start.started_ms / 1_000) as i64 + offset).unwrap_or_default();
            let (day, minute) = (date(seconds), format!("{:02}:{:02}", seconds / 3_600 % 24, seconds / 60 % 60));
            format!("{day} {minute} · {}", start.kind.word())
        }
        None => "earlier".to_owned(),
    };
    let current = rows.session().is_some_and(|current| current.session == session);
    let name = if current { "this session".to_owned() } else { session.to_string() };
    let words = format!(" {words} · {name} ");
    let mut pen = Pen::new(buf, area, 0);
    pen.skip(1).put("──", theme.muted).put(&words, theme.accent);
    let rest = area.width.saturating_sub(4 + width(&words));
    pen.put(&"─".repeat(usize::from(rest)), theme.muted);
}
