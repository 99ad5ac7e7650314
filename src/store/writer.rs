//! The thread that writes. Whatever waits when it comes round goes into one transaction, so that many
//! writers share the cost of making it durable.

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::{Trouble, calls, runs};
use crate::domain::{
    journal::{CallRecord, RunEntry},
    run::RunId,
};

/// Jobs of one transaction.
const TOGETHER: usize = 256;

/// How many more calls than wanted are kept before the oldest are thrown away.
const SPARE: usize = 200;

/// Something to be written.
#[derive(Debug)]
pub enum Job {
    /// An entry of a run, whose writer waits.
    Entry {
        /// The run.
        run: RunId,
        /// The entry.
        entry: Box<RunEntry>,
        /// Told when it is durable, or why it is not.
        done: oneshot::Sender<Result<(), String>>,
    },
    /// A call that ended.
    Call(Box<CallRecord>),
    /// Nothing; told when everything before is written.
    Flush(oneshot::Sender<()>),
}

type Told = (oneshot::Sender<Result<(), String>>, Result<(), String>);

/// Writes until nobody is left who hands jobs in. Keeps the last `keep` calls; `None` leaves the history as it is.
pub fn run(mut connection: Connection, mut jobs: mpsc::Receiver<Job>, keep: Option<usize>) {
    let mut noted = SPARE;
    let mut batch = Vec::with_capacity(TOGETHER);
    while jobs.blocking_recv_many(&mut batch, TOGETHER) > 0 {
        let (mut told, mut flushed): (Vec<Told>, Vec<oneshot::Sender<()>>) = (vec![], vec![]);
        let written = write_all(&mut connection, batch.drain(..), &mut told, &mut flushed, keep, &mut noted);
        let failed = written.err().map(|error| words(&error));
        for (done, result) in told {
            let result = match &failed {
                Some(why) => Err(why.clone()),
                None => result,
            };
            // Whoever asked may be gone.
            let _ = done.send(result);
        }
        for done in flushed {
            let _ = done.send(());
        }
    }
}

fn write_all(
    connection: &mut Connection,
    batch: impl Iterator<Item = Job>,
    told: &mut Vec<Told>,
    flushed: &mut Vec<oneshot::Sender<()>>,
    keep: Option<usize>,
    noted: &mut usize,
) -> Result<(), Trouble> {
    let batch: Vec<Job> = batch.collect();
    let change = match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
        Ok(change) => change,
        Err(error) => {
            let error = Trouble::Sqlite(error);
            for job in batch {
                match job {
                    Job::Entry { done, .. } => told.push((done, Err(words(&error)))),
                    Job::Flush(done) => flushed.push(done),
                    Job::Call(_) => {}
                }
            }
            return Err(error);
        }
    };
    for job in batch {
        match job {
            Job::Entry { run, entry, done } => {
                let result = runs::write(&change, run, &entry).map_err(|error| words(&error));
                told.push((done, result));
            }
            // A call that cannot be kept is no reason to stop anything.
            Job::Call(call) if keep.is_some_and(|keep| keep > 0) => {
                if calls::write(&change, &call).is_ok() {
                    *noted += 1;
                }
            }
            Job::Call(_) => {}
            Job::Flush(done) => flushed.push(done),
        }
    }
    if let Some(keep) = keep
        && *noted >= SPARE
    {
        *noted = 0;
        calls::forget(&change, keep)?;
    }
    change.commit()?;
    Ok(())
}

fn words(error: &Trouble) -> String {
    match error {
        Trouble::Sqlite(error) => error.to_string(),
        Trouble::Damaged(why) => why.clone(),
    }
}
