//! The in-memory store of the response cache.

use async_trait::async_trait;
use moka::sync::Cache;
use tokio::sync::watch;

use crate::{
    domain::policy::{
        cache::{self, CachedResponse},
        pattern::Pattern,
    },
    engine::ports::ResponseCache,
};

/// Size of an entry without its response, in bytes.
const OVERHEAD: usize = 256;

/// Keeps answers up to a number of bytes; those asked for least go first (TinyLFU).
pub struct Memory {
    cache: Cache<String, CachedResponse>,
    changed: watch::Sender<()>,
}

impl Memory {
    /// An empty store of at most `bytes`.
    pub fn new(bytes: u64) -> Memory {
        let weigh = |key: &String, kept: &CachedResponse| {
            u32::try_from(key.len() + kept.result.len() + kept.name.len() + OVERHEAD).unwrap_or(u32::MAX)
        };
        let cache = Cache::builder().max_capacity(bytes).weigher(weigh).build();
        Memory { cache, changed: watch::channel(()).0 }
    }
}

#[async_trait]
impl ResponseCache for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn shared(&self) -> bool {
        false
    }

    async fn get(&self, key: &str) -> Option<CachedResponse> {
        self.cache.get(key)
    }

    async fn put(&self, key: &str, kept: CachedResponse) {
        self.cache.insert(key.to_owned(), kept);
    }

    async fn forget(&self, key: &str) {
        self.cache.invalidate(key);
    }

    async fn purge(&self, pattern: &Pattern) -> Result<u64, String> {
        let gone: Vec<_> = self
            .cache
            .iter()
            .filter(|(key, kept)| pattern.matches(&kept.name) || cache::purged(pattern, key))
            .map(|(key, _)| key)
            .collect();
        for key in &gone {
            self.cache.invalidate(&**key);
        }
        Ok(gone.len() as u64)
    }

    fn trouble(&self) -> Option<String> {
        None
    }

    fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::body::Body;

    fn kept(name: &str, bytes: usize) -> CachedResponse {
        let result = Body::from(format!("{{\"x\":\"{}\"}}", "x".repeat(bytes)));
        CachedResponse {
            result,
            at_unix_ms: 0,
            ttl: Duration::from_secs(1),
            stale: Duration::ZERO,
            hold: Duration::ZERO,
            name: name.into(),
        }
    }

    #[tokio::test]
    async fn answers_are_kept_purged_by_name_and_bounded() {
        let store = Memory::new(100_000);
        store.put("a", kept("db_query", 10)).await;
        store.put("b", kept("mail_send", 10)).await;
        assert_eq!(store.get("a").await, Some(kept("db_query", 10)));
        store.put("c", kept("db_read", 10)).await;
        store.forget("c").await;
        assert_eq!(store.get("c").await, None);
        assert_eq!(store.purge(&Pattern::parse("db_*").unwrap()).await, Ok(1));
        assert_eq!((store.get("a").await, store.get("b").await.is_some()), (None, true));
        for n in 0..100 {
            store.put(&format!("k{n}"), kept("big", 10_000)).await;
        }
        store.cache.run_pending_tasks();
        assert!(store.cache.weighted_size() <= 100_000, "{}", store.cache.weighted_size());
    }
}
