//! Which answers are kept, where, and under which key.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::secret::Secret;

/// Where answers are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CacheSettings {
    /// Redis that is shared with other processes (`redis://`, `rediss://`, `redis+sentinel://`,
    /// several addresses for a cluster); in this process when absent.
    pub redis: Vec<Secret>,
    /// Prefix of keys in Redis.
    pub prefix: String,
    /// Most bytes kept in this process.
    pub bytes: u64,
    /// Longest wait for Redis; then it is a miss.
    pub wait: Duration,
    /// How long Redis is left alone after it did not answer.
    pub pause: Duration,
}

/// The store of answers as shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheView {
    /// `memory` or `redis`.
    pub store: String,
    /// What is wrong with it, for people; answers come from the servers meanwhile.
    pub trouble: Option<String>,
    /// Answers given from it.
    pub hits: u64,
    /// Of these, past their time.
    pub stale: u64,
    /// Calls for which it had nothing.
    pub misses: u64,
    /// Calls that took the answer of an equal one under way.
    pub shared: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            redis: vec![],
            prefix: "switchboard".into(),
            bytes: 64 << 20,
            wait: Duration::from_millis(50),
            pause: Duration::from_secs(2),
        }
    }
}
