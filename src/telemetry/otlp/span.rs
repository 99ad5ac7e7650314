//! Spans, as they are exported. Plain data.

use std::borrow::Cow;

use crate::domain::trace::{SpanId, TraceId};

/// A name and a value.
pub type Attribute = (Cow<'static, str>, Value);

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// An integer.
    Integer(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::Integer(value.into())
    }
}

/// What a span is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Work in this process: a run, a step, a call.
    Internal,
    /// A request to a server: an attempt.
    Client,
}

/// A span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace.
    pub trace: TraceId,
    /// Its id.
    pub id: SpanId,
    /// Its parent; `None` for the root of a trace.
    pub parent: Option<SpanId>,
    /// `tracestate` of the caller.
    pub state: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
    /// Its begin, in nanoseconds since the Unix epoch.
    pub begin_ns: u64,
    /// Its end, in nanoseconds since the Unix epoch.
    pub end_ns: u64,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
    /// What happened in it.
    pub events: Vec<SpanEvent>,
    /// The message of its error.
    pub error: Option<String>,
}

/// Something that happened in a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanEvent {
    /// When, in nanoseconds since the Unix epoch.
    pub unix_ns: u64,
    /// Its name.
    pub name: String,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
}
