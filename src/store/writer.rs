//! The history thread, with a connection of its own: writes the history of calls in batches, since one transaction of many
//! costs little more than one of one, writes catalogs, eras and states of targets, and runs checkpoints, which move the write-ahead log into the database.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::{ConnectionError, calls, catalogs, target_states, transaction::Change};
use crate::domain::{
    journal::CallRecord,
    server::Era,
    stored_catalog::{CatalogKey, Hash},
};

/// Calls of one transaction at most.
const TOGETHER: usize = 256;

/// How long a call waits for others at most.
const GATHERING: Duration = Duration::from_millis(200);

/// How far the number of stored calls may exceed its limit before the oldest are deleted.
const SPARE: usize = 200;

/// Something for the thread.
#[derive(Debug)]
pub enum Job {
    /// A call that ended.
    Call(Box<CallRecord>),
    /// Replaces the catalog under a key; `None` deletes it. Confirms when that is written.
    Catalog(CatalogKey, Option<catalogs::Row>, oneshot::Sender<()>),
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

/// Writes until all senders of jobs are dropped. Retains the last `keep` calls. `trouble` holds why the last calls were not
/// stored, while they are not.
pub fn run(
    mut connection: Connection,
    jobs: &Receiver<Job>,
    keep: usize,
    reopen: impl Fn() -> Option<Connection>,
    trouble: &watch::Sender<Option<String>>,
) {
    let mut noted = SPARE;
    while let Ok(first) = jobs.recv() {
        let until = Instant::now() + GATHERING;
        let (mut calls, mut eras, mut states, mut flushed, mut checkpoint, mut replaced, mut catalog) =
            (vec![], vec![], vec![], None, false, false, None);
        let mut next = Ok(first);
        loop {
            match next {
                Ok(Job::Call(call)) => calls.push(call),
                Ok(Job::Catalog(key, row, done)) => {
                    catalog = Some((key, row));
                    flushed = Some(done);
                }
                Ok(Job::Era(launch, era, at)) => eras.push((launch, era, at)),
                Ok(Job::TargetState(target, state, at)) => states.push((target, state, at)),
                Ok(Job::Checkpoint) => checkpoint = true,
                Ok(Job::Reopen) => replaced = true,
                Ok(Job::Flush(done)) => flushed = Some(done),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
            if flushed.is_some() || checkpoint || calls.len() >= TOGETHER {
                break;
            }
            next = jobs.recv_timeout(until.saturating_duration_since(Instant::now()));
        }
        if replaced && let Some(fresh) = reopen() {
            connection = fresh;
        }
        if keep > 0 && !calls.is_empty() {
            // A failed write of the history must not stop the program.
            let why = write(&connection, &calls, keep, &mut noted).err().map(|error| error.to_string());
            if let Some(why) = &why {
                tracing::warn!(target: "switchboard::store", calls = calls.len(), why = %why, "calls were not stored in the history");
            }
            trouble.send_if_modified(|before| {
                let changed = before.is_some() != why.is_some();
                *before = why;
                changed
            });
        }
        if let Some((key, row)) = catalog
            && let Err(error) = write_catalog(&connection, &key, row.as_ref())
        {
            tracing::warn!(target: "switchboard::store", why = %error, "the catalog of a server was not stored");
        }
        for (launch, era, at) in eras {
            if let Err(error) = catalogs::write_era(&connection, &launch, era, at) {
                tracing::warn!(target: "switchboard::store", why = %error, "the era of a server was not stored");
            }
        }
        for (target, state, at) in states {
            if let Err(error) = target_states::write(&connection, &target, state.as_deref(), at) {
                tracing::warn!(target: "switchboard::store", why = %error, "the state of a server was not stored");
            }
        }
        if checkpoint {
            // What cannot be moved now is moved the next time.
            let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
        if let Some(done) = flushed {
            // The receiver may have been dropped.
            let _ = done.send(());
        }
    }
}

fn write_catalog(connection: &Connection, key: &CatalogKey, row: Option<&catalogs::Row>) -> Result<(), ConnectionError> {
    let change = Change::begin(connection)?;
    catalogs::write(connection, key, row)?;
    Ok(change.commit()?)
}

fn write(connection: &Connection, calls: &[Box<CallRecord>], keep: usize, noted: &mut usize) -> Result<(), ConnectionError> {
    let change = Change::begin(connection)?;
    let mut failed = None;
    for call in calls {
        match calls::write(connection, call) {
            Ok(()) => *noted += 1,
            // The others may fit.
            Err(error) => failed = Some(error),
        }
    }
    if *noted >= SPARE {
        *noted = 0;
        calls::forget(connection, keep)?;
    }
    change.commit()?;
    failed.map_or(Ok(()), Err)
}
