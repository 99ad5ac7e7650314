use std::sync::Arc;

use super::{
    builder::Builder,
    span::{Span, SpanKind, Value},
    *,
};
use crate::domain::{
    body::Body,
    call::{CallSpec, Failure, FailureKind, Origin, Outcome, Timings},
    event::{Event, EventKind, Settled},
    id::{CallId, InstanceId, ToolId},
    policy::{
        call_event::{AttemptEnd, CallEvent, Cause},
        verdict::Verdict,
    },
    time::{Epoch, Stamp},
    trace::{Sampler, SpanId},
};

const ALL: Sampler = Sampler { share: 1.0, parent_based: true };
const CALL: CallId = CallId(5);

fn builder(sampler: Sampler) -> Builder {
    Builder::new(InstanceId(1), Epoch { unix_ms: 1_000, utc_offset_s: 0 }, sampler, (None, None))
}

/// Applies what a call publishes that is retried once.
fn retried(builder: &mut Builder, spec: CallSpec) -> Vec<Span> {
    let stage = |stage| EventKind::CallStage { call: CALL, stage: Arc::new(stage) };
    let begun = |attempt, cause| stage(CallEvent::Attempt { attempt, server: "db".into(), subject: "query".into(), cause });
    let ended = |attempt, end| stage(CallEvent::Ended { attempt, end, verdict: Verdict::Neutral, took: Duration::ZERO });
    let failure = Arc::new(Failure::new(FailureKind::Transport, "reset"));
    let settled = Settled {
        outcome: Outcome::Ok { result: Body::from(r#"{"secret":"result"}"#) },
        timings: Timings::default(),
        rounds: 1,
        sent_bytes: 0,
        received_bytes: 0,
        attempts: 2,
        by: None,
        cached: None,
    };
    let events = [
        EventKind::CallQueued { call: CALL, spec: spec.into() },
        begun(1, Cause::First),
        ended(1, AttemptEnd::Failed { failure }),
        stage(CallEvent::BackOff { pause: Duration::ZERO, why: "w".into() }),
        begun(2, Cause::Retry),
        ended(2, AttemptEnd::Ok),
        EventKind::CallSettled { call: CALL, settled: settled.into() },
    ];
    let events = events.into_iter().enumerate().map(|(at, kind)| Event { seq: at as u64 + 1, at: Stamp(at as u64 * 10), kind });
    events.flat_map(|event| builder.apply(&event)).collect()
}

fn spec() -> CallSpec {
    CallSpec::tool(ToolId::new("db".into(), "query"), r#"{"secret":"argument"}"#, Origin::Console)
}

#[test]
fn a_call_is_a_span_with_a_child_for_each_attempt() {
    let spans = retried(&mut builder(ALL), spec());
    let [first, second, call] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((call.name.as_str(), call.kind, call.parent), ("call tools/call query", SpanKind::Internal, None));
    assert_eq!((call.begin_ns, call.end_ns), (1_000_000_000, 1_000_000_060));
    assert_eq!(call.events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>(), ["back_off"]);
    for (attempt, span) in [(1, first), (2, second)] {
        assert_eq!((span.kind, span.parent, span.trace), (SpanKind::Client, Some(call.id), call.trace));
        assert_eq!((span.id, span.name.as_str()), (SpanId::of_attempt(InstanceId(1), CALL, attempt), "tools/call query"));
        assert!(span.attributes.contains(&("gen_ai.tool.name".into(), Value::Text("query".into()))), "{span:?}");
    }
    assert_eq!((first.error.as_deref(), second.error.as_deref(), call.error.as_deref()), (Some("reset"), None, None));
    assert!(first.attributes.contains(&("error.type".into(), Value::Text("transport".into()))));
    let bytes = encode::request(&[], &spans);
    for secret in ["argument", "result\""] {
        assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none(), "{secret}");
    }
}

#[test]
fn the_caller_decides_whether_its_trace_is_sampled() {
    let parent = |flags: &str| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}").parse().ok();
    let of = |sampler, flags: Option<&str>| retried(&mut builder(sampler), CallSpec { trace: flags.and_then(parent), ..spec() });
    let none = Sampler { share: 0.0, parent_based: true };
    assert_eq!((of(none, None).len(), of(none, Some("01")).len(), of(ALL, Some("00")).len()), (0, 3, 0));
    assert_eq!(of(Sampler { parent_based: false, ..none }, Some("01")).len(), 0);
    let state = "vendor=1".parse().ok();
    let stated = retried(&mut builder(ALL), CallSpec { trace: parent("01"), trace_state: state, ..spec() });
    assert!(stated.iter().all(|span| span.state == "vendor=1"), "{stated:?}");
    let spans = of(ALL, Some("01"));
    assert!(spans.iter().all(|span| span.trace.to_string() == "4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(spans[2].parent.map(|parent| parent.to_string()).as_deref(), Some("00f067aa0ba902b7"));
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_is_down_costs_no_call_and_is_counted() {
    // Nothing listens on the discard port of this machine.
    let settings = settings::traces(|name| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("http://127.0.0.1:9".into()),
        "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("50".into()),
        _ => None,
    });
    let settings = settings.unwrap().unwrap();
    let collector = Collector::new(settings.target).unwrap();
    let (queue, waiting) = mpsc::channel(WAITING);
    let lost = Arc::new(AtomicU64::new(0));
    let exporter = tokio::spawn(export(collector, settings.delay, waiting, lost.clone()));
    let spans = retried(&mut builder(ALL), spec());
    for _ in 0..1_000 {
        spans.iter().for_each(|span| {
            if queue.try_send(span.clone()).is_err() {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    assert_eq!(lost.load(Ordering::Relaxed), 3_000 - WAITING as u64, "what does not fit is counted and waits for nobody");
    drop(queue);
    exporter.await.unwrap();
    assert_eq!(lost.load(Ordering::Relaxed), 3_000);
}
