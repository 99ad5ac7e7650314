//! Dispatches actions: each to the dialog on top, the current view, or the part of the model that performs it.

use crate::{
    domain::event::NoticeLevel,
    tui::{
        action::Action,
        msg::Cmd,
        overlay::{help::Help, notices::Notices},
        pane::detail::Tab,
        view::ViewInput,
        widget::{form::FormView, window::Direction},
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
        self.pass_to_view(ViewInput::Action(action))
            .or_else(|| self.policy_act(action))
            .or_else(|| self.views_act(action))
            .or_else(|| self.console_act(action))
            .unwrap_or_else(|| self.general_act(action))
    }

    /// Performs an action that means the same in every view.
    fn general_act(&mut self, action: Action) -> Vec<Cmd> {
        match action {
            Action::Quit => return self.quit(),
            Action::Help => self.dialogs.push(Help::new(self.contexts().to_vec())),
            Action::Palette => self.command_line(),
            Action::Notices => self.dialogs.push(Notices::default()),
            Action::Inbox => self.inbox(),
            Action::Describe => self.describe(),
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
            Action::Restart | Action::Disable | Action::Refresh | Action::LogDebug | Action::LogInfo => return self.server_act(action),
            Action::Login => return self.log_in(),
            Action::EditServer => return self.edit_server(),
            Action::ServerMenu => self.server_menu(),
            Action::Favourite => return self.favourite(),
            Action::Send => return self.send_call(),
            Action::SendUnchecked => return self.send_unchecked(),
            Action::Editor => {
                self.in_editor = None;
                return self.console.call.arguments().text().map(Cmd::Edit).into_iter().collect();
            }
            Action::FieldEditor => return self.field_editor(),
            Action::LongText => self.long_text(),
            Action::Complete => self.take_suggestion(),
            Action::InsertValue => self.pick_value(),
            Action::Burst => self.ask_burst(),
            Action::Watch => self.ask_watch(),
            Action::SaveCall => self.ask_save_call(),
            Action::Compare => self.compare(),
            Action::Subscribe => return self.subscribe(),
            Action::FormResult => self.form_result(),
            Action::ToggleSource => {
                let (shown, read_model) = self.shown_parts();
                shown.toggle_source(read_model);
            }
            Action::Search => self.ask_search(),
            Action::History => self.ask_history(),
            Action::Sessions => return Model::ask_sessions(),
            Action::Statistics => return Model::ask_statistics(),
            Action::Drift => return Model::ask_drift(),
            Action::NextMatch | Action::PreviousMatch => {
                self.shown_mut().match_step(Direction::backward_if(action == Action::PreviousMatch));
            }
            Action::JsonPath => self.ask_path(),
            Action::Save => self.ask_save(),
            Action::SaveNow => return self.save_now(),
            Action::Frames => {
                let (shown, read_model) = self.shown_parts();
                shown.set_tab(Tab::Frames, read_model);
            }
            Action::OpenMedia => return self.open_media(),
            Action::Cancel => return self.cancel(),
            Action::SendAgain => return self.send_again(),
            Action::EditAgain => self.edit_again(),
            // Performed by a dialog or a view that is not shown.
            _ => {}
        }
        vec![]
    }
}
