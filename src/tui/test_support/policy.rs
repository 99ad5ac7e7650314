//! Scripted policy events for tests: breakers in every state, groups, faults, calls with many events.

use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{Script, at, listed, spec, text_result, tool, tool_call};
use crate::domain::{
    call::{CallSpec, Failure, FailureKind, Operation, Origin, Outcome, Timings},
    catalog::RawLists,
    event::{Event, EventKind, Settled},
    id::{CallId, ServerId},
    policy::{
        Fallback, Rules, ToolRule,
        breaker::{BreakerOverride, BreakerView, Cell, State, Transition},
        cache::CacheView,
        call_event::{AttemptEnd, CallEvent, Cause, Wait},
        fault::Fault,
        pattern::Pattern,
        route::{Decision, Group, Member, Route, Routing, Strategy},
        verdict::Verdict,
    },
    server::Phase,
};

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

/// Returns rules with a group of two mail servers, a route, a fallback and a tool with its own breaker.
pub fn rules() -> Rules {
    let member = |server: &str, weight| Member { server: server.into(), weight };
    let group = Group {
        id: "mail".into(),
        namespace: None,
        members: vec![member("email", 3), member("email-b", 1)],
        strategy: Strategy::Weighted,
        members_listed: true,
    };
    let fallback = vec![Fallback::Server { server: "email-b".into() }, Fallback::Stale];
    Rules {
        tools: vec![
            ToolRule { matches: pattern("payments_*"), fallback, ..ToolRule::default() },
            ToolRule { matches: pattern("database_create_user"), own_breaker: Some(true), ..ToolRule::default() },
        ],
        routing: Routing {
            groups: vec![group],
            routes: vec![
                Route { matches: pattern("email_send*"), only: None, to: "mail".into() },
                Route { matches: pattern("analytics_*"), only: None, to: "nowhere".into() },
            ],
        },
        ..Rules::default()
    }
}

fn change(ms: u64, from: State, to: State, reason: &str) -> Transition {
    Transition { at: at(ms), from, to, reason: reason.into() }
}

fn cells(text: &str) -> Vec<Cell> {
    text.chars()
        .map(|c| match c {
            'o' => Cell::Success,
            's' => Cell::Slow,
            'x' => Cell::Failure,
            _ => Cell::SlowFailure,
        })
        .collect()
}

/// Returns a breaker that opened after five failures in a row; the next probe comes `probe` after the start.
pub fn open(since: u64, probe: u64) -> BreakerView {
    let reason = "5 consecutive failures, last: timeout: no answer within 5.00 s";
    BreakerView {
        state: State::Open,
        since: at(since),
        reason: reason.into(),
        cells: cells("oosoxoosxXxxx"),
        calls: 13,
        failure_rate: Some(6.0 / 13.0),
        slow_rate: Some(3.0 / 13.0),
        consecutive: 5,
        next_probe: Some(at(probe)),
        openings: 2,
        refused: 12,
        transitions: vec![
            change(3000, State::Closed, State::Open, reason),
            change(4000, State::Open, State::HalfOpen, "the time is up: one probe is let through"),
            change(since, State::HalfOpen, State::Open, "the probe failed: server exited: it ended with exit code 3"),
        ],
        ..BreakerView::default()
    }
}

/// Returns a breaker that admits one probe.
pub fn half_open(since: u64) -> BreakerView {
    let mut transitions = open(5000, since).transitions;
    transitions.push(change(since, State::Open, State::HalfOpen, "the time is up: one probe is let through"));
    BreakerView { state: State::HalfOpen, since: at(since), next_probe: None, probing: 1, transitions, ..open(5000, since) }
}

/// Returns a closed breaker with calls in its window.
pub fn closed() -> BreakerView {
    BreakerView { cells: cells("oooxoo"), calls: 6, ..BreakerView::default() }
}

/// Returns a breaker with a manual override.
pub fn overridden(order: BreakerOverride, since: u64) -> BreakerView {
    let (state, reason) =
        if order == BreakerOverride::HoldOpen { (State::Open, "held open manually") } else { (State::Closed, "held closed manually") };
    let transitions = vec![change(since, State::Closed, state, reason)];
    BreakerView {
        state,
        since: at(since),
        reason: reason.into(),
        held: Some(order),
        cells: cells("xxxxx"),
        calls: 5,
        transitions,
        ..closed()
    }
}

/// Adds an event of a call.
pub fn stage(script: &mut Script, ms: u64, call: u64, stage: CallEvent) {
    script.push(ms, EventKind::CallStage { call: CallId(call), stage: Arc::new(stage) });
}

fn attempt(number: u32, server: &str, subject: &str, cause: Cause) -> CallEvent {
    CallEvent::Attempt { attempt: number, server: server.into(), subject: subject.into(), cause }
}

fn failed(kind: FailureKind, message: &str) -> AttemptEnd {
    AttemptEnd::Failed { failure: Arc::new(Failure::new(kind, message)) }
}

fn ended(number: u32, end: AttemptEnd, verdict: Verdict, ms: u64) -> CallEvent {
    CallEvent::Ended { attempt: number, end, verdict, took: Duration::from_millis(ms) }
}

/// Adds the state of a breaker.
pub fn breaker(script: &mut Script, ms: u64, server: &str, tool: Option<&str>, view: BreakerView) {
    script.push(ms, EventKind::Breaker { server: server.into(), tool: tool.map(Into::into), view: Arc::new(view) });
}

fn queued(script: &mut Script, ms: u64, call: u64, operation: Operation) {
    let spec = Arc::new(CallSpec::new(operation, Origin::Console));
    script.push(ms, EventKind::CallQueued { call: CallId(call), spec });
}

struct End {
    outcome: Outcome,
    attempts: u32,
    by: Option<ServerId>,
    cached: Option<Duration>,
}

fn settled(script: &mut Script, (from, to): (u64, u64), call: u64, end: End) {
    let timings = Timings { queued: at(from), sent: Some(at(from + 1)), first_byte: None, last_byte: Some(at(to)), settled: at(to) };
    let settled = Settled {
        outcome: end.outcome,
        timings,
        rounds: 1,
        sent_bytes: 120,
        received_bytes: 80,
        attempts: end.attempts,
        by: end.by,
        cached: end.cached,
    };
    script.push(to, EventKind::CallSettled { call: CallId(call), settled: Arc::new(settled) });
}

fn decision(order: &[&str], why: &str) -> Arc<Decision> {
    Arc::new(Decision {
        rule: Some("email_send*".into()),
        group: Some("mail".into()),
        strategy: Some("weighted".into()),
        order: order.iter().map(|id| ServerId::from(*id)).collect(),
        passed_over: vec![],
        why: why.into(),
    })
}

/// Returns servers, rules, faults, breakers and calls on top of the shop, in the order of time.
pub fn resilient(after: u64) -> Vec<Arc<Event>> {
    let mut s = Script::after(after);
    servers(&mut s);
    s.push(520, EventKind::Rules { rules: Arc::new(rules()) });
    calls(&mut s);
    let down =
        CacheView { store: "redis".into(), trouble: Some("no answer within 50 ms".into()), hits: 14, misses: 9, ..CacheView::default() };
    s.push(7600, EventKind::Cache { view: Arc::new(down) });
    let slow = Fault { latency: Duration::from_millis(200), fail: 0.3, ..Fault::default() };
    s.push(7610, EventKind::FaultSet { server: "email".into(), tool: None, fault: Some(slow) });
    let cut = Fault { cut: 0.1, ..Fault::default() };
    s.push(7620, EventKind::FaultSet { server: "database".into(), tool: Some("query_users".into()), fault: Some(cut) });
    breaker(&mut s, 7000, "payments", None, open(5500, 20_500));
    breaker(&mut s, 7001, "email-b", None, half_open(6900));
    breaker(&mut s, 7002, "database", None, closed());
    breaker(&mut s, 7003, "database", Some("create_user"), overridden(BreakerOverride::HoldOpen, 6000));
    breaker(&mut s, 7004, "analytics", None, overridden(BreakerOverride::HoldClosed, 6500));
    s.events.sort_by_key(|event| event.at);
    (after + 1..).zip(&s.events).map(|(seq, event)| Arc::new(Event { seq, ..Event::clone(event) })).collect()
}

fn servers(s: &mut Script) {
    let text = |name: &str| json!({"type": "object", "properties": {name: {"type": "string"}}, "required": [name]});
    s.server(500, spec("payments", None), Phase::Ready);
    s.push(501, listed("payments", RawLists { tools: vec![tool("charge", "Charge a card.", false, text("card"))], ..Default::default() }));
    s.server(502, spec("email-b", Some("shop")), Phase::Ready);
    // The tool `send_email` takes `recipient` here and `to` on the other server.
    let tools =
        vec![tool("send_email", "Send an e-mail.", false, text("recipient")), tool("verify", "Check an address.", true, text("to"))];
    s.push(503, listed("email-b", RawLists { tools, ..Default::default() }));
}

fn calls(s: &mut Script) {
    // Waits, fails, pauses, fails again, falls back.
    queued(s, 1000, 300, tool_call("payments", "charge", r#"{"card":"4242"}"#));
    stage(s, 1000, 300, CallEvent::CacheMiss { key: "payments/charge/3b1f".into() });
    stage(s, 1000, 300, CallEvent::Waiting { on: Wait::Permit, server: "payments".into() });
    stage(s, 1180, 300, attempt(1, "payments", "charge", Cause::First));
    s.push(1181, EventKind::CallSent { call: CallId(300), round: 1 });
    stage(s, 2180, 300, ended(1, failed(FailureKind::Timeout, "no answer within 1.00 s"), Verdict::Failure, 1000));
    stage(s, 2180, 300, CallEvent::BackOff { pause: Duration::from_millis(420), why: "back-off after attempt 1".into() });
    stage(s, 2600, 300, attempt(2, "payments", "charge", Cause::Retry));
    stage(s, 3000, 300, ended(2, failed(FailureKind::Protocol, "the server answered -32603: database is locked"), Verdict::Failure, 400));
    stage(s, 3000, 300, CallEvent::NotRepeated { why: "the retry budget of payments is used up".into() });
    stage(s, 3000, 300, CallEvent::Fallback { to: "the same tool of email-b".into(), after: "protocol: database is locked".into() });
    stage(s, 3001, 300, CallEvent::Probing { server: "email-b".into() });
    stage(s, 3200, 300, attempt(3, "email-b", "charge", Cause::First));
    stage(s, 3650, 300, ended(3, AttemptEnd::Ok, Verdict::Success, 450));
    settled(s, (1000, 3650), 300, End { outcome: text_result("charged"), attempts: 3, by: Some("email-b".into()), cached: None });
    // A hedged second attempt, which wins.
    queued(s, 4000, 301, tool_call("database", "query_users", "{}"));
    stage(s, 4000, 301, attempt(1, "database", "query_users", Cause::First));
    stage(s, 4600, 301, attempt(2, "database", "query_users", Cause::Hedge));
    stage(s, 4601, 301, CallEvent::Injected { what: "+200 ms".into() });
    stage(s, 5000, 301, ended(2, AttemptEnd::Ok, Verdict::Success, 400));
    settled(s, (4000, 5000), 301, End { outcome: text_result("found"), attempts: 2, by: None, cached: None });
    // From the cache.
    queued(s, 5200, 302, tool_call("database", "query_users", "{}"));
    let key = "database/query_users/44136fa355b3678a".to_owned();
    stage(s, 5200, 302, CallEvent::CacheHit { age: Duration::from_secs(12), key, store: "memory".into(), stale: false });
    settled(s, (5200, 5200), 302, End { outcome: text_result("found"), attempts: 0, by: None, cached: Some(Duration::from_secs(12)) });
    routed_calls(s);
    // Refused immediately.
    queued(s, 6200, 306, tool_call("payments", "charge", "{}"));
    let failure = Failure::new(FailureKind::BreakerOpen, "payments is left alone until 11:06:53: 5 consecutive failures");
    settled(s, (6200, 6200), 306, End { outcome: Outcome::Failed { failure: Arc::new(failure) }, attempts: 0, by: None, cached: None });
    // Still pausing.
    queued(s, 7000, 307, tool_call("analytics", "track_event", "{}"));
    stage(s, 7000, 307, attempt(1, "analytics", "track_event", Cause::First));
    stage(s, 7500, 307, ended(1, failed(FailureKind::Transport, "connection refused"), Verdict::Failure, 500));
    stage(s, 7500, 307, CallEvent::BackOff { pause: Duration::from_secs(2), why: "analytics asked for it (Retry-After)".into() });
    for n in 0..6 {
        let ms = 7100 + n * 90;
        s.queued(ms, 308 + n, tool_call("database", "query_users", "{}")).settled(ms, 3 + n * 12, 308 + n, text_result("found"));
    }
}

fn routed_calls(s: &mut Script) {
    for (n, (first, rest)) in [("email", "email-b"), ("email-b", "email"), ("email", "email-b")].into_iter().enumerate() {
        let (call, ms) = (303 + n as u64, 5400 + n as u64 * 200);
        queued(s, ms, call, tool_call("mail", "send_email", r#"{"to":"ann@example.org"}"#));
        let mut decided = Decision::clone(&decision(&[first, rest], "random, weight 3 of 4"));
        if n == 2 {
            decided = Decision { order: vec![first.into()], passed_over: vec![(rest.into(), "breaker open".into())], ..decided };
        }
        stage(s, ms, call, CallEvent::Routed { decision: Arc::new(decided) });
        stage(s, ms, call, attempt(1, first, "send_email", Cause::First));
        let by = if n == 1 {
            stage(s, ms + 20, call, ended(1, failed(FailureKind::Transport, "connection refused"), Verdict::Failure, 20));
            stage(s, ms + 20, call, attempt(2, rest, "send_email", Cause::Failover));
            stage(s, ms + 60, call, ended(2, AttemptEnd::Ok, Verdict::Success, 40));
            rest
        } else {
            stage(s, ms + 60, call, ended(1, AttemptEnd::Ok, Verdict::Success, 60));
            first
        };
        let attempts = if n == 1 { 2 } else { 1 };
        settled(s, (ms, ms + 60), call, End { outcome: text_result("sent"), attempts, by: Some(by.into()), cached: None });
    }
}
