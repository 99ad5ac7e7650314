//! Reads the history of calls: pages of a filter, and statistics; and deletes old calls.

use std::collections::BTreeSet;

use rusqlite::{Connection, params, params_from_iter, types::Value};

use super::{ConnectionError, calls, filter_sql::Conditions, sessions, transaction::Change};
use crate::domain::{
    filter::Filter,
    history::{CallSum, HistoryPage, HistoryQuery, HistoryStats, PAGE, Period, StatsBy, summarize},
    id::{CallId, InstanceId},
    journal::{CallOutcome, CallRecord},
};

/// Calls that one transaction deletes, so that no other writer waits long.
const DELETED: usize = 5_000;

/// How long sums of hours are stored, in hours: 400 days, to compare with the year before.
const SUMS: u64 = 400 * 24;

/// Which calls the history retains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// How many.
    pub calls: usize,
    /// For how long, in milliseconds; 0 for any time.
    pub age_ms: u64,
    /// The size of the database in bytes from which the oldest calls are deleted; 0 for any size.
    pub bytes: u64,
}

/// Returns a page of the calls that pass a filter, newest first. Each page continues at the last call of the page before, so a
/// page costs the same wherever it is.
pub fn page(connection: &Connection, filter: &Filter, query: &HistoryQuery) -> Result<HistoryPage, ConnectionError> {
    let limit = query.limit.clamp(1, PAGE);
    let Conditions { mut all, values, text } = Conditions::new(filter);
    let mut parameters: Vec<Value> = vec![];
    let from = match text {
        Some(text) => {
            // The search index returns its rows in order, so that it stops after the page.
            all.insert(0, "calls_text MATCH ?".into());
            parameters.push(text.into());
            "calls_text CROSS JOIN calls ON calls.call = calls_text.rowid"
        }
        None => "calls",
    };
    let id = if from == "calls" { "calls.call" } else { "calls_text.rowid" };
    parameters.extend(values);
    let mut bound = |condition: &str, call: CallId| {
        all.push(format!("{id} {condition} ?"));
        parameters.push(call.0.cast_signed().into());
    };
    let at = |unix_ms: u64| CallId::from_parts(unix_ms, 0);
    query.since_ms.into_iter().for_each(|since| bound(">=", at(since)));
    query.until_ms.into_iter().for_each(|until| bound("<", at(until)));
    query.before.into_iter().for_each(|before| bound("<", before));
    let whether = if all.is_empty() { String::new() } else { format!("WHERE {}", all.join(" AND ")) };
    parameters.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
    let sql = format!("SELECT {} FROM {from} {whether} ORDER BY {id} DESC LIMIT ?", calls::COLUMNS);
    let mut select = connection.prepare_cached(&sql)?;
    let mut rows = select.query(params_from_iter(parameters))?;
    let mut found = HistoryPage::default();
    while let Some(row) = rows.next()? {
        found.calls.push(calls::summary(row)?);
    }
    found.next = found.calls.last().map(|last| last.call).filter(|_| found.calls.len() == limit);
    let instances: BTreeSet<InstanceId> = found.calls.iter().map(|call| call.instance).collect();
    found.sessions = sessions::of(connection, instances)?;
    Ok(found)
}

/// Adds calls to the sums of their hours.
pub fn add_sums<'c>(connection: &Connection, calls: impl IntoIterator<Item = &'c CallRecord>) -> Result<(), ConnectionError> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO call_sums (hour, server, tool, outcome, bucket, calls, took_us, bytes) VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7) \
         ON CONFLICT DO UPDATE SET calls = calls + 1, took_us = took_us + excluded.took_us, bytes = bytes + excluded.bytes",
    )?;
    let integer = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    for CallRecord { summary, spec, .. } in calls.into_iter().filter(|call| !call.summary.lifecycle) {
        insert.execute(params![
            integer(summary.unix_ms / crate::domain::history::HOUR_MS),
            summary.server.as_str(),
            spec.operation.subject(),
            summary.outcome.words(),
            crate::domain::history::bucket(summary.took_us),
            // A sum of many must not overflow.
            integer(summary.took_us.min(1 << 40)),
            integer(summary.received_bytes),
        ])?;
    }
    Ok(())
}

fn sums(connection: &Connection, period: Period) -> Result<Vec<CallSum>, ConnectionError> {
    let (since, until) = period.hours();
    let mut select = connection.prepare_cached(
        "SELECT hour, server, tool, outcome, bucket, calls, took_us, bytes FROM call_sums WHERE hour >= ?1 AND hour < ?2",
    )?;
    let integer = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let mut rows = select.query([integer(since), integer(until)])?;
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    let mut found = vec![];
    while let Some(row) = rows.next()? {
        found.push(CallSum {
            hour: number(row.get(0)?),
            server: row.get(1)?,
            tool: row.get(2)?,
            outcome: CallOutcome::from(row.get::<_, String>(3)?),
            bucket: row.get(4)?,
            calls: number(row.get(5)?),
            took_us: number(row.get(6)?),
            bytes: number(row.get(7)?),
        });
    }
    Ok(found)
}

/// Returns the statistics of a period; with `compare` also the rows of the period before.
pub fn stats(connection: &Connection, period: Period, by: StatsBy, compare: bool) -> Result<HistoryStats, ConnectionError> {
    let (total, rows) = summarize(&sums(connection, period)?, by);
    let before = if compare { summarize(&sums(connection, period.before())?, by).1 } else { vec![] };
    Ok(HistoryStats { period, total, rows, before })
}

/// Deletes what exceeds the limits, in several transactions; returns the number of deleted calls.
pub fn apply_limits(connection: &Connection, limits: HistoryLimits, now_ms: u64) -> Result<usize, ConnectionError> {
    let mut deleted = within(connection, |connection| calls::forget(connection, limits.calls))?;
    if limits.age_ms > 0 {
        deleted += prune(connection, now_ms.saturating_sub(limits.age_ms))?;
    }
    calls::forget_lifecycle(connection)?;
    while limits.bytes > 0 && used_bytes(connection)? > limits.bytes {
        let few = within(connection, |connection| calls::forget_oldest(connection, DELETED))?;
        if few == 0 {
            break;
        }
        deleted += few;
    }
    let first = (now_ms / crate::domain::history::HOUR_MS).saturating_sub(SUMS);
    connection.prepare_cached("DELETE FROM call_sums WHERE hour < ?1")?.execute([i64::try_from(first).unwrap_or(i64::MAX)])?;
    sessions::forget_before(connection, first.saturating_mul(crate::domain::history::HOUR_MS))?;
    Ok(deleted)
}

/// Deletes the calls that began before a time, in several transactions; returns their number.
pub fn prune(connection: &Connection, before_ms: u64) -> Result<usize, ConnectionError> {
    let mut deleted = 0;
    loop {
        let few = within(connection, |connection| calls::forget_before(connection, before_ms, DELETED))?;
        deleted += few;
        if few < DELETED {
            return Ok(deleted);
        }
    }
}

fn within<T>(connection: &Connection, change: impl FnOnce(&Connection) -> Result<T, ConnectionError>) -> Result<T, ConnectionError> {
    let transaction = Change::begin(connection)?;
    let done = change(connection)?;
    transaction.commit()?;
    Ok(done)
}

/// Returns the bytes of the database that are in use.
fn used_bytes(connection: &Connection) -> Result<u64, ConnectionError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok(u64::try_from(pages * pragma("page_size")?).unwrap_or_default())
}
