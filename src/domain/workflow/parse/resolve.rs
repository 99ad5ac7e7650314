//! Resolves references between steps: needs, references in expressions, cycles.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use serde_json::Value;

use super::{
    reader::{Report, Span},
    step::Draft,
};
use crate::domain::{
    body::Body,
    workflow::{
        closest_match,
        expression::{Expr, Reference, Template},
        plan::{Action, Fallback, PlanStep, ToolCall},
    },
};

/// The resolved steps.
pub(super) struct Resolved {
    pub steps: Vec<PlanStep>,
    pub order: Vec<usize>,
    pub dependents: Vec<Vec<usize>>,
    pub names: Arc<HashMap<Arc<str>, usize>>,
}

/// The names that an expression may use besides `input`, `steps`, `env` and `run`.
#[derive(Clone, Copy, Default)]
struct Locals {
    /// `item` and `index`.
    item: bool,
    /// The step's own `result` and `text`.
    own: bool,
}

/// The names that references are resolved against.
struct Names<'a> {
    indices: HashMap<Arc<str>, usize>,
    /// The ids of all steps, including those that could not be read.
    all: &'a HashSet<String>,
    /// For each readable step, whether it has a `for_each`.
    loops: Vec<bool>,
    env: &'a [String],
    /// The declared inputs, if no others are allowed.
    inputs: Option<Vec<String>>,
}

/// Resolves the steps. Returns `None` after reporting problems.
pub(super) fn resolve(
    report: &mut Report<'_>,
    drafts: Vec<Draft>,
    all: &HashSet<String>,
    output: &[(String, Template)],
    env: &[String],
    input: &Body,
) -> Option<Resolved> {
    let indices: HashMap<Arc<str>, usize> = drafts.iter().enumerate().map(|(index, draft)| (draft.step.id.clone(), index)).collect();
    let loops = drafts.iter().map(|draft| draft.step.for_each.is_some()).collect();
    let names = Names { indices, all, loops, env, inputs: closed_inputs(input) };
    let mut needs: Vec<BTreeSet<usize>> = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.iter().enumerate() {
        let mut found = declared_needs(report, &names, draft, index);
        let id = draft.step.id.clone();
        each_expression(&draft.step, &mut |expr, locals| references(report, &names, expr, Some((&id, index)), locals, &mut found));
        needs.push(found);
    }
    for (_, template) in output {
        let mut unused = BTreeSet::new();
        template.each_expr(&mut |expr| references(report, &names, expr, None, Locals::default(), &mut unused));
    }
    let order = order(&needs);
    if order.len() < needs.len() {
        report_cycle(report, &drafts, &needs, &order);
    }
    if !report.problems.is_empty() {
        return None;
    }
    let mut dependents = vec![vec![]; needs.len()];
    let mut steps = Vec::with_capacity(drafts.len());
    for (index, (draft, needs)) in drafts.into_iter().zip(needs).enumerate() {
        for need in &needs {
            dependents[*need].push(index);
        }
        steps.push(PlanStep { needs: needs.into_iter().collect(), ..draft.step });
    }
    Some(Resolved { steps, order, dependents, names: Arc::new(names.indices) })
}

fn closed_inputs(input: &Body) -> Option<Vec<String>> {
    let schema: Value = input.parse().ok()?;
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false)) && schema.get("patternProperties").is_none();
    closed.then(|| schema.get("properties").and_then(Value::as_object).map(|map| map.keys().cloned().collect()).unwrap_or_default())
}

/// Returns the steps in `needs`.
fn declared_needs(report: &mut Report<'_>, names: &Names<'_>, draft: &Draft, index: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for (name, span) in &draft.needs {
        if report.full() {
            break;
        }
        let step = Some(&*draft.step.id);
        match names.indices.get(name.as_str()) {
            Some(own) if *own == index => report.add(*span, step, "needs", "refers to the step itself", None),
            Some(other) => _ = found.insert(*other),
            None if names.all.contains(name) => {}
            None => {
                let hint =
                    closest_match(name, names.all.iter().map(String::as_str)).map(|candidate| format!("did you mean `{candidate}`?"));
                report.add(*span, step, "needs", format!("unknown step `{name}`"), hint);
            }
        }
    }
    found
}

/// Calls `each` for every expression of a step, with the names that it may use.
fn each_expression(step: &PlanStep, each: &mut dyn FnMut(&Expr, Locals)) {
    let none = Locals::default();
    let in_item = Locals { item: step.for_each.is_some(), own: false };
    let with_result = Locals { own: true, ..in_item };
    let mut call = |call: &ToolCall, locals| call.arguments.each_expr(&mut |expr| each(expr, locals));
    match &step.action {
        Action::Tool(tool) => call(tool, in_item),
        Action::Workflow { input: template, .. }
        | Action::Prompt { arguments: template, .. }
        | Action::Resource { uri: template, .. }
        | Action::Approve { message: template }
        | Action::Elicit { message: template, .. } => template.each_expr(&mut |expr| each(expr, in_item)),
    }
    if let Some(when) = &step.when {
        each(when, none);
    }
    if let Some(for_each) = &step.for_each {
        for_each.items.each_expr(&mut |expr| each(expr, none));
    }
    for fallback in &step.fallback {
        match fallback {
            Fallback::Tool { call, compensate } => {
                call.arguments.each_expr(&mut |expr| each(expr, in_item));
                if let Some(compensate) = compensate {
                    compensate.arguments.each_expr(&mut |expr| each(expr, with_result));
                }
            }
            Fallback::Value(value) => value.each_expr(&mut |expr| each(expr, in_item)),
        }
    }
    if let Some(compensate) = &step.compensate {
        compensate.arguments.each_expr(&mut |expr| each(expr, with_result));
    }
    for expectation in &step.expect {
        each(&expectation.that, with_result);
        if let Some(message) = &expectation.message {
            message.each_expr(&mut |expr| each(expr, with_result));
        }
    }
}

/// Checks the references of an expression and collects the steps that it needs.
fn references(
    report: &mut Report<'_>,
    names: &Names<'_>,
    expr: &Expr,
    of: Option<(&str, usize)>,
    locals: Locals,
    needs: &mut BTreeSet<usize>,
) {
    for reference in expr.references() {
        if report.full() {
            return;
        }
        let problem = match reference.root() {
            "steps" => match step_reference(names, reference, of.map(|(_, index)| index)) {
                Ok(index) => {
                    needs.extend(index);
                    None
                }
                Err(problem) => Some(problem),
            },
            "input" => input_reference(names, reference),
            "env" => env_reference(names, reference),
            "run" => member(reference, "run", &["id", "started", "started_ms", "attempt"]),
            "item" | "index" if !locals.item => Some((format!("`{}` is available only in a step with `for_each`", reference.root()), None)),
            "result" | "text" if !locals.own => {
                let hint = "for another step write `steps.ID.result`".to_owned();
                Some((format!("`{}` is available only in `expect` and `compensate`", reference.root()), Some(hint)))
            }
            "item" | "index" | "result" | "text" => None,
            other => {
                let all = ["input", "steps", "env", "run", "item", "index", "result", "text"];
                let hint = match closest_match(other, all) {
                    Some(candidate) => format!("did you mean `{candidate}`?"),
                    None if names.inputs.iter().flatten().any(|name| name == other) => format!("did you mean `input.{other}`?"),
                    None if names.all.contains(other) => format!("did you mean `steps.{other}.result`?"),
                    None => "use `input`, `steps`, `env` or `run`; put text in quotes".to_owned(),
                };
                Some((format!("unknown name `{other}`"), Some(hint)))
            }
        };
        if let Some((message, hint)) = problem {
            report.add(expr.span_of(reference), of.map(|(id, _)| id), expr.key(), message, hint);
        }
    }
}

type Problem = (String, Option<String>);

fn step_reference(names: &Names<'_>, reference: &Reference, of: Option<usize>) -> Result<Option<usize>, Problem> {
    let Some(id) = reference.name(1) else {
        return Err(("`steps` must be followed by a step id".into(), Some("write steps.ID.result".into())));
    };
    let Some(index) = names.indices.get(id).copied() else {
        if names.all.contains(id) {
            return Ok(None);
        }
        let hint = closest_match(id, names.all.iter().map(String::as_str)).map(|candidate| format!("did you mean `steps.{candidate}`?"));
        return Err((format!("unknown step `{id}`"), hint));
    };
    if of == Some(index) {
        let hint = "in `expect` and `compensate` use `result` for its own result".to_owned();
        return Err((format!("`{id}` is this step, which has no result yet"), Some(hint)));
    }
    if let Some(key) = reference.name(2) {
        let keys = ["result", "text", "outcome", "duration_ms", "error", "items"];
        if !keys.contains(&key) {
            let hint = closest_match(key, keys).map_or_else(
                || format!("for a member of its result write `steps.{id}.result.{key}`"),
                |candidate| format!("did you mean `{candidate}`?"),
            );
            return Err((format!("a step has no `{key}`; it has {}", keys.join(", ")), Some(hint)));
        }
        if key == "items" && !names.loops.get(index).copied().unwrap_or_default() {
            let hint = format!("for a member `items` of its result write steps.{id}.result[\"items\"]");
            return Err((format!("`{id}` has no `for_each`, so it has no `items`"), Some(hint)));
        }
    }
    Ok(Some(index))
}

fn input_reference(names: &Names<'_>, reference: &Reference) -> Option<Problem> {
    let (name, inputs) = (reference.name(1)?, names.inputs.as_ref()?);
    if inputs.iter().any(|input| input == name) {
        return None;
    }
    let hint = match closest_match(name, inputs.iter().map(String::as_str)) {
        Some(candidate) => format!("did you mean `input.{candidate}`?"),
        None => format!("declare it: [input] {name} = \"string\""),
    };
    Some((format!("unknown input `{name}`"), Some(hint)))
}

fn env_reference(names: &Names<'_>, reference: &Reference) -> Option<Problem> {
    let Some(name) = reference.name(1) else {
        return Some(("`env` must be followed by a variable name".into(), None));
    };
    if names.env.iter().any(|known| known == name) {
        return None;
    }
    let hint = match closest_match(name, names.env.iter().map(String::as_str)) {
        Some(candidate) => format!("did you mean `env.{candidate}`?"),
        None => format!("declare it at the top of the file: env = [\"{name}\"]"),
    };
    Some((format!("the environment variable `{name}` is not declared"), Some(hint)))
}

fn member(reference: &Reference, root: &str, known: &[&str]) -> Option<Problem> {
    let name = reference.name(1)?;
    if known.contains(&name) {
        return None;
    }
    let hint = closest_match(name, known.iter().copied()).map(|candidate| format!("did you mean `{root}.{candidate}`?"));
    Some((format!("`{root}` has no `{name}`; it has {}", known.join(", ")), hint))
}

/// Returns a topological order; ties are in file order. Steps in a cycle, and steps that depend on one, are left out.
fn order(needs: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut dependents = vec![vec![]; needs.len()];
    let mut open: Vec<usize> = needs.iter().map(BTreeSet::len).collect();
    for (index, needs) in needs.iter().enumerate() {
        for need in needs {
            dependents[*need].push(index);
        }
    }
    let mut ready: BTreeSet<usize> = (0..needs.len()).filter(|index| open[*index] == 0).collect();
    let mut order = Vec::with_capacity(needs.len());
    while let Some(index) = ready.pop_first() {
        order.push(index);
        for dependent in &dependents[index] {
            open[*dependent] -= 1;
            if open[*dependent] == 0 {
                ready.insert(*dependent);
            }
        }
    }
    order
}

/// Reports one cycle among the steps left out of the order.
fn report_cycle(report: &mut Report<'_>, drafts: &[Draft], needs: &[BTreeSet<usize>], order: &[usize]) {
    let settled: HashSet<usize> = order.iter().copied().collect();
    let Some(start) = (0..needs.len()).find(|index| !settled.contains(index)) else { return };
    // Each of these needs another of them, so following the needs ends in a cycle.
    let (mut path, mut at) = (vec![], start);
    while !path.contains(&at) {
        path.push(at);
        match needs[at].iter().find(|need| !settled.contains(need)) {
            Some(next) => at = *next,
            None => return,
        }
    }
    let first = path.iter().position(|index| *index == at).unwrap_or_default();
    let mut members: Vec<usize> = path[first..].to_vec();
    let smallest = members.iter().enumerate().min_by_key(|(_, index)| **index).map_or(0, |(place, _)| place);
    members.rotate_left(smallest);
    let start_index = members[0];
    let ids: Vec<&str> = members.iter().chain([&start_index]).map(|index| &*drafts[*index].step.id).collect();
    let span: Span = drafts[start_index].span;
    let message = format!("dependency cycle: {}", ids.join(" needs "));
    let hint = "remove one of these needs, or the expression that causes it".to_owned();
    report.add(span, Some(&drafts[start_index].step.id), "needs", message, Some(hint));
}
