//! JSON values with their original text: keeps the digits of numbers, the order of keys, and duplicate keys.
//!
//! Elsewhere bodies stay raw.

use std::{fmt, fmt::Write};

use super::token::{self, Controls, Escape, StringProblem};

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
    token::number(text.as_bytes(), 0) == Ok(text.len())
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

    /// Returns the next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        self.at = token::skip_white(self.text.as_bytes(), self.at);
        self.text.as_bytes().get(self.at).copied()
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
                let end = token::number(self.text.as_bytes(), start).map_err(|at| (at, "expected a digit".to_owned()))?;
                self.at = end;
                Ok(Json::Number(self.text[start..end].to_owned()))
            }
            Some(_) => self.word(),
        }
    }

    fn word(&mut self) -> Step<Json> {
        let Some(word) = token::word(self.text.as_bytes(), self.at) else {
            return self.fail("not a JSON value; text needs double quotes");
        };
        self.at += word.len();
        Ok(match word {
            "null" => Json::Null,
            word => Json::Bool(word == "true"),
        })
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

    /// Parses a string; returns `None` if it contains a lone surrogate.
    fn string(&mut self) -> Step<Option<String>> {
        let start = self.at;
        let end = token::string(self.text.as_bytes(), start, Controls::Reject).map_err(|problem| match problem {
            StringProblem::Unclosed => (start, "the string is not closed".to_owned()),
            StringProblem::Control(at) if self.text.as_bytes()[at] == b'\n' => (at, "line end inside a string; write it as \\n".to_owned()),
            StringProblem::Control(at) => (at, "control character inside a string".to_owned()),
            StringProblem::Escape(at) => (at, "invalid escape sequence".to_owned()),
            StringProblem::Unit(at) => (at + 2, "expected four hexadecimal digits after \\u".to_owned()),
        })?;
        self.at = end;
        Ok(decode(&self.text[start + 1..end - 1]))
    }
}

/// Decodes the inner part of a valid string; `None` if it contains a lone surrogate.
fn decode(inner: &str) -> Option<String> {
    let (mut out, mut rest) = (String::with_capacity(inner.len()), inner);
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let (Escape::Char(c), length) = token::unescape(&rest.as_bytes()[at..])? else { return None };
        out.push(c);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    Some(out)
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
    fn numbers_are_distinguished_from_other_text() {
        assert!(["0", "-1", "1e9", "1.50", "123456789012345678901234567890"].into_iter().all(is_number));
        assert!(!["", "+1", ".5", "1.", "0x1", "NaN", "1 ", "01"].into_iter().any(is_number));
    }
}
