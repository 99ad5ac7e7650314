//! The history with a million calls: the first page, the next page, a search, statistics, and what recording costs a call. What history and
//! tracing cost a whole call is in `dispatch`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and panics on errors"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use switchboard::{
    domain::{
        body::Body,
        call::{CallSpec, Failure, FailureKind, Origin, Outcome, Timings},
        event::Settled,
        filter::Filter,
        history::{HOUR_MS, HistoryQuery, Period, StatsBy},
        id::{CallId, InstanceId, ToolId},
        secret::SecretRegistry,
        time::Stamp,
    },
    engine::ports::{History, SettledCall},
    store::{HistoryLimits, Store, StoreOptions},
};

const SERVERS: u64 = 10;
const TOOLS: u64 = 10;
/// Time between two calls, in milliseconds.
const GAP: u64 = 100;
const BEGIN: u64 = 1_700_000_000_000;

fn call(number: u64) -> SettledCall {
    let (server, tool) = (format!("server{}", number % SERVERS), format!("tool{}", number / SERVERS % TOOLS));
    let arguments = format!(r#"{{"user":"user{}","query":"select name from users where id = {number}"}}"#, number % 997);
    let outcome = match number % 50 {
        0 => Outcome::Failed { failure: Failure::new(FailureKind::Timeout, "no answer within 5 s").into() },
        // Half of the results are those of an earlier call.
        _ => Outcome::Ok {
            result: Body::from(format!(r#"{{"content":[{{"type":"text","text":"row {} {}"}}]}}"#, number / 2, "of many words ".repeat(12))),
        },
    };
    let unix_ms = BEGIN + number * GAP;
    let took = 1_000_000 + number % 1_000 * 100_000;
    let settled = Settled {
        outcome,
        timings: Timings { settled: Stamp(took), ..Timings::default() },
        rounds: 1,
        sent_bytes: 100,
        received_bytes: 300,
        attempts: 1,
        by: None,
        cached: None,
    };
    SettledCall {
        instance: InstanceId(1),
        call: CallId::from_parts(unix_ms, number),
        unix_ms,
        name: format!("{server}_{tool}"),
        spec: Arc::new(CallSpec::tool(ToolId::new(server.as_str().into(), tool.as_str()), arguments, Origin::Console)),
        settled: settled.into(),
        secrets: SecretRegistry::default(),
    }
}

/// Prints the median and the longest of some runs.
fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!("{what:<28} median {:>9.3?}  longest {:>9.3?}", times[times.len() / 2], times[times.len() - 1]);
}

fn main() {
    let calls: u64 = std::env::var("CALLS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let dir = tempfile::tempdir().unwrap();
    let limits = HistoryLimits { calls: 10_000_000, age_ms: 0, bytes: 0 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = Store::open_with(&dir.path().join("store.db"), StoreOptions { history: Some(limits), flush: false }).unwrap();
    let begin = Instant::now();
    let mut recording = vec![];
    for number in 0..calls {
        let call = call(number);
        let at = Instant::now();
        store.record(call);
        recording.push(at.elapsed());
        if number % 2_000 == 1_999 {
            runtime.block_on(store.flush()).unwrap();
        }
    }
    runtime.block_on(store.flush()).unwrap();
    let took = begin.elapsed();
    let size = std::fs::metadata(store.path()).unwrap().len() / 1_000_000;
    println!(
        "{calls} calls written in {took:.1?} ({:.0} a second), {size} MB, {} lost",
        calls as f64 / took.as_secs_f64(),
        store.lost_calls()
    );
    recording.sort();
    println!(
        "recording a call             median {:.2?}, 99.9 % {:.2?}",
        recording[recording.len() / 2],
        recording[recording.len() * 999 / 1000]
    );
    let page = |text: &str, before: Option<CallId>| {
        let (filter, _) = Filter::parse(text);
        let query = HistoryQuery { before, limit: 50, ..HistoryQuery::default() };
        let begin = Instant::now();
        let page = runtime.block_on(store.history(filter, query)).unwrap();
        (begin.elapsed(), page)
    };
    for filter in ["", "server:server3", "outcome:failed", "tool:tool7 >90ms", "mailbox", "select", "\"id = 123456\"", "user996"] {
        let first: Vec<_> = (0..20).map(|_| page(filter, None).0).collect();
        report(&format!("first page {filter:?}"), first);
        let (_, mut at) = page(filter, None);
        let mut next = vec![];
        while next.len() < 20
            && let Some(before) = at.next
        {
            let (took, page) = page(filter, Some(before));
            next.push(took);
            at = page;
        }
        if !next.is_empty() {
            report(&format!("next page {filter:?}"), next);
        }
    }
    for (what, by) in [("tool", StatsBy::Tool), ("server", StatsBy::Server), ("hour", StatsBy::Hour)] {
        let hours = calls * GAP / HOUR_MS + 1;
        let period = Period { since_ms: BEGIN, until_ms: BEGIN + (hours + 1) * HOUR_MS };
        let times = (0..20).map(|_| {
            let begin = Instant::now();
            runtime.block_on(store.stats(period, by, false)).unwrap();
            begin.elapsed()
        });
        report(&format!("statistics by {what}"), times.collect());
    }
}
