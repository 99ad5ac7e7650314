//! What the program and its helper say to each other over a socket.
//!
//! A frame is its kind, the length of its payload and the payload; open files travel with its first bytes. The words
//! of a command are separated by NUL, which an argument of a command cannot contain.

use std::{
    ffi::OsString,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{
            ffi::{OsStrExt, OsStringExt},
            net::UnixStream,
        },
    },
    path::PathBuf,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The files that a frame carries at most: the three pipes of a server.
const MOST_FILES: usize = 3;
/// The kind and the length.
const HEAD: usize = 5;

/// The kinds of frames.
pub mod kind {
    /// To the helper: start a server. Carries its stdin, stdout and stderr.
    pub const START: u8 = b'S';
    /// To the helper: nothing is left of the group of this server.
    pub const FORGET: u8 = b'F';
    /// To the helper: the program ended its servers itself, so that what is left had its time.
    pub const FINISH: u8 = b'Q';
    /// To the helper: the console takes the terminal that the frame carries; the payload restores its modes.
    pub const TERMINAL_TAKEN: u8 = b'T';
    /// To the helper: the console has given the terminal back.
    pub const TERMINAL_BACK: u8 = b't';
    /// From the helper: the process id of the server that was started.
    pub const STARTED: u8 = b's';
    /// From the helper: the error number of a start that failed.
    pub const FAILED: u8 = b'e';
    /// From the helper: a server has ended; its process id and wait status.
    pub const ENDED: u8 = b'x';
}

/// A message.
#[derive(Debug)]
pub struct Frame {
    /// What it is.
    pub kind: u8,
    /// What it says.
    pub payload: Vec<u8>,
    /// The open files that it carries.
    pub files: Vec<OwnedFd>,
}

impl Frame {
    /// The numbers of the payload.
    pub fn numbers(&self) -> Option<(i32, i32)> {
        let number = |at: usize| Some(i32::from_le_bytes(self.payload.get(at..at + 4)?.try_into().ok()?));
        Some((number(0)?, number(4)?))
    }
}

/// The payload of two numbers.
pub fn numbers(first: i32, second: i32) -> Vec<u8> {
    [first.to_le_bytes(), second.to_le_bytes()].concat()
}

/// Sends a frame with open files.
pub fn send(mut to: &UnixStream, kind: u8, payload: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let mut frame = Vec::with_capacity(HEAD + payload.len());
    frame.push(kind);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(payload);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = loop {
        match sendmsg(to, &[IoSlice::new(&frame)], &mut control, SendFlags::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    to.write_all(&frame[sent..])
}

/// Receives a frame and waits for all of it; `None` at the end.
pub fn receive(mut from: &UnixStream) -> io::Result<Option<Frame>> {
    let mut head = [0u8; HEAD];
    let mut files = vec![];
    let first = receive_some(from, &mut head, &mut files)?;
    if first == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[first..])?;
    let [kind, length @ ..] = head;
    let mut payload = vec![0; u32::from_le_bytes(length) as usize];
    from.read_exact(&mut payload)?;
    Ok(Some(Frame { kind, payload, files }))
}

fn receive_some(from: &UnixStream, buffer: &mut [u8], files: &mut Vec<OwnedFd>) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(from, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            files.extend(received);
        }
    }
    for file in files.iter() {
        let flags = rustix::io::fcntl_getfd(file.as_fd())?;
        rustix::io::fcntl_setfd(file.as_fd(), flags | rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(received.bytes)
}

/// A command as a frame carries it: all that starts a server but its pipes.
#[derive(Debug, PartialEq)]
pub struct Command {
    /// The folder that it starts in.
    pub cwd: PathBuf,
    /// The program and its arguments.
    pub words: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
}

impl Command {
    /// The payload. Errors: a word contains NUL, or a variable has no valid name.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let mut out = self.words.len().to_string().into_bytes();
        let mut word = |parts: &[&[u8]]| {
            out.push(0);
            for part in parts {
                if part.contains(&0) {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "a NUL character in the command or its environment"));
                }
                out.extend_from_slice(part);
            }
            Ok(())
        };
        word(&[self.cwd.as_os_str().as_bytes()])?;
        for text in &self.words {
            word(&[text.as_bytes()])?;
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is not the name of a variable")));
            }
            word(&[name.as_bytes(), b"=", value.as_bytes()])?;
        }
        Ok(out)
    }

    /// Reads a payload.
    pub fn decode(payload: &[u8]) -> Option<Command> {
        let mut parts = payload.split(|b| *b == 0);
        let count: usize = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let cwd = text(parts.next()?).into();
        let words: Vec<OsString> = parts.by_ref().take(count).map(text).collect();
        let env = parts.map(|part| {
            let at = part.iter().position(|b| *b == b'=')?;
            Some((text(&part[..at]), text(&part[at + 1..])))
        });
        let env: Option<Vec<_>> = env.collect();
        Some(Command { cwd, words, env: env? }).filter(|command| command.words.len() == count && count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_arrives_as_it_was_sent_and_files_with_it() {
        let command = Command {
            cwd: "/a b".into(),
            words: ["sh", "", "-c\n"].map(OsString::from).to_vec(),
            env: vec![("A".into(), OsString::from_vec(vec![0xff, b'='])), ("B".into(), "".into())],
        };
        let (here, there) = UnixStream::pair().unwrap();
        let (read, mut write) = io::pipe().unwrap();
        send(&here, kind::START, &command.encode().unwrap(), &[read.as_fd()]).unwrap();
        send(&here, kind::FORGET, &numbers(7, -1), &[]).unwrap();
        drop((here, read));
        let frame = receive(&there).unwrap().unwrap();
        assert_eq!((frame.kind, Command::decode(&frame.payload)), (kind::START, Some(command)));
        write.write_all(b"x").unwrap();
        drop(write);
        let mut text = String::new();
        std::fs::File::from(frame.files.into_iter().next().unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
        let next = receive(&there).unwrap().unwrap();
        assert_eq!((next.kind, next.numbers(), next.files.len()), (kind::FORGET, Some((7, -1)), 0));
        assert!(receive(&there).unwrap().is_none());
    }

    #[test]
    fn a_command_that_no_process_can_have_is_refused() {
        let command = |word: &str, name: &str| Command { cwd: "/".into(), words: vec![word.into()], env: vec![(name.into(), "1".into())] };
        assert!(command("a", "B").encode().is_ok());
        assert!(command("a\0b", "B").encode().is_err());
        assert!(command("a", "B=C").encode().is_err() && command("a", "").encode().is_err());
        assert_eq!(Command::decode(b""), None);
        assert_eq!(Command::decode(b"2\0/\0only-one"), None);
    }
}
