//! Errors of the gateway itself, as JSON-RPC errors. Pure.
//!
//! An error of a server passes unchanged. A failure of the engine becomes -32603 with `data.switchboard`, from which a client can
//! decide whether to try again. Texts are made from typed values: no URL, command line, secret or stack of a server is in them.

use std::time::Duration;

use serde_json::json;

use crate::domain::{
    body::Body,
    call::{Failure, FailureKind, RpcError},
    directory::DirectorySnapshot,
    id::ServerId,
    name_table::may_name,
    plural::counted,
    server::{Phase, quote},
    spelling::similar,
    time::{Stamp, short},
};

/// Invalid request (JSON-RPC 2.0, section 5.1).
pub const INVALID_REQUEST: i64 = -32600;
/// Method not found.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// Invalid params.
pub const INVALID_PARAMS: i64 = -32602;
/// Internal error.
pub const INTERNAL: i64 = -32603;
/// Resource not found, in the legacy era.
pub const RESOURCE_NOT_FOUND: i64 = -32002;
/// Missing required client capability (MCP 2026-07-28).
pub const MISSING_CAPABILITY: i64 = -32021;
/// Unsupported protocol version (MCP 2026-07-28).
pub const UNSUPPORTED_VERSION: i64 = -32022;
/// Headers that differ from the body (MCP 2026-07-28).
pub const HEADER_MISMATCH: i64 = -32020;

/// Similar names in an error.
const SIMILAR: usize = 3;

/// Returns an error with a code and a message.
pub fn error(code: i64, message: impl Into<String>) -> RpcError {
    RpcError { code, message: message.into(), data: None }
}

/// Returns the error for params that are invalid.
pub fn invalid(message: impl Into<String>) -> RpcError {
    error(INVALID_PARAMS, message)
}

/// Returns the error for a method that is not offered.
pub fn no_method(method: &str) -> RpcError {
    error(METHOD_NOT_FOUND, format!("{method} is not supported"))
}

/// Returns the error of a failed call: that of the server, if it responded with one.
pub fn of_call(failure: &Failure, server: &ServerId, directory: &DirectorySnapshot, now: Stamp) -> RpcError {
    if let Some(rpc) = &failure.rpc {
        return rpc.clone();
    }
    let phase = directory.server(server).map(|server| &*server.phase);
    let retry = failure.retry_after.or_else(|| phase.and_then(|phase| next_attempt(phase, now)));
    let code = match failure.kind {
        FailureKind::InvalidArguments | FailureKind::UnknownTool | FailureKind::UnknownServer => INVALID_PARAMS,
        _ => INTERNAL,
    };
    let mut message = sentence(failure, server, phase, now);
    if let Some(retry) = failure.retry_after {
        message.push_str(&format!("; try again in {}", short(retry)));
    }
    if failure.may_have_run {
        message.push_str("; the request was sent, so it may have run");
    }
    let mut data = json!({"switchboard": {
        "class": failure.kind.key(),
        "server": server.as_str(),
        "state": phase.map(Phase::word),
        "retry_after_ms": retry.map(|retry| u64::try_from(retry.as_millis()).unwrap_or(u64::MAX)),
        "may_have_run": failure.may_have_run,
    }});
    if let Some(login) = &failure.login {
        data["switchboard"]["login"] = json!({"scopes": login.scopes});
    }
    RpcError { code, message, data: Some(Body::json(&data)) }
}

/// Returns what happened.
fn sentence(failure: &Failure, server: &ServerId, phase: Option<&Phase>, now: Stamp) -> String {
    match failure.kind {
        FailureKind::NotReady => match phase {
            Some(phase) if !phase.usable() => format!("server {server} {}", state(phase, now)),
            _ => format!("server {server} is not connected"),
        },
        FailureKind::UnknownServer => format!("server {server} is not configured"),
        FailureKind::UnknownTool => format!("server {server} does not list the tool"),
        FailureKind::InvalidArguments => format!("the arguments for server {server} are invalid: {}", failure.message),
        FailureKind::Transport => format!("the connection to server {server} failed"),
        FailureKind::Timeout => format!("server {server} did not respond within its time limit"),
        FailureKind::Protocol => format!("server {server} sent an invalid response"),
        FailureKind::Exited => match failure.exit {
            Some(exit) => format!("the process of server {server} {exit} during the call"),
            None => format!("the process of server {server} ended during the call"),
        },
        FailureKind::TooLarge => format!("the response of server {server} is over its size limit"),
        FailureKind::Unauthorized if failure.login.is_some() => needs_login(server),
        FailureKind::Unauthorized => match failure.status {
            Some(status) => format!("server {server} refused the credentials of Switchboard (HTTP {status})"),
            None => format!("server {server} refused the credentials of Switchboard"),
        },
        FailureKind::Refused => format!("the call of server {server} is refused by the configuration of Switchboard"),
        FailureKind::BreakerOpen => format!("the circuit breaker of server {server} is open after repeated failures"),
        FailureKind::Overloaded => format!("server {server} has too many calls in progress"),
    }
}

/// Returns how a user of the gateway's machine logs in.
pub fn needs_login(server: &ServerId) -> String {
    format!("server {server} needs a login: {}", login_command(server))
}

/// Returns the command that logs in, as an imperative.
pub fn login_command(server: &ServerId) -> String {
    format!("run `switchboard login {}` on the machine of the gateway", quote(server.as_str()))
}

/// Returns the state of a server that is not connected, as the rest of a sentence.
fn state(phase: &Phase, now: Stamp) -> String {
    match phase {
        Phase::Reconnecting { attempt, .. } => {
            let next = next_attempt(phase, now).map(|wait| format!(", next in {}", short(wait))).unwrap_or_default();
            format!("is reconnecting (attempt {attempt}{next})")
        }
        Phase::Failed { .. } => "has failed and is not restarted; `switchboard doctor` says why".to_owned(),
        Phase::NeedsLogin { .. } => "needs a login; `switchboard doctor` says how".to_owned(),
        other => format!("is {}", other.word()),
    }
}

fn next_attempt(phase: &Phase, now: Stamp) -> Option<Duration> {
    match phase {
        Phase::Reconnecting { until, .. } => Some(until.since(now)),
        _ => None,
    }
}

/// Returns the error for a tool or prompt (`what`) that is not listed: similar names, and servers that may have it.
pub fn unknown<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>, directory: &DirectorySnapshot, now: Stamp) -> RpcError {
    let mut message = format!("unknown {what} {name:?}");
    let close = similar(name, names, SIMILAR);
    if !close.is_empty() {
        message.push_str(&format!("; similar: {}", close.join(", ")));
    }
    let away = directory.servers.iter().filter(|server| !server.phase.usable() && !matches!(*server.phase, Phase::Disabled));
    let away: Vec<_> = away.filter(|server| may_name(server.spec.namespace(), name)).collect();
    for server in away.iter().take(SIMILAR) {
        message.push_str(&format!("; server {} {}", server.spec.id, state(&server.phase, now)));
    }
    if away.len() > SIMILAR {
        message.push_str(&format!("; {} more are not connected", counted(away.len() - SIMILAR, "server")));
    }
    invalid(message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        domain::{
            catalog::ServerCatalog,
            server::{ConnectFailure, ServerSpec, Step, Transport},
        },
        gateway::test_support::{directory, snapshot},
    };

    fn reconnecting() -> DirectorySnapshot {
        let why = ConnectFailure::new(Step::Run, "connect to http://user:canary@10.0.0.7 failed");
        let phase = Phase::Reconnecting { attempt: 3, until: Stamp(12_000_000_000), why: Arc::new(why) };
        directory(vec![snapshot(ServerSpec::new("db", Transport::unknown()), phase, ServerCatalog::default())])
    }

    #[test]
    fn a_failure_says_server_state_and_when_to_try_again_and_nothing_secret() {
        let failure = Failure {
            stderr: vec!["canary".into()],
            causes: vec!["canary".into()],
            ..Failure::after_send(FailureKind::NotReady, "no session at http://canary")
        };
        let error = of_call(&failure, &"db".into(), &reconnecting(), Stamp(0));
        assert_eq!(error.message, "server db is reconnecting (attempt 3, next in 12.0 s); the request was sent, so it may have run");
        let expected = json!({"switchboard": {"class": "not_ready", "server": "db", "state": "reconnecting", "retry_after_ms": 12000, "may_have_run": true}});
        assert_eq!((error.code, error.data.as_ref().and_then(Body::value)), (INTERNAL, Some(expected)));
        for kind in FailureKind::ALL.into_iter().filter(|kind| *kind != FailureKind::InvalidArguments) {
            let error = of_call(&Failure { kind, ..failure.clone() }, &"db".into(), &reconnecting(), Stamp(0));
            assert!(!format!("{error:?}").contains("canary") && error.message.contains("db"), "{error:?}");
        }
    }

    #[test]
    fn an_error_of_the_server_passes_unchanged() {
        let rpc = RpcError { code: -32042, message: "open a page".into(), data: Some(Body::from(r#"{"n":1.0}"#)) };
        let failure = Failure { rpc: Some(rpc.clone()), ..Failure::after_send(FailureKind::Protocol, "open a page") };
        assert_eq!(of_call(&failure, &"db".into(), &reconnecting(), Stamp(0)), rpc);
    }

    #[test]
    fn an_unknown_name_has_similar_ones_and_the_servers_that_may_have_it() {
        let error = unknown("tool", "db_qery", ["db_query", "web_get"].into_iter(), &reconnecting(), Stamp(0));
        assert_eq!(error.message, "unknown tool \"db_qery\"; similar: db_query; server db is reconnecting (attempt 3, next in 12.0 s)");
        assert_eq!(unknown("tool", "zzz", [].into_iter(), &reconnecting(), Stamp(0)).message, "unknown tool \"zzz\"");
    }
}
