//! The help dialog: a searchable list of every action with its keys, from the keymap.

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect};

use super::{LastSize, edit_line};

use crate::tui::{
    action::{Action, Group},
    dialog::{Dialog, DialogOutcome},
    filter::LANGUAGE,
    keymap::{Context, Keymap},
    pane::{DrawContext, text_view::TextView},
    theme::Theme,
    widget::{
        paint::{dialog, head, wrap},
        window::{Move, Window},
    },
};

/// The heading of the filter language.
const FILTERS: &str = "Filters of traffic and timeline";

/// The help dialog.
#[derive(Default)]
pub struct Help {
    search: String,
    window: Window,
    last_size: LastSize,
}

impl Help {
    fn text_view<'t>(&self, keys: &Keymap, theme: &'t Theme, width: u16) -> TextView<'t> {
        let mut out = TextView::new(theme, width);
        let wanted = self.search.to_lowercase();
        for group in Group::ALL {
            let mut titled = false;
            for action in Action::ALL.iter().filter(|a| a.group() == group) {
                let room = if width < 80 { 16 } else { 22 };
                let bound = key_column(keys, *action, room);
                let all = all_keys(keys, *action).join(" ");
                let row = format!("{all} {} {}", action.name(), action.help()).to_lowercase();
                if !wanted.split_whitespace().all(|word| row.contains(word)) {
                    continue;
                }
                if !titled {
                    out.gap().text(group.title(), theme.accent);
                    titled = true;
                }
                let bound = if bound.is_empty() { "palette".to_owned() } else { bound };
                // Cut where keys and help do not fit on one row.
                let help = cut(action.help(), usize::from(width).saturating_sub(room + 3));
                out.row(vec![(format!("  {bound:<room$} "), theme.key), (help, theme.text)]);
            }
        }
        let mut titled = false;
        for (example, meaning) in LANGUAGE {
            let row = format!("{FILTERS} {example} {meaning}").to_lowercase();
            if !wanted.split_whitespace().all(|word| row.contains(word)) {
                continue;
            }
            if !titled {
                out.gap().text(FILTERS, theme.accent);
                titled = true;
            }
            let cells = if width < 80 { 16 } else { 22 };
            for (at, line) in wrap(meaning, width.saturating_sub(cells + 3)).into_iter().enumerate() {
                let example = if at == 0 { example } else { "" };
                out.row(vec![(format!("  {example:<cells$} ", cells = usize::from(cells)), theme.key), (line, theme.text)]);
            }
        }
        if out.is_empty() {
            out.text("No matches", theme.muted);
        }
        out
    }
}

impl Dialog for Help {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Help]
    }

    fn typing(&self) -> bool {
        true
    }

    fn go(&mut self, to: Move, ctx: DrawContext) {
        let rows = self.text_view(ctx.keys, ctx.theme, self.last_size.width()).len();
        self.window.scroll(to, rows, self.last_size.rows());
    }

    fn key(&mut self, key: KeyEvent, _ctx: DrawContext) -> DialogOutcome {
        edit_line(&mut self.search, key);
        self.window = Window::default();
        DialogOutcome::Open
    }

    fn paste(&mut self, text: &str, _ctx: DrawContext) -> DialogOutcome {
        self.search.push_str(text);
        self.window = Window::default();
        DialogOutcome::Open
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let (keys, theme) = (ctx.keys, ctx.theme);
        let search = format!("search: {}▏", self.search);
        let inner = dialog(buf, area, (106, area.height.saturating_sub(2)), &[("Keys", theme.focus)], &[(&search, theme.text)], theme);
        let room = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        self.last_size.note(room);
        self.text_view(keys, theme, room.width).draw(buf, room, self.window);
    }
}

/// Returns a line, cut and marked with `…` where it is longer than `cells`.
fn cut(text: &str, cells: usize) -> String {
    if text.chars().count() <= cells { text.to_owned() } else { format!("{}…", head(text, cells.saturating_sub(1))) }
}

/// Returns the keys of an action in all contexts, each once.
fn all_keys(keys: &Keymap, action: Action) -> Vec<String> {
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

/// Returns the keys of an action in at most `room` cells: up to three that fit, then `…` when the action has more.
fn key_column(keys: &Keymap, action: Action, room: usize) -> String {
    let every = all_keys(keys, action);
    let shown = |most: usize| {
        let more = (every.len() > most).then_some("…");
        every.iter().take(most).map(String::as_str).chain(more).collect::<Vec<_>>().join("  ")
    };
    let fits = (1..=3).rev().map(shown).find(|shown| shown.chars().count() <= room);
    fits.unwrap_or_else(|| shown(1))
}
