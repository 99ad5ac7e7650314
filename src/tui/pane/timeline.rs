//! The timeline: calls as bars on a shared time axis, one lane per server, and below them one lane per workflow run.
//!
//! `░` queued, `▓` on the wire, `·` backoff, `✕` failed, `▸` running: readable without colour. This module owns the state
//! and the cursor, `layout` places the bars of the visible time window, and `draw` draws them.

mod draw;
mod layout;
mod runs;
mod segmented_bar;

use ratatui::layout::{Position, Rect};

use crate::{
    domain::time::Stamp,
    state::ConsoleState,
    tui::{
        action::Action,
        filter_index::FILTER_STEP,
        rows::{Row, RowId, Rows},
        widget::window::Direction,
    },
};

use layout::{Bar, LanesBy, TimeScale, TimelineLayout, areas};
use runs::run_of;

use super::{
    filter_line::FilterLine,
    filtered_rows::{FilteredRows, OnQuery},
};

/// The most calls that are scanned for the next one of a lane.
const NEAR: usize = 20_000;
/// The pane height from which on the filter line is always shown.
const ROOMY: u16 = 14;

/// The direction of a zoom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zoom {
    /// Less time per column.
    In,
    /// More time per column.
    Out,
}

/// The timeline's zoom, position, cursor and filter.
pub struct Timeline {
    scale: TimeScale,
    lanes_by: LanesBy,
    /// The time under the cursor; `None` follows now.
    cursor: Option<Stamp>,
    /// The lane under the cursor.
    lane: usize,
    /// The first visible line of the lanes.
    top: usize,
    /// The layout of the last frame.
    layout: TimelineLayout,
    filtered: FilteredRows,
}

impl Timeline {
    /// Creates a timeline of all calls that follows the current time.
    pub fn new(rows: &Rows) -> Timeline {
        Timeline {
            scale: TimeScale::default(),
            lanes_by: LanesBy::default(),
            cursor: None,
            lane: 0,
            top: 0,
            layout: TimelineLayout::default(),
            filtered: FilteredRows::new(rows),
        }
    }

    /// Updates the index after rows were added or changed.
    pub fn update(&mut self, rows: &Rows, changed: &[RowId]) {
        self.filtered.index.update(rows, changed);
    }

    /// Returns whether the filter is still being applied.
    pub fn working(&self, rows: &Rows) -> bool {
        self.filtered.index.working(rows)
    }

    /// Applies the filter for a few milliseconds.
    pub fn work(&mut self, rows: &Rows) {
        self.filtered.index.step(rows, FILTER_STEP);
    }

    /// Returns the filter line.
    pub fn query(&self) -> &FilterLine {
        &self.filtered.query
    }

    /// Applies an operation to the filter line.
    pub fn on_query(&mut self, what: OnQuery, rows: &Rows) {
        self.filtered.on_query(what, rows);
    }

    /// Returns the rows above the axis: the filter line and its mistake.
    fn head(&self, area: Rect) -> u16 {
        if area.height >= ROOMY || self.filtered.query.is_visible() {
            1 + self.filtered.query.note_height(area.width.saturating_sub(2))
        } else {
            0
        }
    }

    /// Returns whether the window follows the current time.
    pub fn following(&self) -> bool {
        self.cursor.is_none()
    }

    /// Follows the current time.
    pub fn follow(&mut self) {
        self.cursor = None;
    }

    /// Returns whether the picture moves with time: the window follows, and it shows a call.
    pub fn moving(&self, rows: &Rows, now: Stamp) -> bool {
        let span = self.scale.span();
        self.following() && rows.ids().next_back().and_then(|id| rows.get(id)).is_some_and(|row| row.end(now).0 + span > now.0)
    }

    /// Changes the time per column. The time under the cursor keeps its column.
    pub fn zoom(&mut self, zoom: Zoom, now: Stamp) {
        let x = self.cursor.map(|at| self.scale.column(at));
        self.scale.zoom(zoom);
        if let (Some(at), Some(x)) = (self.cursor, x) {
            self.scale.start = Stamp(self.scale.snap(at).0.saturating_sub(x.max(0) as u64 * self.scale.cell()));
            self.hold(now);
        }
    }

    /// Moves the cursor by columns, lanes or half windows, or to an end.
    pub fn go(&mut self, action: Action, rows: &Rows, now: Stamp) {
        match action {
            Action::Up => self.lane = self.lane.saturating_sub(1),
            Action::Down => self.lane = (self.lane + 1).min(self.layout.lanes.len().saturating_sub(1)),
            Action::Bottom => self.follow(),
            Action::Top => {
                self.freeze(now);
                self.cursor = rows.get(rows.ids().start).map(|row| row.at);
                self.hold(now);
            }
            Action::Left | Action::Right => self.pan(Direction::backward_if(action == Action::Left), 1, now),
            Action::PageUp | Action::PageDown => {
                let half = u64::from(self.scale.cells / 2).max(1);
                self.pan(Direction::backward_if(action == Action::PageUp), half, now);
            }
            _ => {}
        }
    }

    /// Draws lanes by client, or by server again.
    pub fn toggle_lanes(&mut self) {
        (self.lane, self.top) = (0, 0);
        self.lanes_by = match self.lanes_by {
            LanesBy::Server => LanesBy::Client,
            LanesBy::Client => LanesBy::Server,
        };
    }

    fn pan(&mut self, direction: Direction, cells: u64, now: Stamp) {
        let back = direction == Direction::Backward;
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

    /// Stops following and stays at the current window.
    pub fn freeze(&mut self, now: Stamp) {
        if self.cursor.is_none() {
            self.scale.start = self.window_start(now);
            self.cursor = Some(now);
        }
    }

    /// Moves the cursor to the previous or the next call of its lane.
    pub fn step(&mut self, direction: Direction, rows: &Rows, now: Stamp) {
        let at = self.cursor.unwrap_or(now);
        let Some(lane) = self.layout.lanes.get(self.lane) else { return };
        let in_lane = |(id, row): &(RowId, &Row)| match (lane.run, lane.client) {
            (Some(run), _) => rows.step_of(row).is_some_and(|step| step.run == run),
            (None, Some(client)) => row.call().is_some() && rows.client_key(*id) == client,
            (None, None) => row.call().is_some() && rows.name(row.key).is_some_and(|n| n.server == lane.name),
        };
        let position = self.filtered.index.before(rows, rows.from(at));
        let row_at = |place: usize| self.filtered.index.at(rows, place).and_then(|id| Some((id, rows.get(id)?)));
        let found = match direction {
            Direction::Backward => (0..position).rev().take(NEAR).filter_map(row_at).find(|row| in_lane(row) && row.1.at < at),
            Direction::Forward => {
                (position..self.filtered.index.len(rows)).take(NEAR).filter_map(row_at).find(|row| in_lane(row) && row.1.at > at)
            }
        };
        if let Some((_, row)) = found {
            self.freeze(now);
            self.cursor = Some(row.at);
            self.hold(now);
        }
    }

    /// Puts the cursor at a cell of the lanes, which were drawn in `area` with their labels. Returns whether it was in this
    /// column already.
    pub fn click(&mut self, area: Rect, cell: Position, now: Stamp) -> bool {
        let line = usize::from(cell.y.saturating_sub(area.y)) + self.top;
        if let Some(lane) = self.layout.lanes.iter().position(|l| (l.first..l.first + l.lines).contains(&line)) {
            self.lane = lane;
        }
        let start = area.right().saturating_sub(self.scale.cells);
        let Some(column) = cell.x.checked_sub(start) else { return false };
        let was = self.cursor.map(|at| self.scale.column(at));
        self.freeze(now);
        let at = self.scale.at(column);
        self.cursor = Some(at.min(now));
        was == Some(self.scale.column(at))
    }

    /// Returns the call under the cursor: the bar of the lane that covers the cursor, or the nearest one.
    pub fn selected(&self, rows: &Rows) -> Option<RowId> {
        let x = self.cursor.map_or(i64::from(self.scale.cells), |at| self.scale.column(at));
        let distance = |bar: &&Bar| (if x < bar.from { bar.from - x } else { (x - bar.to).max(0) }, (x - bar.from).abs());
        let exact = |bar: &Bar| rows.get(bar.id).is_some_and(|row| self.cursor == Some(row.at));
        let run = self.run_here();
        let lane_bars =
            || self.layout.bars.iter().filter(move |bar| if run.is_some() { run_of(bar, rows) == run } else { bar.lane == self.lane });
        lane_bars().find(|bar| exact(bar)).or_else(|| lane_bars().min_by_key(distance)).map(|bar| bar.id)
    }

    /// Returns the start of a following window. It moves by whole columns, so that bars do not flicker.
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

    /// Lays out the bars for a pane of this size.
    pub fn fit(&mut self, rows: &Rows, read_model: &ConsoleState, now: Stamp, area: Rect) {
        let run = self.run_here();
        self.layout.clear(self.lanes_by, rows, read_model);
        let (_, chart) = areas(area, self.head(area), &self.layout);
        if self.scale.cells != chart.width {
            self.scale.cells = chart.width;
            self.hold(now);
        }
        if self.cursor.is_none() {
            self.scale.start = self.window_start(now);
        }
        self.scale.start = self.scale.snap(self.scale.start);
        self.layout.collect(&self.scale, rows, &self.filtered.index, now);
        self.layout.add_runs(rows, usize::from(chart.height));
        self.layout.spread(usize::from(chart.height));
        // Run lanes come and go, so the cursor is moved along with its run.
        if let Some(lane) = run.and_then(|run| self.layout.lanes.iter().position(|lane| lane.run == Some(run))) {
            self.lane = lane;
        }
        self.lane = self.lane.min(self.layout.lanes.len().saturating_sub(1));
        if let Some(lane) = self.layout.lanes.get(self.lane) {
            self.top = self.top.min(lane.first).max((lane.first + lane.lines).saturating_sub(usize::from(chart.height)));
        }
        self.top = self.top.min(self.layout.lines().saturating_sub(usize::from(chart.height)));
    }
}
