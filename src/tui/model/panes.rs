//! Navigation between panes: next, into the selection, and back.

use crate::tui::{
    layout::Focus,
    msg::Cmd,
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
        let at = order.iter().position(|f| *f == self.focus).unwrap_or(0);
        self.focus = order[direction.cycle(at, order.len())];
    }

    /// Shows the next or previous tab of the result.
    pub(super) fn go_to_tab(&mut self, direction: Direction) {
        let read_model = &self.mirror.read_model;
        match &mut self.detail {
            Some(detail) => detail.turn_tab(direction, read_model),
            None => self.result.turn_tab(direction, read_model),
        }
    }

    pub(super) fn open(&mut self) -> Vec<Cmd> {
        if matches!(self.focus, Focus::Result | Focus::Detail)
            && let Some(uri) = self.shown().link_at_cursor()
        {
            return self.follow_link(uri);
        }
        match self.focus {
            Focus::Servers => match self.tree.selected() {
                Some(Node::Group(_) | Node::Section(..)) => self.tree.fold(Folding::Toggle, &self.mirror.read_model),
                Some(node) if node.callable() => {
                    self.focus = Focus::Call;
                    // Opening a tool puts the cursor into its first field, whatever the form contained before.
                    self.call.begin();
                }
                Some(_) => self.focus = Focus::Info,
                None => {}
            },
            Focus::Traffic => {
                let Some(call) = self.traffic.selected(&self.mirror.read_model).map(|c| c.id) else { return vec![] };
                self.came_from = Focus::Traffic;
                let mut detail = Detail::default();
                detail.show(Some(call), &self.mirror.read_model);
                self.end_detail();
                self.detail = Some(detail);
                self.focus = Focus::Detail;
            }
            Focus::Result => {
                self.result.open();
            }
            Focus::Detail => {
                if let Some(detail) = &mut self.detail {
                    detail.open();
                }
            }
            Focus::Call | Focus::Info => {}
        }
        vec![]
    }

    /// Selects a node and goes to its form.
    pub(in crate::tui) fn go_to(&mut self, node: &Node) {
        self.end_detail();
        self.views.show(View::Console);
        if self.tree.filter().is_some() {
            self.tree.end_filter(FilterEnd::Cancel, &self.mirror.read_model);
        }
        self.tree.reveal(node, &self.mirror.read_model);
        self.focus = Focus::Call;
    }

    /// Goes back one step: out of a frame, the detail, a pane, the zoom.
    pub(super) fn back(&mut self) {
        let inner = match self.focus {
            Focus::Result => self.result.back(),
            Focus::Detail => self.detail.as_mut().is_some_and(Detail::back),
            _ => false,
        };
        if inner {
            return;
        }
        match self.focus {
            Focus::Detail => {
                self.end_detail();
                self.focus = self.came_from;
            }
            _ if self.zoom => self.zoom = false,
            Focus::Result if self.layout.narrow => self.focus = Focus::Call,
            Focus::Call | Focus::Result | Focus::Info | Focus::Traffic => self.focus = Focus::Servers,
            Focus::Servers => {}
        }
    }
}
