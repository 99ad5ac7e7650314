//! Thin stand-ins while the real widgets are written; replaced before merging.
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{buffer::Buffer, layout::Rect};

use super::{theme::Theme, widget::paint::Pen};
use crate::domain::{body::Body, schema::{Checker, Violation}};

/// View of a text.
#[derive(Default)]
pub struct JsonView { lines: Vec<String>, top: usize }
impl JsonView {
    /// JSON.
    pub fn json(body: Body) -> Self {
        let text = body.value().and_then(|v| serde_json::to_string_pretty(&v).ok()).unwrap_or_else(|| body.text().into_owned());
        Self::text(text)
    }
    /// Text.
    pub fn text(text: impl Into<String>) -> Self { Self { lines: text.into().lines().map(str::to_owned).collect(), top: 0 } }
    /// Key.
    pub fn handle(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Up => self.top = self.top.saturating_sub(1),
            KeyCode::Down => self.top = (self.top + 1).min(self.lines.len().saturating_sub(1)),
            _ => {}
        }
    }
    /// Draw.
    pub fn draw(&self, area: Rect, buf: &mut Buffer, theme: &Theme, _focused: bool) {
        for (y, line) in self.lines.iter().skip(self.top).take(usize::from(area.height)).enumerate() {
            Pen::new(buf, area, y as u16).put(line, theme.text);
        }
    }
}

/// What a form says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormEvent { /// nothing
 None, /// changed
 Changed, /// submit
 Submit, /// leave
 Leave }

/// Form.
pub struct FormView { schema: Body, names: Vec<String>, values: Vec<String>, at: usize }
impl FormView {
    /// New.
    pub fn new(schema: &Body) -> Self {
        let names: Vec<String> = schema.value().and_then(|v| v.get("properties").and_then(|p| p.as_object().map(|o| o.keys().cloned().collect()))).unwrap_or_default();
        Self { schema: schema.clone(), values: vec![String::new(); names.len()], names, at: 0 }
    }
    /// Key.
    pub fn handle(&mut self, key: KeyEvent) -> FormEvent {
        let Some(value) = self.values.get_mut(self.at) else { return if key.code == KeyCode::Enter { FormEvent::Submit } else { FormEvent::None } };
        match key.code {
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::CONTROL) => { value.push(c); FormEvent::Changed }
            KeyCode::Backspace => { value.pop(); FormEvent::Changed }
            KeyCode::Down => { self.at = (self.at + 1).min(self.values.len() - 1); FormEvent::None }
            KeyCode::Up => { self.at = self.at.saturating_sub(1); FormEvent::None }
            KeyCode::Enter => FormEvent::Submit,
            KeyCode::Esc => FormEvent::Leave,
            _ => FormEvent::None,
        }
    }
    /// JSON.
    pub fn json(&self) -> Body {
        let map: serde_json::Map<String, serde_json::Value> = self.names.iter().zip(&self.values).filter(|(_, v)| !v.is_empty())
            .map(|(n, v)| (n.clone(), serde_json::from_str(v).unwrap_or_else(|_| v.clone().into()))).collect();
        Body::json(&map)
    }
    /// Set.
    pub fn set_json(&mut self, body: &Body) {
        let Some(value) = body.value() else { return };
        for (name, slot) in self.names.iter().zip(&mut self.values) {
            *slot = match value.get(name) { Some(serde_json::Value::String(s)) => s.clone(), Some(v) => v.to_string(), None => String::new() };
        }
    }
    /// Violations.
    pub fn violations(&self) -> Vec<Violation> {
        let json = self.json();
        json.value().map(|v| Checker::new(&self.schema).check(&v)).unwrap_or_default()
    }
    /// Typing.
    pub fn wants_text(&self) -> bool { !self.names.is_empty() }
    /// Draw.
    pub fn draw(&self, area: Rect, buf: &mut Buffer, theme: &Theme, focused: bool) {
        for (y, (name, value)) in self.names.iter().zip(&self.values).enumerate() {
            let mut pen = Pen::new(buf, area, y as u16);
            pen.put(&format!("{name:<14} "), theme.text).put(value, theme.text);
            if focused && y == self.at { pen.put("▏", theme.focus); }
        }
    }
}

/// Editor.
pub struct JsonEditor { text: String }
impl JsonEditor {
    /// New.
    pub fn new(text: &str) -> Self { Self { text: text.into() } }
    /// Key.
    pub fn handle(&mut self, key: KeyEvent) -> FormEvent {
        match key.code { KeyCode::Char(c) => self.text.push(c), KeyCode::Enter => self.text.push('\n'), KeyCode::Backspace => { self.text.pop(); } KeyCode::Esc => return FormEvent::Leave, _ => {} }
        FormEvent::Changed
    }
    /// Text.
    pub fn text(&self) -> String { self.text.clone() }
    /// Draw.
    pub fn draw(&self, area: Rect, buf: &mut Buffer, theme: &Theme, _focused: bool) {
        for (y, line) in self.text.lines().enumerate() { Pen::new(buf, area, y as u16).put(line, theme.text); }
    }
}
