//! Copying: the menu of what can be copied here, and the message afterwards.

use crate::{
    domain::{
        body::Body,
        call::Operation,
        event::NoticeLevel,
        id::CallId,
        secret::{Redactor, Secret},
        server::Transport,
        time::size,
    },
    tui::{
        background::{Done, JobKind, Material},
        copying::{Copied, CopyKind, call_line, curl, mcp_servers, plain},
        layout::Focus,
        msg::Cmd,
        overlay::menu::{Menu, MenuRow},
        pane::detail::Detail,
        tree::Node,
        view::ViewId,
    },
};

use super::Model;

impl Model {
    /// Opens the menu of what can be copied here.
    pub(in crate::tui) fn ask_copy(&mut self) {
        let mut kinds: Vec<(CopyKind, char, &str, String)> = vec![];
        let value = match self.console.focus {
            _ if self.in_view() => "result of the selected call",
            Focus::Servers | Focus::Info => "name, or failure report",
            Focus::Call => "arguments",
            Focus::Traffic => "result of the selected call",
            Focus::Result | Focus::Detail => "selected value",
        };
        kinds.push((CopyKind::Value, 'y', "value", value.into()));
        if let Some(operation) = self.copied_operation() {
            let http =
                self.session.read_model().server(operation.server()).is_some_and(|s| matches!(s.spec.launch, Transport::Http { .. }));
            let json = if self.console.focus == Focus::Call && !self.in_view() { "arguments" } else { "complete result, or arguments" };
            kinds.push((CopyKind::Json, 'j', "JSON", json.into()));
            kinds.push((CopyKind::CallLine, 'c', "command line", "switchboard call …".into()));
            if http {
                kinds.push((CopyKind::Curl, 'u', "curl", "headers as variables".into()));
            }
        }
        if self.csv().is_some() {
            kinds.push((CopyKind::Csv, 'v', "CSV", "all rows, in the order shown".into()));
        }
        if self.frames().is_some_and(|frames| !frames.pieces.is_empty()) {
            kinds.push((CopyKind::Frames, 'f', "raw frames", "exactly as sent and received".into()));
        }
        if let Some(server) = self.copied_server() {
            kinds.push((CopyKind::McpServers, 'm', "mcpServers entry", format!("{server}, for other clients' JSON")));
        }
        let row = |(kind, key, label, detail)| MenuRow::new(key, label, detail, move |model| model.copy(kind));
        self.dialogs.push(Menu::new("Copy", kinds.into_iter().map(row).collect()));
    }

    /// Copies, and reports what was copied and what was changed for it. Large material is prepared in the background.
    pub(super) fn copy(&mut self, kind: CopyKind) -> Vec<Cmd> {
        let material = match kind {
            CopyKind::Value => self.value(),
            CopyKind::Json => self.json(),
            CopyKind::Csv => self.csv(),
            CopyKind::Frames => self.frames(),
            CopyKind::CallLine | CopyKind::Curl | CopyKind::McpServers => {
                let copied = self.written(kind);
                return self.copied(kind, copied.unwrap_or_default());
            }
        };
        let job = JobKind::Copy(kind, material.unwrap_or_default());
        let bytes = job.size() as u64;
        let mut tasks = vec![];
        match job.ask(&mut tasks) {
            Ok(Done::Copied(kind, copied)) => self.copied(kind, copied),
            Ok(_) => vec![],
            Err(ticket) => {
                self.copying = Some(ticket);
                self.toast(NoticeLevel::Info, format!("Preparing {} for the clipboard …", size(bytes)));
                tasks.into_iter().map(Cmd::Work).collect()
            }
        }
    }

    /// Puts the prepared text on the clipboard.
    pub(in crate::tui) fn copied(&mut self, kind: CopyKind, mut copied: Copied) -> Vec<Cmd> {
        let secrets: Vec<Secret> = self.session.read_model().servers.iter().flat_map(|server| server.spec.secrets()).collect();
        let redactor = Redactor::new(&secrets);
        if redactor.finds(copied.text.as_bytes()) {
            redactor.redact_in(&mut copied.text);
            copied.notes.push("configured secrets are masked");
        }
        if copied.text.is_empty() {
            self.toast(NoticeLevel::Info, "Nothing to copy here.");
            return vec![];
        }
        let count = size(copied.text.len() as u64);
        let notes: String = copied.notes.iter().map(|note| format!("; {note}")).collect();
        let level = if copied.notes.is_empty() { NoticeLevel::Info } else { NoticeLevel::Warn };
        self.toast(level, format!("Copied: {}, {count}{notes}.", kind.word()));
        vec![Cmd::Copy(copied.text)]
    }

    /// Returns the text of kinds that are written for the clipboard, not copied as received.
    fn written(&self, kind: CopyKind) -> Option<Copied> {
        let read_model = self.session.read_model();
        match kind {
            CopyKind::CallLine => call_line(&self.copied_operation()?, read_model, &self.invocation),
            CopyKind::Curl => curl(&self.copied_operation()?, read_model),
            _ => Some(mcp_servers(&read_model.server(&self.copied_server()?.as_str().into())?.spec)),
        }
        .map(escaped)
    }

    /// Returns the rows of the table that is shown.
    fn csv(&self) -> Option<Material> {
        // Line ends of the platform: the clipboard is text.
        let csv = self.copied_detail()?.csv()?.replace("\r\n", "\n");
        Some(Material { pieces: vec![Body::from(csv)], decode: false })
    }

    fn value(&self) -> Option<Material> {
        let read_model = self.session.read_model();
        if let Some(detail) = self.copied_detail() {
            return detail.copy(read_model);
        }
        let text = match self.console.focus {
            Focus::Servers | Focus::Info => self.console.tree.selected().map(|node| match node {
                Node::Tool(tool) => read_model.names.exposed(tool).map_or_else(|| tool.name.to_string(), |n| n.to_string()),
                Node::Saved(_, name) => name.to_string(),
                Node::Group(name) | Node::Prompt(_, name) | Node::Resource(_, name) | Node::Template(_, name) => name.to_string(),
                Node::Replicas(id) | Node::Member(_, id) | Node::Server(id) | Node::Section(id, _) => {
                    match read_model.server(id).and_then(|s| s.phase.failure().cloned()) {
                        Some(failure) => failure.report().iter().map(|(l, t)| format!("{}: {t}\n", l.word())).collect(),
                        None => id.to_string(),
                    }
                }
            }),
            _ => self.console.call.arguments().text(),
        };
        text.map(|text| Material { pieces: vec![text.into()], decode: false })
    }

    /// Returns the call whose parts are copied: the open one, or the one under the cursor of a list.
    fn copied_detail(&self) -> Option<Call<'_>> {
        let made = |call: Option<CallId>| {
            let mut detail = Detail::default();
            detail.show(call, self.session.read_model());
            call.map(|_| Call::Made(Box::new(detail)))
        };
        match (self.views.current, self.console.focus) {
            (ViewId::Console, Focus::Servers | Focus::Info | Focus::Call) => None,
            (ViewId::Console, Focus::Traffic) => made(self.console.traffic.selected(self.session.read_model()).map(|c| c.id)),
            (ViewId::Console, Focus::Result | Focus::Detail) => Some(Call::Shown(self.shown())),
            _ => match &self.views.state.entry {
                Some(entry) if entry.call().is_some() => Some(Call::Shown(&entry.detail)),
                _ => made(self.meant_call()),
            },
        }
    }

    fn json(&self) -> Option<Material> {
        let result = self.copied_detail().and_then(|detail| detail.result().cloned()).filter(|r| !r.is_empty());
        let body = result.or_else(|| self.copied_arguments())?;
        Some(Material { pieces: vec![body], decode: false })
    }

    fn copied_arguments(&self) -> Option<Body> {
        match self.copied_operation()? {
            Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => Some(arguments),
            _ => None,
        }
    }

    fn frames(&self) -> Option<Material> {
        let pieces = self.copied_detail()?.frames().map(|frame| frame.body.clone()).collect();
        Some(Material { pieces, decode: false })
    }

    /// Returns the call that a command line would make: the one shown, or the one in the form.
    fn copied_operation(&self) -> Option<Operation> {
        match self.console.focus {
            Focus::Call | Focus::Servers | Focus::Info if !self.in_view() => self.console.call.draft(),
            _ => self.meant_call().and_then(|id| self.session.read_model().call(id)).map(|call| call.spec.operation.clone()),
        }
    }

    fn copied_server(&self) -> Option<String> {
        let server = match self.console.focus {
            Focus::Servers | Focus::Info | Focus::Call if !self.in_view() => self.console.tree.selected().and_then(Node::server).cloned(),
            _ => self.copied_operation().map(|operation| operation.server().clone()),
        };
        server.map(|id| id.to_string())
    }
}

/// A call whose parts are copied.
enum Call<'m> {
    /// The one on the screen.
    Shown(&'m Detail),
    /// One that is not, built for this.
    Made(Box<Detail>),
}

impl std::ops::Deref for Call<'_> {
    type Target = Detail;

    fn deref(&self) -> &Detail {
        match self {
            Call::Shown(detail) => detail,
            Call::Made(detail) => detail,
        }
    }
}

fn escaped(copied: Copied) -> Copied {
    let mut shown = plain(&copied.text);
    shown.notes.extend(copied.notes);
    shown
}
