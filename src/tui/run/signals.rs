//! The signals that the console handles.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Console, Terminal};
use crate::tui::{input::Reader, msg::Msg, pacer::Cause};

/// Why the console ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Left {
    /// The user left.
    #[default]
    Quit,
    /// SIGINT from outside.
    Interrupted,
    /// SIGTERM came.
    Terminated,
    /// The terminal was closed (SIGHUP).
    HungUp,
}

/// The signals that the console handles.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    stop: Signal,
    resumed: Signal,
    resized: Signal,
}

/// A signal that the console handles.
pub(super) enum SignalEvent {
    Interrupt,
    End(Left),
    Stop,
    Resumed,
    Resized,
}

impl Signals {
    pub(super) fn new() -> io::Result<Signals> {
        // tokio knows SIGTSTP and SIGCONT by number only.
        let by_number = |signal: rustix::process::Signal| SignalKind::from_raw(signal.as_raw());
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            stop: signal(by_number(rustix::process::Signal::TSTP))?,
            resumed: signal(by_number(rustix::process::Signal::CONT))?,
            resized: signal(SignalKind::window_change())?,
        })
    }

    pub(super) async fn next(&mut self) -> SignalEvent {
        tokio::select! {
            _ = self.interrupt.recv() => SignalEvent::Interrupt,
            _ = self.terminate.recv() => SignalEvent::End(Left::Terminated),
            _ = self.hang_up.recv() => SignalEvent::End(Left::HungUp),
            _ = self.stop.recv() => SignalEvent::Stop,
            _ = self.resumed.recv() => SignalEvent::Resumed,
            _ = self.resized.recv() => SignalEvent::Resized,
        }
    }
}

impl Console {
    pub(super) fn signal(&mut self, signal: SignalEvent, terminal: &mut Terminal) -> io::Result<()> {
        (self.heard)();
        match signal {
            // Ctrl-C in the editor reaches this process too; it belongs to the editor.
            SignalEvent::Interrupt if self.editing.is_some() => {}
            SignalEvent::Interrupt => (self.ended, self.left) = (true, Left::Interrupted),
            SignalEvent::End(why) => (self.ended, self.left) = (true, why),
            SignalEvent::Stop => self.suspend(terminal)?,
            // Our own suspension ends with this signal too, after everything was restored.
            SignalEvent::Resumed if std::mem::take(&mut self.stopped_here) => {}
            SignalEvent::Resumed if self.editing.is_none() => {
                terminal.resume()?;
                self.resized(terminal)?;
            }
            SignalEvent::Resumed => {}
            SignalEvent::Resized => self.resized(terminal)?,
        }
        Ok(())
    }

    pub(super) fn resized(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        let (width, height) = terminal.size();
        self.dispatch(Msg::Resize(width, height), Cause::Input, terminal)
    }

    pub(super) fn suspend(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        let reading = self.reader.take().is_some();
        self.stopped_here = true;
        terminal.suspend()?;
        if self.editing.is_some() {
            // The editor was suspended with us and has the terminal again.
            terminal.pause();
        } else if reading {
            self.reader = Some(Reader::start()?);
            self.resized(terminal)?;
        }
        Ok(())
    }
}
