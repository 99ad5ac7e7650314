//! The resilience policy of calls: every setting between firing a call and its response, with its default.
//!
//! Owns the settings (attempt timeout, retry and backoff, breaker, concurrency and rate limit, hedge, cache,
//! fallback) and the pure rules that use them. The engine's dispatch evaluates the rules and carries out their
//! results. Settings have three layers, each overriding the one before: all servers, one server, the tools that a
//! rule matches ([`Rules`]).

pub mod breaker;
pub mod budget;
pub mod cache;
pub mod call_event;
pub mod call_rules;
pub mod fault;
pub mod mapping;
pub mod pattern;
pub mod permits;
pub mod route;
pub mod target_state;
pub mod tool_filter;
pub mod verdict;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use self::{breaker::BreakerPolicy, cache::CacheSettings, pattern::Pattern, route::Routing, verdict::FailureRules};
use super::{body::Body, id::ServerId};

/// The complete call settings of a server, or of one of its tools.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Longest time of one attempt. Without it, an attempt shares the rest of the call's deadline with the candidates
    /// that could follow it ([`budget::attempt_share`]).
    pub attempt: Option<Duration>,
    /// When a failed call is retried.
    pub retry: Retry,
    /// When calls to a failing server are refused.
    pub breaker: BreakerPolicy,
    /// Which failures count against the server.
    pub record: FailureRules,
    /// Concurrency limit ("bulkhead") of the server.
    pub concurrency: Concurrency,
    /// Rate limit of the server.
    pub rate_limit: RateLimit,
    /// Whether a slow call gets a second, concurrent attempt.
    pub hedge: Hedge,
    /// Whether responses are cached.
    pub cache: CachePolicy,
}

/// When a failed call is retried.
///
/// After bytes of a call were sent, only calls known to be safe are retried (see [`RetryMode`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Maximum number of attempts of one call, including the first.
    pub attempts: u32,
    /// Upper bound of the first backoff pause. Each pause is uniformly random between zero and its bound ("full
    /// jitter").
    pub backoff: Duration,
    /// Factor from one bound to the next.
    pub factor: f64,
    /// Maximum of the bound.
    pub backoff_max: Duration,
    /// Whether a server's `Retry-After` (RFC 9110, section 10.2.3) replaces the backoff pause.
    pub retry_after: bool,
    /// Which calls may be retried after bytes of them were sent.
    pub mode: RetryMode,
    /// Retry budget that each call adds for its server, in extra attempts: 0.2 allows 20 per cent. Hedges spend it
    /// too, and so do fallbacks to a server that had the call before.
    pub budget: f64,
    /// Initial retry budget of a server, and the most that it saves up.
    pub budget_min: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            backoff: Duration::from_millis(200),
            factor: 2.0,
            backoff_max: Duration::from_secs(5),
            retry_after: true,
            mode: RetryMode::Safe,
            budget: 0.2,
            budget_min: 3.0,
        }
    }
}

/// Which calls may be retried after bytes of them were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetryMode {
    /// Calls known to be safe: a trusted server declares the tool read-only or idempotent, or a rule says so.
    #[default]
    Safe,
    /// None.
    Never,
}

/// Limit of attempts in flight ("bulkhead"), with a bounded queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concurrency {
    /// Most attempts in flight; zero means unlimited.
    pub in_flight: u32,
    /// Most calls that wait for a permit; more are refused.
    pub queue: u32,
    /// Longest wait for a permit or for the rate limit; a call that would wait longer is refused.
    pub wait: Duration,
}

impl Default for Concurrency {
    fn default() -> Self {
        Self { in_flight: 64, queue: 256, wait: Duration::from_secs(30) }
    }
}

/// Limit of attempts a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Most attempts per second; zero means unlimited.
    pub per_second: f64,
    /// Most attempts sent together after an idle time.
    pub burst: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { per_second: 0.0, burst: 1 }
    }
}

/// Whether a slow call gets a second, concurrent attempt ("hedge"); the first response wins. Only calls that are safe
/// to repeat are hedged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hedge {
    /// Whether to.
    pub enabled: bool,
    /// Delay before the hedge. The tool's p95 latency if absent; then there is no hedge before [`Hedge::samples`]
    /// responses are known.
    pub after: Option<Duration>,
    /// Responses needed before the p95 is used.
    pub samples: u64,
}

impl Default for Hedge {
    fn default() -> Self {
        Self { enabled: false, after: None, samples: 20 }
    }
}

/// Whether responses are cached, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CachePolicy {
    /// Which responses are cached.
    pub mode: CacheMode,
    /// How long a cached response is served instead of sending the call.
    pub ttl: Duration,
    /// How long past the TTL a cached response may be served when the call fails (stale-if-error); zero disables it.
    pub stale_if_error: Duration,
    /// Largest response to cache, in bytes.
    pub entry_bytes: u64,
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self { mode: CacheMode::Never, ttl: Duration::from_secs(300), stale_if_error: Duration::ZERO, entry_bytes: 1 << 20 }
    }
}

/// Which responses are cached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheMode {
    /// None.
    #[default]
    Never,
    /// Responses of tools that a trusted server declares read-only.
    ReadOnly,
    /// All. Meant for rules that name tools.
    Always,
}

/// A rule for tools: overrides the settings of their server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolRule {
    /// The exposed names that the rule matches.
    pub matches: Pattern,
    /// The servers and groups whose tools the rule applies to; all if absent. A project's rules apply to its own
    /// servers only.
    #[serde(default)]
    pub only: Option<Vec<ServerId>>,
    /// The settings that the rule changes.
    pub patch: PolicyPatch,
    /// Overall deadline of a call.
    pub timeout: Option<Duration>,
    /// Whether the user declares calls safe to retry. Overrides the server's annotations.
    pub safe: Option<bool>,
    /// Argument that receives an idempotency key, generated once per call and the same for every attempt, by which
    /// the server recognises a retry. A tool with such a rule counts as safe to retry.
    pub idempotency_key: Option<String>,
    /// Whether each matching tool has its own breaker in addition to its server's.
    pub own_breaker: Option<bool>,
    /// The fallbacks, in order, for a call that failed.
    pub fallback: Vec<Fallback>,
}

/// An alternative for a call that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fallback", rename_all = "lowercase")]
pub enum Fallback {
    /// The same tool of another server or group.
    Server {
        /// The server or group.
        server: ServerId,
    },
    /// Another tool.
    Tool {
        /// Its exposed name.
        tool: String,
        /// Its arguments: a JSON object whose strings may contain `{{ arguments.path }}` (see [`mapping`]). The
        /// call's own arguments if absent.
        arguments: Option<Body>,
    },
    /// The cached response, however old.
    Stale,
    /// A fixed value, as structured content.
    Value {
        /// Any JSON.
        value: Body,
    },
}

impl Fallback {
    /// Returns a short description for users.
    pub fn words(&self) -> String {
        match self {
            Fallback::Server { server } => format!("the same tool of {server}"),
            Fallback::Tool { tool, .. } => tool.clone(),
            Fallback::Stale => "the last cached response".into(),
            Fallback::Value { .. } => "a fixed value".into(),
        }
    }
}

/// The configuration that spans servers: rules for tools, routing, response cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Rules for tools. All that match apply; later rules override earlier ones.
    pub tools: Vec<ToolRule>,
    /// Groups of replicas, and routes.
    pub routing: Routing,
    /// The settings of the response cache.
    pub cache: CacheSettings,
}

/// The effective policy of one tool: its server's settings, overridden by the matching rules.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EffectivePolicy {
    /// The settings.
    pub policy: Policy,
    /// Overall deadline, if a rule sets one.
    pub timeout: Option<Duration>,
    /// Whether a rule declares calls safe or unsafe to retry.
    pub safe: Option<bool>,
    /// Argument that receives the idempotency key.
    pub idempotency_key: Option<String>,
    /// Whether the tool has its own breaker.
    pub own_breaker: bool,
    /// The fallbacks, in order, for a call that failed.
    pub fallback: Vec<Fallback>,
}

impl EffectivePolicy {
    /// Returns whether a call may be answered although its servers are not connected: by a fallback or a stale response.
    pub fn has_alternative(&self) -> bool {
        let cache = &self.policy.cache;
        !self.fallback.is_empty() || (cache.mode != CacheMode::Never && !cache.stale_if_error.is_zero())
    }
}

impl Rules {
    /// Returns the effective policy of the tool exposed as `exposed` by `server` (a server or group). `policy` holds
    /// the settings of the server that receives the call.
    pub fn treatment(&self, exposed: &str, server: &ServerId, policy: &Policy) -> EffectivePolicy {
        let mut treatment = EffectivePolicy { policy: policy.clone(), ..EffectivePolicy::default() };
        let applies = |rule: &&ToolRule| rule.only.as_ref().is_none_or(|only| only.contains(server)) && rule.matches.matches(exposed);
        for rule in self.tools.iter().filter(applies) {
            rule.patch.apply(&mut treatment.policy);
            treatment.timeout = rule.timeout.or(treatment.timeout);
            treatment.safe = rule.safe.or(treatment.safe);
            treatment.idempotency_key = rule.idempotency_key.clone().or(treatment.idempotency_key);
            treatment.own_breaker = rule.own_breaker.unwrap_or(treatment.own_breaker);
            if !rule.fallback.is_empty() {
                treatment.fallback = rule.fallback.clone();
            }
        }
        treatment
    }
}

/// A partial policy: a list of settings to change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyPatch {
    /// The settings in order; later ones override earlier ones.
    pub set: Vec<Arc<PolicySetting>>,
}

impl PolicyPatch {
    /// Applies the settings to `policy`.
    pub fn apply(&self, policy: &mut Policy) {
        for setting in &self.set {
            setting.apply(policy);
        }
    }

    /// Combines both patches; this one overrides `below`.
    pub fn over(self, below: PolicyPatch) -> PolicyPatch {
        PolicyPatch { set: below.set.into_iter().chain(self.set).collect() }
    }
}

macro_rules! knobs {
    ($($(#[$doc:meta])* $name:ident($type:ty) => $($field:ident).+;)+) => {
        /// One setting of a [`Policy`] with its value.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "knob", content = "value", rename_all = "snake_case")]
        pub enum PolicySetting {
            $($(#[$doc])* $name($type),)+
        }

        impl PolicySetting {
            /// Applies the setting to `policy`.
            pub fn apply(&self, policy: &mut Policy) {
                match self {
                    $(PolicySetting::$name(value) => policy.$($field).+ = value.clone(),)+
                }
            }
        }
    };
}

knobs! {
    /// [`Policy::attempt`].
    Attempt(Option<Duration>) => attempt;
    /// [`Retry::attempts`].
    RetryAttempts(u32) => retry.attempts;
    /// [`Retry::backoff`].
    RetryBackoff(Duration) => retry.backoff;
    /// [`Retry::factor`].
    RetryFactor(f64) => retry.factor;
    /// [`Retry::backoff_max`].
    RetryBackoffMax(Duration) => retry.backoff_max;
    /// [`Retry::retry_after`].
    RetryAfter(bool) => retry.retry_after;
    /// [`Retry::mode`].
    RetryMode(RetryMode) => retry.mode;
    /// [`Retry::budget`].
    RetryBudget(f64) => retry.budget;
    /// [`Retry::budget_min`].
    RetryBudgetMin(f64) => retry.budget_min;
    /// [`BreakerPolicy::enabled`].
    BreakerEnabled(bool) => breaker.enabled;
    /// [`BreakerPolicy::consecutive`].
    BreakerConsecutive(u32) => breaker.consecutive;
    /// [`BreakerPolicy::failure_rate`].
    BreakerFailureRate(f64) => breaker.failure_rate;
    /// [`BreakerPolicy::slow_rate`].
    BreakerSlowRate(f64) => breaker.slow_rate;
    /// [`BreakerPolicy::slow_call`].
    BreakerSlowCall(Duration) => breaker.slow_call;
    /// [`BreakerPolicy::window`].
    BreakerWindow(breaker::Window) => breaker.window;
    /// [`BreakerPolicy::minimum_calls`].
    BreakerMinimumCalls(u32) => breaker.minimum_calls;
    /// [`BreakerPolicy::open_for`].
    BreakerOpenFor(Duration) => breaker.open_for;
    /// [`BreakerPolicy::open_factor`].
    BreakerOpenFactor(f64) => breaker.open_factor;
    /// [`BreakerPolicy::open_for_max`].
    BreakerOpenForMax(Duration) => breaker.open_for_max;
    /// [`BreakerPolicy::half_open_calls`].
    BreakerHalfOpenCalls(u32) => breaker.half_open_calls;
    /// [`BreakerPolicy::probe`].
    BreakerProbe(breaker::Probe) => breaker.probe;
    /// [`BreakerPolicy::probe_timeout`].
    BreakerProbeTimeout(Duration) => breaker.probe_timeout;
    /// [`FailureRules::connect`].
    RecordConnect(bool) => record.connect;
    /// [`FailureRules::close`].
    RecordClose(bool) => record.close;
    /// [`FailureRules::timeout`].
    RecordTimeout(bool) => record.timeout;
    /// [`FailureRules::server_error`].
    RecordServerError(bool) => record.server_error;
    /// [`FailureRules::codes`].
    RecordCodes(Vec<i64>) => record.codes;
    /// [`FailureRules::tool_error`].
    RecordToolError(bool) => record.tool_error;
    /// [`Concurrency::in_flight`].
    ConcurrencyInFlight(u32) => concurrency.in_flight;
    /// [`Concurrency::queue`].
    ConcurrencyQueue(u32) => concurrency.queue;
    /// [`Concurrency::wait`].
    ConcurrencyWait(Duration) => concurrency.wait;
    /// [`RateLimit::per_second`].
    RateLimitPerSecond(f64) => rate_limit.per_second;
    /// [`RateLimit::burst`].
    RateLimitBurst(u32) => rate_limit.burst;
    /// [`Hedge::enabled`].
    HedgeEnabled(bool) => hedge.enabled;
    /// [`Hedge::after`].
    HedgeAfter(Option<Duration>) => hedge.after;
    /// [`Hedge::samples`].
    HedgeSamples(u64) => hedge.samples;
    /// [`CachePolicy::mode`].
    CacheMode(CacheMode) => cache.mode;
    /// [`CachePolicy::ttl`].
    CacheTtl(Duration) => cache.ttl;
    /// [`CachePolicy::stale_if_error`].
    CacheStaleIfError(Duration) => cache.stale_if_error;
    /// [`CachePolicy::entry_bytes`].
    CacheEntryBytes(u64) => cache.entry_bytes;
}
