//! Starts a server's process and ends everything that came of it.
//!
//! One of the two places with `unsafe` code: a child makes itself the leader of a new session before it
//! becomes the server. So it has no controlling terminal (it cannot draw on ours, read our keys or be
//! stopped by the terminal), and its process group can be signalled as a whole.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::process::{Child, Command};

use crate::domain::server::Launch;

/// The variable that marks every process that came of a server, with the instance and the server's number.
pub const MARK: &str = "SWITCHBOARD_INSTANCE";

/// Variables that a server gets without asking: what programs need to find their way, no credentials.
const PASSED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TERM",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Starts the program of `launch` with piped stdio, marked with `mark`.
pub fn spawn(launch: &Launch, mark: &str) -> io::Result<Child> {
    let Launch::Stdio { command, args, env, inherit_env, cwd } = launch else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a stdio server"));
    };
    let mut child = Command::new(command);
    child.args(args.iter().map(|arg| arg.expose()));
    if !inherit_env {
        child.env_clear();
        child.envs(PASSED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    }
    child.envs(env.iter().map(|(name, value)| (name, value.expose())));
    child.env(MARK, mark);
    if let Some(cwd) = cwd {
        child.current_dir(cwd);
    }
    child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    new_session(&mut child);
    child.spawn()
}

#[allow(unsafe_code, reason = "setsid has to run between fork and exec")]
fn new_session(command: &mut Command) {
    // SAFETY: the closure runs in the forked child before exec and calls only setsid(2), which is
    // async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from));
    }
}

/// What `PATH` gives for a command: where it was found, or what was looked at.
pub fn explain_path(command: &str, path: Option<&OsStr>, cwd: Option<&Path>) -> String {
    if command.contains('/') {
        let full = cwd.map_or_else(|| PathBuf::from(command), |cwd| cwd.join(command));
        return match std::fs::metadata(&full) {
            Ok(found) if found.is_dir() => format!("{} is a directory", full.display()),
            Ok(_) if !executable(&full) => format!("{} is not executable", full.display()),
            Ok(_) => full.display().to_string(),
            Err(error) => format!("{}: {error}", full.display()),
        };
    }
    let Some(path) = path.filter(|p| !p.is_empty()) else { return "PATH is empty".into() };
    let folders: Vec<PathBuf> = std::env::split_paths(path).collect();
    if let Some(found) = folders.iter().map(|f| f.join(command)).find(|file| executable(file)) {
        return found.display().to_string();
    }
    let shown: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
    format!("{command} is in none of the {} folders of PATH: {}", shown.len(), shown.join(":"))
}

fn executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// The `PATH` that a server of this configuration gets.
pub fn path_of(launch: &Launch) -> Option<OsString> {
    let Launch::Stdio { env, .. } = launch else { return None };
    env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| OsString::from(value.expose())).or_else(|| std::env::var_os("PATH"))
}

/// Sends a signal to the whole group that a server leads. Refuses our own group.
pub fn signal_group(pid: u32, signal: Signal) {
    if let Some(group) = as_pid(pid).filter(|group| *group != rustix::process::getpgrp()) {
        let _ = kill_process_group(group, signal);
    }
}

/// Whether anything of the group is left.
pub fn group_alive(pid: u32) -> bool {
    as_pid(pid).is_some_and(|group| test_kill_process_group(group).is_ok())
}

/// Kills every process that carries the mark in its environment, whatever group it has moved to.
///
/// Linux only; elsewhere the group is all that can be found.
pub fn kill_marked(mark: &str, signal: Signal) -> usize {
    let ids = marked(mark);
    for pid in ids.iter().filter_map(|pid| as_pid(*pid)) {
        let _ = kill_process(pid, signal);
    }
    ids.len()
}

/// The processes that carry `mark` (or a mark that continues it after a colon), ourselves left out.
pub fn marked(mark: &str) -> Vec<u32> {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return vec![] };
    let wanted = format!("{MARK}={mark}");
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| {
            let Ok(environ) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
            environ
                .split(|b| *b == 0)
                .any(|var| var.strip_prefix(wanted.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b":")))
        })
        .collect()
}

fn as_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
}
