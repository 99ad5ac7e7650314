//! The traffic view: every row as it comes, followed or frozen, filtered and sorted. Draws visible rows only.

use crossterm::event::KeyEvent;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        time::{Stamp, short, size},
        world::CallView,
    },
    tui::{
        action::Action,
        filter::{self, Filter, Mistake},
        index::{By, FILTER_STEP, Index, SORT_STEP, Sort},
        keymap::Context,
        rows::{Row, RowId, RowKind, Rows, State},
        theme::Theme,
        widget::{
            field::{FieldEvent, TextField},
            paint::{Pen, pane, width},
            window::{Move, Window},
        },
    },
};

use super::{Look, traffic::pending_words};

/// Shortest time between two sorts of rows that keep coming.
const SORT_PAUSE_MS: u64 = 1000;
/// Completions that are shown at once.
const OFFERED: usize = 8;

/// The filter line.
#[derive(Default)]
struct Query {
    field: TextField,
    editing: bool,
    /// What the filter was before it was edited.
    before: String,
    mistakes: Vec<Mistake>,
    offers: Vec<String>,
    /// The offer that Tab took last; the next Tab takes the next one.
    taken: Option<usize>,
}

/// Filter, order, cursor and scroll of the view.
pub struct TrafficView {
    index: Index,
    query: Query,
    by: By,
    down: bool,
    sorted: Vec<RowId>,
    job: Option<Sort>,
    /// Version of the rows that were sorted, and when the next sort may start.
    sorted_version: u64,
    next_sort: Stamp,
    /// The row under the cursor; `None` follows.
    cursor: Option<RowId>,
    /// The first visible row.
    top: Option<RowId>,
    /// Places of both, as they were last fitted.
    window: Window,
    height: usize,
}

impl TrafficView {
    /// A view of all rows, followed.
    pub fn new(rows: &Rows) -> TrafficView {
        TrafficView {
            index: Index::new(Filter::default(), rows),
            query: Query::default(),
            by: By::Time,
            down: false,
            sorted: vec![],
            job: None,
            sorted_version: 0,
            next_sort: Stamp::default(),
            cursor: None,
            top: None,
            window: Window::default(),
            height: 0,
        }
    }

    /// Takes in rows that were added, and those that changed.
    pub fn update(&mut self, rows: &Rows, changed: &[RowId]) {
        self.index.update(rows, changed);
    }

    /// Whether a filter or a sort is not done.
    pub fn working(&self, rows: &Rows, now: Stamp) -> bool {
        self.index.working(rows) || self.job.is_some() || self.sort_due(rows, now)
    }

    fn sort_due(&self, rows: &Rows, now: Stamp) -> bool {
        self.by != By::Time && self.sorted_version != rows.version() && now >= self.next_sort
    }

    /// Does a few milliseconds of that.
    pub fn work(&mut self, rows: &Rows, now: Stamp) {
        if self.index.working(rows) {
            return self.index.step(rows, FILTER_STEP);
        }
        if self.job.is_none() && self.sort_due(rows, now) {
            self.sorted_version = rows.version();
            self.job = Some(Sort::new(self.by, &self.index, rows, SORT_STEP));
        }
        let Some(job) = &mut self.job else { return };
        if let Some(ids) = job.step(&self.index, rows, 4 * SORT_STEP) {
            self.job = None;
            // The more rows there are, the less often they are sorted anew.
            let pause = SORT_PAUSE_MS + ids.len() as u64 / 500;
            self.sorted = ids;
            self.next_sort = Stamp(now.0 + pause * 1_000_000);
        }
    }

    /// Whether the newest row (or the first of another order) is kept in view.
    pub fn following(&self) -> bool {
        self.cursor.is_none()
    }

    /// Follows again.
    pub fn follow(&mut self) {
        (self.cursor, self.top) = (None, None);
    }

    /// Holds on to the row under the cursor.
    pub fn freeze(&mut self, rows: &Rows) {
        self.cursor = self.selected(rows);
    }

    /// The row under the cursor.
    pub fn selected(&self, rows: &Rows) -> Option<RowId> {
        match self.cursor {
            Some(id) => rows.get(id).map(|_| id).or_else(|| self.id_at(rows, self.window.cursor)),
            None if self.at_bottom() => self.id_at(rows, self.len(rows).checked_sub(1)?),
            None => self.id_at(rows, 0),
        }
    }

    /// Puts the cursor on a row.
    pub fn select(&mut self, id: RowId) {
        self.cursor = Some(id);
    }

    /// Whether the newest rows are at the bottom.
    fn at_bottom(&self) -> bool {
        self.by == By::Time && !self.down
    }

    /// How many rows pass the filter and are in order.
    pub fn len(&self, rows: &Rows) -> usize {
        if self.by == By::Time { self.index.len(rows) } else { self.sorted.len() }
    }

    /// Whether nothing passes the filter.
    pub fn is_empty(&self, rows: &Rows) -> bool {
        self.len(rows) == 0
    }

    /// The row at a place of the list.
    pub fn id_at(&self, rows: &Rows, place: usize) -> Option<RowId> {
        let len = self.len(rows);
        let place = if self.down { len.checked_sub(place + 1)? } else { place };
        if self.by == By::Time { self.index.at(rows, place) } else { self.sorted.get(place).copied() }
    }

    fn place(&self, rows: &Rows, id: RowId, hint: usize) -> usize {
        let len = self.len(rows);
        if self.by == By::Time {
            let place = self.index.place(rows, id);
            return if self.down { len.saturating_sub(place + 1) } else { place };
        }
        if self.id_at(rows, hint) == Some(id) {
            return hint;
        }
        match self.sorted.iter().position(|other| *other == id) {
            Some(place) if self.down => len - place - 1,
            Some(place) => place,
            None => hint.min(len.saturating_sub(1)),
        }
    }

    /// Moves the cursor; going to the end of a list in the order of time follows again.
    pub fn go(&mut self, to: Move, rows: &Rows) {
        let len = self.len(rows);
        let newest = if self.at_bottom() { Move::Last } else { Move::First };
        if len == 0 || to == newest {
            return self.follow();
        }
        let start = if self.at_bottom() { len - 1 } else { 0 };
        let mut window = Window { cursor: self.cursor.map_or(start, |id| self.place(rows, id, self.window.cursor)), top: 0 };
        window.go(to, len);
        self.cursor = self.id_at(rows, window.cursor);
        self.window.cursor = window.cursor;
    }

    /// Scrolls so that the cursor is visible in a pane of this size.
    pub fn fit(&mut self, rows: &Rows, area: Rect) {
        self.height = rows_height(area, self.notes());
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
        self.top = self.cursor.and_then(|_| self.id_at(rows, self.window.top));
    }

    /// What a click at a cell of the pane means.
    pub fn click(&mut self, rows: &Rows, area: Rect, x: u16, y: u16) -> Clicked {
        let Some(inside) = y.checked_sub(area.y + 1) else { return Clicked::Nothing };
        if inside == 0 {
            return Clicked::Query;
        }
        let head = 1 + self.notes();
        if inside == head {
            let columns = Columns::for_width(area.width.saturating_sub(2));
            return columns.at(x.saturating_sub(area.x + 1)).map_or(Clicked::Nothing, Clicked::Column);
        }
        let Some(row) = inside.checked_sub(head + 1).map(usize::from) else { return Clicked::Nothing };
        match self.id_at(rows, self.window.top + row).filter(|_| row < self.height) {
            Some(id) => {
                self.top = self.id_at(rows, self.window.top);
                Clicked::Row { again: self.cursor.replace(id) == Some(id) }
            }
            None => Clicked::Nothing,
        }
    }

    /// The column that rows are sorted by, and whether downwards.
    pub fn order(&self) -> (By, bool) {
        (self.by, self.down)
    }

    /// Sorts by a column; by the one that is the order already, the other way round.
    pub fn sort(&mut self, by: By) {
        // What is looked for in numbers is the largest.
        self.down = if by == self.by { !self.down } else { matches!(by, By::Took | By::Sent | By::Got | By::Outcome) };
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

    /// Whether the filter is being written.
    pub fn editing(&self) -> bool {
        self.query.editing
    }

    /// The filter as written.
    pub fn filter_text(&self) -> &str {
        self.query.field.text()
    }

    /// What of the filter cannot be understood.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.query.mistakes
    }

    /// Begins to write the filter.
    pub fn edit(&mut self, rows: &Rows) {
        if !self.query.editing {
            self.query.editing = true;
            self.query.before = self.query.field.text().to_owned();
        }
        self.offer(rows);
    }

    /// Ends writing: keeps the filter, or goes back to the one before.
    pub fn end_edit(&mut self, keep: bool, rows: &Rows) {
        self.query.editing = false;
        self.query.offers.clear();
        if !keep {
            let before = std::mem::take(&mut self.query.before);
            self.set_filter(&before, rows);
        }
    }

    /// Takes a key into the filter line; whether it meant something there.
    pub fn key(&mut self, key: KeyEvent, rows: &Rows) -> bool {
        match self.query.field.handle(key) {
            FieldEvent::Changed => {
                self.refilter(rows);
                self.offer(rows);
                true
            }
            FieldEvent::Moved => true,
            FieldEvent::Ignored => false,
        }
    }

    /// Takes pasted text into the filter line.
    pub fn paste(&mut self, text: &str, rows: &Rows) {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.query.field.paste(&line);
        self.refilter(rows);
        self.offer(rows);
    }

    /// Sets the filter.
    pub fn set_filter(&mut self, text: &str, rows: &Rows) {
        self.query.field.set(text);
        self.refilter(rows);
    }

    fn refilter(&mut self, rows: &Rows) {
        let (filter, mistakes) = Filter::parse(self.query.field.text());
        self.query.mistakes = mistakes;
        if filter == *self.index.filter() {
            return;
        }
        self.index = Index::new(filter, rows);
        (self.sorted, self.job) = (vec![], None);
        (self.sorted_version, self.next_sort) = (u64::MAX, Stamp::default());
        // The first rows are looked at now, so that the next frame shows some.
        self.index.step(rows, FILTER_STEP);
    }

    fn offer(&mut self, rows: &Rows) {
        self.query.offers = filter::complete(self.query.field.text(), rows);
        self.query.taken = None;
    }

    /// Takes the next completion of the word that is being written.
    pub fn complete(&mut self, rows: &Rows) {
        let next = self.query.taken.map_or(0, |at| at + 1);
        let Some(offer) = self.query.offers.get(next).or(self.query.offers.first()).cloned() else { return };
        let at = if next < self.query.offers.len() { next } else { 0 };
        let text = self.query.field.text();
        let start = text.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let whole = format!("{}{offer}", &text[..start]);
        self.query.field.set(whole);
        self.refilter(rows);
        if self.query.offers.len() == 1 {
            self.offer(rows);
        } else {
            self.query.taken = Some(at);
        }
    }

    /// Rows between filter line and head.
    fn notes(&self) -> u16 {
        u16::from(!self.query.mistakes.is_empty())
    }

    /// Draws the view.
    pub fn draw(&mut self, rows: &Rows, look: Look, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let title = if look.focused { theme.focus } else { theme.text };
        let right = self.state_words(rows, look);
        let inner = pane(buf, area, &[("Traffic", title)], &[(&right, theme.muted)], look.focused, theme);
        self.draw_query(look, inner, buf);
        let columns = Columns::for_width(inner.width);
        let head = 1 + self.notes();
        columns.head(
            (self.by, self.down),
            theme,
            Rect { y: inner.y.saturating_add(head), height: inner.height.saturating_sub(head).min(1), ..inner },
            buf,
        );
        let list = Rect { y: inner.y.saturating_add(head + 1), height: inner.height.saturating_sub(head + 1), ..inner };
        if self.is_empty(rows) {
            self.draw_empty(rows, look, list, buf);
        }
        let selected = self.selected(rows);
        for (y, place) in self.window.rows(self.len(rows), usize::from(list.height)).enumerate() {
            let Some(id) = self.id_at(rows, place) else { continue };
            let line = Rect { y: list.y + y as u16, height: 1, ..list };
            match rows.get(id) {
                Some(row) => columns.row(row, rows, look, line, buf),
                None => {
                    Pen::new(buf, line, 0).skip(1).put("no longer kept", theme.muted);
                }
            }
            if selected == Some(id) && (look.focused || !self.following()) {
                buf.set_style(line.intersection(buf.area), look.selection());
            }
        }
        self.draw_offers(look, inner, buf);
    }

    fn state_words(&self, rows: &Rows, look: Look) -> String {
        let all = grouped(rows.len());
        let mut words =
            if self.index.filter().is_empty() { format!("{all} rows") } else { format!("{} of {all} rows", grouped(self.index.len(rows))) };
        if self.index.working(rows) {
            words.push_str(&format!(" · {:.0} % looked at", self.index.progress(rows) * 100.0));
        }
        if self.by != By::Time || self.down {
            words.push_str(&format!(" · by {} {}", head_word(self.by), if self.down { "▼" } else { "▲" }));
        }
        let key = look.keys.key(&[Context::Table], Action::Follow).unwrap_or_default();
        words.push_str(&if self.following() { " · following".to_owned() } else { format!(" · stopped, {key} follows") });
        words
    }

    fn draw_query(&mut self, look: Look, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let key = look.keys.key(&[Context::Global], Action::Filter).unwrap_or_default();
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(1).put(&key, theme.key).skip(1);
        let x = pen.x();
        if !self.query.editing && self.query.field.is_empty() {
            pen.put("filter   server:… tool:create* outcome:failed origin:… kind:log >500ms <2s !not text", theme.muted);
        } else {
            let field = Rect { x, width: area.right().saturating_sub(x + 1), height: area.height.min(1), ..area };
            self.query.field.draw(field, buf, theme.text, theme, self.query.editing && look.focused);
        }
        if let Some(mistake) = self.query.mistakes.first() {
            let more = self.query.mistakes.len() - 1;
            let more = if more > 0 { format!("   and {more} more") } else { String::new() };
            Pen::new(buf, area, 1).skip(1).put(&format!("✕ {mistake}{more}"), theme.fail);
        }
    }

    /// The words that Tab would take, under the filter line.
    fn draw_offers(&self, look: Look, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        if !self.query.editing || self.query.offers.is_empty() || area.height < 4 {
            return;
        }
        let first = self.query.taken.map_or(0, |at| at.saturating_sub(OFFERED - 1));
        let shown: Vec<&String> = self.query.offers.iter().skip(first).take(OFFERED).collect();
        let wide = shown.iter().map(|offer| width(offer)).max().unwrap_or(0) + 2;
        let height = (shown.len() as u16).min(area.height.saturating_sub(2));
        let place = Rect { x: area.x + 2, y: area.y + 1 + self.notes(), width: wide.min(area.width.saturating_sub(2)), height };
        ratatui::widgets::Widget::render(ratatui::widgets::Clear, place.intersection(buf.area), buf);
        for (y, offer) in shown.iter().take(usize::from(height)).enumerate() {
            let taken = self.query.taken == Some(first + y);
            let style = if taken { theme.selection } else { theme.selection_idle };
            let mut pen = Pen::new(buf, place, y as u16);
            pen.fill(style).put(" ", style).put(offer, style);
        }
    }

    fn draw_empty(&self, rows: &Rows, look: Look, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let mut pen = Pen::new(buf, area, 1);
        pen.skip(1);
        if rows.is_empty() {
            let key = look.keys.key(&[Context::Global], Action::ViewConsole).unwrap_or_default();
            pen.put("Nothing has happened yet. ", theme.muted)
                .put(&key, theme.key)
                .put(" goes to the console: pick a tool there and fire it.", theme.muted);
        } else if self.index.working(rows) || self.job.is_some() || self.by != By::Time {
            pen.put(&format!("{} looking …", look.spinner()), theme.running);
        } else {
            let key = look.keys.key(&[Context::Global], Action::Back).unwrap_or_default();
            pen.put("Nothing passes the filter. ", theme.muted).put(&key, theme.key).put(" takes it away.", theme.muted);
        }
    }
}

/// What was clicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clicked {
    /// Nothing of use.
    Nothing,
    /// The filter line.
    Query,
    /// The head of a column.
    Column(By),
    /// A row; `again` when the cursor stood there already.
    Row {
        /// Whether it was selected before.
        again: bool,
    },
}

/// The room for rows in a pane: borders, the filter line and the head are not.
fn rows_height(area: Rect, notes: u16) -> usize {
    usize::from(area.height.saturating_sub(4 + notes))
}

/// A number with thin groups of three: `1 000 000`.
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

fn head_word(by: By) -> &'static str {
    match by {
        By::Time => "time",
        By::Server => "server",
        By::Tool => "tool",
        By::Origin => "by",
        By::Outcome => "outcome",
        By::Took => "took",
        By::Sent => "sent",
        By::Got => "got",
    }
}

/// The columns at a width, with their widths; a blank cell at the end of each.
struct Columns {
    list: Vec<(By, u16)>,
    /// Cells of the bar that draws the duration.
    bar: u16,
}

impl Columns {
    fn for_width(width: u16) -> Columns {
        let (time, server, origin, outcome, bytes, bar) = match width {
            0..=39 => (0, 0, 0, 4, false, 0),
            40..=59 => (9, 0, 0, 12, false, 0),
            60..=89 => (9, 12, 0, 14, false, 0),
            90..=109 => (13, 13, 9, 18, false, 0),
            110..=149 => (13, 14, 9, 18, true, 0),
            150..=179 => (13, 16, 10, 18, true, 16),
            _ => (13, 18, 10, 20, true, 24),
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

    /// The column at a cell.
    fn at(&self, x: u16) -> Option<By> {
        let mut start = 1;
        for (by, width) in &self.list {
            let end = start + width + if *by == By::Took { self.bar } else { 0 };
            if (start..end).contains(&x) {
                return Some(*by);
            }
            start = end;
        }
        None
    }

    fn head(&self, (sorted, down): (By, bool), theme: &Theme, area: Rect, buf: &mut Buffer) {
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
        }
    }

    fn row(&self, row: &Row, rows: &Rows, look: Look, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let call = row.call().filter(|_| row.state.pending()).and_then(|id| look.world.call(id));
        let name = rows.name(row.key);
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(1);
        for (by, width) in &self.list {
            let start = pen.x();
            let room = width.saturating_sub(1);
            let cells = usize::from(room);
            match by {
                By::Time => {
                    let time = look.world.epoch.time_of_day(row.at);
                    pen.put(&time[..cells.min(time.len())], theme.muted);
                }
                By::Server => {
                    pen.put_middle(name.map_or("…", |n| &n.server), room, theme.accent);
                }
                By::Tool => {
                    let style = if row.kind() == RowKind::Call { theme.text } else { theme.muted };
                    let tool = name.map_or("…", |n| &n.tool);
                    match name.filter(|_| self.list.iter().all(|(by, _)| *by != By::Server)) {
                        Some(name) => pen.put_middle(&format!("{} {tool}", name.server), room, style),
                        None => pen.put_middle(tool, room, style),
                    };
                }
                By::Origin => {
                    let (word, style) = origin_word(row, theme);
                    pen.put(word, style);
                }
                By::Outcome if row.kind() != RowKind::Call => return self.note(row, rows, look, &mut pen),
                By::Outcome => {
                    let (glyph, words, style) = outcome(row, call, look);
                    pen.put_middle(&format!("{glyph} {words}"), room, style);
                }
                By::Took => {
                    let (time, style) = took(row, look);
                    pen.put(&format!("{time:>cells$}"), style);
                    if self.bar > 0 {
                        pen.to(start + width);
                        bar(row.end(look.now).since(row.at).as_micros() as u64, self.bar - 1, row, look, &mut pen);
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

    /// What a log message, notification or fault says, in the room that a call's figures take.
    fn note(&self, row: &Row, rows: &Rows, look: Look, pen: &mut Pen) {
        let (text, style) = match rows.note_of(row) {
            Some(note) => (&*note.text, if row.kind() == RowKind::Anomaly { look.theme.warn } else { look.theme.muted }),
            None => ("the text is no longer kept", look.theme.muted),
        };
        pen.put(text, style);
    }
}

fn origin_word(row: &Row, theme: &Theme) -> (&'static str, Style) {
    match (row.origin(), row.kind()) {
        (Some(origin), _) => (origin.word(), theme.muted),
        (None, RowKind::Notification) => ("≈ notif", theme.running),
        (None, RowKind::Request) => ("? asks", theme.accent),
        (None, RowKind::Log) => ("≡ log", theme.text),
        (None, _) => ("! fault", theme.warn),
    }
}

/// Glyph, words and style of a call's state.
pub fn outcome(row: &Row, call: Option<&CallView>, look: Look) -> (&'static str, String, Style) {
    let theme = look.theme;
    match row.state {
        State::Queued | State::Running => (look.spinner(), call.map_or_else(|| row.state.words().to_owned(), pending_words), theme.running),
        State::Ok => ("✓", "ok".into(), theme.ok),
        State::ToolError => ("!", "tool error".into(), theme.warn),
        State::Cancelled => ("–", "cancelled".into(), theme.muted),
        State::Failed(kind) => ("✕", kind.words().into(), theme.fail),
        State::None => ("?", "end not seen".into(), theme.muted),
    }
}

fn took(row: &Row, look: Look) -> (String, Style) {
    let theme = look.theme;
    let time = row.end(look.now).since(row.at);
    match row.state {
        State::None => ("·".into(), theme.muted),
        state if state.pending() => (short(time), theme.running.add_modifier(Modifier::BOLD)),
        _ if time.as_secs() >= 1 => (short(time), theme.warn),
        _ => (short(time), theme.text),
    }
}

/// A duration as a bar: logarithmic, 0.1 ms to 100 s, so that a glance finds what is slow.
fn bar(us: u64, cells: u16, row: &Row, look: Look, pen: &mut Pen) {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if row.state == State::None {
        return;
    }
    let share = ((us.max(1) as f64 / 100.0).log10() / 6.0).clamp(0.0, 1.0);
    let eighths = ((share * f64::from(cells) * 8.0) as usize).max(1);
    let style = match row.state {
        State::Failed(_) => look.theme.fail,
        state if state.pending() => look.theme.running,
        _ if us >= 1_000_000 => look.theme.warn,
        _ => look.theme.ok,
    };
    pen.put(&"█".repeat(eighths / 8), style).put(EIGHTHS[eighths % 8], style);
}
