//! The input pane of a workflow: a form from its schema, or JSON. Remembers the entered input for the session.

use std::{collections::HashMap, sync::Arc};

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{buffer::Buffer, layout::Rect};

use crate::{
    domain::{
        body::Body,
        json::{Json, pretty},
        workflow::plan::Plan,
    },
    tui::{
        action::Action,
        hits::Hit,
        keymap::Context,
        pane::{DrawContext, call::KeyOutcome},
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
    /// JSON text that was cleared in the editor, for undo.
    cleared: Cleared,
    memory: HashMap<Arc<str>, String>,
}

impl InputPane {
    /// Shows a workflow with its remembered input.
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
            if let Some(input) = name.and_then(|name| self.memory.get(name)) {
                // The text came from a form, so it is valid JSON.
                let _ = form.set_json(input);
                form.clear_undo();
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

    /// Returns whether the workflow takes no input.
    pub fn is_empty(&self) -> bool {
        self.form.as_ref().is_none_or(|form| form.form().rows().is_empty())
    }

    /// Returns whether letters go into a field.
    pub fn wants_text(&self) -> bool {
        self.editor.is_some() || self.form.as_ref().is_some_and(FormView::wants_text)
    }

    /// Returns whether the input is edited as JSON.
    pub fn editing_json(&self) -> bool {
        self.editor.is_some()
    }

    /// Starts typing into the form.
    pub fn begin(&mut self) {
        if let Some(form) = &mut self.form {
            form.edit();
        }
    }

    /// Passes a key to the form or the editor.
    pub fn key(&mut self, key: KeyEvent) -> KeyOutcome {
        self.complaints.clear();
        match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => match editor.handle(key) {
                EditorEvent::Submit => KeyOutcome::Send,
                EditorEvent::Leave => KeyOutcome::Leave,
                _ => KeyOutcome::Stay,
            },
            (None, Some(form)) => match form.handle(key) {
                FormEvent::Submit => KeyOutcome::Send,
                FormEvent::Leave(Leave::Out) => KeyOutcome::Leave,
                FormEvent::Leave(Leave::After) if key.code == KeyCode::Tab => KeyOutcome::Next,
                FormEvent::Leave(Leave::Before) if key.code == KeyCode::BackTab => KeyOutcome::Previous,
                _ => KeyOutcome::Stay,
            },
            (None, None) => KeyOutcome::Stay,
        }
    }

    /// Puts the cursor on the field that was clicked. Returns whether there is one.
    pub fn click(&mut self, hit: &Hit) -> bool {
        self.form_mut().is_some_and(|form| form.click(hit))
    }

    /// Returns the form, unless JSON is edited.
    pub fn form_mut(&mut self) -> Option<&mut FormView> {
        self.form.as_mut().filter(|_| self.editor.is_none())
    }

    /// Inserts pasted text at the cursor.
    pub fn paste(&mut self, text: &str) {
        match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => drop(editor.paste(text)),
            (None, Some(form)) => drop(form.paste(text)),
            (None, None) => {}
        }
    }

    /// Resets the input to the defaults; [`InputPane::undo`] restores it. Returns whether anything changed.
    pub fn reset(&mut self) -> bool {
        let Some(form) = &mut self.form else { return false };
        self.cleared.reset(form, &mut self.editor)
    }

    /// Returns whether there is a change to undo.
    pub fn can_undo(&self) -> bool {
        self.cleared.can_undo(self.form.as_ref(), self.editor.as_ref())
    }

    /// Undoes the last change of the form or the JSON.
    pub fn undo(&mut self) {
        self.complaints.clear();
        self.cleared.undo(&mut self.form, &mut self.editor, &self.schema);
    }

    fn open_editor(&mut self, text: &str) {
        self.editor = Some(editor_of(&self.schema, text));
    }

    /// Switches between the form and JSON. Invalid JSON stays in the editor.
    pub fn toggle_json(&mut self) {
        self.complaints.clear();
        match (&mut self.editor, &mut self.form) {
            (Some(editor), Some(form)) => match form.set_json(&editor.text()) {
                Ok(()) => self.editor = None,
                Err(error) => {
                    editor.to_problem();
                    self.complaints.push(format!("not valid JSON: {error}"));
                }
            },
            (None, Some(form)) => {
                let json = form.json();
                self.open_editor(&pretty(&json).unwrap_or(json));
            }
            _ => {}
        }
    }

    /// Returns the input without validation, for a dry run.
    pub fn draft(&self) -> Body {
        match (&self.editor, &self.form) {
            (Some(editor), _) => Body::from(editor.text()),
            (None, Some(form)) => form.form().body(),
            (None, None) => Body::from("{}"),
        }
    }

    /// Returns the input if it is valid. Otherwise the pane shows the problems.
    pub fn validated(&mut self) -> Option<Body> {
        let made = match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => match (editor.submit(), Json::parse(&editor.text())) {
                (EditorEvent::Submit, Ok(json @ Json::Object(_))) => Ok(Body::from(json.text())),
                (EditorEvent::Submit, Ok(_)) => Err(vec!["the input must be a JSON object: { … }".into()]),
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

    /// Returns the preferred height of the pane, its border included.
    pub fn rows_wanted(&self) -> u16 {
        let fields = match (&self.editor, &self.form) {
            (Some(editor), _) => editor.text().lines().count() + 3,
            (None, Some(form)) => form.form().rows().len() + 3,
            (None, None) => 1,
        };
        u16::try_from(fields).unwrap_or(u16::MAX).saturating_add(5)
    }

    /// Draws the pane.
    pub fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title = if ctx.focused { theme.focus } else { theme.text };
        let contexts = [if self.wants_text() { Context::InputText } else { Context::Input }];
        let key = |action| ctx.keys.key(&contexts, action).unwrap_or_default();
        let right = format!("{} run · {} dry run", key(Action::RunWorkflow), key(Action::DryRun));
        let right = if self.form.is_some() { right } else { String::new() };
        let inner = pane(buf, area, &[("Input", title)], &[(&right, theme.muted)], ctx.focused, theme);
        let inner = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        if self.form.is_none() {
            let text = match &self.name {
                Some(_) => "The workflow file is missing or has errors, so it cannot run",
                None => "No workflow selected",
            };
            Pen::new(buf, inner, 0).put(text, theme.muted);
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
            (Some(editor), _) => editor.draw(body, buf, theme, ctx.focused),
            (None, Some(form)) if !form.form().rows().is_empty() => {
                form.show_keys(ctx.keys);
                form.draw(body, buf, theme, ctx.focused, ctx.hits);
            }
            _ => drop(Pen::new(buf, body, 0).put("No input", theme.muted)),
        }
        for (index, complaint) in self.complaints.iter().take(usize::from(below)).enumerate() {
            let row = Rect { y: inner.bottom().saturating_sub(below), height: below, ..inner };
            Pen::new(buf, row, index as u16).put("✕ ", theme.fail).put(complaint, theme.fail);
        }
    }
}
