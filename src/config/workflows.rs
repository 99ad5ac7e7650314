//! Where workflow files are, and where the program's own database is.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    error::ConfigError,
    load::{LoadOptions, Loaded, PROJECT_FILES},
    private,
};
use crate::files::{self, Allowed};

/// The folder beside a configuration that is looked into.
const FOLDER: &str = "workflows";

/// Name of the database in the state folder.
const STORE: &str = "switchboard.db";

/// Largest file that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// Files that are read of one folder.
const MOST: usize = 1_000;

/// A workflow file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowFile {
    /// The name that it gives the workflow: its `name`, or the file's own without its ending.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// The workflow files of a configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workflows {
    /// The files; of several with one name the first counts and the others are told of in `problems`.
    pub files: Vec<WorkflowFile>,
    /// The folders that were looked into, those that do not exist included; the first is for new files.
    pub folders: Vec<PathBuf>,
    /// What could not be read, and names that are there twice.
    pub problems: Vec<ConfigError>,
}

/// Finds the workflow files of a configuration: those that it names, then those of the `workflows`
/// folder beside the project's file, beside the files named on the command line, or beside the user's.
pub fn workflow_files(options: &LoadOptions, loaded: &Loaded) -> Workflows {
    let mut found = Workflows::default();
    let mut paths: Vec<PathBuf> = vec![];
    for path in &loaded.settings.workflows {
        if path.is_dir() {
            found.folders.push(path.clone());
        } else {
            paths.push(path.clone());
        }
    }
    if options.config_files.is_empty() {
        let projects = loaded.files.iter().filter(|file| PROJECT_FILES.iter().any(|name| file.ends_with(name)) && file.is_file());
        found.folders.extend(projects.filter_map(|file| Some(file.parent()?.join(FOLDER))));
        found.folders.extend(options.user_dir.iter().map(|dir| dir.join(FOLDER)));
    } else {
        found.folders.extend(options.config_files.iter().filter_map(|file| Some(options.cwd.join(file).parent()?.join(FOLDER))));
    }
    let mut seen = HashSet::new();
    found.folders.retain(|folder| seen.insert(folder.clone()));
    for folder in &found.folders {
        paths.extend(toml_files(folder));
    }
    let mut names: HashSet<String> = HashSet::new();
    for path in paths {
        match read(&path) {
            Ok(file) if names.insert(file.name.clone()) => found.files.push(file),
            Ok(file) => {
                let message = format!("another file has a workflow of the name {:?} already, so this one is left out", file.name);
                found.problems.push(ConfigError::new(message).in_file(path).hint("give it another name"));
            }
            Err(error) => found.problems.push(ConfigError::new(format!("cannot be read: {error}")).in_file(path)),
        }
    }
    found
}

/// The workflow files of one folder, and what could not be read there.
pub fn workflows_in(folder: &Path) -> (Vec<WorkflowFile>, Vec<ConfigError>) {
    let (mut files, mut problems) = (vec![], vec![]);
    for path in toml_files(folder) {
        match read(&path) {
            Ok(file) => files.push(file),
            Err(error) => problems.push(ConfigError::new(format!("cannot be read: {error}")).in_file(path)),
        }
    }
    (files, problems)
}

/// The files of workflows in a folder, tests of workflows left out, in the order of their names.
fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return vec![] };
    let is_workflow = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.ends_with(".toml") && !name.ends_with(".test.toml") && !name.ends_with("_test.toml") && !name.starts_with('.')
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_workflow).take(MOST).collect();
    paths.sort();
    paths
}

/// Reads a workflow file.
fn read(path: &Path) -> io::Result<WorkflowFile> {
    if fs::metadata(path)?.len() > LARGEST {
        return Err(io::Error::other("it is longer than 4 MiB"));
    }
    let text = fs::read_to_string(path)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    // A broken file keeps the name of the file; what is wrong with it is told when it is used.
    let named = text.parse::<toml::Table>().ok().and_then(|table| table.get("name")?.as_str().map(str::to_owned));
    Ok(WorkflowFile { name: named.unwrap_or(stem), path: path.to_owned(), text })
}

/// Writes a workflow file into `folder`, which is made if need be. A file that is there is left alone.
pub fn save_workflow(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    private::new_folders(folder)?;
    let path = folder.join(format!("{name}.toml"));
    match files::create(&path, text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(io::Error::new(error.kind(), "it is there already; choose another name, or remove it first"))
        }
        written => written.map(|()| path),
    }
}

/// Puts a case into the test file of a workflow in `folder`: behind those that it has, or behind `head` in a new one.
pub fn add_case(folder: &Path, workflow: &str, head: &str, case: &str) -> io::Result<PathBuf> {
    private::new_folders(folder)?;
    let path = folder.join(format!("{workflow}.test.toml"));
    let before = match fs::symlink_metadata(&path) {
        // Refused below as well; before it is read, so that nothing of its target is.
        Ok(meta) if meta.is_symlink() => None,
        Ok(_) => {
            let read = files::read_text(&path, Allowed { bytes: LARGEST, within: None });
            Some(read.map_err(|why| io::Error::other(format!("{} {why}", path.display())))?)
        }
        Err(_) => None,
    };
    let before = before.filter(|text| !text.is_empty()).unwrap_or_else(|| head.to_owned());
    files::replace(&path, format!("{before}{case}").as_bytes())?;
    Ok(path)
}

/// The database in the state folder: made with mode 0600 if it is not there. What is wrong with one that is there, the
/// store finds out.
pub fn store_file(state_dir: &Path) -> io::Result<PathBuf> {
    private::folder(state_dir)?;
    let path = state_dir.join(STORE);
    match files::create(&path, b"") {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_found_beside_the_configuration_and_where_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
        };
        write("config/config.toml", "workflows = [\"../one.toml\", \"../more\"]\n");
        write("one.toml", "name = \"first\"");
        write("more/b.toml", "broken = ");
        write("more/b.test.toml", "workflow = \"b\"");
        write("config/workflows/z.toml", "name = \"first\"");
        write("config/workflows/a.toml", "");
        write("config/workflows/notes.txt", "");
        let options = LoadOptions { user_dir: Some(dir.path().join("config")), cwd: dir.path().to_owned(), ..LoadOptions::default() };
        let loaded = super::super::load(&options).unwrap();
        let found = workflow_files(&options, &loaded);
        let names: Vec<&str> = found.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["first", "b", "a"]);
        assert_eq!(found.problems.len(), 1);
        assert!(found.problems[0].to_string().contains("z.toml"), "{}", found.problems[0]);
        assert!(found.folders.iter().any(|folder| folder.ends_with("config/workflows")));
    }

    #[test]
    fn a_saved_workflow_replaces_nothing_and_the_database_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = save_workflow(&dir.path().join("w"), "x", "name = \"x\"\n").unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "name = \"x\"\n");
        assert_eq!(save_workflow(&dir.path().join("w"), "x", "").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let store = store_file(&dir.path().join("state")).unwrap();
        assert_eq!(fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&store, "kept").unwrap();
        assert_eq!(fs::read_to_string(store_file(&dir.path().join("state")).unwrap()).unwrap(), "kept");
    }
}
