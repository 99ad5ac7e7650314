//! Permit sources: where the start times of a rate limit come from. [`Limiter`](super::limiter::Limiter) owns one and asks it with
//! its lock held; [`LocalSource`] is the rate of this process alone.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::policy::RateLimit;

/// How far an earlier process can be ahead of a rate limit.
const MAX_AHEAD: Duration = Duration::from_secs(86_400);

/// Where the start times of a rate limit come from. Never fails and never waits: a source that is shared between processes answers
/// from what it has leased in advance.
pub trait PermitSource: Send {
    /// Reserves the earliest start time for a call that is not after `latest`. `None` if there is none.
    fn reserve(&mut self, rate: &RateLimit, latest: Instant) -> Option<Instant>;

    /// Returns a reserved start time that is not used.
    fn cancel(&mut self, at: Instant);

    /// The rate changed.
    fn rate_changed(&mut self) {}

    /// Returns how far the calls are ahead of the rate.
    fn ahead(&self) -> Duration {
        Duration::ZERO
    }

    /// Restores how far the calls of an earlier process were ahead of the rate, unless a call started already.
    fn set_ahead(&mut self, _ahead: Duration) {}
}

/// The start times of one process: a generic cell rate algorithm (ITU-T I.371).
#[derive(Debug, Default)]
pub struct LocalSource {
    /// When the next call may start by the rate alone.
    due: Option<Instant>,
    /// Reserved start times that were cancelled, earliest first. A new caller reuses one, so cancellations do not lower the
    /// rate.
    cancelled: Vec<Instant>,
}

impl PermitSource for LocalSource {
    fn reserve(&mut self, rate: &RateLimit, latest: Instant) -> Option<Instant> {
        let now = Instant::now();
        // An expired start time cannot be reused: the call would come too close to the next one.
        self.cancelled.retain(|at| *at > now);
        if self.cancelled.first().is_some_and(|at| *at <= latest) {
            return Some(self.cancelled.remove(0));
        }
        let step = Duration::from_secs_f64((1.0 / rate.per_second).min(86_400.0));
        let spare = step * rate.burst.saturating_sub(1);
        let due = self.due.unwrap_or(now).max(now);
        let at = due.checked_sub(spare).unwrap_or(now).max(now);
        if at > latest {
            return None;
        }
        self.due = Some(due + step);
        Some(at)
    }

    fn cancel(&mut self, at: Instant) {
        let index = self.cancelled.partition_point(|other| *other <= at);
        self.cancelled.insert(index, at);
    }

    fn rate_changed(&mut self) {
        self.cancelled.clear();
    }

    fn ahead(&self) -> Duration {
        self.due.map(|due| due.saturating_duration_since(Instant::now())).unwrap_or_default()
    }

    fn set_ahead(&mut self, ahead: Duration) {
        if self.due.is_none() && !ahead.is_zero() {
            self.due = Some(Instant::now() + ahead.min(MAX_AHEAD));
        }
    }
}
