//! The inbox: questions of servers (elicitation, sampling, roots), one at a time, with the form for the answer.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
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
        dialog::{Dialog, DialogOutcome, Guard},
        hits::Hit,
        keymap::Context,
        msg::Cmd,
        pane::{DrawContext, text_view::TextView},
        widget::{
            form::{FormEvent, FormView},
            paint::{dialog, dialog_room, padded},
            window::{Move, Window},
        },
    },
};

use super::{LastSize, key_row};

/// The open inbox: shows one question at a time.
#[derive(Default)]
pub struct Inbox {
    ask: Option<Arc<Ask>>,
    form: Option<FormView>,
    guard: Guard,
    /// Scroll of the question's text.
    window: Window,
    /// The size of the question's text as drawn last.
    last_size: LastSize,
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

    /// Locks the answering keys: the inbox opens without a key press.
    pub fn guard(&mut self, now: Stamp) {
        self.guard = Guard::new(now);
    }

    /// Returns the form, if the question has one.
    pub fn form(&self) -> Option<&FormView> {
        self.form.as_ref()
    }

    /// Returns whether letters go into a field.
    fn wants_text(&self) -> bool {
        self.form.as_ref().is_some_and(FormView::wants_text)
    }

    /// Returns whether there is a change to undo.
    fn can_undo(&self) -> bool {
        self.form.as_ref().is_some_and(FormView::can_undo)
    }

    /// Undoes the last change of the answer.
    fn undo(&mut self) {
        if let Some(form) = &mut self.form {
            form.undo();
        }
    }

    /// Returns the URL of the question, if it has one.
    fn url(&self) -> Option<&str> {
        match &self.ask.as_ref()?.question {
            Question::Url { url, .. } => Some(url),
            _ => None,
        }
    }

    /// Returns whether the question is a sampling request.
    fn is_sampling(&self) -> bool {
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

    /// Accepts the question with the answer of the form, unless the form is invalid and shows why.
    fn answer(&mut self) -> DialogOutcome {
        let Some(ask) = self.ask.clone() else { return DialogOutcome::Open };
        let content = match &mut self.form {
            // The form shows what is wrong or missing.
            Some(form) => match form.submit() {
                FormEvent::Submit => content(&ask.question, form.form().body()),
                _ => return DialogOutcome::Open,
            },
            None => Body::default(),
        };
        self.reply(Answer::Accept { content })
    }

    /// Sends an answer to the question that is shown.
    fn reply(&self, answer: Answer) -> DialogOutcome {
        match self.ask.as_ref().map(|ask| ask.id) {
            Some(ask) => DialogOutcome::run(move |model| model.reply(ask, answer)),
            None => DialogOutcome::Open,
        }
    }

    /// Returns the accepting answer of a form question as it is, with its violations. `None` for other questions.
    fn unchecked_answer(&self) -> Option<(AskId, Answer, Vec<String>)> {
        let (ask, form) = (self.ask.as_ref().filter(|ask| matches!(ask.question, Question::Form { .. }))?, self.form.as_ref()?);
        Some((ask.id, Answer::Accept { content: form.form().body() }, form.form().violations()))
    }

    /// Sends the answer although it violates the requested schema.
    fn answer_unchecked(&self) -> DialogOutcome {
        match self.unchecked_answer() {
            Some((ask, answer, violations)) => DialogOutcome::run(move |model| {
                model.toast_unchecked("Answer", &violations);
                model.reply(ask, answer)
            }),
            None => DialogOutcome::Open,
        }
    }

    /// Returns the areas inside the dialog, of its text, and of its form.
    fn areas(&self, ctx: DrawContext, area: Rect) -> (Rect, Rect, Rect) {
        let size = (96.min(area.width), self.height(ctx, area));
        let inner = dialog_room(area, size);
        let room = Rect { height: inner.height.saturating_sub(1), ..padded(inner) };
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
}

impl Dialog for Inbox {
    fn contexts(&self) -> &'static [Context] {
        if self.wants_text() { &[Context::InboxText] } else { &[Context::Inbox, Context::Form] }
    }

    fn typing(&self) -> bool {
        self.wants_text()
    }

    fn takes_lines(&self) -> bool {
        true
    }

    fn shows_keys(&self) -> bool {
        true
    }

    /// It shows how long the question has waited.
    fn moving(&self) -> bool {
        true
    }

    fn form_mut(&mut self) -> Option<&mut FormView> {
        self.form.as_mut()
    }

    /// Enter may add the next item, and Escape first ends typing.
    fn takes_key(&self, key: KeyEvent) -> bool {
        let plain = key.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        self.wants_text() && plain && matches!(key.code, KeyCode::Enter | KeyCode::Esc)
    }

    fn enabled(&self, action: Action, ctx: DrawContext) -> Option<bool> {
        Some(match action {
            Action::OpenUrl | Action::CopyUrl => self.url().is_some(),
            Action::AnswerFile => self.is_sampling(),
            Action::NextQuestion => ctx.read_model.asks.len() > 1,
            Action::Undo => self.can_undo(),
            Action::SendUnchecked => self.form.as_ref().is_some_and(FormView::refused) && self.unchecked_answer().is_some(),
            _ => return None,
        })
    }

    fn go(&mut self, to: Move, ctx: DrawContext) {
        let rows = self.text_view(ctx, self.last_size.width()).len();
        self.window.scroll(to, rows, self.last_size.rows());
    }

    fn act(&mut self, action: Action, ctx: DrawContext) -> DialogOutcome {
        if let Some(code) = FormView::command_of(action) {
            let commands = self.contexts().contains(&Context::Form);
            return if commands { self.key(KeyEvent::new(code, KeyModifiers::NONE), ctx) } else { DialogOutcome::Open };
        }
        let answers = matches!(action, Action::Answer | Action::SendUnchecked | Action::Decline | Action::CancelQuestion);
        if answers && self.guard.left(ctx.now).is_some() {
            return DialogOutcome::Open;
        }
        let url = self.url().map(str::to_owned);
        match (action, url) {
            (Action::Answer, _) => self.answer(),
            (Action::SendUnchecked, _) => self.answer_unchecked(),
            (Action::Decline, _) => self.reply(Answer::Decline),
            (Action::CancelQuestion, _) => self.reply(Answer::Cancel),
            (Action::AnswerFile, _) => DialogOutcome::run(|model| {
                model.ask_answer_file();
                vec![]
            }),
            (Action::OpenUrl, Some(url)) => DialogOutcome::run(|_| vec![Cmd::OpenUrl(url)]),
            (Action::CopyUrl, Some(url)) => DialogOutcome::run(|_| vec![Cmd::Copy(url)]),
            (Action::NextQuestion, _) => {
                self.next(ctx.read_model);
                DialogOutcome::Open
            }
            (Action::Undo, _) => {
                self.undo();
                DialogOutcome::Open
            }
            (Action::Back, _) => DialogOutcome::Close,
            _ => DialogOutcome::Open,
        }
    }

    fn key(&mut self, key: KeyEvent, _ctx: DrawContext) -> DialogOutcome {
        match self.form.as_mut().map(|form| form.handle(key)) {
            Some(FormEvent::Submit) => self.answer(),
            _ => DialogOutcome::Open,
        }
    }

    fn paste(&mut self, text: &str, _ctx: DrawContext) -> DialogOutcome {
        if let Some(form) = &mut self.form {
            form.paste(text);
        }
        DialogOutcome::Open
    }

    /// The user has seen the dialog: the answering keys work.
    fn click(&mut self, hit: &Hit, _ctx: DrawContext) -> DialogOutcome {
        self.guard = Guard::default();
        if let Some(form) = &mut self.form {
            form.click(hit);
        }
        DialogOutcome::Open
    }

    fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let place = self.ask.as_ref().and_then(|ask| ctx.read_model.asks.iter().position(|a| a.id == ask.id));
        let count = place.map_or_else(String::new, |at| format!("{} of {}", at + 1, ctx.read_model.asks.len()));
        let word = self.ask.as_ref().map_or("", |ask| ask.question.word());
        let kind = if word.is_empty() { String::new() } else { format!(" · {word}") };
        let title = [("Question", theme.focus), (kind.as_str(), theme.accent)];
        let inner = dialog(buf, area, (96, self.height(ctx, area)), &title, &[(&count, theme.muted)], theme);
        let (room, text, body) = self.areas(ctx, area);
        self.last_size.note(text);
        self.text_view(ctx, room.width).draw(buf, text, self.window);
        if let Some(form) = &mut self.form {
            form.show_keys(ctx.keys);
            form.draw(body, buf, theme, true, ctx.hits);
        }
        let context = if self.wants_text() { Context::InboxText } else { Context::Inbox };
        key_row(ctx, context, |action| self.enabled(action, ctx).unwrap_or(true), inner, buf);
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
        Question::Form { schema, .. } => Some(FormView::for_question(schema)),
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
