//! The JSON document of a call.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    exit,
    print::ms,
    session::{Problem, raw},
};
use crate::domain::{
    call::{Failure, FailureKind, Outcome},
    event::Settled,
    id::{CallId, ServerId},
    login::LoginWanted,
    policy::call_event::CallTrace,
    server::ConnectFailure,
    tls::TlsProblem,
};

/// Returns the trace of a call that was not settled by a single attempt of its own server.
pub(super) fn notable_trace<'t>(settled: &Settled, track: Option<&'t CallTrace>) -> Option<&'t CallTrace> {
    track.filter(|track| !track.plain() || settled.by.is_some() || settled.cached.is_some())
}

/// JSON document of a call: the output of `--json`, the last line of `--jsonl`. `subject` is the requested name, `tool` the
/// tool's own name.
#[derive(Serialize)]
pub struct Document<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    outcome: &'static str,
    server: Option<&'a ServerId>,
    /// Who is responsible for the server, if the call failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool: Option<&'a str>,
    call: Option<String>,
    /// Violations of the arguments, which were sent because of `--no-check`.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) argument_errors: &'a [String],
    /// What of the arguments was not validated.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) unchecked: &'a [String],
    /// Violations of the result against the output schema.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) schema_errors: &'a [String],
    result: Option<Box<RawValue>>,
    failure: Option<FailureJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<&'a ConnectFailure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    timings: Option<TimingsJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<TraceJson<'a>>,
    pub(super) exit_code: u8,
}

/// Trace of a call, if it is notable.
#[derive(Serialize)]
struct TraceJson<'a> {
    attempts: u32,
    /// The server that responded, if it is another one.
    answered_by: Option<&'a ServerId>,
    /// Age of a cached response.
    cache_age_ms: Option<f64>,
    events: Vec<EventJson>,
}

#[derive(Serialize)]
struct EventJson {
    after_ms: f64,
    event: &'static str,
    text: String,
}

#[derive(Serialize)]
struct TimingsJson {
    total_ms: f64,
    wait_ms: f64,
    wire_ms: Option<f64>,
    rounds: u32,
    sent_bytes: u64,
    received_bytes: u64,
}

/// A failure, with the data of its RPC error as JSON.
#[derive(Serialize)]
struct FailureJson<'a> {
    kind: FailureKind,
    message: &'a str,
    rpc: Option<RpcJson<'a>>,
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<TlsProblem>,
    headers: &'a [(String, String)],
    exit: Option<String>,
    stderr: &'a [String],
    causes: &'a [String],
    may_have_run: bool,
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    login: Option<&'a LoginWanted>,
}

#[derive(Serialize)]
struct RpcJson<'a> {
    code: i64,
    message: &'a str,
    data: Option<Box<RawValue>>,
}

impl<'a> Document<'a> {
    pub(super) fn new(server: Option<&'a ServerId>, subject: Option<&'a str>) -> Document<'a> {
        Document {
            kind: "outcome",
            outcome: "failed",
            server,
            owner: None,
            subject,
            tool: None,
            call: None,
            argument_errors: &[],
            unchecked: &[],
            schema_errors: &[],
            result: None,
            failure: None,
            connect: None,
            reason: None,
            timings: None,
            trace: None,
            exit_code: exit::FAILED,
        }
    }

    /// Returns the document of a call that was never sent.
    pub fn of_problem(problem: &'a Problem) -> Document<'a> {
        let mut document = Document::new(problem.server.as_ref(), problem.subject.as_deref());
        document.failure = Some(failure_json(&problem.failure));
        document.connect = problem.connect.as_deref();
        document.owner = problem.owner.clone();
        document.exit_code = exit::of(&problem.failure);
        document
    }

    pub(super) fn fill(&mut self, id: CallId, settled: &'a Settled, track: Option<&CallTrace>) {
        let timings = &settled.timings;
        self.trace = notable_trace(settled, track).map(|track| TraceJson {
            attempts: settled.attempts,
            answered_by: settled.by.as_ref(),
            cache_age_ms: settled.cached.map(ms),
            events: track
                .stages
                .iter()
                .map(|(at, stage)| EventJson { after_ms: ms(at.since(timings.queued)), event: stage.tag(), text: stage.words() })
                .collect(),
        });
        self.call = Some(id.to_string());
        self.exit_code = exit::of_outcome(&settled.outcome);
        self.timings = Some(TimingsJson {
            total_ms: ms(timings.total()),
            wait_ms: ms(timings.wait()),
            wire_ms: timings.wire().map(ms),
            rounds: settled.rounds,
            sent_bytes: settled.sent_bytes,
            received_bytes: settled.received_bytes,
        });
        self.result = settled.outcome.result().and_then(raw);
        (self.outcome, self.reason) = match &settled.outcome {
            Outcome::Ok { .. } => ("ok", None),
            Outcome::ToolError { .. } => ("tool_error", None),
            Outcome::Interim { kind, .. } => ("interim", Some(kind.words())),
            Outcome::Failed { failure } => {
                self.failure = Some(failure_json(failure));
                ("failed", None)
            }
            Outcome::Cancelled { reason } => ("cancelled", Some(reason.as_str())),
        };
    }
}

fn failure_json(failure: &Failure) -> FailureJson<'_> {
    FailureJson {
        kind: failure.kind,
        message: &failure.message,
        rpc: failure.rpc.as_ref().map(|rpc| RpcJson { code: rpc.code, message: &rpc.message, data: rpc.data.as_ref().and_then(raw) }),
        status: failure.status,
        tls: failure.tls,
        headers: &failure.headers,
        exit: failure.exit.map(|exit| exit.to_string()),
        stderr: &failure.stderr,
        causes: &failure.causes,
        may_have_run: failure.may_have_run,
        hint: failure.hint.as_deref(),
        login: failure.login.as_ref(),
    }
}
