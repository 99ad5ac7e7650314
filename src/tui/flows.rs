//! The console's requests for runs, dry-run previews and names of new workflows. Pure.

use crate::{
    domain::{
        body::Body,
        call::Origin,
        run::{RunFrom, RunSpec},
        workflow::{
            catalog_lookup::server_of,
            dry_run::{ReadEnv, dry_run},
            dry_run_view::DryRunView,
            expression::Data,
            library::WorkflowEntry,
            plan::Plan,
        },
    },
    state::ConsoleState,
};

/// Returns the request for a run from the console, which puts questions to the user. `name` is the workflow name of the
/// run.
pub fn spec(name: &str, plan: &Plan, input: Body, from: Option<RunFrom>) -> RunSpec {
    RunSpec { ask: true, from, ..RunSpec::of_plan(name, plan, input, Origin::Console) }
}

/// Returns the view of a dry run with this input. Nothing is called. The environment is read as by `run --dry-run`: the
/// variables that the workflow lists, secrets masked.
pub fn preview(plan: &Plan, input: &Body, read_model: &ConsoleState) -> DryRunView {
    preview_with(plan, input, read_model, &|name| std::env::var(name).ok())
}

fn preview_with(plan: &Plan, input: &Body, read_model: &ConsoleState, env: ReadEnv<'_>) -> DryRunView {
    let input = Data::parse(&input.text()).unwrap_or_default();
    DryRunView::new(&dry_run(plan, &input, Some(env)), &|tool| server_of(read_model, tool))
}

/// Returns the characters of a text that a workflow name can have, in lower case, and `_` in place of the others.
pub fn clean_name(text: &str) -> String {
    text.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// Returns a name for a new workflow that no file has: `base`, `base_2`, …
pub fn free_name(base: &str, flows: &[WorkflowEntry]) -> String {
    let clean = clean_name(base);
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
        retention::Retention,
        run::WorkflowText,
        time::Epoch,
        workflow::{
            DEMO,
            dry_run_view::{Field, Label},
            library::WorkflowLibrary,
        },
    };

    fn library() -> WorkflowLibrary {
        let text = |(name, text): &(&str, &str)| WorkflowText { name: (*name).into(), file: format!("{name}.toml"), text: (*text).into() };
        WorkflowLibrary { files: DEMO.iter().map(text).collect(), ..WorkflowLibrary::default() }
    }

    fn no_servers() -> ConsoleState {
        ConsoleState::new(Epoch::default(), "_", Retention::default())
    }

    #[test]
    fn the_environment_is_shown_as_headless_with_secrets_masked() {
        let text = "name = \"t\"\nenv = [\"PLACE\", \"MY_TOKEN\"]\n[[step]]\nid = \"a\"\ntool = \"a\"\n\
                    arguments = { at = \"{{ env.PLACE }}\", by = \"{{ env.MY_TOKEN }}\" }\n";
        let source = crate::domain::workflow::parse::Source { file: "t.toml".into(), text: text.into() };
        let plan = crate::domain::workflow::parse::parse(&source, &|_| None).unwrap();
        let env = |name: &str| Some(if name == "PLACE" { "here" } else { "hunter2-token" }.to_owned());
        let view = preview_with(&plan, &Body::from("{}"), &no_servers(), &env);
        assert_eq!(view.blocks[0].fields, [Field { label: Label::Arguments, text: r#"{"at":"here","by":"•••"}"#.into() }]);
        assert!(!view.unknown);
    }

    #[test]
    fn the_workflows_of_the_demo_are_read_and_previewed() {
        let flows = library().entries();
        assert!(flows.iter().all(|flow| flow.plan.is_ok()));
        let plan = flows[0].plan.as_ref().unwrap();
        let input = Body::from(r#"{"email":"a@b.c","name":"Ann","role":"viewer"}"#);
        let view = preview(plan, &input, &no_servers());
        let text = |step: usize, label: Label| {
            let field = view.blocks[step].fields.iter().find(|field| field.label == label);
            field.map(|field| field.text.as_str()).unwrap()
        };
        assert_eq!(text(0, Label::Arguments), r#"{"email":"a@b.c","name":"Ann","role":"viewer"}"#);
        assert!(text(1, Label::Arguments).contains("{{ steps.create_user.result.email }}"));
        assert_eq!(text(0, Label::Compensation), r#"database_delete_user  {"userId":"{{ result.userId }}"}"#);
        assert!(view.unknown);
        let spec = spec("onboard_new_user", plan, Body::from("{}"), None);
        assert_eq!((&*spec.workflow, spec.sources.len(), spec.ask), ("onboard_new_user", 1, true));
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
