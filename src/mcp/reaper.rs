//! The helper process that starts the servers and cleans up when Switchboard is killed.
//!
//! A process that is ended by SIGKILL can put nothing in order. So the first stdio server brings up a helper, this same
//! program, that starts the servers on our behalf and passes their pipes to us. It is their parent, and on Linux it
//! adopts every orphan below it (child subreaper): whatever a server starts stays its descendant, whatever group,
//! session or environment it moves to. When our end of the socket closes, for whatever reason, the helper gives the
//! terminal back that the console had, ends what is left, and ends.
//!
//! If the helper is killed, the kernel kills the servers that it started (Linux), and the next start brings up
//! another helper. If both are killed together, processes that the servers started can survive; they see the end of
//! their pipes.
//!
//! Elsewhere than on Linux the helper finds what is left by process groups alone.

mod frames;
mod helper;

use std::{
    collections::{HashMap, VecDeque},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt, process::ExitStatusExt},
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use rustix::process::Signal;
use tokio::sync::{oneshot, watch};

use self::frames::kind;
pub use self::{
    frames::Command as ServerCommand,
    helper::{Restore, run},
};
use super::spawn;

/// How long a frame may take to be written.
const WRITE: Duration = Duration::from_secs(5);

/// The state of a process: running, or its exit.
pub type Ended = watch::Receiver<Option<ExitStatus>>;

/// The answer to a start: the process id, and what reports the end of the process.
pub type Start = oneshot::Receiver<io::Result<(u32, Ended)>>;

/// Our side of the helper. Dropping it tells the helper that all is in order.
pub struct Reaper {
    program: Option<PathBuf>,
    mark: String,
    helper: Mutex<Option<Helper>>,
}

struct Helper {
    child: Child,
    socket: UnixStream,
    shared: Arc<Mutex<Shared>>,
}

/// What the thread that reads the helper's answers shares with those who wait for them.
#[derive(Default)]
struct Shared {
    /// The starts that were asked for, in their order.
    starts: VecDeque<oneshot::Sender<io::Result<(u32, Ended)>>>,
    running: HashMap<u32, watch::Sender<Option<ExitStatus>>>,
    /// Whether the helper is gone.
    gone: bool,
}

impl Reaper {
    /// Creates a reaper that runs `program reaper MARK` when the first process starts; without a program there is no helper.
    pub fn new(program: Option<PathBuf>, mark: String) -> Reaper {
        Reaper { program, mark, helper: Mutex::new(None) }
    }

    /// The mark of this instance.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Has the helper start a server on these pipes. `None` without a helper. The receiver gives the answer.
    pub fn start(&self, command: &ServerCommand, pipes: [OwnedFd; 3]) -> Option<io::Result<Start>> {
        let mut helper = self.helper();
        let helper = self.ready(&mut helper)?;
        let payload = match command.encode() {
            Ok(payload) => payload,
            Err(error) => return Some(Err(error)),
        };
        let (started, start) = oneshot::channel();
        // Before the frame is sent, so that the answer finds it.
        helper.shared.lock().starts.push_back(started);
        let [stdin, stdout, stderr] = &pipes;
        let sent = frames::send(&helper.socket, kind::START, &payload, &[stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]);
        if let Err(error) = sent {
            // Half a frame can have been written: this helper is of no more use.
            let _ = helper.socket.shutdown(std::net::Shutdown::Both);
            return Some(Err(error));
        }
        Some(Ok(start))
    }

    /// Nothing of the group of this server is left.
    pub fn forget(&self, group: u32) {
        if let Some(helper) = self.helper().as_ref() {
            let _ = frames::send(&helper.socket, kind::FORGET, &frames::numbers(i32::try_from(group).unwrap_or_default(), 0), &[]);
        }
    }

    /// The console takes this terminal. If the program ends before [`Reaper::terminal_back`], the helper gives `modes` to
    /// what restores it.
    pub fn terminal_taken(&self, terminal: BorrowedFd<'_>, modes: &str) {
        let mut helper = self.helper();
        if let Some(helper) = self.ready(&mut helper) {
            let _ = frames::send(&helper.socket, kind::TERMINAL_TAKEN, modes.as_bytes(), &[terminal]);
        }
    }

    /// The console has given the terminal back.
    pub fn terminal_back(&self) {
        if let Some(helper) = self.helper().as_ref() {
            let _ = frames::send(&helper.socket, kind::TERMINAL_BACK, &[], &[]);
        }
    }

    /// Lets the helper end what is left and waits for its end, which takes a few seconds at most. Blocks.
    pub fn finish(&self) {
        let helper = self.helper().take();
        if let Some(Helper { mut child, socket, .. }) = helper {
            let _ = frames::send(&socket, kind::FINISH, &[], &[]);
            let _ = socket.shutdown(std::net::Shutdown::Both);
            drop(socket);
            let _ = child.wait();
        }
    }

    fn helper(&self) -> MutexGuard<'_, Option<Helper>> {
        self.helper.lock()
    }

    /// The helper, started if there is none or the last one is gone.
    fn ready<'h>(&self, helper: &'h mut Option<Helper>) -> Option<&'h mut Helper> {
        if helper.as_ref().is_some_and(|helper| helper.shared.lock().gone)
            && let Some(mut gone) = helper.take()
        {
            let _ = gone.child.wait();
        }
        if helper.is_none() {
            *helper = self.bring_up().ok();
        }
        helper.as_mut()
    }

    fn bring_up(&self) -> io::Result<Helper> {
        let program = self.program.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_write_timeout(Some(WRITE))?;
        let mut command = Command::new(program);
        command.arg0("mcp-reaper").arg("reaper").arg(&self.mark).env_clear().current_dir("/");
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null());
        // A session of its own: no signal of the terminal reaches it, and it can restore a terminal that is not its own.
        spawn::new_session(&mut command);
        let child = command.spawn()?;
        let shared: Arc<Mutex<Shared>> = Arc::default();
        let (answers, in_thread) = (socket.try_clone()?, shared.clone());
        std::thread::Builder::new().name("reaper answers".into()).spawn(move || read_answers(&answers, &in_thread))?;
        Ok(Helper { child, socket, shared })
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Passes on what the helper says until it is gone.
fn read_answers(socket: &UnixStream, shared: &Mutex<Shared>) {
    while let Ok(Some(frame)) = frames::receive(socket) {
        let Some((number, status)) = frame.numbers() else { break };
        let mut shared = shared.lock();
        match frame.kind {
            kind::STARTED => {
                let pid = number.unsigned_abs();
                let (ended, end) = watch::channel(None);
                shared.running.insert(pid, ended);
                let waiter = shared.starts.pop_front();
                if waiter.is_none_or(|waiter| waiter.send(Ok((pid, end))).is_err()) {
                    // The requester stopped waiting.
                    spawn::signal_group(pid, Signal::KILL);
                }
            }
            kind::FAILED => {
                if let Some(waiter) = shared.starts.pop_front() {
                    let _ = waiter.send(Err(io::Error::from_raw_os_error(number)));
                }
            }
            kind::ENDED => {
                if let Some(ended) = shared.running.remove(&number.unsigned_abs()) {
                    let _ = ended.send(Some(ExitStatus::from_raw(status)));
                }
            }
            _ => {}
        }
    }
    // Dropping the senders tells those who wait.
    *shared.lock() = Shared { gone: true, ..Shared::default() };
}
