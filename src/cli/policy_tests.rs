//! Headless commands and policies: routes, breaker overrides, fault injection, traces of calls, groups.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    cache, exit,
    print::Format,
    test_support::{Fake, Ran, buffers, db, ran},
};
use crate::{
    control::Command,
    domain::{
        body::Body,
        call::{Failure, FailureKind, Outcome},
        event::{EventKind, Settled},
        policy::{
            Fallback, Rules, ToolRule,
            breaker::{BreakerOverride, BreakerView, State},
            cache::CacheSettings,
            call_event::{AttemptEnd, CallEvent, Cause},
            fault::Fault,
            pattern::Pattern,
            route::{Group, Member, Route, Routing, Strategy},
            verdict::Verdict,
        },
        secret::Secret,
        time::Stamp,
    },
};

/// Two databases of one kind, as servers `db` and `spare` and as the group `pool`.
fn pool(strategy: Strategy) -> Arc<Fake> {
    let fake = Fake::giving(json!({"content": [{"type": "text", "text": "x"}]}));
    for name in ["db", "spare"] {
        fake.starting(name);
        fake.ready(name, db());
    }
    let member = |name: &str, weight| Member { server: name.into(), weight };
    let group =
        Group { id: "pool".into(), namespace: None, members: vec![member("db", 9), member("spare", 1)], strategy, members_listed: true };
    let route = Route { matches: Pattern::parse("db_ins*").unwrap(), only: None, to: "pool".into() };
    let rule =
        ToolRule { matches: Pattern::parse("*_query").unwrap(), safe: Some(true), fallback: vec![Fallback::Stale], ..ToolRule::default() };
    let rules = Rules { tools: vec![rule], routing: Routing { groups: vec![group], routes: vec![route] }, ..Rules::default() };
    fake.publish(EventKind::Rules { rules: Arc::new(rules) });
    fake
}

fn document(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {} {}", ran.out, ran.err))
}

#[tokio::test]
async fn a_route_is_explained() {
    let fake = pool(Strategy::Primary);
    let human = ran(&fake, &["route", "pool_query"]).await;
    assert_eq!(human.code, exit::OK);
    insta::assert_snapshot!("route_group", human.out);
    let led = ran(&fake, &["route", "db_insert"]).await;
    insta::assert_snapshot!("route_rule", led.out);
    let plain = document(&ran(&fake, &["route", "db/query", "--json"]).await);
    assert_eq!((&plain["order"], &plain["safe"], &plain["group"]), (&json!(["db"]), &json!(true), &Value::Null));

    let view = BreakerView { state: State::Open, reason: "5 consecutive failures".into(), ..BreakerView::default() };
    fake.publish(EventKind::Breaker { server: "db".into(), tool: None, view: Arc::new(view) });
    let passed = document(&ran(&fake, &["route", "pool/query", "--json"]).await);
    assert_eq!(passed["order"], json!(["spare"]));
    assert_eq!(passed["candidates"][0]["unavailable"], "its breaker is open: 5 consecutive failures");
    fake.failed("spare");
    let nobody = ran(&fake, &["route", "pool_query"]).await;
    assert_eq!(nobody.code, exit::NOT_READY);
    assert!(nobody.out.contains("no available server") && nobody.out.contains("spare: has failed"), "{}", nobody.out);
    let unknown = ran(&fake, &["route", "pool_qery"]).await;
    assert!(unknown.code == exit::USAGE && unknown.err.contains("did you mean pool_query"), "{}", unknown.err);
}

#[tokio::test]
async fn a_sticky_route_depends_on_the_argument() {
    let fake = pool(Strategy::Sticky { argument: "sql".into() });
    let mut homes = std::collections::BTreeSet::new();
    for n in 0..20 {
        let args = format!(r#"{{"sql":"{n}"}}"#);
        let way = document(&ran(&fake, &["route", "pool_query", "--args", &args, "--json"]).await);
        homes.insert(way["order"][0].to_string());
        assert_eq!(way["reason"], "sticky by sql");
    }
    assert_eq!(homes.len(), 2);
    assert_eq!(ran(&fake, &["route", "pool_query", "--args", "[1]"]).await.code, exit::USAGE);
}

#[tokio::test]
async fn overrides_and_faults_are_applied_before_the_call() {
    let fake = pool(Strategy::RoundRobin);
    let line = [
        "call",
        "db_query",
        "sql=x",
        "--breaker",
        "db=trip",
        "--breaker",
        "spare/query=hold-open",
        "--inject",
        "db/drop=fail=0.5,latency=1s",
    ];
    assert_eq!(ran(&fake, &line).await.code, exit::OK);
    let fault = Fault { latency: Duration::from_secs(1), fail: 0.5, ..Fault::default() };
    let wanted = [
        Command::Breaker { server: "db".into(), tool: None, order: BreakerOverride::Trip },
        Command::Breaker { server: "spare".into(), tool: Some("query".into()), order: BreakerOverride::HoldOpen },
        Command::Inject { server: "db".into(), tool: Some("drop".into()), fault: Some(fault) },
    ];
    assert_eq!(*fake.commands.lock().unwrap(), wanted);
    let unknown = ran(&fake, &["tools", "--inject", "bd=fail=1"]).await;
    assert!(unknown.code == exit::USAGE && unknown.err.contains("unknown server"), "{}", unknown.err);
    assert_eq!(fake.commands.lock().unwrap().len(), 3);
    use clap::Parser;
    for (flag, wrong) in [
        ("--breaker=db", "="),
        ("--breaker=db=explode", "expected trip"),
        ("--inject=db=fail=2", "is not a share"),
        ("--inject==fail=1", "expected SERVER"),
    ] {
        let error = super::args::Cli::try_parse_from(["switchboard", "tools", flag]).unwrap_err();
        assert!(error.to_string().contains(wrong), "{flag}: {error}");
    }
}

#[tokio::test]
async fn a_notable_trace_is_printed() {
    let fake = Fake::scripted(1000, |fake, call, spec| {
        let stage = |stage| fake.publish(EventKind::CallStage { call, stage: Arc::new(stage) });
        let subject: Arc<str> = spec.operation.subject().into();
        stage(CallEvent::Attempt { attempt: 1, server: "db".into(), subject: subject.clone(), cause: Cause::First });
        let took = Duration::from_millis(7);
        stage(CallEvent::Ended {
            attempt: 1,
            end: AttemptEnd::Failed { failure: Arc::new(Failure::new(FailureKind::Transport, "gone\u{1b}[1m")) },
            verdict: Verdict::Failure,
            took,
        });
        stage(CallEvent::BackOff { pause: Duration::from_millis(120), why: "back-off".into() });
        stage(CallEvent::Attempt { attempt: 2, server: "spare".into(), subject, cause: Cause::Failover });
        stage(CallEvent::Ended { attempt: 2, end: AttemptEnd::Ok, verdict: Verdict::Success, took });
        let result = Body::json(&json!({"content": [{"type": "text", "text": "x"}]}));
        let stamp = Stamp(44_000_000);
        let timings = crate::domain::call::Timings { settled: stamp, ..Default::default() };
        let settled = Settled {
            outcome: Outcome::Ok { result },
            timings,
            rounds: 1,
            sent_bytes: 1,
            received_bytes: 1,
            attempts: 2,
            by: Some("spare".into()),
            cached: None,
        };
        fake.publish(EventKind::CallSettled { call, settled: Arc::new(settled) });
    });
    for name in ["db", "spare"] {
        fake.starting(name);
        fake.ready(name, db());
    }
    let human = ran(&fake, &["call", "db_query", "sql=x"]).await;
    assert_eq!((human.code, human.out.as_str()), (exit::OK, "x\n"));
    insta::assert_snapshot!("call_way", human.err);
    let json = document(&ran(&fake, &["call", "db_query", "sql=x", "--json"]).await);
    assert_eq!((&json["trace"]["attempts"], &json["trace"]["answered_by"]), (&json!(2), &json!("spare")));
    assert_eq!(json["trace"]["events"][2]["event"], "back_off");
    let lines = ran(&fake, &["call", "db_query", "sql=x", "--jsonl"]).await;
    let events = lines.out.lines().filter(|line| line.contains(r#""type":"call_event""#)).count();
    assert_eq!(events, 5, "{}", lines.out);
}

#[tokio::test]
async fn the_tools_of_a_group_are_listed_once_with_their_members() {
    let fake = pool(Strategy::Weighted);
    let human = ran(&fake, &["tools", "pool*"]).await;
    assert!(human.out.starts_with("pool  weighted: db, spare\n  pool_query"), "{}", human.out);
    let json = document(&ran(&fake, &["tools", "pool_query", "--json"]).await);
    assert_eq!((&json["tools"][0]["server"], &json["tools"][0]["members"]), (&json!("pool"), &json!(["db", "spare"])));
    let called = ran(&fake, &["call", "pool_query", "sql=x"]).await;
    assert_eq!(called.code, exit::OK, "{}", called.err);
    assert_eq!(fake.calls.lock().unwrap()[0].operation.server().as_str(), "pool");
}

#[test]
fn purges_the_cache_or_reports_that_it_is_in_memory() {
    let printed = |outcome: Option<Result<u64, String>>, format: Format| {
        let (io, out, err) = buffers(None);
        let options = super::Options { format, ..Default::default() };
        (cache::purged("db_*", outcome, &options, io), out.text(), err.text())
    };
    assert_eq!(printed(Some(Ok(1)), Format::Human), (exit::OK, "1 response of db_* purged.\n".into(), String::new()));
    assert!(printed(None, Format::Human).1.contains("nothing to purge"));
    let json: Value = serde_json::from_str(&printed(Some(Ok(7)), Format::Json).1).unwrap();
    assert_eq!((&json["store"], &json["responses"]), (&json!("redis"), &json!(7)));
    let failed = printed(Some(Err("is gone".into())), Format::Human);
    assert!(failed.0 == exit::FAILED && failed.2.contains("is gone"), "{failed:?}");

    let settings = CacheSettings { redis: vec![Secret::new("redis://:hunter2@h", "redis://:${PW}@h")], ..CacheSettings::default() };
    let stats = |settings: &CacheSettings, trouble: Option<&str>, format: Format| {
        let (io, out, _) = buffers(None);
        let options = super::Options { format, ..Default::default() };
        (cache::stats(settings, trouble.map(str::to_owned), &options, io), out.text())
    };
    let (code, text) = stats(&settings, None, Format::Human);
    assert!(code == exit::OK && text.contains("${PW}") && !text.contains("hunter2"), "{text}");
    let literal = CacheSettings { redis: vec![Secret::literal("redis://me:hunter2@h:7/1?x=hunter2")], ..CacheSettings::default() };
    let (_, text) = stats(&literal, None, Format::Human);
    assert!(text.contains("redis://•••@h:7/1") && !text.contains("hunter2"), "{text}");
    assert_eq!(stats(&settings, Some("down"), Format::Json).0, exit::FAILED);
    assert!(stats(&CacheSettings::default(), None, Format::Human).1.contains("memory"));
}
