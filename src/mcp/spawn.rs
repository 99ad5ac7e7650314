//! Starts a server's process and ends it with all its descendants.
//!
//! One of the two places with `unsafe` code: a child makes itself the leader of a new session before it
//! becomes the server. So it has no controlling terminal (it cannot draw on ours, read our keys or be
//! stopped by the terminal), and its process group can be signalled as a whole.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::{Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use tokio::{net::unix::pipe, process::Child};

use super::reaper::{Ended, Reaper, ServerCommand};
use crate::domain::server::Transport;

/// The variable that marks every process of a server, with the instance and the server's number.
pub const MARK: &str = "SWITCHBOARD_INSTANCE";

/// Variables that a server inherits by default: those that programs need to work, no credentials. `docs/environment.md` lists them.
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

/// Returns whether the configuration of a server gives it this variable.
pub fn gives(launch: &Transport, name: &str) -> bool {
    matches!(launch, Transport::Stdio { env, .. } if env.iter().any(|(given, _)| given == name))
}

/// Returns whether a variable is set here and not passed on to a server.
pub fn holds_back(launch: &Transport, name: &str) -> bool {
    let all = matches!(launch, Transport::Stdio { inherit_env: true, .. });
    !all && !PASSED.contains(&name) && name != MARK && !gives(launch, name) && std::env::var_os(name).is_some()
}

/// A server's process and our ends of its pipes. Dropping it kills the process with its group.
pub struct Process {
    /// The process id, which is also that of the session and the group that it leads.
    pub pid: u32,
    /// Its stdin.
    pub stdin: pipe::Sender,
    /// Its stdout.
    pub stdout: pipe::Receiver,
    /// Its stderr.
    pub stderr: pipe::Receiver,
    /// Its exit.
    pub end: End,
}

/// The source of the exit of a server's process.
pub enum End {
    /// Our own child.
    Own(Child),
    /// The helper's child.
    Helpers {
        /// The process id.
        pid: u32,
        /// The helper's report.
        ended: Ended,
    },
}

impl End {
    /// Waits for the end of the process. Cancel-safe.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        match self {
            End::Own(child) => child.wait().await,
            End::Helpers { ended, .. } => {
                let ended = ended.wait_for(Option::is_some).await.map_err(|_| io::Error::other("the helper process is gone"))?;
                ended.ok_or_else(|| io::Error::other("the helper process is gone"))
            }
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let End::Helpers { pid, ended } = self
            && ended.borrow().is_none()
            && ended.has_changed().is_ok()
        {
            signal_group(*pid, Signal::KILL);
        }
    }
}

/// Starts the program of `launch` with piped stdio, marked with `mark`: by the helper of `reaper`, or as our own child where
/// there is none.
pub async fn spawn(launch: &Transport, mark: &str, reaper: &Reaper) -> io::Result<Process> {
    let command = command_of(launch, mark)?;
    let ((stdin, to), (from, stdout), (from_err, stderr)) = (pipe_pair()?, pipe_pair()?, pipe_pair()?);
    let pipes = [stdin, stdout, stderr];
    let copies = [pipes[0].try_clone()?, pipes[1].try_clone()?, pipes[2].try_clone()?];
    let (pid, end) = match reaper.start(&command, copies) {
        Some(start) => {
            drop(pipes);
            let (pid, ended) = start?.await.map_err(|_| io::Error::other("the helper process is gone"))??;
            (pid, End::Helpers { pid, ended })
        }
        None => {
            let mut child = tokio::process::Command::from(prepared(&command, pipes)?);
            let child = child.kill_on_drop(true).spawn()?;
            (child.id().unwrap_or_default(), End::Own(child))
        }
    };
    Ok(Process {
        pid,
        stdin: pipe::Sender::from_owned_fd(to)?,
        stdout: pipe::Receiver::from_owned_fd(from)?,
        stderr: pipe::Receiver::from_owned_fd(from_err)?,
        end,
    })
}

/// The two ends of a pipe, the reading one first. No other process inherits them.
fn pipe_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = io::pipe()?;
    Ok((read.into(), write.into()))
}

/// All that starts a server but its pipes.
fn command_of(launch: &Transport, mark: &str) -> io::Result<ServerCommand> {
    let Transport::Stdio { command, args, env, inherit_env, cwd } = launch else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a stdio server"));
    };
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let words = std::iter::once(OsString::from(command)).chain(args.iter().map(|arg| OsString::from(arg.expose()))).collect();
    let inherited = std::env::vars_os().filter(|(name, _)| *inherit_env || PASSED.iter().any(|passed| name == passed));
    // The last value of a name counts.
    let mut all: BTreeMap<OsString, OsString> = inherited.filter(|(name, _)| !name.is_empty()).collect();
    all.extend(env.iter().map(|(name, value)| (OsString::from(name.as_str()), OsString::from(value.expose()))));
    all.insert(MARK.into(), mark.into());
    Ok(ServerCommand { cwd: cwd.as_ref().map_or(here.clone(), |cwd| here.join(cwd)), words, env: all.into_iter().collect() })
}

/// Starts a server on these pipes (stdin, stdout, stderr) in the helper; gives its process id.
///
/// The kernel kills the server when the thread that calls this ends.
pub fn start(command: &ServerCommand, pipes: Vec<OwnedFd>) -> io::Result<u32> {
    let pipes: [OwnedFd; 3] = pipes.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut command = prepared(command, pipes)?;
    die_with_parent(&mut command);
    // Dropping the handle neither ends the process nor waits for it.
    Ok(command.spawn()?.id())
}

fn prepared(command: &ServerCommand, [stdin, stdout, stderr]: [OwnedFd; 3]) -> io::Result<Command> {
    let (program, args) = command.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(program);
    child.args(args).env_clear().envs(command.env.iter().map(|(name, value)| (name, value))).current_dir(&command.cwd);
    child.stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).stderr(Stdio::from(stderr));
    new_session(&mut child);
    Ok(child)
}

/// Makes the process the leader of a new session before it becomes the program.
#[allow(unsafe_code, reason = "setsid has to run between fork and exec")]
pub fn new_session(command: &mut Command) {
    // SAFETY: the closure runs in the forked child before exec and calls only setsid(2), which is
    // async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from));
    }
}

/// Has the kernel kill the process when its parent thread ends.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "prctl has to run between fork and exec")]
fn die_with_parent(command: &mut Command) {
    use rustix::process::{getpid, getppid, set_parent_process_death_signal};
    let parent = getpid();
    // SAFETY: the closure runs in the forked child before exec and calls only prctl(2) and getppid(2), which are
    // async-signal-safe and touch no memory of ours. The error is made of a number, without an allocation.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent can have ended before that.
            if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error())) }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_command: &mut Command) {}

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
    kill_marked_of(&ids, mark, signal);
    ids.len()
}

/// Kills those of these processes that still carry the mark: a number can have gone to another process meanwhile.
pub fn kill_marked_of(ids: &[u32], mark: &str, signal: Signal) {
    for (id, pid) in ids.iter().filter_map(|id| Some((*id, as_pid(*id)?))) {
        if carries(id, mark) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// The processes that carry `mark` (or a mark that continues it after a colon), ourselves left out.
pub fn marked(mark: &str) -> Vec<u32> {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return vec![] };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own && carries(*pid, mark))
        .collect()
}

fn carries(pid: u32, mark: &str) -> bool {
    let Ok(environ) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
    let value = |var| <[u8]>::strip_prefix(var, MARK.as_bytes())?.strip_prefix(b"=")?.strip_prefix(mark.as_bytes());
    environ.split(|b| *b == 0).any(|var| value(var).is_some_and(|rest| rest.is_empty() || rest.starts_with(b":")))
}

fn as_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_the_variables_that_are_passed_on() {
        let page = include_str!("../../docs/environment.md");
        let listed = page.lines().find(|line| line.starts_with("`PATH`")).unwrap();
        let names: Vec<&str> = listed.split('`').skip(1).step_by(2).collect();
        assert_eq!(names, PASSED);
    }
}
