//! What counts as a failure of the server, and what may be done about it.

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
    /// The server is alive.
    Success,
    /// The server failed.
    Failure,
    /// It says nothing about the server: our own refusals, cancelled calls, 401, 403, 429, a lost session.
    Neutral,
}

/// What counts as a failure: the classes that can be switched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailureRules {
    /// The connection could not be made.
    pub connect: bool,
    /// The connection ended, or the process did, before the answer.
    pub close: bool,
    /// The deadline of an attempt passed.
    pub timeout: bool,
    /// HTTP 500 to 599.
    pub server_error: bool,
    /// JSON-RPC errors that count, by code.
    pub codes: Vec<i64>,
    /// A tool's own error (`isError: true`).
    pub tool_error: bool,
}

impl Default for FailureRules {
    fn default() -> Self {
        Self { connect: true, close: true, timeout: true, server_error: true, codes: vec![-32603, -32000, -32001], tool_error: false }
    }
}

/// JSON-RPC errors by which a server says that the request itself was wrong: it is well, and the same request
/// would be refused again. -32020 to -32099 belong to the protocol (MCP 2026-07-28).
fn blames_request(code: i64) -> bool {
    matches!(code, -32700 | -32602..=-32600 | -32002 | -32099..=-32020)
}

/// JSON-RPC errors after which the tool may or may not have run: internal error, and those of SDKs.
fn leaves_open(code: i64) -> bool {
    matches!(code, -32603 | -32019..=-32000)
}

impl FailureRules {
    /// How an attempt that ended like this counts.
    ///
    /// The JSON-RPC answer says more than the HTTP status around it. Whatever is ours (a call given up, refused or
    /// wrong on this side) and whatever is about this caller (401, 403, 429, a lost session) is neutral; any other
    /// answer is a sign of life.
    pub fn verdict(&self, outcome: &Outcome) -> Verdict {
        match outcome {
            Outcome::Ok { .. } => Verdict::Success,
            Outcome::ToolError { .. } if self.tool_error => Verdict::Failure,
            Outcome::ToolError { .. } => Verdict::Success,
            Outcome::Cancelled { .. } => Verdict::Neutral,
            Outcome::Failed { failure } => self.of_failure(failure),
        }
    }

    /// How a connection that could not be made counts; `status` is the HTTP status that was answered, if any was.
    pub fn connection(&self, status: Option<u16>) -> Verdict {
        match status {
            None => failure_if(self.connect),
            Some(500..=599) => failure_if(self.server_error),
            // About this caller, or about what was asked: nothing is said of the server's health.
            Some(_) => Verdict::Neutral,
        }
    }

    fn of_failure(&self, failure: &Failure) -> Verdict {
        match (failure.status, &failure.rpc) {
            (Some(401 | 403 | 429), _) => return Verdict::Neutral,
            // Servers tell of a lost session by 404, or by 400 and one of these codes.
            (Some(400 | 404), Some(rpc)) if matches!(rpc.code, -32000 | -32001) => return Verdict::Neutral,
            (_, Some(rpc)) if self.codes.contains(&rpc.code) => return Verdict::Failure,
            (_, Some(rpc)) if blames_request(rpc.code) => return Verdict::Success,
            (Some(500..=599), _) => return failure_if(self.server_error),
            (_, Some(_)) => return Verdict::Success,
            // About this request or its address: nothing is said of the server's health.
            (Some(300..=499), None) if failure.kind == FailureKind::Transport => return Verdict::Neutral,
            _ => {}
        }
        match failure.kind {
            FailureKind::Timeout => failure_if(self.timeout),
            FailureKind::Exited => failure_if(self.close),
            FailureKind::Transport if failure.may_have_run => failure_if(self.close),
            FailureKind::Transport => failure_if(self.connect),
            // An answer that is none is as good as a 502.
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

/// A switched-off class of failures says nothing, except that it is no success.
fn failure_if(counts: bool) -> Verdict {
    if counts { Verdict::Failure } else { Verdict::Neutral }
}

/// Whether a tool's calls are known to be safe to repeat.
///
/// The user's own word (`rule`) comes first; then an idempotency key (`keyed`), by which the server tells a repetition;
/// then the server's hints, if the user trusts it: read-only or idempotent.
pub fn safe(hints: Hints, trusted: bool, rule: Option<bool>, keyed: bool) -> bool {
    let by_hint = trusted && (hints.read_only == Some(true) || hints.idempotent == Some(true));
    rule.unwrap_or(keyed || by_hint)
}

/// Whether a request may be sent again although it may have run. The transport asks it through
/// [`Request::repeatable`](crate::engine::ports::Request).
pub fn resendable(safe: bool, retry: &Retry) -> bool {
    safe && retry.mode == RetryMode::Safe
}

/// Why a call that may have run is not sent again.
fn unrepeatable(retry: &Retry) -> &'static str {
    match retry.mode {
        RetryMode::Safe => "it may have run, and is not known to be safe to repeat",
        RetryMode::Never => "it may have run, and repeating is switched off",
    }
}

/// Whether a call that failed like this may be sent to the same server again; if not, why.
///
/// A call that is not `safe` is repeated only while nothing of it was sent. No HTTP status is an exception, whatever it says
/// of coming again: a proxy may answer 429 or 503 to a call that ran, and a server may answer 401 or 404 after it ran.
pub fn repeatable(failure: &Failure, safe: bool, retry: &Retry) -> Result<(), &'static str> {
    match failure.kind {
        FailureKind::NotReady => Err("the server is not connected, and will not be in time"),
        FailureKind::BreakerOpen => Err("the breaker is open"),
        FailureKind::Overloaded => Err("the server has as much to do as it is given"),
        _ => passable(failure, safe, retry),
    }
}

/// Whether a call that failed like this may be sent to another replica; if not, why.
///
/// As [`repeatable`], but what only this server cannot do now is no obstacle: it is not connected, its breaker is
/// open, it has too much to do.
pub fn passable(failure: &Failure, safe: bool, retry: &Retry) -> Result<(), &'static str> {
    match failure.kind {
        FailureKind::NotReady | FailureKind::BreakerOpen | FailureKind::Overloaded if failure.may_have_run && !resendable(safe, retry) => {
            return Err(unrepeatable(retry));
        }
        FailureKind::NotReady | FailureKind::BreakerOpen | FailureKind::Overloaded => return Ok(()),
        FailureKind::UnknownServer => return Err("there is no such server"),
        FailureKind::UnknownTool => return Err("the server offers no such tool"),
        FailureKind::InvalidArguments => return Err("the arguments would be wrong again"),
        FailureKind::Unauthorized => return Err("the server wants other credentials"),
        FailureKind::Refused => return Err("it was refused on this side"),
        FailureKind::TooLarge => return Err("the answer would be too large again"),
        FailureKind::Transport | FailureKind::Timeout | FailureKind::Protocol | FailureKind::Exited => {}
    }
    match (failure.status, &failure.rpc) {
        (Some(401 | 403), _) => return Err("the server wants other credentials"),
        (_, Some(rpc)) if blames_request(rpc.code) => return Err("the server refuses this very request"),
        (_, Some(rpc)) if !leaves_open(rpc.code) => return Err("the server answered with an error of its own"),
        (Some(429), _) | (_, Some(_)) => {}
        (Some(300..=499), None) => return Err("the server refuses this very request"),
        (None, None) if !failure.may_have_run => return Ok(()),
        _ => {}
    }
    if resendable(safe, retry) { Ok(()) } else { Err(unrepeatable(retry)) }
}

/// Whether a slow call may be sent a second time beside the first.
pub fn hedgeable(safe: bool, policy: &Policy) -> bool {
    policy.hedge.enabled && resendable(safe, &policy.retry)
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

    fn asked_to_wait(failure: Failure) -> Failure {
        Failure { retry_after: Some(Duration::from_secs(1)), ..failure }
    }

    /// The table of failures: the verdict, and whether a call of any tool, or a safe one, is repeated.
    #[test]
    fn failures_count_and_are_repeated_by_the_table() {
        use FailureKind::*;
        use Verdict::{Failure as Fail, Neutral, Success};
        let table = [
            ("no connection", failure(Transport, !SENT), Fail, true, true),
            ("process gone before", failure(Exited, !SENT), Fail, true, true),
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
            ("http 503, come again", asked_to_wait(http(503, None)), Fail, false, true),
            ("http 429", http(429, None), Neutral, false, true),
            ("http 429, come again", asked_to_wait(http(429, None)), Neutral, false, true),
            ("http 401", http(401, None), Neutral, false, false),
            ("http 403 with words", http(403, Some(-32603)), Neutral, false, false),
            ("session lost", http(404, None), Neutral, false, false),
            ("session lost, told as 400", http(400, Some(-32000)), Neutral, false, true),
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
            assert_eq!(repeatable(&failure, false, &Retry::default()).is_ok(), any, "{name}, any tool");
            assert_eq!(repeatable(&failure, true, &Retry::default()).is_ok(), safe, "{name}, safe");
            let never = Retry { mode: RetryMode::Never, ..Retry::default() };
            assert_eq!(repeatable(&failure, true, &never).is_ok(), any, "{name}, never");
        }
        let elsewhere = |kind| passable(&failure(kind, !SENT), false, &Retry::default()).is_ok();
        assert!(elsewhere(BreakerOpen) && elsewhere(Overloaded) && elsewhere(NotReady) && !elsewhere(InvalidArguments));
        let ran = |kind, safe| passable(&failure(kind, SENT), safe, &Retry::default()).is_ok();
        assert!(!ran(NotReady, false) && !ran(Overloaded, false) && ran(NotReady, true));
    }

    #[test]
    fn a_connection_that_could_not_be_made_counts_by_its_class() {
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
    fn a_tools_own_error_and_a_cancel_say_nothing_bad() {
        let tool_error = Outcome::ToolError { result: "{}".into() };
        assert_eq!(FailureRules::default().verdict(&tool_error), Verdict::Success);
        assert_eq!(FailureRules { tool_error: true, ..FailureRules::default() }.verdict(&tool_error), Verdict::Failure);
        assert_eq!(FailureRules::default().verdict(&Outcome::Cancelled { reason: "r".into() }), Verdict::Neutral);
        let off = FailureRules { timeout: false, ..FailureRules::default() };
        let late = Outcome::Failed { failure: Arc::new(failure(FailureKind::Timeout, SENT)) };
        assert_eq!(off.verdict(&late), Verdict::Neutral);
    }

    #[test]
    fn safe_by_word_by_key_or_by_the_hints_of_a_trusted_server() {
        let reads = Hints { read_only: Some(true), ..Hints::default() };
        let repeats = Hints { idempotent: Some(true), destructive: Some(true), ..Hints::default() };
        assert!(safe(reads, true, None, false) && safe(repeats, true, None, false));
        assert!(!safe(reads, false, None, false) && !safe(Hints::default(), true, None, false));
        assert!(safe(Hints::default(), false, Some(true), false) && safe(Hints::default(), false, None, true));
        assert!(!safe(reads, true, Some(false), true), "the user's word comes first");
        let mut policy = Policy::default();
        assert!(!hedgeable(true, &policy));
        policy.hedge.enabled = true;
        assert!(hedgeable(true, &policy) && !hedgeable(false, &policy));
    }
}
