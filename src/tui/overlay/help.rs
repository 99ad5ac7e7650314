//! The help dialog: the keys of the pane that was in focus, then every action with its keys, searchable. From the keymap.

use crossterm::event::{KeyCode, KeyEvent};
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
        paint::{dialog, head, padded, wrap},
        window::{Move, Window},
    },
};

/// The heading of the filter language.
const FILTERS: &str = "Filters of traffic and timeline";

/// The help dialog.
#[derive(Default)]
pub struct Help {
    /// Where the user was, nearest first.
    contexts: Vec<Context>,
    search: String,
    window: Window,
    last_size: LastSize,
}

impl Help {
    /// Creates the help, which begins with the keys of these contexts.
    pub fn new(contexts: Vec<Context>) -> Help {
        Help { contexts, ..Help::default() }
    }

    /// Creates the help with a search.
    pub fn searching(contexts: Vec<Context>, search: String) -> Help {
        Help { contexts, search, ..Help::default() }
    }

    fn text_view<'t>(&self, keys: &Keymap, theme: &'t Theme, width: u16) -> TextView<'t> {
        let mut page = HelpPage { out: TextView::new(theme, width), wanted: self.search.to_lowercase(), theme, width };
        let filtering = self.contexts.contains(&Context::Query);
        if filtering {
            page.language();
        }
        for context in &self.contexts {
            page.context(keys, *context);
        }
        for group in Group::ALL {
            page.group(keys, group);
        }
        if !filtering {
            page.language();
        }
        if page.out.is_empty() {
            page.out.text("No matches", theme.muted);
        }
        page.out
    }
}

/// The rows of the help that match a search.
struct HelpPage<'t> {
    out: TextView<'t>,
    wanted: String,
    theme: &'t Theme,
    width: u16,
}

impl HelpPage<'_> {
    /// Returns the cells of the key column.
    fn room(&self) -> usize {
        if self.width < 80 { 16 } else { 22 }
    }

    fn matches(&self, row: &str) -> bool {
        let row = row.to_lowercase();
        self.wanted.split_whitespace().all(|word| row.contains(word))
    }

    fn title(&mut self, titled: &mut bool, title: &str) {
        if !std::mem::replace(titled, true) {
            self.out.gap().text(title, self.theme.accent);
        }
    }

    fn action(&mut self, bound: &str, action: Action) {
        let room = self.room();
        // Cut where keys and help do not fit on one row.
        let help = cut(action.help(), usize::from(self.width).saturating_sub(room + 3));
        self.out.row(vec![(format!("  {bound:<room$} "), self.theme.key), (help, self.theme.text)]);
    }

    /// Adds the keys of a context.
    fn context(&mut self, keys: &Keymap, context: Context) {
        let mut titled = false;
        for (_, action) in keys.hints(context) {
            let all = keys.keys_of(context, action);
            if self.matches(&format!("{} {} {}", all.join(" "), action.name(), action.help())) {
                self.title(&mut titled, context.about().trim_end_matches('.'));
                self.action(&fitting(&all, self.room()), action);
            }
        }
    }

    /// Adds all actions of a group, with their keys in every context.
    fn group(&mut self, keys: &Keymap, group: Group) {
        let mut titled = false;
        for action in Action::ALL.iter().filter(|action| action.group() == group) {
            let all = all_keys(keys, *action);
            if self.matches(&format!("{} {} {}", all.join(" "), action.name(), action.help())) {
                self.title(&mut titled, &format!("All: {}", group.title()));
                let bound = fitting(&all, self.room());
                self.action(if bound.is_empty() { "palette" } else { &bound }, *action);
            }
        }
    }

    /// Adds the language of filters.
    fn language(&mut self) {
        let (mut titled, cells) = (false, self.room());
        for (example, meaning) in LANGUAGE {
            if !self.matches(&format!("{FILTERS} {example} {meaning}")) {
                continue;
            }
            self.title(&mut titled, FILTERS);
            for (at, line) in wrap(meaning, self.width.saturating_sub(cells as u16 + 3)).into_iter().enumerate() {
                let example = if at == 0 { example } else { "" };
                self.out.row(vec![(format!("  {example:<cells$} "), self.theme.key), (line, self.theme.text)]);
            }
        }
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
        // As in a pager; a search for a word with q starts with another letter or a space.
        if key.code == KeyCode::Char('q') && self.search.is_empty() {
            return DialogOutcome::Close;
        }
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
        let room = padded(inner);
        self.last_size.note(room);
        let text = self.text_view(keys, theme, room.width);
        text.draw(buf, room, self.window);
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

/// Returns these keys in at most `room` cells: up to three that fit, then `…` when there are more.
fn fitting(every: &[String], room: usize) -> String {
    let shown = |most: usize| {
        let more = (every.len() > most).then_some("…");
        every.iter().take(most).map(String::as_str).chain(more).collect::<Vec<_>>().join("  ")
    };
    let fits = (1..=3).rev().map(shown).find(|shown| shown.chars().count() <= room);
    fits.unwrap_or_else(|| shown(1))
}
