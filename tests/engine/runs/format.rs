//! Computed values, `else`, loops with `repeat`, later phases, computed settings and concurrency groups, each also killed after
//! every entry of its journal and resumed.

use super::*;

fn resume(run: RunId) -> Command {
    Command::ResumeRun { run, answers: vec![], ask: false, wait: false, timeout: None }
}

/// Runs a workflow whose steps are idempotent, then resumes it from every prefix of its journal. Each resumed run must end as
/// the whole one did, and send no request again but the one in doubt. Returns the report and what was sent.
async fn killed_anywhere(text: &str) -> (Arc<RunReport>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.sqlite"), 0).unwrap();
    let log = Log::default();
    let rig = engine(&log, Arc::new(store.clone()));
    rig.ready("s").await;
    let (whole, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(wanted(text)) }).await;
    let all = std::mem::take(&mut *log.lock().unwrap());
    let record = store.run(id(1)).await.unwrap().unwrap();
    assert!(record.entries.len() > 2, "{record:#?}");
    for (length, number) in (1..record.entries.len()).zip(100..) {
        let entries: Vec<RunEntry> = record.entries[..length].to_vec();
        let sent: Vec<String> = entries
            .iter()
            .filter_map(|entry| match entry {
                RunEntry::Sending { arguments, .. } => Some(arguments.value()?["name"].as_str()?.to_owned()),
                _ => None,
            })
            .collect();
        store.write(id(number), entries.into()).await.unwrap();
        let (report, _) = finished(&rig, id(number), resume(id(number))).await;
        let after = std::mem::take(&mut *log.lock().unwrap());
        assert_eq!((report.outcome, &report.output), (whole.outcome, &whole.output), "after {length}: {report:#?}");
        assert_eq!(states(&report), states(&whole), "after {length}");
        assert!(
            after.iter().filter(|name| sent.contains(name)).count() <= 1,
            "only what was in doubt: {sent:?}, then {after:?}; after {length} of {:#?}",
            record.entries
        );
        let mut done = [sent.clone(), after.clone()].concat();
        done.sort();
        done.dedup();
        let mut wanted = all.clone();
        wanted.sort();
        wanted.dedup();
        assert_eq!(done, wanted, "after {length} entries, with {sent:?} sent, then {after:?}");
    }
    rig.stop().await;
    (whole, all)
}

#[tokio::test]
async fn values_are_computed_without_a_call() {
    let text = r#"
        name = "w"
        [[step]]
        id = "a"
        tool = "s_echo"
        idempotent = true
        arguments = { name = "a", list = [1, 2, 3] }
        [[step]]
        id = "totals"
        let = { sum = "{{ steps.a.result.list | sum }}", text = "{{ steps.a.result.name }}!" }
        expect = "result.sum == 6"
        [[step]]
        id = "squares"
        for_each = "{{ steps.a.result.list }}"
        let = "{{ item * item }}"
        [[step]]
        id = "b"
        tool = "s_echo"
        idempotent = true
        arguments = { name = "b {{ steps.totals.result.sum }}", left = "{{ steps.totals.result.nothing | default(omit) }}", in = ["{{ omit }}", 1] }
        [output]
        squares = "{{ steps.squares.result }}"
        b = "{{ steps.b.result }}"
    "#;
    let (report, sent) = killed_anywhere(text).await;
    assert_eq!((report.outcome, sent), (RunOutcome::Ok, vec!["a".to_owned(), "b 6".to_owned()]), "{report:#?}");
    assert_eq!(output(&report), json!({"squares": [1, 4, 9], "b": {"name": "b 6", "in": [1]}}));
}

#[tokio::test(start_paused = true)]
async fn a_workflow_may_only_compute_and_a_wrong_expression_fails_its_step() {
    let (report, _, log) = ran("name = \"w\"\n[[step]]\nid = \"a\"\nlet = { n = \"{{ 1 + 2 }}\" }\n").await;
    assert_eq!((report.outcome, output(&report), log.len()), (RunOutcome::Ok, json!({"n": 3}), 0));
    let text = "name = \"w\"\n[[step]]\nid = \"a\"\nlet = \"{{ input.n / 0 }}\"\nfallback = { value = 7 }\n[input]\nn = { type = \"integer\", default = 1 }\n";
    let (report, ..) = ran(text).await;
    assert_eq!((report.outcome, output(&report)), (RunOutcome::Ok, json!(7)), "{report:#?}");
    let (report, ..) = ran(&text.replace("fallback = { value = 7 }\n", "")).await;
    assert_eq!(report.outcome, RunOutcome::Failed, "{report:#?}");
    let (report, ..) = ran("name = \"w\"\n[[step]]\nid = \"a\"\nlet = \"{{ omit }}\"\n").await;
    assert!(report.why.as_deref().is_some_and(|why| why.contains("can be omitted")), "{report:#?}");
}

/// A step with two `else` branches, the second one with a condition of its own.
fn branches(n: u32) -> String {
    format!(
        r#"
        name = "w"
        max_parallel = 1
        [[step]]
        id = "n"
        let = {n}
        [[step]]
        id = "many"
        when = "steps.n.result > 10"
        tool = "s_echo"
        idempotent = true
        arguments = {{ name = "many" }}
        [[step]]
        id = "some"
        else = "many"
        when = "steps.n.result > 1"
        tool = "s_echo"
        idempotent = true
        arguments = {{ name = "some" }}
        [[step]]
        id = "one"
        else = "some"
        tool = "s_echo"
        idempotent = true
        arguments = {{ name = "one" }}
        [[step]]
        id = "more"
        needs = ["one"]
        tool = "s_echo"
        idempotent = true
        arguments = {{ name = "more" }}
        [[step]]
        id = "end"
        needs = ["many", "some", "one"]
        if_skipped = "run"
        tool = "s_echo"
        idempotent = true
        arguments = {{ name = "end {{{{ steps.one.outcome }}}}" }}
    "#
    )
}

#[tokio::test]
async fn an_else_runs_if_the_condition_of_its_step_is_false() {
    for (n, expected) in [(20, vec!["many", "end skipped"]), (5, vec!["some", "end skipped"]), (1, vec!["one", "more", "end ok"])] {
        let (report, mut sent) = killed_anywhere(&branches(n)).await;
        let mut expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        sent.sort();
        expected.sort();
        assert_eq!((report.outcome, &sent), (RunOutcome::Ok, &expected), "{n}: {report:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_else_does_not_run_if_its_step_was_skipped_with_another() {
    let text = r#"
        name = "w"
        [[step]]
        id = "a"
        when = "1 > 2"
        tool = "s_echo"
        arguments = { name = "a" }
        [[step]]
        id = "b"
        needs = ["a"]
        when = "2 > 3"
        tool = "s_echo"
        arguments = { name = "b" }
        [[step]]
        id = "c"
        else = "b"
        tool = "s_echo"
        arguments = { name = "c" }
    "#;
    let (report, _, log) = ran(text).await;
    assert_eq!((report.outcome, log.len()), (RunOutcome::Ok, 0), "{report:#?}");
}

const PAGES: &str = r#"
    name = "w"
    on_error = "compensate"
    [[step]]
    id = "pages"
    tool = "s_echo"
    idempotent = true
    arguments = { name = "page {{ index }}", next = "{{ index + 1 }}", cursor = "{{ previous.next | default(omit) }}" }
    repeat = { until = "result.next >= 3" }
    compensate = { tool = "s_echo", arguments = { name = "undo {{ result.name }} {{ index }} {{ previous.next | default(0) }}" }, idempotent = true }
    [[step]]
    id = "end"
    tool = "s_echo"
    idempotent = true
    arguments = { name = "end", fail = false, all = "{{ steps.pages.result }}" }
    [output]
    cursors = "{{ steps.pages.result | selectattr('cursor', 'defined') | map(attribute='cursor') | list }}"
    count = "{{ steps.pages.items | length }}"
    last = "{{ (steps.pages.result | last).name }}"
"#;

#[tokio::test]
async fn a_step_repeats_until_its_condition_is_met() {
    let (report, sent) = killed_anywhere(PAGES).await;
    assert_eq!(sent, ["page 0", "page 1", "page 2", "end"], "{report:#?}");
    assert_eq!(output(&report), json!({"cursors": [1, 2], "count": 3, "last": "page 2"}));
    assert_eq!(report.step("pages").unwrap().items.unwrap().total, 3);
}

#[tokio::test]
async fn rounds_are_undone_in_reverse_order() {
    let (report, sent) = killed_anywhere(&PAGES.replace("fail = false", "fail = true")).await;
    let undone = ["undo page 2 2 2", "undo page 1 1 1", "undo page 0 0 0"];
    assert_eq!((report.outcome, &sent[4..]), (RunOutcome::Compensated, &undone.map(str::to_owned)[..]), "{report:#?}");
    assert_eq!(report.compensated, ["pages[2]", "pages[1]", "pages[0]"]);
}

#[tokio::test]
async fn a_loop_may_have_no_round_and_ends_at_its_limit() {
    let text = |repeat: &str| {
        format!(
            "name = \"w\"\n[[step]]\nid = \"a\"\nlet = \"{{{{ (previous or 0) + 1 }}}}\"\nrepeat = {{ {repeat} }}\non_error = \"continue\"\n\
             [[step]]\nid = \"b\"\ntool = \"s_echo\"\nidempotent = true\narguments = {{ name = \"{{{{ steps.a.outcome }}}} {{{{ steps.a.result }}}}\" }}\n"
        )
    };
    for (repeat, sent) in [
        ("while = \"(previous or 0) < 4\"", "ok [1,2,3,4]"),
        ("while = \"index < 0\"", "ok []"),
        ("until = \"index > 7\", limit = 3", "failed [1,2,3]"),
        ("until = \"result == 2\", while = \"index < 5\"", "ok [1,2]"),
    ] {
        let (report, log) = killed_anywhere(&text(repeat)).await;
        assert_eq!(log, [sent], "{repeat}: {report:#?}");
    }
    let (report, ..) = killed_anywhere(&text("until = \"index > 7\", limit = 3")).await;
    assert!(report.step("a").unwrap().state.why().unwrap().contains("3 rounds"), "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_poll_waits_between_its_rounds_and_is_cancelled_while_it_waits() {
    let text = r#"
        name = "w"
        [[step]]
        id = "poll"
        tool = "s_echo"
        arguments = { name = "poll {{ index }}" }
        repeat = { until = "index == 3", delay = "10s" }
    "#;
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    let began = tokio::time::Instant::now();
    let (report, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(wanted(text)) }).await;
    assert_eq!((report.outcome, log.lock().unwrap().len()), (RunOutcome::Ok, 4), "{report:#?}");
    assert!((30..32).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let start = Command::StartRun { run: id(2), spec: Arc::new(wanted(text)) };
    let report = finished_seeing(&rig, id(2), start, |event| match &event.kind {
        EventKind::RunStep { view, .. } if view.state.word() == "waiting" => {
            assert!(view.state.why().unwrap().starts_with("round 2 in 10.0 s"), "{view:?}");
            rig.command(Command::CancelRun { run: id(2), reason: "enough".into() });
        }
        _ => {}
    })
    .await;
    assert_eq!((report.outcome, log.lock().unwrap().len()), (RunOutcome::Cancelled, 5), "{report:#?}");
    rig.stop().await;
}

/// One step with a compensation, one that may fail, and steps for later.
fn nightly(fails: bool) -> String {
    format!(
        r#"
        name = "w"
        on_error = "compensate"
        [[step]]
        id = "a"
        tool = "s_echo"
        idempotent = true
        arguments = {{ name = "a" }}
        compensate = {{ tool = "s_echo", arguments = {{ name = "undo a" }}, idempotent = true }}
        [[step]]
        id = "b"
        needs = ["a"]
        tool = "s_echo"
        idempotent = true
        arguments = {{ name = "b", fail = {fails} }}
        [[step]]
        id = "c"
        needs = ["b"]
        tool = "s_echo"
        idempotent = true
        arguments = {{ name = "c" }}
        [[on_failure]]
        id = "alarm"
        tool = "s_echo"
        idempotent = true
        arguments = {{ name = "alarm {{{{ failure.step }}}} {{{{ failure.kind }}}} {{{{ run.outcome }}}}: {{{{ failure.message }}}}" }}
        [[on_failure]]
        id = "page"
        needs = ["alarm"]
        tool = "s_echo"
        idempotent = true
        arguments = {{ name = "page {{{{ steps.alarm.outcome }}}} {{{{ steps.c.outcome }}}}" }}
        [[finally]]
        id = "release"
        tool = "s_echo"
        idempotent = true
        arguments = {{ name = "release {{{{ run.outcome }}}} {{{{ steps.b.outcome }}}} {{{{ steps.alarm.outcome }}}} {{{{ failure is defined }}}}" }}
        [output]
        b = "{{{{ steps.b.result.name }}}}"
    "#
    )
}

#[tokio::test]
async fn steps_run_after_a_failure_and_at_the_end() {
    let (report, sent) = killed_anywhere(&nightly(true)).await;
    let alarm = "alarm b tool_error compensated: said \"b\"";
    let expected = ["a", "b", "undo a", alarm, "page ok skipped", "release compensated failed ok true"];
    assert_eq!((report.outcome, sent), (RunOutcome::Compensated, expected.map(str::to_owned).to_vec()), "{report:#?}");
    let (report, sent) = killed_anywhere(&nightly(false)).await;
    assert_eq!(sent, ["a", "b", "c", "release ok ok skipped false"], "{report:#?}");
    assert_eq!((report.outcome, output(&report)), (RunOutcome::Ok, json!({"b": "b"})));
    assert_eq!(states(&report)["alarm"], "skipped");
}

#[tokio::test(start_paused = true)]
async fn a_failure_at_the_end_fails_the_run_and_stops_no_other_step() {
    let text = r#"
        name = "w"
        [[step]]
        id = "a"
        tool = "s_echo"
        arguments = { name = "a" }
        [[finally]]
        id = "b"
        tool = "s_echo"
        arguments = { name = "b", fail = true }
        [[finally]]
        id = "c"
        needs = ["b"]
        tool = "s_echo"
        arguments = { name = "c {{ steps.b.error.message }}" }
    "#;
    let (report, _, log) = ran(text).await;
    assert_eq!((report.outcome, log), (RunOutcome::Failed, ["a", "b", "c said \"b\""].map(str::to_owned).to_vec()), "{report:#?}");
    assert!(report.why.as_deref().unwrap().contains("step `b` of `finally`"), "{report:#?}");
    let (report, ..) = ran(&text.replace("fail = true }", "fail = true }\non_error = \"continue\"")).await;
    assert_eq!(report.outcome, RunOutcome::Partial, "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn the_end_runs_after_a_cancellation_and_a_deadline() {
    let text = r#"
        name = "w"
        timeout = "{{ input.limit }}s"
        [input]
        limit = { type = "integer", default = 2 }
        [[step]]
        id = "slow"
        tool = "s_echo"
        arguments = { name = "slow", ms = 60000 }
        [[on_failure]]
        id = "alarm"
        tool = "s_echo"
        arguments = { name = "alarm {{ failure.kind }}" }
        [[finally]]
        id = "release"
        tool = "s_echo"
        arguments = { name = "release {{ run.outcome }}", ms = 5000 }
    "#;
    let (report, _, log) = ran(text).await;
    let expected = ["slow", "alarm timed_out", "release timed_out"].map(str::to_owned);
    assert_eq!((report.outcome, log), (RunOutcome::TimedOut, expected.to_vec()), "{report:#?}");
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    let start = Command::StartRun { run: id(1), spec: Arc::new(wanted(&text.replace("timeout", "# timeout"))) };
    let report = finished_seeing(&rig, id(1), start, |event| match &event.kind {
        EventKind::CallQueued { spec, .. } if spec.run.as_ref().is_some_and(|run| &*run.step == "slow") => {
            rig.command(Command::CancelRun { run: id(1), reason: "enough".into() });
        }
        _ => {}
    })
    .await;
    assert_eq!(report.outcome, RunOutcome::Cancelled, "{report:#?}");
    assert_eq!(log.lock().unwrap().last().map(String::as_str), Some("release cancelled"), "{report:#?}");
    assert_eq!(states(&report)["alarm"], "skipped");
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn limits_are_computed_and_retries_follow_a_condition() {
    let text = r#"
        name = "w"
        max_parallel = "{{ input.n }}"
        [input]
        n = { type = "integer", default = 2 }
        [defaults]
        timeout = "{{ input.n }}s"
        [[step]]
        id = "a"
        tool = "s_echo"
        for_each = [1, 2, 3, 4]
        max_parallel = "{{ input.n * 3 }}"
        arguments = { name = "a", ms = 1000 }
        [[step]]
        id = "b"
        tool = "s_echo"
        on_error = "continue"
        arguments = { name = "b", ms = 10000 }
        [[step]]
        id = "c"
        tool = "s_echo"
        idempotent = true
        on_error = "continue"
        arguments = { name = "c", fail = true }
        retry = { attempts = 9, backoff = "1ms", when = "error.kind == 'tool_error' and 'c' in error.message and attempt < 4" }
    "#;
    let began = tokio::time::Instant::now();
    let (report, _, log) = ran(text).await;
    assert_eq!(log.iter().filter(|name| *name == "c").count(), 4, "{report:#?}");
    assert!(report.step("b").unwrap().state.why().unwrap().contains("2.00 s"), "{report:#?}");
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    let (report, ..) = ran(&text.replace("default = 2", "default = 0")).await;
    assert!(report.why.as_deref().unwrap().contains("0 is not a number from 1 to 1000"), "{report:#?}");
    let (report, ..) = ran(&text.replace("}}s\"", "}} hours\"")).await;
    assert!(report.why.as_deref().unwrap().contains("is not a duration"), "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn items_that_may_write_run_one_at_a_time_by_default() {
    let text = r#"
        name = "w"
        [[step]]
        id = "a"
        tool = "s_echo"
        for_each = [1, 2, 3, 4]
        arguments = { name = "a", ms = 1000 }
    "#;
    let began = tokio::time::Instant::now();
    ran(text).await;
    assert_eq!(began.elapsed().as_secs(), 4);
    let began = tokio::time::Instant::now();
    ran(&text.replace("for_each", "max_parallel = 4\nfor_each")).await;
    assert_eq!(began.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_step_in_doubt_is_undone_if_its_undo_does_no_harm() {
    let text = r#"
        name = "w"
        [[step]]
        id = "a"
        tool = "s_echo"
        on_error = "compensate"
        arguments = { name = "a", drop = true }
        compensate = { tool = "s_echo", arguments = { name = "undo a", drop = "{{ result is defined }}" }, when_in_doubt = "compensate" }
    "#;
    let (report, _, log) = ran(text).await;
    assert_eq!((report.outcome, log), (RunOutcome::Compensated, vec!["a".to_owned(), "undo a".to_owned()]), "{report:#?}");
    assert_eq!((&report.compensated, report.not_compensated.len()), (&vec!["a".to_owned()], 0));
    let (report, _, log) = ran(&text.replace(", when_in_doubt = \"compensate\"", "")).await;
    assert_eq!((report.outcome, log.len(), report.not_compensated.len()), (RunOutcome::CompensationFailed, 1, 1), "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_undo_has_its_own_retry_and_deadline() {
    let text = r#"
        name = "w"
        on_error = "compensate"
        [[step]]
        id = "a"
        tool = "s_echo"
        idempotent = true
        arguments = { name = "a" }
        compensate = { tool = "s_echo", arguments = { name = "undo a", fail = true }, retry = { attempts = 4, backoff = "1ms", on = ["tool_error"] }, timeout = "1s", idempotent = true }
        [[step]]
        id = "b"
        needs = ["a"]
        tool = "s_echo"
        arguments = { name = "b", fail = true }
    "#;
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    rig.engine.set_rules(keyed());
    let (report, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(wanted(text)) }).await;
    let tries = log.lock().unwrap().iter().filter(|name| name.starts_with("undo a")).count();
    assert_eq!((report.outcome, tries), (RunOutcome::CompensationFailed, 4), "{report:#?}");
    log.lock().unwrap().clear();
    let late = text.replace("fail = true }, retry", "ms = 3000 }, retry");
    let (report, _) = finished(&rig, id(2), Command::StartRun { run: id(2), spec: Arc::new(wanted(&late)) }).await;
    assert!(report.not_compensated[0].1.contains("no answer within 1.00 s"), "{report:#?}");
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_run_of_a_group_is_active() {
    let text = |busy: &str| {
        format!(
            r#"
            name = "w"
            concurrency = {{ group = "deploy-{{{{ input.to }}}}", if_busy = "{busy}" }}
            timeout = "20s"
            [input]
            to = {{ type = "string", default = "prod" }}
            [[step]]
            id = "a"
            tool = "s_echo"
            arguments = {{ name = "a", ms = 5000 }}
            [[finally]]
            id = "b"
            tool = "s_echo"
            arguments = {{ name = "b" }}
        "#
        )
    };
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    rig.ready("s").await;
    let mut other = wanted(&text("wait"));
    other.input = Body::from(r#"{"to":"test"}"#);
    let specs = [wanted(&text("wait")), wanted(&text("wait")), wanted(&text("fail")), other];
    let (_, mut tail) = rig.engine.watch();
    for (spec, number) in specs.into_iter().zip(1..) {
        rig.command(Command::StartRun { run: id(number), spec: Arc::new(spec) });
    }
    let mut ended = vec![];
    let waiting = async {
        while ended.len() < 4 {
            if let EventKind::RunSettled { run, report } = &tail.next().await.unwrap().unwrap().kind {
                ended.push((*run, report.outcome, report.why.clone()));
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the runs end");
    let outcome = |number| ended.iter().find(|(run, ..)| *run == id(number)).unwrap().clone();
    assert_eq!(outcome(3).1, RunOutcome::Failed, "{ended:?}");
    assert!(outcome(3).2.unwrap().contains("another run of the group `deploy-prod` is active"), "{ended:?}");
    assert!([1, 2, 4].into_iter().all(|number| outcome(number).1 == RunOutcome::Ok), "{ended:?}");
    // The second run began when the first one had ended.
    let log = log.lock().unwrap().clone();
    assert_eq!(log.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "a", "b", "b", "a", "b"]);
    rig.stop().await;
}

#[tokio::test]
async fn a_group_is_shared_by_processes_with_the_same_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs.sqlite");
    let (one, other) = (Store::open(&path, 0).unwrap(), Store::open(&path, 0).unwrap());
    let held = one.lock_group("deploy").await.unwrap();
    assert!(held.is_some());
    let log = Log::default();
    let rig = engine(&log, Arc::new(other));
    rig.ready("s").await;
    let text = "name = \"w\"\nconcurrency = \"deploy\"\n[[step]]\nid = \"a\"\ntool = \"s_echo\"\narguments = { name = \"a\" }\n";
    let mut held = Some(held);
    let start = Command::StartRun { run: id(1), spec: Arc::new(wanted(text)) };
    let report = finished_seeing(&rig, id(1), start, |event| match &event.kind {
        EventKind::Notice { notice } if notice.text.contains("group `deploy`") => drop(held.take()),
        _ => {}
    })
    .await;
    assert_eq!((report.outcome, held.is_none()), (RunOutcome::Ok, true), "{report:#?}");
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_error_of_a_step_and_its_fallbacks_is_reported() {
    let text = r#"
        name = "w"
        [[step]]
        id = "a"
        tool = "s_echo"
        arguments = { name = "a", fail = true }
        fallback = [{ tool = "s_echo", arguments = { name = "b", fail = true } }, { value = "{{ input.nothing }}" }]
        [input]
        nothing = "any?"
    "#;
    let (report, ..) = ran(text).await;
    let why = report.why.as_deref().unwrap();
    assert!(why.contains("said \"a\"; the fallback s_echo failed too: said \"b\"; the fallback a value failed too"), "{why}");
}
