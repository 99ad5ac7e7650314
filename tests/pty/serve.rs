//! The console and the gateway in one process.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::session::console;

/// Posts a message to the gateway. Returns the head and the body of the response.
fn post(address: &str, session: Option<&str>, message: &Value) -> (String, String) {
    let body = message.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let session = session.map(|id| format!("Mcp-Session-Id: {id}\r\n")).unwrap_or_default();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         {session}Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn a_console_shows_the_calls_of_the_clients_of_its_gateway() {
    let mut session = console(&["--serve", "127.0.0.1:0", "--name", "both", "demo"]).start();
    session.ready();
    let screen = session.press("N", "clients connect to http://");
    let (_, rest) = screen.split_once("clients connect to http://").unwrap();
    let address = rest.split_once("/mcp").unwrap().0.to_owned();
    session.keys("\x1b");
    session.until("no notices", |screen| !screen.contains("clients connect to"));
    let info = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
    let (head, _) = post(&address, None, &json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": info}));
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("mcp-session-id:")).unwrap();
    let id = line.split_once(':').unwrap().1.trim();
    post(&address, Some(id), &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    let params = json!({"name": "database_query_users", "arguments": {"role": "admin"}});
    let (_, body) = post(&address, Some(id), &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}));
    assert!(body.contains("structuredContent"), "{body}");
    // The view of calls names the client.
    session.keys("2");
    session.until("the call of the client", |screen| screen.contains("client:") && screen.contains("query_users"));
    session.keys("q");
    session.ended().code(0).restored().nothing_left();
}
