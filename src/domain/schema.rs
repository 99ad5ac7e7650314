//! Validates arguments against a tool's JSON Schema before anything is sent.

mod cost;
mod graph;
mod pattern;
mod reference;
#[cfg(test)]
mod tests;

use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::{body::Body, time::size};

/// A part of the arguments that violates the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer (RFC 6901) into the arguments; empty for the whole.
    pub path: String,
    /// The violated rule of the schema.
    pub rule: Rule,
    /// The message.
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

/// Maximum size of a compiled schema, in bytes.
const SCHEMA_BYTES: usize = 4 << 20;
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
/// The dialect is that of `$schema`, 2020-12 by default (MCP 2025-11-25, SEP-1613). References to other documents are
/// never fetched. A schema that does not compile validates nothing and reports why.
///
/// Schemas come from servers, and validation can take exponential time. So the cost is computed first: a schema with
/// too many subschemas, too long a chain of references or too many expansions is not compiled (`graph`). The cost of
/// a validation also depends on the value and is computed before each one (`cost`).
pub struct Checker {
    compiled: Option<(jsonschema::Validator, graph::Graph)>,
    /// Whether the schema was skipped as too large to compile on the render thread.
    heavy: bool,
    /// Why the schema cannot be used, if so.
    pub problem: Option<String>,
    /// What the compiler rejected, without the words around it in `problem`.
    rejection: Option<String>,
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

    fn compile(schema: &Body, effort: Effort) -> Checker {
        let refused = |problem: String| Checker { compiled: None, heavy: false, problem: Some(problem), rejection: None };
        let heavy = || Checker { compiled: None, heavy: true, problem: None, rejection: None };
        if schema.len() > SCHEMA_BYTES {
            return refused(format!("the schema is larger than {}", size(SCHEMA_BYTES as u64)));
        }
        if effort == Effort::Quick && schema.len() > LIGHT.0 {
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
        if effort == Effort::Quick && (graph.nodes.len() > LIGHT.1 || graph.pattern_states > LIGHT.2) {
            return heavy();
        }
        let each = (PATTERN_BYTES / graph.patterns.max(1)).clamp(32 << 10, 8 << 20);
        let patterns = jsonschema::PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS).size_limit(each).dfa_size_limit(each / 4);
        match jsonschema::options().with_pattern_options(patterns).build(&value) {
            Ok(validator) => Checker { compiled: Some((validator, graph)), heavy: false, problem: None, rejection: None },
            Err(error) => {
                let rejection = rejection(&error, &value);
                Checker { rejection: Some(rejection.clone()), ..refused(format!("the schema cannot be used: {rejection}")) }
            }
        }
    }

    /// Returns why the schema cannot be used, for a message that names the schema itself.
    pub fn reason(&self) -> Option<&str> {
        self.rejection.as_deref().or(self.problem.as_deref())
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

    /// Returns the violations of `instance`, at most 50, within `STEPS`. May take a second.
    pub fn judge(&self, instance: &Value) -> Result<Vec<Violation>, TooDear> {
        self.within(instance, STEPS)
    }

    /// Returns the violations of `instance`, at most 50, if that takes only a few milliseconds.
    pub fn glance(&self, instance: &Value) -> Result<Vec<Violation>, TooDear> {
        self.within(instance, STEPS_TYPING)
    }

    fn within(&self, instance: &Value, steps: u64) -> Result<Vec<Violation>, TooDear> {
        let Some((validator, graph)) = &self.compiled else { return if self.heavy { Err(TooDear) } else { Ok(vec![]) } };
        if cost::exceeds(graph, instance, steps) {
            return Err(TooDear);
        }
        let violation = |error: jsonschema::ValidationError<'_>| match error.kind() {
            // It is unknown whether the text matches.
            ValidationErrorKind::BacktrackLimitExceeded { .. } | ValidationErrorKind::RegexEngineFailure { .. } => Err(TooDear),
            _ => Ok(Violation { path: error.instance_path().to_string(), rule: Rule::of(error.kind()), message: error.to_string() }),
        };
        validator.iter_errors(instance).take(50).map(violation).collect()
    }
}

/// Cuts the text to 200 characters: a validator quotes what it does not understand.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Returns why a schema does not compile. Of several references to other documents the compiler reports an arbitrary one,
/// so that this names the first in the document.
fn rejection(error: &jsonschema::ValidationError<'_>, schema: &Value) -> String {
    let outside = match error.kind() {
        ValidationErrorKind::Referencing(_) => foreign_reference(schema),
        _ => None,
    };
    match outside {
        Some(reference) => {
            format!("$ref {:?} is not defined in it, and references to other documents are not followed", shorten(reference))
        }
        None => shorten(&error.to_string()),
    }
}

/// Returns the first `$ref` of a schema that is not a reference to a part of it. The depth of `value` is limited ([`NESTED`]).
fn foreign_reference(value: &Value) -> Option<&str> {
    let own = value.get("$ref").and_then(Value::as_str).filter(|reference| !reference.starts_with('#'));
    own.or_else(|| reference::parts(value).find_map(foreign_reference))
}

/// Returns the nesting depth of a value, at most one more than [`NESTED`].
fn depth(value: &Value, level: usize) -> usize {
    if level > NESTED {
        return level;
    }
    reference::parts(value).map(|part| depth(part, level + 1)).max().unwrap_or(level)
}
