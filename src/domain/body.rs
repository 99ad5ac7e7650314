//! Message bodies: bytes exactly as they crossed the wire.

mod separate;

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

pub use self::separate::{with_bodies, without_bodies};
use super::secret::Redactor;

/// Part of a message exactly as it crossed the wire, normally JSON text.
///
/// Cheap to clone; a result is a slice of the frame that contained it. Serialised as a string, in which bytes that
/// are not UTF-8 are replaced by U+FFFD (only there); within [`without_bodies`] as a number, and not changed.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Body(Bytes);

impl Body {
    /// Wraps bytes without inspecting them.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// Serialises `value` as compact JSON. Values that cannot be serialised become `null`.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Self {
        Self(serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec()).into())
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the text; invalid UTF-8 is replaced by U+FFFD.
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Decodes the JSON text into a type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.0)
    }

    /// Returns the JSON value; `None` if this is not JSON.
    pub fn value(&self) -> Option<serde_json::Value> {
        self.parse().ok()
    }

    /// Returns whether this is JSON text. Numbers may exceed every type.
    pub fn is_json(&self) -> bool {
        serde_json::from_slice::<IgnoredAny>(&self.0).is_ok()
    }

    /// Masks every known secret, preserving valid JSON; copies nothing if there is none.
    pub fn redacted(&self, redactor: &Redactor) -> Body {
        if !redactor.finds(&self.0) {
            return self.clone();
        }
        let text = self.text();
        let json = text.trim_start().starts_with(['{', '[', '"', '-']) || text.trim_start().starts_with(|c: char| c.is_ascii_digit());
        Body::from(if json { redactor.redact_json(&text) } else { redactor.redact(&text) })
    }

    /// Returns the named members of the JSON object, undecoded; `None` if this is not a JSON object.
    ///
    /// Of duplicate names the last member counts. Allocates nothing, whatever the object contains.
    pub fn fields<const N: usize>(&self, names: [&str; N]) -> Option<[Option<&RawValue>; N]> {
        fields(&self.0, names)
    }

    /// Returns at most the first `limit` bytes, cut at a character boundary; in separate memory if bytes are left
    /// out.
    pub fn front(&self, limit: usize) -> Body {
        if self.len() <= limit {
            return self.clone();
        }
        let within = |at: usize| self.0[at] & 0xc0 == 0x80;
        let end = (limit.saturating_sub(3)..=limit).rev().find(|at| !within(*at)).unwrap_or(limit);
        Body(Bytes::copy_from_slice(&self.0[..end]))
    }

    /// Copies the bytes to separate memory, so that they do not keep a larger message alive.
    pub fn detached(&self) -> Body {
        Body(Bytes::copy_from_slice(&self.0))
    }

    /// Returns the slice of this body that `part` (which must point into it) covers, without copying.
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

/// Returns [`Body::fields`] of JSON text.
pub fn fields<'a, const N: usize>(json: &'a [u8], names: [&str; N]) -> Option<[Option<&'a RawValue>; N]> {
    struct Named<'n, const N: usize>([&'n str; N]);

    impl<'de, const N: usize> Visitor<'de> for Named<'_, N> {
        type Value = [Option<&'de RawValue>; N];

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = [None; N];
            while let Some(Name(name)) = map.next_key()? {
                match self.0.iter().position(|wanted| *wanted == name) {
                    Some(place) => found[place] = Some(map.next_value()?),
                    None => {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
            }
            Ok(found)
        }
    }

    let mut reader = serde_json::Deserializer::from_slice(json);
    let found = reader.deserialize_map(Named(names)).ok()?;
    reader.end().ok().map(|()| found)
}

/// Returns the members of a JSON object in order, undecoded; `None` if this is not a JSON object.
pub fn object(json: &[u8]) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = vec![];
            while let Some((Name(name), value)) = map.next_entry()? {
                found.push((name, value));
            }
            Ok(found)
        }
    }

    let mut reader = serde_json::Deserializer::from_slice(json);
    let found = reader.deserialize_map(Members).ok()?;
    reader.end().ok().map(|()| found)
}

/// Returns the first `most` members of a JSON array, undecoded, and their total number; an error if this is not an
/// array.
pub fn members(json: &[u8], most: usize) -> Result<(Vec<&RawValue>, usize), serde_json::Error> {
    struct Members(usize);

    impl<'de> Visitor<'de> for Members {
        type Value = (Vec<&'de RawValue>, usize);

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let (mut found, mut count) = (vec![], 0);
            while found.len() < self.0 {
                let Some(member) = seq.next_element()? else { return Ok((found, count)) };
                found.push(member);
                count += 1;
            }
            while seq.next_element::<IgnoredAny>()?.is_some() {
                count += 1;
            }
            Ok((found, count))
        }
    }

    let mut reader = serde_json::Deserializer::from_slice(json);
    let found = reader.deserialize_seq(Members(most))?;
    reader.end().map(|()| found)
}

/// The name of a member, borrowed if it contains no escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

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
        match separate::put(self) {
            Some(number) => serializer.serialize_u64(number),
            None => serializer.serialize_str(&self.text()),
        }
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !separate::reading() {
            return String::deserialize(deserializer).map(Body::from);
        }
        let number = u64::deserialize(deserializer)?;
        separate::get(number).ok_or_else(|| D::Error::custom(format_args!("body {number} is missing")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_members_are_found_without_decoding_the_others() {
        let body = Body::from(r#" {"a":1,"x":[{"a":2}],"n\u0061me":"\ud800","a":[3]} "#);
        let [a, name, none] = body.fields(["a", "name", "none"]).unwrap();
        assert_eq!((a.unwrap().get(), name.unwrap().get(), none.is_none()), ("[3]", r#""\ud800""#, true));
        for wrong in ["[1]", "{", "{} x", "7"] {
            assert!(Body::from(wrong).fields(["a"]).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_members_of_an_array_are_counted_and_only_the_first_are_held() {
        let array = format!("[{}0]", "1,".repeat(100_000));
        let (found, count) = members(array.as_bytes(), 3).unwrap();
        assert_eq!((found.len(), found.capacity() <= 4, count), (3, true, 100_001));
        assert!(members(b"[1,", 3).is_err() && members(b"{}", 3).is_err() && members(b"[] x", 3).is_err());
    }

    #[test]
    fn a_front_keeps_no_larger_message_alive() {
        let body = Body::new(vec![b'x'; 1000]);
        let front = body.front(10);
        assert_eq!(front.len(), 10);
        assert_ne!(front.bytes().as_ptr(), body.bytes().as_ptr());
        assert_eq!(body.front(1000).bytes().as_ptr(), body.bytes().as_ptr());
    }
}
