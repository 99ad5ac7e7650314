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
    domain::{body::Body, call::Operation, id::ToolId},
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
    responses: HashMap<(ToolId, Body), (Instant, Body)>,
    order: VecDeque<(ToolId, Body)>,
}

impl Cache {
    /// Creates an empty cache in front of the response cache.
    pub fn new(responses: Arc<CacheFront>) -> Cache {
        Cache { entries: Mutex::default(), responses }
    }

    /// Returns the cached response of the same call, if it is not older than `max_age`.
    pub async fn get(&self, registry: &Known, operation: &Operation, max_age: Duration, unix_ms: u64) -> Option<Body> {
        let Operation::Tool { tool, arguments } = operation else { return None };
        match self.get_own(tool, arguments, max_age) {
            Some(response) => Some(response),
            None => self.responses.step_response(registry, operation, max_age, unix_ms).await,
        }
    }

    /// Caches a response for `max_age`.
    pub async fn put(&self, registry: &Known, operation: &Operation, response: &Body, max_age: Duration, unix_ms: u64) {
        let Operation::Tool { tool, arguments } = operation else { return };
        if response.len() <= MAX_BYTES {
            self.put_own(tool, arguments, response);
            self.responses.put_step_response(registry, operation, response, max_age, unix_ms).await;
        }
    }

    fn get_own(&self, tool: &ToolId, arguments: &Body, max_age: Duration) -> Option<Body> {
        let entries = self.entries.lock();
        let (at, response) = entries.responses.get(&(tool.clone(), arguments.clone()))?;
        (at.elapsed() <= max_age).then(|| response.clone())
    }

    fn put_own(&self, tool: &ToolId, arguments: &Body, response: &Body) {
        let mut entries = self.entries.lock();
        let key = (tool.clone(), arguments.clone());
        if entries.responses.insert(key.clone(), (Instant::now(), response.clone())).is_none() {
            entries.order.push_back(key);
        }
        while entries.order.len() > MAX_ENTRIES {
            let Some(oldest) = entries.order.pop_front() else { break };
            entries.responses.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn responses_expire_and_are_bounded() {
        let cache = Cache::new(Arc::default());
        let tool = ToolId::new("s".into(), "t");
        let (fresh, body) = (Duration::from_secs(10), Body::from("{}"));
        cache.put_own(&tool, &body, &Body::from("1"));
        assert_eq!(cache.get_own(&tool, &body, fresh), Some(Body::from("1")));
        assert_eq!(cache.get_own(&tool, &Body::from("{\"a\":1}"), fresh), None);
        tokio::time::advance(fresh * 2).await;
        assert_eq!(cache.get_own(&tool, &body, fresh), None);
        for n in 0..MAX_ENTRIES + 5 {
            cache.put_own(&tool, &Body::from(n.to_string()), &body);
        }
        assert_eq!(cache.entries.lock().responses.len(), MAX_ENTRIES);
    }
}
