//! From the text of a file to a plan, or to everything that is wrong with it.
//!
//! `reader` takes the tables apart key by key, `step` and `input` know what stands in them, `resolve` looks up
//! what the steps say of each other.

mod input;
pub(super) mod reader;
mod resolve;
mod step;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use self::reader::{Report, Table};
use super::{
    expression::Template,
    keys::TOP_KEYS,
    plan::{Action, MAX_DEPTH, MAX_PARALLEL, OnError, Parts, Plan},
    problem::Problem,
    source::{Field, Kind, Node, Page},
};
use crate::domain::body::Body;

/// The largest file, in bytes.
pub const LARGEST: usize = 4 << 20;
/// The most steps of one workflow.
pub const MOST_STEPS: usize = 10_000;

/// The text of a workflow file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file, as it is to be named in problems.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// Finds the workflow of a name, for steps that run one.
pub type Library<'a> = &'a dyn Fn(&str) -> Option<Source>;

/// Parses a workflow. On failure every problem that can be told is given (at most 200), in the order of the
/// file; those of workflows that it calls are named with their own files.
pub fn parse(source: &Source, library: Library<'_>) -> Result<Plan, Vec<Problem>> {
    let mut context = Context { library, known: HashMap::new(), open: vec![], problems: vec![] };
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

/// What is shared by a workflow and those that it calls.
struct Context<'a> {
    library: Library<'a>,
    /// The workflows that were parsed; `None` for broken ones.
    known: HashMap<String, Option<Arc<Plan>>>,
    /// The workflows that are being parsed, outermost first.
    open: Vec<String>,
    /// What is wrong with those that are called.
    problems: Vec<Problem>,
}

impl Context<'_> {
    /// The plan of a workflow that is called. An error is a message and a hint.
    fn child(&mut self, name: &str) -> Result<Arc<Plan>, (String, Option<String>)> {
        if self.open.iter().any(|open| open == name) {
            let circle: Vec<&str> = self.open.iter().skip_while(|open| *open != name).map(String::as_str).chain([name]).collect();
            return Err((
                format!("leads back to itself: {}", circle.join(" → ")),
                Some("workflows cannot run themselves; use `for_each`".into()),
            ));
        }
        if self.open.len() > MAX_DEPTH {
            return Err((format!("workflows call workflows more than {MAX_DEPTH} deep"), None));
        }
        if !self.known.contains_key(name) {
            let Some(source) = (self.library)(name) else {
                return Err((
                    format!("there is no workflow `{name}`"),
                    Some("`switchboard workflow list` shows those that there are".into()),
                ));
            };
            let plan = match parse_in(&source, self) {
                Ok(plan) => Some(Arc::new(plan)),
                Err(mut problems) => {
                    self.problems.append(&mut problems);
                    None
                }
            };
            self.known.insert(name.to_owned(), plan);
        }
        let broken = || (format!("the workflow `{name}` is broken itself"), Some("put that right first".to_owned()));
        let plan = self.known.get(name).cloned().flatten().ok_or_else(broken)?;
        if plan.name != name {
            // A run is kept with the texts of all its workflows, by their names: it could not be resumed.
            return Err((
                format!("the file of `{name}` says that it is named `{}`", plan.name),
                Some("name the file and the workflow alike, and call it by that name".into()),
            ));
        }
        // One that is known already was parsed at another depth.
        if self.open.len() + depth(&plan) > MAX_DEPTH + 1 {
            return Err((format!("workflows call workflows more than {MAX_DEPTH} deep"), None));
        }
        Ok(plan)
    }
}

/// How many workflows deep a plan goes; 1 for one that calls none.
fn depth(plan: &Plan) -> usize {
    let within = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Workflow { plan, .. } => Some(depth(plan)),
        _ => None,
    });
    1 + within.max().unwrap_or(0)
}

fn parse_in(source: &Source, context: &mut Context<'_>) -> Result<Plan, Vec<Problem>> {
    let page = Page::new(source);
    if source.text.len() > LARGEST {
        return Err(vec![page.problem((0, 0), None, "", "is larger than 4 MB").hint("this is probably not the file that you meant")]);
    }
    let root = page.parse()?;
    let mut report = Report { page, problems: vec![] };
    let mut table = Table { fields: root.fields().unwrap_or_default(), report: &mut report, step: None, key: String::new(), span: (0, 0) };
    let name = name(&mut table);
    context.open.push(name.clone());
    let parts = top(&mut table, context, name);
    context.open.pop();
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

/// Whether this may be the name of a workflow. An empty one is missing rather than wrong.
pub fn fits(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    name.len() <= 64 && name.chars().all(allowed) && !name.starts_with(['-', '_'])
}

/// The name in the file, or that of the file.
fn name(table: &mut Table<'_, '_, '_>) -> String {
    if table.field("name").is_none() {
        let file = table.report.page.source.file.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let stem = file.strip_suffix(".toml").unwrap_or(&file);
        if fits(stem) && !stem.is_empty() {
            return stem.to_owned();
        }
        let hint = "the file's own name cannot serve: write name = \"my_flow\"".to_owned();
        table.wrong((0, 0), "name", "is missing", Some(hint));
        return String::new();
    }
    let Some(name) = table.plain("name") else { return String::new() };
    if !fits(&name)
        && let Some(node) = table.node("name")
    {
        let hint = "small letters, digits, `-` and `_`, at most 64".to_owned();
        table.wrong((node.at, node.end), "name", format!("{name:?} is no name for a workflow"), Some(hint));
    }
    name
}

fn top(table: &mut Table<'_, '_, '_>, context: &mut Context<'_>, name: String) -> Option<Parts> {
    table.known(&TOP_KEYS);
    let (title, description, version) = (table.text("title"), table.text("description"), version(table));
    let timeout = table.duration("timeout");
    let max_parallel = table.count("max_parallel", 1000).map_or(MAX_PARALLEL, |count| count as usize);
    let on_error = table.choice("on_error", &OnError::ALL).unwrap_or_default();
    let env = env(table);
    let input = match table.inner("input") {
        Some(mut inner) => input::schema(&mut inner),
        None => Body::from(r#"{"type":"object","properties":{},"additionalProperties":false}"#),
    };
    let output = output(table);
    let (drafts, places) = steps(table, context, on_error);
    let file = table.report.page.source.file.clone();
    let text: Arc<str> = Arc::from(table.report.page.source.text.as_str());
    let found = resolve::resolve(table.report, drafts, &places, &output, &env, &input)?;
    Some(Parts {
        name,
        title,
        description,
        version,
        file,
        text,
        input,
        output,
        env,
        timeout,
        max_parallel,
        on_error,
        steps: found.steps,
        order: found.order,
        dependents: found.dependents,
        names: found.names,
    })
}

/// A version is a text or a number.
fn version(table: &mut Table<'_, '_, '_>) -> Option<String> {
    match table.node("version").map(|node| &node.kind) {
        Some(Kind::Integer(digits) | Kind::Float(Some(digits))) => Some(digits.clone()),
        _ => table.text("version"),
    }
}

fn env(table: &mut Table<'_, '_, '_>) -> Vec<String> {
    let names = table.strings("env");
    for (name, span) in &names {
        let fits = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !fits {
            table.wrong(*span, "env", format!("{name:?} is no name of an environment variable"), None);
        }
    }
    names.into_iter().map(|(name, _)| name).collect()
}

fn output(table: &mut Table<'_, '_, '_>) -> Vec<(String, Template)> {
    let Some(mut inner) = table.inner("output") else { return vec![] };
    inner.fields.iter().map(|field: &Field| (field.key.clone(), inner.template(&field.key, &field.value))).collect()
}

/// The steps that could be read, and where every id (also of those that could not) stands.
fn steps(table: &mut Table<'_, '_, '_>, context: &mut Context<'_>, on_error: OnError) -> (Vec<step::Draft>, HashSet<String>) {
    let (mut drafts, mut ids) = (vec![], HashSet::new());
    let Some(field) = table.field("step") else {
        let hint = "add [[step]] with an id and a tool".to_owned();
        table.wrong((0, 0), "step", "is missing: there is nothing to do", Some(hint));
        return (drafts, ids);
    };
    let nodes: &[Node] = match &field.value.kind {
        Kind::Array(items) => items,
        _ => {
            table.wrong((field.at, field.end), "step", "is no array of tables", Some("write [[step]] with two brackets".into()));
            return (drafts, ids);
        }
    };
    if nodes.is_empty() || nodes.len() > MOST_STEPS {
        let message = if nodes.is_empty() { "has no steps".to_owned() } else { format!("has more than {MOST_STEPS} steps") };
        table.wrong((field.at, field.end), "step", message, None);
        return (drafts, ids);
    }
    for node in nodes {
        let Some(fields) = node.fields() else {
            table.wrong((node.at, node.end), "step", format!("is {}, not a table", node.kind_name()), None);
            continue;
        };
        let id = node.get("id").and_then(Node::text);
        let mut inner = Table { report: table.report, fields, step: id, key: String::new(), span: header(node) };
        let draft = step::read(&mut inner, context, on_error);
        if let Some(id) = id
            && !ids.insert(id.to_owned())
        {
            let span = node.get("id").map_or(header(node), |node| (node.at, node.end));
            table.report.add(span, Some(id), "id", "is the id of another step already", Some("give each step its own id".into()));
            continue;
        }
        drafts.extend(draft);
    }
    (drafts, ids)
}

/// Where a step's header stands.
fn header(node: &Node) -> (usize, usize) {
    (node.at, node.end.min(node.at + "[[step]]".len()))
}

#[cfg(test)]
mod tests;
