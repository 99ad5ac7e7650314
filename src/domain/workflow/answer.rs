//! Reads the response of a step's call into its `result` and `text`.

use serde_json::Value;

use super::{expression::Data, plan::ReadAs};
use crate::domain::{body::Body, json::Json};

/// Length of the excerpt of an unreadable response in messages, in characters.
const EXCERPT_CHARS: usize = 200;

/// The values read from a response.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// `steps.ID.result`.
    pub result: Data,
    /// `steps.ID.text`: the text blocks of the content, joined by line ends.
    pub text: String,
}

/// Reads the result of `tools/call`, `prompts/get` or `resources/read`. The error names what was expected.
pub fn read(read_as: ReadAs, answer: &Body) -> Result<Reading, String> {
    let parsed: Value = answer.parse().map_err(|error| format!("the response is not valid JSON ({error}): {}", excerpt(&answer.text())))?;
    let text = text_of(&parsed);
    // Parsed a second time, because serde's numbers are not exact.
    let structured = || {
        let json = Json::parse(&answer.text()).ok()?;
        json.get("structuredContent").map(Data::from)
    };
    let as_json = || Data::parse(&text);
    let result = match read_as {
        ReadAs::Text => Data::from(text.as_str()),
        ReadAs::Json => as_json()
            .map_err(|error| format!("the text of the response is not valid JSON ({error}); use result = \"text\" to take it as is"))?,
        ReadAs::Structured => structured().ok_or("the response has no structuredContent; remove `result` or set it to \"json\"")?,
        ReadAs::Auto => structured().or_else(|| as_json().ok()).unwrap_or_else(|| unstructured_result(&parsed, answer, &text)),
    };
    Ok(Reading { result, text })
}

/// Returns the beginning of a response, for messages.
fn excerpt(text: &str) -> String {
    let short: String = text.chars().take(EXCERPT_CHARS).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

/// Returns the result when there is neither structured content nor JSON text: the text, or the whole response if it
/// has no text.
fn unstructured_result(parsed: &Value, answer: &Body, text: &str) -> Data {
    let only_text = !text.is_empty() || parsed.get("content").and_then(Value::as_array).is_some_and(Vec::is_empty);
    if only_text { Data::from(text) } else { Data::parse(&answer.text()).unwrap_or_default() }
}

/// Returns the text of a result: from tool content, prompt messages or resource contents.
fn text_of(answer: &Value) -> String {
    let items = |key: &str| answer.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let block = |item: &Value| item.get("text").and_then(Value::as_str).map(str::to_owned);
    let inner = |message: &Value| match message.get("content") {
        Some(Value::Array(blocks)) => blocks.iter().filter_map(block).collect::<Vec<_>>(),
        Some(one) => block(one).into_iter().collect(),
        None => vec![],
    };
    let mut texts: Vec<String> = items("content").iter().filter_map(block).collect();
    texts.extend(items("messages").iter().flat_map(inner));
    texts.extend(items("contents").iter().filter_map(block));
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(read_as: ReadAs, answer: &str) -> Result<String, String> {
        read(read_as, &Body::from(answer)).map(|reading| reading.result.json())
    }

    #[test]
    fn structured_content_precedes_json_text_and_json_text_precedes_text() {
        let both = r#"{"content":[{"type":"text","text":"{\"a\":1}"}],"structuredContent":{"b":12345678901234567890123}}"#;
        assert_eq!(result(ReadAs::Auto, both).unwrap(), r#"{"b":12345678901234567890123}"#);
        assert_eq!(result(ReadAs::Json, both).unwrap(), r#"{"a":1}"#);
        assert_eq!(result(ReadAs::Text, both).unwrap(), r#""{\"a\":1}""#);
        let text = r#"{"content":[{"type":"text","text":"Deleted"},{"type":"text","text":"Ann"}]}"#;
        assert_eq!(result(ReadAs::Auto, text).unwrap(), r#""Deleted\nAnn""#);
        assert!(result(ReadAs::Json, text).unwrap_err().contains("not valid JSON"));
        assert!(result(ReadAs::Structured, text).unwrap_err().contains("structuredContent"));
    }

    #[test]
    fn prompts_and_resources_have_text_and_images_are_returned_whole() {
        let prompt = r#"{"messages":[{"role":"user","content":{"type":"text","text":"Hi"}},{"role":"assistant","content":[{"type":"text","text":"Yo"}]}]}"#;
        assert_eq!(result(ReadAs::Auto, prompt).unwrap(), r#""Hi\nYo""#);
        let resource = r#"{"contents":[{"uri":"x://y","text":"[1,2]"}]}"#;
        assert_eq!(result(ReadAs::Auto, resource).unwrap(), "[1,2]");
        let picture = r#"{"content":[{"type":"image","data":"AA==","mimeType":"image/png"}]}"#;
        assert_eq!(result(ReadAs::Auto, picture).unwrap(), picture);
        assert_eq!(result(ReadAs::Auto, r#"{"content":[]}"#).unwrap(), r#""""#);
        assert!(result(ReadAs::Auto, "{").is_err());
    }
}
