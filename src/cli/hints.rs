//! Hints for servers: for usable ones with problems, and for failures without a hint of their own.

use super::servers::{self, last_failure};
use crate::{
    domain::{
        call::FailureKind,
        frame::AnomalyKind,
        server::{ConnectFailure, DegradedReason, Era, EraChoice, ListingError, Phase, ServerSpec, SessionInfo, Step, Transport},
    },
    executable,
    state::ServerView,
};

/// Returns the failure of a server, completed with its program and at least one hint.
pub fn failure(server: &ServerView) -> Option<ConnectFailure> {
    let mut why = ConnectFailure::clone(last_failure(server)?);
    let spec = &server.spec;
    if why.step == Step::Configure {
        // Nothing was started.
        return Some(why);
    }
    if let Transport::Stdio { command, cwd, .. } = &spec.launch {
        // The report of a program's end has neither.
        if why.cwd.is_none() {
            why.cwd = cwd.clone().or_else(|| std::env::current_dir().ok()).map(|folder| folder.display().to_string());
        }
        if why.found.is_none() {
            let path = executable::path_of(&spec.launch);
            why.found = path.and_then(|path| executable::find(command, &path)).map(|file| file.display().to_string());
        }
    }
    if why.hints.is_empty() {
        why.hints.push(of_failure(spec, &why).to_owned());
    }
    Some(why)
}

fn of_failure(spec: &ServerSpec, why: &ConnectFailure) -> &'static str {
    let http = matches!(spec.launch, Transport::Http { .. });
    let answered = why.rpc_code.is_some();
    match (why.status, why.step) {
        (Some(502..=504), _) => {
            "check that the server behind this address is running: a proxy or gateway responded, or the server is overloaded; then try again"
        }
        (Some(500..=599), _) => "check the server's log or contact its operator: the error is in the server; then try again",
        (_, Step::Discover | Step::Initialize) if answered => {
            "check the server's log for the reason; or set era = \"legacy\" or era = \"modern\" in its configuration to use the other handshake"
        }
        (_, Step::Run) if http => "check that the server is running and reachable, and that no proxy closes idle connections",
        (_, Step::Run) => {
            "read its stderr lines, or run the command in a shell in that folder and make the same call: it ended while in use"
        }
        _ if http => "check that url is the MCP endpoint (often /mcp), and check the server's log",
        _ => "run the command in a shell in that folder; its output is in the stderr lines",
    }
}

/// Returns what to do about a protocol violation, for a list of warnings.
pub fn of_anomaly(kind: AnomalyKind) -> &'static str {
    match kind {
        AnomalyKind::Noise => "let the server write its log to stderr: stdout is for messages only",
        AnomalyKind::BadUtf8 => "let the server write UTF-8",
        AnomalyKind::BadJson => "report it to the maintainer: one message is one line of JSON",
        AnomalyKind::NotRpc | AnomalyKind::Batch => "report it to the maintainer: the message is not of the protocol version in use",
        AnomalyKind::TooLarge => "raise limits.message_bytes in its configuration, or ask for less in one call",
        AnomalyKind::UnknownId | AnomalyKind::Duplicate => {
            "report it to the maintainer: a response has the id of its request, and is sent once"
        }
        AnomalyKind::Late => "raise timeouts.call in its configuration if the server needs the time",
        AnomalyKind::Partial => "read its stderr lines: the server stopped within a message",
        AnomalyKind::BadHttp => "check that url is the MCP endpoint, and what a proxy between makes of the response",
        AnomalyKind::Pagination => "raise limits.pages, limits.items or timeouts.list in its configuration if the list is that long",
        AnomalyKind::BadListing => "report it to the maintainer: the definition breaks the protocol",
        AnomalyKind::Flood => "report it to the maintainer: the server asks faster than a client can answer",
        AnomalyKind::BadResult => "report it to the maintainer: the result does not fit its method or version",
        AnomalyKind::Oversize => "report it to the maintainer: the field is too long to be used",
        AnomalyKind::Unread => "report it to the maintainer: the server must read responses while it works",
        AnomalyKind::ForbiddenRequest => "report it to the maintainer: since 2026-07-28 a server asks in its results",
        AnomalyKind::Unattributed => "report it to the maintainer: the server asks its client outside of a call",
        AnomalyKind::Uncorrelated => "report it to the maintainer: the notification must name its subscription",
    }
}

/// Returns whether the server was asked for the modern era first and did not answer.
fn silent_probe(server: &ServerView) -> bool {
    let waited = |info: &SessionInfo| info.era == Era::Legacy && info.took >= server.spec.timeouts.probe;
    server.spec.era == EraChoice::Auto && server.info.as_deref().is_some_and(waited)
}

/// Returns the hint for a usable server with a problem, or for one that is not ready in time.
pub fn in_use(server: &ServerView) -> Option<String> {
    // What failed knows best what to do about it.
    if let Phase::Degraded { reason: DegradedReason::Unlisted { error: ListingError::Failed { hint: Some(hint), .. }, .. } } =
        &*server.phase
    {
        return Some(hint.clone());
    }
    hint_in_use(server).map(str::to_owned)
}

fn hint_in_use(server: &ServerView) -> Option<&'static str> {
    let listed = server.catalog.revision > 0;
    match &*server.phase {
        Phase::Degraded { reason } if reason.listing_timed_out() => {
            Some("raise timeouts.list in its configuration if listing is slow, and check its log messages with --verbose")
        }
        Phase::Degraded { reason: DegradedReason::Unlisted { error: ListingError::Failed { kind: FailureKind::TooLarge, .. }, .. } } => {
            Some("raise limits.message_bytes in its configuration: a page of its lists is longer")
        }
        Phase::Degraded { .. } if !listed => {
            Some("check the server's log messages with --verbose, and report it to its maintainer; meanwhile call its tools as server/tool")
        }
        Phase::Degraded { .. } if !server.catalog.cut.is_empty() => Some(
            "raise limits.items, limits.pages or limits.message_bytes in its configuration if its lists are that long; if not, report it to \
             its maintainer",
        ),
        Phase::Degraded { .. } => Some("report the problems to the maintainer of the server; everything else works"),
        Phase::Ready if silent_probe(server) => {
            Some("set era = \"legacy\" in its configuration: it does not answer server/discover, which this start waited for")
        }
        Phase::Starting { .. } if last_failure(server).is_none() => Some("raise --timeout, or timeouts.connect in its configuration"),
        _ if servers::failed(server) && server.phase.usable() => Some("raise --timeout, or timeouts.list in its configuration"),
        _ => None,
    }
}
