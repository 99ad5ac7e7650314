//! The report of `doctor --report`, for bug reports: versions, system, configuration, servers, and the end of the log. Secrets are
//! masked, and the home folder is `~`.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{print::Printer, reference, session::Stop, setup::ConfigFile, version};
use crate::{
    domain::call::{Failure, FailureKind},
    files,
};

/// Most bytes of the log in a report: its end.
const LOG: u64 = 128 << 10;

/// What the composition root knows for a report.
#[derive(Clone, Debug, Default)]
pub struct ReportContext {
    /// The files of the configuration, with their texts masked.
    pub files: Vec<ConfigFile>,
    /// The errors and warnings of the configuration.
    pub problems: Vec<String>,
    /// The home folder.
    pub home: Option<PathBuf>,
}

/// Writes a report to a file that only the user can read, or to stdout (`-`). `servers` is the output of `doctor --json`.
pub fn write(printer: &mut Printer, to: &Path, context: &ReportContext, servers: &str, log: Option<&Path>) -> Result<(), Stop> {
    let text = printer.masked_text(&text(context, servers, log));
    let text = without_home(&text, context.home.as_deref());
    if to == Path::new("-") {
        return Ok(printer.file(&text)?);
    }
    let failed = |error: io::Error| Failure::new(FailureKind::InvalidArguments, format!("{} cannot be written: {error}", to.display()));
    files::replace(to, text.as_bytes()).map_err(failed)?;
    printer.note(&format!("report written to {}: read it before you publish it", to.display()));
    Ok(())
}

fn text(context: &ReportContext, servers: &str, log: Option<&Path>) -> String {
    let mut out = String::from("# Report of Switchboard\n\n## Version\n\n");
    let mut block = |title: &str, body: &str| {
        // A fence that is longer than any in the text.
        let fence = "`".repeat(longest_fence(body).max(2) + 1);
        if !title.is_empty() {
            out.push_str(&format!("## {title}\n\n"));
        }
        out.push_str(&format!("{fence}\n{}\n{fence}\n\n", body.trim_end()));
    };
    block("", version::long());
    block("System", &system());
    for file in context.files.iter().filter(|file| file.exists) {
        block(&format!("Configuration: {}", file.path.display()), file.text.as_deref().unwrap_or("(the file of another client)"));
    }
    if !context.problems.is_empty() {
        block("Problems of the configuration", &context.problems.join("\n"));
    }
    block("Servers", servers);
    let end = log.map(|log| (log, log_end(log)));
    match end {
        Some((path, Ok(lines))) => block(&format!("End of the log: {}", path.display()), &lines),
        Some((path, Err(error))) => block("Log", &format!("{}: {error}", path.display())),
        None => block("Log", "(off)"),
    }
    out
}

fn longest_fence(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Returns system, terminal, and the names of the set variables that the program reads. Their values may be private.
fn system() -> String {
    let uname = rustix::system::uname();
    let part = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let mut out = format!("system    {} {} {}\n", part(uname.sysname()), part(uname.release()), part(uname.machine()));
    for (label, name) in [("terminal", "TERM"), ("program", "TERM_PROGRAM"), ("locale", "LANG")] {
        if let Ok(value) = std::env::var(name) {
            out.push_str(&format!("{label:<8}  {value}\n"));
        }
    }
    let names = reference::ENVIRONMENT.iter().flat_map(|(names, _)| names.split(", "));
    let set: Vec<&str> = names.filter(|name| std::env::var_os(name).is_some()).collect();
    out.push_str(&format!("set       {}\n", if set.is_empty() { "-".to_owned() } else { set.join(", ") }));
    out
}

/// Returns the last lines of the log.
fn log_end(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(LOG);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![];
    file.take(LOG).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    // The first line may be cut.
    Ok(match (start, text.split_once('\n')) {
        (1.., Some((_, rest))) => rest.to_owned(),
        _ => text,
    })
}

fn without_home(text: &str, home: Option<&Path>) -> String {
    match home.and_then(Path::to_str).filter(|home| home.len() > 1) {
        Some(home) => text.replace(home, "~"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_every_part_and_no_home() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::write(&log, "first\nlast ```` line\n").unwrap();
        let file = |name: &str, text: Option<&str>| ConfigFile { path: name.into(), exists: true, text: text.map(str::to_owned) };
        let context = ReportContext {
            files: vec![file("/home/ann/config.toml", Some("a = 1")), file("/home/ann/.cursor/mcp.json", None)],
            problems: vec!["unknown key".into()],
            home: Some("/home/ann".into()),
        };
        let text = without_home(&text(&context, "{}", Some(&log)), context.home.as_deref());
        for part in ["commit", "system ", "## Configuration: ~/config.toml", "a = 1", "unknown key", "last ```` line", "`````\n"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("/home/ann"));
    }

    #[test]
    fn the_end_of_a_long_log_begins_with_a_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        std::fs::write(&log, "0123456789\n".repeat(20_000)).unwrap();
        let end = log_end(&log).unwrap();
        assert!(end.len() as u64 <= LOG && end.starts_with("0123456789\n"), "{}", &end[..20]);
    }
}
