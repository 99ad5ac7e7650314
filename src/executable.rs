//! Executables: looks up the command of a stdio server in `PATH`, and in the folders of version and package managers.
//!
//! `mcp` and `cli` call it to explain failures. The operating system has its own lookup when it starts the server.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::domain::{advice::Elsewhere, server::Transport};

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

/// A folder in which a version or package manager keeps programs.
struct Keeper {
    manager: &'static str,
    /// The variable that replaces the folder of the manager.
    variable: &'static str,
    /// That folder in the home.
    home: &'static str,
    /// The folder with the programs in it; `*` is a version.
    rest: &'static str,
}

const fn keeper(manager: &'static str, variable: &'static str, home: &'static str, rest: &'static str) -> Keeper {
    Keeper { manager, variable, home, rest }
}

const KEEPERS: &[Keeper] = &[
    keeper("nvm", "NVM_DIR", ".nvm", "versions/node/*/bin"),
    keeper("fnm", "FNM_DIR", ".local/share/fnm", "node-versions/*/installation/bin"),
    keeper("Volta", "VOLTA_HOME", ".volta", "bin"),
    keeper("asdf", "ASDF_DATA_DIR", ".asdf", "shims"),
    keeper("mise", "MISE_DATA_DIR", ".local/share/mise", "shims"),
    keeper("nodenv", "NODENV_ROOT", ".nodenv", "shims"),
    keeper("pyenv", "PYENV_ROOT", ".pyenv", "shims"),
    keeper("rbenv", "RBENV_ROOT", ".rbenv", "shims"),
    keeper("uv or pipx", "XDG_BIN_HOME", ".local/bin", ""),
    keeper("uv", "UV_TOOL_DIR", ".local/share/uv/tools", "*/bin"),
    keeper("cargo", "CARGO_HOME", ".cargo", "bin"),
    keeper("Bun", "BUN_INSTALL", ".bun", "bin"),
    keeper("Deno", "DENO_INSTALL", ".deno", "bin"),
    keeper("pnpm", "PNPM_HOME", ".local/share/pnpm", ""),
    keeper("npm", "NPM_CONFIG_PREFIX", ".npm-global", "bin"),
    keeper("Yarn", "", ".yarn", "bin"),
    keeper("Go", "GOPATH", "go", "bin"),
    keeper("conda", "CONDA_PREFIX", "miniconda3", "bin"),
    keeper("Nix", "", ".nix-profile", "bin"),
];

/// Folders of the system with programs that a desktop session may lack in `PATH`.
const SHARED: &[(&str, &str)] = &[
    ("Homebrew", "/opt/homebrew/bin"),
    ("Homebrew", "/home/linuxbrew/.linuxbrew/bin"),
    ("MacPorts", "/opt/local/bin"),
    ("local installation", "/usr/local/bin"),
    ("snap", "/snap/bin"),
];

/// Returns where a version or package manager keeps a command, the newest version first. `variable` looks up the variables that
/// replace the folders of managers.
pub fn elsewhere(command: &str, home: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Option<Elsewhere> {
    if command.is_empty() || command.contains('/') {
        return None;
    }
    let own = KEEPERS.iter().flat_map(|keeper| {
        let set = Some(keeper.variable).filter(|name| !name.is_empty()).and_then(&variable).filter(|value| !value.is_empty());
        let root = set.map(PathBuf::from).or_else(|| Some(home?.join(keeper.home)));
        root.map(|root| versions(&root, keeper.rest)).unwrap_or_default().into_iter().map(|folder| (keeper.manager, folder))
    });
    let shared = SHARED.iter().map(|(manager, folder)| (*manager, PathBuf::from(folder)));
    let found = own.chain(shared).map(|(manager, folder)| Elsewhere { file: folder.join(command), manager });
    found.into_iter().find(|found| is_executable(&found.file))
}

/// Returns the folders of a pattern with at most one `*`, the newest version first.
fn versions(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![root.join(pattern)] };
    let entries = fs::read_dir(root.join(before.trim_end_matches('/'))).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.take(MOST_VERSIONS).map(|entry| entry.path()).collect();
    let number = |folder: &PathBuf| -> Vec<u64> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
    };
    folders.sort_by_key(|folder| std::cmp::Reverse((number(folder), folder.clone())));
    folders.into_iter().map(|folder| folder.join(after.trim_start_matches('/'))).collect()
}

/// Most versions of one manager that are looked at.
const MOST_VERSIONS: usize = 256;

/// Longest first line of a script, in bytes. Linux reads 256.
const FIRST_LINE: u64 = 512;

/// Returns the words after `#!` in the first line of a script.
pub fn interpreter(file: &Path) -> Option<Vec<String>> {
    use std::io::Read;
    if !fs::metadata(file).ok()?.is_file() {
        return None;
    }
    let mut start = vec![];
    fs::File::open(file).ok()?.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let words: Vec<String> = String::from_utf8_lossy(line).split_whitespace().map(str::to_owned).collect();
    (!words.is_empty()).then_some(words)
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
    fn programs_of_version_managers_are_found_the_newest_first() {
        let home = tempfile::tempdir().unwrap();
        let put = |path: &str| {
            let file = home.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
            file
        };
        let newest = put(".nvm/versions/node/v22.10.0/bin/only-npx");
        put(".nvm/versions/node/v22.9.1/bin/only-npx");
        put(".nvm/versions/node/v8.0.0/bin/only-npx");
        let moved = put("elsewhere/bin/only-bunx");
        let plain = put(".local/bin/only-uvx");
        let find = |command: &str| {
            elsewhere(command, Some(home.path()), |name| (name == "BUN_INSTALL").then(|| home.path().join("elsewhere").into()))
        };
        for (command, file, manager) in [("only-npx", newest, "nvm"), ("only-bunx", moved, "Bun"), ("only-uvx", plain, "uv or pipx")] {
            assert_eq!(find(command), Some(Elsewhere { file, manager }), "{command}");
        }
        assert_eq!((find("only-nothing"), find(""), find("bin/only-npx")), (None, None, None));
    }

    #[test]
    fn the_interpreter_of_a_script_is_its_first_line() {
        let dir = tempfile::tempdir().unwrap();
        for (text, words) in [
            ("#!/usr/bin/env -S node --x\nmore", Some(vec!["/usr/bin/env", "-S", "node", "--x"])),
            ("#! /no/such\r\n", Some(vec!["/no/such"])),
            ("#!", None),
            ("\u{7f}ELF", None),
        ] {
            fs::write(dir.path().join("s"), text).unwrap();
            let found = interpreter(&dir.path().join("s"));
            assert_eq!(found.as_ref().map(|found| found.iter().map(String::as_str).collect()), words, "{text:?}");
        }
        assert_eq!((interpreter(dir.path()), interpreter(&dir.path().join("none"))), (None, None));
    }

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
