//! The open drop-down list of a form. It is drawn on top of all panes, so mouse events go to it first.

use ratatui::layout::Position;

use crate::tui::{
    action::Action,
    hits::HitArea,
    pane::DrawContext,
    view::{View, ViewId},
    widget::{form::FormView, window::Move},
};

use super::{Model, mouse::NOTCH};

impl Model {
    /// Returns the form whose drop-down list is open and has the focus, and what it needs to draw the list.
    pub fn choosing(&mut self) -> Option<(&mut FormView, DrawContext<'_>)> {
        let look = self.session.context(true);
        let form = match self.dialogs.top_mut() {
            Some(dialog) => dialog.form_mut(),
            None if self.views.current == ViewId::Console => self.console.form_mut(&self.views.state),
            None => self.views.current_mut().and_then(|(view, state)| view.form_mut(state)),
        }?;
        form.listing().then_some((form, look))
    }

    /// Handles a click while the list is open; returns whether the click is fully handled.
    pub(super) fn press_choices(&mut self, cell: Position, found: &HitArea) -> bool {
        self.choosing().is_some_and(|(form, _)| form.click_list(cell, found))
    }

    /// Scrolls the list.
    pub(super) fn wheel_choices(&mut self, action: Action) {
        if let Some((form, _)) = self.choosing() {
            form.move_list(if action == Action::Up { Move::Back(NOTCH) } else { Move::On(NOTCH) });
        }
    }

    /// Closes the list; returns whether one was open.
    pub(super) fn close_choices(&mut self) -> bool {
        self.choosing().map(|(form, _)| form.close_list()).is_some()
    }
}
