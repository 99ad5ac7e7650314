//! Pasted text: inserted into the field under the cursor; it never sends or confirms anything.

use std::borrow::Cow;

use crate::{
    domain::{event::NoticeLevel, text::one_line, time::size},
    tui::{input::PASTE_LIMIT, layout::Focus, msg::Cmd, tabs::View},
};

use super::{Modal, Model, Purpose};

/// The longest paste into a prompt of one line, in bytes.
const LINE_LIMIT: usize = 16 << 10;

impl Model {
    /// Inserts pasted text where letters would go.
    pub(super) fn paste(&mut self, text: &str) -> Vec<Cmd> {
        let (typing, view) = (self.typing(), self.in_view());
        match self.modals.last_mut() {
            Some(Modal::Inbox(inbox)) => inbox.paste(text),
            Some(Modal::LongText(long)) => long.paste(text),
            None if view && self.views.current == View::Workflows => self.view_paste(text),
            None if !view && self.tree.filter().is_none() && self.focus == Focus::Call => self.call.paste(text),
            _ if typing => self.paste_line(text),
            _ => {}
        }
        vec![]
    }

    /// Inserts pasted text into a prompt of one line.
    fn paste_line(&mut self, text: &str) {
        if text.len() > LINE_LIMIT {
            return self.paste_too_long(text.len(), LINE_LIMIT);
        }
        let (line, dropped) = one_line(text);
        let (read_model, view) = (&self.mirror.read_model, self.views.current != View::Console);
        match self.modals.last_mut() {
            Some(Modal::Help(help)) => {
                help.search.push_str(&line);
                help.window = Default::default();
            }
            Some(Modal::Palette(palette)) => {
                palette.search.push_str(&line);
                palette.find(read_model);
            }
            Some(Modal::Welcome(welcome)) => {
                if let Some(text) = welcome.text() {
                    text.push_str(&line);
                }
            }
            Some(Modal::Entry(entry, purpose)) => {
                if entry.paste(&line) && *purpose == Purpose::Search {
                    let text = entry.text(0).to_owned();
                    self.shown_mut().search(&text);
                }
            }
            Some(_) => {}
            None if view => self.view_paste(&line),
            None => {
                if let Some(filter) = self.tree.filter() {
                    let filter = format!("{filter}{line}");
                    self.tree.set_filter(filter, read_model);
                }
            }
        }
        if dropped > 0 {
            let what: Cow<str> = if dropped == 1 { "1 control character".into() } else { format!("{dropped} control characters").into() };
            self.toast(NoticeLevel::Warn, format!("{what} removed from the pasted text."));
        }
    }

    /// Reports a paste that is too long for any field.
    pub(super) fn paste_refused(&mut self, bytes: usize) -> Vec<Cmd> {
        self.paste_too_long(bytes, PASTE_LIMIT);
        vec![]
    }

    fn paste_too_long(&mut self, bytes: usize, limit: usize) {
        let (bytes, limit) = (size(bytes as u64), size(limit as u64));
        let text = format!("Nothing was pasted: the text has {bytes}, the limit here is {limit}.");
        match self.modals.last_mut() {
            // Toasts are hidden until the dialog closes.
            Some(Modal::Entry(entry, _)) => entry.error = Some(text),
            _ => self.toast(NoticeLevel::Warn, text),
        }
    }
}
