//! Which actions are enabled where the user is.

use crate::tui::{action::Action, layout::Focus, tree::Node};

use super::Model;

impl Model {
    /// Returns whether an action would have an effect now, for the footer.
    pub fn is_enabled(&self, action: Action) -> bool {
        if let Some(enabled) = self.dialogs.top().and_then(|dialog| dialog.enabled(action, self.look())) {
            return enabled;
        }
        if let Some(sense) = self.policy_enabled(action) {
            return sense;
        }
        if let Some(sense) = self.view_enabled(action) {
            return sense;
        }
        let read_model = &self.mirror.read_model;
        match action {
            Action::Cancel => self.meant_call().and_then(|id| read_model.call(id)).is_some_and(|c| c.settled.is_none()),
            Action::SendAgain | Action::EditAgain => self.focus != Focus::Call && self.meant_call().is_some(),
            Action::Restart | Action::Disable | Action::Refresh => {
                matches!(self.tree.selected(), Some(Node::Server(_) | Node::Member(..) | Node::Section(..)))
            }
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel if matches!(self.focus, Focus::Result | Focus::Detail) => {
                self.shown().can_fold()
            }
            Action::FoldLevel | Action::UnfoldLevel | Action::NextCall | Action::PreviousCall | Action::CompleteFilter => false,
            Action::Fold => self.focus == Focus::Servers && self.tree.row().is_some_and(|row| row.open.is_some()),
            Action::ToggleJson | Action::Editor | Action::Reset => self.call.text().is_some(),
            Action::Undo => self.focus == Focus::Call && self.call.can_undo(),
            Action::LongText | Action::FieldEditor => self.call.field_text().is_some(),
            Action::Complete => self.call.suggestions().is_some(),
            Action::SendUnchecked => self.focus == Focus::Call && self.call.refused(),
            Action::Burst => self.burst_spec().is_some(),
            Action::Subscribe => self.meant_resource().is_some(),
            Action::Search | Action::JsonPath | Action::Save => self.shown().result().is_some(),
            Action::NextMatch | Action::PreviousMatch => !self.shown().needle().is_empty(),
            Action::OpenMedia => self.shown().has_media(),
            Action::Review => self.rejected.is_some(),
            Action::Follow => !self.traffic.following(),
            Action::Inbox => !read_model.asks.is_empty(),
            Action::NextTab | Action::PreviousTab => self.meant_call().is_some(),
            Action::NextQuestion | Action::OpenUrl | Action::CopyUrl | Action::AnswerFile => false,
            Action::Open => match self.focus {
                Focus::Result | Focus::Detail => self.detail.as_ref().unwrap_or(&self.result).can_open(),
                Focus::Traffic => !read_model.calls.is_empty(),
                _ => true,
            },
            Action::Back => self.focus != Focus::Servers || !self.dialogs.is_empty() || self.tree.filter().is_some(),
            Action::Redraw | Action::Suspend => false,
            _ => true,
        }
    }
}
