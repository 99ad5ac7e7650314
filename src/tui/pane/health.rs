//! How servers and tools are doing: rates, percentiles, failures, connections, what they write.
//!
//! A table of all, the facts of the one under the cursor (`facts`), and its stderr and log (`lines`).

pub mod breakers;
pub mod facts;
pub mod lines;
pub mod routes;

use std::{collections::HashSet, sync::Arc};

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        id::ServerId,
        read_model::{ConsoleState, ServerView},
        stats::Stats,
        time::{Stamp, short},
    },
    tui::{
        theme::Theme,
        widget::{
            paint::{Pen, pane, width},
            window::{Move, Window},
        },
    },
};

use super::{DrawContext, breaker, lamp};
use breakers::Breakers;
use facts::Facts;
use lines::Lines;
use routes::Routes;

const BARS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// A server, or one of its tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The server.
    pub server: ServerId,
    /// The tool.
    pub tool: Option<Arc<str>>,
}

/// What of health is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// The table of servers and tools, with the facts of one.
    #[default]
    Figures,
    /// Every breaker.
    Breakers,
    /// Groups, routes and where the last calls went.
    Routes,
}

/// The table's rows, cursor and scroll, and the panes beside it.
#[derive(Default)]
pub struct Health {
    /// What is shown.
    pub page: Page,
    /// Every breaker.
    pub breakers: Breakers,
    /// Where calls go.
    pub routes: Routes,
    rows: Vec<Subject>,
    unfolded: HashSet<ServerId>,
    cursor: Option<Subject>,
    window: Window,
    /// What is known of the one under the cursor.
    pub facts: Facts,
    /// What it writes.
    pub lines: Lines,
}

impl Health {
    /// What the cursor is on.
    pub fn selected(&self) -> Option<&Subject> {
        self.rows.get(self.window.cursor)
    }

    /// What an action on the page that is shown means.
    pub fn meant(&self) -> Option<Subject> {
        match self.page {
            Page::Figures => self.selected().cloned(),
            Page::Breakers => self.breakers.selected().cloned(),
            Page::Routes => self.routes.selected(),
        }
    }

    /// Shows a page, with its cursor on `subject` where it has that.
    pub fn turn_to(&mut self, page: Page, subject: Option<&Subject>) {
        self.page = page;
        let Some(subject) = subject else { return };
        match page {
            Page::Figures => {
                if subject.tool.is_some() {
                    self.unfolded.insert(subject.server.clone());
                }
                self.cursor = Some(subject.clone());
                self.facts = Facts::default();
                self.lines.follow();
            }
            Page::Breakers => self.breakers.select(subject),
            Page::Routes => {}
        }
    }

    /// Moves the cursor.
    pub fn go(&mut self, to: Move) {
        match self.page {
            Page::Figures => {}
            Page::Breakers => return self.breakers.go(to),
            Page::Routes => return self.routes.go(to),
        }
        self.window.go(to, self.rows.len());
        self.turned();
    }

    fn turned(&mut self) {
        let now = self.selected().cloned();
        if now != self.cursor {
            let other = now.as_ref().map(|s| &s.server) != self.cursor.as_ref().map(|s| &s.server);
            self.cursor = now;
            self.facts = Facts::default();
            if other {
                self.lines.follow();
            }
        }
    }

    /// Shows or hides the tools of the server under the cursor; `None` turns it around.
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

    /// Puts the cursor on the row at a cell of the table; whether it stood there already.
    pub fn click(&mut self, area: Rect, x: u16, y: u16) -> bool {
        match self.page {
            Page::Figures => {}
            Page::Breakers => return self.breakers.click(x, y),
            Page::Routes => return self.routes.click(area, y),
        }
        let Some(row) = y.checked_sub(area.y + 2).map(|y| usize::from(y) + self.window.top).filter(|row| *row < self.rows.len()) else {
            return false;
        };
        let again = row == self.window.cursor;
        self.window.cursor = row;
        self.turned();
        again
    }

    /// Makes the rows anew and scrolls so that the cursor is visible.
    pub fn fit(&mut self, read_model: &ConsoleState, area: Option<Rect>) {
        self.breakers.fit(read_model);
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
        self.turned();
    }

    /// The rows that the table would like, its border included.
    pub fn wish(&self) -> u16 {
        self.rows.len() as u16 + 3
    }

    /// Draws the page.
    pub fn draw(&mut self, look: DrawContext, area: Rect, buf: &mut Buffer) {
        match self.page {
            Page::Figures => self.draw_table(look, area, buf),
            Page::Breakers => self.breakers.draw(look, area, buf),
            Page::Routes => self.routes.draw(look, area, buf),
        }
    }

    fn draw_table(&self, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let title = if look.focused { theme.focus } else { theme.text };
        let stats = &look.read_model.stats;
        let right = format!("{} calls a minute · {} in all", stats.per_minute(look.now), super::table::grouped(stats.settled as usize));
        let inner = pane(buf, area, &[("Health", title)], &[(&right, theme.muted)], look.focused, theme);
        let columns = Columns::for_width(inner.width);
        columns.head(theme, inner, buf);
        let list = Rect { y: inner.y.saturating_add(1), height: inner.height.saturating_sub(1), ..inner };
        if self.rows.is_empty() {
            Pen::new(buf, list, 0).skip(1).put("No servers yet: they show up here as soon as there are some.", theme.muted);
        }
        for (y, index) in self.window.rows(self.rows.len(), usize::from(list.height)).enumerate() {
            let Some((subject, server)) = self.rows.get(index).and_then(|s| Some((s, look.read_model.server(&s.server)?))) else {
                continue;
            };
            let line = Rect { y: list.y + y as u16, height: 1, ..list };
            columns.row(subject, server, self.unfolded.contains(&subject.server), look, line, buf);
            if index == self.window.cursor {
                buf.set_style(line.intersection(buf.area), look.selection());
            }
        }
    }
}

/// The figures of a subject.
pub fn stats_of<'w>(subject: &Subject, server: &'w ServerView) -> Option<&'w Stats> {
    match &subject.tool {
        Some(tool) => server.tools.get(tool),
        None => Some(&server.stats),
    }
}

/// Which columns there is room for.
struct Columns {
    name: u16,
    state: u16,
    minute: u16,
    shape: u16,
    tails: bool,
    counts: bool,
}

impl Columns {
    fn for_width(width: u16) -> Columns {
        let (state, minute, shape, tails, counts) = match width {
            0..=49 => (0, 0, 0, false, false),
            50..=91 => (0, 0, 0, true, true),
            92..=109 => (0, 12, 0, true, true),
            110..=149 => (0, 16, 16, true, true),
            _ => (26, 30, 28, true, true),
        };
        let fixed = 8 + minute + 8 + 9 + if tails { 18 } else { 0 } + 9 + if counts { 8 } else { 0 } + shape + state;
        Columns { name: width.saturating_sub(fixed + 1).min(40), state, minute, shape, tails, counts }
    }

    fn head(&self, theme: &Theme, area: Rect, buf: &mut Buffer) {
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(1);
        let start = pen.x();
        pen.put_middle("  server", self.name, theme.muted).to(start + self.name);
        let start = pen.x();
        pen.put_middle("state", self.state, theme.muted).to(start + self.state);
        let mut text = format!("{:>7} ", "per min");
        if self.minute > 0 {
            text.push_str(&format!("{:<width$}", " last minute", width = usize::from(self.minute)));
        }
        text.push_str(&format!("{:>7} {:>8} ", "running", "p50"));
        if self.tails {
            text.push_str(&format!("{:>8} {:>8} ", "p95", "p99"));
        }
        text.push_str(&format!("{:>8} ", "failed"));
        if self.counts {
            text.push_str(&format!("{:>7} ", "calls"));
        }
        pen.put(&text, theme.muted);
        if self.shape > 0 {
            pen.put(" 10 µs … latency … 100 s", theme.muted);
        }
    }

    fn row(&self, subject: &Subject, server: &ServerView, open: bool, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
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
                let (glyph, style) = lamp(&server.phase, theme);
                let fold = if server.tools.is_empty() {
                    " "
                } else if open {
                    "▾"
                } else {
                    "▸"
                };
                pen.put(fold, theme.muted).skip(1).put(glyph, style).skip(1);
                let marked = breaker::badge(&server.breaker, look.now, theme).is_some() || !server.faults.is_empty();
                let room = self.name.saturating_sub(if marked { 8 } else { 5 });
                pen.put_middle(server.id().as_str(), room, theme.accent);
            }
        }
        self.mark(subject, server, look, &mut pen, start);
        pen.to(start + self.name);
        let start = pen.x();
        if subject.tool.is_none() && self.state > 0 {
            let (_, style) = lamp(&server.phase, theme);
            pen.put_middle(&super::state_words(server, look.now), self.state - 1, style);
        }
        pen.to(start + self.state);
        let rate = stats.per_minute(look.now);
        pen.put(
            &format!("{:>7} ", if rate == 0 { "·".into() } else { rate.to_string() }),
            if rate == 0 { theme.muted } else { theme.text },
        );
        if self.minute > 0 {
            let start = pen.x();
            pen.skip(1).put(&minute_bars(stats, look.now, usize::from(self.minute - 2)), theme.accent);
            pen.to(start + self.minute);
        }
        let running = if stats.in_flight == 0 { "·".into() } else { format!("{} {}", look.spinner(), stats.in_flight) };
        pen.put(&format!("{running:>7} "), if stats.in_flight == 0 { theme.muted } else { theme.running });
        for (percent, show) in [(50.0, true), (95.0, self.tails), (99.0, self.tails)] {
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
        if self.shape > 0 {
            pen.skip(1);
            for (bar, style) in shape_bars(stats, usize::from(self.shape - 2), theme) {
                pen.put(bar, style);
            }
        }
    }
}

impl Columns {
    /// A fault made by hand, a breaker that is held or not closed: beside the name, in words where there is room.
    fn mark(&self, subject: &Subject, server: &ServerView, look: DrawContext, pen: &mut Pen, start: u16) {
        let theme = look.theme;
        if server.faults.contains_key(&subject.tool) {
            pen.skip(1).put("‼", theme.fail.add_modifier(Modifier::REVERSED | Modifier::BOLD));
        }
        let Some(view) = breaker::view_of(subject, server) else { return };
        let Some((words, style)) = breaker::badge(view, look.now, theme) else { return };
        let left = (start + self.name).saturating_sub(pen.x() + 2);
        let glyph = words.split(' ').next().unwrap_or_default();
        let shown = if width(&words) <= left { &words } else { glyph };
        pen.skip(1).put(shown, style);
    }
}

/// The colour of a latency.
pub fn latency_style(us: u64, theme: &Theme) -> Style {
    match us {
        0..=99_999 => theme.ok,
        100_000..=999_999 => theme.text,
        _ => theme.warn.add_modifier(Modifier::BOLD),
    }
}

/// The last minute as bars, each scaled to the busiest moment of this row; nothing where nothing ended.
fn minute_bars(stats: &Stats, now: Stamp, cells: usize) -> String {
    let seconds = stats.minute(now);
    let cells = cells.clamp(1, 60);
    let sums: Vec<u32> = (0..cells)
        .map(|c| seconds[c * 60 / cells..((c + 1) * 60 / cells).max(c * 60 / cells + 1)].iter().map(|n| u32::from(*n)).sum())
        .collect();
    let most = sums.iter().copied().max().unwrap_or(0).max(1);
    sums.into_iter().map(|n| if n == 0 { " " } else { BARS[(n * 7 / most) as usize] }).collect()
}

/// The latencies as one row of bars from 10 µs to 100 s.
fn shape_bars(stats: &Stats, cells: usize, theme: &Theme) -> Vec<(&'static str, Style)> {
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
