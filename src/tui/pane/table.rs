//! The traffic view: all rows, followed or paused, filtered and sorted. Draws only the visible rows.
//!
//! In the order of time, the rows of the history are before those of the ring, in one list with one cursor and one filter.

mod columns;
mod past;

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{
        secret::{Redactor, Secret},
        time::Stamp,
    },
    tui::{
        action::Action,
        filter_index::{By, FILTER_STEP, SORT_STEP, Sort},
        hits::Hit,
        keymap::Context,
        rows::{RowId, Rows},
        widget::{
            paint::{Pen, pane, scroll_bar},
            window::{Direction, Move, Window},
        },
    },
};

use columns::{Columns, head_word};
pub use columns::{outcome, place_words, step_words};

use super::{
    DrawContext,
    filter_line::FilterLine,
    filtered_rows::{FilteredRows, OnQuery},
};

/// The hint in the empty filter line.
const EXAMPLE: &str = "filter   server:… tool:create* outcome:failed client:… kind:log >500ms <2s !not text";
/// The minimum time between two sorts while rows are added.
const SORT_PAUSE_MS: u64 = 1000;

/// The filter, order, cursor and scroll of the view.
pub struct TrafficView {
    filtered: FilteredRows,
    by: By,
    descending: bool,
    sorted: Vec<RowId>,
    job: Option<Sort>,
    /// The version of the rows that were sorted, and when the next sort may start.
    sorted_version: u64,
    next_sort: Stamp,
    /// The row under the cursor; `None` follows.
    cursor: Option<RowId>,
    /// The first visible row.
    top: Option<RowId>,
    /// The indexes of both, as of the last [`TrafficView::fit`].
    window: Window,
    height: usize,
    /// Whether the user moved beyond the oldest row.
    beyond: bool,
}

impl TrafficView {
    /// Creates a view of all rows that follows.
    pub fn new(rows: &Rows) -> TrafficView {
        TrafficView {
            filtered: FilteredRows::new(rows),
            by: By::Time,
            descending: false,
            sorted: vec![],
            job: None,
            sorted_version: 0,
            next_sort: Stamp::default(),
            cursor: None,
            top: None,
            window: Window::default(),
            height: 0,
            beyond: false,
        }
    }

    /// Updates the index after rows were added or changed.
    pub fn update(&mut self, rows: &Rows, changed: &[RowId]) {
        self.filtered.index.update(rows, changed);
    }

    /// Returns whether the filter or a sort is still running.
    pub fn working(&self, rows: &Rows, now: Stamp) -> bool {
        self.filtered.index.working(rows) || self.job.is_some() || self.sort_due(rows, now)
    }

    fn sort_due(&self, rows: &Rows, now: Stamp) -> bool {
        self.by != By::Time && self.sorted_version != rows.version() && now >= self.next_sort
    }

    /// Filters or sorts for a few milliseconds.
    pub fn work(&mut self, rows: &Rows, now: Stamp) {
        if self.filtered.index.working(rows) {
            return self.filtered.index.step(rows, FILTER_STEP);
        }
        if self.job.is_none() && self.sort_due(rows, now) {
            self.sorted_version = rows.version();
            self.job = Some(Sort::new(self.by, &self.filtered.index, rows, SORT_STEP));
        }
        let Some(job) = &mut self.job else { return };
        if let Some(ids) = job.step(&self.filtered.index, rows, 4 * SORT_STEP) {
            self.job = None;
            // The more rows there are, the less often they are sorted.
            let pause = SORT_PAUSE_MS + ids.len() as u64 / 500;
            self.sorted = ids;
            self.next_sort = Stamp(now.0 + pause * 1_000_000);
        }
    }

    /// Returns whether the view follows the newest row, or the first one of another order.
    pub fn following(&self) -> bool {
        self.cursor.is_none()
    }

    /// Follows again.
    pub fn follow(&mut self) {
        (self.cursor, self.top) = (None, None);
    }

    /// Stops following and stays on the row under the cursor.
    pub fn freeze(&mut self, rows: &Rows) {
        self.cursor = self.selected(rows);
    }

    /// Returns the row under the cursor.
    pub fn selected(&self, rows: &Rows) -> Option<RowId> {
        match self.cursor {
            Some(id) => rows.get(id).map(|_| id).or_else(|| self.row_near(rows, self.window.cursor, Direction::Backward)),
            None if self.at_bottom() => self.row_near(rows, self.len(rows).checked_sub(1)?, Direction::Backward),
            None => self.row_near(rows, 0, Direction::Forward),
        }
    }

    /// Puts the cursor on a row.
    pub fn select(&mut self, id: RowId) {
        self.cursor = Some(id);
    }

    /// Returns whether the newest rows are at the bottom.
    fn at_bottom(&self) -> bool {
        self.by == By::Time && !self.descending
    }

    /// Returns how many lines there are: rows that match the filter and are sorted, with those of the history and their dates.
    pub fn len(&self, rows: &Rows) -> usize {
        if self.by == By::Time { rows.past().len() + self.filtered.index.len(rows) } else { self.sorted.len() }
    }

    /// Returns whether no row matches.
    pub fn is_empty(&self, rows: &Rows) -> bool {
        self.len(rows) == 0
    }

    /// Returns the row at an index of the list.
    pub fn id_at(&self, rows: &Rows, place: usize) -> Option<RowId> {
        let len = self.len(rows);
        let place = if self.descending { len.checked_sub(place + 1)? } else { place };
        if self.by != By::Time {
            return self.sorted.get(place).copied();
        }
        match place.checked_sub(rows.past().len()) {
            Some(place) => self.filtered.index.at(rows, place),
            None => Some(rows.past().ids().start + place as u64),
        }
    }

    fn place(&self, rows: &Rows, id: RowId, hint: usize) -> usize {
        let len = self.len(rows);
        if self.by == By::Time {
            let place = self.place_in_time(rows, id);
            return if self.descending { len.saturating_sub(place + 1) } else { place };
        }
        if self.id_at(rows, hint) == Some(id) {
            return hint;
        }
        match self.sorted.iter().position(|sorted| *sorted == id) {
            Some(place) if self.descending => len - place - 1,
            Some(place) => place,
            None => hint.min(len.saturating_sub(1)),
        }
    }

    /// Moves the cursor. Going to the newest end follows again.
    pub fn go(&mut self, to: Move, rows: &Rows) {
        let len = self.len(rows);
        self.beyond = self.goes_beyond(to, rows);
        let newest = if self.at_bottom() { Move::Last } else { Move::First };
        if len == 0 || to == newest {
            return self.follow();
        }
        let start = if self.at_bottom() { len - 1 } else { 0 };
        let mut window = Window { cursor: self.cursor.map_or(start, |id| self.place(rows, id, self.window.cursor)), top: 0 };
        let before = window.cursor;
        window.go(to, len);
        self.cursor = self.row_near(rows, window.cursor, Direction::backward_if(window.cursor < before));
        self.window.cursor = self.cursor.map_or(window.cursor, |id| self.place(rows, id, window.cursor));
    }

    /// Scrolls so that the cursor is visible in a pane of this size.
    pub fn fit(&mut self, rows: &Rows, area: Rect) {
        self.height = rows_height(area, self.filtered.query.note_height(area.width.saturating_sub(2)));
        let len = self.len(rows);
        let follow = if self.at_bottom() { len.saturating_sub(1) } else { 0 };
        let top = if self.at_bottom() { len.saturating_sub(self.height) } else { 0 };
        self.window.cursor = self.cursor.map_or(follow, |id| self.place(rows, id, self.window.cursor));
        self.window.top = match (self.cursor, self.top) {
            (None, _) => top,
            (Some(_), Some(id)) => self.place(rows, id, self.window.top),
            (Some(_), None) => top,
        };
        self.window.fit(len, self.height);
        self.show_session_line(rows);
        self.top = self.cursor.and_then(|_| self.id_at(rows, self.window.top));
    }

    /// Puts the cursor on a visible row, which does not scroll. Returns whether it was there already.
    pub fn click(&mut self, id: RowId, rows: &Rows) -> bool {
        self.top = self.id_at(rows, self.window.top);
        self.cursor.replace(id) == Some(id)
    }

    /// Returns the sort column, and whether the order is descending.
    pub fn order(&self) -> (By, bool) {
        (self.by, self.descending)
    }

    /// Sorts by a column. Reverses the order if it is the sort column already.
    pub fn sort(&mut self, by: By) {
        // Numbers start with the largest.
        self.descending = if by == self.by { !self.descending } else { matches!(by, By::Took | By::Sent | By::Got | By::Outcome) };
        if by != self.by {
            (self.by, self.sorted, self.job) = (by, vec![], None);
            (self.sorted_version, self.next_sort) = (u64::MAX, Stamp::default());
        }
        self.follow();
    }

    /// Sorts by the next column.
    pub fn sort_next(&mut self) {
        let at = By::ALL.iter().position(|b| *b == self.by).unwrap_or(0);
        self.sort(By::ALL[(at + 1) % By::ALL.len()]);
    }

    /// Returns the filter line.
    pub fn query(&self) -> &FilterLine {
        &self.filtered.query
    }

    /// Applies an operation to the filter line.
    pub fn on_query(&mut self, what: OnQuery, rows: &Rows) {
        if self.filtered.on_query(what, rows) {
            (self.sorted, self.job) = (vec![], None);
            (self.sorted_version, self.next_sort) = (u64::MAX, Stamp::default());
        }
    }

    /// Draws the view.
    pub fn draw(&mut self, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title = if ctx.focused { theme.focus } else { theme.text };
        let right = self.state_words(rows, ctx);
        let inner = pane(buf, area, &[("Traffic", title)], &[(&right, theme.muted)], ctx.focused, theme);
        self.filtered.query.draw(EXAMPLE, ctx, inner, buf);
        let columns = Columns::for_width(inner.width);
        let secrets: Vec<Secret> = ctx.read_model.servers.iter().flat_map(|server| server.spec.secrets()).collect();
        let secrets = Redactor::new(&secrets);
        let head = 1 + self.filtered.query.note_height(area.width.saturating_sub(2));
        columns.head(
            (self.by, self.descending),
            ctx,
            Rect { y: inner.y.saturating_add(head), height: inner.height.saturating_sub(head).min(1), ..inner },
            buf,
        );
        let list = Rect { y: inner.y.saturating_add(head + 1), height: inner.height.saturating_sub(head + 1), ..inner };
        if self.is_empty(rows) {
            self.draw_empty(rows, ctx, list, buf);
        }
        let selected = self.selected(rows);
        scroll_bar(buf, list, (self.window.top, usize::from(list.height), self.len(rows)), ctx.theme.muted);
        for (y, place) in self.window.rows(self.len(rows), usize::from(list.height)).enumerate() {
            let Some(id) = self.id_at(rows, place) else { continue };
            let line = Rect { y: list.y + y as u16, height: 1, ..list };
            if let Some(session) = rows.past().session_line(id) {
                past::draw_session(session, rows, ctx, line, buf);
                continue;
            }
            ctx.hits.add(line, Hit::Entry(id));
            match rows.get(id) {
                Some(row) => columns.row(row, (rows, &secrets), ctx, line, buf),
                None => {
                    Pen::new(buf, line, 0).skip(1).put("dropped", theme.muted);
                }
            }
            if selected == Some(id) && (ctx.focused || !self.following()) {
                buf.set_style(line.intersection(buf.area), ctx.selection());
            }
        }
        self.filtered.query.draw_completions(ctx, inner, buf);
    }

    fn state_words(&self, rows: &Rows, ctx: DrawContext) -> String {
        let all = format!("{} {}", grouped(rows.len()), if rows.len() == 1 { "row" } else { "rows" });
        let mut words =
            if self.filtered.index.filter().is_empty() { all } else { format!("{} of {all}", grouped(self.filtered.index.len(rows))) };
        if self.filtered.index.working(rows) {
            words.push_str(&format!(" · {:.0} % scanned", self.filtered.index.progress(rows) * 100.0));
        }
        if self.by != By::Time || self.descending {
            words.push_str(&format!(" · by {} {}", head_word(self.by), if self.descending { "▼" } else { "▲" }));
        }
        words.push_str(&self.past_words(rows));
        let key = ctx.keys.key(&[Context::Table], Action::Follow).unwrap_or_default();
        words.push_str(&if self.following() { " · following".to_owned() } else { format!(" · paused, {key} to follow") });
        words
    }

    fn draw_empty(&self, rows: &Rows, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let mut pen = Pen::new(buf, area, 1);
        pen.skip(1);
        if rows.is_empty() {
            let key = ctx.keys.key(&[Context::Global], Action::ViewConsole).unwrap_or_default();
            pen.put("No traffic yet. ", theme.muted);
            ctx.put_key(&mut pen, Action::ViewConsole, &key, " opens the console: select a tool there.");
            self.draw_past_hint(rows, ctx, area, buf);
        } else if self.working(rows, ctx.now) {
            pen.put(&format!("{} filtering …", ctx.spinner()), theme.running);
        } else {
            let key = ctx.keys.key(&[Context::Global], Action::Back).unwrap_or_default();
            pen.put("No rows match. ", theme.muted);
            ctx.put_key(&mut pen, Action::Back, &key, " clears the filter.");
            self.draw_past_hint(rows, ctx, area, buf);
        }
    }
}

/// Returns how many rows fit, without borders, filter line, its notes and the header.
fn rows_height(area: Rect, notes: u16) -> usize {
    usize::from(area.height.saturating_sub(4 + notes))
}

/// Formats a number in groups of three digits: `1 000 000`.
pub fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}
