//! The circuit breaker: whether a server (or a tool) is asked at all.
//!
//! Vocabulary of resilience4j. A pure state machine: whoever asks passes the time. Every admission carries
//! the generation that it was given in, so that a late answer moves nothing, and has to be given back by
//! [`Breaker::record`] or [`Breaker::release`], so that no place in half-open leaks.

#[cfg(test)]
mod loom_tests;
mod machine;
#[cfg(test)]
mod model_tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::machine::{Breaker, MOST_CALLS};
use crate::domain::time::Stamp;

/// When a breaker opens and closes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakerPolicy {
    /// Whether there is one.
    pub enabled: bool,
    /// Failures in a row that open it; zero is never.
    pub consecutive: u32,
    /// Share of failures in the window that opens it, above 0 to 1; zero is never.
    pub failure_rate: f64,
    /// Share of slow calls in the window that opens it, above 0 to 1; zero is never.
    pub slow_rate: f64,
    /// From which time on a call is slow.
    pub slow_call: Duration,
    /// What the rates are taken over.
    pub window: Window,
    /// Fewest calls in the window before a rate counts.
    pub minimum_calls: u32,
    /// How long it stays open the first time.
    pub open_for: Duration,
    /// Factor from one opening to the next while it was not closed between.
    pub open_factor: f64,
    /// The longest time that it stays open.
    pub open_for_max: Duration,
    /// Calls let through in half-open, and successes needed to close.
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

/// What the rates of a breaker are taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Window {
    /// The last so many calls.
    Calls(u32),
    /// The calls of the last so long.
    Time(Duration),
}

/// What is sent first in half-open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// A sign of life (`ping`, or `server/discover`), and only then the call.
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
    /// A few calls pass, and decide.
    HalfOpen,
}

impl State {
    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::Open => "open",
            State::HalfOpen => "half-open",
        }
    }
}

/// What a person did to a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerOverride {
    /// Opens it now; it closes by itself as after failures.
    Trip,
    /// Keeps it open until reset.
    HoldOpen,
    /// Keeps it closed until reset, whatever fails.
    HoldClosed,
    /// Closes it, lets go of what was held and forgets what was counted.
    Reset,
}

/// How one call counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cell {
    /// Answered in time.
    Success,
    /// Answered, but slow.
    Slow,
    /// Failed.
    Failure,
    /// Failed, and slow.
    SlowFailure,
}

/// A change of state with its reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// When.
    pub at: Stamp,
    /// From.
    pub from: State,
    /// To.
    pub to: State,
    /// Why, for people.
    pub reason: String,
}

/// A breaker as shown: everything that a panel needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BreakerView {
    /// The state.
    pub state: State,
    /// Since when.
    pub since: Stamp,
    /// Why, for people; empty while it was never anything else.
    pub reason: String,
    /// What a person holds it at.
    pub held: Option<BreakerOverride>,
    /// The window, oldest first, at most the last 64 calls of it.
    pub cells: Vec<Cell>,
    /// Calls in the window.
    pub calls: u32,
    /// Share of failures in the window, 0 to 1; `None` below the minimum of calls.
    pub failure_rate: Option<f64>,
    /// Share of slow calls in the window.
    pub slow_rate: Option<f64>,
    /// Failures in a row.
    pub consecutive: u32,
    /// When the next probe may be sent, while open.
    pub next_probe: Option<Stamp>,
    /// Calls let through in half-open and not yet back.
    pub probing: u32,
    /// How often it opened since it was last closed by success.
    pub openings: u32,
    /// Calls refused since it opened.
    pub refused: u64,
    /// The last changes, oldest first, at most 20.
    pub transitions: Vec<Transition>,
}

/// A place that a breaker gave; has to be given back.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Admission {
    /// State epoch that it was given in.
    pub generation: u64,
    /// Number of the place in half-open; `None` while closed.
    pub probe: Option<u64>,
}

/// Why a breaker refuses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// Open, or half-open with all places taken.
    pub state: State,
    /// Since when it is open.
    pub since: Stamp,
    /// Why it opened.
    pub reason: String,
    /// When the next probe may be sent; `None` when a person holds it open, or probes are under way.
    pub next_probe: Option<Stamp>,
}
