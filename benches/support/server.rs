//! A small, well-behaved MCP server: this very benchmark, run again with `serve MODE`.

use std::{
    io::{BufRead, Write},
    time::Duration,
};

use serde_json::{Value, json};

/// How long the tool `nap` takes.
pub const NAP: Duration = Duration::from_millis(5);
/// Start of the large results: characters that were not at that position before, because only changes are drawn.
pub const BEGIN: &str = "@@@@@@@@";

/// The words that run a server: `plain`, or `silent`, which never answers.
pub fn words(mode: &str) -> Vec<String> {
    let own = std::env::current_exe().expect("a benchmark knows its own file");
    vec![own.display().to_string(), "serve".into(), mode.into()]
}

/// Runs the server if that is what this process was started for; whether it was.
pub fn ran() -> bool {
    let words: Vec<String> = std::env::args().skip(1).take(2).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", mode] => {
            serve(mode == "silent");
            true
        }
        _ => false,
    }
}

fn serve(silent: bool) {
    let (mut input, mut line) = (std::io::stdin().lock(), String::new());
    while input.read_line(&mut line).is_ok_and(|count| count > 0) {
        let message: Value = serde_json::from_str(&line).unwrap_or_default();
        line.clear();
        if let Some(answer) = answer(&message).filter(|_| !silent && message.get("id").is_some()) {
            let mut out = std::io::stdout().lock();
            let body = match answer {
                Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, message["id"]),
                Err(error) => format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, message["id"]),
            };
            let _ = out.write_all(body.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
        }
    }
}

fn answer(message: &Value) -> Option<Result<String, Value>> {
    let tool = |name: &str| {
        let hints = json!({"readOnlyHint": true, "idempotentHint": true});
        json!({"name": name, "description": "for measuring", "inputSchema": {"type": "object"}, "annotations": hints})
    };
    Some(Ok(match message["method"].as_str()? {
        "initialize" => {
            json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "bench", "version": "1"}})
                .to_string()
        }
        "tools/list" => {
            let tools = ["parrot", "nap", "text2", "json2", "json20"].map(tool);
            json!({"tools": tools}).to_string()
        }
        "tools/call" => match message["params"]["name"].as_str()? {
            "nap" => {
                std::thread::sleep(NAP);
                content("hello")
            }
            "text2" => content(&text(2 << 20)),
            "json2" => structured(2 << 20),
            "json20" => structured(20 << 20),
            _ => content("hello"),
        },
        "ping" => "{}".into(),
        _ => return Some(Err(json!({"code": -32601, "message": "Method not found"}))),
    }))
}

fn content(text: &str) -> String {
    json!({"content": [{"type": "text", "text": text}]}).to_string()
}

fn text(bytes: usize) -> String {
    let mut text = format!("{BEGIN}\n");
    for n in 0.. {
        if text.len() >= bytes {
            break;
        }
        text.push_str(&format!("{n:>8}  a line as a log file has them, with some \"quotes\" and a path /var/log/{n}\n"));
    }
    text
}

fn structured(bytes: usize) -> String {
    let mut rows = format!(r#"{{"content":[],"structuredContent":{{"note":"{BEGIN}","rows":["#);
    for n in 0.. {
        if rows.len() >= bytes {
            break;
        }
        let comma = if n == 0 { "" } else { "," };
        rows.push_str(&format!(
            r#"{comma}{{"id":{n},"name":"user {n}","email":"u{n}@example.com","tags":["a","b"],"score":{}.5}}"#,
            n % 97
        ));
    }
    rows.push_str("]}}");
    rows
}
