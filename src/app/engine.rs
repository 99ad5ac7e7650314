//! The engine of a face, with its adapters.

use std::sync::Arc;

use super::login::credentials;
use crate::{
    auth::Auth,
    cli::{self, Options, print::Io},
    control::LocalControl,
    demo::Demo,
    domain::{
        call::{Failure, FailureKind},
        retention::Retention,
        secret::SecretRegistry,
    },
    engine::Adapters,
    mcp::Connections,
    store::Store,
    telemetry::{
        Log,
        events::{self, EventLog},
    },
    workspace::{Recorder, WorkspaceService, engine_options, secrets},
};

/// Returns an engine without servers, with the configured settings and the stored credentials, or `auth` with its secrets in their
/// place. Must be called within a runtime.
pub fn engine(
    connections: Connections,
    auth: Option<(Auth, SecretRegistry)>,
    workspace: &WorkspaceService,
    retention: Retention,
    store: Option<&Store>,
) -> Arc<LocalControl> {
    let (loaded, demo) = (workspace.loaded(), workspace.selection().demo);
    let (auth, known) = match auth {
        Some((auth, known)) => (Some(auth), known),
        None => {
            let known = SecretRegistry::default();
            (credentials(workspace, &known), known)
        }
    };
    let connections = match auth {
        Some(auth) => connections.with_credentials(Arc::new(auth)),
        None => connections,
    };
    let mut adapters = Adapters { secrets: known, ..Adapters::new(Arc::new(connections)) };
    if let Some(store) = store {
        adapters.journal = Arc::new(store.clone());
        // The demo's servers have another folder in each run, so that no catalog would be found again.
        if !demo {
            adapters.catalogs = Arc::new(store.catalogs());
        }
    }
    let engine = LocalControl::with(engine_options(&loaded, demo), retention, adapters);
    engine.secrets().learn(secrets(&loaded));
    engine.set_wall_clock(Arc::new(wall_clock));
    engine
}

/// Returns the wall-clock time in milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the wall clock of the engine")]
pub fn wall_clock() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or_default()
}

/// The parts of the program that follow an engine.
pub struct Followers {
    /// The log lines of its events.
    pub events: EventLog,
    /// The recorder of its calls.
    pub recorder: Option<Recorder>,
}

impl Followers {
    /// Starts the log lines of events and, with a store, the recorder.
    pub fn start(engine: &Arc<LocalControl>, log: &Log, store: Option<Store>) -> Followers {
        log.mask(engine.secrets());
        Followers { events: events::follow(&**engine), recorder: store.map(|store| Recorder::start(engine, store)) }
    }
}

/// Stops servers, then what follows the engine, then the demo. The order matters: the last events are recorded, and the demo
/// outlives the connections to it. `code` is the exit code of a command, for the log.
pub async fn shutdown(engine: &LocalControl, code: Option<u8>, followers: Followers, demo: Option<Demo>) {
    tracing::info!(target: "switchboard::process", code, "stopping the servers");
    engine.shutdown().await;
    followers.events.finish().await;
    if let Some(recorder) = followers.recorder {
        recorder.finish().await;
    }
    if let Some(demo) = demo {
        demo.stop().await;
    }
    tracing::info!(target: "switchboard::process", "stopped");
}

/// Sets the demo up, if the command line selects it.
pub fn prepare_demo(workspace: &WorkspaceService, options: &Options) -> Result<Option<Demo>, u8> {
    workspace.selection().demo.then(Demo::prepare).transpose().map_err(|error| {
        let failure = Failure::new(FailureKind::NotReady, format!("the demo could not be set up: {error}"));
        cli::fail(failure, options, Io::real())
    })
}
