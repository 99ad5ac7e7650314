//! Workflows from the command line: the real program, the demo's servers, its journal.

use std::{
    io::{BufRead, BufReader},
    time::{Duration, Instant},
};

use super::*;

impl Home {
    /// A configuration with two of the demo's servers, whose state outlives the program.
    fn configured(&self) {
        let state = self.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let program = assert_cmd::cargo::cargo_bin!("switchboard");
        let server =
            |name: &str| format!("[servers.{name}]\ncommand = {program:?}\nargs = [\"demo-server\", \"{name}\", \"--dir\", {state:?}]\n\n");
        let config = self.path().join(".config/switchboard");
        std::fs::create_dir_all(config.join("workflows")).unwrap();
        std::fs::write(config.join("config.toml"), server("database") + &server("flaky")).unwrap();
    }

    fn workflow(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(".config/switchboard/workflows").join(name), text).unwrap();
    }

    /// Returns a command that uses the platform's folders within this home.
    fn at_home(&self, line: &[&str]) -> Command {
        let mut command = self.command(line);
        command.env("SWITCHBOARD_CONFIG_DIR", self.path().join(".config/switchboard"));
        command.env("SWITCHBOARD_STATE_DIR", self.path().join(".state"));
        command
    }

    fn own(&self, line: &[&str]) -> Ran {
        Ran::of(line, self.at_home(line).output().unwrap())
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
fn a_dry_run_knows_the_servers_and_the_environment() {
    let home = Home::new();
    home.configured();
    home.workflow(
        "wrong.toml",
        "name = \"wrong\"\n[[step]]\nid = \"a\"\ntool = \"database_create_usr\"\narguments = { email = \"a@b.c\" }\n",
    );
    home.own(&["run", "--dry-run", "wrong"]).ends(2).says("database_create_usr");
    home.workflow(
        "right.toml",
        "name = \"right\"\nenv = [\"PATH\"]\n[[step]]\nid = \"a\"\ntool = \"database_create_user\"\narguments = { email = \"a@b.c\", name = \"{{ env.PATH }}\" }\n",
    );
    let ran = home.own(&["run", "--dry-run", "right", "--json"]).ends(0).json();
    assert_eq!(ran["steps"][0]["known"], true, "{ran}");
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
fn a_dry_run_shows_every_call_and_makes_none() {
    let home = Home::new();
    let ran = home.run(&["--demo", "run", "--dry-run", "onboard_new_user", "email=a@example.com", "name=Ann", "--json"]).ends(0).json();
    let first = &ran["steps"][0];
    assert_eq!((&first["step"], &first["server"], &first["known"]), (&json!("create_user"), &json!("database"), &json!(true)));
    assert_eq!(first["arguments"], json!({"email": "a@example.com", "name": "Ann", "role": "viewer"}));
    assert_eq!(ran["steps"][1]["known"], false);
    home.run(&["--demo", "run", "--dry-run", "onboard_new_user", "email=a@example.com", "name=Ann"])
        .ends(0)
        .says("dry run: no call was made");
}

#[test]
fn a_dry_run_follows_items_conditions_and_workflows_within() {
    let home = Home::new();
    home.configured();
    home.workflow(
        "inner.toml",
        r#"
        name = "inner"
        [input]
        email = "string"
        [[step]]
        id = "make"
        tool = "database_create_user"
        arguments = { email = "{{ input.email }}", name = "New" }
        compensate = { tool = "database_delete_user", arguments = { userId = "{{ result.userId }}" } }
        "#,
    );
    home.workflow(
        "outer.toml",
        r#"
        name = "outer"
        [input]
        to = "string[]"
        pay = { type = "boolean", default = false }
        [[step]]
        id = "sure"
        approve = "Make {{ input.to | length }} users?"
        [[step]]
        id = "users"
        needs = ["sure"]
        workflow = "inner"
        for_each = "{{ input.to }}"
        arguments = { email = "{{ item }}" }
        [[step]]
        id = "quote"
        when = "input.pay"
        tool = "flaky_quote"
        arguments = { amount = 1, currency = "USD", to = "EUR" }
        [[step]]
        id = "charge"
        needs = ["quote"]
        tool = "flaky_charge"
        arguments = { amount = 5, currency = "EUR", reference = "{{ run.id }}" }
        [[step.fallback]]
        tool = "database_insert_record"
        arguments = { table = "later", record = { to = "{{ input.to }}" } }
        [[step.fallback]]
        value = { chargeId = "none" }
        "#,
    );
    let line = ["run", "--dry-run", "outer", "to:=[\"a@b.c\",\"d@e.f\"]"];
    let dry = home.own(&[&line[..], &["--json"]].concat()).ends(0).json();
    let steps = &dry["steps"];
    assert_eq!((&steps[0]["asks"], &steps[0]["known"]), (&json!("Make 2 users?"), &json!(true)), "{dry}");
    let made = &steps[1]["items"][1]["steps"][0];
    assert_eq!((&steps[1]["total"], &steps[1]["items"][1]["item"]), (&json!(2), &json!("d@e.f")), "{dry}");
    assert_eq!(
        (&made["step"], &made["arguments"]["email"], &made["server"]),
        (&json!("users[1]/make"), &json!("d@e.f"), &json!("database"))
    );
    let undo =
        json!({"tool": "database_delete_user", "server": "database", "arguments": {"userId": "{{ result.userId }}"}, "known": false});
    assert_eq!(made["compensation"], undo, "{dry}");
    assert_eq!((&steps[2]["runs"], &steps[2]["skipped"]), (&json!(false), &json!("when: input.pay")), "{dry}");
    assert_eq!((&steps[3]["runs"], &steps[3]["skipped"]), (&json!(false), &json!("`quote` is skipped")), "{dry}");
    assert!(steps[3].get("arguments").is_none(), "what is skipped sends nothing: {dry}");
    let dry = home.own(&[&line[..], &["pay=true", "--json"]].concat()).ends(0).json();
    let charge = &dry["steps"][3];
    assert_eq!((&charge["runs"], &charge["known"]), (&json!(true), &json!(false)), "{dry}");
    assert_eq!(charge["fallback"][0]["arguments"]["record"]["to"], json!(["a@b.c", "d@e.f"]), "{dry}");
    assert_eq!(charge["fallback"][1], json!({"value": {"chargeId": "none"}, "known": true}), "{dry}");
    let text = home.own(&line).ends(0).says("dry run: no call was made").out;
    for words in [
        "sure  approve",
        "    asks: Make 2 users?",
        "users  workflow inner  for each of 2 items",
        "  users[1]\n      {\"email\":\"d@e.f\"}\n      users[1]/make  tool database_create_user  of database",
        "compensation: database_delete_user of database  {\"userId\":\"{{ result.userId }}\"}",
        "quote  tool flaky_quote  of flaky  skipped: when: input.pay",
    ] {
        assert!(text.contains(words), "{words:?} in {text}");
    }
    let text = home.own(&[&line[..], &["pay=true"]].concat()).ends(0).out;
    assert!(text.contains("fallback: database_insert_record of database  {\"table\":\"later\""), "{text}");
    assert!(text.contains("fallback value: {\"chargeId\":\"none\"}"), "{text}");
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
fn the_workflows_of_the_demo_have_tests_that_need_no_servers() {
    let home = Home::new();
    let tried = home.run(&["--demo", "workflow", "test", "--json"]).ends(0).json();
    let cases = tried["cases"].as_array().unwrap();
    assert_eq!((&tried["failed"], cases.len()), (&json!(0), 10), "{tried}");
    for name in ["onboard_new_user", "enrich_user_data", "notify_all", "resilient_charge"] {
        assert!(cases.iter().any(|case| case["workflow"] == name), "{name} has none: {tried}");
    }
    // Workflows of the current folder are not the demo's.
    std::fs::write(home.path().join("notify_all.toml"), "name = \"notify_all\"\n").unwrap();
    assert!(home.run(&["--demo", "workflow", "test"]).ends(0).out.contains("10 cases, 0 failed"));
}

#[test]
fn a_test_is_made_from_a_run_and_needs_no_servers() {
    let home = Home::new();
    home.configured();
    let run_of = |ran: &Value| ran["run"].as_str().unwrap().to_owned();
    // One of each outcome: ok, compensated, partial, fallback.
    let onboard = ["--demo", "--yes", "run", "onboard_new_user", "email=ann@example.com", "name=Ann", "--json"];
    let runs = [
        home.own(&onboard).ends(0).json(),
        home.own(&[&onboard[..], &["--inject", "email=fail=1"]].concat()).ends(8).json(),
        // One item: a workflow test answers simultaneous items in the order in which they call, which differs between runs.
        home.own(&["--demo", "--yes", "run", "notify_all", "limit:=1", "--json"]).ends(0).json(),
        home.own(&["--demo", "--yes", "run", "resilient_charge", "--inject", "flaky/charge=fail=1", "--json"]).ends(0).json(),
    ];
    for ran in &runs {
        let made = home.own(&["--demo", "workflow", "test-from-run", &run_of(ran)]).ends(0);
        assert!(!made.err.contains("the result differs"), "{}\n{}", made.err, made.out);
        let file = home.path().join("made.test.toml");
        std::fs::write(&file, &made.out).unwrap();
        let tried = home.own(&["--demo", "workflow", "test", file.to_str().unwrap()]).ends(0);
        assert!(tried.out.contains("1 cases, 0 failed"), "{}\n{}", tried.out, made.out);
        // It fails for a different workflow.
        let other = made.out.replace("[case.expect.calls]", "[case.expect.calls]\nemail_send_email = 7");
        std::fs::write(&file, other).unwrap();
        home.own(&["--demo", "workflow", "test", file.to_str().unwrap()]).ends(1);
    }
    let made = home.own(&["--demo", "workflow", "test-from-run", &run_of(&runs[1])]).ends(0);
    assert!(made.out.contains("compensated = [\"create_user\"]") && made.out.contains("database_delete_user = "), "{}", made.out);
    home.own(&["--demo", "workflow", "test-from-run", &run_of(&runs[0]), "--write"]).ends(2).says("omit --write to print it");
    home.own(&["workflow", "test-from-run", "ffff"]).ends(2).says("there is no run \"ffff\"");
    // Next to the workflow, in order.
    home.workflow(
        "find.toml",
        "name = \"find\"\n[[step]]\nid = \"users\"\ntool = \"database_query_users\"\n[output]\ntotal = \"{{ steps.users.result.total }}\"\nrun = \"{{ run.id }}\"\n",
    );
    let found = home.own(&["run", "find", "--json"]).ends(0).json();
    for name in ["first", "second"] {
        let line = ["workflow", "test-from-run", &run_of(&found), "--case", name, "--write"];
        home.own(&line).ends(0).says("find.test.toml").says("because they differ in each run: output.run");
    }
    let tried = home.own(&["workflow", "test"]).ends(0);
    assert!(tried.out.contains("find: first") && tried.out.contains("2 cases, 0 failed"), "{}", tried.out);
}

#[test]
fn a_cancelled_run_makes_a_test_that_cancels_it_again() {
    let home = Home::new();
    home.configured();
    home.workflow(
        "stuck.toml",
        r#"
        name = "stuck"
        on_error = "compensate"
        [[step]]
        id = "create"
        tool = "database_create_user"
        arguments = { email = "kim@example.com", name = "Kim" }
        compensate = { tool = "database_delete_user", arguments = { userId = "{{ result.userId }}" } }
        [[step]]
        id = "hang"
        needs = ["create"]
        tool = "flaky_configure"
        arguments = { mode = "hang" }
        [[step]]
        id = "charge"
        needs = ["hang"]
        tool = "flaky_charge"
        arguments = { amount = 5, currency = "EUR", reference = "x" }
        "#,
    );
    let mut child =
        Doomed(home.at_home(&["run", "--yes", "stuck", "--json"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let run = first.strip_prefix("run ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    assert!(lines.any(|line| line.contains("running") && line.contains("charge")), "the third step begins");
    home.wait_for_sending("flaky_charge");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child.0), rustix::process::Signal::INT).unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.0.wait().unwrap().code(), Some(130), "{rest:?}");
    let made = home.own(&["workflow", "test-from-run", &run]).ends(0);
    assert!(!made.err.contains("the result differs"), "{}\n{}", made.err, made.out);
    for line in ["charge = { cancel = \"run\" }", "outcome = \"cancelled\"", "compensated = [\"create\"]", "hang = \"ok\""] {
        assert!(made.out.contains(line), "{line} in {}", made.out);
    }
    home.workflow("stuck.test.toml", &made.out);
    home.own(&["workflow", "test"]).ends(0);
}

#[test]
fn a_case_may_cut_calls_short_and_say_what_may_be_repeated() {
    let home = Home::new();
    home.configured();
    home.workflow(
        "w.toml",
        r#"
        name = "w"
        on_error = "compensate"
        [[step]]
        id = "make"
        tool = "make"
        retry = { attempts = 3, backoff = "1ms", on = ["transport", "expect", "timeout"] }
        compensate = { tool = "unmake" }
        [[step]]
        id = "parallel"
        tool = "parallel"
        [[step]]
        id = "sure"
        needs = ["make"]
        approve = "?"
        [[step]]
        id = "last"
        needs = ["sure"]
        tool = "last"
        timeout = "50ms"
        "#,
    );
    let cases = r#"
        [[case]]
        name = "undoing that may have been done is not repeated"
        answers.make = { result = 1 }
        answers.parallel = { result = 1 }
        answers.sure = { result = true }
        answers.last = { error = "no" }
        answers.unmake = [{ error = "gone", kind = "transport" }, { text = "ok" }]
        expect = { outcome = "compensation_failed", calls = { unmake = 1 } }
        [[case]]
        name = "unless it was not sent"
        answers.make = { result = 1 }
        answers.parallel = { result = 1 }
        answers.sure = { result = true }
        answers.last = { error = "no" }
        answers.unmake = [{ error = "gone", kind = "transport", sent = false }, { text = "ok" }]
        expect = { outcome = "compensated", calls = { unmake = 2 } }
        [[case]]
        name = "or may be repeated"
        repeatable = ["unmake"]
        answers.make = { result = 1 }
        answers.parallel = { result = 1 }
        answers.sure = { result = true }
        answers.last = { error = "no" }
        answers.unmake = [{ error = "gone", kind = "transport" }, { text = "ok" }]
        expect = { outcome = "compensated", calls = { unmake = 2 } }
        [[case]]
        name = "each attempt has its own error"
        answers.parallel = { result = 1 }
        answers.make = [{ error = "late", kind = "timeout" }, { error = "odd", kind = "expect" }, { result = 1 }]
        answers.sure = { result = true }
        answers.last = { result = 1 }
        expect = { calls = { make = 3 } }
        [[case]]
        name = "the run is cancelled while a person is asked"
        answers.parallel = { result = 1 }
        answers.make = { result = 1 }
        answers.sure = { cancel = "run", after = ["parallel"] }
        answers.unmake = { text = "ok" }
        expect = { outcome = "cancelled", compensated = ["make"], steps = { parallel = "ok", sure = "cancelled" } }
        [[case]]
        name = "the compensation is stopped"
        answers.parallel = { result = 1 }
        answers.make = { result = 1 }
        answers.sure = { result = true }
        answers.last = { silent = true }
        answers.unmake = { cancel = "run" }
        expect = { outcome = "compensation_failed", steps = { make = "compensation_failed", last = "failed" } }
        [[case]]
        name = "a step is cancelled"
        answers.parallel = { cancel = "step", after = ["make"] }
        answers.make = { result = 1 }
        answers.sure = { result = true }
        answers.last = { result = 1 }
        answers.unmake = { text = "ok" }
        expect = { outcome = "compensated", steps = { parallel = "cancelled", make = "compensated" } }
        [[case]]
        name = "the program is ended"
        answers.parallel = { cancel = "program", after = ["last"] }
        answers.make = { result = 1 }
        answers.sure = { result = true }
        answers.last = { result = 1 }
        expect = { outcome = "in_doubt", steps = { make = "ok", last = "ok" } }
    "#;
    home.workflow("w.test.toml", cases);
    let tried = home.own(&["workflow", "test"]).ends(0);
    assert!(tried.out.contains("8 cases, 0 failed"), "{}", tried.out);
    home.workflow("w.test.toml", &cases.replace("after = [\"last\"]", "after = [\"lost\"]"));
    assert!(home.own(&["workflow", "test"]).ends(1).out.contains("did you mean `last`?"));
    home.workflow("w.test.toml", &cases.replace("cancel = \"program\"", "cancel = \"progam\""));
    assert!(home.own(&["workflow", "test"]).ends(1).out.contains("did you mean `program`?"));
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
fn a_killed_run_resumes_with_resolutions_of_its_in_doubt_steps() {
    let home = Home::new();
    home.configured();
    home.workflow(
        "pay.toml",
        r#"
        name = "pay"
        [[step]]
        id = "create"
        tool = "database_create_user"
        arguments = { email = "kim@example.com", name = "Kim" }
        [[step]]
        id = "hang"
        needs = ["create"]
        tool = "flaky_configure"
        arguments = { mode = "hang" }
        [[step]]
        id = "charge"
        needs = ["hang"]
        tool = "flaky_charge"
        arguments = { amount = 5, currency = "EUR", reference = "x" }
        [[step]]
        id = "found"
        tool = "database_query_users"
        needs = ["charge"]
        arguments = { limit = 100 }
        [output]
        user = "{{ steps.create.result.userId }}"
        kims = "{{ steps.found.result.users | selectattr('name', 'eq', 'Kim') | list | length }}"
        charge = "{{ steps.charge.result.chargeId }}"
        "#,
    );
    let mut child = home.at_home(&["run", "pay"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let run = first.strip_prefix("run ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    assert!(lines.any(|line| line.contains("running") && line.contains("charge")), "the third step begins");
    home.wait_for_sending("flaky_charge");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::KILL).unwrap();
    child.wait().unwrap();
    home.own(&["run", "--resume", &run]).ends(10).says("--repeat charge").says("in doubt");
    // A test can also be created from a run that has not ended.
    let made = home.own(&["workflow", "test-from-run", &run]).ends(0);
    assert!(!made.err.contains("the result differs") && made.out.contains("# The run was interrupted"), "{}\n{}", made.err, made.out);
    assert!(made.out.contains("charge = { cancel = \"program\" }") && made.out.contains("outcome = \"in_doubt\""), "{}", made.out);
    home.workflow("pay.test.toml", &made.out);
    home.own(&["workflow", "test"]).ends(0);
    let resume = ["run", "--resume", &run];
    home.own(&[&resume[..], &["--repeat", "chrage"]].concat())
        .ends(2)
        .says("no step that calls a tool `chrage`")
        .says("did you mean `charge`?");
    home.own(&[&resume[..], &["--skip", "x={}"]].concat()).ends(2).says("available: create, hang, charge, found");
    home.own(&[&resume[..], &["--repeat", "charge[0]"]].concat()).ends(2).says("no for_each");
    home.own(&[&resume[..], &["--approve", "charge"]].concat()).ends(2).says("no step that asks for approval");
    // A resolution of a step that is not in doubt is refused.
    home.own(&[&resume[..], &["--repeat", "create"]].concat())
        .ends(2)
        .says("--repeat: `create` is not in doubt")
        .says("it has ended (ok)")
        .says("in doubt: charge; remove the others");
    home.own(&[&resume[..], &["--repeat", "charge", "--skip", "found={}"]].concat())
        .ends(2)
        .says("--skip: `found` is not in doubt")
        .says("nothing was sent for it yet");
    home.own(&[&resume[..], &["--repeat", "charge", "--skip", "charge={}"]].concat()).ends(2).says("two different resolutions");
    let ended = home.own(&["run", "--resume", &run, "--skip", "charge={\"chargeId\":\"c_1\"}"]).ends(0).json();
    assert_eq!((&ended["kims"], &ended["charge"]), (&json!(1), &json!("c_1")), "no step is repeated: {ended}");
    // By the end of its id, and that it has ended is said.
    home.own(&["run", "--resume", &run[20..]]).ends(0).says("the run has already ended");
    home.own(&[&resume[..], &["--repeat", "charge"]].concat()).ends(2).says("it has ended (ok)").says("the run has ended");
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

/// Six steps, each of which uses the result of the previous one and writes a record. Those with odd numbers are idempotent.
const SIX: &str = r#"
    name = "six"
    [input]
    key = "string"
    [[step]]
    id = "s1"
    idempotent = true
    tool = "database_insert_record"
    arguments = { table = "{{ input.key }}_1", record = { by = "six" } }
    [[step]]
    id = "s2"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s1.result.table }}2", record = { by = "six" } }
    [[step]]
    id = "s3"
    idempotent = true
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s2.result.table }}3", record = { by = "six" } }
    [[step]]
    id = "s4"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s3.result.table }}4", record = { by = "six" } }
    [[step]]
    id = "s5"
    idempotent = true
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s4.result.table }}5", record = { by = "six" } }
    [[step]]
    id = "s6"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s5.result.table }}6", record = { by = "six" } }
    [output]
    last = "{{ steps.s6.result.table }}"
"#;

/// Longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(60);

/// Entries in the journal of a run of [`SIX`]: the start, two for each step, the end.
const ENTRIES: i64 = 14;

/// Returns the number of entries when the program is killed at this one: the end of a step (odd) and the next entry (even),
/// a request or the end of the run, are written atomically.
fn entries_before(write: i64) -> i64 {
    if write <= 2 { write - 1 } else { (write - 1) / 2 * 2 }
}

impl Home {
    fn journal(&self) -> std::path::PathBuf {
        self.path().join(".state/switchboard.db")
    }

    /// Waits until the journal has a request of a tool. A step is reported as running before its request is written.
    fn wait_for_sending(&self, tool: &str) {
        let sent = || {
            let db = rusqlite::Connection::open(self.journal()).unwrap();
            let entries = "SELECT count(*) FROM run_entries WHERE entry LIKE '%\"sending\"%' AND entry LIKE ?1";
            let count: i64 = db.query_row(entries, [format!("%{tool}%")], |row| row.get(0)).unwrap();
            count > 0
        };
        let end = Instant::now() + PATIENCE;
        while !sent() {
            assert!(Instant::now() < end, "no request of {tool} in the journal");
            std::thread::yield_now();
        }
    }

    /// Returns the number of entries of a run in the journal.
    fn entries(&self, run: &str) -> i64 {
        let db = rusqlite::Connection::open(self.journal()).unwrap();
        let of = "SELECT count(*) FROM runs JOIN run_entries ON id > number * 16777216 AND id < (number + 1) * 16777216 WHERE run = ?1";
        db.query_row(of, [run], |row| row.get(0)).unwrap()
    }

    /// Returns how often each of `steps` wrote a record, according to the server's file.
    fn made(&self, key: &str, steps: usize, end: &str) -> Vec<i64> {
        let db = rusqlite::Connection::open(self.path().join("state/demo.sqlite")).unwrap();
        let count = |step: usize| {
            let table = format!("{key}_{}{end}", &"123456"[..step]);
            db.query_row("SELECT count(*) FROM records WHERE table_name = ?1", [table], |row| row.get(0)).unwrap()
        };
        (1..=steps).map(count).collect()
    }

    /// Runs a workflow and kills the program while it writes an entry of the journal; returns the run's id.
    fn killed_at(&self, workflow: &str, key: &str, write: i64) -> String {
        // The write of this entry fills the log, which is observed, and then blocks.
        let db = rusqlite::Connection::open(self.journal()).unwrap();
        db.execute_batch(&format!(
            "CREATE TABLE stalled (filler BLOB);
             CREATE VIEW numbers (n) AS WITH RECURSIVE all_of (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM all_of) SELECT n FROM all_of;
             CREATE TRIGGER stall AFTER INSERT ON run_entries WHEN NEW.id % 16777216 = {write} BEGIN
                 INSERT INTO stalled SELECT zeroblob(4000) FROM numbers LIMIT 4000;
                 INSERT INTO stalled SELECT n FROM numbers WHERE n < 0;
             END;
             PRAGMA wal_checkpoint(TRUNCATE);"
        ))
        .unwrap();
        let line = ["run", workflow, &format!("key={key}")];
        let mut child = Doomed(self.at_home(&line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
        // Stays open so that its output can be written.
        let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let run = first.strip_prefix("run ").and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
        let log = self.path().join(".state/switchboard.db-wal");
        let end = Instant::now() + PATIENCE;
        while std::fs::metadata(&log).map_or(0, |log| log.len()) < 2 << 20 {
            assert!(Instant::now() < end, "write {write} never came");
            assert!(child.0.try_wait().unwrap().is_none(), "it ended before write {write}");
            std::thread::yield_now();
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&child.0), rustix::process::Signal::KILL).unwrap();
        drop(child);
        db.execute_batch("DROP TRIGGER stall; DROP VIEW numbers; DROP TABLE stalled;").unwrap();
        assert_eq!(self.entries(&run), entries_before(write), "what was being written is not there");
        run
    }
}

fn states(ran: &Value) -> Vec<Value> {
    ran["steps"].as_array().unwrap().iter().map(|step| step["state"].clone()).collect()
}

#[test]
fn a_program_killed_at_any_write_of_its_journal_ends_the_run_equally() {
    let home = Home::new();
    home.configured();
    home.workflow("six.toml", SIX);
    let whole = home.own(&["run", "six", "key=k0", "--json"]).ends(0).json();
    assert_eq!(home.entries(whole["run"].as_str().unwrap()), ENTRIES);
    let made = |key: &str| home.made(key, 6, "");
    assert_eq!(made("k0"), [1; 6]);
    for write in 1..=ENTRIES {
        let key = format!("k{write}");
        let run = home.killed_at("six", &key, write);
        if write == 1 {
            home.own(&["run", "--resume", &run]).ends(2).says("there is no run");
            assert_eq!(made(&key), [0; 6]);
            continue;
        }
        // The last request had an effect that was not recorded.
        let done = usize::try_from(write - 1).unwrap() / 2;
        let doubt = (write > 2).then_some(done);
        assert_eq!(made(&key), (1..=6).map(|step| i64::from(step <= done)).collect::<Vec<_>>(), "killed at write {write}");
        let mut expected = vec![1; 6];
        let mut line = vec!["run".to_owned(), "--resume".into(), run.clone(), "--json".into()];
        match doubt {
            // The author declares it idempotent.
            Some(step) if step % 2 == 1 => expected[step - 1] = 2,
            Some(step) => {
                let words: Vec<&str> = line.iter().map(String::as_str).collect();
                home.own(&words).ends(10);
                if step == 2 {
                    expected[step - 1] = 2;
                    line.extend(["--repeat".to_owned(), format!("s{step}")]);
                } else {
                    line.extend(["--skip".to_owned(), format!("s{step}={{\"table\":\"{key}_{}\"}}", &"123456"[..step])]);
                }
            }
            None => {}
        }
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        let ended = home.own(&words).ends(0).json();
        assert_eq!((&ended["outcome"], states(&ended)), (&whole["outcome"], states(&whole)), "killed at write {write}: {ended}");
        assert_eq!(ended["output"]["last"], json!(format!("{key}_123456")), "killed at write {write}");
        assert_eq!(made(&key), expected, "a settled step was repeated: killed at write {write}");
    }
}

/// Five steps that write a record, each with a compensation, and one that fails.
const UNDONE: &str = r#"
    name = "undone"
    on_error = "compensate"
    [input]
    key = "string"
    [[step]]
    id = "s1"
    tool = "database_insert_record"
    arguments = { table = "{{ input.key }}_1", record = { by = "undone" } }
    compensate = { tool = "database_insert_record", arguments = { table = "{{ result.table }}u", record = { by = "undone" } } }
    [[step]]
    id = "s2"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s1.result.table }}2", record = { by = "undone" } }
    compensate = { tool = "database_insert_record", arguments = { table = "{{ result.table }}u", record = { by = "undone" } } }
    [[step]]
    id = "s3"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s2.result.table }}3", record = { by = "undone" } }
    compensate = { tool = "database_insert_record", arguments = { table = "{{ result.table }}u", record = { by = "undone" } } }
    [[step]]
    id = "s4"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s3.result.table }}4", record = { by = "undone" } }
    compensate = { tool = "database_insert_record", arguments = { table = "{{ result.table }}u", record = { by = "undone" } } }
    [[step]]
    id = "s5"
    tool = "database_insert_record"
    arguments = { table = "{{ steps.s4.result.table }}5", record = { by = "undone" } }
    compensate = { tool = "database_insert_record", arguments = { table = "{{ result.table }}u", record = { by = "undone" } } }
    [[step]]
    id = "s6"
    needs = ["s5"]
    tool = "database_get_user_profile"
    arguments = { userId = "u_999999" }
"#;

#[test]
fn a_program_killed_at_any_write_of_a_compensation_compensates_the_rest_once() {
    let home = Home::new();
    home.configured();
    home.workflow("undone.toml", UNDONE);
    let whole = home.own(&["run", "undone", "key=k0", "--json"]).ends(8).json();
    assert_eq!(whole["compensated"], json!(["s5", "s4", "s3", "s2", "s1"]), "{whole}");
    // The start, two entries for each step and each compensation, the end.
    let entries = 24;
    assert_eq!(home.entries(whole["run"].as_str().unwrap()), entries);
    // From the failure of the last step.
    for write in 13..=entries {
        let key = format!("k{write}");
        let run = home.killed_at("undone", &key, write);
        let line = ["run", "--resume", &run, "--json"];
        // The failure of the sixth step, then the compensations of the fifth, the fourth, …
        let step = 6 - usize::try_from(write - 13).unwrap() / 2;
        // A request had an effect that was not recorded.
        home.own(&line).ends(10);
        let ended = home.own(&[&line[..], &["--repeat", &format!("s{step}")]].concat()).ends(8).json();
        assert_eq!((&ended["outcome"], states(&ended)), (&whole["outcome"], states(&whole)), "killed at write {write}: {ended}");
        assert_eq!((&ended["compensated"], &ended["not_compensated"]), (&whole["compensated"], &json!([])), "killed at write {write}");
        assert_eq!(home.made(&key, 5, ""), [1; 5], "killed at write {write}");
        let mut expected = vec![1; 5];
        if step < 6 {
            expected[step - 1] = 2;
        }
        assert_eq!(home.made(&key, 5, "u"), expected, "killed at write {write}");
    }
}
