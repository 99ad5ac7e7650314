//! An MCP server that misbehaves on request: one tool for each fault. It uses no JSON library, so that no library corrects its
//! output.
//!
//! `badserver [MODE [TALLY]]`: modes change how it starts, lists and ends; tools change how a call goes. Each call that it
//! executes appends a line to the file TALLY. `leaky` repeats every value of its environment whose name begins with `LEAK_`
//! and all of its arguments, wherever a server can write text.
//! `badserver surroundings FILE ARGS`: writes its working folder, arguments and environment to FILE, a line each.
//! `badserver attack MODE COUNT BYTES`: attacks memory, see `hostile.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics on errors")]
#![allow(clippy::print_stderr, clippy::disallowed_methods, reason = "servers write to stderr and end in every possible way")]

#[allow(dead_code, reason = "its HTTP part is for the benchmarks and for tests in a process of their own")]
mod hostile;

use std::{
    io::{BufRead, Write},
    process::{Command, Stdio, exit},
    thread::sleep,
    time::Duration,
};

const TOOLS: &[&str] = &[
    "echo",
    "hang",
    "exit",
    "killed",
    "partial_exit",
    "partial_stall",
    "close_stdout",
    "noise",
    "crlf",
    "string_id",
    "duplicate",
    "bad_utf8",
    "surrogate",
    "nan",
    "nested",
    "too_large",
    "pretty",
    "batch",
    "wrong_id",
    "endless",
    "stderr_flood",
    "grandchild",
    "storm",
    "late",
    "rpc_error",
    "tool_error",
    "progress",
    "no_result",
    "question",
    "question_flood",
    "question_withdrawn",
    "nap",
    "strays",
    "null_result",
    "null_error",
    "parse_error",
    "prompt",
    "close_stdin",
    "surrogate_progress",
    "bad_member",
    "empty_batch",
    "result_number",
    "result_text",
    "result_array",
    "result_null",
    "result_empty",
    "input_required",
    "input_required_form",
    "input_required_state",
    "foreign_task",
    "pages",
    "session_lost",
    "log_lines",
];

/// Lines of logs, as servers print them to stdout. `@` is the id of the request.
const LOG_LINES: &[&str] = &[
    "[INFO] wrote 3 rows",
    "[2026-01-01 10:00:00] GET /",
    "[db] Connected {\"id\":@}",
    "{level: info, msg: hi}",
    "{\"level\":\"info\",\"id\":@,\"msg\":\"handled\"}",
    "[1,2]",
    "[\"a\"]",
    "[{\"level\":\"info\"}]",
    "{'jsonrpc': '2.0'}",
    "\"id\" of the request: @",
    "{",
    "[",
];

/// Prints lines of a log.
fn log_lines(id: &str) {
    LOG_LINES.iter().for_each(|line| say(&line.replace('@', id)));
}

fn main() {
    let mode = std::env::args().nth(1).unwrap_or_default();
    match mode.as_str() {
        "attack" => return hostile::stdio(&hostile::Attack::from_words(std::env::args().skip(2)).expect("MODE COUNT BYTES")),
        "exit_at_start" => {
            eprintln!("reading settings");
            eprintln!("fatal: DATABASE_URL is not set");
            exit(3)
        }
        "silent" => loop {
            sleep(Duration::from_secs(3600));
        },
        "deaf" => ignore_signals(),
        "stray" => stray(),
        "escaped" => escape(&std::env::args().nth(2).unwrap()),
        "leaky" | "leaky_exit" => leaky::run(mode == "leaky_exit"),
        "surroundings" => report_surroundings(&std::env::args().nth(2).unwrap()),
        _ => {}
    }
    if mode == "family" {
        // As npx does: the server is a grandchild, and it has a child of its own.
        let status =
            Command::new("sh").arg("-c").arg(format!("sleep 1000 & exec {} plain", std::env::current_exe().unwrap().display())).status();
        exit(status.map_or(1, |s| s.code().unwrap_or(1)));
    }
    eprintln!("badserver {mode} is up");
    let mut line = String::new();
    while std::io::stdin().lock().read_line(&mut line).is_ok_and(|n| n > 0) {
        serve(&mode, line.trim_end());
        line.clear();
    }
    if mode == "deaf" {
        loop {
            sleep(Duration::from_secs(3600));
        }
    }
}

/// Writes what the program was given.
fn report_surroundings(file: &str) {
    let cwd = std::env::current_dir().unwrap();
    let arguments = std::env::args().skip(3).map(|argument| format!("argument {argument}"));
    let variables = std::env::vars().map(|(name, value)| format!("{name}={value}"));
    let lines: Vec<String> = std::iter::once(format!("folder {}", cwd.display())).chain(arguments).chain(variables).collect();
    std::fs::write(file, lines.join("\n")).unwrap();
}

/// Starts a process in a separate session with an empty environment, whose parent ends. Its command line ends with `token`.
fn escape(token: &str) {
    let script = "while :; do sleep 1; done";
    let mut escaped = Command::new("setsid");
    escaped.args(["-f", "sh", "-c", script, "sh", token]).env_clear();
    escaped.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(escaped.status().unwrap().success());
}

/// Ignores SIGTERM and the end of input, with a shell that traps them.
fn ignore_signals() {
    if std::env::var_os("BADSERVER_DEAF").is_none() {
        let me = std::env::current_exe().unwrap();
        let status = Command::new("sh")
            .arg("-c")
            .arg("trap '' TERM HUP INT; exec 3<&0; \"$0\" deaf <&3 & wait; while true; do sleep 1; done")
            .arg(me)
            .env("BADSERVER_DEAF", "1")
            .stdin(Stdio::inherit())
            .status();
        exit(status.map_or(1, |s| s.code().unwrap_or(1)));
    }
}

fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let at = line.find(&format!("\"{key}\":"))? + key.len() + 3;
    let rest = &line[at..];
    match rest.strip_prefix('"') {
        Some(text) => Some(&text[..text.find('"')?]),
        None => Some(&rest[..rest.find([',', '}'])?]),
    }
}

fn put(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(bytes);
    let _ = out.flush();
}

fn say(text: &str) {
    put(format!("{text}\n").as_bytes());
}

fn result(id: &str, body: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{body}}}")
}

fn error(id: &str, code: i64, message: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},\"message\":\"{message}\"}}}}")
}

fn text(id: &str, text: &str) -> String {
    result(id, &format!("{{\"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}]}}"))
}

fn serve(mode: &str, line: &str) {
    let (id, method) = (field(line, "id").unwrap_or("null"), field(line, "method").unwrap_or(""));
    if mode == "chatty" && id != "null" {
        log_lines(id);
    }
    match method {
        // Unsolicited.
        _ if mode == "answers_notifications" && method.starts_with("notifications/") => say(&error("null", -32601, "Method not found")),
        "server/discover" if mode == "exit_at_discover" => exit(2),
        "server/discover" if mode == "silent_discover" => {}
        "server/discover" if mode == "modern_only" => {
            say(&result(id, "{\"resultType\":\"complete\",\"supportedVersions\":[\"2026-07-28\"],\"capabilities\":{\"tools\":{}}}"));
        }
        "initialize" if mode == "modern_only" => say(&error(id, -32601, "Method not found")),
        "server/discover" => {
            say(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32601,\"message\":\"Method not found\"}}}}"))
        }
        "initialize" if mode == "silent_initialize" => {}
        "initialize" => {
            let version = if mode == "old_batches" {
                "2025-03-26"
            } else if mode == "unknown_version" {
                "1999-01-01"
            } else {
                "2025-11-25"
            };
            let instructions = if mode == "surrogate_start" { "\"instructions\":\"a\\ud800b\"," } else { "" };
            say(&result(
                id,
                &format!(
                    "{{{instructions}\"protocolVersion\":\"{version}\",\"capabilities\":{{\"tools\":{{\"listChanged\":true}},\"logging\":{{}}}},\"serverInfo\":{{\"name\":\"badserver\",\"version\":\"1\"}}}}"
                ),
            ));
        }
        "tools/list" if mode == "half_list" && line.contains("cursor") => {}
        "notifications/initialized" if mode == "schemas" => say(&format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":\"q\",\"method\":\"elicitation/create\",\"params\":{{\"message\":\"fill in\",\"requestedSchema\":{}}}}}",
            doubled(40)
        )),
        "tools/list" if mode == "glue" => {
            glue();
            list(mode, id);
        }
        "tools/list" => list(mode, id),
        "tools/call" => call(field(line, "name").unwrap_or(""), id, line),
        "ping" => say(&result(id, "{}")),
        _ => {}
    }
}

fn list(mode: &str, id: &str) {
    let tool = |name: &str| format!("{{\"name\":\"{name}\",\"inputSchema\":{{\"type\":\"object\"}}}}");
    match mode {
        "schemas" => {
            let tools = [("bomb_expand", doubled(40)), ("bomb_chain", chained(12_000)), ("bomb_twice", TWICE.to_owned())];
            let tools = tools.map(|(name, schema)| {
                format!("{{\"name\":\"{name}\",\"inputSchema\":{schema},\"annotations\":{{\"readOnlyHint\":true}}}}")
            });
            say(&result(id, &format!("{{\"tools\":[{}]}}", tools.join(","))));
        }
        "endless_list" | "half_list" => say(&result(id, &format!("{{\"tools\":[{}],\"nextCursor\":\"again\"}}", tool("echo")))),
        "growing_list" => say(&result(id, &format!("{{\"tools\":[{}],\"nextCursor\":\"{id}\"}}", tool(&format!("t{id}"))))),
        "odd_list" => say(&result(
            id,
            &format!(
                "{{\"tools\":[{},{},{{\"title\":\"nameless\"}},7,{}],\"nextCursor\":null}}",
                tool("echo"),
                tool("echo"),
                tool("\\u001b]0;owned\\u0007x")
            ),
        )),
        "hostile" => say(&result(
            id,
            "{\"tools\":[{\"name\":\"echo\",\"description\":\"\\u001b]0;owned\\u0007\\u001b[2J\\u202eevil\",\"inputSchema\":{\"type\":\"object\"}}]}",
        )),
        _ => say(&result(id, &format!("{{\"tools\":[{}]}}", TOOLS.iter().map(|t| tool(t)).collect::<Vec<_>>().join(",")))),
    }
}

/// Adds a line to the tally of executed calls, if there is one.
fn tally(name: &str) {
    if let Some(path) = std::env::args().nth(2) {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{name}").unwrap();
    }
}

/// Answers with a result of another protocol version, or with an invalid one.
fn odd_result(name: &str, id: &str) {
    let form = "{\"r\":{\"method\":\"elicitation/create\",\"params\":{\"message\":\"who?\",\"requestedSchema\":{\"type\":\"object\"}}}}";
    let body = match name {
        "result_number" => "3",
        "result_text" => "\"x\"",
        "result_array" => "[1,2]",
        "result_null" => "null",
        "input_required" => "{\"resultType\":\"input_required\"}",
        "input_required_form" => &format!("{{\"resultType\":\"input_required\",\"inputRequests\":{form}}}"),
        "input_required_state" => "{\"resultType\":\"input_required\",\"requestState\":\"s\"}",
        "foreign_task" => "{\"task\":{\"status\":\"working\"}}",
        _ => "{}",
    };
    say(&result(id, body));
}

fn call(name: &str, id: &str, line: &str) {
    tally(name);
    match name {
        "result_number"
        | "result_text"
        | "result_array"
        | "result_null"
        | "result_empty"
        | "input_required"
        | "input_required_form"
        | "input_required_state"
        | "foreign_task" => odd_result(name, id),
        "session_lost" => say(&error(id, -32001, "Session not found")),
        "pages" => say(&format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32042,\"message\":\"open a page\",\"data\":{{\"elicitations\":[{{\"mode\":\"url\",\"message\":\"Open\",\"url\":\"https://example.com/\",\"elicitationId\":\"e\"}}]}}}}}}"
        )),
        "echo" | "bomb_expand" | "bomb_chain" | "bomb_twice" => say(&text(id, "hello")),
        "hang" => {}
        "exit" => {
            eprintln!("fatal: out of cheese");
            exit(7)
        }
        "killed" => {
            let _ = Command::new("sh").arg("-c").arg(format!("kill -9 {}", std::process::id())).status();
        }
        "partial_exit" => {
            put(b"{\"jsonrpc\":\"2.0\",\"id\":");
            exit(0)
        }
        "partial_stall" => put(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{").as_bytes()),
        "close_stdin" => {
            rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null").unwrap()).unwrap();
            loop {
                sleep(Duration::from_secs(3600));
            }
        }
        "close_stdout" => {
            close_stdout();
        }
        "noise" => {
            say("Server listening on stdio");
            say("{\"level\":\"info\",\"msg\":\"called\"}");
            say(&text(id, "hello"));
        }
        "prompt" => put(format!("Loading... {}\n", text(id, "hello")).as_bytes()),
        "log_lines" => {
            log_lines(id);
            say(&text(id, "hello"));
        }
        "crlf" => put(format!("{}\r\n", text(id, "hello")).as_bytes()),
        "string_id" => say(&text(&format!("\"{id}\""), "hello")),
        "duplicate" => {
            say(&text(id, "first"));
            say(&text(id, "second"));
        }
        "bad_utf8" => {
            put(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"a").as_bytes());
            put(b"\xff\xfe");
            put(b"b\"}]}}\n");
        }
        "surrogate_progress" => {
            say(&format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{id},\"progress\":1,\"message\":\"a\\udc00b\"}}}}"
            ));
            say(&text(id, "done"));
        }
        "surrogate" => say(&text(id, "a\\ud800b")),
        "nan" => say(&result(id, "{\"content\":[],\"structuredContent\":{\"x\":NaN}}")),
        "nested" => say(&result(id, &format!("{{\"content\":[],\"x\":{}{}}}", "[".repeat(3000), "]".repeat(3000)))),
        "too_large" => {
            // The id last, as the TypeScript SDK writes it.
            put(b"{\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"");
            for _ in 0..20 {
                put(&vec![b'x'; 1 << 20]);
            }
            put(format!("\"}}]}},\"jsonrpc\":\"2.0\",\"id\":{id}}}\n").as_bytes());
        }
        "pretty" => say(&format!("{{\n  \"jsonrpc\": \"2.0\",\n  \"id\": {id},\n  \"result\": {{}}\n}}")),
        "batch" => say(&format!("[{}]", text(id, "hello"))),
        "bad_member" => say(&format!("[{{\"id\":{id},\"result\":{{}}}}]")),
        "empty_batch" => {
            say("[]");
            say(&text(id, "hello"));
        }
        "null_result" => say(&result("null", "{\"content\":[]}")),
        "null_error" => say(&error("null", -32600, "Invalid Request")),
        "parse_error" => say(&error("null", -32700, "Parse error")),
        "wrong_id" => say(&text("999999", "hello")),
        "endless" => {
            put(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":\"").as_bytes());
            loop {
                put(&[b'x'; 65536]);
            }
        }
        "stderr_flood" => {
            let mut err = std::io::stderr().lock();
            for n in 0..40_000 {
                let _ = writeln!(err, "flood line {n} {}", "x".repeat(100));
            }
            say(&text(id, "hello"));
        }
        "grandchild" => {
            let _ = Command::new("sleep").arg("1000").spawn();
            exit(5)
        }
        "strays" => {
            stray();
            say(&text(id, "hello"));
        }
        // Reads nothing until the file is there.
        "nap" => {
            while !std::path::Path::new(field(line, "until").unwrap_or_default()).exists() {
                sleep(Duration::from_millis(5));
            }
            say(&text(id, "awake"));
        }
        "storm" => {
            for _ in 0..20_000 {
                say("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}");
            }
            say(&text(id, "hello"));
        }
        // Answers only after the cancellation, like servers that ignore it.
        "late" => {
            let mut next = String::new();
            while std::io::stdin().lock().read_line(&mut next).is_ok_and(|n| n > 0) && !next.contains("notifications/cancelled") {
                next.clear();
            }
            say(&text(id, "too late"));
        }
        "rpc_error" => say(&format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32000,\"message\":\"no luck\",\"data\":{{\"why\":\"because\"}}}}}}"
        )),
        "tool_error" => say(&result(id, "{\"content\":[{\"type\":\"text\",\"text\":\"bad day\"}],\"isError\":true}")),
        "progress" => {
            for n in 1..=3 {
                say(&format!(
                    "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{id},\"progress\":{n},\"total\":3,\"message\":\"step {n}\"}}}}"
                ));
            }
            say(&text(id, "done"));
        }
        "no_result" => say(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id}}}")),
        "question" | "question_flood" => {
            let count = if name == "question" { 1 } else { 1000 };
            for n in 0..count {
                say(&format!(
                    "{{\"jsonrpc\":\"2.0\",\"id\":\"q{n}\",\"method\":\"elicitation/create\",\"params\":{{\"message\":\"name?\",\"requestedSchema\":{{\"type\":\"object\",\"properties\":{{\"name\":{{\"type\":\"string\"}}}}}}}}}}"
                ));
            }
            let mut answer = String::new();
            while std::io::stdin().lock().read_line(&mut answer).is_ok_and(|n| n > 0) && !answer.contains("\"id\":\"q") {
                answer.clear();
            }
            say(&text(id, &answer.trim().replace('\\', "").replace('"', "'")));
        }
        // Asks, and withdraws the question at the next call.
        "question_withdrawn" => {
            say(
                "{\"jsonrpc\":\"2.0\",\"id\":\"w\",\"method\":\"elicitation/create\",\"params\":{\"message\":\"name?\",\"requestedSchema\":{}}}",
            );
            let mut next = String::new();
            while std::io::stdin().lock().read_line(&mut next).is_ok_and(|n| n > 0) && !next.contains("tools/call") {
                next.clear();
            }
            say("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":\"w\",\"reason\":\"never mind\"}}");
            say(&text(field(&next, "id").unwrap_or("null"), "hello"));
            say(&text(id, "never mind"));
        }
        _ => say(&format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32602,\"message\":\"unknown tool\"}}}}{}",
            if line.is_empty() { "x" } else { "" }
        )),
    }
}

/// A line of 15 MB that is not JSON, with ten thousand places where a message could begin.
fn glue() {
    put(b"x");
    put("{\"id\":".repeat(10_000).as_bytes());
    put(b"[");
    put("1,".repeat(7_800_000).as_bytes());
    put(b"\n");
}

/// A schema of a few kilobytes that a validator visits 2^`count` times.
fn doubled(count: usize) -> String {
    let both = |at: usize| format!("\"a{at}\":{{\"allOf\":[{{\"$ref\":\"#/$defs/a{0}\"}},{{\"$ref\":\"#/$defs/a{0}\"}}]}},", at + 1);
    rooted(&format!("{}\"a{count}\":{{\"type\":\"string\"}}", (0..count).map(both).collect::<String>()))
}

/// A schema whose references are `count` deep.
fn chained(count: usize) -> String {
    let next = |at: usize| format!("\"a{at}\":{{\"$ref\":\"#/$defs/a{}\"}},", at + 1);
    rooted(&format!("{}\"a{count}\":{{\"type\":\"string\"}}", (0..count).map(next).collect::<String>()))
}

fn rooted(definitions: &str) -> String {
    format!("{{\"type\":\"object\",\"properties\":{{\"x\":{{\"$ref\":\"#/$defs/a0\"}}}},\"$defs\":{{{definitions}}}}}")
}

/// A small schema that visits each level of a value twice as often as the one above.
const TWICE: &str = "{\"type\":\"object\",\"$defs\":{\"t\":{\"allOf\":[{\"properties\":{\"c\":{\"$ref\":\"#/$defs/t\"}}},{\"properties\":{\"c\":{\"$ref\":\"#/$defs/t\"}}}]}},\"$ref\":\"#/$defs/t\"}";

/// Leaves a process behind in a separate session and process group.
fn stray() {
    let _ = Command::new("setsid").arg("sleep").arg("1001").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
}

/// Closes stdout without ending the process.
fn close_stdout() {
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    rustix::stdio::dup2_stdout(&nowhere).unwrap();
    loop {
        sleep(Duration::from_secs(3600));
    }
}

/// A server that repeats its secrets.
mod leaky {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::{BufRead, error, exit, field, result, say, text};

    fn values() -> Vec<String> {
        let named = std::env::vars().filter(|(name, _)| name.starts_with("LEAK_")).map(|(_, value)| value);
        named.chain(std::env::args().skip(2)).collect()
    }

    fn escaped(text: &str) -> String {
        text.chars()
            .map(|c| match c {
                '"' | '\\' => format!("\\{c}"),
                '/' => "\\/".to_owned(),
                c if !c.is_ascii() || c.is_control() => format!("\\u{:04x}", c as u32),
                c => c.to_string(),
            })
            .collect()
    }

    fn percent(text: &str) -> String {
        text.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02x}") }).collect()
    }

    /// Each value in every encoding.
    fn spellings() -> String {
        let spell = |value: &String| {
            let hex: String = value.bytes().map(|b| format!("{b:02x}")).collect();
            let base64 = STANDARD.encode(value);
            let pair = STANDARD.encode(format!("user:{value}"));
            [value.clone(), escaped(value), percent(value), base64, pair, hex, value.to_uppercase()].join(" ")
        };
        values().iter().map(spell).collect::<Vec<_>>().join(" ")
    }

    pub fn run(exits: bool) -> ! {
        let all = escaped(&values().join(" "));
        eprintln!("starting with {}", spellings());
        if exits {
            exit(3);
        }
        let mut line = String::new();
        while std::io::stdin().lock().read_line(&mut line).is_ok_and(|n| n > 0) {
            answer(&line, &all);
            line.clear();
        }
        exit(0)
    }

    fn answer(line: &str, all: &str) {
        let (id, method) = (field(line, "id").unwrap_or("null"), field(line, "method").unwrap_or(""));
        match method {
            "initialize" => say(&result(
                id,
                &format!(
                    r#"{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{}},"logging":{{}},"resources":{{}},"prompts":{{}}}},"serverInfo":{{"name":"{all}","title":"{all}","version":"{all}"}},"instructions":"{all}"}}"#
                ),
            )),
            "tools/list" => {
                let fits = |value: &String| value.len() < 50 && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
                let named = format!("named_{}", values().into_iter().find(fits).unwrap_or_default());
                let tool = |name: &str| {
                    format!(
                        r#"{{"name":"{name}","title":"{all}","description":"{all}","inputSchema":{{"type":"object","properties":{{"p":{{"type":"string","default":"{all}","description":"{all}"}}}}}},"annotations":{{"readOnlyHint":true}}}}"#
                    )
                };
                let names = ["result", "encoded", "error", "tool_error", "log", "crash", named.as_str()];
                say(&result(id, &format!(r#"{{"tools":[{}]}}"#, names.map(tool).join(","))));
            }
            "resources/list" => {
                say(&result(
                    id,
                    &format!(r#"{{"resources":[{{"uri":"x://{}","name":"{all}","description":"{all}"}}]}}"#, percent(&values().concat())),
                ));
            }
            "prompts/list" => say(&result(id, &format!(r#"{{"prompts":[{{"name":"p","description":"{all}"}}]}}"#))),
            "prompts/get" => {
                say(&result(id, &format!(r#"{{"messages":[{{"role":"user","content":{{"type":"text","text":"{all}"}}}}]}}"#)));
            }
            "tools/call" => call(line, id, all),
            _ if id != "null" => say(&error(id, -32601, all)),
            _ => {}
        }
    }

    fn call(line: &str, id: &str, all: &str) {
        match field(line, "name").unwrap_or("") {
            "encoded" => say(&text(id, &escaped(&spellings()))),
            "error" => {
                say(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"{all}","data":{{"values":"{all}"}}}}}}"#))
            }
            "tool_error" => say(&result(id, &format!(r#"{{"isError":true,"content":[{{"type":"text","text":"{all}"}}]}}"#))),
            "log" => {
                say(&format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"error","logger":"{all}","data":"{all}"}}}}"#
                ));
                let token = field(line, "progressToken").unwrap_or("0");
                say(&format!(
                    r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1,"message":"{all}"}}}}"#
                ));
                say(&format!("not JSON: {}", spellings()));
                say(&text(id, "ok"));
            }
            "crash" => {
                eprintln!("dying with {}", spellings());
                exit(3)
            }
            _ => {
                say(&result(id, &format!(r#"{{"content":[{{"type":"text","text":"{all}"}}],"structuredContent":{{"values":["{all}"]}}}}"#)))
            }
        }
    }
}
