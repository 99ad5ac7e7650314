//! The undo history of a form.

use super::{FormEvent, FormView};
use crate::domain::form::{Form, Node, Path};

/// The most undo steps.
const MOST: usize = 64;

/// The form before a change, with the cursor.
pub(super) struct UndoStep {
    root: Node,
    at: Path,
}

impl FormView {
    fn push_undo(&mut self, root: Node) {
        if self.undo_steps.len() == MOST {
            self.undo_steps.remove(0);
        }
        self.undo_steps.push(UndoStep { root, at: self.at.clone() });
    }

    /// Changes the form and adds an undo step if the arguments changed.
    pub(super) fn change<T>(&mut self, change: impl FnOnce(&mut Form, &Path) -> T) -> T {
        let (root, before) = (self.form.root().clone(), self.form.json());
        let at = self.at.clone();
        let done = change(&mut self.form, &at);
        if self.form.json() != before {
            self.push_undo(root);
        }
        self.entered = false;
        done
    }

    /// Sets the text of the current field. All letters typed into a field in one visit form one undo step.
    pub(super) fn change_text(&mut self, text: &str) {
        if !self.entered {
            self.push_undo(self.form.root().clone());
            self.entered = true;
        }
        self.form.set_text(&self.at, text);
    }

    /// Returns whether there is a change to undo.
    pub fn can_undo(&self) -> bool {
        !self.undo_steps.is_empty()
    }

    /// Undoes the last change.
    pub fn undo(&mut self) -> FormEvent {
        let Some(UndoStep { root, at }) = self.undo_steps.pop() else { return FormEvent::None };
        self.form.restore(root);
        (self.naming, self.picker, self.entered) = (None, None, false);
        let rows = self.form.rows();
        let row = rows.iter().find(|row| row.path == at).or(rows.first());
        self.go(row.map(|row| row.path.clone()).unwrap_or_default());
        FormEvent::Changed
    }

    /// Clears the undo history.
    pub fn clear_undo(&mut self) {
        self.undo_steps.clear();
    }
}
