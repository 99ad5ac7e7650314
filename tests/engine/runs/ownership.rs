//! Ownership: what a process does that has lost its run to another, and the deadline that holds for each owner.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// How a process notices that another one has taken over its run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sign {
    /// Its lease ends between the entry of the request and the request.
    Lease,
    /// The journal has entries of the other process.
    Fence,
}

/// A journal whose run is taken over when the request of the step `b` is written.
struct TakenOver {
    store: Store,
    sign: Sign,
    lost: Arc<AtomicBool>,
}

struct Lease(Arc<AtomicBool>);

impl RunLease for Lease {
    fn may_send(&self) -> bool {
        !self.0.load(Ordering::Relaxed)
    }
}

#[async_trait::async_trait]
impl Journal for TakenOver {
    async fn append(&self, run: RunId, after: Seq, entries: Arc<[RunEntry]>) -> Result<Seq, JournalError> {
        let sends_b = entries.iter().any(|entry| matches!(entry, RunEntry::Sending { place, .. } if *place.step == *"b"));
        if sends_b && self.sign == Sign::Fence {
            return Err(JournalError::Fenced);
        }
        self.lost.fetch_or(sends_b, Ordering::Relaxed);
        self.store.append(run, after, entries).await
    }

    async fn load(&self, run: RunId) -> Result<Option<RunRecord>, JournalError> {
        self.store.load(run).await
    }

    async fn lease(&self, _: RunId) -> Result<Option<Box<dyn RunLease>>, JournalError> {
        Ok(Some(Box::new(Lease(self.lost.clone()))))
    }
}

#[tokio::test]
async fn a_process_that_lost_its_run_sends_and_writes_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    for (number, sign) in [Sign::Lease, Sign::Fence].into_iter().enumerate() {
        let (log, run) = (Log::default(), id(number as u64 + 1));
        let store = Store::open(&dir.path().join("store.db"), 0).unwrap();
        let journal = TakenOver { store: store.clone(), sign, lost: Arc::default() };
        let rig = engine(&log, Arc::new(journal));
        rig.ready("s").await;
        let (report, _) = finished(&rig, run, Command::StartRun { run, spec: Arc::new(wanted(SAGA)) }).await;
        rig.stop().await;
        assert_eq!(report.outcome, RunOutcome::Cancelled, "{sign:?}: {report:#?}");
        assert!(report.why.as_deref().is_some_and(|why| why.contains("taken over")), "{sign:?}: {report:#?}");
        assert_eq!(*log.lock().unwrap(), ["a"], "{sign:?}: neither the step nor a compensation is sent");
        let entries = store.load(run).await.unwrap().unwrap().entries;
        let ends = |entry: &RunEntry| matches!(entry, RunEntry::Ended { .. } | RunEntry::GivenUp { .. } | RunEntry::Undone { .. });
        assert!(!entries.iter().any(ends), "{sign:?}: {entries:#?}");
        // The other process executes the rest.
        let rig = engine(&log, Arc::new(store));
        rig.ready("s").await;
        // With the fence the end of `a` is lost as well: it is written together with the beginning of `b`.
        let in_doubt = if sign == Sign::Lease { "b" } else { "a" };
        let answers = vec![(in_doubt.to_owned(), StepAnswer::Repeat)];
        let (report, _) = finished(&rig, run, Command::ResumeRun { run, answers, ask: false, wait: false, timeout: None }).await;
        rig.stop().await;
        assert_eq!(report.outcome, RunOutcome::Compensated, "{sign:?}: {report:#?}");
        let repeated: &[&str] = if sign == Sign::Lease { &[] } else { &["a"] };
        assert_eq!(*log.lock().unwrap(), [&["a"], repeated, &["b", "c", "undo b", "undo a"]].concat(), "{sign:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_resumed_run_has_the_deadline_that_it_began_with() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db"), 0).unwrap();
    let text = r#"
        name = "w"
        timeout = "1h"
        [[step]]
        id = "long"
        tool = "s_echo"
        timeout = "2h"
        arguments = { name = "long", ms = 7200000 }
    "#;
    let resume = |run, timeout| Command::ResumeRun { run, answers: vec![], ask: false, wait: false, timeout };
    let log = Log::default();
    let rig = engine(&log, Arc::new(store.clone()));
    rig.ready("s").await;
    let now_ms = rig.engine.watch().0.epoch.unix_ms(rig.engine.now());
    let began = |deadline_ms| RunEntry::Began { spec: Arc::new(wanted(text)), unix_ms: now_ms - 1, deadline_ms: Some(deadline_ms) };
    append(&store, id(1), [began(now_ms + 60_000)]).await.unwrap();
    append(&store, id(2), [began(now_ms)]).await.unwrap();
    let since = tokio::time::Instant::now();
    let (report, _) = finished(&rig, id(1), resume(id(1), None)).await;
    assert_eq!((report.outcome, since.elapsed().as_secs()), (RunOutcome::TimedOut, 60), "{report:#?}");
    // After its deadline a run would only fail: it is left as it is.
    let (report, _) = finished(&rig, id(2), resume(id(2), None)).await;
    assert_eq!(report.outcome, RunOutcome::Invalid, "{report:#?}");
    assert!(report.why.as_deref().is_some_and(|why| why.contains("deadline")), "{report:#?}");
    assert!(report.detail.iter().any(|line| line.contains("--timeout")), "{report:#?}");
    assert_eq!(store.load(id(2)).await.unwrap().unwrap().entries.len(), 1);
    assert_eq!(log.lock().unwrap().len(), 1);
    // Another deadline replaces it, also for later owners.
    let (report, _) = finished(&rig, id(2), resume(id(2), Some(Duration::from_secs(600)))).await;
    assert_eq!(report.outcome, RunOutcome::TimedOut, "{report:#?}");
    let record = store.load(id(2)).await.unwrap().unwrap();
    let replaced = record.entries.iter().find_map(|entry| match entry {
        RunEntry::Resumed { unix_ms, deadline_ms } => Some(deadline_ms.unwrap() - unix_ms),
        _ => None,
    });
    assert_eq!(replaced, Some(600_000));
    rig.stop().await;
}

#[tokio::test]
async fn the_deadline_of_a_plan_is_journaled() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store.db"), 0).unwrap();
    let rig = engine(&Log::default(), Arc::new(store.clone()));
    rig.ready("s").await;
    let text = "name = \"w\"\ntimeout = \"{{ 2 * 30 }}s\"\n[[step]]\nid = \"a\"\ntool = \"s_echo\"\narguments = { name = \"a\" }\n";
    let limited = Arc::new(RunSpec { timeout: Some(Duration::from_secs(5)), ..wanted(text) });
    for (run, spec, limit_ms) in [(id(1), Arc::new(wanted(text)), 60_000), (id(2), limited, 5_000)] {
        let (report, _) = finished(&rig, run, Command::StartRun { run, spec }).await;
        assert_eq!(report.outcome, RunOutcome::Ok, "{report:#?}");
        let record = store.load(run).await.unwrap().unwrap();
        assert_eq!(record.deadline_ms(), Some(record.started_ms() + limit_ms));
    }
    rig.stop().await;
}
