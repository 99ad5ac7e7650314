//! A menu: rows with a letter key each.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::tui::{
    action::Action,
    dialog::{Dialog, DialogOutcome, Effect},
    hits::Hit,
    keymap::Context,
    model::Model,
    msg::Cmd,
    pane::DrawContext,
    widget::{
        paint::{Pen, dialog, scroll_bar, width},
        window::{Move, Window},
    },
};

/// A row of a menu.
pub struct MenuRow {
    /// The letter that selects the row directly.
    key: char,
    /// The row's name.
    label: String,
    /// The text after the name.
    detail: String,
    /// What happens when the row is selected.
    selected: Option<Effect>,
}

impl MenuRow {
    /// Creates a row with what happens when it is selected.
    pub fn new(key: char, label: &str, detail: String, selected: impl FnOnce(&mut Model) -> Vec<Cmd> + 'static) -> MenuRow {
        MenuRow { key, label: label.to_owned(), detail, selected: Some(Box::new(selected)) }
    }
}

/// A menu.
pub struct Menu {
    title: String,
    rows: Vec<MenuRow>,
    window: Window,
}

impl Menu {
    /// Creates a menu with the cursor on the first row.
    pub fn new(title: &str, rows: Vec<MenuRow>) -> Menu {
        Menu { title: title.to_owned(), rows, window: Window::default() }
    }

    fn select(&mut self, row: usize) -> DialogOutcome {
        self.window.cursor = row;
        match self.rows.get_mut(row).and_then(|row| row.selected.take()) {
            Some(effect) => DialogOutcome::CloseAnd(effect),
            None => DialogOutcome::Close,
        }
    }
}

impl Dialog for Menu {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Menu]
    }

    fn go(&mut self, to: Move, _ctx: DrawContext) {
        self.window.go(to, self.rows.len());
    }

    fn act(&mut self, action: Action, _ctx: DrawContext) -> DialogOutcome {
        match action {
            Action::Choose => self.select(self.window.cursor),
            Action::Back => DialogOutcome::Close,
            _ => DialogOutcome::Open,
        }
    }

    fn key(&mut self, key: KeyEvent, _ctx: DrawContext) -> DialogOutcome {
        let KeyCode::Char(letter) = key.code else { return DialogOutcome::Open };
        match self.rows.iter().position(|row| row.key == letter) {
            Some(row) => self.select(row),
            None => DialogOutcome::Open,
        }
    }

    fn click(&mut self, hit: &Hit, _ctx: DrawContext) -> DialogOutcome {
        match hit {
            Hit::Row(row) => self.select(*row),
            _ => DialogOutcome::Open,
        }
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let label = self.rows.iter().map(|r| width(&r.label)).max().unwrap_or(0);
        let detail = self.rows.iter().map(|r| width(&r.detail)).max().unwrap_or(0);
        let wide = (label + detail + 10).max(width(&self.title) + 6).min(area.width);
        let inner = dialog(buf, area, (wide, self.rows.len() as u16 + 2), &[(&self.title, theme.focus)], &[], theme);
        let mut window = self.window;
        window.fit(self.rows.len(), usize::from(inner.height));
        scroll_bar(buf, inner, (window.top, usize::from(inner.height), self.rows.len()), theme.muted);
        for (y, index) in window.rows(self.rows.len(), usize::from(inner.height)).enumerate() {
            let (row, place) = (&self.rows[index], Rect { y: inner.y + y as u16, height: 1, ..inner });
            let mut pen = Pen::new(buf, place, 0);
            pen.skip(1).put(&row.key.to_string(), theme.key).skip(2).put(&row.label, theme.text);
            pen.to(place.x + label + 6).put(&row.detail, theme.muted);
            ctx.hits.add(place, Hit::Row(index));
            if index == self.window.cursor {
                buf.set_style(place.intersection(buf.area), theme.selection);
            }
        }
    }
}
