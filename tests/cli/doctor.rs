//! `doctor` on servers that violate the protocol: each report names the cause and the next action.

use std::{
    io::{BufReader, Write},
    net::{Shutdown, TcpListener},
};

use serde_json::{Value, json};

use super::{Home, Ran, example, signals::request};

/// What `doctor` says of a server of this configuration: its state, and each problem with what to do about it.
fn checked_by(config: &str) -> (String, Vec<(String, String)>) {
    let home = Home::new();
    std::fs::write(home.path().join("c.toml"), config).unwrap();
    let line = ["--config", "c.toml", "--no-project-config", "--json", "doctor"];
    let ran = Ran::of(&line, home.command(&line).output().unwrap());
    let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{config}: {error}: {}{}", ran.out, ran.err));
    let check = &document["servers"][0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found: Vec<(String, String)> = check["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| {
            let warning = text(warning);
            let (cause, action) = warning.split_once(" · ").unwrap_or((&warning, ""));
            (cause.to_owned(), action.to_owned())
        })
        .collect();
    if check["failure"].is_object() {
        let hints: Vec<String> = check["failure"]["hints"].as_array().unwrap().iter().map(text).collect();
        found.push((text(&check["failure"]["summary"]), hints.join("; ")));
    }
    if let Some(action) = check["try"].as_str() {
        found.push((text(&check["degraded"]), action.to_owned()));
    }
    (text(&check["state"]), found)
}

/// What `doctor` says of `badserver` in this mode.
fn checked(mode: &str) -> (String, Vec<(String, String)>) {
    let server = example("badserver").display().to_string();
    checked_by(&format!(
        "[servers.bad]\ncommand = {server:?}\nargs = [{mode:?}]\ntimeouts = {{ connect = \"3s\", list = \"2s\", probe = \"500ms\" }}\nlimits = {{ pages = 5 }}\n"
    ))
}

/// What `doctor` says of an HTTP server that gives `response` to the requests of one method.
fn checked_over_http(method: &'static str, response: &'static str) -> (String, Vec<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let mut reader = BufReader::new(&stream);
                while let Some((_, body)) = request(&mut reader) {
                    let message: Value = serde_json::from_str(&body).unwrap_or_default();
                    let called = message["method"].as_str().unwrap_or_default();
                    let sent = if called == method {
                        (&stream).write_all(response.as_bytes()).and_then(|()| stream.shutdown(Shutdown::Both))
                    } else {
                        (&stream).write_all(usual(&message).as_bytes())
                    };
                    if sent.is_err() {
                        return;
                    }
                }
            });
        }
    });
    checked_by(&format!("[servers.bad]\nurl = {url:?}\ntimeouts = {{ connect = \"3s\", list = \"2s\", stop = \"100ms\" }}\n"))
}

/// The response of a server without faults.
fn usual(message: &Value) -> String {
    let result = match message["method"].as_str().unwrap_or_default() {
        "initialize" => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s"}}),
        "tools/list" => json!({"tools": []}),
        "notifications/initialized" => return "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".into(),
        _ => return "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n".into(),
    };
    let body = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn every_fault_is_reported_with_its_cause_and_the_next_action() {
    for (mode, cause, action) in [
        ("exit_at_start", "exited with code 3", "stderr"),
        ("silent_initialize", "no answer within 3.00 s", "timeouts.connect"),
        ("unknown_version", "1999-01-01", "update the server"),
        ("chatty", "noise on stdout", "stderr"),
        ("silent_discover", "server/discover was not answered", "era = \"legacy\""),
        ("answers_notifications", "not a JSON-RPC message", "maintainer"),
        ("endless_list", "endless list", "limits.pages"),
        ("half_list", "page 2 failed", "timeouts.list"),
        ("odd_list", "is listed twice", "maintainer"),
        ("surrogate_start", "invalid UTF-8", "UTF-8"),
    ] {
        let (state, found) = checked(mode);
        let named = found.iter().any(|(what, _)| what.contains(cause));
        let advised = found.iter().any(|(_, what)| what.contains(action));
        assert!(named && advised, "{mode} is {state}: {found:#?}");
    }
}

#[test]
fn every_fault_over_http_is_reported_with_its_cause_and_the_next_action() {
    for (method, response, cause, action) in [
        ("tools/list", "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "HTTP 401", "Authorization"),
        ("tools/list", "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "redirects to", "set url"),
        ("tools/list", "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "HTTP 503", "overloaded"),
        ("tools/list", "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", "is empty (HTTP 202", "MCP endpoint"),
        ("tools/list", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{o", "not JSON", "maintainer"),
        ("tools/list", "220 mail.example ESMTP\r\n", "the connection broke", "not valid HTTP"),
        (
            "initialize",
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nlogin",
            "text/html instead of JSON: login",
            "MCP endpoint",
        ),
        (
            "initialize",
            "HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n",
            "HTTP 500",
            "the error is in the server",
        ),
    ] {
        let (state, found) = checked_over_http(method, response);
        let named = found.iter().any(|(what, _)| what.contains(cause));
        let advised = found.iter().any(|(_, what)| what.contains(action));
        assert!(named && advised, "{response:?} to {method} is {state}: {found:#?}");
        assert!(!found.iter().any(|(what, _)| what.contains("stdout") || what.contains("at line 1")), "{response:?}: {found:#?}");
    }
}

/// The process must be killed, which takes longer than the limit of its lists.
#[test]
fn a_program_that_stops_itself_is_reported_with_its_cause() {
    let config = "[servers.bad]\ncommand = \"sh\"\nargs = [\"-c\", \"kill -STOP $$$$\"]\n\
                  timeouts = { connect = \"1s\", list = \"100ms\", stop = \"1s\" }\n";
    let (state, found) = checked_by(config);
    assert!(
        found.iter().any(|(what, hint)| what.contains("no answer within 1.00 s") && hint.contains("timeouts.connect")),
        "{state}: {found:#?}"
    );
}

#[test]
fn a_server_without_faults_has_no_warnings() {
    let (state, found) = checked("plain");
    assert_eq!((state.as_str(), found), ("ready", vec![]));
}

#[test]
fn the_owner_of_a_server_is_named() {
    let home = Home::new();
    let server = example("badserver").display().to_string();
    let config = format!("[servers.bad]\ncommand = {server:?}\nargs = [\"exit_at_start\"]\nowner = \"team-a\"\n");
    std::fs::write(home.path().join("c.toml"), config).unwrap();
    let run = |line: &[&str]| {
        let line = [&["--config", "c.toml", "--no-project-config"], line].concat();
        Ran::of(&line, home.command(&line).output().unwrap())
    };
    for line in [&["--json", "servers"][..], &["--json", "doctor"]] {
        let document: Value = serde_json::from_str(&run(line).out).unwrap();
        assert_eq!(document["servers"][0]["owner"], "team-a", "{line:?}: {document}");
    }
    let servers = run(&["servers"]);
    assert!(
        servers.out.contains("OWNER") && servers.out.contains("team-a") && servers.err.contains("team-a"),
        "{}{}",
        servers.out,
        servers.err
    );
    assert!(run(&["doctor"]).out.contains("team-a"));
}
