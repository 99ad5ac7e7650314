//! `import`: prints the servers that editors and agents have configured. The composition root finds and reads them.

use std::{path::PathBuf, sync::Arc};

use serde::Serialize;

use super::{
    Options, exit,
    print::{Format, Io, Printer},
    session::Stop,
};
use crate::domain::{
    call::{Failure, FailureKind},
    secret::MASK,
    server::ServerSpec,
};

/// One file of another client.
#[derive(Clone, Debug)]
pub struct ImportSource {
    /// The client: `Claude Desktop`, `VS Code` …
    pub client: String,
    /// The file.
    pub path: PathBuf,
    /// Whether it belongs to a project, so that its servers are imported only with `--project`.
    pub project: bool,
    /// The servers in it.
    pub servers: Vec<Arc<ServerSpec>>,
    /// Complete description of what they would start or contact.
    pub lines: Vec<String>,
    /// Errors in the file.
    pub problems: Vec<String>,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The files that exist.
    pub sources: Vec<ImportSource>,
    /// The imported servers as Switchboard's own configuration.
    pub toml: String,
    /// Number of new servers in it.
    pub added: usize,
    /// Whether servers of the project's files are imported too.
    pub project: bool,
    /// Whether secret values in `toml` are masked.
    pub masked: bool,
}

impl Found {
    /// Returns the number of servers in imported files, and in others.
    fn counts(&self) -> (usize, usize) {
        let (taken, left): (Vec<&ImportSource>, Vec<&ImportSource>) = self.sources.iter().partition(|s| self.project || !s.project);
        let count = |sources: Vec<&ImportSource>| sources.iter().map(|s| s.servers.len()).sum();
        (count(taken), count(left))
    }
}

/// Writes the configuration; returns the path of the file.
pub type Write<'a> = &'a mut dyn FnMut(&Found) -> Result<PathBuf, String>;

/// Prints the findings on stderr, and the configuration on stdout or with `write`.
pub fn run(found: &Found, write: Option<Write<'_>>, options: &Options, io: Io) -> u8 {
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| print(printer, found, write))
}

fn print(printer: &mut Printer, found: &Found, write: Option<Write<'_>>) -> Result<u8, Stop> {
    let (count, left) = found.counts();
    let human = printer.format() == Format::Human;
    // Print what would be started before writing it.
    if human {
        print_sources(printer, &found.sources);
    }
    let wanted = write.is_some();
    let written = match write {
        Some(write) if found.added > 0 => {
            Some(write(found).map_err(|why| Failure::new(FailureKind::InvalidArguments, format!("nothing was written: {why}")))?)
        }
        _ => None,
    };
    if !human {
        print_documents(printer, found, written.as_ref())?;
    } else if !wanted {
        printer.file(&found.toml)?;
    }
    let existing = match count - found.added.min(count) {
        0 => String::new(),
        known => format!(", {known} already configured"),
    };
    match &written {
        Some(path) => printer.note(&format!("{} written to {}{existing}", amount(found.added, "server", "servers"), path.display())),
        None if wanted && count > 0 => printer.note(&format!("nothing was written{existing}")),
        None if count + left == 0 => printer.note("no servers of other clients were found"),
        None => {}
    }
    if found.masked {
        printer.note(&format!("secret values are masked as {MASK}; --write stores them, --show-secrets prints them"));
    }
    if left > 0 {
        let text =
            format!("{} of this project's files skipped; import what is shown above with --project", amount(left, "server", "servers"));
        printer.note(&text);
    }
    Ok(if found.sources.iter().any(|s| !s.problems.is_empty()) { exit::PARTIAL } else { exit::OK })
}

/// Formats a count with its noun.
fn amount(number: usize, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

fn print_sources(printer: &mut Printer, sources: &[ImportSource]) {
    for source in sources {
        let whose = if source.project { "  (from the project)" } else { "" };
        printer.note(&format!("{}  {}{whose}", source.client, source.path.display()));
        if source.project {
            // In full, not cut to the terminal: other people chose these.
            for line in &source.lines {
                printer.note(&format!("  {line}"));
            }
        } else {
            let row = |s: &Arc<ServerSpec>| vec![s.id.to_string(), s.launch.transport().to_owned(), s.summary()];
            let rows: Vec<Vec<String>> = source.servers.iter().map(row).collect();
            printer.note_table("  ", &rows);
        }
        for problem in &source.problems {
            printer.note(&format!("  problem: {problem}"));
        }
    }
}

fn print_documents(printer: &mut Printer, found: &Found, written: Option<&PathBuf>) -> Result<(), Stop> {
    #[derive(Serialize)]
    struct ServerJson {
        server: String,
        transport: &'static str,
        target: String,
    }
    #[derive(Serialize)]
    struct SourceJson<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        client: &'a str,
        path: String,
        project: bool,
        servers: Vec<ServerJson>,
        lines: &'a [String],
        problems: &'a [String],
    }
    #[derive(Serialize)]
    struct Document<'a> {
        sources: Vec<SourceJson<'a>>,
        toml: &'a str,
        written: Option<String>,
    }
    let sources: Vec<SourceJson<'_>> = found
        .sources
        .iter()
        .map(|source| SourceJson {
            kind: "source",
            client: &source.client,
            path: source.path.display().to_string(),
            project: source.project,
            lines: &source.lines,
            servers: source
                .servers
                .iter()
                .map(|s| ServerJson { server: s.id.to_string(), transport: s.launch.transport(), target: s.summary() })
                .collect(),
            problems: &source.problems,
        })
        .collect();
    if printer.format() == Format::Jsonl {
        for source in &sources {
            printer.document(source)?;
        }
        return Ok(());
    }
    Ok(printer.document(&Document { sources, toml: &found.toml, written: written.map(|p| p.display().to_string()) })?)
}
