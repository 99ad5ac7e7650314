//! Servers that come and go, calls that wait, questions that are asked: with paused time over connections in memory where time is what
//! matters, over real processes where they are.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use switchboard::{
    domain::{
        ask::{Answer, AskPolicy, Question},
        body::Body,
        call::{CallSpec, FailureKind, Operation, Origin, Outcome, Progress},
        event::{EventKind, Settled},
        frame::{AnomalyKind, Direction, FrameKind},
        id::{CallId, ServerId, ToolId},
        policy::{
            Knob, PolicyPatch, Rules, ToolRule,
            breaker::{Order, State as Breaking},
            pattern::Pattern,
        },
        secret::Secret,
        server::{ConnectFailure, Era, Launch, Phase, ServerSpec, Step},
        world::World,
    },
    engine::{
        control::{Command, Control, Lagged},
        ports::{Flow, Host, Reply, Request},
    },
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::{
    fake::{Behaviour, Fake, Plan, Sign, reply, spec},
    scripted::{Server, page},
    support::{Rig, bad, bad_server, failure_of, http, stdio, text_of},
};

const MINUTE: Duration = Duration::from_secs(60);

/// Calls `echo` and waits however long that takes: under paused time a patience would run out by itself.
async fn echo(rig: &Rig, limit: Option<Duration>) -> Arc<Settled> {
    let call = CallSpec::tool(ToolId::new(ServerId::from("web"), "echo"), Body::from("{}"), Origin::Cli);
    switchboard::engine::control::run(&*rig.engine, CallSpec { timeout: limit, ..call }, |_| {}).await.unwrap().1
}

/// Waits until the world looks as wanted, however long that takes.
async fn until(rig: &Rig, wanted: impl Fn(&World) -> bool) -> World {
    let (mut world, mut tail) = rig.engine.watch();
    while !wanted(&world) {
        match tail.next().await {
            Ok(event) => world.apply(&event.unwrap()),
            Err(Lagged { .. }) => (world, tail) = rig.engine.watch(),
        }
    }
    world
}

fn step(n: u32) -> Progress {
    Progress { progress: f64::from(n), total: None, message: None }
}

/// A server whose calls report progress every so often, `times` times, and are answered one pause later, or never.
fn progressing(every: Duration, times: u32, answers: bool) -> Arc<Fake> {
    Fake::new(move |_| {
        Behaviour::new(move |_, flow: Arc<dyn Flow>, host| async move {
            flow.sent(host.now(), 1);
            for n in 1..=times {
                sleep(every).await;
                flow.progress(step(n));
            }
            sleep(every).await;
            if !answers {
                std::future::pending::<()>().await;
            }
            Ok(reply(&host))
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
async fn a_server_that_keeps_failing_is_left_alone_until_somebody_asks() {
    let fake = Fake::new(|attempt| if attempt < 6 { Plan::Refuse } else { Behaviour::prompt().plan() });
    let rig = Rig::over(fake.clone(), vec![spec("web")]);
    let waiting = rig.submit("web", "echo", "{}");
    let world = until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    assert_eq!(fake.attempts(), 5);
    let tries: Vec<u32> = world.servers[0]
        .history
        .iter()
        .filter_map(|(_, phase)| if let Phase::Reconnecting { attempt, .. } = &**phase { Some(*attempt) } else { None })
        .collect();
    assert_eq!(tries, [1, 2, 3, 4]);
    let world = until(&rig, |w| w.call(waiting).is_some_and(|c| c.settled.is_some())).await;
    let failure = failure_of(world.call(waiting).unwrap().settled.as_ref().unwrap()).clone();
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::NotReady, false));
    assert!(failure.message.contains("not today"), "the cause is told: {failure:?}");
    sleep(MINUTE * 60).await;
    assert_eq!(fake.attempts(), 5, "an hour later");

    rig.command(Command::Restart { server: "web".into() });
    until(&rig, |w| w.servers[0].phase.usable()).await;
    assert_eq!(fake.attempts(), 7, "failures before are forgotten");
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
        // Once is no sign.
        _ => Behaviour::prompt().checked(|n| if n % 2 == 0 { Sign::Silence } else { Sign::Fine }).plan(),
    });
    let rig = Rig::over(fake.clone(), vec![spec("web")]);
    let world = until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Reconnecting { .. })).await;
    assert!(world.servers[0].phase.failure().unwrap().summary.contains("no sign of life"), "{:?}", world.servers[0].phase);
    until(&rig, |w| w.servers[0].phase.usable()).await;
    sleep(MINUTE * 10).await;
    assert_eq!(fake.attempts(), 2);
    rig.engine.shutdown().await;
}

/// A server whose connections behave like this one, so that the test can look at it.
fn serving(behaviour: Behaviour) -> (Arc<Fake>, Arc<Behaviour>) {
    let behaviour = Arc::new(behaviour);
    let plan = behaviour.clone();
    (Fake::new(move |_| Plan::Serve(Duration::ZERO, plan.clone())), behaviour)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Answers every call after a while.
fn slow(after: Duration) -> Behaviour {
    Behaviour::new(move |_, flow: Arc<dyn Flow>, host| async move {
        flow.sent(host.now(), 1);
        sleep(after).await;
        Ok(reply(&host))
    })
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
    // Each check is met by a call, which it would not be answered beside.
    for n in 1..=4 {
        while behaviour.checked.load(Ordering::SeqCst) < n {
            assert_eq!(fake.attempts(), 1, "the connection is kept");
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
        assert!(phase.usable(), "{status}: never at once, {phase:?}");
        assert_eq!(matches!(&*phase, Phase::Degraded { reason } if reason.contains(&format!("HTTP {status}"))), degraded, "{phase:?}");
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
    let world = until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Degraded { .. })).await;
    let Phase::Degraded { reason } = &*world.servers[0].phase else { unreachable!() };
    assert!(reason.contains("longer than 15") && reason.contains("read before are kept"), "{reason}");
    assert_eq!(world.servers[0].catalog.tools.len(), 1);
    assert_eq!(text_of(&*echo(&rig, None).await), "hello");
    rig.command(Command::Refresh { server: "web".into() });
    until(&rig, |w| *w.servers[0].phase == Phase::Ready).await;
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_era_that_was_learned_is_forgotten_when_it_no_longer_holds() {
    let (first, second) = (Arc::new(Behaviour::prompt()), Arc::new(Behaviour::prompt()));
    let (one, two) = (first.clone(), second.clone());
    let fake = Fake::new(move |attempt| match attempt {
        0 => Plan::Serve(Duration::ZERO, one.clone()),
        // Upgraded while it was away.
        1 => Plan::Fail(ConnectFailure { retryable: false, ..ConnectFailure::new(Step::Initialize, "there is no initialize any more") }),
        2 => Plan::Serve(Duration::ZERO, two.clone()),
        // Away, which says nothing of what it speaks.
        3 => Plan::Refuse,
        _ => Behaviour::prompt().plan(),
    });
    let rig = Rig::over(fake.clone(), vec![spec("web")]);
    let served = async |attempts| {
        while fake.attempts() < attempts {
            assert!(!matches!(&*rig.server("web").phase, Phase::Failed { .. }), "given up after {} attempts", fake.attempts());
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

/// Tells progress every 50 s, then puts a form to whoever answers, and goes on for a while, or for ever.
fn asking(progress: u32, after: Option<Duration>) -> Behaviour {
    Behaviour::new(move |request: Request, flow: Arc<dyn Flow>, host: Arc<dyn Host>| async move {
        flow.sent(host.now(), 1);
        for n in 1..=progress {
            sleep(seconds(50)).await;
            flow.progress(step(n));
        }
        host.ask(Question::Form { message: "who?".into(), schema: Body::from("{}") }, request.call).await;
        match after {
            Some(after) => sleep(after).await,
            None => std::future::pending().await,
        }
        Ok(reply(&host))
    })
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_call_stands_still_while_a_person_thinks() {
    // A call may take 60 s without a sign of life, and 600 s in all.
    for (progress, thinks, after, attempt, ends) in [
        (0, Some(300), Some(seconds(0)), None, (true, 300)),
        (0, Some(300), Some(seconds(59)), None, (true, 359)),
        (0, Some(300), None, None, (false, 360)),
        // Nobody sees the question.
        (0, None, None, None, (false, 660)),
        (0, Some(300), Some(seconds(10)), Some(20), (true, 310)),
        (0, Some(300), None, Some(20), (false, 320)),
        (11, Some(300), Some(seconds(49)), None, (true, 899)),
        (11, Some(300), None, None, (false, 900)),
    ] {
        let mut spec = spec("web");
        spec.policy.attempt = attempt.map(seconds);
        let rig = Rig::over(serving(asking(progress, after)).0, vec![spec]);
        until(&rig, |w| w.servers[0].phase.usable()).await;
        let person = async {
            let ask = until(&rig, |w| !w.asks.is_empty()).await.asks[0].id;
            let Some(thinks) = thinks else { return };
            sleep(seconds(thinks)).await;
            rig.command(Command::Answer { ask, answer: Answer::Decline });
        };
        let (settled, ()) = tokio::join!(echo(&rig, None), person);
        let ok = matches!(settled.outcome, Outcome::Ok { .. });
        assert_eq!((ok, settled.timings.total().as_secs()), ends, "{settled:?}");
        assert!(ok || failure_of(&settled).kind == FailureKind::Timeout);
        until(&rig, |w| w.asks.is_empty()).await;
        rig.engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fixed_answer_fills_in_forms_and_opens_no_page() {
    let fixed = Body::from(r#"{"name":"Ada"}"#);
    for (policy, asked, form) in
        [(AskPolicy::Fixed(fixed.clone()), true, Answer::Accept { content: fixed.clone() }), (AskPolicy::Decline, false, Answer::Decline)]
    {
        let answers = Arc::new(std::sync::Mutex::new(vec![]));
        let told = answers.clone();
        let behaviour = Behaviour::new(move |request: Request, _: Arc<dyn Flow>, host: Arc<dyn Host>| {
            let told = told.clone();
            async move {
                for question in [
                    Question::Form { message: "who?".into(), schema: Body::from("{}") },
                    Question::Url { message: "log in".into(), url: "https://example.com".into() },
                ] {
                    let answer = host.ask(question, request.call).await;
                    told.lock().unwrap().push(answer);
                }
                Ok(reply(&host))
            }
        });
        let rig = Rig::over(serving(behaviour).0, vec![ServerSpec { elicitation: policy, ..spec("web") }]);
        until(&rig, |w| w.servers[0].phase.usable()).await;
        let call = rig.submit("web", "echo", "{}");
        if asked {
            // What a policy answers is there for a moment only.
            let page = |w: &World| w.asks.iter().find(|ask| matches!(&ask.question, Question::Url { .. })).map(|ask| ask.id);
            let ask = page(&until(&rig, |w| page(w).is_some()).await).unwrap();
            rig.command(Command::Answer { ask, answer: Answer::Decline });
        }
        until(&rig, |w| w.call(call).is_some_and(|c| c.settled.is_some())).await;
        assert_eq!(*answers.lock().unwrap(), [form, Answer::Decline]);
        rig.engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_breakdown_of_a_connection_in_use_ends_its_calls_and_touches_no_other_server() {
    for checking in [false, true] {
        let fake = Fake::new(move |attempt| {
            let behaviour = Behaviour::new(|request: Request, flow: Arc<dyn Flow>, host| async move {
                flow.sent(host.now(), 1);
                if !request.params.text().contains("fine") {
                    std::future::pending::<()>().await;
                }
                Ok(reply(&host))
            });
            // A connection made anew is sound.
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
        let settled = |call: CallId| move |w: &World| w.call(call).is_some_and(|c| c.settled.is_some());
        let bystander = rig.submit("other", "echo", "{}");
        // What is in flight keeps health checks away.
        let hanging = (!checking).then(|| rig.submit("web", "echo", "{}"));
        until(&rig, |w| w.calls.len() == 1 + usize::from(!checking) && w.calls.iter().all(|c| c.sent.is_some())).await;
        if !checking {
            rig.command(Command::Refresh { server: "web".into() });
        }
        let down = |w: &World| w.server(&"web".into()).is_some_and(|s| matches!(&*s.phase, Phase::Failed { .. }));
        let world = until(&rig, down).await;
        assert!(world.server(&"web".into()).unwrap().phase.failure().unwrap().summary.contains("broke down within"));
        if let Some(hanging) = hanging {
            let world = until(&rig, settled(hanging)).await;
            let failure = failure_of(world.call(hanging).unwrap().settled.as_ref().unwrap()).clone();
            assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Transport, true), "{failure:?}");
        }
        let world = rig.world();
        assert!(world.call(bystander).unwrap().settled.is_none() && world.server(&"other".into()).unwrap().phase.usable());
        rig.command(Command::Restart { server: "web".into() });
        until(&rig, |w| w.servers.iter().all(|s| s.phase.usable())).await;
        for id in ["web", "other"] {
            let fine = rig.submit(id, "echo", r#"{"x":"fine"}"#);
            let world = until(&rig, settled(fine)).await;
            assert_eq!(text_of(world.call(fine).unwrap().settled.as_ref().unwrap()), "hello");
        }
        rig.engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_breakdown_within_costs_one_call_or_one_server_and_nothing_else() {
    let fake = Fake::new(|attempt| match attempt {
        0 => Plan::Panic,
        1 => Behaviour::prompt().listed(|_| Sign::Panic).plan(),
        _ => Behaviour::new(|request, flow: Arc<dyn Flow>, host| async move {
            flow.sent(host.now(), 1);
            assert!(request.params.text().contains("fine"), "a planned fault of the session");
            Ok(reply(&host))
        })
        .plan(),
    });
    let rig = Rig::over(fake, vec![spec("web")]);
    for _ in 0..2 {
        let world = until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
        assert!(world.servers[0].phase.failure().unwrap().summary.contains("broke down within"));
        let settled = echo(&rig, None).await;
        assert_eq!(failure_of(&settled).kind, FailureKind::NotReady);
        rig.command(Command::Restart { server: "web".into() });
        until(&rig, |w| !matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    }
    until(&rig, |w| w.servers[0].phase.usable()).await;
    let settled = echo(&rig, None).await;
    let failure = failure_of(&settled);
    assert!(failure.message.contains("broke down within") && failure.may_have_run, "{failure:?}");
    let fine = rig.submit("web", "echo", r#"{"x":"fine"}"#);
    let world = until(&rig, |w| w.call(fine).is_some_and(|c| c.settled.is_some())).await;
    assert_eq!(text_of(world.call(fine).unwrap().settled.as_ref().unwrap()), "hello");
    assert_eq!(world.running, 0);
    rig.engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_over_is_told_of_no_more() {
    let fake = Fake::new(|_| {
        Behaviour::new(|_, flow: Arc<dyn Flow>, _| async move {
            // What a reader task does that outlives the call.
            tokio::spawn(async move {
                sleep(MINUTE * 2).await;
                flow.sent(switchboard::domain::time::Stamp(1), 1);
                flow.progress(step(1));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_answered_and_attributed() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    for (answer, words) in [
        (Answer::Accept { content: Body::from(r#"{"name":"Ada"}"#) }, "'action':'accept','content':{'name':'Ada'}"),
        (Answer::Decline, "'action':'decline'"),
        (Answer::Cancel, "'action':'cancel'"),
    ] {
        let call = rig.submit("bad", "question", "{}");
        let world = rig.until("the question", |w| !w.asks.is_empty()).await;
        assert_eq!((world.asks.len(), world.asks[0].call, world.asks[0].server.as_str()), (1, Some(call), "bad"));
        rig.command(Command::Answer { ask: world.asks[0].id, answer: answer.clone() });
        let settled = rig.settled(call).await;
        assert!(text_of(&settled).contains(words), "{}", text_of(&settled));
        assert!(rig.world().asks.is_empty());
        // A second answer comes too late, and says so.
        let notices = rig.world().notices.len();
        rig.command(Command::Answer { ask: world.asks[0].id, answer });
        rig.until("the word of it", |w| w.notices.len() > notices).await;
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_answer_by_themselves() {
    for (policy, words) in
        [(AskPolicy::Decline, "'action':'decline'"), (AskPolicy::Fixed(Body::from(r#"{"name":"Bob"}"#)), "'content':{'name':'Bob'}")]
    {
        let mut spec = bad("plain");
        spec.elicitation = policy;
        let rig = Rig::start(vec![spec]);
        rig.ready("bad").await;
        let mut seen = (0, 0);
        let (_, settled) = rig
            .call_seeing("bad", "question", "{}", |event| match &event.kind {
                EventKind::AskOpened { .. } => seen.0 += 1,
                EventKind::AskClosed { how, .. } if how.contains("policy") => seen.1 += 1,
                _ => {}
            })
            .await;
        assert!(text_of(&settled).contains(words), "{}", text_of(&settled));
        assert_eq!(seen, (1, 1), "what was answered for the user is shown");
        rig.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_questions_is_bounded_and_goes_with_its_call() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let (mut world, mut tail) = rig.engine.watch();
    let call = rig.submit("bad", "question_flood", "{}");
    let mut most = 0;
    while world.call(call).is_none_or(|c| c.settled.is_none()) {
        match tail.next().await {
            Ok(event) => world.apply(&event.unwrap()),
            Err(Lagged { .. }) => (world, tail) = rig.engine.watch(),
        }
        most = most.max(world.asks.len());
    }
    assert!(most <= 100, "{most} at once");
    // Of the thousand that came before the answer. A watcher that falls behind may see none of the others; they were opened.
    let refused = world.servers[0].anomaly_counts[&AnomalyKind::Flood];
    assert!((900..1000).contains(&refused), "{refused} refused");
    rig.until("the rest withdrawn", |w| w.asks.is_empty()).await;
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_goes_when_its_call_ends() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let call = rig.submit("bad", "question", "{}");
    rig.until("the question", |w| !w.asks.is_empty()).await;
    rig.command(Command::Cancel { call, reason: "enough".into() });
    assert!(matches!(rig.settled(call).await.outcome, Outcome::Cancelled { .. }));
    rig.until("the question withdrawn", |w| w.asks.is_empty()).await;
    // The server is told, so that it does not wait for ever.
    rig.until("the answer", |w| w.frames.iter().any(|f| f.direction == Direction::Out && f.body.text().contains("\"action\":\"cancel\"")))
        .await;
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_can_take_its_question_back() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let call = rig.submit("bad", "question_withdrawn", "{}");
    rig.until("the question", |w| !w.asks.is_empty()).await;
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    assert_eq!(text_of(&*rig.settled(call).await), "never mind");
    let world = rig.until("the question gone", |w| w.asks.is_empty()).await;
    let answers = world.frames.iter().filter(|f| f.direction == Direction::Out && f.kind == FrameKind::Response).count();
    assert_eq!(answers, 0, "what was taken back is not answered");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_go_with_their_connection() {
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let call = rig.submit("bad", "question", "{}");
    rig.until("the question", |w| !w.asks.is_empty()).await;
    rig.command(Command::Restart { server: "bad".into() });
    rig.until("the question gone", |w| w.asks.is_empty()).await;
    // The server may still answer at the end of its input.
    rig.settled(call).await;
    rig.stop().await;
}

fn named(id: &str, args: &[&str]) -> ServerSpec {
    stdio(id, &bad_server(), args)
}

fn pid(world: &World, id: &str) -> u32 {
    world.server(&id.into()).unwrap().info.as_ref().unwrap().pid.unwrap()
}

fn alive(pid: u32) -> bool {
    // A zombie is no process any more.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until the server runs as another process than `old`.
async fn replaced(rig: &Rig, id: &str, old: u32) -> u32 {
    let other = |w: &World| w.server(&id.into()).is_some_and(|s| s.phase.usable() && s.info.as_ref().and_then(|i| i.pid) != Some(old));
    pid(&rig.until("another process", other).await, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_touches_what_changed_and_nothing_else() {
    let rig = Rig::start(vec![named("same", &["plain"]), named("changed", &["plain"]), named("gone", &["plain"])]);
    for id in ["same", "changed", "gone"] {
        rig.ready(id).await;
    }
    let before = rig.world();
    let (same, changed, gone) = (pid(&before, "same"), pid(&before, "changed"), pid(&before, "gone"));
    let staying = rig.submit("same", "question", "{}");
    let leaving: Vec<CallId> = ["changed", "gone"].iter().map(|id| rig.submit(id, "hang", "{}")).collect();
    rig.until("all sent", |w| w.running == 3 && w.calls.iter().all(|c| c.sent.is_some())).await;

    let mut moved = named("same", &["plain"]);
    moved.origin.line = Some(7);
    rig.engine.apply(vec![moved, named("added", &["plain"]), named("changed", &["plain", "--now"])]);
    rig.ready("added").await;
    let renewed = replaced(&rig, "changed", changed).await;
    for call in leaving {
        assert_eq!(failure_of(&*rig.settled(call).await).kind, FailureKind::Transport);
    }
    let world = rig.until("the other gone", |w| w.server(&"gone".into()).is_none()).await;
    assert!(!alive(changed) && alive(renewed) && alive(same));
    assert_eq!(pid(&world, "same"), same);
    assert!(world.call(staying).unwrap().settled.is_none(), "a call under way is not disturbed");
    let ask = rig.until("its question", |w| !w.asks.is_empty()).await.asks[0].id;
    rig.command(Command::Answer { ask, answer: Answer::Decline });
    assert!(text_of(&*rig.settled(staying).await).contains("decline"));
    assert_eq!(failure_of(&rig.call("gone", "echo", "{}").await.1).kind, FailureKind::UnknownServer);
    assert!(world.names.tool("gone_echo").is_none() && world.names.tool("added_echo").is_some());
    rig.stop().await;
    assert!([same, renewed, gone].iter().all(|pid| !alive(*pid)), "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn disabling_ends_the_process_and_restarting_brings_another() {
    let rig = Rig::start(vec![bad("plain")]);
    let first = pid(&rig.ready("bad").await, "bad");
    let hanging = rig.submit("bad", "hang", "{}");
    rig.until("it sent", |w| w.calls[0].sent.is_some()).await;
    rig.command(Command::Disable { server: "bad".into() });
    rig.until("disabled", |w| matches!(&*w.servers[0].phase, Phase::Disabled)).await;
    assert!(!alive(first), "disabled means gone");
    assert_eq!(failure_of(&*rig.settled(hanging).await).kind, FailureKind::Transport);
    let (_, settled) = rig.call("bad", "echo", "{}").await;
    assert!(failure_of(&settled).message.contains("disabled"), "{settled:?}");
    rig.command(Command::Refresh { server: "bad".into() });
    rig.command(Command::Restart { server: "bad".into() });
    let second = replaced(&rig, "bad", first).await;
    rig.command(Command::Restart { server: "bad".into() });
    replaced(&rig, "bad", second).await;
    assert!(!alive(second));
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_during_a_start_leave_no_process_behind() {
    let mut spec = bad("silent_initialize");
    spec.timeouts.stop = Duration::from_millis(200);
    let rig = Rig::start(vec![spec]);
    let up = |n: usize| move |w: &World| w.servers[0].stderr.iter().filter(|l| l.contains("is up")).count() == n;
    rig.until("the first process", up(1)).await;
    rig.command(Command::Restart { server: "bad".into() });
    rig.until("the second process", up(2)).await;
    rig.command(Command::Disable { server: "bad".into() });
    rig.until("disabled", |w| matches!(&*w.servers[0].phase, Phase::Disabled)).await;
    rig.stop().await;
    assert_eq!(crate::processes::of_this_process(), Vec::<u32>::new());
}

/// Tools whose calls end by themselves, whatever comes of it, and some whose server does not survive them.
const ANYTHING: &[&str] = &[
    "echo",
    "hang",
    "noise",
    "crlf",
    "string_id",
    "duplicate",
    "bad_utf8",
    "surrogate",
    "nan",
    "pretty",
    "batch",
    "wrong_id",
    "rpc_error",
    "tool_error",
    "progress",
    "no_result",
    "question",
    "no_such_tool",
    "late",
    "exit",
    "partial_exit",
    "killed",
];

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_calls_of_every_kind_end_once_each() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let servers: Vec<String> = (0..4).map(|n| format!("s{n}")).collect();
    let specs = servers.iter().map(|id| ServerSpec { elicitation: AskPolicy::Decline, ..named(id, &["plain"]) }).collect();
    let rig = Rig::start(specs);
    let watcher = {
        let engine = rig.engine.clone();
        let (_, mut tail) = engine.watch();
        tokio::spawn(async move {
            let mut ends: HashMap<CallId, usize> = HashMap::new();
            let mut told = Vec::new();
            while ends.len() < 500 {
                let event = tail.next().await.expect("the watcher keeps up").unwrap();
                match &event.kind {
                    EventKind::CallSettled { call, .. } => *ends.entry(*call).or_default() += 1,
                    EventKind::CallSent { call, .. } | EventKind::CallProgress { call, .. } if ends.contains_key(call) => told.push(*call),
                    EventKind::CallQueued { call, .. } => assert!(!ends.contains_key(call)),
                    _ => {}
                }
            }
            (ends, told)
        })
    };
    let mut calls = Vec::new();
    for _ in 0..500 {
        let tool = ToolId::new(ServerId::from(random.choice(&servers).unwrap().as_str()), *random.choice(ANYTHING).unwrap());
        let limit = Duration::from_millis(random.u64(50..1500));
        calls.push(rig.engine.submit(CallSpec { timeout: Some(limit), ..CallSpec::tool(tool, Body::from("{}"), Origin::Cli) }));
        if random.u8(..) < 30 {
            rig.command(Command::Cancel { call: *random.choice(&calls).unwrap(), reason: "at random".into() });
        }
        if random.u8(..) < 60 {
            tokio::task::yield_now().await;
        }
    }
    let (ends, told) = tokio::time::timeout(crate::support::PATIENCE, watcher).await.unwrap_or_else(|_| panic!("seed {seed}")).unwrap();
    assert_eq!(told, [], "seed {seed}: nothing follows the end");
    let world = rig.world();
    for call in &calls {
        assert_eq!(ends.get(call), Some(&1), "seed {seed}: {:?}", world.call(*call));
        let of_call: Vec<_> = world.frames_of(*call).filter(|f| matches!(f.kind, FrameKind::Request | FrameKind::Response)).collect();
        let (first, sent) = (of_call.first(), world.call(*call).unwrap().sent.is_some());
        assert!(first.is_none_or(|f| (f.kind, f.direction) == (FrameKind::Request, Direction::Out)), "seed {seed}: {of_call:?}");
        assert_eq!(first.is_some(), sent, "seed {seed}: what is said to be sent was sent: {:?}", world.call(*call));
        assert!(of_call.windows(2).all(|pair| pair[0].seq < pair[1].seq && pair[0].at <= pair[1].at), "seed {seed}: {of_call:?}");
    }
    assert_eq!((world.running, world.settled_total), (0, 500), "seed {seed}");
    assert!(world.servers.iter().all(|s| s.stats.in_flight == 0));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sent_in_time_is_never_sent() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wake");
    let rig = Rig::start(vec![bad("plain")]);
    rig.ready("bad").await;
    let nap = rig.submit("bad", "nap", &serde_json::json!({"until": file}).to_string());
    rig.until("the nap", |w| w.call(nap).is_some_and(|c| c.sent.is_some())).await;
    // More than a pipe takes: the second is stuck half-way, and what comes behind it stays in our queue.
    let filling: Vec<CallId> = (0..4).map(|_| rig.submit("bad", "echo", &format!(r#"{{"x":"{}"}}"#, "x".repeat(50_000)))).collect();
    rig.until("the second under way", |w| filling.iter().filter(|id| w.call(**id).is_some_and(|c| c.sent.is_some())).count() == 2).await;
    let settled = rig.call_within("bad", "echo", Duration::from_millis(300)).await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::Timeout, false), "{failure:?}");
    let unsent = rig.world().calls.back().unwrap().id;
    std::fs::write(&file, "").unwrap();
    for call in filling.iter().chain([&nap]) {
        assert!(matches!(rig.settled(*call).await.outcome, Outcome::Ok { .. }));
    }
    assert_eq!(text_of(&rig.call("bad", "echo", "{}").await.1), "hello");
    assert_eq!(rig.world().frames_of(unsent).count(), 0, "neither the request nor its cancellation");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_and_variables_that_are_secret_are_shown_nowhere() {
    let Launch::Stdio { command, .. } = bad("plain").launch else { unreachable!() };
    let secret = |value: &str| Secret::new(value, "${TOKEN}");
    let mut spec = bad("plain");
    spec.launch = Launch::Stdio {
        command,
        args: vec![Secret::literal("exit_at_start"), secret("canary-argument")],
        env: vec![("API_TOKEN".into(), Secret::literal("canary-variable"))],
        inherit_env: false,
        cwd: None,
    };
    let rig = Rig::start(vec![]);
    let (_, mut tail) = rig.engine.watch();
    rig.engine.apply(vec![spec]);
    let world = rig.until("the failure", |w| w.servers.first().is_some_and(|s| s.phase.failure().is_some())).await;
    assert!(!format!("{world:?}").contains("canary-"));
    while let Ok(Some(event)) = tail.try_next() {
        let text = serde_json::to_string(&*event).unwrap();
        assert!(!text.contains("canary-"), "{text}");
    }
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_opens_its_breaker_and_a_connection_closes_it() {
    let fake = Fake::new(|n| if n < 3 { Plan::Refuse } else { Behaviour::prompt().plan() });
    let mut spec = spec("web");
    spec.policy.breaker.consecutive = 3;
    let rig = Rig::over(fake.clone(), vec![spec]);
    let world = until(&rig, |w| w.servers[0].breaker.state == Breaking::Open).await;
    assert!(
        world.servers[0].breaker.reason.contains("3 failures in a row, the last: transport: not today"),
        "{:?}",
        world.servers[0].breaker
    );
    // Nobody waits for a server that is known to be gone.
    let settled = echo(&rig, None).await;
    assert_eq!((failure_of(&settled).kind, settled.timings.total()), (FailureKind::BreakerOpen, Duration::ZERO));
    let world = until(&rig, |w| w.servers[0].phase.usable()).await;
    let breaker = &world.servers[0].breaker;
    assert_eq!((breaker.state, breaker.calls, breaker.reason.as_str()), (Breaking::Closed, 0, "it is connected again"));
    assert!(matches!(echo(&rig, None).await.outcome, Outcome::Ok { .. }));
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_given_up_shows_an_open_breaker_and_says_why() {
    let rig = Rig::over(Fake::new(|_| Plan::Refuse), vec![spec("web")]);
    let world = until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    assert_eq!(world.servers[0].breaker.state, Breaking::Open);
    let settled = echo(&rig, None).await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::NotReady, false));
    assert!(
        failure.message.contains("not today") && failure.causes.iter().any(|cause| cause.contains("5 failures in a row")),
        "{failure:?}"
    );
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_refused_say_nothing_to_the_breaker() {
    let fail = |_| Plan::Fail(ConnectFailure { status: Some(401), ..ConnectFailure::new(Step::Initialize, "HTTP 401") });
    let rig = Rig::over(Fake::new(fail), vec![spec("web")]);
    let world = until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    assert_eq!((world.servers[0].breaker.state, world.servers[0].breaker.calls), (Breaking::Closed, 0));
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_is_switched_off_while_it_is_open_is_seen_to_close() {
    let rig = Rig::over(Fake::new(|_| Behaviour::prompt().plan()), vec![spec("web")]);
    until(&rig, |w| w.servers[0].phase.usable()).await;
    rig.command(Command::Breaker { server: "web".into(), tool: None, order: Order::HoldOpen });
    assert_eq!(failure_of(&*echo(&rig, None).await).kind, FailureKind::BreakerOpen);
    let mut off = spec("web");
    off.policy.breaker.on = false;
    rig.engine.apply(vec![off]);
    let breaker = rig.server("web").breaker;
    assert_eq!((breaker.state, breaker.held, breaker.reason.as_str()), (Breaking::Closed, None, "switched off"));
    let last = breaker.transitions.last().expect("a change");
    assert_eq!((last.from, last.to), (Breaking::Open, Breaking::Closed));
    assert!(matches!(echo(&rig, None).await.outcome, Outcome::Ok { .. }));
    // The same of a tool's own, by its rule: the first call passes.
    let rule = |on| ToolRule {
        matches: Pattern::parse("web_echo").unwrap(),
        own_breaker: Some(true),
        patch: PolicyPatch { set: vec![Knob::BreakerOn(on).into()] },
        ..ToolRule::default()
    };
    rig.engine.set_rules(Rules { tools: vec![rule(true)], ..Rules::default() });
    assert!(matches!(echo(&rig, None).await.outcome, Outcome::Ok { .. }));
    rig.command(Command::Breaker { server: "web".into(), tool: Some("echo".into()), order: Order::Trip });
    assert_eq!(failure_of(&*echo(&rig, None).await).kind, FailureKind::BreakerOpen);
    rig.engine.set_rules(Rules { tools: vec![rule(false)], ..Rules::default() });
    assert!(matches!(echo(&rig, None).await.outcome, Outcome::Ok { .. }));
    assert_eq!(rig.server("web").tool_breakers["echo"].reason, "switched off");
    rig.stop().await;
}

/// Reads of one resource are answered with how many there were, and hold for an hour.
fn counted_reads(host: &Arc<Mutex<Option<Arc<dyn Host>>>>, gate: &Arc<Semaphore>) -> Plan {
    let (seen, gate, reads) = (host.clone(), gate.clone(), Arc::new(AtomicUsize::new(0)));
    let answer = move |_: Request, flow: Arc<dyn Flow>, host: Arc<dyn Host>| {
        let (seen, gate, reads) = (seen.clone(), gate.clone(), reads.clone());
        async move {
            flow.sent(host.now(), 1);
            let number = reads.fetch_add(1, Ordering::SeqCst);
            *seen.lock().unwrap() = Some(host.clone());
            gate.acquire().await.unwrap().forget();
            let result = Body::json(&serde_json::json!({"contents": [{"uri": "r:a", "text": number.to_string()}], "ttlMs": 3_600_000}));
            Ok(Reply { result, ..reply(&host) })
        }
    };
    Behaviour::new(answer).plan()
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_has_changed_is_read_anew() {
    let (host, gate) = (Arc::default(), Arc::new(Semaphore::new(100)));
    let plan = Mutex::new(Some(counted_reads(&host, &gate)));
    let rig = Rig::over(Fake::new(move |_| plan.lock().unwrap().take().unwrap()), vec![spec("web")]);
    rig.engine.set_store(Some(Arc::new(switchboard::answers::Memory::new(1 << 20))));
    let wall = Arc::new(AtomicU64::new(0));
    let clock = wall.clone();
    rig.engine.set_wall_clock(Arc::new(move || clock.load(Ordering::SeqCst)));
    until(&rig, |w| w.servers[0].phase.usable()).await;
    let submit = |uri: &str| {
        let operation = Operation::Resource { server: "web".into(), uri: uri.into() };
        rig.engine.submit(CallSpec { operation, origin: Origin::Cli, timeout: None, run: None })
    };
    let read = async |uri: &str| {
        let call = submit(uri);
        let world = until(&rig, |w| w.call(call).is_some_and(|c| c.settled.is_some())).await;
        let settled = world.call(call).unwrap().settled.clone().unwrap();
        (settled.outcome.result().unwrap().value().unwrap()["contents"][0]["text"].as_str().unwrap().to_owned(), settled.cached.is_some())
    };
    let tell = |method: &str, uri: &str| {
        let host = host.lock().unwrap().clone().unwrap();
        host.notification(method, &Body::json(&serde_json::json!({ "uri": uri })), None);
    };
    assert_eq!((read("r:a").await, read("r:a").await), (("0".into(), false), ("0".into(), true)));
    tell("notifications/resources/updated", "r:other");
    assert_eq!(read("r:a").await, ("0".into(), true), "another one");
    tell("notifications/resources/updated", "r:a");
    assert_eq!((read("r:a").await, read("r:a").await), (("1".into(), false), ("1".into(), true)));
    tell("notifications/resources/list_changed", "");
    assert_eq!((read("r:a").await, read("r:a").await), (("2".into(), false), ("2".into(), true)));
    tell("notifications/tools/list_changed", "");
    assert_eq!(read("r:a").await, ("2".into(), true), "that was about tools");
    // It changes while it is read: what comes is given to who asked, and to nobody after.
    tell("notifications/resources/updated", "r:a");
    gate.forget_permits(100);
    let call = submit("r:a");
    until(&rig, |w| w.call(call).is_some_and(|c| c.sent.is_some())).await;
    tell("notifications/resources/updated", "r:a");
    gate.add_permits(100);
    until(&rig, |w| w.call(call).is_some_and(|c| c.settled.is_some())).await;
    assert_eq!((read("r:a").await, read("r:a").await), (("4".into(), false), ("4".into(), true)));
    // The machine sleeps for two hours, which the engine's own clock does not see.
    wall.store(1_700_000_000_000 + 2 * 3_600_000, Ordering::SeqCst);
    assert_eq!(read("r:a").await, ("5".into(), false), "its hour is over");
    rig.stop().await;
}
