//! Headless commands over several processes: which servers they start, and runs that wait, are listed, resumed and undone.

use super::*;

impl Home {
    /// Configures servers that note their start in the file `started`.
    fn noting(&self, names: &[&str]) {
        let state = self.path().join("state");
        std::fs::create_dir_all(&state).unwrap();
        let program = assert_cmd::cargo::cargo_bin!("switchboard").display().to_string();
        let server = |name: &&str| {
            let script =
                format!("echo {name} >> '{}'; exec '{program}' demo-server database --dir '{}'", self.started().display(), state.display());
            format!("[servers.{name}]\ncommand = \"sh\"\nargs = [\"-c\", {script:?}]\nowner = \"team {name}\"\n\n")
        };
        let config = self.path().join(".config/switchboard");
        std::fs::create_dir_all(config.join("workflows")).unwrap();
        std::fs::write(config.join("config.toml"), names.iter().map(server).collect::<String>()).unwrap();
    }

    fn started(&self) -> std::path::PathBuf {
        self.path().join("started")
    }

    /// Returns the servers that were started since the last time, in order of their names.
    fn take_started(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.started()).unwrap_or_default();
        std::fs::write(self.started(), "").unwrap();
        let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
        names.sort();
        names
    }
}

#[test]
fn a_command_starts_only_the_servers_that_it_needs() {
    let home = Home::new();
    home.noting(&["a", "b", "c", "d", "e", "f", "g"]);
    home.own(&["call", "c_query_users"]).ends(0);
    assert_eq!(home.take_started(), ["c"]);
    home.workflow("one.toml", "name = \"one\"\n[[step]]\nid = \"find\"\ntool = \"e_query_users\"\n");
    home.own(&["run", "one"]).ends(0);
    assert_eq!(home.take_started(), ["e"]);
    home.own(&["workflow", "check", "--live", "one"]).ends(0);
    assert_eq!(home.take_started(), ["e"]);
    let servers = home.own(&["servers", "--json"]).ends(0).json();
    assert_eq!((home.take_started().len(), &servers["servers"][0]["owner"]), (7, &json!("team a")));
    // The lists of all are known now.
    home.own(&["call", "query_users"]).ends(2).says("several servers");
}

#[test]
fn a_run_waits_for_an_approval_over_processes() {
    let home = Home::new();
    home.configured();
    home.workflow(
        "sure.toml",
        "name = \"sure\"\n[[step]]\nid = \"find\"\ntool = \"database_query_users\"\n[[step]]\nid = \"ask\"\nneeds = [\"find\"]\n\
         approve = \"Go on?\"\n[[step]]\nid = \"again\"\nneeds = [\"ask\"]\ntool = \"database_query_users\"\n",
    );
    let waiting = home.own(&["run", "sure"]).ends(11).says("ask: Go on?").says("--approve ask");
    let run = waiting.err.strip_prefix("run ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    home.own(&["runs"]).ends(0);
    let listed = home.own(&["runs", "--json"]).ends(0).json();
    assert_eq!((&listed["runs"][0]["run"], &listed["runs"][0]["state"]), (&json!(run), &json!("waiting")), "{listed}");
    let shown = home.own(&["runs", "show", &run, "--json"]).ends(0).json();
    assert_eq!((&shown["questions"][0]["step"], &shown["questions"][0]["message"]), (&json!("ask"), &json!("Go on?")), "{shown}");
    let again = home.own(&["run", "--resume", &run, "--json"]).ends(11).json();
    assert_eq!((&again["outcome"], &again["steps"][2]["state"]), (&json!("waiting"), &json!("pending")), "{again}");
    let done = home.own(&["runs", "resume", &run, "--approve", "ask", "--json"]).ends(0).json();
    assert_eq!((&done["outcome"], &done["exit_code"]), (&json!("ok"), &json!(0)), "{done}");
    assert!(home.own(&["runs", "list", "sure"]).ends(0).out.contains("ok"));
    let calls = home.own(&["calls", "--json"]).ends(0).json();
    assert_eq!(calls["calls"].as_array().map(Vec::len), Some(2), "{calls}");
    let call = calls["calls"][0]["call"].as_str().unwrap();
    let shown = home.own(&["calls", "show", call, "--json"]).ends(0).json();
    assert_eq!((&shown["name"], &shown["step"]), (&json!("database_query_users"), &json!("again")), "{shown}");
    home.own(&["calls", "show", "nothing"]).ends(2).says("is not the id of a call");
    // The results before the step are reused.
    let from = home.own(&["runs", "from", &run, "again", "--json"]).ends(0).json();
    assert_eq!(from["outcome"], "ok", "{from}");
    assert_eq!(home.own(&["calls", "--json"]).ends(0).json()["calls"].as_array().map(Vec::len), Some(3));
    home.own(&["runs", "from", &run, "nothing"]).ends(2).says("no step `nothing`");
    home.own(&["runs", "undo", &run]).ends(0).says("nothing to undo");
    assert!(home.own(&["runs", "list", "sure"]).ends(0).out.lines().nth(2).is_some_and(|line| line.contains("ok")));
}

#[test]
fn failed_items_are_listed_everywhere() {
    let home = Home::new();
    home.configured();
    home.workflow(
        "each.toml",
        "name = \"each\"\n[[step]]\nid = \"get\"\ntool = \"database_get_user_profile\"\nfor_each = [\"u_1001\", \"nobody\"]\n\
         on_item_error = \"continue\"\narguments = { userId = \"{{ item }}\" }\n",
    );
    home.own(&["run", "each"]).ends(7).says("get[1]:");
    let junit = home.path().join("report.xml");
    let report = home.own(&["run", "each", "--json", "--junit", junit.to_str().unwrap()]).ends(7).json();
    let failed = &report["steps"][0]["failed_items"];
    assert_eq!((&failed[0]["item"], &failed[0]["kind"]), (&json!(1), &json!("invalid_arguments")), "{report}");
    assert!(std::fs::read_to_string(junit).unwrap().contains("[1] "));
}

#[test]
fn an_answer_has_the_defaults_of_its_form_and_is_checked_before_the_run() {
    let home = Home::new();
    home.configured();
    home.workflow(
        "form.toml",
        "name = \"form\"\n[[step]]\nid = \"form\"\nelicit = \"Who?\"\n\
         schema = { to = \"string\", copy = { type = \"boolean\", default = true } }\n[output]\ncopy = \"{{ steps.form.result.copy }}\"\n",
    );
    let output = home.own(&["run", "form", "--answer", "form={\"to\":\"Ann\"}"]).ends(0).json();
    assert_eq!(output["copy"], true, "{output}");
    home.own(&["run", "form", "--answer", "form={\"to\":1}"]).ends(2).says("the answer does not fit the form");
    assert_eq!(home.own(&["runs", "--json"]).ends(0).json()["runs"].as_array().map(Vec::len), Some(1), "nothing was started");
}

#[test]
fn the_outputs_of_a_run_are_not_lost_to_a_wrong_path() {
    let home = Home::new();
    home.configured();
    home.workflow("one.toml", "name = \"one\"\n[[step]]\nid = \"n\"\nlet = 1\n");
    let path = |name: &str| home.path().join(name).display().to_string();
    for wrong in [path(""), path("nowhere/out.json")] {
        home.own(&["run", "one", "--output", &wrong]).ends(2).says("cannot be written");
        home.own(&["run", "one", "--junit", &wrong]).ends(2).says("cannot be written");
    }
    assert_eq!(home.own(&["runs", "--json"]).ends(0).json()["runs"], json!([]), "nothing was started");
    // A full disk shows after the run, whose outputs are printed.
    let ran = home.own(&["run", "one", "--output", "/dev/full"]).ends(4).says("/dev/full cannot be written");
    assert_eq!(ran.out.trim(), "1");
}
