//! What a form was before its last changes, so that they can be taken back.

use super::{FormEvent, FormView};
use crate::domain::form::{Form, Node, Path};

/// Most changes that can be taken back.
const MOST: usize = 64;

/// A form before a change, and where the cursor was.
pub(super) struct Before {
    root: Node,
    at: Path,
}

impl FormView {
    fn note(&mut self, root: Node) {
        if self.past.len() == MOST {
            self.past.remove(0);
        }
        self.past.push(Before { root, at: self.at.clone() });
    }

    /// Changes the form so that it can be taken back; what changes no argument is not noted.
    pub(super) fn changing<T>(&mut self, change: impl FnOnce(&mut Form, &Path) -> T) -> T {
        let (root, before) = (self.form.root().clone(), self.form.json());
        let at = self.at.clone();
        let done = change(&mut self.form, &at);
        if self.form.json() != before {
            self.note(root);
        }
        self.entered = false;
        done
    }

    /// The same for letters: all that are typed into a field in one go are one change.
    pub(super) fn typing_in(&mut self, text: &str) {
        if !self.entered {
            self.note(self.form.root().clone());
            self.entered = true;
        }
        self.form.set_text(&self.at, text);
    }

    /// Whether there is a change to be taken back.
    pub fn can_undo(&self) -> bool {
        !self.past.is_empty()
    }

    /// Takes the last change back.
    pub fn undo(&mut self) -> FormEvent {
        let Some(Before { root, at }) = self.past.pop() else { return FormEvent::None };
        self.form.restore(root);
        (self.naming, self.picker, self.entered) = (None, None, false);
        let rows = self.form.rows();
        let row = rows.iter().find(|row| row.path == at).or(rows.first());
        self.go(row.map(|row| row.path.clone()).unwrap_or_default());
        FormEvent::Changed
    }

    /// What is in the form now is what it begins with: nothing before it can be brought back.
    pub fn forget_past(&mut self) {
        self.past.clear();
    }
}
