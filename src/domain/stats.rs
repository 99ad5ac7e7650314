//! Running figures of a server or a tool, kept up to date event by event.

use std::{collections::VecDeque, time::Duration};

use hdrhistogram::Histogram;

/// How many of the last durations a sparkline shows.
pub const RECENT: usize = 24;

/// Counts and latencies of the calls of one server or one tool.
///
/// The histogram has two significant digits from 1 µs to 1 h and is made with the first sample, so
/// that an idle server costs nothing.
#[derive(Clone, Default)]
pub struct Stats {
    /// Calls under way.
    pub in_flight: u32,
    /// Calls that ended.
    pub settled: u64,
    /// Of these, answered (a tool's own error is an answer).
    pub answered: u64,
    /// Of the answered, tool errors.
    pub tool_errors: u64,
    /// Failed.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// The last durations in microseconds, with whether the call failed; oldest first.
    pub recent: VecDeque<(u64, bool)>,
    histogram: Option<Box<Histogram<u32>>>,
}

impl Stats {
    /// Takes in the duration of an answered call.
    pub fn record(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).clamp(1, 3_600_000_000);
        if self.histogram.is_none() {
            self.histogram = Histogram::new_with_bounds(1, 3_600_000_000, 2).ok().map(Box::new);
        }
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(us);
        }
        self.remember(us, false);
    }

    /// Takes in how long a call took to fail.
    pub fn record_failure(&mut self, duration: Duration) {
        self.remember(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), true);
    }

    fn remember(&mut self, us: u64, failed: bool) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((us, failed));
    }

    /// The duration that `percent` of the answered calls did not exceed.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let histogram = self.histogram.as_ref()?;
        Some(Duration::from_micros(histogram.value_at_percentile(percent)))
    }

    /// The share of failed calls among those that ended, 0 to 1; cancelled ones do not count.
    pub fn failure_rate(&self) -> f64 {
        let counted = self.settled - self.cancelled;
        if counted == 0 { 0.0 } else { self.failed as f64 / counted as f64 }
    }
}

impl std::fmt::Debug for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stats {{ in_flight: {}, settled: {}, failed: {} }}", self.in_flight, self.settled, self.failed)
    }
}
