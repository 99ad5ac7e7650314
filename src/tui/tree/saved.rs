//! The saved calls in the tree, each below its tool.

use std::sync::Arc;

use super::Node;
use crate::{
    domain::{
        id::ToolId,
        workflow::{catalog_lookup::find_tool, saved_call::SavedCall},
    },
    state::ConsoleState,
};

/// The saved calls, and the tool of each.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    pub(super) calls: Arc<[SavedCall]>,
    /// The tool of each call; `None` while no server offers it.
    tools: Vec<Option<ToolId>>,
}

impl Default for Saved {
    fn default() -> Saved {
        Saved { calls: Arc::new([]), tools: vec![] }
    }
}

impl Saved {
    /// Finds the tools in the lists of the servers.
    pub(super) fn resolve(&mut self, read_model: &ConsoleState) {
        self.tools = self.calls.iter().map(|call| Some(find_tool(read_model, &call.tool)?.tool)).collect();
    }

    /// Returns all saved calls whose tool is there: index and tool.
    pub(super) fn found(&self) -> impl Iterator<Item = (usize, &SavedCall, &ToolId)> {
        let all = self.calls.iter().zip(&self.tools).enumerate();
        all.filter_map(|(index, (call, tool))| Some((index, call, tool.as_ref()?)))
    }

    /// Returns the nodes of the saved calls of a tool, with the index of each.
    pub(super) fn nodes(&self, tool: &ToolId) -> impl Iterator<Item = (usize, Node)> {
        let node = |call: &SavedCall, tool: &ToolId| Node::Saved(tool.clone(), call.name.clone());
        self.found().filter(move |(_, _, own)| *own == tool).map(move |(index, call, own)| (index, node(call, own)))
    }
}
