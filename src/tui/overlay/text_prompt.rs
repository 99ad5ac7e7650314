//! The text prompt: a dialog with one or two text fields, such as a search text, a path or a number of calls.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::tui::{
    action::Action,
    dialog::{Dialog, DialogOutcome},
    keymap::Context,
    model::Model,
    msg::Cmd,
    pane::DrawContext,
    widget::{
        field::{FieldEvent, TextField},
        paint::{Pen, dialog, padded, width, wrap},
    },
};

use super::key_row;

/// What happens when the text is entered. An error is shown in the prompt, which stays open.
type Submit = Box<dyn FnMut(&mut Model, &TextPrompt) -> Result<Vec<Cmd>, String>>;
/// What happens when the text changes, and with an empty text when the prompt is left.
type Change = fn(&mut Model, &str);

/// A text prompt.
#[derive(Default)]
pub struct TextPrompt {
    /// The dialog's title.
    title: String,
    /// The text above the fields.
    note: String,
    /// Why the entered text was rejected.
    error: Option<String>,
    fields: Vec<(String, TextField)>,
    at: usize,
    history: History,
    submit: Option<Submit>,
    change: Option<Change>,
}

/// Earlier texts of a prompt with one field.
#[derive(Clone, Debug, Default)]
struct History {
    /// The texts, newest last.
    texts: Vec<String>,
    /// The text that is shown.
    at: Option<usize>,
    /// What was typed before an earlier text was shown.
    typed: String,
}

impl TextPrompt {
    /// Creates a prompt with fields, each a label and a proposed text. A proposed text is selected, so that typing replaces it.
    pub fn new(title: impl Into<String>, note: impl Into<String>, fields: &[(&str, &str)]) -> TextPrompt {
        let fields = fields.iter().map(|(label, text)| ((*label).to_owned(), TextField::proposed(*text))).collect();
        TextPrompt { title: title.into(), note: note.into(), fields, ..TextPrompt::default() }
    }

    /// Adds earlier texts, newest last, for the keys Up and Down.
    #[must_use]
    pub fn with_history(mut self, texts: &[String]) -> TextPrompt {
        self.history.texts = texts.to_vec();
        self
    }

    /// Returns the text of a field.
    pub fn text(&self, field: usize) -> &str {
        self.fields.get(field).map_or("", |(_, field)| field.text())
    }

    /// Sets what happens when the text is entered.
    #[must_use]
    pub fn on_submit(mut self, submit: impl FnMut(&mut Model, &TextPrompt) -> Result<Vec<Cmd>, String> + 'static) -> TextPrompt {
        self.submit = Some(Box::new(submit));
        self
    }

    /// Sets what happens when the text changes, and with an empty text when the prompt is left.
    #[must_use]
    pub fn on_change(mut self, change: Change) -> TextPrompt {
        self.change = Some(change);
        self
    }

    /// Submits the text. Returns why it was rejected.
    pub fn submit(&mut self, model: &mut Model) -> Result<Vec<Cmd>, String> {
        let Some(mut submit) = self.submit.take() else { return Ok(vec![]) };
        let submitted = submit(model, self);
        self.submit = Some(submit);
        self.error = submitted.as_ref().err().cloned();
        submitted
    }

    /// Passes the text on if it changed.
    fn changed(&self, changed: bool) -> DialogOutcome {
        match self.change.filter(|_| changed) {
            Some(change) => {
                let text = self.text(0).to_owned();
                DialogOutcome::run(move |model| {
                    change(model, &text);
                    vec![]
                })
            }
            None => DialogOutcome::Open,
        }
    }

    /// Edits a field. Returns whether a text changed.
    fn edit(&mut self, key: KeyEvent) -> bool {
        let count = self.fields.len().max(1);
        match key.code {
            KeyCode::Up | KeyCode::Down if count == 1 => return self.recall(key.code == KeyCode::Up),
            KeyCode::Tab | KeyCode::Down => self.at = (self.at + 1) % count,
            KeyCode::BackTab | KeyCode::Up => self.at = (self.at + count - 1) % count,
            _ => {
                let Some((_, field)) = self.fields.get_mut(self.at) else { return false };
                let before = field.text().to_owned();
                let _ = field.handle(key);
                let changed = field.text() != before;
                if changed {
                    self.error = None;
                }
                return changed;
            }
        }
        false
    }

    /// Shows the previous or the next earlier text. Returns whether the text changed.
    fn recall(&mut self, back: bool) -> bool {
        let Some((_, field)) = self.fields.get_mut(self.at) else { return false };
        field.deselect();
        let count = self.history.texts.len();
        let at = match (self.history.at, back) {
            (None, true) => count.checked_sub(1),
            (Some(at), true) => Some(at.saturating_sub(1)),
            (Some(at), false) => Some(at + 1),
            (None, false) => None,
        };
        let Some(at) = at else { return false };
        if self.history.at.is_none() {
            field.text().clone_into(&mut self.history.typed);
        }
        self.history.at = Some(at).filter(|at| *at < count);
        field.set(self.history.texts.get(at).unwrap_or(&self.history.typed).as_str());
        self.error = None;
        true
    }
}

impl Dialog for TextPrompt {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Entry]
    }

    fn act(&mut self, action: Action, _ctx: DrawContext) -> DialogOutcome {
        match (action, self.change) {
            (Action::Choose, _) => DialogOutcome::run(Model::submit_prompt),
            (Action::Back, Some(change)) => DialogOutcome::close_and(move |model| {
                change(model, "");
                vec![]
            }),
            (Action::Back, None) => DialogOutcome::Close,
            _ => DialogOutcome::Open,
        }
    }

    fn key(&mut self, key: KeyEvent, _ctx: DrawContext) -> DialogOutcome {
        let changed = self.edit(key);
        self.changed(changed)
    }

    fn paste(&mut self, text: &str, _ctx: DrawContext) -> DialogOutcome {
        let Some((_, field)) = self.fields.get_mut(self.at) else { return DialogOutcome::Open };
        let changed = field.paste(text) == FieldEvent::Changed;
        if changed {
            self.error = None;
        }
        self.changed(changed)
    }

    fn refuse(&mut self, why: &str) -> bool {
        self.error = Some(why.to_owned());
        true
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let wide = 72.min(area.width);
        let note = wrap(&self.note, wide.saturating_sub(4));
        let note = if self.note.is_empty() { vec![] } else { note };
        let error: Vec<String> = self.error.iter().flat_map(|e| wrap(&format!("✕ {e}"), wide.saturating_sub(4))).take(3).collect();
        let height = (note.len() + self.fields.len() + error.len() + 4) as u16;
        let inner = dialog(buf, area, (wide, height), &[(&self.title, theme.focus)], &[], theme);
        let inner = padded(inner);
        let mut y = 0;
        // On a low screen the fields take precedence over the note.
        let spare = usize::from(inner.height).saturating_sub(self.fields.len() + 1);
        for row in note.iter().take(spare) {
            Pen::new(buf, inner, y).put(row, theme.muted);
            y += 1;
        }
        let label = self.fields.iter().map(|(l, _)| width(l)).max().unwrap_or(0) + 1;
        for (index, (name, field)) in self.fields.iter_mut().enumerate() {
            let current = index == self.at;
            Pen::new(buf, inner, y).put(name, if current { theme.accent } else { theme.muted });
            let place = Rect {
                x: inner.x + label.min(inner.width),
                y: inner.y + y.min(inner.height),
                width: inner.width.saturating_sub(label),
                height: u16::from(y < inner.height),
            };
            field.draw(place, buf, theme.text, theme, current);
            y += 1;
        }
        for row in &error {
            if y + 1 < inner.height {
                Pen::new(buf, inner, y).put(row, theme.fail);
                y += 1;
            }
        }
        key_row(ctx, Context::Entry, |_| true, inner, buf);
    }
}
