//! Workflow files of the console: finds, watches and writes them.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use tokio::sync::mpsc;

use crate::{
    config::{self, LoadOptions, Loaded},
    demo::Demo,
    domain::{run::WorkflowText, workflow::DEMO},
    tui::flows::WorkflowLibrary,
};

/// Watcher of the workflow files.
pub struct LibraryWatcher {
    load: LoadOptions,
    demo: Arc<Mutex<Option<Demo>>>,
    /// The last reported library.
    last: WorkflowLibrary,
    watched: Vec<PathBuf>,
    changes: Option<mpsc::Receiver<()>>,
}

impl LibraryWatcher {
    /// Returns a watcher; `first` is the library that the caller has. Must be called within a runtime.
    pub fn new(load: LoadOptions, demo: Arc<Mutex<Option<Demo>>>, first: WorkflowLibrary) -> LibraryWatcher {
        LibraryWatcher { load, demo, last: first, watched: vec![], changes: None }
    }

    /// Reads the files; returns the library if it differs from the last one.
    pub async fn reload(&mut self, loaded: &Loaded) -> Option<WorkflowLibrary> {
        let folder = self.demo.lock().ok().and_then(|demo| demo.as_ref().map(|demo| demo.dir().join("workflows")));
        let (load, loaded) = (self.load.clone(), loaded.clone());
        // Reading and planning happen on a blocking thread, so that no frame waits for them.
        let read = move || {
            let (shelf, folders) = read_library(&load, &loaded, folder.as_deref());
            (shelf.planned(), folders)
        };
        let (shelf, folders) = tokio::task::spawn_blocking(read).await.ok()?;
        if self.watched != folders || self.changes.is_none() {
            self.changes = Some(config::watch_folders(folders.clone()));
            self.watched = folders;
        }
        if shelf == self.last {
            return None;
        }
        self.last = shelf.clone();
        Some(shelf)
    }

    /// Waits for a possible change.
    pub async fn changed(&mut self) {
        if let Some(changes) = &mut self.changes {
            if changes.recv().await.is_some() {
                return;
            }
            self.changes = None;
        }
        std::future::pending().await
    }

    /// Writes the file of a new workflow; returns its path.
    pub fn save(&self, loaded: &Loaded, name: &str, text: &str) -> Result<PathBuf, String> {
        let Some(folder) = &self.last.folder else { return Err("there is no folder for workflows".into()) };
        super::workflows::write_workflow(&self.load, loaded, Path::new(folder), name, text)
    }
}

/// Returns the workflow library and its folders. The demo's workflows are in the demo's folder, so that they can be edited;
/// they are removed with it.
pub fn read_library(load: &LoadOptions, loaded: &Loaded, demo: Option<&Path>) -> (WorkflowLibrary, Vec<PathBuf>) {
    let found = config::workflow_files(load, loaded);
    let mut folders = found.folders;
    let mut problems: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    let mut files = found.files;
    if let Some(folder) = demo {
        if let Err(error) = write_demo(folder) {
            problems.push(format!("the workflows of the demo could not be written: {error}"));
        }
        let (own, troubles) = config::workflows_in(folder);
        files.retain(|file| own.iter().all(|other| other.name != file.name));
        files.splice(0..0, own);
        problems.extend(troubles.iter().map(ToString::to_string));
        folders.insert(0, folder.to_owned());
    }
    let text = |file: config::WorkflowFile| WorkflowText { name: file.name, file: file.path.display().to_string(), text: file.text };
    let parents = files.iter().filter_map(|file| file.path.parent().map(Path::to_owned)).collect::<Vec<_>>();
    let project = found.project.map(|project| project.files).unwrap_or_default();
    let new_in = demo.map(Path::to_owned).or(found.new_in);
    let shelf = WorkflowLibrary {
        files: files.into_iter().map(text).collect(),
        project: project.into_iter().map(text).collect(),
        folder: new_in.map(|folder| folder.display().to_string()),
        problems,
        ..WorkflowLibrary::default()
    };
    folders.extend(parents);
    folders.sort();
    folders.dedup();
    (shelf, folders)
}

/// Writes the demo's workflows into its folder unless it exists.
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
        let (shelf, folders) = read_library(&load, &loaded, Some(&folder));
        assert_eq!(shelf.files.len(), DEMO.len());
        assert!(folders.contains(&folder) && shelf.problems.is_empty());
        std::fs::write(folder.join("notify_all.toml"), "name = \"notify_all\"\n").unwrap();
        config::save_workflow(&folder, "mine", "name = \"mine\"\n").unwrap();
        let (shelf, _) = read_library(&load, &loaded, Some(&folder));
        assert_eq!(shelf.files.len(), DEMO.len() + 1);
        assert!(shelf.files.iter().any(|file| file.name == "notify_all" && file.text == "name = \"notify_all\"\n"));
    }

    #[tokio::test]
    async fn a_change_on_disk_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("workflows")).unwrap();
        let load = LoadOptions { user_dir: Some(dir.path().to_owned()), cwd: dir.path().to_owned(), ..LoadOptions::default() };
        let loaded = config::load(&load).unwrap();
        let mut library = LibraryWatcher::new(load, Arc::default(), WorkflowLibrary::default());
        assert!(library.reload(&loaded).await.is_some(), "the folder");
        library.save(&loaded, "new", "name = \"new\"\n").unwrap();
        library.changed().await;
        let shelf = loop {
            if let Some(shelf) = library.reload(&loaded).await {
                break shelf;
            }
            library.changed().await;
        };
        assert_eq!(shelf.files[0].name, "new");
        assert!(library.reload(&loaded).await.is_none());
        assert!(library.save(&loaded, "new", "").is_err());
    }
}
