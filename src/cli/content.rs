//! Content of results: converts the result of a tool, a resource or a prompt into blocks to print.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::domain::{body::Body, time};

/// A piece of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Text, as the server sent it.
    Text(String),
    /// JSON text, as the server sent it.
    Json(String),
    /// Binary contents.
    Binary {
        /// Placeholder: `[image/png 34 kB]`.
        label: String,
        /// The bytes; `None` when the base64 is invalid.
        bytes: Option<Vec<u8>>,
    },
}

/// Returns the blocks of a `tools/call` result. Text that only repeats the structured content is left out.
pub fn of_tool(result: &Body) -> Vec<Block> {
    #[derive(Deserialize)]
    struct Shape {
        #[serde(default)]
        content: Vec<Box<RawValue>>,
        #[serde(rename = "structuredContent")]
        structured: Option<Box<RawValue>>,
    }
    let Ok(shape) = result.parse::<Shape>() else { return raw_block(result) };
    if shape.content.is_empty() && shape.structured.is_none() {
        return raw_block(result);
    }
    let structured: Option<Value> = shape.structured.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok());
    let repeats = |block: &Block| match (block, &structured) {
        (Block::Text(text), Some(structured)) => serde_json::from_str::<Value>(text).is_ok_and(|value| value == *structured),
        _ => false,
    };
    let mut blocks: Vec<Block> = shape.content.iter().map(|raw| content(raw)).filter(|block| !repeats(block)).collect();
    blocks.extend(shape.structured.map(|raw| Block::Json(raw.get().to_owned())));
    blocks
}

/// Returns the blocks of a `resources/read` result.
pub fn of_resource(result: &Body) -> Vec<Block> {
    #[derive(Deserialize)]
    struct Shape {
        contents: Vec<Box<RawValue>>,
    }
    match result.parse::<Shape>() {
        Ok(shape) => shape.contents.iter().map(|raw| embedded(&value(raw)).unwrap_or_else(|| Block::Json(raw.get().into()))).collect(),
        Err(_) => raw_block(result),
    }
}

/// Returns the blocks of a `prompts/get` result: each message after its role.
pub fn of_prompt(result: &Body) -> Vec<Block> {
    #[derive(Deserialize)]
    struct Message {
        role: String,
        content: Box<RawValue>,
    }
    #[derive(Deserialize)]
    struct Shape {
        messages: Vec<Message>,
    }
    let Ok(shape) = result.parse::<Shape>() else { return raw_block(result) };
    let blocks = shape.messages.iter().flat_map(|message| match content(&message.content) {
        Block::Text(text) => vec![Block::Text(format!("{}: {text}", message.role))],
        other => vec![Block::Text(format!("{}:", message.role)), other],
    });
    blocks.collect()
}

/// The values of a completion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Completion {
    /// The values.
    pub values: Vec<String>,
    /// The number of all values, if the server says so.
    #[serde(default)]
    pub total: Option<u64>,
    /// Whether there are more values.
    #[serde(default, rename = "hasMore")]
    pub has_more: bool,
}

/// Returns the values of a `completion/complete` result; `None` if it has another form.
pub fn completion(result: &Body) -> Option<Completion> {
    #[derive(Deserialize)]
    struct Shape {
        completion: Completion,
    }
    result.parse::<Shape>().ok().map(|shape| shape.completion)
}

fn raw_block(result: &Body) -> Vec<Block> {
    match result.parse::<Box<RawValue>>() {
        Ok(raw) => vec![Block::Json(raw.get().to_owned())],
        Err(_) => vec![Block::Text(result.text().into_owned())],
    }
}

fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// Converts one content block (MCP 2025-11-25, "Tool Result"); unknown kinds become JSON.
fn content(raw: &RawValue) -> Block {
    let value = value(raw);
    let block = match text(&value, "type") {
        Some("text") => text(&value, "text").map(|t| Block::Text(t.to_owned())),
        Some("image" | "audio") => text(&value, "data").map(|data| binary(text(&value, "mimeType").unwrap_or("binary"), data, None)),
        Some("resource") => value.get("resource").and_then(embedded),
        Some("resource_link") => text(&value, "uri").map(|uri| {
            let name = text(&value, "name").filter(|name| *name != uri).map(|name| format!("{name} ")).unwrap_or_default();
            Block::Text(format!("[link {name}{uri}]"))
        }),
        _ => None,
    };
    block.unwrap_or_else(|| Block::Json(raw.get().to_owned()))
}

fn embedded(resource: &Value) -> Option<Block> {
    match (text(resource, "text"), text(resource, "blob")) {
        (Some(text), _) => Some(Block::Text(text.to_owned())),
        (None, Some(blob)) => Some(binary(text(resource, "mimeType").unwrap_or("binary"), blob, text(resource, "uri"))),
        (None, None) => None,
    }
}

fn binary(kind: &str, data: &str, uri: Option<&str>) -> Block {
    let bytes = decode(data);
    let size = match &bytes {
        Some(bytes) => time::size(bytes.len() as u64),
        None => "invalid base64".into(),
    };
    Block::Binary { label: format!("[{kind} {size}{}]", uri.map(|uri| format!(" {uri}")).unwrap_or_default()), bytes }
}

/// Decodes base64 (RFC 4648, section 4); accepts line breaks and missing padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose =
        GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));
    if text.contains(char::is_whitespace) {
        return LENIENT.decode(text.split_whitespace().collect::<String>()).ok();
    }
    LENIENT.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_decodes_and_refuses() {
        for (text, bytes) in [("", &b""[..]), ("Zg==", b"f"), ("Zm8", b"fo"), ("Zm9v\nYmFy", b"foobar"), ("+/8=", &[0xfb, 0xff])] {
            assert_eq!(decode(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!((decode("Z"), decode("a-b_")), (None, None));
    }

    #[test]
    fn every_kind_of_content_is_shown() {
        let result = Body::from(
            r#"{"content":[{"type":"text","text":"hi"},{"type":"image","mimeType":"image/png","data":"Zm9v"},
            {"type":"resource","resource":{"uri":"f:///a","text":"inside"}},{"type":"resource","resource":{"uri":"f:///b","blob":"!!"}},
            {"type":"resource_link","uri":"f:///c","name":"c"},{"type":"new","n":1.0}]}"#,
        );
        assert_eq!(
            of_tool(&result),
            [
                Block::Text("hi".into()),
                Block::Binary { label: "[image/png 3 B]".into(), bytes: Some(b"foo".to_vec()) },
                Block::Text("inside".into()),
                Block::Binary { label: "[binary invalid base64 f:///b]".into(), bytes: None },
                Block::Text("[link c f:///c]".into()),
                Block::Json(r#"{"type":"new","n":1.0}"#.into()),
            ]
        );
    }

    #[test]
    fn structured_content_is_printed_once() {
        let result = Body::from(
            r#"{"content":[{"type":"text","text":"{\"b\":[1.0],\"a\":1}"},{"type":"text","text":"note"}],"structuredContent":{"a":1,"b":[1.0]}}"#,
        );
        assert_eq!(of_tool(&result), [Block::Text("note".into()), Block::Json(r#"{"a":1,"b":[1.0]}"#.into())]);
    }

    #[test]
    fn odd_results_are_shown_whole() {
        assert_eq!(of_tool(&Body::from("[1]")), [Block::Json("[1]".into())]);
        assert_eq!(of_tool(&Body::from(r#"{"content":5}"#)), [Block::Json(r#"{"content":5}"#.into())]);
        assert_eq!(of_prompt(&Body::from("oops")), [Block::Text("oops".into())]);
        let prompt = Body::from(r#"{"messages":[{"role":"user","content":{"type":"text","text":"x"}}]}"#);
        assert_eq!(of_prompt(&prompt), [Block::Text("user: x".into())]);
        assert_eq!(of_resource(&Body::from(r#"{"contents":[{"uri":"u","text":"t"}]}"#)), [Block::Text("t".into())]);
    }
}
