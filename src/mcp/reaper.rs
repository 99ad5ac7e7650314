//! The helper process that cleans up when Switchboard is killed.
//!
//! A process that is ended by SIGKILL can put nothing in order. So the first stdio server brings up a
//! tiny helper, this same program, that waits on a pipe; when the pipe closes, for whatever reason,
//! it ends every process group that it was told of and every process that carries our mark.

use std::{
    collections::BTreeSet,
    io::{BufRead, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::spawn;

/// Our side of the helper. Dropping it tells the helper that all is in order.
pub struct Reaper {
    program: Option<PathBuf>,
    mark: String,
    helper: Mutex<Option<(Child, ChildStdin)>>,
}

impl Reaper {
    /// A reaper that runs `program reaper MARK` when the first process is to be watched; with no
    /// program nothing is watched.
    pub fn new(program: Option<PathBuf>, mark: String) -> Reaper {
        Reaper { program, mark, helper: Mutex::new(None) }
    }

    /// The mark of this instance.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Tells the helper of a process group that began (`+`) or ended (`-`).
    fn tell(&self, sign: char, group: u32) {
        let mut helper = self.helper.lock().unwrap_or_else(PoisonError::into_inner);
        if helper.is_none() && sign == '+' {
            *helper = self.start();
        }
        if let Some((_, pipe)) = helper.as_mut() {
            let _ = writeln!(pipe, "{sign}{group}");
        }
    }

    /// Watches a process group from now on.
    pub fn watch(&self, group: u32) {
        self.tell('+', group);
    }

    /// The group is gone.
    pub fn forget(&self, group: u32) {
        self.tell('-', group);
    }

    fn start(&self) -> Option<(Child, ChildStdin)> {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(self.program.as_ref()?);
        command.arg("reaper").arg(&self.mark).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut child = command.spawn().ok()?;
        let pipe = child.stdin.take()?;
        Some((child, pipe))
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        let helper = self.helper.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((mut child, pipe)) = helper {
            drop(pipe);
            let _ = child.wait();
        }
    }
}

/// The helper's whole life: reads groups from stdin until it closes, then ends what is left.
pub fn run(mark: &str) {
    let mut groups = BTreeSet::new();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match (line.get(..1), line.get(1..).and_then(|n| n.parse::<u32>().ok())) {
            (Some("+"), Some(group)) => drop(groups.insert(group)),
            (Some("-"), Some(group)) => drop(groups.remove(&group)),
            _ => {}
        }
    }
    let left = |groups: &BTreeSet<u32>| groups.iter().any(|g| spawn::group_alive(*g)) || !spawn::marked(mark).is_empty();
    for (signal, patience) in [(Signal::TERM, Duration::from_secs(2)), (Signal::KILL, Duration::from_secs(1))] {
        if !left(&groups) {
            return;
        }
        for group in &groups {
            spawn::signal_group(*group, signal);
        }
        spawn::kill_marked(mark, signal);
        let end = Instant::now() + patience;
        while left(&groups) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
