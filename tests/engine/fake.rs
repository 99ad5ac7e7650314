//! In-memory connections with scripted behaviour, so that time can be paused.

use std::{
    sync::{
        Arc, Mutex,
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
        client::{Behalf, Face},
        server::{ConnectFailure, Era, Exit, ServerSpec, SessionInfo, Step, Transport},
    },
    engine::ports::{ClientHandler, Connector, Reply, Request, RequestObserver, Session, SubscriptionChange},
};
use tokio_util::sync::CancellationToken;

/// What a connection attempt comes to.
#[expect(clippy::large_enum_variant, reason = "a few of them exist in a test")]
pub enum Plan {
    Refuse,
    Fail(ConnectFailure),
    Panic,
    /// Connects after a while.
    Serve(Duration, Arc<Behaviour>),
}

type Answering =
    dyn Fn(Request, Arc<dyn RequestObserver>, Arc<dyn ClientHandler>) -> BoxFuture<'static, Result<Reply, Failure>> + Send + Sync;

/// The result of a health check or of listing.
pub enum Sign {
    Fine,
    /// Never an answer.
    Silence,
    /// Refused with this HTTP status.
    Status(u16),
    /// A fault of ours.
    Panic,
}

impl Sign {
    async fn given(self) -> Result<(), Failure> {
        match self {
            Sign::Fine => Ok(()),
            Sign::Silence => std::future::pending().await,
            Sign::Status(status) => {
                Err(Failure { status: Some(status), ..Failure::after_send(FailureKind::Transport, format!("HTTP {status}")) })
            }
            Sign::Panic => panic!("a planned fault of the session"),
        }
    }
}

type Signs = Box<dyn Fn(usize) -> Sign + Send + Sync>;

/// How a session behaves.
pub struct Behaviour {
    pub answer: Box<Answering>,
    /// How health checks are answered, by number from 0.
    pub check: Signs,
    /// How often it was checked.
    pub checked: AtomicUsize,
    /// How listing goes, by number from 0.
    pub list: Signs,
    /// How long the lists hold.
    pub ttl: Option<Duration>,
    /// How often they were read.
    pub listed: AtomicUsize,
    /// Entries of `tools/list`.
    pub tools: Vec<Body>,
    /// Cancelled to lose the connection.
    pub lost: CancellationToken,
    /// The era that the session speaks.
    pub era: Era,
}

impl Behaviour {
    pub fn new<F: Future<Output = Result<Reply, Failure>> + Send + 'static>(
        answer: impl Fn(Request, Arc<dyn RequestObserver>, Arc<dyn ClientHandler>) -> F + Send + Sync + 'static,
    ) -> Behaviour {
        let answer = Box::new(move |request, observer, handler| -> BoxFuture<'static, _> { Box::pin(answer(request, observer, handler)) });
        Behaviour {
            answer,
            check: Box::new(|_| Sign::Fine),
            checked: AtomicUsize::new(0),
            list: Box::new(|_| Sign::Fine),
            ttl: None,
            listed: AtomicUsize::new(0),
            tools: vec![Body::from(r#"{"name":"echo","inputSchema":{"type":"object"}}"#)],
            lost: CancellationToken::new(),
            era: Era::Legacy,
        }
    }

    /// Answers everything immediately.
    pub fn prompt() -> Behaviour {
        Behaviour::new(|_, observer, handler| async move {
            observer.sent(handler.now(), 1);
            Ok(reply(&handler))
        })
    }

    /// The same, in the modern era.
    pub fn modern(self) -> Behaviour {
        Behaviour { era: Era::Modern, ..self }
    }

    /// The same, with health checks answered like this.
    pub fn checked(self, check: impl Fn(usize) -> Sign + Send + Sync + 'static) -> Behaviour {
        Behaviour { check: Box::new(check), ..self }
    }

    /// The same, with listing going like this.
    pub fn listed(self, list: impl Fn(usize) -> Sign + Send + Sync + 'static) -> Behaviour {
        Behaviour { list: Box::new(list), ..self }
    }

    pub fn plan(self) -> Plan {
        Plan::Serve(Duration::ZERO, Arc::new(self))
    }
}

pub fn reply(handler: &Arc<dyn ClientHandler>) -> Reply {
    let result = Body::from(r#"{"content":[{"type":"text","text":"hello"}]}"#);
    Reply { result, first_byte: handler.now(), last_byte: handler.now(), sent_bytes: 1, received_bytes: 1 }
}

/// Makes connections as planned: the plan gets the number of the attempt, from 0.
pub struct Fake {
    plan: Box<dyn Fn(usize) -> Plan + Send + Sync>,
    attempts: AtomicUsize,
    /// The era that was known of the server at each attempt.
    pub known: Mutex<Vec<Option<Era>>>,
    /// The client that each connection belongs to.
    pub faces: Mutex<Vec<Option<Arc<Face>>>>,
}

impl Fake {
    pub fn new(plan: impl Fn(usize) -> Plan + Send + Sync + 'static) -> Arc<Fake> {
        Arc::new(Fake { plan: Box::new(plan), attempts: AtomicUsize::new(0), known: Mutex::default(), faces: Mutex::default() })
    }

    pub fn attempts(&self) -> usize {
        self.attempts.load(Ordering::SeqCst)
    }
}

/// A server that only these connections reach.
pub fn spec(id: &str) -> ServerSpec {
    ServerSpec::new(id, Transport::Http { url: "http://fake.invalid".into(), headers: vec![], socket: None })
}

#[async_trait]
impl Connector for Fake {
    async fn connect(
        &self,
        _: Arc<ServerSpec>,
        known: Option<Era>,
        behalf: Option<Behalf>,
        handler: Arc<dyn ClientHandler>,
    ) -> Result<Arc<dyn Session>, ConnectFailure> {
        handler.step(Step::Initialize);
        self.known.lock().unwrap().push(known);
        self.faces.lock().unwrap().push(behalf.map(|behalf| behalf.face));
        match (self.plan)(self.attempts.fetch_add(1, Ordering::SeqCst)) {
            Plan::Refuse => Err(ConnectFailure::new(Step::Dial, "not today")),
            Plan::Fail(why) => Err(why),
            Plan::Panic => panic!("a planned fault of the connector"),
            Plan::Serve(after, behaviour) => {
                tokio::time::sleep(after).await;
                Ok(Arc::new(FakeSession { behaviour, handler }))
            }
        }
    }
}

struct FakeSession {
    behaviour: Arc<Behaviour>,
    handler: Arc<dyn ClientHandler>,
}

#[async_trait]
impl Session for FakeSession {
    fn info(&self) -> Arc<SessionInfo> {
        let bare = SessionInfo::bare(self.handler.now());
        Arc::new(match self.behaviour.era {
            Era::Legacy => bare,
            Era::Modern => SessionInfo { era: Era::Modern, protocol: "2026-07-28".into(), ..bare },
        })
    }

    async fn request(&self, request: Request, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
        tokio::select! {
            answer = (self.behaviour.answer)(request, observer, self.handler.clone()) => answer,
            () = self.behaviour.lost.cancelled() => Err(Failure::after_send(FailureKind::Transport, "the connection was lost")),
        }
    }

    async fn notify(&self, _: &str, _: Body) -> Result<(), Failure> {
        Ok(())
    }

    async fn lists(&self) -> Result<RawLists, Failure> {
        (self.behaviour.list)(self.behaviour.listed.fetch_add(1, Ordering::SeqCst)).given().await?;
        Ok(RawLists { tools: self.behaviour.tools.clone(), ttl: self.behaviour.ttl, ..RawLists::default() })
    }

    async fn check(&self) -> Result<(), Failure> {
        (self.behaviour.check)(self.behaviour.checked.fetch_add(1, Ordering::SeqCst)).given().await
    }

    async fn closed(&self) -> Arc<ConnectFailure> {
        self.behaviour.lost.cancelled().await;
        Arc::new(ConnectFailure::new(Step::Run, "the connection was lost"))
    }

    async fn subscribe(&self, _uri: &str, _change: SubscriptionChange) -> Result<(), Failure> {
        Ok(())
    }

    async fn close(&self) -> Exit {
        self.behaviour.lost.cancel();
        Exit::Code(0)
    }
}
