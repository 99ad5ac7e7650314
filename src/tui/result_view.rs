//! The presentation of a result: text unescaped, JSON inside of text as JSON, media by type and size. Pure.

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::domain::{body::Body, json::Json, time::size};

use super::widget::{grid::is_tabular, markdown::is_markdown};

/// The longest result that is rendered as Markdown, in bytes.
const MARKDOWN_LIMIT: usize = 8 << 20;
/// The longest document that is searched for a table, in bytes.
const TABLE_LIMIT: usize = 4 << 20;

/// The presentation of one result.
#[derive(Clone, Debug, PartialEq)]
pub struct Presented {
    /// The JSON for the tree.
    pub tree: Body,
    /// Whether the text ([`text`]) is a better first view than the tree.
    pub text_first: bool,
    /// Whether the text is Markdown.
    pub markdown: bool,
    /// Whether the tree has an array of objects, which reads well as a table.
    pub tabular: bool,
}

/// A part of a result that is more than text.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// An image, an audio clip or another file.
    Media {
        /// `image`, `audio` or `file`.
        kind: &'static str,
        /// Its MIME type, as declared by the server.
        mime: String,
        /// Its bytes in base64.
        data: String,
    },
    /// A resource link.
    Link(
        /// Its URI.
        String,
    ),
}

/// Returns the parts of a `result`: the number of the item, its first line in the text view, the number of lines
/// there, and the part.
pub fn parts(result: &Body) -> Vec<(usize, std::ops::Range<usize>, Part)> {
    // Large results are mostly text, which has no parts: they are not parsed.
    if Parts::of(result.bytes()).items().is_none_or(|items| items.iter().all(|item| Parts::of(item.get().as_bytes()).text.is_some())) {
        return vec![];
    }
    let value = result.value().unwrap_or_default();
    let mut found = Vec::new();
    let mut line = 0;
    for (index, item) in items(&value).into_iter().enumerate() {
        let lines = describe(item).split('\n').count();
        let inner = item.get("content").filter(|c| c.is_object()).unwrap_or(item);
        if let Some(part) = part(inner.get("resource").unwrap_or(inner), inner) {
            found.push((index, line..line + lines, part));
        }
        line += lines;
    }
    found
}

fn part(item: &Value, outer: &Value) -> Option<Part> {
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    if let Some(data) = text("data").or_else(|| text("blob")) {
        let kind = match outer.get("type").and_then(Value::as_str) {
            Some("image") => "image",
            Some("audio") => "audio",
            _ => "file",
        };
        return Some(Part::Media { kind, mime: text("mimeType").unwrap_or_default().to_owned(), data: data.to_owned() });
    }
    let link = outer.get("type").and_then(Value::as_str) == Some("resource_link");
    link.then(|| text("uri").map(|uri| Part::Link(uri.to_owned()))).flatten()
}

/// Returns the items of a result, under any of their names.
fn items(value: &Value) -> Vec<&Value> {
    ["content", "contents", "messages"]
        .iter()
        .find_map(|key| value.get(key)?.as_array())
        .map(|list| list.iter().collect())
        .unwrap_or_default()
}

/// The members of a result that matter here, unparsed: parsing large ones into values would take many
/// times their size, and change numbers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Parts<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    contents: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow, rename = "structuredContent")]
    structured: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
}

impl<'a> Parts<'a> {
    fn of(json: &'a [u8]) -> Parts<'a> {
        // A result that is not an object, or that repeats a key, has no usable members.
        serde_json::from_slice(json).unwrap_or_default()
    }

    fn items(&self) -> Option<Vec<&'a RawValue>> {
        let lists = [self.content, self.contents, self.messages];
        lists.into_iter().flatten().find_map(|list| serde_json::from_str(list.get()).ok())
    }

    /// Returns whether an item contains text, itself or in the content of a message, or reads better as text than
    /// as JSON: an image reads as its type and size, not its base64.
    fn has_text(&self) -> bool {
        let readable = |parts: &Parts| {
            let kind = parts.kind.map_or("", RawValue::get);
            parts.text.is_some() || matches!(kind, r#""image""# | r#""audio""# | r#""resource_link""# | r#""resource""#)
        };
        readable(self) || self.content.is_some_and(|content| readable(&Parts::of(content.get().as_bytes())))
    }
}

/// Finds the presentation of the `result` of any request (MCP 2025-11-25: `CallToolResult`, `ReadResourceResult`,
/// `GetPromptResult`); any other value is shown as received.
pub fn present(result: &Body) -> Presented {
    let parts = Parts::of(result.bytes());
    let Some(items) = parts.items() else {
        let tree = result.clone();
        return Presented { text_first: !is_json(result.bytes()), markdown: false, tabular: is_table(&tree), tree };
    };
    // A result with one JSON text is shown as that JSON, also if a member of the structured content wraps the text.
    let wrapped = parts.structured.and_then(wrapped_text);
    let structured = parts.structured.map(|value| result.slice_of(value.get().as_bytes()));
    let inner = match (&wrapped, structured) {
        (Some(text), structured) => json_document(text).or(structured),
        (None, Some(structured)) => Some(structured),
        (None, None) => match items.as_slice() {
            [one] => json_text(one),
            _ => None,
        },
    };
    let readable = !items.is_empty() && items.iter().all(|item| Parts::of(item.get().as_bytes()).has_text());
    let json = inner.is_some() && wrapped.as_ref().is_none_or(|text| json_document(text).is_some());
    let text_first = readable && !json;
    let tree = inner.unwrap_or_else(|| result.clone());
    let markdown = text_first && tree.len() <= MARKDOWN_LIMIT && (declares_markdown(&items) || is_markdown(&text(result).text()));
    Presented { text_first, markdown, tabular: is_table(&tree), tree }
}

/// Returns the text of structured content that is an object of one string: `{"result": "…"}`, as several frameworks wrap text.
fn wrapped_text(structured: &RawValue) -> Option<String> {
    let members: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(structured.get()).ok()?;
    let mut members = members.into_values();
    let (Some(one), None) = (members.next(), members.next()) else { return None };
    serde_json::from_str(one.get()).ok()
}

/// Returns whether an item declares the media type of Markdown (RFC 7763), or is a file with its extension.
fn declares_markdown(items: &[&RawValue]) -> bool {
    items.iter().any(|item| {
        let value: Value = serde_json::from_str(item.get()).unwrap_or_default();
        let item = value.get("resource").unwrap_or(&value);
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
        text("mimeType").starts_with("text/markdown") || text("uri").ends_with(".md")
    })
}

/// Returns whether a document is shown as a table too. Large documents are not parsed for that.
fn is_table(tree: &Body) -> bool {
    tree.len() <= TABLE_LIMIT && Json::parse(&tree.text()).is_ok_and(|json| is_tabular(&json))
}

/// Returns the lines of the text view of a result; not yet escaped.
pub fn text(result: &Body) -> Body {
    let Some(items) = Parts::of(result.bytes()).items() else {
        return match result.value() {
            Some(value) => Body::from(serde_json::to_string_pretty(&value).unwrap_or_default()),
            None => result.clone(),
        };
    };
    let mut texts = items.into_iter().map(|item| match serde_json::from_str(item.get()) {
        Ok(value) => describe(&value),
        Err(_) => item.get().to_owned(),
    });
    let mut all = texts.next().unwrap_or_default();
    for text in texts {
        all.push('\n');
        all.push_str(&text);
    }
    Body::from(all)
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
}

/// Returns the JSON document in a text item, if its text is one.
fn json_text(item: &RawValue) -> Option<Body> {
    let text: String = serde_json::from_str(Parts::of(item.get().as_bytes()).text?.get()).ok()?;
    json_document(&text)
}

/// Returns a text as JSON, if it is an object or an array.
fn json_document(text: &str) -> Option<Body> {
    if !text.trim_start().starts_with(['{', '[']) || !is_json(text.as_bytes()) {
        return None;
    }
    let document = Body::from(text);
    Some(document.slice_of(document.bytes().trim_ascii()))
}

fn describe(item: &Value) -> String {
    if let Some(role) = item.get("role").and_then(Value::as_str) {
        let content = item.get("content").map(describe).unwrap_or_default();
        return format!("[{role}]\n{content}");
    }
    if let Some(resource) = item.get("resource") {
        let text = |key: &str| resource.get(key).and_then(Value::as_str);
        let inner = describe(resource);
        return format!("[resource · {} · {}]\n{inner}", text("mimeType").unwrap_or("type unknown"), text("uri").unwrap_or("?"));
    }
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    if let Some(body) = text("text") {
        return body.to_owned();
    }
    let kind = text("type").unwrap_or("data");
    let mime = text("mimeType").unwrap_or("type unknown");
    if let Some(data) = text("data").or_else(|| text("blob")) {
        let padding = data.bytes().rev().take_while(|b| *b == b'=').count();
        let bytes = (data.len() / 4 * 3).saturating_sub(padding);
        return format!("[{kind} · {mime} · {}]", size(bytes as u64));
    }
    match text("uri") {
        Some(uri) => format!("[link · {} · {uri}]", text("name").unwrap_or(mime)),
        None => item.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Presented {
        present(&Body::from(json))
    }

    fn words(json: &str) -> String {
        text(&Body::from(json)).text().into_owned()
    }

    #[test]
    fn text_is_unescaped_and_json_in_text_is_a_tree() {
        let plain = r#"{"content":[{"type":"text","text":"one\n\"two\""}]}"#;
        assert_eq!((words(plain).as_str(), of(plain).text_first), ("one\n\"two\"", true));
        let json = of(r#"{"content":[{"type":"text","text":" {\"a\": 1.0} "}]}"#);
        assert_eq!((json.tree.text().as_ref(), json.text_first), (r#"{"a": 1.0}"#, false));
        let structured = of(r#"{"content":[{"type":"text","text":"7"}],"structuredContent":{"n":7}}"#);
        assert_eq!(structured.tree.text(), r#"{"n":7}"#);
        assert!(!structured.text_first);
    }

    #[test]
    fn wrapped_text_opens_as_text_and_wrapped_json_as_a_tree() {
        let text = of(r##"{"content":[{"type":"text","text":"# T\n\n- a\n- b"}],"structuredContent":{"content":"# T\n\n- a\n- b"}}"##);
        assert!(text.text_first && text.markdown);
        assert_eq!(text.tree.text(), r##"{"content":"# T\n\n- a\n- b"}"##);
        let json = of(r#"{"content":[{"type":"text","text":"x"}],"structuredContent":{"result":" [{\"a\":1},{\"a\":2}] "}}"#);
        assert_eq!((json.tree.text().as_ref(), json.text_first, json.tabular), (r#"[{"a":1},{"a":2}]"#, false, true));
        let two = of(r#"{"content":[{"type":"text","text":"x"}],"structuredContent":{"a":"x","b":"y"}}"#);
        assert!(!two.text_first && !two.tabular);
        let declared = of(r#"{"contents":[{"uri":"file:///README.md","text":"plain"}]}"#);
        assert!(declared.text_first && declared.markdown);
    }

    #[test]
    fn what_is_shown_is_what_came() {
        let exact = r#"{"n":12345678901234567890123,"f":1.50,"s":"\ud800"}"#;
        assert_eq!(of(&format!(r#"{{"content":[],"structuredContent":{exact}}}"#)).tree.text(), exact);
        let twice = r#"{"content":[],"content":[{"type":"text","text":"a"}]}"#;
        assert_eq!((of(twice).tree.text().as_ref(), of(twice).text_first), (twice, false));
        let half = r#"{"content":[{"type":"text","text":"a\ud800"},{"type":"text","text":"b"}]}"#;
        assert_eq!(words(half), "{\"type\":\"text\",\"text\":\"a\\ud800\"}\nb");
    }

    #[test]
    fn media_resources_and_prompts_are_described() {
        let media =
            r#"{"content":[{"type":"image","mimeType":"image/png","data":"AAAA"},{"type":"resource_link","uri":"a://b","name":"B"}]}"#;
        assert_eq!(words(media), "[image · image/png · 3 B]\n[link · B · a://b]");
        assert_eq!(words(r#"{"contents":[{"uri":"a","text":"hello"}]}"#), "hello");
        assert_eq!(words(r#"{"messages":[{"role":"user","content":{"type":"text","text":"hi"}}]}"#), "[user]\nhi");
        assert_eq!(words(r#"{"tools":[]}"#), "{\n  \"tools\": []\n}");
        assert!(of("no json").text_first);
    }
}
