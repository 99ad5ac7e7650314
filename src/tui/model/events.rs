//! Handles events of the engine: updates panes, opens questions, shows notices.

use std::sync::Arc;

use crate::{
    domain::{
        ask::{Ask, AskPolicy},
        event::{Event, NoticeLevel},
        id::AskId,
        plural::counted,
    },
    state::ConsoleState,
    tui::{action::Action, activity::Activity, dialog::Dialog, keymap::Context, msg::Cmd, overlay::inbox::Inbox},
};

use super::Model;

impl Model {
    pub(super) fn events(&mut self, events: &[Arc<Event>]) -> Vec<Cmd> {
        for event in events.iter().filter(|e| e.seq > self.session.read_model().seq) {
            self.views.push(event);
        }
        let changes = self.session.mirror.apply(events);
        self.session.now = self.session.time();
        changes.calls.iter().filter_map(|id| self.session.read_model().call(*id)).for_each(|call| self.activity.note(call));
        if changes.lists {
            self.activity.retain(self.session.read_model());
            self.console.tree.rebuild(self.session.read_model());
            self.console.call.sync(self.session.read_model());
            self.dialogs.iter_mut().for_each(|dialog| dialog.refresh(self.session.read_model()));
        }
        for detail in self.console.detail.iter_mut().chain([&mut self.console.result]) {
            changes.frames.iter().for_each(|frame| detail.frame(frame));
            detail.drop_old_frames(self.session.read_model());
            if detail.call().is_some_and(|call| changes.calls.contains(&call)) {
                detail.sync(self.session.read_model());
            }
        }
        for notice in &changes.notices {
            self.notice(notice);
        }
        if !changes.closed.is_empty() {
            self.close_answered();
        }
        for ask in changes.asked {
            self.asked(&ask);
        }
        self.updated_resources(&changes.updated);
        self.suggestions(&changes.calls);
        self.watch_events(&changes.calls);
        self.burst_events(&changes.calls)
    }

    /// Continues from a new snapshot after the console missed `missed` events; 0 after it connected to an engine again.
    pub fn resync(&mut self, read_model: impl Into<Arc<ConsoleState>>, missed: u64) {
        self.session.mirror.read_model = read_model.into();
        self.views.resync(self.session.read_model());
        self.activity = Activity::of(self.session.read_model());
        self.console.tree.rebuild(self.session.read_model());
        self.console.call.sync(self.session.read_model());
        let entry = self.views.state.entry.as_mut().map(|entry| &mut entry.detail);
        for detail in self.console.detail.iter_mut().chain([&mut self.console.result]).chain(entry) {
            detail.resync(self.session.read_model());
        }
        self.close_answered();
        self.burst_resync();
        self.watch_resync();
        match missed {
            0 => self.toast(NoticeLevel::Info, "Connected to the engine again"),
            _ => {
                let text = format!("The console missed {}; the state is up to date again.", counted(missed, "event"));
                self.toast(NoticeLevel::Warn, text);
            }
        }
        self.reconcile();
    }

    /// Handles a new question: it opens unrequested only where it cannot take letters or cover another dialog.
    ///
    /// A question that a policy answers, or that was answered already, is not shown.
    pub(super) fn asked(&mut self, ask: &Ask) {
        // A policy answers it: there is nothing to show.
        let waits = self.session.read_model().server(&ask.server).is_none_or(|s| *s.spec.policy(&ask.question) == AskPolicy::Ask);
        if !waits || !self.session.read_model().asks.iter().any(|open| open.id == ask.id) {
            return;
        }
        let free = self.dialogs.top().is_none_or(Dialog::gives_way);
        if free && !self.typing() {
            self.open_inbox(Some(ask.id));
            if let Some(inbox) = self.dialogs.top_as_mut::<Inbox>() {
                inbox.guard(self.session.now);
            }
        } else {
            let key = self.inbox_key();
            self.toast(NoticeLevel::Warn, format!("Question from {} · {key} to answer", ask.server));
        }
    }

    /// Returns the key that opens the inbox in the current context.
    pub fn inbox_key(&self) -> String {
        let here = self.session.keymap.key(self.contexts(), Action::Inbox);
        here.or_else(|| self.session.keymap.key(&[Context::Global], Action::Inbox)).unwrap_or_default()
    }

    pub(super) fn open_inbox(&mut self, ask: Option<AskId>) {
        let mut inbox = Inbox::default();
        inbox.show(ask, self.session.read_model());
        self.dialogs.push(inbox);
    }

    /// Goes to the next question when the one shown was closed; closes the inbox after the last.
    pub(super) fn close_answered(&mut self) {
        let read_model = self.session.read_model();
        self.dialogs.retain(|inbox: &mut Inbox| {
            inbox.show(None, read_model);
            inbox.shown().is_some()
        });
    }
}
