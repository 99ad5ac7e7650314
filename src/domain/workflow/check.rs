//! Checks of a plan against the tools, prompts and resources that servers offer now.

mod reads;
#[cfg(test)]
mod tests;
mod types;

use std::collections::HashMap;

use serde_json::{Map, Value};

pub use self::reads::Listed;
use self::types::Types;
use super::{
    expression::{Expr, Template},
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
    /// Its `outputSchema`, if it has one.
    pub output: Option<Body>,
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

/// What servers offer now.
pub trait Offered {
    /// The tool of this exposed name.
    fn tool(&self, name: &str) -> Lookup;
    /// What the server of this name in the configuration lists beside tools.
    fn lists(&self, server: &str) -> Listed;
}

/// Tools alone.
impl<F: Fn(&str) -> Lookup> Offered for F {
    fn tool(&self, name: &str) -> Lookup {
        self(name)
    }

    fn lists(&self, _: &str) -> Listed {
        Listed::Unread
    }
}

/// Everything in `plan` (and the workflows that it calls) that does not fit what is offered: unknown tools, prompts and
/// arguments, missing ones, values of the wrong type, retries of what may not be repeated.
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
        let wrong = match &step.action {
            Action::Prompt { server, name, arguments } => reads::prompt(&offered.lists(server), server, name, arguments),
            Action::Resource { server, uri } => reads::resource(&offered.lists(server), server, uri).into_iter().collect(),
            _ => vec![],
        };
        found.extend(wrong.into_iter().map(|(path, message, hint)| Found { index, id: &step.id, path, message, hint }));
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
                Lookup::Unknown { names } => {
                    let hint = match near(&call.tool, names.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "`switchboard tools` lists those that there are".to_owned(),
                    };
                    add(&["tool"], &[], format!("no server offers the tool `{}`", call.tool), Some(hint));
                }
                Lookup::Found(facts) => {
                    for misfit in fitting(&call.arguments, schema, &|expr| types.of(expr)) {
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
    placed(plan, found)
}

/// Something that does not fit, its place in the file not looked up yet.
struct Found<'a> {
    index: usize,
    id: &'a str,
    path: Vec<String>,
    message: String,
    hint: Option<String>,
}

/// Finds the places; the file is read again for that, but only if something is wrong.
fn placed(plan: &Plan, found: Vec<Found<'_>>) -> Vec<Problem> {
    if found.is_empty() {
        return vec![];
    }
    let source = Source { file: plan.file.clone(), text: plan.text.to_string() };
    let page = Page::new(&source);
    // It was parsed before, so it parses.
    let root = page.parse().ok();
    let nodes = root.as_ref().and_then(|root| root.get("step")).and_then(Node::items).unwrap_or_default();
    let place = |one: Found<'_>| {
        let span = nodes.get(one.index).map_or((0, 0), |node| node.locate(&one.path));
        let mut problem = page.problem(span, Some(one.id), &one.path.join("."), one.message);
        problem.hint = one.hint;
        problem
    };
    let mut problems: Vec<Problem> = found.into_iter().map(place).collect();
    problems.sort_by_key(|problem| problem.place);
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

/// Keywords by which an object may have members that `properties` does not name.
const ELSEWHERE: [&str; 8] = ["patternProperties", "allOf", "anyOf", "oneOf", "$ref", "if", "dependentSchemas", "unevaluatedProperties"];

/// What can be told of arguments with expressions in them: unknown and missing names, literals that do not fit.
pub(super) fn fit(arguments: &Template, schema: &Value) -> Vec<Misfit> {
    fitting(arguments, schema, &|_| None)
}

/// Gives the types that an expression can have, and what says so.
type TypeOf<'a> = dyn Fn(&Expr) -> Option<(Vec<String>, String)> + 'a;

/// The same, with expressions whose types are known.
fn fitting(arguments: &Template, schema: &Value, types: &TypeOf<'_>) -> Vec<Misfit> {
    let mut found = vec![];
    descend(arguments, schema, (schema, types), &mut vec![], &mut found);
    found
}

fn descend(value: &Template, schema: &Value, around: (&Value, &TypeOf<'_>), path: &mut Vec<String>, found: &mut Vec<Misfit>) {
    let (root, types) = around;
    let Some(rules) = schema.as_object() else { return };
    let open = ELSEWHERE.iter().all(|key| !rules.contains_key(*key));
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
                    descend(&member, inner, around, path, found);
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
                    descend(item, inner, around, path, found);
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
                return descend(&Template::Literal(constant.clone()), schema, around, path, found);
            }
            let wanted = kinds(rules);
            if let Some((given, what)) = types(expr).filter(|(given, _)| !wanted.is_empty() && !types::meet(given, &wanted)) {
                let message = format!("`{what}` is {}; the tool wants {}", given.join(" or "), wanted.join(" or "));
                found.push(Misfit { path: path.clone(), message, hint: None });
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
    if !refused || ELSEWHERE.iter().any(|key| rules.contains_key(*key)) {
        return;
    }
    for key in keys.iter().filter(|key| !properties.contains_key(*key)) {
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        let hint = match near(key, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "it takes none".to_owned(),
            None => format!("there are {}", names.join(", ")),
        };
        found.push(Misfit {
            path: [path, std::slice::from_ref(key)].concat(),
            message: format!("there is no argument `{key}`"),
            hint: Some(hint),
        });
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

/// Whether a value fits a schema that says no more than a type: most do, and a checker is dear to make.
fn plainly_fits(value: &Value, schema: &Value) -> bool {
    const SILENT: [&str; 5] = ["type", "title", "description", "default", "examples"];
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
    rules.keys().all(|key| SILENT.contains(&key.as_str()))
        && (!rules.contains_key("type") || kinds.contains(&kind) || (kind == "integer" && kinds.contains(&"number")))
}

/// What a whole checker says of a literal. References of the schema go to the root's definitions.
fn violations(value: Value, schema: &Value, root: &Value) -> Vec<(String, String)> {
    if plainly_fits(&value, schema) {
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
    // What is too large for a quick look is checked when the call is sent.
    let found = Checker::quick(&Body::json(&schema)).glance(&value).unwrap_or_default();
    found.into_iter().map(|violation| (violation.path, violation.message)).collect()
}
