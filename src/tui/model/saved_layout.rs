//! The layout that is stored for the next start: dividers, folds, view and filters.

use crate::{
    domain::console_layout::ConsoleLayout,
    tui::{pane::filtered_rows::OnQuery, view::ViewId},
};

use super::Model;

impl Model {
    /// Restores the layout of the last session.
    pub(super) fn restore_layout(&mut self, layout: &ConsoleLayout) {
        (self.room.left, self.room.call, self.room.below) = (layout.tree_columns, layout.call_rows, layout.traffic_rows);
        self.activity_shown = !layout.activity_hidden;
        self.console.tree.restore_folds(&layout.servers, &layout.folders);
        let rows = &self.views.state.rows;
        self.views.traffic.on_query(OnQuery::Set(&layout.traffic_filter), rows);
        self.views.timeline.on_query(OnQuery::Set(&layout.timeline_filter), rows);
        self.views.show(ViewId::ALL.get(layout.view).copied().unwrap_or_default());
    }

    /// Returns the layout to restore at the next start.
    pub fn current_layout(&self) -> ConsoleLayout {
        let (servers, folders) = self.console.tree.chosen_folds();
        let mut layout = ConsoleLayout {
            tree_columns: self.room.left,
            call_rows: self.room.call,
            traffic_rows: self.room.below,
            activity_hidden: !self.activity_shown,
            view: self.tab(),
            servers,
            folders,
            traffic_filter: self.views.traffic.query().text().to_owned(),
            timeline_filter: self.views.timeline.query().text().to_owned(),
        };
        layout.bound();
        layout
    }
}
