//! What happens between firing a call and its answer: every knob, with its default.
//!
//! Owns the settings and the pure rules that use them; the engine's dispatch asks these rules and does
//! what they say. Settings come in three layers, each over the one before: all servers, one server, the
//! tools that a rule matches ([`Rules`]).

pub mod breaker;
pub mod budget;
pub mod cache;
pub mod call_event;
pub mod fault;
pub mod mapping;
pub mod pattern;
pub mod permits;
pub mod route;
pub mod verdict;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use self::{breaker::BreakerPolicy, cache::CacheSettings, pattern::Pattern, route::Routing, verdict::FailureRules};
use super::{body::Body, id::ServerId};

/// How calls are treated: the settings of a server, or of a tool of it, with nothing left open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Longest time of one attempt; without it an attempt may take what is left of the call, shared with those who could
    /// follow it ([`budget::share`]).
    pub attempt: Option<Duration>,
    /// When a failed call is sent again.
    pub retry: Retry,
    /// When a server is left alone for a while.
    pub breaker: BreakerPolicy,
    /// What counts as a failure of the server.
    pub record: FailureRules,
    /// Attempts in flight and calls that wait.
    pub concurrency: Concurrency,
    /// Attempts a second.
    pub rate_limit: RateLimit,
    /// Whether a slow call is sent a second time beside the first.
    pub hedge: Hedge,
    /// Whether answers are kept.
    pub cache: CachePolicy,
}

/// When a failed call is sent again.
///
/// Only calls known to be safe are repeated (see [`RetryMode`]); any other only while no byte of it was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Most attempts of one call, the first included.
    pub attempts: u32,
    /// Upper bound of the first pause; each pause is drawn evenly from zero to its bound ("full jitter").
    pub backoff: Duration,
    /// Factor from one bound to the next.
    pub factor: f64,
    /// The highest bound.
    pub backoff_max: Duration,
    /// Whether a server's `Retry-After` (RFC 9110, section 10.2.3) takes the place of the pause.
    pub retry_after: bool,
    /// Which calls may be repeated after bytes of them were sent.
    pub mode: RetryMode,
    /// Extra attempts that each call adds to what its server may be given, hedges and fallbacks to a server that had the call
    /// before included: 0.2 is twenty per cent.
    pub budget: f64,
    /// Extra attempts that a server may be given before any call earned them, and the most that are saved up.
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

/// Which calls may be repeated after bytes of them were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetryMode {
    /// Those known to be safe: the tool is read-only or idempotent by the word of a trusted server, or a rule
    /// says so.
    #[default]
    Safe,
    /// None.
    Never,
}

/// Limit of attempts in flight ("bulkhead"), with a bounded queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Concurrency {
    /// Most attempts in flight; zero is no limit.
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
    /// Most attempts a second; zero is no limit.
    pub per_second: f64,
    /// Most attempts sent together after an idle time.
    pub burst: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { per_second: 0.0, burst: 1 }
    }
}

/// Whether a slow call is sent a second time beside the first; the first answer wins. Only calls that may be
/// repeated are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hedge {
    /// Whether to.
    pub enabled: bool,
    /// After which time; the tool's p95 when absent (and no hedge before [`Hedge::samples`] answers are known).
    pub after: Option<Duration>,
    /// Answers needed before a p95 is believed.
    pub samples: u64,
}

impl Default for Hedge {
    fn default() -> Self {
        Self { enabled: false, after: None, samples: 20 }
    }
}

/// Whether answers are kept, and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CachePolicy {
    /// Which answers are kept.
    pub mode: CacheMode,
    /// How long an answer is given instead of a call.
    pub ttl: Duration,
    /// How long after that it may still stand in for a call that failed; zero is never.
    pub stale_if_error: Duration,
    /// Largest answer kept, in bytes.
    pub entry_bytes: u64,
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self { mode: CacheMode::Never, ttl: Duration::from_secs(300), stale_if_error: Duration::ZERO, entry_bytes: 1 << 20 }
    }
}

/// Which answers are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheMode {
    /// None.
    #[default]
    Never,
    /// Those of tools that are read-only by the word of a trusted server.
    ReadOnly,
    /// All. Meant for rules that name tools.
    Always,
}

/// A rule for tools: settings over those of their server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ToolRule {
    /// Which exposed names it is for.
    pub matches: Pattern,
    /// The servers (and groups) whose tools it is for; all when absent. A project's rules are for its own.
    #[serde(default)]
    pub only: Option<Vec<ServerId>>,
    /// What it changes.
    pub patch: PolicyPatch,
    /// Overall deadline of a call.
    pub timeout: Option<Duration>,
    /// Whether calls may be repeated, by the user's word: over what the server says.
    pub safe: Option<bool>,
    /// Argument that gets a key made for the call, the same for every attempt, so that the server can tell a
    /// repetition. A tool with such a rule counts as safe to repeat.
    pub idempotency_key: Option<String>,
    /// Whether the matching tools have a breaker of their own, beside their server's.
    pub own_breaker: Option<bool>,
    /// What is tried in order when the call has failed.
    pub fallback: Vec<Fallback>,
}

/// What is tried when a call has failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fallback", rename_all = "lowercase")]
pub enum Fallback {
    /// The same tool of another server (or group).
    Server {
        /// Which.
        server: ServerId,
    },
    /// Another tool.
    Tool {
        /// Its exposed name.
        tool: String,
        /// Its arguments, a JSON object whose texts may hold `{{ arguments.path }}` (see [`mapping`]); the same
        /// arguments when absent.
        arguments: Option<Body>,
    },
    /// The last answer that the cache still has, however old.
    Stale,
    /// This value, as structured content.
    Value {
        /// Any JSON.
        value: Body,
    },
}

impl Fallback {
    /// The fallback in words.
    pub fn words(&self) -> String {
        match self {
            Fallback::Server { server } => format!("the same tool of {server}"),
            Fallback::Tool { tool, .. } => tool.clone(),
            Fallback::Stale => "the last answer kept".into(),
            Fallback::Value { .. } => "a fixed value".into(),
        }
    }
}

/// Everything that is configured for more than one server: rules for tools, routes, the store of answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// Rules for tools; all that match apply, later ones over earlier ones.
    pub tools: Vec<ToolRule>,
    /// Groups of replicas and routes to them.
    pub routing: Routing,
    /// Where answers are kept.
    pub cache: CacheSettings,
}

/// What holds for the calls of one tool: its server's settings with the matching rules over them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Treatment {
    /// The settings.
    pub policy: Policy,
    /// Overall deadline, if a rule gives one.
    pub timeout: Option<Duration>,
    /// Whether a rule says that calls may be repeated.
    pub safe: Option<bool>,
    /// Argument that gets the idempotency key.
    pub idempotency_key: Option<String>,
    /// Whether the tool has a breaker of its own.
    pub own_breaker: bool,
    /// What is tried when a call has failed, in order.
    pub fallback: Vec<Fallback>,
}

impl Rules {
    /// What holds for the tool of this exposed name of `server` (or group), with `policy` as the server that is asked has it.
    pub fn treatment(&self, exposed: &str, server: &ServerId, policy: &Policy) -> Treatment {
        let mut treatment = Treatment { policy: policy.clone(), ..Treatment::default() };
        let meant = |rule: &&ToolRule| rule.only.as_ref().is_none_or(|only| only.contains(server)) && rule.matches.matches(exposed);
        for rule in self.tools.iter().filter(meant) {
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

/// Settings of which any may be left open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PolicyPatch {
    /// What is set, in order: the last word counts.
    pub set: Vec<Arc<PolicySetting>>,
}

impl PolicyPatch {
    /// Changes `policy` as far as anything is set.
    pub fn apply(&self, policy: &mut Policy) {
        for knob in &self.set {
            knob.apply(policy);
        }
    }

    /// Both, this one over `below`.
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
            /// Sets it.
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
