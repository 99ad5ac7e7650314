//! The read model: the console state that events are folded into.
//!
//! The engine holds one to hand out as a snapshot. The console and the CLI hold their own, created from a snapshot
//! and updated by later events. All collections are bounded.

mod calls;
mod clients;
mod masked;
pub mod projection;
mod recorded;
pub mod runs;
mod snapshot;
#[cfg(test)]
mod tests;
mod views;

use std::{collections::VecDeque, sync::Arc};

use imbl::{HashMap, Vector};
use serde::{Deserialize, Serialize};

use self::runs::Runs;
pub use self::{
    clients::{ClientView, Clients},
    snapshot::SnapshotPart,
    views::{CallView, ServerView},
};
use crate::domain::{
    ask::Ask,
    bounds,
    directory::{Directory, ServerEntry},
    event::{Event, EventKind, Notice},
    frame::Frame,
    id::{CallId, ClientId, ServerId},
    name_table::NameTable,
    policy::{Rules, cache::CacheView, route::Decision},
    retention::Retention,
    stats::Stats,
    time::{Epoch, Stamp},
};

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
    /// The clients of the gateway.
    pub clients: Clients,
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
    /// Where each server is in `servers`.
    #[serde(skip)]
    positions: HashMap<ServerId, usize>,
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
            names: Arc::new(NameTable::without_names(separator)),
            calls: Vector::new(),
            frames: Vector::new(),
            frame_bytes: 0,
            asks: vec![],
            clients: Clients::default(),
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
            positions: HashMap::new(),
            result_bytes: 0,
            results: Vector::new(),
            frame_weights: Vector::new(),
            failed: Vector::new(),
            failure_bytes: 0,
        }
    }

    /// Returns the server with this id.
    pub fn server(&self, id: &ServerId) -> Option<&ServerView> {
        self.servers.get(*self.positions.get(id)?)
    }

    fn server_mut(&mut self, id: &ServerId) -> Option<&mut ServerView> {
        self.servers.get_mut(*self.positions.get(id)?)
    }

    /// Records where each server is.
    fn index_servers(&mut self) {
        self.positions = self.servers.iter().enumerate().map(|(at, server)| (server.id().clone(), at)).collect();
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
                let known = match self.server_mut(&spec.id) {
                    Some(server) => {
                        server.spec = spec.clone();
                        true
                    }
                    None => {
                        self.positions.insert(spec.id.clone(), self.servers.len());
                        self.servers.push(ServerView::new(spec.clone(), at));
                        false
                    }
                };
                // A server without lists adds no name. With names, its namespace may be one that they imitate.
                if known || !self.names.is_empty() {
                    self.rename();
                }
            }
            EventKind::ServerRemoved { server } => {
                self.servers.retain(|s| s.id() != server);
                self.index_servers();
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
            EventKind::ClientConnected { client, info } => self.clients.connect(*client, info, at),
            EventKind::ClientDisconnected { client } => self.clients.disconnect(*client, at),
            EventKind::ClientSessions { server, sessions } => {
                if let Some(server) = self.server_mut(server) {
                    server.client_sessions = sessions.clone();
                }
            }
            EventKind::Notice { notice } => push_bounded(&mut self.notices, (at, notice.clone()), 200),
        }
    }

    fn rename(&mut self) {
        self.names = Arc::new(self.build_names(&self.separator));
    }
}

impl Directory for ConsoleState {
    fn entries(&self) -> impl Iterator<Item = ServerEntry<'_>> {
        self.servers.iter().map(ServerView::entry)
    }

    fn entry(&self, id: &ServerId) -> Option<ServerEntry<'_>> {
        self.server(id).map(ServerView::entry)
    }

    fn names(&self) -> &NameTable {
        &self.names
    }

    fn rules(&self) -> &Rules {
        &self.rules
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
