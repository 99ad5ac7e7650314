//! Dialogs over the panes: plain structs that own their cursor, drawn last. They know no engine.

pub mod approval;
pub mod burst;
pub mod confirm;
pub mod dry;
pub mod entry;
pub mod help;
pub mod inbox;
pub mod longtext;
pub mod menu;
pub mod notices;
pub mod palette;
pub mod toast;
pub mod welcome;

use std::cell::Cell;

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    keymap::{Context, Keymap},
    theme::Theme,
    widget::paint::Pen,
};

/// The room that a dialog's text had when it was drawn last: scrolling ends where the text ends there.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen(Cell<(u16, u16)>);

impl Default for Seen {
    fn default() -> Self {
        Seen(Cell::new((80, 20)))
    }
}

impl Seen {
    fn note(&self, room: Rect) {
        self.0.set((room.width, room.height));
    }

    /// Its columns.
    pub fn width(&self) -> u16 {
        self.0.get().0
    }

    /// Its rows.
    pub fn rows(&self) -> usize {
        usize::from(self.0.get().1).max(1)
    }
}

/// Writes the keys of a context into the last row of a dialog.
fn key_row(keys: &Keymap, context: Context, theme: &Theme, area: Rect, buf: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let row = Rect { y: area.bottom() - 1, height: 1, ..area };
    let mut pen = Pen::new(buf, row, 0);
    pen.skip(1);
    for (key, action) in keys.hints(context) {
        if action.group() != super::action::Group::Move {
            pen.put(&key, theme.key).skip(1).put(action.label(), theme.muted).skip(3);
        }
    }
}
