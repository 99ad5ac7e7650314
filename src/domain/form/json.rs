//! JSON values with their original text: keeps the digits of numbers, the order of keys, and duplicate keys.
//!
//! Used by forms, the editor and workflow expressions; elsewhere bodies stay raw.

use std::{fmt, fmt::Write};

/// Maximum nesting depth of a document.
const DEPTH: usize = 120;

/// A JSON value that keeps numbers as text.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(String),
    /// A string, decoded.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object with its members in order, including duplicates.
    Object(Vec<(String, Json)>),
    /// Raw text of a value that the other variants cannot represent: a string with a lone surrogate, or an object
    /// with such a key.
    Raw(String),
}

/// A JSON syntax error with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Byte offset, from 0.
    pub offset: usize,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The message.
    pub message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl Json {
    /// Parses JSON text (RFC 8259).
    pub fn parse(text: &str) -> Result<Json, SyntaxError> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.document().map_err(|(offset, message)| place(text, offset, message))?;
        Ok(value)
    }

    /// Returns compact JSON text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(text) | Json::Raw(text) => out.push_str(text),
            Json::String(text) => quote(text, out),
            Json::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    item.write(out);
                }
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    quote(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// Returns a member of an object; of duplicates the last, as parsers do.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Returns the number of values including nested ones, counted up to `most`.
    pub fn size(&self, most: usize) -> usize {
        let parts = self.items().iter().chain(self.members().iter().map(|(_, value)| value));
        let mut count = 1;
        for part in parts {
            if count >= most {
                break;
            }
            count += part.size(most - count);
        }
        count
    }

    /// Returns the members of an object; empty for other values.
    pub fn members(&self) -> &[(String, Json)] {
        match self {
            Json::Object(members) => members,
            _ => &[],
        }
    }

    /// Returns the items of an array; empty for other values.
    pub fn items(&self) -> &[Json] {
        match self {
            Json::Array(items) => items,
            _ => &[],
        }
    }

    /// Returns the text of a string.
    pub fn str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns whether two values are equal: numbers by value, keys in any order.
    pub fn same(&self, other: &Json) -> bool {
        match (self, other) {
            (Json::Number(a), Json::Number(b)) => {
                a == b || (a.len() < 16 && b.len() < 16 && a.parse::<f64>().ok() == b.parse::<f64>().ok())
            }
            (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Json::Object(a), Json::Object(b)) => {
                self == other || a.len() == b.len() && a.iter().all(|(key, value)| other.get(key).is_some_and(|theirs| value.same(theirs)))
            }
            _ => self == other,
        }
    }
}

/// Returns whether `text` is a JSON number.
pub fn is_number(text: &str) -> bool {
    let mut parser = Parser { text, at: 0 };
    matches!(text.as_bytes().first(), Some(b'-' | b'0'..=b'9')) && parser.number().is_ok() && parser.at == text.len()
}

/// Appends `text` as a JSON string.
pub fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => escape(c, out),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends `c` as `\uXXXX`, as a surrogate pair if necessary.
pub fn escape(c: char, out: &mut String) {
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

/// Formats JSON text over several lines, two spaces per level. Numbers and strings stay as written; short arrays of
/// scalars stay on one line.
pub fn pretty(text: &str) -> Result<String, SyntaxError> {
    Json::parse(text)?;
    let bytes = text.as_bytes();
    let (mut out, mut depth, mut at) = (String::with_capacity(text.len() * 2), 0usize, 0usize);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        (0..depth).for_each(|_| out.push_str("  "));
    };
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let end = string_end(bytes, at);
                out.push_str(&text[at..end]);
                at = end;
                continue;
            }
            open @ (b'{' | b'[') => {
                if let Some(short) = one_line(text, at) {
                    out.push_str(&short.0);
                    at = short.1;
                    continue;
                }
                out.push(open as char);
                depth += 1;
                line(&mut out, depth);
            }
            close @ (b'}' | b']') => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(close as char);
            }
            b',' => {
                out.push(',');
                line(&mut out, depth);
            }
            b':' => out.push_str(": "),
            b' ' | b'\n' | b'\r' | b'\t' => {}
            other => out.push(other as char),
        }
        at += 1;
    }
    Ok(out)
}

/// Returns an empty container, or an array of scalars of at most 60 bytes, as one line, with its end.
fn one_line(text: &str, start: usize) -> Option<(String, usize)> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (String::new(), start);
    while at < bytes.len() && out.len() <= 60 {
        match bytes[at] {
            b'"' => {
                let end = string_end(bytes, at);
                out.push_str(&text[at..end]);
                at = end;
                continue;
            }
            b']' | b'}' => {
                out.push(bytes[at] as char);
                let fits = out.len() <= 60 && (bytes[start] == b'[' || out == "{}");
                return fits.then_some((out, at + 1));
            }
            b'[' | b'{' if at != start => return None,
            b',' => out.push_str(", "),
            b' ' | b'\n' | b'\r' | b'\t' => {}
            other => out.push(other as char),
        }
        at += 1;
    }
    None
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn place(text: &str, offset: usize, message: String) -> SyntaxError {
    let offset = offset.min(text.len());
    let before = &text.as_bytes()[..offset];
    let start = memchr::memrchr(b'\n', before).map_or(0, |n| n + 1);
    SyntaxError {
        offset,
        line: 1 + memchr::memchr_iter(b'\n', before).count(),
        column: 1 + String::from_utf8_lossy(&before[start..]).chars().count(),
        message,
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

type Step<T> = Result<T, (usize, String)>;

impl Parser<'_> {
    fn document(&mut self) -> Step<Json> {
        let value = self.value(0)?;
        match self.peek() {
            None => Ok(value),
            Some(_) => self.fail("unexpected text after the value"),
        }
    }

    fn fail<T>(&self, message: &str) -> Step<T> {
        Err((self.at, message.to_owned()))
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Returns the next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        self.byte()
    }

    fn value(&mut self, depth: usize) -> Step<Json> {
        if depth > DEPTH {
            return self.fail("nested too deeply");
        }
        match self.peek() {
            None => self.fail("expected a value, found the end of the text"),
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => {
                let start = self.at;
                Ok(self.string()?.map_or_else(|| Json::Raw(self.text[start..self.at].to_owned()), Json::String))
            }
            Some(b'-' | b'0'..=b'9') => {
                let start = self.at;
                self.number()?;
                Ok(Json::Number(self.text[start..self.at].to_owned()))
            }
            Some(_) => self.word(),
        }
    }

    fn word(&mut self) -> Step<Json> {
        for (word, value) in [("true", Json::Bool(true)), ("false", Json::Bool(false)), ("null", Json::Null)] {
            if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        self.fail("not a JSON value; text needs double quotes")
    }

    fn object(&mut self, depth: usize) -> Step<Json> {
        let start = self.at;
        let (mut members, mut lone) = (vec![], false);
        self.at += 1;
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            match self.peek() {
                Some(b'"') => {}
                Some(b'}') => return self.fail("unexpected comma before the closing brace"),
                _ => return self.fail("expected a key in double quotes"),
            }
            let key = self.string()?;
            if self.peek() != Some(b':') {
                return self.fail("expected a colon after the key");
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            match key {
                Some(key) => members.push((key, value)),
                None => lone = true,
            }
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break self.at += 1,
                None => return self.fail("the object is not closed"),
                Some(_) => return self.fail("expected a comma or a closing brace"),
            }
        }
        Ok(if lone { Json::Raw(self.text[start..self.at].to_owned()) } else { Json::Object(members) })
    }

    fn array(&mut self, depth: usize) -> Step<Json> {
        let mut items = vec![];
        self.at += 1;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            if self.peek() == Some(b']') {
                return self.fail("unexpected comma before the closing bracket");
            }
            items.push(self.value(depth + 1)?);
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break self.at += 1,
                None => return self.fail("the array is not closed"),
                Some(_) => return self.fail("expected a comma or a closing bracket"),
            }
        }
        Ok(Json::Array(items))
    }

    fn digits(&mut self) -> Step<()> {
        let start = self.at;
        while self.byte().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.fail("expected a digit") } else { Ok(()) }
    }

    fn number(&mut self) -> Step<()> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Parses a string; returns `None` if it contains a lone surrogate.
    fn string(&mut self) -> Step<Option<String>> {
        let (mut out, mut lone) = (String::new(), false);
        let open = self.at;
        self.at += 1;
        loop {
            let start = self.at;
            while self.byte().is_some_and(|b| b >= 0x20 && b != b'"' && b != b'\\') {
                self.at += 1;
            }
            out.push_str(&self.text[start..self.at]);
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok((!lone).then_some(out));
                }
                Some(b'\\') => match self.escaped()? {
                    Some(c) => out.push(c),
                    None => lone = true,
                },
                Some(b'\n') => return self.fail("line end inside a string; write it as \\n"),
                Some(_) => return self.fail("control character inside a string"),
                None => return Err((open, "the string is not closed".into())),
            }
        }
    }

    fn escaped(&mut self) -> Step<Option<char>> {
        self.at += 2;
        let c = match self.text.as_bytes().get(self.at - 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unit_pair(),
            _ => {
                self.at -= 2;
                return self.fail("invalid escape sequence");
            }
        };
        Ok(Some(c))
    }

    fn unit_pair(&mut self) -> Step<Option<char>> {
        let high = self.unit()?;
        if !(0xd800..0xe000).contains(&high) {
            return Ok(char::from_u32(high));
        }
        let mark = self.at;
        if high < 0xdc00 && self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let low = self.unit()?;
            if (0xdc00..0xe000).contains(&low) {
                return Ok(char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)));
            }
            self.at = mark;
        }
        Ok(None)
    }

    fn unit(&mut self) -> Step<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).filter(|d| d.iter().all(u8::is_ascii_hexdigit));
        let Some(unit) = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u32::from_str_radix(d, 16).ok()) else {
            return self.fail("expected four hexadecimal digits after \\u");
        };
        self.at += 4;
        Ok(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_round_trip_without_loss() {
        for text in [r#"{"b":1.0,"a":12345678901234567890123,"b":-0e5}"#, r#"["\ud800",{"\udc00x":1},"é","\\"]"#, r#"{"a":[],"b":{}}"#] {
            assert_eq!(Json::parse(text).unwrap().text(), text);
        }
        assert_eq!(Json::parse(r#""\ud83d\ude00\u00e9""#).unwrap(), Json::String("😀é".into()));
    }

    #[test]
    fn an_error_names_line_and_column() {
        let error = Json::parse("{\n  \"ä\": tru\n}").unwrap_err();
        assert_eq!((error.line, error.column), (2, 8), "{error}");
        for bad in ["", "{", "[1,]", "{\"a\":1,}", "01", "1.", "\"a", "{a:1}", "\"\\x\"", "\"\\u12\"", "1 2", "tru", "\"\n\"", "[é"] {
            assert!(Json::parse(bad).is_err(), "{bad}");
        }
        assert!(Json::parse(&"[".repeat(5000)).is_err());
    }

    #[test]
    fn accepts_the_same_texts_as_serde_json() {
        use proptest::prelude::*;
        proptest!(|(text in "[\\[\\]{}\",:0-9eE+.tfnul \\\\-]{0,12}")| {
            prop_assert_eq!(Json::parse(&text).is_ok(), serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok(), "{}", text);
        });
    }

    #[test]
    fn pretty_keeps_tokens() {
        let text = r#"{"a":[1.0, 2],"b":{"c":"x,\"{y}"},"d":{},"e":[{"f":1}]}"#;
        insta::assert_snapshot!(pretty(text).unwrap(), @r#"
        {
          "a": [1.0, 2],
          "b": {
            "c": "x,\"{y}"
          },
          "d": {},
          "e": [
            {
              "f": 1
            }
          ]
        }
        "#);
    }

    #[test]
    fn numbers_are_distinguished_from_other_text() {
        assert!(["0", "-1", "1e9", "1.50", "123456789012345678901234567890"].into_iter().all(is_number));
        assert!(!["", "+1", ".5", "1.", "0x1", "NaN", "1 ", "01"].into_iter().any(is_number));
    }
}
