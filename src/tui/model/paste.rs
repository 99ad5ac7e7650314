//! Pasted text: inserted into the field under the cursor; it never sends or confirms anything.

use crate::{
    domain::{event::NoticeLevel, plural::counted, text::one_line, time::size},
    tui::{input::PASTE_LIMIT, msg::Cmd, view::ViewInput},
};

use super::Model;

/// The longest paste into a prompt of one line, in bytes.
const LINE_LIMIT: usize = 16 << 10;

impl Model {
    /// Inserts pasted text where letters would go.
    pub(super) fn paste(&mut self, text: &str) -> Vec<Cmd> {
        let typing = self.typing();
        let (view, state) = self.view();
        match self.dialogs.top() {
            Some(dialog) if dialog.takes_lines() => return self.in_dialog(|dialog, ctx| dialog.paste(text, ctx)),
            None if view.takes_lines(state) => return self.pass_to_view(ViewInput::Paste(text)).unwrap_or_default(),
            _ if typing => return self.paste_line(text),
            _ => {}
        }
        vec![]
    }

    /// Inserts pasted text into a prompt of one line.
    fn paste_line(&mut self, text: &str) -> Vec<Cmd> {
        if text.len() > LINE_LIMIT {
            self.paste_too_long(text.len(), LINE_LIMIT);
            return vec![];
        }
        let (line, dropped) = one_line(text);
        let commands = match self.dialogs.is_empty() {
            true => self.pass_to_view(ViewInput::Paste(&line)).unwrap_or_default(),
            false => self.in_dialog(|dialog, ctx| dialog.paste(&line, ctx)),
        };
        if dropped > 0 {
            let what = counted(dropped, "control character");
            self.toast(NoticeLevel::Warn, format!("{what} removed from the pasted text."));
        }
        commands
    }

    /// Reports a paste that is too long for any field.
    pub(super) fn paste_refused(&mut self, bytes: usize) -> Vec<Cmd> {
        self.paste_too_long(bytes, PASTE_LIMIT);
        vec![]
    }

    fn paste_too_long(&mut self, bytes: usize, limit: usize) {
        let (bytes, limit) = (size(bytes as u64), size(limit as u64));
        let text = format!("Nothing was pasted: the text has {bytes}, the limit here is {limit}.");
        // Toasts are hidden until the dialog closes.
        if !self.dialogs.top_mut().is_some_and(|dialog| dialog.refuse(&text)) {
            self.toast(NoticeLevel::Warn, text);
        }
    }
}
