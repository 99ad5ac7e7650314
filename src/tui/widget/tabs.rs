//! The tab bar at the top: numbers and names, with the current tab highlighted.

use ratatui::style::Modifier;

use crate::tui::theme::Theme;

use super::paint::{Pen, width};

/// Cells between two tabs.
const GAP: u16 = 2;

/// Writes the tabs. Drops the names of all but the current tab when they do not fit.
pub fn draw(pen: &mut Pen, tabs: &[(String, &str)], current: usize, room: u16, theme: &Theme) {
    let short = !fits(tabs, room);
    for (index, (key, word)) in tabs.iter().enumerate() {
        let is_current = index == current;
        let style = if is_current { theme.focus.add_modifier(Modifier::UNDERLINED) } else { theme.muted };
        pen.put(key, if is_current { theme.focus } else { theme.key });
        if is_current || !short {
            pen.put(" ", theme.text).put(word, style);
        }
        pen.skip(GAP);
    }
}

/// Returns the tab at `cell` of a bar that starts at `x`.
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
