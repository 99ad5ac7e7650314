//! A filter line: the language of `filter` with what cannot be understood and what a word could become. The traffic
//! view and the timeline have one each.

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect};

use crate::tui::{
    action::Action,
    filter::{self, Filter, ParseError},
    keymap::Context,
    rows::Rows,
    widget::{
        field::{FieldEvent, TextField},
        paint::{Pen, clear, width, wrap_some},
    },
};

use super::DrawContext;

/// Completions that are shown at once.
const OFFERED: usize = 8;
/// Rows that a mistake may take.
const MOST_NOTES: usize = 3;

/// The filter as it is written, and as it is understood.
#[derive(Default)]
pub struct FilterLine {
    field: TextField,
    filter: Filter,
    editing: bool,
    /// What the filter was before it was edited.
    before: String,
    mistakes: Vec<ParseError>,
    offers: Vec<String>,
    /// The offer that Tab took last; the next Tab takes the next one.
    taken: Option<usize>,
}

impl FilterLine {
    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The filter as written.
    pub fn text(&self) -> &str {
        self.field.text()
    }

    /// Whether it is being written.
    pub fn editing(&self) -> bool {
        self.editing
    }

    /// Whether there is something to be seen of it.
    pub fn used(&self) -> bool {
        self.editing || !self.field.is_empty()
    }

    /// What of it cannot be understood.
    pub fn mistakes(&self) -> &[ParseError] {
        &self.mistakes
    }

    /// Begins to write it.
    pub fn edit(&mut self, rows: &Rows) {
        if !self.editing {
            self.editing = true;
            self.before = self.field.text().to_owned();
            self.field.select_all();
        }
        self.offer(rows);
    }

    /// Ends writing: keeps the filter, or goes back to the one before; whether it is another one now.
    pub fn end_edit(&mut self, keep: bool) -> bool {
        self.editing = false;
        self.field.deselect();
        self.offers.clear();
        let before = std::mem::take(&mut self.before);
        !keep && self.set(&before)
    }

    /// Takes a key; whether the filter is another one now.
    pub fn key(&mut self, key: KeyEvent, rows: &Rows) -> bool {
        if self.field.handle(key) != FieldEvent::Changed {
            return false;
        }
        self.offer(rows);
        self.read()
    }

    /// Takes pasted text, in one line; whether the filter is another one now.
    pub fn paste(&mut self, text: &str, rows: &Rows) -> bool {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.field.paste(&line);
        self.offer(rows);
        self.read()
    }

    /// Sets it; whether the filter is another one now.
    pub fn set(&mut self, text: &str) -> bool {
        self.field.set(text);
        self.read()
    }

    fn read(&mut self) -> bool {
        let (filter, mistakes) = Filter::parse(self.field.text());
        self.mistakes = mistakes;
        let other = filter != self.filter;
        self.filter = filter;
        other
    }

    fn offer(&mut self, rows: &Rows) {
        self.offers = filter::complete(self.field.head(), rows);
        self.taken = None;
    }

    /// Takes the next completion of the word that is being written; whether the filter is another one now.
    pub fn complete(&mut self, rows: &Rows) -> bool {
        let next = self.taken.map_or(0, |at| at + 1);
        let Some(offer) = self.offers.get(next).or(self.offers.first()).cloned() else { return false };
        let at = if next < self.offers.len() { next } else { 0 };
        let before = self.field.head();
        let after = self.field.text().get(before.len()..).unwrap_or_default();
        let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let head = format!("{}{offer}", &before[..start]);
        let whole = format!("{head}{after}");
        let other = self.set(&whole);
        self.field.put_cursor(head.len());
        if self.offers.len() == 1 {
            self.offer(rows);
        } else {
            self.taken = Some(at);
        }
        other
    }

    /// Rows under the line that say what cannot be understood, in a pane that is so wide inside.
    pub fn notes(&self, wide: u16) -> u16 {
        self.told(wide).len() as u16
    }

    /// The first mistake in rows: what would be right stands at its end, so it is not cut.
    fn told(&self, wide: u16) -> Vec<String> {
        let Some(mistake) = self.mistakes.first() else { return vec![] };
        let more = self.mistakes.len() - 1;
        let more = if more > 0 { format!("   and {more} more") } else { String::new() };
        wrap_some(&format!("✕ {mistake}{more}"), usize::from(wide.saturating_sub(2)), MOST_NOTES)
    }

    /// Draws the line, and what is wrong with it, at the top of `area`; `example` stands there while it is empty.
    pub fn draw(&mut self, example: &str, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let key = look.keys.key(&[Context::Global], Action::Filter).unwrap_or_default();
        let mut pen = Pen::new(buf, area, 0);
        pen.skip(1).put(&key, theme.key).skip(1);
        let x = pen.x();
        if self.used() {
            let field = Rect { x, width: area.right().saturating_sub(x + 1), height: area.height.min(1), ..area };
            self.field.draw(field, buf, theme.text, theme, self.editing && look.focused);
        } else {
            pen.put(example, theme.muted);
        }
        for (y, row) in (1..).zip(self.told(area.width)) {
            Pen::new(buf, area, y).skip(1).put(&row, theme.fail);
        }
    }

    /// Draws the words that Tab would take, under the line: last, over everything else.
    pub fn draw_offers(&self, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        if !self.editing || self.offers.is_empty() || area.height < 4 {
            return;
        }
        let first = self.taken.map_or(0, |at| at.saturating_sub(OFFERED - 1));
        let shown: Vec<&String> = self.offers.iter().skip(first).take(OFFERED).collect();
        let wide = shown.iter().map(|offer| width(offer)).max().unwrap_or(0) + 2;
        let height = (shown.len() as u16).min(area.height.saturating_sub(2));
        // Under the word that is written, where there is room for it.
        let head = self.field.head();
        let word = head.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let x = (3 + width(&head[..word])).saturating_sub(1).min(area.width.saturating_sub(wide));
        let place = Rect { x: area.x + x, y: area.y + 1 + self.notes(area.width), width: wide.min(area.width - x), height };
        clear(buf, place);
        for (y, offer) in shown.iter().take(usize::from(height)).enumerate() {
            let style = if self.taken == Some(first + y) { theme.selection } else { theme.selection_idle };
            let mut pen = Pen::new(buf, place, y as u16);
            pen.fill(style).put(" ", style).put(offer, style);
        }
    }
}
