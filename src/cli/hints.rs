//! What to try next, for servers whose state does not say so itself: those that are in use and lack something, and
//! failures that came without a hint.

use std::{os::unix::fs::PermissionsExt, path::Path};

use super::servers::{self, last_failure};
use crate::domain::{
    read_model::ServerView,
    server::{ConnectFailure, Phase, ServerSpec, Step, Transport},
};

/// The failure behind a server's state, with what is known of its program and at least one thing to try.
pub fn failure(server: &ServerView) -> Option<ConnectFailure> {
    let mut why = ConnectFailure::clone(last_failure(server)?);
    let spec = &server.spec;
    if let Transport::Stdio { command, env, cwd, .. } = &spec.launch {
        // Who reports the end of a program that ran knows neither.
        if why.cwd.is_none() {
            why.cwd = cwd.clone().or_else(|| std::env::current_dir().ok()).map(|folder| folder.display().to_string());
        }
        if why.found.is_none() {
            let own = env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.expose().to_owned());
            why.found = own.or_else(|| std::env::var("PATH").ok()).and_then(|path| found(command, &path));
        }
    }
    if why.hints.is_empty() {
        why.hints.push(of_failure(spec, &why).to_owned());
    }
    Some(why)
}

/// The program that a `PATH` gives for a command without slashes.
fn found(command: &str, path: &str) -> Option<String> {
    let executable = |file: &Path| std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    let file = std::env::split_paths(path).map(|folder| folder.join(command)).find(|file| executable(file));
    file.filter(|_| !command.contains('/')).map(|file| file.display().to_string())
}

fn of_failure(spec: &ServerSpec, why: &ConnectFailure) -> &'static str {
    let http = matches!(spec.launch, Transport::Http { .. });
    let answered = why.rpc_code.is_some();
    match (why.status, why.step) {
        (Some(502..=504), _) => {
            "check that the server behind this address runs: a proxy or gateway answered for it, or it is overloaded; then try again"
        }
        (Some(500..=599), _) => "the fault is the server's own: look into its log, or ask whoever runs it; then try again",
        (_, Step::Discover | Step::Initialize) if answered => {
            "look into the server's log for why it refused; era = \"legacy\" or era = \"modern\" in its configuration asks in the other way"
        }
        (_, Step::Run) if http => "check that the server still runs and is reachable, and that nothing in between ends idle connections",
        (_, Step::Run) => "it ended while in use: read its stderr lines, or run the command by hand in that folder and make the same call",
        _ if http => "check that url is the MCP endpoint itself (often under /mcp), and look into the server's log",
        _ => "run the command by hand in that folder; its own words are in the stderr lines",
    }
}

/// What to try with a server that can be used but lacks something.
pub fn in_use(server: &ServerView) -> Option<&'static str> {
    let listed = server.catalog.revision > 0;
    match &*server.phase {
        Phase::Degraded { reason } if reason.listing_timed_out() => {
            Some("raise timeouts.list in its configuration if the server is slow to list, and see what it says with --verbose")
        }
        Phase::Degraded { .. } if !listed => {
            Some("see what the server says with --verbose, then try again; its tools can be called as server/tool meanwhile")
        }
        Phase::Degraded { .. } => Some("what is not named here works; tell whoever maintains the server about the rest"),
        _ if servers::failed(server) && server.phase.usable() => Some("give it longer: --timeout, or timeouts.list in its configuration"),
        _ => None,
    }
}
