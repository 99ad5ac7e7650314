//! Rich text: lines of styled spans that wrap to any width, scroll and can be searched.
//!
//! Only visible lines are wrapped, so that the size of the text does not matter for a frame. Used for Markdown, descriptions
//! and the output of servers.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::{paint::Pen, window::Direction, window::Move};
use crate::{domain::text::visible, tui::theme::Theme};

/// What a span is, which decides its style.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Ordinary text.
    #[default]
    Text,
    /// Labels, rules, bullets.
    Muted,
    /// Names.
    Accent,
    /// A heading.
    Heading,
    /// Strong text.
    Strong,
    /// Emphasised text.
    Emphasis,
    /// Code.
    Code,
    /// The text of a link.
    Link,
    /// A good state.
    Ok,
    /// A warning.
    Warn,
    /// A failure.
    Fail,
}

impl Role {
    fn style(self, theme: &Theme) -> Style {
        match self {
            Role::Text => theme.text,
            Role::Muted => theme.muted,
            Role::Accent => theme.accent,
            Role::Heading => theme.accent.add_modifier(Modifier::BOLD),
            Role::Strong => theme.text.add_modifier(Modifier::BOLD),
            Role::Emphasis => theme.text.add_modifier(Modifier::ITALIC),
            Role::Code => theme.json_string,
            Role::Link => theme.accent.add_modifier(Modifier::UNDERLINED),
            Role::Ok => theme.ok,
            Role::Warn => theme.warn,
            Role::Fail => theme.fail,
        }
    }
}

/// A piece of a line.
type Span = (String, Role);

/// A line before it is wrapped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// The cells by which rows after the first are indented.
    hang: u16,
    spans: Vec<Span>,
}

impl Line {
    /// Creates a line of one span.
    pub fn new(text: impl Into<String>, role: Role) -> Line {
        Line::default().with(text, role)
    }

    /// Creates a line with a label in a column of `cells`, and text that wraps to the right of it.
    pub fn field(label: &str, cells: u16, text: impl Into<String>, role: Role) -> Line {
        let pad = usize::from(cells).saturating_sub(label.width()).max(1);
        Line::new(format!("{label}{}", " ".repeat(pad)), Role::Muted).with(text, role).hanging(cells)
    }

    /// Adds a span.
    #[must_use]
    pub fn with(mut self, text: impl Into<String>, role: Role) -> Line {
        let text = text.into();
        if !text.is_empty() {
            self.spans.push((if text.contains('\t') { text.replace('\t', "    ") } else { text }, role));
        }
        self
    }

    /// Adds spans.
    #[must_use]
    pub fn with_all(self, spans: impl IntoIterator<Item = Span>) -> Line {
        spans.into_iter().fold(self, |line, (text, role)| line.with(text, role))
    }

    /// Indents the rows after the first one.
    #[must_use]
    pub fn hanging(mut self, cells: u16) -> Line {
        self.hang = cells;
        self
    }

    /// Returns the text without styles.
    pub fn text(&self) -> String {
        self.spans.iter().map(|(text, _)| text.as_str()).collect()
    }

    /// Breaks the line into rows of at most `width` cells, at spaces where possible. Returns at least one row.
    fn wrap(&self, width: usize) -> Vec<Vec<Span>> {
        let width = width.max(1);
        // A wide character fits next to the indent.
        let hang = usize::from(self.hang).min(width / 2).min(width.saturating_sub(2));
        let mut rows: Vec<Vec<Span>> = vec![vec![]];
        let mut used = 0;
        let push = |rows: &mut Vec<Vec<Span>>, used: &mut usize, piece: &str, cells: usize, role: Role, start: bool| {
            if start {
                rows.push(if hang > 0 { vec![(" ".repeat(hang), Role::Text)] } else { vec![] });
                *used = hang;
            }
            let Some(row) = rows.last_mut() else { return };
            match row.last_mut() {
                Some((last, of)) if *of == role => last.push_str(piece),
                _ => row.push((piece.to_owned(), role)),
            }
            *used += cells;
        };
        for (text, role) in &self.spans {
            let shown = visible(text);
            for word in shown.split_inclusive(' ') {
                let (cells, bare) = (word.width(), word.trim_end_matches(' ').width());
                let fresh = if rows.len() > 1 { hang } else { 0 };
                let breaks = used > fresh && used + bare > width;
                let indent = if breaks { hang } else { fresh };
                if bare + indent <= width {
                    push(&mut rows, &mut used, word, cells, *role, breaks);
                    continue;
                }
                for grapheme in word.graphemes(true) {
                    let cells = grapheme.width();
                    let breaks = used > fresh && used + cells > width;
                    push(&mut rows, &mut used, grapheme, cells, *role, breaks);
                }
            }
        }
        rows
    }
}

/// The position of a row: its line, and its number among the rows of the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    line: usize,
    row: usize,
}

/// A text search in the lines. Case-insensitive unless the search text has a capital.
#[derive(Clone, Debug)]
struct Needle {
    text: String,
    any_case: bool,
    /// The lines with a match.
    lines: Vec<usize>,
    /// The index of the current match in `lines`.
    at: Option<usize>,
}

impl Needle {
    fn new(text: &str, lines: &[Line]) -> Needle {
        let any_case = !text.chars().any(char::is_uppercase);
        let mut needle = Needle { text: text.to_owned(), any_case, lines: vec![], at: None };
        needle.lines = (0..lines.len()).filter(|at| !needle.ranges(&lines[*at].text()).is_empty()).collect();
        needle
    }

    /// Returns the byte ranges of the matches in a text.
    fn ranges(&self, text: &str) -> Vec<std::ops::Range<usize>> {
        let (needle, hay) = (self.text.as_bytes(), text.as_bytes());
        let (mut found, mut at) = (vec![], 0);
        while !needle.is_empty() && at + needle.len() <= hay.len() {
            let part = &hay[at..at + needle.len()];
            let hit = if self.any_case { part.eq_ignore_ascii_case(needle) } else { part == needle };
            if hit && text.is_char_boundary(at) && text.is_char_boundary(at + needle.len()) {
                found.push(at..at + needle.len());
                at += needle.len();
            } else {
                at += 1;
            }
        }
        found
    }
}

/// A scrollable text.
#[derive(Clone, Debug, Default)]
pub struct RichText {
    lines: Vec<Line>,
    top: Place,
    /// The size of the area as drawn last.
    size: (usize, usize),
    needle: Option<Needle>,
}

impl RichText {
    /// Creates a text that is scrolled to its start.
    pub fn new(lines: Vec<Line>) -> RichText {
        RichText { lines, size: (80, 20), ..RichText::default() }
    }

    /// Replaces the lines. Scroll and search stay.
    pub fn set(&mut self, lines: Vec<Line>) {
        if self.lines != lines {
            self.lines = lines;
            if let Some(needle) = &self.needle {
                self.needle = Some(Needle { at: None, ..Needle::new(&needle.text, &self.lines) });
            }
        }
    }

    /// Returns the number of lines before they are wrapped.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Returns whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Returns the line at the top of the area.
    pub fn line(&self) -> usize {
        self.top.line
    }

    /// Returns the text without styles.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| line.text().trim_end().to_owned() + "\n").collect()
    }

    fn rows(&self, line: usize) -> usize {
        self.lines.get(line).map_or(1, |line| line.wrap(self.size.0).len())
    }

    /// Moves down by rows; returns whether the end was reached before.
    fn down(&mut self, rows: usize) {
        let last = self.last_top();
        for _ in 0..rows {
            if self.top >= last {
                break;
            }
            self.top = match self.top.row + 1 < self.rows(self.top.line) {
                true => Place { row: self.top.row + 1, ..self.top },
                false => Place { line: self.top.line + 1, row: 0 },
            };
        }
    }

    fn up(&mut self, rows: usize) {
        self.top = self.above(self.top, rows);
    }

    fn above(&self, mut at: Place, rows: usize) -> Place {
        for _ in 0..rows {
            at = match (at.row, at.line) {
                (0, 0) => break,
                (0, line) => Place { line: line - 1, row: self.rows(line - 1) - 1 },
                (row, _) => Place { row: row - 1, ..at },
            };
        }
        at
    }

    /// Returns the top with which the last row is at the bottom.
    fn last_top(&self) -> Place {
        let Some(line) = self.lines.len().checked_sub(1) else { return Place::default() };
        self.above(Place { line, row: self.rows(line) - 1 }, self.size.1.saturating_sub(1))
    }

    /// Scrolls.
    pub fn go(&mut self, to: Move) {
        match to {
            Move::Back(rows) => self.up(rows),
            Move::On(rows) => self.down(rows),
            Move::First => self.top = Place::default(),
            Move::Last => self.top = self.last_top(),
        }
    }

    /// Returns whether the last row is visible.
    pub fn at_end(&self) -> bool {
        self.top >= self.last_top()
    }

    /// Returns the rows of a page.
    pub fn page(&self) -> usize {
        self.size.1.saturating_sub(1).max(1)
    }

    /// Searches; an empty text ends the search. Scrolls to the first match at or after the top.
    pub fn search(&mut self, text: &str) {
        if text.is_empty() {
            self.needle = None;
            return;
        }
        let mut needle = Needle::new(text, &self.lines);
        let next = needle.lines.partition_point(|line| *line < self.top.line);
        needle.at = if needle.lines.is_empty() { None } else { Some(next % needle.lines.len()) };
        self.needle = Some(needle);
        self.show_match();
    }

    /// Goes to the next or the previous match, around the ends.
    pub fn step(&mut self, direction: Direction) {
        let Some(needle) = &mut self.needle else { return };
        if !needle.lines.is_empty() {
            let at = needle.at.unwrap_or(if direction == Direction::Forward { needle.lines.len() - 1 } else { 0 });
            needle.at = Some(direction.cycle(at, needle.lines.len()));
            self.show_match();
        }
    }

    fn show_match(&mut self) {
        let Some(line) = self.needle.as_ref().and_then(|needle| needle.lines.get(needle.at?).copied()) else { return };
        // A match that is visible already does not move the text.
        let bottom = Place { line, row: 0 };
        let (first, last) = (self.top.line, self.above(bottom, self.size.1.saturating_sub(1)));
        if line < first || last > self.top {
            self.top = self.above(bottom, self.size.1 / 3).min(self.last_top());
        }
    }

    /// Returns the search text.
    pub fn needle(&self) -> Option<&str> {
        self.needle.as_ref().map(|needle| needle.text.as_str())
    }

    /// Returns the number (from 1) of the current match and the number of lines that match.
    pub fn match_position(&self) -> Option<(Option<usize>, usize)> {
        self.needle.as_ref().map(|needle| (needle.at.map(|at| at + 1), needle.lines.len()))
    }

    /// Returns the position for a scroll bar: the first visible line, the number of visible lines, and of all lines.
    pub fn position(&self) -> (usize, usize, usize) {
        let mut rows = 0;
        let shown = self.lines.iter().skip(self.top.line).take_while(|line| {
            rows += line.wrap(self.size.0).len();
            rows <= self.size.1 + self.top.row
        });
        let shown = shown.count();
        (self.top.line, shown.max(1), self.lines.len())
    }

    /// Sets the area in which the text is drawn next.
    pub fn resize(&mut self, area: Rect) {
        self.size = (usize::from(area.width), usize::from(area.height));
    }

    /// Draws the text, scrolled so that no rows stay empty where there is more text.
    pub fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme) {
        let area = area.intersection(buf.area);
        self.resize(area);
        if area.is_empty() {
            return;
        }
        self.top.line = self.top.line.min(self.lines.len().saturating_sub(1));
        self.top.row = self.top.row.min(self.rows(self.top.line) - 1);
        self.top = self.top.min(self.last_top());
        let (mut y, mut skip) = (0, self.top.row);
        for (at, line) in self.lines.iter().enumerate().skip(self.top.line) {
            let current = self.needle.as_ref().is_some_and(|needle| needle.at.and_then(|at| needle.lines.get(at)) == Some(&at));
            for row in line.wrap(self.size.0).into_iter().skip(std::mem::take(&mut skip)) {
                if y >= area.height {
                    return;
                }
                self.draw_row(&row, &mut Pen::new(buf, area, y), theme);
                if current {
                    buf.set_style(Rect { y: area.y + y, height: 1, ..area }, Style::new().add_modifier(Modifier::UNDERLINED));
                }
                y += 1;
            }
        }
    }

    /// Draws a row with the matches of the search highlighted.
    fn draw_row(&self, row: &[Span], pen: &mut Pen, theme: &Theme) {
        let Some(needle) = &self.needle else {
            for (text, role) in row {
                pen.put(text, role.style(theme));
            }
            return;
        };
        let whole: String = row.iter().map(|(text, _)| text.as_str()).collect();
        let found = needle.ranges(&whole);
        let mut start = 0;
        for (text, role) in row {
            let (style, end) = (role.style(theme), start + text.len());
            let mut at = start;
            for hit in found.iter().filter(|hit| hit.start < end && hit.end > start) {
                let (from, to) = (hit.start.max(start), hit.end.min(end));
                pen.put(&whole[at..from], style).put(&whole[from..to], style.patch(theme.found));
                at = to;
            }
            pen.put(&whole[at..end], style);
            start = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(line: &Line, width: usize) -> Vec<String> {
        line.wrap(width).iter().map(|row| row.iter().map(|(text, _)| text.as_str()).collect::<String>()).collect()
    }

    fn shown(text: &mut RichText, width: u16, height: u16) -> Vec<String> {
        let mut buf = Buffer::empty(Rect::new(0, 0, width, height));
        text.draw(buf.area, &mut buf, &Theme::mono());
        buf.content.chunks(usize::from(width)).map(|row| row.iter().map(|c| c.symbol()).collect::<String>().trim_end().to_owned()).collect()
    }

    #[test]
    fn rows_break_at_spaces_and_hang() {
        let line = Line::field("name", 6, "one two three", Role::Text);
        assert_eq!(rows(&line, 14), ["name  one two ", "      three"]);
        assert_eq!(rows(&Line::new("abcdefgh", Role::Code), 3), ["abc", "def", "gh"]);
        assert_eq!(rows(&Line::default(), 3), [""]);
        assert_eq!(rows(&Line::new("a\u{1b}b", Role::Text), 9), ["a\\x1bb"]);
    }

    #[test]
    fn scrolling_stops_at_both_ends_and_leaves_no_row_empty() {
        let mut text = RichText::new((0..10).map(|n| Line::new(format!("line {n}"), Role::Text)).collect());
        assert_eq!(shown(&mut text, 10, 3), ["line 0", "line 1", "line 2"]);
        text.go(Move::On(99));
        assert_eq!(shown(&mut text, 10, 3), ["line 7", "line 8", "line 9"]);
        assert!(text.at_end());
        text.go(Move::Back(1));
        assert_eq!(shown(&mut text, 10, 3)[0], "line 6");
        assert_eq!(shown(&mut text, 10, 6)[0], "line 4", "a higher area shows more");
        assert_eq!(text.position(), (4, 6, 10));
        text.go(Move::First);
        assert_eq!(shown(&mut text, 3, 3), ["lin", "e 0", "lin"], "long words are broken");
        text.go(Move::Last);
        assert_eq!(shown(&mut text, 3, 3), ["e 8", "lin", "e 9"]);
    }

    #[test]
    fn a_search_scrolls_to_its_matches_and_marks_them() {
        let mut text = RichText::new((0..40).map(|n| Line::new(format!("row {n}"), Role::Text)).collect());
        shown(&mut text, 10, 5);
        text.search("ROW 3");
        assert_eq!(text.match_position(), Some((None, 0)), "a capital makes it case-sensitive");
        text.search("row 3");
        assert_eq!(text.match_position(), Some((Some(1), 11)));
        assert_eq!(shown(&mut text, 10, 5)[0], "row 0", "the match was visible");
        text.step(Direction::Forward);
        assert!(shown(&mut text, 10, 5).contains(&"row 30".to_owned()));
        text.step(Direction::Backward);
        text.step(Direction::Backward);
        assert_eq!(text.match_position(), Some((Some(11), 11)), "around the start");
        let mut buf = Buffer::empty(Rect::new(0, 0, 10, 5));
        text.draw(buf.area, &mut buf, &Theme::ansi());
        let marked = buf.content.iter().filter(|cell| cell.fg == Theme::ansi().found.fg.unwrap()).count();
        assert!(marked >= 5, "{marked}");
        text.search("");
        assert_eq!(text.needle(), None);
    }

    proptest! {
        #[test]
        fn wrapping_loses_nothing_and_fits(words in prop::collection::vec("[a日é ]{0,12}", 0..20), width in 2usize..30, hang in 0u16..9) {
            let line = words.iter().fold(Line::default().hanging(hang), |line, word| line.with(word.as_str(), Role::Text));
            let rows = rows(&line, width);
            prop_assert!(rows.iter().all(|row| row.trim_end().width() <= width));
            let bare = |text: &str| text.replace(' ', "");
            prop_assert_eq!(bare(&rows.concat()), bare(&words.concat()));
        }
    }
}
