//! External programs of the console: the editor and the browser. Used by the loop only.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::{Child, Command};

/// Who owns a file in the editor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The console, for a text: the file is temporary.
    Console,
    /// The user.
    User,
}

/// A text or file that is being edited in `$EDITOR`.
pub struct Editing {
    /// The editor process.
    pub child: Child,
    path: PathBuf,
    /// The user's own file is not removed.
    owner: Owner,
}

impl Editing {
    /// Starts `$VISUAL`, `$EDITOR` or `vi` on a private temporary file with this text.
    pub fn start(text: &str) -> Result<Editing, String> {
        let path = write_private(text).map_err(|e| format!("The text could not be written for the editor: {e}"))?;
        Editing::launch(path, None, Owner::Console)
    }

    /// Starts the editor on a file, at a line if the editor is known to take one.
    pub fn open(path: &str, line: Option<u32>) -> Result<Editing, String> {
        Editing::launch(PathBuf::from(path), line, Owner::User)
    }

    fn launch(path: PathBuf, line: Option<u32>, owner: Owner) -> Result<Editing, String> {
        let set = |name| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
        let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".into());
        // The variable may contain arguments (`code --wait`), which a shell splits as usual.
        let arguments = editor_arguments(&editor, &path, line);
        let child = Command::new("/bin/sh").arg("-c").arg(format!("{editor} \"$@\"")).arg("editor").args(arguments).spawn();
        match child {
            Ok(child) => Ok(Editing { child, path, owner }),
            Err(error) => {
                if owner == Owner::Console {
                    let _ = std::fs::remove_file(&path);
                }
                Err(format!("The editor {editor:?} could not be started: {error}"))
            }
        }
    }

    /// Returns whether it is a file of the user.
    pub fn is_own(&self) -> bool {
        self.owner == Owner::User
    }

    /// Returns the text after the editor ended.
    pub fn finish(self, status: io::Result<std::process::ExitStatus>) -> Result<String, String> {
        let status = status.map_err(|e| format!("The editor process failed: {e}"))?;
        if !status.success() {
            return Err(format!("The editor ended with {status}; the text is unchanged."));
        }
        read_back(&self.path)
    }
}

impl Drop for Editing {
    fn drop(&mut self) {
        if self.owner == Owner::Console {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Returns the arguments that open a file at a line in this editor; only the file for editors that are not known.
fn editor_arguments(editor: &str, path: &Path, line: Option<u32>) -> Vec<OsString> {
    let program = editor.split_whitespace().next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    let at_line = |line: u32| {
        let mut text = path.as_os_str().to_owned();
        text.push(format!(":{line}"));
        text
    };
    match (program, line) {
        ("vi" | "vim" | "nvim" | "view" | "nano" | "emacs" | "emacsclient" | "kak" | "micro" | "joe" | "ne" | "mg", Some(line)) => {
            vec![format!("+{line}").into(), path.into()]
        }
        ("hx" | "helix" | "subl" | "zed", Some(line)) => vec![at_line(line)],
        ("code" | "codium" | "cursor" | "windsurf", Some(line)) => vec!["--goto".into(), at_line(line)],
        _ => vec![path.into()],
    }
}

fn read_back(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("The edited text could not be read: {e}"))?;
    String::from_utf8(bytes).map_err(|_| "The edited text is not UTF-8; the text is unchanged.".into())
}

fn write_private(text: &str) -> io::Result<PathBuf> {
    use std::os::unix::fs::OpenOptionsExt;
    let folder = std::env::temp_dir();
    for _ in 0..16 {
        let path = folder.join(format!("switchboard-{:016x}.json", fastrand::u64(..)));
        match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                file.write_all(text.as_bytes())?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("no free name in the temporary folder"))
}

/// Opens an `http` or `https` URL in the user's browser, by argument list only; no shell parses it.
pub fn open_url(url: &str) -> Result<(), String> {
    let lower = url.to_ascii_lowercase();
    if !(lower.starts_with("http://") || lower.starts_with("https://")) || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("Only http and https URLs are opened; y copies the URL.".into());
    }
    let standard = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let browsers = std::env::var("BROWSER").ok().filter(|b| !b.is_empty()).unwrap_or_else(|| standard.into());
    let mut last = String::new();
    for browser in browsers.split(':').filter(|b| !b.is_empty()) {
        let mut words = browser.split_whitespace();
        let Some(program) = words.next() else { continue };
        let mut arguments: Vec<String> = words.map(|w| w.replace("%s", url)).collect();
        if !browser.contains("%s") {
            arguments.push(url.to_owned());
        }
        match Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(_) => return Ok(()),
            Err(error) => last = format!("{program}: {error}"),
        }
    }
    Err(format!("No browser could be started ({last}); y copies the URL."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_web_pages_are_opened() {
        for url in ["file:///etc/passwd", "javascript:alert(1)", "--help", "http://a b", "https://a\n", ""] {
            assert!(open_url(url).is_err(), "{url:?}");
        }
    }

    #[test]
    fn known_editors_open_at_the_line() {
        let of = |editor: &str, line| editor_arguments(editor, Path::new("/a b.toml"), line);
        assert_eq!(of("/usr/bin/vim -n", Some(4)), ["+4", "/a b.toml"]);
        assert_eq!(of("hx", Some(4)), ["/a b.toml:4"]);
        assert_eq!(of("code --wait", Some(4)), ["--goto", "/a b.toml:4"]);
        assert_eq!(of("ed", Some(4)), ["/a b.toml"]);
        assert_eq!(of("vim", None), ["/a b.toml"]);
    }

    #[test]
    fn texts_for_the_editor_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let path = write_private("{}").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_back(&path).unwrap(), "{}");
        std::fs::remove_file(&path).unwrap();
    }
}
