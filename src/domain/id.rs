//! Identifiers. Names are structured and looked up; they are never split at a separator.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A server's key in the configuration, unique within an engine.
///
/// It identifies the server. The name that a server reports (`serverInfo.name`) is not unique and only displayed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerId(Arc<str>);

impl ServerId {
    /// Creates an id from a configuration key.
    pub fn new(key: impl Into<Arc<str>>) -> Self {
        Self(key.into())
    }

    /// Returns the configuration key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<&str> for ServerId {
    fn from(key: &str) -> Self {
        Self::new(key)
    }
}

/// A tool of one server, by the server's own name for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ToolId {
    /// The server that lists the tool.
    pub server: ServerId,
    /// The tool's own name, as listed by the server.
    pub name: Arc<str>,
}

impl ToolId {
    /// Creates an id from a server and the tool's own name.
    pub fn new(server: ServerId, name: impl Into<Arc<str>>) -> Self {
        Self { server, name: name.into() }
    }
}

/// The id of one logical call, ordered by time.
///
/// The upper 42 bits are milliseconds since the Unix epoch, the lower 22 count within the engine,
/// so that ids sort by time and can serve as a primary key and as a page cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub u64);

impl CallId {
    /// Creates the id of the `count`th call at `unix_ms` milliseconds since the Unix epoch.
    pub fn from_parts(unix_ms: u64, count: u64) -> Self {
        Self((unix_ms << 22) | (count & 0x3f_ffff))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// The call that a message of a server belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attribution {
    /// The transport says so: the message came on the response stream of this call.
    Stream(CallId),
    /// Only this call was in flight. For display: the server may have meant none.
    Likely(CallId),
    /// None, or an unknown one.
    #[default]
    None,
}

impl Attribution {
    /// Returns the call if it is certain. Only then may anything of one client follow from it.
    pub fn certain(self) -> Option<CallId> {
        match self {
            Attribution::Stream(call) => Some(call),
            Attribution::Likely(_) | Attribution::None => None,
        }
    }

    /// Returns the call, certain or not, for display.
    pub fn likely(self) -> Option<CallId> {
        match self {
            Attribution::Stream(call) | Attribution::Likely(call) => Some(call),
            Attribution::None => None,
        }
    }
}

/// The id of a server's question in the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AskId(pub u64);

/// A client of the engine: a face attached to it through Control, or a program connected to the gateway. Unique within one run of
/// the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u32);

impl ClientId {
    /// The faces of the engine's own process: console, CLI and the workflows that they start.
    pub const LOCAL: ClientId = ClientId(0);

    /// Returns whether this is [`ClientId::LOCAL`].
    pub fn is_local(&self) -> bool {
        *self == ClientId::LOCAL
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One run of an engine. Ids of calls, clients and questions are unique within it only.
///
/// Random, so that two engines differ without a common register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub u32);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}
