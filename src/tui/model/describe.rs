//! Describes what is under the cursor.

use crate::{
    domain::{event::NoticeLevel, id::ToolId},
    tui::{
        layout::Focus,
        overlay::describe::Describe,
        pane::health::Subject,
        tree::Node,
        view::{Part, ViewId},
    },
};

use super::{Model, calls::node_of};

impl Model {
    /// Opens the description of what is under the cursor: a row of the tree, a call's tool, a server, a workflow.
    pub(super) fn describe(&mut self) {
        let read_model = self.session.read_model();
        let found = match self.views.current {
            ViewId::Workflows => self.views.flows.flow(read_model).map(Describe::workflow),
            _ => self.described_node().and_then(|node| Describe::node(&node, read_model, self.session.time())),
        };
        match found {
            Some(description) => self.dialogs.push(description),
            None => self.toast(NoticeLevel::Info, "Nothing to describe here: select a tool, a server or a call."),
        }
    }

    /// Returns whether there is something to describe.
    pub(super) fn can_describe(&self) -> bool {
        match self.views.current {
            ViewId::Workflows => self.views.state.part != Part::Input && self.views.flows.flow(self.session.read_model()).is_some(),
            _ => self.described_node().is_some_and(|node| !matches!(node, Node::Group(_) | Node::Replicas(_))),
        }
    }

    fn described_node(&self) -> Option<Node> {
        let read_model = self.session.read_model();
        let of_call = || {
            let call = read_model.call(self.meant_call()?)?;
            let node = node_of(&call.spec.operation);
            // A resource may have been read through a template.
            node.or_else(|| Some(Node::Server(call.spec.operation.server().clone())))
        };
        match self.views.current {
            ViewId::Console => match self.console.focus {
                Focus::Traffic | Focus::Detail => of_call(),
                _ => self.console.tree.selected().cloned(),
            },
            ViewId::Health => self.views.health.subject().map(|Subject { server, tool }| match tool {
                Some(tool) => Node::Tool(ToolId::new(server, tool)),
                None => Node::Server(server),
            }),
            _ => of_call(),
        }
    }
}
