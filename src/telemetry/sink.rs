//! The sink of the log: a bounded queue of lines, and the thread that writes them.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::Level;

use super::{file::LogFile, line::Line};
use crate::domain::secret::{Redactor, Secret, SecretRegistry};

/// Lines queued for the thread; further ones are dropped.
const QUEUE: usize = 1024;

/// Lines below the level `ERROR` that are admitted per second; further ones are dropped. A flood of a server must neither
/// cost time nor push the lines before it out of the file.
const PER_SECOND: u32 = 500;

/// Lines that are written together at most.
const BATCH: usize = 64;

/// The registries whose secrets are masked.
type Registries = Arc<Mutex<Vec<SecretRegistry>>>;

/// The queue of the log, and what its thread shares with it. The thread ends when it is dropped.
pub struct Sink {
    path: PathBuf,
    jobs: SyncSender<Job>,
    dropped: Arc<AtomicU64>,
    budget: Mutex<Budget>,
    own: SecretRegistry,
    secrets: Registries,
}

enum Job {
    Line(Line),
    /// Confirms when all earlier lines are written.
    Flush(SyncSender<()>),
}

/// The lines admitted in the current second.
struct Budget {
    since: Instant,
    lines: u32,
}

impl Sink {
    /// Starts the thread.
    pub fn start(file: LogFile) -> io::Result<Sink> {
        let (jobs, queued) = mpsc::sync_channel(QUEUE);
        let (path, dropped, secrets) = (file.path().to_owned(), Arc::<AtomicU64>::default(), Registries::default());
        let own = SecretRegistry::default();
        secrets.lock().push(own.clone());
        let writer = Writer { file, dropped: dropped.clone(), secrets: secrets.clone() };
        std::thread::Builder::new().name("log".into()).stack_size(512 << 10).spawn(move || writer.run(&queued))?;
        let budget = Mutex::new(Budget { since: Instant::now(), lines: 0 });
        Ok(Sink { path, jobs, dropped, budget, own, secrets })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a registry whose secrets are masked.
    pub fn mask(&self, secrets: &SecretRegistry) {
        self.secrets.lock().push(secrets.clone());
    }

    /// Masks these values too.
    pub fn learn(&self, secrets: impl IntoIterator<Item = Secret>) {
        self.own.learn(secrets);
    }

    /// Returns whether a line of this level is within the budget, and counts it.
    pub fn admits(&self, level: Level) -> bool {
        let mut budget = self.budget.lock();
        if budget.since.elapsed() >= Duration::from_secs(1) {
            *budget = Budget { since: Instant::now(), lines: 0 };
        }
        budget.lines = budget.lines.saturating_add(1);
        let admitted = budget.lines <= PER_SECOND || level == Level::ERROR;
        if !admitted {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        admitted
    }

    /// Queues a line, or counts it as dropped.
    pub fn send(&self, line: Line) {
        if self.jobs.try_send(Job::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until the lines so far are written, at most for `timeout`.
    pub fn flush(&self, timeout: Duration) {
        let until = Instant::now() + timeout;
        let (done, written) = mpsc::sync_channel(1);
        // Not `send`, which waits without a limit for a full queue.
        while let Err(mpsc::TrySendError::Full(_)) = self.jobs.try_send(Job::Flush(done.clone())) {
            if Instant::now() >= until {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// The thread's side.
struct Writer {
    file: LogFile,
    dropped: Arc<AtomicU64>,
    secrets: Registries,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        let process = std::process::id();
        while let Ok(first) = jobs.recv() {
            let (mut lines, mut flushed) = (vec![], vec![]);
            for job in std::iter::once(first).chain(jobs.try_iter()).take(BATCH) {
                match job {
                    Job::Line(line) => lines.push(line),
                    Job::Flush(done) => flushed.push(done),
                }
            }
            // Taken after the lines, so that every value that was known when a line was sent is masked.
            let redactors: Vec<Redactor> = self.secrets.lock().iter().map(SecretRegistry::redactor).collect();
            let mut text = String::new();
            lines.iter().for_each(|line| line.write(&mut text, process, &redactors));
            match self.dropped.swap(0, Ordering::Relaxed) {
                0 => {}
                count => Line::dropped(count).write(&mut text, process, &redactors),
            }
            // A full disk or a removed folder must not stop the program.
            let _ = self.file.write(&text);
            for done in flushed {
                let _ = done.send(());
            }
        }
    }
}
