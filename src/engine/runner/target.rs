//! The targets of steps: looks up exposed names among the tools that the servers list now.

use super::Run;
use crate::{
    domain::{
        call::FailureKind,
        event::EventKind,
        read_model::ConsoleState,
        run::{StepDetail, StepError, StepErrorKind},
        workflow::{
            catalog_lookup::{Target, find_tool, may_offer},
            closest_match,
        },
    },
    engine::control::Lagged,
};

/// Returns the tool with an exposed name. Waits while a server that may list it is connecting.
pub async fn tool(run: &Run, name: &str) -> Result<Target, StepError> {
    if let Some(found) = run.bus().read_state(|read_model| find_tool(read_model, name)) {
        return Ok(found);
    }
    let mut tail = run.bus().tail();
    loop {
        let (found, pending) = run.bus().read_state(|read_model| {
            (find_tool(read_model, name), read_model.servers.iter().any(|s| s.phase.pending() && may_offer(read_model, s, name)))
        });
        match found {
            Some(found) => return Ok(found),
            None if !pending => return Err(run.bus().read_state(|read_model| unknown(read_model, name))),
            None => {}
        }
        loop {
            match tail.next().await {
                Ok(Some(event)) if concerns(&event.kind) => break,
                Ok(Some(_)) => {}
                Ok(None) => return Err(run.bus().read_state(|read_model| unknown(read_model, name))),
                Err(Lagged { .. }) => break,
            }
        }
    }
}

fn concerns(event: &EventKind) -> bool {
    use EventKind::{ServerAdded, ServerListed, ServerPhase, ServerRemoved};
    matches!(event, ServerAdded { .. } | ServerListed { .. } | ServerPhase { .. } | ServerRemoved { .. })
}

fn unknown(read_model: &ConsoleState, name: &str) -> StepError {
    let mut error =
        StepError::new(StepErrorKind::Call { failure: FailureKind::UnknownTool }, format!("no server offers the tool {name:?}"));
    error.detail.extend(
        closest_match(name, read_model.names.iter().map(|(exposed, _)| &**exposed))
            .map(|candidate| format!("did you mean {candidate:?}?").into()),
    );
    let away = read_model.servers.iter().filter(|s| !s.phase.usable()).map(|s| format!("{} is {}", s.id(), s.phase.word()));
    error.detail.extend(away.into_iter().map(StepDetail::Text));
    error
}
