//! The history of calls.

use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::{ConnectionError, codec};
use crate::domain::{
    body::Body,
    call::CallSpec,
    call_summary::CallSummary,
    id::{CallId, InstanceId, ServerId},
    journal::CallRecord,
};

/// Maximum size of a stored result, in bytes.
const LONGEST: usize = 64 << 10;

/// Writes a call.
pub fn write(connection: &Connection, call: &CallRecord) -> Result<(), ConnectionError> {
    let summary = &call.summary;
    let integer = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let result = call.result.as_ref().filter(|result| result.len() <= LONGEST);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO calls (call, unix_ms, origin, server, name, spec, outcome, result, took_us, codec, \
             instance, error, attempts, answered_by, cached_ms, sent_bytes, received_bytes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?
        .execute(params![
            summary.call.0.cast_signed(),
            integer(summary.unix_ms),
            summary.origin.word(),
            summary.server.as_str(),
            summary.name,
            serde_json::to_string(&*call.spec)?,
            summary.outcome.words(),
            result.map(|result| &result.bytes()[..]),
            integer(summary.took_us),
            codec::PLAIN,
            summary.instance.0,
            summary.error,
            summary.attempts,
            summary.answered_by.as_ref().map(ServerId::as_str),
            summary.cached.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
            integer(summary.sent_bytes),
            integer(summary.received_bytes),
        ])?;
    Ok(())
}

/// Throws all but the last `keep` calls away.
pub fn forget(connection: &Connection, keep: usize) -> Result<(), ConnectionError> {
    connection
        .prepare_cached("DELETE FROM calls WHERE call <= (SELECT call FROM calls ORDER BY call DESC LIMIT 1 OFFSET ?1)")?
        .execute([i64::try_from(keep).unwrap_or(i64::MAX)])?;
    Ok(())
}

const COLUMNS: &str = "SELECT call, unix_ms, name, spec, outcome, result, took_us, codec, \
    instance, error, attempts, answered_by, cached_ms, sent_bytes, received_bytes FROM calls";

/// The last `count` calls, oldest first.
pub fn last(connection: &Connection, count: usize) -> Result<Vec<CallRecord>, ConnectionError> {
    let mut select = connection.prepare_cached(&format!("{COLUMNS} ORDER BY call DESC LIMIT ?1"))?;
    let mut rows = select.query([i64::try_from(count).unwrap_or(i64::MAX)])?;
    let mut calls = vec![];
    while let Some(row) = rows.next()? {
        calls.push(read(row)?);
    }
    calls.reverse();
    Ok(calls)
}

/// The calls of these ids, in this order; those that are not there are left out.
pub fn of(connection: &Connection, ids: &[u64]) -> Result<Vec<CallRecord>, ConnectionError> {
    let mut select = connection.prepare_cached(&format!("{COLUMNS} WHERE call = ?1"))?;
    let mut calls = vec![];
    for id in ids {
        let mut rows = select.query([id.cast_signed()])?;
        if let Some(row) = rows.next()? {
            calls.push(read(row)?);
        }
    }
    Ok(calls)
}

fn read(row: &Row<'_>) -> Result<CallRecord, ConnectionError> {
    codec::check_codec(row.get(7)?)?;
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    let spec: CallSpec = serde_json::from_str(&row.get::<_, String>(3)?)?;
    let summary = CallSummary {
        instance: InstanceId(row.get(8)?),
        call: CallId(row.get::<_, i64>(0)?.cast_unsigned()),
        unix_ms: number(row.get(1)?),
        server: spec.operation.server().clone(),
        name: row.get(2)?,
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
    };
    Ok(CallRecord { summary, spec: spec.into(), result: row.get::<_, Option<Vec<u8>>>(5)?.map(Body::new) })
}
