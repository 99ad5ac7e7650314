//! Workflows from the command line: the real program, the demo's servers, its journal.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use switchboard::{
    demo,
    domain::journal::RunRecord,
    store::{Store, StoreOptions},
};

use super::*;

#[path = "workflows/cases.rs"]
mod cases;
#[path = "workflows/dry_run.rs"]
mod dry_run;
#[path = "workflows/killed.rs"]
mod killed;
#[path = "workflows/states.rs"]
mod states;

/// Longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(60);

impl Home {
    /// A configuration with two of the demo's servers, whose state outlives the program.
    pub(super) fn configured(&self) {
        let state = self.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let program = assert_cmd::cargo::cargo_bin!("switchboard");
        let server =
            |name: &str| format!("[servers.{name}]\ncommand = {program:?}\nargs = [\"demo-server\", \"{name}\", \"--dir\", {state:?}]\n\n");
        let config = self.path().join(".config/switchboard");
        std::fs::create_dir_all(config.join("workflows")).unwrap();
        std::fs::write(config.join("config.toml"), server("database") + &server("flaky")).unwrap();
    }

    pub(super) fn workflow(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(".config/switchboard/workflows").join(name), text).unwrap();
    }

    /// Returns a command that uses the platform's folders within this home.
    pub(super) fn at_home(&self, line: &[&str]) -> Command {
        let mut command = self.command(line);
        command.env("SWITCHBOARD_CONFIG_DIR", self.path().join(".config/switchboard"));
        command.env("SWITCHBOARD_STATE_DIR", self.path().join(".state"));
        command
    }

    pub(super) fn own(&self, line: &[&str]) -> Ran {
        Ran::of(line, self.at_home(line).output().unwrap())
    }

    /// Reads the journal of a run until `read` returns something.
    fn in_journal<T>(&self, run: &str, read: impl Fn(Option<RunRecord>) -> Option<T>) -> T {
        // Without a history: the records of calls are not touched.
        let options = StoreOptions { history: None, flush: false };
        let store = Store::open_with(&self.path().join(".state/switchboard.db"), options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let end = Instant::now() + PATIENCE;
        runtime.block_on(async {
            loop {
                if let Some(found) = read(store.run(run.parse().unwrap()).await.unwrap()) {
                    return found;
                }
                assert!(Instant::now() < end, "the journal of {run} never had it");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    }

    /// Waits until the journal has a request of a step. A step is reported as running before its request is written.
    fn wait_for_sending(&self, run: &str, step: &str) {
        self.in_journal(run, |record| record?.in_doubt().iter().any(|(place, ..)| &*place.step == step).then_some(()));
    }
}

/// A running workflow.
struct Started {
    child: Doomed,
    /// The standard error, which stays open, so that the program can write to it.
    lines: Box<dyn Iterator<Item = String>>,
    run: String,
}

impl Started {
    fn by(command: &mut Command) -> Started {
        let mut child = Doomed(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map(Result::unwrap);
        let first = lines.next().unwrap();
        let run = first.strip_prefix("run ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
        Started { child, lines: Box::new(lines), run }
    }
}

/// A program that is killed at the end of the test.
struct Doomed(std::process::Child);

impl Drop for Doomed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_workflows_of_the_demo_run() {
    let home = Home::new();
    let onboarded =
        home.run(&["--demo", "--yes", "run", "onboard_new_user", "--input", "email=ann@example.com", "name=Ann", "--json"]).ends(0).json();
    assert_eq!((&onboarded["outcome"], &onboarded["output"]["tracked"]), (&json!("ok"), &json!(true)), "{onboarded}");
    let enriched = home.run(&["--demo", "run", "enrich_user_data", "userId=u_1002"]).ends(0).says("ok in").json();
    assert!(enriched["summary"].as_str().unwrap().contains("did"), "{enriched}");
    let notified = home.run(&["--demo", "--yes", "run", "notify_all", "limit:=2"]).ends(0).json();
    assert_eq!((&notified["failed"], notified["sent"].as_array().unwrap().len()), (&json!(0), 2), "{notified}");
    let junit = home.path().join("report.xml");
    let charged = home.run(&["--demo", "--yes", "run", "resilient_charge", "--junit", junit.to_str().unwrap(), "--jsonl"]).ends(0);
    let last: Value = serde_json::from_str(charged.out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["type"], &last["outcome"]), (&json!("run"), &json!("ok")));
    assert!(charged.out.lines().any(|line| line.contains("\"type\":\"step\"")), "{}", charged.out);
    let report = std::fs::read_to_string(junit).unwrap();
    assert!(report.contains("<testsuite name=\"resilient_charge\" tests=\"3\" failures=\"0\""), "{report}");
}

#[test]
fn the_demo_compensates_when_its_email_fails() {
    let home = Home::new();
    let line = ["--demo", "--yes", "run", "onboard_new_user", "email=ann@example.com", "name=Ann", "--inject", "email=fail=1", "--json"];
    let ran = home.run(&line).ends(8).json();
    assert_eq!((&ran["outcome"], &ran["compensated"]), (&json!("compensated"), &json!(["create_user"])), "{ran}");
    assert_eq!(ran["not_compensated"], json!([]), "{ran}");
    assert_eq!(ran["steps"][2]["state"], "skipped", "{ran}");
}

#[test]
fn a_failed_email_compensates_the_steps_before() {
    let home = Home::new();
    let text = r#"
        name = "onboard"
        on_error = "compensate"
        [input]
        to = { type = "string", default = "unknown" }
        [[step]]
        id = "create"
        tool = "database_create_user"
        arguments = { email = "ann@example.com", name = "Ann" }
        compensate = { tool = "database_delete_user", arguments = { userId = "{{ result.userId }}" } }
        [[step]]
        id = "welcome"
        tool = "email_send_email"
        arguments = { to = "{{ input.to }}", subject = "Welcome {{ steps.create.result.userId }}", body = "x" }
    "#;
    std::fs::write(home.path().join("onboard.toml"), text).unwrap();
    let ran = home.run(&["--demo", "--yes", "run", "./onboard.toml", "--json"]).ends(8).json();
    assert_eq!((&ran["outcome"], &ran["compensated"]), (&json!("compensated"), &json!(["create"])));
    assert_eq!(ran["steps"][0]["state"], "compensated");
    let ran = home.run(&["--demo", "--yes", "run", "./onboard.toml"]).ends(8);
    assert!(ran.out.is_empty(), "{}", ran.out);
    ran.says("compensated").says("step `welcome`");
}

#[test]
fn errors_of_a_workflow_or_its_input_are_reported_before_the_run() {
    let home = Home::new();
    std::fs::write(home.path().join("bad.toml"), "name = \"bad\"\n[[step]]\nid = \"a\"\ntool = \"t\"\nneeds = [\"b\"]\n").unwrap();
    home.run(&["run", "./bad.toml"]).ends(2).says("bad.toml:5").says("`b`");
    home.run(&["workflow", "check", "./bad.toml"]).ends(2).says("bad.toml:5");
    home.run(&["--demo", "run", "onboard_new_user", "name=Ann"]).ends(2).says("email");
    home.run(&["--demo", "run", "enrich_user_dat"]).ends(2).says("did you mean enrich_user_data?");
    home.run(&["--demo", "run", "notify_all", "--set", "nothing.timeout=5s"])
        .ends(2)
        .says("`notify_all` has no step `nothing`")
        .says("available: users, send, note");
    home.run(&["--demo", "run", "notify_all", "--set", "users.timeout"]).ends(2).says("STEP.timeout=20s");
    home.run(&["run", "--resume", "0190"]).ends(2).says("no run");
    std::fs::write(home.path().join("live.toml"), "name = \"live\"\n[[step]]\nid = \"a\"\ntool = \"database_create_uzer\"\n").unwrap();
    home.run(&["workflow", "check", "./live.toml"]).ends(0);
    home.run(&["--demo", "workflow", "check", "--live", "./live.toml"]).ends(2).says("database_create_user");
}

#[test]
fn workflows_are_listed_drawn_created_and_tested() {
    let home = Home::new();
    home.configured();
    assert!(home.run(&["--demo", "workflow", "list"]).ends(0).out.contains("enrich_user_data"));
    assert!(home.run(&["--demo", "workflow", "graph", "onboard_new_user"]).ends(0).out.contains("create_user"));
    assert!(home.run(&["--demo", "workflow", "graph", "onboard_new_user", "--format", "dot"]).ends(0).out.starts_with("digraph"));
    assert_eq!(home.run(&["workflow", "schema"]).ends(0).json()["type"], "object");
    home.own(&["workflow", "new", "mine"]).ends(0).says("mine.toml");
    home.own(&["workflow", "new", "mine"]).ends(2).says("exists already");
    assert!(home.own(&["workflow", "list"]).ends(0).out.contains("mine"));
    home.workflow(
        "hello.toml",
        "name = \"hello\"\n[[step]]\nid = \"find\"\ntool = \"database_query_users\"\n[[step]]\nid = \"sure\"\napprove = \"Continue?\"\nneeds = [\"find\"]\n[output]\ntotal = \"{{ steps.find.result.total }}\"\n",
    );
    home.workflow(
        "hello.test.toml",
        "workflow = \"hello\"\n[[case]]\nname = \"two\"\nanswers.find = { result = { total = 2 } }\nanswers.sure = { result = true }\nexpect = { output = { total = 2 }, calls = { find = 1 } }\n\
         [[case]]\nname = \"no\"\nanswers.find = { error = \"gone\" }\nexpect = { outcome = \"failed\", error = \"gone\", steps = { sure = \"skipped\" } }\n",
    );
    assert!(home.own(&["workflow", "test"]).ends(0).out.contains("2 cases, 0 failed"));
    home.workflow(
        "bad.test.toml",
        "workflow = \"hello\"\n[[case]]\nname = \"three\"\nanswers.find = { result = { total = 2 } }\nanswers.sure = { result = true }\nexpect = { output = { total = 3 } }\n",
    );
    let ran = home.own(&["workflow", "test"]).ends(1);
    assert!(ran.out.contains("output.total: expected 3, got 2"), "{}", ran.out);
}

#[test]
fn a_workflow_is_made_of_past_calls_and_runs() {
    let home = Home::new();
    home.configured();
    let made = home.own(&["call", "database_create_user", "email=eve@example.com", "name=Eve", "--yes", "--json"]).ends(0).json();
    let user = made["result"]["structuredContent"]["userId"].as_str().unwrap().to_owned();
    home.own(&["call", "database_get_user_profile", &format!("userId={user}")]).ends(0);
    let text = home.own(&["workflow", "from-history", "--last", "2", "--name", "both"]).ends(0).out;
    assert!(text.contains("{{ steps.database_create_user.result.userId }}"), "{text}");
    home.own(&["workflow", "new", "again", "--from-call", made["call"].as_str().unwrap()]).ends(0);
    // The user is there already, which the tool says.
    home.own(&["run", "again"]).ends(1).says("database_create_user");
    home.own(&["workflow", "new", "other", "--from-call", "1"]).ends(2).says("no such tool calls");
    // A run of the demo is stored in the journal and does not change the history.
    home.own(&["--demo", "--yes", "run", "onboard_new_user", "email=zoe@example.com", "name=Zoe"]).ends(0);
    home.own(&["workflow", "from-history", "--ids", made["call"].as_str().unwrap()]).ends(0);
}

#[test]
fn the_examples_have_no_errors() {
    let home = Home::new();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config.toml");
    let checked = home.own(&["--config", config.to_str().unwrap(), "workflow", "check", "--json"]).ends(0).json();
    let workflows = checked["workflows"].as_array().unwrap();
    assert!(workflows.len() == 8 && workflows.iter().all(|one| one["problems"] == json!([])), "{checked}");
    // The page lists each of them.
    let page = std::fs::read_to_string(config.with_file_name("README.md")).unwrap();
    let missing = workflows.iter().filter(|one| !page.contains(&format!("(workflows/{}.toml)", one["workflow"].as_str().unwrap())));
    assert_eq!(missing.count(), 0);
}
