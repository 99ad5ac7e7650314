//! A session file in the console, without a server.

use std::process::Command;

use crate::session::{console, switchboard};

/// Returns a session file with two calls of the demo.
fn recorded(folder: &std::path::Path) -> String {
    let run = |line: &[&str]| {
        let output = Command::new(switchboard()).args(line).env_clear().env("HOME", folder).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let config = folder.join(".config/switchboard");
    std::fs::create_dir_all(&config).unwrap();
    let program = switchboard();
    let text = format!("[servers.database]\ncommand = {program:?}\nargs = [\"demo-server\", \"database\", \"--dir\", {folder:?}]\n");
    std::fs::write(config.join("config.toml"), text).unwrap();
    run(&["call", "database_query_users", "role=admin"]);
    run(&["call", "database_query_users", "limit:=1"]);
    run(&["history", "export"])
}

#[test]
fn a_session_file_is_shown_with_no_server_running() {
    let folder = tempfile::tempdir().unwrap();
    let mut session = console(&["open", "session.jsonl"]).file("session.jsonl", &recorded(folder.path())).start();
    session.until("the server and its tools", |screen| screen.contains("recorded in a session file") && screen.contains("create_user"));
    // Traffic has both calls, and a call its arguments and its result.
    session.keys("2");
    session.until("the calls", |screen| screen.matches("query_users").count() >= 2);
    session.press("\r", "admin");
    session.until("the result", |screen| screen.contains("structuredContent") || screen.contains("users"));
    session.keys("\x1b");
    // The timeline has a lane of the server.
    session.keys("3");
    session.until("the timeline", |screen| screen.contains("database"));
    session.keys("q");
    session.ended().code(0).restored();
}

#[test]
fn a_file_that_is_not_a_session_is_refused() {
    let mut session = console(&["open", "session.jsonl"]).file("session.jsonl", "{}").start();
    session.until("the error", |screen| screen.contains("is not a session file"));
    session.ended().code(2);
}
