//! Saved calls: saves the form or a call under a name, and passes the saved calls of the workflow files to the panes.

use crate::{
    domain::{
        call::{CallSpec, Operation},
        directory::Directory,
        event::NoticeLevel,
        workflow::saved_call::{NewSavedCall, SavedCall},
        workspace::WorkflowPlace,
    },
    tui::{
        WorkspaceRequest,
        flows::{clean_name, name_trouble},
        layout::Focus,
        msg::Cmd,
        overlay::{
            menu::{Menu, MenuRow},
            text_prompt::TextPrompt,
        },
        tree::Node,
        view::ViewId,
    },
};

use super::Model;

impl Model {
    /// Passes the saved calls of the workflow files to the tree and the form.
    pub(super) fn saved_calls_changed(&mut self) {
        let calls: std::sync::Arc<[SavedCall]> = SavedCall::all(&self.views.flows.list).into();
        self.console.tree.set_saved(calls.clone(), self.session.read_model());
        self.console.call.set_saved(calls, self.session.mirror.read_model.as_ref());
        self.reveal_saved();
    }

    /// Moves the cursor to the call that was saved last, once its file is read.
    fn reveal_saved(&mut self) {
        let Some(name) = &self.saved_last else { return };
        let is_it = |call: &SavedCall| call.name.strip_prefix("project/").unwrap_or(&call.name) == name.as_str();
        let found = self.console.tree.saved_calls().find(|(call, _)| is_it(call));
        let node = found.map(|(call, tool)| Node::Saved(tool.clone(), call.name.clone()));
        let Some(node) = node else { return };
        self.saved_last = None;
        // The cursor stays where the user types.
        if self.console.tree.filter().is_none() {
            self.console.tree.reveal(&node, self.session.mirror.read_model.as_ref());
        }
    }

    /// Returns the call of a tool that would be saved: the one in the form, or the one under the cursor.
    pub(super) fn saved_spec(&self) -> Option<CallSpec> {
        let spec = self.burst_spec().filter(|_| self.views.current != ViewId::Workflows)?;
        matches!(spec.operation, Operation::Tool { .. }).then_some(spec)
    }

    /// Returns the file of the selected saved call.
    pub(super) fn saved_file(&self) -> Option<String> {
        match self.console.tree.selected().filter(|_| !self.in_view())? {
            Node::Saved(_, name) => self.console.tree.saved_call(name).map(|call| call.file.clone()),
            _ => None,
        }
    }

    /// Returns the selected saved call if its form or its result is shown and the call is one of its tool.
    pub(super) fn saved_target(&self, operation: &Operation) -> Option<Node> {
        let shown = !self.in_view() && !matches!(self.console.focus, Focus::Traffic | Focus::Detail);
        let target = self.console.call.target().filter(|_| shown)?;
        match (target, operation) {
            (Node::Saved(own, _), Operation::Tool { tool, .. }) if own == tool => Some(target.clone()),
            _ => None,
        }
    }

    /// Asks for the name of a saved call.
    pub(super) fn ask_save_call(&mut self) {
        let Some(Operation::Tool { tool, arguments }) = self.saved_spec().map(|spec| spec.operation) else {
            self.toast(NoticeLevel::Info, "Select a tool or a call of a tool first.");
            return;
        };
        let read_model = self.session.read_model();
        let exposed = read_model.names.exposed(&tool).map_or_else(|| format!("{}/{}", tool.server, tool.name), |name| name.to_string());
        let schema = read_model.tool(&tool).map(|tool| tool.input_schema.clone()).unwrap_or_default();
        let call = NewSavedCall { name: String::new(), label: String::new(), tool: exposed.clone(), arguments, schema };
        let note = format!("{exposed} with these arguments, without secrets. / and : find it by its name.");
        let prompt = TextPrompt::new("Save call", note, &[("name", "")]);
        self.dialogs.push(prompt.on_submit(move |model, prompt| model.save_call(prompt.text(0).trim(), &call)));
    }

    /// Saves a call under a name. In a project, asks where.
    fn save_call(&mut self, label: &str, call: &NewSavedCall) -> Result<Vec<Cmd>, String> {
        let name = clean_name(label);
        if !name.contains(|c: char| c.is_ascii_alphanumeric()) {
            return Err("a name has at least one letter or digit of a-z and 0-9".into());
        }
        if let Some(trouble) = name_trouble(&name, &self.views.flows.list) {
            return Err(trouble);
        }
        let text = NewSavedCall { name: name.clone(), label: label.to_owned(), ..call.clone() }.text()?;
        self.saved_last = self.views.flows.folder.is_some().then(|| name.clone());
        let request = |place| vec![Cmd::Request(WorkspaceRequest::SaveWorkflow { name: name.clone(), text: text.clone(), place })];
        match (&self.views.flows.folder, &self.views.flows.user_folder) {
            (None, _) => Err("the workflow folder is unknown: no configuration file is in use".into()),
            (Some(project), Some(user)) if project != user => {
                let (here, everywhere) = (request(WorkflowPlace::Project), request(WorkflowPlace::User));
                let rows = vec![
                    MenuRow::new('p', "For this project", project.clone(), move |_| here),
                    MenuRow::new('u', "For all your projects", user.clone(), move |_| everywhere),
                ];
                self.dialogs.push(Menu::new(&format!("Save {label}"), rows));
                Ok(vec![])
            }
            (Some(_), _) => Ok(request(WorkflowPlace::Project)),
        }
    }
}
