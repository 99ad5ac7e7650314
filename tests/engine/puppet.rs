//! Servers that do what a script says, over connections in memory and on paused time.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use switchboard::{
    domain::{
        body::Body,
        call::{Failure, FailureKind, RpcError},
        catalog::RawLists,
        client::Behalf,
        id::ServerId,
        server::{ConnectFailure, Era, Exit, ServerSpec, SessionInfo, Step},
    },
    engine::ports::{ClientHandler, Connector, Reply, Request, RequestObserver, Session, SubscriptionChange},
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// What a server does with one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Answers after a while.
    Ok(Duration),
    /// Answers with `isError`.
    ToolError(Duration),
    /// Answers with a JSON-RPC error.
    Error(i64, Duration),
    /// Answers with an HTTP status.
    Http(u16, Duration, Option<Duration>),
    /// Loses the connection after the request was sent.
    Close(Duration),
    /// Cannot be reached: no byte is sent.
    Refuse(Duration),
    /// Loses the whole connection; the next one is made by the engine.
    Crash(Duration),
    /// Never answers.
    Hang,
    /// Answers after this time, when the request has already been cancelled.
    Late(Duration),
    /// Reports progress at each pause and then answers.
    Progress(Duration, u32),
}

pub fn duration(text: &str) -> Duration {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let n: u64 = number.parse().unwrap_or_else(|_| panic!("no duration: {text:?}"));
    match unit {
        "us" => Duration::from_micros(n),
        "ms" => Duration::from_millis(n),
        "s" => Duration::from_secs(n),
        "m" => Duration::from_secs(60 * n),
        _ => panic!("no duration: {text:?}"),
    }
}

impl Act {
    /// Reads `ok 5ms`, `error -32603 1ms`, `http 503 1ms retry-after=2s`, `close 1ms`, `refuse 0ms`, `hang`, `late 1s`, `progress 1s 5`.
    pub fn parse(text: &str) -> Act {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["ok", after] => Act::Ok(duration(after)),
            ["tool-error", after] => Act::ToolError(duration(after)),
            ["error", code, after] => Act::Error(code.parse().expect("a code"), duration(after)),
            ["http", status, after] => Act::Http(status.parse().expect("a status"), duration(after), None),
            ["http", status, after, asked] => {
                let asked = asked.strip_prefix("retry-after=").expect("retry-after");
                Act::Http(status.parse().expect("a status"), duration(after), Some(duration(asked)))
            }
            ["close", after] => Act::Close(duration(after)),
            ["refuse", after] => Act::Refuse(duration(after)),
            ["crash", after] => Act::Crash(duration(after)),
            ["hang"] => Act::Hang,
            ["late", after] => Act::Late(duration(after)),
            ["progress", every, times] => Act::Progress(duration(every), times.parse().expect("a number")),
            _ => panic!("no act: {text:?}"),
        }
    }
}

/// What a server does, request by request.
pub type Script = dyn Fn(&Request, u64) -> Act + Send + Sync;

/// A server that does what its script says.
pub struct Puppet {
    /// Entries of `tools/list`.
    pub tools: Vec<serde_json::Value>,
    /// Gets the request and its number from 0.
    pub script: Box<Script>,
    /// Whether signs of life are answered, by number of the check from 0.
    pub alive: Box<dyn Fn(u64) -> bool + Send + Sync>,
    /// How long a start takes.
    pub start: Duration,
    requests: AtomicU64,
    checks: AtomicU64,
    /// Requests that reached it, by tool and idempotency key or arguments.
    pub executed: Mutex<Vec<Body>>,
    /// Requests that the caller cancelled.
    pub cancelled: AtomicU64,
    /// Current and maximum number of concurrent requests.
    pub load: Mutex<(u32, u32)>,
    /// When each request came, those that it refused included.
    pub came: Mutex<Vec<Instant>>,
}

impl Puppet {
    pub fn new(tools: Vec<serde_json::Value>, script: impl Fn(&Request, u64) -> Act + Send + Sync + 'static) -> Puppet {
        Puppet {
            tools,
            script: Box::new(script),
            alive: Box::new(|_| true),
            start: Duration::ZERO,
            requests: AtomicU64::new(0),
            checks: AtomicU64::new(0),
            executed: Mutex::default(),
            cancelled: AtomicU64::new(0),
            load: Mutex::default(),
            came: Mutex::default(),
        }
    }

    /// How many requests reached it.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A tool with these hints: `read`, `idempotent`, `destructive`, or none.
pub fn tool(name: &str, hints: &[&str]) -> serde_json::Value {
    let mut annotations = serde_json::Map::new();
    for hint in hints {
        let (key, value) = match *hint {
            "read" => ("readOnlyHint", true),
            "idempotent" => ("idempotentHint", true),
            "destructive" => ("destructiveHint", true),
            other => panic!("no hint: {other}"),
        };
        annotations.insert(key.into(), value.into());
    }
    serde_json::json!({"name": name, "inputSchema": {"type": "object"}, "annotations": annotations})
}

/// Connections to puppets by server.
pub struct Puppets(pub HashMap<ServerId, Arc<Puppet>>);

#[async_trait]
impl Connector for Puppets {
    async fn connect(
        &self,
        spec: Arc<ServerSpec>,
        _: Option<Era>,
        _: Option<Behalf>,
        handler: Arc<dyn ClientHandler>,
    ) -> Result<Arc<dyn Session>, ConnectFailure> {
        handler.step(Step::Initialize);
        let Some(puppet) = self.0.get(&spec.id) else { return Err(ConnectFailure::new(Step::Dial, "unknown puppet")) };
        sleep(puppet.start).await;
        Ok(Arc::new(PuppetSession { puppet: puppet.clone(), handler, lost: CancellationToken::new() }))
    }
}

struct PuppetSession {
    puppet: Arc<Puppet>,
    handler: Arc<dyn ClientHandler>,
    lost: CancellationToken,
}

/// Counts a cancelled request.
struct Watch<'a>(&'a Puppet, bool);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.load.lock().unwrap().0 -= 1;
        if !self.1 {
            self.0.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl PuppetSession {
    fn reply(&self, result: &str) -> Reply {
        let now = self.handler.now();
        Reply { result: Body::from(result.to_owned()), first_byte: now, last_byte: now, sent_bytes: 1, received_bytes: result.len() as u64 }
    }

    async fn act(&self, act: Act, observer: &Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
        let ok = r#"{"content":[{"type":"text","text":"hello"}]}"#;
        match act {
            Act::Ok(after) => {
                sleep(after).await;
                Ok(self.reply(ok))
            }
            Act::ToolError(after) => {
                sleep(after).await;
                Ok(self.reply(r#"{"isError":true,"content":[{"type":"text","text":"no"}]}"#))
            }
            Act::Error(code, after) => {
                sleep(after).await;
                let rpc = RpcError { code, message: "scripted".into(), data: None };
                Err(Failure { rpc: Some(rpc), ..Failure::after_send(FailureKind::Protocol, "scripted") })
            }
            Act::Http(status, after, retry_after) => {
                sleep(after).await;
                let kind = if matches!(status, 401 | 403) { FailureKind::Unauthorized } else { FailureKind::Transport };
                Err(Failure { status: Some(status), retry_after, ..Failure::after_send(kind, format!("HTTP {status}")) })
            }
            Act::Close(after) => {
                sleep(after).await;
                Err(Failure::after_send(FailureKind::Transport, "the connection was lost"))
            }
            Act::Crash(after) => {
                sleep(after).await;
                self.lost.cancel();
                std::future::pending().await
            }
            Act::Refuse(_) => unreachable!("handled before sending"),
            Act::Hang => std::future::pending().await,
            Act::Late(after) => {
                let (handler, observer, waits) = (self.handler.clone(), observer.clone(), Arc::new(()));
                let gone = Arc::downgrade(&waits);
                tokio::spawn(async move {
                    sleep(after).await;
                    assert!(gone.upgrade().is_none(), "somebody still waits: give it less time");
                    observer.late(handler.now());
                });
                let _waits = waits;
                std::future::pending().await
            }
            Act::Progress(every, times) => {
                for n in 1..=times {
                    sleep(every).await;
                    observer.progress(&Body::json(&serde_json::json!({"progress": n, "total": times})));
                }
                sleep(every).await;
                Ok(self.reply(ok))
            }
        }
    }
}

#[async_trait]
impl Session for PuppetSession {
    fn info(&self) -> Arc<SessionInfo> {
        Arc::new(SessionInfo::bare(self.handler.now()))
    }

    async fn request(&self, request: Request, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
        let number = self.puppet.requests.fetch_add(1, Ordering::SeqCst);
        self.puppet.came.lock().unwrap().push(Instant::now());
        let act = (self.puppet.script)(&request, number);
        if let Act::Refuse(after) = act {
            sleep(after).await;
            return Err(Failure::new(FailureKind::Transport, "connection refused"));
        }
        observer.sent(self.handler.now(), 1);
        self.puppet.executed.lock().unwrap().push(request.params.clone());
        {
            let mut load = self.puppet.load.lock().unwrap();
            load.0 += 1;
            load.1 = load.1.max(load.0);
        }
        let mut watch = Watch(&self.puppet, false);
        let outcome = tokio::select! {
            outcome = self.act(act, &observer) => outcome,
            () = self.lost.cancelled() => Err(Failure::after_send(FailureKind::Transport, "the connection was lost")),
        };
        watch.1 = true;
        outcome
    }

    async fn notify(&self, _: &str, _: Body) -> Result<(), Failure> {
        Ok(())
    }

    async fn lists(&self) -> Result<RawLists, Failure> {
        Ok(RawLists { tools: self.puppet.tools.iter().map(Body::json).collect(), ..RawLists::default() })
    }

    async fn check(&self) -> Result<(), Failure> {
        match (self.puppet.alive)(self.puppet.checks.fetch_add(1, Ordering::SeqCst)) {
            true => Ok(()),
            false => Err(Failure::after_send(FailureKind::Transport, "no response")),
        }
    }

    async fn closed(&self) -> Arc<ConnectFailure> {
        self.lost.cancelled().await;
        Arc::new(ConnectFailure::new(Step::Run, "the connection was lost"))
    }

    async fn subscribe(&self, _uri: &str, _change: SubscriptionChange) -> Result<(), Failure> {
        Ok(())
    }

    async fn close(&self) -> Exit {
        self.lost.cancel();
        Exit::Code(0)
    }
}
