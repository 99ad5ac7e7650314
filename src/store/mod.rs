//! The store: what outlives the program, in one SQLite file of the state folder.
//!
//! Owns the journal of runs ([`crate::engine::ports::Journal`]) and the history of calls. `journal` is written by
//! whoever waits for it, since handing an entry to another thread and back takes longer than writing it. One thread
//! (`writer`) writes the history, handed to it over a bounded channel, and does what else takes long; it and readers have
//! connections of their own, so that nobody waits for a writer. The composition root opens it; it names only [`crate::domain`] and
//! the ports.

mod calls;
mod change;
mod hold;
mod journal;
mod runs;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::oneshot;

use self::writer::Job;
use crate::{
    domain::{
        journal::{CallRecord, RunEntry, RunHeader, RunRecord},
        run::RunId,
    },
    engine::ports::{Held, Journal, JournalError},
};

/// Calls that may wait for their writer; those beyond are left out.
const WAITING: usize = 1024;

/// The store. Cheap to clone; when the last one is dropped, the thread of the history ends, and closes the file.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    /// Let go of before the thread is, whose connection is then the last and tidies up.
    journal: Arc<journal::Journal>,
    jobs: mpsc::SyncSender<Job>,
}

/// How a store is used.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Calls that the history keeps, 0 for none. `None` for somebody whose calls are not for the history: none is added
    /// to it, and none goes out of it.
    pub calls: Option<usize>,
    /// Whether what is written is flushed to the disk before it counts as written. Without it everything survives the
    /// death of the process, and a power cut or a crash of the system may take the last seconds.
    pub flush: bool,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says so.
    #[error("{path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// A newer program made it.
    #[error(
        "{path} was written by a newer version of Switchboard (its format is {found}, this one knows {known}); use that version, or move the file away"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// The writer ended.
    #[error("the store was closed")]
    Closed,
    /// Its thread could not be started.
    #[error("the store's thread could not be started: {0}")]
    Thread(std::io::Error),
    /// What was written cannot be read.
    #[error("{path}: an entry cannot be read: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl Store {
    /// Opens the store at `path`, which should be private to its owner, and brings it up to date. Keeps
    /// the last `calls` calls; 0 keeps none.
    ///
    /// Blocks while another program that brings the same file up to date is at it, for some seconds at most.
    pub fn open(path: &Path, calls: usize) -> Result<Store, StoreError> {
        Self::open_with(path, StoreOptions { calls: Some(calls), flush: false })
    }

    /// The same, with more to choose.
    pub fn open_with(path: &Path, options: StoreOptions) -> Result<Store, StoreError> {
        let fault = |source| StoreError::Sqlite { path: path.to_owned(), source };
        let open = || {
            let connection = Connection::open(path)?;
            schema::set_up(&connection, options.flush)?;
            Ok(connection)
        };
        let mut connection = open().map_err(fault)?;
        schema::prepare(&mut connection, path)?;
        let journal = Arc::new(journal::Journal::new(open().map_err(fault)?, options.flush).map_err(fault)?);
        let (jobs, waiting) = mpsc::sync_channel(WAITING);
        let keep = options.calls.unwrap_or(0);
        let writing = move || writer::run(&connection, &waiting, keep);
        std::thread::Builder::new().name("store".into()).spawn(writing).map_err(StoreError::Thread)?;
        Ok(Store { path: path.to_owned(), journal, jobs })
    }

    /// Hands a call to the writer. When it is too far behind, the call is left out; says whether it was taken.
    pub fn note_call(&self, call: CallRecord) -> bool {
        self.jobs.try_send(Job::Call(Box::new(call))).is_ok()
    }

    /// Waits until every call handed in before is written.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        let jobs = self.jobs.clone();
        // Waits where the channel is full.
        let sent = tokio::task::spawn_blocking(move || jobs.send(Job::Flush(done)).is_ok()).await;
        if !sent.unwrap_or(false) {
            return Err(StoreError::Closed);
        }
        wait.await.map_err(|_| StoreError::Closed)
    }

    /// The last calls, oldest first; those made with these ids when there are any, in their order.
    pub async fn calls(&self, last: usize, ids: Vec<u64>) -> Result<Vec<CallRecord>, StoreError> {
        self.read(move |connection| if ids.is_empty() { calls::last(connection, last) } else { calls::of(connection, &ids) }).await
    }

    /// The last runs, newest first; those of one workflow when it is given.
    pub async fn runs(&self, last: usize, workflow: Option<String>) -> Result<Vec<RunHeader>, StoreError> {
        self.read(move |connection| runs::headers(connection, last, workflow.as_deref())).await
    }

    /// The run whose id begins like this, if there is exactly one.
    pub async fn find_run(&self, prefix: &str) -> Result<Option<RunId>, StoreError> {
        let prefix = prefix.to_owned();
        self.read(move |connection| runs::find(connection, &prefix)).await
    }

    /// Everything written of a run.
    pub async fn run(&self, run: RunId) -> Result<Option<RunRecord>, StoreError> {
        self.read(move |connection| runs::load(connection, run)).await
    }

    /// Reads on a thread for blocking work, over a connection of its own.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let opened = Connection::open_with_flags(&path, flags).and_then(|connection| {
                connection.busy_timeout(schema::PATIENCE)?;
                Ok(connection)
            });
            match opened.map_err(Trouble::from).and_then(|connection| read(&connection)) {
                Ok(found) => Ok(found),
                Err(Trouble::Sqlite(source)) => Err(StoreError::Sqlite { path, source }),
                Err(Trouble::Damaged(why)) => Err(StoreError::Damaged { path, why }),
            }
        });
        reading.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// What goes wrong on a connection.
#[derive(Debug)]
enum Trouble {
    Sqlite(rusqlite::Error),
    Damaged(String),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Sqlite(error) => error.fmt(f),
            Trouble::Damaged(why) => f.write_str(why),
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Trouble {
        Trouble::Sqlite(error)
    }
}

impl From<serde_json::Error> for Trouble {
    fn from(error: serde_json::Error) -> Trouble {
        Trouble::Damaged(error.to_string())
    }
}

#[async_trait::async_trait]
impl Journal for Store {
    async fn write(&self, run: RunId, entries: Arc<[RunEntry]>) -> Result<(), JournalError> {
        let written = self.journal.write(run, &entries);
        if written.as_ref().is_ok_and(|much| *much) {
            // One that waits already is enough.
            let _ = self.jobs.try_send(Job::Checkpoint);
        }
        written.map(|_| ()).map_err(|trouble| JournalError(format!("{}: {trouble}", self.path.display())))
    }

    async fn load(&self, run: RunId) -> Result<Option<RunRecord>, JournalError> {
        self.run(run).await.map_err(|error| JournalError(error.to_string()))
    }

    async fn hold(&self, run: RunId) -> Result<Option<Held>, JournalError> {
        let folder = self.path.with_extension("runs");
        let taken = tokio::task::spawn_blocking(move || hold::take(&folder, run)).await;
        let taken = taken.map_err(|error| JournalError(error.to_string()))?;
        Ok(taken.map_err(|error| JournalError(error.to_string()))?.map(|hold| Box::new(hold) as Held))
    }
}
