//! The parser of workflow files: turns text into a plan, or into all problems of the file.
//!
//! `reader` reads tables key by key, `step` and `input` interpret their values, `resolve` resolves references between
//! steps.

mod input;
pub(super) mod reader;
pub(super) mod resolve;
mod step;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use self::{
    reader::{Report, Table},
    step::Defaults,
};
use super::{
    closest_match,
    expression::Template,
    keys::{CONCURRENCY_KEYS, TOP_KEYS},
    plan::{Action, Concurrency, Count, IfBusy, MAX_DEPTH, MAX_PARALLEL, OnError, Parts, Phase, Plan, TimeLimit},
    problem::Problem,
    source::Page,
};
use crate::domain::{
    body::Body,
    document::{Field, Kind, Node},
};

/// Maximum size of a file, in bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// Maximum number of steps in a workflow.
pub const MAX_STEPS: usize = 10_000;

/// The text of a workflow file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file name for problems.
    pub file: String,
    /// The text.
    pub text: String,
}

/// Returns the source of a workflow by name, for steps that run workflows.
pub type Library<'a> = &'a dyn Fn(&str) -> Option<Source>;

/// Parses a workflow. On failure, returns all problems (at most 200) in file order; problems of nested workflows
/// carry the names of their own files.
pub fn parse(source: &Source, library: Library<'_>) -> Result<Plan, Vec<Problem>> {
    parse_among(source, library, &[])
}

/// Parses a workflow as [`parse`] does. `names` are those of the workflows that it may run, for suggestions.
pub fn parse_among(source: &Source, library: Library<'_>, names: &[&str]) -> Result<Plan, Vec<Problem>> {
    let mut context = Context { library, names, parsed: HashMap::new(), parsing: vec![], problems: vec![] };
    let plan = parse_in(source, &mut context);
    let mut problems = context.problems;
    match plan {
        Ok(plan) if problems.is_empty() => Ok(plan),
        Ok(_) => Err(problems),
        Err(mut found) => {
            found.append(&mut problems);
            Err(found)
        }
    }
}

/// State shared by a workflow and its nested workflows.
struct Context<'a> {
    library: Library<'a>,
    names: &'a [&'a str],
    /// The workflows that were parsed; `None` for those with errors.
    parsed: HashMap<String, Option<Arc<Plan>>>,
    /// The workflows that are being parsed, outermost first.
    parsing: Vec<String>,
    /// Problems of the nested workflows.
    problems: Vec<Problem>,
}

impl Context<'_> {
    /// Returns the plan of a nested workflow. The error is a message and a hint.
    fn child(&mut self, name: &str) -> Result<Arc<Plan>, (String, Option<String>)> {
        if self.parsing.iter().any(|parsing| parsing == name) {
            let cycle: Vec<&str> = self.parsing.iter().skip_while(|parsing| *parsing != name).map(String::as_str).chain([name]).collect();
            return Err((format!("workflow cycle: {}", cycle.join(" → ")), Some("workflows cannot run themselves; use `for_each`".into())));
        }
        if self.parsing.len() > MAX_DEPTH {
            return Err((format!("workflows are nested more than {MAX_DEPTH} deep"), None));
        }
        if !self.parsed.contains_key(name) {
            let Some(source) = (self.library)(name) else {
                let hint = match closest_match(name, self.names.iter().copied()) {
                    Some(candidate) => format!("did you mean `{candidate}`?"),
                    None => "`switchboard workflow list` lists the workflows".to_owned(),
                };
                return Err((format!("unknown workflow `{name}`"), Some(hint)));
            };
            let plan = match parse_in(&source, self) {
                Ok(plan) => Some(Arc::new(plan)),
                Err(mut problems) => {
                    self.problems.append(&mut problems);
                    None
                }
            };
            self.parsed.insert(name.to_owned(), plan);
        }
        let has_errors = || (format!("the workflow `{name}` has errors"), Some("fix them first".to_owned()));
        let plan = self.parsed.get(name).cloned().flatten().ok_or_else(has_errors)?;
        if plan.name != name {
            // A run is stored with the texts of all its workflows by name. With a different name it could not be
            // resumed.
            return Err((
                format!("the file of workflow `{name}` declares the name `{}`", plan.name),
                Some("use the same name for the file, the workflow and the call".into()),
            ));
        }
        // A plan from the cache was parsed at another depth.
        if self.parsing.len() + depth(&plan) > MAX_DEPTH + 1 {
            return Err((format!("workflows are nested more than {MAX_DEPTH} deep"), None));
        }
        Ok(plan)
    }
}

/// Returns the nesting depth of a plan; 1 without nested workflows.
fn depth(plan: &Plan) -> usize {
    let nested = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Workflow { plan, .. } => Some(depth(plan)),
        _ => None,
    });
    1 + nested.max().unwrap_or(0)
}

fn parse_in(source: &Source, context: &mut Context<'_>) -> Result<Plan, Vec<Problem>> {
    let page = Page::new(source);
    if source.text.len() > MAX_BYTES {
        return Err(vec![page.problem((0, 0), None, "", "is larger than 4 MB").hint("this is probably the wrong file")]);
    }
    let root = page.parse()?;
    let mut report = Report { page, problems: vec![] };
    let mut table = Table { fields: root.fields().unwrap_or_default(), report: &mut report, step: None, key: String::new(), span: (0, 0) };
    let name = name(&mut table);
    context.parsing.push(name.clone());
    let parts = read_top(&mut table, context, name);
    context.parsing.pop();
    let mut problems = report.problems;
    match parts {
        Some(parts) if problems.is_empty() => Ok(Plan::seal(parts)),
        _ => {
            problems.sort_by_key(|problem| problem.place);
            problems.dedup();
            Err(problems)
        }
    }
}

/// Returns whether this is a valid workflow name. An empty name passes: it is reported as missing.
pub fn is_valid_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    name.len() <= 64 && name.chars().all(allowed) && !name.starts_with(['-', '_'])
}

/// Returns the name in the file, or the file name without its ending.
fn name(table: &mut Table<'_, '_, '_>) -> String {
    if table.field("name").is_none() {
        let file = table.report.page.source.file.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let stem = file.strip_suffix(".toml").unwrap_or(&file);
        if is_valid_name(stem) && !stem.is_empty() {
            return stem.to_owned();
        }
        let hint = "the file name is not a valid workflow name: set name = \"my_flow\"".to_owned();
        table.report_problem((0, 0), "name", "is missing", Some(hint));
        return String::new();
    }
    let Some(name) = table.literal_text("name") else { return String::new() };
    if !is_valid_name(&name)
        && let Some(node) = table.node("name")
    {
        let hint = "lowercase letters, digits, `-` and `_`, at most 64 characters".to_owned();
        table.report_problem((node.at, node.end), "name", format!("{name:?} is not a valid workflow name"), Some(hint));
    }
    name
}

fn read_top(table: &mut Table<'_, '_, '_>, context: &mut Context<'_>, name: String) -> Option<Parts> {
    table.check_keys(&TOP_KEYS);
    let (title, description, version) = (table.text("title"), table.text("description"), version(table));
    let expose = table.boolean("expose").unwrap_or(false);
    let timeout = table.time_limit("timeout");
    let max_parallel = table.computed_count("max_parallel").unwrap_or(Count::Fixed(MAX_PARALLEL));
    let concurrency = concurrency(table);
    let on_error = table.choice("on_error", &OnError::ALL).unwrap_or_default();
    let env = env(table);
    let input = match table.inner("input") {
        Some(mut inner) => input::schema(&mut inner),
        None => Body::from(r#"{"type":"object","properties":{},"additionalProperties":false}"#),
    };
    let output = output(table);
    let defaults = table.inner("defaults").map(|mut inner| Defaults::read(&mut inner)).unwrap_or_default();
    let (drafts, places) = steps(table, context, (on_error, &defaults));
    let file = table.report.page.source.file.clone();
    let text: Arc<str> = Arc::from(table.report.page.source.text.as_str());
    let top: Vec<&Template> =
        [timeout.as_ref().and_then(TimeLimit::template), max_parallel.template(), concurrency.as_ref().map(|one| &one.group)]
            .into_iter()
            .flatten()
            .collect();
    let found = resolve::resolve(table.report, drafts, &places, (&top, &output), &env, &input)?;
    Some(Parts {
        name,
        title,
        description,
        version,
        expose,
        file,
        text,
        input,
        output,
        env,
        timeout,
        max_parallel,
        concurrency,
        on_error,
        steps: found.steps,
        order: found.order,
        dependents: found.dependents,
        names: found.names,
    })
}

/// Reads `concurrency`: the name of a group, or a table.
fn concurrency(table: &mut Table<'_, '_, '_>) -> Option<Concurrency> {
    if table.node("concurrency")?.fields().is_none() {
        return table.text_template("concurrency").map(|group| Concurrency { group, if_busy: IfBusy::Wait });
    }
    let mut inner = table.inner("concurrency")?;
    inner.check_keys(&CONCURRENCY_KEYS);
    if inner.field("group").is_none() {
        let span = inner.span;
        inner.report_problem(span, "group", "is missing", Some("name the group: group = \"deploy\"".into()));
    }
    let if_busy = inner.choice("if_busy", &IfBusy::ALL).unwrap_or_default();
    Some(Concurrency { group: inner.text_template("group")?, if_busy })
}

/// Returns the version, which may be a string or a number.
fn version(table: &mut Table<'_, '_, '_>) -> Option<String> {
    match table.node("version").and_then(Node::digits) {
        Some(digits) => Some(digits.to_owned()),
        None => table.text("version"),
    }
}

fn env(table: &mut Table<'_, '_, '_>) -> Vec<String> {
    let names = table.strings("env");
    for (name, span) in &names {
        let is_valid_name = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_valid_name {
            table.report_problem(*span, "env", format!("{name:?} is not a valid environment variable name"), None);
        }
    }
    names.into_iter().map(|(name, _)| name).collect()
}

fn output(table: &mut Table<'_, '_, '_>) -> Vec<(String, Template)> {
    let Some(mut inner) = table.inner("output") else { return vec![] };
    inner.fields.iter().map(|field: &Field| (field.key.clone(), inner.template(&field.key, &field.value))).collect()
}

/// Returns the steps that could be read, phase by phase, and the ids of all steps.
fn steps(table: &mut Table<'_, '_, '_>, context: &mut Context<'_>, inherited: (OnError, &Defaults)) -> (Vec<step::Draft>, HashSet<String>) {
    let (mut drafts, mut ids) = (vec![], HashSet::new());
    if table.field("step").is_none() {
        let hint = "add [[step]] with an id and a tool".to_owned();
        table.report_problem((0, 0), "step", "is missing: a workflow needs at least one step", Some(hint));
        return (drafts, ids);
    }
    for phase in Phase::ALL {
        steps_of(table, context, (phase, inherited.0, inherited.1), &mut drafts, &mut ids);
    }
    (drafts, ids)
}

/// Reads the steps of one phase.
fn steps_of(
    table: &mut Table<'_, '_, '_>,
    context: &mut Context<'_>,
    (phase, on_error, defaults): (Phase, OnError, &Defaults),
    drafts: &mut Vec<step::Draft>,
    ids: &mut HashSet<String>,
) {
    let key = phase.key();
    let Some(field) = table.field(key) else { return };
    let nodes: &[Node] = match &field.value.kind {
        Kind::Array(items) => items,
        _ => {
            let hint = format!("write [[{key}]] with two brackets");
            return table.report_problem((field.at, field.end), key, "is not an array of tables", Some(hint));
        }
    };
    if nodes.is_empty() || nodes.len() > MAX_STEPS {
        let message = if nodes.is_empty() { "has no steps".to_owned() } else { format!("has more than {MAX_STEPS} steps") };
        return table.report_problem((field.at, field.end), key, message, None);
    }
    for node in nodes {
        let Some(fields) = node.fields() else {
            table.report_problem((node.at, node.end), key, format!("is {}, not a table", node.kind_name()), None);
            continue;
        };
        let id = node.get("id").and_then(Node::text);
        let mut inner = Table { report: table.report, fields, step: id, key: String::new(), span: header(node, key) };
        let draft = step::read(&mut inner, context, (phase, on_error, defaults));
        if let Some(id) = id
            && !ids.insert(id.to_owned())
        {
            let span = node.get("id").map_or(header(node, key), |node| (node.at, node.end));
            table.report.add(span, Some(id), "id", "is already the id of another step", Some("give each step a unique id".into()));
            continue;
        }
        drafts.extend(draft);
    }
}

/// Returns the span of the header of a step in the array `key`.
fn header(node: &Node, key: &str) -> (usize, usize) {
    (node.at, node.end.min(node.at + "[[]]".len() + key.len()))
}

#[cfg(test)]
mod tests;
