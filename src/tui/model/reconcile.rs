//! Reconciles derived state after each message: layout, focus, cursors; and computes when the screen changes without input.

use std::time::Duration;

use crate::tui::{
    dialog::Dialog,
    layout::Layout,
    overlay::{approval::Approval, config_inputs::ConfigInputs},
    pane::{activity as strip_pane, banner, detail::Detail, row_detail as row},
    rows::past::Progress,
    view::{View, ViewId},
};

use super::{Model, toasts::TOAST_TIME};

impl Model {
    /// Reconciles the state after a change: the middle pane shows the selection, the focus
    /// is on a visible pane, cursors are visible, old toasts are removed.
    pub(super) fn reconcile(&mut self) {
        let now = self.session.time();
        if self.dialogs.is_empty() {
            self.toasts.retain(|toast| toast.until > now);
        } else {
            // They are hidden under a dialog, so their time starts when it closes.
            let until = now.plus(TOAST_TIME);
            self.toasts.iter_mut().for_each(|toast| toast.until = toast.until.max(until));
        }
        if self.dialogs.is_empty()
            && !self.typing()
            && let Some(prompt) = self.approval.take()
        {
            self.sequence.clear();
            self.dialogs.push(Approval::new(prompt, now));
        }
        if self.dialogs.is_empty() && !self.typing() && std::mem::take(&mut self.ask_inputs) {
            self.sequence.clear();
            if let Some(dialog) = ConfigInputs::new(self.missing_inputs(), now) {
                self.dialogs.push(dialog);
            }
        }
        self.console.show_selected(self.session.read_model());
        let entry = self.views.state.entry.as_mut().map(|entry| &mut entry.detail);
        let searched = self.console.detail.iter_mut().chain([&mut self.console.result]).chain(entry);
        self.searching = searched.fold(false, |on, detail| detail.continue_search() | on);
        self.note_typing();
        let lanes = u16::try_from(self.session.read_model().servers.len()).unwrap_or(u16::MAX - 2);
        self.room.activity = if self.activity_shown { lanes.saturating_add(2) } else { 0 };
        self.room.banner = banner::wanted(self.session.read_model());
        self.layout = Layout::new(self.size, self.console.middle(), self.console.focus, self.zoom, self.room);
        self.console.lay_out(&self.layout, self.zoom);
        let filter = self.views.traffic.past_filter();
        self.views.state.rows.past_mut().filter_with(filter);
        let (body, zoom) = (self.layout.body(), self.zoom);
        let ctx = self.session.context(false);
        self.console.fit(&mut self.views.state, ctx, body, zoom);
        if let Some((view, state)) = self.views.current_mut() {
            view.fit(state, ctx, body, zoom);
        }
    }

    /// Returns whether something on the screen is animated.
    pub fn moving(&self) -> bool {
        let read_model = self.session.read_model();
        let (view, state) = self.view();
        read_model.running > 0
            || view.moving(state, self.look())
            || self.dialogs.is_empty() && !self.toasts.is_empty()
            || self.tour.is_some()
            || self.searching
            || self.console.result.waits()
            || self.console.detail.as_ref().is_some_and(Detail::waits)
            || self.views.state.entry.as_ref().is_some_and(row::RowDetail::waits)
            || self.views.current == ViewId::Traffic && matches!(self.views.state.rows.past().progress(), Progress::Reading(_))
            || self.completing.waiting()
            || self.dialogs.iter().any(Dialog::moving)
            || read_model.servers.iter().any(|s| s.phase.pending())
    }

    /// Returns the time until something on the screen moves by a step without input.
    pub fn next_step(&self) -> Option<Duration> {
        let guard = self.dialogs.top().and_then(|dialog| dialog.guard_left(self.session.time()));
        self.activity_step().into_iter().chain(self.countdown()).chain(guard).min()
    }

    pub(super) fn activity_step(&self) -> Option<Duration> {
        let (place, read_model) = (self.layout.activity?, self.session.read_model());
        self.activity.due(strip_pane::cells(read_model, place), self.session.time(), |grid| strip_pane::moves(read_model, grid))
    }
}
