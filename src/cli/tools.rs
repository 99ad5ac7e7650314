//! `tools`: every tool under its exposed name, by server.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    args::ToolsArgs,
    names::fits,
    print::Format,
    servers::{self, Away},
    session::{Session, Stop, raw},
};
use crate::domain::{catalog::Tool, id::ToolId, world::ServerView};

/// Lists the tools.
pub async fn run(session: &mut Session<'_>, args: &ToolsArgs) -> Result<u8, Stop> {
    servers::settle_all(session).await?;
    let world = session.world.clone();
    let mut groups: Vec<(&ServerView, Vec<Row<'_>>)> = Vec::new();
    for server in world.servers.iter().filter(|s| s.phase.usable()) {
        let rows = server.catalog.tools.iter().filter_map(|tool| {
            let id = ToolId::new(server.id().clone(), tool.name.clone());
            let exposed = world.names.exposed(&id)?;
            let wanted = args.pattern.as_deref().is_none_or(|pattern| {
                fits(pattern, exposed) || fits(pattern, &tool.name) || fits(pattern, &format!("{}/{}", server.id(), tool.name))
            });
            wanted.then(|| Row { kind: "tool", name: exposed, server: server.id().as_str(), tool })
        });
        groups.push((server, rows.collect()));
    }
    let found = groups.iter().map(|(_, rows)| rows.len()).sum::<usize>();
    let away = servers::away(&world.servers);
    match session.printer.format() {
        Format::Human => {
            let mut first = true;
            for (server, rows) in groups.iter().filter(|(_, rows)| !rows.is_empty()) {
                if !std::mem::take(&mut first) {
                    session.printer.line("")?;
                }
                print_group(session, server, rows, args.schema)?;
            }
        }
        Format::Json => {
            let tools: Vec<ToolJson<'_>> = groups.iter().flat_map(|(_, rows)| rows).map(|row| row.json(args.schema)).collect();
            session.printer.document(&ToolsJson { tools, failed: away.iter().map(Away::json).collect() })?;
        }
        Format::Jsonl => {
            for row in groups.iter().flat_map(|(_, rows)| rows) {
                session.printer.document(&row.json(args.schema))?;
            }
            for away in &away {
                session.printer.document(&away.json())?;
            }
        }
    }
    if found == 0 && session.printer.format() == Format::Human {
        let what = args.pattern.as_ref().map(|pattern| format!(" fits {pattern:?}")).unwrap_or_else(|| " is offered".into());
        session.printer.note(&format!("no tool{what}"));
    }
    servers::print_away(session, &away);
    Ok(servers::code(&world.servers))
}

struct Row<'a> {
    kind: &'static str,
    name: &'a str,
    server: &'a str,
    tool: &'a Tool,
}

#[derive(Serialize)]
struct ToolsJson<'a> {
    tools: Vec<ToolJson<'a>>,
    failed: Vec<servers::AwayJson<'a>>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    input_schema: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<Box<RawValue>>,
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
            input_schema: schema.then(|| raw(&tool.input_schema)).flatten(),
            output_schema: tool.output_schema.as_ref().filter(|_| schema).and_then(raw),
        }
    }
}

fn print_group(session: &mut Session<'_>, server: &ServerView, rows: &[Row<'_>], schema: bool) -> Result<(), Stop> {
    let more = server.spec.description.as_ref().map(|d| format!("  {d}")).unwrap_or_default();
    session.printer.line(&format!("{}{more}", server.id()))?;
    let cells = |row: &Row<'_>| vec![row.name.to_owned(), row.tool.hints.words(), first_line(row.tool)];
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

/// The first line of what a tool says of itself.
fn first_line(tool: &Tool) -> String {
    let text = tool.description.as_deref().or(tool.title.as_deref()).unwrap_or_default();
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}
