//! Safe file access: bounded reads of regular files, writes that follow no link.
//!
//! Owns the rules for files from an untrusted source (a repository, a shared folder). `config`, `cli`, `tui`
//! and `app` call it. A read checks the open descriptor, never a path that could be swapped afterwards. A write goes to
//! a new file that is renamed over the old one, so that neither a symbolic nor a hard link leads it elsewhere.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Component, Path, PathBuf},
};

use rustix::{fs::OFlags, process::geteuid};

use crate::domain::time::size;

/// Why a file was not read.
#[derive(Debug)]
pub enum Unreadable {
    /// The system refused.
    Io(io::Error),
    /// It is a folder, a pipe, a socket or a device.
    NotRegular,
    /// It has more bytes than the limit.
    TooLarge(u64),
    /// It is inside the project as written, but a link leads out of it.
    Outside,
    /// Its text is not UTF-8.
    NotText,
}

impl Unreadable {
    /// The kind of the system's error; `Other` for refusals of our own.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Unreadable::Io(error) => error.kind(),
            _ => io::ErrorKind::Other,
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Io(error) => write!(f, "cannot be read: {error}"),
            Unreadable::NotRegular => f.write_str("is not a file (a folder, pipe, socket or device)"),
            Unreadable::TooLarge(limit) => write!(f, "is larger than {}", size(*limit)),
            Unreadable::Outside => f.write_str("leads out of the project by a symbolic link"),
            Unreadable::NotText => f.write_str("is not UTF-8 text"),
        }
    }
}

impl From<io::Error> for Unreadable {
    fn from(error: io::Error) -> Self {
        Unreadable::Io(error)
    }
}

/// Limits of a read.
#[derive(Clone, Copy, Debug)]
pub struct Allowed<'r> {
    /// The most bytes.
    pub bytes: u64,
    /// The canonical folder that must contain the file after links are resolved.
    pub within: Option<&'r Path>,
}

/// Reads a regular file. Never waits for a pipe or a device, and never reads more than `allowed`.
pub fn read(path: &Path, allowed: Allowed<'_>) -> Result<Vec<u8>, Unreadable> {
    // Opening some devices has side effects.
    if !fs::metadata(path)?.is_file() {
        return Err(Unreadable::NotRegular);
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(Unreadable::NotRegular);
    }
    if let Some(root) = allowed.within
        && !lies_in(root, path, &meta)
    {
        return Err(Unreadable::Outside);
    }
    if meta.len() > allowed.bytes {
        return Err(Unreadable::TooLarge(allowed.bytes));
    }
    let mut bytes = Vec::new();
    file.take(allowed.bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > allowed.bytes {
        return Err(Unreadable::TooLarge(allowed.bytes));
    }
    Ok(bytes)
}

/// Like [`read`], for UTF-8 text.
pub fn read_text(path: &Path, allowed: Allowed<'_>) -> Result<String, Unreadable> {
    String::from_utf8(read(path, allowed)?).map_err(|_| Unreadable::NotText)
}

/// Returns whether the open file with this metadata is the one that `path` resolves to, and is in `root`.
fn lies_in(root: &Path, path: &Path, open: &fs::Metadata) -> bool {
    let Ok(real) = path.canonicalize() else { return false };
    let Ok(meta) = fs::symlink_metadata(&real) else { return false };
    real.starts_with(root) && (meta.dev(), meta.ino()) == (open.dev(), open.ino())
}

/// Returns the path without `.` and `..`, without reading the file system.
pub fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = out.pop(),
            part => out.push(part),
        }
    }
    out
}

/// Creates a folder with mode 0700 regardless of the umask. An existing one must belong to this user and not be a link.
pub fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() {
        return Err(refused("is a symbolic link, not a folder"));
    }
    if meta.uid() != geteuid().as_raw() {
        return Err(refused("belongs to another user"));
    }
    if meta.permissions().mode() & 0o777 != 0o700 {
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Creates a file with mode 0600. Fails if it exists, even as a link.
pub fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    create_as(path, bytes, Mode::Private)
}

/// Opens a file for appending, created with mode 0600 if missing.
///
/// An existing one must be a regular file of this user with one name, and gets mode 0600. Never waits for a pipe.
pub fn append(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => return Err(refused("is a symbolic link, which is not written through")),
        Ok(meta) if !meta.is_file() => return Err(refused("is not a file")),
        _ => {}
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(refused("is not a file"));
    }
    if meta.uid() != geteuid().as_raw() {
        return Err(refused("belongs to another user"));
    }
    if meta.nlink() > 1 {
        return Err(refused("has several names (hard links)"));
    }
    if meta.permissions().mode() & 0o777 != 0o600 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Who may read a new file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Its owner only, regardless of the umask.
    Private,
    /// As the umask permits.
    Umask,
}

fn create_as(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let bits = if mode == Mode::Private { 0o600 } else { 0o666 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(bits).custom_flags(flags).open(path)?;
    if mode == Mode::Private {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// Writes a file with mode 0600: a new file in the same folder, renamed over the old one.
///
/// Fails when `path` exists and is not a regular file. Other hard links of the old file are not changed.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_as(path, bytes, Mode::Private)
}

/// Writes a report like [`replace`], but with the permissions of the umask, because other programs read it. Writes to pipes
/// and devices; follows only the system's links (`/dev/stdout`).
pub fn report(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let own = path.starts_with("/dev");
    match fs::symlink_metadata(path) {
        Ok(meta) if own || !(meta.is_symlink() || meta.is_file() || meta.is_dir()) => {
            let nofollow = if own { OFlags::empty() } else { OFlags::NOFOLLOW };
            OpenOptions::new().write(true).custom_flags(nofollow.bits().cast_signed()).open(path)?.write_all(bytes)
        }
        _ => replace_as(path, bytes, Mode::Umask),
    }
}

/// Returns why [`report`] cannot write to this path, as far as that is known beforehand.
pub fn check_report(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => Err(refused("is a folder")),
        Ok(meta) if meta.is_symlink() && !path.starts_with("/dev") => Err(refused("is a symbolic link, which is not written through")),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            match fs::metadata(folder) {
                Ok(meta) if meta.is_dir() && path.file_name().is_some() => Ok(()),
                Ok(_) => Err(refused("names no file")),
                Err(_) => Err(refused("is in a folder that does not exist")),
            }
        }
        Err(error) => Err(error),
    }
}

fn replace_as(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => return Err(refused("is a symbolic link, which is not written through")),
        Ok(meta) if !meta.is_file() => return Err(refused("is not a file")),
        _ => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| refused("names no file"))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:016x}", fastrand::u64(..)));
    let temporary = folder.join(temporary);
    let written = create_as(&temporary, bytes, mode).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Best effort: the first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    const ANY: Allowed<'static> = Allowed { bytes: 8, within: None };

    #[test]
    fn only_regular_files_within_the_limit_are_read_and_nothing_waits() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        fs::write(at("ok"), "12345678").unwrap();
        fs::write(at("long"), "123456789").unwrap();
        fs::write(at("latin"), b"\xe4").unwrap();
        fs::create_dir(at("folder")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        for (link, target) in [("zero", "/dev/zero"), ("to_fifo", "fifo"), ("gone", "none")] {
            symlink(target, at(link)).unwrap();
        }
        assert_eq!(read_text(&at("ok"), ANY).unwrap(), "12345678");
        assert!(matches!(read(&at("long"), ANY), Err(Unreadable::TooLarge(8))));
        assert!(matches!(read_text(&at("latin"), ANY), Err(Unreadable::NotText)));
        for name in ["folder", "fifo", "socket", "zero", "to_fifo"] {
            assert!(matches!(read(&at(name), ANY), Err(Unreadable::NotRegular)), "{name}");
        }
        assert_eq!(read(&at("gone"), ANY).unwrap_err().kind(), io::ErrorKind::NotFound);
        // The system gives its length as 0; the read is bounded even so.
        assert!(read(Path::new("/proc/self/maps"), ANY).is_err() || cfg!(not(target_os = "linux")));
    }

    #[test]
    fn a_link_may_lead_within_the_project_and_not_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("project");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(root.join("sub/in"), "in").unwrap();
        fs::write(root.parent().unwrap().join("out"), "out").unwrap();
        fs::create_dir(root.parent().unwrap().join("project-2")).unwrap();
        fs::write(root.parent().unwrap().join("project-2/f"), "near").unwrap();
        let allowed = Allowed { bytes: 8, within: Some(&root) };
        for (link, target) in
            [("good", "sub/in"), ("bad", "../out"), ("near", "../project-2/f"), ("folder", ".."), ("self", "/proc/self/environ")]
        {
            symlink(target, root.join(link)).unwrap();
        }
        assert_eq!(read_text(&root.join("good"), allowed).unwrap(), "in");
        for path in ["bad", "near", "folder/out", "sub/../../out", "self"] {
            assert!(matches!(read(&root.join(path), allowed), Err(Unreadable::Outside)), "{path}");
        }
        assert_eq!(lexical(Path::new("/a/./b/../c")), Path::new("/a/c"));
    }

    #[test]
    fn a_file_for_appending_is_private_and_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
        fs::write(at("open"), "old,").unwrap();
        fs::set_permissions(at("open"), Permissions::from_mode(0o666)).unwrap();
        append(&at("open")).unwrap().write_all(b"new").unwrap();
        append(&at("new")).unwrap();
        assert_eq!((fs::read_to_string(at("open")).unwrap().as_str(), mode("open"), mode("new")), ("old,new", 0o600, 0o600));
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        symlink(at("open"), at("soft")).unwrap();
        fs::hard_link(at("open"), at("hard")).unwrap();
        for name in ["fifo", "soft", "hard", ""] {
            assert!(append(&at(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("precious"), "old").unwrap();
        symlink(at("precious"), at("soft")).unwrap();
        symlink(at("none"), at("dangling")).unwrap();
        fs::hard_link(at("precious"), at("hard")).unwrap();
        assert!(replace(&at("soft"), b"x").unwrap_err().to_string().contains("symbolic link"));
        assert!(replace(&at("dangling"), b"x").is_err() && create(&at("dangling"), b"x").is_err() && create(&at("soft"), b"x").is_err());
        replace(&at("hard"), b"new").unwrap();
        assert_eq!(fs::read_to_string(at("precious")).unwrap(), "old");
        assert_eq!(fs::read_to_string(at("hard")).unwrap(), "new");
        assert_eq!(fs::metadata(at("hard")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!at("none").exists() && replace(dir.path(), b"x").is_err());
        assert!(report(&at("soft"), b"x").is_err() && report(&at("dangling"), b"x").is_err());
        report(&at("hard"), b"newer").unwrap();
        report(Path::new("/dev/null"), b"x").unwrap();
        assert_eq!(
            (fs::read_to_string(at("hard")).unwrap().as_str(), fs::read_to_string(at("precious")).unwrap().as_str()),
            ("newer", "old")
        );
    }
}
