//! The demo servers as their clients see them: raw JSON-RPC lines over a duplex, and raw HTTP.

use std::{
    io::Write,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{DemoError, NAMES, process::Server};
use crate::domain::{body::Body, schema::Checker};

/// A client of one demo server, and all that the server sent so far.
struct Client {
    output: WriteHalf<DuplexStream>,
    input: Lines<BufReader<ReadHalf<DuplexStream>>>,
    server: JoinHandle<Result<(), DemoError>>,
    /// What `flaky` wrote to stdout past the protocol.
    garbage: Arc<Mutex<Vec<u8>>>,
    notes: Vec<Value>,
    modern: bool,
    capabilities: Value,
    next: u64,
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Client {
    /// Starts the server `name`; says nothing yet.
    fn start(name: &str, dir: &Path) -> Client {
        let garbage = Arc::new(Mutex::new(vec![]));
        let crash = CancellationToken::new();
        let server = Server::build(name, dir, Box::new(Shared(garbage.clone())), &crash).unwrap();
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (input, output) = tokio::io::split(theirs);
        let server = tokio::spawn(server.serve(input, output, crash));
        let (input, output) = tokio::io::split(ours);
        let input = BufReader::new(input).lines();
        Client { output, input, server, garbage, notes: vec![], modern: false, capabilities: json!({}), next: 0 }
    }

    /// Starts the server `name` and opens a session of 2025-11-25 with it.
    async fn legacy(name: &str, dir: &Path, capabilities: Value) -> (Client, Value) {
        let mut client = Client::start(name, dir);
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "test", "version": "0"}});
        let hello = client.ask("initialize", params).await["result"].clone();
        client.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        (client, hello)
    }

    /// Starts the server `name` and speaks 2026-07-28 with it.
    fn modern(name: &str, dir: &Path, capabilities: Value) -> Client {
        Client { modern: true, capabilities, ..Client::start(name, dir) }
    }

    async fn send(&mut self, message: Value) {
        self.output.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    /// Ends the server's input.
    async fn close(&mut self) {
        self.output.shutdown().await.unwrap();
    }

    /// Sends a request and returns its id.
    async fn post(&mut self, method: &str, mut params: Value) -> u64 {
        self.next += 1;
        if self.modern {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({"name": "test", "version": "0"});
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
        }
        self.send(json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params})).await;
        self.next
    }

    /// Returns the next message of any kind.
    async fn receive(&mut self) -> Value {
        let line = self.input.next_line().await.unwrap().expect("the server closed the connection");
        serde_json::from_str(&line).unwrap()
    }

    /// Returns the next request or response; stores the notifications before it.
    async fn answer(&mut self) -> Value {
        loop {
            let message = self.receive().await;
            match message.get("id") {
                Some(_) => return message,
                None => self.notes.push(message),
            }
        }
    }

    /// Sends a request and waits for its answer.
    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.post(method, params).await;
        let answer = self.answer().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Calls a tool and returns its result.
    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await;
        answer.get("result").unwrap_or_else(|| panic!("{tool}: {answer}")).clone()
    }

    fn noted(&self, method: &str) -> Vec<&Value> {
        self.notes.iter().filter(|note| note["method"] == method).map(|note| &note["params"]).collect()
    }
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

#[tokio::test]
async fn every_server_introduces_itself_and_lists_what_can_be_used() {
    let dir = tempfile::tempdir().unwrap();
    for name in NAMES {
        let (mut client, hello) = Client::legacy(name, dir.path(), json!({})).await;
        assert_eq!(hello["protocolVersion"], "2025-11-25");
        assert_eq!(hello["serverInfo"]["name"], format!("demo-{name}"));
        for said in [&hello["serverInfo"]["title"], &hello["serverInfo"]["version"], &hello["instructions"]] {
            assert!(said.as_str().is_some_and(|said| !said.is_empty()), "{name}: {hello}");
        }
        let tools = client.ask("tools/list", json!({})).await["result"]["tools"].as_array().unwrap().clone();
        assert!(tools.len() >= 2, "{name}");
        for tool in &tools {
            for schema in [&tool["inputSchema"], &tool["outputSchema"]].into_iter().filter(|schema| !schema.is_null()) {
                assert_eq!(Checker::new(&Body::json(schema)).problem, None, "{name} {}", tool["name"]);
                assert_eq!(schema["type"], "object");
            }
            for hint in ["readOnlyHint", "destructiveHint", "idempotentHint"] {
                assert!(tool["annotations"][hint].is_boolean(), "{name} {tool}");
            }
            assert!(tool["title"].is_string() && tool["description"].is_string(), "{tool}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn structured_answers_fit_their_output_schemas() {
    let dir = tempfile::tempdir().unwrap();
    for (name, tool, arguments) in [
        ("database", "create_user", json!({"email": "a@b.c", "name": "A", "tags": ["x"], "address": {"city": "Ulm"}})),
        ("database", "query_users", json!({"text": "a"})),
        ("database", "insert_record", json!({"table": "t", "record": {"a": [1, null]}})),
        ("database", "get_user_profile", json!({"userId": "u_1003"})),
        ("email", "send_email", json!({"to": "ada@example.com", "subject": "Hi"})),
        ("email", "get_inbox", json!({"address": "ada@example.com"})),
        ("analytics", "track_event", json!({"event": "login", "userId": "u_1001"})),
        ("analytics", "get_user_activity", json!({"userId": "u_1001"})),
        ("analytics", "report", json!({"seconds": 1})),
        ("preferences", "get_preferences", json!({"userId": "u_1001"})),
        ("preferences", "set_preferences", json!({"userId": "u_1001", "theme": "dark"})),
        ("flaky", "configure", json!({"failure_rate": 0, "latency_ms": 0})),
        ("flaky", "status", json!({})),
    ] {
        let (mut client, _) = Client::legacy(name, dir.path(), json!({})).await;
        let tools = client.ask("tools/list", json!({})).await["result"]["tools"].clone();
        let schema = &tools.as_array().unwrap().iter().find(|listed| listed["name"] == tool).unwrap()["outputSchema"];
        let result = client.call(tool, arguments).await;
        assert_eq!(result["isError"], false, "{tool}: {result}");
        assert!(result["structuredContent"].is_object(), "{tool}: {result}");
        assert_eq!(Checker::new(&Body::json(schema)).check(&result["structuredContent"]), [], "{tool}: {result}");
        assert_eq!(serde_json::from_str::<Value>(text(&result)).unwrap(), result["structuredContent"]);
    }
}

#[tokio::test]
async fn invalid_arguments_and_unknown_names_have_different_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (mut client, _) = Client::legacy("database", dir.path(), json!({})).await;
    let refused = client.call("create_user", json!({"email": "no address", "role": "king"})).await;
    assert_eq!(refused["isError"], true);
    for part in ["/email", "/role", "name"] {
        assert!(text(&refused).contains(part), "{refused}");
    }
    let unknown = client.call("get_user_profile", json!({"userId": "u_404"})).await;
    assert!(unknown["isError"] == true && text(&unknown).contains("u_404"), "{unknown}");
    assert_eq!(client.ask("tools/call", json!({"name": "drop_table", "arguments": {}})).await["error"]["code"], -32602);
    assert_eq!(client.ask("resources/read", json!({"uri": "demo://users/u_404"})).await["error"]["code"], -32002);
    let users = client.ask("resources/read", json!({"uri": "demo://users"})).await;
    assert!(users["result"]["contents"][0]["text"].as_str().unwrap().contains("Ada Lovelace"), "{users}");
}

#[tokio::test]
async fn the_modern_era_is_spoken_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut client = Client::modern("database", dir.path(), json!({}));
    let found = client.ask("server/discover", json!({})).await;
    assert!(found["result"]["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")), "{found}");
    assert!(found["result"]["capabilities"]["resources"].is_object(), "{found}");
    let made = client.call("create_user", json!({"email": "new@x.org", "name": "New"})).await;
    assert_eq!(made["structuredContent"]["userId"], "u_1007");
    assert!(client.notes.is_empty(), "no log level was asked for: {:?}", client.notes);
    let arguments = json!({"userId": "u_1007"});
    client
        .ask("tools/call", json!({"name": "delete_user", "arguments": arguments, "_meta": {"io.modelcontextprotocol/logLevel": "info"}}))
        .await;
    assert_eq!(client.noted("notifications/message").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn sending_reports_progress_and_logs_as_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut client, _) = Client::legacy("email", dir.path(), json!({})).await;
    let call = |subject: &str| {
        let arguments = json!({"to": "ann@x.org", "subject": subject});
        json!({"name": "send_email", "arguments": arguments, "_meta": {"progressToken": "p"}})
    };
    client.ask("tools/call", call("one")).await;
    let steps: Vec<f64> = client.noted("notifications/progress").iter().map(|note| note["progress"].as_f64().unwrap()).collect();
    assert_eq!(steps, [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(client.noted("notifications/message").len(), 1);
    client.ask("logging/setLevel", json!({"level": "error"})).await;
    client.ask("tools/call", call("two")).await;
    assert_eq!(client.noted("notifications/message").len(), 1);
    let inbox = client.call("get_inbox", json!({"address": "ann@x.org"})).await;
    assert_eq!(inbox["structuredContent"]["total"], 2);
}

#[tokio::test(start_paused = true)]
async fn a_form_is_asked_in_both_eras() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = json!({"to": "ann@x.org", "subject": "Hi", "confirm": true});
    let yes = json!({"action": "accept", "content": {"send": true, "priority": "high"}});

    let (mut legacy, _) = Client::legacy("email", dir.path(), json!({"elicitation": {}})).await;
    let id = legacy.post("tools/call", json!({"name": "send_email", "arguments": arguments})).await;
    let question = legacy.answer().await;
    assert_eq!((&question["method"], &question["params"]["mode"]), (&json!("elicitation/create"), &json!("form")));
    legacy.send(json!({"jsonrpc": "2.0", "id": question["id"], "result": yes})).await;
    let answer = legacy.answer().await;
    assert_eq!((&answer["id"], &answer["result"]["structuredContent"]["priority"]), (&json!(id), &json!("high")), "{answer}");

    let mut modern = Client::modern("email", dir.path(), json!({"elicitation": {}}));
    let first = modern.call("send_email", arguments.clone()).await;
    assert_eq!(first["resultType"], "input_required");
    assert_eq!(first["inputRequests"]["confirm"]["method"], "elicitation/create");
    let retry = json!({"name": "send_email", "arguments": arguments, "inputResponses": {"confirm": yes}});
    let second = modern.ask("tools/call", retry).await;
    assert_eq!(second["result"]["structuredContent"]["confirmed"], true, "{second}");

    let (mut unable, _) = Client::legacy("email", dir.path(), json!({})).await;
    let refused = unable.call("send_email", arguments).await;
    assert!(refused["isError"] == true && text(&refused).contains("elicitation"), "{refused}");
}

#[tokio::test]
async fn a_summary_is_sampled_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut client, _) = Client::legacy("preferences", dir.path(), json!({"sampling": {}})).await;
    for (reply, said, error) in [
        (json!({"result": {"role": "assistant", "content": {"type": "text", "text": "Dark."}, "model": "m"}}), "Dark.", false),
        (json!({"error": {"code": -1, "message": "User rejected sampling request"}}), "rejected", true),
    ] {
        client.post("tools/call", json!({"name": "summarise", "arguments": {"userId": "u_1001"}})).await;
        let question = client.answer().await;
        assert_eq!(question["method"], "sampling/createMessage");
        let mut message = json!({"jsonrpc": "2.0", "id": question["id"]});
        message.as_object_mut().unwrap().extend(reply.as_object().unwrap().clone());
        client.send(message).await;
        let answer = client.answer().await;
        assert_eq!(answer["result"]["isError"], error, "{answer}");
        assert!(text(&answer["result"]).contains(said), "{answer}");
    }
    let (mut unable, _) = Client::legacy("preferences", dir.path(), json!({})).await;
    assert_eq!(unable.call("summarise", json!({"userId": "u_1001"})).await["isError"], true);
}

#[tokio::test]
async fn prompts_and_completions_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let (mut email, _) = Client::legacy("email", dir.path(), json!({})).await;
    let prompt = email.ask("prompts/get", json!({"name": "welcome_email", "arguments": {"name": "Ann"}})).await;
    assert!(prompt["result"]["messages"][0]["content"]["text"].as_str().unwrap().contains("Ann"), "{prompt}");
    assert_eq!(email.ask("prompts/get", json!({"name": "welcome_email"})).await["error"]["code"], -32602);
    let ask = json!({"ref": {"type": "ref/prompt", "name": "welcome_email"}, "argument": {"name": "product", "value": "l"}});
    let completed = email.ask("completion/complete", ask).await;
    assert_eq!(completed["result"]["completion"]["values"], json!(["Ledger", "Lighthouse"]));
    let (mut database, _) = Client::legacy("database", dir.path(), json!({})).await;
    let ask = json!({"ref": {"type": "ref/resource", "uri": "demo://users/{id}"}, "argument": {"name": "id", "value": "u_100"}});
    let completed = database.ask("completion/complete", ask).await;
    assert_eq!(completed["result"]["completion"]["values"].as_array().unwrap().len(), 6, "{completed}");
}

#[tokio::test(start_paused = true)]
async fn a_report_can_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let (mut client, _) = Client::legacy("analytics", dir.path(), json!({})).await;
    let ask = json!({"name": "report", "arguments": {"seconds": 60}, "_meta": {"progressToken": 1}});
    let id = client.post("tools/call", ask).await;
    while client.noted("notifications/progress").is_empty() {
        let note = client.receive().await;
        client.notes.push(note);
    }
    client.send(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})).await;
    // No answer comes to a cancelled request: the next one is that of the next request.
    client.ask("ping", json!({})).await;
    client.close().await;
    client.server.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn flaky_fails_in_the_configured_mode() {
    let dir = tempfile::tempdir().unwrap();
    let (mut client, _) = Client::legacy("flaky", dir.path(), json!({})).await;
    let charge = json!({"name": "charge", "arguments": {"amount": 5}});

    client.call("configure", json!({"mode": "internal_error", "latency_ms": 0})).await;
    let error = client.ask("tools/call", charge.clone()).await;
    assert_eq!((&error["error"]["code"], &error["error"]["message"]), (&json!(-32603), &json!("database is locked")));

    client.call("configure", json!({"mode": "tool_error"})).await;
    assert_eq!(client.call("charge", json!({"amount": 5})).await["isError"], true);

    client.call("configure", json!({"mode": "hang"})).await;
    client.post("tools/call", charge.clone()).await;
    client.call("configure", json!({"mode": "garbage"})).await;
    client.post("tools/call", charge.clone()).await;
    while client.garbage.lock().unwrap().is_empty() {
        client.call("status", json!({})).await;
    }
    let garbage = String::from_utf8(client.garbage.lock().unwrap().clone()).unwrap();
    assert!(garbage.ends_with('\n') && serde_json::from_str::<Value>(&garbage).is_err(), "{garbage}");

    client.call("configure", json!({"failure_rate": 0})).await;
    let booked = client.call("charge", json!({"amount": 5})).await;
    assert_eq!(booked["structuredContent"]["charges"], 3, "the ones that were not answered are booked too");

    client.call("configure", json!({"mode": "crash"})).await;
    client.post("tools/call", charge).await;
    let error = client.server.await.unwrap().unwrap_err();
    assert!(matches!(error, DemoError::Crashed) && error.exit_code() == 3);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_input_ends_even_a_hanging_server() {
    let dir = tempfile::tempdir().unwrap();
    for name in NAMES {
        let mut silent = Client::start(name, dir.path());
        silent.close().await;
        silent.server.await.unwrap().unwrap();
    }
    let (mut client, _) = Client::legacy("flaky", dir.path(), json!({})).await;
    client.call("configure", json!({"mode": "hang", "latency_ms": 0})).await;
    client.post("tools/call", json!({"name": "quote", "arguments": {"amount": 1}})).await;
    client.call("status", json!({})).await;
    let start = tokio::time::Instant::now();
    client.close().await;
    client.server.await.unwrap().unwrap();
    assert!(start.elapsed() <= Duration::from_secs(1), "{:?} of paused time", start.elapsed());
}

#[test]
fn unknown_names_and_missing_folders_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = super::run_server("nothing", dir.path()).unwrap_err();
    assert!(error.to_string().contains("nothing") && error.to_string().contains("analytics") && error.exit_code() == 2, "{error}");
    let error = super::run_server("database", &dir.path().join("gone")).unwrap_err();
    assert!(matches!(error, DemoError::NoFolder { .. }), "{error}");
}

/// Sends one HTTP request on a connection of its own; the status line and all that follows.
async fn http(address: std::net::SocketAddr, headers: &str, body: &Value) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let body = body.to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nConnection: close\r\n\
         Content-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn http_is_served_to_local_programs_only() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::build("analytics", dir.path(), Box::new(std::io::sink()), &CancellationToken::new()).unwrap();
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let end = CancellationToken::new();
    let serving = tokio::spawn(server.over_http(listener, end.clone()));

    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "0"}}});
    let host = format!("Host: {address}\r\n");
    let opened = http(address, &host, &hello).await;
    assert!(opened.starts_with("HTTP/1.1 200") && opened.to_lowercase().contains("mcp-session-id"), "{opened}");
    assert!(opened.contains("demo-analytics"), "{opened}");
    let rebound = http(address, "Host: evil.example\r\n", &hello).await;
    assert!(rebound.starts_with("HTTP/1.1 403"), "{rebound}");
    let browser = http(address, &format!("{host}Origin: http://evil.example\r\n"), &hello).await;
    assert!(browser.starts_with("HTTP/1.1 403"), "{browser}");

    let call = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
    "name": "track_event", "arguments": {"event": "login", "userId": "u_1001"},
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": {}
    }}});
    let headers = format!("{host}MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: track_event\r\n");
    let tracked = http(address, &headers, &call).await;
    assert!(tracked.starts_with("HTTP/1.1 200") && tracked.contains("eventId"), "{tracked}");

    end.cancel();
    serving.await.unwrap().unwrap();
}
