//! The console state of a session file: its calls, and servers that nobody can connect.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::ConsoleState;
use crate::domain::{
    body::Body,
    call::{Failure, FailureKind, Outcome, Timings},
    catalog::{RawLists, ServerCatalog},
    drift::DefinitionKind,
    event::{Event, EventKind, Settled},
    id::{CallId, ServerId},
    journal::{CallOutcome, CallRecord},
    retention::Retention,
    server::{ServerSpec, Transport},
    session_file::SessionFile,
    time::{Epoch, Stamp},
};

impl ConsoleState {
    /// Returns the state at the end of a recorded session, and the time of its end on the clock of the state. `utc_offset_s` is the local
    /// time zone.
    pub fn of_session(session: &SessionFile, utc_offset_s: i32) -> (ConsoleState, Stamp) {
        let mut calls: Vec<&CallRecord> = session.calls.iter().collect();
        calls.sort_by_key(|call| call.summary.unix_ms);
        let unix_ms = calls.first().map_or(0, |call| call.summary.unix_ms);
        let results = calls.iter().filter_map(|call| call.result.as_ref()).map(Body::len).sum::<usize>();
        let default = Retention::default();
        let retention = Retention {
            calls: default.calls.max(calls.len()),
            result_bytes: default.result_bytes.max(results.saturating_mul(2)),
            ..default
        };
        let mut state = ConsoleState::new(Epoch { unix_ms, utc_offset_s }, "_", retention);
        let mut kinds: Vec<(Stamp, EventKind)> = vec![];
        for server in servers(session) {
            let catalog = Arc::new(catalog(session, &server));
            kinds.push((Stamp::default(), EventKind::ServerAdded { spec: Arc::new(spec(&server)) }));
            kinds.push((Stamp::default(), EventKind::ServerListed { server, catalog }));
        }
        let ids = ids(&calls);
        for (record, call) in calls.iter().zip(&ids) {
            let call = *call;
            let queued = Stamp::default().plus(Duration::from_millis(record.summary.unix_ms - unix_ms));
            let settled = queued.plus(record.summary.took());
            kinds.push((queued, EventKind::CallQueued { call, spec: record.spec.clone() }));
            if record.summary.attempts > 0 {
                kinds.push((queued, EventKind::CallSent { call, round: 1 }));
            }
            kinds.push((settled, EventKind::CallSettled { call, settled: Arc::new(ended(record, queued, settled)) }));
        }
        // Stable: what a call did in the same instant stays in order.
        kinds.sort_by_key(|(at, _)| *at);
        let end = kinds.last().map_or_else(Stamp::default, |(at, _)| *at);
        for (seq, (at, kind)) in (1..).zip(kinds) {
            state.apply(&Event { seq, at, kind });
        }
        for (record, call) in calls.iter().zip(&ids) {
            if let Some(view) = state.call_mut(*call) {
                view.result_dropped = record.result.is_none() && matches!(record.summary.outcome, CallOutcome::Ok | CallOutcome::ToolError);
            }
        }
        (state, end)
    }
}

/// Returns the ids of the calls: their own, if these ascend. Calls of several engines may have the same ones.
fn ids(calls: &[&CallRecord]) -> Vec<CallId> {
    let ascends = calls.is_sorted_by(|a, b| a.summary.call < b.summary.call);
    let id = |(count, call): (u64, &&CallRecord)| if ascends { call.summary.call } else { CallId(count) };
    (1..).zip(calls).map(id).collect()
}

fn servers(session: &SessionFile) -> BTreeSet<ServerId> {
    let called = session.calls.iter().map(|call| call.summary.server.clone());
    called.chain(session.definitions.iter().map(|definition| definition.server.clone())).collect()
}

/// Returns a server that nobody can connect.
fn spec(server: &ServerId) -> ServerSpec {
    let launch = Transport::Stdio { command: String::new(), args: vec![], env: vec![], inherit_env: false, cwd: None };
    ServerSpec { disabled: true, description: Some("recorded in a session file".into()), ..ServerSpec::new(server.clone(), launch) }
}

fn catalog(session: &SessionFile, server: &ServerId) -> ServerCatalog {
    let of = |kind| {
        let definitions = session.definitions.iter().filter(|one| one.kind == kind && one.server == *server);
        definitions.map(|one| one.definition.clone()).collect()
    };
    let (tools, prompts, templates) = (of(DefinitionKind::Tool), of(DefinitionKind::Prompt), of(DefinitionKind::Template));
    ServerCatalog::read(RawLists { tools, prompts, templates, ..RawLists::default() }, None)
}

fn ended(record: &CallRecord, queued: Stamp, settled: Stamp) -> Settled {
    let summary = &record.summary;
    let result = || record.result.clone().unwrap_or_default();
    let message = || summary.error.clone().unwrap_or_else(|| summary.outcome.words().to_owned());
    let outcome = match &summary.outcome {
        CallOutcome::Ok => Outcome::Ok { result: result() },
        CallOutcome::ToolError => Outcome::ToolError { result: result() },
        CallOutcome::Interim(kind) => Outcome::Interim { result: result(), kind: *kind },
        CallOutcome::Cancelled => Outcome::Cancelled { reason: message() },
        CallOutcome::Failed(kind) => Outcome::Failed { failure: Failure::new(*kind, message()).into() },
        CallOutcome::Unknown(_) => Outcome::Failed { failure: Failure::new(FailureKind::Protocol, message()).into() },
    };
    let sent = (summary.attempts > 0).then_some(queued);
    let last = sent.map(|_| settled);
    Settled {
        outcome,
        timings: Timings { queued, sent, first_byte: last, last_byte: last, settled },
        rounds: 1,
        sent_bytes: summary.sent_bytes,
        received_bytes: summary.received_bytes,
        attempts: summary.attempts,
        by: summary.answered_by.clone(),
        cached: summary.cached,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        call::{CallSpec, Origin},
        id::ToolId,
        test_entries,
    };

    #[test]
    fn a_recorded_session_has_the_calls_of_the_session_in_order() {
        let record = |id, unix_ms, outcome, result: Option<&str>| {
            let spec = CallSpec::tool(ToolId::new("db".into(), "query"), r#"{"n":1}"#, Origin::Console);
            let mut record = test_entries::call_record(CallId(id), unix_ms, spec, "db_query");
            (record.summary.outcome, record.result) = (outcome, result.map(Body::from));
            record
        };
        let calls = vec![
            record(7, 3_000, CallOutcome::Failed(FailureKind::Timeout), None),
            record(7, 1_000, CallOutcome::Ok, Some(r#"{"content":[]}"#)),
            record(9, 2_000, CallOutcome::Ok, None),
        ];
        let (state, end) = ConsoleState::of_session(&SessionFile { calls, definitions: vec![] }, 0);
        let starts: Vec<u64> = state.calls.iter().map(|call| state.epoch.unix_ms(call.queued)).collect();
        assert_eq!((starts, state.running, state.failed_total), (vec![1_000, 2_000, 3_000], 0, 1));
        assert!(state.calls.iter().map(|call| call.id).is_sorted() && end > Stamp::default());
        assert_eq!(state.calls.iter().map(|call| call.result_dropped).collect::<Vec<_>>(), [false, true, false]);
        assert!(state.servers.iter().all(|server| server.spec.disabled) && state.servers.len() == 1);
        assert_eq!(ConsoleState::of_session(&SessionFile::default(), 0).0.calls.len(), 0);
    }
}
