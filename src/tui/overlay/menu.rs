//! A menu: rows with a letter key each.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::tui::{
    hits::Hit,
    pane::DrawContext,
    widget::{
        paint::{Pen, dialog, width},
        window::Window,
    },
};

/// A row of a menu.
#[derive(Clone, Debug, PartialEq)]
pub struct MenuRow {
    /// The letter that selects the row directly.
    pub key: char,
    /// The row's name.
    pub label: String,
    /// The text after the name.
    pub detail: String,
}

/// A menu.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Menu {
    /// The menu's title.
    pub title: String,
    /// The rows.
    pub rows: Vec<MenuRow>,
    /// The cursor.
    pub window: Window,
}

impl Menu {
    /// Returns the row of this letter.
    pub fn find(&self, key: char) -> Option<usize> {
        self.rows.iter().position(|row| row.key == key)
    }

    /// Draws the menu.
    pub fn draw(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let label = self.rows.iter().map(|r| width(&r.label)).max().unwrap_or(0);
        let detail = self.rows.iter().map(|r| width(&r.detail)).max().unwrap_or(0);
        let wide = (label + detail + 10).max(width(&self.title) + 6).min(area.width);
        let inner = dialog(buf, area, (wide, self.rows.len() as u16 + 2), &[(&self.title, theme.focus)], &[], theme);
        let mut window = self.window;
        window.fit(self.rows.len(), usize::from(inner.height));
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
