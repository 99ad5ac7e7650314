//! Actions in the dialog on top: moving in its list, answering, closing.

use std::time::Duration;

use crate::{
    domain::{ask::Answer, event::NoticeLevel},
    engine::control::Command,
    tui::{
        ConsoleRequest,
        action::Action,
        keymap::Context,
        msg::Cmd,
        overlay::{confirm::Confirm, inbox::GUARD, palette},
        tree::Node,
        widget::{form::FormView, window::Move},
    },
};

use super::{Modal, Model, Pending, Purpose};

impl Model {
    pub(super) fn modal_act(&mut self, action: Action) -> Vec<Cmd> {
        let to = match action {
            Action::Up => Some(Move::Back(1)),
            Action::Down => Some(Move::On(1)),
            Action::PageUp => Some(Move::Back(10)),
            Action::PageDown => Some(Move::On(10)),
            Action::Top => Some(Move::First),
            Action::Bottom => Some(Move::Last),
            _ => None,
        };
        if let Some(to) = to {
            self.modal_move(to);
            return vec![];
        }
        match (action, self.modals.last()) {
            (Action::Quit, _) => self.quit(),
            (_, Some(Modal::Approval(_) | Modal::Confirm(_, Pending::Overwrite(..)))) if self.guard_left().is_some() => {
                // A key typed ahead. More of them may follow.
                self.guard_answers();
                vec![]
            }
            (_, Some(Modal::Approval(approval))) => {
                let hash = approval.prompt.hash.clone();
                match action {
                    Action::Approve => {
                        self.modals.pop();
                        Self::request(ConsoleRequest::Approve(hash))
                    }
                    Action::Reject => {
                        let prompt = approval.prompt.clone();
                        self.modals.pop();
                        let key =
                            self.keymap.key(&[Context::Global], Action::Review).unwrap_or_else(|| format!(":{}", Action::Review.name()));
                        self.toast(NoticeLevel::Warn, format!("Project not approved; {key} shows the approval again"));
                        self.rejected = Some(prompt);
                        Self::request(ConsoleRequest::Reject)
                    }
                    _ => vec![],
                }
            }
            (_, Some(Modal::Confirm(confirm, _))) => {
                let chosen = if action == Action::Choose { confirm.chosen() } else { Some(action) };
                match chosen.unwrap_or(Action::No) {
                    // A key for an answer that this question does not offer is ignored.
                    Action::Yes | Action::Always | Action::TrustServer if !self.is_enabled(action) => vec![],
                    answer => self.confirmed(answer),
                }
            }
            (_, Some(Modal::Welcome(_))) => self.welcome_act(action),
            (Action::Back, Some(Modal::Burst(_))) => self.end_burst(),
            (Action::Back, Some(Modal::Entry(_, purpose))) => {
                if *purpose == Purpose::Search {
                    self.shown_mut().search("");
                }
                self.modals.pop();
                vec![]
            }
            (Action::Back, _) => {
                self.modals.pop();
                vec![]
            }
            (Action::Choose, Some(Modal::Entry(..))) => self.entered(),
            (Action::Choose, Some(Modal::Menu(..))) => self.menu_chosen(),
            (Action::Choose, Some(Modal::LongText(_))) => {
                self.long_text_done();
                vec![]
            }
            (Action::Choose, Some(Modal::Palette(palette))) => {
                let chosen = palette.chosen();
                self.modals.pop();
                match chosen {
                    Some(palette::Choice::Action(action)) => self.act(action),
                    Some(palette::Choice::Tool(tool)) => {
                        self.go_to(&Node::Tool(tool));
                        vec![]
                    }
                    None => vec![],
                }
            }
            (Action::Undo, Some(Modal::Inbox(_))) => {
                if let Some(Modal::Inbox(inbox)) = self.modals.last_mut() {
                    inbox.undo();
                }
                vec![]
            }
            (_, Some(Modal::Inbox(_))) if FormView::command_of(action).is_some() => self.form_act(action),
            (_, Some(Modal::Inbox(_))) => self.inbox_act(action),
            _ => vec![],
        }
    }

    /// Locks the answers of an approval or confirmation that opened unrequested: keys typed for something else must
    /// not answer it.
    pub(super) fn guard_answers(&mut self) {
        self.answers_from = self.now.max(self.mirror.last).plus(GUARD);
    }

    /// Returns how long the answers of such a dialog are still locked.
    pub fn guard_left(&self) -> Option<Duration> {
        let guarded = matches!(self.modals.last(), Some(Modal::Approval(_) | Modal::Confirm(_, Pending::Overwrite(..))));
        Some(self.answers_from.since(self.now)).filter(|left| guarded && !left.is_zero())
    }

    pub(super) fn modal_move(&mut self, to: Move) {
        let height = usize::from(self.layout.screen.height.saturating_sub(6)).max(1);
        let read_model = &self.mirror.read_model;
        match self.modals.last_mut() {
            Some(Modal::Help(help)) => {
                let rows = help.len(&self.keymap, &self.theme);
                help.window.scroll(to, rows, help.last_size.rows());
            }
            Some(Modal::Palette(palette)) => {
                let rows = palette.rows().len();
                palette.window.go(to, rows);
                palette.window.fit(rows, height.min(21));
            }
            Some(Modal::Confirm(confirm, _)) => confirm.window.go(to, confirm.answers.len()),
            Some(Modal::Approval(approval)) => {
                let rows = approval.len(&self.theme);
                approval.window.scroll(to, rows, approval.last_size.rows());
            }
            Some(Modal::Notices(notices)) => {
                let rows = notices.len(read_model, &self.theme);
                notices.window.scroll(to, rows, notices.last_size.rows());
            }
            Some(Modal::Dry(dry)) => {
                let width = self.layout.screen.width.min(110).saturating_sub(4);
                let rows = dry.len(&self.theme, width);
                dry.window.scroll(to, rows, height);
            }
            Some(Modal::Welcome(welcome)) => welcome.go(to),
            Some(Modal::Menu(menu, _)) => menu.window.go(to, menu.rows.len()),
            Some(Modal::Entry(..) | Modal::Burst(_) | Modal::LongText(_)) => {}
            Some(Modal::Inbox(_)) | None => self.inbox_scroll(to),
        }
    }

    pub(super) fn inbox(&mut self) {
        if self.mirror.read_model.asks.is_empty() {
            self.toast(NoticeLevel::Info, "No questions from servers.");
        } else {
            self.open_inbox(None);
        }
    }

    pub(super) fn inbox_scroll(&mut self, to: Move) {
        let Some(Modal::Inbox(inbox)) = self.modals.last() else { return };
        let (look, screen) = (self.look(), self.layout.screen);
        let (rows, room) = (inbox.len(look, screen), inbox.room(look, screen));
        if let Some(Modal::Inbox(inbox)) = self.modals.last_mut() {
            inbox.window.scroll(to, rows, room.max(1));
        }
    }

    pub(super) fn inbox_act(&mut self, action: Action) -> Vec<Cmd> {
        let Some(Modal::Inbox(inbox)) = self.modals.last_mut() else { return vec![] };
        if inbox.guarded(self.now) && matches!(action, Action::Answer | Action::Decline | Action::CancelQuestion) {
            return vec![];
        }
        let shown = inbox.shown().map(|ask| ask.id);
        let url = inbox.url().map(str::to_owned);
        let tell = |answer| shown.map(|ask| Cmd::Command(Command::Answer { ask, answer })).into_iter().collect();
        match action {
            Action::Answer => self.answer(),
            Action::Decline => tell(Answer::Decline),
            Action::CancelQuestion => tell(Answer::Cancel),
            Action::AnswerFile => {
                self.ask_answer_file();
                vec![]
            }
            Action::NextQuestion => {
                inbox.next(&self.mirror.read_model);
                vec![]
            }
            Action::OpenUrl => url.map(Cmd::OpenUrl).into_iter().collect(),
            Action::CopyUrl => url.map(Cmd::Copy).into_iter().collect(),
            _ => vec![],
        }
    }

    pub(super) fn quit(&mut self) -> Vec<Cmd> {
        let (calls, runs) = (self.mirror.read_model.running, self.mirror.read_model.runs.running);
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
                key = self.keymap.key(&[Context::Workflows], Action::ResumeRun).unwrap_or_default(),
            ),
        };
        let confirm = Confirm::new("Leave Switchboard?", text, &[(Action::No, "stay"), (Action::Yes, "leave")]);
        self.modals.push(Modal::Confirm(confirm, Pending::Quit));
        vec![]
    }

    pub(super) fn confirmed(&mut self, answer: Action) -> Vec<Cmd> {
        let Some(Modal::Confirm(confirm, pending)) = self.modals.pop() else { return vec![] };
        let agreed = matches!(answer, Action::Yes | Action::Always | Action::TrustServer);
        if agreed && self.outdated(&confirm) {
            return vec![];
        }
        if agreed {
            self.allow(answer, &confirm);
        }
        match (answer, pending) {
            (Action::Yes, Pending::Quit) => vec![Cmd::Quit],
            (_, Pending::Call(spec, target)) if agreed => self.submit(*spec, target),
            (_, Pending::Burst(spec, total, at_once)) if agreed => self.start_burst(*spec, total, at_once),
            (_, Pending::Run(spec)) if agreed => self.begin_run(spec),
            (Action::Yes | Action::Always, Pending::Overwrite(path, content)) => vec![Cmd::Save { path, content, overwrite: true }],
            _ => vec![],
        }
    }

    /// Shows the approval of a rejected project again.
    pub(super) fn review_project(&mut self) {
        match self.rejected.take() {
            Some(prompt) => self.approval = Some(prompt),
            None => self.toast(NoticeLevel::Info, "No project waits for your approval."),
        }
    }
}
