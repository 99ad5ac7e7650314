//! The command line: commands with arguments, every action, and everything that has a name, best match first. `commands` has
//! the commands and finds the rows.

mod commands;

use std::sync::Arc;

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{
        id::{ServerId, ToolId},
        workflow::saved_call::SavedCall,
    },
    state::ConsoleState,
    tui::{
        action::Action,
        dialog::{Dialog, DialogOutcome},
        hits::Hit,
        keymap::Context,
        pane::DrawContext,
        tree::Node,
        widget::{
            paint::{self, Pen, dialog, scroll_bar},
            window::{Move, Window},
        },
    },
};

use super::edit_line;

/// What a row does.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Run this action.
    Action(Action),
    /// Go to this row of the tree.
    Go(Node),
    /// Describe this row of the tree.
    Describe(Node),
    /// Restart, disable or reload this server.
    Server(Action, ServerId),
    /// Send a call with these arguments, written as on the command line.
    Call(ToolId, String),
    /// Go to this workflow.
    Workflow(Arc<str>),
    /// Run this workflow.
    Run(Arc<str>),
    /// Use this environment; `None` for none.
    Environment(Option<String>),
    /// Use this theme in this session.
    Theme(&'static str),
    /// Filter the traffic.
    Filter(String),
    /// Search in the help.
    Help(String),
    /// Continue the line: it becomes this text.
    Type(String),
}

/// A row.
#[derive(Clone, Debug)]
pub struct PaletteRow {
    /// What the row does.
    pub choice: Choice,
    /// The text that is matched.
    name: String,
    marks: Vec<u32>,
    /// What it is or does.
    about: String,
    /// What kind of thing it is, at the right end.
    kind: &'static str,
}

/// What the command line knows in addition to the read model.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Actions that are listed only in the current context.
    pub context_actions: Vec<Action>,
    /// The names of the workflows.
    pub workflows: Vec<Arc<str>>,
    /// The saved calls, each with its tool.
    pub saved: Vec<(SavedCall, ToolId)>,
    /// Earlier lines, newest last.
    pub history: Vec<String>,
    /// The names of the environments.
    pub environments: Vec<String>,
}

/// The command line and its matches.
#[derive(Default)]
pub struct Palette {
    line: String,
    window: Window,
    rows: Vec<PaletteRow>,
    known: Known,
    /// The earlier line that is shown.
    recalled: Option<usize>,
}

impl Palette {
    /// Creates an empty command line.
    pub fn new(known: Known, read_model: &ConsoleState) -> Palette {
        let mut palette = Palette { known, ..Palette::default() };
        palette.find(read_model);
        palette
    }

    /// Returns the rows that match.
    pub fn rows(&self) -> &[PaletteRow] {
        &self.rows
    }

    /// Returns the choice under the cursor.
    pub fn chosen(&self) -> Option<Choice> {
        self.rows.get(self.window.cursor).map(|row| row.choice.clone())
    }

    /// Searches again and moves the cursor to the first match.
    fn find(&mut self, read_model: &ConsoleState) {
        self.rows = commands::rows(&self.line, &self.known, read_model);
        self.window = Window::default();
    }

    /// Shows the previous or the next earlier line. Returns whether there is one.
    fn recall(&mut self, back: bool) -> bool {
        let count = self.known.history.len();
        let at = match (self.recalled, back) {
            (None, true) => count.checked_sub(1),
            (Some(at), true) => Some(at.saturating_sub(1)),
            (Some(at), false) => Some(at + 1),
            (None, false) => None,
        };
        let Some(at) = at else { return false };
        self.recalled = Some(at).filter(|at| *at < count);
        self.line = self.known.history.get(at).cloned().unwrap_or_default();
        true
    }

    /// Completes the line to the row under the cursor.
    fn complete(&mut self) {
        if let Some(row) = self.rows.get(self.window.cursor) {
            self.line = match &row.choice {
                Choice::Type(text) => text.clone(),
                _ => row.name.clone(),
            };
            self.recalled = None;
        }
    }

    /// Runs the row under the cursor. A line that matches nothing runs nothing.
    fn run(&mut self, ctx: DrawContext) -> DialogOutcome {
        match self.chosen() {
            Some(Choice::Type(text)) => {
                self.line = text;
                self.find(ctx.read_model);
                DialogOutcome::Open
            }
            Some(choice) => {
                let typed = self.line.trim().to_owned();
                let line = if typed.is_empty() { String::new() } else { self.rows[self.window.cursor].name.clone() };
                DialogOutcome::close_and(move |model| model.run_command(choice, line))
            }
            None => DialogOutcome::Open,
        }
    }
}

impl Dialog for Palette {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Palette]
    }

    fn go(&mut self, to: Move, ctx: DrawContext) {
        let first = self.window.cursor == 0;
        let recalls = first && (to == Move::Back(1) || to == Move::On(1) && self.recalled.is_some());
        if recalls && (self.line.is_empty() || self.recalled.is_some()) && self.recall(to == Move::Back(1)) {
            self.find(ctx.read_model);
        } else {
            self.window.go(to, self.rows.len());
        }
    }

    fn act(&mut self, action: Action, ctx: DrawContext) -> DialogOutcome {
        match action {
            Action::Choose => self.run(ctx),
            Action::Complete => {
                self.complete();
                self.find(ctx.read_model);
                DialogOutcome::Open
            }
            Action::Back => DialogOutcome::Close,
            _ => DialogOutcome::Open,
        }
    }

    fn key(&mut self, key: KeyEvent, ctx: DrawContext) -> DialogOutcome {
        if edit_line(&mut self.line, key) {
            self.recalled = None;
            self.find(ctx.read_model);
        }
        DialogOutcome::Open
    }

    fn paste(&mut self, text: &str, ctx: DrawContext) -> DialogOutcome {
        self.line.push_str(text);
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
        if let Some(at) = self.rows.iter().position(|row| Some(&row.choice) == chosen.as_ref()) {
            self.window = Window { cursor: at, ..window };
        }
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let (keys, theme) = (ctx.keys, ctx.theme);
        let wish = (92, area.height.saturating_sub(4).min(24));
        let count = self.rows.len().to_string();
        let inner = dialog(buf, area, wish, &[("Commands", theme.focus)], &[(&count, theme.muted)], theme);
        Pen::new(buf, inner, 0).skip(1).put(": ", theme.key).put(&self.line, theme.text).put("▏", theme.focus);
        let list = Rect { y: inner.y.saturating_add(1), height: inner.height.saturating_sub(1), ..inner };
        let height = usize::from(list.height);
        self.window.fit(self.rows.len(), height);
        let names = self.rows.iter().take(200).map(|row| paint::width(&row.name)).max().unwrap_or(0).min(list.width / 2).max(20);
        for (y, index) in self.window.rows(self.rows.len(), height).enumerate() {
            let entry = &self.rows[index];
            let row = Rect { y: list.y + y as u16, height: 1, ..list };
            ctx.hits.add(row, Hit::Row(index));
            let mut pen = Pen::new(buf, row, 0);
            let key = match &entry.choice {
                Choice::Action(action) => keys.key(Context::ALL, *action).unwrap_or_default(),
                _ => entry.kind.to_owned(),
            };
            pen.skip(1).right(&[(" ", theme.key), (&key, theme.key), (" ", theme.key)]);
            let start = pen.x();
            match paint::head(&entry.name, pen.room()) {
                full if full.len() == entry.name.len() => drop(pen.put_marked(full, &entry.marks, theme.text, theme.found)),
                start => {
                    let start = paint::head(start, pen.room().saturating_sub(1));
                    pen.put_marked(start, &entry.marks, theme.text, theme.found).put("…", theme.muted);
                }
            }
            pen.skip(1).to(start + names + 1);
            if pen.left() > 8 {
                pen.cut(&entry.about, theme.muted);
            }
            if index == self.window.cursor {
                buf.set_style(row.intersection(buf.area), theme.selection);
            }
        }
        scroll_bar(buf, list, (self.window.top, height, self.rows.len()), theme.muted);
        if self.rows.is_empty() {
            Pen::new(buf, list, 0).skip(1).put("No matches: nothing runs", theme.muted);
        }
    }
}
