//! Failures of logins and refreshes.

use std::fmt;

use crate::domain::login::LOGIN_LIMIT;

/// Why a token is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthFailure {
    /// A later attempt may succeed: the network, the authorization server, or a lock.
    Transient(String),
    /// The authorization server refused.
    Refused(String),
    /// The authorization server does not know the client any more.
    ClientUnknown(String),
    /// The server does not use OAuth, or in a way that this program does not support.
    Unsupported(String),
    /// Something on this machine: the store, the listener, the configuration.
    Local(String),
    /// Nobody finished the login in time.
    TimedOut,
    /// The user cancelled the login.
    Cancelled,
}

impl fmt::Display for AuthFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AuthFailure::Transient(why) | AuthFailure::Unsupported(why) | AuthFailure::Local(why) => f.write_str(why),
            AuthFailure::Refused(why) => write!(f, "the authorization server refused: {why}"),
            AuthFailure::ClientUnknown(why) => write!(f, "the authorization server does not accept this client: {why}"),
            AuthFailure::TimedOut => {
                write!(f, "the login was not finished within {} minutes; start it again", LOGIN_LIMIT.as_secs() / 60)
            }
            AuthFailure::Cancelled => f.write_str("the login was cancelled"),
        }
    }
}

impl std::error::Error for AuthFailure {}
