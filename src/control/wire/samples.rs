//! Messages of every kind, for tests. A new variant does not compile here until it is listed, and a listed one without a sample
//! fails the test.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use super::{ClientMessage, EngineMessage, Hello, PROTOCOL, SequencedFrame};
use crate::{
    control::{Command, CommandError, Reply, Role, SubmitError, WorkspaceError, WorkspaceReply, WorkspaceRequest, WorkspaceState},
    domain::{
        argument_history::{Recall, RecallKind, Recalled},
        ask::{Answer, Ask, AskEnd, Question},
        body::Body,
        call::{CallSpec, Failure, FailureKind, InterimKind, Operation, Origin, Outcome, Progress, RpcError, Timings},
        call_summary::CallSummary,
        catalog::{RawLists, ServerCatalog},
        client::{ClientInfo, ClientSession, ClientTransport, Principal},
        config_error::ConfigError,
        config_input::{InputRetention, InputValue},
        console_layout::ConsoleLayout,
        drift::{Baseline, Change, DefinitionKind, DefinitionVersion, Difference, DifferenceKind},
        event::{Event, EventKind, LogLevel, LogMessage, LogSource, Notice, NoticeLevel, Settled},
        frame::{Anomaly, AnomalyKind, Direction, Frame, FrameKind, HttpNote},
        history::{HistoryPage, HistoryStats, Period, StatsBy, StatsRow},
        id::{AskId, CallId, ClientId, InstanceId, ServerId, ToolId},
        journal::{CallOutcome, CallRecord, RunHeader},
        policy::{
            Rules,
            breaker::{BreakerOverride, BreakerView},
            call_event::{AttemptEnd, CallEvent, Cause, Resend, Wait},
            fault::Fault,
            route::Decision,
            verdict::Verdict,
        },
        program_session::{SessionKind, SessionStart, SessionSummary},
        retention::Retention,
        run::{
            PlanSummary, Purpose, RunId, RunOutcome, RunQuestion, RunReport, RunSpec, RunStep, StepAnswer, StepState, StepSummary,
            StepView, WorkflowText,
        },
        secret::Secret,
        server::{ConnectFailure, Era, Exit, Phase, ServerSpec, SessionInfo, Step, Transport},
        test_entries::{began, run_record, spec},
        time::{Epoch, Stamp},
        workspace::{
            CaseEnd, Chosen, FoundConfig, ImportPlan, LoginEnd, LoginStarted, RunListed, RunState, SecretDisplay, SecretTarget, ServerEdit,
            TestMade, WelcomeState, WorkflowPlace,
        },
    },
    state::{ConsoleState, SnapshotPart},
};

/// Defines a function that fails unless there is a sample of every variant.
macro_rules! every_variant {
    ($name:ident, $enum:ident: $($variant:ident)+) => {
        fn $name<'s>(samples: impl IntoIterator<Item = &'s $enum>) {
            let mut missing = BTreeSet::from([$(stringify!($variant)),+]);
            for sample in samples {
                missing.remove(match sample {
                    $($enum::$variant { .. } => stringify!($variant)),+
                });
            }
            assert!(missing.is_empty(), "{} without a sample: {missing:?}", stringify!($enum));
        }
    };
}

every_variant!(every_client_message, ClientMessage: Hello Compare Submit Command Workspace);
every_variant!(every_engine_message, EngineMessage:
    Hello Refused Snapshot Events Frames Lagged Compared Submitted CommandReply WorkspaceReply WorkspaceState);
every_variant!(every_part, SnapshotPart: Base Calls Frames End);
every_variant!(every_operation, Operation: Tool Resource Prompt Complete Raw);
every_variant!(every_command, Command:
    Cancel Start Restart Disable Refresh Answer Subscribe Breaker Inject Purge LogLevel StartRun ResumeRun UndoRun CancelRun CancelStep);
every_variant!(every_reply, Reply: Done Purged);
every_variant!(every_command_error, CommandError:
    UnknownServer Busy NotConnected Refused QuestionClosed RunActive RunNotActive Cache CallNotInFlight NotPermitted EngineLost ReadOnly
    TooMany TooLarge Disconnected Ended);
every_variant!(every_submit_error, SubmitError: Ended NotConnected ReadOnly TooMany TooLarge Disconnected);
every_variant!(every_request, WorkspaceRequest:
    Approve Reject GiveInput UseEnvironment FindServers Start EditServer Login LoginEnd FinishLogin SaveWorkflow ReadWorkflows Remember Recall SaveLayout Layout Import WriteImport
    Calls History Sessions HistoryStats PruneHistory Drift Definitions AcceptDefinitions Runs Run Test TestFromRun);
every_variant!(every_workspace_reply, WorkspaceReply:
    Done Welcome Written Recall Layout Login LoginEnded Import Calls History Sessions HistoryStats Deleted Drift Definitions Accepted Runs Run
    Tested TestMade);
every_variant!(every_workspace_error, WorkspaceError:
    Unavailable NotPermitted Disconnected Ended Busy Configuration ProjectChanged UnknownChoice NotWritten Failed);
every_variant!(every_event, EventKind:
    ServerAdded ServerRemoved ServerPhase ServerInfo ServerListed ServerStderr ServerLog ServerAnomaly CallQueued CallSent CallStage
    CallProgress CallSettled Frame ResourceSubscribed ResourceUpdated AskOpened AskClosed RunStarted RunStep RunSettled Breaker Rules
    Cache FaultSet Notice ClientConnected ClientDisconnected ClientSessions);
every_variant!(every_call_event, CallEvent:
    Routed Waiting Probing Attempt Ended Resent BackOff NotRepeated CacheHit CacheMiss Shared Fallback Injected Late);
every_variant!(every_phase, Phase: Idle Disabled Starting Ready Degraded Reconnecting Failed NeedsLogin);
every_variant!(every_outcome, Outcome: Ok ToolError Failed Cancelled Interim);
every_variant!(every_question, Question: Form Url Sampling Roots);
every_variant!(every_answer, Answer: Accept Decline Cancel);

fn server() -> ServerId {
    "shop".into()
}

/// Bytes that are not UTF-8.
fn raw() -> Body {
    Body::new(vec![0xff, 0x00, b'{'])
}

fn operations() -> Vec<Operation> {
    let all = vec![
        Operation::Tool { tool: ToolId::new(server(), "buy"), arguments: Body::from(r#"{"n":1.50}"#) },
        Operation::Resource { server: server(), uri: "shop://a".into() },
        Operation::Prompt { server: server(), name: "p".into(), arguments: Body::from("{}") },
        Operation::Complete { server: server(), params: Body::from("{}") },
        Operation::Raw { server: server(), method: "x/y".into(), params: raw() },
    ];
    every_operation(&all);
    all
}

fn specs() -> Vec<CallSpec> {
    let step = RunStep { run: RunId::new(1, 2), step: "a/b".into(), item: Some(3), purpose: Purpose::Fallback, retries: true };
    let plain = operations().into_iter().map(|operation| CallSpec::new(operation, Origin::Console));
    plain
        .map(|spec| CallSpec {
            client: ClientId(7),
            client_name: Some("c".into()),
            run: Some(step.clone()),
            meta: Body::from(r#"{"a":1}"#),
            ..spec
        })
        .collect()
}

fn failure() -> Arc<Failure> {
    let rpc = RpcError { code: -32603, message: "no".into(), data: Some(raw()) };
    Arc::new(Failure { rpc: Some(rpc), exit: Some(Exit::Signal(9)), ..Failure::after_send(FailureKind::Protocol, "failed") })
}

fn run_spec() -> RunSpec {
    let text = WorkflowText { name: "w".into(), file: "w.toml".into(), text: "x".into() };
    let answers = vec![
        ("a".into(), StepAnswer::Approve),
        ("b".into(), StepAnswer::Content { content: Body::from("{}") }),
        ("c".into(), StepAnswer::Repeat),
        ("d".into(), StepAnswer::Skip { result: Body::from("1") }),
    ];
    RunSpec { answers, ..RunSpec::new("w", [text], Body::from("{}"), Origin::Console) }
}

fn commands() -> Vec<Command> {
    let run = RunId::new(5, u128::MAX);
    let answers = [Answer::Accept { content: raw() }, Answer::Decline, Answer::Cancel];
    every_answer(&answers);
    let mut all = vec![
        Command::Cancel { call: CallId(u64::MAX), reason: "enough".into() },
        Command::Start { server: server() },
        Command::Restart { server: server() },
        Command::Disable { server: server() },
        Command::Refresh { server: server() },
        Command::Subscribe { server: server(), uri: "u".into(), on: true },
        Command::Breaker { server: server(), tool: Some("t".into()), order: BreakerOverride::Trip },
        Command::Inject { server: server(), tool: None, fault: Some(Fault { fail: 0.5, ..Fault::default() }) },
        Command::Purge { pattern: "*".into() },
        Command::LogLevel { server: server(), level: LogLevel::Unknown("loud".into()) },
        Command::StartRun { run, spec: Arc::new(run_spec()) },
        Command::ResumeRun { run, answers: run_spec().answers, ask: true, wait: true, timeout: Some(Duration::from_millis(1500)) },
        Command::UndoRun { run, answers: run_spec().answers, ask: false },
        Command::CancelRun { run, reason: "enough".into() },
        Command::CancelStep { run, step: "a".into(), reason: "enough".into() },
    ];
    all.extend(answers.map(|answer| Command::Answer { ask: AskId(3), answer }));
    every_command(&all);
    all
}

fn console_layout() -> ConsoleLayout {
    ConsoleLayout {
        tree_columns: Some(1),
        call_rows: Some(2),
        traffic_rows: Some(3),
        activity_hidden: true,
        view: 4,
        servers: [(server(), true)].into(),
        folders: [("f".to_owned(), false)].into(),
        traffic_filter: "a".into(),
        timeline_filter: "b".into(),
    }
}

fn requests() -> Vec<WorkspaceRequest> {
    let file = || vec![PathBuf::from("/a/b")];
    let arguments =
        Recalled { server: server(), kind: RecallKind::Tool, name: "buy".into(), arguments: Body::from("{}"), favourite: Some(true) };
    let all = vec![
        WorkspaceRequest::Approve("hash".into()),
        WorkspaceRequest::Reject,
        WorkspaceRequest::GiveInput {
            file: "/a/b".into(),
            id: "key".into(),
            value: InputValue("typed".into()),
            retention: InputRetention::Stored,
        },
        WorkspaceRequest::UseEnvironment(Some("staging".into())),
        WorkspaceRequest::UseEnvironment(None),
        WorkspaceRequest::FindServers,
        WorkspaceRequest::Start(Chosen::Import(1)),
        WorkspaceRequest::Start(Chosen::Demo),
        WorkspaceRequest::Start(Chosen::Open("npx x".into())),
        WorkspaceRequest::EditServer { server: server(), edit: ServerEdit::Disable },
        WorkspaceRequest::EditServer { server: server(), edit: ServerEdit::Enable },
        WorkspaceRequest::EditServer { server: server(), edit: ServerEdit::Duplicate("b".into()) },
        WorkspaceRequest::EditServer { server: server(), edit: ServerEdit::Remove },
        WorkspaceRequest::Login { server: server(), scopes: vec!["files:read".into()] },
        WorkspaceRequest::LoginEnd { server: server() },
        WorkspaceRequest::FinishLogin { server: server(), address: InputValue("http://127.0.0.1:1/callback?code=c&state=s".into()) },
        WorkspaceRequest::SaveWorkflow { name: "w".into(), text: "x".into(), place: WorkflowPlace::Project },
        WorkspaceRequest::SaveWorkflow { name: "w".into(), text: "x".into(), place: WorkflowPlace::User },
        WorkspaceRequest::ReadWorkflows,
        WorkspaceRequest::Remember(arguments),
        WorkspaceRequest::Recall,
        WorkspaceRequest::SaveLayout(console_layout()),
        WorkspaceRequest::Layout,
        WorkspaceRequest::Import { files: file(), project: true, into_file: false, secrets: SecretDisplay::Masked },
        WorkspaceRequest::WriteImport { files: file(), project: false, secrets: SecretTarget::File },
        WorkspaceRequest::WriteImport { files: file(), project: false, secrets: SecretTarget::Variables },
        WorkspaceRequest::WriteImport { files: file(), project: false, secrets: SecretTarget::Keyring },
        WorkspaceRequest::Calls { last: 5, ids: vec![1, u64::MAX] },
        WorkspaceRequest::History { filter: "a".into(), within: Some(Duration::from_secs(5)), before: Some(CallId(9)), limit: 3 },
        WorkspaceRequest::Sessions { last: 4 },
        WorkspaceRequest::HistoryStats { last: Duration::from_secs(3600), by: StatsBy::Hour, compare: true },
        WorkspaceRequest::PruneHistory { older_than: Duration::from_secs(7) },
        WorkspaceRequest::Drift { server: Some("a".into()), baseline: Baseline::Previous },
        WorkspaceRequest::Definitions { server: None },
        WorkspaceRequest::AcceptDefinitions { server: "a".into(), name: Some("b".into()) },
        WorkspaceRequest::Runs { last: 3, workflow: Some("w".into()) },
        WorkspaceRequest::Run("01".into()),
        WorkspaceRequest::Test { files: file() },
        WorkspaceRequest::TestFromRun { run: "01".into(), case: Some("c".into()), write: true },
    ];
    every_request(&all);
    all
}

/// Messages of a client.
pub fn client_messages() -> Vec<ClientMessage> {
    let mut all = vec![
        ClientMessage::Hello { protocol: PROTOCOL, version: "1.2.3".into(), frames: true, role: Role::Observer },
        ClientMessage::Compare { request: 3, servers: vec![(server(), [7; 32])] },
    ];
    all.extend(specs().into_iter().map(|spec| ClientMessage::Submit { request: 1, spec: Box::new(spec) }));
    all.extend(commands().into_iter().map(|command| ClientMessage::Command { request: u64::MAX, command: Box::new(command) }));
    all.extend(requests().into_iter().map(|content| ClientMessage::Workspace { request: 2, content: Box::new(content) }));
    every_client_message(&all);
    all
}

fn workspace_replies() -> Vec<WorkspaceReply> {
    let requested = specs().remove(0);
    let summary = CallSummary {
        instance: InstanceId(1),
        call: CallId(1),
        unix_ms: 2,
        server: requested.operation.server().clone(),
        name: "shop_buy".into(),
        subject: "buy".into(),
        origin: requested.origin,
        client: requested.client,
        run: requested.run.clone(),
        outcome: CallOutcome::Failed(FailureKind::Timeout),
        error: Some("e".into()),
        attempts: 2,
        answered_by: Some("b".into()),
        cached: Some(Duration::from_millis(4)),
        took_us: 3,
        sent_bytes: 5,
        received_bytes: 6,
        lifecycle: true,
        trace: "4bf92f3577b34da6a3ce929d0e0e4736".parse().ok(),
    };
    let start = SessionStart { session: InstanceId(1), kind: SessionKind::Gateway, started_ms: 8 };
    let session = SessionSummary { start, last_ms: 9, ended_ms: Some(10), calls: 11, failures: 12 };
    let page = HistoryPage { calls: vec![summary.clone()], next: Some(CallId(1)), sessions: vec![start] };
    let row = StatsRow { server: Some("a".into()), tool: Some("t".into()), hour_ms: Some(3), calls: 4, ..StatsRow::default() };
    let period = Period { since_ms: 1, until_ms: 2 };
    let stats = HistoryStats { period, total: StatsRow::default(), rows: vec![row.clone()], before: vec![row] };
    let (kind, name) = (DefinitionKind::Tool, "t".to_owned());
    let difference = Difference { kind: DifferenceKind::Narrowed, path: "p".into(), before: Some("1".into()), after: None };
    let change = Change { server: server(), kind, name: name.clone(), at_ms: 7, accepted: false, differences: vec![difference] };
    let version =
        DefinitionVersion { server: server(), kind, name, definition: raw(), first_ms: 1, last_ms: 2, listed_ms: 3, accepted: true };
    let record = CallRecord { summary, spec: Arc::new(requested), result: Some(raw()) };
    let welcome = WelcomeState { found: vec![FoundConfig::default()], target: "t".into(), more: true, demo: false };
    let case = CaseEnd { file: "f".into(), workflow: "w".into(), name: "n".into(), failures: vec!["x".into()], duration_ms: 1.5 };
    let all = vec![
        WorkspaceReply::Done,
        WorkspaceReply::Welcome(welcome),
        WorkspaceReply::Written("/a/b".into()),
        WorkspaceReply::Recall(Recall::default()),
        WorkspaceReply::Layout(console_layout()),
        WorkspaceReply::LoginEnded(LoginEnd::LoggedIn),
        WorkspaceReply::LoginEnded(LoginEnd::Failed("timeout".into())),
        WorkspaceReply::LoginEnded(LoginEnd::Replaced),
        WorkspaceReply::Login(LoginStarted { server: server(), address: "https://as.example/authorize".into(), opened: true }),
        WorkspaceReply::Import(Box::<ImportPlan>::default()),
        WorkspaceReply::Calls(vec![record]),
        WorkspaceReply::History(page),
        WorkspaceReply::Sessions(vec![session]),
        WorkspaceReply::HistoryStats(Box::new(stats)),
        WorkspaceReply::Deleted(5),
        WorkspaceReply::Drift(vec![change]),
        WorkspaceReply::Definitions(vec![version]),
        WorkspaceReply::Accepted(6),
        WorkspaceReply::Runs(vec![RunListed {
            header: RunHeader { run: RunId::new(5, 6), workflow: "w".into(), started_ms: 1, took_ms: Some(2), outcome: Some("ok".into()) },
            state: RunState::Ended,
        }]),
        WorkspaceReply::Run { record: Box::new(run_record(vec![began(spec("w", "x", "{}"))])), state: RunState::Active },
        WorkspaceReply::Tested(vec![case]),
        WorkspaceReply::TestMade(TestMade::default()),
    ];
    every_workspace_reply(&all);
    all
}

fn workspace_errors() -> Vec<WorkspaceError> {
    let all = vec![
        WorkspaceError::Unavailable,
        WorkspaceError::NotPermitted,
        WorkspaceError::Disconnected,
        WorkspaceError::Ended,
        WorkspaceError::Busy,
        WorkspaceError::Configuration(vec![ConfigError::new("wrong")]),
        WorkspaceError::ProjectChanged,
        WorkspaceError::UnknownChoice,
        WorkspaceError::NotWritten { why: "full".into() },
        WorkspaceError::Failed(Box::new(Failure::clone(&failure()))),
    ];
    every_workspace_error(&all);
    all
}

fn command_results() -> Vec<Result<Reply, CommandError>> {
    let replies = [Reply::Done, Reply::Purged { responses: 3 }];
    every_reply(&replies);
    let errors = [
        CommandError::UnknownServer { server: server() },
        CommandError::Busy { server: server() },
        CommandError::NotConnected { server: server() },
        CommandError::Refused { why: "no".into() },
        CommandError::QuestionClosed,
        CommandError::RunActive { run: RunId::new(1, 1) },
        CommandError::RunNotActive { run: RunId::new(1, 1) },
        CommandError::Cache { why: "no".into() },
        CommandError::CallNotInFlight { call: CallId(7) },
        CommandError::NotPermitted,
        CommandError::EngineLost,
        CommandError::ReadOnly,
        CommandError::TooMany { limit: 9 },
        CommandError::TooLarge { size: 10, limit: 9 },
        CommandError::Disconnected,
        CommandError::Ended,
    ];
    every_command_error(&errors);
    replies.into_iter().map(Ok).chain(errors.into_iter().map(Err)).collect()
}

fn submit_results() -> Vec<Result<CallId, SubmitError>> {
    let errors = [
        SubmitError::Ended,
        SubmitError::NotConnected,
        SubmitError::ReadOnly,
        SubmitError::TooMany { limit: 9 },
        SubmitError::TooLarge { size: 10, limit: 9 },
        SubmitError::Disconnected,
    ];
    every_submit_error(&errors);
    [Ok(CallId(u64::MAX))].into_iter().chain(errors.into_iter().map(Err)).collect()
}

fn phases() -> Vec<Phase> {
    let why = Arc::new(ConnectFailure { stderr: vec!["boom".into()], ..ConnectFailure::new(Step::Dial, "refused") });
    let all = vec![
        Phase::Idle,
        Phase::Disabled,
        Phase::Starting { step: Step::Initialize },
        Phase::Ready,
        Phase::Degraded { reason: crate::domain::server::DegradedReason::HealthCheck { message: "no".into() } },
        Phase::Reconnecting { attempt: 2, until: Stamp(9), why: why.clone() },
        Phase::NeedsLogin { why: why.clone() },
        Phase::Failed { why },
    ];
    every_phase(&all);
    all
}

fn call_events() -> Vec<CallEvent> {
    let decision = Decision { order: vec![server()], passed_over: vec![(server(), "busy".into())], ..Decision::default() };
    let took = Duration::from_micros(1234);
    let all = vec![
        CallEvent::Routed { decision: Arc::new(decision) },
        CallEvent::Waiting { on: Wait::Permit, server: server() },
        CallEvent::Probing { server: server() },
        CallEvent::Attempt { attempt: 1, server: server(), subject: "buy".into(), cause: Cause::First },
        CallEvent::Ended { attempt: 1, end: AttemptEnd::Failed { failure: failure() }, verdict: Verdict::Failure, took },
        CallEvent::Resent { attempt: 1, cause: Resend::ProvenGone },
        CallEvent::BackOff { pause: took, why: "w".into() },
        CallEvent::NotRepeated { why: "w".into() },
        CallEvent::CacheHit { age: took, key: "k".into(), store: "memory".into(), stale: true },
        CallEvent::CacheMiss { key: "k".into() },
        CallEvent::Shared { with: CallId(1) },
        CallEvent::Fallback { to: "t".into(), after: "a".into() },
        CallEvent::Injected { what: "w".into() },
        CallEvent::Late { attempt: 2, after: took },
    ];
    every_call_event(&all);
    all
}

fn settled() -> Vec<Settled> {
    let all = [
        Outcome::Ok { result: raw() },
        Outcome::ToolError { result: Body::from("{}") },
        Outcome::Failed { failure: failure() },
        Outcome::Cancelled { reason: "enough".into() },
        Outcome::Interim { result: raw(), kind: InterimKind::Task },
    ];
    every_outcome(&all);
    let timings = Timings { queued: Stamp(1), sent: Some(Stamp(2)), first_byte: None, last_byte: Some(Stamp(3)), settled: Stamp(u64::MAX) };
    let settled = |outcome| Settled {
        outcome,
        timings,
        rounds: 1,
        sent_bytes: 2,
        received_bytes: 3,
        attempts: 4,
        by: Some(server()),
        cached: Some(Duration::from_secs(5)),
    };
    all.into_iter().map(settled).collect()
}

fn asks() -> Vec<Arc<Ask>> {
    let questions = [
        Question::Form { message: "who?".into(), schema: Body::from("{}") },
        Question::Url { message: "open".into(), url: "https://example.com".into() },
        Question::Sampling { params: Body::from("{}") },
        Question::Roots,
    ];
    every_question(&questions);
    let ask =
        |question| Ask { id: AskId(1), server: server(), call: Some(CallId(2)), question, at: Stamp(3), run: None, client: ClientId(7) };
    questions.into_iter().map(|question| Arc::new(ask(question))).collect()
}

fn frame() -> Arc<Frame> {
    let headers = Arc::new(vec![("a".into(), "b".into())]);
    Arc::new(Frame {
        seq: 3,
        at: Stamp(4),
        server: server(),
        direction: Direction::In,
        kind: FrameKind::Response,
        body: raw(),
        cut: Some(100),
        size: 100,
        call: Some(CallId(1)),
        method: Some("tools/call".into()),
        rpc_id: Some("7".into()),
        http: Some(Arc::new(HttpNote { line: "200 OK".into(), headers, event_id: Some("e".into()) })),
    })
}

fn client_info(era: Era, transport: ClientTransport) -> ClientInfo {
    ClientInfo {
        name: Some("c".into()),
        version: Some("1".into()),
        era,
        protocol: "2025-11-25".into(),
        transport,
        principal: Principal::new("ci"),
        profile: "default".into(),
    }
}

/// Every kind of event. Applied in order they make a state with everything in it.
pub fn events() -> Vec<Arc<Event>> {
    let env = vec![("TOKEN".into(), Secret::new("value-of-the-token", "${TOKEN}"))];
    let launch = Transport::Stdio { command: "shop".into(), args: vec![Secret::literal("a")], env, inherit_env: false, cwd: None };
    let tool = r#"{"name":"buy","description":"d","inputSchema":{"type":"object"}}"#;
    let lists = RawLists { tools: vec![Body::from(tool)], ..RawLists::default() };
    let step = StepSummary { id: "a".into(), what: "t".into(), for_each: false, compensates: true };
    let plan = PlanSummary { name: "w".into(), steps: vec![step], edges: vec![] };
    let view = Arc::new(StepView { state: StepState::Waiting { what: "x".into() }, result: Some(raw()), ..StepView::default() });
    let run = RunId::new(5, 6);
    let report = RunReport {
        outcome: RunOutcome::Partial,
        why: Some("w".into()),
        detail: vec!["d".into()],
        steps: vec![("a".into(), view.clone())],
        output: Some(Body::from("{}")),
        compensated: vec![],
        not_compensated: vec![("a".into(), "w".into())],
        questions: vec![RunQuestion { step: "a".into(), item: Some(1), message: "m".into(), schema: Some(raw()) }],
        started: Stamp(1),
        ended: Stamp(2),
    };
    let log = LogMessage { level: LogLevel::Error, source: LogSource::Message, logger: Some("l".into()), text: "t".into(), call: None };
    let anomaly = Anomaly { kind: AnomalyKind::Late, detail: "d".into(), call: Some(CallId(1)), frame: Some(3) };
    let added = ServerSpec { trusted: true, ..ServerSpec::new("shop", launch) };
    let mut kinds = vec![
        EventKind::ServerAdded { spec: Arc::new(ServerSpec { id: "gone".into(), ..added.clone() }) },
        EventKind::ServerRemoved { server: "gone".into() },
        EventKind::ServerAdded { spec: Arc::new(added) },
        EventKind::ServerInfo { server: server(), info: Arc::new(SessionInfo::bare(Stamp(5))) },
        EventKind::ServerListed { server: server(), catalog: Arc::new(ServerCatalog::read(lists, None)) },
        EventKind::ServerStderr { server: server(), line: "boom".into() },
        EventKind::ServerLog { server: server(), log: Arc::new(log) },
        EventKind::ServerAnomaly { server: server(), anomaly: Arc::new(anomaly) },
        EventKind::ResourceSubscribed { server: server(), uri: "u".into(), on: true },
        EventKind::ResourceUpdated { server: server(), uri: "u".into() },
        EventKind::Breaker { server: server(), tool: None, view: Arc::new(BreakerView::default()) },
        EventKind::Breaker { server: server(), tool: Some("buy".into()), view: Arc::new(BreakerView::default()) },
        EventKind::Rules { rules: Arc::new(Rules::default()) },
        EventKind::Cache { view: Default::default() },
        EventKind::FaultSet { server: server(), tool: None, fault: Some(Fault::default()) },
        EventKind::FaultSet { server: server(), tool: Some("buy".into()), fault: Some(Fault::default()) },
        EventKind::ClientConnected { client: ClientId(7), info: Arc::new(client_info(Era::Legacy, ClientTransport::Http)) },
        EventKind::ClientConnected { client: ClientId(8), info: Arc::new(client_info(Era::Modern, ClientTransport::Unix)) },
        EventKind::ClientConnected { client: ClientId(9), info: Arc::new(client_info(Era::Legacy, ClientTransport::Stdio)) },
        EventKind::ClientConnected { client: ClientId(10), info: Arc::new(client_info(Era::Legacy, ClientTransport::Tap)) },
        EventKind::ClientDisconnected { client: ClientId(10) },
        EventKind::ClientSessions { server: server(), sessions: Arc::from([ClientSession { client: ClientId(7), since: Stamp(5) }]) },
        EventKind::Notice { notice: Arc::new(Notice::new(NoticeLevel::Warn, "n")) },
        EventKind::RunStarted { run, plan: Arc::new(plan), input: Body::from("{}"), origin: Origin::Console },
        EventKind::RunStep { run, step: "a".into(), view: view.clone() },
        EventKind::RunStep { run, step: "a/inner".into(), view },
        EventKind::RunSettled { run, report: Arc::new(report) },
        EventKind::Frame { frame: frame() },
    ];
    kinds.extend(phases().into_iter().map(|phase| EventKind::ServerPhase { server: server(), phase: Arc::new(phase) }));
    for (call, spec) in (1..).map(CallId).zip(specs()) {
        kinds.push(EventKind::CallQueued { call, spec: Arc::new(spec) });
        kinds.push(EventKind::CallSent { call, round: 1 });
        let progress = Progress { progress: 0.1, total: Some(1.0), message: Some("m".into()) };
        kinds.push(EventKind::CallProgress { call, progress });
    }
    let call = CallId(1);
    kinds.extend(call_events().into_iter().map(|stage| EventKind::CallStage { call, stage: Arc::new(stage) }));
    let waiting = CallSpec { follows: Some(CallId(1)), ..CallSpec::new(operations().remove(0), Origin::Client(ClientId(8))) };
    kinds.push(EventKind::CallQueued { call: CallId(90), spec: Arc::new(waiting) });
    for (call, settled) in (1..).map(CallId).zip(settled()) {
        kinds.push(EventKind::CallSettled { call, settled: Arc::new(settled) });
    }
    kinds.push(EventKind::AskClosed { ask: AskId(99), how: AskEnd::Answered });
    kinds.extend(asks().into_iter().map(|ask| EventKind::AskOpened { ask }));
    every_event(&kinds);
    (1..).zip(kinds).map(|(seq, kind)| Arc::new(Event { seq, at: Stamp(seq * 1000), kind })).collect()
}

/// A state with everything in it.
pub fn state() -> ConsoleState {
    let mut state = ConsoleState::new(Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 3600 }, "_", Retention::default());
    events().iter().for_each(|event| state.apply(event));
    state
}

/// Messages of an engine.
pub fn engine_messages() -> Vec<EngineMessage> {
    let parts: Vec<SnapshotPart> = state().parts(true).collect();
    every_part(&parts);
    let mut all = vec![
        EngineMessage::Hello(Hello {
            protocol: PROTOCOL,
            version: "1.2.3".into(),
            instance: InstanceId(u32::MAX),
            client: ClientId(7),
            role: Role::Client,
        }),
        EngineMessage::Refused { protocol: 2, version: "1.2.3".into() },
        EngineMessage::Events(events()),
        EngineMessage::Frames { frames: vec![SequencedFrame { seq: 9, frame: frame() }], dropped: 3 },
        EngineMessage::Lagged { missed: 3 },
        EngineMessage::Compared { request: 3, different: vec![server()] },
        EngineMessage::WorkspaceState(Box::<WorkspaceState>::default()),
    ];
    all.extend(parts.into_iter().map(EngineMessage::Snapshot));
    all.extend(submit_results().into_iter().map(|result| EngineMessage::Submitted { request: 1, result }));
    all.extend(command_results().into_iter().map(|result| EngineMessage::CommandReply { request: 1, result }));
    let replies = workspace_replies().into_iter().map(Ok).chain(workspace_errors().into_iter().map(Err));
    all.extend(replies.map(|result| EngineMessage::WorkspaceReply { request: 1, result: Box::new(result) }));
    every_engine_message(&all);
    all
}
