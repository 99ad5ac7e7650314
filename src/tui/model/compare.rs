//! Compares two calls: the marked ones, or the selected one with the call of the same target before it.

use crate::{
    domain::{event::NoticeLevel, id::CallId},
    tui::{keymap::Context, overlay::compare},
};

use super::Model;

impl Model {
    /// Opens the comparison.
    pub(super) fn compare(&mut self) {
        let read_model = self.session.read_model();
        let Some((earlier, later)) = self.compared() else {
            let key = self.session.keymap.key(&[Context::Global], crate::tui::action::Action::Mark).unwrap_or_default();
            let text = format!("Nothing to compare: mark two calls with {key}, or select a call that was sent before.");
            self.toast(NoticeLevel::Info, text);
            return;
        };
        if let (Some(earlier), Some(later)) = (read_model.call(earlier), read_model.call(later)) {
            let comparison = compare::calls(earlier, later, read_model);
            self.dialogs.push(comparison);
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
