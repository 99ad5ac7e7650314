//! The thread that does what nobody waits for, on a connection of its own: writes the history of calls, some together,
//! since one transaction of many costs little more than one of one, and moves what was written from the log to its place.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{ConnectionError, calls, transaction::Change};
use crate::domain::journal::CallRecord;

/// Calls of one transaction at most.
const TOGETHER: usize = 256;

/// How long a call waits for others at most.
const GATHERING: Duration = Duration::from_millis(200);

/// How many more calls than wanted are kept before the oldest are thrown away.
const SPARE: usize = 200;

/// Something for the thread.
#[derive(Debug)]
pub enum Job {
    /// A call that ended.
    Call(Box<CallRecord>),
    /// The journal wrote much: its log is to be moved to its place.
    Checkpoint,
    /// The database was replaced: it is opened again.
    Reopen,
    /// Nothing; told when every call before is written.
    Flush(oneshot::Sender<()>),
}

/// Writes until nobody is left who hands jobs in. Keeps the last `keep` calls.
pub fn run(mut connection: Connection, jobs: &Receiver<Job>, keep: usize, reopen: impl Fn() -> Option<Connection>) {
    let mut noted = SPARE;
    while let Ok(first) = jobs.recv() {
        let until = Instant::now() + GATHERING;
        let (mut calls, mut flushed, mut checkpoint, mut replaced) = (vec![], None, false, false);
        let mut next = Ok(first);
        loop {
            match next {
                Ok(Job::Call(call)) => calls.push(call),
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
        // Calls that cannot be kept are no reason to stop anything.
        let _ = write(&connection, &calls, keep, &mut noted);
        if checkpoint {
            // What cannot be moved now is moved the next time.
            let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
        if let Some(done) = flushed {
            // Whoever asked may be gone.
            let _ = done.send(());
        }
    }
}

fn write(connection: &Connection, calls: &[Box<CallRecord>], keep: usize, noted: &mut usize) -> Result<(), ConnectionError> {
    if keep == 0 || calls.is_empty() {
        return Ok(());
    }
    let change = Change::begin(connection)?;
    *noted += calls.iter().filter(|call| calls::write(connection, call).is_ok()).count();
    if *noted >= SPARE {
        *noted = 0;
        calls::forget(connection, keep)?;
    }
    Ok(change.commit()?)
}
