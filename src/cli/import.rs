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
    server::ServerSpec,
};

/// One file of another program.
#[derive(Clone, Debug)]
pub struct ImportSource {
    /// Whose it is: `Claude Desktop`, `VS Code` …
    pub client: String,
    /// The file.
    pub path: PathBuf,
    /// The servers in it.
    pub servers: Vec<Arc<ServerSpec>>,
    /// What in it could not be used.
    pub problems: Vec<String>,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The files that exist.
    pub sources: Vec<ImportSource>,
    /// All servers as Switchboard's own configuration.
    pub toml: String,
}

/// Writes the configuration; gives the file that it wrote.
pub type Write<'a> = &'a mut dyn FnMut(&Found) -> Result<PathBuf, String>;

/// Shows what was found, and prints the configuration or hands it to `write`.
///
/// Findings go to stderr, the configuration to stdout, so that it can be sent to a file.
pub fn run(found: &Found, write: Option<Write<'_>>, options: &Options, io: Io) -> u8 {
    super::finish(Printer::new(io, options.format, options.raw), |printer| print(printer, found, write))
}

fn print(printer: &mut Printer, found: &Found, write: Option<Write<'_>>) -> Result<u8, Stop> {
    let count: usize = found.sources.iter().map(|s| s.servers.len()).sum();
    let written = match write {
        Some(write) if count > 0 => {
            Some(write(found).map_err(|why| Failure::new(FailureKind::InvalidArguments, format!("nothing was written: {why}")))?)
        }
        _ => None,
    };
    if printer.format() == Format::Human {
        print_sources(printer, &found.sources);
        if written.is_none() {
            printer.file(&found.toml)?;
        }
    } else {
        print_documents(printer, found, written.as_ref())?;
    }
    if let Some(path) = &written {
        printer.note(&format!("{count} servers written to {}", path.display()));
    } else if count == 0 {
        printer.note("no servers of other programs were found");
    }
    Ok(if found.sources.iter().any(|s| !s.problems.is_empty()) { exit::PARTIAL } else { exit::OK })
}

fn print_sources(printer: &mut Printer, sources: &[ImportSource]) {
    for source in sources {
        printer.note(&format!("{}  {}", source.client, source.path.display()));
        let row = |s: &Arc<ServerSpec>| vec![s.id.to_string(), s.launch.transport().to_owned(), s.launch.summary()];
        let rows: Vec<Vec<String>> = source.servers.iter().map(row).collect();
        printer.note_table("  ", &rows);
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
        servers: Vec<ServerJson>,
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
            servers: source
                .servers
                .iter()
                .map(|s| ServerJson { server: s.id.to_string(), transport: s.launch.transport(), target: s.launch.summary() })
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
