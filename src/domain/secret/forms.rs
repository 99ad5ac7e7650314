//! Encodings in which a secret value is searched for, and decoders for escapes.
//!
//! Encodings with one output per value (base64, hexadecimal, HTML entities) are separate patterns. Escapes have many
//! spellings per value (`\/`, `\u002f`, `%2f`, `%2F`), so the text is decoded instead.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

use crate::domain::json::token::{Escape, unescape};

/// Values longer than this, in bytes, are searched for only as they are, without encodings.
const LONGEST_ENCODED: usize = 4 << 10;

/// Minimum length of a base64 part used as a pattern.
const SHORTEST_BASE64: usize = 8;

/// Returns the patterns for `value`: the value and its encodings. Matching ignores ASCII case.
pub fn patterns(value: &str) -> Vec<String> {
    let mut found = vec![value.to_owned()];
    if value.len() <= LONGEST_ENCODED {
        found.push(json_inner(value));
        found.push(html(value));
        // Matching ignores the case of ASCII only.
        found.extend([value.to_uppercase(), value.to_lowercase()]);
        found.push(value.replace(' ', "+"));
        found.push(value.bytes().map(|byte| format!("{byte:02x}")).collect());
        for shift in 0..3 {
            found.extend([base64_part(&STANDARD_NO_PAD, value, shift), base64_part(&URL_SAFE_NO_PAD, value, shift)].into_iter().flatten());
        }
    }
    found.sort();
    found.dedup();
    found
}

fn json_inner(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn html(value: &str) -> String {
    value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Returns the part of a base64 text that depends on `value` alone if `shift` bytes (modulo 3) precede it: the
/// characters at both ends hold bits of their neighbours.
fn base64_part(engine: &impl Engine, value: &str, shift: usize) -> Option<String> {
    let mut bytes = vec![0; shift];
    bytes.extend_from_slice(value.as_bytes());
    let text = engine.encode(&bytes);
    let from = (shift * 8).div_ceil(6);
    let to = bytes.len() * 8 / 6;
    text.get(from..to).filter(|part| part.len() >= SHORTEST_BASE64).map(str::to_owned)
}

/// A decoder: returns the bytes of the escape at the start of a text and its length; `None` if there is none.
pub type Decoder = fn(&[u8]) -> Option<(Decoded, usize)>;

/// The decoded bytes of one escape.
#[derive(Clone, Copy)]
pub struct Decoded {
    bytes: [u8; 4],
    length: usize,
}

impl Decoded {
    fn byte(byte: u8) -> Decoded {
        Decoded { bytes: [byte, 0, 0, 0], length: 1 }
    }

    fn char(c: char) -> Decoded {
        let mut bytes = [0; 4];
        let length = c.encode_utf8(&mut bytes).len();
        Decoded { bytes, length }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// First byte of the escapes that [`backslash`] decodes.
pub const BACKSLASH: u8 = b'\\';

/// First byte of the escapes that [`percent`] decodes.
pub const PERCENT: u8 = b'%';

/// Decodes an escape of a JSON string (RFC 8259, section 7), shared by most other languages.
pub fn backslash(bytes: &[u8]) -> Option<(Decoded, usize)> {
    // Not JSON, but JavaScript and others.
    if bytes.get(1) == Some(&b'\'') {
        return Some((Decoded::byte(b'\''), 2));
    }
    match unescape(bytes)? {
        (Escape::Char(c), length) => Some((Decoded::char(c), length)),
        (Escape::Surrogate(_), _) => None,
    }
}

/// Decodes `%41` (RFC 3986, section 2.1).
pub fn percent(bytes: &[u8]) -> Option<(Decoded, usize)> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let byte = u8::try_from(digit(1)? * 16 + digit(2)?).ok()?;
    Some((Decoded::byte(byte), 3))
}

/// Decodes the escapes that start with `mark`; `None` if there are none.
pub fn decoded(bytes: &[u8], mark: u8, decoder: Decoder) -> Option<Vec<u8>> {
    memchr::memchr(mark, bytes)?;
    let mut out = Vec::with_capacity(bytes.len());
    walk(bytes, mark, decoder, |piece, _| out.extend_from_slice(piece));
    (out.len() != bytes.len()).then_some(out)
}

/// Maps `positions` in the decoded form of `bytes` to offsets in `bytes`, in ascending order.
pub fn origins(bytes: &[u8], mark: u8, decoder: Decoder, positions: &[usize]) -> Vec<usize> {
    let mut found = Vec::with_capacity(positions.len());
    let mut wanted = positions.iter().copied().peekable();
    let mut length = 0;
    walk(bytes, mark, decoder, |piece, at| {
        // Within an escape, every position maps to its start; in a plain piece, bytes map one to one.
        while let Some(position) = wanted.next_if(|position| *position < length + piece.len()) {
            let escape = bytes.get(at) == Some(&mark);
            found.push(if escape { at } else { at + (position - length) });
        }
        length += piece.len();
    });
    found.extend(wanted.map(|_| bytes.len()));
    found
}

/// Passes the decoded pieces of `bytes` to `each`, with their start offsets in `bytes`.
fn walk(bytes: &[u8], mark: u8, decoder: Decoder, mut each: impl FnMut(&[u8], usize)) {
    let mut at = 0;
    while at < bytes.len() {
        let Some(next) = memchr::memchr(mark, &bytes[at..]).map(|next| at + next) else {
            return each(&bytes[at..], at);
        };
        if next > at {
            each(&bytes[at..next], at);
        }
        at = match decoder(&bytes[next..]) {
            Some((piece, length)) => {
                each(piece.as_slice(), next);
                next + length
            }
            None => {
                each(&bytes[next..=next], next);
                next + 1
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_found_behind_any_prefix() {
        let value = "s3cret-value";
        let patterns = patterns(value);
        for prefix in ["", "u", "us", "use", "user:"] {
            for suffix in ["", "x", "xy"] {
                let text = STANDARD_NO_PAD.encode(format!("{prefix}{value}{suffix}"));
                assert!(patterns.iter().any(|pattern| text.contains(pattern.as_str())), "{prefix:?} {suffix:?} {text}");
            }
        }
    }

    #[test]
    fn escapes_are_decoded_and_positions_mapped_back() {
        let text = br#"a\"b\/c\u00e9\ud83d\ude00\x"#;
        let plain = decoded(text, BACKSLASH, backslash).unwrap();
        assert_eq!(std::str::from_utf8(&plain).unwrap(), "a\"b/cé😀\\x");
        let at = |needle: &str| std::str::from_utf8(&plain).unwrap().find(needle).unwrap();
        let found = origins(text, BACKSLASH, backslash, &[at("\""), at("b"), at("é"), at("😀"), at("\\x"), plain.len()]);
        assert_eq!(found, [1, 3, 7, 13, 25, 27]);
        assert_eq!(decoded(b"a%2fb%zz%", PERCENT, percent).unwrap(), b"a/b%zz%");
        assert_eq!(decoded(b"plain", PERCENT, percent), None);
    }
}
