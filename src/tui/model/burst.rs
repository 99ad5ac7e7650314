//! Bursts: one call sent many times.

use std::collections::HashSet;

use crate::{
    control::Command,
    domain::{
        call::{CallSpec, Origin},
        directory::Directory,
        event::NoticeLevel,
        id::CallId,
    },
    tui::{
        layout::Focus,
        msg::Cmd,
        overlay::{
            burst::{Burst, MAX_CALLS, MAX_CONCURRENCY},
            text_prompt::TextPrompt,
        },
    },
};

use super::Model;

impl Model {
    /// Returns the call that a burst would send: the one in the form, or the one under the cursor.
    pub(super) fn burst_spec(&self) -> Option<CallSpec> {
        let operation = match self.console.focus {
            _ if self.in_view() => {
                self.meant_call().and_then(|id| self.session.read_model().call(id)).map(|call| call.spec.operation.clone())
            }
            Focus::Call | Focus::Servers | Focus::Info => self.console.call.draft(),
            _ => self.meant_call().and_then(|id| self.session.read_model().call(id)).map(|call| call.spec.operation.clone()),
        };
        operation.map(|operation| CallSpec::new(operation, Origin::Console))
    }

    pub(super) fn ask_burst(&mut self) {
        // Errors in the form are shown there first.
        if !self.in_view()
            && matches!(self.console.focus, Focus::Call | Focus::Servers)
            && self.console.call.target().is_some()
            && self.console.call.operation().is_err()
        {
            if self.console.focus == Focus::Servers {
                self.console.focus = Focus::Call;
                self.toast(NoticeLevel::Info, "Fill in the arguments first.");
            }
            return;
        }
        let Some(spec) = self.burst_spec() else {
            self.toast(NoticeLevel::Info, "Select a call or a tool first.");
            return;
        };
        let title = format!("Send {} many times", self.session.read_model().call_name(&spec.operation));
        let note = format!("Up to {MAX_CALLS} calls, up to {MAX_CONCURRENCY} in parallel. Esc stops the burst.");
        let entry = TextPrompt::new(title, note, &[("calls", "100"), ("in parallel", "8")]);
        self.dialogs.push(entry.on_submit(move |model, prompt| {
            let (total, parallel) = burst_numbers(prompt)?;
            Ok(model.confirm_burst(spec.clone(), total, parallel))
        }));
    }

    /// Starts a burst, after a confirmation if the tool may modify data.
    fn confirm_burst(&mut self, spec: CallSpec, total: u64, parallel: usize) -> Vec<Cmd> {
        let question = self.destroy_question(&spec.operation, &if total == 1 { "once".to_owned() } else { format!("{total} times") });
        match question {
            Some(confirm) => {
                self.dialogs.push(confirm.then(move |model| model.start_burst(spec, total, parallel)));
                vec![]
            }
            None => self.start_burst(spec, total, parallel),
        }
    }

    fn start_burst(&mut self, spec: CallSpec, total: u64, parallel: usize) -> Vec<Cmd> {
        if self.engine_gone {
            self.toast(NoticeLevel::Error, "The engine has stopped: no call can be sent.");
            return vec![];
        }
        let name = self.session.read_model().call_name(&spec.operation);
        let now = self.session.time();
        self.dialogs.push(Burst::new(spec, name, total, parallel, now));
        self.burst_more()
    }

    /// Submits as many calls as may run now.
    pub(super) fn burst_more(&mut self) -> Vec<Cmd> {
        let mut token = self.next_token;
        let Some(burst) = self.dialogs.find_mut::<Burst>() else { return vec![] };
        let commands: Vec<Cmd> = (0..burst.wants())
            .map(|_| {
                burst.asked(token);
                token += 1;
                Cmd::Submit { token: token - 1, spec: burst.spec.clone() }
            })
            .collect();
        self.next_token = token;
        commands
    }

    /// Records the id of a call of a burst; returns whether the token belongs to one.
    pub(super) fn burst_submitted(&mut self, token: u64, call: CallId) -> bool {
        self.dialogs.find_mut::<Burst>().is_some_and(|burst| burst.submitted(token, call))
    }

    /// Forgets a call of a burst that was not started; returns whether the token belongs to one.
    pub(super) fn burst_refused(&mut self, token: u64) -> bool {
        self.dialogs.find_mut::<Burst>().is_some_and(|burst| burst.unask(token))
    }

    /// Records calls that ended and submits more.
    pub(super) fn burst_events(&mut self, calls: &HashSet<CallId>) -> Vec<Cmd> {
        let now = self.session.time();
        let read_model = self.session.read_model();
        let Some(burst) = self.dialogs.find_mut::<Burst>() else { return vec![] };
        let ended: Vec<CallId> = burst.open().filter(|id| calls.contains(id)).collect();
        for id in ended {
            match read_model.call(id) {
                Some(call) => {
                    if let Some(settled) = &call.settled {
                        burst.settled(id, settled, now);
                    }
                }
                // Known, but its row was dropped already: it must have ended.
                None => burst.lost(id, now),
            }
        }
        self.burst_more()
    }

    /// Counts calls that ended between two snapshots, as far as the read model still has them.
    pub(super) fn burst_resync(&mut self) {
        let open: HashSet<CallId> = self.dialogs.find_mut::<Burst>().map(|burst| burst.open().collect()).unwrap_or_default();
        let commands = self.burst_events(&open);
        // Nothing can be submitted here; the rest follows with the next event or tick.
        for command in commands {
            if let Cmd::Submit { token, .. } = command
                && let Some(burst) = self.dialogs.find_mut::<Burst>()
            {
                burst.unask(token);
            }
        }
    }

    /// Stops the burst; if it is over, closes the dialog.
    pub(in crate::tui) fn end_burst(&mut self) -> Vec<Cmd> {
        let now = self.session.time();
        let Some(burst) = self.dialogs.find_mut::<Burst>() else { return vec![] };
        if burst.over() {
            self.dialogs.close::<Burst>();
            return vec![];
        }
        burst.stop(now);
        let cancel = |call| Cmd::Command(Command::Cancel { call, reason: "the burst was stopped in the console".into() });
        burst.open().map(cancel).collect()
    }
}

/// Parses the numbers of the prompt.
fn burst_numbers(entry: &TextPrompt) -> Result<(u64, usize), String> {
    let number = |field: usize, word: &str, most: u64| {
        let text = entry.text(field).trim().replace(['_', ' ', '\''], "");
        text.parse::<u64>().ok().filter(|n| (1..=most).contains(n)).ok_or_else(|| format!("{word} must be a number from 1 to {most}."))
    };
    let total = number(0, "calls", MAX_CALLS)?;
    let parallel = number(1, "in parallel", MAX_CONCURRENCY as u64)?;
    Ok((total, usize::try_from(parallel).unwrap_or(MAX_CONCURRENCY)))
}
