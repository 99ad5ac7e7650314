//! How much faces retain of the past.

use serde::{Deserialize, Serialize};

/// Retention limits of the read model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// Number of calls.
    pub calls: usize,
    /// Bytes of results among them; older results are dropped, their calls stay.
    pub result_bytes: usize,
    /// Number of frames.
    pub frames: usize,
    /// Bytes of frames: bodies, headers, ids and the overhead of each.
    pub frame_bytes: usize,
    /// Number of log messages, and of anomalies, per server; each limited to [`bounds::LOG_BYTES`](super::bounds::LOG_BYTES).
    pub logs: usize,
}

impl Retention {
    /// Returns the limits, each reduced to that of `other`.
    pub fn at_most(&self, other: &Retention) -> Retention {
        Retention {
            calls: self.calls.min(other.calls),
            result_bytes: self.result_bytes.min(other.result_bytes),
            frames: self.frames.min(other.frames),
            frame_bytes: self.frame_bytes.min(other.frame_bytes),
            logs: self.logs.min(other.logs),
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self { calls: 10_000, result_bytes: 64 << 20, frames: 20_000, frame_bytes: 16 << 20, logs: 500 }
    }
}
