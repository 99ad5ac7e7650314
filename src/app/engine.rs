//! The engine of a face, with its adapters.

use std::sync::{Arc, atomic::Ordering};

use super::login::credentials;
use crate::{
    auth::Auth,
    cli::{self, Options, print::Io},
    control::{Control, LocalControl},
    demo::Demo,
    domain::{
        call::{Failure, FailureKind},
        event::{Notice, NoticeLevel},
        retention::Retention,
        secret::SecretRegistry,
        trace::{Propagation, TraceParent},
    },
    engine::{
        Adapters,
        ports::{History, SettledCall},
    },
    gateway::http::MetricsText,
    mcp::Connections,
    store::Store,
    telemetry::{
        Log,
        events::{self, EventLog},
        metrics::Metrics,
        otlp::{self, TraceExport},
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
) -> (Arc<LocalControl>, Measures) {
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
    let variable = |name: &str| std::env::var(name).ok();
    let (parent, traces) = (otlp::parent(variable), otlp::read(variable));
    let (metrics, calls) = (Arc::new(Metrics::default()), store.filter(|_| !demo).cloned());
    let mut adapters = Adapters { secrets: known, ..Adapters::new(Arc::new(connections)) };
    adapters.history = Arc::new(Recorded { metrics: metrics.clone(), store: calls.clone() });
    adapters.propagation = Propagation { parent, sampler: traces.as_ref().ok().and_then(|traces| Some(traces.as_ref()?.sampler)) };
    if let Some(store) = store {
        adapters.journal = Arc::new(store.clone());
        // The demo's servers have another folder in each run, so that no catalog would be found again.
        if !demo {
            adapters.catalogs = Arc::new(store.catalogs());
        }
    }
    let engine = LocalControl::with(engine_options(&loaded, demo), retention, adapters);
    engine.secrets().learn(secrets(&loaded));
    if let Ok(Some(traces)) = &traces {
        engine.secrets().learn(traces.headers.iter().map(|(_, value)| value.clone()));
    }
    engine.set_wall_clock(Arc::new(wall_clock));
    (engine, Measures { metrics, traces, parent, store: calls })
}

/// What measures the calls of an engine.
pub struct Measures {
    metrics: Arc<Metrics>,
    traces: Result<Option<otlp::Settings>, otlp::Unusable>,
    parent: Option<TraceParent>,
    store: Option<Store>,
}

/// Records settled calls: counts all of them, and stores them in the history.
struct Recorded {
    metrics: Arc<Metrics>,
    store: Option<Store>,
}

impl History for Recorded {
    fn record(&self, call: SettledCall) {
        self.metrics.record(call.clone());
        if let Some(store) = &self.store {
            store.record(call);
        }
    }
}

/// Returns the wall-clock time in milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the wall clock of the engine")]
pub fn wall_clock() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or_default()
}

/// The parts of the program that follow an engine.
pub struct Followers {
    /// The log lines of its events.
    events: EventLog,
    /// The recorder of its calls.
    recorder: Option<Recorder>,
    /// The export of its traces.
    traces: Option<TraceExport>,
    /// Returns its metrics in the Prometheus text format.
    pub metrics: MetricsText,
}

impl Followers {
    /// Starts the log lines of events, the export of traces if the environment asks for it and, with a store, the recorder.
    pub fn start(engine: &Arc<LocalControl>, log: &Log, store: Option<Store>, measures: Measures) -> Followers {
        log.mask(engine.secrets());
        let Measures { metrics, traces, parent, store: calls } = measures;
        let started = match traces {
            Ok(None) => Ok(None),
            Ok(Some(settings)) => otlp::start(engine, settings, parent).map(Some),
            Err(unusable) => Err(unusable.to_string()),
        };
        let traces = started.unwrap_or_else(|why| {
            tracing::warn!(target: "switchboard::otlp", why, "traces are not exported");
            engine.notice(Notice::new(NoticeLevel::Warn, format!("traces are not exported: {why}")));
            None
        });
        let (state, lost) = (Arc::downgrade(engine), traces.as_ref().map(TraceExport::lost));
        let metrics: MetricsText = Arc::new(move || {
            let Some(engine) = state.upgrade() else { return String::new() };
            let spans = lost.as_ref().map_or(0, |lost| lost.load(Ordering::Relaxed));
            let calls = calls.as_ref().map_or(0, Store::lost_calls);
            metrics.prometheus(&engine.watch().0, (calls, spans))
        });
        Followers { events: events::follow(&**engine), recorder: store.map(|store| Recorder::start(engine, store)), traces, metrics }
    }
}

/// Stops servers, then what follows the engine, then the demo. The order matters: the last events are recorded, and the demo
/// outlives the connections to it. `code` is the exit code of a command, for the log.
pub async fn shutdown(engine: &LocalControl, code: Option<u8>, followers: Followers, demo: Option<Demo>) {
    tracing::info!(target: "switchboard::process", code, "stopping the servers");
    engine.shutdown().await;
    followers.events.finish().await;
    if let Some(traces) = followers.traces {
        traces.finish().await;
    }
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
