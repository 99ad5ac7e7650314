//! Test support: a fake engine behind [`Control`], and scripted events.

pub mod policy;
pub mod runs;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use serde_json::json;

use crate::{
    control::{
        Command, Control, Filter, Interest, NoWorkspace, PendingCall, PendingReply, Reply, Role, Served, Tail, TailSender, Workspace,
    },
    domain::{
        ask::{Ask, Question},
        body::Body,
        call::{CallSpec, Failure, FailureKind, Operation, Origin, Outcome, Timings},
        catalog::{RawLists, ServerCatalog},
        event::{Event, EventKind, Settled},
        frame::{Direction, Frame, FrameKind},
        id::{AskId, CallId, ClientId, InstanceId, ServerId, ToolId},
        retention::Retention,
        server::{ConnectFailure, DegradedReason, Era, Exit, Phase, ServerSpec, SessionInfo, Step, Transport},
        time::{Epoch, Stamp},
    },
    state::ConsoleState,
};

/// Returns the stamp `ms` milliseconds after the start.
pub fn at(ms: u64) -> Stamp {
    Stamp(ms * 1_000_000)
}

/// Numbers and collects events.
pub struct Script {
    /// The events so far.
    pub events: Vec<Arc<Event>>,
    seq: u64,
}

impl Script {
    /// Creates a script whose first event has the number after `seq`.
    pub fn after(seq: u64) -> Script {
        Script { events: vec![], seq }
    }

    /// Adds an event.
    pub fn push(&mut self, ms: u64, kind: EventKind) -> &mut Self {
        self.seq += 1;
        self.events.push(Arc::new(Event { seq: self.seq, at: at(ms), kind }));
        self
    }

    /// Adds a server in a phase.
    pub fn server(&mut self, ms: u64, spec: ServerSpec, phase: Phase) -> &mut Self {
        let server = spec.id.clone();
        self.push(ms, EventKind::ServerAdded { spec: Arc::new(spec) });
        self.push(ms, EventKind::ServerPhase { server, phase: Arc::new(phase) })
    }

    /// Adds a call that is queued.
    pub fn queued(&mut self, ms: u64, call: u64, operation: Operation) -> &mut Self {
        let spec = Arc::new(CallSpec::new(operation, Origin::Console));
        self.push(ms, EventKind::CallQueued { call: CallId(call), spec });
        self.push(ms, EventKind::CallSent { call: CallId(call), round: 1 })
    }

    /// Adds the end of a call, `took` milliseconds after it was queued at `ms`.
    pub fn settled(&mut self, ms: u64, took: u64, call: u64, outcome: Outcome) -> &mut Self {
        let received = outcome.result().map_or(0, Body::len) as u64;
        let end = at(ms + took);
        let timings = Timings { queued: at(ms), sent: Some(at(ms)), first_byte: Some(end), last_byte: Some(end), settled: end };
        let settled =
            Settled { outcome, timings, rounds: 1, sent_bytes: 120, received_bytes: received, attempts: 1, by: None, cached: None };
        self.push(ms + took, EventKind::CallSettled { call: CallId(call), settled: Arc::new(settled) })
    }

    /// Adds a frame of a call.
    pub fn frame(&mut self, ms: u64, server: &str, call: u64, direction: Direction, body: &str) -> &mut Self {
        let kind = if direction == Direction::Out { FrameKind::Request } else { FrameKind::Response };
        let seq = self.seq;
        self.push(
            ms,
            EventKind::Frame {
                frame: Arc::new(Frame {
                    seq,
                    at: at(ms),
                    server: server.into(),
                    direction,
                    kind,
                    body: Body::from(body),
                    cut: None,
                    size: body.len() as u64 + 1,
                    call: Some(CallId(call)),
                    method: Some("tools/call".into()),
                    rpc_id: Some("7".into()),
                    http: None,
                }),
            },
        )
    }
}

/// Returns the specification of a stdio server.
pub fn spec(id: &str, group: Option<&str>) -> ServerSpec {
    let launch = Transport::Stdio { command: format!("{id}-server"), args: vec![], env: vec![], inherit_env: false, cwd: None };
    ServerSpec { group: group.map(str::to_owned), ..ServerSpec::new(id, launch) }
}

/// Returns the result of a tool that says `text`.
pub fn text_result(text: &str) -> Outcome {
    Outcome::Ok { result: Body::json(&json!({"content": [{"type": "text", "text": text}]})) }
}

/// Returns a tool call.
pub fn tool_call(server: &str, tool: &str, arguments: &str) -> Operation {
    Operation::Tool { tool: ToolId::new(server.into(), tool), arguments: Body::from(arguments) }
}

/// Returns a handshake failure with every detail set.
pub fn crash() -> ConnectFailure {
    ConnectFailure {
        causes: vec!["broken pipe".into()],
        target: "flaky-server --port 70000".into(),
        cwd: Some("/srv/flaky".into()),
        found: Some("/usr/bin/flaky-server".into()),
        exit: Some(Exit::Code(3)),
        stderr: vec!["reading config".into(), "error: port 70000 is out of range \u{1b}[31m".into()],
        hints: vec!["check the last lines of stderr".into()],
        ..ConnectFailure::new(Step::Initialize, "the server exited before it answered initialize")
    }
}

fn listed(server: &str, raw: RawLists) -> EventKind {
    EventKind::ServerListed { server: server.into(), catalog: Arc::new(ServerCatalog::read(raw, None)) }
}

fn tool(name: &str, description: &str, read_only: bool, schema: serde_json::Value) -> Body {
    Body::json(
        &json!({"name": name, "description": description, "inputSchema": schema, "annotations": {"readOnlyHint": read_only, "idempotentHint": read_only}}),
    )
}

fn info(server: &str, ms: u64) -> EventKind {
    EventKind::ServerInfo {
        server: server.into(),
        info: Arc::new(SessionInfo {
            era: Era::Legacy,
            protocol: "2025-11-25".into(),
            name: Some(format!("{server}-mcp")),
            title: None,
            version: Some("1.4.0".into()),
            instructions: Some("Ask for users by e-mail address.".into()),
            capabilities: Body::from(r#"{"tools":{"listChanged":true},"resources":{},"prompts":{}}"#),
            pid: Some(4711),
            since: at(ms),
            took: Duration::from_millis(41),
            probe_unanswered: None,
            http_sse: false,
        }),
    }
}

/// Returns an empty read model and the events that fill it with a shop of five servers.
pub fn shop() -> (ConsoleState, Vec<Arc<Event>>) {
    let mut s = Script::after(0);
    let mut database = spec("database", Some("shop"));
    database.trusted = true;
    s.server(1, database, Phase::Ready);
    let object =
        |properties: serde_json::Value, required: &[&str]| json!({"type": "object", "properties": properties, "required": required});
    s.push(45, info("database", 45));
    s.push(
        46,
        listed(
            "database",
            RawLists {
                tools: vec![
                    tool(
                        "create_user",
                        "Create a user in the directory and return its id.",
                        false,
                        object(
                            json!({
                                "email": {"type": "string", "format": "email", "description": "where invitations go"},
                                "name": {"type": "string"},
                                "role": {"type": "string", "enum": ["developer", "admin", "viewer"], "default": "developer"},
                                "tags": {"type": "array", "items": {"type": "string"}},
                            }),
                            &["email", "name"],
                        ),
                    ),
                    tool(
                        "insert_record",
                        "Insert a record.",
                        false,
                        object(json!({"table": {"type": "string"}, "record": {"type": "object"}}), &["table"]),
                    ),
                    tool("query_users", "Find users.", true, object(json!({"filter": {"type": "string"}}), &[])),
                ],
                resources: vec![Body::from(r#"{"uri":"db://schema","name":"schema","mimeType":"application/json"}"#)],
                templates: vec![Body::from(r#"{"uriTemplate":"db://users/{id}","name":"user"}"#)],
                prompts: vec![Body::from(r#"{"name":"summarise","arguments":[{"name":"table","required":true}]}"#)],
                ..RawLists::default()
            },
        ),
    );
    s.server(2, spec("email", Some("shop")), Phase::Ready);
    s.push(
        60,
        listed(
            "email",
            RawLists {
                tools: vec![
                    tool("send_email", "Send an e-mail.", false, object(json!({"to": {"type": "string"}}), &["to"])),
                    tool("ping", "Answer.", true, json!({"type": "object"})),
                ],
                ..Default::default()
            },
        ),
    );
    let http = Transport::Http { url: "https://analytics.example/mcp?key=1".into(), headers: vec![], socket: None };
    s.server(
        3,
        ServerSpec { group: Some("shop".into()), ..ServerSpec::new("analytics", http) },
        Phase::Degraded { reason: DegradedReason::Lists { first: "slow responses".into(), more: 0, timed_out: false } },
    );
    s.push(
        61,
        listed(
            "analytics",
            RawLists { tools: vec![tool("track_event", "Count.", false, json!({"type": "object"}))], ..Default::default() },
        ),
    );
    s.server(4, spec("flaky", None), Phase::Failed { why: Arc::new(crash()) });
    s.server(5, spec("preferences", None), Phase::Starting { step: Step::Initialize });
    (ConsoleState::new(Epoch { unix_ms: 1_795_000_000_000, utc_offset_s: 0 }, "_", Retention::default()), s.events)
}

/// Returns the read model of the shop after its start.
pub fn shop_state() -> ConsoleState {
    let (mut read_model, events) = shop();
    events.iter().for_each(|event| read_model.apply(event));
    read_model
}

/// Returns calls of every kind on top of [`shop_state`]: answered, failed, cancelled, running with progress.
pub fn busy(after: u64) -> Vec<Arc<Event>> {
    let mut s = Script::after(after);
    let request = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"query_users","arguments":{"filter":"ann"}}}"#;
    s.queued(1000, 100, tool_call("database", "query_users", r#"{"filter":"ann"}"#));
    s.frame(1000, "database", 100, Direction::Out, request);
    s.frame(1003, "database", 100, Direction::In, r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#);
    s.settled(1000, 3, 100, text_result(r#"{"users":[{"id":"u_1042","email":"ann@example.org"}]}"#));
    s.queued(1200, 101, tool_call("email", "send_email", r#"{"to":"ann@example.org"}"#));
    s.settled(
        1200,
        12,
        101,
        Outcome::ToolError { result: Body::from(r#"{"isError":true,"content":[{"type":"text","text":"mailbox full"}]}"#) },
    );
    s.queued(1500, 102, tool_call("analytics", "track_event", "{}"));
    let mut failure = Failure::after_send(FailureKind::Timeout, "no answer within 5 s").hint("raise timeouts.call of analytics");
    failure.stderr = vec!["queue is full".into()];
    s.settled(1500, 5000, 102, Outcome::Failed { failure: Arc::new(failure) });
    s.queued(6600, 103, tool_call("email", "ping", "{}"));
    s.settled(6600, 40, 103, Outcome::Cancelled { reason: "cancelled in the console".into() });
    s.queued(7000, 104, tool_call("analytics", "track_event", r#"{"name":"signup"}"#));
    s.push(
        7400,
        EventKind::CallProgress {
            call: CallId(104),
            progress: crate::domain::call::Progress { progress: 3.0, total: Some(5.0), message: Some("third of five".into()) },
        },
    );
    s.events
}

/// Returns an elicitation of a server with a form.
pub fn ask(id: u64) -> EventKind {
    let schema = Body::from(r#"{"type":"object","properties":{"confirm":{"type":"string"}},"required":["confirm"]}"#);
    asked(id, Some(CallId(101)), Question::Form { message: "Really send it?".into(), schema })
}

/// The event of a question of the server `email`.
pub fn asked(id: u64, call: Option<CallId>, question: Question) -> EventKind {
    let ask = Ask { id: AskId(id), server: "email".into(), call, question, at: at(7500), run: None, client: ClientId::LOCAL };
    EventKind::AskOpened { ask: Arc::new(ask) }
}

/// A [`Control`] without an engine behind it.
pub struct Fake {
    read_model: Mutex<ConsoleState>,
    events: TailSender,
    /// The requests that it received.
    pub asked: Mutex<Vec<String>>,
}

impl Fake {
    /// Creates a control over a read model; `room` events may wait for a watcher.
    pub fn new(read_model: ConsoleState, room: usize) -> Fake {
        Fake { read_model: Mutex::new(read_model), events: TailSender::new(room), asked: Mutex::default() }
    }

    /// Returns what a remote client of this engine is served.
    pub fn served(self: &Arc<Self>) -> Served {
        Served { control: self.clone(), role: Role::Operator, instance: InstanceId(1), secrets: Default::default() }
    }

    /// Publishes an event.
    pub fn publish(&self, at: Stamp, kind: EventKind) {
        let mut read_model = self.read_model.lock().unwrap();
        let event = Arc::new(Event { seq: read_model.seq + 1, at, kind });
        read_model.apply(&event);
        self.events.send(&event);
    }
}

impl Control for Fake {
    fn workspace(&self) -> Arc<dyn Workspace> {
        Arc::new(NoWorkspace::default())
    }

    fn client(&self) -> ClientId {
        ClientId::LOCAL
    }

    fn observe(&self, interest: Interest) -> (Arc<ConsoleState>, Tail) {
        let read_model = self.read_model.lock().unwrap();
        (Arc::new(read_model.clone()), self.events.subscribe_to(read_model.seq, Filter { interest, ..Filter::default() }))
    }

    fn submit(&self, spec: CallSpec) -> PendingCall {
        let count = self.read_model.lock().unwrap().settled_total + 1_000 + self.asked.lock().unwrap().len() as u64;
        self.asked.lock().unwrap().push(format!("submit {}", spec.operation.subject()));
        self.publish(at(count), EventKind::CallQueued { call: CallId(count), spec: Arc::new(spec) });
        std::future::ready(Ok(CallId(count))).boxed()
    }

    fn command(&self, command: Command) -> PendingReply {
        self.asked.lock().unwrap().push(format!("{command:?}"));
        std::future::ready(Ok(Reply::Done)).boxed()
    }
}

/// Returns the id of a server.
pub fn server(id: &str) -> ServerId {
    id.into()
}
