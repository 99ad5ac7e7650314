//! Messages to the model and its commands: plain data that can be compared.

use std::sync::Arc;

use base64::Engine as _;

use crate::{
    control::{Command, SubmitError},
    domain::{
        body::Body,
        call::CallSpec,
        event::{Event, Notice},
        id::CallId,
        time::Stamp,
    },
};

use super::{
    ConsoleUpdate, WorkspaceRequest,
    background::{Job, Worked},
    input::Input,
};

/// A message to the model.
#[derive(Clone, Debug, PartialEq)]
pub enum Msg {
    /// Input of the user.
    Input(Input),
    /// The new size of the terminal, columns first.
    Resize(u16, u16),
    /// Events of the engine, in order.
    Events(Vec<Arc<Event>>),
    /// The engine has ended; no event follows.
    EngineGone,
    /// A tick: time passed while something on the screen moves.
    Tick(Stamp),
    /// The id of the call submitted by [`Cmd::Submit`] with this token.
    Submitted {
        /// The token of the command.
        token: u64,
        /// The call.
        call: CallId,
    },
    /// The call of [`Cmd::Submit`] with this token was not started.
    NotSubmitted {
        /// The token of the command.
        token: u64,
        /// Why.
        why: SubmitError,
    },
    /// The editor ended: the text, or an error.
    Edited(Result<String, String>),
    /// The editor of a file ended, or could not start.
    FileEdited(Result<(), String>),
    /// A file was written, or an error.
    Saved(Result<String, String>),
    /// The file to write exists already.
    Exists {
        /// Its path.
        path: String,
        /// The content to write.
        content: Content,
    },
    /// A background job finished.
    Worked(Box<Worked>),
    /// The file of an answer was read, or an error.
    FileRead(Result<String, String>),
    /// What a command or a request of this console came to.
    Notices(Vec<Notice>),
    /// An operation of the console failed.
    Trouble(String),
    /// A change of the workspace.
    Update(ConsoleUpdate),
}

/// The content of a file to write.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// These bytes.
    Bytes(Body),
    /// These bytes, in base64.
    Base64(Body),
}

impl Content {
    /// Returns its approximate length in bytes, without decoding it.
    pub fn len(&self) -> usize {
        match self {
            Content::Bytes(body) => body.len(),
            Content::Base64(body) => {
                let padding = body.bytes().iter().rev().take(2).filter(|b| **b == b'=').count();
                (body.len() / 4 * 3 + body.len() % 4 * 3 / 4).saturating_sub(padding)
            }
        }
    }

    /// Returns whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the bytes; `None` if the base64 is invalid. Line ends in base64 are ignored.
    pub fn bytes(&self) -> Option<Body> {
        match self {
            Content::Bytes(body) => Some(body.clone()),
            Content::Base64(body) => {
                let padding = base64::engine::DecodePaddingMode::Indifferent;
                let config = base64::engine::GeneralPurposeConfig::new().with_decode_padding_mode(padding);
                let engine = base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, config);
                let plain: Vec<u8> = body.bytes().iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
                engine.decode(plain).ok().map(Body::new)
            }
        }
    }
}

/// A command of the model to the loop.
#[derive(Clone, Debug, PartialEq)]
pub enum Cmd {
    /// Submit a call; its id is returned with the token.
    Submit {
        /// Chosen by the model.
        token: u64,
        /// The call.
        spec: CallSpec,
    },
    /// Send the engine a command.
    Command(Command),
    /// Send the workspace a request.
    Request(WorkspaceRequest),
    /// Read a page of the history for the traffic view, with a filter and before a call.
    ReadPast(String, CallId),
    /// Read a call of the history for the open row.
    ReadPastCall(CallId),
    /// Put text on the clipboard.
    Copy(String),
    /// Write a file.
    Save {
        /// The path, as typed by the user.
        path: String,
        /// The content.
        content: Content,
        /// Whether an existing file is replaced.
        overwrite: bool,
    },
    /// Write a file with a name of our own and open it in another program.
    OpenFile {
        /// Its name, without folder; never from a server.
        name: String,
        /// The content.
        content: Content,
    },
    /// Ask the terminal which graphics it has.
    AskGraphics,
    /// Send the terminal an image that placeholders refer to.
    SendImage(Arc<str>),
    /// Run this job in the background.
    Work(Job),
    /// Read a file for an answer.
    ReadFile(String),
    /// Open a URL in the browser; only `http` and `https`.
    OpenUrl(String),
    /// Open this text in `$EDITOR`.
    Edit(String),
    /// Open a file in `$EDITOR`.
    EditFile {
        /// Its path.
        path: String,
        /// The line to go to, from 1.
        line: Option<u32>,
    },
    /// Capture the mouse, or release it to the terminal.
    Mouse(bool),
    /// Redraw the complete screen.
    Redraw,
    /// Suspend until resumed by the shell.
    Suspend,
    /// End the console.
    Quit,
}
