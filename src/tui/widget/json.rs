//! The JSON viewer: raw JSON as a foldable tree, exactly as received, and other text as lines.
//!
//! The bytes are indexed once (`index`), and each frame reads the visible part from them again. Numbers, strings, key order
//! and duplicate keys are those of the text. Invalid UTF-8, lone surrogates and control characters are shown escaped.

mod index;
mod row;
mod search;
mod text;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range};

pub use self::{index::SyntaxProblem, search::Progress};
use self::{
    index::{Index, split},
    search::Search,
    text::{WrappedText, decode},
};
use super::window::Direction;
use crate::{
    domain::{body::Body, json::token::container_end},
    tui::action::Action,
};

/// Documents with more nodes start partly folded.
const MANY: u32 = 2_000;

/// A cursor position. Line 0 is the row of a node, later lines are its opened text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    node: u32,
    line: u32,
    sub: u16,
}

/// A view of JSON or text, with its cursor, folds and search.
#[derive(Clone, Debug)]
pub struct JsonView {
    body: Body,
    /// The tree; `None` shows lines of text.
    tree: Option<Index>,
    /// Opened texts: strings by their node, or the whole text under 0.
    texts: BTreeMap<u32, WrappedText>,
    problem: Option<SyntaxProblem>,
    level: Option<usize>,
    cursor: Position,
    top: Position,
    width: usize,
    height: usize,
    search: Option<Search>,
    /// The byte offset of the current match.
    found: Option<usize>,
    /// A jump that waits for the search to find a match.
    pending_jump: Option<Direction>,
}

/// Returns a JSON string without quotes and escapes, and any other value unchanged.
pub fn decoded(value: &Body) -> Body {
    if value.bytes().starts_with(b"\"") { Body::from(decode(value.bytes(), 0).0) } else { value.clone() }
}

impl JsonView {
    /// Creates a view of JSON. Invalid JSON is shown as text with the position of the error.
    pub fn json(body: Body) -> JsonView {
        match Index::new(body.bytes()) {
            Ok(index) => {
                let mut view = JsonView::empty(body);
                let root = index.container(0).map(|at| index.at(at));
                view.cursor.node = u32::from(root.is_some());
                view.top = view.cursor;
                let many = index.nodes() > MANY;
                view.tree = Some(index);
                if many {
                    view.fold_from(if root.is_some_and(|root| root.count > 40) { 1 } else { 2 });
                }
                view
            }
            Err(problem) => JsonView { problem: Some(problem), ..JsonView::text(body) },
        }
    }

    /// Creates a view of text.
    pub fn text(body: impl Into<Body>) -> JsonView {
        let mut view = JsonView::empty(body.into());
        view.texts.insert(0, WrappedText::new(view.body.clone()));
        view.cursor.line = 1;
        view.top = view.cursor;
        view
    }

    fn empty(body: Body) -> JsonView {
        JsonView {
            body,
            tree: None,
            texts: BTreeMap::new(),
            problem: None,
            level: None,
            cursor: Position::default(),
            top: Position::default(),
            width: 80,
            height: 24,
            search: None,
            found: None,
            pending_jump: None,
        }
    }

    /// Returns the whole document.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Returns where and why the JSON is invalid.
    pub fn problem(&self) -> Option<&SyntaxProblem> {
        self.problem.as_ref()
    }

    /// Returns the number of rows with the current folds. A wrapped line of text counts as one.
    pub fn line_count(&self) -> usize {
        let Some(tree) = &self.tree else { return self.texts.get(&0).map_or(0, |text| text.lines() as usize) };
        let texts = self.texts.iter().filter(|(node, _)| tree.visible(**node) == **node).map(|(_, text)| text.lines() as usize);
        (tree.visible_count() - self.first().node) as usize + texts.sum::<usize>()
    }

    /// Returns the row of the cursor, from 0, of [`JsonView::line_count`].
    pub fn line(&self) -> usize {
        self.row_of(self.cursor)
    }

    fn row_of(&self, at: Position) -> usize {
        let Some(tree) = &self.tree else { return (at.line as usize).saturating_sub(1) };
        let texts = self.texts.range(..at.node).filter(|(node, _)| tree.visible(**node) == **node);
        (tree.rank(at.node).saturating_sub(self.first().node) + at.line) as usize + texts.map(|(_, t)| t.lines() as usize).sum::<usize>()
    }

    /// Returns the position for a scroll bar: the first visible row, the number of visible rows, and of all rows.
    pub fn position(&self) -> (usize, usize, usize) {
        (self.row_of(self.top), self.height, self.line_count())
    }

    /// Returns the JSON document in the string under the cursor, if its text is an object or an array.
    pub fn nested(&self) -> Option<Body> {
        self.tree.as_ref()?;
        let value = self.copy_value();
        let text = decoded(&value).text().trim().to_owned();
        let json = value.bytes().starts_with(b"\"") && text.starts_with(['{', '[']);
        (json && serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok()).then(|| Body::from(text))
    }

    /// Handles an action: moves, folds, goes to a match. Returns whether the action applies.
    pub fn act(&mut self, action: Action) -> bool {
        let page = self.height.saturating_sub(1).max(1);
        match action {
            Action::Down => self.down(1),
            Action::Up => self.up(1),
            Action::PageDown => self.down(page),
            Action::PageUp => self.up(page),
            Action::Top => self.start(),
            Action::Bottom => self.end(),
            Action::Open | Action::Fold => self.toggle(),
            Action::Right => self.right(),
            Action::Left => self.left(),
            Action::UnfoldLevel => self.unfold_level(),
            Action::FoldLevel => self.fold_level(),
            Action::NextMatch if self.search.is_some() => self.next_match(),
            Action::PreviousMatch if self.search.is_some() => self.previous_match(),
            _ => return false,
        }
        true
    }

    /// Moves down by rows of the screen.
    pub fn down(&mut self, rows: usize) {
        for _ in 0..rows {
            let Some(next) = self.after(self.cursor) else { break };
            self.cursor = next;
        }
    }

    /// Moves up by rows of the screen.
    pub fn up(&mut self, rows: usize) {
        for _ in 0..rows {
            let Some(previous) = self.before(self.cursor) else { break };
            self.cursor = previous;
        }
    }

    /// Goes to the first row.
    pub fn start(&mut self) {
        self.cursor = self.first();
    }

    /// Goes to the last row.
    pub fn end(&mut self) {
        let node = self.tree.as_ref().map_or(0, |tree| tree.by_rank(u32::MAX));
        self.cursor = self.last_of(node);
    }

    /// Folds or unfolds the value under the cursor.
    pub fn toggle(&mut self) {
        if self.cursor.line > 0 {
            return self.close_text();
        }
        let Some(tree) = &mut self.tree else { return };
        match tree.container(self.cursor.node) {
            Some(container) => {
                let folded = tree.is_folded(container);
                tree.set_folded(container, !folded);
            }
            None if self.texts.contains_key(&self.cursor.node) => self.close_text(),
            None => self.open_text(self.cursor.node),
        }
    }

    /// Unfolds the value under the cursor, or enters it if it is unfolded.
    pub fn right(&mut self) {
        let Some(tree) = &mut self.tree else { return };
        match tree.container(self.cursor.node) {
            Some(container) if tree.is_folded(container) => tree.set_folded(container, false),
            None if self.cursor.line == 0 && !self.texts.contains_key(&self.cursor.node) => self.open_text(self.cursor.node),
            _ => self.down(1),
        }
    }

    /// Folds the value under the cursor, or goes to the enclosing container if it cannot be folded.
    pub fn left(&mut self) {
        if self.cursor.line > 0 || self.texts.contains_key(&self.cursor.node) {
            return self.close_text();
        }
        let Some(tree) = &mut self.tree else { return };
        match tree.container(self.cursor.node) {
            Some(container) if !tree.is_folded(container) => tree.set_folded(container, true),
            _ => {
                if let Some(parent) = tree.parent(self.cursor.node).filter(|parent| *parent > 0) {
                    self.cursor.node = tree.at(parent).node;
                }
            }
        }
    }

    /// Unfolds one more level everywhere.
    pub fn unfold_level(&mut self) {
        let level = self.level.map_or(usize::MAX, |level| level + 1);
        self.fold_from(if level > 12 { usize::MAX } else { level });
    }

    /// Folds one more level everywhere, starting with the level of the cursor.
    pub fn fold_level(&mut self) {
        let depth = self.tree.as_ref().map_or(1, |tree| tree.depth(self.cursor.node));
        self.fold_from(self.level.map_or(depth, |level| level - 1).max(1));
    }

    fn fold_from(&mut self, depth: usize) {
        self.level = (depth != usize::MAX).then_some(depth);
        let Some(tree) = &mut self.tree else { return };
        tree.fold_from(depth);
        let node = tree.visible(self.cursor.node);
        if node != self.cursor.node {
            self.cursor = Position { node, ..Position::default() };
        }
    }

    fn open_text(&mut self, node: u32) {
        let value = self.value(node);
        if self.body.bytes().get(value.start) == Some(&b'"') {
            let (text, _) = decode(&self.body.bytes()[value], 0);
            self.texts.insert(node, WrappedText::new(Body::from(text)));
        }
    }

    fn close_text(&mut self) {
        if self.tree.is_some() {
            self.texts.remove(&self.cursor.node);
            (self.cursor.line, self.cursor.sub) = (0, 0);
        }
    }

    /// Returns the JSONPath (RFC 9535) of the row under the cursor: `$.profile.tags[2]`.
    pub fn cursor_path(&self) -> String {
        let Some(tree) = &self.tree else { return "$".into() };
        let mut parts = vec![];
        let mut node = self.cursor.node;
        while let Some(parent) = tree.parent(node) {
            parts.push(match self.key(node, Some(parent)) {
                Some(key) => {
                    let (key, _) = decode(&self.body.bytes()[key], 0);
                    let is_name = key.chars().all(|c| c.is_alphanumeric() || c == '_') && !key.starts_with(|c: char| c.is_numeric());
                    if is_name && !key.is_empty() { format!(".{key}") } else { format!("[{}]", serde_json::Value::from(key)) }
                }
                None => format!("[{}]", tree.ordinal(node, parent)),
            });
            node = tree.at(parent).node;
        }
        parts.push("$".into());
        parts.into_iter().rev().collect()
    }

    /// Returns the JSON of the value under the cursor, or the whole text.
    pub fn copy_value(&self) -> Body {
        if self.tree.is_none() {
            return self.body.clone();
        }
        self.body.slice_of(&self.body.bytes()[self.value(self.cursor.node)])
    }

    /// Returns the value under the cursor for pasting elsewhere: a string without quotes and escapes, any other value as JSON.
    pub fn copy_text(&self) -> Body {
        let value = self.copy_value();
        if self.is_tree() { decoded(&value) } else { value }
    }

    /// Returns whether the view shows a tree rather than lines of text.
    pub fn is_tree(&self) -> bool {
        self.tree.is_some()
    }

    /// Starts a search in the raw document; an empty text ends the search. Case-insensitive unless the text has a capital.
    /// [`JsonView::search_step`] does the work, and the cursor goes to the first match after its position.
    pub fn search(&mut self, needle: &str) {
        self.search = (!needle.is_empty()).then(|| Search::new(needle));
        self.found = None;
        self.pending_jump = self.search.is_some().then_some(Direction::Forward);
    }

    /// Returns the search text.
    pub fn needle(&self) -> Option<&str> {
        self.search.as_ref().map(Search::needle)
    }

    /// Searches up to `budget_bytes` more bytes. Call it between frames until it returns [`Progress::Done`].
    pub fn search_step(&mut self, budget_bytes: usize) -> Progress {
        let Some(search) = &mut self.search else { return Progress::Done(0) };
        let progress = search.step(self.body.bytes(), budget_bytes);
        if let Some(direction) = self.pending_jump {
            self.jump(direction);
        }
        progress
    }

    /// Returns the number (from 1) of the current match, if there is one, and the number of matches found so far.
    pub fn match_position(&self) -> Option<(Option<usize>, usize)> {
        let matches = self.search.as_ref()?.matches();
        let current = self.found.and_then(|byte| matches.binary_search(&(byte as u32)).ok());
        Some((current.map(|at| at + 1), matches.len()))
    }

    /// Goes to the next match, and from the last one to the first.
    pub fn next_match(&mut self) {
        self.jump(Direction::Forward);
    }

    /// Goes to the previous match, and from the first one to the last.
    pub fn previous_match(&mut self) {
        self.jump(Direction::Backward);
    }

    fn jump(&mut self, direction: Direction) {
        let forward = direction == Direction::Forward;
        let cursor_byte = self.byte();
        let Some(search) = &self.search else { return };
        let done = matches!(search.progress(), Progress::Done(_));
        let (matches, from) = (search.matches(), self.found.unwrap_or(cursor_byte) as u32);
        // A new search may match at the cursor; the next match excludes the current one.
        let split = matches.partition_point(|m| if self.found.is_some() && forward { *m <= from } else { *m < from });
        let hit = if forward { matches.get(split) } else { split.checked_sub(1).and_then(|at| matches.get(at)) };
        let around = if forward { matches.first() } else { matches.last() };
        match hit.or(if done { around } else { None }).copied() {
            Some(byte) => {
                self.pending_jump = None;
                self.found = Some(byte as usize);
                self.go_to(byte as usize);
            }
            None => self.pending_jump = (!done).then_some(direction),
        }
    }

    /// Returns the byte offset of the cursor's row.
    fn byte(&self) -> usize {
        match (&self.tree, self.texts.get(&0)) {
            (Some(tree), _) => tree.start(self.cursor.node),
            (None, Some(text)) => text.start(self.cursor.line - 1),
            _ => 0,
        }
    }

    fn go_to(&mut self, byte: usize) {
        let Some(tree) = &mut self.tree else {
            return self.go_to_text(0, byte);
        };
        let node = tree.node_at(byte);
        tree.reveal(node);
        self.cursor = Position { node: node.max(self.first().node), ..Position::default() };
        let value = self.value(node);
        // A match far inside a long string opens the string.
        if byte > value.start + self.width / 2 && self.body.bytes().get(value.start) == Some(&b'"') {
            if !self.texts.contains_key(&node) {
                self.open_text(node);
            }
            let (_, at) = decode(&self.body.bytes()[value.clone()], byte - value.start);
            self.go_to_text(node, at);
        }
    }

    fn go_to_text(&mut self, node: u32, byte: usize) {
        let cells = self.text_width(node);
        let Some(text) = self.texts.get(&node) else { return };
        let line = text.line_at(byte);
        let sub = text.wrap(line, cells).iter().rposition(|row| row.start <= byte).unwrap_or(0);
        self.cursor = Position { node, line: line + 1, sub: sub as u16 };
    }

    /// Returns the byte range of a node's key.
    fn key(&self, node: u32, parent: Option<usize>) -> Option<Range<usize>> {
        let tree = self.tree.as_ref()?;
        split(self.body.bytes(), tree.start(node), self.is_object(parent?)).0
    }

    fn is_object(&self, container: usize) -> bool {
        let Some(tree) = &self.tree else { return false };
        // The byte before the first child is the opening bracket.
        let first = tree.start(tree.at(container).node + 1);
        let before = self.body.bytes()[..first].iter().rposition(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t'));
        before.is_some_and(|at| self.body.bytes()[at] == b'{')
    }

    /// Returns the byte range of a node's value.
    fn value(&self, node: u32) -> Range<usize> {
        let Some(tree) = &self.tree else { return 0..self.body.len() };
        let bytes = self.body.bytes();
        let member = tree.parent(node).is_some_and(|parent| self.is_object(parent));
        let (_, start) = split(bytes, tree.start(node), member);
        if tree.container(node).is_some() || matches!(bytes.get(start), Some(b'{' | b'[')) {
            return start..container_end(bytes, start).unwrap_or(bytes.len());
        }
        let next = if node + 1 < tree.nodes() { tree.start(node + 1) } else { bytes.len() };
        let last = bytes[start..next].iter().rposition(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t' | b',' | b'}' | b']'));
        start..last.map_or(start, |last| start + last + 1)
    }

    fn first(&self) -> Position {
        match &self.tree {
            // A root container with values has no row of its own.
            Some(tree) => Position { node: u32::from(tree.container(0).is_some()), ..Position::default() },
            None => Position { line: 1, ..Position::default() },
        }
    }

    /// Returns the width of an opened string's text.
    fn text_width(&self, node: u32) -> usize {
        let indent = self.tree.as_ref().map_or(0, |tree| self.indent(tree.depth(node)) + 4);
        self.width.saturating_sub(indent).max(1)
    }

    fn indent(&self, depth: usize) -> usize {
        (depth.saturating_sub(self.first().node as usize) * 2).min(self.width / 2)
    }

    fn after(&self, at: Position) -> Option<Position> {
        if let Some(text) = self.texts.get(&at.node) {
            if at.line > 0 && at.sub + 1 < text.rows(at.line - 1, self.text_width(at.node)) {
                return Some(Position { sub: at.sub + 1, ..at });
            }
            if at.line < text.lines() {
                return Some(Position { line: at.line + 1, sub: 0, ..at });
            }
        }
        let tree = self.tree.as_ref()?;
        let rank = tree.rank(at.node) + 1;
        (rank < tree.visible_count()).then(|| Position { node: tree.by_rank(rank), ..Position::default() })
    }

    fn before(&self, at: Position) -> Option<Position> {
        if at <= self.first() {
            return None;
        }
        if at.sub > 0 {
            return Some(Position { sub: at.sub - 1, ..at });
        }
        if at.line > 1 {
            return Some(self.last_sub(at.node, at.line - 1));
        }
        let tree = self.tree.as_ref()?;
        if at.line == 1 {
            return Some(Position { node: at.node, ..Position::default() });
        }
        Some(self.last_of(tree.by_rank(tree.rank(at.node) - 1)))
    }

    fn last_of(&self, node: u32) -> Position {
        self.texts.get(&node).map_or(Position { node, ..Position::default() }, |text| self.last_sub(node, text.lines()))
    }

    fn last_sub(&self, node: u32, line: u32) -> Position {
        let rows = self.texts.get(&node).map_or(1, |text| text.rows(line - 1, self.text_width(node)));
        Position { node, line, sub: rows - 1 }
    }
}
