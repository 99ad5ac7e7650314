//! Runs and their entries.

use std::cmp::Ordering;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::{ConnectionError, codec, plans};
use crate::domain::{
    journal::{RunEntry, RunHeader, RunRecord, Seq},
    run::RunId,
};

/// Maximum number of stored runs.
const KEPT: u32 = 1_000;

/// Size of the database from which runs that have ended are deleted although there are fewer, in bytes.
const BYTES: i64 = 1 << 30;

/// The newest runs, which are not deleted because of their size.
const NEWEST: i64 = 50;

/// Entries of a run at most, less one: each has a number within those of its run.
const ENTRIES: i64 = 1 << 24;

/// The run that was written last, and the id of its last entry.
#[derive(Debug, Default)]
pub struct Place {
    last: Option<(RunId, i64)>,
}

impl Place {
    /// Forgets it: what was written was undone.
    pub fn lose(&mut self) {
        self.last = None;
    }

    /// Returns the id of the entry after the one with the number `after`, which must be the run's last.
    fn next(&mut self, connection: &Connection, run: RunId, after: Seq) -> Result<i64, ConnectionError> {
        let after = i64::try_from(after.0).unwrap_or(i64::MAX);
        let last = match self.last {
            Some((last, id)) if last == run => id,
            _ => {
                let (number, last): (Option<i64>, Option<i64>) = connection
                    .prepare_cached(
                        "SELECT number, (SELECT max(id) FROM run_entries WHERE id < (number + 1) * ?2) FROM runs WHERE run = ?1",
                    )?
                    .query_row(params![run.to_string(), ENTRIES], |row| Ok((row.get(0)?, row.get(1)?)))
                    .optional()?
                    .unwrap_or_default();
                let number = number.ok_or_else(|| ConnectionError::Damaged(format!("nothing is known of the run {run}")))?;
                last.unwrap_or_default().max(number * ENTRIES)
            }
        };
        match (last % ENTRIES).cmp(&after) {
            Ordering::Less => return Err(ConnectionError::Damaged(format!("entries of the run {run} are missing"))),
            Ordering::Greater => return Err(ConnectionError::Fenced),
            Ordering::Equal => {}
        }
        let id = last + 1;
        if id % ENTRIES == 0 {
            return Err(ConnectionError::Damaged(format!("the run {run} has as many entries as it can have")));
        }
        self.last = Some((run, id));
        Ok(id)
    }
}

/// Appends an entry to a run whose last entry has the number `after`.
pub fn append(connection: &Connection, place: &mut Place, run: RunId, after: Seq, entry: &RunEntry) -> Result<(), ConnectionError> {
    match entry {
        RunEntry::Began { spec, unix_ms, .. } => {
            let plan = plans::store(connection, &spec.sources)?;
            let started_ms = i64::try_from(*unix_ms).unwrap_or(i64::MAX);
            connection
                .prepare_cached(
                    "INSERT INTO runs (number, run, workflow, started_ms, format, plan) \
                     VALUES ((SELECT coalesce(max(number), 0) + 1 FROM runs), ?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![run.to_string(), &*spec.workflow, started_ms, codec::RUN_FORMAT, plan])?;
            forget(connection, BYTES)?;
        }
        RunEntry::Ended { report } => {
            let ms = i64::try_from(report.took().as_millis()).unwrap_or(i64::MAX);
            connection.prepare_cached("UPDATE runs SET ended_ms = started_ms + ?2, outcome = ?3 WHERE run = ?1")?.execute(params![
                run.to_string(),
                ms,
                report.outcome.key()
            ])?;
        }
        _ => {}
    }
    let id = place.next(connection, run, after)?;
    let text = serde_json::to_string(plans::without_sources(entry).as_ref().unwrap_or(entry))?;
    // The number is the fence: an entry of another owner since has it already.
    let inserted = connection.prepare_cached("INSERT INTO run_entries (id, entry, codec) VALUES (?1, ?2, ?3)")?.execute(params![
        id,
        text,
        codec::PLAIN
    ]);
    match inserted {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Err(ConnectionError::Fenced),
        inserted => Ok(inserted.map(|_| ())?),
    }
}

/// Deletes the oldest runs when there are too many, and the older half of those that have ended when the database is larger than
/// `bytes`.
fn forget(connection: &Connection, bytes: i64) -> Result<(), ConnectionError> {
    connection
        .prepare_cached("DELETE FROM runs WHERE run IN (SELECT run FROM runs ORDER BY run DESC LIMIT -1 OFFSET ?1)")?
        .execute([KEPT])?;
    let used = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    if connection.prepare_cached(used)?.query_row([], |row| row.get::<_, i64>(0))? > bytes {
        connection
            .prepare_cached(
                "DELETE FROM runs WHERE ended_ms IS NOT NULL AND run IN \
                 (SELECT run FROM runs ORDER BY run DESC LIMIT -1 OFFSET max(?1, (SELECT count(*) / 2 FROM runs)))",
            )?
            .execute([NEWEST])?;
    }
    Ok(())
}

/// Everything written of a run.
pub fn load(connection: &Connection, run: RunId) -> Result<Option<RunRecord>, ConnectionError> {
    let header: Option<(i64, Option<String>)> = connection
        .prepare_cached("SELECT format, plan FROM runs WHERE run = ?1")?
        .query_row([run.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((format, plan)) = header else { return Ok(None) };
    codec::check_format(format)?;
    let mut select = connection.prepare_cached(
        "SELECT codec, entry FROM runs JOIN run_entries ON id > number * ?2 AND id < (number + 1) * ?2 WHERE run = ?1 ORDER BY id",
    )?;
    let mut rows = select.query(params![run.to_string(), ENTRIES])?;
    let mut entries = vec![];
    while let Some(row) = rows.next()? {
        codec::check_codec(row.get(0)?)?;
        entries.push(serde_json::from_str::<RunEntry>(row.get_ref(1)?.as_str().map_err(|e| ConnectionError::Damaged(e.to_string()))?)?);
    }
    if let (Some(hash), Some(first)) = (plan, entries.first_mut()) {
        plans::with_sources(first, &plans::load(connection, &hash)?);
    }
    Ok((!entries.is_empty()).then_some(RunRecord { run, entries }))
}

/// The last runs, newest first.
pub fn headers(connection: &Connection, last: usize, workflow: Option<&str>) -> Result<Vec<RunHeader>, ConnectionError> {
    let mut select = connection.prepare_cached(
        "SELECT run, workflow, started_ms, ended_ms, outcome FROM runs WHERE ?1 IS NULL OR workflow = ?1 ORDER BY run DESC LIMIT ?2",
    )?;
    let mut rows = select.query(params![workflow, i64::try_from(last).unwrap_or(i64::MAX)])?;
    let mut headers = vec![];
    while let Some(row) = rows.next()? {
        let (started, ended): (i64, Option<i64>) = (row.get(2)?, row.get(3)?);
        headers.push(RunHeader {
            run: row.get::<_, String>(0)?.parse().map_err(ConnectionError::Damaged)?,
            workflow: row.get(1)?,
            started_ms: u64::try_from(started).unwrap_or_default(),
            took_ms: ended.map(|ended| u64::try_from(ended - started).unwrap_or_default()),
            outcome: row.get(4)?,
        });
    }
    Ok(headers)
}

/// Digits that have to be given of a run's id.
const SHORTEST_PART: usize = 4;

/// The run whose id begins, or ends, like this, if there is exactly one.
pub fn find(connection: &Connection, part: &str) -> Result<Option<RunId>, ConnectionError> {
    let part = part.replace('-', "").to_ascii_lowercase();
    // Fewer digits, or a word, are more likely a mistake than the run that they happen to fit.
    if part.len() < SHORTEST_PART || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let mut select =
        connection.prepare_cached("SELECT run FROM runs WHERE substr(run, 1, length(?1)) = ?1 OR substr(run, -length(?1)) = ?1 LIMIT 2")?;
    let found: Vec<String> = select.query_map([&part], |row| row.get(0))?.collect::<Result<_, _>>()?;
    match found.as_slice() {
        [one] => one.parse().map(Some).map_err(ConnectionError::Damaged),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::schema;

    #[test]
    fn a_large_database_loses_old_runs_that_have_ended() {
        let connection = Connection::open_in_memory().unwrap();
        schema::as_of(&connection, schema::VERSION).unwrap();
        for number in 0..200_i64 {
            // Every tenth run has not ended.
            let ended = (number % 10 > 0).then_some(number);
            connection
                .execute(
                    "INSERT INTO runs (number, run, workflow, started_ms, ended_ms) VALUES (?1, ?2, 'w', ?1, ?3)",
                    params![number, format!("{number:032}"), ended],
                )
                .unwrap();
        }
        let count = |filter: &str| -> i64 {
            connection.query_row(&format!("SELECT count(*) FROM runs WHERE {filter}"), [], |row| row.get(0)).unwrap()
        };
        forget(&connection, BYTES).unwrap();
        assert_eq!(count("true"), 200, "a small database loses nothing");
        forget(&connection, 0).unwrap();
        assert_eq!((count("ended_ms IS NULL"), count("number < 100"), count("number >= 100")), (20, 10, 100));
        for _ in 0..5 {
            forget(&connection, 0).unwrap();
        }
        assert_eq!((count("ended_ms IS NULL"), count("number >= 150")), (20, 50), "the newest stay");
    }
}
