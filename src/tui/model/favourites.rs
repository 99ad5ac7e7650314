//! Favourites, and what was called recently: both come first in the search for tools.

use crate::{
    domain::event::NoticeLevel,
    tui::{
        WorkspaceRequest,
        msg::Cmd,
        pane::call::{recall_key, recalled_node},
        tree::Preferred,
    },
};

use super::Model;

/// How many recent rows come first.
const RECENT: usize = 10;

impl Model {
    /// Marks the selected tool, prompt or resource as a favourite, or unmarks it.
    pub(super) fn favourite(&mut self) -> Vec<Cmd> {
        let Some((node, (server, kind, name))) = self.console.tree.selected().and_then(|node| Some((node.clone(), recall_key(node)?)))
        else {
            self.toast(NoticeLevel::Info, "Select a tool, a prompt or a resource first.");
            return vec![];
        };
        let on = !self.console.tree.is_favourite(&node);
        let entry = self.console.call.recall.set_favourite(&server, kind, &name, on);
        self.prefer();
        Self::request(WorkspaceRequest::Remember(entry))
    }

    /// Passes favourites and recent rows to the tree.
    pub(super) fn prefer(&mut self) {
        let recall = &self.console.call.recall;
        let favourites = recall.latest().filter(|entry| entry.favourite == Some(true)).map(recalled_node).collect();
        let recent = recall.latest().filter(|entry| !entry.arguments.is_empty()).take(RECENT).map(recalled_node).collect();
        self.console.tree.prefer(Preferred { favourites, recent });
    }
}
