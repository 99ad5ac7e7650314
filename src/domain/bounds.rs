//! Limits on what a server can make the program store, and the functions that cut texts to them. Pure.
//!
//! A message may be as large as [`Limits::message_bytes`](super::server::Limits). Everything that outlives the
//! message is limited here, so that memory stays within five times the largest message, whatever a server sends. The
//! stores count bytes ([`Retention`](super::retention::Retention)), and each stored text has a limit of its own. A
//! cut text ends in a mark with its full size.

use std::borrow::Cow;

use super::{
    json::token::{Escape, unescape},
    time::size,
};

/// Maximum length of the JSON-RPC id of a server's request, and of an SSE event id used for resumption.
pub const ID: usize = 4 << 10;
/// Maximum length of a method in a server's message; a longer one is displayed cut and ignored.
pub const METHOD: usize = 1 << 10;
/// Maximum length of the name or URI of a list entry, and of the URI in `notifications/resources/updated`.
pub const NAME: usize = 4 << 10;
/// Maximum length of a list cursor.
pub const CURSOR: usize = 4 << 10;
/// Maximum length of an error text: message, cause, line of stderr in a failure.
pub const ERROR_TEXT: usize = 4 << 10;
/// Maximum size of `data` of a JSON-RPC error.
pub const ERROR_DATA: usize = 64 << 10;
/// Maximum length of a one-line text: details of anomalies, notices, progress messages, logger names, reasons.
pub const LINE: usize = 1 << 10;
/// Maximum length of a log message.
pub const LOG_TEXT: usize = 16 << 10;
/// Bytes of the log messages of one server, and of its anomalies.
pub const LOG_BYTES: usize = 1 << 20;
/// Maximum length of a description, title or instructions of a server.
pub const DESCRIPTION: usize = 64 << 10;
/// Maximum size of a definition of which the versions are stored in full; of a longer one, size and hash are.
pub const DEFINITION: usize = 256 << 10;
/// Maximum size of the headers of one HTTP response, names and values together.
pub const HEADERS: usize = 16 << 10;
/// Maximum body of a frame.
pub const FRAME: usize = 64 << 10;
/// Maximum body of a frame with the request or response of a call. The complete result is stored with the call.
pub const CALL_FRAME: usize = 1 << 20;
/// Maximum size of a server's question: the parameters of its request.
pub const QUESTION: usize = 256 << 10;
/// Total size of the open questions of one server, in bytes.
pub const QUESTIONS: usize = 2 << 20;
/// Total size of the failures stored in full, in bytes; of older ones only kind and beginning of the message are
/// stored.
pub const FAILURES: usize = 4 << 20;
/// Size of the events queued for one slow reader, in bytes.
pub const TAIL: usize = 8 << 20;

/// Cuts a text to `limit` bytes including a mark with the full size. Idempotent for the same limit.
pub fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    cut_of(text, limit, text.len())
}

/// Cuts a text that is the beginning of `whole` bytes, as [`cut`] does.
pub fn cut_of(text: &str, limit: usize, whole: usize) -> Cow<'_, str> {
    if whole <= limit && text.len() == whole {
        return Cow::Borrowed(text);
    }
    let mark = mark(whole);
    let front = &text[..boundary(text, limit.saturating_sub(mark.len()))];
    Cow::Owned(format!("{front}{mark}"))
}

/// Cuts an owned text as [`cut`] does, and releases the memory of the rest.
pub fn shorten(text: &mut String, limit: usize) {
    if text.len() > limit {
        *text = cut(text, limit).into_owned();
    }
}

/// Returns the largest length up to `limit` that is a character boundary.
pub fn boundary(text: &str, limit: usize) -> usize {
    (0..=limit.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// Returns the mark at the end of a cut text.
fn mark(whole: usize) -> String {
    format!("… (cut, {} in all)", size(whole as u64))
}

/// Decodes a JSON string token to at most `limit` bytes, cut as by [`cut`]; `None` if `token` is not a string.
///
/// Only the beginning of a long token is decoded. The mark gives the size of the token, including escapes.
pub fn json_text(token: &str, limit: usize) -> Option<String> {
    let inner = token.strip_prefix('"')?.strip_suffix('"')?;
    if inner.len() <= limit {
        return decode(token);
    }
    let front = &inner[..whole_escapes(inner, limit)];
    Some(cut_of(&decode(&format!("\"{front}\""))?, limit, inner.len()).into_owned())
}

/// Decodes a JSON string; lone surrogates become U+FFFD.
fn decode(token: &str) -> Option<String> {
    if let Ok(text) = serde_json::from_str(token) {
        return Some(text);
    }
    let mut rest = token.get(1..token.len().checked_sub(1)?)?;
    let mut out = String::with_capacity(rest.len());
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (escape, length) = unescape(&rest.as_bytes()[at..])?;
        out.push_str(&rest[..at]);
        out.push(match escape {
            Escape::Char(c) => c,
            Escape::Surrogate(_) => char::REPLACEMENT_CHARACTER,
        });
        rest = &rest[at + length..];
    }
    Some(out + rest)
}

/// Returns the largest length up to `limit` that does not split a character, escape or surrogate pair.
fn whole_escapes(inner: &str, limit: usize) -> usize {
    let limit = boundary(inner, limit);
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &inner.as_bytes()[at..limit]) {
        let escape = at + found;
        let long = unescape(&inner.as_bytes()[escape..]).map_or(2, |(_, length)| length);
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
    fn short_texts_stay_and_long_ones_end_in_their_size() {
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
