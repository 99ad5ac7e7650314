//! The text field: a single-line editor for filters, prompts and form fields.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};
use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use super::paint::{Pen, width};
use crate::{domain::text::visible, tui::theme::Theme};

/// The outcome of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldEvent {
    /// The key is not one of the text field's.
    Ignored,
    /// The text did not change; the cursor may have moved.
    Moved,
    /// The text changed.
    Changed,
}

/// A line of text with a cursor, which is always on a grapheme boundary.
#[derive(Clone, Debug, Default)]
pub struct TextField {
    text: String,
    cursor: usize,
    scroll: usize,
    mask: Option<char>,
    /// Whether the whole text is selected: the next text replaces it.
    selected: bool,
}

impl TextField {
    /// Creates a field with `text` and the cursor after it.
    pub fn new(text: impl Into<String>) -> TextField {
        let text = text.into();
        TextField { cursor: text.len(), text, ..TextField::default() }
    }

    /// Creates a field with a proposed `text`, fully selected: the first input replaces it.
    pub fn proposed(text: impl Into<String>) -> TextField {
        let mut field = TextField::new(text);
        field.select_all();
        field
    }

    /// Shows `mask` for every character.
    #[must_use]
    pub fn masked(mut self, mask: char) -> TextField {
        self.mask = Some(mask);
        self
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Replaces the text, puts the cursor after it and removes the selection.
    pub fn set(&mut self, text: impl Into<String>) {
        self.text = text.into();
        (self.cursor, self.scroll, self.selected) = (self.text.len(), 0, false);
    }

    /// Selects the whole text and puts the cursor after it.
    pub fn select_all(&mut self) {
        (self.cursor, self.selected) = (self.text.len(), !self.text.is_empty());
    }

    /// Removes the selection and leaves the text.
    pub fn deselect(&mut self) {
        self.selected = false;
    }

    /// Returns whether the text is selected.
    pub fn is_selected(&self) -> bool {
        self.selected
    }

    /// Returns the text before the cursor.
    pub fn head(&self) -> &str {
        self.text.get(..self.cursor).unwrap_or(&self.text)
    }

    /// Puts the cursor at a byte offset, or at the end of the text if the offset is inside a character.
    pub fn put_cursor(&mut self, at: usize) {
        self.selected = false;
        self.cursor = if self.text.is_char_boundary(at) { at } else { self.text.len() };
    }

    /// Returns whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Inserts text at the cursor unchanged, including line ends. Replaces selected text.
    pub fn paste(&mut self, text: &str) -> FieldEvent {
        if text.is_empty() {
            return FieldEvent::Moved;
        }
        if self.selected {
            self.set("");
        }
        self.text.insert_str(self.cursor, text);
        self.cursor = self.boundary_after(self.cursor + text.len());
        FieldEvent::Changed
    }

    /// Handles a key: letters, cursor and word movement, deletion. Ignores Enter, Escape, Tab, Up and Down.
    pub fn handle(&mut self, key: KeyEvent) -> FieldEvent {
        if key.kind == KeyEventKind::Release {
            return FieldEvent::Ignored;
        }
        if self.selected {
            return self.on_selection(key);
        }
        self.edit(key)
    }

    /// Handles a key while the text is selected, as browsers do: a deletion empties the field, a movement removes the
    /// selection.
    fn on_selection(&mut self, key: KeyEvent) -> FieldEvent {
        if deletes(key) {
            self.set("");
            return FieldEvent::Changed;
        }
        if key.code == KeyCode::Left && key.modifiers.is_empty() {
            self.selected = false;
            return self.go(0);
        }
        // A letter is inserted by `paste`, which replaces the selection.
        let event = self.edit(key);
        if event == FieldEvent::Moved {
            self.selected = false;
        }
        event
    }

    fn edit(&mut self, key: KeyEvent) -> FieldEvent {
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
        // The text before and after may form one grapheme now.
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

    /// Draws the text in the first row of `area`, with a cursor when `focused`, scrolled so that the cursor is visible.
    ///
    /// Reads only the text near the cursor, so that the cost does not depend on the length.
    pub fn draw(&mut self, area: Rect, buf: &mut Buffer, style: Style, theme: &Theme, focused: bool) {
        let room = usize::from(area.width);
        if room == 0 || area.height == 0 {
            return;
        }
        self.scroll = if focused { self.scrolled(room) } else { 0 };
        let (mut pen, mut at) = (Pen::new(buf, area, 0), self.scroll);
        while at < self.text.len() && pen.room() > 0 {
            let next = self.after(at);
            let (cell, escaped) = self.cell(at, next);
            let style = if escaped { style.patch(theme.warn) } else { style };
            let highlighted = focused && (self.selected || at == self.cursor);
            if usize::from(width(&cell)) > pen.room() && at != self.cursor {
                break;
            }
            pen.put(&cell, if highlighted { style.add_modifier(Modifier::REVERSED) } else { style });
            at = next;
        }
        if focused && self.cursor == self.text.len() {
            pen.put(" ", style.add_modifier(Modifier::REVERSED));
        }
        marks(area, buf, self.scroll > 0, at < self.text.len(), theme);
    }

    /// Returns the byte offset of the first visible character in `room` cells.
    fn scrolled(&self, room: usize) -> usize {
        let mut scroll = self.scroll.min(self.cursor);
        while !self.text.is_char_boundary(scroll) {
            scroll -= 1;
        }
        if self.boundary_after(scroll) != scroll {
            scroll = self.before(scroll);
        }
        let under = if self.cursor < self.text.len() { usize::from(width(&self.cell(self.cursor, self.after(self.cursor)).0)) } else { 1 };
        // Keeps the cursor visible, and leaves no empty cells at the end.
        scroll.max(self.back(self.cursor, room.saturating_sub(under))).min(self.back(self.text.len(), room.saturating_sub(1)))
    }

    /// Returns the byte offset `cells` cells before `at`.
    fn back(&self, mut at: usize, mut cells: usize) -> usize {
        while at > 0 {
            let before = self.before(at);
            match cells.checked_sub(usize::from(width(&self.cell(before, at).0))) {
                Some(left) => (cells, at) = (left, before),
                None => break,
            }
        }
        at
    }

    /// Returns a character as shown, and whether it was escaped.
    fn cell(&self, from: usize, to: usize) -> (String, bool) {
        let grapheme = &self.text[from..to];
        match self.mask {
            Some(mask) => (mask.to_string(), false),
            None => {
                let shown = visible(grapheme);
                let escaped = shown != grapheme;
                (shown.into_owned(), escaped)
            }
        }
    }
}

/// Returns whether a key deletes text.
fn deletes(key: KeyEvent) -> bool {
    let (control, alt) = (key.modifiers.contains(KeyModifiers::CONTROL), key.modifiers.contains(KeyModifiers::ALT));
    match key.code {
        KeyCode::Backspace | KeyCode::Delete => true,
        KeyCode::Char('h' | 'd' | 'w' | 'u' | 'k') if control && !alt => true,
        KeyCode::Char('d') => alt && !control,
        _ => false,
    }
}

/// Marks hidden text to the left and right.
fn marks(area: Rect, buf: &mut Buffer, left: bool, right: bool, theme: &Theme) {
    if area.width < 3 {
        return;
    }
    for (more, x, mark) in [(left, area.x, "‹"), (right, area.right() - 1, "›")] {
        let cell = buf.cell((x, area.y)).filter(|_| more);
        // Skipped where it would cut a wide character in half or hide the cursor.
        if cell.is_some_and(|cell| usize::from(width(cell.symbol())) == 1 && !cell.modifier.contains(Modifier::REVERSED)) {
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

    #[test]
    fn a_proposed_text_is_replaced_by_what_is_typed_or_pasted() {
        let (no, ctrl, alt) = (KeyModifiers::NONE, KeyModifiers::CONTROL, KeyModifiers::ALT);
        for (code, modifiers, left) in [
            (KeyCode::Char('5'), no, "5"),
            (KeyCode::Enter, alt, "\n"),
            (KeyCode::Backspace, no, ""),
            (KeyCode::Delete, no, ""),
            (KeyCode::Backspace, alt, ""),
            (KeyCode::Char('w'), ctrl, ""),
            (KeyCode::Char('u'), ctrl, ""),
            (KeyCode::Char('d'), alt, ""),
        ] {
            let mut field = TextField::proposed("100");
            assert_eq!(press(&mut field, code, modifiers), FieldEvent::Changed);
            assert_eq!((field.text(), field.is_selected()), (left, false), "{code:?} {modifiers:?}");
        }
        let mut field = TextField::proposed("100");
        field.paste("25");
        field.paste("0");
        assert_eq!(field.text(), "250");
    }

    #[test]
    fn a_movement_keeps_a_proposed_text() {
        for (code, typed) in [(KeyCode::Left, "x100"), (KeyCode::Right, "100x"), (KeyCode::Home, "x100"), (KeyCode::End, "100x")] {
            let mut field = TextField::proposed("100");
            assert_eq!(press(&mut field, code, KeyModifiers::NONE), FieldEvent::Moved);
            assert_eq!((field.text(), field.is_selected()), ("100", false));
            press(&mut field, KeyCode::Char('x'), KeyModifiers::NONE);
            assert_eq!(field.text(), typed, "{code:?}");
        }
        let mut field = TextField::proposed("100");
        for code in [KeyCode::Tab, KeyCode::Enter, KeyCode::Esc, KeyCode::Up] {
            assert_eq!(press(&mut field, code, KeyModifiers::NONE), FieldEvent::Ignored);
            assert!(field.is_selected(), "{code:?} is not the field's");
        }
        assert!(!TextField::proposed("").is_selected(), "there is nothing to select");
    }

    #[test]
    fn a_selection_is_seen_without_colours() {
        let area = Rect::new(0, 0, 8, 1);
        let reversed = |field: &mut TextField| {
            let mut buf = Buffer::empty(area);
            field.draw(area, &mut buf, Style::new(), &Theme::mono(), true);
            (0..8).filter(|x| buf[(*x, 0)].modifier.contains(Modifier::REVERSED)).count()
        };
        let mut field = TextField::proposed("100");
        assert_eq!(reversed(&mut field), 4, "the text and the cursor");
        press(&mut field, KeyCode::End, KeyModifiers::NONE);
        assert_eq!(reversed(&mut field), 1, "the cursor");
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
