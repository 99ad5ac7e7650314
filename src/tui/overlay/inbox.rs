//! The inbox: questions of servers (elicitation, sampling, roots), one at a time, with the form for the answer.

use std::{sync::Arc, time::Duration};

use crossterm::event::KeyEvent;
use ratatui::{buffer::Buffer, layout::Rect};
use serde_json::{Value, json};

use crate::{
    domain::{
        ask::{Answer, Ask, Question},
        body::Body,
        directory::Directory,
        id::AskId,
        time::{Stamp, short},
    },
    state::ConsoleState,
    tui::{
        action::Action,
        keymap::Context,
        pane::{DrawContext, text_view::TextView},
        widget::{
            form::{FormEvent, FormView},
            paint::{dialog, dialog_room},
            window::Window,
        },
    },
};

use super::key_row;

/// How long a dialog that opened without a key press accepts no answer.
pub const GUARD: Duration = Duration::from_millis(500);

/// The open inbox: shows one question at a time.
#[derive(Default)]
pub struct Inbox {
    ask: Option<Arc<Ask>>,
    form: Option<FormView>,
    /// Until when answering keys are ignored, because they may have been meant for the pane below.
    guarded: Stamp,
    /// Scroll of the question's text.
    pub window: Window,
}

impl Inbox {
    /// Returns the question that is shown.
    pub fn shown(&self) -> Option<&Arc<Ask>> {
        self.ask.as_ref()
    }

    /// Shows this question, or the oldest one when it is gone. A form that already shows the same question stays as it is.
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

    /// Starts the guard time of an inbox that opened without a key press: answering keys are ignored.
    pub fn guard(&mut self, now: Stamp) {
        self.guarded = now.plus(GUARD);
    }

    /// Ends the guard time: the user clicked into the dialog.
    pub fn unguard(&mut self) {
        self.guarded = Stamp::default();
    }

    /// Returns whether the guard time is running.
    pub fn guarded(&self, now: Stamp) -> bool {
        now < self.guarded
    }

    /// Returns the form, if the question has one.
    pub fn form(&self) -> Option<&FormView> {
        self.form.as_ref()
    }

    /// Returns the form for changes.
    pub fn form_mut(&mut self) -> Option<&mut FormView> {
        self.form.as_mut()
    }

    /// Returns how many rows of the question's text fit into the dialog on this screen.
    pub fn room(&self, ctx: DrawContext, screen: Rect) -> usize {
        let (_, text, _) = self.areas(ctx, screen);
        usize::from(text.height)
    }

    /// Returns whether letters go into a field.
    pub fn wants_text(&self) -> bool {
        self.form.as_ref().is_some_and(FormView::wants_text)
    }

    /// Passes a key to the form. Returns whether the form submits the answer.
    pub fn key(&mut self, key: KeyEvent) -> bool {
        self.form.as_mut().is_some_and(|form| form.handle(key) == FormEvent::Submit)
    }

    /// Returns whether there is a change to undo.
    pub fn can_undo(&self) -> bool {
        self.form.as_ref().is_some_and(FormView::can_undo)
    }

    /// Undoes the last change of the answer.
    pub fn undo(&mut self) {
        if let Some(form) = &mut self.form {
            form.undo();
        }
    }

    /// Returns the URL of the question, if it has one.
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

    /// Returns whether the question is a sampling request.
    pub fn is_sampling(&self) -> bool {
        self.ask.as_ref().is_some_and(|ask| matches!(ask.question, Question::Sampling { .. }))
    }

    /// Sets the answer of a sampling request.
    pub fn set_answer(&mut self, text: &str) -> Result<(), String> {
        if !self.is_sampling() {
            return Err("only a sampling request can be answered from a file".into());
        }
        let form = self.form.as_mut().ok_or("the question has no form")?;
        let row = form.form().rows().into_iter().find(|row| form.form().node(&row.path).is_some_and(|n| n.key == "answer"));
        let path = row.map(|row| row.path).ok_or("the form has no answer field")?;
        form.set_text(&path, text);
        Ok(())
    }

    /// Returns the accepting answer, or `None` when the form is invalid and shows why.
    pub fn answer(&mut self) -> Option<(AskId, Answer)> {
        let ask = self.ask.clone()?;
        let content = match &mut self.form {
            // The form shows what is wrong or missing.
            Some(form) => match form.submit() {
                FormEvent::Submit => content(&ask.question, form.form().body()),
                _ => return None,
            },
            None => Body::default(),
        };
        Some((ask.id, Answer::Accept { content }))
    }

    /// Returns how many rows the question's text takes on this screen.
    pub fn len(&self, ctx: DrawContext, screen: Rect) -> usize {
        let (room, ..) = self.areas(ctx, screen);
        self.text_view(ctx, room.width).len()
    }

    /// Returns the areas inside the dialog, of its text, and of its form.
    fn areas(&self, ctx: DrawContext, area: Rect) -> (Rect, Rect, Rect) {
        let size = (96.min(area.width), self.height(ctx, area));
        let inner = dialog_room(area, size);
        let room =
            Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), height: inner.height.saturating_sub(1), ..inner };
        let most = if self.form.is_some() { room.height / 2 } else { room.height };
        let rows = u16::try_from(self.text_view(ctx, room.width).len()).unwrap_or(u16::MAX);
        let text = Rect { height: rows.min(most), ..room };
        let used = (text.height + 1).min(room.height);
        (room, text, Rect { y: room.y + used, height: room.height.saturating_sub(used), ..room })
    }

    fn height(&self, ctx: DrawContext, area: Rect) -> u16 {
        let text = self.text_view(ctx, 92).len();
        let fields = self.form.as_ref().map_or(0, |form| form.form().rows().len() + 6);
        u16::try_from(text + fields + 4).unwrap_or(u16::MAX).min(area.height.saturating_sub(2))
    }

    fn text_view<'t>(&self, ctx: DrawContext<'t>, width: u16) -> TextView<'t> {
        let theme = ctx.theme;
        let mut out = TextView::new(theme, width);
        let Some(ask) = &self.ask else {
            out.text("No questions", theme.muted);
            return out;
        };
        let call = ask.call.and_then(|id| ctx.read_model.call(id)).map(|call| ctx.read_model.call_name(&call.spec.operation));
        let call = match (&ask.run, call) {
            (Some(step), _) => format!(", during step {} of run {}", step.step, step.run.short()),
            (None, Some(name)) => format!(", during {name}"),
            (None, None) => ", outside of a call".to_owned(),
        };
        let waiting = short(ctx.now.since(ask.at));
        out.row(vec![
            (ask.server.to_string(), theme.accent),
            (call.to_string(), theme.text),
            (format!("  waiting for {waiting}"), theme.muted),
        ]);
        out.gap();
        match &ask.question {
            Question::Form { message, .. } => {
                out.text(message, theme.text);
            }
            Question::Url { message, url } => {
                out.text(message, theme.text).gap();
                out.text("The server asks you to open this page. Check the URL first:", theme.muted);
                out.text(url, theme.warn);
            }
            Question::Sampling { params } => sampling_rows(&mut out, params, ctx),
            Question::Roots => {
                out.text("Folders to share with the server, each as a file:// URL", theme.text);
            }
        }
        out
    }

    /// Draws the dialog.
    pub fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let place = self.ask.as_ref().and_then(|ask| ctx.read_model.asks.iter().position(|a| a.id == ask.id));
        let count = place.map_or_else(String::new, |at| format!("{} of {}", at + 1, ctx.read_model.asks.len()));
        let word = self.ask.as_ref().map_or("", |ask| ask.question.word());
        let kind = if word.is_empty() { String::new() } else { format!(" · {word}") };
        let title = [("Question", theme.focus), (kind.as_str(), theme.accent)];
        let inner = dialog(buf, area, (96, self.height(ctx, area)), &title, &[(&count, theme.muted)], theme);
        let (room, text, body) = self.areas(ctx, area);
        self.text_view(ctx, room.width).draw(buf, text, self.window);
        if let Some(form) = &mut self.form {
            form.show_keys(ctx.keys);
            form.draw(body, buf, theme, true, ctx.hits);
        }
        let context = if self.wants_text() { Context::InboxText } else { Context::Inbox };
        key_row(ctx, context, |action| self.acts(action, ctx.read_model), inner, buf);
    }

    /// Returns whether an action applies to the question that is shown.
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

fn sampling_rows(out: &mut TextView, params: &Body, ctx: DrawContext) {
    let theme = ctx.theme;
    let value = params.value().unwrap_or_default();
    out.text("Sampling request: you answer in place of the model.", theme.muted).gap();
    if let Some(system) = value.get("systemPrompt").and_then(Value::as_str) {
        out.field("system", system, theme.text);
    }
    for message in value.get("messages").and_then(Value::as_array).into_iter().flatten() {
        let role = message.get("role").and_then(Value::as_str).unwrap_or("?");
        let content = message.get("content").cloned().unwrap_or_default();
        let items = content.as_array().cloned().unwrap_or_else(|| vec![content]);
        for item in items {
            let text = item.get("text").and_then(Value::as_str).map_or_else(|| item.to_string(), str::to_owned);
            out.field(role, &text, theme.text);
        }
    }
    if let Some(most) = value.get("maxTokens") {
        out.field("max tokens", &most.to_string(), theme.muted);
    }
}

/// Creates the form of a question. A URL question has none.
fn form(question: &Question) -> Option<FormView> {
    match question {
        Question::Form { schema, .. } => Some(FormView::new(schema)),
        Question::Url { .. } => None,
        Question::Sampling { .. } => Some(FormView::new(&Body::json(&json!({
            "type": "object",
            "properties": {
                "answer": {"type": "string", "minLength": 1, "description": "sent as the assistant's message"},
                "model": {"type": "string", "default": "human", "description": "name of the model that the answer reports"},
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

/// Builds the content of the answer from the form's JSON (MCP 2025-11-25, `CreateMessageResult`, `ListRootsResult`).
fn content(question: &Question, form: Body) -> Body {
    match question {
        Question::Sampling { .. } => {
            let value = form.value().unwrap_or_default();
            let text = |key: &str, otherwise: &str| value.get(key).and_then(Value::as_str).unwrap_or(otherwise).to_owned();
            Body::json(&json!({
                "role": "assistant",
                "content": {"type": "text", "text": text("answer", "")},
                "model": text("model", "human"),
                "stopReason": "endTurn",
            }))
        }
        _ => form,
    }
}
