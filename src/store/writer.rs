//! The history thread, with a connection of its own: writes the history of calls in batches, since one transaction of many
//! costs little more than one of one, writes catalogs, eras and states of targets, and runs checkpoints, which move the write-ahead log into the database.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::{
    ConnectionError, calls, catalogs,
    definitions::{self, Listing},
    history::{self, HistoryLimits},
    recover, schema, sessions, target_states,
    transaction::Change,
};
use crate::domain::{
    body::Body,
    id::InstanceId,
    journal::CallRecord,
    masked,
    program_session::SessionStart,
    secret::SecretRegistry,
    server::Era,
    stored_catalog::{CatalogKey, Hash},
};

/// Calls, and bytes of their bodies, that are written without waiting for more.
const TOGETHER: usize = 256;
const BYTES_TOGETHER: usize = 8 << 20;

/// How long a call waits for others at most.
const GATHERING: Duration = Duration::from_millis(200);

/// How far the number of stored calls may exceed its limit before the oldest are deleted; or a hundredth of the limit.
const SPARE: usize = 200;

/// Calls, and bytes of their bodies, that wait for the thread; further ones are lost.
const WAITING: (usize, usize) = (4096, 64 << 20);

/// Calls, and bytes of their bodies, that wait for a database that cannot be written. The oldest are lost first.
const PENDING: (usize, usize) = (4096, 64 << 20);

/// Sessions of one process whose begin is in memory.
const SESSIONS: usize = 16;

/// How long a write of calls waits for the lock of another process. Meanwhile the queue fills.
const PATIENCE: Duration = Duration::from_millis(500);

/// Pause before calls that could not be written are tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Something for the thread.
#[derive(Debug)]
pub enum Job {
    /// Calls wait in [`Incoming`]: the first one since the last batch, or enough for a transaction.
    Calls,
    /// The session of later calls.
    SessionBegan(SessionStart),
    /// A session ended at a time (milliseconds since the Unix epoch).
    SessionEnded(InstanceId, u64),
    /// Replaces the catalog under a key; `None` deletes it. Confirms when that is written.
    Catalog(CatalogKey, Option<catalogs::Row>, oneshot::Sender<()>),
    /// Stores the versions of what a server defines.
    Definitions(Box<Listing>),
    /// Stores the era of a server at a time (milliseconds since the Unix epoch); `None` deletes it.
    Era(Hash, Option<Era>, i64),
    /// Stores the state of a target as JSON at a time (milliseconds since the Unix epoch); `None` deletes it.
    TargetState(Hash, Option<String>, i64),
    /// Run a checkpoint: the journal's write-ahead log is large.
    Checkpoint,
    /// The database was replaced: it is opened again.
    Reopen,
    /// Confirm when every earlier call is written.
    Flush(oneshot::Sender<()>),
}

/// What the history's writer works with.
pub struct Writer<R> {
    /// The connection.
    pub connection: Connection,
    /// Which calls are retained; `None` to store none.
    pub limits: Option<HistoryLimits>,
    /// Opens the database again: with a reason, because it is damaged.
    pub reopen: R,
    /// Why the last calls were not stored, while they are not.
    pub trouble: watch::Sender<Option<String>>,
    /// Calls on their way to the history.
    pub incoming: Arc<Incoming>,
    /// The sessions of this process.
    pub sessions: Vec<SessionStart>,
    /// Returns the time in milliseconds since the Unix epoch.
    pub now_ms: fn() -> u64,
}

/// Calls on their way to the history. Adding one wakes the thread only if there is something to do, and then once for many: a wake-up for
/// each call would cost more than the rest of it.
#[derive(Debug, Default)]
pub struct Incoming {
    /// Calls, and the secrets to mask in them.
    calls: Mutex<Vec<(Box<CallRecord>, SecretRegistry)>>,
    /// Bytes of their bodies.
    bytes: AtomicUsize,
    /// Calls that were lost since the start.
    pub lost: AtomicU64,
}

/// The outcome of [`Incoming::add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The thread knows already that calls wait.
    Queued,
    /// The thread has to get [`Job::Calls`].
    Wake,
    /// Too many calls wait, or too many bytes. The call is lost.
    Full,
}

impl Incoming {
    /// Adds a call, unless too many wait.
    pub fn add(&self, call: CallRecord, secrets: SecretRegistry) -> Added {
        let weight = weight(&call);
        let mut calls = self.calls.lock();
        if calls.len() >= WAITING.0 || self.bytes.load(Ordering::Relaxed) + weight > WAITING.1 {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return Added::Full;
        }
        let bytes = self.bytes.fetch_add(weight, Ordering::Relaxed);
        calls.push((Box::new(call), secrets));
        let enough = calls.len() == TOGETHER || (bytes < BYTES_TOGETHER && bytes + weight >= BYTES_TOGETHER);
        if calls.len() == 1 || enough { Added::Wake } else { Added::Queued }
    }

    fn is_enough(&self) -> bool {
        self.calls.lock().len() >= TOGETHER || self.bytes.load(Ordering::Relaxed) >= BYTES_TOGETHER
    }

    /// Takes all calls.
    pub fn take(&self) -> Vec<(Box<CallRecord>, SecretRegistry)> {
        let mut calls = self.calls.lock();
        self.bytes.store(0, Ordering::Relaxed);
        std::mem::take(&mut calls)
    }
}

/// Calls that are not written yet.
#[derive(Default)]
struct Pending {
    calls: VecDeque<Box<CallRecord>>,
    bytes: usize,
    /// When the next attempt is made, after a failure.
    retry: Option<Instant>,
    /// Calls written since old ones were deleted.
    written: usize,
}

/// Returns the size of the bodies of a call, in bytes.
fn weight(call: &CallRecord) -> usize {
    call.spec.operation.weight() + call.result.as_ref().map_or(0, Body::len)
}

impl Pending {
    fn push(&mut self, call: Box<CallRecord>) {
        self.bytes += weight(&call);
        self.calls.push_back(call);
    }

    /// Drops the oldest calls above the limits; returns their number.
    fn shed(&mut self) -> u64 {
        let before = self.calls.len();
        while self.calls.len() > PENDING.0 || self.bytes > PENDING.1 {
            let Some(oldest) = self.calls.pop_front() else { break };
            self.bytes -= weight(&oldest);
        }
        (before - self.calls.len()) as u64
    }

    fn clear(&mut self) {
        (self.bytes, self.retry) = (0, None);
        self.calls.clear();
    }
}

impl<R: FnMut(Option<&str>) -> Option<Connection>> Writer<R> {
    /// Writes until all senders of jobs are dropped.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        let mut pending = Pending { written: SPARE, ..Pending::default() };
        loop {
            let first = match pending.retry {
                Some(at) => jobs.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if first.as_ref().is_err_and(|error| *error == RecvTimeoutError::Disconnected) {
                break;
            }
            let until = Instant::now() + GATHERING;
            let (mut eras, mut states, mut listings, mut ended, mut flushed, mut checkpoint, mut replaced, mut catalog) =
                (vec![], vec![], vec![], vec![], None, false, false, None);
            let mut next = first;
            loop {
                match next {
                    Ok(Job::Calls) => {}
                    Ok(Job::SessionBegan(session)) => self.begin(session),
                    Ok(Job::SessionEnded(session, at)) => ended.push((session, at)),
                    Ok(Job::Catalog(key, row, done)) => {
                        catalog = Some((key, row));
                        flushed = Some(done);
                    }
                    Ok(Job::Definitions(listing)) => listings.push(listing),
                    Ok(Job::Era(launch, era, at)) => eras.push((launch, era, at)),
                    Ok(Job::TargetState(target, state, at)) => states.push((target, state, at)),
                    Ok(Job::Checkpoint) => checkpoint = true,
                    Ok(Job::Reopen) => replaced = true,
                    Ok(Job::Flush(done)) => flushed = Some(done),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
                if flushed.is_some() || checkpoint || self.incoming.is_enough() {
                    break;
                }
                next = jobs.recv_timeout(until.saturating_duration_since(Instant::now()));
            }
            self.take_calls(&mut pending);
            if replaced && let Some(fresh) = (self.reopen)(None) {
                self.connection = fresh;
            }
            if pending.retry.is_none_or(|at| flushed.is_some() || at <= Instant::now()) {
                self.store(&mut pending);
            }
            self.lose(pending.shed());
            if let Some((key, row)) = catalog
                && let Err(error) = write_catalog(&self.connection, &key, row.as_ref())
            {
                tracing::warn!(target: "switchboard::store", why = %error, "the catalog of a server was not stored");
            }
            for listing in listings {
                if let Err(error) = definitions::write(&self.connection, &listing) {
                    tracing::warn!(target: "switchboard::store", why = %error, "the definitions of a server were not stored");
                }
            }
            for (session, at) in ended {
                if let Err(error) = sessions::end(&self.connection, session, at) {
                    tracing::warn!(target: "switchboard::store", why = %error, "the end of the session was not stored");
                }
            }
            for (launch, era, at) in eras {
                if let Err(error) = catalogs::write_era(&self.connection, &launch, era, at) {
                    tracing::warn!(target: "switchboard::store", why = %error, "the era of a server was not stored");
                }
            }
            for (target, state, at) in states {
                if let Err(error) = target_states::write(&self.connection, &target, state.as_deref(), at) {
                    tracing::warn!(target: "switchboard::store", why = %error, "the state of a server was not stored");
                }
            }
            if checkpoint {
                // What cannot be moved now is moved the next time.
                let _ = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            }
            if let Some(done) = flushed {
                // The receiver may have been dropped.
                let _ = done.send(());
            }
        }
        self.take_calls(&mut pending);
        self.store(&mut pending);
        self.lose(pending.calls.len() as u64);
    }

    /// Masks the secrets in the calls that wait.
    fn take_calls(&self, pending: &mut Pending) {
        for (mut call, secrets) in self.incoming.take() {
            masked::record(&secrets.redactor(), &mut call);
            if self.limits.is_some() {
                pending.push(call);
            }
        }
    }

    fn begin(&mut self, session: SessionStart) {
        self.sessions.retain(|other| other.session != session.session);
        self.sessions.push(session);
        // A process has one engine; more of them are tests.
        let more = self.sessions.len().saturating_sub(SESSIONS);
        self.sessions.drain(..more);
    }

    /// Writes the pending calls. What cannot be written stays pending.
    fn store(&mut self, pending: &mut Pending) {
        let Some(limits) = self.limits.filter(|_| !pending.calls.is_empty()) else { return };
        let mut written = self.write(pending);
        let damage = match &written {
            Err(ConnectionError::Sqlite(error)) if recover::is_damage(error) => Some(recover::words(error)),
            _ => None,
        };
        if let Some(why) = damage
            && let Some(fresh) = (self.reopen)(Some(&why))
        {
            self.connection = fresh;
            written = self.write(pending);
        }
        let why = match written {
            Ok(unreadable) => {
                pending.written += pending.calls.len();
                pending.clear();
                self.lose(unreadable);
                None
            }
            Err(error) => {
                pending.retry = Some(Instant::now() + PAUSE);
                Some(error.to_string())
            }
        };
        if let Some(why) = &why {
            tracing::warn!(target: "switchboard::store", calls = pending.calls.len(), why = %why, "calls were not stored in the history");
        }
        self.trouble.send_if_modified(|before| {
            let changed = before.is_some() != why.is_some();
            *before = why;
            changed
        });
        if pending.written >= SPARE.max(limits.calls / 100) && self.trouble.borrow().is_none() {
            pending.written = 0;
            if let Err(error) = history::apply_limits(&self.connection, limits, (self.now_ms)()) {
                tracing::warn!(target: "switchboard::store", why = %error, "old calls were not deleted from the history");
            }
        }
    }

    /// Writes the pending calls, all or none. Returns how many have no stored form.
    fn write(&self, pending: &Pending) -> Result<u64, ConnectionError> {
        self.connection.busy_timeout(PATIENCE)?;
        let written = write_calls(&self.connection, &pending.calls, &self.sessions);
        self.connection.busy_timeout(schema::PATIENCE)?;
        written
    }

    fn lose(&self, calls: u64) {
        if calls > 0 {
            self.incoming.lost.fetch_add(calls, Ordering::Relaxed);
            tracing::warn!(target: "switchboard::store", calls, "calls were lost for the history");
        }
    }
}

fn write_calls(connection: &Connection, calls: &VecDeque<Box<CallRecord>>, known: &[SessionStart]) -> Result<u64, ConnectionError> {
    let change = Change::begin(connection)?;
    let mut lost = 0;
    let mut written = vec![];
    for call in calls {
        match calls::write(connection, call) {
            Ok(()) => written.push(&**call),
            Err(ConnectionError::Damaged(why)) => {
                tracing::warn!(target: "switchboard::store", why = %why, "a call has no stored form");
                lost += 1;
            }
            Err(error) => return Err(error),
        }
    }
    history::add_sums(connection, written.iter().copied())?;
    sessions::add(connection, written, known)?;
    change.commit()?;
    Ok(lost)
}

fn write_catalog(connection: &Connection, key: &CatalogKey, row: Option<&catalogs::Row>) -> Result<(), ConnectionError> {
    let change = Change::begin(connection)?;
    catalogs::write(connection, key, row)?;
    Ok(change.commit()?)
}
