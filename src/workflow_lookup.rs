//! Workflow lookup: finds the workflow of a command by name or path, in the library and in files. Used by the CLI and by the
//! workspace.
//!
//! `project/NAME` is the project's workflow; a plain name is the user's, or the project's if the user has none. A user's
//! workflow runs only workflows of the user, a project's only those of the project.

use std::path::Path;

use crate::{
    domain::{
        call::{Failure, FailureKind},
        run::{RunSpec, WorkflowText},
        spelling::similar,
        workflow::{
            library::{PROJECT, PendingProject, WorkflowLibrary},
            parse::{Source, parse, parse_among},
            plan::Plan,
            problem::Problem,
        },
    },
    files::{self, Allowed},
};

/// Largest workflow or test file that a command may name, in bytes.
const LARGEST: u64 = 4 << 20;

/// Returns the failure of a command that needs a workflow of an unapproved project.
fn unapproved(pending: &PendingProject) -> Failure {
    Failure::new(FailureKind::Refused, pending.refusal.clone()).hint(pending.hint.clone())
}

/// A workflow that was found.
#[derive(Clone, Debug)]
struct Found {
    source: Source,
    origin: Origin,
}

/// Origin of a workflow, which decides what it may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A path on the command line.
    Path,
    /// The user's folders.
    User,
    /// The project.
    Project,
}

fn source(file: &WorkflowText) -> Source {
    Source { file: file.file.clone(), text: file.text.clone() }
}

/// Reads a file that a command names: a regular file of at most 4 MiB. One in the project must not be a link out of it.
pub fn read(library: &WorkflowLibrary, path: &Path) -> Result<String, Failure> {
    let unreadable = |why: files::Unreadable| Failure::new(FailureKind::InvalidArguments, format!("{} {why}", path.display()));
    let inside = |root: &&Path| std::path::absolute(path).is_ok_and(|path| files::lexical(&path).starts_with(root));
    let within = library.root.as_deref().filter(inside);
    files::read_text(path, Allowed { bytes: LARGEST, within }).map_err(unreadable)
}

/// Finds a workflow by name or path.
fn find(library: &WorkflowLibrary, wanted: &str) -> Result<Found, Failure> {
    let of_project = |name: &str| {
        let found = library.project.iter().find(|file| file.name == name)?;
        Some(Found { source: source(found), origin: Origin::Project })
    };
    if let Some(name) = wanted.strip_prefix(PROJECT).filter(|name| !name.ends_with(".toml")) {
        if let Some(found) = of_project(name) {
            return Ok(found);
        }
        if let Some(pending) = library.pending.as_ref().filter(|pending| pending.names.iter().any(|other| other == name)) {
            return Err(unapproved(pending));
        }
    } else if wanted.ends_with(".toml") || wanted.contains('/') {
        let path = Path::new(wanted);
        // Use the approved text, not the current content of the file.
        if let Some(found) = project_file(library, path) {
            return Ok(Found { source: source(found), origin: Origin::Project });
        }
        return Ok(Found { source: Source { file: wanted.to_owned(), text: read(library, path)? }, origin: Origin::Path });
    }
    if let Some(found) = library.files.iter().find(|file| file.name == wanted) {
        return Ok(Found { source: source(found), origin: Origin::User });
    }
    if let Some(found) = of_project(wanted) {
        return Ok(found);
    }
    Err(missing(library, wanted))
}

fn missing(library: &WorkflowLibrary, wanted: &str) -> Failure {
    if let Some(pending) = library.pending.as_ref().filter(|pending| pending.names.iter().any(|name| name == wanted)) {
        return unapproved(pending);
    }
    let failure = Failure::new(FailureKind::InvalidArguments, format!("no workflow is named {wanted:?}"));
    let names = library.names();
    let close = similar(wanted, names.iter().map(String::as_str), 3).join(", ");
    match (close.as_str(), names.as_slice()) {
        ("", []) => {
            let place = library.folder.as_ref().map_or_else(|| "a file".to_owned(), |folder| folder.display().to_string());
            failure.hint(format!("create one in {place} with `switchboard workflow new`, or use those of `--demo`"))
        }
        ("", _) => failure.hint("list the workflows with `switchboard workflow list`"),
        (close, _) => failure.hint(format!("did you mean {close}?")),
    }
}

/// Returns the project's workflow at this path.
fn project_file<'l>(library: &'l WorkflowLibrary, path: &Path) -> Option<&'l WorkflowText> {
    if library.project.is_empty() {
        return None;
    }
    let real = path.canonicalize().ok()?;
    library.project.iter().find(|file| Path::new(&file.file).canonicalize().is_ok_and(|other| other == real))
}

/// Fails for a file inside a project that needs an approval.
pub fn may_run(library: &WorkflowLibrary, wanted: &str) -> Result<(), Failure> {
    let (Some(pending), Some(root)) = (&library.pending, &library.root) else { return Ok(()) };
    let named = wanted.ends_with(".toml") || wanted.contains('/');
    let inside = named && Path::new(wanted).canonicalize().is_ok_and(|real| real.starts_with(root));
    if inside { Err(unapproved(pending)) } else { Ok(()) }
}

/// Returns the name of runs of a workflow: `project/NAME` for the project's.
pub fn run_name(library: &WorkflowLibrary, wanted: &str, plan: &Plan) -> String {
    match find(library, wanted) {
        Ok(Found { origin: Origin::Project, .. }) => format!("{PROJECT}{}", plan.name),
        _ => plan.name.clone(),
    }
}

/// Returns the plan of a workflow. Nested workflows of a project's workflow are looked up in the project; others in the
/// folder of the file, then among the user's.
pub fn plan(library: &WorkflowLibrary, wanted: &str) -> Result<Result<Plan, Vec<Problem>>, Failure> {
    let Found { source: main, origin } = find(library, wanted)?;
    let folder = Path::new(&main.file).parent().map(Path::to_owned).unwrap_or_default();
    let find_source = |name: &str| match origin {
        Origin::Project => library.project.iter().find(|file| file.name == name).map(source),
        Origin::User | Origin::Path => {
            let path = folder.join(format!("{name}.toml"));
            // Prefer the text that is already loaded.
            let known = library.files.iter().find(|file| Path::new(&file.file) == path).map(source);
            let read = || Some(Source { file: path.display().to_string(), text: read(library, &path).ok()? });
            known.or_else(read).or_else(|| library.files.iter().find(|file| file.name == name).map(source))
        }
    };
    let files = if origin == Origin::Project { &library.project } else { &library.files };
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    Ok(parse_among(&main, &find_source, &names))
}

/// Returns the plan of a run from the workflow in its journal.
pub fn plan_of(spec: &RunSpec) -> Result<Plan, Failure> {
    let wrong = |text: String| Failure::new(FailureKind::InvalidArguments, text);
    let Some((main, files)) = spec.sources.split_first() else {
        return Err(wrong("the journal of the run has no workflow".into()));
    };
    let source = |text: &WorkflowText| Source { file: text.file.clone(), text: text.text.clone() };
    let library = |name: &str| files.iter().find(|file| file.name == name).map(source);
    parse(&source(main), &library).map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        wrong(format!("the workflow of the run is invalid: {first}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similar_workflow_is_suggested_for_an_unknown_one() {
        let files = vec![text("zones", "/u/zones.toml", None), text("all", "/u/all.toml", Some("zonez"))];
        let library = WorkflowLibrary { files, ..WorkflowLibrary::default() };
        let problems = plan(&library, "all").unwrap().unwrap_err();
        assert_eq!(problems[0].hint.as_deref(), Some("did you mean `zones`?"));
    }

    fn text(name: &str, file: &str, runs: Option<&str>) -> WorkflowText {
        let action = runs.map_or_else(|| "tool = \"t\"".to_owned(), |name| format!("workflow = \"{name}\""));
        let text = format!("name = \"{name}\"\ntitle = \"{file}\"\n[[step]]\nid = \"a\"\n{action}\n");
        WorkflowText { name: name.into(), file: file.into(), text }
    }

    fn title(library: &WorkflowLibrary, name: &str) -> Option<String> {
        plan(library, name).ok()?.ok()?.title.clone()
    }

    #[test]
    fn a_users_workflow_takes_precedence_and_origins_do_not_mix() {
        let files = vec![text("deploy", "user/deploy.toml", None), text("outer", "user/outer.toml", Some("helper"))];
        let project = vec![
            text("deploy", "p/deploy.toml", None),
            text("helper", "p/helper.toml", None),
            text("calls", "p/calls.toml", Some("outer")),
            text("own", "p/own.toml", Some("helper")),
        ];
        let library = WorkflowLibrary { files, project, ..WorkflowLibrary::default() };
        assert_eq!(title(&library, "deploy").as_deref(), Some("user/deploy.toml"));
        assert_eq!(title(&library, "project/deploy").as_deref(), Some("p/deploy.toml"));
        assert_eq!(title(&library, "helper").as_deref(), Some("p/helper.toml"), "the user has none of this name");
        assert!(plan(&library, "outer").unwrap().is_err(), "a user's workflow never runs a project's");
        assert!(plan(&library, "calls").unwrap().is_err(), "a project's workflow never runs a user's");
        assert!(plan(&library, "own").unwrap().is_ok());
        let helper = plan(&library, "helper").unwrap().unwrap();
        assert_eq!(
            (run_name(&library, "helper", &helper), run_name(&library, "deploy", &helper)),
            ("project/helper".into(), "helper".into())
        );
    }

    #[test]
    fn workflows_of_an_unapproved_project_are_refused() {
        let pending = PendingProject { names: vec!["deploy".into()], refusal: "not approved".into(), ..PendingProject::default() };
        let library = WorkflowLibrary {
            files: vec![text("mine", "user/mine.toml", Some("deploy"))],
            pending: Some(pending),
            ..WorkflowLibrary::default()
        };
        for name in ["deploy", "project/deploy"] {
            assert_eq!(plan(&library, name).unwrap_err().kind, FailureKind::Refused, "{name}");
        }
        assert!(plan(&library, "mine").unwrap().is_err());
        assert_eq!(library.names(), ["mine"]);
    }
}
