//! The health view: rates, percentiles, failures, connections and output of servers and tools.
//!
//! A table of all servers, the detail of the selected one (`subject_detail`), and its stderr and log (`output`).

pub mod breakers;
pub mod clients;
pub mod output;
pub mod routes;
pub mod subject_detail;

use std::{collections::HashSet, sync::Arc};

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        id::ServerId,
        plural::counted,
        stats::Stats,
        time::{Stamp, short},
    },
    state::{ConsoleState, ServerView},
    tui::{
        hits::Hit,
        theme::Theme,
        widget::{
            paint::{Pen, pane, scroll_bar, width},
            window::{Move, Window},
        },
    },
};

use super::{DrawContext, breaker, status_dot};
use breakers::Breakers;
use clients::ClientTable;
use output::ServerOutput;

use routes::Routes;
use subject_detail::SubjectDetail;

const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// A server, or one of its tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The server.
    pub server: ServerId,
    /// The tool.
    pub tool: Option<Arc<str>>,
}

/// The pages of the health view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// The table of servers and tools, with the detail of one.
    #[default]
    Table,
    /// All breakers.
    Breakers,
    /// Groups, routes and the latest routing decisions.
    Routes,
    /// The clients of the gateway.
    Clients,
}

/// The health view: the table's rows, cursor and scroll, and the other panes.
#[derive(Default)]
pub struct Health {
    /// The page that is shown.
    pub page: Page,
    /// The breakers page.
    pub breakers: Breakers,
    /// The routes page.
    pub routes: Routes,
    /// The clients page.
    pub clients: ClientTable,
    rows: Vec<Subject>,
    unfolded: HashSet<ServerId>,
    cursor: Option<Subject>,
    window: Window,
    /// The detail of the selected server or tool.
    pub facts: SubjectDetail,
    /// The output of the selected server.
    pub lines: ServerOutput,
}

impl Health {
    /// Returns the server or tool under the table's cursor.
    pub fn selected(&self) -> Option<&Subject> {
        self.rows.get(self.window.cursor)
    }

    /// Returns the subject of an action on the current page.
    pub fn subject(&self) -> Option<Subject> {
        match self.page {
            Page::Table => self.selected().cloned(),
            Page::Breakers => self.breakers.selected().cloned(),
            Page::Routes => self.routes.selected(),
            Page::Clients => None,
        }
    }

    /// Shows a page with its cursor on `subject`, if the page has it.
    pub fn show_page(&mut self, page: Page, subject: Option<&Subject>) {
        self.page = page;
        let Some(subject) = subject else { return };
        match page {
            Page::Table => {
                if subject.tool.is_some() {
                    self.unfolded.insert(subject.server.clone());
                }
                self.cursor = Some(subject.clone());
                self.facts = SubjectDetail::default();
                self.lines.follow();
            }
            Page::Breakers => self.breakers.select(subject),
            Page::Routes | Page::Clients => {}
        }
    }

    /// Moves the cursor.
    pub fn go(&mut self, to: Move) {
        match self.page {
            Page::Table => {}
            Page::Breakers => return self.breakers.go(to),
            Page::Routes => return self.routes.go(to),
            Page::Clients => return self.clients.go(to),
        }
        self.window.go(to, self.rows.len());
        self.cursor_moved();
    }

    fn cursor_moved(&mut self) {
        let now = self.selected().cloned();
        if now != self.cursor {
            let other_server = now.as_ref().map(|s| &s.server) != self.cursor.as_ref().map(|s| &s.server);
            self.cursor = now;
            self.facts = SubjectDetail::default();
            if other_server {
                self.lines.follow();
            }
        }
    }

    /// Shows or hides the tools of the server under the cursor; `None` toggles.
    pub fn fold(&mut self, open: Option<bool>) {
        let Some(server) = self.selected().map(|s| s.server.clone()) else { return };
        let open = open.unwrap_or(!self.unfolded.contains(&server));
        if open {
            self.unfolded.insert(server);
        } else {
            self.unfolded.remove(&server);
            self.cursor = Some(Subject { server, tool: None });
        }
    }

    /// Puts the cursor on a row of the page. Returns whether it was there already.
    pub fn click(&mut self, row: usize) -> bool {
        match self.page {
            Page::Table => {}
            Page::Breakers => return self.breakers.click(row),
            Page::Routes => return self.routes.click(row),
            Page::Clients => return self.clients.click(row),
        }
        if row >= self.rows.len() {
            return false;
        }
        let same = row == self.window.cursor;
        self.window.cursor = row;
        self.cursor_moved();
        same
    }

    /// Rebuilds the rows and scrolls so that the cursor is visible.
    pub fn fit(&mut self, read_model: &ConsoleState, area: Option<Rect>) {
        self.breakers.fit(read_model);
        self.clients.fit(read_model);
        self.rows.clear();
        for server in &read_model.servers {
            self.rows.push(Subject { server: server.id().clone(), tool: None });
            if self.unfolded.contains(server.id()) {
                let mut tools: Vec<&Arc<str>> = server.tools.keys().chain(server.tool_breakers.keys()).collect();
                tools.sort_unstable();
                tools.dedup();
                self.rows.extend(tools.into_iter().map(|tool| Subject { server: server.id().clone(), tool: Some(tool.clone()) }));
            }
        }
        if let Some(at) = self.cursor.as_ref().and_then(|cursor| self.rows.iter().position(|row| row == cursor)) {
            self.window.cursor = at;
        }
        self.window.fit(self.rows.len(), area.map_or(1, |a| usize::from(a.height.saturating_sub(3)).max(1)));
        self.cursor_moved();
    }

    /// Returns the preferred height of the table, its border included.
    pub fn preferred_height(&self) -> u16 {
        self.rows.len() as u16 + 3
    }

    /// Draws the page.
    pub fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        match self.page {
            Page::Table => self.draw_table(ctx, area, buf),
            Page::Breakers => self.breakers.draw(ctx, area, buf),
            Page::Routes => self.routes.draw(ctx, area, buf),
            Page::Clients => self.clients.draw(ctx, area, buf),
        }
    }

    fn draw_table(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title = if ctx.focused { theme.focus } else { theme.text };
        let stats = &ctx.read_model.stats;
        let right = format!(
            "{}/min · {} total",
            counted(stats.per_minute(ctx.now) as usize, "call"),
            super::table::grouped(stats.settled as usize)
        );
        let inner = pane(buf, area, &[("Health", title)], &[(&right, theme.muted)], ctx.focused, theme);
        let columns = Columns::for_width(inner.width);
        columns.head(theme, inner, buf);
        let list = Rect { y: inner.y.saturating_add(1), height: inner.height.saturating_sub(1), ..inner };
        if self.rows.is_empty() {
            Pen::new(buf, list, 0).skip(1).put("No servers yet", theme.muted);
        }
        scroll_bar(buf, list, (self.window.top, usize::from(list.height), self.rows.len()), theme.muted);
        for (y, index) in self.window.rows(self.rows.len(), usize::from(list.height)).enumerate() {
            let Some((subject, server)) = self.rows.get(index).and_then(|s| Some((s, ctx.read_model.server(&s.server)?))) else {
                continue;
            };
            let line = Rect { y: list.y + y as u16, height: 1, ..list };
            ctx.hits.add(line, Hit::Row(index));
            columns.row(subject, server, self.unfolded.contains(&subject.server), ctx, line, buf);
            if index == self.window.cursor {
                buf.set_style(line.intersection(buf.area), ctx.selection());
            }
        }
    }
}

/// Returns the statistics of a subject.
pub fn stats_of<'w>(subject: &Subject, server: &'w ServerView) -> Option<&'w Stats> {
    match &subject.tool {
        Some(tool) => server.tools.get(tool),
        None => Some(&server.stats),
    }
}

/// The columns that fit.
struct Columns {
    name: u16,
    state: u16,
    minute: u16,
    histogram: u16,
    tails: bool,
    p99: bool,
    counts: bool,
}

impl Columns {
    fn for_width(width: u16) -> Columns {
        let (state, minute, histogram, tails, counts) = match width {
            0..=49 => (0, 0, 0, false, false),
            50..=91 => (0, 0, 0, true, true),
            92..=109 => (0, 12, 0, true, true),
            110..=149 => (0, 16, 16, true, true),
            _ => (26, 30, 28, true, true),
        };
        // In a narrow table the name needs the cells.
        let p99 = tails && width >= 92;
        let fixed =
            8 + minute + 8 + 9 + if tails { 9 } else { 0 } + if p99 { 9 } else { 0 } + 9 + if counts { 8 } else { 0 } + histogram + state;
        Columns { name: width.saturating_sub(fixed + 1).min(40), state, minute, histogram, tails, p99, counts }
    }

    fn head(&self, theme: &Theme, area: Rect, buf: &mut Buffer) {
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(1);
        let start = pen.x();
        pen.put_middle("  server", self.name, theme.muted).to(start + self.name);
        let start = pen.x();
        pen.put_middle("state", self.state, theme.muted).to(start + self.state);
        let mut text = format!("{:>7} ", "/min");
        if self.minute > 0 {
            text.push_str(&format!("{:<width$}", " last 60 s", width = usize::from(self.minute)));
        }
        text.push_str(&format!("{:>7} {:>8} ", "running", "p50"));
        if self.tails {
            text.push_str(&format!("{:>8} ", "p95"));
        }
        if self.p99 {
            text.push_str(&format!("{:>8} ", "p99"));
        }
        text.push_str(&format!("{:>8} ", "failed"));
        if self.counts {
            text.push_str(&format!("{:>7} ", "calls"));
        }
        pen.put(&text, theme.muted);
        if self.histogram > 0 {
            let range = " 10 µs … latency … 100 s";
            pen.put(if width(range) <= self.histogram { range } else { " latency" }, theme.muted);
        }
    }

    fn row(&self, subject: &Subject, server: &ServerView, open: bool, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let empty = Stats::default();
        let stats = stats_of(subject, server).unwrap_or(&empty);
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(1);
        let start = pen.x();
        match &subject.tool {
            Some(tool) => {
                pen.skip(4).put_middle(tool, self.name.saturating_sub(5), theme.text);
            }
            None => {
                let (glyph, style) = status_dot(&server.phase, theme);
                let fold = if server.tools.is_empty() {
                    " "
                } else if open {
                    "▾"
                } else {
                    "▸"
                };
                pen.put(fold, theme.muted).skip(1).put(glyph, style).skip(1);
                let marked = breaker::badge(&server.breaker, ctx.now, theme).is_some() || !server.faults.is_empty();
                let room = self.name.saturating_sub(if marked { 8 } else { 5 });
                pen.put_middle(server.id().as_str(), room, theme.accent);
            }
        }
        self.mark(subject, server, ctx, &mut pen, start);
        pen.to(start + self.name);
        let start = pen.x();
        if subject.tool.is_none() && self.state > 0 {
            let (_, style) = status_dot(&server.phase, theme);
            pen.put_middle(&super::state_words(server, ctx.now), self.state - 1, style);
        }
        pen.to(start + self.state);
        let rate = stats.per_minute(ctx.now);
        pen.put(
            &format!("{:>7} ", if rate == 0 { "·".into() } else { rate.to_string() }),
            if rate == 0 { theme.muted } else { theme.text },
        );
        if self.minute > 0 {
            let start = pen.x();
            pen.skip(1).put(&minute_bars(stats, ctx.now, usize::from(self.minute - 2)), theme.accent);
            pen.to(start + self.minute);
        }
        let running = if stats.in_flight == 0 { "·".into() } else { format!("{} {}", ctx.spinner(), stats.in_flight) };
        pen.put(&format!("{running:>7} "), if stats.in_flight == 0 { theme.muted } else { theme.running });
        for (percent, show) in [(50.0, true), (95.0, self.tails), (99.0, self.p99)] {
            let time = stats.percentile(percent);
            let style = time.map_or(theme.muted, |t| latency_style(t.as_micros() as u64, theme));
            if show {
                pen.put(&format!("{:>8} ", time.map_or("·".into(), short)), style);
            }
        }
        let rate = stats.failure_rate() * 100.0;
        let words = match (stats.settled, stats.failed) {
            (0, _) => "·".to_owned(),
            (_, 0) => "0 %".to_owned(),
            _ if rate >= 9.95 => format!("✕ {rate:.0} %"),
            _ => format!("✕ {rate:.1} %"),
        };
        pen.put(&format!("{words:>8} "), if stats.failed > 0 { theme.fail } else { theme.muted });
        if self.counts {
            pen.put(&format!("{:>7} ", stats.settled), theme.muted);
        }
        if self.histogram > 0 {
            pen.skip(1);
            for (bar, style) in histogram_bars(stats, usize::from(self.histogram - 2), theme) {
                pen.put(bar, style);
            }
        }
    }
}

impl Columns {
    /// Writes the marks of an injected fault and of a breaker that is overridden or not closed, in words where there is room.
    fn mark(&self, subject: &Subject, server: &ServerView, ctx: DrawContext, pen: &mut Pen, start: u16) {
        let theme = ctx.theme;
        if server.faults.contains_key(&subject.tool) {
            pen.skip(1).put("‼", theme.fail.add_modifier(Modifier::REVERSED | Modifier::BOLD));
        }
        let Some(view) = breaker::view_of(subject, server) else { return };
        let Some((words, style)) = breaker::badge(view, ctx.now, theme) else { return };
        let left = (start + self.name).saturating_sub(pen.x() + 2);
        let glyph = words.split(' ').next().unwrap_or_default();
        let shown = if width(&words) <= left { &words } else { glyph };
        pen.skip(1).put(shown, style);
    }
}

/// Returns the style of a latency.
pub fn latency_style(us: u64, theme: &Theme) -> Style {
    match us {
        0..=99_999 => theme.ok,
        100_000..=999_999 => theme.text,
        _ => theme.warn.add_modifier(Modifier::BOLD),
    }
}

/// Draws the calls of the last minute as bars, scaled to the busiest moment of this row.
fn minute_bars(stats: &Stats, now: Stamp, cells: usize) -> String {
    let seconds = stats.minute(now);
    let cells = cells.clamp(1, 60);
    let sums: Vec<u32> = (0..cells)
        .map(|c| seconds[c * 60 / cells..((c + 1) * 60 / cells).max(c * 60 / cells + 1)].iter().map(|n| u32::from(*n)).sum())
        .collect();
    let most = sums.iter().copied().max().unwrap_or(0).max(1);
    sums.into_iter().map(|n| if n == 0 { " " } else { BARS[(n * 7 / most) as usize] }).collect()
}

/// Draws the latency histogram as one row of bars from 10 µs to 100 s.
fn histogram_bars(stats: &Stats, cells: usize, theme: &Theme) -> Vec<(&'static str, Style)> {
    let Some(shape) = stats.shape() else { return vec![] };
    let cells = cells.clamp(1, shape.len());
    let range = |c: usize| c * shape.len() / cells..((c + 1) * shape.len() / cells);
    let sums: Vec<u64> = (0..cells).map(|c| shape[range(c)].iter().map(|n| u64::from(*n)).sum()).collect();
    let most = sums.iter().copied().max().unwrap_or(0).max(1);
    sums.iter()
        .enumerate()
        .map(|(c, n)| {
            let us = crate::domain::stats::bucket_start(range(c).start).as_micros() as u64;
            if *n == 0 { (" ", theme.muted) } else { (BARS[(n * 7 / most) as usize], latency_style(us, theme)) }
        })
        .collect()
}
