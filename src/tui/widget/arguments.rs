//! Arguments under edit: a form from their schema, or JSON, with the problems that prevent sending them. The call pane and the
//! input of a workflow have one each.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    editor::{EditorEvent, JsonEditor},
    form::{FormEvent, FormView, Leave},
    paint::{Pen, wrap},
};
use crate::{
    domain::{
        body::Body,
        form::{Kind, Path},
        json::{Json, pretty},
    },
    tui::{hits::Hit, pane::DrawContext},
};

/// The most rows of complaints.
const COMPLAINT_ROWS: usize = 3;

/// The outcome of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyOutcome {
    /// The pane handled the key.
    Stay,
    /// Send the arguments.
    Send,
    /// Leave the pane.
    Leave,
    /// Go to the next pane.
    Next,
    /// Go to the previous pane.
    Previous,
}

/// Why the arguments cannot be sent.
pub type ArgumentProblems = Vec<String>;

/// The form, or the JSON editor while it is open. Both are absent without a schema.
#[derive(Default)]
pub struct Arguments {
    schema: Body,
    form: Option<FormView>,
    editor: Option<JsonEditor>,
    complaints: ArgumentProblems,
    /// JSON text that was cleared in the editor, with the form's JSON at that time.
    cleared: Option<(String, String)>,
}

impl Arguments {
    /// Creates a form for a schema with these values.
    pub fn new(schema: Body, values: Option<&str>) -> Arguments {
        let mut form = FormView::new(&schema);
        if let Some(values) = values {
            // The text came from a form, so it is valid JSON.
            let _ = form.set_json(values);
            form.clear_undo();
        }
        Arguments { schema, form: Some(form), ..Arguments::default() }
    }

    /// Returns the schema.
    pub fn schema(&self) -> &Body {
        &self.schema
    }

    /// Returns whether there is a form.
    pub fn exist(&self) -> bool {
        self.form.is_some()
    }

    /// Returns whether the form has no fields.
    pub fn is_empty(&self) -> bool {
        self.form.as_ref().is_none_or(|form| form.form().rows().is_empty())
    }

    /// Returns the form, even while JSON is edited.
    pub fn form(&self) -> Option<&FormView> {
        self.form.as_ref()
    }

    /// Returns the form, unless JSON is edited.
    pub fn form_mut(&mut self) -> Option<&mut FormView> {
        self.form.as_mut().filter(|_| self.editor.is_none())
    }

    /// Opens the JSON editor with a text.
    pub fn open_editor(&mut self, text: &str) {
        let mut editor = JsonEditor::new(Some(&self.schema));
        editor.set_text(text);
        self.editor = Some(editor);
    }

    /// Returns the values of the form and the text of the editor, to be restored later.
    pub fn remembered(&self) -> (Option<String>, Option<String>) {
        (self.form.as_ref().map(FormView::json), self.editor.as_ref().map(JsonEditor::text))
    }

    /// Removes the problems.
    pub fn forgive(&mut self) {
        self.complaints.clear();
    }

    /// Shows problems.
    pub fn complain(&mut self, problems: &[String]) {
        self.complaints = problems.to_vec();
    }

    /// Starts typing into the field under the cursor.
    pub fn begin(&mut self) {
        if let Some(form) = &mut self.form {
            form.edit();
        }
    }

    /// Resets the arguments to the defaults; [`Arguments::undo`] restores them. Returns whether anything changed.
    pub fn reset(&mut self) -> bool {
        self.complaints.clear();
        let Some(form) = &mut self.form else { return false };
        let before = form.json();
        form.reset();
        self.cleared = self.editor.take().map(|editor| (form.json(), editor.text()));
        self.cleared.is_some() || form.json() != before
    }

    /// Returns whether there is a change to undo.
    pub fn can_undo(&self) -> bool {
        self.editor.is_some() || self.cleared.is_some() || self.form.as_ref().is_some_and(FormView::can_undo)
    }

    /// Undoes the last change of the form or the JSON.
    pub fn undo(&mut self) {
        self.complaints.clear();
        match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => drop(editor.undo()),
            (None, Some(form)) => {
                // Cleared JSON is restored unless the form was changed since.
                let text = self.cleared.take().filter(|(json, _)| form.json() == *json).map(|(_, text)| text);
                form.undo();
                if let Some(text) = text {
                    self.open_editor(&text);
                }
            }
            (None, None) => {}
        }
    }

    /// Returns whether letters go into a field.
    pub fn wants_text(&self) -> bool {
        self.editor.is_some() || self.form.as_ref().is_some_and(FormView::wants_text)
    }

    /// Returns whether the arguments are edited as JSON.
    pub fn editing_json(&self) -> bool {
        self.editor.is_some()
    }

    /// Passes a key to the form or the editor.
    pub fn key(&mut self, key: KeyEvent) -> KeyOutcome {
        self.complaints.clear();
        match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => match editor.handle(key) {
                EditorEvent::Submit => KeyOutcome::Send,
                EditorEvent::Leave => KeyOutcome::Leave,
                EditorEvent::None | EditorEvent::Changed | EditorEvent::Refused => KeyOutcome::Stay,
            },
            (None, Some(form)) => match form.handle(key) {
                FormEvent::Submit => KeyOutcome::Send,
                FormEvent::Leave(Leave::Out) => KeyOutcome::Leave,
                // Tab on the last field moves to the next pane; the arrow keys do not leave the form.
                FormEvent::Leave(Leave::After) if key.code == KeyCode::Tab => KeyOutcome::Next,
                FormEvent::Leave(Leave::Before) if key.code == KeyCode::BackTab => KeyOutcome::Previous,
                FormEvent::Leave(_) | FormEvent::None | FormEvent::Changed | FormEvent::Refused => KeyOutcome::Stay,
            },
            (None, None) if key.code == KeyCode::Tab => KeyOutcome::Next,
            (None, None) if key.code == KeyCode::BackTab => KeyOutcome::Previous,
            (None, None) => KeyOutcome::Stay,
        }
    }

    /// Puts the cursor on the field that was clicked. Returns whether there is one.
    pub fn click(&mut self, hit: &Hit) -> bool {
        self.form_mut().is_some_and(|form| form.click(hit))
    }

    /// Inserts pasted text at the cursor.
    pub fn paste(&mut self, text: &str) {
        match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => drop(editor.paste(text)),
            (None, Some(form)) => drop(form.paste(text)),
            (None, None) => {}
        }
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

    /// Returns the arguments as text for an external editor.
    pub fn text(&self) -> Option<String> {
        match (&self.editor, &self.form) {
            (Some(editor), _) => Some(editor.text()),
            (None, Some(form)) => Some(pretty(&form.json()).unwrap_or_else(|_| form.json())),
            (None, None) => None,
        }
    }

    /// Sets the arguments from an external editor's text. Invalid JSON stays open in the JSON editor.
    pub fn set_text(&mut self, text: &str) {
        self.complaints.clear();
        let parsed = match &mut self.form {
            Some(form) if self.editor.is_none() => form.set_json(text),
            _ => Json::parse(text).map(drop),
        };
        if self.editor.is_some() || parsed.is_err() {
            self.open_editor(text);
        }
        if let Err(error) = parsed {
            self.complaints.push(format!("not valid JSON: {error}"));
        }
    }

    /// Sets the values of the form.
    pub fn set_values(&mut self, values: &Body) {
        let Some(form) = &mut self.form else { return };
        self.complaints.clear();
        match form.set_json(&values.text()) {
            Ok(()) => self.editor = None,
            Err(error) => self.complaints.push(format!("these arguments cannot be parsed: {error}")),
        }
    }

    /// Returns the field under the cursor that takes a typed value: path and name.
    pub fn field(&self) -> Option<(Path, String)> {
        let form = self.form.as_ref().filter(|_| self.editor.is_none())?;
        let node = form.form().node(form.path())?;
        matches!(node.kind, Kind::Text(_) | Kind::Number { .. } | Kind::Raw(_)).then(|| (form.path().clone(), node.label.clone()))
    }

    /// Returns the text field under the cursor: path, name and text.
    pub fn field_text(&self) -> Option<(Path, String, String)> {
        let form = self.form.as_ref().filter(|_| self.editor.is_none())?;
        let path = form.path();
        let node = form.form().node(path)?;
        matches!(node.kind, Kind::Text(_) | Kind::Raw(_)).then_some(())?;
        Some((path.clone(), node.label.clone(), form.form().text(path)?.to_owned()))
    }

    /// Returns the text of a field.
    pub fn text_at(&self, path: &[usize]) -> Option<String> {
        Some(self.form.as_ref()?.form().text(path)?.to_owned())
    }

    /// Sets the text of a field.
    pub fn set_field(&mut self, path: &[usize], text: &str) {
        if let Some(form) = self.form_mut() {
            form.set_text(path, text);
        }
    }

    /// Returns the arguments as entered, valid or not.
    pub fn entered(&self) -> Body {
        match (&self.editor, &self.form) {
            (Some(editor), _) => Body::from(editor.text()),
            (None, Some(form)) => form.form().body(),
            (None, None) => Body::from("{}"),
        }
    }

    /// Returns the arguments without validation; `None` if the text is not JSON.
    pub fn draft(&self) -> Option<Body> {
        match &self.editor {
            // Compact: a line end would break the framing of stdio.
            Some(editor) => Json::parse(&editor.text()).ok().map(|json| Body::from(json.text())),
            None => Some(self.entered()),
        }
    }

    /// Returns the arguments if they are valid. Otherwise returns the problems that the form and the editor do not show in
    /// place.
    pub fn submit(&mut self) -> Result<Body, ArgumentProblems> {
        match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => match (editor.submit(), Json::parse(&editor.text())) {
                (EditorEvent::Submit, Ok(json @ Json::Object(_))) => Ok(Body::from(json.text())),
                (EditorEvent::Submit, Ok(_)) => Err(editor.object().err().into_iter().collect()),
                _ => Err(vec![]),
            },
            (None, Some(form)) => match form.submit() {
                FormEvent::Submit => Ok(form.form().body()),
                // A form without rows is not drawn, so its problems are listed below the description.
                _ if form.form().rows().is_empty() => Err(form.form().problems.clone()),
                _ => Err(vec![]),
            },
            (None, None) => Ok(Body::from("{}")),
        }
    }

    /// Returns whether the arguments are a JSON object, valid or not. If they are not, the pane shows why.
    pub fn is_object(&mut self) -> bool {
        if let Some(editor) = &mut self.editor
            && let Err(problem) = editor.object()
        {
            editor.to_problem();
            self.complaints = vec![problem];
            return false;
        }
        true
    }

    /// Returns whether the arguments violate the schema, in a form after the user tried to send it.
    pub fn refused(&self) -> bool {
        match (&self.editor, &self.form) {
            (Some(editor), _) => editor.syntax().is_none() && !editor.violations().is_empty(),
            (None, Some(form)) => form.refused(),
            (None, None) => false,
        }
    }

    /// Returns the violations of the schema.
    pub fn violations(&self) -> ArgumentProblems {
        match (&self.editor, &self.form) {
            (Some(editor), _) => editor.violations().iter().map(ToString::to_string).collect(),
            (None, Some(form)) => form.form().violations(),
            (None, None) => vec![],
        }
    }

    /// Returns the rows that the fields or the text take.
    pub fn rows(&self) -> usize {
        match (&self.editor, &self.form) {
            (Some(editor), _) => editor.text().lines().count(),
            (None, Some(form)) => form.form().rows().len(),
            (None, None) => 0,
        }
    }

    /// Returns the rows of the problems at this width.
    pub fn complaint_rows(&self, width: u16) -> Vec<String> {
        self.complaints.iter().flat_map(|complaint| wrap(complaint, width.saturating_sub(2))).take(COMPLAINT_ROWS).collect()
    }

    /// Draws the fields or the text. Returns whether there is anything to draw.
    pub fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) -> bool {
        match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => editor.draw(area, buf, ctx.theme, ctx.focused),
            (None, Some(form)) if !form.form().rows().is_empty() => {
                form.show_keys(ctx.keys);
                form.draw(area, buf, ctx.theme, ctx.focused, ctx.hits);
            }
            _ => return false,
        }
        true
    }
}

/// Draws the problems into the last rows of `area`.
pub fn draw_complaints(rows: &[String], ctx: DrawContext, area: Rect, buf: &mut Buffer) {
    for (index, row) in rows.iter().enumerate() {
        let lead = if index == 0 { "✕ " } else { "  " };
        Pen::new(buf, area, index as u16).put(lead, ctx.theme.fail).put(row, ctx.theme.fail);
    }
}
