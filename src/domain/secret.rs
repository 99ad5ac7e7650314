//! Secrets: configured values that must not be stored or printed in clear text.
//!
//! [`Secret`] holds one configured value. [`rule`] decides which configured values count as secret. A [`Redactor`]
//! masks known values in text, and a [`SecretRegistry`] collects the values that a process knows. Every output
//! (history, journal, argument history, printers, copies, events) takes its redactor from the registry.

mod beginnings;
mod forms;
mod redactor;
mod registry;
pub mod rule;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::{redactor::Redactor, registry::SecretRegistry};

/// The text displayed in place of a secret.
pub const MASK: &str = "•••";

/// A configured value (environment variable, header, argument) that may be secret.
///
/// `Debug`, `Display` and serialisation print [`MASK`]; only [`Secret::expose`] returns the value, and only the code
/// that passes it to a server calls it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Secret {
    value: String,
    written: String,
}

impl Secret {
    /// Creates a value with its text in the file before interpolation (`${TOKEN}`).
    pub fn new(value: impl Into<String>, written: impl Into<String>) -> Self {
        Self { value: value.into(), written: written.into() }
    }

    /// Creates a value that was written out in the file.
    pub fn literal(value: impl Into<String>) -> Self {
        let value = value.into();
        Self { written: value.clone(), value }
    }

    /// Returns the value. Never print it.
    pub fn expose(&self) -> &str {
        &self.value
    }

    /// Returns the text in the file, variables not replaced.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Returns whether the value came through a variable, so that its text in the file can be displayed.
    pub fn interpolated(&self) -> bool {
        self.value != self.written
    }

    /// Returns the displayable text: the text with its variables if it has some, else [`MASK`].
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
        // Only the displayable text was written, never the value.
        String::deserialize(deserializer).map(|shown| Secret::new(MASK, shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::body::Body;

    #[test]
    fn no_beginning_of_a_secret_is_left_where_a_text_is_cut() {
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
