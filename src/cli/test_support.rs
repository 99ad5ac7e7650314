//! Test support: a scripted engine with a real read model and real events, without servers.

use std::{
    io::{self, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::{
    Options,
    args::Headless,
    output_schema::Output,
    print::{Format, Io, IoStyle},
    session::Signals,
};
use crate::{
    control::{
        Command, CommandError, Control, Filter, Interest, NoWorkspace, PendingCall, PendingReply, Reply, Role, Served, SubmitError, Tail,
        TailSender, Workspace,
    },
    domain::{
        ask::AskEnd,
        body::Body,
        call::{CallSpec, Failure, Outcome, Timings},
        catalog::{RawLists, ServerCatalog},
        event::{Event, EventKind, Settled},
        id::{CallId, ClientId, InstanceId, ServerId},
        retention::Retention,
        schema::Checker,
        secret::Secret,
        server::{ConnectFailure, Era, Phase, ServerSpec, SessionInfo, Step, Transport},
        time::{Epoch, Stamp},
    },
    state::ConsoleState,
};

type Script = Box<dyn Fn(&Fake, CallId, &CallSpec) + Send + Sync>;

/// The engine.
pub struct Fake {
    read_model: Mutex<ConsoleState>,
    events: TailSender,
    /// Calls that were submitted.
    pub calls: Mutex<Vec<CallSpec>>,
    /// Commands that were sent.
    pub commands: Mutex<Vec<Command>>,
    /// Whether calls ignore their cancellation.
    pub stubborn: AtomicBool,
    /// The reply to a command that starts a run, which is not started, or that subscribes.
    pub refusal: Mutex<Option<CommandError>>,
    /// Why no call is started.
    pub no_calls: Mutex<Option<SubmitError>>,
    script: Script,
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
        if let Some(refusal) = self.no_calls.lock().unwrap().clone() {
            return std::future::ready(Err(refusal)).boxed();
        }
        let count = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(spec.clone());
            calls.len() as u64
        };
        let id = CallId::from_parts(1_700_000_000_000, count);
        self.publish(EventKind::CallQueued { call: id, spec: Arc::new(spec.clone()) });
        self.publish(EventKind::CallSent { call: id, round: 1 });
        (self.script)(self, id, &spec);
        std::future::ready(Ok(id)).boxed()
    }

    fn command(&self, command: Command) -> PendingReply {
        if let Command::Cancel { call, reason } = &command
            && !self.stubborn.load(Ordering::Relaxed)
        {
            self.settle(*call, Outcome::Cancelled { reason: reason.clone() });
        }
        if let Command::Answer { ask, .. } = &command {
            self.publish(EventKind::AskClosed { ask: *ask, how: AskEnd::Answered });
        }
        let refusal =
            matches!(command, Command::StartRun { .. } | Command::Subscribe { .. }).then(|| self.refusal.lock().unwrap().clone()).flatten();
        self.commands.lock().unwrap().push(command);
        std::future::ready(refusal.map_or(Ok(Reply::Done), Err)).boxed()
    }
}

impl Fake {
    /// Returns an engine whose calls run `script`. `capacity` is that of the tail.
    pub fn scripted(capacity: usize, script: impl Fn(&Fake, CallId, &CallSpec) + Send + Sync + 'static) -> Arc<Fake> {
        let read_model = ConsoleState::new(Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 }, "_", Retention::default());
        Arc::new(Fake {
            read_model: Mutex::new(read_model),
            events: TailSender::new(capacity),
            calls: Mutex::default(),
            commands: Mutex::default(),
            stubborn: AtomicBool::new(false),
            refusal: Mutex::default(),
            no_calls: Mutex::default(),
            script: Box::new(script),
        })
    }

    /// Returns an engine whose calls all end with `outcome`.
    pub fn ending(outcome: Outcome) -> Arc<Fake> {
        Fake::scripted(1000, move |fake, id, _| fake.settle(id, outcome.clone()))
    }

    /// Returns an engine whose calls all return `result`.
    pub fn giving(result: Value) -> Arc<Fake> {
        Fake::ending(Outcome::Ok { result: Body::json(&result) })
    }

    /// Returns what a remote client of this engine is served.
    pub fn served(self: &Arc<Self>) -> Served {
        Served { control: self.clone(), role: Role::Operator, instance: InstanceId(1), secrets: Default::default() }
    }

    /// Publishes an event.
    pub fn publish(&self, kind: EventKind) {
        let mut read_model = self.read_model.lock().unwrap();
        let seq = read_model.seq + 1;
        let event = Arc::new(Event { seq, at: Stamp(seq * 1_000_000), kind });
        read_model.apply(&event);
        self.events.send(&event);
    }

    /// Ends a call.
    pub fn settle(&self, call: CallId, outcome: Outcome) {
        let stamp = |ms: u64| Stamp(ms * 1_000_000);
        let timings =
            Timings { queued: stamp(1), sent: Some(stamp(3)), first_byte: Some(stamp(40)), last_byte: Some(stamp(43)), settled: stamp(44) };
        let settled = Settled { outcome, timings, rounds: 1, sent_bytes: 120, received_bytes: 90, attempts: 1, by: None, cached: None };
        self.publish(EventKind::CallSettled { call, settled: Arc::new(settled) });
    }

    /// Changes a server's state.
    pub fn phase(&self, server: &str, phase: Phase) {
        self.publish(EventKind::ServerPhase { server: server.into(), phase: Arc::new(phase) });
    }

    /// Adds a server that is starting.
    pub fn starting(&self, name: &str) {
        let args = vec![Secret::literal("--stdio"), Secret::new("hunter22", "${TOKEN}")];
        let launch = Transport::Stdio { command: format!("{name}-server"), args, env: vec![], inherit_env: false, cwd: None };
        self.publish(EventKind::ServerAdded { spec: Arc::new(ServerSpec::new(name, launch)) });
        self.phase(name, Phase::Starting { step: Step::Initialize });
    }

    /// Makes a server ready, with these lists.
    pub fn ready(&self, name: &str, lists: RawLists) {
        let info = SessionInfo {
            era: Era::Legacy,
            protocol: "2025-11-25".into(),
            name: Some(format!("{name}-demo")),
            title: None,
            version: Some("1.2.0".into()),
            instructions: None,
            capabilities: Body::from(r#"{"tools":{"listChanged":true},"logging":{}}"#),
            pid: Some(4242),
            since: Stamp(5_000_000),
            took: Duration::from_millis(31),
            probe_unanswered: None,
            http_sse: false,
        };
        self.publish(EventKind::ServerInfo { server: name.into(), info: Arc::new(info) });
        let catalog = Arc::new(ServerCatalog::read(lists, None));
        self.publish(EventKind::ServerListed { server: name.into(), catalog });
        self.phase(name, Phase::Ready);
    }

    /// Makes a server fail permanently.
    pub fn failed(&self, name: &str) {
        let mut why = ConnectFailure::new(Step::Initialize, "the program ended before it answered");
        why.target = format!("{name}-server --stdio '${{TOKEN}}'");
        why.cwd = Some("/srv".into());
        why.found = Some(format!("/usr/bin/{name}-server"));
        why.exit = Some(crate::domain::server::Exit::Code(1));
        why.stderr = vec!["boom\u{1b}[31m".into()];
        why.hints = vec!["run the command in a shell".into()];
        self.phase(name, Phase::Failed { why: Arc::new(why) });
    }
}

/// Returns the lists of the database server of most tests.
pub fn db() -> RawLists {
    let read = json!({"readOnlyHint": true});
    let query = json!({"name": "query", "description": "Runs a query\u{1b}[2J.\nMore.", "annotations": read, "inputSchema": {
        "type": "object", "properties": {"sql": {"type": "string"}, "limit": {"type": "integer", "maximum": 100}}, "required": ["sql"]}});
    let drop = json!({"name": "drop", "description": "Drops a table.", "inputSchema": {"type": "object"}});
    let insert = json!({"name": "insert", "annotations": {"destructiveHint": false}, "inputSchema": {"type": "object"}});
    RawLists {
        tools: [query, drop, insert].iter().map(Body::json).collect(),
        resources: vec![Body::json(&json!({"uri": "db://schema", "name": "schema"}))],
        templates: vec![Body::json(&json!({"uriTemplate": "db://table/{name}", "name": "table"}))],
        prompts: vec![Body::json(&json!({"name": "explain", "arguments": [{"name": "sql", "required": true}, {"name": "style"}]}))],
        ..RawLists::default()
    }
}

/// A buffer that can be read after its writer was dropped.
#[derive(Clone, Default)]
pub struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Buffer {
    /// Returns the written text.
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Returns the written bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Output of a command.
pub struct Ran {
    /// The exit code.
    pub code: u8,
    /// Standard output.
    pub out: String,
    /// The same as bytes.
    pub bytes: Vec<u8>,
    /// Standard error.
    pub err: String,
}

/// Returns buffers in place of the terminal; `stdin` is the typed text, `None` without a terminal.
pub fn buffers(stdin: Option<&str>) -> (Io, Buffer, Buffer) {
    let (out, err) = (Buffer::default(), Buffer::default());
    let typed: Option<Box<dyn io::Read + Send>> = stdin.map(|text| Box::new(io::Cursor::new(text.to_owned())) as _);
    let io = Io {
        stdin: typed,
        stdout: Box::new(out.clone()),
        stderr: Box::new(err.clone()),
        stdin_tty: false,
        stdout_tty: false,
        stderr_tty: false,
        width: 80,
        style: IoStyle::default(),
    };
    (io, out, err)
}

/// Runs a command line (without the program's name) like the composition root.
pub async fn ran_with(fake: &Arc<Fake>, line: &[&str], set: impl FnOnce(&mut Io), stdin: Option<&str>, signals: Signals) -> Ran {
    let (mut io, out, err) = buffers(stdin);
    set(&mut io);
    let (command, options) = parsed(line);
    let code = super::run(fake.clone(), &command, &options, io, signals).await;
    let (out, bytes) = (out.bytes(), out.bytes());
    check_output(&command, &options, &bytes);
    Ran { code, out: String::from_utf8_lossy(&out).into_owned(), bytes, err: err.text() }
}

/// Checks JSON output against the documented schema. A text that is not JSON was cut by a test.
fn check_output(command: &Headless, options: &Options, bytes: &[u8]) {
    let lines = match options.format {
        Format::Human => return,
        Format::Json => false,
        Format::Jsonl => true,
    };
    let name = match command {
        Headless::Tools(_) => "tools",
        Headless::List(kind, _) => kind.plural(),
        Headless::Call(_) => "call",
        Headless::Read(_) => "read",
        Headless::Prompt(_) => "prompt",
        Headless::Complete(_) => "complete",
        Headless::Watch(_) => "watch",
        Headless::Request(_) => "request",
        Headless::Route(_) => "route",
        Headless::Breaker(_) => "breaker",
        Headless::Fault(_) => "fault",
        Headless::Servers => "servers",
        Headless::Doctor(_) => "doctor",
        Headless::Run(args) if args.dry_run => "run --dry-run",
        Headless::Run(_) => "run",
        Headless::CheckLive(_) => "workflow check",
        Headless::Check(_) => "check",
    };
    let schema = Output::read().unwrap().of_command(name, lines).unwrap();
    let checker = Checker::new(&Body::json(&schema));
    for document in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>().map_while(Result::ok) {
        let violations = checker.check(&document);
        assert!(violations.is_empty(), "{name}: {violations:#?}\n{document:#}");
    }
}

/// Runs a command line without a terminal.
pub async fn ran(fake: &Arc<Fake>, line: &[&str]) -> Ran {
    ran_with(fake, line, |_| {}, None, Signals::none()).await
}

/// Parses a command line.
pub fn parsed(line: &[&str]) -> (Headless, Options) {
    use clap::Parser;
    let cli = super::args::Cli::try_parse_from(std::iter::once(&"switchboard").chain(line)).unwrap();
    let options = Options::from(&cli.global);
    (cli.command.unwrap().headless().unwrap(), options)
}

/// Returns an engine whose calls all fail with `failure`.
pub fn failing(failure: Failure) -> Arc<Fake> {
    Fake::ending(Outcome::Failed { failure: Arc::new(failure) })
}

/// Returns the id of a server.
pub fn id(name: &str) -> ServerId {
    ServerId::from(name)
}
