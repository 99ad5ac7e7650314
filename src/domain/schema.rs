//! Checks arguments against a tool's JSON Schema before anything is sent.

mod cost;
mod graph;
mod pattern;
mod reference;
#[cfg(test)]
mod tests;

use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::{body::Body, time::size};

/// One place where arguments do not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer (RFC 6901) into the arguments; empty for the whole.
    pub path: String,
    /// Which rule of the schema does not hold.
    pub rule: Rule,
    /// What is wrong there.
    pub message: String,
}

/// A rule of a schema, as far as forms tell rules apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `anyOf` or `oneOf`.
    Alternatives,
    /// `required`; names the member that is missing.
    Required(String),
    /// Any other.
    Other,
}

impl Rule {
    fn of(kind: &ValidationErrorKind) -> Rule {
        match kind {
            ValidationErrorKind::AnyOf { .. }
            | ValidationErrorKind::OneOfNotValid { .. }
            | ValidationErrorKind::OneOfMultipleValid { .. } => Rule::Alternatives,
            ValidationErrorKind::Required { property } => Rule::Required(property.as_str().unwrap_or_default().to_owned()),
            _ => Rule::Other,
        }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// The largest schema that is compiled, in bytes.
const SCHEMA_BYTES: usize = 4 << 20;
/// How deep a schema may be nested.
const NESTED: usize = 200;
/// The most visits of subschemas that checking one value may take: about a second.
const STEPS: u64 = 5_000_000;
/// The same while a person types: a few milliseconds.
const STEPS_TYPING: u64 = 20_000;
/// Schemas up to these limits are compiled while the screen waits: bytes, subschemas, states of regular expressions.
const LIGHT: (usize, usize, u64) = (256 << 10, 5_000, 20_000);
/// How often a regular expression that looks around or refers back may go back before it counts as not matching.
const BACKTRACKS: usize = 100_000;
/// The memory of all compiled regular expressions of one schema, in bytes.
const PATTERN_BYTES: usize = 64 << 20;

/// A compiled schema.
///
/// Dialect by `$schema`, 2020-12 without one (MCP 2025-11-25, SEP-1613). References to other
/// documents are never fetched. A schema that does not compile checks nothing and says why.
///
/// A schema comes from a server, and what a validator does with it can take exponential time. So it is counted first
/// (`graph`): what has too many subschemas, too long a chain of references or too many expansions is not compiled. What
/// checking takes depends on the value too, and is counted before each check (`cost`).
pub struct Checker {
    compiled: Option<(jsonschema::Validator, graph::Graph)>,
    /// Whether the schema was set aside as too large to be compiled while the screen waits.
    heavy: bool,
    /// Why the schema cannot be used, if it cannot.
    pub problem: Option<String>,
}

/// Checking the value would take too many steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("checking them would take too long")]
pub struct TooDear;

impl Checker {
    /// Compiles `schema`.
    pub fn new(schema: &Body) -> Checker {
        Checker::compile(schema, false)
    }

    /// Compiles `schema` if that is quick: for threads that draw. What is not is not used ([`Checker::heavy`]).
    pub fn quick(schema: &Body) -> Checker {
        Checker::compile(schema, true)
    }

    fn compile(schema: &Body, quick: bool) -> Checker {
        let refused = |problem: String| Checker { compiled: None, heavy: false, problem: Some(problem) };
        let heavy = || Checker { compiled: None, heavy: true, problem: None };
        if schema.len() > SCHEMA_BYTES {
            return refused(format!("the schema is larger than {}", size(SCHEMA_BYTES as u64)));
        }
        if quick && schema.len() > LIGHT.0 {
            return heavy();
        }
        let value = match schema.parse::<Value>() {
            Ok(value) => value,
            Err(error) => return refused(format!("the schema is not JSON: {error}")),
        };
        if depth(&value, 0) > NESTED {
            return refused(format!("the schema is nested more than {NESTED} deep"));
        }
        let graph = match graph::Graph::of(&value) {
            Ok(graph) => graph,
            Err(why) => return refused(why.to_string()),
        };
        if quick && (graph.nodes.len() > LIGHT.1 || graph.pattern_states > LIGHT.2) {
            return heavy();
        }
        let each = (PATTERN_BYTES / graph.patterns.max(1)).clamp(32 << 10, 8 << 20);
        let patterns = jsonschema::PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS).size_limit(each).dfa_size_limit(each / 4);
        match jsonschema::options().with_pattern_options(patterns).build(&value) {
            Ok(validator) => Checker { compiled: Some((validator, graph)), heavy: false, problem: None },
            Err(error) => refused(format!("the schema cannot be used: {}", shorten(&error.to_string()))),
        }
    }

    /// Whether the schema is too large for [`Checker::quick`].
    pub fn heavy(&self) -> bool {
        self.heavy
    }

    /// Every violation of `instance`, at most 50. None where that would take too long ([`Checker::judge`] says so).
    pub fn check(&self, instance: &Value) -> Vec<Violation> {
        self.judge(instance).unwrap_or_default()
    }

    /// Every violation of `instance`, at most 50, within some `STEPS`. May take a second.
    pub fn judge(&self, instance: &Value) -> Result<Vec<Violation>, TooDear> {
        self.within(instance, STEPS)
    }

    /// Every violation of `instance`, at most 50, if they are found within a few milliseconds.
    pub fn glance(&self, instance: &Value) -> Result<Vec<Violation>, TooDear> {
        self.within(instance, STEPS_TYPING)
    }

    fn within(&self, instance: &Value, steps: u64) -> Result<Vec<Violation>, TooDear> {
        let Some((validator, graph)) = &self.compiled else { return if self.heavy { Err(TooDear) } else { Ok(vec![]) } };
        if cost::exceeds(graph, instance, steps) {
            return Err(TooDear);
        }
        let violation = |error: jsonschema::ValidationError<'_>| match error.kind() {
            // It was not found out whether the text matches.
            ValidationErrorKind::BacktrackLimitExceeded { .. } | ValidationErrorKind::RegexEngineFailure { .. } => Err(TooDear),
            _ => Ok(Violation { path: error.instance_path().to_string(), rule: Rule::of(error.kind()), message: error.to_string() }),
        };
        validator.iter_errors(instance).take(50).map(violation).collect()
    }
}

/// The text up to 200 characters: a validator quotes what it does not understand.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// How deep a value is nested; more than [`NESTED`] counts as one more than that.
fn depth(value: &Value, level: usize) -> usize {
    if level > NESTED {
        return level;
    }
    reference::parts(value).map(|part| depth(part, level + 1)).max().unwrap_or(level)
}
