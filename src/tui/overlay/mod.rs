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
    action::{Action, Group},
    keymap::{Context, Keymap},
    theme::Theme,
    widget::paint::{Pen, width},
};

/// The room that a dialog's text had when it was drawn last: scrolling ends where the text ends there.
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

    /// Its columns.
    pub fn width(&self) -> u16 {
        self.0.get().0
    }

    /// Its rows.
    pub fn rows(&self) -> usize {
        usize::from(self.0.get().1).max(1)
    }
}

/// Writes the keys of a context that do something now into the last row of a dialog. The way out keeps its place
/// where there is no room for all.
fn key_row(keys: &Keymap, context: Context, acts: impl Fn(Action) -> bool, theme: &Theme, area: Rect, buf: &mut Buffer) {
    if area.height == 0 {
        return;
    }
    let row = Rect { y: area.bottom() - 1, height: 1, ..area };
    let mut pen = Pen::new(buf, row, 0);
    pen.skip(1);
    let shown = keys.hints(context).into_iter().filter(|(_, action)| action.group() != Group::Move && acts(*action));
    let (last, first): (Vec<_>, Vec<_>) = shown.partition(|(_, action)| *action == Action::Back);
    let long = |(key, action): &(String, Action)| width(key) + 1 + width(action.label());
    let all: u16 = first.iter().chain(&last).map(|hint| long(hint) + 3).sum();
    let gap = if all > pen.left() + 3 { 2 } else { 3 };
    let mut room = last.iter().fold(pen.left(), |room, hint| room.saturating_sub(long(hint)));
    let fitting = first.into_iter().take_while(|hint| {
        let fits = long(hint) + gap <= room;
        room = room.saturating_sub(long(hint) + gap);
        fits
    });
    let fitting: Vec<_> = fitting.collect();
    for (key, action) in fitting.iter().chain(&last) {
        pen.put(key, theme.key).skip(1).put(action.label(), theme.muted).skip(gap);
    }
}
