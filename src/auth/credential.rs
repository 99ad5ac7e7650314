//! Stored credentials: a client's registration with an authorization server, and its tokens for one server and principal.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::domain::{login::Grant, secret::Secret};

/// The version of the format.
pub(super) const VERSION: u32 = 1;

/// A credential.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Credential {
    /// The version of the format.
    pub(super) v: u32,
    /// The URL of the MCP server as configured.
    pub(super) server: String,
    /// On whose behalf it is used.
    pub(super) principal: String,
    /// The resource indicator (RFC 8707), as the server's metadata writes it.
    pub(super) resource: String,
    /// The issuer of the authorization server.
    pub(super) issuer: Option<String>,
    /// The registration.
    pub(super) client: Client,
    /// How the token was obtained.
    pub(super) grant: Grant,
    /// The tokens.
    pub(super) token: Token,
    /// The scopes that were asked for.
    pub(super) requested: Vec<String>,
    /// The scopes that were granted.
    pub(super) granted: Vec<String>,
    /// The metadata of the authorization server (RFC 8414).
    pub(super) metadata: Value,
    /// Counts the tokens of a server and a principal.
    pub(super) generation: u64,
    /// Why the token is not used any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rejected: Option<String>,
    /// Whether its secrets are in the keyring; empty texts are in their place in the file.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(super) in_keyring: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// The secrets of a credential, as they are stored in the keyring.
#[derive(Serialize, Deserialize)]
pub(super) struct CredentialSecrets {
    access: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<String>,
}

/// A client as the authorization server knows it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Client {
    pub(super) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) secret: Option<String>,
    pub(super) kind: ClientKind,
    /// The redirect URI of the registration.
    pub(super) redirect: String,
    /// When the secret expires, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) secret_expires: Option<u64>,
}

/// How a client was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientKind {
    /// By hand.
    PreRegistered,
    /// By a Client ID Metadata Document.
    MetadataDocument,
    /// Dynamically (RFC 7591).
    Dynamic,
}

/// The tokens.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) access: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh: Option<String>,
    /// When it was received, in seconds since the Unix epoch.
    pub(super) received: u64,
    /// Its lifetime in seconds, if the server said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_in: Option<u64>,
}

// Never with their values.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("server", &self.server).field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// When a token is used, and when it is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It is valid.
    Valid,
    /// It is valid, but about to expire.
    Aging,
    /// It has expired.
    Expired,
}

/// A token is replaced in the last fifth of its life, at most this many seconds before its end.
const MARGIN: u64 = 60;

impl Token {
    /// Reads a token response (RFC 6749, section 5.1). `previous` is the refresh token that remains valid if there is none.
    pub(super) fn read(response: &Value, received: u64, previous: Option<&str>) -> Option<Token> {
        let text = |key: &str| response[key].as_str().filter(|text| !text.is_empty());
        let seconds = &response["expires_in"];
        Some(Token {
            access: text("access_token")?.to_owned(),
            refresh: text("refresh_token").or(previous).map(str::to_owned),
            received,
            // Some servers write the number as a text.
            expires_in: seconds.as_u64().or_else(|| seconds.as_str()?.parse().ok()),
        })
    }

    /// Returns when it expires, in seconds since the Unix epoch.
    pub(super) fn expires(&self) -> Option<u64> {
        Some(self.received.saturating_add(self.expires_in?))
    }

    /// Returns its state at `now`. `jitter` (0 to 1) spreads processes that share it.
    pub(super) fn freshness(&self, now: u64, jitter: f64) -> Freshness {
        let (Some(expires), Some(life)) = (self.expires(), self.expires_in) else { return Freshness::Valid };
        let margin = MARGIN.min(life / 5);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a minute")]
        let margin = margin - (margin as f64 * 0.25 * jitter) as u64;
        match expires.saturating_sub(now) {
            0 => Freshness::Expired,
            left if left <= margin => Freshness::Aging,
            _ => Freshness::Valid,
        }
    }
}

impl Credential {
    /// Returns whether its token may be sent.
    pub(super) fn usable(&self) -> bool {
        self.rejected.is_none()
    }

    /// Returns the name of its file without extension: from everything that must not be mixed up.
    pub(super) fn key(&self) -> String {
        key_of(&[&self.server, self.issuer.as_deref().unwrap_or_default(), &self.client.id, &self.principal])
    }

    /// Returns the scopes of the login.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &String> {
        self.requested.iter().chain(&self.granted)
    }

    /// Returns the secrets for the keyring, and the rest for the file.
    pub(super) fn split(&self) -> (CredentialSecrets, Credential) {
        let secrets = CredentialSecrets {
            access: self.token.access.clone(),
            refresh: self.token.refresh.clone(),
            client: self.client.secret.clone(),
        };
        let mut rest = Credential { in_keyring: true, ..self.clone() };
        rest.token.access.clear();
        for secret in [&mut rest.token.refresh, &mut rest.client.secret].into_iter().flatten() {
            secret.clear();
        }
        (secrets, rest)
    }

    /// Returns the credential with secrets from the keyring.
    pub(super) fn with_secrets(mut self, secrets: CredentialSecrets) -> Credential {
        (self.token.access, self.token.refresh, self.client.secret) = (secrets.access, secrets.refresh, secrets.client);
        self
    }

    /// Returns the values that must not be shown.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        let texts = [Some(&self.token.access), self.token.refresh.as_ref(), self.client.secret.as_ref()];
        texts.into_iter().flatten().map(Secret::literal).collect()
    }
}

/// Returns 16 hexadecimal digits of the SHA-256 of these parts.
pub(super) fn key_of(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(response: Value) -> Token {
        Token::read(&response, 1000, Some("old")).unwrap()
    }

    #[test]
    fn a_token_is_replaced_in_the_last_fifth_of_its_life() {
        let short = token(json!({"access_token": "a", "token_type": "bearer", "expires_in": 10}));
        let state = |token: &Token, now| token.freshness(now, 0.0);
        assert_eq!([1000, 1007, 1008, 1010, 9999].map(|now| state(&short, now)), {
            use Freshness::{Aging, Expired, Valid};
            [Valid, Valid, Aging, Expired, Expired]
        });
        let long = token(json!({"access_token": "a", "expires_in": "3600", "refresh_token": "new"}));
        assert_eq!((state(&long, 4539), state(&long, 4540)), (Freshness::Valid, Freshness::Aging));
        assert_eq!(long.freshness(4540, 1.0), Freshness::Valid);
        assert_eq!((short.refresh.as_deref(), long.refresh.as_deref()), (Some("old"), Some("new")));
        let endless = token(json!({"access_token": "a"}));
        assert_eq!(state(&endless, u64::MAX), Freshness::Valid);
        assert!(Token::read(&json!({"error": "x"}), 0, None).is_none());
    }

    #[test]
    fn a_key_covers_each_part_separately() {
        assert_ne!(key_of(&["ab", "c"]), key_of(&["a", "bc"]));
        assert_eq!(key_of(&["a"]).len(), 16);
    }
}
