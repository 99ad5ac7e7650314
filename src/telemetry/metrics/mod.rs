//! Metrics: counters of calls, which are exact, and gauges of the read model. One source ([`Metrics::collect`]) for the Prometheus text
//! format ([`prometheus`]) and for OTLP ([`super::otlp`]).
//!
//! Implements [`History`], so that every settled call is counted, also those that a slow reader of events misses.

pub mod family;
pub mod prometheus;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use parking_lot::Mutex;

use self::family::{Data, Family, Histogram};
use crate::{
    domain::{
        call::Outcome,
        event::Settled,
        id::ServerId,
        policy::breaker::State,
        server::{Phase, ServerLoad},
    },
    engine::ports::{History, SettledCall},
    state::{ConsoleState, ServerView},
};

/// Pairs of server and tool with counters of their own. Further tools of a server are counted as [`OTHER`].
const TARGETS: usize = 2_000;
/// The tool of calls whose tool has no counters of its own.
const OTHER: &str = "_other";
/// Upper bounds of the buckets of durations, in seconds.
const BOUNDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Counters of settled calls.
#[derive(Default)]
pub struct Metrics(Mutex<HashMap<(ServerId, String), Series>>);

/// The counters of a tool.
#[derive(Default)]
struct Series {
    /// Calls by outcome.
    outcomes: BTreeMap<&'static str, u64>,
    /// Calls by duration; the last one has those above all bounds.
    buckets: [u64; BOUNDS.len() + 1],
    took: Duration,
    attempts: u64,
    cached: u64,
}

impl Series {
    fn add(&mut self, settled: &Settled) {
        let outcome = match &settled.outcome {
            Outcome::Ok { .. } => "ok",
            Outcome::ToolError { .. } => "tool_error",
            Outcome::Interim { .. } => "interim",
            Outcome::Cancelled { .. } => "cancelled",
            Outcome::Failed { failure } => failure.kind.key(),
        };
        let took = settled.timings.total();
        let bucket = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound).unwrap_or(BOUNDS.len());
        *self.outcomes.entry(outcome).or_default() += 1;
        self.buckets[bucket] += 1;
        self.took += took;
        self.attempts += u64::from(settled.attempts);
        self.cached += u64::from(settled.cached.is_some());
    }
}

impl History for Metrics {
    fn record(&self, call: SettledCall) {
        let mut all = self.0.lock();
        let mut key = (call.spec.operation.server().clone(), call.spec.operation.subject().to_owned());
        if all.len() >= TARGETS && !all.contains_key(&key) {
            key.1 = OTHER.to_owned();
        }
        all.entry(key).or_default().add(&call.settled);
    }
}

/// What a measurement reads in addition to the counters of calls.
pub struct Sources<'a> {
    /// The read model.
    pub state: &'a ConsoleState,
    /// The load of the servers.
    pub loads: &'a [ServerLoad],
    /// Calls that could not be written to the history.
    pub lost_calls: u64,
    /// Spans that could not be exported.
    pub lost_spans: u64,
}

impl Metrics {
    /// Returns all metrics as they are now.
    pub fn collect(&self, sources: &Sources<'_>) -> Vec<Family> {
        let mut families = self.calls();
        families.extend(gauges(sources));
        let lost = |name, help, count| Family { name, unit: "", help, data: Data::Counter(vec![(vec![], count)]) };
        families.push(lost("history.lost_calls", "Calls that could not be written to the history.", sources.lost_calls));
        families.push(lost("trace.lost_spans", "Spans that could not be exported.", sources.lost_spans));
        families
    }

    fn calls(&self) -> Vec<Family> {
        let all = self.0.lock();
        let mut series: Vec<_> = all.iter().collect();
        series.sort_by_key(|(key, _)| *key);
        let labels = |(server, tool): &(ServerId, String)| vec![("server", server.to_string()), ("tool", tool.clone())];
        let counter = |count: fn(&Series) -> u64| Data::Counter(series.iter().map(|(key, series)| (labels(key), count(series))).collect());
        let outcomes = series.iter().flat_map(|(key, series)| {
            let with = |outcome: &str| labels(key).into_iter().chain([("outcome", outcome.to_owned())]).collect();
            series.outcomes.iter().map(move |(outcome, calls)| (with(outcome), *calls)).collect::<Vec<_>>()
        });
        let durations = series.iter().map(|(key, series)| {
            let histogram = Histogram { bounds: &BOUNDS, counts: series.buckets.to_vec(), sum: series.took.as_secs_f64() };
            (labels(key), histogram)
        });
        vec![
            Family { name: "calls", unit: "", help: "Settled calls by outcome.", data: Data::Counter(outcomes.collect()) },
            Family { name: "call.duration", unit: "s", help: "Durations of settled calls.", data: Data::Histogram(durations.collect()) },
            Family { name: "attempts", unit: "", help: "Attempts of settled calls.", data: counter(|series| series.attempts) },
            Family {
                name: "cached_calls",
                unit: "",
                help: "Settled calls that the response cache answered.",
                data: counter(|series| series.cached),
            },
        ]
    }
}

/// Returns what the read model and the engine have.
fn gauges(sources: &Sources<'_>) -> Vec<Family> {
    let Sources { state, loads, .. } = sources;
    let gauge = |name, help, series| Family { name, unit: "", help, data: Data::Gauge(series) };
    let of_server = |id: &ServerId| vec![("server", id.to_string())];
    let servers = |value: &dyn Fn(&ServerView) -> u64| state.servers.iter().map(|server| (of_server(server.id()), value(server))).collect();
    let load =
        |value: &dyn Fn(&ServerLoad) -> usize| loads.iter().map(|load| (of_server(&load.server), value(load) as u64)).collect::<Vec<_>>();
    let breakers = state.servers.iter().flat_map(|server| {
        let own = std::iter::once(("", &server.breaker));
        own.chain(server.tool_breakers.iter().map(|(tool, view)| (&**tool, view))).map(|(tool, view)| {
            let value = match view.state {
                State::Closed => 0,
                State::HalfOpen => 1,
                State::Open => 2,
            };
            (vec![("server", server.id().to_string()), ("tool", tool.to_owned())], value)
        })
    });
    let cache = &state.cache;
    let uses = [("hit", cache.hits), ("stale", cache.stale), ("miss", cache.misses), ("shared", cache.shared)];
    let uses = uses.iter().map(|(result, count)| (vec![("result", (*result).to_owned())], *count));
    let up = |server: &ServerView| u64::from(matches!(&*server.phase, Phase::Ready | Phase::Degraded { .. }));
    vec![
        gauge("calls.in_flight", "Calls in flight.", servers(&|server| server.stats.in_flight.into())),
        gauge("calls.queued", "Calls that wait for the limits of concurrency.", load(&|load| load.queued)),
        gauge("sessions", "Open sessions: the shared one, and those of clients.", load(&|load| load.sessions)),
        gauge("server.up", "Whether the server is connected.", servers(&up)),
        gauge("breaker.state", "State of the circuit breaker: 0 closed, 1 half-open, 2 open.", breakers.collect()),
        Family { name: "cache.requests", unit: "", help: "Uses of the response cache.", data: Data::Counter(uses.collect()) },
        gauge("open_questions", "Questions of servers that wait for an answer.", vec![(vec![], state.asks.len() as u64)]),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{
        body::Body,
        call::{CallSpec, Failure, FailureKind, Origin, Timings},
        id::{CallId, InstanceId, ToolId},
        retention::Retention,
        secret::SecretRegistry,
        time::{Epoch, Stamp},
    };

    fn settled(tool: &str, outcome: Outcome, ms: u64) -> SettledCall {
        let settled = Settled {
            outcome,
            timings: Timings { settled: Stamp(ms * 1_000_000), ..Timings::default() },
            rounds: 1,
            sent_bytes: 0,
            received_bytes: 0,
            attempts: 2,
            by: None,
            cached: None,
        };
        SettledCall {
            instance: InstanceId(1),
            call: CallId(1),
            unix_ms: 1,
            name: "n".into(),
            spec: Arc::new(CallSpec::tool(ToolId::new("db".into(), tool), "{}", Origin::Console)),
            settled: settled.into(),
            secrets: SecretRegistry::default(),
        }
    }

    #[test]
    fn calls_are_counted_by_target_and_outcome_and_hostile_names_are_quoted() {
        let metrics = Metrics::default();
        let ok = || Outcome::Ok { result: Body::from("{}") };
        metrics.record(settled("query", ok(), 3));
        metrics.record(settled("query", ok(), 40_000));
        metrics.record(settled("query", Outcome::Failed { failure: Failure::new(FailureKind::Timeout, "m").into() }, 3));
        metrics.record(settled("a\"\n\\", ok(), 3));
        let state = ConsoleState::new(Epoch::default(), "_", Retention::default());
        let loads = [ServerLoad { server: "db".into(), queued: 3, sessions: 2 }];
        let families = metrics.collect(&Sources { state: &state, loads: &loads, lost_calls: 7, lost_spans: 8 });
        let text = prometheus::text(&families);
        for line in [
            r#"switchboard_calls_total{server="db",tool="query",outcome="ok"} 2"#,
            r#"switchboard_calls_total{server="db",tool="query",outcome="timeout"} 1"#,
            r#"switchboard_calls_total{server="db",tool="a\"\n\\",outcome="ok"} 1"#,
            r#"switchboard_call_duration_seconds_bucket{server="db",tool="query",le="0.005"} 2"#,
            r#"switchboard_call_duration_seconds_bucket{server="db",tool="query",le="30"} 2"#,
            r#"switchboard_call_duration_seconds_bucket{server="db",tool="query",le="+Inf"} 3"#,
            r#"switchboard_call_duration_seconds_count{server="db",tool="query"} 3"#,
            r#"switchboard_attempts_total{server="db",tool="query"} 6"#,
            r#"switchboard_calls_queued{server="db"} 3"#,
            r#"switchboard_sessions{server="db"} 2"#,
            r#"switchboard_cache_requests_total{result="hit"} 0"#,
            "switchboard_open_questions 0",
            "switchboard_history_lost_calls_total 7",
            "switchboard_trace_lost_spans_total 8",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let metrics = Metrics::default();
        (0..TARGETS + 50).for_each(|n| metrics.record(settled(&n.to_string(), Outcome::Ok { result: Body::from("{}") }, 1)));
        assert_eq!(metrics.0.lock().len(), TARGETS + 1);
        assert_eq!(metrics.0.lock()[&("db".into(), OTHER.to_owned())].outcomes["ok"], 50);
    }
}
