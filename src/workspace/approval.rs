//! Approval of a project: stored only if the project still has the content that the user has seen.

use crate::{
    config::{self, LoadOptions},
    domain::workspace::WorkspaceError,
};

/// Reads the project again and stores the approval if its hash is still the given one. Nothing is stored if the project needs
/// no approval.
pub fn approve(load: &LoadOptions, hash: &str) -> Result<(), WorkspaceError> {
    let Some(state_dir) = &load.state_dir else {
        return Err(WorkspaceError::invalid("the approval cannot be stored without a state folder"));
    };
    match config::load(load).map_err(WorkspaceError::Configuration)?.pending {
        Some(now) if now.hash == hash => config::approve(&now, state_dir).map_err(|error| WorkspaceError::Configuration(vec![error])),
        Some(_) => Err(WorkspaceError::ProjectChanged),
        None => Ok(()),
    }
}
