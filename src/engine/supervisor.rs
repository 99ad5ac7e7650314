//! The supervisor of a server: one task that owns its connection. It connects, lists, checks health and reconnects. Only calls
//! of its own server wait for it.

mod handle;
mod health;
mod requests;
mod serve;
mod unavailable;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use self::serve::list;
pub use self::{
    handle::{Readiness, ServerHandle, ServerParts, Startup, SupervisorCommand},
    requests::{set_log_level, subscribe},
    unavailable::not_connected,
};
use super::{
    bus::Bus,
    connection_handler::{ConnectionHandler, HandlerParts},
    dispatch::{CacheFront, scope_of},
    guard::TargetGuard,
    inbox::Inbox,
    lifecycle::LifecycleRecorder,
    ports::{CatalogStore, Connector, Session},
    registry::Registry,
    session_pool::SessionPool,
    target_states,
};
use crate::domain::{
    catalog::{RawLists, ServerCatalog},
    restart::{Restart, RestartPolicy, Verdict},
    server::{ConnectFailure, Era, EraChoice, Phase, ServerSpec, Step, Transport},
    stored_catalog::{CatalogKey, StoredCatalog, launch_fingerprint},
};

/// How long the store is waited for before the era is probed for.
const ERA_LOOKUP: Duration = Duration::from_secs(1);

/// What a supervisor is started with.
pub struct Setup {
    pub spec: Arc<ServerSpec>,
    pub connector: Arc<dyn Connector>,
    pub bus: Arc<Bus>,
    pub registry: Arc<Registry>,
    pub catalogs: Arc<dyn CatalogStore>,
    pub inbox: Arc<Inbox>,
    pub cache: Arc<CacheFront>,
    /// Where handshakes and list requests are recorded.
    pub lifecycle: LifecycleRecorder,
    /// The source of jitter for reconnect delays.
    pub random: fastrand::Rng,
    pub startup: Startup,
    /// The tasks that read and write the store.
    pub storage: TaskTracker,
}

/// Starts the supervisor of a server. It connects after `previous_stopped`: the server that this one replaces has released its
/// ports and files by then.
pub fn start(setup: Setup, previous_stopped: impl Future<Output = ()> + Send + 'static) -> ServerHandle {
    let Setup { spec, connector, bus, registry, catalogs, inbox, cache, lifecycle, random, startup, storage } = setup;
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
    let parts = HandlerParts { bus: bus.clone(), registry: registry.clone(), inbox, cache, lifecycle };
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
    let pins = catalogs.clone();
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
        connected_before: false,
        connect_failed: None,
        storage,
        credentials: None,
    };
    tokio::spawn(async move {
        previous_stopped.await;
        supervisor.run_contained(waits).await;
    });
    let cache_scope = scope_of(&spec).into();
    ServerHandle::new(ServerParts { spec, readiness: seen, commands, guard, pool, catalogs: pins, cache_scope })
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
    /// Whether a connection has succeeded since the start.
    connected_before: bool,
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
            let server = self.spec.id.clone();
            self.storage.spawn(async move {
                catalogs.save_definitions(&server, &key, &catalog).await;
                catalogs.save(&key, catalog).await;
            });
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
        // A program that cannot be started will not start in a second either, nor is a wrong path right then. Behind a proxy, a server
        // that is restarted may have no path for a while.
        let retryable = why.retryable && (self.connected_before || !why.refused_for_good());
        let verdict = if retryable { self.restart.failed(self.bus.now(), self.random.f64()) } else { Verdict::GiveUp };
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
        self.connected_before = true;
        self.session = Some(session.clone());
        self.note_era(&*session);
        self.registry.set_info(&self.spec.id, session.info());
        let phase = match self.unless_commanded(list(session.clone(), self.spec.clone(), self.handler.clone(), self.catalogs.clone())).await
        {
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
}
