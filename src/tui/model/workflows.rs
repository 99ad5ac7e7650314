//! Workflows: running, resuming, cancelling, editing; saving calls as workflows.

use std::sync::Arc;

use crate::{
    control::Command,
    domain::{
        body::Body,
        directory::Directory,
        event::NoticeLevel,
        id::CallId,
        journal::past_call,
        plural::counted,
        run::{RunFrom, RunId, RunSpec, StepState},
        workflow::{
            catalog_lookup::CatalogView,
            check::check_against,
            history::{PastCall, from_history},
            library::WorkflowLibrary,
            plan::Plan,
        },
        workspace::WorkflowPlace,
    },
    state::runs::RunView,
    tui::{
        WorkspaceRequest,
        action::Action,
        flows::{self, free_name, name_trouble},
        keymap::Context,
        msg::Cmd,
        overlay::{dry_run::DryRun, text_dialog::TextDialog, text_prompt::TextPrompt},
        view::{Part, ViewInput},
    },
};

use super::Model;

impl Model {
    /// Applies changed workflow files.
    pub(super) fn flows_changed(&mut self, library: &WorkflowLibrary) {
        self.views.flows.set(library);
        self.saved_calls_changed();
    }

    /// Returns the plan of the workflow under the cursor.
    fn flow_plan(&self) -> Option<Arc<Plan>> {
        self.views.flows.flow(self.session.read_model())?.plan.as_ref().ok().cloned()
    }

    /// Returns the run that is shown.
    fn flow_run(&self) -> Option<&Arc<RunView>> {
        self.views.flows.run(self.session.read_model())
    }

    /// Goes from the list to the form, from the form to the run.
    pub(in crate::tui) fn run_workflow(&mut self) -> Vec<Cmd> {
        let Some(plan) = self.flow_plan() else {
            self.toast(NoticeLevel::Warn, "The workflow file has errors, so it cannot be run.");
            return vec![];
        };
        if self.views.state.part != Part::Input && !self.views.flows.input.arguments().is_empty() {
            self.views.flows.open_input(&mut self.views.state);
            return vec![];
        }
        match self.views.flows.input.validated() {
            Some(input) => self.start_run(&plan, input, None),
            None => vec![],
        }
    }

    fn start_run(&mut self, plan: &Plan, input: Body, from: Option<RunFrom>) -> Vec<Cmd> {
        if self.engine_gone {
            self.toast(NoticeLevel::Error, "The engine has stopped: no workflow can be run.");
            return vec![];
        }
        let name = self.views.flows.name(self.session.read_model()).unwrap_or_else(|| plan.name.as_str().into());
        self.ask_or_run(plan, Arc::new(flows::spec(&name, plan, input, from)))
    }

    /// Starts a run that the user confirmed.
    pub(super) fn begin_run(&mut self, spec: Arc<RunSpec>) -> Vec<Cmd> {
        let unix_ms = self.session.read_model().epoch.unix_ms(self.session.time());
        let run = RunId::new(unix_ms, fastrand::u128(..));
        self.views.flows.begin(run, &spec.workflow);
        self.views.state.part = Part::Graph;
        vec![Cmd::Command(Command::StartRun { run, spec })]
    }

    /// Runs the workflow of the shown run again with the same input, optionally from a step on.
    pub(in crate::tui) fn run_again(&mut self, from: Option<RunFrom>) -> Vec<Cmd> {
        match (self.flow_plan(), self.flow_run().map(|run| run.input.clone())) {
            (Some(plan), Some(input)) => self.start_run(&plan, input, from),
            (_, None) => self.run_workflow(),
            (None, _) => {
                self.toast(NoticeLevel::Warn, "The workflow file has errors now, so it cannot be run again.");
                vec![]
            }
        }
    }

    pub(in crate::tui) fn run_from(&mut self) -> Vec<Cmd> {
        let Some(run) = self.flow_run().cloned() else {
            self.toast(NoticeLevel::Info, "No earlier run has results.");
            return vec![];
        };
        if run.report.is_none() {
            self.toast(NoticeLevel::Info, "The run is still in progress.");
            return vec![];
        }
        let outer = |path: &Arc<str>| path.split(['/', '[']).next().unwrap_or_default().to_owned();
        let Some(step) = self.views.flows.selected().map(outer) else {
            self.toast(NoticeLevel::Info, "Select the step to start from; earlier steps reuse their results.");
            return vec![];
        };
        let steps = run.plan.steps.iter().zip(&run.steps);
        let compensated = steps.filter(|(summary, view)| view.state == StepState::Compensated && *summary.id != *step);
        let again: Vec<&str> = compensated.map(|(summary, _)| &*summary.id).collect();
        if !again.is_empty() {
            self.toast(NoticeLevel::Info, format!("Compensated steps run again as well: {}.", again.join(", ")));
        }
        self.run_again(Some(RunFrom { run: run.id, step }))
    }

    /// Resumes a run of an earlier session. Its in-doubt steps are resolved in the inbox.
    pub(in crate::tui) fn resume_run(&mut self) -> Vec<Cmd> {
        let read_model = self.session.read_model();
        let (Some(run), Some(name)) = (self.views.flows.interrupted(read_model), self.views.flows.name(read_model)) else {
            self.toast(NoticeLevel::Info, "No run of this workflow was interrupted.");
            return vec![];
        };
        self.views.flows.begin(run, &name);
        self.views.state.part = Part::Graph;
        vec![Cmd::Command(Command::ResumeRun { run, answers: vec![], ask: true, wait: false, timeout: None })]
    }

    pub(in crate::tui) fn dry_run(&mut self) {
        let Some(plan) = self.flow_plan() else {
            self.toast(NoticeLevel::Warn, "The workflow file has errors, so there is nothing to preview.");
            return;
        };
        let view = flows::preview(&plan, &self.views.flows.input.arguments().entered(), self.session.read_model());
        let unfit = check_against(&plan, &CatalogView(self.session.read_model()));
        self.dialogs.push(TextDialog::new(DryRun::new(&plan.name, view, unfit)));
    }

    pub(in crate::tui) fn cancel_run(&mut self) -> Vec<Cmd> {
        match self.flow_run().filter(|run| run.report.is_none()).map(|run| run.id) {
            Some(run) => vec![Cmd::Command(Command::CancelRun { run, reason: "cancelled in the console".into() })],
            None => {
                self.toast(NoticeLevel::Info, "No run is in progress here.");
                vec![]
            }
        }
    }

    pub(in crate::tui) fn cancel_step(&mut self) -> Vec<Cmd> {
        let run = self.flow_run().filter(|run| run.report.is_none()).map(|run| run.id);
        match (run, self.views.flows.selected().cloned()) {
            (Some(run), Some(step)) => {
                vec![Cmd::Command(Command::CancelStep { run, step: step.to_string(), reason: "cancelled in the console".into() })]
            }
            _ => {
                self.toast(NoticeLevel::Info, "Select a step of a run in progress.");
                vec![]
            }
        }
    }

    pub(in crate::tui) fn edit_workflow(&mut self) -> Vec<Cmd> {
        match self.views.flows.flow(self.session.read_model()).map(|flow| flow.file.clone()) {
            Some(file) => vec![Cmd::EditFile { path: file, line: None }],
            None => {
                self.toast(NoticeLevel::Info, "This workflow has no file.");
                vec![]
            }
        }
    }

    /// Handles the end of the editor of a workflow file.
    pub(super) fn file_edited(&mut self, edited: Result<(), String>) -> Vec<Cmd> {
        if let Err(why) = edited {
            self.toast(NoticeLevel::Warn, why);
        }
        Self::request(WorkspaceRequest::ReadWorkflows)
    }
}

/// Saving calls as workflows.
impl Model {
    /// Marks the call under the cursor, or the selected server, or unmarks it.
    pub(super) fn mark(&mut self) {
        if let Some(server) = self.server_to_mark() {
            return self.mark_server(server);
        }
        let Some(call) = self.meant_call() else {
            self.toast(NoticeLevel::Info, "Select a call first.");
            return;
        };
        let marked = &mut self.views.state.rows.marked;
        match marked.iter().position(|id| *id == call) {
            Some(at) => drop(marked.remove(at)),
            None => marked.push(call),
        }
        marked.sort_unstable();
        let key = self.session.keymap.key(&[Context::Global], Action::SaveWorkflow).unwrap_or_default();
        match self.views.state.rows.marked.len() {
            0 => {}
            n => {
                let them = if n == 1 { "it" } else { "them" };
                self.toast(NoticeLevel::Info, format!("{} marked; {key} saves {them} as a workflow.", counted(n, "call")));
            }
        }
        // Move to the next row, since users mark several.
        if self.in_view() {
            self.pass_to_view(ViewInput::Action(Action::Down));
        }
    }

    /// Asks for the name of a workflow of the marked calls, otherwise of the selected call or the form.
    pub(super) fn ask_workflow(&mut self) {
        let calls: Vec<CallId> = if self.views.state.rows.marked.is_empty() {
            self.meant_call().into_iter().collect()
        } else {
            self.views.state.rows.marked.clone()
        };
        let read_model = self.session.read_model();
        let past = |id: &CallId| {
            let call = read_model.call(*id)?;
            let result = call.settled.as_ref().and_then(|settled| match &settled.outcome {
                crate::domain::call::Outcome::Ok { result } => Some(result),
                _ => None,
            });
            past_call(&read_model.call_name(&call.spec.operation), &call.spec, result)
        };
        let form = || {
            let operation = self.console.call.draft()?;
            let spec = crate::domain::call::CallSpec::new(operation, crate::domain::call::Origin::Console);
            past_call(&read_model.call_name(&spec.operation), &spec, None)
        };
        let in_form = !self.in_view() && self.console.focus == crate::tui::layout::Focus::Call && self.views.state.rows.marked.is_empty();
        let past: Vec<PastCall> = if in_form { form().into_iter().collect() } else { calls.iter().filter_map(past).collect() };
        let Some(first) = past.first() else {
            self.toast(NoticeLevel::Info, "Only tool calls can be saved as a workflow; there is none here.");
            return;
        };
        let lost = calls.len().saturating_sub(past.len());
        let base = if past.len() == 1 { first.tool.clone() } else { "from_calls".into() };
        let name = free_name(&base, &self.views.flows.list);
        let left = if lost > 0 && !in_form {
            format!(" {} left out: not a tool call, or dropped from memory.", counted(lost, "marked call"))
        } else {
            String::new()
        };
        let place = self.views.flows.folder.as_ref().map_or_else(String::new, |folder| format!(" Saved in {folder}."));
        let what = if past.len() == 1 {
            "1 step.".to_owned()
        } else {
            format!("{} steps; values taken from earlier results are linked.", past.len())
        };
        let entry = TextPrompt::new("Save as workflow", format!("{what}{left}{place}"), &[("name", &name)]);
        self.dialogs.push(entry.on_submit(move |model, prompt| model.workflow_named(prompt.text(0).trim(), &past)));
    }

    /// Checks the name and requests the file.
    fn workflow_named(&mut self, name: &str, calls: &[PastCall]) -> Result<Vec<Cmd>, String> {
        if let Some(trouble) = name_trouble(name, &self.views.flows.list) {
            return Err(trouble);
        }
        if self.views.flows.folder.is_none() {
            return Err("the workflow folder is unknown: no configuration file is in use".into());
        }
        let text = from_history(name, calls);
        self.views.state.rows.marked.clear();
        self.views.flows.reveal(name);
        Ok(Self::request(WorkspaceRequest::SaveWorkflow { name: name.to_owned(), text, place: WorkflowPlace::Project }))
    }
}
