//! JSON of command lines and printers: objects built from arguments, and escapes of what a terminal must not receive.
//!
//! Works on text, because `serde_json::Value` would round large numbers.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::domain::{
    json::{self, compact},
    text::is_hidden,
};

/// Returns the JSON with terminal control characters and invisible characters written as `\uXXXX`.
///
/// They occur only inside strings, where the escape has the same meaning.
pub fn escape_hidden(text: &str) -> String {
    escape(text, |c| is_hidden(c) && c != '\n')
}

/// Returns the JSON with DEL and C1 controls (U+007F to U+009F), which JSON allows in strings, written as `\uXXXX`. The
/// value is the same.
///
/// For output that another program reads: a terminal can be the end of the pipe.
pub fn escape_controls(text: &str) -> String {
    escape(text, |c| matches!(c, '\u{7f}'..='\u{9f}'))
}

fn escape(text: &str, wanted: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if wanted(c) { json::escape(c, &mut out) } else { out.push(c) }
    }
    out
}

/// A JSON object under construction; unparsed parts are preserved.
#[derive(Debug)]
pub enum Node {
    /// Any JSON.
    Raw(Box<RawValue>),
    /// An object, its fields in order.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Sets `value` at `path`, creating objects as needed.
    ///
    /// Fails with the part of the path that is not an object.
    pub fn set(&mut self, path: &[String], value: Box<RawValue>) -> Result<(), String> {
        let Some((key, rest)) = path.split_first() else {
            *self = Node::Raw(value);
            return Ok(());
        };
        if let Node::Raw(raw) = self {
            let fields = fields(raw.get()).map_err(|_| key.clone())?;
            *self = Node::Object(fields.into_iter().map(|(k, v)| (k, Node::Raw(v))).collect());
        }
        let Node::Object(fields) = self else { return Err(key.clone()) };
        match fields.iter_mut().position(|(k, _)| k == key) {
            Some(at) => fields.get_mut(at).map_or(Ok(()), |(_, node)| node.set(rest, value)),
            None => {
                let mut node = if rest.is_empty() { Node::Raw(value.clone()) } else { Node::Object(vec![]) };
                node.set(rest, value)?;
                fields.push((key.clone(), node));
                Ok(())
            }
        }
    }

    /// Returns the JSON text in one line.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Node::Raw(raw) => out.push_str(&compact(raw.get())),
            Node::Object(fields) => {
                out.push('{');
                for (index, (key, node)) in fields.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(&string(key));
                    out.push(':');
                    node.write(out);
                }
                out.push('}');
            }
        }
    }
}

/// Returns `text` as a JSON string with quotes.
pub fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns the fields of a JSON object in order, with unchanged values.
pub fn fields(text: &str) -> Result<Vec<(String, Box<RawValue>)>, serde_json::Error> {
    struct Fields;
    impl<'de> Visitor<'de> for Fields {
        type Value = Vec<(String, Box<RawValue>)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some(field) = map.next_entry()? {
                fields.push(field);
            }
            Ok(fields)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let fields = deserializer.deserialize_map(Fields)?;
    deserializer.end()?;
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pipe_gets_no_control_character_and_the_same_value() {
        let evil: String = (0x7f..=0x9fu32).filter_map(char::from_u32).collect();
        for text in [serde_json::json!({ &evil: [&evil, "plain ü 日本 👩"] }).to_string(), format!("{{\t\"a\"\r\n: \"{evil}\"}}")] {
            let escaped = escape_controls(&text);
            assert!(!escaped.chars().any(|c| evil.contains(c)), "{escaped}");
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(value(&escaped), value(&text));
        }
        assert_eq!(escape_controls("\"\u{9b}\""), r#""\u009b""#);
    }

    #[test]
    fn hidden_characters_become_escapes_of_the_same_meaning() {
        let text = "{\"a\u{202e}\":\"\u{9b}\u{e0041}ü\"}";
        let escaped = escape_hidden(text);
        assert_eq!(escaped, "{\"a\\u202e\":\"\\u009b\\udb40\\udc41ü\"}");
        let (a, b): (serde_json::Value, serde_json::Value) = (serde_json::from_str(text).unwrap(), serde_json::from_str(&escaped).unwrap());
        assert_eq!(a, b);
    }

    #[test]
    fn paths_extend_an_object_given_as_json() {
        let raw = |text: &str| RawValue::from_string(text.into()).unwrap();
        let mut node = Node::Raw(raw(r#"{"a": {"x": 1.00, "y": 2}, "n": 3}"#));
        node.set(&["a".into(), "y".into()], raw("9")).unwrap();
        node.set(&["a".into(), "z".into(), "deep".into()], raw("true")).unwrap();
        assert_eq!(node.text(), r#"{"a":{"x":1.00,"y":9,"z":{"deep":true}},"n":3}"#);
        assert_eq!(node.set(&["n".into(), "x".into()], raw("1")), Err("x".into()));
    }

    proptest! {
        #[test]
        fn escapes_never_change_meaning(keys in proptest::collection::vec(".*", 0..5), n in any::<i64>()) {
            let value = serde_json::json!({"k": keys, "n": n, "o": {"e": {}, "l": [[], [n]]}});
            for text in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
                for out in [escape_hidden(&text), escape_controls(&text)] {
                    prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&out).unwrap(), &value);
                }
            }
        }
    }
}
