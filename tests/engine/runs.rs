//! Runs of workflows over connections in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use switchboard::{
    domain::{
        ask::Answer,
        body::Body,
        call::{Failure, FailureKind, Origin},
        event::{Event, EventKind},
        journal::{RunEntry, RunRecord},
        run::{Purpose, RunId, RunOutcome, RunReport, RunSpec, StepAnswer, StepState, WorkflowText},
        time::{Epoch, Stamp},
        world::Keep,
    },
    engine::{
        Engine, EngineOptions,
        control::{Command, Control},
        ports::{Journal, JournalError, NoJournal, Reply},
    },
    store::Store,
};
use tokio::sync::Notify;

use crate::{
    fake::{Behaviour, Fake, spec},
    support::{PATIENCE, Rig},
};

/// What the server was asked to do, in order: the `name` argument of each call.
type Log = Arc<Mutex<Vec<String>>>;

/// A server whose tool `echo` does as its arguments say: `ms` to sleep, `fail` to answer an error,
/// `drop` to answer nothing useful; otherwise it gives its arguments back.
fn server(log: &Log) -> Arc<Fake> {
    let log = log.clone();
    let behaviour = Arc::new(Behaviour::new(move |request, flow, host| {
        let log = log.clone();
        async move {
            let params: Value = request.params.value().unwrap_or_default();
            let arguments = params["arguments"].clone();
            flow.sent(host.now(), 1);
            log.lock().unwrap().push(arguments["name"].as_str().unwrap_or("?").to_owned());
            tokio::time::sleep(Duration::from_millis(arguments["ms"].as_u64().unwrap_or(0))).await;
            if arguments["drop"] == true {
                return Err(Failure::after_send(FailureKind::Transport, "the connection broke"));
            }
            let error = arguments["fail"] == true;
            let result = json!({"content": [{"type": "text", "text": format!("said {}", arguments["name"])}], "structuredContent": arguments, "isError": error});
            Ok(Reply { result: Body::json(&result), first_byte: host.now(), last_byte: host.now(), sent_bytes: 1, received_bytes: 1 })
        }
    }));
    Fake::new(move |_| crate::fake::Plan::Serve(Duration::ZERO, behaviour.clone()))
}

fn engine(log: &Log, journal: Arc<dyn Journal>) -> Rig {
    let options = EngineOptions {
        epoch: Epoch { unix_ms: 1_700_000_000_000, utc_offset_s: 0 },
        separator: "_".into(),
        keep: Keep::default(),
        seed: None,
    };
    let engine = Engine::journaled(options, server(log), journal);
    engine.apply(vec![spec("s")]);
    Rig { engine }
}

pub fn wanted(text: &str) -> RunSpec {
    let source = WorkflowText { name: "w".into(), file: "w.toml".into(), text: text.into() };
    RunSpec {
        workflow: "w".into(),
        sources: Arc::new([source]),
        input: Body::from("{}"),
        origin: Origin::Cli,
        timeout: None,
        set: vec![],
        answers: vec![],
        ask: false,
        from: None,
        env: Default::default(),
    }
}

pub fn id(number: u64) -> RunId {
    RunId::new(number, 7)
}

/// A run to its end, and every event of it.
pub async fn finished(rig: &Rig, run: RunId, command: Command) -> (Arc<RunReport>, Vec<Arc<Event>>) {
    let (_, mut tail) = rig.engine.watch();
    rig.command(command);
    let mut events = vec![];
    let waiting = async {
        loop {
            let event = tail.next().await.unwrap().unwrap();
            events.push(event.clone());
            match &event.kind {
                EventKind::RunSettled { run: ended, report } if *ended == run => return report.clone(),
                _ => {}
            }
        }
    };
    let report = tokio::time::timeout(PATIENCE * 100, waiting).await.expect("the run ends");
    (report, events)
}

async fn ran(text: &str) -> (Arc<RunReport>, Vec<Arc<Event>>, Vec<String>) {
    let log = Log::default();
    let rig = engine(&log, Arc::new(NoJournal));
    let (report, events) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(wanted(text)) }).await;
    rig.stop().await;
    let log = log.lock().unwrap().clone();
    (report, events, log)
}

pub fn output(report: &RunReport) -> Value {
    report.output.as_ref().and_then(Body::value).unwrap_or_else(|| panic!("no output: {report:#?}"))
}

fn states(report: &RunReport) -> BTreeMap<String, &'static str> {
    report.steps.iter().map(|(step, view)| (step.to_string(), view.state.word())).collect()
}

/// When each call of a step was sent and settled, by step.
pub fn spans(events: &[Arc<Event>]) -> BTreeMap<String, (Stamp, Stamp)> {
    let mut steps = BTreeMap::new();
    let mut spans = BTreeMap::new();
    for event in events {
        match &event.kind {
            EventKind::CallQueued { call, spec } => {
                let step = spec.run.as_ref().expect("a call of the run").step.to_string();
                steps.insert(*call, step);
            }
            EventKind::CallSettled { call, settled } => {
                spans.insert(steps[call].clone(), (settled.timings.sent.unwrap(), settled.timings.settled));
            }
            _ => {}
        }
    }
    spans
}

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

const SAGA: &str = r#"
    name = "w"
    on_error = "compensate"
    [[step]]
    id = "a"
    tool = "s_echo"
    arguments = { name = "a" }
    compensate = { tool = "s_echo", arguments = { name = "undo {{ result.name }}" } }
    [[step]]
    id = "b"
    needs = ["a"]
    tool = "s_echo"
    arguments = { name = "b" }
    compensate = { tool = "s_echo", arguments = { name = "undo {{ result.name }}" } }
    [[step]]
    id = "c"
    needs = ["b"]
    tool = "s_echo"
    arguments = { name = "c", fail = true }
    [[step]]
    id = "d"
    needs = ["c"]
    tool = "s_echo"
    arguments = { name = "d" }
"#;

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
            let (world, mut tail) = rig.engine.watch();
            most = most.max(world.running);
            let run = world.runs.get(id(1)).cloned();
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
    assert!((2..=8).contains(&most), "{most} at once");
    assert_eq!(report.outcome, RunOutcome::Partial);
    assert_eq!(output(&report), json!({"count": 10_000, "failed": 10, "third": 3}));
    let items = report.step("a").unwrap().items.unwrap();
    assert_eq!((items.total, items.done, items.failed), (10_000, 10_000, 10));
    assert_eq!(log.lock().unwrap().len(), 10_000);
    rig.stop().await;
}

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
    assert_eq!(rig.world().running, 0);
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

/// A run that is given up when `words` was asked of the server, as often as they stand there.
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
        assert!(step == "charge" && why.contains("may have been done all the same"), "{report:#?}");
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
    let behaviour = Arc::new(Behaviour::new(move |_, flow, host| {
        let count = counting.clone();
        async move {
            flow.sent(host.now(), 1);
            *count.lock().unwrap() += 1;
            let state = if *count.lock().unwrap() < 3 { "busy" } else { "ready" };
            let result = Body::json(&json!({"content": [], "structuredContent": {"state": state}}));
            Ok(Reply { result, first_byte: host.now(), last_byte: host.now(), sent_bytes: 1, received_bytes: 1 })
        }
    }));
    let options = EngineOptions { epoch: Epoch { unix_ms: 1, utc_offset_s: 0 }, separator: "_".into(), keep: Keep::default(), seed: None };
    let fake = Fake::new(move |_| crate::fake::Plan::Serve(Duration::ZERO, behaviour.clone()));
    let engine = Engine::journaled(options, fake, Arc::new(NoJournal));
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
    // What was as expected is kept.
    let (report, _) = finished(&rig, id(2), Command::StartRun { run: id(2), spec: Arc::new(wanted(text)) }).await;
    assert_eq!((report.outcome, *count.lock().unwrap()), (RunOutcome::Ok, 3), "{report:#?}");
    rig.stop().await;
}

#[tokio::test]
async fn a_run_that_was_given_up_and_killed_while_it_undid_does_not_go_forward_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db"), 0).unwrap();
    let text = SAGA.replace(", fail = true", "");
    let end = |name: &str| switchboard::domain::journal::StepRecord {
        outcome: switchboard::domain::journal::StepOutcome::Ok,
        result: Some(Body::json(&json!({ "name": name }))),
        text: None,
        duration_ms: 1,
        error: None,
        fallback: None,
        nothing_done: false,
        in_doubt: false,
        items: None,
    };
    for entry in [
        RunEntry::Began { spec: Arc::new(wanted(&text)), unix_ms: 1 },
        RunEntry::StepEnded { step: "a".into(), end: end("a") },
        RunEntry::StepEnded { step: "b".into(), end: end("b") },
        RunEntry::GivenUp { prefix: String::new(), time_up: false, undo: true, why: "enough".into() },
        RunEntry::Undone { step: "b".into(), item: None, error: None },
    ] {
        store.write(id(1), Arc::new([entry])).await.unwrap();
    }
    let log = Log::default();
    let rig = engine(&log, Arc::new(store));
    rig.ready("s").await;
    let resume = Command::ResumeRun { run: id(1), answers: vec![], ask: false, timeout: None };
    let (report, _) = finished(&rig, id(1), resume).await;
    assert_eq!(*log.lock().unwrap(), ["undo a"]);
    assert_eq!((report.outcome, report.why.as_deref()), (RunOutcome::Cancelled, Some("enough")), "{report:#?}");
    assert_eq!(report.compensated, ["b", "a"]);
    rig.stop().await;
}

#[tokio::test]
async fn a_run_that_another_process_has_is_not_taken_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let log = Log::default();
    let (one, other) = (Store::open(&path, 0).unwrap(), Store::open(&path, 0).unwrap());
    one.write(id(1), Arc::new([RunEntry::Began { spec: Arc::new(wanted(SAGA)), unix_ms: 1 }])).await.unwrap();
    // A lock on a file is the same for another process as for another handle in this one.
    let held = one.hold(id(1)).await.unwrap();
    assert!(held.is_some());
    let rig = engine(&log, Arc::new(other));
    rig.ready("s").await;
    let resume = || Command::ResumeRun { run: id(1), answers: vec![], ask: false, timeout: None };
    let (report, _) = finished(&rig, id(1), resume()).await;
    assert_eq!((report.outcome, log.lock().unwrap().len()), (RunOutcome::Invalid, 0), "{report:#?}");
    assert!(report.why.as_deref().is_some_and(|why| why.contains("under way in another process")), "{report:#?}");
    drop(held);
    let (report, _) = finished(&rig, id(1), resume()).await;
    assert_eq!(report.outcome, RunOutcome::Compensated, "{report:#?}");
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
    // Nobody there.
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
    assert!(rig.world().asks.is_empty());
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

/// A journal after which the world stops: the entry of this number is written, and nothing happens after.
struct Fatal {
    store: Store,
    left: Mutex<Option<usize>>,
    stopped: Notify,
}

#[async_trait::async_trait]
impl Journal for Fatal {
    async fn write(&self, run: RunId, entries: Arc<[RunEntry]>) -> Result<(), JournalError> {
        // One by one, so that the world can also stop between entries that are written together.
        for entry in entries.iter() {
            let left = {
                let mut left = self.left.lock().unwrap();
                let before = *left;
                *left = before.map(|left| left.saturating_sub(1));
                before
            };
            if left == Some(0) {
                return std::future::pending().await;
            }
            self.store.write(run, Arc::new([entry.clone()])).await?;
            if left == Some(1) {
                self.stopped.notify_one();
                std::future::pending::<()>().await;
            }
        }
        Ok(())
    }

    async fn load(&self, run: RunId) -> Result<Option<RunRecord>, JournalError> {
        self.store.load(run).await
    }
}

/// Six steps, one of them over items, one side by side with another; the last one fails and two are undone.
const SIX: &str = r#"
    name = "w"
    max_parallel = 1
    on_error = "compensate"
    [[step]]
    id = "a"
    tool = "s_echo"
    idempotent = true
    arguments = { name = "a" }
    compensate = { tool = "s_echo", arguments = { name = "undo a" } }
    [[step]]
    id = "b"
    needs = ["a"]
    tool = "s_echo"
    idempotent = true
    arguments = { name = "b {{ steps.a.result.name }}" }
    [[step]]
    id = "c"
    needs = ["b"]
    tool = "s_echo"
    idempotent = true
    for_each = "{{ [1, 2, 3] }}"
    arguments = { name = "c{{ item }}" }
    compensate = { tool = "s_echo", arguments = { name = "undo {{ result.name }}" } }
    [[step]]
    id = "d"
    needs = ["a"]
    tool = "s_echo"
    when = "steps.a.result.name == 'x'"
    arguments = { name = "d" }
    [[step]]
    id = "e"
    needs = ["c"]
    tool = "s_echo"
    idempotent = true
    arguments = { name = "e", fail = true }
    retry = { attempts = 2, backoff = "1ms", on = ["tool_error"] }
    fallback = { value = { name = "instead" } }
    [[step]]
    id = "f"
    needs = ["e"]
    tool = "s_echo"
    idempotent = true
    arguments = { name = "f {{ steps.e.result.name }}", fail = FAIL }
"#;

/// The run killed at every entry of its journal and resumed each time.
async fn killed_everywhere(text: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    // How it goes when nothing happens.
    let whole = Log::default();
    let rig = engine(&whole, Arc::new(Store::open(&path, 0).unwrap()));
    let (expected, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(wanted(text)) }).await;
    rig.stop().await;
    let whole = whole.lock().unwrap().clone();
    let entries = Store::open(&path, 0).unwrap().load(id(1)).await.unwrap().unwrap().entries.len();
    assert!(entries > 15, "{entries}");
    for kill in 1..entries {
        let (log, run) = (Log::default(), id(1000 + kill as u64));
        let fatal = Arc::new(Fatal { store: Store::open(&path, 0).unwrap(), left: Mutex::new(Some(kill)), stopped: Notify::new() });
        // A runtime of its own, so that everything of the first life ends where it stands.
        let first = {
            let (log, fatal, text) = (log.clone(), fatal.clone(), text.to_owned());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let rig = engine(&log, fatal.clone());
                    rig.command(Command::StartRun { run, spec: Arc::new(wanted(&text)) });
                    fatal.stopped.notified().await;
                });
                runtime.shutdown_background();
            })
        };
        first.join().unwrap();
        let settled: Vec<String> = log.lock().unwrap().clone();
        let store = Store::open(&path, 0).unwrap();
        // Compensations are nobody's to vouch for: what is in doubt there is said to be repeated.
        let open = store.load(run).await.unwrap().unwrap().in_doubt();
        let undoing = open.into_iter().filter(|(place, ..)| place.purpose == Purpose::Compensation);
        let answers = undoing.map(|(place, ..)| (place.step.to_string(), StepAnswer::Repeat)).collect();
        let rig = engine(&log, Arc::new(store));
        let (report, _) = finished(&rig, run, Command::ResumeRun { run, answers, ask: false, timeout: None }).await;
        rig.stop().await;
        let log = log.lock().unwrap().clone();
        let what = format!("killed at entry {kill}: {settled:?} then {log:?}");
        assert_eq!((report.outcome, &report.output, states(&report)), (expected.outcome, &expected.output, states(&expected)), "{what}");
        assert_eq!((&report.compensated, &report.not_compensated), (&expected.compensated, &expected.not_compensated), "{what}");
        // Every call once: what was in doubt had not been sent, since the kill came between its entry and the call.
        let mut rest = log.clone();
        for call in &whole {
            let at = rest.iter().position(|made| made == call).unwrap_or_else(|| panic!("{call} is missing: {what}"));
            rest.remove(at);
        }
        assert!(rest.is_empty(), "repeated {rest:?}: {what}");
    }
}

#[tokio::test]
async fn a_run_killed_at_any_entry_of_its_journal_ends_the_same() {
    killed_everywhere(&SIX.replace("FAIL", "false")).await;
}

#[tokio::test]
async fn a_run_killed_while_it_undoes_ends_the_same() {
    killed_everywhere(&SIX.replace("FAIL", "true")).await;
}

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
        told = "{{ steps.all.result | map(attribute='name') | list }}"
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
        store.write(run, Arc::new([RunEntry::Began { spec: spec.clone(), unix_ms: 1 }])).await.unwrap();
        for (step, item) in [("pay", Some(0)), ("pay", Some(1)), ("all[0]/tell", None), ("all[1]/tell", None)] {
            let place = switchboard::domain::journal::Place { step: step.into(), item, purpose: Purpose::Step };
            let sending = RunEntry::Sending { place, attempt: 1, what: "s_echo".into(), arguments: Body::from("{}") };
            store.write(run, Arc::new([sending])).await.unwrap();
        }
    }
    let rig = engine(&log, Arc::new(store));
    rig.ready("s").await;
    let done = |name: &str| StepAnswer::Skip { result: Body::json(&json!({"name": name})) };
    let resume = |run, answers: Vec<(&str, StepAnswer)>| Command::ResumeRun {
        run,
        answers: answers.into_iter().map(|(step, answer)| (step.to_owned(), answer)).collect(),
        ask: false,
        timeout: None,
    };
    let words = vec![("pay[1]", done("paid b")), ("all[0]/tell", done("told c"))];
    let (report, _) = finished(&rig, id(1), resume(id(1), words.clone())).await;
    assert_eq!((report.outcome, log.lock().unwrap().len()), (RunOutcome::InDoubt, 0), "{report:#?}");
    let told: Vec<&String> = report.detail.iter().filter(|line| line.contains("--repeat")).collect();
    assert!(told.len() == 2 && told[0].contains("--repeat 'pay[0]'") && told[1].contains("--repeat 'all[1]/tell'"), "{told:?}");
    // The more exact word counts, whatever the order.
    let words = [vec![("pay", StepAnswer::Repeat), ("tell", StepAnswer::Repeat)], words].concat();
    let (report, _) = finished(&rig, id(1), resume(id(1), words)).await;
    assert_eq!(report.outcome, RunOutcome::Ok, "{report:#?}");
    assert_eq!(output(&report), json!({"paid": ["pay a", "paid b"], "told": ["told c", "tell d"]}));
    let mut made = std::mem::take(&mut *log.lock().unwrap());
    made.sort();
    assert_eq!(made, ["pay a", "tell d"]);
    // A name without a number is about every item in doubt.
    let words = vec![("pay", done("paid")), ("all/tell", StepAnswer::Repeat)];
    let (report, _) = finished(&rig, id(2), resume(id(2), words)).await;
    assert_eq!(output(&report), json!({"paid": ["paid", "paid"], "told": ["tell c", "tell d"]}), "{report:#?}");
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
    let began = RunEntry::Began { spec: Arc::new(wanted(text)), unix_ms: 1 };
    let place = switchboard::domain::journal::Place { step: "pay".into(), item: None, purpose: Purpose::Step };
    let sending = RunEntry::Sending { place, attempt: 1, what: "s_echo".into(), arguments: Body::from(r#"{"name":"pay"}"#) };
    for run in [id(1), id(2), id(3)] {
        store.write(run, Arc::new([began.clone()])).await.unwrap();
        store.write(run, Arc::new([sending.clone()])).await.unwrap();
    }
    let rig = engine(&log, Arc::new(store));
    rig.ready("s").await;
    let resume = |run, answers| Command::ResumeRun { run, answers, ask: false, timeout: None };
    let (report, _) = finished(&rig, id(1), resume(id(1), vec![])).await;
    assert_eq!((report.outcome, log.lock().unwrap().len()), (RunOutcome::InDoubt, 0), "{report:#?}");
    assert!(report.detail.iter().any(|line| line.contains("--repeat pay")), "{:?}", report.detail);
    // A word about another step would do nothing, and is refused.
    let words = vec![("pay".into(), StepAnswer::Repeat), ("note".into(), StepAnswer::Repeat)];
    let (report, _) = finished(&rig, id(1), resume(id(1), words)).await;
    assert_eq!((report.outcome, log.lock().unwrap().len()), (RunOutcome::Invalid, 0), "{report:#?}");
    assert!(report.why.as_ref().is_some_and(|why| why.contains("`note` is not in doubt")), "{report:#?}");
    assert_eq!(report.detail, ["in doubt: pay; leave out the others"]);
    // It is still there, and goes on with a word.
    let (report, _) = finished(&rig, id(1), resume(id(1), vec![("pay".into(), StepAnswer::Repeat)])).await;
    assert_eq!(report.outcome, RunOutcome::Ok);
    assert_eq!(std::mem::take(&mut *log.lock().unwrap()), ["pay", "note pay"]);
    let done = StepAnswer::Skip { result: Body::from(r#"{"name":"paid"}"#) };
    let (report, _) = finished(&rig, id(2), resume(id(2), vec![("pay".into(), done)])).await;
    assert_eq!(report.outcome, RunOutcome::Ok);
    assert_eq!(std::mem::take(&mut *log.lock().unwrap()), ["note paid"]);
    // Or the user is asked.
    let (_, mut tail) = rig.engine.watch();
    rig.command(Command::ResumeRun { run: id(3), answers: vec![], ask: true, timeout: None });
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
    let settled = rig.engine.call(CallSpec::tool(ToolId::new("s".into(), "echo"), r#"{"drop":true}"#, Origin::Cli)).1.await.unwrap();
    assert!(matches!(settled.outcome, switchboard::domain::call::Outcome::Failed { .. }), "{settled:?}");
    let keys = log.lock().unwrap().clone();
    assert!(keys.len() >= 3 && keys[0] != "?", "{keys:?}");
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    rig.stop().await;
}

/// A journal on a disk that is full from this entry on, for as long as it says so.
struct Full {
    store: Store,
    room: Mutex<usize>,
}

#[async_trait::async_trait]
impl Journal for Full {
    async fn write(&self, run: RunId, entries: Arc<[RunEntry]>) -> Result<(), JournalError> {
        {
            let mut room = self.room.lock().unwrap();
            if *room < entries.len() {
                *room = 0;
                return Err(JournalError("no space left".into()));
            }
            *room -= entries.len();
        }
        self.store.write(run, entries).await
    }

    async fn load(&self, run: RunId) -> Result<Option<RunRecord>, JournalError> {
        self.store.load(run).await
    }
}

#[tokio::test]
async fn a_journal_that_cannot_be_written_ends_the_run_wherever_it_happens_and_nothing_more_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let text = r#"
        name = "w"
        [[step]]
        id = "a"
        tool = "s_echo"
        arguments = { name = "a" }
        [[step]]
        id = "b"
        tool = "s_echo"
        arguments = { name = "b {{ steps.a.result.name }}" }
    "#;
    // Its beginning, a request and an end for each step, its own end.
    for room in 0..6 {
        let (log, run) = (Log::default(), id(100 + room as u64));
        let rig = engine(&log, Arc::new(Full { store: Store::open(&path, 0).unwrap(), room: Mutex::new(room) }));
        let (report, _) = finished(&rig, run, Command::StartRun { run, spec: Arc::new(wanted(text)) }).await;
        rig.stop().await;
        let sent = log.lock().unwrap().len();
        // Each request was written before it was sent; an end that has no room takes along the request behind it.
        assert_eq!(sent, [0, 0, 1, 1, 2, 2][room], "{room}");
        if room < 4 {
            assert_eq!(report.outcome, RunOutcome::Failed, "{room}");
            assert!(report.why.as_deref().unwrap().contains("no space left"), "{room}: {:?}", report.why);
        }
        if room < 1 {
            continue;
        }
        // With room again, the run is gone on with: what was done and is not written is in doubt.
        let rig = engine(&log, Arc::new(Store::open(&path, 0).unwrap()));
        let step = ["", "a", "a", "a", "b", "b"][room];
        let answers = vec![(step.to_owned(), StepAnswer::Repeat)];
        let answers = if room < 2 { vec![] } else { answers };
        let (report, _) = finished(&rig, run, Command::ResumeRun { run, answers, ask: false, timeout: None }).await;
        rig.stop().await;
        assert_eq!(report.outcome, RunOutcome::Ok, "{room}: {:?} {:?}", report.why, report.detail);
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_cannot_be_written_gives_up_what_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
        name = "w"
        [[step]]
        id = "quick"
        tool = "s_echo"
        arguments = { name = "quick", ms = 10 }
        [[step]]
        id = "long"
        tool = "s_echo"
        arguments = { name = "long", ms = 3600000 }
        [[step]]
        id = "after"
        tool = "s_echo"
        arguments = { name = "after {{ steps.long.result.name }}" }
    "#;
    let log = Log::default();
    // Room for its beginning and both requests.
    let rig = engine(&log, Arc::new(Full { store: Store::open(&dir.path().join("store.db"), 0).unwrap(), room: Mutex::new(3) }));
    let began = tokio::time::Instant::now();
    let (report, _) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(wanted(text)) }).await;
    assert!(began.elapsed() < Duration::from_secs(60), "it waited for the long one");
    rig.stop().await;
    assert_eq!(report.outcome, RunOutcome::Failed);
    assert!(report.why.as_deref().unwrap().contains("no space left"), "{:?}", report.why);
    assert!(matches!(report.step("long").unwrap().state, StepState::Cancelled { .. }), "{:?}", report.step("long").unwrap().state);
    assert!(!log.lock().unwrap().iter().any(|name| name.starts_with("after")));
}
