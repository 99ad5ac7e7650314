//! Dispatches actions: each to the dialog, the view or the pane that handles it.

use crate::{
    domain::event::NoticeLevel,
    tui::{
        action::Action,
        layout::Focus,
        msg::Cmd,
        overlay::{help::Help, notices::Notices},
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
        if action == Action::Describe {
            self.describe();
            return vec![];
        }
        if let Some(commands) = self.policy_act(action) {
            return commands;
        }
        if let Some(commands) = self.view_act(action) {
            return commands;
        }
        if self.console.tree.filter().is_some() {
            return self.filter_act(action);
        }
        self.pane_act(action)
    }

    pub(super) fn pane_act(&mut self, action: Action) -> Vec<Cmd> {
        match action {
            Action::Quit => return self.quit(),
            Action::Help => self.dialogs.push(Help::new(self.contexts().to_vec())),
            Action::Palette => self.command_line(),
            Action::Notices => self.dialogs.push(Notices::default()),
            Action::Inbox => self.inbox(),
            Action::Back => self.back(),
            Action::NextPane => self.go_to_pane(Direction::Forward),
            Action::PreviousPane => self.go_to_pane(Direction::Backward),
            Action::Filter => {
                self.console.focus = Focus::Servers;
                self.end_detail();
                self.console.tree.set_filter(String::new(), self.session.read_model());
            }
            Action::Zoom => self.zoom = !self.zoom,
            Action::Welcome => return self.welcome(),
            Action::Review => self.review_project(),
            Action::Inputs => self.open_inputs(),
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
                self.move_in(self.console.focus, action);
            }
            Action::Open => return self.open(),
            Action::Restart | Action::Disable | Action::Refresh | Action::LogDebug | Action::LogInfo => return self.server_act(action),
            Action::Fold | Action::FoldLevel | Action::UnfoldLevel if matches!(self.console.focus, Focus::Result | Focus::Detail) => {
                self.console.detail.as_mut().unwrap_or(&mut self.console.result).act(action, self.session.read_model(), 1);
            }
            Action::Fold => self.console.tree.fold(Folding::Toggle, self.session.read_model()),
            Action::Favourite => return self.favourite(),
            Action::FoldAll => self.console.tree.fold_all(self.session.read_model()),
            Action::UnfoldAll => self.console.tree.unfold_all(self.session.read_model()),
            Action::Send => return self.send_call(),
            Action::SendUnchecked => return self.send_unchecked(),
            Action::ToggleJson => self.console.call.toggle_json(),
            Action::Editor => {
                self.in_editor = None;
                return self.console.call.text().map(Cmd::Edit).into_iter().collect();
            }
            Action::FieldEditor => return self.field_editor(),
            Action::LongText => self.long_text(),
            Action::Complete => self.take_suggestion(),
            Action::Burst => self.ask_burst(),
            Action::Subscribe => return self.subscribe(),
            Action::FormResult => self.form_result(),
            Action::ToggleSource => {
                let (shown, read_model) = self.shown_parts();
                shown.toggle_source(read_model);
            }
            Action::Search => self.ask_search(),
            Action::NextMatch | Action::PreviousMatch => {
                self.shown_mut().match_step(Direction::backward_if(action == Action::PreviousMatch));
            }
            Action::JsonPath => self.ask_path(),
            Action::Save => self.ask_save(),
            Action::OpenMedia => return self.open_media(),
            Action::Reset => {
                let cleared = self.console.call.reset();
                self.say_undo(cleared);
            }
            Action::Undo => self.console.call.undo(),
            Action::Cancel => return self.cancel(),
            Action::NextTab | Action::PreviousTab => self.go_to_tab(Direction::backward_if(action == Action::PreviousTab)),
            Action::SendAgain => return self.send_again(),
            Action::EditAgain => self.edit_again(),
            Action::Follow => self.console.traffic.follow(),
            // Performed before, or by a dialog or a view that is not shown.
            _ => {}
        }
        vec![]
    }

    pub(super) fn filter_act(&mut self, action: Action) -> Vec<Cmd> {
        let read_model = self.session.read_model();
        match action {
            Action::Open => {
                let found = self.console.tree.selected().is_some();
                self.console.tree.end_filter(if found { FilterEnd::Accept } else { FilterEnd::Cancel }, read_model);
                if found {
                    self.console.focus = Focus::Call;
                }
            }
            Action::Back => self.console.tree.end_filter(FilterEnd::Cancel, read_model),
            Action::NextPane | Action::PreviousPane => {
                let found = self.console.tree.selected().is_some();
                self.console.tree.end_filter(if found { FilterEnd::Accept } else { FilterEnd::Cancel }, read_model);
                self.go_to_pane(Direction::Forward);
            }
            Action::Up => self.console.tree.go(Move::Back(1)),
            Action::Down => self.console.tree.go(Move::On(1)),
            Action::PageUp => self.console.tree.go(Move::Back(10)),
            Action::PageDown => self.console.tree.go(Move::On(10)),
            other => return self.pane_act(other),
        }
        vec![]
    }
}
