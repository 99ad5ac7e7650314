//! The open drop-down list of a form. It is drawn on top of all panes, so mouse events go to it first.

use crate::tui::{
    action::Action,
    layout::Focus,
    theme::Theme,
    widget::{form::FormView, window::Move},
};

use super::{Modal, Model, mouse::NOTCH};

impl Model {
    /// Returns the form whose drop-down list is open and has the focus, and the theme to draw it.
    pub fn choosing(&mut self) -> Option<(&mut FormView, &Theme)> {
        let (in_call, in_input) = (!self.in_view() && self.focus == Focus::Call, self.in_input());
        let form = match self.modals.last_mut() {
            Some(Modal::Inbox(inbox)) => inbox.form_mut(),
            Some(_) => None,
            None if in_input => self.views.flows.input.form_mut(),
            None if in_call => self.call.form_mut(),
            None => None,
        }?;
        form.listing().then_some((form, &self.theme))
    }

    /// Handles a click on the list; returns whether the click is fully handled.
    pub(super) fn press_choices(&mut self, x: u16, y: u16) -> bool {
        self.choosing().is_some_and(|(form, _)| form.click_list(x, y))
    }

    /// Scrolls the list if the wheel is over it; returns whether it is.
    pub(super) fn wheel_choices(&mut self, x: u16, y: u16, action: Action) -> bool {
        let Some((form, _)) = self.choosing().filter(|(form, _)| form.list_at(x, y)) else { return false };
        form.move_list(if action == Action::Up { Move::Back(NOTCH) } else { Move::On(NOTCH) });
        true
    }

    /// Closes the list; returns whether one was open.
    pub(super) fn close_choices(&mut self) -> bool {
        self.choosing().map(|(form, _)| form.close_list()).is_some()
    }
}
