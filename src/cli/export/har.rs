//! Calls as a HTTP archive (HAR 1.2): each call is one JSON-RPC request and its response.

use serde_json::{Map, Value, json};

use super::{arguments, failed, result, timestamp};
use crate::domain::{call::Operation, journal::CallRecord};

/// Returns the archive.
pub fn render(calls: &[CallRecord]) -> String {
    let entries: Vec<Value> = calls.iter().map(entry).collect();
    let creator = json!({"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")});
    let archive = json!({"log": {"version": "1.2", "creator": creator, "entries": entries}});
    // A value always has a JSON form.
    serde_json::to_string_pretty(&archive).map(|text| text + "\n").unwrap_or_default()
}

/// Returns method and params of the request.
fn message(call: &CallRecord) -> (&str, Value) {
    let given = serde_json::from_str(&arguments(call)).unwrap_or(Value::Object(Map::new()));
    match &call.spec.operation {
        Operation::Tool { tool, .. } => ("tools/call", json!({"name": &*tool.name, "arguments": given})),
        Operation::Prompt { name, .. } => ("prompts/get", json!({"name": name, "arguments": given})),
        Operation::Resource { uri, .. } => ("resources/read", json!({"uri": uri})),
        Operation::Complete { .. } => ("completion/complete", given),
        Operation::Raw { method, .. } => (method, given),
    }
}

fn entry(call: &CallRecord) -> Value {
    let summary = &call.summary;
    let (method, params) = message(call);
    let request = json!({"jsonrpc": "2.0", "id": summary.call.to_string(), "method": method, "params": params}).to_string();
    let answer = match serde_json::from_str::<Value>(&result(call)) {
        Ok(result) => json!({"jsonrpc": "2.0", "id": summary.call.to_string(), "result": result}).to_string(),
        Err(_) => String::new(),
    };
    let took = summary.took_us as f64 / 1e3;
    let header = json!([{"name": "Content-Type", "value": "application/json"}]);
    json!({
        "startedDateTime": timestamp(summary.unix_ms),
        "time": took,
        "request": {
            "method": "POST",
            "url": format!("mcp://{}/{}", summary.server, call.spec.operation.subject()),
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": header,
            "queryString": [],
            "postData": {"mimeType": "application/json", "text": request},
            "headersSize": -1,
            "bodySize": summary.sent_bytes,
        },
        "response": {
            "status": if answer.is_empty() { 0 } else { 200 },
            "statusText": summary.outcome.words(),
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": header,
            "content": {"size": answer.len(), "mimeType": "application/json", "text": answer},
            "redirectURL": "",
            "headersSize": -1,
            "bodySize": summary.received_bytes,
        },
        "cache": {},
        "timings": {"send": 0, "wait": took, "receive": 0},
        "_outcome": summary.outcome.words(),
        "_failed": failed(call),
        "_attempts": summary.attempts,
        "_traceId": summary.trace.map(|trace| trace.to_string()),
    })
}
