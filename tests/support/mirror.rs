//! A server over stdio that writes what it is given, byte by byte: `mirror [FILE]`.
//!
//! `tools/list` has the lines of FILE as tools, and `echo`. A call returns the text of its argument `result` or `error` as that member of the
//! response; without any, an empty result.

#![allow(clippy::expect_used, reason = "a test panics on errors")]

use std::{
    io::{BufRead, Write},
    path::Path,
};

use serde_json::Value;

/// Tools on a page.
const PAGE: usize = 250;

fn main() {
    let file = std::env::args().nth(1).map(|file| std::fs::read_to_string(Path::new(&file)).expect("the file of the tools"));
    let echo = r#"{"name":"echo","inputSchema":{"type":"object"}}"#;
    let tools: Vec<&str> = file.as_deref().unwrap_or_default().lines().chain([echo]).collect();
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        let Some(id) = message.get("id").filter(|_| message.get("method").is_some()) else { continue };
        let (params, mut part) = (&message["params"], "result");
        let body = match message["method"].as_str().unwrap_or_default() {
            "initialize" => {
                let version = &params["protocolVersion"];
                format!(r#"{{"protocolVersion":{version},"capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"mirror","version":"1"}}}}"#)
            }
            "ping" => "{}".to_owned(),
            "tools/list" => {
                let from = params["cursor"].as_str().and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
                let page = tools[from..tools.len().min(from + PAGE)].join(",");
                let next = if from + PAGE < tools.len() { format!(r#","nextCursor":"{}""#, from + PAGE) } else { String::new() };
                format!(r#"{{"tools":[{page}]{next}}}"#)
            }
            "tools/call" => {
                let arguments = &params["arguments"];
                if arguments.get("error").is_some() {
                    part = "error";
                }
                arguments[part].as_str().unwrap_or(r#"{"content":[]}"#).to_owned()
            }
            method => {
                part = "error";
                format!(r#"{{"code":-32601,"message":"{method} is not supported"}}"#)
            }
        };
        // The client is gone.
        let Ok(()) = writeln!(output, r#"{{"jsonrpc":"2.0","id":{id},"{part}":{body}}}"#).and_then(|()| output.flush()) else { return };
    }
}
