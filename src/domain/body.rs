//! Bytes as they crossed the wire.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use super::secret::Redactor;

/// A piece of a message exactly as it crossed the wire, normally JSON text.
///
/// Cheap to clone; a result is a slice of the frame that it came in. Serialised as a string; bytes
/// that are no UTF-8 are replaced by U+FFFD there (and only there).
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Body(Bytes);

impl Body {
    /// Wraps bytes without looking at them.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// Serialises `value` as compact JSON. Values that cannot be serialised become `null`.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        Self(serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec()).into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text; invalid UTF-8 is replaced by U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Decodes the JSON text into a type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }

    /// The JSON value, or `None` when this is no JSON.
    pub fn value(&self) -> Option<serde_json::Value> {
        self.parse().ok()
    }

    /// The same with every known secret masked, JSON staying JSON; nothing is copied when there is none.
    pub fn redacted(&self, redactor: &Redactor) -> Body {
        if !redactor.finds(&self.0) {
            return self.clone();
        }
        let text = self.text();
        let json = text.trim_start().starts_with(['{', '[', '"', '-']) || text.trim_start().starts_with(|c: char| c.is_ascii_digit());
        Body::from(if json { redactor.redact_json(&text) } else { redactor.redact(&text) })
    }

    /// The slice of this body that `part` (which must point into it) covers, without copying.
    ///
    /// A `part` from elsewhere is copied.
    pub fn slice_of(&self, part: &[u8]) -> Body {
        let (start, from) = (self.0.as_ptr() as usize, part.as_ptr() as usize);
        if from >= start && from + part.len() <= start + self.0.len() {
            Body(self.0.slice_ref(part))
        } else {
            Body(Bytes::copy_from_slice(part))
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        match text.char_indices().nth(200) {
            Some((end, _)) => write!(f, "{:?}… {} bytes", &text[..end], self.len()),
            None => write!(f, "{text:?}"),
        }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Body::from)
    }
}
