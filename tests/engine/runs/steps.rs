//! Steps: their order, loops, retries, fallbacks, what is undone.

use super::*;

#[tokio::test(start_paused = true)]
async fn steps_that_do_not_need_each_other_overlap() {
    let text = r#"
        name = "w"
        [[step]]
        id = "a"
        tool = "s_echo"
        arguments = { name = "a", ms = 200 }
        [[step]]
        id = "b"
        tool = "s_echo"
        arguments = { name = "b", ms = 200 }
        [[step]]
        id = "c"
        tool = "s_echo"
        arguments = { name = "c", ms = 200 }
        [output]
        all = "{{ [steps.a.result.name, steps.b.result.name, steps.c.result.name] }}"
        said = "{{ steps.a.text }}"
    "#;
    let (report, events, _) = ran(text).await;
    assert_eq!(report.outcome, RunOutcome::Ok, "{report:#?}");
    assert_eq!(output(&report), json!({"all": ["a", "b", "c"], "said": "said \"a\""}));
    let spans = spans(&events);
    let (first, last) = (spans.values().map(|s| s.0).min().unwrap(), spans.values().map(|s| s.1).max().unwrap());
    assert_eq!(spans.len(), 3);
    let took = last.since(first);
    assert!(took >= Duration::from_millis(200) && took < Duration::from_millis(300), "{took:?}");
    for (one, (_, end)) in &spans {
        assert!(spans.values().all(|(sent, _)| sent < end), "{one} ended before another was sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_the_environment_are_sent_and_neither_shown_nor_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.sqlite"), 0).unwrap();
    let log = Log::default();
    let rig = engine(&log, Arc::new(store.clone()));
    let text = r#"
        name = "w"
        env = ["API_TOKEN", "CITY"]
        [[step]]
        id = "a"
        tool = "s_echo"
        arguments = { name = "{{ env.API_TOKEN }} of {{ env.CITY }}" }
        compensate = { tool = "s_echo", arguments = { name = "undo {{ env.API_TOKEN }}" } }
        [[step]]
        id = "b"
        needs = ["a"]
        tool = "s_echo"
        arguments = { name = "b", fail = true }
        on_error = "compensate"
    "#;
    let env = [("API_TOKEN", "hunter2-hunter2"), ("CITY", "Helsinki")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let spec = RunSpec { env: env.into(), ..wanted(text) };
    let (report, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(spec) }).await;
    assert_eq!(*log.lock().unwrap(), ["hunter2-hunter2 of Helsinki", "b", "undo hunter2-hunter2"], "{report:#?}");
    let record = store.run(id(1)).await.unwrap().unwrap();
    let sent: Vec<String> = record
        .entries
        .iter()
        .filter_map(|entry| match entry {
            RunEntry::Sending { arguments, .. } => Some(arguments.text().into_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert!(sent[0].contains("Helsinki") && sent.iter().all(|arguments| !arguments.contains("hunter2")), "{sent:?}");
    let shown = report.steps[0].1.arguments.as_ref().unwrap().text().into_owned();
    assert!(shown.contains("Helsinki") && !shown.contains("hunter2"), "{shown}");
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_done_is_undone_backwards_when_a_later_step_fails() {
    let (report, events, log) = ran(SAGA).await;
    assert_eq!(log, ["a", "b", "c", "undo b", "undo a"]);
    assert_eq!((report.outcome, &report.compensated), (RunOutcome::Compensated, &vec!["b".to_owned(), "a".to_owned()]));
    assert!(report.why.as_deref().unwrap().contains("step `c`: said \"c\""), "{:?}", report.why);
    let words: Vec<&str> = states(&report).into_values().collect();
    assert_eq!(words, ["compensated", "compensated", "failed", "skipped"]);
    let purposes: Vec<Purpose> = events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::CallQueued { spec, .. } => Some(spec.run.as_ref().unwrap().purpose),
            _ => None,
        })
        .collect();
    use Purpose::{Compensation, Step};
    assert_eq!(purposes, [Step, Step, Step, Compensation, Compensation]);
}

#[tokio::test(start_paused = true)]
async fn a_compensation_that_fails_is_told_and_the_others_go_on() {
    let text = SAGA.replace(
        r#"arguments = { name = "undo {{ result.name }}" } }
    [[step]]
    id = "c""#,
        r#"arguments = { name = "undo {{ result.name }}", fail = true } }
    [[step]]
    id = "c""#,
    );
    let (report, _, log) = ran(&text).await;
    assert_eq!(log, ["a", "b", "c", "undo b", "undo a"]);
    assert_eq!((report.outcome, &report.compensated), (RunOutcome::CompensationFailed, &vec!["a".to_owned()]));
    assert_eq!(report.not_compensated, [("b".to_owned(), "said \"undo b\"".to_owned())]);
    assert_eq!(states(&report)["b"], "compensation failed");
}

#[tokio::test(start_paused = true)]
async fn only_what_may_be_repeated_is_tried_again() {
    let step = |more: &str| {
        format!(
            "name = \"w\"\n[[step]]\nid = \"a\"\ntool = \"s_echo\"\narguments = {{ name = \"a\", drop = true }}\n\
             retry = {{ attempts = 3, backoff = \"1s\" }}\n{more}"
        )
    };
    let (report, _, log) = ran(&step("")).await;
    assert_eq!((report.outcome, log.len()), (RunOutcome::Invalid, 0), "{report:#?}");
    let (report, _, log) = ran(&step("idempotent = true")).await;
    assert_eq!((report.outcome, log.len()), (RunOutcome::Failed, 3), "{report:#?}");
    assert_eq!(report.step("a").unwrap().attempts, 3);
}

#[tokio::test(start_paused = true)]
async fn fallbacks_answer_for_a_step_that_failed() {
    let text = r#"
        name = "w"
        [[step]]
        id = "a"
        tool = "s_echo"
        arguments = { name = "a", fail = true }
        fallback = [{ tool = "s_echo", arguments = { name = "b", fail = true } }, { value = { name = "c" } }]
        [output]
        who = "{{ steps.a.result.name }}"
    "#;
    let (report, _, log) = ran(text).await;
    assert_eq!((report.outcome, log), (RunOutcome::Ok, vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(output(&report), json!({"who": "c"}));
    assert!(report.step("a").unwrap().fallback.as_deref().unwrap().starts_with("a value"));
}

#[tokio::test(start_paused = true)]
async fn a_step_that_is_skipped_takes_those_with_it_that_need_it() {
    let text = r#"
        name = "w"
        [[step]]
        id = "a"
        tool = "s_echo"
        when = "1 > 2"
        arguments = { name = "a" }
        [[step]]
        id = "b"
        needs = ["a"]
        tool = "s_echo"
        arguments = { name = "b" }
        [[step]]
        id = "c"
        needs = ["a"]
        if_skipped = "run"
        tool = "s_echo"
        arguments = { name = "c {{ steps.a.outcome }}" }
    "#;
    let (report, _, log) = ran(text).await;
    assert_eq!(log, ["c skipped"], "{report:#?}");
    assert_eq!(states(&report).into_values().collect::<Vec<_>>(), ["skipped", "skipped", "ok"]);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_items_run_a_few_at_a_time() {
    let text = r#"
        name = "w"
        [[step]]
        id = "a"
        tool = "s_echo"
        for_each = "{{ range(10000) | list }}"
        max_parallel = 8
        on_item_error = "continue"
        arguments = { name = "{{ item }}", ms = 10, fail = "{{ item is divisibleby(1000) }}" }
        [output]
        count = "{{ steps.a.result | length }}"
        failed = "{{ steps.a.items | selectattr('outcome', 'eq', 'failed') | list | length }}"
        third = "{{ steps.a.result[3].name }}"
    "#;
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    rig.command(Command::StartRun { run: id(1), spec: Arc::new(wanted(text)) });
    let most = async {
        let (mut most, mut views) = (0, 0);
        loop {
            let (read_model, mut tail) = rig.engine.watch();
            most = most.max(read_model.running);
            let run = read_model.runs.get(id(1)).cloned();
            if let Some(report) = run.and_then(|run| run.report.clone()) {
                return (most, views, report);
            }
            // Whatever happens next; a watcher that fell behind looks again.
            if let Ok(Some(event)) = tail.next().await {
                views += usize::from(matches!(event.kind, EventKind::RunStep { .. }));
            }
        }
    };
    let (most, _, report) = tokio::time::timeout(PATIENCE * 100, most).await.unwrap();
    assert!((2..=8).contains(&most), "{most} concurrent items");
    assert_eq!(report.outcome, RunOutcome::Partial);
    assert_eq!(output(&report), json!({"count": 10_000, "failed": 10, "third": 3}));
    let items = report.step("a").unwrap().items.unwrap();
    assert_eq!((items.total, items.done, items.failed), (10_000, 10_000, 10));
    assert_eq!(log.lock().unwrap().len(), 10_000);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn outputs_that_cannot_be_made_are_a_failure_that_is_undone() {
    let text = SAGA.replace(", fail = true", "") + "[output]\nx = \"{{ steps.a.result.nope }}\"\n";
    let (report, _, log) = ran(&text).await;
    assert_eq!(log, ["a", "b", "c", "d", "undo b", "undo a"]);
    assert_eq!(report.outcome, RunOutcome::Compensated, "{report:#?}");
    assert!(report.why.as_deref().is_some_and(|why| why.starts_with("output: ")), "{report:#?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_as_expected_is_asked_for_again_and_not_kept() {
    let count = Arc::new(Mutex::new(0));
    let counting = count.clone();
    let behaviour = Arc::new(Behaviour::new(move |_, observer, handler| {
        let count = counting.clone();
        async move {
            observer.sent(handler.now(), 1);
            *count.lock().unwrap() += 1;
            let state = if *count.lock().unwrap() < 3 { "busy" } else { "ready" };
            let result = Body::json(&json!({"content": [], "structuredContent": {"state": state}}));
            Ok(Reply { result, first_byte: handler.now(), last_byte: handler.now(), sent_bytes: 1, received_bytes: 1 })
        }
    }));
    let options = EngineOptions { epoch: Epoch { unix_ms: 1, utc_offset_s: 0 }, separator: "_".into(), seed: None };
    let fake = Fake::new(move |_| crate::fake::Plan::Serve(Duration::ZERO, behaviour.clone()));
    let engine = LocalControl::new(options, Retention::default(), fake);
    engine.apply(vec![spec("s")]);
    let rig = Rig { engine };
    let text = r#"
        name = "w"
        [[step]]
        id = "poll"
        tool = "s_echo"
        idempotent = true
        cache = "1m"
        retry = { attempts = 5, backoff = "1ms", on = ["expect"] }
        expect = "result.state == 'ready'"
    "#;
    let (report, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(wanted(text)) }).await;
    assert_eq!((report.outcome, *count.lock().unwrap()), (RunOutcome::Ok, 3), "{report:#?}");
    // A response that meets the expectations is cached.
    let (report, _) = finished(&rig, id(2), Command::StartRun { run: id(2), spec: Arc::new(wanted(text)) }).await;
    assert_eq!((report.outcome, *count.lock().unwrap()), (RunOutcome::Ok, 3), "{report:#?}");
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_step_that_asks_is_answered_in_the_inbox_or_beforehand() {
    let text = r#"
        name = "w"
        [[step]]
        id = "sure"
        approve = "Really {{ run.id }}?"
        [[step]]
        id = "who"
        needs = ["sure"]
        elicit = "Who?"
        schema = { type = "object", required = ["name"], properties = { name = { type = "string" } } }
        [output]
        who = "{{ steps.who.result.name }}"
    "#;
    // Without a user.
    let (report, _, _) = ran(text).await;
    assert_eq!(report.outcome, RunOutcome::Refused, "{report:#?}");
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    // Beforehand.
    let content = Body::from(r#"{"name":"Ada"}"#);
    let answers = vec![("sure".to_owned(), StepAnswer::Approve), ("who".to_owned(), StepAnswer::Content { content: content.clone() })];
    let spec = RunSpec { answers, ..wanted(text) };
    let (report, _) = finished(&rig, id(2), Command::StartRun { run: id(2), spec: Arc::new(spec) }).await;
    assert_eq!(output(&report), json!({"who": "Ada"}));
    // By a person.
    let (_, mut tail) = rig.engine.watch();
    rig.command(Command::StartRun { run: id(3), spec: Arc::new(RunSpec { ask: true, ..wanted(text) }) });
    let report = loop {
        match &tail.next().await.unwrap().unwrap().kind {
            EventKind::AskOpened { ask } => {
                let step = ask.run.as_ref().unwrap().step.to_string();
                let content = if step == "who" { content.clone() } else { Body::from("{}") };
                rig.command(Command::Answer { ask: ask.id, answer: Answer::Accept { content } });
            }
            EventKind::RunSettled { report, .. } => break report.clone(),
            _ => {}
        }
    };
    assert_eq!(output(&report), json!({"who": "Ada"}));
    assert!(rig.read_model().asks.is_empty());
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn workflows_run_workflows() {
    let outer = r#"
        name = "w"
        [[step]]
        id = "each"
        workflow = "inner"
        for_each = "{{ ['x', 'y'] }}"
        arguments = { who = "{{ item }}" }
        [output]
        all = "{{ steps.each.result }}"
    "#;
    let inner = r#"
        name = "inner"
        [input]
        who = "string"
        [[step]]
        id = "say"
        tool = "s_echo"
        arguments = { name = "{{ input.who }}" }
        [output]
        said = "{{ steps.say.result.name }}"
    "#;
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    let mut spec = wanted(outer);
    let text = |name: &str, text: &str| WorkflowText { name: name.into(), file: format!("{name}.toml"), text: text.into() };
    spec.sources = Arc::new([text("w", outer), text("inner", inner)]);
    let (report, events) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(spec) }).await;
    assert_eq!(report.outcome, RunOutcome::Ok, "{report:#?}");
    assert_eq!(output(&report), json!({"all": [{"said": "x"}, {"said": "y"}]}));
    let paths: Vec<String> = spans(&events).into_keys().collect();
    assert_eq!(paths, ["each[0]/say", "each[1]/say"]);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_workflow_or_input_does_nothing() {
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    rig.ready("s").await;
    let step = "[[step]]\nid = \"a\"\ntool = \"s_echoo\"\n";
    for (number, (text, input, expected)) in [
        (format!("name = \"w\"\n{step}"), "{}", "s_echoo"),
        ("name = ".to_owned(), "{}", "w.toml:1"),
        (format!("name = \"w\"\n[input]\nn = \"integer\"\n{}", step.replace("echoo", "echo")), r#"{"n":"x"}"#, "the input does not fit"),
    ]
    .into_iter()
    .enumerate()
    {
        let run = id(number as u64);
        let spec = RunSpec { input: Body::from(input), ..wanted(&text) };
        let (report, _) = finished(&rig, run, Command::StartRun { run, spec: Arc::new(spec) }).await;
        assert_eq!(report.outcome, RunOutcome::Invalid);
        assert!(report.why.as_deref().unwrap().contains(expected), "{:?}", report.why);
    }
    assert!(log.lock().unwrap().is_empty());
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_attempt_of_a_call_and_its_fallback_carry_one_key() {
    use switchboard::domain::{
        call::CallSpec,
        id::ToolId,
        policy::{Fallback, Rules, ToolRule, pattern::Pattern},
    };
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    rig.engine.apply(vec![spec("s"), spec("t")]);
    rig.ready("s").await;
    rig.ready("t").await;
    let rule = ToolRule {
        matches: Pattern::parse("s_*").unwrap(),
        idempotency_key: Some("name".into()),
        fallback: vec![Fallback::Server { server: "t".into() }],
        ..ToolRule::default()
    };
    rig.engine.set_rules(Rules { tools: vec![rule], ..Rules::default() });
    let settled = rig.run(CallSpec::tool(ToolId::new("s".into(), "echo"), r#"{"drop":true}"#, Origin::Cli), |_| {}).await.1;
    assert!(matches!(settled.outcome, switchboard::domain::call::Outcome::Failed { .. }), "{settled:?}");
    let keys = log.lock().unwrap().clone();
    assert!(keys.len() >= 3 && keys[0] != "?", "{keys:?}");
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_retry_of_a_step_replaces_that_of_the_engine_and_every_attempt_has_the_same_key() {
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    rig.engine.set_rules(keyed());
    let mut unprotected = spec("s");
    unprotected.policy.breaker.enabled = false;
    rig.engine.apply(vec![unprotected]);
    let step = |retry: &str| {
        let text = format!(
            "name = \"w\"\n[[step]]\nid = \"a\"\ntool = \"s_echo\"\narguments = {{ name = \"a\", drop = true }}\nidempotent = true\n{retry}"
        );
        Arc::new(wanted(&text))
    };
    let attempts = |report: &RunReport| report.steps[0].1.attempts;
    let mut keys = vec![];
    // The engine makes three attempts by default.
    for (number, retry, made) in [(1, "retry = 2", 2), (2, "retry = 1", 1), (3, "", 3)] {
        let (report, _) = finished(&rig, id(number), Command::StartRun { run: id(number), spec: step(retry) }).await;
        let sent = std::mem::take(&mut *log.lock().unwrap());
        assert_eq!((sent.len(), attempts(&report)), (made, made as u32), "{retry}: {report:#?}");
        keys.push(sent[0].clone());
        assert!(sent.iter().all(|sent| *sent == keys[keys.len() - 1]), "{sent:?}");
    }
    assert!(keys[0] != keys[1] && keys[1] != keys[2], "each run has its own: {keys:?}");
    rig.stop().await;
}

/// A saga over nested workflows: `each` runs `inner` once per name, then `last` fails.
pub fn nested_saga(names: &str, last: &str) -> RunSpec {
    let outer = format!(
        r#"
        name = "w"
        on_error = "compensate"
        [[step]]
        id = "each"
        workflow = "inner"
        for_each = "{{{{ {names} }}}}"
        max_parallel = 1
        arguments = {{ who = "{{{{ item }}}}" }}
        [[step]]
        id = "last"
        needs = ["each"]
        tool = "s_echo"
        arguments = {{ name = "last", {last} }}
    "#
    );
    let inner = r#"
        name = "inner"
        [input]
        who = "string"
        [[step]]
        id = "create"
        tool = "s_echo"
        arguments = { name = "create {{ input.who }}" }
        compensate = { tool = "s_echo", arguments = { name = "undo {{ result.name }} of {{ input.who }}" } }
        [[step]]
        id = "maybe"
        when = "input.who == 'nobody'"
        tool = "s_echo"
        arguments = { name = "maybe" }
        [[step]]
        id = "notify"
        needs = ["create"]
        tool = "s_echo"
        arguments = { name = "notify {{ input.who }}", fail = "{{ input.who == 'bad' }}" }
    "#;
    let text = |name: &str, text: &str| WorkflowText { name: name.into(), file: format!("{name}.toml"), text: text.into() };
    RunSpec { sources: Arc::new([text("w", &outer), text("inner", inner)]), ..wanted(&outer) }
}

#[tokio::test(start_paused = true)]
async fn what_nested_workflows_did_is_undone_backwards_when_the_run_fails() {
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    let spec = Arc::new(nested_saga("['x', 'y']", "fail = true"));
    let (report, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec }).await;
    let sent = std::mem::take(&mut *log.lock().unwrap());
    let forward = ["create x", "notify x", "create y", "notify y", "last"];
    assert_eq!(sent, [&forward[..], &["undo create y of y", "undo create x of x"]].concat());
    assert_eq!((report.outcome, &report.not_compensated), (RunOutcome::Compensated, &vec![]), "{report:#?}");
    assert_eq!(report.compensated, ["each[1]/create", "each[0]/create"]);
    // The steps within still show what they did.
    let read_model = rig.read_model();
    let inner = &read_model.runs.iter().find(|run| run.id == id(1)).unwrap().inner;
    let create = &inner.iter().find(|(path, _)| &**path == "each[0]/create").unwrap().1;
    assert!(create.started.is_some() && create.state.word() == "compensated" && create.calls.len() == 2, "{create:#?}");
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_nested_workflow_that_fails_is_undone_with_those_that_succeeded() {
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    let spec = Arc::new(nested_saga("['x', 'bad', 'y']", ""));
    let (report, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec }).await;
    let sent = std::mem::take(&mut *log.lock().unwrap());
    assert_eq!(sent, ["create x", "notify x", "create bad", "notify bad", "undo create bad of bad", "undo create x of x"]);
    assert_eq!((report.outcome, &report.not_compensated), (RunOutcome::Compensated, &vec![]), "{report:#?}");
    assert_eq!(report.compensated, ["each[1]/create", "each[0]/create"]);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_fallback_that_answered_is_undone_where_it_ran() {
    let text = |how: &str, undo: &str| {
        format!(
            r#"
        name = "w"
        on_error = "compensate"
        [[step]]
        id = "pay"
        tool = "s_echo"
        arguments = {{ name = "first", {how} }}
        compensate = {{ tool = "s_echo", arguments = {{ name = "undo first" }} }}
        fallback = {{ tool = "s_echo", arguments = {{ name = "second" }}{undo} }}
        [[step]]
        id = "last"
        needs = ["pay"]
        tool = "s_echo"
        arguments = {{ name = "last", fail = true }}
    "#
        )
    };
    let undo = r#", compensate = { tool = "s_echo", arguments = { name = "undo {{ result.name }}" } }"#;
    let (report, _, log) = ran(&text("fail = true", undo)).await;
    assert_eq!(log, ["first", "second", "last", "undo second"]);
    assert_eq!((report.outcome, report.not_compensated.len()), (RunOutcome::Compensated, 0), "{report:#?}");
    // What may have run at the first server stays, and is reported.
    let (report, _, log) = ran(&text("drop = true", undo)).await;
    assert_eq!(log, ["first", "second", "last", "undo second"]);
    assert_eq!(report.outcome, RunOutcome::CompensationFailed, "{report:#?}");
    assert!(report.not_compensated.len() == 1 && report.not_compensated[0].1.contains("may have taken effect"), "{report:#?}");
    // A fallback without a call that undoes it is not undone by that of the step.
    let (report, _, log) = ran(&text("fail = true", "")).await;
    assert_eq!(log, ["first", "second", "last"]);
    assert_eq!(report.outcome, RunOutcome::CompensationFailed, "{report:#?}");
    assert!(report.not_compensated[0].1.contains("has no `compensate`"), "{report:#?}");
}

#[tokio::test]
async fn the_cache_of_a_step_is_shared_through_the_response_cache() {
    let text = "name = \"w\"\n[[step]]\nid = \"a\"\ntool = \"s_echo\"\ncache = \"5m\"\narguments = { name = \"a\" }\n";
    let store = switchboard::cache::open(&Default::default()).unwrap();
    let log = Log::default();
    for number in 1..=2 {
        let rig = engine(&log, Arc::new(NoJournal));
        rig.engine.set_store(Some(store.clone()));
        let (report, _) = finished(&rig, id(number), Command::StartRun { run: id(number), spec: Arc::new(wanted(text)) }).await;
        assert_eq!(report.outcome, RunOutcome::Ok, "{report:#?}");
        rig.stop().await;
    }
    assert_eq!(*log.lock().unwrap(), ["a"], "another process uses the response");
}
