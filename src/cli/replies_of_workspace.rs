//! What the replies of the workspace mean to a command.

use crate::{
    control::WorkspaceError,
    domain::call::{Failure, FailureKind},
};

/// Returns the failure of a command whose request was not carried out.
pub fn failed(error: WorkspaceError) -> Failure {
    match error {
        WorkspaceError::Failed(failure) => *failure,
        WorkspaceError::NotWritten { why } => Failure::new(FailureKind::InvalidArguments, format!("nothing was written: {why}")),
        WorkspaceError::ProjectChanged => {
            Failure::new(FailureKind::Refused, error.to_string()).hint("run the command again and review the project")
        }
        WorkspaceError::Unavailable | WorkspaceError::Ended | WorkspaceError::Busy => {
            Failure::new(FailureKind::NotReady, error.to_string())
        }
        WorkspaceError::Disconnected => Failure::after_send(FailureKind::Transport, error.to_string()),
        WorkspaceError::NotPermitted => Failure::new(FailureKind::Refused, error.to_string()),
        WorkspaceError::Configuration(_) | WorkspaceError::UnknownChoice => Failure::new(FailureKind::InvalidArguments, error.to_string()),
    }
}

/// Returns the failure of a command whose request got the reply to another one.
pub fn unexpected() -> Failure {
    Failure::new(FailureKind::Protocol, "the workspace sent the reply to another request")
}
