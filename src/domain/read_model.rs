//! The state that events add up to.
//!
//! The engine keeps one to hand out as a snapshot; each face keeps its own, made from a snapshot and
//! brought up to date by the events after it. Bounded everywhere.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    ask::Ask,
    body::Body,
    bounds,
    call::{CallSpec, Failure, Operation, Outcome, Progress},
    catalog::{NameTable, ServerCatalog, Tool},
    event::{AnomalyCounts, Event, EventKind, LogMessage, Notice, Settled},
    frame::{Anomaly, Frame},
    id::{CallId, ServerId, ToolId},
    policy::{
        Rules,
        breaker::BreakerView,
        cache::CacheView,
        call_event::{CallEvent, CallTrace, Cause},
        fault::Fault,
        route::{Decision, Group},
    },
    read_model_runs::Runs,
    server::{Phase, ServerSpec, SessionInfo, Step},
    stats::Stats,
    time::{Epoch, Stamp},
};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Calls.
    pub calls: usize,
    /// Bytes of results among them; older results are dropped, their calls stay.
    pub result_bytes: usize,
    /// Frames.
    pub frames: usize,
    /// Bytes of frames: bodies, headers, ids and what the program adds to each.
    pub frame_bytes: usize,
    /// Log messages and anomalies of each server; of each at most [`bounds::LOG_BYTES`].
    pub logs: usize,
}

impl Retention {
    /// No more of anything than `other`.
    pub fn at_most(&self, other: &Retention) -> Retention {
        Retention {
            calls: self.calls.min(other.calls),
            result_bytes: self.result_bytes.min(other.result_bytes),
            frames: self.frames.min(other.frames),
            frame_bytes: self.frame_bytes.min(other.frame_bytes),
            logs: self.logs.min(other.logs),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { calls: 10_000, result_bytes: 64 << 20, frames: 20_000, frame_bytes: 16 << 20, logs: 500 }
    }
}

/// One server as it stands.
#[derive(Clone, Debug)]
pub struct ServerView {
    /// Its configuration.
    pub spec: Arc<ServerSpec>,
    /// The state of its connection.
    pub phase: Arc<Phase>,
    /// When that state began.
    pub phase_since: Stamp,
    /// What it said of itself, the last time it was connected.
    pub info: Option<Arc<SessionInfo>>,
    /// Its lists, the last ones read; kept while it is away.
    pub catalog: Arc<ServerCatalog>,
    /// The figures of all its calls.
    pub stats: Stats,
    /// The figures of each tool that was called.
    pub tools: HashMap<Arc<str>, Stats>,
    /// The last lines of stderr.
    pub stderr: VecDeque<Arc<str>>,
    /// Bytes in `stderr`.
    pub stderr_bytes: usize,
    /// The last log messages.
    pub logs: VecDeque<(Stamp, Arc<LogMessage>)>,
    /// Bytes in `logs`.
    pub log_bytes: usize,
    /// The last protocol faults.
    pub anomalies: VecDeque<(Stamp, Arc<Anomaly>)>,
    /// Bytes in `anomalies`.
    pub anomaly_bytes: usize,
    /// How often each kind of protocol fault happened.
    pub anomaly_counts: AnomalyCounts,
    /// The last states, with when they began.
    pub history: VecDeque<(Stamp, Arc<Phase>)>,
    /// Resources that it tells about: how often each changed, and when last.
    pub subscriptions: BTreeMap<String, (u64, Option<Stamp>)>,
    /// Its circuit breaker.
    pub breaker: Arc<BreakerView>,
    /// The breakers of those of its tools that have one.
    pub tool_breakers: BTreeMap<Arc<str>, Arc<BreakerView>>,
    /// Faults made on purpose, of all its tools (`None`) or of one.
    pub faults: BTreeMap<Option<Arc<str>>, Fault>,
}

impl ServerView {
    fn new(spec: Arc<ServerSpec>, at: Stamp) -> Self {
        let phase = Arc::new(if spec.disabled { Phase::Disabled } else { Phase::Starting { step: Step::Spawn } });
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

    /// The server's id.
    pub fn id(&self) -> &ServerId {
        &self.spec.id
    }

    /// Why it cannot take a call of `tool` now, for people, as far as its connection and its lists tell.
    pub fn unfit(&self, tool: Option<&str>) -> Option<String> {
        let lacks = |tool: &str| self.catalog.revision > 0 && self.catalog.tool(tool).is_none();
        match &*self.phase {
            Phase::Failed { why } => Some(format!("has failed: {}", why.summary)),
            phase if !phase.usable() => Some(format!("is {}", phase.word())),
            _ if tool.is_some_and(lacks) => Some("does not offer the tool".to_owned()),
            _ => None,
        }
    }

    /// All protocol faults together.
    pub fn anomaly_total(&self) -> u64 {
        self.anomaly_counts.values().sum()
    }
}

/// One call as it stands.
#[derive(Clone, Debug)]
pub struct CallView {
    /// Its id.
    pub id: CallId,
    /// What was asked.
    pub spec: Arc<CallSpec>,
    /// When it was asked.
    pub queued: Stamp,
    /// When the first request was sent.
    pub sent: Option<Stamp>,
    /// The round under way, 0 before the first was sent.
    pub round: u32,
    /// The last progress.
    pub progress: Option<Progress>,
    /// Its end.
    pub settled: Option<Arc<Settled>>,
    /// Whether the result was dropped to save memory.
    pub result_dropped: bool,
    /// What happened on the way; `None` when there is nothing to tell.
    pub track: Option<Box<CallTrace>>,
}

impl CallView {
    /// The stages of the call in order, with when each began.
    pub fn stages(&self) -> &[(Stamp, Arc<CallEvent>)] {
        self.track.as_ref().map_or(&[], |track| track.stages.as_slice())
    }

    /// Whether its stages say more than when it was sent and answered. That an answer came too late is told beside that.
    pub fn storied(&self) -> bool {
        self.stages().iter().any(|(_, stage)| !matches!(**stage, CallEvent::Late { .. }))
    }

    /// The server that has the call now, or had it last.
    pub fn server(&self) -> &ServerId {
        let by = self.settled.as_ref().and_then(|settled| settled.by.as_ref());
        by.or_else(|| self.track.as_ref()?.at.as_ref()).unwrap_or_else(|| self.spec.operation.server())
    }
}

/// Everything that is known, up to an event.
#[derive(Clone, Debug)]
pub struct ConsoleState {
    /// Number of the last event taken in.
    pub seq: u64,
    /// Turns stamps into wall-clock time.
    pub epoch: Epoch,
    /// The servers in the order of the configuration.
    pub servers: Vec<ServerView>,
    /// Exposed names of all tools.
    pub names: Arc<NameTable>,
    /// The last calls, oldest first. Ids ascend.
    pub calls: VecDeque<CallView>,
    /// The last frames, oldest first.
    pub frames: VecDeque<Arc<Frame>>,
    /// Bytes of memory that `frames` take.
    pub frame_bytes: usize,
    /// Open questions, oldest first.
    pub asks: Vec<Arc<Ask>>,
    /// The last runs of workflows.
    pub runs: Runs,
    /// The last notices.
    pub notices: VecDeque<(Stamp, Arc<Notice>)>,
    /// Calls under way.
    pub running: usize,
    /// Calls that ended, dropped ones included.
    pub settled_total: u64,
    /// Calls that failed, dropped ones included.
    pub failed_total: u64,
    /// The figures of all calls together.
    pub stats: Stats,
    /// Rules for tools, groups and routes.
    pub rules: Arc<Rules>,
    /// The store of answers.
    pub cache: Arc<CacheView>,
    /// Where the last calls went that a route or a group decided about, oldest first.
    pub routed: VecDeque<(Stamp, CallId, Arc<Decision>)>,
    separator: Arc<str>,
    retention: Retention,
    result_bytes: usize,
    /// The weights of `frames`.
    frame_weights: VecDeque<usize>,
    /// Calls whose failures are stored in full, oldest first, with the weights of these.
    failed: VecDeque<(CallId, usize)>,
    failure_bytes: usize,
}

impl ConsoleState {
    /// An empty read model. `separator` stands between namespace and tool in exposed names.
    pub fn new(epoch: Epoch, separator: &str, retention: Retention) -> ConsoleState {
        ConsoleState {
            seq: 0,
            epoch,
            servers: vec![],
            names: Arc::default(),
            calls: VecDeque::new(),
            frames: VecDeque::new(),
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
            frame_weights: VecDeque::new(),
            failed: VecDeque::new(),
            failure_bytes: 0,
        }
    }

    /// The server of this id.
    pub fn server(&self, id: &ServerId) -> Option<&ServerView> {
        self.servers.iter().find(|s| s.id() == id)
    }

    fn server_mut(&mut self, id: &ServerId) -> Option<&mut ServerView> {
        self.servers.iter_mut().find(|s| s.id() == id)
    }

    /// The call of this id, if it is still kept.
    pub fn call(&self, id: CallId) -> Option<&CallView> {
        self.calls.binary_search_by_key(&id, |c| c.id).ok().and_then(|i| self.calls.get(i))
    }

    fn call_mut(&mut self, id: CallId) -> Option<&mut CallView> {
        self.calls.binary_search_by_key(&id, |c| c.id).ok().and_then(|i| self.calls.get_mut(i))
    }

    /// The frames of a call that are still kept, oldest first.
    pub fn frames_of(&self, call: CallId) -> impl Iterator<Item = &Arc<Frame>> {
        self.frames.iter().filter(move |f| f.call == Some(call))
    }

    /// The tool of this id, as its server listed it.
    ///
    /// The server may be a group: then it is the tool of its first member that offers it.
    pub fn tool(&self, id: &ToolId) -> Option<&Arc<Tool>> {
        match self.server(&id.server) {
            Some(server) => server.catalog.tool(&id.name),
            None => self.members(&id.server).find_map(|member| member.catalog.tool(&id.name)),
        }
    }

    /// The group of this id.
    pub fn group(&self, id: &ServerId) -> Option<&Group> {
        self.rules.routing.groups.iter().find(|group| group.id == *id)
    }

    /// The members of a group that there are.
    pub fn members(&self, group: &ServerId) -> impl Iterator<Item = &ServerView> {
        self.group(group).into_iter().flat_map(|group| group.members.iter()).filter_map(|member| self.server(&member.server))
    }

    /// The tools of a group in the order in which its members list them: each with the members that offer it, and
    /// whether their schemas differ.
    pub fn group_tools(&self, group: &ServerId) -> Vec<(Arc<Tool>, Vec<ServerId>, bool)> {
        let mut tools: Vec<(Arc<Tool>, Vec<ServerId>, bool)> = vec![];
        for member in self.members(group) {
            for tool in &member.catalog.tools {
                match tools.iter_mut().find(|(known, ..)| known.name == tool.name) {
                    Some((known, members, differ)) => {
                        *differ |= known.input_schema != tool.input_schema || known.output_schema != tool.output_schema;
                        members.push(member.id().clone());
                    }
                    None => tools.push((tool.clone(), vec![member.id().clone()], false)),
                }
            }
        }
        tools
    }

    /// The tool behind an exposed name.
    pub fn find_tool(&self, exposed: &str) -> Option<(&ToolId, &Arc<Tool>)> {
        let id = self.names.tool(exposed)?;
        Some((id, self.tool(id)?))
    }

    /// What a call is called for people: the tool's exposed name, or what is read or asked.
    pub fn call_name(&self, operation: &Operation) -> String {
        match operation {
            Operation::Tool { tool, .. } => {
                self.names.exposed(tool).map_or_else(|| format!("{}/{}", tool.server, tool.name), |n| n.to_string())
            }
            other => other.subject().to_owned(),
        }
    }

    /// Takes in the next event. Events at or below [`ConsoleState::seq`] are already in and change nothing.
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
                    server.stderr.push_back(line.clone());
                    while server.stderr_bytes > server.spec.limits.stderr_bytes {
                        let Some(first) = server.stderr.pop_front() else { break };
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
            EventKind::CallStage { call, stage } => self.staged(*call, stage, at),
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
            EventKind::AskOpened { ask } => self.asks.push(ask.clone()),
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
        // A call of one attempt counts as it ended; of others each attempt counts where it was made, and for what it was.
        let attempts: Vec<_> = track.iter().filter(|_| !plain).flat_map(|track| track.ended()).collect();
        if attempts.is_empty() {
            if let Some(server) = self.server_mut(&at) {
                count(&mut server.stats, settled);
                if of_tool {
                    count(server.tools.entry(subject).or_default(), settled);
                }
            }
        } else {
            self.shift_in_flight(&at, &subject, of_tool, false);
            for (server, subject, how, took, failure) in attempts {
                let Some(server) = self.server_mut(server) else { continue };
                let message = how.split_once(": ").map_or(how, |(_, message)| message);
                let failure = failure.map(|kind| Arc::new(Failure::new(kind, message)));
                count_attempt(&mut server.stats, settled.timings.settled, took, failure.as_ref());
                if of_tool {
                    count_attempt(server.tools.entry(subject.clone()).or_default(), settled.timings.settled, took, failure.as_ref());
                }
            }
        }
        self.result_bytes += settled.outcome.result().map_or(0, Body::len);
        self.drop_old_results(id);
        if let Outcome::Failed { failure } = &settled.outcome {
            self.thin_old_failures(id, failure.weight());
        }
    }

    /// Reduces the oldest failures to kind and front of the message while all of them take more than [`bounds::FAILURES`].
    fn thin_old_failures(&mut self, newest: CallId, weight: usize) {
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

    /// Lets go of the oldest results while they take more room than allowed; never of `newest`.
    fn drop_old_results(&mut self, newest: CallId) {
        if self.result_bytes <= self.retention.result_bytes {
            return;
        }
        for call in self.calls.iter_mut().filter(|c| !c.result_dropped && c.id != newest) {
            if self.result_bytes <= self.retention.result_bytes {
                break;
            }
            let Some(settled) = &call.settled else { continue };
            let Some(size) = settled.outcome.result().map(Body::len) else { continue };
            let mut emptied = Settled::clone(settled);
            match &mut emptied.outcome {
                Outcome::Ok { result } | Outcome::ToolError { result } => *result = Body::default(),
                _ => {}
            }
            call.settled = Some(Arc::new(emptied));
            call.result_dropped = true;
            self.result_bytes -= size;
        }
    }

    fn rename(&mut self) {
        let groups = &self.rules.routing.groups;
        let united: Vec<Vec<Arc<Tool>>> =
            groups.iter().map(|g| self.group_tools(&g.id).into_iter().map(|(tool, ..)| tool).collect()).collect();
        let hidden = |id: &ServerId| groups.iter().any(|g| !g.members_listed && g.members.iter().any(|m| m.server == *id));
        let servers = self.servers.iter().filter(|s| !hidden(s.id()));
        let servers = servers.map(|s| (s.id(), s.spec.namespace(), s.catalog.tools.as_slice()));
        let groups = groups.iter().zip(&united).map(|(g, tools)| (&g.id, g.namespace(), tools.as_slice()));
        self.names = Arc::new(NameTable::build(servers.chain(groups), &self.separator));
    }

    fn staged(&mut self, id: CallId, stage: &Arc<CallEvent>, at: Stamp) {
        if let CallEvent::Routed { decision } = &**stage {
            push_bounded(&mut self.routed, (at, id, decision.clone()), 200);
        }
        // What is over has no stage any more, but an answer may still come too late.
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
            self.shift_in_flight(&before, spec.operation.subject(), of_tool, false);
            self.shift_in_flight(&server, &subject, of_tool, true);
        }
        if let Some(view) = self.server_mut(&server) {
            view.stats.extra += extra;
        }
    }

    fn shift_in_flight(&mut self, server: &ServerId, tool: &str, of_tool: bool, more: bool) {
        let shift = |stats: &mut Stats| stats.in_flight = if more { stats.in_flight + 1 } else { stats.in_flight.saturating_sub(1) };
        let Some(view) = self.server_mut(server) else { return };
        shift(&mut view.stats);
        if of_tool {
            shift(view.tools.entry(tool.into()).or_default());
        }
    }
}

fn count(stats: &mut Stats, settled: &Settled) {
    stats.in_flight = stats.in_flight.saturating_sub(1);
    stats.settled += 1;
    stats.note_end(settled.timings.settled);
    match &settled.outcome {
        Outcome::Ok { .. } | Outcome::ToolError { .. } => {
            stats.answered += 1;
            stats.tool_errors += u64::from(matches!(settled.outcome, Outcome::ToolError { .. }));
            if settled.cached.is_some() {
                // An answer from the cache says nothing about the server.
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

/// Counts one attempt of a call that took several, or was answered otherwise.
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

/// Pushes as [`push_bounded`] does, and lets go of the oldest while all weigh more than [`bounds::LOG_BYTES`].
fn retain<T>(queue: &mut VecDeque<T>, bytes: &mut usize, item: T, keep: usize, weight: impl Fn(&T) -> usize) {
    *bytes += weight(&item);
    queue.push_back(item);
    while queue.len() > keep.max(1) || (*bytes > bounds::LOG_BYTES && queue.len() > 1) {
        let Some(first) = queue.pop_front() else { break };
        *bytes -= weight(&first);
    }
}
