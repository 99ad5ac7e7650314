//! Runs that a process has for itself.
//!
//! A run is held by a lock on a file of its own, which the system lets go of however the process ends: a run that
//! was interrupted can be taken at once, and one that is under way cannot.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::recover;
use crate::domain::run::RunId;

/// A run that nobody else has until this is dropped.
#[derive(Debug)]
pub struct Hold {
    path: PathBuf,
    _file: File,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // Still locked: whoever opened it meanwhile sees that it is not the file of this name any more.
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes `run` in `folder`; `None` while somebody has it.
pub fn take(folder: &Path, run: RunId) -> io::Result<Option<Hold>> {
    recover::private_folder(folder)?;
    let path = folder.join(format!("{run}.lock"));
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    loop {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).custom_flags(flags).open(&path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        match fs::metadata(&path) {
            Ok(named) if named.ino() == file.metadata()?.ino() => return Ok(Some(Hold { path, _file: file })),
            // Its holder has just ended and removed it.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_held_once_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunId::new(1, 1);
        let first = take(folder.path(), run).unwrap();
        assert!(first.is_some());
        assert!(take(folder.path(), run).unwrap().is_none(), "held");
        assert!(take(folder.path(), RunId::new(1, 2)).unwrap().is_some(), "another run");
        drop(first);
        assert!(take(folder.path(), run).unwrap().is_some(), "let go");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
