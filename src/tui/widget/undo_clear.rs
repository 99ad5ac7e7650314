//! What a form and the JSON beside it share: starting again, and taking that and every other change back.

use super::{editor::JsonEditor, form::FormView};
use crate::domain::body::Body;

/// JSON that was cleared while it was edited, after the form's that took its place.
#[derive(Default)]
pub struct Cleared(Option<(String, String)>);

/// An editor for arguments of a schema that holds this text.
pub fn editor_of(schema: &Body, text: &str) -> JsonEditor {
    let mut editor = JsonEditor::new(Some(schema));
    editor.set_text(text);
    editor
}

impl Cleared {
    /// Starts again from the defaults. Whether there was anything.
    pub fn reset(&mut self, form: &mut FormView, editor: &mut Option<JsonEditor>) -> bool {
        let before = form.json();
        form.reset();
        self.0 = editor.take().map(|editor| (form.json(), editor.text()));
        self.0.is_some() || form.json() != before
    }

    /// Whether there is a change that can be taken back.
    pub fn can_undo(&self, form: Option<&FormView>, editor: Option<&JsonEditor>) -> bool {
        editor.is_some() || self.0.is_some() || form.is_some_and(FormView::can_undo)
    }

    /// Takes the last change of the form or the JSON back.
    pub fn undo(&mut self, form: &mut Option<FormView>, editor: &mut Option<JsonEditor>, schema: &Body) {
        match (&mut *editor, form) {
            (Some(editor), _) => drop(editor.undo()),
            (None, Some(form)) => {
                // JSON that was cleared is there again as long as nothing was entered since.
                let text = self.0.take().filter(|(json, _)| form.json() == *json).map(|(_, text)| text);
                form.undo();
                *editor = text.map(|text| editor_of(schema, &text));
            }
            (None, None) => {}
        }
    }
}
