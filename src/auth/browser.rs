//! Opening an address in the user's browser, without a shell.

use std::process::{Command, Stdio};

use super::http::Url;
use crate::auth::addresses::is_loopback;

/// Returns whether a browser of this session can be seen by the user.
pub fn is_available() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if set("BROWSER") {
        return true;
    }
    let remote = set("SSH_CONNECTION") || set("SSH_TTY");
    let desktop = cfg!(target_os = "macos") || set("DISPLAY") || set("WAYLAND_DISPLAY");
    desktop && !remote
}

/// Opens an address with `$BROWSER`, or the program of the desktop. Only https addresses are opened, and those of this machine.
/// Returns whether a program was started.
pub fn open(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else { return false };
    let safe = (url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url))) && url.username().is_empty();
    if !safe {
        return false;
    }
    candidates().iter().any(|words| start(words, url.as_str()))
}

/// Returns the commands to try, in order.
fn candidates() -> Vec<Vec<String>> {
    let configured = std::env::var("BROWSER").unwrap_or_default();
    let mut found: Vec<Vec<String>> = configured.split(':').filter_map(shlex::split).filter(|words| !words.is_empty()).collect();
    found.push(vec![if cfg!(target_os = "macos") { "open" } else { "xdg-open" }.to_owned()]);
    found
}

fn start(words: &[String], address: &str) -> bool {
    let Some((program, arguments)) = words.split_first() else { return false };
    let mut command = Command::new(program);
    let mut given = false;
    for argument in arguments {
        given |= argument.contains("%s");
        command.arg(argument.replace("%s", address));
    }
    if !given {
        command.arg(address);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    // Some browsers run until they are closed.
    std::thread::spawn(move || child.wait());
    true
}
