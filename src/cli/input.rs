//! Input of commands: confirmations at the terminal, and JSON from flags, files and stdin.

use std::io::{BufRead, BufReader, Read};

use tokio::sync::oneshot;

use super::session::{Session, Stop};
use crate::domain::{
    call::{Failure, FailureKind},
    request_meta, time,
};

/// Longest JSON object read from a file or stdin, in bytes.
const LONGEST_ARGUMENTS: u64 = 64 << 20;

/// Asks the user at the terminal after printing `notes`. `None` without a terminal.
pub(super) async fn ask_yes(session: &mut Session<'_>, question: &str, notes: impl FnOnce(&mut Session<'_>)) -> Result<Option<bool>, Stop> {
    if !session.printer.can_ask() {
        return Ok(None);
    }
    let Some(line) = session.read_line() else { return Ok(None) };
    notes(session);
    session.printer.question(question);
    let answer = session.or_signal(line).await?.ok().flatten().unwrap_or_default();
    Ok(Some(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")))
}

/// A line that the user types; `None` at the end of input.
pub(super) type TypedLine = oneshot::Receiver<Option<String>>;

/// Longest line that is read from the terminal, in bytes.
const LONGEST_LINE: u64 = 1 << 20;

/// Reads lines of the terminal on a thread, one for each request. A read from a terminal cannot be cancelled, so the thread is
/// abandoned at the end of the command.
pub(super) struct Lines(std::sync::mpsc::Sender<oneshot::Sender<Option<String>>>);

impl Lines {
    /// Starts reading. `None` if no thread can be started.
    pub fn start(stdin: Box<dyn Read + Send>) -> Option<Lines> {
        let (sender, requests) = std::sync::mpsc::channel::<oneshot::Sender<Option<String>>>();
        let read = move || {
            let mut lines = BufReader::new(stdin);
            for reply in requests {
                let mut line = String::new();
                let read = lines.by_ref().take(LONGEST_LINE).read_line(&mut line).unwrap_or(0);
                // The question may have been closed.
                let _ = reply.send((read > 0).then_some(line));
            }
        };
        std::thread::Builder::new().name("stdin".into()).spawn(read).ok()?;
        Some(Lines(sender))
    }

    /// Requests the next line.
    pub fn next(&self) -> TypedLine {
        let (reply, line) = oneshot::channel();
        // If the thread has ended, so has the input.
        let _ = self.0.send(reply);
        line
    }
}

/// Reads on a separate thread, which is abandoned when a signal arrives first: a read from a terminal cannot be cancelled,
/// and the runtime would wait for its own threads.
async fn read_in_thread<T: Send + 'static>(
    stdin: Box<dyn Read + Send>,
    read: impl FnOnce(Box<dyn Read + Send>) -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let (send, receive) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let _ = send.send(read(stdin));
    })?;
    receive.await.unwrap_or_else(|_| Err(std::io::Error::other("the reading thread ended")))
}

/// Returns the JSON of `flag`: itself, the text of the file that `@FILE` names, or that of stdin for `-`.
pub(super) async fn read_json(session: &mut Session<'_>, flag: &str, text: &str) -> Result<String, Stop> {
    if text != "-" {
        return read_argument(flag, text);
    }
    let unreadable = |why: String| Stop::from(Failure::new(FailureKind::InvalidArguments, format!("{flag} -: {why}")));
    let Some(stdin) = session.printer.take_stdin() else { return Err(unreadable("stdin is not available".into())) };
    let text = read_in_thread(stdin, read_limited);
    session.or_signal(text).await?.map_err(|error| unreadable(format!("stdin cannot be read: {error}")))
}

/// Returns the text of `flag`, or of the file that `@FILE` names.
pub(super) fn read_argument(flag: &str, text: &str) -> Result<String, Stop> {
    let Some(path) = text.strip_prefix('@') else { return Ok(text.to_owned()) };
    let read = std::fs::File::open(path).and_then(|file| read_limited(Box::new(file)));
    read.map_err(|error| Failure::new(FailureKind::InvalidArguments, format!("{flag}: {path} cannot be read: {error}")).into())
}

/// Reads the members of `--meta` for the requests of the session.
pub(super) async fn read_meta(session: &mut Session<'_>, text: Option<&str>) -> Result<(), Stop> {
    let Some(text) = text else { return Ok(()) };
    let text = read_json(session, "--meta", text).await?;
    session.meta = request_meta::parse(&text).map_err(|error| Failure::new(FailureKind::InvalidArguments, format!("--meta {error}")))?;
    Ok(())
}

fn read_limited(source: Box<dyn Read + Send>) -> std::io::Result<String> {
    let mut text = String::new();
    source.take(LONGEST_ARGUMENTS + 1).read_to_string(&mut text)?;
    // Editors on Windows write a byte order mark (RFC 8259, section 8.1: a parser may ignore it).
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    if text.len() as u64 > LONGEST_ARGUMENTS {
        return Err(std::io::Error::other(format!("the text is longer than {}", time::size(LONGEST_ARGUMENTS))));
    }
    Ok(text)
}
