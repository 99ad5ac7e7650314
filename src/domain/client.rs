//! Clients of the engine: on whose behalf a call is made, and what servers see of the client. Pure.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    body::{self, Body},
    bounds,
    event::LogLevel,
    id::ClientId,
    server::Era,
    time::Stamp,
};

/// The name of the local principal.
const LOCAL: &str = "local";
/// Longest name or version of a client, in bytes.
const NAME: usize = 100;

/// On whose behalf calls are made. Cached responses and credentials of one principal never reach another.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Principal(Option<Arc<str>>);

impl Principal {
    /// Returns the user of this process: console, CLI, and clients without a token of their own.
    pub fn local() -> Principal {
        Principal(None)
    }

    /// Creates a principal by its name, that of its token.
    pub fn new(name: impl Into<Arc<str>>) -> Principal {
        let name = name.into();
        Principal((&*name != LOCAL).then_some(name))
    }

    /// Returns whether this is the user of this process.
    pub fn is_local(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or(LOCAL)
    }
}

impl From<String> for Principal {
    fn from(name: String) -> Principal {
        Principal::new(name)
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> String {
        principal.as_str().to_owned()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What servers see of a client. Declared once per session in the legacy era, and with each request in the modern era (MCP
/// 2026-07-28, basic, "Request metadata").
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Face {
    /// The capabilities that the client declares: a JSON object as received; empty for none.
    pub capabilities: Body,
    /// Name and version of the client: a JSON object as received; empty to use those of Switchboard.
    pub client_info: Body,
    /// The least severe log messages that the client wants; `None` for none.
    pub log_level: Option<LogLevel>,
}

/// The client that a session belongs to.
#[derive(Clone, Debug)]
pub struct Behalf {
    /// What the server is to see of it.
    pub face: Arc<Face>,
    /// On whose behalf it acts: the credentials are theirs.
    pub principal: Principal,
}

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientTransport {
    /// The standard streams of this process.
    Stdio,
    /// Streamable HTTP over TCP.
    Http,
    /// Streamable HTTP over a Unix socket.
    Unix,
    /// A tapped connection.
    Tap,
}

impl ClientTransport {
    /// Returns its display name.
    pub fn word(self) -> &'static str {
        match self {
            ClientTransport::Stdio => "stdio",
            ClientTransport::Http => "http",
            ClientTransport::Unix => "unix",
            ClientTransport::Tap => "tap",
        }
    }
}

/// A connected client, as it described itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientInfo {
    /// `clientInfo.name`.
    pub name: Option<Arc<str>>,
    /// `clientInfo.version`.
    pub version: Option<Arc<str>>,
    /// The era of its requests.
    pub era: Era,
    /// The version of the protocol, such as `2025-11-25`.
    pub protocol: Arc<str>,
    /// How it is connected.
    pub transport: ClientTransport,
    /// On whose behalf it calls.
    pub principal: Principal,
    /// The name of its profile.
    pub profile: Arc<str>,
}

impl ClientInfo {
    /// Returns the approximate size of its texts, in bytes.
    pub fn weight(&self) -> usize {
        let texts = [&self.name, &self.version];
        size_of::<ClientInfo>() + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
    }
}

/// Returns a name or version of `clientInfo`, cut to a bounded length.
pub fn info_text(client_info: &Body, member: &str) -> Option<Arc<str>> {
    let [value] = body::fields(client_info.bytes(), [member])?;
    let text: String = serde_json::from_str(value?.get()).ok()?;
    (!text.is_empty()).then(|| bounds::cut(&text, NAME).into())
}

/// The own session of a client at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientSession {
    /// The client that the session belongs to.
    pub client: ClientId,
    /// When it was opened.
    pub since: Stamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_client_is_a_text_of_bounded_length() {
        let info = Body::from(r#"{"title":"T","name":"claude-code","version":2}"#);
        assert_eq!(info_text(&info, "name").as_deref(), Some("claude-code"));
        for (info, member) in [(&info, "version"), (&Body::default(), "name"), (&Body::from(r#"{"name":""}"#), "name")] {
            assert_eq!(info_text(info, member), None, "{}", info.text());
        }
        let long = Body::json(&serde_json::json!({"name": "é".repeat(NAME)}));
        assert!(info_text(&long, "name").expect("a name").len() <= NAME + '…'.len_utf8());
    }

    #[test]
    fn only_the_local_principal_is_local() {
        assert!(Principal::default().is_local() && Principal::new("local").is_local());
        assert!(!Principal::new("ci").is_local() && !Principal::new("").is_local());
        for (principal, text) in [(Principal::new("ci"), "\"ci\""), (Principal::local(), "\"local\"")] {
            assert_eq!(serde_json::to_string(&principal).unwrap(), text);
            assert_eq!(serde_json::from_str::<Principal>(text).unwrap(), principal);
        }
    }
}
