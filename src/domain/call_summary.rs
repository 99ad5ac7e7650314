//! The summary of a settled call: everything about it but its bodies. The history stores it, the command line shows it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    bounds,
    call::{CallSpec, Origin, Outcome},
    event::Settled,
    id::{CallId, ClientId, InstanceId, ServerId},
    journal::CallOutcome,
    run::RunStep,
    secret::Redactor,
    trace::{CallTraceContext, TraceId},
};

/// Longest error text in a summary, in bytes.
const ERROR: usize = 200;

/// A settled call without its arguments and its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallSummary {
    /// The run of the engine that made the call. Ids of calls are unique within it.
    pub instance: InstanceId,
    /// Its id.
    pub call: CallId,
    /// Time of the request, in milliseconds since the Unix epoch.
    pub unix_ms: u64,
    /// The server or group that was called.
    pub server: ServerId,
    /// The tool's exposed name, or what was read or requested.
    pub name: String,
    /// The server's own name for it: of the tool or prompt, the URI, or the method.
    #[serde(default)]
    pub subject: String,
    /// The origin of the request.
    pub origin: Origin,
    /// The client that requested the call.
    #[serde(default, skip_serializing_if = "ClientId::is_local")]
    pub client: ClientId,
    /// The step of a workflow that the call belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStep>,
    /// How it ended.
    pub outcome: CallOutcome,
    /// The beginning of the message of a failed call, secrets masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Number of attempts; 0 if none was made.
    pub attempts: u32,
    /// The server that provided the response, if it is not the requested one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_by: Option<ServerId>,
    /// The age of the response, if it came from the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<Duration>,
    /// Duration in microseconds.
    pub took_us: u64,
    /// Size of the last request, in bytes.
    pub sent_bytes: u64,
    /// Size of the last response, in bytes.
    pub received_bytes: u64,
    /// Whether this is a request of a connection itself, the handshake or a list, and not a call. Its origin has no meaning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lifecycle: bool,
    /// The trace that the call belongs to. Absent in calls of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceId>,
}

impl CallSummary {
    /// Summarises a call that was requested at `unix_ms` under this name.
    pub fn new(
        (instance, call): (InstanceId, CallId),
        (unix_ms, name): (u64, impl Into<String>),
        spec: &CallSpec,
        settled: &Settled,
    ) -> CallSummary {
        let error = match &settled.outcome {
            Outcome::Failed { failure } => Some(bounds::cut(&failure.message, ERROR).into_owned()),
            _ => None,
        };
        CallSummary {
            instance,
            call,
            unix_ms,
            server: spec.operation.server().clone(),
            name: name.into(),
            subject: spec.operation.subject().to_owned(),
            origin: spec.origin,
            client: spec.client,
            run: spec.run.clone(),
            outcome: (&settled.outcome).into(),
            error,
            attempts: settled.attempts,
            answered_by: settled.by.clone(),
            cached: settled.cached,
            took_us: u64::try_from(settled.timings.total().as_micros()).unwrap_or(u64::MAX),
            sent_bytes: settled.sent_bytes,
            received_bytes: settled.received_bytes,
            lifecycle: false,
            trace: Some(CallTraceContext::new(instance, call, spec).trace),
        }
    }

    /// Returns who requested it: the origin of a call, or the engine.
    pub fn requester(&self) -> &'static str {
        if self.lifecycle { "engine" } else { self.origin.word() }
    }

    /// Returns the duration.
    pub fn took(&self) -> Duration {
        Duration::from_micros(self.took_us)
    }

    /// Masks every known secret.
    pub fn redact(&mut self, redactor: &Redactor) {
        redactor.redact_in(&mut self.name);
        redactor.redact_in(&mut self.subject);
        if let Some(error) = &mut self.error {
            redactor.redact_in(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{
        call::{Failure, FailureKind, Timings},
        id::ToolId,
        secret::Secret,
        time::Stamp,
    };

    #[test]
    fn a_summary_has_the_facts_of_a_call_and_the_beginning_of_its_error() {
        let spec = CallSpec { client: ClientId(3), ..CallSpec::tool(ToolId::new("db".into(), "query"), "{}", Origin::Client(ClientId(3))) };
        let message = format!("token s3cret-value {}", "x".repeat(1_000));
        let settled = Settled {
            outcome: Outcome::Failed { failure: Arc::new(Failure::new(FailureKind::Timeout, message)) },
            timings: Timings { queued: Stamp(1_000), settled: Stamp(8_000), ..Timings::default() },
            rounds: 1,
            sent_bytes: 10,
            received_bytes: 20,
            attempts: 3,
            by: Some("replica".into()),
            cached: Some(Duration::from_secs(1)),
        };
        let mut summary = CallSummary::new((InstanceId(9), CallId(1)), (5, "db_query"), &spec, &settled);
        assert_eq!((summary.server.as_str(), summary.outcome.words(), summary.client), ("db", "timeout", ClientId(3)));
        assert_eq!((summary.took(), summary.attempts, summary.answered_by.clone()), (Duration::from_micros(7), 3, Some("replica".into())));
        assert_eq!((summary.cached, summary.sent_bytes, summary.received_bytes), (Some(Duration::from_secs(1)), 10, 20));
        assert!(summary.error.as_ref().is_some_and(|error| error.len() < 2 * ERROR), "{:?}", summary.error);
        summary.redact(&Redactor::new(&[Secret::literal("s3cret-value")]));
        assert!(!summary.error.as_ref().unwrap().contains("s3cret"), "{:?}", summary.error);
        let json = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<CallSummary>(&json).unwrap(), summary);
    }
}
