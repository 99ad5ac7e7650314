//! Backoff between attempts, and the retry budget of a server.

use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDateTime};

use super::Retry;

/// Upper limit for a server's `Retry-After`.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Units per extra attempt, so that fractional shares add up exactly.
const UNITS: f64 = 1e6;

/// Returns the backoff pause after attempt number `attempt` (from 1) failed: `random` (0..1) times its bound ("full
/// jitter").
pub fn backoff(retry: &Retry, attempt: u32, random: f64) -> Duration {
    let times = retry.factor.max(1.0).powi(attempt.saturating_sub(1).min(1000) as i32);
    let max = retry.backoff_max;
    let bound = Duration::try_from_secs_f64(retry.backoff.as_secs_f64() * times).unwrap_or(max).min(max);
    bound.mul_f64(random.clamp(0.0, 1.0))
}

/// Returns the longest time of an attempt without a configured limit: an equal share of the call's remaining time
/// `left` with the `others` that could still answer instead (another replica, a fallback that makes a call).
///
/// Returns `None` (all remaining time) if there are no others: cutting off a slow response only to ask the same
/// server again gains nothing.
pub fn attempt_share(left: Duration, others: usize) -> Option<Duration> {
    let all = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
    (others > 0).then(|| left / all)
}

/// The retry budget of one server: each call earns a share of an extra attempt, on top of a reserve.
///
/// Extra attempts never exceed the reserve plus [`Retry::budget`] times the number of calls.
#[derive(Clone, Debug)]
pub struct Budget {
    /// In [`UNITS`] of an attempt; negative while overdrawn.
    balance: i64,
    max: i64,
    share: i64,
}

impl Budget {
    /// Creates a budget that holds its reserve.
    pub fn new(retry: &Retry) -> Budget {
        let mut budget = Budget { balance: to_units(retry.budget_min), max: 0, share: 0 };
        budget.set(retry);
        budget
    }

    /// Changes share and reserve. The balance stays, up to the new maximum.
    pub fn set(&mut self, retry: &Retry) {
        self.share = to_units(retry.budget);
        // Without a minimum budget, one whole attempt can still be saved up.
        self.max = to_units(retry.budget_min.max(1.0));
        self.balance = self.balance.min(self.max);
    }

    /// Adds the share of one call.
    pub fn earn(&mut self) {
        self.balance = self.balance.saturating_add(self.share).min(self.max);
    }

    /// Spends one extra attempt, and overdraws the balance by at most `overdraft` attempts. Returns whether that covered
    /// it.
    pub fn spend(&mut self, overdraft: u32) -> bool {
        let left = self.balance.saturating_sub(UNITS as i64);
        let covered = left >= -i64::from(overdraft).saturating_mul(UNITS as i64);
        if covered {
            self.balance = left;
        }
        covered
    }

    /// Returns the number of extra attempts available now.
    pub fn available(&self) -> u64 {
        u64::try_from(self.balance).unwrap_or(0) / UNITS as u64
    }
}

fn to_units(attempts: f64) -> i64 {
    // The cast turns NaN into zero.
    (attempts.max(0.0) * UNITS).round() as i64
}

/// Parses a `Retry-After` header (RFC 9110, section 10.2.3): seconds, or an HTTP-date in one of the three formats of
/// section 5.6.7. A date in the past returns zero; longer waits are limited to [`MAX_RETRY_AFTER`]; anything else
/// returns `None`.
pub fn retry_after(header: &str, unix_now_ms: u64) -> Option<Duration> {
    let header = header.trim();
    let wait = if !header.is_empty() && header.bytes().all(|b| b.is_ascii_digit()) {
        // A number that overflows is above the limit in any case.
        Duration::from_secs(header.parse().unwrap_or(u64::MAX))
    } else {
        let then = u64::try_from(http_date(header, unix_now_ms)?.and_utc().timestamp_millis()).unwrap_or(0);
        Duration::from_millis(then.saturating_sub(unix_now_ms))
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Parses an HTTP-date. Ignores the day of the week, which the date implies.
fn http_date(text: &str, unix_now_ms: u64) -> Option<NaiveDateTime> {
    let (_, date) = text.split_once(' ')?;
    let parse = |format| NaiveDateTime::parse_from_str(date, format).ok();
    // IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT. Asctime: Sun Nov  6 08:49:37 1994. chrono accepts years of any length.
    let four_digits = |date: &NaiveDateTime| (1000..=9999).contains(&date.year());
    if let Some(date) = parse("%d %b %Y %T GMT").or_else(|| parse("%b %e %T %Y")) {
        return Some(date).filter(four_digits);
    }
    // RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
    let date = parse("%d-%b-%y %T GMT")?;
    let this_year = DateTime::from_timestamp_millis(i64::try_from(unix_now_ms).ok()?)?.year();
    date.with_year(full_year(date.year().rem_euclid(100), this_year))
}

/// Expands a two-digit year to the latest year that is at most 50 years ahead (RFC 9110, section 5.6.7).
fn full_year(short: i32, this_year: i32) -> i32 {
    let year = this_year - this_year.rem_euclid(100) + short;
    if year > this_year + 50 { year - 100 } else { year }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn retry_after_reads_seconds_and_the_three_dates() {
        // Sun, 06 Nov 1994 08:49:37 GMT is second 784111777.
        let now = 784_111_777_000 - 20_000;
        for text in ["20", " 20 ", "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(retry_after(text, now), Some(Duration::from_secs(20)), "{text}");
        }
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now + 30_000), Some(Duration::ZERO), "in the past");
        assert_eq!(retry_after("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_399_500), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("99999999999999999999999", now), Some(MAX_RETRY_AFTER));
        assert_eq!(retry_after("Fri, 31 Dec 9999 23:59:59 GMT", now), Some(MAX_RETRY_AFTER));
        // Two digits that would be 65 years ahead mean 35 years ago.
        assert_eq!(retry_after("Sunday, 06-Nov-91 08:49:37 GMT", 1_790_000_000_000), Some(Duration::ZERO));
        for text in [
            "",
            "-1",
            "1.5",
            "soon",
            "1 2",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Foo 1994 08:49:37 GMT",
        ] {
            assert_eq!(retry_after(text, now), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn retry_after_never_panics(text in "\\PC{0,40}", now in 0..u64::MAX) {
            prop_assert!(retry_after(&text, now).is_none_or(|wait| wait <= MAX_RETRY_AFTER));
        }

        #[test]
        fn pauses_stay_below_their_bound(attempt in 0..u32::MAX, random in 0.0..1.0, bound_ms in 0..100_000_u64, factor in 0.0..1e300) {
            let retry = Retry { backoff: Duration::from_millis(bound_ms), factor, ..Retry::default() };
            let pause = backoff(&retry, attempt, random);
            prop_assert!(pause <= retry.backoff_max);
            prop_assert!(attempt > 1 || pause <= retry.backoff);
        }

        #[test]
        fn extra_attempts_never_go_over_the_budget(share in 0.0..1.0, budget_min in 0.0..5.0, spends in proptest::collection::vec(any::<bool>(), 0..400)) {
            let mut budget = Budget::new(&Retry { budget: share, budget_min, ..Retry::default() });
            let (mut calls, mut extra) = (0, 0);
            for spend in spends {
                if spend {
                    extra += u32::from(budget.spend(0));
                } else {
                    calls += 1;
                    budget.earn();
                }
                prop_assert!(f64::from(extra) <= budget_min + share * f64::from(calls) + 0.001);
            }
        }
    }

    #[test]
    fn time_is_shared_only_with_candidates_that_could_follow() {
        let minute = Duration::from_secs(60);
        assert_eq!(attempt_share(minute, 0), None);
        assert_eq!(attempt_share(minute, 1), Some(minute / 2));
        assert_eq!(attempt_share(minute / 2, 2), Some(minute / 6));
        assert_eq!(attempt_share(Duration::ZERO, 3), Some(Duration::ZERO));
        assert!(attempt_share(minute, usize::MAX).is_some());
    }

    #[test]
    fn an_overdraft_is_limited_and_paid_back() {
        let mut budget = Budget::new(&Retry { budget: 0.5, budget_min: 2.0, ..Retry::default() });
        assert_eq!((0..20).filter(|_| budget.spend(5)).count(), 7);
        assert_eq!((budget.spend(0), budget.available()), (false, 0));
        (0..12).for_each(|_| budget.earn());
        assert!(budget.spend(0) && !budget.spend(0), "five attempts were owed, six were earned");
    }

    #[test]
    fn every_fifth_call_earns_an_attempt() {
        let mut budget = Budget::new(&Retry { budget_min: 0.0, ..Retry::default() });
        assert!(!budget.spend(0));
        let granted = (0..100)
            .filter(|_| {
                budget.earn();
                budget.spend(0)
            })
            .count();
        assert_eq!(granted, 20);
    }
}
