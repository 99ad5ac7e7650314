//! `servers`: lists every server with its state. Also reports failed servers for `tools` and `doctor`.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use super::{
    exit, hints,
    print::{Format, ms},
    session::{Session, Stop, unknown_server},
    style::Tone,
};
use crate::{
    domain::{
        call::{Failure, FailureKind},
        plural::counted,
        server::{ConnectFailure, Era, Phase, SessionInfo},
        time,
    },
    state::ServerView,
};

/// Waits for all servers. Fails when none is configured, or for an unknown name.
pub async fn wait_for_all(session: &mut Session<'_>) -> Result<(), Stop> {
    session.settle(|_, _| true).await?;
    check_selected(session)
}

/// Fails when no server is configured, or for an unknown name.
pub fn check_selected(session: &Session<'_>) -> Result<(), Stop> {
    for name in &session.options.servers {
        if !session.read_model.servers.iter().any(|s| s.id().as_str() == name) {
            return Err(unknown_server(&session.read_model, name).into());
        }
    }
    if session.read_model.servers.is_empty() {
        let failure = Failure::new(FailureKind::UnknownServer, "no server is configured").hint(
            "import the servers of other clients with `switchboard import`, use one with `switchboard tools -- COMMAND`, or try --demo",
        );
        return Err(failure.into());
    }
    Ok(())
}

/// Lists the servers.
pub async fn run(session: &mut Session<'_>) -> Result<u8, Stop> {
    wait_for_all(session).await?;
    let servers = session.read_model.servers.clone();
    let rows: Vec<ServerJson<'_>> = servers.iter().map(ServerJson::new).collect();
    match session.printer.format() {
        Format::Human => {
            let owned = servers.iter().any(|server| server.spec.owner.is_some());
            let mut heads = vec!["NAME", "STATE", "BY", "PROTOCOL", "TOOLS", "READY IN", "OWNER", "TARGET"];
            heads.retain(|head| owned || *head != "OWNER");
            let mut table: Vec<Vec<String>> = vec![heads.into_iter().map(String::from).collect()];
            table.extend(servers.iter().map(|server| cells(server, owned)));
            session.printer.headed_table(&table, |row, column| servers.get(row).filter(|_| column == 1).and_then(tone))?;
        }
        Format::Json => session.printer.document(&serde_json::json!({ "servers": rows }))?,
        Format::Jsonl => session.printer.documents(&rows)?,
    }
    print_truncated(session, servers.iter().flat_map(truncated_lists));
    let unavailable = unavailable(&servers);
    print_unavailable(session, &unavailable);
    Ok(code(&servers))
}

/// A list truncated by a limit.
#[derive(Serialize)]
pub struct TruncatedList<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    /// `tools`, `resources`, `resourceTemplates` or `prompts`.
    list: &'a str,
    /// Entries that were read.
    entries: usize,
}

/// A list that was not read completely because of an error.
#[derive(Serialize)]
pub struct IncompleteList<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    /// `tools`, `resources`, `resourceTemplates` or `prompts`.
    list: &'a str,
    reason: &'a str,
}

/// A kind of list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// `tools/list`.
    Tools,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    Templates,
    /// `prompts/list`.
    Prompts,
}

impl ListKind {
    const ALL: [ListKind; 4] = [ListKind::Tools, ListKind::Resources, ListKind::Templates, ListKind::Prompts];

    /// Returns the key of the list in its result.
    fn key(self) -> &'static str {
        match self {
            ListKind::Templates => "resourceTemplates",
            other => other.plural(),
        }
    }

    fn method(self) -> &'static str {
        match self {
            ListKind::Tools => "tools/list",
            ListKind::Resources => "resources/list",
            ListKind::Templates => "resources/templates/list",
            ListKind::Prompts => "prompts/list",
        }
    }

    /// Returns the word for one entry.
    pub fn noun(self) -> &'static str {
        match self {
            ListKind::Tools => "tool",
            ListKind::Resources => "resource",
            ListKind::Templates => "template",
            ListKind::Prompts => "prompt",
        }
    }

    /// Returns the word for several entries, which is also the name of the command.
    pub fn plural(self) -> &'static str {
        match self {
            ListKind::Tools => "tools",
            ListKind::Resources => "resources",
            ListKind::Templates => "templates",
            ListKind::Prompts => "prompts",
        }
    }
}

/// Returns the truncated lists of one kind of all usable servers.
pub fn truncated(servers: &[ServerView], kind: ListKind) -> impl Iterator<Item = TruncatedList<'_>> {
    servers.iter().filter(|s| s.phase.usable()).flat_map(truncated_lists).filter(move |list| list.list == kind.key())
}

/// Returns the lists of one kind that were not read completely, of all usable servers.
pub fn incomplete(servers: &[ServerView], kind: ListKind) -> impl Iterator<Item = IncompleteList<'_>> {
    servers.iter().filter(|s| s.phase.usable()).flat_map(move |server| {
        server.catalog.broken.iter().filter(move |broken| broken.list == kind.key()).map(|broken| IncompleteList {
            kind: "incomplete_list",
            server: server.id().as_str(),
            list: &broken.list,
            reason: &broken.reason,
        })
    })
}

/// Prints the lists that were not read completely on stderr.
pub fn print_incomplete<'a>(session: &mut Session<'_>, lists: impl IntoIterator<Item = IncompleteList<'a>>) {
    for IncompleteList { server, list, reason, .. } in lists {
        let method = ListKind::ALL.into_iter().find(|kind| kind.key() == list).map_or(list, |kind| kind.method());
        session.printer.note(&format!("{server}: {method} failed: {reason}"));
    }
}

/// Returns the truncated lists of a server.
pub fn truncated_lists(server: &ServerView) -> impl Iterator<Item = TruncatedList<'_>> {
    let catalog = &server.catalog;
    catalog.cut.iter().map(|list| TruncatedList {
        kind: "truncated_list",
        server: server.id().as_str(),
        list,
        entries: match list.as_str() {
            "tools" => catalog.tools.len(),
            "resources" => catalog.resources.len(),
            "resourceTemplates" => catalog.templates.len(),
            _ => catalog.prompts.len(),
        },
    })
}

/// A tool that a server lists but that is not offered.
#[derive(Serialize)]
pub struct RefusedJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    tool: &'a str,
    why: &'a str,
}

/// Returns the tools of a server that are not offered, because their definitions break a rule of the protocol.
pub fn refused_tools(server: &ServerView) -> impl Iterator<Item = RefusedJson<'_>> {
    let id = server.id().as_str();
    server.catalog.refused.iter().map(move |tool| RefusedJson { kind: "refused_tool", server: id, tool: &tool.name, why: &tool.why })
}

/// Prints the tools that are not offered on stderr.
pub fn print_refused<'a>(session: &mut Session<'_>, refused: impl IntoIterator<Item = RefusedJson<'a>>) {
    for RefusedJson { server, tool, why, .. } in refused {
        session.printer.note(&format!("{server}: the tool {tool:?} is refused: {why}"));
    }
}

/// Prints the truncated lists on stderr.
pub fn print_truncated<'a>(session: &mut Session<'_>, cuts: impl IntoIterator<Item = TruncatedList<'a>>) {
    for TruncatedList { server, list, entries, .. } in cuts {
        session.printer.note(&format!(
            "{server}: {list} is truncated at {} · raise limits.items, limits.pages or limits.message_bytes of this server",
            counted(entries, "entry")
        ));
    }
}

/// Returns the tone of a server's state.
pub fn tone(server: &ServerView) -> Option<Tone> {
    Some(match &*server.phase {
        Phase::Disabled | Phase::Idle => Tone::Dim,
        Phase::Degraded { .. } => Tone::Warn,
        phase if phase.usable() => Tone::Good,
        _ => Tone::Bad,
    })
}

/// Returns the row of a server; with its owner if `owned`.
fn cells(server: &ServerView, owned: bool) -> Vec<String> {
    let info = server.info.as_deref();
    let owner = owned.then(|| server.spec.owner.clone().unwrap_or_else(|| "-".into()));
    let mut cells = vec![
        server.id().to_string(),
        server.phase.word().into(),
        server.spec.launch.transport().into(),
        info.map_or_else(|| "-".into(), |i| i.protocol.clone()),
        if info.is_some() { server.catalog.tools.len().to_string() } else { "-".into() },
        took(info).map(time::short).unwrap_or_else(|| "-".into()),
    ];
    cells.extend(owner);
    cells.push(server.spec.summary());
    cells
}

fn took(info: Option<&SessionInfo>) -> Option<Duration> {
    info.map(|info| info.took)
}

#[derive(Serialize)]
struct ServerJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    state: &'static str,
    /// Who is responsible for the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    transport: &'static str,
    target: String,
    /// Whether the certificate is not checked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    insecure: bool,
    era: Option<Era>,
    protocol: Option<&'a str>,
    tools: usize,
    resources: usize,
    templates: usize,
    prompts: usize,
    ready_ms: Option<f64>,
    /// The lists truncated by a limit.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    truncated: &'a [String],
    failure: Option<ConnectFailure>,
}

impl<'a> ServerJson<'a> {
    fn new(server: &'a ServerView) -> ServerJson<'a> {
        let info = server.info.as_deref();
        ServerJson {
            kind: "server",
            server: server.id().as_str(),
            state: server.phase.word(),
            owner: server.spec.owner.as_deref(),
            transport: server.spec.launch.transport(),
            target: server.spec.summary(),
            insecure: server.spec.tls.insecure,
            era: info.map(|i| i.era),
            protocol: info.map(|i| i.protocol.as_str()),
            tools: server.catalog.tools.len(),
            resources: server.catalog.resources.len(),
            templates: server.catalog.templates.len(),
            prompts: server.catalog.prompts.len(),
            ready_ms: took(info).map(ms),
            truncated: &server.catalog.cut,
            failure: hints::failure(server),
        }
    }
}

/// A selected server without lists.
pub struct UnavailableServer<'a> {
    server: &'a ServerView,
}

/// A selected server without lists, as JSON.
#[derive(Serialize)]
pub struct UnavailableJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'a str>,
    state: &'static str,
    step: Option<&'static str>,
    failure: Option<ConnectFailure>,
}

impl<'a> UnavailableServer<'a> {
    /// Wraps a server.
    pub fn new(server: &'a ServerView) -> UnavailableServer<'a> {
        UnavailableServer { server }
    }

    /// Returns the JSON document.
    pub fn json(&self) -> UnavailableJson<'_> {
        UnavailableJson {
            kind: "failed_server",
            server: self.server.id().as_str(),
            owner: self.server.spec.owner.as_deref(),
            state: self.server.phase.word(),
            step: match &*self.server.phase {
                Phase::Starting { step } => Some(step.doing()),
                _ => None,
            },
            failure: hints::failure(self.server),
        }
    }

    /// Returns the reasons as report lines.
    pub fn report(&self) -> Vec<(&'static str, String)> {
        let lines = match (&*self.server.phase, hints::failure(self.server)) {
            (_, Some(why)) => why.report().into_iter().map(|(label, text)| (label.word(), text)).collect(),
            (Phase::Starting { step }, _) => {
                vec![("error", format!("not ready in time, still {}", step.doing())), ("command", self.server.spec.summary())]
            }
            (Phase::Degraded { reason }, _) => vec![("error", reason.to_string())],
            _ => vec![("error", "not ready".into())],
        };
        let owner = self.server.spec.owner.clone().map(|owner| ("owner", owner));
        lines.into_iter().chain(hints::in_use(self.server).map(|hint| ("try", hint))).chain(owner).collect()
    }
}

/// Returns the selected servers without lists.
pub fn unavailable(servers: &[ServerView]) -> Vec<UnavailableServer<'_>> {
    servers.iter().filter(|s| failed(s)).map(UnavailableServer::new).collect()
}

/// Prints the failed servers and the reasons on stderr.
pub fn print_unavailable(session: &mut Session<'_>, unavailable: &[UnavailableServer<'_>]) {
    for unavailable in unavailable {
        session.printer.note(&format!("{}: {}", unavailable.server.id(), unavailable.server.phase.word()));
        session.printer.report("  ", &unavailable.report());
    }
}

/// Returns the failure of a server; for one that is reconnecting, that of the last attempt.
pub fn last_failure(server: &ServerView) -> Option<&Arc<ConnectFailure>> {
    if server.phase.usable() {
        return None;
    }
    server.phase.failure().or_else(|| match &*server.phase {
        Phase::Starting { .. } => {
            server.history.iter().rev().take_while(|(_, phase)| !phase.usable()).find_map(|(_, phase)| phase.failure())
        }
        _ => None,
    })
}

/// Returns whether a server has lists and is usable.
fn served(server: &ServerView) -> bool {
    server.phase.usable() && server.catalog.revision > 0
}

/// Returns whether a selected server has no lists.
pub fn failed(server: &ServerView) -> bool {
    *server.phase != Phase::Disabled && !served(server)
}

/// Returns the exit code of a command that lists entries of one kind, `found` of them.
pub fn code_of_list(servers: &[ServerView], kind: ListKind, found: usize) -> u8 {
    let incomplete = |server: &&ServerView| server.catalog.broken.iter().any(|broken| broken.list == kind.key());
    let (partly, wholly): (Vec<&ServerView>, Vec<&ServerView>) = servers.iter().filter(|s| served(s)).partition(incomplete);
    match (partly.len(), wholly.len()) {
        (0, _) => code(servers),
        (_, 0) if found == 0 => exit::FAILED,
        _ => exit::PARTIAL,
    }
}

/// Returns the exit code for the states of the servers.
pub fn code(servers: &[ServerView]) -> u8 {
    let failures = servers.iter().filter(|s| failed(s)).count();
    match servers.iter().filter(|s| served(s)).count() {
        _ if failures == 0 => exit::OK,
        0 => exit::NOT_READY,
        _ => exit::PARTIAL,
    }
}
