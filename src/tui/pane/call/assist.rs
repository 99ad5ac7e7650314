//! Help with entering arguments: the server's completions, editing a single field, and recall of earlier arguments.

use ratatui::{buffer::Buffer, layout::Rect};
use serde_json::{Map, Value, json};

use crate::{
    domain::{
        argument_history::{RecallKind, Recalled, public},
        body::Body,
        call::Operation,
        form::Kind,
        id::{ServerId, ToolId},
        uri_template,
    },
    tui::{
        action::Action,
        keymap::Context,
        pane::DrawContext,
        tree::Node,
        widget::paint::{Pen, width},
    },
};

use super::CallPane;

/// A completion request for an argument of a prompt or a template.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionRequest {
    /// The server.
    pub server: ServerId,
    /// The prompt or template.
    pub node: Node,
    /// The argument's name.
    pub argument: String,
    /// The value typed so far.
    pub value: String,
    /// The other arguments.
    pub others: Vec<(String, String)>,
}

impl CompletionRequest {
    /// Returns the request to the server (MCP 2025-11-25, `CompleteRequest`).
    pub fn request(&self) -> Operation {
        let reference = match &self.node {
            Node::Prompt(_, name) => json!({"type": "ref/prompt", "name": &**name}),
            Node::Template(_, template) => json!({"type": "ref/resource", "uri": &**template}),
            _ => Value::Null,
        };
        let mut params = json!({"ref": reference, "argument": {"name": self.argument, "value": self.value}});
        if !self.others.is_empty() {
            let others: Map<String, Value> = self.others.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
            params["context"] = json!({"arguments": others});
        }
        Operation::Complete { server: self.server.clone(), params: Body::json(&params) }
    }
}

impl CallPane {
    /// Returns the completion request for the field under the cursor, if the server may have completions for it.
    pub fn completion_request(&self) -> Option<CompletionRequest> {
        let node = self.target.as_ref().filter(|n| matches!(n, Node::Prompt(..) | Node::Template(..)))?;
        let form = self.arguments.form().filter(|form| !self.arguments.editing_json() && form.typing())?;
        let field = form.form().node(form.path())?;
        let Kind::Text(value) = &field.kind else { return None };
        let others = form.form().root().children().iter().filter(|n| n.key != field.key);
        let others = others.filter_map(|n| match &n.kind {
            Kind::Text(text) if !text.is_empty() => Some((n.key.clone(), text.clone())),
            _ => None,
        });
        Some(CompletionRequest {
            server: node.server()?.clone(),
            node: node.clone(),
            argument: field.key.clone(),
            value: value.clone(),
            others: others.collect(),
        })
    }

    /// Shows completions for the field under the cursor.
    pub fn suggest(&mut self, values: Vec<String>) {
        (self.completions, self.inserted) = (values, None);
    }

    /// Returns the completions that are shown.
    pub fn suggestions(&self) -> Option<&[String]> {
        (!self.completions.is_empty()).then_some(&*self.completions)
    }

    /// Inserts the next completion into the field. Returns whether there was one.
    pub fn take_suggestion(&mut self) -> bool {
        let count = self.completions.len();
        if count == 0 {
            return false;
        }
        let at = self.inserted.map_or(0, |at| (at + 1) % count);
        let Some(form) = self.arguments.form_mut() else { return false };
        let path = form.path().clone();
        form.set_text(&path, &self.completions[at]);
        self.inserted = Some(at);
        true
    }

    pub(super) fn draw_suggestions(&self, ctx: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = ctx.theme;
        let key = ctx.keys.key(&[Context::Text], Action::Complete).unwrap_or_default();
        let mut pen = Pen::new(buf, area, 0);
        ctx.put_key(&mut pen, Action::Complete, &key, "");
        pen.skip(1);
        // Starts at the completion inserted last, so that the row scrolls with it.
        let start = self.inserted.unwrap_or(0);
        for (index, value) in self.completions.iter().enumerate().skip(start) {
            if pen.left() < width(value).min(12) + 3 {
                pen.put(" …", theme.muted);
                return;
            }
            let room = pen.left().min(40);
            pen.skip(1).put_middle(value, room, if self.inserted == Some(index) { theme.found } else { theme.text }).skip(1);
        }
    }

    pub(super) fn draw_subscription(&self, ctx: DrawContext, server: &ServerId, uri: &str, area: Rect, buf: &mut Buffer) {
        let Some(view) = ctx.read_model.server(server) else { return };
        if !view.info.as_ref().is_some_and(|info| info.declares(&["resources", "subscribe"])) {
            return;
        }
        let theme = ctx.theme;
        let key = ctx.keys.key(&[Context::Call], Action::Subscribe).unwrap_or_default();
        match view.subscriptions.get(uri) {
            None => {
                ctx.put_key(&mut Pen::new(buf, area, 1), Action::Subscribe, &key, " subscribe to changes");
            }
            Some((count, last)) => {
                let status = match last {
                    None => "subscribed, no changes yet".to_owned(),
                    Some(last) => {
                        let times = if *count == 1 { "once".into() } else { format!("{count} times") };
                        format!("changed {times}, last at {}", &ctx.read_model.epoch.time_of_day(*last)[..8])
                    }
                };
                let style = if last.is_some() { theme.warn } else { theme.ok };
                let mut pen = Pen::new(buf, area, 1);
                pen.put("◉ ", style).put(&status, style).put("   ", theme.muted);
                ctx.put_key(&mut pen, Action::Subscribe, &key, " unsubscribe");
            }
        }
    }

    /// Returns the call without validating its arguments, for copying and for bursts.
    pub fn draft(&self) -> Option<Operation> {
        operation(self.target.as_ref()?, self.arguments.draft()?)
    }

    /// Returns the arguments to store for later sessions.
    pub fn remember_for_later(&mut self) -> Option<Recalled> {
        let (server, kind, name) = recall_key(self.target.as_ref()?)?;
        if !self.arguments.exist() {
            return None;
        }
        let arguments = self.arguments.entered();
        if arguments.text() == "{}" && self.recall.find(&server, kind, &name).is_none() {
            return None;
        }
        let (arguments, _) = public(&arguments, self.arguments.schema());
        let entry = Recalled { server, kind, name, arguments, favourite: None };
        self.recall.note(entry.clone());
        Some(entry)
    }

    /// Returns the arguments of an earlier session.
    pub(super) fn recalled(&self, node: &Node) -> Option<String> {
        let (server, kind, name) = recall_key(node)?;
        self.recall.find(&server, kind, &name).map(|body| body.text().into_owned())
    }
}

/// Returns the call of a row of the tree with these arguments; `None` if it cannot be called.
pub(super) fn operation(node: &Node, arguments: Body) -> Option<Operation> {
    Some(match node {
        Node::Tool(tool) | Node::Saved(tool, _) => Operation::Tool { tool: tool.clone(), arguments },
        Node::Resource(server, uri) => Operation::Resource { server: server.clone(), uri: uri.to_string() },
        Node::Prompt(server, name) => Operation::Prompt { server: server.clone(), name: name.to_string(), arguments },
        Node::Template(server, template) => {
            let values = arguments.parse().unwrap_or_default();
            Operation::Resource { server: server.clone(), uri: uri_template::expand(template, &values) }
        }
        Node::Group(_) | Node::Replicas(_) | Node::Member(..) | Node::Server(_) | Node::Section(..) => return None,
    })
}

/// Returns the row of the tree that an entry of the argument history is about.
pub fn recalled_node(entry: &Recalled) -> Node {
    let (server, name) = (entry.server.clone(), entry.name.as_str());
    match entry.kind {
        RecallKind::Tool => Node::Tool(ToolId::new(server, name)),
        RecallKind::Prompt => Node::Prompt(server, name.into()),
        RecallKind::Template => Node::Template(server, name.into()),
        RecallKind::Resource => Node::Resource(server, name.into()),
    }
}

/// Returns the key of a row of the tree in the argument history.
pub fn recall_key(node: &Node) -> Option<(ServerId, RecallKind, String)> {
    Some(match node {
        Node::Tool(tool) => (tool.server.clone(), RecallKind::Tool, tool.name.to_string()),
        Node::Prompt(server, name) => (server.clone(), RecallKind::Prompt, name.to_string()),
        Node::Template(server, template) => (server.clone(), RecallKind::Template, template.to_string()),
        Node::Resource(server, uri) => (server.clone(), RecallKind::Resource, uri.to_string()),
        _ => return None,
    })
}
