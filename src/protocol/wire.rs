//! JSON-RPC 2.0 on the wire: parses messages without changing a byte, and salvages invalid ones.
//!
//! Pure functions over bytes, used by every transport. Results stay raw: they are slices of the frame.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use super::meta::{self, Meta};
use crate::domain::{
    body::Body,
    bounds,
    call::RpcError,
    frame::AnomalyKind,
    json::token::{Escape, string_end, unescape},
};

/// A JSON-RPC message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A request.
    Request {
        /// Its id, JSON text.
        id: Arc<str>,
        /// The method.
        method: Arc<str>,
        /// `params`, empty when absent.
        params: Body,
    },
    /// A notification.
    Notification {
        /// The method.
        method: Arc<str>,
        /// `params`, empty when absent.
        params: Body,
    },
    /// A response.
    Response {
        /// The id as JSON text.
        id: Arc<str>,
        /// The `result`, or the error.
        answer: Result<Body, RpcError>,
    },
}

/// The result of parsing.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// A message.
    Message(Message),
    /// A batch array: its first [`BATCH_MEMBERS`] members and the number of further ones.
    Batch(Vec<Body>, usize),
    /// Invalid input.
    Bad(Bad),
}

/// Why input is invalid, and which request it seems to answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Bad {
    /// The kind of fault.
    pub kind: AnomalyKind,
    /// The details for the user.
    pub detail: String,
    /// The salvaged id, as JSON text.
    pub id: Option<Arc<str>>,
    /// What it seems to be, if it has no id.
    pub seems: Seems,
}

/// What invalid input seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seems {
    /// Not a response.
    Nothing,
    /// The response to some request.
    Answer,
    /// An error with this code that names no request.
    Error(i64),
}

/// Maximum number of batch members that are read. The rest are counted: a line of 15 MB could hold millions.
pub const BATCH_MEMBERS: usize = 10_000;

/// The members of a batch array that are read.
struct Members<'a> {
    first: Vec<&'a RawValue>,
    rest: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a batch array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members { first: vec![], rest: 0 };
                while members.first.len() < BATCH_MEMBERS {
                    match seq.next_element()? {
                        Some(member) => members.first.push(member),
                        None => return Ok(members),
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    members.rest += 1;
                }
                Ok(members)
            }
        }
        deserializer.deserialize_seq(Reader)
    }
}

/// The parse error code (JSON-RPC 2.0, section 5.1).
pub const PARSE_ERROR: i64 = -32700;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Text<'a>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

/// A text that is borrowed where it holds no escape; within an `Option`, `Cow` alone would always be owned.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// An id or a method, cut a little over `limit` so that it is recognised as too long.
fn shared(text: &str, limit: usize) -> Arc<str> {
    bounds::cut(text, limit + 64).into()
}

#[derive(Deserialize)]
struct WireError<'a> {
    #[serde(borrow, default)]
    code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
}

/// Reads a member that is present. `null` is a value of `data` like any other, and the gateway passes it on.
fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

impl WireError<'_> {
    /// Returns the code, also if it is written as a string.
    fn code(&self) -> Option<i64> {
        self.code?.get().trim_matches('"').parse().ok()
    }

    /// Returns the error, if it has an integer as its code or a string as its message. Some servers write a fraction as the code,
    /// or null or an object as the message: what they say is not lost.
    fn read(&self, raw: impl Fn(&RawValue) -> Body) -> Option<RpcError> {
        let text = self.message.and_then(|message| serde_json::from_str::<String>(message.get()).ok());
        let code = self.code();
        if code.is_none() && text.is_none() {
            return None;
        }
        let other = || self.message.map(RawValue::get).filter(|json| *json != "null").map(shorten);
        let mut message = text.or_else(other).unwrap_or_default();
        if code.is_none() {
            message.push_str(&match self.code {
                Some(odd) => format!(" (its code is {})", shorten(odd.get())),
                None => " (without a code)".to_owned(),
            });
        }
        Some(RpcError { code: code.unwrap_or_default(), message, data: self.data.map(raw) })
    }
}

/// Parses one message. The bytes must be UTF-8 (see [`repair_utf8`]).
pub fn parse(body: &Body) -> Parsed {
    let first = body.bytes().iter().find(|b| !b.is_ascii_whitespace());
    match first {
        Some(b'[') => match serde_json::from_slice::<Members>(body.bytes()) {
            Ok(Members { first, rest }) => Parsed::Batch(first.iter().map(|m| body.slice_of(m.get().as_bytes())).collect(), rest),
            Err(error) => bad(body, AnomalyKind::BadJson, problem(&error)),
        },
        Some(b'{') => match serde_json::from_slice::<Envelope>(body.bytes()) {
            Ok(envelope) => understand(body, envelope),
            Err(error) => bad(body, AnomalyKind::BadJson, problem(&error)),
        },
        _ => bad(body, AnomalyKind::Noise, "a line that is not JSON".into()),
    }
}

/// Returns why input is not a message, without the words of the JSON library.
fn problem(error: &serde_json::Error) -> String {
    match (error.classify(), error.line()) {
        (Category::Eof, _) => "it ends within a JSON value".into(),
        (Category::Data, _) => "a member has the wrong type".into(),
        (_, 1) => format!("not JSON at column {}", error.column()),
        (_, line) => format!("not JSON at line {line}, column {}", error.column()),
    }
}

fn bad(body: &Body, kind: AnomalyKind, detail: String) -> Parsed {
    if let Some(id) = id_line(body.bytes()) {
        let detail = "part of a message that is spread over several lines".to_owned();
        return Parsed::Bad(Bad { kind: AnomalyKind::BadJson, detail, id: Some(id), seems: Seems::Nothing });
    }
    // Noise is program output and never a response. A broken message may be one.
    let seems = if kind == AnomalyKind::BadJson { Seems::Answer } else { Seems::Nothing };
    let id = is_message_like(body.bytes()).then(|| salvage_id(body.bytes())).flatten();
    Parsed::Bad(Bad { kind, detail, id, seems })
}

/// Returns whether input that is not a message may be a broken one: it begins like one, and has a member that only messages
/// have. A line of a log that holds an id has neither.
fn is_message_like(bytes: &[u8]) -> bool {
    let has = |member: &[u8]| memchr::memmem::find(bytes, member).is_some();
    begins_like_message(bytes) && (has(b"\"jsonrpc\"") || has(b"\"result\"") || has(b"\"error\""))
}

/// Returns whether input begins with an object, or with an array whose first member is one.
pub fn begins_like_message(bytes: &[u8]) -> bool {
    let at = skip_space(bytes, 0);
    match bytes.get(at) {
        Some(b'{') => true,
        Some(b'[') => bytes.get(skip_space(bytes, at + 1)) == Some(&b'{'),
        _ => false,
    }
}

/// Returns the id of a line that holds only the member `"id"` of a message: some servers print their messages indented.
fn id_line(bytes: &[u8]) -> Option<Arc<str>> {
    let rest = bytes.trim_ascii().strip_prefix(b"\"id\"")?;
    let value = rest.trim_ascii_start().strip_prefix(b":")?;
    let text = value.strip_suffix(b",").unwrap_or(value).trim_ascii();
    let id = id_value(text, 0)?;
    (id.len() == text.len()).then_some(id)
}

fn understand(body: &Body, envelope: Envelope<'_>) -> Parsed {
    let raw = |value: &RawValue| body.slice_of(value.get().as_bytes());
    let params = || envelope.params.map(raw).unwrap_or_default();
    let id = envelope.id.map(|id| shared(id.get(), bounds::ID));
    let method = envelope.method.map(|method| shared(&method.0, bounds::METHOD));
    if envelope.jsonrpc.is_none_or(|v| v.get() != "\"2.0\"") {
        return bad(body, AnomalyKind::NotRpc, "JSON without \"jsonrpc\": \"2.0\"".into());
    }
    match (id, method, envelope.result, envelope.error) {
        (Some(id), Some(method), None, None) => Parsed::Message(Message::Request { id, method, params: params() }),
        (None, Some(method), None, None) => Parsed::Message(Message::Notification { method, params: params() }),
        (Some(id), None, Some(result), None) => Parsed::Message(Message::Response { id, answer: Ok(raw(result)) }),
        (Some(id), None, None, Some(error)) => match serde_json::from_str::<WireError>(error.get()).ok().and_then(|wire| wire.read(raw)) {
            Some(error) => Parsed::Message(Message::Response { id, answer: Err(error) }),
            None => bad(body, AnomalyKind::NotRpc, format!("an error without a code and a message: {}", shorten(error.get()))),
        },
        // An id of null counts as none (JSON-RPC 2.0, section 5: the request's own could not be read).
        (None, None, None, Some(error)) => {
            let code = serde_json::from_str::<WireError>(error.get()).ok().and_then(|wire| wire.code()).unwrap_or_default();
            unidentified(format!("an error without an id: {}", shorten(error.get())), Seems::Error(code))
        }
        (None, None, Some(_), None) => unidentified("an answer without an id".into(), Seems::Answer),
        (Some(_), None, None, None) => bad(body, AnomalyKind::NotRpc, "an answer without a result and without an error".into()),
        _ => bad(body, AnomalyKind::NotRpc, "neither request nor notification nor answer".into()),
    }
}

fn unidentified(detail: String, seems: Seems) -> Parsed {
    Parsed::Bad(Bad { kind: AnomalyKind::NotRpc, detail, id: None, seems })
}

/// Returns the beginning of a text, for a message to the user.
pub fn shorten(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Replaces invalid UTF-8 with U+FFFD. Returns the position of the first invalid byte.
pub fn repair_utf8(body: Body) -> (Body, Option<usize>) {
    match std::str::from_utf8(body.bytes()) {
        Ok(_) => (body, None),
        Err(error) => (Body::from(body.text().into_owned()), Some(error.valid_up_to())),
    }
}

/// Parses one message like [`parse`], despite escapes that are half a surrogate pair, and returns the position of the first of
/// them. RFC 8259 (section 8.2) leaves their meaning open, and no text can hold them. They are read as U+FFFD, except in a
/// result and in the data of an error, which stay as they came.
pub fn parse_mended(body: &Body) -> (Parsed, Option<usize>) {
    let parsed = parse(body);
    let Some((mended, at)) = mend_surrogates(body.bytes()) else { return (parsed, None) };
    let parsed = match parsed {
        parsed @ (Parsed::Batch(..) | Parsed::Message(Message::Response { answer: Ok(_), .. })) => parsed,
        // The message is read as text; the data stays as it came.
        Parsed::Message(Message::Response { answer: Err(RpcError { data, .. }), .. }) => match parse(&Body::new(mended)) {
            Parsed::Message(Message::Response { id, answer: Err(error) }) => {
                Parsed::Message(Message::Response { id, answer: Err(RpcError { data, ..error }) })
            }
            other => other,
        },
        _ => parse(&Body::new(mended)),
    };
    (parsed, Some(at))
}

/// Returns the JSON value, with every half of a surrogate pair read as U+FFFD; `None` if this is not JSON.
pub fn value(body: &Body) -> Option<serde_json::Value> {
    body.value().or_else(|| serde_json::from_slice(&mend_surrogates(body.bytes())?.0).ok())
}

/// Replaces escapes that are half a surrogate pair with U+FFFD, and returns the position of the first one; `None` when there is
/// none.
fn mend_surrogates(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut lone, mut at) = (vec![], 0);
    // Outside of strings JSON has no backslash.
    while let Some(found) = memchr::memchr(b'\\', bytes.get(at..).unwrap_or_default()) {
        let escape = at + found;
        at = escape + 2;
        match unescape(&bytes[escape..]) {
            Some((Escape::Surrogate(_), _)) => lone.push(escape),
            Some((Escape::Char(_), length)) => at = escape + length,
            None => {}
        }
    }
    let first = *lone.first()?;
    let mut mended = bytes.to_vec();
    for at in lone {
        mended[at..at + 6].copy_from_slice(b"\\ufffd");
    }
    Some((mended, first))
}

/// Finds the value of `"id"` at the top level of almost valid JSON.
///
/// Reads from the front, tracking strings and nesting. If that finds nothing (the input is cut off or broken before its id),
/// looks for the last `"id":` from the end.
pub fn salvage_id(bytes: &[u8]) -> Option<Arc<str>> {
    front_id(bytes).or_else(|| tail_id(bytes))
}

fn front_id(bytes: &[u8]) -> Option<Arc<str>> {
    let (mut at, mut depth) = (0, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                let end = string_end(bytes, at)?;
                let is_key = depth == 1 && bytes[at..end] == *b"\"id\"";
                at = end;
                if is_key {
                    let colon = skip_space(bytes, at);
                    if bytes.get(colon) == Some(&b':') {
                        return id_value(bytes, colon + 1);
                    }
                }
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    None
}

fn tail_id(bytes: &[u8]) -> Option<Arc<str>> {
    let from = bytes.len().saturating_sub(256);
    let tail = &bytes[from..];
    let key = memchr::memmem::rfind(tail, b"\"id\"")?;
    let colon = skip_space(tail, key + 4);
    if tail.get(colon) != Some(&b':') {
        return None;
    }
    let id = id_value(tail, colon + 1)?;
    // At the top level nothing but the closing brace or a plain member can follow.
    let rest = &tail[colon + 1..];
    (rest.iter().filter(|b| **b == b'}').count() == 1).then_some(id)
}

fn id_value(bytes: &[u8], from: usize) -> Option<Arc<str>> {
    let start = skip_space(bytes, from);
    let end = match bytes.get(start)? {
        b'"' => string_end(bytes, start)?,
        b'0'..=b'9' | b'-' => {
            start + bytes[start..].iter().take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'.' | b'e' | b'E' | b'+')).count()
        }
        _ => return None,
    };
    std::str::from_utf8(&bytes[start..end]).ok().map(Arc::from)
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// Reads one of our ids: a number, also as a string or as a fraction of zero, which some servers make of it.
pub fn our_id(id: &str) -> Option<u64> {
    let text = id.trim_matches('"');
    let whole = text.split_once('.').filter(|(_, fraction)| fraction.bytes().all(|digit| digit == b'0'));
    whole.map_or(text, |(whole, _)| whole).parse().ok()
}

/// Returns the text of a request. `params` is a JSON object or empty; its bytes stay unchanged except for line ends, which
/// JSON has only between tokens, and for the members of `meta` that are added.
pub fn request(id: u64, method: &str, params: &Body, meta: &Meta) -> Body {
    let mut text = Vec::with_capacity(params.len() + 512);
    text.extend_from_slice(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":{}", quoted(method)).as_bytes());
    finish(text, params, meta)
}

/// Returns the text of a notification.
pub fn notification(method: &str, params: &Body, meta: &Meta) -> Body {
    let text = format!("{{\"jsonrpc\":\"2.0\",\"method\":{}", quoted(method)).into_bytes();
    finish(text, params, meta)
}

/// Returns the text of a response. `id` is the JSON text of the request's id; the result and `data` of an error stay as they
/// are, except for line ends.
pub fn response(id: &str, answer: &Result<Body, RpcError>) -> Body {
    let mut text = Vec::with_capacity(answer.as_ref().map_or(0, Body::len) + id.len() + 128);
    text.extend_from_slice(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},").as_bytes());
    match answer {
        Ok(result) => {
            text.extend_from_slice(b"\"result\":");
            text.extend_from_slice(result.bytes());
        }
        Err(RpcError { code, message, data }) => {
            text.extend_from_slice(format!("\"error\":{{\"code\":{code},\"message\":{}", quoted(message)).as_bytes());
            if let Some(data) = data {
                text.extend_from_slice(b",\"data\":");
                // Data over its limit was cut ([`bounds::ERROR_DATA`]), so it is a text.
                match serde_json::from_slice::<&RawValue>(data.bytes()) {
                    Ok(_) => text.extend_from_slice(data.bytes()),
                    Err(_) => text.extend_from_slice(quoted(&data.text()).as_bytes()),
                }
            }
            text.push(b'}');
        }
    }
    text.push(b'}');
    on_one_line(&mut text);
    Body::new(text)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Appends `params` and the end of the message.
fn finish(mut text: Vec<u8>, params: &Body, meta: &Meta) -> Body {
    const KEY: &[u8] = b",\"params\":";
    let start = text.len();
    text.extend_from_slice(KEY);
    meta::write_params(params, meta, &mut text);
    if text.len() == start + KEY.len() {
        text.truncate(start);
    }
    on_one_line(&mut text[start..]);
    text.push(b'}');
    Body::new(text)
}

/// Replaces line ends, which end a message on stdio. JSON has them only between tokens.
fn on_one_line(json: &mut [u8]) {
    for byte in json {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::call::{Failure, FailureKind};
    use proptest::prelude::*;

    fn kind(text: &str) -> Option<(AnomalyKind, Option<String>)> {
        match parse(&Body::from(text)) {
            Parsed::Bad(bad) => Some((bad.kind, bad.id.map(|id| id.to_string()))),
            _ => None,
        }
    }

    #[test]
    fn messages_are_understood_and_keep_their_bytes() {
        let text = Body::from(r#"{"jsonrpc":"2.0","id":7,"result":{"b":1.0,"a":12345678901234567890,"s":"\ud800"}}"#);
        let Parsed::Message(Message::Response { id, answer: Ok(result) }) = parse(&text) else { panic!() };
        assert_eq!((&*id, &*result.text()), ("7", r#"{"b":1.0,"a":12345678901234567890,"s":"\ud800"}"#));
        assert!(matches!(parse(&Body::from(r#"{"jsonrpc":"2.0","method":"x"}"#)), Parsed::Message(Message::Notification { .. })));
        assert!(matches!(parse(&Body::from(r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#)), Parsed::Message(Message::Request { .. })));
        let Parsed::Message(Message::Response { answer: Err(error), .. }) =
            parse(&Body::from(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"m","data":{"x":1}}}"#))
        else {
            panic!()
        };
        assert_eq!((error.code, error.data.unwrap().text().into_owned()), (-32000, r#"{"x":1}"#.into()));
        let null = parse(&Body::from(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m","data":null}}"#));
        assert!(matches!(null, Parsed::Message(Message::Response { answer: Err(RpcError { data: Some(_), .. }), .. })), "{null:?}");
    }

    #[test]
    fn broken_input_is_classed_and_its_id_salvaged() {
        for (text, expected, id) in [
            (r#"{"jsonrpc":"2.0","id":3,"result":{"x":NaN}}"#, AnomalyKind::BadJson, Some("3")),
            (r#"{"result":{"id":9,"x":NaN},"jsonrpc":"2.0","id":4}"#, AnomalyKind::BadJson, Some("4")),
            (r#"{"jsonrpc":"2.0","id":5,"result":{"x":"#, AnomalyKind::BadJson, Some("5")),
            (r#"{"jsonrpc":"2.0","id":6}"#, AnomalyKind::NotRpc, Some("6")),
            (r#"{"id":6,"result":{}}"#, AnomalyKind::NotRpc, Some("6")),
            (r#"{"level":"info","msg":"started"}"#, AnomalyKind::NotRpc, None),
            ("Server listening", AnomalyKind::Noise, None),
            (r#"{"level":"info","id":3,"msg":"a request"}"#, AnomalyKind::NotRpc, None),
            (r#"[INFO] request {"id":3} took 2 ms"#, AnomalyKind::BadJson, None),
            (r#"{level: info, "id":3}"#, AnomalyKind::BadJson, None),
            ("  \"id\": 7,", AnomalyKind::BadJson, Some("7")),
            ("\"id\" : \"a\"", AnomalyKind::BadJson, Some("\"a\"")),
            ("\"id\": 7 was handled", AnomalyKind::Noise, None),
            (r#"{"jsonrpc":"2.0","id":"x\"y","result":tru}"#, AnomalyKind::BadJson, Some(r#""x\"y""#)),
        ] {
            assert_eq!(kind(text), Some((expected, id.map(str::to_owned))), "{text}");
        }
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, Seems::Answer),
            (r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"?"}}"#, Seems::Error(-32601)),
            (r#"{"jsonrpc":"2.0","error":{"code":-32700}}"#, Seems::Error(-32700)),
            (r#"{"jsonrpc":"2.0","id":null}"#, Seems::Nothing),
            (r#"{"jsonrpc":"2.0","result":{"x":NaN}}"#, Seems::Answer),
            ("Server listening", Seems::Nothing),
        ] {
            assert!(matches!(parse(&Body::from(text)), Parsed::Bad(Bad { seems, id: None, .. }) if seems == expected), "{text}");
        }
        assert!(matches!(parse(&Body::from(r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#)), Parsed::Batch(m, 0) if m.len() == 1));
        let deep = format!(r#"{{"jsonrpc":"2.0","id":8,"result":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        assert!(matches!(parse(&Body::from(deep)), Parsed::Message(_)));
    }

    /// The data of an error is cut at a limit, in the middle of its JSON.
    #[test]
    fn a_response_is_json_whatever_the_data_of_its_error_is() {
        let error = |data: &str| RpcError { code: -1, message: "m".into(), data: Some(Body::from(data)) };
        let cut = error(&format!("{{\"a\":\"{}", "x".repeat(2 * bounds::ERROR_DATA)));
        let failure = Failure { rpc: Some(cut), ..Failure::new(FailureKind::Protocol, "m") };
        let cut = failure.bounded().rpc.unwrap();
        for (error, is_text) in
            [(cut, true), (error("{\"a\":1"), true), (error(""), true), (error("x\u{1}\n"), true), (error("[1, 2]"), false)]
        {
            let text = response("7", &Err(error.clone()));
            let value: serde_json::Value = serde_json::from_slice(text.bytes()).unwrap();
            assert_eq!(value["error"]["data"].is_string(), is_text, "{error:?}");
            if is_text {
                assert_eq!(value["error"]["data"], *error.data.unwrap().text());
            }
        }
    }

    /// Servers in languages without integers, or with errors of their own.
    #[test]
    fn odd_errors_and_ids_lose_nothing_that_the_server_says() {
        for (error, code, message) in [
            (r#"{"code":"-32000","message":"text"}"#, -32000, "text"),
            (r#"{"code":-32000,"message":null}"#, -32000, ""),
            (r#"{"code":-32000}"#, -32000, ""),
            (r#"{"code":-32000,"message":{"text":"obj"}}"#, -32000, r#"{"text":"obj"}"#),
            (r#"{"code":1.5,"message":"m"}"#, 0, "m (its code is 1.5)"),
            (r#"{"code":99999999999999999999,"message":"m"}"#, 0, "m (its code is 99999999999999999999)"),
            (r#"{"message":"m"}"#, 0, "m (without a code)"),
        ] {
            let text = Body::from(format!(r#"{{"jsonrpc":"2.0","id":7,"error":{error}}}"#));
            let Parsed::Message(Message::Response { answer: Err(read), .. }) = parse(&text) else { panic!("{error}") };
            assert_eq!((read.code, read.message.as_str()), (code, message), "{error}");
        }
        for error in ["{}", r#""broken""#, "7", r#"{"code":null,"message":null}"#] {
            let found = kind(&format!(r#"{{"jsonrpc":"2.0","id":7,"error":{error}}}"#));
            assert_eq!(found, Some((AnomalyKind::NotRpc, Some("7".into()))), "{error}");
        }
        let ids = [("7", Some(7)), ("\"7\"", Some(7)), ("7.0", Some(7)), ("\"7.00\"", Some(7)), ("7.5", None), ("-7", None), ("7e0", None)];
        for (id, ours) in ids {
            assert_eq!(our_id(id), ours, "{id}");
        }
    }

    #[test]
    fn responses_carry_raw_results_and_errors() {
        let result = Body::from("{\n\"n\": 1.50}");
        assert_eq!(response("\"a\"", &Ok(result)).text(), r#"{"jsonrpc":"2.0","id":"a","result":{ "n": 1.50}}"#);
        let error = |data| Err(RpcError { code: -1, message: "no \"x\"".into(), data });
        assert_eq!(response("7", &error(None)).text(), r#"{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"no \"x\""}}"#);
        let data = Some(Body::from(r#"{"v":1.0}"#));
        assert_eq!(
            response("7", &error(data)).text(),
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":"no \"x\"","data":{"v":1.0}}}"#
        );
    }

    #[test]
    fn half_a_surrogate_pair_is_read_as_no_character() {
        for (text, mended, at) in [
            (r#"{"a":"\ud800b"}"#, r#"{"a":"\ufffdb"}"#, Some(6)),
            (r#"{"a":"\uDC00\uD83D\uDE00\ud83d"}"#, r#"{"a":"\ufffd\uD83D\uDE00\ufffd"}"#, Some(6)),
            (r#"{"a":"\ud800\ud83d\ude00"}"#, r#"{"a":"\ufffd\ud83d\ude00"}"#, Some(6)),
            (r#"{"a":"\\ud800 \u00e9 \uD83D\uDE00"}"#, "", None),
            (r#"{"a":"\ud8"#, "", None),
        ] {
            let found = mend_surrogates(text.as_bytes());
            assert_eq!(found.as_ref().map(|(_, at)| *at), at, "{text}");
            assert!(found.is_none_or(|(bytes, _)| bytes == mended.as_bytes()), "{text}");
        }
        let read = |text: &str| parse_mended(&Body::from(text));
        let (told, at) = read(r#"{"jsonrpc":"2.0","method":"x","params":{"a":"\ud800"}}"#);
        assert!(at.is_some());
        assert!(matches!(told, Parsed::Message(Message::Notification { params, .. }) if params.value().unwrap()["a"] == "\u{fffd}"));
        let (answer, at) = read(r#"{"jsonrpc":"2.0","id":1,"result":{"a":"\ud800"}}"#);
        let Parsed::Message(Message::Response { answer: Ok(result), .. }) = answer else { panic!() };
        assert_eq!((&*result.text(), at.is_some()), (r#"{"a":"\ud800"}"#, true), "a result stays as it came");
        assert_eq!(value(&result).unwrap()["a"], "\u{fffd}");
        let (error, _) = read(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"no \udfff"}}"#);
        assert!(matches!(error, Parsed::Message(Message::Response { answer: Err(rpc), .. }) if rpc.message == "no \u{fffd}"));
        let (error, _) = read(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no","data":"\ud800"}}"#);
        let data = |rpc: &RpcError| rpc.data.as_ref().map(|data| data.text().into_owned());
        assert!(
            matches!(error, Parsed::Message(Message::Response { answer: Err(rpc), .. }) if data(&rpc).as_deref() == Some(r#""\ud800""#))
        );
    }

    #[test]
    fn arguments_go_out_as_they_were_written() {
        let params = Body::from("{\"name\":\"t\",\"arguments\":{\n \"n\": 1.50}\n}");
        let meta = |members: &str| Meta::parse(&Body::from(members)).unwrap();
        assert_eq!(
            request(1, "tools/call", &params, &meta("{\"progressToken\":1}")).text(),
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{  "n": 1.50},"_meta":{"progressToken":1}}}"#
        );
        assert_eq!(request(2, "ping", &Body::default(), &Meta::default()).text(), r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#);
        assert_eq!(
            request(3, "x", &Body::from("{ }"), &meta("{\"a\":1}")).text(),
            r#"{"jsonrpc":"2.0","id":3,"method":"x","params":{"_meta":{"a":1}}}"#
        );
        assert_eq!(
            notification("n", &Body::from(r#"{"_meta":{"a":2},"z":1}"#), &meta(r#"{"a":1,"b":1}"#)).text(),
            r#"{"jsonrpc":"2.0","method":"n","params":{"_meta":{"a":2,"b":1},"z":1}}"#
        );
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (body, _) = repair_utf8(Body::new(bytes));
            let _ = parse_mended(&body);
        }

        #[test]
        fn mending_changes_nothing_but_lone_halves(units in proptest::collection::vec(prop_oneof![0xd800u16..0xe000, any::<u16>()], 0..12)) {
            let escaped: String = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
            let read = value(&Body::from(format!("[\"{escaped}\"]"))).unwrap();
            prop_assert_eq!(read[0].as_str().unwrap(), String::from_utf16_lossy(&units));
        }

        #[test]
        fn any_id_is_salvaged_from_a_cut_message(id in 0u64..1_000_000, junk in "[a-z{}\\[\\]:,]{0,40}", cut in 1usize..40) {
            let text = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"t\":\"{junk}\"}}}}");
            let head = 24 + id.to_string().len();
            let end = (head + cut).min(text.len());
            prop_assert_eq!(salvage_id(&text.as_bytes()[..end]).as_deref().and_then(our_id), Some(id));
        }
    }
}
