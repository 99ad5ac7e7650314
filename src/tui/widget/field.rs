//! One line of text being entered: the filter, and the fields of a form.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use super::line::{Pen, width};
use crate::{domain::text::visible, tui::theme::Theme};

/// What came of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldEvent {
    /// Nothing: the key is not for a text field.
    Ignored,
    /// The cursor moved, perhaps.
    Moved,
    /// The text changed.
    Changed,
}

/// A line of text with a cursor, which never stands inside a character as people see them.
#[derive(Clone, Debug, Default)]
pub struct TextField {
    text: String,
    cursor: usize,
    scroll: usize,
    mask: Option<char>,
}

impl TextField {
    /// A field with `text`, the cursor after it.
    pub fn new(text: impl Into<String>) -> TextField {
        let text = text.into();
        TextField { cursor: text.len(), text, ..TextField::default() }
    }

    /// The same, showing `mask` for every character.
    #[must_use]
    pub fn masked(mut self, mask: char) -> TextField {
        self.mask = Some(mask);
        self
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Replaces the text; the cursor stands after it.
    pub fn set(&mut self, text: impl Into<String>) {
        self.text = text.into();
        (self.cursor, self.scroll) = (self.text.len(), 0);
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Inserts text at the cursor as it is, line ends included.
    pub fn paste(&mut self, text: &str) -> FieldEvent {
        if text.is_empty() {
            return FieldEvent::Moved;
        }
        self.text.insert_str(self.cursor, text);
        self.cursor = self.boundary_after(self.cursor + text.len());
        FieldEvent::Changed
    }

    /// Takes a key: letters, cursor and word movement, deletion. Enter, Escape, Tab, Up and Down are not its own.
    pub fn handle(&mut self, key: KeyEvent) -> FieldEvent {
        if key.kind == KeyEventKind::Release {
            return FieldEvent::Ignored;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        let word = control || alt;
        match key.code {
            KeyCode::Char(c) if control && alt || !word => self.paste(c.encode_utf8(&mut [0; 4])),
            KeyCode::Enter if alt => self.paste("\n"),
            KeyCode::Left if word => self.go(self.word_before()),
            KeyCode::Right if word => self.go(self.word_after()),
            KeyCode::Left => self.go(self.before(self.cursor)),
            KeyCode::Right => self.go(self.after(self.cursor)),
            KeyCode::Home => self.go(0),
            KeyCode::End => self.go(self.text.len()),
            KeyCode::Backspace if word => self.delete(self.word_before(), self.cursor),
            KeyCode::Backspace => self.delete(self.before(self.cursor), self.cursor),
            KeyCode::Delete if word => self.delete(self.cursor, self.word_after()),
            KeyCode::Delete => self.delete(self.cursor, self.after(self.cursor)),
            KeyCode::Char(c) if control => self.control(c),
            KeyCode::Char('b') => self.go(self.word_before()),
            KeyCode::Char('f') => self.go(self.word_after()),
            KeyCode::Char('d') => self.delete(self.cursor, self.word_after()),
            _ => FieldEvent::Ignored,
        }
    }

    fn control(&mut self, c: char) -> FieldEvent {
        match c {
            'a' => self.go(0),
            'e' => self.go(self.text.len()),
            'b' => self.go(self.before(self.cursor)),
            'f' => self.go(self.after(self.cursor)),
            'h' => self.delete(self.before(self.cursor), self.cursor),
            'd' => self.delete(self.cursor, self.after(self.cursor)),
            'w' => self.delete(self.word_before(), self.cursor),
            'u' => self.delete(0, self.cursor),
            'k' => self.delete(self.cursor, self.text.len()),
            _ => FieldEvent::Ignored,
        }
    }

    fn go(&mut self, to: usize) -> FieldEvent {
        self.cursor = to;
        FieldEvent::Moved
    }

    fn delete(&mut self, from: usize, to: usize) -> FieldEvent {
        if from >= to {
            return FieldEvent::Moved;
        }
        self.text.replace_range(from..to, "");
        // What was before and after may be one character now.
        self.cursor = self.boundary_after(from);
        FieldEvent::Changed
    }

    fn before(&self, at: usize) -> usize {
        GraphemeCursor::new(at, self.text.len(), true).prev_boundary(&self.text, 0).ok().flatten().unwrap_or(0)
    }

    fn after(&self, at: usize) -> usize {
        GraphemeCursor::new(at, self.text.len(), true).next_boundary(&self.text, 0).ok().flatten().unwrap_or(self.text.len())
    }

    fn boundary_after(&self, at: usize) -> usize {
        let mut cursor = GraphemeCursor::new(at, self.text.len(), true);
        if cursor.is_boundary(&self.text, 0).unwrap_or(true) { at } else { self.after(at) }
    }

    fn word_before(&self) -> usize {
        let words = self.text[..self.cursor].split_word_bound_indices();
        words.rev().find(|(_, word)| word.chars().any(char::is_alphanumeric)).map_or(0, |(at, _)| at)
    }

    fn word_after(&self) -> usize {
        let mut words = self.text[self.cursor..].split_word_bound_indices();
        words.find(|(_, word)| word.chars().any(char::is_alphanumeric)).map_or(self.text.len(), |(at, word)| self.cursor + at + word.len())
    }

    /// Draws the text in the first row of `area`, with a cursor when `focused`, scrolled so that the cursor is seen.
    pub fn draw(&mut self, area: Rect, buf: &mut Buffer, style: Style, theme: &Theme, focused: bool) {
        let room = usize::from(area.width);
        if room == 0 || area.height == 0 {
            return;
        }
        let (cells, cursor) = self.cells();
        let total = cells.last().map_or(0, |(at, cell, _)| at + width(cell));
        let at = cells.get(cursor).map_or(total, |(at, _, _)| *at);
        let wide = cells.get(cursor).map_or(1, |(_, cell, _)| width(cell).max(1));
        if focused {
            self.scroll = self.scroll.min(at);
            if at + wide > self.scroll + room {
                self.scroll = (at + wide).saturating_sub(room);
            }
            // No empty cells at the end while there is more at the start.
            self.scroll = self.scroll.min((total + 1).saturating_sub(room));
        } else {
            self.scroll = 0;
        }
        let mut pen = Pen::new(buf, area, 0);
        let mut column = self.scroll;
        for (index, (start, cell, odd)) in cells.iter().enumerate() {
            if *start < self.scroll {
                continue;
            }
            pen.skip(start.saturating_sub(column));
            let style = if *odd { style.patch(theme.warn) } else { style };
            pen.put(cell, if focused && index == cursor { style.add_modifier(Modifier::REVERSED) } else { style });
            column = start + width(cell);
        }
        if focused && cursor == cells.len() {
            pen.put(" ", style.add_modifier(Modifier::REVERSED));
        }
        marks(area, buf, self.scroll > 0, total > self.scroll + room && !(focused && at + wide >= total), theme);
    }

    /// Column, text and oddity of each character as shown, and which one the cursor is on.
    fn cells(&self) -> (Vec<(usize, String, bool)>, usize) {
        let (mut cells, mut column, mut cursor) = (vec![], 0, None);
        for (at, grapheme) in self.text.grapheme_indices(true) {
            if at == self.cursor {
                cursor = Some(cells.len());
            }
            let shown = match self.mask {
                Some(mask) => mask.to_string(),
                None => visible(grapheme).into_owned(),
            };
            let odd = self.mask.is_none() && shown != grapheme;
            let cells_wide = width(&shown);
            cells.push((column, shown, odd));
            column += cells_wide;
        }
        let cursor = cursor.unwrap_or(cells.len());
        (cells, cursor)
    }
}

/// Marks that there is more to the left and right.
fn marks(area: Rect, buf: &mut Buffer, left: bool, right: bool, theme: &Theme) {
    if area.width < 3 {
        return;
    }
    for (more, x, mark) in [(left, area.x, "‹"), (right, area.right() - 1, "›")] {
        let cell = buf.cell((x, area.y)).filter(|_| more);
        // Half a wide character would be left beside the mark; the cursor is worth more too.
        if cell.is_some_and(|cell| width(cell.symbol()) == 1 && !cell.modifier.contains(Modifier::REVERSED)) {
            buf.set_string(x, area.y, mark, theme.muted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn press(field: &mut TextField, code: KeyCode, modifiers: KeyModifiers) -> FieldEvent {
        field.handle(KeyEvent::new(code, modifiers))
    }

    fn shown(field: &mut TextField, width: u16) -> String {
        let area = Rect::new(0, 0, width, 1);
        let mut buf = Buffer::empty(area);
        field.draw(area, &mut buf, Style::new(), &Theme::mono(), true);
        (0..width).map(|x| buf[(x, 0)].symbol().to_owned()).collect()
    }

    #[test]
    fn the_cursor_steps_over_whole_characters() {
        let mut field = TextField::new("a👩‍👩‍👧é");
        press(&mut field, KeyCode::Left, KeyModifiers::NONE);
        press(&mut field, KeyCode::Backspace, KeyModifiers::NONE);
        assert_eq!(field.text(), "aé");
        press(&mut field, KeyCode::Delete, KeyModifiers::NONE);
        assert_eq!(field.text(), "a");
    }

    #[test]
    fn words_and_lines_are_deleted() {
        let mut field = TextField::new("one two-three four");
        assert_eq!(press(&mut field, KeyCode::Char('w'), KeyModifiers::CONTROL), FieldEvent::Changed);
        assert_eq!(field.text(), "one two-three ");
        press(&mut field, KeyCode::Left, KeyModifiers::CONTROL);
        press(&mut field, KeyCode::Char('k'), KeyModifiers::CONTROL);
        assert_eq!(field.text(), "one two-");
        press(&mut field, KeyCode::Char('u'), KeyModifiers::CONTROL);
        assert!(field.is_empty());
        assert_eq!(press(&mut field, KeyCode::Enter, KeyModifiers::NONE), FieldEvent::Ignored);
    }

    #[test]
    fn a_long_text_scrolls_and_says_so() {
        let mut field = TextField::new("abcdefghijkl");
        assert_eq!(shown(&mut field, 6), "‹ijkl ");
        press(&mut field, KeyCode::Home, KeyModifiers::NONE);
        assert_eq!(shown(&mut field, 6), "abcde›");
        let mut secret = TextField::new("geheim").masked('•');
        assert_eq!(shown(&mut secret, 8), "••••••  ");
    }

    #[test]
    fn what_would_control_the_terminal_is_shown() {
        let mut field = TextField::default();
        field.paste("a\x1b[2J\nb");
        assert_eq!(field.text(), "a\x1b[2J\nb");
        assert_eq!(shown(&mut field, 14).trim_end(), r"a\x1b[2J\nb");
    }

    proptest! {
        #[test]
        fn any_keys_at_any_size(text in "[a\u{301}日👩\u{200d}\n]{0,8}", keys in prop::collection::vec((0..12usize, any::<bool>()), 0..30), width in 0u16..12) {
            let mut field = TextField::new(text);
            let codes = [KeyCode::Left, KeyCode::Right, KeyCode::Home, KeyCode::End, KeyCode::Backspace, KeyCode::Delete,
                KeyCode::Char('x'), KeyCode::Char('\u{301}'), KeyCode::Char('w'), KeyCode::Char('日'), KeyCode::Char('\u{200d}'), KeyCode::Char('d')];
            for (index, control) in keys {
                press(&mut field, codes[index], if control { KeyModifiers::CONTROL } else { KeyModifiers::NONE });
                prop_assert!(field.text.is_char_boundary(field.cursor));
                shown(&mut field, width);
            }
        }
    }
}
