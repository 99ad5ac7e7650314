use proptest::prelude::*;

use std::sync::Arc;

use super::*;
use crate::{
    domain::{
        call::{CallSpec, Origin},
        event::{Event, EventKind},
        id::CallId,
        time::Stamp,
    },
    tui::{
        rows::tests::{outcome, queue, settle},
        test_support,
    },
};

const FILTERS: [&str; 9] =
    ["", "outcome:failed", "!outcome:ok server:s1", "outcome:pending", "t2", "tool:t* <6ms", ">4ms", "kind:log", "timeout|x !s0"];

fn naive(text: &str, rows: &Rows) -> Vec<RowId> {
    let mut matcher = Matcher::new(Filter::parse(text).0);
    rows.ids().filter(|id| matcher.passes(*id, rows)).collect()
}

fn list(index: &Index, rows: &Rows) -> Vec<RowId> {
    (0..index.len(rows)).map(|at| index.at(rows, at).unwrap()).collect()
}

/// `n` calls, most of them ended.
fn some_rows(n: u64, most: usize) -> Rows {
    let mut rows = Rows::new(most);
    for call in 0..n {
        rows.push(&queue(call * 1000, call, &format!("s{}", call % 3), &format!("t{}", call * 7 % 5)));
        if call % 11 != 0 {
            rows.push(&settle(call * 1000, call, outcome((call % 4) as u8)));
        }
    }
    rows
}

#[test]
fn a_step_reads_a_limited_amount_of_text() {
    let mut rows = Rows::new(100_000);
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(300));
    for n in 0..60_000u64 {
        let spec = CallSpec::new(test_support::tool_call("db", "put", &long), Origin::Cli);
        let kind = EventKind::CallQueued { call: CallId(n), spec: Arc::new(spec) };
        rows.push(&Event { seq: n, at: Stamp(n), kind });
    }
    let mut index = Index::new(Filter::parse("xxx").0, &rows);
    index.step(&rows, FILTER_STEP);
    let looked = index.len(&rows);
    assert!((TEXT_STEP / 400..FILTER_STEP).contains(&looked), "{looked}");
    while index.working(&rows) {
        index.step(&rows, FILTER_STEP);
    }
    assert_eq!(index.len(&rows), 60_000);
}

proptest! {
    #[test]
    fn steps_find_the_same_rows_as_a_full_scan(
        which in 0usize..FILTERS.len(), before in 0u64..120, step in 1usize..40, most in 20usize..200,
        later in proptest::collection::vec((any::<bool>(), 0u64..140, 0u8..4), 0..80),
    ) {
        let mut rows = some_rows(before, most);
        let mut index = Index::new(Filter::parse(FILTERS[which]).0, &rows);
        for (turn, (new, call, how)) in later.into_iter().enumerate() {
            // Rows are added and changed while the index is still being built.
            let call = if new { 10_000 + turn as u64 } else { call };
            let changed = if new { rows.push(&queue(call * 1000, 1, "s1", "t2")) } else { rows.push(&settle(call * 1000, 1, outcome(how))) };
            index.update(&rows, changed.as_slice());
            if index.working(&rows) && turn % 2 == 0 {
                index.step(&rows, step);
            }
            let all = naive(FILTERS[which], &rows);
            let found = list(&index, &rows);
            prop_assert!(all.ends_with(&found), "the examined rows are right: {:?} {:?}", all, found);
        }
        let mut steps = 0;
        while index.working(&rows) {
            index.step(&rows, step);
            steps += 1;
            prop_assert!(steps <= rows.len() / step + 2, "it terminates");
        }
        prop_assert_eq!(list(&index, &rows), naive(FILTERS[which], &rows));
    }

    #[test]
    fn a_sort_in_steps_is_a_sort(which in 0usize..FILTERS.len(), count in 0u64..300, chunk in 1usize..50, step in 1usize..70, by in 0usize..8) {
        let rows = some_rows(count, 1000);
        let mut index = Index::new(Filter::parse(FILTERS[which]).0, &rows);
        while index.working(&rows) {
            index.step(&rows, 1000);
        }
        let mut sort = Sort::new(By::ALL[by], &index, &rows, chunk);
        let sorted = loop {
            if let Some(ids) = sort.step(&index, &rows, step) {
                break ids;
            }
        };
        let mut wanted = list(&index, &rows);
        let keys = Sort::new(By::ALL[by], &index, &rows, 1);
        wanted.sort_by_key(|id| (keys.key(rows.get(*id).unwrap()), *id));
        prop_assert_eq!(sorted, wanted);
    }
}
