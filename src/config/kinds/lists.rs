//! Lists outside of a server that concern it: allowed and excluded servers, servers that are switched off in a project, tools
//! of an agent; and the keys of a file that are reported.

use std::path::{Path, PathBuf};

use super::{Around, KindId, Placed, Section};
use crate::{
    config::{
        error::ConfigError,
        fields::Report,
        source::{Source, Whose},
    },
    domain::{document::Kind, document::Node, policy::pattern::Pattern},
};

/// What the lists of a file say about its servers.
#[derive(Default)]
pub(super) struct Switches {
    /// If set, the other servers are off.
    allowed: Option<Vec<String>>,
    /// These servers are off.
    off: Vec<String>,
    /// These too, in lower case.
    off_in_any_case: Vec<String>,
    /// Patterns over `SERVER_TOOL`, and whether the tools are on.
    tools: Vec<(String, bool)>,
    /// The tools of an agent: `@SERVER` or `@SERVER/TOOL`.
    agent: Option<Vec<String>>,
}

fn names(node: Option<&Node>) -> Option<Vec<String>> {
    Some(node?.items()?.iter().filter_map(|item| item.text().map(str::to_owned)).collect())
}

impl Switches {
    /// Reads the lists that apply to a section.
    pub fn of(report: &Report<'_>, section: &Section<'_>, placed: &Placed, around: &Around) -> Switches {
        let tree = section.tree;
        let mut switches = Switches::default();
        match section.kind.id {
            KindId::Gemini | KindId::Qwen => {
                let mcp = tree.get("mcp");
                switches.allowed = names(mcp.and_then(|mcp| mcp.get("allowed"))).or_else(|| names(tree.get("allowMCPServers")));
                switches.off =
                    names(mcp.and_then(|mcp| mcp.get("excluded"))).or_else(|| names(tree.get("excludeMCPServers"))).unwrap_or_default();
                if section.kind.id == KindId::Gemini {
                    switches.gemini_enablement(report);
                }
            }
            KindId::ClaudeCode | KindId::ClaudeProjects => {
                switches.off = of_project(tree, &around.cwd, "disabledMcpServers");
                each_tree(report, claude_settings(report, None), |path, tree| switches.off.extend(denied(report, path, tree)));
            }
            KindId::ClaudeProject => switches.off = claude_project(report, placed, around),
            KindId::OpenCode => {
                let tools = tree.get("tools").and_then(Node::fields).unwrap_or_default();
                switches.tools = tools.iter().filter_map(|tool| Some((tool.key.clone(), is_on(&tool.value)?))).collect();
            }
            KindId::AmazonQ => switches.agent = names(tree.get("tools")),
            _ => {
                // `disabled: ["name"]` next to the servers.
                switches.off = names(tree.get("disabledMcpServers")).or_else(|| names(tree.get("disabledServers"))).unwrap_or_default();
            }
        }
        switches
    }

    /// Reads the servers that `gemini mcp disable` switched off.
    fn gemini_enablement(&mut self, report: &Report<'_>) {
        let Some(home) = report.home else { return };
        let file = home.join(".gemini/mcp-server-enablement.json");
        each_tree(report, vec![file], |_, tree| {
            let off = tree.fields().unwrap_or_default().iter().filter(|server| server.value.get("enabled").and_then(is_on) == Some(false));
            self.off_in_any_case.extend(off.map(|server| server.key.trim().to_lowercase()));
        });
    }

    /// Returns whether a server is off.
    pub fn is_off(&self, server: &str) -> bool {
        self.off.iter().any(|name| name == server)
            || self.off_in_any_case.contains(&server.trim().to_lowercase())
            || self.allowed.as_ref().is_some_and(|allowed| !allowed.iter().any(|name| name == server))
    }

    /// Returns the tools that the lists allow and forbid on a server.
    pub fn tools(&self, server: &str) -> (Option<Vec<Pattern>>, Vec<Pattern>) {
        let pattern = |text: &str| Pattern::parse(text).ok();
        let disabled = self.tools.iter().filter(|(_, on)| !on).filter_map(|(glob, _)| {
            // The names in the list are those of the client: server, underscore, tool.
            let own = glob.strip_prefix(&format!("{server}_"));
            pattern(own.or_else(|| glob.starts_with('*').then_some(glob))?)
        });
        let disabled = disabled.collect();
        let enabled = self.agent.as_ref().filter(|agent| !agent.iter().any(|tool| tool == "*")).and_then(|agent| {
            let whole = format!("@{server}");
            let of_server = |tool: &String| pattern(tool.strip_prefix(&whole)?.strip_prefix('/')?);
            (!agent.contains(&whole)).then(|| agent.iter().filter_map(of_server).collect())
        });
        (enabled, disabled)
    }
}

fn is_on(node: &Node) -> Option<bool> {
    match node.kind {
        Kind::Bool(on) => Some(on),
        _ => None,
    }
}

/// Returns a list of the projects in `~/.claude.json` that contain a folder.
fn of_project(tree: &Node, folder: &Path, key: &str) -> Vec<String> {
    let projects = tree.get("projects").and_then(Node::fields).unwrap_or_default();
    let here = projects.iter().filter(|project| !project.key.is_empty() && folder.starts_with(&project.key));
    here.filter_map(|project| names(project.value.get(key))).flatten().collect()
}

/// Returns the servers of a project's `.mcp.json` that Claude Code has switched off: in `~/.claude.json`, and in the settings
/// of the project and of the user.
fn claude_project(report: &Report<'_>, placed: &Placed, around: &Around) -> Vec<String> {
    let root = around.root.as_deref().or(placed.project.as_deref());
    let Some(root) = root else { return vec![] };
    let mut off = vec![];
    each_tree(report, claude_folder(report).map(|(_, state)| state).into_iter().collect(), |_, tree| {
        off.extend(of_project(tree, root, "disabledMcpjsonServers"));
        off.extend(of_project(tree, root, "disabledMcpServers"));
    });
    each_tree(report, claude_settings(report, Some(root)), |path, tree| {
        off.extend(names(tree.get("disabledMcpjsonServers")).unwrap_or_default());
        off.extend(denied(report, path, tree));
    });
    off
}

/// Returns the user's settings file of Claude Code and the file with its state.
fn claude_folder(report: &Report<'_>) -> Option<(PathBuf, PathBuf)> {
    let folder = match report.env.non_empty("CLAUDE_CONFIG_DIR") {
        Some(folder) => return Some((Path::new(folder).join("settings.json"), Path::new(folder).join(".claude.json"))),
        None => report.home?,
    };
    Some((folder.join(".claude/settings.json"), folder.join(".claude.json")))
}

/// Returns the settings files of Claude Code: of the user, and of a project.
fn claude_settings(report: &Report<'_>, root: Option<&Path>) -> Vec<PathBuf> {
    let user = claude_folder(report).map(|(settings, _)| settings);
    let project = root.map(|root| [".claude/settings.json", ".claude/settings.local.json"].map(|name| root.join(name)));
    user.into_iter().chain(project.into_iter().flatten()).collect()
}

/// Returns the names in `deniedMcpServers`.
fn denied(report: &Report<'_>, path: &Path, tree: &Node) -> Vec<String> {
    let entries = tree.get("deniedMcpServers").and_then(Node::items).unwrap_or_default();
    let name = |entry: &Node| entry.get("serverName").and_then(Node::text).map(str::to_owned);
    let unused = |key: &str, message: &str| {
        let error = ConfigError { key: Some(key.into()), ..ConfigError::new(message) };
        report.problems.borrow_mut().push(error.in_file(path));
    };
    if entries.iter().any(|entry| name(entry).is_none()) {
        unused("deniedMcpServers", "entries with `serverCommand` or `serverUrl` are not used: they switch servers off");
    }
    if tree.get("allowedMcpServers").is_some() {
        unused("allowedMcpServers", "is not used: it restricts which servers the client runs");
    }
    entries.iter().filter_map(name).collect()
}

/// Reads those of the files that exist. One that cannot be read is reported: a server that it switches off would start.
fn each_tree(report: &Report<'_>, files: Vec<PathBuf>, mut read: impl FnMut(&Path, &Node)) {
    for path in files {
        if !path.is_file() {
            continue;
        }
        match Source::read(&path, Whose::User).map_err(|(_, error)| vec![error]).and_then(|source| source.parse()) {
            Ok(tree) => read(&path, &tree),
            Err(errors) => report.problems.borrow_mut().extend(errors.into_iter().take(1)),
        }
        report.files.borrow_mut().push(path);
    }
}

/// Reports the keys of a file that concern its servers and are not honoured.
pub(super) fn note_file_keys(report: &Report<'_>, section: &Section<'_>) {
    for (path, effect) in section.kind.file_keys {
        let found = path.iter().try_fold((section.tree, None), |(node, _), key| {
            let field = node.field(key)?;
            Some((&field.value, Some(field)))
        });
        if let Some((_, Some(field))) = found.filter(|(node, _)| !super::entry::is_neutral(node)) {
            report.note(field.at, &path.join("."), format!("is not used: it {effect}"), "");
        }
    }
}
