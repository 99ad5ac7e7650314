//! `tools`: lists the tools by server, with their exposed names.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    args::ToolsArgs,
    names::NamePattern,
    print::Format,
    servers::{self, ListKind, UnavailableServer},
    session::{Session, Stop, raw},
};
use crate::{
    domain::{
        catalog::Tool,
        directory::Directory,
        id::{ServerId, ToolId},
    },
    state::ConsoleState,
};

/// Lists the tools.
pub async fn run(session: &mut Session<'_>, args: &ToolsArgs) -> Result<u8, Stop> {
    servers::wait_for_all(session).await?;
    let read_model = session.read_model.clone();
    let united: Vec<_> = read_model.rules.routing.groups.iter().map(|group| (group, read_model.group_tools(&group.id))).collect();
    let mut groups: Vec<(String, Vec<Row<'_>>)> = Vec::new();
    for server in read_model.servers.iter().filter(|s| s.phase.usable()) {
        let rows = server.catalog.tools.iter().filter_map(|tool| row(&read_model, args, server.id(), tool, &[], false));
        let more = server.spec.description.as_ref().map(|d| format!("  {d}")).unwrap_or_default();
        groups.push((format!("{}{more}", server.id()), rows.collect()));
    }
    for (group, tools) in &united {
        let rows = tools.iter().filter_map(|(tool, members, differ)| row(&read_model, args, &group.id, tool, members, *differ));
        let members: Vec<&str> = group.members.iter().map(|member| member.server.as_str()).collect();
        groups.push((format!("{}  {}: {}", group.id, group.strategy.word(), members.join(", ")), rows.collect()));
    }
    let found = groups.iter().map(|(_, rows)| rows.len()).sum::<usize>();
    let unavailable = servers::unavailable(&read_model.servers);
    let refused = || read_model.servers.iter().filter(|s| s.phase.usable()).flat_map(servers::refused_tools);
    let truncated = || servers::truncated(&read_model.servers, ListKind::Tools);
    let incomplete = || servers::incomplete(&read_model.servers, ListKind::Tools);
    match session.printer.format() {
        Format::Human => {
            let mut first = true;
            for (title, rows) in groups.iter().filter(|(_, rows)| !rows.is_empty()) {
                if !std::mem::take(&mut first) {
                    session.printer.line("")?;
                }
                print_group(session, title, rows, args.schema)?;
            }
        }
        Format::Json => {
            let tools: Vec<ToolJson<'_>> = groups.iter().flat_map(|(_, rows)| rows).map(|row| row.json(args.schema)).collect();
            session.printer.document(&ToolsJson {
                tools,
                refused: refused().collect(),
                truncated: truncated().collect(),
                incomplete: incomplete().collect(),
                failed: unavailable.iter().map(UnavailableServer::json).collect(),
            })?;
        }
        Format::Jsonl => {
            session.printer.documents(groups.iter().flat_map(|(_, rows)| rows).map(|row| row.json(args.schema)))?;
            session.printer.documents(refused())?;
            session.printer.documents(truncated())?;
            session.printer.documents(incomplete())?;
            session.printer.documents(unavailable.iter().map(UnavailableServer::json))?;
        }
    }
    if found == 0 && session.printer.format() == Format::Human {
        let what = args.pattern.as_ref().map(|pattern| format!(" matches {pattern:?}")).unwrap_or_else(|| " is offered".into());
        session.printer.note(&format!("no tool{what}"));
    }
    servers::print_refused(session, refused());
    servers::print_truncated(session, truncated());
    servers::print_incomplete(session, incomplete());
    servers::print_unavailable(session, &unavailable);
    Ok(servers::code_of_list(&read_model.servers, ListKind::Tools, found))
}

struct Row<'a> {
    kind: &'static str,
    name: &'a str,
    server: &'a str,
    tool: &'a Tool,
    /// The members that offer it, for a tool of a group.
    members: &'a [ServerId],
    /// Whether their schemas differ.
    differ: bool,
    /// Whether the configuration filters it, so that it cannot be called.
    filtered: bool,
    /// How its definition differs from the accepted one: not at all, "changed" or "held".
    pin: Option<&'static str>,
}

/// Returns the row of a tool, if it is listed and selected.
fn row<'a>(
    read_model: &'a ConsoleState,
    args: &ToolsArgs,
    server: &'a ServerId,
    tool: &'a Tool,
    members: &'a [ServerId],
    differ: bool,
) -> Option<Row<'a>> {
    let id = ToolId::new(server.clone(), tool.name.clone());
    let exposed = read_model.names.exposed(&id)?;
    let fits = |pattern: NamePattern| {
        let names = [&**exposed, &*tool.name, &format!("{server}/{}", tool.name)];
        let texts = tool.title.iter().chain(&tool.description);
        names.into_iter().chain(tool.title.as_deref()).any(|name| pattern.fits(name)) || texts.into_iter().any(|text| pattern.is_in(text))
    };
    let wanted = args.pattern.as_deref().map(NamePattern::new).is_none_or(fits);
    let filtered = read_model.is_filtered(&id);
    let changed = read_model.entry(server).is_some_and(|server| server.catalog.pin_changes.contains(&tool.name));
    let pin = changed.then(|| if read_model.is_held(&id) { "held" } else { "changed" });
    wanted.then(|| Row { kind: "tool", name: exposed, server: server.as_str(), tool, members, differ, filtered, pin })
}

#[derive(Serialize)]
struct ToolsJson<'a> {
    tools: Vec<ToolJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<servers::RefusedJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    truncated: Vec<servers::TruncatedList<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    incomplete: Vec<servers::IncompleteList<'a>>,
    failed: Vec<servers::UnavailableJson<'a>>,
}

#[derive(Serialize)]
struct ToolJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    server: &'a str,
    tool: &'a str,
    title: Option<&'a str>,
    description: Option<&'a str>,
    read_only: Option<bool>,
    destructive: Option<bool>,
    idempotent: Option<bool>,
    open_world: Option<bool>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    members: &'a [ServerId],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    schemas_differ: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    filtered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_schema: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<Box<RawValue>>,
    /// The complete entry as received.
    definition: Option<Box<RawValue>>,
}

impl Row<'_> {
    fn json(&self, schema: bool) -> ToolJson<'_> {
        let tool = self.tool;
        ToolJson {
            kind: self.kind,
            name: self.name,
            server: self.server,
            tool: &tool.name,
            title: tool.title.as_deref(),
            description: tool.description.as_deref(),
            read_only: tool.hints.read_only,
            destructive: tool.hints.destructive,
            idempotent: tool.hints.idempotent,
            open_world: tool.hints.open_world,
            members: self.members,
            schemas_differ: self.differ,
            filtered: self.filtered,
            pin: self.pin,
            input_schema: schema.then(|| raw(&tool.input_schema)).flatten(),
            output_schema: tool.output_schema.as_ref().filter(|_| schema).and_then(raw),
            definition: raw(&tool.raw),
        }
    }
}

fn print_group(session: &mut Session<'_>, title: &str, rows: &[Row<'_>], schema: bool) -> Result<(), Stop> {
    session.printer.line(title)?;
    let differ = |row: &Row<'_>| if row.differ { " · schemas differ" } else { "" };
    let filtered = |row: &Row<'_>| if row.filtered { "filtered · " } else { "" };
    let pin = |row: &Row<'_>| match row.pin {
        Some("held") => "held: its definition changed · ",
        Some(_) => "changed since it was accepted · ",
        None => "",
    };
    let words = |row: &Row<'_>| format!("{}{}{}{}", filtered(row), pin(row), row.tool.hints.words(), differ(row));
    let cells = |row: &Row<'_>| vec![row.name.to_owned(), words(row), first_line(row.tool)];
    if !schema {
        let table: Vec<Vec<String>> = rows.iter().map(cells).collect();
        return Ok(session.printer.table("  ", &table)?);
    }
    for row in rows {
        session.printer.table("  ", &[cells(row)])?;
        session.printer.json_text(&row.tool.input_schema.text())?;
        if let Some(output) = &row.tool.output_schema {
            session.printer.line("  answers")?;
            session.printer.json_text(&output.text())?;
        }
    }
    Ok(())
}

/// Returns the first line of a tool's description.
fn first_line(tool: &Tool) -> String {
    let text = tool.description.as_deref().or(tool.title.as_deref()).unwrap_or_default();
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
