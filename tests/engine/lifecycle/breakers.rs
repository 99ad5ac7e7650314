//! Breakers.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_opens_its_breaker_and_a_connection_closes_it() {
    let fake = Fake::new(|n| if n < 3 { Plan::Refuse } else { Behaviour::prompt().plan() });
    let mut spec = spec("web");
    spec.policy.breaker.consecutive = 3;
    let rig = Rig::over(fake.clone(), vec![spec]);
    let read_model = until(&rig, |w| w.servers[0].breaker.state == Breaking::Open).await;
    assert!(
        read_model.servers[0].breaker.reason.contains("3 consecutive failures, last: transport: not today"),
        "{:?}",
        read_model.servers[0].breaker
    );
    // No call waits for a server that is known to be gone.
    let settled = echo(&rig, None).await;
    assert_eq!((failure_of(&settled).kind, settled.timings.total()), (FailureKind::BreakerOpen, Duration::ZERO));
    let read_model = until(&rig, |w| w.servers[0].phase.usable()).await;
    let breaker = &read_model.servers[0].breaker;
    assert_eq!((breaker.state, breaker.calls, breaker.reason.as_str()), (Breaking::Closed, 0, "reconnected"));
    assert!(matches!(echo(&rig, None).await.outcome, Outcome::Ok { .. }));
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_given_up_shows_an_open_breaker_and_says_why() {
    let rig = Rig::over(Fake::new(|_| Plan::Refuse), vec![spec("web")]);
    let read_model = until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    assert_eq!(read_model.servers[0].breaker.state, Breaking::Open);
    let settled = echo(&rig, None).await;
    let failure = failure_of(&settled);
    assert_eq!((failure.kind, failure.may_have_run), (FailureKind::NotReady, false));
    assert!(
        failure.message.contains("not today") && failure.causes.iter().any(|cause| cause.contains("5 consecutive failures")),
        "{failure:?}"
    );
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn credentials_that_are_refused_say_nothing_to_the_breaker() {
    let fail = |_| Plan::Fail(ConnectFailure { status: Some(401), ..ConnectFailure::new(Step::Initialize, "HTTP 401") });
    let rig = Rig::over(Fake::new(fail), vec![spec("web")]);
    let read_model = until(&rig, |w| matches!(&*w.servers[0].phase, Phase::Failed { .. })).await;
    assert_eq!((read_model.servers[0].breaker.state, read_model.servers[0].breaker.calls), (Breaking::Closed, 0));
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_is_switched_off_while_it_is_open_is_seen_to_close() {
    let rig = Rig::over(Fake::new(|_| Behaviour::prompt().plan()), vec![spec("web")]);
    until(&rig, |w| w.servers[0].phase.usable()).await;
    rig.command(Command::Breaker { server: "web".into(), tool: None, order: BreakerOverride::HoldOpen });
    assert_eq!(failure_of(&*echo(&rig, None).await).kind, FailureKind::BreakerOpen);
    let mut off = spec("web");
    off.policy.breaker.enabled = false;
    rig.engine.apply(vec![off]);
    let breaker = rig.server("web").breaker;
    assert_eq!((breaker.state, breaker.held, breaker.reason.as_str()), (Breaking::Closed, None, "breaker disabled"));
    let last = breaker.transitions.last().expect("a change");
    assert_eq!((last.from, last.to), (Breaking::Open, Breaking::Closed));
    assert!(matches!(echo(&rig, None).await.outcome, Outcome::Ok { .. }));
    // The same of a tool's own, by its rule: the first call passes.
    let rule = |on| ToolRule {
        matches: Pattern::parse("web_echo").unwrap(),
        own_breaker: Some(true),
        patch: PolicyPatch { set: vec![PolicySetting::BreakerEnabled(on).into()] },
        ..ToolRule::default()
    };
    rig.engine.set_rules(Rules { tools: vec![rule(true)], ..Rules::default() });
    assert!(matches!(echo(&rig, None).await.outcome, Outcome::Ok { .. }));
    rig.command(Command::Breaker { server: "web".into(), tool: Some("echo".into()), order: BreakerOverride::Trip });
    assert_eq!(failure_of(&*echo(&rig, None).await).kind, FailureKind::BreakerOpen);
    rig.engine.set_rules(Rules { tools: vec![rule(false)], ..Rules::default() });
    assert!(matches!(echo(&rig, None).await.outcome, Outcome::Ok { .. }));
    assert_eq!(rig.server("web").tool_breakers["echo"].reason, "breaker disabled");
    rig.stop().await;
}
