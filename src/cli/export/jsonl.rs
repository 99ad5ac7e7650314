//! Session files, which `mock` and other instances of Switchboard read.

use crate::domain::{drift::DefinitionVersion, journal::CallRecord, session_file::SessionFile};

/// Returns a session file with these calls and the definitions of their servers.
pub fn render(calls: &[CallRecord], definitions: &[DefinitionVersion]) -> String {
    let called = |definition: &&DefinitionVersion| calls.iter().any(|call| call.summary.server == definition.server);
    let definitions = definitions.iter().filter(called).cloned().collect();
    SessionFile { calls: calls.to_vec(), definitions }.render()
}
