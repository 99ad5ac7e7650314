//! Draws the visible rows of a [`JsonView`].

use std::collections::HashMap;

use ratatui::{buffer::Buffer, layout::Rect, style::Style};

use super::{JsonView, Position, text::decode};
use crate::{
    domain::text::{middle, visible},
    tui::{
        hits::{Hit, HitMap},
        theme::Theme,
        widget::paint::{Pen, head, width},
    },
};

/// The maximum width of the key column. Longer keys shift their value to the right.
const KEYS: usize = 24;
/// How many values of a container determine its key column.
const SAMPLE: usize = 64;

impl JsonView {
    /// Draws the view, scrolled so that the cursor is visible.
    pub fn draw(&mut self, area: Rect, buf: &mut Buffer, theme: &Theme, focused: bool, hits: &HitMap) {
        let mut area = area.intersection(buf.area);
        if area.is_empty() {
            return;
        }
        if let Some(problem) = &self.problem {
            let mut pen = Pen::new(buf, area, 0);
            pen.put("✕ ", theme.fail);
            pen.cut(&format!("invalid JSON at byte {}: {}", problem.at, problem.why), theme.fail);
            area = Rect { y: area.y + 1, height: area.height - 1, ..area };
        }
        (self.width, self.height) = (usize::from(area.width), usize::from(area.height));
        let rows = self.scroll();
        let mut keys = HashMap::new();
        for (row, at) in rows.into_iter().enumerate() {
            let line = Rect { y: area.y + row as u16, height: 1, ..area };
            let mut pen = Pen::new(buf, line, 0);
            hits.add(line, Hit::Row(row));
            match at.line {
                0 => {
                    if let Some(sign) = self.draw_node(at.node, &mut pen, theme, &mut keys) {
                        hits.add(sign, Hit::FoldSign(row));
                    }
                }
                _ => self.draw_text(at, &mut pen, theme),
            }
            if at == self.cursor {
                select(line, buf, theme, focused);
            }
        }
    }

    /// Puts the cursor on a visible row, counted from the first one. Returns whether it was there already.
    pub fn click(&mut self, row: usize) -> bool {
        let Some(at) = self.rows_from(self.top).get(row).copied() else { return false };
        std::mem::replace(&mut self.cursor, at) == at
    }

    /// Returns the visible positions. Keeps the cursor visible and fills the screen where possible.
    fn scroll(&mut self) -> Vec<Position> {
        self.cursor = self.valid(self.cursor);
        self.top = self.valid(self.top).min(self.cursor);
        let mut rows = self.rows_from(self.top);
        if self.height > 0 && !rows.contains(&self.cursor) {
            self.top = self.back(self.cursor, self.height - 1);
            rows = self.rows_from(self.top);
        }
        if rows.len() < self.height {
            self.top = self.back(self.top, self.height - rows.len());
            rows = self.rows_from(self.top);
        }
        rows
    }

    /// Returns the position if it is valid and visible, else one near it.
    fn valid(&self, at: Position) -> Position {
        let Some(tree) = &self.tree else { return self.valid_text(at) };
        let node = tree.visible(at.node.max(self.first().node));
        if node != at.node { Position { node, ..Position::default() } } else { self.valid_text(at) }
    }

    fn valid_text(&self, at: Position) -> Position {
        match self.texts.get(&at.node) {
            Some(text) if at.line > 0 => {
                let line = at.line.min(text.lines());
                let last = text.rows(line - 1, self.text_width(at.node)) - 1;
                Position { line, sub: at.sub.min(last), ..at }
            }
            _ => Position { node: at.node, ..Position::default() },
        }
    }

    fn rows_from(&self, top: Position) -> Vec<Position> {
        std::iter::successors(Some(top), |at| self.after(*at)).take(self.height).collect()
    }

    fn back(&self, mut at: Position, rows: usize) -> Position {
        for _ in 0..rows {
            let Some(before) = self.before(at) else { break };
            at = before;
        }
        at
    }

    fn draw_text(&self, at: Position, pen: &mut Pen, theme: &Theme) {
        let Some(text) = self.texts.get(&at.node) else { return };
        if let Some(tree) = &self.tree {
            pen.pass(self.indent(tree.depth(at.node)) + 2);
            pen.put("│ ", theme.muted);
        }
        if let Some(row) = text.wrap(at.line - 1, self.text_width(at.node)).get(usize::from(at.sub)) {
            self.put(pen, &row.text, if self.tree.is_some() { theme.json_string } else { theme.text }, theme);
        }
    }

    /// Draws a value. Returns the area of its fold sign, if it has one.
    fn draw_node(&self, node: u32, pen: &mut Pen, theme: &Theme, keys: &mut HashMap<usize, usize>) -> Option<Rect> {
        let tree = self.tree.as_ref()?;
        let parent = tree.parent(node);
        pen.pass(self.indent(tree.depth(node)));
        let container = tree.container(node);
        let folded = container.is_some_and(|c| tree.is_folded(c));
        let value = self.peek(node, pen.room());
        let opened = self.texts.contains_key(&node);
        let (mark, folds) = match container {
            Some(_) if folded => ("▸ ", true),
            Some(_) => ("▾ ", true),
            None if opened => ("▾ ", true),
            None if value.long => ("▸ ", true),
            None => ("  ", false),
        };
        let sign = folds.then_some(Rect { width: pen.left().min(1), ..pen.rest() });
        pen.put(mark, theme.muted);
        if let Some(parent) = parent {
            let column = *keys.entry(parent).or_insert_with(|| self.column(parent));
            let label = self.label(node, parent);
            let style = if self.is_object(parent) { theme.json_key } else { theme.muted };
            let label = middle(&label, pen.room().saturating_sub(4).clamp(1, 60)).into_owned();
            self.put(pen, &label, style, theme);
            let pad = if container.is_some() && !folded { 0 } else { column.saturating_sub(usize::from(width(&label))) };
            pen.pass(pad + 2);
        }
        match container {
            Some(_) if folded => self.draw_folded(node, pen, theme),
            Some(_) => {}
            None => self.draw_value(&value, opened, pen, theme),
        }
        sign
    }

    fn draw_value(&self, value: &ValuePreview, opened: bool, pen: &mut Pen, theme: &Theme) {
        let style = match value.first {
            b'"' => theme.json_string,
            b'-' | b'0'..=b'9' => theme.json_number,
            b't' | b'f' | b'n' => theme.json_word,
            _ => theme.muted,
        };
        if opened {
            return pen.cut(&size(value.size), theme.muted);
        }
        if usize::from(width(&value.shown)) <= pen.room() && !value.cut {
            return self.put(pen, &value.shown, style, theme);
        }
        let size = size(value.size);
        let with_size = pen.room() > size.len() + 12;
        if with_size {
            pen.reserve(size.len() + 2);
        }
        let room = pen.room().saturating_sub(1);
        self.put(pen, head(&value.shown, room), style, theme);
        pen.put("…", theme.muted);
        if with_size {
            pen.pass(pen.room());
            pen.widen(size.len() + 2);
            pen.pass(2);
            pen.put(&size, theme.muted);
        }
    }

    /// Draws a folded container: its size and a preview.
    fn draw_folded(&self, node: u32, pen: &mut Pen, theme: &Theme) {
        let Some(tree) = &self.tree else { return };
        let Some(at) = tree.container(node) else { return };
        let (container, object) = (tree.at(at), self.is_object(at));
        let noun = match (object, container.count) {
            (true, 1) => "key",
            (true, _) => "keys",
            (false, 1) => "item",
            (false, _) => "items",
        };
        let count = format!("{} {noun}", container.count);
        let wide = pen.room() > count.len() + 14;
        if !wide {
            return pen.cut(&count, theme.muted);
        }
        pen.reserve(count.len() + 2);
        let (open, close) = if object { ("{ ", " }") } else { ("[ ", " ]") };
        let mut preview = open.to_owned();
        let mut child = container.node + 1;
        while child < container.end {
            if child > container.node + 1 {
                preview.push_str(", ");
            }
            if usize::from(width(&preview)) > pen.room() {
                break;
            }
            if object && let Some(key) = self.key(child, Some(at)) {
                preview.push_str(&visible(&decode(&self.body.bytes()[key], 0).0));
                preview.push_str(": ");
            }
            let inner = tree.container(child);
            match inner {
                Some(inner) => preview.push_str(if self.is_object(inner) { "{…}" } else { "[…]" }),
                None => preview.push_str(&self.peek(child, 40).shown),
            }
            child = inner.map_or(child + 1, |inner| tree.at(inner).end);
        }
        if child >= container.end {
            preview.push_str(close);
        }
        pen.cut(&preview, theme.muted);
        pen.pass(pen.room());
        pen.widen(count.len() + 2);
        pen.pass(2);
        pen.put(&count, theme.muted);
    }

    /// Returns the width of a container's key column, from its first values.
    fn column(&self, parent: usize) -> usize {
        let Some(tree) = &self.tree else { return 0 };
        let container = tree.at(parent);
        if !self.is_object(parent) {
            return (container.count - 1).max(1).ilog10() as usize + 1;
        }
        let (mut child, mut widest) = (container.node + 1, 0);
        for _ in 0..SAMPLE {
            if child >= container.end {
                break;
            }
            let inner = tree.container(child);
            if inner.is_none() {
                widest = widest.max(usize::from(width(&self.label(child, parent))));
            }
            child = inner.map_or(child + 1, |inner| tree.at(inner).end);
        }
        widest.min(KEYS).min(self.width / 3)
    }

    fn label(&self, node: u32, parent: usize) -> String {
        let Some(tree) = &self.tree else { return String::new() };
        let Some(key) = self.key(node, Some(parent)) else {
            return tree.ordinal(node, parent).to_string();
        };
        let token = &self.body.bytes()[key];
        let (key, _) = decode(&token[..token.len().min(1024)], 0);
        let shown = visible(&key).into_owned();
        // A key that could be misread keeps its quotes.
        let quoted = key.is_empty() || shown != key || key.starts_with([' ', '"']) || key.ends_with(' ') || token.contains(&b'\\');
        if quoted {
            return visible(&String::from_utf8_lossy(&token[..token.len().min(1024)])).into_owned();
        }
        shown
    }

    /// Returns the preview of a value for `cells` cells.
    fn peek(&self, node: u32, cells: usize) -> ValuePreview {
        let bytes = self.body.bytes();
        let Some(tree) = &self.tree else { return ValuePreview::default() };
        if tree.container(node).is_some() {
            return ValuePreview::default();
        }
        let value = self.value(node);
        let most = cells * 4 + 16;
        let cut = value.len() > most;
        let mut shown = String::new();
        for chunk in bytes[value.start..value.end.min(value.start + most)].utf8_chunks() {
            shown.push_str(&visible(chunk.valid()));
            // A character cut in half at the end is not invalid.
            if !cut || !is_partial_char(chunk.invalid()) {
                chunk.invalid().iter().for_each(|byte| shown.push_str(&format!("\\x{byte:02x}")));
            }
        }
        let string = bytes.get(value.start) == Some(&b'"');
        let room = cells.saturating_sub(8);
        let long = string && (cut || usize::from(width(&shown)) > room || shown.contains("\\n"));
        ValuePreview { first: bytes.get(value.start).copied().unwrap_or(b' '), shown, size: value.len(), cut, long }
    }

    /// Writes escaped text with the matches of the search highlighted.
    fn put(&self, pen: &mut Pen, text: &str, style: Style, theme: &Theme) {
        let mut from = 0;
        for place in self.search.iter().flat_map(|search| search.ranges_in(text)) {
            pen.put(&text[from..place.start], style);
            pen.put(&text[place.clone()], style.patch(theme.found));
            from = place.end;
        }
        pen.put(&text[from..], style);
    }
}

/// Highlights the cursor's row in one foreground colour, which is easier to read on the selection. Search matches keep theirs.
fn select(line: Rect, buf: &mut Buffer, theme: &Theme, focused: bool) {
    let style = if focused { theme.selection } else { theme.selection_idle };
    for x in line.left()..line.right() {
        if let Some(cell) = buf.cell_mut((x, line.y)) {
            if focused && Some(cell.fg) != theme.found.fg {
                cell.fg = theme.text.fg.unwrap_or_default();
            }
            cell.set_style(style);
        }
    }
}

/// The preview of a value.
#[derive(Default)]
struct ValuePreview {
    first: u8,
    shown: String,
    /// The size of the whole value in bytes.
    size: usize,
    /// Whether `shown` is cut.
    cut: bool,
    /// Whether the value is a string that does not fit on the row.
    long: bool,
}

/// Returns whether these bytes are the start of a character.
fn is_partial_char(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|lead| *lead >= 0xc2) && bytes[1..].iter().all(|b| b & 0xc0 == 0x80)
}

/// Formats a size in bytes.
fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
