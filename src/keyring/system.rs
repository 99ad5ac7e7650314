//! The keyring of the session: the Secret Service of the desktop (D-Bus), the keychain on macOS.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use keyring_core::{Entry, Error, api::CredentialStore};

use super::{KeyringError, SERVICE, SecretStore};

/// How long a call may take: the user may have to type a password.
const LIMIT: Duration = Duration::from_secs(60);

/// The keyring of the session.
pub(super) struct System;

fn open() -> Result<Arc<CredentialStore>, Error> {
    #[cfg(target_os = "macos")]
    let store = apple_native_keyring_store::keychain::Store::new()?;
    #[cfg(not(target_os = "macos"))]
    let store = zbus_secret_service_keyring_store::Store::new()?;
    Ok(store)
}

/// Calls `work` with an entry, in a thread: the D-Bus client blocks on a runtime of its own, which panics inside another one.
fn call<T: Send + 'static>(name: &str, work: impl FnOnce(Entry) -> Result<T, Error> + Send + 'static) -> Result<Option<T>, KeyringError> {
    let name = name.to_owned();
    let (sender, result) = mpsc::channel();
    let run = move || {
        let opened = open().map_err(|error| (KeyringError::Unavailable, error));
        let done = opened.and_then(|store| {
            let entry = Entry::new_in_store(&store, SERVICE, &name).map_err(explain)?;
            work(entry).map_err(explain)
        });
        // The receiver may have stopped waiting.
        let _ = sender.send(done);
    };
    thread::Builder::new().name("keyring".to_owned()).spawn(run).map_err(|_| KeyringError::Failed)?;
    match result.recv_timeout(LIMIT) {
        Ok(Ok(value)) => Ok(Some(value)),
        Ok(Err((_, Error::NoEntry))) => Ok(None),
        Ok(Err((failure, error))) => {
            tracing::warn!(target: "switchboard::keyring", "{failure}: {error}");
            Err(failure)
        }
        Err(mpsc::RecvTimeoutError::Timeout) => Err(KeyringError::NoAnswer),
        // The thread panicked.
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(KeyringError::Failed),
    }
}

/// Translates an error of the crates, which is logged.
fn explain(error: Error) -> (KeyringError, Error) {
    let failure = match &error {
        Error::NoStorageAccess(_) => KeyringError::Locked,
        Error::BadEncoding(_) => KeyringError::NotText,
        Error::Ambiguous(_) => KeyringError::Ambiguous,
        _ => KeyringError::Failed,
    };
    (failure, error)
}

impl SecretStore for System {
    fn get(&self, name: &str) -> Result<Option<String>, KeyringError> {
        call(name, |entry| entry.get_password())
    }

    fn set(&self, name: &str, value: &str) -> Result<(), KeyringError> {
        let value = value.to_owned();
        call(name, move |entry| entry.set_password(&value)).map(drop)
    }

    fn remove(&self, name: &str) -> Result<(), KeyringError> {
        call(name, |entry| entry.delete_credential()).map(drop)
    }
}
