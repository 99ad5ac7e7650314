//! The input of a workflow: a form from its schema, or JSON. What was entered stays for the session.

use std::{collections::HashMap, sync::Arc};

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{
        body::Body,
        form::{Json, json::pretty},
        workflow::plan::Plan,
    },
    tui::{
        action::Action,
        keymap::Context,
        pane::{DrawContext, call::Outcome},
        widget::{
            editor::{EditorEvent, JsonEditor},
            form::{FormEvent, FormView, Leave},
            paint::{Pen, pane, wrap},
            undo_clear::{Cleared, editor_of},
        },
    },
};

/// The pane.
#[derive(Default)]
pub struct InputPane {
    name: Option<Arc<str>>,
    schema: Body,
    description: String,
    form: Option<FormView>,
    editor: Option<JsonEditor>,
    complaints: Vec<String>,
    /// JSON that was cleared while it was edited, after the form's that took its place.
    cleared: Cleared,
    memory: HashMap<Arc<str>, String>,
}

impl InputPane {
    /// Turns to a workflow, with the input that it had before.
    pub(super) fn show(&mut self, name: Option<&Arc<str>>, plan: Option<&Arc<Plan>>) {
        let schema = plan.map(|plan| plan.input.clone()).unwrap_or_default();
        if self.name.as_ref() == name && self.schema == schema {
            return;
        }
        if let (Some(name), Some(form)) = (&self.name, &self.form) {
            self.memory.insert(name.clone(), form.json());
        }
        (self.name, self.editor, self.cleared) = (name.cloned(), None, Cleared::default());
        self.description = plan.and_then(|plan| plan.description.clone()).unwrap_or_default();
        self.complaints.clear();
        self.form = plan.map(|_| {
            let mut form = FormView::new(&schema);
            if let Some(kept) = name.and_then(|name| self.memory.get(name)) {
                // It came from a form, so it is JSON.
                let _ = form.set_json(kept);
                form.forget_past();
            }
            form
        });
        self.schema = schema;
    }

    /// Fills the form with the input of a run.
    pub fn set(&mut self, input: &Body) {
        if let Some(form) = &mut self.form {
            self.editor = None;
            let _ = form.set_json(&input.text());
        }
    }

    /// Whether there is nothing to enter.
    pub fn is_empty(&self) -> bool {
        self.form.as_ref().is_none_or(|form| form.form().rows().is_empty())
    }

    /// Whether letters go into a field.
    pub fn wants_text(&self) -> bool {
        self.editor.is_some() || self.form.as_ref().is_some_and(FormView::wants_text)
    }

    /// Whether the input is edited as JSON.
    pub fn editing_json(&self) -> bool {
        self.editor.is_some()
    }

    /// Begins to type into the form.
    pub fn begin(&mut self) {
        if let Some(form) = &mut self.form {
            form.edit();
        }
    }

    /// Gives a key to the form or the editor.
    pub fn key(&mut self, key: KeyEvent) -> Outcome {
        self.complaints.clear();
        match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => match editor.handle(key) {
                EditorEvent::Submit => Outcome::Fire,
                EditorEvent::Leave => Outcome::Leave,
                _ => Outcome::Stay,
            },
            (None, Some(form)) => match form.handle(key) {
                FormEvent::Submit => Outcome::Fire,
                FormEvent::Leave(Leave::Out) => Outcome::Leave,
                FormEvent::Leave(Leave::After) if key.code == KeyCode::Tab => Outcome::Next,
                FormEvent::Leave(Leave::Before) if key.code == KeyCode::BackTab => Outcome::Previous,
                _ => Outcome::Stay,
            },
            (None, None) => Outcome::Stay,
        }
    }

    /// Puts the cursor on the field at this row of the screen; whether there is one.
    pub fn click(&mut self, y: u16) -> bool {
        self.editor.is_none() && self.form.as_mut().is_some_and(|form| form.click(y))
    }

    /// The form, unless JSON is edited.
    pub fn form_mut(&mut self) -> Option<&mut FormView> {
        self.form.as_mut().filter(|_| self.editor.is_none())
    }

    /// Inserts pasted text where the cursor is.
    pub fn paste(&mut self, text: &str) {
        match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => drop(editor.paste(text)),
            (None, Some(form)) => drop(form.paste(text)),
            (None, None) => {}
        }
    }

    /// Starts again from the defaults; [`InputPane::undo`] brings back what was there. Whether there was anything.
    pub fn reset(&mut self) -> bool {
        let Some(form) = &mut self.form else { return false };
        self.cleared.reset(form, &mut self.editor)
    }

    /// Whether there is a change that can be taken back.
    pub fn can_undo(&self) -> bool {
        self.cleared.can_undo(self.form.as_ref(), self.editor.as_ref())
    }

    /// Takes the last change of the form or the JSON back.
    pub fn undo(&mut self) {
        self.complaints.clear();
        self.cleared.undo(&mut self.form, &mut self.editor, &self.schema);
    }

    fn open_editor(&mut self, text: &str) {
        self.editor = Some(editor_of(&self.schema, text));
    }

    /// Goes from the form to JSON or back; JSON that cannot be read stays in the editor.
    pub fn toggle_json(&mut self) {
        self.complaints.clear();
        match (&mut self.editor, &mut self.form) {
            (Some(editor), Some(form)) => match form.set_json(&editor.text()) {
                Ok(()) => self.editor = None,
                Err(error) => {
                    editor.to_problem();
                    self.complaints.push(format!("Not JSON yet: {error}"));
                }
            },
            (None, Some(form)) => {
                let json = form.json();
                self.open_editor(&pretty(&json).unwrap_or(json));
            }
            _ => {}
        }
    }

    /// The input as it stands, however incomplete: for a dry run.
    pub fn draft(&self) -> Body {
        match (&self.editor, &self.form) {
            (Some(editor), _) => Body::from(editor.text()),
            (None, Some(form)) => form.form().body(),
            (None, None) => Body::from("{}"),
        }
    }

    /// The input if it can be sent; what is wrong is shown in the pane.
    pub fn ready(&mut self) -> Option<Body> {
        let made = match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => match (editor.submit(), Json::parse(&editor.text())) {
                (EditorEvent::Submit, Ok(json @ Json::Object(_))) => Ok(Body::from(json.text())),
                (EditorEvent::Submit, Ok(_)) => Err(vec!["The input is a JSON object: { … }".into()]),
                _ => Err(vec![]),
            },
            (None, Some(form)) => match form.submit() {
                FormEvent::Submit => Ok(form.form().body()),
                _ => Err(form.form().problems.clone()),
            },
            (None, None) => Ok(Body::from("{}")),
        };
        match made {
            Ok(body) => Some(body),
            Err(complaints) => {
                self.complaints = complaints;
                None
            }
        }
    }

    /// The rows that the pane would like, its border included.
    pub fn rows_wanted(&self) -> u16 {
        let fields = match (&self.editor, &self.form) {
            (Some(editor), _) => editor.text().lines().count() + 3,
            (None, Some(form)) => form.form().rows().len() + 3,
            (None, None) => 1,
        };
        u16::try_from(fields).unwrap_or(u16::MAX).saturating_add(5)
    }

    /// Draws the pane.
    pub fn draw(&mut self, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let title = if look.focused { theme.focus } else { theme.text };
        let contexts = [if self.wants_text() { Context::InputText } else { Context::Input }];
        let key = |action| look.keys.key(&contexts, action).unwrap_or_default();
        let right = format!("{} runs it · {} dry run", key(Action::RunWorkflow), key(Action::DryRun));
        let right = if self.form.is_some() { right } else { String::new() };
        let inner = pane(buf, area, &[("Input", title)], &[(&right, theme.muted)], look.focused, theme);
        let inner = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        if self.form.is_none() {
            Pen::new(buf, inner, 0).put("There is no sound file of this workflow, so it cannot be run.", theme.muted);
            return;
        }
        let mut y = 0;
        for row in wrap(&self.description, inner.width).iter().filter(|row| !row.is_empty()).take(usize::from(inner.height / 4)) {
            Pen::new(buf, inner, y).put(row, theme.muted);
            y += 1;
        }
        y += u16::from(y > 0);
        let below = (self.complaints.len() as u16).min(inner.height.saturating_sub(y + 1)).min(3);
        let body = Rect { y: inner.y + y.min(inner.height), height: inner.height.saturating_sub(y + below), ..inner };
        match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => editor.draw(body, buf, theme, look.focused),
            (None, Some(form)) if !form.form().rows().is_empty() => {
                form.show_keys(look.keys);
                form.draw(body, buf, theme, look.focused);
            }
            _ => drop(Pen::new(buf, body, 0).put("It takes no input.", theme.muted)),
        }
        for (index, complaint) in self.complaints.iter().take(usize::from(below)).enumerate() {
            let row = Rect { y: inner.bottom().saturating_sub(below), height: below, ..inner };
            Pen::new(buf, row, index as u16).put("✕ ", theme.fail).put(complaint, theme.fail);
        }
    }
}
