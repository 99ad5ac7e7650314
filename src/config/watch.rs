//! Live reload: watches the files of the configuration, reloads all of them after a change and sends the result.
//!
//! Folders are watched instead of files, because editors replace files and deployments swap links. Events that change no
//! byte of any file are ignored.

use std::{
    collections::BTreeMap,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, timeout},
};

use super::{
    error::ConfigError,
    load::{LoadOptions, Loaded, load_seen},
};
use crate::files::{self, Allowed};

/// Quiet time before the files are read.
const QUIET: Duration = Duration::from_millis(200);
/// Longest delay of the reading by further events.
const LATEST: Duration = Duration::from_secs(2);
/// Polling interval where the system cannot report changes.
const POLL: Duration = Duration::from_secs(2);
/// Largest file that is hashed, in bytes; the limit of configuration files.
const LARGEST: u64 = 64 << 20;
/// Most names of a folder that are hashed.
const MOST_NAMES: usize = 20_000;
/// Capacity of the channel of reloads.
const WAITING: usize = 4;

/// Result of a reload.
#[derive(Clone, Debug, PartialEq)]
pub enum Reload {
    /// The new configuration.
    Loaded(Box<Loaded>),
    /// The configuration has errors; the receiver continues with its current one.
    Broken(Vec<ConfigError>),
}

/// Watches the files of a configuration and sends the result of each reload.
///
/// `current` is the caller's configuration; a reload that equals it is not sent. Must be called within a tokio runtime. Ends
/// when the receiver is dropped.
pub fn watch(options: LoadOptions, current: Option<Loaded>) -> mpsc::Receiver<Reload> {
    start(options, current, Detection::Events, POLL)
}

fn start(options: LoadOptions, current: Option<Loaded>, detection: Detection, poll: Duration) -> mpsc::Receiver<Reload> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut watching = Watching {
        options: Arc::new(options),
        last: current.map(|loaded| Reload::Loaded(Box::new(loaded))),
        folders: Folders::new(detection),
        prints: Prints::new(),
        poll,
    };
    tokio::spawn(async move {
        tokio::select! {
            () = sender.closed() => {}
            () = watching.run(&sender) => {}
        }
    });
    receiver
}

/// Watches folders, which need not exist yet, and sends a message when something in them may have changed.
///
/// Must be called within a tokio runtime. Ends when the receiver is dropped.
pub fn watch_folders(folders: Vec<PathBuf>) -> mpsc::Receiver<()> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let files: Vec<PathBuf> = folders.iter().map(|folder| folder.join("any")).collect();
        let mut watched = Folders::new(Detection::Events);
        let follow = async {
            loop {
                // Always, because a folder may have appeared.
                watched.cover(files.iter());
                changed(&watched, POLL).await;
                if sender.send(()).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = sender.closed() => {}
            () = follow => {}
        }
    });
    receiver
}

/// Digest of each file's content; `None` for an unreadable file.
type Prints = BTreeMap<PathBuf, Option<[u8; 32]>>;

struct Watching {
    options: Arc<LoadOptions>,
    last: Option<Reload>,
    folders: Folders,
    prints: Prints,
    poll: Duration,
}

impl Watching {
    async fn run(&mut self, sender: &mpsc::Sender<Reload>) {
        loop {
            // The first round sends what changed since the caller read the files.
            let Some(reload) = self.look().await else { return };
            if let Some(reload) = reload
                && sender.send(reload).await.is_err()
            {
                return;
            }
            self.change().await;
        }
    }

    /// Waits for a possible change, and then for the quiet time.
    async fn change(&self) {
        changed(&self.folders, self.poll).await;
    }

    /// Reloads the configuration if a file changed. The inner `None` means no change; the outer, that the runtime is
    /// shutting down.
    async fn look(&mut self) -> Option<Option<Reload>> {
        let options = self.options.clone();
        let before = std::mem::take(&mut self.prints);
        let (prints, result) = tokio::task::spawn_blocking(move || look(&options, before)).await.ok()?;
        self.prints = prints;
        // Always, because a folder may have appeared without any of its files.
        self.folders.cover(self.prints.keys());
        let reload = match result {
            None => return Some(None),
            Some(Ok(loaded)) => Reload::Loaded(Box::new(loaded)),
            Some(Err(errors)) => Reload::Broken(errors),
        };
        if self.last.as_ref() == Some(&reload) {
            return Some(None);
        }
        self.last = Some(reload.clone());
        Some(Some(reload))
    }
}

/// Waits for a possible change in the folders, and then for the quiet time.
async fn changed(folders: &Folders, poll: Duration) {
    if !folders.complete {
        // A folder cannot be watched: poll the files.
        let _ = timeout(poll, folders.changed.notified()).await;
        return;
    }
    folders.changed.notified().await;
    let latest = Instant::now() + LATEST;
    while Instant::now() < latest {
        tokio::select! {
            () = folders.changed.notified() => {}
            () = sleep(QUIET) => return,
        }
    }
}

/// Reads the configuration if a file differs from `before`.
fn look(options: &LoadOptions, before: Prints) -> (Prints, Option<Result<Loaded, Vec<ConfigError>>>) {
    let mut now = prints(before.keys());
    if !before.is_empty() && now == before {
        return (now, None);
    }
    let mut rounds = 0..8;
    loop {
        let (files, result) = load_seen(options);
        if rounds.next().is_none() || files.iter().all(|file| now.contains_key(file)) {
            now.retain(|path, _| files.contains(path));
            return (now, Some(result));
        }
        // The digests are taken before the files are read, so that a change in between is detected.
        now = prints(files.iter());
    }
}

fn prints<'p>(files: impl Iterator<Item = &'p PathBuf>) -> Prints {
    files.map(|path| (path.clone(), print(path))).collect()
}

/// Returns the digest of a file's content or of the names in a folder: a configuration can depend on both.
fn print(path: &Path) -> Option<[u8; 32]> {
    if path.is_dir() {
        let names = std::fs::read_dir(path).ok()?.take(MOST_NAMES).flatten().map(|entry| entry.file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        let mut hash = Sha256::new();
        for name in names {
            hash.update(name.as_encoded_bytes());
            hash.update([0]);
        }
        return Some(hash.finalize().into());
    }
    // Larger files are not read as configuration either. Neither are pipes: reading one would block.
    let bytes = files::read(path, Allowed { bytes: LARGEST, within: None }).ok()?;
    Some(Sha256::digest(&bytes).into())
}

/// How changes are detected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detection {
    /// By events of the file system, and by polling where there are none.
    Events,
    /// By polling only, for tests.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests poll everywhere"))]
    Polling,
}

/// The watched folders.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    /// With device and inode: a folder can be replaced by another of the same name.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    /// Notified of every event; events without a waiter are merged into one.
    changed: Arc<Notify>,
    /// Whether every relevant folder is watched.
    complete: bool,
}

impl Folders {
    fn new(detection: Detection) -> Folders {
        let changed = Arc::new(Notify::new());
        let notifier = changed.clone();
        let watcher = (detection == Detection::Events).then(|| {
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                if event.map_or(true, |event| !event.kind.is_access()) {
                    notifier.notify_one();
                }
            })
        });
        Folders { watcher: watcher.and_then(Result::ok), watched: BTreeMap::new(), changed, complete: false }
    }

    /// Watches the folders around `files`, and no others.
    fn cover<'p>(&mut self, files: impl Iterator<Item = &'p PathBuf>) {
        let wanted: BTreeMap<PathBuf, (u64, u64)> = files
            .flat_map(|file| folders_of(file))
            .filter_map(|folder| {
                let meta = std::fs::metadata(&folder).ok()?;
                Some((folder, (meta.dev(), meta.ino())))
            })
            .collect();
        let Some(watcher) = &mut self.watcher else { return };
        for (gone, _) in self.watched.iter().filter(|(path, id)| wanted.get(*path) != Some(id)) {
            // It may have been removed, which ended the watch.
            let _ = watcher.unwatch(gone);
        }
        let mut watched = BTreeMap::new();
        let mut new = false;
        self.complete = true;
        for (folder, id) in wanted {
            if self.watched.get(&folder) != Some(&id) {
                if watcher.watch(&folder, RecursiveMode::NonRecursive).is_err() {
                    self.complete = false;
                    continue;
                }
                new = true;
            }
            watched.insert(folder, id);
        }
        self.watched = watched;
        if new {
            // Changes before the watch began were not reported: check again.
            self.changed.notify_one();
        }
    }
}

/// Returns the folders in which a change can affect the file: its own, those of every link in its path, or the nearest
/// existing one above; and the file itself if it is a folder.
fn folders_of(file: &Path) -> Vec<PathBuf> {
    let mut folders = vec![];
    let mut path = file.to_owned();
    if file.is_dir() {
        folders.push(file.to_owned());
    }
    for _ in 0..40 {
        let Some(parent) = path.parent() else { break };
        let Some(folder) = parent.ancestors().find(|folder| folder.is_dir()) else { break };
        folders.push(folder.to_owned());
        // A link anywhere in the path of the folder can be swapped too.
        for part in folder.ancestors().filter(|part| part.is_symlink()) {
            folders.extend(part.parent().map(Path::to_owned));
        }
        match std::fs::read_link(&path) {
            Ok(target) => path = folder.join(target),
            Err(_) => break,
        }
    }
    folders.extend(file.canonicalize().ok().and_then(|real| real.parent().map(Path::to_owned)));
    folders.retain(|folder| !folder.as_os_str().is_empty());
    folders
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::load_tests::Place, *};

    async fn next(receiver: &mut mpsc::Receiver<Reload>) -> Reload {
        // Only so that a failure ends.
        timeout(Duration::from_secs(30), receiver.recv()).await.expect("a reload in time").expect("the watcher lives")
    }

    async fn names(receiver: &mut mpsc::Receiver<Reload>) -> Vec<String> {
        match next(receiver).await {
            Reload::Loaded(loaded) => loaded.servers.iter().map(|s| s.id.to_string()).collect(),
            Reload::Broken(errors) => panic!("{errors:?}"),
        }
    }

    fn server(name: &str) -> String {
        format!("[servers.{name}]\ncommand = \"x\"\n")
    }

    /// The whole story, by events or by looking again and again.
    async fn reloads_after_each_change(detection: Detection) {
        let place = Place::new();
        let options = place.options();
        let current = super::super::load(&options).unwrap();
        let mut reloads = start(options, Some(current), detection, Duration::from_millis(20));

        // The folder of the user's file did not exist yet.
        place.write("conf/config.toml", &server("a"));
        assert_eq!(names(&mut reloads).await, ["a"]);

        // Half-written: the error with its line.
        place.write("conf/config.toml", &format!("{}[servers.b\n", server("a")));
        let Reload::Broken(errors) = next(&mut reloads).await else { panic!("broken") };
        assert_eq!(errors[0].line, Some(3));

        // Fixed to the previous content: sent, because the receiver holds an error now.
        place.write("conf/config.toml", &server("a"));
        assert_eq!(names(&mut reloads).await, ["a"]);

        // Replaced by a rename.
        place.write("conf/new", &format!("include = [\"more.json\"]\n{}", server("b")));
        fs::rename(place.path("conf/new"), place.path("conf/config.toml")).unwrap();
        assert_eq!(names(&mut reloads).await, ["b"]);

        // An included file that appears.
        place.write("conf/more.json", r#"{"mcpServers": {"c": {"command": "c"}}}"#);
        assert_eq!(names(&mut reloads).await, ["b", "c"]);

        // Links that are swapped, far from the file's own folder.
        place.write("one/config.toml", &server("one"));
        place.write("two/config.toml", &server("two"));
        std::os::unix::fs::symlink(place.path("one"), place.path("now")).unwrap();
        fs::remove_file(place.path("conf/config.toml")).unwrap();
        std::os::unix::fs::symlink(place.path("now/config.toml"), place.path("conf/config.toml")).unwrap();
        while names(&mut reloads).await != ["one"] {}
        std::os::unix::fs::symlink(place.path("two"), place.path("then")).unwrap();
        fs::rename(place.path("then"), place.path("now")).unwrap();
        assert_eq!(names(&mut reloads).await, ["two"]);

        // The user's theme file, which is not a configuration file.
        place.write("two/config.toml", &format!("[console]\ntheme = \"own.toml\"\n{}", server("two")));
        while names(&mut reloads).await != ["two"] {}
        for text in ["ok = \"green\"", "ok = \"blue\""] {
            place.write("conf/own.toml", text);
            let Reload::Loaded(loaded) = next(&mut reloads).await else { panic!("loaded") };
            assert_eq!(loaded.theme.as_deref(), Some(text));
        }

        // An approval given elsewhere lets the project's servers in.
        place.write("project/switchboard.toml", &server("p"));
        let Reload::Loaded(loaded) = next(&mut reloads).await else { panic!("loaded") };
        super::super::approve(&loaded.pending.unwrap(), &place.path("state")).unwrap();
        assert_eq!(names(&mut reloads).await, ["two", "p"]);
    }

    #[tokio::test]
    async fn changes_are_seen_by_events() {
        reloads_after_each_change(Detection::Events).await;
    }

    #[tokio::test]
    async fn changes_are_seen_by_looking() {
        reloads_after_each_change(Detection::Polling).await;
    }
}
