//! Filtered rows: a filter line, and the index of the rows that match its filter. Traffic and timeline have one each.

use crossterm::event::KeyEvent;

use crate::tui::{
    filter::Filter,
    filter_index::{FILTER_STEP, Index},
    rows::Rows,
};

use super::filter_line::FilterLine;

/// An operation on a filter line.
#[derive(Clone, Copy, Debug)]
pub enum OnQuery<'t> {
    /// Start to edit it.
    Edit,
    /// End the editing.
    End {
        /// Whether the new filter is accepted.
        keep: bool,
    },
    /// Replace the filter.
    Set(&'t str),
    /// Insert the next completion of the current word.
    Complete,
    /// Handle a key.
    Key(KeyEvent),
    /// Insert pasted text.
    Paste(&'t str),
}

/// A filter line and the rows that match its filter.
pub struct FilteredRows {
    /// The filter line.
    pub query: FilterLine,
    /// The rows.
    pub index: Index,
}

impl FilteredRows {
    /// Returns all rows.
    pub fn new(rows: &Rows) -> FilteredRows {
        FilteredRows { query: FilterLine::default(), index: Index::new(Filter::default(), rows) }
    }

    /// Applies an operation to the filter line. Returns whether the filter changed; the index then starts again.
    pub fn on_query(&mut self, what: OnQuery, rows: &Rows) -> bool {
        let query = &mut self.query;
        let changed = match what {
            OnQuery::Edit => {
                query.edit(rows);
                false
            }
            OnQuery::End { keep } => query.end_edit(keep),
            OnQuery::Set(text) => query.set(text),
            OnQuery::Complete => query.complete(rows),
            OnQuery::Key(key) => query.key(key, rows),
            OnQuery::Paste(text) => query.paste(text, rows),
        };
        if changed {
            self.index = Index::new(self.query.filter().clone(), rows);
            // Filters the first rows now, so that the next frame shows some.
            self.index.step(rows, FILTER_STEP);
        }
        changed
    }
}
