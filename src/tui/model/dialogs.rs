//! Passes input to the dialog on top, and performs what dialogs do to the console.

use crate::{
    control::Command,
    domain::{
        ask::Answer,
        config_input::{ConfigInput, InputState},
        event::NoticeLevel,
        id::AskId,
    },
    tui::{
        ApprovalPrompt, WorkspaceRequest,
        action::Action,
        dialog::{Dialog, DialogOutcome},
        keymap::Context,
        msg::Cmd,
        overlay::{config_inputs::ConfigInputs, confirm::Confirm, text_prompt::TextPrompt},
        pane::DrawContext,
        widget::window::Move,
    },
};

use super::Model;

/// Rows of a page in a dialog.
const PAGE: usize = 10;

impl Model {
    /// Passes an action to the dialog on top.
    pub(super) fn dialog_act(&mut self, action: Action) -> Vec<Cmd> {
        if action == Action::Quit {
            return self.quit();
        }
        self.in_dialog(|dialog, ctx| match Move::of(action, PAGE) {
            Some(to) => {
                dialog.go(to, ctx);
                DialogOutcome::Open
            }
            None => dialog.act(action, ctx),
        })
    }

    /// Passes an input to the dialog on top, and performs the outcome.
    pub(super) fn in_dialog(&mut self, input: impl FnOnce(&mut dyn Dialog, DrawContext) -> DialogOutcome) -> Vec<Cmd> {
        let Some(dialog) = self.dialogs.top_mut() else { return vec![] };
        match input(dialog, self.session.context(true)) {
            DialogOutcome::Open => vec![],
            DialogOutcome::Close => {
                self.dialogs.pop();
                vec![]
            }
            DialogOutcome::Run(effect) => effect(self),
            DialogOutcome::CloseAnd(effect) => {
                self.dialogs.pop();
                effect(self)
            }
        }
    }

    /// Submits the prompt on top; invalid input keeps it open with an error.
    pub(in crate::tui) fn submit_prompt(&mut self) -> Vec<Cmd> {
        let Some(mut prompt) = self.dialogs.take_top::<TextPrompt>() else { return vec![] };
        prompt.submit(self).unwrap_or_else(|_| {
            self.dialogs.push(*prompt);
            vec![]
        })
    }

    pub(super) fn inbox(&mut self) {
        if self.session.read_model().asks.is_empty() {
            self.toast(NoticeLevel::Info, "No questions from servers.");
        } else {
            self.open_inbox(None);
        }
    }

    /// Answers a question of a server.
    pub(in crate::tui) fn reply(&mut self, ask: AskId, answer: Answer) -> Vec<Cmd> {
        vec![Cmd::Command(Command::Answer { ask, answer })]
    }

    pub(super) fn quit(&mut self) -> Vec<Cmd> {
        let (calls, runs) = (self.session.read_model().running, self.session.read_model().runs.running);
        if (calls == 0 && runs == 0) || self.engine_gone {
            return vec![Cmd::Quit];
        }
        let count = |n: usize, what: &str| if n == 1 { format!("1 {what} is") } else { format!("{n} {what}s are") };
        let them = |n: usize| if n == 1 { "it" } else { "them" };
        let text = match runs {
            0 => format!("{} still running. Leaving cancels {}.", count(calls, "call"), them(calls)),
            n => format!(
                "{} still running. Leaving interrupts {}; {key} in the workflows view resumes interrupted runs.",
                count(n, "run"),
                them(n),
                key = self.session.keymap.key(&[Context::Workflows], Action::ResumeRun).unwrap_or_default(),
            ),
        };
        let confirm = Confirm::new("Leave Switchboard?", text, &[(Action::No, "stay"), (Action::Yes, "leave")]);
        self.dialogs.push(confirm.then(|_| vec![Cmd::Quit]));
        vec![]
    }

    /// Starts without a project's file.
    pub(in crate::tui) fn reject_project(&mut self, prompt: ApprovalPrompt) -> Vec<Cmd> {
        let key = self.session.keymap.key(&[Context::Global], Action::Review).unwrap_or_else(|| format!(":{}", Action::Review.name()));
        self.toast(NoticeLevel::Warn, format!("Project not approved; {key} shows the approval again"));
        self.rejected = Some(prompt);
        Self::request(WorkspaceRequest::Reject)
    }

    /// Takes over the inputs of the configuration. The dialog opens for an input that has no value, unless it was missing before.
    pub(super) fn inputs_changed(&mut self, inputs: Vec<ConfigInput>) {
        let known = std::mem::replace(&mut self.config_inputs, inputs);
        let is_known = |input: &ConfigInput| {
            known.iter().any(|other| other.file == input.file && other.id == input.id && other.state == InputState::Missing)
        };
        self.ask_inputs |= self.missing_inputs().iter().any(|input| !is_known(input));
    }

    /// Returns the inputs that have no value.
    pub(super) fn missing_inputs(&self) -> Vec<ConfigInput> {
        self.config_inputs.iter().filter(|input| input.state == InputState::Missing).cloned().collect()
    }

    /// Opens the dialog for the inputs that have no value, or for all of them if each has one.
    pub(super) fn open_inputs(&mut self) {
        let missing = self.missing_inputs();
        let inputs = if missing.is_empty() { self.config_inputs.clone() } else { missing };
        match ConfigInputs::new(inputs, self.session.time()) {
            Some(dialog) => self.dialogs.push(dialog),
            None => self.toast(NoticeLevel::Info, "No configuration file asks for a value."),
        }
    }

    /// Leaves inputs without a value; their servers are not started.
    pub(in crate::tui) fn postpone_inputs(&mut self) {
        if self.missing_inputs().is_empty() {
            return;
        }
        let key = self.session.keymap.key(&[Context::Global], Action::Inputs).unwrap_or_else(|| format!(":{}", Action::Inputs.name()));
        self.toast(NoticeLevel::Warn, format!("Servers wait for values of inputs; {key} asks for them again"));
    }

    /// Shows the approval of a rejected project again.
    pub(super) fn review_project(&mut self) {
        match self.rejected.take() {
            Some(prompt) => self.approval = Some(prompt),
            None => self.toast(NoticeLevel::Info, "No project waits for your approval."),
        }
    }
}
