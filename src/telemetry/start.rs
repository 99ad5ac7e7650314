//! Start of the log: chooses filter and file, and writes what a bug report needs about this process.

use std::path::PathBuf;

use super::{InvalidFilter, Log, LogFilter, hook_panics};

/// Which log a process writes.
#[derive(Clone, Debug)]
pub struct LogRequest {
    /// The filter, as the user wrote it.
    pub filter: Option<String>,
    /// Whether the user asked for a log, so that a log that cannot be written is worth a warning.
    pub requested: bool,
    /// The arguments of the program, without values that may be secret.
    pub arguments: String,
}

/// Starts the log of this process. Returns it with warnings for the user, since the program works without a log.
///
/// `file` returns the path, or why there is none. It is called only if there is a log, because it may create folders.
pub fn start(request: &LogRequest, file: impl FnOnce() -> Result<PathBuf, String>) -> (Log, Vec<String>) {
    let (filter, invalid) = match LogFilter::parse(request.filter.as_deref().unwrap_or_default()) {
        Ok(filter) => (filter, None),
        Err(invalid) => (LogFilter::default(), Some(invalid)),
    };
    let mut warnings: Vec<String> = invalid.iter().map(InvalidFilter::to_string).collect();
    if filter.is_off() {
        return (Log::default(), warnings);
    }
    let opened = file().and_then(|path| Log::start(&path, &filter).map_err(|error| format!("{}: {error}", path.display())));
    match opened {
        Ok(log) => {
            hook_panics(&log);
            describe(&request.arguments);
            invalid.iter().for_each(|invalid| tracing::warn!(target: "switchboard::log", "{invalid}"));
            (log, warnings)
        }
        Err(why) => {
            // A read-only home is not worth a warning for each command.
            if request.requested {
                warnings.push(format!("the log cannot be written: {why}"));
            }
            (Log::default(), warnings)
        }
    }
}

/// Logs version, system, terminal and arguments.
fn describe(arguments: &str) {
    let variable = |name: &str| std::env::var(name).ok();
    let system = rustix::system::uname();
    tracing::info!(
        target: "switchboard::process",
        version = env!("CARGO_PKG_VERSION"), os = std::env::consts::OS, arch = std::env::consts::ARCH,
        kernel = &*system.release().to_string_lossy(), term = variable("TERM"), term_program = variable("TERM_PROGRAM"),
        tmux = std::env::var_os("TMUX").is_some(), locale = variable("LC_ALL").or_else(|| variable("LANG")),
        arguments,
        "started"
    );
}
