//! The content of a page: JSON or text, rich text, or a grid, behind one interface to move, search, copy and draw.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    grid::Grid,
    json::{JsonView, Progress},
    rich_text::RichText,
    window::{Direction, Move},
};
use crate::{
    domain::body::Body,
    tui::{
        action::Action,
        hits::{Hit, HitMap},
        theme::Theme,
    },
};

/// A content of any kind.
pub enum Content {
    /// JSON as a tree, or other text as lines.
    Json(Box<JsonView>),
    /// Rich text made from a source.
    Rich {
        /// The source, for copying and saving.
        source: Body,
        /// The text.
        text: RichText,
    },
    /// An array of objects as a table.
    Grid(Box<Grid>),
}

impl Content {
    /// Handles an action: moves, folds, sorts. Returns whether the action applies.
    pub fn act(&mut self, action: Action) -> bool {
        match self {
            Content::Json(view) => view.act(action),
            Content::Grid(grid) => grid.act(action),
            Content::Rich { text, .. } => match Move::of(action, text.page()) {
                Some(to) => {
                    text.go(to);
                    true
                }
                None => false,
            },
        }
    }

    /// Searches; an empty text ends the search.
    pub fn search(&mut self, needle: &str) {
        match self {
            Content::Json(view) => view.search(needle),
            Content::Rich { text, .. } => text.search(needle),
            Content::Grid(grid) => grid.search(needle),
        }
    }

    /// Returns the search text.
    pub fn needle(&self) -> Option<&str> {
        match self {
            Content::Json(view) => view.needle(),
            Content::Rich { text, .. } => text.needle(),
            Content::Grid(grid) => grid.needle(),
        }
    }

    /// Searches up to `budget_bytes` more bytes of a large document.
    pub fn search_step(&mut self, budget_bytes: usize) -> Progress {
        match self {
            Content::Json(view) => view.search_step(budget_bytes),
            Content::Rich { .. } | Content::Grid(_) => Progress::Done(self.match_position().map_or(0, |(_, all)| all)),
        }
    }

    /// Returns the number (from 1) of the current match, if there is one, and the number of matches.
    pub fn match_position(&self) -> Option<(Option<usize>, usize)> {
        match self {
            Content::Json(view) => view.match_position(),
            Content::Rich { text, .. } => text.match_position(),
            Content::Grid(grid) => grid.match_position(),
        }
    }

    /// Goes to the next or the previous match.
    pub fn match_step(&mut self, direction: Direction) {
        match (self, direction) {
            (Content::Json(view), Direction::Forward) => view.next_match(),
            (Content::Json(view), Direction::Backward) => view.previous_match(),
            (Content::Rich { text, .. }, _) => text.step(direction),
            (Content::Grid(grid), _) => grid.step(direction),
        }
    }

    /// Handles a click. Returns whether the clicked row was under the cursor already, so that it opens.
    pub fn click(&mut self, hit: &Hit) -> bool {
        match (self, hit) {
            (Content::Json(view), Hit::Row(row) | Hit::FoldSign(row)) => view.click(*row),
            (Content::Grid(grid), Hit::GridColumn(column)) => {
                grid.sort_by(*column);
                false
            }
            (Content::Grid(grid), Hit::Row(row)) => {
                grid.click(*row);
                false
            }
            _ => false,
        }
    }

    /// Draws the content, scrolled so that its cursor is visible.
    pub fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme, focused: bool, hits: &HitMap) {
        match self {
            Content::Json(view) => view.draw(area, buf, theme, focused, hits),
            Content::Rich { text, .. } => text.draw(area, buf, theme),
            Content::Grid(grid) => grid.draw(area, buf, theme, focused, hits),
        }
    }

    /// Returns the position for a scroll bar: the first visible row, the number of visible rows, and of all rows.
    pub fn position(&self) -> (usize, usize, usize) {
        match self {
            Content::Json(view) => view.position(),
            Content::Rich { text, .. } => text.position(),
            Content::Grid(grid) => grid.position(),
        }
    }

    /// Returns the value under the cursor, or the whole text.
    pub fn copy_value(&self) -> Body {
        match self {
            Content::Json(view) => view.copy_value(),
            Content::Rich { source, .. } => source.clone(),
            Content::Grid(grid) => grid.value(),
        }
    }

    /// Returns the whole document.
    pub fn body(&self) -> &Body {
        match self {
            Content::Json(view) => view.body(),
            Content::Rich { source, .. } => source,
            Content::Grid(grid) => grid.body(),
        }
    }

    /// Returns the JSON view, if it is one.
    pub fn json(&self) -> Option<&JsonView> {
        match self {
            Content::Json(view) => Some(view),
            _ => None,
        }
    }

    /// Returns the grid, if it is one.
    pub fn grid(&self) -> Option<&Grid> {
        match self {
            Content::Grid(grid) => Some(grid),
            _ => None,
        }
    }

    /// Returns whether it is a foldable tree.
    pub fn is_tree(&self) -> bool {
        self.json().is_some_and(JsonView::is_tree)
    }
}
