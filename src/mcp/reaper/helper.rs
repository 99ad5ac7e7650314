//! The helper's life: it starts servers for the program, reports how they end, and ends what is left when the program
//! is gone.
//!
//! One thread starts all servers, since the kernel kills a server when the thread that started it ends
//! (`spawn::start`). That thread lives as long as the helper. Another thread only reads frames.

use std::{
    collections::BTreeSet,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::mpsc::{RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Signal, WaitOptions, wait},
};
use tokio::signal::unix::{SignalKind, signal};

use super::frames::{self, Command, Frame, kind};
use crate::mcp::{
    descent::{self, Process},
    spawn,
};

/// How long what is left may take to end after SIGTERM: where the program was killed, and where it ended its servers itself.
const TERM: [Duration; 2] = [Duration::from_secs(2), Duration::from_millis(250)];
/// How long what is left may take to end after SIGKILL.
const KILL: Duration = Duration::from_secs(3);
/// Frames that wait to be taken.
const FRAMES: usize = 16;
/// The pause between two looks at the process table.
const LOOK: Duration = Duration::from_millis(10);
/// How long a terminal may take to be restored. Its output can be stopped.
const RESTORE: Duration = Duration::from_millis(500);

/// Restores a terminal from the text that describes the modes it had.
pub type Restore = fn(&str, BorrowedFd<'_>);

/// Runs the helper on its standard input, a socket to the program, until that closes and nothing is left.
pub fn run(mark: &str, restore: Restore) {
    // A name of its own, so that `pkill switchboard` leaves it to clean up.
    let _ = std::fs::write("/proc/self/comm", "mcp-reaper");
    #[cfg(target_os = "linux")]
    let adopts = rustix::process::set_child_subreaper(Some(rustix::process::getpid())).is_ok();
    #[cfg(not(target_os = "linux"))]
    let adopts = false;
    let mut helper = Helper { mark: mark.to_owned(), adopts, groups: BTreeSet::new(), terminal: None, patience: TERM[0] };
    // Errors cannot be reported anywhere: the program sees the end of the socket.
    let _ = helper.serve();
    if let Some((modes, terminal)) = helper.terminal.take() {
        restore_within(RESTORE, modes, terminal, restore);
    }
    helper.end_all();
}

/// Restores a terminal, waiting at most `patience` for it.
fn restore_within(patience: Duration, modes: String, terminal: OwnedFd, restore: Restore) {
    let (done, end) = channel::<()>();
    let restoring = std::thread::Builder::new().spawn(move || {
        restore(&modes, terminal.as_fd());
        drop(done);
    });
    if restoring.is_ok() {
        let _: Result<(), RecvTimeoutError> = end.recv_timeout(patience);
    }
}

struct Helper {
    mark: String,
    /// Whether orphans below this process become its children.
    adopts: bool,
    /// The servers that were started and not forgotten. Each leads a group of its own.
    groups: BTreeSet<u32>,
    /// From SIGTERM to SIGKILL, at the end.
    patience: Duration,
    /// The terminal that the console has, and what its modes were.
    terminal: Option<(String, OwnedFd)>,
}

impl Helper {
    /// Takes frames until the program is gone.
    fn serve(&mut self) -> io::Result<()> {
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        runtime.block_on(async {
            let mut ended = signal(SignalKind::child())?;
            // The program decides when it ends, and so when this one does. Noted, such a signal does nothing.
            let _others = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
            let (pass, mut frames) = tokio::sync::mpsc::channel(FRAMES);
            let from = socket.try_clone()?;
            std::thread::Builder::new().spawn(move || {
                while let Ok(Some(frame)) = frames::receive(&from)
                    && pass.blocking_send(frame).is_ok()
                {}
            })?;
            loop {
                tokio::select! {
                    biased;
                    _ = ended.recv() => drop(self.reap(Some(&socket))),
                    frame = frames.recv() => match frame {
                        Some(frame) => self.take(frame, &socket)?,
                        None => return Ok(()),
                    },
                }
            }
        })
    }

    fn take(&mut self, frame: Frame, socket: &UnixStream) -> io::Result<()> {
        match frame.kind {
            kind::START => {
                let (kind, number) = match Command::decode(&frame.payload).map(|command| spawn::start(&command, frame.files)) {
                    Some(Ok(pid)) => {
                        self.groups.insert(pid);
                        (kind::STARTED, i32::try_from(pid).unwrap_or_default())
                    }
                    Some(Err(error)) => (kind::FAILED, error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error())),
                    None => (kind::FAILED, Errno::INVAL.raw_os_error()),
                };
                frames::send(socket, kind, &frames::numbers(number, 0), &[])?;
                // An end before the answer was not reported yet.
                let _ = self.reap(Some(socket));
            }
            kind::FORGET => {
                if let Some((pid, _)) = frame.numbers() {
                    self.groups.remove(&pid.unsigned_abs());
                }
            }
            kind::TERMINAL_TAKEN => {
                let modes = String::from_utf8_lossy(&frame.payload).into_owned();
                self.terminal = frame.files.into_iter().next().map(|terminal| (modes, terminal));
            }
            kind::FINISH => self.patience = TERM[1],
            kind::TERMINAL_BACK => self.terminal = None,
            _ => {}
        }
        Ok(())
    }

    /// Takes in every child that has ended, and reports it. An orphan that was adopted means nothing to the program.
    /// Returns whether there is a child left.
    fn reap(&self, report: Option<&UnixStream>) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if let Some(socket) = report {
                        let ended = frames::numbers(pid.as_raw_nonzero().get(), status.as_raw());
                        // The program can be gone.
                        let _ = frames::send(socket, kind::ENDED, &ended, &[]);
                    }
                }
                Ok(None) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Ends every process that came of a server, until there is none.
    ///
    /// With adoption the kernel knows them all: a process that has no children has no descendants either. Without it
    /// they are found by their groups and their mark. A child between fork and exec has neither yet, so two looks
    /// in a row have to find nothing.
    fn end_all(&self) {
        let mut empty = 0;
        for (signal, patience) in [(Signal::TERM, self.patience), (Signal::KILL, KILL)] {
            let end = Instant::now() + patience;
            let mut ended: BTreeSet<Process> = BTreeSet::new();
            let mut groups_told = BTreeSet::new();
            while Instant::now() < end {
                let children = self.reap(None);
                let marked = spawn::marked(&self.mark);
                let groups = if self.adopts { BTreeSet::new() } else { self.groups.clone() };
                let groups: Vec<u32> = groups.into_iter().filter(|group| spawn::group_alive(*group)).collect();
                let left = children && self.adopts || !marked.is_empty() || !groups.is_empty();
                empty = if left { 0 } else { empty + 1 };
                if empty == if self.adopts { 1 } else { 2 } {
                    return;
                }
                // A process can fork as it is signalled: after SIGKILL, each look signals what it finds.
                let again = signal == Signal::KILL;
                for process in descent::descendants(std::process::id()) {
                    if ended.insert(process) || again {
                        descent::signal(process, signal);
                    }
                }
                for group in groups {
                    if groups_told.insert(group) || again {
                        spawn::signal_group(group, signal);
                    }
                }
                let fresh: Vec<u32> = marked.into_iter().filter(|pid| groups_told.insert(*pid) || again).collect();
                spawn::kill_marked_of(&fresh, &self.mark, signal);
                std::thread::sleep(LOOK);
            }
        }
    }
}
