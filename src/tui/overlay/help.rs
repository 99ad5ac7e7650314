//! Every key, from the keymap, searchable.

use ratatui::{buffer::Buffer, layout::Rect};

use super::LastSize;

use crate::tui::{
    action::{Action, Group},
    filter::LANGUAGE,
    keymap::{Context, Keymap},
    pane::text_view::Sheet,
    theme::Theme,
    widget::{
        paint::{dialog, head, wrap},
        window::Window,
    },
};

/// The heading of how filters are written.
const FILTERS: &str = "Filters of traffic and timeline";

/// The help overlay.
#[derive(Default)]
pub struct Help {
    /// What is searched for.
    pub search: String,
    /// Scroll.
    pub window: Window,
    /// Where its text was drawn last.
    pub seen: LastSize,
}

impl Help {
    /// How many rows there are.
    pub fn len(&self, keys: &Keymap, theme: &Theme) -> usize {
        self.sheet(keys, theme, self.seen.width()).len()
    }

    fn sheet<'t>(&self, keys: &Keymap, theme: &'t Theme, width: u16) -> Sheet<'t> {
        let mut sheet = Sheet::new(theme, width);
        let wanted = self.search.to_lowercase();
        for group in Group::ALL {
            let mut titled = false;
            for action in Action::ALL.iter().filter(|a| a.group() == group) {
                let room = if width < 80 { 16 } else { 22 };
                let bound = bound(keys, *action, room);
                let all = every(keys, *action).join(" ");
                let row = format!("{all} {} {}", action.name(), action.help()).to_lowercase();
                if !wanted.split_whitespace().all(|word| row.contains(word)) {
                    continue;
                }
                if !titled {
                    sheet.gap().text(group.title(), theme.accent);
                    titled = true;
                }
                let bound = if bound.is_empty() { "palette".to_owned() } else { bound };
                // Beside the keys where there is room for both, else cut with a mark.
                let help = cut(action.help(), usize::from(width).saturating_sub(room + 3));
                sheet.row(vec![(format!("  {bound:<room$} "), theme.key), (help, theme.text)]);
            }
        }
        let mut titled = false;
        for (example, meaning) in LANGUAGE {
            let row = format!("{FILTERS} {example} {meaning}").to_lowercase();
            if !wanted.split_whitespace().all(|word| row.contains(word)) {
                continue;
            }
            if !titled {
                sheet.gap().text(FILTERS, theme.accent);
                titled = true;
            }
            let cells = if width < 80 { 16 } else { 22 };
            for (at, line) in wrap(meaning, width.saturating_sub(cells + 3)).into_iter().enumerate() {
                let example = if at == 0 { example } else { "" };
                sheet.row(vec![(format!("  {example:<cells$} ", cells = usize::from(cells)), theme.key), (line, theme.text)]);
            }
        }
        if sheet.is_empty() {
            sheet.text("No key does anything like this.", theme.muted);
        }
        sheet
    }

    /// Draws the overlay.
    pub fn draw(&self, keys: &Keymap, theme: &Theme, area: Rect, buf: &mut Buffer) {
        let search = format!("search: {}▏", self.search);
        let inner = dialog(buf, area, (106, area.height.saturating_sub(2)), &[("Keys", theme.focus)], &[(&search, theme.text)], theme);
        let room = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        self.seen.note(room);
        self.sheet(keys, theme, room.width).draw(buf, room, self.window);
    }
}

/// A line, cut at its end with a mark where it is longer than `cells`.
fn cut(text: &str, cells: usize) -> String {
    if text.chars().count() <= cells { text.to_owned() } else { format!("{}…", head(text, cells.saturating_sub(1))) }
}

/// The keys of an action in whatever context, each once.
fn every(keys: &Keymap, action: Action) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for context in Context::ALL {
        for key in keys.keys_of(*context, action) {
            if !shown.contains(&key) {
                shown.push(key);
            }
        }
    }
    shown
}

/// The same as it is shown in so many cells: the first three that fit, with an ellipsis when there are more, so that none
/// is kept from who looks for it.
fn bound(keys: &Keymap, action: Action, room: usize) -> String {
    let every = every(keys, action);
    let shown = |most: usize| {
        let more = (every.len() > most).then_some("…");
        every.iter().take(most).map(String::as_str).chain(more).collect::<Vec<_>>().join("  ")
    };
    let fits = (1..=3).rev().map(shown).find(|shown| shown.chars().count() <= room);
    fits.unwrap_or_else(|| shown(1))
}
