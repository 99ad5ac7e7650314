//! The state of a server that outlives a process: breakers, latency estimate and rate windows, so that each command of a script
//! knows what the ones before it learned.
//!
//! Durations are relative to the time of the snapshot. Restoring takes its age.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::breaker::{Cell, State};
use crate::domain::{
    server::ServerSpec,
    stored_catalog::{Hash, launch_fingerprint},
};

/// How long a stored state is used: longer than breakers stay open by default.
pub const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// Tools of a server whose state is stored at most.
pub const MAX_TOOLS: usize = 100;

/// The state of a server and of its tools.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetState {
    /// The breaker of the server; `None` if it knows nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerState>,
    /// The breakers of tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, BreakerState>,
    /// The moving average of latency, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<f64>,
    /// How far the calls of the server are ahead of its rate limit.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub rate_ahead: Duration,
    /// How far the calls of tools are ahead of their rate limits.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tool_rates: BTreeMap<String, Duration>,
}

/// The state of a breaker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakerState {
    /// The state. A half-open breaker is stored as open, with no time left.
    pub state: State,
    /// Why it opened.
    #[serde(default)]
    pub reason: String,
    /// How long it has been in this state.
    pub since: Duration,
    /// How long it stays open.
    #[serde(default)]
    pub open_for: Duration,
    /// The calls in the window, oldest first: their age and result.
    pub calls: Vec<(Duration, Cell)>,
    /// Consecutive failures.
    pub consecutive: u32,
    /// How many of these were failed connections.
    pub failed_connections: u32,
    /// Whether it opened because of failed connections only.
    #[serde(default)]
    pub connections_only: bool,
    /// Openings since it last closed by success.
    pub openings: u32,
}

/// Returns the key of a server's state: a hash of what starts or addresses it, and its name.
pub fn key(spec: &ServerSpec) -> Hash {
    let mut hash = Sha256::new();
    hash.update(b"switchboard target state 1");
    hash.update(launch_fingerprint(&spec.launch));
    hash.update(spec.id.as_str());
    hash.finalize().into()
}
