//! The terminal as a source of input: one thread that waits for bytes and sends what they say.
//!
//! crossterm's own reader spins for ever on a terminal that is gone (it repeats a read of zero bytes),
//! and it cannot be told to leave the terminal to an editor. This one waits in `poll` on the terminal
//! and on a pipe that wakes it, so it costs nothing while idle, ends at once when asked and reports a
//! dead terminal exactly once. Named by the loop only.

mod parse;

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    os::fd::{AsFd, OwnedFd},
    thread::JoinHandle,
};

use crossterm::event::{KeyEvent, MouseEvent};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};
use tokio::sync::mpsc;

pub use parse::{PASTE_LIMIT, Parser};

/// How long an escape may stay alone before it is the Esc key, in milliseconds.
const ESCAPE_MS: i64 = 25;
/// How many inputs wait for the loop at most; then the terminal waits.
const QUEUE: usize = 256;

/// Something from the terminal.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A key was pressed or repeats.
    Key(KeyEvent),
    /// The mouse did something.
    Mouse(MouseEvent),
    /// Text was pasted; its line ends are line feeds.
    Paste(String),
    /// A paste had more bytes than [`PASTE_LIMIT`] and was dropped as a whole.
    PasteRefused {
        /// How many it had.
        bytes: usize,
    },
    /// The terminal is gone; nothing follows.
    Gone,
}

/// A running reader. Dropping it ends the thread.
pub struct Reader {
    inputs: Option<mpsc::Receiver<Input>>,
    wake: Option<io::PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts reading the terminal: stdin when it is one, else the controlling terminal.
    pub fn start() -> io::Result<Reader> {
        let stdin = io::stdin();
        // Closed on exec, as the pipe below is: a server that is started must not hold the terminal open.
        let terminal = if stdin.is_terminal() { stdin.as_fd().try_clone_to_owned()? } else { File::open("/dev/tty")?.into() };
        Reader::read_from(terminal)
    }

    fn read_from(terminal: OwnedFd) -> io::Result<Reader> {
        // A writing end that a server inherits would never close, and dropping the reader would wait for ever.
        let (woken, wake) = io::pipe()?;
        let (send, inputs) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("terminal input".into()).spawn(move || read(terminal, &woken, &send))?;
        Ok(Reader { inputs: Some(inputs), wake: Some(wake), thread: Some(thread) })
    }

    /// The next input; never resolves once the terminal was reported gone. Cancel-safe.
    pub async fn next(&mut self) -> Input {
        match &mut self.inputs {
            Some(inputs) => match inputs.recv().await {
                Some(input) => input,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// The next input if there is one now.
    pub fn try_next(&mut self) -> Option<Input> {
        self.inputs.as_mut()?.try_recv().ok()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // First the queue, in which the thread may wait, then the pipe, on which it may.
        drop(self.inputs.take());
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(terminal: OwnedFd, woken: &io::PipeReader, send: &mpsc::Sender<Input>) {
    let mut file = File::from(terminal);
    let (mut parser, mut out, mut buffer) = (Parser::default(), Vec::new(), [0u8; 4096]);
    loop {
        let wait = Timespec { tv_sec: 0, tv_nsec: ESCAPE_MS * 1_000_000 };
        let mut fds = [PollFd::new(&file, PollFlags::IN), PollFd::new(woken, PollFlags::IN)];
        match rustix::event::poll(&mut fds, parser.waiting().then_some(&wait)) {
            Err(Errno::INTR) => continue,
            Err(_) => break,
            Ok(_) => {}
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        if fds[0].revents().is_empty() {
            parser.settle(&mut out);
        } else {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => parser.advance(&buffer[..read], &mut out),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            }
        }
        for input in out.drain(..) {
            if send.blocking_send(input).is_err() {
                return;
            }
        }
    }
    let _ = send.blocking_send(Input::Gone);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossterm::event::KeyCode;
    use std::io::Write;

    #[tokio::test]
    async fn a_dead_terminal_is_reported_once_and_an_end_is_immediate() {
        let (terminal, mut other) = io::pipe().unwrap();
        let mut reader = Reader::read_from(terminal.into()).unwrap();
        other.write_all(b"a\x1b").unwrap();
        assert!(matches!(reader.next().await, Input::Key(k) if k.code == KeyCode::Char('a')));
        assert!(matches!(reader.next().await, Input::Key(k) if k.code == KeyCode::Esc), "a lone escape is a key after a moment");
        drop(other);
        assert_eq!(reader.next().await, Input::Gone);
        assert!(reader.thread.take().unwrap().join().is_ok(), "the thread has ended");

        let (terminal, _other) = io::pipe().unwrap();
        drop(Reader::read_from(terminal.into()).unwrap());
    }
}
