//! The history of calls.

use rusqlite::{Connection, Row, params};

use super::ConnectionError;
use crate::domain::{body::Body, call::CallSpec, id::CallId, journal::CallRecord};

/// Maximum size of a stored result, in bytes.
const LONGEST: usize = 64 << 10;

/// Writes a call.
pub fn write(connection: &Connection, call: &CallRecord) -> Result<(), ConnectionError> {
    let result = call.result.as_ref().filter(|result| result.len() <= LONGEST);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO calls (call, unix_ms, origin, server, name, spec, outcome, result, took_us) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            call.call.0.cast_signed(),
            i64::try_from(call.unix_ms).unwrap_or(i64::MAX),
            call.spec.origin.word(),
            call.spec.operation.server().as_str(),
            call.name,
            serde_json::to_string(&*call.spec)?,
            call.outcome.words(),
            result.map(|result| &result.bytes()[..]),
            i64::try_from(call.took_us).unwrap_or(i64::MAX),
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

const COLUMNS: &str = "SELECT call, unix_ms, name, spec, outcome, result, took_us FROM calls";

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
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    let spec: CallSpec = serde_json::from_str(&row.get::<_, String>(3)?)?;
    Ok(CallRecord {
        call: CallId(row.get::<_, i64>(0)?.cast_unsigned()),
        unix_ms: number(row.get(1)?),
        name: row.get(2)?,
        spec: spec.into(),
        outcome: row.get::<_, String>(4)?.into(),
        result: row.get::<_, Option<Vec<u8>>>(5)?.map(Body::new),
        took_us: number(row.get(6)?),
    })
}
