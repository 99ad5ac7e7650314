//! The response cache in dispatch: serves cached responses, and single flight (equal concurrent calls share one response).

use std::{
    collections::HashMap,
    ffi::OsString,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard, RwLock};
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
        client::Principal,
        directory::Directory,
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
    engine::{ports::ResponseCache, registry::Known},
};

/// How long past its TTL a response is held for a `stale` fallback, which accepts any age.
const STALE_HOLD: Duration = Duration::from_secs(7 * 24 * 3600);

/// Single flights of other calls that a call waits for before it sends its own request.
const MAX_WAITS: usize = 1;

/// The leader of a single flight and the channel for its response.
type Flight = (CallId, watch::Receiver<Option<Body>>);

/// The front of the response cache: the store, the single flights, invalidations and hit counts.
#[derive(Default)]
pub struct CacheFront {
    store: RwLock<Option<Arc<dyn ResponseCache>>>,
    flights: Mutex<HashMap<String, Flight>>,
    invalidations: Mutex<Invalidations>,
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
    /// Sets the store; `None` disables caching.
    pub fn set_store(&self, store: Option<Arc<dyn ResponseCache>>) {
        *self.store.write() = store;
    }

    /// Returns the current store.
    pub fn store(&self) -> Option<Arc<dyn ResponseCache>> {
        self.store.read().clone()
    }

    /// Invalidates cached reads: a server reported a change of a resource, or (`None`) of any of its resources.
    pub fn changed(&self, spec: &ServerSpec, uri: Option<&str>, unix_ms: u64) {
        self.invalidations().changed(&spec.id, uri, unix_ms);
        let (Some(uri), Some(store)) = (uri, self.store()) else { return };
        let operation = Operation::Resource { server: spec.id.clone(), uri: uri.to_owned() };
        let key = key_of(&operation, &scope_of(spec), &Body::default());
        // Other users of the store did not get the notification. Only the response of the local principal has a known key.
        tokio::spawn(async move { store.forget(&key).await });
    }

    fn invalidations(&self) -> MutexGuard<'_, Invalidations> {
        self.invalidations.lock()
    }

    /// Returns the state of the cache for display.
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

    /// Returns the response that a step cached for the same call of the same principal, in this process or in another that uses the
    /// store, if it is not older than `max_age`.
    pub async fn step_response(
        &self,
        registry: &Known,
        (operation, principal): (&Operation, &Principal),
        max_age: Duration,
        unix_ms: u64,
    ) -> Option<Body> {
        let response = self.store()?.get(&step_key(registry, operation, principal)).await?;
        // `fresh` refuses a time that is further in the future than clocks may differ.
        let age = Duration::from_millis(unix_ms.saturating_sub(response.at_unix_ms));
        (age <= max_age && response.fresh(unix_ms)).then_some(response.result)
    }

    /// Caches the response of a step for `max_age`. A private response stays in this process.
    pub async fn put_step_response(
        &self,
        registry: &Known,
        (operation, principal): (&Operation, &Principal),
        result: &Body,
        max_age: Duration,
        unix_ms: u64,
    ) {
        let private = cache::response_ttl(result).is_some_and(|(_, private)| private);
        let Some(store) = self.store().filter(|store| !(private && store.shared())) else { return };
        let (key, name) = (step_key(registry, operation, principal), registry.call_name(operation));
        let (stale, hold) = (Duration::ZERO, Duration::ZERO);
        store.put(&key, CachedResponse { result: result.clone(), at_unix_ms: unix_ms, ttl: max_age, stale, hold, name }).await;
    }

    /// Purges the responses of tools whose exposed names match. Returns how many.
    pub async fn purge(&self, pattern: &Pattern) -> Result<u64, String> {
        match self.store() {
            Some(store) => store.purge(pattern).await,
            None => Ok(0),
        }
    }
}

/// The leader of a single flight: sends the request while equal calls wait for its response. Ends the flight on drop.
pub struct FlightLeader {
    key: String,
    policy: CachePolicy,
    /// How long past its TTL the response may be served when a call fails (fallback `stale`).
    hold: Duration,
    shared: Arc<super::super::shared::Shared>,
    /// Whether equal calls may wait for this flight.
    shared_flight: bool,
    /// The number of the last invalidation before the request.
    last_invalidation: u64,
    ready: watch::Sender<Option<Body>>,
}

impl FlightLeader {
    /// Returns the cache key.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl Drop for FlightLeader {
    fn drop(&mut self) {
        if !self.shared_flight {
            return;
        }
        self.shared.cache.flights.lock().remove(&self.key);
    }
}

/// Which stale responses may be served after a failure.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum StaleLimit {
    /// Those within the policy's `stale` time.
    Policy,
    /// Responses of any age (fallback `stale`).
    Any,
}

#[derive(Clone, Copy, PartialEq)]
enum Freshness {
    Fresh,
    Stale,
}

/// A response found in the cache.
struct Hit<'a> {
    response: CachedResponse,
    key: &'a str,
    store: &'a str,
    freshness: Freshness,
}

impl Dispatch {
    /// Returns a cached response or that of an equal call in flight. Otherwise returns the leadership of a single flight, if
    /// the response may be cached.
    pub(super) async fn cached_response(&self, route: &RoutedCall, context: &CallContext) -> Result<Outcome, Option<FlightLeader>> {
        let front = &self.shared.cache;
        let policy = &route.treatment.policy.cache;
        let cacheable = match (&route.operation, policy.mode) {
            _ if self.changes_result() => false,
            (Operation::Tool { .. }, CacheMode::Always) => true,
            (Operation::Tool { .. }, CacheMode::ReadOnly) => route.reads_only,
            // Only if the response declares its TTL (`ttlMs`, MCP 2026-07-28).
            (Operation::Resource { .. }, _) => true,
            _ => false,
        };
        let Some(store) = front.store().filter(|_| cacheable) else { return Err(None) };
        let key = self.cache_key(route);
        let last_invalidation = front.invalidations().number();
        let hold = if route.treatment.fallback.contains(&Fallback::Stale) { STALE_HOLD } else { Duration::ZERO };
        for _ in 0..=MAX_WAITS {
            let found = store.get(&key).await;
            let now = self.unix_ms();
            if let Some(response) = found.filter(|response| response.fresh(now) && !self.is_invalidated(route, response)) {
                front.counts.hits.fetch_add(1, Ordering::Relaxed);
                let hit = Hit { response, key: &key, store: store.name(), freshness: Freshness::Fresh };
                return Ok(self.respond_from_cache(hit, now, context));
            }
            if matches!(route.operation, Operation::Resource { .. }) {
                // Whether the response may be shared is known only when it arrives: no call waits for it.
                let ready = watch::channel(None).0;
                return Err(Some(FlightLeader {
                    key,
                    policy: policy.clone(),
                    hold,
                    shared: self.shared.clone(),
                    shared_flight: false,
                    last_invalidation,
                    ready,
                }));
            }
            let leader = {
                let mut flights = front.flights.lock();
                match flights.get(&key) {
                    Some((with, ready)) => Err((*with, ready.clone())),
                    None => {
                        let (ready, seen) = watch::channel(None);
                        flights.insert(key.clone(), (self.id, seen));
                        let shared = self.shared.clone();
                        Ok(FlightLeader {
                            key: key.clone(),
                            policy: policy.clone(),
                            hold,
                            shared,
                            shared_flight: true,
                            last_invalidation,
                            ready,
                        })
                    }
                }
            };
            let (with, mut ready) = match leader {
                Ok(leader) => {
                    front.counts.misses.fetch_add(1, Ordering::Relaxed);
                    context.publish_event(CallEvent::CacheMiss { key });
                    self.publish_cache_view();
                    return Err(Some(leader));
                }
                Err(other) => other,
            };
            context.publish_event(CallEvent::Shared { with });
            tokio::select! {
                biased;
                _ = ready.wait_for(Option::is_some) => {}
                () = context.expired() => return Err(None),
            }
            let shared = ready.borrow().clone();
            if let Some(result) = shared {
                front.counts.shared.fetch_add(1, Ordering::Relaxed);
                self.publish_cache_view();
                context.with_timestamps(|s| s.cached = Some(Duration::ZERO));
                return Ok(Outcome::Ok { result });
            }
            // The other call failed, or its response must not be shared.
        }
        // After that many failed waits the call sends its own request: equal calls must not become a queue.
        Err(None)
    }

    /// Caches a response, if it may be cached, and hands it to the calls that wait for the flight. Errors are never cached.
    pub(super) async fn cache_response(&self, route: &RoutedCall, leader: Option<FlightLeader>, outcome: &Outcome) {
        let (Some(leader), Outcome::Ok { result }) = (leader, outcome) else { return };
        let declared = cache::response_ttl(result);
        let is_read = matches!(self.spec.operation, Operation::Resource { .. });
        let ttl = match declared {
            Some((ttl, _)) => ttl,
            None if is_read => return,
            None => leader.policy.ttl,
        };
        leader.ready.send_replace(Some(result.clone()));
        let private = declared.is_some_and(|(_, private)| private);
        let Some(store) = self.shared.cache.store() else { return };
        let change = self.last_change(route);
        // The response may be older than a change reported during the request.
        if change.is_some_and(|change| change.number > leader.last_invalidation) {
            return;
        }
        // The request was sent after the change, so the response counts as newer even within the same millisecond.
        let at_unix_ms = change.map_or(0, |change| change.unix_ms + 1).max(self.unix_ms());
        if ttl.is_zero() || result.len() as u64 > leader.policy.entry_bytes || (private && store.shared()) {
            return;
        }
        let exposed = self.shared.registry.read().call_name(&self.spec.operation);
        let response = CachedResponse {
            result: result.clone(),
            at_unix_ms,
            ttl,
            stale: leader.policy.stale_if_error,
            hold: leader.hold,
            name: exposed,
        };
        store.put(&leader.key, response).await;
    }

    /// Returns the cached response of an equal call, if it may be served after a failure (stale-if-error).
    pub(super) async fn stale_response(
        &self,
        route: &RoutedCall,
        key: Option<&str>,
        limit: StaleLimit,
        context: &CallContext,
    ) -> Option<Outcome> {
        let store = self.shared.cache.store().filter(|_| !self.changes_result())?;
        let key = key.map_or_else(|| self.cache_key(route), str::to_owned);
        let response = store.get(&key).await?;
        let now = self.unix_ms();
        if limit == StaleLimit::Policy && !response.fresh(now) && !response.usable_on_error(now) {
            return None;
        }
        if self.is_invalidated(route, &response) {
            return None;
        }
        self.shared.cache.counts.stale.fetch_add(1, Ordering::Relaxed);
        self.shared.cache.counts.hits.fetch_add(1, Ordering::Relaxed);
        let hit = Hit { response, key: &key, store: store.name(), freshness: Freshness::Stale };
        Some(self.respond_from_cache(hit, now, context))
    }

    fn respond_from_cache(&self, hit: Hit<'_>, now: u64, context: &CallContext) -> Outcome {
        let age = Duration::from_millis(now.saturating_sub(hit.response.at_unix_ms));
        let stale = hit.freshness == Freshness::Stale;
        context.publish_event(CallEvent::CacheHit { age, key: hit.key.to_owned(), store: hit.store.to_owned(), stale });
        context.with_timestamps(|s| s.cached = Some(age));
        self.publish_cache_view();
        Outcome::Ok { result: hit.response.result }
    }

    /// Returns whether the result may depend on what the caller adds to the request.
    fn changes_result(&self) -> bool {
        !self.spec.meta.is_empty() || self.passage.as_ref().is_some_and(|passage| passage.changes_result())
    }

    fn publish_cache_view(&self) {
        self.shared.bus.publish(EventKind::Cache { view: Arc::new(self.shared.cache.view()) });
    }

    fn unix_ms(&self) -> u64 {
        self.shared.bus.unix_ms()
    }

    /// Returns the last reported change of the resource that a call reads, on any server of the target.
    fn last_change(&self, route: &RoutedCall) -> Option<Change> {
        let Operation::Resource { server, uri } = &route.operation else { return None };
        let servers = self.shared.registry.read().target_servers(server);
        let invalidations = self.shared.cache.invalidations();
        servers.iter().filter_map(|server| invalidations.last(&server.spec.id, uri)).max()
    }

    /// Returns whether the resource changed after the response was cached.
    fn is_invalidated(&self, route: &RoutedCall, response: &CachedResponse) -> bool {
        self.last_change(route).is_some_and(|change| response.at_unix_ms <= change.unix_ms)
    }

    /// Returns the cache key of a call: target, identity, principal, operation and arguments. The tool's schema is part of the key, so that a
    /// changed tool does not use old responses.
    fn cache_key(&self, route: &RoutedCall) -> String {
        let principal = self.passage.as_ref().map(|passage| passage.principal().clone()).unwrap_or_default();
        key_on(&self.shared.registry.read(), &route.operation, &scope_of_principal(&principal))
    }
}

/// Returns the cache key of the response of a step. It differs from that of other calls, because the user chose how long it is used.
fn step_key(registry: &Known, operation: &Operation, principal: &Principal) -> String {
    key_on(registry, operation, &format!("step {}", scope_of_principal(principal)))
}

/// Returns the part of a cache key for the principal of a call; empty for the user of this process.
fn scope_of_principal(principal: &Principal) -> String {
    if principal.is_local() { String::new() } else { format!("principal {}", cache::digest(principal.as_str())) }
}

/// Returns the cache key of an operation on a server or group. `purpose` tells apart responses that are cached by other rules.
fn key_on(registry: &Known, operation: &Operation, purpose: &str) -> String {
    let server = operation.server();
    let schema = match operation {
        Operation::Tool { tool, .. } => registry.tool(tool).map(|tool| tool.input_schema.clone()),
        _ => None,
    };
    // All members of a group, whichever of them can take the call now.
    let scope: String = registry.target_servers(server).iter().map(|server| &*server.cache_scope).collect();
    key_of(operation, &format!("{purpose}{scope}"), &schema.unwrap_or_default())
}

/// Returns the cache key of an operation on the servers of `scope`, for a tool with this schema.
fn key_of(operation: &Operation, scope: &str, schema: &Body) -> String {
    let (subject, arguments) = match operation {
        Operation::Tool { tool, arguments } => (tool.name.to_string(), arguments.clone()),
        other => (format!("{} {}", other.method(), other.subject()), Body::default()),
    };
    cache::scoped_key(&format!("{scope}{}", schema.text()), operation.server(), &subject, &arguments)
}

/// Returns the scope of a server's responses: the server and the identity that it sees.
pub fn scope_of(spec: &ServerSpec) -> String {
    format!("{}{}", cache::scope(spec), local_identity(spec))
}

/// Returns the host, user and environment of a local server: its responses may depend on them.
fn local_identity(spec: &ServerSpec) -> &'static str {
    static IDENTITIES: OnceLock<[String; 2]> = OnceLock::new();
    let Transport::Stdio { inherit_env, .. } = &spec.launch else { return "" };
    let [without_environment, with_environment] = IDENTITIES.get_or_init(|| {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let without_environment = format!("{host}/{}", rustix::process::getuid().as_raw());
        // Variables that terminals and shells change do not affect responses.
        let volatile = ["PWD", "OLDPWD", "SHLVL", "_", "COLUMNS", "LINES", "TERM", "WINDOWID", "TERM_SESSION_ID"];
        let named = |name: &OsString| name.to_str().is_none_or(|name| !volatile.contains(&name));
        let mut variables: Vec<(OsString, OsString)> = std::env::vars_os().filter(|(name, _)| named(name)).collect();
        variables.sort();
        let with_environment = format!("{without_environment}/{}", cache::digest(&format!("{variables:?}")));
        [without_environment, with_environment]
    });
    if *inherit_env { with_environment } else { without_environment }
}
