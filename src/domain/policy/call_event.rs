//! Call events: the trace of one call between its start and its end, for its details and the timeline.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{route::Decision, verdict::Verdict};
use crate::domain::{
    bounds,
    call::{Failure, InterimKind, Outcome},
    id::{CallId, ServerId},
    time::{Stamp, short},
};

/// An event in the life of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum CallEvent {
    /// The call was routed. Emitted only if there was a choice.
    Routed {
        /// The route and its reason.
        decision: Arc<Decision>,
    },
    /// The call waits.
    Waiting {
        /// The resource waited for.
        on: Wait,
        /// The server that owns the resource.
        server: ServerId,
    },
    /// A half-open breaker sends a health check before the call.
    Probing {
        /// The server.
        server: ServerId,
    },
    /// An attempt starts.
    Attempt {
        /// Number of the attempt within the call, from 1.
        attempt: u32,
        /// The server of the tool.
        server: ServerId,
        /// The server's name of the tool, or the resource that is read.
        subject: Arc<str>,
        /// The cause of the attempt.
        cause: Cause,
    },
    /// An attempt ended.
    Ended {
        /// The number of the attempt.
        attempt: u32,
        /// How it ended.
        end: AttemptEnd,
        /// How the attempt counts for the breaker.
        verdict: Verdict,
        /// Duration of the attempt.
        took: Duration,
    },
    /// The session was lost during an attempt, and the request was resent in a new session.
    Resent {
        /// The number of the attempt.
        attempt: u32,
        /// Why resending is safe.
        cause: Resend,
    },
    /// A pause before the next attempt.
    BackOff {
        /// Length of the pause.
        pause: Duration,
        /// The reason for its length: `Retry-After`, or the backoff.
        why: String,
    },
    /// The call was not retried.
    NotRepeated {
        /// The reason: not known to be safe, retry budget used up, …
        why: String,
    },
    /// A cached response was served.
    CacheHit {
        /// Age of the response.
        age: Duration,
        /// The cache key.
        key: String,
        /// The store: `memory` or `redis`.
        store: String,
        /// Whether the response was stale and replaces that of a failed call.
        stale: bool,
    },
    /// The cache had no response.
    CacheMiss {
        /// The cache key.
        key: String,
    },
    /// An equal call is in flight; its response is shared (single flight).
    Shared {
        /// The equal call.
        with: CallId,
    },
    /// The call failed; a fallback is tried.
    Fallback {
        /// Description of the fallback.
        to: String,
        /// The failure that caused it.
        after: String,
    },
    /// A manual fault was injected.
    Injected {
        /// Description of the fault.
        what: String,
    },
    /// A response arrived after its attempt had ended. It changes nothing.
    Late {
        /// The number of the attempt.
        attempt: u32,
        /// Time from sending the attempt to the response.
        after: Duration,
    },
}

impl CallEvent {
    /// Describes the event for users, in one line.
    pub fn words(&self) -> String {
        match self {
            CallEvent::Routed { decision } => match (decision.order.first(), &decision.group) {
                (Some(server), Some(group)) => format!("routed to {server} of {group}: {}", decision.why),
                (Some(server), None) => format!("routed to {server}: {}", decision.why),
                (None, _) => format!("routed nowhere: {}", decision.why),
            },
            CallEvent::Waiting { on: Wait::Ready, server } => format!("waiting for {server} to connect"),
            CallEvent::Waiting { on: Wait::Permit, server } => format!("waiting for {server}'s concurrency limit"),
            CallEvent::Waiting { on: Wait::Rate, server } => format!("waiting for {server}'s rate limit"),
            CallEvent::Probing { server } => format!("probing {server} (breaker half-open)"),
            CallEvent::Attempt { attempt, server, subject, cause } => {
                let cause = match cause {
                    Cause::First => "",
                    Cause::Retry => ", retry",
                    Cause::Hedge => ", hedge",
                    Cause::Failover => ", failover to the next replica",
                    Cause::Fallback => ", fallback",
                };
                format!("attempt {attempt}: {subject} of {server}{cause}")
            }
            CallEvent::Ended { attempt, end, took, .. } => format!("attempt {attempt} ended after {}: {end}", short(*took)),
            CallEvent::Resent { attempt, cause } => format!("attempt {attempt}: session lost, resent in a new session: {}", cause.words()),
            CallEvent::BackOff { pause, why } => format!("backoff {}: {why}", short(*pause)),
            CallEvent::NotRepeated { why } => format!("not retried: {why}"),
            CallEvent::CacheHit { age, store, stale, .. } => {
                let stale = if *stale { ", stale" } else { "" };
                format!("response cached {} ago in {store}{stale}", short(*age))
            }
            CallEvent::CacheMiss { .. } => "cache miss".into(),
            CallEvent::Shared { with } => format!("shares the response of equal call {with}"),
            CallEvent::Fallback { to, after } => format!("fallback to {to} after {after}"),
            CallEvent::Injected { what } => format!("fault injected: {what}"),
            CallEvent::Late { attempt, after } => format!("late response to attempt {attempt}, {} after it was sent", short(*after)),
        }
    }

    /// Returns the approximate size of its failure, in bytes.
    pub fn weight(&self) -> usize {
        match self {
            CallEvent::Ended { end, .. } => end.failure().map_or(0, |failure| failure.weight()),
            _ => 0,
        }
    }

    /// Returns the tag of the event in JSON.
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
    /// The server answered with an interim result.
    Interim {
        /// What it waits for.
        kind: InterimKind,
    },
    /// The attempt was cancelled.
    Cancelled {
        /// Who cancelled it and why; empty without a reason.
        reason: String,
    },
    /// The attempt failed.
    Failed {
        /// Why.
        failure: Arc<Failure>,
    },
}

impl AttemptEnd {
    /// Returns the end of an attempt with this outcome. Of a failure it stores the kind and the front of the message: the
    /// call has the complete failure.
    pub fn of(outcome: &Outcome) -> AttemptEnd {
        match outcome {
            Outcome::Ok { .. } => AttemptEnd::Ok,
            Outcome::ToolError { .. } => AttemptEnd::ToolError,
            Outcome::Interim { kind, .. } => AttemptEnd::Interim { kind: *kind },
            Outcome::Cancelled { reason } => AttemptEnd::Cancelled { reason: bounds::cut(reason, bounds::LINE).into_owned() },
            Outcome::Failed { failure } => AttemptEnd::Failed { failure: Arc::new(failure.thinned()) },
        }
    }

    /// Returns the failure of a failed attempt.
    pub fn failure(&self) -> Option<&Arc<Failure>> {
        match self {
            AttemptEnd::Failed { failure } => Some(failure),
            AttemptEnd::Ok | AttemptEnd::ToolError | AttemptEnd::Interim { .. } | AttemptEnd::Cancelled { .. } => None,
        }
    }
}

/// The text for users: `ok`, `tool error`, `timeout: no answer within 2 s`, `cancelled: …`.
impl fmt::Display for AttemptEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttemptEnd::Ok => f.write_str("ok"),
            AttemptEnd::ToolError => f.write_str("tool error"),
            AttemptEnd::Interim { kind } => f.write_str(kind.words()),
            AttemptEnd::Cancelled { reason } if reason.is_empty() => f.write_str("cancelled"),
            AttemptEnd::Cancelled { reason } => write!(f, "cancelled: {reason}"),
            AttemptEnd::Failed { failure } => write!(f, "{}: {}", failure.kind.words(), failure.message),
        }
    }
}

/// The resource that a call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// The server's connection.
    Ready,
    /// A permit of the concurrency limit.
    #[serde(rename = "place")]
    Permit,
    /// The rate limit.
    Rate,
}

/// The cause of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// The first attempt.
    First,
    /// The previous attempt failed.
    Retry,
    /// The previous attempt is slow.
    Hedge,
    /// Another replica is tried.
    Failover,
    /// A fallback is tried after the call failed.
    Fallback,
}

/// Why a request may be resent within one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resend {
    /// The policy allows the call to be repeated.
    Repeatable,
    /// The server refuses a ping with the old session id and accepts one with the new id, so the call was refused
    /// unread.
    ProvenGone,
    /// The server refused the headers or the protocol version of the call before it read the call (-32020, -32022).
    RefusedUnread,
    /// The server refused the credentials, and there are others now.
    NewCredentials,
}

impl Resend {
    /// Returns a description for users.
    pub fn words(self) -> &'static str {
        match self {
            Resend::Repeatable => "the call is safe to retry",
            Resend::ProvenGone => "the server refuses the old session, so the call did not run in it",
            Resend::RefusedUnread => "the server refused its headers or version, so the call did not run",
            Resend::NewCredentials => "the server refused the old credentials, so the call did not run",
        }
    }
}

/// Maximum number of events recorded per call; no call that ends has as many.
const MAX_EVENTS: usize = 256;

/// The trace of one call: its events.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CallTrace {
    /// The events in order, with their times.
    pub stages: Vec<(Stamp, Arc<CallEvent>)>,
    /// The server of the last attempt.
    pub at: Option<ServerId>,
}

impl CallTrace {
    /// Appends an event.
    pub fn push(&mut self, at: Stamp, stage: &Arc<CallEvent>) {
        if self.stages.len() < MAX_EVENTS {
            self.stages.push((at, stage.clone()));
        }
    }

    /// Returns the server and tool of the last attempt.
    pub fn place(&self) -> Option<(ServerId, Arc<str>)> {
        self.stages.iter().rev().find_map(|(_, stage)| match &**stage {
            CallEvent::Attempt { server, subject, .. } => Some((server.clone(), subject.clone())),
            _ => None,
        })
    }

    /// Returns the attempts that ended: server, tool, duration, and the failure.
    pub fn ended(&self) -> impl Iterator<Item = (&ServerId, &Arc<str>, Duration, Option<&Arc<Failure>>)> {
        let started = |number: u32| {
            self.stages.iter().find_map(|(_, stage)| match &**stage {
                CallEvent::Attempt { attempt, server, subject, .. } if *attempt == number => Some((server, subject)),
                _ => None,
            })
        };
        self.stages.iter().filter_map(move |(_, stage)| match &**stage {
            CallEvent::Ended { attempt, end, took, .. } => {
                let (server, subject) = started(*attempt)?;
                Some((server, subject, *took, end.failure()))
            }
            _ => None,
        })
    }

    /// Returns whether the call had a single attempt and no other events.
    pub fn plain(&self) -> bool {
        let single_attempt =
            |stage: &CallEvent| matches!(stage, CallEvent::Attempt { attempt: 1, .. } | CallEvent::Ended { attempt: 1, .. });
        self.stages.iter().all(|(_, stage)| single_attempt(stage))
    }
}
