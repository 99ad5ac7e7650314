use proptest::prelude::*;

use super::*;
use crate::{
    domain::call::{CallSpec, Failure, FailureKind, Origin, Outcome, Timings},
    tui::test_support,
};

#[test]
fn a_row_is_small() {
    assert!(size_of::<Row>() <= 32, "{}", size_of::<Row>());
}

/// A step in the life of a call.
#[derive(Clone, Copy, Debug)]
enum Step {
    Queue { server: u8, tool: u8 },
    Send(usize),
    Settle(usize, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..4, 0u8..6).prop_map(|(server, tool)| Step::Queue { server, tool }),
        2 => (0usize..60).prop_map(Step::Send),
        3 => ((0usize..60), (0u8..4)).prop_map(|(at, how)| Step::Settle(at, how)),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Naive {
    call: u64,
    server: String,
    tool: String,
    state: CallState,
}

/// Returns the outcome for a number.
pub fn outcome(how: u8) -> Outcome {
    match how {
        0 => test_support::text_result("x"),
        1 => Outcome::ToolError { result: crate::domain::body::Body::default() },
        2 => Outcome::Failed { failure: Arc::new(Failure::new(FailureKind::Timeout, "late")) },
        _ => Outcome::Cancelled { reason: "no".into() },
    }
}

/// Returns a settled event of a call.
pub fn settle(call: u64, seq: u64, outcome: Outcome) -> Event {
    let timings = Timings { queued: Stamp(call), settled: Stamp(call + 5_000_000), ..Timings::default() };
    let settled = Arc::new(Settled { outcome, timings, rounds: 1, sent_bytes: 1, received_bytes: 2, attempts: 1, by: None, cached: None });
    Event { seq, at: Stamp(call + 5_000_000), kind: EventKind::CallSettled { call: CallId(call), settled } }
}

/// Returns a queued event of a call.
pub fn queue(call: u64, seq: u64, server: &str, tool: &str) -> Event {
    let spec = CallSpec::new(test_support::tool_call(server, tool, "{}"), Origin::Demo);
    Event { seq, at: Stamp(call), kind: EventKind::CallQueued { call: CallId(call), spec: Arc::new(spec) } }
}

proptest! {
    #[test]
    fn the_ring_is_what_a_plain_list_would_be(steps in proptest::collection::vec(step(), 1..200), most in 1usize..40) {
        let mut rows = Rows::new(most);
        let mut naive: Vec<Naive> = Vec::new();
        for (seq, step) in (1u64..).zip(steps) {
            match step {
                Step::Queue { server, tool } => {
                    let (call, server, tool) = (seq * 10, format!("s{server}"), format!("t{tool}"));
                    rows.push(&queue(call, seq, &server, &tool));
                    naive.push(Naive { call, server, tool, state: CallState::Queued });
                }
                Step::Send(at) => {
                    let Some(call) = naive.get_mut(at) else { continue };
                    rows.push(&Event { seq, at: Stamp(seq), kind: EventKind::CallSent { call: CallId(call.call), round: 1 } });
                    if call.state.pending() {
                        call.state = CallState::Running;
                    }
                }
                Step::Settle(at, how) => {
                    let Some(call) = naive.get_mut(at) else { continue };
                    rows.push(&settle(call.call, seq, outcome(how)));
                    if call.state.pending() {
                        call.state = CallState::of(&outcome(how));
                    }
                }
            }
            let kept = &naive[naive.len().saturating_sub(most)..];
            prop_assert_eq!(rows.len(), kept.len());
            for (id, wanted) in rows.ids().zip(kept) {
                let row = rows.get(id).unwrap();
                let name = rows.name(row.key).unwrap();
                let got = Naive { call: row.link, server: name.server.to_string(), tool: name.tool.to_string(), state: row.state };
                prop_assert_eq!(&got, wanted);
            }
            let pending = kept.iter().filter(|c| c.state.pending()).count();
            prop_assert_eq!(rows.pending().filter(|id| rows.get(*id).is_some()).count(), pending);
        }
    }
}

#[test]
fn a_snapshot_and_its_events_give_the_same_rows() {
    let mut read_model = test_support::shop_state();
    let events = test_support::busy(read_model.seq);
    let mut live = Rows::new(1000);
    for event in &events {
        live.push(event);
        read_model.apply(event);
    }
    let mut caught_up = Rows::new(1000);
    caught_up.catch_up(&read_model);
    let list = |rows: &Rows| rows.ids().map(|id| *rows.get(id).unwrap()).collect::<Vec<_>>();
    assert_eq!(list(&live), list(&caught_up));
    caught_up.catch_up(&read_model);
    assert_eq!(live.len(), caught_up.len(), "nothing twice");
}

#[test]
fn long_calls_are_found_by_their_length() {
    let mut rows = Rows::new(40);
    // One call each 5 s, of 1 s, 11 s, 21 s, … up to 200 s.
    for n in 0..60u64 {
        let (begin, took) = (n * 5_000, 1_000 + n % 21 * 10_000);
        let mut script = crate::tui::test_support::Script::after(0);
        script.queued(begin, n, crate::tui::test_support::tool_call("s", "t", "{}"));
        script.settled(begin, took, n, crate::tui::test_support::text_result("x"));
        for event in &script.events {
            rows.push(event);
        }
    }
    for second in (0..600).step_by(7) {
        let start = crate::tui::test_support::at(second * 1000);
        let from = rows.from(Stamp(start.0.saturating_sub(LONG.as_nanos() as u64)));
        let wanted: Vec<RowId> = rows.ids().filter(|id| *id < from && rows.get(*id).unwrap().end(start) >= start).collect();
        let mut found: Vec<RowId> = rows.long_before(start).filter(|id| rows.get(*id).unwrap().end(start) >= start).collect();
        found.sort_unstable();
        assert_eq!(found, wanted, "{second}");
        assert!(rows.long_before(start).all(|id| rows.ids().contains(&id)));
    }
}

#[test]
fn calls_of_the_history_are_before_the_oldest_row() {
    use crate::domain::{id::CallId, time::Epoch};
    let epoch = Epoch { unix_ms: 1_000, utc_offset_s: 0 };
    let mut rows = Rows::new(2);
    assert_eq!(rows.oldest_call(&epoch), CallId(i64::MAX as u64));
    let spec = Arc::new(CallSpec::new(test_support::tool_call("db", "put", "{}"), Origin::Cli));
    let mut add = |ms: u64| {
        let call = CallId::from_parts(1_000 + ms, 7);
        rows.push(&Event { seq: ms, at: Stamp(ms * 1_000_000), kind: EventKind::CallQueued { call, spec: spec.clone() } });
        rows.oldest_call(&epoch)
    };
    assert_eq!(add(2), CallId::from_parts(1_002, 0));
    assert_eq!(add(4), CallId::from_parts(1_002, 0));
    assert_eq!(add(6), CallId::from_parts(1_004, 0), "the ring has dropped the first");
}
