//! Answers kept from earlier calls, and equal calls that share one answer.

use std::{
    collections::HashMap,
    ffi::OsString,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::{
    Dispatch,
    context::CallContext,
    invalidation::{Change, Invalidations},
    route::RoutedCall,
};
use crate::{
    domain::{
        body::Body,
        call::{Operation, Outcome},
        event::EventKind,
        id::CallId,
        policy::{
            CacheMode, CachePolicy, Fallback,
            cache::{self, CacheView, CachedResponse},
            call_event::CallEvent,
            pattern::Pattern,
        },
        server::{ServerSpec, Transport},
    },
    engine::ports::ResponseCache,
};

/// How long answers are held for a fallback that takes any, however old.
const HOLD: Duration = Duration::from_secs(7 * 24 * 3600);

/// Equal calls that a call waits for, one after another, before it goes its own way.
const MOST_WAITS: usize = 1;

/// Who is fetching an answer, and where it comes out.
type Fetching = (CallId, watch::Receiver<Option<Body>>);

/// The store of answers, and who is fetching one now.
#[derive(Default)]
pub struct CacheFront {
    store: RwLock<Option<Arc<dyn ResponseCache>>>,
    fetching: Mutex<HashMap<String, Fetching>>,
    outdated: Mutex<Invalidations>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    stale: AtomicU64,
    misses: AtomicU64,
    shared: AtomicU64,
}

impl CacheFront {
    /// Keeps answers there from now on.
    pub fn set_store(&self, store: Option<Arc<dyn ResponseCache>>) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = store;
    }

    /// The store in use.
    pub fn store(&self) -> Option<Arc<dyn ResponseCache>> {
        self.store.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A server said that a resource changed, or (`None`) any of its resources: what was read before is not given any more.
    pub fn changed(&self, spec: &ServerSpec, uri: Option<&str>, unix_ms: u64) {
        self.outdated().changed(&spec.id, uri, unix_ms);
        let (Some(uri), Some(store)) = (uri, self.store()) else { return };
        let operation = Operation::Resource { server: spec.id.clone(), uri: uri.to_owned() };
        let key = key_of(&operation, &scope_of(spec), &Body::default());
        // Others who share the store were not told.
        tokio::spawn(async move { store.forget(&key).await });
    }

    fn outdated(&self) -> MutexGuard<'_, Invalidations> {
        self.outdated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store as shown.
    pub fn view(&self) -> CacheView {
        let store = self.store();
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        CacheView {
            store: store.as_ref().map_or_else(String::new, |store| store.name().to_owned()),
            trouble: store.and_then(|store| store.trouble()),
            hits: count(&self.counts.hits),
            stale: count(&self.counts.stale),
            misses: count(&self.counts.misses),
            shared: count(&self.counts.shared),
        }
    }

    /// Forgets the answers of tools whose exposed names match. Says how many.
    pub async fn purge(&self, pattern: &Pattern) -> Result<u64, String> {
        match self.store() {
            Some(store) => store.purge(pattern).await,
            None => Ok(0),
        }
    }
}

/// The turn to fetch an answer that others may wait for; given back on drop.
pub struct FlightLeader {
    key: String,
    policy: CachePolicy,
    /// How long the answer is held beyond that, for whom any answer is better than none.
    hold: Duration,
    answers: Arc<super::super::shared::Shared>,
    /// Whether equal calls wait for it.
    awaited: bool,
    /// The last change told of before it was asked for.
    since: u64,
    ready: watch::Sender<Option<Body>>,
}

impl FlightLeader {
    /// The key of the answer.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl Drop for FlightLeader {
    fn drop(&mut self) {
        if !self.awaited {
            return;
        }
        self.answers.answers.fetching.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Dispatch {
    /// The answer of an earlier call, or of an equal one under way; or else the turn to fetch one, when the answers of this
    /// tool are kept.
    pub(super) async fn kept(&self, aim: &RoutedCall, flow: &CallContext) -> Result<Outcome, Option<FlightLeader>> {
        let answers = &self.shared.answers;
        let policy = &aim.treatment.policy.cache;
        let kept = match (&aim.operation, policy.mode) {
            (Operation::Tool { .. }, CacheMode::Always) => true,
            (Operation::Tool { .. }, CacheMode::ReadOnly) => aim.reads_only,
            // Those that say themselves how long they hold (`ttlMs`, MCP 2026-07-28).
            (Operation::Resource { .. }, _) => true,
            _ => false,
        };
        let Some(store) = answers.store().filter(|_| kept) else { return Err(None) };
        let key = self.cache_key(aim);
        let since = answers.outdated().number();
        let hold = if aim.treatment.fallback.contains(&Fallback::Stale) { HOLD } else { Duration::ZERO };
        for _ in 0..=MOST_WAITS {
            let looked = store.get(&key).await;
            let now = self.unix_ms();
            if let Some(kept) = looked.filter(|kept| kept.fresh(now) && !self.outdated(aim, kept)) {
                answers.counts.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(self.give(kept, &key, store.name(), false, now, flow));
            }
            if matches!(aim.operation, Operation::Resource { .. }) {
                // Whether its answer may be given to others is known only when it is there: nobody waits for it.
                let ready = watch::channel(None).0;
                return Err(Some(FlightLeader {
                    key,
                    policy: policy.clone(),
                    hold,
                    answers: self.shared.clone(),
                    awaited: false,
                    since,
                    ready,
                }));
            }
            let turn = {
                let mut fetching = answers.fetching.lock().unwrap_or_else(PoisonError::into_inner);
                match fetching.get(&key) {
                    Some((with, ready)) => Err((*with, ready.clone())),
                    None => {
                        let (ready, seen) = watch::channel(None);
                        fetching.insert(key.clone(), (self.id, seen));
                        let answers = self.shared.clone();
                        Ok(FlightLeader { key: key.clone(), policy: policy.clone(), hold, answers, awaited: true, since, ready })
                    }
                }
            };
            let (with, mut ready) = match turn {
                Ok(turn) => {
                    answers.counts.misses.fetch_add(1, Ordering::Relaxed);
                    flow.stage(CallEvent::CacheMiss { key });
                    self.tell(answers);
                    return Err(Some(turn));
                }
                Err(other) => other,
            };
            flow.stage(CallEvent::Shared { with });
            tokio::select! {
                biased;
                _ = ready.wait_for(Option::is_some) => {}
                () = flow.expired() => return Err(None),
            }
            let given = ready.borrow().clone();
            if let Some(result) = given {
                answers.counts.shared.fetch_add(1, Ordering::Relaxed);
                self.tell(answers);
                flow.with(|s| s.cached = Some(Duration::ZERO));
                return Ok(Outcome::Ok { result });
            }
            // The other call failed, or its answer is not for others.
        }
        // Whoever waited for several in vain waits no longer: equal calls must not become a queue.
        Err(None)
    }

    /// Keeps an answer, if it is one that may be kept. Errors never are.
    pub(super) async fn keep(&self, aim: &RoutedCall, turn: Option<FlightLeader>, outcome: &Outcome) {
        let (Some(turn), Outcome::Ok { result }) = (turn, outcome) else { return };
        let told = cache::told_ttl(result);
        let is_read = matches!(self.spec.operation, Operation::Resource { .. });
        let ttl = match told {
            Some((ttl, _)) => ttl,
            None if is_read => return,
            None => turn.policy.ttl,
        };
        turn.ready.send_replace(Some(result.clone()));
        let private = told.is_some_and(|(_, private)| private);
        let Some(store) = self.shared.answers.store() else { return };
        let change = self.last_change(aim);
        // It may be from before what the server told of while it was read.
        if change.is_some_and(|change| change.number > turn.since) {
            return;
        }
        // Asked for after the change, it is from after it, also within one millisecond.
        let at_unix_ms = change.map_or(0, |change| change.unix_ms + 1).max(self.unix_ms());
        if ttl.is_zero() || result.len() as u64 > turn.policy.entry_bytes || (private && store.shared()) {
            return;
        }
        let exposed = self.shared.bus.look(|read_model| read_model.call_name(&self.spec.operation));
        let kept =
            CachedResponse { result: result.clone(), at_unix_ms, ttl, stale: turn.policy.stale_if_error, hold: turn.hold, name: exposed };
        store.put(&turn.key, kept).await;
    }

    /// The last answer kept for an equal call, if it may still stand in for a failed one.
    pub(super) async fn stale(&self, aim: &RoutedCall, key: Option<&str>, any_age: bool, flow: &CallContext) -> Option<Outcome> {
        let store = self.shared.answers.store()?;
        let key = key.map_or_else(|| self.cache_key(aim), str::to_owned);
        let kept = store.get(&key).await?;
        let now = self.unix_ms();
        if !any_age && !kept.fresh(now) && !kept.stands_in(now) {
            return None;
        }
        if self.outdated(aim, &kept) {
            return None;
        }
        self.shared.answers.counts.stale.fetch_add(1, Ordering::Relaxed);
        self.shared.answers.counts.hits.fetch_add(1, Ordering::Relaxed);
        Some(self.give(kept, &key, store.name(), true, now, flow))
    }

    fn give(&self, kept: CachedResponse, key: &str, store: &str, stale: bool, now: u64, flow: &CallContext) -> Outcome {
        let age = Duration::from_millis(now.saturating_sub(kept.at_unix_ms));
        flow.stage(CallEvent::CacheHit { age, key: key.to_owned(), store: store.to_owned(), stale });
        flow.with(|s| s.cached = Some(age));
        self.tell(&self.shared.answers);
        Outcome::Ok { result: kept.result }
    }

    fn tell(&self, answers: &CacheFront) {
        self.shared.bus.publish(EventKind::Cache { view: Arc::new(answers.view()) });
    }

    fn unix_ms(&self) -> u64 {
        self.shared.bus.unix_ms()
    }

    /// The last change of what is read, by the word of a server that it may be read from.
    fn last_change(&self, aim: &RoutedCall) -> Option<Change> {
        let Operation::Resource { server, uri } = &aim.operation else { return None };
        let involved = self.shared.involved(server);
        let outdated = self.shared.answers.outdated();
        involved.iter().filter_map(|server| outdated.last(&server.spec.id, uri)).max()
    }

    /// Whether what was read changed since.
    fn outdated(&self, aim: &RoutedCall, kept: &CachedResponse) -> bool {
        self.last_change(aim).is_some_and(|change| kept.at_unix_ms <= change.unix_ms)
    }

    /// The key of a call: who is asked and as whom, for what, with which arguments. The schema is part of it, so that a
    /// tool that changed has new answers.
    fn cache_key(&self, aim: &RoutedCall) -> String {
        let server = aim.operation.server();
        let schema = match &aim.operation {
            Operation::Tool { tool, .. } => self.shared.bus.look(|read_model| read_model.tool(tool).map(|tool| tool.input_schema.clone())),
            _ => None,
        };
        // All members of a group, whichever of them can take the call now.
        let scope: String = self.shared.involved(server).iter().map(|server| scope_of(&server.spec)).collect();
        key_of(&aim.operation, &scope, &schema.unwrap_or_default())
    }
}

/// The key of an operation that is asked of `scope`, for a tool with this schema.
fn key_of(operation: &Operation, scope: &str, schema: &Body) -> String {
    let (subject, arguments) = match operation {
        Operation::Tool { tool, arguments } => (tool.name.to_string(), arguments.clone()),
        other => (format!("{} {}", other.method(), other.subject()), Body::default()),
    };
    cache::scoped_key(&format!("{scope}{}", schema.text()), operation.server(), &subject, &arguments)
}

/// Who is asked, and as whom.
fn scope_of(spec: &ServerSpec) -> String {
    format!("{}{}", cache::scope(spec), place(spec))
}

/// Where a server that is started here runs, and as whom: another machine, user or environment has other answers.
fn place(spec: &ServerSpec) -> &'static str {
    static PLACES: OnceLock<[String; 2]> = OnceLock::new();
    let Transport::Stdio { inherit_env, .. } = &spec.launch else { return "" };
    let [plain, with_environment] = PLACES.get_or_init(|| {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let plain = format!("{host}/{}", rustix::process::getuid().as_raw());
        // What a terminal or a shell changes by itself changes no answer.
        let volatile = ["PWD", "OLDPWD", "SHLVL", "_", "COLUMNS", "LINES", "TERM", "WINDOWID", "TERM_SESSION_ID"];
        let named = |name: &OsString| name.to_str().is_none_or(|name| !volatile.contains(&name));
        let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().filter(|(name, _)| named(name)).collect();
        variables.sort();
        let with_environment = format!("{plain}/{}", cache::digest(&format!("{variables:?}")));
        [plain, with_environment]
    });
    if *inherit_env { with_environment } else { plain }
}
