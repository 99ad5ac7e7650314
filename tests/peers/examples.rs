//! The workflows of `examples/`, headless on the real servers.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::{packages, support::PATIENCE};

/// A configuration of the servers that the examples name, with a repository and a folder to work on.
struct Desk {
    folder: tempfile::TempDir,
    repository: tempfile::TempDir,
}

/// What a command printed and how it ended.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn ends(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    fn says(self, text: &str) -> Ran {
        assert!(self.err.contains(text), "{text} is missing:\n{}", self.err);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }

    fn run(&self) -> &str {
        self.err.strip_prefix("run ").and_then(|rest| rest.split(' ').next()).unwrap()
    }
}

impl Desk {
    fn new() -> Desk {
        let (folder, repository) = (tempfile::tempdir().unwrap(), packages::repository());
        for n in 1..8 {
            let date = format!("2099-01-{:02}T12:00:00Z", n + 1);
            let done = Command::new("git")
                .current_dir(repository.path())
                .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"])
                .args(["commit", "--quiet", "--allow-empty", "--message", &format!("Change {n}")])
                .env("GIT_AUTHOR_DATE", &date)
                .env("GIT_COMMITTER_DATE", &date)
                .output()
                .unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        let desk = Desk { folder, repository };
        let limits =
            format!("timeouts = {{ connect = \"{0}s\", probe = \"{0}s\", list = \"{0}s\" }}\ntrusted = true\n", PATIENCE.as_secs());
        let server =
            |name: &str, command: &str, args: &[&str]| format!("[servers.{name}]\ncommand = {command:?}\nargs = {args:?}\n{limits}\n");
        let memory = format!("env = {{ MEMORY_FILE_PATH = {:?} }}\n", desk.at("memory.jsonl"));
        let servers = [
            format!("workflows = [{:?}]\n\n", Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/workflows")),
            server("filesystem", "node", &[&packages::script("server-filesystem"), &desk.root()]),
            server("everything", "node", &[&packages::script("server-everything")]),
            server("time", &packages::installed("py/bin/mcp-server-time"), &[]),
            server("git", &packages::installed("py/bin/mcp-server-git"), &["--repository", &desk.repo()]),
            server("memory", "node", &[&packages::script("server-memory")]) + &memory,
        ];
        std::fs::write(desk.folder.path().join("config.toml"), servers.concat()).unwrap();
        desk
    }

    fn root(&self) -> String {
        self.folder.path().canonicalize().unwrap().display().to_string()
    }

    fn repo(&self) -> String {
        self.repository.path().canonicalize().unwrap().display().to_string()
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.root())
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap_or_default()
    }

    fn ran(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchboard"));
        command.args(["--config", &self.at("config.toml")]).args(args).current_dir(self.folder.path());
        command.env("SWITCHBOARD_CONFIG_DIR", self.at("own")).env("SWITCHBOARD_STATE_DIR", self.at("state"));
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Runs a workflow with the folder and the repository as its input, where it has these.
    fn runs(&self, workflow: &str, input: &[&str]) -> Ran {
        self.ran(&[&["run", workflow, "--yes"], input].concat())
    }
}

#[test]
fn the_examples_fit_the_tools_of_the_servers() {
    let desk = Desk::new();
    let checked = desk.ran(&["workflow", "check", "--live", "--json"]).ends(0).json();
    assert_eq!(checked["workflows"].as_array().map(Vec::len), Some(8), "{checked}");
}

#[test]
fn the_pages_of_a_history_are_read_by_cursor() {
    let desk = Desk::new();
    let output = desk.runs("all_commits", &[&format!("repo={}", desk.repo()), "page:=3"]).ends(0).json();
    assert_eq!((&output["pages"], &output["commits"]), (&json!(4), &json!(8)), "{output}");
}

#[test]
fn a_release_waits_for_its_approval() {
    let desk = Desk::new();
    let (repo, folder) = (format!("repo={}", desk.repo()), format!("folder={}", desk.root()));
    let waiting = desk.runs("release", &[&repo, &folder, "version=1.2.0", "commits:=3"]).ends(11).says("Release 1.2.0");
    let heads = || std::fs::read_dir(desk.repository.path().join(".git/refs/heads")).unwrap().count();
    assert_eq!((heads(), desk.read("notes-1.2.0.md")), (1, String::new()), "nothing was changed yet");
    let output = desk.ran(&["runs", "resume", waiting.run(), "--approve", "sure"]).ends(0).json();
    assert_eq!((heads(), &output["branch"]), (2, &json!("release-1.2.0")));
    assert_eq!(desk.read("notes-1.2.0.md"), "# 1.2.0\n\n- Change 7\n- Change 6\n- Change 5\n");
    // A changed file stops it before anybody is asked.
    std::fs::write(desk.repository.path().join("a.txt"), "two\n").unwrap();
    desk.runs("release", &[&repo, &folder, "version=1.3.0"]).says("commit or stash your changes first");
    assert_eq!(desk.runs("release", &[&repo, &folder, "version=1"]).code, Some(2), "not a version");
}

#[test]
fn the_last_steps_of_a_nightly_copy_run_after_success_and_failure() {
    let desk = Desk::new();
    std::fs::write(desk.at("data.txt"), "one\ntwo\n").unwrap();
    let folder = format!("folder={}", desk.root());
    let output = desk.runs("nightly", &[&folder, "file=data.txt"]).ends(0).json();
    assert_eq!((&output["copied"], desk.read("data.txt.copy")), (&json!(8), "one\ntwo\n".to_owned()), "{output}");
    assert!(desk.read("last-run.txt").contains(" ok, began ") && desk.read("ALARM").is_empty(), "{}", desk.read("last-run.txt"));
    desk.runs("nightly", &[&folder, "file=missing.txt"]).ends(1);
    assert!(desk.read("last-run.txt").contains(" failed, began ") && desk.read("ALARM").starts_with("read: "), "{}", desk.read("ALARM"));
}

#[test]
fn stored_commits_are_deleted_if_the_run_fails() {
    let desk = Desk::new();
    let repo = format!("repo={}", desk.repo());
    desk.runs("remember_commits", &[&repo, "least:=1000"]).ends(8).says("fewer than 1000 commits");
    assert!(!desk.read("memory.jsonl").contains("commit"), "{}", desk.read("memory.jsonl"));
    let output = desk.runs("remember_commits", &[&repo, "commits:=4", "least:=4"]).ends(0).json();
    assert_eq!((&output["stored"], desk.read("memory.jsonl").matches("\"commit\"").count()), (&json!(4), 4), "{output}");
}

#[test]
fn a_time_is_converted_to_all_known_zones() {
    let desk = Desk::new();
    let output = desk.runs("meeting", &["time=12:00", "from=Etc/UTC"]).ends(0).json();
    assert!(output["times"][0].as_str().is_some_and(|time| time.contains("T21:00:00+09:00")), "{output}");
    let output = desk.runs("meeting", &["time=12:00", "from=Etc/UTC", "zones:=[\"Asia/Tokyo\",\"Nowhere/City\"]"]).ends(7).json();
    assert_eq!((&output["unknown"], output["times"].as_array().map(Vec::len)), (&json!(1), Some(1)), "{output}");
    assert_eq!(desk.runs("meeting", &["time=12:00", "zones:=[\"Nowhere/City\"]"]).code, Some(1));
}

#[test]
fn matching_files_are_put_into_one() {
    let desk = Desk::new();
    std::fs::write(desk.at("a.txt"), "A").unwrap();
    std::fs::write(desk.at("b.txt"), "B").unwrap();
    let folder = format!("folder={}", desk.root());
    let output = desk.runs("bundle", &[&folder]).ends(0).json();
    assert_eq!((&output["files"], desk.read("bundle.md")), (&json!(2), "A\nB".to_owned()), "{output}");
    let output = desk.runs("bundle", &[&folder, "pattern=*.none"]).ends(0).json();
    assert_eq!((&output["files"], desk.read("bundle.md")), (&json!(0), "No file matches *.none.\n".to_owned()), "{output}");
}

#[test]
fn a_report_of_three_cities_is_stored() {
    let desk = Desk::new();
    let output = desk.runs("weather", &[]).ends(0).json();
    assert!(output["warmest"].is_number() && output["conditions"].as_array().is_some_and(|all| all.len() == 3), "{output}");
    assert!(desk.read("memory.jsonl").contains("\"weather\""));
}

#[test]
fn a_loop_uses_the_result_of_the_round_before() {
    let desk = Desk::new();
    let output = desk.runs("countdown", &[]).ends(0).json();
    assert_eq!((&output["rounds"], &output["last"]), (&json!(3), &json!("The sum of 8 and 4 is 12.")), "{output}");
}
