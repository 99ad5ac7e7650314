//! The rows of the history: what the store has from before the ring, read in pages from new to old. A line with the date is above
//! the rows of each session.
//!
//! Bounded: above [`MOST`] rows no page is read. All rows passed one filter, which the store evaluated; with another filter they are
//! read again. Ids of rows are below those of the ring and are not used twice.

use std::collections::{HashMap, VecDeque};

use super::{ATTEMPTS, CACHED, CallState, ELSEWHERE, PAST, Row, RowId, RowKind, kind_of};
use crate::domain::{
    call_summary::CallSummary,
    history::HistoryPage,
    id::{CallId, InstanceId},
    journal::CallOutcome,
    program_session::SessionStart,
    run::RunStep,
    time::Stamp,
};

/// Rows of a page.
pub const PAGE: usize = 200;
/// Most rows of the history in memory.
pub const MOST: usize = 100_000;
/// The first id of the ring: ids of the history are smaller.
pub const FIRST: RowId = 1 << 40;

/// A line of the history.
enum Entry {
    Row(Row, InstanceId),
    /// The line above the rows of a session.
    Session(InstanceId),
}

/// How much of the history was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Nothing.
    #[default]
    Unread,
    /// The page before this call is being read.
    Reading(CallId),
    /// Everything from this call on.
    From(CallId),
    /// Everything.
    Complete,
    /// As much as is held in memory.
    Full,
    /// It cannot be read.
    Failed,
}

/// The rows of the history.
pub struct Past {
    /// Oldest first.
    entries: VecDeque<Entry>,
    /// The id after that of the newest entry.
    end: RowId,
    rows: usize,
    /// The filter that the rows passed.
    filter: String,
    progress: Progress,
    /// The session of the oldest row; at first that of the engine.
    oldest: Option<InstanceId>,
    sessions: Vec<SessionStart>,
    /// The run and step of calls of workflows.
    steps: HashMap<u64, RunStep>,
}

impl Default for Past {
    fn default() -> Past {
        Past {
            entries: VecDeque::new(),
            end: FIRST,
            rows: 0,
            filter: String::new(),
            progress: Progress::default(),
            oldest: None,
            sessions: vec![],
            steps: HashMap::new(),
        }
    }
}

impl Past {
    /// Returns the ids of the lines, rows and sessions.
    pub fn ids(&self) -> std::ops::Range<RowId> {
        self.end - self.entries.len() as u64..self.end
    }

    /// Returns the number of lines, rows and sessions.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether it has no lines.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of rows.
    pub fn row_count(&self) -> usize {
        self.rows
    }

    /// Returns how much was read.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Returns whether there may be an older page to read now.
    pub fn has_more(&self) -> bool {
        matches!(self.progress, Progress::Unread | Progress::From(_))
    }

    fn entry(&self, id: RowId) -> Option<&Entry> {
        let place = id.checked_sub(self.ids().start)?;
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// Returns a row.
    pub fn get(&self, id: RowId) -> Option<&Row> {
        match self.entry(id)? {
            Entry::Row(row, _) => Some(row),
            Entry::Session(_) => None,
        }
    }

    /// Returns the session that a line is about; `None` for a row.
    pub fn session_line(&self, id: RowId) -> Option<InstanceId> {
        match self.entry(id)? {
            Entry::Row(..) => None,
            Entry::Session(session) => Some(*session),
        }
    }

    /// Returns the session of a row.
    pub fn session_of(&self, id: RowId) -> Option<&SessionStart> {
        match self.entry(id)? {
            Entry::Row(_, session) => self.start(*session),
            Entry::Session(_) => None,
        }
    }

    /// Returns the begin of a session, if it is known.
    pub fn start(&self, session: InstanceId) -> Option<&SessionStart> {
        self.sessions.iter().find(|start| start.session == session)
    }

    /// Returns the known sessions of the rows.
    pub fn sessions(&self) -> &[SessionStart] {
        &self.sessions
    }

    /// Returns run and step of a call of a workflow.
    pub fn step_of(&self, call: CallId) -> Option<&RunStep> {
        self.steps.get(&call.0)
    }

    /// Drops all rows if they passed another filter.
    pub fn filter_with(&mut self, filter: String) {
        if self.filter != filter {
            self.clear();
            self.filter = filter;
        }
    }

    /// Drops all rows.
    pub fn clear(&mut self) {
        let end = self.ids().start.saturating_sub(1);
        *self = Past { end, filter: std::mem::take(&mut self.filter), ..Past::default() };
    }

    /// Begins to read the next page; returns its filter and the call that it is before. `newest` is that of the first page.
    pub fn begin_page(&mut self, newest: CallId) -> Option<(String, CallId)> {
        let before = match self.progress {
            Progress::Unread => newest,
            Progress::From(oldest) => oldest,
            Progress::Reading(_) | Progress::Complete | Progress::Full | Progress::Failed => return None,
        };
        self.progress = Progress::Reading(before);
        Some((self.filter.clone(), before))
    }

    /// Returns whether this page is being read.
    pub fn reads(&self, filter: &str, before: CallId) -> bool {
        self.filter == filter && self.progress == Progress::Reading(before)
    }

    /// Ends the reading of a page that could not be read.
    pub fn fail(&mut self) {
        self.progress = Progress::Failed;
    }

    /// Adds a page before the rows. `keys` are the names of its calls, in their order; `current` is the session of the ring.
    pub(super) fn add(&mut self, page: HistoryPage, keys: &[u16], current: Option<&SessionStart>) {
        for start in page.sessions.into_iter().chain(current.copied()) {
            if self.start(start.session).is_none() {
                self.sessions.push(start);
            }
        }
        if self.rows == 0 && self.oldest.is_none() {
            self.oldest = current.map(|start| start.session);
        }
        let had_rows = self.rows > 0;
        for (call, key) in page.calls.iter().zip(keys) {
            self.separate(call.instance);
            self.entries.push_front(Entry::Row(row_of(call, *key), call.instance));
            self.rows += 1;
            self.steps.extend(call.run.clone().map(|step| (call.call.0, step)));
        }
        self.progress = match page.next {
            Some(_) if self.rows >= MOST => Progress::Full,
            Some(oldest) => Progress::From(oldest),
            None => Progress::Complete,
        };
        if self.progress == Progress::Complete
            && (had_rows || !page.calls.is_empty())
            && let Some(oldest) = self.oldest
        {
            self.entries.push_front(Entry::Session(oldest));
        }
    }

    /// Adds the line above the rows of a session if an older row belongs to another one.
    fn separate(&mut self, session: InstanceId) {
        let newer = self.oldest.replace(session);
        if let Some(newer) = newer.filter(|newer| *newer != session) {
            self.entries.push_front(Entry::Session(newer));
        }
    }
}

/// Returns the row of a call of the history.
fn row_of(call: &CallSummary, key: u16) -> Row {
    let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    let mut kind = match call.lifecycle {
        true => kind_of(RowKind::Lifecycle, None),
        false => kind_of(RowKind::Call, Some(call.origin)),
    };
    let elsewhere = call.answered_by.is_some();
    for (bit, is) in [(PAST, true), (ATTEMPTS, call.attempts > 1), (CACHED, call.cached.is_some()), (ELSEWHERE, elsewhere)] {
        kind.0 |= if is { bit } else { 0 };
    }
    Row {
        link: call.call.0,
        at: Stamp(call.unix_ms.saturating_mul(1_000_000)),
        took_us: small(call.took_us),
        sent: small(call.sent_bytes),
        got: small(call.received_bytes),
        key,
        kind,
        state: match &call.outcome {
            CallOutcome::Ok => CallState::Ok,
            CallOutcome::ToolError => CallState::ToolError,
            CallOutcome::Failed(kind) => CallState::Failed(*kind),
            CallOutcome::Cancelled => CallState::Cancelled,
            CallOutcome::Interim(_) => CallState::Interim,
            CallOutcome::Unknown(_) => CallState::None,
        },
    }
}
