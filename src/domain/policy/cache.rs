//! Which answers are kept, where, and under which key.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::{body::Body, secret::Secret};

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

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The `result`, as it came.
    pub result: Body,
    /// When it came, in milliseconds since the Unix epoch.
    pub at_unix_ms: u64,
    /// How long it is given instead of a call.
    pub ttl: Duration,
    /// How long after that it may stand in for a call that failed.
    pub stale: Duration,
    /// How long after that it is held for whoever takes any answer.
    pub hold: Duration,
    /// The exposed name of the tool, or what was read.
    pub name: String,
}

impl Kept {
    fn age(&self, unix_ms: u64) -> Duration {
        Duration::from_millis(unix_ms.saturating_sub(self.at_unix_ms))
    }

    /// Whether it is given instead of a call.
    pub fn fresh(&self, unix_ms: u64) -> bool {
        self.age(unix_ms) < self.ttl
    }

    /// Whether it may stand in for a call that failed.
    pub fn stands_in(&self, unix_ms: u64) -> bool {
        self.age(unix_ms) < self.ttl + self.stale
    }

    /// How long it is of any use.
    pub fn useful(&self) -> Duration {
        self.ttl + self.stale + self.hold
    }
}

/// How long a result says that it holds, and whether it is for this client only (`ttlMs`, `cacheScope`; MCP 2026-07-28).
pub fn told_ttl(result: &Body) -> Option<(Duration, bool)> {
    #[derive(Deserialize)]
    struct Told {
        #[serde(rename = "ttlMs")]
        ttl_ms: Option<u64>,
        #[serde(rename = "cacheScope")]
        scope: Option<String>,
    }
    let told: Told = serde_json::from_slice(result.bytes()).ok()?;
    Some((Duration::from_millis(told.ttl_ms?), told.scope.as_deref() != Some("public")))
}

