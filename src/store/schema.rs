//! The tables of the store and how an older file comes to have them.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, TransactionBehavior};

use super::StoreError;

/// How long another program's lock is waited for.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What makes each version of the tables of the one before it. `PRAGMA user_version` counts those done.
const MIGRATIONS: &[&str] = &[include_str!("../../assets/migrations/0001_runs_and_calls.sql")];

/// Sets a connection up for writing and brings its tables up to date.
pub fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let fault = |source| StoreError::Sqlite { path: path.to_owned(), source };
    connection.busy_timeout(PATIENCE).map_err(fault)?;
    let set = |name: &str, value: &str| connection.pragma_update(None, name, value);
    set("journal_mode", "WAL").map_err(fault)?;
    // Before a request is sent, what is written of it has to survive even a power cut.
    set("synchronous", "FULL").map_err(fault)?;
    set("foreign_keys", "ON").map_err(fault)?;
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
    change.pragma_update(None, "user_version", known).map_err(fault)?;
    change.commit().map_err(fault)
}
