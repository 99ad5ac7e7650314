//! `add`, `remove`, `enable`, `disable`, `list` and `config`: shows the configuration and changes of it. The composition root
//! reads the files and plans and makes the changes.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};
use similar::TextDiff;

use super::{
    Options,
    args::CheckArgs,
    exit,
    findings::{self, Finding, Severity},
    print::{Format, Io, Printer},
    style::Tone,
};
use crate::domain::{
    call::{Failure, FailureKind},
    config_error::ConfigError,
    plural::counted,
    server::ServerSpec,
};

/// A planned change of a configuration file. Its texts have no secrets.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// What the command does to the servers: `added`, `removed`.
    pub action: &'static str,
    /// The servers.
    pub servers: &'a [String],
    /// The file.
    pub file: &'a Path,
    /// Its text before, and after.
    pub before: &'a str,
    /// Its text after.
    pub after: &'a str,
    /// Whether the file changes.
    pub changes: bool,
    /// Warnings: what the description of a server says that is not used, variables that are not set.
    pub warnings: &'a [ConfigError],
    /// The inputs that the servers ask for.
    pub inputs: &'a [String],
}

/// Makes a change with `apply`, or shows the difference.
pub fn change(change: &Change<'_>, dry_run: bool, options: &Options, io: Io, apply: impl FnOnce() -> Result<(), ConfigError>) -> u8 {
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        for warning in change.warnings {
            printer.note_text(&format!("warning: {warning}"));
        }
        let difference = difference(change);
        if change.changes && !dry_run {
            apply().map_err(|error| Failure::new(FailureKind::Refused, error.to_string()))?;
        }
        if printer.format() != Format::Human {
            #[derive(Serialize)]
            struct Changed<'a> {
                #[serde(rename = "type")]
                kind: &'static str,
                action: &'static str,
                servers: &'a [String],
                file: &'a Path,
                changed: bool,
                dry_run: bool,
                difference: &'a str,
                inputs: &'a [String],
            }
            let Change { action, servers, file, inputs, .. } = change.clone();
            let changed = change.changes && !dry_run;
            printer.document(&Changed { kind: "changed", action, servers, file, changed, dry_run, difference: &difference, inputs })?;
            return Ok(exit::OK);
        }
        if dry_run {
            printer.file(&difference)?;
        } else {
            let names = change.servers.join(", ");
            let state = if change.changes { change.action } else { "unchanged" };
            printer.line(&format!("{state} {names} in {}", change.file.display()))?;
            for line in difference.lines().filter(|line| line.starts_with('+') && !line.starts_with("+++") && line.len() > 1) {
                printer.line(&format!("  {}", line.trim_start_matches('+')))?;
            }
        }
        if let Some(first) = change.inputs.first() {
            let ids = change.inputs.join(", ");
            printer.note(&format!("needs {}: {ids}", if change.inputs.len() == 1 { "an input" } else { "inputs" }));
            printer.note(&format!("  try: the console asks for them, or give them with --input {first}=VALUE"));
        }
        Ok(exit::OK)
    })
}

/// Returns the unified difference; empty if only masked values differ.
fn difference(change: &Change<'_>) -> String {
    let file = change.file.display().to_string();
    let old = if change.before.is_empty() { "/dev/null".to_owned() } else { file.clone() };
    TextDiff::from_lines(change.before, change.after).unified_diff().context_radius(3).header(&old, &file).to_string()
}

/// A server that is not started.
#[derive(Serialize)]
struct Configured<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    state: &'static str,
    transport: &'static str,
    target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    file: Option<String>,
    line: Option<u32>,
}

impl<'a> Configured<'a> {
    fn new(spec: &'a ServerSpec) -> Configured<'a> {
        Configured {
            kind: "configured_server",
            server: spec.id.as_str(),
            state: match (spec.config_faults.is_empty(), spec.disabled) {
                (false, _) => "invalid",
                (true, true) => "disabled",
                (true, false) => "enabled",
            },
            transport: spec.launch.transport(),
            target: spec.summary(),
            owner: spec.owner.as_deref(),
            description: spec.description.as_deref(),
            group: spec.group.as_deref(),
            file: spec.origin.file.as_ref().map(|file| file.display().to_string()),
            line: spec.origin.line,
        }
    }
}

/// Lists the configured servers. `pending` are those of a project that is not approved.
pub fn list(servers: &[ServerSpec], pending: usize, problems: &[ConfigError], options: &Options, io: Io) -> u8 {
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        let rows: Vec<Configured<'_>> = servers.iter().map(Configured::new).collect();
        for problem in problems {
            printer.note_text(&format!("warning: {problem}"));
        }
        match printer.format() {
            Format::Human if rows.is_empty() => printer.note("no server is configured: add one with `switchboard add NAME -- COMMAND`"),
            Format::Human => {
                let mut table = vec![["NAME", "STATE", "BY", "TARGET", "FILE"].map(String::from).to_vec()];
                table.extend(rows.iter().map(|row| {
                    let line = row.line.map(|line| format!(":{line}")).unwrap_or_default();
                    let file = row.file.as_deref().map_or(String::new(), |file| format!("{file}{line}"));
                    vec![row.server.to_owned(), row.state.to_owned(), row.transport.to_owned(), row.target.clone(), file]
                }));
                let tone = |row: &Configured<'_>| match row.state {
                    "invalid" => Tone::Bad,
                    "disabled" => Tone::Dim,
                    _ => Tone::Good,
                };
                printer.headed_table(&table, |row, column| rows.get(row).filter(|_| column == 1).map(tone))?;
            }
            Format::Json => printer.document(&json!({ "type": "configured_servers", "servers": rows }))?,
            Format::Jsonl => printer.documents(&rows)?,
        }
        if pending > 0 {
            printer.note(&format!("{} of the project left out: review them with `switchboard approve`", counted(pending, "server")));
        }
        Ok(if problems.iter().any(|problem| problem.unusable) { exit::PARTIAL } else { exit::OK })
    })
}

/// A file of the configuration.
#[derive(Clone, Debug, Serialize)]
pub struct ConfigFile {
    /// Its path.
    pub path: PathBuf,
    /// Whether it exists.
    pub exists: bool,
    /// Its text with secrets masked; `None` if it is another client's file, which is not shown.
    pub text: Option<String>,
}

/// Prints the path of the user's file; with --verbose all files and folders.
pub fn paths(user: Option<&Path>, files: &[ConfigFile], state: Option<&Path>, options: &Options, io: Io) -> u8 {
    super::finish(Printer::new(io, options.format, options.raw), |printer| {
        if printer.format() != Format::Human {
            let files: Vec<Value> = files.iter().map(|file| json!({ "path": file.path, "exists": file.exists })).collect();
            printer.document(&json!({ "type": "config_paths", "user": user, "files": files, "state": state }))?;
            return Ok(exit::OK);
        }
        let Some(user) = user else {
            return Err(Failure::new(FailureKind::InvalidArguments, "the configuration folder is unknown").hint("set HOME").into());
        };
        if !options.verbose {
            printer.line(&user.display().to_string())?;
            return Ok(exit::OK);
        }
        let mut rows: Vec<Vec<String>> = files
            .iter()
            .map(|file| vec![if file.exists { "read" } else { "missing" }.to_owned(), file.path.display().to_string()])
            .collect();
        rows.extend(state.map(|state| vec!["state".to_owned(), state.display().to_string()]));
        printer.table("", &rows)?;
        Ok(exit::OK)
    })
}

/// Prints the files of the configuration.
pub fn show(files: &[ConfigFile], options: &Options, io: Io) -> u8 {
    super::finish(Printer::new(io.paged(), options.format, options.raw), |printer| {
        if printer.format() != Format::Human {
            printer.document(&json!({ "type": "config", "files": files }))?;
            return Ok(exit::OK);
        }
        let several = files.iter().filter(|file| file.exists).count() > 1;
        for file in files.iter().filter(|file| file.exists) {
            if several {
                printer.line(&format!("# {}", file.path.display()))?;
            }
            match &file.text {
                Some(text) => printer.file(text)?,
                None => printer.line("# a file of another client: see `switchboard list`")?,
            }
        }
        if files.iter().all(|file| !file.exists) {
            printer.note("no configuration file exists: create one with `switchboard config edit` or `switchboard add`");
        }
        Ok(exit::OK)
    })
}

/// Prints a JSON Schema.
pub fn schema(schema: &Value, io: Io) -> u8 {
    super::finish(Printer::new(io.paged(), Format::Human, false), |printer| {
        let text = serde_json::to_string_pretty(schema).map_err(std::io::Error::from)?;
        printer.file(&format!("{text}\n"))?;
        Ok(exit::OK)
    })
}

/// Prints what is wrong with the configuration. `refused`: a file cannot be read, so nothing of it is used.
pub fn check(
    files: &[ConfigFile],
    servers: usize,
    problems: &[ConfigError],
    refused: bool,
    args: &CheckArgs,
    options: &Options,
    io: Io,
) -> u8 {
    super::finish(Printer::new(io, options.format, options.raw).masking(&options.secrets), |printer| {
        let mut found: Vec<Finding> = problems.iter().map(Finding::from).collect();
        if refused {
            found.iter_mut().for_each(|finding| finding.severity = Severity::Error);
        }
        let rows = files.iter().filter(|file| file.exists).map(|file| ["".into(), file.path.display().to_string(), "read".into()]);
        findings::append_summary(printer, args.step_summary.as_deref(), "Configuration", &rows.collect::<Vec<_>>(), &found)?;
        if printer.format() != Format::Human {
            printer.document(&json!({ "type": "config_check", "valid": found.is_empty(), "servers": servers, "problems": problems }))?;
        } else if !findings::print(printer, args.format, &found)? {
            for finding in &found {
                findings::print_text(printer, finding)?;
            }
            let read = files.iter().filter(|file| file.exists).count();
            let checked = format!("{}, {}", counted(read, "file"), counted(servers, "server"));
            printer.line(&if found.is_empty() { format!("ok: {checked}") } else { format!("{checked}: {}", findings::count(&found)) })?;
        }
        let lost = found.iter().any(|finding| finding.severity == Severity::Error);
        Ok(if refused {
            exit::USAGE
        } else if lost {
            exit::PARTIAL
        } else {
            exit::OK
        })
    })
}
