//! The workspace: what surrounds the engine on this machine. Owns the configuration in force and its reload, approvals of
//! projects, imports of other clients' configurations, the workflow library and its tests, the argument history, and the
//! recorder of the call history.
//!
//! Implements [`Workspace`], through which faces use it. Created by the composition root.

mod approval;
mod edit;
mod history;
mod home;
mod import;
mod library;
mod library_watcher;
mod live;
mod recorder;
mod selection;
mod welcome;
mod workflow_tests;

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use self::{home::Home, library_watcher::LibraryWatcher, live::Live};
pub use self::{
    live::{DemoSlot, OpenCache},
    recorder::Recorder,
    selection::{Selection, engine_options, secrets},
};
use crate::{
    config::{self, ConfigError, LoadOptions, Loaded},
    control::{LocalControl, PendingWorkspaceReply, Workspace},
    demo::Demo,
    domain::{
        program_session::SessionStart,
        secret::SecretRegistry,
        workflow::library::WorkflowEntry,
        workspace::{ConsoleSettings, WorkspaceError, WorkspaceReply, WorkspaceRequest, WorkspaceState},
    },
    store::Store,
};

/// Requests that wait for the workspace of a running engine.
const WAITING: usize = 64;

/// A request, and where its reply goes.
type Asked = (WorkspaceRequest, oneshot::Sender<Result<WorkspaceReply, WorkspaceError>>);

/// What the errors of a project's file do at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProjectErrors {
    /// The configuration cannot be used.
    Fail,
    /// The project is ignored. It is read again when it changes.
    Ignore,
}

/// The workspace of this process.
pub struct WorkspaceService {
    home: Arc<Home>,
    state: Arc<watch::Sender<WorkspaceState>>,
    /// The requests to the workspace of a running engine.
    live: OnceLock<mpsc::Sender<Asked>>,
}

impl WorkspaceService {
    /// Reads the configuration. Its secrets are added to `secrets`. Fails with all errors.
    pub fn open(selection: Selection, secrets: SecretRegistry, project: ProjectErrors) -> Result<Arc<WorkspaceService>, Vec<ConfigError>> {
        let loaded = selection.read(&secrets).or_else(|errors| {
            if project == ProjectErrors::Fail || selection.load.no_project {
                return Err(errors);
            }
            let without = config::load(&LoadOptions { no_project: true, ..selection.load.clone() }).map_err(|_| errors)?;
            selection.note(&without, &secrets);
            Ok(without)
        })?;
        Ok(WorkspaceService::new(selection, secrets, loaded))
    }

    /// Returns a workspace with this configuration.
    pub fn new(selection: Selection, secrets: SecretRegistry, loaded: Loaded) -> Arc<WorkspaceService> {
        let home = Home::new(selection, secrets, loaded);
        let state = Arc::new(watch::Sender::new(home.state()));
        Arc::new(WorkspaceService { home: Arc::new(home), state, live: OnceLock::new() })
    }

    /// Returns the configuration in force.
    pub fn loaded(&self) -> Arc<Loaded> {
        self.home.loaded()
    }

    /// Returns the settings of the console.
    pub fn settings(&self) -> Arc<ConsoleSettings> {
        self.state.borrow().settings.clone()
    }

    /// Returns what the command line selects.
    pub fn selection(&self) -> &Selection {
        &self.home.selection
    }

    /// Returns the folder of files that are opened in other programs.
    pub fn exports(&self) -> PathBuf {
        let load = &self.home.selection.load;
        load.state_dir.as_ref().map_or_else(|| load.cwd.clone(), |state| state.join("exports"))
    }

    /// Opens the store of this workspace, or returns the open one. Fails with the reason.
    pub fn store(&self) -> Result<Store, String> {
        self.home.store()
    }

    /// Returns messages about databases that were moved aside, because the user may want to recover them. Each is returned
    /// once.
    pub fn set_aside(&self) -> Vec<String> {
        self.home.set_aside()
    }

    /// Lets consoles log in to servers.
    pub fn set_logins(&self, logins: Arc<dyn crate::control::Logins>) {
        let _ = self.home.logins.set(logins);
    }

    /// Sets the session of the engine, which faces show.
    pub fn set_session(&self, session: SessionStart) {
        self.state.send_modify(|state| state.session = Some(session));
    }

    /// Reads the workflow files into the state, for commands that run without an engine.
    pub fn read_library(&self) {
        let library = Arc::new(self.home.library());
        self.state.send_modify(|state| state.library = library);
    }

    /// Follows the workflow files until the returned handle is dropped, for faces that do not follow the configuration. Must be
    /// called within a runtime.
    pub fn follow_library(&self) -> AbortOnDropHandle<()> {
        let (home, state) = (self.home.clone(), self.state.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            if home.selection.demo {
                let library = Arc::new(home.library().planned());
                state.send_modify(|state| state.library = library);
                return;
            }
            let mut watcher = LibraryWatcher::new(home.selection.load.clone(), DemoSlot::default(), Default::default());
            loop {
                if let Some(library) = watcher.reload(&home.loaded()).await {
                    state.send_modify(|state| state.library = Arc::new(library));
                }
                watcher.changed().await;
            }
        }))
    }

    /// Returns the workflows of the library, and notifies of changes. Must be called within a runtime.
    pub fn workflows(&self) -> watch::Receiver<Arc<[WorkflowEntry]>> {
        let mut state = self.state.subscribe();
        let library = state.borrow_and_update().library.clone();
        let (sender, receiver) = watch::channel(Arc::from(library.entries()));
        tokio::spawn(async move {
            let mut last = library;
            loop {
                let changed = tokio::select! {
                    () = sender.closed() => return,
                    changed = state.changed() => changed,
                };
                if changed.is_err() {
                    return;
                }
                let library = state.borrow_and_update().library.clone();
                if !Arc::ptr_eq(&library, &last) {
                    let _ = sender.send(Arc::from(library.entries()));
                    last = library;
                }
            }
        });
        receiver
    }

    /// Puts the configuration in force in an engine, for commands that do not follow its changes. Returns the error if
    /// responses are cached in memory instead of in Redis.
    pub fn start(self: &Arc<Self>, control: &Arc<LocalControl>, demo: Option<&Demo>, open_cache: OpenCache) -> Result<(), String> {
        control.attach(self.clone());
        let loaded = self.loaded();
        let servers = self.home.selection.servers(&loaded, demo);
        live::put_in_force(control, (&loaded, demo.is_some()), None, servers, open_cache)
    }

    /// Puts the configuration in force in an engine, and follows its changes until the returned handle is dropped. Faces
    /// reach the workspace through the control from now on. Must be called within a runtime, once.
    pub fn follow(self: &Arc<Self>, control: &Arc<LocalControl>, demo: DemoSlot, open_cache: OpenCache) -> AbortOnDropHandle<()> {
        let (sender, requests) = mpsc::channel(WAITING);
        let live = Live::new(self.home.clone(), self.state.clone(), control.clone(), demo, open_cache);
        let _ = self.live.set(sender);
        control.attach(self.clone());
        AbortOnDropHandle::new(tokio::spawn(live.run(requests)))
    }
}

impl Workspace for WorkspaceService {
    fn state(&self) -> watch::Receiver<WorkspaceState> {
        self.state.subscribe()
    }

    fn request(&self, request: WorkspaceRequest) -> PendingWorkspaceReply {
        let home = self.home.clone();
        if !request.changes_session() {
            return async move { home.serve(request).await }.boxed();
        }
        let Some(live) = self.live.get() else {
            return std::future::ready(home.offline(&request)).boxed();
        };
        let (reply, answered) = oneshot::channel();
        match live.try_send((request, reply)) {
            Ok(()) => async move { answered.await.unwrap_or(Err(WorkspaceError::Ended)) }.boxed(),
            Err(mpsc::error::TrySendError::Full(_)) => std::future::ready(Err(WorkspaceError::Busy)).boxed(),
            Err(mpsc::error::TrySendError::Closed(_)) => std::future::ready(Err(WorkspaceError::Ended)).boxed(),
        }
    }
}
