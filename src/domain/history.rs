//! The history of calls: what is asked of it, a page of it, and statistics over time. Pure.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    call_summary::CallSummary,
    id::{CallId, ServerId},
    journal::CallOutcome,
    program_session::SessionStart,
};

/// Milliseconds in an hour.
pub const HOUR_MS: u64 = 3_600_000;

/// Most calls in a page.
pub const PAGE: usize = 1_000;

/// What is asked of the history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryQuery {
    /// A filter ([`super::filter`]); empty for all calls.
    pub filter: String,
    /// Only calls that began at this time or later, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// Only calls that began before this time, in milliseconds since the Unix epoch.
    pub until_ms: Option<u64>,
    /// Only calls before this one: the `next` of the page before.
    pub before: Option<CallId>,
    /// How many calls at most, up to [`PAGE`].
    pub limit: usize,
}

/// A page of the history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The calls, newest first.
    pub calls: Vec<CallSummary>,
    /// The last call of this page, if there may be more.
    pub next: Option<CallId>,
    /// The sessions of the calls, in any order.
    #[serde(default)]
    pub sessions: Vec<SessionStart>,
}

/// A period, in milliseconds since the Unix epoch. Statistics are stored by hour, so both ends are rounded down to hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Period {
    /// The first time in it.
    pub since_ms: u64,
    /// The first time after it.
    pub until_ms: u64,
}

impl Period {
    /// Returns the last `length` before `now_ms`, with the hour that has begun.
    pub fn last(length: Duration, now_ms: u64) -> Period {
        let until_ms = (now_ms / HOUR_MS + 1) * HOUR_MS;
        let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(HOUR_MS);
        Period { since_ms: until_ms.saturating_sub(length), until_ms }
    }

    /// Returns the period of the same length that ends where this one begins.
    pub fn before(self) -> Period {
        let length = self.until_ms.saturating_sub(self.since_ms);
        Period { since_ms: self.since_ms.saturating_sub(length), until_ms: self.since_ms }
    }

    /// Returns the first hour and the first hour after the period.
    pub fn hours(self) -> (u64, u64) {
        (self.since_ms / HOUR_MS, self.until_ms / HOUR_MS)
    }
}

/// What the statistics have one row for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatsBy {
    /// Each tool of each server.
    #[default]
    Tool,
    /// Each server.
    Server,
    /// Each hour.
    Hour,
}

/// Calls of one server, tool, outcome and hour, as the store counts them.
#[derive(Clone, Debug, PartialEq)]
pub struct CallSum {
    /// Hours since the Unix epoch.
    pub hour: u64,
    /// The server.
    pub server: String,
    /// The tool as the server names it, a URI or a method.
    pub tool: String,
    /// The outcome.
    pub outcome: CallOutcome,
    /// The bucket of their durations.
    pub bucket: u32,
    /// How many.
    pub calls: u64,
    /// The sum of their durations, in microseconds.
    pub took_us: u64,
    /// The sum of the bytes received.
    pub bytes: u64,
}

/// Statistics of the calls to one target in a period.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatsRow {
    /// The server; `None` for a row of all servers.
    pub server: Option<ServerId>,
    /// The tool; `None` for a row of all tools.
    pub tool: Option<String>,
    /// The begin of the hour in milliseconds since the Unix epoch, for rows by hour.
    pub hour_ms: Option<u64>,
    /// Number of calls.
    pub calls: u64,
    /// Number of failed calls: the call failed or the tool answered with an error.
    pub errors: u64,
    /// Failed calls by outcome.
    pub by_error: BTreeMap<String, u64>,
    /// Mean duration in microseconds.
    pub mean_us: u64,
    /// The duration that half of the calls did not exceed, in microseconds; within 9 %.
    pub p50_us: u64,
    /// The same for 95 %.
    pub p95_us: u64,
    /// The same for 99 %.
    pub p99_us: u64,
    /// Bytes received.
    pub bytes: u64,
}

/// Statistics of a period, and of the period before it for comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryStats {
    /// The period.
    pub period: Period,
    /// All calls of it.
    pub total: StatsRow,
    /// The rows: those with the most errors first, then the slowest; hours in their order.
    pub rows: Vec<StatsRow>,
    /// The same rows of the period before, in any order; empty unless asked for.
    pub before: Vec<StatsRow>,
}

/// Buckets per doubling of the duration.
const PER_DOUBLING: f64 = 4.0;

/// Returns the bucket of a duration.
pub fn bucket(took_us: u64) -> u32 {
    // At most 256, for 2^64 µs.
    ((took_us.max(1) as f64).log2() * PER_DOUBLING).floor() as u32
}

/// Returns the middle of a bucket, in microseconds.
fn middle(bucket: u32) -> u64 {
    2f64.powf((f64::from(bucket) + 0.5) / PER_DOUBLING).round() as u64
}

/// A row while it is summed.
#[derive(Default)]
struct Sum {
    row: StatsRow,
    took_us: u64,
    buckets: BTreeMap<u32, u64>,
}

impl Sum {
    fn add(&mut self, sum: &CallSum) {
        self.row.calls += sum.calls;
        self.row.bytes += sum.bytes;
        self.took_us = self.took_us.saturating_add(sum.took_us);
        *self.buckets.entry(sum.bucket).or_default() += sum.calls;
        if matches!(sum.outcome, CallOutcome::Failed(_) | CallOutcome::ToolError) {
            self.row.errors += sum.calls;
            *self.row.by_error.entry(sum.outcome.words().to_owned()).or_default() += sum.calls;
        }
    }

    fn percentile(&self, percent: u64) -> u64 {
        // At least one call, at most all of them.
        let wanted = (self.row.calls * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.buckets.iter().find(|(_, calls)| {
            seen += *calls;
            seen >= wanted
        });
        found.map_or(0, |(bucket, _)| middle(*bucket))
    }

    fn finish(self) -> StatsRow {
        let mean_us = self.took_us.checked_div(self.row.calls).unwrap_or_default();
        let (p50_us, p95_us, p99_us) = (self.percentile(50), self.percentile(95), self.percentile(99));
        StatsRow { mean_us, p50_us, p95_us, p99_us, ..self.row }
    }
}

/// Sums calls up to one row of all and rows by target.
pub fn summarize(sums: &[CallSum], by: StatsBy) -> (StatsRow, Vec<StatsRow>) {
    let mut total = Sum::default();
    let mut rows: BTreeMap<(u64, &str, &str), Sum> = BTreeMap::new();
    for sum in sums {
        total.add(sum);
        let key = match by {
            StatsBy::Tool => (0, &*sum.server, &*sum.tool),
            StatsBy::Server => (0, &*sum.server, ""),
            StatsBy::Hour => (sum.hour, "", ""),
        };
        rows.entry(key).or_default().add(sum);
    }
    let named = rows.into_iter().map(|((hour, server, tool), sum)| StatsRow {
        server: (by != StatsBy::Hour).then(|| ServerId::new(server)),
        tool: (by == StatsBy::Tool).then(|| tool.to_owned()),
        hour_ms: (by == StatsBy::Hour).then(|| hour * HOUR_MS),
        ..sum.finish()
    });
    let mut rows: Vec<StatsRow> = named.collect();
    if by != StatsBy::Hour {
        rows.sort_by_key(|row| std::cmp::Reverse((row.errors, row.p95_us, row.calls)));
    }
    (total.finish(), rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::call::FailureKind;

    fn sum(hour: u64, tool: &str, outcome: CallOutcome, took_us: u64, calls: u64) -> CallSum {
        let (server, tool) = ("db".to_owned(), tool.to_owned());
        CallSum { hour, server, tool, outcome, bucket: bucket(took_us), calls, took_us: took_us * calls, bytes: 10 * calls }
    }

    #[test]
    fn percentiles_are_within_a_tenth_of_the_truth() {
        for us in [1, 2, 10, 999, 1_000, 123_456, 5_000_000, u64::MAX / 2] {
            let shown = middle(bucket(us)) as f64;
            assert!((shown / us as f64 - 1.0).abs() < 0.1 || us < 10, "{us}: {shown}");
        }
        let sums = [sum(0, "a", CallOutcome::Ok, 1_000, 90), sum(1, "a", CallOutcome::Ok, 100_000, 10)];
        let (total, _) = summarize(&sums, StatsBy::Tool);
        let near = |found: u64, wanted: f64| (found as f64 / wanted - 1.0).abs() < 0.1;
        assert!(near(total.p50_us, 1e3) && near(total.p95_us, 1e5) && near(total.p99_us, 1e5), "{total:?}");
        assert_eq!((total.calls, total.errors, total.mean_us, total.bytes), (100, 0, 10_900, 1_000));
    }

    #[test]
    fn rows_with_the_most_errors_are_first_and_hours_in_order() {
        let failed = CallOutcome::Failed(FailureKind::Timeout);
        let sums = [
            sum(5, "good", CallOutcome::Ok, 1_000, 9),
            sum(4, "bad", failed.clone(), 10, 2),
            sum(5, "bad", CallOutcome::ToolError, 10, 1),
            sum(4, "slow", CallOutcome::Ok, 1_000_000, 1),
        ];
        let (total, rows) = summarize(&sums, StatsBy::Tool);
        let names: Vec<&str> = rows.iter().map(|row| row.tool.as_deref().unwrap()).collect();
        assert_eq!(names, ["bad", "slow", "good"]);
        assert_eq!((total.errors, rows[0].errors, rows[0].by_error["timeout"]), (3, 3, 2));
        let (_, hours) = summarize(&sums, StatsBy::Hour);
        assert_eq!(hours.iter().map(|row| row.hour_ms.unwrap() / HOUR_MS).collect::<Vec<_>>(), [4, 5]);
        assert_eq!(summarize(&[], StatsBy::Server), (StatsRow::default(), vec![]));
    }

    #[test]
    fn a_period_is_whole_hours() {
        let now = 10 * HOUR_MS + 5;
        let day = Period::last(Duration::from_secs(3 * 3600), now);
        assert_eq!(day.hours(), (8, 11));
        assert_eq!(day.before().hours(), (5, 8));
        assert_eq!(Period::last(Duration::from_secs(1), now).hours(), (10, 11));
    }
}
