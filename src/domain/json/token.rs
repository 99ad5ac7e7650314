//! The JSON tokenizer: finds where white space, strings, numbers, words and containers end, and decodes escapes.
//!
//! Works on bytes and allocates nothing; strings are searched with memchr, because a document may have many megabytes.
//! [`string`], [`number`] and [`word`] check one token against RFC 8259; the order of tokens is the caller's.
//! [`string_end`], [`container_end`] and [`tokens`] check nothing, for text that is known to be JSON or known to be broken.
//!
//! What the JSON viewer calls for each value is always inlined: the release profile optimises for size, and calls would make
//! the index of a large document a fifth slower.

/// Whether a string may contain control characters, which RFC 8259 (section 7) forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controls {
    /// They are accepted.
    Accept,
    /// They are an error.
    Reject,
}

/// Why a string is invalid, with the byte offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StringProblem {
    /// It has no closing quotation mark.
    Unclosed,
    /// A control character is at this offset.
    Control(usize),
    /// The escape whose backslash is at this offset is unknown.
    Escape(usize),
    /// The `\u` whose backslash is at this offset has less than four hexadecimal digits.
    Unit(usize),
}

/// A decoded escape of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// A character; of a surrogate pair, both halves.
    Char(char),
    /// A half of a surrogate pair without the other, which is not a character.
    Surrogate(u16),
}

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{` or `[`.
    Open,
    /// `}` or `]`.
    Close,
    /// `,`.
    Comma,
    /// `:`.
    Colon,
    /// A string with its quotation marks.
    String,
    /// A number, a word, or other text outside of strings.
    Scalar,
}

/// A token with its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// The kind.
    pub kind: Kind,
    /// The text, without white space around it.
    pub text: &'a str,
}

/// Returns the offset of the first byte from `at` that is not white space.
#[inline(always)]
pub fn skip_white(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Returns the end of the string whose opening quotation mark is at `start`.
#[inline(always)]
pub fn string(bytes: &[u8], start: usize, controls: Controls) -> Result<usize, StringProblem> {
    let mut at = start + 1;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let next = match controls {
            Controls::Accept => memchr::memchr2(b'"', b'\\', rest),
            Controls::Reject => rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')),
        };
        at += next.ok_or(StringProblem::Unclosed)?;
        match bytes[at] {
            b'"' => return Ok(at + 1),
            b'\\' => at += escape_length(bytes, at)?,
            _ => return Err(StringProblem::Control(at)),
        }
    }
}

/// Returns the length of one escape; of a surrogate pair, of its first half.
fn escape_length(bytes: &[u8], at: usize) -> Result<usize, StringProblem> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => unit(&bytes[at..]).map(|_| 6).ok_or(StringProblem::Unit(at)),
        _ => Err(StringProblem::Escape(at)),
    }
}

/// Returns the end of the number that starts at `at`, or the offset where a digit is missing.
#[inline(always)]
pub fn number(bytes: &[u8], mut at: usize) -> Result<usize, usize> {
    at += usize::from(bytes.get(at) == Some(&b'-'));
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(bytes, at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at = digits(bytes, at)?;
    }
    Ok(at)
}

#[inline(always)]
fn digits(bytes: &[u8], start: usize) -> Result<usize, usize> {
    let mut at = start;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at > start { Ok(at) } else { Err(start) }
}

/// Returns the word at `at`: `true`, `false` or `null`.
#[inline]
pub fn word(bytes: &[u8], at: usize) -> Option<&'static str> {
    let rest = bytes.get(at..)?;
    let word = match rest.first()? {
        b't' => "true",
        b'f' => "false",
        b'n' => "null",
        _ => return None,
    };
    rest.starts_with(word.as_bytes()).then_some(word)
}

/// Returns the end of the string whose opening quotation mark is at `start`, without a check of its content; `None` if it is
/// not closed.
#[inline]
pub fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        let next = at + memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[next] == b'"' {
            return Some(next + 1);
        }
        at = next + 2;
    }
}

/// Returns the end of the container whose opening bracket is at `start`, without a check of its content; `None` if it is not
/// closed.
pub fn container_end(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Decodes the escape at the start of `bytes` and returns its length; `None` if it is not an escape of JSON.
pub fn unescape(bytes: &[u8]) -> Option<(Escape, usize)> {
    let c = match bytes.get(1)? {
        same @ (b'"' | b'\\' | b'/') => char::from(*same),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unescape_unit(bytes),
        _ => return None,
    };
    Some((Escape::Char(c), 2))
}

fn unescape_unit(bytes: &[u8]) -> Option<(Escape, usize)> {
    let first = unit(bytes)?;
    let second = bytes.get(6..).and_then(unit);
    Some(match char::decode_utf16([first].into_iter().chain(second)).next() {
        Some(Ok(c)) => (Escape::Char(c), 6 * c.len_utf16()),
        _ => (Escape::Surrogate(first), 6),
    })
}

/// Returns the code unit of the escape `\uXXXX` at the start of `bytes`.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.get(..6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
}

/// Returns the tokens of a text, without a check of their order. White space here is ASCII white space.
pub fn tokens(text: &str) -> Tokens<'_> {
    Tokens { text, at: 0 }
}

/// The iterator of [`tokens`]. A clone looks ahead.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let bytes = self.text.as_bytes();
        let start = self.at + bytes.get(self.at..)?.iter().position(|byte| !byte.is_ascii_whitespace())?;
        let (kind, end) = match bytes[start] {
            b'{' | b'[' => (Kind::Open, start + 1),
            b'}' | b']' => (Kind::Close, start + 1),
            b',' => (Kind::Comma, start + 1),
            b':' => (Kind::Colon, start + 1),
            b'"' => (Kind::String, string_end(bytes, start).unwrap_or(bytes.len())),
            _ => {
                let ends = |byte: &u8| byte.is_ascii_whitespace() || b"{}[],:\"".contains(byte);
                (Kind::Scalar, bytes[start..].iter().position(ends).map_or(bytes.len(), |length| start + length))
            }
        };
        self.at = end;
        Some(Token { kind, text: &self.text[start..end] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_decoded_with_their_length() {
        for (text, escape, length) in [
            (r#"\n"#, Escape::Char('\n'), 2),
            (r#"\/x"#, Escape::Char('/'), 2),
            (r#"\u00e9"#, Escape::Char('é'), 6),
            (r#"\ud83d\ude00"#, Escape::Char('😀'), 12),
            (r#"\ud83d\u0041"#, Escape::Surrogate(0xd83d), 6),
            (r#"\ude00\ud83d"#, Escape::Surrogate(0xde00), 6),
            (r#"\ud83d"#, Escape::Surrogate(0xd83d), 6),
        ] {
            assert_eq!(unescape(text.as_bytes()), Some((escape, length)), "{text}");
        }
        for text in ["\\", r#"\x"#, r#"\u12"#, r#"\u+123"#, r#"\U0041"#] {
            assert_eq!(unescape(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_string_problem_has_its_offset() {
        let problem = |text: &str| string(text.as_bytes(), 0, Controls::Reject).unwrap_err();
        assert_eq!(problem("\"a"), StringProblem::Unclosed);
        assert_eq!(problem("\"a\nb\""), StringProblem::Control(2));
        assert_eq!(problem(r#""ab\x""#), StringProblem::Escape(3));
        assert_eq!(problem("\"ab\\"), StringProblem::Escape(3));
        assert_eq!(problem(r#""ab\u12""#), StringProblem::Unit(3));
        assert_eq!(string(b"\"a\nb\"", 0, Controls::Accept), Ok(5));
    }

    #[test]
    fn ends_of_broken_text_are_not_found() {
        assert_eq!(string_end(br#"x"a\"b" "#, 1), Some(7));
        assert_eq!(container_end(br#"{"a":["}"]} "#, 0), Some(11));
        for text in [r#""a\"#, r#""a\""#, "\""] {
            assert_eq!(string_end(text.as_bytes(), 0), None, "{text}");
        }
        assert_eq!(container_end(br#"[{"a":1}"#, 0), None);
    }

    proptest! {
        #[test]
        fn tokens_contain_everything_except_white_space(text in "[\\[\\]{}\",: \n\u{c}0-9eé\\\\]{0,40}") {
            let all: String = tokens(&text).map(|token| token.text).collect();
            let outside = |text: &str| text.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>();
            prop_assert_eq!(outside(&all), outside(&text));
            let apart = |token: Token<'_>| token.kind == Kind::String || !token.text.contains(|c: char| c.is_ascii_whitespace());
            prop_assert!(tokens(&text).all(apart));
        }

        #[test]
        fn strings_and_numbers_agree_with_serde_json(text in "\"?[-0-9.eE+\\\\u\"an\u{1}é]{0,12}\"?") {
            let bytes = text.as_bytes();
            let found = match bytes.first() {
                Some(b'"') => string(bytes, 0, Controls::Reject) == Ok(bytes.len()),
                Some(b'-' | b'0'..=b'9') => number(bytes, 0) == Ok(bytes.len()),
                _ => false,
            };
            let raw = serde_json::from_str::<&serde_json::value::RawValue>(&text);
            prop_assert_eq!(found, raw.is_ok_and(|raw| raw.get().len() == text.len()), "{}", text);
        }
    }
}
