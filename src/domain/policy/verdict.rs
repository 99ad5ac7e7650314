//! Classifies outcomes: which count as a failure of the server, and which calls may be retried, failed over or
//! hedged.

use serde::{Deserialize, Serialize};

use super::{Policy, Retry, RetryMode};
use crate::domain::{
    call::{Failure, FailureKind, Outcome},
    catalog::Hints,
};

/// How an attempt counts for a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The server responded.
    Success,
    /// The server failed.
    Failure,
    /// The outcome says nothing about the server: our own refusals, cancelled calls, 401, 403, 429, a lost session.
    Neutral,
}

/// The configurable classes of failures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailureRules {
    /// A failed connection.
    pub connect: bool,
    /// The connection closed, or the process exited, before the response.
    pub close: bool,
    /// An attempt that exceeded its deadline.
    pub timeout: bool,
    /// HTTP 5xx and malformed responses.
    pub server_error: bool,
    /// JSON-RPC errors that count, by code.
    pub codes: Vec<i64>,
    /// Tool errors (`isError: true`).
    pub tool_error: bool,
}

impl Default for FailureRules {
    fn default() -> Self {
        Self { connect: true, close: true, timeout: true, server_error: true, codes: vec![-32603, -32000, -32001], tool_error: false }
    }
}

/// Returns whether a JSON-RPC error blames the request itself: the server is healthy and would refuse the same
/// request again. -32020 to -32099 are reserved by the protocol (MCP 2026-07-28).
fn blames_request(code: i64) -> bool {
    matches!(code, -32700 | -32602..=-32600 | -32002 | -32099..=-32020)
}

/// Returns whether the tool may or may not have run after a JSON-RPC error: internal error, and codes of SDKs.
fn leaves_outcome_unknown(code: i64) -> bool {
    matches!(code, -32603 | -32019..=-32000)
}

impl FailureRules {
    /// Returns how the outcome of an attempt counts.
    ///
    /// A JSON-RPC error is more specific than the HTTP status around it and takes precedence. Causes on our side
    /// (cancelled, refused or invalid calls) and conditions of this caller (401, 403, 429, a lost session) are
    /// neutral. Any other response proves that the server is up.
    pub fn verdict(&self, outcome: &Outcome) -> Verdict {
        match outcome {
            // The server answered; what follows is up to the client.
            Outcome::Ok { .. } | Outcome::Interim { .. } => Verdict::Success,
            Outcome::ToolError { .. } if self.tool_error => Verdict::Failure,
            Outcome::ToolError { .. } => Verdict::Success,
            Outcome::Cancelled { .. } => Verdict::Neutral,
            Outcome::Failed { failure } => self.failure_verdict(failure),
        }
    }

    /// Returns how a failed connection counts; `status` is the HTTP status of the response, if there was one.
    pub fn connection(&self, status: Option<u16>) -> Verdict {
        match status {
            None => failure_if(self.connect),
            Some(500..=599) => failure_if(self.server_error),
            // About this caller or the request: says nothing about the server's health.
            Some(_) => Verdict::Neutral,
        }
    }

    fn failure_verdict(&self, failure: &Failure) -> Verdict {
        if failure.session_lost.is_some() {
            return Verdict::Neutral;
        }
        match (failure.status, &failure.rpc) {
            (Some(401 | 403 | 429), _) => return Verdict::Neutral,
            // Servers report a lost session as 404, or as 400 with one of these codes.
            (Some(400 | 404), Some(rpc)) if matches!(rpc.code, -32000 | -32001) => return Verdict::Neutral,
            (_, Some(rpc)) if self.codes.contains(&rpc.code) => return Verdict::Failure,
            (_, Some(rpc)) if blames_request(rpc.code) => return Verdict::Success,
            (Some(500..=599), _) => return failure_if(self.server_error),
            (_, Some(_)) => return Verdict::Success,
            // About this request or its address: says nothing about the server's health.
            (Some(300..=499), None) if failure.kind == FailureKind::Transport => return Verdict::Neutral,
            _ => {}
        }
        match failure.kind {
            FailureKind::Timeout => failure_if(self.timeout),
            FailureKind::Exited => failure_if(self.close),
            FailureKind::Transport if failure.may_have_run => failure_if(self.close),
            FailureKind::Transport => failure_if(self.connect),
            // A malformed response counts like a 502.
            FailureKind::Protocol => failure_if(self.server_error),
            FailureKind::TooLarge => Verdict::Success,
            FailureKind::NotReady
            | FailureKind::UnknownServer
            | FailureKind::UnknownTool
            | FailureKind::InvalidArguments
            | FailureKind::Unauthorized
            | FailureKind::Refused
            | FailureKind::BreakerOpen
            | FailureKind::Overloaded => Verdict::Neutral,
        }
    }
}

/// A class of failures that is switched off is neutral, not a success.
fn failure_if(counts: bool) -> Verdict {
    if counts { Verdict::Failure } else { Verdict::Neutral }
}

/// Returns whether calls of a tool are known to be safe to retry.
///
/// The user's rule (`rule`) decides first; then an idempotency key (`keyed`), by which the server recognises a retry;
/// then the server's annotations, read-only or idempotent, if the user trusts the server.
pub fn is_safe_to_retry(hints: Hints, trusted: bool, rule: Option<bool>, keyed: bool) -> bool {
    let by_hint = trusted && (hints.read_only == Some(true) || hints.idempotent == Some(true));
    rule.unwrap_or(keyed || by_hint)
}

/// Returns whether a request may be resent although it may have run. The transport reads the result from
/// [`Request::may_retry`](crate::engine::ports::Request).
pub fn may_resend(safe: bool, retry: &Retry) -> bool {
    safe && retry.mode == RetryMode::Safe
}

/// Returns why a call that may have run is not retried.
fn no_retry_reason(retry: &Retry) -> &'static str {
    match retry.mode {
        RetryMode::Safe => "it may have run, and is not known to be safe to retry",
        RetryMode::Never => "it may have run, and retries are disabled",
    }
}

/// Returns whether a failed call may be retried on the same server, or the reason why not.
///
/// A call that is not `safe` is retried only if none of it was sent. No HTTP status is an exception, whatever
/// `Retry-After` says: a proxy may answer 429 or 503 to a call that ran, and a server may answer 401 or 404 after it
/// ran.
pub fn may_retry(failure: &Failure, safe: bool, retry: &Retry) -> Result<(), &'static str> {
    match failure.kind {
        FailureKind::NotReady => Err("the server is not connected and will not be in time"),
        FailureKind::BreakerOpen => Err("the breaker is open"),
        FailureKind::Overloaded => Err("the server's concurrency or rate limit is exhausted"),
        _ => may_fail_over(failure, safe, retry),
    }
}

/// Returns whether a failed call may be sent to another replica, or the reason why not.
///
/// As [`may_retry`], except that conditions of this one server do not prevent it: not connected, breaker open,
/// overloaded.
pub fn may_fail_over(failure: &Failure, safe: bool, retry: &Retry) -> Result<(), &'static str> {
    match failure.kind {
        FailureKind::NotReady | FailureKind::BreakerOpen | FailureKind::Overloaded if failure.may_have_run && !may_resend(safe, retry) => {
            return Err(no_retry_reason(retry));
        }
        FailureKind::NotReady | FailureKind::BreakerOpen | FailureKind::Overloaded => return Ok(()),
        FailureKind::UnknownServer => return Err("unknown server"),
        FailureKind::UnknownTool => return Err("the server does not list the tool"),
        FailureKind::InvalidArguments => return Err("the arguments are invalid for any replica"),
        FailureKind::Unauthorized => return Err("the server rejects the credentials"),
        FailureKind::Refused => return Err("the call was refused locally"),
        FailureKind::TooLarge => return Err("the response would be too large again"),
        FailureKind::Transport | FailureKind::Timeout | FailureKind::Protocol | FailureKind::Exited => {}
    }
    match (failure.status, &failure.rpc) {
        (Some(401 | 403), _) => return Err("the server rejects the credentials"),
        (_, Some(rpc)) if blames_request(rpc.code) => return Err("the server rejects this request"),
        (_, Some(rpc)) if !leaves_outcome_unknown(rpc.code) => return Err("the server responded with an application error"),
        (Some(429), _) | (_, Some(_)) => {}
        (Some(300..=499), None) => return Err("the server rejects this request"),
        (None, None) if !failure.may_have_run => return Ok(()),
        _ => {}
    }
    if may_resend(safe, retry) { Ok(()) } else { Err(no_retry_reason(retry)) }
}

/// Returns whether a slow call may be hedged.
pub fn may_hedge(safe: bool, policy: &Policy) -> bool {
    policy.hedge.enabled && may_resend(safe, &policy.retry)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::domain::call::RpcError;

    const SENT: bool = true;

    fn failure(kind: FailureKind, sent: bool) -> Failure {
        Failure { may_have_run: sent, ..Failure::new(kind, "m") }
    }

    fn rpc(code: i64) -> Failure {
        Failure { rpc: Some(RpcError { code, message: "m".into(), data: None }), ..failure(FailureKind::Protocol, SENT) }
    }

    fn http(status: u16, code: Option<i64>) -> Failure {
        let base = code.map_or_else(|| failure(FailureKind::Transport, SENT), rpc);
        let kind = if matches!(status, 401 | 403) { FailureKind::Unauthorized } else { base.kind };
        Failure { status: Some(status), may_have_run: SENT, kind, ..base }
    }

    fn with_retry_after(failure: Failure) -> Failure {
        Failure { retry_after: Some(Duration::from_secs(1)), ..failure }
    }

    /// Checks the table of failures: the verdict, and whether any call, or only a safe one, is retried.
    #[test]
    fn failures_count_and_are_retried_as_in_the_table() {
        use FailureKind::*;
        use Verdict::{Failure as Fail, Neutral, Success};
        let table = [
            ("no connection", failure(Transport, !SENT), Fail, true, true),
            ("process exited before sending", failure(Exited, !SENT), Fail, true, true),
            ("connection lost", failure(Transport, SENT), Fail, false, true),
            ("process died", failure(Exited, SENT), Fail, false, true),
            ("deadline", failure(Timeout, SENT), Fail, false, true),
            ("garbage", failure(Protocol, SENT), Fail, false, true),
            ("internal error", rpc(-32603), Fail, false, true),
            ("sdk error", rpc(-32000), Fail, false, true),
            ("other sdk error", rpc(-32010), Success, false, true),
            ("http 500", http(500, None), Fail, false, true),
            ("http 500 with an internal error", http(500, Some(-32603)), Fail, false, true),
            ("http 500 about the arguments", http(500, Some(-32602)), Success, false, false),
            ("http 502", http(502, None), Fail, false, true),
            ("http 504", http(504, None), Fail, false, true),
            ("http 503", http(503, None), Fail, false, true),
            ("http 503, with Retry-After", with_retry_after(http(503, None)), Fail, false, true),
            ("http 429", http(429, None), Neutral, false, true),
            ("http 429, with Retry-After", with_retry_after(http(429, None)), Neutral, false, true),
            ("http 401", http(401, None), Neutral, false, false),
            ("http 403 with a JSON-RPC error", http(403, Some(-32603)), Neutral, false, false),
            ("session lost", http(404, None), Neutral, false, false),
            ("session lost, reported as 400", http(400, Some(-32000)), Neutral, false, true),
            ("redirected", http(308, None), Neutral, false, false),
            ("http 400", http(400, None), Neutral, false, false),
            ("http 408", http(408, None), Neutral, false, false),
            ("http 409", http(409, None), Neutral, false, false),
            ("http 425", http(425, None), Neutral, false, false),
            ("parse error", rpc(-32700), Success, false, false),
            ("invalid request", rpc(-32600), Success, false, false),
            ("no such method", rpc(-32601), Success, false, false),
            ("wrong arguments", rpc(-32602), Success, false, false),
            ("no such resource", rpc(-32002), Success, false, false),
            ("pages to open", rpc(-32042), Success, false, false),
            ("headers differ", rpc(-32020), Success, false, false),
            ("an error of the application", rpc(1001), Success, false, false),
            ("too large", failure(TooLarge, SENT), Success, false, false),
            ("arguments wrong here", failure(InvalidArguments, !SENT), Neutral, false, false),
            ("tool unknown here", failure(UnknownTool, !SENT), Neutral, false, false),
            ("breaker open", failure(BreakerOpen, !SENT), Neutral, false, false),
            ("overloaded", failure(Overloaded, !SENT), Neutral, false, false),
            ("not ready", failure(NotReady, !SENT), Neutral, false, false),
            ("refused here", failure(Refused, SENT), Neutral, false, false),
            ("not ready after an attempt", failure(NotReady, SENT), Neutral, false, false),
        ];
        let counting = FailureRules::default();
        for (name, failure, verdict, any, safe) in table {
            let outcome = Outcome::Failed { failure: Arc::new(failure.clone()) };
            assert_eq!(counting.verdict(&outcome), verdict, "{name}");
            assert_eq!(may_retry(&failure, false, &Retry::default()).is_ok(), any, "{name}, any tool");
            assert_eq!(may_retry(&failure, true, &Retry::default()).is_ok(), safe, "{name}, safe");
            let never = Retry { mode: RetryMode::Never, ..Retry::default() };
            assert_eq!(may_retry(&failure, true, &never).is_ok(), any, "{name}, never");
        }
        let elsewhere = |kind| may_fail_over(&failure(kind, !SENT), false, &Retry::default()).is_ok();
        assert!(elsewhere(BreakerOpen) && elsewhere(Overloaded) && elsewhere(NotReady) && !elsewhere(InvalidArguments));
        let ran = |kind, safe| may_fail_over(&failure(kind, SENT), safe, &Retry::default()).is_ok();
        assert!(!ran(NotReady, false) && !ran(Overloaded, false) && ran(NotReady, true));
    }

    #[test]
    fn a_failed_connection_counts_by_its_class() {
        let counting = FailureRules::default();
        for (status, verdict) in
            [(None, Verdict::Failure), (Some(503), Verdict::Failure), (Some(401), Verdict::Neutral), (Some(429), Verdict::Neutral)]
        {
            assert_eq!(counting.connection(status), verdict, "{status:?}");
        }
        let off = FailureRules { connect: false, ..counting };
        assert_eq!((off.connection(None), off.connection(Some(500))), (Verdict::Neutral, Verdict::Failure));
    }

    #[test]
    fn tool_errors_and_cancelled_calls_do_not_count_as_failures() {
        let tool_error = Outcome::ToolError { result: "{}".into() };
        assert_eq!(FailureRules::default().verdict(&tool_error), Verdict::Success);
        assert_eq!(FailureRules { tool_error: true, ..FailureRules::default() }.verdict(&tool_error), Verdict::Failure);
        assert_eq!(FailureRules::default().verdict(&Outcome::Cancelled { reason: "r".into() }), Verdict::Neutral);
        let off = FailureRules { timeout: false, ..FailureRules::default() };
        let late = Outcome::Failed { failure: Arc::new(failure(FailureKind::Timeout, SENT)) };
        assert_eq!(off.verdict(&late), Verdict::Neutral);
    }

    #[test]
    fn safe_by_rule_by_key_or_by_the_annotations_of_a_trusted_server() {
        let reads = Hints { read_only: Some(true), ..Hints::default() };
        let repeats = Hints { idempotent: Some(true), destructive: Some(true), ..Hints::default() };
        assert!(is_safe_to_retry(reads, true, None, false) && is_safe_to_retry(repeats, true, None, false));
        assert!(!is_safe_to_retry(reads, false, None, false) && !is_safe_to_retry(Hints::default(), true, None, false));
        assert!(is_safe_to_retry(Hints::default(), false, Some(true), false) && is_safe_to_retry(Hints::default(), false, None, true));
        assert!(!is_safe_to_retry(reads, true, Some(false), true), "the user's rule comes first");
        let mut policy = Policy::default();
        assert!(!may_hedge(true, &policy));
        policy.hedge.enabled = true;
        assert!(may_hedge(true, &policy) && !may_hedge(false, &policy));
    }
}
