//! The targets of steps: looks up exposed names among the tools that the servers list now.

use super::Run;
use crate::{
    domain::{
        call::FailureKind,
        directory::Directory,
        run::{StepDetail, StepError, StepErrorKind},
        workflow::{
            catalog_lookup::{Target, find_tool, may_offer},
            closest_match,
        },
    },
    engine::registry::{Known, may_follow},
};

/// Returns the tool with an exposed name. Waits while a server that may list it is connecting.
pub async fn tool(run: &Run, name: &str) -> Result<Target, StepError> {
    let registry = &run.runs.registry;
    let mut changes = registry.changes();
    loop {
        let known = registry.read();
        if let Some(found) = find_tool(&*known, name) {
            return Ok(found);
        }
        let may_follow = may_follow(&known, |server| may_offer(&*known, server.spec, name));
        if !may_follow || changes.changed().await.is_err() {
            return Err(unknown(&known, name));
        }
    }
}

fn unknown(known: &Known, name: &str) -> StepError {
    let mut error =
        StepError::new(StepErrorKind::Call { failure: FailureKind::UnknownTool }, format!("no server offers the tool {name:?}"));
    error.detail.extend(
        closest_match(name, known.names().iter().map(|(exposed, _)| &**exposed))
            .map(|candidate| format!("did you mean {candidate:?}?").into()),
    );
    let away = known.entries().filter(|s| !s.phase.usable()).map(|s| format!("{} is {}", s.id(), s.phase.word()));
    error.detail.extend(away.into_iter().map(StepDetail::Text));
    error
}
