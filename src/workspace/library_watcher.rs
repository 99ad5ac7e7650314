//! Watcher of the workflow files of a session: reads them again when they change, and writes new ones.

use std::path::PathBuf;

use tokio::sync::mpsc;

use super::{
    library::{DemoWorkflows, read_library, write_workflow},
    live::DemoSlot,
};
use crate::{
    config::{self, LoadOptions, Loaded},
    domain::{workflow::library::WorkflowLibrary, workspace::WorkflowPlace},
};

/// Watcher of the workflow files.
pub struct LibraryWatcher {
    load: LoadOptions,
    demo: DemoSlot,
    /// The last reported library.
    last: WorkflowLibrary,
    watched: Vec<PathBuf>,
    changes: Option<mpsc::Receiver<()>>,
}

impl LibraryWatcher {
    /// Returns a watcher; `first` is the library that the caller has. Must be called within a runtime.
    pub fn new(load: LoadOptions, demo: DemoSlot, first: WorkflowLibrary) -> LibraryWatcher {
        LibraryWatcher { load, demo, last: first, watched: vec![], changes: None }
    }

    /// Reads the files; returns the library if it differs from the last one.
    pub async fn reload(&mut self, loaded: &Loaded) -> Option<WorkflowLibrary> {
        let folder = self.demo.lock().as_ref().map(|demo| demo.dir().join("workflows"));
        let (load, loaded) = (self.load.clone(), loaded.clone());
        // Reading and planning happen on a blocking thread, so that no frame waits for them.
        let read = move || {
            let demo = folder.as_deref().map_or(DemoWorkflows::Absent, DemoWorkflows::InFolder);
            let (library, folders) = read_library(&load, &loaded, demo);
            (library.planned(), folders)
        };
        let (library, folders) = tokio::task::spawn_blocking(read).await.ok()?;
        if self.watched != folders || self.changes.is_none() {
            self.changes = Some(config::watch_folders(folders.clone()));
            self.watched = folders;
        }
        if library == self.last {
            return None;
        }
        self.last = library.clone();
        Some(library)
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
    pub fn save(&self, loaded: &Loaded, name: &str, text: &str, place: WorkflowPlace) -> Result<PathBuf, String> {
        let Some(folder) = self.last.folder_at(place) else { return Err("the workflow folder is unknown".into()) };
        write_workflow(&self.load, loaded, folder, name, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_on_disk_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("workflows")).unwrap();
        let load = LoadOptions { user_dir: Some(dir.path().to_owned()), cwd: dir.path().to_owned(), ..LoadOptions::default() };
        let loaded = config::load(&load).unwrap();
        let mut watcher = LibraryWatcher::new(load, DemoSlot::default(), WorkflowLibrary::default());
        assert!(watcher.reload(&loaded).await.is_some(), "the folder");
        watcher.save(&loaded, "new", "name = \"new\"\n", WorkflowPlace::Project).unwrap();
        watcher.changed().await;
        let library = loop {
            if let Some(library) = watcher.reload(&loaded).await {
                break library;
            }
            watcher.changed().await;
        };
        assert_eq!(library.files[0].name, "new");
        assert!(watcher.reload(&loaded).await.is_none());
        assert!(watcher.save(&loaded, "new", "", WorkflowPlace::User).is_err());
    }
}
