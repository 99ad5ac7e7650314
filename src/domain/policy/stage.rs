//! The stages of a call between its start and its end, as shown in its detail and on the timeline.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{route::Decision, verdict::Verdict};
use crate::domain::{
    id::{CallId, ServerId},
    time::Stamp,
};

/// Something that happened to a call on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
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
        /// The outcome in words: `ok`, `tool error`, `timeout: no answer within 2 s`, `cancelled: …`.
        how: String,
        /// How it counted.
        verdict: Verdict,
        /// How long it took.
        took: Duration,
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

/// Stages of one call that are kept; more than any call has that ends.
const STAGES: usize = 256;

/// What happened to one call on its way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Track {
    /// The stages in order, with when each began.
    pub stages: Vec<(Stamp, Arc<Stage>)>,
    /// The server of the last attempt.
    pub at: Option<ServerId>,
}

impl Track {
    /// Takes in the next stage.
    pub fn push(&mut self, at: Stamp, stage: &Arc<Stage>) {
        if self.stages.len() < STAGES {
            self.stages.push((at, stage.clone()));
        }
    }

    /// Server and tool of the last attempt.
    pub fn place(&self) -> Option<(ServerId, Arc<str>)> {
        self.stages.iter().rev().find_map(|(_, stage)| match &**stage {
            Stage::Attempt { server, subject, .. } => Some((server.clone(), subject.clone())),
            _ => None,
        })
    }

    /// Whether there was nothing but one attempt.
    pub fn plain(&self) -> bool {
        let first = |stage: &Stage| matches!(stage, Stage::Attempt { attempt: 1, .. } | Stage::Ended { attempt: 1, .. });
        self.stages.iter().all(|(_, stage)| first(stage))
    }
}
