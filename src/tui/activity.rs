//! The activity of the last minute: one lane per server. Pure.
//!
//! A lane is a ring of tenths of a second, so its size and the cost of a frame do not depend on the number of
//! calls, and adding a call costs no more than the tenths that it lasted. Cells are aligned
//! to absolute time: a picture moves left by whole cells only, and [`Activity::due`] returns when the next
//! step is. Updated by the model, drawn by `pane::activity`.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    domain::{
        call::Outcome,
        id::{CallId, ServerId},
        policy::call_event::CallEvent,
        time::Stamp,
    },
    state::{CallView, ConsoleState},
};

/// Length of a tenth, in nanoseconds.
const TENTH: u64 = 100_000_000;
/// Tenths in the picture.
pub const SHOWN: u64 = 600;
/// Tenths in a lane: those shown, and one cell more at each end.
const KEPT: u64 = 640;

/// A call that lasted beyond this tenth, and succeeded.
const LONG: u8 = 1;
/// A call that lasted beyond this tenth, and did not succeed.
const LONG_BAD: u8 = 2;
/// A call that succeeded.
const ANSWERED: u8 = 4;
/// A call with a tool error.
const TOOL_ERROR: u8 = 8;
/// A call that failed.
const FAILED: u8 = 16;
/// A call that was cancelled.
const CANCELLED: u8 = 32;

/// The mark of a cell of a lane: the most important thing that happened in its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing.
    Quiet,
    /// A call began and succeeded within the cell; several with `many`.
    Answered {
        /// More than three ended in the cell.
        many: bool,
    },
    /// Part of a longer call that succeeded.
    Long,
    /// Part of a longer call that failed or was cancelled.
    LongBad,
    /// A tool error.
    ToolError,
    /// A failure.
    Failed,
    /// A cancelled call.
    Cancelled,
    /// Part of a running call.
    Running,
    /// The front of a running call.
    Front,
}

/// How many ended calls fill a cell.
const MANY: u32 = 4;

/// The cells of a picture, and the tenths that each shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Cells of a lane.
    pub cells: u64,
    /// The current tenth.
    now: u64,
}

impl Grid {
    /// Returns the grid of this many cells at `now`.
    pub fn new(cells: u16, now: Stamp) -> Grid {
        Grid { cells: u64::from(cells).clamp(1, SHOWN), now: now.0 / TENTH }
    }

    /// Returns the cell on the absolute axis that contains a tenth.
    fn absolute(&self, tenth: u64) -> u64 {
        tenth * self.cells / SHOWN
    }

    /// Returns the first tenth of a cell of the absolute axis.
    fn start(&self, cell: u64) -> u64 {
        (cell * SHOWN).div_ceil(self.cells)
    }

    /// Returns the first cell shown, on the absolute axis; negative while the clock is young.
    fn first(&self) -> i64 {
        self.absolute(self.now) as i64 + 1 - self.cells as i64
    }

    /// Returns the tenths of a shown cell; `None` before the clock started.
    fn tenths(&self, cell: u64) -> Option<std::ops::Range<u64>> {
        let absolute = u64::try_from(self.first() + cell as i64).ok()?;
        Some(self.start(absolute)..self.start(absolute + 1))
    }

    /// Returns the shown cell that contains a moment; `None` if it is too long ago.
    pub fn cell(&self, at: Stamp) -> Option<u16> {
        let tenth = (at.0 / TENTH).min(self.now);
        u16::try_from(self.absolute(tenth) as i64 - self.first()).ok()
    }

    /// Returns the time from `now` until the picture moves by a cell.
    fn until_step(&self, now: Stamp) -> Duration {
        let step = self.start(self.absolute(self.now) + 1);
        Stamp(step * TENTH).since(now)
    }
}

/// One server's last minute.
#[derive(Clone, Debug)]
struct Lane {
    flags: [u8; KEPT as usize],
    ended: [u8; KEPT as usize],
    /// The newest tenth in the ring.
    newest: u64,
    /// The newest tenth in which a call ended, if any did.
    last_mark: Option<u64>,
    /// Running calls and the tenths in which they began.
    running: BTreeMap<CallId, u64>,
}

impl Lane {
    fn new() -> Lane {
        Lane { flags: [0; KEPT as usize], ended: [0; KEPT as usize], newest: 0, last_mark: None, running: BTreeMap::new() }
    }

    /// Extends the ring up to a tenth.
    fn advance(&mut self, tenth: u64) {
        let from = (self.newest + 1).max((tenth + 1).saturating_sub(KEPT));
        for t in from..=tenth {
            self.flags[(t % KEPT) as usize] = 0;
            self.ended[(t % KEPT) as usize] = 0;
        }
        self.newest = self.newest.max(tenth);
    }

    fn flag(&self, tenth: u64) -> u8 {
        if tenth > self.newest || tenth + KEPT <= self.newest { 0 } else { self.flags[(tenth % KEPT) as usize] }
    }

    fn count(&self, tenth: u64) -> u32 {
        if tenth > self.newest || tenth + KEPT <= self.newest { 0 } else { u32::from(self.ended[(tenth % KEPT) as usize]) }
    }

    fn settle(&mut self, from: u64, to: u64, outcome: &Outcome) {
        self.advance(to);
        let (long, end) = match outcome {
            Outcome::Ok { .. } | Outcome::Interim { .. } => (LONG, ANSWERED),
            Outcome::ToolError { .. } => (LONG, TOOL_ERROR),
            Outcome::Failed { .. } => (LONG_BAD, FAILED),
            Outcome::Cancelled { .. } => (LONG_BAD, CANCELLED),
        };
        let oldest = (self.newest + 1).saturating_sub(KEPT);
        for t in from.max(oldest)..to {
            self.flags[(t % KEPT) as usize] |= long;
        }
        if to >= oldest {
            let slot = (to % KEPT) as usize;
            self.flags[slot] |= end;
            self.ended[slot] = self.ended[slot].saturating_add(1);
        }
        self.last_mark = self.last_mark.max(Some(to));
    }

    fn mark(&self, grid: &Grid, cell: u64) -> Mark {
        let Some(tenths) = grid.tenths(cell) else { return Mark::Quiet };
        let flags = tenths.clone().fold(0, |all, t| all | self.flag(t));
        let many = tenths.clone().map(|t| self.count(t)).sum::<u32>() >= MANY;
        let entering = tenths.start.checked_sub(1).map_or(0, |t| self.flag(t)) & (LONG | LONG_BAD);
        let running = self.running.values().any(|from| *from < tenths.end);
        let last = cell + 1 == grid.cells;
        match flags {
            f if f & FAILED != 0 => Mark::Failed,
            f if f & TOOL_ERROR != 0 => Mark::ToolError,
            _ if last && running => Mark::Front,
            f if f & CANCELLED != 0 => Mark::Cancelled,
            f if f & ANSWERED != 0 && (many || entering == 0) => Mark::Answered { many },
            _ if running => Mark::Running,
            f if f & LONG_BAD != 0 => Mark::LongBad,
            f if f & LONG != 0 || entering != 0 => Mark::Long,
            f if f & ANSWERED != 0 => Mark::Long,
            _ => Mark::Quiet,
        }
    }
}

/// Returns the server in whose lane a call is: the one that was called, or the member of a group that has it.
fn lane_of(call: &CallView) -> &ServerId {
    let asked = call.spec.operation.server();
    let group = |stage: &CallEvent| matches!(stage, CallEvent::Routed { decision } if decision.group.as_ref() == Some(asked));
    if call.stages().iter().any(|(_, stage)| group(stage)) { call.server() } else { asked }
}

/// The lanes of all servers that were called.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    lanes: BTreeMap<ServerId, Box<Lane>>,
}

impl Activity {
    /// Returns the activity of all calls in a read model.
    pub fn of(read_model: &ConsoleState) -> Activity {
        let mut activity = Activity::default();
        read_model.calls.iter().for_each(|call| activity.note(call));
        activity
    }

    /// Records the state of a call. The end of a call is recorded once.
    pub fn note(&mut self, call: &CallView) {
        let server = lane_of(call);
        if call.track.is_some() {
            // It may have moved to another member of its group.
            for (_, lane) in self.lanes.iter_mut().filter(|(id, _)| *id != server) {
                lane.running.remove(&call.id);
            }
        }
        let lane = self.lanes.entry(server.clone()).or_insert_with(|| Box::new(Lane::new()));
        let from = call.queued.0 / TENTH;
        match &call.settled {
            None => {
                lane.advance(from);
                lane.running.insert(call.id, from);
            }
            Some(settled) => {
                lane.running.remove(&call.id);
                lane.settle(from, (settled.timings.settled.0 / TENTH).max(from), &settled.outcome);
            }
        }
    }

    /// Removes the lanes of servers that were removed.
    pub fn retain(&mut self, read_model: &ConsoleState) {
        self.lanes.retain(|id, _| read_model.server(id).is_some());
    }

    /// Returns whether anything of a server's lane is visible.
    pub fn shows(&self, server: &ServerId, grid: Grid) -> bool {
        self.lanes.get(server).is_some_and(|lane| lane.visible(&grid))
    }

    /// Returns the marks of a server's lane, oldest first; `None` if nothing of it is visible.
    pub fn marks(&self, server: &ServerId, grid: Grid) -> Option<Vec<Mark>> {
        let lane = self.lanes.get(server).filter(|lane| lane.visible(&grid))?;
        Some((0..grid.cells).map(|cell| lane.mark(&grid, cell)).collect())
    }

    /// Returns the time until the picture of `cells` cells changes without further events; `None`
    /// if it does not. `more` says whether anything else in the picture moves with it.
    pub fn due(&self, cells: u16, now: Stamp, more: impl FnOnce(Grid) -> bool) -> Option<Duration> {
        let grid = Grid::new(cells, now);
        let moving = self.lanes.values().any(|lane| lane.visible(&grid)) || more(grid);
        moving.then(|| grid.until_step(now))
    }
}

impl Lane {
    /// Returns whether a picture shows anything of the lane.
    fn visible(&self, grid: &Grid) -> bool {
        let first = grid.tenths(0).map_or(0, |tenths| tenths.start);
        !self.running.is_empty() || self.last_mark.is_some_and(|last| last >= first)
    }
}

#[cfg(test)]
mod tests;
