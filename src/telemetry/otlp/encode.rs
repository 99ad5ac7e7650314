//! The Protocol Buffers form of spans (opentelemetry-proto 1.x, `ExportTraceServiceRequest`). Pure.

use super::{
    proto::{self, Message},
    span::{Attribute, Span, SpanEvent, SpanKind},
};

impl Message {
    /// `Span.Event`.
    fn event(&mut self, event: &SpanEvent) {
        self.message(11, |out| {
            out.fixed(1, event.unix_ns);
            out.text(2, &event.name);
            event.attributes.iter().for_each(|attribute| out.attribute(3, attribute));
        });
    }

    fn span(&mut self, span: &Span) {
        self.message(2, |out| {
            out.bytes(1, &span.trace.bytes());
            out.bytes(2, &span.id.bytes());
            out.text(3, &span.state);
            if let Some(parent) = span.parent {
                out.bytes(4, &parent.bytes());
            }
            out.text(5, &span.name);
            out.integer(
                6,
                match span.kind {
                    SpanKind::Internal => 1,
                    SpanKind::Client => 3,
                },
            );
            out.fixed(7, span.begin_ns);
            out.fixed(8, span.end_ns);
            span.attributes.iter().for_each(|attribute| out.attribute(9, attribute));
            span.events.iter().for_each(|event| out.event(event));
            if let Some(message) = &span.error {
                out.message(15, |status| {
                    status.text(2, message);
                    status.integer(3, 2);
                });
            }
        });
    }
}

/// Returns an `ExportTraceServiceRequest` with these spans.
pub fn request(resource: &[Attribute], spans: &[Span]) -> Vec<u8> {
    proto::request(resource, |out| spans.iter().for_each(|span| out.span(span)))
}

#[cfg(test)]
mod tests {
    use super::{super::span::Value, *};
    use crate::domain::trace::{SpanId, TraceId};

    #[test]
    fn a_span_is_encoded_as_protoc_does() {
        let span = Span {
            trace: TraceId::from_bytes([1; 16]).unwrap(),
            id: SpanId::from_bytes([2; 8]).unwrap(),
            parent: None,
            state: String::new(),
            name: "n".into(),
            kind: SpanKind::Client,
            begin_ns: 1,
            end_ns: 300,
            attributes: vec![("k".into(), Value::Integer(300))],
            events: vec![],
            error: Some("e".into()),
        };
        let mut message = Message::default();
        message.span(&span);
        let mut expected = vec![0x0a, 16];
        expected.extend([1; 16]);
        expected.extend([0x12, 8, 2, 2, 2, 2, 2, 2, 2, 2]);
        expected.extend([0x2a, 1, b'n', 0x30, 3]);
        expected.extend([0x39, 1, 0, 0, 0, 0, 0, 0, 0, 0x41, 0x2c, 1, 0, 0, 0, 0, 0, 0]);
        expected.extend([0x4a, 8, 0x0a, 1, b'k', 0x12, 3, 0x18, 0xac, 0x02]);
        expected.extend([0x7a, 5, 0x12, 1, b'e', 0x18, 2]);
        assert_eq!(message.0[0], 0x12, "field 2 of ScopeSpans");
        assert_eq!(usize::from(message.0[1]), expected.len());
        assert_eq!(message.0[2..], expected);
        let whole = request(&[("service.name".into(), Value::Text("s".into()))], &[span]);
        assert!(whole.len() > expected.len() && whole[0] == 0x0a);
    }
}
