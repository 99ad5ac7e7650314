//! Bounds on what a server can make the program store, and the cuts that hold them. Pure.
//!
//! A message may have [`Limits::message_bytes`](super::server::Limits). What outlives the message is bounded here, so that memory
//! stays within five times the largest message whatever a server sends. The stores count bytes ([`Retention`](super::read_model::Keep)),
//! and each text that they hold has a bound of its own. A cut text ends in a mark that says how long the whole is.

use std::borrow::Cow;

use super::time::size;

/// Longest JSON-RPC id of a server's request, and longest id of an SSE event that is used for resumption.
pub const ID: usize = 4 << 10;
/// Longest method of a server's message; of a longer one the front is shown and nothing is done.
pub const METHOD: usize = 1 << 10;
/// Longest name or URI of a list entry, and longest URI of `notifications/resources/updated`.
pub const NAME: usize = 4 << 10;
/// Longest cursor of a list.
pub const CURSOR: usize = 4 << 10;
/// Longest text of an error: message, cause, line of stderr in a failure.
pub const ERROR_TEXT: usize = 4 << 10;
/// Longest `data` of a JSON-RPC error.
pub const ERROR_DATA: usize = 64 << 10;
/// Longest one-line text: details of anomalies, notices, progress messages, names of loggers, reasons.
pub const LINE: usize = 1 << 10;
/// Longest text of a log message.
pub const LOG_TEXT: usize = 16 << 10;
/// Bytes of the log messages of one server, and of its anomalies.
pub const LOG_BYTES: usize = 1 << 20;
/// Longest description, title or instructions of a server.
pub const DESCRIPTION: usize = 64 << 10;
/// Headers of one HTTP response, names and values together.
pub const HEADERS: usize = 16 << 10;
/// Longest body of a frame.
pub const FRAME: usize = 64 << 10;
/// Longest body of a frame that is the request or the answer of a call. The whole result is stored with the call.
pub const CALL_FRAME: usize = 1 << 20;
/// Longest question of a server: the form's schema, the sampling parameters.
pub const QUESTION: usize = 256 << 10;
/// Bytes of all the questions of one server that are open.
pub const QUESTIONS: usize = 2 << 20;
/// Bytes of the failures of calls that are stored in full; of older ones kind and front of the message stay.
pub const FAILURES: usize = 4 << 20;
/// Bytes of events that wait for one slow reader.
pub const TAIL: usize = 8 << 20;

/// The text, or as much of its front as fits into `limit` bytes together with a mark that says how long the whole is.
/// Cutting a cut text to the same limit changes nothing.
pub fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    cut_of(text, limit, text.len())
}

/// [`cut`] of a text that is the front of a whole of `whole` bytes.
pub fn cut_of(text: &str, limit: usize, whole: usize) -> Cow<'_, str> {
    if whole <= limit && text.len() == whole {
        return Cow::Borrowed(text);
    }
    let mark = mark(whole);
    let front = &text[..boundary(text, limit.saturating_sub(mark.len()))];
    Cow::Owned(format!("{front}{mark}"))
}

/// Cuts an owned text as [`cut`] does, and gives back the memory of the rest.
pub fn shorten(text: &mut String, limit: usize) {
    if text.len() > limit {
        *text = cut(text, limit).into_owned();
    }
}

/// The largest length up to `limit` that ends within no character.
pub fn boundary(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// What a cut text ends in.
fn mark(whole: usize) -> String {
    format!("… (cut, {} in all)", size(whole as u64))
}

/// The text of a JSON string token, at most `limit` bytes of it as by [`cut`]; `None` when `token` is not a string.
///
/// Only the front of a long token is decoded. The mark gives the size of the token, escapes included.
pub fn json_text(token: &str, limit: usize) -> Option<String> {
    let inner = token.strip_prefix('"')?.strip_suffix('"')?;
    if inner.len() <= limit {
        return decode(token);
    }
    let front = &inner[..whole_escapes(inner, limit)];
    Some(cut_of(&decode(&format!("\"{front}\""))?, limit, inner.len()).into_owned())
}

/// Decodes a JSON string; halves of surrogate pairs, which no text can hold, become U+FFFD.
fn decode(token: &str) -> Option<String> {
    if let Ok(text) = serde_json::from_str(token) {
        return Some(text);
    }
    let mut units: Vec<u16> = vec![];
    let mut rest = token.get(1..token.len().checked_sub(1)?)?;
    while let Some(at) = rest.find('\\') {
        units.extend(rest[..at].encode_utf16());
        let unit = rest.get(at + 2..at + 6).filter(|_| rest.as_bytes().get(at + 1) == Some(&b'u'));
        match unit {
            Some(digits) => {
                units.push(u16::from_str_radix(digits, 16).ok()?);
                rest = &rest[at + 6..];
            }
            None => {
                let plain: String = serde_json::from_str(&format!("\"{}\"", rest.get(at..at + 2)?)).ok()?;
                units.extend(plain.encode_utf16());
                rest = &rest[at + 2..];
            }
        }
    }
    units.extend(rest.encode_utf16());
    Some(String::from_utf16_lossy(&units))
}

/// The largest length up to `limit` that ends within no character, escape or surrogate pair.
fn whole_escapes(inner: &str, limit: usize) -> usize {
    let limit = boundary(inner, limit);
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &inner.as_bytes()[at..limit]) {
        let escape = at + found;
        let unit = |from: usize| inner.get(from..from + 6).and_then(|e| u16::from_str_radix(e.strip_prefix("\\u")?, 16).ok());
        let long = match (unit(escape), unit(escape + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(_), _) => 6,
            (None, _) => 2,
        };
        if escape + long > limit {
            return escape;
        }
        at = escape + long;
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_and_what_does_not_ends_in_its_size() {
        assert_eq!(cut("abc", 3), "abc");
        let long = format!("abcdé{}", "x".repeat(100));
        let short = cut(&long, 28);
        assert_eq!((&*short, short.len()), ("abcd… (cut, 106 B in all)", 27));
        assert_eq!(cut(&short, 28), short, "cut twice");
        let mut text = "x".repeat(10_000_000);
        shorten(&mut text, 100);
        assert!(text.ends_with("… (cut, 10 MB in all)") && text.capacity() < 1000, "{}", text.len());
    }

    #[test]
    fn a_json_string_is_decoded_only_up_to_its_bound() {
        assert_eq!(json_text(r#""a\nb""#, 100).as_deref(), Some("a\nb"));
        assert_eq!(json_text("7", 100), None);
        assert_eq!(json_text(r#""a\ud800b""#, 100).as_deref(), Some("a\u{fffd}b"));
        assert_eq!(json_text(r#""a\\\ud83d\ude00\n\ud800""#, 100).as_deref(), Some("a\\😀\n\u{fffd}"));
        for limit in 0..40 {
            let text = json_text(r#""ab\u00e9\ud83d\ude00\\\"xyz and more than forty bytes of it""#, limit).unwrap();
            let front = text.split('…').next().unwrap();
            assert!("abé😀\\\"xyz and more than forty bytes of it".starts_with(front) && front.len() <= limit, "{limit}: {text}");
            assert!(text.contains("(cut, "), "{text}");
        }
    }
}
