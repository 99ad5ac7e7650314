//! `import`: prints the servers that editors and agents have configured. The composition root finds and reads them.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    sync::Arc,
};

use serde::Serialize;

use super::{
    Options,
    args::SecretPlace,
    exit,
    print::{Format, Io, Printer},
    session::Stop,
};
use crate::domain::{
    call::{Failure, FailureKind},
    plural::counted,
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
    pub problems: Vec<ImportProblem>,
    /// Whether the file could not be read, so that servers in it may be missing.
    pub unreadable: bool,
}

/// An error in a file, or in one entry of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ImportProblem {
    /// The entry.
    pub server: Option<String>,
    /// Line in the file, from 1.
    pub line: Option<u32>,
    /// What is wrong, with its key.
    pub message: String,
    /// What to do about it.
    #[serde(rename = "try", skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the entry cannot be used.
    pub unusable: bool,
}

impl ImportProblem {
    /// Returns it as one line.
    fn line(&self) -> String {
        let server = self.server.as_ref().map(|server| format!("server `{server}`: ")).unwrap_or_default();
        let line = self.line.map(|line| format!(" (line {line})")).unwrap_or_default();
        format!("{server}{}{line}", self.message)
    }
}

/// A variable in place of a secret value.
#[derive(Clone, Debug, Serialize)]
pub struct ImportVariable {
    /// Its name.
    pub name: String,
    /// The server whose value it is.
    pub server: String,
    /// The key of the value in the server's entry.
    pub key: String,
    /// The value; masked, unless the user wants to see it.
    #[serde(skip)]
    pub value: String,
}

/// The imported servers as Switchboard's own configuration.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// With the secret values, or with masks in their place if it is only printed.
    pub with_values: String,
    /// With variables in place of the secret values.
    pub with_variables: String,
    /// These variables.
    pub variables: Vec<ImportVariable>,
    /// Number of new servers.
    pub added: usize,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The files that exist.
    pub sources: Vec<ImportSource>,
    /// The places that were searched: client and file. Empty if the files were named.
    pub searched: Vec<(String, PathBuf)>,
    /// The imported servers.
    pub toml: Configuration,
    /// Whether servers of the project's files are imported too.
    pub project: bool,
    /// Whether secret values are masked where they are printed.
    pub masked: bool,
    /// Where secret values go; `None` if the user did not say.
    pub secrets: Option<SecretPlace>,
}

impl Found {
    /// Returns the number of servers in imported files, and in others.
    fn counts(&self) -> (usize, usize) {
        let (taken, left): (Vec<&ImportSource>, Vec<&ImportSource>) = self.sources.iter().partition(|s| self.project || !s.project);
        let count = |sources: Vec<&ImportSource>| sources.iter().map(|s| s.servers.len()).sum();
        (count(taken), count(left))
    }

    /// Returns the configuration with the secret values in their place.
    fn text(&self, secrets: SecretPlace) -> &str {
        match secrets {
            SecretPlace::File => &self.toml.with_values,
            SecretPlace::Env => &self.toml.with_variables,
        }
    }

    /// Returns the number of entries that cannot be imported.
    fn unusable(&self) -> usize {
        let entries = |source: &ImportSource| {
            let mut names: Vec<&str> =
                source.problems.iter().filter(|problem| problem.unusable).filter_map(|problem| problem.server.as_deref()).collect();
            names.retain(|name| !source.servers.iter().any(|server| server.id.as_str() == *name));
            names.sort_unstable();
            names.dedup();
            names.len()
        };
        self.sources.iter().filter(|source| self.project || !source.project).map(entries).sum()
    }
}

/// Writes the text of the configuration; returns the path of the file.
pub type Write<'a> = &'a mut dyn FnMut(&str) -> Result<PathBuf, String>;

/// Prints the findings on stderr, and the configuration on stdout or with `write`.
pub fn run(found: &Found, write: Option<Write<'_>>, options: &Options, io: Io) -> u8 {
    let printer = Printer::new(io, options.format, options.raw).masking(&options.secrets);
    super::finish(printer, |printer| print(printer, found, write, options.verbose))
}

fn print(printer: &mut Printer, found: &Found, write: Option<Write<'_>>, verbose: bool) -> Result<u8, Stop> {
    let (count, left) = found.counts();
    let human = printer.format() == Format::Human;
    // Print what would be started before writing it.
    if human {
        print_sources(printer, &found.sources);
    }
    let wanted = write.is_some();
    let added = found.toml.added;
    let secrets = match found.secrets {
        Some(place) => place,
        None if wanted && added > 0 && human => ask(printer, &found.toml.variables),
        None => SecretPlace::File,
    };
    let written = match write {
        Some(write) if added > 0 => {
            let failed = |why| Failure::new(FailureKind::InvalidArguments, format!("nothing was written: {why}"));
            Some(write(found.text(secrets)).map_err(failed)?)
        }
        _ => None,
    };
    if !human {
        print_documents(printer, found, secrets, written.as_ref())?;
    } else if !wanted {
        printer.file(found.text(secrets))?;
    }
    let existing = match count - added.min(count) {
        0 => String::new(),
        known => format!(", {known} already configured"),
    };
    match &written {
        Some(path) => printer.note(&format!("{} written to {}{existing}", counted(added, "server"), path.display())),
        None if wanted && count > 0 => printer.note(&format!("nothing was written{existing}")),
        None if count + left == 0 => printer.note("no servers of other clients were found"),
        None => {}
    }
    if human {
        print_searched(printer, found, verbose || count + left == 0);
    }
    let variables = &found.toml.variables;
    let shows_variables = secrets == SecretPlace::Env && !variables.is_empty() && added > 0;
    if human && shows_variables {
        print_variables(printer, found);
    } else if found.masked && !wanted && found.toml.with_values.contains(MASK) {
        printer.note(&format!("secret values are masked as {MASK}; --write stores them, --show-secrets prints them"));
    }
    match found.unusable() {
        0 => {}
        entries => {
            let noun = if entries == 1 { "entry" } else { "entries" };
            printer.note(&format!("{entries} {noun} cannot be imported: see the problems above"));
        }
    }
    if left > 0 {
        let text = format!("{} of this project's files skipped; import what is shown above with --project", counted(left, "server"));
        printer.note(&text);
    }
    Ok(if found.sources.iter().any(|s| s.unreadable) { exit::PARTIAL } else { exit::OK })
}

/// Asks on a terminal whether the secret values stay out of the file.
fn ask(printer: &mut Printer, variables: &[ImportVariable]) -> SecretPlace {
    let stdin = if variables.is_empty() || !printer.can_ask() { None } else { printer.take_stdin() };
    let Some(stdin) = stdin else { return SecretPlace::File };
    let values = counted(variables.len(), "secret value");
    printer.question(&format!("Write ${{VARIABLES}} in place of {values}? You set them in your environment. [y/N]"));
    let mut answer = String::new();
    // Unreadable input is not a yes.
    let _ = BufReader::new(stdin.take(1000)).read_line(&mut answer);
    if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") { SecretPlace::Env } else { SecretPlace::File }
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
            printer.note(&format!("  problem: {}", problem.line()));
            if let Some(hint) = &problem.hint {
                printer.note(&format!("    try: {hint}"));
            }
        }
    }
}

/// Prints where was searched: every file, or how many there are.
fn print_searched(printer: &mut Printer, found: &Found, all: bool) {
    if found.searched.is_empty() {
        return;
    }
    let places = counted(found.searched.len(), "place");
    if !all {
        return printer.note(&format!("{places} searched; list them with --verbose"));
    }
    printer.note(&format!("{places} searched:"));
    let rows: Vec<Vec<String>> = found.searched.iter().map(|(client, path)| vec![client.clone(), path.display().to_string()]).collect();
    printer.note_table("  ", &rows);
}

/// Prints the lines that set the variables, with the place of each value.
fn print_variables(printer: &mut Printer, found: &Found) {
    printer.note("set these variables in your environment, with the values of the imported files:");
    for variable in &found.toml.variables {
        let ImportVariable { name, server, key, value } = variable;
        printer.note(&format!("  export {name}={}  # {key} of {server}", crate::domain::server::quote(value)));
    }
    if found.masked {
        printer.note("--show-secrets prints the values");
    }
}

fn print_documents(printer: &mut Printer, found: &Found, secrets: SecretPlace, written: Option<&PathBuf>) -> Result<(), Stop> {
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
        unreadable: bool,
        servers: Vec<ServerJson>,
        lines: &'a [String],
        problems: &'a [ImportProblem],
    }
    #[derive(Serialize)]
    struct PlaceJson<'a> {
        client: &'a str,
        path: String,
    }
    #[derive(Serialize)]
    struct Document<'a> {
        sources: Vec<SourceJson<'a>>,
        searched: Vec<PlaceJson<'a>>,
        toml: &'a str,
        variables: &'a [ImportVariable],
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
            unreadable: source.unreadable,
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
    Ok(printer.document(&Document {
        sources,
        searched: found.searched.iter().map(|(client, path)| PlaceJson { client, path: path.display().to_string() }).collect(),
        toml: found.text(secrets),
        variables: if secrets == SecretPlace::Env { &found.toml.variables } else { &[] },
        written: written.map(|p| p.display().to_string()),
    })?)
}
