//! The built-in demo servers: small, real MCP servers that run as child processes of this same
//! binary, so that the console can be tried without any set-up.
//!
//! This folder owns the servers ([`run_server`] is one of them from start to end), the folder and the
//! processes that they need ([`Demo`]) and the calls that keep them busy ([`Traffic`]). Only the
//! composition root calls it. `rmcp` and `rusqlite` are named nowhere else in this crate; nothing of
//! them shows outside: to the engine a demo server is a server like any other.
//!
//! Inside, `handler` speaks MCP for all of them by the `catalog` of each (`assets/demo/*.json`);
//! `database`, `email`, `analytics`, `preferences` and `flaky` do the work on the shared `store`.

mod analytics;
mod catalog;
mod database;
mod email;
mod flaky;
mod handler;
mod launch;
mod preferences;
mod process;
mod store;
mod traffic;

#[cfg(test)]
mod wire_tests;

use std::path::PathBuf;

pub use database::records;
pub use launch::Demo;
pub use process::run_server;
pub use traffic::{Traffic, opening, plan};

/// The names of the demo servers, in the order in which they are shown.
pub const NAMES: [&str; 5] = ["database", "email", "analytics", "preferences", "flaky"];

/// The name of the second replica of `flaky`.
pub const STANDBY: &str = "standby";

/// Error of the demo or of one of its servers.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// No demo server has this name.
    #[error("no demo server is named `{name}`; names are {}", NAMES.join(", "))]
    UnknownServer {
        /// The name that was given.
        name: String,
    },
    /// The folder for the shared state is missing or not a folder.
    #[error("the demo needs an existing folder for its state; {} is not a folder", path.display())]
    NoFolder {
        /// The path that was given.
        path: PathBuf,
    },
    /// This program's own path cannot be put on a command line.
    #[error("the path of this program, {}, is not valid UTF-8, so the demo cannot start itself; move the program", path.display())]
    ProgramPath {
        /// The path.
        path: PathBuf,
    },
    /// Something that the system refused.
    #[error("the demo could not {doing}")]
    Io {
        /// What was being done, for people.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A built-in description of a server cannot be read: a fault of this program.
    #[error("the description of the demo server `{name}` is broken")]
    Catalog {
        /// The server.
        name: &'static str,
        /// Where.
        source: serde_json::Error,
    },
    /// The connection could not be opened.
    #[error("the demo server could not talk to its client: {0}")]
    Handshake(String),
    /// The server crashed on request (`flaky`, mode `crash`).
    #[error("the demo server crashed on request")]
    Crashed,
}

impl DemoError {
    /// The exit code that the process has to end with: 3 for a crash on demand, 2 for wrong arguments, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            DemoError::Crashed => 3,
            DemoError::UnknownServer { .. } | DemoError::NoFolder { .. } => 2,
            _ => 1,
        }
    }

    /// For `map_err`: an I/O error while doing something.
    fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> DemoError {
        let doing = doing.into();
        move |source| DemoError::Io { doing, source }
    }
}
