//! The parts of a workspace that need no running engine: configuration, store, and the requests about them.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;

use super::history;
use super::{
    approval, edit, import,
    library::{DemoWorkflows, read_library, write_workflow},
    selection::Selection,
    welcome, workflow_tests,
};
use crate::{
    config::{self, FoundImport, HistorySettings, Loaded, PendingApproval, ThemeName},
    control::Logins,
    domain::{
        call::{Failure, FailureKind},
        history::HistoryQuery,
        journal::{CallRecord, RunRecord},
        masked,
        run::RunId,
        secret::SecretRegistry,
        server::ServerSpec,
        workflow::library::WorkflowLibrary,
        workspace::{
            ApprovalPrompt, ConsoleSettings, Identity, RunListed, RunState, ServerSource, ThemeSetting, WelcomeState, WorkspaceError,
            WorkspaceReply, WorkspaceRequest, WorkspaceState,
        },
    },
    files::{self, Allowed},
    store::{HistoryLimits, Store, StoreError, StoreOptions},
};

/// Returns the error of a login.
fn failed(why: String) -> WorkspaceError {
    WorkspaceError::Failed(Box::new(Failure::new(FailureKind::NotReady, why)))
}

/// Largest theme file, in bytes.
const LARGEST_THEME: u64 = 1 << 20;

/// Configuration, store and secrets of a workspace.
pub struct Home {
    pub selection: Selection,
    pub secrets: SecretRegistry,
    /// The logins of servers, for consoles.
    pub logins: OnceLock<Arc<dyn Logins>>,
    loaded: Mutex<Arc<Loaded>>,
    store: Mutex<Option<Store>>,
    /// The configurations of other clients that were offered last.
    pub found: Mutex<Vec<FoundImport>>,
    /// The servers that were started, and whether the demo is among them.
    pub active: Mutex<(Vec<ServerSpec>, bool)>,
}

impl Home {
    pub fn new(selection: Selection, secrets: SecretRegistry, loaded: Loaded) -> Home {
        Home {
            selection,
            secrets,
            loaded: Mutex::new(Arc::new(loaded)),
            store: Mutex::default(),
            found: Mutex::default(),
            active: Mutex::default(),
            logins: OnceLock::new(),
        }
    }

    /// Returns the configuration in force.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.loaded.lock().clone()
    }

    /// Replaces the configuration in force.
    pub fn replace(&self, loaded: Loaded) {
        *self.loaded.lock() = Arc::new(loaded);
    }

    /// Returns the state before anything runs. The workflow library is read later.
    pub fn state(&self) -> WorkspaceState {
        let loaded = self.loaded();
        let source = match () {
            () if !self.selection.files => ServerSource::CommandLine,
            () if loaded.servers.is_empty() && !self.selection.demo => ServerSource::NoneConfigured,
            () => ServerSource::Configuration,
        };
        let title = if self.selection.demo { "demo".into() } else { self.title(&loaded, self.selection.load.extra.first()) };
        WorkspaceState {
            identity: Arc::new(Identity {
                title,
                invocation: self.selection.invocation(),
                source,
                environments: loaded.environments.clone(),
            }),
            settings: Arc::new(console_settings(&loaded)),
            approval: loaded.pending.as_ref().map(|pending| Arc::new(prompt(pending))),
            inputs: Arc::new(loaded.inputs.clone()),
            ..WorkspaceState::default()
        }
    }

    /// Returns the title of the workspace: the name of the only server, else the configuration file.
    pub fn title(&self, loaded: &Loaded, only: Option<&ServerSpec>) -> String {
        let state_dir = &self.selection.load.state_dir;
        let own = |file: &&PathBuf| state_dir.as_ref().is_none_or(|state| !file.starts_with(state)) && file.exists();
        let file = loaded.files.iter().find(own).and_then(|f| f.file_name()).map(|f| f.to_string_lossy().into_owned());
        only.map(|spec| spec.id.to_string()).or(file).unwrap_or_else(|| "no configuration".into())
    }

    /// Returns the folder of what is remembered; `None` for the demo, whose calls are not stored.
    pub fn memory(&self) -> Option<&Path> {
        self.selection.load.state_dir.as_deref().filter(|_| !self.selection.demo)
    }

    /// Opens the store in the state folder, or returns the open one. Fails with the reason.
    ///
    /// Calls of the demo are not stored in the history and do not replace stored ones; its runs are written to the journal.
    pub fn store(&self) -> Result<Store, String> {
        let mut store = self.store.lock();
        if let Some(store) = &*store {
            return Ok(store.clone());
        }
        let opened = self.open_store();
        match &opened {
            Ok(open) => *store = Some(open.clone()),
            Err(why) => tracing::warn!(target: "switchboard::store", why, "the store cannot be opened"),
        }
        opened
    }

    fn open_store(&self) -> Result<Store, String> {
        let Some(state_dir) = &self.selection.load.state_dir else { return Err("state folder unknown: set HOME or XDG_STATE_HOME".into()) };
        let loaded = self.loaded();
        let path = match &loaded.settings.store {
            Some(path) => path.clone(),
            None => config::store_file(state_dir).map_err(|error| format!("{}: {error}", state_dir.display()))?,
        };
        let HistorySettings { calls, days, megabytes } = loaded.settings.history;
        let limits = HistoryLimits { calls, age_ms: u64::from(days) * 24 * 3_600_000, bytes: u64::from(megabytes) * 1_000_000 };
        let history = (!self.selection.demo && calls > 0).then_some(limits);
        let opened = Store::open_with(&path, StoreOptions { history, flush: loaded.settings.journal_flush });
        opened.map_err(|error| error.to_string())
    }

    /// Returns messages about databases that were moved aside.
    pub fn set_aside(&self) -> Vec<String> {
        let moved = self.store.lock().as_ref().map(Store::take_set_aside).unwrap_or_default();
        moved.iter().for_each(|moved| tracing::warn!(target: "switchboard::store", "{moved}"));
        moved.iter().map(ToString::to_string).collect()
    }

    /// Reads the workflow files of a command that runs without an engine.
    pub fn library(&self) -> WorkflowLibrary {
        let demo = if self.selection.demo { DemoWorkflows::InMemory } else { DemoWorkflows::Absent };
        read_library(&self.selection.load, &self.loaded(), demo).0
    }

    /// Carries out a request that changes nothing in a running engine.
    pub async fn serve(self: Arc<Self>, request: WorkspaceRequest) -> Result<WorkspaceReply, WorkspaceError> {
        match request {
            WorkspaceRequest::FindServers => self.find_servers().await.map(WorkspaceReply::Welcome),
            WorkspaceRequest::Recall => Ok(WorkspaceReply::Recall(self.memory().map(config::load_recall).unwrap_or_default())),
            WorkspaceRequest::Layout => Ok(WorkspaceReply::Layout(self.memory().map(config::load_layout).unwrap_or_default())),
            WorkspaceRequest::Import { files, project, into_file, secrets } => {
                import::plan(&self.selection.load, &files, project, into_file, secrets).map(|plan| WorkspaceReply::Import(Box::new(plan)))
            }
            WorkspaceRequest::WriteImport { files, project, secrets } => {
                import::write(&self.selection.load, &files, project, secrets).map(WorkspaceReply::Written)
            }
            WorkspaceRequest::Login { server, scopes } => {
                let active = self.active.lock().0.iter().find(|spec| spec.id == server).cloned();
                let configured = || self.selection.servers(&self.loaded(), None).into_iter().find(|spec| spec.id == server);
                let spec = active.or_else(configured);
                let (Some(spec), Some(logins)) = (spec, self.logins.get()) else { return Err(WorkspaceError::Unavailable) };
                logins.start(&spec, &scopes).await.map(WorkspaceReply::Login).map_err(failed)
            }
            WorkspaceRequest::LoginEnd { server } => {
                let Some(logins) = self.logins.get() else { return Err(WorkspaceError::Unavailable) };
                Ok(WorkspaceReply::LoginEnded(logins.ended(&server).await))
            }
            WorkspaceRequest::FinishLogin { server, address } => {
                let Some(logins) = self.logins.get() else { return Err(WorkspaceError::Unavailable) };
                let finished = logins.finish(&server, &address.0).await;
                finished.map(|()| WorkspaceReply::Done).map_err(failed)
            }
            WorkspaceRequest::Calls { last, ids } => self.calls(last, ids).await.map(WorkspaceReply::Calls),
            WorkspaceRequest::History { filter, within, before, limit } => {
                let since_ms = within.map(|within| history::now_ms().saturating_sub(history::ms(within)));
                let query = HistoryQuery { filter, since_ms, until_ms: None, before, limit };
                history::page(&self, query).await.map(WorkspaceReply::History)
            }
            WorkspaceRequest::Sessions { last } => history::sessions(&self, last).await.map(WorkspaceReply::Sessions),
            WorkspaceRequest::HistoryStats { last, by, compare } => {
                history::stats(&self, last, by, compare).await.map(|stats| WorkspaceReply::HistoryStats(Box::new(stats)))
            }
            WorkspaceRequest::PruneHistory { older_than } => history::prune(&self, older_than).await.map(WorkspaceReply::Deleted),
            WorkspaceRequest::Drift { server, baseline } => history::drift(&self, server, baseline).await.map(WorkspaceReply::Drift),
            WorkspaceRequest::Definitions { server } => history::current(&self, server).await.map(WorkspaceReply::Definitions),
            WorkspaceRequest::AcceptDefinitions { server, name } => {
                history::accept(&self, &server, name.as_deref()).await.map(WorkspaceReply::Accepted)
            }
            WorkspaceRequest::Runs { last, workflow } => self.runs(last, workflow).await.map(WorkspaceReply::Runs),
            WorkspaceRequest::Run(part) => self.run_with_state(&part).await,
            WorkspaceRequest::Test { files } => workflow_tests::test(&self, &files).await.map(WorkspaceReply::Tested),
            WorkspaceRequest::TestFromRun { run, case, write } => {
                workflow_tests::test_from_run(&self, &run, case.as_deref(), write).await.map(WorkspaceReply::TestMade)
            }
            other => self.offline(&other),
        }
    }

    /// Carries out a request that changes files, without a running engine.
    pub fn offline(&self, request: &WorkspaceRequest) -> Result<WorkspaceReply, WorkspaceError> {
        match request {
            WorkspaceRequest::Approve(hash) => approval::approve(&self.selection.load, hash).map(|_| WorkspaceReply::Done),
            WorkspaceRequest::SaveWorkflow { name, text, place } => {
                let library = self.library();
                let folder = library.folder_at(*place).cloned().ok_or_else(|| WorkspaceError::NotWritten {
                    why: "the workflow folder is unknown; print the workflow with --print".into(),
                })?;
                let written = write_workflow(&self.selection.load, &self.loaded(), &folder, name, text);
                written.map(WorkspaceReply::Written).map_err(|why| WorkspaceError::NotWritten { why })
            }
            WorkspaceRequest::SaveLayout(layout) => {
                let kept = self.memory().map_or(Ok(()), |state_dir| config::save_layout(state_dir, layout));
                let not_written = |error: std::io::Error| WorkspaceError::NotWritten { why: format!("the layout was not stored: {error}") };
                kept.map(|()| WorkspaceReply::Done).map_err(not_written)
            }
            WorkspaceRequest::EditServer { server, edit } => edit::edit_server(&self.loaded(), server, edit).map(WorkspaceReply::Written),
            _ => Err(WorkspaceError::Unavailable),
        }
    }

    /// Searches this machine for configurations of other clients. May read many files.
    async fn find_servers(self: &Arc<Self>) -> Result<WelcomeState, WorkspaceError> {
        let home = self.clone();
        let search = move || {
            let (found, mut offer) = welcome::offer(&home.selection.load);
            let active = home.active.lock();
            welcome::mark(&mut offer, &found, &active.0);
            offer.demo = active.1;
            drop(active);
            *home.found.lock() = found;
            offer
        };
        tokio::task::spawn_blocking(search).await.map_err(|_| WorkspaceError::Ended)
    }

    /// Returns recorded calls, oldest first. The history stores calls without secrets; calls of older versions, and values
    /// that became secret later, are masked here.
    async fn calls(&self, last: usize, ids: Vec<u64>) -> Result<Vec<CallRecord>, WorkspaceError> {
        let unreadable = |why: String| WorkspaceError::invalid(format!("the history cannot be read: {why}"));
        let store = self.store().map_err(unreadable)?;
        let mut records = store.calls(last, ids).await.map_err(|error| unreadable(error.to_string()))?;
        let redactor = self.secrets.redactor();
        records.iter_mut().for_each(|record| masked::record(&redactor, record));
        Ok(records)
    }

    /// Returns the last runs with their states, newest first.
    async fn runs(&self, last: usize, workflow: Option<String>) -> Result<Vec<RunListed>, WorkspaceError> {
        let unreadable = |why: String| WorkspaceError::invalid(format!("the journal cannot be read: {why}"));
        let store = self.store().map_err(unreadable)?;
        let mut listed = vec![];
        for header in store.runs(last, workflow).await.map_err(|error| unreadable(error.to_string()))? {
            let state = match header.outcome {
                Some(_) => RunState::Ended,
                None => unfinished(&store, header.run).await.map_err(unreadable)?,
            };
            listed.push(RunListed { header, state });
        }
        Ok(listed)
    }

    /// Reads a run from the journal, and its state.
    async fn run_with_state(&self, part: &str) -> Result<WorkspaceReply, WorkspaceError> {
        let unreadable = |why: String| WorkspaceError::invalid(format!("the journal cannot be read: {why}"));
        let record = self.run(part).await?;
        let store = self.store().map_err(unreadable)?;
        let state = match record.report() {
            Some(_) => RunState::Ended,
            None => unfinished(&store, record.run).await.map_err(unreadable)?,
        };
        Ok(WorkspaceReply::Run { record: Box::new(record), state })
    }

    /// Reads a run from the journal by its id or a part of the id.
    pub async fn run(&self, part: &str) -> Result<RunRecord, WorkspaceError> {
        let unreadable = |why: String| WorkspaceError::invalid(format!("the journal cannot be read: {why}"));
        let failed = |error: StoreError| unreadable(error.to_string());
        let store = self.store().map_err(unreadable)?;
        let run = match part.parse::<RunId>() {
            Ok(run) => Some(run),
            Err(_) => store.find_run(part).await.map_err(failed)?,
        };
        let record = match run {
            Some(run) => store.run(run).await.map_err(failed)?,
            None => None,
        };
        record.ok_or_else(|| {
            WorkspaceError::invalid(format!("no run, or more than one, matches {part:?}; give the id of a run that `runs` lists"))
        })
    }
}

/// Returns the state of a run that has not ended.
async fn unfinished(store: &Store, run: RunId) -> Result<RunState, String> {
    // A process holds the lock as long as it executes the run.
    let locked = store.is_locked(run).await.map_err(|error| error.to_string())?;
    let record = store.run(run).await.map_err(|error| error.to_string())?;
    Ok(match locked {
        true => RunState::Active,
        false if record.as_ref().is_some_and(|record| record.report().is_some()) => RunState::Ended,
        false if record.is_some_and(|record| !record.questions().is_empty()) => RunState::Waiting,
        false => RunState::Interrupted,
    })
}

/// Returns the approval prompt of a project.
pub fn prompt(pending: &PendingApproval) -> ApprovalPrompt {
    ApprovalPrompt { path: pending.file.display().to_string(), lines: pending.lines.clone(), hash: pending.hash.clone() }
}

/// Returns the settings of the console.
pub fn console_settings(loaded: &Loaded) -> ConsoleSettings {
    let settings = &loaded.settings;
    let theme = match &settings.console.theme {
        ThemeName::Ansi => ThemeSetting::Ansi,
        ThemeName::Mono => ThemeSetting::Mono,
        ThemeName::Dark => ThemeSetting::Dark,
        ThemeName::Light => ThemeSetting::Light,
        ThemeName::Contrast => ThemeSetting::Contrast,
        ThemeName::File(path) => ThemeSetting::File { path: path.clone(), text: theme_text(path, loaded.theme.as_ref()) },
    };
    ConsoleSettings { theme, keys: settings.keys.clone(), confirm: settings.console.confirm, mouse: settings.console.mouse }
}

/// Returns the text of a theme file, or why it could not be read.
fn theme_text(path: &Path, read: Option<&String>) -> Result<String, String> {
    match read {
        Some(text) => Ok(text.clone()),
        None => {
            let allowed = Allowed { bytes: LARGEST_THEME, within: None };
            Err(files::read_text(path, allowed).err().map_or_else(|| "was not there".to_owned(), |why| why.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LoadOptions;

    #[tokio::test]
    async fn the_demo_leaves_the_history_of_the_user_alone() {
        use crate::domain::{
            call::{CallSpec, Origin},
            id::{CallId, ToolId},
            test_entries,
        };
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("project")).unwrap();
        let of = |demo: bool| {
            let load = LoadOptions { cwd: dir.path().join("project"), state_dir: Some(dir.path().join("state")), ..LoadOptions::default() };
            Home::new(Selection { load, demo, ..Selection::default() }, SecretRegistry::default(), Loaded::default()).store().unwrap()
        };
        let spec = CallSpec::tool(ToolId::new("db".into(), "query"), "{}", Origin::Console);
        let record = test_entries::call_record(CallId(7), 1, spec, "db_query");
        let users = of(false);
        assert!(users.note_call(record.clone(), SecretRegistry::default()));
        users.flush().await.unwrap();
        let demo = of(true);
        // Any write before it used to have this effect.
        demo.flush().await.unwrap();
        assert_eq!(users.calls(10, vec![]).await.unwrap(), [record]);
    }
}
