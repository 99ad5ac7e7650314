//! `_meta` of requests: the members that belong to Switchboard, and those that a face adds. Pure.

use serde_json::value::RawValue;
use thiserror::Error;

use super::{
    body::{self, Body},
    raw_object::RawObject,
};

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

/// The members that Switchboard sets. Another value would break progress or describe another client.
const OWN: [&str; 5] = [PROGRESS_TOKEN, VERSION, CLIENT_INFO, CLIENT_CAPABILITIES, LOG_LEVEL];

/// Why members cannot be added to `_meta`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MetaError {
    /// The text is not a JSON object.
    #[error("is not a JSON object: {0}")]
    NotAnObject(String),
    /// Switchboard sets this member.
    #[error("sets {0:?}, which Switchboard sets itself")]
    Own(&'static str),
}

/// Checks members to add to `_meta`: a JSON object, whose text stays.
pub fn parse(text: &str) -> Result<Body, MetaError> {
    let text = text.trim();
    let wrong = |why: String| MetaError::NotAnObject(why);
    let raw = RawValue::from_string(text.to_owned()).map_err(|error| wrong(error.to_string()))?;
    let members = body::object(raw.get().as_bytes()).ok_or_else(|| wrong("another type of value".into()))?;
    match OWN.into_iter().find(|own| members.iter().any(|(name, _)| name == own)) {
        Some(own) => Err(MetaError::Own(own)),
        None => Ok(Body::from(text)),
    }
}

/// Returns members to add to `_meta` without those that Switchboard sets; empty if none is left or `meta` is not a JSON object.
pub fn without_own(meta: &Body) -> Body {
    let members = RawObject::parse(meta).unwrap_or_default();
    let rest = OWN.into_iter().fold(members, |members, own| members.without(own));
    if rest.is_empty() { Body::default() } else { rest.to_body() }
}

/// Checks `_meta` in the parameters of a raw request, if there is one.
pub fn check_params(params: &Body) -> Result<(), MetaError> {
    match body::fields(params.bytes(), ["_meta"]) {
        Some([Some(meta)]) => parse(meta.get()).map(drop),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_others_stay_and_our_own_are_refused_by_name() {
        let text = r#"{"traceparent":"00-0af7","com.example/n":1.00}"#;
        assert_eq!(parse(&format!(" {text}\n")).map(|meta| meta.text().into_owned()), Ok(text.to_owned()));
        assert_eq!(parse("{}").map(|meta| meta.text().into_owned()), Ok("{}".to_owned()));
        for own in OWN {
            let text = serde_json::json!({"a": 1, own: null}).to_string();
            assert_eq!(parse(&text), Err(MetaError::Own(own)));
            let params = Body::from(format!("{{\"x\":1,\"_meta\":{text}}}"));
            assert_eq!(check_params(&params), Err(MetaError::Own(own)));
        }
        // The same name with an escape.
        assert_eq!(parse(r#"{"progress\u0054oken":1}"#), Err(MetaError::Own(PROGRESS_TOKEN)));
        for text in ["", "[]", "1", "null", "{", "{\"a\":1} x"] {
            assert!(matches!(parse(text), Err(MetaError::NotAnObject(_))), "{text}");
        }
        for params in ["", "[1]", "{}", r#"{"_meta":{"a":1}}"#] {
            assert_eq!(check_params(&Body::from(params)), Ok(()), "{params}");
        }
    }
}
