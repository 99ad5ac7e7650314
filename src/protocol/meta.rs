//! The `_meta` object of requests and notifications: its reserved members, and the one place that adds to it.
//!
//! Values stay raw JSON text, so members that this program does not know, and the text of numbers, pass through unchanged.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::domain::body::{self, Body};

/// The token of progress notifications (MCP 2025-11-25, basic/utilities/progress).
pub const PROGRESS_TOKEN: &str = "progressToken";
/// The protocol version (MCP 2026-07-28, basic, "Request metadata").
pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// The name and version of the client.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// The capabilities of the client.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The least severe log messages that the server should send.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// The name and version of the server, in results.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// A `_meta` object: names in order, each with its value as JSON text. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    members: Vec<(Cow<'static, str>, Body)>,
}

impl Meta {
    /// Reads a JSON object; `None` if `json` is something else.
    pub fn parse(json: &Body) -> Option<Meta> {
        let raw = |value: &RawValue| json.slice_of(value.get().as_bytes());
        let members = body::object(json.bytes())?.into_iter().map(|(name, value)| (Cow::Owned(name.into_owned()), raw(value)));
        Some(Meta { members: members.collect() })
    }

    /// Adds a member or replaces its value.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: Body) {
        let name = name.into();
        self.members.retain(|(present, _)| *present != name);
        self.members.push((name, value));
    }

    /// Returns the object with one more member.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: Body) -> Meta {
        self.set(name, value);
        self
    }

    /// Adds the members of `other` that are missing here.
    #[must_use]
    pub fn or(mut self, other: Meta) -> Meta {
        let own = self.members.len();
        for (name, value) in other.members {
            if self.members[..own].iter().all(|(present, _)| *present != name) {
                self.members.push((name, value));
            }
        }
        self
    }

    /// Returns the value of a member. Of duplicate names the last one counts.
    pub fn get(&self, name: &str) -> Option<&Body> {
        self.members.iter().rev().find(|(present, _)| present == name).map(|(_, value)| value)
    }

    /// Returns whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Appends `params` with these members in `_meta`. Members that `params` already has win, and all bytes of `params`
    /// outside of `_meta` stay. Appends only `params` if that is not an object: `_meta` is a member of objects.
    pub fn write_into(&self, params: &Body, text: &mut Vec<u8>) {
        let plain = params.bytes().trim_ascii();
        if self.is_empty() {
            return text.extend_from_slice(plain);
        }
        if plain.is_empty() {
            text.extend_from_slice(b"{\"_meta\":");
            self.write(text);
            return text.push(b'}');
        }
        match body::fields(plain, ["_meta"]) {
            None => text.extend_from_slice(plain),
            Some([None]) => {
                let inner = plain.strip_suffix(b"}").unwrap_or(plain).trim_ascii_end();
                text.extend_from_slice(inner);
                text.extend_from_slice(if inner.ends_with(b"{") { b"\"_meta\":" } else { b",\"_meta\":" });
                self.write(text);
                text.push(b'}');
            }
            Some([Some(own)]) => {
                let at = own.get().as_ptr() as usize - plain.as_ptr() as usize;
                text.extend_from_slice(&plain[..at]);
                // A value that is not an object is replaced.
                let own_meta = Meta::parse(&params.slice_of(own.get().as_bytes())).unwrap_or_default();
                own_meta.or(self.clone()).write(text);
                text.extend_from_slice(&plain[at + own.get().len()..]);
            }
        }
    }

    /// Appends the object as JSON text.
    fn write(&self, text: &mut Vec<u8>) {
        text.push(b'{');
        for (at, (name, value)) in self.members.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            text.extend_from_slice(Body::json(&**name).bytes());
            text.push(b':');
            text.extend_from_slice(value.bytes());
        }
        text.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(meta: &Meta, params: &str) -> String {
        let mut text = vec![];
        meta.write_into(&Body::from(params), &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn members_join_those_of_the_request_and_every_other_byte_stays() {
        let meta = Meta::default().with("a", Body::from("1")).with("b", Body::from(r#"{"n":1.0}"#));
        for (params, expected) in [
            ("", r#"{"_meta":{"a":1,"b":{"n":1.0}}}"#),
            ("{ }", r#"{"_meta":{"a":1,"b":{"n":1.0}}}"#),
            (r#"{"x": 1.50}"#, r#"{"x": 1.50,"_meta":{"a":1,"b":{"n":1.0}}}"#),
            (r#"{"_meta": {"b":1e400,"z":[1.00]} ,"x": 2}"#, r#"{"_meta": {"b":1e400,"z":[1.00],"a":1} ,"x": 2}"#),
            (r#"{"_meta":null,"x":"\ud800"}"#, r#"{"_meta":{"a":1,"b":{"n":1.0}},"x":"\ud800"}"#),
            ("[1]", "[1]"),
        ] {
            assert_eq!(written(&meta, params), expected, "{params}");
        }
        assert_eq!(written(&Meta::default(), r#" {"x":1} "#), r#"{"x":1}"#);
    }

    #[test]
    fn unknown_members_keep_names_order_and_the_text_of_their_values() {
        let raw = r#"{"vendor/x":{"b":1.00,"a":12345678901234567890123},"grün \"q\"":[ 1 ],"progressToken":"t"}"#;
        let meta = Meta::parse(&Body::from(raw)).unwrap();
        assert_eq!(written(&meta, ""), format!(r#"{{"_meta":{raw}}}"#));
        assert_eq!(meta.get(PROGRESS_TOKEN).map(Body::text).as_deref(), Some(r#""t""#));
        assert_eq!(Meta::parse(&Body::from("[]")), None);
        let session = Meta::default().with(PROGRESS_TOKEN, Body::from("7"));
        assert_eq!(session.or(meta).get(PROGRESS_TOKEN).map(Body::text).as_deref(), Some("7"));
    }
}
