//! The origin of a call.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::domain::id::ClientId;

/// The origin of a call. Serialised as text: `console`, `client:7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Origin {
    /// A user of the console.
    Console,
    /// The command line.
    Cli,
    /// The demo's background traffic.
    Demo,
    /// A step of a workflow.
    Workflow,
    /// A client of the gateway.
    Client(ClientId),
}

impl Origin {
    /// Returns the kind.
    pub fn kind(self) -> OriginKind {
        match self {
            Origin::Console => OriginKind::Console,
            Origin::Cli => OriginKind::Cli,
            Origin::Demo => OriginKind::Demo,
            Origin::Workflow => OriginKind::Workflow,
            Origin::Client(_) => OriginKind::Client,
        }
    }

    /// Returns the name for users, without the number of a client.
    pub fn word(self) -> &'static str {
        self.kind().word()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Client(client) => write!(f, "{}:{client}", self.word()),
            other => f.write_str(other.word()),
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Origin, String> {
        let unknown = || format!("unknown origin {text:?}");
        Ok(match text {
            "console" => Origin::Console,
            "cli" => Origin::Cli,
            "demo" => Origin::Demo,
            "workflow" => Origin::Workflow,
            other => {
                let number = other.strip_prefix("client:").filter(|number| number.bytes().all(|digit| digit.is_ascii_digit()));
                Origin::Client(ClientId(number.and_then(|number| number.parse().ok()).ok_or_else(unknown)?))
            }
        })
    }
}

impl TryFrom<String> for Origin {
    type Error = String;

    fn try_from(text: String) -> Result<Origin, String> {
        text.parse()
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> String {
        origin.to_string()
    }
}

/// The kind of an [`Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OriginKind {
    /// A user of the console.
    Console,
    /// The command line.
    Cli,
    /// The demo's background traffic.
    Demo,
    /// A step of a workflow.
    Workflow,
    /// A client of the gateway.
    Client,
}

impl OriginKind {
    /// All kinds.
    pub const ALL: [OriginKind; 5] = [OriginKind::Console, OriginKind::Cli, OriginKind::Demo, OriginKind::Workflow, OriginKind::Client];

    /// Returns the name for users.
    pub fn word(self) -> &'static str {
        match self {
            OriginKind::Console => "console",
            OriginKind::Cli => "cli",
            OriginKind::Demo => "demo",
            OriginKind::Workflow => "workflow",
            OriginKind::Client => "client",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_stored_as_text() {
        let all =
            [Origin::Console, Origin::Cli, Origin::Demo, Origin::Workflow, Origin::Client(ClientId(7)), Origin::Client(ClientId(u32::MAX))];
        for (origin, text) in all.into_iter().zip(["console", "cli", "demo", "workflow", "client:7", "client:4294967295"]) {
            assert_eq!(serde_json::to_string(&origin).unwrap(), format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Origin>(&format!("{text:?}")).unwrap(), origin);
        }
        for text in ["client", "client:", "client:+7", "client:4294967296", "Console", ""] {
            assert!(text.parse::<Origin>().is_err(), "{text:?}");
        }
        assert_eq!(OriginKind::ALL.map(OriginKind::word), ["console", "cli", "demo", "workflow", "client"]);
    }
}
