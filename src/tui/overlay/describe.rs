//! The description dialog: everything known about a tool, a resource, a prompt, a server or a workflow, on pages that can be
//! searched and copied. `pages` builds the pages.

mod pages;

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect, style::Modifier};

use crate::{
    domain::{body::Body, plural::counted, time::size},
    tui::{
        action::Action,
        background::Material,
        copying::{CopyKind, prepared},
        dialog::{Dialog, DialogOutcome},
        hits::Hit,
        keymap::Context,
        pane::DrawContext,
        widget::{
            content::Content,
            json::JsonView,
            paint::{self, Pen, dialog, padded, width},
            rich_text::{Line, RichText},
            window::{Direction, Move},
        },
    },
};

use super::{edit_line, key_row};

/// Bytes searched in one step.
const SEARCHED: usize = 64 << 20;

/// A page: its name and its content.
pub type Page = (&'static str, Content);

/// The description of one thing.
pub struct Describe {
    title: String,
    /// What the thing is: `tool`, `server`.
    kind: &'static str,
    pages: Vec<Page>,
    page: usize,
    needle: String,
    /// Whether letters go into the search.
    searching: bool,
    /// What was copied last.
    copied: Option<String>,
}

impl Describe {
    /// Creates a description with its first page in front.
    pub fn new(title: impl Into<String>, kind: &'static str, pages: Vec<Page>) -> Describe {
        Describe { title: title.into(), kind, pages, page: 0, needle: String::new(), searching: false, copied: None }
    }

    /// Creates a view of one JSON value.
    pub fn value(title: impl Into<String>, json: Body) -> Describe {
        Describe::new(title, "JSON in a string", vec![("value", tree(json))])
    }

    fn content(&mut self) -> Option<&mut Content> {
        self.pages.get_mut(self.page).map(|(_, content)| content)
    }

    fn turn(&mut self, direction: Direction) {
        self.show(direction.cycle(self.page, self.pages.len()));
    }

    fn show(&mut self, page: usize) {
        if page < self.pages.len() {
            self.page = page;
            self.copied = None;
            self.search();
        }
    }

    fn search(&mut self) {
        let needle = self.needle.clone();
        if let Some(content) = self.content() {
            content.search(&needle);
            content.search_step(SEARCHED);
        }
    }

    fn end_search(&mut self) {
        (self.searching, self.needle) = (false, String::new());
        self.search();
    }

    fn copy(&mut self) -> DialogOutcome {
        let Some(content) = self.content() else { return DialogOutcome::Open };
        let material = Material { decode: content.is_tree(), pieces: vec![content.copy_value()] };
        let copied = prepared(CopyKind::Value, &material);
        self.copied = Some(format!("copied {}", size(copied.text.len() as u64)));
        DialogOutcome::run(move |model| model.copied(CopyKind::Value, copied))
    }

    /// Handles an action in the content.
    fn act_in_content(&mut self, action: Action) -> DialogOutcome {
        let nested = match self.content() {
            Some(Content::Json(view)) if action == Action::Open => view.nested().map(|json| (view.cursor_path(), json)),
            _ => None,
        };
        if let Some((path, json)) = nested {
            return DialogOutcome::run(move |model| {
                model.dialogs.push(Describe::value(path, json));
                vec![]
            });
        }
        if let Some(content) = self.content() {
            content.act(action);
        }
        DialogOutcome::Open
    }

    /// Returns the names of the pages with their styles, and separators.
    fn tabs<'t>(&'t self, ctx: DrawContext<'t>) -> Vec<paint::Piece<'t>> {
        let mut pieces = vec![];
        for (at, (name, _)) in self.pages.iter().enumerate() {
            let shown = at == self.page;
            let style = if shown { ctx.theme.focus.add_modifier(Modifier::UNDERLINED) } else { ctx.theme.muted };
            if at > 0 {
                pieces.push((" │ ", ctx.theme.border));
            }
            pieces.push((*name, style));
        }
        pieces
    }

    fn draw_tabs(&self, ctx: DrawContext, row: Rect, buf: &mut Buffer) {
        let mut pen = Pen::new(buf, row, 0);
        let mut page = 0;
        for (text, style) in self.tabs(ctx) {
            let start = pen.x();
            pen.put(text, style);
            if self.pages.get(page).is_some_and(|(name, _)| *name == text) {
                ctx.hits.add(pen.since(start), Hit::Tab(page));
                page += 1;
            }
        }
        let search = self.search_line();
        let style = if self.searching { ctx.theme.text } else { ctx.theme.found };
        if width(&search) + 2 <= pen.left() {
            pen.right(&[(&search, style)]);
        }
    }

    /// Returns the search text with its matches: `/ann▏ 2 of 7`.
    fn search_line(&self) -> String {
        let found = self.pages.get(self.page).and_then(|(_, content)| content.match_position());
        let found = match found {
            Some((Some(at), all)) => format!("{at} of {all}"),
            Some((None, all)) => counted(all, "match"),
            None => String::new(),
        };
        match (self.searching, self.needle.is_empty()) {
            (true, _) => format!("/{}▏ {found}", self.needle),
            (false, false) => format!("/{} {found}", self.needle),
            (false, true) => self.copied.clone().unwrap_or_default(),
        }
    }
}

impl Dialog for Describe {
    fn contexts(&self) -> &'static [Context] {
        if self.searching { &[Context::Entry] } else { &[Context::Describe, Context::Value, Context::List] }
    }

    fn shows_keys(&self) -> bool {
        true
    }

    fn enabled(&self, action: Action, _ctx: DrawContext) -> Option<bool> {
        let content = self.pages.get(self.page).map(|(_, content)| content);
        match action {
            Action::NextTab | Action::PreviousTab => Some(self.pages.len() > 1),
            Action::NextMatch | Action::PreviousMatch => Some(!self.needle.is_empty()),
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel | Action::Open => Some(content.is_some_and(Content::is_tree)),
            _ => None,
        }
    }

    fn go(&mut self, to: Move, _ctx: DrawContext) {
        let Some(content) = self.content() else { return };
        content.act(match to {
            Move::Back(1) => Action::Up,
            Move::On(1) => Action::Down,
            Move::Back(_) => Action::PageUp,
            Move::On(_) => Action::PageDown,
            Move::First => Action::Top,
            Move::Last => Action::Bottom,
        });
    }

    fn act(&mut self, action: Action, _ctx: DrawContext) -> DialogOutcome {
        if self.searching {
            match action {
                Action::Choose => self.searching = false,
                Action::Back => self.end_search(),
                _ => {}
            }
            return DialogOutcome::Open;
        }
        match action {
            Action::Back if !self.needle.is_empty() => self.end_search(),
            Action::Back | Action::Describe => return DialogOutcome::Close,
            Action::NextTab => self.turn(Direction::Forward),
            Action::PreviousTab => self.turn(Direction::Backward),
            Action::Search => (self.searching, self.needle) = (true, String::new()),
            Action::NextMatch | Action::PreviousMatch => {
                if let Some(content) = self.content() {
                    content.match_step(Direction::backward_if(action == Action::PreviousMatch));
                }
            }
            Action::Copy => return self.copy(),
            _ => return self.act_in_content(action),
        }
        DialogOutcome::Open
    }

    fn key(&mut self, key: KeyEvent, _ctx: DrawContext) -> DialogOutcome {
        if self.searching && edit_line(&mut self.needle, key) {
            self.search();
        }
        DialogOutcome::Open
    }

    fn paste(&mut self, text: &str, _ctx: DrawContext) -> DialogOutcome {
        if self.searching {
            self.needle.push_str(text);
            self.search();
        }
        DialogOutcome::Open
    }

    fn click(&mut self, hit: &Hit, _ctx: DrawContext) -> DialogOutcome {
        if let Hit::Tab(page) = hit {
            self.show(*page);
            return DialogOutcome::Open;
        }
        let opens = self.content().is_some_and(|content| content.click(hit)) || matches!(hit, Hit::FoldSign(_));
        if opens { self.act_in_content(Action::Open) } else { DialogOutcome::Open }
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let wish = (110.min(area.width), area.height.saturating_sub(2).min(48));
        let inner = dialog(buf, area, wish, &[(&self.title, theme.focus)], &[(self.kind, theme.muted)], theme);
        let room = padded(inner);
        if room.height < 4 {
            return;
        }
        self.draw_tabs(ctx, Rect { height: 1, ..room }, buf);
        let body = Rect { y: room.y + 2, height: room.height - 3, ..room };
        if let Some(content) = self.content() {
            content.draw(body, buf, theme, true, ctx.hits);
            let rows_area = Rect { width: inner.right().saturating_sub(body.x), ..body };
            paint::scroll_bar(buf, rows_area, content.position(), theme.muted);
        }
        let context = if self.searching { Context::Entry } else { Context::Describe };
        key_row(ctx, context, |action| self.enabled(action, ctx).unwrap_or(true), inner, buf);
    }
}

/// Returns a page of JSON.
fn tree(json: Body) -> Content {
    Content::Json(Box::new(JsonView::json(json)))
}

/// Returns a page of text, which is copied as it is shown.
fn text(lines: Vec<Line>) -> Content {
    let text = RichText::new(lines);
    Content::Rich { source: Body::from(text.text()), text }
}
