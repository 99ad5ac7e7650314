//! Values that must never be printed.

use std::fmt;

use serde::{Deserialize, Serialize};

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

/// Replaces known secret values in text that is about to be shown or stored.
///
/// Values shorter than six bytes are left alone: replacing them would hide ordinary words.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    /// Every form of every value, the longest first; kept as secrets so that `Debug` shows none.
    forms: Vec<Secret>,
}

impl Redactor {
    /// Makes a redactor for `secrets`.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let long = secrets.into_iter().filter(|s| s.value.len() >= 6);
        let mut forms: Vec<Secret> =
            long.flat_map(|s| [s.value.clone(), json_inner(&s.value), percent(&s.value)]).map(Secret::literal).collect();
        forms.sort_by(|a, b| b.value.len().cmp(&a.value.len()).then_with(|| a.value.cmp(&b.value)));
        forms.dedup();
        Self { forms }
    }

    /// Whether any known value stands in `bytes`.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        self.forms.iter().any(|form| memchr::memmem::find(bytes, form.value.as_bytes()).is_some())
    }

    /// The text with every known value, plain or as inside a JSON string, replaced by [`MASK`].
    pub fn redact(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for form in &self.forms {
            if out.contains(&form.value) {
                out = out.replace(&form.value, MASK);
            }
        }
        out
    }
}

fn json_inner(value: &str) -> String {
    let quoted = serde_json::Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn percent(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

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
