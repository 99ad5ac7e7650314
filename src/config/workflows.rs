//! Workflow files: finds, reads and writes them. Also creates the file of the program's database.

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    error::ConfigError,
    load::{LoadOptions, Loaded},
    private,
    project::ProjectWorkflows,
    source::{Source, unreadable},
};
use crate::{
    domain::{time::size, workflow::parse},
    files::{self, Allowed, Unreadable},
};

/// Name of the workflow folder next to a configuration.
const FOLDER: &str = "workflows";

/// Name of the database in the state folder.
const STORE: &str = "switchboard.db";

/// Name of the folder of the log in the state folder, and of the log in it.
const LOG_FOLDER: &str = "log";
const LOG: &str = "switchboard.log";

/// Largest file of the user that is read, in bytes.
const LARGEST: u64 = 4 << 20;

/// Most files of one of the user's folders.
const MOST: usize = 1_000;

/// Most bytes of all files of one of the user's folders.
const LARGEST_ALL: u64 = 64 << 20;

/// A workflow file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowFile {
    /// The name of the workflow: its `name`, or the file name without its extension.
    pub name: String,
    /// Its path.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// The workflow files of a configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workflows {
    /// The user's files; of several with the same name the first is used, and `problems` names the others.
    pub files: Vec<WorkflowFile>,
    /// The project's files and their tests, if the project is approved. A user's workflow takes precedence over a project's
    /// of the same name.
    pub project: Option<ProjectWorkflows>,
    /// The user's folders that were searched, including missing ones.
    pub folders: Vec<PathBuf>,
    /// The folder for new files.
    pub new_in: Option<PathBuf>,
    /// The folder for new files of the user.
    pub new_in_user: Option<PathBuf>,
    /// Unreadable files and duplicate names.
    pub problems: Vec<ConfigError>,
}

/// Finds the workflow files of a configuration: those that it names, then those of the `workflows` folder next to the files
/// named on the command line or to the user's file, and those of the project as read with its file.
pub fn workflow_files(options: &LoadOptions, loaded: &Loaded) -> Workflows {
    let mut found = Workflows { project: loaded.project.clone(), ..Workflows::default() };
    let mut paths: Vec<PathBuf> = vec![];
    for path in &loaded.settings.workflows {
        if path.is_dir() {
            found.folders.push(path.clone());
        } else {
            paths.push(path.clone());
        }
    }
    if options.config_files.is_empty() {
        found.folders.extend(options.user_dir.iter().map(|dir| dir.join(FOLDER)));
    } else {
        found.folders.extend(options.config_files.iter().filter_map(|file| Some(options.cwd.join(file).parent()?.join(FOLDER))));
    }
    let mut seen = HashSet::new();
    found.folders.retain(|folder| seen.insert(folder.clone()));
    found.new_in_user = found.folders.first().cloned();
    found.new_in = loaded.project.as_ref().map(|project| project.folder.clone()).or_else(|| found.new_in_user.clone());
    let mut files = vec![];
    paths.iter().for_each(|path| read_into(path, &mut files, &mut found.problems));
    for folder in &found.folders {
        let (more, problems) = workflows_in(folder);
        files.extend(more);
        found.problems.extend(problems);
    }
    let mut names: HashSet<String> = HashSet::new();
    for file in files {
        if names.insert(file.name.clone()) {
            found.files.push(file);
        } else {
            let message = format!("another file has a workflow named {:?} already, so this one is ignored", file.name);
            found.problems.push(ConfigError::new(message).in_file(file.path).hint("give it another name"));
        }
    }
    found
}

/// Returns the workflow files of one of the user's folders, and errors for unreadable ones.
pub fn workflows_in(folder: &Path) -> (Vec<WorkflowFile>, Vec<ConfigError>) {
    files_in(folder, Role::Workflow)
}

/// Returns the test files of the user's folders, and errors for unreadable ones.
pub fn tests_in(folders: &[PathBuf]) -> (Vec<WorkflowFile>, Vec<ConfigError>) {
    let (mut files, mut problems) = (vec![], vec![]);
    for folder in folders {
        let (more, wrong) = files_in(folder, Role::Test);
        files.extend(more);
        problems.extend(wrong);
    }
    (files, problems)
}

/// Reads one file that the user named.
pub fn workflow_at(path: &Path) -> Result<WorkflowFile, ConfigError> {
    let text = files::read_text(path, Allowed { bytes: LARGEST, within: None }).map_err(|why| unreadable(path, &why))?;
    Ok(WorkflowFile { name: name_in(path, &text), path: path.to_owned(), text })
}

fn files_in(folder: &Path, wanted: Role) -> (Vec<WorkflowFile>, Vec<ConfigError>) {
    let (mut files, mut problems) = (vec![], vec![]);
    let Ok(entries) = fs::read_dir(folder) else { return (files, problems) };
    let paths = entries.flatten().map(|entry| entry.path()).filter(|path| role_of(path) == Some(wanted));
    let mut paths: Vec<PathBuf> = paths.take(MOST + 1).collect();
    paths.sort();
    let mut bytes = 0;
    for (count, path) in paths.iter().enumerate() {
        if count == MOST || bytes > LARGEST_ALL {
            let limit = if count == MOST { format!("{MOST} files") } else { size(LARGEST_ALL) };
            let message = format!("the folder has more than {limit} of workflows; this file and the following ones are ignored");
            problems.push(ConfigError::new(message).in_file(path).hint("split them into several folders"));
            break;
        }
        read_into(path, &mut files, &mut problems);
        bytes += files.last().filter(|file| file.path == *path).map_or(0, |file| file.text.len() as u64);
    }
    (files, problems)
}

fn read_into(path: &Path, files: &mut Vec<WorkflowFile>, problems: &mut Vec<ConfigError>) {
    match workflow_at(path) {
        Ok(file) => files.push(file),
        Err(error) => problems.push(error),
    }
}

/// Role of a file in a workflow folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// A workflow.
    Workflow,
    /// The test file of a workflow.
    Test,
}

/// Returns the role of a file by its name; `None` for other files.
pub(super) fn role_of(path: &Path) -> Option<Role> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.ends_with(".test.toml") || name.ends_with("_test.toml") {
        return Some(Role::Test);
    }
    (name.ends_with(".toml") && !name.starts_with('.')).then_some(Role::Workflow)
}

/// Returns the name of the workflow in a file: its `name`, or the file name without its extension. A file with a syntax
/// error or an invalid name gets the file name; its errors are reported when it is used.
pub(super) fn name_in(path: &Path, text: &str) -> String {
    // The name comes before the first table. Only if that part alone is not TOML (an array over several lines), the
    // whole file is parsed for it.
    let head = text.lines().take_while(|line| !line.trim_start().starts_with('[')).map(|line| format!("{line}\n")).collect::<String>();
    let named = |text: &str| {
        let tree = Source::new(path, text).parse().ok()?;
        Some(tree.get("name").and_then(|name| name.text()).filter(|name| !name.is_empty() && parse::is_valid_name(name)).map(str::to_owned))
    };
    let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    named(&head).or_else(|| named(text)).flatten().unwrap_or_else(stem)
}

/// Writes a workflow file into `folder`, creating it if needed. An existing file is not overwritten.
pub fn save_workflow(folder: &Path, name: &str, text: &str) -> io::Result<PathBuf> {
    private::new_folders(folder)?;
    let path = folder.join(format!("{name}.toml"));
    match files::create(&path, text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(io::Error::new(error.kind(), "it exists already; choose another name, or remove it first"))
        }
        written => written.map(|()| path),
    }
}

/// Appends a case to the test file of a workflow in `folder`; a new file begins with `head`. A test file that is a link is
/// refused.
pub fn add_case(folder: &Path, workflow: &str, head: &str, case: &str) -> io::Result<PathBuf> {
    private::new_folders(folder)?;
    let path = folder.join(format!("{workflow}.test.toml"));
    let before = match fs::symlink_metadata(&path) {
        // Also refused when writing; checked here so that the target is not read.
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

/// Refuses a folder of a project that leaves it through a link, before a file is written there.
pub fn stays_inside(root: &Path, folder: &Path) -> io::Result<()> {
    let nearest = folder.ancestors().find(|folder| fs::symlink_metadata(folder).is_ok());
    let inside = nearest.and_then(|folder| folder.canonicalize().ok()).is_some_and(|real| real.starts_with(root));
    let refused = || io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {}", folder.display(), Unreadable::Outside));
    if inside { Ok(()) } else { Err(refused()) }
}

/// Returns the database file in the state folder, created with mode 0600 if missing. The store validates an existing one.
pub fn store_file(state_dir: &Path) -> io::Result<PathBuf> {
    private::folder(state_dir)?;
    let path = state_dir.join(STORE);
    match files::create(&path, b"") {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    Ok(path)
}

/// Returns the log file in the state folder, whose folders are created with mode 0700 if missing.
pub fn log_file(state_dir: &Path) -> io::Result<PathBuf> {
    private::folder(state_dir)?;
    let folder = state_dir.join(LOG_FOLDER);
    private::folder(&folder)?;
    Ok(folder.join(LOG))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn finds_files_next_to_the_configuration_and_at_configured_paths() {
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
        fs::write(&store, "old").unwrap();
        assert_eq!(fs::read_to_string(store_file(&dir.path().join("state")).unwrap()).unwrap(), "old");
    }
}
