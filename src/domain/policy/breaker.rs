//! The circuit breaker: decides whether calls to a server (or tool) are sent or refused.
//!
//! Uses the vocabulary of resilience4j. A pure state machine: callers pass the current time. Each admission carries
//! the generation in which it was granted, so that a late response changes nothing. Callers must return each
//! admission by [`Breaker::record`] or [`Breaker::release`], so that no half-open permit leaks.

#[cfg(test)]
mod loom_tests;
mod machine;
#[cfg(test)]
mod model_tests;
pub mod pooled;
mod stored;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::machine::{Breaker, MOST_CALLS};
use crate::domain::time::Stamp;

/// When a breaker opens and closes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakerPolicy {
    /// Whether there is one.
    pub enabled: bool,
    /// Consecutive failures that open the breaker; zero disables this condition.
    pub consecutive: u32,
    /// Failure rate in the window that opens the breaker, in (0, 1]; zero disables this condition.
    pub failure_rate: f64,
    /// Slow call rate in the window that opens the breaker, in (0, 1]; zero disables this condition.
    pub slow_rate: f64,
    /// Duration from which a call counts as slow.
    pub slow_call: Duration,
    /// The window that the rates are computed over.
    pub window: Window,
    /// Minimum number of calls in the window before a rate counts.
    pub minimum_calls: u32,
    /// How long it stays open the first time.
    pub open_for: Duration,
    /// Factor from one open period to the next, as long as the breaker did not close in between.
    pub open_factor: f64,
    /// The longest time that it stays open.
    pub open_for_max: Duration,
    /// Calls admitted in half-open, and successes needed to close.
    pub half_open_calls: u32,
    /// What is sent first in half-open.
    pub probe: Probe,
    /// After which time a probe that never came back gives its place free.
    pub probe_timeout: Duration,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            enabled: true,
            consecutive: 5,
            failure_rate: 0.5,
            slow_rate: 0.0,
            slow_call: Duration::from_secs(30),
            window: Window::Calls(20),
            minimum_calls: 10,
            open_for: Duration::from_secs(30),
            open_factor: 2.0,
            open_for_max: Duration::from_secs(300),
            half_open_calls: 1,
            probe: Probe::Ping,
            probe_timeout: Duration::from_secs(90),
        }
    }
}

/// The window that the rates of a breaker are computed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// The last N calls.
    Calls(u32),
    /// The calls of the last period of this length.
    Time(Duration),
}

/// What is sent first in half-open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// A health check (`ping` or `server/discover`), then the call.
    #[default]
    Ping,
    /// The call itself.
    Live,
}

/// The state of a breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Calls pass.
    #[default]
    Closed,
    /// Calls are refused.
    Open,
    /// A few calls pass; their results decide.
    HalfOpen,
}

impl State {
    /// Returns the name for users.
    pub fn word(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        }
    }
}

/// A manual override of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerOverride {
    /// Opens the breaker. Probes close it again.
    Trip,
    /// Holds the breaker open until reset.
    HoldOpen,
    /// Holds the breaker closed until reset, whatever fails.
    HoldClosed,
    /// Closes the breaker, ends a hold and clears the counts.
    Reset,
}

/// How one call counted in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    /// A response in time.
    Success,
    /// A slow response.
    Slow,
    /// A failure.
    Failure,
    /// A slow failure.
    SlowFailure,
}

/// A state change with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Time of the change.
    pub at: Stamp,
    /// Previous state.
    pub from: State,
    /// New state.
    pub to: State,
    /// Reason for users.
    pub reason: String,
}

/// A snapshot of a breaker for display.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BreakerView {
    /// The state.
    pub state: State,
    /// Time of the last state change.
    pub since: Stamp,
    /// Reason of the last state change for users; empty if there was none.
    pub reason: String,
    /// The active hold, if a user set one.
    pub held: Option<BreakerOverride>,
    /// The calls in the window, oldest first, at most the last 64.
    pub cells: Vec<Cell>,
    /// Number of calls in the window.
    pub calls: u32,
    /// Failure rate in the window, 0 to 1; `None` below the minimum number of calls.
    pub failure_rate: Option<f64>,
    /// Slow call rate in the window.
    pub slow_rate: Option<f64>,
    /// Consecutive failures.
    pub consecutive: u32,
    /// Time from which the next probe may be sent, while open.
    pub next_probe: Option<Stamp>,
    /// Half-open calls in flight.
    pub probing: u32,
    /// Openings since the breaker last closed by success.
    pub openings: u32,
    /// Calls refused since the breaker opened.
    pub refused: u64,
    /// The last state changes, oldest first, at most 20.
    pub transitions: Vec<Transition>,
}

/// A permit to call through the breaker. It must be returned.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Admission {
    /// The generation in which the permit was granted.
    pub generation: u64,
    /// Number of the half-open permit; `None` while closed.
    pub probe: Option<u64>,
}

/// The reason why a breaker refuses a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Open, or half-open with all permits taken.
    pub state: State,
    /// Time at which the breaker opened.
    pub since: Stamp,
    /// Why the breaker opened.
    pub reason: String,
    /// Time from which the next probe may be sent; `None` while a user holds the breaker open, or while probes are in
    /// flight.
    pub next_probe: Option<Stamp>,
}
