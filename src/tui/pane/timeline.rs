//! Calls as bars on a shared time axis, one lane a server. Draws only what the window of time shows.
//!
//! `░` queued, `▓` on the wire, `·` waiting to try again, `✕` failed, `▸` still running: readable without colour.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};

use crate::{
    domain::{
        time::{Epoch, Stamp, short},
        world::World,
    },
    tui::{
        action::Action,
        keymap::Context,
        rows::{Row, RowId, Rows, State},
        widget::paint::{Pen, pane, width},
    },
};

use super::{Look, lamp, table::outcome};

/// Rows looked at in one frame; of more, every second, third … is drawn.
const MOST: u64 = 20_000;
/// Calls longer than this are found before the window only while they run.
const LOOK_BACK: Duration = Duration::from_secs(120);
/// Nanoseconds of one cell, by step of the zoom: 1, 2, 5 from 10 µs to 100 s.
const CELLS: [u64; 22] = [
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
    20_000_000_000,
    50_000_000_000,
    100_000_000_000,
];
/// The zoom to begin with: 200 ms a cell, 20 s on 100 cells.
const START: usize = 13;

/// Zoom, place and cursor.
pub struct Timeline {
    zoom: usize,
    /// The time under the cursor; `None` follows now.
    cursor: Option<Stamp>,
    /// The left edge of the window while it stands still.
    start: Stamp,
    /// The lane under the cursor.
    lane: usize,
    /// First visible line of the lanes.
    top: usize,
    /// The bars as they were laid out last.
    plan: Plan,
    cells: u16,
}

/// One bar.
#[derive(Clone, Copy, Debug)]
struct Bar {
    id: RowId,
    lane: usize,
    line: usize,
    from: i64,
    to: i64,
}

/// Lanes, lines and bars of the window.
#[derive(Default)]
struct Plan {
    lanes: Vec<Lane>,
    bars: Vec<Bar>,
    /// Of how many calls one is drawn.
    stride: u64,
}

struct Lane {
    server: Arc<str>,
    first: usize,
    lines: usize,
    /// Calls that found no line of their own.
    hidden: usize,
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline { zoom: START, cursor: None, start: Stamp::default(), lane: 0, top: 0, plan: Plan::default(), cells: 0 }
    }
}

impl Timeline {
    fn cell(&self) -> u64 {
        CELLS[self.zoom.min(CELLS.len() - 1)]
    }

    /// Whether it follows now.
    pub fn following(&self) -> bool {
        self.cursor.is_none()
    }

    /// Follows now.
    pub fn follow(&mut self) {
        self.cursor = None;
    }

    /// Whether the window moves by itself: it follows, and something is still to be seen in it.
    pub fn moving(&self, rows: &Rows, now: Stamp) -> bool {
        let span = self.cell() * u64::from(self.cells.max(1));
        self.following() && rows.ids().next_back().and_then(|id| rows.get(id)).is_some_and(|row| row.end(now).0 + span > now.0)
    }

    /// Makes the cells shorter or longer in time; the time under the cursor stays where it is.
    pub fn zoom(&mut self, closer: bool, now: Stamp) {
        let x = self.cursor.map(|at| self.column(at));
        self.zoom = if closer { self.zoom.saturating_sub(1) } else { (self.zoom + 1).min(CELLS.len() - 1) };
        if let (Some(at), Some(x)) = (self.cursor, x) {
            self.start = Stamp(self.snap(at).0.saturating_sub(x.max(0) as u64 * self.cell()));
            self.hold(now);
        }
    }

    /// Moves the cursor: by cells, lanes, half windows, to the ends.
    pub fn go(&mut self, action: Action, rows: &Rows, now: Stamp) {
        match action {
            Action::Up => self.lane = self.lane.saturating_sub(1),
            Action::Down => self.lane = (self.lane + 1).min(self.plan.lanes.len().saturating_sub(1)),
            Action::Bottom => self.follow(),
            Action::Top => {
                self.freeze(now);
                self.cursor = rows.get(rows.ids().start).map(|row| row.at);
                self.hold(now);
            }
            Action::Left | Action::Right => self.pan(action == Action::Left, 1, now),
            Action::PageUp | Action::PageDown => self.pan(action == Action::PageUp, u64::from(self.cells / 2).max(1), now),
            _ => {}
        }
    }

    fn pan(&mut self, back: bool, cells: u64, now: Stamp) {
        self.freeze(now);
        let (at, by) = (self.cursor.unwrap_or(now), self.cell() * cells);
        let to = if back { at.0.saturating_sub(by) } else { at.0 + by };
        if to > now.0 + self.cell() {
            return self.follow();
        }
        self.cursor = Some(Stamp(to));
        if cells > 1 {
            self.start = Stamp(if back { self.start.0.saturating_sub(by) } else { self.start.0 + by });
        }
        self.hold(now);
    }

    /// Stands still where it is.
    pub fn freeze(&mut self, now: Stamp) {
        if self.cursor.is_none() {
            self.start = self.window_start(now);
            self.cursor = Some(now);
        }
    }

    /// Goes to the bar before or after the cursor in its lane.
    pub fn step(&mut self, back: bool, rows: &Rows, now: Stamp) {
        let at = self.cursor.unwrap_or(now);
        let server = self.plan.lanes.get(self.lane).map(|l| l.server.clone());
        let Some(server) = server else { return };
        let mine = |row: &Row| row.call().is_some() && rows.name(row.key).is_some_and(|n| n.server == server);
        let here = rows.from(at);
        let found = if back {
            (rows.ids().start..here).rev().take(MOST as usize).filter_map(|id| rows.get(id)).find(|row| mine(row) && row.at < at)
        } else {
            (here..rows.ids().end).take(MOST as usize).filter_map(|id| rows.get(id)).find(|row| mine(row) && row.at > at)
        };
        if let Some(row) = found {
            self.freeze(now);
            self.cursor = Some(row.at);
            self.hold(now);
        }
    }

    /// Puts the cursor at a cell of the pane.
    pub fn click(&mut self, area: Rect, x: u16, y: u16, now: Stamp) -> bool {
        let (labels, chart) = rooms(area, &self.plan);
        let Some(line) = y.checked_sub(chart.y) else { return false };
        let line = usize::from(line) + self.top;
        if let Some(lane) = self.plan.lanes.iter().position(|l| (l.first..l.first + l.lines).contains(&line)) {
            self.lane = lane;
        }
        if x < labels.right() || x >= chart.right() {
            return false;
        }
        let was = self.cursor.map(|at| self.column(at));
        self.freeze(now);
        let at = Stamp(self.start.0 + u64::from(x - chart.x) * self.cell());
        self.cursor = Some(at.min(now));
        was == Some(self.column(at))
    }

    /// The call under the cursor: in its lane the bar that covers it, or the nearest one.
    pub fn selected(&self, rows: &Rows) -> Option<RowId> {
        let x = self.cursor.map_or(i64::from(self.cells), |at| self.column(at));
        let distance = |bar: &&Bar| (if x < bar.from { bar.from - x } else { (x - bar.to).max(0) }, (x - bar.from).abs());
        let exact = |bar: &Bar| rows.get(bar.id).is_some_and(|row| self.cursor == Some(row.at));
        let mine = || self.plan.bars.iter().filter(|bar| bar.lane == self.lane);
        mine().find(|bar| exact(bar)).or_else(|| mine().min_by_key(distance)).map(|bar| bar.id)
    }

    fn snap(&self, at: Stamp) -> Stamp {
        Stamp(at.0 / self.cell() * self.cell())
    }

    /// Where the window begins when it follows: moving by whole cells, so that bars do not flicker.
    fn window_start(&self, now: Stamp) -> Stamp {
        let cells = u64::from(self.cells.saturating_sub(2).max(1));
        Stamp(self.snap(now).0.saturating_sub((cells - 1) * self.cell()))
    }

    fn column(&self, at: Stamp) -> i64 {
        (self.snap(at).0 as i64 - self.snap(self.start).0 as i64) / self.cell() as i64
    }

    /// Keeps the cursor inside the window.
    fn hold(&mut self, now: Stamp) {
        let Some(at) = self.cursor else { return };
        let at = self.snap(at.min(now)).0;
        let span = self.cell() * u64::from(self.cells.max(1));
        let margin = (span / 10 / self.cell()) * self.cell();
        let start = self.snap(self.start).0;
        self.start =
            Stamp(start.clamp(
                (at + margin + self.cell()).saturating_sub(span),
                at.saturating_sub(margin).max(at.saturating_sub(span - self.cell())),
            ));
    }

    /// Lays the bars out for a pane of this size.
    pub fn fit(&mut self, rows: &Rows, world: &World, now: Stamp, area: Rect) {
        self.plan.lanes = world.servers.iter().map(|s| Lane { server: s.id().as_str().into(), first: 0, lines: 1, hidden: 0 }).collect();
        self.plan.bars.clear();
        let (_, chart) = rooms(area, &self.plan);
        if self.cells != chart.width {
            self.cells = chart.width;
            self.hold(now);
        }
        if self.cursor.is_none() {
            self.start = self.window_start(now);
        }
        self.start = self.snap(self.start);
        self.collect(rows, now);
        self.spread(usize::from(chart.height));
        let lines = self.plan.lanes.last().map_or(0, |l| l.first + l.lines);
        self.lane = self.lane.min(self.plan.lanes.len().saturating_sub(1));
        if let Some(lane) = self.plan.lanes.get(self.lane) {
            self.top = self.top.min(lane.first).max((lane.first + lane.lines).saturating_sub(usize::from(chart.height)));
        }
        self.top = self.top.min(lines.saturating_sub(usize::from(chart.height)));
    }

    /// Finds the calls that the window shows.
    fn collect(&mut self, rows: &Rows, now: Stamp) {
        let end = Stamp(self.start.0 + self.cell() * u64::from(self.cells));
        let lanes: HashMap<Arc<str>, usize> = self.plan.lanes.iter().enumerate().map(|(i, l)| (l.server.clone(), i)).collect();
        let by_key: Vec<Option<usize>> = rows.names().iter().map(|n| lanes.get(&n.server).copied()).collect();
        let first = rows.from(Stamp(self.start.0.saturating_sub(LOOK_BACK.as_nanos() as u64)));
        let last = rows.from(Stamp(end.0.saturating_add(1)));
        self.plan.stride = ((last - first) / MOST).max(1);
        let before = rows.pending().filter(|id| *id < first);
        let ids: Vec<RowId> = before.chain((first..last).step_by(self.plan.stride as usize)).collect();
        for id in ids {
            let Some(row) = rows.get(id).filter(|row| row.call().is_some()) else { continue };
            let until = row.end(now);
            let Some(lane) = by_key.get(usize::from(row.key)).copied().flatten().filter(|_| until >= self.start) else { continue };
            let (from, to) = (self.column(row.at), self.column(until));
            self.plan.bars.push(Bar { id, lane, line: 0, from, to });
        }
    }

    /// Gives overlapping bars lines of their own, as far as there is room.
    fn spread(&mut self, height: usize) {
        let count = self.plan.lanes.len().max(1);
        let most = (height / count).clamp(1, 8);
        let mut ends: Vec<Vec<i64>> = vec![vec![]; self.plan.lanes.len()];
        for bar in &mut self.plan.bars {
            let lines = &mut ends[bar.lane];
            let from = bar.from.max(-1);
            match lines.iter().position(|end| *end < from) {
                Some(line) => (bar.line, lines[line]) = (line, bar.to),
                None if lines.len() < most => {
                    bar.line = lines.len();
                    lines.push(bar.to);
                }
                None => {
                    bar.line = most - 1;
                    lines[most - 1] = lines[most - 1].max(bar.to);
                    self.plan.lanes[bar.lane].hidden += 1;
                }
            }
        }
        let mut first = 0;
        for (lane, ends) in self.plan.lanes.iter_mut().zip(&ends) {
            (lane.first, lane.lines) = (first, ends.len().max(1));
            first += lane.lines;
        }
        // Room that is left keeps lanes apart.
        let spare = height.saturating_sub(first) / count;
        if spare > 0 {
            let mut first = 0;
            for lane in &mut self.plan.lanes {
                lane.first = first;
                first += lane.lines + 1;
            }
        }
    }

    /// Draws the view.
    pub fn draw(&self, rows: &Rows, look: Look, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let title = if look.focused { theme.focus } else { theme.text };
        let key = look.keys.key(&[Context::Timeline], Action::Follow).unwrap_or_default();
        let follow = if self.following() { "following".to_owned() } else { format!("stopped, {key} follows") };
        let stride = if self.plan.stride > 1 { format!("1 of {} calls drawn · ", self.plan.stride) } else { String::new() };
        let right = format!("{stride}{} a cell · {follow}", short(Duration::from_nanos(self.cell())));
        pane(buf, area, &[("Timeline", title)], &[(&right, theme.muted)], look.focused, theme);
        let (labels, chart) = rooms(area, &self.plan);
        self.axis(look, Rect { y: chart.y.saturating_sub(1), height: chart.height.min(1), ..chart }, buf);
        self.names(look, labels, buf);
        let lanes = self.lines().saturating_sub(self.top).min(usize::from(chart.height)) as u16;
        let under = Rect { y: chart.y + lanes, height: chart.height - lanes, x: labels.x, width: labels.width + chart.width };
        let chart = Rect { height: lanes, ..chart };
        self.rules(look, chart, buf);
        for bar in &self.plan.bars {
            let Some(row) = rows.get(bar.id) else { continue };
            let lane = &self.plan.lanes[bar.lane];
            let Some(y) = (lane.first + bar.line).checked_sub(self.top).filter(|y| *y < usize::from(chart.height)) else { continue };
            self.bar(bar, row, rows, look, Rect { y: chart.y + y as u16, height: 1, ..chart }, buf);
        }
        self.cursor_line(rows, look, chart, buf);
        self.list(rows, look, under, buf);
        if area.height >= 6 {
            let foot = Rect { x: area.x + 2, y: area.bottom() - 2, width: area.width.saturating_sub(4), height: 1 };
            self.foot(rows, look, foot, buf);
        }
    }

    /// The times over the lanes.
    fn axis(&self, look: Look, area: Rect, buf: &mut Buffer) {
        let step = tick(self.cell());
        let mut free = area.x;
        for x in 0..area.width {
            let at = self.start.0 + u64::from(x) * self.cell();
            let wall = at + (look.world.epoch.unix_ms % 86_400_000) * 1_000_000;
            let previous = wall.saturating_sub(self.cell());
            if wall / step == previous / step {
                continue;
            }
            let place = area.x + x;
            let text = tick_words(look.world.epoch, Stamp(wall / step * step - (look.world.epoch.unix_ms % 86_400_000) * 1_000_000), step);
            if place >= free && place + width(&text) + 2 <= area.right() {
                Pen::new(buf, Rect { x: place, width: area.right() - place, ..area }, 0)
                    .put("╷", look.theme.border)
                    .put(&text, look.theme.muted);
                free = place + width(&text) + 3;
            }
        }
    }

    fn names(&self, look: Look, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        for (index, lane) in self.plan.lanes.iter().enumerate() {
            let Some(y) = lane.first.checked_sub(self.top).filter(|y| *y < usize::from(area.height)) else { continue };
            let mut pen = Pen::new(buf, area, y as u16);
            let mine = index == self.lane;
            pen.put(if mine { "▸" } else { " " }, theme.key);
            if let Some(server) = look.world.servers.get(index) {
                let (glyph, style) = lamp(&server.phase, theme);
                pen.put(glyph, style).skip(1);
            }
            let room = pen.left().saturating_sub(1);
            pen.put_middle(&lane.server, room, if mine { theme.accent.add_modifier(Modifier::BOLD) } else { theme.accent });
            if lane.hidden > 0 && lane.lines > 1 && y + 1 < usize::from(area.height) {
                Pen::new(buf, area, y as u16 + 1).skip(3).put(&format!("{} overlap", lane.hidden), theme.muted);
            }
        }
    }

    /// Faint lines under the ticks, so that a bar can be followed up to its time.
    fn rules(&self, look: Look, area: Rect, buf: &mut Buffer) {
        let step = tick(self.cell());
        let epoch = (look.world.epoch.unix_ms % 86_400_000) * 1_000_000;
        for x in 0..area.width {
            let wall = self.start.0 + u64::from(x) * self.cell() + epoch;
            if wall / step != wall.saturating_sub(self.cell()) / step {
                for y in 0..area.height {
                    Pen::new(buf, Rect { x: area.x + x, width: 1, ..area }, y).put("┊", look.theme.border);
                }
            }
        }
    }

    fn bar(&self, bar: &Bar, row: &Row, rows: &Rows, look: Look, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let call = row.call().and_then(|id| look.world.call(id));
        let style = match row.state {
            State::Failed(_) => theme.fail,
            State::ToolError => theme.warn,
            State::Cancelled | State::None => theme.muted,
            state if state.pending() => theme.running,
            _ => theme.ok,
        };
        let sent = match row.state {
            State::Queued => bar.to + 1,
            _ => call.and_then(|c| c.sent).map_or(bar.from, |at| self.column(at)),
        };
        let visible = bar.from.max(0)..=bar.to.min(i64::from(area.width) - 1);
        let (mut text, mut waiting) = (String::new(), 0);
        for x in visible.clone() {
            let end = x == bar.to;
            match row.state {
                State::Failed(_) if end => text.push('✕'),
                State::ToolError if end => text.push('!'),
                State::Cancelled if end => text.push('–'),
                state if state.pending() && end => text.push('▸'),
                _ if x < sent => {
                    waiting += 1;
                    text.push('░');
                }
                _ if bar.from == bar.to => text.push('▪'),
                _ => text.push('▓'),
            }
        }
        let place =
            Rect { x: area.x.saturating_add(*visible.start() as u16), width: area.width.saturating_sub(*visible.start() as u16), ..area };
        let mut pen = Pen::new(buf, place, 0);
        let split = text.char_indices().nth(waiting).map_or(text.len(), |(at, _)| at);
        pen.put(&text[..split], theme.muted).put(&text[split..], style);
        // A long bar carries its name, when nothing follows close by.
        let name = rows.name(row.key).map(|n| n.tool.clone()).unwrap_or_default();
        let long = visible.count() as u16;
        if long >= width(&name) + 6 {
            let inside = Rect { x: place.x + 1 + waiting.min(2) as u16, width: width(&name) + 2, ..place };
            Pen::new(buf, inside, 0).put(" ", style).put(&name, style.add_modifier(Modifier::BOLD)).put(" ", style);
        }
    }

    fn cursor_line(&self, rows: &Rows, look: Look, chart: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let x = self.cursor.map_or_else(|| self.column(look.now), |at| self.column(at));
        let Some(x) = u16::try_from(x).ok().filter(|x| *x < chart.width) else { return };
        for y in 0..chart.height {
            let place = (chart.x + x, chart.y + y);
            if let Some(cell) = buf.cell_mut(place) {
                if matches!(cell.symbol(), " " | "┊") {
                    cell.set_symbol(if self.following() { "╎" } else { "│" }).set_style(if self.following() {
                        theme.border
                    } else {
                        theme.focus
                    });
                } else if !self.following() {
                    cell.set_style(Style::new().add_modifier(Modifier::REVERSED));
                }
            }
        }
        // The selected bar is the one that Enter opens.
        let Some(id) = self.selected(rows).filter(|_| !self.following()) else { return };
        if let Some(bar) = self.plan.bars.iter().find(|b| b.id == id) {
            let lane = &self.plan.lanes[bar.lane];
            if let Some(y) = (lane.first + bar.line).checked_sub(self.top).filter(|y| *y < usize::from(chart.height)) {
                let from = bar.from.clamp(0, i64::from(chart.width)) as u16;
                let to = (bar.to + 1).clamp(0, i64::from(chart.width)) as u16;
                let place = Rect { x: chart.x + from, y: chart.y + y as u16, width: to.saturating_sub(from), height: 1 };
                buf.set_style(place.intersection(buf.area), look.selection());
            }
        }
    }

    /// Lines that the lanes take.
    fn lines(&self) -> usize {
        self.plan.lanes.last().map_or(0, |l| l.first + l.lines)
    }

    /// In the room under the lanes: the calls that ran at the cursor, or the last ones while it follows.
    fn list(&self, rows: &Rows, look: Look, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        if area.height < 4 {
            return;
        }
        let x = self.cursor.map_or_else(|| self.column(look.now), |at| self.column(at));
        let mut bars: Vec<&Bar> = self.plan.bars.iter().filter(|b| self.following() || (b.from..=b.to).contains(&x)).collect();
        bars.sort_by_key(|bar| std::cmp::Reverse(bar.id));
        let at = look.world.epoch.time_of_day(self.cursor.unwrap_or(look.now));
        let head = match (self.following(), bars.len()) {
            (true, _) => " The last calls ".to_owned(),
            (false, 0) => format!(" Nothing ran at {at} "),
            (false, n) => format!(" {n} ran at {at} "),
        };
        let mut pen = Pen::new(buf, area, 1);
        pen.put("──", theme.border).put(&head, theme.muted);
        pen.put(&"─".repeat(usize::from(pen.left())), theme.border);
        for (y, bar) in bars.iter().take(usize::from(area.height - 2)).enumerate() {
            let Some(row) = rows.get(bar.id) else { continue };
            let name = rows.name(row.key);
            let call = row.call().and_then(|id| look.world.call(id));
            let (glyph, words, style) = outcome(row, call, look);
            let mut pen = Pen::new(buf, area, y as u16 + 2);
            let start = pen.x();
            pen.skip(1).put(&look.world.epoch.time_of_day(row.at), theme.muted).skip(1);
            pen.put_middle(name.map_or("…", |n| &n.server), 14, theme.accent).to(start + 29);
            pen.put_middle(name.map_or("…", |n| &n.tool), 30, theme.text).to(start + 60);
            pen.put(&format!("{:>9}  ", short(row.end(look.now).since(row.at))), theme.text);
            pen.put(&format!("{glyph} {words}"), style);
        }
    }

    /// The time under the cursor and what ran then.
    fn foot(&self, rows: &Rows, look: Look, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let at = self.cursor.unwrap_or(look.now);
        let mut pen = Pen::new(buf, area, 0);
        pen.put(&look.world.epoch.time_of_day(at), theme.focus).put("  ", theme.text);
        if let Some(id) = self.selected(rows)
            && let Some(row) = rows.get(id).filter(|_| !self.following())
        {
            let call = row.call().and_then(|id| look.world.call(id));
            let (glyph, words, style) = outcome(row, call, look);
            let name = rows.name(row.key).map_or_else(String::new, |n| format!("{} {}", n.server, n.tool));
            pen.put(&name, theme.accent).put(&format!("  {glyph} {words}"), style);
            pen.put(&format!("  {}   ", short(row.end(look.now).since(row.at))), theme.text);
        }
        let x = self.cursor.map_or_else(|| self.column(look.now), |at| self.column(at));
        let running = self.plan.bars.iter().filter(|bar| (bar.from..=bar.to).contains(&x)).count();
        let then = if self.following() { "now" } else { "then" };
        let words = match running {
            0 => format!("nothing ran {then}"),
            n => format!("{n} ran {then}"),
        };
        pen.put(
            &if self.following() { words.replace("ran", "running").replace("nothing running", "nothing runs") } else { words },
            theme.muted,
        );
        let legend = "  ░ queued  ▓ wire  · waits  ✕ failed  ▸ running";
        pen.right(&[(legend, theme.muted)]);
    }
}

/// The rooms of the lanes' names and of the bars: inside the border, under the axis, over the foot.
fn rooms(area: Rect, plan: &Plan) -> (Rect, Rect) {
    let names = plan.lanes.iter().map(|l| width(&l.server)).max().unwrap_or(0) + 5;
    let names = if area.width < 40 { 4 } else { names.clamp(8, area.width / 4) };
    let inner = Rect {
        x: area.x + 1,
        y: area.y + 2,
        width: area.width.saturating_sub(2),
        height: area.height.saturating_sub(if area.height >= 6 { 4 } else { 3 }),
    };
    let labels = Rect { width: names.min(inner.width), ..inner };
    (labels, Rect { x: inner.x + labels.width, width: inner.width - labels.width, ..inner })
}

/// The time between two labels of the axis: a round time that is at least 14 cells long.
fn tick(cell: u64) -> u64 {
    const STEPS: [u64; 26] = [
        100_000,
        200_000,
        500_000,
        1_000_000,
        2_000_000,
        5_000_000,
        10_000_000,
        20_000_000,
        50_000_000,
        100_000_000,
        200_000_000,
        500_000_000,
        1_000_000_000,
        2_000_000_000,
        5_000_000_000,
        10_000_000_000,
        15_000_000_000,
        30_000_000_000,
        60_000_000_000,
        120_000_000_000,
        300_000_000_000,
        600_000_000_000,
        900_000_000_000,
        1_800_000_000_000,
        3_600_000_000_000,
        7_200_000_000_000,
    ];
    STEPS.into_iter().find(|step| *step >= cell * 14).unwrap_or(7_200_000_000_000)
}

/// A label of the axis, as exact as the ticks need it.
fn tick_words(epoch: Epoch, at: Stamp, step: u64) -> String {
    let time = epoch.time_of_day(at);
    match step {
        s if s >= 1_000_000_000 => time[..8].to_owned(),
        s if s >= 100_000_000 => time[..10].to_owned(),
        s if s >= 1_000_000 => time,
        _ => format!("{time}{:03}", at.0 / 1000 % 1000),
    }
}
