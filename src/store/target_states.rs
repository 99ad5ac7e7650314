//! The states of targets that processes leave for later ones.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::{ConnectionError, Store, writer::Job};
use crate::domain::{
    policy::target_state::{MAX_AGE, TargetState},
    stored_catalog::Hash,
};

/// States that are stored at most. The oldest are deleted.
const MOST: u32 = 500;
/// Longest state, in bytes of its JSON.
const BYTES: usize = 256 << 10;

/// Returns the state of a target and its age, unless it is too old at `now_ms` (milliseconds since the Unix epoch). An unreadable
/// one is logged.
pub async fn load(store: &Store, target: Hash, now_ms: u64) -> Option<(TargetState, Duration)> {
    match store.read(move |connection| read(connection, &target, now_ms)).await {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(target: "switchboard::store", why = %error, "the state of a server cannot be read");
            None
        }
    }
}

/// Stores the state of a target without waiting until it is written.
pub async fn save(store: &Store, target: Hash, state: TargetState, now_ms: u64) {
    let json = (state != TargetState::default()).then(|| serde_json::to_string(&state).ok()).flatten();
    let job = Job::TargetState(target, json.filter(|json| json.len() <= BYTES), i64::try_from(now_ms).unwrap_or(i64::MAX));
    let jobs = store.jobs.clone();
    // Blocks while the channel is full. Fails only when the store is closed.
    let _ = tokio::task::spawn_blocking(move || jobs.send(job)).await;
}

fn read(connection: &Connection, target: &Hash, now_ms: u64) -> Result<Option<(TargetState, Duration)>, ConnectionError> {
    let found: Option<(String, i64)> = connection
        .prepare_cached("SELECT state, stored_ms FROM target_states WHERE target = ?1")?
        .query_row([target], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((json, stored_ms)) = found else { return Ok(None) };
    let age = u64::try_from(stored_ms).ok().and_then(|stored| now_ms.checked_sub(stored)).map(Duration::from_millis);
    match age.filter(|age| *age <= MAX_AGE) {
        Some(age) => Ok(Some((serde_json::from_str(&json)?, age))),
        None => Ok(None),
    }
}

/// Replaces the state of a target, or deletes it, and deletes the oldest beyond the limit.
pub fn write(connection: &Connection, target: &Hash, state: Option<&str>, stored_ms: i64) -> Result<(), ConnectionError> {
    let Some(state) = state else {
        connection.prepare_cached("DELETE FROM target_states WHERE target = ?1")?.execute([target])?;
        return Ok(());
    };
    connection
        .prepare_cached("INSERT OR REPLACE INTO target_states (target, state, stored_ms) VALUES (?1, ?2, ?3)")?
        .execute(params![target, state, stored_ms])?;
    connection
        .prepare_cached(
            "DELETE FROM target_states WHERE target IN (SELECT target FROM target_states ORDER BY stored_ms DESC LIMIT -1 OFFSET ?1)",
        )?
        .execute([MOST])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_state_is_read_back_until_it_is_too_old() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store.db"), 0).unwrap();
        let (target, other) = ([1; 32], [2; 32]);
        let state = TargetState { latency: Some(0.25), rate_ahead: Duration::from_millis(40), ..TargetState::default() };
        save(&store, target, state.clone(), 1_000).await;
        store.flush().await.unwrap();
        let age = Duration::from_millis(500);
        assert_eq!(load(&store, target, 1_500).await, Some((state, age)));
        assert_eq!(load(&store, other, 1_500).await, None);
        assert_eq!(load(&store, target, 999).await, None, "from the future");
        let last = 1_000 + u64::try_from(MAX_AGE.as_millis()).unwrap();
        assert!(load(&store, target, last).await.is_some());
        assert_eq!(load(&store, target, last + 1).await, None, "too old");
        save(&store, target, TargetState::default(), 2_000).await;
        store.flush().await.unwrap();
        assert_eq!(load(&store, target, 2_000).await, None, "nothing to remember");
    }

    #[tokio::test]
    async fn damaged_states_are_ignored_and_the_oldest_are_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let store = Store::open(&path, 0).unwrap();
        let connection = Connection::open(&path).unwrap();
        write(&connection, &[1; 32], Some("{"), 5).unwrap();
        assert_eq!(load(&store, [1; 32], 5).await, None);
        for at in 0..=i64::from(MOST) {
            let mut target = [0; 32];
            target[..8].copy_from_slice(&at.to_be_bytes());
            write(&connection, &target, Some("{}"), 100 + at).unwrap();
        }
        let count: u32 = connection.query_row("SELECT count(*) FROM target_states", [], |row| row.get(0)).unwrap();
        assert_eq!(count, MOST);
        connection.execute_batch("DROP TABLE target_states").unwrap();
        assert_eq!(load(&store, [0; 32], 5).await, None);
    }
}
