//! The console's requests for runs, dry-run previews and names of new workflows. Pure.

use crate::domain::{
    body::Body,
    call::Origin,
    run::{RunFrom, RunSpec},
    workflow::{
        dry_run::{DryRunStep, Execution, PartialValue, Predicted, PredictedFallback, ReadEnv, dry_run},
        expression::Data,
        library::WorkflowEntry,
        plan::{ActionKind, Plan},
    },
};

/// Returns the request for a run from the console, which puts questions to the user. `name` is the workflow name of the
/// run.
pub fn spec(name: &str, plan: &Plan, input: Body, from: Option<RunFrom>) -> RunSpec {
    RunSpec { ask: true, from, ..RunSpec::of_plan(name, plan, input, Origin::Console) }
}

/// What a step, or an item of it, would do, as far as that is known before a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// Its path.
    pub step: String,
    /// The action and its target.
    pub what: String,
    /// Further lines: condition, `for_each`, compensation, fallback.
    pub more: Vec<(&'static str, String)>,
    /// Fields of the fallbacks and the compensation.
    pub later: Vec<(&'static str, String)>,
    /// Its arguments as JSON.
    pub arguments: Option<String>,
    /// Whether all arguments are known; otherwise unevaluated expressions are shown as written.
    pub known: bool,
    /// Whether any value shown is unknown.
    pub open: bool,
    /// Nesting depth of the workflow.
    pub depth: usize,
}

/// Returns what each step of a plan would do with this input, in the order in which steps can run, each followed by its
/// items and by the steps of the workflow that it runs. Nothing is called. The environment is read as by `run --dry-run`:
/// the variables that the workflow lists, secrets masked.
pub fn preview(plan: &Plan, input: &Body) -> Vec<Preview> {
    preview_with(plan, input, &|name| std::env::var(name).ok())
}

fn preview_with(plan: &Plan, input: &Body, env: ReadEnv<'_>) -> Vec<Preview> {
    let given = Data::parse(&input.text()).unwrap_or_default();
    let mut rows = vec![];
    dry_run(plan, &given, Some(env)).iter().for_each(|step| preview_step(step, 0, &mut rows));
    rows
}

fn preview_step(step: &DryRunStep, depth: usize, rows: &mut Vec<Preview>) {
    let what = match step.kind {
        ActionKind::Tool => step.subject.clone(),
        kind => format!("{} {}", kind.word(), step.subject),
    };
    let mut row = Preview { step: step.path.clone(), what, more: vec![], later: vec![], arguments: None, known: true, open: false, depth };
    if !step.needs.is_empty() {
        let needs: Vec<&str> = step.needs.iter().map(|need| &**need).collect();
        row.more.push(("after", needs.join(", ")));
    }
    match &step.predicted {
        Predicted::Runs => {}
        Predicted::Undecided => row.more.extend(step.when.iter().map(|when| ("only if", when.clone()))),
        Predicted::Skipped { why } => row.more.push(("skipped", why.clone())),
        Predicted::Fails { why } => row.more.push(("fails", why.clone())),
    }
    let total = step.each.as_ref().and_then(|each| each.total);
    if let Some(each) = &step.each {
        row.more.push(("for each of", total.map_or_else(|| each.items.data.display(), |total| format!("{total} items"))));
        row.open = !each.items.known;
    }
    if total.is_none()
        && let Some(turn) = step.executions.first()
    {
        return preview_turn(turn, row, rows);
    }
    let listed = step.executions.len();
    if let Some(more) = total.filter(|total| *total > listed && listed > 0) {
        row.more.push(("listed", format!("the first {listed} of {more}")));
    }
    rows.push(row);
    for turn in &step.executions {
        let what = turn.item.as_ref().map(Data::display).unwrap_or_default();
        let row = Preview { step: turn.path.clone(), what, more: vec![], later: vec![], arguments: None, known: true, open: false, depth };
        preview_turn(turn, row, rows);
    }
}

fn preview_turn(turn: &Execution, mut row: Preview, rows: &mut Vec<Preview>) {
    let mut open = row.open;
    let mut words = |value: &PartialValue| {
        open |= !value.known;
        value.data.display()
    };
    let (mut more, mut later) = (vec![], vec![]);
    more.extend(turn.asks.iter().map(|asks| ("asks", words(asks))));
    later.extend(turn.fallbacks.iter().map(|instead| match instead {
        PredictedFallback::Call(call) => ("else", format!("{} {}", call.tool, words(&call.arguments))),
        PredictedFallback::Value(value) => ("else", words(value)),
    }));
    later.extend(turn.undo.iter().map(|call| ("undone by", format!("{} {}", call.tool, words(&call.arguments)))));
    row.arguments = turn.sends.as_ref().map(words);
    more.extend(turn.sends.iter().chain(&turn.asks).filter_map(|value| Some(("fails", value.error.clone()?))));
    if turn.truncated {
        more.push(("within", "too many steps to list".to_owned()));
    }
    row.more.extend(more);
    row.later = later;
    row.known = turn.sends.as_ref().is_none_or(|sends| sends.known);
    row.open = open;
    let depth = row.depth + 1;
    rows.push(row);
    turn.nested.iter().for_each(|step| preview_step(step, depth, rows));
}

/// Returns a name for a new workflow that no file has: `base`, `base_2`, …
pub fn free_name(base: &str, flows: &[WorkflowEntry]) -> String {
    let clean: String = base.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let clean = if clean.is_empty() { "workflow".to_owned() } else { clean };
    let taken = |name: &str| flows.iter().any(|flow| &*flow.name == name);
    let numbered = (2u32..).map(|n| format!("{clean}_{n}"));
    std::iter::once(clean.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
}

/// Returns what is wrong with a workflow name, if anything.
pub fn name_trouble(name: &str, flows: &[WorkflowEntry]) -> Option<String> {
    let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
    if !fits {
        return Some("a name consists of lower-case letters, digits, - and _".into());
    }
    flows.iter().any(|flow| &*flow.name == name).then(|| format!("a workflow {name} exists already; choose another name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        run::WorkflowText,
        workflow::{DEMO, library::WorkflowLibrary},
    };

    fn library() -> WorkflowLibrary {
        let text = |(name, text): &(&str, &str)| WorkflowText { name: (*name).into(), file: format!("{name}.toml"), text: (*text).into() };
        WorkflowLibrary { files: DEMO.iter().map(text).collect(), ..WorkflowLibrary::default() }
    }

    #[test]
    fn the_environment_is_shown_as_headless_with_secrets_masked() {
        let text = "name = \"t\"\nenv = [\"PLACE\", \"MY_TOKEN\"]\n[[step]]\nid = \"a\"\ntool = \"a\"\n\
                    arguments = { at = \"{{ env.PLACE }}\", by = \"{{ env.MY_TOKEN }}\" }\n";
        let source = crate::domain::workflow::parse::Source { file: "t.toml".into(), text: text.into() };
        let plan = crate::domain::workflow::parse::parse(&source, &|_| None).unwrap();
        let env = |name: &str| Some(if name == "PLACE" { "here" } else { "hunter2-token" }.to_owned());
        let rows = preview_with(&plan, &Body::from("{}"), &env);
        assert_eq!((rows[0].arguments.as_deref(), rows[0].known), (Some(r#"{"at":"here","by":"•••"}"#), true));
    }

    #[test]
    fn the_workflows_of_the_demo_are_read_and_previewed() {
        let flows = library().entries();
        assert!(flows.iter().all(|flow| flow.plan.is_ok()));
        let plan = flows[0].plan.as_ref().unwrap();
        let steps = preview(plan, &Body::from(r#"{"email":"a@b.c","name":"Ann","role":"viewer"}"#));
        assert_eq!(steps[0].arguments.as_deref(), Some(r#"{"email":"a@b.c","name":"Ann","role":"viewer"}"#));
        assert!(steps[0].known && steps[0].open && !steps[1].known, "only the compensation of the first is unknown");
        assert!(steps[1].arguments.as_ref().unwrap().contains("{{ steps.create_user.result.email }}"));
        assert!(steps[0].later.contains(&("undone by", r#"database_delete_user {"userId":"{{ result.userId }}"}"#.into())));
        let spec = spec("onboard_new_user", plan, Body::from("{}"), None);
        assert_eq!((&*spec.workflow, spec.sources.len(), spec.ask), ("onboard_new_user", 1, true));
    }

    #[test]
    fn items_and_workflows_within_are_previewed_below_their_step() {
        let text = |name: &str, text: &str| WorkflowText { name: name.into(), file: format!("{name}.toml"), text: text.into() };
        let outer = r#"
            name = "outer"
            [input]
            names = { type = "array", items = { type = "string" } }
            [[step]]
            id = "greet"
            workflow = "inner"
            for_each = "{{ input.names }}"
            arguments = { who = "{{ item }}" }
            [[step]]
            id = "sure"
            when = "input.names | length > 5"
            approve = "All of them?"
            [[step]]
            id = "ask"
            approve = "Greet {{ input.names | join(' and ') }}?"
        "#;
        let inner = r#"
            name = "inner"
            [input]
            who = "string"
            [[step]]
            id = "call"
            tool = "t"
            arguments = { who = "{{ input.who }}" }
            [[step.fallback]]
            tool = "u"
            arguments = { who = "{{ input.who }}" }
        "#;
        let flows = WorkflowLibrary { files: vec![text("outer", outer), text("inner", inner)], ..WorkflowLibrary::default() }.entries();
        let plan = flows[0].plan.as_ref().unwrap();
        let rows = preview(plan, &Body::from(r#"{"names":["Ann","Bob"]}"#));
        let paths: Vec<_> = rows.iter().map(|row| (row.step.as_str(), row.depth)).collect();
        let within = [("greet[0]", 0), ("greet[0]/call", 1), ("greet[1]", 0), ("greet[1]/call", 1)];
        assert_eq!(paths, [vec![("greet", 0)], within.to_vec(), vec![("sure", 0), ("ask", 0)]].concat());
        assert_eq!(rows[4].later, [("else", r#"u {"who":"Bob"}"#.to_owned())]);
        assert_eq!(rows[5].more, [("skipped", "when: input.names | length > 5".to_owned())]);
        assert_eq!(rows[6].more, [("asks", "Greet Ann and Bob?".to_owned())]);
        assert!(rows.iter().all(|row| row.known && !row.open));
    }

    #[test]
    fn names_for_new_ones_are_free() {
        let flows = library().entries();
        assert_eq!(free_name("Notify All", &flows), "notify_all_2");
        assert_eq!(free_name("", &flows), "workflow");
        assert!(name_trouble("notify_all", &flows).unwrap().contains("already"));
        assert!(name_trouble("Ä", &flows).is_some() && name_trouble("new-one", &flows).is_none());
    }
}
