//! Settings of workflows and steps: limits that may be computed in the run, loops, retries and concurrency groups.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::expression::{Expr, Scope, Template};
use crate::domain::time::{parse_duration, short};

/// Maximum value of a [`Count`].
pub const MAX_COUNT: u32 = 1_000;
impl IfBusy {
    /// All values, with their names in the file.
    pub const ALL: [(IfBusy, &'static str); 2] = [(IfBusy::Wait, "wait"), (IfBusy::Fail, "fail")];
}
/// Maximum duration of a time limit.
pub const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 3600);
/// How many rounds a `repeat` has at most by default.
pub const MAX_ROUNDS: u32 = 100;
impl RetryOn {
    /// All classes, with their names in the file.
    pub const ALL: [(RetryOn, &'static str); 7] = [
        (RetryOn::NotReady, "not_ready"),
        (RetryOn::Transport, "transport"),
        (RetryOn::Timeout, "timeout"),
        (RetryOn::Protocol, "protocol"),
        (RetryOn::Exited, "exited"),
        (RetryOn::ToolError, "tool_error"),
        (RetryOn::Expect, "expect"),
    ];

    const fn every() -> [RetryOn; RetryOn::ALL.len()] {
        let mut every = [RetryOn::NotReady; RetryOn::ALL.len()];
        let mut index = 0;
        while index < every.len() {
            every[index] = RetryOn::ALL[index].0;
            index += 1;
        }
        every
    }

    /// Returns the classes that are retried by default: those that another attempt may well cure.
    pub fn default_set() -> &'static [RetryOn] {
        &[RetryOn::NotReady, RetryOn::Transport, RetryOn::Timeout, RetryOn::Protocol, RetryOn::Exited]
    }
}

/// A time limit that is known before the run or computed in it.
#[derive(Clone, Debug)]
pub enum TimeLimit {
    /// A duration.
    Fixed(Duration),
    /// Text with expressions whose value is a duration such as `20s`.
    Computed(Template),
}

impl TimeLimit {
    /// Returns the limit if it is known before the run.
    pub fn fixed(&self) -> Option<Duration> {
        match self {
            TimeLimit::Fixed(limit) => Some(*limit),
            TimeLimit::Computed(_) => None,
        }
    }

    /// Returns the expressions to evaluate.
    pub fn template(&self) -> Option<&Template> {
        match self {
            TimeLimit::Fixed(_) => None,
            TimeLimit::Computed(template) => Some(template),
        }
    }

    /// Evaluates the limit. The error is a message for the user.
    pub fn eval(&self, scope: &Scope) -> Result<Duration, String> {
        let template = match self {
            TimeLimit::Fixed(limit) => return Ok(*limit),
            TimeLimit::Computed(template) => template,
        };
        let value = template.eval(scope).map_err(|error| error.to_string())?;
        let invalid = |why: &str| format!("`timeout`: {} {why}", value.json());
        match value.as_str().map(parse_duration) {
            Some(Some(Duration::ZERO)) => Err(invalid("is not longer than zero")),
            Some(Some(limit)) if limit > MAX_DURATION => Err(invalid("is longer than 30 days")),
            Some(Some(limit)) => Ok(limit),
            None if value.is_number() => Err(invalid("has no unit; write \"{{ … }}s\"")),
            Some(None) | None => Err(invalid("is not a duration such as \"20s\"")),
        }
    }
}

/// A number from 1 that is known before the run or computed in it.
#[derive(Clone, Debug)]
pub enum Count {
    /// A number.
    Fixed(usize),
    /// An expression whose value is a number.
    Computed(Template),
}

impl Count {
    /// Returns the expressions to evaluate.
    pub fn template(&self) -> Option<&Template> {
        match self {
            Count::Fixed(_) => None,
            Count::Computed(template) => Some(template),
        }
    }

    /// Evaluates the number. The error is a message for the user.
    pub fn eval(&self, scope: &Scope) -> Result<usize, String> {
        let template = match self {
            Count::Fixed(count) => return Ok(*count),
            Count::Computed(template) => template,
        };
        let value = template.eval(scope).map_err(|error| error.to_string())?;
        let count = value.json().parse::<usize>().ok().filter(|count| (1..=MAX_COUNT as usize).contains(count));
        count.ok_or_else(|| format!("`max_parallel`: {} is not a number from 1 to {MAX_COUNT}", value.json()))
    }
}

/// A group of runs of which one is active at a time, in all processes with the same store.
#[derive(Clone, Debug)]
pub struct Concurrency {
    /// The name of the group, text.
    pub group: Template,
    /// What a run does while another one of the group is active.
    pub if_busy: IfBusy,
}

/// What a run does while another run of its group is active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfBusy {
    /// It waits until the other one ends.
    #[default]
    Wait,
    /// It fails.
    Fail,
}

/// A loop until a condition is met. Its rounds run one after the other.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// Ends the loop if true after a round; may use the round's `result` and `text`.
    pub until: Option<Expr>,
    /// Ends the loop if false before a round, also before the first; may use `previous`, the result of the round before.
    pub r#while: Option<Expr>,
    /// Pause before each round except the first.
    pub delay: Duration,
    /// Maximum number of rounds, at least 1. The step fails if more would be needed.
    pub limit: u32,
}

impl Repeat {
    /// Describes the loop for users.
    pub fn words(&self) -> String {
        let until = self.until.as_ref().map(|until| format!("until {}", until.source()));
        let condition = self.r#while.as_ref().map(|condition| format!("while {}", condition.source()));
        let delay = (!self.delay.is_zero()).then(|| format!("every {}", short(self.delay)));
        let parts = condition.into_iter().chain(until).chain(delay).chain([if self.limit == 1 {
            "at most once".to_owned()
        } else {
            format!("at most {} times", self.limit)
        }]);
        parts.collect::<Vec<_>>().join(", ")
    }
}

/// The retry policy of a step.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Maximum number of attempts, including the first; at least 1.
    pub attempts: u32,
    /// Backoff before the second attempt.
    pub backoff: Duration,
    /// Factor from one backoff to the next, at least 1.
    pub factor: f64,
    /// Maximum backoff.
    pub max_backoff: Duration,
    /// Whether each backoff is drawn randomly between half and the whole.
    pub jitter: bool,
    /// The failures to retry. If empty: all except those that would recur ([`RetryOn::default_set`]).
    pub on: Vec<RetryOn>,
    /// Retries a failure only if this is true; may use `error` and `attempt`.
    pub when: Option<Expr>,
}

impl Retry {
    /// Creates a retry policy with this many attempts and the default settings.
    pub fn new(attempts: u32) -> Retry {
        Retry {
            attempts,
            backoff: Duration::from_millis(500),
            factor: 2.0,
            max_backoff: Duration::from_secs(30),
            jitter: true,
            on: vec![],
            when: None,
        }
    }

    /// Returns the backoff after attempt number `attempt` (from 1). `draw` is a random number from 0 to 1.
    pub fn delay(&self, attempt: u32, draw: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = (self.backoff.as_secs_f64() * self.factor.powi(exponent)).min(self.max_backoff.as_secs_f64());
        let share = if self.jitter { 0.5 + draw.clamp(0.0, 1.0) / 2.0 } else { 1.0 };
        Duration::try_from_secs_f64(seconds * share).unwrap_or(self.max_backoff)
    }

    /// Returns the failures to retry. A condition without a list decides about every failure.
    pub fn causes(&self) -> &[RetryOn] {
        const EVERY: &[RetryOn] = &RetryOn::every();
        match (self.on.is_empty(), &self.when) {
            (false, _) => &self.on,
            (true, Some(_)) => EVERY,
            (true, None) => RetryOn::default_set(),
        }
    }
}

/// A class of failures that can be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// The server was not ready.
    NotReady,
    /// The connection failed or broke.
    Transport,
    /// The attempt exceeded its deadline.
    Timeout,
    /// The server responded with a JSON-RPC error.
    Protocol,
    /// The server's process exited.
    Exited,
    /// The tool responded with `isError: true`.
    ToolError,
    /// An expectation of the step was not met.
    Expect,
}
