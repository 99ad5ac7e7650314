//! Versions of what servers define.

use rusqlite::{Connection, OptionalExtension, params};

use super::{ConnectionError, codec, transaction::Change};
use crate::domain::{
    body::Body,
    drift::{Definition, DefinitionKind, DefinitionVersion},
    id::ServerId,
    pins::AcceptedTools,
    stored_catalog::Hash,
};

/// Versions of one definition that are stored at most; the oldest are deleted.
const VERSIONS: i64 = 100;

/// The definitions of a server, as it listed them.
#[derive(Debug)]
pub struct Listing {
    /// The server.
    pub server: ServerId,
    /// Its launch fingerprint.
    pub launch: Hash,
    /// When it listed them, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What it listed.
    pub definitions: Vec<Definition>,
}

/// Stores the versions that are new, and that the others are still listed. The definitions of the first contact with a server
/// count as accepted.
pub fn write(connection: &Connection, listing: &Listing) -> Result<(), ConnectionError> {
    let change = Change::begin(connection)?;
    let at_ms = i64::try_from(listing.at_ms).unwrap_or(i64::MAX);
    let server = listing.server.as_str();
    let known = connection
        .prepare_cached("SELECT 1 FROM listings WHERE server = ?1 AND launch = ?2")?
        .query_row(params![server, &listing.launch[..]], |_| Ok(()))
        .optional()?;
    connection.prepare_cached("INSERT OR REPLACE INTO listings (server, launch, last_ms) VALUES (?1, ?2, ?3)")?.execute(params![
        server,
        &listing.launch[..],
        at_ms
    ])?;
    for definition in &listing.definitions {
        let (kind, hash) = (definition.kind.word(), definition.hash());
        let latest: Option<(i64, Vec<u8>)> = connection
            .prepare_cached("SELECT id, hash FROM definitions WHERE server = ?1 AND kind = ?2 AND name = ?3 ORDER BY id DESC LIMIT 1")?
            .query_row(params![server, kind, definition.name], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match latest {
            Some((id, latest)) if latest == hash => {
                connection.prepare_cached("UPDATE definitions SET last_ms = ?2 WHERE id = ?1")?.execute([id, at_ms])?;
            }
            _ => {
                let (codec, stored) = codec::pack(definition.text.as_bytes());
                connection
                    .prepare_cached(
                        "INSERT INTO definitions (server, launch, kind, name, hash, codec, definition, first_ms, last_ms, accepted) \
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9)",
                    )?
                    .execute(params![
                        server,
                        &listing.launch[..],
                        kind,
                        definition.name,
                        &hash[..],
                        codec,
                        &*stored,
                        at_ms,
                        known.is_none()
                    ])?;
                connection
                    .prepare_cached(
                        "DELETE FROM definitions WHERE id IN (SELECT id FROM definitions WHERE server = ?1 AND kind = ?2 AND name = ?3 \
                         ORDER BY id DESC LIMIT -1 OFFSET ?4)",
                    )?
                    .execute(params![server, kind, definition.name, VERSIONS])?;
            }
        }
    }
    Ok(change.commit()?)
}

/// Returns the versions of all definitions, in the order in which they were seen; if `server` is given, only its.
pub fn versions(connection: &Connection, server: Option<&str>) -> Result<Vec<DefinitionVersion>, ConnectionError> {
    let mut select = connection.prepare_cached(
        "SELECT server, kind, name, codec, definition, first_ms, definitions.last_ms, accepted, \
         (SELECT max(last_ms) FROM listings WHERE listings.server = definitions.server) \
         FROM definitions WHERE ?1 IS NULL OR server = ?1 ORDER BY id",
    )?;
    let mut rows = select.query([server])?;
    let number = |value: i64| u64::try_from(value).unwrap_or_default();
    let mut found = vec![];
    while let Some(row) = rows.next()? {
        let kind: String = row.get(1)?;
        // A kind of a later version.
        let Some(kind) = DefinitionKind::from_word(&kind) else { continue };
        found.push(DefinitionVersion {
            server: ServerId::new(row.get::<_, String>(0)?.as_str()),
            kind,
            name: row.get(2)?,
            definition: Body::new(codec::unpack(row.get(3)?, row.get(4)?)?),
            first_ms: number(row.get(5)?),
            last_ms: number(row.get(6)?),
            listed_ms: number(row.get::<_, Option<i64>>(8)?.unwrap_or_default()),
            accepted: row.get(7)?,
        });
    }
    Ok(found)
}

/// Returns the accepted definitions of the tools of a server; `None` if it was never seen with this launch fingerprint.
pub fn accepted_tools(connection: &Connection, server: &str, launch: &Hash) -> Result<Option<AcceptedTools>, ConnectionError> {
    let known = connection
        .prepare_cached("SELECT 1 FROM listings WHERE server = ?1 AND launch = ?2")?
        .query_row(params![server, &launch[..]], |_| Ok(()))
        .optional()?;
    if known.is_none() {
        return Ok(None);
    }
    let mut select =
        connection.prepare_cached("SELECT name, hash FROM definitions WHERE server = ?1 AND kind = ?2 AND accepted = 1 ORDER BY id")?;
    let rows = select.query_map(params![server, DefinitionKind::Tool.word()], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    // The last accepted version counts.
    Ok(Some(AcceptedTools(rows.collect::<Result<_, _>>()?)))
}

/// Accepts the current versions of the definitions of a server; if `name` is given, only those with this name. Definitions that
/// are gone are forgotten. Returns how many versions were accepted or forgotten.
pub fn accept(connection: &Connection, server: &str, name: Option<&str>) -> Result<usize, ConnectionError> {
    let change = Change::begin(connection)?;
    let gone = connection
        .prepare_cached(
            "DELETE FROM definitions WHERE server = ?1 AND (?2 IS NULL OR name = ?2) AND (SELECT max(other.last_ms) FROM definitions \
             AS other WHERE other.server = definitions.server AND other.kind = definitions.kind AND other.name = definitions.name) \
             < (SELECT max(last_ms) FROM listings WHERE server = ?1)",
        )?
        .execute(params![server, name])?;
    let accepted = connection
        .prepare_cached(
            "UPDATE definitions SET accepted = 1 WHERE accepted = 0 AND server = ?1 AND (?2 IS NULL OR name = ?2) AND id = (SELECT \
             max(other.id) FROM definitions AS other WHERE other.server = definitions.server AND other.kind = definitions.kind AND \
             other.name = definitions.name)",
        )?
        .execute(params![server, name])?;
    change.commit()?;
    Ok(gone + accepted)
}
