//! Headless commands of the real program: demo servers, exit codes, signals, remaining files and processes.
// Helpers outside of test functions: clippy lets only the functions themselves unwrap.
#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "cli/advice.rs"]
mod advice;
#[path = "cli/authorization.rs"]
mod authorization;
#[path = "cli/completion.rs"]
mod completion;
#[path = "cli/docs.rs"]
mod docs;
#[path = "cli/doctor.rs"]
mod doctor;
#[path = "cli/documents.rs"]
mod documents;
#[path = "cli/environments.rs"]
mod environments;
#[path = "cli/exposed.rs"]
mod exposed;
#[path = "cli/hostile.rs"]
mod hostile;
#[path = "cli/import.rs"]
mod import;
#[path = "cli/install.rs"]
mod install;
#[path = "cli/instances.rs"]
mod instances;
#[path = "cli/log.rs"]
mod log;
#[path = "cli/logins.rs"]
mod logins;
#[path = "cli/observability.rs"]
mod observability;
#[path = "cli/presentation.rs"]
mod presentation;
#[path = "cli/runs.rs"]
mod runs;
#[path = "cli/secrets.rs"]
mod secrets;
#[path = "cli/serve.rs"]
mod serve;
#[path = "cli/setup.rs"]
mod setup;
#[path = "cli/signals.rs"]
mod signals;
#[path = "cli/store.rs"]
mod store;
#[path = "cli/surroundings.rs"]
mod surroundings;
#[path = "cli/tap.rs"]
mod tap;
#[path = "cli/tls.rs"]
mod tls;
#[path = "cli/tokens.rs"]
mod tokens;
#[path = "cli/trace_context.rs"]
mod trace_context;
#[path = "cli/unusable.rs"]
mod unusable;
#[path = "cli/workflows.rs"]
mod workflows;

/// A separate home for every test: the user's configuration is not read, and remaining files are detected.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new() -> Home {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tmp")).unwrap();
        Home { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn command(&self, line: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("switchboard"));
        command
            .args(line)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("TMPDIR", self.path().join("tmp"))
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, line: &[&str]) -> Ran {
        Ran::of(line, self.command(line).output().unwrap())
    }

    /// Runs a command on the demo servers of these names.
    fn demo(&self, servers: &[&str], line: &[&str]) -> Ran {
        let mut all = vec!["--demo"];
        all.extend(servers.iter().flat_map(|name| ["--server", name]));
        all.extend(line);
        self.run(&all)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let left: Vec<_> = std::fs::read_dir(self.path().join("tmp")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.is_empty(), "left in the temporary folder: {left:?}");
    }
}

/// Returns the path of an example program, which is built with the tests.
fn example(name: &str) -> std::path::PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.set_file_name("examples");
    let path = path.join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --examples`", path.display());
    path
}

/// Waits for a child; kills it and returns `None` if it does not end in time.
fn wait_for(mut child: Child, limit: Duration) -> Option<ExitStatus> {
    let pid = rustix::process::Pid::from_child(&child);
    let (ended, status) = mpsc::channel();
    let waiting = std::thread::spawn(move || ended.send(child.wait().unwrap()));
    let status = status.recv_timeout(limit);
    if status.is_err() {
        // It may have ended in the meantime.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    // The receiver is still there.
    waiting.join().unwrap().unwrap();
    status.ok()
}

/// Reads an HTTP request with a JSON body: its head and its message, which is null without one. `None` at the end.
fn read_request(stream: &std::net::TcpStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, serde_json::from_slice(&body).unwrap_or_default()))
}

struct Ran {
    line: String,
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(line: &[&str], output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        documents::check(line, &out);
        Ran { line: line.join(" "), code: output.status.code().unwrap_or(-1), out, err }
    }

    #[track_caller]
    fn ends(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{}\n{}\n{}", self.line, self.out, self.err);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{}: {error}\n{}\n{}", self.line, self.out, self.err))
    }

    #[track_caller]
    fn says(self, text: &str) -> Ran {
        assert!(self.err.contains(text), "{}: no {text:?} in\n{}", self.line, self.err);
        self
    }

    #[track_caller]
    fn prints(self, text: &str) -> Ran {
        assert!(self.out.contains(text), "{}: no {text:?} in\n{}", self.line, self.out);
        self
    }
}

#[test]
fn all_demo_servers_are_listed_and_healthy() {
    let home = Home::new();
    let tools = home.demo(&[], &["tools", "--json"]).ends(0).json();
    let names: Vec<&str> = tools["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    for name in ["database_query_users", "email_send_email", "analytics_report", "preferences_summarise", "flaky_charge"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let doctor = home.demo(&[], &["doctor", "--json"]).ends(0).json();
    for server in doctor["servers"].as_array().unwrap() {
        assert_eq!((&server["state"], &server["warnings"], &server["failure"]), (&json!("ready"), &json!([]), &Value::Null), "{server}");
    }
    let eras: Vec<&Value> = doctor["servers"].as_array().unwrap().iter().map(|s| &s["era"]).collect();
    assert!(eras.contains(&&json!("legacy")) && eras.contains(&&json!("modern")), "{eras:?}");
    let servers = home.demo(&["database"], &["servers"]).ends(0);
    assert_eq!(servers.out.lines().count(), 2, "{}", servers.out);
}

#[test]
fn a_call_is_answered_in_every_format() {
    let home = Home::new();
    let json = home.demo(&["database"], &["call", "database_query_users", "limit=2", "--json"]).ends(0).json();
    assert_eq!((&json["outcome"], &json["server"], &json["tool"]), (&json!("ok"), &json!("database"), &json!("query_users")));
    assert!(json["timings"]["wire_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{json}");
    let human = home.demo(&["database"], &["call", "database/query_users", "limit=2"]).ends(0);
    // The text repeats the structured content: it is printed once, as one JSON document.
    let emails = |content: &Value| content["users"].as_array().unwrap().iter().map(|user| user["email"].clone()).collect::<Vec<_>>();
    assert_eq!(emails(&human.json()), emails(&json["result"]["structuredContent"]));
    let lines = home.demo(&["analytics"], &["call", "analytics_report", "seconds=1", "--jsonl"]).ends(0);
    let lines: Vec<Value> = lines.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!((&last["type"], &last["outcome"]), (&json!("outcome"), &json!("ok")));
    assert!(lines.iter().any(|line| line["type"] == "progress"), "{lines:?}");
}

#[test]
fn a_failed_call_uses_its_fallback_and_prints_its_trace() {
    let home = Home::new();
    let both = |line: &[&str]| home.demo(&["database", "flaky"], line);
    let charged = ["call", "flaky_charge", "amount=5", "--yes", "--inject", "flaky/charge=fail=1"];
    let json = both(&[&charged[..], &["--json"]].concat()).ends(0).json();
    assert_eq!(
        (&json["trace"]["answered_by"], &json["result"]["structuredContent"]["table"]),
        (&json!("database"), &json!("unconfirmed_charges"))
    );
    let stages: Vec<&str> = json["trace"]["events"].as_array().unwrap().iter().map(|s| s["event"].as_str().unwrap()).collect();
    assert!(stages.contains(&"not_repeated") && stages.contains(&"fallback"), "{stages:?}");
    both(&charged).ends(0).says("fallback to database_insert_record");
    both(&["call", "flaky_status", "--breaker", "flaky=hold-open"]).ends(3).says("held open manually");
    let route = both(&["route", "flaky_charge", "--json"]).ends(0).json();
    assert_eq!((&route["safe"], &route["fallback"]), (&json!(false), &json!(["database_insert_record"])));
    both(&["route", "flaky_charge", "--breaker", "flaky=trip"]).ends(3);
}

#[test]
fn wrong_arguments_are_refused_before_anything_is_sent() {
    let home = Home::new();
    let call = |line: &[&str]| home.demo(&["database"], &[&["call"], line].concat());
    call(&["database_query_users", "limit=many"]).ends(2).says("limit: expected an integer, got \"many\"");
    call(&["database_query_users", "limit=1000", "role=king"]).ends(2).says("limit: ").says("role: ");
    call(&["database_nothing"]).ends(2).says("no server offers \"database_nothing\"");
    call(&["database_query_users", "--args", "@nowhere.json"]).ends(2).says("nowhere.json cannot be read");
    home.demo(&["unknown"], &["tools"]).ends(2).says("unknown");
    home.run(&["toolz"]).ends(2).says("did you mean \"tools\"");
    home.run(&["tools", "--config", "missing.toml"]).ends(2).says("missing.toml");
    home.run(&["tools"]).ends(2).says("no server is configured");
}

#[test]
fn destructive_calls_need_yes() {
    let home = Home::new();
    let line = ["call", "database_delete_user", "userId=u_1001"];
    home.demo(&["database"], &line).ends(6).says("--yes");
    home.demo(&["database"], &[&line[..], &["--yes"]].concat()).ends(0);
}

#[test]
fn failures_of_tools_servers_and_time_have_their_codes() {
    let home = Home::new();
    let tool_error = home.demo(&["database"], &["call", "database_get_user_profile", "userId=u_999999"]).ends(1);
    assert!(tool_error.out.is_empty() && !tool_error.err.is_empty());
    home.demo(&["database"], &["read", "demo://nothing", "--server", "database"]).ends(4).says("code");
    home.demo(&["analytics"], &["call", "analytics_report", "seconds=60", "--timeout", "1500ms"]).ends(5);
    let missing = home.run(&["tools", "--", "./no-such-server", "--flag"]).ends(3);
    missing.says("./no-such-server --flag").says("starting the program");
    home.run(&["tools", "--", "false"]).ends(3).says("exited with code 1");
}

#[test]
fn a_bad_server_does_not_affect_the_others() {
    let home = Home::new();
    let state = home.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let program = assert_cmd::cargo::cargo_bin!("switchboard");
    let config = format!(
        "[servers.good]\ncommand = {program:?}\nargs = [\"demo-server\", \"database\", \"--dir\", {state:?}]\n\n[servers.bad]\ncommand = \"./missing\"\n"
    );
    std::fs::write(home.path().join("both.toml"), config).unwrap();
    let ran = home.run(&["--config", "both.toml", "tools"]).ends(7);
    assert!(ran.out.contains("good_query_users"), "{}", ran.out);
    let ran = ran.says("bad: failed");
    assert!(!ran.err.contains("good"), "{}", ran.err);
    home.run(&["--config", "both.toml", "call", "good_query_users", "limit=1"]).ends(0);
    home.run(&["--config", "both.toml", "call", "bad_anything"]).ends(3).says("./missing");
}

#[test]
fn filtered_tools_are_marked_and_refused() {
    let home = Home::new();
    let state = home.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let program = assert_cmd::cargo::cargo_bin!("switchboard");
    let config = format!(
        "[servers.db]\ncommand = {program:?}\nargs = [\"demo-server\", \"database\", \"--dir\", {state:?}]\ndisabled_tools = [\"delete_*\"]\n"
    );
    std::fs::write(home.path().join("c.toml"), config).unwrap();
    let tools = home.run(&["--config", "c.toml", "tools", "--json"]).ends(0).json();
    let filtered = |name: &str| tools["tools"].as_array().unwrap().iter().find(|tool| tool["tool"] == name).unwrap()["filtered"] == true;
    assert!(filtered("delete_user") && !filtered("query_users"), "{tools}");
    let shown = home.run(&["--config", "c.toml", "tools"]).ends(0);
    assert!(shown.out.lines().any(|line| line.contains("db_delete_user") && line.contains("filtered")), "{}", shown.out);
    for name in ["db_delete_user", "db/delete_user"] {
        let refused = home.run(&["--config", "c.toml", "call", name, "id=u_1001", "--yes"]).says("filters the tool");
        assert!(refused.code != 0 && refused.err.contains("c.toml:1"), "{} {}", refused.code, refused.err);
    }
    home.run(&["--config", "c.toml", "call", "db_query_users", "limit=1"]).ends(0);
}

#[test]
fn the_group_of_the_demo_answers_while_the_breaker_of_a_member_is_open() {
    let home = Home::new();
    let call = ["call", "payments_status", "--breaker", "flaky=hold-open"];
    home.demo(&["flaky", "standby"], &call).ends(0).says("routed to standby of payments");
    let tools = home.demo(&["flaky"], &["tools"]).ends(0);
    assert!(tools.out.contains("flaky_charge") && !tools.out.contains("payments_"), "the group needs both members: {}", tools.out);
}

#[test]
fn questions_of_servers_are_answered_by_flags() {
    let home = Home::new();
    let mail = ["call", "email_send_email", "to=ada@example.com", "subject=Hi", "confirm=true", "--json"];
    // Without a flag nothing answers, so the capability is not declared and the server does not ask.
    let refused = home.demo(&["email"], &mail).ends(1);
    assert!(refused.out.contains("cannot show forms"), "{}", refused.out);
    home.demo(&["email"], &[&mail[..], &["--elicit", "decline"]].concat()).says("declined");
    let sent = home.demo(&["email"], &[&mail[..], &["--elicit", r#"{"send":true}"#]].concat()).says("answered by --elicit");
    assert!(matches!(sent.json()["outcome"].as_str(), Some("ok" | "tool_error")), "{}", sent.out);
    let sum = ["call", "preferences_summarise", "userId=u_1001"];
    let answer = r#"{"role":"assistant","model":"none","content":{"type":"text","text":"A quiet user."}}"#;
    let told = home.demo(&["preferences"], &[&sum[..], &["--sample", answer]].concat()).ends(0);
    assert!(told.out.contains("A quiet user."), "{}", told.out);
}

#[test]
fn resources_and_prompts_are_printed() {
    let home = Home::new();
    let users = home.demo(&["database", "email"], &["read", "demo://users"]).ends(0);
    assert!(users.json().as_array().is_some_and(|users| !users.is_empty()));
    let prompt = home.demo(&["email"], &["prompt", "welcome_email", "name=Ann"]).ends(0);
    assert!(prompt.out.starts_with("user: ") && prompt.out.contains("Ann"), "{}", prompt.out);
    home.demo(&["email"], &["prompt", "welcome_email"]).ends(2).says("name: is required");
}

#[test]
fn a_server_on_the_command_line_needs_no_configuration() {
    let home = Home::new();
    let state = home.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let program = assert_cmd::cargo::cargo_bin!("switchboard").to_str().unwrap();
    let server = ["--", program, "demo-server", "database", "--dir", state.to_str().unwrap()];
    home.run(&[&["call", "query_users", "limit=1"], &server[..]].concat()).ends(0);
    let tools = home.run(&[&["tools", "query*"], &server[..]].concat()).ends(0);
    assert!(tools.out.contains("query_users") && !tools.out.contains("delete_user"), "{}", tools.out);
}

#[test]
fn the_users_settings_apply_without_the_users_servers() {
    let home = Home::new();
    let config = home.path().join("conf");
    std::fs::create_dir(&config).unwrap();
    std::fs::create_dir(home.path().join("state")).unwrap();
    let text = "separator = \"-\"\n[defaults.timeouts]\nconnect = \"250ms\"\n[servers.mine]\ncommand = \"./mine\"\n";
    std::fs::write(config.join("config.toml"), text).unwrap();
    let run = |line: &[&str]| Ran::of(line, home.command(line).env("SWITCHBOARD_CONFIG_DIR", &config).output().unwrap());
    // A silent program fails after the user's timeout, not after the built-in half minute.
    let silent = run(&["servers", "--", "sleep", "60"]).ends(3).says("no answer within 250 ms");
    assert!(!silent.err.contains("mine") && !silent.out.contains("mine"), "{}{}", silent.out, silent.err);
    // The demo's workflows and rules use the exposed names of the default settings.
    let tools = run(&["--demo", "tools"]).ends(0);
    assert!(tools.out.contains("database_query_users") && !tools.out.contains("mine"), "{}", tools.out);
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let home = Home::new();
    let mut child = home.command(&["--demo", "tools", "--schema"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

/// Each of the bad servers' lines was parsed again from ten thousand places, on one of two workers.
#[test]
fn an_expensive_line_does_not_block_other_servers() {
    let home = Home::new();
    let bad = example("badserver");
    let server = |name: &str, mode: &str| format!("[servers.{name}]\ncommand = {bad:?}\nargs = [\"{mode}\"]\n");
    let config: String = [("a", "glue"), ("b", "glue"), ("c", "glue"), ("good", "plain")].map(|(name, mode)| server(name, mode)).concat();
    std::fs::write(home.path().join("all.toml"), config).unwrap();
    let ran = home.run(&["--config", "all.toml", "servers", "--json"]).ends(0).json();
    assert!(ran["servers"].as_array().unwrap().iter().all(|server| server["state"] == "ready"), "{ran}");
    home.run(&["--config", "all.toml", "call", "good_echo", "--yes"]).ends(0);
}

#[test]
fn an_expensive_schema_does_not_prevent_a_call() {
    let home = Home::new();
    let bad = example("badserver");
    let run = |line: &[&str]| home.run(&[line, &["--", bad.to_str().unwrap(), "schemas"]].concat());
    for (tool, why) in [("bomb_expand", "expands to more than 100000 subschemas"), ("bomb_chain", "the schema has too many references")] {
        run(&["call", tool, "x=a", "--yes"]).ends(0).says(why);
        assert!(run(&["doctor"]).out.contains(why));
    }
    let deep = format!("{}1{}", "{\"c\":".repeat(60), "}".repeat(60));
    run(&["call", "bomb_twice", "--args", &deep, "--yes"]).ends(0).says("would take too long");
    run(&["call", "bomb_twice", "c:=1", "--yes"]).ends(0);
    std::fs::write(home.path().join("w.toml"), "[[step]]\nid = \"a\"\ntool = \"badserver_bomb_expand\"\narguments = { x = \"a\" }\n")
        .unwrap();
    std::fs::write(home.path().join("c.toml"), format!("[servers.badserver]\ncommand = {bad:?}\nargs = [\"schemas\"]\n")).unwrap();
    for line in [&["run", "w.toml", "--dry-run"][..], &["run", "w.toml", "--yes"], &["workflow", "check", "w.toml", "--live"]] {
        home.run(&[&["--config", "c.toml"], line].concat()).ends(0);
    }
}

/// Its output is not read, so the thread that should take the signal is stuck within a write.
#[test]
fn a_signal_ends_a_program_that_cannot_react() {
    for (signal, code) in [(rustix::process::Signal::INT, 130), (rustix::process::Signal::TERM, 143), (rustix::process::Signal::HUP, 129)] {
        let home = Home::new();
        let bad = example("badserver");
        let line = ["tools", "--schema", "--", bad.to_str().unwrap(), "schemas"];
        let mut child = home.command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0]).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{err}");
        assert!(err.contains("did not react"), "{err}");
        drop(out);
    }
}

#[test]
fn signals_end_a_call_in_order() {
    for (signal, code) in [(rustix::process::Signal::INT, 130), (rustix::process::Signal::TERM, 143)] {
        let home = Home::new();
        let line = ["--demo", "--server", "analytics", "--server", "database", "call", "analytics_report", "seconds=60", "--jsonl"];
        let mut child = home.command(&line).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("\"sent\"")));
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        let rest: Vec<String> = lines.collect();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{rest:?}");
        if code == 130 {
            assert!(rest.last().is_some_and(|line| line.contains("\"cancelled\"")), "{rest:?}");
        }
    }
}

#[test]
fn a_project_file_starts_nothing_before_it_is_approved() {
    let home = Home::new();
    let project = home.path().join("project");
    std::fs::create_dir(&project).unwrap();
    std::fs::write(project.join("switchboard.toml"), "[servers.mine]\ncommand = \"touch\"\nargs = [\"started\"]\n").unwrap();
    let run = |line: &[&str]| Ran::of(line, home.command(line).current_dir(&project).output().unwrap());
    let refused = run(&["tools"]).ends(6).says("approve");
    assert!(refused.err.contains("touch started"), "{}", refused.err);
    assert!(!project.join("started").exists());
    run(&["tools", "--no-project-config"]).ends(2);
    let hash = refused.err.split_once("approve --hash ").unwrap().1[..64].to_owned();
    let shown = run(&["approve"]).ends(6).says("no terminal is attached").says(&format!("approve --hash {hash}"));
    assert!(shown.out.contains("touch started") && shown.out.contains(&hash), "{}", shown.out);
    run(&["approve", "--hash", &"0".repeat(64)]).ends(6).says("a different hash");
    run(&["tools"]).ends(6);
    run(&["tools", "--trust", &hash]).ends(3);
    std::fs::remove_file(project.join("started")).unwrap();
    run(&["approve", "--hash", &hash]).ends(0);
    run(&["tools"]).ends(3).says("touch started");
    assert!(project.join("started").exists());
    // Another file needs another approval: the old hash has no effect.
    std::fs::write(project.join("switchboard.toml"), "[servers.mine]\ncommand = \"touch\"\nargs = [\"other\"]\n").unwrap();
    run(&["approve", "--hash", &hash]).ends(6);
    run(&["approve", "--yes"]).ends(0);
    assert_eq!(run(&["approve", "--yes"]).ends(0).out, "Nothing to approve.\n");
    assert!(!project.join("other").exists(), "to approve starts nothing");
}

#[test]
fn servers_of_a_project_are_imported_only_on_request() {
    let home = Home::new();
    let project = home.path().join("project");
    std::fs::create_dir_all(project.join(".git")).unwrap();
    std::fs::create_dir_all(home.path().join(".cursor")).unwrap();
    std::fs::write(home.path().join(".cursor/mcp.json"), r#"{"mcpServers": {"mine": {"command": "mine"}}}"#).unwrap();
    std::fs::write(project.join(".mcp.json"), r#"{"mcpServers": {"theirs": {"command": "sh", "args": ["-c", "curl x"]}}}"#).unwrap();
    let config = home.path().join("conf");
    let run = |line: &[&str]| {
        let mut command = home.command(line);
        Ran::of(line, command.current_dir(&project).env("SWITCHBOARD_CONFIG_DIR", &config).output().unwrap())
    };
    let written = || std::fs::read_to_string(config.join("config.toml")).unwrap();
    let shown = run(&["import"]).ends(0).says("theirs: sh -c 'curl x'").says("--project");
    assert!(shown.out.contains("[servers.mine]") && !shown.out.contains("theirs"), "{}", shown.out);
    run(&["import", "--write"]).ends(0).says("theirs: sh -c 'curl x'").says("1 server written to");
    assert!(written().contains("[servers.mine]") && !written().contains("curl"), "{}", written());
    run(&["import", "--write"]).ends(0).says("nothing was written, 1 already configured");
    run(&["import", "--write", "--project"])
        .ends(0)
        .says("theirs: sh -c 'curl x'")
        .says("1 server written to")
        .says("1 already configured");
    assert!(written().contains("[servers.theirs]"), "{}", written());
}

#[test]
fn texts_of_the_program_itself_are_printed() {
    let home = Home::new();
    assert!(home.run(&["--help"]).ends(0).out.contains("Exit codes:"));
    assert!(home.run(&["man"]).ends(0).out.contains("EXIT STATUS"));
    assert!(home.run(&["completions", "zsh"]).ends(0).out.starts_with("#compdef switchboard"));
    assert!(home.run(&["--version"]).ends(0).out.starts_with("switchboard "));
    let nothing = home.run(&["import"]).ends(0).says("no servers of other clients");
    assert_eq!(nothing.out, "");
}
