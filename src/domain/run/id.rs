//! The id of a run.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The id of a run, ordered by time: a UUID of version 7 (RFC 9562, section 5.7), also used as trace id.
///
/// Written as 32 hexadecimal digits; parsed with or without hyphens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(u128);

impl RunId {
    /// Creates the id of a run that starts at `unix_ms`; `random` makes it unique.
    pub fn new(unix_ms: u64, random: u128) -> RunId {
        let time = (u128::from(unix_ms) & 0xffff_ffff_ffff) << 80;
        let first = (random >> 62 & 0xfff) << 64;
        let second = random & 0x3fff_ffff_ffff_ffff;
        RunId(time | 0x7 << 76 | first | 0b10 << 62 | second)
    }

    /// Returns the start time in milliseconds since the Unix epoch.
    pub fn unix_ms(self) -> u64 {
        u64::try_from(self.0 >> 80).unwrap_or_default()
    }

    /// Returns a short form that distinguishes the runs on a screen: the last eight digits, which are random; the
    /// first ones encode the time.
    pub fn short(self) -> String {
        format!("{:08x}", self.0 & 0xffff_ffff)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<RunId, String> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let invalid = || format!("{text:?} is not a run id: expected 32 hexadecimal digits");
        if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        u128::from_str_radix(&digits, 16).map(RunId).map_err(|_| invalid())
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RunId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_sort_by_time_and_round_trip() {
        let id = RunId::new(0x0190_1234_5678, u128::MAX);
        assert_eq!(id.to_string(), "0190123456787fffbfffffffffffffff");
        assert_eq!(id.unix_ms(), 0x0190_1234_5678);
        assert!(RunId::new(1, u128::MAX) < RunId::new(2, 0));
        assert_ne!(RunId::new(1, 1), RunId::new(1, 2));
        assert_eq!("01901234-5678-7fff-bfff-ffffffffffff".parse(), Ok(id));
        assert_eq!(serde_json::from_str::<RunId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        for invalid in ["", "x", "0190123456787fffbffffffffffffff", "+190123456787fffbfffffffffffffff", "é".repeat(16).as_str()] {
            assert!(invalid.parse::<RunId>().is_err(), "{invalid}");
        }
    }
}
