//! The restart policy of a lost server: jittered backoff, limited attempts.

use std::{collections::VecDeque, time::Duration};

use super::time::Stamp;

/// Number of lost connections within [`WINDOW`] after which there are no further attempts.
pub const LOST_LIMIT: usize = 5;
/// The window in which failures count.
pub const WINDOW: Duration = Duration::from_secs(60);

/// How long and how often a server is reconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// First backoff; it doubles with every failed attempt.
    pub first_pause: Duration,
    /// Maximum backoff.
    pub longest_pause: Duration,
    /// Number of failures within [`WINDOW`] after which there are no further attempts, once `retry_for` has passed.
    pub failure_limit: usize,
    /// Minimum time from the first failure in a row to the last attempt.
    pub retry_for: Duration,
}

impl RestartPolicy {
    /// For a program that we start: if it fails, it usually fails again.
    pub const LOCAL: RestartPolicy = RestartPolicy {
        first_pause: Duration::from_millis(200),
        longest_pause: Duration::from_secs(30),
        failure_limit: 5,
        retry_for: Duration::ZERO,
    };
    /// For a server that is run by others: it takes some seconds to come back, and should be used as soon as it is. An
    /// attempt that is refused is cheap.
    pub const REMOTE: RestartPolicy = RestartPolicy {
        first_pause: Duration::from_millis(250),
        longest_pause: Duration::from_secs(1),
        failure_limit: 5,
        retry_for: Duration::from_secs(14),
    };
}

/// The restart state of one server.
#[derive(Clone, Debug)]
pub struct Restart {
    policy: RestartPolicy,
    /// Failures in the window: when, and whether a connection was lost.
    failures: VecDeque<(Stamp, bool)>,
    in_row: u32,
    /// The first failure in a row.
    since: Stamp,
    connected: bool,
}

/// What to do after a connection was lost or failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Try again after the pause.
    Again {
        /// Number of the attempt, from 1 since the server was last ready.
        attempt: u32,
        /// Length of the pause.
        pause: Duration,
    },
    /// Make no further attempts until a manual restart.
    GiveUp,
}

impl Restart {
    /// Creates the state of a server that has not failed yet.
    pub fn new(policy: RestartPolicy) -> Restart {
        Restart { policy, failures: VecDeque::new(), in_row: 0, since: Stamp::default(), connected: false }
    }

    /// Records a failure at `now`. `jitter` (0..1) selects the pause from the upper half of the backoff.
    pub fn failed(&mut self, now: Stamp, jitter: f64) -> Verdict {
        self.failures.push_back((now, std::mem::take(&mut self.connected)));
        while self.failures.front().is_some_and(|(first, _)| now.since(*first) > WINDOW) {
            self.failures.pop_front();
        }
        if self.in_row == 0 {
            self.since = now;
        }
        self.in_row += 1;
        let lost = self.failures.iter().filter(|(_, lost)| *lost).count();
        if lost >= LOST_LIMIT || (self.failures.len() >= self.policy.failure_limit && now.since(self.since) >= self.policy.retry_for) {
            return Verdict::GiveUp;
        }
        let doubled = self.policy.first_pause.saturating_mul(1 << (self.in_row - 1).min(16)).min(self.policy.longest_pause);
        Verdict::Again { attempt: self.in_row, pause: doubled.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0)) }
    }

    /// Records that the server became ready: the backoff starts over. Failures still count within the window, so that
    /// a server that dies after every start is given no further attempts either.
    pub fn ready(&mut self) {
        self.in_row = 0;
        self.connected = true;
    }

    /// Clears the state after a manual restart.
    pub fn reset(&mut self) {
        *self = Self::new(self.policy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Stamp {
        Stamp(s * 1_000_000_000)
    }

    #[test]
    fn backoff_doubles_and_the_fifth_failure_within_a_minute_ends_it() {
        let mut restart = Restart::new(RestartPolicy::LOCAL);
        for (n, ms) in [(1, 200), (2, 400), (3, 800), (4, 1600)] {
            assert_eq!(restart.failed(at(n), 1.0), Verdict::Again { attempt: n as u32, pause: Duration::from_millis(ms) });
        }
        assert_eq!(restart.failed(at(5), 1.0), Verdict::GiveUp);
        restart.reset();
        assert!(
            matches!(restart.failed(at(6), 0.0), Verdict::Again { attempt: 1, pause } if pause == RestartPolicy::LOCAL.first_pause / 2)
        );
    }

    #[test]
    fn old_failures_are_forgotten_and_crash_loops_after_ready_are_not() {
        let mut restart = Restart::new(RestartPolicy::LOCAL);
        for n in 0..20 {
            assert!(matches!(restart.failed(at(n * 20), 0.5), Verdict::Again { .. }), "failure {n}");
        }
        let mut looping = Restart::new(RestartPolicy::LOCAL);
        let verdicts: Vec<_> = (0..5)
            .map(|n| {
                looping.ready();
                looping.failed(at(n), 0.5)
            })
            .collect();
        assert_eq!(verdicts[4], Verdict::GiveUp);
        assert!(matches!(verdicts[3], Verdict::Again { attempt: 1, .. }));
    }

    #[test]
    fn a_remote_server_is_tried_every_second_for_a_quarter_of_a_minute() {
        let mut restart = Restart::new(RestartPolicy::REMOTE);
        restart.ready();
        let (mut now, mut attempts) = (Duration::ZERO, 0);
        while let Verdict::Again { pause, .. } = restart.failed(Stamp(now.as_nanos() as u64), 1.0) {
            assert!(pause <= Duration::from_secs(1));
            now += pause;
            attempts += 1;
        }
        assert_eq!((attempts, now.as_millis()), (16, 14_750));
        // Connections that are lost again and again end it earlier.
        let mut looping = Restart::new(RestartPolicy::REMOTE);
        let verdicts = (0..5).map(|n| {
            looping.ready();
            looping.failed(at(n), 0.5)
        });
        assert_eq!(verdicts.last(), Some(Verdict::GiveUp));
    }
}
