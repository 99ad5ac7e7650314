//! Import: finds the configuration files of other MCP clients on this machine.

use std::path::{Path, PathBuf};

use super::{
    clients::{self, Around, Format},
    env_file,
    error::ConfigError,
    fields::Report,
    load::{project_folders, replace_or_push},
    server::{self, Draft},
    settings::Rules,
    source::{Language, Source, Whose},
    text::Env,
};
use crate::domain::{
    document::Node,
    secret::{MASK, Redactor, Secret, rule},
    server::{ServerSpec, Transport},
};

/// Another client's file, with the servers in it.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundImport {
    /// The client's name.
    pub client: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Whether it belongs to a project. The project's authors chose its commands, so they must not be started before the
    /// user has reviewed them.
    pub project: bool,
    /// Its servers. Unset variables are empty in them (and reported in `problems`), but [`to_toml`](super::to_toml) writes
    /// them as variables.
    pub servers: Vec<ServerSpec>,
    /// Errors, including unset variables.
    pub problems: Vec<ConfigError>,
}

impl FoundImport {
    /// Returns whether the file could not be read, so that servers in it may be missing.
    pub fn unreadable(&self) -> bool {
        self.servers.is_empty() && self.problems.iter().any(|problem| problem.server.is_none())
    }

    /// Returns a copy for display, with every literal secret replaced by [`MASK`].
    pub fn masked(&self) -> FoundImport {
        FoundImport { servers: self.servers.iter().map(masked).collect(), ..self.clone() }
    }
}

/// Returns a copy for display: literal secrets are masked, variables are not.
fn masked(spec: &ServerSpec) -> ServerSpec {
    let mut spec = spec.clone();
    let redactor = Redactor::new(&spec.secrets());
    let pairs = |pairs: &mut Vec<(String, Secret)>| {
        for (name, value) in pairs {
            if !value.interpolated() && rule::masks(name, value.expose()) {
                *value = Secret::literal(MASK);
            } else {
                *value = Secret::new(value.expose(), redactor.redact(value.written()));
            }
        }
    };
    match &mut spec.launch {
        Transport::Stdio { args, env, .. } => {
            pairs(env);
            for arg in args {
                *arg = match arg.interpolated() {
                    true => Secret::new(arg.expose(), redactor.redact(arg.written())),
                    false => Secret::literal(redactor.redact(arg.expose())),
                };
            }
        }
        Transport::Http { url, headers, .. } => {
            pairs(headers);
            *url = redactor.redact(&rule::masked_url(url, MASK));
        }
    }
    for (_, text) in &mut spec.origin.written {
        *text = redactor.redact(text);
    }
    spec
}

/// A location where a client stores its servers.
struct Place {
    client: &'static str,
    path: PathBuf,
    /// The project's folder, for files of a project.
    root: Option<PathBuf>,
    formats: &'static [Format],
}

/// Returns the files of Claude Desktop, Claude Code, Cursor, Windsurf, VS Code (and its siblings), Zed,
/// Codex and Gemini CLI: the user's, and those of the project around `cwd`.
///
/// Files with neither servers nor problems are left out. Nothing is started.
pub fn find_imports(home: &Path, cwd: &Path, env: &Env) -> Vec<FoundImport> {
    let mut places = user_places(home, env);
    places.extend(project_places(home, cwd));
    places.into_iter().filter_map(|place| read(&place, home, cwd, env)).collect()
}

/// A place that was searched for servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchedPlace {
    /// The client's name.
    pub client: &'static str,
    /// The file, which need not exist.
    pub path: PathBuf,
}

/// Returns the places that [`find_imports`] searches. Of a project's files only those that exist are among them.
pub fn searched_places(home: &Path, cwd: &Path, env: &Env) -> Vec<SearchedPlace> {
    let mut places: Vec<SearchedPlace> = vec![];
    for Place { client, path, .. } in user_places(home, env).into_iter().chain(project_places(home, cwd)) {
        if places.iter().all(|known| known.path != path) {
            places.push(SearchedPlace { client, path });
        }
    }
    places
}

/// Reads the servers of files that the user named: of any client, recognised by their content, or of our own format. Fails with all
/// errors if a file cannot be read or has no servers.
pub fn read_imports(files: &[PathBuf], home: Option<&Path>, cwd: &Path, env: &Env) -> Result<Vec<FoundImport>, Vec<ConfigError>> {
    let (mut found, mut errors) = (vec![], vec![]);
    let known = home.map(|home| user_places(home, env)).unwrap_or_default();
    for file in files {
        let path = cwd.join(file);
        match read_named(&path, home, cwd, env) {
            Ok(import) => {
                let client = known.iter().find(|place| place.path == path).map_or(import.client, |place| place.client);
                found.push(FoundImport { client, ..import });
            }
            Err(mut wrong) => errors.append(&mut wrong),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

fn read_named(path: &Path, home: Option<&Path>, cwd: &Path, env: &Env) -> Result<FoundImport, Vec<ConfigError>> {
    let source = Source::read(path, Whose::Named).map_err(|(_, error)| vec![error])?;
    let tree = source.parse()?;
    let json = source.language() == Language::Json;
    let formats = clients::formats(&tree, json);
    let own = tree.get("servers").filter(|_| !json && formats.is_empty()).and_then(Node::fields);
    let base = if own.is_some() { path.parent().unwrap_or(path) } else { clients::workspace(path) };
    let around = Around { cwd: cwd.to_owned(), root: None, bare: false };
    let mut report = Report::new(&source, env, home, base);
    let mut drafts: Vec<Draft> = own.into_iter().flatten().filter_map(|field| server::native(&report, field, None)).collect();
    for format in &formats {
        report.dialect = Some(clients::dialect(*format, &tree, path, home, &around));
        for draft in clients::read(&report, &tree, *format, &around) {
            replace_or_push(&mut drafts, draft, |d| &d.spec.id);
        }
    }
    if formats.is_empty() && own.is_none() {
        let error = ConfigError::new("has no MCP servers").in_file(path);
        return Err(vec![error.hint("expected mcpServers, servers, context_servers or mcp.servers")]);
    }
    let client = match formats.first() {
        None => "Switchboard",
        Some(Format::McpServers) => "mcpServers",
        Some(Format::ClaudeProjects) => "Claude Code",
        Some(Format::VsCode) => "VS Code",
        Some(Format::Zed) => "Zed",
        Some(Format::Codex) => "Codex",
    };
    let servers = drafts.iter().filter(|draft| !draft.invalid).map(|draft| draft.finish(&Rules::default())).collect();
    let problems = report.errors.take().into_iter().chain(report.problems.take()).collect();
    Ok(FoundImport { client, path: path.to_owned(), project: false, servers, problems })
}

const MCP: &[Format] = &[Format::McpServers];

fn user_places(home: &Path, env: &Env) -> Vec<Place> {
    let config = env.non_empty("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    let support = home.join("Library/Application Support");
    let mut places = vec![];
    let mut user = |client, path: PathBuf, formats| places.push(Place { client, path, root: None, formats });
    for base in [&support, &config] {
        user("Claude Desktop", base.join("Claude/claude_desktop_config.json"), MCP);
    }
    let claude = env.non_empty("CLAUDE_CONFIG_DIR").map_or_else(|| home.to_owned(), PathBuf::from).join(".claude.json");
    user("Claude Code", claude.clone(), MCP);
    user("Claude Code (this project)", claude, &[Format::ClaudeProjects]);
    user("Cursor", home.join(".cursor/mcp.json"), MCP);
    user("Windsurf", home.join(".codeium/windsurf/mcp_config.json"), MCP);
    for base in [&support, &config] {
        for (client, folder) in [("VS Code", "Code"), ("VS Code Insiders", "Code - Insiders"), ("VSCodium", "VSCodium")] {
            user(client, base.join(folder).join("User/mcp.json"), &[Format::VsCode]);
            user(client, base.join(folder).join("User/settings.json"), &[Format::VsCode]);
        }
    }
    for base in [home.join(".config"), config] {
        user("Zed", base.join("zed/settings.json"), &[Format::Zed]);
    }
    let codex = env.non_empty("CODEX_HOME").map_or_else(|| home.join(".codex"), PathBuf::from);
    user("Codex", codex.join("config.toml"), &[Format::Codex]);
    user("Gemini CLI", home.join(".gemini/settings.json"), MCP);
    let mut seen = std::collections::HashSet::new();
    places.retain(|p: &Place| seen.insert((p.path.clone(), p.formats)));
    places
}

/// Returns the files in the project around `cwd`: for each client the nearest one.
fn project_places(home: &Path, cwd: &Path) -> Vec<Place> {
    let folders = project_folders(cwd, Some(home));
    let clients: [(&'static str, &str, &'static [Format]); 7] = [
        ("Claude Code (project)", ".mcp.json", MCP),
        ("Cursor (project)", ".cursor/mcp.json", MCP),
        ("VS Code (workspace)", ".vscode/mcp.json", &[Format::VsCode]),
        ("VS Code (workspace)", ".vscode/settings.json", &[Format::VsCode]),
        ("Zed (project)", ".zed/settings.json", &[Format::Zed]),
        ("Codex (project)", ".codex/config.toml", &[Format::Codex]),
        ("Gemini CLI (project)", ".gemini/settings.json", MCP),
    ];
    let nearest = |(client, name, formats): (&'static str, &str, &'static [Format])| {
        // In the home folder these are the user's own files.
        let root = folders.iter().filter(|f| *f != home).find(|folder| folder.join(name).is_file())?;
        let root = root.canonicalize().unwrap_or_else(|_| root.clone());
        Some(Place { client, path: root.join(name), root: Some(root), formats })
    };
    clients.into_iter().filter_map(nearest).collect()
}

fn read(place: &Place, home: &Path, cwd: &Path, env: &Env) -> Option<FoundImport> {
    if !place.path.is_file() {
        return None;
    }
    let project = place.root.is_some();
    let found = |servers, problems| FoundImport { client: place.client, path: place.path.clone(), project, servers, problems };
    // A project's file must be inside the project: a link out of it is not followed.
    let source = match Source::read(&place.path, place.root.as_deref().map_or(Whose::User, Whose::Project)) {
        Ok(source) => source,
        Err((_, error)) => return Some(found(vec![], vec![error])),
    };
    // Two locations can share one file; its errors are reported for the first only.
    let first = place.formats != [Format::ClaudeProjects];
    let tree = match source.parse() {
        Ok(tree) => tree,
        Err(errors) => return first.then(|| found(vec![], errors)),
    };
    let here = clients::formats(&tree, source.language() == Language::Json);
    let base = place.root.clone().unwrap_or_else(|| clients::workspace(&place.path).to_owned());
    let around = Around { cwd: cwd.to_owned(), root: place.root.clone(), bare: place.client.starts_with("Gemini") };
    let mut report = Report::new(&source, env, Some(home), &base);
    report.root = place.root.as_deref();
    let mut drafts = vec![];
    for format in place.formats.iter().filter(|f| here.contains(f)) {
        report.dialect = Some(clients::dialect(*format, &tree, &place.path, Some(home), &around));
        for draft in clients::read(&report, &tree, *format, &around) {
            replace_or_push(&mut drafts, draft, |d| &d.spec.id);
        }
    }
    for draft in drafts.iter().filter(|draft| env_file::of_server(&draft.spec).is_some()) {
        let error = ConfigError {
            line: draft.spec.origin.line,
            key: Some("envFile".into()),
            ..ConfigError::new("the import adds its variables by name, without their values")
        };
        let error = error.in_file(&place.path).of_server(draft.spec.id.as_str());
        report.problems.borrow_mut().push(error.hint("export them before starting"));
    }
    let servers: Vec<ServerSpec> = drafts.iter().filter(|d| !d.invalid).map(|d| d.finish(&Rules::default())).collect();
    let problems: Vec<ConfigError> = report.errors.take().into_iter().chain(report.problems.take()).collect();
    (!servers.is_empty() || !problems.is_empty()).then(|| found(servers, problems))
}
