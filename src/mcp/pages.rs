//! One page of a list, read within what is left of the list's bounds. Pure.

use std::time::Duration;

use serde_json::value::RawValue;

use crate::domain::{
    body::{self, Body},
    bounds,
    server::Era,
};

/// A page of a list.
#[derive(Debug, Default, PartialEq)]
pub struct Page {
    /// Its entries, as they came.
    pub items: Vec<Body>,
    /// The bytes of these entries.
    pub bytes: usize,
    /// Why entries were left out, if any were.
    pub cut: Option<Cut>,
    /// Where the next page begins.
    pub next: Next,
    /// How long this one holds; zero and nonsense are as good as nothing.
    pub ttl: Option<Duration>,
}

/// Why a page is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It has more entries than may be stored.
    Items,
    /// Its entries are longer than may be stored.
    Bytes,
}

/// Where the next page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Next {
    /// There is none.
    #[default]
    End,
    /// At this cursor.
    At(String),
    /// At a cursor of this length, which is too long to be sent back.
    TooLong(usize),
}

/// Returns the type of a JSON value, for people.
fn kind_of(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Reads a page of the list `key` of a server of this era: at most `most` entries of `room` bytes together.
///
/// Entries that are a small part of their message are copied out of it, so that they do not keep it alive.
pub fn read(result: &Body, key: &str, era: Era, most: usize, room: usize) -> Result<Page, String> {
    let [list, next, ttl, kind] = result.fields([key, "nextCursor", "ttlMs", "resultType"]).ok_or("the result is not an object")?;
    // A client must not accept a result of an unknown type (MCP 2026-07-28, basic, "ResultType").
    if let Some(kind) = kind.filter(|kind| era == Era::Modern && kind.get() != "\"complete\"") {
        return Err(format!("the result has the type {}, which is unknown here", bounds::cut(kind.get(), 100)));
    }
    let list = list.ok_or_else(|| format!("the result has no {key:?}"))?;
    let (members, count) = body::members(list.get().as_bytes(), most).map_err(|_| format!("{key:?} is {}, not a list", kind_of(list)))?;
    let mut page = Page { next: cursor(next), ..Page::default() };
    page.ttl = ttl.and_then(|ttl| ttl.get().parse().ok()).filter(|ms| *ms > 0).map(Duration::from_millis);
    page.cut = (count > members.len()).then_some(Cut::Items);
    for member in members {
        let length = member.get().len();
        if page.bytes + length > room {
            page.cut = Some(Cut::Bytes);
            break;
        }
        page.bytes += length;
        page.items.push(result.slice_of(member.get().as_bytes()));
    }
    if page.bytes < result.len() / 2 {
        page.items.iter_mut().for_each(|item| *item = item.detached());
    }
    Ok(page)
}

fn cursor(next: Option<&RawValue>) -> Next {
    match next.map(RawValue::get) {
        Some(token) if token.starts_with('"') && token.len() - 2 > bounds::CURSOR => Next::TooLong(token.len() - 2),
        Some(token) => bounds::json_text(token, bounds::CURSOR).map_or(Next::End, Next::At),
        None => Next::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(page: &Page) -> Vec<String> {
        page.items.iter().map(|item| item.text().into_owned()).collect()
    }

    #[test]
    fn entries_are_taken_while_there_is_room() {
        let result = Body::from(r#"{"tools":[{"a":1},{"b":22},3],"nextCursor":"n","ttlMs":5}"#);
        let whole = read(&result, "tools", Era::Modern, 10, 1000).unwrap();
        assert_eq!((texts(&whole), whole.bytes, whole.cut), (vec![r#"{"a":1}"#.into(), r#"{"b":22}"#.into(), "3".into()], 16, None));
        assert_eq!((whole.next, whole.ttl), (Next::At("n".into()), Some(Duration::from_millis(5))));
        let few = read(&result, "tools", Era::Modern, 2, 1000).unwrap();
        assert_eq!((few.items.len(), few.cut), (2, Some(Cut::Items)));
        let short = read(&result, "tools", Era::Modern, 10, 9).unwrap();
        assert_eq!((short.items.len(), short.bytes, short.cut), (1, 7, Some(Cut::Bytes)));
        assert!(read(&result, "prompts", Era::Modern, 10, 9).is_err() && read(&Body::from("[]"), "tools", Era::Modern, 10, 9).is_err());
        assert_eq!(read(&Body::from(r#"{"tools":[],"nextCursor":null}"#), "tools", Era::Modern, 1, 1).unwrap().next, Next::End);
    }

    #[test]
    fn v03_a_page_of_an_unknown_type_is_refused_in_the_modern_era() {
        let odd = Body::from(r#"{"resultType":"com.example/weird","tools":[]}"#);
        assert!(read(&odd, "tools", Era::Modern, 10, 9).unwrap_err().contains("com.example/weird"));
        assert!(read(&odd, "tools", Era::Legacy, 10, 9).is_ok());
        assert!(read(&Body::from(r#"{"resultType":"complete","tools":[]}"#), "tools", Era::Modern, 10, 9).is_ok());
    }

    #[test]
    fn a_small_entry_keeps_no_large_page_alive_and_a_long_cursor_is_not_sent_back() {
        let long = "x".repeat(bounds::CURSOR + 1);
        let result = Body::from(format!(r#"{{"tools":[{{"name":"t"}}],"nextCursor":"{long}"}}"#));
        let page = read(&result, "tools", Era::Modern, 10, 1000).unwrap();
        assert_eq!(page.next, Next::TooLong(bounds::CURSOR + 1));
        let within = result.bytes().as_ptr_range();
        assert!(!within.contains(&page.items[0].bytes().as_ptr()));
    }
}
