//! The terminal reader: one thread that waits for bytes and sends the parsed input.
//!
//! crossterm's own reader loops forever on a closed terminal (it repeats a read of zero bytes),
//! and it cannot release the terminal to an editor. This reader waits in `poll` on the terminal
//! and on a wake-up pipe, so it uses no CPU while idle, stops immediately and reports a
//! closed terminal exactly once. Used by the loop only.

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

use super::graphics::TerminalReply;

/// How long a single escape byte waits before it is the Esc key, in milliseconds.
const ESCAPE_MS: i64 = 25;
/// Capacity of the input queue; when it is full, the terminal waits.
const QUEUE: usize = 256;

/// Input from the terminal.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A key press or repeat.
    Key(KeyEvent),
    /// A mouse event.
    Mouse(MouseEvent),
    /// Pasted text, with line feeds as line ends.
    Paste(String),
    /// A paste was longer than [`PASTE_LIMIT`] and was dropped completely.
    PasteRefused {
        /// Its length.
        bytes: usize,
    },
    /// The terminal replied to the query for graphics.
    Reply(TerminalReply),
    /// The terminal is closed; no input follows.
    Gone,
}

/// A running reader. Dropping it ends the thread.
pub struct Reader {
    inputs: Option<mpsc::Receiver<Input>>,
    wake: Option<io::PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts to read the terminal: stdin if it is one, otherwise the controlling terminal.
    pub fn start() -> io::Result<Reader> {
        let stdin = io::stdin();
        // Close on exec, like the pipe below: a child server must not hold the terminal open.
        let terminal = if stdin.is_terminal() { stdin.as_fd().try_clone_to_owned()? } else { File::open("/dev/tty")?.into() };
        Reader::read_from(terminal)
    }

    fn read_from(terminal: OwnedFd) -> io::Result<Reader> {
        // A write end that a child server inherits would never close, and dropping the reader would wait forever.
        let (woken, wake) = io::pipe()?;
        let (send, inputs) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("terminal input".into()).spawn(move || read(terminal, &woken, &send))?;
        Ok(Reader { inputs: Some(inputs), wake: Some(wake), thread: Some(thread) })
    }

    /// Returns the next input; never resolves after the terminal was reported closed. Cancel-safe.
    pub async fn next(&mut self) -> Input {
        match &mut self.inputs {
            Some(inputs) => match inputs.recv().await {
                Some(input) => input,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Returns the next input if one is queued.
    pub fn try_next(&mut self) -> Option<Input> {
        self.inputs.as_mut()?.try_recv().ok()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // First the queue, in which the thread may wait, then the pipe, on which it may wait.
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
