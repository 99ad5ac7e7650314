//! The sessions of the history: runs of the program, with the sums of their calls. A session is stored with its first row in
//! the history.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::ConnectionError;
use crate::domain::{
    id::InstanceId,
    journal::{CallOutcome, CallRecord},
    program_session::{SessionKind, SessionStart, SessionSummary},
};

/// Sessions that are stored, so that a command in a loop does not fill the table.
const STORED: i64 = 10_000;

fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The calls of one session in a batch.
struct Sum {
    first_ms: u64,
    last_ms: u64,
    calls: u64,
    failures: u64,
}

/// Adds calls to the sums of their sessions; `known` are those whose begin is known.
pub fn add<'c>(
    connection: &Connection,
    calls: impl IntoIterator<Item = &'c CallRecord>,
    known: &[SessionStart],
) -> Result<(), ConnectionError> {
    let mut sums: BTreeMap<u32, Sum> = BTreeMap::new();
    for CallRecord { summary, .. } in calls {
        let at = summary.unix_ms;
        let sum = sums.entry(summary.instance.0).or_insert(Sum { first_ms: at, last_ms: at, calls: 0, failures: 0 });
        (sum.first_ms, sum.last_ms) = (sum.first_ms.min(at), sum.last_ms.max(at));
        if summary.lifecycle {
            continue;
        }
        sum.calls += 1;
        sum.failures += u64::from(matches!(summary.outcome, CallOutcome::Failed(_) | CallOutcome::ToolError));
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO sessions (session, kind, started_ms, last_ms, calls, failures) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT DO UPDATE SET last_ms = max(last_ms, excluded.last_ms), calls = calls + excluded.calls, \
         failures = failures + excluded.failures",
    )?;
    for (session, sum) in sums {
        let unknown = SessionStart { session: InstanceId(session), kind: SessionKind::Unknown, started_ms: sum.first_ms };
        let start = known.iter().find(|start| start.session.0 == session).copied().unwrap_or(unknown);
        insert.execute(params![
            session,
            start.kind.word(),
            integer(start.started_ms),
            integer(sum.last_ms),
            integer(sum.calls),
            integer(sum.failures)
        ])?;
    }
    Ok(())
}

/// Stores when a session ended. One without calls is not stored.
pub fn end(connection: &Connection, session: InstanceId, at_ms: u64) -> Result<(), ConnectionError> {
    connection.prepare_cached("UPDATE sessions SET ended_ms = ?2 WHERE session = ?1")?.execute(params![session.0, integer(at_ms)])?;
    Ok(())
}

/// Deletes the sessions whose last call began before a time, in milliseconds since the Unix epoch, and those above the limit.
pub fn forget_before(connection: &Connection, unix_ms: u64) -> Result<(), ConnectionError> {
    connection.prepare_cached("DELETE FROM sessions WHERE last_ms < ?1")?.execute([integer(unix_ms)])?;
    connection
        .prepare_cached("DELETE FROM sessions WHERE session IN (SELECT session FROM sessions ORDER BY started_ms DESC LIMIT -1 OFFSET ?1)")?
        .execute([STORED])?;
    Ok(())
}

const COLUMNS: &str = "session, kind, started_ms, last_ms, ended_ms, calls, failures";

fn read(row: &Row<'_>) -> rusqlite::Result<SessionSummary> {
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    Ok(SessionSummary {
        start: SessionStart {
            session: InstanceId(row.get(0)?),
            kind: SessionKind::from_word(&row.get::<_, String>(1)?),
            started_ms: number(row.get(2)?),
        },
        last_ms: number(row.get(3)?),
        ended_ms: row.get::<_, Option<i64>>(4)?.map(number),
        calls: number(row.get(5)?),
        failures: number(row.get(6)?),
    })
}

/// Returns the last sessions, newest first.
pub fn last(connection: &Connection, count: usize) -> Result<Vec<SessionSummary>, ConnectionError> {
    let sql = format!("SELECT {COLUMNS} FROM sessions ORDER BY started_ms DESC, session LIMIT ?1");
    let mut select = connection.prepare_cached(&sql)?;
    let rows = select.query_map([i64::try_from(count).unwrap_or(i64::MAX)], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns the begin of each of these sessions that is stored.
pub fn of(connection: &Connection, sessions: impl IntoIterator<Item = InstanceId>) -> Result<Vec<SessionStart>, ConnectionError> {
    let mut select = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE session = ?1"))?;
    let mut found = vec![];
    for session in sessions {
        found.extend(select.query_row([session.0], read).optional()?.map(|summary| summary.start));
    }
    Ok(found)
}
