//! The console's login: the key on a row, the browser, a pasted address, a login that is cancelled, and logins of commands meanwhile.

use std::{fs::File, io::Read, net::TcpListener, path::Path, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    authorization::{Servers, get, open},
    session::{Session, Setup, console, switchboard},
};

/// A browser that passes each address on to the test.
const BROWSER: &str = "printf '%s' \"$1\" > \"${0%/*}/opened\"\n";

/// The options of a program with the server.
const OPTIONS: [&str; 3] = ["--config", "config.toml", "--no-project-config"];

/// Sets up a console with a server that wants a login.
fn set_up(servers: &Servers) -> Setup {
    set_up_with(servers, "")
}

/// Sets up a console with a server that wants a login, and further keys of it.
fn set_up_with(servers: &Servers, keys: &str) -> Setup {
    let text = format!("[servers.web]\nurl = \"{}\"\nera = \"legacy\"\n{keys}", servers.url());
    console(&OPTIONS).file("config.toml", &text)
}

/// Logs in with two commands in a folder.
fn log_in_by_commands(home: &Path) {
    let run = |line: &[&str]| {
        let mut command = Command::new(switchboard());
        command.args(OPTIONS).args(line).env_clear().env("HOME", home).current_dir(home);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let started = run(&["login", "--start", "--json"]);
    run(&["login", "--finish", &open(started["address"].as_str().unwrap()).unwrap(), "--json"]);
}

/// Starts a console with a server that wants a login; the row of the server is selected, and its login begins.
fn began(servers: &Servers, browser: Option<&Path>) -> Session {
    let mut setup = set_up(servers);
    if let Some(folder) = browser {
        setup = setup.env("BROWSER", format!("sh {}", folder.join("browser.sh").display()));
    }
    let mut session = setup.start();
    session.see("o log in");
    session.press("o", "Log in to web");
    session
}

/// The start of a copy to the clipboard (OSC 52).
const COPY: &[u8] = b"\x1b]52;c;";

/// Returns where the copies in the output of a session begin.
fn copies(session: &Session) -> Vec<usize> {
    let windows = session.stream().windows(COPY.len()).enumerate();
    windows.filter(|(_, window)| *window == COPY).map(|(at, _)| at + COPY.len()).collect()
}

/// Returns the address that Ctrl-Y copies.
fn copied(session: &mut Session) -> String {
    let before = copies(session).len();
    session.keys("\x19");
    session.until_session("a copy", |session| copies(session).len() > before);
    let at = *copies(session).last().unwrap();
    let text: Vec<u8> = session.stream()[at..].iter().copied().take_while(|byte| *byte != 0x07 && *byte != 0x1b).collect();
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

fn leave(mut session: Session) {
    session.keys("q");
    session.ended().code(0).restored();
}

#[test]
fn a_login_in_the_browser_connects_the_server() {
    let (servers, folder) = (Servers::start(), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("browser.sh"), BROWSER).unwrap();
    let opened = folder.path().join("opened");
    assert!(Command::new("mkfifo").arg(&opened).status().unwrap().success());
    let mut session = began(&servers, Some(folder.path()));
    session.see("The browser was opened at this address");
    // Waits for the browser.
    let mut address = String::new();
    File::open(&opened).unwrap().read_to_string(&mut address).unwrap();
    let page = get(&url::Url::parse(&open(&address).unwrap()).unwrap());
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    session.see("You are logged in.");
    session.keys("\r");
    session.until("the connected server", |screen| !screen.contains("needs login") && !screen.contains("Log in to web"));
    assert_eq!(servers.state().token_requests.len(), 1);
    leave(session);
}

#[test]
fn the_address_of_a_browser_elsewhere_is_pasted() {
    let servers = Servers::start();
    let mut session = began(&servers, None);
    session.see("Open this address in a browser");
    let address = copied(&mut session);
    assert!(address.starts_with(&format!("{}/authorize?", servers.state().issuer)), "{address}");
    let target = open(&address).unwrap();
    // Another login's address is refused, and the dialog waits on.
    session.keys(&format!("\x1b[200~{}\x1b[201~\r", target.replace("state=", "state=x")));
    session.see("Log in to web");
    session.keys("\x15");
    session.keys(&format!("\x1b[200~{target}\x1b[201~\r"));
    session.see("You are logged in.");
    session.keys("\r");
    session.until("the connected server", |screen| !screen.contains("needs login") && !screen.contains("Log in to web"));
    leave(session);
}

#[test]
fn a_cancelled_login_changes_nothing_and_can_begin_again() {
    let servers = Servers::start();
    let mut session = began(&servers, None);
    let first = copied(&mut session);
    session.keys("\x1b");
    session.until("the dialog closed", |screen| !screen.contains("Log in to web"));
    session.see("needs login");
    assert_eq!(servers.state().token_requests.len(), 0);
    session.press("o", "Log in to web");
    let again = copied(&mut session);
    // A login of its own: another state and verifier.
    assert_ne!(first, again);
    session.keys("\x1b");
    session.until("the dialog closed", |screen| !screen.contains("Log in to web"));
    leave(session);
}

#[test]
fn the_port_of_a_cancelled_login_is_free_for_the_next() {
    let servers = Servers::start();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut session = set_up_with(&servers, &format!("auth = {{ callback_port = {port} }}\n")).start();
    session.see("o log in");
    for _ in 0..2 {
        session.press("o", "Log in to web");
        assert!(copied(&mut session).contains(&format!("{port}%2F")));
        session.keys("\x1b");
        session.until("the dialog closed", |screen| !screen.contains("Log in to web"));
    }
    leave(session);
}

#[test]
fn a_login_that_commands_start_and_finish_connects_the_server() {
    let servers = Servers::start();
    let mut session = set_up(&servers).start();
    session.see("o log in");
    log_in_by_commands(session.home());
    session.until("the connected server", |screen| !screen.contains("needs login") && !screen.contains("o log in"));
    leave(session);
}

#[test]
fn two_logins_at_the_same_time_both_succeed() {
    let servers = Servers::start();
    let mut session = began(&servers, None);
    let address = copied(&mut session);
    log_in_by_commands(session.home());
    session.see("You are logged in.");
    let page = get(&url::Url::parse(&open(&address).unwrap()).unwrap());
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    session.keys("\r");
    session.until("the dialog closed", |screen| !screen.contains("Log in to web"));
    leave(session);
    assert_eq!(servers.state().authorizations.len(), 2);
}

#[test]
fn an_expired_token_is_refreshed_without_a_login() {
    let servers = Servers::start();
    let prepare = |home: &Path| {
        log_in_by_commands(home);
        servers.state().expire();
    };
    let mut session = set_up(&servers).start_in(prepare, &[]);
    session.until_session("the refresh", |_| servers.state().refreshes() == 1);
    session.until("the connected server", |screen| screen.contains("web") && screen.contains("write") && !screen.contains("needs login"));
    leave(session);
}

#[test]
fn a_revoked_login_needs_another_one_with_the_same_registration() {
    let servers = Servers::start();
    let prepare = |home: &Path| {
        log_in_by_commands(home);
        servers.state().revoke_all();
    };
    let mut session = set_up(&servers).start_in(prepare, &[]);
    session.see("o log in");
    session.press("o", "Log in to web");
    let target = open(&copied(&mut session)).unwrap();
    session.keys(&format!("\x1b[200~{target}\x1b[201~\r"));
    session.see("You are logged in.");
    session.keys("\r");
    session.until("the connected server", |screen| !screen.contains("needs login") && !screen.contains("Log in to web"));
    leave(session);
    assert_eq!(servers.state().clients.len(), 1);
}

#[test]
fn a_call_refused_for_lack_of_a_scope_succeeds_after_a_login_with_it() {
    let servers = Servers::start();
    servers.state().scope = Some("basic".into());
    servers.state().write_scope = Some("files:write".into());
    let mut session = set_up(&servers).start_in(log_in_by_commands, &[]);
    session.until("the connected server", |screen| screen.contains("write") && !screen.contains("needs login"));
    session.press("/", "find a tool");
    session.keys("write\r");
    session.see("━ web_write ━");
    session.press("\r", "call once");
    let refused = session.press("y", "insufficient_scope");
    assert!(!refused.contains("may have run"), "{refused}");
    // To the result.
    session.press("\x1b[17~", "O log in");
    session.press("O", "Log in to web");
    let address = copied(&mut session);
    assert!(address.contains("scope=basic+files%3Awrite"), "{address}");
    let page = get(&url::Url::parse(&open(&address).unwrap()).unwrap());
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    session.see("You are logged in with the further scopes.");
    session.keys("\r");
    session.until("the dialog closed", |screen| !screen.contains("Log in to web"));
    session.press(".", "call once");
    session.press("y", "write ran");
    leave(session);
    assert_eq!(servers.state().ran, ["write"]);
}
