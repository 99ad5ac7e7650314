//! Cancelled runs and steps.

use super::*;

#[tokio::test(start_paused = true)]
async fn cancelling_leaves_nothing_running_and_undoes() {
    let text = SAGA.replace(r#"name = "c", fail = true"#, r#"name = "c", ms = 60000"#);
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    let (_, mut tail) = rig.engine.watch();
    rig.command(Command::StartRun { run: id(1), spec: Arc::new(wanted(&text)) });
    let mut sent = 0;
    let report = loop {
        match &tail.next().await.unwrap().unwrap().kind {
            EventKind::CallSent { .. } => {
                sent += 1;
                if sent == 3 {
                    rig.command(Command::CancelRun { run: id(1), reason: "enough".into() });
                }
            }
            EventKind::RunSettled { report, .. } => break report.clone(),
            _ => {}
        }
    };
    assert_eq!((report.outcome, report.why.as_deref()), (RunOutcome::Cancelled, Some("enough")));
    assert_eq!(report.compensated, ["b", "a"]);
    assert_eq!(states(&report)["c"], "cancelled");
    assert_eq!(rig.read_model().running, 0);
    assert_eq!(*log.lock().unwrap(), ["a", "b", "c", "undo b", "undo a"]);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn one_step_is_cancelled_and_the_run_goes_on_as_the_step_says() {
    let text = r#"
        name = "w"
        [[step]]
        id = "slow"
        tool = "s_echo"
        on_error = "continue"
        arguments = { name = "slow", ms = 60000 }
        [[step]]
        id = "after"
        needs = ["slow"]
        tool = "s_echo"
        arguments = { name = "after {{ steps.slow.outcome }}" }
    "#;
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    let (_, mut tail) = rig.engine.watch();
    rig.command(Command::StartRun { run: id(1), spec: Arc::new(wanted(text)) });
    let report = loop {
        match &tail.next().await.unwrap().unwrap().kind {
            EventKind::CallSent { .. } if log.lock().unwrap().len() == 1 => {
                rig.command(Command::CancelStep { run: id(1), step: "slow".into(), reason: "not needed".into() });
            }
            EventKind::RunSettled { report, .. } => break report.clone(),
            _ => {}
        }
    };
    assert_eq!(report.step("slow").unwrap().state, StepState::Cancelled { why: "not needed".into() });
    assert_eq!(*log.lock().unwrap(), ["slow", "after cancelled"]);
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_run_and_of_a_step_ends() {
    let slow = "[[step]]\nid = \"a\"\ntool = \"s_echo\"\narguments = { name = \"a\", ms = 20000 }\n";
    let (report, _, _) = ran(&format!("name = \"w\"\ntimeout = \"5s\"\n{slow}")).await;
    assert_eq!((report.outcome, report.why.as_deref()), (RunOutcome::TimedOut, Some("its time was up (5.00 s)")));
    let (report, _, _) = ran(&format!("name = \"w\"\n{slow}timeout = \"3s\"")).await;
    assert_eq!(report.outcome, RunOutcome::Failed);
    assert!(report.took() >= Duration::from_secs(3) && report.took() < Duration::from_secs(4), "{:?}", report.took());
}

/// Two steps to be undone, of which undoing the second takes long, and a third that fails.
fn slow_to_undo() -> String {
    SAGA.replacen("{{ result.name }}\" }", "{{ result.name }}\", ms = 0 }", 1).replacen(
        "{{ result.name }}\" }",
        "{{ result.name }}\", ms = 5000 }",
        1,
    )
}

/// Runs a workflow and cancels the run once the server got the requests in `words`, one request per occurrence.
async fn given_up_at(text: &str, words: &[&str]) -> (Arc<RunReport>, Vec<String>) {
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    let (_, mut tail) = rig.engine.watch();
    rig.command(Command::StartRun { run: id(1), spec: Arc::new(wanted(text)) });
    let mut left = words.to_vec();
    let report = loop {
        let event = tail.next().await.unwrap().unwrap();
        if let EventKind::RunSettled { report, .. } = &event.kind {
            break report.clone();
        }
        while left.first().is_some_and(|next| log.lock().unwrap().last().is_some_and(|last| last == next)) {
            left.remove(0);
            rig.command(Command::CancelRun { run: id(1), reason: "enough".into() });
        }
    };
    assert!(left.is_empty(), "never came to {left:?}");
    rig.stop().await;
    let log = log.lock().unwrap().clone();
    (report, log)
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_when_a_run_was_given_up_is_told_as_perhaps_done() {
    let charge = r#"
        name = "w"
        [[step]]
        id = "charge"
        tool = "s_echo"
        arguments = { name = "charge", ms = 60000 }
        compensate = { tool = "s_echo", arguments = { name = "refund" } }
    "#;
    let told = |report: &RunReport| {
        let [(step, why)] = report.not_compensated.as_slice() else { panic!("{report:#?}") };
        assert!(step == "charge" && why.contains("may have taken effect"), "{report:#?}");
    };
    let (report, log) = given_up_at(charge, &["charge"]).await;
    assert_eq!((report.outcome, log.as_slice()), (RunOutcome::Cancelled, ["charge".to_owned()].as_slice()), "{report:#?}");
    told(&report);
    let (report, _, _) = ran(&charge.replace("name = \"w\"", "name = \"w\"\ntimeout = \"1s\"")).await;
    assert_eq!(report.outcome, RunOutcome::TimedOut, "{report:#?}");
    told(&report);
    // The last attempt was never sent, an earlier one was.
    let broken = charge.replace("ms = 60000", "drop = true");
    let (report, _, _) = ran(&broken).await;
    assert_eq!(report.outcome, RunOutcome::Failed);
    told(&report);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_given_up_while_it_undoes_goes_on_undoing_until_that_is_given_up_too() {
    let text = slow_to_undo();
    let (report, log) = given_up_at(&text, &["undo b"]).await;
    assert_eq!(log, ["a", "b", "c", "undo b", "undo a"]);
    assert_eq!((report.outcome, report.compensated.len()), (RunOutcome::Compensated, 2), "{report:#?}");
    let (report, log) = given_up_at(&text, &["undo b", "undo b"]).await;
    assert_eq!(log, ["a", "b", "c", "undo b"]);
    assert_eq!(report.outcome, RunOutcome::CompensationFailed, "{report:#?}");
    assert_eq!(report.not_compensated.len(), 2, "{report:#?}");
}
