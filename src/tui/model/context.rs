//! The input context: which keymap contexts apply where the user is, and which call an action is about.

use crate::{
    domain::id::CallId,
    tui::{
        action::Action,
        keymap::{Context, Keymap},
    },
};

use super::Model;

impl Model {
    /// Returns whether letters go into a field.
    pub fn typing(&self) -> bool {
        let (view, state) = self.view();
        self.dialogs.top().map_or_else(|| view.typing(state), |dialog| dialog.typing())
    }

    /// Returns the contexts in which keys are looked up, nearest first.
    pub fn contexts(&self) -> &'static [Context] {
        let (view, state) = self.view();
        self.dialogs.top().map_or_else(|| view.contexts(state), |dialog| dialog.contexts())
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
        let (view, state) = self.view();
        view.call(state, self.look())
    }
}
