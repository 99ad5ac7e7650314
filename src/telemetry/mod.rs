//! Telemetry: the program's own log, which bug reports need; metrics ([`metrics`]) and traces ([`otlp`]) of calls.
//!
//! Owns the log file, its filter and the subscriber of `tracing`. The composition root starts one log per process; other
//! modules write lines with the macros of `tracing`, and [`events::follow`] writes those of engine events. Lines are handed
//! over to a thread, which masks secrets, escapes control characters and writes. A line is dropped rather than waited for:
//! when the thread is behind, and beyond a number of lines per second. Errors of writing affect nothing else.

pub mod events;
mod file;
mod filter;
mod line;
pub mod metrics;
pub mod otlp;
mod panics;
mod sink;
mod start;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
};

use self::{file::LogFile, line::Line, sink::Sink};
pub use self::{
    filter::{InvalidFilter, LogFilter},
    panics::hook_panics,
    start::{LogRequest, start},
};
use crate::domain::secret::{Secret, SecretRegistry};

/// Largest size of the log file, in bytes. A full file replaces the previous one, which is named `NAME.1`.
const FILE_BYTES: u64 = 1 << 20;

/// How long the end of the program, or a panic, waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(300);

/// The log of this process. Cheap to clone; the default one is off.
#[derive(Clone, Default)]
pub struct Log(Option<Arc<Sink>>);

impl Log {
    /// Opens the log file and makes this log the one of the process. Fails when the file cannot be opened.
    pub fn start(path: &Path, filter: &LogFilter) -> io::Result<Log> {
        let log = Log::open(path, FILE_BYTES)?;
        // Fails if the process has a log already, as it may in tests.
        tracing::subscriber::set_global_default(log.subscriber(filter)).map_err(io::Error::other)?;
        Ok(log)
    }

    fn open(path: &Path, bytes: u64) -> io::Result<Log> {
        Ok(Log(Some(Arc::new(Sink::start(LogFile::open(path, bytes)?)?))))
    }

    /// Returns a subscriber that writes the lines that the filter admits to this log.
    fn subscriber(&self, filter: &LogFilter) -> impl Subscriber + Send + Sync + use<> {
        Registry::default().with(filter.targets()).with(self.0.clone().map(LogLayer))
    }

    /// Masks the values of this registry too, also those that it learns later.
    pub fn mask(&self, secrets: &SecretRegistry) {
        if let Some(sink) = &self.0 {
            sink.mask(secrets);
        }
    }

    /// Masks these values too.
    pub fn learn(&self, secrets: impl IntoIterator<Item = Secret>) {
        if let Some(sink) = &self.0 {
            sink.learn(secrets);
        }
    }

    /// Returns the path of the log file; `None` if the log is off.
    pub fn path(&self) -> Option<PathBuf> {
        self.0.as_ref().map(|sink| sink.path().to_owned())
    }

    /// Waits until the lines so far are written, for a limited time.
    pub fn flush(&self) {
        if let Some(sink) = &self.0 {
            sink.flush(FLUSH_TIMEOUT);
        }
    }
}

/// Hands the events of `tracing` over to the thread of the log.
struct LogLayer(Arc<Sink>);

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if self.0.admits(level) {
            let mut line = Line::new(event.metadata());
            event.record(&mut line);
            self.0.send(line);
        }
    }
}

#[cfg(test)]
mod tests;
