//! The command palette: every action and every tool by name, best match first.

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{directory::Directory, id::ToolId},
    state::ConsoleState,
    tui::{
        action::{Action, Group},
        dialog::{Dialog, DialogOutcome},
        hits::Hit,
        keymap::Context,
        name_search::{Found, NameSearch},
        pane::DrawContext,
        tree::Node,
        widget::{
            paint::{self, Pen, dialog},
            window::{Move, Window},
        },
    },
};

use super::edit_line;

/// Score bonus of a match in the name, above any match in the help text.
const NAME_BONUS: u32 = 1 << 16;

/// What a row of the palette does.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Run this action.
    Action(Action),
    /// Go to this tool.
    Tool(ToolId),
}

/// A row of the palette.
#[derive(Clone, Debug)]
pub struct PaletteRow {
    /// What the row does.
    pub choice: Choice,
    name: String,
    marks: Vec<u32>,
}

/// The palette.
#[derive(Default)]
pub struct Palette {
    search: String,
    window: Window,
    rows: Vec<PaletteRow>,
    /// Actions that the palette lists only in the current context.
    context_actions: Vec<Action>,
}

impl Palette {
    /// Creates the palette with all actions and tools. `context_actions` are listed as well.
    pub fn new(context_actions: Vec<Action>, read_model: &ConsoleState) -> Palette {
        let mut palette = Palette { context_actions, ..Palette::default() };
        palette.find(read_model);
        palette
    }

    /// Returns the rows that match.
    pub fn rows(&self) -> &[PaletteRow] {
        &self.rows
    }

    /// Returns the choice under the cursor.
    pub fn chosen(&self) -> Option<Choice> {
        self.rows.get(self.window.cursor).map(|e| e.choice.clone())
    }

    /// Searches again and moves the cursor to the first match.
    fn find(&mut self, read_model: &ConsoleState) {
        // Quit and the cursor moves come last, so that Enter in a fresh palette does not run them.
        let last = |action: &&Action| **action == Action::Quit || action.group() == Group::Move;
        let order = Action::ALL.iter().filter(|a| !last(a)).chain(Action::ALL.iter().filter(last));
        let actions = order
            .filter(|a| a.in_palette() || self.context_actions.contains(a))
            .map(|a| (Choice::Action(*a), a.name().to_owned(), format!("{:<20} {}", a.name(), a.help())));
        let tools = read_model.names.iter().map(|(name, id)| (Choice::Tool(id.clone()), name.to_string(), name.to_string()));
        let mut search = NameSearch::new(&self.search);
        let mut found: Vec<(u32, PaletteRow)> = actions
            .chain(tools)
            .filter_map(|(choice, own, name)| {
                let Some(Found { score, marks }) = search.in_name(&name) else {
                    // A tool by its own name, title or description comes last.
                    let Choice::Tool(id) = &choice else { return None };
                    let tool = read_model.tool(id)?;
                    let texts = [Some(id.server.as_str()), Some(&*tool.name), tool.title.as_deref(), tool.description.as_deref()];
                    return search.in_texts(texts).then_some((0, PaletteRow { choice, name, marks: vec![] }));
                };
                // A match in the name ranks above one in the help text, and an exact name above all.
                let by_name = search.in_name(&own).map_or(0, |_| NAME_BONUS);
                let exact = if own.replace('-', " ").eq_ignore_ascii_case(self.search.trim()) { NAME_BONUS } else { 0 };
                Some((score + by_name + exact, PaletteRow { choice, name, marks }))
            })
            .collect();
        found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        self.rows = found.into_iter().map(|(_, entry)| entry).collect();
        self.window = Window::default();
    }
}

impl Dialog for Palette {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Palette]
    }

    fn typing(&self) -> bool {
        true
    }

    fn go(&mut self, to: Move, _ctx: DrawContext) {
        self.window.go(to, self.rows.len());
    }

    fn act(&mut self, action: Action, _ctx: DrawContext) -> DialogOutcome {
        match (action, self.chosen()) {
            (Action::Choose, Some(Choice::Action(action))) => DialogOutcome::close_and(move |model| model.act(action)),
            (Action::Choose, Some(Choice::Tool(tool))) => DialogOutcome::close_and(move |model| {
                model.go_to(&Node::Tool(tool));
                vec![]
            }),
            (Action::Choose | Action::Back, _) => DialogOutcome::Close,
            _ => DialogOutcome::Open,
        }
    }

    fn key(&mut self, key: KeyEvent, ctx: DrawContext) -> DialogOutcome {
        if edit_line(&mut self.search, key) {
            self.find(ctx.read_model);
        }
        DialogOutcome::Open
    }

    fn paste(&mut self, text: &str, ctx: DrawContext) -> DialogOutcome {
        self.search.push_str(text);
        self.find(ctx.read_model);
        DialogOutcome::Open
    }

    fn click(&mut self, hit: &Hit, ctx: DrawContext) -> DialogOutcome {
        let Hit::Row(row) = hit else { return DialogOutcome::Open };
        self.window.cursor = *row;
        self.act(Action::Choose, ctx)
    }

    /// Searches again. The cursor stays on the same choice.
    fn refresh(&mut self, read_model: &ConsoleState) {
        let chosen = self.chosen();
        let window = self.window;
        self.find(read_model);
        if let Some(at) = self.rows.iter().position(|entry| Some(&entry.choice) == chosen.as_ref()) {
            self.window = Window { cursor: at, ..window };
        }
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let (keys, theme) = (ctx.keys, ctx.theme);
        let wish = (92, area.height.saturating_sub(4).min(24));
        let count = format!("{}", self.rows.len());
        let inner = dialog(buf, area, wish, &[("Commands", theme.focus)], &[(&count, theme.muted)], theme);
        Pen::new(buf, inner, 0).skip(1).put(": ", theme.key).put(&self.search, theme.text).put("▏", theme.focus);
        let list = Rect { y: inner.y.saturating_add(1), height: inner.height.saturating_sub(1), ..inner };
        self.window.fit(self.rows.len(), usize::from(list.height));
        for (y, index) in self.window.rows(self.rows.len(), usize::from(list.height)).enumerate() {
            let entry = &self.rows[index];
            let row = Rect { y: list.y + y as u16, height: 1, ..list };
            ctx.hits.add(row, Hit::Row(index));
            let mut pen = Pen::new(buf, row, 0);
            let (kind, key) = match &entry.choice {
                Choice::Action(action) => ("  ", keys.key(Context::ALL, *action).unwrap_or_default()),
                Choice::Tool(_) => ("▸ ", "tool".to_owned()),
            };
            pen.skip(1).right(&[(&key, theme.key), (" ", theme.key)]).put(kind, theme.muted);
            let room = pen.room().saturating_sub(1);
            match paint::head(&entry.name, room) {
                full if full.len() == entry.name.len() => pen.put_marked(full, &entry.marks, theme.text, theme.found),
                start => {
                    let start = paint::head(start, room.saturating_sub(1));
                    pen.put_marked(start, &entry.marks, theme.text, theme.found).put("…", theme.muted)
                }
            };
            if index == self.window.cursor {
                buf.set_style(row.intersection(buf.area), theme.selection);
            }
        }
        if self.rows.is_empty() {
            Pen::new(buf, list, 0).skip(1).put("No matches", theme.muted);
        }
    }
}
