//! Computes the cost of validating one value against a schema.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::graph::{Apply, Graph, Node};

/// Maximum depth of the validator in value and schema together: each level takes about a kilobyte of stack.
const DEPTH: u32 = 640;
/// Maximum number of counted pairs of value and subschema, to bound the computation itself.
const PAIRS: usize = 2_000_000;

/// Number of visits of a subschema for one value, by kind; as a cost, the visits that one visit of each kind leads
/// to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visits {
    /// Visits that collect violations.
    pub collect: u64,
    /// Visits that only test validity.
    pub test: u64,
    /// Visits that determine evaluated members, for `unevaluatedProperties`.
    pub mark: u64,
}

impl Visits {
    const FIRST: Visits = Visits { collect: 1, test: 0, mark: 0 };

    fn total(self) -> u64 {
        self.collect.saturating_add(self.test).saturating_add(self.mark)
    }

    fn plus(self, more: Visits) -> Visits {
        Visits {
            collect: self.collect.saturating_add(more.collect),
            test: self.test.saturating_add(more.test),
            mark: self.mark.saturating_add(more.mark),
        }
    }

    /// Returns the cost of a subschema, from the costs of the subschemas that it applies in place.
    pub fn cost(unevaluated: bool, inner: impl Iterator<Item = (Visits, Apply)>) -> Visits {
        let mut cost = Visits { collect: 1, test: 1, mark: 1 };
        for (inner, apply) in inner {
            let marking = inner.mark.saturating_add(inner.test);
            let repeated = if unevaluated { marking } else { 0 };
            let collect = match apply {
                Apply::All => inner.collect,
                Apply::Any => inner.collect.saturating_add(inner.test),
                Apply::One => inner.collect.saturating_add(inner.test.saturating_mul(2)),
                Apply::Test => inner.test,
            };
            cost =
                cost.plus(Visits { collect: collect.saturating_add(repeated), test: inner.test.saturating_add(repeated), mark: marking });
        }
        cost
    }

    /// Returns the visits of a subschema that `node` applies in place, if `node` is visited this often.
    fn in_place(self, node: &Node, apply: Apply) -> Visits {
        let mark = if node.unevaluated { self.total() } else { self.mark };
        let test = self.test.saturating_add(mark);
        match apply {
            Apply::All => Visits { collect: self.collect, test, mark },
            Apply::Any => Visits { collect: self.collect, test: test.saturating_add(self.collect), mark },
            Apply::One => Visits { collect: self.collect, test: test.saturating_add(self.collect.saturating_mul(2)), mark },
            Apply::Test => Visits { collect: 0, test: test.saturating_add(self.collect), mark },
        }
    }
}

/// A subschema to be visited for a value: number of visits, and depth of the validator.
type Visited = (u32, Visits, u32);

/// Returns whether validating `instance` takes more than `steps` visits, or too much stack.
pub fn exceeds(graph: &Graph, instance: &Value, steps: u64) -> bool {
    let (mut spent, mut pairs) = (0u64, 0usize);
    let mut open: Vec<(&Value, Vec<Visited>)> = vec![(instance, vec![(0, Visits::FIRST, 1)])];
    while let Some((value, given)) = open.pop() {
        // In an order in which each subschema precedes those that it applies in place.
        let mut waiting: BTreeMap<u32, Visited> = BTreeMap::new();
        let wait = |waiting: &mut BTreeMap<u32, Visited>, (number, visits, depth): Visited| {
            let entry = waiting.entry(graph.place[number as usize]).or_insert((number, Visits::default(), 0));
            *entry = (number, entry.1.plus(visits), entry.2.max(depth));
        };
        given.into_iter().for_each(|visited| wait(&mut waiting, visited));
        let mut inner: HashMap<usize, Vec<Visited>> = HashMap::new();
        while let Some((_, (number, visits, depth))) = waiting.pop_first() {
            let node = &graph.nodes[number as usize];
            spent = spent.saturating_add(visits.total().saturating_mul(weight(graph, node, value)));
            pairs += 1;
            if spent > steps || pairs > PAIRS || depth > DEPTH {
                return true;
            }
            for (number, apply) in &node.in_place {
                wait(&mut waiting, (*number, visits.in_place(node, *apply), depth + 1));
            }
            // Members are visited to validate them, not to mark them.
            let visits = Visits { mark: 0, ..visits };
            for_members(node, value, |member, number| {
                inner.entry(member).or_default().push((number, visits, depth + 1));
                pairs += 1;
                pairs <= PAIRS
            });
        }
        match value {
            Value::Object(fields) => open.extend(fields.values().enumerate().filter_map(|(at, value)| Some((value, inner.remove(&at)?)))),
            Value::Array(items) => open.extend(items.iter().enumerate().filter_map(|(at, value)| Some((value, inner.remove(&at)?)))),
            _ => {}
        }
    }
    false
}

/// Calls `visit` for the members of `value` that `node` has schemas for, until it returns false.
fn for_members(node: &Node, value: &Value, mut visit: impl FnMut(usize, u32) -> bool) {
    match value {
        Value::Object(fields) => {
            if node.properties.is_empty() && node.patterned.is_empty() && node.others.is_empty() {
                return;
            }
            for (member, name) in fields.keys().enumerate() {
                let own = node.properties.get(name);
                let others = node.others.iter().filter(|_| own.is_none());
                if !own.into_iter().chain(&node.patterned).chain(others).all(|number| visit(member, *number)) {
                    return;
                }
            }
        }
        Value::Array(items) => {
            for member in 0..items.len().min(if node.items.is_empty() { node.prefix.len() } else { usize::MAX }) {
                if !node.prefix.get(member).into_iter().chain(&node.items).all(|number| visit(member, *number)) {
                    return;
                }
            }
        }
        _ => {}
    }
}

/// Returns the cost of one visit of a subschema, in visits of a plain one.
fn weight(graph: &Graph, node: &Node, value: &Value) -> u64 {
    let matching = |states: u64, length: usize| if states == 0 { 0 } else { 1 + states.saturating_mul(length as u64 + 1) / 1_000 };
    match value {
        Value::String(text) => 1 + matching(node.pattern, text.len()),
        Value::Object(fields) if node.names.is_some() || node.name_patterns > 0 => {
            let named = node.names.map_or(0, |names| graph.closure[names as usize]);
            let names = node.names.map_or(0, |names| graph.nodes[names as usize].pattern);
            let each = |name: &String| named + matching(names, name.len()) + matching(node.name_patterns, name.len());
            fields.keys().map(each).fold(1, u64::saturating_add)
        }
        _ => 1,
    }
}
