//! Policy settings: reads `retry`, `breaker`, `concurrency`, `rate_limit`, `hedge` and `cache` of a table.

use std::sync::Arc;

use super::{error::ConfigError, fields::Fields};
use crate::domain::{
    document::{Kind, Node},
    policy::{
        CacheMode, PolicyPatch, PolicySetting, RetryMode,
        breaker::{MOST_CALLS, Probe, Window},
    },
};

/// Largest `attempts`. More would only hide a broken server.
const MOST_ATTEMPTS: u32 = 100;
/// Upper bound of counts of calls.
const MANY: u32 = 1_000_000;

/// Reads the policy settings of a server or of `[defaults]`.
pub(super) fn settings(table: &mut Fields<'_, '_>) -> PolicyPatch {
    read(table, None)
}

/// Settings of a rule about breakers of single tools.
#[derive(Default)]
pub(super) struct OwnBreaker {
    /// `breaker.own`.
    pub own: Option<bool>,
    /// Position of `breaker` if it has settings of a tool's own breaker without `own`.
    pub missing_own: Option<ConfigError>,
}

/// Reads the policy settings of a rule for tools, and `breaker.own`, which only rules have.
pub(super) fn rule_settings(table: &mut Fields<'_, '_>) -> (PolicyPatch, OwnBreaker) {
    let mut own = OwnBreaker::default();
    (read(table, Some(&mut own)), own)
}

fn read(table: &mut Fields<'_, '_>, mut own: Option<&mut OwnBreaker>) -> PolicyPatch {
    let mut set: Vec<Option<PolicySetting>> = vec![];
    if let Some(mut inner) = table.inner("retry") {
        set.extend(retry(&mut inner));
        for key in ["budget", "budget_min"] {
            if let Some(node) = inner.node(key).filter(|_| own.is_some()) {
                let hint = "set it in [servers.NAME.retry] or [defaults.retry]";
                inner.report.error(node.at, &inner.name(key), "belongs to a server: its tools share one budget", hint);
            }
        }
        inner.finish();
    }
    let at = table.node("breaker").map(|node| node.at);
    let place = at.map(|at| table.report.place(at, &table.name("breaker")));
    if let Some(mut inner) = table.inner("breaker") {
        let settings = breaker(&mut inner);
        if let Some(own) = &mut own {
            own.own = inner.boolean("own");
            // `probe` also applies to the breaker of the server.
            let needs_own = settings.iter().flatten().any(|setting| !matches!(setting, PolicySetting::BreakerProbe(_)));
            own.missing_own = place.filter(|_| needs_own && own.own.is_none());
        }
        set.extend(settings);
        if let Some(mut record) = inner.inner("record") {
            set.extend(failure_rules(&mut record));
            record.finish();
        }
        inner.finish();
    }
    if let Some(mut inner) = table.inner("concurrency") {
        set.extend(concurrency(&mut inner));
        inner.finish();
    }
    if let Some(mut inner) = table.inner("rate_limit") {
        set.extend(rate_limit(&mut inner));
        inner.finish();
    }
    if let Some(mut inner) = table.inner("hedge") {
        set.extend(hedge(&mut inner));
        inner.finish();
    }
    if let Some(mut inner) = table.inner("cache") {
        set.extend(cache(&mut inner));
        inner.finish();
    }
    PolicyPatch { set: set.into_iter().flatten().map(Arc::new).collect() }
}

fn retry(table: &mut Fields<'_, '_>) -> [Option<PolicySetting>; 8] {
    [
        table.integer("attempts", 1, MOST_ATTEMPTS).map(PolicySetting::RetryAttempts),
        table.duration_or_zero("backoff").map(PolicySetting::RetryBackoff),
        table.number("factor", 1.0, 100.0).map(PolicySetting::RetryFactor),
        table.duration_or_zero("backoff_max").map(PolicySetting::RetryBackoffMax),
        table.boolean("retry_after").map(PolicySetting::RetryAfter),
        table.choice("mode", &[("safe", RetryMode::Safe), ("never", RetryMode::Never)]).map(PolicySetting::RetryMode),
        table.number("budget", 0.0, 10.0).map(PolicySetting::RetryBudget),
        table.number("budget_min", 0.0, 1000.0).map(PolicySetting::RetryBudgetMin),
    ]
}

fn breaker(table: &mut Fields<'_, '_>) -> [Option<PolicySetting>; 13] {
    [
        table.boolean("enabled").map(PolicySetting::BreakerEnabled),
        table.integer("consecutive", 0, MANY).map(PolicySetting::BreakerConsecutive),
        table.number("failure_rate", 0.0, 1.0).map(PolicySetting::BreakerFailureRate),
        table.number("slow_rate", 0.0, 1.0).map(PolicySetting::BreakerSlowRate),
        table.duration("slow_call").map(PolicySetting::BreakerSlowCall),
        window(table).map(PolicySetting::BreakerWindow),
        table.integer("minimum_calls", 1, MOST_CALLS as u32).map(PolicySetting::BreakerMinimumCalls),
        table.duration("open_for").map(PolicySetting::BreakerOpenFor),
        table.number("open_factor", 1.0, 100.0).map(PolicySetting::BreakerOpenFactor),
        table.duration("open_for_max").map(PolicySetting::BreakerOpenForMax),
        table.integer("half_open_calls", 1, 1000).map(PolicySetting::BreakerHalfOpenCalls),
        table.choice("probe", &[("ping", Probe::Ping), ("live", Probe::Live)]).map(PolicySetting::BreakerProbe),
        table.duration("probe_timeout").map(PolicySetting::BreakerProbeTimeout),
    ]
}

/// Reads the window of a breaker: a number of calls or a duration.
fn window(table: &mut Fields<'_, '_>) -> Option<Window> {
    match table.node("window")?.kind {
        Kind::Integer(_) => table.integer("window", 1, MOST_CALLS as u32).map(Window::Calls),
        _ => table.duration("window").map(Window::Time),
    }
}

fn failure_rules(table: &mut Fields<'_, '_>) -> [Option<PolicySetting>; 6] {
    [
        table.boolean("connect").map(PolicySetting::RecordConnect),
        table.boolean("close").map(PolicySetting::RecordClose),
        table.boolean("timeout").map(PolicySetting::RecordTimeout),
        table.boolean("server_error").map(PolicySetting::RecordServerError),
        codes(table).map(PolicySetting::RecordCodes),
        table.boolean("tool_error").map(PolicySetting::RecordToolError),
    ]
}

fn codes(table: &mut Fields<'_, '_>) -> Option<Vec<i64>> {
    let nodes = table.array("codes")?;
    let code = |node: &Node| match node.integer() {
        Some(code) => Some(code),
        None => {
            table.wrong_type(node, "codes", "a list of JSON-RPC error codes");
            None
        }
    };
    Some(nodes.iter().filter_map(code).collect())
}

fn concurrency(table: &mut Fields<'_, '_>) -> [Option<PolicySetting>; 3] {
    [
        table.integer("in_flight", 0, MANY).map(PolicySetting::ConcurrencyInFlight),
        table.integer("queue", 0, MANY).map(PolicySetting::ConcurrencyQueue),
        table.duration_or_zero("wait").map(PolicySetting::ConcurrencyWait),
    ]
}

fn rate_limit(table: &mut Fields<'_, '_>) -> [Option<PolicySetting>; 2] {
    [
        table.number("per_second", 0.0, 1e6).map(PolicySetting::RateLimitPerSecond),
        table.integer("burst", 1, MANY).map(PolicySetting::RateLimitBurst),
    ]
}

fn hedge(table: &mut Fields<'_, '_>) -> [Option<PolicySetting>; 3] {
    [
        table.boolean("enabled").map(PolicySetting::HedgeEnabled),
        table.duration("after").map(|after| PolicySetting::HedgeAfter(Some(after))),
        table.integer("samples", 1, MANY).map(|samples| PolicySetting::HedgeSamples(samples.into())),
    ]
}

fn cache(table: &mut Fields<'_, '_>) -> [Option<PolicySetting>; 4] {
    let modes = [("never", CacheMode::Never), ("read-only", CacheMode::ReadOnly), ("always", CacheMode::Always)];
    [
        table.choice("mode", &modes).map(PolicySetting::CacheMode),
        table.duration("ttl").map(PolicySetting::CacheTtl),
        table.duration_or_zero("stale_if_error").map(PolicySetting::CacheStaleIfError),
        table.count("entry_bytes").map(|bytes| PolicySetting::CacheEntryBytes(bytes as u64)),
    ]
}
