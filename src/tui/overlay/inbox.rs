//! Questions of servers: who asks, in which call, what; and the form for the answer.

use std::{sync::Arc, time::Duration};

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect};
use serde_json::{Value, json};

use crate::{
    domain::{
        ask::{Answer, Ask, Question},
        body::Body,
        id::AskId,
        read_model::ConsoleState,
        time::{Stamp, short},
    },
    tui::{
        action::Action,
        keymap::Context,
        pane::{DrawContext, text_view::Sheet},
        widget::{
            form::{FormEvent, FormView},
            paint::{dialog, dialog_room},
            window::Window,
        },
    },
};

use super::key_row;

/// How long a dialog that opened unasked takes no answer.
pub const GUARD: Duration = Duration::from_millis(500);

/// The inbox as it is open: one question at a time.
#[derive(Default)]
pub struct Inbox {
    ask: Option<Arc<Ask>>,
    form: Option<FormView>,
    /// Until when a key that would answer is taken for one that was meant for what was there before.
    guarded: Stamp,
    /// Scroll of the question's text.
    pub window: Window,
}

impl Inbox {
    /// The question that is shown.
    pub fn shown(&self) -> Option<&Arc<Ask>> {
        self.ask.as_ref()
    }

    /// Shows this question, or the oldest one when it is gone; keeps what was typed for the same one.
    pub fn show(&mut self, wanted: Option<AskId>, read_model: &ConsoleState) {
        let wanted = wanted.or(self.ask.as_ref().map(|a| a.id));
        let found = read_model.asks.iter().find(|a| Some(a.id) == wanted).or_else(|| read_model.asks.first());
        if found.map(|a| a.id) != self.ask.as_ref().map(|a| a.id) {
            *self = Inbox { ask: found.cloned(), form: found.and_then(|ask| form(&ask.question)), ..Inbox::default() };
        }
    }

    /// Shows the next question.
    pub fn next(&mut self, read_model: &ConsoleState) {
        let at = self.ask.as_ref().and_then(|ask| read_model.asks.iter().position(|a| a.id == ask.id)).map_or(0, |at| at + 1);
        let next = read_model.asks.get(at).or_else(|| read_model.asks.first()).map(|a| a.id);
        self.show(next, read_model);
    }

    /// It opened by itself: keys that were on their way to something else answer nothing.
    pub fn guard(&mut self, now: Stamp) {
        self.guarded = now.plus(GUARD);
    }

    /// Somebody aimed at it: what comes now is meant.
    pub fn aimed(&mut self) {
        self.guarded = Stamp::default();
    }

    /// Whether an answer now would come too soon to be meant.
    pub fn guarded(&self, now: Stamp) -> bool {
        now < self.guarded
    }

    /// Does what a click at this row of the screen means to the form; whether it is one of its rows.
    pub fn click(&mut self, y: u16) -> bool {
        self.form.as_mut().is_some_and(|form| form.click(y))
    }

    /// The form, if the question has one.
    pub fn form(&self) -> Option<&FormView> {
        self.form.as_ref()
    }

    /// The form, to be changed.
    pub fn form_mut(&mut self) -> Option<&mut FormView> {
        self.form.as_mut()
    }

    /// Rows of the question's text that the dialog has room for on such a screen.
    pub fn room(&self, look: DrawContext, screen: Rect) -> usize {
        let (_, text, _) = self.places(look, screen);
        usize::from(text.height)
    }

    /// Whether letters go into a field.
    pub fn wants_text(&self) -> bool {
        self.form.as_ref().is_some_and(FormView::wants_text)
    }

    /// Gives a key to the form; whether the answer is to be sent.
    pub fn key(&mut self, key: KeyEvent) -> bool {
        self.form.as_mut().is_some_and(|form| form.handle(key) == FormEvent::Submit)
    }

    /// Whether there is a change of the answer that can be taken back.
    pub fn can_undo(&self) -> bool {
        self.form.as_ref().is_some_and(FormView::can_undo)
    }

    /// Takes the last change of the answer back.
    pub fn undo(&mut self) {
        if let Some(form) = &mut self.form {
            form.undo();
        }
    }

    /// The address of the question, if it has one.
    pub fn url(&self) -> Option<&str> {
        match &self.ask.as_ref()?.question {
            Question::Url { url, .. } => Some(url),
            _ => None,
        }
    }

    /// Inserts pasted text into the field under the cursor.
    pub fn paste(&mut self, text: &str) {
        if let Some(form) = &mut self.form {
            form.paste(text);
        }
    }

    /// Whether the question wants what a model would write.
    pub fn is_sampling(&self) -> bool {
        self.ask.as_ref().is_some_and(|ask| matches!(ask.question, Question::Sampling { .. }))
    }

    /// Puts text into the answer of a sampling question.
    pub fn set_answer(&mut self, text: &str) -> Result<(), String> {
        if !self.is_sampling() {
            return Err("Only a sampling question is answered from a file.".into());
        }
        let form = self.form.as_mut().ok_or("The question has no form.")?;
        let row = form.form().rows().into_iter().find(|row| form.form().node(&row.path).is_some_and(|n| n.key == "answer"));
        let path = row.map(|row| row.path).ok_or("The form has no answer.")?;
        form.set_text(&path, text);
        Ok(())
    }

    /// The accepting answer, or `None` when the form tells what is wrong.
    pub fn answer(&mut self) -> Option<(AskId, Answer)> {
        let ask = self.ask.clone()?;
        let content = match &mut self.form {
            // What is wrong or missing is told in the form.
            Some(form) => match form.submit() {
                FormEvent::Submit => content(&ask.question, form.form().body()),
                _ => return None,
            },
            None => Body::default(),
        };
        Some((ask.id, Answer::Accept { content }))
    }

    /// How many rows the question's text has on such a screen.
    pub fn len(&self, look: DrawContext, screen: Rect) -> usize {
        let (room, ..) = self.places(look, screen);
        self.sheet(look, room.width).len()
    }

    /// The room inside the dialog, of its text, and of its form.
    fn places(&self, look: DrawContext, area: Rect) -> (Rect, Rect, Rect) {
        let size = (96.min(area.width), self.height(look, area));
        let inner = dialog_room(area, size);
        let room =
            Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), height: inner.height.saturating_sub(1), ..inner };
        let most = if self.form.is_some() { room.height / 2 } else { room.height };
        let rows = u16::try_from(self.sheet(look, room.width).len()).unwrap_or(u16::MAX);
        let text = Rect { height: rows.min(most), ..room };
        let used = (text.height + 1).min(room.height);
        (room, text, Rect { y: room.y + used, height: room.height.saturating_sub(used), ..room })
    }

    fn height(&self, look: DrawContext, area: Rect) -> u16 {
        let text = self.sheet(look, 92).len();
        let fields = self.form.as_ref().map_or(0, |form| form.form().rows().len() + 6);
        u16::try_from(text + fields + 4).unwrap_or(u16::MAX).min(area.height.saturating_sub(2))
    }

    fn sheet<'t>(&self, look: DrawContext<'t>, width: u16) -> Sheet<'t> {
        let theme = look.theme;
        let mut sheet = Sheet::new(theme, width);
        let Some(ask) = &self.ask else {
            sheet.text("No server asks anything.", theme.muted);
            return sheet;
        };
        let call = ask.call.and_then(|id| look.read_model.call(id)).map(|call| look.read_model.call_name(&call.spec.operation));
        let call = match (&ask.run, call) {
            (Some(step), _) => format!("in step {} of run {}", step.step, step.run.short()),
            (None, Some(name)) => format!("in {name}"),
            (None, None) => "outside of any call".to_owned(),
        };
        let waiting = short(look.now.since(ask.at));
        sheet.row(vec![
            (ask.server.to_string(), theme.accent),
            (format!(" asks {call}"), theme.text),
            (format!("  waiting for {waiting}"), theme.muted),
        ]);
        sheet.gap();
        match &ask.question {
            Question::Form { message, .. } => {
                sheet.text(message, theme.text);
            }
            Question::Url { message, url } => {
                sheet.text(message, theme.text).gap();
                sheet.text("The server wants you to open this page yourself. Look where it leads before you do:", theme.muted);
                sheet.text(url, theme.warn);
            }
            Question::Sampling { params } => sampling_rows(&mut sheet, params, look),
            Question::Roots => {
                sheet.text("Which folders may it know of? Each is a file:// address.", theme.text);
            }
        }
        sheet
    }

    /// Draws the dialog.
    pub fn draw(&mut self, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let place = self.ask.as_ref().and_then(|ask| look.read_model.asks.iter().position(|a| a.id == ask.id));
        let count = place.map_or_else(String::new, |at| format!("{} of {}", at + 1, look.read_model.asks.len()));
        let word = self.ask.as_ref().map_or("", |ask| ask.question.word());
        let title = [("Inbox ", theme.focus), (word, theme.accent)];
        let inner = dialog(buf, area, (96, self.height(look, area)), &title, &[(&count, theme.muted)], theme);
        let (room, text, body) = self.places(look, area);
        self.sheet(look, room.width).draw(buf, text, self.window);
        if let Some(form) = &mut self.form {
            form.show_keys(look.keys);
            form.draw(body, buf, theme, true);
        }
        let context = if self.wants_text() { Context::InboxText } else { Context::Inbox };
        key_row(look.keys, context, |action| self.acts(action, look.read_model), theme, inner, buf);
    }

    /// Whether an action does something with the question that is shown.
    fn acts(&self, action: Action, read_model: &ConsoleState) -> bool {
        match action {
            Action::OpenUrl | Action::CopyUrl => self.url().is_some(),
            Action::AnswerFile => self.is_sampling(),
            Action::NextQuestion => read_model.asks.len() > 1,
            Action::Undo => self.can_undo(),
            _ => true,
        }
    }
}

fn sampling_rows(sheet: &mut Sheet, params: &Body, look: DrawContext) {
    let theme = look.theme;
    let value = params.value().unwrap_or_default();
    sheet.text("It wants a language model to answer this; here you answer in its place.", theme.muted).gap();
    if let Some(system) = value.get("systemPrompt").and_then(Value::as_str) {
        sheet.field("system", system, theme.text);
    }
    for message in value.get("messages").and_then(Value::as_array).into_iter().flatten() {
        let role = message.get("role").and_then(Value::as_str).unwrap_or("?");
        let content = message.get("content").cloned().unwrap_or_default();
        let items = content.as_array().cloned().unwrap_or_else(|| vec![content]);
        for item in items {
            let text = item.get("text").and_then(Value::as_str).map_or_else(|| item.to_string(), str::to_owned);
            sheet.field(role, &text, theme.text);
        }
    }
    if let Some(most) = value.get("maxTokens") {
        sheet.field("at most", &format!("{most} tokens"), theme.muted);
    }
}

/// The form of a question; pages need none.
fn form(question: &Question) -> Option<FormView> {
    match question {
        Question::Form { schema, .. } => Some(FormView::new(schema)),
        Question::Url { .. } => None,
        Question::Sampling { .. } => Some(FormView::new(&Body::json(&json!({
            "type": "object",
            "properties": {
                "answer": {"type": "string", "minLength": 1, "description": "sent as the assistant's message"},
                "model": {"type": "string", "default": "a person", "description": "who says that it answers"},
            },
            "required": ["answer"],
        })))),
        Question::Roots => Some(FormView::new(&Body::json(&json!({
            "type": "object",
            "properties": {
                "roots": {"type": "array", "items": {
                    "type": "object",
                    "properties": {"uri": {"type": "string", "description": "file:///…"}, "name": {"type": "string"}},
                    "required": ["uri"],
                }},
            },
            "required": ["roots"],
        })))),
    }
}

/// What the answer carries, made from the form's JSON (MCP 2025-11-25, `CreateMessageResult`, `ListRootsResult`).
fn content(question: &Question, form: Body) -> Body {
    match question {
        Question::Sampling { .. } => {
            let value = form.value().unwrap_or_default();
            let text = |key: &str, otherwise: &str| value.get(key).and_then(Value::as_str).unwrap_or(otherwise).to_owned();
            Body::json(&json!({
                "role": "assistant",
                "content": {"type": "text", "text": text("answer", "")},
                "model": text("model", "a person"),
                "stopReason": "endTurn",
            }))
        }
        _ => form,
    }
}
