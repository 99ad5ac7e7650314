//! Editing one field: multi-line editor, `$EDITOR`, completions of the server; answers from a file.

use crate::{
    domain::event::NoticeLevel,
    tui::{
        msg::Cmd,
        overlay::{inbox::Inbox, long_text::LongText},
    },
};

use super::Model;

impl Model {
    /// Opens the field under the cursor in the multi-line editor.
    pub(super) fn long_text(&mut self) {
        match self.console.call.field_text() {
            Some((path, name, text)) => self.dialogs.push(LongText::new(path, name, &text)),
            None => self.toast(NoticeLevel::Info, "This field has no text to edit."),
        }
    }

    /// Opens the field under the cursor in `$EDITOR`.
    pub(super) fn field_editor(&mut self) -> Vec<Cmd> {
        let Some((path, _, text)) = self.console.call.field_text() else {
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
                let before = self.console.call.text_at(&path).unwrap_or_default();
                // Editors add a line feed to the last line, whether the text had one or not.
                let text = match text.strip_suffix('\n') {
                    Some(cut) if !before.ends_with('\n') => cut,
                    _ => &text,
                };
                self.console.call.set_field(&path, text);
            }
            (Ok(text), None) => self.console.call.set_text(&text),
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
