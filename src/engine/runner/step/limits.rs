//! The limits of work: its cancellation and its deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Signal;
use crate::domain::{
    run::{StepError, StepErrorKind},
    time::short,
};

/// The limits of some work.
pub struct Limits {
    /// Cancels the work.
    pub signal: Signal,
    /// The deadline of the work.
    pub deadline: Option<Instant>,
    /// The limit that led to the deadline, for messages.
    pub limit: Option<Duration>,
}

/// Why work ended early.
pub enum Expiry {
    /// It was cancelled.
    Signal,
    /// Its deadline passed.
    Late,
}

impl Limits {
    /// Creates the limits of work that starts now.
    pub fn new(signal: Signal, limit: Option<Duration>) -> Limits {
        Limits { signal, deadline: limit.map(|limit| Instant::now() + limit), limit }
    }

    /// Resolves when the work is cancelled, or `grace` after its deadline.
    pub async fn expired(&self, grace: Duration) -> Expiry {
        let late = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline + grace).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.signal.raised() => Expiry::Signal,
            () = late => Expiry::Late,
        }
    }

    /// Returns the time left.
    pub(super) fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
    }
}

pub fn late(limits: &Limits) -> StepError {
    let limit = limits.limit.map(short).unwrap_or_default();
    StepError::new(StepErrorKind::Timeout, format!("not done within {limit}"))
}
