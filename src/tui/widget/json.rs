//! Raw JSON as a tree that folds, exactly as it came; other text as lines.
//!
//! The bytes are indexed once (`index`); what is drawn is read from them again, a screen at a
//! time. Numbers, strings, the order of keys and duplicates are those of the text, and what is no
//! text (bytes that are no UTF-8, lone surrogates, control characters) is shown as such.

mod index;
mod row;
mod search;
mod text;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range};

pub use self::{index::Broken, search::Progress};
use self::{
    index::{Index, container_end, split},
    search::Search,
    text::{Text, decode},
};
use crate::{domain::body::Body, tui::action::Action};

/// More nodes than this are not all unfolded at first.
const MANY: u32 = 2_000;

/// Where a cursor can be. Line 0 is the row of a node, later ones are its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Pos {
    node: u32,
    line: u32,
    sub: u16,
}

/// A view of JSON or of text, with its cursor, folds and search.
#[derive(Clone, Debug)]
pub struct JsonView {
    body: Body,
    /// The tree; `None` shows lines of text.
    tree: Option<Index>,
    /// Texts shown in full: strings by their node, or the whole under 0.
    texts: BTreeMap<u32, Text>,
    broken: Option<Broken>,
    level: Option<usize>,
    cursor: Pos,
    top: Pos,
    width: usize,
    height: usize,
    search: Option<Search>,
    /// The byte of the match that was gone to last.
    found: Option<usize>,
    /// A jump that waits for the search: whether forward.
    wanted: Option<bool>,
}

/// A JSON string without quotes and escapes; anything else as it is.
pub fn decoded(value: &Body) -> Body {
    if value.bytes().starts_with(b"\"") { Body::from(decode(value.bytes(), 0).0) } else { value.clone() }
}

impl JsonView {
    /// A view of JSON. What is none is shown as text, with a note where it breaks.
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
            Err(broken) => JsonView { broken: Some(broken), ..JsonView::text(body) },
        }
    }

    /// A view of text.
    pub fn text(body: impl Into<Body>) -> JsonView {
        let mut view = JsonView::empty(body.into());
        view.texts.insert(0, Text::new(view.body.clone()));
        view.cursor.line = 1;
        view.top = view.cursor;
        view
    }

    fn empty(body: Body) -> JsonView {
        JsonView {
            body,
            tree: None,
            texts: BTreeMap::new(),
            broken: None,
            level: None,
            cursor: Pos::default(),
            top: Pos::default(),
            width: 80,
            height: 24,
            search: None,
            found: None,
            wanted: None,
        }
    }

    /// The whole document.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Where and why it is no JSON, when it should be.
    pub fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    /// How many rows there are as it is folded now; a line of text counts as one however it wraps.
    pub fn line_count(&self) -> usize {
        let Some(tree) = &self.tree else { return self.texts.get(&0).map_or(0, |text| text.lines() as usize) };
        let texts = self.texts.iter().filter(|(node, _)| tree.visible(**node) == **node).map(|(_, text)| text.lines() as usize);
        (tree.shown() - self.first().node) as usize + texts.sum::<usize>()
    }

    /// The row of the cursor, from 0, out of [`JsonView::line_count`].
    pub fn line(&self) -> usize {
        let Some(tree) = &self.tree else { return self.cursor.line as usize - 1 };
        let texts = self.texts.range(..self.cursor.node).filter(|(node, _)| tree.visible(**node) == **node);
        (tree.rank(self.cursor.node) - self.first().node + self.cursor.line) as usize
            + texts.map(|(_, t)| t.lines() as usize).sum::<usize>()
    }

    /// Does what an action means here: moving, folding, going from match to match; whether it means something.
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

    /// To the first row.
    pub fn start(&mut self) {
        self.cursor = self.first();
    }

    /// To the last row.
    pub fn end(&mut self) {
        let node = self.tree.as_ref().map_or(0, |tree| tree.by_rank(u32::MAX));
        self.cursor = self.last_of(node);
    }

    /// Folds or unfolds what the cursor is on.
    pub fn toggle(&mut self) {
        if self.cursor.line > 0 {
            return self.close_text();
        }
        let Some(tree) = &mut self.tree else { return };
        match tree.container(self.cursor.node) {
            Some(container) => {
                let folded = tree.is_folded(container);
                tree.fold(container, !folded);
            }
            None if self.texts.contains_key(&self.cursor.node) => self.close_text(),
            None => self.open_text(self.cursor.node),
        }
    }

    /// Unfolds what the cursor is on; what is unfolded is entered.
    pub fn right(&mut self) {
        let Some(tree) = &mut self.tree else { return };
        match tree.container(self.cursor.node) {
            Some(container) if tree.is_folded(container) => tree.fold(container, false),
            None if self.cursor.line == 0 && !self.texts.contains_key(&self.cursor.node) => self.open_text(self.cursor.node),
            _ => self.down(1),
        }
    }

    /// Folds what the cursor is on; from what cannot be folded, goes to what is around it.
    pub fn left(&mut self) {
        if self.cursor.line > 0 || self.texts.contains_key(&self.cursor.node) {
            return self.close_text();
        }
        let Some(tree) = &mut self.tree else { return };
        match tree.container(self.cursor.node) {
            Some(container) if !tree.is_folded(container) => tree.fold(container, true),
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

    /// Folds one more level everywhere; at first the level of the cursor.
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
            self.cursor = Pos { node, ..Pos::default() };
        }
    }

    fn open_text(&mut self, node: u32) {
        let value = self.value(node);
        if self.body.bytes().get(value.start) == Some(&b'"') {
            let (text, _) = decode(&self.body.bytes()[value], 0);
            self.texts.insert(node, Text::new(Body::from(text)));
        }
    }

    fn close_text(&mut self) {
        if self.tree.is_some() {
            self.texts.remove(&self.cursor.node);
            (self.cursor.line, self.cursor.sub) = (0, 0);
        }
    }

    /// The JSONPath (RFC 9535) of the row under the cursor: `$.profile.tags[2]`.
    pub fn cursor_path(&self) -> String {
        let Some(tree) = &self.tree else { return "$".into() };
        let mut parts = vec![];
        let mut node = self.cursor.node;
        while let Some(parent) = tree.parent(node) {
            parts.push(match self.key(node, Some(parent)) {
                Some(key) => {
                    let (key, _) = decode(&self.body.bytes()[key], 0);
                    let plain = key.chars().all(|c| c.is_alphanumeric() || c == '_') && !key.starts_with(|c: char| c.is_numeric());
                    if plain && !key.is_empty() { format!(".{key}") } else { format!("[{}]", serde_json::Value::from(key)) }
                }
                None => format!("[{}]", tree.ordinal(node, parent)),
            });
            node = tree.at(parent).node;
        }
        parts.push("$".into());
        parts.into_iter().rev().collect()
    }

    /// The JSON text of the value under the cursor; of text, the whole.
    pub fn copy_value(&self) -> Body {
        if self.tree.is_none() {
            return self.body.clone();
        }
        self.body.slice_of(&self.body.bytes()[self.value(self.cursor.node)])
    }

    /// The value under the cursor for pasting elsewhere: a string without quotes and escapes, anything else as JSON.
    pub fn copy_text(&self) -> Body {
        let value = self.copy_value();
        if self.is_tree() { decoded(&value) } else { value }
    }

    /// Whether it shows a tree, not lines of text.
    pub fn is_tree(&self) -> bool {
        self.tree.is_some()
    }

    /// Begins to search for text as it stands in the document; an empty one ends the search. Small
    /// letters match capitals too. [`JsonView::search_step`] does the work; the cursor goes to the
    /// first match from where it is.
    pub fn search(&mut self, needle: &str) {
        self.search = (!needle.is_empty()).then(|| Search::new(needle));
        self.found = None;
        self.wanted = self.search.is_some().then_some(true);
    }

    /// What is searched for.
    pub fn needle(&self) -> Option<&str> {
        self.search.as_ref().map(Search::needle)
    }

    /// Searches up to `budget_bytes` more bytes. Call it between frames until it is [`Progress::Done`].
    pub fn search_step(&mut self, budget_bytes: usize) -> Progress {
        let Some(search) = &mut self.search else { return Progress::Done(0) };
        let progress = search.step(self.body.bytes(), budget_bytes);
        if let Some(forward) = self.wanted {
            self.jump(forward);
        }
        progress
    }

    /// Number (from 1) of the match the cursor is on, if it is on one, and how many there are so far.
    pub fn match_position(&self) -> Option<(Option<usize>, usize)> {
        let matches = self.search.as_ref()?.matches();
        let current = self.found.and_then(|byte| matches.binary_search(&(byte as u32)).ok());
        Some((current.map(|at| at + 1), matches.len()))
    }

    /// To the next match, from the last one to the first.
    pub fn next_match(&mut self) {
        self.jump(true);
    }

    /// To the match before, from the first one to the last.
    pub fn previous_match(&mut self) {
        self.jump(false);
    }

    fn jump(&mut self, forward: bool) {
        let here = self.byte();
        let Some(search) = &self.search else { return };
        let done = matches!(search.progress(), Progress::Done(_));
        let (matches, from) = (search.matches(), self.found.unwrap_or(here) as u32);
        // A new search finds what is under the cursor; going on leaves the match one is on.
        let split = matches.partition_point(|m| if self.found.is_some() && forward { *m <= from } else { *m < from });
        let hit = if forward { matches.get(split) } else { split.checked_sub(1).and_then(|at| matches.get(at)) };
        let around = if forward { matches.first() } else { matches.last() };
        match hit.or(if done { around } else { None }).copied() {
            Some(byte) => {
                self.wanted = None;
                self.found = Some(byte as usize);
                self.go_to(byte as usize);
            }
            None => self.wanted = (!done).then_some(forward),
        }
    }

    /// The byte where the row of the cursor begins.
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
        self.cursor = Pos { node: node.max(self.first().node), ..Pos::default() };
        let value = self.value(node);
        // Far inside a long string: that is opened there.
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
        self.cursor = Pos { node, line: line + 1, sub: sub as u16 };
    }

    /// The bytes of a node's key.
    fn key(&self, node: u32, parent: Option<usize>) -> Option<Range<usize>> {
        let tree = self.tree.as_ref()?;
        split(self.body.bytes(), tree.start(node), self.is_object(parent?)).0
    }

    fn is_object(&self, container: usize) -> bool {
        let Some(tree) = &self.tree else { return false };
        // The first value in it begins after a key or right away; what stands before it tells.
        let first = tree.start(tree.at(container).node + 1);
        let before = self.body.bytes()[..first].iter().rposition(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t'));
        before.is_some_and(|at| self.body.bytes()[at] == b'{')
    }

    /// The bytes of a node's value.
    fn value(&self, node: u32) -> Range<usize> {
        let Some(tree) = &self.tree else { return 0..self.body.len() };
        let bytes = self.body.bytes();
        let member = tree.parent(node).is_some_and(|parent| self.is_object(parent));
        let (_, start) = split(bytes, tree.start(node), member);
        if tree.container(node).is_some() || matches!(bytes.get(start), Some(b'{' | b'[')) {
            return start..container_end(bytes, start);
        }
        let next = if node + 1 < tree.nodes() { tree.start(node + 1) } else { bytes.len() };
        let last = bytes[start..next].iter().rposition(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t' | b',' | b'}' | b']'));
        start..last.map_or(start, |last| start + last + 1)
    }

    fn first(&self) -> Pos {
        match &self.tree {
            // The root has no row of its own when there is something in it.
            Some(tree) => Pos { node: u32::from(tree.container(0).is_some()), ..Pos::default() },
            None => Pos { line: 1, ..Pos::default() },
        }
    }

    /// Cells for the text of an opened string.
    fn text_width(&self, node: u32) -> usize {
        let indent = self.tree.as_ref().map_or(0, |tree| self.indent(tree.depth(node)) + 4);
        self.width.saturating_sub(indent).max(1)
    }

    fn indent(&self, depth: usize) -> usize {
        (depth.saturating_sub(self.first().node as usize) * 2).min(self.width / 2)
    }

    fn after(&self, at: Pos) -> Option<Pos> {
        if let Some(text) = self.texts.get(&at.node) {
            if at.line > 0 && at.sub + 1 < text.rows(at.line - 1, self.text_width(at.node)) {
                return Some(Pos { sub: at.sub + 1, ..at });
            }
            if at.line < text.lines() {
                return Some(Pos { line: at.line + 1, sub: 0, ..at });
            }
        }
        let tree = self.tree.as_ref()?;
        let rank = tree.rank(at.node) + 1;
        (rank < tree.shown()).then(|| Pos { node: tree.by_rank(rank), ..Pos::default() })
    }

    fn before(&self, at: Pos) -> Option<Pos> {
        if at <= self.first() {
            return None;
        }
        if at.sub > 0 {
            return Some(Pos { sub: at.sub - 1, ..at });
        }
        if at.line > 1 {
            return Some(self.last_sub(at.node, at.line - 1));
        }
        let tree = self.tree.as_ref()?;
        if at.line == 1 {
            return Some(Pos { node: at.node, ..Pos::default() });
        }
        Some(self.last_of(tree.by_rank(tree.rank(at.node) - 1)))
    }

    fn last_of(&self, node: u32) -> Pos {
        self.texts.get(&node).map_or(Pos { node, ..Pos::default() }, |text| self.last_sub(node, text.lines()))
    }

    fn last_sub(&self, node: u32, line: u32) -> Pos {
        let rows = self.texts.get(&node).map_or(1, |text| text.rows(line - 1, self.text_width(node)));
        Pos { node, line, sub: rows - 1 }
    }
}
