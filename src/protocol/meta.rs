//! The `_meta` object of requests and notifications, and the one place that adds to it.

pub use crate::domain::request_meta::{CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, PROGRESS_TOKEN, VERSION};
use crate::domain::{
    body::{self, Body},
    raw_object::RawObject,
};

/// The id of the subscription that a notification belongs to (MCP 2026-07-28, basic/patterns/subscriptions).
pub const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// The name and version of the server, in results.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// The members of a `_meta` object.
pub type Meta = RawObject;

/// Appends `params` to `text`, with `meta` in its `_meta`. Members that `params` already has win, and all bytes of `params`
/// outside of `_meta` stay. Appends only `params` if that is not an object: `_meta` is a member of objects.
pub fn write_params(params: &Body, meta: &Meta, text: &mut Vec<u8>) {
    let plain = params.bytes().trim_ascii();
    if meta.is_empty() {
        return text.extend_from_slice(plain);
    }
    if plain.is_empty() {
        text.extend_from_slice(b"{\"_meta\":");
        meta.write(text);
        return text.push(b'}');
    }
    match body::fields(plain, ["_meta"]) {
        None => text.extend_from_slice(plain),
        Some([None]) => {
            let inner = plain.strip_suffix(b"}").unwrap_or(plain).trim_ascii_end();
            text.extend_from_slice(inner);
            text.extend_from_slice(if inner.ends_with(b"{") { b"\"_meta\":" } else { b",\"_meta\":" });
            meta.write(text);
            text.push(b'}');
        }
        Some([Some(own)]) => {
            let at = own.get().as_ptr() as usize - plain.as_ptr() as usize;
            text.extend_from_slice(&plain[..at]);
            // A value that is not an object is replaced.
            let own_meta = Meta::parse(&params.slice_of(own.get().as_bytes())).unwrap_or_default();
            own_meta.or(meta.clone()).write(text);
            text.extend_from_slice(&plain[at + own.get().len()..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_join_those_of_the_request_and_every_other_byte_stays() {
        let written = |meta: &Meta, params: &str| {
            let mut text = vec![];
            write_params(&Body::from(params), meta, &mut text);
            String::from_utf8(text).unwrap()
        };
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
}
