//! Log lines of engine events: the only place that turns events into lines.
//!
//! Reads the events as every face does, so that dispatch does not wait for it. Lines have neither arguments nor results of
//! calls, and no texts that a server wrote in response to a call. With the log off nothing is read.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Level, debug, info, level_filters::LevelFilter, trace, warn};

use crate::{
    control::{Control, Interest, Lagged, Tail},
    domain::{
        ask::Ask,
        bounds,
        call::{CallSpec, Failure, FailureKind, Operation, Outcome},
        event::{Event, EventKind, NoticeLevel, Settled},
        id::{CallId, ServerId},
        policy::breaker::State,
        run::StepState,
        server::{ConnectFailure, Phase, ServerSpec},
    },
};

/// Calls in flight whose names are remembered.
const OPEN_CALLS: usize = 10_000;

/// Breakers whose state is remembered.
const BREAKERS: usize = 10_000;

/// Largest size of a message of a failure or an anomaly, in bytes.
const MESSAGE: usize = 300;

/// Lines of stderr that explain why a connection failed.
const STDERR: usize = 3;

/// The task that logs engine events.
pub struct EventLog {
    task: Option<AbortOnDropHandle<()>>,
    over: CancellationToken,
}

/// Logs the events from now on. Must be called within a runtime.
pub fn follow(control: &dyn Control) -> EventLog {
    let over = CancellationToken::new();
    let task = (LevelFilter::current() != LevelFilter::OFF).then(|| {
        // Frames are logged at the finest level only.
        let interest = if LevelFilter::current() == LevelFilter::TRACE { Interest::All } else { Interest::Events };
        let (_, tail) = control.observe(interest);
        AbortOnDropHandle::new(tokio::spawn(run(tail, over.clone())))
    });
    EventLog { task, over }
}

impl EventLog {
    /// Logs the events so far, and returns.
    pub async fn finish(self) {
        self.over.cancel();
        if let Some(task) = self.task {
            // A panic in it is in the log already.
            let _ = task.await;
        }
    }
}

async fn run(mut tail: Tail, over: CancellationToken) {
    let mut lines = Lines::default();
    loop {
        match tail.next_gathered(&over).await {
            Ok(Some(event)) => lines.log(&event),
            Ok(None) => return,
            Err(Lagged { missed }) => warn!(target: "switchboard::log", missed, "events were not logged"),
        }
    }
}

/// Writes the line of each event.
#[derive(Default)]
struct Lines {
    /// Calls in flight.
    calls: HashMap<CallId, Arc<CallSpec>>,
    /// The states of breakers, by server and tool.
    breakers: HashMap<(ServerId, Option<Arc<str>>), State>,
}

impl Lines {
    fn log(&mut self, event: &Event) {
        match &event.kind {
            EventKind::ServerAdded { spec } => added(spec),
            EventKind::ServerRemoved { server } => info!(target: "switchboard::server", %server, "removed"),
            EventKind::ServerPhase { server, phase } => changed_phase(server, phase),
            EventKind::ServerInfo { server, info } => info!(
                target: "switchboard::server", %server, era = ?info.era, protocol = info.protocol,
                name = info.name, version = info.version, pid = info.pid, duration_ms = millis(info.took),
                "connected"
            ),
            EventKind::ServerListed { server, catalog } => info!(
                target: "switchboard::server", %server, tools = catalog.tools.len(), resources = catalog.resources.len(),
                templates = catalog.templates.len(), prompts = catalog.prompts.len(), warnings = catalog.warnings.len(),
                "lists read"
            ),
            EventKind::ServerStderr { server, line } => debug!(target: "switchboard::stderr", %server, line = &**line, "stderr"),
            EventKind::ServerAnomaly { server, anomaly } => warn!(
                target: "switchboard::server", %server, kind = anomaly.kind.words(), detail = &*bounds::cut(&anomaly.detail, MESSAGE),
                call = anomaly.call.map(tracing::field::display), frame = anomaly.frame,
                "protocol violation"
            ),
            EventKind::CallQueued { call, spec } => {
                debug!(target: "switchboard::call", %call, server = %spec.operation.server(), origin = spec.origin.word(), "queued");
                // Calls whose end was lost are forgotten in time.
                if self.calls.len() >= OPEN_CALLS {
                    self.calls.clear();
                }
                self.calls.insert(*call, spec.clone());
            }
            EventKind::CallStage { call, stage } => {
                debug!(target: "switchboard::call", %call, stage = stage.tag(), "call event");
            }
            EventKind::CallSettled { call, settled } => ended(*call, self.calls.remove(call).as_deref(), settled),
            EventKind::Frame { frame } => trace!(
                target: "switchboard::frame", server = %frame.server, direction = ?frame.direction, kind = ?frame.kind,
                method = frame.method.as_deref(), bytes = frame.size,
                "frame"
            ),
            EventKind::ResourceSubscribed { server, on, .. } => debug!(target: "switchboard::server", %server, on, "subscription"),
            EventKind::AskOpened { ask } => opened(ask),
            EventKind::AskClosed { ask, how } => info!(target: "switchboard::inbox", question = ask.0, %how, "question closed"),
            EventKind::RunStarted { run, plan, origin, .. } => info!(
                target: "switchboard::run", %run, workflow = &*plan.name, steps = plan.steps.len(), origin = origin.word(), "started"
            ),
            EventKind::RunStep { run, step, view } => {
                debug!(target: "switchboard::run", %run, step = &**step, state = view.state.word(), "step");
            }
            EventKind::RunSettled { run, report } => {
                let failed = report.steps.iter().find(|(_, view)| matches!(view.state, StepState::Failed { .. })).map(|(step, _)| &**step);
                info!(
                    target: "switchboard::run", %run, outcome = report.outcome.key(), failed_step = failed,
                    duration_ms = millis(report.took()), "ended"
                );
            }
            EventKind::Breaker { server, tool, view } => {
                if self.breakers.len() >= BREAKERS {
                    self.breakers.clear();
                }
                let before = self.breakers.insert((server.clone(), tool.clone()), view.state).unwrap_or_default();
                if before != view.state {
                    info!(
                        target: "switchboard::breaker", %server, tool = tool.as_deref(), from = before.word(), to = view.state.word(),
                        held = view.held.is_some(), "breaker changed"
                    );
                }
            }
            EventKind::Rules { rules } => info!(target: "switchboard::config", tools = rules.tools.len(), "rules replaced"),
            EventKind::Cache { view } => match &view.trouble {
                Some(trouble) => warn!(target: "switchboard::cache", store = view.store, trouble, "cache unavailable"),
                None => debug!(target: "switchboard::cache", store = view.store, hits = view.hits, misses = view.misses, "cache"),
            },
            EventKind::FaultSet { server, tool, fault } => info!(
                target: "switchboard::server", %server, tool = tool.as_deref(), on = fault.is_some(), "fault injection"
            ),
            EventKind::Notice { notice } => match notice.level {
                NoticeLevel::Info => info!(target: "switchboard::notice", "{}", notice.text),
                NoticeLevel::Warn => warn!(target: "switchboard::notice", "{}", notice.text),
                NoticeLevel::Error => tracing::error!(target: "switchboard::notice", "{}", notice.text),
            },
            EventKind::ClientConnected { client, info } => info!(
                target: "switchboard::gateway", %client, name = info.name.as_deref(), version = info.version.as_deref(),
                protocol = &*info.protocol, transport = info.transport.word(), profile = &*info.profile, "client connected"
            ),
            EventKind::ClientDisconnected { client } => info!(target: "switchboard::gateway", %client, "client disconnected"),
            EventKind::ClientSessions { server, sessions } => {
                debug!(target: "switchboard::gateway", %server, sessions = sessions.len(), "own sessions of clients");
            }
            EventKind::ServerLog { .. }
            | EventKind::CallSent { .. }
            | EventKind::CallProgress { .. }
            | EventKind::ResourceUpdated { .. } => {}
        }
    }
}

fn added(spec: &ServerSpec) {
    if tracing::enabled!(target: "switchboard::server", Level::INFO) {
        info!(
            target: "switchboard::server", server = %spec.id, transport = spec.launch.transport(), launch = spec.summary(),
            disabled = spec.disabled, trusted = spec.trusted, era = ?spec.era,
            file = spec.origin.file.as_deref().map(|file| tracing::field::display(file.display())), line = spec.origin.line,
            "added"
        );
    }
}

fn changed_phase(server: &ServerId, phase: &Phase) {
    match phase {
        Phase::Starting { step } => debug!(target: "switchboard::server", %server, phase = phase.word(), ?step, "phase"),
        Phase::Idle | Phase::Ready | Phase::NeedsLogin { .. } | Phase::Disabled => {
            info!(target: "switchboard::server", %server, phase = phase.word(), "phase")
        }
        Phase::Degraded { reason } => warn!(target: "switchboard::server", %server, phase = phase.word(), %reason, "phase"),
        Phase::Reconnecting { attempt, why, .. } => lost(server, phase, Some(*attempt), why),
        Phase::Failed { why } => lost(server, phase, None, why),
    }
}

fn lost(server: &ServerId, phase: &Phase, attempt: Option<u32>, why: &ConnectFailure) {
    let stderr = &why.stderr[why.stderr.len().saturating_sub(STDERR)..];
    warn!(
        target: "switchboard::server", %server, phase = phase.word(), attempt, step = ?why.step, reason = why.summary,
        causes = joined(&why.causes), found = why.found, cwd = why.cwd, status = why.status, code = why.rpc_code,
        exit = why.exit.map(tracing::field::display), stderr = joined(stderr), retryable = why.retryable,
        "phase"
    );
}

/// Joins lines; `None` if there are none.
fn joined(lines: &[String]) -> Option<String> {
    (!lines.is_empty()).then(|| lines.join(" / "))
}

fn ended(call: CallId, spec: Option<&CallSpec>, settled: &Settled) {
    let operation = spec.map(|spec| &spec.operation);
    let (server, method) = (operation.map(|o| o.server().as_str()), operation.map(Operation::method));
    // The URI of a resource is an argument.
    let name = match operation {
        Some(Operation::Tool { tool, .. }) => Some(&*tool.name),
        Some(Operation::Prompt { name, .. }) => Some(name.as_str()),
        _ => None,
    };
    let (run, duration_ms) =
        (spec.and_then(|spec| spec.run.as_ref()).map(|step| tracing::field::display(step.run)), millis(settled.timings.total()));
    let answered_by = settled.by.as_ref().map(ServerId::as_str);
    match &settled.outcome {
        Outcome::Failed { failure } => warn!(
            target: "switchboard::call", %call, server, method, name, run, outcome = failure.kind.key(), duration_ms,
            attempts = settled.attempts, may_have_run = failure.may_have_run, message = message(failure), status = failure.status,
            code = failure.rpc.as_ref().map(|rpc| rpc.code), exit = failure.exit.map(tracing::field::display),
            "call failed"
        ),
        outcome => info!(
            target: "switchboard::call", %call, server, method, name, run, outcome = outcome.words(), duration_ms,
            attempts = settled.attempts, answered_by, cached = settled.cached.is_some(),
            "call ended"
        ),
    }
}

/// Returns the message of a failure, unless it quotes an argument or a server.
fn message(failure: &Failure) -> Option<String> {
    let quotes = failure.rpc.is_some() || matches!(failure.kind, FailureKind::InvalidArguments | FailureKind::Refused);
    (!quotes).then(|| bounds::cut(&failure.message, MESSAGE).into_owned())
}

fn opened(ask: &Ask) {
    let call = ask.call.map(tracing::field::display);
    info!(target: "switchboard::inbox", question = ask.id.0, server = %ask.server, kind = ask.question.word(), call, "question opened");
}

/// Returns a duration in milliseconds, rounded to microseconds.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
