//! Which actions are enabled where the user is.

use crate::{
    domain::server::Phase,
    tui::{
        action::Action,
        layout::Focus,
        tree::Node,
        view::{View, ViewId},
    },
};

use super::Model;

impl Model {
    /// Returns the label of an action in the footer: what it would do in the current state.
    pub fn label(&self, action: Action) -> &'static str {
        if !self.dialogs.is_empty() {
            return action.label();
        }
        let (view, state) = self.view();
        if let Some(label) = view.label(action, state, self.look()) {
            return label;
        }
        let read_model = self.session.read_model();
        match action {
            Action::Disable
                if self.meant_server().and_then(|id| read_model.server(&id)).is_some_and(|s| matches!(*s.phase, Phase::Disabled)) =>
            {
                "start"
            }
            Action::Subscribe if self.subscribed() => "unsubscribe",
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
        if action == Action::Back && !self.dialogs.is_empty() {
            return true;
        }
        if let Some(enabled) = self.policy_enabled(action) {
            return enabled;
        }
        if matches!(action, Action::Mark | Action::SaveWorkflow) {
            let calls = !self.views.state.rows.marked.is_empty() || self.meant_call().is_some();
            let server = action == Action::Mark && self.server_to_mark().is_some();
            return server || calls && self.views.current != ViewId::Workflows;
        }
        let (view, state) = self.view();
        if let Some(enabled) = view.enabled(action, state, self.look()) {
            return enabled;
        }
        let read_model = self.session.read_model();
        match action {
            Action::Describe => self.can_describe(),
            Action::ToggleSource => self.shown().is_markdown(),
            Action::FormResult => !self.in_view() && self.console.tree.selected().is_some_and(Node::callable),
            Action::Cancel => self.meant_call().and_then(|id| read_model.call(id)).is_some_and(|c| c.settled.is_none()),
            Action::SendAgain | Action::EditAgain => self.console.focus != Focus::Call && self.meant_call().is_some(),
            Action::Burst | Action::Watch => self.burst_spec().is_some(),
            Action::Compare if self.in_servers() => self.compared_servers().is_some(),
            Action::SaveCall => self.saved_spec().is_some(),
            Action::Compare => self.compared().is_some(),
            Action::Login => self.wants_login().is_some(),
            Action::EditServer if self.saved_file().is_some() => true,
            Action::EditServer | Action::ServerMenu => self.server_file().is_some(),
            Action::Subscribe => self.meant_resource().is_some(),
            Action::Search | Action::JsonPath | Action::Save | Action::SaveNow => self.shown().result().is_some(),
            Action::NextMatch | Action::PreviousMatch => !self.shown().needle().is_empty(),
            Action::OpenMedia => self.shown().has_media(),
            Action::Review => self.rejected.is_some(),
            Action::Inputs => !self.config_inputs.is_empty(),
            Action::Inbox => !read_model.asks.is_empty(),
            Action::NextTab | Action::PreviousTab | Action::Frames => self.meant_call().is_some(),
            Action::NextQuestion | Action::OpenUrl | Action::CopyUrl | Action::AnswerFile => false,
            Action::Redraw | Action::Suspend => false,
            _ if self.in_view() => self.console.enabled(action, state, self.look()).unwrap_or(true),
            _ => true,
        }
    }
}
