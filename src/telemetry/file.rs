//! The log file: bounded in size, shared by the processes of one user.
//!
//! A full file is renamed to `NAME.1`, which replaces the one before it. Processes that write to the same file hold its lock
//! for each write, and notice when another one has renamed it.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::files;

/// How often, and after which pause, the lock of the file is tried. A process that is stopped may hold it.
const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// An open log file.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    limit: u64,
    file: File,
}

impl LogFile {
    /// Opens the file, created with mode 0600 if missing. `limit` is its largest size in bytes.
    pub fn open(path: &Path, limit: u64) -> io::Result<LogFile> {
        Ok(LogFile { path: path.to_owned(), limit, file: files::append(path)? })
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends lines. The file is renamed whenever it would exceed the limit, which each line must be shorter than.
    pub fn write(&mut self, lines: &str) -> io::Result<()> {
        let most = usize::try_from(self.limit / 4).unwrap_or(usize::MAX);
        let mut rest = lines;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(whole_lines(rest, most));
            self.append(part)?;
            rest = after;
        }
        Ok(())
    }

    fn append(&mut self, lines: &str) -> io::Result<()> {
        // Twice at most: another process may rename the file before the lock is taken.
        for _ in 0..2 {
            self.lock()?;
            if self.has_its_name() {
                break;
            }
            self.file = files::append(&self.path)?;
        }
        if self.file.metadata()?.len().saturating_add(lines.len() as u64) > self.limit {
            fs::rename(&self.path, previous(&self.path))?;
            self.file = files::append(&self.path)?;
            self.lock()?;
        }
        let written = self.file.write_all(lines.as_bytes());
        self.file.unlock()?;
        written
    }

    fn lock(&self) -> io::Result<()> {
        for _ in 0..TRIES {
            match self.file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Returns whether the path still leads to the open file.
    fn has_its_name(&self) -> bool {
        let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let named = fs::symlink_metadata(&self.path).map(identity);
        named.is_ok_and(|named| self.file.metadata().map(identity).is_ok_and(|open| open == named))
    }
}

/// Returns the length of the lines that are at most `most` bytes together, or of the first line if that is longer.
fn whole_lines(lines: &str, most: usize) -> usize {
    let bytes = lines.as_bytes();
    let end = if bytes.len() <= most { None } else { memchr::memrchr(b'\n', &bytes[..most]).or_else(|| memchr::memchr(b'\n', bytes)) };
    end.map_or(bytes.len(), |at| at + 1)
}

/// Returns the path of the previous file.
pub fn previous(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn several_writers_stay_within_two_bounded_private_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.log");
        let mut writers: Vec<LogFile> = (0..3).map(|_| LogFile::open(&path, 1000).unwrap()).collect();
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        for number in 0..500 {
            writers[number % 3].write(&format!("line {number}\n")).unwrap();
            for path in [&path, &previous(&path)] {
                assert!(read(path).len() <= 1000);
            }
        }
        let all = read(&previous(&path)) + &read(&path);
        let numbers: Vec<usize> = all.lines().map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect();
        assert_eq!(numbers, (500 - numbers.len()..500).collect::<Vec<_>>(), "the last lines, in order");
        assert!(numbers.len() > 90);
        for path in [&path, &previous(&path)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_removed_file_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own.log");
        let mut file = LogFile::open(&path, 1000).unwrap();
        file.write("one\n").unwrap();
        fs::remove_file(&path).unwrap();
        file.write("two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }
}
