//! Fakes for the tests of the gateway: an upstream that answers from a script, and a client on a pipe.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    Gateway, Settings, stdio,
    upstream::{RunInProgress, ServerNotice, Upstream},
};
use crate::{
    domain::{
        body::Body,
        call::{CallSpec, Outcome, Timings},
        catalog::{RawLists, ServerCatalog},
        client::ClientInfo,
        directory::{Directory, DirectorySnapshot, ServerSnapshot},
        event::{LogLevel, Settled},
        id::{CallId, ClientId, ServerId},
        run::{RunId, RunSpec, StepAnswer},
        server::{Phase, ServerSpec, SessionInfo, Transport},
        time::Stamp,
        workflow::library::WorkflowEntry,
    },
    engine::passage::Passage,
};

/// Returns a server in this state.
pub fn snapshot(spec: ServerSpec, phase: Phase, catalog: ServerCatalog) -> ServerSnapshot {
    ServerSnapshot { spec: Arc::new(spec), phase: Arc::new(phase), info: None, catalog: Arc::new(catalog) }
}

/// Returns a directory of these servers, with the exposed names of their tools.
pub fn directory(servers: Vec<ServerSnapshot>) -> DirectorySnapshot {
    let unnamed = DirectorySnapshot { servers: servers.into(), ..DirectorySnapshot::default() };
    DirectorySnapshot { names: Arc::new(unnamed.build_names("_")), ..unnamed }
}

/// Returns a connected server with these lists and capabilities.
pub fn ready(id: &str, capabilities: &str, lists: Value) -> ServerSnapshot {
    let bodies = |key: &str| lists[key].as_array().into_iter().flatten().map(Body::json).collect();
    let raw = RawLists {
        tools: bodies("tools"),
        resources: bodies("resources"),
        templates: bodies("templates"),
        prompts: bodies("prompts"),
        ..RawLists::default()
    };
    let info = SessionInfo {
        capabilities: Body::from(capabilities),
        name: Some(format!("{id}-server")),
        version: Some("7".into()),
        instructions: Some(format!("Use {id}.")),
        ..SessionInfo::bare(Stamp(0))
    };
    let snapshot = snapshot(ServerSpec::new(id, Transport::unknown()), Phase::Ready, ServerCatalog::read(raw, None));
    ServerSnapshot { info: Some(Arc::new(info)), ..snapshot }
}

/// Returns a server with tools of these names.
pub fn with_tools(id: &str, names: &[&str]) -> ServerSnapshot {
    let tools: Vec<Value> = names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
    ready(id, r#"{"tools":{}}"#, json!({"tools": tools}))
}

/// Answers a call.
pub type Script = dyn Fn(CallSpec, Passage) -> BoxFuture<'static, Outcome> + Send + Sync;

/// An upstream without servers.
pub struct FakeUpstream {
    directory: Mutex<DirectorySnapshot>,
    changes: watch::Sender<u64>,
    script: Box<Script>,
    /// What the gateway did in addition to calls.
    log: watch::Sender<Vec<String>>,
    calls: Mutex<u64>,
    clients: Mutex<u32>,
    /// The clients that connected, and with `None` those that disconnected.
    pub connections: watch::Sender<Vec<(ClientId, Option<Arc<ClientInfo>>)>>,
    notices: (mpsc::Sender<ServerNotice>, Mutex<Option<mpsc::Receiver<ServerNotice>>>),
    /// The run that the next call of a workflow starts.
    pub run: Mutex<Option<RunInProgress>>,
    /// The workflows.
    pub workflows: watch::Sender<Arc<[WorkflowEntry]>>,
}

impl FakeUpstream {
    /// Creates an upstream with these servers, which answers calls from a script.
    pub fn new(
        servers: Vec<ServerSnapshot>,
        script: impl Fn(CallSpec, Passage) -> BoxFuture<'static, Outcome> + Send + Sync + 'static,
    ) -> Arc<FakeUpstream> {
        let (sender, receiver) = mpsc::channel(16);
        Arc::new(FakeUpstream {
            directory: Mutex::new(directory(servers)),
            changes: watch::Sender::new(0),
            script: Box::new(script),
            log: watch::Sender::default(),
            calls: Mutex::new(0),
            clients: Mutex::new(0),
            connections: watch::Sender::default(),
            notices: (sender, Mutex::new(Some(receiver))),
            run: Mutex::default(),
            workflows: watch::Sender::new(Arc::from([])),
        })
    }

    /// Creates an upstream whose calls return their own subject and arguments.
    pub fn echoing(servers: Vec<ServerSnapshot>) -> Arc<FakeUpstream> {
        FakeUpstream::new(servers, |spec, _| {
            let text = format!("{} {} {}", spec.operation.server(), spec.operation.subject(), arguments(&spec).text());
            async move { ok(json!({"content": [{"type": "text", "text": text}]}).to_string()) }.boxed()
        })
    }

    /// Replaces the servers.
    pub fn set(&self, servers: Vec<ServerSnapshot>) {
        *self.directory.lock() = directory(servers);
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Returns what the gateway did in addition to calls, so far.
    pub fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// Waits until the gateway has done this number of things in addition to calls, and returns all of them.
    pub async fn logged(&self, count: usize) -> Vec<String> {
        let mut log = self.log.subscribe();
        let logged = timeout(PATIENCE, log.wait_for(|log| log.len() >= count)).await;
        logged.unwrap_or_else(|_| panic!("{count} entries in time: {:?}", self.log())).expect("the upstream lives").clone()
    }

    fn note(&self, what: String) {
        self.log.send_modify(|log| log.push(what));
    }

    /// Reports a notice of a server.
    pub async fn report(&self, notice: ServerNotice) {
        self.notices.0.send(notice).await.expect("the gateway reads notices");
    }
}

/// Returns the arguments of a call of a tool.
pub fn arguments(spec: &CallSpec) -> Body {
    match &spec.operation {
        crate::domain::call::Operation::Tool { arguments, .. } => arguments.clone(),
        _ => Body::default(),
    }
}

/// Returns the outcome with this result.
pub fn ok(result: impl Into<String>) -> Outcome {
    Outcome::Ok { result: Body::from(result.into()) }
}

impl Upstream for FakeUpstream {
    fn now(&self) -> Stamp {
        Stamp(0)
    }

    fn directory(&self) -> DirectorySnapshot {
        self.directory.lock().clone()
    }

    fn directory_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn next_client(&self) -> ClientId {
        let mut clients = self.clients.lock();
        *clients += 1;
        ClientId(*clients)
    }

    fn client_connected(&self, client: ClientId, info: Arc<ClientInfo>) {
        self.connections.send_modify(|all| all.push((client, Some(info))));
    }

    fn client_disconnected(&self, client: ClientId) {
        self.connections.send_modify(|all| all.push((client, None)));
    }

    fn pass(&self, spec: CallSpec, passage: Passage) -> (CallId, BoxFuture<'static, Option<Arc<Settled>>>) {
        let mut calls = self.calls.lock();
        *calls += 1;
        let outcome = (self.script)(spec, passage);
        let settled = async move {
            let timings = Timings::default();
            let outcome = outcome.await;
            Some(Arc::new(Settled { outcome, timings, rounds: 1, sent_bytes: 0, received_bytes: 0, attempts: 1, by: None, cached: None }))
        };
        (CallId(*calls), settled.boxed())
    }

    fn cancel(&self, call: CallId, _: &str) {
        self.note(format!("cancel {}", call.0));
    }

    fn subscribe(&self, server: &ServerId, uri: &str, on: bool) {
        self.note(format!("{} {server} {uri}", if on { "subscribe" } else { "unsubscribe" }));
    }

    fn set_log_level(&self, server: &ServerId, level: &LogLevel) {
        self.note(format!("level {server} {level}"));
    }

    fn unix_ms(&self) -> u64 {
        0
    }

    fn workflows(&self) -> watch::Receiver<Arc<[WorkflowEntry]>> {
        self.workflows.subscribe()
    }

    fn start_run(&self, run: RunId, _: RunSpec, _: Passage) -> Result<RunInProgress, String> {
        assert_eq!(run.unix_ms(), self.unix_ms());
        self.run.lock().take().ok_or_else(|| "this upstream has no run".into())
    }

    fn resume_run(&self, _: RunId, _: Vec<(String, StepAnswer)>, _: Passage) -> Result<RunInProgress, String> {
        Err("this upstream resumes no runs".into())
    }

    fn cancel_run(&self, _: RunId, _: &str) {
        self.note("cancel run".into());
    }

    fn notices(&self) -> mpsc::Receiver<ServerNotice> {
        self.notices.1.lock().take().expect("one gateway for each upstream")
    }
}

/// How long a test waits for a message that must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client on the pipes of the stdio face.
pub struct PipeClient {
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    output: WriteHalf<DuplexStream>,
    /// The face.
    pub served: JoinHandle<()>,
    next_id: u64,
    /// Messages that were read while another one was waited for.
    pub passed: VecDeque<Value>,
}

impl PipeClient {
    /// Connects a client to a gateway.
    pub fn connect(gateway: &Arc<Gateway>) -> PipeClient {
        PipeClient::of_profile(gateway, "default")
    }

    /// Connects a client of a profile.
    pub fn of_profile(gateway: &Arc<Gateway>, profile: &str) -> PipeClient {
        let profile = gateway.profile(profile).expect("the profile is configured");
        let (near, far) = tokio::io::duplex(1 << 20);
        let (input, output) = tokio::io::split(near);
        let (far_input, far_output) = tokio::io::split(far);
        let gateway = gateway.clone();
        let served = tokio::spawn(async move { stdio::serve(&gateway, profile, far_input, far_output).await });
        PipeClient { lines: BufReader::new(input).lines(), output, served, next_id: 1, passed: VecDeque::new() }
    }

    /// Connects a client to a gateway over `upstream`, with default settings.
    pub fn of(upstream: &Arc<FakeUpstream>) -> PipeClient {
        PipeClient::connect(&Gateway::new(upstream.clone(), Settings { quiet: Duration::from_millis(1), ..Settings::default() }))
    }

    /// Sends a line.
    pub async fn send(&mut self, text: &str) {
        self.output.write_all(format!("{text}\n").as_bytes()).await.expect("the face reads");
    }

    /// Ends the input of the face.
    pub async fn end(&mut self) {
        self.output.shutdown().await.expect("the face is there");
    }

    /// Returns the next line as text.
    pub async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("a message in time");
        line.expect("the pipe is open").expect("the face has not ended")
    }

    /// Returns the next message with a member `key`; others are stored.
    pub async fn message(&mut self, key: &str) -> Value {
        if let Some(at) = self.passed.iter().position(|message| message.get(key).is_some()) {
            return self.passed.remove(at).expect("just found");
        }
        let (lines, passed) = (&mut self.lines, &mut self.passed);
        let found = async {
            while let Some(line) = lines.next_line().await.expect("the pipe is open") {
                let message: Value = serde_json::from_str(&line).expect("JSON");
                if message.get(key).is_some() {
                    return message;
                }
                passed.push_back(message);
            }
            panic!("the face ended without a message with {key}")
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("a message with {key} in time"))
    }

    /// Sends a request and returns its response.
    pub async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string()).await;
        let answered = async {
            loop {
                let message = self.message("id").await;
                if message["id"] == id && message.get("method").is_none() {
                    return message;
                }
                self.passed.push_back(message);
            }
        };
        timeout(PATIENCE, answered).await.unwrap_or_else(|_| panic!("a response to {method} in time"))
    }

    /// Initialises as a client with these capabilities.
    pub async fn initialize(&mut self, capabilities: Value) -> Value {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "c", "version": "1"}});
        let result = self.ask("initialize", params).await;
        self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        result["result"].clone()
    }
}
