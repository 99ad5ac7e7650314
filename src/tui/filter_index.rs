//! The filter index: which rows pass a filter, and their sort order. Updated row by row, rebuilt in small steps.
//!
//! A new filter examines the newest rows first, so that the screen is right immediately; a sort merges runs. No step
//! takes longer than a few milliseconds, so that a key never waits. Pure. Used by the traffic view.

use std::collections::VecDeque;

use super::{
    filter::{Filter, Matcher},
    rows::{Row, RowId, Rows},
};

/// Rows examined in one step of a filter.
pub const FILTER_STEP: usize = 32_768;
/// Bytes of text read in one step of a filter.
const TEXT_STEP: usize = 4 << 20;
/// Rows moved in one step of a sort.
pub const SORT_STEP: usize = 16_384;

/// A sort column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// When the row began.
    #[default]
    Time,
    /// The server's name.
    Server,
    /// The tool's name.
    Tool,
    /// The origin.
    Origin,
    /// The outcome.
    Outcome,
    /// The duration.
    Took,
    /// Bytes sent.
    Sent,
    /// Bytes received.
    Got,
}

impl By {
    /// Every column, in the order of the screen.
    pub const ALL: [By; 8] = [By::Time, By::Server, By::Tool, By::Origin, By::Outcome, By::Took, By::Sent, By::Got];
}

/// The rows that pass a filter, oldest first.
pub struct Index {
    matcher: Matcher,
    ids: VecDeque<RowId>,
    /// Rows from here up to `seen` were examined.
    low: RowId,
    seen: RowId,
}

impl Index {
    /// Creates an index that has examined no row yet.
    pub fn new(filter: Filter, rows: &Rows) -> Index {
        let end = rows.ids().end;
        Index { matcher: Matcher::new(filter), ids: VecDeque::new(), low: end, seen: end }
    }

    /// Returns the filter.
    pub fn filter(&self) -> &Filter {
        self.matcher.filter()
    }

    /// Adds new rows and updates changed rows.
    pub fn update(&mut self, rows: &Rows, changed: &[RowId]) {
        let ids = rows.ids();
        while self.ids.front().is_some_and(|id| *id < ids.start) {
            self.ids.pop_front();
        }
        self.low = self.low.max(ids.start);
        for id in self.seen.max(ids.start)..ids.end {
            if !self.filter().is_empty() && self.matcher.passes(id, rows) {
                self.ids.push_back(id);
            }
        }
        let before = std::mem::replace(&mut self.seen, ids.end);
        if self.filter().is_empty() {
            return;
        }
        for id in changed.iter().filter(|id| (self.low..before).contains(id)) {
            let passes = self.matcher.passes(*id, rows);
            match (self.ids.binary_search(id), passes) {
                (Err(at), true) => self.ids.insert(at, *id),
                (Ok(at), false) => {
                    self.ids.remove(at);
                }
                _ => {}
            }
        }
    }

    /// Returns whether rows are left to examine.
    pub fn working(&self, rows: &Rows) -> bool {
        !self.filter().is_empty() && self.low > rows.ids().start
    }

    /// Returns the progress, 0 to 1.
    pub fn progress(&self, rows: &Rows) -> f64 {
        let ids = rows.ids();
        let all = (ids.end - ids.start).max(1) as f64;
        1.0 - (self.low.saturating_sub(ids.start)) as f64 / all
    }

    /// Examines the next `most` older rows; fewer if they have long texts.
    pub fn step(&mut self, rows: &Rows, most: usize) {
        let from = self.low.saturating_sub(most as u64).max(rows.ids().start);
        let (texts, mut room) = (self.matcher.texts(), TEXT_STEP);
        while self.low > from && room > 0 {
            self.low -= 1;
            if self.matcher.passes(self.low, rows) {
                self.ids.push_front(self.low);
            }
            room = room.saturating_sub(texts * rows.text_of(self.low).len());
        }
    }

    /// Returns how many of the examined rows pass.
    pub fn len(&self, rows: &Rows) -> usize {
        if self.filter().is_empty() { rows.len() } else { self.ids.len() }
    }

    /// Returns whether no examined row passes.
    pub fn is_empty(&self, rows: &Rows) -> bool {
        self.len(rows) == 0
    }

    /// Returns the id of the row at a position, oldest first.
    pub fn at(&self, rows: &Rows, place: usize) -> Option<RowId> {
        if self.filter().is_empty() {
            let ids = rows.ids();
            return Some(ids.start + place as u64).filter(|id| ids.contains(id));
        }
        self.ids.get(place).copied()
    }

    /// Returns how many of the rows before `id` pass.
    pub fn before(&self, rows: &Rows, id: RowId) -> usize {
        if self.filter().is_empty() {
            return usize::try_from(id.saturating_sub(rows.ids().start)).unwrap_or(0).min(rows.len());
        }
        self.ids.partition_point(|other| *other < id)
    }

    /// Returns whether a row was examined and passes.
    pub fn holds(&self, rows: &Rows, id: RowId) -> bool {
        if self.filter().is_empty() { rows.ids().contains(&id) } else { self.ids.binary_search(&id).is_ok() }
    }

    /// Returns the position of a row, or of the next newer one that passes.
    pub fn place(&self, rows: &Rows, id: RowId) -> usize {
        if self.filter().is_empty() {
            return usize::try_from(id.saturating_sub(rows.ids().start)).unwrap_or(0).min(rows.len().saturating_sub(1));
        }
        self.ids.partition_point(|other| *other < id).min(self.ids.len().saturating_sub(1))
    }
}

/// A sort in progress: keys are read and sorted in runs, then runs are merged, all in small steps.
pub struct Sort {
    by: By,
    /// Rank of each name in the sort order.
    order: Vec<u32>,
    read: usize,
    len: usize,
    /// The rows of the run that is being read.
    chunk: usize,
    pairs: Vec<(u64, RowId)>,
    other: Vec<(u64, RowId)>,
    run: usize,
    /// Start of the two runs being merged, and the progress in each.
    merge: (usize, usize, usize),
}

impl Sort {
    /// Creates a sort of the rows that an index contains now, read in runs of `chunk` rows.
    pub fn new(by: By, index: &Index, rows: &Rows, chunk: usize) -> Sort {
        let order = match by {
            By::Server => name_order(rows, |key| rows.names()[key].server.to_lowercase()),
            By::Tool => name_order(rows, |key| rows.names()[key].tool.to_lowercase()),
            _ => vec![],
        };
        let chunk = chunk.max(1);
        Sort { by, order, read: 0, len: index.len(rows), chunk, pairs: vec![], other: vec![], run: chunk, merge: (0, 0, 0) }
    }

    /// Advances by about `most` rows; returns the sorted ids at the end.
    pub fn step(&mut self, index: &Index, rows: &Rows, most: usize) -> Option<Vec<RowId>> {
        if self.read < self.len {
            let end = (self.read + self.chunk).min(self.len);
            let start = self.pairs.len();
            for id in (self.read..end).filter_map(|place| index.at(rows, place)) {
                // A row that was dropped meanwhile stays in its run: the lengths of runs are fixed.
                self.pairs.push((rows.get(id).map_or(0, |row| self.key(row)), id));
            }
            self.pairs[start..].sort_unstable();
            self.read = end;
            return None;
        }
        if self.run >= self.pairs.len().max(1) {
            return Some(std::mem::take(&mut self.pairs).into_iter().map(|(_, id)| id).collect());
        }
        self.merge_some(most);
        None
    }

    /// Merges pairs of neighbouring runs into `other`; when all are merged, runs are twice as long.
    fn merge_some(&mut self, most: usize) {
        let len = self.pairs.len();
        for _ in 0..most {
            let (start, left, right) = self.merge;
            let middle = (start + self.run).min(len);
            let end = (middle + self.run).min(len);
            let (a, b) = (start + left, middle + right);
            match (a < middle, b < end) {
                (true, true) if self.pairs[a] <= self.pairs[b] => (self.merge.1, _) = (left + 1, self.other.push(self.pairs[a])),
                (_, true) => (self.merge.2, _) = (right + 1, self.other.push(self.pairs[b])),
                (true, false) => (self.merge.1, _) = (left + 1, self.other.push(self.pairs[a])),
                (false, false) if end >= len => {
                    std::mem::swap(&mut self.pairs, &mut self.other);
                    self.other.clear();
                    self.run = self.run.saturating_mul(2);
                    self.merge = (0, 0, 0);
                    return;
                }
                (false, false) => self.merge = (end, 0, 0),
            }
        }
    }

    fn key(&self, row: &Row) -> u64 {
        match self.by {
            By::Time => row.at.0,
            By::Server | By::Tool => u64::from(self.order.get(usize::from(row.key)).copied().unwrap_or(u32::MAX)),
            By::Origin => row.origin().map_or(9, |o| o as u64),
            By::Outcome => outcome_rank(row),
            // A running call sorts as the longest.
            By::Took if row.state.pending() => u64::MAX,
            By::Took => u64::from(row.took_us),
            By::Sent => u64::from(row.sent),
            By::Got => u64::from(row.got),
        }
    }
}

fn outcome_rank(row: &Row) -> u64 {
    use super::rows::CallState;
    match row.state {
        CallState::None => 0,
        CallState::Ok => 1,
        CallState::Cancelled => 2,
        CallState::Queued => 3,
        CallState::Running => 4,
        CallState::Interim => 5,
        CallState::ToolError => 6,
        CallState::Failed(kind) => 7 + kind as u64,
    }
}

fn name_order(rows: &Rows, name: impl Fn(usize) -> String) -> Vec<u32> {
    let names: Vec<String> = (0..rows.names().len()).map(name).collect();
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    names.iter().map(|n| sorted.binary_search(&n).map_or(u32::MAX, |at| at as u32)).collect()
}

#[cfg(test)]
mod tests;
