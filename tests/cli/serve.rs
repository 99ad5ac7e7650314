//! The gateway as a program: one client over its standard streams, many over HTTP, and its end.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::Home;

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that started the gateway.
pub(super) struct Client {
    child: Child,
    lines: Receiver<String>,
    next_id: u64,
    /// Whether it approves what a run asks.
    pub(super) approves: bool,
}

impl Client {
    fn start(home: &Home, line: &[&str]) -> Client {
        Client::of(home.command(line))
    }

    pub(super) fn of(mut command: std::process::Command) -> Client {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Client { child, lines, next_id: 1, approves: false }
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    fn message(&self, deadline: Instant) -> Value {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = self.lines.recv_timeout(left).unwrap_or_else(|error| panic!("no message: {error}"));
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("stdout belongs to the protocol: {error}: {line}"))
    }

    /// Sends a request. Returns the messages before its response, and the response.
    pub(super) fn ask(&mut self, method: &str, params: Value) -> (Vec<Value>, Value) {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        let mut before = vec![];
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.message(deadline);
            if message["id"] == id && message.get("method").is_none() {
                return (before, message);
            }
            if message["method"] == "elicitation/create" {
                self.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": {"action": "accept", "content": {"send": true, "priority": "normal", "approve": self.approves}}}));
            }
            before.push(message);
        }
    }

    /// Waits for a notification.
    pub(super) fn notified(&self, method: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.message(deadline)["method"] != method {}
    }

    pub(super) fn initialize(&mut self, capabilities: Value) -> Value {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "c", "version": "1"}});
        let (_, response) = self.ask("initialize", params);
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        response["result"].clone()
    }

    /// Ends the input. Returns the exit code and stderr.
    pub(super) fn end(mut self) -> (Option<i32>, String) {
        drop(self.child.stdin.take());
        self.ended()
    }

    fn ended(mut self) -> (Option<i32>, String) {
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stderr)
    }
}

pub(super) fn names(response: &Value) -> Vec<String> {
    let tools = response["result"]["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_client_uses_all_servers_over_stdin_and_stdout() {
    let home = Home::new();
    let mut client = Client::start(&home, &["serve", "--demo", "--server", "database", "--server", "email"]);
    let result = client.initialize(json!({"elicitation": {}}));
    assert_eq!((&result["serverInfo"]["name"], &result["capabilities"]["tools"]), (&json!("switchboard"), &json!({"listChanged": true})));
    assert!(result["instructions"].as_str().unwrap().starts_with("# database\n\n"), "{result}");
    let (_, listed) = client.ask("tools/list", json!({}));
    let names = names(&listed);
    assert!(names.contains(&"database_query_users".to_owned()) && names.contains(&"email_send_email".to_owned()), "{names:?}");
    let (_, called) = client.ask("tools/call", json!({"name": "database_query_users", "arguments": {"role": "admin"}}));
    assert!(called["result"]["structuredContent"]["users"].is_array(), "{called}");
    // Progress with the token of the client, and a form that the server asks this client to fill in.
    let arguments = json!({"to": "ann@example.com", "subject": "s", "body": "b", "confirm": true});
    let (before, sent) =
        client.ask("tools/call", json!({"name": "email_send_email", "arguments": arguments, "_meta": {"progressToken": "p"}}));
    assert_eq!(sent["result"]["structuredContent"]["confirmed"], true, "{before:?} {sent}");
    assert!(before.iter().any(|message| message["method"] == "elicitation/create"), "{before:?}");
    let progress: Vec<f64> = before.iter().filter_map(|message| message["params"]["progress"].as_f64()).collect();
    assert!(!progress.is_empty() && progress.is_sorted(), "{before:?}");
    assert!(before.iter().filter(|message| message["method"] == "notifications/progress").all(|m| m["params"]["progressToken"] == "p"));
    let (_, unknown) = client.ask("tools/call", json!({"name": "database_query_user"}));
    assert_eq!(unknown["error"]["code"], -32602);
    assert!(unknown["error"]["message"].as_str().unwrap().contains("similar: database_query_users"), "{unknown}");
    assert_eq!(client.end(), (Some(0), String::new()));
}

#[test]
fn a_single_server_is_offered_as_it_is() {
    let home = Home::new();
    let mut client = Client::start(&home, &["serve", "--demo", "--server", "database"]);
    let result = client.initialize(json!({}));
    assert_ne!(result["serverInfo"]["name"], "switchboard");
    let (_, listed) = client.ask("tools/list", json!({}));
    assert!(names(&listed).contains(&"query_users".to_owned()), "{listed}");
    assert_eq!(client.end().0, Some(0));
}

/// A gateway that listens on a free port.
pub(super) struct Listening {
    child: Child,
    /// `HOST:PORT`.
    pub(super) address: String,
}

impl Listening {
    pub(super) fn start(home: &Home, line: &[&str]) -> Listening {
        Listening::of(home.command(&[&["serve", "--http", "127.0.0.1:0"], line].concat()))
    }

    /// Starts a gateway that listens on HTTP.
    pub(super) fn of(mut command: std::process::Command) -> Listening {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
        let address = said.trim().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/mcp"));
        Listening { child, address: address.unwrap_or_else(|| panic!("{said:?}")).to_owned() }
    }

    pub(super) fn end(mut self) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(143));
    }
}

pub(super) const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub(super) const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// Sends an e-mail that the server has confirmed. Returns the progress that came meanwhile, and the result.
fn send_confirmed(client: &mut Client, tool: &str, modern: bool) -> (Vec<Value>, Value) {
    let arguments = json!({"to": "ann@example.com", "subject": "s", "body": "b", "confirm": true});
    let mut params = json!({"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}});
    if modern {
        params["_meta"][VERSION] = json!("2026-07-28");
        params["_meta"][CAPABILITIES] = json!({"elicitation": {"form": {}}});
    } else {
        client.initialize(json!({"elicitation": {}}));
    }
    let (mut before, mut response) = client.ask("tools/call", params.clone());
    let mut rounds = 0;
    while response["result"]["resultType"] == "input_required" {
        let result = response["result"].clone();
        let requests = result["inputRequests"].as_object().unwrap();
        let answer = |request: &Value| {
            assert_eq!(request["method"], "elicitation/create", "{result}");
            json!({"action": "accept", "content": {"send": true, "priority": "high"}})
        };
        params["inputResponses"] = requests.iter().map(|(key, request)| (key.clone(), answer(request))).collect();
        params["requestState"] = result["requestState"].clone();
        let (more, next) = client.ask("tools/call", params.clone());
        before.extend(more);
        response = next;
        rounds += 1;
        assert!(rounds < 5, "{response}");
    }
    assert_eq!(rounds, u32::from(modern), "{response}");
    let asked = before.iter().filter(|message| message["method"] == "elicitation/create").count();
    assert_eq!(asked, usize::from(!modern), "{before:?}");
    (before.into_iter().filter(|message| message["method"] == "notifications/progress").collect(), response)
}

#[test]
fn questions_reach_the_client_whatever_the_eras_of_client_and_server_are() {
    let home = Home::new();
    // Towards its clients the inner gateway is a server of 2026-07-28; the one behind it is older.
    let inner = Listening::start(&home, &["--demo", "--server", "email", "--server", "database"]);
    let url = format!("http://{}/mcp", inner.address);
    let older = ["serve", "--demo", "--server", "email", "--server", "database"];
    let newer = ["serve", "--", &url];
    for (line, upstream) in [(&older[..], "older"), (&newer[..], "newer")] {
        for modern in [false, true] {
            let mut client = Client::start(&home, line);
            let (progress, response) = send_confirmed(&mut client, "email_send_email", modern);
            assert_eq!(response["result"]["structuredContent"]["confirmed"], true, "{upstream} {modern}: {response}");
            assert_eq!(response["result"].get("resultType").is_some(), modern, "{response}");
            let values: Vec<f64> = progress.iter().filter_map(|message| message["params"]["progress"].as_f64()).collect();
            assert!(!values.is_empty() && progress.iter().all(|message| message["params"]["progressToken"] == "p"), "{progress:?}");
            assert_eq!(client.end().0, Some(0));
        }
    }
    inner.end();
}

/// Sends one HTTP request. Returns status and body.
pub(super) fn request(mut stream: impl Read + Write, head: &str, body: &Value) -> (u16, String) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!("{head}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn many_clients_use_all_servers_over_http_and_a_socket() {
    let home = Home::new();
    std::fs::write(home.path().join("token.txt"), "s3cret\n").unwrap();
    let line = ["serve", "--demo", "--server", "database", "--http", "127.0.0.1:0", "--socket", "gate.sock", "--token-file", "token.txt"];
    let mut child = home.command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    let address = said.trim().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/mcp")).unwrap().to_owned();
    said.clear();
    stderr.read_line(&mut said).unwrap();
    assert_eq!(said.trim(), "listening on gate.sock");
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "query_users", "arguments": {"role": "admin"}, "_meta": meta}});
    let named = "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: query_users";
    let head = |host: &str, token: &str| format!("POST /mcp HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n{named}");
    let tcp = || TcpStream::connect(&address).unwrap();
    let (status, body) = request(tcp(), &head(&address, "s3cret"), &call);
    assert_eq!(status, 200, "{body}");
    let result: Value = serde_json::from_str(&body).unwrap();
    assert!(result["result"]["structuredContent"]["users"].is_array(), "{result}");
    let unix = UnixStream::connect(home.path().join("gate.sock")).unwrap();
    assert_eq!(request(unix, &head("localhost", "s3cret"), &call).0, 200);
    for (host, token, status) in [(address.as_str(), "wrong", 401), ("evil.example.com", "s3cret", 403)] {
        assert_eq!(request(tcp(), &head(host, token), &call).0, status, "{host}");
    }
    let health = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer s3cret");
    assert_eq!(request(tcp(), &health, &Value::Null), (200, String::new()));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!home.path().join("gate.sock").exists() && TcpStream::connect(&address).is_err());
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!(stdout, "");
}

#[test]
fn a_listener_for_everybody_needs_a_token() {
    let home = Home::new();
    let ran = home.demo(&["database"], &["serve", "--http", "0.0.0.0:0"]).ends(2);
    assert!(ran.err.contains("0.0.0.0:0 is not a loopback address, so the listener needs a token"), "{}", ran.err);
    assert_eq!(ran.out, "");
    let ran = home.demo(&["database"], &["serve", "--elicit", "decline"]).ends(2);
    assert!(ran.err.contains("--elicit and --sample do not apply to serve"), "{}", ran.err);
}

#[test]
fn trap_25_the_gateway_and_its_servers_end_with_the_process_that_started_it() {
    let home = Home::new();
    // The shell starts the gateway and a process that holds the pipe open, and is killed.
    let program = assert_cmd::cargo::cargo_bin!("switchboard");
    let script = format!("exec 3<&0; sleep 1000 >/dev/null & echo $!; {} serve --demo --server database <&3 & wait", program.display());
    let mut shell = home.command(&[]);
    let environment: Vec<_> = shell.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).env_clear().envs(environment).current_dir(home.path());
    let mut shell = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut input = shell.stdin.take().unwrap();
    let mut output = BufReader::new(shell.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let sleeper = rustix::process::Pid::from_raw(line.trim().parse().unwrap()).unwrap();
    writeln!(input, r#"{{"jsonrpc":"2.0","id":1,"method":"ping"}}"#).unwrap();
    line.clear();
    output.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    shell.kill().unwrap();
    shell.wait().unwrap();
    let (done, ended) = channel();
    std::thread::spawn(move || done.send(output.read_to_string(&mut String::new())));
    // The gateway was the last to hold the output.
    ended.recv_timeout(Duration::from_secs(20)).expect("the gateway ends").unwrap();
    drop(input);
    rustix::process::kill_process(sleeper, rustix::process::Signal::KILL).unwrap();
}
