//! Import: finds the configuration files of other MCP clients on this machine.

use std::path::{Path, PathBuf};

use super::{
    env_file,
    error::ConfigError,
    fields::Report,
    kinds::{self, Around, KindId, Placed, Section, Sections},
    load::{merge, project_folders},
    server,
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
        let secrets: Vec<Secret> = self.servers.iter().flat_map(ServerSpec::secrets).collect();
        // One for all: to make it takes longer than to search these short texts.
        let redactor = Redactor::brief(&secrets);
        let servers = self.servers.iter().map(|spec| masked(spec, &redactor)).collect();
        FoundImport { client: self.client, path: self.path.clone(), project: self.project, servers, problems: self.problems.clone() }
    }
}

/// Returns a copy for display: literal secrets are masked, variables are not.
fn masked(spec: &ServerSpec, redactor: &Redactor) -> ServerSpec {
    let mut spec = spec.clone();
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

/// A file that may exist.
struct Place {
    /// The client whose place it is.
    client: &'static str,
    kind: KindId,
    path: PathBuf,
    /// The project's folder, for files of a project.
    root: Option<PathBuf>,
}

/// Returns the files of other MCP clients: the user's, and those of the project around `cwd`.
///
/// Files with neither servers nor problems are left out. Nothing is started.
pub fn find_imports(home: &Path, cwd: &Path, env: &Env) -> Vec<FoundImport> {
    let mut places = user_places(home, env);
    places.extend(project_places(home, cwd));
    places.iter().enumerate().flat_map(|(index, place)| read(place, &places[..index], home, cwd, env)).collect()
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

fn user_places(home: &Path, env: &Env) -> Vec<Place> {
    let located = kinds::user_places(home, env).into_iter();
    located.map(|found| Place { client: found.client, kind: found.kind.id, path: found.path, root: None }).collect()
}

/// Returns the files in the project around `cwd`: for each place the nearest one.
fn project_places(home: &Path, cwd: &Path) -> Vec<Place> {
    let folders = project_folders(cwd, Some(home));
    let nearest = |(kind, client, path): (&'static kinds::ClientKind, &'static str, &str)| {
        // In the home folder these are the user's own files.
        let root = folders.iter().filter(|f| *f != home).find(|folder| folder.join(path).is_file())?;
        let root = root.canonicalize().unwrap_or_else(|_| root.clone());
        Some(Place { client, kind: kind.id, path: root.join(path), root: Some(root) })
    };
    kinds::project_places().filter_map(nearest).collect()
}

/// Reads a file: one import for each kind of servers in it. A kind that is a place of its own is read there.
fn read(place: &Place, before: &[Place], home: &Path, cwd: &Path, env: &Env) -> Vec<FoundImport> {
    let twin = before.iter().any(|other| other.path == place.path);
    if !place.path.is_file() {
        return vec![];
    }
    let broken = |problems| match twin {
        true => vec![],
        false => {
            let (path, project) = (place.path.clone(), place.root.is_some());
            vec![FoundImport { client: place.client, path, project, servers: vec![], problems }]
        }
    };
    // A project's file must be inside the project: a link out of it is not followed.
    let source = match Source::read(&place.path, place.root.as_deref().map_or(Whose::User, Whose::Project)) {
        Ok(source) => source,
        Err((_, error)) => return broken(vec![error]),
    };
    let tree = match source.parse() {
        Ok(tree) => tree,
        Err(errors) => return broken(errors),
    };
    let placed = Placed { project: place.root.clone(), ..kinds::placed(&place.path, Some(home)) };
    let around = Around { cwd: cwd.to_owned(), root: place.root.clone(), unsandboxed: false };
    let all = kinds::recognise(&tree, source.language(), &placed, &around);
    // Two places share `~/.claude.json`: the user's servers are of the first, the projects' of the second.
    let is_mine =
        |kind: KindId| if kind == KindId::ClaudeProjects || place.kind == KindId::ClaudeProjects { kind == place.kind } else { !twin };
    let sections = all.sections.into_iter().filter(|section| is_mine(section.kind.id));
    let client = |kind: &kinds::ClientKind| {
        let own = kind.id == place.kind || matches!(kind.id, KindId::Generic | KindId::Flat);
        if own { place.client } else { kind.client }
    };
    let base = place.root.clone().unwrap_or_else(|| kinds::workspace(&place.path).to_owned());
    let mut report = Report::new(&source, env, Some(home), &base);
    report.root = place.root.as_deref();
    imports_of(report, sections, &placed, &around, client)
}

/// Reads sections of a file into one import for each client.
fn imports_of<'t>(
    mut report: Report<'_>,
    sections: impl Iterator<Item = Section<'t>>,
    placed: &Placed,
    around: &Around,
    client: impl Fn(&'static kinds::ClientKind) -> &'static str,
) -> Vec<FoundImport> {
    let mut imports: Vec<FoundImport> = vec![];
    for section in sections {
        let client = client(section.kind);
        let mut drafts = vec![];
        merge(&mut drafts, kinds::read(&mut report, &Sections { sections: vec![section], refused: None }, placed, around));
        for draft in &mut drafts {
            if let Transport::Stdio { env, .. } = &mut draft.spec.launch {
                // Our own file has no such variable.
                let dir = env.iter_mut().filter(|(name, value)| name == kinds::PROJECT_DIR && value.written() == format!("${{{name}}}"));
                dir.for_each(|(_, value)| *value = Secret::literal(value.expose()));
            }
        }
        for draft in drafts.iter().filter(|draft| env_file::of_server(&draft.spec).is_some()) {
            let error = ConfigError {
                line: draft.spec.origin.line,
                key: Some("envFile".into()),
                ..ConfigError::new("the import adds its variables by name, without their values")
            };
            let error = error.in_file(&report.source.path).of_server(draft.spec.id.as_str());
            report.problems.borrow_mut().push(error.hint("export them before starting"));
        }
        let servers: Vec<ServerSpec> = drafts.iter().filter(|draft| !draft.invalid).map(|draft| draft.finish(&Rules::default())).collect();
        let problems: Vec<ConfigError> = report.errors.take().into_iter().chain(report.problems.take()).collect();
        match imports.iter_mut().find(|import| import.client == client) {
            Some(import) => {
                import.servers.extend(servers);
                import.problems.extend(problems);
            }
            None if servers.is_empty() && problems.is_empty() => {}
            None => {
                let path = report.source.path.clone();
                imports.push(FoundImport { client, path, project: around.root.is_some(), servers, problems });
            }
        }
    }
    imports
}

/// Reads the servers of files that the user named: of any client, recognised by their place and content, or of our own format.
/// Fails with all errors if a file cannot be read or has no servers.
pub fn read_imports(files: &[PathBuf], home: Option<&Path>, cwd: &Path, env: &Env) -> Result<Vec<FoundImport>, Vec<ConfigError>> {
    let (mut found, mut errors) = (vec![], vec![]);
    let known = home.map(|home| user_places(home, env)).unwrap_or_default();
    for file in files {
        match read_named(&cwd.join(file), &known, home, cwd, env) {
            Ok(imports) => found.extend(imports),
            Err(mut wrong) => errors.append(&mut wrong),
        }
    }
    if errors.is_empty() { Ok(found) } else { Err(errors) }
}

fn read_named(path: &Path, known: &[Place], home: Option<&Path>, cwd: &Path, env: &Env) -> Result<Vec<FoundImport>, Vec<ConfigError>> {
    let source = Source::read(path, Whose::Named).map_err(|(_, error)| vec![error])?;
    read_source(&source, known, home, cwd, env)
}

/// Reads the server that a document describes, which came from somewhere else than a file: a `server.json` of a registry. `name` is
/// the name of the file in errors.
pub fn read_described(name: &str, text: &str, home: Option<&Path>, cwd: &Path, env: &Env) -> Result<Vec<FoundImport>, Vec<ConfigError>> {
    read_source(&Source::new(name, text), &[], home, cwd, env)
}

/// Reads a text as the content of a client's file, such as one with a single entry of it.
pub(super) fn read_entry(
    file: &Path,
    text: &str,
    home: Option<&Path>,
    cwd: &Path,
    env: &Env,
) -> Result<Vec<FoundImport>, Vec<ConfigError>> {
    let known = home.map(|home| user_places(home, env)).unwrap_or_default();
    read_source(&Source::new(file, text), &known, home, cwd, env)
}

fn read_source(source: &Source, known: &[Place], home: Option<&Path>, cwd: &Path, env: &Env) -> Result<Vec<FoundImport>, Vec<ConfigError>> {
    let path = source.path.as_path();
    let tree = source.parse()?;
    let own = tree.get("servers").filter(|_| source.language() == Language::Toml).and_then(Node::fields);
    if let Some(own) = own {
        let report = Report::new(source, env, home, path.parent().unwrap_or(path));
        let drafts = own.iter().filter_map(|field| server::native(&report, field, None));
        let servers = drafts.filter(|draft| !draft.invalid).map(|draft| draft.finish(&Rules::default())).collect();
        let problems = report.errors.take().into_iter().chain(report.problems.take()).collect();
        return Ok(vec![FoundImport { client: "Switchboard", path: path.to_owned(), project: false, servers, problems }]);
    }
    let placed = kinds::placed(path, home);
    let around = Around { cwd: cwd.to_owned(), ..Around::default() };
    let all = kinds::recognise(&tree, source.language(), &placed, &around);
    if all.sections.is_empty() {
        let (message, hint) = all.refused.unwrap_or(kinds::NO_SERVERS);
        return Err(vec![ConfigError::new(message).in_file(path).hint(hint)]);
    }
    let place = known.iter().find(|place| place.path == path);
    let client = |kind: &'static kinds::ClientKind| match place {
        Some(place) if place.kind == kind.id => place.client,
        _ if matches!(kind.id, KindId::Generic | KindId::Flat) => "mcpServers",
        _ => kind.client,
    };
    let base = placed.project.clone().unwrap_or_else(|| kinds::workspace(path).to_owned());
    let report = Report::new(source, env, home, &base);
    Ok(imports_of(report, all.sections.into_iter(), &placed, &around, client))
}
