//! What carries a trace context in requests: members of `_meta` (MCP SEP-414) and HTTP headers of the same names (W3C Trace Context,
//! W3C Baggage). Pure.

use std::{collections::HashSet, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{NotATraceContext, TraceParent};
use crate::domain::{
    body::{self, Body},
    raw_object::RawObject,
};

/// The member, and the header, with the position in a trace.
pub const TRACEPARENT: &str = "traceparent";
/// The member, and the header, with what the systems on the way noted.
pub const TRACESTATE: &str = "tracestate";
/// The members of `_meta`, and headers, that carry a trace context.
pub const CARRIERS: [&str; 3] = [TRACEPARENT, TRACESTATE, "baggage"];

/// Members of `tracestate` at most (Trace Context, section 3.3.1.1).
const STATES: usize = 32;
/// Bytes of baggage that have to be passed on (Baggage, section 3.3.2). More is left out.
const BAGGAGE: usize = 8_192;

/// The notes of the systems on the way: a valid `tracestate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceState(Arc<str>);

impl TraceState {
    /// Returns the text of the header.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<TraceState> for String {
    fn from(state: TraceState) -> String {
        state.0.as_ref().to_owned()
    }
}

impl TryFrom<String> for TraceState {
    type Error = NotATraceContext;

    fn try_from(text: String) -> Result<TraceState, NotATraceContext> {
        text.parse()
    }
}

/// One to 32 members `key=value` with different keys (section 3.3.1); the keys of level 2, which include those of level 1.
impl FromStr for TraceState {
    type Err = NotATraceContext;

    fn from_str(text: &str) -> Result<TraceState, NotATraceContext> {
        let key = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let value = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b',' && byte != b'=';
        let is_key = |name: &str| {
            name.len() <= 256
                && name.as_bytes().first().is_some_and(|first| key(*first))
                && name.bytes().all(|b| key(b) || b"_-*/@".contains(&b))
        };
        let is_value = |text: &str| !text.is_empty() && text.len() <= 256 && text.bytes().all(value);
        let mut keys = HashSet::new();
        // Empty members are allowed.
        for member in text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty()) {
            let (name, value) = member.split_once('=').ok_or(NotATraceContext)?;
            if !is_key(name) || !is_value(value) || !keys.insert(name) {
                return Err(NotATraceContext);
            }
        }
        if keys.is_empty() || keys.len() > STATES { Err(NotATraceContext) } else { Ok(TraceState(text.into())) }
    }
}

/// Returns whether a text is baggage: members `key=value`, each with properties after a semicolon (Baggage, section 3.3.1).
fn is_baggage(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_member = |member: &str| {
        let name = member.split_once('=').map_or("", |(name, _)| name.trim());
        !name.is_empty() && name.bytes().all(token)
    };
    text.len() <= BAGGAGE && text.bytes().all(|byte| (0x20..0x7f).contains(&byte) || byte == b'\t') && text.split(',').all(is_member)
}

/// Returns the valid carriers among three values. `tracestate` without a valid `traceparent` is meaningless (section 4.3).
fn valid(values: [Option<String>; 3]) -> Vec<(&'static str, String)> {
    let [parent, state, baggage] = values;
    let parent = parent.filter(|text| text.parse::<TraceParent>().is_ok());
    let state = state.filter(|text| parent.is_some() && text.parse::<TraceState>().is_ok());
    let found = [parent, state, baggage.filter(|text| is_baggage(text))];
    CARRIERS.into_iter().zip(found).filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Returns the trace context in `_meta`, as headers. What is invalid is left out.
pub fn headers(meta: &Body) -> Vec<(&'static str, String)> {
    let Some(values) = body::fields(meta.bytes(), CARRIERS) else { return vec![] };
    valid(values.map(|raw: Option<&RawValue>| serde_json::from_str::<String>(raw?.get()).ok()))
}

/// Returns the position in a trace that `_meta` names.
pub fn parent_in(meta: &Body) -> Option<TraceParent> {
    headers(meta).into_iter().find(|(name, _)| *name == TRACEPARENT)?.1.parse().ok()
}

/// Returns the `tracestate` of the trace that `_meta` names.
pub fn state_in(meta: &Body) -> Option<TraceState> {
    headers(meta).into_iter().find(|(name, _)| *name == TRACESTATE)?.1.parse().ok()
}

/// Returns the members of `_meta` for the trace context in the headers of a request; empty if `meta` has a context of its own, or the
/// headers have none. `lines` returns the values of a header in order: `traceparent` occurs once, the others may be divided.
pub fn members_for(meta: &Body, lines: impl Fn(&str) -> Vec<String>) -> RawObject {
    if body::fields(meta.bytes(), CARRIERS).is_some_and(|values| values.iter().any(Option::is_some)) {
        return RawObject::default();
    }
    let [parent, state, baggage] = CARRIERS.map(|name| Some(lines(name)).filter(|lines| !lines.is_empty()));
    let single = |lines: Vec<String>| <[String; 1]>::try_from(lines).ok().map(|[line]| line);
    let joined = |lines: Vec<String>| lines.join(",");
    let values = [parent.and_then(single), state.map(joined), baggage.map(joined)];
    valid(values).into_iter().fold(RawObject::default(), |members, (name, value)| members.with(name, Body::json(&value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_tracestate_is_valid_or_left_out() {
        let many = |members: usize| (0..members).map(|n| format!("k{n}=v")).collect::<Vec<_>>().join(",");
        let long = |length: usize| format!("k={}", "v".repeat(length));
        for good in ["rojo=00f067aa0ba902b7", "a=1,b=2", "fw529a3039@dt=FfK!", "a= 1 , b=2,", "1a@b/c*d=x y", &many(32), &long(256)] {
            assert!(good.parse::<TraceState>().is_ok(), "{good}");
        }
        for bad in ["", ",", "a", "A=1", "a=1,a=2", "a=1=2", "=1", "a=", "é=1", "a=\u{7f}", "a=1\nb=2", &many(33), &long(257)] {
            assert!(bad.parse::<TraceState>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_context_of_meta_is_read_as_headers_without_what_is_invalid() {
        let meta = |members: &str| Body::from(format!("{{{members}}}"));
        let all = meta(&format!(r#""traceparent":"{PARENT}","baggage":"a=b;p","tracestate":"x=y","z":1"#));
        let expected = [("traceparent", PARENT.to_owned()), ("tracestate", "x=y".to_owned()), ("baggage", "a=b;p".to_owned())];
        assert_eq!(headers(&all), expected);
        assert_eq!((parent_in(&all), state_in(&all)), (PARENT.parse().ok(), "x=y".parse().ok()));
        assert_eq!(headers(&meta(&format!(r#""traceparent":"{PARENT}","tracestate":3"#))), expected[..1]);
        assert_eq!(headers(&meta(r#""traceparent":"00-x","tracestate":"x=y","baggage":"a=b;p""#)), expected[2..]);
        for bad in [r#""baggage":"a=b\r\nevil: 1""#, r#""baggage":"a""#, r#""baggage":"""#, r#""tracestate":"x=y""#, ""] {
            assert_eq!(headers(&meta(bad)), [], "{bad}");
        }
        assert_eq!((headers(&Body::default()), parent_in(&Body::default())), (vec![], None));
    }

    #[test]
    fn headers_count_only_if_meta_has_no_context() {
        let found = |meta: &str, lines: &[(&str, &str)]| {
            let of = |name: &str| lines.iter().filter(|(known, _)| *known == name).map(|(_, line)| (*line).to_owned()).collect();
            members_for(&Body::from(meta), of).to_body().text().into_owned()
        };
        let lines = [(TRACEPARENT, PARENT), (TRACESTATE, "a=1"), (TRACESTATE, "b=2"), ("baggage", "k=v")];
        let all = format!(r#"{{"traceparent":"{PARENT}","tracestate":"a=1,b=2","baggage":"k=v"}}"#);
        for (meta, expected) in
            [("", all.as_str()), (r#"{"x":1}"#, &all), (r#"{"baggage":"own=1"}"#, "{}"), (r#"{"traceparent":null}"#, "{}")]
        {
            assert_eq!(found(meta, &lines), expected, "{meta}");
        }
        assert_eq!(found("", &[(TRACEPARENT, PARENT), (TRACEPARENT, PARENT), (TRACESTATE, "a=1")]), "{}");
        assert_eq!(found("", &[(TRACEPARENT, "00-0"), ("baggage", "k=v")]), r#"{"baggage":"k=v"}"#);
        assert_eq!(found("", &[]), "{}");
    }
}
