//! Cursor and scroll position of a list that draws only its visible rows.

use std::ops::Range;

use crate::tui::action::Action;

/// Cursor and first visible row of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The row under the cursor.
    pub cursor: usize,
    /// The first visible row.
    pub top: usize,
}

/// The direction of a step through panes, tabs, rows or matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the previous one.
    Backward,
    /// To the next one.
    Forward,
}

impl Direction {
    /// Returns `Backward` if the condition holds, else `Forward`.
    pub fn backward_if(condition: bool) -> Direction {
        if condition { Direction::Backward } else { Direction::Forward }
    }

    /// Returns the index after the step from `at` among `len` items, which wraps around; 0 if there are none.
    pub fn cycle(self, at: usize, len: usize) -> usize {
        let next = if self == Direction::Backward { at + len.saturating_sub(1) } else { at + 1 };
        next % len.max(1)
    }
}

/// A cursor movement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Towards the start by this many rows.
    Back(usize),
    /// Towards the end by this many rows.
    On(usize),
    /// To the first row.
    First,
    /// To the last row.
    Last,
}

impl Move {
    /// Returns the movement of an action up or down a list, of which a page has this many rows.
    pub fn of(action: Action, page: usize) -> Option<Move> {
        Some(match action {
            Action::Up => Move::Back(1),
            Action::Down => Move::On(1),
            Action::PageUp => Move::Back(page),
            Action::PageDown => Move::On(page),
            Action::Top => Move::First,
            Action::Bottom => Move::Last,
            _ => return None,
        })
    }
}

impl Window {
    /// Moves the cursor in a list of `len` rows.
    pub fn go(&mut self, to: Move, len: usize) {
        let last = len.saturating_sub(1);
        self.cursor = match to {
            Move::Back(by) => self.cursor.saturating_sub(by),
            Move::On(by) => self.cursor.saturating_add(by).min(last),
            Move::First => 0,
            Move::Last => last,
        }
        .min(last);
    }

    /// Clamps the cursor and scrolls so that it is visible, for `len` rows of which `height` are visible.
    pub fn fit(&mut self, len: usize, height: usize) {
        self.cursor = self.cursor.min(len.saturating_sub(1));
        self.top = self.top.min(len.saturating_sub(height)).min(self.cursor);
        if height > 0 && self.cursor >= self.top + height {
            self.top = self.cursor + 1 - height;
        }
    }

    /// Returns the visible rows of `len`.
    pub fn rows(&self, len: usize, height: usize) -> Range<usize> {
        let top = self.top.min(len);
        top..(top + height).min(len)
    }

    /// Scrolls a list without a visible cursor.
    pub fn scroll(&mut self, to: Move, len: usize, height: usize) {
        self.cursor = self.top;
        self.go(to, len.saturating_sub(height) + 1);
        self.top = self.cursor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_cursor_is_always_visible(moves in proptest::collection::vec((0usize..4, 0usize..30), 0..50), len in 0usize..100, height in 1usize..40) {
            let mut window = Window::default();
            for (kind, by) in moves {
                window.go([Move::Back(by), Move::On(by), Move::First, Move::Last][kind], len);
                window.fit(len, height);
                let rows = window.rows(len, height);
                prop_assert!(len == 0 || rows.contains(&window.cursor));
                prop_assert!(rows.len() == len.min(height), "no empty rows while there is something to show");
            }
        }
    }
}
