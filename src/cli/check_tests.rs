//! Tests of `--no-check`: arguments and answers that violate their schema, refused by default and sent with it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    exit,
    test_support::{Fake, db, id, ran},
};
use crate::{
    control::Command,
    domain::{
        ask::{Answer, Ask, Question},
        body::Body,
        call::{ArgumentCheck, Operation, Outcome},
        event::EventKind,
        id::AskId,
        time::Stamp,
    },
};

fn with_db(fake: Arc<Fake>) -> Arc<Fake> {
    fake.starting("db");
    fake.ready("db", db());
    fake
}

fn sent(fake: &Fake) -> Vec<(String, ArgumentCheck)> {
    let calls = fake.calls.lock().unwrap();
    calls
        .iter()
        .map(|call| match &call.operation {
            Operation::Tool { arguments, .. } | Operation::Prompt { arguments, .. } => (arguments.text().into_owned(), call.check),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[tokio::test]
async fn arguments_that_violate_the_schema_are_sent_with_no_check() {
    for (line, arguments) in [
        (&["call", "db_query", "--args", r#"{"sql":null}"#][..], r#"{"sql":null}"#),
        (&["call", "db_query", "limit=many"], r#"{"limit":"many"}"#),
        (&["call", "db_query", "limit:=1000", "sql=x"], r#"{"limit":1000,"sql":"x"}"#),
        (&["prompt", "explain", "colour=y"], r#"{"colour":"y"}"#),
    ] {
        let fake = with_db(Fake::giving(json!({"content": []})));
        let refused = ran(&fake, line).await;
        assert_eq!(refused.code, exit::USAGE, "{line:?}");
        assert!(refused.err.contains("--no-check") && sent(&fake).is_empty(), "{}", refused.err);
        let forced = ran(&fake, &[line, &["--no-check"]].concat()).await;
        assert_eq!(forced.code, exit::OK, "{line:?}: {}", forced.err);
        assert!(forced.err.contains("are invalid and are sent anyway (--no-check):"), "{}", forced.err);
        assert_eq!(sent(&fake), [(arguments.to_owned(), ArgumentCheck::Skipped)]);
        let json = ran(&fake, &[line, &["--no-check", "--json"]].concat()).await;
        let document: Value = serde_json::from_str(&json.out).unwrap();
        assert!(!document["argument_errors"].as_array().unwrap().is_empty(), "{document}");
    }
    let fake = with_db(Fake::giving(json!({"content": []})));
    let valid = ran(&fake, &["call", "db_query", "sql=x", "--no-check", "--json"]).await;
    assert!(!valid.out.contains("argument_errors") && valid.err.is_empty(), "{}{}", valid.out, valid.err);
    // What is not a JSON object cannot be sent as arguments.
    for wrong in [&["--args", "[]"][..], &["sql"], &["sql:=oops"]] {
        assert_eq!(ran(&fake, &[&["call", "db_query", "--no-check"], wrong].concat()).await.code, exit::USAGE, "{wrong:?}");
    }
}

#[tokio::test]
async fn an_answer_that_violates_the_requested_schema_ends_the_command() {
    let asking = || {
        with_db(Fake::scripted(1000, |fake, call, _| {
            let schema = Body::from(r#"{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"]}"#);
            let question = Question::Form { message: "sure?".into(), schema };
            let ask = Ask { id: AskId(7), server: id("db"), call: Some(call), question, at: Stamp(0), run: None };
            fake.publish(EventKind::AskOpened { ask: Arc::new(ask) });
        }))
    };
    let line = |answer: &'static str| ["call", "db_query", "sql=x", "--elicit", answer];
    let fake = asking();
    let refused = ran(&fake, &[&line(r#"{"ok":"no"}"#)[..], &["--json"]].concat()).await;
    let document: Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!((refused.code, &document["failure"]["may_have_run"]), (exit::USAGE, &json!(true)), "{document}");
    assert!(document["failure"]["causes"][0].as_str().unwrap().starts_with("/ok: "), "{document}");
    let commands = fake.commands.lock().unwrap();
    assert!(
        matches!(&commands[..], [Command::Answer { answer: Answer::Cancel, .. }, Command::Cancel { .. }]),
        "the question is cancelled, then the call: {commands:?}"
    );
}

#[tokio::test]
async fn an_answer_that_violates_the_requested_schema_is_sent_with_no_check() {
    for (answer, flags, warned) in [(r#"{"ok":"no"}"#, &["--no-check"][..], true), (r#"{"ok":true}"#, &[], false)] {
        let fake = with_db(Fake::scripted(1000, |fake, call, _| {
            let schema = Body::from(r#"{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"]}"#);
            let question = Question::Form { message: "sure?".into(), schema };
            let ask = Ask { id: AskId(7), server: id("db"), call: None, question, at: Stamp(0), run: None };
            fake.publish(EventKind::AskOpened { ask: Arc::new(ask) });
            fake.settle(call, Outcome::Ok { result: Body::from("{}") });
        }));
        let ran = ran(&fake, &[&["call", "db_query", "sql=x", "--elicit", answer], flags].concat()).await;
        assert_eq!(ran.code, exit::OK, "{}", ran.err);
        assert_eq!(ran.err.contains("warning: the answer to db: invalid, sent anyway (--no-check): /ok: "), warned, "{}", ran.err);
        let commands = fake.commands.lock().unwrap();
        assert!(matches!(&commands[..], [Command::Answer { answer: Answer::Accept { content }, .. }] if content.text() == answer));
    }
}
