//! A result as people want to read it: text unescaped, JSON inside of text as JSON, media by type and size. Pure.

use serde_json::Value;

use crate::domain::{body::Body, time::size};

/// The views of one result.
#[derive(Clone, Debug, PartialEq)]
pub struct Presented {
    /// What the tree shows.
    pub tree: Body,
    /// What the text view shows; several lines, not yet made harmless.
    pub text: String,
    /// Whether the text says it better than the tree.
    pub text_first: bool,
}

/// Something in a result that is more than text.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// An image, a sound or another file.
    Media {
        /// `image`, `audio` or `file`.
        kind: &'static str,
        /// Its type, as the server says.
        mime: String,
        /// Its bytes in base64.
        data: String,
    },
    /// A resource that can be read.
    Link(
        /// Its URI.
        String,
    ),
}

/// The parts of a `result`: the number of the item, its first line in the text view, the lines it
/// has there, and what it is.
pub fn parts(result: &Body) -> Vec<(usize, std::ops::Range<usize>, Part)> {
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

/// The items of a result, whatever they are called.
fn items(value: &Value) -> Vec<&Value> {
    ["content", "contents", "messages"]
        .iter()
        .find_map(|key| value.get(key)?.as_array())
        .map(|list| list.iter().collect())
        .unwrap_or_default()
}

/// Makes the views of the `result` of any request (MCP 2025-11-25: `CallToolResult`, `ReadResourceResult`,
/// `GetPromptResult`); anything else is shown as it is.
pub fn present(result: &Body) -> Presented {
    let Some(value) = result.value() else {
        return Presented { tree: result.clone(), text: result.text().into_owned(), text_first: true };
    };
    let items: Vec<&Value> = match (value.get("content"), value.get("contents"), value.get("messages")) {
        (Some(Value::Array(items)), _, _) | (_, Some(Value::Array(items)), _) => items.iter().collect(),
        (_, _, Some(Value::Array(messages))) => messages.iter().collect(),
        _ => {
            let text = serde_json::to_string_pretty(&value).unwrap_or_default();
            return Presented { tree: result.clone(), text, text_first: false };
        }
    };
    let text = items.iter().map(|item| describe(item)).collect::<Vec<_>>().join("\n");
    // A result that says one thing as JSON is shown as that thing.
    let inner = value.get("structuredContent").filter(|v| !v.is_null()).map(Body::json).or_else(|| match items.as_slice() {
        [one] => json_text(one),
        _ => None,
    });
    let text_first = inner.is_none() && items.iter().all(|item| item.get("text").or_else(|| item.pointer("/content/text")).is_some());
    Presented { tree: inner.unwrap_or_else(|| result.clone()), text, text_first: text_first && !items.is_empty() }
}

/// The JSON document in a text item, if its text is one.
fn json_text(item: &Value) -> Option<Body> {
    let text = item.get("text")?.as_str()?;
    if !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok().map(|_| Body::from(text.trim()))
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

    #[test]
    fn text_is_unescaped_and_json_in_text_is_a_tree() {
        let plain = of(r#"{"content":[{"type":"text","text":"one\n\"two\""}]}"#);
        assert_eq!((plain.text.as_str(), plain.text_first), ("one\n\"two\"", true));
        let json = of(r#"{"content":[{"type":"text","text":" {\"a\": 1.0} "}]}"#);
        assert_eq!((json.tree.text().as_ref(), json.text_first), (r#"{"a": 1.0}"#, false));
        let structured = of(r#"{"content":[{"type":"text","text":"7"}],"structuredContent":{"n":7}}"#);
        assert_eq!(structured.tree.text(), r#"{"n":7}"#);
        assert!(!structured.text_first);
    }

    #[test]
    fn media_resources_and_prompts_are_described() {
        let media =
            of(r#"{"content":[{"type":"image","mimeType":"image/png","data":"AAAA"},{"type":"resource_link","uri":"a://b","name":"B"}]}"#);
        assert_eq!(media.text, "[image · image/png · 3 B]\n[link · B · a://b]");
        assert_eq!(of(r#"{"contents":[{"uri":"a","text":"hello"}]}"#).text, "hello");
        assert_eq!(of(r#"{"messages":[{"role":"user","content":{"type":"text","text":"hi"}}]}"#).text, "[user]\nhi");
        assert_eq!(of(r#"{"tools":[]}"#).text, "{\n  \"tools\": []\n}");
        assert!(of("no json").text_first);
    }
}
