//! Files that the user asks for: results saved, answers read; and the desktop clipboard. Used by the loop only.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    sync::mpsc::{SyncSender, sync_channel},
};

use super::msg::Content;
use crate::files;

/// Longer files are not accepted as an answer, in bytes.
const LONGEST: u64 = 1 << 20;

/// What happens to an existing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is written.
    Keep,
    /// It is replaced.
    Replace,
}

/// The result of saving a file.
#[derive(Debug)]
pub enum Saving {
    /// The file was written.
    Saved(PathBuf),
    /// A file of that name exists.
    Exists,
    /// Writing failed.
    Failed(String),
}

/// Expands `~/` at the start of a path to the home folder.
pub fn expand(path: &str) -> PathBuf {
    match path.strip_prefix("~/").zip(std::env::var_os("HOME")) {
        Some((rest, home)) => Path::new(&home).join(rest),
        None => PathBuf::from(path),
    }
}

/// Writes a file with mode 0600. An existing file is replaced only with [`Existing::Replace`]; a symbolic link never is.
pub fn save(path: &str, content: &Content, existing: Existing) -> Saving {
    let Some(body) = content.bytes() else { return Saving::Failed("The server sent invalid base64; nothing was written.".into()) };
    let path = expand(path.trim());
    if path.as_os_str().is_empty() {
        return Saving::Failed("The path is empty.".into());
    }
    if existing == Existing::Replace && fs::symlink_metadata(&path).is_ok_and(|m| !m.is_file()) {
        return Saving::Failed(format!("{} is not a regular file; it was not replaced.", path.display()));
    }
    let write = if existing == Existing::Replace { files::replace } else { files::create };
    match write(&path, body.bytes()) {
        Ok(()) => Saving::Saved(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Saving::Exists,
        Err(error) => Saving::Failed(format!("{} could not be written: {error}", path.display())),
    }
}

/// Writes a file into `folder` (created with mode 0700) and opens it in another program, by
/// argument list only. `name` is chosen by the console, never by a server.
pub fn open(folder: &Path, name: &str, content: &Content) -> Result<PathBuf, String> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    if fs::symlink_metadata(folder).is_ok_and(|meta| meta.is_symlink()) {
        return Err(format!("{} is a symbolic link, so nothing is written there", folder.display()));
    }
    let path = folder.join(name);
    match save(&path.to_string_lossy(), content, Existing::Replace) {
        Saving::Saved(path) => {
            let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
            let started =
                std::process::Command::new(opener).arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            match started {
                Ok(_) => Ok(path),
                Err(error) => Err(format!("{opener} could not be started ({error}); the file is {}", path.display())),
            }
        }
        Saving::Exists => Err(format!("{} exists already", path.display())),
        Saving::Failed(why) => Err(why),
    }
}

/// Reads a text that answers a question.
pub fn read(path: &str) -> Result<String, String> {
    let path = expand(path.trim());
    let failed = |e: &dyn std::fmt::Display| format!("{} could not be read: {e}", path.display());
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&path).map_err(|e| failed(&e))?;
    if !file.metadata().map_err(|e| failed(&e))?.is_file() {
        return Err(failed(&"it is not a file"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|e| failed(&e))?;
    if bytes.len() as u64 > LONGEST {
        return Err(failed(&"it is longer than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| failed(&"it is not UTF-8"))
}

/// The desktop clipboard, used in addition to the terminal's. It has its own thread, because a desktop may respond
/// slowly and, on X11, the text is available only as long as its owner lives.
#[derive(Default)]
pub struct Clipboard {
    texts: Option<SyncSender<String>>,
}

impl Clipboard {
    /// Offers text to the desktop; returns whether there is one. Without one, the terminal may still take the text.
    pub fn set(&mut self, text: &str) -> bool {
        let desktop = cfg!(target_os = "macos") || std::env::var_os("DISPLAY").is_some_and(|d| !d.is_empty());
        if !desktop {
            return false;
        }
        if self.texts.is_none() {
            let (sender, receiver) = sync_channel::<String>(4);
            let started = std::thread::Builder::new().name("clipboard".into()).spawn(move || {
                let mut clipboard = arboard::Clipboard::new().ok();
                for text in receiver {
                    if let Some(clipboard) = &mut clipboard {
                        let _ = clipboard.set_text(text);
                    }
                }
            });
            self.texts = started.is_ok().then_some(sender);
        }
        if let Some(texts) = &self.texts {
            let _ = texts.try_send(text.to_owned());
        }
        self.texts.is_some()
    }
}

/// Returns the file extension of a MIME type; an unknown type gets `bin`, which is not opened.
pub fn extension(mime: &str) -> &'static str {
    match mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "image/png" => "png",
        "image/jpeg" | "image/jpg" => "jpg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "image/bmp" => "bmp",
        "image/tiff" => "tiff",
        "audio/wav" | "audio/x-wav" | "audio/wave" => "wav",
        "audio/mpeg" | "audio/mp3" => "mp3",
        "audio/ogg" => "ogg",
        "audio/flac" => "flac",
        "video/mp4" => "mp4",
        "video/webm" => "webm",
        "application/pdf" => "pdf",
        "text/plain" => "txt",
        "application/json" => "json",
        "application/gzip" | "application/x-gzip" => "gz",
        "application/zip" => "zip",
        _ => "bin",
    }
}

/// Returns whether files with this extension are opened in another program: images, audio, video, documents.
pub fn opens(extension: &str) -> bool {
    !matches!(extension, "bin" | "gz" | "zip" | "json" | "txt")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn bytes(text: &str) -> Content {
        Content::Bytes(text.into())
    }

    #[test]
    fn files_are_private_and_overwritten_only_on_request() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.json");
        let name = path.to_str().unwrap();
        assert!(matches!(save(name, &bytes("1"), Existing::Keep), Saving::Saved(_)));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(save(name, &bytes("2"), Existing::Keep), Saving::Exists));
        assert_eq!(fs::read_to_string(&path).unwrap(), "1");
        assert!(matches!(save(name, &bytes("2"), Existing::Replace), Saving::Saved(_)));
        assert_eq!(read(name).unwrap(), "2");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(save(link.to_str().unwrap(), &bytes("3"), Existing::Replace), Saving::Failed(_)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "2");
        assert!(matches!(save("", &bytes("3"), Existing::Keep), Saving::Failed(_)));
        assert!(read(dir.path().to_str().unwrap()).unwrap_err().contains("not a file"));
    }

    #[test]
    fn executable_types_are_not_opened() {
        for mime in ["text/html", "application/x-sh", "image/svg+xml", "application/x-desktop", "../../x", ""] {
            assert_eq!(extension(mime), "bin", "{mime}");
            assert!(!opens(extension(mime)));
        }
        assert!(opens(extension("IMAGE/PNG; a=b")));
    }
}
