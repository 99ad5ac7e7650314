//! What helps with typing arguments: suggestions of the server, one field by itself, what was typed before.

use ratatui::{buffer::Buffer, layout::Rect};
use serde_json::{Map, Value, json};

use crate::{
    domain::{
        argument_history::{RecallKind, Recalled, public},
        body::Body,
        call::Operation,
        form::{Kind, Path},
        id::ServerId,
    },
    tui::{
        action::Action,
        keymap::Context,
        pane::DrawContext,
        tree::Node,
        uri,
        widget::paint::{Pen, width},
    },
};

use super::CallPane;

/// An argument of a prompt or a template as it is being typed.
#[derive(Clone, Debug, PartialEq)]
pub struct Typed {
    /// The server.
    pub server: ServerId,
    /// The prompt or template.
    pub node: Node,
    /// The argument's name.
    pub argument: String,
    /// Its value so far.
    pub value: String,
    /// The other arguments.
    pub others: Vec<(String, String)>,
}

impl Typed {
    /// The request for suggestions (MCP 2025-11-25, `CompleteRequest`).
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
    /// The argument under the cursor, where a server may have suggestions for it.
    pub fn typed(&self) -> Option<Typed> {
        let node = self.target.as_ref().filter(|n| matches!(n, Node::Prompt(..) | Node::Template(..)))?;
        let form = self.form.as_ref().filter(|f| self.editor.is_none() && f.typing())?;
        let here = form.form().node(form.path())?;
        let Kind::Text(value) = &here.kind else { return None };
        let others = form.form().root().children().iter().filter(|n| n.key != here.key);
        let others = others.filter_map(|n| match &n.kind {
            Kind::Text(text) if !text.is_empty() => Some((n.key.clone(), text.clone())),
            _ => None,
        });
        Some(Typed {
            server: node.server()?.clone(),
            node: node.clone(),
            argument: here.key.clone(),
            value: value.clone(),
            others: others.collect(),
        })
    }

    /// Lets letters go into the field under the cursor.
    pub fn begin(&mut self) {
        if let Some(form) = &mut self.form {
            form.edit();
        }
    }

    /// Shows suggestions for the field under the cursor.
    pub fn suggest(&mut self, values: Vec<String>) {
        (self.suggested, self.taken) = (values, None);
    }

    /// The suggestions that are shown.
    pub fn suggestions(&self) -> Option<&[String]> {
        (!self.suggested.is_empty()).then_some(&*self.suggested)
    }

    /// Takes the next suggestion into the field; whether there was one.
    pub fn take_suggestion(&mut self) -> bool {
        let count = self.suggested.len();
        if count == 0 {
            return false;
        }
        let at = self.taken.map_or(0, |at| (at + 1) % count);
        let Some(form) = &mut self.form else { return false };
        let path = form.path().clone();
        form.set_text(&path, &self.suggested[at]);
        self.taken = Some(at);
        true
    }

    pub(super) fn draw_suggestions(&self, look: DrawContext, area: Rect, buf: &mut Buffer) {
        let theme = look.theme;
        let key = look.keys.key(&[Context::Text], Action::Complete).unwrap_or_default();
        let mut pen = Pen::new(buf, area, 0);
        pen.put(&key, theme.key).skip(1);
        // From the one taken last, so that the row goes along.
        let start = self.taken.unwrap_or(0);
        for (index, value) in self.suggested.iter().enumerate().skip(start) {
            if pen.left() < width(value).min(12) + 3 {
                pen.put(" …", theme.muted);
                return;
            }
            let room = pen.left().min(40);
            pen.skip(1).put_middle(value, room, if self.taken == Some(index) { theme.found } else { theme.text }).skip(1);
        }
    }

    pub(super) fn draw_subscription(&self, look: DrawContext, server: &ServerId, uri: &str, area: Rect, buf: &mut Buffer) {
        let Some(view) = look.read_model.server(server) else { return };
        if !view.info.as_ref().is_some_and(|info| info.declares(&["resources", "subscribe"])) {
            return;
        }
        let theme = look.theme;
        let key = look.keys.key(&[Context::Call], Action::Subscribe).unwrap_or_default();
        match view.subscriptions.get(uri) {
            None => {
                Pen::new(buf, area, 1).put(&key, theme.key).put(" subscribes: you are told when it changes", theme.muted);
            }
            Some((count, last)) => {
                let told = match last {
                    None => "subscribed, no change yet".to_owned(),
                    Some(last) => {
                        let times = if *count == 1 { "once".into() } else { format!("{count} times") };
                        format!("changed {times}, last at {}", &look.read_model.epoch.time_of_day(*last)[..8])
                    }
                };
                let style = if last.is_some() { theme.warn } else { theme.ok };
                Pen::new(buf, area, 1)
                    .put("◉ ", style)
                    .put(&told, style)
                    .put("   ", theme.muted)
                    .put(&key, theme.key)
                    .put(" ends it", theme.muted);
            }
        }
    }

    /// The text field under the cursor: where it is, its name, what is in it.
    pub fn field_text(&self) -> Option<(Path, String, String)> {
        let form = self.form.as_ref().filter(|_| self.editor.is_none())?;
        let path = form.path();
        let node = form.form().node(path)?;
        matches!(node.kind, Kind::Text(_) | Kind::Raw(_)).then_some(())?;
        Some((path.clone(), node.label.clone(), form.form().text(path)?.to_owned()))
    }

    /// The text of a field.
    pub fn text_at(&self, path: &[usize]) -> Option<String> {
        Some(self.form.as_ref()?.form().text(path)?.to_owned())
    }

    /// Sets the text of a field.
    pub fn set_field(&mut self, path: &[usize], text: &str) {
        if let Some(form) = self.form.as_mut().filter(|_| self.editor.is_none()) {
            form.set_text(path, text);
        }
    }

    /// The call as it stands, whether it could be sent or not: for copying and for firing many.
    pub fn sketch(&self) -> Option<Operation> {
        let arguments = match (&self.editor, &self.form) {
            (Some(editor), _) => Body::from(crate::domain::form::Json::parse(&editor.text()).ok()?.text()),
            (None, Some(form)) => form.form().body(),
            (None, None) => Body::from("{}"),
        };
        Some(match self.target.as_ref()? {
            Node::Tool(tool) => Operation::Tool { tool: tool.clone(), arguments },
            Node::Resource(server, uri) => Operation::Resource { server: server.clone(), uri: uri.to_string() },
            Node::Prompt(server, name) => Operation::Prompt { server: server.clone(), name: name.to_string(), arguments },
            Node::Template(server, template) => {
                let values = arguments.parse().unwrap_or_default();
                Operation::Resource { server: server.clone(), uri: uri::expand(template, &values) }
            }
            Node::Group(_) | Node::Replicas(_) | Node::Member(..) | Node::Server(_) | Node::Section(..) => return None,
        })
    }

    /// The arguments as they are to be remembered for another session.
    pub fn remember_for_later(&mut self) -> Option<Recalled> {
        let (server, kind, name) = place(self.target.as_ref()?)?;
        let arguments = match (&self.editor, &self.form) {
            (Some(editor), _) => Body::from(editor.text()),
            (None, Some(form)) => form.form().body(),
            (None, None) => return None,
        };
        if arguments.text() == "{}" && self.recall.find(&server, kind, &name).is_none() {
            return None;
        }
        let (arguments, _) = public(&arguments, &self.schema);
        let entry = Recalled { server, kind, name, arguments };
        self.recall.note(entry.clone());
        Some(entry)
    }

    /// What was sent in an earlier session.
    pub(super) fn recalled(&self, node: &Node) -> Option<String> {
        let (server, kind, name) = place(node)?;
        self.recall.find(&server, kind, &name).map(|body| body.text().into_owned())
    }
}

fn place(node: &Node) -> Option<(ServerId, RecallKind, String)> {
    Some(match node {
        Node::Tool(tool) => (tool.server.clone(), RecallKind::Tool, tool.name.to_string()),
        Node::Prompt(server, name) => (server.clone(), RecallKind::Prompt, name.to_string()),
        Node::Template(server, template) => (server.clone(), RecallKind::Template, template.to_string()),
        _ => return None,
    })
}
