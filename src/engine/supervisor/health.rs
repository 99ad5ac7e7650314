//! The verdict of a health check.

use std::time::Duration;

use tokio::time::error::Elapsed;

use crate::domain::{call::Failure, secret::Redactor};

/// How long a health check may take.
pub(super) const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two health checks of a server that is away, as far as its open breaker and a failed check tell.
pub(super) const AWAY_CHECK: Duration = Duration::from_millis(250);
/// Health checks that fail in a row before the connection counts as lost.
pub(super) const FAILED_CHECKS: u32 = 2;

pub(super) type HealthCheck = Result<Result<(), Failure>, Elapsed>;

/// The result of a health check.
pub(super) enum Health {
    Up,
    /// The server responds, but with an error.
    Degraded(String),
    /// The server is unreachable, or does not know this session.
    Lost(String),
}

impl Health {
    /// Classifies the result of a check. `accepted`: whether the server accepted an earlier check over this connection.
    pub(super) fn of(checked: HealthCheck, redactor: &Redactor, accepted: bool) -> Health {
        let failure = match checked {
            Ok(Ok(())) => return Health::Up,
            // The server may quote our secrets.
            Ok(Err(failure)) => failure.redacted(redactor),
            Err(_) => return Health::Lost(format!("no response within {} s", HEALTH_TIMEOUT.as_secs())),
        };
        match failure.status {
            // The server does not accept the credentials, the endpoint or the session.
            Some(401 | 403 | 404 | 410) | None => Health::Lost(failure.message),
            // Some servers refuse an unknown session with 400 and an HTML page: an earlier check with the same request
            // succeeded.
            Some(400) if accepted => Health::Lost(failure.message),
            // 429 or any other 4xx: the server is up, even if it does not support the health check.
            Some(400..=499) => Health::Up,
            Some(_) => Health::Degraded(failure.message),
        }
    }
}
