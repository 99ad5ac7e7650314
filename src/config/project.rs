//! The files of a project that an approval covers in addition to its servers: workflows, test files, and the scripts
//! that its servers start. Only `load` reads them.
//!
//! Each file is read once. What is hashed, shown and used is that one copy, so that a file which changes afterwards is
//! not used. Limits: 256 workflow and test files of 1 MiB each, 8 MiB together, in folders of at most 10,000 entries;
//! 64 scripts of 1 MiB each. Links are followed within the project only.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{
    error::ConfigError,
    source::{Source, unreadable},
    workflows::{Role, WorkflowFile, name_in, role_of},
};
use crate::{
    domain::{
        document::Node,
        server::{ServerSpec, Transport, quote},
        text::{is_hidden, visible},
        time::size,
        workflow::plan::Phase,
    },
    files::{self, Allowed, Unreadable},
};

/// Most workflow and test files of one project.
const MOST_FILES: usize = 256;
/// Most bytes of one workflow or test file, and of one script.
const LARGEST: u64 = 1 << 20;
/// Most bytes of all workflow and test files together.
const LARGEST_ALL: u64 = 8 << 20;
/// Most entries of a folder that is searched for workflow files.
const MOST_ENTRIES: usize = 10_000;
/// Most scripts of one project.
const MOST_SCRIPTS: usize = 64;
/// Longest text of a command line that may name a script.
const LONGEST_NAME: usize = 4096;

/// Kind of a part of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PartKind {
    /// A workflow or test file: its content.
    Workflow,
    /// A file that a server's command line names: its content.
    Script,
    /// A path of a server's command line that leaves the project through a link: its target.
    Link,
}

impl PartKind {
    /// Returns the name used in the hash.
    pub fn key(self) -> &'static str {
        match self {
            PartKind::Workflow => "workflow",
            PartKind::Script => "script",
            PartKind::Link => "link",
        }
    }
}

/// The files that an approval covers, by kind and path, each with a digest.
pub(super) type Parts = BTreeMap<(PartKind, String), [u8; 32]>;

/// The workflows of a project, as read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProjectWorkflows {
    /// The project's folder, canonical.
    pub root: PathBuf,
    /// The folder for new workflows.
    pub folder: PathBuf,
    /// The workflows.
    pub files: Vec<WorkflowFile>,
    /// Their test files.
    pub tests: Vec<WorkflowFile>,
}

/// A project's files while they are read.
pub(super) struct Reader<'r> {
    root: &'r Path,
    pub workflows: ProjectWorkflows,
    pub parts: Parts,
    /// Further lines of the approval about each server.
    pub notes: BTreeMap<String, Vec<String>>,
    pub problems: Vec<ConfigError>,
    /// Files and folders to watch.
    pub watch: Vec<PathBuf>,
    bytes: u64,
}

impl<'r> Reader<'r> {
    /// Reads the workflows of the project in `root` (canonical) whose configuration is `file`; `named` are the paths
    /// that the configuration names.
    pub fn read(root: &'r Path, file: &Path, named: &[PathBuf]) -> Reader<'r> {
        let folder = file.parent().unwrap_or(root).join("workflows");
        let workflows = ProjectWorkflows { root: root.to_owned(), folder: folder.clone(), ..ProjectWorkflows::default() };
        let mut reader = Reader { root, workflows, parts: Parts::new(), notes: BTreeMap::new(), problems: vec![], watch: vec![], bytes: 0 };
        let mut seen = HashSet::new();
        for path in named.iter().chain([&folder]).filter(|path| seen.insert(files::lexical(path))) {
            reader.watch.push(path.clone());
            if path.is_dir() {
                reader.folder(path);
            } else if fs::symlink_metadata(path).is_ok() {
                reader.file(path, Role::Workflow);
            } else if *path != folder {
                reader.problem(path, "does not exist", "check the path");
            }
        }
        if reader.workflows.files.len() + reader.workflows.tests.len() > MOST_FILES {
            let message = format!("the project has more than {MOST_FILES} workflow and test files, so none of them is used");
            reader.none(&folder, &message);
        } else if reader.bytes > LARGEST_ALL {
            let message = format!("the project's workflow files are larger than {} together, so none is used", size(LARGEST_ALL));
            reader.none(&folder, &message);
        }
        reader
    }

    fn problem(&mut self, path: &Path, message: &str, hint: &str) {
        self.problems.push(ConfigError::new(message).in_file(path).hint(hint));
    }

    fn none(&mut self, folder: &Path, message: &str) {
        self.problem(folder, message, "reduce the number or size of the files there");
        self.workflows.files.clear();
        self.workflows.tests.clear();
        self.parts.clear();
    }

    fn folder(&mut self, folder: &Path) {
        if !folder.canonicalize().is_ok_and(|real| real.starts_with(self.root)) {
            return self.problems.push(unreadable(folder, &Unreadable::Outside));
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.problems.push(unreadable(folder, &error.into())),
        };
        let mut paths = vec![];
        for (count, entry) in entries.enumerate() {
            if count >= MOST_ENTRIES {
                let message = format!("the folder has more than {MOST_ENTRIES} entries, so no workflow in it is used");
                return self.problem(folder, &message, "move the workflows to a separate folder");
            }
            match entry {
                Ok(entry) => paths.extend(role_of(&entry.path()).map(|role| (entry.path(), role))),
                Err(error) => return self.problems.push(unreadable(folder, &error.into())),
            }
        }
        paths.sort();
        for (path, role) in paths {
            // Stop reading once both limits are exceeded.
            if self.bytes > LARGEST_ALL || self.workflows.files.len() + self.workflows.tests.len() > MOST_FILES {
                return;
            }
            self.file(&path, role);
        }
    }

    fn file(&mut self, path: &Path, role: Role) {
        let Some(name) = path.to_str().filter(|name| !name.chars().any(is_hidden)) else {
            return self.problem(path, "has a name that is not UTF-8, so it is not used", "rename it");
        };
        let Ok(relative) = Path::new(name).strip_prefix(self.root) else {
            return self.problem(path, "is outside of the project, so it is not used", "name it in your own configuration file");
        };
        let relative = relative.to_string_lossy().into_owned();
        self.watch.push(path.to_owned());
        let text = match files::read_text(path, Allowed { bytes: LARGEST, within: Some(self.root) }) {
            Ok(text) => text,
            Err(why) => return self.problems.push(unreadable(path, &why)),
        };
        self.bytes += text.len() as u64;
        self.parts.insert((PartKind::Workflow, relative), Sha256::digest(&text).into());
        let file = WorkflowFile { name: name_in(path, &text), path: path.to_owned(), text };
        match role {
            Role::Test => self.workflows.tests.push(file),
            Role::Workflow => match self.workflows.files.iter().find(|other| other.name == file.name) {
                Some(other) => {
                    let message = format!("{} has a workflow named {:?} already, so this one is ignored", other.path.display(), file.name);
                    self.problem(path, &message, "give it another name");
                }
                None => self.workflows.files.push(file),
            },
        }
    }

    /// Records the files of the project that the command lines of `servers` name.
    ///
    /// A path is an argument or the part of one after `=`: `--config=./x.py`. Paths that a shell expands or that a program
    /// reads later are not covered.
    pub fn scripts(&mut self, servers: &[ServerSpec]) {
        for spec in servers {
            let Transport::Stdio { command, args, cwd, .. } = &spec.launch else { continue };
            let base = cwd.clone().unwrap_or_else(|| self.root.to_owned());
            self.link(spec, &base, "its folder");
            // A command without a slash is looked up in PATH.
            let command = Some(command.as_str()).filter(|command| command.contains('/'));
            let args = args.iter().map(|arg| arg.expose());
            let parts = args.flat_map(|arg| [Some(arg), arg.split_once('=').map(|(_, value)| value)]).flatten();
            for text in command.into_iter().chain(parts) {
                if !text.is_empty() && text.len() <= LONGEST_NAME && !text.contains('\0') {
                    self.script(spec, &base.join(text));
                }
            }
        }
    }

    fn note(&mut self, spec: &ServerSpec, line: String) {
        let notes = self.notes.entry(spec.id.to_string()).or_default();
        if !notes.contains(&line) {
            notes.push(line);
        }
    }

    /// Returns a path relative to the project; `None` if it is outside of the project as written.
    fn relative(&self, path: &Path) -> Option<String> {
        let path = files::lexical(path);
        let relative = path.strip_prefix(self.root).ok()?;
        Some(relative.to_string_lossy().into_owned())
    }

    /// Records the target of a path that is a link out of the project; returns whether it is one.
    fn link(&mut self, spec: &ServerSpec, path: &Path, what: &str) -> bool {
        let Some(relative) = self.relative(path) else { return false };
        let Ok(real) = path.canonicalize() else { return false };
        if real.starts_with(self.root) {
            return false;
        }
        self.note(spec, format!("    {what} {} is a link out of the project, to {}", quote(&relative), quote(&real.to_string_lossy())));
        let digest = Sha256::digest(real.as_os_str().as_encoded_bytes()).into();
        self.parts.insert((PartKind::Link, relative), digest);
        true
    }

    fn script(&mut self, spec: &ServerSpec, path: &Path) {
        let Some(relative) = self.relative(path).filter(|relative| !relative.is_empty()) else { return };
        if !path.is_file() || self.link(spec, path, "its file") {
            return;
        }
        let key = (PartKind::Script, relative);
        if !self.parts.contains_key(&key) && self.parts.keys().filter(|(kind, _)| *kind == PartKind::Script).count() >= MOST_SCRIPTS {
            return self.note(
                spec,
                format!("    the content of {} is not covered by the approval: there are more than {MOST_SCRIPTS} files", quote(&key.1)),
            );
        }
        match files::read(path, Allowed { bytes: LARGEST, within: Some(self.root) }) {
            Ok(bytes) => {
                let digest: [u8; 32] = Sha256::digest(&bytes).into();
                let short: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
                self.note(spec, format!("    with the content of {} (sha-256 {short}…)", quote(&key.1)));
                self.watch.push(path.to_owned());
                self.parts.insert(key, digest);
            }
            Err(why) => {
                let line =
                    format!("    the content of {} is not covered by the approval: it {why}; changes to it go unnoticed", quote(&key.1));
                self.note(spec, line);
            }
        }
    }
}

/// Describes what the workflows of a project do: one or more lines for each file, without control characters.
pub(super) fn workflow_lines(workflows: &ProjectWorkflows) -> Vec<String> {
    let mut lines: Vec<String> = workflows.files.iter().flat_map(|file| lines_of(file, &workflows.root)).collect();
    for test in &workflows.tests {
        lines.push(format!("test file {}", shown_path(test, &workflows.root)));
    }
    lines.iter().map(|line| visible(line).into_owned()).collect()
}

fn shown_path(file: &WorkflowFile, root: &Path) -> String {
    file.path.strip_prefix(root).unwrap_or(&file.path).display().to_string()
}

/// Describes what one workflow file uses. Only its TOML is read: expressions are not compiled before an approval.
fn lines_of(file: &WorkflowFile, root: &Path) -> Vec<String> {
    let mut lines = vec![format!("workflow project/{} ({})", file.name, shown_path(file, root))];
    let Ok(tree) = Source::new(&file.path, file.text.as_str()).parse() else {
        lines.push("    is not valid TOML, so it cannot run".into());
        return lines;
    };
    let mut uses = Uses::default();
    for phase in Phase::ALL {
        let steps = tree.get(phase.key()).map(items).unwrap_or_default();
        steps.iter().for_each(|step| uses.step(step));
    }
    let env = tree.get("env").map(items).unwrap_or_default();
    uses.env.extend(env.iter().filter_map(|name| name.text()).map(str::to_owned));
    let all = [
        ("calls", uses.tools),
        ("reads prompts and resources of the servers", uses.servers),
        ("runs the workflows", uses.workflows),
        ("reads the environment variables", uses.env),
    ];
    for (what, mut names) in all {
        let mut seen = HashSet::new();
        names.retain(|name| seen.insert(name.clone()));
        if !names.is_empty() {
            lines.push(format!("    {what} {}", names.join(", ")));
        }
    }
    lines
}

/// Returns the items of an array; any other value is one item.
fn items(node: &Node) -> &[Node] {
    node.items().unwrap_or(std::slice::from_ref(node))
}

/// Tools, prompts, resources and variables that the steps of a workflow use.
#[derive(Default)]
struct Uses {
    tools: Vec<String>,
    servers: Vec<String>,
    workflows: Vec<String>,
    env: Vec<String>,
}

impl Uses {
    fn step(&mut self, step: &Node) {
        let fallbacks = step.get("fallback").map(items).unwrap_or_default();
        let undone = fallbacks.iter().filter_map(|fallback| fallback.get("compensate"));
        for call in std::iter::once(step).chain(step.get("compensate")).chain(fallbacks).chain(undone) {
            self.tools.extend(call.get("tool").and_then(Node::text).map(str::to_owned));
        }
        self.servers.extend(step.get("server").and_then(Node::text).map(str::to_owned));
        self.workflows.extend(step.get("workflow").and_then(Node::text).map(str::to_owned));
    }
}
