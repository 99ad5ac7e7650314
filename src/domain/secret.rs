//! Secrets: configured values that must not be stored or printed in clear.
//!
//! [`Secret`] holds one configured value. [`rule`] decides which values of a configuration count as secret. A
//! [`Redactor`] masks known values in text, a [`SecretRegistry`] collects the values that a process knows. Every edge
//! (history, journal, argument history, printers, copies, events) takes its redactor from the registry.

mod forms;
mod redactor;
mod registry;
pub mod rule;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{redactor::Redactor, registry::SecretRegistry};

/// What stands for a secret wherever one would be shown.
pub const MASK: &str = "•••";

/// A configured value (environment variable, header, argument) that may be secret.
///
/// `Debug`, `Display` and serialisation give [`MASK`]; only [`Secret::expose`] gives the value, and
/// only the code that hands it to a server calls that.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Secret {
    value: String,
    written: String,
}

impl Secret {
    /// A value and the text that stood in the file for it (`${TOKEN}`), before interpolation.
    pub fn new(value: impl Into<String>, written: impl Into<String>) -> Self {
        Self { value: value.into(), written: written.into() }
    }

    /// A value that was written out in the file.
    pub fn literal(value: impl Into<String>) -> Self {
        let value = value.into();
        Self { written: value.clone(), value }
    }

    /// The value itself. Never print it.
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// The text as it stands in the file, variables not replaced.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Whether the value came through a variable, so that its text in the file can be shown.
    pub fn interpolated(&self) -> bool {
        self.value != self.written
    }

    /// What may be shown: the text with its variables when it has some, else [`MASK`].
    pub fn shown(&self) -> &str {
        if self.interpolated() { &self.written } else { MASK }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.shown())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret::literal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::body::Body;

    #[test]
    fn no_front_of_a_secret_is_left_where_a_text_is_cut() {
        let secret = Secret::literal("sk-0123456789");
        let redactor = Redactor::new([&secret]);
        let text = format!("{} sk-0123456789 and more", "sk-0123456789 ".repeat(3));
        for limit in 0..text.len() {
            let cut = redactor.redact_cut(&text, limit);
            let body = redactor.redact_front(&Body::from(text.as_str()), limit).text().into_owned();
            for shown in [cut.split('…').next().unwrap(), &body] {
                assert!(shown.len() <= limit && !shown.replace(MASK, "").contains("s"), "{limit}: {shown}");
            }
        }
        let short = Body::from("nothing to hide");
        assert_eq!(redactor.redact_front(&short, 100).bytes().as_ptr(), short.bytes().as_ptr());
    }

    #[test]
    fn a_secret_is_masked_in_every_form() {
        let secret = Secret::new("tok/\"en+1", "${TOKEN}");
        assert_eq!(format!("{secret:?}"), MASK);
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"${TOKEN}\"");
        let redactor = Redactor::new([&secret]);
        for text in ["a tok/\"en+1 b", r#"{"t":"tok/\"en+1"}"#, "x=tok%2F%22en%2B1&y"] {
            let shown = redactor.redact(text);
            assert!(shown.contains(MASK) && !shown.contains("en+1") && !shown.contains("en%2B1"), "{shown}");
            assert!(redactor.finds(text.as_bytes()) && !redactor.finds(shown.as_bytes()));
        }
    }
}
