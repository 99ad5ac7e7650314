//! History, drift, traces and metrics over several processes.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use super::*;

/// Requests that a collector received: the head and the body.
pub(super) type Received = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// Starts a collector. One that is `slow` reads and never answers.
pub(super) fn collector(slow: bool) -> (String, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let received = Received::default();
    let requests = received.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let requests = requests.clone();
            std::thread::spawn(move || while take(&stream, &requests, slow).is_some() {});
        }
    });
    (address, received)
}

fn take(mut stream: &TcpStream, requests: &Received, slow: bool) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    requests.lock().unwrap().push((head, body));
    if slow {
        // Until the other side closes the connection.
        let _ = reader.read_to_end(&mut vec![]);
        return None;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}

pub(super) fn contains(bytes: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(bytes, part).is_some()
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_call_is_exported_in_the_trace_of_the_process_that_started_it() {
    let home = Home::new();
    home.configured();
    let (address, received) = collector(false);
    let line = ["call", "database_query_users", "role=admin", "--json"];
    let mut command = home.at_home(&line);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &address).env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret-key").env("TRACEPARENT", PARENT);
    Ran::of(&line, command.output().unwrap()).ends(0);
    let requests = received.lock().unwrap().clone();
    let (head, body) = requests.iter().find(|(head, _)| head.starts_with("POST /v1/traces")).expect("spans");
    assert!(head.starts_with("POST /v1/traces HTTP/1.1") && head.to_lowercase().contains("api-key: s3cret-key"), "{head}");
    for part in [&b"call tools/call query_users"[..], b"gen_ai.tool.name", b"service.name", &0x4bf9_2f35_77b3_4da6_u64.to_be_bytes()] {
        assert!(contains(body, part), "{}", String::from_utf8_lossy(part));
    }
    assert!(!contains(body, b"admin"), "arguments are not in spans");
    let (head, body) = requests.iter().find(|(head, _)| head.starts_with("POST /v1/metrics")).expect("metrics");
    assert!(head.to_lowercase().contains("api-key: s3cret-key") && contains(body, b"switchboard.call.duration"), "{head}");
    let calls = home.own(&["history", "list", "--json"]).ends(0).json();
    assert_eq!(calls["calls"][0]["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736", "{calls}");
    let log = std::fs::read_to_string(home.path().join(".state/log/switchboard.log")).unwrap_or_default();
    assert!(!log.contains("s3cret-key"), "{log}");
}

#[test]
fn a_run_with_its_undo_is_one_trace() {
    let home = Home::new();
    let (address, received) = collector(false);
    let line = ["run", "--demo", "onboard_new_user", "email=ann@example.com", "name=Ann", "--yes", "--json"];
    let mut command = home.command(&line);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &address);
    command.output().unwrap();
    let bodies: Vec<u8> = received.lock().unwrap().iter().flat_map(|(_, body)| body.clone()).collect();
    for part in ["workflow onboard_new_user", "step ", "call tools/call "] {
        assert!(contains(&bodies, part.as_bytes()), "{part}");
    }
}

#[test]
fn a_collector_that_never_answers_holds_no_call_up() {
    let home = Home::new();
    home.configured();
    let (address, received) = collector(true);
    let line = ["call", "database_query_users", "--json"];
    let mut command = home.at_home(&line);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &address);
    let begin = std::time::Instant::now();
    Ran::of(&line, command.output().unwrap()).ends(0);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let requests = received.lock().unwrap().clone();
    let of = |path: &str| requests.iter().filter(|(head, _)| head.starts_with(path)).count();
    assert_eq!((of("POST /v1/traces"), of("POST /v1/metrics")), (1, 1));
}

#[test]
fn the_history_is_listed_searched_counted_exported_and_pruned() {
    let home = Home::new();
    home.configured();
    home.own(&["call", "database_query_users", "role=admin"]).ends(0);
    home.own(&["call", "database_query_users", "role=viewer"]).ends(0);
    home.own(&["call", "flaky_lookup_user", "id=1"]);
    let list = |line: &[&str]| {
        let calls = home.own(&[&["history"], line, &["--json"]].concat()).ends(0).json();
        calls["calls"].as_array().unwrap().iter().map(|call| call["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let all = list(&["list"]);
    assert!(all.len() >= 2 && all.iter().filter(|name| *name == "database_query_users").count() == 2, "{all:?}");
    assert_eq!(list(&["search", "ADMIN"]), ["database_query_users"]);
    assert_eq!(list(&["list", "server:database", "--since", "1h"]).len(), 2);
    let first = home.own(&["history", "list", "--last", "1", "--json"]).ends(0).json();
    let next = first["next"].as_str().unwrap();
    assert_eq!(list(&["list", "--before", next]).len(), all.len() - 1);
    home.own(&["history", "list", "colour:red"]).ends(2).says("unknown field");
    let stats = home.own(&["history", "stats", "--by", "server", "--json"]).ends(0).json();
    assert_eq!(stats["total"]["calls"].as_u64(), Some(all.len() as u64), "{stats}");
    for format in ["jsonl", "har", "markdown", "html"] {
        let file = home.path().join(format!("calls.{format}"));
        home.own(&["history", "export", "server:database", "--format", format, "--output", file.to_str().unwrap()]).ends(0);
        let text = std::fs::read_to_string(file).unwrap();
        assert!(text.contains("query_users") && text.contains("admin"), "{format}: {text}");
    }
    home.own(&["history", "prune", "--older-than", "1d"]).ends(0);
    assert_eq!(list(&["list"]).len(), all.len());
}

#[test]
fn each_command_is_a_session_of_the_history() {
    let home = Home::new();
    home.configured();
    home.own(&["history", "sessions"]).ends(0).says("no sessions");
    home.own(&["call", "database_query_users", "role=admin"]).ends(0);
    home.own(&["tools"]).ends(0);
    home.own(&["call", "database_query_users", "role=viewer"]).ends(0);
    home.own(&["call", "database_no_such_tool"]);
    let listed = home.own(&["history", "sessions", "--json"]).ends(0).json();
    let sessions = listed["sessions"].as_array().unwrap();
    assert!(sessions.len() >= 2 && sessions.iter().all(|session| session["program"] == "headless"), "{listed}");
    let of_calls: Vec<_> = sessions.iter().filter(|session| session["calls"] == 1 && session["failures"] == 0).collect();
    assert_eq!(of_calls.len(), 2, "{listed}");
    for session in &of_calls {
        let at = |key: &str| session[key].as_u64().unwrap_or_else(|| panic!("{key}: {listed}"));
        assert!(at("started_unix_ms") <= at("last_unix_ms") && at("last_unix_ms") <= at("ended_unix_ms"), "{listed}");
    }
    let arguments = |selection: &[&str]| {
        let calls = home.own(&[&["history", "list", "--json", "outcome:ok"], selection].concat()).ends(0).json();
        let show = |call: &serde_json::Value| home.own(&["history", "show", call["call"].as_str().unwrap(), "--json"]).ends(0).json();
        calls["calls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| show(call)["arguments"]["role"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let ids: Vec<&str> = of_calls.iter().map(|session| session["session"].as_str().unwrap()).collect();
    assert_eq!(arguments(&["--session", ids[0]]), ["viewer"]);
    assert_eq!(arguments(&["--session", ids[1]]), ["admin"]);
    assert_eq!(arguments(&[&format!("session:{}", ids[1])]), ["admin"]);
    assert_eq!(arguments(&["session:headless"]), ["viewer", "admin"]);
    home.own(&["call", "database_query_users", "role=developer"]).ends(0);
    assert_eq!(arguments(&["--session", "last"]), ["developer"]);
    home.own(&["history", "list", "--session", "a b"]).ends(2);
}

#[test]
fn handshakes_and_lists_are_rows_of_the_history() {
    let home = Home::new();
    home.configured();
    home.own(&["call", "database_query_users", "role=admin"]).ends(0);
    let rows = |filter: &[&str]| {
        let listed = home.own(&[&["history", "list", "--json", "--last", "100"], filter].concat()).ends(0).json();
        listed["calls"].as_array().unwrap().clone()
    };
    let calls = rows(&[]);
    assert!(!calls.is_empty() && calls.iter().all(|call| call["origin"] != "engine"), "{calls:?}");
    let lifecycle = rows(&["kind:lifecycle", "server:database"]);
    let names: Vec<&str> = lifecycle.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"tools/list") && names.iter().any(|name| ["initialize", "server/discover"].contains(name)), "{names:?}");
    assert!(
        lifecycle.iter().all(|row| row["origin"] == "engine" && row["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0)),
        "{lifecycle:?}"
    );
    let list = lifecycle.iter().find(|row| row["name"] == "tools/list").unwrap();
    let shown = home.own(&["history", "show", list["call"].as_str().unwrap(), "--json"]).ends(0).json();
    assert!(shown["result"]["tools"].as_array().is_some_and(|tools| !tools.is_empty()), "{shown}");
    let stats = home.own(&["history", "stats", "--json"]).ends(0).json();
    assert_eq!(stats["total"]["calls"].as_u64(), Some(calls.len() as u64), "{stats}");
}

#[test]
fn drift_compares_two_servers() {
    let home = Home::new();
    home.configured();
    home.own(&["drift", "--between", "database", "flaky"]).ends(2).says("switchboard doctor database");
    home.own(&["doctor"]);
    let found = home.own(&["drift", "--between", "database", "flaky", "--json"]).ends(0).json();
    let changes = found["changes"].as_array().unwrap();
    let of = |name: &str| changes.iter().find(|change| change["name"] == name).unwrap_or_else(|| panic!("{name}: {found}"));
    assert_eq!((of("query_users")["impact"].as_str(), of("quote")["impact"].as_str()), (Some("breaking"), Some("compatible")));
    assert!(changes.iter().any(|change| change["definition"] == "server"), "{found}");
    assert!(changes.iter().all(|change| change["server"] == "database"), "{found}");
    home.own(&["drift", "--between", "database", "flaky", "--fail-on", "breaking"]).ends(12).prints("query_users");
    home.own(&["drift", "--between", "database", "database"]).ends(0).says("define the same");
    home.own(&["drift", "--between", "database"]).ends(2);
    home.own(&["drift", "--between", "database", "flaky", "--all"]).ends(2);
}

#[test]
fn a_recorded_session_replayed_as_a_mock_server_gives_equal_results() {
    let home = Home::new();
    home.configured();
    let lines: [&[&str]; 3] = [&["role=admin"], &["limit:=1"], &["limit:=2", "role=viewer"]];
    let ask = |server: &[&str], arguments: &[&str]| {
        let call = if server.is_empty() { "database_query_users" } else { "query_users" };
        home.own(&[&["call", call, "--json"], arguments, server].concat()).ends(0).json()["result"].clone()
    };
    let real: Vec<Value> = lines.iter().map(|arguments| ask(&[], arguments)).collect();
    let file = home.path().join("session.jsonl").display().to_string();
    home.own(&["history", "export", "--output", &file]).ends(0);
    let (same, report) = (home.own(&["check", &file, "--json"]).ends(0).json(), home.path().join("junit.xml").display().to_string());
    assert_eq!((&same["passed"], same["calls"].as_array().map(Vec::len)), (&json!(true), Some(3)), "{same}");
    let changed = std::fs::read_to_string(&file).unwrap().replace("@example.", "@changed.");
    std::fs::write(home.path().join("changed.jsonl"), changed).unwrap();
    home.own(&["check", "changed.jsonl", "--junit", &report]).ends(1).says("");
    assert!(std::fs::read_to_string(&report).unwrap().contains("<failure"));
    home.own(&["check", "changed.jsonl", "--ignore", "*"]).ends(0);
    let program = assert_cmd::cargo::cargo_bin!("switchboard").display().to_string();
    let mock = ["--", &program, "mock", &file, "--speed", "0"];
    let replayed: Vec<Value> = lines.iter().map(|arguments| ask(&mock, arguments)).collect();
    assert_eq!(real, replayed);
    home.own(&["mock", &file, "--only", "other"]).ends(2).says("has no calls of other");
    let over_http = super::serve::Listening::of(home.at_home(&["mock", &file, "--speed", "0", "--http", "127.0.0.1:0"]));
    let url = format!("http://{}/mcp", over_http.address);
    let replayed: Vec<Value> = lines.iter().map(|arguments| ask(&["--", &url], arguments)).collect();
    over_http.end();
    assert_eq!(real, replayed);
    home.own(&["mock", "nothing.jsonl"]).ends(2).says("the session file");
}

/// A server whose tools are those of the file `tools.json`.
const SERVER: &str = r#"
while read -r line; do
    id=$(printf '%s' "$line" | sed -n 's/.*"id": *\([0-9]*\).*/\1/p')
    case "$line" in
    *'"initialize"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}}\n' "$id" ;;
    *'"tools/list"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{"tools":%s}}\n' "$id" "$(cat tools.json)" ;;
    *'"ping"'*) printf '{"jsonrpc":"2.0","id":%s,"result":{}}\n' "$id" ;;
    *'"id"'*) printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}\n' "$id" ;;
    esac
done
"#;

#[test]
fn a_changed_tool_is_drift_until_it_is_accepted() {
    let home = Home::new();
    let config = home.path().join(".config/switchboard");
    std::fs::create_dir_all(config.join("workflows")).unwrap();
    std::fs::write(home.path().join("server.sh"), SERVER).unwrap();
    let script = home.path().join("server.sh").display().to_string();
    let text = format!("[servers.shop]\ncommand = \"sh\"\nargs = [{script:?}]\ncwd = {:?}\n", home.path());
    std::fs::write(config.join("config.toml"), &text).unwrap();
    home.workflow("order.toml", "name = \"order\"\n[[step]]\nid = \"buy\"\ntool = \"shop_buy\"\n");
    let offer = |tools: &str| {
        std::fs::write(home.path().join("tools.json"), tools).unwrap();
        home.own(&["doctor"]);
    };
    offer(r#"[{"name":"buy","inputSchema":{"type":"object","properties":{"item":{"type":"string"}}}}]"#);
    let none = home.own(&["drift", "--fail-on", "any", "--json"]).ends(0).json();
    assert_eq!(none["changes"], json!([]));
    offer(
        r#"[{"name":"buy","description":"Buy\u200b.","inputSchema":{"type":"object","properties":{"item":{"type":"integer"}},"required":["item"]}}]"#,
    );
    let drift = home.own(&["drift", "--fail-on", "breaking", "--json"]).ends(12).json();
    let change = &drift["changes"][0];
    assert_eq!(
        (&change["name"], &change["impact"], &change["workflows"]),
        (&json!("buy"), &json!("breaking"), &json!(["order"])),
        "{drift}"
    );
    let what: Vec<&str> = change["differences"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap()).collect();
    assert!(what.contains(&"narrowed") && what.contains(&"required") && what.contains(&"changed"), "{what:?}");
    let shown = home.own(&["drift"]).ends(0).out;
    assert!(shown.contains(r"\u{200b}") && shown.contains("used by the workflows: order"), "{shown}");
    home.own(&["drift", "--server", "other", "--fail-on", "any"]).ends(0);
    let pins = home.own(&["pins", "list", "shop", "--json"]).ends(0).json();
    assert!(pins["pins"].as_array().unwrap().iter().any(|pin| pin["state"] == "changed"), "{pins}");
    // By default a changed tool is marked; with "hold" it cannot be called.
    let tools = home.own(&["tools", "shop_buy", "--json"]).ends(0).json();
    assert_eq!(tools["tools"][0]["pin"], "changed", "{tools}");
    home.own(&["doctor"]).prints("changed since you accepted them: buy");
    let held = text.clone() + "pins = \"hold\"\n";
    std::fs::write(config.join("config.toml"), &held).unwrap();
    let call = home.own(&["call", "shop_buy", "item:=1", "--yes", "--json"]).ends(6).json();
    assert_eq!((&call["failure"]["kind"], &call["failure"]["may_have_run"]), (&json!("refused"), &json!(false)), "{call}");
    assert!(call["failure"]["hint"].as_str().unwrap().contains("switchboard pins accept shop buy"), "{call}");
    let tools = home.own(&["tools", "shop_buy", "--json"]).ends(0).json();
    assert_eq!(tools["tools"][0]["pin"], "held", "{tools}");
    let mut client = super::serve::Client::of(home.at_home(&["serve"]));
    client.initialize(json!({}));
    assert_eq!(super::serve::names(&client.ask("tools/list", json!({})).1), [""; 0], "clients are not offered it");
    assert_eq!(client.end().0, Some(0));
    home.own(&["pins", "accept", "shop"]).ends(0);
    let called = home.own(&["call", "shop_buy", "item:=1", "--yes", "--json"]).json();
    assert_eq!(called["failure"]["rpc"]["code"], -32601, "the server got the call: {called}");
    std::fs::write(config.join("config.toml"), &text).unwrap();
    home.own(&["drift", "--fail-on", "any"]).ends(0);
    home.own(&["drift", "--all"]).ends(0).out.contains("narrowed").then_some(()).expect("the history of versions");
}

#[test]
fn metrics_are_served_behind_the_checks_of_the_listener() {
    let home = Home::new();
    std::fs::write(home.path().join("token.txt"), "s3cret\n").unwrap();
    let line = ["serve", "--demo", "--server", "database", "--http", "127.0.0.1:0", "--token-file", "token.txt"];
    let mut child = home.command(&line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    stderr.read_line(&mut said).unwrap();
    let address = said.trim().strip_prefix("listening on http://").and_then(|rest| rest.strip_suffix("/mcp")).unwrap().to_owned();
    let send = |head: &str, body: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        let length = body.len();
        let text = format!(
            "{head} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n"
        );
        stream.write_all(text.as_bytes()).unwrap();
        (stream, body.to_owned())
    };
    let finish = |(mut stream, body): (TcpStream, String), token: &str| {
        let named = "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: query_users";
        stream.write_all(format!("authorization: Bearer {token}\r\n{named}\r\n\r\n{body}").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "query_users", "arguments": {"role": "admin"}, "_meta": meta}});
    assert!(finish(send("POST /mcp", &call.to_string()), "s3cret").starts_with("HTTP/1.1 200"));
    assert!(finish(send("GET /metrics", ""), "wrong").starts_with("HTTP/1.1 401"));
    let metrics = finish(send("GET /metrics", ""), "s3cret");
    assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
    for line in [
        r#"switchboard_calls_total{server="database",tool="query_users",outcome="ok"} 1"#,
        r#"switchboard_call_duration_seconds_count{server="database",tool="query_users"} 1"#,
        r#"switchboard_server_up{server="database"} 1"#,
        r#"switchboard_breaker_state{server="database",tool=""} 0"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    child.wait().unwrap();
}
