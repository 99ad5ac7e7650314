use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    domain::{
        body::Body,
        call::{CallSpec, Failure, FailureKind, Operation, Origin, Timings},
        event::Settled,
    },
    tui::test_support,
};

fn outcome(kind: u8) -> Outcome {
    match kind {
        0 => Outcome::Ok { result: Body::default() },
        1 => Outcome::ToolError { result: Body::default() },
        2 => Outcome::Failed { failure: Arc::new(Failure::new(FailureKind::Timeout, "late")) },
        _ => Outcome::Cancelled { reason: "no".into() },
    }
}

fn call(id: u64, from_ms: u64, end: Option<(u64, u8)>) -> CallView {
    let operation: Operation = test_support::tool_call("db", "query", "{}");
    let queued = test_support::at(from_ms);
    let settled = end.map(|(took, kind)| {
        let settled = queued.plus(Duration::from_millis(took));
        let timings = Timings { queued, sent: None, first_byte: None, last_byte: None, settled };
        Arc::new(Settled {
            outcome: outcome(kind),
            timings,
            rounds: 1,
            sent_bytes: 0,
            received_bytes: 0,
            attempts: 1,
            by: None,
            cached: None,
        })
    });
    let spec = Arc::new(CallSpec::new(operation, Origin::Console));
    CallView { id: CallId(id), spec, queued, sent: None, round: 0, progress: None, settled, result_dropped: false, track: None }
}

/// Computes the same picture directly from the list of calls.
fn naive(calls: &[(u64, Option<(u64, u8)>)], cells: u64, now_ms: u64) -> Vec<Mark> {
    let now = now_ms / 100;
    let cell_of = |tenth: u64| tenth * cells / 600;
    let last = cell_of(now);
    let ends = |(from, end): &(u64, Option<(u64, u8)>)| end.map(|(took, kind)| (from / 100, (from + took) / 100, kind));
    (0..cells)
        .map(|cell| {
            let Some(absolute) = (last + 1 + cell).checked_sub(cells) else { return Mark::Quiet };
            let ended: Vec<u8> =
                calls.iter().filter_map(ends).filter(|(_, to, _)| cell_of(*to) == absolute).map(|(.., kind)| kind).collect();
            // A call extends beyond a tenth of this cell if it began before the cell's end and ends after that tenth.
            let tenths: Vec<u64> = (0..=now).filter(|t| cell_of(*t) == absolute).collect();
            let long = |bad: bool, t: u64| calls.iter().filter_map(ends).any(|(a, b, kind)| a <= t && t < b && (kind > 1) == bad);
            let before = (0..now).rev().find(|t| cell_of(*t) < absolute);
            let entering = before.is_some_and(|t| long(true, t) || long(false, t));
            let running = calls.iter().any(|(from, end)| end.is_none() && cell_of(from / 100) <= absolute);
            match () {
                () if ended.contains(&2) => Mark::Failed,
                () if ended.contains(&1) => Mark::ToolError,
                () if running && absolute == last => Mark::Front,
                () if ended.contains(&3) => Mark::Cancelled,
                () if ended.contains(&0) && (ended.len() >= 4 || !entering) => Mark::Answered { many: ended.len() >= 4 },
                () if running => Mark::Running,
                () if tenths.iter().any(|t| long(true, *t)) => Mark::LongBad,
                () if tenths.iter().any(|t| long(false, *t)) || entering || ended.contains(&0) => Mark::Long,
                () => Mark::Quiet,
            }
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn the_ring_shows_what_the_calls_are(
        mut calls in proptest::collection::vec((0u64..100_000, proptest::option::of((prop_oneof![0u64..90, 0u64..3_000, 0u64..70_000], 0u8..4))), 0..30),
        cells in 1u16..130,
        after in 0u64..30_000,
    ) {
        calls.sort_unstable();
        let end = |(from, end): &(u64, Option<(u64, u8)>)| from + end.map_or(0, |(took, _)| took);
        let now = calls.iter().map(end).max().unwrap_or(0) + after;
        // In the order of the events: starts and ends by time.
        let mut events: Vec<(u64, bool, usize)> = vec![];
        for (index, one) in calls.iter().enumerate() {
            events.push((one.0, false, index));
            if one.1.is_some() {
                events.push((end(one), true, index));
            }
        }
        events.sort_unstable();
        let mut activity = Activity::default();
        for (_, ended, index) in events {
            let (from, how) = calls[index];
            activity.note(&call(index as u64, from, how.filter(|_| ended)));
        }
        let grid = Grid::new(cells, test_support::at(now));
        let shown = activity.marks(&"db".into(), grid);
        let wanted = naive(&calls, u64::from(cells), now);
        let quiet = wanted.iter().all(|mark| *mark == Mark::Quiet);
        prop_assert_eq!(shown.clone().unwrap_or_else(|| vec![Mark::Quiet; usize::from(cells)]), wanted.clone());
        // Idle does not move, and the time of the next move is exact.
        let due = activity.due(cells, test_support::at(now), |_| false);
        prop_assert_eq!(due.is_none(), quiet);
        if let Some(due) = due {
            let at = |by: Duration| activity.marks(&"db".into(), Grid::new(cells, test_support::at(now).plus(by))).unwrap_or_default();
            prop_assert_eq!(at(due.saturating_sub(Duration::from_nanos(1))), shown.unwrap_or_default());
            prop_assert!(due <= Duration::from_millis(60_000 / u64::from(cells) + 100));
        }
    }
}

#[test]
fn the_picture_moves_left_by_whole_cells() {
    let mut activity = Activity::default();
    activity.note(&call(1, 10_000, Some((5, 2))));
    let place = |ms: u64| {
        let marks = activity.marks(&"db".into(), Grid::new(60, test_support::at(ms)));
        marks.and_then(|marks| marks.iter().position(|mark| *mark == Mark::Failed))
    };
    assert_eq!([place(10_100), place(10_999), place(11_000), place(69_999), place(70_000)], [Some(59), Some(59), Some(58), Some(0), None]);
    assert_eq!(activity.due(60, test_support::at(10_100), |_| false), Some(Duration::from_millis(900)));
    assert_eq!(activity.due(60, test_support::at(70_000), |_| false), None, "nothing is visible: no wake-up");
    assert!(activity.due(60, test_support::at(70_000), |_| true).is_some(), "what else is in the picture moves too");
}

#[test]
fn a_flood_takes_constant_memory() {
    let mut activity = Activity::default();
    for n in 0..50_000 {
        activity.note(&call(n, n, None));
        activity.note(&call(n, n, Some((1, 0))));
    }
    assert_eq!(activity.lanes.len(), 1);
    assert!(activity.lanes.values().all(|lane| lane.running.is_empty()));
    let marks = activity.marks(&"db".into(), Grid::new(100, test_support::at(50_000))).unwrap_or_default();
    assert!(marks.iter().filter(|mark| **mark == Mark::Answered { many: true }).count() > 80, "{marks:?}");
}
