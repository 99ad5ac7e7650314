//! Faults made by hand, for debugging.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is done to the calls of a server or a tool on purpose. Never kept beyond the process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Added before each attempt.
    pub latency: Duration,
    /// Share of attempts answered with an error of ours (-32603), 0 to 1; they are not sent.
    pub fail: f64,
    /// Share of attempts whose answer is thrown away, so that they hang until their deadline.
    pub drop: f64,
    /// Share of attempts during which the connection is cut.
    pub cut: f64,
    /// Share of answers whose bytes are damaged.
    pub corrupt: f64,
}

impl Fault {
    /// What it does, in words, as in `+200 ms, 30 % fail`.
    pub fn words(&self) -> String {
        let mut words = vec![];
        if !self.latency.is_zero() {
            words.push(format!("+{}", crate::domain::time::short(self.latency)));
        }
        for (share, what) in [(self.fail, "fail"), (self.drop, "drop"), (self.cut, "cut"), (self.corrupt, "corrupt")] {
            if share > 0.0 {
                words.push(format!("{:.0} % {what}", share * 100.0));
            }
        }
        if words.is_empty() { "nothing".into() } else { words.join(", ") }
    }
}
