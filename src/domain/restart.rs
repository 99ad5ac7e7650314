//! The restart policy of a lost server: jittered backoff, limited attempts.

use std::{collections::VecDeque, time::Duration};

use super::time::Stamp;

/// First backoff before a program is restarted.
pub const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// First backoff before reconnecting to a server that is run by others: it needs longer to come back, and must not
/// count as failed before that.
pub const FIRST_PAUSE_REMOTE: Duration = Duration::from_secs(1);
/// Maximum backoff.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Number of failures within [`WINDOW`] after which there are no further attempts.
pub const GIVE_UP_AFTER: usize = 5;
/// The window in which failures count.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The restart state of one server.
#[derive(Clone, Debug)]
pub struct Restart {
    first: Duration,
    failures: VecDeque<Stamp>,
    in_row: u32,
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
    /// Creates the state of a server that has not failed yet; `first` is its first backoff.
    pub fn new(first: Duration) -> Restart {
        Restart { first, failures: VecDeque::new(), in_row: 0 }
    }

    /// Records a failure at `now`. `jitter` (0..1) selects the pause from the upper half of the backoff.
    pub fn failed(&mut self, now: Stamp, jitter: f64) -> Verdict {
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|first| now.since(*first) > WINDOW) {
            self.failures.pop_front();
        }
        self.in_row += 1;
        if self.failures.len() >= GIVE_UP_AFTER {
            return Verdict::GiveUp;
        }
        let doubled = self.first.saturating_mul(1 << (self.in_row - 1).min(16)).min(LONGEST_PAUSE);
        Verdict::Again { attempt: self.in_row, pause: doubled.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0)) }
    }

    /// Records that the server became ready: the backoff starts over. Failures still count within the window, so that
    /// a server that dies after every start is given no further attempts either.
    pub fn ready(&mut self) {
        self.in_row = 0;
    }

    /// Clears the state after a manual restart.
    pub fn reset(&mut self) {
        *self = Self::new(self.first);
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
        let mut restart = Restart::new(FIRST_PAUSE);
        for (n, ms) in [(1, 200), (2, 400), (3, 800), (4, 1600)] {
            assert_eq!(restart.failed(at(n), 1.0), Verdict::Again { attempt: n as u32, pause: Duration::from_millis(ms) });
        }
        assert_eq!(restart.failed(at(5), 1.0), Verdict::GiveUp);
        restart.reset();
        assert!(matches!(restart.failed(at(6), 0.0), Verdict::Again { attempt: 1, pause } if pause == FIRST_PAUSE / 2));
    }

    #[test]
    fn old_failures_are_forgotten_and_crash_loops_after_ready_are_not() {
        let mut restart = Restart::new(FIRST_PAUSE);
        for n in 0..20 {
            assert!(matches!(restart.failed(at(n * 20), 0.5), Verdict::Again { .. }), "failure {n}");
        }
        let mut looping = Restart::new(FIRST_PAUSE);
        let verdicts: Vec<_> = (0..5)
            .map(|n| {
                looping.ready();
                looping.failed(at(n), 0.5)
            })
            .collect();
        assert_eq!(verdicts[4], Verdict::GiveUp);
        assert!(matches!(verdicts[3], Verdict::Again { attempt: 1, .. }));
    }
}
