//! Dates in workflow expressions: RFC 3339 in UTC, and common `strftime` specifiers. The calendar is that of chrono; nothing
//! here reads a clock or a time zone.

use chrono::DateTime;

/// The last moment with a four-digit year: 9999-12-31T23:59:59.999Z.
const LAST: i64 = 253_402_300_799_999;
/// The first: 0000-01-01T00:00:00Z.
const FIRST: i64 = -62_167_219_200_000;

/// Formats milliseconds since the Unix epoch as `2026-11-23T09:05:00.123Z`; without the fraction if it is zero.
pub(super) fn rfc3339(unix_ms: i64) -> String {
    let format = if unix_ms.rem_euclid(1000) == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%fZ" };
    strftime(unix_ms, format).unwrap_or_default()
}

/// Formats milliseconds since the Unix epoch in UTC by `%Y %m %d %H %M %S %f %y %j %a %A %b %B %F %T %s %%`. `%f` is
/// milliseconds in three digits.
pub(super) fn strftime(unix_ms: i64, format: &str) -> Result<String, String> {
    let outside = || "the date is outside of the years 0 to 9999".to_owned();
    let date = DateTime::from_timestamp_millis(unix_ms).filter(|_| (FIRST..=LAST).contains(&unix_ms)).ok_or_else(outside)?;
    let mut checked = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        checked.push(letter);
        if letter != '%' {
            continue;
        }
        match letters.next() {
            // `%f` of chrono is nanoseconds.
            Some('f') => checked.push_str("3f"),
            Some(known) if "YmdHMSyjaAbBFTs%".contains(known) => checked.push(known),
            Some(other) => return Err(format!("`%{other}` is not a date format specifier")),
            None => return Err("the format ends with `%`".into()),
        }
    }
    Ok(date.format(&checked).to_string())
}

/// Parses RFC 3339 (`2026-11-23T09:05:00.123+01:00`) to milliseconds since the Unix epoch. Also accepts a space for
/// the `T`, a missing offset (UTC), and a date alone (midnight UTC). A leap second counts as the following second.
pub(super) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let missing = match text.get(10..)? {
        "" => "T00:00:00Z",
        time if !time.contains(['Z', 'z', '+', '-']) => "Z",
        _ => "",
    };
    DateTime::parse_from_rfc3339(&format!("{text}{missing}")).ok().map(|date| date.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1000),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2026-11-23T09:05:00.120Z", 1_795_424_700_120),
            ("0000-01-01T00:00:00Z", FIRST),
            ("9999-12-31T23:59:59.999Z", LAST),
        ] {
            assert_eq!(parse(text), Some(ms), "{text}");
            assert_eq!(rfc3339(ms), text);
        }
        for day in (FIRST..=LAST).step_by(97 * 86_400_000) {
            assert_eq!(parse(&rfc3339(day)), Some(day));
        }
    }

    #[test]
    fn valid_forms_are_parsed_and_others_rejected() {
        assert_eq!(parse("2026-11-23"), parse("2026-11-23 00:00:00"));
        assert_eq!(parse("2026-11-23T01:30:00+01:30"), parse("2026-11-23T00:00:00Z"));
        assert_eq!(parse("2026-11-23T00:00:00-00:30"), parse("2026-11-23T00:30:00"));
        assert_eq!(parse("2026-11-23T23:59:60.5Z"), parse("2026-11-24T00:00:00.5Z"));
        assert_eq!(parse("2026-11-23t00:00:00.123456789123z"), parse("2026-11-23T00:00:00.123"));
        for bad in [
            "",
            "2026",
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "2026-11-23T25:00:00",
            "2026-11-23T00:00:00.Z",
            "2026-11-23T00:00:00+1",
            "2026-11-23T00:00:00+0100",
            "2026-11-23T00:00:00+24:00",
            "2026-11-23T00:00:00\u{2212}01:00",
            "2026-11-23T00:00:61",
            "2026-11-23T00:00",
            "2026-11-23Z",
            "+026-11-23",
            "２026-11-23",
            "2026-11-23T00:00:00é:00",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn specifiers_are_replaced() {
        let at = 1_795_424_700_120;
        assert_eq!(
            strftime(at, "%a %A %d %b %B %Y %y %j %H:%M:%S.%f %F %T %s %%").unwrap(),
            "Mon Monday 23 Nov November 2026 26 327 09:05:00.120 2026-11-23 09:05:00 1795424700 %"
        );
        assert!(strftime(at, "%q").is_err());
        assert!(strftime(at, "x%").is_err());
        assert!(strftime(i64::MAX, "%Y").is_err());
    }
}
