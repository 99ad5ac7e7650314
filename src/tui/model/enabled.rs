//! Which actions are enabled where the user is.

use crate::{
    domain::server::Phase,
    tui::{action::Action, layout::Focus, tree::Node},
};

use super::Model;

impl Model {
    /// Returns the label of an action in the footer: what it would do in the current state.
    pub fn label(&self, action: Action) -> &'static str {
        if !self.dialogs.is_empty() {
            return action.label();
        }
        let read_model = self.session.read_model();
        match action {
            Action::Disable
                if self.meant_server().and_then(|id| read_model.server(&id)).is_some_and(|s| matches!(*s.phase, Phase::Disabled)) =>
            {
                "start"
            }
            Action::Subscribe if self.subscribed() => "unsubscribe",
            Action::Fold if !self.in_view() && self.console.focus == Focus::Servers => {
                match self.console.tree.row().and_then(|row| row.open) {
                    Some(false) => "unfold",
                    _ => action.label(),
                }
            }
            Action::ToggleJson if !self.in_view() && self.console.call.editing_json() => "as form",
            Action::ToggleJson if self.in_view() && self.views.flows.input.editing_json() => "as form",
            Action::Send => match self.console.call.target() {
                Some(Node::Resource(..) | Node::Template(..)) => "read",
                Some(Node::Prompt(..)) => "get",
                _ => action.label(),
            },
            Action::Zoom if self.zoom => "restore",
            Action::FormResult if self.console.focus == Focus::Result => "form",
            Action::ToggleSource if self.shown().shows_source() => "rendered",
            Action::Favourite if self.console.tree.selected().is_some_and(|node| self.console.tree.is_favourite(node)) => "not favourite",
            _ => action.label(),
        }
    }

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
        let read_model = self.session.read_model();
        match action {
            Action::Describe => self.can_describe(),
            Action::Favourite => self.console.tree.selected().is_some_and(Node::callable),
            Action::ToggleSource => self.shown().is_markdown(),
            Action::FormResult => !self.in_view() && self.console.tree.selected().is_some_and(Node::callable),
            Action::Cancel => self.meant_call().and_then(|id| read_model.call(id)).is_some_and(|c| c.settled.is_none()),
            Action::SendAgain | Action::EditAgain => self.console.focus != Focus::Call && self.meant_call().is_some(),
            Action::Restart | Action::Disable | Action::Refresh => {
                matches!(self.console.tree.selected(), Some(Node::Server(_) | Node::Member(..) | Node::Section(..)))
            }
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel if matches!(self.console.focus, Focus::Result | Focus::Detail) => {
                self.shown().can_fold()
            }
            Action::FoldLevel | Action::UnfoldLevel | Action::NextCall | Action::PreviousCall | Action::CompleteFilter => false,
            Action::Fold => self.console.focus == Focus::Servers && self.console.tree.row().is_some_and(|row| row.open.is_some()),
            Action::ToggleJson | Action::Editor | Action::Reset => self.console.call.text().is_some(),
            Action::Undo => self.console.focus == Focus::Call && self.console.call.can_undo(),
            Action::LongText | Action::FieldEditor => self.console.call.field_text().is_some(),
            Action::Complete => self.console.call.suggestions().is_some(),
            Action::SendUnchecked => self.console.focus == Focus::Call && self.console.call.refused(),
            Action::Burst => self.burst_spec().is_some(),
            Action::Subscribe => self.meant_resource().is_some(),
            Action::Search | Action::JsonPath | Action::Save => self.shown().result().is_some(),
            Action::NextMatch | Action::PreviousMatch => !self.shown().needle().is_empty(),
            Action::OpenMedia => self.shown().has_media(),
            Action::Review => self.rejected.is_some(),
            Action::Inputs => !self.config_inputs.is_empty(),
            Action::Follow => !self.console.traffic.following(),
            Action::Inbox => !read_model.asks.is_empty(),
            Action::NextTab | Action::PreviousTab => self.meant_call().is_some(),
            Action::NextQuestion | Action::OpenUrl | Action::CopyUrl | Action::AnswerFile => false,
            Action::Open => match self.console.focus {
                Focus::Result | Focus::Detail => self.console.detail.as_ref().unwrap_or(&self.console.result).can_open(),
                Focus::Traffic => !read_model.calls.is_empty(),
                Focus::Servers => self.console.tree.selected().is_some(),
                _ => true,
            },
            Action::Back => self.console.focus != Focus::Servers || !self.dialogs.is_empty() || self.console.tree.filter().is_some(),
            Action::Redraw | Action::Suspend => false,
            _ => true,
        }
    }
}
