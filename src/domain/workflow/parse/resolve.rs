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
        plan::{Action, Count, Fallback, Phase, PlanStep, TimeLimit, ToolCall},
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
    /// `previous` and `index`.
    round: bool,
    /// `error` and `attempt`.
    error: bool,
    /// The step's own `result` and `text`.
    own: bool,
    /// The phase of the step.
    phase: Phase,
}

/// The names that references are resolved against.
struct Names<'a> {
    indices: HashMap<Arc<str>, usize>,
    /// The ids of all steps, including those that could not be read.
    all: &'a HashSet<String>,
    /// For each readable step, whether it has a `for_each` or a `repeat`.
    loops: Vec<bool>,
    /// For each readable step, its phase.
    phases: Vec<Phase>,
    env: &'a [String],
    /// The declared inputs, if no others are allowed.
    inputs: Option<Vec<String>>,
}

/// Resolves the steps. Returns `None` after reporting problems.
pub(super) fn resolve(
    report: &mut Report<'_>,
    drafts: Vec<Draft>,
    all: &HashSet<String>,
    (top, output): (&[&Template], &[(String, Template)]),
    env: &[String],
    input: &Body,
) -> Option<Resolved> {
    let indices: HashMap<Arc<str>, usize> = drafts.iter().enumerate().map(|(index, draft)| (draft.step.id.clone(), index)).collect();
    let loops = drafts.iter().map(|draft| draft.step.has_items()).collect();
    let phases = drafts.iter().map(|draft| draft.step.phase).collect();
    let names = Names { indices, all, loops, phases, env, inputs: closed_inputs(input) };
    let mut needs: Vec<BTreeSet<usize>> = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.iter().enumerate() {
        let mut found = declared_needs(report, &names, draft, index);
        let id = draft.step.id.clone();
        each_expression(&draft.step, &mut |expr, locals| references(report, &names, expr, Some((&id, index)), locals, &mut found));
        needs.push(found);
        conditions(report, draft, input);
    }
    let elses: Vec<Option<usize>> =
        drafts.iter().enumerate().map(|(index, draft)| else_of(report, &names, (&drafts, draft), index)).collect();
    for (index, of) in elses.iter().enumerate() {
        needs[index].extend(of);
    }
    for template in top {
        template.each_expr(&mut |expr| before_steps(report, &names, expr));
    }
    for (_, template) in output {
        let mut unused = BTreeSet::new();
        template.each_expr(&mut |expr| references(report, &names, expr, None, Locals::default(), &mut unused));
    }
    let mut order = order(&needs);
    if order.len() < needs.len() {
        report_cycle(report, &drafts, &needs, &order);
    }
    if !report.problems.is_empty() {
        return None;
    }
    // No step needs one of a later phase, so the order stays topological.
    order.sort_by_key(|step| drafts[*step].step.phase);
    let mut dependents = vec![vec![]; needs.len()];
    let mut steps = Vec::with_capacity(drafts.len());
    for (index, ((draft, needs), else_of)) in drafts.into_iter().zip(needs).zip(elses).enumerate() {
        for need in &needs {
            dependents[*need].push(index);
        }
        steps.push(PlanStep { needs: needs.into_iter().collect(), else_of, ..draft.step });
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
            Some(other) => match names.later(*other, draft.step.phase) {
                Some(message) => report.add(*span, step, "needs", message, None),
                None => _ = found.insert(*other),
            },
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

/// Reports conditions that are an input of another type than `boolean`.
fn conditions(report: &mut Report<'_>, draft: &Draft, input: &Body) {
    let step = &draft.step;
    let repeat = step.repeat.iter().flat_map(|repeat| repeat.until.iter().chain(&repeat.r#while));
    let expect = step.expect.iter().map(|expectation| &expectation.that);
    for condition in step.when.iter().chain(repeat).chain(expect) {
        let Some(reference) = condition.single_reference().filter(|reference| reference.root() == "input") else { continue };
        let schema: Value = input.parse().unwrap_or_default();
        let name = reference.name(1).filter(|_| reference.path.len() == 2);
        let kind = name.and_then(|name| schema.get("properties")?.get(name)?.get("type")?.as_str().map(str::to_owned));
        if let Some(kind) = kind.filter(|kind| kind != "boolean") {
            let hint = format!("compare it with a value: `{} == …`", condition.source());
            let message = format!("`{}` is of type {kind}, not true or false", condition.source());
            report.add(condition.span_of(reference), Some(&step.id), condition.key(), message, Some(hint));
        }
    }
}

/// Returns the step in `else`, which must have a `when`.
fn else_of(report: &mut Report<'_>, names: &Names<'_>, (drafts, draft): (&[Draft], &Draft), index: usize) -> Option<usize> {
    let (name, span) = draft.else_of.as_ref()?;
    let step = Some(&*draft.step.id);
    let Some(other) = names.indices.get(name.as_str()).copied() else {
        if !names.all.contains(name) {
            let hint = closest_match(name, names.all.iter().map(String::as_str)).map(|candidate| format!("did you mean `{candidate}`?"));
            report.add(*span, step, "else", format!("unknown step `{name}`"), hint);
        }
        return None;
    };
    if other == index {
        report.add(*span, step, "else", "refers to the step itself", None);
    } else if drafts[other].step.phase != draft.step.phase {
        report.add(*span, step, "else", format!("`{name}` is not a step of `{}`", draft.step.phase.key()), None);
    } else if drafts[other].step.when.is_none() {
        let hint = "`else` names the step whose `when` is false".to_owned();
        report.add(*span, step, "else", format!("`{name}` has no `when`, so its `else` never runs"), Some(hint));
    } else {
        return Some(other);
    }
    None
}

/// Calls `each` for every expression of a step.
pub(in crate::domain::workflow) fn expressions(step: &PlanStep, each: &mut dyn FnMut(&Expr)) {
    each_expression(step, &mut |expr, _| each(expr));
}

/// Calls `each` for every expression of a step, with the names that it may use.
fn each_expression(step: &PlanStep, each: &mut dyn FnMut(&Expr, Locals)) {
    let none = Locals { phase: step.phase, ..Locals::default() };
    let in_item = Locals { item: step.for_each.is_some(), round: step.repeat.is_some(), ..none };
    let with_result = Locals { own: true, ..in_item };
    let mut call = |call: &ToolCall, locals| call.arguments.each_expr(&mut |expr| each(expr, locals));
    match &step.action {
        Action::Tool(tool) => call(tool, in_item),
        Action::Let { value: template }
        | Action::Workflow { input: template, .. }
        | Action::Prompt { arguments: template, .. }
        | Action::Resource { uri: template, .. }
        | Action::Approve { message: template }
        | Action::Elicit { message: template, .. } => template.each_expr(&mut |expr| each(expr, in_item)),
    }
    if let Some(when) = &step.when {
        each(when, none);
    }
    if let Some(limit) = step.timeout.as_ref().and_then(TimeLimit::template) {
        limit.each_expr(&mut |expr| each(expr, in_item));
    }
    if let Some(when) = step.retry.as_ref().and_then(|retry| retry.when.as_ref()) {
        each(when, Locals { error: true, ..in_item });
    }
    if let Some(repeat) = &step.repeat {
        repeat.until.iter().for_each(|until| each(until, with_result));
        repeat.r#while.iter().for_each(|condition| each(condition, in_item));
    }
    if let Some(for_each) = &step.for_each {
        for_each.items.each_expr(&mut |expr| each(expr, none));
        if let Some(count) = for_each.max_parallel.as_ref().and_then(Count::template) {
            count.each_expr(&mut |expr| each(expr, none));
        }
    }
    let undoes = step.fallback.iter().filter_map(|fallback| match fallback {
        Fallback::Tool { compensate, .. } => compensate.as_ref(),
        Fallback::Value(_) => None,
    });
    for undo in step.compensate.iter().chain(undoes) {
        if let Some(when) = undo.retry.as_ref().and_then(|retry| retry.when.as_ref()) {
            each(when, Locals { error: true, ..with_result });
        }
        if let Some(limit) = undo.timeout.as_ref().and_then(TimeLimit::template) {
            limit.each_expr(&mut |expr| each(expr, in_item));
        }
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

/// Checks the references of an expression that is evaluated before the steps.
fn before_steps(report: &mut Report<'_>, names: &Names<'_>, expr: &Expr) {
    let of_steps = expr.references().iter().find(|reference| reference.root() == "steps");
    match of_steps {
        Some(reference) => {
            let hint = "use `input`, `env` or `run`".to_owned();
            let message = format!("`{}` is evaluated before the steps run", expr.key());
            report.add(expr.span_of(reference), None, expr.key(), message, Some(hint));
        }
        None => references(report, names, expr, None, Locals::default(), &mut BTreeSet::new()),
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
            "steps" => match step_reference(names, reference, of.map(|(_, index)| index), locals.phase) {
                Ok(index) => {
                    needs.extend(index);
                    None
                }
                Err(problem) => Some(problem),
            },
            "input" => input_reference(names, reference),
            "env" => env_reference(names, reference),
            "omit" if reference.path.len() == 1 => None,
            "run" if reference.name(1) == Some("outcome") && locals.phase == Phase::Main => {
                let hint = "for a step write `steps.ID.outcome`".to_owned();
                Some(("`run.outcome` is available only in `on_failure` and `finally` steps".to_owned(), Some(hint)))
            }
            "run" if locals.phase == Phase::Main => member(reference, "run", &RUN_MEMBERS),
            "run" => member(reference, "run", &[&RUN_MEMBERS[..], &["outcome"]].concat()),
            "failure" if locals.phase == Phase::Main => {
                let hint = "for a step write `steps.ID.error`".to_owned();
                Some(("`failure` is available only in `on_failure` and `finally` steps".to_owned(), Some(hint)))
            }
            "failure" => member(reference, "failure", &["step", "kind", "message"]),
            "index" if locals.round => None,
            "previous" if locals.round => None,
            "error" if locals.error => member(reference, "error", &["kind", "message"]),
            "attempt" if locals.error => None,
            "error" | "attempt" => {
                let hint = "for another step write `steps.ID.error`".to_owned();
                Some((format!("`{}` is available only in `retry.when`", reference.root()), Some(hint)))
            }
            "previous" => Some(("`previous` is available only in a step with `repeat`".to_owned(), None)),
            "item" | "index" if !locals.item => Some((format!("`{}` is available only in a step with `for_each`", reference.root()), None)),
            "result" | "text" if !locals.own => {
                let hint = "for another step write `steps.ID.result`".to_owned();
                Some((format!("`{}` is available only in `expect`, `compensate` and `repeat.until`", reference.root()), Some(hint)))
            }
            "item" | "index" | "result" | "text" => None,
            other => {
                let all = ["input", "steps", "env", "run", "item", "index", "previous", "result", "text", "failure"];
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

/// The members of `run` that every expression may use.
const RUN_MEMBERS: [&str; 4] = ["id", "started", "started_ms", "attempt"];

type Problem = (String, Option<String>);

impl Names<'_> {
    /// Returns the problem if the step `other` runs in a later phase than `phase`.
    fn later(&self, other: usize, phase: Phase) -> Option<String> {
        let later = self.phases.get(other).copied().filter(|other| *other > phase)?;
        Some(format!("is a step of `{}`, which runs later", later.key()))
    }
}

fn step_reference(names: &Names<'_>, reference: &Reference, of: Option<usize>, phase: Phase) -> Result<Option<usize>, Problem> {
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
    if let Some(message) = names.later(index, phase) {
        return Err((format!("`{id}` {message}"), None));
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
            return Err((format!("`{id}` has no `for_each` or `repeat`, so it has no `items`"), Some(hint)));
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
