//! Dispatches actions: each to the dialog, the view or the pane that handles it.

use crate::{
    domain::event::NoticeLevel,
    tui::{
        action::Action,
        layout::Focus,
        msg::Cmd,
        overlay::{help::Help, notices::Notices, palette::Palette},
        tree::{FilterEnd, Folding},
        widget::{
            form::FormView,
            window::{Direction, Move},
        },
    },
};

use super::Model;

impl Model {
    /// Performs an action.
    pub(in crate::tui) fn act(&mut self, action: Action) -> Vec<Cmd> {
        if !self.dialogs.is_empty() {
            return self.dialog_act(action);
        }
        if FormView::command_of(action).is_some() {
            return self.form_act(action);
        }
        if action == Action::Inbox {
            self.inbox();
            return vec![];
        }
        if let Some(commands) = self.policy_act(action) {
            return commands;
        }
        if let Some(commands) = self.view_act(action) {
            return commands;
        }
        if self.tree.filter().is_some() {
            return self.filter_act(action);
        }
        self.pane_act(action)
    }

    pub(super) fn pane_act(&mut self, action: Action) -> Vec<Cmd> {
        match action {
            Action::Quit => return self.quit(),
            Action::Help => self.dialogs.push(Help::default()),
            Action::Palette => self.dialogs.push(Palette::new(self.acting_here(), &self.mirror.read_model)),
            Action::Notices => self.dialogs.push(Notices::default()),
            Action::Inbox => self.inbox(),
            Action::Back => self.back(),
            Action::NextPane => self.go_to_pane(Direction::Forward),
            Action::PreviousPane => self.go_to_pane(Direction::Backward),
            Action::Filter => {
                self.focus = Focus::Servers;
                self.end_detail();
                self.tree.set_filter(String::new(), &self.mirror.read_model);
            }
            Action::Zoom => self.zoom = !self.zoom,
            Action::Welcome => return self.welcome(),
            Action::Review => self.review_project(),
            Action::Activity => self.activity_shown = !self.activity_shown,
            Action::Copy => self.ask_copy(),
            Action::ToggleMouse => {
                self.mouse = !self.mouse;
                let text = if self.mouse {
                    "The mouse is captured: click and scroll in Switchboard."
                } else {
                    "The mouse is released: select text in the terminal."
                };
                self.toast(NoticeLevel::Info, text);
                return vec![Cmd::Mouse(self.mouse)];
            }
            Action::Redraw => return vec![Cmd::Redraw],
            Action::Suspend => return vec![Cmd::Suspend],
            Action::Up | Action::Down | Action::Left | Action::Right | Action::PageUp | Action::PageDown | Action::Top | Action::Bottom => {
                self.move_in(self.focus, action);
            }
            Action::Open => return self.open(),
            Action::Restart | Action::Disable | Action::Refresh | Action::LogDebug | Action::LogInfo => return self.server_act(action),
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel if matches!(self.focus, Focus::Result | Focus::Detail) => {
                self.detail.as_mut().unwrap_or(&mut self.result).act(action, &self.mirror.read_model, 1);
            }
            Action::Fold => self.tree.fold(Folding::Toggle, &self.mirror.read_model),
            Action::FoldLevel | Action::UnfoldLevel => {}
            Action::FoldAll => self.tree.fold_all(&self.mirror.read_model),
            Action::UnfoldAll => self.tree.unfold_all(&self.mirror.read_model),
            Action::Send => return self.send_call(),
            Action::SendUnchecked => return self.send_unchecked(),
            Action::ToggleJson => self.call.toggle_json(),
            Action::Editor => {
                self.in_editor = None;
                return self.call.text().map(Cmd::Edit).into_iter().collect();
            }
            Action::FieldEditor => return self.field_editor(),
            Action::LongText => self.long_text(),
            Action::Complete => self.take_suggestion(),
            Action::Burst => self.ask_burst(),
            Action::Subscribe => return self.subscribe(),
            Action::Search => self.ask_search(),
            Action::NextMatch | Action::PreviousMatch => {
                self.shown_mut().match_step(Direction::backward_if(action == Action::PreviousMatch));
            }
            Action::JsonPath => self.ask_path(),
            Action::Save => self.ask_save(),
            Action::OpenMedia => return self.open_media(),
            Action::Reset => {
                let cleared = self.call.reset();
                self.say_undo(cleared);
            }
            Action::Undo => self.call.undo(),
            Action::Cancel => return self.cancel(),
            Action::NextTab | Action::PreviousTab => self.go_to_tab(Direction::backward_if(action == Action::PreviousTab)),
            Action::SendAgain => return self.send_again(),
            Action::EditAgain => self.edit_again(),
            Action::Follow => self.traffic.follow(),
            Action::Breakers
            | Action::Routes
            | Action::BreakerTrip
            | Action::BreakerHoldOpen
            | Action::BreakerHoldClosed
            | Action::BreakerReset
            | Action::Inject
            | Action::StopFaults
            | Action::ClearCache
            | Action::ViewConsole
            | Action::ViewTraffic
            | Action::ViewTimeline
            | Action::ViewHealth
            | Action::ViewWorkflows
            | Action::RunWorkflow
            | Action::DryRun
            | Action::RunAgain
            | Action::RunFrom
            | Action::CancelStep
            | Action::ResumeRun
            | Action::EditField
            | Action::AddItem
            | Action::RemoveItem
            | Action::MoveItemUp
            | Action::MoveItemDown
            | Action::UnsetField
            | Action::SetNull
            | Action::SetEmpty
            | Action::EditWorkflow
            | Action::Mark
            | Action::SaveWorkflow
            | Action::Sort
            | Action::ReverseSort
            | Action::CompleteFilter
            | Action::ZoomIn
            | Action::ZoomOut
            | Action::NextCall
            | Action::PreviousCall
            | Action::Choose
            | Action::Answer
            | Action::Decline
            | Action::CancelQuestion
            | Action::NextQuestion
            | Action::AnswerFile
            | Action::OpenUrl
            | Action::CopyUrl
            | Action::Yes
            | Action::Always
            | Action::TrustServer
            | Action::No
            | Action::Approve
            | Action::Reject => {}
        }
        vec![]
    }

    pub(super) fn filter_act(&mut self, action: Action) -> Vec<Cmd> {
        let read_model = &self.mirror.read_model;
        match action {
            Action::Open => {
                let found = self.tree.selected().is_some();
                self.tree.end_filter(if found { FilterEnd::Accept } else { FilterEnd::Cancel }, read_model);
                if found {
                    self.focus = Focus::Call;
                }
            }
            Action::Back => self.tree.end_filter(FilterEnd::Cancel, read_model),
            Action::NextPane | Action::PreviousPane => {
                let found = self.tree.selected().is_some();
                self.tree.end_filter(if found { FilterEnd::Accept } else { FilterEnd::Cancel }, read_model);
                self.go_to_pane(Direction::Forward);
            }
            Action::Up => self.tree.go(Move::Back(1)),
            Action::Down => self.tree.go(Move::On(1)),
            Action::PageUp => self.tree.go(Move::Back(10)),
            Action::PageDown => self.tree.go(Move::On(10)),
            other => return self.pane_act(other),
        }
        vec![]
    }
}
