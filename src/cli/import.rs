//! `import`: the servers that editors and agents have configured. The composition root finds and
//! reads them; this prints.

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

/// One file of another program.
#[derive(Clone, Debug)]
pub struct ImportSource {
    /// Whose it is: `Claude Desktop`, `VS Code` …
    pub client: String,
    /// The file.
    pub path: PathBuf,
    /// Whether it came with a project, so that its servers are taken only when that is asked for.
    pub project: bool,
    /// The servers in it.
    pub servers: Vec<Arc<ServerSpec>>,
    /// What they would start or contact, whole.
    pub lines: Vec<String>,
    /// What in it could not be used.
    pub problems: Vec<String>,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The files that exist.
    pub sources: Vec<ImportSource>,
    /// The servers that are taken as Switchboard's own configuration.
    pub toml: String,
    /// How many of them are new in it.
    pub added: usize,
    /// Whether those of the project's files are taken too.
    pub project: bool,
    /// Whether secret values in `toml` are masked.
    pub masked: bool,
}

impl Found {
    /// How many servers there are in files that are taken, and in those that are not.
    fn counts(&self) -> (usize, usize) {
        let (taken, left): (Vec<&ImportSource>, Vec<&ImportSource>) = self.sources.iter().partition(|s| self.project || !s.project);
        let count = |sources: Vec<&ImportSource>| sources.iter().map(|s| s.servers.len()).sum();
        (count(taken), count(left))
    }
}

/// Writes the configuration; gives the file that it wrote.
pub type Write<'a> = &'a mut dyn FnMut(&Found) -> Result<PathBuf, String>;

/// Shows what was found, and prints the configuration or hands it to `write`.
///
/// Findings go to stderr, the configuration to stdout, so that it can be sent to a file.
pub fn run(found: &Found, write: Option<Write<'_>>, options: &Options, io: Io) -> u8 {
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| print(printer, found, write))
}

fn print(printer: &mut Printer, found: &Found, write: Option<Write<'_>>) -> Result<u8, Stop> {
    let (count, left) = found.counts();
    let human = printer.format() == Format::Human;
    // Before anything is written: what it would start.
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
    let there = match count - found.added.min(count) {
        0 => String::new(),
        there => format!(", {} there already", amount(there, "was", "were")),
    };
    match &written {
        Some(path) => printer.note(&format!("{} written to {}{there}", amount(found.added, "server", "servers"), path.display())),
        None if wanted && count > 0 => printer.note(&format!("nothing was written{there}")),
        None if count + left == 0 => printer.note("no servers of other programs were found"),
        None => {}
    }
    if found.masked {
        printer.note(&format!("secret values are shown as {MASK}; --write stores them, --show-secrets prints them"));
    }
    if left > 0 {
        let text = format!(
            "{} of this project's files left out; --project takes what they start, shown above, too",
            amount(left, "server", "servers")
        );
        printer.note(&text);
    }
    Ok(if found.sources.iter().any(|s| !s.problems.is_empty()) { exit::PARTIAL } else { exit::OK })
}

/// A number with its word.
fn amount(number: usize, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

fn print_sources(printer: &mut Printer, sources: &[ImportSource]) {
    for source in sources {
        let whose = if source.project { "  (came with the project)" } else { "" };
        printer.note(&format!("{}  {}{whose}", source.client, source.path.display()));
        if source.project {
            // Whole, not cut to the terminal: somebody else chose these.
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
