//! The rows of calls in the history.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Row, params};

use super::{
    ConnectionError,
    bodies::{self, LONGEST_BODY},
    codec,
};
use crate::domain::{
    body::Body,
    bounds,
    call::{CallSpec, Operation},
    call_summary::CallSummary,
    id::{CallId, InstanceId, ServerId},
    journal::CallRecord,
    trace::TraceId,
};

/// The part of the arguments and of the result that is in the search index, in bytes.
const SEARCHED: usize = 1_000;

/// Lifecycle rows that are stored: those of some hundred connections.
const LIFECYCLE_ROWS: i64 = 2_000;

/// Maximum size of a stored result of a lifecycle row, in bytes.
const LONGEST_LIFECYCLE_BODY: usize = 64 << 10;

/// How many ids are tried for a call if a call of another process has its id.
const IDS: i64 = 100;

fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Returns the arguments of an operation.
fn arguments(operation: &mut Operation) -> Option<&mut Body> {
    match operation {
        Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => Some(arguments),
        Operation::Complete { params, .. } | Operation::Raw { params, .. } => Some(params),
        Operation::Resource { .. } => None,
    }
}

/// The beginning of a body, for the search index.
fn searched(body: &Body) -> String {
    let bytes = body.bytes();
    String::from_utf8_lossy(&bytes[..bytes.len().min(SEARCHED)]).into_owned()
}

/// Writes a call.
pub fn write(connection: &Connection, call: &CallRecord) -> Result<(), ConnectionError> {
    let summary = &call.summary;
    let mut spec = CallSpec::clone(&call.spec);
    let lifecycle = summary.lifecycle;
    let (mut arguments_text, mut arguments_body) = (String::new(), None);
    if let Some(arguments) = arguments(&mut spec.operation) {
        if !lifecycle {
            arguments_text = searched(arguments);
        }
        if bodies::is_apart(arguments) {
            arguments_body = Some(bodies::put(connection, &std::mem::take(arguments))?);
        }
    }
    let longest = if lifecycle { LONGEST_LIFECYCLE_BODY } else { LONGEST_BODY };
    let result = call.result.as_ref().filter(|result| result.len() <= longest);
    let (inline, result_body) = match result {
        Some(result) if bodies::is_apart(result) => (None, Some(bodies::put(connection, result)?)),
        other => (other, None),
    };
    let mut insert = connection.prepare_cached(
        "INSERT INTO calls (call, unix_ms, origin, server, name, spec, outcome, result, took_us, codec, instance, error, attempts, \
         answered_by, cached_ms, sent_bytes, received_bytes, tool, run, step, trace, arguments_body, result_body, kind) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
    )?;
    let mut id = summary.call.0.cast_signed();
    let spec_text = serde_json::to_string(&spec)?;
    let tool = spec.operation.subject();
    for attempt in 0.. {
        let inserted = insert.execute(params![
            id,
            integer(summary.unix_ms),
            // The filter for origins is for calls.
            if lifecycle { "" } else { summary.origin.word() },
            summary.server.as_str(),
            summary.name,
            spec_text,
            summary.outcome.words(),
            inline.map(|result| &result.bytes()[..]),
            integer(summary.took_us),
            codec::PLAIN,
            summary.instance.0,
            summary.error,
            summary.attempts,
            summary.answered_by.as_ref().map(ServerId::as_str),
            summary.cached.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
            integer(summary.sent_bytes),
            integer(summary.received_bytes),
            tool,
            summary.run.as_ref().map(|step| step.run.to_string()),
            summary.run.as_ref().map(|step| &*step.step),
            summary.trace.map(TraceId::bytes),
            arguments_body,
            result_body,
            i64::from(lifecycle),
        ]);
        match inserted {
            Ok(_) => break,
            // Ids are unique within one process only.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) && attempt < IDS => id = id.wrapping_add(1),
            Err(error) => return Err(error.into()),
        }
    }
    connection.prepare_cached("INSERT INTO calls_text (rowid, name, arguments, result, error) VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
        params![
            id,
            format!("{} {tool} {}", summary.server, summary.name),
            arguments_text,
            result.filter(|_| !lifecycle).map(searched),
            format!("{} {}", summary.outcome.words(), bounds::cut(summary.error.as_deref().unwrap_or_default(), SEARCHED)),
        ],
    )?;
    Ok(())
}

/// Deletes all but the last `keep` calls, with the lifecycle rows before them.
pub fn forget(connection: &Connection, keep: usize) -> Result<usize, ConnectionError> {
    Ok(connection
        .prepare_cached("DELETE FROM calls WHERE call <= (SELECT call FROM calls WHERE kind = 0 ORDER BY call DESC LIMIT 1 OFFSET ?1)")?
        .execute([i64::try_from(keep).unwrap_or(i64::MAX)])?)
}

/// Deletes all but the last lifecycle rows. Returns nothing, because they are not calls.
pub fn forget_lifecycle(connection: &Connection) -> Result<(), ConnectionError> {
    connection
        .prepare_cached(
            "DELETE FROM calls WHERE kind = 1 AND call <= (SELECT call FROM calls WHERE kind = 1 ORDER BY call DESC LIMIT 1 OFFSET ?1)",
        )?
        .execute([LIFECYCLE_ROWS])?;
    Ok(())
}

/// Deletes the calls that began before a time, in milliseconds since the Unix epoch; at most `most`.
pub fn forget_before(connection: &Connection, unix_ms: u64, most: usize) -> Result<usize, ConnectionError> {
    let first = CallId::from_parts(unix_ms, 0).0.cast_signed();
    Ok(connection
        .prepare_cached("DELETE FROM calls WHERE call IN (SELECT call FROM calls WHERE call < ?1 ORDER BY call LIMIT ?2)")?
        .execute([first, i64::try_from(most).unwrap_or(i64::MAX)])?)
}

/// Deletes the oldest calls, at most `most`.
pub fn forget_oldest(connection: &Connection, most: usize) -> Result<usize, ConnectionError> {
    Ok(connection
        .prepare_cached("DELETE FROM calls WHERE call IN (SELECT call FROM calls ORDER BY call LIMIT ?1)")?
        .execute([i64::try_from(most).unwrap_or(i64::MAX)])?)
}

/// The columns that [`summary`] and [`record`] read.
pub const COLUMNS: &str = "calls.call, unix_ms, calls.name, spec, outcome, calls.result, took_us, codec, \
    instance, calls.error, attempts, answered_by, cached_ms, sent_bytes, received_bytes, trace, arguments_body, result_body, calls.kind";

/// The last `count` calls, oldest first.
pub fn last(connection: &Connection, count: usize) -> Result<Vec<CallRecord>, ConnectionError> {
    let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM calls WHERE kind = 0 ORDER BY call DESC LIMIT ?1"))?;
    let mut rows = select.query([i64::try_from(count).unwrap_or(i64::MAX)])?;
    let mut calls = vec![];
    while let Some(row) = rows.next()? {
        calls.push(record(connection, row)?);
    }
    calls.reverse();
    Ok(calls)
}

/// The calls of these ids, in this order; those that are not there are left out.
pub fn of(connection: &Connection, ids: &[u64]) -> Result<Vec<CallRecord>, ConnectionError> {
    let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM calls WHERE call = ?1"))?;
    let mut calls = vec![];
    for id in ids {
        let mut rows = select.query([id.cast_signed()])?;
        if let Some(row) = rows.next()? {
            calls.push(record(connection, row)?);
        }
    }
    Ok(calls)
}

/// Reads a call with its bodies.
fn record(connection: &Connection, row: &Row<'_>) -> Result<CallRecord, ConnectionError> {
    let (summary, mut spec) = read(row)?;
    if let (Some(arguments), Some(body)) = (arguments(&mut spec.operation), row.get(16)?) {
        *arguments = bodies::get(connection, body)?;
    }
    let result = match row.get(17)? {
        Some(body) => Some(bodies::get(connection, body)?),
        None => row.get::<_, Option<Vec<u8>>>(5)?.map(Body::new),
    };
    Ok(CallRecord { summary, spec: spec.into(), result })
}

/// Reads a call without its bodies.
pub fn summary(row: &Row<'_>) -> Result<CallSummary, ConnectionError> {
    read(row).map(|(summary, _)| summary)
}

fn read(row: &Row<'_>) -> Result<(CallSummary, CallSpec), ConnectionError> {
    codec::check_codec(row.get(7)?)?;
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    let spec: CallSpec = serde_json::from_str(&row.get::<_, String>(3)?)?;
    let summary = CallSummary {
        instance: InstanceId(row.get(8)?),
        call: CallId(row.get::<_, i64>(0)?.cast_unsigned()),
        unix_ms: number(row.get(1)?),
        server: spec.operation.server().clone(),
        name: row.get(2)?,
        subject: spec.operation.subject().to_owned(),
        origin: spec.origin,
        client: spec.client,
        run: spec.run.clone(),
        outcome: row.get::<_, String>(4)?.into(),
        error: row.get(9)?,
        attempts: row.get(10)?,
        answered_by: row.get::<_, Option<String>>(11)?.map(|server| ServerId::new(server.as_str())),
        cached: row.get::<_, Option<i64>>(12)?.map(|ms| Duration::from_millis(number(ms))),
        took_us: number(row.get(6)?),
        sent_bytes: number(row.get(13)?),
        received_bytes: number(row.get(14)?),
        lifecycle: row.get::<_, i64>(18)? != 0,
        trace: row.get::<_, Option<[u8; 16]>>(15)?.and_then(TraceId::from_bytes),
    };
    Ok((summary, spec))
}
