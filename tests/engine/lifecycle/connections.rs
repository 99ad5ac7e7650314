//! Connections: retries and their end, health checks, lists, eras, panics.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_server_that_keeps_failing_is_left_alone_until_somebody_asks() {
    let refused = Arc::new(AtomicUsize::new(usize::MAX));
    let refusing = refused.clone();
    let fake = Fake::new(move |attempt| if attempt < refusing.load(Ordering::SeqCst) { Plan::Refuse } else { Behaviour::prompt().plan() });
    let rig = Rig::over(fake.clone(), vec![spec("web")]);
    let waiting = rig.submit("web", "echo", "{}");
    let read_model = until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    let made = fake.attempts();
    assert!((15..=30).contains(&made), "for a quarter of a minute, a second apart at most: {made}");
    let tries: Vec<u32> = read_model.servers[0]
        .history
        .iter()
        .filter_map(|(_, phase)| if let Phase::Reconnecting { attempt, .. } = &**phase { Some(*attempt) } else { None })
        .collect();
    assert_eq!(tries, (1..made as u32).collect::<Vec<_>>());
    let read_model = until(&rig, |w| w.call(waiting).is_some_and(|c| c.settled.is_some())).await;
    let failure = failure_of(read_model.call(waiting).unwrap().settled.as_ref().unwrap()).clone();
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::NotReady, false));
    assert!(failure.message.contains("not today"), "the cause is reported: {failure:?}");
    sleep(MINUTE * 60).await;
    assert_eq!(fake.attempts(), made, "an hour later");
    refused.store(made + 1, Ordering::SeqCst);

    rig.command(Command::Restart { server: "web".into() });
    until(&rig, |w| w.servers[0].phase.usable()).await;
    assert_eq!(fake.attempts(), made + 2, "failures before are forgotten");
    assert_eq!(text_of(&*echo(&rig, None).await), "hello");
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_after_every_start_is_given_up_too_and_one_that_dies_now_and_then_is_not() {
    for (lives, given_up) in [(Duration::from_secs(1), true), (Duration::from_secs(20), false)] {
        let fake = Fake::new(move |_| {
            let behaviour = Behaviour::prompt();
            let lost = behaviour.lost.clone();
            tokio::spawn(async move {
                sleep(lives).await;
                lost.cancel();
            });
            behaviour.plan()
        });
        let rig = Rig::over(fake.clone(), vec![spec("web")]);
        sleep(MINUTE * 10).await;
        assert_eq!(matches!(&*rig.server("web").phase, Phase::Failed { .. }), given_up, "{:?}", rig.server("web").phase);
        if given_up {
            assert_eq!(fake.attempts(), 5);
        } else {
            assert!(fake.attempts() > 25, "{}", fake.attempts());
        }
        rig.engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_gives_no_sign_of_life_is_connected_anew() {
    let fake = Fake::new(|attempt| match attempt {
        0 => Behaviour::prompt().checked(|_| Sign::Silence).plan(),
        // One failed check is not enough.
        _ => Behaviour::prompt().checked(|n| if n % 2 == 0 { Sign::Silence } else { Sign::Fine }).plan(),
    });
    let rig = Rig::over(fake.clone(), vec![spec("web")]);
    let read_model = until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Reconnecting { .. })).await;
    assert!(read_model.servers[0].phase.failure().unwrap().summary.contains("no response"), "{:?}", read_model.servers[0].phase);
    until(&rig, |w| w.servers[0].phase.usable()).await;
    sleep(MINUTE * 10).await;
    assert_eq!(fake.attempts(), 2);
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_busy_with_a_call_is_not_asked_for_a_sign_of_life() {
    // As a server with one event loop that a tool blocks: it would answer no check.
    let (fake, behaviour) = serving(slow(seconds(50)).checked(|_| Sign::Silence));
    let rig = Rig::over(fake.clone(), vec![spec("web")]);
    until(&rig, |w| w.servers[0].phase.usable()).await;
    for _ in 0..4 {
        assert_eq!(text_of(&*echo(&rig, None).await), "hello");
    }
    assert_eq!((behaviour.checked.load(Ordering::SeqCst), fake.attempts()), (0, 1));
    // When it idles, it is.
    until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Reconnecting { .. })).await;
    assert_eq!(behaviour.checked.load(Ordering::SeqCst), 2);
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_check_that_a_call_got_in_the_way_of_says_nothing() {
    let (fake, behaviour) = serving(slow(seconds(2)).checked(|_| Sign::Silence));
    let rig = Rig::over(fake.clone(), vec![spec("web")]);
    let (_, mut tail) = rig.engine.watch();
    until(&rig, |w| w.servers[0].phase.usable()).await;
    // A call runs during each check, so the server does not answer the check.
    for n in 1..=4 {
        while behaviour.checked.load(Ordering::SeqCst) < n {
            assert_eq!(fake.attempts(), 1, "the connection stays open");
            sleep(seconds(1)).await;
        }
        assert_eq!(text_of(&*echo(&rig, None).await), "hello");
    }
    while let Ok(Some(event)) = tail.try_next() {
        assert!(!matches!(&event.kind, EventKind::ServerPhase { phase, .. } if phase.failure().is_some()), "{event:?}");
    }
    assert_eq!(fake.attempts(), 1);
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn who_refuses_a_check_lives_unless_it_does_not_know_us() {
    for (status, ends, degraded) in
        [(400, false, false), (405, false, false), (429, false, false), (503, false, true), (404, true, false), (401, true, false)]
    {
        let (fake, behaviour) = serving(Behaviour::prompt().checked(move |n| if n < 10 { Sign::Status(status) } else { Sign::Fine }));
        let rig = Rig::over(fake.clone(), vec![spec("web")]);
        until(&rig, |w| w.servers[0].phase.usable()).await;
        sleep(seconds(16)).await;
        assert_eq!(behaviour.checked.load(Ordering::SeqCst), 1);
        let phase = rig.server("web").phase;
        assert!(phase.usable(), "{status}: not after one check, {phase:?}");
        assert_eq!(
            matches!(&*phase, Phase::Degraded { reason } if reason.to_string().contains(&format!("HTTP {status}"))),
            degraded,
            "{phase:?}"
        );
        sleep(seconds(44)).await;
        assert_eq!(fake.attempts() > 1 || rig.server("web").phase.failure().is_some(), ends, "{status}: {:?}", rig.server("web").phase);
        if !ends {
            until(&rig, |w| *w.servers[0].phase == Phase::Ready).await;
            assert_eq!(fake.attempts(), 1, "{status}");
        }
        rig.engine.shutdown().await;
    }
}

#[tokio::test]
async fn a_host_that_wants_fewer_requests_keeps_its_session() {
    let server = Server::start(|asked| (asked.method() == "ping").then(|| page("429 Too Many Requests", &[], ""))).await;
    let mut spec = http("web", &server.url());
    spec.timeouts.health = Duration::from_millis(20);
    let rig = Rig::start(vec![spec]);
    rig.ready("web").await;
    server.saw("several checks", |log| log.requests.iter().filter(|asked| asked.method() == "ping").count() >= 4).await;
    assert_eq!(server.count("initialize"), 1);
    assert!(rig.server("web").phase.usable());
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn orders_are_taken_while_a_server_lists_or_is_checked() {
    // Stuck in the second listing, or in the first health check.
    let lists = || serving(Behaviour::prompt().listed(|n| if n == 1 { Sign::Silence } else { Sign::Fine }));
    let checks = || serving(Behaviour::prompt().checked(|_| Sign::Silence));
    for listing in [true, false] {
        for order in 0..4 {
            let (fake, behaviour) = if listing { lists() } else { checks() };
            let rig = Rig::over(fake.clone(), vec![spec("web")]);
            until(&rig, |w| w.servers[0].phase.usable()).await;
            rig.command(Command::Refresh { server: "web".into() });
            sleep(seconds(if listing { 5 } else { 16 })).await;
            assert_eq!((behaviour.listed.load(Ordering::SeqCst), behaviour.checked.load(Ordering::SeqCst)), (2, usize::from(!listing)));
            let begun = Instant::now();
            match order {
                0 => {}
                1 => rig.command(Command::Disable { server: "web".into() }),
                2 => rig.command(Command::Restart { server: "web".into() }),
                _ => rig.engine.apply(vec![ServerSpec { trusted: true, ..spec("web") }]),
            }
            match order {
                0 => {}
                1 => drop(until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Disabled)).await),
                _ => {
                    while fake.attempts() < 2 {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            }
            rig.engine.shutdown().await;
            assert!(begun.elapsed() < seconds(1), "{listing} {order}: {:?}", begun.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lists_that_cannot_be_read_again_leave_those_of_before() {
    let (fake, _) = serving(Behaviour::prompt().listed(|n| if n == 1 { Sign::Silence } else { Sign::Fine }));
    let rig = Rig::over(fake, vec![spec("web")]);
    until(&rig, |w| w.servers[0].phase.usable()).await;
    rig.command(Command::Refresh { server: "web".into() });
    let read_model = until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Degraded { .. })).await;
    let Phase::Degraded { reason } = &*read_model.servers[0].phase else { unreachable!() };
    let reason = reason.to_string();
    assert!(reason.contains("longer than 15") && reason.contains("previous lists stay in use"), "{reason}");
    assert_eq!(read_model.servers[0].catalog.tools.len(), 1);
    assert_eq!(text_of(&*echo(&rig, None).await), "hello");
    rig.command(Command::Refresh { server: "web".into() });
    until(&rig, |w| *w.servers[0].phase == Phase::Ready).await;
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_address_is_not_tried_again_but_one_that_was_right_is() {
    for (status, again) in [(404, false), (405, false), (501, false), (503, true), (429, true)] {
        let refusal = move || ConnectFailure { status: Some(status), ..ConnectFailure::new(Step::Initialize, "refused") };
        let fake = Fake::new(move |_| Plan::Fail(refusal()));
        let rig = Rig::over(fake.clone(), vec![spec("web")]);
        until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
        assert_eq!(fake.attempts() > 1, again, "{status}: {} attempts", fake.attempts());
        rig.engine.shutdown().await;
        // A proxy may not find a server that is restarted.
        let first = Arc::new(Behaviour::prompt());
        let lost = first.clone();
        let fake = Fake::new(move |attempt| match attempt {
            0 => Plan::Serve(Duration::ZERO, first.clone()),
            1..4 => Plan::Fail(refusal()),
            _ => Behaviour::prompt().plan(),
        });
        let rig = Rig::over(fake.clone(), vec![spec("web")]);
        until(&rig, |w| w.servers[0].phase.usable()).await;
        lost.lost.cancel();
        until(&rig, |w| w.servers[0].phase.usable() && fake.attempts() == 5).await;
        rig.engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_era_that_was_learned_is_forgotten_when_it_no_longer_holds() {
    let (first, second) = (Arc::new(Behaviour::prompt()), Arc::new(Behaviour::prompt()));
    let (one, two) = (first.clone(), second.clone());
    let fake = Fake::new(move |attempt| match attempt {
        0 => Plan::Serve(Duration::ZERO, one.clone()),
        // Upgraded while it was away.
        1 => Plan::Fail(ConnectFailure { retryable: false, ..ConnectFailure::new(Step::Initialize, "initialize is refused") }),
        2 => Plan::Serve(Duration::ZERO, two.clone()),
        // Away, which says nothing of what it speaks.
        3 => Plan::Refuse,
        _ => Behaviour::prompt().plan(),
    });
    let rig = Rig::over(fake.clone(), vec![spec("web")]);
    let served = async |attempts| {
        while fake.attempts() < attempts {
            assert!(!matches!(&*rig.server("web").phase, Phase::Failed { .. }), "failed after {} attempts", fake.attempts());
            sleep(Duration::from_millis(1)).await;
        }
        until(&rig, |w| w.servers[0].phase.usable()).await;
    };
    served(1).await;
    first.lost.cancel();
    served(3).await;
    second.lost.cancel();
    served(5).await;
    rig.command(Command::Restart { server: "web".into() });
    served(6).await;
    let legacy = Some(Era::Legacy);
    assert_eq!(*fake.known.lock().unwrap(), [None, legacy, None, legacy, legacy, None]);
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_breakdown_of_a_connection_in_use_ends_its_calls_and_touches_no_other_server() {
    for checking in [false, true] {
        let fake = Fake::new(move |attempt| {
            let behaviour = Behaviour::new(|request: Request, observer: Arc<dyn RequestObserver>, handler| async move {
                observer.sent(handler.now(), 1);
                if !request.params.text().contains("fine") {
                    std::future::pending::<()>().await;
                }
                Ok(reply(&handler))
            });
            // A new connection works.
            let faulty = attempt < 2;
            behaviour
                .checked(move |_| if faulty && checking { Sign::Panic } else { Sign::Fine })
                .listed(move |n| if faulty && n == 1 { Sign::Panic } else { Sign::Fine })
                .plan()
        });
        let mut other = spec("other");
        other.timeouts.health = Duration::ZERO;
        let rig = Rig::over(fake, vec![spec("web"), other]);
        until(&rig, |w| w.servers.iter().all(|s| s.phase.usable())).await;
        let settled = |call: CallId| move |w: &ConsoleState| w.call(call).is_some_and(|c| c.settled.is_some());
        let bystander = rig.submit("other", "echo", "{}");
        // What is in flight keeps health checks away.
        let hanging = (!checking).then(|| rig.submit("web", "echo", "{}"));
        until(&rig, |w| w.calls.len() == 1 + usize::from(!checking) && w.calls.iter().all(|c| c.sent.is_some())).await;
        if !checking {
            rig.command(Command::Refresh { server: "web".into() });
        }
        let down = |w: &ConsoleState| w.server(&"web".into()).is_some_and(|s| matches!(&*s.phase, Phase::Failed { .. }));
        let read_model = until(&rig, down).await;
        assert!(read_model.server(&"web".into()).unwrap().phase.failure().unwrap().summary.contains("bug in Switchboard"));
        if let Some(hanging) = hanging {
            let read_model = until(&rig, settled(hanging)).await;
            let failure = failure_of(read_model.call(hanging).unwrap().settled.as_ref().unwrap()).clone();
            assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Transport, true), "{failure:?}");
        }
        let read_model = rig.read_model();
        assert!(read_model.call(bystander).unwrap().settled.is_none() && read_model.server(&"other".into()).unwrap().phase.usable());
        rig.command(Command::Restart { server: "web".into() });
        until(&rig, |w| w.servers.iter().all(|s| s.phase.usable())).await;
        for id in ["web", "other"] {
            let fine = rig.submit(id, "echo", r#"{"x":"fine"}"#);
            let read_model = until(&rig, settled(fine)).await;
            assert_eq!(text_of(read_model.call(fine).unwrap().settled.as_ref().unwrap()), "hello");
        }
        rig.engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_breakdown_within_costs_one_call_or_one_server_and_nothing_else() {
    let fake = Fake::new(|attempt| match attempt {
        0 => Plan::Panic,
        1 => Behaviour::prompt().listed(|_| Sign::Panic).plan(),
        _ => Behaviour::new(|request, observer: Arc<dyn RequestObserver>, handler| async move {
            observer.sent(handler.now(), 1);
            assert!(request.params.text().contains("fine"), "a planned fault of the session");
            Ok(reply(&handler))
        })
        .plan(),
    });
    let rig = Rig::over(fake, vec![spec("web")]);
    for _ in 0..2 {
        let read_model = until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
        assert!(read_model.servers[0].phase.failure().unwrap().summary.contains("bug in Switchboard"));
        let settled = echo(&rig, None).await;
        assert_eq!(failure_of(&settled).kind, FailureKind::NotReady);
        rig.command(Command::Restart { server: "web".into() });
        until(&rig, |w| !matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    }
    until(&rig, |w| w.servers[0].phase.usable()).await;
    let settled = echo(&rig, None).await;
    let failure = failure_of(&settled);
    assert!(failure.message.contains("bug in Switchboard") && failure.may_have_run, "{failure:?}");
    let fine = rig.submit("web", "echo", r#"{"x":"fine"}"#);
    let read_model = until(&rig, |w| w.call(fine).is_some_and(|c| c.settled.is_some())).await;
    assert_eq!(text_of(read_model.call(fine).unwrap().settled.as_ref().unwrap()), "hello");
    assert_eq!(read_model.running, 0);
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_with_configuration_errors_is_listed_and_never_started() {
    let fake = Fake::new(|_| Behaviour::prompt().plan());
    let fault = ConfigFault {
        file: Some("/c/mcp.json".into()),
        line: Some(7),
        message: "the environment variable `T` is not set".into(),
        ..ConfigFault::default()
    };
    let broken = ServerSpec { config_faults: vec![fault], ..spec("web") };
    let off = ServerSpec { disabled: true, id: ServerId::from("off"), ..broken.clone() };
    let rig = Rig::over(fake.clone(), vec![broken.clone(), off]);
    let first = rig.read_model();
    assert!(matches!(&*first.server(&"web".into()).unwrap().phase, Phase::Failed { why } if why.step == Step::Configure));
    assert_eq!(*first.server(&"off".into()).unwrap().phase, Phase::Disabled);
    for id in ["web", "off"] {
        rig.engine.command(Command::Restart { server: id.into() }).await.unwrap();
    }
    let both = |read_model: &ConsoleState| read_model.servers.iter().all(|server| matches!(*server.phase, Phase::Failed { .. }));
    until(&rig, both).await;
    let settled = echo(&rig, None).await;
    let failure = failure_of(&settled);
    assert_eq!(failure.kind, FailureKind::NotReady);
    assert!(failure.message.contains("web cannot be used") && failure.message.contains("`T` is not set"), "{failure:?}");
    assert_eq!(failure.causes, ["it is configured in /c/mcp.json:7"]);
    assert_eq!(fake.attempts(), 0);
    // The corrected entry is started.
    rig.engine.apply(vec![ServerSpec { config_faults: vec![], ..broken }]);
    until(&rig, |read_model| read_model.server(&"web".into()).is_some_and(|server| server.phase.usable())).await;
    assert_eq!(fake.attempts(), 1);
}
