//! Workflow tests from the command line, and those that are made from runs.

use super::*;

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
        assert!(tried.out.contains("1 case, 0 failed"), "{}\n{}", tried.out, made.out);
        // It fails for a different workflow.
        let other = made.out.replace("[case.expect.calls]", "[case.expect.calls]\nemail_send_email = 7");
        std::fs::write(&file, other).unwrap();
        home.own(&["--demo", "workflow", "test", file.to_str().unwrap()]).ends(1);
    }
    let made = home.own(&["--demo", "workflow", "test-from-run", &run_of(&runs[1])]).ends(0);
    assert!(made.out.contains("compensated = [\"create_user\"]") && made.out.contains("database_delete_user = "), "{}", made.out);
    home.own(&["--demo", "workflow", "test-from-run", &run_of(&runs[0]), "--write"]).ends(2).says("omit --write to print it");
    home.own(&["workflow", "test-from-run", "ffff"]).ends(2).says("matches \"ffff\"");
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
    let Started { mut child, mut lines, run } = Started::by(&mut home.at_home(&["run", "--yes", "stuck", "--json"]));
    assert!(lines.any(|line| line.contains("running") && line.contains("charge")), "the third step begins");
    home.wait_for_sending(&run, "charge");
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
