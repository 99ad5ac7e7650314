//! The pager of long output: a program that gets the output on its stdin.

use std::{
    io::{self, Write},
    process::{Child, ChildStdin, Command, Stdio},
};

/// A running pager. Dropping it ends its input and waits for it.
pub struct Pager {
    child: Child,
    input: Option<ChildStdin>,
}

impl Pager {
    /// Starts the pager with a command line of the shell. `less` gets the options of git: it ends if the output fits on the screen
    /// (F), shows colours (R) and leaves the screen as it is (X).
    pub fn start(command: &str) -> io::Result<Pager> {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(command).stdin(Stdio::piped());
        if std::env::var_os("LESS").is_none() {
            shell.env("LESS", "FRX");
        }
        let mut child = shell.spawn()?;
        let input = child.stdin.take();
        Ok(Pager { child, input })
    }
}

impl Write for Pager {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.input {
            Some(input) => input.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.input.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        self.input = None;
        // It ends when the user quits it.
        let _ = self.child.wait();
    }
}
