//! Connections that live in memory and do as told, so that time can be paused.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use switchboard::{
    domain::{
        body::Body,
        call::{Failure, FailureKind},
        catalog::RawLists,
        server::{ConnectFailure, Era, Exit, Launch, ServerSpec, SessionInfo, Step},
    },
    engine::ports::{Connector, Flow, Host, Reply, Request, Session},
};
use tokio_util::sync::CancellationToken;

/// What a connection attempt comes to.
pub enum Plan {
    Refuse,
    Panic,
    /// Connects after a while.
    Serve(Duration, Arc<Behaviour>),
}

type Answering = dyn Fn(Request, Arc<dyn Flow>, Arc<dyn Host>) -> BoxFuture<'static, Result<Reply, Failure>> + Send + Sync;

/// How a session behaves.
pub struct Behaviour {
    pub answer: Box<Answering>,
    /// Whether health checks are never answered.
    pub silent: bool,
    /// Whether listing breaks down.
    pub unlistable: bool,
    /// How long the lists hold.
    pub ttl: Option<Duration>,
    /// How often they were read.
    pub listed: AtomicUsize,
    /// Cancelled to lose the connection.
    pub lost: CancellationToken,
}

impl Behaviour {
    pub fn new<F: Future<Output = Result<Reply, Failure>> + Send + 'static>(
        answer: impl Fn(Request, Arc<dyn Flow>, Arc<dyn Host>) -> F + Send + Sync + 'static,
    ) -> Behaviour {
        let answer = Box::new(move |request, flow, host| -> BoxFuture<'static, _> { Box::pin(answer(request, flow, host)) });
        Behaviour { answer, silent: false, unlistable: false, ttl: None, listed: AtomicUsize::new(0), lost: CancellationToken::new() }
    }

    /// Answers everything at once.
    pub fn prompt() -> Behaviour {
        Behaviour::new(|_, flow, host| async move {
            flow.sent(host.now(), 1);
            Ok(reply(&host))
        })
    }

    pub fn plan(self) -> Plan {
        Plan::Serve(Duration::ZERO, Arc::new(self))
    }
}

pub fn reply(host: &Arc<dyn Host>) -> Reply {
    let result = Body::from(r#"{"content":[{"type":"text","text":"hello"}]}"#);
    Reply { result, first_byte: host.now(), last_byte: host.now(), sent_bytes: 1, received_bytes: 1 }
}

/// Makes connections as planned: the plan gets the number of the attempt, from 0.
pub struct Fake {
    plan: Box<dyn Fn(usize) -> Plan + Send + Sync>,
    attempts: AtomicUsize,
}

impl Fake {
    pub fn new(plan: impl Fn(usize) -> Plan + Send + Sync + 'static) -> Arc<Fake> {
        Arc::new(Fake { plan: Box::new(plan), attempts: AtomicUsize::new(0) })
    }

    pub fn attempts(&self) -> usize {
        self.attempts.load(Ordering::SeqCst)
    }
}

/// A server that only these connections reach.
pub fn spec(id: &str) -> ServerSpec {
    ServerSpec::new(id, Launch::Http { url: "http://fake.invalid".into(), headers: vec![], socket: None })
}

#[async_trait]
impl Connector for Fake {
    async fn connect(&self, _: Arc<ServerSpec>, _: Option<Era>, host: Arc<dyn Host>) -> Result<Arc<dyn Session>, ConnectFailure> {
        host.step(Step::Initialize);
        match (self.plan)(self.attempts.fetch_add(1, Ordering::SeqCst)) {
            Plan::Refuse => Err(ConnectFailure::new(Step::Dial, "not today")),
            Plan::Panic => panic!("a planned fault of the connector"),
            Plan::Serve(after, behaviour) => {
                tokio::time::sleep(after).await;
                Ok(Arc::new(FakeSession { behaviour, host }))
            }
        }
    }
}

struct FakeSession {
    behaviour: Arc<Behaviour>,
    host: Arc<dyn Host>,
}

#[async_trait]
impl Session for FakeSession {
    fn info(&self) -> Arc<SessionInfo> {
        Arc::new(SessionInfo::bare(self.host.now()))
    }

    async fn request(&self, request: Request, flow: Arc<dyn Flow>) -> Result<Reply, Failure> {
        tokio::select! {
            answer = (self.behaviour.answer)(request, flow, self.host.clone()) => answer,
            () = self.behaviour.lost.cancelled() => Err(Failure::after_send(FailureKind::Transport, "the connection was lost")),
        }
    }

    async fn notify(&self, _: &str, _: Body) -> Result<(), Failure> {
        Ok(())
    }

    async fn lists(&self) -> Result<RawLists, Failure> {
        assert!(!self.behaviour.unlistable, "a planned fault of the listing");
        self.behaviour.listed.fetch_add(1, Ordering::SeqCst);
        let tools = vec![Body::from(r#"{"name":"echo","inputSchema":{"type":"object"}}"#)];
        Ok(RawLists { tools, ttl: self.behaviour.ttl, ..RawLists::default() })
    }

    async fn check(&self) -> Result<(), Failure> {
        if self.behaviour.silent {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn closed(&self) -> Arc<ConnectFailure> {
        self.behaviour.lost.cancelled().await;
        Arc::new(ConnectFailure::new(Step::Run, "the connection was lost"))
    }

    async fn subscribe(&self, _uri: &str, _on: bool) -> Result<(), Failure> {
        Ok(())
    }

    async fn close(&self) -> Exit {
        self.behaviour.lost.cancel();
        Exit::Code(0)
    }
}
