//! Reads session files.

use std::path::Path;

use crate::{
    domain::session_file::SessionFile,
    files::{self, Allowed},
};

/// Largest session file, in bytes.
const FILE: u64 = 1 << 30;

/// Reads a session file. Fails with the reason.
pub fn read_session(path: &Path) -> Result<SessionFile, String> {
    let file = path.display();
    let text = files::read_text(path, Allowed { bytes: FILE, within: None }).map_err(|why| format!("the session file {file} {why}"))?;
    SessionFile::parse(&text).map_err(|why| format!("the session file {file} cannot be read: {why}"))
}
