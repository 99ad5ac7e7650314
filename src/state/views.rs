//! The current state of one server and of one call.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::snapshot;
use crate::domain::{
    call::{CallSpec, Progress},
    catalog::ServerCatalog,
    client::ClientSession,
    directory::ServerEntry,
    event::{AnomalyCounts, LogMessage, Settled},
    frame::Anomaly,
    id::{CallId, ServerId},
    policy::{
        breaker::BreakerView,
        call_event::{CallEvent, CallTrace},
        fault::Fault,
    },
    server::{Phase, ServerSpec, SessionInfo},
    stats::Stats,
    time::Stamp,
};

/// The current state of a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerView {
    /// Its configuration.
    pub spec: Arc<ServerSpec>,
    /// The state of its connection.
    pub phase: Arc<Phase>,
    /// When that state began.
    pub phase_since: Stamp,
    /// Its self-description from the last handshake.
    pub info: Option<Arc<SessionInfo>>,
    /// Its lists as last read; retained while it is disconnected.
    pub catalog: Arc<ServerCatalog>,
    /// Statistics of all its calls.
    pub stats: Stats,
    /// Statistics per called tool.
    pub tools: HashMap<Arc<str>, Stats>,
    /// Last lines of stderr, with the time of each.
    pub stderr: VecDeque<(Stamp, Arc<str>)>,
    /// Bytes in `stderr`.
    pub stderr_bytes: usize,
    /// Last log messages.
    pub logs: VecDeque<(Stamp, Arc<LogMessage>)>,
    /// Bytes in `logs`.
    pub log_bytes: usize,
    /// Last protocol violations.
    pub anomalies: VecDeque<(Stamp, Arc<Anomaly>)>,
    /// Bytes in `anomalies`.
    pub anomaly_bytes: usize,
    /// Number of violations per kind.
    pub anomaly_counts: AnomalyCounts,
    /// Last connection states with their start times.
    pub history: VecDeque<(Stamp, Arc<Phase>)>,
    /// The own sessions of clients, in addition to the one that clients share.
    pub client_sessions: Arc<[ClientSession]>,
    /// Subscribed resources: number of changes, and time of the last one.
    pub subscriptions: BTreeMap<String, (u64, Option<Stamp>)>,
    /// The circuit breaker of the server.
    pub breaker: Arc<BreakerView>,
    /// The circuit breakers of tools that have their own.
    pub tool_breakers: BTreeMap<Arc<str>, Arc<BreakerView>>,
    /// Injected faults: of all its tools (`None`) or of one tool.
    #[serde(with = "snapshot::pairs")]
    pub faults: BTreeMap<Option<Arc<str>>, Fault>,
}

impl ServerView {
    pub(super) fn new(spec: Arc<ServerSpec>, at: Stamp) -> Self {
        let phase = Arc::new(Phase::initial(&spec));
        Self {
            spec,
            phase,
            phase_since: at,
            info: None,
            catalog: Arc::default(),
            stats: Stats::default(),
            tools: HashMap::new(),
            stderr: VecDeque::new(),
            stderr_bytes: 0,
            logs: VecDeque::new(),
            log_bytes: 0,
            anomalies: VecDeque::new(),
            anomaly_bytes: 0,
            anomaly_counts: AnomalyCounts::new(),
            history: VecDeque::new(),
            client_sessions: Arc::from([]),
            subscriptions: BTreeMap::new(),
            breaker: Arc::default(),
            tool_breakers: BTreeMap::new(),
            faults: BTreeMap::new(),
        }
    }

    /// Returns the server's id.
    pub fn id(&self) -> &ServerId {
        &self.spec.id
    }

    /// Returns what lookups need to know of the server.
    pub fn entry(&self) -> ServerEntry<'_> {
        ServerEntry { spec: &self.spec, phase: &self.phase, catalog: &self.catalog }
    }

    /// Returns the total number of protocol violations.
    pub fn anomaly_total(&self) -> u64 {
        self.anomaly_counts.values().sum()
    }
}

/// The current state of a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallView {
    /// Its id.
    pub id: CallId,
    /// The requested operation.
    pub spec: Arc<CallSpec>,
    /// Time of the request.
    pub queued: Stamp,
    /// Time when the first request was sent.
    pub sent: Option<Stamp>,
    /// The current round; 0 before the first request was sent.
    pub round: u32,
    /// The last progress.
    pub progress: Option<Progress>,
    /// The outcome.
    pub settled: Option<Arc<Settled>>,
    /// Whether the result was dropped to save memory.
    pub result_dropped: bool,
    /// The trace; `None` if there are no events.
    pub track: Option<Box<CallTrace>>,
}

impl CallView {
    /// Returns the events of the call in order, with their times.
    pub fn stages(&self) -> &[(Stamp, Arc<CallEvent>)] {
        self.track.as_ref().map_or(&[], |track| track.stages.as_slice())
    }

    /// Returns whether the trace adds anything to the times of sending and response. A late response is shown
    /// separately.
    pub fn has_trace(&self) -> bool {
        self.stages().iter().any(|(_, stage)| !matches!(**stage, CallEvent::Late { .. }))
    }

    /// Returns the server that handles the call now, or handled it last.
    pub fn server(&self) -> &ServerId {
        let by = self.settled.as_ref().and_then(|settled| settled.by.as_ref());
        by.or_else(|| self.track.as_ref()?.at.as_ref()).unwrap_or_else(|| self.spec.operation.server())
    }
}
