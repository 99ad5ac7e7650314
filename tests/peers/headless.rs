//! The commands on real servers, and their exit codes.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{
    packages::{self, HttpServer},
    support::PATIENCE,
};

/// A folder with a configuration of real servers, and of one that does not exist.
struct Desk {
    folder: tempfile::TempDir,
}

/// What a command printed and how it ended.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Desk {
    fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let server = |name: &str, command: &str, args: &[&str], more: &str| {
            format!("[servers.{name}]\ncommand = {command:?}\nargs = {args:?}\n{more}\n")
        };
        let everything = packages::script("server-everything");
        let limits = format!("timeouts = {{ connect = \"{0}s\", probe = \"{0}s\", list = \"{0}s\" }}", PATIENCE.as_secs());
        let all = [
            server("everything", "node", &[&everything], &limits),
            server("files", "node", &[&packages::script("server-filesystem"), &root.display().to_string()], &limits),
            server("time", &packages::installed("py/bin/mcp-server-time"), &[], &limits),
        ];
        std::fs::write(folder.path().join("well.toml"), all.concat()).unwrap();
        let missing = server("missing", "no-such-program-anywhere", &[], "");
        std::fs::write(folder.path().join("broken.toml"), all.concat() + &missing).unwrap();
        let hasty = limits.replace(" }", ", call = \"2s\" }");
        // Keeps what the server was sent.
        let wire = root.join("wire.jsonl").display().to_string();
        let tee = ["-c", "tee \"$0\" | exec node \"$1\"", &wire, &everything];
        std::fs::write(folder.path().join("wired.toml"), server("everything", "sh", &tee, &limits)).unwrap();
        std::fs::write(folder.path().join("hasty.toml"), server("everything", "node", &[&everything], &hasty)).unwrap();
        Desk { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, config: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.current_dir(self.path()).env("SWITCHBOARD_CONFIG_DIR", self.path()).env("SWITCHBOARD_STATE_DIR", self.path());
        command.arg("--config").arg(self.path().join(config)).args(args).stdin(Stdio::null());
        command
    }

    fn run_on(&self, config: &str, args: &[&str]) -> Ran {
        let output = assert_cmd::Command::from_std(self.command(config, args)).timeout(PATIENCE * 2).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_on("well.toml", args)
    }
}

impl Ran {
    /// Checks the exit code; the failure message holds the output.
    fn ends(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    fn prints(self, text: &str) -> Ran {
        assert!(self.out.contains(text), "{text:?} is not in stdout: {}\nstderr: {}", self.out, self.err);
        self
    }

    fn tells(self, text: &str) -> Ran {
        assert!(self.err.contains(text), "{text:?} is not in stderr: {}", self.err);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

#[test]
fn tools_of_all_servers_are_listed() {
    let desk = Desk::new();
    desk.run(&["tools"]).ends(0).prints("everything_echo").prints("files_read_text_file").prints("time_convert_time");
    desk.run(&["tools", "*_convert_*"]).ends(0).prints("time_convert_time");
    let found = desk.run(&["tools", "get-sum", "--schema", "--json"]).ends(0).json();
    let text = found.to_string();
    assert!(text.contains("everything_get-sum") && text.contains("First number") && !text.contains("everything_echo"), "{text}");
}

#[test]
fn calls_end_with_the_code_of_their_outcome() {
    let desk = Desk::new();
    std::fs::write(desk.path().join("note.txt"), "stored in a file\n").unwrap();
    let note = format!("path={}", desk.path().canonicalize().unwrap().join("note.txt").display());
    desk.run(&["call", "everything_get-sum", "a=2", "b=3.5"]).ends(0).prints("The sum of 2 and 3.5 is 5.5.");
    desk.run(&["call", "files/read_text_file", &note]).ends(0).prints("stored in a file");
    desk.run(&["call", "files_read_text_file", "path=/etc/passwd"]).ends(1).tells("Access denied");
    desk.run(&["call", "everything_get-sums", "a=2", "b=3"]).ends(2).tells("everything_get-sum");
    desk.run(&["call", "everything_get-sum", "a=two", "b=3"]).ends(2).tells("a: ");
    desk.run(&["call", "everything_get-sum", "a=2"]).ends(2).tells("\"b\"");
    desk.run(&["call", "nowhere/echo"]).ends(2);
    // Gone with the next line if the program stops to ask for agreement: this tool claims to destroy.
    desk.run(&["call", "files_write_file", &note, "content=x"]).ends(6).tells("--yes");
    desk.run(&["call", "files_write_file", &note, "content=x", "--yes"]).ends(0);
    assert_eq!(std::fs::read_to_string(desk.path().join("note.txt")).unwrap(), "x");
    let document = desk.run(&["call", "everything_get-structured-content", "location=Chicago", "--json"]).ends(0).json();
    assert_eq!(document["result"]["structuredContent"]["humidity"], 82, "{document}");
}

#[test]
fn limits_of_time_end_with_a_code_of_their_own() {
    let desk = Desk::new();
    let long = ["call", "everything_trigger-long-running-operation", "duration=600", "steps=1"];
    desk.run_on("hasty.toml", &long).ends(5).tells("no answer within");
    // Whether or not the server was there by then.
    desk.run(&[&["--timeout", "1s"], &long[..]].concat()).ends(5).tells("--timeout");
}

#[test]
fn questions_of_servers_are_answered_from_the_command_line() {
    let desk = Desk::new();
    let ask = ["call", "everything_trigger-elicitation-request", "--yes"];
    // Without a flag nothing answers, so the capability is not declared and the server does not list the tool.
    desk.run(&ask).ends(2).tells("unknown tool");
    desk.run(&[&ask[..], &["--elicit", "decline"]].concat()).ends(0).prints("User declined");
    desk.run(&[&ask[..], &["--elicit", r#"{"name":"Ada"}"#]].concat()).ends(0).prints("Name: Ada");
    let sample = r#"{"role":"assistant","model":"m","content":{"type":"text","text":"a poem"}}"#;
    desk.run(&["call", "everything_trigger-sampling-request", "prompt=x", "--yes", "--sample", sample]).ends(0).prints("a poem");
}

#[test]
fn resources_and_prompts_are_printed() {
    let desk = Desk::new();
    desk.run(&["read", "demo://resource/static/document/features.md"]).ends(0).prints("# ");
    desk.run(&["read", "demo://resource/dynamic/text/5"]).ends(0).prints("Resource 5:");
    desk.run(&["read", "demo://resource/nowhere", "--server", "everything"]).ends(4);
    desk.run(&["prompt", "args-prompt", "city=Paris"]).ends(0).prints("What's weather in Paris?");
    desk.run(&["prompt", "everything/args-prompt"]).ends(2).tells("city: is required");
    desk.run(&["prompt", "no-such-prompt"]).ends(2);
}

#[test]
fn servers_and_doctor_tell_who_is_well_and_what_to_do_about_who_is_not() {
    let desk = Desk::new();
    desk.run(&["servers"]).ends(0).prints("everything").prints("2026-07-28");
    desk.run(&["doctor"]).ends(0).prints("Everything Reference Server").prints("3 ready, 0 failed");
    desk.run_on("broken.toml", &["servers"]).ends(7).prints("missing");
    let checked = desk.run_on("broken.toml", &["doctor"]).ends(7).prints("3 ready, 1 failed");
    assert!(checked.out.contains("no-such-program-anywhere is in none of the"), "{}", checked.out);
    // A server that is away costs the others nothing.
    desk.run_on("broken.toml", &["call", "everything_echo", "message=hi"]).ends(0).prints("Echo: hi");
    desk.run_on("broken.toml", &["tools"]).ends(7).prints("everything_echo");
    desk.run_on("broken.toml", &["call", "missing_echo"]).ends(3).tells("no-such-program-anywhere");
}

#[test]
fn a_server_can_be_given_on_the_command_line() {
    let desk = Desk::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.current_dir(desk.path()).env("SWITCHBOARD_CONFIG_DIR", desk.path()).env("SWITCHBOARD_STATE_DIR", desk.path());
    command.args(["call", "echo", "message=hi", "--", "node", &packages::script("server-everything")]);
    assert_cmd::Command::from_std(command).timeout(PATIENCE * 2).assert().code(0).stdout("Echo: hi\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_can_be_given_on_the_command_line() {
    let (desk, server) = (Desk::new(), HttpServer::start().await);
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
    command.current_dir(desk.path()).env("SWITCHBOARD_CONFIG_DIR", desk.path()).env("SWITCHBOARD_STATE_DIR", desk.path());
    command.args(["call", "echo", "message=hi", "--", &server.url()]);
    let running = tokio::task::spawn_blocking(move || {
        assert_cmd::Command::from_std(command).timeout(PATIENCE * 2).assert().code(0).stdout("Echo: hi\n");
    });
    running.await.unwrap();
}

#[test]
fn ctrl_c_cancels_the_call_on_the_wire() {
    let desk = Desk::new();
    let call = ["--jsonl", "call", "everything_trigger-long-running-operation", "duration=600", "steps=6000"];
    let mut child = desk.command("wired.toml", &call).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
    // Reading ends at the latest when the program does, and the call alone would take ten minutes.
    assert!(lines.by_ref().any(|line| line.contains("\"type\":\"progress\"")), "no progress was reported");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:#?}");
    let last: Value = serde_json::from_str(rest.last().unwrap()).unwrap();
    assert_eq!((last["type"].as_str(), last["outcome"].as_str()), (Some("outcome"), Some("cancelled")), "{last}");
    let wire = std::fs::read_to_string(desk.path().join("wire.jsonl")).unwrap();
    let cancelled: Value = serde_json::from_str(wire.lines().last().unwrap()).unwrap();
    assert_eq!(cancelled["method"], "notifications/cancelled", "{wire}");
    assert_eq!(cancelled["params"]["reason"], "cancelled by the user");
}
