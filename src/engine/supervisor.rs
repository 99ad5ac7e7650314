//! One task a server: connects, lists, watches, reconnects. Nobody waits for it but the calls of its
//! own server.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    bus::Bus,
    connection_handler::ConnectionHandler,
    dispatch::CacheFront,
    guard::TargetGuard,
    inbox::Inbox,
    ports::{Connector, Session},
};
use crate::domain::{
    body::Body,
    call::Failure,
    catalog::ServerCatalog,
    event::{EventKind, LogLevel},
    restart::{FIRST_PAUSE, FIRST_PAUSE_REMOTE, Restart, Verdict},
    secret::Redactor,
    server::{ConnectFailure, DegradedReason, Era, EraChoice, ListingError, Phase, ServerSpec, Step, Transport},
};

/// Refreshes of the lists are at least this far apart, however often a server says that they changed.
const REFRESH_GAP: Duration = Duration::from_secs(1);
/// Lists that hold for a time are read again after it, within these bounds.
const LISTS_HOLD: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(24 * 3600));
/// How long a health check may take.
const HEALTH_PATIENCE: Duration = Duration::from_secs(5);
/// Health checks that fail in a row before the connection counts as lost.
const FAILED_CHECKS: u32 = 2;
/// A session that keeps to `timeouts.list` itself is given this much longer to hand over what it has read until then.
const HANDING_OVER: Duration = Duration::from_millis(500);

/// What a supervisor can be told.
pub enum SupervisorCommand {
    /// Start anew, failures before are forgotten.
    Restart,
    /// Leave the server alone until told to restart.
    Disable,
    /// Read the lists again.
    Refresh,
    /// End the connection and the task.
    Stop(oneshot::Sender<()>),
}

/// Whether calls can be sent, and why not.
#[derive(Clone)]
pub enum Readiness {
    /// Not yet; waiting may help.
    Pending,
    /// Yes, over this session.
    Ready(Arc<dyn Session>),
    /// No, and waiting does not help.
    Down(Option<Arc<ConnectFailure>>),
}

/// A server as the engine holds it.
#[derive(Clone)]
pub struct ServerHandle {
    /// Its configuration.
    pub spec: Arc<ServerSpec>,
    /// Whether calls can be sent.
    pub readiness: watch::Receiver<Readiness>,
    /// Where orders go.
    pub orders: mpsc::Sender<SupervisorCommand>,
    /// What its calls share.
    pub guard: Arc<TargetGuard>,
}

/// Starts the supervisor of `spec`.
///
/// `random` makes the jitter of its pauses. It begins when `before` resolves: the server that this one replaces is gone then, and with it its
/// ports and files.
pub fn start(
    spec: Arc<ServerSpec>,
    connector: Arc<dyn Connector>,
    bus: Arc<Bus>,
    inbox: Arc<Inbox>,
    answers: Arc<CacheFront>,
    random: fastrand::Rng,
    before: impl Future<Output = ()> + Send + 'static,
) -> ServerHandle {
    let (orders, mailbox) = mpsc::channel(16);
    let initial = if spec.disabled { Readiness::Down(None) } else { Readiness::Pending };
    let (readiness, seen) = watch::channel(initial);
    let handler = Arc::new(ConnectionHandler::new(spec.clone(), bus.clone(), inbox, answers));
    bus.publish(EventKind::ServerAdded { spec: spec.clone() });
    let guard = TargetGuard::new(spec.id.clone(), &spec.policy, bus.clone());
    let first = if matches!(spec.launch, Transport::Http { .. }) { FIRST_PAUSE_REMOTE } else { FIRST_PAUSE };
    let mut supervisor = Supervisor {
        spec: spec.clone(),
        connector,
        bus,
        handler,
        guard: guard.clone(),
        session: None,
        mailbox,
        readiness,
        restart: Restart::new(first),
        random,
        era: None,
        catalog: Arc::default(),
        lists_hold: None,
    };
    tokio::spawn(async move {
        before.await;
        supervisor.live().await;
    });
    ServerHandle { spec, readiness: seen, orders, guard }
}

struct Supervisor {
    spec: Arc<ServerSpec>,
    connector: Arc<dyn Connector>,
    bus: Arc<Bus>,
    handler: Arc<ConnectionHandler>,
    guard: Arc<TargetGuard>,
    /// The connection, from the handshake to its closing.
    session: Option<Arc<dyn Session>>,
    mailbox: mpsc::Receiver<SupervisorCommand>,
    readiness: watch::Sender<Readiness>,
    restart: Restart,
    random: fastrand::Rng,
    /// What it spoke the last time, to save the probe.
    era: Option<Era>,
    catalog: Arc<ServerCatalog>,
    /// After which time the lists are read again, if ever.
    lists_hold: Option<Duration>,
}

/// What comes after a connection attempt or a connection.
enum Next {
    Connect,
    Failed(Arc<ConnectFailure>),
    Rest,
    Stop(oneshot::Sender<()>),
    Gone,
}

impl Supervisor {
    /// Runs until told to stop. A fault of ours costs this server its connection, and nobody else anything.
    async fn live(&mut self) {
        let mut next = if self.spec.disabled { Next::Rest } else { Next::Connect };
        while AssertUnwindSafe(self.run(next)).catch_unwind().await.is_err() {
            // Nothing of the connection is left behind, and no call goes to it any more.
            let _ = AssertUnwindSafe(self.close()).catch_unwind().await;
            let mut why = ConnectFailure::new(Step::Run, "the connection broke down within Switchboard");
            why.hints.push("please report this with what was written to stderr".into());
            why.retryable = false;
            next = Next::Failed(Arc::new(why));
        }
    }

    async fn run(&mut self, mut next: Next) {
        loop {
            next = match next {
                Next::Connect => self.connect_and_serve().await,
                Next::Failed(why) => self.after_failure(why).await,
                Next::Rest => {
                    self.down(Phase::Disabled, None);
                    self.idle().await
                }
                Next::Stop(done) => {
                    self.readiness.send_replace(Readiness::Down(None));
                    let _ = done.send(());
                    return;
                }
                Next::Gone => return,
            };
        }
    }

    fn phase(&self, phase: Phase) {
        self.bus.publish(EventKind::ServerPhase { server: self.spec.id.clone(), phase: Arc::new(phase) });
    }

    /// Ends the connection, if there is one.
    async fn close(&mut self) {
        self.readiness.send_replace(Readiness::Pending);
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    /// A person wants it tried anew: nothing that was learned before counts.
    fn afresh(&mut self) -> Next {
        self.restart.reset();
        self.era = None;
        Next::Connect
    }

    /// What an order leads to, when it ends what is under way.
    fn obey(&mut self, order: Option<SupervisorCommand>) -> Option<Next> {
        match order {
            Some(SupervisorCommand::Refresh) => None,
            Some(SupervisorCommand::Restart) => Some(self.afresh()),
            Some(SupervisorCommand::Disable) => Some(Next::Rest),
            Some(SupervisorCommand::Stop(done)) => Some(Next::Stop(done)),
            None => Some(Next::Gone),
        }
    }

    fn down(&self, phase: Phase, why: Option<Arc<ConnectFailure>>) {
        self.readiness.send_replace(Readiness::Down(why));
        self.phase(phase);
    }

    /// Waits for an order that brings the server back.
    async fn idle(&mut self) -> Next {
        loop {
            match self.mailbox.recv().await {
                Some(SupervisorCommand::Disable) => self.phase(Phase::Disabled),
                order => {
                    if let Some(next) = self.obey(order) {
                        return next;
                    }
                }
            }
        }
    }

    async fn after_failure(&mut self, why: Arc<ConnectFailure>) -> Next {
        // A program that cannot be started will not start in a second either.
        let verdict = if why.retryable { self.restart.failed(self.bus.now(), self.random.f64()) } else { Verdict::GiveUp };
        let Verdict::Again { attempt, pause } = verdict else {
            self.down(Phase::Failed { why: why.clone() }, Some(why));
            return self.idle().await;
        };
        let until = self.bus.now().plus(pause);
        self.readiness.send_replace(Readiness::Pending);
        self.phase(Phase::Reconnecting { attempt, until, why });
        let wake = sleep(pause);
        tokio::pin!(wake);
        loop {
            tokio::select! {
                () = &mut wake => return Next::Connect,
                order = self.mailbox.recv() => {
                    if let Some(next) = self.obey(order) {
                        return next;
                    }
                }
            }
        }
    }

    async fn connect_and_serve(&mut self) -> Next {
        self.readiness.send_replace(Readiness::Pending);
        let (connector, spec, handler, era) = (self.connector.clone(), self.spec.clone(), self.handler.clone(), self.era);
        let session = match self.unless_ordered(connector.connect(spec, era, handler)).await {
            Ok(Ok(session)) => session,
            Ok(Err(mut failure)) => {
                let shaking = matches!(failure.step, Step::Discover | Step::Initialize);
                if shaking && self.spec.era == EraChoice::Auto && self.era.take().is_some() {
                    // It may speak another era by now: asked for it, it may be understood.
                    failure.retryable = true;
                }
                self.guard.unreachable(&failure);
                return Next::Failed(Arc::new(failure.bounded()));
            }
            Err(next) => return next,
        };
        self.guard.reachable();
        self.session = Some(session.clone());
        self.era = Some(session.info().era);
        self.bus.publish(EventKind::ServerInfo { server: self.spec.id.clone(), info: session.info() });
        let phase = match self.unless_ordered(list(session.clone(), self.spec.clone(), self.handler.clone())).await {
            Ok(result) => self.listed(result),
            Err(next) => {
                self.close().await;
                return next;
            }
        };
        self.restart.ready();
        self.readiness.send_replace(Readiness::Ready(session.clone()));
        self.phase(phase.clone());
        self.subscribe_again(&session);
        let next = self.serve(&session, phase).await;
        self.close().await;
        next
    }

    /// Asks a new connection for what the one before was asked to tell about.
    fn subscribe_again(&self, session: &Arc<dyn Session>) {
        let id = self.spec.id.clone();
        let wanted: Vec<String> =
            self.bus.look(|read_model| read_model.server(&id).map(|s| s.subscriptions.keys().cloned().collect()).unwrap_or_default());
        if wanted.is_empty() {
            return;
        }
        let (bus, session) = (self.bus.clone(), session.clone());
        tokio::spawn(async move {
            for uri in wanted {
                if let Err(why) = subscribe(session.clone(), &uri, true).await {
                    bus.notice(crate::domain::event::NoticeLevel::Warn, format!("{id} no longer tells of {uri}: {why}"));
                    bus.publish(EventKind::ResourceSubscribed { server: id.clone(), uri, on: false });
                }
            }
        });
    }

    /// Waits for `work` unless an order comes that makes it pointless; then it is dropped.
    async fn unless_ordered<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Next> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                // Orders first, so that nothing is begun that is given up at once.
                biased;
                order = self.mailbox.recv() => {
                    if let Some(next) = self.obey(order) {
                        return Err(next);
                    }
                }
                done = &mut work => return Ok(done),
            }
        }
    }

    /// Takes in what listing gave and says what state the server is in.
    fn listed(&mut self, result: Listed) -> Phase {
        match result {
            Ok(raw) => {
                self.lists_hold = raw.ttl.map(|ttl| ttl.clamp(LISTS_HOLD.0, LISTS_HOLD.1));
                let before = (self.catalog.revision > 0).then_some(&*self.catalog);
                self.catalog = Arc::new(ServerCatalog::read(raw, before));
                self.bus.publish(EventKind::ServerListed { server: self.spec.id.clone(), catalog: self.catalog.clone() });
                match self.catalog.warnings.as_slice() {
                    [] => Phase::Ready,
                    [first, rest @ ..] => {
                        let (first, timed_out) = (first.clone(), self.catalog.timed_out);
                        Phase::Degraded { reason: DegradedReason::Lists { first, more: rest.len(), timed_out } }
                    }
                }
            }
            // What was read before is better than nothing.
            Err(error) => Phase::Degraded { reason: DegradedReason::Unlisted { error, kept: self.catalog.revision > 0 } },
        }
    }

    /// Looks after a connected server until the connection ends. Orders are taken whatever is under way: listing or a health
    /// check that an order makes pointless is given up.
    async fn serve(&mut self, session: &Arc<dyn Session>, phase: Phase) -> Next {
        let health = self.spec.timeouts.health;
        let remote = matches!(self.spec.launch, Transport::Http { .. });
        let mut check_at = Instant::now() + health;
        let mut listed_at = Instant::now();
        let mut wanted = false;
        let mut listing: Option<BoxFuture<'static, Listed>> = None;
        let mut check: Option<BoxFuture<'static, Checked>> = None;
        let (mut moves, mut failed, mut accepted) = (0, 0, false);
        let mut shown = Shown { by_lists: phase, complaint: None };
        self.guard.limiter.idle_since(&mut moves);
        loop {
            tokio::select! {
                why = session.closed() => return Next::Failed(with_target(why, &self.spec)),
                order = self.mailbox.recv() => {
                    if let Some(SupervisorCommand::Refresh) = order {
                        wanted = true;
                        listed_at = Instant::now() - REFRESH_GAP;
                    } else if let Some(next) = self.obey(order) {
                        return next;
                    }
                }
                () = self.handler.changed.notified(), if !wanted => wanted = true,
                () = self.handler.renewed.notified() => self.subscribe_again(session),
                () = sleep_until(listed_at + self.lists_hold.unwrap_or_default()), if self.lists_hold.is_some() && !wanted && listing.is_none() => wanted = true,
                () = sleep_until(listed_at + REFRESH_GAP), if wanted && listing.is_none() => {
                    wanted = false;
                    listing = Some(Box::pin(list(session.clone(), self.spec.clone(), self.handler.clone())));
                }
                result = done(&mut listing) => {
                    listing = None;
                    listed_at = Instant::now();
                    shown = Shown { by_lists: self.listed(result), complaint: None };
                    self.phase(shown.by_lists.clone());
                }
                () = sleep_until(check_at), if remote && !health.is_zero() && check.is_none() => {
                    check_at = Instant::now() + health;
                    // A server may do one thing at a time: what is busy with a call does not answer to a check.
                    if self.guard.limiter.idle_since(&mut moves) && listing.is_none() {
                        let session = session.clone();
                        check = Some(Box::pin(async move { timeout(HEALTH_PATIENCE, session.check()).await }));
                    } else {
                        failed = 0;
                    }
                }
                checked = done(&mut check) => {
                    check = None;
                    check_at = Instant::now() + health;
                    // A call that came meanwhile may be what keeps the server from answering.
                    let idle = self.guard.limiter.idle_since(&mut moves) && listing.is_none();
                    let accepted_before = accepted;
                    accepted |= matches!(checked, Ok(Ok(())));
                    let complaint = match Health::of(checked, &self.spec, accepted_before) {
                        Health::Well => None,
                        Health::Troubled(message) => Some(DegradedReason::HealthCheck { message }),
                        Health::Lost(why) => {
                            failed = if idle { failed + 1 } else { 0 };
                            if failed >= FAILED_CHECKS {
                                let why = ConnectFailure::new(Step::Run, format!("the health check failed: {why}"));
                                return Next::Failed(with_target(Arc::new(why), &self.spec));
                            }
                            check_at = Instant::now() + health.min(HEALTH_PATIENCE);
                            continue;
                        }
                    };
                    failed = 0;
                    if shown.complaint != complaint {
                        let by_lists = shown.by_lists.clone();
                        self.phase(complaint.clone().map_or(by_lists, |reason| Phase::Degraded { reason }));
                        shown.complaint = complaint;
                    }
                }
            }
        }
    }
}

type Listed = Result<crate::domain::catalog::RawLists, ListingError>;
type Checked = Result<Result<(), Failure>, tokio::time::error::Elapsed>;

/// What is shown of a connected server.
struct Shown {
    /// The state by its lists.
    by_lists: Phase,
    /// What the last health check found wrong with it, which goes over that.
    complaint: Option<DegradedReason>,
}

/// What a health check shows.
enum Health {
    Well,
    /// There is somebody, but not well enough to answer.
    Troubled(String),
    /// There may be nobody any more, or nobody who knows us.
    Lost(String),
}

impl Health {
    /// `accepted`: whether the server accepted a check over this connection before.
    fn of(checked: Checked, spec: &ServerSpec, accepted: bool) -> Health {
        let failure = match checked {
            Ok(Ok(())) => return Health::Well,
            // What the server quotes of our secrets is told nowhere.
            Ok(Err(failure)) => failure.redacted(&Redactor::new(&spec.secrets())),
            Err(_) => return Health::Lost(format!("no sign of life within {} s", HEALTH_PATIENCE.as_secs())),
        };
        match failure.status {
            // Unknown there: the credentials, the endpoint or the session.
            Some(401 | 403 | 404 | 410) | None => Health::Lost(failure.message),
            // Some servers refuse an unknown session with 400 and a page: what they accepted before was the same request.
            Some(400) if accepted => Health::Lost(failure.message),
            // Too many requests (429), or a check that it does not take: whoever refuses lives.
            Some(400..=499) => Health::Well,
            Some(_) => Health::Troubled(failure.message),
        }
    }
}

/// Resolves with what `work` gives, never without any. Dropping it loses nothing.
async fn done<T>(work: &mut Option<BoxFuture<'static, T>>) -> T {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

fn with_target(why: Arc<ConnectFailure>, spec: &ServerSpec) -> Arc<ConnectFailure> {
    if !why.target.is_empty() {
        return why;
    }
    let mut why = ConnectFailure::clone(&why).bounded();
    why.target = spec.summary();
    Arc::new(why)
}

async fn list(session: Arc<dyn Session>, spec: Arc<ServerSpec>, handler: Arc<ConnectionHandler>) -> Listed {
    use super::ports::ConnectionObserver;
    handler.step(Step::Run);
    match timeout(spec.timeouts.list + HANDING_OVER, session.lists()).await {
        Ok(Ok(raw)) => Ok(raw),
        Ok(Err(failure)) => {
            let Failure { kind, message, .. } = failure.redacted(&Redactor::new(&spec.secrets())).bounded();
            Err(ListingError::Failed { kind, message })
        }
        Err(_) => Err(ListingError::Timeout { limit: spec.timeouts.list }),
    }
}

/// Asks a server to tell, or no longer, when a resource changes.
pub async fn subscribe(session: Arc<dyn Session>, uri: &str, on: bool) -> Result<(), String> {
    if !session.info().declares(&["resources", "subscribe"]) {
        return Err("it does not offer subscriptions".into());
    }
    match timeout(HEALTH_PATIENCE, session.subscribe(uri, on)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(failure.message),
        Err(_) => Err("no answer".into()),
    }
}

/// Asks a server for log messages of `level` and above, where it takes such requests.
pub async fn set_log_level(session: Arc<dyn Session>, level: &LogLevel) -> Result<(), String> {
    let params = Body::json(&serde_json::json!({"level": level}));
    let request = super::ports::Request { method: "logging/setLevel".into(), params, call: None, repeatable: true };
    match timeout(HEALTH_PATIENCE, session.request(request, Arc::new(super::dispatch::NoopObserver))).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(failure)) => Err(failure.message),
        Err(_) => Err("no answer".into()),
    }
}
