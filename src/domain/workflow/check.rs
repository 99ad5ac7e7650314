//! Checks of a plan against the tools that servers offer now.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{
    expression::Template,
    near,
    parse::Source,
    plan::{Action, Fallback, Plan, PlanStep, ToolCall},
    problem::Problem,
    source::{Node, Page},
};
use crate::domain::{body::Body, schema::Checker};

/// What is known of a tool.
#[derive(Clone, Debug)]
pub struct ToolFacts {
    /// Its `inputSchema`.
    pub schema: Body,
    /// Whether it may be repeated without harm, as far as its server is trusted: it only reads, or says that
    /// it is idempotent.
    pub repeatable: bool,
}

/// What a lookup of an exposed name came to.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The tool is there.
    Found(ToolFacts),
    /// No server offers it.
    Unknown {
        /// Names that are there, to suggest one.
        names: Vec<String>,
    },
    /// Its server's lists are not known, so nothing can be told.
    Unread,
}

/// Everything in `plan` (and the workflows that it calls) that does not fit the tools as `lookup` knows them:
/// unknown tools and arguments, missing ones, values of the wrong type, retries of what may not be repeated.
pub fn check_against(plan: &Plan, lookup: &dyn Fn(&str) -> Lookup) -> Vec<Problem> {
    let mut known = HashMap::new();
    let mut problems = check_one(plan, lookup, &mut known);
    for child in plan.children() {
        problems.extend(check_one(&child, lookup, &mut known));
    }
    problems
}

fn check_one(plan: &Plan, lookup: &dyn Fn(&str) -> Lookup, known: &mut HashMap<String, (Lookup, Value)>) -> Vec<Problem> {
    let source = Source { file: plan.file.clone(), text: plan.text.to_string() };
    let page = Page::new(&source);
    // It was parsed before, so it parses.
    let Ok(root) = page.parse() else { return vec![] };
    let nodes = root.get("step").and_then(Node::items).unwrap_or_default();
    let mut problems = vec![];
    for (step, node) in plan.steps.iter().zip(nodes) {
        for (call, path) in calls(step) {
            let (found, schema) = known.entry(call.tool.to_string()).or_insert_with(|| {
                let found = lookup(&call.tool);
                let schema = match &found {
                    Lookup::Found(facts) => facts.schema.parse().unwrap_or_default(),
                    _ => Value::Null,
                };
                (found, schema)
            });
            let mut add = |inner: &[&str], more: &[String], message: String, hint: Option<String>| {
                let full: Vec<String> = path
                    .iter()
                    .map(|key| (*key).to_owned())
                    .chain(inner.iter().map(|key| (*key).to_owned()))
                    .chain(more.iter().cloned())
                    .collect();
                let span = node.locate(&full);
                let mut problem = page.problem(span, Some(&step.id), &full.join("."), message);
                problem.hint = hint;
                problems.push(problem);
            };
            match found {
                Lookup::Unread => {}
                Lookup::Unknown { names } => {
                    let hint = match near(&call.tool, names.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "`switchboard tools` lists those that there are".to_owned(),
                    };
                    add(&["tool"], &[], format!("no server offers the tool `{}`", call.tool), Some(hint));
                }
                Lookup::Found(facts) => {
                    for misfit in fit(&call.arguments, schema) {
                        add(&["arguments"], &misfit.path, misfit.message, misfit.hint);
                    }
                    let retried = path.is_empty() && step.retry.as_ref().is_some_and(|retry| retry.attempts > 1);
                    if retried && !step.idempotent && !facts.repeatable {
                        let hint = "if it does no harm to run it twice, say so: idempotent = true".to_owned();
                        add(&["retry"], &[], format!("`{}` does not say that it may be repeated", call.tool), Some(hint));
                    }
                }
            }
        }
    }
    problems
}

/// The calls of a step with the keys that they stand under.
fn calls(step: &PlanStep) -> Vec<(&ToolCall, Vec<&'static str>)> {
    let mut found = vec![];
    if let Action::Tool(call) = &step.action {
        found.push((call, vec![]));
    }
    let single = step.fallback.len() == 1;
    for (index, fallback) in step.fallback.iter().enumerate() {
        if let Fallback::Tool(call) = fallback {
            // A lone fallback may stand there without a list; `locate` stops where the path ends.
            let place = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"].get(index).copied().unwrap_or("9");
            found.push((call, if single { vec!["fallback"] } else { vec!["fallback", place] }));
        }
    }
    if let Some(call) = &step.compensate {
        found.push((call, vec!["compensate"]));
    }
    found
}

/// A place where arguments do not fit a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// Keys and places into the arguments.
    pub path: Vec<String>,
    pub message: String,
    pub hint: Option<String>,
}

/// What can be told of arguments with expressions in them: unknown and missing names, literals that do not fit.
pub(super) fn fit(arguments: &Template, schema: &Value) -> Vec<Misfit> {
    let mut found = vec![];
    descend(arguments, schema, schema, &mut vec![], &mut found);
    found
}

fn descend(value: &Template, schema: &Value, root: &Value, path: &mut Vec<String>, found: &mut Vec<Misfit>) {
    let Some(rules) = schema.as_object() else { return };
    let top = path.is_empty();
    match value {
        Template::Literal(data) if !(top && data.is_object()) => {
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
                    descend(&member, inner, root, path, found);
                    path.pop();
                }
            }
        }
        Template::List(items) => {
            let kinds = kinds(rules);
            if !kinds.is_empty() && !kinds.contains(&"array") {
                found.push(Misfit { path: path.clone(), message: format!("is a list; the tool wants {}", kinds.join(" or ")), hint: None });
                return;
            }
            if let Some(inner) = rules.get("items") {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    descend(item, inner, root, path, found);
                    path.pop();
                }
            }
        }
        Template::Text(_) => {
            let kinds = kinds(rules);
            if !kinds.is_empty() && !kinds.contains(&"string") {
                let hint = "an expression that is alone in its string keeps its type".to_owned();
                found.push(Misfit {
                    path: path.clone(),
                    message: format!("is text; the tool wants {}", kinds.join(" or ")),
                    hint: Some(hint),
                });
            }
        }
        Template::Whole(expr) => {
            if let Some(constant) = expr.constant() {
                descend(&Template::Literal(constant.clone()), schema, root, path, found);
            }
        }
    }
}

/// Names that are missing in an object, and names that the schema does not have.
fn members(value: &Template, rules: &Map<String, Value>, path: &[String], found: &mut Vec<Misfit>) {
    let kinds = kinds(rules);
    if !kinds.is_empty() && !kinds.contains(&"object") {
        found.push(Misfit { path: path.to_vec(), message: format!("is a table; the tool wants {}", kinds.join(" or ")), hint: None });
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
    // A schema is open unless it says otherwise; still, a name that it does not have is a slip of the pen
    // where it has names at all and says nothing of others.
    let refused = match rules.get("additionalProperties") {
        Some(Value::Bool(false)) => true,
        Some(_) => false,
        None => !properties.is_empty(),
    };
    let elsewhere = ["patternProperties", "allOf", "anyOf", "oneOf", "$ref", "if", "dependentSchemas", "unevaluatedProperties"];
    if !refused || elsewhere.iter().any(|key| rules.contains_key(*key)) {
        return;
    }
    for key in keys.iter().filter(|key| !properties.contains_key(*key)) {
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        let hint = match near(key, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "it takes none".to_owned(),
            None => format!("there are {}", names.join(", ")),
        };
        found.push(Misfit { path: [path, &[key.clone()]].concat(), message: format!("there is no argument `{key}`"), hint: Some(hint) });
    }
}

/// The types that a schema names; none when it leaves that open.
fn kinds(rules: &Map<String, Value>) -> Vec<&str> {
    match rules.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    }
}

/// What a whole checker says of a literal. References of the schema go to the root's definitions.
fn violations(value: Value, schema: &Value, root: &Value) -> Vec<(String, String)> {
    let mut schema = schema.clone();
    if let Some(rules) = schema.as_object_mut() {
        for key in ["$schema", "$defs", "definitions"] {
            if let (Some(shared), false) = (root.get(key), rules.contains_key(key)) {
                rules.insert(key.to_owned(), shared.clone());
            }
        }
    }
    if schema == json!({}) {
        return vec![];
    }
    Checker::new(&Body::json(&schema)).check(&value).into_iter().map(|violation| (violation.path, violation.message)).collect()
}
