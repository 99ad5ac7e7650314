//! The engine: owns server connections, calls, workflow runs and the event bus. Depends on no terminal, HTTP listener or SQL.
//!
//! Faces use it through [`Control`](crate::control::Control) only.

mod bus;
mod call_future;
mod checkers;
mod commands;
mod connection_handler;
mod deadline_pause;
mod dispatch;
mod guard;
mod inbox;
mod lifecycle;
mod limiter;
pub mod observed;
mod owners;
pub mod passage;
mod permit_source;
pub mod ports;
mod question_routing;
mod registry;
mod result_kind;
mod runner;
mod running;
mod session_pool;
mod shared;
mod supervisor;
pub mod tail;
mod target_states;
mod task;

use std::{
    collections::HashSet,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{oneshot, watch};
use tokio_util::task::TaskTracker;

use self::{
    bus::Bus,
    call_future::CallFuture,
    dispatch::{CacheFront, Cancel, Dispatch},
    inbox::Inbox,
    lifecycle::LifecycleRecorder,
    passage::PreparedPassage,
    ports::{CallExecutor, CatalogStore, Connector, History, Journal, NoCatalogs, NoHistory, NoJournal, ResponseCache},
    registry::Registry,
    runner::Runs,
    running::{InFlight, RunningCall, RunningCalls},
    shared::{Recording, Shared},
    supervisor::{Readiness, ServerHandle, Startup, SupervisorCommand},
    tail::{Filter, Tail},
};
pub use self::{bus::WallClock, commands::PendingReply};
use crate::domain::{
    call::CallSpec,
    client::ClientInfo,
    command::SubmitError,
    directory::{Directory, DirectorySnapshot},
    event::{EventKind, EventSink, Notice, Settled},
    id::{AskId, CallId, ClientId, InstanceId},
    policy::Rules,
    secret::SecretRegistry,
    server::{ServerLoad, ServerSpec},
    time::{Epoch, Stamp},
    trace::{self, Propagation, TraceParent, TraceState},
};

/// Settings of an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The wall-clock time at the start of the engine.
    pub epoch: Epoch,
    /// The separator between namespace and tool in exposed names.
    pub separator: String,
    /// Seed of the random number generator, for tests: the same seed makes the same choices.
    pub seed: Option<u64>,
}

/// What an engine works with.
pub struct Adapters {
    /// Connects to servers.
    pub connector: Arc<dyn Connector>,
    /// Records workflow runs.
    pub journal: Arc<dyn Journal>,
    /// Stores the last known catalogs.
    pub catalogs: Arc<dyn CatalogStore>,
    /// The secrets that adapters learn. They are masked in events.
    pub secrets: SecretRegistry,
    /// Records calls.
    pub history: Arc<dyn History>,
    /// How the trace context gets to servers.
    pub propagation: Propagation,
}

impl Adapters {
    /// Returns adapters that connect, and store nothing.
    pub fn new(connector: Arc<dyn Connector>) -> Adapters {
        Adapters {
            connector,
            journal: Arc::new(NoJournal),
            catalogs: Arc::new(NoCatalogs),
            secrets: SecretRegistry::default(),
            history: Arc::new(NoHistory),
            propagation: Propagation::default(),
        }
    }
}

/// The engine of this process.
pub struct Engine {
    bus: Arc<Bus>,
    inbox: Arc<Inbox>,
    registry: Arc<Registry>,
    shared: Arc<Shared>,
    connector: Arc<dyn Connector>,
    catalogs: Arc<dyn CatalogStore>,
    running: Arc<RunningCalls>,
    lifecycle: LifecycleRecorder,
    calls: AtomicU64,
    /// The id of the last client.
    clients: AtomicU32,
    tasks: TaskTracker,
    /// The tasks that read and write the store.
    storage: TaskTracker,
    /// Whether servers start with the first call that needs them.
    on_demand: AtomicBool,
    runs: Arc<Runs>,
    instance: InstanceId,
    /// Whether the engine is shutting down and takes no calls and no commands. Set under the lock of the calls in flight.
    ending: AtomicBool,
    /// Held while the configured servers are replaced.
    applying: Mutex<()>,
    own: Weak<Engine>,
}

impl Engine {
    /// Creates an engine without servers, which passes every event to `sink`. Must be called within a tokio runtime.
    pub fn new(options: EngineOptions, adapters: Adapters, sink: Arc<dyn EventSink>) -> Arc<Engine> {
        let Adapters { connector, journal, catalogs, secrets, history, propagation } = adapters;
        let instance = InstanceId(options.seed.map_or_else(|| fastrand::u32(..), |seed| fastrand::Rng::with_seed(seed).u32(..)));
        let bus = Arc::new(Bus::new(options.epoch, sink).masking(secrets));
        let running = Arc::new(RunningCalls::default());
        let inbox = Arc::new(Inbox::new(bus.clone(), running.clone()));
        let registry = Arc::new(Registry::new(bus.clone(), &options.separator));
        let tasks = TaskTracker::new();
        let cache: Arc<CacheFront> = Arc::default();
        let lifecycle = LifecycleRecorder::new(history.clone(), instance);
        Arc::new_cyclic(|weak: &Weak<Engine>| Engine {
            lifecycle,
            runs: Runs::new(journal, (bus.clone(), inbox.clone(), registry.clone(), cache.clone()), weak.clone(), tasks.clone()),
            shared: Shared::new(
                bus.clone(),
                registry.clone(),
                inbox.clone(),
                cache,
                Recording { instance, history, propagation },
                options.seed,
            ),
            registry,
            instance,
            ending: AtomicBool::new(false),
            applying: Mutex::default(),
            own: weak.clone(),
            inbox,
            bus,
            connector,
            catalogs,
            running,
            calls: AtomicU64::new(0),
            clients: AtomicU32::new(ClientId::LOCAL.0),
            tasks,
            storage: TaskTracker::new(),
            on_demand: AtomicBool::new(false),
        })
    }

    /// Servers that are configured from now on start with the first call that needs them, or with
    /// [`Command::Start`](crate::domain::command::Command::Start).
    pub fn start_on_demand(&self) {
        self.on_demand.store(true, Ordering::Relaxed);
    }

    /// Resolves when the last known catalogs of the configured servers are in the registry.
    pub async fn catalogs_loaded(&self) {
        self.storage.close();
        self.storage.wait().await;
        self.storage.reopen();
    }

    /// Replaces the configured servers: starts new ones, restarts changed ones, stops removed ones and leaves the others
    /// connected. Returns without waiting; all servers connect concurrently.
    pub fn apply(&self, specs: Vec<ServerSpec>) {
        // One call for all servers: each addition discards the redactor.
        self.secrets().learn(specs.iter().flat_map(ServerSpec::secrets));
        let _applying = self.applying.lock();
        let known = self.registry.read();
        let wanted: HashSet<_> = specs.iter().map(|spec| &spec.id).collect();
        for old in known.handles().filter(|old| !wanted.contains(&old.spec.id)) {
            self.registry.remove(&old.spec.id);
            self.tasks.spawn(stop(old.clone()));
        }
        for spec in specs {
            if let Some(old) = known.handle(&spec.id).filter(|old| without_group(&old.spec) == without_group(&spec)) {
                self.update_policy(old, spec);
                continue;
            }
            let old = self.registry.take_handle(&spec.id).map(|old| self.tasks.spawn(stop(old)));
            let previous_stopped = async {
                if let Some(old) = old {
                    let _ = old.await;
                }
            };
            let (bus, registry) = (self.bus.clone(), self.registry.clone());
            let (inbox, cache) = (self.inbox.clone(), self.shared.cache.clone());
            let (connector, catalogs) = (self.connector.clone(), self.catalogs.clone());
            let random = self.shared.fork_random();
            let startup = if self.on_demand.load(Ordering::Relaxed) { Startup::OnDemand } else { Startup::Immediate };
            let storage = self.storage.clone();
            let spec = Arc::new(spec);
            let lifecycle = self.lifecycle.clone();
            let setup = supervisor::Setup { spec, connector, bus, registry, catalogs, inbox, cache, lifecycle, random, startup, storage };
            self.registry.set_handle(supervisor::start(setup, previous_stopped));
        }
    }

    /// Updates the settings of a server that need no new connection.
    fn update_policy(&self, known: &ServerHandle, spec: ServerSpec) {
        if known.spec.policy == spec.policy {
            return;
        }
        known.guard.set_policy(&spec.policy);
        let spec = Arc::new(ServerSpec { policy: spec.policy, ..ServerSpec::clone(&known.spec) });
        self.registry.set_handle(known.with_spec(spec.clone()));
        self.registry.add(&spec);
    }

    /// Sets the clock for the age of cached responses (milliseconds since the Unix epoch): the engine's own clock may stop
    /// while the machine sleeps.
    pub fn set_wall_clock(&self, clock: WallClock) {
        self.bus.set_wall_clock(clock);
    }

    /// Replaces the rules for tools, groups and routes. Applies to calls from now on.
    pub fn set_rules(&self, rules: Rules) {
        let _applying = self.applying.lock();
        if *self.registry.read().rules() != rules {
            self.registry.set_rules(Arc::new(rules));
        }
    }

    /// Sets the store of the response cache; `None` disables caching.
    pub fn set_store(&self, store: Option<Arc<dyn ResponseCache>>) {
        let changes = store.as_ref().map(|store| store.changed());
        self.shared.cache.set_store(store);
        let publish = |shared: &Shared| shared.bus.publish(EventKind::Cache { view: Arc::new(shared.cache.view()) });
        publish(&self.shared);
        let Some(mut changes) = changes else { return };
        let shared = Arc::downgrade(&self.shared);
        // Ends when the store is dropped.
        tokio::spawn(async move {
            while changes.changed().await.is_ok() {
                let Some(shared) = shared.upgrade() else { return };
                publish(&shared);
            }
        });
    }

    /// Returns the secrets that are masked in events, in the journal and in everything derived from them.
    pub fn secrets(&self) -> &SecretRegistry {
        self.bus.secrets()
    }

    /// Returns the time on the engine's clock.
    pub fn now(&self) -> Stamp {
        self.bus.now()
    }

    /// Returns the time in milliseconds since the Unix epoch.
    pub fn unix_ms(&self) -> u64 {
        self.bus.unix_ms()
    }

    /// Publishes a notice to the user.
    pub fn notice(&self, notice: Notice) {
        self.bus.publish(EventKind::Notice { notice: Arc::new(notice) });
    }

    /// Cancels all calls and runs, then closes all connections concurrently. Returns when everything has ended.
    pub async fn shutdown(&self) {
        self.runs.interrupt("the console is quitting");
        {
            let _no_submission = self.running.lock();
            self.ending.store(true, Ordering::Relaxed);
        }
        self.running.cancel_all("the console is quitting");
        self.connector.quit();
        self.save_target_states().await;
        for server in self.registry.read().handles() {
            self.registry.take_handle(&server.spec.id);
            self.tasks.spawn(stop(server.clone()));
        }
        self.tasks.close();
        self.tasks.wait().await;
        self.connector.settled().await;
        self.storage.close();
        self.storage.wait().await;
    }
}

impl Engine {
    /// Stores what this process learned about the servers that it used, for later processes.
    async fn save_target_states(&self) {
        let known = self.registry.read();
        let used = known.handles().filter(|server| match &*server.readiness.borrow() {
            Readiness::Idle => false,
            Readiness::Down(_) => !server.spec.disabled,
            _ => true,
        });
        let states: Vec<_> = used.map(|server| (server.spec.clone(), server.guard.snapshot())).collect();
        let now_ms = self.bus.unix_ms();
        for (spec, state) in states {
            target_states::save(&spec, state, &self.shared.cache, &*self.catalogs, now_ms).await;
        }
    }
}

/// Returns a specification without the settings that need no new connection: its group membership and policy.
fn without_group(spec: &ServerSpec) -> ServerSpec {
    ServerSpec { origin: Default::default(), policy: Default::default(), ..spec.clone() }
}

async fn stop(server: ServerHandle) {
    let (done, wait) = oneshot::channel();
    if server.commands.send(SupervisorCommand::Stop(done)).await.is_ok() {
        let _ = wait.await;
    }
    server.pool.close().await;
}

impl Engine {
    /// Queues a call, with its passage if a client makes it. The call runs in the task that awaits the future.
    fn start_call(&self, spec: CallSpec, passage: Option<Arc<PreparedPassage>>) -> (CallId, BoxFuture<'static, Option<Arc<Settled>>>) {
        let spec = match &passage {
            Some(passage) => CallSpec { client: passage.client(), client_name: passage.client_name().cloned(), ..spec },
            None => spec,
        };
        // Under the lock, so that ids are created and published in the same order.
        let (id, work) = self.queue_call(self.running.lock(), spec, passage);
        (id, CallFuture::new(work.boxed(), self.tasks.clone()).boxed())
    }

    /// Queues a call and returns the future that runs it.
    fn queue_call(
        &self,
        mut running: MutexGuard<'_, InFlight>,
        spec: CallSpec,
        passage: Option<Arc<PreparedPassage>>,
    ) -> (CallId, impl Future<Output = Arc<Settled>> + Send + use<>) {
        let queued = self.bus.now();
        let unix_ms = self.bus.epoch().unix_ms(queued);
        let id = CallId::from_parts(unix_ms, self.calls.fetch_add(1, Ordering::Relaxed));
        let (trace, trace_state) = self.trace_of(&spec, passage.as_deref());
        let spec = Arc::new(CallSpec { trace, trace_state, ..spec });
        let cancel = Arc::new(Cancel::default());
        running.insert(id, RunningCall { client: spec.client, cancel: cancel.clone(), passage: passage.clone(), asked: false });
        self.bus.publish_at(queued, EventKind::CallQueued { call: id, spec: spec.clone() });
        drop(running);
        let dispatch = Dispatch { id, spec, queued, cancel, passage, shared: self.shared.clone(), state: Default::default() };
        let (running, inbox) = (self.running.clone(), self.inbox.clone());
        let work = async move {
            let settled = dispatch.run().await;
            running.lock().remove(id);
            // A question that was registered since the call settled.
            inbox.withdraw(id);
            settled
        };
        (id, work)
    }

    /// Returns the trace that a call belongs to, with its `tracestate`: that of its client, of its `_meta`, of its run, or of this process.
    fn trace_of(&self, spec: &CallSpec, passage: Option<&PreparedPassage>) -> (Option<TraceParent>, Option<TraceState>) {
        for meta in passage.map(PreparedPassage::meta).into_iter().chain([&spec.meta]) {
            if let Some(parent) = trace::parent_in(meta) {
                return (Some(parent), trace::state_in(meta));
            }
        }
        let process = &self.shared.recording.propagation;
        spec.trace.map_or_else(|| (process.parent, process.state.clone()), |parent| (Some(parent), spec.trace_state.clone()))
    }

    /// Starts a call of a client and returns its id.
    ///
    /// Errors: the engine is ending, or too many calls are in flight.
    pub fn submit(&self, spec: CallSpec) -> Result<CallId, SubmitError> {
        let running = self.running.lock();
        if self.ending.load(Ordering::Relaxed) {
            return Err(SubmitError::Ended);
        }
        running.check(spec.client)?;
        let (id, work) = self.queue_call(running, spec, None);
        self.tasks.spawn(work);
        Ok(id)
    }

    /// Returns the id of a new client.
    pub fn next_client(&self) -> ClientId {
        ClientId(self.clients.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Publishes that a client connected, or describes itself in another way.
    pub fn client_connected(&self, client: ClientId, info: Arc<ClientInfo>) {
        self.bus.publish(EventKind::ClientConnected { client, info });
    }

    /// Publishes that a client disconnected.
    pub fn client_disconnected(&self, client: ClientId) {
        self.bus.publish(EventKind::ClientDisconnected { client });
    }

    /// Returns the client of a call in flight.
    pub fn client_of_call(&self, call: CallId) -> Option<ClientId> {
        self.running.client(call)
    }

    /// Returns the client that an open question is for.
    pub fn client_of_question(&self, ask: AskId) -> Option<ClientId> {
        self.inbox.client(ask)
    }

    /// Cancels all calls of a client.
    pub fn cancel_client(&self, client: ClientId, reason: &str) {
        self.running.cancel_client(client, reason);
    }

    /// Interrupts all runs as a kill of the process would: each can be resumed.
    pub fn interrupt_runs(&self, reason: &str) {
        self.runs.interrupt(reason);
    }

    /// Returns the servers, their lists and the exposed names, as they are now.
    pub fn directory(&self) -> DirectorySnapshot {
        self.registry.read().snapshot()
    }

    /// Returns the load of each server.
    pub fn loads(&self) -> Vec<ServerLoad> {
        let known = self.registry.read();
        let load = |server: &ServerHandle| {
            let shared = usize::from(matches!(&*server.readiness.borrow(), Readiness::Ready(_)));
            ServerLoad { server: server.spec.id.clone(), queued: server.guard.queued(), sessions: shared + server.pool.count() }
        };
        known.handles().map(load).collect()
    }

    /// Returns a receiver that is notified after every change of [`Engine::directory`].
    pub fn directory_changes(&self) -> watch::Receiver<u64> {
        self.registry.changes()
    }

    /// Returns a tail of the events from now on that the filter admits.
    pub fn tail(&self, filter: Filter) -> Tail {
        self.bus.tail(filter)
    }

    /// Returns the id of this run of the engine.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }
}

impl CallExecutor for Engine {
    fn call(&self, spec: CallSpec) -> (CallId, BoxFuture<'static, Option<Arc<Settled>>>) {
        self.start_call(spec, None)
    }

    fn cancel(&self, call: CallId, reason: &str) {
        self.running.cancel(call, reason);
    }
}
