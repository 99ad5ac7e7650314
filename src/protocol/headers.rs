//! Routing headers of MCP 2026-07-28 (SEP-2243). Pure.

use std::collections::HashMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::domain::{
    body::{self, Body},
    bounds,
};

/// Longest schema whose annotations are read, tools with annotations that are remembered, and annotations of each.
const TOOL: usize = 256 << 10;
const LEARNED: usize = 1000;
const HEADERS_OF_TOOL: usize = 64;

/// A tool's arguments that travel as headers too: `x-mcp-header` in its schema.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParamHeaders {
    tools: HashMap<String, Vec<(Vec<String>, String)>>,
}

impl ParamHeaders {
    /// Reads the annotations of the tools in a result of `tools/list`, at most `items` of them.
    ///
    /// Only tools with an annotation are decoded. A tool is held once, and none over `TOOL` or beyond `LEARNED` tools.
    pub fn learn(&mut self, result: &Body, items: usize) {
        let Some([Some(list)]) = result.fields(["tools"]) else { return };
        let Ok((tools, _)) = body::members(list.get().as_bytes(), items) else { return };
        for tool in tools {
            let Some([Some(name), schema]) = body::fields(tool.get().as_bytes(), ["name", "inputSchema"]) else { continue };
            let name = Some(name.get()).filter(|name| name.len() <= bounds::NAME + 2);
            let Some(name) = name.and_then(|name| bounds::json_text(name, bounds::NAME)) else { continue };
            self.tools.remove(&name);
            let schema = schema.filter(|schema| {
                let text = schema.get();
                text.len() <= TOOL && memchr::memmem::find(text.as_bytes(), b"x-mcp-header").is_some()
            });
            let schema = schema.and_then(|schema| serde_json::from_str::<Value>(schema.get()).ok());
            let Some(schema) = schema.filter(|_| self.tools.len() < LEARNED) else { continue };
            let mut found = Vec::new();
            collect(&schema, &mut Vec::new(), &mut found, 0);
            found.truncate(HEADERS_OF_TOOL);
            found.retain(|(path, header)| path.iter().map(String::len).sum::<usize>() + header.len() <= bounds::LINE);
            self.tools.insert(name, found);
        }
    }

    /// The routing headers of a request with these `params`.
    pub fn of(&self, method: &str, params: &Body) -> Vec<(String, String)> {
        let mut headers = vec![("Mcp-Method".to_owned(), encode(method))];
        let key = match method {
            "tools/call" | "prompts/get" => "name",
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => "uri",
            _ => return headers,
        };
        let params = params.value().unwrap_or_default();
        let Some(name) = params.get(key).and_then(Value::as_str) else { return headers };
        headers.push(("Mcp-Name".to_owned(), encode(name)));
        if method == "tools/call" {
            for (path, header) in self.tools.get(name).into_iter().flatten() {
                let value = path.iter().try_fold(&params["arguments"], |value, key| value.get(key));
                let text = match value {
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Bool(flag)) => flag.to_string(),
                    Some(Value::Number(number)) => number.to_string(),
                    _ => continue,
                };
                headers.push((format!("Mcp-Param-{header}"), encode(&text)));
            }
        }
        headers
    }
}

fn collect(schema: &Value, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, String)>, depth: usize) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object).filter(|_| depth < 32) else { return };
    for (name, property) in properties {
        path.push(name.clone());
        if let Some(header) = property.get("x-mcp-header").and_then(Value::as_str).filter(|h| is_token(h)) {
            found.push((path.clone(), header.to_owned()));
        }
        collect(property, path, found, depth + 1);
        path.pop();
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A value as a header can carry it; `=?base64?…?=` where it could not (SEP-2243).
pub fn encode(value: &str) -> String {
    let plain = value.bytes().all(|b| (0x20..=0x7e).contains(&b))
        && value.trim_matches([' ', '\t']) == value
        && !(value.starts_with("=?base64?") && value.ends_with("?="));
    if plain { value.to_owned() } else { format!("=?base64?{}?=", BASE64_STANDARD.encode(value)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_survive_as_headers() {
        for (value, sent) in [
            ("plain value", "plain value"),
            (" x", "=?base64?IHg=?="),
            ("grün", "=?base64?Z3LDvG4=?="),
            ("", ""),
            ("a\nb", "=?base64?YQpi?="),
        ] {
            assert_eq!(encode(value), sent);
        }
    }

    #[test]
    fn annotated_arguments_become_headers() {
        let mut headers = ParamHeaders::default();
        headers.learn(&Body::json(&json!({"tools": [{"name": "t", "inputSchema": {"properties": {"region": {"x-mcp-header": "Region"}, "o": {"properties": {"n": {"x-mcp-header": "N"}}}, "bad": {"x-mcp-header": "a b"}}}}]})), 10);
        let got = headers.of("tools/call", &Body::json(&json!({"name": "t", "arguments": {"region": "eu", "o": {"n": 3}, "bad": 1}})));
        let expected: Vec<(String, String)> =
            [("Mcp-Method", "tools/call"), ("Mcp-Name", "t"), ("Mcp-Param-Region", "eu"), ("Mcp-Param-N", "3")]
                .map(|(a, b)| (a.into(), b.into()))
                .into();
        assert_eq!(got, expected);
    }
}
