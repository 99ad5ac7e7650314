//! Store of credentials: one private file for each server, issuer, client and principal. Written atomically, locked between
//! processes. Nothing in it is deleted but by a logout. The secrets of a file may be in the keyring of the desktop instead.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    credential::{Credential, VERSION, key_of},
    failure::AuthFailure,
};
use crate::{
    domain::{client::Principal, login::SecretPlace},
    files::{self, Allowed},
    keyring::{Keyring, KeyringError},
};

/// Maximum size of a file.
const LARGEST: u64 = 1 << 20;
/// How long a process waits for another one that refreshes a token: longer than two requests take.
const LOCK: Duration = Duration::from_secs(45);
/// Pause between two attempts to lock.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a login that was started may be finished, in seconds.
pub(super) const ATTEMPT: u64 = 600;

/// The store of one state folder.
#[derive(Clone, Debug)]
pub(super) struct CredentialStore {
    folder: PathBuf,
    keyring: Keyring,
    place: SecretPlace,
}

/// A lock on the credentials of a server and a principal. Released when dropped, also by the end of the process.
pub(super) struct Locked(#[expect(dead_code, reason = "its descriptor holds the lock")] File);

fn local(path: &Path) -> impl Fn(io::Error) -> AuthFailure + '_ {
    move |error| AuthFailure::Local(format!("{}: {error}", path.display()))
}

impl CredentialStore {
    pub(super) fn new(state: &Path) -> CredentialStore {
        CredentialStore { folder: state.join("auth"), keyring: Keyring::default(), place: SecretPlace::File }
    }

    /// Uses a keyring. Secrets that are in it are read whatever `place` says, which applies to what is saved from now on.
    pub(super) fn with_keyring(self, keyring: Keyring, place: SecretPlace) -> CredentialStore {
        CredentialStore { keyring, place, ..self }
    }

    /// Returns the folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Creates the folder, if it is missing.
    pub(super) fn create(&self) -> Result<(), AuthFailure> {
        files::private_folder(&self.folder).map_err(local(&self.folder))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
        let bytes = files::read(path, Allowed { bytes: LARGEST, within: None }).ok()?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Some(value),
            Err(error) => {
                tracing::warn!(target: "switchboard::auth", "{} cannot be read: line {}", path.display(), error.line());
                None
            }
        }
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), AuthFailure> {
        self.create()?;
        let path = self.file(name);
        let bytes = serde_json::to_vec_pretty(value).map_err(|error| AuthFailure::Local(error.to_string()))?;
        files::replace(&path, &bytes).map_err(local(&path))
    }

    /// Returns all credentials, without secrets that are in the keyring. A file that cannot be read is left out.
    pub(super) fn all(&self) -> Vec<Credential> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return vec![] };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let credentials = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        let mut found: Vec<Credential> =
            credentials.filter_map(|path| Self::read(path)).filter(|read: &Credential| read.v == VERSION).collect();
        found.sort_by(|one, two| {
            (&one.server, &one.principal).cmp(&(&two.server, &two.principal)).then(one.generation.cmp(&two.generation))
        });
        found
    }

    /// Returns the credentials of a server and a principal, the newest last, without secrets that are in the keyring.
    pub(super) fn listed(&self, server: &str, who: &Principal) -> Vec<Credential> {
        self.all().into_iter().filter(|found| found.server == server && found.principal == who.as_str()).collect()
    }

    /// Returns the credentials of a server and a principal, the newest last. One whose secrets cannot be read from the keyring is left
    /// out.
    pub(super) fn of(&self, server: &str, who: &Principal) -> Vec<Credential> {
        self.listed(server, who).into_iter().filter_map(|found| self.complete(found)).collect()
    }

    /// Adds the secrets from the keyring.
    fn complete(&self, credential: Credential) -> Option<Credential> {
        if !credential.in_keyring {
            return Some(credential);
        }
        let failed = match self.keyring.get(&entry_of(&credential)) {
            Ok(Some(text)) => match serde_json::from_str(&text) {
                Ok(secrets) => return Some(credential.with_secrets(secrets)),
                Err(_) => "its entry in the keyring is damaged".to_owned(),
            },
            Ok(None) => "the keyring has no entry of it".to_owned(),
            Err(error) => format!("{error}: {}", error.hint()),
        };
        tracing::warn!(target: "switchboard::auth", server = %credential.server, "the stored login cannot be used: {failed}");
        None
    }

    /// Saves a credential. The caller holds the lock.
    pub(super) fn save(&self, credential: &Credential) -> Result<(), AuthFailure> {
        let (name, entry) = (format!("{}.json", credential.key()), entry_of(credential));
        if self.place == SecretPlace::Keyring {
            let (secrets, rest) = credential.split();
            let secrets = serde_json::to_string(&secrets).map_err(|error| AuthFailure::Local(error.to_string()))?;
            // First: without the file, the entry has no effect.
            self.keyring.set(&entry, &secrets).map_err(refused)?;
            return self.write(&name, &rest);
        }
        self.write(&name, &Credential { in_keyring: false, ..credential.clone() })?;
        if credential.in_keyring
            && let Err(error) = self.keyring.remove(&entry)
        {
            tracing::warn!(target: "switchboard::auth", "an unused entry stays in the keyring: {error}");
        }
        Ok(())
    }

    /// Deletes a credential, and its entry in the keyring first: without the file nothing names it.
    pub(super) fn remove(&self, credential: &Credential) -> Result<(), AuthFailure> {
        if credential.in_keyring {
            self.keyring.remove(&entry_of(credential)).map_err(refused)?;
        }
        let path = self.file(&format!("{}.json", credential.key()));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(local(&path)(error)),
            _ => Ok(()),
        }
    }

    /// Locks the credentials of a server and a principal against other processes and tasks.
    pub(super) async fn lock(&self, server: &str, who: &Principal) -> Result<Locked, AuthFailure> {
        self.create()?;
        let path = self.file(&format!("{}.lock", key_of(&[server, who.as_str()])));
        let file = files::append(&path).map_err(local(&path))?;
        let deadline = tokio::time::Instant::now() + LOCK;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Locked(file)),
                Err(fs::TryLockError::Error(error)) => return Err(local(&path)(error)),
                Err(fs::TryLockError::WouldBlock) if tokio::time::Instant::now() > deadline => {
                    return Err(AuthFailure::Transient(format!("another process holds {} for more than 45 s", path.display())));
                }
                Err(fs::TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Stores a login that another process will finish.
    pub(super) fn save_attempt<T: Serialize>(&self, server: &str, state: &str, attempt: &T) -> Result<(), AuthFailure> {
        self.write(&attempt_name(server, state), attempt)
    }

    /// Removes and returns the login with this `state`.
    pub(super) fn take_attempt<T: for<'de> Deserialize<'de>>(&self, server: &str, state: &str) -> Option<T> {
        let path = self.file(&attempt_name(server, state));
        let read = Self::read(&path)?;
        // Of two processes that finish it, one removes it.
        fs::remove_file(&path).ok()?;
        Some(read)
    }

    /// Deletes logins that were not finished in time. `now` is in seconds since the Unix epoch.
    pub(super) fn forget_attempts(&self, now: u64) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let attempt = entry.path().extension().is_some_and(|extension| extension == "attempt");
            let age = |meta: fs::Metadata| {
                let modified = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
                now.checked_sub(modified.as_secs())
            };
            if attempt && entry.metadata().ok().and_then(age).is_some_and(|age| age > ATTEMPT) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Returns the name of a credential's entry in the keyring, which no configuration can name.
fn entry_of(credential: &Credential) -> String {
    format!("login/{}", credential.key())
}

fn refused(error: KeyringError) -> AuthFailure {
    AuthFailure::Local(format!("the keyring for logins: {error}; {}", error.hint()))
}

fn attempt_name(server: &str, state: &str) -> String {
    format!("{}.attempt", key_of(&[server, state]))
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;
    use crate::{
        auth::credential::{Client, ClientKind, Token},
        domain::login::Grant,
        keyring::memory::Memory,
    };

    pub(crate) fn credential(server: &str, generation: u64) -> Credential {
        Credential {
            v: VERSION,
            server: server.to_owned(),
            principal: "local".to_owned(),
            resource: server.to_owned(),
            issuer: Some("https://as.example".to_owned()),
            client: Client {
                id: "client".to_owned(),
                secret: None,
                kind: ClientKind::Dynamic,
                redirect: "http://127.0.0.1:1/callback".to_owned(),
                secret_expires: None,
            },
            grant: Grant::Code,
            token: Token { access: format!("access-{generation}"), refresh: None, received: 0, expires_in: None },
            requested: vec![],
            granted: vec![],
            metadata: json!({}),
            generation,
            rejected: None,
            in_keyring: false,
        }
    }

    #[tokio::test]
    async fn files_are_private_and_a_lock_excludes_others() {
        let folder = tempfile::tempdir().unwrap();
        let store = CredentialStore::new(folder.path());
        assert!(store.all().is_empty());
        store.save(&credential("https://a.example/mcp", 1)).unwrap();
        store.save(&credential("https://b.example/mcp", 2)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(store.folder()), 0o700);
        let local = Principal::local();
        {
            let _locked = store.lock("https://a.example/mcp", &local).await.unwrap();
            for entry in fs::read_dir(store.folder()).unwrap() {
                assert_eq!(mode(&entry.unwrap().path()), 0o600);
            }
            let second = store.lock("https://a.example/mcp", &local);
            tokio::select! {
                biased;
                _ = second => panic!("locked twice"),
                other = store.lock("https://b.example/mcp", &local) => drop(other.unwrap()),
            }
        }
        drop(store.lock("https://a.example/mcp", &local).await.unwrap());
        // A broken file costs its credential only.
        fs::write(store.folder().join("ffff.json"), "{").unwrap();
        assert_eq!(store.all().len(), 2);
        assert_eq!(store.of("https://b.example/mcp", &local)[0].generation, 2);
        assert!(store.of("https://b.example/mcp", &Principal::new("ann")).is_empty());
        store.remove(&credential("https://a.example/mcp", 1)).unwrap();
        assert_eq!(store.all().len(), 1);
    }

    #[test]
    fn an_attempt_is_taken_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = CredentialStore::new(folder.path());
        store.save_attempt("https://a.example/mcp", "state", &json!({"verifier": "v"})).unwrap();
        assert!(store.take_attempt::<serde_json::Value>("https://a.example/mcp", "other").is_none());
        assert!(store.take_attempt::<serde_json::Value>("https://a.example/mcp", "state").is_some());
        assert!(store.take_attempt::<serde_json::Value>("https://a.example/mcp", "state").is_none());
        store.save_attempt("https://a.example/mcp", "late", &json!({})).unwrap();
        store.forget_attempts(u64::MAX);
        assert!(store.take_attempt::<serde_json::Value>("https://a.example/mcp", "late").is_none());
    }

    #[test]
    fn secrets_can_be_in_the_keyring() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, local) = (std::sync::Arc::new(Memory::default()), Principal::local());
        let files = CredentialStore::new(folder.path()).with_keyring(Keyring::over(memory.clone()), SecretPlace::File);
        let store = CredentialStore { place: SecretPlace::Keyring, ..files.clone() };
        let server = "https://a.example/mcp";
        let mut login = credential(server, 1);
        (login.token.refresh, login.client.secret) = (Some("refresh-canary".into()), Some("client-canary".into()));
        store.save(&login).unwrap();
        let text = || fs::read_to_string(files.file(&format!("{}.json", login.key()))).unwrap();
        assert!(["access-1", "canary"].iter().all(|secret| !text().contains(secret)), "{}", text());
        let entry = format!("login/{}", login.key());
        assert!(memory.entries.lock()[&entry].contains("refresh-canary"));
        // Each setting reads what the other wrote.
        for reader in [&store, &files] {
            let read = reader.of(server, &local).pop().unwrap();
            let secrets = (read.token.access.as_str(), read.token.refresh.as_deref(), read.client.secret.as_deref());
            assert_eq!(secrets, ("access-1", Some("refresh-canary"), Some("client-canary")));
        }
        assert!(store.all()[0].token.refresh.is_some(), "a list knows what can be refreshed without the keyring");
        // A keyring that cannot be read deletes nothing.
        *memory.fails.lock() = Some(KeyringError::Locked);
        assert!(store.of(server, &local).is_empty() && store.listed(server, &local).len() == 1);
        let failed = store.remove(&store.all()[0]).unwrap_err().to_string();
        assert!(failed.contains("the keyring is locked; unlock the keyring"), "{failed}");
        assert!(matches!(store.save(&login), Err(AuthFailure::Local(_))));
        *memory.fails.lock() = None;
        // With the other setting, the next save takes them back.
        files.save(&files.of(server, &local)[0]).unwrap();
        assert!(text().contains("refresh-canary") && memory.entries.lock().is_empty());
        store.save(&login).unwrap();
        store.remove(&store.all()[0]).unwrap();
        assert!(store.all().is_empty() && memory.entries.lock().is_empty());
    }
}
