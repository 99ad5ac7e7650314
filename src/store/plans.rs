//! Plans by their hash: the texts of a workflow are stored once, however many runs it has.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::{ConnectionError, codec};
use crate::domain::{
    journal::RunEntry,
    run::{RunSpec, WorkflowText},
};

/// Stores the texts of a workflow, unless they are stored already. Returns their hash.
pub fn store(connection: &Connection, sources: &[WorkflowText]) -> Result<String, ConnectionError> {
    let text = serde_json::to_vec(sources)?;
    let hash: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    connection.prepare_cached("INSERT OR IGNORE INTO plans (hash, codec, sources) VALUES (?1, ?2, ?3)")?.execute(params![
        hash,
        codec::PLAIN,
        text
    ])?;
    Ok(hash)
}

/// Returns the texts with this hash.
pub fn load(connection: &Connection, hash: &str) -> Result<Arc<[WorkflowText]>, ConnectionError> {
    let (codec, text): (i64, Vec<u8>) = connection
        .prepare_cached("SELECT codec, sources FROM plans WHERE hash = ?1")?
        .query_row([hash], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .ok_or_else(|| ConnectionError::Damaged(format!("the texts of the plan {hash} are missing")))?;
    codec::check_codec(codec)?;
    Ok(serde_json::from_slice::<Vec<WorkflowText>>(&text)?.into())
}

/// Returns an entry without the texts of its workflow, as it is stored.
pub fn without_sources(entry: &RunEntry) -> Option<RunEntry> {
    let RunEntry::Began { spec, unix_ms, deadline_ms } = entry else { return None };
    let spec = RunSpec { sources: Arc::from([]), ..RunSpec::clone(spec) };
    Some(RunEntry::Began { spec: Arc::new(spec), unix_ms: *unix_ms, deadline_ms: *deadline_ms })
}

/// Completes a stored entry with the texts of its workflow.
pub fn with_sources(entry: &mut RunEntry, sources: &Arc<[WorkflowText]>) {
    if let RunEntry::Began { spec, .. } = entry {
        Arc::make_mut(spec).sources = sources.clone();
    }
}
