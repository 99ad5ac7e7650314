//! What goes into the model and what it wants done: plain data that can be compared.

use std::sync::Arc;

use base64::Engine as _;

use crate::{
    domain::{body::Body, call::CallSpec, event::Event, id::CallId, time::Stamp},
    engine::control::Command,
};

use super::{
    ConsoleRequest, ConsoleUpdate,
    background::{Job, Worked},
    input::Input,
};

/// Something that happened to the console.
#[derive(Clone, Debug, PartialEq)]
pub enum Msg {
    /// The user did something.
    Input(Input),
    /// The terminal has this size now, columns first.
    Resize(u16, u16),
    /// The engine told this, in order.
    Events(Vec<Arc<Event>>),
    /// The engine is gone; no event follows.
    EngineGone,
    /// Time has passed, while something on the screen moves.
    Beat(Stamp),
    /// The call asked for by [`Cmd::Submit`] with this token has this id.
    Submitted {
        /// The token of the command.
        token: u64,
        /// The call.
        call: CallId,
    },
    /// The editor ended; the text, or why there is none.
    Edited(Result<String, String>),
    /// The editor that a file was opened in ended, or could not be started.
    FileEdited(Result<(), String>),
    /// A file was written, or why not.
    Saved(Result<String, String>),
    /// A file that should be written is there already.
    Exists {
        /// Where.
        path: String,
        /// What should be written.
        content: Content,
    },
    /// Work was done that was asked for.
    Worked(Box<Worked>),
    /// The file for an answer was read, or why not.
    FileRead(Result<String, String>),
    /// Something that the console tried did not work.
    Trouble(String),
    /// The composition root told this.
    Update(ConsoleUpdate),
}

/// What is written to a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// These bytes.
    Bytes(Body),
    /// What this base64 stands for.
    Base64(Body),
}

impl Content {
    /// Its bytes, about, without decoding it.
    pub fn len(&self) -> usize {
        match self {
            Content::Bytes(body) => body.len(),
            Content::Base64(body) => {
                let padding = body.bytes().iter().rev().take(2).filter(|b| **b == b'=').count();
                (body.len() / 4 * 3 + body.len() % 4 * 3 / 4).saturating_sub(padding)
            }
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes; `None` when it is no base64. Line ends in base64 do no harm.
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

/// Something that the model wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Cmd {
    /// Start a call; its id comes back with the token.
    Submit {
        /// Chosen by the model.
        token: u64,
        /// The call.
        spec: CallSpec,
    },
    /// Give the engine a command.
    Command(Command),
    /// Tell the composition root.
    Request(ConsoleRequest),
    /// Put text on the clipboard.
    Copy(String),
    /// Write a file.
    Save {
        /// Where, as the user typed it.
        path: String,
        /// What.
        content: Content,
        /// Whether one that is there is replaced.
        overwrite: bool,
    },
    /// Write a file of our own naming and open it in another program.
    OpenFile {
        /// Its name, without folder; never a server's.
        name: String,
        /// What is in it.
        content: Content,
    },
    /// Do this, but not while the screen waits.
    Work(Job),
    /// Read a file for an answer.
    ReadFile(String),
    /// Open an address in the browser; only `http` and `https`.
    OpenUrl(String),
    /// Let the user edit this text in `$EDITOR`.
    Edit(String),
    /// Let the user edit this file in `$EDITOR`.
    EditFile(String),
    /// Use the mouse, or leave it to the terminal.
    Mouse(bool),
    /// Draw everything anew.
    Redraw,
    /// Stop until resumed by the shell.
    Suspend,
    /// End the console.
    Quit,
}
