//! The bar of tabs at the top: numbers and names, the current one standing out.

use ratatui::style::Modifier;

use crate::tui::theme::Theme;

use super::paint::{Pen, width};

/// Cells between two tabs.
const GAP: u16 = 2;

/// Writes the tabs; names of tabs other than the current one give way when there is no room for all.
pub fn draw(pen: &mut Pen, tabs: &[(String, &str)], current: usize, room: u16, theme: &Theme) {
    let short = !fits(tabs, room);
    for (index, (key, word)) in tabs.iter().enumerate() {
        let here = index == current;
        let style = if here { theme.focus.add_modifier(Modifier::UNDERLINED) } else { theme.muted };
        pen.put(key, if here { theme.focus } else { theme.key });
        if here || !short {
            pen.put(" ", theme.text).put(word, style);
        }
        pen.skip(GAP);
    }
}

/// The tab at a cell, when the bar was written from `x` on in `area`.
pub fn at(tabs: &[(String, &str)], current: usize, x: u16, room: u16, cell: u16) -> Option<usize> {
    let short = !fits(tabs, room);
    let mut start = x;
    for (index, (key, word)) in tabs.iter().enumerate() {
        let wide = width(key) + if index == current || !short { 1 + width(word) } else { 0 };
        if (start..start + wide + GAP / 2).contains(&cell) {
            return Some(index);
        }
        start += wide + GAP;
    }
    None
}

fn fits(tabs: &[(String, &str)], room: u16) -> bool {
    tabs.iter().map(|(key, word)| width(key) + 1 + width(word) + GAP).sum::<u16>() <= room + GAP
}
