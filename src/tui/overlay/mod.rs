//! The dialogs, one file each, and the toasts. They do not depend on the engine.

pub mod approval;
pub mod burst;
pub mod compare;
pub mod config_inputs;
pub mod confirm;
pub mod describe;
pub mod dry_run;
pub mod help;
pub mod inbox;
pub mod login;
pub mod long_text;
pub mod menu;
pub mod notices;
pub mod palette;
pub mod report;
pub mod sessions;
pub mod text_dialog;
pub mod text_prompt;
pub mod toast;
pub mod value_picker;
pub mod watch;
pub mod welcome;

use std::cell::Cell;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    action::{Action, Group},
    hits::Hit,
    keymap::Context,
    pane::DrawContext,
    widget::paint::{Pen, width},
};

/// The size of a dialog's text area when it was drawn last. Bounds scrolling and sets the width at which rows are counted.
#[derive(Clone, Debug, PartialEq)]
pub struct LastSize(Cell<(u16, u16)>);

impl Default for LastSize {
    fn default() -> Self {
        LastSize(Cell::new((80, 20)))
    }
}

impl LastSize {
    fn note(&self, room: Rect) {
        self.0.set((room.width, room.height));
    }

    /// The columns.
    pub fn width(&self) -> u16 {
        self.0.get().0
    }

    /// The rows, at least one.
    pub fn rows(&self) -> usize {
        usize::from(self.0.get().1).max(1)
    }
}

/// Writes the available keys of a context into the last row of a dialog. `Back` is always shown, even when the row has
/// no space for all keys.
fn key_row(ctx: DrawContext, context: Context, acts: impl Fn(Action) -> bool, area: Rect, buf: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let row = Rect { y: area.bottom() - 1, height: 1, ..area };
    let mut pen = Pen::new(buf, row, 0);
    pen.skip(1);
    let hints = ctx.keys.hints(context).into_iter().filter(|(_, action)| action.group() != Group::Move && acts(*action));
    let (last, first): (Vec<_>, Vec<_>) = hints.partition(|(_, action)| *action == Action::Back);
    let hint_width = |(key, action): &(String, Action)| width(key) + 1 + width(action.label());
    let total: u16 = first.iter().chain(&last).map(|hint| hint_width(hint) + 3).sum();
    let gap = if total > pen.left() + 3 { 2 } else { 3 };
    let mut room = last.iter().fold(pen.left(), |room, hint| room.saturating_sub(hint_width(hint)));
    let fitting = first.into_iter().take_while(|hint| {
        let fits = hint_width(hint) + gap <= room;
        room = room.saturating_sub(hint_width(hint) + gap);
        fits
    });
    let fitting: Vec<_> = fitting.collect();
    for (key, action) in fitting.iter().chain(&last) {
        let start = pen.x();
        pen.put(key, ctx.theme.key).skip(1).put(action.label(), ctx.theme.muted);
        ctx.hits.add(pen.since(start), Hit::Key(*action));
        pen.skip(gap);
    }
}

/// Edits a line of text at its end; returns whether it changed.
pub fn edit_line(text: &mut String, key: KeyEvent) -> bool {
    match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
        (KeyCode::Char(c), false) => {
            text.push(c);
            true
        }
        (KeyCode::Char('u'), true) => !std::mem::take(text).is_empty(),
        (KeyCode::Char('w'), true) => {
            let rest = text.trim_end().rfind(' ').map_or(0, |at| at + 1);
            text.truncate(rest);
            true
        }
        (KeyCode::Backspace, _) => text.pop().is_some(),
        _ => false,
    }
}
