//! The rows of the traffic view: every call, notification, log message and protocol anomaly in 32 bytes each.
//!
//! A ring: the oldest rows are dropped. Before it are rows of the history ([`past`]). Row ids ascend without gaps, so that a view can refer to
//! one while others come and go. Text is formatted for visible rows only. Used by the model and the panes.

mod clients;
pub mod past;
mod row;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

pub use self::clients::{ClientKey, RowClient};
pub use self::row::{CallState, Marks, Name, Row, RowKind};

use self::clients::RowClients;
use self::past::Past;
use self::row::{ATTEMPTS, CACHED, ELSEWHERE, PAST, kind_of};
use self::words::{cut, error_words, list_words, message_text};
use super::search_text::{self, Texts};
use crate::{
    domain::{
        bounds,
        call::{CallSpec, FailureKind},
        event::{Event, EventKind, LogSource, Settled},
        frame::{Anomaly, Direction, Frame, FrameKind},
        history::HistoryPage,
        id::{CallId, ServerId},
        program_session::SessionStart,
        run::{RunId, RunStep},
        time::{Epoch, Stamp},
    },
    state::ConsoleState,
};

/// Most rows in the ring.
pub const MOST: usize = 1_000_000;
/// Most texts of log messages and anomalies in memory.
const MOST_NOTES: usize = 20_000;
/// Most runs with a workflow name.
const MOST_RUNS: usize = 10_000;
/// Most requests of sessions that wait for their responses. A connection sends one list request of each kind at a time.
const MOST_UNANSWERED: usize = 256;
/// Stored bytes of a text; the detail pane has all of it while the read model does.
const NOTE_BYTES: usize = 400;
/// Longest method or name of a logger, in bytes.
const NAME_BYTES: usize = 64;
/// Longer messages are not parsed for their text, in bytes.
const READ: usize = 16 << 10;
/// The key of every name after the name table is full.
const OTHERS: u16 = u16::MAX;

/// Calls that took at least this long are indexed by their length: a time window looks back no further for other calls.
pub const LONG: Duration = Duration::from_secs(10);
/// Length classes of such calls, each of twice the length of the one before; a row's time saturates after 72 minutes.
const CLASSES: usize = 9;

/// The id of a row since the console started; ascends by one.
pub type RowId = u64;

/// The text of a row that is not a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// The text, perhaps truncated.
    pub text: Box<str>,
    /// The frame that it arrived in, if known.
    pub frame: Option<u64>,
    /// The frame of the request that this is the response to, for a completed row of the session.
    pub request: Option<u64>,
}

/// What the text of a row belongs to.
struct NoteLink {
    /// The frame that it arrived in, if known.
    frame: Option<u64>,
    /// The call in whose course it came, if known.
    call: Option<CallId>,
}

/// A request of the session that waits for its response: its row is completed by it.
struct Unanswered {
    server: ServerId,
    rpc_id: Arc<str>,
    row: RowId,
}

/// The effect of a batch of events on the rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Touched {
    /// Rows that changed after they were added, in the order of change.
    pub changed: Vec<RowId>,
}

/// The ring of rows.
pub struct Rows {
    rows: VecDeque<Row>,
    /// The rows of the history.
    past: Past,
    clients: RowClients,
    first: RowId,
    most: usize,
    names: Vec<Name>,
    keys: HashMap<Arc<str>, HashMap<Arc<str>, u16>>,
    notes: VecDeque<Note>,
    first_note: u64,
    pending: HashMap<CallId, RowId>,
    /// Requests of sessions without a response, oldest first.
    unanswered: VecDeque<Unanswered>,
    /// Long calls that ended, by length class.
    long: [BTreeSet<RowId>; CLASSES],
    /// The run and step of every call of a workflow.
    runs: HashMap<u64, RunStep>,
    /// The workflow names of the last runs.
    workflows: BTreeMap<RunId, Arc<str>>,
    /// Arguments and errors of the newest calls.
    texts: Texts,
    /// The session of the engine, to which the rows of the ring belong.
    session: Option<SessionStart>,
    /// Calls that are marked for a workflow, ascending.
    pub marked: Vec<CallId>,
    /// Incremented with every change.
    version: u64,
}

impl Default for Rows {
    fn default() -> Self {
        Rows::new(MOST)
    }
}

impl Rows {
    /// Creates an empty ring of at most `most` rows.
    pub fn new(most: usize) -> Rows {
        Rows {
            rows: VecDeque::new(),
            past: Past::default(),
            clients: RowClients::default(),
            first: past::FIRST,
            most: most.max(1),
            names: vec![],
            keys: HashMap::new(),
            notes: VecDeque::new(),
            first_note: 0,
            pending: HashMap::new(),
            unanswered: VecDeque::new(),
            long: Default::default(),
            runs: HashMap::new(),
            workflows: BTreeMap::new(),
            texts: Texts::default(),
            session: None,
            marked: vec![],
            version: 0,
        }
    }

    /// Adds everything that a snapshot still contains, in the order of time. Existing rows stay:
    /// their calls are updated, and only newer ones are added.
    pub fn catch_up(&mut self, read_model: &ConsoleState) -> Touched {
        let mut touched = Touched::default();
        let after = self.rows.back().map(|row| row.at);
        let mut things: Vec<(Stamp, Thing)> = Vec::new();
        read_model.runs.iter().for_each(|run| self.name_run(run.id, &run.plan.name));
        things.extend(read_model.calls.iter().map(|call| (call.queued, Thing::Call(call))));
        things.extend(read_model.frames.iter().map(|frame| (frame.at, Thing::Frame(frame))));
        for server in &read_model.servers {
            things.extend(server.logs.iter().map(|(at, log)| (*at, Thing::Log(server.id(), log))));
            things.extend(server.anomalies.iter().map(|(at, anomaly)| (*at, Thing::Anomaly(server.id(), anomaly))));
        }
        things.sort_by_key(|(at, _)| *at);
        for (at, thing) in things {
            let known = after.is_some_and(|after| at <= after);
            match thing {
                Thing::Call(call) => {
                    if !known {
                        self.call(call.id, &call.spec, at);
                        if call.sent.is_some() {
                            self.sent(call.id);
                        }
                    }
                    if let Some(settled) = &call.settled {
                        touched.changed.extend(self.settled(call.id, settled));
                    }
                }
                _ if known => {}
                Thing::Frame(frame) => touched.changed.extend(self.frame(frame)),
                Thing::Log(server, log) => self.log(server, log, at),
                Thing::Anomaly(server, anomaly) => self.anomaly(server, anomaly, at),
            }
        }
        // A call that is in progress here and unknown there ended between the snapshots.
        let gone: Vec<CallId> =
            self.pending.keys().copied().filter(|id| read_model.call(*id).is_none_or(|c| c.settled.is_some())).collect();
        for id in gone {
            if let Some(row) = self.pending.remove(&id) {
                self.change(row, |row| row.state = CallState::None);
                touched.changed.push(row);
            }
        }
        touched
    }

    /// Applies an event; returns the id of an older row that it changed.
    pub fn push(&mut self, event: &Event) -> Option<RowId> {
        let at = event.at;
        match &event.kind {
            EventKind::CallQueued { call, spec } => self.call(*call, spec, at),
            EventKind::RunStarted { run, plan, .. } => self.name_run(*run, &plan.name),
            EventKind::CallSent { call, .. } => return self.sent(*call),
            EventKind::CallSettled { call, settled } => return self.settled(*call, settled),
            EventKind::Frame { frame } => return self.frame(frame),
            EventKind::ServerLog { server, log } => self.log(server, log, at),
            EventKind::ServerAnomaly { server, anomaly } => self.anomaly(server, anomaly, at),
            _ => {}
        }
        None
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the ids of the rows in the ring.
    pub fn ids(&self) -> std::ops::Range<RowId> {
        self.first..self.first + self.rows.len() as u64
    }

    /// Returns a row, if it is still in the ring, or a row of the history.
    pub fn get(&self, id: RowId) -> Option<&Row> {
        match id.checked_sub(self.first) {
            Some(place) => self.rows.get(usize::try_from(place).ok()?),
            None => self.past.get(id),
        }
    }

    /// Returns the rows of the history.
    pub fn past(&self) -> &Past {
        &self.past
    }

    /// Changes what is read of the history.
    pub fn past_mut(&mut self) -> &mut Past {
        &mut self.past
    }

    /// Returns an id that is not above that of any call of the ring and of the history from its begin on, so that older calls
    /// are before it.
    pub fn oldest_call(&self, epoch: &Epoch) -> CallId {
        // SQLite has signed integers.
        let newest = CallId(i64::MAX as u64);
        let Some(first) = self.rows.front() else { return newest };
        let began = CallId::from_parts(first.unix_ms(epoch), 0);
        first.call().map_or(began, |call| call.min(began))
    }

    /// Adds a page of the history before its rows.
    pub fn add_page(&mut self, page: HistoryPage) {
        let keys: Vec<u16> = page.calls.iter().map(|call| self.key(call.server.as_str(), &call.subject)).collect();
        self.past.add(page, &keys, self.session.as_ref());
        self.version += 1;
    }

    /// Returns the first row that began at `at` or later.
    pub fn from(&self, at: Stamp) -> RowId {
        self.first + self.rows.partition_point(|row| row.at < at) as u64
    }

    /// Returns the calls in progress.
    pub fn pending(&self) -> impl Iterator<Item = RowId> {
        self.pending.values().copied()
    }

    /// Returns calls that began [`LONG`] or more before `at`, have ended, and may have ended after it.
    pub fn long_before(&self, at: Stamp) -> impl Iterator<Item = RowId> {
        let begin = move |times: u64| self.from(Stamp(at.0.saturating_sub(LONG.as_nanos() as u64 * times)));
        let last = begin(1);
        self.long.iter().enumerate().flat_map(move |(class, ids)| ids.range(begin(2 << class).min(last)..last).copied())
    }

    /// Returns server and tool of a key.
    pub fn name(&self, key: u16) -> Option<&Name> {
        self.names.get(usize::from(key))
    }

    /// Returns every name so far, by key.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// Returns the text of a row that is not a call; `None` if it was dropped.
    pub fn note_of(&self, row: &Row) -> Option<&Note> {
        if row.kind() == RowKind::Call || row.past() {
            return None;
        }
        self.notes.get(usize::try_from(row.link.checked_sub(self.first_note)?).ok()?)
    }

    /// Returns the first bytes of a call's arguments and errors, in lower case. Empty for other rows and
    /// for calls whose text was dropped.
    pub fn text_of(&self, id: RowId) -> &str {
        self.texts.of(id).unwrap_or_default()
    }

    /// Returns the key of the client that a row belongs to.
    pub fn client_key(&self, id: RowId) -> ClientKey {
        id.checked_sub(self.first).and_then(|at| usize::try_from(at).ok()).map_or(ClientKey::NONE, |at| self.clients.of(at))
    }

    /// Returns the client of a key; `None` for [`ClientKey::NONE`].
    pub fn client(&self, key: ClientKey) -> Option<&RowClient> {
        self.clients.get(key)
    }

    /// Returns every client whose calls were added so far, with its key.
    pub fn clients(&self) -> impl Iterator<Item = (ClientKey, &RowClient)> {
        self.clients.iter()
    }

    /// Returns run and step of a call of a workflow.
    pub fn step_of(&self, row: &Row) -> Option<&RunStep> {
        let call = row.call()?;
        if row.past() { self.past.step_of(call) } else { self.runs.get(&call.0) }
    }

    /// Returns the workflow name of a run.
    pub fn workflow(&self, run: RunId) -> Option<&Arc<str>> {
        self.workflows.get(&run)
    }

    /// Returns the runs whose calls may be in the ring, oldest first, with their workflow names.
    pub fn workflows(&self) -> impl Iterator<Item = (&RunId, &Arc<str>)> {
        self.workflows.iter()
    }

    /// Sets the session of the engine.
    pub fn set_session(&mut self, session: SessionStart) {
        self.session = Some(session);
        self.version += 1;
    }

    /// Returns the session of a row, if it is known.
    pub fn session_of(&self, id: RowId) -> Option<&SessionStart> {
        match id < self.first {
            true => self.past.session_of(id),
            false => self.session.as_ref().filter(|_| self.ids().contains(&id)),
        }
    }

    /// Returns the known sessions of the rows.
    pub fn sessions(&self) -> impl Iterator<Item = &SessionStart> {
        let known = self.past.sessions();
        self.session.iter().filter(|session| self.past.start(session.session).is_none()).chain(known)
    }

    /// Returns the session of the engine, if its rows are recorded.
    pub fn session(&self) -> Option<&SessionStart> {
        self.session.as_ref()
    }

    /// Returns a number that changes with every change.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn call(&mut self, id: CallId, spec: &CallSpec, at: Stamp) {
        let key = self.key(spec.operation.server().as_str(), spec.operation.subject());
        let kind = kind_of(RowKind::Call, Some(spec.origin));
        let client = self.clients.key(spec);
        let row = self.add(Row { link: id.0, at, took_us: 0, sent: 0, got: 0, key, kind, state: CallState::Queued }, client);
        self.texts.add(row, &search_text::arguments_text(&spec.operation));
        self.pending.insert(id, row);
        if let Some(step) = &spec.run {
            self.runs.insert(id.0, step.clone());
        }
    }

    fn name_run(&mut self, run: RunId, workflow: &Arc<str>) {
        self.workflows.insert(run, workflow.clone());
        if self.workflows.len() > MOST_RUNS {
            self.workflows.pop_first();
        }
    }

    fn sent(&mut self, call: CallId) -> Option<RowId> {
        let id = *self.pending.get(&call)?;
        self.change(id, |row| row.state = CallState::Running).then_some(id)
    }

    fn settled(&mut self, call: CallId, settled: &Settled) -> Option<RowId> {
        let id = self.pending.remove(&call)?;
        self.texts.add(id, &search_text::error_text(&settled.outcome));
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        self.change(id, |row| {
            row.state = CallState::of(&settled.outcome);
            row.took_us = u32::try_from(settled.timings.total().as_micros()).unwrap_or(u32::MAX);
            (row.sent, row.got) = (small(settled.sent_bytes), small(settled.received_bytes));
            for (bit, is) in [(ATTEMPTS, settled.attempts > 1), (CACHED, settled.cached.is_some()), (ELSEWHERE, settled.by.is_some())] {
                row.kind.0 |= if is { bit } else { 0 };
            }
        })
        .then(|| {
            if let Some(class) = self.get(id).and_then(class) {
                self.long[class].insert(id);
            }
            id
        })
    }

    /// Adds notifications, requests of the server with our responses, and the requests of the session itself, whose responses
    /// complete their rows. Calls have rows of their own. Returns the id of an older row that it changed.
    fn frame(&mut self, frame: &Frame) -> Option<RowId> {
        let kind = match (frame.kind, frame.direction) {
            (FrameKind::Notification, _) => RowKind::Notification,
            (FrameKind::Request, Direction::In) | (FrameKind::Response, Direction::Out) => RowKind::Request,
            (FrameKind::Request, Direction::Out) | (FrameKind::Response, Direction::In) if frame.call.is_none() => RowKind::Lifecycle,
            _ => return None,
        };
        let method = frame.method.as_deref().unwrap_or("?");
        if method == "notifications/message" {
            return None;
        }
        let text = list_words(frame).filter(|_| frame.kind == FrameKind::Response).unwrap_or_else(|| message_text(frame));
        if (kind, frame.direction) == (RowKind::Lifecycle, Direction::In)
            && let Some(row) = self.complete(frame, &text)
        {
            return Some(row);
        }
        let text = match (frame.kind, frame.direction) {
            (FrameKind::Request | FrameKind::Response, Direction::Out) => format!("→ {text}"),
            (FrameKind::Response, Direction::In) => format!("← {text}"),
            _ => text,
        };
        let link = NoteLink { frame: Some(frame.seq), call: frame.call };
        let id = self.note(kind, (&frame.server, method), &text, link, frame.at);
        let bytes = u32::try_from(frame.size).unwrap_or(u32::MAX);
        self.change(id, |row| match frame.direction {
            Direction::Out => row.sent = bytes,
            Direction::In => row.got = bytes,
        });
        if let (RowKind::Lifecycle, Direction::Out, Some(rpc_id)) = (kind, frame.direction, &frame.rpc_id) {
            if self.unanswered.len() == MOST_UNANSWERED {
                self.unanswered.pop_front();
            }
            self.unanswered.push_back(Unanswered { server: frame.server.clone(), rpc_id: rpc_id.clone(), row: id });
        }
        None
    }

    /// Completes the row of a request of the session with its response, described by `text`. Returns the id of the row; `None` if
    /// the ring does not have the request.
    fn complete(&mut self, response: &Frame, text: &str) -> Option<RowId> {
        let rpc_id = response.rpc_id.as_ref()?;
        // After a restart ids repeat: the newest request is the one that the response belongs to.
        let place = self.unanswered.iter().rposition(|asked| asked.server == response.server && asked.rpc_id == *rpc_id)?;
        let id = self.unanswered.remove(place)?.row;
        let row = self.ids().contains(&id).then(|| self.get(id).copied()).flatten()?;
        if self.name(row.key).map(|name| &*name.tool) != response.method.as_deref() {
            return None;
        }
        // A response with an error is short.
        let error = if response.body.len() <= READ { error_words(response) } else { None };
        let text = error.as_deref().unwrap_or(text);
        let note = row.link.checked_sub(self.first_note).and_then(|place| self.notes.get_mut(usize::try_from(place).ok()?));
        if let Some(note) = note {
            *note = Note { text: cut(text).into(), frame: Some(response.seq), request: note.frame };
        }
        let took = u32::try_from(response.at.since(row.at).as_micros()).unwrap_or(u32::MAX);
        let got = u32::try_from(response.size).unwrap_or(u32::MAX);
        self.change(id, |row| {
            (row.took_us, row.got) = (took, got);
            row.state = if error.is_some() { CallState::Failed(FailureKind::Protocol) } else { CallState::Ok };
        })
        .then_some(id)
    }

    fn log(&mut self, server: &ServerId, log: &crate::domain::event::LogMessage, at: Stamp) {
        // Notifications that are shown as log messages elsewhere have rows as notifications here.
        if log.source == LogSource::Message {
            let link = NoteLink { frame: None, call: log.call };
            let name = log.logger.as_deref().unwrap_or("log");
            self.note(RowKind::Log, (server, name), &format!("{}  {}", log.level, log.text), link, at);
        }
    }

    fn anomaly(&mut self, server: &ServerId, anomaly: &Anomaly, at: Stamp) {
        let link = NoteLink { frame: anomaly.frame, call: anomaly.call };
        self.note(RowKind::Anomaly, (server, anomaly.kind.words()), &anomaly.detail, link, at);
    }

    fn note(&mut self, kind: RowKind, (server, name): (&ServerId, &str), text: &str, link: NoteLink, at: Stamp) -> RowId {
        if self.notes.len() == MOST_NOTES {
            self.notes.pop_front();
            self.first_note += 1;
        }
        let number = self.first_note + self.notes.len() as u64;
        self.notes.push_back(Note { text: cut(text).into(), frame: link.frame, request: None });
        // What a server sends in the course of a call belongs to the client of the call.
        let row = link.call.and_then(|call| self.pending.get(&call).copied());
        let client = row.map_or(ClientKey::NONE, |row| self.client_key(row));
        // A server can invent any number of methods, and names are never removed.
        let key = self.key(server.as_str(), &name[..bounds::boundary(name, NAME_BYTES)]);
        self.add(Row { link: number, at, took_us: 0, sent: 0, got: 0, key, kind: kind_of(kind, None), state: CallState::None }, client)
    }

    fn add(&mut self, mut row: Row, client: ClientKey) -> RowId {
        if self.rows.len() == self.most {
            // Between the history and the ring a row would be missing.
            if !self.past.is_empty() {
                self.past.clear();
            }
            let gone = self.rows.pop_front();
            self.clients.pop();
            if let Some(class) = gone.as_ref().and_then(class) {
                self.long[class].remove(&self.first);
            }
            if let Some(call) = gone.as_ref().and_then(Row::call) {
                self.runs.remove(&call.0);
            }
            self.first += 1;
        }
        // Times ascend, so that rows can be found by time.
        row.at = row.at.max(self.rows.back().map_or(row.at, |last| last.at));
        self.rows.push_back(row);
        self.clients.push(client);
        self.version += 1;
        let id = self.first + self.rows.len() as u64 - 1;
        self.texts.push(id, "");
        self.texts.forget_before(self.first);
        id
    }

    fn change(&mut self, id: RowId, with: impl FnOnce(&mut Row)) -> bool {
        let row = id.checked_sub(self.first).and_then(|at| self.rows.get_mut(usize::try_from(at).ok()?));
        self.version += 1;
        row.map(with).is_some()
    }

    fn key(&mut self, server: &str, tool: &str) -> u16 {
        if let Some(key) = self.keys.get(server).and_then(|tools| tools.get(tool)) {
            return *key;
        }
        let key = u16::try_from(self.names.len()).unwrap_or(OTHERS);
        if key != OTHERS {
            let (server, tools) = match self.keys.get_key_value(server) {
                Some((name, _)) => (name.clone(), self.keys.get_mut(server)),
                None => (server.into(), Some(self.keys.entry(server.into()).or_default())),
            };
            let tool: Arc<str> = tool.into();
            if let Some(tools) = tools {
                tools.insert(tool.clone(), key);
            }
            self.names.push(Name { server, tool });
        }
        key
    }
}

/// Returns the length class of a long call.
fn class(row: &Row) -> Option<usize> {
    let times = u128::from(row.took_us) * 1000 / LONG.as_nanos();
    (times > 0).then(|| (times.ilog2() as usize).min(CLASSES - 1))
}

enum Thing<'w> {
    Call(&'w crate::state::CallView),
    Frame(&'w Arc<Frame>),
    Log(&'w ServerId, &'w crate::domain::event::LogMessage),
    Anomaly(&'w ServerId, &'w Anomaly),
}

#[cfg(test)]
pub(super) mod tests;
