//! Watcher of the store: a login in another process wakes the servers of this one.

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::Auth;

/// A running watcher; dropped, it ends.
pub(super) struct Watcher(#[expect(dead_code, reason = "watches until it is dropped")] RecommendedWatcher);

impl Auth {
    /// Watches the folder of the store from now on. If that fails, a login in another process has no effect before the next request.
    pub(super) fn watch(&self) {
        if self.0.state.lock().watcher.is_some() || self.0.store.create().is_err() {
            return;
        }
        let shared = std::sync::Arc::downgrade(&self.0);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if let (Some(shared), Ok(event)) = (shared.upgrade(), event)
                && !event.kind.is_access()
            {
                Auth(shared).notice();
            }
        });
        let watched = watcher.and_then(|mut watcher| {
            watcher.watch(self.0.store.folder(), RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        match watched {
            Ok(watcher) => self.0.state.lock().watcher = Some(Watcher(watcher)),
            Err(error) => tracing::warn!(target: "switchboard::auth", "the stored logins are not watched: {error}"),
        }
        // Between the refusal and now.
        self.notice();
    }

    /// Looks for the credentials that servers wait for.
    fn notice(&self) {
        let wanting: Vec<_> = self.0.state.lock().wanting.iter().map(|(key, seen)| (key.clone(), *seen)).collect();
        let mut found = false;
        for (key, seen) in wanting {
            let newer = self.reread(&key).is_some_and(|stored| stored.usable() && stored.generation > seen);
            if newer {
                self.0.state.lock().wanting.remove(&key);
                found = true;
            }
        }
        if found {
            self.0.changes.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        auth::store::{CredentialStore, tests::credential},
        domain::{
            client::Principal,
            secret::SecretRegistry,
            server::{ServerSpec, Transport},
        },
        engine::ports::{CredentialVerdict, Credentials, Refusal},
    };

    #[tokio::test]
    async fn a_login_in_another_process_wakes_the_server() {
        let folder = tempfile::tempdir().unwrap();
        let auth = Auth::new(folder.path(), Arc::new(|| 5000), SecretRegistry::default());
        let url = "https://a.example/mcp";
        let spec = ServerSpec::new("web", Transport::Http { url: url.into(), headers: vec![], socket: None });
        let (local, mut changes) = (Principal::local(), auth.changes());
        assert!(auth.bearer(&spec, &local).await.is_none());
        let refusal = Refusal { status: 401, challenges: vec![], url: url.into(), peer: None };
        let CredentialVerdict::NeedsLogin(wanted) = auth.refused(&spec, &local, refusal, None).await else { panic!("no login is wanted") };
        assert_eq!(wanted.command, format!("switchboard login -- {url}"));
        CredentialStore::new(folder.path()).save(&credential(url, 1)).unwrap();
        tokio::time::timeout(Duration::from_secs(20), changes.changed()).await.unwrap().unwrap();
        assert_eq!(auth.bearer(&spec, &local).await.unwrap().generation, 1);
    }
}
