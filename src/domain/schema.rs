//! Validates arguments against a tool's JSON Schema before anything is sent.

mod cost;
mod defect;
mod dialect;
mod graph;
mod message;
#[cfg(test)]
mod message_tests;
pub mod output;
mod pattern;
mod reference;
#[cfg(test)]
mod tests;
mod type_names;

use std::collections::HashMap;

use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::{body::Body, time::size};
pub use defect::{Cause, Defect, DefectKind};
pub(super) use reference::unpercent;
pub use type_names::{JSON_TYPES, meaning};

/// A part of the arguments that violates the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer (RFC 6901) into the arguments; empty for the whole.
    pub path: String,
    /// The violated rule of the schema.
    pub rule: Rule,
    /// The message.
    pub message: String,
    /// The violations of the alternative that comes closest, for [`Rule::Alternatives`]; may be empty.
    pub nearest: Vec<Violation>,
}

impl Violation {
    /// Replaces a union by its nearest alternative.
    fn flat(self) -> Vec<Violation> {
        if self.nearest.is_empty() { vec![self] } else { self.nearest.into_iter().flat_map(Violation::flat).collect() }
    }
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

/// Maximum size of a compiled schema, in bytes.
const SCHEMA_BYTES: usize = 4 << 20;
/// Estimated memory of a JSON value of a schema in bytes: in the schema, in the copy of the validator, and while compiling.
const VALUE_BYTES: usize = 200;
/// Estimated memory of a compiled subschema, in bytes.
const SUBSCHEMA_BYTES: usize = 1_200;
/// Bounds of the memory of one compiled schema, in bytes. Between them, four times the size of the schema.
const MEMORY: (usize, usize) = (12 << 20, 20 << 20);
/// Most reported violations.
const MOST: usize = 50;
/// Maximum nesting depth of a schema.
const NESTED: usize = 200;
/// Maximum number of subschema visits per validation: about a second.
const STEPS: u64 = 5_000_000;
/// The same while the user types: a few milliseconds.
const STEPS_TYPING: u64 = 20_000;
/// Limits for compiling a schema on the render thread: bytes, subschemas, states of regular expressions.
const LIGHT: (usize, usize, u64) = (256 << 10, 5_000, 20_000);
/// Backtracking limit of a regular expression with look-around or backreferences; above it, the text counts as not
/// matching.
const BACKTRACKS: usize = 100_000;
/// Memory limit of all compiled regular expressions of one schema, in bytes.
const PATTERN_BYTES: usize = 64 << 20;

/// A compiled schema.
///
/// The dialect is that of `$schema`, 2020-12 by default (MCP 2025-11-25, SEP-1613), and the keywords of older drafts and of
/// OpenAPI are understood (`dialect`). References to other documents are never fetched. A keyword that cannot be used is left
/// out ([`Checker::defects`]). A schema that does not compile validates nothing and reports why.
///
/// Schemas come from servers, and validation can take exponential time. So the cost is computed first: a schema that would take
/// too much memory, or with too long a chain of references or too many expansions, is not compiled (`graph`). The cost of
/// a validation also depends on the value and is computed before each one (`cost`).
pub struct Checker {
    compiled: Option<Compiled>,
    /// Whether the schema was skipped as too large to compile on the render thread.
    heavy: bool,
    /// Why the schema cannot be used, if so.
    pub problem: Option<String>,
    /// The parts of the schema that are not checked as they are written.
    pub defects: Vec<Defect>,
    /// What the compiler rejected, without the words around it in `problem`.
    rejection: Option<String>,
    weight: usize,
}

struct Compiled {
    validator: jsonschema::Validator,
    graph: graph::Graph,
    /// The schema, for messages.
    schema: Value,
    /// The original of each translated regular expression.
    patterns: HashMap<String, String>,
}

/// The validation would take too many steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("validating them would take too long")]
pub struct TooDear;

/// How much time compiling a schema may take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effort {
    Quick,
    Full,
}

impl Checker {
    /// Compiles `schema`.
    pub fn new(schema: &Body) -> Checker {
        Checker::compile(schema, Effort::Full)
    }

    /// Compiles `schema` only if that is fast, for the render thread. Otherwise the schema is not used
    /// ([`Checker::heavy`]).
    pub fn quick(schema: &Body) -> Checker {
        Checker::compile(schema, Effort::Quick)
    }

    fn refused(problem: String) -> Checker {
        Checker { compiled: None, heavy: false, problem: Some(problem), defects: vec![], rejection: None, weight: 0 }
    }

    fn compile(schema: &Body, effort: Effort) -> Checker {
        let refused = Checker::refused;
        let heavy = || Checker { heavy: true, problem: None, ..refused(String::new()) };
        if schema.len() > SCHEMA_BYTES {
            return refused(format!("the schema is larger than {}", size(SCHEMA_BYTES as u64)));
        }
        if effort == Effort::Quick && schema.len() > LIGHT.0 {
            return heavy();
        }
        let memory = memory(schema.len());
        let values = values(schema.text().as_bytes());
        if values > memory / VALUE_BYTES {
            return refused(format!("the schema has more than {} values", memory / VALUE_BYTES));
        }
        let value = match schema.parse::<Value>() {
            Ok(value) => value,
            Err(error) => {
                let error = super::json::Json::parse(&schema.text()).map_or_else(|syntax| syntax.to_string(), |_| error.to_string());
                return refused(format!("the schema is not JSON: {error}"));
            }
        };
        if depth(&value, 0) > NESTED {
            return refused(format!("the schema is nested more than {NESTED} deep"));
        }
        let (states, patterns) = pattern_states(&value);
        if states > graph::PATTERN_STATES {
            return refused(graph::Refused::Patterns.to_string());
        }
        if effort == Effort::Quick && states > LIGHT.2 {
            return heavy();
        }
        let each = (PATTERN_BYTES / patterns.max(1)).clamp(32 << 10, 8 << 20);
        let options = jsonschema::PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS).size_limit(each).dfa_size_limit(each / 4);
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).with_pattern_options(options);
        let compiles = |pattern: &str| options.build(&serde_json::json!({ "pattern": pattern })).is_ok();
        let dialect::Prepared { schema, defects, patterns, formats } = dialect::prepare(value, &compiles);
        let graph = match graph::Graph::of(&schema, (memory - values * VALUE_BYTES) / SUBSCHEMA_BYTES) {
            Ok(graph) => graph,
            Err(why) => return Checker { defects, ..refused(why.to_string()) },
        };
        if effort == Effort::Quick && graph.nodes.len() > LIGHT.1 {
            return heavy();
        }
        let weight = values * VALUE_BYTES + graph.nodes.len() * SUBSCHEMA_BYTES;
        match options.should_validate_formats(formats).build(&schema) {
            Ok(validator) => {
                let compiled = Some(Compiled { validator, graph, schema, patterns });
                Checker { compiled, heavy: false, problem: None, defects, rejection: None, weight }
            }
            Err(error) => {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() { "a part of it".to_owned() } else { place };
                let rejection = format!("{} is not valid", shorten(&place));
                Checker { rejection: Some(rejection.clone()), defects, ..refused(format!("the schema cannot be used: {rejection}")) }
            }
        }
    }

    /// Returns why the schema cannot be used as it is written, for a message that names the schema itself.
    pub fn reason(&self) -> Option<String> {
        let problem = self.rejection.as_ref().or(self.problem.as_ref()).cloned();
        problem.or_else(|| self.defects.first().map(Defect::fault))
    }

    /// Returns what is not checked as the schema is written, for a warning: each is one line.
    pub fn warnings(&self) -> Vec<String> {
        self.problem.iter().cloned().chain(self.defects.iter().map(Defect::to_string)).collect()
    }

    /// Returns why the schema, or the first part of it, is not checked.
    pub fn unchecked(&self) -> Option<String> {
        let ignored = || self.defects.iter().find(|defect| matches!(defect.kind, DefectKind::Ignored(_))).map(Defect::fault);
        self.problem.clone().or_else(ignored)
    }

    /// Returns the estimated memory of the compiled schema, in bytes.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Returns whether the schema is too large for [`Checker::quick`].
    pub fn heavy(&self) -> bool {
        self.heavy
    }

    /// Returns the violations of `instance`, at most 50; none if the validation would take too long
    /// ([`Checker::judge`] reports that).
    pub fn check(&self, instance: &Value) -> Vec<Violation> {
        self.judge(instance).unwrap_or_default()
    }

    /// Returns the violations of `instance`, at most 50, within `STEPS`. May take a second. A union is represented by its
    /// nearest alternative.
    pub fn judge(&self, instance: &Value) -> Result<Vec<Violation>, TooDear> {
        Ok(self.within(instance, STEPS)?.into_iter().flat_map(Violation::flat).take(MOST).collect())
    }

    /// Returns the violations of `instance`, at most 50, if that takes only a few milliseconds.
    pub fn glance(&self, instance: &Value) -> Result<Vec<Violation>, TooDear> {
        Ok(self.glance_unions(instance)?.into_iter().flat_map(Violation::flat).take(MOST).collect())
    }

    /// Returns the same as [`Checker::glance`], with one violation for each union: a form knows which alternative the user chose.
    pub fn glance_unions(&self, instance: &Value) -> Result<Vec<Violation>, TooDear> {
        self.within(instance, STEPS_TYPING)
    }

    fn within(&self, instance: &Value, steps: u64) -> Result<Vec<Violation>, TooDear> {
        let Some(Compiled { validator, graph, schema, patterns }) = &self.compiled else {
            return if self.heavy { Err(TooDear) } else { Ok(vec![]) };
        };
        if cost::exceeds(graph, instance, steps) {
            return Err(TooDear);
        }
        // Most arguments are valid, and deciding that needs no errors.
        if validator.is_valid(instance) {
            return Ok(vec![]);
        }
        let messages = message::Messages { schema, patterns };
        validator.iter_errors(instance).take(MOST).map(|error| messages.violation(&error)).collect()
    }
}

/// Returns a schema in 2020-12, for reading types and properties; `null` if it is too large or not JSON.
pub fn readable(schema: &Body) -> Value {
    let large = schema.len() > SCHEMA_BYTES || values(schema.text().as_bytes()) > memory(schema.len()) / VALUE_BYTES;
    let value = if large { None } else { schema.value() };
    match value {
        Some(value) if depth(&value, 0) <= NESTED => dialect::prepare(value, &|_| true).schema,
        _ => Value::Null,
    }
}

/// Returns whether a name matches a regular expression of a schema.
pub fn matches(pattern: &str, name: &str) -> bool {
    if pattern::cost(pattern) > LIGHT.2 {
        return false;
    }
    let schema = serde_json::json!({ "pattern": pattern });
    jsonschema::options().build(&schema).is_ok_and(|fits| fits.is_valid(&Value::from(name)))
}

/// Returns how much memory a compiled schema of this size may take, in bytes.
fn memory(length: usize) -> usize {
    length.saturating_mul(4).clamp(MEMORY.0, MEMORY.1)
}

/// Returns the number of JSON values and names in a text, without parsing it: a parsed schema takes many times its size.
fn values(text: &[u8]) -> usize {
    let (mut count, mut at) = (0, 0);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(found) = memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()) {
                    at += found;
                    if text[at] == b'"' {
                        break;
                    }
                    at += 2;
                }
            }
            b',' | b'{' | b'[' => count += 1,
            _ => {}
        }
        at += 1;
    }
    count
}

/// Returns the states and the number of all regular expressions of a schema of limited depth.
fn pattern_states(value: &Value) -> (u64, usize) {
    let own = value.get("pattern").and_then(Value::as_str).into_iter();
    let named = value.get("patternProperties").and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.as_str());
    let own = own.chain(named).fold((0u64, 0), |sum, pattern| (sum.0.saturating_add(pattern::cost(pattern)), sum.1 + 1));
    reference::parts(value).map(pattern_states).fold(own, |sum, part| (sum.0.saturating_add(part.0), sum.1 + part.1))
}

/// Cuts the text to 200 characters: a validator quotes what it does not understand.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Returns the nesting depth of a value, at most one more than [`NESTED`].
fn depth(value: &Value, level: usize) -> usize {
    if level > NESTED {
        return level;
    }
    reference::parts(value).map(|part| depth(part, level + 1)).max().unwrap_or(level)
}
