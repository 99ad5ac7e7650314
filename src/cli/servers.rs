//! `servers`: every server and its state; and what `tools` and `doctor` say of servers that failed.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use super::{
    exit, hints,
    print::{Format, ms},
    session::{Session, Stop, unknown_server},
};
use crate::domain::{
    call::{Failure, FailureKind},
    read_model::ServerView,
    server::{ConnectFailure, Era, Phase, SessionInfo},
    time,
};

/// Waits for all servers; fails when there is none, or none of a name that was asked for.
pub async fn settle_all(session: &mut Session<'_>) -> Result<(), Stop> {
    session.settle(|_, _| true).await?;
    for name in &session.options.servers {
        if !session.read_model.servers.iter().any(|s| s.id().as_str() == name) {
            return Err(unknown_server(&session.read_model, name).into());
        }
    }
    if session.read_model.servers.is_empty() {
        let failure = Failure::new(FailureKind::UnknownServer, "no server is configured")
            .hint("`switchboard import` shows the servers of other programs; `switchboard tools -- COMMAND` takes one from the command line; --demo brings some");
        return Err(failure.into());
    }
    Ok(())
}

/// Lists the servers.
pub async fn run(session: &mut Session<'_>) -> Result<u8, Stop> {
    settle_all(session).await?;
    let servers = session.read_model.servers.clone();
    let rows: Vec<ServerJson<'_>> = servers.iter().map(ServerJson::new).collect();
    match session.printer.format() {
        Format::Human => {
            let mut table = vec![["NAME", "STATE", "BY", "PROTOCOL", "TOOLS", "READY IN", "TARGET"].map(String::from).to_vec()];
            table.extend(servers.iter().map(cells));
            session.printer.table("", &table)?;
        }
        Format::Json => session.printer.document(&serde_json::json!({ "servers": rows }))?,
        Format::Jsonl => {
            for row in &rows {
                session.printer.document(row)?;
            }
        }
    }
    print_cuts(session, servers.iter().flat_map(cut_lists));
    let away = away(&servers);
    print_away(session, &away);
    Ok(code(&servers))
}

/// A list that a limit cut.
#[derive(Serialize)]
pub struct CutList<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    /// `tools`, `resources`, `resourceTemplates` or `prompts`.
    list: &'a str,
    /// Entries that were taken.
    entries: usize,
}

impl CutList<'_> {
    /// Whether it is the list of tools.
    pub fn of_tools(&self) -> bool {
        self.list == "tools"
    }
}

/// The lists of a server that are cut.
pub fn cut_lists(server: &ServerView) -> impl Iterator<Item = CutList<'_>> {
    let catalog = &server.catalog;
    catalog.cut.iter().map(|list| CutList {
        kind: "cut_list",
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

/// Says on stderr which lists are cut.
pub fn print_cuts<'a>(session: &mut Session<'_>, cuts: impl IntoIterator<Item = CutList<'a>>) {
    for CutList { server, list, entries, .. } in cuts {
        session.printer.note(&format!(
            "{server}: {list} is cut at {entries} entries · raise limits.items, limits.pages or limits.message_bytes of this server"
        ));
    }
}

fn cells(server: &ServerView) -> Vec<String> {
    let info = server.info.as_deref();
    vec![
        server.id().to_string(),
        server.phase.word().into(),
        server.spec.launch.transport().into(),
        info.map_or_else(|| "-".into(), |i| i.protocol.clone()),
        if info.is_some() { server.catalog.tools.len().to_string() } else { "-".into() },
        took(info).map(time::short).unwrap_or_else(|| "-".into()),
        server.spec.summary(),
    ]
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
    transport: &'static str,
    target: String,
    era: Option<Era>,
    protocol: Option<&'a str>,
    tools: usize,
    resources: usize,
    prompts: usize,
    ready_ms: Option<f64>,
    /// The lists that a limit cut.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cut: &'a [String],
    failure: Option<ConnectFailure>,
}

impl<'a> ServerJson<'a> {
    fn new(server: &'a ServerView) -> ServerJson<'a> {
        let info = server.info.as_deref();
        ServerJson {
            kind: "server",
            server: server.id().as_str(),
            state: server.phase.word(),
            transport: server.spec.launch.transport(),
            target: server.spec.summary(),
            era: info.map(|i| i.era),
            protocol: info.map(|i| i.protocol.as_str()),
            tools: server.catalog.tools.len(),
            resources: server.catalog.resources.len(),
            prompts: server.catalog.prompts.len(),
            ready_ms: took(info).map(ms),
            cut: &server.catalog.cut,
            failure: hints::failure(server),
        }
    }
}

/// A server that was wanted and did not give its lists.
pub struct Away<'a> {
    server: &'a ServerView,
}

/// The same for documents.
#[derive(Serialize)]
pub struct AwayJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server: &'a str,
    state: &'static str,
    step: Option<&'static str>,
    failure: Option<ConnectFailure>,
}

impl<'a> Away<'a> {
    /// Speaks of this server.
    pub fn new(server: &'a ServerView) -> Away<'a> {
        Away { server }
    }

    /// For documents.
    pub fn json(&self) -> AwayJson<'_> {
        AwayJson {
            kind: "failed_server",
            server: self.server.id().as_str(),
            state: self.server.phase.word(),
            step: match &*self.server.phase {
                Phase::Starting { step } => Some(step.doing()),
                _ => None,
            },
            failure: hints::failure(self.server),
        }
    }

    /// The reasons for people.
    pub fn report(&self) -> Vec<(&'static str, String)> {
        let lines = match (&*self.server.phase, hints::failure(self.server)) {
            (_, Some(why)) => why.report().into_iter().map(|(label, text)| (label.word(), text)).collect(),
            (Phase::Starting { step }, _) => vec![
                ("error", format!("not ready in time, still {}", step.doing())),
                ("command", self.server.spec.summary()),
                ("try", "give it longer: --timeout, or timeouts.connect in its configuration".into()),
            ],
            (Phase::Degraded { reason }, _) => vec![("error", reason.to_string())],
            _ => vec![("error", "not ready".into())],
        };
        lines.into_iter().chain(hints::in_use(self.server).map(|hint| ("try", hint.to_owned()))).collect()
    }
}

/// The servers that were wanted and did not give their lists.
pub fn away(servers: &[ServerView]) -> Vec<Away<'_>> {
    servers.iter().filter(|s| failed(s)).map(Away::new).collect()
}

/// Says on stderr which servers failed, and why.
pub fn print_away(session: &mut Session<'_>, away: &[Away<'_>]) {
    for away in away {
        session.printer.note(&format!("{}: {}", away.server.id(), away.server.phase.word()));
        session.printer.report("  ", &away.report());
    }
}

/// The failure behind a server's state; of one that is being tried again, the last attempt's.
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

/// Whether a server gave its lists and can be used.
fn served(server: &ServerView) -> bool {
    server.phase.usable() && server.catalog.revision > 0
}

/// Whether a server was wanted and did not give its lists.
pub fn failed(server: &ServerView) -> bool {
    *server.phase != Phase::Disabled && !served(server)
}

/// The exit code that the servers' states give.
pub fn code(servers: &[ServerView]) -> u8 {
    let failures = servers.iter().filter(|s| failed(s)).count();
    match servers.iter().filter(|s| served(s)).count() {
        _ if failures == 0 => exit::OK,
        0 => exit::NOT_READY,
        _ => exit::PARTIAL,
    }
}
