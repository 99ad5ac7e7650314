//! Edits of JSON objects as text: one member changes, every other byte stays. Pure.
//!
//! The gateway renames, adds and removes members of messages that it passes on, and must not change anything else of them: the text
//! of numbers, the order of members, duplicates and white space.

use std::ops::Range;

use crate::domain::{body::Body, json::token::string_end};

/// A member of an object: the places of its name and of its value.
struct Member {
    name: Range<usize>,
    value: Range<usize>,
}

/// Returns the members at the top level of a JSON object; `None` if this is not one.
fn members(json: &[u8]) -> Option<Vec<Member>> {
    let space = |mut at: usize| {
        while json.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let mut at = space(0);
    if json.get(at) != Some(&b'{') {
        return None;
    }
    at = space(at + 1);
    let mut found = vec![];
    if json.get(at) == Some(&b'}') {
        return Some(found);
    }
    loop {
        let name = at..string_end(json, at).filter(|_| json.get(at) == Some(&b'"'))?;
        at = space(name.end);
        if json.get(at) != Some(&b':') {
            return None;
        }
        let start = space(at + 1);
        let value = start..value_end(json, start)?;
        at = space(value.end);
        found.push(Member { name, value });
        match json.get(at)? {
            b',' => at = space(at + 1),
            b'}' => return Some(found),
            _ => return None,
        }
    }
}

/// Returns where the JSON value at `start` ends.
fn value_end(json: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0usize);
    loop {
        match json.get(at)? {
            b'"' => at = string_end(json, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            // The end of the object around a plain value.
            b'}' | b']' if depth == 0 => return Some(trimmed(json, start, at)),
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b',' if depth == 0 => return Some(trimmed(json, start, at)),
            _ => at += 1,
        }
    }
}

fn trimmed(json: &[u8], start: usize, end: usize) -> usize {
    start + json[start..end].trim_ascii_end().len()
}

fn is_named(json: &[u8], member: &Member, name: &str) -> bool {
    let text = &json[member.name.clone()];
    text[1..text.len() - 1] == *name.as_bytes() || serde_json::from_slice::<String>(text).is_ok_and(|own| own == name)
}

/// Returns the object with another value of a member, which is added at the end if it is missing. Of duplicates the last one
/// counts. Returns text that is not an object unchanged.
pub fn set(json: &Body, name: &str, value: &[u8]) -> Body {
    let bytes = json.bytes();
    let Some(found) = members(bytes) else { return json.clone() };
    let mut text = Vec::with_capacity(bytes.len() + name.len() + value.len() + 4);
    match found.iter().rev().find(|member| is_named(bytes, member, name)) {
        Some(member) => {
            text.extend_from_slice(&bytes[..member.value.start]);
            text.extend_from_slice(value);
            text.extend_from_slice(&bytes[member.value.end..]);
        }
        None => {
            let end = bytes.iter().rposition(|byte| *byte == b'}').unwrap_or_default();
            let last = trimmed(bytes, 0, end);
            text.extend_from_slice(&bytes[..last]);
            if !found.is_empty() {
                text.push(b',');
            }
            text.extend_from_slice(Body::json(name).bytes());
            text.push(b':');
            text.extend_from_slice(value);
            text.extend_from_slice(&bytes[last..]);
        }
    }
    Body::new(text)
}

/// Returns the object with members added that it does not have.
pub fn add(json: &Body, members: &[(&str, &str)]) -> Body {
    members.iter().fold(json.clone(), |json, (name, value)| match json.fields([*name]) {
        Some([None]) => set(&json, name, value.as_bytes()),
        _ => json,
    })
}

/// Returns the object without the members of these names.
pub fn remove(json: &Body, names: &[&str]) -> Body {
    let bytes = json.bytes();
    let Some(found) = members(bytes) else { return json.clone() };
    let removed = |member: &Member| names.iter().any(|name| is_named(bytes, member, name));
    if !found.iter().any(removed) {
        return json.clone();
    }
    let mut text = Vec::with_capacity(bytes.len());
    let open = bytes.iter().position(|byte| *byte == b'{').map_or(0, |at| at + 1);
    text.extend_from_slice(&bytes[..open]);
    let retained: Vec<&Member> = found.iter().filter(|member| !removed(member)).collect();
    for (at, member) in retained.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        text.extend_from_slice(&bytes[member.name.start..member.value.end]);
    }
    text.push(b'}');
    Body::new(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_member_changes_and_every_other_byte_stays() {
        let set = |json: &str, name: &str, value: &str| set(&Body::from(json), name, value.as_bytes()).text().into_owned();
        for (json, expected) in [
            (r#"{"name": "a" ,"n":1.0}"#, r#"{"name": 7 ,"n":1.0}"#),
            (r#"{"x":{"name":1},"n\u0061me":"a"}"#, r#"{"x":{"name":1},"n\u0061me":7}"#),
            (r#" {"s":"}\"name","v":[1e400 ] } "#, r#" {"s":"}\"name","v":[1e400 ],"name":7 } "#),
            ("{ }", r#"{"name":7 }"#),
            ("[1]", "[1]"),
            (r#"{"a":1"#, r#"{"a":1"#),
        ] {
            assert_eq!(set(json, "name", "7"), expected, "{json}");
        }
        let remove = |json: &str| remove(&Body::from(json), &["a", "b"]).text().into_owned();
        for (json, expected) in [
            (r#"{"a":1,"x": 2.0}"#, r#"{"x": 2.0}"#),
            (r#"{"x":[1,{"a":2}] , "b":{"c":"}"}}"#, r#"{"x":[1,{"a":2}]}"#),
            (r#"{"a":1,"b":2}"#, "{}"),
            (r#"{ "x" : 1 }"#, r#"{ "x" : 1 }"#),
        ] {
            assert_eq!(remove(json), expected, "{json}");
        }
    }

    proptest! {
        #[test]
        fn the_result_is_the_object_with_that_member(
            object in proptest::collection::btree_map("[a-c\"\\\\é]{0,3}", "[ -~é]{0,6}", 0..5),
            name in "[a-c]{1}",
        ) {
            let json = Body::json(&object);
            let mut wanted: serde_json::Value = json.value().unwrap();
            prop_assert_eq!(remove(&json, &[name.as_str()]).value().unwrap(), {
                let mut without = wanted.clone();
                without.as_object_mut().unwrap().remove(&name);
                without
            });
            wanted[&name] = 7.into();
            prop_assert_eq!(set(&json, &name, b"7").value().unwrap(), wanted);
        }

        #[test]
        fn nothing_makes_it_panic(text in "[{}\\[\\]\",:\\\\ a1]{0,30}") {
            let json = Body::from(text);
            set(&json, "a", b"1");
            remove(&json, &["a"]);
        }
    }
}
