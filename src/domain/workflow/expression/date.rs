//! Dates without a clock or time zone: RFC 3339 in UTC, and common `strftime` specifiers.

/// Converts days since 1970-01-01 to year, month, day (proleptic Gregorian). After Howard Hinnant's
/// `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Inverse of [`civil`]: `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

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
    const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    const MONTHS: [&str; 12] =
        ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
    if !(FIRST..=LAST).contains(&unix_ms) {
        return Err("the date is outside of the years 0 to 9999".into());
    }
    let (seconds, ms) = (unix_ms.div_euclid(1000), unix_ms.rem_euclid(1000));
    let (day_number, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(day_number);
    let weekday = DAYS[(day_number + 3).rem_euclid(7) as usize];
    let month_name = MONTHS[(month - 1).rem_euclid(12) as usize];
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let part = match letters.next() {
            Some('Y') => format!("{year:04}"),
            Some('y') => format!("{:02}", year.rem_euclid(100)),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('H') => format!("{:02}", second / 3600),
            Some('M') => format!("{:02}", second / 60 % 60),
            Some('S') => format!("{:02}", second % 60),
            Some('f') => format!("{ms:03}"),
            Some('j') => format!("{:03}", day_number - days(year, 1, 1) + 1),
            Some('a') => weekday[..3].to_owned(),
            Some('A') => weekday.to_owned(),
            Some('b') => month_name[..3].to_owned(),
            Some('B') => month_name.to_owned(),
            Some('F') => format!("{year:04}-{month:02}-{day:02}"),
            Some('T') => format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60),
            Some('s') => seconds.to_string(),
            Some('%') => "%".to_owned(),
            Some(other) => return Err(format!("`%{other}` is not a date format specifier")),
            None => return Err("the format ends with `%`".into()),
        };
        out.push_str(&part);
    }
    Ok(out)
}

/// Parses RFC 3339 (`2026-11-23T09:05:00.123+01:00`) to milliseconds since the Unix epoch. Also accepts a space for
/// the `T`, a missing offset (UTC), and a date alone (midnight UTC).
pub(super) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<i64>().ok()).flatten()
    };
    let byte = |at: usize| text.as_bytes().get(at).copied();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if byte(4)? != b'-' || byte(7)? != b'-' || !(1..=12).contains(&month) || day < 1 {
        return None;
    }
    let date = days(year, month, day);
    if civil(date) != (year, month, day) {
        return None;
    }
    if text.len() == 10 {
        return Some(date * 86_400_000);
    }
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let separators = matches!(byte(10)?, b'T' | b't' | b' ') && byte(13)? == b':' && byte(16)? == b':';
    // A leap second counts as the following second.
    if !separators || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count()),
        None => ("", rest),
    };
    if rest.starts_with('.') && fraction.is_empty() {
        return None;
    }
    let ms = format!("{fraction:0<3}").get(..3)?.parse::<i64>().ok()?;
    let offset = match zone.as_bytes() {
        [] | [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let at = text.len() - 5;
            let (hours, minutes) = (number(at, at + 2)?, number(at + 3, at + 5)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    Some((date * 86_400 + hour * 3600 + (minute - offset) * 60 + second) * 1000 + ms)
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
        for day in (-800_000..800_000).step_by(97) {
            let (y, m, d) = civil(day);
            assert_eq!(days(y, m, d), day);
        }
    }

    #[test]
    fn valid_forms_are_parsed_and_others_rejected() {
        assert_eq!(parse("2026-11-23"), parse("2026-11-23 00:00:00"));
        assert_eq!(parse("2026-11-23T01:30:00+01:30"), parse("2026-11-23T00:00:00Z"));
        assert_eq!(parse("2026-11-23T00:00:00-00:30"), parse("2026-11-23T00:30:00"));
        for bad in [
            "",
            "2026",
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "2026-11-23T25:00:00",
            "2026-11-23T00:00:00.Z",
            "2026-11-23T00:00:00+1",
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
