//! The call pane: the selected target's description and its arguments, as a form or as JSON, with their problems.
//!
//! `assist` holds completions and argument recall. The pane remembers the arguments and the last call of every target that
//! was edited in this session.

mod assist;

use std::{collections::HashMap, sync::Arc};

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
        uri_template,
        workflow::saved_call::SavedCall,
    },
    state::ConsoleState,
    tui::{
        action::Action,
        keymap::Context,
        tree::Node,
        widget::{
            arguments::{ArgumentProblems, Arguments, draw_complaints},
            paint::{Pen, padded, pane, wrap},
        },
    },
};

pub use assist::{CompletionRequest, recall_key, recalled_node};

use super::DrawContext;

/// The most rows of a description.
const DESCRIPTION_ROWS: usize = 3;

/// What the pane remembers of a target.
#[derive(Clone, Default)]
struct TargetState {
    arguments: Option<String>,
    /// The text of the JSON editor while it is open. It may be invalid JSON.
    text: Option<String>,
    call: Option<CallId>,
}

/// The call pane.
pub struct CallPane {
    target: Option<Node>,
    /// The catalogue entry that the form was made from.
    entry: Body,
    arguments: Arguments,
    memory: HashMap<Node, TargetState>,
    /// The saved calls of the workflow files.
    saved: Arc<[SavedCall]>,
    /// Arguments of earlier sessions.
    pub recall: Recall,
    /// The server's completions for the field under the cursor, and the index of the one inserted last.
    completions: Vec<String>,
    inserted: Option<usize>,
}

impl Default for CallPane {
    fn default() -> CallPane {
        CallPane {
            target: None,
            entry: Body::default(),
            arguments: Arguments::default(),
            memory: HashMap::new(),
            saved: Arc::new([]),
            recall: Recall::default(),
            completions: vec![],
            inserted: None,
        }
    }
}

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

    /// Sets the saved calls. The form of one whose file changed has the new values.
    pub fn set_saved(&mut self, calls: Arc<[SavedCall]>, read_model: &ConsoleState) {
        let before = std::mem::replace(&mut self.saved, calls);
        let same = |name: &str| {
            let find = |calls: &[SavedCall]| calls.iter().find(|call| *call.name == *name).map(|call| call.arguments.clone());
            find(&before) == find(&self.saved)
        };
        let changed = |node: &Node| matches!(node, Node::Saved(_, name) if !same(name));
        let rebuild = self.target.as_ref().is_some_and(changed);
        self.memory.retain(|node, _| !changed(node));
        if rebuild {
            self.build(read_model);
        }
    }

    fn saved_call(&self, name: &str) -> Option<&SavedCall> {
        self.saved.iter().find(|call| *call.name == *name)
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
        (self.arguments, self.entry) = (Arguments::default(), Body::default());
        self.suggest(vec![]);
        let Some(node) = self.target.clone() else { return };
        self.entry = entry(&node, read_model).unwrap_or_default();
        let Some(schema) = schema(&node, read_model) else { return };
        let state = match self.memory.get(&node) {
            Some(state) => state.clone(),
            None => TargetState { arguments: self.first_arguments(&node), ..TargetState::default() },
        };
        self.arguments = Arguments::new(schema, state.arguments.as_deref());
        if let Some(text) = state.text {
            self.arguments.open_editor(&text);
        }
    }

    /// Returns the arguments that a form opens with: those of a saved call, or those of an earlier session.
    fn first_arguments(&self, node: &Node) -> Option<String> {
        match node {
            Node::Saved(_, name) => self.saved_call(name).map(|call| call.arguments.text().into_owned()),
            _ => self.recalled(node),
        }
    }

    fn remember(&mut self) {
        let Some(node) = self.target.clone() else { return };
        let state = self.memory.entry(node).or_default();
        (state.arguments, state.text) = self.arguments.remembered();
    }

    /// Returns the arguments under edit.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// Returns the arguments under edit, for changes.
    pub fn arguments_mut(&mut self) -> &mut Arguments {
        &mut self.arguments
    }

    /// Resets the target's arguments to the defaults; an undo restores them. Returns whether anything changed.
    pub fn reset(&mut self) -> bool {
        if let Some(node) = &self.target {
            let state = self.memory.entry(node.clone()).or_default();
            (state.arguments, state.text) = (None, None);
        }
        self.suggest(vec![]);
        self.arguments.reset()
    }

    /// Returns the call, or the problems that prevent sending it. The pane shows the problems as well.
    pub fn operation(&mut self) -> Result<Operation, ArgumentProblems> {
        let made = self.make_operation();
        if let Err(refusal) = &made {
            self.arguments.complain(refusal);
        }
        made
    }

    /// Returns the call with its arguments as they are, and their violations. `None` if they are not a JSON object, which the
    /// pane shows.
    pub fn unchecked_operation(&mut self) -> Option<(Operation, ArgumentProblems)> {
        if !self.arguments.is_object() {
            return None;
        }
        let operation = self.draft()?;
        self.arguments.forgive();
        Some((operation, self.arguments.violations()))
    }

    fn make_operation(&mut self) -> Result<Operation, ArgumentProblems> {
        let Some(node) = self.target.clone() else { return Err(vec!["nothing callable is selected".into()]) };
        // The form and the editor show their own problems in place.
        let arguments = self.arguments.submit()?;
        assist::operation(&node, arguments).ok_or_else(|| vec!["this row cannot be called".into()])
    }

    /// Returns the preferred height: border, description, fields and their messages.
    pub fn rows_wanted(&self) -> u16 {
        let fields = match (self.arguments.editing_json(), self.arguments.exist()) {
            (true, _) => self.arguments.rows() + 3,
            (false, true) => self.arguments.rows().max(1) + 4,
            (false, false) => 1,
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
        let inner = padded(inner);
        let mut y = 0;
        for row in self.description(ctx.read_model, inner.width, inner.height) {
            Pen::new(buf, inner, y).put(&row, theme.muted);
            y += 1;
        }
        if y > 0 && inner.height > 6 {
            y += 1;
        }
        let complaints = self.arguments.complaint_rows(inner.width);
        let hints = u16::from(!self.completions.is_empty() && inner.height > y + 2);
        let below = (complaints.len() as u16 + hints).min(inner.height.saturating_sub(y));
        if hints > 0 {
            let row = Rect { y: inner.bottom() - 1, height: 1, ..inner };
            self.draw_suggestions(ctx, row, buf);
        }
        let body = Rect { y: inner.y + y, height: inner.height.saturating_sub(y + below), ..inner };
        if !self.arguments.draw(ctx, body, buf) {
            self.draw_plain(ctx, body, buf);
        }
        draw_complaints(&complaints, ctx, Rect { y: inner.bottom().saturating_sub(below), height: below, ..inner }, buf);
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
            Some(Node::Tool(tool) | Node::Saved(tool, _)) => read_model.tool(tool).map(|t| t.hints),
            _ => None,
        }
    }

    fn title(&self, read_model: &ConsoleState) -> (String, Option<String>) {
        match &self.target {
            Some(node @ (Node::Tool(tool) | Node::Saved(tool, _))) => {
                let exposed = read_model.names.exposed(tool).map_or_else(|| tool.name.to_string(), |n| n.to_string());
                let name = match node {
                    Node::Saved(_, name) => format!("{} · {exposed}", self.saved_call(name).map_or(&**name, |call| &*call.label)),
                    _ => exposed,
                };
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
    if let Node::Tool(tool) | Node::Saved(tool, _) = node {
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
    if let Node::Tool(tool) | Node::Saved(tool, _) = node {
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
        Node::Tool(tool) | Node::Saved(tool, _) => read_model.tool(tool).map(|t| t.input_schema.clone()),
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
