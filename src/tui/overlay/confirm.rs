//! The confirmation dialog: asks before an action with side effects or data loss.

use std::time::Duration;

use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{catalog::Definition, id::ToolId, time::Stamp},
    tui::{
        action::Action,
        dialog::{Dialog, DialogOutcome, Effect, Guard},
        hits::Hit,
        keymap::Context,
        model::Model,
        msg::Cmd,
        pane::DrawContext,
        widget::{
            paint::{Pen, dialog, padded, wrap},
            window::{Move, Window},
        },
    },
};

/// A question with its answers.
pub struct Confirm {
    title: String,
    /// What the action will do.
    text: String,
    /// The answers with their labels.
    answers: Vec<(Action, String)>,
    window: Window,
    /// The tools in question, as they were defined when the dialog opened.
    about: Vec<(ToolId, Option<Definition>)>,
    guard: Guard,
    /// What happens when the user agrees.
    agreed: Option<Effect>,
}

impl Confirm {
    /// Creates a question with the cursor on the first answer.
    pub fn new(title: impl Into<String>, text: impl Into<String>, answers: &[(Action, &str)]) -> Confirm {
        let answers = answers.iter().map(|(a, t)| (*a, (*t).to_owned())).collect();
        Confirm {
            title: title.into(),
            text: text.into(),
            answers,
            window: Window::default(),
            about: vec![],
            guard: Guard::default(),
            agreed: None,
        }
    }

    /// Sets what happens when the user agrees.
    #[must_use]
    pub fn then(mut self, agreed: impl FnOnce(&mut Model) -> Vec<Cmd> + 'static) -> Confirm {
        self.agreed = Some(Box::new(agreed));
        self
    }

    /// Names the tools in question with their definitions.
    #[must_use]
    pub fn about(mut self, about: Vec<(ToolId, Option<Definition>)>) -> Confirm {
        self.about = about;
        self
    }

    /// Puts the cursor on the last answer.
    #[must_use]
    pub fn on_last(mut self) -> Confirm {
        self.window.go(Move::Last, self.answers.len());
        self
    }

    /// Locks the answers for a moment: the dialog opens without a key press.
    #[must_use]
    pub fn guarded(mut self, now: Stamp) -> Confirm {
        self.guard = Guard::new(now);
        self
    }

    /// Returns the answer under the cursor.
    fn chosen(&self) -> Option<Action> {
        self.answers.get(self.window.cursor).map(|(action, _)| *action)
    }

    /// Returns whether the question has this answer.
    fn offers(&self, answer: Action) -> bool {
        self.answers.iter().any(|(action, _)| *action == answer)
    }
}

impl Dialog for Confirm {
    fn contexts(&self) -> &'static [Context] {
        &[Context::Confirm]
    }

    fn guard_left(&self, now: Stamp) -> Option<Duration> {
        self.guard.left(now)
    }

    fn enabled(&self, action: Action, _ctx: DrawContext) -> Option<bool> {
        matches!(action, Action::Yes | Action::Always | Action::TrustServer | Action::No).then(|| self.offers(action))
    }

    fn go(&mut self, to: Move, _ctx: DrawContext) {
        self.window.go(to, self.answers.len());
    }

    fn act(&mut self, action: Action, ctx: DrawContext) -> DialogOutcome {
        if self.guard.locks(ctx.now) {
            return DialogOutcome::Open;
        }
        let answer = if action == Action::Choose { self.chosen().unwrap_or(Action::No) } else { action };
        match answer {
            // A key for an answer that this question does not offer is ignored.
            Action::Yes | Action::Always | Action::TrustServer if !self.offers(answer) => DialogOutcome::Open,
            Action::Yes | Action::Always | Action::TrustServer => {
                let (about, agreed) = (std::mem::take(&mut self.about), self.agreed.take());
                DialogOutcome::close_and(
                    move |model| if model.agree(answer, &about) { agreed.map_or(vec![], |then| then(model)) } else { vec![] },
                )
            }
            _ => DialogOutcome::Close,
        }
    }

    fn click(&mut self, hit: &Hit, ctx: DrawContext) -> DialogOutcome {
        let Hit::Row(row) = hit else { return DialogOutcome::Open };
        self.window.cursor = *row;
        self.act(Action::Choose, ctx)
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let width = 64.min(area.width);
        let text = wrap(&self.text, width.saturating_sub(4));
        let height = (text.len() + self.answers.len() + 3) as u16;
        let inner = dialog(buf, area, (width, height), &[(&self.title, theme.warn)], &[], theme);
        let inner = padded(inner);
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
