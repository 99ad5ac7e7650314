//! The step cache: responses that steps with `cache` reuse while they are fresh. In this process, and in the response cache, which
//! other processes may share.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    domain::{body::Body, call::Operation, client::Principal, id::ToolId},
    engine::{dispatch::CacheFront, registry::Known},
};

/// Maximum number of cached responses.
const MAX_ENTRIES: usize = 256;

/// Maximum length of a cached response in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The cached responses of all runs.
pub struct Cache {
    entries: Mutex<Entries>,
    /// The response cache.
    responses: Arc<CacheFront>,
}

#[derive(Default)]
struct Entries {
    responses: HashMap<Key, (Instant, Body)>,
    order: VecDeque<Key>,
}

/// The principal, tool and arguments of a call.
type Key = (Principal, ToolId, Body);

impl Cache {
    /// Creates an empty cache in front of the response cache.
    pub fn new(responses: Arc<CacheFront>) -> Cache {
        Cache { entries: Mutex::default(), responses }
    }

    /// Returns the cached response of the same call of the same principal, if it is not older than `max_age`.
    pub async fn get(
        &self,
        registry: &Known,
        (operation, principal): (&Operation, &Principal),
        max_age: Duration,
        unix_ms: u64,
    ) -> Option<Body> {
        match self.get_own(&key(operation, principal)?, max_age) {
            Some(response) => Some(response),
            None => self.responses.step_response(registry, (operation, principal), max_age, unix_ms).await,
        }
    }

    /// Caches a response for `max_age`.
    pub async fn put(
        &self,
        registry: &Known,
        (operation, principal): (&Operation, &Principal),
        response: &Body,
        max_age: Duration,
        unix_ms: u64,
    ) {
        let Some(key) = key(operation, principal).filter(|_| response.len() <= MAX_BYTES) else { return };
        self.put_own(key, response);
        self.responses.put_step_response(registry, (operation, principal), response, max_age, unix_ms).await;
    }

    fn get_own(&self, key: &Key, max_age: Duration) -> Option<Body> {
        let entries = self.entries.lock();
        let (at, response) = entries.responses.get(key)?;
        (at.elapsed() <= max_age).then(|| response.clone())
    }

    fn put_own(&self, key: Key, response: &Body) {
        let mut entries = self.entries.lock();
        if entries.responses.insert(key.clone(), (Instant::now(), response.clone())).is_none() {
            entries.order.push_back(key);
        }
        while entries.order.len() > MAX_ENTRIES {
            let Some(oldest) = entries.order.pop_front() else { break };
            entries.responses.remove(&oldest);
        }
    }
}

/// Returns the key of a tool call; `None` for other operations, which are not cached.
fn key(operation: &Operation, principal: &Principal) -> Option<Key> {
    let Operation::Tool { tool, arguments } = operation else { return None };
    Some((principal.clone(), tool.clone(), arguments.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn responses_expire_and_are_bounded() {
        let cache = Cache::new(Arc::default());
        let key = |principal: &str, arguments: &str| (Principal::new(principal), ToolId::new("s".into(), "t"), Body::from(arguments));
        let fresh = Duration::from_secs(10);
        cache.put_own(key("local", "{}"), &Body::from("1"));
        assert_eq!(cache.get_own(&key("local", "{}"), fresh), Some(Body::from("1")));
        assert_eq!(cache.get_own(&key("local", "{\"a\":1}"), fresh), None);
        assert_eq!(cache.get_own(&key("ci", "{}"), fresh), None, "of another principal");
        tokio::time::advance(fresh * 2).await;
        assert_eq!(cache.get_own(&key("local", "{}"), fresh), None);
        for n in 0..MAX_ENTRIES + 5 {
            cache.put_own(key("local", &n.to_string()), &Body::from("{}"));
        }
        assert_eq!(cache.entries.lock().responses.len(), MAX_ENTRIES);
    }
}
