//! The workflows that a command may use, and how their names are looked up.
//!
//! The user's workflows and the project's are separate: `project/NAME` is the project's, a bare name is the user's and
//! the project's only where the user has none. A workflow runs others of its own kind only.

use std::path::{Path, PathBuf};

use super::names::similar;
use crate::{
    domain::{
        call::{Failure, FailureKind},
        run::{RunId, RunSpec, WorkflowText},
        workflow::{
            parse::{Source, parse},
            plan::Plan,
            problem::Problem,
        },
    },
    files::{self, Allowed},
};

/// What comes before the name of a project's workflow.
pub const PROJECT: &str = "project/";

/// Largest workflow or test file that is read where a command names it, in bytes.
const LARGEST: u64 = 4 << 20;

/// The workflows that there are, as the composition root found them.
#[derive(Clone, Debug, Default)]
pub struct Shelf {
    /// The user's names and texts.
    pub files: Vec<WorkflowText>,
    /// The project's, if the project may be used; their names without `project/`.
    pub project: Vec<WorkflowText>,
    /// The folder of the project around, canonical, if there is one.
    pub root: Option<PathBuf>,
    /// The project that waits for approval, if one does.
    pub waits: Option<Waits>,
    /// Where a new one is put, if there is a place.
    pub folder: Option<PathBuf>,
    /// The run that is to be gone on with, and what it was asked to do.
    pub resume: Option<(RunId, std::sync::Arc<RunSpec>)>,
}

/// A project whose workflows wait for approval.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// The names of its workflows, without `project/`.
    pub names: Vec<String>,
    /// What to say when one of them is wanted.
    pub refusal: String,
    /// What to do about it.
    pub hint: String,
}

impl Waits {
    fn failure(&self) -> Failure {
        Failure::new(FailureKind::Refused, self.refusal.clone()).hint(self.hint.clone())
    }
}

/// A workflow that was found.
#[derive(Clone, Debug)]
struct Found {
    source: Source,
    origin: Origin,
}

/// Where a workflow comes from, which decides what it may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// A path that the command names.
    Path,
    /// The user's folders.
    User,
    /// The project.
    Project,
}

fn source(file: &WorkflowText) -> Source {
    Source { file: file.file.clone(), text: file.text.clone() }
}

impl Shelf {
    /// Reads a file that a command names: a regular one of at most 4 MiB. One in the project may not be a link out of it.
    pub fn read(&self, path: &Path) -> Result<String, Failure> {
        let unreadable = |why: files::Unreadable| Failure::new(FailureKind::InvalidArguments, format!("{} {why}", path.display()));
        let inside = |root: &&Path| std::path::absolute(path).is_ok_and(|path| files::lexical(&path).starts_with(root));
        let within = self.root.as_deref().filter(inside);
        files::read_text(path, Allowed { bytes: LARGEST, within }).map_err(unreadable)
    }

    /// The names of all workflows, as commands take them.
    pub fn names(&self) -> Vec<String> {
        let project = self.project.iter().map(|file| format!("{PROJECT}{}", file.name));
        self.files.iter().map(|file| file.name.clone()).chain(project).collect()
    }

    /// The workflow of a name, or in the file of a path.
    fn find(&self, wanted: &str) -> Result<Found, Failure> {
        let of_project = |name: &str| {
            let found = self.project.iter().find(|file| file.name == name)?;
            Some(Found { source: source(found), origin: Origin::Project })
        };
        if let Some(name) = wanted.strip_prefix(PROJECT).filter(|name| !name.ends_with(".toml")) {
            if let Some(found) = of_project(name) {
                return Ok(found);
            }
            if let Some(waits) = self.waits.as_ref().filter(|waits| waits.names.iter().any(|other| other == name)) {
                return Err(waits.failure());
            }
        } else if wanted.ends_with(".toml") || wanted.contains('/') {
            let path = Path::new(wanted);
            // The text that was approved, not what may be there now.
            if let Some(found) = self.project_file(path) {
                return Ok(Found { source: source(found), origin: Origin::Project });
            }
            return Ok(Found { source: Source { file: wanted.to_owned(), text: self.read(path)? }, origin: Origin::Path });
        }
        if let Some(found) = self.files.iter().find(|file| file.name == wanted) {
            return Ok(Found { source: source(found), origin: Origin::User });
        }
        if let Some(found) = of_project(wanted) {
            return Ok(found);
        }
        Err(self.missing(wanted))
    }

    fn missing(&self, wanted: &str) -> Failure {
        if let Some(waits) = self.waits.as_ref().filter(|waits| waits.names.iter().any(|name| name == wanted)) {
            return waits.failure();
        }
        let failure = Failure::new(FailureKind::InvalidArguments, format!("there is no workflow {wanted:?}"));
        let names = self.names();
        let close = similar(wanted, names.iter().map(String::as_str), 3).join(", ");
        match (close.as_str(), names.as_slice()) {
            ("", []) => {
                let place = self.folder.as_ref().map_or_else(|| "a file".to_owned(), |folder| folder.display().to_string());
                failure.hint(format!("there are none at all; `switchboard workflow new` puts one into {place}, `--demo` has four"))
            }
            ("", _) => failure.hint("`switchboard workflow list` shows those that there are"),
            (close, _) => failure.hint(format!("did you mean {close}?")),
        }
    }

    /// The project's workflow that this path leads to.
    fn project_file(&self, path: &Path) -> Option<&WorkflowText> {
        if self.project.is_empty() {
            return None;
        }
        let real = path.canonicalize().ok()?;
        self.project.iter().find(|file| Path::new(&file.file).canonicalize().is_ok_and(|other| other == real))
    }

    /// Whether `wanted` may be run: a file inside a project that waits for approval may not.
    pub fn may_run(&self, wanted: &str) -> Result<(), Failure> {
        let (Some(waits), Some(root)) = (&self.waits, &self.root) else { return Ok(()) };
        let named = wanted.ends_with(".toml") || wanted.contains('/');
        let inside = named && Path::new(wanted).canonicalize().is_ok_and(|real| real.starts_with(root));
        if inside { Err(waits.failure()) } else { Ok(()) }
    }

    /// The name that runs of a workflow have: `project/NAME` for the project's.
    pub fn run_name(&self, wanted: &str, plan: &Plan) -> String {
        match self.find(wanted) {
            Ok(Found { origin: Origin::Project, .. }) => format!("{PROJECT}{}", plan.name),
            _ => plan.name.clone(),
        }
    }

    /// The plan of a workflow. Those that it runs are searched among the project's for a project's workflow; otherwise
    /// in the folder of its file, then among the user's.
    pub fn plan(&self, wanted: &str) -> Result<Result<Plan, Vec<Problem>>, Failure> {
        let Found { source: main, origin } = self.find(wanted)?;
        let folder = Path::new(&main.file).parent().map(Path::to_owned).unwrap_or_default();
        let library = |name: &str| match origin {
            Origin::Project => self.project.iter().find(|file| file.name == name).map(source),
            Origin::User | Origin::Path => {
                let path = folder.join(format!("{name}.toml"));
                // The text that was read with the others, where there is one.
                let known = self.files.iter().find(|file| Path::new(&file.file) == path).map(source);
                let read = || Some(Source { file: path.display().to_string(), text: self.read(&path).ok()? });
                known.or_else(read).or_else(|| self.files.iter().find(|file| file.name == name).map(source))
            }
        };
        Ok(parse(&main, &library))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, file: &str, runs: Option<&str>) -> WorkflowText {
        let action = runs.map_or_else(|| "tool = \"t\"".to_owned(), |name| format!("workflow = \"{name}\""));
        let text = format!("name = \"{name}\"\ntitle = \"{file}\"\n[[step]]\nid = \"a\"\n{action}\n");
        WorkflowText { name: name.into(), file: file.into(), text }
    }

    fn title(shelf: &Shelf, name: &str) -> Option<String> {
        shelf.plan(name).ok()?.ok()?.title.clone()
    }

    #[test]
    fn the_users_name_wins_and_neither_runs_the_others() {
        let files = vec![text("deploy", "user/deploy.toml", None), text("outer", "user/outer.toml", Some("helper"))];
        let project = vec![
            text("deploy", "p/deploy.toml", None),
            text("helper", "p/helper.toml", None),
            text("calls", "p/calls.toml", Some("outer")),
            text("own", "p/own.toml", Some("helper")),
        ];
        let shelf = Shelf { files, project, ..Shelf::default() };
        assert_eq!(title(&shelf, "deploy").as_deref(), Some("user/deploy.toml"));
        assert_eq!(title(&shelf, "project/deploy").as_deref(), Some("p/deploy.toml"));
        assert_eq!(title(&shelf, "helper").as_deref(), Some("p/helper.toml"), "the user has none of this name");
        assert!(shelf.plan("outer").unwrap().is_err(), "a user's workflow never runs a project's");
        assert!(shelf.plan("calls").unwrap().is_err(), "a project's workflow never runs a user's");
        assert!(shelf.plan("own").unwrap().is_ok());
        let plan = shelf.plan("helper").unwrap().unwrap();
        assert_eq!((shelf.run_name("helper", &plan), shelf.run_name("deploy", &plan)), ("project/helper".into(), "helper".into()));
    }

    #[test]
    fn what_waits_for_approval_is_refused_and_named() {
        let waits = Waits { names: vec!["deploy".into()], refusal: "not approved".into(), ..Waits::default() };
        let shelf = Shelf { files: vec![text("mine", "user/mine.toml", Some("deploy"))], waits: Some(waits), ..Shelf::default() };
        for name in ["deploy", "project/deploy"] {
            assert_eq!(shelf.plan(name).unwrap_err().kind, FailureKind::Refused, "{name}");
        }
        assert!(shelf.plan("mine").unwrap().is_err());
        assert_eq!(shelf.names(), ["mine"]);
    }
}
