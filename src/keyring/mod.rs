//! The keyring of the desktop: secrets that users and logins store outside of files. Owns their names and the errors of access.
//!
//! The configuration expands `${keyring:NAME}` from it and `import` stores secret values in it; `auth` stores tokens in it. The adapter
//! (`system`) is the only place that names the keyring crates. It is compiled with the feature `keyring`.

#[cfg(feature = "keyring")]
mod system;

use std::{fmt, sync::Arc};

/// Maximum length of the name of an entry, in bytes.
const NAME: usize = 128;

/// The service of all entries: other programs find them under it.
const SERVICE: &str = "switchboard";

/// Access to the entries of a keyring. Calls block: the desktop may ask the user to unlock it.
pub trait SecretStore: Send + Sync {
    /// Returns the value of an entry; `None` if it does not exist.
    fn get(&self, name: &str) -> Result<Option<String>, KeyringError>;
    /// Stores an entry, also in place of an existing one.
    fn set(&self, name: &str, value: &str) -> Result<(), KeyringError>;
    /// Deletes an entry, if it exists.
    fn remove(&self, name: &str) -> Result<(), KeyringError>;
}

/// Why an entry cannot be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyringError {
    /// The program was built without the feature `keyring`.
    NotBuilt,
    /// The session has no keyring service.
    Unavailable,
    /// It is locked, and the user did not unlock it.
    Locked,
    /// It did not answer in time.
    NoAnswer,
    /// Several entries have the name.
    Ambiguous,
    /// The value is not UTF-8 text.
    NotText,
    /// It refused for another reason, which is in the log.
    Failed,
}

impl KeyringError {
    /// Returns what the user can do, as an imperative.
    pub fn hint(self) -> &'static str {
        match self {
            KeyringError::NotBuilt => "build it with `--features keyring`, or write ${VAR} or ${file:PATH} instead",
            KeyringError::Unavailable => "start a keyring (GNOME Keyring, KWallet, KeePassXC), or write ${VAR} or ${file:PATH} instead",
            KeyringError::Locked | KeyringError::NoAnswer => "unlock the keyring and try again",
            KeyringError::Ambiguous => "delete all but one",
            KeyringError::NotText => "store it again as text",
            KeyringError::Failed => "see the log file: docs/log.md",
        }
    }
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyringError::NotBuilt => "this build of Switchboard has no support for keyrings",
            KeyringError::Unavailable => "no keyring service runs in this session",
            KeyringError::Locked => "the keyring is locked",
            KeyringError::NoAnswer => "the keyring did not answer in time",
            KeyringError::Ambiguous => "the keyring has several entries with this name",
            KeyringError::NotText => "the entry in the keyring is not UTF-8 text",
            KeyringError::Failed => "the keyring refused",
        })
    }
}

impl std::error::Error for KeyringError {}

/// A handle to a keyring; the default one is absent. Cheap to clone.
#[derive(Clone, Default)]
pub struct Keyring(Option<Arc<dyn SecretStore>>);

// Never with a value.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({})", if self.is_supported() { "supported" } else { "absent" })
    }
}

impl Keyring {
    /// Returns the keyring of this session. Nothing is opened before an entry is needed.
    pub fn system() -> Keyring {
        #[cfg(feature = "keyring")]
        return Keyring(Some(Arc::new(system::System)));
        #[cfg(not(feature = "keyring"))]
        Keyring(None)
    }

    /// Returns a keyring over a store.
    pub fn over(store: Arc<dyn SecretStore>) -> Keyring {
        Keyring(Some(store))
    }

    /// Returns whether this build can use a keyring.
    pub fn is_supported(&self) -> bool {
        self.0.is_some()
    }

    fn store(&self) -> Result<&dyn SecretStore, KeyringError> {
        self.0.as_deref().ok_or(KeyringError::NotBuilt)
    }

    /// Returns the value of an entry; `None` if it does not exist.
    pub fn get(&self, name: &str) -> Result<Option<String>, KeyringError> {
        self.store()?.get(name)
    }

    /// Stores an entry, also in place of an existing one.
    pub fn set(&self, name: &str, value: &str) -> Result<(), KeyringError> {
        self.store()?.set(name, value)
    }

    /// Deletes an entry, if it exists.
    pub fn remove(&self, name: &str) -> Result<(), KeyringError> {
        self.store()?.remove(name)
    }
}

/// Returns the command that stores an entry with a program of the desktop.
pub fn store_command(name: &str) -> String {
    match cfg!(target_os = "macos") {
        true => format!("security add-generic-password -s {SERVICE} -a {name} -w"),
        false => format!("secret-tool store --label {name} service {SERVICE} username {name}"),
    }
}

/// Returns whether a configuration may name this entry. Names of logins have a slash, so that no configuration reads them.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// A keyring in memory.
#[cfg(test)]
pub mod memory {
    use std::collections::BTreeMap;

    use parking_lot::Mutex;

    use super::{KeyringError, SecretStore};

    /// The entries, and the error of all calls if there is one.
    #[derive(Default)]
    pub struct Memory {
        /// Values by name.
        pub entries: Mutex<BTreeMap<String, String>>,
        /// What every call fails with.
        pub fails: Mutex<Option<KeyringError>>,
    }

    impl Memory {
        fn checked(&self) -> Result<(), KeyringError> {
            self.fails.lock().map_or(Ok(()), Err)
        }
    }

    impl SecretStore for Memory {
        fn get(&self, name: &str) -> Result<Option<String>, KeyringError> {
            self.checked()?;
            Ok(self.entries.lock().get(name).cloned())
        }

        fn set(&self, name: &str, value: &str) -> Result<(), KeyringError> {
            self.checked()?;
            self.entries.lock().insert(name.to_owned(), value.to_owned());
            Ok(())
        }

        fn remove(&self, name: &str) -> Result<(), KeyringError> {
            self.checked()?;
            self.entries.lock().remove(name);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_configurations_cannot_be_those_of_logins() {
        for name in ["GITHUB_TOKEN", "a.b-c", "7"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "login/0123", "a b", "é", "a:-b", &"n".repeat(NAME + 1)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn an_absent_keyring_says_how_to_get_one() {
        let error = Keyring::default().get("A").unwrap_err();
        assert_eq!(error, KeyringError::NotBuilt);
        assert!(error.hint().contains("--features keyring"), "{}", error.hint());
        assert_eq!(Keyring::system().is_supported(), cfg!(feature = "keyring"));
    }
}
