//! Mouse clicks on a form.

use super::{FormEvent, FormView};
use crate::{domain::form::Kind, tui::hits::Hit};

impl FormView {
    /// Puts the cursor on the field that was clicked, and starts typing. A click on its row toggles booleans, choices,
    /// options of check lists and folds. Returns whether there is a field.
    pub fn click(&mut self, hit: &Hit) -> bool {
        let (Hit::Row(index) | Hit::Message(index)) = hit else { return false };
        let Some(row) = self.form.rows().into_iter().nth(*index) else { return false };
        (self.naming, self.picker) = (None, None);
        self.go(row.path);
        self.edit();
        let toggles = self.on_option()
            || matches!(
                self.kind(),
                Some(
                    Kind::Bool(_)
                        | Kind::Choice { .. }
                        | Kind::CheckList { .. }
                        | Kind::Union { .. }
                        | Kind::Object { .. }
                        | Kind::Array { .. }
                )
            );
        if toggles && matches!(hit, Hit::Row(_)) {
            let _: FormEvent = self.toggle();
        }
        true
    }
}
