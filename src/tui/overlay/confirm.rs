//! The confirmation dialog: asks before an action with side effects or data loss.

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{catalog::Definition, id::ToolId},
    tui::{
        action::Action,
        hits::Hit,
        keymap::Context,
        pane::DrawContext,
        widget::{
            paint::{Pen, dialog, wrap},
            window::Window,
        },
    },
};

/// A question with its answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Confirm {
    /// The dialog's title.
    pub title: String,
    /// What the action will do.
    pub text: String,
    /// The answers with their labels. The cursor starts on the first one.
    pub answers: Vec<(Action, String)>,
    /// The cursor.
    pub window: Window,
    /// The tools in question, as they were defined when the dialog opened.
    pub about: Vec<(ToolId, Option<Definition>)>,
}

impl Confirm {
    /// Creates a question.
    pub fn new(title: impl Into<String>, text: impl Into<String>, answers: &[(Action, &str)]) -> Confirm {
        let answers = answers.iter().map(|(a, t)| (*a, (*t).to_owned())).collect();
        Confirm { title: title.into(), text: text.into(), answers, window: Window::default(), about: vec![] }
    }

    /// Returns the answer under the cursor.
    pub fn chosen(&self) -> Option<Action> {
        self.answers.get(self.window.cursor).map(|(action, _)| *action)
    }

    /// Returns whether the question has this answer.
    pub fn offers(&self, answer: Action) -> bool {
        self.answers.iter().any(|(action, _)| *action == answer)
    }

    /// Draws the question.
    pub fn draw(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let width = 64.min(area.width);
        let text = wrap(&self.text, width.saturating_sub(4));
        let height = (text.len() + self.answers.len() + 3) as u16;
        let inner = dialog(buf, area, (width, height), &[(&self.title, theme.warn)], &[], theme);
        let inner = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        // On a low screen the answers take precedence over the text.
        let room = inner.height.saturating_sub(self.answers.len() as u16);
        let text_rows = text.len().min(usize::from(room));
        for (y, row) in text.iter().take(text_rows).enumerate() {
            Pen::new(buf, inner, y as u16).put(row, theme.text);
        }
        let start = (text_rows as u16 + 1).min(room);
        for (index, (action, label)) in self.answers.iter().enumerate() {
            let row = Rect { y: inner.y + start + index as u16, height: 1, ..inner };
            let key = ctx.keys.key(&[Context::Confirm], *action).unwrap_or_default();
            if row.y < inner.bottom() {
                Pen::new(buf, row, 0).skip(1).put(&key, theme.key).skip(2).put(label, theme.text);
                ctx.hits.add(row, Hit::Row(index));
                if index == self.window.cursor {
                    buf.set_style(row.intersection(buf.area), theme.selection);
                }
            }
        }
    }
}
