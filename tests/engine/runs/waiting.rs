//! Runs that wait for the answer of a person over processes, and runs that are undone later.

use super::*;

const ASKS: &str = r#"
    name = "w"
    [[step]]
    id = "before"
    tool = "s_echo"
    arguments = { name = "before" }
    [[step]]
    id = "sure"
    approve = "Really?"
    needs = ["before"]
    [[step]]
    id = "other"
    tool = "s_echo"
    arguments = { name = "other", ms = 50 }
    [[step]]
    id = "form"
    elicit = "Which?"
    schema = { type = "object", properties = { to = { type = "string" } }, required = ["to"] }
    needs = ["other"]
    [[step]]
    id = "after"
    tool = "s_echo"
    arguments = { name = "after {{ steps.form.result.to }}" }
    needs = ["sure", "form"]
"#;

fn waiting_run(text: &str) -> Command {
    Command::StartRun { run: id(1), spec: Arc::new(RunSpec { wait: true, ..wanted(text) }) }
}

fn resumed(answers: &[(&str, StepAnswer)]) -> Command {
    let answers = answers.iter().map(|(step, answer)| ((*step).to_owned(), answer.clone())).collect();
    Command::ResumeRun { run: id(1), answers, ask: false, wait: true, timeout: None }
}

#[tokio::test]
async fn a_run_waits_for_answers_and_goes_on_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db"), 0).unwrap();
    let log = Log::default();
    let rig = engine(&log, Arc::new(store.clone()));
    let (report, _) = finished(&rig, id(1), waiting_run(ASKS)).await;
    assert_eq!(report.outcome, RunOutcome::Waiting, "{report:#?}");
    let questions: Vec<_> =
        report.questions.iter().map(|question| (&*question.step, &*question.message, question.schema.is_some())).collect();
    assert_eq!(questions, [("sure", "Really?", false), ("form", "Which?", true)]);
    let states = states(&report);
    assert_eq!((states["before"], states["sure"], states["other"], states["after"]), ("ok", "waiting", "ok", "pending"));
    rig.stop().await;
    let record = store.run(id(1)).await.unwrap().unwrap();
    assert!(record.report().is_none() && record.questions().len() == 2, "{record:#?}");

    // One answer in another process: the other question stays open.
    let rig = engine(&log, Arc::new(store.clone()));
    let (report, _) = finished(&rig, id(1), resumed(&[("sure", StepAnswer::Approve)])).await;
    assert_eq!((report.outcome, report.questions.len()), (RunOutcome::Waiting, 1), "{report:#?}");
    rig.stop().await;
    assert_eq!(store.run(id(1)).await.unwrap().unwrap().questions()[0].message, "Which?");

    // The first answer is in the journal.
    let rig = engine(&log, Arc::new(store.clone()));
    let content = StepAnswer::Content { content: Body::from(r#"{"to":"all"}"#) };
    let (report, _) = finished(&rig, id(1), resumed(&[("form", content)])).await;
    assert_eq!(report.outcome, RunOutcome::Ok, "{report:#?}");
    assert_eq!(*log.lock().unwrap(), ["before", "other", "after all"], "nothing is repeated");
    rig.stop().await;
}

#[tokio::test]
async fn a_declined_question_and_one_that_nobody_may_answer_end_the_run() {
    for (spec, answers) in [
        (RunSpec { wait: true, answers: vec![("sure".into(), StepAnswer::Decline)], ..wanted(ASKS) }, "declined"),
        (wanted(ASKS), "refused without a person"),
    ] {
        let log = Log::default();
        let rig = engine(&log, Arc::new(NoJournal));
        let (report, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(spec) }).await;
        assert_eq!(report.outcome, RunOutcome::Refused, "{answers}: {report:#?}");
        rig.stop().await;
    }
}

#[tokio::test]
async fn a_question_of_a_nested_workflow_suspends_the_whole_run() {
    let inner = "name = \"inner\"\n[input]\nto = \"string\"\n[[step]]\nid = \"ok\"\napprove = \"Send to {{ input.to }}?\"\n";
    let outer =
        "name = \"w\"\n[[step]]\nid = \"all\"\nworkflow = \"inner\"\nfor_each = [\"a\", \"b\"]\narguments = { to = \"{{ item }}\" }\n";
    let text = |name: &str, text: &str| WorkflowText { name: name.into(), file: format!("{name}.toml"), text: text.into() };
    let spec = RunSpec { wait: true, ..RunSpec::new("w", [text("w", outer), text("inner", inner)], Body::from("{}"), Origin::Cli) };
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db"), 0).unwrap();
    let log = Log::default();
    let rig = engine(&log, Arc::new(store.clone()));
    let (report, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(spec) }).await;
    assert_eq!((report.outcome, states(&report)["all"]), (RunOutcome::Waiting, "waiting"), "{report:#?}");
    let mut paths: Vec<String> = report.questions.iter().map(|question| question.step.to_string()).collect();
    paths.sort();
    assert_eq!(paths, ["all[0]/ok", "all[1]/ok"]);
    let answers = [("all[0]/ok", StepAnswer::Approve), ("all[1]/ok", StepAnswer::Approve)];
    let (report, _) = finished(&rig, id(1), resumed(&answers)).await;
    assert_eq!(report.outcome, RunOutcome::Ok, "{report:#?}");
    rig.stop().await;
}

/// A saga whose undo fails as long as the server says so.
const UNDO: &str = r#"
    name = "w"
    on_error = "compensate"
    [[step]]
    id = "a"
    tool = "s_echo"
    arguments = { name = "a" }
    compensate = { tool = "s_echo", arguments = { name = "undo a" } }
    [[step]]
    id = "b"
    tool = "s_echo"
    needs = ["a"]
    arguments = { name = "b" }
    compensate = { tool = "s_echo", arguments = { name = "undo b", fail = true } }
    [[step]]
    id = "c"
    tool = "s_echo"
    needs = ["b"]
    arguments = { name = "c", fail = true }
"#;

#[tokio::test]
async fn an_undo_that_failed_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db"), 0).unwrap();
    let log = Log::default();
    let rig = engine(&log, Arc::new(store.clone()));
    let (report, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(wanted(UNDO)) }).await;
    assert_eq!(report.outcome, RunOutcome::CompensationFailed, "{report:#?}");
    let resume = Command::ResumeRun { run: id(1), answers: vec![], ask: false, wait: false, timeout: None };
    let (report, _) = finished(&rig, id(1), resume).await;
    assert!(report.detail.iter().any(|line| line.contains("runs undo")), "{report:#?}");
    let undo = || Command::UndoRun { run: id(1), answers: vec![], ask: false };
    log.lock().unwrap().clear();
    let (report, _) = finished(&rig, id(1), undo()).await;
    assert_eq!(*log.lock().unwrap(), ["undo b"], "what is undone is not undone again");
    assert_eq!(report.outcome, RunOutcome::CompensationFailed, "{report:#?}");
    assert_eq!(report.not_compensated.iter().map(|(step, _)| step.as_str()).collect::<Vec<_>>(), ["b"]);
    rig.stop().await;

    // The cause is gone.
    let mut record = store.run(id(1)).await.unwrap().unwrap();
    let Some(RunEntry::Began { spec, .. }) = record.entries.first_mut() else { panic!("{record:#?}") };
    let repaired = wanted(&UNDO.replace("name = \"undo b\", fail = true", "name = \"undo b\""));
    *spec = Arc::new(repaired);
    let other = Store::open(&dir.path().join("other.db"), 0).unwrap();
    append(&other, id(1), record.entries).await.unwrap();
    let rig = engine(&log, Arc::new(other.clone()));
    let (report, _) = finished(&rig, id(1), undo()).await;
    assert_eq!(report.outcome, RunOutcome::Compensated, "{report:#?}");
    assert_eq!((report.compensated.as_slice(), report.not_compensated.len()), (&["a".to_owned(), "b".into()][..], 0), "{report:#?}");
    assert_eq!(other.run(id(1)).await.unwrap().unwrap().report().map(|report| report.outcome), Some(RunOutcome::Compensated));
    rig.stop().await;
}

#[tokio::test]
async fn what_was_sent_before_a_kill_is_listed_as_not_undone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db"), 0).unwrap();
    let end = StepRecord { result: Some(Body::from("{}")), ..StepRecord::new(StepOutcome::Ok) };
    let entries = [began(UNDO), RunEntry::StepEnded { step: "a".into(), end }, sending("b", None, "{}")];
    append(&store, id(1), entries).await.unwrap();
    let log = Log::default();
    let rig = engine(&log, Arc::new(store));
    let (report, _) = finished(&rig, id(1), Command::UndoRun { run: id(1), answers: vec![], ask: false }).await;
    assert_eq!(*log.lock().unwrap(), ["undo a"]);
    assert_eq!((report.outcome, report.compensated.as_slice()), (RunOutcome::CompensationFailed, &["a".to_owned()][..]), "{report:#?}");
    assert!(report.not_compensated.iter().any(|(step, why)| step == "b" && why.contains("may have taken effect")), "{report:#?}");
    rig.stop().await;
}

#[tokio::test]
async fn a_report_names_the_items_that_failed() {
    let text = r#"
        name = "w"
        [[step]]
        id = "each"
        tool = "s_echo"
        for_each = "{{ range(10) }}"
        on_item_error = "continue"
        arguments = { name = "i{{ item }}", fail = "{{ item in [3, 7] }}" }
    "#;
    let (report, ..) = ran(text).await;
    let view = report.step("each").unwrap();
    let items: Vec<u32> = view.failed_items.iter().map(|failed| failed.item).collect();
    assert_eq!((report.outcome, items), (RunOutcome::Partial, vec![3, 7]), "{report:#?}");
    assert!(view.failed_items.iter().all(|failed| failed.error.message.contains("said")), "{report:#?}");
}
