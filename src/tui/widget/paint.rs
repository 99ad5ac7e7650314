//! Writes text into cells: clipped and escaped, so that hostile text is harmless. Used by everything that draws.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
    widgets::{Block, BorderType, Clear, Widget},
};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::{
    domain::text::{middle, visible},
    tui::theme::Theme,
};

/// A piece of text and its style.
pub type Piece<'a> = (&'a str, Style);

/// Writes a row from left to right, and pieces at its right end, never beyond the row.
pub struct Pen<'b> {
    buf: &'b mut Buffer,
    x: u16,
    end: u16,
    y: u16,
    drawable: bool,
}

impl<'b> Pen<'b> {
    /// Creates a pen at the start of row `row` of `area`. A pen outside the area writes nothing.
    pub fn new(buf: &'b mut Buffer, area: Rect, row: u16) -> Pen<'b> {
        let area = area.intersection(buf.area);
        let drawable = row < area.height && area.width > 0;
        Pen { buf, x: area.x, end: area.right(), y: area.y.saturating_add(row), drawable }
    }

    /// Returns how many cells are left.
    pub fn left(&self) -> u16 {
        if self.drawable { self.end.saturating_sub(self.x) } else { 0 }
    }

    /// Skips cells.
    pub fn skip(&mut self, cells: u16) -> &mut Self {
        self.x = self.x.saturating_add(cells).min(self.end);
        self
    }

    /// Moves forward to an absolute column of the buffer.
    pub fn to(&mut self, x: u16) -> &mut Self {
        self.x = x.clamp(self.x.min(self.end), self.end);
        self
    }

    /// Returns the pen's column.
    pub fn x(&self) -> u16 {
        self.x
    }

    /// Returns the area of the row from column `x` to the pen.
    pub fn since(&self, x: u16) -> Rect {
        let width = if self.drawable { self.x.saturating_sub(x) } else { 0 };
        Rect { x, y: self.y, width, height: 1 }
    }

    /// Writes text, cut at the end of the row.
    pub fn put(&mut self, text: &str, style: Style) -> &mut Self {
        if self.left() > 0 {
            let text = visible(text);
            self.x = self.buf.set_stringn(self.x, self.y, &text, usize::from(self.left()), style).0;
        }
        self
    }

    /// Writes text in at most `width` cells, cut in the middle.
    pub fn put_middle(&mut self, text: &str, width: u16, style: Style) -> &mut Self {
        let text = visible(text);
        let short = middle(&text, usize::from(width.min(self.left()))).into_owned();
        self.put(&short, style)
    }

    /// Writes text with the characters at these indexes in another style.
    pub fn put_marked(&mut self, text: &str, marked: &[u32], style: Style, mark: Style) -> &mut Self {
        for (place, c) in text.chars().enumerate() {
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            let mut bytes = [0; 4];
            self.put(c.encode_utf8(&mut bytes), if marked.contains(&place) { style.patch(mark) } else { style });
        }
        self
    }

    /// Writes pieces at the right end of the row and moves that end to their left. Writes nothing when they do not all fit.
    pub fn right(&mut self, pieces: &[Piece]) -> &mut Self {
        let width: usize = pieces.iter().map(|(text, _)| visible(text).width()).sum();
        let Ok(width) = u16::try_from(width) else { return self };
        if width > 0 && width <= self.left() {
            let mut at = self.end - width;
            self.end = at;
            for (text, style) in pieces {
                let text = visible(text);
                at = self.buf.set_stringn(at, self.y, &text, text.width(), *style).0;
            }
        }
        self
    }

    /// Returns how many cells are left, as `usize`.
    pub fn room(&self) -> usize {
        usize::from(self.left())
    }

    /// Returns the area of the cells that are left.
    pub fn rest(&self) -> Rect {
        Rect { x: self.x, y: self.y, width: self.left(), height: 1 }.intersection(self.buf.area)
    }

    /// Skips cells, as `usize`.
    pub fn pass(&mut self, cells: usize) -> &mut Self {
        self.skip(u16::try_from(cells).unwrap_or(u16::MAX))
    }

    /// Reserves cells at the end of the row.
    pub fn reserve(&mut self, cells: usize) {
        self.end = self.end.saturating_sub(u16::try_from(cells).unwrap_or(u16::MAX)).max(self.x);
    }

    /// Releases reserved cells.
    pub fn widen(&mut self, cells: usize) {
        self.end = self.end.saturating_add(u16::try_from(cells).unwrap_or(u16::MAX));
    }

    /// Writes text that starts `cells` before the right edge of `area`, unless the pen has passed that column.
    pub fn at_end(&mut self, area: Rect, cells: usize, text: &str, style: Style) {
        let x = area.right().saturating_sub(u16::try_from(cells).unwrap_or(u16::MAX)).max(area.x);
        if self.drawable && x > self.x && x < self.end {
            self.buf.set_stringn(x, self.y, visible(text), usize::from(self.end - x), style);
        }
    }

    /// Writes text. Text that does not fit is cut and marked with `…`.
    pub fn cut(&mut self, text: &str, style: Style) {
        let text = visible(text);
        if text.width() <= self.room() {
            self.put(&text, style);
        } else if let Some(room) = self.room().checked_sub(1) {
            self.put(head(&text, room), style).put("…", style);
        }
    }

    /// Sets the style of the rest of the row.
    pub fn fill(&mut self, style: Style) -> &mut Self {
        if self.drawable {
            self.buf.set_style(Rect::new(self.x, self.y, self.end.saturating_sub(self.x), 1), style);
        }
        self
    }
}

/// Returns the longest start of escaped text that fits into `cells`.
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

/// Returns the first `most` non-empty rows of [`wrap`], without trailing spaces.
pub fn wrap_some(text: &str, cells: usize, most: usize) -> Vec<String> {
    let rows = wrap(text, u16::try_from(cells).unwrap_or(u16::MAX));
    rows.into_iter().filter(|row| !row.trim().is_empty()).take(most).map(|row| row.trim_end().to_owned()).collect()
}

/// Returns the cells that text takes when escaped.
pub fn width(text: &str) -> u16 {
    u16::try_from(visible(text).width()).unwrap_or(u16::MAX)
}

/// Draws a pane's border with a title on the left and pieces on the right. Returns the area inside.
///
/// The focused pane has a heavier border and a bold title, so that monochrome shows it too.
pub fn pane(buf: &mut Buffer, area: Rect, title: &[Piece], right: &[Piece], focused: bool, theme: &Theme) -> Rect {
    let area = area.intersection(buf.area);
    if area.width < 2 || area.height < 2 {
        return Rect { width: 0, height: 0, ..area };
    }
    let (kind, style) = if focused { (BorderType::Thick, theme.focus) } else { (BorderType::Rounded, theme.border) };
    // Only the title is bold: text written into the border would inherit it.
    let style = Style { add_modifier: style.add_modifier.difference(Modifier::BOLD), ..style };
    let block = Block::bordered().border_type(kind).border_style(style);
    let inner = block.inner(area);
    block.render(area, buf);
    let mut pen = Pen::new(buf, Rect { x: area.x + 2, width: area.width.saturating_sub(4), height: 1, y: area.y }, 0);
    // The title takes precedence: the right side moves to the lower border, or is dropped, when both do not fit.
    let pieces = framed(right, style);
    let wide = |pieces: &[Piece]| pieces.iter().map(|(text, _)| width(text)).fold(0, u16::saturating_add);
    if wide(title).saturating_add(wide(&pieces)).saturating_add(6) <= area.width {
        pen.right(&pieces);
    } else {
        lower(buf, area, right, style);
        pen = Pen::new(buf, Rect { x: area.x + 2, width: area.width.saturating_sub(4), height: 1, y: area.y }, 0);
    }
    let Some(((first, first_style), rest)) = title.split_first() else { return inner };
    let room = pen.left().saturating_sub(2);
    pen.put(" ", style).put_middle(first, room, *first_style);
    for (text, style) in rest {
        // The pieces after the name are not cut: each is shown in full or dropped.
        if width(text) + 1 > pen.left() {
            break;
        }
        pen.put(text, *style);
    }
    pen.put(" ", style);
    inner
}

/// Draws a scroll bar in the border to the right of `rows_area`, if not all rows are visible. `position` is the first visible row,
/// the number of visible rows, and of all rows.
pub fn scroll_bar(buf: &mut Buffer, rows_area: Rect, position: (usize, usize, usize), style: Style) {
    let (first, shown, total) = position;
    let height = usize::from(rows_area.height);
    if total <= shown || height < 2 {
        return;
    }
    let thumb = (height * shown / total).clamp(1, height - 1);
    let start = (height - thumb) * first.min(total - shown) / (total - shown);
    // The thumb touches an end only if the first or the last row is visible.
    let start = match first {
        0 => 0,
        _ if first + shown >= total => height - thumb,
        _ if height - thumb >= 2 => start.clamp(1, height - thumb - 1),
        _ => start,
    };
    for y in start..start + thumb {
        if let Some(cell) = buf.cell_mut((rows_area.right(), rows_area.y + y as u16)) {
            cell.set_symbol("▐").set_style(style);
        }
    }
}

/// Writes pieces into the right end of a pane's lower border if they fit. Returns their area.
pub fn lower(buf: &mut Buffer, area: Rect, right: &[Piece], border: Style) -> Option<Rect> {
    if area.width <= 4 || area.height <= 1 {
        return None;
    }
    let row = Rect { x: area.x + 2, width: area.width - 4, height: 1, y: area.bottom() - 1 };
    let mut pen = Pen::new(buf, row, 0);
    let before = pen.left();
    pen.right(&framed(right, border));
    let used = before - pen.left();
    // Without the blanks around them.
    (used > 2).then(|| Rect { x: pen.x() + pen.left() + 1, width: used - 2, ..row })
}

fn framed<'a>(pieces: &[Piece<'a>], style: Style) -> Vec<Piece<'a>> {
    if pieces.is_empty() {
        return vec![];
    }
    let mut framed = vec![(" ", style)];
    framed.extend_from_slice(pieces);
    framed.push((" ", style));
    framed
}

/// Clears the area of a centred dialog and draws its border. Returns the area inside.
pub fn dialog(buf: &mut Buffer, area: Rect, wish: (u16, u16), title: &[Piece], right: &[Piece], theme: &Theme) -> Rect {
    let place = centred(area, wish);
    clear(buf, place);
    pane(buf, place, title, right, true, theme)
}

/// Clears an area for content that is drawn over other content.
pub fn clear(buf: &mut Buffer, place: Rect) {
    let place = place.intersection(buf.area);
    Clear.render(place, buf);
    // A wide character that reaches into the area would hide the first column on the terminal.
    for y in place.top()..place.bottom() {
        if let Some(x) = place.x.checked_sub(1).filter(|x| *x >= buf.area.x)
            && buf[(x, y)].symbol().width() > 1
        {
            buf[(x, y)].set_symbol(" ");
        }
    }
}

/// Returns the area inside the frame that [`dialog`] draws.
pub fn dialog_room(area: Rect, wish: (u16, u16)) -> Rect {
    let place = centred(area, wish);
    if place.width < 2 || place.height < 2 {
        return Rect { width: 0, height: 0, ..place };
    }
    Rect { x: place.x + 1, y: place.y + 1, width: place.width - 2, height: place.height - 2 }
}

/// Returns an area without its first and its last column, which stay blank in panes and dialogs.
pub fn padded(area: Rect) -> Rect {
    Rect { x: area.x.saturating_add(1), width: area.width.saturating_sub(2), ..area }
}

/// Returns a centred rectangle of at most this size.
pub fn centred(area: Rect, (width, height): (u16, u16)) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height }
}

/// Escapes text and breaks it into rows of at most `width` cells, at spaces where possible.
pub fn wrap(text: &str, width: u16) -> Vec<String> {
    let width = usize::from(width.max(1));
    let mut rows = Vec::new();
    for line in crate::domain::text::visible_lines(text).lines() {
        let mut row = String::new();
        let mut used = 0;
        for word in line.split_inclusive(' ') {
            let wide = word.trim_end().width();
            if used > 0 && used + wide > width {
                rows.push(std::mem::take(&mut row));
                used = 0;
            }
            if wide <= width {
                used += word.width();
                row.push_str(word);
                continue;
            }
            for c in word.chars() {
                let w = unicode_width::UnicodeWidthChar::width(c).unwrap_or(0);
                if used + w > width {
                    rows.push(std::mem::take(&mut row));
                    used = 0;
                }
                used += w;
                row.push(c);
            }
        }
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(buf: &Buffer) -> String {
        buf.content.iter().map(|c| c.symbol()).collect()
    }

    #[test]
    fn text_is_clipped_and_harmless() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 10, 1));
        let area = buf.area;
        Pen::new(&mut buf, area, 0).put("a\x1b[2Jb", Style::new()).put("too long for it", Style::new());
        assert_eq!(row(&buf), r"a\x1b[2Jbt");
        Pen::new(&mut buf, area, 7).put("outside", Style::new());
        Pen::new(&mut buf, Rect::new(40, 3, 9, 9), 0).put("outside", Style::new()).right(&[("x", Style::new())]).fill(Style::new());
        assert_eq!(row(&buf), r"a\x1b[2Jbt");
    }

    #[test]
    fn a_place_is_cleared_with_the_wide_character_that_reaches_into_it() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 8, 1));
        let area = buf.area;
        Pen::new(&mut buf, area, 0).put("日本日本", Style::new());
        clear(&mut buf, Rect::new(3, 0, 2, 9));
        assert_eq!(buf.content.iter().map(|c| c.symbol()).collect::<Vec<_>>(), ["日", " ", " ", " ", " ", " ", "本", " "]);
    }

    #[test]
    fn the_right_side_gives_way() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 10, 1));
        let area = buf.area;
        Pen::new(&mut buf, area, 0).right(&[("right", Style::new())]).put("left and more", Style::new());
        assert_eq!(row(&buf), "left right");
        let mut buf = Buffer::empty(area);
        Pen::new(&mut buf, area, 0).put("left and", Style::new()).right(&[("right", Style::new())]);
        assert_eq!(row(&buf), "left and  ");
    }

    #[test]
    fn a_scroll_bar_shows_what_is_visible() {
        let bar = |position| {
            let mut buf = Buffer::empty(Rect::new(0, 0, 3, 5));
            scroll_bar(&mut buf, Rect::new(0, 0, 2, 5), position, Style::new());
            buf.content.chunks(3).map(|row| if row[2].symbol() == "▐" { '#' } else { '.' }).collect::<String>()
        };
        assert_eq!(bar((0, 5, 5)), ".....");
        assert_eq!(bar((0, 5, 10)), "##...");
        assert_eq!(bar((1, 5, 10)), ".##..");
        assert_eq!(bar((5, 5, 10)), "...##");
        assert_eq!(bar((995, 5, 1000)), "....#");
        assert_eq!(bar((2, 5, 1000)), ".#...", "not at the start");
    }

    #[test]
    fn rows_break_at_spaces_and_long_words_anywhere() {
        assert_eq!(wrap("one two three", 8), ["one two ", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("a\n\nb", 4), ["a", "", "b"]);
        assert!(wrap("日本語", 1).iter().all(|r| r.chars().count() <= 1));
    }
}
