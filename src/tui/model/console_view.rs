//! The console view: servers, the call, its result, the list of calls. Owned by the model.

use crate::tui::{
    layout::Focus,
    pane::{call::CallPane, detail::Detail, info::InfoPane, traffic::TrafficPane},
    tree::Tree,
};

/// The panes of the console view.
pub struct ConsoleView {
    /// The pane with the focus.
    pub focus: Focus,
    /// The tree.
    pub tree: Tree,
    /// The call.
    pub call: CallPane,
    /// Its result.
    pub result: Detail,
    /// The open call of the traffic list.
    pub detail: Option<Detail>,
    /// The server pane's scroll.
    pub info: InfoPane,
    /// The list of calls.
    pub traffic: TrafficPane,
    /// The pane from which the detail was opened.
    pub(super) came_from: Focus,
}

impl Default for ConsoleView {
    fn default() -> Self {
        ConsoleView {
            focus: Focus::Servers,
            tree: Tree::default(),
            call: CallPane::default(),
            result: Detail::default(),
            detail: None,
            info: InfoPane::default(),
            traffic: TrafficPane::default(),
            came_from: Focus::Traffic,
        }
    }
}
