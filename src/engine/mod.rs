//! The engine: connections, calls and events. Knows no terminal, no HTTP listener and no SQL.
//!
//! [`Engine`] is made by the composition root; faces reach it through [`control::Control`] only.

mod bus;
mod checkers;
mod connection_handler;
pub mod control;
mod deadline_pause;
mod dispatch;
mod guard;
mod inbox;
mod limiter;
pub mod ports;
pub mod rehearsal;
mod result_kind;
mod runner;
mod shared;
mod supervisor;
mod tail;
mod task;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

pub use self::bus::WallClock;
use self::{
    bus::Bus,
    control::{Command, Control, Tail},
    dispatch::{Cancel, Dispatch},
    guard::TargetGuard,
    inbox::Inbox,
    ports::{Connector, Journal, NoJournal, ResponseCache},
    runner::Runs,
    shared::Shared,
    supervisor::{Readiness, ServerHandle, SupervisorCommand},
};
use crate::domain::{
    call::CallSpec,
    event::{EventKind, Notice, NoticeLevel, Settled},
    id::{CallId, ServerId},
    policy::{Rules, pattern::Pattern},
    read_model::{ConsoleState, Retention},
    secret::SecretRegistry,
    server::ServerSpec,
    time::{Epoch, Stamp},
};

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Which wall-clock time it is now.
    pub epoch: Epoch,
    /// What stands between namespace and tool in exposed names.
    pub separator: String,
    /// How much is kept.
    pub retention: Retention,
    /// Where chance begins: the same number gives the same choices. For tests.
    pub seed: Option<u64>,
}

/// The engine in this process.
pub struct Engine {
    bus: Arc<Bus>,
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    connector: Arc<dyn Connector>,
    running: Arc<Mutex<HashMap<CallId, Arc<Cancel>>>>,
    calls: AtomicU64,
    tasks: TaskTracker,
    runs: Runs,
    me: Weak<Engine>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// An engine without servers. Must be made within a tokio runtime.
    pub fn new(options: EngineOptions, connector: Arc<dyn Connector>) -> Arc<Engine> {
        Engine::journaled(options, connector, Arc::new(NoJournal))
    }

    /// The same, which writes what runs of workflows do to `journal`, so that they can be resumed.
    pub fn journaled(options: EngineOptions, connector: Arc<dyn Connector>, journal: Arc<dyn Journal>) -> Arc<Engine> {
        let bus = Arc::new(Bus::new(options.epoch, &options.separator, options.retention));
        let inbox = Arc::new(Inbox::new(bus.clone()));
        Arc::new_cyclic(|me| Engine {
            runs: Runs::new(journal),
            me: me.clone(),
            shared: Shared::new(bus.clone(), inbox.clone(), options.seed),
            inbox,
            bus,
            connector,
            running: Arc::default(),
            calls: AtomicU64::new(0),
            tasks: TaskTracker::new(),
        })
    }

    /// Makes the servers be these: starts new ones, restarts changed ones, stops the ones that are
    /// gone, leaves the others alone. All connect side by side; nothing is waited for.
    pub fn apply(&self, specs: Vec<ServerSpec>) {
        // All together: each addition discards the redactor.
        self.secrets().learn(specs.iter().flat_map(ServerSpec::secrets));
        let mut servers = self.shared.servers();
        let gone: Vec<ServerId> = servers.keys().filter(|id| !specs.iter().any(|s| s.id == **id)).cloned().collect();
        for id in gone {
            if let Some(old) = servers.remove(&id) {
                self.tasks.spawn(stop(old));
            }
            self.bus.publish(EventKind::ServerRemoved { server: id });
        }
        for spec in specs {
            let same = servers.get(&spec.id).is_some_and(|old| unplaced(&old.spec) == unplaced(&spec));
            if same {
                self.retreat(&mut servers, spec);
                continue;
            }
            let old = servers.remove(&spec.id).map(|old| self.tasks.spawn(stop(old)));
            let before = async {
                if let Some(old) = old {
                    let _ = old.await;
                }
            };
            let (bus, inbox, answers) = (self.bus.clone(), self.inbox.clone(), self.shared.answers.clone());
            let started = supervisor::start(Arc::new(spec), self.connector.clone(), bus, inbox, answers, self.shared.fork(), before);
            servers.insert(started.spec.id.clone(), started);
        }
    }

    /// Takes over the settings of a server that can change while it is connected.
    fn retreat(&self, servers: &mut HashMap<ServerId, ServerHandle>, spec: ServerSpec) {
        let Some(known) = servers.get_mut(&spec.id).filter(|known| known.spec.policy != spec.policy) else { return };
        known.guard.set_policy(&spec.policy);
        known.spec = Arc::new(ServerSpec { policy: spec.policy, ..ServerSpec::clone(&known.spec) });
        self.bus.publish(EventKind::ServerAdded { spec: known.spec.clone() });
    }

    /// Tells the age of kept answers by this clock from now on (milliseconds since the Unix epoch): the engine's own may stand
    /// still while the machine sleeps.
    pub fn set_wall_clock(&self, clock: WallClock) {
        self.bus.set_wall_clock(clock);
    }

    /// Puts rules for tools, groups and routes in force, for calls from now on.
    pub fn set_rules(&self, rules: Rules) {
        let rules = Arc::new(rules);
        if *self.shared.rules() == *rules {
            return;
        }
        self.shared.set_rules(rules.clone());
        self.bus.publish(EventKind::Rules { rules });
    }

    /// Keeps answers there from now on; nowhere without a store.
    pub fn set_store(&self, store: Option<Arc<dyn ResponseCache>>) {
        let told = store.as_ref().map(|store| store.changed());
        self.shared.answers.set_store(store);
        let tell = |shared: &Shared| shared.bus.publish(EventKind::Cache { view: Arc::new(shared.answers.view()) });
        tell(&self.shared);
        let Some(mut told) = told else { return };
        let shared = Arc::downgrade(&self.shared);
        // Ends with the store.
        tokio::spawn(async move {
            while told.changed().await.is_ok() {
                let Some(shared) = shared.upgrade() else { return };
                tell(&shared);
            }
        });
    }

    fn purge(&self, pattern: String) {
        let (shared, bus) = (self.shared.clone(), self.bus.clone());
        self.tasks.spawn(async move {
            let purged = match Pattern::parse(&pattern) {
                Ok(pattern) => shared.answers.purge(&pattern).await,
                Err(why) => Err(why),
            };
            match purged {
                Ok(count) => bus.notice(NoticeLevel::Info, format!("{count} kept answers of {pattern} forgotten")),
                Err(why) => bus.notice(NoticeLevel::Warn, format!("the kept answers of {pattern} could not be forgotten: {why}")),
            }
        });
    }

    fn guard(&self, server: &ServerId) -> Option<Arc<TargetGuard>> {
        let guard = self.shared.server(server).map(|server| server.guard);
        if guard.is_none() {
            self.bus.notice(NoticeLevel::Warn, format!("there is no server {server}"));
        }
        guard
    }

    /// The secrets that are masked in events, in the journal and in everything made of them.
    pub fn secrets(&self) -> &SecretRegistry {
        self.bus.secrets()
    }

    /// The time on the engine's clock.
    pub fn now(&self) -> Stamp {
        self.bus.now()
    }

    /// Tells the user something, by event.
    pub fn notice(&self, notice: Notice) {
        self.bus.publish(EventKind::Notice { notice: Arc::new(notice) });
    }

    /// Cancels what runs and ends every connection in order, all at once. Returns when nothing is left.
    pub async fn shutdown(&self) {
        self.runs.interrupt("the console is quitting");
        for cancel in lock(&self.running).values() {
            cancel.cancel("the console is quitting");
        }
        let servers: Vec<ServerHandle> = self.shared.servers().drain().map(|(_, s)| s).collect();
        for server in servers {
            self.tasks.spawn(stop(server));
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.connector.settled().await;
    }

    /// Starts a call, for the engine's own runs; the future gives its end, `None` when the engine went away.
    pub fn call(&self, spec: CallSpec) -> (CallId, impl Future<Output = Option<Arc<Settled>>> + use<>) {
        let (told, end) = oneshot::channel();
        let id = self.enter(spec, Some(told));
        (id, async move { end.await.ok() })
    }

    /// The time now.
    fn bus_now(&self) -> Stamp {
        self.bus.now()
    }

    fn with_me(&self, then: impl FnOnce(&Arc<Engine>)) {
        if let Some(me) = self.me.upgrade() {
            then(&me);
        }
    }

    fn order(&self, server: &ServerId, order: SupervisorCommand) {
        let found = self.shared.servers().get(server).map(|s| s.orders.clone());
        let told = match found {
            Some(orders) => orders.try_send(order).is_ok(),
            None => false,
        };
        if !told {
            self.bus.notice(NoticeLevel::Warn, format!("{server} takes no orders now"));
        }
    }

    fn subscribe(&self, server: ServerId, uri: String, on: bool) {
        let readiness = self.shared.servers().get(&server).map(|s| s.readiness.borrow().clone());
        let bus = self.bus.clone();
        self.tasks.spawn(async move {
            // Told first and taken back when it is refused: what the server says of it may come before this goes on.
            let told = |on: bool| bus.publish(EventKind::ResourceSubscribed { server: server.clone(), uri: uri.clone(), on });
            let result = match readiness {
                Some(Readiness::Ready(session)) => {
                    told(on);
                    supervisor::subscribe(session, &uri, on).await
                }
                _ => Err("it is not connected".into()),
            };
            match result {
                Ok(()) => {}
                Err(why) => {
                    if on {
                        told(false);
                    }
                    let what = if on { "subscribed to" } else { "unsubscribed from" };
                    bus.notice(NoticeLevel::Warn, format!("{uri} of {server} could not be {what}: {why}"));
                }
            }
        });
    }

    fn set_log_level(&self, server: ServerId, level: String) {
        let readiness = self.shared.servers().get(&server).map(|s| s.readiness.borrow().clone());
        let bus = self.bus.clone();
        self.tasks.spawn(async move {
            let result = match readiness {
                Some(Readiness::Ready(session)) => supervisor::set_log_level(session, &level).await,
                _ => Err("it is not connected".into()),
            };
            match result {
                Ok(()) => bus.notice(NoticeLevel::Info, format!("{server} now logs from level {level}")),
                Err(why) => bus.notice(NoticeLevel::Warn, format!("the log level of {server} could not be set: {why}")),
            }
        });
    }
}

/// A specification without what needs no new connection: where it stands, and how its calls are treated.
fn unplaced(spec: &ServerSpec) -> ServerSpec {
    ServerSpec { origin: Default::default(), policy: Default::default(), ..spec.clone() }
}

async fn stop(server: ServerHandle) {
    let (done, wait) = oneshot::channel();
    if server.orders.send(SupervisorCommand::Stop(done)).await.is_ok() {
        let _ = wait.await;
    }
}

impl Control for Engine {
    fn watch(&self) -> (ConsoleState, Tail) {
        self.bus.watch()
    }

    fn submit(&self, spec: CallSpec) -> CallId {
        self.enter(spec, None)
    }

    fn command(&self, command: Command) {
        self.obey(command);
    }
}

impl Engine {
    /// Starts a call; `told` gets its end.
    fn enter(&self, spec: CallSpec, told: Option<oneshot::Sender<Arc<Settled>>>) -> CallId {
        // Within the lock, so that ids are made and published in one order.
        let mut running = lock(&self.running);
        let queued = self.bus.now();
        let unix_ms = self.bus.look(|read_model| read_model.epoch.unix_ms(queued));
        let id = CallId::from_parts(unix_ms, self.calls.fetch_add(1, Ordering::Relaxed));
        let spec = Arc::new(spec);
        let cancel = Arc::new(Cancel::default());
        running.insert(id, cancel.clone());
        self.bus.publish_at(queued, EventKind::CallQueued { call: id, spec: spec.clone() });
        drop(running);
        let dispatch = Dispatch { id, spec, queued, cancel, shared: self.shared.clone(), own: Default::default() };
        let running = self.running.clone();
        self.tasks.spawn(async move {
            let settled = dispatch.run().await;
            lock(&running).remove(&id);
            if let Some(told) = told {
                // Whoever asked may be gone.
                let _ = told.send(settled);
            }
        });
        id
    }

    fn obey(&self, command: Command) {
        match command {
            Command::Cancel { call, reason } => {
                if let Some(cancel) = lock(&self.running).get(&call) {
                    cancel.cancel(&reason);
                }
            }
            Command::Restart { server } => self.order(&server, SupervisorCommand::Restart),
            Command::Disable { server } => self.order(&server, SupervisorCommand::Disable),
            Command::Refresh { server } => self.order(&server, SupervisorCommand::Refresh),
            Command::Answer { ask, answer } => {
                if !self.inbox.answer(ask, answer) {
                    self.bus.notice(NoticeLevel::Warn, "the question was no longer open; the answer was not sent");
                }
            }
            Command::Subscribe { server, uri, on } => self.subscribe(server, uri, on),
            Command::LogLevel { server, level } => self.set_log_level(server, level),
            Command::StartRun { run, spec } => self.with_me(|me| self.runs.start(me, run, spec)),
            Command::ResumeRun { run, answers, ask, timeout } => {
                self.with_me(|me| self.runs.resume(me, run, runner::Resumption { answers, ask, timeout }));
            }
            Command::CancelRun { run, reason } => self.runs.cancel(run, &reason),
            Command::CancelStep { run, step, reason } => self.runs.cancel_step(run, &step, &reason),
            Command::Breaker { server, tool, order } => {
                if let Some(guard) = self.guard(&server) {
                    guard.order(tool.map(Into::into), order);
                }
            }
            Command::Inject { server, tool, fault } => {
                if let Some(guard) = self.guard(&server) {
                    guard.inject(tool.map(Into::into), fault);
                }
            }
            Command::Purge { pattern } => self.purge(pattern),
        }
    }
}
