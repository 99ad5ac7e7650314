//! A real OpenTelemetry collector (rotel) takes traces and metrics, and the parser of the Prometheus client for Python reads the metrics.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{packages::installed, support::PATIENCE};

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A collector that prints what it receives.
struct Collector {
    _running: Running,
    /// The URL of the receiver over HTTP.
    http: String,
    /// The URL of the receiver over gRPC.
    grpc: String,
    lines: Receiver<String>,
}

impl Collector {
    /// Returns the lines until one satisfies the condition.
    fn until(&self, what: &str, mut is_last: impl FnMut(&str) -> bool) -> Vec<String> {
        let (mut seen, end) = (vec![], Instant::now() + PATIENCE);
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("no {what}: {error}: {seen:#?}"));
            let last = is_last(&line);
            seen.push(line);
            if last {
                return seen;
            }
        }
    }
}

/// Starts a collector.
fn collector(folder: &std::path::Path) -> Collector {
    let (http, grpc) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let python = installed("py/bin/python");
    let script = "import rotel, pathlib; print(pathlib.Path(rotel.__file__).parent / 'rotel-agent')";
    let found = Command::new(python).args(["-c", script]).output().unwrap();
    let mut child = Command::new(String::from_utf8(found.stdout).unwrap().trim())
        .args(["start", "--exporter", "blackhole", "--debug-log", "traces", "--debug-log", "metrics"])
        .args(["--debug-log-verbosity", "detailed"])
        .args(["--otlp-http-endpoint", &http, "--otlp-grpc-endpoint", &grpc])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = child.stdout.take().unwrap();
    let (sender, lines) = channel();
    std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let collector = Collector { _running: Running(child), http: format!("http://{http}"), grpc: format!("http://{grpc}"), lines };
    collector.until("start", |line| line.contains("Starting Rotel"));
    // It says so before it listens.
    let (mut pause, end) = (Duration::from_millis(1), Instant::now() + PATIENCE);
    while [&http, &grpc].iter().any(|address| TcpStream::connect(address).is_err()) {
        assert!(Instant::now() < end, "the collector does not listen");
        // A line ends the pause.
        let _ = collector.lines.recv_timeout(pause);
        pause *= 2;
    }
    collector
}

fn switchboard(folder: &std::path::Path, line: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("switchboard"));
    command.args(line).env("HOME", folder).env("SWITCHBOARD_STATE_DIR", folder.join("state")).current_dir(folder);
    command.env("SWITCHBOARD_CONFIG_DIR", folder.join("config")).stdin(Stdio::null());
    command
}

/// A span as the collector prints it: its name, id and parent.
#[derive(Debug)]
struct Seen {
    name: String,
    id: String,
    parent: String,
}

#[test]
fn a_real_collector_receives_the_tree_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let collector = collector(folder.path());
    let line = ["run", "--demo", "onboard_new_user", "email=ann@example.com", "name=Ann", "--yes", "--json", "--inject", "email=fail=1"];
    switchboard(folder.path(), &line).env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/v1/traces", collector.http)).output().unwrap();
    let mut seen: Vec<Seen> = vec![];
    let (mut parent, mut id) = (String::new(), String::new());
    collector.until("run", |line| {
        match line.trim().split_once(':').map(|(label, value)| (label.trim(), value.trim().to_owned())) {
            Some(("Parent ID", value)) => parent = value,
            Some(("ID", value)) => id = value,
            Some(("Name", name)) => seen.push(Seen { name, id: id.clone(), parent: parent.clone() }),
            _ => {}
        }
        seen.last().is_some_and(|span| span.name == "workflow onboard_new_user")
    });
    let find = |name: &str| seen.iter().find(|span| span.name.starts_with(name)).unwrap_or_else(|| panic!("{name}: {seen:#?}"));
    let above = |span: &Seen| seen.iter().find(|other| other.id == span.parent).unwrap_or_else(|| panic!("{span:?}: {seen:#?}"));
    let attempt = find("tools/call ");
    let call = above(attempt);
    let step = above(call);
    let run = above(step);
    assert!(call.name.starts_with("call tools/call "), "{call:?}");
    assert!(step.name.starts_with("step "), "{step:?}");
    assert_eq!((run.name.as_str(), run.parent.as_str()), ("workflow onboard_new_user", ""));
    let retried = seen.iter().filter(|span| span.name.starts_with("tools/call ") && span.parent == call.id).count();
    assert!(retried >= 1, "{seen:#?}");
}

/// Calls a tool with this protocol. Returns the lines of the collector up to those of the call's span and of the last metric.
fn exported(protocol: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let collector = collector(folder.path());
    let endpoint = if protocol == "grpc" { &collector.grpc } else { &collector.http };
    let mut command = switchboard(folder.path(), &["call", "--demo", "database_query_users", "role=admin", "--json"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Traces and metrics arrive in any order.
    let mut missing = vec!["call tools/call query_users", "switchboard.calls", "switchboard.call.duration", "switchboard.trace.lost_spans"];
    collector.until("span and metrics", |line| {
        missing.retain(|part| !line.contains(part));
        missing.is_empty()
    })
}

#[test]
fn a_real_collector_receives_traces_and_metrics_over_http() {
    let lines = exported("http/protobuf");
    let has = |part: &str| lines.iter().any(|line| line.contains(part));
    assert!(has("query_users") && has("switchboard.breaker.state"), "{lines:#?}");
}

#[test]
fn a_real_collector_receives_traces_and_metrics_over_grpc() {
    let lines = exported("grpc");
    let has = |part: &str| lines.iter().any(|line| line.contains(part));
    assert!(has("query_users") && has("switchboard.breaker.state"), "{lines:#?}");
}

#[test]
fn a_scrape_is_read_by_a_real_parser() {
    let folder = tempfile::tempdir().unwrap();
    let line = ["serve", "--demo", "--server", "database", "--http", "127.0.0.1:0"];
    let mut child = switchboard(folder.path(), &line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let _serving = Running(child);
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    let address = said.trim().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/mcp")).unwrap().to_owned();
    let send = |text: String| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "query_users", "arguments": {"role": "admin"}, "_meta": meta}})
    .to_string();
    send(format!(
        "POST /mcp HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: query_users\r\n\r\n{call}",
        call.len()
    ));
    let metrics = send(format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"));
    let script = "import sys, json\nfrom prometheus_client.parser import text_string_to_metric_families as read\n\
                  print(json.dumps({f.name: [f.type, len(f.samples)] for f in read(sys.stdin.read())}))";
    let mut parser =
        Command::new(installed("py/bin/python")).args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    parser.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "{metrics}");
    let families: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(families["switchboard_calls"], json!(["counter", 1]), "{families}");
    assert_eq!(families["switchboard_call_duration_seconds"], json!(["histogram", 17]), "{families}");
    assert_eq!(families["switchboard_server_up"], json!(["gauge", 1]), "{families}");
}
