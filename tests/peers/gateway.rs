//! The gateway in front of real servers: what real clients get through it, and what the conformance suite finds.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Instant,
};

use serde_json::{Value, json, value::RawValue};
use tempfile::TempDir;

use crate::{conformance, packages, support::PATIENCE};

/// The program.
pub const GATEWAY: &str = env!("CARGO_BIN_EXE_switchboard");

/// A command without the user's configuration and state.
fn command(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("HOME", home).env_remove("XDG_CONFIG_HOME").env_remove("XDG_STATE_HOME").env("NO_PROXY", "*").current_dir(home);
    command
}

/// A client of a server, or of the gateway in front of it.
struct Client {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    next_id: u64,
}

/// The part of a response that the server made.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Result(String),
    Error(String),
}

impl Client {
    fn start(command: &mut Command) -> Client {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (output, input) = (child.stdout.take().unwrap(), child.stdin.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Client { child, input, lines, next_id: 1 }
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input, "{message}").unwrap();
    }

    /// Sends a request and returns the part of the server, byte by byte. Answers what the server asks meanwhile.
    fn ask(&mut self, method: &str, params: Value) -> Part {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no response to {method}"));
            let message: BTreeMap<String, &RawValue> = serde_json::from_str(&line).unwrap();
            if let Some(asked) = message.get("method") {
                let answer = match asked.get() {
                    "\"roots/list\"" => json!({"roots": [{"uri": "file:///srv/data"}]}),
                    "\"elicitation/create\"" => json!({"action": "accept", "content": {"name": "Ada"}}),
                    "\"sampling/createMessage\"" => {
                        json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "a poem"}})
                    }
                    _ => continue,
                };
                let asked_id: Value = serde_json::from_str(message["id"].get()).unwrap();
                self.send(&json!({"jsonrpc": "2.0", "id": asked_id, "result": answer}));
            } else if message["id"].get() == id.to_string() {
                return match message.get("result") {
                    Some(result) => Part::Result(result.get().to_owned()),
                    None => Part::Error(message["error"].get().to_owned()),
                };
            }
        }
    }

    fn initialize(&mut self) {
        let capabilities = json!({"roots": {}, "sampling": {}, "elicitation": {}});
        let client = json!({"name": "differential", "version": "1"});
        self.ask("initialize", json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": client}));
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    }

    fn tools(&mut self) -> Vec<String> {
        let Part::Result(result) = self.ask("tools/list", json!({})) else { return vec![] };
        let result: Value = serde_json::from_str(&result).unwrap();
        result["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    fn end(self) {
        let Client { mut child, input, .. } = self;
        drop(input);
        child.wait().unwrap();
    }
}

#[test]
fn results_and_errors_are_those_of_the_server_byte_by_byte() {
    let home = TempDir::new().unwrap();
    let server = packages::script("server-everything");
    let mut direct = Client::start(command("node", home.path()).args([&server, "stdio"]));
    let config = configuration(home.path(), "");
    let mut through = Client::start(command(GATEWAY, home.path()).args(["--config", &config, "serve", "--", "node", &server, "stdio"]));
    for client in [&mut direct, &mut through] {
        client.initialize();
    }
    // The server lists tools that depend on the client when it knows the roots.
    let deadline = Instant::now() + PATIENCE;
    while !direct.tools().contains(&"trigger-elicitation-request".to_owned()) {
        assert!(Instant::now() < deadline, "the server lists its tools for a client that can be asked: {:?}", direct.tools());
    }
    let call = |name: &str, arguments: Value| ("tools/call", json!({"name": name, "arguments": arguments}));
    for (method, params) in [
        ("tools/list", json!({})),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("prompts/list", json!({})),
        call("echo", json!({"message": "grün \u{2028} 😀"})),
        call("get-sum", json!({"a": 1, "b": 2.5})),
        call("get-annotated-message", json!({"messageType": "error", "includeImage": true})),
        call("get-tiny-image", json!({})),
        call("get-structured-content", json!({"location": "New York"})),
        call("get-resource-links", json!({"count": 3})),
        call("trigger-elicitation-request", json!({})),
        call("trigger-sampling-request", json!({"prompt": "p", "maxTokens": 5})),
        call("echo", json!({})),
        call("missing", json!({})),
        ("vendor/missing", json!({})),
        ("resources/read", json!({"uri": "demo://resource/static/document/architecture.md"})),
        ("resources/read", json!({"uri": "demo://missing"})),
        ("prompts/get", json!({"name": "args-prompt", "arguments": {"city": "Rom"}})),
        ("prompts/get", json!({"name": "args-prompt"})),
        ("prompts/get", json!({"name": "missing"})),
        (
            "completion/complete",
            json!({"ref": {"type": "ref/prompt", "name": "completable-prompt"}, "argument": {"name": "department", "value": "E"}}),
        ),
        ("logging/setLevel", json!({"level": "error"})),
        ("ping", json!({})),
    ] {
        let expected = direct.ask(method, params.clone());
        assert_eq!(through.ask(method, params.clone()), expected, "{method} {params}");
    }
    direct.end();
    through.end();
}

/// Writes a configuration in which the first list waits for servers that start slowly. Returns its path.
pub fn configuration(home: &Path, servers: &str) -> String {
    let file = home.join("config.toml");
    std::fs::write(&file, format!("[gateway]\nlist_wait = \"{}s\"\n\n{servers}", PATIENCE.as_secs())).unwrap();
    file.into_os_string().into_string().unwrap()
}

/// A gateway over HTTP.
pub struct Listening {
    child: Child,
    /// Its endpoint.
    pub url: String,
    _home: TempDir,
}

impl Listening {
    /// Starts one with these arguments after `serve`.
    pub fn start(args: &[&str]) -> Listening {
        Listening::configured("", args)
    }

    /// Starts one with a configuration file.
    pub fn configured(config: &str, args: &[&str]) -> Listening {
        let home = TempDir::new().unwrap();
        let file = configuration(home.path(), config);
        let line = [&["--config", &file, "serve", "--http", "127.0.0.1:0"], args].concat();
        let mut child = command(GATEWAY, home.path()).args(line).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let url = first_line(child.stderr.take().unwrap());
        let url = url.strip_prefix("listening on ").unwrap_or_else(|| panic!("{url:?}")).to_owned();
        Listening { child, url, _home: home }
    }
}

/// Waits for the first line that a process prints. What follows is read and dropped, so that the process never waits.
pub fn first_line(output: impl Read + Send + 'static) -> String {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        let _ = sender.send(lines.next().unwrap_or_default());
        lines.for_each(drop);
    });
    lines.recv_timeout(PATIENCE).expect("a line in time")
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

#[test]
fn the_python_sdk_uses_several_servers_over_stdio_and_http() {
    let home = TempDir::new().unwrap();
    let client = packages::test_file("gateway_client.py");
    let python = packages::installed("py/bin/python");
    let listening = Listening::start(&["--demo"]);
    for place in [vec![listening.url.as_str()], vec![GATEWAY, "serve", "--demo"]] {
        let done = command(&python, home.path()).arg(&client).args(&place).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success() && out.trim() == "ok", "{place:?}: {out} {err}");
    }
}

/// Returns a configuration with four real servers.
fn four_servers(home: &Path) -> String {
    let node = |name: &str, package: &str, args: &[&str]| {
        let script = packages::script(package);
        let args = [&[script.as_str()], args].concat();
        format!("[servers.{name}]\ncommand = \"node\"\nargs = {}\n", json!(args))
    };
    let memory = home.join("memory.jsonl");
    [
        node("everything", "server-everything", &["stdio"]),
        node("files", "server-filesystem", &[home.to_str().unwrap()]),
        node("memory", "server-memory", &[]) + &format!("env = {{ MEMORY_FILE_PATH = {} }}\n", json!(memory.to_str().unwrap())),
        format!("[servers.time]\ncommand = {}\n", json!(packages::installed("py/bin/mcp-server-time"))),
    ]
    .concat()
}

/// Runs a client program over HTTP and over stdio, in front of four real servers.
fn runs_in_front_of_four_servers(program: &str, args: &[&str]) {
    let home = TempDir::new().unwrap();
    let config = four_servers(home.path());
    let file = configuration(home.path(), &config);
    let listening = Listening::configured(&config, &[]);
    for place in [vec![listening.url.as_str()], vec![GATEWAY, "--config", &file, "serve"]] {
        let done = command(program, home.path()).args(args).args(&place).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success() && out.trim() == "ok", "{place:?}: {out} {err}");
    }
}

#[test]
fn the_typescript_sdk_uses_four_servers_over_stdio_and_http() {
    let client = packages::test_file("sdk_client.mjs");
    runs_in_front_of_four_servers("node", &[&client, &packages::installed("node_modules")]);
}

#[test]
fn the_client_of_fastmcp_uses_four_servers_over_stdio_and_http() {
    let client = packages::test_file("fastmcp_client.py");
    runs_in_front_of_four_servers(&packages::installed("py/bin/python"), &[&client]);
}

#[test]
fn the_listener_conforms() {
    let server = packages::script("server-everything");
    let listening = Listening::start(&["--", "node", &server, "stdio"]);
    for (scenario, revision) in [
        ("server-initialize", "2025-11-25"),
        ("ping", "2025-11-25"),
        ("tools-list", "2025-11-25"),
        ("resources-list", "2025-11-25"),
        ("prompts-list", "2025-11-25"),
        ("dns-rebinding-protection", "2025-11-25"),
        ("server-session-lifecycle", "2025-11-25"),
        ("server-sse-multiple-streams", "2025-11-25"),
        ("http-header-validation", "2026-07-28"),
    ] {
        let failed = conformance::run_server(&listening.url, scenario, revision);
        assert!(failed.is_empty(), "{scenario} of {revision}: {failed:#?}");
    }
}
