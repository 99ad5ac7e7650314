//! Layered layout of a plan's graph, ready to be drawn.
//!
//! A Sugiyama layout: each step is one layer below the lowest step that it needs, and an edge across several layers
//! passes through a point in each. Barycentre sweeps order each layer until the number of crossings stops decreasing.
//! All sizes are in terminal cells. The layout is pure and deterministic.

use serde::{Deserialize, Serialize};
use unicode_width::UnicodeWidthStr;

use super::plan::Plan;
use crate::domain::text::{middle, visible};

/// Horizontal cells between two boxes.
const GAP: usize = 2;
/// Maximum width of a box including its frame, in cells.
const MAX_WIDTH: usize = 32;
/// Minimum width of a box.
const NARROWEST: usize = 9;
/// Height of a box including its frame, in rows.
const HEIGHT: usize = 4;
/// Number of sweeps, down and up.
const SWEEPS: usize = 4;
/// Maximum number of rows for edges between two layers; further edges share rows.
const TRACKS: usize = 6;
/// Above this number of edges, single crossings cannot be seen, and one pass is enough.
const MANY: usize = 4_000;

/// The layout of a plan's graph. Columns and rows count from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Width in columns.
    pub width: usize,
    /// Height in rows.
    pub height: usize,
    /// One box per step, by step index.
    pub boxes: Vec<Node>,
    /// The edges.
    pub edges: Vec<Edge>,
    /// The steps of each layer, left to right.
    pub layers: Vec<Vec<usize>>,
}

/// A box including its frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Index of the step in the plan.
    pub step: usize,
    /// Column of the left edge.
    pub x: usize,
    /// Row of the upper edge.
    pub y: usize,
    /// Width in columns.
    pub width: usize,
    /// Height in rows.
    pub height: usize,
    /// First line: the step's id, truncated.
    pub name: String,
    /// Second line: the subject, truncated.
    pub subject: String,
}

/// An edge from a step to one that needs it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The needed step.
    pub from: usize,
    /// The step that needs it.
    pub to: usize,
    /// The corners of the edge, from just below the upper box to just above the lower one. Consecutive corners share
    /// a row or a column.
    pub points: Vec<(usize, usize)>,
}

/// A slot in a layer: a step, or a point that an edge passes through.
#[derive(Clone, Copy, Debug)]
struct Slot {
    step: Option<usize>,
    width: usize,
    x: usize,
}

/// The input of the layout: steps and their needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// Id and subject of each step.
    pub steps: Vec<(String, String)>,
    /// For each step, the steps that it needs, as indices into `steps`.
    pub needs: Vec<Vec<usize>>,
}

impl Graph {
    /// Creates the graph of a plan.
    pub fn of(plan: &Plan) -> Graph {
        Graph { steps: plan.steps.iter().map(|step| (step.id.to_string(), step.action.subject())).collect(), needs: plan.drawn_needs() }
    }

    /// Creates a graph from steps (id, subject) and edges (needed, needing). Edges with invalid indices are dropped.
    pub fn new(steps: Vec<(String, String)>, edges: impl IntoIterator<Item = (usize, usize)>) -> Graph {
        let mut needs = vec![vec![]; steps.len()];
        for (needed, needing) in edges {
            if needed < steps.len() && needing < steps.len() && needed != needing {
                needs[needing].push(needed);
            }
        }
        for needs in &mut needs {
            needs.sort_unstable();
            needs.dedup();
        }
        Graph { steps, needs }
    }

    /// Returns the layer of each step: one below the lowest step that it needs. Plans have no cycles; steps in a
    /// cycle would get the top layer.
    fn ranks(&self) -> Vec<usize> {
        let mut ranks = vec![0; self.needs.len()];
        let mut open: Vec<usize> = self.needs.iter().map(Vec::len).collect();
        let mut dependents = vec![vec![]; self.needs.len()];
        for (step, needs) in self.needs.iter().enumerate() {
            needs.iter().for_each(|need| dependents[*need].push(step));
        }
        let mut ready: Vec<usize> = (0..open.len()).filter(|step| open[*step] == 0).collect();
        while let Some(step) = ready.pop() {
            for next in &dependents[step] {
                ranks[*next] = ranks[*next].max(ranks[step] + 1);
                open[*next] -= 1;
                if open[*next] == 0 {
                    ready.push(*next);
                }
            }
        }
        for (step, open) in open.iter().enumerate() {
            if *open > 0 {
                ranks[step] = 0;
            }
        }
        ranks
    }
}

/// Computes the layout of a graph.
pub fn layout(graph: &Graph) -> Layout {
    let ranks = graph.ranks();
    let mut chart = Chart::new(graph, &ranks);
    chart.order();
    chart.place();
    chart.draw()
}

/// Returns the needs that are not implied by others: an edge covered by a longer path would only add lines.
fn direct_needs(graph: &Graph, ranks: &[usize]) -> Vec<Vec<usize>> {
    let direct = |step: usize| -> Vec<usize> {
        let needs = &graph.needs[step];
        if needs.len() < 2 {
            return needs.clone();
        }
        let lowest = needs.iter().map(|need| ranks[*need]).min().unwrap_or(0);
        let mut covered = std::collections::HashSet::new();
        let mut open: Vec<usize> = needs.iter().flat_map(|need| graph.needs[*need].iter().copied()).collect();
        while let Some(at) = open.pop() {
            if ranks[at] >= lowest && covered.insert(at) {
                open.extend(graph.needs[at].iter().copied());
            }
        }
        needs.iter().copied().filter(|need| !covered.contains(need)).collect()
    };
    (0..graph.needs.len()).map(direct).collect()
}

struct Chart {
    slots: Vec<Slot>,
    layers: Vec<Vec<usize>>,
    /// The layer of each slot.
    layer_of: Vec<usize>,
    /// The neighbours of each slot in the layers above and below.
    above: Vec<Vec<usize>>,
    below: Vec<Vec<usize>>,
    /// The slots that each edge passes, top to bottom.
    chains: Vec<(usize, usize, Vec<usize>)>,
    lines: Vec<(String, String)>,
}

impl Chart {
    fn new(graph: &Graph, ranks: &[usize]) -> Chart {
        let depth = ranks.iter().max().map_or(0, |rank| rank + 1);
        let layers = vec![vec![]; depth];
        let mut chart = Chart { slots: vec![], layers, layer_of: vec![], above: vec![], below: vec![], chains: vec![], lines: vec![] };
        for (index, (id, subject)) in graph.steps.iter().enumerate() {
            let fit = |text: &str| middle(&visible(text), MAX_WIDTH - 4).into_owned();
            let (name, subject) = (fit(id), fit(subject));
            let width = (name.width().max(subject.width()) + 4).clamp(NARROWEST, MAX_WIDTH);
            chart.lines.push((name, subject));
            chart.slot(ranks[index], Slot { step: Some(index), width, x: 0 });
        }
        for (to, needs) in direct_needs(graph, ranks).into_iter().enumerate() {
            for from in needs.into_iter().filter(|from| ranks[*from] < ranks[to]) {
                let mut chain = vec![from];
                for rank in ranks[from] + 1..ranks[to] {
                    chain.push(chart.slot(rank, Slot { step: None, width: 1, x: 0 }));
                }
                chain.push(to);
                for pair in chain.windows(2) {
                    chart.below[pair[0]].push(pair[1]);
                    chart.above[pair[1]].push(pair[0]);
                }
                chart.chains.push((from, to, chain));
            }
        }
        chart
    }

    fn slot(&mut self, rank: usize, slot: Slot) -> usize {
        self.slots.push(slot);
        self.above.push(vec![]);
        self.below.push(vec![]);
        self.layer_of.push(rank);
        self.layers[rank].push(self.slots.len() - 1);
        self.slots.len() - 1
    }

    /// Orders the slots of each layer to reduce crossings.
    fn order(&mut self) {
        let edges: usize = self.below.iter().map(Vec::len).sum();
        let sweeps = if edges > MANY { 1 } else { SWEEPS };
        let mut best = (self.crossings(), self.layers.clone());
        for sweep in 0..sweeps * 2 {
            if best.0 == 0 {
                break;
            }
            let down = sweep % 2 == 0;
            let mut positions = self.positions();
            let count = self.layers.len();
            for step in 1..count {
                let layer = if down { step } else { count - 1 - step };
                let neighbours = if down { &self.above } else { &self.below };
                let mut weighed: Vec<(f64, usize)> = self.layers[layer]
                    .iter()
                    .map(|slot| {
                        let near = &neighbours[*slot];
                        let sum: usize = near.iter().map(|other| positions[*other]).sum();
                        let centre = if near.is_empty() { positions[*slot] as f64 } else { sum as f64 / near.len() as f64 };
                        (centre, *slot)
                    })
                    .collect();
                weighed.sort_by(|a, b| a.0.total_cmp(&b.0));
                self.layers[layer] = weighed.into_iter().map(|(_, slot)| slot).collect();
                for (place, slot) in self.layers[layer].iter().enumerate() {
                    positions[*slot] = place;
                }
            }
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.layers.clone());
            }
        }
        self.layers = best.1;
    }

    fn positions(&self) -> Vec<usize> {
        let mut positions = vec![0; self.slots.len()];
        for layer in &self.layers {
            for (place, slot) in layer.iter().enumerate() {
                positions[*slot] = place;
            }
        }
        positions
    }

    /// Counts crossings with a Fenwick tree.
    fn crossings(&self) -> usize {
        let positions = self.positions();
        let mut crossings = 0;
        for (upper, lower) in self.layers.iter().zip(self.layers.iter().skip(1)) {
            let mut tree = vec![0usize; lower.len() + 1];
            let mut total = 0;
            for slot in upper {
                let mut ends: Vec<usize> = self.below[*slot].iter().map(|other| positions[*other]).collect();
                ends.sort_unstable();
                for end in &ends {
                    let (mut at, mut before) = (end + 1, 0);
                    while at > 0 {
                        before += tree[at];
                        at &= at - 1;
                    }
                    crossings += total - before;
                }
                for end in ends {
                    total += 1;
                    let mut at = end + 1;
                    while at < tree.len() {
                        tree[at] += 1;
                        at += at & at.wrapping_neg();
                    }
                }
            }
        }
        crossings
    }

    /// Assigns a column to every slot: packed from the left, then pulled towards the middle of its neighbours as far
    /// as the order allows.
    fn place(&mut self) {
        for layer in &self.layers {
            let mut x = 0;
            for slot in layer {
                self.slots[*slot].x = x;
                x += self.slots[*slot].width + GAP;
            }
        }
        for pass in 0..4 {
            let down = pass % 2 == 0;
            let count = self.layers.len();
            for step in 0..count {
                let index = if down { step } else { count - 1 - step };
                self.pull(index, down);
            }
        }
        let left = self.slots.iter().map(|slot| slot.x).min().unwrap_or(0);
        for slot in &mut self.slots {
            slot.x -= left;
        }
    }

    /// Moves the slots of a layer towards the middle of their neighbours below (above): each block of slots that
    /// would overlap takes the mean of their targets.
    fn pull(&mut self, layer: usize, down: bool) {
        struct Block {
            /// Sum of the targets for the block's left edge, and their number.
            wish: i64,
            count: i64,
            width: i64,
            slots: Vec<(usize, i64)>,
        }
        let start = |block: &Block| block.wish.div_euclid(block.count).max(0);
        let mut blocks: Vec<Block> = vec![];
        for slot in &self.layers[layer] {
            let neighbours = if down { &self.above[*slot] } else { &self.below[*slot] };
            let own = self.slots[*slot];
            let centre = |slot: &usize| (self.slots[*slot].x + self.slots[*slot].width / 2) as i64;
            let wish = match neighbours.len() as i64 {
                0 => own.x as i64,
                count => neighbours.iter().map(centre).sum::<i64>() / count - (own.width / 2) as i64,
            };
            let mut block = Block { wish, count: 1, width: own.width as i64, slots: vec![(*slot, 0)] };
            while let Some(last) = blocks.pop_if(|last| start(last) + last.width + GAP as i64 > start(&block)) {
                let shift = last.width + GAP as i64;
                let slots = last.slots.into_iter().chain(block.slots.into_iter().map(|(slot, at)| (slot, at + shift))).collect();
                block = Block {
                    wish: last.wish + block.wish - shift * block.count,
                    count: last.count + block.count,
                    width: shift + block.width,
                    slots,
                };
            }
            blocks.push(block);
        }
        for block in &blocks {
            for (slot, at) in &block.slots {
                self.slots[*slot].x = (start(block) + at).max(0) as usize;
            }
        }
    }

    fn centre(&self, slot: usize) -> usize {
        self.slots[slot].x + self.slots[slot].width / 2
    }

    /// Returns the row (from 0) below its layer for the edges of each slot, and the number of rows per layer. Edges
    /// of different slots that would overlap get separate rows.
    fn tracks(&self) -> (Vec<usize>, Vec<usize>) {
        let (mut track_of, mut counts) = (vec![0; self.slots.len()], vec![]);
        for layer in &self.layers {
            let mut spans: Vec<(usize, usize, usize)> = layer
                .iter()
                .filter_map(|slot| {
                    let own = self.centre(*slot);
                    let ends = self.below[*slot].iter().map(|other| self.centre(*other));
                    let (low, high) = ends.fold((own, own), |(low, high), end| (low.min(end), high.max(end)));
                    (low < high).then_some((low, high, *slot))
                })
                .collect();
            spans.sort_unstable();
            let mut ends: Vec<usize> = vec![];
            for (low, high, slot) in spans {
                let track = match ends.iter().position(|end| *end < low) {
                    Some(free) => free,
                    None if ends.len() < TRACKS => {
                        ends.push(0);
                        ends.len() - 1
                    }
                    None => slot % TRACKS,
                };
                ends[track] = ends[track].max(high);
                track_of[slot] = track;
            }
            counts.push(ends.len());
        }
        (track_of, counts)
    }

    /// Assigns corners to the edges and rows to the layers.
    fn draw(mut self) -> Layout {
        let (track_of, counts) = self.tracks();
        let mut rows = vec![0];
        for (layer, count) in counts.iter().enumerate() {
            // Below the boxes: the tracks, then one row above the next boxes.
            rows.push(rows[layer] + HEIGHT + count.max(&1) + 1);
        }
        let node = |(step, (name, subject)): (usize, (String, String))| {
            let slot = self.slots[step];
            Node { step, x: slot.x, y: rows[self.layer_of[step]], width: slot.width, height: HEIGHT, name, subject }
        };
        let boxes: Vec<Node> = std::mem::take(&mut self.lines).into_iter().enumerate().map(node).collect();
        let edge = |(from, to, chain): &(usize, usize, Vec<usize>)| {
            let mut points = vec![(self.centre(*from), rows[self.layer_of[*from]] + HEIGHT)];
            for pair in chain.windows(2) {
                let (x, next) = (self.centre(pair[0]), self.centre(pair[1]));
                if x != next {
                    let row = rows[self.layer_of[pair[0]]] + HEIGHT + track_of[pair[0]];
                    points.extend([(x, row), (next, row)]);
                }
            }
            points.push((self.centre(*to), rows[self.layer_of[*to]].saturating_sub(1)));
            points.dedup();
            Edge { from: *from, to: *to, points }
        };
        let edges: Vec<Edge> = self.chains.iter().map(edge).collect();
        let right = boxes.iter().map(|one| one.x + one.width);
        let width = right.chain(edges.iter().flat_map(|edge| edge.points.iter().map(|point| point.0 + 1))).max().unwrap_or(0);
        let height = boxes.iter().map(|one| one.y + one.height).max().unwrap_or(0);
        let steps = |layer: &Vec<usize>| layer.iter().filter_map(|slot| self.slots[*slot].step).collect();
        Layout { width, height, layers: self.layers.iter().map(steps).collect(), boxes, edges }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    /// Creates a graph in which step `n` needs the given earlier steps.
    fn graph(needs: &[Vec<usize>]) -> Graph {
        let steps = (0..needs.len()).map(|index| (format!("s{index}"), format!("tool_{index}"))).collect();
        Graph { steps, needs: needs.to_vec() }
    }

    fn assert_valid(graph: &Graph, layout: &Layout) {
        let mut taken = HashSet::new();
        for node in &layout.boxes {
            for x in node.x..node.x + node.width {
                for y in node.y..node.y + node.height {
                    assert!(taken.insert((x, y)), "boxes overlap at {x},{y}");
                }
            }
            assert!(node.x + node.width <= layout.width && node.y + node.height <= layout.height);
        }
        for edge in &layout.edges {
            assert!(graph.needs[edge.to].contains(&edge.from));
            assert!(layout.boxes[edge.from].y < layout.boxes[edge.to].y, "edges point down");
            assert_eq!(edge.points[0].1, layout.boxes[edge.from].y + HEIGHT);
            assert_eq!(edge.points[edge.points.len() - 1].1 + 1, layout.boxes[edge.to].y);
            for pair in edge.points.windows(2) {
                let ((x, y), (u, v)) = (pair[0], pair[1]);
                assert!(x == u || y == v, "edges are straight: {:?}", edge.points);
                for cell in (x.min(u)..=x.max(u)).flat_map(|x| (y.min(v)..=y.max(v)).map(move |y| (x, y))) {
                    assert!(!taken.contains(&cell), "an edge runs through a box at {cell:?}");
                }
            }
        }
        let mut steps: Vec<usize> = layout.layers.concat();
        steps.sort_unstable();
        assert_eq!(steps, (0..graph.steps.len()).collect::<Vec<_>>());
    }

    #[test]
    fn a_diamond_has_three_layers() {
        let graph = graph(&[vec![], vec![0], vec![0], vec![1, 2, 0]]);
        let layout = layout(&graph);
        assert_valid(&graph, &layout);
        assert_eq!(layout.layers, [vec![0], vec![1, 2], vec![3]]);
        assert_eq!(layout.edges.len(), 4, "an edge covered by the path over s1 is not drawn");
    }

    #[test]
    fn avoidable_crossings_are_removed() {
        // Two pairs that would cross in file order.
        let graph = graph(&[vec![], vec![], vec![1], vec![0], vec![3], vec![2]]);
        let mut chart = Chart::new(&graph, &graph.ranks());
        assert_eq!(chart.crossings(), 2);
        chart.order();
        assert_eq!(chart.crossings(), 0);
    }

    #[test]
    fn invalid_edges_and_cycles_are_tolerated() {
        let steps = ["a", "b", "c"].map(|id| (id.to_owned(), String::new())).to_vec();
        let layout = layout(&Graph::new(steps, [(0, 1), (1, 0), (7, 1), (2, 2), (0, 2)]));
        assert_eq!(layout.layers.concat().len(), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_graph_has_a_valid_layout(seeds in proptest::collection::vec(proptest::collection::vec(any::<prop::sample::Index>(), 0..4), 1..40)) {
            let needs: Vec<Vec<usize>> = seeds.iter().enumerate().map(|(index, seeds)| {
                let found: std::collections::BTreeSet<usize> = seeds.iter().filter(|_| index > 0).map(|seed| seed.index(index.max(1))).collect();
                found.into_iter().collect()
            }).collect();
            let graph = graph(&needs);
            let layout = layout(&graph);
            assert_valid(&graph, &layout);
            let lines = super::super::export::text(&layout);
            prop_assert_eq!(lines.lines().count(), layout.height);
        }
    }
}
