//! The journal: what is written when, and what a run that was killed makes of it.

use super::*;

#[tokio::test]
async fn a_run_that_was_given_up_and_killed_while_it_undid_does_not_go_forward_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db"), 0).unwrap();
    let text = SAGA.replace(", fail = true", "");
    let end = |name: &str| StepRecord { result: Some(Body::json(&json!({ "name": name }))), ..StepRecord::new(StepOutcome::Ok) };
    for entry in [
        began(&text),
        RunEntry::StepEnded { step: "a".into(), end: end("a") },
        RunEntry::StepEnded { step: "b".into(), end: end("b") },
        RunEntry::GivenUp { prefix: String::new(), time_up: false, undo: true, why: "enough".into() },
        RunEntry::Undone { step: "b".into(), item: None, error: None },
    ] {
        append(&store, id(1), [entry]).await.unwrap();
    }
    let log = Log::default();
    let rig = engine(&log, Arc::new(store));
    rig.ready("s").await;
    let resume = Command::ResumeRun { run: id(1), answers: vec![], ask: false, wait: false, timeout: None };
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
    append(&one, id(1), [began(SAGA)]).await.unwrap();
    // A lock on a file is the same for another process as for another handle in this one.
    let held = one.lease(id(1)).await.unwrap();
    assert!(held.is_some());
    let rig = engine(&log, Arc::new(other));
    rig.ready("s").await;
    let resume = || Command::ResumeRun { run: id(1), answers: vec![], ask: false, wait: false, timeout: None };
    let (report, _) = finished(&rig, id(1), resume()).await;
    assert_eq!((report.outcome, log.lock().unwrap().len()), (RunOutcome::Invalid, 0), "{report:#?}");
    assert!(report.why.as_deref().is_some_and(|why| why.contains("active in another process")), "{report:#?}");
    drop(held);
    let (report, _) = finished(&rig, id(1), resume()).await;
    assert_eq!(report.outcome, RunOutcome::Compensated, "{report:#?}");
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
    async fn append(&self, run: RunId, after: Seq, entries: Arc<[RunEntry]>) -> Result<Seq, JournalError> {
        // One by one, so that the world can also stop between entries that are written together.
        for (at, entry) in entries.iter().enumerate() {
            let left = {
                let mut left = self.left.lock().unwrap();
                let before = *left;
                *left = before.map(|left| left.saturating_sub(1));
                before
            };
            if left == Some(0) {
                return std::future::pending().await;
            }
            self.store.append(run, after.plus(at), Arc::new([entry.clone()])).await?;
            if left == Some(1) {
                self.stopped.notify_one();
                std::future::pending::<()>().await;
            }
        }
        Ok(after.plus(entries.len()))
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
        // A runtime of its own, so that dropping it ends the first run abruptly.
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
        // Compensations cannot be declared idempotent: in-doubt ones are repeated only on request.
        let open = store.load(run).await.unwrap().unwrap().in_doubt();
        let undoing = open.into_iter().filter(|(place, ..)| place.purpose == Purpose::Compensation);
        let answers = undoing.map(|(place, ..)| (place.step.to_string(), StepAnswer::Repeat)).collect();
        let rig = engine(&log, Arc::new(store));
        let (report, _) = finished(&rig, run, Command::ResumeRun { run, answers, ask: false, wait: false, timeout: None }).await;
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

/// A journal on a disk that is full from this entry on, for as long as it says so.
struct Full {
    store: Store,
    room: Mutex<usize>,
}

#[async_trait::async_trait]
impl Journal for Full {
    async fn append(&self, run: RunId, after: Seq, entries: Arc<[RunEntry]>) -> Result<Seq, JournalError> {
        {
            let mut room = self.room.lock().unwrap();
            if *room < entries.len() {
                *room = 0;
                return Err(JournalError::Failed("no space left".into()));
            }
            *room -= entries.len();
        }
        self.store.append(run, after, entries).await
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
        let (report, _) = finished(&rig, run, Command::ResumeRun { run, answers, ask: false, wait: false, timeout: None }).await;
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

#[tokio::test]
async fn secrets_pass_between_steps_and_reach_neither_journal_nor_events() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db"), 0).unwrap();
    let value = "s3cret-value-1";
    let text = r#"
        name = "w"
        [input]
        token = { type = "string" }
        [[step]]
        id = "a"
        tool = "s_echo"
        arguments = { name = "{{ input.token }}" }
        [[step]]
        id = "b"
        tool = "s_echo"
        arguments = { name = "again {{ steps.a.result.name }}" }
        [output]
        name = "{{ steps.b.result.name }}"
    "#;
    let log = Log::default();
    let rig = engine(&log, Arc::new(store.clone()));
    rig.ready("s").await;
    rig.engine.secrets().learn([Secret::literal(value)]);
    let spec = RunSpec { input: Body::json(&json!({ "token": value })), ..wanted(text) };
    let (report, events) = finished(&rig, id(1), Command::StartRun { run: id(1), spec: Arc::new(spec) }).await;
    rig.stop().await;
    assert_eq!(*log.lock().unwrap(), [value, "again s3cret-value-1"], "the server gets the whole value");
    assert_eq!((report.outcome, output(&report)), (RunOutcome::Ok, json!({ "name": "again •••" })));
    let record = store.load(id(1)).await.unwrap().unwrap();
    assert!(!format!("{events:?}").contains(value) && !format!("{record:?}").contains(value), "{record:?}");
    // Interrupted behind the first step, the run does not send a mask in place of the value.
    let entries: Vec<RunEntry> =
        record.entries.into_iter().take_while(|entry| !matches!(entry, RunEntry::StepEnded { step, .. } if &**step == "b")).collect();
    let sent = entries.iter().position(|entry| matches!(entry, RunEntry::Sending { place, .. } if &*place.step == "b")).unwrap();
    append(&store, id(2), &entries[..sent]).await.unwrap();
    let log = Log::default();
    let rig = engine(&log, Arc::new(store));
    rig.ready("s").await;
    let resume = Command::ResumeRun { run: id(2), answers: vec![], ask: false, wait: false, timeout: None };
    let (report, _) = finished(&rig, id(2), resume).await;
    rig.stop().await;
    assert_eq!((log.lock().unwrap().len(), report.outcome), (0, RunOutcome::Failed), "{report:?}");
    assert!(report.why.as_deref().unwrap().contains("the journal does not record"), "{:?}", report.why);
}
