//! The workflows view: running, resuming, cancelling, editing; saving calls as workflows.

use std::sync::Arc;

use crossterm::event::KeyEvent;

use crate::{
    control::Command,
    domain::{
        body::Body,
        directory::Directory,
        event::NoticeLevel,
        id::CallId,
        journal::past_call,
        run::{RunFrom, RunId, RunSpec},
        workflow::{
            catalog_lookup::CatalogView,
            check::check_against,
            history::{PastCall, from_history},
            library::WorkflowLibrary,
            plan::Plan,
        },
    },
    state::runs::RunView,
    tui::{
        WorkspaceRequest,
        action::Action,
        background::Material,
        copying::{CopyKind, prepared},
        flows::{self, free_name, name_trouble},
        hits::Hit,
        keymap::Context,
        msg::Cmd,
        overlay::{dry_run::DryRun, text_prompt::TextPrompt},
        pane::call::KeyOutcome,
        tabs::{Part, View},
        widget::window::Move,
    },
};

use super::Model;

impl Model {
    fn in_flows(&self) -> bool {
        self.views.current == View::Workflows
    }

    /// Applies changed workflow files.
    pub(super) fn flows_changed(&mut self, library: &WorkflowLibrary) {
        self.views.flows.set(library);
    }

    /// Returns the keymap contexts of the view.
    pub(super) fn flow_contexts(&self) -> &'static [Context] {
        match self.views.part {
            Part::Input if self.views.flows.input.wants_text() => &[Context::InputText],
            Part::Input => &[Context::Input, Context::Form, Context::Global],
            Part::Main => &[Context::Workflows, Context::List, Context::Global],
            Part::Step => &[Context::Graph, Context::Value, Context::List, Context::Global],
            _ => &[Context::Graph, Context::List, Context::Global],
        }
    }

    /// Returns whether letters go into a field of the input.
    pub(super) fn flow_typing(&self) -> bool {
        self.in_flows() && self.views.part == Part::Input && self.views.flows.input.wants_text()
    }

    /// Returns whether the form has the focus.
    pub(super) fn in_input(&self) -> bool {
        self.in_flows() && self.views.part == Part::Input
    }

    /// Handles the wheel over a part: it scrolls, and selects nothing in the graph.
    pub(super) fn flow_wheel(&mut self, part: Part, action: Action) {
        let place = self.views.place(part).unwrap_or_default();
        if part == Part::Graph && !self.views.flows.broken(self.session.read_model()) {
            self.views.flows.chart.wheel(action, place);
        } else {
            self.flow_move(part, action);
        }
    }

    /// Returns the plan of the workflow under the cursor.
    fn flow_plan(&self) -> Option<Arc<Plan>> {
        self.views.flows.flow(self.session.read_model())?.plan.as_ref().ok().cloned()
    }

    /// Returns the run that is shown.
    fn flow_run(&self) -> Option<&Arc<RunView>> {
        self.views.flows.run(self.session.read_model())
    }

    /// Performs an action of this view; `None` if it is not one.
    pub(super) fn flow_act(&mut self, action: Action) -> Option<Vec<Cmd>> {
        match action {
            Action::ViewWorkflows => self.views.show(View::Workflows),
            Action::Mark => self.mark(),
            Action::SaveWorkflow => self.ask_workflow(),
            Action::RunWorkflow
            | Action::DryRun
            | Action::RunAgain
            | Action::RunFrom
            | Action::ResumeRun
            | Action::CancelStep
            | Action::EditWorkflow
                if !self.in_flows() =>
            {
                self.views.show(View::Workflows);
            }
            _ if !self.in_flows() => return None,
            Action::RunWorkflow => return Some(self.run_workflow()),
            Action::DryRun => self.dry_run(),
            Action::RunAgain | Action::SendAgain => return Some(self.run_again(None)),
            Action::RunFrom => return Some(self.run_from()),
            Action::ResumeRun => return Some(self.resume_run()),
            Action::Cancel => return Some(self.cancel_run()),
            Action::CancelStep => return Some(self.cancel_step()),
            Action::EditWorkflow => return Some(self.edit_workflow()),
            Action::Up | Action::Down | Action::Left | Action::Right | Action::PageUp | Action::PageDown | Action::Top | Action::Bottom => {
                self.flow_move(self.views.part, action);
            }
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel => {
                if self.views.part == Part::Step {
                    self.views.flows.detail.act(action);
                }
            }
            Action::Open => return Some(self.flow_open()),
            Action::Back => self.flow_back(),
            Action::NextTab | Action::PreviousTab => self.views.flows.detail.switch_side(),
            Action::ToggleJson => self.views.flows.input.toggle_json(),
            Action::Reset => {
                let cleared = self.views.flows.input.reset();
                self.say_undo(cleared);
            }
            Action::Undo => self.views.flows.input.undo(),
            Action::Copy => return Some(self.flow_copy()),
            Action::EditAgain => {
                if let Some(input) = self.flow_run().map(|run| run.input.clone()) {
                    self.views.flows.input.set(&input);
                    self.open_input();
                }
            }
            // Actions of the console or the traffic would change panes that are not visible here.
            Action::Send
            | Action::SendUnchecked
            | Action::Burst
            | Action::Subscribe
            | Action::Follow
            | Action::Search
            | Action::JsonPath
            | Action::Save => {}
            _ => return None,
        }
        Some(vec![])
    }

    /// Returns whether an action would have an effect now.
    pub(super) fn flow_enabled(&self, action: Action) -> Option<bool> {
        if matches!(action, Action::Mark | Action::SaveWorkflow) {
            return Some(!self.in_flows() && (!self.views.rows.marked.is_empty() || self.meant_call().is_some()));
        }
        if !self.in_flows() {
            return None;
        }
        let run = self.flow_run();
        let running = run.is_some_and(|run| run.report.is_none());
        let plan = self.views.flows.flow(self.session.read_model()).is_some_and(|flow| flow.plan.is_ok());
        Some(match action {
            Action::RunWorkflow | Action::DryRun => plan,
            Action::RunAgain | Action::EditAgain => plan && run.is_some(),
            Action::RunFrom => plan && !running && run.is_some() && self.views.flows.selected().is_some(),
            Action::ResumeRun => !running && self.views.flows.interrupted(self.session.read_model()).is_some(),
            Action::Cancel => running,
            Action::CancelStep => running && self.views.flows.selected().is_some(),
            Action::EditWorkflow => self.views.flows.flow(self.session.read_model()).is_some(),
            Action::Open => !matches!(self.views.part, Part::Steps) || run.is_some(),
            Action::NextTab | Action::PreviousTab => self.views.part == Part::Step,
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel => self.views.part == Part::Step && self.views.flows.detail.can_fold(),
            Action::ToggleJson | Action::Reset => plan,
            Action::Undo => self.in_input() && self.views.flows.input.can_undo(),
            Action::NextPane | Action::Back => true,
            Action::SendAgain | Action::Filter | Action::Send | Action::SendUnchecked | Action::Follow | Action::Search | Action::Save => {
                false
            }
            _ => return None,
        })
    }

    fn open_input(&mut self) {
        self.views.part = Part::Input;
        self.views.flows.input.begin();
    }

    /// Goes from the list to the form, from the form to the run.
    fn run_workflow(&mut self) -> Vec<Cmd> {
        let Some(plan) = self.flow_plan() else {
            self.toast(NoticeLevel::Warn, "The workflow file has errors, so it cannot be run.");
            return vec![];
        };
        if self.views.part != Part::Input && !self.views.flows.input.is_empty() {
            self.open_input();
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
        self.views.part = Part::Graph;
        vec![Cmd::Command(Command::StartRun { run, spec })]
    }

    /// Runs the workflow of the shown run again with the same input, optionally from a step on.
    fn run_again(&mut self, from: Option<RunFrom>) -> Vec<Cmd> {
        match (self.flow_plan(), self.flow_run().map(|run| run.input.clone())) {
            (Some(plan), Some(input)) => self.start_run(&plan, input, from),
            (_, None) => self.run_workflow(),
            (None, _) => {
                self.toast(NoticeLevel::Warn, "The workflow file has errors now, so it cannot be run again.");
                vec![]
            }
        }
    }

    fn run_from(&mut self) -> Vec<Cmd> {
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
        self.run_again(Some(RunFrom { run: run.id, step }))
    }

    /// Resumes a run of an earlier session. Its in-doubt steps are resolved in the inbox.
    fn resume_run(&mut self) -> Vec<Cmd> {
        let read_model = self.session.read_model();
        let (Some(run), Some(name)) = (self.views.flows.interrupted(read_model), self.views.flows.name(read_model)) else {
            self.toast(NoticeLevel::Info, "No run of this workflow was interrupted.");
            return vec![];
        };
        self.views.flows.begin(run, &name);
        self.views.part = Part::Graph;
        vec![Cmd::Command(Command::ResumeRun { run, answers: vec![], ask: true, wait: false, timeout: None })]
    }

    fn dry_run(&mut self) {
        let Some(plan) = self.flow_plan() else {
            self.toast(NoticeLevel::Warn, "The workflow file has errors, so there is nothing to preview.");
            return;
        };
        let view = flows::preview(&plan, &self.views.flows.input.draft(), self.session.read_model());
        let unfit = check_against(&plan, &CatalogView(self.session.read_model()));
        self.dialogs.push(DryRun::new(&plan.name, view, unfit));
    }

    fn cancel_run(&mut self) -> Vec<Cmd> {
        match self.flow_run().filter(|run| run.report.is_none()).map(|run| run.id) {
            Some(run) => vec![Cmd::Command(Command::CancelRun { run, reason: "cancelled in the console".into() })],
            None => {
                self.toast(NoticeLevel::Info, "No run is in progress here.");
                vec![]
            }
        }
    }

    fn cancel_step(&mut self) -> Vec<Cmd> {
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

    fn edit_workflow(&mut self) -> Vec<Cmd> {
        match self.views.flows.flow(self.session.read_model()).map(|flow| flow.file.clone()) {
            Some(file) => vec![Cmd::EditFile(file)],
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

    fn flow_open(&mut self) -> Vec<Cmd> {
        let ran = self.flow_run().is_some();
        match self.views.part {
            Part::Main if self.views.flows.on_earlier() => self.views.part = Part::Graph,
            Part::Main if self.views.flows.broken(self.session.read_model()) => return self.edit_workflow(),
            Part::Main => self.open_input(),
            Part::Graph if self.views.flows.broken(self.session.read_model()) => return self.edit_workflow(),
            Part::Graph | Part::Steps if ran => self.views.part = Part::Step,
            Part::Graph => self.open_input(),
            Part::Input => return self.run_workflow(),
            _ => self.views.flows.detail.act(Action::Open),
        }
        vec![]
    }

    fn flow_back(&mut self) {
        match self.views.part {
            Part::Step => self.views.part = if self.zoom || self.layout.narrow { Part::Steps } else { Part::Graph },
            Part::Main if self.zoom => self.zoom = false,
            Part::Main => {}
            _ => self.views.part = Part::Main,
        }
    }

    /// Moves the cursor of a part, whether it has the focus or not.
    pub(super) fn flow_move(&mut self, part: Part, action: Action) {
        let place = self.views.place(part).unwrap_or_default();
        let page = usize::from(place.height.saturating_sub(3)).max(1);
        let to = Move::of(action, page);
        match (part, to) {
            (Part::Main, Some(to)) => self.views.flows.go(to),
            (Part::Graph, Some(to)) if self.views.flows.broken(self.session.read_model()) => {
                let mut chart = std::mem::take(&mut self.views.flows.chart);
                let look = self.look();
                if let Some(Err(problems)) = self.views.flows.flow(look.read_model).map(|flow| &flow.plan) {
                    chart.scroll_problems(to, problems, look, place);
                }
                self.views.flows.chart = chart;
            }
            (Part::Graph, _) => {
                let flows = &mut self.views.flows;
                match flows.chart.step(flows.selected(), action) {
                    Some(step) => flows.select(Some(step)),
                    None => {
                        flows.select(None);
                        flows.chart.scroll(action, place);
                    }
                }
            }
            (Part::Steps, Some(to)) => {
                let step = self.views.flows.steps.step(to);
                self.views.flows.select(step);
            }
            (Part::Step, _) => self.views.flows.detail.act(action),
            _ => {}
        }
    }

    fn flow_copy(&mut self) -> Vec<Cmd> {
        let flows = &mut self.views.flows;
        let body = match self.views.part {
            Part::Step => flows.detail.copy(),
            Part::Input => Some(flows.input.draft()),
            _ => flows.name(self.session.read_model()).map(|name| Body::from(&*name)),
        };
        let material = Material { pieces: body.into_iter().collect(), decode: false };
        self.copied(CopyKind::Value, prepared(CopyKind::Value, &material))
    }

    /// Handles a key for the form, or one that is not in the keymap.
    pub(super) fn flow_key(&mut self, key: KeyEvent) -> Vec<Cmd> {
        match self.views.part {
            Part::Input => match self.views.flows.input.key(key) {
                KeyOutcome::Stay => vec![],
                KeyOutcome::Send => self.run_workflow(),
                KeyOutcome::Leave => {
                    self.flow_back();
                    vec![]
                }
                KeyOutcome::Next => self.act(Action::NextPane),
                KeyOutcome::Previous => self.act(Action::PreviousPane),
            },
            _ => vec![],
        }
    }

    /// Handles a click on a part; returns whether the clicked row was selected already.
    pub(super) fn flow_click(&mut self, part: Part, hit: &Hit) -> bool {
        let flows = &mut self.views.flows;
        match (part, hit) {
            (Part::Main, Hit::Row(row)) => flows.click(*row),
            (Part::Graph, Hit::Row(step)) => {
                let Some(step) = flows.chart.id(*step) else { return false };
                let same = flows.selected() == Some(&step);
                flows.select(Some(step));
                same
            }
            (Part::Steps, Hit::Row(line)) => {
                let Some(step) = flows.steps.path(*line) else { return false };
                let same = flows.selected() == step.as_ref();
                flows.select(step);
                same
            }
            (Part::Step, Hit::Tab(tab)) => {
                flows.detail.set_tab(*tab);
                false
            }
            (Part::Input, hit) => {
                flows.input.click(hit);
                false
            }
            _ => false,
        }
    }
}

/// Saving calls as workflows.
impl Model {
    /// Marks the call under the cursor, or unmarks it.
    fn mark(&mut self) {
        let Some(call) = self.meant_call() else {
            self.toast(NoticeLevel::Info, "Select a call first.");
            return;
        };
        let marked = &mut self.views.rows.marked;
        match marked.iter().position(|id| *id == call) {
            Some(at) => drop(marked.remove(at)),
            None => marked.push(call),
        }
        marked.sort_unstable();
        let key = self.session.keymap.key(&[Context::Global], Action::SaveWorkflow).unwrap_or_default();
        match self.views.rows.marked.len() {
            0 => {}
            1 => self.toast(NoticeLevel::Info, format!("1 call marked; {key} saves it as a workflow.")),
            n => self.toast(NoticeLevel::Info, format!("{n} calls marked; {key} saves them as a workflow.")),
        }
        // Move to the next row, since users mark several.
        if self.in_view() {
            self.view_act(Action::Down);
        }
    }

    /// Asks for the name of a workflow of the marked calls, otherwise of the selected call or the form.
    fn ask_workflow(&mut self) {
        let calls: Vec<CallId> =
            if self.views.rows.marked.is_empty() { self.meant_call().into_iter().collect() } else { self.views.rows.marked.clone() };
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
        let in_form = !self.in_view() && self.console.focus == crate::tui::layout::Focus::Call && self.views.rows.marked.is_empty();
        let past: Vec<PastCall> = if in_form { form().into_iter().collect() } else { calls.iter().filter_map(past).collect() };
        let Some(first) = past.first() else {
            self.toast(NoticeLevel::Info, "Only tool calls can be saved as a workflow; there is none here.");
            return;
        };
        let lost = calls.len().saturating_sub(past.len());
        let base = if past.len() == 1 { first.tool.clone() } else { "from_calls".into() };
        let name = free_name(&base, &self.views.flows.list);
        let left = if lost > 0 && !in_form {
            format!(" {lost} marked calls are left out: not a tool call, or dropped from memory.")
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
        self.views.rows.marked.clear();
        self.views.flows.reveal(name);
        Ok(Self::request(WorkspaceRequest::SaveWorkflow { name: name.to_owned(), text }))
    }
}
