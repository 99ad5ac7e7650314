//! The call pane: the selected target's description and its arguments, as a form or as JSON, with their problems.
//!
//! `assist` holds completions and argument recall. The pane remembers the arguments and the last call of every target that
//! was edited in this session.

mod assist;

use std::collections::{BTreeMap, HashMap};

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use serde_json::{Map, Value, json};

use crate::{
    domain::{
        argument_history::Recall,
        body::Body,
        call::Operation,
        catalog::{ConfirmPolicy, Hints},
        directory::Directory,
        id::{CallId, ServerId, ToolId},
        json::{Json, pretty},
        uri_template,
    },
    state::ConsoleState,
    tui::{
        action::Action,
        hits::Hit,
        keymap::Context,
        tree::Node,
        widget::{
            editor::{EditorEvent, JsonEditor},
            form::{FormEvent, FormView, Leave},
            paint::{Pen, pane, wrap},
            undo_clear::{Cleared, editor_of},
        },
    },
};

pub use assist::{CompletionRequest, recall_key, recalled_node};

use super::DrawContext;

/// The most rows of a description.
const DESCRIPTION_ROWS: usize = 3;
/// The most rows of complaints.
const COMPLAINT_ROWS: usize = 3;

/// What the pane remembers of a target.
#[derive(Clone, Default)]
struct TargetState {
    arguments: Option<String>,
    /// The text of the JSON editor while it is open. It may be invalid JSON.
    text: Option<String>,
    call: Option<CallId>,
}

/// The call pane.
#[derive(Default)]
pub struct CallPane {
    target: Option<Node>,
    /// The catalogue entry that the form was made from.
    entry: Body,
    schema: Body,
    form: Option<FormView>,
    editor: Option<JsonEditor>,
    memory: HashMap<Node, TargetState>,
    complaints: Vec<String>,
    /// JSON text that was cleared in the editor, for undo.
    cleared: Cleared,
    /// Arguments of earlier sessions.
    pub recall: Recall,
    /// The server's completions for the field under the cursor, and the index of the one inserted last.
    completions: Vec<String>,
    inserted: Option<usize>,
}

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

impl CallPane {
    /// Returns the target of the call.
    pub fn target(&self) -> Option<&Node> {
        self.target.as_ref()
    }

    /// Returns the last call of the target.
    pub fn last_call(&self) -> Option<CallId> {
        self.memory.get(self.target.as_ref()?)?.call
    }

    /// Records the last call of a target.
    pub fn note_call(&mut self, target: Node, call: CallId) {
        self.memory.entry(target).or_default().call = Some(call);
    }

    /// Shows another target with its remembered arguments.
    pub fn show(&mut self, node: Option<&Node>, read_model: &ConsoleState) {
        let node = node.filter(|n| n.callable());
        if self.target.as_ref() != node {
            self.remember();
            self.target = node.cloned();
            self.build(read_model);
        }
    }

    /// Rebuilds the form when the target's catalogue entry changed, with the same arguments.
    pub fn sync(&mut self, read_model: &ConsoleState) {
        let Some(entry) = self.target.as_ref().and_then(|node| entry(node, read_model)) else { return };
        if entry != self.entry {
            self.remember();
            self.build(read_model);
        }
    }

    fn build(&mut self, read_model: &ConsoleState) {
        (self.form, self.editor, self.entry, self.schema) = (None, None, Body::default(), Body::default());
        self.complaints.clear();
        self.cleared = Cleared::default();
        self.suggest(vec![]);
        let Some(node) = self.target.clone() else { return };
        self.entry = entry(&node, read_model).unwrap_or_default();
        let Some(schema) = schema(&node, read_model) else { return };
        let mut form = FormView::new(&schema);
        let state = match self.memory.get(&node) {
            Some(state) => state.clone(),
            None => TargetState { arguments: self.recalled(&node), ..TargetState::default() },
        };
        if let Some(arguments) = &state.arguments {
            // The text came from a form, so it is valid JSON.
            let _ = form.set_json(arguments);
            form.clear_undo();
        }
        self.schema = schema;
        self.form = Some(form);
        if let Some(text) = state.text {
            self.open_editor(&text);
        }
    }

    fn open_editor(&mut self, text: &str) {
        self.editor = Some(editor_of(&self.schema, text));
    }

    fn remember(&mut self) {
        let Some(node) = self.target.clone() else { return };
        let state = self.memory.entry(node).or_default();
        state.arguments = self.form.as_ref().map(FormView::json);
        state.text = self.editor.as_ref().map(JsonEditor::text);
    }

    /// Resets the target's arguments to the defaults; [`CallPane::undo`] restores them. Returns whether anything changed.
    pub fn reset(&mut self) -> bool {
        if let Some(node) = &self.target {
            let state = self.memory.entry(node.clone()).or_default();
            (state.arguments, state.text) = (None, None);
        }
        self.complaints.clear();
        self.suggest(vec![]);
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

    /// Sets the arguments to those of a call.
    pub fn set_arguments(&mut self, arguments: &Body) {
        if let Some(form) = &mut self.form {
            self.complaints.clear();
            match form.set_json(&arguments.text()) {
                Ok(()) => self.editor = None,
                Err(error) => self.complaints.push(format!("the call's arguments cannot be parsed: {error}")),
            }
        }
    }

    /// Returns the call, or the problems that prevent sending it. The pane shows the problems as well.
    pub fn operation(&mut self) -> Result<Operation, ArgumentProblems> {
        let made = self.make_operation();
        if let Err(refusal) = &made {
            self.complaints.clone_from(refusal);
        }
        made
    }

    /// Returns the call with its arguments as they are, and their violations. `None` if they are not a JSON object, which the
    /// pane shows.
    pub fn unchecked_operation(&mut self) -> Option<(Operation, ArgumentProblems)> {
        if let Some(editor) = &mut self.editor
            && let Err(problem) = editor.object()
        {
            editor.to_problem();
            self.complaints = vec![problem];
            return None;
        }
        let operation = self.draft()?;
        self.complaints.clear();
        Some((operation, self.violations()))
    }

    /// Returns whether the arguments violate the schema, in a form after the user tried to send it.
    pub fn refused(&self) -> bool {
        match (&self.editor, &self.form) {
            (Some(editor), _) => editor.syntax().is_none() && !editor.violations().is_empty(),
            (None, Some(form)) => form.refused(),
            (None, None) => false,
        }
    }

    /// Returns the violations of the arguments.
    pub fn violations(&self) -> ArgumentProblems {
        match (&self.editor, &self.form) {
            (Some(editor), _) => editor.violations().iter().map(ToString::to_string).collect(),
            (None, Some(form)) => form.form().violations(),
            (None, None) => vec![],
        }
    }

    fn make_operation(&mut self) -> Result<Operation, ArgumentProblems> {
        let Some(node) = &self.target else { return Err(vec!["nothing callable is selected".into()]) };
        // The form and the editor show their own problems in place.
        let arguments = match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => match (editor.submit(), Json::parse(&editor.text())) {
                // Compact: a line end would break the framing of stdio.
                (EditorEvent::Submit, Ok(json @ Json::Object(_))) => Body::from(json.text()),
                (EditorEvent::Submit, Ok(_)) => return Err(editor.object().err().into_iter().collect()),
                _ => return Err(vec![]),
            },
            (None, Some(form)) => match form.submit() {
                FormEvent::Submit => form.form().body(),
                // A form without rows is not drawn, so its problems are listed below the description.
                _ if form.form().rows().is_empty() => return Err(form.form().problems.clone()),
                _ => return Err(vec![]),
            },
            (None, None) => Body::from("{}"),
        };
        Ok(match node {
            Node::Tool(tool) => Operation::Tool { tool: tool.clone(), arguments },
            Node::Resource(server, uri) => Operation::Resource { server: server.clone(), uri: uri.to_string() },
            Node::Prompt(server, name) => Operation::Prompt { server: server.clone(), name: name.to_string(), arguments },
            Node::Template(server, template) => {
                let values: BTreeMap<String, String> = arguments.parse().unwrap_or_default();
                Operation::Resource { server: server.clone(), uri: uri_template::expand(template, &values) }
            }
            Node::Group(_) | Node::Replicas(_) | Node::Member(..) | Node::Server(_) | Node::Section(..) => {
                return Err(vec!["this row cannot be called".into()]);
            }
        })
    }

    /// Returns the preferred height: border, description, fields and their messages.
    pub fn rows_wanted(&self) -> u16 {
        let fields = match (&self.editor, &self.form) {
            (Some(editor), _) => editor.text().lines().count() + 3,
            (None, Some(form)) => form.form().rows().len().max(1) + 4,
            (None, None) => 1,
        };
        u16::try_from(fields).unwrap_or(u16::MAX).saturating_add(5)
    }

    /// Draws the pane.
    pub fn draw(&mut self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let title_style = if ctx.focused { theme.focus } else { theme.accent };
        let (name, right) = self.title(ctx.read_model);
        let style = match self.hints(ctx.read_model) {
            Some(Hints { read_only: Some(true), .. }) => theme.ok,
            Some(Hints { destructive: Some(false), .. }) | None => theme.muted,
            Some(_) => theme.warn,
        };
        let right: Vec<(&str, Style)> = right.as_ref().map(|r| (r.as_str(), style)).into_iter().collect();
        let inner = pane(buf, area, &[(&name, title_style)], &right, ctx.focused, theme);
        let inner = Rect { x: inner.x.saturating_add(1), width: inner.width.saturating_sub(2), ..inner };
        let mut y = 0;
        for row in self.description(ctx.read_model, inner.width, inner.height) {
            Pen::new(buf, inner, y).put(&row, theme.muted);
            y += 1;
        }
        if y > 0 && inner.height > 6 {
            y += 1;
        }
        let complaints: Vec<String> =
            self.complaints.iter().flat_map(|c| wrap(c, inner.width.saturating_sub(2))).take(COMPLAINT_ROWS).collect();
        let hints = u16::from(!self.completions.is_empty() && inner.height > y + 2);
        let below = (complaints.len() as u16 + hints).min(inner.height.saturating_sub(y));
        if hints > 0 {
            let row = Rect { y: inner.bottom() - 1, height: 1, ..inner };
            self.draw_suggestions(ctx, row, buf);
        }
        let body = Rect { y: inner.y + y, height: inner.height.saturating_sub(y + below), ..inner };
        match (&mut self.editor, &mut self.form) {
            (Some(editor), _) => editor.draw(body, buf, theme, ctx.focused),
            (None, Some(form)) if !form.form().rows().is_empty() => {
                form.show_keys(ctx.keys);
                form.draw(body, buf, theme, ctx.focused, ctx.hits);
            }
            _ => self.draw_plain(ctx, body, buf),
        }
        for (index, complaint) in complaints.iter().enumerate() {
            let lead = if index == 0 { "✕ " } else { "  " };
            Pen::new(buf, Rect { y: inner.bottom().saturating_sub(below), height: below, ..inner }, index as u16)
                .put(lead, theme.fail)
                .put(complaint, theme.fail);
        }
    }

    fn draw_plain(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let key = ctx.keys.key(&[Context::Call], Action::Send).unwrap_or_default();
        let text = match &self.target {
            Some(Node::Resource(server, uri)) => {
                self.draw_subscription(ctx, server, uri, area, buf);
                " read"
            }
            Some(_) => " send · no arguments",
            None => return,
        };
        ctx.put_key(&mut Pen::new(buf, area, 0), Action::Send, &key, text);
    }

    fn hints(&self, read_model: &ConsoleState) -> Option<Hints> {
        match &self.target {
            Some(Node::Tool(tool)) => read_model.tool(tool).map(|t| t.hints),
            _ => None,
        }
    }

    fn title(&self, read_model: &ConsoleState) -> (String, Option<String>) {
        match &self.target {
            Some(Node::Tool(tool)) => {
                let name = read_model.names.exposed(tool).map_or_else(|| tool.name.to_string(), |n| n.to_string());
                (name, Some(read_model.tool(tool).map_or_else(|| "not listed any more".to_owned(), |t| t.hints.words())))
            }
            Some(Node::Resource(_, uri)) => (uri.to_string(), Some("resource".into())),
            Some(Node::Template(_, template)) => (template.to_string(), Some("template".into())),
            Some(Node::Prompt(_, name)) => (name.to_string(), Some("prompt".into())),
            _ => ("Call".to_owned(), None),
        }
    }

    fn description(&self, read_model: &ConsoleState, width: u16, height: u16) -> Vec<String> {
        let Some(text) = self.target.as_ref().and_then(|node| description(node, read_model)) else { return vec![] };
        let most = DESCRIPTION_ROWS.min(usize::from(height / 3));
        let mut rows = wrap(&text, width);
        if rows.len() > most {
            rows.truncate(most);
            if let Some(last) = rows.last_mut() {
                last.push('…');
            }
        }
        rows
    }
}

fn entry(node: &Node, read_model: &ConsoleState) -> Option<Body> {
    if let Node::Tool(tool) = node {
        return read_model.tool(tool).map(|t| t.raw.clone());
    }
    let catalog = &read_model.server(node.server()?)?.catalog;
    match node {
        Node::Resource(_, uri) => catalog.resources.iter().find(|r| r.uri == **uri).map(|r| r.raw.clone()),
        Node::Template(_, uri) => catalog.templates.iter().find(|r| r.uri == **uri).map(|r| r.raw.clone()),
        Node::Prompt(_, name) => catalog.prompts.iter().find(|p| p.name == *name).map(|p| p.raw.clone()),
        _ => None,
    }
}

fn description(node: &Node, read_model: &ConsoleState) -> Option<String> {
    if let Node::Tool(tool) = node {
        let tool = read_model.tool(tool)?;
        return tool.description.clone().or_else(|| tool.title.clone());
    }
    let catalog = &read_model.server(node.server()?)?.catalog;
    let of = |list: &[std::sync::Arc<crate::domain::catalog::Resource>], uri: &str| {
        let resource = list.iter().find(|r| r.uri == uri)?;
        let size = resource.size.map(|s| format!(" · {}", crate::domain::time::size(s))).unwrap_or_default();
        let kind = resource.mime_type.clone().unwrap_or_else(|| "unknown type".into());
        Some(format!("{} · {kind}{size}\n{}", resource.name, resource.description.as_deref().unwrap_or("")))
    };
    match node {
        Node::Resource(_, uri) => of(&catalog.resources, uri),
        Node::Template(_, uri) => of(&catalog.templates, uri),
        Node::Prompt(_, name) => catalog.prompts.iter().find(|p| p.name == *name).and_then(|p| p.description.clone()),
        _ => None,
    }
}

/// Returns the schema of the arguments; `None` for targets without arguments and targets that are not listed any more.
fn schema(node: &Node, read_model: &ConsoleState) -> Option<Body> {
    let text = |description: Option<&str>| match description {
        Some(description) => json!({"type": "string", "description": description}),
        None => json!({"type": "string"}),
    };
    match node {
        Node::Tool(tool) => read_model.tool(tool).map(|t| t.input_schema.clone()),
        Node::Prompt(server, name) => {
            let prompt = read_model.server(server)?.catalog.prompts.iter().find(|p| p.name == *name)?;
            let properties: Map<String, Value> =
                prompt.arguments.iter().map(|a| (a.name.clone(), text(a.description.as_deref()))).collect();
            let required: Vec<&str> = prompt.arguments.iter().filter(|a| a.required).map(|a| a.name.as_str()).collect();
            Some(Body::json(&json!({"type": "object", "properties": properties, "required": required})))
        }
        Node::Template(_, template) => {
            let properties: Map<String, Value> = uri_template::variables(template).into_iter().map(|name| (name, text(None))).collect();
            Some(Body::json(&json!({"type": "object", "properties": properties})))
        }
        _ => None,
    }
}

/// Returns the tool's hints if the user's policy requires a confirmation before it is called.
pub fn needs_confirmation(tool: &ToolId, read_model: &ConsoleState, policy: ConfirmPolicy) -> Option<Hints> {
    let hints = read_model.tool(tool)?.hints;
    policy.asks(hints, trusted(&tool.server, read_model)).then_some(hints)
}

/// Returns whether a server, or every member of a group, is trusted.
pub fn trusted(server: &ServerId, read_model: &ConsoleState) -> bool {
    match read_model.server(server) {
        Some(server) => server.spec.trusted,
        None => read_model.members(server).next().is_some() && read_model.members(server).all(|member| member.spec.trusted),
    }
}
