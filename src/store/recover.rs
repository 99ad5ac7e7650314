//! Recovery: moves a database that cannot be used out of the way, so that a new one can be made.
//!
//! A damaged database, one that is not a regular file, and one that other users own or could write is renamed to
//! `NAME.damaged-DATE` together with its `-wal` and `-shm`. Nothing is deleted. A database of a newer version, one that
//! another program has locked and a disk without room are not damage: the file stays where it is.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::ErrorCode;
use rustix::process::geteuid;

/// How long another process is waited for that recovers the same file.
const PATIENCE: Duration = Duration::from_secs(5);

/// Suffixes of the files that SQLite keeps next to a database.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// A file that was cut short (SQLITE_IOERR_SHORT_READ).
const SHORT_READ: i32 = 522;

/// A database that was moved out of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where it was.
    pub path: PathBuf,
    /// Where it is now.
    pub to: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl std::fmt::Display for SetAside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the journal and history {} cannot be used: {}. It was moved to {} and a new one was made; runs and calls that it \
             records cannot be listed or resumed",
            self.path.display(),
            self.why,
            self.to.display()
        )
    }
}

/// Device and number of a file.
pub type Identity = (u64, u64);

/// Which file has this name.
pub fn identity(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Why a database must not be opened; `None` when it may be, or is not there. Its mode is made 0600.
pub fn unusable(path: &Path) -> io::Result<Option<String>> {
    for file in all(path) {
        let meta = match fs::symlink_metadata(&file) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let mode = meta.permissions().mode() & 0o777;
        let why = if !meta.is_file() {
            "is not a regular file"
        } else if meta.uid() != geteuid().as_raw() {
            "belongs to another user"
        } else if mode & 0o022 != 0 {
            "could be written by other users"
        } else {
            if mode != 0o600 {
                fs::set_permissions(&file, Permissions::from_mode(0o600))?;
            }
            continue;
        };
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(Some(format!("{name} {why}")));
    }
    Ok(None)
}

/// Whether an error of SQLite says that the file is damaged. Locks, missing room and missing rights are not damage.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => true,
        Some(ErrorCode::SystemIoFailure) => code == Some(SHORT_READ),
        // A statement that does not fit the tables.
        Some(ErrorCode::Unknown) => true,
        Some(_) => false,
        None => {
            use rusqlite::Error::{FromSqlConversionFailure, InvalidColumnType, SqlInputError};
            matches!(error, FromSqlConversionFailure(..) | InvalidColumnType(..) | SqlInputError { .. })
        }
    }
}

/// What SQLite says of a damaged file, without the statement.
pub fn words(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

/// Moves a database out of the way. `still` says, once no other process is doing the same, why it still has to be moved;
/// `None` when another process has replaced it already.
pub fn set_aside(path: &Path, still: impl FnOnce() -> Option<String>) -> io::Result<Option<SetAside>> {
    let folder = File::open(path.parent().unwrap_or(Path::new(".")))?;
    let until = Instant::now() + PATIENCE;
    while let Err(error) = folder.try_lock() {
        match error {
            fs::TryLockError::WouldBlock if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            fs::TryLockError::WouldBlock => return Err(io::Error::new(io::ErrorKind::WouldBlock, "another process is recovering it")),
            fs::TryLockError::Error(error) => return Err(error),
        }
    }
    let Some(why) = still() else { return Ok(None) };
    let to = free_name(path);
    let mut moved = false;
    for (file, place) in all(path).into_iter().zip(all(&to)) {
        match fs::rename(&file, &place) {
            Ok(()) => moved = true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    // These files belong to the database: a new one must not find the old log.
    Ok(moved.then(|| SetAside { path: path.to_owned(), to, why }))
}

/// Makes a folder of mode 0700 whatever the umask. Something else of that name is moved out of the way.
pub fn private_folder(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() && meta.uid() == geteuid().as_raw() => {}
        Ok(_) => fs::rename(path, free_name(path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    if fs::symlink_metadata(path)?.permissions().mode() & 0o777 != 0o700 {
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The database and its companion files.
fn all(path: &Path) -> Vec<PathBuf> {
    let companion = |end: &&str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    [""].iter().chain(&COMPANIONS).map(companion).collect()
}

/// A name that nothing has, with the date in it.
#[expect(clippy::disallowed_methods, reason = "a date in a file name")]
fn free_name(path: &Path) -> PathBuf {
    let now = chrono::Utc::now().format("%Y%m%d-%H%M%S");
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".damaged-{now}"));
        if number > 1 {
            name.push(format!("-{number}"));
        }
        PathBuf::from(name)
    };
    (1..).map(name).find(|name| all(name).iter().all(|file| fs::symlink_metadata(file).is_err())).unwrap_or_else(|| name(1))
}
