//! JSON objects whose values stay raw text, so that numbers and unknown members keep their exact form. Pure.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::body::{self, Body};

/// A JSON object: names in order, each with its value as JSON text. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawObject {
    members: Vec<(Cow<'static, str>, Body)>,
}

impl RawObject {
    /// Reads a JSON object; `None` if `json` is something else. The values are slices of `json`.
    pub fn parse(json: &Body) -> Option<RawObject> {
        let raw = |value: &RawValue| json.slice_of(value.get().as_bytes());
        let members = body::object(json.bytes())?.into_iter().map(|(name, value)| (Cow::Owned(name.into_owned()), raw(value)));
        Some(RawObject { members: members.collect() })
    }

    /// Adds a member, in place of those with the same name.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: Body) {
        let name = name.into();
        self.members.retain(|(present, _)| *present != name);
        self.members.push((name, value));
    }

    /// Returns the object with one more member.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: Body) -> RawObject {
        self.set(name, value);
        self
    }

    /// Returns the object without a member.
    #[must_use]
    pub fn without(mut self, name: &str) -> RawObject {
        self.members.retain(|(present, _)| present != name);
        self
    }

    /// Returns the object with other values where `change` returns one.
    #[must_use]
    pub fn map(&self, change: impl Fn(&str, &Body) -> Option<Body>) -> RawObject {
        let members = self.members.iter().map(|(name, value)| (name.clone(), change(name, value).unwrap_or_else(|| value.clone())));
        RawObject { members: members.collect() }
    }

    /// Adds the members of `other` that are missing here.
    #[must_use]
    pub fn or(mut self, other: RawObject) -> RawObject {
        let own = self.members.len();
        for (name, value) in other.members {
            if self.members[..own].iter().all(|(present, _)| *present != name) {
                self.members.push((name, value));
            }
        }
        self
    }

    /// Returns the value of a member. Of duplicate names the last one counts.
    pub fn get(&self, name: &str) -> Option<&Body> {
        self.members.iter().rev().find(|(present, _)| present == name).map(|(_, value)| value)
    }

    /// Returns the names of the members in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| &**name)
    }

    /// Returns whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Appends the object as JSON text.
    pub fn write(&self, text: &mut Vec<u8>) {
        text.push(b'{');
        for (at, (name, value)) in self.members.iter().enumerate() {
            if at > 0 {
                text.push(b',');
            }
            // Cannot fail: a text is written to memory.
            let _ = serde_json::to_writer(&mut *text, &**name);
            text.push(b':');
            text.extend_from_slice(value.bytes());
        }
        text.push(b'}');
    }

    /// Returns the object as JSON text.
    pub fn to_body(&self) -> Body {
        let mut text = vec![];
        self.write(&mut text);
        Body::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_order_and_the_text_of_values_stay() {
        let raw = r#"{"vendor/x":{"b":1.00,"a":12345678901234567890123},"grün \"q\"":[ 1 ],"n":1e400}"#;
        let object = RawObject::parse(&Body::from(raw)).unwrap();
        assert_eq!(object.to_body().text(), raw);
        assert_eq!(object.get("n").map(Body::text).as_deref(), Some("1e400"));
        assert_eq!(object.clone().without("n").with("vendor/x", Body::from("0")).to_body().text(), r#"{"grün \"q\"":[ 1 ],"vendor/x":0}"#);
        let own = RawObject::default().with("n", Body::from("7"));
        assert_eq!(own.or(object).get("n").map(Body::text).as_deref(), Some("7"));
        assert_eq!(RawObject::parse(&Body::from("[]")), None);
    }
}
