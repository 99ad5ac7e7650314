//! `import`: prints the servers that editors and agents have configured. The workspace finds and reads them.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    sync::Arc,
};

use serde::Serialize;

use super::{
    Options,
    args::{ImportArgs, SecretPlace},
    exit,
    print::{Format, Io, Printer},
    replies_of_workspace::{failed, unexpected},
    session::Stop,
};
use crate::{
    control::{Workspace, WorkspaceReply, WorkspaceRequest},
    domain::{
        call::{Failure, FailureKind},
        plural::counted,
        secret::MASK,
        server::ServerSpec,
        workspace::{ImportPlan, ImportProblem, ImportSource, ImportVariable, ImportedConfig, SecretDisplay, SecretTarget},
    },
};

/// What was found, and where secret values go; `None` if the user did not say.
struct Found {
    plan: ImportPlan,
    secrets: Option<SecretPlace>,
}

/// Returns a problem as one line.
fn problem_line(problem: &ImportProblem) -> String {
    let server = problem.server.as_ref().map(|server| format!("server `{server}`: ")).unwrap_or_default();
    let line = problem.line.map(|line| format!(" (line {line})")).unwrap_or_default();
    format!("{server}{}{line}", problem.message)
}

impl Found {
    /// Returns the number of servers in imported files, and in others.
    fn counts(&self) -> (usize, usize) {
        let (taken, left): (Vec<&ImportSource>, Vec<&ImportSource>) =
            self.plan.sources.iter().partition(|s| self.plan.project || !s.project);
        let count = |sources: Vec<&ImportSource>| sources.iter().map(|s| s.servers.len()).sum();
        (count(taken), count(left))
    }

    /// Returns the configuration with the secret values in their place.
    fn text(&self, secrets: SecretTarget) -> &str {
        let toml = &self.plan.toml;
        match (secrets, &toml.with_keyring) {
            (SecretTarget::Keyring, Some(text)) => text,
            (SecretTarget::File, _) => toml.with_values.expose(),
            (SecretTarget::Variables | SecretTarget::Keyring, _) => &toml.with_variables,
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
        self.plan.sources.iter().filter(|source| self.plan.project || !source.project).map(entries).sum()
    }
}

/// Prints the findings on stderr, and the configuration on stdout, or writes it.
pub async fn run(workspace: &dyn Workspace, args: &ImportArgs, options: &Options, io: Io) -> u8 {
    let mut printer = Printer::new(io, options.format, options.raw).masking(&options.secrets);
    let outcome = print(&mut printer, workspace, args, options.verbose).await;
    super::conclude(&mut printer, outcome)
}

async fn print(printer: &mut Printer, workspace: &dyn Workspace, args: &ImportArgs, verbose: bool) -> Result<u8, Stop> {
    let secrets = if args.show_secrets { SecretDisplay::Shown } else { SecretDisplay::Masked };
    let request = WorkspaceRequest::Import { files: args.files.clone(), project: args.project, into_file: args.write, secrets };
    let WorkspaceReply::Import(plan) = workspace.request(request).await.map_err(failed)? else { return Err(unexpected().into()) };
    let found = &Found { plan: *plan, secrets: args.secrets };
    let (count, left) = found.counts();
    let human = printer.format() == Format::Human;
    // Print what would be started before writing it.
    if human {
        print_sources(printer, &found.plan.sources);
    }
    let wanted = args.write;
    let added = found.plan.toml.added;
    let secrets = match found.secrets {
        Some(SecretPlace::File) => SecretTarget::File,
        Some(SecretPlace::Env) => SecretTarget::Variables,
        Some(SecretPlace::Keyring) if found.plan.toml.with_keyring.is_none() => {
            let failure = Failure::new(FailureKind::InvalidArguments, "this build of Switchboard has no support for keyrings");
            return Err(failure.hint("use --secrets env, or build with `--features keyring`").into());
        }
        Some(SecretPlace::Keyring) => SecretTarget::Keyring,
        None if wanted && added > 0 && human => ask(printer, &found.plan.toml),
        None => SecretTarget::File,
    };
    let written = if wanted && added > 0 {
        let request = WorkspaceRequest::WriteImport { files: args.files.clone(), project: args.project, secrets };
        match workspace.request(request).await.map_err(failed)? {
            WorkspaceReply::Written(path) => Some(path),
            _ => return Err(unexpected().into()),
        }
    } else {
        None
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
    let variables = &found.plan.toml.variables;
    let replaced = !variables.is_empty() && added > 0;
    if human && replaced && secrets == SecretTarget::Variables {
        print_variables(printer, found);
    } else if replaced && secrets == SecretTarget::Keyring && written.is_some() {
        let names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
        printer.note(&format!("stored in the keyring: {}", names.join(", ")));
    } else if found.plan.masked && !wanted && found.plan.toml.with_values.expose().contains(MASK) {
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
    Ok(if found.plan.sources.iter().any(|s| s.unreadable) { exit::PARTIAL } else { exit::OK })
}

/// Asks on a terminal whether the secret values stay out of the file.
fn ask(printer: &mut Printer, toml: &ImportedConfig) -> SecretTarget {
    let stdin = if toml.variables.is_empty() || !printer.can_ask() { None } else { printer.take_stdin() };
    let Some(stdin) = stdin else { return SecretTarget::File };
    let values = counted(toml.variables.len(), "secret value");
    let has_keyring = toml.with_keyring.is_some();
    printer.question(&match has_keyring {
        true => format!("Store {values} in the keyring [k], write ${{VARIABLES}} that you set in your environment [v], or the values [N]?"),
        false => format!("Write ${{VARIABLES}} in place of {values}? You set them in your environment. [y/N]"),
    });
    let mut answer = String::new();
    // Unreadable input is not a yes.
    let _ = BufReader::new(stdin.take(1000)).read_line(&mut answer);
    match (answer.trim().to_lowercase().as_str(), has_keyring) {
        ("k" | "keyring", true) => SecretTarget::Keyring,
        ("v" | "variables", true) | ("y" | "yes", false) => SecretTarget::Variables,
        _ => SecretTarget::File,
    }
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
            printer.note(&format!("  problem: {}", problem_line(problem)));
            if let Some(hint) = &problem.hint {
                printer.note(&format!("    try: {hint}"));
            }
        }
    }
}

/// Prints where was searched: every file, or how many there are.
fn print_searched(printer: &mut Printer, found: &Found, all: bool) {
    if found.plan.searched.is_empty() {
        return;
    }
    let places = counted(found.plan.searched.len(), "place");
    if !all {
        return printer.note(&format!("{places} searched; list them with --verbose"));
    }
    printer.note(&format!("{places} searched:"));
    let rows: Vec<Vec<String>> = found.plan.searched.iter().map(|(client, path)| vec![client.clone(), path.clone()]).collect();
    printer.note_table("  ", &rows);
}

/// Prints the lines that set the variables, with the place of each value.
fn print_variables(printer: &mut Printer, found: &Found) {
    printer.note("set these variables in your environment, with the values of the imported files:");
    for variable in &found.plan.toml.variables {
        let ImportVariable { name, server, key, value } = variable;
        printer.note(&format!("  export {name}={}  # {key} of {server}", crate::domain::server::quote(value)));
    }
    if found.plan.masked {
        printer.note("--show-secrets prints the values");
    }
}

fn print_documents(printer: &mut Printer, found: &Found, secrets: SecretTarget, written: Option<&PathBuf>) -> Result<(), Stop> {
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
        path: &'a str,
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
        .plan
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
        return Ok(printer.documents(&sources)?);
    }
    Ok(printer.document(&Document {
        sources,
        searched: found.plan.searched.iter().map(|(client, path)| PlaceJson { client, path }).collect(),
        toml: found.text(secrets),
        variables: if secrets == SecretTarget::File { &[] } else { &found.plan.toml.variables },
        written: written.map(|p| p.display().to_string()),
    })?)
}
