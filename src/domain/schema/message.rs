//! Messages of violations, in plain words: what is expected, from the schema, and what was given.
//!
//! Used by [`super::Checker`] only. No text of the validator is shown: it names keywords, and says of a union only that nothing
//! matches.

use std::collections::HashMap;

use jsonschema::{
    ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value;

use super::{Rule, TooDear, Violation};
use crate::domain::{plural::counted, workflow::closest_match};

/// Longest quoted value, in characters.
const QUOTED: usize = 60;
/// Most listed values, names and alternatives.
const LISTED: usize = 10;
/// Most unions within unions that are read as one.
const NESTED_UNIONS: usize = 5;
/// Most violations of the nearest alternative that are reported.
const NEAREST: usize = 10;

/// Writes messages for the errors of one schema.
pub struct Messages<'s> {
    /// The compiled schema.
    pub schema: &'s Value,
    /// The original of each translated regular expression.
    pub patterns: &'s HashMap<String, String>,
}

type Alternative<'e> = &'e [ValidationError<'static>];

/// How the value relates to one alternative of a union.
enum Fit<'e> {
    /// Other values are expected: constants, or another type.
    Expects(Vec<String>),
    /// The type fits, and something else is wrong.
    Near(Alternative<'e>),
}

impl Messages<'_> {
    /// Converts an error. Fails if it only reports that a regular expression took too long: the text may match.
    pub fn violation(&self, error: &ValidationError<'_>) -> Result<Violation, TooDear> {
        if matches!(error.kind(), Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. }) {
            return Err(TooDear);
        }
        let path = error.instance_path().to_string();
        let (message, nearest) = match error.kind() {
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => self.union(context, error.instance(), &path)?,
            _ => (self.message(error), vec![]),
        };
        Ok(Violation { path, rule: Rule::of(error.kind()), message, nearest })
    }

    fn message(&self, error: &ValidationError<'_>) -> String {
        let value: &Value = error.instance();
        let got = quoted(value);
        let length = || value.as_str().map_or(0, |text| text.chars().count());
        let size = || value.as_array().map(Vec::len).or_else(|| value.as_object().map(serde_json::Map::len)).unwrap_or(0);
        match error.kind() {
            Kind::Type { kind } => format!("expected {}, got {got}", either(&type_words(kind))),
            Kind::Enum { .. } | Kind::Constant { .. } => format!("expected {}, got {got}", either(&self.values(error))),
            Kind::Required { property } => format!("{} is required", quoted(property)),
            Kind::Minimum { limit } => format!("must be at least {limit}, got {got}"),
            Kind::Maximum { limit } => format!("must be at most {limit}, got {got}"),
            Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}, got {got}"),
            Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}, got {got}"),
            Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}, got {got}"),
            Kind::MinLength { limit } => format!("must have at least {}, has {}", counted(*limit, "character"), length()),
            Kind::MaxLength { limit } => format!("must have at most {}, has {}", counted(*limit, "character"), length()),
            Kind::MinItems { limit } => format!("must have at least {}, has {}", counted(*limit, "item"), size()),
            Kind::MaxItems { limit } => format!("must have at most {}, has {}", counted(*limit, "item"), size()),
            Kind::AdditionalItems { limit } => format!("must have at most {}, has {}", counted(*limit as u64, "item"), size()),
            Kind::MinProperties { limit } => format!("must have at least {}, has {}", counted(*limit, "member"), size()),
            Kind::MaxProperties { limit } => format!("must have at most {}, has {}", counted(*limit, "member"), size()),
            Kind::UniqueItems => "contains the same item more than once".into(),
            Kind::Pattern { pattern } => {
                let pattern = self.patterns.get(pattern).unwrap_or(pattern);
                format!("must match the pattern {}, got {got}", cut(pattern))
            }
            Kind::Format { format } => format!("must be {}, got {got}", format_words(format)),
            Kind::Contains if error.schema_path().as_str().ends_with("/maxContains") => {
                "contains too many items of the kind that the schema limits".into()
            }
            Kind::Contains => "contains too few items of the kind that the schema requires".into(),
            Kind::Not { schema } => match excluded(schema) {
                Some(words) => format!("must not be {words}, got {got}"),
                None => format!("must not be what the schema excludes, got {got}"),
            },
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => self.unknown(error, unexpected),
            Kind::UnevaluatedItems { unexpected } => format!("{} more than the schema allows", counted(unexpected.len() as u64, "item")),
            Kind::PropertyNames { error: inner } => {
                format!("the name {} is not allowed: {}", quoted(inner.instance()), self.message(inner))
            }
            Kind::FalseSchema => "no value is allowed here".into(),
            Kind::OneOfMultipleValid { context } => {
                let valid: Vec<String> = context
                    .iter()
                    .zip(1..)
                    .filter(|(errors, _)| errors.is_empty())
                    .map(|(_, number): (_, usize)| number.to_string())
                    .collect();
                format!("matches {} of {} alternatives, but exactly one is allowed", valid.len().max(2), context.len())
            }
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
                format!("matches none of {}", counted(context.len(), "alternative"))
            }
            Kind::ContentEncoding { content_encoding } => format!("must be encoded as {}", cut(content_encoding)),
            Kind::ContentMediaType { content_media_type } => format!("must be a document of type {}", cut(content_media_type)),
            Kind::FromUtf8 { .. } => "must be encoded UTF-8 text".into(),
            Kind::Custom { keyword, .. } => format!("violates {}", cut(keyword)),
            Kind::Referencing(_) => "violates a part of the schema that cannot be found".into(),
            Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => "takes too long to validate".into(),
        }
    }

    /// Returns the allowed values of `enum` or `const`, with the titles of constants.
    fn values(&self, error: &ValidationError<'_>) -> Vec<String> {
        match error.kind() {
            Kind::Enum { options } => match &**options {
                Value::Array(values) => values.iter().map(quoted).collect(),
                one => vec![quoted(one)],
            },
            Kind::Constant { expected_value } => {
                let title = self.parent(error).and_then(|schema| schema.get("title")).and_then(Value::as_str);
                let value = quoted(expected_value);
                vec![title.map_or_else(|| value.clone(), |title| format!("{value} ({})", cut(title)))]
            }
            _ => vec![],
        }
    }

    /// Returns the subschema that holds the violated keyword, if it is in this document.
    fn parent(&self, error: &ValidationError<'_>) -> Option<&Value> {
        self.schema.pointer(error.schema_path().as_str().rsplit_once('/')?.0)
    }

    fn unknown(&self, error: &ValidationError<'_>, unexpected: &[String]) -> String {
        let names: Vec<String> = unexpected.iter().map(|name| quoted(&Value::from(name.as_str()))).collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        let known = self.parent(error).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
        let near = match unexpected {
            [name] => closest_match(name, known.into_iter().flatten().map(|(known, _)| known.as_str())),
            _ => None,
        };
        if let Some(near) = near {
            return format!("{} is not allowed; did you mean {}?", names[0], quoted(&Value::from(near)));
        }
        let known: Vec<String> = known.into_iter().flatten().map(|(name, _)| cut(name)).collect();
        let allowed = if known.is_empty() { String::new() } else { format!("; allowed: {}", listed(&known, "and")) };
        format!("{} {verb} not allowed{allowed}", listed(&names, "and"))
    }

    /// Explains why a value matches no alternative: the allowed values, or the violations of the nearest alternative.
    fn union(&self, context: &[Vec<ValidationError<'static>>], value: &Value, path: &str) -> Result<(String, Vec<Violation>), TooDear> {
        let mut alternatives: Vec<Alternative<'_>> = vec![];
        flatten(context, path, 0, &mut alternatives);
        let (mut expected, mut near): (Vec<String>, Vec<Alternative<'_>>) = (vec![], vec![]);
        for alternative in alternatives {
            match self.fit(alternative, path) {
                Fit::Expects(words) => expected.extend(words),
                Fit::Near(errors) => near.push(errors),
            }
        }
        let mut seen = std::collections::HashSet::new();
        expected.retain(|word| seen.insert(word.clone()));
        if near.is_empty() {
            let message = if expected.is_empty() {
                format!("matches none of {}", counted(context.len(), "alternative"))
            } else {
                format!("expected {}, got {}", either(&expected), quoted(value))
            };
            return Ok((message, vec![]));
        }
        // Objects are distinguished by a member with constant values (`"kind": {"const": "circle"}`).
        let other_kind = |errors: &Alternative<'_>| errors.iter().any(|error| is_choice(error) && is_member(error, path));
        let (others, same): (Vec<Alternative<'_>>, Vec<Alternative<'_>>) = near.iter().copied().partition(other_kind);
        if same.is_empty()
            && let Some(violation) = self.discriminator(&others, path)
        {
            return Ok((named(&violation, path), vec![violation]));
        }
        let candidates: Vec<Alternative<'_>> = if same.is_empty() { near } else { same };
        let fewest = candidates.iter().map(|errors| errors.len()).min().unwrap_or(0);
        let nearest: Vec<&Alternative<'_>> = candidates.iter().filter(|errors| errors.len() == fewest).collect();
        let alternative = (!expected.is_empty()).then(|| either(&expected));
        if let [only] = nearest.as_slice() {
            let mut violations = only.iter().take(NEAREST).map(|error| self.violation(error)).collect::<Result<Vec<_>, _>>()?;
            if let Some(first) = violations.first_mut().filter(|first| first.path == path) {
                first.message.extend(alternative.iter().map(|expected| format!(", or {expected}")));
            }
            let message = violations.iter().take(3).map(|violation| named(violation, path)).collect::<Vec<_>>().join("; ");
            return Ok((message, violations));
        }
        let mut each: Vec<String> = vec![];
        for errors in nearest {
            let violations = errors.iter().take(3).map(|error| self.violation(error)).collect::<Result<Vec<_>, _>>()?;
            let words = violations.iter().map(|violation| named(violation, path)).collect::<Vec<_>>().join(" and ");
            if !each.contains(&words) {
                each.push(words);
            }
        }
        each.extend(alternative);
        Ok((format!("matches no alternative: {}", either(&each)), vec![]))
    }

    fn fit<'e>(&self, errors: Alternative<'e>, path: &str) -> Fit<'e> {
        let own = || errors.iter().filter(|error| error.instance_path().as_str() == path);
        let values: Vec<String> = own().filter(|error| is_choice(error)).flat_map(|error| self.values(error)).collect();
        if !values.is_empty() {
            return Fit::Expects(values);
        }
        let types = own().find_map(|error| match error.kind() {
            Kind::Type { kind } => Some(type_words(kind)),
            Kind::FalseSchema => Some(vec![]),
            _ => None,
        });
        types.map_or(Fit::Near(errors), Fit::Expects)
    }

    /// Returns the violation of the member that decides between alternatives, if it is the same in all.
    fn discriminator(&self, alternatives: &[Alternative<'_>], path: &str) -> Option<Violation> {
        let choice = |errors: &Alternative<'_>, member: Option<&str>| {
            let fits = |error: &&ValidationError<'static>| member.is_none_or(|member| error.instance_path().as_str() == member);
            errors
                .iter()
                .filter(|error| is_choice(error) && is_member(error, path))
                .find(fits)
                .map(|error| (error.instance_path().as_str().to_owned(), self.values(error), quoted(error.instance())))
        };
        let (member, _, got) = choice(alternatives.first()?, None)?;
        let mut allowed: Vec<String> = vec![];
        for errors in alternatives {
            let (_, values, _) = choice(errors, Some(&member))?;
            allowed.extend(values.into_iter().filter(|value| !allowed.contains(value)).collect::<Vec<_>>());
        }
        let message = format!("expected {}, got {got}", either(&allowed));
        Some(Violation { path: member, rule: Rule::Other, message, nearest: vec![] })
    }
}

/// Collects the alternatives of a union; those of a union in a union count as its own.
fn flatten<'e>(context: &'e [Vec<ValidationError<'static>>], path: &str, depth: usize, out: &mut Vec<Alternative<'e>>) {
    for errors in context {
        match errors.as_slice() {
            [only] if depth < NESTED_UNIONS && only.instance_path().as_str() == path => match only.kind() {
                Kind::AnyOf { context } | Kind::OneOfNotValid { context } => flatten(context, path, depth + 1, out),
                _ => out.push(errors),
            },
            _ => out.push(errors),
        }
    }
}

fn is_choice(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), Kind::Enum { .. } | Kind::Constant { .. })
}

/// Returns whether an error is about a direct member of the value at `path`.
fn is_member(error: &ValidationError<'_>, path: &str) -> bool {
    error.instance_path().as_str().strip_prefix(path).and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| !rest.contains('/'))
}

/// Returns the message of a violation, with its place below `path`.
fn named(violation: &Violation, path: &str) -> String {
    match violation.path.strip_prefix(path).map(|rest| rest.trim_start_matches('/')) {
        Some("") | None => violation.message.clone(),
        Some(rest) => format!("{rest}: {}", violation.message),
    }
}

fn type_words(kind: &TypeKind) -> Vec<String> {
    let word = |name: &str| {
        match name {
            "string" => "a string",
            "integer" => "an integer",
            "number" => "a number",
            "boolean" => "true or false",
            "array" => "a list",
            "object" => "an object",
            other => return other.to_owned(),
        }
        .to_owned()
    };
    match kind {
        TypeKind::Single(one) => vec![word(&one.to_string())],
        TypeKind::Multiple(several) => {
            let mut words: Vec<String> = several.iter().map(|one| word(&one.to_string())).collect();
            words.sort_by_key(|word| word == "null");
            words
        }
    }
}

/// Returns what a `not` excludes, if it is simple.
fn excluded(schema: &Value) -> Option<String> {
    if let Some(value) = schema.get("const") {
        return Some(quoted(value));
    }
    if let Some(Value::Array(values)) = schema.get("enum") {
        return Some(either(&values.iter().map(quoted).collect::<Vec<_>>()));
    }
    let required = schema.get("required").and_then(Value::as_array)?;
    let names: Vec<String> = required.iter().map(quoted).collect();
    (schema.as_object().is_some_and(|fields| fields.len() == 1)).then(|| format!("an object with {}", listed(&names, "and")))
}

fn format_words(format: &str) -> String {
    match format {
        "date" => "a date (YYYY-MM-DD)",
        "time" => "a time (hh:mm:ssZ)",
        "date-time" => "a date and time (YYYY-MM-DDThh:mm:ssZ)",
        "duration" => "a duration (P1DT2H)",
        "email" | "idn-email" => "an email address",
        "hostname" | "idn-hostname" => "a host name",
        "ipv4" => "an IPv4 address",
        "ipv6" => "an IPv6 address",
        "uri" | "iri" => "a URI",
        "uri-reference" | "iri-reference" => "a URI or a path",
        "uuid" => "a UUID",
        "regex" => "a regular expression",
        other => return format!("of the format {}", cut(other)),
    }
    .to_owned()
}

/// Lists words with `or`: all of them up to [`LISTED`], then a count.
fn either(words: &[String]) -> String {
    listed(words, "or")
}

fn listed(words: &[String], conjunction: &str) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] if words.len() <= LISTED => format!("{} {conjunction} {last}", all.join(", ")),
        many => format!("{} {conjunction} {} more", many[..LISTED].join(", "), many.len() - LISTED),
    }
}

/// Returns a value as JSON if it is short.
fn quoted(value: &Value) -> String {
    match value {
        Value::Object(fields) if fields.is_empty() => "{}".into(),
        Value::Object(_) => "an object".into(),
        Value::Array(items) if items.len() > 5 || items.iter().any(|item| item.is_object() || item.is_array()) => "a list".into(),
        Value::String(text) => Value::from(cut(text)).to_string(),
        other => cut(&other.to_string()),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
