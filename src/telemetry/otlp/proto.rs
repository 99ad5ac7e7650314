//! Writes Protocol Buffers. Pure.
//!
//! Written by hand: the messages of OTLP have six kinds of fields, and the generated code of the official crate would bring a gRPC stack.

use super::span::{Attribute, Value};

/// Writes the fields of a message.
#[derive(Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    /// Writes an integer without its tag.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    fn tag(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }

    /// Writes an integer (wire type 0); 0 is the default and left out.
    pub fn integer(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.tag(field, 0);
            self.varint(value);
        }
    }

    /// Writes a `fixed64` (wire type 1).
    pub fn fixed(&mut self, field: u64, value: u64) {
        self.tag(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    /// Writes several `fixed64` (packed, wire type 2).
    pub fn packed(&mut self, field: u64, values: impl Iterator<Item = u64>) {
        let bytes: Vec<u8> = values.flat_map(u64::to_le_bytes).collect();
        self.bytes(field, &bytes);
    }

    /// Writes bytes, a text or a message (wire type 2).
    pub fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    /// Writes a text; an empty one is the default and left out.
    pub fn text(&mut self, field: u64, text: &str) {
        if !text.is_empty() {
            self.bytes(field, text.as_bytes());
        }
    }

    /// Writes a message within this one.
    pub fn message(&mut self, field: u64, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// Writes a `KeyValue`.
    pub fn attribute(&mut self, field: u64, (key, value): &Attribute) {
        self.message(field, |pair| {
            pair.text(1, key);
            // `AnyValue` is a oneof: the default values are written too.
            pair.message(2, |any| match value {
                Value::Text(text) => any.bytes(1, text.as_bytes()),
                Value::Integer(value) => {
                    any.tag(3, 0);
                    any.varint(value.cast_unsigned());
                }
            });
        });
    }
}

/// Returns a request to export what `write` writes into the message of the scope (`ScopeSpans`, `ScopeMetrics`): both kinds of requests
/// have the same layout around it.
pub fn request(resource: &[Attribute], write: impl FnOnce(&mut Message)) -> Vec<u8> {
    let mut out = Message::default();
    out.message(1, |of_resource| {
        of_resource.message(1, |out| resource.iter().for_each(|attribute| out.attribute(1, attribute)));
        of_resource.message(2, |of_scope| {
            of_scope.message(1, |scope| {
                scope.text(1, "switchboard");
                scope.text(2, env!("CARGO_PKG_VERSION"));
            });
            write(of_scope);
        });
    });
    out.0
}
