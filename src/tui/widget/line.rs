//! Writes spans into a row of cells, and cuts them where the row ends.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// A pen that writes from left to right in one row and stops at its end.
pub struct Pen<'a> {
    buf: &'a mut Buffer,
    x: u16,
    end: u16,
    y: u16,
}

impl<'a> Pen<'a> {
    /// A pen at the start of row `row` (from 0) of `area`; one that writes nothing when there is no such row.
    pub fn new(buf: &'a mut Buffer, area: Rect, row: u16) -> Pen<'a> {
        let area = area.intersection(buf.area);
        let end = if row < area.height { area.right() } else { area.x };
        Pen { buf, x: area.x, end, y: area.y.saturating_add(row) }
    }

    /// How many cells are left.
    pub fn left(&self) -> usize {
        usize::from(self.end.saturating_sub(self.x))
    }

    /// The cells that are left.
    pub fn rest(&self) -> Rect {
        Rect { x: self.x, y: self.y, width: self.end.saturating_sub(self.x), height: 1 }.intersection(self.buf.area)
    }

    /// Writes harmless `text` that begins `cells` cells before the right edge of `area`, unless the pen is there already.
    pub fn at_end(&mut self, area: Rect, cells: usize, text: &str, style: Style) {
        let x = area.right().saturating_sub(u16::try_from(cells).unwrap_or(u16::MAX)).max(area.x);
        if x > self.x && x < self.end {
            self.buf.set_stringn(x, self.y, text, usize::from(self.end - x), style);
        }
    }

    /// Leaves out `cells` cells.
    pub fn skip(&mut self, cells: usize) {
        self.x = self.x.saturating_add(u16::try_from(cells).unwrap_or(u16::MAX)).min(self.end);
    }

    /// Keeps `cells` cells at the end free.
    pub fn reserve(&mut self, cells: usize) {
        self.end = self.end.saturating_sub(u16::try_from(cells).unwrap_or(u16::MAX)).max(self.x);
    }

    /// Gives back `cells` cells that were kept free.
    pub fn widen(&mut self, cells: usize) {
        self.end = self.end.saturating_add(u16::try_from(cells).unwrap_or(u16::MAX));
    }

    /// Writes `text`, which must be harmless already; what does not fit is left out.
    pub fn put(&mut self, text: &str, style: Style) {
        if self.x < self.end {
            (self.x, _) = self.buf.set_stringn(self.x, self.y, text, self.left(), style);
        }
    }

    /// Writes `text`; when it does not fit, its end is cut and marked with `…`.
    pub fn cut(&mut self, text: &str, style: Style) {
        if width(text) <= self.left() {
            return self.put(text, style);
        }
        if let Some(room) = self.left().checked_sub(1) {
            self.put(head(text, room), style);
            self.put("…", style);
        }
    }
}

/// Cells that harmless text takes.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The beginning of `text` that is at most `cells` wide.
pub fn head(text: &str, cells: usize) -> &str {
    if text.len() <= cells {
        return text;
    }
    let mut used = 0;
    for (at, grapheme) in text.grapheme_indices(true) {
        used += grapheme.width();
        if used > cells {
            return &text[..at];
        }
    }
    text
}

/// Breaks harmless text into rows of at most `cells` cells, at spaces where there are some.
pub fn wrap(text: &str, cells: usize, rows: usize) -> Vec<String> {
    let mut out: Vec<String> = vec![];
    let mut row = String::new();
    for word in text.split_inclusive([' ', '\n']) {
        if out.len() >= rows {
            return out;
        }
        if width(&row) + width(word.trim_end()) > cells && !row.is_empty() {
            out.push(std::mem::take(&mut row).trim_end().to_owned());
        }
        let mut rest = word;
        while width(rest.trim_end()) > cells && out.len() < rows {
            let first = head(rest, cells);
            if first.is_empty() {
                return out;
            }
            out.push(first.to_owned());
            rest = &rest[first.len()..];
        }
        row.push_str(rest.trim_end_matches('\n'));
        if rest.ends_with('\n') {
            out.push(std::mem::take(&mut row).trim_end().to_owned());
        }
    }
    if !row.trim_end().is_empty() && out.len() < rows {
        out.push(row.trim_end().to_owned());
    }
    out
}
