//! Commands on an engine in this process and on one at the other end of a stream: the same output.

use serde_json::json;

use super::{
    session::Signals,
    test_support::{Fake, Ran, buffers, db, parsed},
};
use crate::{
    control::{CommandError, SubmitError, test_support::Way},
    domain::{
        body::Body,
        call::{Failure, FailureKind, Outcome},
    },
};

/// Runs a command line on a fake that is reached in this way.
async fn ran_over(way: Way, fake: &std::sync::Arc<Fake>, line: &[&str]) -> Ran {
    let reached = way.reach(fake.served()).await;
    let (io, out, err) = buffers(None);
    let (command, options) = parsed(line);
    let code = super::run(reached.control, &command, &options, io, Signals::none()).await;
    Ran { code, out: out.text(), bytes: out.bytes(), err: err.text() }
}

fn fake(outcome: Outcome) -> std::sync::Arc<Fake> {
    let fake = Fake::ending(outcome);
    fake.starting("db");
    fake.ready("db", db());
    fake.starting("mail");
    fake.failed("mail");
    fake
}

#[tokio::test]
async fn a_command_prints_the_same_over_a_stream() {
    let result = json!({"content": [{"type": "text", "text": "two rows"}], "n": 1.5});
    let ok = Outcome::Ok { result: Body::json(&result) };
    let failure = Failure::after_send(FailureKind::Timeout, "no answer within 2 s").hint("raise the limit");
    let failed = Outcome::Failed { failure: failure.into() };
    let lines: &[&[&str]] = &[
        &["call", "db_query", "sql=select 1"],
        &["--json", "call", "db_query", "sql=select 1"],
        &["--jsonl", "-v", "call", "db_query", "sql=select 1"],
        &["call", "db_query", "limit=x"],
        &["call", "none_such"],
        &["read", "db://schema"],
        &["tools"],
        &["--json", "tools"],
        &["resources"],
        &["servers"],
        &["--json", "servers"],
        &["doctor"],
    ];
    for outcome in [ok, failed] {
        for line in lines {
            let mut both = vec![];
            for way in Way::BOTH {
                let fake = fake(outcome.clone());
                let ran = ran_over(way, &fake, line).await;
                let calls = fake.calls.lock().unwrap().clone();
                both.push((ran.code, ran.out, ran.err, calls));
            }
            assert_eq!(both[0], both[1], "{line:?}");
            assert!(!both[0].1.is_empty() || !both[0].2.is_empty(), "{line:?} prints nothing");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_not_started_is_reported_with_the_reason() {
    for way in Way::BOTH {
        let fake = fake(Outcome::Cancelled { reason: String::new() });
        *fake.no_calls.lock().unwrap() = Some(SubmitError::TooMany { limit: 5 });
        let ran = ran_over(way, &fake, &["call", "db_query", "sql=select 1"]).await;
        assert!(ran.err.contains("5 calls are in flight"), "{way:?}: {}", ran.err);
        assert_eq!(ran.code, super::exit::of_failure(FailureKind::Overloaded));
        assert!(fake.calls.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_refused_command_is_reported_with_the_reason() {
    for way in Way::BOTH {
        let fake = fake(Outcome::Cancelled { reason: String::new() });
        *fake.refusal.lock().unwrap() = Some(CommandError::Refused { why: "the server does not support subscriptions".into() });
        let ran = ran_over(way, &fake, &["--timeout", "1s", "watch", "db://schema"]).await;
        assert!(ran.err.contains("does not support subscriptions"), "{way:?}: {}", ran.err);
    }
}
