//! The index of a JSON document: the offsets of its values, found in one pass over its bytes, and the folds.
//!
//! The index takes 4 bytes per value and 20 per non-empty container. A value is a *node*, numbered in document order. The
//! hidden nodes are stored as one range per outermost folded container, so that the cost of a fold does not depend on the
//! number of nodes that it hides.

use std::ops::Range;

use crate::domain::json::token::{self, Controls, StringProblem};

/// The maximum nesting depth of a tree.
const DEPTH: usize = 2_000;

/// A non-empty container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container {
    /// The node of the container.
    pub node: u32,
    /// The node after its last descendant.
    pub end: u32,
    /// The index of the parent container; for the root, its own index.
    pub parent: u32,
    /// The number of its direct children.
    pub count: u32,
    /// Its position among its parent's children, from 0.
    pub index: u32,
}

/// Why a document is not valid JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxProblem {
    /// The byte offset.
    pub at: usize,
    /// What was expected there.
    pub why: &'static str,
}

/// A range of nodes hidden by one folded container.
#[derive(Clone, Copy, Debug)]
struct Hidden {
    from: u32,
    to: u32,
    /// How many nodes the preceding ranges hide.
    before: u32,
}

/// The index of one document.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    starts: Vec<u32>,
    containers: Vec<Container>,
    folded: Vec<u64>,
    hidden: Vec<Hidden>,
}

impl Index {
    /// Indexes a document.
    pub fn new(bytes: &[u8]) -> Result<Index, SyntaxProblem> {
        let mut reader = Reader { bytes, at: 0, index: Index::default(), open: vec![] };
        if bytes.len() >= u32::MAX as usize {
            return Err(SyntaxProblem { at: u32::MAX as usize, why: "too large to show as a tree" });
        }
        reader.document()?;
        let mut index = reader.index;
        index.starts.shrink_to_fit();
        index.containers.shrink_to_fit();
        index.folded = vec![0; index.containers.len().div_ceil(64)];
        Ok(index)
    }

    /// Returns the number of nodes.
    pub fn nodes(&self) -> u32 {
        self.starts.len() as u32
    }

    /// Returns the memory of the index in bytes.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.starts.len() * 4 + self.containers.len() * size_of::<Container>() + self.folded.len() * 8
    }

    /// Returns the byte offset of a node: of its key, if it has one.
    pub fn start(&self, node: u32) -> usize {
        self.starts.get(node as usize).map_or(0, |at| *at as usize)
    }

    /// Returns the node that contains a byte.
    pub fn node_at(&self, byte: usize) -> u32 {
        (self.starts.partition_point(|start| *start as usize <= byte) as u32).saturating_sub(1)
    }

    /// Returns the container index of a node, if it is a container.
    pub fn container(&self, node: u32) -> Option<usize> {
        self.containers.binary_search_by_key(&node, |c| c.node).ok()
    }

    /// Returns a container by its index.
    pub fn at(&self, container: usize) -> Container {
        self.containers[container]
    }

    /// Returns the index of a node's parent container; `None` for the root.
    pub fn parent(&self, node: u32) -> Option<usize> {
        let mut at = self.containers.partition_point(|c| c.node < node).checked_sub(1)?;
        while self.containers[at].end <= node {
            let parent = self.containers[at].parent as usize;
            if parent == at {
                return None;
            }
            at = parent;
        }
        Some(at)
    }

    /// Returns a node's position among its parent's children, from 0.
    pub fn ordinal(&self, node: u32, parent: usize) -> u32 {
        if let Some(own) = self.container(node) {
            return self.containers[own].index;
        }
        // The last container before the node on the same level, if there is one.
        let mut at = self.containers.partition_point(|c| c.node < node) - 1;
        while at != parent {
            let c = self.containers[at];
            if c.parent as usize == parent {
                return c.index + 1 + (node - c.end);
            }
            at = c.parent as usize;
        }
        node - self.containers[parent].node - 1
    }

    /// Returns the depth of a node; the root has depth 0.
    pub fn depth(&self, node: u32) -> usize {
        let mut depth = 0;
        let mut at = self.parent(node);
        while let Some(container) = at {
            depth += 1;
            let parent = self.containers[container].parent as usize;
            at = (parent != container).then_some(parent);
        }
        depth
    }

    /// Returns whether a container is folded.
    pub fn is_folded(&self, container: usize) -> bool {
        self.folded[container / 64] & (1 << (container % 64)) != 0
    }

    /// Folds or unfolds a container.
    pub fn set_folded(&mut self, container: usize, folded: bool) {
        if self.is_folded(container) == folded {
            return;
        }
        self.folded[container / 64] ^= 1 << (container % 64);
        let c = self.containers[container];
        // Inside a folded container nothing changes on the screen.
        if self.range_of(c.node).is_some() {
            return;
        }
        let first = self.hidden.partition_point(|h| h.from <= c.node);
        let last = self.hidden.partition_point(|h| h.from < c.end);
        let inner = if folded { vec![Hidden { from: c.node + 1, to: c.end, before: 0 }] } else { self.ranges(container + 1, c.end) };
        self.hidden.splice(first..last, inner);
        self.count(first);
    }

    /// Folds every container at least `depth` deep, and unfolds the others.
    pub fn fold_from(&mut self, depth: usize) {
        self.folded.fill(0);
        let mut open: Vec<u32> = vec![];
        for (at, c) in self.containers.iter().enumerate() {
            while open.last().is_some_and(|end| *end <= c.node) {
                open.pop();
            }
            if open.len() >= depth {
                self.folded[at / 64] |= 1 << (at % 64);
            }
            open.push(c.end);
        }
        self.hidden = self.ranges(0, u32::MAX);
        self.count(0);
    }

    /// Unfolds everything around a node.
    pub fn reveal(&mut self, node: u32) {
        let mut at = self.parent(node);
        while let Some(container) = at {
            self.set_folded(container, false);
            let parent = self.containers[container].parent as usize;
            at = (parent != container).then_some(parent);
        }
    }

    /// Returns the outermost hidden ranges of the folded containers from `first`, before node `end`.
    fn ranges(&self, first: usize, end: u32) -> Vec<Hidden> {
        let (mut out, mut at) = (vec![], first);
        while let Some(next) = self.next_folded(at) {
            let c = self.containers[next];
            if c.node >= end {
                break;
            }
            out.push(Hidden { from: c.node + 1, to: c.end, before: 0 });
            at = self.after(next);
        }
        out
    }

    /// Returns the first container after a container's descendants. Gallops, because most containers are small.
    fn after(&self, container: usize) -> usize {
        let end = self.containers[container].end;
        let rest = &self.containers[container + 1..];
        let mut step = 1;
        while rest.get(step - 1).is_some_and(|inner| inner.node < end) {
            step *= 2;
        }
        let (from, to) = (step / 2, rest.len().min(step));
        container + 1 + from + rest[from..to].partition_point(|inner| inner.node < end)
    }

    fn next_folded(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.folded.get(word)? & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.folded.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }

    fn count(&mut self, from: usize) {
        let mut before = from.checked_sub(1).map_or(0, |at| self.hidden[at].before + self.hidden[at].to - self.hidden[at].from);
        for hidden in &mut self.hidden[from..] {
            hidden.before = before;
            before += hidden.to - hidden.from;
        }
    }

    fn range_of(&self, node: u32) -> Option<Hidden> {
        let hidden = *self.hidden.get(self.hidden.partition_point(|h| h.from <= node).checked_sub(1)?)?;
        (node < hidden.to).then_some(hidden)
    }

    /// Returns the number of visible nodes.
    pub fn visible_count(&self) -> u32 {
        self.nodes() - self.hidden.last().map_or(0, |h| h.before + h.to - h.from)
    }

    /// Returns the node, or the folded container that hides it.
    pub fn visible(&self, node: u32) -> u32 {
        self.range_of(node).map_or(node, |h| h.from - 1)
    }

    /// Returns the position of a node among the visible ones, from 0.
    pub fn rank(&self, node: u32) -> u32 {
        let node = self.visible(node);
        let at = self.hidden.partition_point(|h| h.from <= node);
        node - at.checked_sub(1).map_or(0, |at| self.hidden[at].before + self.hidden[at].to - self.hidden[at].from)
    }

    /// Returns the visible node at a position, or the last one.
    pub fn by_rank(&self, rank: u32) -> u32 {
        let rank = rank.min(self.visible_count().saturating_sub(1));
        let at = self.hidden.partition_point(|h| h.from - h.before <= rank);
        rank + at.checked_sub(1).map_or(0, |at| self.hidden[at].before + self.hidden[at].to - self.hidden[at].from)
    }
}

/// Returns the byte range of a member's key with its quotes, and the byte offset of the value.
pub(super) fn split(bytes: &[u8], start: usize, member: bool) -> (Option<Range<usize>>, usize) {
    if !member {
        return (None, start);
    }
    let end = token::string_end(bytes, start).unwrap_or(bytes.len());
    let mut at = end;
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\r' | b'\t' | b':')) {
        at += 1;
    }
    (Some(start..end), at)
}

/// A non-recursive JSON parser that fills the index.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    index: Index,
    open: Vec<OpenContainer>,
}

/// A container that is being parsed.
struct OpenContainer {
    container: u32,
    count: u32,
    object: bool,
}

impl Reader<'_> {
    fn problem<T>(&self, why: &'static str) -> Result<T, SyntaxProblem> {
        Err(SyntaxProblem { at: self.at, why })
    }

    fn peek(&mut self) -> Option<u8> {
        self.at = token::skip_white(self.bytes, self.at);
        self.bytes.get(self.at).copied()
    }

    fn document(&mut self) -> Result<(), SyntaxProblem> {
        self.peek();
        let start = self.at;
        self.value(start)?;
        while let Some(open) = self.open.last_mut() {
            let object = open.object;
            let close = if object { b'}' } else { b']' };
            let first = open.count == 0;
            match self.peek() {
                Some(byte) if byte == close => {
                    self.at += 1;
                    self.close();
                }
                Some(b',') if !first => {
                    self.at += 1;
                    self.element(object)?;
                }
                Some(_) if first => self.element(object)?,
                None => return self.problem("the document is incomplete"),
                Some(_) => return self.problem("expected a comma or a closing bracket"),
            }
        }
        match self.peek() {
            None => Ok(()),
            Some(_) => self.problem("unexpected text after the end of the document"),
        }
    }

    fn close(&mut self) {
        let Some(open) = self.open.pop() else { return };
        let end = self.index.starts.len() as u32;
        let container = &mut self.index.containers[open.container as usize];
        (container.end, container.count) = (end, open.count);
    }

    fn element(&mut self, object: bool) -> Result<(), SyntaxProblem> {
        self.peek();
        let start = self.at;
        if object {
            if self.bytes.get(self.at) != Some(&b'"') {
                return self.problem("expected a key in double quotes");
            }
            self.string()?;
            if self.peek() != Some(b':') {
                return self.problem("expected a colon after the key");
            }
            self.at += 1;
            self.peek();
        }
        self.value(start)?;
        Ok(())
    }

    fn value(&mut self, start: usize) -> Result<(), SyntaxProblem> {
        let node = self.index.starts.len() as u32;
        self.index.starts.push(start as u32);
        let ordinal = self.open.last_mut().map_or(0, |open| {
            open.count += 1;
            open.count - 1
        });
        match self.bytes.get(self.at) {
            Some(b'"') => self.string(),
            Some(open @ (b'{' | b'[')) => self.open(node, ordinal, *open == b'{'),
            Some(b'-' | b'0'..=b'9') => {
                self.at = token::number(self.bytes, self.at).map_err(|at| SyntaxProblem { at, why: "expected a digit" })?;
                Ok(())
            }
            Some(_) => match token::word(self.bytes, self.at) {
                Some(word) => {
                    self.at += word.len();
                    Ok(())
                }
                None => self.problem("not a JSON value"),
            },
            None => self.problem("expected a value, but the document ends"),
        }
    }

    fn open(&mut self, node: u32, index: u32, object: bool) -> Result<(), SyntaxProblem> {
        self.at += 1;
        let close = if object { b'}' } else { b']' };
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        if self.open.len() >= DEPTH {
            return self.problem("nested more than 2000 levels deep");
        }
        let container = self.index.containers.len() as u32;
        let parent = self.open.last().map_or(container, |open| open.container);
        self.index.containers.push(Container { node, end: 0, parent, count: 0, index });
        self.open.push(OpenContainer { container, count: 0, object });
        Ok(())
    }

    /// Parses a string. Accepts control characters, because the viewer shows them escaped.
    fn string(&mut self) -> Result<(), SyntaxProblem> {
        let open = self.at;
        self.at = token::string(self.bytes, open, Controls::Accept).map_err(|problem| match problem {
            StringProblem::Unclosed => SyntaxProblem { at: open, why: "unterminated string" },
            StringProblem::Control(at) | StringProblem::Escape(at) | StringProblem::Unit(at) => SyntaxProblem { at, why: "invalid escape" },
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index(text: &str) -> Index {
        Index::new(text.as_bytes()).unwrap()
    }

    fn visible_nodes(index: &Index) -> Vec<u32> {
        (0..index.visible_count()).map(|rank| index.by_rank(rank)).collect()
    }

    #[test]
    fn a_syntax_problem_has_its_position() {
        for (text, at) in
            [("", 0), ("[1,]", 3), ("{\"a\" 1}", 5), ("[1 2]", 3), ("{} x", 3), ("[\"a", 1), ("[1.]", 3), ("[\"\\x\"]", 2), ("{,}", 1)]
        {
            assert_eq!(Index::new(text.as_bytes()).unwrap_err().at, at, "{text}");
        }
        assert!(Index::new("[".repeat(5000).as_bytes()).is_err());
    }

    #[test]
    fn folds_hide_descendants() {
        let mut index = index(r#"{"a":[1,2,{"b":3}],"c":{"d":[4]},"e":5}"#);
        assert_eq!(index.nodes(), 10);
        let (a, c) = (index.container(1).unwrap(), index.container(6).unwrap());
        index.set_folded(c, true);
        index.set_folded(a, true);
        assert_eq!(visible_nodes(&index), [0, 1, 6, 9]);
        assert_eq!((index.visible(5), index.rank(9)), (1, 3));
        index.set_folded(0, true);
        assert_eq!(visible_nodes(&index), [0]);
        index.set_folded(0, false);
        assert_eq!(visible_nodes(&index), [0, 1, 6, 9]);
        index.reveal(8);
        assert_eq!(visible_nodes(&index), [0, 1, 6, 7, 8, 9]);
        index.fold_from(2);
        assert_eq!(visible_nodes(&index), [0, 1, 2, 3, 4, 6, 7, 9]);
    }

    #[test]
    fn a_number_takes_four_bytes() {
        let text = format!("[{}1]", "1,".repeat(10_000));
        assert!(index(&text).memory() < 4 * 10_001 + 100);
    }

    proptest! {
        #[test]
        fn validity_agrees_with_serde_json(text in "[\\[\\]{}\",:0-9eE+.tfnul \\\\-]{0,12}") {
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(Index::new(text.as_bytes()).is_ok(), theirs, "{}", text);
        }

        #[test]
        fn ranks_parents_and_ordinals_agree(text in "(\\[(1|\\[\\]|\\[2,\\[3\\],4\\]|\\{\"a\":[0-9],\"b\":\\[5,6\\]\\})(,(1|\\[2,\\[3\\],4\\]|\\[7\\])){0,5}\\])", folds in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..12)) {
            let mut index = index(&text);
            for (pick, folded) in folds {
                index.set_folded(pick.index(index.containers.len()), folded);
                let mut expected = vec![];
                let mut node = 0;
                while node < index.nodes() {
                    expected.push(node);
                    node = match index.container(node) {
                        Some(c) if index.is_folded(c) => index.at(c).end,
                        _ => node + 1,
                    };
                }
                prop_assert_eq!(visible_nodes(&index), expected.clone());
                for (rank, node) in expected.into_iter().enumerate() {
                    prop_assert_eq!(index.rank(node), rank as u32);
                }
            }
            let mut counts = vec![0; index.containers.len()];
            for node in 1..index.nodes() {
                let parent = index.parent(node).unwrap();
                prop_assert_eq!(index.ordinal(node, parent), counts[parent]);
                counts[parent] += 1;
            }
            for (at, count) in counts.into_iter().enumerate() {
                prop_assert_eq!(index.at(at).count, count);
            }
        }
    }
}
