//! Progress of a call, and the timestamps of its bytes.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::{body::Body, bounds, time::Stamp};

/// Progress of a call reported by the server (`notifications/progress`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The progress in the server's unit.
    pub progress: f64,
    /// The total, if the server knows it.
    pub total: Option<f64>,
    /// The server's message.
    pub message: Option<String>,
}

impl Progress {
    /// Reads the `params` of `notifications/progress`; `None` without a finite number.
    pub fn read(params: &Body) -> Option<Progress> {
        let [progress, total, message] = params.fields(["progress", "total", "message"])?;
        let number = |raw: &RawValue| raw.get().parse().ok().filter(|number: &f64| number.is_finite());
        Some(Progress {
            progress: number(progress?)?,
            total: total.and_then(number),
            message: message.and_then(|message| bounds::json_text(message.get(), bounds::LINE)),
        })
    }
}

/// Timestamps of a call, taken where its bytes are sent and received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// The call was requested.
    pub queued: Stamp,
    /// The last byte of the (first) request was handed to the system.
    pub sent: Option<Stamp>,
    /// The first byte of the (last) response was read.
    pub first_byte: Option<Stamp>,
    /// The last byte of the (last) response was read.
    pub last_byte: Option<Stamp>,
    /// The outcome was known.
    pub settled: Stamp,
}

impl Timings {
    /// Returns the time from request to outcome.
    pub fn total(&self) -> Duration {
        self.settled.since(self.queued)
    }

    /// Returns the time until the last byte of the request was sent; the total if nothing was sent.
    pub fn wait(&self) -> Duration {
        self.sent.unwrap_or(self.settled).since(self.queued)
    }

    /// Returns the time from the last byte of the request to the last byte of the response; `None` without a
    /// response.
    pub fn wire(&self) -> Option<Duration> {
        Some(self.last_byte?.since(self.sent?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_without_a_finite_number_is_none() {
        let read = |params: &str| Progress::read(&Body::from(params));
        assert_eq!(read(r#"{"progress":1.50,"total":3}"#), Some(Progress { progress: 1.5, total: Some(3.0), message: None }));
        for params in ["{}", r#"{"progress":"1"}"#, r#"{"progress":1e400}"#, "[1]"] {
            assert_eq!(read(params), None, "{params}");
        }
    }
}
