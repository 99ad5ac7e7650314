//! Navigation between panes: next, into the selection, and back.

use crate::tui::{
    layout::Focus,
    msg::Cmd,
    overlay::describe::Describe,
    pane::detail::Detail,
    tabs::View,
    tree::{FilterEnd, Folding, Node},
    widget::window::Direction,
};

use super::Model;

impl Model {
    /// Moves the focus to the next or previous pane.
    pub(super) fn go_to_pane(&mut self, direction: Direction) {
        let order = self.middle().order();
        let at = order.iter().position(|f| *f == self.console.focus).unwrap_or(0);
        self.console.focus = order[direction.cycle(at, order.len())];
    }

    /// Goes from the form to its result, or from the result back to the form.
    pub(super) fn form_result(&mut self) {
        self.views.show(View::Console);
        self.end_detail();
        self.console.focus = if self.console.focus == Focus::Result { Focus::Call } else { Focus::Result };
    }

    /// Shows the next or previous tab of the result.
    pub(super) fn go_to_tab(&mut self, direction: Direction) {
        let read_model = self.session.read_model();
        match &mut self.console.detail {
            Some(detail) => detail.turn_tab(direction, read_model),
            None => self.console.result.turn_tab(direction, read_model),
        }
    }

    pub(super) fn open(&mut self) -> Vec<Cmd> {
        if matches!(self.console.focus, Focus::Result | Focus::Detail)
            && let Some(uri) = self.shown().link_at_cursor()
        {
            return self.follow_link(uri);
        }
        if matches!(self.console.focus, Focus::Result | Focus::Detail) && self.open_nested() {
            return vec![];
        }
        match self.console.focus {
            Focus::Servers => match self.console.tree.selected() {
                Some(Node::Server(_)) if self.console.tree.row().is_some_and(|row| row.open == Some(false)) => {
                    self.console.tree.fold(Folding::Unfold, self.session.read_model());
                }
                Some(Node::Group(_) | Node::Section(..)) => self.console.tree.fold(Folding::Toggle, self.session.read_model()),
                Some(node) if node.callable() => {
                    self.console.focus = Focus::Call;
                    // Opening a tool puts the cursor into its first field, whatever the form contained before.
                    self.console.call.begin();
                }
                Some(_) => self.console.focus = Focus::Info,
                None => {}
            },
            Focus::Traffic => {
                let Some(call) = self.console.traffic.selected(self.session.read_model()).map(|c| c.id) else { return vec![] };
                self.console.came_from = Focus::Traffic;
                let mut detail = Detail::like(&self.console.result);
                detail.show(Some(call), self.session.read_model());
                self.end_detail();
                self.console.detail = Some(detail);
                self.console.focus = Focus::Detail;
            }
            Focus::Result => {
                self.console.result.open();
            }
            Focus::Detail => {
                if let Some(detail) = &mut self.console.detail {
                    detail.open();
                }
            }
            Focus::Call | Focus::Info => {}
        }
        vec![]
    }

    /// Opens the JSON document in the string under the cursor of a result. Returns whether there is one.
    pub(super) fn open_nested(&mut self) -> bool {
        let Some((path, json)) = self.shown().nested() else { return false };
        self.dialogs.push(Describe::value(path, json));
        true
    }

    /// Selects a node and goes to its form.
    pub(in crate::tui) fn go_to(&mut self, node: &Node) {
        self.end_detail();
        self.views.show(View::Console);
        if self.console.tree.filter().is_some() {
            self.console.tree.end_filter(FilterEnd::Cancel, self.session.read_model());
        }
        self.console.tree.reveal(node, self.session.read_model());
        self.console.focus = Focus::Call;
    }

    /// Goes back one step: out of a frame, the detail, a pane, the zoom.
    pub(super) fn back(&mut self) {
        let inner = match self.console.focus {
            Focus::Result => self.console.result.back(),
            Focus::Detail => self.console.detail.as_mut().is_some_and(Detail::back),
            _ => false,
        };
        if inner {
            return;
        }
        match self.console.focus {
            Focus::Detail => {
                self.end_detail();
                self.console.focus = self.console.came_from;
            }
            _ if self.zoom => self.zoom = false,
            Focus::Result if self.layout.narrow => self.console.focus = Focus::Call,
            Focus::Call | Focus::Result | Focus::Info | Focus::Traffic => self.console.focus = Focus::Servers,
            Focus::Servers => {}
        }
    }
}
