//! `--via`: a headless command on a running engine.

use std::sync::Arc;

use super::instances::{connect, instances};
use crate::{
    cli::Options,
    control::{RemoteControl, Role, Wanted, instances::InstanceError},
    domain::call::{Failure, FailureKind},
    workspace::WorkspaceService,
};

/// The value that selects the engine with the same servers.
const AUTO: &str = "auto";

/// The engine that a command uses.
pub struct Via {
    /// Its name.
    pub name: String,
    /// The connection to it.
    pub control: Arc<RemoteControl>,
}

/// Returns the running engine that the options select; `None` if the command needs an engine of its own.
///
/// Errors: the engine that is named does not run, or cannot be used.
pub async fn choose(workspace: &WorkspaceService, options: &Options) -> Result<Option<Via>, Failure> {
    let Some(Some(wanted)) = &options.via else { return Ok(None) };
    let instances = instances(&workspace.selection().load)?;
    let role = Wanted { frames: options.verbose, role: Role::Headless };
    if wanted != AUTO {
        let running = instances.find(Some(wanted)).map_err(|error| not_found(&error))?;
        return Ok(Some(Via { control: connect(&instances, &running.name, role).await?, name: running.name }));
    }
    // Only an engine that has the servers of this command as they are here.
    let servers = workspace.selection().servers(&workspace.loaded(), None);
    if servers.is_empty() || workspace.selection().demo {
        return Ok(None);
    }
    let running = instances.list().map_err(|error| not_found(&error))?;
    let mut equal = vec![];
    for running in running.into_iter().filter(|running| running.info.as_ref().is_some_and(|info| !info.read_only)) {
        // An engine that cannot be used is none that has the servers.
        let Ok(control) = connect(&instances, &running.name, role).await else { continue };
        if control.different(&servers).await.is_ok_and(|different| different.is_empty()) {
            equal.push(Via { name: running.name, control });
        }
    }
    // With several it would be chance which one has the state.
    Ok(if equal.len() == 1 { equal.pop() } else { None })
}

fn not_found(error: &InstanceError) -> Failure {
    let failure = Failure::new(FailureKind::NotReady, error.to_string());
    match error {
        InstanceError::Unknown { name, .. } => {
            failure.hint(format!("start it with `switchboard up {name} -d`, or list those that run with `switchboard ps`"))
        }
        InstanceError::None => failure.hint("start one with `switchboard up -d`"),
        _ => failure,
    }
}
