//! Leases of runs and concurrency groups as lock files: give one process exclusive access.
//!
//! A run has a lock file of its own, which the operating system unlocks however the process ends. An interrupted run can be
//! locked immediately, an active one cannot.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

use super::recover;
use crate::{domain::run::RunId, engine::ports::RunLease};

/// How often a lock is tried again before it counts as taken, and the pause before.
const REFUSALS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(5);

/// The lock file of a run; released on drop.
#[derive(Debug)]
pub struct RunLockFile {
    path: PathBuf,
    file: File,
}

impl RunLockFile {
    /// Returns whether the path names the locked file. Without its name the lock excludes nobody.
    fn is_named(&self) -> io::Result<bool> {
        let (named, locked) = (fs::symlink_metadata(&self.path)?, self.file.metadata()?);
        Ok((named.dev(), named.ino()) == (locked.dev(), locked.ino()))
    }
}

impl RunLease for RunLockFile {
    fn may_send(&self) -> bool {
        self.is_named().unwrap_or(false)
    }
}

impl Drop for RunLockFile {
    fn drop(&mut self) {
        // Still locked: a process that opened the file meanwhile sees that it lost its name. The file of another owner stays.
        if self.may_send() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Takes `run` in `folder`; `None` while somebody has it.
pub fn acquire(folder: &Path, run: RunId) -> io::Result<Option<RunLockFile>> {
    acquire_file(folder, &format!("{run}.lock"))
}

/// Returns whether a process has `run`. Does not take the lock, so that a run can be resumed meanwhile.
pub fn is_held(folder: &Path, run: RunId) -> io::Result<bool> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(folder.join(format!("{run}.lock"))) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Takes the group of this name in `folder`; `None` while somebody has it. The file is named by a hash, since a name may
/// contain any character.
pub fn acquire_group(folder: &Path, group: &str) -> io::Result<Option<RunLockFile>> {
    let hash: String = Sha256::digest(group).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    acquire_file(folder, &format!("group-{hash}.lock"))
}

fn acquire_file(folder: &Path, name: &str) -> io::Result<Option<RunLockFile>> {
    recover::private_folder(folder)?;
    let path = folder.join(name);
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    let mut refused = 0;
    loop {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).custom_flags(flags).open(&path)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        match file.try_lock() {
            Ok(()) => {}
            // A process that asks for the state of the run has the lock for a moment.
            Err(TryLockError::WouldBlock) if refused < REFUSALS => {
                refused += 1;
                std::thread::sleep(PAUSE);
                continue;
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let taken = RunLockFile { path: path.clone(), file };
        match taken.is_named() {
            Ok(true) => return Ok(Some(taken)),
            // The previous holder has just ended and removed the file.
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_locked_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let first = acquire_group(folder.path(), "../deploy prod").unwrap();
        assert!(first.is_some());
        assert!(acquire_group(folder.path(), "../deploy prod").unwrap().is_none(), "locked");
        assert!(acquire_group(folder.path(), "../deploy test").unwrap().is_some(), "another group");
        drop(first);
        assert!(acquire_group(folder.path(), "../deploy prod").unwrap().is_some(), "released");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_lease_is_lost_with_the_name_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunId::new(1, 1);
        let first = acquire(folder.path(), run).unwrap().unwrap();
        assert!(first.may_send());
        fs::remove_file(&first.path).unwrap();
        assert!(!first.may_send(), "another process can take the run");
        let second = acquire(folder.path(), run).unwrap().unwrap();
        assert!(!first.may_send() && second.may_send());
        drop(first);
        assert!(second.may_send(), "the file of the other owner stays");
    }

    #[test]
    fn a_run_is_locked_once_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunId::new(1, 1);
        let first = acquire(folder.path(), run).unwrap();
        assert!(first.is_some());
        assert!(acquire(folder.path(), run).unwrap().is_none(), "locked");
        assert!(acquire(folder.path(), RunId::new(1, 2)).unwrap().is_some(), "another run");
        assert!(is_held(folder.path(), run).unwrap() && !is_held(folder.path(), RunId::new(1, 2)).unwrap());
        drop(first);
        assert!(!is_held(folder.path(), run).unwrap());
        assert!(acquire(folder.path(), run).unwrap().is_some(), "released");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
