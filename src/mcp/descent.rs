//! Processes by descent: the children of a process, theirs, and so on. Linux only; elsewhere none is found.
//!
//! A process can leave its group, its session and its environment, but not its descent: when its parent ends, it
//! becomes a child of the nearest ancestor that is a child subreaper (prctl(2)).

use rustix::process::Signal;

/// A process. Its start time distinguishes it from a later process with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the start of the machine.
    pub started: u64,
}

/// The living descendants of the process `root`.
#[cfg(target_os = "linux")]
pub fn descendants(root: u32) -> Vec<Process> {
    use std::collections::HashMap;
    let Ok(entries) = std::fs::read_dir("/proc") else { return vec![] };
    let mut children: HashMap<u32, Vec<Stat>> = HashMap::new();
    for stat in entries.flatten().filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)) {
        children.entry(stat.parent).or_default().push(stat);
    }
    let (mut found, mut next) = (vec![], vec![root]);
    while let Some(parent) = next.pop() {
        for stat in children.remove(&parent).unwrap_or_default() {
            next.push(stat.process.pid);
            if !stat.zombie {
                found.push(stat.process);
            }
        }
    }
    found
}

#[cfg(not(target_os = "linux"))]
pub fn descendants(_root: u32) -> Vec<Process> {
    vec![]
}

/// Signals a process, and never another one that got its number.
#[cfg(target_os = "linux")]
pub fn signal(process: Process, signal: Signal) {
    use rustix::process::{Pid, PidfdFlags, kill_process, pidfd_open, pidfd_send_signal};
    let Some(pid) = i32::try_from(process.pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw) else { return };
    let same = || stat(process.pid).is_some_and(|stat| stat.process == process);
    match pidfd_open(pid, PidfdFlags::empty()) {
        // What the descriptor refers to cannot change after the look.
        Ok(fd) if same() => drop(pidfd_send_signal(fd, signal)),
        Ok(_) => {}
        // A kernel before 5.3, or one that forbids it.
        Err(_) if same() => drop(kill_process(pid, signal)),
        Err(_) => {}
    }
}

#[cfg(not(target_os = "linux"))]
pub fn signal(_process: Process, _signal: Signal) {}

#[cfg(target_os = "linux")]
struct Stat {
    process: Process,
    parent: u32,
    zombie: bool,
}

#[cfg(target_os = "linux")]
fn stat(pid: u32) -> Option<Stat> {
    parse(pid, &std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads `/proc/PID/stat` (proc_pid_stat(5)). The name in it can contain anything, so the fields are those after its last `)`.
#[cfg(target_os = "linux")]
fn parse(pid: u32, text: &[u8]) -> Option<Stat> {
    let after = &text[memchr::memrchr(b')', text)? + 1..];
    let mut fields = std::str::from_utf8(after).ok()?.split_ascii_whitespace();
    let zombie = matches!(fields.next()?, "Z" | "X" | "x");
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat { process: Process { pid, started }, parent, zombie })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_name_cannot_pretend_to_be_fields() {
        let line = b"7 (a) S 1 (b) c) Z 5 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1000 10 18446744073709551615";
        let stat = parse(7, line).unwrap();
        assert_eq!((stat.process, stat.parent, stat.zombie), (Process { pid: 7, started: 12345 }, 5, true));
        assert!(parse(7, b"").is_none() && parse(7, b"7 (x) S").is_none() && parse(7, b"7 (\xff\xfe) \xff").is_none());
    }

    #[test]
    fn children_of_children_are_found_and_only_the_same_process_is_signalled() {
        let mut child = Command::new("sh").args(["-c", "sleep 1000 & echo; wait"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let below = descendants(child.id());
        assert_eq!(below.len(), 1, "the sleep: {below:?}");
        let own = descendants(std::process::id());
        let shell = *own.iter().find(|p| p.pid == child.id()).unwrap();
        assert!(own.contains(&below[0]));
        signal(Process { started: shell.started + 1, ..shell }, Signal::KILL);
        signal(Process { started: below[0].started + 1, ..below[0] }, Signal::KILL);
        assert_eq!(child.try_wait().unwrap(), None, "an earlier process with that number is meant, which is gone");
        // The shell first: it would exit with 0 after the sleep.
        signal(shell, Signal::KILL);
        signal(below[0], Signal::KILL);
        assert!(!child.wait().unwrap().success());
        assert_eq!(descendants(child.id()), []);
    }
}
