//! The tab bar at the top: numbers and names, with the current tab highlighted.

use ratatui::{layout::Rect, style::Modifier};

use crate::tui::theme::Theme;

use super::paint::{Pen, width};

/// Cells between two tabs.
const GAP: u16 = 2;

/// Writes the tabs. Drops the names of all but the current tab when they do not fit. Returns the area of each tab.
pub fn draw(pen: &mut Pen, tabs: &[(String, &str)], current: usize, room: u16, theme: &Theme) -> Vec<Rect> {
    let short = !fits(tabs, room);
    let mut places = vec![];
    for (index, (key, word)) in tabs.iter().enumerate() {
        let is_current = index == current;
        let style = if is_current { theme.focus.add_modifier(Modifier::UNDERLINED) } else { theme.muted };
        let start = pen.x();
        pen.put(key, if is_current { theme.focus } else { theme.key });
        if is_current || !short {
            pen.put(" ", theme.text).put(word, style);
        }
        // The first cell of the gap belongs to the tab, so that a tab without a name is not too small.
        pen.skip(GAP / 2);
        places.push(pen.since(start));
        pen.skip(GAP - GAP / 2);
    }
    places
}

fn fits(tabs: &[(String, &str)], room: u16) -> bool {
    tabs.iter().map(|(key, word)| width(key) + 1 + width(word) + GAP).sum::<u16>() <= room + GAP
}
