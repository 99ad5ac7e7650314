//! The input context: which keymap contexts apply where the user is, and which call an action is about.

use crate::{
    domain::id::CallId,
    tui::{
        action::Action,
        keymap::{Context, Keymap},
        layout::Focus,
        tabs::Part,
    },
};

use super::Model;

impl Model {
    /// Returns whether letters go into a field.
    pub fn typing(&self) -> bool {
        match self.dialogs.top() {
            Some(dialog) => dialog.typing(),
            None if self.in_view() => self.view_typing(),
            None => self.console.tree.filter().is_some() || (self.console.focus == Focus::Call && self.console.call.wants_text()),
        }
    }

    /// Returns the contexts in which keys are looked up, nearest first.
    pub fn contexts(&self) -> &'static [Context] {
        match self.dialogs.top() {
            Some(dialog) => dialog.contexts(),
            None if self.in_view() => self.view_contexts(),
            None if self.console.tree.filter().is_some() => &[Context::Filter],
            None => match self.console.focus {
                Focus::Servers => &[Context::Servers, Context::List, Context::Global],
                Focus::Info => &[Context::Info, Context::List, Context::Global],
                Focus::Call if self.console.call.editing_json() => &[Context::Json],
                Focus::Call if self.console.call.wants_text() => &[Context::Text],
                Focus::Call => &[Context::Call, Context::Form, Context::Global],
                Focus::Result | Focus::Detail if self.table_focused() => &[Context::Grid, Context::Result, Context::List, Context::Global],
                Focus::Result | Focus::Detail => &[Context::Result, Context::Value, Context::List, Context::Global],
                Focus::Traffic => &[Context::Traffic, Context::List, Context::Global],
            },
        }
    }

    /// Returns whether the focus is in a result that is shown as a table.
    pub(super) fn table_focused(&self) -> bool {
        let focused = match self.in_view() {
            true => self.views.part == Part::Entry,
            false => matches!(self.console.focus, Focus::Result | Focus::Detail),
        };
        focused && self.shown().shows_table()
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
        match (self.console.focus, &self.console.detail) {
            (Focus::Traffic, _) => self.console.traffic.selected(self.session.read_model()).map(|c| c.id),
            (_, Some(detail)) => detail.call(),
            _ => self.console.result.call(),
        }
    }
}
