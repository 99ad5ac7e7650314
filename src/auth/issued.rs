//! Bearer tokens for the gateway's own listener, issued by name. Their SHA-256 digests are in one private file of the state folder.
//!
//! A running gateway sees every change with the next request. The file remains when the last token is revoked, so that a listener never
//! becomes open by a revocation.

use std::{fs, io, os::unix::fs::MetadataExt, path::PathBuf, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    domain::secret::Secret,
    files::{self, Allowed},
};

/// The file, in the state folder.
const FILE: &str = "gateway-tokens.json";
/// Maximum size of the file, in bytes.
const LARGEST: u64 = 1 << 20;
/// Maximum length of a name, in bytes.
const NAME: usize = 64;
/// What a token begins with, so that searches for leaked tokens find it.
const PREFIX: &str = "sbt_";
/// The principal of requests without a token.
const LOCAL: &str = "local";

/// The SHA-256 digest of a token.
type Digest = [u8; 32];

/// The tokens of a state folder.
#[derive(Debug)]
pub struct IssuedTokens {
    path: PathBuf,
    /// What was read last, and from which version of the file.
    read: Mutex<(Option<FileVersion>, Arc<[Entry]>)>,
}

/// Identity, size and time of change of a file: another one after each [`files::replace`].
type FileVersion = (u64, u64, i64, i64);

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    name: Arc<str>,
    /// Hexadecimal.
    sha256: String,
    /// When it was created, in seconds since the Unix epoch.
    created: u64,
}

/// A token, without what it consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedToken {
    /// Its name: the principal of its requests.
    pub name: Arc<str>,
    /// When it was created, in seconds since the Unix epoch.
    pub created: u64,
}

/// Why a token was not issued or revoked.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The name cannot be used.
    #[error("{0:?} cannot be the name of a token: 1 to 64 letters, digits and . _ - except \"local\"")]
    Name(String),
    /// A token has this name.
    #[error("a token named {0} exists")]
    Exists(String),
    /// The file cannot be used.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
}

impl IssuedTokens {
    /// Returns the tokens of a state folder.
    pub fn new(state: &std::path::Path) -> IssuedTokens {
        IssuedTokens { path: state.join(FILE), read: Mutex::new((None, Arc::default())) }
    }

    /// Returns whether a token was ever created, so that requests need one.
    pub fn required(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok()
    }

    /// Returns the name of a token; `None` if it is unknown or was revoked. Takes a time that does not depend on the tokens' contents.
    pub fn principal(&self, token: &[u8]) -> Option<Arc<str>> {
        let digest = hexadecimal(&Sha256::digest(token).into());
        let entries = self.entries();
        let mut found = None;
        // To the end, also after a match.
        for entry in entries.iter() {
            if equal(entry.sha256.as_bytes(), digest.as_bytes()) {
                found = Some(entry.name.clone());
            }
        }
        found
    }

    /// Returns the tokens in the order of their creation.
    pub fn list(&self) -> Result<Vec<IssuedToken>, IssueError> {
        let entries = self.load()?;
        Ok(entries.iter().map(|entry| IssuedToken { name: entry.name.clone(), created: entry.created }).collect())
    }

    /// Issues a token. `random` nobody else knows; `now` is in seconds since the Unix epoch.
    pub fn issue(&self, name: &str, random: [u8; 32], now: u64) -> Result<Secret, IssueError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > NAME || name == LOCAL || !name.bytes().all(allowed) {
            return Err(IssueError::Name(name.to_owned()));
        }
        let _lock = self.lock()?;
        let mut entries = self.load()?;
        if entries.iter().any(|entry| &*entry.name == name) {
            return Err(IssueError::Exists(name.to_owned()));
        }
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        entries.push(Entry { name: name.into(), sha256: hexadecimal(&Sha256::digest(&token).into()), created: now });
        self.save(&entries)?;
        Ok(Secret::literal(token))
    }

    /// Revokes a token. Returns whether it existed.
    pub fn revoke(&self, name: &str) -> Result<bool, IssueError> {
        let _lock = self.lock()?;
        let mut entries = self.load()?;
        let before = entries.len();
        entries.retain(|entry| &*entry.name != name);
        let existed = entries.len() < before;
        if existed {
            self.save(&entries)?;
        }
        Ok(existed)
    }

    fn failed(&self, error: io::Error) -> IssueError {
        IssueError::File { path: self.path.clone(), error }
    }

    /// Locks the file against other processes; released when dropped.
    fn lock(&self) -> Result<fs::File, IssueError> {
        let locked = || {
            self.path.parent().map(files::private_folder).transpose()?;
            let file = files::append(&self.path.with_extension("lock"))?;
            file.lock()?;
            Ok(file)
        };
        locked().map_err(|error| self.failed(error))
    }

    fn load(&self) -> Result<Vec<Entry>, IssueError> {
        if !self.required() {
            return Ok(vec![]);
        }
        let bytes = files::read(&self.path, Allowed { bytes: LARGEST, within: None });
        let bytes = bytes.map_err(|error| self.failed(io::Error::other(error.to_string())))?;
        serde_json::from_slice(&bytes).map_err(|error| self.failed(error.into()))
    }

    fn save(&self, entries: &[Entry]) -> Result<(), IssueError> {
        let bytes = serde_json::to_vec_pretty(entries).map_err(|error| self.failed(error.into()))?;
        files::replace(&self.path, &bytes).map_err(|error| self.failed(error))
    }

    /// Returns the tokens, read again if the file has changed. Without a readable file no token is valid.
    fn entries(&self) -> Arc<[Entry]> {
        let version = fs::symlink_metadata(&self.path).ok().map(|meta| (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()));
        let mut read = self.read.lock();
        if version.is_none() || read.0 != version {
            *read = (version, self.load().unwrap_or_default().into());
        }
        read.1.clone()
    }
}

fn hexadecimal(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares in a time that depends on the lengths only.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |differences, (a, b)| differences | (a ^ b));
    // The optimiser must not end the loop early.
    std::hint::black_box(differences) == 0 && a.len() == b.len()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_known_by_its_digest_until_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let (tokens, running) = (IssuedTokens::new(folder.path()), IssuedTokens::new(folder.path()));
        assert!(!running.required() && running.principal(b"x").is_none() && tokens.list().unwrap().is_empty());
        let one = tokens.issue("cursor", [1; 32], 7).unwrap();
        let two = tokens.issue("ci.bot-2", [2; 32], 8).unwrap();
        assert!(one.expose().starts_with("sbt_") && one.expose().len() == 47);
        let known = |secret: &Secret| running.principal(secret.expose().as_bytes());
        assert_eq!((known(&one).as_deref(), known(&two).as_deref()), (Some("cursor"), Some("ci.bot-2")));
        assert_eq!(running.principal(b"sbt_"), None);
        let text = fs::read_to_string(&tokens.path).unwrap();
        assert!(!text.contains(&one.expose()[4..]), "{text}");
        assert_eq!(fs::metadata(&tokens.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!((tokens.revoke("cursor").unwrap(), tokens.revoke("cursor").unwrap()), (true, false));
        assert_eq!((known(&one), known(&two).as_deref()), (None, Some("ci.bot-2")));
        assert!(tokens.revoke("ci.bot-2").unwrap() && running.required(), "requests need a token from now on");
        assert_eq!(known(&two), None);
    }

    #[test]
    fn names_are_checked_and_a_damaged_file_admits_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = IssuedTokens::new(folder.path());
        for name in ["", "local", "a b", "é", "a/b", &"n".repeat(65)] {
            assert!(matches!(tokens.issue(name, [0; 32], 0), Err(IssueError::Name(_))), "{name:?}");
        }
        let token = tokens.issue("one", [1; 32], 0).unwrap();
        assert!(matches!(tokens.issue("one", [2; 32], 0), Err(IssueError::Exists(_))));
        files::replace(&tokens.path, b"damaged").unwrap();
        assert!(tokens.required() && tokens.principal(token.expose().as_bytes()).is_none());
        assert!(matches!(tokens.issue("two", [2; 32], 0), Err(IssueError::File { .. })));
    }
}
