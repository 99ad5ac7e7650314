//! Workflow library: the workflow files of the user and of the project, and the plans or problems of each.
//!
//! The workspace builds it. The CLI looks workflows up in it by name or path; the console lists them.

use std::{fmt, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    parse::{Source, parse},
    plan::Plan,
    problem::Problem,
};
use crate::domain::{lossy_path, run::WorkflowText, workspace::WorkflowPlace};

/// Prefix of the names of a project's workflows, which no user's workflow has.
pub const PROJECT: &str = "project/";

/// The workflow files as found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkflowLibrary {
    /// The user's workflows.
    pub files: Vec<WorkflowText>,
    /// The project's workflows, if the project is approved; their names without `project/`.
    pub project: Vec<WorkflowText>,
    /// The folder of the project, canonical, if there is one.
    #[serde(with = "lossy_path::optional")]
    pub root: Option<PathBuf>,
    /// The project, if it needs an approval.
    pub pending: Option<PendingProject>,
    /// The folder for new workflows; `None` without a configuration.
    #[serde(with = "lossy_path::optional")]
    pub folder: Option<PathBuf>,
    /// The folder for new workflows of the user, in a project too; `None` without a configuration.
    #[serde(default, with = "lossy_path::optional")]
    pub user_folder: Option<PathBuf>,
    /// Files that could not be read, one message each.
    pub problems: Vec<String>,
    /// Plans that were parsed already; see [`WorkflowLibrary::planned`].
    #[serde(skip)]
    pub plans: Planned,
}

/// A project that needs an approval.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingProject {
    /// The names of its workflows, without `project/`.
    pub names: Vec<String>,
    /// Message when one of them is requested.
    pub refusal: String,
    /// Hint of that message.
    pub hint: String,
}

/// Plans parsed in advance. Two are equal, since they follow from the texts.
#[derive(Clone, Default)]
pub struct Planned(Option<Arc<Vec<WorkflowEntry>>>);

impl PartialEq for Planned {
    fn eq(&self, _: &Planned) -> bool {
        true
    }
}

impl fmt::Debug for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Planned({})", self.0.is_some())
    }
}

/// A workflow of the library.
#[derive(Clone)]
pub struct WorkflowEntry {
    /// Its name, with `project/` for the project's.
    pub name: Arc<str>,
    /// Its path.
    pub file: String,
    /// Its plan, or all problems of the file.
    pub plan: Result<Arc<Plan>, Vec<Problem>>,
}

impl WorkflowEntry {
    /// Returns its title, if that differs from its name.
    pub fn title(&self) -> Option<&str> {
        self.plan.as_ref().ok()?.title.as_deref()
    }
}

impl WorkflowLibrary {
    /// Returns the folder for a new workflow.
    pub fn folder_at(&self, place: WorkflowPlace) -> Option<&PathBuf> {
        match place {
            WorkflowPlace::Project => self.folder.as_ref(),
            WorkflowPlace::User => self.user_folder.as_ref(),
        }
    }

    /// Returns the library with its texts parsed into plans, which takes time.
    pub fn planned(mut self) -> WorkflowLibrary {
        self.plans = Planned(None);
        self.plans = Planned(Some(Arc::new(self.entries())));
        self
    }

    /// Returns the names of all workflows, as used in commands.
    pub fn names(&self) -> Vec<String> {
        let project = self.project.iter().map(|file| format!("{PROJECT}{}", file.name));
        self.files.iter().map(|file| file.name.clone()).chain(project).collect()
    }

    /// Returns all workflows, and parses them unless that happened already. A user's workflow can run the user's workflows,
    /// a project's workflow those of the project.
    pub fn entries(&self) -> Vec<WorkflowEntry> {
        if let Planned(Some(entries)) = &self.plans {
            return entries.to_vec();
        }
        let source = |text: &WorkflowText| Source { file: text.file.clone(), text: text.text.clone() };
        let read = |texts: &[WorkflowText], prefix: &str| -> Vec<WorkflowEntry> {
            let library = |name: &str| texts.iter().find(|text| text.name == name).map(source);
            let entry = |text: &WorkflowText| WorkflowEntry {
                name: format!("{prefix}{}", text.name).into(),
                file: text.file.clone(),
                plan: parse(&source(text), &library).map(Arc::new),
            };
            texts.iter().map(entry).collect()
        };
        [read(&self.files, ""), read(&self.project, PROJECT)].concat()
    }
}
