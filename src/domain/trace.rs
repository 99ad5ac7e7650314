//! Trace context: ids of traces and spans, and the header `traceparent` (W3C Trace Context, section 3.2).
//!
//! The ids of spans are hashes of what they describe. The engine that sends a span's id to a server and the exporter that reports
//! the span compute the same id without sharing state, and a resumed run continues its trace. Pure.

mod carriers;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use sha2::{Digest, Sha256};

pub use self::carriers::{CARRIERS, TRACEPARENT, TRACESTATE, TraceState, headers, members_for, parent_in, state_in};
use super::{
    call::CallSpec,
    id::{CallId, InstanceId},
    run::{RunId, RunStep},
};

/// The id of a trace: 16 bytes, not zero. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(u128);

/// The id of a span: 8 bytes, not zero. Shown as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(u64);

/// The position in a trace under which new spans are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The parent of new spans.
    pub span: SpanId,
    /// Whether the caller records the trace.
    pub sampled: bool,
}

/// The trace of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span of the call.
    pub span: SpanId,
    /// The span under which the call's span is; `None` for the root of a trace.
    pub parent: Option<SpanId>,
    /// The sampling decision of the caller that began the trace; `None` if Switchboard began it.
    pub sampled: Option<bool>,
}

/// Which traces are exported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// The share of traces, 0 to 1.
    pub share: f64,
    /// Whether the decision of a caller counts instead, if there is one.
    pub parent_based: bool,
}

impl Sampler {
    /// Returns whether the trace of a call is exported.
    pub fn samples(&self, context: &CallTraceContext) -> bool {
        let decided = context.sampled.filter(|_| self.parent_based);
        decided.unwrap_or_else(|| context.trace.in_sample(self.share))
    }
}

/// How the trace context gets to servers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Propagation {
    /// The trace that this process belongs to.
    pub parent: Option<TraceParent>,
    /// `tracestate` of that trace.
    pub state: Option<TraceState>,
    /// Which traces are exported; `None` without an export. Without one, servers get the context of the caller unchanged.
    pub sampler: Option<Sampler>,
}

impl Propagation {
    /// Returns the context that an attempt of a call passes to its server.
    pub fn context(&self, instance: InstanceId, call: CallId, spec: &CallSpec, attempt: u32) -> Option<TraceParent> {
        let Some(sampler) = &self.sampler else { return spec.trace };
        let context = CallTraceContext::new(instance, call, spec);
        let (sampled, span) = (sampler.samples(&context), SpanId::of_attempt(instance, call, attempt));
        // A span that is not exported is not a parent.
        let within = spec.trace.filter(|_| !sampled && spec.run.is_none()).map_or(span, |within| within.span);
        Some(TraceParent { trace: context.trace, span: within, sampled })
    }
}

fn hash(kind: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(kind);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl TraceId {
    /// Returns the id of these bytes; `None` for zero, which is invalid.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<TraceId> {
        Some(TraceId(u128::from_be_bytes(bytes))).filter(|id| id.0 != 0)
    }

    /// Returns the bytes, in network order.
    pub fn bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// Returns the trace that begins with this run.
    pub fn of_run(run: RunId) -> TraceId {
        Self::hashed("switchboard trace run", &[run.to_string().as_bytes()])
    }

    fn of_call(instance: InstanceId, call: CallId) -> TraceId {
        Self::hashed("switchboard trace call", &[&instance.0.to_be_bytes(), &call.0.to_be_bytes()])
    }

    fn hashed(kind: &str, parts: &[&[u8]]) -> TraceId {
        let [bytes @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = hash(kind, parts);
        TraceId(u128::from_be_bytes(bytes).max(1))
    }

    /// Returns whether the trace is in a sample of this share (0 to 1), as the sampler `traceidratio` of OpenTelemetry decides.
    pub fn in_sample(self, share: f64) -> bool {
        // The low 8 bytes are the random part (Trace Context level 2, section 3.2.2.3).
        let place = (self.0 as u64) >> 1;
        share >= 1.0 || (place as f64) < share * (1u64 << 63) as f64
    }
}

impl SpanId {
    /// Returns the id of these bytes; `None` for zero, which is invalid.
    pub fn from_bytes(bytes: [u8; 8]) -> Option<SpanId> {
        Some(SpanId(u64::from_be_bytes(bytes))).filter(|id| id.0 != 0)
    }

    /// Returns the bytes, in network order.
    pub fn bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    fn hashed(kind: &str, parts: &[&[u8]]) -> SpanId {
        let bytes = hash(kind, parts);
        SpanId(bytes.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte)).max(1))
    }

    /// Returns the span of a run.
    pub fn of_run(run: RunId) -> SpanId {
        Self::hashed("switchboard span run", &[run.to_string().as_bytes()])
    }

    /// Returns the span of a step of a run.
    pub fn of_step(run: RunId, step: &str) -> SpanId {
        Self::hashed("switchboard span step", &[run.to_string().as_bytes(), step.as_bytes()])
    }

    /// Returns the span of a call.
    pub fn of_call(instance: InstanceId, call: CallId) -> SpanId {
        Self::hashed("switchboard span call", &[&instance.0.to_be_bytes(), &call.0.to_be_bytes()])
    }

    /// Returns the span of an attempt of a call, counted from 1.
    pub fn of_attempt(instance: InstanceId, call: CallId, attempt: u32) -> SpanId {
        let parts: [&[u8]; 3] = [&instance.0.to_be_bytes(), &call.0.to_be_bytes(), &attempt.to_be_bytes()];
        Self::hashed("switchboard span attempt", &parts)
    }
}

impl CallTraceContext {
    /// Returns the trace of a call: that of its caller, that of its run, or a new one.
    pub fn new(instance: InstanceId, call: CallId, spec: &CallSpec) -> CallTraceContext {
        let span = SpanId::of_call(instance, call);
        let step = |step: &RunStep| SpanId::of_step(step.run, &step.step);
        match (&spec.run, spec.trace) {
            (Some(run), within) => CallTraceContext {
                trace: within.map_or_else(|| TraceId::of_run(run.run), |within| within.trace),
                span,
                parent: Some(step(run)),
                sampled: within.map(|within| within.sampled),
            },
            (None, Some(within)) => {
                CallTraceContext { trace: within.trace, span, parent: Some(within.span), sampled: Some(within.sampled) }
            }
            (None, None) => CallTraceContext { trace: TraceId::of_call(instance, call), span, parent: None, sampled: None },
        }
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// The text is not an id or a `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a trace context")]
pub struct NotATraceContext;

/// Reads exactly `digits` lower-case hexadecimal digits.
fn hexadecimal(text: &str, digits: usize) -> Result<u128, NotATraceContext> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(lower) {
        return Err(NotATraceContext);
    }
    u128::from_str_radix(text, 16).map_err(|_| NotATraceContext)
}

impl FromStr for TraceId {
    type Err = NotATraceContext;

    fn from_str(text: &str) -> Result<TraceId, NotATraceContext> {
        hexadecimal(text, 32).map(TraceId).and_then(|id| if id.0 == 0 { Err(NotATraceContext) } else { Ok(id) })
    }
}

impl FromStr for SpanId {
    type Err = NotATraceContext;

    fn from_str(text: &str) -> Result<SpanId, NotATraceContext> {
        let id = u64::try_from(hexadecimal(text, 16)?).map_err(|_| NotATraceContext)?;
        if id == 0 { Err(NotATraceContext) } else { Ok(SpanId(id)) }
    }
}

/// Later versions may have more fields, which are ignored (section 4.3).
impl FromStr for TraceParent {
    type Err = NotATraceContext;

    fn from_str(text: &str) -> Result<TraceParent, NotATraceContext> {
        let mut fields = text.trim().split('-');
        let mut next = || fields.next().ok_or(NotATraceContext);
        let version = hexadecimal(next()?, 2)?;
        let (trace, span) = (next()?.parse()?, next()?.parse()?);
        let flags = hexadecimal(next()?, 2)?;
        if version == 0xff || (version == 0 && fields.next().is_some()) {
            return Err(NotATraceContext);
        }
        Ok(TraceParent { trace, span, sampled: flags & 1 == 1 })
    }
}

macro_rules! as_text {
    ($($type:ty)+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )+};
}

as_text!(TraceId SpanId TraceParent);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        call::Origin,
        id::ToolId,
        run::{Purpose, RunStep},
    };

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let parent: TraceParent = PARENT.parse().unwrap();
        assert!(parent.sampled);
        assert_eq!(parent.to_string(), PARENT);
        assert_eq!(serde_json::from_str::<TraceParent>(&serde_json::to_string(&parent).unwrap()).unwrap(), parent);
        let later = PARENT.replacen("00", "cc", 1) + "-what-the-future-will-be-like";
        assert_eq!(later.parse(), Ok(parent));
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(NotATraceContext), "{bad}");
        }
    }

    #[test]
    fn a_call_is_in_the_trace_of_its_caller_of_its_run_or_in_a_new_one() {
        let (instance, call) = (InstanceId(7), CallId(9));
        let of = |spec: &CallSpec| CallTraceContext::new(instance, call, spec);
        let plain = CallSpec::tool(ToolId::new("db".into(), "query"), "{}", Origin::Console);
        let root = of(&plain);
        assert_eq!((root.parent, root.sampled), (None, None));
        assert_ne!(root.trace, CallTraceContext::new(instance, CallId(10), &plain).trace);
        let parent: TraceParent = PARENT.parse().unwrap();
        let within = of(&CallSpec { trace: Some(parent), ..plain.clone() });
        assert_eq!((within.trace, within.parent, within.sampled), (parent.trace, Some(parent.span), Some(true)));
        let run = RunId::new(1, 2);
        let step = RunStep { run, step: "a".into(), item: None, purpose: Purpose::Step, retries: false };
        let stepped = of(&CallSpec { run: Some(step.clone()), ..plain.clone() });
        assert_eq!((stepped.trace, stepped.parent), (TraceId::of_run(run), Some(SpanId::of_step(run, "a"))));
        let both = of(&CallSpec { run: Some(step), trace: Some(parent), ..plain });
        assert_eq!((both.trace, both.parent), (parent.trace, Some(SpanId::of_step(run, "a"))));
        assert_ne!(SpanId::of_attempt(instance, call, 1), SpanId::of_attempt(instance, call, 2));
    }

    #[test]
    fn a_server_gets_the_span_of_the_attempt_or_the_context_of_the_caller() {
        let (instance, call, parent) = (InstanceId(7), CallId(9), PARENT.parse::<TraceParent>().unwrap());
        let plain = CallSpec::tool(ToolId::new("db".into(), "query"), "{}", Origin::Console);
        let within = CallSpec { trace: Some(parent), ..plain.clone() };
        let off = Propagation::default();
        assert_eq!((off.context(instance, call, &plain, 1), off.context(instance, call, &within, 1)), (None, Some(parent)));
        let on = Propagation { sampler: Some(Sampler { share: 1.0, parent_based: true }), ..Propagation::default() };
        let attempt = SpanId::of_attempt(instance, call, 2);
        assert_eq!(on.context(instance, call, &within, 2), Some(TraceParent { span: attempt, ..parent }));
        let unsampled = CallSpec { trace: Some(TraceParent { sampled: false, ..parent }), ..plain.clone() };
        assert_eq!(on.context(instance, call, &unsampled, 2), unsampled.trace);
        let root = on.context(instance, call, &plain, 2).unwrap();
        assert_eq!((root.span, root.sampled), (attempt, true));
    }

    #[test]
    fn a_sample_has_its_share_of_the_traces() {
        let ids: Vec<TraceId> = (0..4_000).map(|n| TraceId::of_call(InstanceId(1), CallId(n))).collect();
        let sampled = |share| ids.iter().filter(|id| id.in_sample(share)).count();
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 4_000));
        assert!((800..1_200).contains(&sampled(0.25)), "{}", sampled(0.25));
    }
}
