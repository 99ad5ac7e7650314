//! The response to a call and its outcome.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Failure;
use crate::domain::{body::Body, time::Stamp};

/// The outcome of a call. Every call has exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A response.
    Ok {
        /// The `result` as received.
        result: Body,
    },
    /// A response with `isError: true`: the tool failed, but the server is up.
    ToolError {
        /// The `result` as received.
        result: Body,
    },
    /// No usable response.
    Failed {
        /// The failure.
        failure: Arc<Failure>,
    },
    /// Cancelled by the caller.
    Cancelled {
        /// By whom and why.
        reason: String,
    },
    /// A response that is not the final result, for a client that continues the call itself.
    Interim {
        /// The `result` as received.
        result: Body,
        /// What the server waits for.
        kind: InterimKind,
    },
}

/// What a server waits for that answered with an interim result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterimKind {
    /// Input (MCP 2026-07-28, `input_required`).
    InputRequired,
    /// Requests for the state and the result of a task.
    Task,
}

impl InterimKind {
    /// Returns the name for users.
    pub fn words(self) -> &'static str {
        match self {
            InterimKind::InputRequired => "input required",
            InterimKind::Task => "task",
        }
    }
}

impl Outcome {
    /// Returns the name for users: `ok`, `tool error`, the kind of failure, `cancelled`.
    pub fn words(&self) -> &'static str {
        match self {
            Outcome::Ok { .. } => "ok",
            Outcome::ToolError { .. } => "tool error",
            Outcome::Failed { failure } => failure.kind.words(),
            Outcome::Cancelled { .. } => "cancelled",
            Outcome::Interim { kind, .. } => kind.words(),
        }
    }

    /// Returns the result body, if there is one.
    pub fn result(&self) -> Option<&Body> {
        match self {
            Outcome::Ok { result } | Outcome::ToolError { result } | Outcome::Interim { result, .. } => Some(result),
            _ => None,
        }
    }
}

/// The response to a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The `result`, as received.
    pub result: Body,
    /// When its first byte was read.
    pub first_byte: Stamp,
    /// When its last byte was read.
    pub last_byte: Stamp,
    /// Bytes of the request.
    pub sent_bytes: u64,
    /// Bytes of the response.
    pub received_bytes: u64,
}
