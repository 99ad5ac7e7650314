//! The trace context of a client goes through the gateway to the server, in `_meta` and in headers, with and without an export.

use std::{
    collections::BTreeMap,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use super::{
    observability::{collector, contains},
    serve::{CAPABILITIES, Listening, VERSION, request},
    *,
};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";

/// A context: `traceparent`, `tracestate` and `baggage`.
type Context = BTreeMap<String, String>;

/// What calls brought to the server: the context of the headers, and that of `_meta`.
type Calls = Arc<Mutex<Vec<(Context, Context)>>>;

/// Starts a server over HTTP with the tool `t`. Returns its URL.
fn server() -> (String, Calls) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/mcp", listener.local_addr().unwrap());
    let calls = Calls::default();
    let seen = calls.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let seen = seen.clone();
            std::thread::spawn(move || while answer(&stream, &seen) {});
        }
    });
    (address, calls)
}

/// Answers one request; returns whether there may be another.
fn answer(mut stream: &TcpStream, calls: &Calls) -> bool {
    let Some((head, message)) = read_request(stream) else { return false };
    let (status, result) = match message["method"].as_str().unwrap_or_default() {
        "initialize" => {
            let info = json!({"name": "recorder", "version": "1"});
            ("200 OK", json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": info}))
        }
        "tools/list" => ("200 OK", json!({"tools": [{"name": "t", "inputSchema": {"type": "object"}}]})),
        "tools/call" => {
            let is_carrier = |name: &str| ["traceparent", "tracestate", "baggage"].contains(&name);
            let headers = head.lines().filter_map(|line| line.split_once(": "));
            let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
            let meta = message["params"]["_meta"].as_object().cloned().unwrap_or_default();
            let meta = meta.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
            let of = |values: Vec<(String, String)>| values.into_iter().filter(|(name, _)| is_carrier(name)).collect();
            calls.lock().unwrap().push((of(headers.collect()), of(meta.collect())));
            ("200 OK", json!({"content": []}))
        }
        "server/discover" | "" => ("404 Not Found", Value::Null),
        _ if message["id"].is_null() => ("202 Accepted", Value::Null),
        _ => ("200 OK", json!({})),
    };
    let body = if result.is_null() { String::new() } else { json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string() };
    let text = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    std::io::Write::write_all(&mut stream, text.as_bytes()).is_ok()
}

/// Calls the tool `t` through a gateway, with these headers and these members of `_meta`.
fn call(gateway: &Listening, headers: &str, meta: Value) {
    let mut members = json!({VERSION: "2026-07-28", CAPABILITIES: {}});
    members.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t", "arguments": {}, "_meta": members}});
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: t{headers}",
        gateway.address
    );
    let (status, body) = request(TcpStream::connect(&gateway.address).unwrap(), &head, &message);
    assert_eq!(status, 200, "{body}");
}

fn context(members: &[(&str, &str)]) -> Context {
    members.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn without_an_export_the_context_of_the_client_reaches_the_server_unchanged() {
    let home = Home::new();
    let (url, calls) = server();
    let gateway = Listening::start(&home, &["--", &url]);
    let lines = format!("\r\ntraceparent: {PARENT}\r\ntracestate: a=1\r\ntracestate: b=2\r\nbaggage: tenant=x;p=1");
    let all = context(&[("traceparent", PARENT), ("tracestate", "a=1,b=2"), ("baggage", "tenant=x;p=1")]);
    let other = "00-11111111111111111111111111111111-2222222222222222-00";
    let own = json!({"traceparent": other, "tracestate": "c=3"});
    for (headers, meta, expected) in [
        (lines.as_str(), json!({}), all.clone()),
        ("", json!({"traceparent": PARENT, "tracestate": "a=1,b=2", "baggage": "tenant=x;p=1"}), all),
        // Headers count only if `_meta` has no context.
        (&lines, own, context(&[("traceparent", other), ("tracestate", "c=3")])),
        ("\r\ntraceparent: 00-0-0-00\r\ntracestate: a=1", json!({}), context(&[])),
        (&format!("\r\ntraceparent: {PARENT}\r\ntracestate: A=1"), json!({}), context(&[("traceparent", PARENT)])),
        ("", json!({}), context(&[])),
    ] {
        call(&gateway, headers, meta);
        let (in_headers, in_meta) = calls.lock().unwrap().pop().unwrap();
        assert_eq!((in_headers, in_meta), (expected.clone(), expected), "{headers}");
    }
    gateway.end();
}

#[test]
fn with_an_export_the_server_is_below_our_span_and_the_tracestate_stays() {
    let home = Home::new();
    let ((url, calls), (collector, received)) = (server(), collector(false));
    let line = ["serve", "--http", "127.0.0.1:0", "--", &url];
    let mut command = home.command(&line);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector).env("OTEL_BSP_SCHEDULE_DELAY", "50");
    let gateway = Listening::of(command);
    call(&gateway, &format!("\r\ntraceparent: {PARENT}\r\ntracestate: a=1\r\nbaggage: tenant=x"), json!({}));
    gateway.end();
    let (headers, meta) = calls.lock().unwrap().pop().unwrap();
    assert_eq!(headers, meta);
    let (begin, span) = (&meta["traceparent"][..35], &meta["traceparent"][36..52]);
    assert_eq!((begin, &*meta["tracestate"], &*meta["baggage"]), (&PARENT[..35], "a=1", "tenant=x"));
    assert_ne!(span, &PARENT[36..52]);
    let bodies: Vec<u8> = received.lock().unwrap().iter().flat_map(|(_, body)| body.clone()).collect();
    let id = u64::from_str_radix(span, 16).unwrap().to_be_bytes();
    assert!(contains(&bodies, &id) && contains(&bodies, &0x00f0_67aa_0ba9_02b7_u64.to_be_bytes()), "{span}");
    // Field 3 of a span, a text of three bytes.
    assert!(contains(&bodies, b"\x1a\x03a=1"), "the span has the tracestate");
}
