//! Compares two calls: the marked ones, or the selected one with the call of the same target before it. In the list of servers,
//! compares two servers: the marked ones, or the marked one with the selected one.

use crate::{
    domain::{
        event::NoticeLevel,
        id::{CallId, ServerId},
    },
    tui::{action::Action, keymap::Context, layout::Focus, overlay::compare, tree::Node},
};

use super::Model;

impl Model {
    /// Opens the comparison.
    pub(super) fn compare(&mut self) {
        if self.in_servers() {
            return self.compare_servers();
        }
        let read_model = self.session.read_model();
        let Some((earlier, later)) = self.compared() else {
            let key = self.session.keymap.key(&[Context::Global], Action::Mark).unwrap_or_default();
            let text = format!("Nothing to compare: mark two calls with {key}, or select a call that was sent before.");
            self.toast(NoticeLevel::Info, text);
            return;
        };
        if let (Some(earlier), Some(later)) = (read_model.call(earlier), read_model.call(later)) {
            let comparison = compare::calls(earlier, later, read_model);
            self.dialogs.push(comparison);
        }
    }

    /// Returns whether the focus is in the list of servers.
    pub(super) fn in_servers(&self) -> bool {
        !self.in_view() && self.console.focus == Focus::Servers
    }

    /// Returns the selected server, if the focus is in the list of servers.
    pub(super) fn server_to_mark(&self) -> Option<ServerId> {
        match self.console.tree.selected() {
            Some(Node::Server(id) | Node::Member(_, id)) if self.in_servers() => Some(id.clone()),
            _ => None,
        }
    }

    /// Marks a server for a comparison, or unmarks it.
    pub(super) fn mark_server(&mut self, server: ServerId) {
        self.console.tree.mark(server);
        let key = self.session.keymap.key(&[Context::Servers], Action::Compare).unwrap_or_default();
        match self.console.tree.marked() {
            [] => {}
            [one] => {
                let text = format!("{one} marked; {key} on another server compares both.");
                self.toast(NoticeLevel::Info, text);
            }
            [one, other, ..] => {
                let text = format!("{one} and {other} marked; {key} compares them.");
                self.toast(NoticeLevel::Info, text);
            }
        }
    }

    /// Opens the comparison of two servers.
    fn compare_servers(&mut self) {
        let read_model = self.session.read_model();
        let servers = self.compared_servers().and_then(|(one, other)| Some((read_model.server(&one)?, read_model.server(&other)?)));
        let Some((one, other)) = servers else {
            let key = self.session.keymap.key(&[Context::Global], Action::Mark).unwrap_or_default();
            return self.toast(NoticeLevel::Info, format!("Nothing to compare: mark two servers with {key}."));
        };
        let comparison = compare::servers(one, other);
        self.dialogs.push(comparison);
    }

    /// Returns the servers that are compared, in the order in which they were marked.
    pub(super) fn compared_servers(&self) -> Option<(ServerId, ServerId)> {
        let read_model = self.session.read_model();
        let marked: Vec<&ServerId> = self.console.tree.marked().iter().filter(|id| read_model.server(id).is_some()).collect();
        match (&marked[..], self.server_to_mark()) {
            ([one, other], _) => Some(((*one).clone(), (*other).clone())),
            ([one], Some(selected)) if **one != selected => Some(((*one).clone(), selected)),
            _ => None,
        }
    }

    /// Returns the calls that are compared, the earlier one first.
    pub(super) fn compared(&self) -> Option<(CallId, CallId)> {
        let read_model = self.session.read_model();
        let known = |id: &CallId| read_model.call(*id).is_some();
        let marked: Vec<CallId> = self.views.state.rows.marked.iter().copied().filter(known).collect();
        if let [earlier, later] = marked[..] {
            return Some((earlier, later));
        }
        let meant = self.meant_call().filter(known)?;
        if let [one] = marked[..]
            && one != meant
        {
            return Some((one.min(meant), one.max(meant)));
        }
        let operation = &read_model.call(meant)?.spec.operation;
        let same = |call: &&crate::state::CallView| {
            let other = &call.spec.operation;
            call.id < meant
                && other.method() == operation.method()
                && other.server() == operation.server()
                && other.subject() == operation.subject()
        };
        let before = read_model.calls.iter().rev().find(same)?;
        Some((before.id, meant))
    }
}
