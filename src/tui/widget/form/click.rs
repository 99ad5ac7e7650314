//! Mouse clicks on a form.

use super::{FormEvent, FormView};
use crate::{domain::form::Kind, tui::theme::Theme};

impl FormView {
    /// Puts the cursor on the field at a row of the screen, as the form was drawn last, and starts typing. Toggles booleans,
    /// choices and folds. Returns whether there is a field.
    pub fn click(&mut self, y: u16) -> bool {
        let Some(inside) = y.checked_sub(self.place.y).filter(|inside| *inside < self.place.height) else { return false };
        let wanted = self.top + usize::from(inside);
        let (rows, theme, mut line) = (self.form.rows(), Theme::mono(), 0);
        for row in rows {
            let below = self.messages(&row, self.place, &theme).len();
            if wanted > line + below {
                line += 1 + below;
                continue;
            }
            (self.naming, self.picker) = (None, None);
            self.go(row.path);
            self.edit();
            let toggles = matches!(
                self.kind(),
                Some(Kind::Bool(_) | Kind::Choice { .. } | Kind::Union { .. } | Kind::Object { .. } | Kind::Array { .. })
            );
            if toggles && wanted == line {
                let _: FormEvent = self.toggle();
            }
            return true;
        }
        false
    }
}
