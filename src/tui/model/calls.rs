//! Sends calls, cancels them, sends them again; answers questions.

use crate::{
    control::{Command, SubmitError},
    domain::{
        call::{ArgumentCheck, CallSpec, Operation, Origin},
        event::NoticeLevel,
        id::CallId,
    },
    tui::{WorkspaceRequest, layout::Focus, msg::Cmd, pane::detail::Detail, tree::Node},
};

use super::Model;

impl Model {
    /// Sends the call of the call pane, after a confirmation if its tool may modify data.
    pub(super) fn send_call(&mut self) -> Vec<Cmd> {
        // Rejected arguments are shown in the pane, next to the fields.
        let Ok(operation) = self.console.call.operation() else { return vec![] };
        let target = self.console.call.target().cloned();
        self.ask_or_submit(CallSpec::new(operation, Origin::Console), target)
    }

    /// Sends the call of the call pane although its arguments violate the schema.
    pub(super) fn send_unchecked(&mut self) -> Vec<Cmd> {
        let Some((operation, violations)) = self.console.call.unchecked_operation() else { return vec![] };
        let target = self.console.call.target().cloned();
        self.toast_unchecked("Arguments", &violations);
        self.ask_or_submit(CallSpec { check: ArgumentCheck::Skipped, ..CallSpec::new(operation, Origin::Console) }, target)
    }

    /// Shows the first violation of what is sent anyway.
    pub(in crate::tui) fn toast_unchecked(&mut self, what: &str, violations: &[String]) {
        let more = match violations.len() {
            0 => return,
            1 => String::new(),
            many => format!(" and {} more", many - 1),
        };
        self.toast(NoticeLevel::Warn, format!("{what} sent unchecked: {}{more}", violations[0]));
    }

    pub(super) fn ask_or_submit(&mut self, spec: CallSpec, target: Option<Node>) -> Vec<Cmd> {
        let Some(confirm) = self.destroy_question(&spec.operation, "") else { return self.submit(spec, target) };
        self.dialogs.push(confirm.then(move |model| model.submit(spec, target)));
        vec![]
    }

    pub(super) fn submit(&mut self, spec: CallSpec, target: Option<Node>) -> Vec<Cmd> {
        if self.engine_gone {
            self.toast(NoticeLevel::Error, "The engine has stopped: no call can be sent.");
            return vec![];
        }
        let token = self.next_token;
        self.next_token += 1;
        // Arguments sent from the form are remembered for other sessions, without secrets. Calls from elsewhere are not.
        let checked = target.as_ref().filter(|node| spec.check.is_enforced() && self.console.call.target() == Some(*node));
        let sent = checked.and_then(|_| self.console.call.operation().ok());
        let remember = sent.filter(|operation| *operation == spec.operation).and_then(|_| self.console.call.remember_for_later());
        if remember.is_some() {
            self.prefer();
        }
        let mut commands: Vec<Cmd> = remember.map(|entry| Cmd::Request(WorkspaceRequest::Remember(entry))).into_iter().collect();
        self.submitted.push((token, target));
        commands.push(Cmd::Submit { token, spec });
        commands
    }

    pub(super) fn submitted(&mut self, token: u64, call: CallId) -> Vec<Cmd> {
        if self.burst_submitted(token, call) || self.watch_submitted(token, call) || self.completion_submitted(token, call) {
            return vec![];
        }
        let Some(at) = self.submitted.iter().position(|(t, _)| *t == token) else { return vec![] };
        if let (_, Some(target)) = self.submitted.remove(at) {
            self.console.call.note_call(target, call);
        }
        if self.followed.take_if(|followed| *followed == token).is_some() {
            let from = if self.console.focus == Focus::Detail { self.console.came_from } else { self.console.focus };
            let mut detail = Detail::like(&self.console.result);
            detail.show(Some(call), self.session.read_model());
            self.console.open_call(detail, from);
            return vec![];
        }
        // On a narrow screen the result is on another screen: go there if the user just sent the call from the form.
        if self.layout.narrow && self.console.focus == Focus::Call && !self.in_view() {
            self.console.focus = Focus::Result;
        }
        vec![]
    }

    /// Reports that a call was not started. A burst ends with it: the next call would be refused too.
    pub(super) fn not_submitted(&mut self, token: u64, why: &SubmitError) -> Vec<Cmd> {
        self.toast(NoticeLevel::Error, format!("The call was not started: {why}"));
        self.submitted.retain(|(submitted, _)| *submitted != token);
        self.followed.take_if(|followed| *followed == token);
        self.completion_refused(token);
        self.watch_refused(token);
        if self.burst_refused(token) { self.end_burst() } else { vec![] }
    }

    pub(super) fn cancel(&mut self) -> Vec<Cmd> {
        let running = |id: &CallId| self.session.read_model().call(*id).is_some_and(|c| c.settled.is_none());
        match self.meant_call().filter(running) {
            Some(call) => vec![Cmd::Command(Command::Cancel { call, reason: "cancelled in the console".into() })],
            None => {
                self.toast(NoticeLevel::Info, "No call is running here. q quits Switchboard.");
                vec![]
            }
        }
    }

    pub(super) fn send_again(&mut self) -> Vec<Cmd> {
        let Some(call) = self.meant_call().and_then(|id| self.session.read_model().call(id)) else {
            self.toast(NoticeLevel::Info, "No call to send again.");
            return vec![];
        };
        // This call comes from the user, even if the earlier one was a step of a run.
        let spec = CallSpec { origin: Origin::Console, run: None, ..CallSpec::clone(&call.spec) };
        let target = self.saved_target(&spec.operation).or_else(|| node_of(&spec.operation));
        if self.in_view() {
            self.views.traffic.follow();
            self.views.timeline.follow();
        } else if self.console.focus == Focus::Traffic {
            self.console.traffic.follow();
        }
        self.ask_or_submit(spec, target)
    }

    /// Loads the call under the cursor into the form.
    pub(super) fn edit_again(&mut self) {
        let Some(spec) = self.meant_call().and_then(|id| self.session.read_model().call(id)).map(|c| c.spec.clone()) else { return };
        let Some(node) = node_of(&spec.operation) else {
            self.toast(NoticeLevel::Info, "This kind of request has no form.");
            return;
        };
        self.go_to(&node);
        if self.console.tree.selected() != Some(&node) {
            // Not in any list: a resource that was read through a template, or one that was removed.
            self.toast(NoticeLevel::Info, format!("{} does not list {} any more.", spec.operation.server(), spec.operation.subject()));
        }
        self.console.call.show(Some(&node), self.session.read_model());
        if let Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } = &spec.operation {
            self.console.call.arguments_mut().set_values(arguments);
        }
    }
}

/// Returns the node of the tree whose form makes calls like this one.
pub(super) fn node_of(operation: &Operation) -> Option<Node> {
    Some(match operation {
        Operation::Tool { tool, .. } => Node::Tool(tool.clone()),
        Operation::Resource { server, uri } => Node::Resource(server.clone(), uri.as_str().into()),
        Operation::Prompt { server, name, .. } => Node::Prompt(server.clone(), name.as_str().into()),
        Operation::Complete { .. } | Operation::Raw { .. } => return None,
    })
}
