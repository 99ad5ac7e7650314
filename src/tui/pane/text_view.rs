//! The text view: labelled lines of text that wrap and scroll, for reports, server information and help.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use crate::{
    domain::call::Label,
    tui::{
        action::Action,
        hits::{Hit, HitMap},
        theme::Theme,
        widget::{
            paint::{Pen, scroll_bar, width, wrap},
            window::Window,
        },
    },
};

/// Default cells of the label column.
const LABEL: u16 = 11;

/// Lines laid out for one width.
pub struct TextView<'t> {
    theme: &'t Theme,
    width: u16,
    label_width: u16,
    rows: Vec<Vec<(String, Style)>>,
    /// Rows whose key a click presses.
    actions: Vec<(usize, Action)>,
}

impl<'t> TextView<'t> {
    /// Creates an empty view for rows of `width` cells.
    pub fn new(theme: &'t Theme, width: u16) -> TextView<'t> {
        TextView { theme, width, label_width: LABEL, rows: vec![], actions: vec![] }
    }

    /// Sets the cells of the label column, of which the last one stays blank.
    #[must_use]
    pub fn with_label_width(mut self, cells: u16) -> TextView<'t> {
        self.label_width = cells;
        self
    }

    /// Returns the width of the rows in cells.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a row of styled pieces. The row is cut, not wrapped.
    pub fn row(&mut self, pieces: Vec<(String, Style)>) -> &mut Self {
        self.rows.push(pieces);
        self
    }

    /// Adds a piece to the last row.
    pub fn extend_last(&mut self, piece: (String, Style)) -> &mut Self {
        if let Some(row) = self.rows.last_mut() {
            row.push(piece);
        }
        self
    }

    /// Makes the last row the key of an action, for [`TextView::record`].
    pub fn does(&mut self, action: Action) -> &mut Self {
        self.actions.push((self.rows.len().saturating_sub(1), action));
        self
    }

    /// Adds an empty row, unless the view is empty or ends with one.
    pub fn gap(&mut self) -> &mut Self {
        if self.rows.last().is_some_and(|row| !row.is_empty()) {
            self.rows.push(vec![]);
        }
        self
    }

    /// Adds wrapped text.
    pub fn text(&mut self, text: &str, style: Style) -> &mut Self {
        self.rows.extend(wrap(text, self.width).into_iter().map(|row| vec![(row, style)]));
        self
    }

    /// Adds a label and wrapped text to its right.
    pub fn field(&mut self, label: &str, text: &str, style: Style) -> &mut Self {
        self.field_at(self.label_width, label, text, style)
    }

    /// Adds a label of `cells` cells, the last of them blank, and wrapped text to its right.
    pub fn field_at(&mut self, cells: u16, label: &str, text: &str, style: Style) -> &mut Self {
        let room = self.width.saturating_sub(cells).max(8);
        let mut rows = wrap(text, room);
        if rows.is_empty() {
            rows.push(String::new());
        }
        for (index, row) in rows.into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            self.rows.push(vec![(format!("{label:<width$}", width = usize::from(cells)), self.theme.muted), (row, style)]);
        }
        self
    }

    /// Adds a failure report, coloured by its labels.
    pub fn report(&mut self, report: &[(Label, String)]) -> &mut Self {
        let mut previous = None;
        for (label, text) in report {
            let style = match label {
                Label::Error | Label::Failed => self.theme.fail,
                Label::Try => self.theme.accent,
                Label::Stderr => self.theme.warn,
                _ => self.theme.text,
            };
            let shown = if previous == Some(label) { "" } else { label.word() };
            previous = Some(label);
            self.field(shown, text, style);
        }
        self
    }

    /// Returns the first row that is drawn.
    fn top(&self, area: Rect, window: Window) -> usize {
        window.top.min(self.rows.len().saturating_sub(usize::from(area.height)))
    }

    /// Records the areas of the rows with an action, as [`TextView::draw`] draws them.
    pub fn record(&self, hits: &HitMap, area: Rect, window: Window) {
        let top = self.top(area, window);
        for (row, action) in &self.actions {
            let inside = row.checked_sub(top).and_then(|y| u16::try_from(y).ok()).filter(|y| *y < area.height);
            let cells = self.rows.get(*row).map_or(0, |pieces| pieces.iter().map(|(text, _)| width(text)).fold(0, u16::saturating_add));
            if let Some(y) = inside {
                hits.add(Rect { y: area.y + y, height: 1, width: cells.min(area.width), ..area }, Hit::Key(*action));
            }
        }
    }

    /// Draws the rows from `window.top`.
    pub fn draw(&self, buf: &mut Buffer, area: Rect, window: Window) {
        let height = usize::from(area.height);
        let top = self.top(area, window);
        for (y, row) in self.rows.iter().skip(top).take(height).enumerate() {
            let mut pen = Pen::new(buf, area, y as u16);
            // A row that is cut ends with an ellipsis.
            let is_cut = cells(row) > pen.room();
            pen.reserve(usize::from(is_cut));
            for (text, style) in row {
                pen.put(text, *style);
            }
            if is_cut {
                pen.widen(1);
                let last = pen.x() + pen.left().saturating_sub(1);
                pen.to(last).put("…", row.last().map_or(self.theme.muted, |(_, style)| *style));
            }
        }
        let rows_area = Rect { width: area.width + 1, ..area };
        scroll_bar(buf, rows_area, (top, height, self.rows.len()), self.theme.muted);
    }
}

/// Returns the cells of a row without blanks at its end.
fn cells(row: &[(String, Style)]) -> usize {
    let text: String = row.iter().map(|(text, _)| text.as_str()).collect();
    usize::from(width(text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::widget::test_screen::text_of;

    #[test]
    fn a_row_that_is_cut_ends_with_an_ellipsis() {
        let theme = Theme::ansi();
        let drawn = |pieces: &[&str]| {
            let mut view = TextView::new(&theme, 8);
            view.row(pieces.iter().map(|text| ((*text).to_owned(), theme.text)).collect());
            let mut buf = Buffer::empty(Rect::new(0, 0, 8, 1));
            view.draw(&mut buf, Rect::new(0, 0, 8, 1), Window::default());
            text_of(&buf)
        };
        assert_eq!(drawn(&["12:00  ", "failed"]), "12:00  …");
        assert_eq!(drawn(&["12345678", "9"]), "1234567…");
        assert_eq!(drawn(&["1234", "5678", "   "]), "12345678");
        assert_eq!(drawn(&["123456", "界界"]), "123456 …", "a wide character is not cut in half");
    }
}
