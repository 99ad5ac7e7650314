//! The journal: writes run entries on its own connection, on the caller's thread.
//!
//! A transaction takes about ten microseconds, because it goes to the operating system and not to the disk; waking a thread
//! takes longer. When a write may take longer (it waits for the disk, was slow lately, or another program writes), the runtime
//! is notified first, so that it moves its other tasks to another thread.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, ErrorCode};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::{ConnectionError, kill_point::KillPoint, runs, schema, transaction::Change};
use crate::domain::{
    journal::{RunEntry, Seq},
    run::RunId,
};

/// A write that takes longer than this was slow.
const SLOW: Duration = Duration::from_millis(5);

/// Number of writes after a slow one that notify the runtime first.
const WARY: u32 = 100;

/// Writes between two checkpoints: about as many as fill the thousand pages after which SQLite would do one itself.
const CHECKPOINT: u32 = 700;

/// The connection and where it writes.
#[derive(Debug)]
pub struct Journal {
    inner: Mutex<Inner>,
    /// Whether each write waits for the disk.
    flush: bool,
    /// Number of remaining writes that notify the runtime first.
    blocking_writes: AtomicU32,
}

#[derive(Debug)]
struct Inner {
    connection: Connection,
    place: runs::Place,
    /// Writes since the last checkpoint.
    writes: u32,
    kill_point: KillPoint,
}

impl Journal {
    /// A journal over a connection that is set up.
    pub fn new(connection: Connection, flush: bool) -> rusqlite::Result<Journal> {
        // A checkpoint waits for the disk: another thread does it.
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let inner = Inner { connection, place: runs::Place::default(), writes: 0, kill_point: KillPoint::from_environment() };
        Ok(Journal { inner: Mutex::new(inner), flush, blocking_writes: AtomicU32::new(0) })
    }

    /// Writes on this connection from now on.
    pub fn reopen(&self, connection: Connection) -> rusqlite::Result<()> {
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        let mut inner = self.inner.lock();
        (inner.connection, inner.place, inner.writes) = (connection, runs::Place::default(), 0);
        Ok(())
    }

    /// Appends entries to a run whose last entry has the number `after`, all or none. Returns whether a checkpoint is due. May block for [`schema::PATIENCE`] and the
    /// time of the disk, while the runtime's other tasks run.
    pub fn append(&self, run: RunId, after: Seq, entries: &[RunEntry]) -> Result<bool, ConnectionError> {
        let blocking_writes = self.blocking_writes.load(Ordering::Relaxed);
        if !self.flush && blocking_writes == 0 {
            match self.at_once(run, after, entries) {
                Some(Err(ConnectionError::Sqlite(error))) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
                Some(written) => return written,
                None => {}
            }
        }
        self.blocking_writes.store(blocking_writes.saturating_sub(1), Ordering::Relaxed);
        let patiently = || self.timed(self.inner.lock(), schema::PATIENCE, run, after, entries);
        match Handle::try_current().map(|here| here.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(patiently),
            _ => patiently(),
        }
    }

    /// The same without waiting for anybody; `None` where somebody else writes here.
    fn at_once(&self, run: RunId, after: Seq, entries: &[RunEntry]) -> Option<Result<bool, ConnectionError>> {
        let inner = self.inner.try_lock()?;
        Some(self.timed(inner, Duration::ZERO, run, after, entries))
    }

    fn timed(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        patience: Duration,
        run: RunId,
        after: Seq,
        entries: &[RunEntry],
    ) -> Result<bool, ConnectionError> {
        let began = Instant::now();
        let written = inner.append(patience, run, after, entries);
        if began.elapsed() > SLOW {
            self.blocking_writes.store(WARY, Ordering::Relaxed);
        }
        written
    }
}

impl Inner {
    fn append(&mut self, patience: Duration, run: RunId, after: Seq, entries: &[RunEntry]) -> Result<bool, ConnectionError> {
        let Inner { connection, place, writes, kill_point } = self;
        connection.busy_timeout(patience)?;
        let mut all = || -> Result<(), ConnectionError> {
            let change = Change::begin(connection)?;
            for (at, entry) in entries.iter().enumerate() {
                runs::append(connection, place, run, after.plus(at), entry)?;
                kill_point.uncommitted(at + 1);
            }
            Ok(change.commit()?)
        };
        let written: Result<(), ConnectionError> = all();
        if written.is_err() {
            place.lose();
        }
        written?;
        kill_point.committed(entries.len());
        *writes += 1;
        let much = *writes >= CHECKPOINT;
        if much {
            *writes = 0;
        }
        Ok(much)
    }
}
