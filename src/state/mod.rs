//! The read model: the console state that events are folded into.
//!
//! The engine holds one to hand out as a snapshot. The console and the CLI hold their own, created from a snapshot
//! and updated by later events. All collections are bounded.

mod masked;
pub mod projection;
pub mod runs;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use imbl::Vector;
use serde::{Deserialize, Serialize};

use self::runs::Runs;
pub use self::snapshot::SnapshotPart;
use crate::domain::{
    ask::Ask,
    body::Body,
    bounds,
    call::{CallSpec, Failure, Operation, Outcome, Progress},
    catalog::ServerCatalog,
    directory::{Directory, ServerEntry},
    event::{AnomalyCounts, Event, EventKind, LogMessage, Notice, Settled},
    frame::{Anomaly, Frame},
    id::{CallId, ClientId, ServerId},
    name_table::NameTable,
    policy::{
        Rules,
        breaker::BreakerView,
        cache::CacheView,
        call_event::{CallEvent, CallTrace, Cause},
        fault::Fault,
        route::Decision,
    },
    retention::Retention,
    server::{Phase, ServerSpec, SessionInfo},
    stats::Stats,
    time::{Epoch, Stamp},
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
    fn new(spec: Arc<ServerSpec>, at: Stamp) -> Self {
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

/// The state folded from all events up to a sequence number.
///
/// Serialised without what `snapshot` computes from the rest. [`SnapshotPart`] splits a large state.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct ConsoleState {
    /// Sequence number of the last applied event.
    pub seq: u64,
    /// Converts stamps to wall-clock time.
    pub epoch: Epoch,
    /// The servers in configuration order.
    pub servers: Vec<ServerView>,
    /// Exposed names of all tools.
    #[serde(skip)]
    pub names: Arc<NameTable>,
    /// The last calls, oldest first. Ids ascend.
    pub calls: Vector<CallView>,
    /// The last frames, oldest first.
    pub frames: Vector<Arc<Frame>>,
    /// Memory used by `frames`, in bytes.
    #[serde(skip)]
    pub frame_bytes: usize,
    /// Open questions, oldest first.
    pub asks: Vec<Arc<Ask>>,
    /// The last workflow runs.
    pub runs: Runs,
    /// The last notices.
    pub notices: VecDeque<(Stamp, Arc<Notice>)>,
    /// Number of calls in flight.
    pub running: usize,
    /// Number of settled calls, including dropped ones.
    pub settled_total: u64,
    /// Number of failed calls, including dropped ones.
    pub failed_total: u64,
    /// Statistics of all calls.
    pub stats: Stats,
    /// Rules for tools, groups and routes.
    pub rules: Arc<Rules>,
    /// The response cache.
    pub cache: Arc<CacheView>,
    /// The last routing decisions by a route or group, oldest first.
    pub routed: VecDeque<(Stamp, CallId, Arc<Decision>)>,
    separator: Arc<str>,
    retention: Retention,
    #[serde(skip)]
    result_bytes: usize,
    /// Calls whose results are stored, oldest first, with the sizes of the results. Also names calls that were dropped since.
    #[serde(skip)]
    results: Vector<(CallId, usize)>,
    /// The weights of `frames`.
    #[serde(skip)]
    frame_weights: Vector<usize>,
    /// Calls whose failures are stored in full, oldest first, with the weights of the failures.
    #[serde(skip)]
    failed: Vector<(CallId, usize)>,
    #[serde(skip)]
    failure_bytes: usize,
}

impl ConsoleState {
    /// Creates an empty read model. `separator` joins namespace and tool in exposed names.
    pub fn new(epoch: Epoch, separator: &str, retention: Retention) -> ConsoleState {
        ConsoleState {
            seq: 0,
            epoch,
            servers: vec![],
            names: Arc::default(),
            calls: Vector::new(),
            frames: Vector::new(),
            frame_bytes: 0,
            asks: vec![],
            runs: Runs::default(),
            notices: VecDeque::new(),
            running: 0,
            settled_total: 0,
            failed_total: 0,
            stats: Stats::default(),
            rules: Arc::default(),
            cache: Arc::default(),
            routed: VecDeque::new(),
            separator: separator.into(),
            retention,
            result_bytes: 0,
            results: Vector::new(),
            frame_weights: Vector::new(),
            failed: Vector::new(),
            failure_bytes: 0,
        }
    }

    /// Returns the server with this id.
    pub fn server(&self, id: &ServerId) -> Option<&ServerView> {
        self.servers.iter().find(|s| s.id() == id)
    }

    fn server_mut(&mut self, id: &ServerId) -> Option<&mut ServerView> {
        self.servers.iter_mut().find(|s| s.id() == id)
    }

    /// Returns the call with this id, if it is still retained.
    pub fn call(&self, id: CallId) -> Option<&CallView> {
        self.calls.binary_search_by_key(&id, |c| c.id).ok().and_then(|i| self.calls.get(i))
    }

    fn call_mut(&mut self, id: CallId) -> Option<&mut CallView> {
        self.calls.binary_search_by_key(&id, |c| c.id).ok().and_then(|i| self.calls.get_mut(i))
    }

    /// Returns the retained frames of a call, oldest first.
    pub fn frames_of(&self, call: CallId) -> impl Iterator<Item = &Arc<Frame>> {
        self.frames.iter().filter(move |f| f.call == Some(call))
    }

    /// Returns the existing members of a group.
    pub fn members(&self, group: &ServerId) -> impl Iterator<Item = &ServerView> {
        self.group(group).into_iter().flat_map(|group| group.members.iter()).filter_map(|member| self.server(&member.server))
    }

    /// Applies the next event. Events up to [`ConsoleState::seq`] are already applied and change nothing.
    pub fn apply(&mut self, event: &Event) {
        if event.seq <= self.seq {
            return;
        }
        self.seq = event.seq;
        let at = event.at;
        match &event.kind {
            EventKind::ServerAdded { spec } => {
                match self.server_mut(&spec.id) {
                    Some(server) => server.spec = spec.clone(),
                    None => self.servers.push(ServerView::new(spec.clone(), at)),
                }
                self.rename();
            }
            EventKind::ServerRemoved { server } => {
                self.servers.retain(|s| s.id() != server);
                self.rename();
            }
            EventKind::ServerPhase { server, phase } => {
                if let Some(server) = self.server_mut(server) {
                    server.phase = phase.clone();
                    server.phase_since = at;
                    push_bounded(&mut server.history, (at, phase.clone()), 100);
                }
            }
            EventKind::ServerInfo { server, info } => {
                if let Some(server) = self.server_mut(server) {
                    server.info = Some(info.clone());
                }
            }
            EventKind::ServerListed { server, catalog } => {
                if let Some(server) = self.server_mut(server) {
                    server.catalog = catalog.clone();
                }
                self.rename();
            }
            EventKind::ServerStderr { server, line } => {
                if let Some(server) = self.server_mut(server) {
                    server.stderr_bytes += line.len() + 1;
                    server.stderr.push_back((at, line.clone()));
                    while server.stderr_bytes > server.spec.limits.stderr_bytes {
                        let Some((_, first)) = server.stderr.pop_front() else { break };
                        server.stderr_bytes -= first.len() + 1;
                    }
                }
            }
            EventKind::ServerLog { server, log } => {
                let keep = self.retention.logs;
                if let Some(server) = self.server_mut(server) {
                    retain(&mut server.logs, &mut server.log_bytes, (at, log.clone()), keep, |(_, log)| log.weight());
                }
            }
            EventKind::ServerAnomaly { server, anomaly } => {
                let keep = self.retention.logs;
                if let Some(server) = self.server_mut(server) {
                    *server.anomaly_counts.entry(anomaly.kind).or_default() += 1;
                    retain(&mut server.anomalies, &mut server.anomaly_bytes, (at, anomaly.clone()), keep, |(_, a)| a.weight());
                }
            }
            EventKind::CallQueued { call, spec } => self.queued(*call, spec, at),
            EventKind::CallSent { call, round } => {
                if let Some(call) = self.call_mut(*call) {
                    call.sent.get_or_insert(at);
                    call.round = *round;
                }
            }
            EventKind::CallStage { call, stage } => self.record_event(*call, stage, at),
            EventKind::CallProgress { call, progress } => {
                if let Some(call) = self.call_mut(*call).filter(|c| c.settled.is_none()) {
                    call.progress = Some(progress.clone());
                }
            }
            EventKind::CallSettled { call, settled } => self.settled(*call, settled),
            EventKind::Frame { frame } => {
                let weight = frame.weight(self.frames.back().map(|before| &**before));
                self.frame_bytes += weight;
                self.frame_weights.push_back(weight);
                self.frames.push_back(frame.clone());
                while self.frames.len() > self.retention.frames || self.frame_bytes > self.retention.frame_bytes {
                    let (Some(_), Some(weight)) = (self.frames.pop_front(), self.frame_weights.pop_front()) else { break };
                    self.frame_bytes -= weight;
                }
            }
            EventKind::ResourceSubscribed { server, uri, on } => {
                if let Some(server) = self.server_mut(server) {
                    if *on {
                        server.subscriptions.entry(uri.clone()).or_default();
                    } else {
                        server.subscriptions.remove(uri);
                    }
                }
            }
            EventKind::ResourceUpdated { server, uri } => {
                if let Some((count, last)) = self.server_mut(server).and_then(|s| s.subscriptions.get_mut(uri)) {
                    *count += 1;
                    *last = Some(at);
                }
            }
            // Other clients answer their questions themselves.
            EventKind::AskOpened { ask } if ask.client == ClientId::LOCAL => self.asks.push(ask.clone()),
            EventKind::AskOpened { .. } => {}
            EventKind::AskClosed { ask, .. } => self.asks.retain(|a| a.id != *ask),
            EventKind::RunStarted { .. } | EventKind::RunStep { .. } | EventKind::RunSettled { .. } => self.runs.apply(at, &event.kind),
            EventKind::Breaker { server, tool, view } => {
                if let Some(server) = self.server_mut(server) {
                    match tool {
                        None => server.breaker = view.clone(),
                        Some(tool) => {
                            server.tool_breakers.insert(tool.clone(), view.clone());
                        }
                    }
                }
            }
            EventKind::Rules { rules } => {
                self.rules = rules.clone();
                self.rename();
            }
            EventKind::Cache { view } => self.cache = view.clone(),
            EventKind::FaultSet { server, tool, fault } => {
                if let Some(server) = self.server_mut(server) {
                    match fault {
                        Some(fault) => server.faults.insert(tool.clone(), fault.clone()),
                        None => server.faults.remove(tool),
                    };
                }
            }
            EventKind::Notice { notice } => push_bounded(&mut self.notices, (at, notice.clone()), 200),
        }
    }

    fn queued(&mut self, id: CallId, spec: &Arc<CallSpec>, at: Stamp) {
        self.running += 1;
        self.stats.in_flight += 1;
        if let Some(server) = self.server_mut(spec.operation.server()) {
            server.stats.in_flight += 1;
            if let Operation::Tool { tool, .. } = &spec.operation {
                server.tools.entry(tool.name.clone()).or_default().in_flight += 1;
            }
        }
        self.calls.push_back(CallView {
            id,
            spec: spec.clone(),
            queued: at,
            sent: None,
            round: 0,
            progress: None,
            settled: None,
            result_dropped: false,
            track: None,
        });
        while self.calls.len() > self.retention.calls {
            let Some(first) = self.calls.pop_front() else { break };
            if let Some(result) = first.settled.as_ref().filter(|_| !first.result_dropped).and_then(|s| s.outcome.result()) {
                self.result_bytes -= result.len();
            }
        }
        // Calls settle out of order, so that entries of dropped calls can remain behind one that is retained.
        while self.results.front().is_some_and(|(id, _)| self.calls.front().is_none_or(|first| *id < first.id)) {
            self.results.pop_front();
        }
    }

    fn settled(&mut self, id: CallId, settled: &Arc<Settled>) {
        self.running = self.running.saturating_sub(1);
        self.settled_total += 1;
        self.failed_total += u64::from(matches!(settled.outcome, Outcome::Failed { .. }));
        count(&mut self.stats, settled);
        let Some(call) = self.call_mut(id) else { return };
        call.settled = Some(settled.clone());
        let spec = call.spec.clone();
        let place = call.track.as_ref().and_then(|track| track.place());
        let (at, subject) = place.unwrap_or_else(|| (spec.operation.server().clone(), spec.operation.subject().into()));
        let of_tool = matches!(spec.operation, Operation::Tool { .. });
        let plain = settled.by.is_none() && settled.cached.is_none() && call.track.as_ref().is_none_or(|track| track.plain());
        let track = if plain { call.track.take() } else { call.track.clone() };
        // A call with one attempt counts as it ended. With several, each attempt counts where it was made.
        let attempts: Vec<_> = track.iter().filter(|_| !plain).flat_map(|track| track.ended()).collect();
        if attempts.is_empty() {
            if let Some(server) = self.server_mut(&at) {
                count(&mut server.stats, settled);
                if of_tool {
                    count(server.tools.entry(subject).or_default(), settled);
                }
            }
        } else {
            self.change_in_flight(&at, of_tool.then_some(&*subject), InFlight::Ended);
            for (server, subject, took, failure) in attempts {
                let Some(server) = self.server_mut(server) else { continue };
                count_attempt(&mut server.stats, settled.timings.settled, took, failure);
                if of_tool {
                    count_attempt(server.tools.entry(subject.clone()).or_default(), settled.timings.settled, took, failure);
                }
            }
        }
        if let Some(size) = settled.outcome.result().map(Body::len).filter(|size| *size > 0) {
            self.result_bytes += size;
            self.results.push_back((id, size));
            self.drop_old_results();
        }
        if let Outcome::Failed { failure } = &settled.outcome {
            self.reduce_old_failures(id, failure.weight());
        }
    }

    /// Reduces the oldest failures to kind and beginning of the message while all of them exceed
    /// [`bounds::FAILURES`].
    fn reduce_old_failures(&mut self, newest: CallId, weight: usize) {
        self.failed.push_back((newest, weight));
        self.failure_bytes += weight;
        while self.failure_bytes > bounds::FAILURES && self.failed.len() > 1 {
            let Some((id, weight)) = self.failed.pop_front() else { break };
            self.failure_bytes -= weight;
            let Some(call) = self.call_mut(id) else { continue };
            let Some(settled) = &call.settled else { continue };
            let Outcome::Failed { failure } = &settled.outcome else { continue };
            let outcome = Outcome::Failed { failure: Arc::new(failure.thinned()) };
            call.settled = Some(Arc::new(Settled { outcome, ..Settled::clone(settled) }));
        }
    }

    /// Drops the oldest results while they exceed the limit; never the newest one.
    fn drop_old_results(&mut self) {
        while self.result_bytes > self.retention.result_bytes && self.results.len() > 1 {
            let Some((id, size)) = self.results.pop_front() else { break };
            let Some(call) = self.call_mut(id) else { continue };
            let Some(settled) = &call.settled else { continue };
            let mut emptied = Settled::clone(settled);
            match &mut emptied.outcome {
                Outcome::Ok { result } | Outcome::ToolError { result } | Outcome::Interim { result, .. } => *result = Body::default(),
                _ => {}
            }
            call.settled = Some(Arc::new(emptied));
            call.result_dropped = true;
            self.result_bytes -= size;
        }
    }

    fn rename(&mut self) {
        self.names = Arc::new(self.build_names(&self.separator));
    }

    fn record_event(&mut self, id: CallId, stage: &Arc<CallEvent>, at: Stamp) {
        if let CallEvent::Routed { decision } = &**stage {
            push_bounded(&mut self.routed, (at, id, decision.clone()), 200);
        }
        // A settled call gets no more events, except for a late response.
        let late = matches!(**stage, CallEvent::Late { .. });
        let Some(call) = self.call_mut(id).filter(|call| late || call.settled.is_none()) else { return };
        call.track.get_or_insert_default().push(at, stage);
        let CallEvent::Attempt { server, subject, cause, .. } = &**stage else { return };
        let before = call.server().clone();
        if let Some(track) = &mut call.track {
            track.at = Some(server.clone());
        }
        let (server, subject, spec) = (server.clone(), subject.clone(), call.spec.clone());
        let extra = u64::from(*cause != Cause::First);
        let of_tool = matches!(spec.operation, Operation::Tool { .. });
        if before != server {
            self.change_in_flight(&before, of_tool.then_some(spec.operation.subject()), InFlight::Ended);
            self.change_in_flight(&server, of_tool.then_some(&*subject), InFlight::Started);
        }
        if let Some(view) = self.server_mut(&server) {
            view.stats.extra += extra;
        }
    }

    /// Changes the calls in flight at a server, and at one of its tools.
    fn change_in_flight(&mut self, server: &ServerId, tool: Option<&str>, change: InFlight) {
        let apply = |stats: &mut Stats| match change {
            InFlight::Started => stats.in_flight += 1,
            InFlight::Ended => stats.in_flight = stats.in_flight.saturating_sub(1),
        };
        let Some(view) = self.server_mut(server) else { return };
        apply(&mut view.stats);
        if let Some(tool) = tool {
            apply(view.tools.entry(tool.into()).or_default());
        }
    }
}

impl Directory for ConsoleState {
    fn entries(&self) -> impl Iterator<Item = ServerEntry<'_>> {
        self.servers.iter().map(ServerView::entry)
    }

    fn names(&self) -> &NameTable {
        &self.names
    }

    fn rules(&self) -> &Rules {
        &self.rules
    }
}

/// Whether a call starts or ends at a server.
#[derive(Clone, Copy)]
enum InFlight {
    Started,
    Ended,
}

fn count(stats: &mut Stats, settled: &Settled) {
    stats.in_flight = stats.in_flight.saturating_sub(1);
    stats.settled += 1;
    stats.note_end(settled.timings.settled);
    match &settled.outcome {
        Outcome::Ok { .. } | Outcome::ToolError { .. } | Outcome::Interim { .. } => {
            stats.answered += 1;
            stats.tool_errors += u64::from(matches!(settled.outcome, Outcome::ToolError { .. }));
            if settled.cached.is_some() {
                // A cached response says nothing about the server.
                return;
            }
            stats.record(settled.timings.wire().unwrap_or_else(|| settled.timings.total()));
        }
        Outcome::Failed { failure } => {
            stats.failed += 1;
            stats.note_failure(settled.timings.settled, failure);
            stats.record_failure(settled.timings.total());
        }
        Outcome::Cancelled { .. } => stats.cancelled += 1,
    }
}

/// Counts one attempt of a call with several attempts, or with a response from elsewhere.
fn count_attempt(stats: &mut Stats, at: Stamp, took: Duration, failure: Option<&Arc<Failure>>) {
    stats.settled += 1;
    stats.note_end(at);
    match failure {
        None => {
            stats.answered += 1;
            stats.record(took);
        }
        Some(failure) => {
            stats.failed += 1;
            stats.note_failure(at, failure);
            stats.record_failure(took);
        }
    }
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, keep: usize) {
    if queue.len() >= keep {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// Pushes as [`push_bounded`] does, and drops the oldest while the total weight exceeds [`bounds::LOG_BYTES`].
fn retain<T>(queue: &mut VecDeque<T>, bytes: &mut usize, item: T, keep: usize, weight: impl Fn(&T) -> usize) {
    *bytes += weight(&item);
    queue.push_back(item);
    while queue.len() > keep.max(1) || (*bytes > bounds::LOG_BYTES && queue.len() > 1) {
        let Some(first) = queue.pop_front() else { break };
        *bytes -= weight(&first);
    }
}
