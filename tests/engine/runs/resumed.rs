//! Resolutions and answers for a resumed run.

use super::*;

#[tokio::test]
async fn a_word_may_be_about_one_item_or_about_a_step_within() {
    let dir = tempfile::tempdir().unwrap();
    let outer = r#"
        name = "w"
        [[step]]
        id = "pay"
        tool = "s_echo"
        for_each = ["a", "b"]
        arguments = { name = "pay {{ item }}" }
        [[step]]
        id = "all"
        workflow = "inner"
        for_each = ["c", "d"]
        arguments = { who = "{{ item }}" }
        [output]
        paid = "{{ steps.pay.result | map(attribute='name') | list }}"
        noted = "{{ steps.all.result | map(attribute='name') | list }}"
    "#;
    let inner = r#"
        name = "inner"
        [input]
        who = "string"
        [[step]]
        id = "tell"
        tool = "s_echo"
        arguments = { name = "tell {{ input.who }}" }
    "#;
    let mut spec = wanted(outer);
    let within = WorkflowText { name: "inner".into(), file: "inner.toml".into(), text: inner.into() };
    spec.sources = spec.sources.iter().cloned().chain([within]).collect();
    let store = Store::open(&dir.path().join("store.db"), 0).unwrap();
    let log = Log::default();
    let spec = Arc::new(spec);
    for run in [id(1), id(2)] {
        append(&store, run, [RunEntry::Began { spec: spec.clone(), unix_ms: 1, deadline_ms: None }]).await.unwrap();
        for (step, item) in [("pay", Some(0)), ("pay", Some(1)), ("all[0]/tell", None), ("all[1]/tell", None)] {
            append(&store, run, [sending(step, item, "{}")]).await.unwrap();
        }
    }
    let rig = engine(&log, Arc::new(store));
    rig.ready("s").await;
    let done = |name: &str| StepAnswer::Skip { result: Body::json(&json!({"name": name})) };
    let resume = |run, answers: Vec<(&str, StepAnswer)>| Command::ResumeRun {
        run,
        answers: answers.into_iter().map(|(step, answer)| (step.to_owned(), answer)).collect(),
        ask: false,
        wait: false,
        timeout: None,
    };
    let words = vec![("pay[1]", done("paid b")), ("all[0]/tell", done("noted c"))];
    let (report, _) = finished(&rig, id(1), resume(id(1), words.clone())).await;
    assert_eq!((report.outcome, log.lock().unwrap().len()), (RunOutcome::InDoubt, 0), "{report:#?}");
    let noted: Vec<&String> = report.detail.iter().filter(|line| line.contains("--repeat")).collect();
    assert!(noted.len() == 2 && noted[0].contains("--repeat 'pay[0]'") && noted[1].contains("--repeat 'all[1]/tell'"), "{noted:?}");
    // The more exact word counts, whatever the order.
    let words = [vec![("pay", StepAnswer::Repeat), ("tell", StepAnswer::Repeat)], words].concat();
    let (report, _) = finished(&rig, id(1), resume(id(1), words)).await;
    assert_eq!(report.outcome, RunOutcome::Ok, "{report:#?}");
    assert_eq!(output(&report), json!({"paid": ["pay a", "paid b"], "noted": ["noted c", "tell d"]}));
    let mut made = std::mem::take(&mut *log.lock().unwrap());
    made.sort();
    assert_eq!(made, ["pay a", "tell d"]);
    // A name without a number is about every item in doubt.
    let words = vec![("pay", done("paid")), ("all/tell", StepAnswer::Repeat)];
    let (report, _) = finished(&rig, id(2), resume(id(2), words)).await;
    assert_eq!(output(&report), json!({"paid": ["paid", "paid"], "noted": ["tell c", "tell d"]}), "{report:#?}");
    assert_eq!(log.lock().unwrap().len(), 2);
    rig.stop().await;
}

#[tokio::test]
async fn what_is_in_doubt_and_not_safe_waits_for_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let text = "name = \"w\"\n[[step]]\nid = \"pay\"\ntool = \"s_echo\"\narguments = { name = \"pay\" }\n[[step]]\nid = \"note\"\ntool = \"s_echo\"\narguments = { name = \"note {{ steps.pay.result.name }}\" }\n";
    let store = Store::open(&path, 0).unwrap();
    let log = Log::default();
    for run in [id(1), id(2), id(3)] {
        append(&store, run, [began(text)]).await.unwrap();
        append(&store, run, [sending("pay", None, r#"{"name":"pay"}"#)]).await.unwrap();
    }
    let rig = engine(&log, Arc::new(store));
    rig.ready("s").await;
    let resume = |run, answers| Command::ResumeRun { run, answers, ask: false, wait: false, timeout: None };
    let (report, _) = finished(&rig, id(1), resume(id(1), vec![])).await;
    assert_eq!((report.outcome, log.lock().unwrap().len()), (RunOutcome::InDoubt, 0), "{report:#?}");
    assert!(report.detail.iter().any(|line| line.contains("--repeat pay")), "{:?}", report.detail);
    // A resolution of another step would have no effect and is refused.
    let words = vec![("pay".into(), StepAnswer::Repeat), ("note".into(), StepAnswer::Repeat)];
    let (report, _) = finished(&rig, id(1), resume(id(1), words)).await;
    assert_eq!((report.outcome, log.lock().unwrap().len()), (RunOutcome::Invalid, 0), "{report:#?}");
    assert!(report.why.as_ref().is_some_and(|why| why.contains("`note` is not in doubt")), "{report:#?}");
    assert_eq!(report.detail, ["in doubt: pay; remove the others"]);
    // The run still exists and resumes with a resolution.
    let (report, _) = finished(&rig, id(1), resume(id(1), vec![("pay".into(), StepAnswer::Repeat)])).await;
    assert_eq!(report.outcome, RunOutcome::Ok);
    assert_eq!(std::mem::take(&mut *log.lock().unwrap()), ["pay", "note pay"]);
    let done = StepAnswer::Skip { result: Body::from(r#"{"name":"paid"}"#) };
    let (report, _) = finished(&rig, id(2), resume(id(2), vec![("pay".into(), done)])).await;
    assert_eq!(report.outcome, RunOutcome::Ok);
    assert_eq!(std::mem::take(&mut *log.lock().unwrap()), ["note paid"]);
    // Or the user is asked.
    let (_, mut tail) = rig.engine.watch();
    rig.command(Command::ResumeRun { run: id(3), answers: vec![], ask: true, wait: false, timeout: None });
    let report = loop {
        match &tail.next().await.unwrap().unwrap().kind {
            EventKind::AskOpened { ask } => {
                let content = Body::from(r#"{"action":"count as done","result":"{\"name\":\"known\"}"}"#);
                rig.command(Command::Answer { ask: ask.id, answer: Answer::Accept { content } });
            }
            EventKind::RunSettled { report, .. } => break report.clone(),
            _ => {}
        }
    };
    assert_eq!(report.outcome, RunOutcome::Ok);
    assert_eq!(std::mem::take(&mut *log.lock().unwrap()), ["note known"]);
    // One that has ended only says so.
    let (report, _) = finished(&rig, id(3), resume(id(3), vec![])).await;
    assert_eq!((report.outcome, log.lock().unwrap().len()), (RunOutcome::Ok, 0));
    rig.stop().await;
}

#[tokio::test]
async fn a_run_begins_again_at_a_step_with_what_was_there_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&dir.path().join("store.db"), 0).unwrap());
    let log = Log::default();
    let rig = engine(&log, store);
    let text = SAGA.replace("\"compensate\"", "\"fail\"");
    let (report, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(wanted(&text)) }).await;
    assert_eq!(report.outcome, RunOutcome::Failed);
    assert_eq!(report.not_compensated.len(), 2, "{:?}", report.not_compensated);
    let mut spec = wanted(&text.replace(", fail = true", ""));
    spec.from = Some(switchboard::domain::run::RunFrom { run: id(1), step: "c".into() });
    let (report, _) = finished(&rig, id(2), Command::StartRun { run: id(2), spec: Arc::new(spec) }).await;
    assert_eq!(report.outcome, RunOutcome::Ok, "{report:#?}");
    assert_eq!(*log.lock().unwrap(), ["a", "b", "c", "c", "d"]);
    assert!(report.step("a").unwrap().from_before() && !report.step("c").unwrap().from_before());
    rig.stop().await;
}

#[tokio::test]
async fn a_resumed_run_sends_the_idempotency_key_that_the_killed_process_sent() {
    let text = "name = \"w\"\n[[step]]\nid = \"pay\"\ntool = \"s_echo\"\narguments = { name = \"pay\" }\nidempotent = true";
    let log = Log::default();
    let first = engine(&log, Arc::new(NoJournal));
    first.engine.set_rules(keyed());
    finished(&first, id(1), Command::StartRun { run: id(1), spec: Arc::new(wanted(text)) }).await;
    first.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.sqlite"), 0).unwrap();
    append(&store, id(1), vec![began(text), sending("pay", None, r#"{"name":"pay"}"#)]).await.unwrap();
    let rig = engine(&log, Arc::new(store));
    rig.engine.set_rules(keyed());
    rig.ready("s").await;
    let resume = Command::ResumeRun { run: id(1), answers: vec![], ask: false, wait: false, timeout: None };
    let (report, _) = finished(&rig, id(1), resume).await;
    let sent = std::mem::take(&mut *log.lock().unwrap());
    assert_eq!((report.outcome, sent.len()), (RunOutcome::Ok, 2), "{report:#?}");
    assert!(sent[0].len() > "pay ".len() && sent[0] == sent[1], "{sent:?}");
    rig.stop().await;
}

#[tokio::test]
async fn a_kill_anywhere_in_the_undoing_of_nested_workflows_loses_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("runs.sqlite"), 0).unwrap();
    let log = Log::default();
    let rig = engine(&log, Arc::new(store.clone()));
    rig.ready("s").await;
    let spec = Arc::new(super::steps::nested_saga("['x', 'y']", "fail = true"));
    let (whole, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec }).await;
    assert_eq!(whole.outcome, RunOutcome::Compensated, "{whole:#?}");
    let all = std::mem::take(&mut *log.lock().unwrap());
    let record = store.run(id(1)).await.unwrap().unwrap();
    // Killed after each of its entries: what the journal has was done before.
    for (length, number) in (1..record.entries.len()).zip(100..) {
        let entries: Vec<RunEntry> = record.entries[..length].to_vec();
        let sent: Vec<String> = entries
            .iter()
            .filter_map(|entry| match entry {
                RunEntry::Sending { arguments, .. } => Some(arguments.value()?["name"].as_str()?.to_owned()),
                _ => None,
            })
            .collect();
        append(&store, id(number), entries).await.unwrap();
        let answers = [("last", StepAnswer::Repeat)].map(|(step, answer)| (step.to_owned(), answer));
        let resume = |answers| Command::ResumeRun { run: id(number), answers, ask: false, wait: false, timeout: None };
        let (mut report, _) = finished(&rig, id(number), resume(vec![])).await;
        if report.outcome == RunOutcome::InDoubt {
            // The last request is the one in doubt, forward or back.
            let doubtful: Vec<String> =
                report.detail.iter().filter_map(|line| line.split("--repeat ").nth(1)?.split(" to ").next()).map(str::to_owned).collect();
            let step = doubtful.first().map(|step| step.trim_matches('\'').to_owned()).unwrap_or_else(|| answers[0].0.clone());
            report = finished(&rig, id(number), resume(vec![(step, StepAnswer::Repeat)])).await.0;
        }
        let after = std::mem::take(&mut *log.lock().unwrap());
        assert_eq!((report.outcome, &report.compensated), (RunOutcome::Compensated, &whole.compensated), "after {length}: {report:#?}");
        assert!(after.iter().filter(|name| sent.contains(name)).count() <= 1, "only what was in doubt: {sent:?}, then {after:?}");
        let done: Vec<&String> = all.iter().filter(|name| !sent.contains(name) || after.contains(name)).collect();
        assert_eq!(after.iter().collect::<Vec<_>>(), done, "after {length} entries, with {sent:?} sent");
    }
    rig.stop().await;
}
