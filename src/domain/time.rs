//! Time as plain numbers: only the engine reads the clock; all others compute with stamps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment on the engine's monotonic clock, in nanoseconds since the engine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Returns the time from `earlier` to this stamp; zero if `earlier` is later.
    pub fn since(self, earlier: Stamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns the stamp `by` later.
    pub fn plus(self, by: Duration) -> Stamp {
        Stamp(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Converts stamps to wall-clock time for display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Milliseconds since the Unix epoch at zero of the engine's clock.
    pub unix_ms: u64,
    /// Offset of the local time zone from UTC in seconds, at the start of the engine.
    pub utc_offset_s: i32,
}

impl Epoch {
    /// Returns the milliseconds since the Unix epoch at `stamp`.
    pub fn unix_ms(&self, stamp: Stamp) -> u64 {
        self.unix_ms + stamp.0 / 1_000_000
    }

    /// Returns the local time of day at `stamp` as `HH:MM:SS.mmm`.
    pub fn time_of_day(&self, stamp: Stamp) -> String {
        let ms = self.unix_ms(stamp) as i64 + i64::from(self.utc_offset_s) * 1000;
        let ms = ms.rem_euclid(86_400_000);
        format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
    }
}

/// Formats seconds since the Unix epoch as a date in UTC: `2026-11-29`.
pub fn date(unix_s: u64) -> String {
    // Years begin in March, so that a leap day is the last day of one (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let days = unix_s / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Formats a duration in at most three digits and a unit: `0.44 ms`, `3.1 ms`, `812 ms`, `1.31 s`, `2 m 05 s`.
pub fn short(duration: Duration) -> String {
    let ms = duration.as_secs_f64() * 1000.0;
    match ms {
        m if m < 0.995 => format!("{m:.2} ms"),
        m if m < 9.95 => format!("{m:.1} ms"),
        m if m < 999.5 => format!("{m:.0} ms"),
        m if m < 9_995.0 => format!("{:.2} s", m / 1000.0),
        m if m < 59_950.0 => format!("{:.1} s", m / 1000.0),
        m if m < 3_599_500.0 => {
            let s = (m / 1000.0).round() as u64;
            format!("{} m {:02} s", s / 60, s % 60)
        }
        m => {
            let minutes = (m / 60_000.0).round() as u64;
            format!("{} h {:02} m", minutes / 60, minutes % 60)
        }
    }
}

/// Formats a size in bytes in at most three digits and a unit: `212 B`, `4.1 kB`, `2.0 MB`.
pub fn size(bytes: u64) -> String {
    let b = bytes as f64;
    match b {
        b if b < 999.5 => format!("{b:.0} B"),
        b if b < 9_950.0 => format!("{:.1} kB", b / 1e3),
        b if b < 999_500.0 => format!("{:.0} kB", b / 1e3),
        b if b < 9_950_000.0 => format!("{:.1} MB", b / 1e6),
        b if b < 999_500_000.0 => format!("{:.0} MB", b / 1e6),
        b => format!("{:.1} GB", b / 1e9),
    }
}

/// Parses `500ms`, `5s`, `2m`, `1h`, `1d`, also with a fraction (`1.5s`) or several parts (`1m30s`). Returns `None`
/// for a number without a unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let end = unit.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(unit.len());
        let seconds = match &unit[..end] {
            "ms" => number / 1000.0,
            "s" => number,
            "m" => number * 60.0,
            "h" => number * 3600.0,
            "d" => number * 86_400.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = &unit[end..];
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_keep_three_digits() {
        for (us, text) in [
            (440, "0.44 ms"),
            (3_100, "3.1 ms"),
            (812_000, "812 ms"),
            (1_310_000, "1.31 s"),
            (42_000_000, "42.0 s"),
            (125_000_000, "2 m 05 s"),
        ] {
            assert_eq!(short(Duration::from_micros(us)), text);
        }
        for (bytes, text) in [(212, "212 B"), (4_100, "4.1 kB"), (45_000, "45 kB"), (2_000_000, "2.0 MB"), (16_777_216, "17 MB")] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn dates_follow_the_calendar() {
        for (unix_s, text) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_580_515_200, "2020-02-01"),
            (1_798_761_599, "2026-12-31"),
            (1_798_761_600, "2027-01-01"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(unix_s), text);
        }
    }

    #[test]
    fn time_of_day_wraps_and_respects_the_time_zone() {
        let epoch = Epoch { unix_ms: 86_399_000, utc_offset_s: 3600 };
        assert_eq!(epoch.time_of_day(Stamp(1_500_000_000)), "01:00:00.500");
    }
}
