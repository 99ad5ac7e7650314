//! Looks up what steps say of each other: needs, references of expressions, circles.

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
        expression::{Expr, Reference, Template},
        near,
        plan::{Action, Fallback, PlanStep, ToolCall},
    },
};

/// What came of it.
pub(super) struct Resolved {
    pub steps: Vec<PlanStep>,
    pub order: Vec<usize>,
    pub dependents: Vec<Vec<usize>>,
    pub names: Arc<HashMap<Arc<str>, usize>>,
}

/// What an expression may see beside `input`, `steps`, `env` and `run`.
#[derive(Clone, Copy, Default)]
struct Sight {
    /// `item` and `index`.
    item: bool,
    /// The step's own `result` and `text`.
    own: bool,
}

/// What is known of the file while references are looked up.
struct Names<'a> {
    indices: HashMap<Arc<str>, usize>,
    /// The ids of all steps, also of those that could not be read.
    all: &'a HashSet<String>,
    /// Whether each step that could be read is a `for_each`.
    loops: Vec<bool>,
    env: &'a [String],
    /// The declared inputs, if no others are allowed.
    inputs: Option<Vec<String>>,
}

/// Resolves the steps. `None` when something is wrong; it is noted.
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
        let mut found = explicit(report, &names, draft, index);
        let id = draft.step.id.clone();
        each_use(&draft.step, &mut |expr, sight| references(report, &names, expr, Some((&id, index)), sight, &mut found));
        needs.push(found);
    }
    for (_, template) in output {
        let mut unused = BTreeSet::new();
        template.each_expr(&mut |expr| references(report, &names, expr, None, Sight::default(), &mut unused));
    }
    let order = order(&needs);
    if order.len() < needs.len() {
        circle(report, &drafts, &needs, &order);
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

/// The steps that `needs` names.
fn explicit(report: &mut Report<'_>, names: &Names<'_>, draft: &Draft, index: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for (name, span) in &draft.needs {
        if report.full() {
            break;
        }
        let step = Some(&*draft.step.id);
        match names.indices.get(name.as_str()) {
            Some(own) if *own == index => report.add(*span, step, "needs", "names the step itself", None),
            Some(other) => _ = found.insert(*other),
            None if names.all.contains(name) => {}
            None => {
                let hint = near(name, names.all.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
                report.add(*span, step, "needs", format!("there is no step `{name}`"), hint);
            }
        }
    }
    found
}

/// Calls `each` for every expression of a step, with what it may see.
fn each_use(step: &PlanStep, each: &mut dyn FnMut(&Expr, Sight)) {
    let outside = Sight::default();
    let inside = Sight { item: step.for_each.is_some(), own: false };
    let after = Sight { own: true, ..inside };
    let mut call = |call: &ToolCall, sight| call.arguments.each_expr(&mut |expr| each(expr, sight));
    match &step.action {
        Action::Tool(tool) => call(tool, inside),
        Action::Workflow { input: template, .. }
        | Action::Prompt { arguments: template, .. }
        | Action::Resource { uri: template, .. }
        | Action::Approve { message: template }
        | Action::Elicit { message: template, .. } => template.each_expr(&mut |expr| each(expr, inside)),
    }
    if let Some(when) = &step.when {
        each(when, outside);
    }
    if let Some(for_each) = &step.for_each {
        for_each.items.each_expr(&mut |expr| each(expr, outside));
    }
    for fallback in &step.fallback {
        match fallback {
            Fallback::Tool(tool) => tool.arguments.each_expr(&mut |expr| each(expr, inside)),
            Fallback::Value(value) => value.each_expr(&mut |expr| each(expr, inside)),
        }
    }
    if let Some(compensate) = &step.compensate {
        compensate.arguments.each_expr(&mut |expr| each(expr, after));
    }
    for expectation in &step.expect {
        each(&expectation.that, after);
        if let Some(message) = &expectation.message {
            message.each_expr(&mut |expr| each(expr, after));
        }
    }
}

/// Checks what an expression refers to, and notes the steps that it needs.
fn references(
    report: &mut Report<'_>,
    names: &Names<'_>,
    expr: &Expr,
    of: Option<(&str, usize)>,
    sight: Sight,
    needs: &mut BTreeSet<usize>,
) {
    for reference in expr.references() {
        if report.full() {
            return;
        }
        let fault = match reference.root() {
            "steps" => match step_reference(names, reference, of.map(|(_, index)| index)) {
                Ok(index) => {
                    needs.extend(index);
                    None
                }
                Err(fault) => Some(fault),
            },
            "input" => input_reference(names, reference),
            "env" => env_reference(names, reference),
            "run" => member(reference, "run", &["id", "started", "started_ms", "attempt"]),
            "item" | "index" if !sight.item => {
                Some((format!("`{}` is only there in the work of a step with `for_each`", reference.root()), None))
            }
            "result" | "text" if !sight.own => {
                let hint = "another step's is `steps.ID.result`".to_owned();
                Some((format!("`{}` is only there in `expect` and `compensate`", reference.root()), Some(hint)))
            }
            "item" | "index" | "result" | "text" => None,
            other => {
                let all = ["input", "steps", "env", "run", "item", "index", "result", "text"];
                let hint = match near(other, all) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if names.inputs.iter().flatten().any(|name| name == other) => format!("did you mean `input.{other}`?"),
                    None if names.all.contains(other) => format!("did you mean `steps.{other}.result`?"),
                    None => "there are `input`, `steps`, `env` and `run`; text stands in quotes".to_owned(),
                };
                Some((format!("there is no `{other}`"), Some(hint)))
            }
        };
        if let Some((message, hint)) = fault {
            report.add(expr.span_of(reference), of.map(|(id, _)| id), expr.key(), message, hint);
        }
    }
}

type Fault = (String, Option<String>);

fn step_reference(names: &Names<'_>, reference: &Reference, of: Option<usize>) -> Result<Option<usize>, Fault> {
    let Some(id) = reference.name(1) else {
        return Err((
            "`steps` must be followed by a step's id, so that it is known what is needed".into(),
            Some("write steps.ID.result".into()),
        ));
    };
    let Some(index) = names.indices.get(id).copied() else {
        if names.all.contains(id) {
            return Ok(None);
        }
        let hint = near(id, names.all.iter().map(String::as_str)).map(|near| format!("did you mean `steps.{near}`?"));
        return Err((format!("there is no step `{id}`"), hint));
    };
    if of == Some(index) {
        let hint = "in `expect` and `compensate` its own result is `result`".to_owned();
        return Err((format!("`{id}` is this very step, which has no result yet"), Some(hint)));
    }
    if let Some(key) = reference.name(2) {
        let keys = ["result", "text", "outcome", "duration_ms", "error", "items"];
        if !keys.contains(&key) {
            let hint = near(key, keys)
                .map_or_else(|| format!("what it answered is `steps.{id}.result.{key}`"), |near| format!("did you mean `{near}`?"));
            return Err((format!("a step has no `{key}`, but {}", keys.join(", ")), Some(hint)));
        }
        if key == "items" && !names.loops.get(index).copied().unwrap_or_default() {
            let hint = format!("a member `items` of its result is steps.{id}.result[\"items\"]");
            return Err((format!("`{id}` has no `for_each`, so it has no `items`"), Some(hint)));
        }
    }
    Ok(Some(index))
}

fn input_reference(names: &Names<'_>, reference: &Reference) -> Option<Fault> {
    let (name, inputs) = (reference.name(1)?, names.inputs.as_ref()?);
    if inputs.iter().any(|input| input == name) {
        return None;
    }
    let hint = match near(name, inputs.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `input.{near}`?"),
        None => format!("declare it: [input] {name} = \"string\""),
    };
    Some((format!("there is no input `{name}`"), Some(hint)))
}

fn env_reference(names: &Names<'_>, reference: &Reference) -> Option<Fault> {
    let Some(name) = reference.name(1) else {
        return Some(("`env` must be followed by the name of a variable".into(), None));
    };
    if names.env.iter().any(|known| known == name) {
        return None;
    }
    let hint = match near(name, names.env.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `env.{near}`?"),
        None => format!("allow it at the top of the file: env = [\"{name}\"]"),
    };
    Some((format!("the variable `{name}` is not allowed"), Some(hint)))
}

fn member(reference: &Reference, root: &str, known: &[&str]) -> Option<Fault> {
    let name = reference.name(1)?;
    if known.contains(&name) {
        return None;
    }
    let hint = near(name, known.iter().copied()).map(|near| format!("did you mean `{root}.{near}`?"));
    Some((format!("`{root}` has no `{name}`, but {}", known.join(", ")), hint))
}

/// An order in which each step comes after its needs, that of the file where there is a choice. Steps of a
/// circle, and those behind one, are left out.
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

/// Names one circle among the steps that no order could be found for.
fn circle(report: &mut Report<'_>, drafts: &[Draft], needs: &[BTreeSet<usize>], order: &[usize]) {
    let settled: HashSet<usize> = order.iter().copied().collect();
    let Some(start) = (0..needs.len()).find(|index| !settled.contains(index)) else { return };
    // Each of them needs another of them, so that following those ends in a circle.
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
    let least = members.iter().enumerate().min_by_key(|(_, index)| **index).map_or(0, |(place, _)| place);
    members.rotate_left(least);
    let begin = members[0];
    let ids: Vec<&str> = members.iter().chain([&begin]).map(|index| &*drafts[*index].step.id).collect();
    let span: Span = drafts[begin].span;
    let message = format!("waits for itself: {}", ids.join(" needs "));
    let hint = "take one of these needs (or the expression behind it) out".to_owned();
    report.add(span, Some(&drafts[begin].step.id), "needs", message, Some(hint));
}
