//! Executables: looks up the command of a stdio server in `PATH`.
//!
//! `mcp` and `cli` call it to explain failures. The operating system has its own lookup when it starts the server.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::domain::server::Transport;

/// Returns the `PATH` of a server: from its configuration, else ours. `None` for a server without a command.
pub fn path_of(launch: &Transport) -> Option<OsString> {
    let Transport::Stdio { env, .. } = launch else { return None };
    env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| OsString::from(value.expose())).or_else(|| std::env::var_os("PATH"))
}

/// Returns the first executable file of this name in the folders of `path`. `None` for a command with a slash, which is
/// not looked up.
pub fn find(command: &str, path: &OsStr) -> Option<PathBuf> {
    if command.contains('/') {
        return None;
    }
    folders(path).map(|folder| folder.join(command)).find(|file| is_executable(file))
}

/// Returns the path of the executable of a command, or the reason why there is none.
pub fn explain(command: &str, path: Option<&OsStr>, cwd: Option<&Path>) -> String {
    if command.contains('/') {
        let full = cwd.map_or_else(|| PathBuf::from(command), |cwd| cwd.join(command));
        return match fs::metadata(&full) {
            Ok(found) if found.is_dir() => format!("{} is a directory", full.display()),
            Ok(_) if !is_executable(&full) => format!("{} is not executable", full.display()),
            Ok(_) => full.display().to_string(),
            Err(error) => format!("{}: {error}", full.display()),
        };
    }
    let Some(path) = path.filter(|path| !path.is_empty()) else { return "PATH is empty".into() };
    if let Some(found) = find(command, path) {
        return found.display().to_string();
    }
    let shown: Vec<String> = folders(path).map(|folder| folder.display().to_string()).collect();
    format!("{command} is in none of the {} folders of PATH: {}", shown.len(), shown.join(":"))
}

/// Returns the folders of a `PATH`; none if it is empty.
fn folders(path: &OsStr) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(path).filter(|_| !path.is_empty())
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_executable_file_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        };
        let (plain, dirs, first, second) = (folder("plain"), folder("dirs"), folder("first"), folder("second"));
        fs::create_dir(dirs.join("tool")).unwrap();
        for (folder, mode) in [(&plain, 0o644), (&first, 0o755), (&second, 0o755)] {
            fs::write(folder.join("tool"), "").unwrap();
            fs::set_permissions(folder.join("tool"), fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = std::env::join_paths([&plain, &dirs, &first, &second]).unwrap();
        assert_eq!(find("tool", &path), Some(first.join("tool")));
        assert_eq!(find("other", &path), None);
        assert_eq!(find("first/tool", dir.path().as_os_str()), None, "not looked up");
        assert_eq!(find("tool", OsStr::new("")), None);

        let text = |file: PathBuf| file.display().to_string();
        assert_eq!(explain("tool", Some(&path), None), text(first.join("tool")));
        assert_eq!(
            explain("other", Some(plain.as_os_str()), None),
            format!("other is in none of the 1 folders of PATH: {}", plain.display())
        );
        assert_eq!(explain("tool", None, None), "PATH is empty");
        assert_eq!(explain("first/tool", None, Some(dir.path())), text(first.join("tool")));
        assert!(explain("plain/tool", None, Some(dir.path())).ends_with("is not executable"));
        assert!(explain("dirs/tool", None, Some(dir.path())).ends_with("is a directory"));
        assert!(explain("none/tool", None, Some(dir.path())).contains("No such file"));
    }
}
