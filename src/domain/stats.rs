//! Running statistics of a server or tool, updated by each event.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::{
    call::{Failure, FailureKind},
    secret::Redactor,
    time::Stamp,
};

/// Number of recent durations for a sparkline.
pub const RECENT: usize = 24;

/// Buckets per decade in [`Stats::shape`].
pub const PER_DECADE: usize = 8;
/// Buckets of [`Stats::shape`]: 10 µs to 100 s. Shorter and longer durations count in the first and last bucket.
pub const BUCKETS: usize = 7 * PER_DECADE;

/// Response times as a histogram with two significant digits from 1 µs to 1 h. It is allocated with the first sample, and shared
/// by copies until one of them changes.
#[derive(Clone, Default)]
pub struct Latencies(Option<Arc<Histogram<u32>>>);

impl Latencies {
    /// Records a response time.
    pub fn record(&mut self, duration: Duration) {
        self.add(microseconds(duration), 1);
    }

    fn add(&mut self, us: u64, count: u32) {
        if self.0.is_none() {
            self.0 = Histogram::new_with_bounds(1, LONGEST_US, 2).ok().map(Arc::new);
        }
        if let Some(histogram) = &mut self.0 {
            Arc::make_mut(histogram).saturating_record_n(us, count);
        }
    }

    /// Returns the time that `percent` of the responses did not exceed.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        self.0.as_ref().map(|histogram| Duration::from_micros(histogram.value_at_percentile(percent)))
    }

    /// Returns the number of responses.
    pub fn count(&self) -> u64 {
        self.0.as_ref().map_or(0, |histogram| histogram.len())
    }
}

/// Serialised as pairs of a time in microseconds and the number of responses.
impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let recorded = self.0.iter().flat_map(|histogram| histogram.iter_recorded());
        serializer.collect_seq(recorded.map(|bucket| (bucket.value_iterated_to(), bucket.count_at_value())))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut latencies = Latencies::default();
        for (us, count) in Vec::<(u64, u32)>::deserialize(deserializer)? {
            latencies.add(us.clamp(1, LONGEST_US), count);
        }
        Ok(latencies)
    }
}

/// Arrays of a length for which serde has no implementation.
mod array {
    use super::*;

    pub fn serialize<S: Serializer, T: Serialize, const N: usize>(array: &[T; N], serializer: S) -> Result<S::Ok, S::Error> {
        array.as_slice().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>, const N: usize>(deserializer: D) -> Result<[T; N], D::Error> {
        let items = Vec::<T>::deserialize(deserializer)?;
        let length = items.len();
        items.try_into().map_err(|_| D::Error::custom(format_args!("{length} numbers in place of {N}")))
    }

    /// The same, shared and optional.
    pub mod shared {
        use super::*;

        pub fn serialize<S: Serializer, T: Serialize, const N: usize>(
            array: &Option<Arc<[T; N]>>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            array.as_ref().map(|array| array.as_slice()).serialize(serializer)
        }

        pub fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>, const N: usize>(
            deserializer: D,
        ) -> Result<Option<Arc<[T; N]>>, D::Error> {
            let Some(items) = Option::<Vec<T>>::deserialize(deserializer)? else { return Ok(None) };
            let length = items.len();
            let array = items.try_into().map_err(|_| D::Error::custom(format_args!("{length} numbers in place of {N}")))?;
            Ok(Some(Arc::new(array)))
        }
    }
}

/// The longest response time that [`Latencies`] tell apart: one hour, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).clamp(1, LONGEST_US)
}

/// Counts and latencies of the calls of one server or tool.
///
/// Without a sample it allocates nothing, so that an idle server costs nothing.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Calls in flight.
    pub in_flight: u32,
    /// Settled calls.
    pub settled: u64,
    /// Responses, including tool errors.
    pub answered: u64,
    /// Tool errors among the responses.
    pub tool_errors: u64,
    /// Failed calls.
    pub failed: u64,
    /// Cancelled calls.
    pub cancelled: u64,
    /// Attempts beyond the first of a call: retries, hedges, fallbacks.
    pub extra: u64,
    /// Last durations in microseconds, with whether the call failed; oldest first.
    pub recent: VecDeque<(u64, bool)>,
    /// Number of failures per kind.
    pub failures: BTreeMap<FailureKind, u64>,
    /// The last failure and its time.
    pub last_failure: Option<(Stamp, Arc<Failure>)>,
    latencies: Latencies,
    #[serde(with = "array::shared")]
    shape: Option<Arc<[u32; BUCKETS]>>,
    minute: Minute,
}

impl Stats {
    /// Records the duration of an answered call.
    pub fn record(&mut self, duration: Duration) {
        let us = microseconds(duration);
        self.latencies.record(duration);
        let shape = Arc::make_mut(self.shape.get_or_insert_with(|| Arc::new([0; BUCKETS])));
        let bucket = &mut shape[bucket(us)];
        *bucket = bucket.saturating_add(1);
        self.remember(us, false);
    }

    /// Records why a call failed.
    pub fn note_failure(&mut self, at: Stamp, failure: &Arc<Failure>) {
        *self.failures.entry(failure.kind).or_default() += 1;
        self.last_failure = Some((at, failure.clone()));
    }

    /// Masks every known secret in the last failure.
    pub fn mask(&mut self, redactor: &Redactor) {
        if let Some((_, failure)) = &mut self.last_failure {
            *failure = Arc::new(Failure::clone(failure).redacted(redactor));
        }
    }

    /// Records the end of a call, for the rate.
    pub fn note_end(&mut self, at: Stamp) {
        self.minute.add(at);
    }

    /// Returns the calls that ended in the minute before `now`.
    pub fn per_minute(&self, now: Stamp) -> u32 {
        self.minute.seconds(now).iter().map(|n| u32::from(*n)).sum()
    }

    /// Returns the calls that ended in each of the 60 seconds before `now`, oldest first.
    pub fn minute(&self, now: Stamp) -> [u16; 60] {
        self.minute.seconds(now)
    }

    /// Returns the distribution of response times: [`PER_DECADE`] buckets per decade, from 10 µs.
    pub fn shape(&self) -> Option<&[u32; BUCKETS]> {
        self.shape.as_deref()
    }

    /// Records how long a failed call took.
    pub fn record_failure(&mut self, duration: Duration) {
        self.remember(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), true);
    }

    fn remember(&mut self, us: u64, failed: bool) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((us, failed));
    }

    /// Returns the duration that `percent` of the answered calls did not exceed.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        self.latencies.percentile(percent)
    }

    /// Returns the share of failed calls among settled ones, 0 to 1; cancelled calls do not count.
    pub fn failure_rate(&self) -> f64 {
        let counted = self.settled - self.cancelled;
        if counted == 0 { 0.0 } else { self.failed as f64 / counted as f64 }
    }
}

/// Returns the bucket of [`Stats::shape`] for a duration in microseconds.
pub fn bucket(us: u64) -> usize {
    let place = (us.max(1) as f64 / 10.0).log10() * PER_DECADE as f64;
    // The lower end belongs to the bucket, despite rounding of the logarithm.
    ((place + 1e-9).max(0.0) as usize).min(BUCKETS - 1)
}

/// Returns the lower end of a bucket of [`Stats::shape`].
pub fn bucket_start(bucket: usize) -> Duration {
    Duration::from_secs_f64(10f64.powf(bucket as f64 / PER_DECADE as f64) * 10e-6)
}

/// Counts per second in a ring of one minute.
#[derive(Clone, Serialize, Deserialize)]
struct Minute {
    #[serde(with = "array")]
    counts: [u16; 60],
    /// The latest counted second.
    second: u64,
}

impl Default for Minute {
    fn default() -> Self {
        Minute { counts: [0; 60], second: 0 }
    }
}

impl Minute {
    fn add(&mut self, at: Stamp) {
        let second = at.0 / 1_000_000_000;
        if second > self.second {
            for passed in (self.second + 1)..=second.min(self.second + 60) {
                self.counts[(passed % 60) as usize] = 0;
            }
            if second > self.second + 60 {
                self.counts = [0; 60];
            }
            self.second = second;
        }
        if second + 60 > self.second {
            let count = &mut self.counts[(second % 60) as usize];
            *count = count.saturating_add(1);
        }
    }

    fn seconds(&self, now: Stamp) -> [u16; 60] {
        let last = (now.0 / 1_000_000_000).max(self.second);
        let mut out = [0; 60];
        for (place, count) in out.iter_mut().enumerate() {
            let ago = 59 - place as u64;
            if let Some(second) = last.checked_sub(ago).filter(|s| *s <= self.second && *s + 60 > self.second) {
                *count = self.counts[(second % 60) as usize];
            }
        }
        out
    }
}

impl std::fmt::Debug for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stats {{ in_flight: {}, settled: {}, failed: {} }}", self.in_flight, self.settled, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_begin_at_their_documented_start() {
        for index in 1..BUCKETS {
            let us = bucket_start(index).as_nanos().div_ceil(1000) as u64;
            assert!(bucket(us) >= index && bucket(us) <= index + 1, "{index}: {us} µs is in {}", bucket(us));
        }
        assert_eq!((bucket(0), bucket(10), bucket(100), bucket(1_000_000), bucket(u64::MAX)), (0, 0, 8, 40, BUCKETS - 1));
    }

    proptest! {
        #[test]
        fn statistics_are_the_same_after_serialisation(samples in proptest::collection::vec(0u64..5_000_000_000, 0..50)) {
            let mut stats = Stats::default();
            for us in &samples {
                stats.record(Duration::from_micros(*us));
                stats.note_end(Stamp(us * 10));
            }
            let text = serde_json::to_string(&stats).unwrap();
            let mut same: Stats = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&serde_json::to_string(&same).unwrap(), &text);
            for stats in [&mut stats, &mut same] {
                stats.record(Duration::from_micros(70));
            }
            for percent in [0.0, 50.0, 95.0, 100.0] {
                prop_assert_eq!(same.percentile(percent), stats.percentile(percent));
            }
            prop_assert_eq!(same.shape(), stats.shape());
            prop_assert_eq!(same.minute(Stamp(0)), stats.minute(Stamp(0)));
        }

        #[test]
        fn the_rate_counts_the_last_minute(mut ends in proptest::collection::vec(0u64..400, 0..200), now in 0u64..500) {
            ends.sort_unstable();
            let mut stats = Stats::default();
            for end in &ends {
                stats.note_end(Stamp(end * 1_000_000_000 + 7));
            }
            let now = now.max(ends.last().copied().unwrap_or(0));
            let expected = ends.iter().filter(|end| **end + 60 > now).count();
            prop_assert_eq!(stats.per_minute(Stamp(now * 1_000_000_000)) as usize, expected);
        }
    }
}
