//! The connection state of a server, and what is wrong with a connected one.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ConnectFailure, ServerSpec, Step};
use crate::domain::{
    call::FailureKind,
    time::{Stamp, short},
};

/// The connection state of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Phase {
    /// Not started: the first call that needs it starts it.
    Idle,
    /// Starting; names the current step of the handshake.
    Starting {
        /// The current step.
        step: Step,
    },
    /// Connected, lists read.
    Ready,
    /// Connected, but with a problem.
    Degraded {
        /// The problem.
        reason: DegradedReason,
    },
    /// Disconnected; the next attempt starts automatically.
    Reconnecting {
        /// Attempts since it was last ready, including this one.
        attempt: u32,
        /// When the next attempt starts.
        until: Stamp,
        /// Why the connection ended.
        why: Arc<ConnectFailure>,
    },
    /// Failed without further attempts; can be restarted manually.
    Failed {
        /// The failure.
        why: Arc<ConnectFailure>,
    },
    /// The server wants a login. Not a failure: nothing is tried again before there are other credentials or a restart.
    #[serde(rename = "needs_login")]
    NeedsLogin {
        /// What the server refused, with the login that it wants.
        why: Arc<ConnectFailure>,
    },
    /// Disabled, by configuration or manually.
    Disabled,
}

impl Phase {
    /// Returns the state of a server that was just configured.
    pub fn initial(spec: &ServerSpec) -> Phase {
        match spec.config_failure() {
            _ if spec.disabled => Phase::Disabled,
            Some(why) => Phase::Failed { why: Arc::new(why) },
            None => Phase::Starting { step: Step::Spawn },
        }
    }

    /// Returns the name for users: `idle`, `starting`, `ready`, `degraded`, `reconnecting`, `failed`, `needs login`,
    /// `disabled`.
    pub fn word(&self) -> &'static str {
        match self {
            Phase::Idle => "idle",
            Phase::Starting { .. } => "starting",
            Phase::Ready => "ready",
            Phase::Degraded { .. } => "degraded",
            Phase::Reconnecting { .. } => "reconnecting",
            Phase::Failed { .. } => "failed",
            Phase::NeedsLogin { .. } => "needs login",
            Phase::Disabled => "disabled",
        }
    }

    /// Returns whether calls can be sent.
    pub fn usable(&self) -> bool {
        matches!(self, Phase::Ready | Phase::Degraded { .. })
    }

    /// Returns whether waiting may help: the server is starting or about to start.
    pub fn pending(&self) -> bool {
        matches!(self, Phase::Starting { .. } | Phase::Reconnecting { .. })
    }

    /// Returns what the server or the system refused, if that is behind the state.
    pub fn failure(&self) -> Option<&Arc<ConnectFailure>> {
        match self {
            Phase::Reconnecting { why, .. } | Phase::Failed { why } | Phase::NeedsLogin { why } => Some(why),
            _ => None,
        }
    }
}

/// What is wrong with a connected server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum DegradedReason {
    /// Its lists could not be read.
    Unlisted {
        /// Why.
        error: ListingError,
        /// Whether the previous lists stay in use.
        kept: bool,
    },
    /// Its lists were read with warnings.
    Lists {
        /// The first warning.
        first: String,
        /// How many more there are.
        more: usize,
        /// Whether a list was not read to its end within `timeouts.list`.
        timed_out: bool,
    },
    /// It refuses the health check.
    HealthCheck {
        /// How.
        message: String,
    },
}

impl DegradedReason {
    /// Whether `timeouts.list` was too short.
    pub fn listing_timed_out(&self) -> bool {
        match self {
            DegradedReason::Unlisted { error, .. } => error.timed_out(),
            DegradedReason::Lists { timed_out, .. } => *timed_out,
            DegradedReason::HealthCheck { .. } => false,
        }
    }

    /// The text in it that came from the server, to be changed.
    pub fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            DegradedReason::Unlisted { error: ListingError::Failed { message, .. }, .. } => Some(message),
            DegradedReason::Unlisted { error: ListingError::Timeout { .. }, .. } => None,
            DegradedReason::Lists { first, .. } => Some(first),
            DegradedReason::HealthCheck { message } => Some(message),
        }
    }
}

impl std::fmt::Display for DegradedReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DegradedReason::Unlisted { error, kept: true } => write!(f, "{error}; the previous lists stay in use"),
            DegradedReason::Unlisted { error, kept: false } => error.fmt(f),
            DegradedReason::Lists { first, more: 0, .. } => f.write_str(first),
            DegradedReason::Lists { first, more, .. } => write!(f, "{first} (and {more} more)"),
            DegradedReason::HealthCheck { message } => write!(f, "the health check was refused: {message}"),
        }
    }
}

/// Why the lists of a server could not be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum ListingError {
    /// `timeouts.list` passed.
    Timeout {
        /// That limit.
        limit: Duration,
    },
    /// A request failed.
    Failed {
        /// The class of its failure.
        kind: FailureKind,
        /// What happened.
        message: String,
        /// What the user can try.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

impl ListingError {
    fn timed_out(&self) -> bool {
        matches!(self, ListingError::Timeout { .. } | ListingError::Failed { kind: FailureKind::Timeout, .. })
    }
}

impl std::fmt::Display for ListingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListingError::Timeout { limit } => write!(f, "listing took longer than {}", short(*limit)),
            ListingError::Failed { message, .. } => write!(f, "listing failed: {message}"),
        }
    }
}
