//! The knobs of how calls are treated: `retry`, `breaker`, `load`, `hedge` and `cache` of a table.

use std::sync::Arc;

use super::{
    error::ConfigError,
    fields::Fields,
    source::{Kind, Node},
};
use crate::domain::policy::{
    CacheMode, PolicyPatch, PolicySetting, RetryMode,
    breaker::{MOST_CALLS, Probe, Window},
};

/// Most attempts of one call that can be asked for. More would only hide a broken server.
const MOST_ATTEMPTS: u32 = 100;
/// No count of calls makes sense above this.
const MANY: u32 = 1_000_000;

/// Reads the tables of knobs of a server, or of `[defaults]`.
pub(super) fn knobs(table: &mut Fields<'_, '_>) -> PolicyPatch {
    read(table, None)
}

/// What a rule for tools says of breakers of their own.
#[derive(Default)]
pub(super) struct OwnBreaker {
    /// `breaker.own`.
    pub own: Option<bool>,
    /// Where it sets what only a breaker of their own has, without saying whether they have one.
    pub set_off: Option<ConfigError>,
}

/// Reads the tables of knobs of a rule for tools, and `breaker.own`, which only rules have.
pub(super) fn rule_knobs(table: &mut Fields<'_, '_>) -> (PolicyPatch, OwnBreaker) {
    let mut own = OwnBreaker::default();
    (read(table, Some(&mut own)), own)
}

fn read(table: &mut Fields<'_, '_>, mut own: Option<&mut OwnBreaker>) -> PolicyPatch {
    let mut set: Vec<Option<PolicySetting>> = vec![];
    if let Some(mut inner) = table.inner("retry") {
        set.extend(retry(&mut inner));
        for key in ["budget", "reserve"] {
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
        let knobs = breaker(&mut inner);
        if let Some(own) = &mut own {
            own.own = inner.boolean("own");
            // Who probes is asked of a server's breaker, too.
            let only_own = knobs.iter().flatten().any(|knob| !matches!(knob, PolicySetting::BreakerProbe(_)));
            own.set_off = place.filter(|_| only_own && own.own.is_none());
        }
        set.extend(knobs);
        if let Some(mut counts) = inner.inner("counts") {
            set.extend(counting(&mut counts));
            counts.finish();
        }
        inner.finish();
    }
    if let Some(mut inner) = table.inner("load") {
        set.extend(load(&mut inner));
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
        table.whole("attempts", 1, MOST_ATTEMPTS).map(PolicySetting::RetryAttempts),
        table.duration("backoff", true).map(PolicySetting::RetryBackoff),
        table.number("factor", 1.0, 100.0).map(PolicySetting::RetryFactor),
        table.duration("backoff_max", true).map(PolicySetting::RetryBackoffMax),
        table.boolean("retry_after").map(PolicySetting::RetryAfter),
        table.choice("repeat", &[("safe", RetryMode::Safe), ("never", RetryMode::Never)]).map(PolicySetting::RetryRepeat),
        table.number("budget", 0.0, 10.0).map(PolicySetting::RetryBudget),
        table.number("reserve", 0.0, 1000.0).map(PolicySetting::RetryReserve),
    ]
}

fn breaker(table: &mut Fields<'_, '_>) -> [Option<PolicySetting>; 13] {
    [
        table.boolean("on").map(PolicySetting::BreakerOn),
        table.whole("consecutive", 0, MANY).map(PolicySetting::BreakerConsecutive),
        table.number("failure_rate", 0.0, 1.0).map(PolicySetting::BreakerFailureRate),
        table.number("slow_rate", 0.0, 1.0).map(PolicySetting::BreakerSlowRate),
        table.duration("slow_call", false).map(PolicySetting::BreakerSlowCall),
        window(table).map(PolicySetting::BreakerWindow),
        table.whole("minimum_calls", 1, MOST_CALLS as u32).map(PolicySetting::BreakerMinimumCalls),
        table.duration("open", false).map(PolicySetting::BreakerOpen),
        table.number("open_factor", 1.0, 100.0).map(PolicySetting::BreakerOpenFactor),
        table.duration("open_max", false).map(PolicySetting::BreakerOpenMax),
        table.whole("half_open_calls", 1, 1000).map(PolicySetting::BreakerHalfOpenCalls),
        table.choice("probe", &[("ping", Probe::Ping), ("live", Probe::Live)]).map(PolicySetting::BreakerProbe),
        table.duration("lease", false).map(PolicySetting::BreakerLease),
    ]
}

/// The window of a breaker: a number of calls, or a time.
fn window(table: &mut Fields<'_, '_>) -> Option<Window> {
    match table.node("window")?.kind {
        Kind::Integer(_) => table.whole("window", 1, MOST_CALLS as u32).map(Window::Calls),
        _ => table.duration("window", false).map(Window::Time),
    }
}

fn counting(table: &mut Fields<'_, '_>) -> [Option<PolicySetting>; 6] {
    [
        table.boolean("connect").map(PolicySetting::CountConnect),
        table.boolean("close").map(PolicySetting::CountClose),
        table.boolean("timeout").map(PolicySetting::CountTimeout),
        table.boolean("server_error").map(PolicySetting::CountServerError),
        codes(table).map(PolicySetting::CountCodes),
        table.boolean("tool_error").map(PolicySetting::CountToolError),
    ]
}

fn codes(table: &mut Fields<'_, '_>) -> Option<Vec<i64>> {
    let nodes = table.array("codes")?;
    let code = |node: &Node| match node.kind {
        Kind::Integer(code) => Some(code),
        _ => {
            table.wrong(node, "codes", "a list of JSON-RPC error codes");
            None
        }
    };
    Some(nodes.iter().filter_map(code).collect())
}

fn load(table: &mut Fields<'_, '_>) -> [Option<PolicySetting>; 5] {
    [
        table.whole("in_flight", 0, MANY).map(PolicySetting::LoadInFlight),
        table.whole("queue", 0, MANY).map(PolicySetting::LoadQueue),
        table.duration("wait", true).map(PolicySetting::LoadWait),
        table.number("per_second", 0.0, 1e6).map(PolicySetting::LoadPerSecond),
        table.whole("burst", 1, MANY).map(PolicySetting::LoadBurst),
    ]
}

fn hedge(table: &mut Fields<'_, '_>) -> [Option<PolicySetting>; 3] {
    [
        table.boolean("on").map(PolicySetting::HedgeOn),
        table.duration("after", false).map(|after| PolicySetting::HedgeAfter(Some(after))),
        table.whole("samples", 1, MANY).map(|samples| PolicySetting::HedgeSamples(samples.into())),
    ]
}

fn cache(table: &mut Fields<'_, '_>) -> [Option<PolicySetting>; 4] {
    let keep = [("never", CacheMode::Never), ("read-only", CacheMode::ReadOnly), ("always", CacheMode::Always)];
    [
        table.choice("keep", &keep).map(PolicySetting::CacheKeep),
        table.duration("ttl", false).map(PolicySetting::CacheTtl),
        table.duration("stale", true).map(PolicySetting::CacheStale),
        table.count("entry_bytes").map(|bytes| PolicySetting::CacheEntryBytes(bytes as u64)),
    ]
}
