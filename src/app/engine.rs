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
        program_session::{SessionKind, SessionStart},
        retention::Retention,
        secret::SecretRegistry,
        trace::{Propagation, TraceParent, TraceState},
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
        metrics::{Metrics, Sources, prometheus},
        otlp::{self, MetricsExport, TraceExport},
    },
    workspace::{Recorder, WorkspaceService, engine_options, secrets},
};

/// Returns an engine without servers for a session of this kind, with the configured settings and the stored credentials, or `auth`
/// with its secrets in their place. Must be called within a runtime.
pub fn engine(
    connections: Connections,
    auth: Option<(Auth, SecretRegistry)>,
    workspace: &WorkspaceService,
    retention: Retention,
    store: Option<&Store>,
    kind: SessionKind,
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
    let ((parent, state), traces, exported) = (otlp::parent(variable), otlp::read_traces(variable), otlp::read_metrics(variable));
    let (metrics, calls) = (Arc::new(Metrics::default()), store.filter(|_| !demo).cloned());
    let mut adapters = Adapters { secrets: known, ..Adapters::new(Arc::new(connections)) };
    adapters.history = Arc::new(Recorded { metrics: metrics.clone(), store: calls.clone() });
    let sampler = traces.as_ref().ok().and_then(|traces| Some(traces.as_ref()?.sampler));
    adapters.propagation = Propagation { parent, state: state.clone(), sampler };
    if let Some(store) = store {
        adapters.journal = Arc::new(store.clone());
        // The demo's servers have another folder in each run, so that no catalog would be found again.
        if !demo {
            adapters.catalogs = Arc::new(store.catalogs());
        }
    }
    let engine = LocalControl::with(engine_options(&loaded, demo), retention, adapters);
    engine.secrets().learn(secrets(&loaded));
    let targets = [
        traces.as_ref().ok().and_then(|found| Some(&found.as_ref()?.target)),
        exported.as_ref().ok().and_then(|found| Some(&found.as_ref()?.target)),
    ];
    engine.secrets().learn(targets.into_iter().flatten().flat_map(|target| target.headers.iter().map(|(_, value)| value.clone())));
    engine.set_wall_clock(Arc::new(wall_clock));
    let session = SessionStart { session: engine.engine().instance(), kind, started_ms: wall_clock() };
    // The demo is not recorded, and its console shows no history of the user.
    if let Some(calls) = &calls {
        workspace.set_session(session);
        calls.begin_session(session);
    }
    (engine, Measures { metrics, exported, traces, parent: (parent, state), store: calls })
}

/// What measures the calls of an engine.
pub struct Measures {
    metrics: Arc<Metrics>,
    /// Where the metrics are exported to.
    exported: Result<Option<otlp::MetricSettings>, otlp::Unusable>,
    traces: Result<Option<otlp::TraceSettings>, otlp::Unusable>,
    parent: (Option<TraceParent>, Option<TraceState>),
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

    fn record_lifecycle(&self, request: SettledCall) {
        if let Some(store) = &self.store {
            store.record_lifecycle(request);
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
    /// The export of its metrics.
    exported: Option<MetricsExport>,
    /// Returns its metrics in the Prometheus text format.
    pub metrics: MetricsText,
}

impl Followers {
    /// Starts the log lines of events, the export of traces if the environment asks for it and, with a store, the recorder.
    pub fn start(engine: &Arc<LocalControl>, log: &Log, store: Option<Store>, measures: Measures) -> Followers {
        log.mask(engine.secrets());
        let Measures { metrics, exported, traces, parent, store: calls } = measures;
        let unusable = |signal: &str, why: String| {
            tracing::warn!(target: "switchboard::otlp", why, "{signal} are not exported");
            engine.notice(Notice::new(NoticeLevel::Warn, format!("{signal} are not exported: {why}")));
        };
        let started = traces.map_err(|unusable| unusable.to_string());
        let started = started.and_then(|settings| settings.map(|settings| otlp::start(engine, settings, parent)).transpose());
        let traces = started.unwrap_or_else(|why| {
            unusable("traces", why);
            None
        });
        let (control, lost) = (Arc::downgrade(engine), traces.as_ref().map(TraceExport::lost));
        let source: otlp::Source = Arc::new(move || {
            let Some(control) = control.upgrade() else { return vec![] };
            metrics.collect(&Sources {
                state: &control.watch().0,
                loads: &control.engine().loads(),
                lost_calls: calls.as_ref().map_or(0, Store::lost_calls),
                lost_spans: lost.as_ref().map_or(0, |lost| lost.load(Ordering::Relaxed)),
            })
        });
        let started = exported.map_err(|unusable| unusable.to_string());
        let started =
            started.and_then(|settings| settings.map(|settings| MetricsExport::start(source.clone(), settings, wall_clock)).transpose());
        let exported = started.unwrap_or_else(|why| {
            unusable("metrics", why);
            None
        });
        let metrics: MetricsText = Arc::new(move || prometheus::text(&source()));
        Followers {
            events: events::follow(&**engine),
            recorder: store.map(|store| Recorder::start(engine, store)),
            traces,
            exported,
            metrics,
        }
    }
}

/// Stops servers, then what follows the engine, then the demo. The order matters: the last events are recorded, and the demo
/// outlives the connections to it. `code` is the exit code of a command, for the log.
pub async fn shutdown(engine: &LocalControl, code: Option<u8>, followers: Followers, demo: Option<Demo>) {
    tracing::info!(target: "switchboard::process", code, "stopping the servers");
    engine.shutdown().await;
    followers.events.finish().await;
    let traces = async {
        if let Some(traces) = followers.traces {
            traces.finish().await
        }
    };
    let metrics = async {
        if let Some(exported) = followers.exported {
            exported.finish().await
        }
    };
    tokio::join!(traces, metrics);
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
