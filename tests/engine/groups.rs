//! Groups of replicas that are restarted and killed under load. Time is paused.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use switchboard::{
    control::{Command, Control, run},
    domain::{
        body::Body,
        call::{CallSpec, Failure, FailureKind, Origin, Outcome},
        catalog::RawLists,
        client::Behalf,
        event::Settled,
        id::{ServerId, ToolId},
        policy::{
            Rules,
            breaker::{BreakerOverride, State as Breaking},
            route::{Group, Member, Routing, Strategy},
        },
        server::{ConnectFailure, Era, Exit, ServerSpec, SessionInfo, Step},
    },
    engine::ports::{ClientHandler, Connector, Reply, Request, RequestObserver, Session, SubscriptionChange},
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    fake::{reply, spec},
    support::{Rig, failure_of},
};

const TOOLS: [&str; 2] = [
    r#"{"name":"read","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}"#,
    r#"{"name":"write","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":false,"destructiveHint":true}}"#,
];
/// How long a replica works on a call.
const WORK: Duration = Duration::from_millis(50);

/// A replica that can be switched off.
struct Replica {
    /// The running process; `None` while it is down.
    process: Option<CancellationToken>,
    /// Answers every call with this failure.
    broken: bool,
    /// When it was started last, and when it answered first after that.
    started: Instant,
    answered: Option<Instant>,
}

/// Replicas by server, and how often each `write` reached one of them.
#[derive(Default)]
struct Fleet {
    replicas: Mutex<HashMap<ServerId, Replica>>,
    writes: Mutex<HashMap<String, u32>>,
}

impl Fleet {
    fn start(&self, id: &str) {
        let replica = Replica { process: Some(CancellationToken::new()), broken: false, started: Instant::now(), answered: None };
        self.replicas.lock().unwrap().insert(id.into(), replica);
    }

    fn kill(&self, id: &str) {
        if let Some(process) = self.replicas.lock().unwrap().get_mut(&ServerId::from(id)).and_then(|replica| replica.process.take()) {
            process.cancel();
        }
    }

    fn set_broken(&self, broken: bool) {
        self.replicas.lock().unwrap().values_mut().for_each(|replica| replica.broken = broken);
    }

    /// Returns how long the replica waited for its first call since it was started last.
    fn unused(&self, id: &str) -> Option<Duration> {
        let replicas = self.replicas.lock().unwrap();
        let replica = &replicas[&ServerId::from(id)];
        Some(replica.answered? - replica.started)
    }
}

struct Connecting(Arc<Fleet>);

#[async_trait]
impl Connector for Connecting {
    async fn connect(
        &self,
        spec: Arc<ServerSpec>,
        _: Option<Era>,
        _: Option<Behalf>,
        handler: Arc<dyn ClientHandler>,
    ) -> Result<Arc<dyn Session>, ConnectFailure> {
        handler.step(Step::Initialize);
        let process = self.0.replicas.lock().unwrap().get(&spec.id).and_then(|replica| replica.process.clone());
        let process = process.ok_or_else(|| ConnectFailure::new(Step::Dial, "connection refused"))?;
        Ok(Arc::new(ReplicaSession { fleet: self.0.clone(), server: spec.id.clone(), process, handler }))
    }
}

struct ReplicaSession {
    fleet: Arc<Fleet>,
    server: ServerId,
    process: CancellationToken,
    handler: Arc<dyn ClientHandler>,
}

#[async_trait]
impl Session for ReplicaSession {
    fn info(&self) -> Arc<SessionInfo> {
        Arc::new(SessionInfo::bare(self.handler.now()))
    }

    async fn request(&self, request: Request, observer: Arc<dyn RequestObserver>) -> Result<Reply, Failure> {
        if self.process.is_cancelled() {
            return Err(Failure::new(FailureKind::Transport, "no connection"));
        }
        observer.sent(self.handler.now(), 1);
        let params: serde_json::Value = request.params.value().unwrap_or_default();
        if params["name"] == "write" {
            *self.fleet.writes.lock().unwrap().entry(params["arguments"]["n"].to_string()).or_default() += 1;
        }
        tokio::select! {
            () = sleep(WORK) => {}
            () = self.process.cancelled() => return Err(Failure::after_send(FailureKind::Transport, "the connection was lost")),
        }
        let mut replicas = self.fleet.replicas.lock().unwrap();
        let Some(replica) = replicas.get_mut(&self.server) else { return Err(Failure::new(FailureKind::Transport, "gone")) };
        replica.answered.get_or_insert_with(Instant::now);
        match replica.broken {
            true => Err(Failure { status: Some(500), ..Failure::after_send(FailureKind::Transport, "HTTP 500") }),
            false => Ok(reply(&self.handler)),
        }
    }

    async fn notify(&self, _: &str, _: Body) -> Result<(), Failure> {
        Ok(())
    }

    async fn lists(&self) -> Result<RawLists, Failure> {
        Ok(RawLists { tools: TOOLS.map(Body::from).into(), ..RawLists::default() })
    }

    async fn subscribe(&self, _: &str, _: SubscriptionChange) -> Result<(), Failure> {
        Ok(())
    }

    async fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn closed(&self) -> Arc<ConnectFailure> {
        self.process.cancelled().await;
        Arc::new(ConnectFailure::new(Step::Run, "the connection was lost"))
    }

    async fn close(&self) -> Exit {
        Exit::Unknown
    }
}

const NAMES: [&str; 3] = ["r1", "r2", "r3"];

/// Three replicas in the group `replicas`, all ready.
async fn rig(strategy: Strategy) -> (Rig, Arc<Fleet>) {
    let fleet = Arc::new(Fleet::default());
    NAMES.iter().for_each(|name| fleet.start(name));
    let rig = Rig::over(Arc::new(Connecting(fleet.clone())), vec![]);
    let members = NAMES.iter().map(|name| Member { server: (*name).into(), weight: 1 }).collect();
    let group = Group { id: "replicas".into(), namespace: None, members, strategy, members_listed: false };
    rig.engine.set_rules(Rules { routing: Routing { groups: vec![group], routes: vec![] }, ..Rules::default() });
    rig.engine.apply(NAMES.iter().map(|name| ServerSpec { trusted: true, ..spec(name) }).collect());
    let (mut state, mut tail) = rig.engine.watch();
    while !(state.servers.len() == 3 && state.servers.iter().all(|server| server.phase.usable())) {
        let event = tail.next().await.unwrap().expect("the engine lives");
        Arc::make_mut(&mut state).apply(&event);
    }
    (rig, fleet)
}

async fn call(rig: &Rig, tool: &str, n: usize) -> Arc<Settled> {
    let arguments = format!("{{\"n\":{n}}}");
    let spec = CallSpec::tool(ToolId::new(ServerId::from("replicas"), tool), Body::from(arguments), Origin::Cli);
    run(&*rig.engine, spec, |_| {}).await.expect("the engine lives").1
}

fn strategies() -> [Strategy; 7] {
    [
        Strategy::RoundRobin,
        Strategy::Random,
        Strategy::LeastInFlight,
        Strategy::LeastLatency,
        Strategy::Primary,
        Strategy::Weighted,
        Strategy::Sticky { argument: "n".into() },
    ]
}

#[tokio::test(start_paused = true)]
async fn a_rolling_restart_and_a_killed_replica_lose_no_safe_call() {
    for strategy in strategies() {
        let (rig, fleet) = rig(strategy.clone()).await;
        let rig = Arc::new(rig);
        let done = CancellationToken::new();
        let workers: Vec<_> = (0..16)
            .map(|worker| {
                let (rig, done) = (rig.clone(), done.clone());
                tokio::spawn(async move {
                    let mut lost = vec![];
                    for n in 0..1000 {
                        if done.is_cancelled() {
                            break;
                        }
                        // Every eighth call must not be repeated; it may fail.
                        if n % 8 == 0 {
                            call(&rig, "write", worker * 1000 + n).await;
                            continue;
                        }
                        let settled = call(&rig, "read", worker * 1000 + n).await;
                        lost.extend((!matches!(settled.outcome, Outcome::Ok { .. })).then_some(settled));
                    }
                    lost
                })
            })
            .collect();
        for name in NAMES {
            sleep(Duration::from_millis(300)).await;
            fleet.kill(name);
            sleep(Duration::from_millis(700)).await;
            fleet.start(name);
            let ready = rig.engine.watch();
            let (mut state, mut tail) = ready;
            while !state.server(&name.into()).is_some_and(|server| server.phase.usable()) {
                let event = tail.next().await.unwrap().expect("the engine lives");
                Arc::make_mut(&mut state).apply(&event);
            }
            let back = Instant::now();
            sleep(Duration::from_millis(500)).await;
            // A primary is used if it is the first of those that are up.
            if strategy != Strategy::Primary || name == "r1" {
                let used = fleet.unused(name).map(|unused| fleet.replicas.lock().unwrap()[&ServerId::from(name)].started + unused);
                assert!(used.is_some_and(|used| used <= back + Duration::from_millis(500)), "{strategy:?} {name} unused");
            }
        }
        fleet.kill("r2");
        sleep(Duration::from_secs(1)).await;
        done.cancel();
        let mut lost = vec![];
        for worker in workers {
            lost.extend(worker.await.unwrap());
        }
        assert!(lost.is_empty(), "{strategy:?} lost {}: {:#?}", lost.len(), lost.first());
        let twice: Vec<_> = fleet.writes.lock().unwrap().iter().filter(|(_, count)| **count > 1).map(|(n, _)| n.clone()).collect();
        assert!(twice.is_empty(), "{strategy:?} sent twice: {twice:?}");
        rig.engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn with_every_breaker_open_the_connected_replicas_are_tried() {
    let (rig, fleet) = rig(Strategy::RoundRobin).await;
    fleet.set_broken(true);
    for n in 0..20 {
        call(&rig, "write", n).await;
    }
    let open = |rig: &Rig| NAMES.iter().filter(|name| rig.server(name).breaker.state == Breaking::Open).count();
    assert_eq!(open(&rig), 3);
    let failure = failure_of(&*call(&rig, "read", 1).await).clone();
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Transport, true));
    assert!(failure.message.starts_with("no member of the group replicas answered: "), "{}", failure.message);
    assert!(NAMES.iter().all(|name| failure.message.contains(&format!("{name}: transport: HTTP 500"))), "{}", failure.message);
    assert_eq!(open(&rig), 3, "failures change nothing");
    fleet.set_broken(false);
    for n in 0..6 {
        assert!(matches!(call(&rig, "read", n).await.outcome, Outcome::Ok { .. }));
    }
    assert_eq!(open(&rig), 2, "the one that answered is closed and takes all calls");
    // What a user holds open stays open.
    for name in NAMES {
        rig.command(Command::Breaker { server: name.into(), tool: None, order: BreakerOverride::HoldOpen });
    }
    let failure = failure_of(&*call(&rig, "read", 1).await).clone();
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::BreakerOpen, false));
    assert!(NAMES.iter().all(|name| failure.message.contains(name)), "{}", failure.message);
    rig.stop().await;
}
