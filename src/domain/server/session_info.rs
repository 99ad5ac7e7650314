//! The self-description of a connected server, with the protocol era in use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{body::Body, time::Stamp};

/// The protocol era of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// Sessions opened by `initialize`, 2025-11-25 and older.
    Legacy,
    /// Stateless requests, 2026-07-28 and newer.
    Modern,
}

/// The self-description of a connected server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The era in use.
    pub era: Era,
    /// The negotiated protocol version, such as `2025-11-25`.
    pub protocol: String,
    /// `serverInfo.name`.
    pub name: Option<String>,
    /// `serverInfo.title`.
    pub title: Option<String>,
    /// `serverInfo.version`.
    pub version: Option<String>,
    /// `instructions`.
    pub instructions: Option<String>,
    /// The capabilities object as received.
    pub capabilities: Body,
    /// Process id of a stdio server.
    pub pid: Option<u32>,
    /// Time of the handshake.
    pub since: Stamp,
    /// Duration of start and handshake.
    pub took: Duration,
    /// How long the probe for the era was waited for without an answer, as part of `took`.
    #[serde(default)]
    pub probe_unanswered: Option<Duration>,
    /// Whether the connection uses the HTTP+SSE transport of 2024-11-05.
    #[serde(default)]
    pub http_sse: bool,
}

impl SessionInfo {
    /// Creates the description of a server that only declares tools, over an instant connection.
    pub fn bare(since: Stamp) -> Self {
        Self {
            era: Era::Legacy,
            protocol: "2025-11-25".into(),
            name: None,
            title: None,
            version: None,
            instructions: None,
            capabilities: Body::from(r#"{"tools":{}}"#),
            pid: None,
            since,
            took: Duration::ZERO,
            probe_unanswered: None,
            http_sse: false,
        }
    }

    /// Returns whether the negotiated version has results that request input (`input_required`, MCP 2026-07-28).
    pub fn has_input_rounds(&self) -> bool {
        self.era == Era::Modern
    }

    /// Returns whether a call of a tool may ask to be run as a task: the negotiated version has such tasks, and the server
    /// declares them for tools (MCP 2025-11-25, basic/utilities/tasks, "Capabilities").
    pub fn takes_tasks(&self) -> bool {
        self.has_tasks() && self.declares(&["tasks", "requests", "tools", "call"])
    }

    /// Returns whether the negotiated version has tasks, and the error -32042 that asks to open pages first: only
    /// 2025-11-25 does.
    pub fn has_tasks(&self) -> bool {
        self.era == Era::Legacy && self.protocol == "2025-11-25"
    }

    /// Returns the approximate size of its texts, in bytes.
    pub fn weight(&self) -> usize {
        let texts = [&self.name, &self.title, &self.version, &self.instructions];
        size_of::<SessionInfo>() + self.capabilities.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }

    /// Returns whether the server declared the capability at `path` (`["resources", "subscribe"]`).
    pub fn declares(&self, path: &[&str]) -> bool {
        let Some(mut value) = self.capabilities.value() else { return false };
        for key in path {
            match value.get_mut(*key) {
                Some(inner) => value = inner.take(),
                None => return false,
            }
        }
        !matches!(value, serde_json::Value::Null | serde_json::Value::Bool(false))
    }
}
