//! A line of status dots, one per server, for screens without room for the tree.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::paint::{Pen, width};

/// A status dot: glyph, style, the server's name, calls in flight.
pub type StatusDot<'a> = (&'a str, Style, &'a str, u32);

/// Draws the dots in the first row of `area`. Servers that do not fit are counted at the end.
pub fn draw(buf: &mut Buffer, area: Rect, dots: &[StatusDot], name: Style, muted: Style) {
    let mut pen = Pen::new(buf, area, 0);
    pen.skip(1);
    for (done, (glyph, style, server, running)) in dots.iter().enumerate() {
        let busy = if *running > 0 { format!(" {running}▸") } else { String::new() };
        let need = 2 + width(server) + width(&busy) + 2;
        let more = format!("+{}", dots.len() - done);
        let last = done + 1 == dots.len();
        if need + if last { 0 } else { width(&more) } > pen.left() {
            pen.put(&more, muted);
            return;
        }
        pen.put(glyph, *style).skip(1).put(server, name).put(&busy, *style).skip(2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 24, 1));
        let area = buf.area;
        let plain = Style::new();
        draw(&mut buf, area, &[("●", plain, "one", 2), ("✕", plain, "two", 0), ("●", plain, "three", 0)], plain, plain);
        let row: String = buf.content.iter().map(|c| c.symbol()).collect();
        assert_eq!(row.trim_end(), " ● one 2▸  ✕ two  +1");
    }
}
