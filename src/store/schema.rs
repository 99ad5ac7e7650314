//! The tables of the store and how an older file comes to have them.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// How long another program's lock is waited for.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What makes each version of the tables of the one before it. `PRAGMA user_version` counts those done.
const MIGRATIONS: &[&str] = &[
    include_str!("../../assets/migrations/0001_runs_and_calls.sql"),
    include_str!("../../assets/migrations/0002_entries_in_order.sql"),
    include_str!("../../assets/migrations/0003_catalogs.sql"),
    include_str!("../../assets/migrations/0004_eras.sql"),
    include_str!("../../assets/migrations/0005_target_states.sql"),
    include_str!("../../assets/migrations/0006_plans_and_formats.sql"),
    include_str!("../../assets/migrations/0007_history.sql"),
    include_str!("../../assets/migrations/0008_sessions.sql"),
    include_str!("../../assets/migrations/0009_lifecycle.sql"),
];

/// Size to which the write-ahead log is cut after a checkpoint, in bytes.
const LOG_BYTES: i64 = 16 << 20;

/// How many migrations there are.
#[cfg(test)]
pub const VERSION: u32 = MIGRATIONS.len() as u32;

/// The tables as the first `version` migrations leave them, for tests of the others.
#[cfg(test)]
pub fn as_of(connection: &Connection, version: u32) -> rusqlite::Result<()> {
    MIGRATIONS.iter().take(version as usize).try_for_each(|migration| connection.execute_batch(migration))?;
    connection.pragma_update(None, "user_version", version)
}

/// Sets a connection up for writing: how long it waits for others, what it writes and how safely. With `flush` each
/// transaction waits for the disk.
pub fn set_up(connection: &Connection, flush: bool) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    // Page cache in KiB. Writers do not read back what they wrote, so a small cache is enough.
    connection.pragma_update(None, "cache_size", -256)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // NORMAL hands a transaction to the system before it counts as done, FULL has it on the disk; the file is whole
    // after a power cut in both (https://sqlite.org/pragma.html#pragma_synchronous).
    connection.pragma_update(None, "synchronous", if flush { "FULL" } else { "NORMAL" })?;
    // The write-ahead log of a long run is not left at its full size.
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    connection.pragma_update(None, "foreign_keys", "ON")
}

/// Reads and writes what the beginning of a run does, and takes it back: a damaged file shows here and not at the first
/// entry of a run.
const PROBE: &str = "
    SAVEPOINT probe;
    DELETE FROM runs WHERE run IN (SELECT run FROM runs ORDER BY run DESC LIMIT -1 OFFSET 1000);
    INSERT INTO runs (number, run, workflow, started_ms)
        VALUES ((SELECT coalesce(max(number), 0) + 1 FROM runs), 'probe', 'probe', 0);
    UPDATE runs SET ended_ms = 0, outcome = '' WHERE run = 'probe';
    INSERT INTO run_entries (id, entry) VALUES ((SELECT coalesce(max(id), 0) + 1 FROM run_entries), '');
    INSERT OR REPLACE INTO calls (call, unix_ms, origin, server, name, spec, outcome, took_us)
        VALUES (-9223372036854775808, 0, '', '', '', '', '', 0);
    UPDATE sessions SET ended_ms = 0 WHERE session = -1;
    ROLLBACK TO probe;
    RELEASE probe;
";

/// Brings the tables up to date, and makes sure that they can be written.
pub fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let fault = |source| StoreError::Sqlite { path: path.to_owned(), source };
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    // Within a transaction that writes, so that two programs do not both do it.
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
    let found: u32 = change.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(fault)?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    for migration in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        change.execute_batch(migration).map_err(fault)?;
    }
    change.execute_batch(PROBE).map_err(fault)?;
    change.pragma_update(None, "user_version", known).map_err(fault)?;
    change.commit().map_err(fault)
}
