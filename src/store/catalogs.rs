//! The last known catalogs of servers, and the eras of those that do not answer the probe.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use tokio::sync::oneshot;

use super::{
    ConnectionError, Store,
    definitions::{self, Listing},
    target_states,
    writer::Job,
};
use crate::{
    domain::{
        drift,
        id::ServerId,
        pins::Pins,
        policy::target_state::TargetState,
        server::Era,
        stored_catalog::{BYTES, CatalogKey, Hash, StoredCatalog},
    },
    engine::ports::CatalogStore,
};

/// Catalogs that are stored at most, and their total size in bytes. The oldest are deleted.
const MOST: u32 = 500;
const TOTAL: usize = 64 << 20;

/// How long the era of a server is used, in milliseconds: 7 days. A server that has been updated is probed again by then.
const ERA_AGE: u64 = 7 * 24 * 3600 * 1000;

/// The last known catalogs of servers in a store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Catalogs(pub(super) Store);

impl Catalogs {
    pub(super) fn new(store: Store) -> Catalogs {
        Catalogs(store)
    }
}

#[async_trait::async_trait]
impl CatalogStore for Catalogs {
    async fn load(&self, key: &CatalogKey) -> Option<StoredCatalog> {
        let key = *key;
        match self.0.read(move |connection| read(connection, &key)).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(target: "switchboard::store", why = %error, "the catalog of a server cannot be read");
                None
            }
        }
    }

    async fn save(&self, key: &CatalogKey, catalog: StoredCatalog) {
        let (key, jobs) = (*key, self.0.jobs.clone());
        let (done, written) = oneshot::channel();
        // Serialises some megabytes, and blocks while the channel is full.
        let queued = tokio::task::spawn_blocking(move || {
            let row = Row::new(&catalog);
            if row.is_none() {
                tracing::warn!(target: "switchboard::store", "the catalog of a server is too large to be stored");
            }
            jobs.send(Job::Catalog(key, row, done)).is_ok()
        });
        if queued.await.unwrap_or(false) {
            // Fails only when the store is closed.
            let _ = written.await;
        }
    }

    async fn save_definitions(&self, server: &ServerId, key: &CatalogKey, catalog: &StoredCatalog) {
        let (server, launch, catalog, jobs) = (server.clone(), key.launch, catalog.clone(), self.0.jobs.clone());
        // Parses some megabytes, and blocks while the channel is full. Fails only when the store is closed.
        let queued = tokio::task::spawn_blocking(move || {
            let listing = Listing { server, launch, at_ms: catalog.read_ms, definitions: drift::definitions(&catalog) };
            jobs.send(Job::Definitions(Box::new(listing)))
        });
        let _ = queued.await;
    }

    async fn pins(&self, server: &ServerId, launch: &Hash) -> Pins {
        let (server, launch) = (server.clone(), *launch);
        let found = self.0.read(move |connection| definitions::accepted_tools(connection, server.as_str(), &launch)).await;
        match found {
            Ok(Some(accepted)) => Pins::Accepted(accepted),
            Ok(None) => Pins::FirstContact,
            Err(error) => {
                tracing::warn!(target: "switchboard::store", why = %error, "the accepted definitions of a server cannot be read");
                Pins::Unreadable
            }
        }
    }

    async fn era(&self, launch: &Hash, now_ms: u64) -> Option<Era> {
        let launch = *launch;
        match self.0.read(move |connection| read_era(connection, &launch, now_ms)).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(target: "switchboard::store", why = %error, "the era of a server cannot be read");
                None
            }
        }
    }

    async fn save_era(&self, launch: &Hash, era: Option<Era>, now_ms: u64) {
        let (job, jobs) = (Job::Era(*launch, era, i64::try_from(now_ms).unwrap_or(i64::MAX)), self.0.jobs.clone());
        // Blocks while the channel is full. Fails only when the store is closed.
        let _ = tokio::task::spawn_blocking(move || jobs.send(job)).await;
    }

    async fn target_state(&self, key: &Hash, now_ms: u64) -> Option<(TargetState, Duration)> {
        target_states::load(&self.0, *key, now_ms).await
    }

    async fn save_target_state(&self, key: &Hash, state: TargetState, now_ms: u64) {
        target_states::save(&self.0, *key, state, now_ms).await;
    }
}

/// Returns the era stored for a server, unless it is too old at `now_ms`.
fn read_era(connection: &Connection, launch: &Hash, now_ms: u64) -> Result<Option<Era>, ConnectionError> {
    let found: Option<(String, i64)> = connection
        .prepare_cached("SELECT era, stored_ms FROM eras WHERE launch = ?1")?
        .query_row([launch], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let valid = |stored_ms: i64| u64::try_from(stored_ms).is_ok_and(|stored| stored <= now_ms && now_ms - stored <= ERA_AGE);
    Ok(found.filter(|(_, stored_ms)| valid(*stored_ms)).and_then(|(era, _)| era_of(&era)))
}

/// Stores the era of a server, or deletes it, and deletes the oldest beyond [`MOST`].
pub fn write_era(connection: &Connection, launch: &Hash, era: Option<Era>, stored_ms: i64) -> Result<(), ConnectionError> {
    let Some(era) = era else {
        connection.prepare_cached("DELETE FROM eras WHERE launch = ?1")?.execute([launch])?;
        return Ok(());
    };
    connection.prepare_cached("INSERT OR REPLACE INTO eras (launch, era, stored_ms) VALUES (?1, ?2, ?3)")?.execute(params![
        launch,
        word_of(era),
        stored_ms
    ])?;
    connection
        .prepare_cached("DELETE FROM eras WHERE launch IN (SELECT launch FROM eras ORDER BY stored_ms DESC LIMIT -1 OFFSET ?1)")?
        .execute([MOST])?;
    Ok(())
}

fn word_of(era: Era) -> &'static str {
    match era {
        Era::Legacy => "legacy",
        Era::Modern => "modern",
    }
}

fn era_of(word: &str) -> Option<Era> {
    [Era::Legacy, Era::Modern].into_iter().find(|era| word_of(*era) == word)
}

/// A catalog as it is written.
#[derive(Debug)]
pub struct Row {
    read_ms: i64,
    digest: Hash,
    json: Vec<u8>,
}

impl Row {
    /// Returns the row of a catalog; `None` if it is too large.
    pub fn new(catalog: &StoredCatalog) -> Option<Row> {
        let json = catalog.to_json()?;
        let read_ms = i64::try_from(catalog.read_ms).unwrap_or(i64::MAX);
        Some(Row { read_ms, digest: Sha256::digest(&json).into(), json })
    }
}

/// Replaces the catalog under a key, or deletes it without a new one, and deletes the oldest beyond the limits.
pub fn write(connection: &Connection, key: &CatalogKey, row: Option<&Row>) -> Result<(), ConnectionError> {
    let Some(row) = row else {
        connection
            .prepare_cached("DELETE FROM catalogs WHERE launch = ?1 AND capabilities = ?2")?
            .execute(params![key.launch, key.capabilities])?;
        return Ok(());
    };
    connection
        .prepare_cached("INSERT OR REPLACE INTO catalogs (launch, capabilities, read_ms, digest, catalog) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![key.launch, key.capabilities, row.read_ms, row.digest, row.json])?;
    forget(connection, MOST, TOTAL)
}

/// Deletes all but the newest catalogs: at most `most`, and `total` bytes together.
fn forget(connection: &Connection, most: u32, total: usize) -> Result<(), ConnectionError> {
    connection
        .prepare_cached(
            "DELETE FROM catalogs WHERE rowid IN (SELECT id FROM ( \
                 SELECT rowid AS id, row_number() OVER newest AS number, sum(length(catalog)) OVER newest AS bytes FROM catalogs \
                 WINDOW newest AS (ORDER BY read_ms DESC, rowid DESC)) \
             WHERE number > ?1 OR bytes > ?2)",
        )?
        .execute(params![most, i64::try_from(total).unwrap_or(i64::MAX)])?;
    Ok(())
}

/// Reads the catalog under a key. A row that is too large, changed or unreadable is damaged.
pub fn read(connection: &Connection, key: &CatalogKey) -> Result<Option<StoredCatalog>, ConnectionError> {
    let damaged = |why: &str| ConnectionError::Damaged(format!("a stored catalog {why}"));
    let found: Option<(i64, i64)> = connection
        .prepare_cached("SELECT rowid, length(catalog) FROM catalogs WHERE launch = ?1 AND capabilities = ?2")?
        .query_row(params![key.launch, key.capabilities], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((id, length)) = found else { return Ok(None) };
    if usize::try_from(length).map_or(true, |length| length > BYTES) {
        return Err(damaged("is too large"));
    }
    let (read_ms, digest, json): (i64, Vec<u8>, Vec<u8>) = connection
        .prepare_cached("SELECT read_ms, digest, catalog FROM catalogs WHERE rowid = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if digest != Sha256::digest(&json)[..] {
        return Err(damaged("does not match its digest"));
    }
    let read_ms = u64::try_from(read_ms).map_err(|_| damaged("has no valid time"))?;
    StoredCatalog::from_json(&json, read_ms).map(Some).map_err(|_| damaged("is not in the known format"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{
        body::Body,
        secret::Secret,
        server::{ServerSpec, Transport},
        stored_catalog::StoredServer,
    };

    fn key(number: u16) -> CatalogKey {
        let mut launch = [0; 32];
        launch[..2].copy_from_slice(&number.to_be_bytes());
        CatalogKey { launch, capabilities: [7; 32] }
    }

    fn catalog(read_ms: u64, bytes: usize) -> StoredCatalog {
        let server = StoredServer { protocol: "2025-11-25".into(), name: Some("db".into()), ..StoredServer::default() };
        let tools = vec![Body::from(format!(r#"{{"name":"a", "n":1.50,"x":"{}"}}"#, "x".repeat(bytes)))];
        StoredCatalog { read_ms, server, tools, cut: vec!["tools".into()], ..StoredCatalog::default() }
    }

    fn open() -> (tempfile::TempDir, Catalogs, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let store = Store::open(&path, 0).unwrap();
        let connection = Connection::open(&path).unwrap();
        (dir, store.catalogs(), connection)
    }

    #[tokio::test]
    async fn a_catalog_is_read_back_replaced_and_deleted_when_it_is_too_large() {
        let (dir, store, _) = open();
        assert_eq!(store.load(&key(1)).await, None);
        store.save(&key(1), catalog(5, 10)).await;
        assert_eq!(store.load(&key(1)).await, Some(catalog(5, 10)));
        assert_eq!(store.load(&CatalogKey { capabilities: [8; 32], ..key(1) }).await, None);
        store.save(&key(1), catalog(6, 0)).await;
        store.save(&key(2), catalog(7, BYTES / 2)).await;
        let again = Store::open(&dir.path().join("store.db"), 0).unwrap().catalogs();
        assert_eq!(again.load(&key(1)).await, Some(catalog(6, 0)));
        assert_eq!(again.load(&key(2)).await, Some(catalog(7, BYTES / 2)));
        // Older lists would be mistaken for the ones that the server has now.
        store.save(&key(2), catalog(8, BYTES)).await;
        assert_eq!(store.load(&key(2)).await, None);
    }

    #[tokio::test]
    async fn v19_an_era_is_read_back_replaced_deleted_and_forgotten_with_time() {
        let (dir, store, connection) = open();
        let (launch, other) = (key(1).launch, key(2).launch);
        assert_eq!(store.era(&launch, 10).await, None);
        store.save_era(&launch, Some(Era::Legacy), 10).await;
        store.save_era(&other, Some(Era::Modern), 10).await;
        store.0.flush().await.unwrap();
        let again = Store::open(&dir.path().join("store.db"), 0).unwrap().catalogs();
        assert_eq!((again.era(&launch, 10 + ERA_AGE).await, again.era(&other, 11).await), (Some(Era::Legacy), Some(Era::Modern)));
        assert_eq!((again.era(&launch, 11 + ERA_AGE).await, again.era(&launch, 9).await), (None, None), "too old, and from the future");
        store.save_era(&launch, None, 12).await;
        store.0.flush().await.unwrap();
        assert_eq!(again.era(&launch, 13).await, None);
        for at in 0..=i64::from(MOST) {
            let mut launch = [0; 32];
            launch[..8].copy_from_slice(&at.to_be_bytes());
            write_era(&connection, &launch, Some(Era::Legacy), 100 + at).unwrap();
        }
        let count: u32 = connection.query_row("SELECT count(*) FROM eras", [], |row| row.get(0)).unwrap();
        assert_eq!(count, MOST);
        connection.execute_batch("UPDATE eras SET era = 'x'").unwrap();
        assert_eq!(again.era(&[0; 32], 200).await, None);
        connection.execute_batch("DROP TABLE eras").unwrap();
        assert_eq!(again.era(&launch, 13).await, None);
        store.save_era(&launch, Some(Era::Legacy), 13).await;
        store.0.flush().await.unwrap();
    }

    #[tokio::test]
    async fn a_damaged_row_is_ignored_and_replaced() {
        let (_dir, store, connection) = open();
        for damage in [
            "catalog = CAST('{}' AS BLOB)",
            "catalog = substr(catalog, 2)",
            "digest = x'00'",
            "read_ms = -1",
            "catalog = zeroblob(5000000)",
        ] {
            store.save(&key(1), catalog(5, 10)).await;
            connection.execute(&format!("UPDATE catalogs SET {damage}"), []).unwrap();
            assert_eq!(store.load(&key(1)).await, None, "{damage}");
        }
        let json = b"[]".to_vec();
        let row = Row { read_ms: 1, digest: Sha256::digest(&json).into(), json };
        write(&connection, &key(1), Some(&row)).unwrap();
        assert_eq!(store.load(&key(1)).await, None, "another format");
        store.save(&key(1), catalog(6, 10)).await;
        assert_eq!(store.load(&key(1)).await, Some(catalog(6, 10)));
        connection.execute_batch("DROP TABLE catalogs").unwrap();
        store.save(&key(1), catalog(7, 10)).await;
        assert_eq!(store.load(&key(1)).await, None, "no table");
    }

    #[test]
    fn the_oldest_catalogs_are_deleted_beyond_the_limits() {
        let (_dir, _store, connection) = open();
        let row = |at: u16| Row::new(&catalog(u64::from(at), 100)).unwrap();
        // The time decides, not the order of writing.
        for at in [3, 1, 4, 2, 5] {
            write(&connection, &key(at), Some(&row(at))).unwrap();
        }
        let left = |most: u32, total: usize| {
            forget(&connection, most, total).unwrap();
            (1..=5).filter(|at| read(&connection, &key(*at)).unwrap().is_some()).collect::<Vec<u16>>()
        };
        assert_eq!(left(10, 1 << 20), [1, 2, 3, 4, 5]);
        assert_eq!(left(4, 1 << 20), [2, 3, 4, 5]);
        assert_eq!(left(10, row(1).json.len() * 2), [4, 5]);
    }

    #[tokio::test]
    async fn no_configured_value_is_in_the_file() {
        let (dir, store, connection) = open();
        let secret = |text: &str| Secret::new(text, "${TOKEN}");
        let launch = Transport::Stdio {
            command: "server".into(),
            args: vec![secret("argument-s3cret")],
            env: vec![("TOKEN".into(), secret("variable-s3cret"))],
            inherit_env: false,
            cwd: None,
        };
        let spec = Arc::new(ServerSpec::new("a", launch));
        store.save(&CatalogKey::new(&spec, &Body::from("{}")), catalog(1, 10)).await;
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(memchr::memmem::find(&bytes, b"s3cret").is_none());
        }
    }
}
