//! Running engines of this user, which consoles and commands can connect to: their folder, locks and sockets.
//!
//! Each instance has a name and two files in the folder. `NAME.lock` is locked (flock(2)) as long as its process lives. A held lock is
//! the only evidence that the instance runs: files of a killed process are replaced. It holds an [`InstanceInfo`]. The socket accepts
//! connections of the control protocol. The folder has mode 0700 and belongs to the user, before any socket is bound in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, OFlags, flock},
    process::geteuid,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

use crate::domain::text::visible;

/// The suffix of lock files.
const LOCK: &str = "lock";
/// Longest name of an instance, in bytes.
const NAME: usize = 64;
/// Longest path of a socket, in bytes: `sun_path` has 104 to 108 with the terminator (unix(7)).
const SOCKET_PATH: usize = 100;
/// Largest size of an [`InstanceInfo`], in bytes of its JSON.
const INFO: u64 = 64 << 10;
/// How often a lock is tried, and the pause between: [`Instances::list`] of another process holds a free lock for a moment.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(20);

/// What an instance says of itself in its lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceInfo {
    /// Its process.
    pub pid: u32,
    /// The version of the program.
    pub version: String,
    /// The version of the control protocol.
    pub protocol: u32,
    /// When it started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Where clients of the gateway connect, such as an address; empty without the gateway.
    #[serde(default)]
    pub faces: Vec<String>,
    /// Whether clients of the control socket may only observe.
    #[serde(default)]
    pub read_only: bool,
}

/// An instance whose lock is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its name.
    pub name: String,
    /// Its self-description; `None` while it starts.
    pub info: Option<InstanceInfo>,
    /// Its socket.
    pub socket: PathBuf,
}

/// Why an instance cannot be registered, found or reached.
#[derive(Debug, Error)]
pub enum InstanceError {
    /// The folder is not safe to use.
    #[error("the folder of running instances {} {why}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, as the rest of a sentence.
        why: FolderProblem,
    },
    /// The name cannot be used.
    #[error("the engine name {:?} is invalid: use 1 to {NAME} letters, digits, - and _", visible(name))]
    Name {
        /// The name.
        name: String,
    },
    /// Another process has the name.
    #[error("an engine named {name} is running{}", info.as_ref().map(|info| format!(" (pid {})", info.pid)).unwrap_or_default())]
    Taken {
        /// The name.
        name: String,
        /// Its self-description.
        info: Option<InstanceInfo>,
    },
    /// No running instance has the name.
    #[error("no engine named {name} is running{}", listed(running))]
    Unknown {
        /// The name.
        name: String,
        /// The names of those that run.
        running: Vec<String>,
    },
    /// No instance runs.
    #[error("no instance is running")]
    None,
    /// Several instances run, and none was named.
    #[error("several instances are running{}", listed(running))]
    Several {
        /// Their names.
        running: Vec<String>,
    },
    /// A file of an instance cannot be used.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

fn listed(running: &[String]) -> String {
    if running.is_empty() { String::new() } else { format!("; running: {}", running.join(", ")) }
}

/// What is wrong with the folder.
#[derive(Debug, Error)]
pub enum FolderProblem {
    /// It is a link or a file.
    #[error("is not a folder, or is a symbolic link")]
    NotFolder,
    /// It is another user's.
    #[error("belongs to another user (uid {uid})")]
    Foreign {
        /// The owner.
        uid: u32,
    },
    /// Others can open or change it.
    #[error("can be opened by others (mode {mode:03o}); run: chmod 700 {}", path.display())]
    Open {
        /// The mode.
        mode: u32,
        /// The folder.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot be used: {0}")]
    Io(#[from] io::Error),
}

/// The running instances of a user.
#[derive(Clone, Debug)]
pub struct Instances {
    /// Where instances of this process are registered.
    folder: PathBuf,
    /// Where others may be registered in addition.
    others: Vec<PathBuf>,
}

impl Instances {
    /// Registers instances in a folder, which is created with the first one, and finds those of other folders as well.
    pub fn new(folder: PathBuf, others: Vec<PathBuf>) -> Instances {
        Instances { folder, others }
    }

    /// Registers an instance of this process: takes the lock of its name, for as long as the result lives.
    ///
    /// Errors: the name is invalid or taken, or the folder is not safe.
    pub async fn register(&self, name: &str, info: &InstanceInfo) -> Result<Registration, InstanceError> {
        check_name(name)?;
        check_folder(&self.folder, true)?;
        let path = lock_path(&self.folder, name);
        let failed = |error: io::Error| InstanceError::File { path: path.clone(), error };
        for _ in 0..TRIES {
            let mut file = open_lock(&path, true).map_err(failed)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    // The previous holder may have removed the file between the two calls.
                    if !is_at(&file, &path) {
                        continue;
                    }
                    let text = serde_json::to_vec(info).map_err(|error| failed(error.into()))?;
                    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text)).map_err(failed)?;
                    return Ok(Registration { name: name.to_owned(), file, path, socket: socket_path(&self.folder, name) });
                }
                Err(error) if error == rustix::io::Errno::WOULDBLOCK => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(failed(error.into())),
            }
        }
        let info = self.list().unwrap_or_default().into_iter().find(|running| running.name == name).and_then(|running| running.info);
        Err(InstanceError::Taken { name: name.to_owned(), info })
    }

    /// Returns the running instances in the order of their names.
    pub fn list(&self) -> Result<Vec<Running>, InstanceError> {
        let mut running = vec![];
        for folder in std::iter::once(&self.folder).chain(&self.others) {
            if fs::symlink_metadata(folder).is_ok() {
                check_folder(folder, false)?;
                running.extend(list(folder).map_err(|error| InstanceError::File { path: folder.clone(), error })?);
            }
        }
        running.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(running)
    }

    /// Returns the running instance with this name, or without a name the only one.
    pub fn find(&self, name: Option<&str>) -> Result<Running, InstanceError> {
        let mut all = self.list()?;
        let names = |all: &[Running]| all.iter().map(|running| running.name.clone()).collect();
        match name {
            Some(name) => {
                check_name(name)?;
                match all.iter().position(|running| running.name == name) {
                    Some(at) => Ok(all.swap_remove(at)),
                    None => Err(InstanceError::Unknown { name: name.to_owned(), running: names(&all) }),
                }
            }
            None => match all.len() {
                0 => Err(InstanceError::None),
                1 => Ok(all.swap_remove(0)),
                _ => Err(InstanceError::Several { running: names(&all) }),
            },
        }
    }
}

/// Returns the running instances of a folder.
fn list(folder: &Path) -> io::Result<Vec<Running>> {
    let mut running = vec![];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
        let Some(name) = name.filter(|name| path.extension().is_some_and(|suffix| suffix == LOCK) && check_name(name).is_ok()) else {
            continue;
        };
        // Removed meanwhile, or not a file of ours.
        let Ok(mut file) = open_lock(&path, false) else { continue };
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            continue;
        }
        let mut text = vec![];
        let info = (&mut file).take(INFO).read_to_end(&mut text).ok().and_then(|_| serde_json::from_slice(&text).ok());
        running.push(Running { socket: socket_path(folder, &name), name, info });
    }
    Ok(running)
}

fn lock_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.{LOCK}"))
}

/// Returns the path of a socket: by a hash of the name where the name makes it too long.
fn socket_path(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(format!("{name}.sock"));
    if path.as_os_str().len() <= SOCKET_PATH {
        return path;
    }
    let hash = Sha256::digest(name);
    let short: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    folder.join(format!("{short}.sock"))
}

/// Checks that nobody else can reach the folder; creates it if `create`.
fn check_folder(path: &Path, create: bool) -> Result<(), InstanceError> {
    let failed = |why: FolderProblem| InstanceError::Folder { path: path.to_owned(), why };
    if create {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(|error| failed(error.into()))?;
        }
        match DirBuilder::new().mode(0o700).create(path) {
            // The umask may have taken bits of the owner.
            Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|error| failed(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    let meta = fs::symlink_metadata(path).map_err(|error| failed(error.into()))?;
    let mode = meta.permissions().mode() & 0o777;
    match () {
        () if !meta.is_dir() => Err(failed(FolderProblem::NotFolder)),
        () if meta.uid() != geteuid().as_raw() => Err(failed(FolderProblem::Foreign { uid: meta.uid() })),
        () if mode & 0o077 != 0 => Err(failed(FolderProblem::Open { mode, path: path.to_owned() })),
        () => Ok(()),
    }
}

/// Checks a name: it becomes a file name, and is typed.
fn check_name(name: &str) -> Result<(), InstanceError> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match (1..=NAME).contains(&name.len()) && name.bytes().all(valid) {
        true => Ok(()),
        false => Err(InstanceError::Name { name: name.to_owned() }),
    }
}

fn open_lock(path: &Path, create: bool) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).write(true).create(create).truncate(false).mode(0o600).custom_flags(flags).open(path)
}

/// Returns whether the path leads to the open file.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(found)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (open.dev(), open.ino()) == (found.dev(), found.ino())
}

/// The held lock of an instance of this process. Dropping it removes the files and releases the lock.
pub struct Registration {
    name: String,
    file: File,
    path: PathBuf,
    socket: PathBuf,
}

impl Registration {
    /// Returns the name of the instance.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Listens on the socket of the instance, and removes one that an earlier process left.
    pub fn listen(&self) -> Result<UnixListener, InstanceError> {
        let failed = |error| InstanceError::File { path: self.socket.clone(), error };
        match fs::remove_file(&self.socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&self.socket).map_err(failed)?;
        fs::set_permissions(&self.socket, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(listener)
    }

    /// Returns whether others can still find the instance: its lock file is where it was created.
    pub fn can_be_found(&self) -> bool {
        is_at(&self.file, &self.path)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.can_be_found() {
            // The lock is still held: no other process uses the two names.
            let _ = fs::remove_file(&self.socket);
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Returns whether the other end of the connection is a process of this user.
pub fn is_own_peer(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> InstanceInfo {
        InstanceInfo { pid: 7, version: "1.2.3".into(), protocol: 1, started_ms: 9, faces: vec![], read_only: false }
    }

    fn instances() -> (tempfile::TempDir, Instances) {
        let dir = tempfile::tempdir().unwrap();
        let instances = Instances::new(dir.path().join("runtime/switchboard"), vec![dir.path().join("state/run")]);
        (dir, instances)
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_belongs_to_one_process_until_it_ends() {
        let (_dir, instances) = instances();
        assert_eq!(instances.list().unwrap(), []);
        let held = instances.register("work", &info()).await.unwrap();
        let taken = instances.register("work", &info()).await.err().unwrap();
        assert_eq!(taken.to_string(), "an engine named work is running (pid 7)");
        let running = instances.find(None).unwrap();
        assert_eq!((running.name.as_str(), running.info), ("work", Some(info())));
        let other = instances.register("other", &info()).await.unwrap();
        assert_eq!(instances.find(None).unwrap_err().to_string(), "several instances are running; running: other, work");
        assert_eq!(instances.find(Some("x")).unwrap_err().to_string(), "no engine named x is running; running: other, work");
        // One that was started with another environment is found as well.
        let elsewhere = Instances::new(instances.others[0].clone(), vec![]);
        let third = elsewhere.register("third", &info()).await.unwrap();
        assert_eq!(instances.list().unwrap().len(), 3);
        assert_eq!(instances.find(Some("third")).unwrap().name, "third");
        drop((held, other, third));
        assert_eq!(instances.find(None).unwrap_err().to_string(), "no instance is running");
        assert_eq!(fs::read_dir(&instances.folder).unwrap().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn files_of_a_killed_process_are_no_obstacle() {
        let (_dir, instances) = instances();
        drop(instances.register("work", &info()).await.unwrap());
        // All subsets of what a process can leave: a lock file with anything in it, a socket that nobody listens on.
        for (lock, socket) in [(true, false), (false, true), (true, true)] {
            if lock {
                fs::write(lock_path(&instances.folder, "work"), r#"{"pid":1"#).unwrap();
            }
            if socket {
                drop(std::os::unix::net::UnixListener::bind(socket_path(&instances.folder, "work")).unwrap());
            }
            assert_eq!(instances.list().unwrap(), []);
            let held = instances.register("work", &info()).await.unwrap();
            let listener = held.listen().unwrap();
            let stream = UnixStream::connect(socket_path(&instances.folder, "work")).await.unwrap();
            assert!(is_own_peer(&stream) && listener.accept().await.is_ok());
            assert_eq!(instances.find(Some("work")).unwrap().info, Some(info()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_that_others_can_reach_is_refused() {
        let (dir, instances) = instances();
        drop(instances.register("work", &info()).await.unwrap());
        let mode = |mode| fs::set_permissions(&instances.folder, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o755);
        let refused = instances.register("work", &info()).await.err().unwrap().to_string();
        assert!(refused.contains("can be opened by others (mode 755); run: chmod 700 "), "{refused}");
        assert!(instances.list().is_err());
        mode(0o700);
        assert!(instances.register("work", &info()).await.is_ok());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&instances.folder, &link).unwrap();
        let linked = Instances::new(link, vec![]);
        assert!(linked.register("work", &info()).await.err().unwrap().to_string().ends_with("is not a folder, or is a symbolic link"));
        assert!(linked.list().is_err());
        for name in ["", "a/b", "..", "a b", "\u{1b}[1m", &"x".repeat(65)] {
            assert!(matches!(instances.register(name, &info()).await, Err(InstanceError::Name { .. })), "{name:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_notices_that_its_files_were_removed_and_leaves_those_of_the_next_one() {
        let (_dir, instances) = instances();
        let first = instances.register("work", &info()).await.unwrap();
        assert!(first.can_be_found());
        fs::remove_dir_all(&instances.folder).unwrap();
        assert!(!first.can_be_found());
        let second = instances.register("work", &info()).await.unwrap();
        let _listener = second.listen().unwrap();
        drop(first);
        assert!(second.can_be_found() && socket_path(&instances.folder, "work").exists());
    }

    #[test]
    fn a_long_path_gets_a_short_socket_name() {
        let folder = PathBuf::from("/").join("d".repeat(80));
        let path = socket_path(&folder, &"n".repeat(64));
        assert!(path.as_os_str().len() <= SOCKET_PATH, "{}", path.display());
        assert_ne!(path, socket_path(&folder, &"m".repeat(64)));
    }
}
