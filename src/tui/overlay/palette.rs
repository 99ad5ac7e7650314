//! The palette: every action and every tool by name, best match first.

use nucleo_matcher::{
    Config, Matcher, Utf32Str,
    pattern::{CaseMatching, Normalization, Pattern},
};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{id::ToolId, read_model::ConsoleState},
    tui::{
        action::{Action, Group},
        keymap::{Context, Keymap},
        theme::Theme,
        widget::{
            paint::{self, Pen, dialog},
            window::Window,
        },
    },
};

/// What a match in the name itself counts, beyond any match in the explanation.
const NAMED: u32 = 1 << 16;

/// Something that the palette offers.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Do this.
    Action(Action),
    /// Go to this tool.
    Tool(ToolId),
}

/// One line of the palette.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it does.
    pub choice: Choice,
    name: String,
    marks: Vec<u32>,
}

/// The palette.
#[derive(Default)]
pub struct Palette {
    /// What was typed.
    pub search: String,
    /// Cursor and scroll.
    pub window: Window,
    entries: Vec<Entry>,
    /// Actions beside those that are always offered, since they do something where one is.
    here: Vec<Action>,
}

impl Palette {
    /// The palette with everything, and with what else does something here.
    pub fn new(here: Vec<Action>, read_model: &ConsoleState) -> Palette {
        let mut palette = Palette { here, ..Palette::default() };
        palette.find(read_model);
        palette
    }

    /// The lines that match.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What is under the cursor.
    pub fn chosen(&self) -> Option<Choice> {
        self.entries.get(self.window.cursor).map(|e| e.choice.clone())
    }

    /// Finds the lines anew after the tools changed; the cursor stays on what it was on.
    pub fn again(&mut self, read_model: &ConsoleState) {
        let chosen = self.chosen();
        let window = self.window;
        self.find(read_model);
        if let Some(at) = self.entries.iter().position(|entry| Some(&entry.choice) == chosen.as_ref()) {
            self.window = Window { cursor: at, ..window };
        }
    }

    /// Finds the lines anew.
    pub fn find(&mut self, read_model: &ConsoleState) {
        // Neither leaving nor a move is what somebody wants who only opened this and pressed Enter.
        let last = |action: &&Action| **action == Action::Quit || action.group() == Group::Move;
        let order = Action::ALL.iter().filter(|a| !last(a)).chain(Action::ALL.iter().filter(last));
        let actions = order
            .filter(|a| a.in_palette() || self.here.contains(a))
            .map(|a| (Choice::Action(*a), a.name().to_owned(), format!("{:<20} {}", a.name(), a.help())));
        let tools = read_model.names.iter().map(|(name, id)| (Choice::Tool(id.clone()), name.to_string(), name.to_string()));
        let mut matcher = Matcher::new(Config::DEFAULT);
        let pattern = Pattern::parse(&self.search, CaseMatching::Smart, Normalization::Smart);
        let mut buffer = Vec::new();
        let mut found: Vec<(u32, Entry)> = actions
            .chain(tools)
            .filter_map(|(choice, own, name)| {
                let mut marks = Vec::new();
                let score = pattern.indices(Utf32Str::new(&name, &mut buffer), &mut matcher, &mut marks)?;
                marks.sort_unstable();
                // A name says more than the words that explain another one; the whole name says all.
                let by_name = pattern.score(Utf32Str::new(&own, &mut buffer), &mut matcher).map_or(0, |_| NAMED);
                let whole = if own.replace('-', " ").eq_ignore_ascii_case(self.search.trim()) { NAMED } else { 0 };
                Some((score + by_name + whole, Entry { choice, name, marks }))
            })
            .collect();
        found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        self.entries = found.into_iter().map(|(_, entry)| entry).collect();
        self.window = Window::default();
    }

    /// Draws the palette.
    pub fn draw(&self, keys: &Keymap, theme: &Theme, area: Rect, buf: &mut Buffer) {
        let wish = (92, area.height.saturating_sub(4).min(24));
        let count = format!("{} of everything", self.entries.len());
        let inner = dialog(buf, area, wish, &[("Do", theme.focus)], &[(&count, theme.muted)], theme);
        Pen::new(buf, inner, 0).skip(1).put(": ", theme.key).put(&self.search, theme.text).put("▏", theme.focus);
        let list = Rect { y: inner.y.saturating_add(1), height: inner.height.saturating_sub(1), ..inner };
        let mut window = self.window;
        window.fit(self.entries.len(), usize::from(list.height));
        for (y, index) in window.rows(self.entries.len(), usize::from(list.height)).enumerate() {
            let entry = &self.entries[index];
            let row = Rect { y: list.y + y as u16, height: 1, ..list };
            let mut pen = Pen::new(buf, row, 0);
            let (kind, key) = match &entry.choice {
                Choice::Action(action) => ("  ", keys.key(Context::ALL, *action).unwrap_or_default()),
                Choice::Tool(_) => ("▸ ", "tool".to_owned()),
            };
            pen.skip(1).right(&[(&key, theme.key), (" ", theme.key)]).put(kind, theme.muted);
            let room = pen.room().saturating_sub(1);
            match paint::head(&entry.name, room) {
                whole if whole.len() == entry.name.len() => pen.put_marked(whole, &entry.marks, theme.text, theme.found),
                start => {
                    let start = paint::head(start, room.saturating_sub(1));
                    pen.put_marked(start, &entry.marks, theme.text, theme.found).put("…", theme.muted)
                }
            };
            if index == window.cursor {
                buf.set_style(row.intersection(buf.area), theme.selection);
            }
        }
        if self.entries.is_empty() {
            Pen::new(buf, list, 0).skip(1).put("Nothing is called like this.", theme.muted);
        }
    }
}
