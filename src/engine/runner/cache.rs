//! The step cache: responses that steps with `cache` reuse while they are fresh. Lives in this process only.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::domain::{body::Body, id::ToolId};

/// Maximum number of cached responses.
const MAX_ENTRIES: usize = 256;

/// Maximum length of a cached response in bytes.
const MAX_BYTES: usize = 1 << 20;

/// The cached responses of all runs.
#[derive(Default)]
pub struct Cache(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    responses: HashMap<(ToolId, Body), (Instant, Body)>,
    order: VecDeque<(ToolId, Body)>,
}

impl Cache {
    /// Returns the cached response of the same call, if it is not older than `max_age`.
    pub fn get(&self, tool: &ToolId, arguments: &Body, max_age: Duration) -> Option<Body> {
        let entries = self.0.lock();
        let (at, response) = entries.responses.get(&(tool.clone(), arguments.clone()))?;
        (at.elapsed() <= max_age).then(|| response.clone())
    }

    /// Caches a response.
    pub fn put(&self, tool: &ToolId, arguments: &Body, response: &Body) {
        if response.len() > MAX_BYTES {
            return;
        }
        let mut entries = self.0.lock();
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
        let cache = Cache::default();
        let tool = ToolId::new("s".into(), "t");
        let (fresh, body) = (Duration::from_secs(10), Body::from("{}"));
        cache.put(&tool, &body, &Body::from("1"));
        assert_eq!(cache.get(&tool, &body, fresh), Some(Body::from("1")));
        assert_eq!(cache.get(&tool, &Body::from("{\"a\":1}"), fresh), None);
        tokio::time::advance(fresh * 2).await;
        assert_eq!(cache.get(&tool, &body, fresh), None);
        for n in 0..MAX_ENTRIES + 5 {
            cache.put(&tool, &Body::from(n.to_string()), &body);
        }
        assert_eq!(cache.0.lock().responses.len(), MAX_ENTRIES);
    }
}
