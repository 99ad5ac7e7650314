//! Logins over OAuth: the flows of a user, and traps that other clients fell into (numbers as in the names).

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, ChildStderr, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{
    Home, Ran,
    authorization::{Fault, Servers, get, open},
};

/// A home with a configuration of the guarded server.
struct Setup {
    home: Home,
    servers: Servers,
}

impl Setup {
    fn new(auth: &str) -> Setup {
        let setup = Setup { home: Home::new(), servers: Servers::start() };
        setup.configure(auth);
        setup
    }

    fn configure(&self, auth: &str) {
        let url = self.servers.url();
        let text = format!("[servers.web]\nurl = \"{url}\"\nera = \"legacy\"\n{auth}\n");
        std::fs::write(self.home.path().join("config.toml"), text).unwrap();
    }

    fn run(&self, line: &[&str]) -> Ran {
        let mut all = vec!["--config", "config.toml", "--no-project-config"];
        all.extend(line);
        self.home.run(&all)
    }

    /// Logs in with --start and --finish.
    fn log_in(&self) {
        let started = self.run(&["login", "--start", "--json"]).ends(0).json();
        let target = open(started["address"].as_str().unwrap()).unwrap();
        self.run(&["login", "--finish", &target, "--json"]).ends(0);
    }

    fn call(&self, tool: &str, flags: &[&str]) -> Ran {
        let mut line = vec!["call", tool, "--json", "--yes"];
        line.extend(flags);
        self.run(&line)
    }

    /// The files of the store.
    fn stored(&self) -> Vec<PathBuf> {
        let folder = self.home.path().join(".local/state/switchboard/auth");
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
    }

    fn credential(&self) -> Value {
        serde_json::from_slice(&std::fs::read(&self.stored()[0]).unwrap()).unwrap()
    }

    /// Lets the stored token expire for the client too.
    fn age(&self) {
        let mut credential = self.credential();
        credential["token"]["received"] = 1000.into();
        std::fs::write(&self.stored()[0], credential.to_string()).unwrap();
    }

    /// Starts a login that waits for its redirect.
    fn waiting(&self, flags: &[&str]) -> Waiting {
        let mut line = vec!["--config", "config.toml", "--no-project-config", "login", "--no-browser"];
        line.extend(flags);
        let mut command = self.home.command(&line);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.lines().any(|line| line.starts_with("http")) {
            assert!(stderr.read_line(&mut said).unwrap() > 0, "{said}");
        }
        let address = said.lines().find(|line| line.starts_with("http")).unwrap().to_owned();
        Waiting { child, stderr, address }
    }
}

/// A login that waits.
struct Waiting {
    child: Child,
    stderr: BufReader<ChildStderr>,
    address: String,
}

impl Waiting {
    /// Follows the redirect of the authorization server to the listener; returns its answer.
    fn browse(&self) -> String {
        get(&url::Url::parse(&open(&self.address).unwrap()).unwrap())
    }

    fn paste(&mut self, text: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{text}").unwrap();
    }

    fn until_said(&mut self, text: &str) {
        let mut said = String::new();
        while !said.contains(text) {
            assert!(self.stderr.read_line(&mut said).unwrap() > 0, "{text:?} is not in {said}");
        }
    }

    fn ends(self, code: i32) -> String {
        let output = self.child.wait_with_output().unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{out}");
        out
    }
}

#[test]
fn a_server_that_wants_a_login_is_said_with_the_command_and_works_after_it() {
    let setup = Setup::new("");
    let refused = setup.call("web/read", &[]).ends(3).json();
    assert_eq!(refused["failure"]["login"]["command"], "switchboard login web", "{refused}");
    setup.call("web/read", &["--raw"]).ends(3);
    let waiting = setup.waiting(&[]);
    let page = waiting.browse();
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("Connection: close"), "{page}");
    let out = waiting.ends(0);
    assert!(out.contains("logged in to web") && out.contains("refreshed after that"), "{out}");
    let done = setup.call("web/read", &[]).ends(0).json();
    assert_eq!(done["result"]["content"][0]["text"], "read ran");
    let listed = setup.run(&["auth", "--json"]).ends(0).json();
    assert_eq!((&listed["logins"][0]["servers"][0], &listed["logins"][0]["client"]), (&"web".into(), &"dynamic".into()), "{listed}");
    setup.run(&["auth"]).ends(0).prints("valid for");
}

#[test]
fn the_token_is_refreshed_before_it_expires_and_after_a_refusal() {
    let setup = Setup::new("");
    setup.log_in();
    setup.age();
    setup.call("web/read", &[]).ends(0);
    assert_eq!(setup.servers.state().refreshes(), 1);
    // The server forgot the token: the refused call is repeated once, also a destructive one.
    setup.servers.state().expire();
    setup.call("web/write", &[]).ends(0);
    let state = setup.servers.state();
    assert_eq!((state.refreshes(), state.ran.clone()), (2, vec!["read".to_owned(), "write".to_owned()]));
}

#[test]
fn a_revoked_login_needs_another_one_and_nothing_is_deleted() {
    let setup = Setup::new("");
    setup.log_in();
    setup.servers.state().revoke_all();
    let refused = setup.call("web/read", &[]).ends(3).json();
    assert!(refused["failure"]["login"].is_object(), "{refused}");
    let credential = setup.credential();
    assert!(credential["rejected"].as_str().unwrap().starts_with("invalid_grant") && credential["token"]["refresh"].is_string());
    setup.run(&["auth"]).ends(0).prints("needs login");
    // The registration is used again.
    setup.log_in();
    assert_eq!(setup.servers.state().clients.len(), 1);
    setup.call("web/read", &[]).ends(0);
}

#[test]
fn a_login_ended_by_a_signal_changes_nothing_and_can_begin_again() {
    let setup = Setup::new("");
    let mut waiting = setup.waiting(&[]);
    // Not SIGINT, which a shell ignores for the commands that it runs in the background.
    kill_process(Pid::from_child(&waiting.child), Signal::TERM).unwrap();
    assert_eq!(waiting.child.wait().unwrap().signal(), Some(15));
    assert_eq!(setup.servers.state().token_requests.len(), 0);
    setup.call("web/read", &[]).ends(3);
    let again = setup.waiting(&[]);
    assert_ne!(again.address, waiting.address);
    again.browse();
    again.ends(0);
    setup.call("web/read", &[]).ends(0);
}

#[test]
fn a_step_up_asks_for_the_scopes_of_before_too() {
    let setup = Setup::new("");
    setup.servers.state().scope = Some("basic".into());
    setup.servers.state().write_scope = Some("files:write".into());
    setup.log_in();
    let refused = setup.call("web/write", &[]).ends(3).json();
    let command = refused["failure"]["login"]["command"].as_str().unwrap().to_owned();
    assert_eq!(command, "switchboard login web --scope basic --scope files:write");
    let started = setup.run(&["login", "web", "--scope", "files:write", "--start", "--json"]).ends(0).json();
    let target = open(started["address"].as_str().unwrap()).unwrap();
    let done = setup.run(&["login", "--finish", &target, "--json"]).ends(0).json();
    assert_eq!(done["granted"], serde_json::json!(["basic", "files:write"]), "{done}");
    setup.call("web/write", &[]).ends(0);
    assert_eq!(setup.servers.state().ran, ["write"]);
}

#[test]
fn client_credentials_need_no_user() {
    let setup = Setup::new("auth = { grant = \"client_credentials\", client_id = \"robot\", client_secret = \"robot-canary-77aa21\" }");
    setup.servers.state().add_client("robot", "", Some("robot-canary-77aa21"));
    setup.call("web/read", &[]).ends(0);
    assert_eq!(setup.servers.state().token_requests[0]["grant_type"], "client_credentials");
    // It expires: the next one is got in the same way.
    setup.age();
    setup.servers.state().expire();
    setup.call("web/read", &[]).ends(0);
    assert_eq!(setup.servers.state().token_requests.len(), 2);
}

#[test]
fn a_logout_revokes_and_deletes() {
    let setup = Setup::new("");
    setup.log_in();
    setup.run(&["logout", "web", "--revoke", "--json"]).ends(0).prints("\"revoked\": 1");
    assert!(setup.stored().is_empty());
    setup.call("web/read", &[]).ends(3);
    setup.run(&["logout", "web"]).ends(0).prints("no login is stored");
}

#[test]
fn trap_27_a_rotating_token_is_refreshed_once_by_all_processes() {
    let setup = Setup::new("");
    setup.log_in();
    setup.servers.state().expire();
    setup.age();
    let steps: String = (0..4).map(|n| format!("[[step]]\nid = \"s{n}\"\ntool = \"web_read\"\n\n")).collect();
    let flow = setup.home.path().join("flow.toml");
    std::fs::write(&flow, format!("name = \"flow\"\n\n{steps}")).unwrap();
    let line = ["--config", "config.toml", "--no-project-config", "run", "flow.toml", "--yes", "--json"];
    let spawn = |_| setup.home.command(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<Child> = (0..8).map(spawn).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    }
    let state = setup.servers.state();
    assert_eq!((state.refreshes(), state.ran.len()), (1, 32));
    drop(state);
    assert_eq!(setup.credential()["generation"], 2);
}

#[test]
fn trap_27_a_failed_refresh_deletes_nothing() {
    let setup = Setup::new("");
    setup.log_in();
    setup.servers.state().expire();
    setup.age();
    setup.servers.state().faults = vec![Fault::Error; 8];
    let before = setup.credential();
    let failed = setup.call("web/read", &[]);
    assert!(failed.code != 0 && failed.json()["failure"]["login"].is_null(), "{}", failed.out);
    assert_eq!(setup.credential(), before);
    setup.servers.state().faults.clear();
    setup.call("web/read", &[]).ends(0);
}

#[test]
fn trap_28_a_refresh_token_reaches_no_other_authorization_server() {
    let setup = Setup::new("");
    setup.log_in();
    let other = Servers::start();
    setup.servers.state().named = other.state().issuer.clone();
    setup.servers.state().expire();
    let refused = setup.call("web/read", &[]).ends(3).json();
    assert!(refused["failure"]["login"]["why"].as_str().unwrap().contains(&other.state().issuer), "{refused}");
    assert_eq!(other.state().paths, ["/.well-known/oauth-authorization-server"]);
    assert_eq!(setup.servers.state().refreshes(), 0);
}

#[test]
fn trap_29_the_resource_is_sent_as_the_server_writes_it() {
    for shape in ["ORIGIN/mcp", "ORIGIN", "ORIGIN/", "ORIGIN/mcp?tenant=a", "urn:example:files"] {
        let setup = Setup::new("");
        let resource = shape.replace("ORIGIN", &setup.servers.state().origin.clone());
        if shape.starts_with("urn") {
            // The metadata names another one: the configured one counts.
            setup.configure(&format!("auth = {{ resource = \"{resource}\" }}"));
            setup.servers.state().accepted = Some(resource.clone());
        } else {
            setup.servers.state().resource = resource.clone();
        }
        setup.log_in();
        setup.age();
        setup.servers.state().expire();
        setup.call("web/read", &[]).ends(0);
        let state = setup.servers.state();
        let sent: Vec<&String> = state.authorizations.iter().chain(&state.token_requests).map(|form| &form["resource"]).collect();
        assert_eq!(sent, [&resource; 3], "{shape}");
    }
}

#[test]
fn trap_31_two_logins_at_the_same_time_both_succeed() {
    let setup = Setup::new("");
    let (one, two) = (setup.waiting(&[]), setup.waiting(&[]));
    // The addresses were printed after the listeners were bound.
    assert!(two.browse().starts_with("HTTP/1.1 200"));
    assert!(one.browse().starts_with("HTTP/1.1 200"));
    two.ends(0);
    one.ends(0);
    setup.call("web/read", &[]).ends(0);
}

#[test]
fn trap_32_the_redirect_has_the_configured_host_and_port() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost"] {
        let setup = Setup::new(&format!("auth = {{ client_id = \"mine\", callback_host = \"{host}\", callback_port = {free} }}"));
        setup.servers.state().registers = false;
        setup.servers.state().add_client("mine", &format!("http://{host}:{free}/callback"), None);
        let waiting = setup.waiting(&[]);
        assert!(waiting.browse().starts_with("HTTP/1.1 200"), "{host}");
        waiting.ends(0);
        setup.call("web/read", &[]).ends(0);
    }
}

#[test]
fn trap_33_without_a_browser_the_address_is_pasted() {
    for part in ["address", "query"] {
        let setup = Setup::new("");
        let mut waiting = setup.waiting(&[]);
        let target = open(&waiting.address).unwrap();
        waiting.paste("nonsense");
        waiting.until_said("it has no state");
        waiting.paste(&target.replace("state=", "state=x"));
        waiting.until_said("it belongs to another login");
        let wrong = get(&url::Url::parse(&target.replace("state=", "state=x")).unwrap());
        assert!(wrong.starts_with("HTTP/1.1 400"), "{wrong}");
        waiting.paste(if part == "address" { &target } else { target.split_once('?').unwrap().1 });
        waiting.ends(0);
        setup.call("web/read", &[]).ends(0);
    }
    // The end of stdin is not the end of the login.
    let setup = Setup::new("");
    let mut waiting = setup.waiting(&[]);
    drop(waiting.child.stdin.take());
    assert!(waiting.browse().starts_with("HTTP/1.1 200"));
    waiting.ends(0);
}

#[test]
fn trap_33_a_login_is_finished_in_another_process_once() {
    let setup = Setup::new("");
    let started = setup.run(&["login", "--start", "--json"]).ends(0).json();
    let target = open(started["address"].as_str().unwrap()).unwrap();
    setup.run(&["login", "--finish", &target.replace("state=", "state=x")]).ends(3).says("no login of this server waits");
    setup.run(&["login", "--finish", &target]).ends(0);
    setup.run(&["login", "--finish", &target]).ends(3);
    setup.call("web/read", &[]).ends(0);
}

#[test]
fn a_refused_login_says_why() {
    let setup = Setup::new("");
    let waiting = setup.waiting(&[]);
    let url = url::Url::parse(&waiting.address).unwrap();
    let query: std::collections::HashMap<String, String> = url.query_pairs().into_owned().collect();
    let mut target = url::Url::parse(&query["redirect_uri"]).unwrap();
    target.query_pairs_mut().append_pair("error", "access_denied").append_pair("state", &query["state"]);
    assert!(get(&target).contains("refused"));
    waiting.ends(4);
    assert!(setup.stored().is_empty());
}

#[test]
fn trap_34_a_lost_answer_of_a_refresh_is_asked_for_once_more() {
    for grace in [true, false] {
        let setup = Setup::new("");
        setup.log_in();
        setup.servers.state().expire();
        setup.age();
        setup.servers.state().grace = grace;
        setup.servers.state().faults = vec![Fault::Lost];
        let called = setup.call("web/read", &[]);
        assert_eq!(called.code, if grace { 0 } else { 3 }, "{}", called.out);
        assert_eq!(setup.servers.state().refreshes(), 2);
        assert_eq!(called.json()["failure"]["login"].is_object(), !grace);
    }
}

#[test]
fn no_secret_of_a_login_is_anywhere_but_in_the_store() {
    let setup = Setup::new("");
    setup.servers.state().secrets = true;
    let mut said = String::new();
    let mut keep = |ran: Ran| {
        said.push_str(&ran.out);
        said.push_str(&ran.err);
        ran
    };
    let log = ["--log-file", "log.txt", "-v"];
    let started = keep(setup.run(&[&["login", "--start", "--json"][..], &log].concat())).ends(0).json();
    let target = open(started["address"].as_str().unwrap()).unwrap();
    keep(setup.run(&[&["login", "--finish", &target][..], &log].concat())).ends(0);
    keep(setup.call("web/read", &log)).ends(0);
    setup.age();
    keep(setup.call("web/read", &log)).ends(0);
    setup.servers.state().expire();
    keep(setup.call("web/write", &log)).ends(0);
    keep(setup.run(&["auth", "--json"])).ends(0);
    keep(setup.run(&["calls", "list", "--json"]));
    setup.servers.state().revoke_all();
    keep(setup.call("web/read", &log)).ends(3);
    let issued = setup.servers.state().issued.clone();
    assert!(issued.len() > 6, "{issued:?}");
    let mut files = vec![setup.home.path().to_owned()];
    let mut read = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&text);
        let of_store = path.parent().unwrap().ends_with("auth") && path.extension().is_some_and(|extension| extension == "json");
        read += 1;
        for secret in issued.iter().filter(|_| !of_store) {
            assert!(!text.contains(secret.as_str()), "{secret} is in {}", path.display());
        }
    }
    assert!(read > 3);
    for secret in &issued {
        assert!(!said.contains(secret.as_str()), "{secret} was printed");
    }
}

#[test]
fn settings_that_cannot_work_are_refused_with_their_place() {
    for (auth, message) in [
        ("auth = { client_secret = \"s\" }", "is set without `client_id`"),
        ("auth = { grant = \"client_credentials\", client_id = \"a\" }", "needs `client_id` and `client_secret`"),
        ("auth = { scopes = [\"a b\"] }", "has an invalid scope"),
        ("auth = { client_metadata_url = \"http://a.example/x\" }", "should be an https:// address"),
    ] {
        let setup = Setup::new(auth);
        let ran = setup.run(&["servers"]);
        let said = format!("{}{}", ran.out, ran.err);
        assert!(said.contains(message) && said.contains("config.toml:4"), "{auth}: {said}");
    }
    let setup = Setup::new("auth = \"off\"");
    let refused = setup.call("web/read", &[]).json();
    assert!(refused["failure"]["login"].is_null() && refused["connect"]["login"].is_null(), "{refused}");
    setup.run(&["login"]).ends(3).says("auth = \"off\"");
}
