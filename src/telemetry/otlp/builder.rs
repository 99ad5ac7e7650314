//! Builds spans from engine events: a run, its steps, their calls, their attempts. Pure.
//!
//! Names and attributes follow the semantic conventions for MCP and for tools of generative AI (OpenTelemetry 1.39). Neither
//! arguments nor results are in a span.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    Parent,
    span::{Attribute, Span, SpanEvent, SpanKind, Value},
};
use crate::domain::{
    call::{CallSpec, Failure, Operation, Outcome},
    event::{Event, EventKind, Settled},
    id::{AskId, CallId, InstanceId, ServerId},
    policy::{
        breaker::State,
        call_event::{AttemptEnd, CallEvent, Cause},
    },
    run::{RunId, RunReport, StepState, StepView},
    time::{Epoch, Stamp},
    trace::{CallTraceContext, Sampler, SpanId, TraceId, TraceState},
};

/// Calls, runs, questions and breakers that are remembered. Those whose end was missed are forgotten in time.
const OPEN: usize = 10_000;
/// Events of a span at most.
const EVENTS: usize = 128;

/// Collects the events of what is in progress.
pub struct Builder {
    instance: InstanceId,
    epoch: Epoch,
    sampler: Sampler,
    parent: Parent,
    calls: HashMap<CallId, OpenCall>,
    runs: HashMap<RunId, OpenRun>,
    asks: HashMap<AskId, CallId>,
    breakers: HashMap<(ServerId, Option<Arc<str>>), State>,
}

struct OpenCall {
    spec: Arc<CallSpec>,
    context: CallTraceContext,
    begin_ns: u64,
    events: Vec<SpanEvent>,
    attempts: BTreeMap<u32, Span>,
}

struct OpenRun {
    workflow: Arc<str>,
    /// The trace of the client that started the run, as its calls name it.
    parent: Option<Parent>,
    steps: BTreeMap<Arc<str>, Arc<StepView>>,
}

fn text(name: &'static str, value: impl Into<String>) -> Attribute {
    (name.into(), Value::Text(value.into()))
}

impl Builder {
    /// Creates a builder for an engine. `parent` is the trace that its process belongs to.
    pub fn new(instance: InstanceId, epoch: Epoch, sampler: Sampler, parent: Parent) -> Builder {
        let (calls, runs, asks, breakers) = (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
        Builder { instance, epoch, sampler, parent, calls, runs, asks, breakers }
    }

    fn ns(&self, at: Stamp) -> u64 {
        self.epoch.unix_ms * 1_000_000 + at.0
    }

    /// Applies an event; returns the spans that ended with it.
    pub fn apply(&mut self, event: &Event) -> Vec<Span> {
        let at = self.ns(event.at);
        match &event.kind {
            EventKind::CallQueued { call, spec } => self.queued(*call, spec, at),
            EventKind::CallStage { call, stage } => self.stage(*call, stage, at),
            EventKind::CallSettled { call, settled } => return self.settled(*call, settled, at),
            EventKind::AskOpened { ask } => {
                if let Some(call) = ask.call.filter(|call| self.calls.contains_key(call)) {
                    bound(&mut self.asks);
                    self.asks.insert(ask.id, call);
                    self.note(call, at, "question", vec![text("switchboard.server", ask.server.as_str())]);
                }
            }
            EventKind::AskClosed { ask, .. } => {
                if let Some(call) = self.asks.remove(ask) {
                    self.note(call, at, "question answered", vec![]);
                }
            }
            EventKind::Breaker { server, tool, view } => self.breaker(server, tool.as_ref(), view.state, at),
            EventKind::RunStarted { run, plan, .. } => {
                bound(&mut self.runs);
                self.runs.insert(*run, OpenRun { workflow: plan.name.clone(), parent: None, steps: BTreeMap::new() });
            }
            EventKind::RunStep { run, step, view } => {
                if let Some(open) = self.runs.get_mut(run) {
                    open.steps.insert(step.clone(), view.clone());
                }
            }
            EventKind::RunSettled { run, report } => return self.run(*run, report),
            _ => {}
        }
        vec![]
    }

    fn queued(&mut self, call: CallId, spec: &Arc<CallSpec>, begin_ns: u64) {
        if let Some(open) = spec.run.as_ref().and_then(|step| self.runs.get_mut(&step.run)) {
            open.parent.get_or_insert_with(|| (spec.trace, spec.trace_state.clone()));
        }
        let context = CallTraceContext::new(self.instance, call, spec);
        if self.sampler.samples(&context) {
            bound(&mut self.calls);
            self.calls.insert(call, OpenCall { spec: spec.clone(), context, begin_ns, events: vec![], attempts: BTreeMap::new() });
        }
    }

    /// Adds an event to the span of a call.
    fn note(&mut self, call: CallId, unix_ns: u64, name: &str, attributes: Vec<Attribute>) {
        if let Some(open) = self.calls.get_mut(&call).filter(|open| open.events.len() < EVENTS) {
            open.events.push(SpanEvent { unix_ns, name: name.to_owned(), attributes });
        }
    }

    fn stage(&mut self, call: CallId, stage: &CallEvent, at: u64) {
        let instance = self.instance;
        match stage {
            CallEvent::Attempt { attempt, server, subject, cause } => {
                let Some(open) = self.calls.get_mut(&call) else { return };
                let method = open.spec.operation.method();
                let mut attributes = vec![
                    text("mcp.method.name", method),
                    text("switchboard.server", server.as_str()),
                    ("switchboard.attempt".into(), (*attempt).into()),
                ];
                attributes.extend(target(&open.spec.operation, subject));
                if *cause != Cause::First {
                    attributes.push(text("switchboard.cause", cause_word(*cause)));
                }
                let span = Span {
                    trace: open.context.trace,
                    id: SpanId::of_attempt(instance, call, *attempt),
                    parent: Some(open.context.span),
                    state: state(open.spec.trace_state.as_ref()),
                    name: named(&open.spec.operation, subject),
                    kind: SpanKind::Client,
                    begin_ns: at,
                    end_ns: 0,
                    attributes,
                    events: vec![],
                    error: None,
                };
                open.attempts.insert(*attempt, span);
            }
            CallEvent::Ended { attempt, end, .. } => {
                let Some(span) = self.calls.get_mut(&call).and_then(|open| open.attempts.get_mut(attempt)) else { return };
                span.end_ns = at;
                match end {
                    AttemptEnd::Failed { failure } => fail(span, failure),
                    AttemptEnd::ToolError => tool_error(span),
                    AttemptEnd::Cancelled { .. } => span.attributes.push(text("error.type", "cancelled")),
                    AttemptEnd::Ok | AttemptEnd::Interim { .. } => {}
                }
            }
            other => {
                let mut attributes = vec![];
                if let CallEvent::CacheHit { store, stale, .. } = other {
                    attributes = vec![text("switchboard.cache.store", store), text("switchboard.cache.stale", stale.to_string())];
                }
                self.note(call, at, other.tag(), attributes);
            }
        }
    }

    /// Adds the change of a breaker to the calls of its server that are in flight.
    fn breaker(&mut self, server: &ServerId, tool: Option<&Arc<str>>, state: State, at: u64) {
        bound(&mut self.breakers);
        let before = self.breakers.insert((server.clone(), tool.cloned()), state).unwrap_or(State::Closed);
        if before == state {
            return;
        }
        let word = match state {
            State::Closed => "closed",
            State::HalfOpen => "half_open",
            State::Open => "open",
        };
        let calls = self.calls.iter().filter(|(_, open)| open.spec.operation.server() == server).map(|(call, _)| *call);
        for call in calls.collect::<Vec<_>>() {
            let attributes = vec![text("switchboard.server", server.as_str()), text("switchboard.breaker.state", word)];
            self.note(call, at, "breaker", attributes);
        }
    }

    fn settled(&mut self, call: CallId, settled: &Settled, end_ns: u64) -> Vec<Span> {
        let Some(open) = self.calls.remove(&call) else { return vec![] };
        let OpenCall { spec, context, begin_ns, events, attempts } = open;
        let subject = spec.operation.subject();
        let mut span = Span {
            trace: context.trace,
            id: context.span,
            parent: context.parent,
            state: state(spec.trace_state.as_ref()),
            name: format!("call {}", named(&spec.operation, subject)),
            kind: SpanKind::Internal,
            begin_ns,
            end_ns,
            attributes: vec![
                text("mcp.method.name", spec.operation.method()),
                text("switchboard.server", spec.operation.server().as_str()),
                text("switchboard.call", call.to_string()),
                text("switchboard.origin", spec.origin.word()),
                ("switchboard.attempts".into(), settled.attempts.into()),
            ],
            events,
            error: None,
        };
        span.attributes.extend(target(&spec.operation, subject));
        if let Some(step) = &spec.run {
            span.attributes.push(text("switchboard.step", &*step.step));
            span.attributes.push(text("switchboard.purpose", step.purpose.word()));
        }
        match &settled.outcome {
            Outcome::Failed { failure } => fail(&mut span, failure),
            Outcome::ToolError { .. } => tool_error(&mut span),
            Outcome::Cancelled { .. } => span.attributes.push(text("error.type", "cancelled")),
            Outcome::Ok { .. } | Outcome::Interim { .. } => {}
        }
        // An attempt whose end is missing ended with its call: it was cancelled.
        let ended = |span: Span| if span.end_ns == 0 { Span { end_ns, ..span } } else { span };
        attempts.into_values().map(ended).chain([span]).collect()
    }

    fn run(&mut self, run: RunId, report: &RunReport) -> Vec<Span> {
        let open = self.runs.remove(&run);
        let (workflow, given, mut steps) =
            open.map_or_else(|| ("".into(), None, BTreeMap::new()), |open| (open.workflow, open.parent, open.steps));
        steps.extend(report.steps.iter().cloned());
        let (parent, noted) = given.unwrap_or_else(|| self.parent.clone());
        let trace = parent.map_or_else(|| TraceId::of_run(run), |parent| parent.trace);
        let context = CallTraceContext { trace, span: SpanId::of_run(run), parent: None, sampled: parent.map(|parent| parent.sampled) };
        if !self.sampler.samples(&context) {
            return vec![];
        }
        let span = |id, parent, name, (begin, end): (Stamp, Stamp), attributes, error| Span {
            trace,
            id,
            parent,
            state: state(noted.as_ref()),
            name,
            kind: SpanKind::Internal,
            begin_ns: self.ns(begin),
            end_ns: self.ns(end.max(begin)),
            attributes,
            events: vec![],
            error,
        };
        let mut spans = vec![];
        for (path, view) in &steps {
            // A step that did not start has no duration.
            let Some(begin) = view.started else { continue };
            let above = path.rsplit_once('/').map(|(above, _)| above.split_once('[').map_or(above, |(step, _)| step));
            let parent = above.map_or(SpanId::of_run(run), |above| SpanId::of_step(run, above));
            let error = match &view.state {
                StepState::Failed { error } | StepState::CompensationFailed { error } => Some(error.message.clone()),
                _ => None,
            };
            let attributes = vec![text("switchboard.step", &**path), text("switchboard.step.state", view.state.word())];
            let times = (begin, view.ended.unwrap_or(report.ended));
            spans.push(span(SpanId::of_step(run, path), Some(parent), format!("step {path}"), times, attributes, error));
        }
        let attributes = vec![
            text("switchboard.run", run.to_string()),
            text("switchboard.workflow", &*workflow),
            text("switchboard.outcome", report.outcome.key()),
        ];
        let parent = parent.map(|parent| parent.span);
        let times = (report.started, report.ended);
        spans.push(span(SpanId::of_run(run), parent, format!("workflow {workflow}"), times, attributes, report.why.clone()));
        spans
    }
}

/// Returns the field `trace_state` of a span.
fn state(noted: Option<&TraceState>) -> String {
    noted.map(TraceState::to_string).unwrap_or_default()
}

/// Returns the name of a span: the method and what it is about. Addresses of resources have too many values for a name.
fn named(operation: &Operation, subject: &str) -> String {
    match operation {
        Operation::Tool { .. } | Operation::Prompt { .. } => format!("{} {subject}", operation.method()),
        _ => operation.method().to_owned(),
    }
}

/// Returns the attributes of what is called.
fn target(operation: &Operation, subject: &str) -> Vec<Attribute> {
    match operation {
        Operation::Tool { .. } => vec![text("gen_ai.operation.name", "execute_tool"), text("gen_ai.tool.name", subject)],
        Operation::Prompt { .. } => vec![text("gen_ai.prompt.name", subject)],
        Operation::Resource { .. } => vec![text("mcp.resource.uri", subject)],
        _ => vec![],
    }
}

fn fail(span: &mut Span, failure: &Failure) {
    span.error = Some(failure.message.clone());
    span.attributes.push(text("error.type", failure.kind.key()));
    if let Some(rpc) = &failure.rpc {
        span.attributes.push(text("rpc.response.status_code", rpc.code.to_string()));
    }
}

fn tool_error(span: &mut Span) {
    span.error = Some(String::new());
    // The value that the conventions for MCP have for `isError: true`.
    span.attributes.push(text("error.type", "tool_error"));
}

fn cause_word(cause: Cause) -> &'static str {
    match cause {
        Cause::First => "first",
        Cause::Retry => "retry",
        Cause::Hedge => "hedge",
        Cause::Failover => "failover",
        Cause::Fallback => "fallback",
    }
}

/// Empties a map that has grown too large: its entries were never closed.
fn bound<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= OPEN {
        map.clear();
    }
}
