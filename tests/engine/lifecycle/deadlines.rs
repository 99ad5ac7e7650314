//! Deadlines: progress that extends them, late starts, calls that are over.

use super::*;

/// A server whose calls report progress every so often, `times` times, and are answered one pause later, or never.
fn progressing(every: Duration, times: u32, answers: bool) -> Arc<Fake> {
    Fake::new(move |_| {
        Behaviour::new(move |_, observer: Arc<dyn RequestObserver>, handler| async move {
            observer.sent(handler.now(), 1);
            for n in 1..=times {
                sleep(every).await;
                observer.progress(&step(n));
            }
            sleep(every).await;
            if !answers {
                std::future::pending::<()>().await;
            }
            Ok(reply(&handler))
        })
        .plan()
    })
}

#[tokio::test(start_paused = true)]
async fn progress_extends_the_deadline_up_to_the_hard_maximum() {
    let every = Duration::from_secs(50);
    // Every 50 s a sign of life, an answer after 500 s: well beyond the 60 s of a silent call.
    for (times, answers, limit, seconds) in [
        (0, false, None, 60),
        (9, true, None, 500),
        (3, false, None, 210),
        (1000, false, None, 600),
        (0, false, Some(Duration::from_secs(5)), 5),
        (1000, false, Some(Duration::from_secs(55)), 600),
        (0, false, Some(Duration::from_secs(700)), 700),
    ] {
        let rig = Rig::over(progressing(every, times, answers), vec![spec("web")]);
        until(&rig, |w| w.servers[0].phase.usable()).await;
        let settled = echo(&rig, limit).await;
        assert_eq!(settled.timings.total().as_secs(), seconds, "{times} signs of life, {settled:?}");
        match &settled.outcome {
            Outcome::Ok { .. } => assert!(answers),
            _ => assert_eq!((failure_of(&settled).kind, failure_of(&settled).may_have_run), (FailureKind::Timeout, true)),
        }
        rig.engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_its_server_to_start() {
    let slow = |after| Fake::new(move |_| Plan::Serve(after, Arc::new(Behaviour::prompt())));
    let rig = Rig::over(slow(Duration::from_secs(20)), vec![spec("web")]);
    let settled = echo(&rig, None).await;
    assert_eq!(text_of(&settled), "hello");
    assert_eq!((settled.timings.wait().as_secs(), settled.timings.total().as_secs()), (20, 20));
    rig.engine.shutdown().await;

    let rig = Rig::over(slow(MINUTE * 5), vec![spec("web")]);
    let settled = echo(&rig, None).await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Timeout, false), "waiting counts, and nothing ran: {failure:?}");
    assert!(failure.message.contains("could not be sent"));
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_over_is_told_of_no_more() {
    let fake = Fake::new(|_| {
        Behaviour::new(|_, observer: Arc<dyn RequestObserver>, _| async move {
            // What a reader task does that outlives the call.
            tokio::spawn(async move {
                sleep(MINUTE * 2).await;
                observer.sent(switchboard::domain::time::Stamp(1), 1);
                observer.progress(&step(1));
            });
            std::future::pending().await
        })
        .plan()
    });
    let rig = Rig::over(fake, vec![spec("web")]);
    let (_, mut tail) = rig.engine.watch();
    echo(&rig, None).await;
    sleep(MINUTE * 5).await;
    let mut after = None;
    while let Ok(Some(event)) = tail.try_next() {
        match &event.kind {
            EventKind::CallSettled { .. } => after = Some(Instant::now()),
            EventKind::CallSent { .. } | EventKind::CallProgress { .. } => panic!("after the end: {event:?}"),
            _ => {}
        }
    }
    assert!(after.is_some());
    rig.engine.shutdown().await;
}
