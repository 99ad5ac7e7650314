//! Private files: readable by their owner only, written atomically.

use std::{
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use rustix::{fs::OFlags, process::geteuid};

use crate::files;
pub(super) use crate::files::private_folder as folder;

/// What to do when the file to be written is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    /// Refuse it: this program never makes its private files links, so another program did.
    Refuse,
    /// Write its target: users link their configuration to other folders.
    Follow,
}

/// Creates the missing parent folders of a file with mode 0700 regardless of the umask. Existing ones are not changed: a
/// folder of the user or of a repository may be shared.
pub(super) fn new_folders(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Reads a private file; `None` when there is none. Links, files of other users and files that others may write are
/// refused.
pub(super) fn read(path: &Path) -> io::Result<Option<String>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let mut file = match OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(_) if fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink()) => return Err(refused("is a symbolic link")),
        Err(e) => return Err(e),
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(refused("is not a file"));
    }
    if meta.uid() != geteuid().as_raw() {
        return Err(refused("belongs to another user"));
    }
    if meta.permissions().mode() & 0o022 != 0 {
        return Err(refused("can be written by others"));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Writes a file with mode 0600 regardless of the umask: a new file in the same folder, then a rename.
pub(super) fn write(path: &Path, text: &str, links: Links) -> io::Result<()> {
    let linked = links == Links::Follow && fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
    let target = if linked { fs::canonicalize(path)? } else { path.to_owned() };
    files::replace(&target, text.as_bytes())
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn folders_and_files_are_private_even_where_they_were_open() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("a/state");
        folder(&state).unwrap();
        assert_eq!(mode(&state), 0o700);
        fs::set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
        folder(&state).unwrap();
        assert_eq!(mode(&state), 0o700);
        let file = state.join("f");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        assert!(read(&file).is_err());
        write(&file, "new", Links::Refuse).unwrap();
        assert_eq!((mode(&file), read(&file).unwrap().as_deref()), (0o600, Some("new")));
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "no temporary file is left");
        assert_eq!(read(&state.join("none")).unwrap(), None);
    }

    #[test]
    fn the_umask_makes_no_difference() {
        // A umask belongs to the whole process, so another process has it.
        let test = "config::private::tests::folders_and_files_are_private_even_where_they_were_open";
        let binary = std::env::current_exe().unwrap();
        for umask in ["000", "022", "077"] {
            let script = format!("umask {umask} && exec \"$0\" --exact {test}");
            let output = std::process::Command::new("sh").arg("-c").arg(script).arg(&binary).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "umask {umask}: {said}");
        }
    }

    #[test]
    fn planted_links_are_refused_and_a_linked_configuration_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&real, "precious").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(write(&link, "x", Links::Refuse).unwrap_err().to_string().contains("symbolic link"));
        assert!(read(&link).unwrap_err().to_string().contains("symbolic link"));
        assert_eq!(fs::read_to_string(&real).unwrap(), "precious");
        write(&link, "x", Links::Follow).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!((fs::read_to_string(&real).unwrap().as_str(), mode(&real)), ("x", 0o600));
        let (folder_link, folder_real) = (dir.path().join("fl"), dir.path().join("fr"));
        fs::create_dir(&folder_real).unwrap();
        std::os::unix::fs::symlink(&folder_real, &folder_link).unwrap();
        assert!(folder(&folder_link).is_err());
        assert!(write(&folder_real, "x", Links::Refuse).is_err());
    }
}
