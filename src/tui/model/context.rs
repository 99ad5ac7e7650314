//! The input context: which keymap contexts apply where the user is, and which call an action is about.

use crate::{
    domain::id::CallId,
    tui::{
        action::Action,
        keymap::{Context, Keymap},
        layout::Focus,
    },
};

use super::Model;

impl Model {
    /// Returns whether letters go into a field.
    pub fn typing(&self) -> bool {
        match self.dialogs.top() {
            Some(dialog) => dialog.typing(),
            None if self.in_view() => self.view_typing(),
            None => self.tree.filter().is_some() || (self.focus == Focus::Call && self.call.wants_text()),
        }
    }

    /// Returns the contexts in which keys are looked up, nearest first.
    pub fn contexts(&self) -> &'static [Context] {
        match self.dialogs.top() {
            Some(dialog) => dialog.contexts(),
            None if self.in_view() => self.view_contexts(),
            None if self.tree.filter().is_some() => &[Context::Filter],
            None => match self.focus {
                Focus::Servers => &[Context::Servers, Context::List, Context::Global],
                Focus::Info => &[Context::Info, Context::List, Context::Global],
                Focus::Call if self.call.editing_json() => &[Context::Json],
                Focus::Call if self.call.wants_text() => &[Context::Text],
                Focus::Call => &[Context::Call, Context::Form, Context::Global],
                Focus::Result | Focus::Detail => &[Context::Result, Context::Value, Context::List, Context::Global],
                Focus::Traffic => &[Context::Traffic, Context::List, Context::Global],
            },
        }
    }

    /// Returns the actions enabled here that the palette does not always list, whatever their keys are.
    pub(super) fn acting_here(&self) -> Vec<Action> {
        let built_in = Keymap::built_in();
        let bound = |action| self.contexts().iter().any(|context| !built_in.keys_of(*context, action).is_empty());
        let here = |action: &Action| !action.in_palette() && bound(*action) && self.is_enabled(*action);
        Action::ALL.iter().copied().filter(here).collect()
    }

    /// Returns the call that an action is about: the one under the cursor of the focused pane.
    pub(super) fn meant_call(&self) -> Option<CallId> {
        if self.in_view() {
            return self.view_call();
        }
        match (self.focus, &self.detail) {
            (Focus::Traffic, _) => self.traffic.selected(&self.mirror.read_model).map(|c| c.id),
            (_, Some(detail)) => detail.call(),
            _ => self.result.call(),
        }
    }
}
