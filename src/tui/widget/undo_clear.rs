//! Clear and undo of a form together with its JSON editor.

use super::{editor::JsonEditor, form::FormView};
use crate::domain::body::Body;

/// JSON text that was cleared in the editor, with the form's JSON at that time.
#[derive(Default)]
pub struct Cleared(Option<(String, String)>);

/// Creates an editor with this text for arguments of a schema.
pub fn editor_of(schema: &Body, text: &str) -> JsonEditor {
    let mut editor = JsonEditor::new(Some(schema));
    editor.set_text(text);
    editor
}

impl Cleared {
    /// Resets the form to the defaults and closes the editor. Returns whether anything changed.
    pub fn reset(&mut self, form: &mut FormView, editor: &mut Option<JsonEditor>) -> bool {
        let before = form.json();
        form.reset();
        self.0 = editor.take().map(|editor| (form.json(), editor.text()));
        self.0.is_some() || form.json() != before
    }

    /// Returns whether there is a change to undo.
    pub fn can_undo(&self, form: Option<&FormView>, editor: Option<&JsonEditor>) -> bool {
        editor.is_some() || self.0.is_some() || form.is_some_and(FormView::can_undo)
    }

    /// Undoes the last change of the form or the JSON.
    pub fn undo(&mut self, form: &mut Option<FormView>, editor: &mut Option<JsonEditor>, schema: &Body) {
        match (&mut *editor, form) {
            (Some(editor), _) => drop(editor.undo()),
            (None, Some(form)) => {
                // Cleared JSON is restored unless the form was changed since.
                let text = self.0.take().filter(|(json, _)| form.json() == *json).map(|(_, text)| text);
                form.undo();
                *editor = text.map(|text| editor_of(schema, &text));
            }
            (None, None) => {}
        }
    }
}
