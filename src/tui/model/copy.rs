//! Copying: a menu of what can be copied here, and what is said about it afterwards.

use crate::{
    domain::{
        call::{CallSpec, Operation},
        event::NoticeLevel,
        server::Launch,
        text::visible_lines,
    },
    tui::{
        copying::{Copied, call_line, curl, harmless_json, mcp_servers},
        layout::Focus,
        msg::Cmd,
        overlay::menu::{Menu, MenuRow},
        pane::detail::Detail,
        tree::Node,
    },
};

use super::{Choice, Modal, Model};

/// What can be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyKind {
    /// What is under the cursor.
    Value,
    /// The whole result, or the arguments, as JSON.
    Json,
    /// A `switchboard` command line.
    CallLine,
    /// A curl command.
    Curl,
    /// The frames as they crossed the wire.
    Frames,
    /// The server as an entry of `mcpServers`.
    McpServers,
}

impl Model {
    /// Offers what can be copied here.
    pub(super) fn ask_copy(&mut self) {
        let mut kinds: Vec<(CopyKind, char, &str, String)> = vec![];
        let value = match self.focus {
            Focus::Servers | Focus::Info => "name, or the report of a failure",
            Focus::Call => "arguments",
            Focus::Traffic => "result of the call under the cursor",
            Focus::Result | Focus::Detail => "value under the cursor",
        };
        kinds.push((CopyKind::Value, 'y', "value", value.into()));
        if let Some(operation) = self.copied_operation() {
            let http = self.feed.world.server(operation.server()).is_some_and(|s| matches!(s.spec.launch, Launch::Http { .. }));
            let json = if self.focus == Focus::Call { "the arguments" } else { "the whole result, or the arguments" };
            kinds.push((CopyKind::Json, 'j', "JSON", json.into()));
            kinds.push((CopyKind::CallLine, 'c', "command line", "switchboard call …".into()));
            if http {
                kinds.push((CopyKind::Curl, 'u', "curl", "headers as variables".into()));
            }
        }
        if self.frames_text().is_some_and(|text| !text.is_empty()) {
            kinds.push((CopyKind::Frames, 'f', "raw frames", "exactly as they crossed the wire".into()));
        }
        if let Some(server) = self.copied_server() {
            kinds.push((CopyKind::McpServers, 'm', "mcpServers entry", format!("{server}, for other clients' JSON")));
        }
        let (rows, choices) =
            kinds.into_iter().map(|(kind, key, label, detail)| (MenuRow { key, label: label.into(), detail }, Choice::Copy(kind))).unzip();
        self.modals.push(Modal::Menu(Menu { title: "Copy".into(), rows, ..Menu::default() }, choices));
    }

    /// Copies, and says what was copied and what was changed for it.
    pub(super) fn copy(&mut self, kind: CopyKind) -> Vec<Cmd> {
        let copied = match kind {
            CopyKind::Value => self.value_text().map(|text| (plain(&text), "value")),
            CopyKind::Json => self.json_text().map(|text| {
                let (text, changed) = harmless_json(&text);
                (Copied { text, notes: changed.then_some("hidden characters are written as \\u escapes").into_iter().collect() }, "JSON")
            }),
            CopyKind::CallLine => self
                .copied_operation()
                .and_then(|operation| call_line(&operation, &self.feed.world, &self.invocation))
                .map(|copied| (said(copied), "command line")),
            CopyKind::Curl => self
                .copied_operation()
                .and_then(|operation| curl(&operation, &self.feed.world))
                .map(|copied| (said(copied), "curl command")),
            CopyKind::Frames => self.frames_text().map(|text| {
                let odd = visible_lines(&text) != text;
                let notes = odd.then_some("careful: control or hidden characters are in it as they came").into_iter().collect();
                (Copied { text, notes }, "raw frames")
            }),
            CopyKind::McpServers => self
                .copied_server()
                .and_then(|id| self.feed.world.server(&id.as_str().into()))
                .map(|server| (said(mcp_servers(&server.spec)), "mcpServers entry")),
        };
        let Some((copied, what)) = copied.filter(|(copied, _)| !copied.text.is_empty()) else {
            self.toast(NoticeLevel::Info, "There is nothing to copy here.");
            return vec![];
        };
        let count = copied.text.chars().count();
        let notes: String = copied.notes.iter().map(|note| format!("; {note}")).collect();
        let level = if copied.notes.is_empty() { NoticeLevel::Info } else { NoticeLevel::Warn };
        self.toast(level, format!("Copied: {what}, {count} characters{notes}."));
        vec![Cmd::Copy(copied.text)]
    }

    fn value_text(&self) -> Option<String> {
        let world = &self.feed.world;
        match self.focus {
            Focus::Servers | Focus::Info => self.tree.selected().map(|node| match node {
                Node::Tool(tool) => world.names.exposed(tool).map_or_else(|| tool.name.to_string(), |n| n.to_string()),
                Node::Group(name) | Node::Prompt(_, name) | Node::Resource(_, name) | Node::Template(_, name) => name.to_string(),
                Node::Server(id) | Node::Section(id, _) => match world.server(id).and_then(|s| s.phase.failure().cloned()) {
                    Some(failure) => failure.report().iter().map(|(l, t)| format!("{l}: {t}\n")).collect(),
                    None => id.to_string(),
                },
            }),
            Focus::Call => self.call.text(),
            Focus::Result => self.result.copy(world),
            Focus::Detail => self.detail.as_ref().and_then(|d| d.copy(world)),
            Focus::Traffic => self.under_traffic().copy(world),
        }
    }

    fn under_traffic(&self) -> Detail {
        let mut detail = Detail::default();
        detail.show(self.traffic.selected(&self.feed.world).map(|c| c.id), &self.feed.world);
        detail
    }

    fn json_text(&self) -> Option<String> {
        if self.focus == Focus::Call {
            return self.call.text();
        }
        let result = match self.focus {
            Focus::Traffic => self.under_traffic().result().cloned(),
            _ => self.shown().result().cloned(),
        };
        result.filter(|r| !r.is_empty()).map(|r| r.text().into_owned()).or_else(|| self.call.text())
    }

    fn frames_text(&self) -> Option<String> {
        match self.focus {
            Focus::Traffic => Some(self.under_traffic().raw_frames()),
            Focus::Result | Focus::Detail => Some(self.shown().raw_frames()),
            _ => None,
        }
    }

    /// The call that a command line would make: the one shown, or the one in the form.
    fn copied_operation(&self) -> Option<Operation> {
        let past = |spec: &CallSpec| spec.operation.clone();
        match self.focus {
            Focus::Traffic | Focus::Detail | Focus::Result => {
                self.meant_call().and_then(|id| self.feed.world.call(id)).map(|call| past(&call.spec))
            }
            Focus::Call | Focus::Servers | Focus::Info => self.call.sketch(),
        }
    }

    fn copied_server(&self) -> Option<String> {
        let server = match self.focus {
            Focus::Servers | Focus::Info | Focus::Call => self.tree.selected().and_then(Node::server).cloned(),
            _ => self.copied_operation().map(|operation| operation.server().clone()),
        };
        server.map(|id| id.to_string())
    }
}

/// Text without anything hidden in it.
fn plain(text: &str) -> Copied {
    let shown = visible_lines(text);
    let changed = shown != text;
    let notes = changed.then_some("control and hidden characters are written as escapes").into_iter().collect();
    Copied { text: shown.into_owned(), notes }
}

fn said(copied: Copied) -> Copied {
    let mut shown = plain(&copied.text);
    shown.notes.extend(copied.notes);
    shown
}
