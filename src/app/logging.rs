//! Start of the log: chooses file and filter, and writes what a bug report needs about this process.

use std::path::PathBuf;

use crate::{
    cli::{args::Cli, logged, print::Io},
    config::{self, LoadOptions},
    domain::text::visible_lines,
    telemetry::{self, InvalidFilter, Log, LogFilter},
};

/// The variable with the filter of the log.
const FILTER: &str = "SWITCHBOARD_LOG";

/// Starts the log of this process. Problems are warnings on stderr, since the program works without a log.
pub fn start(cli: &Cli) -> Log {
    let set = std::env::var_os(FILTER).map(|value| value.to_string_lossy().into_owned());
    let (filter, invalid) = match LogFilter::parse(set.as_deref().unwrap_or_default()) {
        Ok(filter) => (filter, None),
        Err(invalid) => (LogFilter::default(), Some(invalid)),
    };
    invalid.iter().for_each(|invalid: &InvalidFilter| warn(&invalid.to_string()));
    if filter.is_off() {
        return Log::default();
    }
    let requested = cli.global.log_file.is_some() || set.is_some();
    let opened = path(cli).and_then(|path| Log::start(&path, &filter).map_err(|error| format!("{}: {error}", path.display())));
    match opened {
        Ok(log) => {
            telemetry::hook_panics(&log);
            describe();
            invalid.iter().for_each(|invalid| tracing::warn!(target: "switchboard::log", "{invalid}"));
            log
        }
        Err(why) => {
            // A read-only home is not worth a warning for each command.
            if requested {
                warn(&format!("the log cannot be written: {why}"));
            }
            Log::default()
        }
    }
}

fn path(cli: &Cli) -> Result<PathBuf, String> {
    let load = LoadOptions::process();
    match (&cli.global.log_file, &load.state_dir) {
        (Some(file), _) => Ok(load.cwd.join(file)),
        (None, Some(state_dir)) => config::log_file(state_dir).map_err(|error| format!("{}: {error}", state_dir.display())),
        (None, None) => Err("the state folder is unknown".into()),
    }
}

/// Logs version, system, terminal and arguments.
fn describe() {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    let variable = |name: &str| std::env::var(name).ok();
    let system = rustix::system::uname();
    tracing::info!(
        target: "switchboard::process",
        version = env!("CARGO_PKG_VERSION"), os = std::env::consts::OS, arch = std::env::consts::ARCH,
        kernel = &*system.release().to_string_lossy(), term = variable("TERM"), term_program = variable("TERM_PROGRAM"),
        tmux = std::env::var_os("TMUX").is_some(), locale = variable("LC_ALL").or_else(|| variable("LANG")),
        arguments = logged::arguments(words),
        "started"
    );
}

fn warn(text: &str) {
    // A closed stderr does not stop the program.
    let _ = writeln!(Io::real().stderr, "warning: {}", visible_lines(text));
}
