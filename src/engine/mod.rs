//! The engine: connections, calls and events. Knows no terminal, no HTTP listener and no SQL.
//!
//! [`Engine`] is made by the composition root; faces reach it through [`control::Control`] only.

mod bus;
mod checkers;
pub mod control;
mod dispatch;
mod host;
mod inbox;
pub mod ports;
mod runner;
mod shape;
mod supervisor;
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

use self::{
    bus::Bus,
    checkers::Checkers,
    control::{Command, Control, Tail},
    dispatch::{Cancel, Dispatch},
    inbox::Inbox,
    ports::{Connector, Journal, NoJournal},
    runner::Runs,
    supervisor::{Order, Readiness, Supervised},
};
use crate::domain::{
    call::CallSpec,
    event::{EventKind, Notice, NoticeLevel, Settled},
    id::{CallId, ServerId},
    server::ServerSpec,
    time::{Epoch, Stamp},
    world::{Keep, World},
};

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Which wall-clock time it is now.
    pub epoch: Epoch,
    /// What stands between namespace and tool in exposed names.
    pub separator: String,
    /// How much is kept.
    pub keep: Keep,
}

/// The engine in this process.
pub struct Engine {
    bus: Arc<Bus>,
    inbox: Arc<Inbox>,
    checkers: Arc<Checkers>,
    connector: Arc<dyn Connector>,
    servers: Mutex<HashMap<ServerId, Supervised>>,
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
        let bus = Arc::new(Bus::new(options.epoch, &options.separator, options.keep));
        Arc::new_cyclic(|me| Engine {
            runs: Runs::new(journal),
            me: me.clone(),
            inbox: Arc::new(Inbox::new(bus.clone())),
            bus,
            checkers: Arc::default(),
            connector,
            servers: Mutex::default(),
            running: Arc::default(),
            calls: AtomicU64::new(0),
            tasks: TaskTracker::new(),
        })
    }

    /// Makes the servers be these: starts new ones, restarts changed ones, stops the ones that are
    /// gone, leaves the others alone. All connect side by side; nothing is waited for.
    pub fn apply(&self, specs: Vec<ServerSpec>) {
        let mut servers = lock(&self.servers);
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
                continue;
            }
            let old = servers.remove(&spec.id).map(|old| self.tasks.spawn(stop(old)));
            let before = async {
                if let Some(old) = old {
                    let _ = old.await;
                }
            };
            let started = supervisor::start(Arc::new(spec), self.connector.clone(), self.bus.clone(), self.inbox.clone(), before);
            servers.insert(started.spec.id.clone(), started);
        }
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
        let servers: Vec<Supervised> = lock(&self.servers).drain().map(|(_, s)| s).collect();
        for server in servers {
            self.tasks.spawn(stop(server));
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.connector.settled().await;
    }

    /// Starts a call, for the engine's own runs; the future gives its end, `None` when the engine went away.
    fn call(&self, spec: CallSpec) -> (CallId, impl Future<Output = Option<Arc<Settled>>> + use<>) {
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

    fn order(&self, server: &ServerId, order: Order) {
        let found = lock(&self.servers).get(server).map(|s| s.orders.clone());
        let told = match found {
            Some(orders) => orders.try_send(order).is_ok(),
            None => false,
        };
        if !told {
            self.bus.notice(NoticeLevel::Warn, format!("{server} takes no orders now"));
        }
    }

    fn subscribe(&self, server: ServerId, uri: String, on: bool) {
        let readiness = lock(&self.servers).get(&server).map(|s| s.readiness.borrow().clone());
        let bus = self.bus.clone();
        self.tasks.spawn(async move {
            let result = match readiness {
                Some(Readiness::Ready(session)) => supervisor::subscribe(session, &uri, on).await,
                _ => Err("it is not connected".into()),
            };
            match result {
                Ok(()) => {
                    bus.publish(EventKind::ResourceSubscribed { server, uri, on });
                }
                Err(why) => {
                    let what = if on { "subscribed to" } else { "unsubscribed from" };
                    bus.notice(NoticeLevel::Warn, format!("{uri} of {server} could not be {what}: {why}"));
                }
            }
        });
    }

    fn set_log_level(&self, server: ServerId, level: String) {
        let readiness = lock(&self.servers).get(&server).map(|s| s.readiness.borrow().clone());
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

/// A specification without where it stands: moving a table within a file changes nothing.
fn unplaced(spec: &ServerSpec) -> ServerSpec {
    ServerSpec { origin: Default::default(), ..spec.clone() }
}

async fn stop(server: Supervised) {
    let (done, wait) = oneshot::channel();
    if server.orders.send(Order::Stop(done)).await.is_ok() {
        let _ = wait.await;
    }
}

impl Control for Engine {
    fn watch(&self) -> (World, Tail) {
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
        let unix_ms = self.bus.look(|world| world.epoch.unix_ms(queued));
        let id = CallId::from_parts(unix_ms, self.calls.fetch_add(1, Ordering::Relaxed));
        let spec = Arc::new(spec);
        let cancel = Arc::new(Cancel::default());
        running.insert(id, cancel.clone());
        self.bus.publish_at(queued, EventKind::CallQueued { call: id, spec: spec.clone() });
        drop(running);
        let server = lock(&self.servers).get(spec.operation.server()).cloned();
        let dispatch = Dispatch {
            id,
            spec,
            queued,
            server,
            cancel,
            bus: self.bus.clone(),
            inbox: self.inbox.clone(),
            checkers: self.checkers.clone(),
        };
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
            Command::Restart { server } => self.order(&server, Order::Restart),
            Command::Disable { server } => self.order(&server, Order::Disable),
            Command::Refresh { server } => self.order(&server, Order::Refresh),
            Command::Answer { ask, answer } => {
                if !self.inbox.answer(ask, answer) {
                    self.bus.notice(NoticeLevel::Warn, "the question was no longer open; the answer was not sent");
                }
            }
            Command::Subscribe { server, uri, on } => self.subscribe(server, uri, on),
            Command::LogLevel { server, level } => self.set_log_level(server, level),
            Command::StartRun { run, spec } => self.with_me(|me| self.runs.start(me, run, spec)),
            Command::ResumeRun { run, answers, ask } => self.with_me(|me| self.runs.resume(me, run, answers, ask)),
            Command::CancelRun { run, reason } => self.runs.cancel(run, &reason),
            Command::CancelStep { run, step, reason } => self.runs.cancel_step(run, &step, &reason),
        }
    }
}
