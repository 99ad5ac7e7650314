//! An answer as the bytes of a value in Redis: a line that says what it is, then the result as it came.
//!
//! Everybody who reaches that Redis can write there: what does not read as one of ours is none.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::domain::{body::Body, policy::cache::CachedResponse};

/// What every value begins with. The number changes with the form, so that another version finds nothing instead of nonsense.
const MARK: &[u8] = b"switchboard/1 ";

/// Longest first line that is read for the name alone, in bytes.
pub const HEAD_MOST: usize = 4096;

/// The first line. Times are in milliseconds.
#[derive(Serialize, Deserialize)]
struct Head {
    at: u64,
    ttl: u64,
    stale: u64,
    hold: u64,
    /// Length of the result, so that a value that was cut is noticed.
    bytes: usize,
    name: String,
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The value of an answer.
pub fn encode(kept: &CachedResponse) -> Vec<u8> {
    let head = Head {
        at: kept.at_unix_ms,
        ttl: ms(kept.ttl),
        stale: ms(kept.stale),
        hold: ms(kept.hold),
        bytes: kept.result.len(),
        name: kept.name.clone(),
    };
    let head = Body::json(&head);
    let mut value = Vec::with_capacity(MARK.len() + head.len() + 1 + kept.result.len());
    value.extend_from_slice(MARK);
    value.extend_from_slice(head.bytes());
    value.push(b'\n');
    value.extend_from_slice(kept.result.bytes());
    value
}

/// Decodes a stored response; `None` if the value is not one of ours or is incomplete.
pub fn decode(value: Vec<u8>) -> Option<CachedResponse> {
    let (head, end) = head(&value)?;
    let value = Bytes::from(value);
    let result = value.slice(end..);
    // A result is a JSON object; its readers rely on that.
    if result.len() != head.bytes || result.first() != Some(&b'{') || serde_json::from_slice::<IgnoredAny>(&result).is_err() {
        return None;
    }
    Some(CachedResponse {
        result: Body::new(result),
        at_unix_ms: head.at,
        ttl: Duration::from_millis(head.ttl),
        stale: Duration::from_millis(head.stale),
        hold: Duration::from_millis(head.hold),
        name: head.name,
    })
}

/// The exposed name of the tool that a value is of, from its first bytes.
pub fn name(start: &[u8]) -> Option<String> {
    head(start).map(|(head, _)| head.name)
}

fn head(value: &[u8]) -> Option<(Head, usize)> {
    let line = value.strip_prefix(MARK)?;
    let end = memchr::memchr(b'\n', line)?;
    Some((serde_json::from_slice(&line[..end]).ok()?, MARK.len() + end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> CachedResponse {
        CachedResponse {
            result: Body::from("{\"a\":\"é\\n\"}"),
            at_unix_ms: 1_700_000_000_000,
            ttl: Duration::from_millis(1500),
            stale: Duration::from_secs(60),
            hold: Duration::ZERO,
            name: "db_\"query\"\nx".into(),
        }
    }

    #[test]
    fn an_answer_comes_back_as_it_was() {
        let value = encode(&kept());
        assert_eq!(decode(value.clone()), Some(kept()));
        assert_eq!(name(&value[..value.len() - 5]), Some(kept().name));
    }

    #[test]
    fn what_is_not_a_whole_value_of_ours_is_none() {
        let whole = encode(&kept());
        for cut in 0..whole.len() {
            assert_eq!(decode(whole[..cut].to_vec()), None, "cut at {cut}");
        }
        let mut longer = whole.clone();
        longer.push(b'x');
        assert_eq!(decode(longer), None);
        let changed = |from: &str, to: &str| String::from_utf8(whole.clone()).unwrap().replacen(from, to, 1).into_bytes();
        for foreign in [
            changed("switchboard/1", "switchboard/2"),
            changed("\"at\"", "\"ta\""),
            changed("{\"a\"", "[\"a\""),
            changed("\"é", " é"),
            b"hello".to_vec(),
            vec![0xff; 100],
        ] {
            assert_eq!(decode(foreign.clone()), None, "{}", String::from_utf8_lossy(&foreign));
        }
    }
}
