//! When a lost server is started again: jittered back-off, and an end to trying.

use std::{collections::VecDeque, time::Duration};

use super::time::Stamp;

/// First pause before a program is started again.
pub const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// First pause before a server that somebody else runs is tried again: it takes its own time to come
/// back, and must not be given up before that.
pub const FIRST_PAUSE_REMOTE: Duration = Duration::from_secs(1);
/// Longest pause between restarts.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Failures within [`WINDOW`] after which it is given up.
pub const GIVE_UP_AFTER: usize = 5;
/// The window in which failures count.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The restart policy's memory of one server.
#[derive(Clone, Debug)]
pub struct Restart {
    first: Duration,
    failures: VecDeque<Stamp>,
    in_row: u32,
}

/// What to do after a connection was lost or could not be made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Try again after the pause; this will be attempt number `attempt`.
    Again {
        /// Counted from 1 since it was last ready.
        attempt: u32,
        /// How long to wait.
        pause: Duration,
    },
    /// Leave it until somebody restarts it by hand.
    GiveUp,
}

impl Restart {
    /// The memory of a server that has not failed yet; `first` is its first pause.
    pub fn new(first: Duration) -> Restart {
        Restart { first, failures: VecDeque::new(), in_row: 0 }
    }

    /// Records a failure at `now`. `jitter` in 0..1 spreads the pause over its upper half.
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

    /// Records that the server became ready: the next pause is short again. Failures still count
    /// within the window, so that a server that dies after every start is given up too.
    pub fn ready(&mut self) {
        self.in_row = 0;
    }

    /// Forgets everything: a person asked for a restart.
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
    fn pauses_double_and_the_fifth_failure_within_a_minute_ends_it() {
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
