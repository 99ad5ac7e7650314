//! Calls as bars on a shared time axis, one lane a server. Draws only what the window of time shows.
//!
//! `░` queued, `▓` on the wire, `·` waiting to try again, `✕` failed, `▸` still running: readable without colour.
//! Under them a lane a run of a workflow. State and moves are here, what is shown is worked out in `plan`, and drawn in `draw`.

mod draw;
mod plan;
mod runs;
mod shades;

use crossterm::event::KeyEvent;
use ratatui::layout::Rect;

use crate::{
    domain::{read_model::ConsoleState, time::Stamp},
    tui::{
        action::Action,
        filter::Filter,
        filter_index::{FILTER_STEP, Index},
        rows::{Row, RowId, Rows},
    },
};

use plan::{Bar, Plan, Scale, rooms};
use runs::run_of;

use super::query::FilterLine;

/// Calls looked at to find the next one of a lane.
const NEAR: usize = 20_000;
/// From this height on, the filter line is there before it is used.
const ROOMY: u16 = 14;

/// Zoom, place, cursor and filter.
pub struct Timeline {
    scale: Scale,
    /// The time under the cursor; `None` follows now.
    cursor: Option<Stamp>,
    /// The lane under the cursor.
    lane: usize,
    /// First visible line of the lanes.
    top: usize,
    /// The bars as they were laid out last.
    plan: Plan,
    query: FilterLine,
    index: Index,
}

impl Timeline {
    /// A timeline of all calls, following now.
    pub fn new(rows: &Rows) -> Timeline {
        Timeline {
            scale: Scale::default(),
            cursor: None,
            lane: 0,
            top: 0,
            plan: Plan::default(),
            query: FilterLine::default(),
            index: Index::new(Filter::default(), rows),
        }
    }

    /// Takes in rows that were added, and those that changed.
    pub fn update(&mut self, rows: &Rows, changed: &[RowId]) {
        self.index.update(rows, changed);
    }

    /// Whether a filter is not done.
    pub fn working(&self, rows: &Rows) -> bool {
        self.index.working(rows)
    }

    /// Does a few milliseconds of that.
    pub fn work(&mut self, rows: &Rows) {
        self.index.step(rows, FILTER_STEP);
    }

    /// The filter line.
    pub fn query(&self) -> &FilterLine {
        &self.query
    }

    /// Begins to write the filter.
    pub fn edit(&mut self, rows: &Rows) {
        self.query.edit(rows);
    }

    /// Ends writing: keeps the filter, or goes back to the one before.
    pub fn end_edit(&mut self, keep: bool, rows: &Rows) {
        let other = self.query.end_edit(keep);
        self.refilter(other, rows);
    }

    /// Takes a key into the filter line.
    pub fn key(&mut self, key: KeyEvent, rows: &Rows) {
        let other = self.query.key(key, rows);
        self.refilter(other, rows);
    }

    /// Takes pasted text into the filter line.
    pub fn paste(&mut self, text: &str, rows: &Rows) {
        let other = self.query.paste(text, rows);
        self.refilter(other, rows);
    }

    /// Sets the filter.
    pub fn set_filter(&mut self, text: &str, rows: &Rows) {
        let other = self.query.set(text);
        self.refilter(other, rows);
    }

    /// Takes the next completion of the word that is being written.
    pub fn complete(&mut self, rows: &Rows) {
        let other = self.query.complete(rows);
        self.refilter(other, rows);
    }

    fn refilter(&mut self, other: bool, rows: &Rows) {
        if other {
            self.index = Index::new(self.query.filter().clone(), rows);
            self.index.step(rows, FILTER_STEP);
        }
    }

    /// Rows over the axis: the filter line and what is wrong with it.
    fn head(&self, area: Rect) -> u16 {
        if area.height >= ROOMY || self.query.used() { 1 + self.query.notes(area.width.saturating_sub(2)) } else { 0 }
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
        let span = self.scale.span();
        self.following() && rows.ids().next_back().and_then(|id| rows.get(id)).is_some_and(|row| row.end(now).0 + span > now.0)
    }

    /// Makes the cells shorter or longer in time; the time under the cursor stays where it is.
    pub fn zoom(&mut self, closer: bool, now: Stamp) {
        let x = self.cursor.map(|at| self.scale.column(at));
        self.scale.zoom(closer);
        if let (Some(at), Some(x)) = (self.cursor, x) {
            self.scale.start = Stamp(self.scale.snap(at).0.saturating_sub(x.max(0) as u64 * self.scale.cell()));
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
            Action::PageUp | Action::PageDown => self.pan(action == Action::PageUp, u64::from(self.scale.cells / 2).max(1), now),
            _ => {}
        }
    }

    fn pan(&mut self, back: bool, cells: u64, now: Stamp) {
        self.freeze(now);
        let (at, by) = (self.cursor.unwrap_or(now), self.scale.cell() * cells);
        let to = if back { at.0.saturating_sub(by) } else { at.0 + by };
        if to > now.0 + self.scale.cell() {
            return self.follow();
        }
        self.cursor = Some(Stamp(to));
        if cells > 1 {
            self.scale.start = Stamp(if back { self.scale.start.0.saturating_sub(by) } else { self.scale.start.0 + by });
        }
        self.hold(now);
    }

    /// Stands still where it is.
    pub fn freeze(&mut self, now: Stamp) {
        if self.cursor.is_none() {
            self.scale.start = self.window_start(now);
            self.cursor = Some(now);
        }
    }

    /// Goes to the bar before or after the cursor in its lane.
    pub fn step(&mut self, back: bool, rows: &Rows, now: Stamp) {
        let at = self.cursor.unwrap_or(now);
        let Some((server, run)) = self.plan.lanes.get(self.lane).map(|l| (l.server.clone(), l.run)) else { return };
        let mine = |row: &Row| match run {
            Some(run) => rows.step_of(row).is_some_and(|step| step.run == run),
            None => row.call().is_some() && rows.name(row.key).is_some_and(|n| n.server == server),
        };
        let here = self.index.before(rows, rows.from(at));
        let row_at = |place: usize| self.index.at(rows, place).and_then(|id| rows.get(id));
        let found = if back {
            (0..here).rev().take(NEAR).filter_map(row_at).find(|row| mine(row) && row.at < at)
        } else {
            (here..self.index.len(rows)).take(NEAR).filter_map(row_at).find(|row| mine(row) && row.at > at)
        };
        if let Some(row) = found {
            self.freeze(now);
            self.cursor = Some(row.at);
            self.hold(now);
        }
    }

    /// Whether the filter line stands in this row of the pane.
    pub fn query_at(&self, area: Rect, y: u16) -> bool {
        self.head(area) > 0 && y == area.y + 1
    }

    /// Puts the cursor at a cell of the pane.
    pub fn click(&mut self, area: Rect, x: u16, y: u16, now: Stamp) -> bool {
        let (labels, chart) = rooms(area, self.head(area), &self.plan);
        let Some(line) = y.checked_sub(chart.y) else { return false };
        let line = usize::from(line) + self.top;
        if let Some(lane) = self.plan.lanes.iter().position(|l| (l.first..l.first + l.lines).contains(&line)) {
            self.lane = lane;
        }
        if x < labels.right() || x >= chart.right() {
            return false;
        }
        let was = self.cursor.map(|at| self.scale.column(at));
        self.freeze(now);
        let at = self.scale.at(x - chart.x);
        self.cursor = Some(at.min(now));
        was == Some(self.scale.column(at))
    }

    /// The call under the cursor: in its lane the bar that covers it, or the nearest one.
    pub fn selected(&self, rows: &Rows) -> Option<RowId> {
        let x = self.cursor.map_or(i64::from(self.scale.cells), |at| self.scale.column(at));
        let distance = |bar: &&Bar| (if x < bar.from { bar.from - x } else { (x - bar.to).max(0) }, (x - bar.from).abs());
        let exact = |bar: &Bar| rows.get(bar.id).is_some_and(|row| self.cursor == Some(row.at));
        let run = self.run_here();
        let mine = || self.plan.bars.iter().filter(move |bar| if run.is_some() { run_of(bar, rows) == run } else { bar.lane == self.lane });
        mine().find(|bar| exact(bar)).or_else(|| mine().min_by_key(distance)).map(|bar| bar.id)
    }

    /// Where the window begins when it follows: moving by whole cells, so that bars do not flicker.
    fn window_start(&self, now: Stamp) -> Stamp {
        let cells = u64::from(self.scale.cells.saturating_sub(2).max(1));
        Stamp(self.scale.snap(now).0.saturating_sub((cells - 1) * self.scale.cell()))
    }

    /// Keeps the cursor inside the window.
    fn hold(&mut self, now: Stamp) {
        let Some(at) = self.cursor else { return };
        let at = self.scale.snap(at.min(now)).0;
        let span = self.scale.span();
        let margin = (span / 10 / self.scale.cell()) * self.scale.cell();
        let start = self.scale.snap(self.scale.start).0;
        self.scale.start = Stamp(start.clamp(
            (at + margin + self.scale.cell()).saturating_sub(span),
            at.saturating_sub(margin).max(at.saturating_sub(span - self.scale.cell())),
        ));
    }

    /// Lays the bars out for a pane of this size.
    pub fn fit(&mut self, rows: &Rows, read_model: &ConsoleState, now: Stamp, area: Rect) {
        let run = self.run_here();
        self.plan.clear(read_model);
        let (_, chart) = rooms(area, self.head(area), &self.plan);
        if self.scale.cells != chart.width {
            self.scale.cells = chart.width;
            self.hold(now);
        }
        if self.cursor.is_none() {
            self.scale.start = self.window_start(now);
        }
        self.scale.start = self.scale.snap(self.scale.start);
        self.plan.collect(&self.scale, rows, &self.index, now);
        self.plan.add_runs(rows, usize::from(chart.height));
        self.plan.spread(usize::from(chart.height));
        // Lanes of runs come and go: the cursor stays on its own.
        if let Some(lane) = run.and_then(|run| self.plan.lanes.iter().position(|lane| lane.run == Some(run))) {
            self.lane = lane;
        }
        self.lane = self.lane.min(self.plan.lanes.len().saturating_sub(1));
        if let Some(lane) = self.plan.lanes.get(self.lane) {
            self.top = self.top.min(lane.first).max((lane.first + lane.lines).saturating_sub(usize::from(chart.height)));
        }
        self.top = self.top.min(self.plan.lines().saturating_sub(usize::from(chart.height)));
    }
}
