//! A line or two that Switchboard asks for: what to search for, a path, how many calls.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::tui::{
    keymap::{Context, Keymap},
    theme::Theme,
    widget::{
        field::TextField,
        paint::{Pen, dialog, width, wrap},
    },
};

use super::key_row;

/// The dialog.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// What it is about.
    pub title: String,
    /// What to know before typing.
    pub note: String,
    /// What is wrong with what was typed.
    pub error: Option<String>,
    fields: Vec<(String, TextField)>,
    at: usize,
}

impl Entry {
    /// A dialog with fields: their labels and what stands in them at first.
    pub fn new(title: impl Into<String>, note: impl Into<String>, fields: &[(&str, &str)]) -> Entry {
        let fields = fields.iter().map(|(label, text)| ((*label).to_owned(), TextField::new(*text))).collect();
        Entry { title: title.into(), note: note.into(), fields, ..Entry::default() }
    }

    /// What stands in a field.
    pub fn text(&self, field: usize) -> &str {
        self.fields.get(field).map_or("", |(_, field)| field.text())
    }

    /// Takes a key; whether a text changed.
    pub fn key(&mut self, key: KeyEvent) -> bool {
        let count = self.fields.len().max(1);
        match key.code {
            KeyCode::Tab | KeyCode::Down => self.at = (self.at + 1) % count,
            KeyCode::BackTab | KeyCode::Up => self.at = (self.at + count - 1) % count,
            _ => {
                let Some((_, field)) = self.fields.get_mut(self.at) else { return false };
                let before = field.text().to_owned();
                let _ = field.handle(key);
                let changed = field.text() != before;
                if changed {
                    self.error = None;
                }
                return changed;
            }
        }
        false
    }

    /// Inserts pasted text without line ends.
    pub fn paste(&mut self, text: &str) {
        let line: String = text.chars().filter(|c| !c.is_control()).collect();
        if let Some((_, field)) = self.fields.get_mut(self.at) {
            let _ = field.paste(&line);
        }
    }

    /// Draws the dialog.
    pub fn draw(&mut self, keys: &Keymap, theme: &Theme, area: Rect, buf: &mut Buffer) {
        let wide = 72.min(area.width);
        let note = wrap(&self.note, wide.saturating_sub(4));
        let note = if self.note.is_empty() { vec![] } else { note };
        let error: Vec<String> = self.error.iter().flat_map(|e| wrap(&format!("✕ {e}"), wide.saturating_sub(4))).take(3).collect();
        let height = (note.len() + self.fields.len() + error.len() + 4) as u16;
        let inner = dialog(buf, area, (wide, height), &[(&self.title, theme.focus)], &[], theme);
        let inner = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        let mut y = 0;
        // On a low screen the fields come first: one types into them.
        let spare = usize::from(inner.height).saturating_sub(self.fields.len() + 1);
        for row in note.iter().take(spare) {
            Pen::new(buf, inner, y).put(row, theme.muted);
            y += 1;
        }
        let label = self.fields.iter().map(|(l, _)| width(l)).max().unwrap_or(0) + 1;
        for (index, (name, field)) in self.fields.iter_mut().enumerate() {
            let here = index == self.at;
            Pen::new(buf, inner, y).put(name, if here { theme.accent } else { theme.muted });
            let place = Rect {
                x: inner.x + label.min(inner.width),
                y: inner.y + y.min(inner.height),
                width: inner.width.saturating_sub(label),
                height: u16::from(y < inner.height),
            };
            field.draw(place, buf, theme.text, theme, here);
            y += 1;
        }
        for row in &error {
            if y + 1 < inner.height {
                Pen::new(buf, inner, y).put(row, theme.fail);
                y += 1;
            }
        }
        key_row(keys, Context::Entry, |_| true, theme, inner, buf);
    }
}
