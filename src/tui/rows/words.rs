//! The texts of rows that are messages: one line that says what a message is about.

use super::{NOTE_BYTES, READ};
use crate::domain::{frame::Frame, plural::counted, time::size};

/// Returns the beginning of a text that is stored.
pub(super) fn cut(text: &str) -> String {
    let mut end = text.len().min(NOTE_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

/// Describes the response to a request for a list: `12 tools`. `None` for any other response. A large one is not parsed.
pub(super) fn list_words(frame: &Frame) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Response {
        result: Lists,
    }
    #[derive(serde::Deserialize)]
    struct Lists {
        tools: Option<Vec<serde::de::IgnoredAny>>,
        resources: Option<Vec<serde::de::IgnoredAny>>,
        #[serde(rename = "resourceTemplates")]
        templates: Option<Vec<serde::de::IgnoredAny>>,
        prompts: Option<Vec<serde::de::IgnoredAny>>,
    }
    let noun = match frame.method.as_deref()? {
        "tools/list" => "tool",
        "resources/list" => "resource",
        "resources/templates/list" => "template",
        "prompts/list" => "prompt",
        _ => return None,
    };
    if frame.body.len() > READ {
        return Some(format!("{noun}s · {}", size(frame.size)));
    }
    let Response { result } = serde_json::from_slice(frame.body.bytes()).ok()?;
    let list = result.tools.or(result.resources).or(result.templates).or(result.prompts)?;
    Some(counted(list.len(), noun))
}

/// Returns the message and the code of a response that is an error.
pub(super) fn error_words(response: &Frame) -> Option<String> {
    let [error] = response.body.fields(["error"])?;
    let error = error?.get();
    let value: serde_json::Value = serde_json::from_str(error).ok()?;
    Some(match (value["message"].as_str(), value["code"].as_i64()) {
        (Some(message), Some(code)) => format!("{message} ({code})"),
        _ => error.to_owned(),
    })
}

/// Formats a message in one line: its parameters, its result or its error, without the JSON-RPC envelope.
pub(super) fn message_text(frame: &Frame) -> String {
    #[derive(serde::Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        params: Option<&'a serde_json::value::RawValue>,
        #[serde(borrow)]
        result: Option<&'a serde_json::value::RawValue>,
        #[serde(borrow)]
        error: Option<&'a serde_json::value::RawValue>,
    }
    #[derive(serde::Deserialize)]
    struct Step {
        progress: f64,
        total: Option<f64>,
        message: Option<String>,
    }
    // A little more than is stored: the rest of a large frame is not read.
    let bytes = frame.body.bytes();
    let start = || String::from_utf8_lossy(&bytes[..bytes.len().min(NOTE_BYTES + 8)]).into_owned();
    if bytes.len() > READ {
        return start();
    }
    let Ok(message) = serde_json::from_slice::<Message>(bytes) else { return start() };
    if let Some(error) = message.error {
        return format!("error {}", error.get());
    }
    let Some(params) = message.params.or(message.result).map(|params| params.get()) else { return String::new() };
    if matches!(frame.method.as_deref(), Some("initialize" | "server/discover"))
        && let Some(words) = handshake_words(params)
    {
        return words;
    }
    if frame.method.as_deref() == Some("notifications/progress")
        && let Ok(Step { progress, total, message }) = serde_json::from_str(params)
    {
        let of_total = total.map(|total| format!(" of {total}")).unwrap_or_default();
        return format!("{progress}{of_total}{}", message.map(|m| format!(" · {m}")).unwrap_or_default());
    }
    without_meta(params).unwrap_or_else(|| params.to_owned())
}

/// Describes the parameters or the result of a handshake by who sent it: `everything-server 2.0.0 · 2025-11-25`. `None` if the
/// sender is not named.
fn handshake_words(message: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let field = |place: &str| message.pointer(place);
    let sender = field("/serverInfo")
        .or_else(|| field("/_meta/io.modelcontextprotocol~1serverInfo"))
        .or_else(|| field("/clientInfo"))
        .or_else(|| field("/_meta/io.modelcontextprotocol~1clientInfo"))?;
    let mut words = sender["name"].as_str()?.to_owned();
    if let Some(version) = sender["version"].as_str() {
        words = format!("{words} {version}");
    }
    let supported =
        || Some(field("/supportedVersions")?.as_array()?.iter().filter_map(|version| version.as_str()).collect::<Vec<_>>().join(", "));
    let version = field("/protocolVersion").and_then(|version| Some(version.as_str()?.to_owned())).or_else(supported);
    Some(match version.filter(|version| !version.is_empty()) {
        Some(version) => format!("{words} · {version}"),
        None => words,
    })
}

/// Returns the parameters of a message without `_meta`, which nearly all messages of the modern era repeat; empty if they
/// have nothing else. `None` if they have none.
fn without_meta(params: &str) -> Option<String> {
    let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(params).ok()?;
    fields.shift_remove("_meta")?;
    Some(if fields.is_empty() { String::new() } else { serde_json::Value::from(fields).to_string() })
}
