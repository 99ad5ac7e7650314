//! The filter line: a text field for the language of `filter`, with its mistakes and completions. The traffic view and the
//! timeline have one each.

use std::borrow::Cow;

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect};

use crate::tui::{
    action::Action,
    filter::{self, Filter, ParseError},
    hits::Hit,
    keymap::Context,
    rows::Rows,
    widget::{
        field::{FieldEvent, TextField},
        paint::{Pen, clear, width, wrap_some},
    },
};

use super::DrawContext;

/// The most completions on the screen.
const SHOWN_COMPLETIONS: usize = 8;
/// The most rows of a mistake.
const MOST_NOTES: usize = 3;

/// The filter's text and the parsed filter.
#[derive(Default)]
pub struct FilterLine {
    field: TextField,
    filter: Filter,
    editing: bool,
    /// The text before editing started.
    before: String,
    mistakes: Vec<ParseError>,
    completions: Vec<String>,
    /// The index of the completion inserted last.
    inserted: Option<usize>,
}

impl FilterLine {
    /// Returns the parsed filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Returns the filter's text.
    pub fn text(&self) -> &str {
        self.field.text()
    }

    /// Returns whether the filter is being edited.
    pub fn editing(&self) -> bool {
        self.editing
    }

    /// Returns whether the line shows a filter.
    pub fn is_visible(&self) -> bool {
        self.editing || !self.field.is_empty()
    }

    /// Returns the mistakes in the filter.
    pub fn mistakes(&self) -> &[ParseError] {
        &self.mistakes
    }

    /// Starts editing.
    pub fn edit(&mut self, rows: &Rows) {
        if !self.editing {
            self.editing = true;
            self.before = self.field.text().to_owned();
            self.field.select_all();
        }
        self.update_completions(rows);
    }

    /// Ends editing and keeps the filter or restores the previous one. Returns whether the filter changed.
    pub fn end_edit(&mut self, keep: bool) -> bool {
        self.editing = false;
        self.field.deselect();
        self.completions.clear();
        let before = std::mem::take(&mut self.before);
        !keep && self.set(&before)
    }

    /// Handles a key. Returns whether the filter changed.
    pub fn key(&mut self, key: KeyEvent, rows: &Rows) -> bool {
        if self.field.handle(key) != FieldEvent::Changed {
            return false;
        }
        self.update_completions(rows);
        self.read()
    }

    /// Inserts pasted text as one line. Returns whether the filter changed.
    pub fn paste(&mut self, text: &str, rows: &Rows) -> bool {
        let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.field.paste(&line);
        self.update_completions(rows);
        self.read()
    }

    /// Sets the filter. Returns whether it changed.
    pub fn set(&mut self, text: &str) -> bool {
        self.field.set(text);
        self.read()
    }

    fn read(&mut self) -> bool {
        let (filter, mistakes) = Filter::parse(self.field.text());
        self.mistakes = mistakes;
        let changed = filter != self.filter;
        self.filter = filter;
        changed
    }

    fn update_completions(&mut self, rows: &Rows) {
        self.completions = filter::complete(self.field.head(), rows);
        self.inserted = None;
    }

    /// Inserts the next completion of the word under the cursor. Returns whether the filter changed.
    pub fn complete(&mut self, rows: &Rows) -> bool {
        let next = self.inserted.map_or(0, |at| at + 1);
        let Some(completion) = self.completions.get(next).or(self.completions.first()).cloned() else { return false };
        let at = if next < self.completions.len() { next } else { 0 };
        let before = self.field.head();
        let after = self.field.text().get(before.len()..).unwrap_or_default();
        let start = before.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let head = format!("{}{completion}", &before[..start]);
        let text = format!("{head}{after}");
        let changed = self.set(&text);
        self.field.put_cursor(head.len());
        if self.completions.len() == 1 {
            self.update_completions(rows);
        } else {
            self.inserted = Some(at);
        }
        changed
    }

    /// Returns how many rows below the line show the mistake, for this inner width.
    pub fn note_height(&self, wide: u16) -> u16 {
        self.note_rows(wide).len() as u16
    }

    /// Returns the mistakes, without those of the word that is being typed: it is not finished.
    fn shown_mistakes(&self) -> Cow<'_, [ParseError]> {
        let head = self.field.head();
        let start = head.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        if !self.editing || start == head.len() {
            return Cow::Borrowed(&self.mistakes);
        }
        let after = self.field.text().get(head.len()..).unwrap_or_default();
        Cow::Owned(Filter::parse(&format!("{}{after}", &head[..start])).1)
    }

    /// Wraps the first mistake. The correction is at its end, so the text is not cut.
    fn note_rows(&self, wide: u16) -> Vec<String> {
        let mistakes = self.shown_mistakes();
        let Some(mistake) = mistakes.first() else { return vec![] };
        let more = mistakes.len() - 1;
        let more = if more > 0 { format!("   and {more} more") } else { String::new() };
        wrap_some(&format!("✕ {mistake}{more}"), usize::from(wide.saturating_sub(2)), MOST_NOTES)
    }

    /// Draws the line and its mistake at the top of `area`. Shows `example` while the line is empty.
    pub fn draw(&mut self, example: &str, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let key = ctx.keys.key(&[Context::Global], Action::Filter).unwrap_or_default();
        let mut pen = Pen::new(buf, area, 0);
        ctx.hits.add(Rect { height: area.height.min(1), ..area }, Hit::Query);
        pen.skip(1).put(&key, theme.key).skip(1);
        let x = pen.x();
        if self.is_visible() {
            let field = Rect { x, width: area.right().saturating_sub(x + 1), height: area.height.min(1), ..area };
            self.field.draw(field, buf, theme.text, theme, self.editing && ctx.focused);
        } else {
            pen.put(example, theme.muted);
        }
        for (y, row) in (1..).zip(self.note_rows(area.width)) {
            Pen::new(buf, area, y).skip(1).put(&row, theme.fail);
        }
    }

    /// Draws the completions below the line, over everything else.
    pub fn draw_completions(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        if !self.editing || self.completions.is_empty() || area.height < 4 {
            return;
        }
        let first = self.inserted.map_or(0, |at| at.saturating_sub(SHOWN_COMPLETIONS - 1));
        let shown: Vec<&String> = self.completions.iter().skip(first).take(SHOWN_COMPLETIONS).collect();
        let wide = shown.iter().map(|completion| width(completion)).max().unwrap_or(0) + 2;
        let height = (shown.len() as u16).min(area.height.saturating_sub(2));
        // Below the word under the cursor, where there is room.
        let head = self.field.head();
        let word = head.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let x = (3 + width(&head[..word])).saturating_sub(1).min(area.width.saturating_sub(wide));
        let place = Rect { x: area.x + x, y: area.y + 1 + self.note_height(area.width), width: wide.min(area.width - x), height };
        clear(buf, place);
        for (y, completion) in shown.iter().take(usize::from(height)).enumerate() {
            let style = if self.inserted == Some(first + y) { theme.selection } else { theme.selection_idle };
            let mut pen = Pen::new(buf, place, y as u16);
            pen.fill(style).put(" ", style).put(completion, style);
        }
    }
}
