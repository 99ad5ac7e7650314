//! Servers that attack memory and descriptors, one mode for each attack. Shared by `badserver` and the benchmarks.
//!
//! Large data is written piece by piece, not held in memory. The conforming part is the minimum that a client needs.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

/// What a hostile server does, how often, and with how many bytes.
#[derive(Clone, Debug)]
pub struct Attack {
    pub mode: String,
    pub count: usize,
    pub bytes: usize,
}

/// A filler between two texts.
struct Padded<'a>(&'a str, usize, &'a str);

static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];
const TOOL: &str = r#"{"name":"t","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}"#;

impl Padded<'_> {
    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        out.write_all(self.0.as_bytes())?;
        let mut left = self.1;
        while left > 0 {
            let now = left.min(PIECE.len());
            out.write_all(&PIECE[..now])?;
            left -= now;
        }
        out.write_all(self.2.as_bytes())
    }

    fn len(&self) -> usize {
        self.0.len() + self.1 + self.2.len()
    }
}

/// The text of a member of a message: `"key":"text"` or `"key":7`.
fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let at = line.find(&format!("\"{key}\":"))? + key.len() + 3;
    let rest = &line[at..];
    match rest.strip_prefix('"') {
        Some(text) => Some(&text[..text.find('"')?]),
        None => Some(&rest[..rest.find([',', '}'])?]),
    }
}

impl Attack {
    /// Reads `MODE COUNT BYTES`.
    pub fn from_words(mut words: impl Iterator<Item = String>) -> Option<Attack> {
        let mode = words.next()?;
        let mut number = || words.next()?.parse().ok();
        Some(Attack { mode, count: number()?, bytes: number()? })
    }

    /// Returns prefix and suffix of the padding for message `n`; `None` when the mode sends none.
    fn message(&self, n: usize, token: &str) -> Option<(String, &'static str)> {
        let note = |method: &str, params: &str| format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}"#);
        Some(match self.mode.as_str() {
            "log" => (note("notifications/message", r#"{"level":"info","data":""#), r#""}}"#),
            "logger" => (note("notifications/message", r#"{"level":"info","data":1,"logger":""#), r#""}}"#),
            "unknown" => (note("notifications/x", r#"{"a":""#), r#""}}"#),
            "updated" => (note("notifications/resources/updated", &format!(r#"{{"uri":"{n}:"#)), r#""}}"#),
            "progress" => (note("notifications/progress", &format!(r#"{{"progressToken":{token},"progress":{n},"message":""#)), r#""}}"#),
            "method" => (r#"{"jsonrpc":"2.0","method":""#.to_owned(), r#""}"#),
            "request_id" => (format!(r#"{{"jsonrpc":"2.0","method":"ping","id":"{n}"#), r#""}"#),
            "request_method" => (format!(r#"{{"jsonrpc":"2.0","id":"{n}","method":""#), r#""}"#),
            "ask" => (
                format!(
                    r#"{{"jsonrpc":"2.0","id":"e{n}","method":"elicitation/create","params":{{"requestedSchema":{{"type":"object","properties":{{}}}},"message":""#
                ),
                r#""}}"#,
            ),
            "ask_schema" => (
                format!(
                    r#"{{"jsonrpc":"2.0","id":"e{n}","method":"elicitation/create","params":{{"message":"m","requestedSchema":{{"type":"object","title":""#
                ),
                r#""}}}"#,
            ),
            "sampling" => {
                (format!(r#"{{"jsonrpc":"2.0","id":"s{n}","method":"sampling/createMessage","params":{{"systemPrompt":""#), r#""}}"#)
            }
            "answer_id" => (r#"{"jsonrpc":"2.0","result":{},"id":""#.to_owned(), r#""}"#),
            "bad_json" => (r#"{"jsonrpc":"2.0","method":""#.to_owned(), ""),
            "no_id" => (r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""#.to_owned(), r#""}}"#),
            "noise" => (String::new(), ""),
            _ => return None,
        })
    }
}

/// Runs an attack on stdin and stdout.
pub fn stdio(attack: &Attack) {
    let (mut input, mut line, page) = (std::io::stdin().lock(), String::new(), AtomicUsize::new(0));
    let mut out = std::io::stdout().lock();
    while input.read_line(&mut line).is_ok_and(|count| count > 0) {
        let answered = answer(attack, line.trim_end(), &page, &mut |padded: &Padded<'_>| {
            padded.write(&mut out).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush())
        });
        if answered.is_err() {
            return;
        }
        line.clear();
    }
}

/// Responds to a message of the client, sending each message with `send`.
fn answer(
    attack: &Attack,
    line: &str,
    page: &AtomicUsize,
    send: &mut dyn FnMut(&Padded<'_>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let id = field(line, "id").unwrap_or("null");
    let result = |body: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{body}}}"#);
    let open = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#);
    let bytes = attack.bytes;
    match (field(line, "method").unwrap_or_default(), attack.mode.as_str()) {
        ("initialize", mode) => {
            let head = format!(
                r#"{open}{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{"listChanged":true}},"logging":{{}},"resources":{{}}}},"serverInfo":{{"name":"hostile","version":"1"}}"#
            );
            match mode {
                "initialize" => send(&Padded(&format!(r#"{head},"instructions":""#), bytes, r#""}}"#)),
                "initialize_tree" => send(&Padded(&format!(r#"{head},"x":[{}1]"#, "1,".repeat(bytes / 2)), 0, "}}")),
                _ => send(&Padded(&head, 0, "}}")),
            }
        }
        ("tools/list", "pages") => {
            let n = page.fetch_add(1, Ordering::SeqCst);
            let head = format!(r#"{open}{{"nextCursor":"c{n}","tools":[{{"name":"p{n}","inputSchema":{{"type":"object"}},"description":""#);
            send(&Padded(&head, bytes, r#""}]}}"#))
        }
        ("tools/list", "cursor") => {
            let n = page.fetch_add(1, Ordering::SeqCst);
            send(&Padded(&format!(r#"{open}{{"tools":[{TOOL}],"nextCursor":"{n}"#), bytes, r#""}}"#))
        }
        ("tools/list", "list_tree") => {
            let schema = format!(r#"{{"type":"object","enum":[{}1]}}"#, "1,".repeat(bytes / 2));
            send(&Padded(&format!(r#"{open}{{"tools":[{TOOL},{{"name":"big","inputSchema":{schema}}}]}}"#), 0, "}"))
        }
        ("tools/list", "list_members") => send(&Padded(&format!(r#"{open}{{"tools":[{TOOL},{}1]}}"#, "1,".repeat(bytes / 2)), 0, "}")),
        ("tools/list", _) => send(&Padded(&result(&format!(r#"{{"tools":[{TOOL}]}}"#)), 0, "")),
        ("resources/list", _) => send(&Padded(&result(r#"{"resources":[]}"#), 0, "")),
        ("resources/templates/list", _) => send(&Padded(&result(r#"{"resourceTemplates":[]}"#), 0, "")),
        ("tools/call", "error") => {
            send(&Padded(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":""#), bytes, r#""}}"#))
        }
        ("tools/call", "batch") => {
            send(&Padded(&format!("[{}1]", "1,".repeat(bytes / 2)), 0, ""))?;
            send(&Padded(&result(r#"{"content":[]}"#), 0, ""))
        }
        ("tools/call", _) => {
            let token = field(line, "progressToken").unwrap_or("0");
            for n in 0..attack.count {
                if let Some((front, back)) = attack.message(n, token) {
                    send(&Padded(&front, bytes, back))?;
                }
            }
            send(&Padded(&result(r#"{"content":[{"type":"text","text":"survived"}]}"#), 0, ""))
        }
        ("ping", _) => send(&Padded(&result("{}"), 0, "")),
        ("", _) => Ok(()),
        (method, _) if method.starts_with("notifications/") => Ok(()),
        _ => send(&Padded(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no"}}}}"#), 0, "")),
    }
}

/// Runs an attack over Streamable HTTP; returns the port. Ends with the process.
///
/// Additional modes: `event_id` (one id of N bytes, then small events), `event_ids` (each event has one), `headers` (a
/// header of N bytes, then small events), `pings` (requests in one stream, and no answer to them is ever acknowledged).
pub fn http(attack: Attack) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let attack = attack.clone();
            thread::spawn(move || connection(&attack, stream));
        }
    });
    port
}

fn connection(attack: &Attack, stream: TcpStream) -> std::io::Result<()> {
    let (mut reader, mut out, page) = (BufReader::new(stream.try_clone()?), stream, AtomicUsize::new(0));
    loop {
        let (mut verb, mut length, mut line) = (String::new(), 0, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let head = line.trim_end();
            if head.is_empty() {
                break;
            }
            if verb.is_empty() {
                verb = head.split(' ').next().unwrap_or_default().to_owned();
            }
            if let Some(value) = head.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let body = String::from_utf8_lossy(&body).into_owned();
        let (method, expects) = (field(&body, "method").unwrap_or_default(), field(&body, "id").is_some());
        match verb.as_str() {
            "GET" => out.write_all(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n")?,
            "POST" if method.is_empty() && attack.mode == "pings" => loop {
                // The client's answer to a ping: never acknowledged.
                thread::sleep(Duration::from_secs(3600));
            },
            "POST" if !expects || method.is_empty() => out.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")?,
            "POST" if method == "tools/call" => events(attack, &body, &page, &mut out)?,
            "POST" => answer(attack, &body, &page, &mut |padded| {
                write!(out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", padded.len())?;
                padded.write(&mut out)
            })?,
            _ => out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?,
        }
    }
}

/// The event stream that answers a call.
fn events(attack: &Attack, body: &str, page: &AtomicUsize, out: &mut TcpStream) -> std::io::Result<()> {
    let bytes = attack.bytes;
    out.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n")?;
    if attack.mode == "headers" {
        for n in 0..bytes.div_ceil(5000) {
            Padded(&format!("x-pad-{n}: "), 5000, "\r\n").write(out)?;
        }
    }
    out.write_all(b"\r\n")?;
    if attack.mode == "event_id" {
        Padded("id: ", bytes, "\n").write(out)?;
    }
    for n in 0..attack.count {
        match attack.mode.as_str() {
            "event_ids" => Padded("id: ", bytes, "\n").write(out)?,
            "pings" => write!(out, "data: {{\"jsonrpc\":\"2.0\",\"id\":\"p{n}\",\"method\":\"ping\"}}\n\n")?,
            _ => {}
        }
        if ["event_id", "event_ids", "headers"].contains(&attack.mode.as_str()) {
            out.write_all(
                b"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"level\":\"info\",\"data\":\"tick\"}}\n\n",
            )?;
        }
    }
    if attack.mode == "pings" {
        // Long enough for calls of other servers.
        thread::sleep(Duration::from_secs(5));
    }
    answer(attack, body, page, &mut |padded| {
        out.write_all(b"data: ")?;
        padded.write(out)?;
        out.write_all(b"\n\n")
    })?;
    out.shutdown(std::net::Shutdown::Both)
}
