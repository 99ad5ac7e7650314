//! `doctor` on servers that violate the protocol: each report names the cause and the next action.

use serde_json::Value;

use super::{Home, Ran, example};

/// What `doctor` says of a server: its state, and each problem with what to do about it.
fn checked(mode: &str) -> (String, Vec<(String, String)>) {
    let home = Home::new();
    let server = example("badserver").display().to_string();
    let config = format!(
        "[servers.bad]\ncommand = {server:?}\nargs = [{mode:?}]\ntimeouts = {{ connect = \"3s\", list = \"2s\", probe = \"500ms\" }}\nlimits = {{ pages = 5 }}\n"
    );
    std::fs::write(home.path().join("c.toml"), config).unwrap();
    let line = ["--config", "c.toml", "--no-project-config", "--json", "doctor"];
    let ran = Ran::of(&line, home.command(&line).output().unwrap());
    let document: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{mode}: {error}: {}{}", ran.out, ran.err));
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
