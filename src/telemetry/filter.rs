//! The filter of the log: parses `SWITCHBOARD_LOG`.

use std::{fmt, str::FromStr};

use tracing::{Level, level_filters::LevelFilter};
use tracing_subscriber::filter::Targets;

/// The prefix of the targets of this program.
const OWN: &str = "switchboard";

/// Which lines are written: a level for each target.
#[derive(Clone, Debug, PartialEq)]
pub struct LogFilter(Targets);

/// A filter that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFilter {
    /// The part that cannot be parsed.
    part: String,
}

impl fmt::Display for InvalidFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SWITCHBOARD_LOG: {:?} is neither a level nor TARGET=LEVEL, so the log level is info · use off, error, warn, info, debug or \
             trace, or a list such as info,switchboard::call=debug",
            self.part
        )
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self::level(LevelFilter::INFO)
    }
}

impl LogFilter {
    /// Parses a level for the targets of this program, or a list of `LEVEL` (for all other targets) and `TARGET=LEVEL`, as
    /// `RUST_LOG` has it. An empty text is the default: `info`, and warnings of libraries.
    pub fn parse(text: &str) -> Result<LogFilter, InvalidFilter> {
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            [] => return Ok(LogFilter::default()),
            [one] if level(one).is_some() => return Ok(LogFilter::level(level(one).unwrap_or(LevelFilter::OFF))),
            _ => {}
        }
        let mut targets = Targets::new();
        for part in parts {
            let wrong = || InvalidFilter { part: part.to_owned() };
            targets = match part.split_once('=') {
                Some((target, word)) if is_target(target) => targets.with_target(target, level(word).ok_or_else(wrong)?),
                Some(_) => return Err(wrong()),
                None => targets.with_default(level(part).ok_or_else(wrong)?),
            };
        }
        Ok(LogFilter(targets))
    }

    /// Returns the filter for a level of this program. Libraries write warnings, since they write much at lower levels.
    fn level(level: LevelFilter) -> LogFilter {
        LogFilter(Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(OWN, level))
    }

    /// Returns whether no line is written.
    pub fn is_off(&self) -> bool {
        let levels = self.0.iter().map(|(_, level)| level).chain(self.0.default_level());
        levels.max().unwrap_or(LevelFilter::OFF) == LevelFilter::OFF
    }

    pub(super) fn targets(&self) -> Targets {
        self.0.clone()
    }
}

/// Parses a level. Numbers are not accepted.
fn level(word: &str) -> Option<LevelFilter> {
    if word.eq_ignore_ascii_case("off") {
        return Some(LevelFilter::OFF);
    }
    word.chars().all(|c| c.is_ascii_alphabetic()).then(|| Level::from_str(word).ok()).flatten().map(LevelFilter::from_level)
}

fn is_target(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "_:-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_for_our_targets_and_a_list_is_as_written() {
        let admits = |text: &str, target: &str, level: Level| LogFilter::parse(text).unwrap().targets().would_enable(target, &level);
        for (text, target, level, admitted) in [
            ("", "switchboard::call", Level::INFO, true),
            ("", "switchboard::call", Level::DEBUG, false),
            ("", "hyper::client", Level::WARN, true),
            ("DEBUG", "switchboard::call", Level::DEBUG, true),
            ("trace", "hyper::client", Level::INFO, false),
            ("error", "hyper::client", Level::WARN, false),
            ("warn, switchboard::call=trace", "switchboard::call", Level::TRACE, true),
            ("warn, switchboard::call=trace", "switchboard::run", Level::INFO, false),
            ("switchboard=info,switchboard::call=off", "switchboard::call", Level::ERROR, false),
            ("off,switchboard=error", "hyper", Level::ERROR, false),
        ] {
            assert_eq!(admits(text, target, level), admitted, "{text} {target} {level}");
        }
        assert!(LogFilter::parse("off").unwrap().is_off() && LogFilter::parse("off,a=off").unwrap().is_off());
        assert!(!LogFilter::default().is_off() && !LogFilter::parse("off,a=warn").unwrap().is_off());
    }

    #[test]
    fn an_invalid_filter_names_its_part() {
        for (text, part) in [
            ("debgu", "debgu"),
            ("info,call", "call"),
            ("a=loud,b=info", "a=loud"),
            ("=info", "=info"),
            ("3", "3"),
            ("a b=info", "a b=info"),
        ] {
            let error = LogFilter::parse(text).unwrap_err();
            assert_eq!(error.part, part);
            assert!(error.to_string().contains(&format!("{part:?} is neither a level nor TARGET=LEVEL")), "{error}");
        }
    }
}
