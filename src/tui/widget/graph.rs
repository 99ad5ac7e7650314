//! The graph widget: draws the boxes and edges of a domain layout in a window, and moves the selection by keys.
//!
//! Only the visible part is drawn. The caller provides the style and the labels of the boxes.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Modifier, Style},
};
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::{
    domain::{
        text::visible,
        workflow::graph::{Layout, Node},
    },
    tui::{action::Action, theme::Theme},
};

/// The style and the labels of a box.
pub struct BoxDecoration {
    /// The style of the frame and its labels.
    pub style: Style,
    /// The label in the upper border: the state.
    pub above: String,
    /// The label in the lower border: items, attempts.
    pub below: String,
}

/// The directions in which lines leave a cell, as bits.
const UP: u8 = 1;
const DOWN: u8 = 2;
const LEFT: u8 = 4;
const RIGHT: u8 = 8;

/// The upper left corner of the window in the layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scroll {
    /// The first column.
    pub x: usize,
    /// The first row.
    pub y: usize,
}

impl Scroll {
    /// Moves the window into the graph, and over the whole box `target`.
    pub fn fit(&mut self, layout: &Layout, target: Option<&Node>, area: Rect) {
        let (width, height) = (usize::from(area.width), usize::from(area.height));
        if let Some(node) = target {
            self.x = into(self.x, node.x, node.width, width);
            self.y = into(self.y, node.y, node.height, height);
        }
        self.x = self.x.min(layout.width.saturating_sub(width));
        self.y = self.y.min(layout.height.saturating_sub(height));
    }

    /// Returns the position of the layout's corner on the screen. A graph narrower than the window is centred.
    fn origin(self, layout: &Layout, area: Rect) -> (i64, i64) {
        let spare = usize::from(area.width).saturating_sub(layout.width) / 2;
        (i64::from(area.x) + spare as i64 - self.x as i64, i64::from(area.y) - self.y as i64)
    }

    /// Returns the steps whose boxes are visible, with the visible areas of the boxes.
    pub fn boxes(self, layout: &Layout, area: Rect) -> impl Iterator<Item = (usize, Rect)> {
        let (left, top) = self.origin(layout, area);
        let clip = |origin: i64, at: usize, len: usize, from: u16, to: u16| {
            let start = (origin + at as i64).clamp(i64::from(from), i64::from(to));
            let end = (origin + (at + len) as i64).clamp(i64::from(from), i64::from(to));
            (start as u16, (end - start) as u16)
        };
        layout.boxes.iter().map(move |node| {
            let (x, width) = clip(left, node.x, node.width, area.left(), area.right());
            let (y, height) = clip(top, node.y, node.height, area.top(), area.bottom());
            (node.step, Rect { x, y, width, height })
        })
    }
}

/// Returns the start of a window of `room` cells that shows `len` cells from `at`.
fn into(start: usize, at: usize, len: usize, room: usize) -> usize {
    let least = (at + len + 1).saturating_sub(room);
    start.max(least).min(at.saturating_sub(usize::from(room > len)))
}

/// Returns the step that a move from `from` leads to: up and down along an edge, left and right within the layer.
pub fn step(layout: &Layout, from: Option<usize>, action: Action) -> Option<usize> {
    let Some(from) = from else { return layout.layers.first()?.first().copied() };
    let centre = |step: usize| layout.boxes.get(step).map_or(0, |node| node.x + node.width / 2);
    let nearest = |steps: &mut dyn Iterator<Item = usize>| steps.min_by_key(|step| (centre(*step).abs_diff(centre(from)), *step));
    let rank = layout.layers.iter().position(|layer| layer.contains(&from))?;
    let neighbour = |by: isize| {
        let layer = &layout.layers[rank];
        let at = layer.iter().position(|step| *step == from)?;
        layer.get(at.checked_add_signed(by)?).copied()
    };
    let layer = |by: isize| nearest(&mut layout.layers.get(rank.checked_add_signed(by)?)?.iter().copied());
    match action {
        Action::Up => nearest(&mut layout.edges.iter().filter(|edge| edge.to == from).map(|edge| edge.from)).or_else(|| layer(-1)),
        Action::Down => nearest(&mut layout.edges.iter().filter(|edge| edge.from == from).map(|edge| edge.to)).or_else(|| layer(1)),
        Action::Left => neighbour(-1),
        Action::Right => neighbour(1),
        Action::Top => layout.layers.first()?.first().copied(),
        Action::Bottom => layout.layers.last()?.last().copied(),
        _ => None,
    }
}

/// Draws the visible part of the graph and the selection. `decorate` returns the decoration of a step's box, `edge` the style
/// of the edges that leave a step.
pub fn draw(
    layout: &Layout,
    (scroll, selected): (Scroll, Option<usize>),
    decorate: &mut dyn FnMut(usize) -> BoxDecoration,
    edge: &dyn Fn(usize) -> Style,
    theme: &Theme,
    area: Rect,
    buf: &mut Buffer,
) {
    let mut canvas = Canvas { buf, area, origin: scroll.origin(layout, area) };
    edges(layout, edge, theme, &mut canvas);
    for node in &layout.boxes {
        if canvas.shows(node) {
            let decoration = decorate(node.step);
            draw_box(node, &decoration, selected == Some(node.step), theme, &mut canvas);
        }
    }
}

/// The cells of the window, addressed by the layout's columns and rows.
struct Canvas<'b> {
    buf: &'b mut Buffer,
    area: Rect,
    origin: (i64, i64),
}

impl Canvas<'_> {
    /// Returns the cell of the screen for a position of the layout, if it is visible.
    fn cell(&self, x: i64, y: i64) -> Option<(u16, u16)> {
        let x = u16::try_from(x + self.origin.0).ok()?;
        let y = u16::try_from(y + self.origin.1).ok()?;
        let area = self.area.intersection(self.buf.area);
        area.contains((x, y).into()).then_some((x, y))
    }

    /// Returns the visible columns and rows of the layout.
    fn range(&self) -> (std::ops::Range<i64>, std::ops::Range<i64>) {
        let (left, top) = (i64::from(self.area.x) - self.origin.0, i64::from(self.area.y) - self.origin.1);
        (left..left + i64::from(self.area.width), top..top + i64::from(self.area.height))
    }

    fn shows(&self, node: &Node) -> bool {
        let (columns, rows) = self.range();
        let meets = |range: &std::ops::Range<i64>, at: usize, len: usize| (at as i64) < range.end && (at + len) as i64 > range.start;
        meets(&columns, node.x, node.width) && meets(&rows, node.y, node.height)
    }

    /// Writes text in at most `room` cells. Returns the cells that it took.
    fn text(&mut self, x: i64, y: i64, text: &str, room: usize, style: Style) -> usize {
        let mut used = 0;
        for grapheme in visible(text).graphemes(true) {
            let wide = grapheme.width();
            if used + wide > room {
                break;
            }
            let ends = self.cell(x + used as i64, y).zip(self.cell(x + (used + wide).max(1) as i64 - 1, y));
            if let Some((place, _)) = ends.filter(|_| wide > 0) {
                self.buf.set_string(place.0, place.1, grapheme, style);
            }
            used += wide;
        }
        used
    }
}

fn draw_box(node: &Node, decoration: &BoxDecoration, selected: bool, theme: &Theme, canvas: &mut Canvas) {
    // A heavier frame shows the selection in monochrome too.
    let signs = if selected { ["┏", "┓", "┗", "┛", "━", "┃"] } else { ["╭", "╮", "╰", "╯", "─", "│"] };
    let frame = if selected { theme.focus } else { decoration.style };
    let (x, y, inside) = (node.x as i64, node.y as i64, node.width.saturating_sub(2));
    let border = |y: i64, left: &str, right: &str, label: &str, canvas: &mut Canvas| {
        canvas.text(x, y, left, 1, frame);
        canvas.text(x + 1, y, &signs[4].repeat(inside), inside, frame);
        canvas.text(x + 1 + inside as i64, y, right, 1, frame);
        let label = format!(" {label} ");
        // The full label, or its first word, or nothing.
        let short = label.split_whitespace().next().map(|word| format!(" {word} ")).unwrap_or_default();
        let fits = [label, short].into_iter().find(|label| label.width() + 2 <= inside && !label.trim().is_empty());
        if let Some(label) = fits {
            canvas.text(x + 2, y, &label, inside.saturating_sub(1), decoration.style.add_modifier(Modifier::BOLD));
        }
    };
    border(y, signs[0], signs[1], &decoration.above, canvas);
    border(y + node.height as i64 - 1, signs[2], signs[3], &decoration.below, canvas);
    for (row, text, style) in [(1, &node.name, theme.text.add_modifier(Modifier::BOLD)), (2, &node.subject, theme.muted)] {
        canvas.text(x, y + row, signs[5], 1, frame);
        canvas.text(x + 1, y + row, &" ".repeat(inside), inside, theme.text);
        canvas.text(x + 2, y + row, text, inside.saturating_sub(1), if selected && row == 1 { theme.focus } else { style });
        canvas.text(x + 1 + inside as i64, y + row, signs[5], 1, frame);
    }
}

fn edges(layout: &Layout, edge: &dyn Fn(usize) -> Style, theme: &Theme, canvas: &mut Canvas) {
    let (columns, rows) = canvas.range();
    let wide = usize::from(canvas.area.width);
    let mut directions = vec![(0u8, theme.border); wide * usize::from(canvas.area.height)];
    let mut mark = |x: i64, y: i64, direction: u8, style: Style| {
        if columns.contains(&x)
            && rows.contains(&y)
            && let Some(cell) = directions.get_mut((y - rows.start) as usize * wide + (x - columns.start) as usize)
        {
            *cell = (cell.0 | direction, style);
        }
    };
    for line in &layout.edges {
        let style = edge(line.from);
        for pair in line.points.windows(2) {
            let ((x, y), (u, v)) = ((pair[0].0 as i64, pair[0].1 as i64), (pair[1].0 as i64, pair[1].1 as i64));
            if y == v {
                let (low, high) = (x.min(u), x.max(u));
                for at in low.max(columns.start)..=high.min(columns.end) {
                    mark(at, y, if at > low { LEFT } else { 0 } | if at < high { RIGHT } else { 0 }, style);
                }
            } else {
                let (low, high) = (y.min(v), y.max(v));
                for at in low.max(rows.start)..=high.min(rows.end) {
                    mark(x, at, if at > low { UP } else { 0 } | if at < high { DOWN } else { 0 }, style);
                }
            }
        }
        if let (Some(first), Some(last)) = (line.points.first(), line.points.last()) {
            mark(first.0 as i64, first.1 as i64, UP, style);
            mark(last.0 as i64, last.1 as i64, DOWN, style);
        }
    }
    for (index, (bits, style)) in directions.iter().enumerate().filter(|(_, (bits, _))| *bits != 0) {
        let (x, y) = (columns.start + (index % wide) as i64, rows.start + (index / wide) as i64);
        canvas.text(x, y, line_sign(*bits), 1, *style);
    }
    for line in &layout.edges {
        if let Some(last) = line.points.last() {
            canvas.text(last.0 as i64, last.1 as i64, "▼", 1, edge(line.from));
        }
    }
}

/// Returns the box-drawing character that leaves a cell in these directions.
fn line_sign(directions: u8) -> &'static str {
    const SIGNS: [&str; 16] = [" ", "│", "│", "│", "─", "╯", "╮", "┤", "─", "╰", "╭", "├", "─", "┴", "┬", "┼"];
    SIGNS[usize::from(directions & 15)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::workflow::graph::{Graph, layout};

    fn diamond() -> Layout {
        let steps = ["first", "left", "right", "last"].map(|id| (id.to_owned(), "tool".to_owned())).to_vec();
        layout(&Graph::new(steps, [(0, 1), (0, 2), (1, 3), (2, 3)]))
    }

    fn decoration(_: usize) -> BoxDecoration {
        BoxDecoration { style: Style::new(), above: "✓ 3.1 ms".into(), below: String::new() }
    }

    fn screen(layout: &Layout, scroll: Scroll, width: u16, height: u16) -> String {
        let mut buf = Buffer::empty(Rect::new(0, 0, width, height));
        let area = buf.area;
        draw(layout, (scroll, Some(0)), &mut decoration, &|_| Style::new(), &Theme::ansi(), area, &mut buf);
        let row = |y| (0..width).map(|x| buf[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(row).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_diamond_is_drawn_with_its_edges() {
        insta::assert_snapshot!(screen(&diamond(), Scroll::default(), 40, 17));
    }

    #[test]
    fn keys_follow_the_edges() {
        let layout = diamond();
        let go = |from, action| step(&layout, from, action);
        assert_eq!(go(None, Action::Down), Some(0));
        let left = go(Some(0), Action::Down).unwrap();
        assert!(matches!(left, 1 | 2));
        assert_eq!(go(Some(1), Action::Right), Some(2));
        assert_eq!(go(Some(2), Action::Left), Some(1));
        assert_eq!(go(Some(2), Action::Right), None);
        assert_eq!(go(Some(2), Action::Down), Some(3));
        assert_eq!(go(Some(3), Action::Down), None);
        assert_eq!(go(Some(3), Action::Top), Some(0));
    }

    proptest! {
        #[test]
        fn any_window_shows_the_selected_box_and_nothing_breaks(width in 0u16..60, height in 0u16..30, x in 0usize..200, y in 0usize..200, selected in 0usize..4) {
            let layout = diamond();
            let mut scroll = Scroll { x, y };
            let area = Rect::new(0, 0, width, height);
            scroll.fit(&layout, layout.boxes.get(selected), area);
            let drawn = screen(&layout, scroll, width, height);
            let node = &layout.boxes[selected];
            if usize::from(width) >= node.width && usize::from(height) >= node.height {
                prop_assert!(drawn.contains(&node.name), "{drawn}");
            }
        }
    }
}
