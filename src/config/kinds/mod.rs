//! Kinds of configuration files: what other MCP clients write, and how Switchboard reads it.
//!
//! Everything that is particular to one client is an entry of [`table::KINDS`]: where its files are, where the servers are
//! in a file, the meaning of its keys, its placeholders, its units and the environment of its servers. `recognise` finds the
//! kinds in a file by place and content, `entry` reads one server, `lists` reads lists that switch servers and tools off,
//! `described` reads formats that describe a server instead of starting one, `reference` writes the reference page.

mod described;
mod entry;
mod keys;
mod lists;
mod recognise;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod spelling_tests;
mod table;

use std::path::{Path, PathBuf};

use super::{
    dialect::{Dialect, Input, Syntax},
    fields::Report,
    server::Draft,
    source::{Language, Source},
    text::Env,
};
use crate::domain::{
    config_input::InputOption,
    document::{Kind, Node},
};

#[cfg(test)]
pub(crate) use self::reference::page;
pub(super) use self::{
    entry::{PROJECT_DIR, unix_url},
    keys::{Means, effect},
    recognise::{Section, Sections, recognise},
};

/// The error for a file without servers: message and hint.
pub(super) const NO_SERVERS: (&str, &str) = ("has no MCP servers", "expected mcpServers, servers, context_servers, mcp or extensions");

/// A kind of configuration file.
#[derive(Debug)]
pub(super) struct ClientKind {
    pub id: KindId,
    /// The client's name.
    pub client: &'static str,
    /// Where the client keeps its files.
    pub places: &'static [Place],
    /// Ends of paths that identify the client's files anywhere.
    pub names: &'static [&'static str],
    /// Where the servers are in a file.
    pub roots: &'static [Root],
    /// Returns whether the content of a file is the client's, for files at other places.
    pub content: fn(&Node) -> bool,
    pub syntax: Syntax,
    pub environment: Environment,
    /// The unit of `timeout`, if the client has that key.
    pub timeout: Option<Means>,
    /// Keys whose meaning differs from [`keys::COMMON`].
    pub keys: &'static [(&'static str, Means)],
    /// Keys outside of the servers that concern them and are not honoured: path and effect.
    pub file_keys: &'static [(&'static [&'static str], &'static str)],
}

/// Identity of a kind, for the few rules that are code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum KindId {
    Generic,
    Flat,
    ClaudeDesktop,
    ClaudeCode,
    ClaudeProjects,
    ClaudeProject,
    Cursor,
    VsCode,
    Windsurf,
    Antigravity,
    Zed,
    Codex,
    Gemini,
    GeminiExtension,
    Qwen,
    OpenCode,
    Crush,
    Goose,
    Continue,
    LibreChat,
    Hermes,
    Cline,
    Roo,
    Kilo,
    Kiro,
    AmazonQ,
    LmStudio,
    Augment,
    Trae,
    Factory,
    Junie,
    Warp,
    CopilotCli,
    Amp,
    McPorter,
    McpHubNvim,
    McpHub,
    CherryStudio,
    McpAgent,
    ServerList,
    Registry,
    Bundle,
}

/// A location where a client keeps servers.
#[derive(Debug)]
pub(super) struct Place {
    pub base: Base,
    pub path: &'static str,
    /// The client's name for this place; [`ClientKind::client`] if absent.
    pub label: Option<&'static str>,
}

/// The folder that a place is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// The user's home.
    Home,
    /// The user's home, or the folder that the variable names.
    HomeOr(&'static str),
    /// `XDG_CONFIG_HOME` (`~/.config`), and `~/Library/Application Support`.
    Config,
    /// A project.
    Project,
}

/// Where servers are in a file.
#[derive(Debug)]
pub(super) struct Root {
    /// The keys that lead there.
    pub path: &'static [&'static str],
    pub form: Form,
    pub language: Option<Language>,
}

/// How servers are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A table of servers by name.
    Table,
    /// An array of servers with a name in them.
    List,
    /// The tables of `projects` that contain the current directory.
    Projects,
    /// The file is the table of servers.
    File,
    /// The file describes one server.
    Described,
}

/// The environment that a client gives to its servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Environment {
    /// All of its own variables.
    All,
    /// The variables of [`ServerSpec`](crate::domain::server::ServerSpec) without `inherit_env`.
    Short,
}

/// Circumstances of reading a client's file.
#[derive(Clone, Debug, Default)]
pub(super) struct Around {
    /// The current directory, which decides about the projects in `~/.claude.json`.
    pub cwd: PathBuf,
    /// The project that the file belongs to: the default working directory of its programs.
    pub root: Option<PathBuf>,
    /// Whether servers run without the sandbox that their client would put them into.
    pub unsandboxed: bool,
}

/// Where a file is, as far as that identifies its client.
#[derive(Clone, Debug, Default)]
pub(super) struct Placed {
    /// The kind, if the place is one of a client.
    pub kind: Option<&'static ClientKind>,
    /// The project's folder, if the place is inside of a project.
    pub project: Option<PathBuf>,
    /// Whether the place is the user's.
    pub user: bool,
}

/// Returns what the path of a file says about it.
pub(super) fn placed(file: &Path, home: Option<&Path>) -> Placed {
    let ends = |end: &str| file.ends_with(end).then(|| Path::new(end).components().count());
    let mut best: Option<(usize, Placed)> = None;
    for kind in table::KINDS {
        let places = kind.places.iter().map(|place| (place.path, Some(place.base)));
        for (path, base) in places.chain(kind.names.iter().map(|name| (*name, None))) {
            let Some(length) = ends(path) else { continue };
            let folder = file.ancestors().nth(length).map(Path::to_owned);
            let at_home = folder.is_some() && folder.as_deref() == home;
            let is_project = base == Some(Base::Project) && !at_home;
            // `.cursor/mcp.json` is the user's in the home folder, and a project's elsewhere.
            let user = base.is_some_and(|base| base != Base::Project) && (at_home || base == Some(Base::Config));
            if best.as_ref().is_none_or(|(longest, known)| {
                length > *longest
                    || length == *longest && known.kind.is_some_and(|other| other.id == kind.id) && known.project.is_none() && !known.user
            }) {
                let project = if is_project { folder } else { None };
                best = Some((length, Placed { kind: Some(kind), project, user }));
            }
        }
    }
    best.map(|(_, placed)| placed).unwrap_or_default()
}

/// Returns the folder that a client's project file applies to: the parent of `.vscode`, `.cursor` and the like.
pub(super) fn workspace(file: &Path) -> &Path {
    let folder = file.parent().unwrap_or(file);
    match (folder.file_name(), folder.parent()) {
        (Some(name), Some(parent)) if name.as_encoded_bytes().starts_with(b".") => parent,
        _ => folder,
    }
}

/// Returns the placeholders of a kind in a file.
pub(super) fn dialect(section: &Section<'_>, source: &Source, placed: &Placed, home: Option<&Path>, around: &Around) -> Dialect {
    let kind = section.kind;
    let folder = source.path.parent().unwrap_or(Path::new("/"));
    let root = around.root.as_deref().or(placed.project.as_deref());
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (mut known, mut absent) = (vec![], vec![]);
    if kind.syntax != Syntax::NONE {
        known.extend([("pathSeparator", "/".to_owned()), ("/", "/".to_owned())]);
        known.extend(home.map(|home| ("userHome", text(home))));
        match root.or((!placed.user).then(|| workspace(&source.path))) {
            Some(root) => {
                known.push(("workspaceFolder", text(root)));
                known.push(("workspacePath", text(root)));
                known.extend(root.file_name().map(|name| ("workspaceFolderBasename", name.to_string_lossy().into_owned())));
                if matches!(kind.id, KindId::ClaudeProject | KindId::Generic) {
                    known.push(("CLAUDE_PROJECT_DIR", text(root)));
                }
            }
            None => {
                let why = "is the folder that the editor has open; this file belongs to no folder";
                absent.extend([("workspaceFolder", why), ("workspaceFolderBasename", why)]);
            }
        }
    }
    match kind.id {
        KindId::Flat => known.push(("CLAUDE_PLUGIN_ROOT", text(workspace(&source.path)))),
        KindId::GeminiExtension => known.push(("extensionPath", text(folder))),
        KindId::Bundle => {
            known.push(("__dirname", text(folder)));
            for (name, path) in [("HOME", ""), ("DESKTOP", "Desktop"), ("DOCUMENTS", "Documents"), ("DOWNLOADS", "Downloads")] {
                known.extend(home.map(|home| (name, text(&home.join(path)))));
            }
        }
        KindId::VsCode => {
            known.extend(root.map(|root| ("localWorkspaceFolder", text(root))));
        }
        _ => {}
    }
    Dialect {
        client: kind.client,
        syntax: kind.syntax,
        known,
        absent,
        inputs: section.inputs.clone(),
        base: folder.to_owned(),
        home: home.map(Path::to_owned),
    }
}

/// Reads the servers of a file. `home` is the user's home.
pub(super) fn read(report: &mut Report<'_>, sections: &Sections<'_>, placed: &Placed, around: &Around) -> Vec<Draft> {
    let mut drafts = vec![];
    for section in &sections.sections {
        report.dialect = Some(dialect(section, report.source, placed, report.home, around));
        let root = around.root.as_deref().or(placed.project.as_deref());
        let switches = lists::Switches::of(report, section, placed, around);
        for entry in &section.entries {
            drafts.extend(entry::read(report, section, entry, root, &switches, around));
        }
        report.report_unused_keys();
        report.declare_inputs(&section.inputs);
        lists::note_file_keys(report, section);
    }
    report.dialect = None;
    drafts
}

/// A place of a client on this machine.
pub(super) struct Located {
    pub kind: &'static ClientKind,
    pub client: &'static str,
    pub path: PathBuf,
}

/// Returns the places of the user's files.
pub(super) fn user_places(home: &Path, env: &Env) -> Vec<Located> {
    let config = env.non_empty("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    let support = home.join("Library/Application Support");
    let mut found: Vec<Located> = vec![];
    for kind in table::KINDS {
        for place in kind.places {
            let folders = match place.base {
                Base::Project => continue,
                Base::Home => vec![home.to_owned()],
                Base::HomeOr(name) => vec![env.non_empty(name).map_or_else(|| home.to_owned(), PathBuf::from)],
                Base::Config => vec![support.clone(), home.join(".config"), config.clone()],
            };
            for folder in folders {
                let path = match place.base {
                    // The variable names the folder of the file itself.
                    Base::HomeOr(name) if env.non_empty(name).is_some() => {
                        folder.join(Path::new(place.path).file_name().unwrap_or_default())
                    }
                    _ => folder.join(place.path),
                };
                if !found.iter().any(|other| other.path == path && other.kind.id == kind.id) {
                    found.push(Located { kind, client: place.label.unwrap_or(kind.client), path });
                }
            }
        }
    }
    found
}

/// Returns the places in a project: kind, name of the client and path in the project.
pub(super) fn project_places() -> impl Iterator<Item = (&'static ClientKind, &'static str, &'static str)> {
    let of = |kind: &'static ClientKind| {
        let places = kind.places.iter().filter(|place| place.base == Base::Project);
        places.map(move |place| (kind, place.label.unwrap_or(kind.client), place.path))
    };
    table::KINDS.iter().flat_map(of)
}

/// Reads VS Code's `inputs`, or the `user_config` of a bundle.
fn inputs(node: Option<&Node>) -> Vec<Input> {
    let Some(node) = node else { return vec![] };
    let (of_list, of_table) = (node.items().unwrap_or_default(), node.fields().unwrap_or_default());
    let listed = of_list.iter().filter_map(|item| Some(input(scalar_of(item, "id")?, item)));
    listed.chain(of_table.iter().map(|field| input(field.key.clone(), &field.value))).collect()
}

/// Reads a string, number or boolean as text.
fn scalar_text(node: &Node) -> Option<String> {
    match node.json() {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_) => None,
        other => Some(other.to_string()),
    }
}

fn scalar_of(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(scalar_text)
}

fn input(id: String, node: &Node) -> Input {
    // The value of such an input is the result of a command of the editor.
    let is_command = scalar_of(node, "type").as_deref() == Some("command");
    // Texts, or tables with a label: `{"label": "Production", "value": "prod"}`.
    let option = |item: &Node| {
        let value = scalar_of(item, "value").or_else(|| scalar_text(item))?;
        Some(InputOption { value, label: scalar_of(item, "label") })
    };
    let is_true = |key: &str| matches!(node.get(key).map(|node| &node.kind), Some(Kind::Bool(true)));
    Input {
        id,
        description: scalar_of(node, "description").or_else(|| scalar_of(node, "title")),
        default: scalar_of(node, "default").filter(|_| !is_command),
        options: node.get("options").and_then(Node::items).unwrap_or_default().iter().filter_map(option).collect(),
        // A bundle writes `sensitive`, a registry `is_secret`.
        password: ["password", "sensitive", "is_secret", "isSecret"].into_iter().any(is_true),
    }
}

#[cfg(test)]
mod tests;
