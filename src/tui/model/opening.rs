//! The call that the demo opens with: a tool that has a result shows more than an empty pane.

use crate::{
    domain::call::{CallSpec, Operation, Origin},
    tui::{input::Input, msg::Cmd},
};

use super::{Model, calls::node_of};

impl Model {
    /// Selects the target of the opening call and sends it as soon as its server lists it.
    pub(super) fn open_with(&mut self) -> Vec<Cmd> {
        let listed = |operation: &mut Operation| {
            let server = self.session.read_model().server(operation.server());
            server.is_some_and(|server| server.phase.usable() && server.catalog.tool(operation.subject()).is_some())
        };
        let Some(operation) = self.opening.take_if(listed) else { return vec![] };
        let target = node_of(&operation);
        if let Some(node) = &target {
            self.console.tree.reveal(node, self.session.read_model());
        }
        self.submit(CallSpec::new(operation, Origin::Demo), target)
    }

    /// Drops the opening call when the user did something before it: nothing moves under their hands.
    pub(super) fn note_opening(&mut self, input: &Input) {
        if matches!(input, Input::Key(_) | Input::Paste(_) | Input::Mouse(_)) {
            self.opening = None;
        }
    }
}
