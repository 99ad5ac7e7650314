//! The JSON editor: a multi-line editor for arguments that checks syntax and schema with every key.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    widgets::Widget,
};
use tui_textarea::{CursorMove, TextArea};

use super::paint::{Pen, wrap_some};
use crate::{
    domain::{
        body::Body,
        json::{Json, SyntaxError, escape, pretty},
        schema::{Checker, Rule, Violation},
        text::{is_hidden, visible},
    },
    tui::theme::Theme,
};

/// Longer texts are checked on submit only, not with every key.
const LARGE: usize = 512 * 1024;
/// The most lines of problems.
const MESSAGE_ROWS: u16 = 3;

/// The outcome of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditorEvent {
    /// Nothing for the caller.
    None,
    /// The text changed.
    Changed,
    /// Send the text, which is valid (Alt+Enter, Ctrl+Enter or Ctrl+S).
    Submit,
    /// The text cannot be sent because it is invalid. The cursor is on the syntax error, if there is one.
    Refused,
    /// Leave the editor (Escape).
    Leave,
}

/// An editor for JSON text.
pub struct JsonEditor {
    area: TextArea<'static>,
    checker: Option<Checker>,
    syntax: Option<SyntaxError>,
    violations: Vec<Violation>,
    large: bool,
    /// Whether the check against the schema takes too long for every key.
    unchecked: bool,
}

impl JsonEditor {
    /// Creates an editor with an empty object. With `schema`, the text is checked against it.
    pub fn new(schema: Option<&Body>) -> JsonEditor {
        let checker = schema.map(Checker::quick);
        let mut editor =
            JsonEditor { area: TextArea::default(), checker, syntax: None, violations: vec![], large: false, unchecked: false };
        editor.set_text("{}");
        editor
    }

    /// Replaces the text and puts the cursor at its start. Invisible characters become JSON escapes.
    pub fn set_text(&mut self, text: &str) {
        self.area = TextArea::new(escape_hidden(text).split('\n').map(str::to_owned).collect());
        self.area.set_tab_length(2);
        self.area.set_max_histories(200);
        self.check();
    }

    /// Returns the text.
    pub fn text(&self) -> String {
        self.area.lines().join("\n")
    }

    /// Formats the text over several lines. Numbers and strings keep their notation. Invalid JSON is not changed, and the
    /// cursor goes to the syntax error.
    pub fn format(&mut self) -> Result<(), SyntaxError> {
        match pretty(&self.text()) {
            Ok(text) => {
                // As an edit, so that it can be undone.
                self.area.select_all();
                self.area.insert_str(text);
                self.area.move_cursor(CursorMove::Jump(0, 0));
                self.check();
                Ok(())
            }
            Err(error) => {
                self.check();
                self.to_problem();
                Err(error)
            }
        }
    }

    /// Returns the syntax error, if there is one.
    pub fn syntax(&self) -> Option<&SyntaxError> {
        self.syntax.as_ref()
    }

    /// Returns the violations of the schema.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Fails unless the text is a JSON object, whether it matches the schema or not.
    pub fn object(&self) -> Result<(), String> {
        match Json::parse(&self.text()) {
            Ok(Json::Object(_)) => Ok(()),
            Ok(_) => Err("the arguments must be a JSON object: { … }".into()),
            Err(error) => Err(format!("not valid JSON: {error}")),
        }
    }

    /// Returns whether the text can be sent.
    pub fn valid(&self) -> bool {
        self.syntax.is_none() && self.violations.is_empty()
    }

    /// Moves the cursor to the syntax error, if there is one.
    pub fn to_problem(&mut self) {
        if let Some(error) = &self.syntax {
            let place = |n: usize| u16::try_from(n.saturating_sub(1)).unwrap_or(u16::MAX);
            self.area.move_cursor(CursorMove::Jump(place(error.line), place(error.column)));
        }
    }

    /// Handles a key.
    pub fn handle(&mut self, key: KeyEvent) -> EditorEvent {
        let modified = key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT);
        let changed = match key.code {
            _ if key.kind == KeyEventKind::Release => false,
            KeyCode::Esc => return EditorEvent::Leave,
            KeyCode::Enter if modified => return self.submit(),
            KeyCode::Char('s') if key.modifiers == KeyModifiers::CONTROL => return self.submit(),
            KeyCode::Enter => self.new_line(),
            KeyCode::Char(c) if !modified && is_hidden(c) => self.area.insert_str(escape_hidden(c.encode_utf8(&mut [0; 4]))),
            _ => self.area.input(key),
        };
        if changed {
            self.check_soon();
        }
        if changed { EditorEvent::Changed } else { EditorEvent::None }
    }

    /// Inserts pasted text.
    pub fn paste(&mut self, text: &str) -> EditorEvent {
        if text.is_empty() || !self.area.insert_str(escape_hidden(text)) {
            return EditorEvent::None;
        }
        self.check_soon();
        EditorEvent::Changed
    }

    /// Undoes the last change.
    pub fn undo(&mut self) -> EditorEvent {
        if !self.area.undo() {
            return EditorEvent::None;
        }
        self.check_soon();
        EditorEvent::Changed
    }

    /// Submits the text if it is valid, else goes to the syntax error.
    pub fn submit(&mut self) -> EditorEvent {
        self.check();
        if self.valid() {
            return EditorEvent::Submit;
        }
        self.to_problem();
        EditorEvent::Refused
    }

    /// Inserts a line with the indentation of the previous one, deeper after an opening bracket.
    fn new_line(&mut self) -> bool {
        let cursor = self.area.cursor();
        let line: String = self.area.lines().get(cursor.0).map(|line| line.chars().take(cursor.1).collect()).unwrap_or_default();
        let indent = line.chars().take_while(|c| *c == ' ').count() + if line.trim_end().ends_with(['{', '[']) { 2 } else { 0 };
        self.area.insert_str(format!("\n{}", " ".repeat(indent)))
    }

    fn check_soon(&mut self) {
        let length: usize = self.area.lines().iter().map(|line| line.len() + 1).sum();
        self.large = length > LARGE;
        if self.large {
            (self.syntax, self.violations) = (None, vec![]);
        } else {
            self.check();
        }
    }

    fn check(&mut self) {
        let text = self.text();
        self.large = false;
        self.syntax = Json::parse(&text).err();
        self.violations.clear();
        self.unchecked = false;
        if let (None, Some(checker)) = (&self.syntax, &self.checker) {
            match serde_json::from_str(&text) {
                Ok(value) => match checker.glance(&value) {
                    Ok(found) => self.violations = found,
                    Err(_) => self.unchecked = true,
                },
                Err(error) => self.violations.push(Violation {
                    path: String::new(),
                    rule: Rule::Other,
                    message: format!("cannot be checked: {error}"),
                    nearest: vec![],
                }),
            }
        }
    }

    /// Draws the text and the problems below it.
    pub fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme, focused: bool) {
        let area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        let messages = self.messages(usize::from(area.width), theme);
        let foot = if area.height > 3 { (messages.len() as u16).min(MESSAGE_ROWS).min(area.height - 2) } else { 0 };
        let body = Rect { height: area.height - foot, ..area };
        self.area.set_style(theme.text);
        self.area.set_cursor_line_style(Style::new());
        self.area.set_selection_style(theme.selection);
        self.area.set_cursor_style(if focused { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() });
        let numbers = area.width >= 40;
        if numbers {
            self.area.set_line_number_style(theme.muted)
        } else {
            self.area.remove_line_number()
        }
        (&self.area).render(body, buf);
        let (top, left) = self.area.scroll_offset();
        if left == 0 {
            let gutter = if numbers { self.area.line_number_width() } else { 0 };
            self.colour(body, gutter, buf, theme);
        }
        if let Some(error) = &self.syntax
            && let Some(row) = (error.line - 1).checked_sub(usize::from(top)).filter(|row| *row < usize::from(body.height))
            && numbers
        {
            Pen::new(buf, Rect { width: 1, ..body }, row as u16).put("✕", theme.fail);
        }
        for (row, (text, style)) in messages.into_iter().take(usize::from(foot)).enumerate() {
            Pen::new(buf, area, body.height + row as u16).cut(&text, style);
        }
    }

    fn messages(&self, room: usize, theme: &Theme) -> Vec<(String, Style)> {
        if let Some(error) = &self.syntax {
            return wrap_some(&format!("✕ {error}"), room.max(1), 2).into_iter().map(|line| (line, theme.fail)).collect();
        }
        if self.large {
            return vec![("! too long to check while typing".into(), theme.warn)];
        }
        let mut lines: Vec<_> =
            self.violations.iter().take(MESSAGE_ROWS.into()).map(|v| (format!("✕ {}", visible(&v.to_string())), theme.fail)).collect();
        let rest = self.violations.len().saturating_sub(lines.len());
        if rest > 0
            && let Some((last, _)) = lines.last_mut()
        {
            *last = format!("✕ and {} more", rest + 1);
        }
        if lines.is_empty() {
            let problem = self.checker.as_ref().and_then(Checker::unchecked);
            lines.push(match (problem, &self.checker) {
                (None, Some(_)) if self.unchecked => ("! too complex to check while typing".into(), theme.warn),
                (Some(problem), _) => (format!("! not checked: {}", visible(&problem)), theme.warn),
                (None, Some(_)) => ("✓ valid".into(), theme.ok),
                (None, None) => ("✓ valid JSON".into(), theme.ok),
            });
        }
        lines
    }

    /// Colours the drawn rows. A JSON string never spans lines, so each row is coloured on its own.
    fn colour(&self, area: Rect, gutter: u16, buf: &mut Buffer, theme: &Theme) {
        for y in area.top()..area.bottom() {
            let mut x = area.x.saturating_add(gutter);
            while x < area.right() {
                let symbol = |x: u16| buf.cell((x, y)).map_or(" ", |cell| cell.symbol());
                let first = symbol(x).chars().next().unwrap_or(' ');
                let mut end = x + 1;
                let style = if first == '"' {
                    while end < area.right() && symbol(end) != "\"" {
                        end += if symbol(end) == "\\" { 2 } else { 1 };
                    }
                    end = end.saturating_add(1).min(area.right());
                    let colon = (end..area.right()).map(symbol).find(|s| *s != " ") == Some(":");
                    if colon { theme.json_key } else { theme.json_string }
                } else {
                    while end < area.right()
                        && first.is_ascii_alphanumeric()
                        && symbol(end).bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
                    {
                        end += 1;
                    }
                    match first {
                        '-' | '0'..='9' => theme.json_number,
                        'a'..='z' => theme.json_word,
                        _ => theme.muted,
                    }
                };
                for x in x..end {
                    if let Some(cell) = buf.cell_mut((x, y)) {
                        let over = cell.modifier;
                        cell.set_style(style.add_modifier(over));
                    }
                }
                x = end;
            }
        }
    }
}

/// Replaces invisible characters with JSON escapes.
fn escape_hidden(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => out.push('\n'),
            // Terminals paste a carriage return for a line end. It is white space in JSON.
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => out.push('\n'),
            '\t' => out.push_str("  "),
            c if is_hidden(c) => escape(c, &mut out),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCHEMA: &str = r#"{"type":"object","properties":{"level":{"enum":["a","b"]},"n":{"type":"integer"}},"required":["n"]}"#;

    fn editor() -> JsonEditor {
        JsonEditor::new(Some(&Body::from(SCHEMA)))
    }

    fn screen(editor: &mut JsonEditor, width: u16, height: u16) -> String {
        let area = Rect::new(0, 0, width, height);
        let mut buf = Buffer::empty(area);
        editor.draw(area, &mut buf, &Theme::mono(), true);
        crate::tui::widget::test_screen::text_of(&buf)
    }

    fn press(editor: &mut JsonEditor, code: KeyCode, modifiers: KeyModifiers) -> EditorEvent {
        editor.handle(KeyEvent::new(code, modifiers))
    }

    #[test]
    fn schema_violations_are_listed() {
        let mut editor = editor();
        editor.set_text(r#"{"level":"zzz","n":1.50}"#);
        assert_eq!(editor.format(), Ok(()));
        insta::assert_snapshot!(screen(&mut editor, 60, 8), @r#"
         1 {
         2   "level": "zzz",
         3   "n": 1.50
         4 }


        ✕ /level: expected "a" or "b", got "zzz"
        ✕ /n: expected an integer, got 1.5
        "#);
        assert_eq!(press(&mut editor, KeyCode::Enter, KeyModifiers::ALT), EditorEvent::Refused);
        editor.set_text(r#"{"n":12345678901234567890123}"#);
        editor.format().unwrap();
        assert!(editor.text().contains("12345678901234567890123"));
    }

    #[test]
    fn a_syntax_error_names_its_place_and_the_cursor_goes_there() {
        let mut editor = editor();
        editor.set_text("{\n  \"n\": 1,\n  oops\n}");
        insta::assert_snapshot!(screen(&mut editor, 60, 6), @r#"
         1 {
         2   "n": 1,
        ✕3   oops
         4 }

        ✕ line 3, column 3: expected a key in double quotes
        "#);
        assert!(editor.format().is_err());
        press(&mut editor, KeyCode::Char('"'), KeyModifiers::NONE);
        assert!(editor.text().contains("  \"oops"));
    }

    #[test]
    fn lines_keep_their_depth() {
        let mut editor = editor();
        editor.set_text("");
        for c in "{\n\"n\": [\n1".chars() {
            press(&mut editor, if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) }, KeyModifiers::NONE);
        }
        assert_eq!(editor.text(), "{\n  \"n\": [\n    1");
        assert!(editor.syntax().is_some());
        editor.paste("]\r\n}");
        assert_eq!((editor.syntax(), editor.violations().len()), (None, 1));
    }

    #[test]
    fn pasted_json_may_have_any_line_ends() {
        for end in ["\n", "\r", "\r\n"] {
            let mut editor = editor();
            editor.set_text("");
            editor.paste(&["{", "  \"n\": 1,", "  \"x\": \"a\\rb\"", "}"].join(end));
            assert_eq!(editor.text(), "{\n  \"n\": 1,\n  \"x\": \"a\\rb\"\n}", "{end:?}");
            assert!(editor.valid(), "{end:?}");
        }
    }

    #[test]
    fn formatting_can_be_undone() {
        let mut editor = editor();
        editor.set_text(r#"{"n":1,"x":{}}"#);
        editor.format().unwrap();
        press(&mut editor, KeyCode::Char('u'), KeyModifiers::CONTROL);
        press(&mut editor, KeyCode::Char('u'), KeyModifiers::CONTROL);
        assert_eq!(editor.text(), r#"{"n":1,"x":{}}"#);
    }

    #[test]
    fn hidden_characters_are_written_as_escapes() {
        let mut editor = editor();
        editor.set_text("{\"n\":1,\"a\":\"x\u{202e}\u{e0041}y\"}");
        assert_eq!(editor.text(), r#"{"n":1,"a":"x\u202e\udb40\udc41y"}"#);
        assert!(editor.valid());
    }

    proptest! {
        #[test]
        fn any_keys_at_any_size(steps in prop::collection::vec((0..22usize, any::<bool>(), 0u16..41, 0u16..13), 0..40)) {
            let mut editor = editor();
            for (key, control, width, height) in steps {
                let code = match "{}[]\":,1a日\u{301}".chars().nth(key) {
                    Some(c) => KeyCode::Char(c),
                    None => [KeyCode::Enter, KeyCode::Tab, KeyCode::Backspace, KeyCode::Up, KeyCode::Down, KeyCode::Left, KeyCode::PageDown, KeyCode::Delete][key % 8],
                };
                press(&mut editor, code, if control { KeyModifiers::CONTROL } else { KeyModifiers::NONE });
                screen(&mut editor, width, height);
            }
        }
    }
}
