//! Merges the layers of the configuration: command line over project file over user file.
//!
//! Servers merge by name, and the higher layer replaces the whole table; settings merge by key. A project is limited: it
//! adds servers, rules for them and workflows, but cannot change the user's settings or reuse a name of the user's. The
//! `[defaults]` of a layer apply to its own servers and those of the layers above, so a project cannot change the policy of
//! the user's servers. `project_layer` finds the project and limits it.

mod project_layer;

use std::{
    collections::{HashMap, HashSet},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use self::project_layer::Prefixes;
pub(super) use self::project_layer::project_folders;
use super::{
    environments::{EnvironmentChoice, Known},
    error::ConfigError,
    fields::{Fields, Report},
    inputs::InputAnswers,
    kinds::{self, Around},
    project::{self, ProjectWorkflows},
    rules::PartialRules,
    server::{self, Draft},
    settings::{PartialSettings, Rules, Settings, ThemeName},
    source::{Language, Source, Whose},
    text::{self, Env},
    trust::{PendingApproval, launch_hash},
};
use crate::{
    domain::{
        config_input::ConfigInput, document::Node, id::ServerId, policy, secret::Secret, server::ServerSpec, workspace::Environments,
    },
    files::{self, Allowed},
};

/// Name of the user's file in the configuration folder.
pub(super) const USER_FILE: &str = "config.toml";
/// Most files of one configuration.
const MOST_FILES: usize = 64;
/// Largest theme that is read, in bytes.
const LARGEST_THEME: u64 = 1 << 20;

/// Locations and limits of a configuration. Everything is explicit; [`LoadOptions::process`] fills it from the process.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Files named on the command line. When there are any, user and project files are not read.
    pub config_files: Vec<PathBuf>,
    /// Whether project files are ignored.
    pub no_project: bool,
    /// The hash of a project approved for this process only (`--trust`).
    pub trust_hash: Option<String>,
    /// Servers given on the command line. They override those of all files, and the user's `[defaults]` apply to them.
    pub extra: Vec<ServerSpec>,
    /// Whether the command line defines all servers. Files then supply settings only: their servers, the rules that name
    /// them and the project's file are ignored.
    pub servers_given: bool,
    /// Whether servers run without the sandbox that their client would put them into (`--allow-unsandboxed`).
    pub unsandboxed: bool,
    /// The current directory, where the search for a project's file begins.
    pub cwd: PathBuf,
    /// The user's home.
    pub home: Option<PathBuf>,
    /// Folder of the user's `config.toml`; none is read when absent.
    pub user_dir: Option<PathBuf>,
    /// Folder of the approvals; when absent, nothing is approved.
    pub state_dir: Option<PathBuf>,
    /// The environment for `${VAR}`.
    pub env: Env,
    /// The values that the user gave for inputs of files.
    pub answers: InputAnswers,
    /// The environment in use.
    pub environment: EnvironmentChoice,
}

impl LoadOptions {
    /// Returns the options of this process: its environment, its current directory, the platform's folders.
    ///
    /// `SWITCHBOARD_CONFIG_DIR` and `SWITCHBOARD_STATE_DIR` replace the platform's folders.
    pub fn process() -> LoadOptions {
        let env = Env::process();
        let cwd = std::env::current_dir().unwrap_or_default();
        let dirs = directories::ProjectDirs::from("", "", "switchboard");
        let folder = |name: &str, platform: Option<PathBuf>| env.non_empty(name).map(|dir| cwd.join(dir)).or(platform);
        let home = directories::BaseDirs::new().map(|d| d.home_dir().to_owned());
        let platform = dirs.as_ref().map(|d| d.config_dir().to_owned());
        let platform = match cfg!(target_os = "macos") {
            true => home_config(platform, home.as_deref()),
            false => platform,
        };
        let user_dir = folder("SWITCHBOARD_CONFIG_DIR", platform);
        let state = dirs.as_ref().map(|d| d.state_dir().unwrap_or_else(|| d.data_local_dir()).to_owned());
        let state_dir = folder("SWITCHBOARD_STATE_DIR", state);
        let answers = state_dir.as_deref().map(InputAnswers::stored).unwrap_or_default();
        LoadOptions { cwd, home, user_dir, state_dir, env, answers, ..LoadOptions::default() }
    }

    /// Returns the path of the user's file, which need not exist.
    pub fn user_file(&self) -> Option<PathBuf> {
        Some(self.user_dir.as_ref()?.join(USER_FILE))
    }
}

/// Returns the configuration folder on macOS: that of the platform, or `~/.config/switchboard` if only that exists, because users
/// share their settings between systems.
pub(super) fn home_config(platform: Option<PathBuf>, home: Option<&Path>) -> Option<PathBuf> {
    let shared = home.map(|home| home.join(".config/switchboard"));
    let exists = |folder: &Option<PathBuf>| folder.as_deref().is_some_and(Path::is_dir);
    if !exists(&platform) && exists(&shared) { shared } else { platform }
}

/// A configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    /// Settings of the program itself.
    pub settings: Settings,
    /// The servers in the order of the files, including unusable ones, which have faults.
    pub servers: Vec<ServerSpec>,
    /// Rules for tools, groups, routes, and the store of the response cache.
    pub rules: policy::Rules,
    /// What the project asks for, if it is not approved; none of it is in `servers` or `project`.
    pub pending: Option<PendingApproval>,
    /// The project's workflows, if the project is approved.
    pub project: Option<ProjectWorkflows>,
    /// What the approval of the project covers, if the project is approved.
    pub(super) approved: Option<Approved>,
    /// Errors that make a server (`server` names it) or another entry unusable, and warnings.
    pub problems: Vec<ConfigError>,
    /// The inputs that servers use.
    pub inputs: Vec<ConfigInput>,
    /// The environments, and the one in use.
    pub environments: Environments,
    /// Values of the environment in use that are secret.
    pub environment_secrets: Vec<Secret>,
    /// Every file that was read or is missing, for watching.
    pub files: Vec<PathBuf>,
    /// The text of the user's theme file, so that editing it counts as a change of the configuration; `None` when there is
    /// none or it is unreadable.
    pub theme: Option<String>,
}

impl Loaded {
    /// Returns the errors that cost a setting or an entry outside of the tables of servers.
    pub fn lost_entries(&self) -> impl Iterator<Item = &ConfigError> {
        self.problems.iter().filter(|problem| problem.loses_entry())
    }

    /// Returns those errors that `before` does not have.
    pub fn newly_lost<'l>(&'l self, before: &'l Loaded) -> impl Iterator<Item = &'l ConfigError> {
        // Lines move when a file is edited.
        let is = |error: &ConfigError, other: &ConfigError| {
            (&error.file, &error.key, &error.message) == (&other.file, &other.key, &other.message)
        };
        self.lost_entries().filter(move |error| !before.lost_entries().any(|other| is(error, other)))
    }
}

/// What the approval of a project covers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Approved {
    pub servers: String,
    pub parts: project::Parts,
}

/// Reads the configuration.
///
/// Fails with all errors when a file cannot be read or parsed. Any other error costs its entry, and is in [`Loaded::problems`]: a
/// server is unusable and has the error among its faults; a rule, group, route or profile is left out; a setting has its default.
pub fn load(options: &LoadOptions) -> Result<Loaded, Vec<ConfigError>> {
    load_seen(options).1
}

/// Like [`load`]; returns the files to watch even on failure.
pub(super) fn load_seen(options: &LoadOptions) -> (Vec<PathBuf>, Result<Loaded, Vec<ConfigError>>) {
    let mut loader = Loader {
        options,
        files: vec![],
        seen: HashSet::new(),
        errors: vec![],
        problems: vec![],
        inputs: vec![],
        environments: Known::default(),
    };
    let mut loaded = loader.run();
    match loader.environments.choose(options.environment.name()) {
        Ok(environments) => loaded.environments = environments,
        // After another error the environments may be unknown.
        Err(error) if loader.errors.is_empty() => loader.errors.push(error),
        Err(_) => {}
    }
    loaded.environment_secrets = loader.environments.secrets();
    let mut unique = HashSet::new();
    loader.files.retain(|file| unique.insert(file.clone()));
    if loader.errors.is_empty() {
        loaded.files = loader.files.clone();
        loaded.problems = loader.problems;
        let uses = |input: &ConfigInput| loaded.servers.iter().any(|spec| input.servers.iter().any(|name| name == spec.id.as_str()));
        loaded.inputs = loader.inputs.into_iter().filter(uses).collect();
        (loader.files, Ok(loaded))
    } else {
        // The errors of servers come with those of the file, so that all can be corrected together.
        let mut errors = loader.errors;
        errors.extend(loader.problems.into_iter().filter(|problem| problem.unusable));
        (loader.files, Err(errors))
    }
}

/// Content of one file and the files that it includes.
#[derive(Default)]
struct Layer {
    settings: PartialSettings,
    defaults: Rules,
    servers: Vec<Draft>,
    rules: PartialRules,
}

/// Why a file is read.
#[derive(Clone)]
struct Role {
    /// The project's folder, for a project's files.
    root: Option<PathBuf>,
    /// Whether another file includes it.
    included: bool,
    /// Whether the command line names it, so that it may be a pipe.
    named: bool,
}

struct Loader<'o> {
    options: &'o LoadOptions,
    files: Vec<PathBuf>,
    seen: HashSet<PathBuf>,
    errors: Vec<ConfigError>,
    problems: Vec<ConfigError>,
    inputs: Vec<ConfigInput>,
    environments: Known,
}

impl Loader<'_> {
    fn run(&mut self) -> Loaded {
        let named = !self.options.config_files.is_empty();
        let user = if named { self.named_files() } else { self.user_file() };
        let settings = user.settings;
        let (mut servers, mut rules) = if self.options.servers_given {
            // An error in a server that is not used does not prevent the start.
            self.errors.retain(|error| error.server.is_none());
            self.problems.retain(|problem| problem.server.is_none());
            Default::default()
        } else {
            (finish(&user.servers, &user.defaults), user.rules)
        };
        self.check(&mut rules, &servers);
        let (mut pending, mut workflows, mut approved) = (None, None, None);
        if !named
            && !self.options.no_project
            && !self.options.servers_given
            && let Some((root, file)) = self.find_project()
        {
            let role = Role { root: Some(root.clone()), included: false, named: false };
            let mut layer = self.file(&file, &role);
            self.problems.extend(layer.settings.limit_to_project());
            let named_flows = layer.settings.take_workflows();
            let defaults = layer.defaults.merged_over(user.defaults.clone());
            layer.servers.retain(|draft| self.free_of_groups(&draft.spec, &rules));
            let mut project = finish(&layer.servers, &defaults);
            project.retain(|(spec, _)| self.free_of_users(spec, &servers));
            let users = Prefixes::of(&servers, &rules, settings.separator());
            project.retain(|(spec, _)| self.free_of_prefixes(spec, &users));
            self.problems.extend(layer.rules.without_namespaces(|namespace| users.overlap(namespace)));
            let ids = |servers: &[(ServerSpec, bool)]| servers.iter().map(|(spec, _)| spec.id.clone()).collect::<Vec<ServerId>>();
            self.problems.extend(layer.rules.limit_to_project(&ids(&project), &ids(&servers), &rules));
            self.check(&mut layer.rules, &project);
            // An invalid entry is never started, so the approval does not cover it.
            let specs: Vec<ServerSpec> = project.iter().filter(|(_, invalid)| !invalid).map(|(spec, _)| spec.clone()).collect();
            let mut reader = project::Reader::read(&root, &file, &named_flows);
            reader.scripts(&specs);
            self.files.append(&mut reader.watch);
            self.problems.append(&mut reader.problems);
            pending = self.hold_back((&root, &file), &specs, &reader);
            if pending.is_none() {
                rules = layer.rules.merged_over(rules);
                approved = Some(Approved { servers: launch_hash(&specs), parts: reader.parts });
                workflows = Some(reader.workflows);
                project.into_iter().for_each(|server| replace_or_push(&mut servers, server, |s| &s.0.id));
            }
        }
        let mut ready: Vec<ServerSpec> = servers.into_iter().map(|(spec, _)| spec).collect();
        for mut extra in named_apart(&self.options.extra) {
            user.defaults.clone().apply(&mut extra);
            replace_or_push(&mut ready, extra, |s| &s.id);
        }
        let settings = settings.finish();
        let theme = match &settings.console.theme {
            ThemeName::File(path) => {
                self.files.push(path.clone());
                files::read_text(path, Allowed { bytes: LARGEST_THEME, within: None }).ok()
            }
            _ => None,
        };
        Loaded { settings, servers: ready, rules: rules.finish(), pending, project: workflows, approved, theme, ..Loaded::default() }
    }

    /// Reports unknown names of servers and groups. Servers that are left out were reported already; after a parse error
    /// the set of servers is unknown, so nothing is reported.
    fn check(&mut self, rules: &mut PartialRules, servers: &[(ServerSpec, bool)]) {
        if !self.errors.is_empty() {
            return;
        }
        let mut known: Vec<ServerId> = servers.iter().map(|(spec, _)| spec.id.clone()).collect();
        known.extend(self.problems.iter().filter_map(|problem| problem.server.as_deref().map(ServerId::from)));
        self.lose(rules.check(&known));
    }

    fn named_files(&mut self) -> Layer {
        let mut all = Layer::default();
        for file in &self.options.config_files {
            let path = self.options.cwd.join(file);
            let layer = self.file(&path, &Role { root: None, included: false, named: true });
            all.settings = layer.settings.merged_over(all.settings);
            all.defaults = layer.defaults.merged_over(all.defaults);
            all.rules = layer.rules.merged_over(all.rules);
            merge(&mut all.servers, layer.servers);
        }
        all
    }

    fn user_file(&mut self) -> Layer {
        match self.options.user_file() {
            Some(file) if file.exists() => self.file(&file, &Role { root: None, included: false, named: false }),
            Some(file) => {
                self.files.push(file);
                Layer::default()
            }
            None => Layer::default(),
        }
    }

    fn file(&mut self, path: &Path, role: &Role) -> Layer {
        self.files.push(path.to_owned());
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if !self.seen.insert(canonical) {
            return Layer::default();
        }
        if self.seen.len() > MOST_FILES {
            let error = ConfigError::new(format!("more than {MOST_FILES} files are included")).in_file(path);
            self.errors.push(error.hint("include fewer files"));
            return Layer::default();
        }
        let whose = match &role.root {
            Some(root) => Whose::Project(root),
            None if role.named => Whose::Named,
            None => Whose::User,
        };
        let source = match Source::read(path, whose) {
            Ok(source) => source,
            // The file of a client that is not installed does not fail the load; neither does one that a project may not
            // include.
            Err((kind, error)) if role.included && (kind == ErrorKind::NotFound || role.root.is_some()) => {
                self.problems.push(error);
                return Layer::default();
            }
            Err((_, error)) => {
                self.errors.push(error);
                return Layer::default();
            }
        };
        match source.parse() {
            Ok(tree) => self.understand(&source, &tree, role),
            Err(errors) => {
                self.errors.extend(errors);
                Layer::default()
            }
        }
    }

    fn understand(&mut self, source: &Source, tree: &Node, role: &Role) -> Layer {
        let options = self.options;
        let placed = kinds::placed(&source.path, options.home.as_deref());
        let around = Around { cwd: options.cwd.clone(), root: role.root.clone(), unsandboxed: options.unsandboxed };
        let found = kinds::recognise(tree, source.language(), &placed, &around);
        let folder = source.path.parent().unwrap_or(Path::new("/")).to_owned();
        let foreign = source.language() != Language::Toml || !found.sections.is_empty() && tree.get("servers").is_none();
        let base = match (&role.root, &placed.project) {
            (Some(root), _) => root.clone(),
            (None, Some(project)) if foreign => project.clone(),
            (None, None) if foreign => kinds::workspace(&source.path).to_owned(),
            _ => folder.clone(),
        };
        if !foreign && role.root.is_none() && !role.included {
            let report = Report::new(source, &options.env, options.home.as_deref(), &base);
            self.environments.read(&report, tree, options.environment.name().as_deref());
            self.lose(report.errors.take());
        }
        let known = std::mem::take(&mut self.environments);
        let env = options.env.with_variables(known.variables()).with_answers(options.answers.of(&source.path));
        let servers = known.servers().cloned();
        self.environments = known;
        let mut report = Report::new(source, &env, options.home.as_deref(), &base);
        report.root = role.root.as_deref();
        report.servers = servers.as_ref();
        if !foreign {
            return self.native(report, tree, role, &folder);
        }
        let mut layer = Layer::default();
        merge(&mut layer.servers, kinds::read(&mut report, &found, &placed, &around));
        if found.sections.is_empty() {
            let (message, hint) = found.refused.unwrap_or(kinds::NO_SERVERS);
            if role.included { report.note(0, "", message, hint) } else { report.error(0, "", message, hint) }
        }
        self.collect(report);
        layer
    }

    fn native(&mut self, report: Report<'_>, tree: &Node, role: &Role, folder: &Path) -> Layer {
        let mut root = Fields::new(&report, tree.fields().unwrap_or_default(), "");
        let settings = PartialSettings::read(&mut root);
        let mut defaults = Rules::default();
        if let Some(mut inner) = root.inner("defaults") {
            defaults = Rules::read(&mut inner);
            inner.finish();
        }
        let mut own = vec![];
        for field in root.table("servers").unwrap_or_default() {
            own.extend(server::native(&report, field, role.root.as_deref()));
        }
        report.declare_inputs(&[]);
        // Read before the rest of the file.
        if let Some(field) = root.field("environments").filter(|_| role.included && role.root.is_none()) {
            report.note(field.at, "environments", "is not used in an included file", "put it into the file that includes this one");
        }
        // After the servers, which take with them the secrets that were read before.
        let rules = PartialRules::read(&mut root);
        let includes = includes(&mut root, folder);
        root.finish();
        // Each costs its entry.
        self.lose(report.errors.take());
        self.collect(report);

        let mut below = Layer::default();
        for path in includes {
            let layer = self.file(&path, &Role { included: true, named: false, ..role.clone() });
            below.settings = layer.settings.merged_over(below.settings);
            below.defaults = layer.defaults.merged_over(below.defaults);
            below.rules = layer.rules.merged_over(below.rules);
            merge(&mut below.servers, layer.servers);
        }
        let mut servers = own;
        let names: HashSet<ServerId> = servers.iter().map(|own| own.spec.id.clone()).collect();
        servers.extend(below.servers.into_iter().filter(|server| !names.contains(&server.spec.id)));
        let rules = rules.merged_over(below.rules);
        Layer { settings: settings.merged_over(below.settings), defaults: defaults.merged_over(below.defaults), servers, rules }
    }

    /// Adds errors that cost an entry outside of the tables of servers.
    fn lose(&mut self, errors: Vec<ConfigError>) {
        self.problems.extend(errors.into_iter().map(|error| ConfigError { unusable: true, ..error }));
    }

    fn collect(&mut self, report: Report<'_>) {
        self.errors.extend(report.errors.take());
        self.problems.extend(report.problems.take());
        self.files.extend(report.files.take());
        self.inputs.extend(report.inputs.take());
    }
}

/// Reads `include`. Relative paths start at the including file's folder.
fn includes(root: &mut Fields<'_, '_>, folder: &Path) -> Vec<PathBuf> {
    let report = root.report;
    let mut paths = vec![];
    for node in root.array("include").unwrap_or_default() {
        let Some(text) = node.text() else {
            root.wrong_type(node, "include", "a list of paths");
            continue;
        };
        match text::expand(text, report.env) {
            Ok(path) if path.secret.expose().is_empty() => report.error(node.at, "include", "holds an empty path", "name a file"),
            Ok(path) => {
                let path = path.secret.expose();
                paths.push(report.tilde(path).unwrap_or_else(|| folder.join(path)));
            }
            Err(fault) => report.error(node.at, "include", fault.message, fault.hint),
        }
    }
    paths
}

/// Returns the servers with the defaults, each with whether its table is invalid.
fn finish(drafts: &[Draft], defaults: &Rules) -> Vec<(ServerSpec, bool)> {
    drafts.iter().map(|draft| (draft.finish(defaults), draft.invalid)).collect()
}

/// Adds servers; one with the name of an earlier one replaces it.
pub(super) fn merge(list: &mut Vec<Draft>, drafts: Vec<Draft>) {
    let mut places: HashMap<ServerId, usize> = list.iter().enumerate().map(|(place, draft)| (draft.spec.id.clone(), place)).collect();
    for draft in drafts {
        match places.get(&draft.spec.id).and_then(|place| list.get_mut(*place)) {
            Some(other) => *other = draft,
            None => {
                places.insert(draft.spec.id.clone(), list.len());
                list.push(draft);
            }
        }
    }
}

/// Replaces the item with the same id, or appends `item`.
pub(super) fn replace_or_push<T>(list: &mut Vec<T>, item: T, id: impl Fn(&T) -> &ServerId) {
    match list.iter_mut().find(|other| id(other) == id(&item)) {
        Some(other) => *other = item,
        None => list.push(item),
    }
}

/// Returns the servers with unique ids: the second `git` becomes `git-2`.
fn named_apart(servers: &[ServerSpec]) -> Vec<ServerSpec> {
    let mut out: Vec<ServerSpec> = vec![];
    for server in servers {
        let id = free_name(server.id.as_str(), |name| out.iter().any(|s| s.id.as_str() == name));
        out.push(ServerSpec { id: ServerId::new(id), ..server.clone() });
    }
    out
}

/// Returns `name`, or the first of `name-2`, `name-3` … that is not taken.
pub(super) fn free_name(name: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(name) {
        return name.to_owned();
    }
    (2u64..).map(|n| format!("{name}-{n}")).find(|name| !taken(name)).unwrap_or_else(|| name.to_owned())
}
