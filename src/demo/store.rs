//! The SQLite file that the demo servers share. Used by the servers only.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior};

/// How long a process waits for another one that writes.
const BUSY: Duration = Duration::from_secs(5);
/// The file's name in the demo's folder.
const FILE: &str = "demo.sqlite";

/// One process's connection to the shared state, opened when it is first needed.
///
/// Work runs on the caller's thread: each takes well under a millisecond, and a demo server serves one client.
pub(super) struct Store {
    path: PathBuf,
    connection: Mutex<Option<Connection>>,
}

impl Store {
    /// The store in the folder `dir`. Touches nothing yet.
    pub fn new(dir: &Path) -> Store {
        Store { path: dir.join(FILE), connection: Mutex::new(None) }
    }

    /// Does `work` on the open database.
    pub fn with<T, E: From<rusqlite::Error>>(&self, work: impl FnOnce(&Connection) -> Result<T, E>) -> Result<T, E> {
        let mut slot = self.connection.lock();
        let connection = match &mut *slot {
            Some(connection) => connection,
            empty => empty.insert(open(&self.path)?),
        };
        work(connection)
    }
}

/// Opens the file and makes its tables if they are not there.
///
/// Several processes do this simultaneously. SQLite does not always wait while the journal mode changes, so a
/// busy file is tried again for as long as a writer would be waited for.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let start = Instant::now();
    loop {
        match try_open(path) {
            Err(error) if busy(&error) && start.elapsed() < BUSY => std::thread::sleep(Duration::from_millis(5)),
            done => return done,
        }
    }
}

fn try_open(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // The state dies with the demo: nothing has to survive a power cut.
    connection.pragma_update(None, "synchronous", "off")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let transaction = Transaction::new(&mut connection, TransactionBehavior::Immediate)?;
    if transaction.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))? == 0 {
        transaction.execute_batch(include_str!("../../assets/demo/schema.sql"))?;
        transaction.pragma_update(None, "user_version", 1)?;
    }
    transaction.commit()?;
    Ok(connection)
}

fn busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The number in a user's id (`u_1001`); `None` for any other text.
pub(super) fn user_number(id: &str) -> Option<i64> {
    id.strip_prefix("u_")?.parse().ok()
}

/// The id of the user with this number.
pub(super) fn user_id(number: i64) -> String {
    format!("u_{number}")
}

/// The number and name of the user `id`, if there is one.
pub(super) fn find_user(db: &Connection, id: &str) -> rusqlite::Result<Option<(i64, String)>> {
    let Some(number) = user_number(id) else { return Ok(None) };
    db.query_row("SELECT id, name FROM users WHERE id = ?1", [number], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simultaneous_opens_create_the_tables_once() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let opened: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| Store::new(dir.path()).with(|db| db.query_row("SELECT count(*) FROM users", [], |row| row.get(0)))))
                .collect();
            for thread in opened {
                let count: rusqlite::Result<i64> = thread.join().unwrap();
                assert_eq!(count.unwrap(), 6);
            }
        });
    }

    #[test]
    fn a_missing_folder_is_an_error_and_is_tried_again_later() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&dir.path().join("later"));
        let count = |store: &Store| store.with(|db| db.query_row("SELECT count(*) FROM users", [], |row| row.get::<_, i64>(0)));
        assert!(count(&store).is_err());
        std::fs::create_dir(dir.path().join("later")).unwrap();
        assert_eq!(count(&store).unwrap(), 6);
    }

    #[test]
    fn ids_are_read_strictly() {
        assert_eq!(user_number("u_1001"), Some(1001));
        for wrong in ["1001", "u_", "u_x", "u_99999999999999999999", "U_1"] {
            assert_eq!(user_number(wrong), None, "{wrong}");
        }
        assert_eq!(user_id(7), "u_7");
    }
}
