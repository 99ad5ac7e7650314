//! The stages of a call between its start and its end, as shown in its detail and on the timeline.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{route::Decision, verdict::Verdict};
use crate::domain::{
    bounds,
    call::{Failure, Outcome},
    id::{CallId, ServerId},
    time::{Stamp, short},
};

/// Something that happened to a call on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum CallEvent {
    /// It was decided where it goes. Told only when there was something to decide.
    Routed {
        /// Where and why.
        decision: Arc<Decision>,
    },
    /// It waits.
    Waiting {
        /// For what.
        on: Wait,
        /// The server that it waits for.
        server: ServerId,
    },
    /// A breaker has it ask for a sign of life first.
    Probing {
        /// The server.
        server: ServerId,
    },
    /// An attempt begins.
    Attempt {
        /// Its number within the call, from 1.
        attempt: u32,
        /// Whose tool.
        server: ServerId,
        /// The tool's own name, or what is read.
        subject: Arc<str>,
        /// Why there is this attempt.
        cause: Cause,
    },
    /// An attempt ended.
    Ended {
        /// Which.
        attempt: u32,
        /// How it ended.
        end: AttemptEnd,
        /// How it counted.
        verdict: Verdict,
        /// How long it took.
        took: Duration,
    },
    /// The session was lost within an attempt; the request was sent again in a new session.
    Resent {
        /// Which attempt.
        attempt: u32,
        /// Why that does no harm.
        cause: Resend,
    },
    /// A pause before the next attempt.
    BackOff {
        /// How long.
        pause: Duration,
        /// Why that long: `Retry-After`, the back-off.
        why: String,
    },
    /// It was not repeated.
    NotRepeated {
        /// Why not: not known to be safe, the budget is used up, …
        why: String,
    },
    /// An answer kept earlier was given.
    CacheHit {
        /// How old it is.
        age: Duration,
        /// Its key.
        key: String,
        /// Where it was kept: `memory`, `redis`.
        store: String,
        /// Whether it was past its time and stands in for a failed call.
        stale: bool,
    },
    /// The cache had no answer.
    CacheMiss {
        /// The key.
        key: String,
    },
    /// An equal call is under way; its answer is taken.
    Shared {
        /// Which.
        with: CallId,
    },
    /// The call failed; something else is tried.
    Fallback {
        /// What, in words.
        to: String,
        /// Why: the failure before.
        after: String,
    },
    /// A fault made by hand met it.
    Injected {
        /// What was done.
        what: String,
    },
    /// An answer came after its attempt was given up. It moves nothing.
    Late {
        /// Which attempt.
        attempt: u32,
        /// How long after the attempt was sent.
        after: Duration,
    },
}

impl CallEvent {
    /// The stage in words for people, in one line.
    pub fn words(&self) -> String {
        match self {
            CallEvent::Routed { decision } => match (decision.order.first(), &decision.group) {
                (Some(server), Some(group)) => format!("routed to {server} of {group}: {}", decision.why),
                (Some(server), None) => format!("routed to {server}: {}", decision.why),
                (None, _) => format!("routed nowhere: {}", decision.why),
            },
            CallEvent::Waiting { on: Wait::Ready, server } => format!("waits for {server}"),
            CallEvent::Waiting { on: Wait::Place, server } => format!("waits for a place at {server}"),
            CallEvent::Waiting { on: Wait::Rate, server } => format!("waits for the rate of {server}"),
            CallEvent::Probing { server } => format!("asks {server} for a sign of life first"),
            CallEvent::Attempt { attempt, server, subject, cause } => {
                let cause = match cause {
                    Cause::First => "",
                    Cause::Retry => ", again",
                    Cause::Hedge => ", beside the one before",
                    Cause::Failover => ", the next replica",
                    Cause::Fallback => ", as a fallback",
                };
                format!("attempt {attempt}: {subject} of {server}{cause}")
            }
            CallEvent::Ended { attempt, end, took, .. } => format!("attempt {attempt} ended after {}: {end}", short(*took)),
            CallEvent::Resent { attempt, cause } => format!("attempt {attempt}: session lost, sent again in a new one: {}", cause.words()),
            CallEvent::BackOff { pause, why } => format!("pauses {}: {why}", short(*pause)),
            CallEvent::NotRepeated { why } => format!("not repeated: {why}"),
            CallEvent::CacheHit { age, store, stale, .. } => {
                let stale = if *stale { ", past its time" } else { "" };
                format!("answer kept {} ago in {store}{stale}", short(*age))
            }
            CallEvent::CacheMiss { .. } => "no answer was kept".into(),
            CallEvent::Shared { with } => format!("takes the answer of the equal call {with}"),
            CallEvent::Fallback { to, after } => format!("falls back to {to}, after {after}"),
            CallEvent::Injected { what } => format!("fault on purpose: {what}"),
            CallEvent::Late { attempt, after } => format!("attempt {attempt} was answered {} after it was sent: too late", short(*after)),
        }
    }

    /// About how many bytes the failure in it takes.
    pub fn weight(&self) -> usize {
        match self {
            CallEvent::Ended { end, .. } => end.failure().map_or(0, |failure| failure.weight()),
            _ => 0,
        }
    }

    /// The tag that it has in JSON.
    pub fn tag(&self) -> &'static str {
        match self {
            CallEvent::Routed { .. } => "routed",
            CallEvent::Waiting { .. } => "waiting",
            CallEvent::Probing { .. } => "probing",
            CallEvent::Attempt { .. } => "attempt",
            CallEvent::Ended { .. } => "ended",
            CallEvent::Resent { .. } => "resent",
            CallEvent::BackOff { .. } => "back_off",
            CallEvent::NotRepeated { .. } => "not_repeated",
            CallEvent::CacheHit { .. } => "cache_hit",
            CallEvent::CacheMiss { .. } => "cache_miss",
            CallEvent::Shared { .. } => "shared",
            CallEvent::Fallback { .. } => "fallback",
            CallEvent::Injected { .. } => "injected",
            CallEvent::Late { .. } => "late",
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub enum AttemptEnd {
    /// The server answered.
    Ok,
    /// The tool answered with `isError: true`.
    ToolError,
    /// The attempt was cancelled.
    Cancelled {
        /// By whom and why; empty when nobody gave a reason.
        reason: String,
    },
    /// The attempt failed.
    Failed {
        /// Why.
        failure: Arc<Failure>,
    },
}

impl AttemptEnd {
    /// The end of an attempt that had this outcome. Of a failure only kind and front of the message are stored: the whole
    /// failure is with the call.
    pub fn of(outcome: &Outcome) -> AttemptEnd {
        match outcome {
            Outcome::Ok { .. } => AttemptEnd::Ok,
            Outcome::ToolError { .. } => AttemptEnd::ToolError,
            Outcome::Cancelled { reason } => AttemptEnd::Cancelled { reason: bounds::cut(reason, bounds::LINE).into_owned() },
            Outcome::Failed { failure } => AttemptEnd::Failed { failure: Arc::new(failure.thinned()) },
        }
    }

    /// The failure, if the attempt failed.
    pub fn failure(&self) -> Option<&Arc<Failure>> {
        match self {
            AttemptEnd::Failed { failure } => Some(failure),
            AttemptEnd::Ok | AttemptEnd::ToolError | AttemptEnd::Cancelled { .. } => None,
        }
    }
}

/// The words for people: `ok`, `tool error`, `timeout: no answer within 2 s`, `cancelled: …`.
impl fmt::Display for AttemptEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttemptEnd::Ok => f.write_str("ok"),
            AttemptEnd::ToolError => f.write_str("tool error"),
            AttemptEnd::Cancelled { reason } if reason.is_empty() => f.write_str("cancelled"),
            AttemptEnd::Cancelled { reason } => write!(f, "cancelled: {reason}"),
            AttemptEnd::Failed { failure } => write!(f, "{}: {}", failure.kind.words(), failure.message),
        }
    }
}

/// What a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// The server's connection.
    Ready,
    /// A place among the calls in flight.
    Place,
    /// The rate.
    Rate,
}

/// Why there is an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The first.
    First,
    /// The one before failed.
    Retry,
    /// The one before is slow.
    Hedge,
    /// The next replica.
    Failover,
    /// What stands in for a failed call.
    Fallback,
}

/// Why a request was sent again within one attempt, after its session was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resend {
    /// The policy lets the call be repeated.
    Repeatable,
    /// The server refuses a ping with the old session id and accepts one with the new: it refused the call unread.
    ProvenGone,
}

impl Resend {
    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Resend::Repeatable => "the call is safe to repeat",
            Resend::ProvenGone => "the server refuses the old session, so the call did not run in it",
        }
    }
}

/// Stages of one call that are kept; more than any call has that ends.
const STAGES: usize = 256;

/// What happened to one call on its way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CallTrace {
    /// The stages in order, with when each began.
    pub stages: Vec<(Stamp, Arc<CallEvent>)>,
    /// The server of the last attempt.
    pub at: Option<ServerId>,
}

impl CallTrace {
    /// Takes in the next stage.
    pub fn push(&mut self, at: Stamp, stage: &Arc<CallEvent>) {
        if self.stages.len() < STAGES {
            self.stages.push((at, stage.clone()));
        }
    }

    /// Server and tool of the last attempt.
    pub fn place(&self) -> Option<(ServerId, Arc<str>)> {
        self.stages.iter().rev().find_map(|(_, stage)| match &**stage {
            CallEvent::Attempt { server, subject, .. } => Some((server.clone(), subject.clone())),
            _ => None,
        })
    }

    /// The attempts that ended: server, tool, after which time, and the failure.
    pub fn ended(&self) -> impl Iterator<Item = (&ServerId, &Arc<str>, Duration, Option<&Arc<Failure>>)> {
        let begun = |number: u32| {
            self.stages.iter().find_map(|(_, stage)| match &**stage {
                CallEvent::Attempt { attempt, server, subject, .. } if *attempt == number => Some((server, subject)),
                _ => None,
            })
        };
        self.stages.iter().filter_map(move |(_, stage)| match &**stage {
            CallEvent::Ended { attempt, end, took, .. } => {
                let (server, subject) = begun(*attempt)?;
                Some((server, subject, *took, end.failure()))
            }
            _ => None,
        })
    }

    /// Whether there was nothing but one attempt.
    pub fn plain(&self) -> bool {
        let first = |stage: &CallEvent| matches!(stage, CallEvent::Attempt { attempt: 1, .. } | CallEvent::Ended { attempt: 1, .. });
        self.stages.iter().all(|(_, stage)| first(stage))
    }
}
