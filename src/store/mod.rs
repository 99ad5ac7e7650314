//! The store: persistent state in one SQLite file of the state folder.
//!
//! Owns the journal of runs ([`crate::engine::ports::Journal`]) the history of calls, and
//! the last known catalogs ([`crate::engine::ports::CatalogStore`]). The journal (`journal`) is written on
//! the caller's thread: a hand-off to another thread costs more than the write. One thread (`writer`) writes the history,
//! received over a bounded channel, and runs slow maintenance. Writer and readers have their own connections, so that no reader
//! waits for a write. The composition root opens the store; it depends only on [`crate::domain`] and the ports.

mod bodies;
mod calls;
mod catalogs;
mod codec;
mod definitions;
mod filter_sql;
mod history;
#[cfg(test)]
mod history_tests;
mod journal;
mod kill_point;
mod plans;
mod recover;
mod run_lock;
mod runs;
mod schema;
mod sessions;
mod target_states;
#[cfg(test)]
mod tests;
mod transaction;
mod writer;

use std::{
    fs::{OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering, mpsc},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{oneshot, watch};

use self::writer::{Added, Incoming, Job, Writer};
pub use self::{catalogs::Catalogs, history::HistoryLimits, recover::SetAside};
use crate::{
    domain::{
        call::Origin,
        call_summary::CallSummary,
        drift::DefinitionVersion,
        filter::Filter,
        history::{HistoryPage, HistoryQuery, HistoryStats, Period, StatsBy},
        id::InstanceId,
        journal::{CallRecord, RunEntry, RunHeader, RunRecord, Seq},
        program_session::{SessionStart, SessionSummary},
        run::RunId,
        secret::SecretRegistry,
    },
    engine::ports::{History, Journal, JournalError, RunLease, SettledCall},
};

/// Jobs queued for the writer.
const JOBS: usize = 4096;

/// Pause before a database that another program creates is opened again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The store. Cheap to clone; dropping the last clone ends the history thread and closes the file.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
    /// Dropped before the thread, whose connection is then the last one and cleans up.
    journal: Arc<journal::Journal>,
    jobs: mpsc::SyncSender<Job>,
    flush: bool,
    /// The identity of the open file, to detect that another file took its name.
    identity: Arc<Mutex<Option<recover::Identity>>>,
    /// Databases that were moved out of the way and not yet reported.
    set_aside: Arc<Mutex<Vec<SetAside>>>,
    /// Why the last calls were not stored in the history, while they are not.
    trouble: watch::Receiver<Option<String>>,
    incoming: Arc<Incoming>,
}

/// Settings of a store.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Calls that the history retains. `None` for somebody whose calls are not for the history: none is added to it, and none
    /// is deleted from it.
    pub history: Option<HistoryLimits>,
    /// Whether what is written is flushed to the disk before it counts as written. Without it everything survives the
    /// death of the process, and a power cut or a crash of the system may take the last seconds.
    pub flush: bool,
}

/// The reason why the store cannot be used.
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
    /// A newer program wrote a part of it.
    #[error("{path}: {what}; use the newer version of Switchboard that wrote it")]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The format or codec, and those that are known here.
        what: String,
    },
    /// The writer ended.
    #[error("the store was closed")]
    Closed,
    /// Its thread could not be started.
    #[error("the store's thread could not be started: {0}")]
    Thread(std::io::Error),
    /// It cannot be used and could not be moved out of the way.
    #[error("{path} cannot be used and could not be moved out of the way: {source}")]
    Recovery {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
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
        let history = (calls > 0).then_some(HistoryLimits { calls, age_ms: 0, bytes: 0 });
        Self::open_with(path, StoreOptions { history, flush: false })
    }

    /// The same, with more to choose.
    ///
    /// A database that is damaged, is not a regular file, or that others own or could write is moved out of the way, and
    /// a new one is made; [`Store::take_set_aside`] says so. One of a newer version stays and is an error.
    pub fn open_with(path: &Path, options: StoreOptions) -> Result<Store, StoreError> {
        let (opened, set_aside) = recovered(path, options.flush)?;
        let journal = Arc::new(journal::Journal::new(opened.journal, options.flush).map_err(|source| fault(path, source))?);
        let (jobs, waiting) = mpsc::sync_channel(JOBS);
        let set_aside: Arc<Mutex<Vec<SetAside>>> = Arc::new(Mutex::new(set_aside.into_iter().collect()));
        let identity = Arc::new(Mutex::new(recover::identity(path)));
        let damaged = Replacement { path: path.to_owned(), flush: options.flush, identity: identity.clone(), set_aside: set_aside.clone() };
        let reopen = move |damage: Option<&str>| match damage {
            Some(why) => damaged.replace(why).ok().map(|opened| opened.history),
            None => connect(&damaged.path, damaged.flush).ok(),
        };
        let (failed, trouble) = watch::channel(None);
        let incoming = Arc::new(Incoming::default());
        let (connection, limits) = (opened.history, options.history);
        let writer =
            Writer { connection, limits, reopen, trouble: failed, incoming: incoming.clone(), sessions: vec![], now_ms: wall_clock };
        std::thread::Builder::new().name("store".into()).spawn(move || writer.run(&waiting)).map_err(StoreError::Thread)?;
        Ok(Store { path: path.to_owned(), journal, jobs, flush: options.flush, identity, set_aside, trouble, incoming })
    }

    /// The databases that were moved out of the way since this was last asked.
    pub fn take_set_aside(&self) -> Vec<SetAside> {
        std::mem::take(&mut *self.set_aside.lock())
    }

    /// Returns why the last calls were not stored in the history, while they are not, and its changes.
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.clone()
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Starts a run in a new database after the old one turned out to be damaged.
    fn begin_in_new_file(&self, run: RunId, entries: &[RunEntry]) -> Result<bool, ConnectionError> {
        let replacement =
            Replacement { path: self.path.clone(), flush: self.flush, identity: self.identity.clone(), set_aside: self.set_aside.clone() };
        let opened = replacement.replace("it is damaged").map_err(|error| ConnectionError::Damaged(error.to_string()))?;
        self.journal.reopen(opened.journal)?;
        // A full channel is emptied before the thread can reopen: its connection is then of the old file a little longer.
        let _ = self.jobs.try_send(Job::Reopen);
        self.journal.append(run, Seq::default(), entries)
    }

    /// Queues a call for the writer, which masks the secrets in it. Returns false if the queue is full and the call was lost.
    pub fn note_call(&self, call: CallRecord, secrets: SecretRegistry) -> bool {
        let lost = match self.incoming.add(call, secrets) {
            Added::Queued => false,
            // With a full channel the thread is at work, and takes the calls that wait with its next batch.
            Added::Wake => matches!(self.jobs.try_send(Job::Calls), Err(mpsc::TrySendError::Disconnected(_))),
            Added::Full => true,
        };
        if lost {
            tracing::warn!(target: "switchboard::store", "the history is behind, so a call was not stored");
        }
        !lost
    }

    /// Describes the session whose calls are recorded from now on. It is stored with its first row.
    pub fn begin_session(&self, session: SessionStart) {
        // A session that does not fit is stored without its kind.
        let _ = self.jobs.try_send(Job::SessionBegan(session));
    }

    /// Stores that a session ended, at a time in milliseconds since the Unix epoch.
    pub fn end_session(&self, session: InstanceId, at_ms: u64) {
        // A session whose end does not fit looks like one that was killed.
        let _ = self.jobs.try_send(Job::SessionEnded(session, at_ms));
    }

    /// Returns how many calls were lost for the history since the store was opened.
    pub fn lost_calls(&self) -> u64 {
        self.incoming.lost.load(Ordering::Relaxed)
    }

    /// Returns the last known catalogs of servers in this store.
    pub fn catalogs(&self) -> Catalogs {
        Catalogs::new(self.clone())
    }

    /// Waits until every queued call is written.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (done, wait) = oneshot::channel();
        let jobs = self.jobs.clone();
        // Blocks while the channel is full.
        let sent = tokio::task::spawn_blocking(move || jobs.send(Job::Flush(done)).is_ok()).await;
        if !sent.unwrap_or(false) {
            return Err(StoreError::Closed);
        }
        wait.await.map_err(|_| StoreError::Closed)
    }

    /// Returns the last calls, oldest first; if `ids` are given, the calls with these ids, in their order.
    pub async fn calls(&self, last: usize, ids: Vec<u64>) -> Result<Vec<CallRecord>, StoreError> {
        self.read(move |connection| if ids.is_empty() { calls::last(connection, last) } else { calls::of(connection, &ids) }).await
    }

    /// Returns a page of the history.
    pub async fn history(&self, filter: Filter, query: HistoryQuery) -> Result<HistoryPage, StoreError> {
        self.read(move |connection| history::page(connection, &filter, &query)).await
    }

    /// Returns the last sessions, newest first.
    pub async fn sessions(&self, last: usize) -> Result<Vec<SessionSummary>, StoreError> {
        self.read(move |connection| sessions::last(connection, last)).await
    }

    /// Returns the statistics of a period; with `compare` also the rows of the period before.
    pub async fn stats(&self, period: Period, by: StatsBy, compare: bool) -> Result<HistoryStats, StoreError> {
        self.read(move |connection| history::stats(connection, period, by, compare)).await
    }

    /// Returns the versions of what servers define, in the order in which they were seen; if `server` is given, only its.
    pub async fn definitions(&self, server: Option<String>) -> Result<Vec<DefinitionVersion>, StoreError> {
        self.read(move |connection| definitions::versions(connection, server.as_deref())).await
    }

    /// Accepts the current definitions of a server; if `name` is given, only those with this name. Returns how many changed.
    pub async fn accept_definitions(&self, server: &str, name: Option<&str>) -> Result<usize, StoreError> {
        let (server, name) = (server.to_owned(), name.map(str::to_owned));
        self.change(move |connection| definitions::accept(connection, &server, name.as_deref())).await
    }

    /// Deletes the calls of the history that began before a time, in milliseconds since the Unix epoch. Returns their number.
    pub async fn prune(&self, before_ms: u64) -> Result<usize, StoreError> {
        self.change(move |connection| history::prune(connection, before_ms)).await
    }

    /// Writes on a blocking thread, over its own connection.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, ConnectionError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (path, flush) = (self.path.clone(), self.flush);
        let changing = move || {
            let connection = connect(&path, flush).map_err(|source| fault(&path, source))?;
            change(&connection).map_err(|error| error.at(&path))
        };
        tokio::task::spawn_blocking(changing).await.unwrap_or(Err(StoreError::Closed))
    }

    /// Returns the last runs, newest first; if `workflow` is given, only its runs.
    pub async fn runs(&self, last: usize, workflow: Option<String>) -> Result<Vec<RunHeader>, StoreError> {
        self.read(move |connection| runs::headers(connection, last, workflow.as_deref())).await
    }

    /// Returns the run whose id has this prefix, if exactly one has.
    pub async fn find_run(&self, prefix: &str) -> Result<Option<RunId>, StoreError> {
        let prefix = prefix.to_owned();
        self.read(move |connection| runs::find(connection, &prefix)).await
    }

    /// Returns everything written of a run.
    pub async fn run(&self, run: RunId) -> Result<Option<RunRecord>, StoreError> {
        self.read(move |connection| runs::load(connection, run)).await
    }

    /// Returns whether a process executes the run.
    pub async fn is_locked(&self, run: RunId) -> io::Result<bool> {
        let folder = self.path.with_extension("runs");
        tokio::task::spawn_blocking(move || run_lock::is_held(&folder, run)).await.map_err(io::Error::other)?
    }

    /// Reads on a blocking thread, over its own connection.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ConnectionError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let opened = Connection::open_with_flags(&path, flags).and_then(|connection| {
                connection.busy_timeout(schema::PATIENCE)?;
                Ok(connection)
            });
            opened.map_err(ConnectionError::from).and_then(|connection| read(&connection)).map_err(|error| error.at(&path))
        });
        reading.await.unwrap_or(Err(StoreError::Closed))
    }
}

/// Largest result that is passed to the writer, in bytes.
const LONGEST_RESULT: usize = bodies::LONGEST_BODY;

/// Called where a call settles: takes a few microseconds, most of them for copies of names.
impl History for Store {
    fn record(&self, call: SettledCall) {
        let SettledCall { instance, call, unix_ms, name, spec, settled, secrets } = call;
        if spec.origin == Origin::Demo {
            return;
        }
        let summary = CallSummary::new((instance, call), (unix_ms, name), &spec, &settled);
        let result = settled.outcome.result().filter(|result| result.len() <= LONGEST_RESULT).cloned();
        self.note_call(CallRecord { summary, spec, result }, secrets);
    }

    fn record_lifecycle(&self, request: SettledCall) {
        let SettledCall { instance, call, unix_ms, name, spec, settled, secrets } = request;
        let summary = CallSummary::new((instance, call), (unix_ms, name), &spec, &settled);
        // No span is exported for it.
        let summary = CallSummary { lifecycle: true, trace: None, ..summary };
        self.note_call(CallRecord { summary, spec, result: settled.outcome.result().cloned() }, secrets);
    }
}

/// Replaces a damaged database by an empty one.
struct Replacement {
    path: PathBuf,
    flush: bool,
    identity: Arc<Mutex<Option<recover::Identity>>>,
    set_aside: Arc<Mutex<Vec<SetAside>>>,
}

impl Replacement {
    /// Moves the file out of the way, unless that happened since it was opened, and opens the new one. `why` is the damage that
    /// a write found: the probe of a start did not.
    fn replace(&self, why: &str) -> Result<Opened, StoreError> {
        let refused = |source| StoreError::Recovery { path: self.path.clone(), source };
        let mut identity = self.identity.lock();
        let still = || (recover::identity(&self.path) == *identity).then(|| why.to_owned());
        let moved = recover::set_aside(&self.path, still).map_err(refused)?;
        let (opened, again) = recovered(&self.path, self.flush)?;
        *identity = recover::identity(&self.path);
        self.set_aside.lock().extend(moved.into_iter().chain(again));
        Ok(opened)
    }
}

/// Returns the wall-clock time in milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the age of calls in the history")]
fn wall_clock() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or_default()
}

/// The connections of a store.
struct Opened {
    journal: Connection,
    history: Connection,
}

fn fault(path: &Path, source: rusqlite::Error) -> StoreError {
    StoreError::Sqlite { path: path.to_owned(), source }
}

fn connect(path: &Path, flush: bool) -> rusqlite::Result<Connection> {
    let until = Instant::now() + schema::PATIENCE;
    loop {
        let connection = Connection::open(path)?;
        match schema::set_up(&connection, flush) {
            // SQLite does not wait for the lock that the change to a write-ahead log needs, while another program creates the database.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && Instant::now() < until => {
                std::thread::sleep(BUSY_PAUSE);
            }
            result => return result.map(|()| connection),
        }
    }
}

/// Opens both connections and brings the tables up to date.
fn open(path: &Path, flush: bool) -> Result<Opened, StoreError> {
    let mut history = connect(path, flush).map_err(|source| fault(path, source))?;
    schema::prepare(&mut history, path)?;
    let journal = connect(path, flush).map_err(|source| fault(path, source))?;
    Ok(Opened { journal, history })
}

/// Opens both connections; moves an unusable database out of the way first.
fn recovered(path: &Path, flush: bool) -> Result<(Opened, Option<SetAside>), StoreError> {
    let refused = |source| StoreError::Recovery { path: path.to_owned(), source };
    let why_not = || match recover::unusable(path) {
        Ok(Some(why)) => Some(why),
        Ok(None) => open(path, flush).err().and_then(|error| error.damage()),
        Err(_) => None,
    };
    // SQLite would apply the umask. An error shows up when the file is opened.
    let _ = create(path);
    let first = match recover::unusable(path).map_err(refused)? {
        None => open(path, flush),
        Some(why) => Err(StoreError::Damaged { path: path.to_owned(), why }),
    };
    match first {
        Err(error) if error.damage().is_some() => {}
        other => return other.map(|opened| (opened, None)),
    }
    let moved = recover::set_aside(path, why_not).map_err(refused)?;
    create(path).map_err(refused)?;
    Ok((open(path, flush)?, moved))
}

/// Creates an empty database with mode 0600 regardless of the umask, unless one exists.
fn create(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(file) => file.set_permissions(Permissions::from_mode(0o600)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

impl StoreError {
    /// Returns the damage, if the database is damaged.
    fn damage(&self) -> Option<String> {
        match self {
            StoreError::Sqlite { source, .. } if recover::is_damage(source) => Some(recover::words(source)),
            StoreError::Damaged { why, .. } => Some(why.clone()),
            _ => None,
        }
    }
}

type Locking = tokio::task::JoinHandle<io::Result<Option<run_lock::RunLockFile>>>;

async fn leased(lock: Locking) -> Result<Option<Box<dyn RunLease>>, JournalError> {
    let lock = lock.await.map_err(|error| JournalError::Failed(error.to_string()))?;
    Ok(lock.map_err(|error| JournalError::Failed(error.to_string()))?.map(|lock| Box::new(lock) as Box<dyn RunLease>))
}

/// An error on a connection.
#[derive(Debug)]
enum ConnectionError {
    Sqlite(rusqlite::Error),
    Damaged(String),
    /// A newer version wrote it, in this form.
    Newer(String),
    /// Another process has appended entries to the run.
    Fenced,
}

impl ConnectionError {
    /// Returns the error of a store with this file.
    fn at(self, path: &Path) -> StoreError {
        let path = path.to_owned();
        match self {
            ConnectionError::Sqlite(source) => StoreError::Sqlite { path, source },
            ConnectionError::Damaged(why) => StoreError::Damaged { path, why },
            ConnectionError::Newer(what) => StoreError::Unknown { path, what },
            ConnectionError::Fenced => StoreError::Damaged { path, why: ConnectionError::Fenced.to_string() },
        }
    }
}

impl std::fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ConnectionError::Sqlite(error) => error.fmt(f),
            ConnectionError::Damaged(why) => f.write_str(why),
            ConnectionError::Newer(what) => write!(f, "{what}; use the newer version of Switchboard that wrote it"),
            ConnectionError::Fenced => f.write_str("another process has taken over the run"),
        }
    }
}

impl From<rusqlite::Error> for ConnectionError {
    fn from(error: rusqlite::Error) -> ConnectionError {
        ConnectionError::Sqlite(error)
    }
}

impl From<serde_json::Error> for ConnectionError {
    fn from(error: serde_json::Error) -> ConnectionError {
        ConnectionError::Damaged(error.to_string())
    }
}

#[async_trait::async_trait]
impl Journal for Store {
    async fn append(&self, run: RunId, after: Seq, entries: Arc<[RunEntry]>) -> Result<Seq, JournalError> {
        let mut written = self.journal.append(run, after, &entries);
        let damaged = matches!(&written, Err(ConnectionError::Sqlite(error)) if recover::is_damage(error));
        if damaged && matches!(entries.first(), Some(RunEntry::Began { .. })) {
            written = self.begin_in_new_file(run, &entries);
        }
        if written.as_ref().is_ok_and(|much| *much) {
            // One queued checkpoint is enough.
            let _ = self.jobs.try_send(Job::Checkpoint);
        }
        match written {
            Ok(_) => Ok(after.plus(entries.len())),
            Err(ConnectionError::Fenced) => {
                tracing::warn!(target: "switchboard::store", %run, "another process has taken over the run");
                Err(JournalError::Fenced)
            }
            Err(trouble) => {
                tracing::error!(target: "switchboard::store", path = %self.path.display(), why = %trouble, "the journal cannot be written");
                Err(JournalError::Failed(format!("{}: {trouble}", self.path.display())))
            }
        }
    }

    async fn load(&self, run: RunId) -> Result<Option<RunRecord>, JournalError> {
        self.run(run).await.map_err(|error| JournalError::Failed(error.to_string()))
    }

    async fn lease(&self, run: RunId) -> Result<Option<Box<dyn RunLease>>, JournalError> {
        let folder = self.path.with_extension("runs");
        leased(tokio::task::spawn_blocking(move || run_lock::acquire(&folder, run))).await
    }

    async fn lease_group(&self, group: &str) -> Result<Option<Box<dyn RunLease>>, JournalError> {
        let (folder, group) = (self.path.with_extension("runs"), group.to_owned());
        leased(tokio::task::spawn_blocking(move || run_lock::acquire_group(&folder, &group))).await
    }
}
