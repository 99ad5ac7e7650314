//! The workflows that the console knows: their files as plans or as problems, and what can be told of one without running it.
//!
//! Pure. The composition root finds the files and says when they change; the model keeps this.

use std::sync::Arc;

use crate::domain::{
    body::Body,
    call::Origin,
    run::{RunFrom, RunSpec, WorkflowText},
    workflow::{
        expression::{Data, RunFacts, Scope},
        parse::{Source, parse},
        plan::{Action, Fallback, Plan},
        problem::Problem,
    },
};

/// The workflow files as they were found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shelf {
    /// Names, places and texts.
    pub files: Vec<WorkflowText>,
    /// Where a new one is put; `None` when there is no place.
    pub folder: Option<String>,
    /// Files that could not be read, a line each.
    pub problems: Vec<String>,
}

/// A workflow file.
pub struct Flow {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is.
    pub file: String,
    /// Its plan, or everything that is wrong with it.
    pub plan: Result<Arc<Plan>, Vec<Problem>>,
}

impl Flow {
    /// What it is called for people, if that is more than its name.
    pub fn title(&self) -> Option<&str> {
        self.plan.as_ref().ok()?.title.as_deref()
    }
}

/// Reads every file. A workflow finds those that it runs among all of them.
pub fn flows(shelf: &Shelf) -> Vec<Flow> {
    let source = |text: &WorkflowText| Source { file: text.file.clone(), text: text.text.clone() };
    let library = |name: &str| shelf.files.iter().find(|text| text.name == name).map(source);
    let flow = |text: &WorkflowText| Flow {
        name: text.name.as_str().into(),
        file: text.file.clone(),
        plan: parse(&source(text), &library).map(Arc::new),
    };
    shelf.files.iter().map(flow).collect()
}

/// What the engine needs to run a plan: everything that it is made of, so that a journal can keep it.
pub fn spec(plan: &Plan, input: Body, from: Option<RunFrom>) -> RunSpec {
    let text = |plan: &Plan| WorkflowText { name: plan.name.clone(), file: plan.file.clone(), text: plan.text.to_string() };
    let children = plan.children();
    RunSpec {
        workflow: plan.name.as_str().into(),
        sources: std::iter::once(text(plan)).chain(children.iter().map(|child| text(child))).collect(),
        input,
        origin: Origin::Console,
        timeout: None,
        set: vec![],
        answers: vec![],
        ask: true,
        from,
        env: Default::default(),
    }
}

/// What a step would do, as far as it is known before a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Preview {
    /// Its id.
    pub step: Arc<str>,
    /// What it does, in words.
    pub what: String,
    /// Further words: when, for each of what, what undoes it, what answers in its place.
    pub more: Vec<(&'static str, String)>,
    /// What it would send, as JSON.
    pub arguments: Option<String>,
    /// Whether all of that is known; otherwise expressions stand in it as they are written.
    pub known: bool,
}

/// What each step of a plan would do with this input, in the order in which they can run. Nothing is called.
pub fn preview(plan: &Plan, input: &Body) -> Vec<Preview> {
    let given = Data::parse(&input.text()).unwrap_or_default();
    let facts = RunFacts { id: "RUN".into(), started_ms: 0, attempt: 1 };
    let scope = Scope::new(&plan.names, given, &facts, []);
    plan.order.iter().filter_map(|index| plan.steps.get(*index)).map(|step| {
        let template = match &step.action {
            Action::Tool(call) => Some(&call.arguments),
            Action::Workflow { input, .. } => Some(input),
            Action::Prompt { arguments, .. } => Some(arguments),
            Action::Resource { uri, .. } => Some(uri),
            Action::Approve { .. } | Action::Elicit { .. } => None,
        };
        let shown = template.map(|template| template.preview(&scope));
        let mut more = vec![];
        if !step.needs.is_empty() {
            let needs: Vec<&str> = step.needs.iter().filter_map(|need| plan.steps.get(*need)).map(|need| &*need.id).collect();
            more.push(("after", needs.join(", ")));
        }
        more.extend(step.when.iter().map(|when| ("only if", when.source().to_owned())));
        more.extend(step.for_each.iter().map(|each| ("for each of", each.items.preview(&scope).0.display())));
        more.extend(step.fallback.iter().map(|fallback| match fallback {
            Fallback::Tool(call) => ("else", call.tool.to_string()),
            Fallback::Value(value) => ("else", value.preview(&scope).0.json()),
        }));
        more.extend(step.compensate.iter().map(|call| ("undone by", call.tool.to_string())));
        let what = match &step.action {
            Action::Tool(call) => call.tool.to_string(),
            other => format!("{} {}", other.word(), other.subject()),
        };
        let known = shown.as_ref().is_none_or(|(_, known)| *known);
        Preview { step: step.id.clone(), what, more, arguments: shown.map(|(data, _)| data.json()), known }
    })
    .collect()
}

/// A name for a new workflow that no file has: `base`, `base_2`, …
pub fn free_name(base: &str, flows: &[Flow]) -> String {
    let clean: String = base.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let clean = if clean.is_empty() { "workflow".to_owned() } else { clean };
    let taken = |name: &str| flows.iter().any(|flow| &*flow.name == name);
    let numbered = (2u32..).map(|n| format!("{clean}_{n}"));
    std::iter::once(clean.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
}

/// What is wrong with a name for a workflow, if anything.
pub fn name_trouble(name: &str, flows: &[Flow]) -> Option<String> {
    let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
    if !fits {
        return Some("a name is made of small letters, digits, - and _".into());
    }
    flows.iter().any(|flow| &*flow.name == name).then(|| format!("there is a workflow {name} already; choose another name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::workflow::DEMO;

    fn shelf() -> Shelf {
        let text = |(name, text): &(&str, &str)| WorkflowText { name: (*name).into(), file: format!("{name}.toml"), text: (*text).into() };
        Shelf { files: DEMO.iter().map(text).collect(), ..Shelf::default() }
    }

    #[test]
    fn the_workflows_of_the_demo_are_read_and_previewed() {
        let flows = flows(&shelf());
        assert!(flows.iter().all(|flow| flow.plan.is_ok()));
        let plan = flows[0].plan.as_ref().unwrap();
        let steps = preview(plan, &Body::from(r#"{"email":"a@b.c","name":"Ann","role":"viewer"}"#));
        assert_eq!(steps[0].arguments.as_deref(), Some(r#"{"email":"a@b.c","name":"Ann","role":"viewer"}"#));
        assert!(steps[0].known && !steps[1].known);
        assert!(steps[1].arguments.as_ref().unwrap().contains("{{ steps.create_user.result.email }}"));
        assert!(steps[0].more.contains(&("undone by", "database_delete_user".into())));
        let spec = spec(plan, Body::from("{}"), None);
        assert_eq!((&*spec.workflow, spec.sources.len(), spec.ask), ("onboard_new_user", 1, true));
    }

    #[test]
    fn names_for_new_ones_are_free() {
        let flows = flows(&shelf());
        assert_eq!(free_name("Notify All", &flows), "notify_all_2");
        assert_eq!(free_name("", &flows), "workflow");
        assert!(name_trouble("notify_all", &flows).unwrap().contains("already"));
        assert!(name_trouble("Ä", &flows).is_some() && name_trouble("new-one", &flows).is_none());
    }
}
