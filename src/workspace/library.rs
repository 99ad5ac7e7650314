//! Builds the workflow library of both faces from the configuration, the project and the demo.

use std::path::{Path, PathBuf};

use super::home::prompt;
use crate::{
    config::{self, LoadOptions, Loaded, PendingApproval, WorkflowFile},
    domain::{
        run::WorkflowText,
        workflow::{
            DEMO,
            library::{PendingProject, WorkflowLibrary},
        },
    },
};

/// Where the workflows of the demo are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemoWorkflows<'a> {
    /// Without the demo: only the workflows of the configuration.
    Absent,
    /// In memory. The library has no other workflows.
    InMemory,
    /// In this folder, so that they can be edited. It is written unless it exists.
    InFolder(&'a Path),
}

/// Returns the workflow library and the folders to watch.
pub fn read_library(load: &LoadOptions, loaded: &Loaded, demo: DemoWorkflows<'_>) -> (WorkflowLibrary, Vec<PathBuf>) {
    if demo == DemoWorkflows::InMemory {
        let text = |(name, text): &(&str, &str)| WorkflowText { name: (*name).into(), file: format!("{name}.toml"), text: (*text).into() };
        return (WorkflowLibrary { files: DEMO.iter().map(text).collect(), ..WorkflowLibrary::default() }, vec![]);
    }
    let found = config::workflow_files(load, loaded);
    let mut folders = found.folders;
    let mut problems: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    let (mut files, mut new_in, mut new_in_user) = (found.files, found.new_in, found.new_in_user);
    if let DemoWorkflows::InFolder(folder) = demo {
        if let Err(error) = write_demo(folder) {
            problems.push(format!("the workflows of the demo could not be written: {error}"));
        }
        let (own, unreadable) = config::workflows_in(folder);
        files.retain(|file| own.iter().all(|other| other.name != file.name));
        files.splice(0..0, own);
        problems.extend(unreadable.iter().map(ToString::to_string));
        folders.insert(0, folder.to_owned());
        (new_in, new_in_user) = (Some(folder.to_owned()), Some(folder.to_owned()));
    }
    folders.extend(files.iter().filter_map(|file| file.path.parent().map(Path::to_owned)));
    folders.sort();
    folders.dedup();
    let project = found.project.map(|project| project.files).unwrap_or_default();
    let library = WorkflowLibrary {
        files: files.into_iter().map(text_of).collect(),
        project: project.into_iter().map(text_of).collect(),
        root: loaded.pending.as_ref().map(|pending| &pending.path).or(loaded.project.as_ref().map(|project| &project.root)).cloned(),
        pending: loaded.pending.as_ref().map(pending),
        folder: new_in,
        user_folder: new_in_user,
        problems,
        ..WorkflowLibrary::default()
    };
    (library, folders)
}

/// Writes a new workflow for the user. In an approved project, the approval is renewed for this file.
pub fn write_workflow(load: &LoadOptions, loaded: &Loaded, folder: &Path, name: &str, text: &str) -> Result<PathBuf, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.join(format!("{name}.toml")).display());
    let project = loaded.project.as_ref().filter(|project| folder.starts_with(&project.root));
    project.map_or(Ok(()), |project| config::stays_inside(&project.root, folder)).map_err(failed)?;
    let path = config::save_workflow(folder, name, text).map_err(failed)?;
    renew(load, loaded, &path, text);
    Ok(path)
}

/// Renews the approval of a project in which `text` was written to `path` for the user. If that is not possible, the project
/// needs a new approval, which is not an error.
pub fn renew(load: &LoadOptions, before: &Loaded, path: &Path, text: &str) {
    if let (Some(state_dir), Ok(after)) = (&load.state_dir, config::load(load)) {
        config::approve_written(before, &after, path, text, state_dir);
    }
}

fn text_of(file: WorkflowFile) -> WorkflowText {
    WorkflowText { name: file.name, file: file.path.display().to_string(), text: file.text }
}

/// Returns the project that needs an approval, with the message for its workflows.
fn pending(pending: &PendingApproval) -> PendingProject {
    let waiting = prompt(pending);
    PendingProject {
        names: pending.workflows.clone(),
        refusal: format!("{} was not approved, so nothing of it is used. It asks for:\n{}", pending.file.display(), waiting.block()),
        hint: waiting.hint(),
    }
}

/// Writes the demo's workflows into a folder unless it exists.
fn write_demo(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    for (name, text) in DEMO {
        config::save_workflow(folder, name, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_of_the_demo_can_be_changed_and_added_to() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("workflows");
        let load = LoadOptions { cwd: dir.path().to_owned(), ..LoadOptions::default() };
        let loaded = config::load(&load).unwrap();
        let demo = DemoWorkflows::InFolder(&folder);
        let (library, folders) = read_library(&load, &loaded, demo);
        assert_eq!(library.files.len(), DEMO.len());
        assert!(folders.contains(&folder) && library.problems.is_empty());
        std::fs::write(folder.join("notify_all.toml"), "name = \"notify_all\"\n").unwrap();
        config::save_workflow(&folder, "mine", "name = \"mine\"\n").unwrap();
        let (library, _) = read_library(&load, &loaded, demo);
        assert_eq!(library.files.len(), DEMO.len() + 1);
        assert!(library.files.iter().any(|file| file.name == "notify_all" && file.text == "name = \"notify_all\"\n"));
    }
}
