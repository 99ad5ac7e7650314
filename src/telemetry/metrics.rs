//! Metrics in the Prometheus text format (version 0.0.4): counters of calls, which are exact, and gauges of the read model.
//!
//! Implements [`History`], so that every settled call is counted, also those that a slow reader of events misses.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    domain::{call::Outcome, event::Settled, id::ServerId, policy::breaker::State, server::Phase},
    engine::ports::{History, SettledCall},
    state::ConsoleState,
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

/// Writes the text format.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text does not fail.
        let _ = write!(self.0, "# HELP switchboard_{name} {help}\n# TYPE switchboard_{name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.0, "switchboard_{name}");
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if index == 0 { "{" } else { "," });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

impl Metrics {
    /// Returns all metrics. `lost` are the calls that the history lost, and the spans that were not exported.
    pub fn prometheus(&self, state: &ConsoleState, lost: (u64, u64)) -> String {
        let mut text = Text(String::new());
        self.calls(&mut text);
        gauges(&mut text, state);
        text.family("history_lost_calls_total", "counter", "Calls that could not be written to the history.");
        text.sample("history_lost_calls_total", &[], lost.0);
        text.family("trace_lost_spans_total", "counter", "Spans that could not be exported.");
        text.sample("trace_lost_spans_total", &[], lost.1);
        text.0
    }

    fn calls(&self, text: &mut Text) {
        let all = self.0.lock();
        let mut series: Vec<_> = all.iter().collect();
        series.sort_by_key(|(key, _)| *key);
        text.family("calls_total", "counter", "Settled calls by outcome.");
        for ((server, tool), series) in &series {
            for (outcome, calls) in &series.outcomes {
                text.sample("calls_total", &[("server", server.as_str()), ("tool", tool.as_str()), ("outcome", outcome)], calls);
            }
        }
        text.family("call_duration_seconds", "histogram", "Durations of settled calls.");
        for ((server, tool), series) in &series {
            let labels = [("server", server.as_str()), ("tool", tool.as_str())];
            let mut below = 0;
            for (bound, calls) in BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]).zip(series.buckets) {
                below += calls;
                text.sample("call_duration_seconds_bucket", &[labels[0], labels[1], ("le", &bound)], below);
            }
            text.sample("call_duration_seconds_sum", &labels, series.took.as_secs_f64());
            text.sample("call_duration_seconds_count", &labels, below);
        }
        text.family("attempts_total", "counter", "Attempts of settled calls.");
        for ((server, tool), series) in &series {
            text.sample("attempts_total", &[("server", server.as_str()), ("tool", tool.as_str())], series.attempts);
        }
        text.family("cached_calls_total", "counter", "Settled calls that the response cache answered.");
        for ((server, tool), series) in &series {
            text.sample("cached_calls_total", &[("server", server.as_str()), ("tool", tool.as_str())], series.cached);
        }
    }
}

/// Writes what the read model has.
fn gauges(text: &mut Text, state: &ConsoleState) {
    text.family("calls_in_flight", "gauge", "Calls in flight.");
    for server in &state.servers {
        text.sample("calls_in_flight", &[("server", server.spec.id.as_str())], server.stats.in_flight);
    }
    text.family("server_up", "gauge", "Whether the server is connected.");
    for server in &state.servers {
        let up = matches!(&*server.phase, Phase::Ready | Phase::Degraded { .. });
        text.sample("server_up", &[("server", server.spec.id.as_str())], u8::from(up));
    }
    text.family("breaker_state", "gauge", "State of the circuit breaker: 0 closed, 1 half-open, 2 open.");
    for server in &state.servers {
        let own = std::iter::once(("", &server.breaker));
        for (tool, view) in own.chain(server.tool_breakers.iter().map(|(tool, view)| (&**tool, view))) {
            let value = match view.state {
                State::Closed => 0,
                State::HalfOpen => 1,
                State::Open => 2,
            };
            text.sample("breaker_state", &[("server", server.spec.id.as_str()), ("tool", tool)], value);
        }
    }
    let cache = &state.cache;
    text.family("cache_requests_total", "counter", "Uses of the response cache.");
    let uses = [("hit", cache.hits), ("stale", cache.stale), ("miss", cache.misses), ("shared", cache.shared)];
    uses.iter().for_each(|(result, count)| text.sample("cache_requests_total", &[("result", result)], count));
    text.family("open_questions", "gauge", "Questions of servers that wait for an answer.");
    text.sample("open_questions", &[], state.asks.len());
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
        let text = metrics.prometheus(&ConsoleState::new(Epoch::default(), "_", Retention::default()), (7, 8));
        for line in [
            r#"switchboard_calls_total{server="db",tool="query",outcome="ok"} 2"#,
            r#"switchboard_calls_total{server="db",tool="query",outcome="timeout"} 1"#,
            r#"switchboard_calls_total{server="db",tool="a\"\n\\",outcome="ok"} 1"#,
            r#"switchboard_call_duration_seconds_bucket{server="db",tool="query",le="0.005"} 2"#,
            r#"switchboard_call_duration_seconds_bucket{server="db",tool="query",le="30"} 2"#,
            r#"switchboard_call_duration_seconds_bucket{server="db",tool="query",le="+Inf"} 3"#,
            r#"switchboard_call_duration_seconds_count{server="db",tool="query"} 3"#,
            r#"switchboard_attempts_total{server="db",tool="query"} 6"#,
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
