//! Answers that steps with `cache` may use again while they are fresh.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    domain::{body::Body, id::ToolId},
    engine::lock,
};

/// Answers that are kept.
const KEPT: usize = 256;

/// Longest answer that is kept, in bytes.
const LONGEST: usize = 1 << 20;

/// The answers.
#[derive(Default)]
pub struct Cache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    answers: HashMap<(ToolId, Body), (Instant, Body)>,
    order: VecDeque<(ToolId, Body)>,
}

impl Cache {
    /// The answer to the same call, if it is no older than `fresh`.
    pub fn get(&self, tool: &ToolId, arguments: &Body, fresh: Duration) -> Option<Body> {
        let kept = lock(&self.0);
        let (at, answer) = kept.answers.get(&(tool.clone(), arguments.clone()))?;
        (at.elapsed() <= fresh).then(|| answer.clone())
    }

    /// Keeps an answer.
    pub fn put(&self, tool: &ToolId, arguments: &Body, answer: &Body) {
        if answer.len() > LONGEST {
            return;
        }
        let mut kept = lock(&self.0);
        let key = (tool.clone(), arguments.clone());
        if kept.answers.insert(key.clone(), (Instant::now(), answer.clone())).is_none() {
            kept.order.push_back(key);
        }
        while kept.order.len() > KEPT {
            let Some(oldest) = kept.order.pop_front() else { break };
            kept.answers.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_are_fresh_for_a_while_and_bounded() {
        let cache = Cache::default();
        let tool = ToolId::new("s".into(), "t");
        let (fresh, body) = (Duration::from_secs(10), Body::from("{}"));
        cache.put(&tool, &body, &Body::from("1"));
        assert_eq!(cache.get(&tool, &body, fresh), Some(Body::from("1")));
        assert_eq!(cache.get(&tool, &Body::from("{\"a\":1}"), fresh), None);
        tokio::time::advance(fresh * 2).await;
        assert_eq!(cache.get(&tool, &body, fresh), None);
        for n in 0..KEPT + 5 {
            cache.put(&tool, &Body::from(n.to_string()), &body);
        }
        assert_eq!(lock(&cache.0).answers.len(), KEPT);
    }
}
