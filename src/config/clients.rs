//! The configuration files of other MCP clients, recognised by their content.
//!
//! Unknown keys are ignored, because other programs own these files. A setting that Switchboard does not support is
//! reported for its server only.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    env_file,
    fields::{Fields, Report},
    server::{self, Draft, Reached, Start},
    settings::{PartialTimeouts, Rules},
    text::Dialect,
};
use crate::domain::{
    document::{Field, Kind, Node},
    secret::Secret,
    server::{ServerSpec, SpecOrigin, Transport},
};

/// The format of a client's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Format {
    /// `mcpServers`: Claude Desktop, Claude Code, Cursor, Windsurf, Gemini CLI and many more.
    McpServers,
    /// `mcpServers` of the projects in `~/.claude.json`.
    ClaudeProjects,
    /// `servers` of `mcp.json`, or `mcp.servers` of `settings.json`.
    VsCode,
    /// `context_servers` of `settings.json`.
    Zed,
    /// `[mcp_servers.NAME]` of `config.toml`.
    Codex,
}

/// Folders that the content of a client's file refers to.
#[derive(Clone, Debug, Default)]
pub(super) struct Around {
    /// The current directory, which decides about the projects in `~/.claude.json`.
    pub cwd: PathBuf,
    /// Default working directory of programs; for files of a project.
    pub root: Option<PathBuf>,
    /// Whether `$VAR` is a variable in `mcpServers`, as in Gemini CLI.
    pub bare: bool,
}

/// Returns the formats that are present in a file's tree.
pub(super) fn formats(tree: &Node, json: bool) -> Vec<Format> {
    let has = |key: &str| tree.get(key).is_some_and(|n| n.fields().is_some());
    if !json {
        return if has("mcp_servers") && !has("servers") { vec![Format::Codex] } else { vec![] };
    }
    let vscode = has("servers") || tree.get("mcp").and_then(|m| m.get("servers")).is_some();
    [
        (has("mcpServers"), Format::McpServers),
        (has("projects"), Format::ClaudeProjects),
        (vscode, Format::VsCode),
        (has("context_servers"), Format::Zed),
    ]
    .into_iter()
    .filter_map(|(found, format)| found.then_some(format))
    .collect()
}

/// Returns the folder that a client's project file applies to: the parent of `.vscode`, `.cursor` and the like.
pub(super) fn workspace(file: &Path) -> &Path {
    let folder = file.parent().unwrap_or(file);
    match (folder.file_name(), folder.parent()) {
        (Some(name), Some(parent)) if name.as_encoded_bytes().starts_with(b".") => parent,
        _ => folder,
    }
}

/// Returns how variables are written in a file of this format.
pub(super) fn dialect(format: Format, tree: &Node, file: &Path, home: Option<&Path>, around: &Around) -> Dialect {
    let braces = !matches!(format, Format::Zed | Format::Codex);
    let gemini = format == Format::McpServers && entries(tree, format, around).any(|f| f.value.get("httpUrl").is_some());
    let folder = around.root.as_deref().unwrap_or_else(|| workspace(file));
    let mut known = vec![("pathSeparator", "/".to_owned()), ("/", "/".to_owned())];
    known.push(("workspaceFolder", folder.to_string_lossy().into_owned()));
    known.extend(folder.file_name().map(|name| ("workspaceFolderBasename", name.to_string_lossy().into_owned())));
    known.extend(home.map(|home| ("userHome", home.to_string_lossy().into_owned())));
    Dialect { braces, bare: braces && (around.bare || gemini), known }
}

/// Reads the servers of one format. `report.dialect` must be that of the format.
pub(super) fn read(report: &Report<'_>, tree: &Node, format: Format, around: &Around) -> Vec<Draft> {
    let root = around.root.as_deref();
    let read = |field: &Field| {
        server::draft(report, field, |table| {
            let fields = Fields::new(report, table, "");
            let (reached, rules, disabled) = match format {
                Format::Zed => zed(fields, field, root),
                Format::Codex => codex(fields, field, root),
                Format::McpServers | Format::ClaudeProjects | Format::VsCode => common(fields, field, root),
            }?;
            let origin = SpecOrigin { written: reached.written, ..SpecOrigin::default() };
            let spec = ServerSpec::new(field.key.as_str(), reached.launch);
            Some((ServerSpec { disabled, origin, ..spec }, rules))
        })
    };
    entries(tree, format, around).filter_map(read).collect()
}

/// Returns the server entries of a format.
fn entries<'t>(tree: &'t Node, format: Format, around: &Around) -> impl Iterator<Item = &'t Field> + use<'t> {
    let tables: Vec<&Node> = match format {
        Format::McpServers => tree.get("mcpServers").into_iter().collect(),
        Format::Zed => tree.get("context_servers").into_iter().collect(),
        Format::Codex => tree.get("mcp_servers").into_iter().collect(),
        Format::VsCode => [tree.get("mcp").and_then(|m| m.get("servers")), tree.get("servers")].into_iter().flatten().collect(),
        Format::ClaudeProjects => {
            let projects = tree.get("projects").and_then(Node::fields).unwrap_or_default();
            let mut here: Vec<&Field> = projects.iter().filter(|p| !p.key.is_empty() && around.cwd.starts_with(&p.key)).collect();
            here.sort_by_key(|p| Path::new(&p.key).components().count());
            here.into_iter().filter_map(|p| p.value.get("mcpServers")).collect()
        }
    };
    tables.into_iter().filter_map(Node::fields).flatten()
}

type Read = Option<(Reached, Rules, bool)>;

/// Reads an entry of `mcpServers` or of VS Code's `servers`.
fn common(mut fields: Fields<'_, '_>, field: &Field, root: Option<&Path>) -> Read {
    let report = fields.report;
    let disabled = fields.boolean("disabled").unwrap_or(false) || fields.boolean("enabled") == Some(false);
    let kind = fields.text("type").or_else(|| fields.text("transport")).unwrap_or_default().to_lowercase();
    // `sse` needs no reading of its own: which of the HTTP transports a server speaks is found out when it is connected to.
    if kind == "ws" || kind == "websocket" {
        let hint = "use stdio, Streamable HTTP or HTTP+SSE; many servers offer one of the latter under /mcp or /sse";
        report.error(
            fields.node("type").map_or(field.at, |n| n.at),
            "type",
            "uses the `websocket` transport, which is not supported".to_owned(),
            hint,
        );
        return None;
    }
    if let Some(helper) = fields.field("headersHelper") {
        report.note(helper.at, "headersHelper", "is not run", "put the headers into `headers`, with ${VAR} for secrets");
    }
    for key in ["url", "serverUrl", "httpUrl"] {
        let Some(url) = fields.node(key) else { continue };
        let text = fields.text(key)?;
        let (address, socket) = unix_url(text).unwrap_or_else(|| (text.to_owned(), None));
        let address = report.expand(url.at, key, &address);
        let socket = socket.map(|socket| report.expand(url.at, key, &socket));
        let headers = server::pairs(&mut fields, "headers");
        let reached = server::reached(report, url.at, address, headers, socket)?;
        return Some((reached, Rules::default(), disabled));
    }
    if fields.node("command").is_none() {
        report.error(
            field.at,
            "",
            "has neither `command` nor `url`",
            "set `command` to the program to start, or `url` to the address of the server",
        );
        return None;
    }
    let mut reached = server::stdio(&mut fields, root)?;
    env_file::add(&mut fields, &mut reached);
    Some((reached, Rules::default(), disabled))
}

/// Splits VS Code's `unix:///path/to.sock#/mcp` into address and socket.
pub(super) fn unix_url(url: &str) -> Option<(String, Option<String>)> {
    let rest = url.strip_prefix("unix://")?;
    let (socket, path) = rest.split_once('#').unwrap_or((rest, "/"));
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some((format!("http://localhost{slash}{path}"), Some(socket.to_owned())))
}

/// Reads an entry of Zed's `context_servers`.
fn zed(mut fields: Fields<'_, '_>, field: &Field, root: Option<&Path>) -> Read {
    let report = fields.report;
    let disabled = fields.boolean("enabled") == Some(false);
    if let Some(url) = fields.node("url") {
        let address = fields.expanded("url")?;
        let headers = server::pairs(&mut fields, "headers");
        return Some((server::reached(report, url.at, address, headers, None)?, Rules::default(), disabled));
    }
    let extension = fields.text("source") == Some("extension");
    let Some(command) = fields.node("command") else {
        let (message, hint) = if extension || fields.field("settings").is_some() {
            ("is started by an extension of Zed, which is not known here", "configure its command in [servers]")
        } else {
            ("has neither `command` nor `url`", "set `command` to the program to start, or `url` to the address of the server")
        };
        report.error(field.at, "", message, hint);
        return None;
    };
    let reached = match &command.kind {
        Kind::Table(table) => {
            let mut inner = Fields::new(report, table, "command");
            let Some(program) = inner.expanded("path") else {
                report.error(command.at, "command", "has no `path`", "name the program to start");
                return None;
            };
            let args = inner.array("args").unwrap_or_default();
            let args = args.iter().filter_map(|arg| server::scalar(&inner, arg, "args")).collect();
            let env = server::pairs(&mut inner, "env");
            server::started(report, command.at, Start { command: program, args, env, inherit_env: false, cwd: None }, root)?
        }
        _ => server::stdio(&mut fields, root)?,
    };
    Some((reached, Rules::default(), disabled))
}

/// Reads a `[mcp_servers.NAME]` table of Codex.
fn codex(mut fields: Fields<'_, '_>, field: &Field, root: Option<&Path>) -> Read {
    let report = fields.report;
    let disabled = fields.boolean("enabled") == Some(false);
    let start = seconds(&mut fields, "startup_timeout_sec")
        .or_else(|| fields.count("startup_timeout_ms").map(|ms| Duration::from_millis(ms as u64)));
    let call = seconds(&mut fields, "tool_timeout_sec");
    let rules = Rules { timeouts: PartialTimeouts::connect_and_call(start, call), ..Rules::default() };
    if let Some(url) = fields.node("url") {
        let address = fields.expanded("url")?;
        let mut headers = server::pairs(&mut fields, "http_headers");
        for header in fields.table("env_http_headers").unwrap_or_default() {
            if let Some(name) = header.value.text() {
                headers.push((header.key.clone(), report.variable(header.value.at, "env_http_headers", "", name)));
            }
        }
        if let (Some(node), Some(name)) = (fields.node("bearer_token_env_var"), fields.text("bearer_token_env_var")) {
            headers.push(("Authorization".into(), report.variable(node.at, "bearer_token_env_var", "Bearer ", name)));
        }
        return Some((server::reached(report, url.at, address, headers, None)?, rules, disabled));
    }
    if fields.node("command").is_none() {
        report.error(
            field.at,
            "",
            "has neither `command` nor `url`",
            "set `command` to the program to start, or `url` to the address of the server",
        );
        return None;
    }
    let passed = passed_variables(&mut fields);
    let mut reached = server::stdio(&mut fields, root)?;
    if let Transport::Stdio { env, .. } = &mut reached.launch {
        env.extend(passed);
    }
    Some((reached, rules, disabled))
}

/// Reads Codex's `env_vars`: names of variables that are passed on if they are set.
fn passed_variables(fields: &mut Fields<'_, '_>) -> Vec<(String, Secret)> {
    let report = fields.report;
    let names = fields.array("env_vars").unwrap_or_default();
    let names = names.iter().filter_map(|n| Some((n.at, n.text().or_else(|| n.get("name")?.text())?)));
    names
        .filter(|(_, name)| report.env.get(name).is_some())
        .map(|(at, name)| (name.to_owned(), report.variable(at, "env_vars", "", name)))
        .collect()
}

fn seconds(fields: &mut Fields<'_, '_>, key: &'static str) -> Option<Duration> {
    let node = fields.node(key)?;
    let seconds = node.number().unwrap_or(-1.0);
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() && seconds < 30.0 * 86_400.0 => Some(duration),
        _ => {
            fields.report.note(node.at, key, "is not a valid number of seconds", "the default is used");
            None
        }
    }
}
