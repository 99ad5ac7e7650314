//! What counts as a failure of the server, and what may be done about it.

use serde::{Deserialize, Serialize};

/// How an attempt counts for a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The server is alive.
    Success,
    /// The server failed.
    Failure,
    /// It says nothing about the server: our own refusals, cancelled calls, 401, 403, 429, a lost session.
    Neutral,
}

/// What counts as a failure: the classes that can be switched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counting {
    /// The connection could not be made.
    pub connect: bool,
    /// The connection ended, or the process did, before the answer.
    pub close: bool,
    /// The deadline of an attempt passed.
    pub timeout: bool,
    /// HTTP 500 to 599.
    pub server_error: bool,
    /// JSON-RPC errors that count, by code.
    pub codes: Vec<i64>,
    /// A tool's own error (`isError: true`).
    pub tool_error: bool,
}

impl Default for Counting {
    fn default() -> Self {
        Self { connect: true, close: true, timeout: true, server_error: true, codes: vec![-32603, -32000, -32001], tool_error: false }
    }
}
