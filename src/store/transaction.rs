//! One transaction.

use rusqlite::Connection;

/// A transaction that writes, undone unless it is committed. Its statements are prepared once: taking their text apart
/// each time takes as long as what they do.
pub struct Change<'a>(Option<&'a Connection>);

impl<'a> Change<'a> {
    /// Begins one. Waits for other programs as long as the connection is patient.
    pub fn begin(connection: &'a Connection) -> rusqlite::Result<Change<'a>> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Change(Some(connection)))
    }

    /// Makes all of it stay.
    pub fn commit(mut self) -> rusqlite::Result<()> {
        if let Some(connection) = self.0 {
            connection.prepare_cached("COMMIT")?.execute([])?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        // Fails where SQLite has undone it already, as it does when the disk is full.
        if let Some(connection) = self.0 {
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
}
