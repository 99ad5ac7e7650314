//! The workspace of a running engine: applies changes of files and the requests of faces, one after the other.

use std::{path::Path, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::{
    Asked,
    home::{Home, console_settings, prompt},
    library_watcher::LibraryWatcher,
    selection::{self, Selection},
    welcome,
};
use crate::{
    config::{self, ConfigError, InputAnswers, Loaded, PendingApproval, Reload},
    control::LocalControl,
    demo::Demo,
    domain::{
        argument_history::{Recall, Recalled},
        config_input::{ConfigInput, InputRetention},
        event::{Notice, NoticeLevel},
        policy::cache::CacheSettings,
        server::{ServerSpec, SpecOrigin},
        workspace::{Chosen, Identity, WorkspaceError, WorkspaceReply, WorkspaceRequest, WorkspaceState},
    },
    engine::ports::ResponseCache,
};

/// The demo, once it runs. The composition root ends it.
pub type DemoSlot = Arc<Mutex<Option<Demo>>>;

/// Opens the store of cached responses. Fails with the reason.
pub type OpenCache = fn(&CacheSettings) -> Result<Arc<dyn ResponseCache>, String>;

/// Most runs of earlier sessions in the list of workflows.
const PAST: usize = 200;

/// The state of the workspace that changes with the session.
pub struct Live {
    home: Arc<Home>,
    state: Arc<watch::Sender<WorkspaceState>>,
    control: Arc<LocalControl>,
    demo: DemoSlot,
    open_cache: OpenCache,
    library: LibraryWatcher,
    /// Servers that are in no file: the demo's and typed ones.
    extra: Vec<ServerSpec>,
    recall: Recall,
    storage_error_reported: bool,
}

impl Live {
    /// Puts the configuration in force.
    pub fn new(
        home: Arc<Home>,
        state: Arc<watch::Sender<WorkspaceState>>,
        control: Arc<LocalControl>,
        demo: DemoSlot,
        open_cache: OpenCache,
    ) -> Live {
        let library = LibraryWatcher::new(home.selection.load.clone(), demo.clone(), Default::default());
        let recall = home.memory().map(config::load_recall).unwrap_or_default();
        let live = Live { home, state, control, demo, open_cache, library, extra: vec![], recall, storage_error_reported: false };
        let loaded = live.home.loaded();
        live.put_in_force(&loaded, None);
        loaded.problems.iter().for_each(|problem| live.control.notice(problem.warning()));
        live
    }

    /// Follows changes and requests until all senders of requests are dropped.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Asked>) {
        self.read_past();
        let mut reloads = Some(config::watch(self.home.selection.load.clone(), Some(Loaded::clone(&self.home.loaded()))));
        loop {
            if let Some(library) = self.library.reload(&self.home.loaded()).await {
                self.state.send_modify(|state| state.library = Arc::new(library));
            }
            tokio::select! {
                () = self.library.changed() => {}
                asked = requests.recv() => match asked {
                    Some((request, reply)) => {
                        // The face may not wait for the reply.
                        let _ = reply.send(self.carry_out(request));
                    }
                    None => return,
                },
                reload = next(&mut reloads) => match reload {
                    // What the watcher read may be older than an approval or an input that was given since.
                    Reload::Loaded(_) => match config::load(&self.home.selection.load) {
                        Ok(loaded) => self.reload(loaded),
                        Err(errors) => self.reject(&errors),
                    },
                    Reload::Broken(errors) => self.reject(&errors),
                },
            }
        }
    }

    /// Reads the runs of earlier sessions, while faces already show the rest.
    fn read_past(&self) {
        let Ok(store) = self.home.store() else { return };
        let state = self.state.clone();
        tokio::spawn(async move {
            if let Ok(runs) = store.runs(PAST, None).await {
                state.send_modify(|state| state.past = Arc::new(runs));
            }
        });
    }

    fn carry_out(&mut self, request: WorkspaceRequest) -> Result<WorkspaceReply, WorkspaceError> {
        match request {
            WorkspaceRequest::Approve(hash) => self.approve(&hash)?,
            WorkspaceRequest::GiveInput { file, id, value, retention } => self.give_input(&file, &id, &value.0, retention)?,
            WorkspaceRequest::UseEnvironment(name) => self.use_environment(name)?,
            WorkspaceRequest::Start(chosen) => self.start(chosen)?,
            WorkspaceRequest::Remember(entry) => self.remember(entry)?,
            // The watch of the configuration applies the change.
            WorkspaceRequest::EditServer { .. } | WorkspaceRequest::SaveLayout(_) => return self.home.offline(&request),
            WorkspaceRequest::SaveWorkflow { name, text, place } => {
                let text = self.control.secrets().redactor().redact_json(&text);
                let written = self.library.save(&self.home.loaded(), &name, &text, place);
                return written.map(WorkspaceReply::Written).map_err(|why| WorkspaceError::NotWritten { why });
            }
            // The project stays unused until its file changes. The library is read after each request.
            WorkspaceRequest::Reject | WorkspaceRequest::ReadWorkflows => {}
            _ => return Err(WorkspaceError::Unavailable),
        }
        Ok(WorkspaceReply::Done)
    }

    fn approve(&mut self, hash: &str) -> Result<(), WorkspaceError> {
        let loaded = self.home.loaded();
        let waiting = loaded.pending.as_ref().filter(|waiting| waiting.hash == hash).ok_or(WorkspaceError::ProjectChanged)?;
        let load = &self.home.selection.load;
        let Some(state_dir) = &load.state_dir else {
            return Err(WorkspaceError::invalid("the approval cannot be stored without a state folder"));
        };
        config::approve(waiting, state_dir).map_err(|error| WorkspaceError::Configuration(vec![error]))?;
        // Read the project again and compare its hash, so that only approved content is started.
        let now = config::load(load).map_err(WorkspaceError::Configuration)?;
        self.take(now);
        Ok(())
    }

    /// Uses the value of an input, and starts the servers that wait for it.
    fn give_input(&mut self, file: &Path, id: &str, value: &str, retention: InputRetention) -> Result<(), WorkspaceError> {
        let loaded = self.home.loaded();
        // A path that is not text arrives in the form of its display.
        let is_it = |input: &&ConfigInput| input.id == id && input.file.to_string_lossy() == file.to_string_lossy();
        let Some(input) = loaded.inputs.iter().find(is_it) else { return Err(WorkspaceError::UnknownChoice) };
        if !input.accepts(value) {
            return Err(WorkspaceError::invalid(format!("the value of the input `{id}` should be one of its options")));
        }
        let home = self.home.clone();
        let load = &home.selection.load;
        load.answers.set(&input.file, id, value);
        self.take(config::load(load).map_err(WorkspaceError::Configuration)?);
        let (InputRetention::Stored, Some(state_dir)) = (retention, &load.state_dir) else { return Ok(()) };
        InputAnswers::store(state_dir, &input.file, id, value)
            .map_err(|error| WorkspaceError::NotWritten { why: format!("the value of the input `{id}` could not be stored: {error}") })
    }

    /// Switches to an environment: servers with other variables restart, and others are enabled and disabled. If the configuration
    /// is invalid with it, the one in use stays.
    fn use_environment(&mut self, name: Option<String>) -> Result<(), WorkspaceError> {
        let home = self.home.clone();
        let load = &home.selection.load;
        let before = load.environment.replace(name);
        match config::load(load) {
            Ok(loaded) => {
                self.take(loaded);
                Ok(())
            }
            Err(errors) => {
                load.environment.replace(before);
                Err(WorkspaceError::Configuration(errors))
            }
        }
    }

    /// Adds the servers of the user's choice.
    fn start(&mut self, chosen: Chosen) -> Result<(), WorkspaceError> {
        let home = self.home.clone();
        let load = &home.selection.load;
        let mut invocation = self.state.borrow().identity.invocation.clone();
        let loaded = match chosen {
            Chosen::Import(at) => {
                let import = home.found.lock().get(at).cloned().ok_or(WorkspaceError::UnknownChoice)?;
                let loaded = welcome::take_over(&import, load).map_err(WorkspaceError::Configuration)?;
                let here = self.servers(&loaded);
                self.extra.extend(welcome::left_out(&import, &here));
                loaded
            }
            Chosen::Demo => {
                let specs = self.start_demo().map_err(|error| WorkspaceError::Configuration(vec![error]))?;
                self.extra.extend(specs);
                invocation.flags.push("--demo".to_owned());
                Loaded::clone(&home.loaded())
            }
            Chosen::Open(text) => {
                let specs = welcome::typed(&text, load).map_err(WorkspaceError::Configuration)?;
                invocation.target = specs.first().map(|spec| spec.launch.summary());
                self.extra.extend(specs);
                let text = "This applies to this session; add it to a [servers.NAME] table of your configuration to keep it.";
                self.control.notice(Notice::new(NoticeLevel::Info, text));
                Loaded::clone(&home.loaded())
            }
        };
        let title = home.title(&loaded, self.extra.first());
        self.state.send_modify(|state| {
            state.identity = Arc::new(Identity { title, invocation, ..Identity::clone(&state.identity) });
        });
        self.take(loaded);
        Ok(())
    }

    /// Starts the demo's servers in addition to the running ones; returns their specifications.
    fn start_demo(&self) -> Result<Vec<ServerSpec>, ConfigError> {
        let mut slot = self.demo.lock();
        if slot.is_some() {
            return Ok(vec![]);
        }
        let mut demo = Demo::prepare().map_err(|error| ConfigError::new(format!("the demo could not be set up: {error}")))?;
        if let Err(error) = demo.launch() {
            self.control.notice(Notice::new(NoticeLevel::Error, format!("the HTTP server of the demo could not be started: {error}")));
        }
        let specs = demo.specs();
        *slot = Some(demo);
        Ok(specs)
    }

    /// Stores arguments for later sessions. Fails for the first error of storing only: further ones have the same cause.
    fn remember(&mut self, mut entry: Recalled) -> Result<(), WorkspaceError> {
        entry.arguments = entry.arguments.redacted(&self.control.secrets().redactor());
        self.recall.note(entry);
        let stored = self.home.memory().map_or(Ok(()), |state_dir| config::save_recall(state_dir, &self.recall));
        match stored {
            Err(error) if !std::mem::replace(&mut self.storage_error_reported, true) => {
                Err(WorkspaceError::NotWritten { why: error.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Reports why the configuration in force stays.
    fn reject(&self, errors: &[ConfigError]) {
        errors.iter().for_each(|error| self.control.notice(error.rejected()));
    }

    /// Replaces the configuration in force, unless the new one loses entries: they stay in force until the file is correct.
    fn reload(&mut self, loaded: Loaded) {
        let before = self.home.loaded();
        let lost: Vec<Notice> = loaded.newly_lost(&before).map(ConfigError::rejected).collect();
        if lost.is_empty() { self.take(loaded) } else { lost.into_iter().for_each(|notice| self.control.notice(notice)) }
    }

    /// Replaces the configuration in force.
    fn take(&mut self, loaded: Loaded) {
        self.home.selection.note(&loaded, &self.home.secrets);
        let before = self.home.loaded();
        let hash = |pending: &Option<PendingApproval>| pending.as_ref().map(|pending| pending.hash.clone());
        let fresh = hash(&loaded.pending) != hash(&before.pending);
        if let Some(waiting) = loaded.pending.as_ref().filter(|_| fresh) {
            // The dialog opens when the user stops typing.
            let text = format!("{} has changed and needs your approval", waiting.file.display());
            self.control.notice(Notice { detail: waiting.lines.clone(), ..Notice::new(NoticeLevel::Warn, text) });
        }
        loaded.problems.iter().for_each(|problem| self.control.notice(problem.warning()));
        self.put_in_force(&loaded, Some(&before));
        if let Some(text) = changes(&before, &loaded) {
            self.control.notice(Notice::new(NoticeLevel::Info, text));
        }
        self.state.send_modify(|state| {
            let settings = console_settings(&loaded);
            if *state.settings != settings {
                state.settings = Arc::new(settings);
            }
            if state.identity.environments != loaded.environments {
                let mut identity = Identity::clone(&state.identity);
                identity.environments = loaded.environments.clone();
                identity.invocation.set_environment(loaded.environments.current.as_deref());
                state.identity = Arc::new(identity);
            }
            if *state.inputs != loaded.inputs {
                state.inputs = Arc::new(loaded.inputs.clone());
            }
            if fresh {
                state.approval = loaded.pending.as_ref().map(|pending| Arc::new(prompt(pending)));
            }
        });
        self.home.replace(loaded);
    }

    fn put_in_force(&self, loaded: &Loaded, before: Option<&Loaded>) {
        let demo_runs = self.demo.lock().is_some();
        let servers = self.servers(loaded);
        *self.home.active.lock() = (servers.clone(), demo_runs);
        if let Err(why) = put_in_force(&self.control, (loaded, demo_runs), before, servers, self.open_cache) {
            self.control.notice(Notice::new(NoticeLevel::Warn, why));
        }
    }

    fn servers(&self, loaded: &Loaded) -> Vec<ServerSpec> {
        servers(&self.home.selection, loaded, self.demo.lock().as_ref(), &self.extra)
    }
}

/// Returns the servers to run: those selected by the command line, including the demo's, and those added in this session.
fn servers(selection: &Selection, loaded: &Loaded, demo: Option<&Demo>, extra: &[ServerSpec]) -> Vec<ServerSpec> {
    // A demo started in this session is in `extra`, regardless of --server.
    let mut servers = selection.servers(loaded, demo.filter(|_| selection.demo));
    let missing: Vec<ServerSpec> = extra.iter().filter(|spec| servers.iter().all(|s| s.id != spec.id)).cloned().collect();
    servers.extend(missing);
    servers
}

/// Applies rules and servers, and opens the store of cached responses if its settings differ from `before`. Returns the error
/// if responses are cached in memory instead of in Redis.
pub fn put_in_force(
    control: &LocalControl,
    (loaded, demo_runs): (&Loaded, bool),
    before: Option<&Loaded>,
    servers: Vec<ServerSpec>,
    open_cache: OpenCache,
) -> Result<(), String> {
    let rules = selection::rules(loaded, demo_runs, &servers);
    let mut opened = Ok(());
    if before.map(|before| &before.rules.cache) != Some(&rules.cache) {
        let store = open_cache(&rules.cache).or_else(|why| {
            opened = Err(format!("responses are cached in memory only: {why}"));
            open_cache(&CacheSettings { redis: vec![], ..rules.cache.clone() })
        });
        control.set_store(store.ok());
    }
    control.set_rules(rules);
    control.apply(servers);
    opened
}

async fn next(reloads: &mut Option<mpsc::Receiver<Reload>>) -> Reload {
    if let Some(receiver) = reloads {
        if let Some(reload) = receiver.recv().await {
            return reload;
        }
        *reloads = None;
    }
    std::future::pending().await
}

/// Describes which servers a reload added, removed and changed: `configuration reloaded: + sqlite − time ~ files`. `None` if
/// it changed no server.
fn changes(before: &Loaded, now: &Loaded) -> Option<String> {
    let find = |loaded: &Loaded, spec: &ServerSpec| loaded.servers.iter().find(|other| other.id == spec.id).cloned();
    let added = now.servers.iter().filter(|spec| find(before, spec).is_none()).map(|spec| format!("+ {}", spec.id));
    let removed = before.servers.iter().filter(|spec| find(now, spec).is_none()).map(|spec| format!("− {}", spec.id));
    // The line moves with every change above it.
    let same = |old: &ServerSpec, new: &ServerSpec| {
        let at = |spec: &ServerSpec| ServerSpec { origin: SpecOrigin { line: None, ..spec.origin.clone() }, ..spec.clone() };
        at(old) == at(new)
    };
    let changed = now.servers.iter().filter(|spec| find(before, spec).is_some_and(|old| !same(&old, spec)));
    let all: Vec<String> = added.chain(removed).chain(changed.map(|spec| format!("~ {}", spec.id))).collect();
    (!all.is_empty()).then(|| format!("configuration reloaded: {}", all.join(" ")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::LoadOptions,
        control::Control,
        demo,
        domain::{
            config_input::{InputState, InputValue},
            retention::Retention,
            secret::SecretRegistry,
            server::Transport,
            workspace::ApprovalPrompt,
        },
        engine::Adapters,
        mcp::Connections,
        workspace::{ProjectErrors, WorkspaceService, engine_options},
    };

    fn no_cache(_: &CacheSettings) -> Result<Arc<dyn ResponseCache>, String> {
        Err("none in this test".into())
    }

    fn service(selection: Selection) -> (Arc<WorkspaceService>, Arc<LocalControl>) {
        let service = WorkspaceService::open(selection, SecretRegistry::default(), ProjectErrors::Fail).unwrap();
        let connections = Arc::new(Connections::new(None));
        let adapters = Adapters { secrets: service.home.secrets.clone(), ..Adapters::new(connections) };
        let control = LocalControl::with(engine_options(&service.loaded(), false), Retention::default(), adapters);
        (service, control)
    }

    fn ids(servers: &[ServerSpec]) -> Vec<&str> {
        servers.iter().map(|spec| spec.id.as_str()).collect()
    }

    #[test]
    fn an_edited_file_takes_neither_the_demos_servers_nor_the_welcomes() {
        let dir = tempfile::tempdir().unwrap();
        let load = LoadOptions { cwd: dir.path().to_owned(), config_files: vec![dir.path().join("x.toml")], ..LoadOptions::default() };
        let write = |name: &str| std::fs::write(dir.path().join("x.toml"), format!("[servers.{name}]\ncommand = \"x\"\n")).unwrap();
        let typed = [config::server_from_command(&["git".into()])];
        let demo = Demo::prepare().unwrap();
        let both = Selection { load: load.clone(), demo: true, files: true, ..Selection::default() };
        for name in ["one", "two"] {
            write(name);
            let servers = servers(&both, &config::load(&load).unwrap(), Some(&demo), &typed);
            assert_eq!(ids(&servers), [&demo::NAMES[..], &[demo::STANDBY, name, "git"]].concat());
        }
        // Started from the welcome, it is among what came that way, and there once.
        let plain = Selection { only: vec!["two".into()], demo: false, ..both };
        let servers = servers(&plain, &config::load(&load).unwrap(), Some(&demo), &demo.specs());
        assert_eq!(ids(&servers), [&["two"][..], &demo::NAMES[..], &[demo::STANDBY]].concat());
    }

    #[tokio::test]
    async fn a_project_that_changes_asks_for_approval_through_control() {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().canonicalize().unwrap();
        let write = |name: &str| {
            let text = format!("[servers.{name}]\ncommand = \"x\"\ndisabled = true\n");
            std::fs::write(project.join("switchboard.toml"), text).unwrap();
        };
        write("one");
        let load = LoadOptions { cwd: project.clone(), state_dir: Some(project.join("state")), ..LoadOptions::default() };
        config::approve(&config::load(&load).unwrap().pending.unwrap(), &project.join("state")).unwrap();
        let (service, control) = service(Selection { load, files: true, ..Selection::default() });
        assert_eq!((ids(&service.loaded().servers), &service.loaded().pending), (vec!["one"], &None));
        let following = service.follow(&control, DemoSlot::default(), no_cache);
        let workspace = control.workspace();
        let mut state = workspace.state();
        write("two");
        // The limit exists only so that a failure ends.
        let mut approval = async |wanted: bool| -> Option<Arc<ApprovalPrompt>> {
            let changed = state.wait_for(|state| state.approval.is_some() == wanted);
            let state = tokio::time::timeout(Duration::from_secs(30), changed).await.expect("a state in time").unwrap();
            state.approval.clone()
        };
        let prompt = approval(true).await.unwrap();
        assert!(prompt.lines[0].starts_with("two (disabled): x"), "{:?}", prompt.lines);
        assert!(control.watch().0.servers.is_empty(), "the approved content differs from the current content");
        let outdated = workspace.request(WorkspaceRequest::Approve("0".into())).await;
        assert_eq!(outdated, Err(WorkspaceError::ProjectChanged));
        let approved = workspace.request(WorkspaceRequest::Approve(prompt.hash.clone())).await;
        assert_eq!(approved, Ok(WorkspaceReply::Done));
        assert_eq!(approval(false).await, None, "the dialog has nothing to ask any more");
        let servers: Vec<String> = control.watch().0.servers.iter().map(|server| server.id().to_string()).collect();
        assert_eq!(servers, ["two"]);
        drop(following);
        let after = workspace.request(WorkspaceRequest::ReadWorkflows).await;
        assert_eq!(after, Err(WorkspaceError::Ended));
        control.shutdown().await;
    }

    #[tokio::test]
    async fn the_environment_is_switched_while_the_engine_runs() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.toml");
        let text = r#"
            [environments.staging]
            variables = { NAME = "staging-program", TOKEN = "s3cret-token" }
            disabled_servers = ["off"]
            [servers.changes]
            command = "${NAME:-program}"
            disabled = true
            [servers.off]
            command = "${NAME:-program}"
            disabled = true
        "#;
        std::fs::write(&file, text).unwrap();
        let load = LoadOptions { cwd: dir.path().to_owned(), config_files: vec![file.clone()], ..LoadOptions::default() };
        let (service, control) = service(Selection { load, files: true, ..Selection::default() });
        let _following = service.follow(&control, DemoSlot::default(), no_cache);
        let workspace = control.workspace();
        let switch = async |name: Option<&str>| workspace.request(WorkspaceRequest::UseEnvironment(name.map(str::to_owned))).await;
        let state = || {
            let identity = workspace.state().borrow().identity.clone();
            let program = service.loaded().servers[0].launch.summary();
            (identity.environments.current.clone(), identity.invocation.flags.join(" "), program)
        };
        let config = format!("--config {}", file.display());
        assert_eq!(state(), (None, config.clone(), "program".into()));
        assert_eq!(switch(Some("staging")).await, Ok(WorkspaceReply::Done));
        let staging = (Some("staging".into()), format!("{config} --environment staging"), "staging-program".into());
        assert_eq!(state(), staging);
        assert!(control.secrets().redactor().redact("s3cret-token") != "s3cret-token", "the value is masked from now on");
        let Err(WorkspaceError::Configuration(errors)) = switch(Some("stagin")).await else { panic!() };
        assert!(errors[0].message.contains("`stagin` is not configured"), "{errors:?}");
        assert_eq!(state(), staging, "an unknown environment changes nothing");
        assert_eq!(switch(None).await, Ok(WorkspaceReply::Done));
        assert_eq!(state(), (None, config, "program".into()));
        control.shutdown().await;
    }

    #[tokio::test]
    async fn a_server_starts_when_its_input_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let text = r#"{"inputs": [{"id": "key", "type": "promptString", "description": "The key", "password": true},
            {"id": "region", "type": "pickString", "options": ["eu", {"label": "States", "value": "us"}]}],
            "servers": {"asks": {"command": "x", "args": ["${input:region}"], "env": {"KEY": "${input:key}"}}}}"#;
        std::fs::create_dir(folder.join(".vscode")).unwrap();
        let file = folder.join(".vscode/mcp.json");
        std::fs::write(&file, text).unwrap();
        let state_dir = Some(folder.join("state"));
        let load = LoadOptions { cwd: folder.clone(), config_files: vec![file.clone()], state_dir, ..LoadOptions::default() };
        let (service, control) = service(Selection { load, files: true, ..Selection::default() });
        let _following = service.follow(&control, DemoSlot::default(), no_cache);
        let workspace = control.workspace();
        let states = || -> Vec<(String, InputState)> {
            workspace.state().borrow().inputs.iter().map(|input| (input.id.clone(), input.state)).collect()
        };
        let all = |key, region| vec![("key".to_owned(), key), ("region".to_owned(), region)];
        assert_eq!(states(), all(InputState::Missing, InputState::Missing));
        let give = async |id: &str, value: &str, retention| {
            let value = InputValue(value.to_owned());
            workspace.request(WorkspaceRequest::GiveInput { file: file.clone(), id: id.to_owned(), value, retention }).await
        };
        assert_eq!(give("key", "s3cret-key", InputRetention::Session).await, Ok(WorkspaceReply::Done));
        assert_eq!(states(), all(InputState::Given, InputState::Missing));
        assert!(!service.loaded().servers[0].config_faults.is_empty(), "one value is still missing");
        assert!(give("region", "mars", InputRetention::Session).await.is_err(), "not one of the options");
        assert!(give("other", "x", InputRetention::Session).await.is_err());
        assert_eq!(give("region", "us", InputRetention::Stored).await, Ok(WorkspaceReply::Done));
        let loaded = service.loaded();
        let Transport::Stdio { args, env, .. } = &loaded.servers[0].launch else { panic!() };
        assert_eq!((args[0].expose(), env[0].1.expose(), &loaded.servers[0].config_faults), ("us", "s3cret-key", &vec![]));
        assert!(control.secrets().redactor().redact("s3cret-key") != "s3cret-key", "the value is masked from now on");
        let stored = std::fs::read_to_string(folder.join("state/inputs.json")).unwrap();
        assert!(stored.contains("us") && !stored.contains("s3cret-key"), "{stored}");
        control.shutdown().await;
    }
}
