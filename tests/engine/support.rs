//! An engine with servers, and ways to wait for what it shows.

use std::{path::PathBuf, sync::Arc, time::Duration};

use switchboard::{
    control::{Command, Control, LocalControl, run},
    domain::{
        body::Body,
        call::{CallSpec, Failure, Origin, Outcome},
        event::{Event, Settled},
        id::{CallId, ServerId, ToolId},
        retention::Retention,
        secret::Secret,
        server::{ServerSpec, Transport},
        time::Epoch,
    },
    engine::{Engine, EngineOptions, ports::Connector},
    mcp::Connections,
    state::{ConsoleState, ServerView},
};

/// Longer than anything may take; only a hang reaches it.
pub const PATIENCE: Duration = Duration::from_secs(90);

pub struct Rig {
    pub engine: Arc<LocalControl>,
}

/// Where cargo puts what this package builds.
pub fn built(name: &str) -> PathBuf {
    let mut dir = std::env::current_exe().unwrap();
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    dir.join(name)
}

pub fn bad_server() -> String {
    let path = built("examples/badserver");
    assert!(path.exists(), "{} is not built: run `cargo build --examples`", path.display());
    path.display().to_string()
}

pub fn stdio(id: &str, command: &str, args: &[&str]) -> ServerSpec {
    let args = args.iter().map(|a| Secret::literal(*a)).collect();
    ServerSpec::new(id, Transport::Stdio { command: command.into(), args, env: vec![], inherit_env: false, cwd: None })
}

pub fn http(id: &str, url: &str) -> ServerSpec {
    ServerSpec::new(id, Transport::Http { url: url.into(), headers: vec![], socket: None })
}

/// A server that commits every fault in a row: tests check how each one is reported, not its consequences.
pub fn bad(mode: &str) -> ServerSpec {
    let mut spec = stdio("bad", &bad_server(), &[mode]);
    spec.policy.breaker.enabled = false;
    spec
}

impl Rig {
    pub fn start(specs: Vec<ServerSpec>) -> Rig {
        let helper = Some(PathBuf::from(env!("CARGO_BIN_EXE_switchboard")));
        Rig::over(Arc::new(Connections::new(helper)), specs)
    }

    /// An engine over connections of any kind.
    pub fn over(connector: Arc<dyn Connector>, specs: Vec<ServerSpec>) -> Rig {
        Rig::seeded(connector, specs, 1)
    }

    /// The same; the seed decides what is left to chance.
    pub fn seeded(connector: Arc<dyn Connector>, specs: Vec<ServerSpec>, seed: u64) -> Rig {
        let epoch = Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 };
        let options = EngineOptions { epoch, separator: "_".into(), seed: Some(seed) };
        let engine = LocalControl::new(options, Retention::default(), connector);
        engine.apply(specs);
        Rig { engine }
    }

    /// Waits until the read model looks as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&ConsoleState) -> bool) -> ConsoleState {
        let (mut read_model, mut tail) = self.engine.watch();
        let waiting = async {
            while !wanted(&read_model) {
                match tail.next().await {
                    Ok(Some(event)) => Arc::make_mut(&mut read_model).apply(&event),
                    Ok(None) => panic!("the engine went away"),
                    Err(_) => (read_model, tail) = self.engine.watch(),
                }
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            let (read_model, _) = self.engine.watch();
            let phases: Vec<_> = read_model.servers.iter().map(|s| (s.id().clone(), s.phase.clone(), s.anomaly_counts.clone())).collect();
            panic!("never saw: {what}; servers: {phases:#?}");
        }
        Arc::unwrap_or_clone(self.engine.watch().0)
    }

    pub async fn ready(&self, id: &str) -> ConsoleState {
        self.until(&format!("{id} ready"), |w| w.server(&ServerId::from(id)).is_some_and(|s| s.phase.usable())).await
    }

    pub fn read_model(&self) -> ConsoleState {
        Arc::unwrap_or_clone(self.engine.watch().0)
    }

    pub fn server(&self, id: &str) -> ServerView {
        self.read_model().server(&ServerId::from(id)).cloned().expect("the server is configured")
    }

    pub async fn call(&self, server: &str, tool: &str, arguments: &str) -> (CallId, Arc<Settled>) {
        self.call_seeing(server, tool, arguments, |_| {}).await
    }

    pub async fn call_seeing(&self, server: &str, tool: &str, arguments: &str, seen: impl FnMut(&Event)) -> (CallId, Arc<Settled>) {
        let spec = CallSpec::tool(ToolId::new(ServerId::from(server), tool), Body::from(arguments), Origin::Cli);
        self.run(spec, seen).await
    }

    pub async fn call_within(&self, server: &str, tool: &str, limit: Duration) -> Arc<Settled> {
        let spec = CallSpec::tool(ToolId::new(ServerId::from(server), tool), Body::from("{}"), Origin::Cli);
        self.run(CallSpec { timeout: Some(limit), ..spec }, |_| {}).await.1
    }

    pub async fn run(&self, spec: CallSpec, seen: impl FnMut(&Event)) -> (CallId, Arc<Settled>) {
        let what = format!("{:?}", spec.operation);
        match tokio::time::timeout(PATIENCE * 3, run(&*self.engine, spec, seen)).await {
            Ok(settled) => settled.expect("the engine lives"),
            Err(_) => panic!("never settled: {what}"),
        }
    }

    pub fn submit(&self, server: &str, tool: &str, arguments: &str) -> CallId {
        self.start_call(CallSpec::tool(ToolId::new(ServerId::from(server), tool), Body::from(arguments), Origin::Cli))
    }

    pub async fn settled(&self, call: CallId) -> Arc<Settled> {
        let read_model = self.until("the call settled", |w| w.call(call).is_some_and(|c| c.settled.is_some())).await;
        read_model.call(call).and_then(|c| c.settled.clone()).expect("just seen")
    }

    pub fn start_call(&self, spec: CallSpec) -> CallId {
        Engine::submit(&self.engine, spec).expect("the engine takes calls")
    }

    pub fn command(&self, command: Command) {
        drop(self.engine.command(command));
    }

    /// Gives a command and returns what to tell the user about its reply.
    pub async fn notice_of(&self, command: Command) -> Option<String> {
        let reply = self.engine.command(command.clone()).await;
        command.notice(&reply).map(|notice| notice.text)
    }

    pub async fn stop(self) {
        if tokio::time::timeout(PATIENCE, self.engine.shutdown()).await.is_err() {
            panic!("the engine did not stop");
        }
    }
}

pub fn text_of(settled: &Settled) -> String {
    let (Outcome::Ok { result } | Outcome::ToolError { result }) = &settled.outcome else { panic!("no answer: {:?}", settled.outcome) };
    let value: serde_json::Value = serde_json::from_str(&result.text()).unwrap();
    value["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

pub fn failure_of(settled: &Settled) -> &Failure {
    match &settled.outcome {
        Outcome::Failed { failure } => failure,
        other => panic!("did not fail: {other:?}"),
    }
}
