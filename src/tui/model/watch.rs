//! Watches: one call sent again at an interval.

use std::{collections::HashSet, time::Duration};

use crate::{
    domain::{call::CallSpec, directory::Directory, event::NoticeLevel, id::CallId, time::short},
    tui::{
        msg::Cmd,
        overlay::{
            text_prompt::TextPrompt,
            watch::{LEAST_SECONDS, MOST_SECONDS, Watch},
        },
    },
};

use super::Model;

impl Model {
    /// Asks for the interval.
    pub(super) fn ask_watch(&mut self) {
        let Some(spec) = self.burst_spec() else {
            self.toast(NoticeLevel::Info, "Select a call or a tool first.");
            return;
        };
        let title = format!("Watch {}", self.session.read_model().call_name(&spec.operation));
        let note = "Sends the call again and again while the dialog is open, and marks the lines of the result that changed.";
        let prompt = TextPrompt::new(title, note, &[("every … seconds", "5")]);
        self.dialogs.push(prompt.on_submit(move |model, prompt| {
            let seconds = prompt.text(0).trim().parse::<u64>().ok().filter(|n| (LEAST_SECONDS..=MOST_SECONDS).contains(n));
            let seconds = seconds.ok_or_else(|| format!("Enter a number of seconds from {LEAST_SECONDS} to {MOST_SECONDS}."))?;
            Ok(model.confirm_watch(spec.clone(), Duration::from_secs(seconds)))
        }));
    }

    /// Starts a watch, after a confirmation if the tool may modify data.
    fn confirm_watch(&mut self, spec: CallSpec, every: Duration) -> Vec<Cmd> {
        match self.destroy_question(&spec.operation, &format!("every {}", short(every))) {
            Some(confirm) => {
                self.dialogs.push(confirm.then(move |model| model.start_watch(spec, every)));
                vec![]
            }
            None => self.start_watch(spec, every),
        }
    }

    fn start_watch(&mut self, spec: CallSpec, every: Duration) -> Vec<Cmd> {
        let name = self.session.read_model().call_name(&spec.operation);
        self.dialogs.push(Watch::new(spec, name, every, self.session.time()));
        self.watch_more()
    }

    /// Submits the next call if it is due.
    pub(in crate::tui) fn watch_more(&mut self) -> Vec<Cmd> {
        let now = self.session.time();
        let (gone, token) = (self.engine_gone, self.next_token);
        let Some(watch) = self.dialogs.find_mut::<Watch>().filter(|watch| !gone && watch.due(now)) else { return vec![] };
        watch.asked(token);
        let spec = watch.spec.clone();
        self.next_token += 1;
        vec![Cmd::Submit { token, spec }]
    }

    /// Records the id of a call of the watch; returns whether the token belongs to one.
    pub(super) fn watch_submitted(&mut self, token: u64, call: CallId) -> bool {
        self.dialogs.find_mut::<Watch>().is_some_and(|watch| watch.submitted(token, call))
    }

    /// Forgets a call of the watch that was not started.
    pub(super) fn watch_refused(&mut self, token: u64) {
        let now = self.session.time();
        if let Some(watch) = self.dialogs.find_mut::<Watch>() {
            watch.refused(token, now);
        }
    }

    /// Shows the result of the watched call if it is one of these.
    pub(super) fn watch_events(&mut self, calls: &HashSet<CallId>) {
        let now = self.session.time();
        let read_model = self.session.read_model();
        let Some(watch) = self.dialogs.find_mut::<Watch>() else { return };
        if let Some(id) = watch.running().filter(|id| calls.contains(id)) {
            match read_model.call(id) {
                Some(call) if call.settled.is_none() => {}
                call => watch.settled(call, now),
            }
        }
    }

    /// Continues after a gap in the events: the watched call may have ended in it.
    pub(super) fn watch_resync(&mut self) {
        let running: HashSet<CallId> = self.dialogs.find_mut::<Watch>().and_then(|watch| watch.running()).into_iter().collect();
        self.watch_events(&running);
    }
}
