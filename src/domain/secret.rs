//! Values that must never be printed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{body::Body, bounds};

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

    /// [`Redactor::redact`], cut to `limit` bytes as by [`bounds::cut`]. No front of a value is left where the text is cut.
    pub fn redact_cut(&self, text: &str, limit: usize) -> String {
        self.redact_front_of(text, limit, text.len())
    }

    /// [`Redactor::redact_cut`] of a text that is the front of a whole of `whole` bytes.
    pub fn redact_front_of(&self, text: &str, limit: usize, whole: usize) -> String {
        let longest = self.forms.first().map_or(0, |form| form.value.len());
        let window = bounds::boundary(text, limit.saturating_add(longest));
        let mut masked = self.redact(&text[..window]);
        if window == whole {
            bounds::shorten(&mut masked, limit);
            return masked;
        }
        masked.truncate(masked.len() - self.begun(masked.as_bytes()));
        bounds::cut_of(&masked, limit, whole).into_owned()
    }

    /// At most the first `limit` bytes of a body, every known value masked in them and no front of one left at the cut.
    /// Shares the memory of `body` when nothing is changed.
    pub fn redact_front(&self, body: &Body, limit: usize) -> Body {
        if body.len() <= limit {
            return body.redacted(self);
        }
        let longest = self.forms.first().map_or(0, |form| form.value.len());
        let window = body.front(limit.saturating_add(longest));
        let masked = if self.finds(window.bytes()) { Body::from(self.redact(&window.text())) } else { window };
        masked.front(limit.min(masked.len() - self.begun(masked.bytes())))
    }

    /// How many bytes at the end of `text` are the front of a known value.
    fn begun(&self, text: &[u8]) -> usize {
        let front = |form: &Secret| (1..form.value.len().min(text.len() + 1)).rev().find(|n| text.ends_with(&form.value.as_bytes()[..*n]));
        self.forms.iter().filter_map(front).max().unwrap_or(0)
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
