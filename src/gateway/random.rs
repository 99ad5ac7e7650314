//! Random names that nobody can guess.

use std::io;

/// Returns 128 random bits as text.
pub fn id() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
