//! The layout of the timeline: the time scale, and the bars of the visible window on their lanes and lines.

use std::{collections::HashMap, sync::Arc};

use ratatui::layout::Rect;

use super::Zoom;
use crate::{
    domain::{run::RunId, time::Stamp},
    state::ConsoleState,
    tui::{
        filter_index::Index,
        rows::{ClientKey, LONG, RowId, Rows},
        widget::paint::width,
    },
};

/// The most rows in one frame. Of more rows, only every second, third, … is drawn.
const MOST: usize = 20_000;
/// The zoom steps: from 10 µs to 100 s a column.
const ZOOMS: usize = 22;
/// The initial zoom step: 200 ms per column, 20 s on 100 columns.
const START: usize = 13;

/// Returns a round time in nanoseconds: 1, 2, 5, 10, … times 10 µs.
pub(super) fn round_time(step: usize) -> u64 {
    [1, 2, 5][step % 3] * 10_u64.pow(4 + step as u32 / 3)
}

/// The time window, in columns of equal length.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeScale {
    zoom: usize,
    /// The left edge.
    pub start: Stamp,
    /// The columns of the window.
    pub cells: u16,
}

impl Default for TimeScale {
    fn default() -> Self {
        TimeScale { zoom: START, start: Stamp::default(), cells: 0 }
    }
}

impl TimeScale {
    /// Returns the nanoseconds of a column.
    pub fn cell(&self) -> u64 {
        round_time(self.zoom.min(ZOOMS - 1))
    }

    /// Returns the nanoseconds of the window.
    pub fn span(&self) -> u64 {
        self.cell() * u64::from(self.cells.max(1))
    }

    /// Changes the zoom by one step.
    pub fn zoom(&mut self, zoom: Zoom) {
        self.zoom = match zoom {
            Zoom::In => self.zoom.saturating_sub(1),
            Zoom::Out => (self.zoom + 1).min(ZOOMS - 1),
        };
    }

    /// Returns the start of the column that contains a time.
    pub fn snap(&self, at: Stamp) -> Stamp {
        Stamp(at.0 / self.cell() * self.cell())
    }

    /// Returns the column of a time, from 0 at the left edge.
    pub fn column(&self, at: Stamp) -> i64 {
        (self.snap(at).0 as i64 - self.snap(self.start).0 as i64) / self.cell() as i64
    }

    /// Returns the time at the left of a column.
    pub fn at(&self, cell: u16) -> Stamp {
        Stamp(self.start.0 + u64::from(cell) * self.cell())
    }
}

/// One bar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    pub id: RowId,
    pub lane: usize,
    pub line: usize,
    pub from: i64,
    pub to: i64,
}

/// What the lanes above those of runs are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LanesBy {
    /// Servers and groups.
    #[default]
    Server,
    /// The clients that requested the calls.
    Client,
}

/// The lane of a server, a group, a client or a run.
pub(super) struct Lane {
    /// The name of the server, the group or the client, or the workflow of a run.
    pub name: Arc<str>,
    /// The client of a client lane.
    pub client: Option<ClientKey>,
    /// The run of a run lane.
    pub run: Option<RunId>,
    pub first: usize,
    pub lines: usize,
    /// Calls that share a line with others because the lane is full.
    pub hidden: usize,
}

impl Lane {
    /// Creates an empty lane of a server or group.
    pub fn new(name: Arc<str>) -> Lane {
        Lane { name, client: None, run: None, first: 0, lines: 1, hidden: 0 }
    }

    /// Creates an empty lane of a client. A name that another client has is followed by the number.
    fn of_client(key: ClientKey, rows: &Rows) -> Lane {
        let name = match rows.client(key) {
            None => "this process".into(),
            Some(client) => {
                let name = client.label();
                let is_ambiguous = rows.clients().any(|(other, known)| other != key && known.name == client.name);
                if is_ambiguous && client.name.is_some() { format!("{name} {}", client.id).into() } else { name }
            }
        };
        Lane { client: Some(key), ..Lane::new(name) }
    }
}

/// Lanes, lines and bars of the window.
#[derive(Default)]
pub(super) struct TimelineLayout {
    pub lanes: Vec<Lane>,
    pub bars: Vec<Bar>,
    /// One of this many calls is drawn.
    pub stride: usize,
}

impl TimelineLayout {
    /// Resets to empty lanes: one per server and one per group of replicas, or one per connected client that made a call.
    pub fn clear(&mut self, by: LanesBy, rows: &Rows, read_model: &ConsoleState) {
        self.lanes = match by {
            LanesBy::Server => {
                let groups = read_model.rules.routing.groups.iter().map(|group| &group.id);
                let ids = read_model.servers.iter().map(|s| s.id()).chain(groups);
                ids.map(|id| Lane::new(id.as_str().into())).collect()
            }
            LanesBy::Client => {
                let is_connected = |id| read_model.clients.get(id).is_some_and(|client| client.until.is_none());
                let connected = rows.clients().filter(|(_, client)| is_connected(client.id)).map(|(key, _)| key);
                std::iter::once(ClientKey::NONE).chain(connected).map(|key| Lane::of_client(key, rows)).collect()
            }
        };
        self.bars.clear();
    }

    /// Returns the lines that the lanes take.
    pub fn lines(&self) -> usize {
        self.lanes.last().map_or(0, |l| l.first + l.lines)
    }

    /// Collects the calls that pass the filter and overlap the window.
    pub fn collect(&mut self, scale: &TimeScale, rows: &Rows, index: &Index, now: Stamp) {
        let end = Stamp(scale.start.0 + scale.cell() * u64::from(scale.cells));
        let by_client = self.lanes.iter().any(|lane| lane.client.is_some());
        let lanes: HashMap<Arc<str>, usize> = self.lanes.iter().enumerate().map(|(i, l)| (l.name.clone(), i)).collect();
        let by_key: Vec<Option<usize>> = rows.names().iter().map(|n| lanes.get(&n.server).copied()).collect();
        let mut clients: HashMap<ClientKey, usize> = self.lanes.iter().enumerate().filter_map(|(i, l)| Some((l.client?, i))).collect();
        let begin = Stamp(scale.start.0.saturating_sub(LONG.as_nanos() as u64));
        let (first, last) = (rows.from(begin), rows.from(Stamp(end.0.saturating_add(1))));
        let (low, high) = (index.before(rows, first), index.before(rows, last));
        self.stride = ((high - low) / MOST).max(1);
        // Calls that started long before the window are found by their duration.
        let pending = rows.pending().filter(|id| *id < first);
        let early = pending.chain(rows.long_before(scale.start)).filter(|id| index.holds(rows, *id)).take(MOST);
        let inside = (low..high).step_by(self.stride).filter_map(|place| index.at(rows, place));
        for id in early.chain(inside) {
            let Some(row) = rows.get(id).filter(|row| row.call().is_some()) else { continue };
            let until = row.end(now);
            if until < scale.start {
                continue;
            }
            let lane = match by_client {
                false => by_key.get(usize::from(row.key)).copied().flatten(),
                // A client that is not connected has a lane while its calls are in the window.
                true => Some(*clients.entry(rows.client_key(id)).or_insert_with_key(|key| {
                    self.lanes.push(Lane::of_client(*key, rows));
                    self.lanes.len() - 1
                })),
            };
            let Some(lane) = lane else { continue };
            self.bars.push(Bar { id, lane, line: 0, from: scale.column(row.at), to: scale.column(until) });
        }
        self.bars.sort_unstable_by_key(|bar| bar.id);
    }

    /// Places overlapping bars on separate lines as far as there is room.
    pub fn spread(&mut self, height: usize) {
        let count = self.lanes.len().max(1);
        let most = (height / count).clamp(1, 8);
        let mut ends: Vec<Vec<i64>> = vec![vec![]; self.lanes.len()];
        for bar in &mut self.bars {
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
                    self.lanes[bar.lane].hidden += 1;
                }
            }
        }
        let mut first = 0;
        for (lane, ends) in self.lanes.iter_mut().zip(&ends) {
            (lane.first, lane.lines) = (first, ends.len().max(1));
            first += lane.lines;
        }
        // Spare lines separate the lanes.
        let spare = height.saturating_sub(first) / count;
        if spare > 0 {
            let mut first = 0;
            for lane in &mut self.lanes {
                lane.first = first;
                first += lane.lines + 1;
            }
        }
    }
}

/// Returns the areas of the lane names and of the bars: inside the border, below `head` rows and the axis, above the foot.
pub(super) fn areas(area: Rect, head: u16, layout: &TimelineLayout) -> (Rect, Rect) {
    // Names of runs do not widen the column, because runs come and go and the axis must not move.
    let names = layout.lanes.iter().filter(|l| l.run.is_none()).map(|l| width(&l.name)).max().unwrap_or(0) + 5;
    let names = if area.width < 40 { 4 } else { names.clamp(8, area.width / 4) };
    let foot = if area.height >= 6 { 4 } else { 3 };
    let inner = Rect {
        x: area.x + 1,
        y: area.y.saturating_add(2 + head),
        width: area.width.saturating_sub(2),
        height: area.height.saturating_sub(foot + head),
    };
    let labels = Rect { width: names.min(inner.width), ..inner };
    (labels, Rect { x: inner.x + labels.width, width: inner.width - labels.width, ..inner })
}
