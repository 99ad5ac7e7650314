//! Logins: what a server wants that refuses a request for lack of credentials. Pure.

use serde::{Deserialize, Serialize};

/// A login that a server wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginWanted {
    /// The scopes to ask for; empty if the server names none.
    pub scopes: Vec<String>,
    /// Why, for users.
    pub why: String,
}
