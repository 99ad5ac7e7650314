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
