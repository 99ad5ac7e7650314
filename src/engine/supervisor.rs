//! The supervisor of a server: one task that owns its connection. It connects, lists, checks health and reconnects. Only calls
//! of its own server wait for it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    bus::Bus,
    connection_handler::{ConnectionHandler, HandlerParts},
    dispatch::CacheFront,
    guard::TargetGuard,
    inbox::Inbox,
    ports::{CatalogStore, Connector, Session, SubscriptionChange},
    registry::Registry,
    session_pool::SessionPool,
    target_states,
};
use crate::domain::{
    call::{Failure, FailureKind},
    catalog::{RawLists, ServerCatalog},
    event::LogLevel,
    id::ServerId,
    restart::{Restart, RestartPolicy, Verdict},
    secret::Redactor,
    server::{ConnectFailure, DegradedReason, Era, EraChoice, ListingError, Phase, ServerSpec, Step, Transport},
    stored_catalog::{CatalogKey, StoredCatalog, launch_fingerprint},
};

/// Minimum time between two refreshes of the lists, however often a server reports changes.
const REFRESH_GAP: Duration = Duration::from_secs(1);
/// Bounds for the TTL of lists, after which they are read again.
const LIST_TTL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(24 * 3600));
/// How long a health check may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two health checks of a server that is away, as far as its open breaker and a failed check tell.
const AWAY_CHECK: Duration = Duration::from_millis(250);
/// Health checks that fail in a row before the connection counts as lost.
const FAILED_CHECKS: u32 = 2;
/// How long the store is waited for before the era is probed for.
const ERA_LOOKUP: Duration = Duration::from_secs(1);
/// Extra time for a session that enforces `timeouts.list` itself to return what it has read so far.
const LIST_GRACE: Duration = Duration::from_millis(500);

/// A command to a supervisor.
pub enum SupervisorCommand {
    /// Connect a server that waits for its first call. Has no effect on others.
    Start,
    /// Reconnect and forget earlier failures.
    Restart,
    /// Disconnect and stay disconnected until [`SupervisorCommand::Restart`].
    Disable,
    /// Read the lists again.
    Refresh,
    /// Close the connection and end the task.
    Stop(oneshot::Sender<()>),
}

/// Whether calls can be sent.
#[derive(Clone)]
pub enum Readiness {
    /// Not started: the first call starts the server and waits.
    Idle,
    /// Connecting: calls wait. With the failure of the last attempt, if it failed to connect.
    Pending(Option<Arc<ConnectFailure>>),
    /// Connected over this session.
    Ready(Arc<dyn Session>),
    /// Not connected, and waiting does not help.
    Down(Option<Arc<ConnectFailure>>),
}

/// The engine's handle to a server and its supervisor.
#[derive(Clone)]
pub struct ServerHandle {
    /// Its configuration.
    pub spec: Arc<ServerSpec>,
    /// Whether calls can be sent.
    pub readiness: watch::Receiver<Readiness>,
    /// The queue of commands to the supervisor.
    pub commands: mpsc::Sender<SupervisorCommand>,
    /// The state that its calls share.
    pub guard: Arc<TargetGuard>,
    /// The own sessions of clients.
    pub pool: Arc<SessionPool>,
}

impl ServerHandle {
    /// Starts the server if it waits for its first call.
    pub fn start(&self) {
        if matches!(&*self.readiness.borrow(), Readiness::Idle) {
            // A full queue has this command already, or one that reconnects.
            let _ = self.commands.try_send(SupervisorCommand::Start);
        }
    }
}

/// When a server is connected first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Startup {
    /// When it is configured.
    Immediate,
    /// When it is needed first.
    OnDemand,
}

/// What a supervisor is started with.
pub struct Setup {
    pub spec: Arc<ServerSpec>,
    pub connector: Arc<dyn Connector>,
    pub bus: Arc<Bus>,
    pub registry: Arc<Registry>,
    pub catalogs: Arc<dyn CatalogStore>,
    pub inbox: Arc<Inbox>,
    pub cache: Arc<CacheFront>,
    /// The source of jitter for reconnect delays.
    pub random: fastrand::Rng,
    pub startup: Startup,
    /// The tasks that read and write the store.
    pub storage: TaskTracker,
}

/// Starts the supervisor of a server. It connects after `previous_stopped`: the server that this one replaces has released its
/// ports and files by then.
pub fn start(setup: Setup, previous_stopped: impl Future<Output = ()> + Send + 'static) -> ServerHandle {
    let Setup { spec, connector, bus, registry, catalogs, inbox, cache, random, startup, storage } = setup;
    let (commands, command_queue) = mpsc::channel(16);
    let fault = spec.config_failure().map(Arc::new);
    let startable = fault.is_none() && !spec.disabled;
    let waits = startable && startup == Startup::OnDemand;
    let initial = match startable {
        true if waits => Readiness::Idle,
        true => Readiness::Pending(None),
        false => Readiness::Down(fault.filter(|_| !spec.disabled)),
    };
    let (readiness, seen) = watch::channel(initial);
    let shared_states = cache.clone();
    let parts = HandlerParts { bus: bus.clone(), registry: registry.clone(), inbox, cache };
    let pool = SessionPool::new(spec.clone(), connector.clone(), parts.clone());
    let handler = Arc::new(ConnectionHandler::new(parts, spec.clone()));
    registry.add(&spec);
    if waits {
        registry.set_phase(&spec.id, Arc::new(Phase::Idle));
    }
    let guard = TargetGuard::new(spec.id.clone(), &spec.policy, bus.clone());
    let remote = matches!(spec.launch, Transport::Http { .. });
    if startable {
        storage.spawn(load_catalog(spec.clone(), catalog_key(&*connector, &spec), catalogs.clone(), registry.clone()));
        storage.spawn(load_state(spec.clone(), shared_states, catalogs.clone(), guard.clone(), bus.unix_ms()));
    }
    let mut supervisor = Supervisor {
        spec: spec.clone(),
        connector,
        bus,
        registry,
        catalogs,
        handler,
        guard: guard.clone(),
        pool: pool.clone(),
        session: None,
        commands: command_queue,
        readiness,
        restart: Restart::new(if remote { RestartPolicy::REMOTE } else { RestartPolicy::LOCAL }),
        random,
        era: None,
        era_loaded: false,
        catalog: Arc::default(),
        list_ttl: None,
        connect_failed: None,
        storage,
        credentials: None,
    };
    tokio::spawn(async move {
        previous_stopped.await;
        supervisor.run_contained(waits).await;
    });
    ServerHandle { spec, readiness: seen, commands, guard, pool }
}

/// Shows the last known lists of a server until its own are read.
async fn load_catalog(spec: Arc<ServerSpec>, key: CatalogKey, catalogs: Arc<dyn CatalogStore>, registry: Arc<Registry>) {
    if let Some(stored) = catalogs.load(&key).await {
        let catalog = ServerCatalog::stored(stored.lists(), stored.read_ms);
        registry.set_stored_catalog(&spec.id, Arc::new(catalog));
    }
}

/// Restores what an earlier or another process learned about a server.
async fn load_state(spec: Arc<ServerSpec>, cache: Arc<CacheFront>, catalogs: Arc<dyn CatalogStore>, guard: Arc<TargetGuard>, now_ms: u64) {
    if let Some((stored, age)) = target_states::load(&spec, &cache, &*catalogs, now_ms).await {
        // A program is started for each process, so its failures were those of another instance.
        guard.restore(&stored, age, matches!(spec.launch, Transport::Http { .. }));
    }
}

/// Returns the key of the server's lists. The era is unknown before a connection, so the key always has that of the newest one.
fn catalog_key(connector: &dyn Connector, spec: &ServerSpec) -> CatalogKey {
    CatalogKey::new(spec, &connector.capabilities(spec).declared(Era::Modern))
}

struct Supervisor {
    spec: Arc<ServerSpec>,
    connector: Arc<dyn Connector>,
    bus: Arc<Bus>,
    registry: Arc<Registry>,
    catalogs: Arc<dyn CatalogStore>,
    handler: Arc<ConnectionHandler>,
    guard: Arc<TargetGuard>,
    pool: Arc<SessionPool>,
    /// The connection, from the handshake to its closing.
    session: Option<Arc<dyn Session>>,
    commands: mpsc::Receiver<SupervisorCommand>,
    readiness: watch::Sender<Readiness>,
    restart: Restart,
    random: fastrand::Rng,
    /// The era of the last connection, which saves the probe.
    era: Option<Era>,
    /// Whether the stored era was looked up.
    era_loaded: bool,
    catalog: Arc<ServerCatalog>,
    /// TTL of the lists, if they have one.
    list_ttl: Option<Duration>,
    /// Why the last attempt to connect failed, until one succeeds.
    connect_failed: Option<Arc<ConnectFailure>>,
    /// The tasks that read and write the store.
    storage: TaskTracker,
    /// Notified when other credentials may be available.
    credentials: Option<watch::Receiver<()>>,
}

/// What to do after a connection attempt or a connection.
enum Next {
    Connect,
    /// Wait for the first call.
    Idle,
    Failed(Arc<ConnectFailure>),
    Disabled,
    Stop(oneshot::Sender<()>),
    Gone,
}

impl Supervisor {
    /// Runs until stopped. A panic ends the connection of this server only.
    async fn run_contained(&mut self, waits: bool) {
        let mut next = match self.spec.disabled {
            true => Next::Disabled,
            false if waits => Next::Idle,
            false => Next::Connect,
        };
        while AssertUnwindSafe(self.run(next)).catch_unwind().await.is_err() {
            // Close the connection, so that no call uses it.
            let _ = AssertUnwindSafe(self.close()).catch_unwind().await;
            let mut why = ConnectFailure::new(Step::Run, "the connection failed because of a bug in Switchboard");
            why.hints.push("report this bug with the output on stderr".into());
            why.retryable = false;
            next = Next::Failed(Arc::new(why));
        }
    }

    async fn run(&mut self, mut next: Next) {
        loop {
            next = match next {
                Next::Connect => self.connect_and_serve().await,
                Next::Idle => self.until_started().await,
                Next::Failed(why) => self.after_failure(why).await,
                Next::Disabled => {
                    self.pool.end_all();
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

    /// Stores complete lists as the last known ones, without waiting.
    fn store_catalog(&self, raw: &RawLists) {
        let Some(session) = &self.session else { return };
        let catalog = StoredCatalog::new(raw, &session.info(), self.bus.unix_ms(), &self.bus.secrets().redactor());
        if let Some(catalog) = catalog {
            let (catalogs, key) = (self.catalogs.clone(), catalog_key(&*self.connector, &self.spec));
            self.storage.spawn(async move { catalogs.save(&key, catalog).await });
        }
    }

    /// Looks up the era that a program spoke in an earlier run, once: a server that does not answer the probe costs its limit at
    /// each start.
    async fn load_era(&mut self) {
        if self.spec.probed_over_stdio() && !std::mem::replace(&mut self.era_loaded, true) && self.era.is_none() {
            let launch = launch_fingerprint(&self.spec.launch);
            self.era = timeout(ERA_LOOKUP, self.catalogs.era(&launch, self.bus.unix_ms())).await.ok().flatten();
        }
    }

    /// Remembers the era of a connection: in this run if it is certain, and for later runs if the program did not answer the
    /// probe.
    fn note_era(&mut self, session: &dyn Session) {
        let (info, certain) = (session.info(), session.era_certain());
        self.era = certain.then_some(info.era);
        if certain && info.probe_unanswered.is_some() && self.spec.probed_over_stdio() {
            self.store_era(Some(info.era));
        }
    }

    fn store_era(&self, era: Option<Era>) {
        let (catalogs, launch, now) = (self.catalogs.clone(), launch_fingerprint(&self.spec.launch), self.bus.unix_ms());
        self.storage.spawn(async move { catalogs.save_era(&launch, era, now).await });
    }

    fn phase(&self, phase: Phase) {
        self.registry.set_phase(&self.spec.id, Arc::new(phase));
    }

    /// Closes the connection, if there is one.
    async fn close(&mut self) {
        self.readiness.send_replace(Readiness::Pending(None));
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    /// Prepares a restart by the user: earlier failures and the known era do not count.
    fn restart_now(&mut self) -> Next {
        self.restart.reset();
        self.pool.end_all();
        self.connect_failed = None;
        self.era = None;
        Next::Connect
    }

    /// Returns what follows from a command, if it ends the current work.
    fn handle_command(&mut self, command: Option<SupervisorCommand>) -> Option<Next> {
        match command {
            Some(SupervisorCommand::Start | SupervisorCommand::Refresh) => None,
            Some(SupervisorCommand::Restart) => Some(self.restart_now()),
            Some(SupervisorCommand::Disable) => Some(Next::Disabled),
            Some(SupervisorCommand::Stop(done)) => Some(Next::Stop(done)),
            None => Some(Next::Gone),
        }
    }

    fn down(&self, phase: Phase, why: Option<Arc<ConnectFailure>>) {
        self.readiness.send_replace(Readiness::Down(why));
        self.phase(phase);
    }

    /// Waits for the first call that needs the server.
    async fn until_started(&mut self) -> Next {
        loop {
            match self.commands.recv().await {
                Some(SupervisorCommand::Start) => {
                    self.phase(Phase::Starting { step: Step::Spawn });
                    return Next::Connect;
                }
                command => {
                    if let Some(next) = self.handle_command(command) {
                        return next;
                    }
                }
            }
        }
    }

    /// Waits for a command that reconnects the server.
    async fn idle(&mut self) -> Next {
        loop {
            match self.commands.recv().await {
                Some(SupervisorCommand::Disable) => self.phase(Phase::Disabled),
                command => {
                    if let Some(next) = self.handle_command(command) {
                        return next;
                    }
                }
            }
        }
    }

    /// Waits for other credentials, or for a command that reconnects the server.
    async fn needs_login(&mut self, why: Arc<ConnectFailure>) -> Next {
        self.down(Phase::NeedsLogin { why: why.clone() }, Some(why));
        let mut changes = self.credentials.take();
        loop {
            let changed = async {
                if let Some(changes) = &mut changes
                    && changes.changed().await.is_ok()
                {
                    return;
                }
                std::future::pending().await
            };
            tokio::select! {
                () = changed => return self.restart_now(),
                command = self.commands.recv() => match command {
                    Some(SupervisorCommand::Refresh) => {}
                    command => {
                        if let Some(next) = self.handle_command(command) {
                            return next;
                        }
                    }
                }
            }
        }
    }

    async fn after_failure(&mut self, why: Arc<ConnectFailure>) -> Next {
        if why.login.is_some() {
            return self.needs_login(why).await;
        }
        // A program that cannot be started will not start in a second either.
        let verdict = if why.retryable { self.restart.failed(self.bus.now(), self.random.f64()) } else { Verdict::GiveUp };
        let Verdict::Again { attempt, pause } = verdict else {
            self.down(Phase::Failed { why: why.clone() }, Some(why));
            return self.idle().await;
        };
        let until = self.bus.now().plus(pause);
        self.readiness.send_replace(Readiness::Pending(self.connect_failed.clone()));
        self.phase(Phase::Reconnecting { attempt, until, why });
        let wake = sleep(pause);
        tokio::pin!(wake);
        loop {
            tokio::select! {
                () = &mut wake => return Next::Connect,
                command = self.commands.recv() => {
                    if let Some(next) = self.handle_command(command) {
                        return next;
                    }
                }
            }
        }
    }

    async fn connect_and_serve(&mut self) -> Next {
        if let Some(why) = self.spec.config_failure() {
            return Next::Failed(Arc::new(why));
        }
        self.readiness.send_replace(Readiness::Pending(self.connect_failed.clone()));
        // Before the attempt, so that no change after its refusal is missed.
        self.credentials = self.connector.credential_changes();
        self.load_era().await;
        let (connector, spec, handler, era) = (self.connector.clone(), self.spec.clone(), self.handler.clone(), self.era);
        let session = match self.unless_commanded(connector.connect(spec, era, None, handler)).await {
            Ok(Ok(session)) => session,
            Ok(Err(mut failure)) => {
                let shaking = matches!(failure.step, Step::Discover | Step::Initialize);
                if shaking && self.spec.era == EraChoice::Auto && self.era.take().is_some() {
                    // The server may speak another era now: the retry probes for it.
                    failure.retryable = true;
                    self.store_era(None);
                }
                if failure.login.is_none() {
                    self.guard.unreachable(&failure);
                }
                let failure = Arc::new(failure.bounded());
                self.connect_failed = Some(failure.clone());
                return Next::Failed(failure);
            }
            Err(next) => return next,
        };
        self.guard.reachable();
        self.connect_failed = None;
        self.session = Some(session.clone());
        self.note_era(&*session);
        self.registry.set_info(&self.spec.id, session.info());
        let phase = match self.unless_commanded(list(session.clone(), self.spec.clone(), self.handler.clone())).await {
            Ok(result) => self.listed(result),
            Err(next) => {
                self.close().await;
                return next;
            }
        };
        self.restart.ready();
        self.readiness.send_replace(Readiness::Ready(session.clone()));
        self.phase(phase.clone());
        self.renew_subscriptions(&session);
        let next = self.serve(&session, phase).await;
        self.close().await;
        next
    }

    /// Renews the subscriptions of the previous session in a new one.
    fn renew_subscriptions(&self, session: &Arc<dyn Session>) {
        let id = self.spec.id.clone();
        let wanted = self.registry.subscriptions(&id);
        if wanted.is_empty() {
            return;
        }
        let (bus, registry, session) = (self.bus.clone(), self.registry.clone(), session.clone());
        tokio::spawn(async move {
            for uri in wanted {
                if let Err(why) = subscribe(session.clone(), &uri, SubscriptionChange::Subscribe).await {
                    bus.notice(crate::domain::event::NoticeLevel::Warn, format!("subscription to {uri} of {id} lost: {why}"));
                    registry.set_subscribed(&id, &uri, false);
                }
            }
        });
    }

    /// Waits for `work` unless a command makes it obsolete; then drops it.
    async fn unless_commanded<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Next> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                // Commands first, so that no work starts that a command cancels immediately.
                biased;
                command = self.commands.recv() => {
                    if let Some(next) = self.handle_command(command) {
                        return Err(next);
                    }
                }
                output = &mut work => return Ok(output),
            }
        }
    }

    /// Publishes listed items and returns the resulting phase of the server.
    fn listed(&mut self, result: Listed) -> Phase {
        match result {
            Ok(raw) => {
                self.store_catalog(&raw);
                self.list_ttl = raw.ttl.map(|ttl| ttl.clamp(LIST_TTL.0, LIST_TTL.1));
                let previous = (self.catalog.revision > 0).then_some(&*self.catalog);
                self.catalog = Arc::new(ServerCatalog::read(raw, previous));
                self.registry.set_catalog(&self.spec.id, self.catalog.clone());
                match self.catalog.warnings.as_slice() {
                    [] => Phase::Ready,
                    [first, rest @ ..] => {
                        let (first, timed_out) = (first.clone(), self.catalog.timed_out);
                        Phase::Degraded { reason: DegradedReason::Lists { first, more: rest.len(), timed_out } }
                    }
                }
            }
            // Keep the previous lists.
            Err(error) => Phase::Degraded { reason: DegradedReason::Unlisted { error, kept: self.catalog.revision > 0 } },
        }
    }

    /// Serves a connection until it ends. Commands are handled at any time; a command cancels listing or a health check that it
    /// makes obsolete.
    async fn serve(&mut self, session: &Arc<dyn Session>, phase: Phase) -> Next {
        let health = self.spec.timeouts.health;
        let remote = matches!(self.spec.launch, Transport::Http { .. });
        // A check that is due by the interval counts for the connection; others find out when a server that is away is back.
        let mut due_at = Instant::now() + health;
        let (mut check_at, mut counts) = (due_at, false);
        let mut listed_at = Instant::now();
        let mut refresh = false;
        let mut listing: Option<BoxFuture<'static, Listed>> = None;
        let mut check: Option<BoxFuture<'static, HealthCheck>> = None;
        let (mut seen_permits, mut failed, mut accepted, mut away) = (0, 0, false, false);
        let mut display = DisplayState { by_lists: phase, complaint: None };
        self.guard.limiter.idle_since(&mut seen_permits);
        loop {
            tokio::select! {
                why = session.closed() => return Next::Failed(with_target(why, &self.spec)),
                command = self.commands.recv() => {
                    if let Some(SupervisorCommand::Refresh) = command {
                        refresh = true;
                        listed_at = Instant::now() - REFRESH_GAP;
                    } else if let Some(next) = self.handle_command(command) {
                        return next;
                    }
                }
                () = self.handler.changed.notified(), if !refresh => refresh = true,
                () = self.handler.renewed.notified() => self.renew_subscriptions(session),
                () = sleep_until(listed_at + self.list_ttl.unwrap_or_default()), if self.list_ttl.is_some() && !refresh && listing.is_none() => refresh = true,
                () = sleep_until(listed_at + REFRESH_GAP), if refresh && listing.is_none() => {
                    refresh = false;
                    listing = Some(Box::pin(list(session.clone(), self.spec.clone(), self.handler.clone())));
                }
                result = output(&mut listing) => {
                    listing = None;
                    listed_at = Instant::now();
                    display = DisplayState { by_lists: self.listed(result), complaint: None };
                    self.phase(display.by_lists.clone());
                }
                // Calls failed: a check finds out whether the server is away.
                () = self.guard.opened.notified(), if remote && !health.is_zero() => check_at = Instant::now(),
                () = sleep_until(check_at), if remote && !health.is_zero() && check.is_none() => {
                    counts = Instant::now() >= due_at;
                    if counts {
                        due_at = Instant::now() + health;
                    }
                    check_at = due_at;
                    // A server may process one request at a time: while it handles a call, it does not answer a health check.
                    let idle = self.guard.limiter.idle_since(&mut seen_permits);
                    if (idle || self.guard.is_open()) && listing.is_none() {
                        let session = session.clone();
                        check = Some(Box::pin(async move { timeout(HEALTH_TIMEOUT, session.check()).await }));
                    } else {
                        failed = 0;
                    }
                }
                checked = output(&mut check) => {
                    check = None;
                    if counts {
                        due_at = Instant::now() + health;
                    }
                    check_at = due_at;
                    // A call that started during the check may keep the server from answering.
                    let idle = self.guard.limiter.idle_since(&mut seen_permits) && listing.is_none();
                    // A server that lost the session, or does not know the request, is back.
                    let answered = checked.as_ref().is_ok_and(|answer| match answer {
                        Ok(()) => true,
                        Err(failure) => failure.status.is_some_and(|status| status < 500),
                    });
                    if answered && std::mem::take(&mut away) {
                        // The breaker need not stay open for the rest of its time.
                        self.guard.reachable();
                    }
                    let accepted_before = accepted;
                    accepted |= matches!(checked, Ok(Ok(())));
                    let complaint = match Health::of(checked, &self.bus.secrets().redactor(), accepted_before) {
                        Health::Up => None,
                        Health::Degraded(message) => Some(DegradedReason::HealthCheck { message }),
                        Health::Lost(why) => {
                            away |= !answered && self.guard.is_open();
                            if counts {
                                failed = if idle { failed + 1 } else { 0 };
                                due_at = Instant::now() + health.min(HEALTH_TIMEOUT);
                            }
                            if failed >= FAILED_CHECKS {
                                let why = ConnectFailure::new(Step::Run, format!("the health check failed: {why}"));
                                return Next::Failed(with_target(Arc::new(why), &self.spec));
                            }
                            check_at = if away { Instant::now() + AWAY_CHECK } else { due_at };
                            continue;
                        }
                    };
                    failed = 0;
                    if display.complaint != complaint {
                        let by_lists = display.by_lists.clone();
                        self.phase(complaint.clone().map_or(by_lists, |reason| Phase::Degraded { reason }));
                        display.complaint = complaint;
                    }
                }
            }
        }
    }
}

type Listed = Result<crate::domain::catalog::RawLists, ListingError>;
type HealthCheck = Result<Result<(), Failure>, tokio::time::error::Elapsed>;

/// The displayed state of a connected server.
struct DisplayState {
    /// The phase by its lists.
    by_lists: Phase,
    /// The problem found by the last health check, which overrides `by_lists`.
    complaint: Option<DegradedReason>,
}

/// The result of a health check.
enum Health {
    Up,
    /// The server responds, but with an error.
    Degraded(String),
    /// The server is unreachable, or does not know this session.
    Lost(String),
}

impl Health {
    /// Classifies the result of a check. `accepted`: whether the server accepted an earlier check over this connection.
    fn of(checked: HealthCheck, redactor: &Redactor, accepted: bool) -> Health {
        let failure = match checked {
            Ok(Ok(())) => return Health::Up,
            // The server may quote our secrets.
            Ok(Err(failure)) => failure.redacted(redactor),
            Err(_) => return Health::Lost(format!("no response within {} s", HEALTH_TIMEOUT.as_secs())),
        };
        match failure.status {
            // The server does not accept the credentials, the endpoint or the session.
            Some(401 | 403 | 404 | 410) | None => Health::Lost(failure.message),
            // Some servers refuse an unknown session with 400 and an HTML page: an earlier check with the same request
            // succeeded.
            Some(400) if accepted => Health::Lost(failure.message),
            // 429 or any other 4xx: the server is up, even if it does not support the health check.
            Some(400..=499) => Health::Up,
            Some(_) => Health::Degraded(failure.message),
        }
    }
}

/// Resolves with the output of `work`; never resolves without one. Cancel-safe.
async fn output<T>(work: &mut Option<BoxFuture<'static, T>>) -> T {
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
    match timeout(spec.timeouts.list + LIST_GRACE, session.lists()).await {
        Ok(Ok(raw)) => Ok(raw),
        Ok(Err(failure)) => {
            let Failure { kind, message, hint, .. } = failure.redacted(&handler.redactor()).bounded();
            Err(ListingError::Failed { kind, message, hint })
        }
        Err(_) => Err(ListingError::Timeout { limit: spec.timeouts.list }),
    }
}

/// Returns the failure of a call to a server whose configuration has errors: what is wrong, where, and what to do.
fn unusable(id: &ServerId, why: &ConnectFailure) -> Failure {
    let mut failure = Failure::new(FailureKind::NotReady, format!("{id} cannot be used: {}", why.summary));
    failure.causes = why.place.iter().map(|place| format!("it is configured in {place}")).chain(why.causes.iter().cloned()).collect();
    match why.hints.first() {
        Some(hint) => failure.hint(hint.clone()),
        None => failure.hint(format!("correct the configuration of {id}")),
    }
}

/// Returns the failure of a call to a server that is not connected because of `why`; without a reason it is disabled.
pub fn not_connected(id: &ServerId, why: Option<&ConnectFailure>) -> Failure {
    let check = format!("run `switchboard doctor`; restart {id} once the cause is fixed");
    let Some(why) = why else {
        return Failure::new(FailureKind::NotReady, format!("{id} is disabled")).hint(check);
    };
    let failure = match &why.login {
        _ if why.step == Step::Configure => return unusable(id, why),
        Some(login) => Failure::new(FailureKind::Unauthorized, format!("{id} needs login: {}", login.why)),
        None => Failure::new(FailureKind::NotReady, format!("{id} is not connected: {}", why.summary)),
    };
    let failure = Failure {
        login: why.login.clone(),
        causes: why.causes.clone(),
        exit: why.exit,
        status: why.status,
        headers: why.headers.clone(),
        stderr: why.stderr.clone(),
        ..failure
    };
    match (&why.login, why.hints.first()) {
        (Some(_), Some(hint)) => failure.hint(hint.clone()),
        _ => failure.hint(check),
    }
}

/// Subscribes to updates of a resource, or unsubscribes.
pub async fn subscribe(session: Arc<dyn Session>, uri: &str, change: SubscriptionChange) -> Result<(), String> {
    if !session.info().declares(&["resources", "subscribe"]) {
        return Err("the server does not support subscriptions".into());
    }
    match timeout(HEALTH_TIMEOUT, session.subscribe(uri, change)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(failure.message),
        Err(_) => Err("no response".into()),
    }
}

/// Requests log messages of `level` and above.
pub async fn set_log_level(session: Arc<dyn Session>, level: &LogLevel) -> Result<(), String> {
    match timeout(HEALTH_TIMEOUT, session.set_log_level(level)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(failure.message),
        Err(_) => Err("no response".into()),
    }
}
