//! `drift` and `pins`: what servers changed in their definitions, and which versions the user accepted.

use serde::Serialize;
use serde_json::{json, value::RawValue};

use super::{
    args::{DriftArgs, FailOn, PinsCmd},
    exit,
    print::{Format, Printer},
    replies_of_workspace::{failed, unexpected},
    session::Stop,
};
use crate::{
    control::{Workspace, WorkspaceReply, WorkspaceRequest},
    domain::{
        bounds,
        call::{Failure, FailureKind},
        drift::{self, Baseline, Change, Definition, DefinitionKind, DefinitionVersion, Difference, Impact},
        id::ServerId,
        plural::counted,
        text::visible,
        time::date,
        workflow::{catalog_lookup::tools_of, library::WorkflowLibrary},
    },
};

/// Longest part of a value in the output, in bytes.
const VALUE: usize = 200;

/// JSON document of a change.
#[derive(Serialize)]
struct ChangeDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    definition: &'static str,
    name: &'a str,
    impact: &'static str,
    unix_ms: u64,
    accepted: bool,
    differences: Vec<DifferenceDocument<'a>>,
    workflows: Vec<String>,
}

/// A member of a definition that differs.
#[derive(Serialize)]
struct DifferenceDocument<'a> {
    what: &'static str,
    impact: &'static str,
    path: &'a str,
    before: Option<Box<RawValue>>,
    after: Option<Box<RawValue>>,
}

/// Returns the names of the workflows that use a tool of a server.
fn users(library: &WorkflowLibrary, change: &Change) -> Vec<String> {
    if change.kind != DefinitionKind::Tool {
        return vec![];
    }
    let qualified = format!("{}/{}", change.server, change.name);
    let exposed = format!("{}_{}", change.server, change.name);
    let uses = |tool: &String| *tool == qualified || *tool == exposed;
    let entries = library.entries();
    let named = entries.iter().filter(|entry| entry.plan.as_ref().is_ok_and(|plan| tools_of(plan).iter().any(uses)));
    named.map(|entry| entry.name.to_string()).collect()
}

fn raw(text: &Option<String>) -> Option<Box<RawValue>> {
    RawValue::from_string(text.clone()?).ok()
}

fn document<'a>(change: &'a Change, library: &WorkflowLibrary) -> ChangeDocument<'a> {
    let difference = |difference: &'a Difference| DifferenceDocument {
        what: difference.kind.words(),
        impact: difference.kind.impact().word(),
        path: &difference.path,
        before: raw(&difference.before),
        after: raw(&difference.after),
    };
    ChangeDocument {
        kind: "change",
        server: change.server.as_str(),
        definition: change.kind.word(),
        name: &change.name,
        impact: change.impact().word(),
        unix_ms: change.at_ms,
        accepted: change.accepted,
        differences: change.differences.iter().map(difference).collect(),
        workflows: users(library, change),
    }
}

/// Runs `drift`; returns the exit code.
pub async fn show(printer: &mut Printer, workspace: &dyn Workspace, args: &DriftArgs, servers: &[String]) -> Result<u8, Stop> {
    let changes = match args.between.as_deref() {
        Some([before, after]) => between(workspace, before, after).await?,
        _ => seen(workspace, args.all, servers).await?,
    };
    let library = workspace.state().borrow().library.clone();
    let documents: Vec<ChangeDocument<'_>> = changes.iter().map(|change| document(change, &library)).collect();
    match printer.format() {
        Format::Human if changes.is_empty() && args.between.is_some() => printer.note("the servers define the same"),
        Format::Human if changes.is_empty() => printer.note("nothing changed"),
        Format::Human => {
            for (change, document) in changes.iter().zip(&documents) {
                print_change(printer, change, &document.workflows)?;
            }
        }
        Format::Json => printer.document(&json!({"type": "drift", "changes": documents}))?,
        Format::Jsonl => {
            for document in &documents {
                printer.document(document)?;
            }
        }
    }
    let fails = |change: &Change| match args.fail_on {
        None => false,
        Some(FailOn::Any) => true,
        Some(FailOn::Breaking) => change.impact() == Impact::Breaking,
    };
    Ok(if changes.iter().any(fails) { exit::DRIFT } else { exit::OK })
}

/// Returns what servers changed.
async fn seen(workspace: &dyn Workspace, all: bool, servers: &[String]) -> Result<Vec<Change>, Stop> {
    let baseline = if all { Baseline::Previous } else { Baseline::Accepted };
    let request = WorkspaceRequest::Drift { server: None, baseline };
    let WorkspaceReply::Drift(mut changes) = workspace.request(request).await.map_err(failed)? else { return Err(unexpected().into()) };
    changes.retain(|change| servers.is_empty() || servers.iter().any(|server| server == change.server.as_str()));
    Ok(changes)
}

/// Returns what differs between two servers, as they were seen last. A change has the time of the definition of the second one.
async fn between(workspace: &dyn Workspace, before: &str, after: &str) -> Result<Vec<Change>, Stop> {
    let (old, new) = (current(workspace, before).await?, current(workspace, after).await?);
    let of = |versions: &[DefinitionVersion]| -> Vec<Definition> {
        let text = |version: &DefinitionVersion| version.definition.text().into_owned();
        versions.iter().map(|version| Definition { kind: version.kind, name: version.name.clone(), text: text(version) }).collect()
    };
    let mut changes = drift::between(&ServerId::new(before), &of(&old), &of(&new));
    for change in &mut changes {
        let same = |version: &&DefinitionVersion| version.kind == change.kind && version.name == change.name;
        change.at_ms = new.iter().find(same).or_else(|| old.iter().find(same)).map_or(0, |version| version.first_ms);
    }
    Ok(changes)
}

/// Returns what a server defined when it was connected last.
async fn current(workspace: &dyn Workspace, server: &str) -> Result<Vec<DefinitionVersion>, Stop> {
    let request = WorkspaceRequest::Definitions { server: Some(server.to_owned()) };
    let WorkspaceReply::Definitions(mut versions) = workspace.request(request).await.map_err(failed)? else {
        return Err(unexpected().into());
    };
    versions.retain(|version| version.last_ms >= version.listed_ms);
    if versions.is_empty() {
        let message = format!("no definitions of the server {server:?} are recorded");
        let hint = format!("connect to it first: switchboard doctor {server}");
        return Err(Failure::new(FailureKind::UnknownServer, message).hint(hint).into());
    }
    Ok(versions)
}

fn print_change(printer: &mut Printer, change: &Change, workflows: &[String]) -> Result<(), Stop> {
    let name = if change.name.is_empty() { String::new() } else { format!(" {}", visible(&change.name)) };
    let impact = change.impact().word();
    printer.line(&format!("{} {}{name}: {impact}, {} (UTC)", change.server, change.kind.word(), date(change.at_ms / 1000)))?;
    // Invisible characters become visible escapes: a description may hide instructions in them.
    let value = |text: &String| bounds::cut(&visible(text), VALUE).into_owned();
    for difference in &change.differences {
        let mark = if difference.kind.impact() == Impact::Breaking { "!" } else { " " };
        let path = if difference.path.is_empty() { String::new() } else { format!("{} ", visible(&difference.path)) };
        printer.line(&format!("  {mark} {path}{}", difference.kind.words()))?;
        for (sign, text) in [("-", &difference.before), ("+", &difference.after)] {
            if let Some(text) = text {
                printer.line(&format!("      {sign} {}", value(text)))?;
            }
        }
    }
    if !workflows.is_empty() {
        printer.line(&format!("    used by the workflows: {}", workflows.join(", ")))?;
    }
    Ok(())
}

/// JSON document of a definition.
#[derive(Serialize)]
struct PinDocument<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    definition: &'static str,
    name: &'a str,
    state: &'static str,
    first_unix_ms: u64,
    last_unix_ms: u64,
}

/// Returns the state of a definition: accepted, changed (or new), or gone.
fn state(version: &DefinitionVersion) -> &'static str {
    match (version.last_ms < version.listed_ms, version.accepted) {
        (true, _) => "gone",
        (false, true) => "accepted",
        (false, false) => "changed",
    }
}

/// Runs a command of `pins`; returns the exit code.
pub async fn pins(printer: &mut Printer, workspace: &dyn Workspace, command: &PinsCmd) -> Result<u8, Stop> {
    match command {
        PinsCmd::List { name } => {
            let request = WorkspaceRequest::Definitions { server: name.clone() };
            let WorkspaceReply::Definitions(versions) = workspace.request(request).await.map_err(failed)? else {
                return Err(unexpected().into());
            };
            list(printer, &versions)?;
        }
        PinsCmd::Accept { name, definition } => {
            let request = WorkspaceRequest::AcceptDefinitions { server: name.clone(), name: definition.clone() };
            let WorkspaceReply::Accepted(count) = workspace.request(request).await.map_err(failed)? else {
                return Err(unexpected().into());
            };
            match printer.format() {
                Format::Human => {
                    let definitions = counted(u32::try_from(count).unwrap_or(u32::MAX), "definition");
                    printer.line(&format!("{definitions} of {name} accepted"))?;
                }
                _ => printer.document(&json!({"type": "pins_accepted", "server": name, "accepted": count}))?,
            }
        }
    }
    Ok(exit::OK)
}

fn list(printer: &mut Printer, versions: &[DefinitionVersion]) -> Result<(), Stop> {
    let document = |version: &'_ DefinitionVersion| {
        json!(PinDocument {
            kind: "pin",
            server: version.server.as_str(),
            definition: version.kind.word(),
            name: &version.name,
            state: state(version),
            first_unix_ms: version.first_ms,
            last_unix_ms: version.last_ms,
        })
    };
    match printer.format() {
        Format::Human if versions.is_empty() => printer.note("no definitions were seen"),
        Format::Human => {
            let head = ["SERVER", "KIND", "NAME", "STATE", "SINCE (UTC)"].map(String::from).to_vec();
            let row = |version: &DefinitionVersion| {
                let (server, kind) = (version.server.to_string(), version.kind.word().to_owned());
                vec![server, kind, visible(&version.name).into_owned(), state(version).to_owned(), date(version.first_ms / 1000)]
            };
            printer.table("", &std::iter::once(head).chain(versions.iter().map(row)).collect::<Vec<_>>())?;
        }
        Format::Json => {
            let pins: Vec<_> = versions.iter().map(document).collect();
            printer.document(&json!({"type": "pins", "pins": pins}))?;
        }
        Format::Jsonl => {
            for version in versions {
                printer.document(&document(version))?;
            }
        }
    }
    Ok(())
}
