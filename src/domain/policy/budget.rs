//! Pauses between attempts, and how many extra attempts a server may be given.

use std::time::Duration;

use super::Retry;

/// The longest time that a server's `Retry-After` is believed for.
pub const RETRY_AFTER_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// Parts of one extra attempt that a budget counts in, so that shares add up exactly.
const PARTS: f64 = 1e6;

/// The pause after attempt number `attempt` (from 1) failed; `random` in 0..1 draws it evenly from zero to its
/// bound ("full jitter").
pub fn pause(retry: &Retry, attempt: u32, random: f64) -> Duration {
    let times = retry.factor.max(1.0).powi(attempt.saturating_sub(1).min(1000) as i32);
    let most = retry.backoff_max;
    let bound = Duration::try_from_secs_f64(retry.backoff.as_secs_f64() * times).unwrap_or(most).min(most);
    bound.mul_f64(random.clamp(0.0, 1.0))
}

/// The longest that an attempt may take when no limit is configured for it: of the time `left` of its call an equal
/// share with the `others` that could still answer in its place (another replica, a fallback that makes a call).
///
/// Without any it is all that is left (`None`): to cut a slow answer off only to ask the same server again helps nobody.
pub fn share(left: Duration, others: usize) -> Option<Duration> {
    let all = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1);
    (others > 0).then(|| left / all)
}

/// The extra attempts that one server may still be given: a share of its calls, and a reserve.
///
/// Whatever happens, extra attempts are never more than the reserve and [`Retry::budget`] times the calls.
#[derive(Clone, Debug)]
pub struct Budget {
    /// In [`PARTS`] of an attempt.
    saved: u64,
    most: u64,
    share: u64,
}

impl Budget {
    /// A budget that holds its reserve.
    pub fn new(retry: &Retry) -> Budget {
        let mut budget = Budget { saved: parts(retry.budget_min), most: 0, share: 0 };
        budget.set(retry);
        budget
    }

    /// Changes share and reserve; what is saved stays, as far as it may.
    pub fn set(&mut self, retry: &Retry) {
        self.share = parts(retry.budget);
        // Without a reserve a whole attempt can still be saved up.
        self.most = parts(retry.budget_min.max(1.0));
        self.saved = self.saved.min(self.most);
    }

    /// A call was made: it earns its share.
    pub fn earn(&mut self) {
        self.saved = self.saved.saturating_add(self.share).min(self.most);
    }

    /// Takes an extra attempt, if there is one.
    pub fn spend(&mut self) -> bool {
        let left = self.saved.checked_sub(PARTS as u64);
        self.saved = left.unwrap_or(self.saved);
        left.is_some()
    }

    /// Extra attempts that could be taken now.
    pub fn left(&self) -> u64 {
        self.saved / PARTS as u64
    }
}

fn parts(attempts: f64) -> u64 {
    // What is no number, or less than nothing, becomes nothing by the cast.
    (attempts * PARTS).round() as u64
}

/// How long a `Retry-After` header (RFC 9110, section 10.2.3) asks to wait: seconds, or until a date in one of the three
/// formats of section 5.6.7. A date that is over is no wait; more than [`RETRY_AFTER_MOST`] is that; what is neither is
/// `None`.
pub fn retry_after(header: &str, unix_now_ms: u64) -> Option<Duration> {
    let header = header.trim();
    let wait = if !header.is_empty() && header.bytes().all(|b| b.is_ascii_digit()) {
        // A number that does not fit is long in any case.
        Duration::from_secs(header.parse().unwrap_or(u64::MAX))
    } else {
        let then = http_date(header, unix_now_ms / 1000)?;
        Duration::from_millis(u64::try_from(then.saturating_mul(1000)).unwrap_or(0).saturating_sub(unix_now_ms))
    };
    Some(wait.min(RETRY_AFTER_MOST))
}

/// Seconds since the Unix epoch of an HTTP-date.
fn http_date(text: &str, now: u64) -> Option<i64> {
    let words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let (day, month, year, time) = match words[..] {
        // IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
        [_, day, month, year, time, "GMT"] => (day, month, number(year, 4)?, time),
        // RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
        [_, date, time, "GMT"] => {
            let mut parts = date.split('-');
            let (day, month, year) = (parts.next()?, parts.next()?, number(parts.next()?, 2)?);
            if parts.next().is_some() {
                return None;
            }
            (day, month, full_year(year, now), time)
        }
        // asctime: Sun Nov  6 08:49:37 1994
        [_, month, day, time, year] => (day, month, number(year, 4)?, time),
        _ => return None,
    };
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|name| *name == month)? as i64 + 1;
    let day = number(day, day.len().clamp(1, 2))?;
    let mut clock = time.split(':').map(|part| number(part, 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let real = (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60 && clock.next().is_none();
    real.then(|| days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The year of two digits that is not more than 50 years ahead (RFC 9110, section 5.6.7).
fn full_year(short: i64, now: u64) -> i64 {
    // Near enough: the day of the year does not matter for fifty years.
    let this = 1970 + (now / 31_556_952) as i64;
    let year = this - this.rem_euclid(100) + short;
    if year > this + 50 { year - 100 } else { year }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (the well-known algorithm of H. Hinnant).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
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
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now + 30_000), Some(Duration::ZERO), "it is over");
        assert_eq!(retry_after("Tue, 29 Feb 2000 00:00:00 GMT", 951_782_399_500), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("99999999999999999999999", now), Some(RETRY_AFTER_MOST));
        assert_eq!(retry_after("Fri, 31 Dec 9999 23:59:59 GMT", now), Some(RETRY_AFTER_MOST));
        // Two digits that would be 65 years ahead are meant to be 35 ago.
        assert_eq!(retry_after("Sunday, 06-Nov-91 08:49:37 GMT", 1_790_000_000_000), Some(Duration::ZERO));
        for text in [
            "",
            "-1",
            "1.5",
            "soon",
            "1 2",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Foo 1994 08:49:37 GMT",
        ] {
            assert_eq!(retry_after(text, now), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn retry_after_never_panics(text in "\\PC{0,40}", now in 0..u64::MAX) {
            prop_assert!(retry_after(&text, now).is_none_or(|wait| wait <= RETRY_AFTER_MOST));
        }

        #[test]
        fn pauses_stay_below_their_bound(attempt in 0..u32::MAX, random in 0.0..1.0, backoff in 0..100_000_u64, factor in 0.0..1e300) {
            let retry = Retry { backoff: Duration::from_millis(backoff), factor, ..Retry::default() };
            let pause = pause(&retry, attempt, random);
            prop_assert!(pause <= retry.backoff_max);
            prop_assert!(attempt > 1 || pause <= retry.backoff);
        }

        #[test]
        fn extra_attempts_never_go_over_the_budget(share in 0.0..1.0, budget_min in 0.0..5.0, spends in proptest::collection::vec(any::<bool>(), 0..400)) {
            let mut budget = Budget::new(&Retry { budget: share, budget_min, ..Retry::default() });
            let (mut calls, mut extra) = (0, 0);
            for spend in spends {
                if spend {
                    extra += u32::from(budget.spend());
                } else {
                    calls += 1;
                    budget.earn();
                }
                prop_assert!(f64::from(extra) <= budget_min + share * f64::from(calls) + 0.001);
            }
        }
    }

    #[test]
    fn time_is_shared_with_those_who_could_follow_and_with_nobody_else() {
        let minute = Duration::from_secs(60);
        assert_eq!(share(minute, 0), None);
        assert_eq!(share(minute, 1), Some(minute / 2));
        assert_eq!(share(minute / 2, 2), Some(minute / 6));
        assert_eq!(share(Duration::ZERO, 3), Some(Duration::ZERO));
        assert!(share(minute, usize::MAX).is_some());
    }

    #[test]
    fn every_fifth_call_earns_an_attempt() {
        let mut budget = Budget::new(&Retry { budget_min: 0.0, ..Retry::default() });
        assert!(!budget.spend());
        let given = (0..100)
            .filter(|_| {
                budget.earn();
                budget.spend()
            })
            .count();
        assert_eq!(given, 20);
    }
}
