//! Editing one field: multi-line editor, `$EDITOR`, completions of the server; answers from a file.

use crate::{
    domain::event::NoticeLevel,
    tui::{
        msg::Cmd,
        overlay::{inbox::Inbox, long_text::LongText, value_picker::ValuePicker},
        view::ViewId,
        widget::arguments::Arguments,
    },
};

use super::Model;

impl Model {
    /// Opens the field under the cursor in the multi-line editor.
    pub(super) fn long_text(&mut self) {
        match self.console.call.arguments().field_text() {
            Some((path, name, text)) => self.dialogs.push(LongText::new(path, name, &text)),
            None => self.toast(NoticeLevel::Info, "This field has no text to edit."),
        }
    }

    /// Returns the arguments that are being edited.
    fn edited_arguments(&mut self) -> &mut Arguments {
        if self.views.current == ViewId::Workflows { self.views.flows.input.arguments_mut() } else { self.console.call.arguments_mut() }
    }

    /// Opens the values of earlier results, to insert one into the field under the cursor.
    pub(super) fn pick_value(&mut self) {
        let Some((_, name)) = self.edited_arguments().field() else {
            self.toast(NoticeLevel::Info, "Go to a field for a text or a number first.");
            return;
        };
        match ValuePicker::new(&name, self.session.read_model()) {
            Some(picker) => self.dialogs.push(picker),
            None => self.toast(NoticeLevel::Info, "No earlier result has values."),
        }
    }

    /// Inserts a value into the field under the cursor.
    pub(in crate::tui) fn insert_value(&mut self, text: &str) {
        let arguments = self.edited_arguments();
        if let Some((path, _)) = arguments.field() {
            arguments.set_field(&path, text);
        }
    }

    /// Opens the field under the cursor in `$EDITOR`.
    pub(super) fn field_editor(&mut self) -> Vec<Cmd> {
        let Some((path, _, text)) = self.console.call.arguments().field_text() else {
            self.toast(NoticeLevel::Info, "This field has no text to edit.");
            return vec![];
        };
        self.in_editor = Some(path);
        vec![Cmd::Edit(text)]
    }

    pub(super) fn edited(&mut self, edited: Result<String, String>) -> Vec<Cmd> {
        let field = self.in_editor.take();
        match (edited, field) {
            (Ok(text), Some(path)) => {
                let before = self.console.call.arguments().text_at(&path).unwrap_or_default();
                // Editors add a line feed to the last line, whether the text had one or not.
                let text = match text.strip_suffix('\n') {
                    Some(cut) if !before.ends_with('\n') => cut,
                    _ => &text,
                };
                self.console.call.arguments_mut().set_field(&path, text);
            }
            (Ok(text), None) => self.console.call.arguments_mut().set_text(&text),
            (Err(why), _) => self.toast(NoticeLevel::Warn, why),
        }
        vec![]
    }

    /// Copies the text of a file into the answer of the inbox.
    pub(super) fn answer_text(&mut self, read: Result<String, String>) {
        let taken = match (read, self.dialogs.top_as_mut::<Inbox>()) {
            (Ok(text), Some(inbox)) => inbox.set_answer(&text),
            (Ok(_), _) => Err("The question was closed; the file was not used.".into()),
            (Err(why), _) => Err(why),
        };
        if let Err(why) = taken {
            self.toast(NoticeLevel::Warn, why);
        }
    }
}
