//! Arguments and results of calls. Equal bodies are stored once, large ones compressed.

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::{ConnectionError, codec};
use crate::domain::body::Body;

/// Maximum size of a stored body, in bytes.
pub const LONGEST_BODY: usize = 1 << 20;

/// Bodies of up to this many bytes are stored with their call: a reference costs as much.
const INLINE: usize = 128;

/// Returns whether a body is stored apart from its call.
pub fn is_apart(body: &Body) -> bool {
    body.len() > INLINE
}

/// Stores a body, or counts one more use of the same body; returns its id.
pub fn put(connection: &Connection, body: &Body) -> Result<i64, ConnectionError> {
    let bytes = body.bytes();
    let hash: [u8; 32] = Sha256::digest(&bytes[..]).into();
    let known = connection
        .prepare_cached("UPDATE bodies SET uses = uses + 1 WHERE hash = ?1 RETURNING id")?
        .query_row([&hash[..]], |row| row.get(0))
        .optional()?;
    if let Some(id) = known {
        return Ok(id);
    }
    let (codec, stored) = codec::pack(bytes);
    let mut insert = connection.prepare_cached("INSERT INTO bodies (hash, codec, uses, body) VALUES (?1, ?2, 1, ?3)")?;
    Ok(insert.insert(params![&hash[..], codec, &*stored])?)
}

/// Returns a body.
pub fn get(connection: &Connection, id: i64) -> Result<Body, ConnectionError> {
    let mut select = connection.prepare_cached("SELECT codec, body FROM bodies WHERE id = ?1")?;
    let (codec, stored) = select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    codec::unpack(codec, stored).map(Body::new)
}
