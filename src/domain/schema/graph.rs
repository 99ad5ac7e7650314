//! The graph of a schema's subschemas, with its limits.
//!
//! Built by [`super::Checker`] before anything is compiled. All walks are loops with explicit stacks, because the
//! server determines the depth of the schema.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{
    cost::Visits,
    pattern,
    reference::{Index, TooMany, parts},
};

/// Maximum length of a chain of subschemas that apply to one value, by references, `allOf`, `anyOf` and the like.
pub const CHAIN: u32 = 500;
/// Maximum number of subschemas that a validator visits for one value, without its members.
pub const EXPANSIONS: u64 = 100_000;
/// Maximum number of references: compiling them takes quadratic time.
pub const REFERENCES: usize = 3_100;
/// Maximum number of states of regular expressions, with repetitions expanded.
pub const PATTERN_STATES: u64 = 1_000_000;

/// Why a schema is not compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// More than the given number, for the memory that they take.
    #[error("the schema has more than {0} subschemas")]
    Large(usize),
    /// A subschema applies itself to the same value.
    #[error("the schema refers to itself without end")]
    Endless,
    /// More than [`CHAIN`].
    #[error("the schema follows more than {CHAIN} references in a row")]
    Deep,
    /// More than [`EXPANSIONS`].
    #[error("the schema expands to more than {EXPANSIONS} subschemas for one value")]
    Explosive,
    /// More than [`PATTERN_STATES`].
    #[error("the regular expressions of the schema are too large")]
    Patterns,
    /// More than [`REFERENCES`], or fewer with names that take too long to look up.
    #[error("the schema has too many references")]
    References,
}

impl From<TooMany> for Refused {
    fn from(TooMany: TooMany) -> Refused {
        Refused::References
    }
}

/// How a keyword applies a subschema to the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apply {
    /// It must be valid: `allOf`, references, branches of `if`.
    All,
    /// One of several must be valid; if none is, all are visited again for their messages.
    Any,
    /// Exactly one of several must be valid.
    One,
    /// Only its validity matters: `not`, `if`.
    Test,
}

/// A subschema. Numbers refer to other subschemas.
#[derive(Debug, Default)]
pub struct Node {
    /// Subschemas applied to the same value.
    pub in_place: Vec<(u32, Apply)>,
    /// Schemas of members, by name.
    pub properties: HashMap<String, u32>,
    /// Schemas of members whose names match a pattern. Each counts for every member.
    pub patterned: Vec<u32>,
    /// `additionalProperties`, `unevaluatedProperties`.
    pub others: Vec<u32>,
    /// Schemas of the first items.
    pub prefix: Vec<u32>,
    /// `items`, `additionalItems`, `unevaluatedItems`, `contains`: each counts for every item.
    pub items: Vec<u32>,
    /// `propertyNames`.
    pub names: Option<u32>,
    /// Whether `unevaluatedProperties` or `unevaluatedItems` visits all in-place subschemas once more.
    pub unevaluated: bool,
    /// States of the regular expression for a string.
    pub pattern: u64,
    /// States of the regular expressions for member names.
    pub name_patterns: u64,
}

/// The subschemas reachable from the root, and their order of application to one value.
#[derive(Debug)]
pub struct Graph {
    /// The subschemas; the first is the root.
    pub nodes: Vec<Node>,
    /// For each subschema, its position in an order in which each precedes those that it applies in place.
    pub place: Vec<u32>,
    /// For each subschema, the maximum cost of one visit that collects violations, without members.
    pub closure: Vec<u64>,
    /// Length of the longest in-place chain.
    pub chain: u32,
    /// States of all regular expressions.
    pub pattern_states: u64,
    /// Number of regular expressions.
    pub patterns: usize,
    /// Number of references.
    pub references: usize,
}

impl Graph {
    /// Builds the graph of a schema; rejects schemas with more than `most` subschemas and those that a validator could not handle.
    pub fn of(root: &Value, most: usize) -> Result<Graph, Refused> {
        let mut graph = read(root, most)?;
        if graph.pattern_states > PATTERN_STATES {
            return Err(Refused::Patterns);
        }
        let order = graph.order()?;
        graph.limits(&order)?;
        for (place, number) in (0..).zip(order.iter().rev()) {
            graph.place[*number as usize] = place;
        }
        Ok(graph)
    }

    /// Returns the subschemas, each after those that it applies in place.
    fn order(&self) -> Result<Vec<u32>, Refused> {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            Never,
            Open,
            Done,
        }
        let mut seen = vec![Seen::Never; self.nodes.len()];
        let mut order = Vec::with_capacity(self.nodes.len());
        for start in 0..self.nodes.len() as u32 {
            let mut open = vec![(start, 0)];
            while let Some((number, next)) = open.pop() {
                let at = number as usize;
                if next == 0 && seen[at] == Seen::Done {
                    continue;
                }
                seen[at] = Seen::Open;
                match self.nodes[at].in_place.get(next) {
                    Some((inner, _)) => {
                        open.push((number, next + 1));
                        match seen[*inner as usize] {
                            Seen::Never => open.push((*inner, 0)),
                            Seen::Open => return Err(Refused::Endless),
                            Seen::Done => {}
                        }
                    }
                    None => {
                        seen[at] = Seen::Done;
                        order.push(number);
                    }
                }
            }
        }
        Ok(order)
    }

    /// Checks the limits of chains and expansions, from the inside out.
    fn limits(&mut self, order: &[u32]) -> Result<(), Refused> {
        let mut chains = vec![0u32; self.nodes.len()];
        // The cost of one visit of each kind.
        let mut costs = vec![Visits::default(); self.nodes.len()];
        for number in order {
            let node = &self.nodes[*number as usize];
            let inner = node.in_place.iter().map(|(inner, apply)| (costs[*inner as usize], *apply));
            let cost = Visits::cost(node.unevaluated, inner);
            if cost.collect.max(cost.test) > EXPANSIONS {
                return Err(Refused::Explosive);
            }
            let chain = 1 + node.in_place.iter().map(|(inner, _)| chains[*inner as usize]).max().unwrap_or(0);
            if chain > CHAIN {
                return Err(Refused::Deep);
            }
            (chains[*number as usize], costs[*number as usize]) = (chain, cost);
            self.chain = self.chain.max(chain);
        }
        self.closure = costs.iter().map(|cost| cost.collect).collect();
        Ok(())
    }
}

/// Reads every reachable subschema.
fn read(root: &Value, most: usize) -> Result<Graph, Refused> {
    let mut index = Index::of(root);
    let mut numbers = Numbers { known: HashMap::new(), found: vec![] };
    numbers.of(root);
    let mut graph = Graph { nodes: vec![], place: vec![], closure: vec![], chain: 0, pattern_states: 0, patterns: 0, references: 0 };
    while graph.nodes.len() < numbers.found.len() {
        if numbers.found.len() > most {
            return Err(Refused::Large(most));
        }
        let schema = numbers.found[graph.nodes.len()];
        let mut node = Node::default();
        if let Value::Object(fields) = schema {
            read_node(schema, fields, &mut node, &mut numbers, &mut index, &mut graph)?;
        }
        graph.nodes.push(node);
    }
    graph.place = vec![0; graph.nodes.len()];
    Ok(graph)
}

/// Numbers subschemas by address. Nothing is read through an address.
struct Numbers<'a> {
    known: HashMap<*const Value, u32>,
    found: Vec<&'a Value>,
}

impl<'a> Numbers<'a> {
    fn of(&mut self, schema: &'a Value) -> u32 {
        *self.known.entry(schema).or_insert_with(|| {
            self.found.push(schema);
            self.found.len() as u32 - 1
        })
    }

    /// Returns the subschemas in a keyword that holds one schema, or an array or object of schemas.
    fn each(&mut self, value: &'a Value) -> Vec<u32> {
        parts(value).map(|part| self.of(part)).collect()
    }
}

fn read_node<'a>(
    schema: &'a Value,
    fields: &'a Map<String, Value>,
    node: &mut Node,
    numbers: &mut Numbers<'a>,
    index: &mut Index<'a>,
    graph: &mut Graph,
) -> Result<(), Refused> {
    let mut states = |pattern: &str| {
        let own = pattern::cost(pattern);
        (graph.pattern_states, graph.patterns) = (graph.pattern_states.saturating_add(own), graph.patterns + 1);
        own
    };
    for (key, value) in fields {
        let apply = match key.as_str() {
            "anyOf" => Apply::Any,
            "oneOf" => Apply::One,
            "not" | "if" => Apply::Test,
            _ => Apply::All,
        };
        match key.as_str() {
            "$ref" | "$dynamicRef" | "$recursiveRef" => {
                let Some(reference) = value.as_str() else { continue };
                graph.references += 1;
                if graph.references > REFERENCES {
                    return Err(Refused::References);
                }
                for target in index.targets(reference, schema)? {
                    node.in_place.push((numbers.of(target), apply));
                }
            }
            "allOf" | "anyOf" | "oneOf" | "dependentSchemas" | "dependencies" => {
                node.in_place.extend(numbers.each(value).into_iter().map(|inner| (inner, apply)));
            }
            "not" | "if" | "then" | "else" => node.in_place.push((numbers.of(value), apply)),
            "properties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    node.properties.insert(name.clone(), numbers.of(inner));
                }
            }
            "patternProperties" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    node.name_patterns = node.name_patterns.saturating_add(states(name));
                    node.patterned.push(numbers.of(inner));
                }
            }
            "additionalProperties" => node.others.push(numbers.of(value)),
            "unevaluatedProperties" => {
                node.unevaluated = true;
                node.others.push(numbers.of(value));
            }
            "prefixItems" => node.prefix.extend(numbers.each(value)),
            "items" if value.is_array() => node.prefix.extend(numbers.each(value)),
            "items" | "additionalItems" | "contains" => node.items.push(numbers.of(value)),
            "unevaluatedItems" => {
                node.unevaluated = true;
                node.items.push(numbers.of(value));
            }
            "propertyNames" => node.names = Some(numbers.of(value)),
            "pattern" => node.pattern = value.as_str().map_or(0, &mut states),
            _ => {}
        }
    }
    Ok(())
}
