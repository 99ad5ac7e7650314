//! Holds back calls of tools whose definitions changed since the user accepted them.

use std::sync::Arc;

use super::{Dispatch, route::called_tool};
use crate::{
    domain::{
        call::{Failure, FailureKind, Operation},
        catalog::ServerCatalog,
        id::ServerId,
        pins::PinMode,
        stored_catalog::launch_fingerprint,
    },
    engine::supervisor::ServerHandle,
};

impl Dispatch {
    /// Fails if the tool is held. The user may have accepted its definition in another process since the server was listed, so the pins
    /// are read again.
    pub(super) async fn check_pin(&self, operation: &Operation, server: &ServerHandle) -> Result<(), Failure> {
        let id = &server.spec.id;
        let Some(tool) = called_tool(operation).filter(|_| server.spec.pins == PinMode::Hold) else { return Ok(()) };
        let registry = &self.shared.registry;
        let catalog = registry.read().server_catalog(id).filter(|catalog| catalog.pin_changes.contains(&tool));
        let Some(catalog) = catalog else { return Ok(()) };
        let pins = server.catalogs.pins(id, &launch_fingerprint(&server.spec.launch)).await;
        let changed = pins.changed(&catalog, server.spec.pins, &self.shared.bus.secrets().redactor());
        if changed.contains(&tool) {
            return Err(held(id, &tool));
        }
        registry.set_catalog(id, Arc::new(ServerCatalog { pin_changes: changed, ..ServerCatalog::clone(&catalog) }));
        Ok(())
    }
}

/// Returns the failure of a call to a tool that is held.
fn held(server: &ServerId, tool: &str) -> Failure {
    let message = format!("the definition of {tool:?} at {server} changed since it was accepted, so it is held");
    let hint = format!("switchboard drift shows the change; switchboard pins accept {server} {tool} accepts it");
    Failure::new(FailureKind::Refused, message).hint(hint)
}
