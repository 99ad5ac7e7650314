//! Checks a plan against the tools, prompts and resources in the servers' current catalogs.

mod reads;
#[cfg(test)]
mod tests;
mod types;

use std::collections::HashMap;

use serde_json::{Map, Value};

pub use self::reads::Listed;
use self::types::{Missing, MissingMember, Outputs, Types};
use super::{
    closest_match,
    expression::{Expr, Template},
    parse::{Source, resolve::expressions},
    plan::{Action, Count, Fallback, Plan, PlanStep, ToolCall},
    problem::Problem,
    source::Page,
};
use crate::domain::{body::Body, document::Node, schema::Checker};

/// The facts about a tool.
#[derive(Clone, Debug)]
pub struct ToolFacts {
    /// Its `inputSchema`.
    pub schema: Body,
    /// Its `outputSchema`, if any.
    pub output: Option<Body>,
    /// Whether a trusted server declares the tool safe to retry: read-only or idempotent.
    pub repeatable: bool,
    /// Whether a trusted server declares that the tool changes nothing.
    pub reads_only: bool,
}

/// The result of looking up an exposed name.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The tool exists.
    Found(ToolFacts),
    /// No server lists the tool.
    Unknown {
        /// Known names, for a suggestion.
        names: Vec<String>,
    },
    /// The configuration of the server filters the tool, so that it cannot be called.
    Filtered {
        /// The server or group.
        server: String,
    },
    /// The lists of a server that may offer the tool are not known yet.
    Unread,
}

/// The servers' current catalogs.
pub trait Offered {
    /// Looks up the tool with this exposed name.
    fn tool(&self, name: &str) -> Lookup;
    /// Returns the prompts and resources of the server with this key in the configuration.
    fn lists(&self, server: &str) -> Listed;
}

/// A catalog of tools only.
impl<F: Fn(&str) -> Lookup> Offered for F {
    fn tool(&self, name: &str) -> Lookup {
        self(name)
    }

    fn lists(&self, _: &str) -> Listed {
        Listed::Unread
    }
}

/// Returns everything in `plan` and its nested workflows that does not match the catalogs: unknown tools, prompts and
/// arguments, missing arguments, values of the wrong type, retries of calls that are not safe to repeat.
pub fn check_against(plan: &Plan, offered: &dyn Offered) -> Vec<Problem> {
    let mut known = HashMap::new();
    let mut problems = check_one(plan, offered, &mut known);
    for child in plan.children() {
        problems.extend(check_one(&child, offered, &mut known));
    }
    problems
}

fn check_one(plan: &Plan, offered: &dyn Offered, known: &mut HashMap<String, (Lookup, Value)>) -> Vec<Problem> {
    let mut found: Vec<Found<'_>> = vec![];
    let outputs = |tool: &str| match offered.tool(tool) {
        Lookup::Found(facts) => facts.output,
        _ => None,
    };
    for (index, step) in plan.steps.iter().enumerate() {
        let types = Types::new(plan, step, &outputs);
        let mismatches = match &step.action {
            Action::Prompt { server, name, arguments } => reads::prompt(&offered.lists(server), server, name, arguments),
            Action::Resource { server, uri } => reads::resource(&offered.lists(server), server, uri).into_iter().collect(),
            _ => vec![],
        };
        found.extend(mismatches.into_iter().map(|(path, message, hint)| Found { index, id: &step.id, path, message, hint }));
        for (call, path) in calls(step) {
            let (answer, schema) = known.entry(call.tool.to_string()).or_insert_with(|| {
                let found = offered.tool(&call.tool);
                let schema = match &found {
                    Lookup::Found(facts) => facts.schema.parse().unwrap_or_default(),
                    _ => Value::Null,
                };
                (found, schema)
            });
            let mut add = |inner: &[&str], more: &[String], message: String, hint: Option<String>| {
                let path = path.iter().chain(inner).map(|key| (*key).to_owned()).chain(more.iter().cloned()).collect();
                found.push(Found { index, id: &step.id, path, message, hint });
            };
            match answer {
                Lookup::Unread => {}
                Lookup::Filtered { server } => {
                    let hint = "change `enabled_tools` or `disabled_tools` of the server".to_owned();
                    add(&["tool"], &[], format!("the configuration of {server} filters the tool `{}`", call.tool), Some(hint));
                }
                Lookup::Unknown { names } => {
                    let hint = match near_tool(&call.tool, names) {
                        Some(candidate) => format!("did you mean `{candidate}`?"),
                        None => "`switchboard tools` lists the available tools".to_owned(),
                    };
                    add(&["tool"], &[], format!("no server offers the tool `{}`", call.tool), Some(hint));
                }
                Lookup::Found(facts) => {
                    for misfit in check_typed_arguments(&call.arguments, schema, &|expr| types.types_of(expr)) {
                        add(&["arguments"], &misfit.path, misfit.message, misfit.hint);
                    }
                    let undo = step.compensate.as_ref().filter(|_| path == ["compensate"] && !facts.repeatable);
                    if undo.is_some_and(|undo| !undo.idempotent && undo.retry.as_ref().is_some_and(|retry| retry.attempts > 1)) {
                        let hint = "if undoing twice is safe, set idempotent = true in `compensate`".to_owned();
                        add(&["retry"], &[], format!("`{}` is not declared safe to retry", call.tool), Some(hint));
                    }
                    let retried = path.is_empty() && !step.retry_by_default && step.retry.as_ref().is_some_and(|retry| retry.attempts > 1);
                    if retried && !step.idempotent && !facts.repeatable {
                        let hint = "if running it twice is safe, set idempotent = true".to_owned();
                        add(&["retry"], &[], format!("`{}` is not declared safe to retry", call.tool), Some(hint));
                    }
                }
            }
        }
    }
    let mut problems = with_positions(plan, found);
    problems.extend(missing_members(plan, &outputs, Missing::Certain));
    problems.sort_by_key(|problem| problem.place);
    problems
}

/// Returns references to members of results that the output schemas of the tools do not list.
fn missing_members(plan: &Plan, outputs: &Outputs<'_>, which: Missing) -> Vec<Problem> {
    let mut found: Vec<(Expr, Option<&str>, MissingMember)> = vec![];
    for step in &plan.steps {
        let types = Types::new(plan, step, outputs);
        expressions(step, &mut |expr| {
            found.extend(
                expr.references()
                    .iter()
                    .filter_map(|reference| types.missing_member(reference, which).map(|missing| (expr.clone(), Some(&*step.id), missing))),
            );
        });
    }
    if let Some(step) = plan.steps.first() {
        let types = Types::new(plan, step, outputs);
        for (_, template) in &plan.output {
            template.each_expr(&mut |expr| {
                let missing = expr.references().iter().filter(|reference| reference.root() == "steps");
                found.extend(
                    missing.filter_map(|reference| types.missing_member(reference, which)).map(|missing| (expr.clone(), None, missing)),
                );
            });
        }
    }
    if found.is_empty() {
        return vec![];
    }
    let source = Source { file: plan.file.clone(), text: plan.text.to_string() };
    let page = Page::new(&source);
    let problem = |(expr, step, missing): (Expr, Option<&str>, MissingMember)| {
        let mut problem = page.problem(expr.span_of(&missing.reference), step, expr.key(), missing.message);
        problem.hint = Some(missing.hint);
        problem
    };
    found.into_iter().map(problem).collect()
}

/// Returns whether a step only reads, as the tools say by `reads`.
pub fn reads_only(step: &PlanStep, reads: &dyn Fn(&str) -> bool) -> bool {
    let action = match &step.action {
        Action::Tool(call) => reads(&call.tool),
        Action::Workflow { plan, .. } => plan.steps.iter().all(|step| reads_only(step, reads)),
        Action::Let { .. } | Action::Prompt { .. } | Action::Resource { .. } | Action::Approve { .. } | Action::Elicit { .. } => true,
    };
    action && step.fallback.iter().flat_map(Fallback::calls).all(|call| reads(&call.tool))
}

/// Returns what in `plan` and its nested workflows may surprise: items that write concurrently, and members of results that an
/// output schema does not list although it allows others.
pub fn warnings(plan: &Plan, offered: &dyn Offered) -> Vec<Problem> {
    let children = plan.children();
    let plans = std::iter::once(plan).chain(children.iter().map(|child| &**child));
    // Whether a tool that is not known yet writes is not known either.
    let reads = |tool: &str| match offered.tool(tool) {
        Lookup::Found(facts) => facts.reads_only,
        Lookup::Unknown { .. } | Lookup::Filtered { .. } | Lookup::Unread => true,
    };
    let warn = |plan: &Plan| {
        let writes = plan.steps.iter().enumerate().filter(|(_, step)| {
            let parallel = step.for_each.as_ref().and_then(|each| each.max_parallel.as_ref());
            parallel.is_some_and(|count| !matches!(count, Count::Fixed(1))) && !reads_only(step, &reads)
        });
        let found = writes.map(|(index, step)| Found {
            index,
            id: &step.id,
            path: vec!["max_parallel".to_owned()],
            message: "items that may write run concurrently; many servers lose writes that overlap".to_owned(),
            hint: Some("remove `max_parallel`, or set `trusted = true` for a server whose tools say that they only read".to_owned()),
        });
        let mut problems = with_positions(plan, found.collect());
        let outputs = |tool: &str| match offered.tool(tool) {
            Lookup::Found(facts) => facts.output,
            _ => None,
        };
        problems.extend(missing_members(plan, &outputs, Missing::Likely));
        problems
    };
    plans.flat_map(warn).collect()
}

/// A mismatch whose position in the file is not resolved yet.
struct Found<'a> {
    index: usize,
    id: &'a str,
    path: Vec<String>,
    message: String,
    hint: Option<String>,
}

/// Resolves the positions. Parses the file again, but only if there are mismatches.
fn with_positions(plan: &Plan, found: Vec<Found<'_>>) -> Vec<Problem> {
    if found.is_empty() {
        return vec![];
    }
    let source = Source { file: plan.file.clone(), text: plan.text.to_string() };
    let page = Page::new(&source);
    // The text parsed before, so it parses again.
    let root = page.parse().ok();
    let node = |index: usize| {
        let (key, place) = plan.table_of(index);
        root.as_ref()?.get(key).and_then(Node::items)?.get(place)
    };
    let place = |one: Found<'_>| {
        let span = node(one.index).map_or((0, 0), |node| node.locate(&one.path));
        let mut problem = page.problem(span, Some(one.id), &one.path.join("."), one.message);
        problem.hint = one.hint;
        problem
    };
    let mut problems: Vec<Problem> = found.into_iter().map(place).collect();
    problems.sort_by_key(|problem| problem.place);
    problems
}

/// Returns the known tool that is most likely meant: one with a similar name, or the only one that differs by its prefix.
pub(super) fn near_tool<'n>(name: &str, names: &'n [String]) -> Option<&'n str> {
    let bare = |known: &&String| known.strip_suffix(name).is_some_and(|prefix| prefix.ends_with(|c: char| !c.is_alphanumeric()));
    let mut prefixed = names.iter().filter(bare);
    let only = prefixed.next().filter(|_| prefixed.next().is_none());
    only.map(String::as_str).or_else(|| closest_match(name, names.iter().map(String::as_str)))
}

/// Returns the calls of a step with their key paths.
fn calls(step: &PlanStep) -> Vec<(&ToolCall, Vec<&'static str>)> {
    let mut found = vec![];
    if let Action::Tool(call) = &step.action {
        found.push((call, vec![]));
    }
    let single = step.fallback.len() == 1;
    for (index, fallback) in step.fallback.iter().enumerate() {
        if let Fallback::Tool { call, compensate } = fallback {
            // A single fallback may be written without a list; `locate` stops where the path ends.
            let place = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"].get(index).copied().unwrap_or("9");
            let path = if single { vec!["fallback"] } else { vec!["fallback", place] };
            found.extend(compensate.iter().map(|undo| (&undo.call, [&path[..], &["compensate"]].concat())));
            found.push((call, path));
        }
    }
    if let Some(call) = &step.compensate {
        found.push((call, vec!["compensate"]));
    }
    found
}

/// A part of the arguments that does not match the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// Keys and indices into the arguments.
    pub path: Vec<String>,
    pub message: String,
    pub hint: Option<String>,
}

/// Keywords by which an object may have members that `properties` does not list.
const OPEN_KEYWORDS: [&str; 8] =
    ["patternProperties", "allOf", "anyOf", "oneOf", "$ref", "if", "dependentSchemas", "unevaluatedProperties"];

/// Checks arguments with expressions as far as possible: unknown and missing names, literals that do not match.
pub(super) fn check_arguments(arguments: &Template, schema: &Value) -> Vec<Misfit> {
    check_typed_arguments(arguments, schema, &|_| None)
}

/// Returns the possible types of an expression's value and the expression that determines them.
type TypeOf<'a> = dyn Fn(&Expr) -> Option<(Vec<String>, String)> + 'a;

/// Checks arguments as [`check_arguments`] does, with known types of expressions.
fn check_typed_arguments(arguments: &Template, schema: &Value, types: &TypeOf<'_>) -> Vec<Misfit> {
    let mut found = vec![];
    descend(arguments, schema, (schema, types), &mut vec![], &mut found);
    found
}

fn descend(value: &Template, schema: &Value, context: (&Value, &TypeOf<'_>), path: &mut Vec<String>, found: &mut Vec<Misfit>) {
    let (root, types) = context;
    let Some(rules) = schema.as_object() else { return };
    let open = OPEN_KEYWORDS.iter().all(|key| !rules.contains_key(*key));
    match value {
        Template::Literal(data) if !data.is_object() || !(open || path.is_empty()) => {
            found.extend(violations(data.value(), schema, root).into_iter().map(|(inner, message)| {
                let inner = inner.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~"));
                Misfit { path: path.iter().cloned().chain(inner).collect(), message, hint: None }
            }));
        }
        Template::Literal(_) | Template::Object(_) => {
            members(value, rules, path, found);
            let properties = rules.get("properties").and_then(Value::as_object);
            for key in value.keys().unwrap_or_default() {
                if let (Some(inner), Some(member)) = (properties.and_then(|properties| properties.get(&key)), value.member(&key)) {
                    path.push(key);
                    descend(&member, inner, context, path, found);
                    path.pop();
                }
            }
        }
        Template::List(items) => {
            let kinds = kinds(rules);
            if !kinds.is_empty() && !kinds.contains(&"array") {
                found.push(Misfit {
                    path: path.clone(),
                    message: format!("is a list; the tool expects {}", kinds.join(" or ")),
                    hint: None,
                });
                return;
            }
            if let Some(inner) = rules.get("items") {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    descend(item, inner, context, path, found);
                    path.pop();
                }
            }
        }
        Template::Text(_) => {
            let kinds = kinds(rules);
            if !kinds.is_empty() && !kinds.contains(&"string") {
                let hint = "an expression keeps its type if it is the whole string".to_owned();
                found.push(Misfit {
                    path: path.clone(),
                    message: format!("is text; the tool expects {}", kinds.join(" or ")),
                    hint: Some(hint),
                });
            }
        }
        Template::Whole(expr) => {
            if let Some(constant) = expr.constant() {
                return descend(&Template::Literal(constant.clone()), schema, context, path, found);
            }
            let wanted = kinds(rules);
            if let Some((possible, what)) = types(expr).filter(|(possible, _)| !wanted.is_empty() && !types::may_match(possible, &wanted)) {
                let message = format!("`{what}` is {}; the tool expects {}", possible.join(" or "), wanted.join(" or "));
                found.push(Misfit { path: path.clone(), message, hint: None });
            }
        }
    }
}

/// Reports missing members of an object, and members that the schema does not list.
fn members(value: &Template, rules: &Map<String, Value>, path: &[String], found: &mut Vec<Misfit>) {
    let kinds = kinds(rules);
    if !kinds.is_empty() && !kinds.contains(&"object") {
        found.push(Misfit { path: path.to_vec(), message: format!("is a table; the tool expects {}", kinds.join(" or ")), hint: None });
        return;
    }
    let Some(keys) = value.keys() else { return };
    for name in rules.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !keys.iter().any(|key| key == name) {
            found.push(Misfit { path: path.to_vec(), message: format!("`{name}` is missing"), hint: None });
        }
    }
    let empty = Map::new();
    let properties = rules.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    // A schema is open unless it says otherwise. Still, where it lists properties and says nothing about others, an
    // unknown name is most likely a typo.
    let closed = match rules.get("additionalProperties") {
        Some(Value::Bool(false)) => true,
        Some(_) => false,
        None => !properties.is_empty(),
    };
    if !closed || OPEN_KEYWORDS.iter().any(|key| rules.contains_key(*key)) {
        return;
    }
    for key in keys.iter().filter(|key| !properties.contains_key(*key)) {
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        let hint = match closest_match(key, names.iter().copied()) {
            Some(candidate) => format!("did you mean `{candidate}`?"),
            None if names.is_empty() => "it takes no arguments".to_owned(),
            None => format!("available: {}", names.join(", ")),
        };
        found.push(Misfit {
            path: [path, std::slice::from_ref(key)].concat(),
            message: format!("unknown argument `{key}`"),
            hint: Some(hint),
        });
    }
}

/// Returns the types that a schema allows; empty if it does not restrict them.
fn kinds(rules: &Map<String, Value>) -> Vec<&str> {
    match rules.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    }
}

/// Returns whether a value matches a schema that restricts nothing but the type. Most schemas are like that, and
/// creating a checker is expensive.
fn matches_type_only(value: &Value, schema: &Value) -> bool {
    const TYPE_ONLY_KEYWORDS: [&str; 5] = ["type", "title", "description", "default", "examples"];
    let Some(rules) = schema.as_object() else { return schema == &Value::Bool(true) };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = kinds(rules);
    rules.keys().all(|key| TYPE_ONLY_KEYWORDS.contains(&key.as_str()))
        && (!rules.contains_key("type") || kinds.contains(&kind) || (kind == "integer" && kinds.contains(&"number")))
}

/// Validates a literal with a full checker. References in the schema resolve to the root's definitions.
fn violations(value: Value, schema: &Value, root: &Value) -> Vec<(String, String)> {
    if matches_type_only(&value, schema) {
        return vec![];
    }
    let mut schema = schema.clone();
    if let Some(rules) = schema.as_object_mut() {
        for key in ["$schema", "$defs", "definitions"] {
            if let (Some(shared), false) = (root.get(key), rules.contains_key(key)) {
                rules.insert(key.to_owned(), shared.clone());
            }
        }
    }
    // Values too large for a quick check are validated when the call is sent.
    let found = Checker::quick(&Body::json(&schema)).glance(&value).unwrap_or_default();
    found.into_iter().map(|violation| (violation.path, violation.message)).collect()
}
