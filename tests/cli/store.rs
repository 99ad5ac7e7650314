//! Unusable databases, and the file modes of created files.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use super::*;

const WORKFLOW: &str = "name = \"w\"\n[[step]]\nid = \"a\"\ntool = \"database_query_users\"\n";

struct Place {
    home: Home,
    state: std::path::PathBuf,
}

impl Place {
    fn new() -> Place {
        let home = Home::new();
        home.configured_with(WORKFLOW);
        let state = home.path().join(".state");
        Place { home, state }
    }

    fn run(&self, line: &[&str]) -> Ran {
        let mut command = self.home.command(line);
        command.env("SWITCHBOARD_CONFIG_DIR", self.home.path().join(".config/switchboard"));
        command.env("SWITCHBOARD_STATE_DIR", &self.state);
        Ran::of(line, command.output().unwrap())
    }

    fn database(&self) -> std::path::PathBuf {
        self.state.join("switchboard.db")
    }

    /// Moves all content from the write-ahead log into the database, so that it cannot be recovered from the log.
    fn without_log(&self) {
        let connection = rusqlite::Connection::open(self.database()).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }

    fn moved(&self) -> usize {
        let names = fs::read_dir(&self.state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("switchboard.db.damaged-") && !name.ends_with("-wal") && !name.ends_with("-shm")).count()
    }
}

impl Home {
    /// A configuration with a demo server and one workflow.
    fn configured_with(&self, workflow: &str) {
        let data = self.path().join("data");
        fs::create_dir(&data).unwrap();
        let program = assert_cmd::cargo::cargo_bin!("switchboard");
        let config = self.path().join(".config/switchboard");
        fs::create_dir_all(config.join("workflows")).unwrap();
        let text = format!("[servers.database]\ncommand = {program:?}\nargs = [\"demo-server\", \"database\", \"--dir\", {data:?}]\n");
        fs::write(config.join("config.toml"), text).unwrap();
        fs::write(config.join("workflows/w.toml"), workflow).unwrap();
    }
}

#[test]
fn no_damaged_database_prevents_a_call_or_a_run() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("garbage", |path| fs::write(path, "no database ".repeat(1000)).unwrap()),
        ("cut short", |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(6_000).unwrap()),
        ("folder", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
        ("link", |path| {
            fs::rename(path, path.with_extension("other")).unwrap();
            std::os::unix::fs::symlink(path.with_extension("other"), path).unwrap();
        }),
        ("open to others", |path| fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap()),
        ("empty", |path| fs::write(path, "").unwrap()),
    ];
    let place = Place::new();
    for (what, damage) in damages {
        for command in ["run", "call", "resume"] {
            let id = place.run(&["run", "w", "--json"]).ends(0).json()["run"].as_str().unwrap().to_owned();
            let before = place.moved();
            place.without_log();
            damage(&place.database());
            let ran = match command {
                "run" => place.run(&["run", "w", "--json"]).ends(0),
                "call" => place.run(&["call", "database_query_users", "--json"]).ends(0),
                _ => place.run(&["run", "--resume", &id]),
            };
            let aside = usize::from(what != "empty");
            assert_eq!(place.moved(), before + aside, "{what}, {command}: {}", ran.err);
            assert_eq!(ran.err.matches("It was moved to").count(), aside, "{what}, {command}: {}", ran.err);
            if command == "resume" {
                assert!(ran.code != 0 && ran.err.contains("no run"), "{what}: {}", ran.err);
            }
            // The next run is recorded again, without a message.
            let next = place.run(&["run", "w", "--json"]).ends(0);
            assert!(!next.err.contains("warning"), "{what}, {command}: {}", next.err);
            let again = next.json()["run"].as_str().unwrap().to_owned();
            assert_eq!(place.run(&["run", "--resume", &again, "--json"]).ends(0).json()["outcome"], json!("ok"), "{what}, {command}");
        }
    }
}

#[test]
fn a_newer_database_is_left_alone_and_the_run_works_without_it() {
    let place = Place::new();
    place.run(&["run", "w"]).ends(0);
    rusqlite::Connection::open(place.database()).unwrap().pragma_update(None, "user_version", 99).unwrap();
    place.without_log();
    let bytes = fs::read(place.database()).unwrap();
    for line in [&["run", "w"][..], &["call", "database_query_users"]] {
        let ran = place.run(line).ends(0).says("newer version of Switchboard");
        assert_eq!(ran.err.matches("warning").count(), 1, "{}", ran.err);
    }
    assert_eq!((fs::read(place.database()).unwrap(), place.moved()), (bytes, 0));
}

#[test]
fn created_files_are_private_regardless_of_the_umask() {
    let place = Place::new();
    fs::set_permissions(place.home.path().join(".config/switchboard/workflows"), Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(place.home.path().join(".config/switchboard/workflows/w.toml")).unwrap();
    fs::remove_dir(place.home.path().join(".config/switchboard/workflows")).unwrap();
    let program = assert_cmd::cargo::cargo_bin!("switchboard");
    let run = |umask: &str, line: &str| {
        let script = format!("umask {umask} && exec {program:?} {line}");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", place.home.path()).env("TMPDIR", place.home.path().join("tmp")).current_dir(place.home.path());
        command.env("SWITCHBOARD_CONFIG_DIR", place.home.path().join(".config/switchboard")).env("SWITCHBOARD_STATE_DIR", &place.state);
        let output = command.stdin(Stdio::null()).output().unwrap();
        Ran::of(&[line], output).ends(0)
    };
    for umask in ["000", "022", "077"] {
        run(umask, "call database_query_users");
        run(umask, &format!("workflow new made_{umask}"));
        run(umask, &format!("workflow from-history --name past_{umask} --write"));
        let ran = run(umask, &format!("run past_{umask} --json"));
        run(umask, &format!("workflow test-from-run {} --write", ran.json()["run"].as_str().unwrap()));
        let folders = [place.state.clone(), place.home.path().join(".config/switchboard/workflows")];
        for folder in &folders {
            let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(folder), 0o700, "{}", folder.display());
            for path in secrets_files(folder) {
                assert_eq!(mode(&path), 0o600, "umask {umask}: {}", path.display());
            }
        }
        for folder in &folders {
            fs::remove_dir_all(folder).unwrap();
        }
    }
}

fn secrets_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).collect()
}
