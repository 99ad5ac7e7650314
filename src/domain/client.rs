//! Clients of the engine: on whose behalf a call is made, and what servers see of the client. Pure.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{body::Body, event::LogLevel};

/// The name of the local principal.
const LOCAL: &str = "local";

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

#[cfg(test)]
mod tests {
    use super::*;

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
