//! Workflow tests (rehearsals): run a workflow without servers, with the responses that a case of a test file gives.
//!
//! Only the connections are simulated; dispatch, policies and the runner are the real ones. The composition root calls
//! [`rehearse`] for `workflow test`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    control::{Command, Control, LocalControl},
    domain::{
        ask,
        body::Body,
        call::{Failure, FailureKind, Origin},
        catalog::RawLists,
        client::Behalf,
        event::EventKind,
        id::AskId,
        retention::Retention,
        run::{Purpose, RunId, RunOutcome, RunReport, RunSpec, RunStep, StepAnswer, StepState, WorkflowText},
        server::{ConnectFailure, Era, Exit, ServerSpec, SessionInfo, Step, Transport},
        workflow::{
            answer,
            case::{Answer, Cancels, Case, Expect, Expected, Mismatch, Say, covers},
            catalog_lookup::tools_of,
            expression::Data,
            plan::{Action, Plan, ReadAs, RetryOn},
        },
    },
    engine::{
        EngineOptions,
        ports::{ClientHandler, Connector, Reply, Request, RequestObserver, Session, SubscriptionChange},
    },
};

/// The simulated server that offers all tools.
const TOOLS: &str = "(rehearsal)";

/// A call made during a case.
#[derive(Clone, Debug)]
struct MadeCall {
    step: String,
    tool: String,
    arguments: Data,
    answered: bool,
}

/// Runs a case. Returns every deviation from its expectations.
pub async fn rehearse(plan: &Plan, texts: &[WorkflowText], case: &Case, options: EngineOptions) -> Vec<Mismatch> {
    let repeatable: BTreeSet<String> = case.repeatable.iter().cloned().chain(retried_tools(plan)).collect();
    let trusted = !repeatable.is_empty();
    let simulation = Arc::new(Simulation {
        answers: case.answers.clone(),
        repeatable,
        used: Mutex::default(),
        calls: Mutex::default(),
        tools: tools_of(plan).into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
        prompts: prompts_of(plan),
        engine: OnceLock::new(),
        in_doubt: OnceLock::new(),
    });
    let engine = LocalControl::new(options, Retention::default(), Arc::new(SimulatedConnector(simulation.clone())));
    let _ = simulation.engine.set(Arc::downgrade(&engine));
    engine.apply(servers(plan, trusted));
    let run = RunId::new(0, fastrand::u128(..));
    let spec = RunSpec {
        answers: prepared_answers(plan, case),
        ask: asks(plan, case),
        env: case.env.clone(),
        ..RunSpec::new(plan.name.as_str(), texts, case.input.body(), Origin::Cli)
    };
    let mut tail = engine.watch().1;
    drop(engine.command(Command::StartRun { run, spec: Arc::new(spec) }));
    let report = loop {
        match tail.next().await {
            Ok(Some(event)) => match &event.kind {
                EventKind::RunSettled { run: ended, report } if *ended == run => break Some(report.clone()),
                EventKind::AskOpened { ask } => simulation.handle_question(&engine, ask.id, ask.run.as_ref()).await,
                _ => {}
            },
            Ok(None) => break None,
            Err(_) => {
                let state;
                (state, tail) = engine.watch();
                if let Some(report) = state.runs.get(run).and_then(|view| view.report.clone()) {
                    break Some(report);
                }
            }
        }
    };
    engine.shutdown().await;
    let calls = simulation.calls.lock().clone();
    let in_doubt = simulation.in_doubt.get() == Some(&true);
    // The outcome that a resumption of the run would report.
    let report =
        report.map(|report| if in_doubt { Arc::new(RunReport { outcome: RunOutcome::InDoubt, ..(*report).clone() }) } else { report });
    report.map_or_else(|| vec![Mismatch::other("the engine ended".into())], |report| judge(&case.expect, &report, &calls))
}

/// Returns the simulated servers: one for all tools, and those that the plan names. Their tool annotations count if `trusted`.
fn servers(plan: &Plan, trusted: bool) -> Vec<ServerSpec> {
    let spec = |id: &str| {
        let mut spec = ServerSpec::new(id, Transport::Http { url: "http://rehearsal.invalid".into(), headers: vec![], socket: None });
        spec.timeouts.health = Duration::ZERO;
        spec.policy.retry.attempts = 1;
        spec.policy.breaker.enabled = false;
        spec.trusted = trusted;
        spec
    };
    let mut servers = vec![ServerSpec { namespace: Some(String::new()), ..spec(TOOLS) }];
    let children = plan.children();
    for step in std::iter::once(plan).chain(children.iter().map(|child| &**child)).flat_map(|plan| &plan.steps) {
        let (Action::Prompt { server, .. } | Action::Resource { server, .. }) = &step.action else { continue };
        if servers.iter().all(|known| known.id.as_str() != server) {
            servers.push(spec(server));
        }
    }
    servers
}

/// Returns the tools of retried steps that are not declared idempotent: with real servers, such a plan retries only if the tool
/// is declared repeatable.
fn retried_tools(plan: &Plan) -> Vec<String> {
    let children = plan.children();
    let steps = std::iter::once(plan).chain(children.iter().map(|child| &**child)).flat_map(|plan| &plan.steps);
    let retried = steps.filter(|step| !step.idempotent && step.retry.as_ref().is_some_and(|retry| retry.attempts > 1));
    let tools = retried.filter_map(|step| match &step.action {
        Action::Tool(call) => Some(call.tool.to_string()),
        _ => None,
    });
    tools.collect()
}

/// Returns the prompts that a plan reads, as servers list them.
fn prompts_of(plan: &Plan) -> Vec<Body> {
    let children = plan.children();
    let steps = std::iter::once(plan).chain(children.iter().map(|child| &**child)).flat_map(|plan| &plan.steps);
    let mut prompts: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for step in steps {
        if let Action::Prompt { name, arguments, .. } = &step.action {
            prompts.entry(name).or_default().extend(arguments.keys().unwrap_or_default());
        }
    }
    let entry = |(name, arguments): (&str, BTreeSet<String>)| {
        let arguments: Vec<_> = arguments.iter().map(|name| json!({"name": name})).collect();
        Body::json(&json!({"name": name, "arguments": arguments}))
    };
    prompts.into_iter().map(entry).collect()
}

/// Returns the case's answers to steps that ask the user.
fn prepared_answers(plan: &Plan, case: &Case) -> Vec<(String, StepAnswer)> {
    let children = plan.children();
    let steps = std::iter::once(plan).chain(children.iter().map(|child| &**child)).flat_map(|plan| &plan.steps);
    let answer = |id: &str| match &case.answers.get(id)?.first()?.say {
        Say::Result(result) => answer::read(ReadAs::Auto, result).ok().map(|reading| reading.result),
        Say::Fail { .. } | Say::Never { .. } => None,
    };
    let answers = steps.filter_map(|step| {
        let answer = match step.action {
            Action::Approve { .. } => answer(&step.id).filter(|data| data.as_bool() != Some(false)).map(|_| StepAnswer::Approve)?,
            Action::Elicit { .. } => StepAnswer::Content { content: answer(&step.id)?.body() },
            _ => return None,
        };
        Some((step.id.to_string(), answer))
    });
    answers.collect()
}

/// Returns whether a question to the user stays open in the case instead of being answered in advance.
fn asks(plan: &Plan, case: &Case) -> bool {
    let children = plan.children();
    let mut steps = std::iter::once(plan).chain(children.iter().map(|child| &**child)).flat_map(|plan| &plan.steps);
    let open = |id: &str| case.answers.get(id).and_then(|all| all.first()).is_some_and(|answer| matches!(answer.say, Say::Never { .. }));
    steps.any(|step| matches!(step.action, Action::Approve { .. } | Action::Elicit { .. }) && open(&step.id))
}

/// Returns every deviation of a run from the expectations.
fn judge(expect: &Expect, report: &RunReport, calls: &[MadeCall]) -> Vec<Mismatch> {
    let mut deviations = vec![];
    let of_output = |name: &String, words| Mismatch { place: Expected::Output(name.clone()), words };
    let of_arguments = |name: &String, words| Mismatch { place: Expected::Arguments(name.clone()), words };
    let why = report.why.as_deref().unwrap_or_default();
    let expected = expect.outcome.as_deref().unwrap_or("ok");
    if report.outcome.key() != expected {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        deviations.push(Mismatch::other(format!("outcome: expected {expected}, got {}{why}", report.outcome.key())));
        deviations.extend(report.detail.iter().cloned().map(Mismatch::other));
    }
    if let Some(words) = expect.error.as_ref().filter(|words| !why.contains(words.as_str())) {
        deviations.push(Mismatch::other(format!("error: expected {words:?} in {why:?}")));
    }
    let output = report.output.as_ref().and_then(|output| Data::parse(&output.text()).ok()).unwrap_or_default();
    for (name, wanted) in &expect.output {
        match output.member(name) {
            Some(found) if covers(&found, wanted) => {}
            Some(found) => deviations.push(of_output(name, format!("output.{name}: expected {}, got {}", wanted.json(), found.json()))),
            None => deviations.push(of_output(name, format!("output.{name}: expected {}, there is none", wanted.json()))),
        }
    }
    for (step, wanted) in &expect.steps {
        let found = report.step(step).map(|view| key_of(&view.state));
        if found != Some(wanted.as_str()) {
            let view = report.step(step).and_then(|view| view.state.why()).map(|why| format!(": {why}")).unwrap_or_default();
            deviations.push(Mismatch::other(format!("steps.{step}: expected {wanted}, got {}{view}", found.unwrap_or("no such step"))));
        }
    }
    if let Some(wanted) = expect.compensated.as_ref().filter(|wanted| **wanted != report.compensated) {
        deviations.push(Mismatch::other(format!("compensated: expected {wanted:?}, got {:?}", report.compensated)));
    }
    let of = |name: &str| calls.iter().filter(|call| call.step == name || call.tool == name).collect::<Vec<_>>();
    for (name, wanted) in &expect.calls {
        let count = of(name).len();
        if count != usize::try_from(*wanted).unwrap_or(usize::MAX) {
            deviations.push(Mismatch::other(format!("calls.{name}: expected {wanted}, got {count}")));
        }
    }
    for (name, wanted) in &expect.arguments {
        match of(name).last() {
            Some(call) if covers(&call.arguments, wanted) => {}
            Some(call) => {
                deviations.push(of_arguments(name, format!("arguments.{name}: expected {}, got {}", wanted.json(), call.arguments.json())))
            }
            None => deviations.push(of_arguments(name, format!("arguments.{name}: it was not called"))),
        }
    }
    deviations
}

fn key_of(state: &StepState) -> &'static str {
    match state {
        StepState::CompensationFailed { .. } => "compensation_failed",
        other => other.word(),
    }
}

/// State that all connections of a case share.
struct Simulation {
    answers: BTreeMap<String, Vec<Answer>>,
    /// Tools that may be called again.
    repeatable: BTreeSet<String>,
    used: Mutex<HashMap<String, usize>>,
    calls: Mutex<Vec<MadeCall>>,
    tools: Vec<String>,
    /// Entries of `prompts/list`.
    prompts: Vec<Body>,
    engine: OnceLock<Weak<LocalControl>>,
    /// Whether calls were in flight when the program was ended; unset if it was not.
    in_doubt: OnceLock<bool>,
}

impl Simulation {
    /// Handles a question of a step: it stays open if the case says so.
    async fn handle_question(&self, engine: &LocalControl, ask: AskId, place: Option<&RunStep>) {
        match self.next(place, "").map(|answer| answer.say) {
            Some(Say::Never { cancels, after }) => self.cancel(cancels, place, &after).await,
            _ => drop(engine.command(Command::Answer { ask, answer: ask::Answer::Decline })),
        }
    }

    /// Cancels what the case says, once the steps in `after` have ended.
    async fn cancel(&self, cancels: Option<Cancels>, place: Option<&RunStep>, after: &[String]) {
        let (Some(cancels), Some(place), Some(engine)) = (cancels, place, self.engine.get().and_then(Weak::upgrade)) else { return };
        let mut tail = engine.watch().1;
        let ended = |state: &StepState| !state.active() && *state != StepState::Pending;
        let all = || {
            let read_model = engine.watch().0;
            let view = read_model.runs.get(place.run);
            after.iter().all(|step| view.and_then(|view| view.step(step)).is_some_and(|view| ended(&view.state)))
        };
        while !all() {
            if let Ok(None) = tail.next().await {
                return;
            }
        }
        let reason = || "cancelled by the test".to_owned();
        match cancels {
            Cancels::Step => {
                drop(engine.command(Command::CancelStep { run: place.run, step: place.step.to_string(), reason: reason() }));
            }
            Cancels::Run => {
                drop(engine.command(Command::CancelRun { run: place.run, reason: reason() }));
                if place.purpose == Purpose::Compensation {
                    // The second cancellation cancels the compensation.
                    drop(engine.command(Command::CancelRun { run: place.run, reason: reason() }));
                }
            }
            Cancels::Program => {
                let _ = self.in_doubt.set(self.calls.lock().iter().any(|calls| !calls.answered));
                engine.interrupt_runs("the test ended the program");
            }
        }
    }

    /// Returns the next response for a step, or else for a tool.
    fn next(&self, place: Option<&RunStep>, tool: &str) -> Option<Answer> {
        let own = place.filter(|place| place.purpose == Purpose::Step).map(|place| id_of(&place.step));
        let key = own.into_iter().chain([tool.to_owned()]).find(|key| self.answers.contains_key(key))?;
        let answers = self.answers.get(&key)?;
        let mut used = self.used.lock();
        let count = used.entry(key).or_default();
        let answer = answers.get(*count).or(answers.last()).cloned();
        *count += 1;
        answer
    }
}

fn id_of(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

/// The connector of a case.
struct SimulatedConnector(Arc<Simulation>);

#[async_trait]
impl Connector for SimulatedConnector {
    async fn connect(
        &self,
        spec: Arc<ServerSpec>,
        _: Option<Era>,
        _: Option<Behalf>,
        handler: Arc<dyn ClientHandler>,
    ) -> Result<Arc<dyn Session>, ConnectFailure> {
        handler.step(Step::Initialize);
        Ok(Arc::new(SimulatedSession {
            simulation: self.0.clone(),
            tools: spec.id.as_str() == TOOLS,
            handler,
            over: CancellationToken::new(),
        }))
    }
}

/// A simulated connection.
struct SimulatedSession {
    simulation: Arc<Simulation>,
    /// Whether it offers the tools.
    tools: bool,
    handler: Arc<dyn ClientHandler>,
    over: CancellationToken,
}

impl SimulatedSession {
    /// Returns the step of a request.
    fn place(&self, request: &Request) -> Option<RunStep> {
        let engine = self.simulation.engine.get().and_then(Weak::upgrade)?;
        let call = request.call?;
        engine.watch().0.call(call).and_then(|view| view.spec.run.clone())
    }
}

#[async_trait]
impl Session for SimulatedSession {
    fn info(&self) -> Arc<SessionInfo> {
        Arc::new(SessionInfo::bare(self.handler.now()))
    }

    async fn request(&self, request: Request, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
        let place = self.place(&request);
        let params = Data::parse(&request.params.text()).unwrap_or_default();
        let member = |key: &str| params.member(key);
        let tool = member("name").or_else(|| member("uri")).map(|name| name.display()).unwrap_or_default();
        let step = place.as_ref().map(|place| id_of(&place.step)).unwrap_or_default();
        let number = {
            let mut calls = self.simulation.calls.lock();
            let arguments = member("arguments").unwrap_or_default();
            calls.push(MadeCall { step: step.clone(), tool: tool.clone(), arguments, answered: false });
            calls.len() - 1
        };
        observer.sent(self.handler.now(), 0);
        let Some(answer) = self.simulation.next(place.as_ref(), &tool) else {
            let what = format!("the test has no answer for {tool} of the step `{step}`");
            return Err(Failure::new(FailureKind::Refused, what).hint(format!("add answers.{step} = {{ result = {{ … }} }} to the case")));
        };
        tokio::time::sleep(answer.delay).await;
        if let Say::Never { cancels, after } = answer.say {
            self.simulation.cancel(cancels, place.as_ref(), &after).await;
            return std::future::pending().await;
        }
        if let Some(calls) = self.simulation.calls.lock().get_mut(number) {
            calls.answered = true;
        }
        let (first_byte, last_byte) = (self.handler.now(), self.handler.now());
        let reply = |result| Ok(Reply { result, first_byte, last_byte, sent_bytes: 0, received_bytes: 0 });
        match answer.say {
            Say::Result(result) => reply(result),
            Say::Never { .. } => std::future::pending().await,
            Say::Fail { kind, message, sent } => {
                let kind = match kind {
                    // An unreadable result never meets an expectation.
                    RetryOn::Expect => return reply(Body::from(format!("<{message}>"))),
                    RetryOn::ToolError => {
                        return reply(Body::json(&json!({"content": [{"type": "text", "text": message}], "isError": true})));
                    }
                    RetryOn::NotReady => return Err(Failure::new(FailureKind::NotReady, message)),
                    RetryOn::Transport => FailureKind::Transport,
                    RetryOn::Timeout => FailureKind::Timeout,
                    RetryOn::Protocol => FailureKind::Protocol,
                    RetryOn::Exited => FailureKind::Exited,
                };
                Err(if sent { Failure::after_send(kind, message) } else { Failure::new(kind, message) })
            }
        }
    }

    async fn notify(&self, _: &str, _: Body) -> Result<(), Failure> {
        Ok(())
    }

    async fn lists(&self) -> Result<RawLists, Failure> {
        let tool = |name: &String| {
            let repeatable = self.simulation.repeatable.contains(name);
            Body::json(&json!({"name": name, "inputSchema": {"type": "object"}, "annotations": {"idempotentHint": repeatable}}))
        };
        let tools = if self.tools { self.simulation.tools.iter().map(tool).collect() } else { vec![] };
        // Any resource can be read.
        let templates = vec![Body::json(&json!({"name": "all", "uriTemplate": "{+uri}"}))];
        Ok(RawLists { tools, prompts: self.simulation.prompts.clone(), templates, ..RawLists::default() })
    }

    async fn subscribe(&self, _: &str, _: SubscriptionChange) -> Result<(), Failure> {
        Ok(())
    }

    async fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn closed(&self) -> Arc<ConnectFailure> {
        self.over.cancelled().await;
        Arc::new(ConnectFailure::new(Step::Run, "the rehearsal is over"))
    }

    async fn close(&self) -> Exit {
        self.over.cancel();
        Exit::Code(0)
    }
}
