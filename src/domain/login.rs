//! Logins: what a server wants that refuses a request for lack of credentials, and how logins are configured. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::secret::Secret;

/// How long a login waits for its user.
pub const LOGIN_LIMIT: Duration = Duration::from_secs(300);

/// A login that a server wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginWanted {
    /// The scopes to ask for; empty if the server names none.
    pub scopes: Vec<String>,
    /// Why, for users.
    pub why: String,
    /// The command that logs in.
    #[serde(default)]
    pub command: String,
}

/// The OAuth settings of one server (`auth`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AuthSettings {
    /// Whether OAuth is used at all.
    pub mode: AuthMode,
    /// The grant that gets tokens.
    pub grant: Grant,
    /// The client id that was registered with the authorization server by hand.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<Secret>,
    /// The URL of the Client ID Metadata Document, for authorization servers that support one.
    pub client_metadata_url: Option<String>,
    /// The scopes to ask for in addition to those that the server demands.
    pub scopes: Vec<String>,
    /// The resource indicator (RFC 8707), sent as written; that of the server's metadata if absent.
    pub resource: Option<String>,
    /// The loopback host in the redirect URI.
    pub callback_host: CallbackHost,
    /// The port of the redirect URI; any free one if absent.
    pub callback_port: Option<u16>,
    /// Hosts that may have addresses of a private network.
    pub allow_hosts: Vec<String>,
    /// Whether each client of the gateway with a token of its own needs a login of its own.
    pub per_principal: bool,
}

/// Where the secrets of stored logins are (`[auth] store`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecretPlace {
    /// In the files of the state folder.
    #[default]
    File,
    /// In the keyring of the desktop.
    Keyring,
}

/// Whether a server uses OAuth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// When the server asks for it.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// How tokens are obtained (RFC 6749, section 1.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// A user logs in (authorization code with PKCE).
    #[default]
    Code,
    /// The client's own credentials, without a user.
    ClientCredentials,
}

/// The host in a loopback redirect URI. Authorization servers compare it as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CallbackHost {
    /// `127.0.0.1` (RFC 8252, section 7.3).
    #[default]
    #[serde(rename = "127.0.0.1")]
    Literal,
    /// `localhost`, for authorization servers that accept only this name.
    #[serde(rename = "localhost")]
    Name,
}

impl CallbackHost {
    /// Returns the host.
    pub fn as_str(self) -> &'static str {
        match self {
            CallbackHost::Literal => "127.0.0.1",
            CallbackHost::Name => "localhost",
        }
    }
}
